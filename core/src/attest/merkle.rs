//! Merkle trees (RFC 9162, section 2.1) in fixed memory: over a batch's leaves, over a window's batches,
//! over a refill's keys.
//!
//! A tree of n > 1 leaves splits at the largest power of two below n. Built upwards, that is:
//! pair neighbours level by level, and carry a last node without a neighbour up unchanged. No leaf
//! is ever doubled, so no two lists of leaves share a root.
//!
//! All hash their nodes alike; what their leaves are hashed under tells them apart.

use super::codec::{Reader, concat};
use super::many::{self, NOTHING};
use super::{Digest, Domain, Error, Result};
use crate::kernel::Kernels;
use bytemuck::Zeroable;
use core::iter;
use sha3::{Digest as _, Sha3_256};

/// The most leaves of a batch's tree: its users at 128 dimensions.
pub const MAX_LEAVES: usize = 32;

/// The most nodes of a path in a batch's tree.
pub const MAX_PATH: usize = MAX_LEAVES.ilog2() as usize;

/// The most batches of a window's tree.
pub const MAX_BATCHES: usize = 4096;

/// The most nodes of a path in a window's tree.
pub const MAX_WINDOW_PATH: usize = MAX_BATCHES.ilog2() as usize;

// A batch counts its leaves in one byte, a window its batches in two.
const _: () = assert!(MAX_LEAVES <= u8::MAX as usize && MAX_BATCHES <= u16::MAX as usize);

/// A batch's tree: 2 KB.
pub type BatchTree = Tree<MAX_LEAVES>;

/// A window's tree: 256 KB. Smaller ones for smaller windows give the same roots.
pub type WindowTree = Tree<MAX_BATCHES>;

/// The way from a leaf to its batch's root.
pub type BatchPath = Path<MAX_PATH>;

/// The way from a batch to its window's root.
pub type WindowPath = Path<MAX_WINDOW_PATH>;

/// RFC 9162, section 2.1.1: leaves and nodes are hashed under different first bytes.
const PREFIX: [u8; 1] = [0x01];

/// Length byte, `symbolon/node/v1`, 0x01 and both children.
fn node(left: &Digest, right: &Digest) -> [u8; NODE] {
    let name = Domain::NODE.as_bytes();
    concat(&[&[name.len() as u8], name, &PREFIX, left, right])
}

const NODE: usize = 1 + Domain::NODE.as_bytes().len() + PREFIX.len() + 2 * size_of::<Digest>();

/// Its SHA3-256.
fn parent(left: &Digest, right: &Digest) -> Digest {
    Sha3_256::digest(node(left, right)).into()
}

/// Checks that there may be a tree of `count` leaves where `most` are the limit.
pub(super) const fn check_count(count: usize, most: usize) -> Result<()> {
    if 1 <= count && count <= most { Ok(()) } else { Err(Error::LeafCount) }
}

/// A node beside the way from a leaf to the root.
struct Sibling {
    /// Its place when all levels of the tree stand one after the other, leaves first.
    place: usize,
    /// Whether it is the left child of the parent it shares with the node on the way.
    left: bool,
}

/// The siblings on the way from leaf `index` of `count` to the root. A level on which the way has
/// no sibling gives none.
fn siblings(index: usize, count: usize) -> impl Iterator<Item = Sibling> {
    let (mut index, mut width, mut start) = (index, count, 0);
    iter::from_fn(move || {
        while width > 1 {
            let (beside, left) = (index ^ 1, index & 1 == 1);
            let sibling = (beside < width).then_some(Sibling { place: start + beside, left });
            start += width;
            width = width.div_ceil(2);
            index >>= 1;
            if sibling.is_some() {
                return sibling;
            }
        }
        None
    })
}

/// A tree with all its nodes: built once, it gives the path of every leaf without hashing again.
/// 64 bytes a leaf of its capacity, which is a power of two; meant to be kept and built anew.
///
/// A large one is made where it stays, by [`place::zeroed`](crate::place::zeroed): zeros are a tree
/// without leaves.
#[derive(Clone, Debug, Zeroable)]
pub struct Tree<const LEAVES: usize> {
    /// All levels one after the other, leaves first: fewer than twice the leaves.
    nodes: [[Digest; 2]; LEAVES],
    count: usize,
}

impl<const LEAVES: usize> Default for Tree<LEAVES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const LEAVES: usize> Tree<LEAVES> {
    // With the last level of a tree of, say, five leaves in mind: 5 + 3 + 2 + 1 nodes.
    const CAPACITY: () = assert!(LEAVES.is_power_of_two());

    /// A tree without leaves, which has no paths.
    #[must_use]
    pub const fn new() -> Self {
        const { Self::CAPACITY }
        Self { nodes: [[[0; 32]; 2]; LEAVES], count: 0 }
    }

