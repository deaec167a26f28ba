//! Word by word: products, sums, block sums.

use super::super::lanes::Lanes;
use super::{canonical, lift};
use crate::kernel::contract::{GROUP, Limb, MAX_SMALL};
use crate::ntt::{N, Plan};

#[inline(always)]
pub(crate) fn mul<V: Lanes>(out: &mut Limb, a: &Limb, b: &Limb, plan: &Plan) {
    let (q, inverse) = (V::splat(plan.prime.q()), V::splat(plan.prime.qinv()));
    each!(V, out, x, [a, b], lift(a.montgomery(b, q, inverse), q));
}

#[inline(always)]
pub(crate) fn mul_assign<V: Lanes>(a: &mut Limb, b: &Limb, plan: &Plan) {
    let (q, inverse) = (V::splat(plan.prime.q()), V::splat(plan.prime.qinv()));
    each!(V, a, x, [b], lift(x.montgomery(b, q, inverse), q));
}

#[inline(always)]
pub(crate) fn mul_acc<V: Lanes>(out: &mut Limb, a: &Limb, b: &Limb, plan: &Plan) {
    let (q, inverse) = (V::splat(plan.prime.q()), V::splat(plan.prime.qinv()));
    each!(V, out, x, [a, b], canonical(x.add(a.montgomery(b, q, inverse)), q));
}

#[inline(always)]
pub(crate) fn add_assign<V: Lanes>(a: &mut Limb, b: &Limb, plan: &Plan) {
    let q = V::splat(plan.prime.q());
    each!(V, a, x, [b], lift(x.add(b).sub(q), q));
}

#[inline(always)]
pub(crate) fn sub_assign<V: Lanes>(a: &mut Limb, b: &Limb, plan: &Plan) {
    let q = V::splat(plan.prime.q());
    each!(V, a, x, [b], lift(x.sub(b), q));
}

#[inline(always)]
pub(crate) fn negate<V: Lanes>(a: &mut Limb, plan: &Plan) {
    let (q, zero) = (V::splat(plan.prime.q()), V::splat(0));
    each!(V, a, x, [], lift(zero.sub(x), q));
}

#[inline(always)]
pub(crate) fn to_mont<V: Lanes>(a: &mut Limb, plan: &Plan) {
    scale::<V>(a, plan.prime.r2(), plan);
}

#[inline(always)]
pub(crate) fn from_mont<V: Lanes>(a: &mut Limb, plan: &Plan) {
    scale::<V>(a, 1, plan);
}

/// a = a c 2^-32.
#[inline(always)]
fn scale<V: Lanes>(a: &mut Limb, c: u32, plan: &Plan) {
    let (q, inverse) = (V::splat(plan.prime.q()), V::splat(plan.prime.qinv()));
    let c = V::splat(c);
    each!(V, a, x, [], lift(x.montgomery(c, q, inverse), q));
}

/// The sums of products of each group's two halves (lanes 0 to 7 and 8 to 15 of its rows), which are
/// its blocks where users have 128 words; larger blocks are sums of these.
#[inline(always)]
pub(crate) fn block_sums<V: Lanes>(out: &mut [u32], a: &Limb, b: &Limb, plan: &Plan) {
    debug_assert!(matches!(out.len(), 8 | 16 | 32));
    let mut halves = [0u64; MAX_SMALL];
    let (a, b) = (a.as_ptr(), b.as_ptr());
    for group in 0..N / GROUP {
        let mut sums = [V::wide_zero(); 2];
        for row in 0..16 {
            for lane in (0..16).step_by(V::LANES) {
                let at = GROUP * group + 16 * row + lane;
                // SAFETY: at + LANES is at most N.
                unsafe {
                    let (a, b) = (V::load(a.add(at)), V::load(b.add(at)));
                    sums[lane / 8] = V::wide_mul_add(sums[lane / 8], a, b);
                }
            }
        }
        let (low, high) = (V::wide_halves(sums[0]), V::wide_halves(sums[1]));
        [halves[2 * group], halves[2 * group + 1]] =
            if V::LANES == 16 { low } else { [low[0] + low[1], high[0] + high[1]] };
    }
    let each = MAX_SMALL / out.len();
    for (out, halves) in out.iter_mut().zip(halves.chunks_exact(each)) {
        // Up to 512 products of canonical words.
        *out = plan.prime.montgomery_sum(halves.iter().sum());
    }
}
