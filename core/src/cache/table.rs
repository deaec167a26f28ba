//! The cache: sets of entries, and who may change them.

use super::count::{BUCKETS, Event, Shard, Stats, latencies};
use super::entry::{Entry, Words};
use super::faults::Faults;
use super::hash::Key;
use super::set::{Set, Tags, WAYS, Ways};
use super::sketch::{self, Line};
use super::{Digest, Outcome, Record, Ticket, Verdict};
use crate::error::Error;
use crate::primitive::Tally;
use crate::primitive::atomic::Ordering::Relaxed;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;

/// Digests whose lines are fetched together.
const TOGETHER: usize = 32;

/// What the caller lends a cache. Whatever is in it is forgotten.
pub struct Memory<'m> {
    /// One for each set, of which there may be as many as 2^26.
    pub tags: &'m mut [Tags],
    /// As many.
    pub sets: &'m mut [Set],
    /// As many: the capacity is [`WAYS`] times that.
    pub entries: &'m mut [[Entry; WAYS]],
    /// A power of two: [`sketch::LINES`](super::LINES), or fewer where memory is short.
    pub sketch: &'m mut [Line],
    /// One for each thread that counts, and a last one, which the others share; with none nothing is counted.
    pub shards: &'m mut [Shard],
}

/// Memory in one value: for a static's initialiser, or an enclave that has no allocator.
#[repr(C)]
pub struct Fixed<const SETS: usize, const LINES: usize, const SHARDS: usize> {
    tags: [Tags; SETS],
    sets: [Set; SETS],
    entries: [[Entry; WAYS]; SETS],
    sketch: [Line; LINES],
    shards: [Shard; SHARDS],
}

impl<const SETS: usize, const LINES: usize, const SHARDS: usize> Fixed<SETS, LINES, SHARDS> {
    /// Numbers that [`Cache::new`] would refuse do not compile.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        const {
            assert!(0 < SETS && SETS <= MAX_SETS && LINES.is_power_of_two() && LINES <= MAX_LINES);
        }
        Self {
            tags: [const { Tags::new() }; SETS],
            sets: [const { Set::new() }; SETS],
            entries: [const { [const { Entry::new() }; WAYS] }; SETS],
            sketch: [const { Line::new() }; LINES],
            shards: [const { Shard::new() }; SHARDS],
        }
    }

    /// To be lent.
    pub fn memory(&mut self) -> Memory<'_> {
        Memory {
            tags: &mut self.tags,
            sets: &mut self.sets,
            entries: &mut self.entries,
            sketch: &mut self.sketch,
            shards: &mut self.shards,
        }
    }
}

#[cfg(not(loom))]
impl<const SETS: usize, const LINES: usize, const SHARDS: usize> Default
    for Fixed<SETS, LINES, SHARDS>
{
    fn default() -> Self {
        Self::new()
    }
}

const MAX_SETS: usize = 1 << 26;
/// 20 bits of the hash choose counters within a line.
const MAX_LINES: usize = 1 << 24;

/// Verdicts by digest, in memory that the caller lends. See the [module](super) for what holds.
///
/// `OBSERVED` is false where nothing is to be counted, for a comparison.
pub struct Cache<'m, const OBSERVED: bool = true> {
    tags: &'m [Tags],
    sets: &'m [Set],
    entries: &'m [[Entry; WAYS]],
    sketch: &'m [Line],
    shards: &'m [Shard],
    key: Key,
    /// Insertions after which a line of the sketch is halved.
    stride: u32,
    /// Insertions so far.
    inserted: Tally,
    faults: Faults,
}

/// Where a digest may be.
#[derive(Clone, Copy)]
struct Place<'m> {
    set: u32,
    tags: &'m Tags,
    entries: &'m [Entry; WAYS],
    hash: u64,
}

impl Place<'_> {
    #[inline]
    fn tag(&self) -> u8 {
        self.hash as u8
    }

    /// The entries with the digest's tag.
    #[inline(always)]
    fn candidates(&self) -> Ways {
        self.tags.matching(self.tag())
    }

    #[inline(always)]
    fn entry(&self, way: usize) -> Option<&Entry> {
        self.entries.get(way)
    }
}

impl<'m, const OBSERVED: bool> Cache<'m, OBSERVED> {
    /// An empty cache.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are as many tags and entries as sets, and at least one, and lines of a sketch
    /// are a power of two; [`Error::Range`] if there are more sets than 2^26, or more lines than 2^24.
    pub fn new(memory: Memory<'m>, key: Key) -> Result<Self, Error> {
        Self::with_faults(memory, key, Faults::NONE)
    }

