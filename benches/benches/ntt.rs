//! Transforms and pointwise products of one limb.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use rand_core::Rng;
use symbolon_benches::{iter_limbs, kernels, rng, zero};
use symbolon_core::bfv::Q54;
use symbolon_core::ntt::{N, PLANS};
use symbolon_core::poly::{Coeff, Eval, Mont, Poly};

const LIMBS: u32 = Q54 as u32;

fn words() -> Box<[[u32; N]; Q54]> {
    let (mut rng, mut words) = (rng(), zero::<[[u32; N]; Q54]>());
    for (limb, plan) in words.iter_mut().zip(&PLANS) {
        limb.fill_with(|| rng.next_u32() % plan.prime.q());
    }
    words
}

fn transforms(c: &mut Criterion) {
    let words = words();
    for k in kernels() {
        let mut coeffs = zero::<Poly<Q54, Coeff>>();
        coeffs.set_limbs(&words).expect("canonical");
        coeffs.forward(k).inverse(k);
        assert!(*coeffs.limbs() == *words, "inverse(forward(x)) = x");
    }

    let mut group = c.benchmark_group("ntt/forward");
    for k in kernels() {
        let mut coeffs = zero::<Poly<Q54, Coeff>>();
        coeffs.set_limbs(&words).expect("canonical");
        group.bench_function(k.isa(), |b| {
            iter_limbs(b, LIMBS, || coeffs.forward(k).limbs()[0][0]);
        });
    }
    #[cfg(feature = "peers")]
    symbolon_benches::peers::tfhe::forward(&mut group, &words[0]);
    group.finish();

    let mut group = c.benchmark_group("ntt/inverse");
    for k in kernels() {
        let mut values = zero::<Poly<Q54, Eval>>();
        values.set_limbs(&words).expect("canonical");
        group.bench_function(k.isa(), |b| {
            iter_limbs(b, LIMBS, || values.inverse(k).limbs()[0][0]);
        });
    }
    #[cfg(feature = "peers")]
    symbolon_benches::peers::tfhe::inverse(&mut group, &words[0]);
    group.finish();
}

fn pointwise(c: &mut Criterion) {
    let words = words();
    let mut group = c.benchmark_group("ntt/pointwise");
    for k in kernels() {
        let (mut a, mut b) = (zero::<Poly<Q54, Eval>>(), zero::<Poly<Q54, Mont>>());
        let mut product = zero::<Poly<Q54, Eval>>();
        a.set_limbs(&words).expect("canonical");
        b.set_limbs(&words).expect("canonical");
        product.set_product(k, &a, &b);
        for ((limb, product), plan) in words.iter().zip(product.limbs()).zip(&PLANS) {
            let q = u64::from(plan.prime.q());
            for (&x, &p) in limb.iter().zip(product) {
                let (x, p) = (u64::from(x), u64::from(p));
                assert!((p << 32) % q == x * x % q, "a product is a b 2^-32");
            }
        }
        group.bench_function(k.isa(), |bench| {
            iter_limbs(bench, LIMBS, || product.set_product(k, &a, &b));
        });
    }
    #[cfg(feature = "peers")]
    symbolon_benches::peers::tfhe::pointwise(&mut group, &words[0]);
    group.finish();
}

criterion_group!(benches, transforms, pointwise);
criterion_main!(benches);
