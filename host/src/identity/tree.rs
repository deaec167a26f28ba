//! The tree of leaves: places, paths, and the work that a change of leaves costs.
//!
//! A tree has a depth, 1 to [`LEVELS`], and 2^depth places. What is proven is always [`LEVELS`] levels deep, so
//! that all deployments share one circuit: its root is *lifted*, the tree standing in the first places of one of
//! 62 levels whose other places are empty. So a tree can be made deeper without another root.
//!
//! # Empty places
//! An empty subtree, of whatever height, is [`Node::ZERO`], and the [`parent`] of two such is `ZERO` too, not
//! their hash. The circuit hashes at every level, and both are sound together:
//! - *Complete.* On the way up from a leaf one of the two children is never `ZERO`, so `parent` is
//!   [`compress`] all along, as in the circuit.
//! - *Sound.* Who proves a path through a node that is `ZERO` knows a left and a right that hash to `ZERO`: a
//!   preimage of a fixed value, 2^248 trials. Two zeros are none: they hash to something else. Nor does any
//!   path begin at `ZERO`, since a proven leaf is itself a hash, and `ZERO` is refused as a leaf.
//!
//! Below, a tree without leaves has the root `ZERO`, under which nothing can be proven.

use super::hash::{Node, compress};
use super::prover::Place;
use crate::error::{Error, Kind, Result};
use crate::keyring::{hex, unhex};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Levels that are proven: the most that a tree can have.
pub const LEVELS: u8 = super::circuit::DEPTH as u8;

/// The node above two others: their hash, but `ZERO` above nothing.
#[must_use]
pub fn parent(left: &Node, right: &Node) -> Node {
    if *left == Node::ZERO && *right == Node::ZERO { Node::ZERO } else { compress(left, right) }
}

/// The root of a tree of `depth` levels as it is proven, [`LEVELS`] levels up.
#[must_use]
pub fn lift(root: &Node, depth: u8) -> Node {
    (depth..LEVELS).fold(*root, |root, _| parent(&root, &Node::ZERO))
}

/// What a holder proves with: the way from a leaf to the root of an epoch. It is no secret from the registry,
/// and tells everybody else which leaf its holder's is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Whose root it leads to.
    pub epoch: u32,
    /// The leaf's place: bit i says which child its ancestor at height i is, 0 the left.
    pub index: u64,
    /// Beside the leaf first; as many as the tree has levels, 1 to [`LEVELS`].
    pub siblings: Vec<Node>,
    /// Lifted.
    pub root: Node,
}

/// As files have it; nodes in hexadecimal, as [`Node::encode`] writes them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    epoch: u32,
    index: u64,
    depth: u8,
    root: String,
    siblings: Vec<String>,
}

impl Path {
    /// What a prover needs of it.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        Place { index: self.index, siblings: &self.siblings, root: self.root }
    }

    /// The siblings of all levels: above the tree's own there is nothing beside.
    #[must_use]
    pub fn lifted(&self) -> [Node; LEVELS as usize] {
        let mut all = [Node::ZERO; LEVELS as usize];
        all.iter_mut().zip(&self.siblings).for_each(|(to, from)| *to = *from);
        all
    }

    /// Whether it leads from `leaf` to its root: 62 hashes, in the clear.
    #[must_use]
    pub fn verify(&self, leaf: &Node) -> bool {
        let Ok(depth) = u8::try_from(self.siblings.len()) else { return false };
        let fits = (1..=LEVELS).contains(&depth) && self.index >> depth == 0;
        let mut index = self.index;
        let own = self.siblings.iter().fold(*leaf, |node, sibling| {
            let right = index & 1 == 1;
            index >>= 1;
            if right { parent(sibling, &node) } else { parent(&node, sibling) }
        });
        fits && *leaf != Node::ZERO && lift(&own, depth) == self.root
    }

    /// One line of JSON: `epoch`, `index`, `depth`, `root`, and `siblings` from the leaf upward.
    #[must_use]
    pub fn to_json(&self) -> String {
        let json = Json {
            epoch: self.epoch,
            index: self.index,
            depth: self.siblings.len() as u8,
            root: hex(&self.root.encode()),
            siblings: self.siblings.iter().map(|node| hex(&node.encode())).collect(),
        };
        serde_json::json!(json).to_string()
    }

    /// Reads what [`Self::to_json`] writes. Whether it leads anywhere, [`Self::verify`] says.
    ///
    /// Errors: `E-PARSE`, without what was read; a file's name is the caller's to add.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let error = |what: &str| Error::new(Kind::Parse, format!("is no path: {what}"));
        let Json { epoch, index, depth, root, siblings } =
            serde_json::from_slice(json).map_err(|e| {
                error(&format!("not the JSON of one (line {}, byte {})", e.line(), e.column()))
            })?;
        if !(1..=LEVELS).contains(&depth) || siblings.len() != usize::from(depth) {
            return Err(error("it has not as many siblings, 1 to 62, as its depth says"));
        }
        if index >> depth != 0 {
            return Err(error("its place is outside the tree"));
        }
        let node = |digits: &String| {
            node(digits).ok_or_else(|| error("a node is 64 hexadecimal digits, 8 field elements"))
        };
        let siblings = siblings.iter().map(node).collect::<Result<_>>()?;
        Ok(Self { epoch, index, siblings, root: node(&root)? })
    }
}

