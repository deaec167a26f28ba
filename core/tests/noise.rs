//! Noise against its stated bounds: 1,000 random batches for each parameter set, measured with the
//! secret key after every operation. `--nocapture` shows the maxima.
//!
//! Bounds that nothing comes near would hide a mistake as well as bounds that are passed: each
//! maximum must also reach a stated part of its bound.

mod common;

use common::*;
use rand_core::Rng;
use std::thread;
use symbolon_core::bfv::noise::{
    FRESH_PUBLIC, FRESH_SECRET, PRODUCT, folded, folded_scores, folded_values, measure,
};
use symbolon_core::bfv::{Ciphertext, Q54, Q81, SeededCiphertext};
use symbolon_core::matching::{Blind, fold};
use symbolon_core::poly::{Coeff, Poly};

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

fn within<const L: usize>() {
    let seen = all_batches::<L>();
    let bits = |x: u128| (x as f64).log2();
    let hold = |what: &str, seen: u128, bound: u128, least: f64| {
        println!(
            "{} limbs, {what}: 2^{:.2} of 2^{:.2} ({:.3})",
            L,
            bits(seen),
            bits(bound),
            seen as f64 / bound as f64
        );
        assert!(seen <= bound, "{what}: {seen} above the bound {bound}");
        assert!(seen as f64 >= least * bound as f64, "{what}: {seen} far below {bound}");
    };
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
