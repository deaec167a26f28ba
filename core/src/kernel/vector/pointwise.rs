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
pub(crate) fn scale<V: Lanes>(a: &mut Limb, c: u32, plan: &Plan) {
    let (q, inverse) = (V::splat(plan.prime.q()), V::splat(plan.prime.qinv()));
    let c = V::splat(c);
    each!(V, a, x, [], lift(x.montgomery(c, q, inverse), q));
}

#[inline(always)]
pub(crate) fn split<V: Lanes>(a: &mut Limb, b: &mut Limb, plan: &Plan) {
    let (q, inverse) = (V::splat(plan.prime.q()), V::splat(plan.prime.qinv()));
    let root = V::splat(plan.top);
    let (a, b) = (a.as_mut_ptr(), b.as_mut_ptr());
    for i in (0..N).step_by(V::LANES) {
        // SAFETY: i + LANES is at most N.
        unsafe {
            let (x, y) = (V::load(a.add(i)), V::load(b.add(i)));
            let t = y.montgomery(root, q, inverse);
            canonical(x.add(t), q).store(a.add(i));
            canonical(x.sub(t), q).store(b.add(i));
        }
    }
}

#[inline(always)]
pub(crate) fn join<V: Lanes>(a: &mut Limb, b: &mut Limb, plan: &Plan) {
    let (q, inverse) = (V::splat(plan.prime.q()), V::splat(plan.prime.qinv()));
    let root = V::splat(plan.top);
    let (a, b) = (a.as_mut_ptr(), b.as_mut_ptr());
    for i in (0..N).step_by(V::LANES) {
        // SAFETY: i + LANES is at most N.
        unsafe {
            let (x, y) = (V::load(a.add(i)), V::load(b.add(i)));
            lift(x.add(y).sub(q), q).store(a.add(i));
            lift(y.sub(x).montgomery(root, q, inverse), q).store(b.add(i));
        }
    }
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
