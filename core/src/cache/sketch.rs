//! How often a digest was inserted lately: a Count-Min sketch of four-bit counters.

use crate::primitive::atomic::Ordering::Relaxed;
use crate::primitive::{Bits, Word, const_fn, filled};

/// Lines of the default sketch: 512 KiB.
pub const LINES: usize = 8192;

/// Counters of a line, four bits each.
pub(super) const COUNTERS: usize = 128;
const ROWS: usize = 4;
const WORDS: usize = LINE / size_of::<Bits>();
const LINE: usize = COUNTERS / 2;
/// Counters of a word.
const PER_WORD: usize = Bits::BITS as usize / 4;
/// Every bit of a counter but the lowest.
const HALVES: Bits = Bits::MAX / 15 * 7;

/// A cache line of counters. All four counters of a digest lie in one (Putze, Sanders, Singler, Cache-, Hash- and
/// Space-Efficient Bloom Filters, 2007): one line is fetched for each digest, not four.
///
/// Updates are loads and stores: one that is lost to another thread makes an estimate smaller by one.
#[repr(C, align(64))]
pub struct Line([Word; WORDS]);

impl Line {
    const_fn! {
        /// Nothing counted.
        #[must_use]
        pub fn new() -> Self {
            Self(filled!(Word::new(0)))
        }
    }

    /// Counts a digest by 20 bits of its hash, and gives the count before.
    pub(super) fn add(&self, hash: u32) -> u8 {
        let places: [_; ROWS] = core::array::from_fn(|row| {
            let counter =
                row * (COUNTERS / ROWS) + (hash >> (5 * row)) as usize % (COUNTERS / ROWS);
            (counter / PER_WORD % WORDS, counter % PER_WORD * 4)
        });
        let count = |(word, shift): (usize, usize)| {
            let word = self.0.get(word).map_or(0, |word| word.load(Relaxed));
            (word >> shift & 15) as u8
        };
        let least = places.into_iter().map(count).min().unwrap_or(0);
        if least < 15 {
            // Only the smallest are raised: the others have counted something else (Estan and Varghese, 2002).
            for (word, shift) in places.into_iter().filter(|place| count(*place) == least) {
                if let Some(word) = self.0.get(word) {
                    word.store(word.load(Relaxed).wrapping_add(1 << shift), Relaxed);
                }
            }
        }
        least
    }

    /// Halves every counter: what is long ago counts less.
    pub(super) fn halve(&self) {
        for word in &self.0 {
            word.store(word.load(Relaxed) >> 1 & HALVES, Relaxed);
        }
    }

    pub(super) fn clear(&self) {
        self.0.iter().for_each(|word| word.store(0, Relaxed));
    }
}

#[cfg(not(loom))]
impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn counts_are_never_too_small_and_saturate() {
        let line = Line::new();
        for hash in [0, 0xf_ffff, 0x12345] {
            for count in 0..40 {
                assert!(line.add(hash) >= 15.min(count));
            }
            assert_eq!(line.add(hash), 15);
        }
        // One that shares no counter with the others.
        assert_eq!(line.add(0x8_c631), 0);
    }

    #[test]
    fn halving_halves_each_counter() {
        let line = Line::new();
        for (hash, count) in [(0, 15), (0x8_4210 >> 5 << 5 | 1, 6), (0xf_ffff, 1)] {
            (0..count).for_each(|_| _ = line.add(hash));
        }
        let counters = |line: &Line| {
            let mut counters = [0; COUNTERS];
            for (at, counter) in counters.iter_mut().enumerate() {
                *counter = line.0[at / PER_WORD].load(Relaxed) >> (at % PER_WORD * 4) & 15;
            }
            counters
        };
        let before = counters(&line);
        assert!(before.contains(&15) && before.contains(&6) && before.contains(&1));
        line.halve();
        assert_eq!(counters(&line), before.map(|counter| counter / 2));
    }
}
