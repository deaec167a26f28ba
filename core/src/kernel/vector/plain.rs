//! Plaintexts: the transform mod t, and the ways between words mod t and limbs.

use super::super::lanes::Lanes;
use super::super::scalar;
use super::super::twiddles::{GROUPS, PLAIN_TAIL, WIDE_PLAIN_TAIL};
use super::canonical;
use crate::kernel::contract::{GROUP, Limb, ROUND_BITS, Rounding};
use crate::ntt::plan::PLAIN;
use crate::ntt::{LOG_N, N, Plan};
use crate::zt::T;

/// As `zt::fold`: |x| < 2^31 - 2^15 to within 2^15 + |x| / 2^16 + 1 of zero.
#[inline(always)]
fn fold<V: Lanes>(x: V) -> V {
    let half = V::splat(1 << 15);
    let y = x.add(half);
    y.and(V::splat(0xffff)).sub(half).sub(y.sar::<16>())
}

/// A signed |x| < 2^31 - 2^15 to \[0, t).
#[inline(always)]
fn reduce<V: Lanes>(x: V) -> V {
    let r = fold(x);
    r.min(r.add(V::splat(T)))
}

/// The layer of `blocks` blocks, forward. What is multiplied is folded first, so words grow by 2^15
/// and a little in each layer.
#[inline(always)]
fn forward_layer<V: Lanes>(x: &mut [u32], blocks: usize) {
    let half = x.len() / (2 * blocks);
    let x = x.as_mut_ptr();
    for block in 0..blocks {
        // SAFETY: blocks and their halves tile x; half is a multiple of LANES; blocks + block < 2N.
        unsafe {
            let w = V::splat(*PLAIN.w.get_unchecked(blocks + block) as u32);
            let (lo, hi) = (x.add(2 * block * half), x.add((2 * block + 1) * half));
            for i in (0..half).step_by(V::LANES) {
                let (a, b) = (V::load(lo.add(i)), V::load(hi.add(i)));
                let t = fold(fold(b).mul(w));
                a.add(t).store(lo.add(i));
                a.sub(t).store(hi.add(i));
            }
        }
    }
}

/// The same layer of the inverse.
#[inline(always)]
fn inverse_layer<V: Lanes>(x: &mut [u32], blocks: usize) {
    let half = x.len() / (2 * blocks);
    let x = x.as_mut_ptr();
    for block in 0..blocks {
        // SAFETY: as above.
        unsafe {
            let w = V::splat(*PLAIN.w.get_unchecked(2 * blocks - 1 - block) as u32);
            let (lo, hi) = (x.add(2 * block * half), x.add((2 * block + 1) * half));
            for i in (0..half).step_by(V::LANES) {
                let (a, b) = (V::load(lo.add(i)), V::load(hi.add(i)));
                a.add(b).store(lo.add(i));
                fold(fold(b.sub(a)).mul(w)).store(hi.add(i));
            }
        }
    }
}

/// Layers that pair whole vectors; the last four are done on transposed groups. Nothing for what is
/// left to portable code.
fn far_layers(len: usize, layers: usize) -> Option<usize> {
    let far = match len {
        N => LOG_N - 4,
        WIDE => LOG_N - 3,
        _ => return None,
    };
    (layers <= far || layers == far + 4).then_some(far)
}

/// Words of the larger ring's plaintexts.
const WIDE: usize = 2 * N;

#[inline(always)]
pub(crate) fn plain_forward<V: Lanes>(x: &mut [u32], layers: usize) {
    let Some(far) = far_layers(x.len(), layers) else {
        return scalar::plain_forward(x, layers);
    };
    for layer in 0..layers.min(far) {
        forward_layer::<V>(x, 1 << layer);
    }
    if layers > far {
        near::<V>(x, true);
    }
    let words = x.as_mut_ptr();
    for i in (0..x.len()).step_by(V::LANES) {
        // SAFETY: i + LANES is at most the length.
        unsafe { reduce(V::load(words.add(i))).store(words.add(i)) };
    }
}

/// A layer among the last four of the inverse: factor t of them is the mirrored block's.
macro_rules! inverse_column {
    ($v:ident; $($a:literal $b:literal $t:literal),*) => {$({
        const MIRROR: usize = (2 << ($t as usize + 1).ilog2()) - 1 - ($t + 1 - (1 << ($t as usize + 1).ilog2()));
        let w = V::splat(PLAIN.w[MIRROR] as u32);
        let d = $v[$b].sub($v[$a]);
        $v[$a] = $v[$a].add($v[$b]);
        $v[$b] = fold(fold(d).mul(w));
    })*};
}
#[inline(always)]
pub(crate) fn plain_inverse<V: Lanes>(x: &mut [u32], layers: usize) {
    let Some(far) = far_layers(x.len(), layers) else {
        return scalar::plain_inverse(x, layers);
    };
    if layers > far {
        near::<V>(x, false);
    }
    // The last four layers at once, in registers, on columns of 16 vectors.
    let columns = layers >= 4;
    for layer in (if columns { 4 } else { 0 }..layers.min(far)).rev() {
        inverse_layer::<V>(x, 1 << layer);
    }
    // 2^-layers = -2^(16 - layers) mod t.
    let scale = V::splat((1u32 << (16 - layers)).wrapping_neg());
    let stride = x.len() / 16;
    let x = x.as_mut_ptr();
    for i in (0..stride).step_by(V::LANES) {
        // SAFETY: stride j + i + LANES is at most the length.
        unsafe {
            let mut v = [V::splat(0); 16];
            for (j, v) in v.iter_mut().enumerate() {
                *v = V::load(x.add(stride * j + i));
            }
            if columns {
                distance_1!(inverse_column v);
                distance_2!(inverse_column v);
                distance_4!(inverse_column v);
                distance_8!(inverse_column v);
            }
            for j in 0..16 {
                reduce(fold(v[j]).mul(scale)).store(x.add(stride * j + i));
            }
        }
    }
}

