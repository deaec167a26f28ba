//! The contract, checked through the function pointers: every kernel against slow arithmetic that
//! shares nothing with it, and against the portable kernels word for word.

extern crate std;

use super::contract::{
    BLOCK, Chunk, GROUP, KEPT_SLACK, Kernels, Limb, MAX_BASE, MAX_SMALL, PACKED, ROUND_BITS,
    Rounding, Rounds, Runs, SAMPLES, SHARE_BITS, SPONGES, Source, Sponges, Target,
};
use crate::cap::Scalar;
use crate::ntt::{self, LOG_N, N, PLANS, Plan, WIDE_PLANS};
use crate::rns::Rns;
use crate::zq::Prime;
use crate::zt::T;
use chacha20::{ChaCha12Rng, ChaCha20Rng};
use rand_core::{Rng, SeedableRng};
use std::boxed::Box;
use std::vec::Vec;
use std::{format, vec};

/// Written out here, not taken from the plans: evaluation form goes over the wire, so neither a
/// prime nor its root may change.
const ROOTS: [(u64, u64); 7] = [
    (134_176_769, 51_707_741),
    (134_111_233, 133_095_912),
    (134_012_929, 89_697_661),
    (33_538_049, 19_924_644),
    (133_963_777, 19_581_179),
    (133_881_857, 30_851_312),
    (133_857_281, 131_928_565),
];
const WIDE_ROOTS: [(u64, u64); 11] = [
    (133_857_281, 77_665_072),
    (133_644_289, 19_882_282),
    (133_611_521, 34_093_882),
    (133_513_217, 55_639_084),
    (133_251_073, 128_607_860),
    (132_825_089, 14_976_858),
    (132_759_553, 91_360_296),
    (132_710_401, 70_767_023),
    (132_612_097, 39_382_934),
    (132_464_641, 8_299_684),
    (132_333_569, 14_912_642),
];
const PLAIN_ROOT: u64 = 6_561;

/// A ring of degree N, or one half of a ring of twice the degree, and its root.
#[derive(Clone, Copy)]
struct Ring {
    plan: &'static Plan,
    q: u64,
    psi: u64,
    half: Option<usize>,
}

impl Ring {
    const fn whole(i: usize) -> Self {
        let (q, psi) = ROOTS[i];
        Self { plan: PLANS[i], q, psi, half: None }
    }

    const fn half(i: usize, half: usize) -> Self {
        let (q, psi) = WIDE_ROOTS[i];
        Self { plan: WIDE_PLANS[i][half], q, psi, half: Some(half) }
    }

    fn all() -> impl Iterator<Item = Self> {
        let halves = (0..2 * WIDE_ROOTS.len()).map(|i| Self::half(i / 2, i % 2));
        (0..ROOTS.len()).map(Self::whole).chain(halves)
    }

    /// What comes before entry `at` of a table of the larger ring with the tables of two halves.
    fn entry(&self, at: usize) -> (usize, usize) {
        match self.half {
            None => (at, LOG_N),
            Some(half) => ((1 + half) * (1 << at.ilog2()) + at, LOG_N + 1),
        }
    }

    /// The factor of block i in the layer of m blocks, `at` being m + i.
    fn twiddle(&self, at: usize) -> u64 {
        let (at, bits) = self.entry(at);
        pow(self.psi, reversed(at, bits) as u64, self.q)
    }

    /// The root that belongs to position i of the transform.
    fn point(&self, i: usize) -> u64 {
        let bits = LOG_N + usize::from(self.half.is_some());
        point(self.psi, self.half.unwrap_or(0) * N + natural(i), bits, self.q)
    }

    fn forward(&self, kernels: &Kernels, x: &mut Limb) {
        (kernels.forward)(x, self.plan);
    }

    fn inverse(&self, kernels: &Kernels, x: &mut Limb) {
        (kernels.inverse)(x, self.plan.other);
        if self.half.is_some() {
            // 1/2 is taken off already.
            x.iter_mut().for_each(|x| *x = (2 * u64::from(*x) % self.q) as u32);
        }
    }
}

/// The largest prime, the one of 25 bits, and the one furthest below 2^27: the first has the largest
/// words, the last the largest centred ones. What holds at these holds between them.
const EXTREMES: [Ring; 4] = [Ring::whole(0), Ring::whole(3), Ring::half(10, 0), Ring::half(10, 1)];

/// A limb as the contract wants it.
#[derive(Clone, PartialEq)]
#[repr(align(64))]
struct Aligned(Limb);

fn limb(f: impl FnMut(usize) -> u32) -> Box<Aligned> {
    Box::new(Aligned(core::array::from_fn(f)))
}

fn pow(base: u64, mut exp: u64, q: u64) -> u64 {
    let (mut base, mut acc) = (base % q, 1);
    while exp > 0 {
        if exp & 1 == 1 {
            acc = acc * base % q;
        }
        base = base * base % q;
        exp >>= 1;
    }
    acc
}

/// The `bits` low bits of i, reversed.
fn reversed(i: usize, bits: usize) -> usize {
    (0..bits).filter(|b| i >> b & 1 == 1).map(|b| 1 << (bits - 1 - b)).sum()
}

/// The value at x of the polynomial with these coefficients.
fn horner<'a>(coeffs: impl DoubleEndedIterator<Item = &'a u32>, x: u64, q: u64) -> u64 {
    coeffs.rev().fold(0, |acc, &c| (acc * x + u64::from(c)) % q)
}

/// The root that belongs to position i of a transform of 2^bits points, `root` having order
/// 2^(bits + 1).
fn point(root: u64, i: usize, bits: usize, q: u64) -> u64 {
    pow(root, 2 * reversed(i, bits) as u64 + 1, q)
}

/// The index in bit-reversed order of position i of a transformed limb: groups are transposed.
fn natural(i: usize) -> usize {
    i / GROUP * GROUP + i % 16 * 16 + i % GROUP / 16
}

/// a b in Z_q\[X\]/(X^N + 1), by the school's method.
fn schoolbook(a: &Limb, b: &Limb, q: u64) -> Box<Aligned> {
    let mut wide = vec![0i128; N];
    for (i, &a) in a.iter().enumerate() {
        let (low, high) = b.split_at(N - i);
        for (out, &b) in wide[i..].iter_mut().zip(low) {
            *out += i128::from(u64::from(a) * u64::from(b));
        }
        for (out, &b) in wide.iter_mut().zip(high) {
            *out -= i128::from(u64::from(a) * u64::from(b));
        }
    }
    limb(|i| wide[i].rem_euclid(i128::from(q)) as u32)
}

/// Vectors of `len` words below `q` that reach the bounds: named, so that a failure says which.
fn vectors(q: u32, len: usize, rng: &mut ChaCha20Rng) -> Vec<(&'static str, Vec<u32>)> {
    let spike = |at: usize, value: u32| {
        let mut v = vec![0; len];
        v[at] = value;
        v
    };
    let top = q - 1;
    let mut all = vec![
        ("zero", vec![0; len]),
        ("top", vec![top; len]),
        ("one", vec![1; len]),
        ("half", vec![q / 2; len]),
        ("half and one", vec![q / 2 + 1; len]),
        ("0 and top", (0..len).map(|i| (i & 1) as u32 * top).collect()),
        ("top and 0", (0..len).map(|i| (i & 1 ^ 1) as u32 * top).collect()),
        ("low half", (0..len).map(|i| (i < len / 2) as u32 * top).collect()),
        ("high half", (0..len).map(|i| (i >= len / 2) as u32 * top).collect()),
        ("spike first", spike(0, top)),
        ("spike last", spike(len - 1, top)),
        ("spike middle", spike(len / 2, 1)),
        ("spike below", spike(len / 2 - len.min(2) / 2, top)),
    ];
    for _ in 0..2 {
        all.push(("random", (0..len).map(|_| rng.next_u32() % q).collect()));
        all.push(("random 0 or top", (0..len).map(|_| (rng.next_u32() & 1) * top).collect()));
    }
    all
}

