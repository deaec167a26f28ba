//! The cache against a slow model, against itself on several threads, and against whoever chooses digests.
#![cfg(not(loom))]

use chacha20::ChaCha20Rng;
use proptest::prelude::*;
use rand_core::{Rng, SeedableRng};
use sha3::{Digest as _, Sha3_256};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use symbolon_core::Error;
use symbolon_core::cache::{
    Cache, Digest, Entry, Fixed, Handle, Key, LINES, Line, Memory, Outcome, Record, Set, Shard,
    Tags, Ticket, Verdict, WAYS,
};

/// Memory of the heap.
struct Heap {
    tags: Vec<Tags>,
    sets: Vec<Set>,
    entries: Vec<[Entry; WAYS]>,
    sketch: Vec<Line>,
    shards: Vec<Shard>,
}

impl Heap {
    fn new(sets: usize, lines: usize, shards: usize) -> Self {
        Self {
            tags: (0..sets).map(|_| Tags::new()).collect(),
            sets: (0..sets).map(|_| Set::new()).collect(),
            entries: (0..sets).map(|_| [const { Entry::new() }; WAYS]).collect(),
            sketch: (0..lines).map(|_| Line::new()).collect(),
            shards: (0..shards).map(|_| Shard::new()).collect(),
        }
    }

    fn memory(&mut self) -> Memory<'_> {
        let Self { tags, sets, entries, sketch, shards } = self;
        Memory { tags, sets, entries, sketch, shards }
    }

    fn cache(&mut self) -> Cache<'_> {
        Cache::new(self.memory(), key(1)).unwrap()
    }
}

fn key(seed: u8) -> Key {
    Key::draw(&mut ChaCha20Rng::from_seed([seed; 32]))
}

fn digest(number: u64) -> Digest {
    Sha3_256::digest(number.to_le_bytes()).into()
}

/// Valid until tick 10 of epoch 0.
fn record(verdict: Verdict) -> Record {
    Record { verdict, expiry: 10, epoch: 0 }
}

fn insert(handle: &Handle<'_>, digest: &Digest, verdict: Verdict) -> Outcome {
    handle.insert(handle.ticket(digest), digest, record(verdict), 0)
}

#[test]
fn a_verdict_comes_back_until_it_expires() {
    let mut heap = Heap::new(4, 8, 1);
    let cache = heap.cache();
    let handle = cache.handle();
    for (number, verdict) in [(1, Verdict::Accepted), (2, Verdict::Refused)] {
        let digest = digest(number);
        let ticket = handle.get(&digest, 0, 0).unwrap_err();
        assert_eq!(handle.insert(ticket, &digest, record(verdict), 0), Outcome::Inserted);
        assert_eq!(handle.get(&digest, 9, 0), Ok(verdict));
        assert!(handle.get(&digest, 10, 0).is_err());
        assert!(handle.get(&digest, 0, 1).is_err());
        assert_eq!(handle.get(&digest, 0, 0), Ok(verdict), "only the caller's clock counts");
    }
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.expired, stats.stale), (4, 6, 2, 2));
    assert_eq!((stats.inserts, stats.evictions, stats.refused), (2, 0, 0));
}

#[test]
fn a_newer_verdict_takes_the_place_of_the_older() {
    let mut heap = Heap::new(1, 1, 1);
    let cache = heap.cache();
    let handle = cache.handle();
    let digest = digest(1);
    for verdict in [Verdict::Accepted, Verdict::Refused, Verdict::Accepted] {
        assert_eq!(insert(&handle, &digest, verdict), Outcome::Inserted);
        assert_eq!(handle.get(&digest, 0, 0), Ok(verdict));
    }
    let longer = Record { verdict: Verdict::Refused, expiry: 100, epoch: 7 };
    assert_eq!(handle.insert(handle.ticket(&digest), &digest, longer, 0), Outcome::Inserted);
    assert!(handle.get(&digest, 0, 0).is_err());
    assert_eq!(handle.get(&digest, 99, 7), Ok(Verdict::Refused));
}

