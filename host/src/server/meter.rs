//! Budgets that refill: so many events at once, and so many in a period, in one atomic word each.
//!
//! The generic cell rate algorithm (ITU-T I.371, annex A): the word is the time at which the budget will be full again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How much a budget holds, and how fast it refills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The time in which one event comes back, in nanoseconds.
    each: u64,
    /// The same of all of them.
    all: u64,
}

impl Allowance {
    /// So many events at once, which come back within `period`. `None` for no events at all.
    #[must_use]
    pub fn new(events: u32, period: Duration) -> Option<Self> {
        let each = u64::try_from(period.as_nanos()).ok()?.checked_div(events.into())?.max(1);
        Some(Self { each, all: each.saturating_mul(events.into()) })
    }
}

/// A budget: full when it is 0. Times are nanoseconds of one clock.
#[derive(Debug, Default)]
pub struct Meter(AtomicU64);

impl Meter {
    /// As [`Self::read`] gave it.
    #[must_use]
    pub fn from_raw(full_at: u64) -> Self {
        Self(full_at.into())
    }

    /// When it will be full.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes one event out.
    ///
    /// # Errors
    /// There is none: the time until there will be one.
    pub fn charge(&self, allowance: Allowance, now: u64) -> Result<(), Duration> {
        let Allowance { each, all } = allowance;
        let limit = now.saturating_add(all);
        let take = |full_at: u64| {
            Some(full_at.max(now).saturating_add(each)).filter(|next| *next <= limit)
        };
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map(drop).map_err(|full_at| {
            Duration::from_nanos(full_at.saturating_add(each).saturating_sub(limit))
        })
    }

    /// Puts one event back.
    pub fn refund(&self, allowance: Allowance) {
        let put = |full_at: u64| Some(full_at.saturating_sub(allowance.each));
        // Never refused.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, put);
    }

    /// Fills it.
    pub fn fill(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn holds_so_many_and_refills_one_by_one() {
        let allowance = Allowance::new(4, Duration::from_secs(8)).unwrap();
        let (meter, now) = (Meter::default(), 100 * SECOND);
        for _ in 0..4 {
            assert_eq!(meter.charge(allowance, now), Ok(()));
        }
        assert_eq!(meter.charge(allowance, now), Err(Duration::from_secs(2)));
        assert_eq!(meter.charge(allowance, now + SECOND), Err(Duration::from_secs(1)));
        assert_eq!(meter.charge(allowance, now + 2 * SECOND), Ok(()));
        assert!(meter.charge(allowance, now + 2 * SECOND).is_err());
        // A long rest gives no more than all.
        for _ in 0..4 {
            assert_eq!(meter.charge(allowance, now + 1000 * SECOND), Ok(()));
        }
        assert!(meter.charge(allowance, now + 1000 * SECOND).is_err());
    }

    #[test]
    fn what_is_put_back_can_be_taken_again() {
        let allowance = Allowance::new(2, Duration::from_secs(2)).unwrap();
        let (meter, now) = (Meter::default(), 100 * SECOND);
        for _ in 0..100 {
            assert_eq!(meter.charge(allowance, now), Ok(()));
            meter.refund(allowance);
        }
        assert_eq!(meter.charge(allowance, now), Ok(()));
        let again = Meter::from_raw(meter.read());
        assert_eq!(again.charge(allowance, now), Ok(()));
        assert!(again.charge(allowance, now).is_err());
        again.fill();
        assert_eq!(again.charge(allowance, now), Ok(()));
        assert_eq!(Allowance::new(0, Duration::from_secs(1)), None);
    }

    #[test]
    fn threads_take_no_more_than_there_is() {
        let allowance = Allowance::new(1000, Duration::from_secs(3600)).unwrap();
        let (meter, taken) = (Meter::default(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        if meter.charge(allowance, SECOND).is_ok() {
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 1000);
    }
}
