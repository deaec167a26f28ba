//! Which bytes of two or four words are a certain one: what a look-up in the cache asks first.
//!
//! Not in the table of kernels, since a call through a pointer takes longer than the search. x86-64 always has the
//! instructions, unless it is a target without floating point.

use crate::primitive::Bits;

const BYTES: usize = size_of::<Bits>();
/// Words that are searched.
pub(crate) const WORDS: usize = 16 / BYTES;

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
pub(crate) use portable::{STEP, equal};
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
pub(crate) use sse2::{STEP, equal};

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod sse2 {
    use super::{Bits, WORDS};
    use core::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_cvtsi64_si128, _mm_movemask_epi8, _mm_set1_epi8, _mm_unpacklo_epi8,
    };

    /// Bits of the answer for a byte.
    pub(crate) const STEP: usize = 1;

    /// Bit [`STEP`] (i [`WORDS`] + k) for byte i of word k.
    ///
    /// What has to wait for the words is a few instructions: the processor has room for the look-ups that follow.
    #[inline(always)]
    pub(crate) fn equal([even, odd]: [Bits; WORDS], byte: u8) -> Bits {
        // SAFETY: the build has the instructions, or this would not be compiled.
        let found = unsafe {
            let (even, odd) = (_mm_cvtsi64_si128(even as i64), _mm_cvtsi64_si128(odd as i64));
            let bytes = _mm_unpacklo_epi8(even, odd);
            _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8)))
        };
        found as Bits
    }
}

#[cfg(any(all(test, not(loom)), not(all(target_arch = "x86_64", target_feature = "sse2"))))]
mod portable {
    use super::{Bits, WORDS};

    /// Bits of the answer for a byte.
    pub(crate) const STEP: usize = 8 / WORDS;
    /// One in every byte.
    const ONES: Bits = Bits::MAX / 255;
    const TOPS: Bits = ONES << 7;

    /// Bit [`STEP`] (i [`WORDS`] + k) for byte i of word k, and now and then one more.
    #[inline(always)]
    pub(crate) fn equal(words: [Bits; WORDS], byte: u8) -> Bits {
        let mut found = 0;
        for (at, word) in words.into_iter().enumerate() {
            // The top bit of each byte that is zero (Warren, Hacker's Delight, 6-1).
            let differ = word ^ (ONES * Bits::from(byte));
            let zero = differ.wrapping_sub(ONES) & !differ & TOPS;
            found |= zero >> (7 - at * STEP);
        }
        found
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// How many bytes are wrongly said to be this one; none is missed.
    fn wrong(found: Bits, step: usize, words: [Bits; WORDS], byte: u8) -> usize {
        let said = |at: &usize| found >> (at * step) & 1 == 1;
        let is = |at: &usize| (words[at % WORDS] >> (at / WORDS * 8)) as u8 == byte;
        assert!((0..16).filter(is).all(|at| said(&at)), "{words:x?} {byte:x} {found:x}");
        let all = (0..16).filter(said);
        assert_eq!(all.clone().fold(0, |all, at| all | 1 << (at * step)), found);
        all.filter(|at| !is(at)).count()
    }

    #[test]
    fn all_are_found_and_little_more() {
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(0x915f_77f5).wrapping_add(12345);
            state >> 24
        };
        let (mut asked, mut about) = (0, 0);
        for _ in 0..10_000 {
            // Of few values, so that some are the same and some differ by one.
            let few = random() % 16 + 1;
            let words = [(); WORDS].map(|()| {
                let bytes = [(); BYTES].map(|()| Bits::from(random() % few));
                bytes.into_iter().fold(0, |word, byte| word << 8 | byte)
            });
            for byte in [0, 1, 2, 8, 128, 255] {
                asked += 16;
                about += wrong(portable::equal(words, byte), portable::STEP, words, byte);
                let more = wrong(equal(words, byte), STEP, words, byte);
                assert!(more == 0 || STEP == portable::STEP);
            }
        }
        assert!(about * 50 < asked, "{about} of {asked}");
    }
}