fn aligned(words: &[u32]) -> Box<Aligned> {
    limb(|i| words[i])
}

#[track_caller]
fn assert_canonical(words: &[u32], q: u32, what: &str) {
    assert_eq!(words.iter().position(|&x| x >= q), None, "{what}: not canonical");
}

/// Positions at which a transform is evaluated: the edges, the seams of layers, and some others.
fn positions(len: usize) -> impl Iterator<Item = usize> {
    let edges = [0, 1, 2, 15, 16, 127, 128, 255, 256, 2047, 2048, 4032, 4095];
    edges.into_iter().chain((0..8).map(|i| i * 523 + 77)).filter(move |&i| i < len)
}

/// Everything the contract promises.
pub(crate) fn check(kernels: &Kernels) {
    let portable = Kernels::scalar(Scalar);
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    for ring in Ring::all() {
        assert_eq!(u64::from(ring.plan.prime.q()), ring.q);
        let words = (0..N).map(|_| rng.next_u32() % ring.q as u32).collect();
        transform(kernels, portable, ring, ("any", words), false);
    }
    for ring in EXTREMES {
        // Of one vector, every position.
        let mut whole = 0;
        for vector in vectors(ring.q as u32, N, &mut rng) {
            whole += usize::from(vector.0 == "random");
            let all = vector.0 == "random" && whole == 1;
            transform(kernels, portable, ring, vector, all);
        }
        lazy_bounds(kernels, ring);
        elementwise(kernels, ring, &mut rng);
        block_sums(kernels, ring.plan, &mut rng);
        dot_products(kernels, ring.plan, &mut rng);
    }
    for Ring { plan, psi, .. } in &EXTREMES[..2] {
        products(kernels, plan, &mut rng);
        small(kernels, portable, plan, *psi, &mut rng);
    }
    for i in 0..WIDE_ROOTS.len() {
        halves(kernels, portable, i, &mut rng);
    }
    raising(kernels, &mut rng);
    converting(kernels, &mut rng);
    permuting(kernels, &mut rng);
    plain(kernels, portable, &mut rng);
    messages(kernels, &mut rng);
    rounding::<2>(kernels, &mut rng);
    rounding::<3>(kernels, &mut rng);
    rounding::<8>(kernels, &mut rng);
    rounding::<10>(kernels, &mut rng);
    keystream(kernels, portable, &mut rng);
    samplers(kernels, portable, &mut rng);
    packing(kernels, &mut rng);
    quantising(kernels, portable, &mut rng);
    sponges(kernels, portable, &mut rng);
}

fn transform(
    kernels: &Kernels,
    portable: &Kernels,
    ring: Ring,
    (name, words): (&str, Vec<u32>),
    all: bool,
) {
    let q = ring.q;
    let what = format!("{} forward mod {q}, {:?}, {name}", kernels.isa(), ring.half);
    let input = aligned(&words);
    let mut x = input.clone();
    ring.forward(kernels, &mut x.0);
    assert_canonical(&x.0, q as u32, &what);
    for i in positions(N).chain((0..N).filter(|_| all)) {
        let want = horner(input.0.iter(), ring.point(i), q);
        assert_eq!(u64::from(x.0[i]), want, "{what}, position {i}");
    }
    let mut y = input.clone();
    ring.forward(portable, &mut y.0);
    assert!(x == y, "{what}: differs from the portable kernel");

    ring.inverse(kernels, &mut x.0);
    assert!(x == input, "{what}: and back");

    // The same words as values: their interpolation takes them at every point.
    let what = format!("{} inverse mod {q}, {:?}, {name}", kernels.isa(), ring.half);
    let mut x = input.clone();
    ring.inverse(kernels, &mut x.0);
    assert_canonical(&x.0, q as u32, &what);
    for i in positions(N) {
        let want = horner(x.0.iter(), ring.point(i), q);
        assert_eq!(u64::from(input.0[i]), want, "{what}, position {i}");
    }
    let mut y = input.clone();
    ring.inverse(portable, &mut y.0);
    assert!(x == y, "{what}: differs from the portable kernel");
    ring.forward(kernels, &mut x.0);
    assert!(x == input, "{what}: and back");
}

/// One layer of the forward transform, in bit-reversed order, exactly.
fn forward_layer(x: &mut [u64], ring: Ring, layer: usize) {
    let (half, q) = (N >> (layer + 1), ring.q);
    for (block, x) in x.chunks_exact_mut(2 * half).enumerate() {
        let w = ring.twiddle((1 << layer) + block);
        let (lo, hi) = x.split_at_mut(half);
        for (a, b) in lo.iter_mut().zip(hi) {
            let t = *b * w % q;
            (*a, *b) = ((*a + t) % q, (*a + q - t) % q);
        }
    }
}

/// Words that grow as far as they can before they are reduced.
///
/// Forward: one word to which each layer adds, or from which it takes, a product of q - 1; the first
/// and the last position show it, with another product on top.
///
/// Inverse: sums grow most where all words that enter a layer are just below q (by so much that an
/// inexact companion does not take products across), or, where they are centred, just below q/2. Such
/// inputs are made backwards, for each layer.
fn lazy_bounds(kernels: &Kernels, ring: Ring) {
    let (q, isa) = (ring.q, kernels.isa());
    let top = limb(|_| q as u32 - 1);
    for (start, at) in [(q - 1, 0), (0, N - 1)] {
        let mut x = limb(|_| 0);
        x.0[0] = start as u32;
        for layer in 0..LOG_N {
            let block = at * (1 << layer) / N;
            let w = ring.twiddle((1 << layer) + block);
            x.0[N >> (layer + 1)] = ((q - 1) * pow(w, q - 2, q) % q) as u32;
        }
        let product = u64::from(q as u32 - 1).pow(2) % q * pow((1 << 32) % q, q - 2, q) % q;
        let want = horner(x.0.iter(), ring.point(at), q);
        let direct = if at == 0 { 13 * (q - 1) } else { 12 };
        assert_eq!(want, direct % q, "twelve products of q - 1");
        let mut y = x.clone();
        ring.forward(kernels, &mut x.0);
        assert_eq!(u64::from(x.0[at]), want, "{isa} mod {q}: forward, at {at}");
        (kernels.forward_mul_acc)(&mut y.0, &top.0, &top.0, ring.plan);
        assert_eq!(u64::from(y.0[at]), (want + product) % q, "{isa} mod {q}: with {product}");
    }
    for layers in 0..LOG_N {
        for value in [q - 1, q - q / 50, q / 2, q / 2 + 1] {
            // The same word everywhere, and what led there: each layer of the inverse doubles.
            let mut x = vec![value * pow(2, q - 1 - layers as u64, q) % q; N];
            for layer in LOG_N - layers..LOG_N {
                forward_layer(&mut x, ring, layer);
            }
            let mut input = limb(|i| x[natural(i)] as u32);
            let what = format!("{isa} mod {q}: {value} after {layers} layers");
            let values = input.clone();
            ring.inverse(kernels, &mut input.0);
            assert_canonical(&input.0, q as u32, &what);
            let mut y: Vec<u64> = input.0.iter().map(|&x| x.into()).collect();
            for layer in 0..LOG_N {
                forward_layer(&mut y, ring, layer);
            }
            assert!((0..N).all(|i| y[natural(i)] == u64::from(values.0[i])), "{what}");
        }
    }
}