/// Zero is a tag as any other, though entries that nobody used have it too: of so many digests some have it.
#[test]
fn a_set_takes_as_many_as_it_has_entries_whatever_their_tags() {
    for number in 0..4096 {
        let mut heap = Heap::new(1, 1, 1);
        let cache = heap.cache();
        let handle = cache.handle();
        let all: Vec<_> = (0..WAYS as u64).map(|at| digest(number * 100 + at)).collect();
        for digest in &all {
            assert!(handle.get(digest, 0, 0).is_err());
            assert_eq!(insert(&handle, digest, Verdict::Accepted), Outcome::Inserted);
        }
        assert!(all.iter().all(|digest| handle.get(digest, 0, 0).is_ok()), "{number}");
        let mut verdicts = [Err(Ticket::NONE); WAYS];
        handle.get_many(&all, 0, 0, &mut verdicts);
        assert_eq!(verdicts, [Ok(Verdict::Accepted); WAYS]);
        assert!(handle.remove(&all[0]) && !handle.remove(&all[0]));
        assert_eq!(insert(&handle, &all[0], Verdict::Refused), Outcome::Inserted);
        assert_eq!(handle.get(&all[0], 0, 0), Ok(Verdict::Refused));
        let stats = cache.stats();
        assert_eq!(stats.inserts, 17);
    }
}

#[test]
fn what_is_removed_is_gone_and_stays_gone_for_older_tickets() {
    let mut heap = Heap::new(2, 1, 1);
    let cache = heap.cache();
    let handle = cache.handle();
    let digest = digest(1);
    let before = handle.ticket(&digest);
    assert!(!handle.remove(&digest));
    assert_eq!(handle.insert(before, &digest, record(Verdict::Accepted), 0), Outcome::Outdated);
    assert!(handle.get(&digest, 0, 0).is_err());
    assert_eq!(insert(&handle, &digest, Verdict::Accepted), Outcome::Inserted);
    assert!(handle.remove(&digest));
    assert!(handle.get(&digest, 0, 0).is_err());
    assert!(!handle.remove(&digest));
    assert_eq!(
        handle.insert(Ticket::NONE, &digest, record(Verdict::Accepted), 0),
        Outcome::Outdated
    );
    assert_eq!(cache.stats().removals, 3);
}

#[test]
fn tickets_are_of_their_set() {
    let mut heap = Heap::new(64, 1, 1);
    let cache = heap.cache();
    let handle = cache.handle();
    let one = digest(0);
    let other = (1..).map(digest).find(|other| cache.set_of(other) != cache.set_of(&one)).unwrap();
    let outcome = handle.insert(handle.ticket(&one), &other, record(Verdict::Accepted), 0);
    assert_eq!(outcome, Outcome::Outdated);
    assert!(handle.get(&other, 0, 0).is_err());
}

#[test]
fn every_bit_of_a_digest_counts() {
    let mut heap = Heap::new(1, 1, 1);
    let cache = heap.cache();
    let handle = cache.handle();
    let one = digest(1);
    assert_eq!(insert(&handle, &one, Verdict::Accepted), Outcome::Inserted);
    for bit in 0..256 {
        let mut other = one;
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(handle.get(&other, 0, 0).is_err());
        assert!(!handle.remove(&other));
    }
    assert_eq!(handle.get(&one, 0, 0), Ok(Verdict::Accepted));
}

#[test]
fn memory_that_does_not_fit_is_refused() {
    let refused = |sets: [usize; 3], lines| {
        let mut heap = Heap::new(sets[0], lines, 1);
        heap.tags.truncate(sets[1]);
        heap.entries.truncate(sets[2]);
        Cache::<true>::new(heap.memory(), key(1)).err()
    };
    assert_eq!(refused([3, 3, 3], 2), None);
    assert_eq!(refused([1, 1, 1], 1), None);
    for (sets, lines) in
        [([0, 0, 0], 1), ([3, 2, 3], 1), ([3, 3, 2], 1), ([3, 3, 3], 0), ([3, 3, 3], 3)]
    {
        assert_eq!(refused(sets, lines), Some(Error::Length), "{sets:?} {lines}");
    }
}

