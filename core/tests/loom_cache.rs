//! Models of the cache, as `loom.rs` has them of pools: each must hold as the code stands, and must fail with a
//! mistake in it (`cache::faults`), by itself or with another in which the threads have exchanged their parts. `cargo xtask
//! loom`.
#![cfg(loom)]

use chacha20::ChaCha20Rng;
use loom::thread;
use rand_core::SeedableRng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use symbolon_core::cache::faults::Faults;
use symbolon_core::cache::{
    Cache, Digest, Entry, Key, Line, Memory, Outcome, Record, Set, Shard, Tags, Ticket, Verdict,
};

/// A model has few steps: preemptions beyond two are for nobody's patience.
const PREEMPTIONS: usize = 2;

/// A cache of one set that counts nothing.
fn cache(faults: Faults) -> &'static Cache<'static> {
    with_shards::<0>(faults)
}

fn with_shards<const SHARDS: usize>(faults: Faults) -> &'static Cache<'static> {
    // A reference count of loom's would order the threads by itself; whoever models forgets.
    let memory = Memory {
        tags: Box::leak(Box::new([Tags::new()])),
        sets: Box::leak(Box::new([Set::new()])),
        entries: Box::leak(Box::new([std::array::from_fn(|_| Entry::new())])),
        sketch: Box::leak(Box::new(std::array::from_fn::<_, 8, _>(|_| Line::new()))),
        shards: Box::leak(Box::new(std::array::from_fn::<_, SHARDS, _>(|_| Shard::new()))),
    };
    // Entries that nobody used have the tag zero, as the first digest has under this key.
    let key = Key::draw(&mut ChaCha20Rng::from_seed([SEED; 32]));
    let cache = Cache::broken(memory, key, faults).unwrap();
    assert_eq!(cache.tag_of(&digest(1)), Some(0));
    assert_ne!(cache.tag_of(&digest(2)), Some(0));
    Box::leak(Box::new(cache))
}

const SEED: u8 = 88;

/// Halves that differ: a digest is a hash's, and of equal halves the set's hash would see nothing.
fn digest(number: u8) -> Digest {
    std::array::from_fn(|at| if at < 16 { number } else { 0 })
}

/// What is true of a digest: all its parts tell whose it is.
fn record(number: u8) -> Record {
    let verdict = if number % 2 == 0 { Verdict::Refused } else { Verdict::Accepted };
    Record { verdict, expiry: 10 + u32::from(number), epoch: 0 }
}

fn put(cache: &Cache<'_>, ticket: Ticket, number: u8) -> Outcome {
    cache.handle().insert(ticket, &digest(number), record(number), 0)
}

/// At the last tick at which it holds.
fn look(cache: &Cache<'_>, number: u8) -> Option<Verdict> {
    let found = cache.handle().get(&digest(number), 9 + u32::from(number), 0).ok();
    assert!(found.is_none_or(|verdict| verdict == record(number).verdict), "torn");
    found
}

fn explore(model: impl Fn() + Sync + Send + 'static) -> usize {
    static ORDERS: Mutex<usize> = Mutex::new(0);
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    *ORDERS.lock().unwrap() = 0;
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.max_branches = 100_000;
    builder.check(move || {
        *ORDERS.lock().unwrap() += 1;
        model();
    });
    *ORDERS.lock().unwrap()
}

fn holds(model: fn(Faults)) {
    let orders = explore(move || model(Faults::NONE));
    println!("{orders} orders");
    assert!(orders >= 7, "{orders}");
}

fn fails(faults: Faults, model: fn(Faults)) {
    let failed = catch_unwind(AssertUnwindSafe(|| explore(move || model(faults))));
    assert!(failed.is_err(), "the model does not see {faults:?}");
}

