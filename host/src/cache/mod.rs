//! The cache of verdicts on a host: core's, in memory of the heap, with a clock and an eye on what is asked for.
//!
//! A look-up in 64 is shown to the [`Watch`], and one in 1,024 is timed; the others cost what they cost in core. Nothing
//! here locks, and nothing allocates after the start but [`Verdicts::snapshot`].

mod watch;

use std::iter;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use symbolon_core::cache::{
    BUCKETS, Cache, Digest, Entry, Handle, Key, LINES, Line, Memory, Outcome, Record, Set, Shard,
    Stats, Tags, Ticket, Verdict, WAYS, bucket_start,
};
use symbolon_platform::huge;

use crate::error::{Error, Kind, Result};

pub use watch::{Findings, Hot, Watch};

/// Of so many look-ups one is shown to the watch.
const SAMPLED: u64 = 64;
/// Of so many one is timed: to read the clock takes longer than to look.
const TIMED: u64 = 16 * SAMPLED;

/// Memory for a cache.
pub struct Heap {
    tags: Vec<Tags>,
    sets: Vec<Set>,
    entries: Vec<[Entry; WAYS]>,
    sketch: Vec<Line>,
    shards: Vec<Shard>,
}

impl Heap {
    /// For at least `capacity` verdicts, and counters for so many threads, beyond which they share, or none: 65.5 bytes a
    /// verdict and half a megabyte.
    #[must_use]
    pub fn new(capacity: usize, threads: usize) -> Self {
        let sets = capacity.div_ceil(WAYS);
        Self {
            tags: table(sets, Tags::new),
            sets: table(sets, Set::new),
            entries: table(sets, || [const { Entry::new() }; WAYS]),
            sketch: table(LINES, Line::new),
            // The last is shared, by threads without one of their own.
            shards: table(if threads == 0 { 0 } else { threads + 1 }, Shard::new),
        }
    }

    /// To be lent to a cache.
    pub fn memory(&mut self) -> Memory<'_> {
        let Self { tags, sets, entries, sketch, shards } = self;
        Memory { tags, sets, entries, sketch, shards }
    }
}

/// So many, in huge pages where there are such: a hit reads one entry of any, and would wait for its page first.
fn table<T>(count: usize, new: impl FnMut() -> T) -> Vec<T> {
    let mut table = Vec::with_capacity(count);
    // Without them it is slower, and no worse.
    let _ = huge::prefer(table.spare_capacity_mut());
    table.extend(iter::repeat_with(new).take(count));
    table
}

/// A cache that is watched.
pub struct Verdicts<'m> {
    cache: Cache<'m>,
    watch: Watch,
}

impl<'m> Verdicts<'m> {
    /// An empty cache with a key of its own. Errors: `E-ENTROPY`, and `E-ARGUMENT` for memory that core refuses.
    pub fn new(heap: &'m mut Heap) -> Result<Self> {
        let key = key()?;
        let cache = Cache::new(heap.memory(), key)
            .map_err(|e| Error::new(Kind::Argument, format!("the cache's capacity: {e}")))?;
        Ok(Self { cache, watch: Watch::new() })
    }

    /// A thread's access. Counters are its own while there are any left.
    #[must_use]
    pub fn desk(&self) -> Desk<'_> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed));
        Desk { handle: self.cache.handle_near(NUMBER.with(|number| *number)), watch: &self.watch }
    }

    /// What it has done and what was noticed.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let latencies = self.cache.latencies();
        Snapshot {
            stats: self.cache.stats(),
            capacity: self.cache.capacity(),
            p50_ns: percentile(&latencies, 0.5),
            p99_ns: percentile(&latencies, 0.99),
            findings: self.watch.findings(),
        }
    }
}

impl Verdicts<'static> {
    /// For as long as the process lives: its memory is never given back. Errors: those of [`Verdicts::new`].
    pub fn start(capacity: usize, threads: usize) -> Result<&'static Self> {
        let heap = Box::leak(Box::new(Heap::new(capacity, threads)));
        Ok(Box::leak(Box::new(Verdicts::new(heap)?)))
    }
}

/// What metrics show.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counters since the start.
    pub stats: Stats,
    /// Entries.
    pub capacity: usize,
    /// Half of the timed look-ups took no longer than this, a reading of the clock included; `None` before the first.
    pub p50_ns: Option<u32>,
    /// 99 of 100.
    pub p99_ns: Option<u32>,
    /// What was noticed.
    pub findings: Findings,
}

/// The end of the bucket in which this part of all lies.
fn percentile(counts: &[u64; BUCKETS], part: f64) -> Option<u32> {
    let total: u64 = counts.iter().sum();
    let mut left = (total as f64 * part).ceil() as u64;
    let at = counts.iter().position(|count| {
        left = left.saturating_sub(*count);
        left == 0
    });
    at.filter(|_| total > 0).map(|at| bucket_start(at + 1))
}

/// A key from the operating system.
fn key() -> Result<Key> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    crate::random::fill_random(&mut *seed)?;
    let mut rng = <chacha20::ChaCha20Rng as rand_core::SeedableRng>::from_seed(*seed);
    Ok(Key::draw(&mut rng))
}

