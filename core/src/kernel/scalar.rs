//! Portable kernels: the meaning that every other kernel is tested against.

use super::contract::{
    Block, CHACHA, Chunk, DOUBLE_ROUNDS, ETA, GROUP, INVERSE_STRIDE, Kernels, Limb, MAX_BASE,
    MAX_SMALL, PACKED, Quantise, ROUND_BITS, Rounding, Rounds, Runs, SAMPLES, SHARE_BITS, SPONGES,
    Source, Sponges, Target, WORD_BITS,
};
use crate::ct;
use crate::matching::Quantisable;
use crate::ntt::N;
use crate::ntt::plan::{PLAIN, Plan};
use crate::zq::Prime;
use crate::zt;
use core::array::from_fn;
use keccak::Keccak;

pub(crate) static KERNELS: Kernels = Kernels {
    isa: "scalar",
    forward,
    inverse,
    forward_mul_acc,
    mul,
    mul_assign,
    mul_acc,
    add_assign,
    sub_assign,
    negate,
    scale,
    split,
    join,
    dot_acc,
    tensor,
    raise,
    convert,
    permute,
    block_sums,
    forward_small,
    inverse_small,
    plain_forward,
    plain_inverse,
    add_scaled,
    lift_plain,
    round,
    keystream,
    noise,
    ternary,
    uniform,
    spread,
    pack,
    unpack,
    absorb,
    keccak,
    quantise_f32: Quantise { square_norm, scale_round },
    quantise_f64: Quantise { square_norm, scale_round },
};

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
const fn quarters(x: [u32; 8]) -> [Four; 2] {
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
        let ([w_even, w_odd], [ws_even, ws_odd]) = (quarters(w1), quarters(ws1));
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

/// The first four inverse layers, as [`forward_tail`] does the last of the forward transform: on
/// chunks of 16 words, with the mirrored blocks' twiddles.
#[inline(always)]
fn inverse_head(x: &mut Limb, plan: &Plan) {
    let p = plan.prime;
    let butterfly = |a: Four, b: Four, w: Four, ws: Four, layer: usize| -> [Four; 2] {
        let (bound, reduce) = inverse_schedule(layer);
        let sum: Four = from_fn(|i| a[i] + b[i]);
        let sum = if reduce { sum.map(|s| p.barrett(s)) } else { sum };
        [sum, from_fn(|i| p.shoup_lazy(b[i] + bound * p.q() - a[i], w[i], ws[i]))]
    };
    let mirrored = N / 8;
    let eight = plan.w.iter().zip(&plan.ws).take(mirrored).rev();
    let four = plan.w.as_chunks::<2>().0.iter().zip(plan.ws.as_chunks::<2>().0);
    let two = plan.w.as_chunks::<4>().0.iter().zip(plan.ws.as_chunks::<4>().0);
    let one = plan.w.as_chunks::<8>().0.iter().zip(plan.ws.as_chunks::<8>().0).rev();
    let (four, two) = (four.take(mirrored).rev(), two.take(mirrored).rev());
    let chunks = x.as_chunks_mut::<4>().0.as_chunks_mut::<4>().0;
    for ((((chunk, (&w, &ws)), (w4, ws4)), (&w2, &ws2)), (&w1, &ws1)) in
        chunks.iter_mut().zip(eight).zip(four).zip(two).zip(one)
    {
        let backwards = |mut x: Four| {
            x.reverse();
            x
        };
        let [a, b, c, d] = transpose(*chunk);
        let ([w_even, w_odd], [ws_even, ws_odd]) = (quarters(w1), quarters(ws1));
        let [a, b] = butterfly(a, b, backwards(w_odd), backwards(ws_odd), 1);
        let [c, d] = butterfly(c, d, backwards(w_even), backwards(ws_even), 1);
        let (w2, ws2) = (backwards(w2), backwards(ws2));
        let [a, c] = butterfly(a, c, w2, ws2, 2);
        let [b, d] = butterfly(b, d, w2, ws2, 2);
        let [a, b, c, d] = transpose([a, b, c, d]);
        let [a, b] = butterfly(a, b, [w4[1]; 4], [ws4[1]; 4], 3);
        let [c, d] = butterfly(c, d, [w4[0]; 4], [ws4[0]; 4], 3);
        let [a, c] = butterfly(a, c, [w; 4], [ws; 4], 4);
        let [b, d] = butterfly(b, d, [w; 4], [ws; 4], 4);
        *chunk = [a, b, c, d];
    }
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
    inverse_head(x, plan);
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

/// Calls a function of arrays with a slice of one of the lengths of small transforms.
macro_rules! small {
    ($f:ident, $x:ident, $($arg:expr),*) => {
        match $x.len() {
            32 => $f::<32>($x.try_into().unwrap_or(&mut [0; 32]), $($arg),*),
            16 => $f::<16>($x.try_into().unwrap_or(&mut [0; 16]), $($arg),*),
            8 => $f::<8>($x.try_into().unwrap_or(&mut [0; 8]), $($arg),*),
            len => debug_assert!(false, "no small transform of {len}"),
        }
    };
}
pub(super) fn forward_small(x: &mut [u32], plan: &Plan) {
    // Fixed lengths, so that loops are unrolled and the words stay in registers.
    fn fixed<const LEN: usize>(x: &mut [u32; LEN], plan: &Plan) {
        let p = plan.prime;
        let mut blocks = 1;
        while blocks < LEN {
            let half = LEN / (2 * blocks);
            for block in 0..blocks {
                let (w, ws) = (plan.w[blocks + block], plan.ws[blocks + block]);
                for i in 2 * block * half..(2 * block + 1) * half {
                    let t = p.shoup_lazy(x[i + half], w, ws);
                    (x[i], x[i + half]) = (x[i] + t, x[i] + 2 * p.q() - t);
                }
            }
            blocks *= 2;
        }
        *x = x.map(|v| p.reduce(v));
    }
    small!(fixed, x, plan);
}

pub(super) fn inverse_small(x: &mut [u32], plan: &Plan) {
    fn fixed<const LEN: usize>(x: &mut [u32; LEN], plan: &Plan) {
        let p = plan.prime;
        let mut layer = 1;
        let mut blocks = LEN / 2;
        while blocks > 0 {
            let (bound, reduce) = inverse_schedule(layer);
            let half = LEN / (2 * blocks);
            for block in 0..blocks {
                // -1/w is the forward twiddle of the mirrored block.
                let mirror = 2 * blocks - 1 - block;
                let (w, ws) = (plan.w[mirror], plan.ws[mirror]);
                for i in 2 * block * half..(2 * block + 1) * half {
                    let (s, t) = (x[i], x[i + half]);
                    x[i] = if reduce { p.barrett(s + t) } else { s + t };
                    x[i + half] = p.shoup_lazy(t + bound * p.q() - s, w, ws);
                }
            }
            layer += 1;
            blocks /= 2;
        }
        *x = x.map(|v| p.reduce(v));
    }
    small!(fixed, x, plan);
}

fn forward_mul_acc(x: &mut Limb, a: &Limb, b: &Limb, plan: &Plan) {
    forward(x, plan);
    mul_acc(x, a, b, plan);
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

fn scale(a: &mut Limb, c: u32, plan: &Plan) {
    let p = plan.prime;
    for a in a {
        *a = p.montgomery_mul(*a, c);
    }
}

fn split(a: &mut Limb, b: &mut Limb, plan: &Plan) {
    let p = plan.prime;
    for (a, b) in a.iter_mut().zip(b) {
        let t = p.montgomery_mul(*b, plan.top);
        (*a, *b) = (p.add(*a, t), p.sub(*a, t));
    }
}

fn join(a: &mut Limb, b: &mut Limb, plan: &Plan) {
    let p = plan.prime;
    for (a, b) in a.iter_mut().zip(b) {
        let t = p.sub(*b, *a);
        (*a, *b) = (p.add(*a, *b), p.montgomery_mul(t, plan.top));
    }
}

fn dot_acc(out: &mut Limb, [a, b]: [&[Limb]; 2], [step_a, step_b]: [usize; 2], plan: &Plan) {
    let p = plan.prime;
    for (i, out) in out.iter_mut().enumerate() {
        let mut sum = 0;
        for (a, b) in a.iter().step_by(step_a).zip(b.iter().step_by(step_b)) {
            sum += u64::from(a[i]) * u64::from(b[i]);
        }
        *out = p.add(*out, p.correct(p.montgomery(sum)));
    }
}

fn tensor(a: &mut Limb, b: &mut Limb, c: &mut Limb, d: &Limb, plan: &Plan) {
    let p = plan.prime;
    for (((a, b), c), &d) in a.iter_mut().zip(b).zip(c).zip(d) {
        let cross = u64::from(*a) * u64::from(d) + u64::from(*b) * u64::from(*c);
        *a = p.montgomery_mul(*a, *c);
        *b = p.montgomery_mul(*b, d);
        *c = p.correct(p.montgomery(cross));
    }
}

fn raise(out: &mut Limb, x: &Limb, from: &Prime, factor: u32, plan: &Plan) {
    let p = plan.prime;
    // The least multiple of q that no centred word is below the negative of.
    let above = (from.q() / 2).div_ceil(p.q()) * p.q();
    for (out, &x) in out.iter_mut().zip(x) {
        *out = p.montgomery_mul(above.wrapping_add_signed(from.centre(x)), factor);
    }
}

fn convert(out: &mut [Limb], x: &[Limb], from: &[Source], to: &[Target]) {
    for i in 0..N {
        let mut y = [0; MAX_BASE];
        let (mut whole, mut rest) = (1u64 << (SHARE_BITS - 1), 1u64 << 31);
        for ((y, x), s) in y.iter_mut().zip(x).zip(from) {
            *y = s.prime.montgomery_mul(x[i], s.punctured);
            whole += u64::from(*y) * u64::from(s.share);
            rest += u64::from(*y) * u64::from(s.fraction);
        }
        let (whole, rest) = (whole >> SHARE_BITS, rest >> 32);
        for (out, t) in out.iter_mut().zip(to) {
            let mut sum = whole * u64::from(t.overflow) + rest * u64::from(t.one);
            for (&y, &weight) in y.iter().zip(&t.weights).take(from.len()) {
                sum += u64::from(y) * u64::from(weight);
            }
            out[i] = t.prime.correct(t.prime.montgomery(sum));
        }
    }
}

/// Four bits, reversed.
pub(super) const REVERSED: [usize; 16] = [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15];

fn permute(out: &mut Limb, x: &Limb, runs: &Runs) {
    for (at, (&from, &carry)) in runs.from.iter().zip(&runs.carry).enumerate() {
        let column = |run: usize| GROUP * (run / 16) + run % 16;
        let words = x.iter().skip(column(from as usize)).step_by(16);
        let mut run = [0; 16];
        for (word, &x) in run.iter_mut().zip(words) {
            *word = x;
        }
        let out = out.iter_mut().skip(column(at)).step_by(16);
        for (out, j) in out.zip(REVERSED) {
            let place = 4 * ((j + carry as usize) % 16);
            *out = run[(runs.positions >> place) as usize % 16];
        }
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
pub(super) fn plain_forward(x: &mut [u32], layers: usize) {
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

pub(super) fn plain_inverse(x: &mut [u32], layers: usize) {
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

fn add_scaled(out: &mut Limb, message: &Limb, delta: u32, q_mod_t: u32, plan: &Plan) {
    let p = plan.prime;
    for (out, &m) in out.iter_mut().zip(message) {
        let rounding = zt::div_floor(q_mod_t * m + zt::T / 2);
        *out = p.add(*out, p.add(p.montgomery_mul(m, delta), rounding));
    }
}

fn lift_plain(out: &mut Limb, message: &Limb, plan: &Plan) {
    for (out, &m) in out.iter_mut().zip(message) {
        *out = plan.prime.from_signed(zt::centre(m));
    }
}

fn round(out: &mut Limb, w: &[Limb], rounding: &[Rounding]) {
    for (i, out) in out.iter_mut().enumerate() {
        let mut sum = 1u64 << (ROUND_BITS - 1);
        for (w, r) in w.iter().zip(rounding) {
            sum += u64::from(r.prime.montgomery_mul(w[i], r.punctured)) * u64::from(r.factor);
        }
        *out = zt::canonical((sum >> ROUND_BITS) as i32);
    }
}

type Rows = [Four; 16];

/// Four quarter rounds side by side on four blocks, whose words compilers turn into vectors.
#[inline(always)]
fn quarter_rounds([a, b, c, d]: [&mut [Four; 4]; 4]) {
    #[inline(always)]
    fn step<const LEFT: u32>(x: &mut [Four; 4], y: &[Four; 4], z: &mut [Four; 4]) {
        for i in 0..4 {
            for j in 0..4 {
                x[i][j] = x[i][j].wrapping_add(y[i][j]);
                z[i][j] = (z[i][j] ^ x[i][j]).rotate_left(LEFT);
            }
        }
    }
    step::<16>(a, b, d);
    step::<12>(c, d, b);
    step::<8>(a, b, d);
    step::<7>(c, d, b);
}

/// Four blocks at a time.
fn keystream(out: &mut [Chunk], key: &[u32; 8], counter: u64) {
    for (i, chunk) in out.iter_mut().enumerate() {
        let counter = counter.wrapping_add(16 * i as u64);
        for at in (0..16).step_by(4) {
            let mut start: Rows = [[0; 4]; 16];
            for (row, &word) in start.iter_mut().zip(CHACHA.iter().chain(key)) {
                *row = [word; 4];
            }
            let counters: [u64; 4] = from_fn(|i| counter.wrapping_add((at + i) as u64));
            start[12] = counters.map(|counter| counter as u32);
            start[13] = counters.map(|counter| (counter >> 32) as u32);
            let [mut a, mut b, mut c, mut d] = [0, 4, 8, 12].map(|i| from_fn(|j| start[i + j]));
            for _ in 0..DOUBLE_ROUNDS {
                quarter_rounds([&mut a, &mut b, &mut c, &mut d]);
                // Diagonals.
                (b, c, d) = (turn::<1>(b), turn::<2>(c), turn::<3>(d));
                quarter_rounds([&mut a, &mut b, &mut c, &mut d]);
                (b, c, d) = (turn::<3>(b), turn::<2>(c), turn::<1>(d));
            }
            let rows = [a, b, c, d];
            for ((out, v), start) in chunk.0.iter_mut().zip(rows.as_flattened()).zip(start) {
                for i in 0..4 {
                    out[at + i] = v[i].wrapping_add(start[i]);
                }
            }
        }
    }
}

/// Rows moved up by BY.
#[inline(always)]
fn turn<const BY: usize>(x: [Four; 4]) -> [Four; 4] {
    from_fn(|i| x[(i + BY) % 4])
}

fn noise(out: &mut [u32; SAMPLES], chunk: &Chunk) {
    let groups = chunk.0.as_chunks::<4>().0.iter().zip(out.as_chunks_mut::<48>().0);
    for ([first @ .., rest], out) in groups {
        for ((j, row), out) in first.iter().enumerate().zip(out.as_chunks_mut::<16>().0) {
            for ((out, &word), &rest) in out.iter_mut().zip(row).zip(rest) {
                let bits = u64::from(word) << 10 | u64::from(rest >> (10 * j) & 0x3ff);
                *out = bits.count_ones().wrapping_sub(ETA);
            }
        }
    }
}

fn ternary(out: &mut [u32], chunk: &Chunk) -> usize {
    let mut kept = 0;
    for row in &chunk.0 {
        for shift in [0, 8, 16, 24] {
            for &word in row {
                let b = word >> shift & 0xff;
                // b mod 3 by multiplication: 171 / 512 is close enough to 1/3 below 256.
                let residue = b - 3 * ((b * 171) >> 9);
                // What is not kept is overwritten by the next.
                if let Some(slot) = out.get_mut(kept) {
                    *slot = residue.wrapping_sub(1);
                }
                // Public: only that a byte was thrown away, which no other sample depends on.
                kept += usize::from(ct::public(b != 255));
            }
        }
    }
    kept
}

fn uniform(out: &mut [u32], chunk: &Chunk, plan: &Plan) -> usize {
    let mut kept = 0;
    for &word in chunk.0.as_flattened() {
        let x = word & ((1 << plan.prime.bits()) - 1);
        if let Some(slot) = out.get_mut(kept) {
            *slot = x;
        }
        // Public: only that a word was thrown away.
        kept += usize::from(ct::public(x < plan.prime.q()));
    }
    kept
}

fn spread(limbs: &mut [Limb], plans: &[&Plan]) {
    let Some((first, rest)) = limbs.split_first_mut() else { return };
    for (limb, plan) in rest.iter_mut().zip(plans.iter().skip(1)) {
        for (out, &x) in limb.iter_mut().zip(first.iter()) {
            *out = plan.prime.from_signed(x as i32);
        }
    }
    for plan in plans.iter().take(1) {
        for x in first.iter_mut() {
            *x = plan.prime.from_signed(*x as i32);
        }
    }
}

fn pack(out: &mut [u8; PACKED], limb: &Limb) {
    let (mut pending, mut bits) = (0u64, 0);
    let mut out = out.as_chunks_mut::<4>().0.iter_mut();
    for &word in limb {
        pending |= u64::from(word) << bits;
        bits += WORD_BITS;
        if bits >= 32 {
            if let Some(out) = out.next() {
                *out = (pending as u32).to_le_bytes();
            }
            pending >>= 32;
            bits -= 32;
        }
    }
}

fn unpack(out: &mut Limb, bytes: &[u8; PACKED], plan: &Plan) -> bool {
    let (mut pending, mut bits) = (0u64, 0);
    let mut bytes = bytes.as_chunks::<4>().0.iter();
    let mut good = true;
    for out in out {
        if bits < WORD_BITS {
            pending |= bytes.next().map_or(0, |&word| u64::from(u32::from_le_bytes(word))) << bits;
            bits += 32;
        }
        *out = pending as u32 & ((1 << WORD_BITS) - 1);
        pending >>= WORD_BITS;
        bits -= WORD_BITS;
        good &= *out < plan.prime.q();
    }
    good
}

#[inline(always)]
pub(super) fn square_norm<F: Quantisable>(vector: &[F]) -> f64 {
    let mut sums = [0f64; 8];
    let (eights, rest) = vector.as_chunks::<8>();
    for x in eights {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += x.to_f64() * x.to_f64();
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += x.to_f64() * x.to_f64();
    }
    sums.iter().sum()
}

#[inline(always)]
pub(super) fn scale_round<F: Quantisable>(out: &mut [i16], vector: &[F], factor: f64) {
    // Added to a smaller number, leaves no bits for halves: what remains is rounded.
    const SHIFT: f64 = 1.5 * (1u64 << 52) as f64;
    for (out, x) in out.iter_mut().zip(vector) {
        *out = (x.to_f64() * factor + SHIFT).to_bits() as i16;
    }
}

pub(super) fn absorb(states: &mut Sponges, blocks: &[&Block; SPONGES], count: usize) {
    for (lane, block) in blocks.iter().enumerate().take(count) {
        for (row, word) in states.0.iter_mut().zip(block.as_chunks().0) {
            row[lane] ^= u64::from_le_bytes(*word);
        }
    }
}

/// One after the other, by the library that hashes single messages.
pub(super) fn keccak(states: &mut Sponges, count: usize, rounds: Rounds) {
    for lane in 0..count.min(SPONGES) {
        let mut state = states.0.each_ref().map(|row| row[lane]);
        match rounds {
            Rounds::Half => Keccak::new().with_p1600::<12>(|permute| permute(&mut state)),
            Rounds::All => Keccak::new().with_p1600::<24>(|permute| permute(&mut state)),
        }
        for (row, word) in states.0.iter_mut().zip(state) {
            row[lane] = word;
        }
    }
}
