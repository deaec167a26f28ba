//! The negacyclic number-theoretic transform: its sizes and its constant tables. The transforms of N
//! words are kernels, see [`crate::kernel`].
//!
//! **Twice the degree.** With i a square root of -1, X^2N + 1 = (X^N - i)(X^N + i) mod q. So a
//! polynomial of degree below 2N is two halves of N words for each prime: first its lower and its upper
//! coefficients; then, after one layer of butterflies (a, b) -> (a + i b, a - i b), its remainders mod
//! X^N - i and mod X^N + i; and then, after a transform of each, their values. Everything but that
//! layer works on halves.

pub mod plan;

pub use plan::{PLANS, Plan, WIDE_PLANS};

use crate::kernel::Kernels;
use crate::kernel::contract::Limb;

/// log2 of the words in a limb.
pub const LOG_N: usize = 12;

/// Words in a limb, and the smaller ring degree: R = Z\[X\]/(X^N + 1).
pub const N: usize = 1 << LOG_N;

/// Limbs a prime in a basis.
pub(crate) fn parts(plans: &[&Plan]) -> usize {
    match plans {
        [plan, ..] if plan.top != 0 => 2,
        _ => 1,
    }
}

/// The limbs of each prime: the only one, or the low and the high half.
pub(crate) fn halves(
    limbs: &mut [Limb],
    parts: usize,
) -> impl Iterator<Item = (&mut Limb, Option<&mut Limb>)> {
    let (low, high) = limbs.split_at_mut(limbs.len() / parts);
    let mut high = high.iter_mut();
    low.iter_mut().map(move |low| (low, high.next()))
}

/// Coefficients to values modulo one prime, in place; `plan` is the low half's.
pub(crate) fn forward(k: &Kernels, low: &mut Limb, high: Option<&mut Limb>, plan: &Plan) {
    if let Some(high) = high {
        (k.split)(low, high, plan);
        (k.forward)(high, plan.other);
    }
    (k.forward)(low, plan);
}

/// Coefficients to values modulo all primes of a basis, plus a b 2^-32.
pub(crate) fn forward_mul_acc(
    k: &Kernels,
    x: &mut [Limb],
    a: &[Limb],
    b: &[Limb],
    plans: &[&Plan],
) {
    for ((low, high), plan) in halves(x, parts(plans)).zip(plans) {
        if let Some(high) = high {
            (k.split)(low, high, plan);
        }
    }
    for (((x, a), b), plan) in x.iter_mut().zip(a).zip(b).zip(plans) {
        (k.forward_mul_acc)(x, a, b, plan);
    }
}

/// And back.
pub(crate) fn inverse(k: &Kernels, low: &mut Limb, high: Option<&mut Limb>, plan: &Plan) {
    (k.inverse)(low, plan.other);
    if let Some(high) = high {
        (k.inverse)(high, plan);
        (k.join)(low, high, plan);
    }
}
