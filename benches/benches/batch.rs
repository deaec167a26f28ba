//! A batch of 32 people, by stage and in all: from embeddings to decisions, fresh randomness,
//! re-randomised and flooded. Signing is not in it.
#![allow(missing_docs)]

use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main,
};
use symbolon_benches::{Batch, kernels, keys, rng, zero};
use symbolon_core::bfv::{Ciphertext, Plaintext, Q54, Q81, encrypt, params};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Blind, Threshold, fold, quantise};
use symbolon_core::poly::{Coeff, Poly};

fn set<const L: usize>(group: &mut BenchmarkGroup<'_, WallTime>, k: &Kernels) {
    let batch = Batch::new();
    let layout = batch.layout;
    let threshold = Threshold::from_cosine(layout, 0.5).expect("a cosine");
    let want = batch.accepted(threshold.score());
    assert!(want != 0 && want != u32::MAX, "the batch has accepts and rejects");
    let (secret, public) = keys::<L>(k);
    let mut rng = rng();
    let (mut plain, mut scratch) = (zero::<Plaintext>(), zero::<Poly<L, Coeff>>());
    let mut ciphertext = zero::<Ciphertext<L>>();
    let (mut poly, mut blind) = (zero::<Poly<L, Coeff>>(), zero::<Blind<L>>());
    let mut quantised = vec![vec![0i16; layout.dims()]; layout.users()];
    let templates = || batch.templates.iter().map(Vec::as_slice);

    let mut whole = || {
        for (embedding, out) in batch.embeddings.iter().zip(&mut quantised) {
            quantise(layout, embedding, out).expect("usable");
        }
        let probes = quantised.iter().map(Vec::as_slice);
        layout.encode_probes(k, probes, &mut plain).expect("fits");
        encrypt(k, &public, &plain, &mut rng, &mut ciphertext, &mut scratch);
        blind.prepare(k, &public, layout, &[7; 32], &mut scratch);
        let factor = layout.encode_templates(k, templates(), &mut plain, &mut poly).expect("fits");
        let folded = fold(k, &ciphertext, factor, &mut blind).expect("fresh");
        secret.decide(k, folded, u32::MAX, threshold).accepted
    };
    assert_eq!(whole(), want, "every decision equals the clear computation");
    group.throughput(Throughput::Elements(layout.users() as u64));
    group.bench_function("total", |b| b.iter(&mut whole));

    let mut quantised = vec![vec![0i16; layout.dims()]; layout.users()];
    group.bench_function("encrypt", |b| {
        b.iter(|| {
            for (embedding, out) in batch.embeddings.iter().zip(&mut quantised) {
                quantise(layout, embedding, out).expect("usable");
            }
            let probes = quantised.iter().map(Vec::as_slice);
            layout.encode_probes(k, probes, &mut plain).expect("fits");
            encrypt(k, &public, &plain, &mut rng, &mut ciphertext, &mut scratch);
        });
    });
    group.bench_function("blind", |b| {
        b.iter(|| blind.prepare(k, &public, layout, &[7; 32], &mut scratch));
    });
    group.bench_function("templates", |b| {
        b.iter(|| {
            let made = layout.encode_templates(k, templates(), &mut plain, &mut poly);
            made.expect("fits").limbs()[0][0]
        });
    });
    let factor = layout.encode_templates(k, templates(), &mut plain, &mut poly).expect("fits");
    let fresh = || {
        let mut blind = zero::<Blind<L>>();
        blind.prepare(k, &public, layout, &[7; 32], &mut zero());
        blind
    };
    group.bench_function("fold", |b| {
        b.iter_batched_ref(
            fresh,
            |blind| fold(k, &ciphertext, factor, blind).is_ok(),
            BatchSize::PerIteration,
        );
    });
    let mut blind = fresh();
    let folded = fold(k, &ciphertext, factor, &mut blind).expect("fresh");
    assert_eq!(secret.decide(k, folded, u32::MAX, threshold).accepted, want);
    group.bench_function("decide", |b| {
        b.iter(|| secret.decide(k, folded, u32::MAX, threshold).accepted);
    });
}

fn batches(c: &mut Criterion) {
    for k in kernels() {
        let name = |set| format!("batch/{}/sealed-probe/{set}", k.isa());
        set::<Q54>(&mut c.benchmark_group(name(params::name::<Q54>())), k);
        set::<Q81>(&mut c.benchmark_group(name(params::name::<Q81>())), k);
    }
}

criterion_group!(benches, batches);
criterion_main!(benches);
