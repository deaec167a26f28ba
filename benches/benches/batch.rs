//! A batch of people, embeddings to decisions: fresh randomness, re-randomised and flooded. Signing
//! is not in it.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use symbolon_benches::{Ahead, Pipeline, kernels, name, zero};
use symbolon_core::bfv::{Q54, Q81};
use symbolon_core::poly::{Mont, Poly};

/// A pipeline for each capability, whose decisions were checked.
fn pipelines<const L: usize>() -> Vec<Pipeline<L>> {
    let checked = |k| {
        let (mut pipeline, mut ahead) = (Pipeline::<L>::new(k), Ahead::new());
        for users in 1..=pipeline.users() {
            pipeline.prepare(&mut ahead);
            for found in [pipeline.run(users), pipeline.run_pooled(&mut ahead, users)] {
                assert_eq!(found, pipeline.expected(users), "decisions equal the clear ones");
            }
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

/// Encryptions of zero and re-randomisations made ahead, off the clock, as many as a pool might hold:
/// with fewer they would still be in the first caches.
fn pooled<const L: usize>(c: &mut Criterion) {
    let mut pool: Vec<_> = (0..32).map(|_| Ahead::<L>::new()).collect();
    let mut group = c.benchmark_group(name::<L>("batch/sealed-probe-pooled"));
    for p in &mut pipelines() {
        let users = p.users();
        group.bench_function(p.isa(), |b| {
            b.iter_custom(|iterations| {
                let (mut spent, mut left) = (Duration::ZERO, iterations as usize);
                while left > 0 {
                    let count = left.min(pool.len());
                    left -= count;
                    let ready = &mut pool[..count];
                    ready.iter_mut().for_each(|ahead| p.prepare(ahead));
                    let start = Instant::now();
                    for ahead in ready {
                        black_box(p.run_pooled(ahead, users));
                    }
                    spent += start.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
}

/// Times a step of its own, after another that is not timed.
fn after<const L: usize>(
    b: &mut Bencher<'_>,
    p: &mut Pipeline<L>,
    before: impl Fn(&mut Pipeline<L>),
    step: impl Fn(&mut Pipeline<L>),
) {
    b.iter_custom(|iterations| {
        let mut spent = Duration::ZERO;
        for _ in 0..iterations {
            before(p);
            let start = Instant::now();
            step(p);
            spent += start.elapsed();
        }
        spent
    });
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
    let mut group = c.benchmark_group(stage("zero"));
    for p in &mut pipelines {
        group.bench_function(p.isa(), |b| b.iter(|| p.zero()));
    }
    group.finish();
    let mut group = c.benchmark_group(stage("add"));
    for p in &mut pipelines {
        p.encode(p.users());
        group.bench_function(p.isa(), |b| after(b, p, Pipeline::zero, Pipeline::add));
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
        let fold = |p: &mut Pipeline<L>| {
            black_box(p.fold(&factor));
        };
        group.bench_function(p.isa(), |b| after(b, p, Pipeline::blind, fold));
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

criterion_group!(whole_batch, whole::<Q54>, pooled::<Q54>, whole::<Q81>, pooled::<Q81>);
criterion_group!(parts, stages::<Q54>, stages::<Q81>, fill);
criterion_main!(whole_batch, parts);
