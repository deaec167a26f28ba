//! Pools of keys made ahead.
//!
//! # Kinds
//! Bytes of one in a cell, of its public part, and of its serialised form; and how often it may serve.
//!
//! | kind | type | in memory | public | serialised | uses |
//! |---|---|---|---|---|---|
//! | `ml-kem-768` | [`kem::mlkem::DecapsulationKey`](crate::kem::mlkem::DecapsulationKey) | 2,400 | 1,184 | 2,400 | any |
//! | `ml-dsa-65-seed` | [`attest::mldsa::SeedKey`](crate::attest::mldsa::SeedKey) | 1,984 | 1,952 | 1,984 | any |
//! | `fn-dsa-512-draft` | `attest::fndsa::SigningKey` (feature `fn-dsa-sign`) | 2,242 | 897 | 1,345 | any |
//! | `slh-dsa-sha2-128f` | [`attest::slhdsa::SigningKey`](crate::attest::slhdsa::SigningKey) | 64 | 32 | 64 | any |
//! | `bfv-zero-q54` | [`bfv::Zero`](crate::bfv::Zero) | 65,600 | 0 | 55,304 | 1 |
//! | `bfv-zero-q81` | | 98,368 | 0 | 82,952 | 1 |
//! | `blind-q54` | [`matching::SeededBlind`](crate::matching::SeededBlind) | 33,216 | 0 | 32 | 1 |
//! | `blind-q81` | | 49,728 | 0 | 32 | 1 |
//! | `bfv-pair-q54` | [`bfv::KeyPair`](crate::bfv::KeyPair) | 98,432 | 27,688 | 32 | any |
//! | `bfv-pair-q81` | | 147,584 | 41,512 | 32 | any |
//! | `bfv-pair-q135` | | 491,648 | 138,280 | 32 | any |
//! | `bfv-set-q54` | [`bfv::KeySet`](crate::bfv::KeySet), without rotations | 295,104 | 27,688 | 32 | any |
//! | `bfv-set-q81` | | 540,864 | 41,512 | 32 | any |
//! | `bfv-set-q135` | | 2,457,792 | 138,280 | 32 | any |
//!
//! Each rotation of a set takes a [`bfv::GaloisKey`](crate::bfv::GaloisKey) more: 200,960, 397,568 and
//! 1,970,432 bytes with Q54, Q81 and Q135. What is serialised as a 32-byte seed is made again when it is restored, at the same cost;
//! the other forms are copied and, where bytes can be wrong, looked at.

pub mod bytes;
mod material;

pub use material::Material;
