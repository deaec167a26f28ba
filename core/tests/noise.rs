//! Noise against its stated bounds: 1,000 random batches for each parameter set, measured with the
//! secret key after every operation. `--nocapture` shows the maxima.
//!
//! Bounds that nothing comes near would hide a mistake as well as bounds that are passed: each
//! maximum must also reach a stated part of its bound.

mod common;

use chacha20::ChaCha20Rng;
use common::*;
use rand_core::Rng;
use std::fmt::Display;
use std::thread;
use symbolon_core::bfv::noise::{
    FRESH_PUBLIC, FRESH_SECRET, PRODUCT, folded, folded_scores, folded_values, fresh_public,
    measure, multiplied_plain, product as multiplied, switch, switched_modulus,
};
use symbolon_core::bfv::{
    Ciphertext, GaloisKey, KeyGen, Multiply, Plaintext, Product, Q54, Q81, Q108, Q135, RelinKey,
    Rotation, SeededCiphertext, Switch, Tensor,
};
use symbolon_core::matching::{Blind, Layout, fold};
use symbolon_core::poly::{Coeff, Poly};
use symbolon_core::rns::Rns;

const BATCHES: usize = 1_000;
/// Batches that share a key pair.
const A_KEY: usize = 40;

/// The mean of the largest of N absolute values of standard Gaussians:
/// the integral of 1 - erf(x / sqrt 2)^N.
const MEAN_LARGEST: f64 = 3.8023;

/// The largest noise seen, operation by operation.
#[derive(Default)]
struct Seen {
    fresh: u128,
    seeded: u128,
    sum: u128,
    difference: u128,
    product: u128,
    folded: u128,
    /// Sums of each batch's largest noise over its expectation: of fresh encryptions (two a batch)
    /// and of products.
    largest: (f64, f64),
    /// By layout: how many templates, and the sum of their squared norms over N t^2 / 12.
    norms: [(f64, f64); 3],
    /// Low-end values in units of t times the flood's bound: count, sum and sum of squares.
    flood: (f64, f64, f64),
}

impl Seen {
    fn merge(self, other: Self) -> Self {
        let (a, b) = (self.flood, other.flood);
        Self {
            fresh: self.fresh.max(other.fresh),
            seeded: self.seeded.max(other.seeded),
            sum: self.sum.max(other.sum),
            difference: self.difference.max(other.difference),
            product: self.product.max(other.product),
            folded: self.folded.max(other.folded),
            largest: (self.largest.0 + other.largest.0, self.largest.1 + other.largest.1),
            norms: std::array::from_fn(|i| {
                (self.norms[i].0 + other.norms[i].0, self.norms[i].1 + other.norms[i].1)
            }),
            flood: (a.0 + b.0, a.1 + b.1, a.2 + b.2),
        }
    }
}