#[test]
fn memory_that_was_used_is_forgotten() {
    let mut heap = Heap::new(2, 1, 1);
    for _ in 0..2 {
        let cache = heap.cache();
        let handle = cache.handle();
        assert!(handle.get(&digest(1), 0, 0).is_err());
        assert_eq!(cache.stats().misses, 1);
        assert_eq!(insert(&handle, &digest(1), Verdict::Accepted), Outcome::Inserted);
    }
}

/// An enclave's, without an allocator.
#[test]
fn one_set_holds_as_many_as_it_says() {
    let mut fixed = Box::new(Fixed::<1, 64, 1>::new());
    let cache = Cache::<true>::new(fixed.memory(), key(2)).unwrap();
    let handle = cache.handle();
    assert_eq!(cache.capacity(), WAYS);
    for number in 0..WAYS as u64 {
        assert_eq!(insert(&handle, &digest(number), Verdict::Accepted), Outcome::Inserted);
    }
    assert!((0..WAYS as u64).all(|number| handle.get(&digest(number), 0, 0).is_ok()));
    for number in 100..200 {
        assert_eq!(insert(&handle, &digest(number), Verdict::Refused), Outcome::Inserted);
    }
    assert_eq!(handle.get(&digest(199), 0, 0), Ok(Verdict::Refused));
    let old = (0..WAYS as u64).filter(|number| handle.get(&digest(*number), 0, 0).is_ok()).count();
    assert!(old + 3 >= WAYS, "what is used stays: {old}");
    let stats = cache.stats();
    assert_eq!(stats.evictions + stats.refused, 100);
}

#[test]
fn a_new_epoch_fills_every_entry_again() {
    let mut heap = Heap::new(8, 8, 1);
    let cache = heap.cache();
    let handle = cache.handle();
    let fill = |epoch| {
        for number in 0..2000 {
            let digest = digest(number + 10_000 * u64::from(epoch));
            let record = Record { verdict: Verdict::Accepted, expiry: 10, epoch };
            let _ = handle.insert(handle.ticket(&digest), &digest, record, 0);
        }
        let here = |number: &u64| {
            handle.get(&digest(number + 10_000 * u64::from(epoch)), 0, epoch).is_ok()
        };
        (0..2000).filter(here).count()
    };
    for epoch in 0..3 {
        assert_eq!(fill(epoch), cache.capacity());
    }
}

#[test]
fn many_at_once_are_as_one_by_one() {
    let mut heap = Heap::new(16, 8, 1);
    let cache = heap.cache();
    let handle = cache.handle();
    for number in 0..150 {
        let verdict = if number % 3 == 0 { Verdict::Accepted } else { Verdict::Refused };
        let _ = insert(&handle, &digest(number), verdict);
    }
    for count in [0, 1, 31, 32, 33, 100] {
        let digests: Vec<_> = (0..count).map(|at| digest(at * 3)).collect();
        let mut verdicts = vec![Err(Ticket::NONE); digests.len()];
        handle.get_many(&digests, 0, 0, &mut verdicts);
        let expected: Vec<_> = digests.iter().map(|digest| handle.get(digest, 0, 0)).collect();
        assert_eq!(verdicts, expected);
        assert!(
            count < 100
                || expected.iter().any(Result::is_ok) && expected.iter().any(Result::is_err)
        );
    }
}

/// Whoever chooses digests, knowing everything but the key, fills no set.
#[test]
fn a_million_chosen_digests_spread() {
    const SETS: usize = 4096;
    const COUNT: u64 = 1_000_000;
    let mut heap = Heap::new(SETS, 1, 0);
    let cache = heap.cache();
    let low = |number: u64, at: usize| {
        let mut digest = [0xab; 32];
        digest[at..at + 8].copy_from_slice(&number.to_le_bytes());
        digest
    };
    let families: [(&str, &dyn Fn(u64) -> Digest); 4] = [
        ("a prefix of 24 bytes", &|number| low(number, 24)),
        ("a suffix of 24 bytes", &|number| low(number, 0)),
        ("high bits only", &|number| low(number << 44, 8)),
        ("two words that cancel", &|number| {
            let mut digest = low(number, 0);
            digest[8..16].copy_from_slice(&number.wrapping_neg().to_le_bytes());
            digest
        }),
    ];
    for (what, make) in families {
        let mut load = vec![0_u32; SETS];
        (0..COUNT).for_each(|number| load[cache.set_of(&make(number)) as usize] += 1);
        let most = load.iter().max().copied().unwrap();
        // 244 are expected in each.
        assert!(most < 3 * COUNT as u32 / SETS as u32, "{what}: {most}");
        assert!(load.iter().filter(|load| **load > 0).count() > SETS / 2, "{what}");
    }
}

