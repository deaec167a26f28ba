//! Which of a set's entries may hold a digest, and which is given up for a new one.

use super::entry::Entry;
use crate::kernel::bytes::{STEP, WORDS, equal};
use crate::primitive::atomic::AtomicU32;
use crate::primitive::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::primitive::{Bits, Word, const_fn, filled};

/// Entries of a set.
pub const WAYS: usize = 16;

/// One byte of hash for each entry of a set: a megabyte for a million entries, most of which stays in the second-level
/// cache.
#[repr(C, align(16))]
// Entry i has byte i / WORDS of word i % WORDS.
pub struct Tags([Word; WORDS]);

const _: () = assert!(size_of::<Tags>() == WAYS);

impl Tags {
    const_fn! {
        /// Of a set that was never used.
        #[must_use]
        pub fn new() -> Self {
            Self(filled!(Word::new(0)))
        }
    }

    /// The entries with this tag; on some processors now and then one with another.
    #[inline(always)]
    pub(super) fn matching(&self, tag: u8) -> Ways {
        Ways(equal(self.0.each_ref().map(|word| word.load(Relaxed)), tag))
    }

    fn get(&self, way: usize) -> u8 {
        let word = self.0.get(way % WORDS).map_or(0, |word| word.load(Relaxed));
        (word >> (way / WORDS * 8)) as u8
    }

    /// By an entry's claimant only: nobody else changes its byte.
    pub(super) fn set(&self, way: usize, tag: u8) {
        if let Some(word) = self.0.get(way % WORDS) {
            let shift = way / WORDS * 8;
            word.fetch_xor(Bits::from(self.get(way) ^ tag) << shift, Relaxed);
        }
    }

    pub(super) fn clear(&self) {
        self.0.iter().for_each(|word| word.store(0, Relaxed));
    }
}

/// Some of a set's entries: bit [`STEP`] i for entry i.
#[derive(Clone, Copy)]
pub(super) struct Ways(Bits);

impl Ways {
    /// Those that are to be kept.
    #[inline]
    pub(super) fn kept(self, keep: impl Fn(usize) -> bool) -> Self {
        let mut kept = self;
        for way in self {
            if !keep(way) {
                kept.0 &= !(1 << (STEP * way));
            }
        }
        kept
    }
}

impl Iterator for Ways {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let way = self.0.trailing_zeros() as usize / STEP;
        self.0 &= self.0.checked_sub(1)?;
        Some(way)
    }
}

/// What inserting and removing need of a set: hits leave it alone.
#[repr(C, align(8))]
pub struct Set {
    /// Every removal raises it, and every insertion reads it by an exchange: so each of two has seen the other's, or
    /// will be seen.
    removals: AtomicU32,
    /// The two entries on probation, the older one first, and the clock's hand, four bits each.
    order: AtomicU32,
}

/// The two on probation at first, and the hand before the others.
const FIRST: u32 = 0x110;

/// An entry to be given up.
pub(super) struct Victim {
    pub way: usize,
    /// It was on probation and was not asked for again.
    pub refused: bool,
}

impl Set {
    const_fn! {
        /// Of a set that was never used.
        #[must_use]
        pub fn new() -> Self {
            Self { removals: AtomicU32::new(0), order: AtomicU32::new(FIRST) }
        }
    }

    /// How many removals there were.
    pub(super) fn removals(&self) -> u32 {
        self.removals.load(Acquire)
    }

    /// The same for a claimant: every claim before this is seen by removals after it.
    pub(super) fn removals_since_claim(&self) -> u32 {
        self.removals.fetch_add(0, AcqRel)
    }

    pub(super) fn count_removal(&self) {
        self.removals.fetch_add(1, AcqRel);
    }

    /// Chooses. What is `proven` goes among the others at once; what is not goes on probation, and the oldest there
    /// is given up, or joins the others if it was used.
    pub(super) fn victim(
        &self,
        entries: &[Entry; WAYS],
        proven: bool,
        now: u32,
        epoch: u32,
    ) -> Victim {
        let order = self.order.load(Relaxed);
        let (older, newer, mut hand) = (order & 15, order >> 4 & 15, order >> 8 & 15);
        let at = |way: u32| entries.get(way as usize);
        let keep = |older: u32, newer: u32, hand: u32| {
            // Two writers at once: one order is lost, and the next victim is another.
            self.order.store(older | newer << 4 | hand << 8, Relaxed);
        };
        let others = |hand: u32| {
            let on = (1..).map(|step| (hand + step) % WAYS as u32);
            on.take(3).find(|way| *way != older && *way != newer).unwrap_or(hand)
        };
        let is_alive = |way: u32| at(way).is_some_and(|entry| entry.is_alive(now, epoch));
        let is_used = |way: u32| at(way).is_some_and(|entry| entry.is_used(now, epoch));
        let joins = !proven && (is_used(older) || is_alive(older) && !is_alive(others(hand)));
        if !proven && !joins {
            keep(newer, older, hand);
            return Victim { way: older as usize, refused: true };
        }
        let oldest = at(older).filter(|_| joins);
        if let Some(oldest) = oldest {
            oldest.settle();
        }
        // CLOCK with counts: each turn cools an entry, and none is hotter than three turns. Others may heat it again.
        for _ in 0..4 * WAYS {
            hand = others(hand);
            match at(hand) {
                Some(entry) if entry.is_used(now, epoch) => entry.cool(),
                _ => break,
            }
        }
        if proven {
            keep(older, newer, hand)
        } else {
            keep(newer, hand, hand)
        };
        Victim { way: hand as usize, refused: false }
    }

    pub(super) fn clear(&self) {
        self.removals.store(0, Relaxed);
        self.order.store(FIRST, Relaxed);
    }
}

#[cfg(not(loom))]
impl Default for Tags {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(loom))]
impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_where_they_were_set() {
        let tags = Tags::new();
        assert_eq!(tags.matching(0).count(), WAYS);
        for way in 0..WAYS {
            tags.set(way, way as u8 * 16 + 1);
            for other in 0..=way {
                assert!(tags.matching(other as u8 * 16 + 1).any(|found| found == other));
            }
            assert_eq!(tags.matching(0xfe).count(), 0);
        }
        (0..WAYS).for_each(|way| tags.set(way, 7));
        assert!(tags.matching(7).eq(0..WAYS));
        assert!(tags.matching(7).kept(|way| way % 2 == 0).eq((0..WAYS).step_by(2)));
        assert_eq!(tags.matching(8).count(), 0);
    }
}