/// A node from 64 hexadecimal digits; `None` where they are none of a node.
#[must_use]
pub fn node(digits: &str) -> Option<Node> {
    Node::decode(&unhex(digits)?)
}

/// Where a tree's nodes are kept, level 0 being the leaves. What is not there is `ZERO`.
pub(super) trait Nodes {
    type Error;
    fn get(&self, level: u8, index: u64) -> std::result::Result<Node, Self::Error>;
    /// `ZERO` takes the node away.
    fn put(&mut self, level: u8, index: u64, node: &Node) -> std::result::Result<(), Self::Error>;
}

/// A node before and after a change.
#[derive(Clone, Copy)]
pub(super) struct Change {
    pub index: u64,
    pub old: Node,
    pub new: Node,
}

/// What a change of leaves made.
pub(super) struct Updated {
    /// The root before it, computed anew from the leaves as they were and the siblings that were used: if it is
    /// the root that was published, so were they.
    pub old: Node,
    /// The root after it.
    pub new: Node,
    /// Permutations for both.
    pub hashes: u64,
}

/// Changes leaves, in the order of their places and each once, and every node above them. Leaves in new places
/// next to each other cost about a hash each and one a level for all; single leaves one a level each, twice
/// where there were leaves before. Neither root is lifted.
pub(super) fn update<N: Nodes>(
    nodes: &mut N,
    depth: u8,
    mut changes: Vec<Change>,
) -> std::result::Result<Updated, N::Error> {
    let mut hashes = 0;
    for level in 0..depth {
        let mut pairs: Vec<[Change; 2]> = Vec::with_capacity(changes.len());
        for change in &changes {
            nodes.put(level, change.index, &change.new)?;
            match pairs.last_mut() {
                Some([_, right]) if right.index == change.index => *right = *change,
                _ => {
                    let beside = nodes.get(level, change.index ^ 1)?;
                    let beside = Change { index: change.index ^ 1, old: beside, new: beside };
                    let right = change.index & 1 == 1;
                    pairs.push(if right { [beside, *change] } else { [*change, beside] });
                }
            }
        }
        let above = |[left, right]: &[Change; 2]| Change {
            index: left.index >> 1,
            old: parent(&left.old, &right.old),
            new: parent(&left.new, &right.new),
        };
        changes = pairs.par_iter().with_min_len(512).map(above).collect();
        let hashed = |change: &Change| {
            u64::from(change.old != Node::ZERO) + u64::from(change.new != Node::ZERO)
        };
        hashes += changes.iter().map(hashed).sum::<u64>();
    }
    // Without changes there is nothing above them.
    let (old, new) = match changes.first() {
        Some(root) => (root.old, root.new),
        None => {
            let root = nodes.get(depth, 0)?;
            (root, root)
        }
    };
    nodes.put(depth, 0, &new)?;
    Ok(Updated { old, new, hashes })
}
