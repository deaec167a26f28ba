//! Verdicts that were reached before: look-ups, what observing them and admitting new ones adds, and how much of
//! three traces hits. Hit rates are checked and told to whoever shows them: criterion has rows for times only.
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use symbolon_benches::cache::{
    ACCESSES, Ask, Bare, CAPACITY, KEYS, Keeper, Ours, RECORD, Trace, Zipf, best_static, digest,
    rate, tell_rate,
};
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

/// Who is asked by so many threads at once, every question once: what a look-up took.
struct Contestant {
    who: &'static str,
    pass: Box<dyn Fn(usize) -> Duration>,
}

impl Contestant {
    fn new<K: Keeper + 'static>(zipf: &Zipf) -> Self {
        let keeper = K::new(ROOM);
        let questions = questions(&keeper, zipf);
        let pass = move |threads| {
            let share = questions.len() / threads;
            let (spent, _) = together(threads, |thread| {
                ask_all(&keeper.desk(), &questions[thread * share..][..share]);
            });
            spent.div_f64((share * threads) as f64 / UNIT)
        };
        Self { who: K::WHO, pass: Box::new(pass) }
    }
}

/// Look-ups that a time is given for, so that it is not rounded to a nanosecond.
const UNIT: f64 = 1000.0;

/// A row for each. They are asked in turn, pass by pass, and criterion is given what was measured then: rows of one
/// table would else be minutes apart, in which a machine that is shared with others changes its speed by half.
fn in_turn(c: &mut Criterion, name: &str, threads: usize, all: &[Contestant]) {
    let mut rounds: Vec<Vec<Duration>> = Vec::new();
    let mut group = c.benchmark_group(name);
    group.sample_size(SAMPLES).sampling_mode(SamplingMode::Flat);
    for (row, Contestant { who, .. }) in all.iter().enumerate() {
        let mut sample = 0;
        // The first round is criterion's warm-up, and one call of it is enough.
        group.warm_up_time(Duration::from_nanos(1)).bench_function(*who, |b| {
            // Not within what criterion takes for the row's own time, or it would ask for single look-ups.
            if sample == rounds.len() {
                rounds.push(all.iter().map(|one| (one.pass)(threads)).collect());
            }
            b.iter_custom(|look_ups| rounds[sample][row].mul_f64(look_ups as f64 / UNIT));
            sample += 1;
        });
    }
}

fn look_ups(c: &mut Criterion) {
    let zipf = Zipf::new(KEYS);
    let mut all = vec![Contestant::new::<Ours>(&zipf), Contestant::new::<Bare>(&zipf)];
    #[cfg(feature = "peers")]
    {
        use symbolon_benches::peers::caches::{DashDefault, DashPrefix, Foyer, Moka, Quick};
        all.push(Contestant::new::<DashPrefix>(&zipf));
        all.push(Contestant::new::<DashDefault>(&zipf));
        all.push(Contestant::new::<Quick>(&zipf));
        all.push(Contestant::new::<Moka>(&zipf));
        all.push(Contestant::new::<Foyer>(&zipf));
    }
    in_turn(c, "cache/hit-2t", 2, &all);
    in_turn(c, "cache/threads-96", 96, &all);
    #[cfg(feature = "peers")]
    all.push(unlocked(&zipf));
    in_turn(c, "cache/hit", 1, &all);
    many(c, &zipf);
}

/// A map that one thread has to itself.
#[cfg(feature = "peers")]
fn unlocked(zipf: &Zipf) -> Contestant {
    let all: Vec<_> = (0..KEYS as u64).map(digest).collect();
    let map = symbolon_benches::peers::caches::Unlocked::of(&all);
    let mut rng = rng();
    let questions: Vec<_> = (0..ROUND).map(|_| all[zipf.draw(&mut rng)]).collect();
    let pass = move |_| {
        let start = Instant::now();
        ask_all(&&map, &questions);
        start.elapsed().div_f64(questions.len() as f64 / UNIT)
    };
    Contestant { who: "std HashMap, unlocked", pass: Box::new(pass) }
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
    fn row<K: Keeper>(c: &mut Criterion, zipf: &Zipf) {
        let keeper = K::new(ROOM);
        let questions = questions(&keeper, zipf);
        let desk = keeper.desk();
        let mut batches = questions.chunks_exact(BATCH).cycle();
        let mut pipeline = Pipeline::<Q54>::new(best());
        let (users, expected) = (pipeline.users(), pipeline.expected(pipeline.users()));
        c.benchmark_group("cache/instrumentation").bench_function(K::WHO, |b| {
            b.iter(|| {
                ask_all(&desk, batches.next().expect("a cycle"));
                assert_eq!(pipeline.run(users), expected);
            });
        });
    }
    let zipf = Zipf::new(KEYS);
    row::<Ours>(c, &zipf);
    row::<Bare>(c, &zipf);
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
