//! The batch under mimalloc: nothing on its path allocates, so nothing should change.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use mimalloc::MiMalloc;
use symbolon_benches::{Pipeline, kernels};
use symbolon_core::bfv::Q54;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn allocator(c: &mut Criterion) {
    let mut group = c.benchmark_group("rejected/batch-mimalloc");
    for k in kernels() {
        let mut pipeline = Pipeline::<Q54>::new(k);
        let users = pipeline.users();
        group.bench_function(k.isa(), |b| b.iter(|| pipeline.run(users)));
    }
    group.finish();
}

criterion_group!(benches, allocator);
criterion_main!(benches);