fn batches<const L: usize>(seed: u8) -> Seen {
    let k = kernels();
    let expected = MEAN_LARGEST * (10.5 * (4.0 * N as f64 / 3.0 + 1.0)).sqrt();
    let mut keys = Keys::<L>::new(seed);
    let mut rng = rng(seed ^ 0x80);
    let mut seen = Seen::default();
    let (mut plain, mut memory) = (zeroed(), zeroed::<Poly<L, Coeff>>());
    let (mut x, mut seeded, mut blind) =
        (zeroed::<Ciphertext<L>>(), zeroed::<SeededCiphertext<L>>(), zeroed::<Blind<L>>());
    for batch in 0..A_KEY {
        let layout = LAYOUTS[batch % 3];
        let [probes, templates] = [0; 2].map(|_| -> Vec<Vec<i16>> {
            (0..layout.users()).map(|_| random_vector(layout, &mut rng)).collect()
        });
        layout.encode_probes(k, slices(&probes), &mut plain).unwrap();
        let a = words(&plain);
        let first = keys.encrypt(&plain, &mut rng);
        let fresh = measure(k, &keys.secret, &first, &plain, &mut keys.scratch);
        seen.fresh = seen.fresh.max(fresh);
        seen.largest.0 += fresh as f64 / expected;

        keys.secret.encrypt(k, &plain, &mut rng, &mut seeded, &mut keys.scratch);
        seeded.expand(kernels(), &mut x);
        let noise = measure(k, &keys.secret, &x, &plain, &mut keys.scratch);
        seen.seeded = seen.seeded.max(noise);

        let b = random_words(&mut rng);
        let second = keys.encrypt(&plaintext(&b), &mut rng);
        let noise = measure(k, &keys.secret, &second, &plaintext(&b), &mut keys.scratch);
        seen.fresh = seen.fresh.max(noise);
        seen.largest.0 += noise as f64 / expected;

        let combined = |f: fn(i64, i64) -> i64| -> Vec<i64> {
            a.iter().zip(&b).map(|(&a, &b)| f(a, b).rem_euclid(T)).collect()
        };
        x.copy_from(&first);
        x.add_assign(k, &second);
        let want = plaintext(&combined(|a, b| a + b));
        let noise = measure(k, &keys.secret, &x, &want, &mut keys.scratch);
        seen.sum = seen.sum.max(noise);
        x.copy_from(&first);
        x.sub_assign(k, &second);
        let want = plaintext(&combined(|a, b| a - b));
        let noise = measure(k, &keys.secret, &x, &want, &mut keys.scratch);
        seen.difference = seen.difference.max(noise);

        let multiplicand =
            layout.encode_templates(k, slices(&templates), &mut plain, &mut memory).unwrap();
        x.copy_from(&first);
        x.multiply_plain(k, multiplicand);
        let template = template_poly(layout, &templates);
        let norm: f64 = template.iter().map(|&x| f64::from(centre(x)).powi(2)).sum();
        // The message, as decrypted: right, or the scores below would not be; and by the slow way
        // where there is time for it.
        let got = keys.decrypt(&x);
        assert!(batch > 2 || got == product(&a, &template));
        let want = plaintext(&got);
        let noise = measure(k, &keys.secret, &x, &want, &mut keys.scratch);
        seen.product = seen.product.max(noise);
        seen.largest.1 += noise as f64 / (expected * norm.sqrt());
        let (count, sum) = &mut seen.norms[batch % 3];
        *count += 1.0;
        *sum += norm / (N as f64 * (T as f64).powi(2) / 12.0);

        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        blind.prepare(k, &keys.public, layout, &seed, &mut keys.scratch);
        let result = fold(k, &first, multiplicand, &mut blind).unwrap();
        for v in &folded_values(k, &keys.secret, result)[..layout.users()] {
            seen.folded = seen.folded.max(v.unsigned_abs());
            let part = *v as f64 / (T as f64 * Blind::<L>::FLOOD as f64);
            seen.flood = (seen.flood.0 + 1.0, seen.flood.1 + part, seen.flood.2 + part * part);
        }
        let (scores, refused) = folded_scores(k, &keys.secret, result);
        assert!(!refused);
        for (lane, (p, t)) in probes.iter().zip(&templates).enumerate() {
            assert_eq!(scores[lane], inner_product(p, t));
        }
    }
    seen
}

/// All batches, half of the keys on either of two threads.
fn all_batches<const L: usize>() -> Seen {
    let keys = (BATCHES / A_KEY) as u8;
    // Other seeds for each parameter set: what is sampled does not depend on it.
    let seeds = L as u8 * keys..(L as u8 + 1) * keys;
    let part = |from| {
        seeds.clone().skip(from).step_by(2).map(batches::<L>).fold(Seen::default(), Seen::merge)
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| part(1));
        part(0).merge(other.join().unwrap())
    })
}

/// What was seen keeps its bound, and reaches `least` of it.
#[track_caller]
fn hold<const L: usize>(what: &str, seen: u128, bound: u128, least: f64) {
    let bits = |x: u128| (x as f64).log2();
    let part = seen as f64 / bound as f64;
    println!("{L} limbs, {what}: 2^{:.2} of 2^{:.2} ({part:.3})", bits(seen), bits(bound));
    assert!(seen <= bound, "{what}: {seen} above the bound {bound}");
    assert!(part >= least, "{what}: {seen} far below {bound}");
}