    /// An empty cache for a model, with mistakes in it.
    ///
    /// # Errors
    /// Those of [`Cache::new`].
    #[cfg(loom)]
    pub fn broken(memory: Memory<'m>, key: Key, faults: Faults) -> Result<Self, Error> {
        Self::with_faults(memory, key, faults)
    }

    fn with_faults(memory: Memory<'m>, key: Key, faults: Faults) -> Result<Self, Error> {
        let Memory { tags, sets, entries, sketch, shards } = memory;
        let count = sets.len();
        if count == 0
            || tags.len() != count
            || entries.len() != count
            || !sketch.len().is_power_of_two()
        {
            return Err(Error::Length);
        }
        if count > MAX_SETS || sketch.len() > MAX_LINES {
            return Err(Error::Range);
        }
        tags.iter().for_each(Tags::clear);
        sets.iter().for_each(Set::clear);
        entries.iter().flatten().for_each(Entry::clear);
        sketch.iter().for_each(Line::clear);
        shards.iter().for_each(Shard::clear);
        // Whoever comes back within as many insertions as two capacities is remembered, or within as many as a quarter
        // of the counters, beyond which they would mostly remember others.
        let horizon = (2 * WAYS * count).min(sketch.len() * sketch::COUNTERS / 4);
        let stride = (horizon / sketch.len()).max(1) as u32;
        let inserted = Tally::new(0);
        Ok(Self { tags, sets, entries, sketch, shards, key, stride, inserted, faults })
    }

    /// Entries.
    #[must_use]
    pub fn capacity(&self) -> usize {
        WAYS * self.sets.len()
    }

    /// A thread's access, with counters of its own while there are any: one set fewer than there are shards.
    #[must_use]
    pub fn handle(&self) -> Handle<'_, OBSERVED> {
        self.handle_near(0)
    }

    /// The same; the counters are those of this number if they are free, else the next that are. Threads that come for
    /// a handle often meet nobody if each asks for a number of its own.
    #[must_use]
    pub fn handle_near(&self, number: usize) -> Handle<'_, OBSERVED> {
        let shards = if OBSERVED { self.shards } else { &[] };
        let shared = shards.last();
        // Nobody has the last to itself: who counts there by a load and a store would undo what others count.
        let own = self.faults.lent(shards);
        let first = number.checked_rem(own.len()).unwrap_or(0);
        let (before, from) = own.split_at_checked(first).unwrap_or_default();
        let own = from.iter().chain(before).find(|shard| shard.take());
        Handle { cache: self, own, shared, alone: PhantomData }
    }

    /// What was done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.shards.iter().for_each(|shard| stats.add(shard));
        stats
    }

    /// How many sampled look-ups took how long, by bucket: see [`bucket_start`](super::bucket_start).
    #[must_use]
    pub fn latencies(&self) -> [u64; BUCKETS] {
        latencies(self.shards)
    }

    #[inline(always)]
    fn place(&self, digest: &Digest) -> Option<Place<'_>> {
        let hash = self.key.hash(digest);
        // The upper end of the hash, scaled to as many sets as there are.
        let set = (u128::from(hash) * self.sets.len() as u128) >> 64;
        let tags = self.tags.get(set as usize)?;
        let entries = self.entries.get(set as usize)?;
        Some(Place { set: set as u32, tags, entries, hash })
    }

    /// The set of a digest: for tests of how they spread.
    #[must_use]
    pub fn set_of(&self, digest: &Digest) -> u32 {
        self.place(digest).map_or(0, |place| place.set)
    }

    /// The tag of a digest: for models.
    #[cfg(loom)]
    pub fn tag_of(&self, digest: &Digest) -> Option<u8> {
        self.place(digest).map(|place| place.tag())
    }

    /// How many verdicts on a digest there are: for models.
    #[cfg(loom)]
    pub fn copies(&self, digest: &Digest) -> usize {
        let words = Words::new(digest);
        let here = |entry: &&Entry| entry.read(&words, Faults::NONE).is_some();
        self.place(digest).map_or(0, |place| place.entries.iter().filter(here).count())
    }

    fn set(&self, place: &Place<'_>) -> Option<&Set> {
        self.sets.get(place.set as usize)
    }

    fn line(&self, hash: u64) -> Option<&Line> {
        self.sketch.get((hash >> 28) as usize & (self.sketch.len() - 1))
    }
}

