//! Identities proven without naming them: who holds an enrolled credential shows it in zero knowledge.
//!
//! A credential is a secret and attributes; its leaf stands in a Merkle tree whose root is public. A
//! proof says: *I know a secret whose leaf, with some attributes, is under this root, and this nullifier
//! is that secret's in this context.* Which leaf it is, is not said.
//!
//! | module | what it is for |
//! |---|---|
//! | [`hash`] | Poseidon2 over KoalaBear: leaves, nodes, nullifiers |
//! | [`statement`] | what is proven, and the digests it is known by |
//! | [`tree`] | places, paths, and what a change of leaves changes |
//! | [`registry`] | who is enrolled, on the disk |
//! | [`epochs`] | which roots hold, in memory |
//! | [`nullifiers`] | which proofs were presented |

pub mod epochs;
pub mod hash;
pub mod nullifiers;
pub mod registry;
pub mod statement;
pub mod tree;
