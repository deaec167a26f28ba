//! Transforms and pointwise products: two limbs a call, reported as one limb.
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand_core::Rng;
use symbolon_benches::{kernels, rng, zero};
use symbolon_core::bfv::Q54;
use symbolon_core::ntt::{N, PLANS};
use symbolon_core::poly::{Coeff, Eval, Mont, Poly};

fn ntt(c: &mut Criterion) {
    let mut rng = rng();
    let mut words = zero::<[[u32; N]; 2]>();
    for (limb, plan) in words.iter_mut().zip(&PLANS) {
        limb.fill_with(|| rng.next_u32() % plan.prime.q());
    }
    for k in kernels() {
        let mut group = c.benchmark_group(format!("ntt/{}", k.isa()));
        // Two limbs an iteration: criterion's rate is transforms a second.
        group.throughput(Throughput::Elements(Q54 as u64));
        let mut coeffs = zero::<Poly<Q54, Coeff>>();
        coeffs.set_limbs(&words).expect("canonical");
        coeffs.forward(k).inverse(k);
        assert!(*coeffs.limbs() == *words, "inverse(forward(x)) = x");
        group.bench_function("forward", |b| b.iter(|| coeffs.forward(k).limbs()[0][0]));

        let mut values = zero::<Poly<Q54, Eval>>();
        values.set_limbs(&words).expect("canonical");
        group.bench_function("inverse", |b| b.iter(|| values.inverse(k).limbs()[0][0]));

        let (mut factor, mut product) = (zero::<Poly<Q54, Mont>>(), zero::<Poly<Q54, Eval>>());
        factor.set_limbs(&words).expect("canonical");
        values.set_limbs(&words).expect("canonical");
        product.set_product(k, &values, &factor);
        let q = u64::from(PLANS[0].prime.q());
        let (x, p) = (u64::from(words[0][0]), u64::from(product.limbs()[0][0]));
        assert!((p << 32) % q == x * x % q, "a product is a b 2^-32");
        group.bench_function("pointwise", |b| {
            b.iter(|| product.set_product(k, &values, &factor));
        });
    }
}

criterion_group!(benches, ntt);
criterion_main!(benches);
