//! How the examples start: on a computer, and on a microcontroller without an operating system.

#![allow(unused_macros, unused_imports)] // not every example says something

/// Calls `run` with its memory, all zero: a box on a computer, a static on a microcontroller.
macro_rules! start {
    ($run:ident, $memory:ty) => {
        #[cfg(not(target_os = "none"))]
        fn main() -> Result<(), symbolon_core::Error> {
            $run(symbolon_core::place::zeroed(&mut Box::new_uninit()))
        }

        #[cfg(target_os = "none")]
        #[cortex_m_rt::entry]
        fn main() -> ! {
            // `entry` makes an exclusive reference of it.
            static mut MEMORY: core::mem::MaybeUninit<$memory> = core::mem::MaybeUninit::uninit();
            assert_eq!($run(symbolon_core::place::zeroed(MEMORY)), Ok(()));
            loop {
                core::hint::spin_loop();
            }
        }
    };
}
pub(crate) use start;

/// `println!`, where there is something to print on.
macro_rules! say {
    ($($text:tt)*) => {{
        #[cfg(not(target_os = "none"))]
        println!($($text)*);
        #[cfg(target_os = "none")]
        let _ = format_args!($($text)*);
    }};
}
pub(crate) use say;

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
