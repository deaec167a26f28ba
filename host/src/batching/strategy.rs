//! When a batch that is not full leaves.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// When its oldest request has waited this long.
    Window {
        /// How long.
        wait: Duration,
    },
    /// When it has this many requests, or its oldest has waited this long.
    Size {
        /// How many: at most a ciphertext's lanes.
        size: u32,
        /// How long.
        wait: Duration,
    },
    /// So that 99 of 100 answers come within this time: waits for as much as will come in what is left of it,
    /// and less where answers are late.
    Adaptive {
        /// From submission to answer.
        p99: Duration,
    },
}

/// What was seen in a while.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Of the answers of that while, from submission.
    pub p99: Duration,
    /// How many there were.
    pub answers: u64,
    /// How long it was.
    pub lasted: Duration,
}

/// A strategy at work.
pub struct Pace {
    strategy: Strategy,
    lanes: u32,
    wait_ns: AtomicU64,
    size: AtomicU32,
}

impl Pace {
    /// For batches of so many lanes. Sizes are brought into range.
    #[must_use]
    pub fn new(strategy: Strategy, lanes: u32) -> Self {
        let (wait, size) = match strategy {
            Strategy::Window { wait } => (wait, lanes),
            Strategy::Size { size, wait } => (wait, size.clamp(1, lanes)),
            // Nothing is known yet: nobody waits.
            Strategy::Adaptive { .. } => (Duration::ZERO, 1),
        };
        Self { strategy, lanes, wait_ns: AtomicU64::new(nanoseconds(wait)), size: size.into() }
    }

    /// How many requests are enough.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size.load(Ordering::Relaxed)
    }

    /// How long the oldest request waits for others.
    #[must_use]
    pub fn wait(&self) -> Duration {
        Duration::from_nanos(self.wait_ns.load(Ordering::Relaxed))
    }

    /// How much longer a batch of `have` requests waits, whose oldest is `age` old; `None` when it leaves.
    #[must_use]
    pub fn rest(&self, have: usize, age: Duration) -> Option<Duration> {
        if have >= self.size() as usize {
            return None;
        }
        self.wait().checked_sub(age).filter(|rest| !rest.is_zero())
    }

    /// Adapts. Late answers halve the wait; time to spare adds a little to it, up to half the target, as the
    /// other half is for the work and the disk. And nobody waits for more than will come meanwhile.
    pub fn learn(&self, seen: Seen) {
        let Strategy::Adaptive { p99: target } = self.strategy else { return };
        if seen.answers == 0 || seen.lasted.is_zero() {
            return;
        }
        let wait = if seen.p99 > target {
            self.wait() / 2
        } else if seen.p99 < target * 4 / 5 {
            (self.wait() + target / 32).min(target / 2)
        } else {
            self.wait()
        };
        let coming = seen.answers as f64 * wait.as_secs_f64() / seen.lasted.as_secs_f64();
        // Saturates; at least the one that waits.
        let size = (coming.ceil() as u32).clamp(1, self.lanes);
        self.wait_ns.store(nanoseconds(wait), Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_window_waits_for_its_end_or_a_full_batch() {
        let pace = Pace::new(Strategy::Window { wait: 4 * MS }, 32);
        assert_eq!(pace.rest(1, Duration::ZERO), Some(4 * MS));
        assert_eq!(pace.rest(31, 3 * MS), Some(MS));
        assert_eq!(pace.rest(31, 4 * MS), None);
        assert_eq!(pace.rest(32, Duration::ZERO), None);
    }

    #[test]
    fn a_size_is_enough() {
        let pace = Pace::new(Strategy::Size { size: 8, wait: 4 * MS }, 32);
        assert_eq!(pace.rest(7, MS), Some(3 * MS));
        assert_eq!(pace.rest(8, MS), None);
        assert_eq!(pace.rest(1, 5 * MS), None);
        assert_eq!(Pace::new(Strategy::Size { size: 0, wait: MS }, 32).size(), 1);
        assert_eq!(Pace::new(Strategy::Size { size: 99, wait: MS }, 32).size(), 32);
    }

    #[test]
    fn adapts_to_load_and_lateness() {
        let pace = Pace::new(Strategy::Adaptive { p99: 5 * MS }, 32);
        assert_eq!(pace.rest(1, Duration::ZERO), None);
        let seen = |p99, answers| Seen { p99, answers, lasted: 100 * MS };
        for _ in 0..100 {
            pace.learn(seen(MS, 100_000));
        }
        // Half the target, and as many as fit.
        assert_eq!((pace.wait(), pace.size()), (5 * MS / 2, 32));
        // Few come: a thousand a second, 2.5 in the wait.
        pace.learn(seen(MS, 100));
        assert_eq!(pace.size(), 3);
        // Neither late nor early: as it was.
        pace.learn(seen(9 * MS / 2, 100));
        assert_eq!(pace.wait(), 5 * MS / 2);
        for _ in 0..40 {
            pace.learn(seen(6 * MS, 100));
        }
        assert_eq!((pace.wait(), pace.size()), (Duration::ZERO, 1));
        pace.learn(Seen { p99: MS, answers: 0, lasted: MS });
        assert_eq!(pace.size(), 1);
    }

    #[test]
    fn others_do_not_adapt() {
        let pace = Pace::new(Strategy::Window { wait: MS }, 32);
        pace.learn(Seen { p99: 60 * MS, answers: 1, lasted: MS });
        assert_eq!(pace.wait(), MS);
    }
}
