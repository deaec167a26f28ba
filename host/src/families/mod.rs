//! The implementations by libcrux that the host uses instead of core's own, behind core's traits: they are
//! several times as fast, and byte for byte the same.
//!
//! | module | standard | instead of |
//! |---|---|---|
//! | [`mldsa`] | ML-DSA-65 (FIPS 204) | [`symbolon_core::attest::mldsa`] |
//! | [`mlkem`] | ML-KEM-768 (FIPS 203) | [`symbolon_core::kem::mlkem`] |
//!
//! libcrux is plain Rust, formally verified in part, and takes AVX2 or NEON where the processor has
//! them. aws-lc-rs compiles a C library and keeps its keys in memory that we could neither place nor
//! wipe; it was not timed here. Core's own crates remain the fallback, and tests hold the two against
//! each other.
//!
//! # Secrets
//! libcrux zeroises nothing. Keys here zeroise themselves on drop; the stack that libcrux leaves behind is
//! overwritten after each use, as in [`symbolon_core::attest::mldsa`].

pub mod mldsa;
pub mod mlkem;
