//! The parameter sets, and what holds them together.
//!
//! All have t = 65537, a uniform ternary secret and centred binomial noise of parameter 21 (sigma
//! 3.24). A set is named by its number of limbs ([`Rns`]), so `PublicKey<Q54>` is a key with two.
//!
//! | set | degree | limbs | log2 Q | special prime | log2 Q P | products in a row |
//! |---|---|---|---|---|---|---|
//! | [`Q54`] | 4096 | 2 | 54 | 27 bits | 81 | none |
//! | [`Q81`] | 4096 | 3 | 81 | 25 bits | 106 | 1 |
//! | [`Q108`] | 8192 | 8 | 108 | | | (what Q135 switches down to) |
//! | [`Q135`] | 8192 | 10 | 135 | 27 bits | 162 | 3 |
//!
//! The special prime of key switching counts into the modulus an attacker sees, so security is bought
//! per total modulus. The lattice estimator (MATZOV cost model, classical / ChaLoy21, quantum) says for
//! N = 4096:
//!
//! | log2 of the total modulus | classical bits | quantum bits |
//! |---|---|---|
//! | 54 (Q54) | 260 | 210 |
//! | 81 (Q81; Q54 with switching keys) | 172 | 127 |
//! | 106 (Q81 with switching keys; the limit here) | 129 | 87 |
//! | 109 (the Homomorphic Encryption Standard's old limit) | 126 | 84 |
//!
//! For degree 8192 the limit is twice that, 212 bits: at the same bits a dimension the lattice is
//! harder to reduce, not easier. (The Homomorphic Encryption Standard of 2018 has 218.) Q135 with
//! switching keys, 162 bits, has as many bits a dimension as Q81 alone. Who publishes no switching keys
//! has the security of Q itself.

use crate::ntt::N;
use crate::rns::Rns;
use crate::zt::T;

/// Two limbs: 54 bits. For one product with a plaintext, and rotations.
pub const Q54: usize = 2;

/// Three limbs: 81 bits. For the same with room for noise flooding, or one product of ciphertexts.
pub const Q81: usize = 3;

/// Degree 8192, four primes: 108 bits. What Q135 switches down to.
pub const Q108: usize = 8;

/// Degree 8192, five primes: 135 bits. For three products of ciphertexts, one after the other.
pub const Q135: usize = 10;

/// No total modulus, special prime included, may exceed this many bits for each 4096 of the degree.
pub const MAX_MODULUS_BITS: u32 = 106;

/// The parameter set's id on the wire: its number of limbs.
#[must_use]
pub const fn id<const L: usize>() -> u8 {
    assert!(matches!(L, Q54 | Q81 | Q108 | Q135), "not a set of its own");
    L as u8
}

/// A parameter set's name.
#[must_use]
pub const fn name<const L: usize>() -> &'static str {
    match L {
        Q54 => "Q54",
        Q81 => "Q81",
        Q108 => "Q108",
        _ => "Q135",
    }
}

/// A name with the set's at its end, as pools give their kinds.
macro_rules! kind {
    ($kind:literal, $l:expr) => {
        match $l {
            $crate::bfv::Q54 => concat!($kind, "-q54"),
            $crate::bfv::Q81 => concat!($kind, "-q81"),
            $crate::bfv::Q108 => concat!($kind, "-q108"),
            _ => concat!($kind, "-q135"),
        }
    };
}
pub(crate) use kind;

const fn bits(x: u128) -> u32 {
    u128::BITS - x.leading_zeros()
}

const _: () = {
    assert!(N == 4096 && T == 65_537, "the security table above is for these");
    // The primality of q_i, q_i = 1 mod 2N and t = 1 mod 2N are asserted where the tables are made.
    assert!(bits(Rns::<Q54>::Q) == 54 && bits(Rns::<Q81>::Q) == 81);
    // With their special primes: 3, 4 and 12 limbs.
    assert!(bits(Rns::<3>::Q) <= MAX_MODULUS_BITS && bits(Rns::<4>::Q) <= MAX_MODULUS_BITS);
    assert!(27 * Rns::<12>::COUNT as u32 <= 2 * MAX_MODULUS_BITS);
};