/// Transforms and pointwise products together are products of the ring.
fn products(kernels: &Kernels, plan: &Plan, rng: &mut ChaCha20Rng) {
    let q = plan.prime.q();
    let random = [0; 2].map(|_| limb(|_| rng.next_u32() % q));
    let top = limb(|_| q - 1);
    let alternating = limb(|i| (i & 1) as u32 * (q - 1));
    for (a, b) in [(&random[0], &random[1]), (&top, &top), (&top, &alternating)] {
        let (mut x, mut y) = (a.clone(), b.clone());
        (kernels.forward)(&mut x.0, plan);
        (kernels.forward)(&mut y.0, plan);
        (kernels.scale)(&mut y.0, plan.prime.r2(), plan);
        (kernels.mul_assign)(&mut x.0, &y.0, plan);
        (kernels.inverse)(&mut x.0, plan);
        let want = schoolbook(&a.0, &b.0, u64::from(q));
        assert!(x == want, "{} product mod {q}", kernels.isa());
    }
}

fn elementwise(kernels: &Kernels, ring: Ring, rng: &mut ChaCha20Rng) {
    let plan = ring.plan;
    let q = plan.prime.q();
    let w = u64::from(q);
    let (r, r_inv) = ((1 << 32) % w, pow((1 << 32) % w, w - 2, w));
    let edges = [
        0,
        1,
        2,
        3,
        q - 1,
        q - 2,
        q / 2,
        q / 2 + 1,
        1 << (plan.prime.bits() - 1),
        r as u32,
        r_inv as u32,
    ];
    // Every pair of edges, then random words; out starts from another mix of both.
    let mut draw = |i: usize, period: usize, len: usize| {
        let edge = i / period % edges.len();
        if i < len { edges[edge] } else { rng.next_u32() % q }
    };
    let len = edges.len().pow(3);
    let a = limb(|i| draw(i, 1, len));
    let b = limb(|i| draw(i, edges.len(), len));
    let c = limb(|i| draw(i, edges.len().pow(2), len));

    let test = |name: &str, call: &dyn Fn(&mut Limb), want: &dyn Fn(u64, u64, u64) -> u64| {
        let mut out = c.clone();
        call(&mut out.0);
        for (i, &out) in out.0.iter().enumerate() {
            let (x, y, z) = (u64::from(c.0[i]), u64::from(a.0[i]), u64::from(b.0[i]));
            let want = want(x, y, z) % w;
            assert_eq!(u64::from(out), want, "{} {name}({x}, {y}, {z}) mod {q}", kernels.isa());
        }
    };
    let (a, b) = (&a.0, &b.0);
    test("mul", &|x| (kernels.mul)(x, a, b, plan), &|_, y, z| y * z % w * r_inv);
    test(
        "forward_mul_acc",
        &|x| {
            ring.inverse(kernels, x);
            (kernels.forward_mul_acc)(x, a, b, plan);
        },
        &|x, y, z| x + y * z % w * r_inv,
    );
    test("mul_assign", &|x| (kernels.mul_assign)(x, b, plan), &|x, _, z| x * z % w * r_inv);
    test("mul_acc", &|x| (kernels.mul_acc)(x, a, b, plan), &|x, y, z| x + y * z % w * r_inv);
    test("add_assign", &|x| (kernels.add_assign)(x, a, plan), &|x, y, _| x + y);
    test("sub_assign", &|x| (kernels.sub_assign)(x, a, plan), &|x, y, _| x + w - y);
    test("negate", &|x| (kernels.negate)(x, plan), &|x, _, _| w - x);
    for c in edges.into_iter().chain([plan.prime.r2()]) {
        let factor = u64::from(c) * r_inv % w;
        test("scale", &|x| (kernels.scale)(x, c, plan), &|x, _, _| x * factor);
    }

    // (a + d X)(b + c X), d having the edges in yet another order.
    let mut d = c.clone();
    d.0.rotate_left(edges.len() + 1);
    let (mut x, mut y, mut z) = (aligned(a), d.clone(), aligned(b));
    (kernels.tensor)(&mut x.0, &mut y.0, &mut z.0, &c.0, plan);
    for i in 0..N {
        let [a, b, c, d] = [a[i], b[i], c.0[i], d.0[i]].map(u64::from);
        let want = [a * b, d * c, a * c % w + d * b].map(|x| x % w * r_inv % w);
        let got = [x.0[i], y.0[i], z.0[i]].map(u64::from);
        assert_eq!(got, want, "{} tensor({a}, {d}; {b}, {c}) mod {q}", kernels.isa());
    }

    if ring.half == Some(0) {
        let root = pow(ring.psi, N as u64, w);
        assert_eq!(root * root % w, w - 1);
        let (mut x, mut y) = (aligned(a), aligned(b));
        (kernels.split)(&mut x.0, &mut y.0, plan);
        for i in 0..N {
            let (a, b) = (u64::from(a[i]), u64::from(b[i]));
            let want = [a + b * root, a + w * w - b * root].map(|x| (x % w) as u32);
            assert_eq!([x.0[i], y.0[i]], want, "{} split({a}, {b}) mod {q}", kernels.isa());
        }
        let (mut x, mut y) = (aligned(a), aligned(b));
        (kernels.join)(&mut x.0, &mut y.0, plan);
        for i in 0..N {
            let (a, b) = (u64::from(a[i]), u64::from(b[i]));
            let want = [a + b, (b + w - a) * root].map(|x| (x % w) as u32);
            assert_eq!([x.0[i], y.0[i]], want, "{} join({a}, {b}) mod {q}", kernels.isa());
        }
    }
}

/// Transforms of twice the degree: a layer and two halves.
fn halves(kernels: &Kernels, portable: &Kernels, prime: usize, rng: &mut ChaCha20Rng) {
    let (q, psi) = WIDE_ROOTS[prime];
    let plan = WIDE_PLANS[prime][0];
    let edges = vectors(q as u32, 2 * N, rng).into_iter();
    // All of them for the first and the last prime, for the others one that is random.
    let extreme = prime == 0 || prime == WIDE_ROOTS.len() - 1;
    let one = if extreme { usize::MAX } else { 1 };
    for (name, words) in edges.filter(|&(name, _)| extreme || name == "random").take(one) {
        let what = format!("{} degree {} mod {q}, {name}", kernels.isa(), 2 * N);
        let input = [aligned(&words[..N]), aligned(&words[N..])];
        let run = |kernels: &Kernels, transform: Transform| {
            let [mut low, mut high] = input.clone();
            transform(kernels, &mut low.0, Some(&mut high.0), plan);
            [low, high]
        };
        let values = run(kernels, ntt::forward);
        assert!(values == run(portable, ntt::forward), "{what}: differs from the portable one");
        let back = run(kernels, ntt::inverse);
        assert!(back == run(portable, ntt::inverse), "{what}: inverse differs");
        let coefficients: Vec<u32> = back.iter().flat_map(|half| half.0).collect();
        for half in 0..2 {
            assert_canonical(&values[half].0, q as u32, &what);
            for i in positions(N) {
                let x = point(psi, N * half + natural(i), LOG_N + 1, q);
                let value = horner(words.iter(), x, q);
                assert_eq!(u64::from(values[half].0[i]), value, "{what}: half {half}, at {i}");
                let value = horner(coefficients.iter(), x, q);
                assert_eq!(u64::from(input[half].0[i]), value, "{what}: inverse {half}, at {i}");
            }
        }
        let [mut low, mut high] = values;
        ntt::inverse(kernels, &mut low.0, Some(&mut high.0), plan);
        assert!([low, high] == input, "{what}: and back");
    }
}

/// What [`ntt::forward`] and [`ntt::inverse`] are.
type Transform = fn(&Kernels, &mut Limb, Option<&mut Limb>, &Plan);