#[test]
fn another_key_spreads_otherwise() {
    let mut heaps = [Heap::new(1024, 1, 0), Heap::new(1024, 1, 0)];
    let [one, other] = &mut heaps;
    let one = Cache::<true>::new(one.memory(), key(1)).unwrap();
    let other = Cache::<true>::new(other.memory(), key(2)).unwrap();
    let same = (0..1000).map(digest).filter(|d| one.set_of(d) == other.set_of(d)).count();
    assert!(same < 10, "{same}");
}

/// The sketch takes as much whatever there is to count.
#[test]
fn the_sketch_is_half_a_megabyte_for_any_number_of_keys() {
    assert_eq!(size_of::<[Line; LINES]>(), 512 << 10);
    for keys in [100_000, 1_000_000, 10_000_000] {
        let mut heap = Heap::new(keys / 10 / WAYS, LINES, 1);
        assert_eq!(size_of_val(heap.memory().sketch), 512 << 10);
        let cache = heap.cache();
        let handle = cache.handle();
        // A sample of the keys, each twice: who comes back is among the others, who does not has been on probation.
        let mut rng = ChaCha20Rng::from_seed([5; 32]);
        for _ in 0..200_000 {
            let digest = digest(rng.next_u64() % keys as u64);
            if handle.get(&digest, 0, 0).is_err() {
                assert_eq!(insert(&handle, &digest, Verdict::Accepted), Outcome::Inserted);
            }
        }
        assert!(cache.stats().hits > 0);
    }
}

/// One-time digests leave what is asked for alone.
#[test]
fn a_scan_passes_by() {
    let mut heap = Heap::new(64, 64, 1);
    let cache = heap.cache();
    let handle = cache.handle();
    let hot: Vec<_> = (0..500).map(digest).collect();
    let ask = |digest: &Digest| match handle.get(digest, 0, 0) {
        Ok(_) => true,
        Err(ticket) => {
            let _ = handle.insert(ticket, digest, record(Verdict::Accepted), 0);
            false
        }
    };
    for _ in 0..5 {
        hot.iter().for_each(|digest| _ = ask(digest));
    }
    for number in 0..20_000 {
        ask(&digest(1_000_000 + number));
        ask(&hot[number as usize % hot.len()]);
    }
    let here = hot.iter().filter(|digest| ask(digest)).count();
    assert!(here > hot.len() * 95 / 100, "{here} of {}", hot.len());
}

/// A server takes a handle for each insertion: the sketch ages all the same.
#[test]
fn the_sketch_forgets_whoever_inserts() {
    let mut heap = Heap::new(16, 16, 3);
    let cache = heap.cache();
    let insert_all = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            let handle = cache.handle_near(number as usize);
            assert_eq!(insert(&handle, &digest(number), Verdict::Accepted), Outcome::Inserted);
        }
    };
    insert_all(0..50_000);
    let before = cache.stats();
    insert_all(50_000..60_000);
    let after = cache.stats();
    // Nobody comes back, and few are taken for somebody who did.
    let refused = after.refused - before.refused;
    assert!(refused > 6_000, "{refused}");
    assert_eq!(after.inserts, 60_000);
}

#[test]
fn a_counter_belongs_to_one_handle_while_there_are_enough() {
    let mut heap = Heap::new(4, 1, 3);
    let cache = heap.cache();
    let handles = [(); 4].map(|()| cache.handle());
    handles.iter().for_each(|handle| _ = handle.get(&digest(1), 0, 0));
    // Two are alone, two share.
    assert_eq!([0, 1, 2, 3].map(|i| handles[i].asked()), [1, 1, 2, 2]);
    drop(handles);
    // What is given back is there for the next.
    let next = cache.handle();
    assert_eq!(next.asked(), 1);
}

