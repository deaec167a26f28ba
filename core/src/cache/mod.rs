//! Verdicts that were reached before.

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

/// What a verdict is about: a SHA3-256 digest of statement, circuit version and proof.
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
