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
            // By reduction in the field: no division of secret data.
            *element = KoalaBear::from_int(u64::from_le_bytes(*bytes)).as_canonical_u32();
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
