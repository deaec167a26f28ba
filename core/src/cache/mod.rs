//! Verdicts that were reached before: a cache of fixed size, lock-free, in memory that the caller lends.
//!
//! A [`Cache`] leads from a digest of statement, circuit version and zero-knowledge proof to whether the proof
//! convinced. Threads use it through a [`Handle`] each.
//!
//! ```
//! # use symbolon_core::cache::{Cache, Fixed, Key, Outcome, Record, Verdict};
//! # let mut rng = <chacha20::ChaCha20Rng as rand_core::SeedableRng>::from_seed([7; 32]);
//! // 1,024 entries, a sketch of 4 KiB, counters for one thread and for all others.
//! let mut memory = Fixed::<64, 64, 2>::new();
//! let cache: Cache = Cache::new(memory.memory(), Key::draw(&mut rng))?;
//! let handle = cache.handle();
//! let (digest, now, epoch) = ([7; 32], 1_000, 3);
//! if let Err(ticket) = handle.get(&digest, now, epoch) {
//!     // The proof is verified here, after the ticket was taken.
//!     let record = Record { verdict: Verdict::Accepted, expiry: now + 600, epoch };
//!     assert_eq!(handle.insert(ticket, &digest, record, now), Outcome::Inserted);
//! }
//! assert_eq!(handle.get(&digest, now, epoch), Ok(Verdict::Accepted));
//! assert!(handle.get(&digest, now, epoch + 1).is_err(), "another epoch ends everything");
//! # Ok::<(), symbolon_core::Error>(())
//! ```
//!
//! # What a hit means
//! All 32 bytes of the digest were inserted with this verdict, in this epoch, for longer than `now`, and were not
//! removed since. A wrong hit takes two inputs of one SHA3-256 digest. A miss means nothing: a cache forgets, drops an
//! insertion where two writers meet, and misses where somebody writes to the entry that is being read.
//!
//! *Revocation.* After [`Handle::remove`] returns its digest is a miss, against insertions under way as well: an
//! insertion brings a [`Ticket`] from before its verification, and fails if there was a removal since, in the same set.
//! Who takes a ticket after `remove` was called counts as after it: so a revocation is first written where
//! verifications look, and then removed from here. A new epoch revokes everything at once, and costs nothing.
//!
//! *Time.* `now` is compared with `expiry`, nothing else: ticks that wrap bring the dead back. In seconds they wrap after
//! 136 years; who counts faster changes the epoch before.
//!
//! # Layout
//! Sets of 16 entries, three arrays. Tags: a byte of hash an entry, 16 bytes a set, so a megabyte for a million entries.
//! Entries: a cache line each, with all that a hit reads. Sets: 8 bytes of what only misses, insertions and removals
//! need. A hit reads 16 bytes of tags and one line, and writes only while the entry has fewer than three hits since the
//! clock's hand came by: lines that are hot stay shared between cores. One hit in 34 reads a second line because of a
//! tag that is equal by chance (one in 17 by [`Handle::get_many`]). A hit is inlined and takes about a hundred
//! instructions, few of which wait for memory, so that a processor has several look-ups under way. `get_many` first
//! computes where all of 32 digests are, then touches all their lines, then reads: processors wait for many lines as long
//! as for one.
//!
//! The set is chosen by a strongly universal hash under a secret [`Key`]: nobody can make digests that meet in one set.
//! Two digests of SHA3 that the hash cannot tell apart take 2^64 trials, and a set has room for sixteen.
//! Who can see the times of look-ups by others could learn which sets are used, not what is in them.
//!
//! # Why no verdict is torn
//! An entry's state has a version and is one of empty, valid, writing, cancelled. All else in it is in relaxed atomics.
//! There is no `unsafe`, but around the instructions that search tags that were loaded.
//! 1. A writer exchanges the state for `writing` (release fence after it), writes, and exchanges it for `valid` (release).
//! 2. A reader takes the state (acquire), the words, and (acquire fence) the state again. If both are the same nobody
//!    claimed the entry in between: whoever reads a word of a later writer sees the claim by fence and fence.
//! 3. A writer claims, sets the tag, and then *exchanges* the set's count of removals, by adding 0; a removal adds 1 and
//!    then looks at the entries. The two exchanges are in one order. If the writer's is first, the removal sees claim and
//!    tag and exchanges `writing` for `cancelled`, on which the writer's last exchange fails; else the writer sees the
//!    count and gives up. The same exchange makes one of two writers of one digest see the other, and cancel it.
//! 4. A cancelled entry stays its writer's until he comes back, so no two write the same words.
//!
//! Nobody waits: look-ups are wait-free, everything else is lock-free. A writer that never comes back costs its entry.
//! `core/tests/loom_cache.rs` checks this, and that it fails without the second look, the release, the claim's exchange,
//! the ticket's check, cancellation, and the end of doubles.
//!
//! # Admission and eviction
//! Two entries of a set are on probation, in order of arrival (as in S3-FIFO: Yang et al., FIFO Queues are All You Need
//! for Cache Eviction, 2023). A digest that a Count-Min sketch has counted before skips it: that is the part of TinyLFU
//! (Einziger et al., 2017) that helped. The oldest on probation is given up unless it was asked for again. The other
//! fourteen are a CLOCK with counts up to three. Expired entries and those of another epoch are given up first. The
//! sketch is of constant size, 512 KiB by [`LINES`] or as the caller likes; a line of it is halved every few insertions, so that
//! no thread stops to halve all. It counts insertions only: a hit does not touch it, and neither does a proof that nobody
//! verified.
//!
//! Tried on the traces of `benches/src/cache.rs` and rejected: frequencies of four bits in the set with the least given up
//! (0.5 points more of Zipf, 5 to 15 fewer where the ranks shift); eight ways (0.2 to 0.4 fewer); counting hits in the
//! sketch (no better, and a line more a hit); proof by being counted twice (1 fewer where the ranks shift).
//!
//! # What is counted
//! [`Stats`] and a histogram of times, in a [`Shard`] for each handle: loads and stores of its own line. The last shard is
//! nobody's own: handles that find no other share it, and exchange. `OBSERVED = false` is the same cache without, for a
//! comparison.