macro_rules! forward_near {
    ($v:ident $rows:ident $run:ident; $($a:literal $b:literal $t:literal),*) => {$({
        let w = V::load($rows[$t].as_ptr().add($run).cast());
        let t = fold(fold($v[$b]).mul(w));
        ($v[$a], $v[$b]) = ($v[$a].add(t), $v[$a].sub(t));
    })*};
}

macro_rules! inverse_near {
    ($v:ident $rows:ident $run:ident; $($a:literal $b:literal $t:literal),*) => {$({
        let w = V::load($rows[$t].as_ptr().add($run).cast());
        let d = $v[$b].sub($v[$a]);
        $v[$a] = $v[$a].add($v[$b]);
        $v[$b] = fold(fold(d).mul(w));
    })*};
}

/// The last four layers (forward) or the first four (inverse), on groups of 16 runs of 16 words.
#[inline(always)]
fn near<V: Lanes>(x: &mut [u32], forward: bool) {
    let direction = usize::from(!forward);
    let rows = match x.len() {
        N => PLAIN_TAIL[direction].as_slice(),
        _ => WIDE_PLAIN_TAIL[direction].as_slice(),
    };
    for (x, rows) in x.as_chunks_mut::<GROUP>().0.iter_mut().zip(rows) {
        let x = x.as_mut_ptr();
        for run in (0..GROUPS).step_by(V::LANES) {
            let mut v = [V::splat(0); 16];
            // SAFETY: 16 (run + l) + LANES c + LANES is at most 256; rows have 16 words.
            unsafe {
                for (i, v) in v.iter_mut().enumerate() {
                    *v = V::load(x.add(16 * (run + i % V::LANES) + V::LANES * (i / V::LANES)));
                }
                v = V::transpose(v);
                if forward {
                    distance_8!(forward_near v rows run);
                    distance_4!(forward_near v rows run);
                    distance_2!(forward_near v rows run);
                    distance_1!(forward_near v rows run);
                } else {
                    distance_1!(inverse_near v rows run);
                    distance_2!(inverse_near v rows run);
                    distance_4!(inverse_near v rows run);
                    distance_8!(inverse_near v rows run);
                }
                v = V::transpose(v);
                for i in 0..16 {
                    v[i].store(x.add(16 * (run + i % V::LANES) + V::LANES * (i / V::LANES)));
                }
            }
        }
    }
}

#[inline(always)]
pub(crate) fn add_scaled<V: Lanes>(
    out: &mut Limb,
    message: &Limb,
    delta: u32,
    q_mod_t: u32,
    plan: &Plan,
) {
    let (q, inverse) = (V::splat(plan.prime.q()), V::splat(plan.prime.qinv()));
    let (delta, remainder, half) = (V::splat(delta), V::splat(q_mod_t), V::splat(T / 2));
    let low = V::splat(0xffff);
    each!(V, out, x, [message], {
        // floor(r / t) of r = h 2^16 + l is h, less one where l < h.
        let r = message.mul(remainder).add(half);
        let h = r.shr::<16>();
        let rounding = h.add(r.and(low).sub(h).sar::<31>());
        canonical(x.add(message.montgomery(delta, q, inverse)).add(rounding), q)
    });
}

#[inline(always)]
pub(crate) fn lift_plain<V: Lanes>(out: &mut Limb, message: &Limb, plan: &Plan) {
    let wrap = V::splat(plan.prime.q() - T);
    let half = V::splat(1 << 15);
    each!(V, out, x, [message], message.add(message.gt(half).and(wrap)));
}

#[inline(always)]
pub(crate) fn round<V: Lanes>(out: &mut Limb, w: &[Limb], rounding: &[Rounding]) {
    let out = out.as_mut_ptr();
    let t = V::splat(T);
    for i in (0..N).step_by(V::LANES) {
        // SAFETY: i + LANES is at most N.
        unsafe {
            let mut sums = V::wide_zero();
            for (w, r) in w.iter().zip(rounding) {
                let (q, inverse) = (V::splat(r.prime.q()), V::splat(r.prime.qinv()));
                let w = V::load(w.as_ptr().add(i));
                let y = super::lift(w.montgomery(V::splat(r.punctured), q, inverse), q);
                sums = V::wide_mul_add(sums, y, V::splat(r.factor));
            }
            // At most one t a limb.
            let mut x = V::wide_round::<{ ROUND_BITS as i32 }>(sums, 1 << (ROUND_BITS - 1));
            for _ in w {
                x = x.min(x.sub(t));
            }
            x.store(out.add(i));
        }
    }
}
