//! Panics of other people's code on hostile input, turned into an answer.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

#[cfg(panic = "abort")]
compile_error!("a panic on hostile input must not end the process: build with panic = \"unwind\"");

/// Runs `operation`; `None` where it panics. The panic's message, which would spoil an error of one line, is
/// not printed.
///
/// Everything the operation owns should be dropped within it, since dropping may panic too.
pub fn shield<T>(operation: impl FnOnce() -> T) -> Option<T> {
    thread_local!(static SHIELDED: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !SHIELDED.get() {
                hook(info);
            }
        }));
    });
    SHIELDED.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(operation));
    SHIELDED.set(false);
    outcome.ok()
}

#[cfg(test)]
mod tests {
    use super::shield;

    #[test]
    fn a_panic_is_an_answer() {
        assert_eq!(shield(|| 7), Some(7));
        assert_eq!(shield(|| -> u8 { panic!("not printed") }), None);
    }
}
