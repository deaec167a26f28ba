//! Whole batches on more and more cores: a round is one batch on each thread.
#![allow(missing_docs)]

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use symbolon_benches::{Pipeline, best};
use symbolon_core::bfv::Q54;
use symbolon_core::kernel::Kernels;

/// The wall time of `rounds` batches on each of `threads` threads.
fn timed(k: &'static Kernels, threads: usize, rounds: u64) -> Duration {
    let ready = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let worker = || {
            let mut pipeline = Pipeline::<Q54>::new(k);
            let users = pipeline.users();
            let expected = pipeline.expected(users);
            assert_eq!(pipeline.run(users), expected, "right decisions");
            ready.wait();
            for _ in 0..rounds {
                std::hint::black_box(pipeline.run(users));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        ready.wait();
        let start = Instant::now();
        for worker in workers {
            worker.join().expect("right decisions");
        }
        start.elapsed()
    })
}

fn scaling(c: &mut Criterion) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let best = best();
    let mut counts: Vec<_> = (0..).map(|i| 1 << i).take_while(|&n| n < cores).collect();
    counts.push(cores);
    for threads in counts {
        let mut group = c.benchmark_group(format!("scaling/{threads}"));
        group.throughput(Throughput::Elements(threads as u64));
        group.bench_function(best.isa(), |b| b.iter_custom(|rounds| timed(best, threads, rounds)));
        group.finish();
    }
}

criterion_group!(benches, scaling);
criterion_main!(benches);