/// Up to as many pairs as the contract allows, of which some are skipped.
fn dot_products(kernels: &Kernels, plan: &Plan, rng: &mut ChaCha20Rng) {
    let q = plan.prime.q();
    let w = u128::from(q);
    let r_inv = u128::from(pow((1 << 32) % w as u64, w as u64 - 2, w as u64));
    let mut draw = |len: usize| -> Vec<Limb> {
        (0..len).map(|_| core::array::from_fn(|_| rng.next_u32() % q)).collect()
    };
    let (a, b, start) = (draw(MAX_BASE), draw(2 * MAX_BASE), draw(1));
    let top = vec![[q - 1; N]; 2 * MAX_BASE];
    let test = |[a, b]: [&[Limb]; 2], [step_a, step_b]: [usize; 2], start: &Limb, pairs: usize| {
        let mut out = Box::new(Aligned(*start));
        (kernels.dot_acc)(&mut out.0, [a, b], [step_a, step_b], plan);
        for i in 0..N {
            let terms = (0..pairs).map(|j| [a[step_a * j][i], b[step_b * j][i]].map(u128::from));
            let sum = terms.fold(0, |sum, [a, b]| sum + a * b);
            let want = (u128::from(start[i]) + sum % w * r_inv) % w;
            let what = format!("{} {pairs} pairs mod {q}, {step_a}, {step_b}", kernels.isa());
            assert_eq!(u128::from(out.0[i]), want, "{what}, at {i}");
        }
    };
    for pairs in 0..=MAX_BASE {
        test([&a[..pairs], &b[..pairs]], [1, 1], &start[0], pairs);
        test([&top[..pairs], &top[..pairs]], [1, 1], &top[0], pairs);
        test([&a[..pairs], &b], [1, 2], &start[0], pairs);
    }
    // Slices that end anywhere after the last limb that is read, and one that ends first.
    test([&a[..5], &b[..4]], [2, 1], &start[0], 3);
    test([&a[..6], &b[..7]], [2, 3], &start[0], 3);
    test([&a[3..9], &b[1..22]], [3, 7], &start[0], 2);
    test([&top[..7], &top[..22]], [1, 2], &top[0], 7);
    test([&top, &top], [2, 2], &top[0], MAX_BASE);
}

/// Words mod one prime to words mod another. The word after the last edge is random.
fn raising(kernels: &Kernels, rng: &mut ChaCha20Rng) {
    for (from, to) in [(0, 1), (0, 3), (3, 0), (3, 3), (2, 0), (2, 1)] {
        let (from, plan) = (EXTREMES[from].plan.prime, EXTREMES[to].plan);
        let (p, q) = (u64::from(from.q()), u64::from(plan.prime.q()));
        let r_inv = pow((1 << 32) % q, q - 2, q);
        let edges = [0, 1, 2, p / 2 - 1, p / 2, p / 2 + 1, p / 2 + 2, p - 2, p - 1];
        let x = limb(|i| edges.get(i % 16).map_or(rng.next_u32() % p as u32, |&x| x as u32));
        for factor in [0, 1, q - 1, q / 2, (1 << 32) % q, u64::from(rng.next_u32()) % q] {
            let mut out = limb(|_| u32::MAX);
            (kernels.raise)(&mut out.0, &x.0, &from, factor as u32, plan);
            for (&x, &got) in x.0.iter().zip(&out.0) {
                let x = u64::from(x);
                let centred = if x > p / 2 { x as i64 - p as i64 } else { x as i64 };
                let want = centred.rem_euclid(q as i64) as u64 * factor % q * r_inv % q;
                let what = format!("{} raise({x} mod {p}, {factor}) mod {q}", kernels.isa());
                assert_eq!(u64::from(got), want, "{what}");
            }
        }
    }
}

/// Sources and targets of a conversion, and how many of the sources are divided by (if any).
struct Bases {
    from: Vec<u64>,
    to: Vec<u64>,
    divided: Option<usize>,
}

fn primes(chain: &[(u64, u64)]) -> Vec<u64> {
    chain.iter().map(|&(q, _)| q).collect()
}

/// The product mod `modulus` of all numbers but one (or none of them).
fn product_but(numbers: &[u64], but: Option<usize>, modulus: u64) -> u64 {
    let others = numbers.iter().enumerate().filter(|&(i, _)| Some(i) != but);
    let product = others.fold(1, |product, (_, &x)| product * u128::from(x) % u128::from(modulus));
    product as u64
}

/// All kinds of conversion that there are: to another base, and from the base of products back, times
/// t and over Q.
fn converting(kernels: &Kernels, rng: &mut ChaCha20Rng) {
    let (narrow, wide) = (primes(&ROOTS), primes(&WIDE_ROOTS));
    let bases = |from: &[u64], to: &[u64], divided| {
        let (from, to) = (from.to_vec(), to.to_vec());
        Bases { from, to, divided }
    };
    for bases in [
        bases(&narrow[..3], &narrow[3..], None),
        bases(&narrow, &narrow[..3], None),
        bases(&narrow, &narrow[..3], Some(3)),
        bases(&wide[..5], &wide[5..], None),
        bases(&wide, &wide[..5], Some(5)),
        bases(&wide[..1], &narrow[3..4], None),
    ] {
        formula(kernels, &bases, rng);
        meaning(kernels, &bases, rng);
    }
}

/// Limbs whose words have these residues, one limb more than there are sources.
fn columns(words: impl Fn(usize, usize) -> u64, count: usize) -> Vec<Limb> {
    (0..=count).map(|j| core::array::from_fn(|i| words(i, j) as u32)).collect()
}

/// The contract's formula to the letter, with constants as large as they can be, or random.
fn formula(kernels: &Kernels, bases: &Bases, rng: &mut ChaCha20Rng) {
    let what = format!("{} {} to {} primes", kernels.isa(), bases.from.len(), bases.to.len());
    for largest in [true, false] {
        let mut draw = |below: u64| if largest { below - 1 } else { rng.next_u64() % below };
        let from: Vec<Source> = (bases.from.iter())
            .map(|&q| Source {
                prime: Prime::new(q as u32),
                // As large as it can be, y is the word itself.
                punctured: if largest { (1 << 32) % q } else { draw(q) } as u32,
                share: (((1 << SHARE_BITS) + q / 2) / q) as u32,
                fraction: draw(1 << 32) as u32,
            })
            .collect();
        let to: Vec<Target> = (bases.to.iter())
            .map(|&q| Target {
                prime: Prime::new(q as u32),
                weights: core::array::from_fn(|_| draw(q) as u32),
                overflow: draw(q) as u32,
                one: ((1 << 32) % q) as u32,
            })
            .collect();
        let mut random = || rng.next_u64();
        let noise: Vec<u64> = (0..N * (1 + MAX_BASE)).map(|_| random()).collect();
        let x = columns(
            |i, j| match (bases.from.get(j), i % 8) {
                (None, _) | (_, 0) => 0,
                (Some(q), 1) => q - 1,
                (Some(q), 2) => q / 2,
                (Some(q), 3) => q / 2 + 1,
                (Some(q), 4) => (j as u64 & 1) * (q - 1),
                (Some(q), _) => noise[i * MAX_BASE + j] % q,
            },
            from.len(),
        );
        // The last limb is none of theirs.
        let mut out = vec![[7; N]; to.len() + 1];
        (kernels.convert)(&mut out, &x, &from, &to);
        assert!(out.pop() == Some([7; N]), "{what}");
        for i in 0..N {
            let words = x.iter().zip(&from).map(|(x, s)| {
                let q = u128::from(s.prime.q());
                let r_inv = u128::from(pow((1 << 32) % q as u64, q as u64 - 2, q as u64));
                u128::from(x[i]) * u128::from(s.punctured) % q * r_inv % q
            });
            let y: Vec<u128> = words.collect();
            let sum = |f: fn(&Source) -> u32| -> u128 {
                y.iter().zip(&from).map(|(y, s)| y * u128::from(f(s))).sum()
            };
            let whole = (sum(|s| s.share) + (1 << (SHARE_BITS - 1))) >> SHARE_BITS;
            let rest = (sum(|s| s.fraction) + (1 << 31)) >> 32;
            for (out, t) in out.iter().zip(&to) {
                let q = u128::from(t.prime.q());
                let weighted: u128 =
                    y.iter().zip(t.weights).map(|(y, weight)| y * u128::from(weight)).sum();
                let r_inv = u128::from(pow((1 << 32) % q as u64, q as u64 - 2, q as u64));
                let sum = weighted + whole * u128::from(t.overflow) + rest * u128::from(t.one);
                let got = u128::from(out[i]);
                assert_eq!(got, sum % q * r_inv % q, "{what}, mod {q}, at {i}");
            }
        }
    }
}

