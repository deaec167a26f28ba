//! Nobody waits on a hot path: what threads share there is exchanged by atomics, not under locks.

use super::Violation;
use super::source::{Source, tokens, untested};

/// Where nobody waits: the beginnings of paths.
const HOT: [&str; 10] = [
    "core/src/",
    "host/src/cache",
    "host/src/gateway",
    "host/src/identity/epochs",
    "host/src/identity/gate",
    "host/src/identity/hash",
    "host/src/identity/statement",
    "host/src/matcher",
    "host/src/session",
    "host/src/sha256",
];

/// What lies among them and is none: sessions are opened and ended under a lock, which resuming never takes.
const COLD: [&str; 1] = ["host/src/session/table.rs"];

/// Locks by name, of the standard library and of others.
const LOCKS: [&str; 11] = [
    "Mutex",
    "RwLock",
    "ReentrantLock",
    "ReentrantMutex",
    "FairMutex",
    "Condvar",
    "SpinMutex",
    "Spinlock",
    "SpinLock",
    "parking_lot",
    "spin",
];

/// Checks the sources of the hot paths but for their tests.
pub fn check(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for hot in HOT {
        for (source, code) in untested(sources, hot) {
            if COLD.contains(&source.path.as_str()) {
                continue;
            }
            let all = tokens(&code);
            for (at, token) in all.iter().enumerate() {
                let next = |step: usize| all.get(at + step).map(|token| token.text);
                // `spin` is a crate where a path begins with it; a method may have that name.
                let named = LOCKS.contains(&token.text)
                    && (token.text != "spin" || next(1) == Some(":") && next(2) == Some(":"));
                if named {
                    let rule = format!("locks: no {} on a hot path; use atomics", token.text);
                    found.push(Violation::new(&source.path, token.line, rule));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&[Source::new(path, text)]).into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn locks_stay_off_hot_paths() {
        for lock in ["std::sync::Mutex", "sync::{Arc, RwLock}", "parking_lot::Once", "spin::Once"] {
            let text = format!("// a comment may say Mutex\nuse {lock};\n");
            for path in ["core/src/cache/table.rs", "host/src/cache/mod.rs", "host/src/gateway.rs"]
            {
                assert_eq!(lines(path, &text), [2], "{lock}");
            }
            assert_eq!(lines("host/src/matcher/sums.rs", &text), [2], "{lock}");
            assert_eq!(lines("host/src/session.rs", &text), [2], "{lock}");
            assert_eq!(lines("host/src/identity/gate.rs", &text), [2], "{lock}");
            assert_eq!(lines("host/src/identity/epochs.rs", &text), [2], "{lock}");
            // Who publishes or presents takes locks; who is found does not come there.
            assert_eq!(lines("host/src/identity/registry.rs", &text), [0; 0], "{lock}");
            assert_eq!(lines("host/src/pools/cold.rs", &text), [0; 0], "{lock}");
            assert_eq!(lines("core/tests/loom.rs", &text), [0; 0], "{lock}");
        }
    }

    #[test]
    fn what_is_no_lock_is_left_alone() {
        let text = "fn f() { backoff.spin(); hint::spin_loop(); \"Mutex\" }
            #[cfg(test)]
            mod tests { use std::sync::Mutex; }";
        assert_eq!(lines("core/src/cache/table.rs", text), [0; 0]);
    }
}