/// Some have counters of their own, and more share, all at once: nothing that was counted is lost.
#[test]
fn counts_are_exact_however_many_count() {
    const LOOKS: u64 = 100_000;
    for shards in [1, 2, 3] {
        let mut heap = Heap::new(4, 1, shards);
        let cache = heap.cache();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let handle = cache.handle();
                    (0..LOOKS).for_each(|_| _ = handle.get(&digest(1), 0, 0));
                    handle.time(5);
                });
            }
        });
        assert_eq!(cache.stats().misses, 8 * LOOKS, "{shards} shards");
        assert_eq!(cache.latencies().iter().sum::<u64>(), 8);
    }
}

#[test]
fn nothing_is_counted_where_nothing_is_to_be() {
    let mut heap = Heap::new(4, 1, 2);
    let cache = Cache::<false>::new(heap.memory(), key(1)).unwrap();
    let handle = cache.handle();
    let ticket = handle.get(&digest(1), 0, 0).unwrap_err();
    assert_eq!(handle.insert(ticket, &digest(1), record(Verdict::Accepted), 0), Outcome::Inserted);
    assert_eq!(handle.get(&digest(1), 0, 0), Ok(Verdict::Accepted));
    assert_eq!(cache.stats(), Default::default());
}

/// A step of a random life.
#[derive(Clone, Debug)]
enum Step {
    Get(u64),
    Insert {
        number: u64,
        accepted: bool,
        ttl: u32,
    },
    /// With the ticket of so many steps ago.
    InsertLate {
        number: u64,
        accepted: bool,
    },
    TakeTicket(u64),
    Remove(u64),
    Wait(u32),
    Epoch,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 0..60_u64;
    let step = prop_oneof![
        6 => number.clone().prop_map(Step::Get),
        6 => (number.clone(), any::<bool>(), 0..8_u32)
            .prop_map(|(number, accepted, ttl)| Step::Insert { number, accepted, ttl }),
        1 => (number.clone(), any::<bool>())
            .prop_map(|(number, accepted)| Step::InsertLate { number, accepted }),
        1 => number.clone().prop_map(Step::TakeTicket),
        1 => number.prop_map(Step::Remove),
        1 => (0..3_u32).prop_map(Step::Wait),
        1 => Just(Step::Epoch),
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The model keeps everything. The cache may have forgotten, but what it says the model says.
    #[test]
    fn the_cache_says_nothing_that_the_model_does_not(steps in steps(), sets in 1..4_usize) {
        let mut heap = Heap::new(sets, 2, 1);
        let cache = heap.cache();
        let handle = cache.handle();
        let mut model = BTreeMap::<u64, Record>::new();
        let mut tickets = BTreeMap::<u64, Ticket>::new();
        let mut outdated = BTreeMap::<u64, bool>::new();
        let (mut now, mut epoch) = (0, 0);
        for step in steps {
            match step {
                Step::Get(number) => {
                    let held = model.get(&number).filter(|r| now < r.expiry && r.epoch == epoch);
                    if let Ok(verdict) = handle.get(&digest(number), now, epoch) {
                        prop_assert_eq!(Some(verdict), held.map(|record| record.verdict));
                    }
                }
                Step::Insert { number, accepted, ttl } => {
                    let verdict = if accepted { Verdict::Accepted } else { Verdict::Refused };
                    let record = Record { verdict, expiry: now + ttl, epoch };
                    let digest = digest(number);
                    let outcome = handle.insert(handle.ticket(&digest), &digest, record, now);
                    prop_assert_eq!(outcome, Outcome::Inserted, "one thread meets nobody");
                    model.insert(number, record);
                    let got = handle.get(&digest, now, epoch).ok();
                    prop_assert_eq!(got, Some(verdict).filter(|_| ttl > 0));
                }
                Step::TakeTicket(number) => {
                    tickets.insert(number, handle.ticket(&digest(number)));
                    outdated.insert(number, false);
                }
                Step::InsertLate { number, accepted } => {
                    let Some(ticket) = tickets.get(&number) else { continue };
                    let verdict = if accepted { Verdict::Accepted } else { Verdict::Refused };
                    let record = Record { verdict, expiry: now + 3, epoch };
                    match handle.insert(*ticket, &digest(number), record, now) {
                        Outcome::Inserted => {
                            prop_assert!(!outdated[&number], "{number} was removed since");
                            model.insert(number, record);
                        }
                        // What was there may be gone.
                        Outcome::Outdated => {}
                        Outcome::Dropped => prop_assert!(false, "one thread meets nobody"),
                    }
                }
                Step::Remove(number) => {
                    handle.remove(&digest(number));
                    model.remove(&number);
                    outdated.insert(number, true);
                    prop_assert!(handle.get(&digest(number), now, epoch).is_err());
                }
                Step::Wait(ticks) => now += ticks,
                Step::Epoch => epoch += 1,
            }
        }
    }
}

/// What a digest's number says its record is, so that readers can tell.
fn proper(number: u64, round: u32) -> Record {
    let verdict =
        if number.count_ones().is_multiple_of(2) { Verdict::Accepted } else { Verdict::Refused };
    Record { verdict, expiry: 1000 + round, epoch: number as u32 % 5 }
}

#[test]
fn threads_see_whole_verdicts_only() {
    const NUMBERS: u64 = 200;
    let rounds = if cfg!(miri) { 30 } else { 200_000 };
    let mut heap = Heap::new(4, 4, 4);
    let cache = heap.cache();
    let digests: Vec<_> = (0..NUMBERS).map(digest).collect();
    let hits = AtomicU32::new(0);
    thread::scope(|scope| {
        for thread in 0..4_u8 {
            let (cache, digests, hits) = (&cache, &digests, &hits);
            scope.spawn(move || {
                let mut rng = ChaCha20Rng::from_seed([thread; 32]);
                let handle = cache.handle();
                for round in 0..rounds {
                    let number = u64::from(rng.next_u32()) % NUMBERS;
                    let digest = &digests[number as usize];
                    let record = proper(number, round);
                    match rng.next_u32() % 8 {
                        0 => _ = handle.remove(digest),
                        1..4 => {
                            let _ = handle.insert(handle.ticket(digest), digest, record, 0);
                        }
                        _ => match handle.get(digest, 0, record.epoch) {
                            Ok(verdict) => {
                                assert_eq!(verdict, record.verdict);
                                hits.fetch_add(1, Ordering::Relaxed);
                            }
                            // Another epoch was never inserted for it.
                            Err(_) => {
                                assert!(handle.get(digest, 0, record.epoch + 1).is_err());
                            }
                        },
                    }
                }
            });
        }
    });
    assert!(hits.into_inner() > rounds / 100);
    // Nobody writes any more: whatever is there can be removed, once.
    let handle = cache.handle();
    for (number, digest) in digests.iter().enumerate() {
        let epoch = number as u32 % 5;
        let there = handle.get(digest, 0, epoch).is_ok();
        assert_eq!(handle.remove(digest), there);
        assert!(!handle.remove(digest), "twice in the cache");
        let _ = handle.insert(handle.ticket(digest), digest, proper(number as u64, 0), 0);
        assert!(handle.get(digest, 0, epoch).is_ok(), "an entry was lost");
    }
}

/// A revocation against threads that go on inserting with tickets from before.
#[test]
fn nothing_comes_back_after_a_removal() {
    let rounds = if cfg!(miri) { 10 } else { 20_000 };
    let mut heap = Heap::new(1, 1, 3);
    let cache = heap.cache();
    for round in 0..rounds {
        let digest = digest(round);
        let ticket = cache.handle().ticket(&digest);
        let barrier = std::sync::Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                let handle = cache.handle();
                barrier.wait();
                for _ in 0..4 {
                    let _ = handle.insert(ticket, &digest, record(Verdict::Accepted), 0);
                }
            });
            let handle = cache.handle();
            barrier.wait();
            handle.remove(&digest);
            assert!(handle.get(&digest, 0, 0).is_err());
        });
        assert!(cache.handle().get(&digest, 0, 0).is_err());
    }
}