    /// Replaces the tree by that over `leaves` (leaf hashes, in order) and returns its root. Of one
    /// leaf, the root is the leaf itself.
    ///
    /// # Errors
    /// [`Error::LeafCount`] unless there are 1 to `LEAVES`; the tree is then left as it was.
    pub fn build(&mut self, kernels: &Kernels, leaves: &[Digest]) -> Result<Digest> {
        const { Self::CAPACITY }
        check_count(leaves.len(), LEAVES)?;
        self.count = leaves.len();
        let mut rest = self.nodes.as_flattened_mut();
        for (node, leaf) in rest.iter_mut().zip(leaves) {
            *node = *leaf;
        }
        let mut width = self.count;
        while width > 1 {
            let (level, above) = rest.split_at_mut_checked(width).ok_or(Error::LeafCount)?;
            let (pairs, lone) = level.as_chunks::<2>();
            let (parents, carried) =
                above.split_at_mut_checked(pairs.len()).ok_or(Error::LeafCount)?;
            many::finish(kernels, &NOTHING, pairs.iter().map(|[l, r]| node(l, r)), parents);
            carried.iter_mut().zip(lone).for_each(|(node, lone)| *node = *lone);
            (rest, width) = (above, width.div_ceil(2));
        }
        rest.first().copied().ok_or(Error::LeafCount)
    }

    /// Writes the path of leaf `index` of the tree last built to `path`. A path too short for the
    /// tree's capacity does not compile.
    ///
    /// # Errors
    /// [`Error::LeafIndex`] if there is no such leaf; [`Error::LeafCount`] if no tree was built.
    pub fn path<const NODES: usize>(&self, index: usize, path: &mut Path<NODES>) -> Result<()> {
        const { assert!(LEAVES <= Path::<NODES>::LEAVES) }
        path.len = Path::<NODES>::length(index, self.count)?;
        path.nodes = [[0; 32]; NODES];
        let nodes = self.nodes.as_flattened();
        for (node, sibling) in path.nodes.iter_mut().zip(siblings(index, self.count)) {
            *node = *nodes.get(sibling.place).ok_or(Error::LeafIndex)?;
        }
        Ok(())
    }
}

/// An inclusion proof: the siblings on the way from a leaf to the root, lowest first, at most
/// `NODES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<const NODES: usize> {
    /// Zero from `len` on.
    nodes: [Digest; NODES],
    len: usize,
}

impl<const NODES: usize> Path<NODES> {
    /// The most leaves of the tree.
    pub const LEAVES: usize = 1 << NODES;

    /// The path of a tree of one leaf.
    pub const EMPTY: Self = Self { nodes: [[0; 32]; NODES], len: 0 };

    /// How many nodes the path from leaf `index` of `count` to the root has: at most `NODES`.
    ///
    /// # Errors
    /// [`Error::LeafCount`] unless `count` is 1 to [`LEAVES`](Self::LEAVES); [`Error::LeafIndex`]
    /// unless `index` is below it.
    pub fn length(index: usize, count: usize) -> Result<usize> {
        check_count(count, Self::LEAVES)?;
        if index >= count {
            return Err(Error::LeafIndex);
        }
        Ok(siblings(index, count).count())
    }

    /// A path of the given nodes, lowest first.
    ///
    /// # Errors
    /// [`Error::PathLength`] if there are more than `NODES`.
    pub fn new(nodes: &[Digest]) -> Result<Self> {
        let mut path = Self { len: nodes.len(), ..Self::EMPTY };
        path.nodes.get_mut(..nodes.len()).ok_or(Error::PathLength)?.copy_from_slice(nodes);
        Ok(path)
    }

    /// Reads the number of a path's nodes, and the path.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut nodes = [Digest::default(); NODES];
        let nodes = nodes.get_mut(..usize::from(reader.u8()?)).ok_or(Error::PathLength)?;
        for node in nodes.iter_mut() {
            *node = *reader.take()?;
        }
        Self::new(nodes)
    }

    /// The nodes, lowest first.
    #[must_use]
    pub fn nodes(&self) -> &[Digest] {
        self.nodes.get(..self.len).unwrap_or_default()
    }

    /// Checks that the path is as long as that of leaf `index` of `count`.
    ///
    /// # Errors
    /// Those of [`length`](Self::length), and [`Error::PathLength`].
    pub fn check(&self, index: usize, count: usize) -> Result<()> {
        if self.len == Self::length(index, count)? { Ok(()) } else { Err(Error::PathLength) }
    }

    /// The root that this path leads to from the hash `leaf`, as leaf `index` of `count`
    /// (RFC 9162, section 2.1.3.2). The leaf is in the tree if, and only if, this is its root.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    pub fn root(&self, leaf: &Digest, index: usize, count: usize) -> Result<Digest> {
        self.check(index, count)?;
        let way = siblings(index, count).zip(self.nodes());
        Ok(way.fold(*leaf, |node, (sibling, beside)| {
            if sibling.left { parent(beside, &node) } else { parent(&node, beside) }
        }))
    }
}