/// What conversions are for, with the constants as they should be: x, centred, mod other primes; or
/// t x / Q, rounded, but for a small error.
fn meaning(kernels: &Kernels, bases: &Bases, rng: &mut ChaCha20Rng) {
    let Bases { from, to, divided } = bases;
    let t = u64::from(T);
    // What x is multiplied by as a whole, and what of it is left over by each source's division.
    let scale: Vec<u64> = match divided {
        None => vec![],
        Some(count) => from[*count..].iter().copied().chain([t]).collect(),
    };
    let weight = |i: usize, p: u64| match divided {
        None => product_but(from, Some(i), p),
        Some(count) if i < *count => product_but(&scale, None, from[i] * p) / from[i],
        Some(count) => product_but(&scale, Some(i - count), p),
    };
    let rest = |i: usize| match divided {
        Some(count) if i < *count => product_but(&scale, None, from[i]),
        _ => 0,
    };
    let whole = |p: u64| product_but(if divided.is_some() { &scale } else { from }, None, p);
    let shifted = |x: u64, p: u64| ((u128::from(x) << 32) % u128::from(p)) as u32;
    let inverses: Vec<u64> = (0..from.len())
        .map(|i| pow(product_but(from, Some(i), from[i]), from[i] - 2, from[i]))
        .collect();
    let sources: Vec<Source> = (from.iter().enumerate())
        .map(|(i, &q)| Source {
            prime: Prime::new(q as u32),
            punctured: shifted(inverses[i], q),
            share: (((1 << SHARE_BITS) + q / 2) / q) as u32,
            fraction: ((((rest(i)) << 32) + q / 2) / q) as u32,
        })
        .collect();
    let targets: Vec<Target> = (to.iter())
        .map(|&p| {
            let mut weights = [0; MAX_BASE];
            for (i, w) in weights.iter_mut().enumerate().take(from.len()) {
                *w = shifted(weight(i, p), p);
            }
            let overflow = shifted(p - whole(p), p);
            Target { prime: Prime::new(p as u32), weights, overflow, one: shifted(1, p) }
        })
        .collect();
    let noise: Vec<u64> = (0..N * (1 + MAX_BASE)).map(|_| rng.next_u64()).collect();
    let x = columns(
        |i, j| match (from.get(j), i % 16) {
            (None, _) | (_, 0) => 0,
            (_, 1) => 1,
            (Some(q), 2) => q - 1,
            // (Q - 1) / 2 and (Q + 1) / 2, where the sign changes.
            (Some(q), 3) => (q - 1) / 2,
            (Some(q), 4) => q.div_ceil(2),
            // Half of Q, off by so many Q / q that the side is certain.
            (Some(q), side @ (5 | 6)) => {
                let half = (q - 1) / 2 + 40 * (side as u64 - 5) - 20;
                if j == 0 { half * product_but(from, Some(0), *q) % q } else { 0 }
            }
            (Some(q), _) => noise[i * MAX_BASE + j] % q,
        },
        from.len(),
    );
    let mut out = vec![[7; N]; to.len()];
    (kernels.convert)(&mut out, &x, &sources, &targets);
    let mut ties = 0;
    for i in 0..N {
        let y: Vec<u64> =
            (0..from.len()).map(|j| u64::from(x[j][i]) * inverses[j] % from[j]).collect();
        // x / Q with 90 bits after the point, and k. Each share is off by 2^-57, and counts below 2^27.
        let parts = y.iter().zip(from).map(|(&y, &q)| (u128::from(y) << 90) / u128::from(q));
        let (ratio, one) = (parts.sum::<u128>(), 1u128 << 90);
        let k = (ratio + one / 2) >> 90;
        let close = (ratio % one).abs_diff(one / 2) < (from.len() as u128) << 60;
        ties += usize::from(close);
        // What is lost to the divisions, with 64 bits after the point.
        let lost: u128 = (0..from.len())
            .map(|j| ((u128::from(y[j]) * u128::from(rest(j))) << 64) / u128::from(from[j]))
            .sum();
        let possible = |k: u128| {
            to.iter().zip(&out).all(|(&p, out)| {
                let sum: u64 = (0..from.len()).map(|j| y[j] * weight(j, p) % p).sum();
                let overflow = (k as u64 % p) * whole(p) % p;
                let exact = (sum + p - overflow + (lost >> 64) as u64 % p) % p;
                // Off by -1, 0, 1.
                let off = (u64::from(out[i]) + 1 + p - exact) % p;
                let off = i128::from(off) - 1;
                let error = (off << 64) - (lost & u128::from(u64::MAX)) as i128;
                let allowed = match divided {
                    None => 0,
                    Some(count) => (1i128 << 63) + ((*count as i128) << 58),
                };
                error.abs() <= allowed
            })
        };
        let good = possible(k) || close && (possible(k + 1) || k > 0 && possible(k - 1));
        let what = format!("{} {} to {} primes", kernels.isa(), from.len(), to.len());
        assert!(good, "{what}, {divided:?}, at {i}");
    }
    assert!(ties <= 2 * N / 16, "the two that are meant to be, at most: {ties}");
}

/// By definition: the value at psi^e of the result is the value at psi^(g e). Every position.
fn permuting(kernels: &Kernels, rng: &mut ChaCha20Rng) {
    for parts in [1, 2] {
        let (degree, bits) = (parts * N, LOG_N + parts - 1);
        let exponents: Vec<usize> =
            (0..degree).map(|i| 2 * reversed(i / N * N + natural(i % N), bits) + 1).collect();
        let mut places = vec![usize::MAX; 2 * degree];
        for (i, &e) in exponents.iter().enumerate() {
            places[e] = i;
        }
        let power = |k: u64| pow(3, k, 2 * degree as u64) as usize;
        let mut elements: Vec<usize> =
            [0, 1, 2, 3, 16, 1024, degree as u64 / 2 - 1].into_iter().map(power).collect();
        elements.extend([2 * degree - 1, degree + 1, 5, 2 * degree - 3]);
        elements.extend((0..4).map(|_| rng.next_u32() as usize % degree * 2 + 1));
        let x: Vec<Limb> = (0..parts).map(|_| core::array::from_fn(|_| rng.next_u32())).collect();
        for g in elements {
            let from = |i: usize| places[exponents[i] * g % (2 * degree)];
            let row = |i: usize| reversed(i % GROUP / 16, 4);
            let inverse = (1..16).step_by(2).find(|i| i * g % 16 == 1).unwrap();
            for part in 0..parts {
                // Each run from its first word.
                let start = |run: usize| from(part * N + run / 16 * GROUP + run % 16);
                let runs = Runs {
                    from: core::array::from_fn(|run| {
                        let i = start(run) % N;
                        (i / GROUP * 16 + i % 16) as u32
                    }),
                    carry: core::array::from_fn(|run| (row(start(run)) * inverse % 16) as u32),
                    positions: (0..16).map(|j| (reversed(g * j % 16, 4) as u64) << (4 * j)).sum(),
                };
                let mut out = limb(|_| 7);
                (kernels.permute)(&mut out.0, &x[start(0) / N], &runs);
                for i in 0..N {
                    let want = x.as_flattened()[from(part * N + i)];
                    let what = format!("{} permute by {g} of {degree}", kernels.isa());
                    assert_eq!(out.0[i], want, "{what}, part {part}, at {i}");
                }
            }
        }
    }
}

