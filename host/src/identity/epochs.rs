//! The epochs of a registry and their roots, in memory: asked for every proof, so neither a lock nor the
//! database is in the way.
//!
//! The epochs stand in an array that only grows, in pieces of 1, 2, 4, ... that never move: a reader needs a
//! few loads and waits for nobody. An epoch takes 64 bytes, and those that a revocation ended before the
//! registry was opened take none: 6 MB after ten years of an epoch an hour.

use super::hash::Node;
use crate::error::{Error, Kind};
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Why an epoch's root does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootError {
    /// There is no such epoch, or not yet.
    Unknown,
    /// A later epoch has taken its place, and the overlap is over: prove anew.
    Expired,
    /// Somebody was revoked since, and a proof does not say whose it is: prove anew.
    Withdrawn,
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no root of this epoch was published",
            Self::Expired => "the epoch is over: prove anew, under the root of a later one",
            Self::Withdrawn => {
                "the epoch's root was withdrawn, as somebody was revoked: prove anew, under a later one"
            }
        })
    }
}

impl std::error::Error for RootError {}

impl From<RootError> for Error {
    fn from(error: RootError) -> Self {
        Self::new(Kind::Root, error.to_string())
    }
}

/// Whether an epoch may hold at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As long as its time says.
    Open = 0,
    /// No more, whatever a clock says: a publication found its time over, and its nullifiers are gone.
    Expired = 1,
    /// No more: somebody was revoked.
    Withdrawn = 2,
}

/// An epoch, as it stands in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// From 1 on.
    pub number: u32,
    /// Lifted.
    pub root: Node,
    /// When it was published, in milliseconds since 1970.
    pub published_ms: u64,
    /// When it ends; `u64::MAX` while no other has followed.
    pub until_ms: u64,
    /// Whether it may hold until then.
    pub state: State,
}

impl Epoch {
    /// Whether its root holds at a time. Errors: why not.
    pub fn holds(&self, now_ms: u64) -> Result<Node, RootError> {
        match self.state {
            State::Withdrawn => Err(RootError::Withdrawn),
            State::Open if now_ms < self.until_ms => Ok(self.root),
            State::Open | State::Expired => Err(RootError::Expired),
        }
    }

    /// What a publication at `now_ms` leaves of it.
    pub(super) fn succeeded(mut self, withdrawn: bool, now_ms: u64, until_ms: u64) -> Self {
        // A clock that once stood in the future is so put right.
        self.until_ms = self.until_ms.min(until_ms);
        self.state = match self.state {
            _ if withdrawn => State::Withdrawn,
            State::Open if self.until_ms <= now_ms => State::Expired,
            state => state,
        };
        self
    }

    /// Bytes of a record: root, both times (8), state (1).
    pub(super) const SIZE: usize = Node::SIZE + 17;

    pub(super) fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        let times = [self.published_ms.to_le_bytes(), self.until_ms.to_le_bytes()];
        out[..Node::SIZE].copy_from_slice(&self.root.encode());
        out[Node::SIZE..Self::SIZE - 1].copy_from_slice(times.as_flattened());
        out[Self::SIZE - 1] = self.state as u8;
        out
    }

    pub(super) fn decode(number: u32, record: &[u8]) -> Option<Self> {
        let (root, rest) = record.split_first_chunk()?;
        let (published_ms, rest) = rest.split_first_chunk()?;
        let (until_ms, rest) = rest.split_first_chunk()?;
        let state = match rest {
            [0] => State::Open,
            [1] => State::Expired,
            [2] => State::Withdrawn,
            _ => return None,
        };
        let [published_ms, until_ms] = [*published_ms, *until_ms].map(u64::from_le_bytes);
        Some(Self { number, root: Node::decode(root)?, published_ms, until_ms, state })
    }
}

/// An epoch in memory: its end and state change.
struct Entry {
    epoch: Epoch,
    until_ms: AtomicU64,
    state: AtomicU8,
}

/// All epochs since the last that a revocation ended.
pub(super) struct Epochs {
    /// Number of the first.
    first: u32,
    /// Number of the last; 0 before there is one.
    current: AtomicU32,
    /// Piece k has 2^k.
    pieces: [OnceLock<Box<[OnceLock<Entry>]>>; 32],
}

impl Epochs {
    /// None yet; those before `first` were withdrawn.
    pub fn new(first: u32) -> Self {
        Self { first, current: AtomicU32::new(0), pieces: [const { OnceLock::new() }; 32] }
    }

    pub fn current(&self) -> u32 {
        self.current.load(Ordering::Acquire)
    }

