//! Portable kernels: the meaning that every other kernel is tested against.

use super::contract::{GROUP, INVERSE_STRIDE, Kernels, Limb, MAX_SMALL};
use crate::ntt::N;
use crate::ntt::plan::{PLAIN, Plan};
use crate::zt;
use core::array::from_fn;

pub(crate) static KERNELS: Kernels = Kernels {
    isa: "scalar",
    forward,
    inverse,
    mul,
    mul_assign,
    mul_acc,
    add_assign,
    sub_assign,
    negate,
    to_mont,
    from_mont,
    block_sums,
    forward_small,
    inverse_small,
    plain_forward,
    plain_inverse,
};

/// One layer of decimation in time: (a, b) -> (a + w b, a - w b + 2q), 2q more than before.
#[inline(always)]
fn forward_layer(x: &mut [u32], plan: &Plan, blocks: usize) {
    let p = plan.prime;
    let len = x.len() / (2 * blocks);
    let twiddles = plan.w.iter().zip(&plan.ws).skip(blocks);
    for (block, (&w, &ws)) in x.chunks_exact_mut(2 * len).zip(twiddles) {
        let (lo, hi) = block.split_at_mut(len);
        for (a, b) in lo.iter_mut().zip(hi) {
            let t = p.shoup_lazy(*b, w, ws);
            let s = *a;
            *a = s + t;
            *b = s + 2 * p.q() - t;
        }
    }
}

/// One layer of decimation in frequency on values below `bound` q:
/// (a, b) -> (a + b, (b - a + bound q) (-1/w)), sums below 2 `bound` q unless reduced.
#[inline(always)]
fn inverse_layer(x: &mut [u32], plan: &Plan, blocks: usize, bound: u32, reduce: bool) {
    let p = plan.prime;
    let len = x.len() / (2 * blocks);
    let twiddles = plan.w.iter().zip(&plan.ws).skip(blocks).take(blocks).rev();
    for (block, (&w, &ws)) in x.chunks_exact_mut(2 * len).zip(twiddles) {
        let (lo, hi) = block.split_at_mut(len);
        for (a, b) in lo.iter_mut().zip(hi) {
            let (s, t) = (*a, *b);
            *a = if reduce { p.barrett(s + t) } else { s + t };
            // -1/w is the forward twiddle of the mirrored block.
            *b = p.shoup_lazy(t + bound * p.q() - s, w, ws);
        }
    }
}

/// The bound, in q, on the values that enter a layer of the inverse (counted from 1), and whether
/// that layer reduces its sums.
const fn inverse_schedule(layer: usize) -> (u32, bool) {
    let since = (layer - 1) % INVERSE_STRIDE;
    // Products and reduced sums are below 2q; canonical input enters as if it were.
    (2 << since, since == INVERSE_STRIDE - 1)
}

/// Two forward layers in one pass over memory: `blocks`, then 2 `blocks`.
#[inline(always)]
fn forward_pair(x: &mut [u32], plan: &Plan, blocks: usize) {
    let p = plan.prime;
    let q2 = 2 * p.q();
    let len = x.len() / (4 * blocks);
    let outer = plan.w.iter().zip(&plan.ws).skip(blocks);
    let inner = plan.w.as_chunks::<2>().0.iter().zip(plan.ws.as_chunks::<2>().0).skip(blocks);
    for ((block, (&w, &ws)), (&[w0, w1], &[ws0, ws1])) in
        x.chunks_exact_mut(4 * len).zip(outer).zip(inner)
    {
        let (ab, cd) = block.split_at_mut(2 * len);
        let (a, b) = ab.split_at_mut(len);
        let (c, d) = cd.split_at_mut(len);
        for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
            let (tc, td) = (p.shoup_lazy(*c, w, ws), p.shoup_lazy(*d, w, ws));
            let (a1, b1) = (*a + tc, *b + td);
            let (c1, d1) = (*a + q2 - tc, *b + q2 - td);
            let (tb, td) = (p.shoup_lazy(b1, w0, ws0), p.shoup_lazy(d1, w1, ws1));
            (*a, *b, *c, *d) = (a1 + tb, a1 + q2 - tb, c1 + td, c1 + q2 - td);
        }
    }
}

/// Two inverse layers in one pass: 2 `blocks`, then `blocks`, on values below `bound` q.
#[inline(always)]
fn inverse_pair(x: &mut [u32], plan: &Plan, blocks: usize, bound: u32, reduce: bool) {
    let p = plan.prime;
    let (b1, b2) = (bound * p.q(), 2 * bound * p.q());
    let len = x.len() / (4 * blocks);
    let outer = plan.w.iter().zip(&plan.ws).skip(blocks).take(blocks).rev();
    let inner = plan.w.as_chunks::<2>().0.iter().zip(plan.ws.as_chunks::<2>().0);
    let inner = inner.skip(blocks).take(blocks).rev();
    for ((block, (&w, &ws)), (&[w1, w0], &[ws1, ws0])) in
        x.chunks_exact_mut(4 * len).zip(outer).zip(inner)
    {
        let (ab, cd) = block.split_at_mut(2 * len);
        let (a, b) = ab.split_at_mut(len);
        let (c, d) = cd.split_at_mut(len);
        for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
            let (sa, sc) = (*a + *b, *c + *d);
            let sb = p.shoup_lazy(*b + b1 - *a, w0, ws0);
            let sd = p.shoup_lazy(*d + b1 - *c, w1, ws1);
            let (ra, rb) = (sa + sc, sb + sd);
            (*a, *b) = if reduce { (p.barrett(ra), p.barrett(rb)) } else { (ra, rb) };
            *c = p.shoup_lazy(sc + b2 - sa, w, ws);
            *d = p.shoup_lazy(sd + b2 - sb, w, ws);
        }
    }
}

