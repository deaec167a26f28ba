//! Pools of keys: what taking one ready costs, against making it when it is asked for.
//!
//! | row | timed |
//! |---|---|
//! | `pool/acquire` | a key taken and given back, one thread: state, policy, counters |
//! | `pool/acquire-contended` | the same, two threads at one pool |
//! | `pool/acquire-contended-p50`, `-p99`, `-p99.9` | percentiles of single ones among those |
//! | `pool/acquire-sharded` | two threads, a pool each: as the host does |
//! | `pool/by-value` | a key of 32 KB: ours stays where it is |
//! | `pool/supply` | the host's supply: its clock, the choice of a shard, a counted reference to the pool |
//! | `pool/supply-threads` | the same from two threads, a shard each |
//! | `pool/direct/KIND` | a key made, with nothing ready |
//! | `pool/pooled/KIND` | a key taken that serves once, and wiped; made before, off the clock |
//! | `pool/first-use/KIND` | the same, used in between: what is held compact is expanded |
//! | `pool/dry/KIND` | a supply that has none: the miss, the key made, taken and wiped |
//! | `pool/cold/KIND` | a sealed key opened into a pool, where the kind has a cold tier |
//! | `pool/lifo` | of 50,000 keys of 2,400 bytes the one given back last: taken, read, given back |
//! | `pool/fifo` | the one given back first, by the same calls at the same pool: from 125 MB, not from the cache |
//! | `pool/lifo-once`, `pool/fifo-once` | so many of ML-KEM-768: a key made, one decapsulated with, that one wiped |
//!
//! Of two threads: the time in which each of them has done one, so that two which do not disturb each other
//! show the time of one.
//!
//! Percentiles: a clock is too slow for a single exchange, so groups of 8 are timed, less what reading the
//! clock takes, and a group's eighth counts. A stall shows as an eighth of itself, in one group.
//!
//! A pop is not a key generation: `direct` and `pooled` do different work at different times. Peers hand out
//! indices and nothing else, so the difference to them is the price of state, ages, counts and wiping.
#![allow(missing_docs)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use symbolon_benches::pool::{Exchange, Leases, MEMORY, Plain, full};
use symbolon_benches::{best, rng, zero};
use symbolon_core::kem::{CIPHERTEXT_SIZE, Decapsulate, SECRET_SIZE};
use symbolon_core::pool::{Lease, Material, Policy, Pool};
use symbolon_host::error::Result;
use symbolon_host::families::mlkem::DecapsulationKey;
use symbolon_host::pools::trial::{self, Trial, Visitor, together};
use symbolon_host::pools::{Config, Failure, Supply};
use symbolon_platform::pool::LockedPool;

const ANY: &str = "any";

/// Of the contended rows.
const THREADS: usize = 2;
/// Exchanges timed together.
const GROUP: usize = 8;
/// Groups of a thread in a sample of percentiles.
const GROUPS: usize = 50_000;

fn exchanges(c: &mut Criterion) {
    acquire::<Leases<2400>>(c);
    #[cfg(feature = "peers")]
    {
        use symbolon_benches::peers::indices::{Locked, Queue, Stack};
        acquire::<Queue>(c);
        acquire::<Locked>(c);
        acquire::<Stack>(c);
    }
    by_value::<Leases<32_768>>(c);
    #[cfg(feature = "peers")]
    by_value::<symbolon_benches::peers::indices::Values<32_768>>(c);
}

fn acquire<E: Exchange>(c: &mut Criterion) {
    let [own, other] = [E::new(), E::new()];
    c.benchmark_group("pool/acquire").bench_function(E::WHO, |b| b.iter(|| own.pair()));
    c.benchmark_group("pool/acquire-contended").bench_function(E::WHO, |b| {
        b.iter_custom(|rounds| together(THREADS, |_| (0..rounds).for_each(|_| own.pair())).0);
    });
    for (name, part) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let mut group = c.benchmark_group(format!("pool/acquire-contended-{name}"));
        group.bench_function(E::WHO, |b| {
            b.iter_custom(|rounds| Duration::from_secs_f64(percentile(&own, part) * rounds as f64));
        });
    }
    c.benchmark_group("pool/acquire-sharded").bench_function(E::WHO, |b| {
        let pools = [&own, &other];
        b.iter_custom(|rounds| {
            together(THREADS, |at| (0..rounds).for_each(|_| pools[at].pair())).0
        });
    });
    assert!(own.is_complete() && other.is_complete(), "{}: all are there, each once", E::WHO);
}