/// A writer that replaces a record: whoever reads at tick 50 sees the one that holds then, or none.
fn replace_and_read(faults: Faults, old: Record, new: Record) {
    let cache = cache(faults);
    let ticket = cache.handle().ticket(&digest(1));
    assert_eq!(cache.handle().insert(ticket, &digest(1), old, 0), Outcome::Inserted);
    // Loom misses orders in which a thread that was spawned writes what the first one has read: the first one writes.
    let reader = thread::spawn(move || {
        let found = cache.handle().get(&digest(1), 50, 0).ok();
        assert!(found.is_none_or(|verdict| verdict == LONG.verdict), "torn");
    });
    assert_eq!(cache.handle().insert(ticket, &digest(1), new, 0), Outcome::Inserted);
    reader.join().unwrap();
    let after = cache.handle().get(&digest(1), 50, 0).ok();
    assert_eq!(after, (new == LONG).then_some(new.verdict));
}

const LONG: Record = Record { verdict: Verdict::Accepted, expiry: 100, epoch: 0 };
const SHORT: Record = Record { verdict: Verdict::Refused, expiry: 20, epoch: 0 };

fn shorten(faults: Faults) {
    replace_and_read(faults, LONG, SHORT);
}

fn lengthen(faults: Faults) {
    replace_and_read(faults, SHORT, LONG);
}

#[test]
fn replacing_and_reading() {
    holds(shorten);
    holds(lengthen);
}

/// The old verdict with the new one's expiry.
#[test]
fn replacing_and_reading_needs_the_second_look() {
    fails(Faults { no_second_look: true, ..Faults::NONE }, lengthen);
}

/// The new verdict with the old one's expiry.
#[test]
fn replacing_and_reading_needs_the_order() {
    fails(Faults { weak_order: true, ..Faults::NONE }, shorten);
}

/// An entry that is given up for another digest while somebody reads the first.
fn evict_and_read(faults: Faults) {
    let cache = cache(faults);
    for number in 2..18 {
        let _ = put(cache, cache.handle().ticket(&digest(number)), number);
    }
    // The oldest on probation is the first, whose verdict is another than that of the new one.
    let ticket = cache.handle().ticket(&digest(19));
    let reader = thread::spawn(move || {
        // At the first tick at which it does not hold, and the new one does.
        assert!(cache.handle().get(&digest(2), 12, 0).is_err(), "torn");
        look(cache, 2);
    });
    assert_eq!(put(cache, ticket, 19), Outcome::Inserted);
    reader.join().unwrap();
    assert!(look(cache, 19).is_some());
}

#[test]
fn evicting_and_reading() {
    holds(evict_and_read);
}

/// The old digest with the new one's expiry.
#[test]
fn evicting_and_reading_needs_the_second_look() {
    fails(Faults { no_second_look: true, ..Faults::NONE }, evict_and_read);
}

/// A removal and an insertion with a ticket from before: nothing is left, whoever comes first.
fn remove_and_insert(faults: Faults) {
    let cache = cache(faults);
    let ticket = cache.handle().ticket(&digest(1));
    let writer = thread::spawn(move || {
        let _ = put(cache, ticket, 1);
    });
    cache.handle().remove(&digest(1));
    assert!(look(cache, 1).is_none(), "not after the removal");
    writer.join().unwrap();
    assert!(look(cache, 1).is_none(), "nor later");
    // The entry is not lost.
    assert_eq!(put(cache, cache.handle().ticket(&digest(1)), 1), Outcome::Inserted);
    assert!(look(cache, 1).is_some());
}

/// The same with the roles of the threads exchanged, for what loom misses otherwise.
fn insert_and_remove(faults: Faults) {
    let cache = cache(faults);
    let ticket = cache.handle().ticket(&digest(1));
    let remover = thread::spawn(move || {
        cache.handle().remove(&digest(1));
        assert!(look(cache, 1).is_none(), "not after the removal");
    });
    let _ = put(cache, ticket, 1);
    remover.join().unwrap();
    assert!(look(cache, 1).is_none(), "nor later");
}

#[test]
fn inserting_and_removing() {
    holds(insert_and_remove);
}

#[test]
fn removing_and_inserting() {
    holds(remove_and_insert);
}

#[test]
fn removing_and_inserting_needs_the_ticket() {
    fails(Faults { no_ticket_check: true, ..Faults::NONE }, remove_and_insert);
}

