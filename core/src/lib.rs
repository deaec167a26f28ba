//! Encrypted biometric matching for firmware and enclaves.
//!
//! Probes are matched while they are encrypted: 32 users' vectors fill one BFV ciphertext, one
//! multiplication scores all 32, and a key holder decrypts nothing but 32 numbers, turns each into
//! one bit and signs the batch. This crate is the part that needs no operating
//! system: no `std`, no allocator, no CPU detection. Large values live where the caller puts them.
//!
//! | module | what it is for |
//! |---|---|
//! | [`cap`] | what the processor can do, as values |
//! | [`ct`] | what may be known of secrets, for the check of constant time |
//! | [`zq`], [`zt`] | arithmetic modulo one 27-bit prime, and modulo t = 65537 |
//! | [`ntt`] | the transform's size and tables |
//! | [`kernel`] | every inner loop, for each kind of processor, behind one contract |
//! | [`poly`], [`rns`] | polynomials modulo Q, and the ways between residues and integers |
//! | [`sample`] | ternary, centred binomial and uniform, from the caller's generator |
//! | [`bfv`] | keys, encryption, evaluation, decryption |
//! | [`matching`] | quantise, place, fold, re-randomise, decide |
//! | [`attest`] | leaves, Merkle trees, signatures, receipts |
//! | [`kem`] | key encapsulation: ML-KEM-768 |
//! | [`pool`] | keys made ahead |
//! | [`cache`] | verdicts that were reached before |
//! | [`wire`] | canonical, versioned bytes |
//! | [`place`] | large values in place |
#![no_std]
#![deny(unsafe_code)]

pub mod attest;
pub mod bfv;
#[cfg(any(target_has_atomic = "32", feature = "critical-section"))]
pub mod cache;
pub mod cap;
pub mod ct;
pub mod error;
pub mod kem;
pub mod kernel;
pub mod matching;
pub mod ntt;
pub mod place;
pub mod poly;
pub mod pool;
#[cfg(any(target_has_atomic = "32", feature = "critical-section"))]
mod primitive;
pub mod rns;
pub mod sample;
pub mod wire;
pub mod zq;
pub mod zt;

pub use error::Error;