fn block_sums(kernels: &Kernels, plan: &Plan, rng: &mut ChaCha20Rng) {
    let q = plan.prime.q();
    let w = u64::from(q);
    let r_inv = pow((1 << 32) % w, w - 2, w);
    let top = limb(|_| q - 1);
    let random = [0; 2].map(|_| limb(|_| rng.next_u32() % q));
    let spike = limb(|i| u32::from(i % 512 == 511) * (q - 1));
    for (a, b) in [(&top, &top), (&random[0], &random[1]), (&top, &random[0]), (&spike, &top)] {
        for users in [8, 16, 32] {
            // Not aligned, and holding something: the result must not depend on it.
            let mut out = [u32::MAX; 1 + MAX_SMALL];
            (kernels.block_sums)(&mut out[1..=users], &a.0, &b.0, plan);
            let len = N / users;
            for k in 0..users {
                let block = (0..N).filter(|&i| natural(i) / len == k);
                let sum = block
                    .fold(0u128, |sum, i| sum + u128::from(u64::from(a.0[i]) * u64::from(b.0[i])));
                let want = (sum % u128::from(w)) as u64 * r_inv % w;
                let what = format!("{} {users} block sums mod {q}, block {k}", kernels.isa());
                assert_eq!(u64::from(out[1 + k]), want, "{what}");
            }
            assert!(out[0] == u32::MAX && out[1 + users..].iter().all(|&x| x == u32::MAX));
        }
    }
}

fn small(kernels: &Kernels, portable: &Kernels, plan: &Plan, psi: u64, rng: &mut ChaCha20Rng) {
    let q = plan.prime.q();
    let w = u64::from(q);
    for bits in 3..=MAX_SMALL.ilog2() as usize {
        let len = 1 << bits;
        // X^d at the root of position d k is the point that belongs to block k.
        let d = N >> bits;
        let root = pow(psi, d as u64, w);
        for (name, words) in vectors(q, len, rng) {
            let what = format!("{} small transform of {len} mod {q}, {name}", kernels.isa());
            let mut x = words.clone();
            (kernels.forward_small)(&mut x, plan);
            assert_canonical(&x, q, &what);
            for (k, &x) in x.iter().enumerate() {
                let c = point(root, k, bits, w);
                assert_eq!(c, pow(point(psi, d * k, LOG_N, w), d as u64, w));
                assert_eq!(u64::from(x), horner(words.iter(), c, w), "{what}, block {k}");
            }
            let mut y = words.clone();
            (portable.forward_small)(&mut y, plan);
            assert_eq!(x, y, "{what}: differs from the portable kernel");

            (kernels.inverse_small)(&mut x, plan);
            let scaled: Vec<u32> =
                words.iter().map(|&x| (u64::from(x) * len as u64 % w) as u32).collect();
            assert_eq!(x, scaled, "{what}: and back");

            let mut x = words.clone();
            (kernels.inverse_small)(&mut x, plan);
            assert_canonical(&x, q, &what);
            (portable.inverse_small)(&mut y, plan);
            assert_eq!(y, scaled);
            let mut y = words.clone();
            (portable.inverse_small)(&mut y, plan);
            assert_eq!(x, y, "{what}: inverse differs from the portable kernel");
            (kernels.forward_small)(&mut x, plan);
            assert_eq!(x, scaled, "{what}: inverse and forward");
        }
    }
}

/// Word i of `layers` layers of the transform mod t: coefficient j of the polynomial's remainder
/// modulo X^d - c_k, i = d k + j.
fn plain_remainder(x: &[u32], layers: usize, i: usize) -> u32 {
    let t = u64::from(T);
    let d = x.len() >> layers;
    let root = pow(PLAIN_ROOT, (N >> layers) as u64, t);
    horner(x.iter().skip(i % d).step_by(d), point(root, i / d, layers, t), t) as u32
}

fn plain(kernels: &Kernels, portable: &Kernels, rng: &mut ChaCha20Rng) {
    let sizes = (0..=LOG_N).map(|layers| (N, layers)).chain([(32, 5), (16, 4), (8, 3), (64, 3)]);
    for (len, layers) in sizes {
        for (round, (name, words)) in vectors(T, len, rng).into_iter().enumerate() {
            let what = format!("{} {layers} layers of {len} mod t, {name}", kernels.isa());
            let mut x = words.clone();
            (kernels.plain_forward)(&mut x, layers);
            assert_canonical(&x, T, &what);
            let all = (0..len).filter(|_| layers <= 5 || round == 13);
            for i in positions(len).chain(all) {
                assert_eq!(x[i], plain_remainder(&words, layers, i), "{what}, position {i}");
            }
            let mut y = words.clone();
            (portable.plain_forward)(&mut y, layers);
            assert!(x == y, "{what}: differs from the portable kernel");
            if layers == 0 {
                continue;
            }
            (kernels.plain_inverse)(&mut x, layers);
            assert!(x == words, "{what}: and back");

            let mut x = words.clone();
            (kernels.plain_inverse)(&mut x, layers);
            assert_canonical(&x, T, &what);
            for i in positions(len) {
                assert_eq!(words[i], plain_remainder(&x, layers, i), "{what}, inverse, at {i}");
            }
            let mut y = words.clone();
            (portable.plain_inverse)(&mut y, layers);
            assert!(x == y, "{what}: inverse differs from the portable kernel");
        }
    }
}

/// Plaintext words into limbs: every message at some place, in big integers.
fn messages(kernels: &Kernels, rng: &mut ChaCha20Rng) {
    let t = u128::from(T);
    for (plan, q) in EXTREMES.map(|ring| (ring.plan, u128::from(ring.q))).into_iter().take(3) {
        for (name, words) in vectors(T, N, rng) {
            let what = format!("{} messages mod {q}, {name}", kernels.isa());
            let message = aligned(&words);
            let mut out = limb(|_| u32::MAX);
            (kernels.lift_plain)(&mut out.0, &message.0, plan);
            for (&m, &got) in words.iter().zip(&out.0) {
                let m = u128::from(m);
                let want = if m > t / 2 { q + m - t } else { m };
                assert_eq!(u128::from(got), want, "{what}: lift of {m}");
            }
            // Some modulus far above q, its remainder mod t as large as allowed, or small.
            for modulus in [q * 134_111_233, (1u128 << 80) / t * t + t - 2, 7] {
                let delta = (((modulus / t) << 32) % q) as u32;
                let q_mod_t = (modulus % t) as u32;
                for start in [0, 1, q as u32 - 1] {
                    let mut out = limb(|_| start);
                    (kernels.add_scaled)(&mut out.0, &message.0, delta, q_mod_t, plan);
                    for (&m, &got) in words.iter().zip(&out.0) {
                        let scaled = (modulus * u128::from(m) + t / 2) / t;
                        let want = (u128::from(start) + scaled) % q;
                        assert_eq!(u128::from(got), want, "{what}: {start} + round(Q {m} / t)");
                    }
                }
            }
        }
    }
}