fn within<const L: usize>() {
    let seen = all_batches::<L>();
    let hold = hold::<L>;
    // Of some 10^7 Gaussian samples the largest is above 4.8 and below 6 sigma.
    hold("fresh, public key", seen.fresh, FRESH_PUBLIC, 0.8);
    hold("fresh, secret key", seen.seeded, FRESH_SECRET, 0.7);
    // The sum of two bounds is held by far: variances add, bounds do not. One more for rounding.
    hold("sum", seen.sum, 2 * FRESH_PUBLIC + 1, 0.8 / 2f64.sqrt());
    hold("difference", seen.difference, 2 * FRESH_PUBLIC + 1, 0.8 / 2f64.sqrt());
    hold("product", seen.product, PRODUCT, 0.8);
    // The flood rules: uniform, so its bound is nearly reached.
    hold("folded", seen.folded, folded::<L>(), 0.8);

    // The standard deviations themselves, from the mean of the batches' largest: within a percent.
    let fresh = seen.largest.0 / (2 * BATCHES) as f64;
    let product = seen.largest.1 / BATCHES as f64;
    println!("{L} limbs, sigma over its prediction: fresh {fresh:.4}, product {product:.4}");
    for (layout, (count, norm)) in LAYOUTS.into_iter().zip(seen.norms) {
        let norm = norm / count;
        println!("{L} limbs, {layout:?}: squared norm of a template over N t^2 / 12: {norm:.3}");
        // PRODUCT takes coefficients for uniform mod t: that must not be too little.
        assert!(norm < 1.0);
    }
    assert!((0.99..1.01).contains(&fresh) && (0.99..1.01).contains(&product));

    let (count, sum, squares) = seen.flood;
    let (mean, variance) = (sum / count, squares / count);
    println!("{L} limbs, flood: {count} values, mean {mean:.4}, variance {variance:.4}");
    // A uniform value in [-1, 1] has variance 1/3 and its square 4/45; six sigma of each estimate,
    // and what the product's noise adds with Q54: (2^30.7 / 6 / 2^34)^2.
    assert!(mean.abs() < 6.0 * (1.0 / 3.0 / count).sqrt());
    let product = (PRODUCT as f64 / 6.0 / Blind::<L>::FLOOD as f64).powi(2);
    assert!((variance - 1.0 / 3.0 - product).abs() < 6.0 * (4.0 / 45.0 / count).sqrt());
}

#[test]
fn a_thousand_batches_q54() {
    within::<Q54>();
}

#[test]
fn a_thousand_batches_q81() {
    within::<Q81>();
}

fn random_message<const P: usize>(rng: &mut ChaCha20Rng) -> Box<Plaintext<P>> {
    let words: Vec<i64> = (0..P).flat_map(|_| random_words(rng)).collect();
    plaintext_of(&words)
}

/// The noise around what a ciphertext decrypts to.
fn around<const L: usize, const P: usize>(keys: &mut Keys<L, P>, x: &Ciphertext<L>) -> u128 {
    let message = plaintext_of::<P>(&keys.decrypt(x));
    measure(kernels(), &keys.secret, x, &message, &mut keys.scratch)
}