/// This percentile of the seconds that an exchange takes, of two threads'.
fn percentile(exchange: &impl Exchange, part: f64) -> f64 {
    let (_, times) = together(THREADS, |_| {
        let mut times = vec![Instant::now(); GROUPS + 1];
        for time in &mut times {
            (0..GROUP).for_each(|_| exchange.pair());
            *time = Instant::now();
        }
        times
    });
    let between = |times: &[Instant]| times[1] - times[0];
    let mut groups: Vec<_> = times.iter().flat_map(|times| times.windows(2).map(between)).collect();
    groups.sort_unstable();
    let at = (groups.len() as f64 * part) as usize;
    groups[at].saturating_sub(clock()).as_secs_f64() / GROUP as f64
}

/// What a reading of the clock takes: the median of many.
fn clock() -> Duration {
    let times: Vec<_> = (0..1001).map(|_| Instant::now()).collect();
    let mut between: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    between.sort_unstable();
    between[500]
}

fn by_value<E: Exchange>(c: &mut Criterion) {
    let pool = E::new();
    c.benchmark_group("pool/by-value").bench_function(E::WHO, |b| b.iter(|| pool.pair()));
    assert!(pool.is_complete(), "{}: all are there", E::WHO);
}

/// A supply without a cold tier and with nobody but its consumers.
fn settings<T: Material>(shards: u32, hot: u32) -> Config {
    Config {
        shards,
        hot,
        warm: 0,
        cold: 0,
        replenishers: 0,
        memory: MEMORY,
        ..Config::of::<T>(shards as usize)
    }
}

fn supplies(c: &mut Criterion) {
    for (name, threads) in [("pool/supply", 1), ("pool/supply-threads", THREADS)] {
        let config = Config {
            max_uses: None,
            ..settings::<Plain<2400>>(threads as u32, 64 * threads as u32)
        };
        let supply = Supply::<Plain<2400>>::start(config, || Ok(())).expect("a supply");
        supply.fill(&mut (), &mut |_| ()).expect("keys");
        let pair = || drop(black_box(supply.acquire().expect("a key")));
        let mut group = c.benchmark_group(name);
        group.bench_function(ANY, |b| match threads {
            1 => b.iter(pair),
            _ => b.iter_custom(|rounds| together(threads, |_| (0..rounds).for_each(|_| pair())).0),
        });
        group.finish();
        let status = supply.status();
        assert_eq!((status.level, status.misses), (64 * threads as u32, 0), "all are there");
    }
}

/// Keys made before the clock starts.
const READY: u32 = 16;
/// The same, where each is used: SLH-DSA signs for 11 ms.
const USED: u32 = 4;
/// Sealed keys opened together.
const SEALED: u32 = 16;

/// Every kind with the smaller set, and encryptions of zero with the larger one.
fn kinds(c: &mut Criterion) {
    let wanted = |name: &str| !name.ends_with("q81") || name.starts_with("bfv-zero");
    trial::each(best(), wanted, &mut Kinds(c)).expect("every kind works");
}

struct Kinds<'a>(&'a mut Criterion);