#[test]
fn removing_and_inserting_needs_cancellation() {
    fails(Faults { no_cancellation: true, ..Faults::NONE }, remove_and_insert);
}

/// The same where a verdict is there and another is to take its place.
fn remove_and_replace(faults: Faults) {
    let cache = cache(faults);
    let ticket = cache.handle().ticket(&digest(1));
    assert_eq!(put(cache, ticket, 1), Outcome::Inserted);
    let writer = thread::spawn(move || {
        let _ = put(cache, ticket, 1);
    });
    cache.handle().remove(&digest(1));
    assert!(look(cache, 1).is_none());
    writer.join().unwrap();
    assert!(look(cache, 1).is_none());
}

#[test]
fn removing_and_replacing() {
    holds(remove_and_replace);
}

#[test]
fn removing_and_replacing_needs_the_ticket() {
    fails(Faults { no_ticket_check: true, ..Faults::NONE }, remove_and_replace);
}

#[test]
fn removing_and_replacing_needs_cancellation() {
    fails(Faults { no_cancellation: true, ..Faults::NONE }, remove_and_replace);
}

/// Two verdicts on one digest at once, in two entries: at most one is left, or an older one could come back later.
fn insert_twice(faults: Faults) {
    let cache = cache(faults);
    let ticket = cache.handle().ticket(&digest(1));
    let writer = thread::spawn(move || {
        let _ = put(cache, ticket, 1);
    });
    let _ = put(cache, ticket, 1);
    writer.join().unwrap();
    assert!(cache.copies(&digest(1)) <= 1);
}

#[test]
fn inserting_twice() {
    holds(insert_twice);
}

#[test]
fn inserting_twice_needs_the_older_one_ended() {
    fails(Faults { keep_doubles: true, ..Faults::NONE }, insert_twice);
}

/// Two writers of different digests: the later may take the earlier one's entry, but they are whole.
fn two_writers(faults: Faults) {
    let cache = cache(faults);
    let ticket = cache.handle().ticket(&digest(1));
    let writer = thread::spawn(move || put(cache, ticket, 2));
    let one = put(cache, ticket, 1);
    let two = writer.join().unwrap();
    let (first, second) = (look(cache, 1).is_some(), look(cache, 2).is_some());
    assert!(first || second);
    assert!(!first || one == Outcome::Inserted);
    assert!(!second || two == Outcome::Inserted);
}

#[test]
fn writing_twice() {
    holds(two_writers);
}

#[test]
fn writing_twice_needs_the_claim() {
    fails(Faults { no_claim: true, ..Faults::NONE }, two_writers);
}

/// Reader, writer and removal.
fn all_three(faults: Faults) {
    let cache = cache(faults);
    let ticket = cache.handle().ticket(&digest(1));
    let writer = thread::spawn(move || {
        let _ = put(cache, ticket, 1);
    });
    let reader = thread::spawn(move || {
        look(cache, 1);
    });
    cache.handle().remove(&digest(1));
    writer.join().unwrap();
    reader.join().unwrap();
    assert!(look(cache, 1).is_none());
}

#[test]
fn all_three_at_once() {
    holds(all_three);
}

#[test]
fn all_three_at_once_need_the_ticket() {
    fails(Faults { no_ticket_check: true, ..Faults::NONE }, all_three);
}

#[test]
fn all_three_at_once_need_cancellation() {
    fails(Faults { no_cancellation: true, ..Faults::NONE }, all_three);
}

/// Two threads count in one shard, which is nobody's own: all is counted.
fn count_together(faults: Faults) {
    let cache = with_shards::<1>(faults);
    let look_twice = move || (0..2).for_each(|_| _ = cache.handle().get(&digest(1), 0, 0));
    let other = thread::spawn(look_twice);
    look_twice();
    other.join().unwrap();
    assert_eq!(cache.stats().misses, 4);
}

#[test]
fn counting_together() {
    holds(count_together);
}

#[test]
fn counting_together_needs_a_shard_that_is_nobodys_own() {
    fails(Faults { last_lent: true, ..Faults::NONE }, count_together);
}
