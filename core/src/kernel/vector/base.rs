//! Between bases, and products of many limbs: sums in 64-bit lanes, reduced once.

use super::super::lanes::Lanes;
use super::lift;
use crate::kernel::contract::{Limb, MAX_BASE, SHARE_BITS, Source, Target};
use crate::ntt::{N, Plan};
use crate::zq::Prime;

/// From \[0, 2q) to \[0, q).
#[inline(always)]
fn correct<V: Lanes>(x: V, q: V) -> V {
    x.min(x.sub(q))
}

#[inline(always)]
pub(crate) fn dot_acc<V: Lanes>(
    out: &mut Limb,
    [a, b]: [&[Limb]; 2],
    [step_a, step_b]: [usize; 2],
    plan: &Plan,
) {
    let (q, negated) = (V::splat(plan.prime.q()), V::splat(plan.prime.qinv().wrapping_neg()));
    let count = a.len().div_ceil(step_a).min(b.len().div_ceil(step_b));
    let (a, b) = (a.as_ptr().cast::<u32>(), b.as_ptr().cast::<u32>());
    let (step_a, step_b) = (N * step_a, N * step_b);
    let out = out.as_mut_ptr();
    for i in (0..N).step_by(V::LANES) {
        let mut sum = V::wide_zero();
        // SAFETY: i + LANES is at most N; pair j lies within both slices, as j is below `count`.
        unsafe {
            for j in 0..count {
                let a = V::load(a.add(step_a * j + i));
                sum = V::wide_mul_add(sum, a, V::load(b.add(step_b * j + i)));
            }
            let product = V::wide_montgomery(sum, q, negated);
            // Less than 3q.
            let x = correct(product, q).add(V::load(out.add(i)));
            correct(x, q).store(out.add(i));
        }
    }
}

#[inline(always)]
pub(crate) fn tensor<V: Lanes>(a: &mut Limb, b: &mut Limb, c: &mut Limb, d: &Limb, plan: &Plan) {
    let (q, inverse) = (V::splat(plan.prime.q()), V::splat(plan.prime.qinv()));
    let negated = V::splat(plan.prime.qinv().wrapping_neg());
    let (a, b, c, d) = (a.as_mut_ptr(), b.as_mut_ptr(), c.as_mut_ptr(), d.as_ptr());
    for i in (0..N).step_by(V::LANES) {
        // SAFETY: i + LANES is at most N.
        unsafe {
            let (w, x) = (V::load(a.add(i)), V::load(b.add(i)));
            let (y, z) = (V::load(c.add(i)), V::load(d.add(i)));
            let cross = V::wide_mul_add(V::wide_mul_add(V::wide_zero(), w, z), x, y);
            lift(w.montgomery(y, q, inverse), q).store(a.add(i));
            lift(x.montgomery(z, q, inverse), q).store(b.add(i));
            correct(V::wide_montgomery(cross, q, negated), q).store(c.add(i));
        }
    }
}

#[inline(always)]
pub(crate) fn raise<V: Lanes>(out: &mut Limb, x: &Limb, from: &Prime, factor: u32, plan: &Plan) {
    let (q, inverse) = (V::splat(plan.prime.q()), V::splat(plan.prime.qinv()));
    let (modulus, half) = (V::splat(from.q()), V::splat(from.q() / 2));
    let factor = V::splat(factor);
    each!(V, out, old, [x], {
        let centred = x.sub(x.gt(half).and(modulus));
        lift(centred.montgomery(factor, q, inverse), q)
    });
}

#[inline(always)]
pub(crate) fn convert<V: Lanes>(out: &mut [Limb], x: &[Limb], from: &[Source], to: &[Target]) {
    assert!(x.len() >= from.len() && from.len() <= MAX_BASE && out.len() >= to.len());
    let x = x.as_ptr().cast::<u32>();
    let out = out.as_mut_ptr().cast::<u32>();
    for i in (0..N).step_by(V::LANES) {
        let mut y = [V::splat(0); MAX_BASE];
        let (mut whole, mut rest) = (V::wide_zero(), V::wide_zero());
        for (j, s) in from.iter().enumerate() {
            let (q, inverse) = (V::splat(s.prime.q()), V::splat(s.prime.qinv()));
            // SAFETY: i + LANES is at most N, and j below the number of limbs.
            let word = unsafe { V::load(x.add(N * j + i)) };
            let word = lift(word.montgomery(V::splat(s.punctured), q, inverse), q);
            whole = V::wide_mul_add(whole, word, V::splat(s.share));
            rest = V::wide_mul_add(rest, word, V::splat(s.fraction));
            y[j] = word;
        }
        let whole = V::wide_round::<{ SHARE_BITS as i32 }>(whole, 1 << (SHARE_BITS - 1));
        let rest = V::wide_round::<32>(rest, 1 << 31);
        for (j, t) in to.iter().enumerate() {
            let q = V::splat(t.prime.q());
            let mut sum = V::wide_mul_add(V::wide_zero(), whole, V::splat(t.overflow));
            sum = V::wide_mul_add(sum, rest, V::splat(t.one));
            for l in 0..from.len() {
                sum = V::wide_mul_add(sum, y[l], V::splat(t.weights[l]));
            }
            let negated = V::splat(t.prime.qinv().wrapping_neg());
            let word = correct(V::wide_montgomery(sum, q, negated), q);
            // SAFETY: as above.
            unsafe { word.store(out.add(N * j + i)) };
        }
    }
}
