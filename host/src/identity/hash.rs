//! Poseidon2 of width 16 over KoalaBear (p = 2^31 - 2^24 + 1), as one compression function with feed-forward:
//! the first eight elements of P(x) + x. Each use is one permutation, so that it is one row of the circuit.
//!
//! Leaves and nullifiers hold a tag where nodes have an element of a child. A node may equal a leaf's input by
//! search, 2^31 of it: that is why every path has the same length, so that no node is where leaves are.

use p3_field::integers::QuotientMap;
use p3_field::{PrimeCharacteristicRing, PrimeField32};
use p3_koala_bear::{KoalaBear, Poseidon2KoalaBear, default_koalabear_poseidon2_16};
use p3_symmetric::Permutation;
use std::sync::LazyLock;
use subtle::{Choice, ConditionallySelectable};
use symbolon_core::attest::Digest;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Elements of a permutation's state.
pub const WIDTH: usize = 16;
/// Elements of a node: 248 bits, so collisions take 2^124 trials.
pub const NODE: usize = 8;
/// Elements of a secret: 217 bits.
pub const SECRET: usize = 7;
/// In a leaf, after the secret.
pub const LEAF_TAG: u32 = 1;
/// In a nullifier, after the secret.
pub const NULLIFIER_TAG: u32 = 2;

/// The permutation, with the library's constants (those of the Poseidon2 paper's generator).
pub static PERMUTATION: LazyLock<Poseidon2KoalaBear<WIDTH>> =
    LazyLock::new(default_koalabear_poseidon2_16);

/// A node of the tree, an attribute digest, a context or a nullifier: eight field elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node(pub [KoalaBear; NODE]);

impl Node {
    /// Of an empty subtree, whatever its height: nobody knows an input that hashes to it.
    pub const ZERO: Self = Self([KoalaBear::ZERO; NODE]);
    /// Bytes of an encoded node.
    pub const SIZE: usize = 4 * NODE;

    /// Canonical elements, each little-endian.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        for (out, element) in out.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            *out = element.as_canonical_u32().to_le_bytes();
        }
        out
    }

    /// Reads an encoded node; `None` where an element is not below p.
    #[must_use]
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        let mut node = Self::ZERO;
        for (element, bytes) in node.0.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *element = KoalaBear::from_canonical_checked(u32::from_le_bytes(*bytes))?;
        }
        Some(node)
    }

    /// A digest as a node: each 32-bit word mod p, so 2^248 nodes are about equally likely.
    #[must_use]
    pub fn of_digest(digest: &Digest) -> Self {
        let mut node = Self::ZERO;
        for (element, bytes) in node.0.iter_mut().zip(digest.as_chunks::<4>().0) {
            *element = KoalaBear::from_int(u32::from_le_bytes(*bytes));
        }
        node
    }
}

/// What only the holder of a credential knows: seven field elements, uniform.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u32; SECRET]);

impl Secret {
    /// Bytes of randomness a secret is made of: 8 for each element, so that the bias is below 2^-33.
    pub const SEED: usize = 8 * SECRET;

    /// A secret of uniform bytes, which stay the caller's to zeroise.
    #[must_use]
    pub fn of_seed(seed: &[u8; Self::SEED]) -> Self {
        let mut secret = Self([0; SECRET]);
        for (element, bytes) in secret.0.iter_mut().zip(seed.as_chunks::<8>().0) {
            *element = residue(u64::from_le_bytes(*bytes));
        }
        secret
    }

    /// The elements, for the circuit.
    pub(super) fn elements(&self) -> [KoalaBear; SECRET] {
        self.0.map(KoalaBear::from_int)
    }

    /// The leaf of this secret with `attributes`.
    #[must_use]
    pub fn leaf(&self, attributes: &Node) -> Node {
        self.tagged(LEAF_TAG, attributes)
    }

    /// What this secret is known by in a context.
    #[must_use]
    pub fn nullifier(&self, context: &Node) -> Node {
        self.tagged(NULLIFIER_TAG, context)
    }

    fn tagged(&self, tag: u32, with: &Node) -> Node {
        let mut left = [KoalaBear::from_int(tag); NODE];
        left[..SECRET].copy_from_slice(&self.elements());
        compress(&Node(left), with)
    }
}

/// A secret word mod p. The library divides words of 64 bits, in a time that depends on them; this is Barrett's way.
fn residue(word: u64) -> u32 {
    const P: u64 = KoalaBear::ORDER_U32 as u64;
    // The quotient, or one less: what is left is below 2p.
    let quotient = ((u128::from(word) * u128::from(u64::MAX / P)) >> 64) as u64;
    let left = word.wrapping_sub(quotient.wrapping_mul(P));
    let less = left.wrapping_sub(P);
    let is_below = Choice::from((less >> 63) as u8);
    u64::conditional_select(&less, &left, is_below) as u32
}

/// A node of its two children: the first half of P(left, right) + (left, right).
#[must_use]
pub fn compress(left: &Node, right: &Node) -> Node {
    let mut state = [KoalaBear::ZERO; WIDTH];
    state[..NODE].copy_from_slice(&left.0);
    state[NODE..].copy_from_slice(&right.0);
    PERMUTATION.permute_mut(&mut state);
    let mut out = *left;
    for (out, element) in out.0.iter_mut().zip(state) {
        *out += element;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};

    #[test]
    fn residues_are_remainders() {
        let p = u64::from(KoalaBear::ORDER_U32);
        let check = |word: u64| {
            let remainder = u128::from(word) % u128::from(p);
            assert_eq!(u128::from(residue(word)), remainder, "{word:#x}");
            assert_eq!(residue(word), KoalaBear::from_int(word).as_canonical_u32());
        };
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        for _ in 0..100_000 {
            let word = rng.next_u64();
            check(word);
            check(word >> (word % 64));
            // Beside a multiple of p, and of 2^32.
            let near = [word / p * p, word >> 32 << 32];
            near.iter().for_each(|at| (0..3).for_each(|step| check((at + step).wrapping_sub(1))));
        }
        let edges = [0, p, 2 * p, p << 32, u64::MAX / p * p, u64::MAX / 2, u64::MAX];
        edges.iter().for_each(|edge| {
            (0..5).for_each(|step| check(edge.wrapping_add(step).wrapping_sub(2)))
        });
    }

    /// What a seed is the secret of does not change: it is on people's devices.
    #[test]
    fn a_seed_is_reduced_word_by_word() {
        let seed: [u8; Secret::SEED] = std::array::from_fn(|i| (i * i + 0x9d) as u8);
        let words = seed.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        let known: Vec<_> = words.map(KoalaBear::from_int).collect();
        assert_eq!(Secret::of_seed(&seed).elements().as_slice(), known);
    }
}
