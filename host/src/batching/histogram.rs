//! Times of many events, counted without a lock: eight buckets an octave, so a percentile is within 1/8.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const PER_OCTAVE: usize = 8;
/// Up to 2^40 ns, 18 minutes; longer ones count as that.
const BUCKETS: usize = 38 * PER_OCTAVE;

/// Counts by duration.
pub struct Histogram {
    counts: Box<[AtomicU64; BUCKETS]>,
    sum_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([const { AtomicU64::new(0) }; BUCKETS]), sum_ns: 0.into() }
    }
}

/// What a histogram held when it was read.
#[derive(Clone, Debug)]
pub struct Counts {
    counts: Vec<u64>,
    sum_ns: u64,
}

fn bucket(ns: u64) -> usize {
    if ns < PER_OCTAVE as u64 {
        return ns as usize;
    }
    let octave = ns.ilog2() as usize - 2;
    let within = (ns >> (octave - 1)) as usize & (PER_OCTAVE - 1);
    (octave * PER_OCTAVE + within).min(BUCKETS - 1)
}

/// The least time of a bucket.
fn floor(bucket: usize) -> u64 {
    let (octave, within) = (bucket / PER_OCTAVE, (bucket % PER_OCTAVE) as u64);
    if octave == 0 { within } else { (PER_OCTAVE as u64 + within) << (octave - 1) }
}

impl Histogram {
    /// Counts events. Threads share the counts: neighbours that took about as long are put in together.
    pub fn add(&self, times: impl IntoIterator<Item = Duration>) {
        let put = |bucket: usize, events| {
            if let Some(count) = self.counts.get(bucket)
                && events > 0
            {
                count.fetch_add(events, Ordering::Relaxed);
            }
        };
        let (mut sum_ns, mut last, mut events) = (0_u64, 0, 0);
        for time in times {
            let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            sum_ns = sum_ns.wrapping_add(ns);
            let bucket = bucket(ns);
            if bucket != last {
                put(last, events);
                (last, events) = (bucket, 0);
            }
            events += 1;
        }
        put(last, events);
        self.sum_ns.fetch_add(sum_ns, Ordering::Relaxed);
    }

    /// What it holds; events that are counted meanwhile may be missing in part.
    #[must_use]
    pub fn read(&self) -> Counts {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Counts { counts, sum_ns: self.sum_ns.load(Ordering::Relaxed) }
    }
}

impl Counts {
    /// Events.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of their times.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// The time that this part of the events (0 to 1) did not exceed, by at most an eighth too long.
    #[must_use]
    pub fn percentile(&self, part: f64) -> Duration {
        let wanted = (self.total() as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return Duration::from_nanos(floor(bucket + 1));
            }
        }
        Duration::ZERO
    }

    /// How many were not longer than `time`, or by at most an eighth.
    #[must_use]
    pub fn within(&self, time: Duration) -> u64 {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts.iter().take(bucket(ns) + 1).sum()
    }

    /// What was added since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let pairs = self.counts.iter().zip(&before.counts);
        let counts = pairs.map(|(now, before)| now.saturating_sub(*before)).collect();
        Self { counts, sum_ns: self.sum_ns.saturating_sub(before.sum_ns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another() {
        for index in 0..BUCKETS - 1 {
            assert_eq!(bucket(floor(index)), index);
            assert_eq!(bucket(floor(index + 1) - 1), index);
            assert!(
                floor(index + 1) as f64
                    <= (floor(index).max(1) as f64 * 1.126).max(floor(index) as f64 + 1.0)
            );
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_within_an_eighth() {
        let histogram = Histogram::default();
        // Up and down again, in batches of unequal length.
        let (even, odd) = ((2..=10_000).step_by(2), (1..10_000_u32).rev().step_by(2));
        let all: Vec<_> = even.chain(odd).map(|us| Duration::from_micros(us.into())).collect();
        all.chunks(33).for_each(|batch| histogram.add(batch.iter().copied()));
        let counts = histogram.read();
        assert_eq!(counts.total(), 10_000);
        for part in [0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let (found, exact) = (counts.percentile(part).as_secs_f64() * 1e6, 10_000.0 * part);
            assert!(found >= exact && found <= exact * 1.126, "{part}: {found}");
        }
        for ms in 1..=10 {
            let (found, exact) = (counts.within(Duration::from_millis(ms)), 1000 * ms);
            assert!(found >= exact && found as f64 <= exact as f64 * 1.126, "{ms}: {found}");
        }
        assert_eq!(counts.since(&counts).total(), 0);
        assert_eq!(counts.since(&counts).percentile(0.5), Duration::ZERO);
        assert_eq!(counts.sum(), Duration::from_micros(5000 * 10_001));
    }
}
