//! The host layer: what the `symbolon` binary does, as a library.
//!
//! | module | what it is for |
//! |---|---|
//! | [`identity`] | proofs of an enrolled identity, in zero knowledge |
//! | [`input`] | embeddings and ids from files |
//! | [`population`] | people by a documented model, for the demo |
//! | [`store`] | sealed templates on disk |
//! | [`keys`] | a deployment's key files |
//! | [`keyring`] | the public keys that receipts verify under, and those revoked |
//! | [`gallery`] | templates in memory, as the matcher holds them |
//! | [`gateway`] | encrypts probes |
//! | [`matcher`] | multiplies, re-randomises, folds |
//! | [`custodian`] | decides |
//! | [`policy`] | the settings a decision was taken under, as a digest |
//! | [`signer`] | signs the batches of a window at once, when the log has them |
//! | [`log`] | every decision, in a chain of signed windows |
//! | [`batch`] | runs batches through the three, on every core |
//! | [`batching`] | from single requests to full batches: queues, strategies, workers |
//! | [`cache`] | verdicts that were reached before, watched |
//! | [`pools`] | keys made ahead, in locked memory |
//! | [`session`] | handshakes, channels and resumption between devices and a deployment |
//! | [`server`] | the HTTP interface that operators run |
//! | [`isa`] | which kernels run |
//! | [`families`] | signatures and key encapsulation: the implementations that the host uses |
//! | [`private_file`], [`database`], [`random`] | files only their owner may read; redb; random bytes |
//! | [`shield`] | other people's panics, caught |
//! | [`cli`] | the commands |
//! | [`error`] | one error type with stable codes |
#![forbid(unsafe_code)]

pub mod batch;
pub mod batching;
pub mod cache;
pub mod cli;
pub mod custodian;
pub mod database;
pub mod error;
pub mod families;
pub mod gallery;
pub mod gateway;
pub mod identity;
pub mod input;
pub mod isa;
pub mod keyring;
pub mod keys;
pub mod log;
pub mod matcher;
pub mod policy;
pub mod pools;
pub mod population;
pub mod private_file;
pub mod random;
pub mod server;
pub mod session;
mod sha256;
pub mod shield;
pub mod signer;
pub mod store;
