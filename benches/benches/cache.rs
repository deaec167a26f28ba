//! Verdicts that were reached before: look-ups, what observing them and admitting new ones adds, and how much of
//! three traces hits. Of look-ups by several threads a row is one's share of the time that all took together. Hit rates are
//! checked and told to whoever shows them: criterion has rows for times only.
#![allow(missing_docs)]

use std::cell::RefCell;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use symbolon_benches::cache::{
    ACCESSES, Ask, Bare, CAPACITY, KEYS, Keeper, Ours, RECORD, Trace, Zipf, best_static, digest,
    rate, tell_rate,
};
use symbolon_benches::turns::{self, Contestant};
use symbolon_benches::{Pipeline, best, rng};
use symbolon_core::bfv::Q54;
use symbolon_core::cache::{Digest, Ticket, Verdict};
use symbolon_host::pools::trial::together;

/// Look-ups of a round.
const ROUND: usize = 1 << 20;
/// Room for a million: sets are not all equally full.
const ROOM: usize = KEYS * 3 / 2;
/// Of a row of look-ups.
const SAMPLES: usize = 20;
/// Of a batch.
const BATCH: usize = 32;

/// A million digests, and what is asked for: Zipf's law over those that are there.
fn questions(keeper: &impl Keeper, zipf: &Zipf) -> Vec<Digest> {
    let desk = keeper.desk();
    // The hottest last: what is forgotten for want of room is cold.
    (0..KEYS as u64).rev().for_each(|number| desk.put(&digest(number)));
    let mut rng = rng();
    let drawn = std::iter::from_fn(|| Some(digest(zipf.draw(&mut rng) as u64)));
    let there: Vec<_> = drawn.filter(|digest| desk.get(digest)).take(ROUND).collect();
    let all = (0..KEYS as u64).filter(|number| desk.get(&digest(*number))).count();
    assert!(all > KEYS * 98 / 100, "{all} of a million are there");
    there
}

/// Every question once; all are hits.
fn ask_all(desk: &impl Ask, questions: &[Digest]) {
    let hits = questions.iter().filter(|digest| desk.get(digest)).count();
    assert_eq!(hits, questions.len(), "all are there");
}

/// Who is asked by so many threads at once, every question once, and what [`UNIT`](turns::UNIT) look-ups took.
struct Asked {
    who: &'static str,
    by: Box<dyn Fn(usize) -> Duration>,
}

impl Asked {
    fn new<K: Keeper + 'static>(zipf: &Zipf) -> Self {
        let keeper = K::new(ROOM);
        let questions = questions(&keeper, zipf);
        let by = move |threads| {
            let share = questions.len() / threads;
            let (spent, _) = together(threads, |thread| {
                ask_all(&keeper.desk(), &questions[thread * share..][..share]);
            });
            turns::each(spent, share * threads)
        };
        Self { who: K::WHO, by: Box::new(by) }
    }
}

fn rows(c: &mut Criterion, group: &'static str, threads: usize, all: &[Asked]) {
    let rows = all.iter().map(|Asked { who, by }| {
        let pass = Box::new(move || by(threads));
        Contestant { group, who, pass }
    });
    turns::in_turn(c, SAMPLES, &rows.collect::<Vec<_>>());
}

fn look_ups(c: &mut Criterion) {
    let zipf = Zipf::new(KEYS);
    let mut all = vec![Asked::new::<Ours>(&zipf), Asked::new::<Bare>(&zipf)];
    #[cfg(feature = "peers")]
    {
        use symbolon_benches::peers::caches::{DashDefault, DashPrefix, Foyer, Moka, Quick};
        all.push(Asked::new::<DashPrefix>(&zipf));
        all.push(Asked::new::<DashDefault>(&zipf));
        all.push(Asked::new::<Quick>(&zipf));
        all.push(Asked::new::<Moka>(&zipf));
        all.push(Asked::new::<Foyer>(&zipf));
    }
    rows(c, "cache/hit-2t", 2, &all);
    rows(c, "cache/threads-96", 96, &all);
    #[cfg(feature = "peers")]
    all.push(unlocked(&zipf));
    rows(c, "cache/hit", 1, &all);
    many(c, &zipf);
}

/// A map that one thread has to itself.
#[cfg(feature = "peers")]
fn unlocked(zipf: &Zipf) -> Asked {
    let all: Vec<_> = (0..KEYS as u64).map(digest).collect();
    let map = symbolon_benches::peers::caches::Unlocked::of(&all);
    let mut rng = rng();
    let questions: Vec<_> = (0..ROUND).map(|_| all[zipf.draw(&mut rng)]).collect();
    let by = move |_| {
        let start = Instant::now();
        ask_all(&&map, &questions);
        turns::each(start.elapsed(), questions.len())
    };
    Asked { who: "std HashMap, unlocked", by: Box::new(by) }
}