/// One thread's access.
pub struct Desk<'c> {
    handle: Handle<'c>,
    watch: &'c Watch,
}

impl Desk<'_> {
    /// See [`Handle::get`].
    #[inline(always)]
    pub fn get(
        &self,
        digest: &Digest,
        now: u32,
        epoch: u32,
    ) -> std::result::Result<Verdict, Ticket> {
        // The counters outlast this desk, which may be for one look-up.
        if self.handle.asked() % SAMPLED < SAMPLED - 1 {
            return self.handle.get(digest, now, epoch);
        }
        self.sampled(digest, now, epoch)
    }

    #[cold]
    #[inline(never)]
    fn sampled(
        &self,
        digest: &Digest,
        now: u32,
        epoch: u32,
    ) -> std::result::Result<Verdict, Ticket> {
        let start = (self.handle.asked() % TIMED == TIMED - 1).then(Instant::now);
        let found = self.handle.get(digest, now, epoch);
        if let Some(start) = start {
            let spent = start.elapsed().as_nanos();
            self.handle.time(u32::try_from(spent).unwrap_or(u32::MAX));
        }
        self.watch.see(digest, found.is_ok());
        found
    }

    /// See [`Handle::get_many`]. Of each 64 digests one is shown to the watch; none is timed, since they share their
    /// waiting.
    pub fn get_many(
        &self,
        digests: &[Digest],
        now: u32,
        epoch: u32,
        verdicts: &mut [std::result::Result<Verdict, Ticket>],
    ) {
        let mut next = (SAMPLED - 1 - self.handle.asked() % SAMPLED) as usize;
        self.handle.get_many(digests, now, epoch, verdicts);
        while let (Some(digest), Some(verdict)) = (digests.get(next), verdicts.get(next)) {
            self.watch.see(digest, verdict.is_ok());
            next += SAMPLED as usize;
        }
    }

    /// See [`Handle::ticket`].
    #[must_use]
    pub fn ticket(&self, digest: &Digest) -> Ticket {
        self.handle.ticket(digest)
    }

    /// See [`Handle::insert`].
    pub fn insert(&self, ticket: Ticket, digest: &Digest, record: Record, now: u32) -> Outcome {
        self.handle.insert(ticket, digest, record, now)
    }

    /// See [`Handle::remove`].
    pub fn remove(&self, digest: &Digest) -> bool {
        self.handle.remove(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u64) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        digest
    }

    #[test]
    fn percentiles_are_of_all_counts() {
        let mut counts = [0; BUCKETS];
        assert_eq!(percentile(&counts, 0.5), None);
        counts[10] = 98;
        counts[20] = 2;
        assert_eq!(percentile(&counts, 0.5), Some(bucket_start(11)));
        assert_eq!(percentile(&counts, 0.98), Some(bucket_start(11)));
        assert_eq!(percentile(&counts, 0.99), Some(bucket_start(21)));
    }

    #[test]
    fn one_in_64_is_sampled_and_all_are_counted() {
        let mut heap = Heap::new(1000, 1);
        let verdicts = Verdicts::new(&mut heap).unwrap();
        // A desk for each, as of those who look once, and one for many.
        for _ in 0..1280 {
            assert!(verdicts.desk().get(&digest(1), 0, 0).is_err());
        }
        let desk = verdicts.desk();
        for _ in 0..1280 {
            assert!(desk.get(&digest(1), 0, 0).is_err());
        }
        let mut many = vec![Err(Ticket::NONE); 100];
        desk.get_many(&vec![digest(2); 100], 0, 0, &mut many);
        desk.get_many(&vec![digest(2); 28], 0, 0, &mut many);
        let snapshot = verdicts.snapshot();
        assert_eq!(snapshot.stats.misses, 2688);
        assert_eq!(verdicts.cache.latencies().iter().sum::<u64>(), 2);
        assert!(snapshot.p50_ns <= snapshot.p99_ns && snapshot.p50_ns.is_some());
        assert_eq!(verdicts.watch.samples(), 42);
        assert_eq!(snapshot.capacity, 1008);
    }

    #[test]
    fn it_lives_as_long_as_the_process() {
        let verdicts = Verdicts::start(100, 2).unwrap();
        let inserted = std::thread::spawn(|| {
            let desk = verdicts.desk();
            let record = Record { verdict: Verdict::Accepted, expiry: 1, epoch: 0 };
            desk.insert(desk.ticket(&digest(1)), &digest(1), record, 0)
        });
        assert_eq!(inserted.join().unwrap(), Outcome::Inserted);
        assert_eq!(verdicts.desk().get(&digest(1), 0, 0), Ok(Verdict::Accepted));
        assert!(verdicts.desk().remove(&digest(1)));
    }

    #[test]
    fn no_capacity_is_refused() {
        let mut heap = Heap::new(0, 1);
        assert_eq!(Verdicts::new(&mut heap).err().unwrap().kind(), Kind::Argument);
    }
}