type Four = [u32; 4];

const fn transpose([a, b, c, d]: [Four; 4]) -> [Four; 4] {
    [
        [a[0], b[0], c[0], d[0]],
        [a[1], b[1], c[1], d[1]],
        [a[2], b[2], c[2], d[2]],
        [a[3], b[3], c[3], d[3]],
    ]
}

/// Even and odd entries.
const fn split(x: [u32; 8]) -> [Four; 2] {
    [[x[0], x[2], x[4], x[6]], [x[1], x[3], x[5], x[7]]]
}

/// The last four forward layers and the final reduction: chunks of 16 words, as four arrays of four
/// that compilers turn into vectors. The last two layers work across the arrays, hence transposed.
#[inline(always)]
fn forward_tail(x: &mut Limb, plan: &Plan) {
    let p = plan.prime;
    let butterfly = |a: Four, b: Four, w: Four, ws: Four| -> [Four; 2] {
        let t: Four = from_fn(|i| p.shoup_lazy(b[i], w[i], ws[i]));
        [from_fn(|i| a[i] + t[i]), from_fn(|i| a[i] + 2 * p.q() - t[i])]
    };
    let eight = plan.w.iter().zip(&plan.ws).skip(N / 16);
    let four = plan.w.as_chunks::<2>().0.iter().zip(plan.ws.as_chunks::<2>().0).skip(N / 16);
    let two = plan.w.as_chunks::<4>().0.iter().zip(plan.ws.as_chunks::<4>().0).skip(N / 16);
    let one = plan.w.as_chunks::<8>().0.iter().zip(plan.ws.as_chunks::<8>().0).skip(N / 16);
    let chunks = x.as_chunks_mut::<4>().0.as_chunks_mut::<4>().0;
    for ((((chunk, (&w, &ws)), (w4, ws4)), (&w2, &ws2)), (&w1, &ws1)) in
        chunks.iter_mut().zip(eight).zip(four).zip(two).zip(one)
    {
        let [a, b, c, d] = *chunk;
        let [a, c] = butterfly(a, c, [w; 4], [ws; 4]);
        let [b, d] = butterfly(b, d, [w; 4], [ws; 4]);
        let [a, b] = butterfly(a, b, [w4[0]; 4], [ws4[0]; 4]);
        let [c, d] = butterfly(c, d, [w4[1]; 4], [ws4[1]; 4]);
        let [a, b, c, d] = transpose([a, b, c, d]);
        let [a, c] = butterfly(a, c, w2, ws2);
        let [b, d] = butterfly(b, d, w2, ws2);
        let ([w_even, w_odd], [ws_even, ws_odd]) = (split(w1), split(ws1));
        let [a, b] = butterfly(a, b, w_even, ws_even);
        let [c, d] = butterfly(c, d, w_odd, ws_odd);
        *chunk = transpose([a, b, c, d].map(|lanes| lanes.map(|v| p.reduce(v))));
    }
}

fn forward(x: &mut Limb, plan: &Plan) {
    // Written out, so that every pass is compiled for its own length.
    forward_pair(x, plan, 1);
    forward_pair(x, plan, 4);
    forward_pair(x, plan, 16);
    forward_pair(x, plan, 64);
    forward_tail(x, plan);
    transpose_groups(x);
}

/// Each group of 256 words as a square of 16 x 16, transposed: to the contract's order and back.
fn transpose_groups(x: &mut Limb) {
    for group in x.as_chunks_mut::<16>().0.as_chunks_mut::<{ GROUP / 16 }>().0 {
        for i in 1..16 {
            let (upper, lower) = group.split_at_mut(i);
            if let Some(row) = lower.first_mut() {
                for (column, x) in upper.iter_mut().zip(row) {
                    core::mem::swap(&mut column[i], x);
                }
            }
        }
    }
}

fn inverse(x: &mut Limb, plan: &Plan) {
    transpose_groups(x);
    inverse_pair(x, plan, 1024, 2, false);
    inverse_pair(x, plan, 256, 8, true);
    inverse_pair(x, plan, 64, 2, false);
    inverse_pair(x, plan, 16, 8, true);
    inverse_pair(x, plan, 4, 2, false);
    inverse_layer(x, plan, 2, 8, false);
    let p = plan.prime;
    let ((n, ns), (w, ws)) = (plan.n_inv, plan.w_last);
    let half = x.len() / 2;
    let (lo, hi) = x.split_at_mut(half);
    for (a, b) in lo.iter_mut().zip(hi) {
        let (s, t) = (*a, *b);
        *a = p.shoup_mul(s + t, n, ns);
        *b = p.shoup_mul(s + 16 * p.q() - t, w, ws);
    }
}

