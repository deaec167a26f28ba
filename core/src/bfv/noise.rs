//! Noise, measured with the secret key, and the bounds it is held against.
//!
//! Behind the feature `hazmat`: whoever is shown noise, or a score, is given an oracle for the
//! secret key. For tests and parameter studies only.
//!
//! The bounds are six standard deviations over the randomness of keys and encryption, for honest
//! inputs. With variance V = 10.5 of the noise, 2/3 of the secret, and the ring's degree N:
//!
//! | what | variance of a coefficient |
//! |---|---|
//! | fresh, secret key | V (never above 21) |
//! | fresh, public key | V (4 N / 3 + 1): e u, e1 s and e0 |
//! | times a plaintext whose coefficients are uniform mod t | N t^2 / 12 times as much |
//! | folded, low end | t^2 times (product + fresh public key), and the flood, Q / 16 at most |
//! | added by a key switch | V N q^2 / 12 P^2 for each digit, and (2 N / 3 + 1) / 12 of rounding |
//! | product of ciphertexts | t^2 N (N / 18 + 1/12) times the sum of both: see [`product()`] |
//! | another modulus | 1 / q^2 times as much, and (2 N / 3 + 1) / 12 of rounding |

use super::encode::Plaintext;
use super::encrypt::Ciphertext;
use super::keys::SecretKey;
use super::multiply::Multiply;
use super::switch::Switch;
use crate::kernel::Kernels;
use crate::matching::decide::Scores;
use crate::matching::{Blind, Folded, Layout, MAX_USERS};
use crate::ntt::N;
use crate::poly::{Coeff, Mont, Poly};
use crate::rns::Rns;
use crate::zt::T;
use zeroize::Zeroize;

const fn six_sigma(variance: u128) -> u128 {
    // Rounded up: isqrt rounds down.
    6 * (variance.isqrt() + 1)
}

const fn degree<const L: usize>() -> u128 {
    (Rns::<L>::PARTS * N) as u128
}

/// Variance of a fresh public-key encryption's noise: 10.5 (4 N / 3 + 1), rounded up.
const fn fresh_variance(degree: u128) -> u128 {
    (21 * (4 * degree + 3)).div_ceil(6)
}

const FRESH_VARIANCE: u128 = fresh_variance(N as u128);

/// The bound for a fresh public-key encryption.
#[must_use]
pub const fn fresh_public<const L: usize>() -> u128 {
    six_sigma(fresh_variance(degree::<L>()))
}

/// That of degree 4096.
pub const FRESH_PUBLIC: u128 = six_sigma(FRESH_VARIANCE);

/// The bound after noise of at most `a` is multiplied by a plaintext whose coefficients are uniform mod
/// t: as good as any whose slots differ. One more for the message's own rounding.
#[must_use]
pub const fn multiplied_plain<const L: usize>(a: u128) -> u128 {
    let factor = (degree::<L>() * (T as u128 * T as u128 / 12)).isqrt() + 1;
    a.saturating_add(1).saturating_mul(factor)
}

/// What a rotation or a relinearisation adds, at most.
#[must_use]
pub const fn switch<const L: usize>() -> u128
where
    Rns<L>: Switch,
{
    let plans = <Rns<L> as Switch>::PLANS;
    let count = Rns::<L>::COUNT;
    let (q, special) = (plans[0].prime.q() as u128, plans[count].prime.q() as u128);
    // Rounded up: the first prime is the largest.
    let digits = (count as u128 * degree::<L>() * 21 * q * q).div_ceil(24 * special * special);
    six_sigma(digits + rounding::<L>())
}

/// Variance of what is left of a division by a prime: (2 N / 3 + 1) / 12, rounded up.
const fn rounding<const L: usize>() -> u128 {
    (2 * degree::<L>() + 3).div_ceil(36)
}

/// The bound of a product of ciphertexts whose noise is at most `a` and `b`, not yet relinearised.
///
/// A phase is Q m / t + e + k Q over the integers, with k + m / t of variance N / 18 + 1/12 (c1 s is
/// N products of a uniform and a ternary number). Of the scaled product of two, t (k + m / t) e of
/// either with the other is the noise. Both contain s, whose powers have coefficients of growing
/// variance: l + 1 times as much in the l-th product in a row. So the standard deviation is doubled,
/// which holds for three; and those of the operands are added, as they may be the same.
#[must_use]
pub const fn product<const L: usize>(a: u128, b: u128) -> u128
where
    Rns<L>: Multiply,
{
    product_bound(degree::<L>(), a, b)
}

const fn product_bound(n: u128, a: u128, b: u128) -> u128 {
    let factor = (n * (2 * n + 3)).div_ceil(36).isqrt() + 1;
    // Three roundings, times 1, s and s^2 (whose coefficients have a variance of 8 N / 9).
    let rounding = six_sigma((27 + 18 * n + 24 * n * n).div_ceil(324));
    (2 * T as u128 * factor).saturating_mul(a.saturating_add(b)).saturating_add(rounding)
}

/// The bound after a switch to a modulus without its last prime.
#[must_use]
pub const fn switched_modulus<const L: usize>(a: u128) -> u128 {
    a / Rns::<L>::PRIMES[Rns::<L>::COUNT - 1].q() as u128 + 1 + six_sigma(rounding::<L>())
}

/// The bound for a fresh secret-key encryption: the distribution's own.
pub const FRESH_SECRET: u128 = 21;

/// The bound after a fresh public-key encryption is multiplied by a plaintext with coefficients
/// uniform mod t; encoded templates have a squared norm of at most that (0.68 to 0.98 of it in
/// samples). One more for the message's own rounding.
pub const PRODUCT: u128 =
    six_sigma((FRESH_VARIANCE + 1) * N as u128 * (T as u128 * T as u128 / 12));