/// Word for word against the formula in 128 bits. Round 3 has digits just below their primes, whose
/// sum is L t after rounding: the most that has to be taken off.
fn rounding<const L: usize>(kernels: &Kernels, rng: &mut ChaCha20Rng) {
    let constants = &Rns::<L>::ROUNDING[..Rns::<L>::COUNT];
    let primes: Vec<u64> = constants.iter().map(|c| u64::from(c.prime.q())).collect();
    for round in 0..5 {
        let limbs: Vec<Limb> = (constants.iter().enumerate())
            .map(|(i, Rounding { prime: p, .. })| {
                let others = u128::from(product_but(&primes, Some(i), u64::from(p.q())));
                core::array::from_fn(|i| match round {
                    0 => rng.next_u32() % p.q(),
                    1 => p.q() - 1 - (i as u32 & 1),
                    2 => [0, 1, p.q() / 2, p.q() / 2 + 1, p.q() - 1][i % 5],
                    3 => (u128::from(p.q() - 1 - i as u32 / 8) * others % u128::from(p.q())) as u32,
                    _ => 0,
                })
            })
            .collect();
        let mut out = limb(|_| u32::MAX);
        (kernels.round)(&mut out.0, &limbs, constants);
        for (i, &got) in out.0.iter().enumerate() {
            let mut sum = 1u128 << (ROUND_BITS - 1);
            for (limb, c) in limbs.iter().zip(constants) {
                let q = u128::from(c.prime.q());
                let r_inv = u128::from(pow((1 << 32) % q as u64, q as u64 - 2, q as u64));
                let y = u128::from(limb[i]) * u128::from(c.punctured) % q * r_inv % q;
                sum += y * u128::from(c.factor);
            }
            let want = (sum >> ROUND_BITS) % u128::from(T);
            assert_eq!(u128::from(got), want, "{} rounding of {L} limbs", kernels.isa());
        }
    }
}

/// draft-strombergson-chacha-test-vectors, TC1 (all zero, 12 rounds); other keys and counters against the library's
/// cipher.
fn sponges(kernels: &Kernels, portable: &Kernels, rng: &mut ChaCha20Rng) {
    // What Keccak-f[1600] makes of zeros begins so, in every implementation's known answers.
    let mut states = Sponges([[0; SPONGES]; 25]);
    (kernels.keccak)(&mut states, SPONGES, Rounds::All);
    let what = format!("{} keccak", kernels.isa());
    assert_eq!(states.0[0], [0xf125_8f79_40e1_dde7; SPONGES], "{what}");
    assert_eq!(states.0[1], [0x84d5_ccf9_33c0_478a; SPONGES], "{what}");
    for (count, rounds) in (1..=SPONGES).flat_map(|n| [(n, Rounds::Half), (n, Rounds::All)]) {
        let any = [(); 25].map(|()| [(); SPONGES].map(|()| rng.next_u64()));
        let (mut states, mut same) = (Sponges(any), Sponges(any));
        (kernels.keccak)(&mut states, count, rounds);
        (portable.keccak)(&mut same, count, rounds);
        let of = |states: Sponges| states.0.map(|row| row[..count].to_vec());
        assert_eq!(of(states), of(same), "{what}, {count}, {rounds:?}");
        let bytes = [(); SPONGES].map(|()| {
            let mut bytes = [0; BLOCK];
            rng.fill_bytes(&mut bytes);
            bytes
        });
        let mut states = Sponges(any);
        (kernels.absorb)(&mut states, &bytes.each_ref(), count);
        let word = |i: usize, lane: usize| {
            let (words, _) = bytes[lane].as_chunks();
            words.get(i).map_or(0, |&word| u64::from_le_bytes(word))
        };
        let expected: Vec<Vec<_>> = (0..25)
            .map(|i| (0..count).map(|lane| any[i][lane] ^ word(i, lane)).collect())
            .collect();
        assert_eq!(of(states).to_vec(), expected, "{what}, absorbing with {count}");
    }
}

fn keystream(kernels: &Kernels, portable: &Kernels, rng: &mut ChaCha20Rng) {
    let mut chunks = [const { Chunk([[1; 16]; 16]) }; 3];
    (kernels.keystream)(&mut chunks, &[0; 8], 0);
    let first = [0, 1, 2, 3].map(|i| chunks[0].0[i][0].swap_bytes());
    let what = format!("{} keystream", kernels.isa());
    assert_eq!(first, [0x9bf4_9a6a, 0x0755_f953, 0x811f_ce12, 0x5f26_83d5], "{what}");
    for counter in [0, 16, 1 << 20, (1 << 32) - 16, (1 << 32) - 32, 1 << 32, u64::MAX - 15] {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let key: Vec<u32> =
            seed.chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
        let key = key.try_into().unwrap();
        // Pairs of chunks, and one that is left.
        (kernels.keystream)(&mut chunks, &key, counter);
        let mut same = [const { Chunk([[2; 16]; 16]) }; 3];
        (portable.keystream)(&mut same, &key, counter);
        assert!(chunks == same, "{what}: differs from the portable kernel");
        let mut cipher = ChaCha12Rng::from_seed(seed);
        for (i, chunk) in chunks.iter().enumerate() {
            let first = counter.wrapping_add(16 * i as u64);
            for block in 0..16 {
                cipher.set_word_pos(u128::from(first + block as u64) * 16);
                for word in 0..16 {
                    let want = cipher.next_u32();
                    assert_eq!(chunk.0[word][block], want, "{what}, {first} + {block}, {word}");
                }
            }
        }
    }
}

/// Chunks that show every byte and every rejection.
fn sample_chunks(rng: &mut ChaCha20Rng) -> Vec<Chunk> {
    let chunk = |mut f: Box<dyn FnMut(u32) -> u32 + '_>| {
        let mut at = 0;
        Chunk([[0; 16]; 16].map(|row| {
            row.map(|_: u32| {
                at += 1;
                f(at - 1)
            })
        }))
    };
    let mut all = vec![
        chunk(Box::new(|_| 0)),
        chunk(Box::new(|_| u32::MAX)),
        chunk(Box::new(|i| {
            u32::from_le_bytes([4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3].map(|b| b as u8))
        })),
        chunk(Box::new(|i| 1 << (i % 32))),
        chunk(Box::new(|i| EXTREMES[i as usize % 3].q as u32 - i % 2)),
    ];
    for _ in 0..20 {
        all.push(chunk(Box::new(|_| rng.next_u32())));
        // One byte in four is 255.
        all.push(chunk(Box::new(|_| rng.next_u32() | 0xff << (8 * (rng.next_u32() % 4)))));
    }
    all
}

