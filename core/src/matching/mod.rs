//! Matching under encryption: many users' inner products in one ciphertext, one bit each out.
//!
//! A ciphertext's N coefficients mod t are 32 blocks of 128 (16 of 256, 8 of 512): one user each.
//! Block k is the ring Z_t\[X\]/(X^d - c_k), in which the probe is the polynomial sum p_i X^i and the
//! template sum t_i X^-i, so that the constant coefficient of their product is the score sum p_i t_i.
//! The constant coefficients of all blocks come from the coefficients P\[0\], P\[d\], P\[2d\], .. of
//! the whole product: the *fold*. No rotation, no key switch; the custodian needs 32 numbers.
//!
//! | step | who | file |
//! |---|---|---|
//! | normalise, scale, round | gateway; matcher at enrolment | [`mod@quantise`] |
//! | place users in blocks | gateway, matcher | [`layout`] |
//! | multiply, re-randomise, flood, fold | matcher | [`mod@fold`] |
//! | decrypt the 32 values, compare, one bit each | custodian | [`decide`] |
//!
//! [`mask`] is the same by full decryption under a zero-sum mask, for key holders that speak plain
//! BFV; [`sum`] by rotations, for results that others decrypt.

pub mod decide;
pub mod fold;
pub mod layout;
pub mod mask;
pub mod quantise;
pub mod sum;

pub use decide::{Decisions, Threshold};
pub use fold::{Blind, BlindMaker, Folded, SeededBlind, fold};
pub use layout::{Layout, MAX_DIMS, MAX_USERS};
pub use quantise::{Quantisable, quantise};