impl<const OBSERVED: bool> fmt::Debug for Cache<'_, OBSERVED> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

/// One thread's access to a cache.
pub struct Handle<'c, const OBSERVED: bool = true> {
    cache: &'c Cache<'c, OBSERVED>,
    /// Where nobody else counts.
    own: Option<&'c Shard>,
    /// Where it counts without one of its own.
    shared: Option<&'c Shard>,
    /// Its thread's only.
    alone: PhantomData<Cell<()>>,
}

impl<const OBSERVED: bool> Handle<'_, OBSERVED> {
    /// The verdict on a digest, if it is there, does not expire at or before `now` and is of this epoch; else a ticket
    /// for inserting it once it is reached. Wait-free.
    ///
    /// `now` is a coarse tick of the caller's, `epoch` whatever must not outlive a change: both are compared, nothing
    /// else. A tick that wraps brings the dead back, so the caller changes the epoch first.
    ///
    /// # Errors
    /// The ticket.
    #[inline(always)]
    pub fn get(&self, digest: &Digest, now: u32, epoch: u32) -> Result<Verdict, Ticket> {
        let Some(place) = self.cache.place(digest) else { return Err(Ticket::NONE) };
        self.look(&place, place.candidates(), digest, now, epoch)
    }

    /// The same for many at once, whose memory is waited for together: `verdicts` is filled as far as there are
    /// digests, and the other way round.
    pub fn get_many(
        &self,
        digests: &[Digest],
        now: u32,
        epoch: u32,
        verdicts: &mut [Result<Verdict, Ticket>],
    ) {
        let chunks = digests.chunks(TOGETHER).zip(verdicts.chunks_mut(TOGETHER));
        for (digests, verdicts) in chunks {
            let mut places = [None; TOGETHER];
            for (place, digest) in places.iter_mut().zip(digests) {
                *place = self.cache.place(digest);
            }
            let mut found = places.map(|place| place.map(|place| (place, place.candidates())));
            // Nobody waits for what comes of this: the lines are on their way.
            for (place, candidates) in found.iter_mut().flatten() {
                *candidates = candidates.kept(|way| place.entry(way).is_some_and(Entry::is_valid));
            }
            for ((place, digest), verdict) in found.iter().zip(digests).zip(verdicts) {
                *verdict = match place {
                    Some((place, candidates)) => self.look(place, *candidates, digest, now, epoch),
                    None => Err(Ticket::NONE),
                };
            }
        }
    }

    #[inline(always)]
    fn look(
        &self,
        place: &Place<'_>,
        candidates: Ways,
        digest: &Digest,
        now: u32,
        epoch: u32,
    ) -> Result<Verdict, Ticket> {
        let words = Words::new(digest);
        for entry in candidates.filter_map(|way| place.entry(way)) {
            let Some(record) = entry.read(&words, self.cache.faults) else { continue };
            if record.epoch != epoch {
                return Err(self.missed(place.set, Some(Event::Stale)));
            }
            if now >= record.expiry {
                return Err(self.missed(place.set, Some(Event::Expired)));
            }
            entry.touch();
            self.note(Event::Hit);
            return Ok(record.verdict);
        }
        Err(self.missed(place.set, None))
    }

    /// Out of the way of hits, which take few enough instructions without it for several to wait for memory at once.
    #[cold]
    #[inline(never)]
    fn missed(&self, set: u32, why: Option<Event>) -> Ticket {
        why.into_iter().chain([Event::Miss]).for_each(|event| self.note(event));
        self.ticket_for(set)
    }

    /// A ticket for a digest that was not looked up: to be taken before its verification begins.
    #[must_use]
    pub fn ticket(&self, digest: &Digest) -> Ticket {
        self.cache.place(digest).map_or(Ticket::NONE, |place| self.ticket_for(place.set))
    }

    fn ticket_for(&self, set: u32) -> Ticket {
        let removals = self.cache.sets.get(set as usize).map_or(0, Set::removals);
        Ticket { set, removals }
    }

    /// Takes in a verdict in place of any other on this digest, unless a removal came after the ticket or another
    /// writer is at the same entry. `now` and the record's epoch tell which entries nobody needs any more.
    /// Lock-free, and never waits.
    pub fn insert(&self, ticket: Ticket, digest: &Digest, record: Record, now: u32) -> Outcome {
        let outcome = self.try_insert(ticket, digest, record, now).unwrap_or(Outcome::Dropped);
        self.note(match outcome {
            Outcome::Inserted => Event::Insert,
            Outcome::Dropped => Event::Dropped,
            Outcome::Outdated => Event::Outdated,
        });
        outcome
    }

    /// None if another writer is at it.
    fn try_insert(
        &self,
        ticket: Ticket,
        digest: &Digest,
        record: Record,
        now: u32,
    ) -> Option<Outcome> {
        let (cache, faults) = (self.cache, self.cache.faults);
        let place = cache.place(digest)?;
        let set = cache.set(&place)?;
        if ticket.set != place.set {
            return Some(Outcome::Outdated);
        }
        let words = Words::new(digest);
        let same = |way: &usize| {
            place.entry(*way).is_some_and(|entry| entry.read(&words, faults).is_some())
        };
        let way = match place.candidates().find(same) {
            Some(way) => way,
            None => {
                let proven = self.count_insertion(&place);
                let unused = |way: &usize| place.entry(*way).is_some_and(Entry::is_unused);
                match place.tags.matching(0).find(unused) {
                    Some(way) => way,
                    None => {
                        let victim = set.victim(place.entries, proven, now, record.epoch);
                        if place.entry(victim.way)?.is_alive(now, record.epoch) {
                            self.note(if victim.refused {
                                Event::Refused
                            } else {
                                Event::Eviction
                            });
                        }
                        victim.way
                    }
                }
            }
        };
        let entry = place.entry(way)?;
        let claim = entry.claim(faults)?;
        place.tags.set(way, place.tag());
        if faults.checks_tickets() && set.removals_since_claim() != ticket.removals {
            entry.abandon(claim);
            return Some(Outcome::Outdated);
        }
        if faults.ends_doubles() {
            self.dismiss(&place, &words, Some(way));
        }
        entry.publish(claim, &words, record, faults).then_some(Outcome::Inserted)
    }

    /// Whether the digest was inserted before, not long ago.
    fn count_insertion(&self, place: &Place<'_>) -> bool {
        let cache = self.cache;
        let inserted = cache.inserted.fetch_add(1, Relaxed).wrapping_add(1);
        if inserted.is_multiple_of(cache.stride) {
            let line = (inserted / cache.stride) as usize & (cache.sketch.len() - 1);
            if let Some(line) = cache.sketch.get(line) {
                line.halve();
            }
        }
        cache.line(place.hash).is_some_and(|line| line.add((place.hash >> 8) as u32) > 0)
    }

    /// Ends every verdict on this digest but one; whether there was one.
    fn dismiss(&self, place: &Place<'_>, words: &Words, but: Option<usize>) -> bool {
        let others = place.candidates().filter(|way| Some(*way) != but);
        let entries = others.filter_map(|way| place.entry(way));
        entries.fold(false, |found, entry| entry.dismiss(words) | found)
    }

    /// Revokes: from when this returns the digest is a miss, until it is inserted with a ticket that was taken after
    /// this was called. Whether a verdict was there. Lock-free.
    pub fn remove(&self, digest: &Digest) -> bool {
        let Some(place) = self.cache.place(digest) else { return false };
        if let Some(set) = self.cache.set(&place) {
            set.count_removal();
        }
        self.note(Event::Removal);
        self.dismiss(&place, &Words::new(digest), None)
    }

    /// How many look-ups its counters have counted, before it had them as well. The caller who samples goes by it.
    #[inline(always)]
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.own.or(self.shared).map_or(0, Shard::asked)
    }

    /// Notes how long a look-up took: the caller has the clock, and samples.
    pub fn time(&self, nanoseconds: u32) {
        match (self.own, self.shared) {
            (Some(own), _) => own.time(nanoseconds, true),
            (None, shared) => shared.into_iter().for_each(|shared| shared.time(nanoseconds, false)),
        }
    }

    /// The cache it belongs to.
    #[must_use]
    pub fn cache(&self) -> &Cache<'_, OBSERVED> {
        self.cache
    }

    #[inline(always)]
    fn note(&self, event: Event) {
        match (self.own, self.shared) {
            _ if !OBSERVED => {}
            (Some(own), _) => own.note(event, true),
            (None, shared) => shared.into_iter().for_each(|shared| shared.note(event, false)),
        }
    }
}

impl<const OBSERVED: bool> Drop for Handle<'_, OBSERVED> {
    fn drop(&mut self) {
        if let Some(own) = self.own {
            own.give_back();
        }
    }
}
