//! BFV operations, both parameter sets.
#![allow(missing_docs)]

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use symbolon_benches::{Batch, kernels, keys, rng, zero};
use symbolon_core::bfv::{
    Ciphertext, Plaintext, PublicKey, Q54, Q81, SecretKey, encrypt, generate, params,
};
use symbolon_core::kernel::Kernels;
use symbolon_core::poly::{Coeff, Poly};

fn set<const L: usize>(group: &mut BenchmarkGroup<'_, WallTime>, k: &Kernels) {
    let (mut secret, mut public) = (zero::<SecretKey<L>>(), zero::<PublicKey<L>>());
    let mut scratch = zero::<Poly<L, Coeff>>();
    group.bench_function("keygen", |b| {
        b.iter(|| generate(k, &[1; 32], &mut secret, &mut public, &mut scratch));
    });

    let (secret, public) = keys::<L>(k);
    let mut rng = rng();
    let (mut message, mut decrypted) = (zero::<Plaintext>(), zero::<Plaintext>());
    let mut ciphertext = zero::<Ciphertext<L>>();
    let batch = Batch::new();
    let probes = || batch.probes.iter().map(Vec::as_slice);
    batch.layout.encode_probes(k, probes(), &mut message).expect("fits");
    encrypt(k, &public, &message, &mut rng, &mut ciphertext, &mut scratch);
    secret.decrypt(k, &ciphertext, &mut decrypted, &mut scratch);
    assert!(decrypted.coeffs() == message.coeffs(), "decrypts to what was encrypted");
    group.bench_function("encrypt", |b| {
        b.iter(|| encrypt(k, &public, &message, &mut rng, &mut ciphertext, &mut scratch));
    });
    group.bench_function("decrypt", |b| {
        b.iter(|| secret.decrypt(k, &ciphertext, &mut decrypted, &mut scratch));
    });
    let factor = message.to_multiplicand(k, &mut scratch);
    group.bench_function("multiply-plain", |b| b.iter(|| ciphertext.multiply_plain(k, factor)));
}

fn bfv(c: &mut Criterion) {
    for k in kernels() {
        let name = |set| format!("bfv/{}/{set}", k.isa());
        set::<Q54>(&mut c.benchmark_group(name(params::name::<Q54>())), k);
        set::<Q81>(&mut c.benchmark_group(name(params::name::<Q81>())), k);
    }
}

criterion_group!(benches, bfv);
criterion_main!(benches);
