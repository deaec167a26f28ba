//! The contract, checked through the function pointers: every kernel against slow arithmetic that
//! shares nothing with it, and against the portable kernels word for word.

extern crate std;

use super::contract::{
    Chunk, GROUP, KEPT_SLACK, Kernels, Limb, MAX_SMALL, PACKED, ROUND_BITS, SAMPLES,
};
use crate::cap::Scalar;
use crate::ntt::{LOG_N, N, PLANS, Plan};
use crate::rns::Rns;
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
const PLAIN_ROOT: u64 = 6_561;

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
    for (plan, (q, psi)) in PLANS.iter().zip(ROOTS) {
        assert_eq!(u64::from(plan.prime.q()), q);
        transforms(kernels, portable, plan, psi, &mut rng);
        lazy_bounds(kernels, plan, psi);
        products(kernels, plan, &mut rng);
        elementwise(kernels, plan, &mut rng);
        block_sums(kernels, plan, &mut rng);
        small(kernels, portable, plan, psi, &mut rng);
    }
    plain(kernels, portable, &mut rng);
    messages(kernels, &mut rng);
    rounding::<2>(kernels, &mut rng);
    rounding::<3>(kernels, &mut rng);
    keystream(kernels, portable, &mut rng);
    samplers(kernels, portable, &mut rng);
    packing(kernels, &mut rng);
    quantising(kernels, portable, &mut rng);
}

fn transforms(kernels: &Kernels, portable: &Kernels, plan: &Plan, psi: u64, rng: &mut ChaCha20Rng) {
    let q = u64::from(plan.prime.q());
    for (round, (name, words)) in vectors(q as u32, N, rng).into_iter().enumerate() {
        let what = format!("{} forward mod {q}, {name}", kernels.isa());
        let input = aligned(&words);
        let mut x = input.clone();
        (kernels.forward)(&mut x.0, plan);
        assert_canonical(&x.0, q as u32, &what);
        // Vector 13 is random: every position of it.
        let all = (0..N).filter(|_| round == 13);
        for i in positions(N).chain(all) {
            let want = horner(input.0.iter(), point(psi, natural(i), LOG_N, q), q);
            assert_eq!(u64::from(x.0[i]), want, "{what}, position {i}");
        }
        let mut y = input.clone();
        (portable.forward)(&mut y.0, plan);
        assert!(x == y, "{what}: differs from the portable kernel");

        (kernels.inverse)(&mut x.0, plan);
        assert!(x == input, "{what}: and back");

        // The same words as values: their interpolation takes them at every point.
        let what = format!("{} inverse mod {q}, {name}", kernels.isa());
        let mut x = input.clone();
        (kernels.inverse)(&mut x.0, plan);
        assert_canonical(&x.0, q as u32, &what);
        for i in positions(N) {
            let want = horner(x.0.iter(), point(psi, natural(i), LOG_N, q), q);
            assert_eq!(u64::from(input.0[i]), want, "{what}, position {i}");
        }
        let mut y = input.clone();
        (portable.inverse)(&mut y.0, plan);
        assert!(x == y, "{what}: differs from the portable kernel");
        (kernels.forward)(&mut x.0, plan);
        assert!(x == input, "{what}: and back");
    }
}

/// One layer of the forward transform, in bit-reversed order, exactly.
fn forward_layer(x: &mut [u64], psi: u64, layer: usize, q: u64) {
    let half = N >> (layer + 1);
    for (block, x) in x.chunks_exact_mut(2 * half).enumerate() {
        let w = pow(psi, reversed((1 << layer) + block, LOG_N) as u64, q);
        let (lo, hi) = x.split_at_mut(half);
        for (a, b) in lo.iter_mut().zip(hi) {
            let t = *b * w % q;
            (*a, *b) = ((*a + t) % q, (*a + q - t) % q);
        }
    }
}

