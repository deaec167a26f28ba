//! A circuit breaker for a stage: after so many failures in a row it is open, and work goes another way; after a
//! while one piece of work tries the stage again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Failures in a row.
    pub failures: u32,
    /// Until the stage is tried again.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { failures: 5, pause: Duration::from_secs(5) }
    }
}

/// What a breaker shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The stage works.
    Closed,
    /// It does not, and is left alone.
    Open,
    /// It is being tried.
    HalfOpen,
}

/// What a piece of work is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Use the stage.
    Use,
    /// Use it, as the one that tries whether it works again.
    Try,
    /// Go another way.
    Avoid,
}

const CLOSED: u64 = 0;
const TRYING: u64 = 1;

/// One stage's breaker. Times are milliseconds of a monotonic clock that its user reads.
pub struct Breaker {
    limits: Limits,
    in_a_row: AtomicU32,
    /// `CLOSED`, `TRYING`, or 2 and when it opened.
    state: AtomicU64,
    opened: AtomicU64,
}

impl Breaker {
    /// Closed.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, in_a_row: 0.into(), state: CLOSED.into(), opened: 0.into() }
    }

    /// What to do now. Whoever is told to try must report, or nobody tries again.
    pub fn pass(&self, now_ms: u64) -> Pass {
        match self.state.load(Ordering::Acquire) {
            CLOSED => Pass::Use,
            TRYING => Pass::Avoid,
            open => {
                let pause = u64::try_from(self.limits.pause.as_millis()).unwrap_or(u64::MAX);
                let over = now_ms.saturating_sub(open - 2) >= pause;
                let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
                if over && self.state.compare_exchange(open, TRYING, success, failure).is_ok() {
                    return Pass::Try;
                }
                Pass::Avoid
            }
        }
    }

    /// The stage worked.
    pub fn worked(&self, pass: Pass) {
        self.in_a_row.store(0, Ordering::Relaxed);
        if pass == Pass::Try {
            self.state.store(CLOSED, Ordering::Release);
        }
    }

    /// The stage failed.
    pub fn failed(&self, pass: Pass, now_ms: u64) {
        let failures = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let open = now_ms.saturating_add(2);
        let opened = if pass == Pass::Try {
            self.state.store(open, Ordering::Release);
            true
        } else {
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            failures >= self.limits.failures
                && self.state.compare_exchange(CLOSED, open, success, failure).is_ok()
        };
        self.opened.fetch_add(u64::from(opened), Ordering::Relaxed);
    }

    /// For people and metrics.
    #[must_use]
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            CLOSED => State::Closed,
            TRYING => State::HalfOpen,
            _ => State::Open,
        }
    }

    /// How often it has opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(Limits { failures: 3, pause: Duration::from_millis(100) })
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let breaker = breaker();
        for _ in 0..5 {
            breaker.failed(Pass::Use, 0);
            breaker.failed(Pass::Use, 0);
            breaker.worked(Pass::Use);
        }
        assert_eq!((breaker.state(), breaker.pass(0)), (State::Closed, Pass::Use));
        for _ in 0..3 {
            breaker.failed(Pass::Use, 7);
        }
        assert_eq!((breaker.state(), breaker.opened()), (State::Open, 1));
        assert_eq!(breaker.pass(106), Pass::Avoid);
    }

    #[test]
    fn one_tries_again() {
        let breaker = breaker();
        (0..3).for_each(|_| breaker.failed(Pass::Use, 0));
        assert_eq!(breaker.pass(100), Pass::Try);
        assert_eq!((breaker.state(), breaker.pass(100)), (State::HalfOpen, Pass::Avoid));
        // What began before it opened says nothing of now.
        breaker.worked(Pass::Use);
        breaker.failed(Pass::Use, 100);
        assert_eq!(breaker.state(), State::HalfOpen);
        breaker.failed(Pass::Try, 150);
        assert_eq!((breaker.pass(249), breaker.opened()), (Pass::Avoid, 2));
        assert_eq!(breaker.pass(250), Pass::Try);
        breaker.worked(Pass::Try);
        assert_eq!((breaker.state(), breaker.pass(250)), (State::Closed, Pass::Use));
    }
}