fn samplers(kernels: &Kernels, portable: &Kernels, rng: &mut ChaCha20Rng) {
    let isa = kernels.isa();
    for chunk in sample_chunks(rng) {
        let [mut x, mut y] = [[7; SAMPLES]; 2];
        (kernels.noise)(&mut x, &chunk);
        (portable.noise)(&mut y, &chunk);
        assert_eq!(x, y, "{isa} noise");

        let [mut x, mut y] = [[7; 1024 + KEPT_SLACK + 3]; 2];
        let kept = (kernels.ternary)(&mut x[1..], &chunk);
        assert_eq!(kept, (portable.ternary)(&mut y[1..], &chunk), "{isa} ternary");
        assert_eq!(x[1..=kept], y[1..=kept], "{isa} ternary");
        assert!(x[0] == 7 && x[1 + kept + KEPT_SLACK..].iter().all(|&x| x == 7), "{isa} ternary");
        let bytes = chunk
            .0
            .iter()
            .flat_map(|row| (0..4).flat_map(move |i| row.iter().map(move |w| w.to_le_bytes()[i])));
        let want = bytes.filter(|&b| b < 255).map(|b| u32::from(b % 3).wrapping_sub(1));
        assert!(want.eq(x[1..=kept].iter().copied()), "{isa} ternary");

        for Ring { plan, .. } in EXTREMES {
            let [mut x, mut y] = [[7; 256 + KEPT_SLACK + 3]; 2];
            let kept = (kernels.uniform)(&mut x[1..], &chunk, plan);
            assert_eq!(kept, (portable.uniform)(&mut y[1..], &chunk, plan), "{isa} uniform");
            assert_eq!(x[1..=kept], y[1..=kept], "{isa} uniform");
            assert!(x[1 + kept + KEPT_SLACK..].iter().all(|&x| x == 7), "{isa} uniform");
            let words = chunk.0.as_flattened().iter().map(|w| w % (1 << plan.prime.bits()));
            assert!(words.filter(|&w| w < plan.prime.q()).eq(x[1..=kept].iter().copied()));
        }
    }
    for plans in [&Rns::<2>::PLANS[..], &Rns::<4>::PLANS, &Rns::<12>::PLANS[..6]] {
        let mut x: Vec<Limb> = vec![[9; N]; plans.len()];
        let small = |i: usize| [0, 1, -1, 21, -21, 16_770_000, -16_770_000][i % 7] + (i / 7) as i32;
        for (i, x) in x[0].iter_mut().enumerate() {
            *x = small(i) as u32;
        }
        (kernels.spread)(&mut x, plans);
        for (limb, plan) in x.iter().zip(plans) {
            let want = |i| small(i).rem_euclid(plan.prime.q() as i32) as u32;
            assert!(limb.iter().enumerate().all(|(i, &x)| x == want(i)), "{isa} spread");
        }
    }
}

fn packing(kernels: &Kernels, rng: &mut ChaCha20Rng) {
    for Ring { plan, .. } in EXTREMES.into_iter().take(3) {
        let q = plan.prime.q();
        for (name, words) in vectors(q, N, rng) {
            let what = format!("{} packing, {name}", kernels.isa());
            let input = aligned(&words);
            let mut bytes = Box::new([0xa5; PACKED]);
            (kernels.pack)(&mut bytes, &input.0);
            let bit = |i: usize| u32::from(bytes[i / 8] >> (i % 8) & 1);
            for (i, &word) in words.iter().enumerate() {
                let got: u32 = (0..27).map(|b| bit(27 * i + b) << b).sum();
                assert_eq!(got, word, "{what}, word {i}");
            }
            let mut out = limb(|_| u32::MAX);
            assert!((kernels.unpack)(&mut out.0, &bytes, plan), "{what}");
            assert!(out == input, "{what}: and back");
        }
        // One word too large, anywhere.
        for at in [0, 1, 31, 32, 511, 512, 2048, N - 1].into_iter().chain((0..N).step_by(97)) {
            let mut input = limb(|_| q - 1);
            input.0[at] = if at % 2 == 0 { q } else { (1 << 27) - 1 };
            let mut bytes = Box::new([0; PACKED]);
            (kernels.pack)(&mut bytes, &input.0);
            let mut out = limb(|_| 0);
            assert!(!(kernels.unpack)(&mut out.0, &bytes, plan), "{} at {at}", kernels.isa());
            assert!(out == input, "the words are there all the same");
        }
    }
}

/// To the last bit, so that every processor quantises alike.
fn quantising(kernels: &Kernels, portable: &Kernels, rng: &mut ChaCha20Rng) {
    let isa = kernels.isa();
    let mut unit = || f64::from(rng.next_u32()) / f64::from(u32::MAX) - 0.5;
    let (double, single) = (&kernels.quantise_f64, &kernels.quantise_f32);
    for len in [1, 2, 7, 8, 9, 100, 127, 128, 255, 256, 511, 512] {
        let x: Vec<f64> = (0..len).map(|_| unit()).collect();
        let y: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let norm = (portable.quantise_f64.square_norm)(&x);
        let exact: f64 = x.iter().map(|x| x * x).sum();
        assert!((norm / exact - 1.0).abs() < 1e-14);
        assert_eq!((double.square_norm)(&x).to_bits(), norm.to_bits(), "{isa}");
        let norm = (portable.quantise_f32.square_norm)(&y);
        assert_eq!((single.square_norm)(&y).to_bits(), norm.to_bits(), "{isa}");
        for factor in [0.25, 1.0, 175.0, 351.0, 65_534.0] {
            let [mut a, mut b] = [vec![7; len], vec![8; len]];
            (double.scale_round)(&mut a, &x, factor);
            (single.scale_round)(&mut b, &y, factor);
            for i in 0..len {
                let want = (x[i] * factor).round_ties_even();
                assert_eq!(f64::from(a[i]), want, "{isa} {} {factor}", x[i]);
                let want = (f64::from(y[i]) * factor).round_ties_even();
                assert_eq!(f64::from(b[i]), want, "{isa} {} {factor}", y[i]);
            }
        }
        let halves = [0.5, 1.5, -0.5, -1.5, 2.5, 32_767.0, -32_767.0, 0.0, -0.0, 0.499_999_999];
        let mut out = [9; 10];
        (double.scale_round)(&mut out, &halves, 1.0);
        assert_eq!(out, [0, 2, 0, -2, 2, 32_767, -32_767, 0, 0, 0], "{isa}");
    }
}

#[test]
fn portable_kernels_keep_the_contract() {
    check(Kernels::scalar(Scalar));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn avx2_kernels_keep_the_contract() {
    if !std::is_x86_feature_detected!("avx2") {
        return skip("avx2");
    }
    check(&super::avx2::KERNELS);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn avx512_kernels_keep_the_contract() {
    use std::is_x86_feature_detected as has;
    let base = has!("avx512f") && has!("avx512dq") && has!("avx512bw") && has!("avx512vl");
    let counts = has!("avx512bitalg") && has!("avx512vpopcntdq");
    if !(base && counts && has!("avx512vbmi") && has!("avx512vbmi2")) {
        return skip("avx512");
    }
    check(&super::avx512::KERNELS);
}

#[cfg(target_arch = "aarch64")]
#[test]
fn neon_kernels_keep_the_contract() {
    check(&super::neon::KERNELS);
}

/// To standard error, past the harness's capture.
#[cfg(target_arch = "x86_64")]
fn skip(isa: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "SKIPPED {isa} kernels: this processor has not {isa}");
}

/// The plans' roots are x^((q - 1) / 2N) for the least x that gives a primitive one, and the primes
/// are the largest that have such roots.
#[test]
fn roots_and_primes_are_the_first_that_serve() {
    let small = ROOTS.into_iter().chain([(u64::from(T), PLAIN_ROOT)]).map(|root| (root, N));
    let wide = WIDE_ROOTS.into_iter().chain([(u64::from(T), 81)]).map(|root| (root, 2 * N));
    for ((q, psi), degree) in small.chain(wide) {
        let degree = degree as u64;
        let mut candidates = (2..q).map(|x| pow(x, (q - 1) / (2 * degree), q));
        assert_eq!(candidates.find(|&r| pow(r, degree, q) == q - 1), Some(psi), "root mod {q}");
    }
    let prime = |&q: &u64| (2..).take_while(|d| d * d <= q).all(|d| q % d != 0);
    let largest = |bits: u32, degree: usize| {
        (1..).map(move |k| (1 << bits) + 1 - 2 * degree as u64 * k).filter(prime)
    };
    // The fourth is the special prime of Q81.
    let mut narrow: Vec<u64> = largest(27, N).take(6).collect();
    narrow.extend(largest(25, N).take(1));
    narrow[3..].rotate_right(1);
    assert_eq!(primes(&ROOTS), narrow);
    assert_eq!(primes(&WIDE_ROOTS), largest(27, 2 * N).take(11).collect::<Vec<_>>());
}