mod count;
mod entry;
#[cfg(not(loom))]
mod faults;
#[cfg(loom)]
pub mod faults;
mod hash;
mod set;
mod sketch;
mod table;

pub use count::{BUCKETS, Shard, Stats, bucket_start};
pub use entry::Entry;
pub use hash::Key;
pub use set::{Set, Tags, WAYS};
pub use sketch::{LINES, Line};
pub use table::{Cache, Fixed, Handle, Memory};

/// What a verdict is about: a SHA3-256 digest of statement, circuit version and proof. Nothing that somebody could
/// choose byte by byte: the set is chosen by a fold of it.
pub type Digest = [u8; 32];

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Verdict {
    /// The proof did not convince.
    Refused,
    /// It did.
    Accepted,
}

/// A verdict and how long it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Record {
    /// What was decided.
    pub verdict: Verdict,
    /// The first tick at which it holds no more.
    pub expiry: u32,
    /// It holds in this epoch only.
    pub epoch: u32,
}

/// Leave to insert a verdict, from before its verification began: void once its digest is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ticket {
    set: u32,
    /// The set's removals until then.
    removals: u32,
}

impl Ticket {
    /// Of no set.
    pub const NONE: Self = Self { set: u32::MAX, removals: 0 };
}

/// What became of a verdict to be inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub enum Outcome {
    /// It is there.
    Inserted,
    /// It is not: another writer was at the same entry.
    Dropped,
    /// It is not: since its ticket was taken there was a removal, of this digest or of another in its set.
    Outdated,
}
