//! What happened, in counters that threads do not share.

use crate::primitive::atomic::AtomicU32;
use crate::primitive::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::{Count, const_fn, filled};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Event {
    Hit,
    Miss,
    Expired,
    Stale,
    Insert,
    Refused,
    Eviction,
    Removal,
    Dropped,
    Outdated,
}

const EVENTS: usize = Event::Outdated as usize + 1;

/// Buckets of a histogram of times.
pub const BUCKETS: usize = 4 * 24;

/// How long things took: four buckets for each power of two nanoseconds, up to 2^25.
#[repr(C)]
pub struct Histogram([Count; BUCKETS]);

/// The bucket of a duration.
const fn bucket(nanoseconds: u32) -> usize {
    if nanoseconds < 4 {
        return nanoseconds as usize;
    }
    let exponent = nanoseconds.ilog2();
    let bucket = (exponent as usize - 1) * 4 + (nanoseconds >> (exponent - 2) & 3) as usize;
    if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
}

/// The shortest duration of a bucket, in nanoseconds.
#[must_use]
pub const fn bucket_start(bucket: usize) -> u32 {
    let bucket = if bucket < BUCKETS { bucket as u32 } else { BUCKETS as u32 - 1 };
    if bucket < 4 { bucket } else { (4 + bucket % 4) << (bucket / 4 - 1) }
}

/// The counters of one handle at a time; a cache's last are shared by those who find no others.
#[repr(C, align(128))]
pub struct Shard {
    counts: [Count; EVENTS],
    /// One if a handle has it to itself, zero if nobody has.
    owned: AtomicU32,
    latency: Histogram,
}

impl Shard {
    const_fn! {
        /// Nothing counted.
        #[must_use]
        pub fn new() -> Self {
            Self {
                counts: filled!(Count::new(0)),
                owned: AtomicU32::new(0),
                latency: Histogram(filled!(Count::new(0))),
            }
        }
    }

    /// Acquire: its last owner's counts are seen.
    pub(super) fn take(&self) -> bool {
        self.owned.load(Relaxed) == 0 && self.owned.compare_exchange(0, 1, Acquire, Relaxed).is_ok()
    }

    pub(super) fn give_back(&self) {
        self.owned.store(0, Release);
    }

    /// Counts.
    #[inline]
    pub(super) fn note(&self, event: Event, own: bool) {
        if let Some(count) = self.counts.get(event as usize) {
            bump(count, own);
        }
    }

    /// Hits and misses.
    #[inline]
    pub(super) fn asked(&self) -> u64 {
        let [hits, misses, ..] = &self.counts;
        wide(hits).wrapping_add(wide(misses))
    }

    pub(super) fn time(&self, nanoseconds: u32, own: bool) {
        if let Some(count) = self.latency.0.get(bucket(nanoseconds)) {
            bump(count, own);
        }
    }

    pub(super) fn clear(&self) {
        self.owned.store(0, Relaxed);
        self.counts.iter().chain(&self.latency.0).for_each(|count| count.store(0, Relaxed));
    }
}

/// An owner is alone: a load and a store are enough, and no other core is asked.
#[inline]
fn bump(count: &Count, own: bool) {
    if own {
        count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
    } else {
        count.fetch_add(1, Relaxed);
    }
}

#[cfg(not(loom))]
impl Default for Shard {
    fn default() -> Self {
        Self::new()
    }
}

#[allow(clippy::useless_conversion, reason = "not where a count has 32 bits")]
fn wide(count: &Count) -> u64 {
    count.load(Relaxed).into()
}

/// What a cache has done. Read counter by counter while others go on: sums are of slightly different moments.
/// Counters wrap at 2^64, on processors without 64-bit atomics at 2^32 a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Stats {
    /// Verdicts given.
    pub hits: u64,
    /// Times that there was none to give, for whatever reason.
    pub misses: u64,
    /// Misses because the verdict had expired.
    pub expired: u64,
    /// Misses because the verdict was of another epoch.
    pub stale: u64,
    /// Verdicts taken in.
    pub inserts: u64,
    /// Entries given up on probation, never asked for again: not admitted among the others.
    pub refused: u64,
    /// Entries given up from among the others, for new ones.
    pub evictions: u64,
    /// Removals, of whatever was there or was not.
    pub removals: u64,
    /// Verdicts not taken in because another writer was there.
    pub dropped: u64,
    /// Verdicts not taken in because of a removal after their ticket.
    pub outdated: u64,
}

impl Stats {
    pub(super) fn add(&mut self, shard: &Shard) {
        let fields = [
            &mut self.hits,
            &mut self.misses,
            &mut self.expired,
            &mut self.stale,
            &mut self.inserts,
            &mut self.refused,
            &mut self.evictions,
            &mut self.removals,
            &mut self.dropped,
            &mut self.outdated,
        ];
        for (field, count) in fields.into_iter().zip(&shard.counts) {
            *field = field.wrapping_add(wide(count));
        }
    }
}

/// The sampled durations of all handles, by bucket.
pub(super) fn latencies(shards: &[Shard]) -> [u64; BUCKETS] {
    let mut sum = [0_u64; BUCKETS];
    for shard in shards {
        for (sum, count) in sum.iter_mut().zip(&shard.latency.0) {
            *sum = sum.wrapping_add(wide(count));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous() {
        for nanoseconds in 0..100_000 {
            let at = bucket(nanoseconds);
            assert!(bucket_start(at) <= nanoseconds && nanoseconds < bucket_start(at + 1));
        }
        assert_eq!(bucket(u32::MAX), BUCKETS - 1);
        assert_eq!(bucket(bucket_start(BUCKETS - 1)), BUCKETS - 1);
    }
}
