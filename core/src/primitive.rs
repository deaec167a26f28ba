//! Atomics and cells: the processor's, those of a critical section where it has no compare-and-swap,
//! or loom's where a model is checked.

#[cfg(not(any(loom, target_has_atomic = "32")))]
pub mod atomic {
    pub use portable_atomic::{AtomicBool, AtomicU32, Ordering, fence};
}

#[cfg(all(not(loom), target_has_atomic = "32"))]
pub use core::sync::atomic;

#[cfg(loom)]
pub use loom::sync::atomic;

/// A number that orders nothing between threads: a model need not try whose turn it is.
#[cfg(not(loom))]
pub type Tally = atomic::AtomicU32;
#[cfg(loom)]
pub type Tally = core::sync::atomic::AtomicU32;

/// A counter that only a cell's owner writes: 64 bits where the processor has them, else it wraps at 32.
#[cfg(target_has_atomic = "64")]
pub type Count = atomic::AtomicU64;
#[cfg(not(target_has_atomic = "64"))]
pub type Count = atomic::AtomicU32;

/// The widest word that the processor exchanges at once, and what is in it.
#[cfg(target_has_atomic = "64")]
pub type Word = atomic::AtomicU64;
#[cfg(not(target_has_atomic = "64"))]
pub type Word = atomic::AtomicU32;
#[cfg(target_has_atomic = "64")]
pub type Bits = u64;
#[cfg(not(target_has_atomic = "64"))]
pub type Bits = u32;

/// A function that is constant, but in models: loom's atomics are made at run time.
macro_rules! const_fn {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident() -> $made:ty $body:block) => {
        #[cfg(not(loom))]
        $(#[$attribute])*
        $visibility const fn $name() -> $made $body
        #[cfg(loom)]
        $(#[$attribute])*
        $visibility fn $name() -> $made $body
    };
}
pub(crate) use const_fn;

/// An array of so many of an expression that is not `Copy`.
macro_rules! filled {
    ($value:expr) => {{
        #[cfg(not(loom))]
        let filled = [const { $value }; _];
        #[cfg(loom)]
        let filled = core::array::from_fn(|_| $value);
        filled
    }};
}
pub(crate) use filled;

#[cfg(loom)]
pub use loom::{cell::UnsafeCell, hint::spin_loop};

#[cfg(not(loom))]
pub use self::plain::UnsafeCell;
#[cfg(not(loom))]
pub use core::hint::spin_loop;

#[cfg(not(loom))]
mod plain {
    /// The standard cell with loom's interface.
    #[repr(transparent)]
    pub struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub const fn new(value: T) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }

        pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

/// Waits longer after every failed exchange, so that of two threads at one word one gets on, with a few turns
/// in its own cache. How long was tried out on a Zen 5: two threads took 20 ns a turn, and 46 where the first wait
/// was one turn of the loop and not 64.
pub struct Backoff(u32);

impl Backoff {
    pub const fn new() -> Self {
        Self(6)
    }

    pub fn spin(&mut self) {
        // A model has no time: there every turn is one more state to look at.
        let turns = if cfg!(loom) { 1 } else { 1 << self.0 };
        for _ in 0..turns {
            spin_loop();
        }
        self.0 = (self.0 + 1).min(8);
    }
}