/// Fresh encryptions of either degree, and what a key switch adds: to ciphertexts made with the secret
/// key, whose own noise is next to nothing.
fn key_switches<const L: usize, const P: usize>(runs: u8)
where
    Rns<L>: Switch,
{
    let k = kernels();
    let mut rng = rng(200 + L as u8);
    let (mut keygen, mut key) = (zeroed::<KeyGen<L>>(), zeroed::<GaloisKey<L>>());
    let (mut space, mut x) = (zeroed(), zeroed::<Ciphertext<L>>());
    let mut seeded = zeroed::<SeededCiphertext<L>>();
    let (mut fresh, mut turned) = (0, 0);
    for seed in 0..runs {
        let mut keys = Keys::<L, P>::new(seed);
        keygen.derive(k, &[seed; 32]);
        let message = random_message::<P>(&mut rng);
        let ciphertext = keys.encrypt(&message, &mut rng);
        fresh = fresh.max(measure(k, &keys.secret, &ciphertext, &message, &mut keys.scratch));
        for rotation in [1, 100, 1_234, -1].map(Rotation::Rows).into_iter().chain([Rotation::Swap])
        {
            keygen.galois(k, rotation, &mut key);
            keys.secret.encrypt(k, &message, &mut rng, &mut seeded, &mut keys.scratch);
            seeded.expand(k, &mut x);
            x.rotate(k, &key, &mut space, &mut keys.scratch);
            turned = turned.max(around(&mut keys, &x));
        }
    }
    // Of 10^5 to 10^6 samples the largest is above 4.2 sigma.
    hold::<L>("fresh", fresh, fresh_public::<L>(), 0.7);
    hold::<L>("key switch", turned, switch::<L>() + FRESH_SECRET, 0.7);
}

#[test]
fn key_switches_keep_their_bounds() {
    key_switches::<Q54, 1>(40);
    key_switches::<Q81, 1>(40);
    key_switches::<Q135, 2>(20);
}

/// Products with plaintexts, one after the other.
fn plaintext_products<const L: usize, const P: usize>(runs: u8) {
    let k = kernels();
    let mut rng = rng(240 + L as u8);
    let mut factor = zeroed::<Poly<L, Coeff>>();
    let bounds = in_a_row::<L>(multiplied_plain::<L>);
    let mut seen = vec![0; bounds.len()];
    for seed in 0..runs {
        let mut keys = Keys::<L, P>::new(seed);
        let mut x = keys.encrypt(&random_message(&mut rng), &mut rng);
        for seen in &mut seen {
            x.multiply_plain(k, random_message::<P>(&mut rng).to_multiplicand(k, &mut factor));
            *seen = around(&mut keys, &x).max(*seen);
        }
    }
    for (i, (seen, bound)) in seen.into_iter().zip(bounds).enumerate() {
        hold::<L>(&format!("with a plaintext, {}", i + 1), seen, bound, 0.5);
    }
}

#[test]
fn plaintext_products_keep_their_bounds() {
    plaintext_products::<Q54, 1>(40);
    plaintext_products::<Q81, 1>(40);
    plaintext_products::<Q108, 2>(20);
    plaintext_products::<Q135, 2>(20);
}

fn modulus_switches<const L: usize, const M: usize, const P: usize>(runs: u8) {
    let mut rng = rng(210 + L as u8);
    let mut small = zeroed::<Ciphertext<M>>();
    let mut seen = 0;
    for seed in 0..runs {
        let (mut keys, mut after) = (Keys::<L, P>::new(seed), Keys::<M, P>::new(seed));
        let x = keys.encrypt(&random_message(&mut rng), &mut rng);
        x.switch_modulus(kernels(), &mut small, &mut keys.scratch);
        seen = seen.max(around(&mut after, &small));
    }
    hold::<M>("modulus switch", seen, switched_modulus::<L>(fresh_public::<L>()), 0.6);
}

#[test]
fn modulus_switches_keep_their_bounds() {
    modulus_switches::<Q81, Q54, 1>(40);
    modulus_switches::<Q135, Q108, 2>(20);
}

