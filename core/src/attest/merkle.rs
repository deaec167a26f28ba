//! The Merkle tree over a batch's leaves (RFC 9162, section 2.1), in fixed memory.
//!
//! A tree of n > 1 leaves splits at the largest power of two below n. Built upwards, that is:
//! pair neighbours level by level, and carry a last node without a neighbour up unchanged. No leaf
//! is ever doubled, so no two lists of leaves share a root.

use super::{Digest, Domain, Error, Result};
use core::iter;
use sha3::{Digest as _, Sha3_256};

/// The most leaves of one tree: a batch's users at 128 dimensions.
pub const MAX_LEAVES: usize = 32;

/// The most nodes of one path.
pub const MAX_PATH: usize = MAX_LEAVES.ilog2() as usize;

// A power of two makes the full tree the largest one; a statement counts leaves in one byte.
const _: () = assert!(MAX_LEAVES.is_power_of_two() && MAX_LEAVES <= u8::MAX as usize);

/// RFC 9162, section 2.1.1: leaves and nodes are hashed under different first bytes.
const PREFIX: [u8; 1] = [0x01];

/// SHA3-256 of length byte, `symbolon/node/v1`, 0x01 and both children.
fn parent(left: &Digest, right: &Digest) -> Digest {
    let hasher: Sha3_256 = Domain::NODE.hasher();
    hasher.chain_update(PREFIX).chain_update(left).chain_update(right).finalize().into()
}

/// Checks that there may be a tree of `count` leaves.
pub(super) const fn check_count(count: usize) -> Result<()> {
    if 1 <= count && count <= MAX_LEAVES { Ok(()) } else { Err(Error::LeafCount) }
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

/// How many nodes the path from leaf `index` of `count` to the root has: at most [`MAX_PATH`].
///
/// # Errors
/// [`Error::LeafCount`] unless `count` is 1 to [`MAX_LEAVES`]; [`Error::LeafIndex`] unless `index`
/// is below it.
pub fn path_len(index: usize, count: usize) -> Result<usize> {
    check_count(count)?;
    if index >= count {
        return Err(Error::LeafIndex);
    }
    Ok(siblings(index, count).count())
}

/// A batch's tree with all its nodes: built once, it gives the path of every leaf without hashing
/// again. 2 KB; meant to be kept and built anew for each batch.
#[derive(Clone, Debug)]
pub struct Tree {
    /// All levels one after the other, leaves first.
    nodes: [Digest; 2 * MAX_LEAVES],
    count: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// A tree without leaves, which has no paths.
    #[must_use]
    pub const fn new() -> Self {
        Self { nodes: [[0; 32]; 2 * MAX_LEAVES], count: 0 }
    }

    /// Replaces the tree by that over `leaves` (leaf hashes, in order) and returns its root. Of one
    /// leaf, the root is the leaf itself.
    ///
    /// # Errors
    /// [`Error::LeafCount`] unless there are 1 to [`MAX_LEAVES`]; the tree is then left as it was.
    pub fn build(&mut self, leaves: &[Digest]) -> Result<Digest> {
        check_count(leaves.len())?;
        self.count = leaves.len();
        for (node, leaf) in self.nodes.iter_mut().zip(leaves) {
            *node = *leaf;
        }
        let (mut rest, mut width) = (&mut self.nodes[..], self.count);
        while width > 1 {
            let (level, above) = rest.split_at_mut(width);
            for (node, children) in above.iter_mut().zip(level.chunks(2)) {
                match children {
                    [left, right] => *node = parent(left, right),
                    [lone] => *node = *lone,
                    _ => {}
                }
            }
            (rest, width) = (above, width.div_ceil(2));
        }
        rest.first().copied().ok_or(Error::LeafCount)
    }

    /// Writes the path of leaf `index` of the tree last built to `path`.
    ///
    /// # Errors
    /// [`Error::LeafIndex`] if there is no such leaf; [`Error::LeafCount`] if no tree was built.
    pub fn path(&self, index: usize, path: &mut Path) -> Result<()> {
        path.len = path_len(index, self.count)?;
        path.nodes = [[0; 32]; MAX_PATH];
        for (node, sibling) in path.nodes.iter_mut().zip(siblings(index, self.count)) {
            *node = *self.nodes.get(sibling.place).ok_or(Error::LeafIndex)?;
        }
        Ok(())
    }
}

/// The root of the tree over `leaves` (leaf hashes, in order).
///
/// # Errors
/// [`Error::LeafCount`] unless there are 1 to [`MAX_LEAVES`].
pub fn root(leaves: &[Digest]) -> Result<Digest> {
    Tree::new().build(leaves)
}

/// Writes the path of leaf `index` of the tree over `leaves` to `path`. For more than one path of a
/// tree, keep the [`Tree`].
///
/// # Errors
/// [`Error::LeafCount`] unless there are 1 to [`MAX_LEAVES`] leaves; [`Error::LeafIndex`] unless
/// `index` is one of them.
pub fn path(leaves: &[Digest], index: usize, path: &mut Path) -> Result<()> {
    let mut tree = Tree::new();
    tree.build(leaves)?;
    tree.path(index, path)
}

/// An inclusion proof: the siblings on the way from a leaf to the root, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Zero from `len` on.
    nodes: [Digest; MAX_PATH],
    len: usize,
}

impl Path {
    /// The path of a tree of one leaf.
    pub const EMPTY: Self = Self { nodes: [[0; 32]; MAX_PATH], len: 0 };

    /// A path of the given nodes, lowest first.
    ///
    /// # Errors
    /// [`Error::PathLength`] if there are more than [`MAX_PATH`].
    pub fn new(nodes: &[Digest]) -> Result<Self> {
        let mut path = Self { len: nodes.len(), ..Self::EMPTY };
        path.nodes.get_mut(..nodes.len()).ok_or(Error::PathLength)?.copy_from_slice(nodes);
        Ok(path)
    }

    /// The nodes, lowest first.
    #[must_use]
    pub fn nodes(&self) -> &[Digest] {
        self.nodes.get(..self.len).unwrap_or_default()
    }

    /// The root that this path leads to from the hash `leaf`, as leaf `index` of `count`
    /// (RFC 9162, section 2.1.3.2). The leaf is in the tree if, and only if, this is its root.
    ///
    /// # Errors
    /// [`Error::LeafCount`] unless `count` is 1 to [`MAX_LEAVES`]; [`Error::LeafIndex`] unless
    /// `index` is below it; [`Error::PathLength`] if the path is not as long as these demand.
    pub fn root(&self, leaf: &Digest, index: usize, count: usize) -> Result<Digest> {
        if self.len != path_len(index, count)? {
            return Err(Error::PathLength);
        }
        let way = siblings(index, count).zip(self.nodes());
        Ok(way.fold(*leaf, |node, (sibling, beside)| {
            if sibling.left { parent(beside, &node) } else { parent(&node, beside) }
        }))
    }
}
