//! Key switching: from a ciphertext under one secret to one under another.
//!
//! Hybrid, with one special prime P (Gentry, Halevi and Smart 2012; Han and Ki 2020): the polynomial c
//! that belongs to the old secret s' is split into digits, its residue modulo each prime of Q, centred.
//! Digit i meets row i of the key, an encryption modulo Q P, under the new secret s, of P s' times
//! what is 1 mod q_i and 0 modulo the other primes. The sum is an encryption of P c s' with the small
//! noise sum digit e, and dividing by P makes it smaller still.
//!
//! The limbs of a row that belong to Q are held divided by P already, so that what is left of the
//! division is to subtract P^-1 times the centred residue mod P.

use crate::kernel::Kernels;
use crate::kernel::contract::Limb;
use crate::ntt::{self, N, Plan};
use crate::poly::{Limbs, Room};
use crate::rns::Rns;

/// The parameter sets that have a special prime: Q54, Q81 and Q135. How much room keys take, and what
/// goes with the special prime.
pub trait Switch {
    /// A polynomial modulo Q P.
    type Extended: Room;
    /// As many as Q has primes.
    type Digits: Room;
    /// Twice as many: for each digit a pair (b, a).
    type Key: Room;
    /// The transforms modulo the primes of Q and P.
    #[doc(hidden)]
    const PLANS: &'static [&'static Plan];
    /// For each limb: -2^32 / P, and -2^64 / P or, for P itself, -2^64.
    #[doc(hidden)]
    const FACTORS: &'static [Factors];
}

/// What goes with a special prime, for one limb.
#[derive(Clone, Copy, Debug)]
pub struct Factors {
    /// -2^32 / P: takes a residue mod P off.
    pub(super) reduce: u32,
    /// -2^64 / P, or for P itself -2^64: makes a sampled error one of a key.
    pub(super) error: u32,
}

/// The basis with the special prime, which comes last.
struct With<const E: usize>;

impl<const E: usize> With<E> {
    const FACTORS: [Factors; E] = {
        let mut factors = [Factors { reduce: 0, error: 0 }; E];
        let mut i = 0;
        while i < E {
            let p = Rns::<E>::PRIMES[i];
            let inverse = Rns::<E>::LAST_INVERSE[i];
            let is_special = inverse == 0;
            factors[i].reduce = p.neg(inverse);
            factors[i].error = p.neg(if is_special { p.r2() } else { p.mul(inverse, p.r()) });
            i += 1;
        }
        factors
    };
}

macro_rules! switch {
    ($l:literal, $e:literal) => {
        impl Switch for Rns<$l> {
            type Extended = Limbs<$e>;
            type Digits = Limbs<{ Rns::<$l>::COUNT * $e }>;
            type Key = Limbs<{ 2 * Rns::<$l>::COUNT * $e }>;
            const PLANS: &'static [&'static Plan] = &Rns::<$e>::PLANS;
            const FACTORS: &'static [Factors] = &With::<$e>::FACTORS;
        }
    };
}
switch!(2, 3);
switch!(3, 4);
switch!(10, 12);

/// The digits of a polynomial, as values modulo Q P, from its coefficients and, where they are at
/// hand, its values: those are the digits' own residues.
pub(super) fn decompose<const L: usize>(
    k: &Kernels,
    coeffs: &[Limb; L],
    values: Option<&[Limb; L]>,
    digits: &mut [Limb],
) where
    Rns<L>: Switch,
{
    let plans = <Rns<L> as Switch>::PLANS;
    let parts = Rns::<L>::PARTS;
    for ((i, digit), own) in digits.chunks_exact_mut(plans.len()).enumerate().zip(Rns::<L>::PRIMES)
    {
        let is_known = |plan: &Plan| values.is_some() && plan.prime == own;
        for (half, limbs) in digit.chunks_exact_mut(plans.len() / parts).enumerate() {
            let at = half * Rns::<L>::COUNT + i;
            for (out, plan) in limbs.iter_mut().zip(plans) {
                match (values.unwrap_or(coeffs).get(at), coeffs.get(at)) {
                    (Some(value), _) if is_known(plan) => *out = *value,
                    (_, Some(x)) => (k.raise)(out, x, &own, plan.prime.r(), plan),
                    _ => return,
                }
            }
        }
        for ((low, high), plan) in ntt::halves(digit, parts).zip(plans) {
            if !is_known(plan) {
                ntt::forward(k, low, high, plan);
            }
        }
    }
}

/// Half `component` (0 or 1) of what the digits under one secret are under another: for each prime of
/// Q the values, handed to `sink` with the number of the prime. `scratch` is working space.
pub(super) fn accumulate<const L: usize>(
    k: &Kernels,
    digits: &[Limb],
    key: &[Limb],
    component: usize,
    scratch: &mut [Limb; L],
    mut sink: impl FnMut(usize, &mut [Limb]),
) where
    Rns<L>: Switch,
{
    let plans = <Rns<L> as Switch>::PLANS;
    let (parts, len) = (Rns::<L>::PARTS, plans.len());
    let count = len / parts;
    // out = out + the sum over digits, limb `at`.
    let add = |out: &mut Limb, at: usize| {
        let pairs = (digits.get(at..), key.get(component * len + at..), plans.get(at));
        if let (Some(digits), Some(key), Some(plan)) = pairs {
            (k.dot_acc)(out, [digits, key], [len, 2 * len], plan);
        }
    };

    let (special, rest) = scratch.split_at_mut(parts);
    let Some((sums, _)) = rest.split_at_mut_checked(parts) else { return };
    for (half, limb) in special.iter_mut().enumerate() {
        *limb = [0; N];
        add(limb, (half + 1) * count - 1);
    }
    let Some(last) = plans.get(count - 1) else { return };
    for (low, high) in ntt::halves(special, parts) {
        ntt::inverse(k, low, high, last);
    }

    let primes = plans.iter().zip(<Rns<L> as Switch>::FACTORS);
    for (i, (plan, factors)) in primes.enumerate().take(count - 1) {
        for (sum, special) in sums.iter_mut().zip(special.iter()) {
            (k.raise)(sum, special, &last.prime, factors.reduce, plan);
        }
        for (low, high) in ntt::halves(sums, parts) {
            ntt::forward(k, low, high, plan);
        }
        for (half, sum) in sums.iter_mut().enumerate() {
            add(sum, half * count + i);
        }
        sink(i, sums);
    }
}