/// Products of two fresh ciphertexts, and squares of squares: there the bounds are nearest, as the
/// operands' noise is the same.
fn products<const L: usize, const P: usize>(runs: u8, levels: usize)
where
    Rns<L>: Multiply,
{
    let k = kernels();
    let mut rng = rng(220 + L as u8);
    let (mut keygen, mut key) = (zeroed::<KeyGen<L>>(), zeroed::<RelinKey<L>>());
    let (mut product, mut tensor) = (zeroed::<Product<L>>(), zeroed::<Tensor<L>>());
    let mut space = zeroed();
    let mut once = 0;
    let mut squares = vec![0; levels];
    for seed in 0..runs {
        let mut keys = Keys::<L, P>::new(seed);
        keygen.derive(k, &[seed; 32]);
        keygen.relin(k, &mut key);
        let [mut x, mut y] = [0; 2].map(|_| keys.encrypt(&random_message(&mut rng), &mut rng));
        product.multiply(k, &x, &y, &mut tensor);
        product.relinearise(k, &key, &mut y, &mut space, &mut keys.scratch);
        once = once.max(around(&mut keys, &y));
        for largest in &mut squares {
            product.multiply(k, &x, &x, &mut tensor);
            product.relinearise(k, &key, &mut x, &mut space, &mut keys.scratch);
            *largest = (*largest).max(around(&mut keys, &x));
        }
    }
    let fresh = fresh_public::<L>();
    hold::<L>("product", once, multiplied::<L>(fresh, fresh) + switch::<L>(), 0.2);
    let mut bound = fresh;
    for (level, seen) in squares.into_iter().enumerate() {
        bound = multiplied::<L>(bound, bound) + switch::<L>();
        hold::<L>(&format!("square {}", level + 1), seen, bound, 0.3);
    }
}

#[test]
fn products_keep_their_bounds() {
    products::<Q81, 1>(100, 1);
    products::<Q135, 2>(50, 3);
}

/// Rotating a product and adding it doubles the coefficients of X^d, X^2d, .. each time: there the sum
/// is the fold's, and the noise d times as large.
#[test]
fn summed_blocks_keep_their_bound() {
    let k = kernels();
    let layout = Layout::D512;
    let mut rng = rng(230);
    let (mut keygen, mut space) = (zeroed::<KeyGen<Q81>>(), zeroed());
    let (mut plain, mut memory) = (zeroed(), zeroed::<Poly<Q81, Coeff>>());
    let mut seen = 0;
    for seed in 0..60 {
        let mut keys = Keys::<Q81>::new(seed);
        keygen.derive(k, &[seed; 32]);
        let galois: Vec<Box<GaloisKey<Q81>>> = layout
            .rotations()
            .map(|rotation| {
                let mut key = zeroed();
                keygen.galois(k, rotation, &mut key);
                key
            })
            .collect();
        let mut x = keys.encrypt(&random_message(&mut rng), &mut rng);
        let templates: Vec<Vec<i16>> =
            (0..layout.users()).map(|_| random_vector(layout, &mut rng)).collect();
        let templates =
            layout.encode_templates(k, slices(&templates), &mut plain, &mut memory).unwrap();
        x.multiply_plain(k, templates);
        x.rotate_sum(k, galois.iter().map(|key| &**key), &mut space, &mut keys.scratch);
        seen = seen.max(around(&mut keys, &x));
    }
    // Eight coefficients in 4096 grow so: 480 samples, whose largest is about 3 sigma.
    hold::<Q81>("summed", seen, 512 * (PRODUCT + switch::<Q81>()), 0.35);
}

/// log2 of Q/2t.
fn room<const L: usize>() -> f64 {
    let primes = Rns::<L>::PRIMES.iter().take(Rns::<L>::COUNT);
    primes.map(|p| f64::from(p.q()).log2()).sum::<f64>() - (2.0 * T as f64).log2()
}

/// The noise of a fresh ciphertext after each of the operations, one after the other, while it fits.
fn in_a_row<const L: usize>(operation: impl Fn(u128) -> u128) -> Vec<u128> {
    let noise = std::iter::successors(Some(fresh_public::<L>()), |&a| Some(operation(a)));
    noise.skip(1).take_while(|&a| bits(a) < room::<L>()).collect()
}

fn bits(x: u128) -> f64 {
    (x as f64).log2()
}

fn row(name: &str, cells: [impl Display; 4]) -> String {
    let cells: String = cells.iter().map(|cell| format!(" {cell} |")).collect();
    format!("| {name} |{cells}")
}