    pub fn get(&self, number: u32) -> Result<Epoch, RootError> {
        if number == 0 || number > self.current() {
            return Err(RootError::Unknown);
        }
        let (piece, at) = self.place(number).ok_or(RootError::Withdrawn)?;
        let entry = self.pieces.get(piece).and_then(OnceLock::get);
        let entry = entry.and_then(|piece| piece.get(at)).and_then(OnceLock::get);
        let entry = entry.ok_or(RootError::Unknown)?;
        let state = match entry.state.load(Ordering::Acquire) {
            0 => State::Open,
            1 => State::Expired,
            _ => State::Withdrawn,
        };
        Ok(Epoch { until_ms: entry.until_ms.load(Ordering::Acquire), state, ..entry.epoch })
    }

    /// Changes epochs, or adds the one after the current; one thread at a time.
    pub fn set(&self, epoch: &Epoch) {
        let Some((piece, at)) = self.place(epoch.number) else { return };
        let entry = self.pieces.get(piece).and_then(|slot| {
            slot.get_or_init(|| (0..1_u64 << piece).map(|_| OnceLock::new()).collect()).get(at)
        });
        let entry = entry.map(|entry| {
            entry.get_or_init(|| Entry {
                epoch: *epoch,
                until_ms: AtomicU64::new(epoch.until_ms),
                state: AtomicU8::new(epoch.state as u8),
            })
        });
        if let Some(entry) = entry {
            entry.until_ms.store(epoch.until_ms, Ordering::Release);
            entry.state.store(epoch.state as u8, Ordering::Release);
            // Who sees it as the current one finds it.
            self.current.fetch_max(epoch.number, Ordering::AcqRel);
        }
    }

    /// Which piece an epoch is in, and where; `None` before the first.
    fn place(&self, number: u32) -> Option<(usize, usize)> {
        let n = u64::from(number.checked_sub(self.first)?) + 1;
        let piece = n.ilog2();
        Some((piece as usize, (n - (1 << piece)) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(number: u32) -> Epoch {
        let root = Node::of_digest(&[number as u8; 32]);
        let published_ms = u64::from(number) * 10;
        Epoch { number, root, published_ms, until_ms: u64::MAX, state: State::Open }
    }

    #[test]
    fn every_epoch_has_a_place_of_its_own() {
        for first in [1, 7, u32::MAX - 5] {
            let epochs = Epochs::new(first);
            assert_eq!((epochs.current(), epochs.get(first)), (0, Err(RootError::Unknown)));
            for number in (first..=u32::MAX).take(1000) {
                epochs.set(&epoch(number));
                assert_eq!(epochs.current(), number);
            }
            for number in (first..=u32::MAX).take(1000) {
                assert_eq!(epochs.get(number), Ok(epoch(number)));
            }
            assert_eq!(epochs.get(0), Err(RootError::Unknown));
            if first > 1 {
                assert_eq!(epochs.get(first - 1), Err(RootError::Withdrawn));
            } else {
                assert_eq!(epochs.get(1001), Err(RootError::Unknown));
            }
        }
    }

    #[test]
    fn the_last_place_is_in_the_last_piece() {
        assert_eq!(Epochs::new(1).place(u32::MAX), Some((31, (1 << 31) - 1)));
        assert_eq!(Epochs::new(1).place(0), None);
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let epoch = Epoch { until_ms: 5, state: State::Withdrawn, ..epoch(9) };
        let mut record = epoch.encode();
        assert_eq!(Epoch::decode(9, &record), Some(epoch));
        assert_eq!(Epoch::decode(9, &record[1..]), None);
        assert_eq!(Epoch::decode(9, &[&record[..], &[0]].concat()), None);
        record[Epoch::SIZE - 1] = 3;
        assert_eq!(Epoch::decode(9, &record), None);
        record = epoch.encode();
        record[..4].fill(0xff);
        assert_eq!(Epoch::decode(9, &record), None);
    }

    #[test]
    fn a_later_end_does_not_take_the_place_of_an_earlier() {
        let open = epoch(1);
        let once = open.succeeded(false, 100, 150);
        assert_eq!((once.until_ms, once.state), (150, State::Open));
        assert_eq!((once.holds(149), once.holds(150)), (Ok(open.root), Err(RootError::Expired)));
        assert_eq!(once.succeeded(false, 120, 220).until_ms, 150);
        // A publication with an earlier clock ends it earlier, not later.
        assert_eq!(once.succeeded(false, 20, 70).until_ms, 70);
        // Found expired, it stays so whatever the clock.
        let expired = once.succeeded(false, 150, 200);
        assert_eq!(expired.holds(0), Err(RootError::Expired));
        assert_eq!(expired.succeeded(false, 0, 0).state, State::Expired);
        assert_eq!(once.succeeded(true, 100, 150).holds(0), Err(RootError::Withdrawn));
        assert_eq!(expired.succeeded(true, 0, 0).holds(0), Err(RootError::Withdrawn));
    }
}