/// Sums grow most where all words that enter a layer are just below q (by so much that an inexact
/// companion does not take products across), or, where they are centred, just below q/2. Such inputs
/// are made backwards, for each layer of the inverse.
fn lazy_bounds(kernels: &Kernels, plan: &Plan, psi: u64) {
    let q = u64::from(plan.prime.q());
    for layers in 0..LOG_N {
        for value in [q - 1, q - q / 50, q / 2, q / 2 + 1] {
            // The same word everywhere, and what led there: each layer of the inverse doubles.
            let mut x = vec![value * pow(2, q - 1 - layers as u64, q) % q; N];
            for layer in LOG_N - layers..LOG_N {
                forward_layer(&mut x, psi, layer, q);
            }
            let mut input = limb(|i| x[natural(i)] as u32);
            let what = format!("{} mod {q}: {value} after {layers} layers", kernels.isa());
            let values = input.clone();
            (kernels.inverse)(&mut input.0, plan);
            assert_canonical(&input.0, q as u32, &what);
            let mut y: Vec<u64> = input.0.iter().map(|&x| x.into()).collect();
            for layer in 0..LOG_N {
                forward_layer(&mut y, psi, layer, q);
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

fn elementwise(kernels: &Kernels, plan: &Plan, rng: &mut ChaCha20Rng) {
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
            (kernels.inverse)(x, plan);
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
    for (plan, q) in PLANS.iter().zip(ROOTS.map(|(q, _)| u128::from(q))) {
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
    let constants = &Rns::<L>::ROUNDING;
    for round in 0..5 {
        let limbs: Vec<Limb> = Rns::<L>::PRIMES
            .iter()
            .map(|p| {
                let others = Rns::<L>::Q / u128::from(p.q()) % u128::from(p.q());
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
        chunk(Box::new(|i| ROOTS[i as usize % 3].0 as u32 - i % 2)),
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

        for plan in PLANS {
            let [mut x, mut y] = [[7; 256 + KEPT_SLACK + 3]; 2];
            let kept = (kernels.uniform)(&mut x[1..], &chunk, plan);
            assert_eq!(kept, (portable.uniform)(&mut y[1..], &chunk, plan), "{isa} uniform");
            assert_eq!(x[1..=kept], y[1..=kept], "{isa} uniform");
            assert!(x[1 + kept + KEPT_SLACK..].iter().all(|&x| x == 7), "{isa} uniform");
            let words = chunk.0.as_flattened().iter().map(|w| w % (1 << plan.prime.bits()));
            assert!(words.filter(|&w| w < plan.prime.q()).eq(x[1..=kept].iter().copied()));
        }
    }
    for limbs in [2, 3] {
        let mut x: Vec<Limb> = vec![[9; N]; limbs];
        let small = |i: usize| [0, 1, -1, 21, -21, 66_000_000, -66_000_000][i % 7] + (i / 7) as i32;
        for (i, x) in x[0].iter_mut().enumerate() {
            *x = small(i) as u32;
        }
        (kernels.spread)(&mut x, &PLANS[..limbs]);
        for (limb, plan) in x.iter().zip(PLANS) {
            let want = |i| small(i).rem_euclid(plan.prime.q() as i32) as u32;
            assert!(limb.iter().enumerate().all(|(i, &x)| x == want(i)), "{isa} spread");
        }
    }
}

fn packing(kernels: &Kernels, rng: &mut ChaCha20Rng) {
    for plan in PLANS {
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
    for (q, psi) in ROOTS.into_iter().chain([(u64::from(T), PLAIN_ROOT)]) {
        let mut candidates = (2..q).map(|x| pow(x, (q - 1) / (2 * N as u64), q));
        assert_eq!(candidates.find(|&r| pow(r, N as u64, q) == q - 1), Some(psi), "root mod {q}");
    }
    let prime = |&q: &u64| (2..).take_while(|d| d * d <= q).all(|d| q % d != 0);
    let mut largest =
        [27, 25].map(|bits| (1..).map(move |k| (1 << bits) + 1 - 2 * N as u64 * k).filter(prime));
    for (i, (q, _)) in ROOTS.into_iter().enumerate() {
        // The fourth is the special prime of Q81.
        assert_eq!(largest[usize::from(i == 3)].next(), Some(q));
    }
}
