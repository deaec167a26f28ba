//! Where a digest belongs: a keyed hash, which nobody outside can aim.

use super::Digest;
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The secret of one cache: without it nobody can tell which digests share a set.
///
/// The hash is ((a0 x0 + a1 x1 + b) mod 2^128) / 2^64 for the two words x of a digest folded once, by exclusive or of its
/// halves. With uniform 128-bit a and b it is strongly universal (Dietzfelbinger 1996; Thorup, High Speed Hashing for
/// Integers and Strings, 2015, section 3.3): whatever two folded digests somebody chooses, their hashes are independent
/// and uniform, so they share one of n sets with probability 1/n. Digests are SHA3's: two that fold to the same 128 bits
/// take 2^64 trials, and the 17 that would overfill a set some 2^120.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Key {
    factors: [u128; 2],
    offset: u128,
}

impl Key {
    /// Draws a key.
    #[must_use]
    pub fn draw<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut word = || u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        Self { factors: [word(), word()], offset: word() }
    }

    /// Uniform in 64 bits.
    #[inline(always)]
    pub(super) fn hash(&self, digest: &Digest) -> u64 {
        let (words, _) = digest.as_chunks();
        let (low, high) = words.split_at(words.len() / 2);
        let mut sum = self.offset;
        for (factor, (low, high)) in self.factors.iter().zip(low.iter().zip(high)) {
            let folded = u64::from_le_bytes(*low) ^ u64::from_le_bytes(*high);
            sum = sum.wrapping_add(factor.wrapping_mul(u128::from(folded)));
        }
        (sum >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::ChaCha20Rng;
    use rand_core::SeedableRng;

    #[test]
    fn the_hash_is_the_sum_in_wide_arithmetic() {
        let key = Key::draw(&mut ChaCha20Rng::from_seed([3; 32]));
        let digest: Digest = core::array::from_fn(|at| (at * 7 + 1) as u8);
        // In limbs of 32 bits.
        let limbs = |value: u128| [0, 32, 64, 96].map(|shift| (value >> shift) as u32);
        let mut sum = [0_u128; 4];
        let mut add = |factor: [u32; 4], word: [u32; 2]| {
            for (i, f) in factor.into_iter().enumerate() {
                for (j, w) in word.into_iter().enumerate().filter(|(j, _)| i + j < 4) {
                    sum[i + j] += u128::from(f) * u128::from(w);
                }
            }
        };
        for (at, factor) in key.factors.into_iter().enumerate() {
            let half = |at: usize| u32::from_le_bytes(*digest[4 * at..].first_chunk().unwrap());
            let word = |at: usize| half(at) ^ half(at + 4);
            add(limbs(factor), [word(2 * at), word(2 * at + 1)]);
        }
        add(limbs(key.offset), [1, 0]);
        for at in 0..3 {
            sum[at + 1] += sum[at] >> 32;
        }
        assert_eq!(key.hash(&digest), (sum[3] as u32 as u64) << 32 | sum[2] as u32 as u64);
    }
}
