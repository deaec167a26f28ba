//! The host layer: what the `symbolon` binary does, as a library.
//!
//! | module | what it is for |
//! |---|---|
//! | [`input`] | embeddings and ids from files |
//! | [`population`] | people by a documented model, for the demo |
//! | [`store`] | sealed templates on disk |
//! | [`keys`] | a deployment's key files |
//! | [`gallery`] | templates in memory, as the matcher holds them |
//! | [`gateway`] | encrypts probes |
//! | [`matcher`] | multiplies, re-randomises, folds |
//! | [`custodian`] | decides and signs |
//! | [`batch`] | runs batches through the three, on every core |
//! | [`isa`] | which kernels run |
//! | [`private_file`], [`random`] | files only their owner may read; random bytes |
//! | [`cli`] | the commands |
//! | [`error`] | one error type with stable codes |
#![forbid(unsafe_code)]

pub mod batch;
pub mod cli;
pub mod custodian;
pub mod error;
pub mod gallery;
pub mod gateway;
pub mod input;
pub mod isa;
pub mod keys;
pub mod matcher;
pub mod population;
pub mod private_file;
pub mod random;
pub mod store;