/// The bound on a folded batch's low-end values.
#[must_use]
pub const fn folded<const L: usize>() -> u128 {
    T as u128 * (PRODUCT + FRESH_PUBLIC + Blind::<L>::FLOOD as u128 + 1)
}

const _: () = {
    assert!(folded::<2>() < Rns::<2>::REFUSE as u128, "honest Q54 batches would be refused");
    assert!(folded::<3>() < Rns::<3>::REFUSE as u128, "honest Q81 batches would be refused");
    assert!(PRODUCT + FRESH_PUBLIC < Rns::<2>::Q / (2 * T as u128), "the mask path needs Q/2t");

    // Nine rotations of a product, each added: rotate-and-add with 512 components.
    let summed = 512 * (PRODUCT + switch::<2>()) + FRESH_PUBLIC;
    assert!(summed < Rns::<3>::Q / (2 * T as u128), "Q81 does not hold a summed match");

    // Products in a row: none at Q54, one at Q81, three at Q135 (of at least 2^134).
    let once = product_bound(N as u128, FRESH_PUBLIC, FRESH_PUBLIC);
    assert!(once > Rns::<2>::Q / (2 * T as u128), "a product at Q54 would be worth having");
    let once = once + switch::<3>();
    assert!(once < Rns::<3>::Q / (2 * T as u128), "Q81 does not hold a product");
    assert!(product::<3>(once, once) > Rns::<3>::Q / (2 * T as u128));
    let mut noise = fresh_public::<10>();
    let mut i = 0;
    while i < 3 {
        noise = product::<10>(noise, noise) + switch::<10>();
        i += 1;
    }
    assert!(noise < 1 << (134 - 17), "Q135 does not hold three products");
};

/// The secret key's coefficients, each -1, 0 or 1: for independent models of the scheme.
pub fn secret_coeffs<const L: usize>(k: &Kernels, key: &SecretKey<L>, out: &mut [i8]) {
    let mut s = Poly::<L, Mont>::ZERO;
    s.copy_from(&key.s);
    let s = s.to_eval(k).inverse(k);
    let first = s.limbs.iter().step_by(Rns::<L>::COUNT).flatten();
    for (out, &x) in out.iter_mut().zip(first) {
        *out = Rns::<L>::PRIMES[0].centre(x) as i8;
    }
    s.zeroize();
}

/// The integer in \[0, Q) with these residues, or the largest u128.
fn magnitude<const L: usize>(residues: [u32; L]) -> u128 {
    let mut x = 0u128;
    for (digit, p) in Rns::<L>::digits(residues).into_iter().zip(Rns::<L>::PRIMES).rev() {
        x = x.saturating_mul(p.q().into()).saturating_add(digit.into());
    }
    x
}

/// The largest |c0 + c1 s - round(Q m / t)| over all coefficients; `u128::MAX` for 2^128 and more.
pub fn measure<const L: usize, const PARTS: usize>(
    k: &Kernels,
    key: &SecretKey<L>,
    ciphertext: &Ciphertext<L>,
    message: &Plaintext<PARTS>,
    scratch: &mut Poly<L, Coeff>,
) -> u128 {
    key.phase(k, ciphertext, scratch);
    let mut largest = 0;
    // -phase + round(Q m / t): the noise with its sign turned.
    scratch.negate(k);
    message.add_scaled(k, scratch);
    for part in scratch.limbs.chunks_exact(Rns::<L>::COUNT) {
        for i in 0..N {
            let mut noise = [0; L];
            for (residue, limb) in noise.iter_mut().zip(part) {
                *residue = limb[i];
            }
            let mut negative = noise;
            for (residue, p) in negative.iter_mut().zip(Rns::<L>::PRIMES) {
                *residue = p.neg(*residue);
            }
            largest = largest.max(magnitude::<L>(noise).min(magnitude::<L>(negative)));
        }
    }
    largest
}

/// The low-end values of a folded batch: zero beyond its users.
pub fn folded_values<const L: usize>(
    k: &Kernels,
    key: &SecretKey<L>,
    folded: &Folded<L>,
) -> [i128; MAX_USERS] {
    let mut values = [0; MAX_USERS];
    key.low_end(k, folded, &mut values);
    values
}

/// The scores of a folded batch, and whether it would be refused.
pub fn folded_scores<const L: usize>(
    k: &Kernels,
    key: &SecretKey<L>,
    folded: &Folded<L>,
) -> ([i32; MAX_USERS], bool) {
    let mut scores = Scores::ZERO;
    key.scores(k, folded, &mut scores);
    (scores.scores, scores.refused != 0)
}

/// The scores of a summed batch.
pub fn summed_scores<const L: usize>(
    k: &Kernels,
    key: &SecretKey<L>,
    layout: Layout,
    summed: &Ciphertext<L>,
    plain: &mut Plaintext,
    scratch: &mut Poly<L, Coeff>,
) -> [i32; MAX_USERS] {
    let mut scores = Scores::ZERO;
    key.summed_scores(k, layout, summed, plain, scratch, &mut scores);
    scores.scores
}

/// The scores of a masked batch.
pub fn masked_scores<const L: usize>(
    k: &Kernels,
    key: &SecretKey<L>,
    layout: Layout,
    masked: &Ciphertext<L>,
    plain: &mut Plaintext,
    scratch: &mut Poly<L, Coeff>,
) -> [i32; MAX_USERS] {
    let mut scores = Scores::ZERO;
    key.masked_scores(k, layout, masked, plain, scratch, &mut scores);
    scores.scores
}
