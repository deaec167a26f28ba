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
//! | [`credential`] | what a person's device keeps |
//! | [`circuit`] | the statement as constraints on a table |
//! | [`params`] | how it is proven, and what that is worth |
//! | [`prover`], [`verifier`] | make proofs; check them |
//! | [`tree`] | places, paths, and what a change of leaves changes |
//! | [`registry`] | who is enrolled, on the disk |
//! | [`epochs`] | which roots hold, in memory |
//! | [`nullifiers`] | which proofs were presented |
//! | [`gate`] | whether a device may pass: proofs verified once, then found |

pub mod circuit;
mod codec;
pub mod credential;
pub mod epochs;
pub mod gate;
pub mod hash;
pub mod nullifiers;
pub mod params;
pub mod prover;
pub mod registry;
pub mod statement;
pub mod tree;
pub mod verifier;

pub use codec::MAX_PROOF_SIZE;
pub use credential::Credential;
pub use gate::Gate;
pub use params::{Security, VERIFIER, circuit_id, security};
pub use prover::{Place, Prover};
pub use verifier::Verifier;