fn forward_small(x: &mut [u32], plan: &Plan) {
    for layer in 0..x.len().ilog2() {
        forward_layer(x, plan, 1 << layer);
    }
    for v in x {
        *v = plan.prime.reduce(*v);
    }
}

fn inverse_small(x: &mut [u32], plan: &Plan) {
    let log = x.len().ilog2() as usize;
    for layer in 1..=log {
        let (bound, reduce) = inverse_schedule(layer);
        inverse_layer(x, plan, 1 << (log - layer), bound, reduce);
    }
    for v in x {
        *v = plan.prime.reduce(*v);
    }
}

fn mul(out: &mut Limb, a: &Limb, b: &Limb, plan: &Plan) {
    let p = plan.prime;
    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *out = p.montgomery_mul(a, b);
    }
}

fn mul_assign(a: &mut Limb, b: &Limb, plan: &Plan) {
    let p = plan.prime;
    for (a, &b) in a.iter_mut().zip(b) {
        *a = p.montgomery_mul(*a, b);
    }
}

fn mul_acc(out: &mut Limb, a: &Limb, b: &Limb, plan: &Plan) {
    let p = plan.prime;
    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *out = p.add(*out, p.montgomery_mul(a, b));
    }
}

fn add_assign(a: &mut Limb, b: &Limb, plan: &Plan) {
    let p = plan.prime;
    for (a, &b) in a.iter_mut().zip(b) {
        *a = p.add(*a, b);
    }
}

fn sub_assign(a: &mut Limb, b: &Limb, plan: &Plan) {
    let p = plan.prime;
    for (a, &b) in a.iter_mut().zip(b) {
        *a = p.sub(*a, b);
    }
}

fn negate(a: &mut Limb, plan: &Plan) {
    let p = plan.prime;
    for a in a {
        *a = p.neg(*a);
    }
}

fn to_mont(a: &mut Limb, plan: &Plan) {
    let p = plan.prime;
    for a in a {
        *a = p.montgomery_mul(*a, p.r2());
    }
}

fn from_mont(a: &mut Limb, plan: &Plan) {
    let p = plan.prime;
    for a in a {
        *a = p.montgomery_mul(*a, 1);
    }
}

fn block_sums(out: &mut [u32], a: &Limb, b: &Limb, plan: &Plan) {
    // Of each group, the halves of its 16 rows: two blocks of 128 words.
    let mut halves = [0u64; MAX_SMALL];
    let rows = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    for (i, (a, b)) in rows.enumerate() {
        let sum: u64 = a.iter().zip(b).map(|(&a, &b)| u64::from(a) * u64::from(b)).sum();
        if let Some(half) = halves.get_mut(i / 32 * 2 + i % 2) {
            *half += sum;
        }
    }
    let each = MAX_SMALL / out.len();
    for (out, halves) in out.iter_mut().zip(halves.chunks_exact(each)) {
        // 512 products at most.
        *out = plan.prime.montgomery_sum(halves.iter().sum());
    }
}

/// Values stay within 2^15 + 2 between layers, so a product with a centred twiddle fits.
fn plain_forward(x: &mut [u32], layers: usize) {
    for v in x.iter_mut() {
        *v = zt::centre(*v) as u32;
    }
    for layer in 0..layers {
        let blocks = 1 << layer;
        let len = x.len() / (2 * blocks);
        for (block, &w) in x.chunks_exact_mut(2 * len).zip(PLAIN.w.iter().skip(blocks)) {
            let (lo, hi) = block.split_at_mut(len);
            for (a, b) in lo.iter_mut().zip(hi) {
                let (s, t) = (*a as i32, zt::fold(*b as i32 * w));
                *a = zt::fold(s + t) as u32;
                *b = zt::fold(s - t) as u32;
            }
        }
    }
    for v in x {
        *v = zt::canonical(*v as i32);
    }
}

fn plain_inverse(x: &mut [u32], layers: usize) {
    for layer in (0..layers).rev() {
        let blocks = 1 << layer;
        let len = x.len() / (2 * blocks);
        let twiddles = PLAIN.w.iter().skip(blocks).take(blocks).rev();
        for (block, &w) in x.chunks_exact_mut(2 * len).zip(twiddles) {
            let (lo, hi) = block.split_at_mut(len);
            for (a, b) in lo.iter_mut().zip(hi) {
                let (s, t) = (*a as i32, *b as i32);
                *a = zt::fold(s + t) as u32;
                *b = zt::fold(zt::fold(t - s) * w) as u32;
            }
        }
    }
    // 2^-layers = -2^(16 - layers) mod t, since 2^16 = -1.
    let scale = -(1 << (16 - layers));
    for v in x {
        *v = zt::canonical(zt::fold(*v as i32) * scale);
    }
}
