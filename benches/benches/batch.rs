//! A batch of people, embeddings to decisions: fresh randomness, re-randomised and flooded. Signing
//! is not in it.
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use symbolon_benches::{Pipeline, kernels, name, zero};
use symbolon_core::bfv::{Q54, Q81};
use symbolon_core::poly::{Mont, Poly};

/// A pipeline for each capability, whose decisions were checked.
fn pipelines<const L: usize>() -> Vec<Pipeline<L>> {
    let checked = |k| {
        let mut pipeline = Pipeline::<L>::new(k);
        for users in 1..=pipeline.users() {
            let (found, expected) = (pipeline.run(users), pipeline.expected(users));
            assert_eq!(found, expected, "every decision equals the clear computation");
        }
        pipeline
    };
    kernels().into_iter().map(checked).collect()
}

fn whole<const L: usize>(c: &mut Criterion) {
    let mut pipelines = pipelines::<L>();

    let mut group = c.benchmark_group(name::<L>("batch/sealed-probe"));
    for p in &mut pipelines {
        let users = p.users();
        group.bench_function(p.isa(), |b| b.iter(|| p.run(users)));
    }
    #[cfg(feature = "peers")]
    if L == Q54 {
        symbolon_benches::peers::fhe_rs::batch(&mut group);
    }
    group.finish();
}

fn stages<const L: usize>(c: &mut Criterion) {
    let mut pipelines = pipelines::<L>();
    let stage = |stage: &str| name::<L>(&format!("stage/{stage}"));

    let mut group = c.benchmark_group(stage("encode"));
    for p in &mut pipelines {
        let users = p.users();
        group.bench_function(p.isa(), |b| b.iter(|| p.encode(users)));
    }
    group.finish();
    let mut group = c.benchmark_group(stage("encrypt"));
    for p in &mut pipelines {
        p.encode(p.users());
        group.bench_function(p.isa(), |b| b.iter(|| p.encrypt()));
    }
    group.finish();
    let mut group = c.benchmark_group(stage("blind"));
    for p in &mut pipelines {
        group.bench_function(p.isa(), |b| b.iter(|| p.blind()));
    }
    group.finish();
    let mut group = c.benchmark_group(stage("templates"));
    for p in &mut pipelines {
        let users = p.users();
        group.bench_function(p.isa(), |b| b.iter(|| p.templates(users).limbs()[0][0]));
    }
    group.finish();
    let mut group = c.benchmark_group(stage("fold"));
    for p in &mut pipelines {
        let mut factor = zero::<Poly<L, Mont>>();
        factor.copy_from(p.templates(p.users()));
        group.bench_function(p.isa(), |b| {
            b.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                for _ in 0..iterations {
                    p.blind();
                    let start = Instant::now();
                    p.fold(&factor);
                    spent += start.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group(stage("decide"));
    for p in &mut pipelines {
        let folded = p.folded();
        let users = p.users();
        group.bench_function(p.isa(), |b| b.iter(|| p.decide(&folded, users)));
    }
    group.finish();
}

fn fill(c: &mut Criterion) {
    let mut pipelines = pipelines::<Q54>();
    for users in [1, 2, 4, 8, 16, 32] {
        let mut group = c.benchmark_group(format!("fill/{users}"));
        for p in &mut pipelines {
            group.bench_function(p.isa(), |b| b.iter(|| p.run(users)));
        }
        group.finish();
    }
}

criterion_group!(benches, whole::<Q54>, whole::<Q81>, stages::<Q54>, stages::<Q81>, fill);
criterion_main!(benches);
