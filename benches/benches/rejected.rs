//! What was tried and not taken, beside what was.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use symbolon_benches::{Pipeline, kernels, zero};
use symbolon_core::bfv::Q54;
use symbolon_core::poly::{Coeff, Poly};

/// Four transforms (two polynomials of two limbs): one after another, and as two tasks on two cores.
fn parallel_limbs(c: &mut Criterion) {
    let mut operands = [zero::<Poly<Q54, Coeff>>(), zero::<Poly<Q54, Coeff>>()];
    let [a, b] = &mut operands;
    let mut group = c.benchmark_group("rejected/four-transforms");
    for k in kernels() {
        group.bench_function(k.isa(), |bench| {
            bench.iter(|| (a.forward(k).limbs()[0][0], b.forward(k).limbs()[0][0]));
        });
    }
    group.finish();
    let mut group = c.benchmark_group("rejected/four-transforms-rayon");
    for k in kernels() {
        group.bench_function(k.isa(), |bench| {
            bench
                .iter(|| rayon::join(|| a.forward(k).limbs()[0][0], || b.forward(k).limbs()[0][0]));
        });
    }
    group.finish();
}

/// The batch under this program's allocator; `mimalloc.rs` has it under another.
fn allocator(c: &mut Criterion) {
    let mut group = c.benchmark_group("rejected/batch-system-allocator");
    for k in kernels() {
        let mut pipeline = Pipeline::<Q54>::new(k);
        let users = pipeline.users();
        group.bench_function(k.isa(), |b| b.iter(|| pipeline.run(users)));
    }
    group.finish();
}

criterion_group!(benches, parallel_limbs, allocator);
criterion_main!(benches);