/// The tables in the documentation of `bfv` say what the bounds say.
#[test]
fn documented_noise_is_that_of_the_bounds() {
    let (f54, f81, f108, f135) = (
        fresh_public::<Q54>(),
        fresh_public::<Q81>(),
        fresh_public::<Q108>(),
        fresh_public::<Q135>(),
    );
    let rooms = [room::<Q54>(), room::<Q81>(), room::<Q108>(), room::<Q135>()];
    let bits_of = |name: &str, noise: [u128; 4]| {
        let cell = |x| if x == 0 { String::new() } else { format!("{:.1}", bits(x)) };
        row(name, noise.map(cell))
    };
    let squares = [
        in_a_row::<Q81>(|a| multiplied::<Q81>(a, a).saturating_add(switch::<Q81>())),
        in_a_row::<Q135>(|a| multiplied::<Q135>(a, a).saturating_add(switch::<Q135>())),
    ];
    let switched = [switched_modulus::<Q81>(f81), switched_modulus::<Q135>(f135)];
    let plain = [
        in_a_row::<Q54>(multiplied_plain::<Q54>),
        in_a_row::<Q81>(multiplied_plain::<Q81>),
        in_a_row::<Q108>(multiplied_plain::<Q108>),
        in_a_row::<Q135>(multiplied_plain::<Q135>),
    ];
    // Doublings that fit, and that add up this many at most.
    let most = |noise: u128, room: f64, slots: u128| (room - bits(noise)).min(bits(slots)) as u32;
    let rows = [
        row("room: Q/2t", rooms.map(|x| format!("{x:.1}"))),
        bits_of("[`encrypt`]: starts at", [f54, f81, f108, f135]),
        bits_of("[`SecretKey::encrypt`]: starts at", [FRESH_SECRET; 4]),
        bits_of(
            "[`rotate`](Ciphertext::rotate), [`relinearise`](Product::relinearise): adds",
            [switch::<Q54>(), switch::<Q81>(), 0, switch::<Q135>()],
        ),
        bits_of(
            "[`multiply_plain`](Ciphertext::multiply_plain) of a fresh one: comes to",
            [plain[0][0], plain[1][0], plain[2][0], plain[3][0]],
        ),
        bits_of(
            "[`multiply`](Product::multiply) of two fresh ones: comes to",
            [0, squares[0][0], 0, squares[1][0]],
        ),
        bits_of("a product of two such: comes to", [0, 0, 0, squares[1][1]]),
        bits_of("a product of two of those: comes to", [0, 0, 0, squares[1][2]]),
        bits_of(
            "[`switch_modulus`](Ciphertext::switch_modulus) to this set: leaves at least",
            [switched[0], 0, switched[1], 0],
        ),
        row(
            "sums: log2 of how many",
            [(0, f54), (1, f81), (2, f108), (3, f135)].map(|(i, a)| most(a, rooms[i], u128::MAX)),
        ),
        row("products with plaintexts in a row", plain.each_ref().map(Vec::len)),
        row("products of ciphertexts in a row", [0, squares[0].len(), 0, squares[1].len()]),
        row(
            "keys of [`rotate_sum`](Ciphertext::rotate_sum) after one with a plaintext",
            [
                most(plain[0][0] + switch::<Q54>(), rooms[0], 4096).to_string(),
                most(plain[1][0] + switch::<Q81>(), rooms[1], 4096).to_string(),
                String::new(),
                most(plain[3][0] + switch::<Q135>(), rooms[3], 8192).to_string(),
            ],
        ),
        row(
            "the same after one of ciphertexts",
            [
                String::new(),
                most(squares[0][0] + switch::<Q81>(), rooms[1], 4096).to_string(),
                String::new(),
                most(squares[1][0] + switch::<Q135>(), rooms[3], 8192).to_string(),
            ],
        ),
    ];
    let docs = include_str!("../src/bfv/mod.rs");
    let wrong: Vec<_> =
        rows.iter().filter(|row| !docs.lines().any(|line| line == format!("//! {row}"))).collect();
    assert!(wrong.is_empty(), "bfv/mod.rs lacks:\n{wrong:#?}");
}