impl Visitor for Kinds<'_> {
    fn visit<T: Material, D: Trial<T>>(
        &mut self,
        desks: impl Fn() -> std::result::Result<D, Failure> + Clone + Send + Sync + 'static,
    ) -> Result<()> {
        let own = ["bfv-", "blind-"].iter().any(|start| T::NAME.starts_with(start));
        let by = if own { best().isa() } else { ANY };
        let name = |what: &str| format!("pool/{what}/{}", T::NAME);
        let (mut desk, mut rng, mut key) = (desks()?, rng(), zero::<T>());
        let make = |key: &mut T, desk: &mut D, rng: &mut _| {
            key.generate(&mut desk.maker(), rng).expect("makes a key");
        };
        make(&mut key, &mut desk, &mut rng);
        assert!(desk.check(&mut key)?, "{}: right", T::NAME);

        let mut group = self.0.benchmark_group(name("direct"));
        group.bench_function(by, |b| b.iter(|| make(&mut key, &mut desk, &mut rng)));
        group.finish();
        drop(key);

        let once = |cells| Policy { max_uses: Some(NonZeroU32::MIN), ..Policy::new(cells) };
        let mut drained = |what, cells, work: &mut dyn FnMut(&mut T, &mut D)| {
            let pool = LockedPool::<T>::new(cells, once(cells), MEMORY).expect("memory");
            let mut group = self.0.benchmark_group(name(what));
            group.bench_function(by, |b| {
                b.iter_custom(|rounds| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..rounds {
                        for _ in 0..cells {
                            pool.fill(0, |key| key.generate(&mut desk.maker(), &mut rng))
                                .expect("makes a key");
                        }
                        let start = Instant::now();
                        while let Ok(mut key) = pool.acquire(0) {
                            work(key.get_mut().expect("not shared"), &mut desk);
                        }
                        spent += start.elapsed();
                    }
                    spent / cells
                });
            });
            group.finish();
            let stats = pool.stats();
            assert_eq!((stats.acquired, stats.retired), (stats.filled, stats.filled), "each once");
        };
        drained("pooled", READY, &mut |key, _| {
            black_box(key);
        });
        drained("first-use", USED, &mut |key, desk| desk.spend(key).expect("a key"));

        if ["ml-kem-768-libcrux", "bfv-zero-q54"].contains(&T::NAME) {
            let supply = Supply::<T>::start(settings::<T>(1, USED), desks.clone())?;
            let mut group = self.0.benchmark_group(name("dry"));
            group.bench_function(by, |b| {
                b.iter(|| drop(supply.acquire_or_make(&mut desk).expect("a key")));
            });
            group.finish();
            assert_eq!(supply.status().hits, 0, "always dry");
        }

        if Config::of::<T>(1).cold > 0 {
            let mut group = self.0.benchmark_group(name("cold"));
            group.bench_function(by, |b| {
                let config = Config { cold: SEALED, ..settings::<T>(1, SEALED) };
                let supply = Supply::<T>::start(config, desks.clone()).expect("a supply");
                b.iter_custom(|rounds| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..rounds {
                        spent += trial::promotion(&supply, &mut desk, SEALED).expect("opens");
                        assert_eq!(supply.status().level, SEALED, "all are there");
                        while supply.acquire().is_ok() {}
                    }
                    spent / SEALED
                });
            });
            group.finish();
        }
        Ok(())
    }
}

/// As many as the vendor says to hold.
const MANY: u32 = 50_000;

fn orders(c: &mut Criterion) {
    let pool = full(MANY, Policy::new(MANY), |key: &mut Plain<2400>| key.0.fill(1));
    let sum = pool.acquire(0).expect("a key").sum();
    c.benchmark_group("pool/lifo").bench_function(ANY, |b| {
        b.iter(|| {
            let key = pool.acquire(0).expect("a key");
            assert_eq!(key.sum(), sum);
        });
    });
    // All are out, so whichever is given back is the next to be taken: the one that was first.
    let mut out = all_of(&pool);
    c.benchmark_group("pool/fifo").bench_function(ANY, |b| {
        b.iter(|| {
            drop(out.pop_front());
            let key = pool.acquire(0).expect("a key");
            assert_eq!(key.sum(), sum);
            out.push_back(key);
        });
    });
    assert_eq!(out.len(), MANY as usize, "all are there");
}

fn orders_once(c: &mut Criterion) {
    let (mut rng, ciphertext, mut secret) = (rng(), [5; CIPHERTEXT_SIZE], [0; SECRET_SIZE]);
    let mut make = |key: &mut DecapsulationKey| {
        key.generate(&mut (), &mut rng).expect("makes a key");
    };
    let policy = Policy { max_uses: Some(NonZeroU32::MIN), ..Policy::new(MANY) };
    let pool = full(MANY, policy, &mut make);
    // Room for one.
    drop(pool.acquire(0));
    let mut renew = || {
        pool.fill(0, |key| {
            make(key);
            Ok::<_, symbolon_core::Error>(())
        })
    };
    let mut spend = |key: &DecapsulationKey| key.decapsulate(&ciphertext, &mut secret);
    c.benchmark_group("pool/lifo-once").bench_function(ANY, |b| {
        b.iter(|| {
            assert_eq!(renew(), Ok(true));
            spend(&pool.acquire(0).expect("a key")).expect("a key");
        });
    });
    let mut out = all_of(&pool);
    c.benchmark_group("pool/fifo-once").bench_function(ANY, |b| {
        b.iter(|| {
            assert_eq!(renew(), Ok(true));
            out.push_back(pool.acquire(0).expect("a key"));
            spend(&out.pop_front().expect("a key")).expect("a key");
        });
    });
    assert_eq!(out.len() + 1, MANY as usize, "all are there");
}

/// Takes all keys.
fn all_of<T: Material>(pool: &Pool<T>) -> VecDeque<Lease<T, &Pool<T>>> {
    let mut out = VecDeque::with_capacity(MANY as usize + 1);
    out.extend(std::iter::from_fn(|| pool.acquire(0).ok()));
    out
}

criterion_group!(benches, exchanges, supplies, kinds, orders, orders_once);
criterion_main!(benches);