/// Batches of 32, a look-up's share.
fn many(c: &mut Criterion, zipf: &Zipf) {
    let keeper = Ours::new(ROOM);
    let questions = questions(&keeper, zipf);
    let desk = keeper.desk();
    let mut group = c.benchmark_group("cache/hit-many");
    group.throughput(Throughput::Elements(1));
    group.bench_function(Ours::WHO, |b| {
        b.iter_custom(|rounds| {
            let batches = questions.chunks_exact(BATCH).cycle();
            let mut verdicts = [Err(Ticket::NONE); BATCH];
            let count = rounds.div_ceil(BATCH as u64);
            let start = Instant::now();
            for batch in batches.take(count as usize) {
                desk.get_many(batch, 0, RECORD.epoch, &mut verdicts);
                assert!(verdicts.iter().all(|verdict| *verdict == Ok(Verdict::Accepted)));
            }
            start.elapsed().mul_f64(rounds as f64 / (count * BATCH as u64) as f64)
        });
    });
}

/// What a new verdict costs when the cache is full, the sketch and a victim included.
fn admission(c: &mut Criterion) {
    let keeper = Ours::new(CAPACITY);
    let desk = keeper.desk();
    let mut number = 0;
    let mut next = || {
        number += 1;
        digest(number)
    };
    (0..4 * CAPACITY).for_each(|_| desk.put(&next()));
    c.benchmark_group("cache/admission").bench_function(Ours::WHO, |b| {
        b.iter(|| desk.put(&next()));
    });
    let again = digest(1 << 40);
    desk.put(&again);
    // The same without a choice to make: it is there already.
    c.benchmark_group("cache/renewal").bench_function(Ours::WHO, |b| b.iter(|| desk.put(&again)));
}

/// A batch of 32 look-ups and of 32 people matched, with everything observed and with nothing.
fn instrumentation(c: &mut Criterion) {
    const BATCHES: usize = 1000;
    fn row<K: Keeper + 'static>(zipf: &Zipf) -> Contestant<'static> {
        let keeper = K::new(ROOM);
        let questions = questions(&keeper, zipf);
        let state = RefCell::new((Pipeline::<Q54>::new(best()), 0));
        let pass = move || {
            let (desk, mut state) = (keeper.desk(), state.borrow_mut());
            let (pipeline, asked) = &mut *state;
            let (users, expected) = (pipeline.users(), pipeline.expected(pipeline.users()));
            let start = Instant::now();
            for batch in questions.chunks_exact(BATCH).cycle().skip(*asked).take(BATCHES) {
                ask_all(&desk, batch);
                assert_eq!(pipeline.run(users), expected);
            }
            let spent = start.elapsed();
            *asked = (*asked + BATCHES) % (questions.len() / BATCH);
            turns::each(spent, BATCHES)
        };
        Contestant { group: "cache/instrumentation", who: K::WHO, pass: Box::new(pass) }
    }
    let zipf = Zipf::new(KEYS);
    turns::in_turn(c, 2 * SAMPLES, &[row::<Ours>(&zipf), row::<Bare>(&zipf)]);
}

/// How much of a trace hits, and an access's share of the time, misses put in.
fn traces(c: &mut Criterion) {
    let zipf = Zipf::new(KEYS);
    for trace in Trace::ALL {
        let accesses = trace.accesses(&zipf);
        let mut rates = vec![("best that stays", best_static(&accesses))];
        rates.push(run::<Ours>(c, trace, &accesses));
        #[cfg(feature = "peers")]
        {
            use symbolon_benches::peers::caches::{Foyer, Moka, Quick};
            let peers = [
                run::<Quick>(c, trace, &accesses),
                run::<Moka>(c, trace, &accesses),
                run::<Foyer>(c, trace, &accesses),
            ];
            let best = peers.iter().map(|peer| peer.1).fold(0.0, f64::max);
            rates.extend(peers);
            let ours = rates[1].1;
            assert!(ours > best - 1.0, "{trace:?}: {ours:.2} %, and the best peer has {best:.2} %");
        }
        for (who, rate) in rates {
            tell_rate(&format!("cache/trace/{}", trace.name()), who, rate);
        }
    }

    fn run<K: Keeper>(c: &mut Criterion, trace: Trace, accesses: &[u32]) -> (&'static str, f64) {
        let keeper = K::new(CAPACITY);
        let rate = rate(accesses, &keeper.desk());
        let mut group = c.benchmark_group(format!("cache/trace/{}", trace.name()));
        group.bench_function(K::WHO, |b| {
            let desk = keeper.desk();
            let mut next = accesses.iter().cycle().skip(ACCESSES / 2);
            b.iter(|| {
                let digest = digest(u64::from(*next.next().expect("a cycle")));
                if !desk.get(&digest) {
                    desk.put(&digest);
                }
            });
        });
        (K::WHO, rate)
    }
}

criterion_group!(benches, look_ups, admission, instrumentation, traces);
criterion_main!(benches);
