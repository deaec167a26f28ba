//! Models of the cache, as `loom.rs` has them of pools: each must hold as the code stands, and must fail with a
//! mistake in it (`cache::faults`). `cargo xtask loom`.
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

/// A cache of one set.
fn cache(faults: Faults) -> &'static Cache<'static> {
    // A reference count of loom's would order the threads by itself; whoever models forgets.
    let memory = Memory {
        tags: Box::leak(Box::new([Tags::new()])),
        sets: Box::leak(Box::new([Set::new()])),
        entries: Box::leak(Box::new([std::array::from_fn(|_| Entry::new())])),
        sketch: Box::leak(Box::new([Line::new()])),
        shards: Box::leak(Box::<[Shard; 0]>::new([])),
    };
    let key = Key::draw(&mut ChaCha20Rng::from_seed([1; 32]));
    Box::leak(Box::new(Cache::broken(memory, key, faults).unwrap()))
}

fn digest(number: u8) -> Digest {
    [number; 32]
}

/// What is true of a digest: all its parts tell whose it is.
fn record(number: u8) -> Record {
    let verdict = if number % 2 == 0 { Verdict::Refused } else { Verdict::Accepted };
    Record { verdict, expiry: 10 + u32::from(number), epoch: 0 }
}

fn put(cache: &Cache<'_>, ticket: Ticket, number: u8) -> Outcome {
    cache.handle().insert(ticket, &digest(number), record(number), 0)
}

/// At the last tick at which it holds, and at the first at which it does not.
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

/// A writer that replaces a record by a shorter one: whoever reads sees one or the other.
fn replace_and_read(faults: Faults) {
    let cache = cache(faults);
    let number = 1;
    let long = Record { verdict: Verdict::Accepted, expiry: 100, epoch: 0 };
    let short = Record { verdict: Verdict::Refused, expiry: 20, epoch: 0 };
    let ticket = cache.handle().ticket(&digest(number));
    assert_eq!(cache.handle().insert(ticket, &digest(number), long, 0), Outcome::Inserted);
    let writer = thread::spawn(move || {
        _ = cache.handle().insert(ticket, &digest(number), short, 0);
    });
    // Only the long one holds at 50.
    let found = cache.handle().get(&digest(number), 50, 0).ok();
    assert!(found.is_none_or(|verdict| verdict == Verdict::Accepted), "torn");
    writer.join().unwrap();
    assert!(cache.handle().get(&digest(number), 50, 0).is_err());
    assert_eq!(cache.handle().get(&digest(number), 19, 0), Ok(Verdict::Refused));
}

#[test]
fn replacing_and_reading() {
    holds(replace_and_read);
}

#[test]
fn replacing_and_reading_needs_the_second_look() {
    fails(Faults { no_second_look: true, ..Faults::NONE }, replace_and_read);
}

/// An entry that is given up for another digest while somebody reads the first.
fn evict_and_read(faults: Faults) {
    let cache = cache(faults);
    for number in 2..18 {
        let _ = put(cache, cache.handle().ticket(&digest(number)), number);
    }
    // The oldest on probation.
    let victim = 2;
    assert!(look(cache, victim).is_some());
    let writer = thread::spawn(move || {
        let _ = put(cache, cache.handle().ticket(&digest(19)), 19);
        let _ = put(cache, cache.handle().ticket(&digest(20)), 20);
    });
    look(cache, 3);
    look(cache, 19);
    writer.join().unwrap();
    assert!(look(cache, 20).is_some());
}

#[test]
fn evicting_and_reading() {
    holds(evict_and_read);
}

/// What is published is there whole: a first verdict, read by another thread.
fn publish_and_read(faults: Faults) {
    let cache = cache(faults);
    let writer = thread::spawn(move || {
        // Words of another digest lie there from before.
        let _ = put(cache, cache.handle().ticket(&digest(1)), 1);
    });
    // Expired at once, unless the expiry is that of the digest.
    let found = cache.handle().get(&digest(1), 10, 0);
    assert!(found.is_ok() || cache.stats().expired == 0);
    if let Ok(verdict) = found {
        assert_eq!(verdict, Verdict::Accepted);
    }
    writer.join().unwrap();
    assert!(look(cache, 1).is_some());
}

#[test]
fn publishing_and_reading() {
    holds(publish_and_read);
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
#[test]
fn removing_and_replacing() {
    holds(|faults| {
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
    });
}

/// Two verdicts on one digest at once: never both.
fn insert_twice(faults: Faults) {
    let cache = cache(faults);
    let ticket = cache.handle().ticket(&digest(1));
    let writer = thread::spawn(move || {
        let _ = put(cache, ticket, 1);
    });
    let _ = put(cache, ticket, 1);
    writer.join().unwrap();
    // A removal ends all there are, and says so; so each is ended by itself.
    let later = Record { verdict: Verdict::Refused, expiry: 100, epoch: 0 };
    assert_eq!(cache.handle().insert(ticket, &digest(1), later, 0), Outcome::Inserted);
    assert_eq!(cache.handle().get(&digest(1), 0, 0), Ok(Verdict::Refused));
}

#[test]
fn inserting_twice() {
    holds(insert_twice);
}

/// Two writers of different digests, one entry: whole, and none is lost.
#[test]
fn two_writers() {
    holds(|faults| {
        let cache = cache(faults);
        let ticket = cache.handle().ticket(&digest(1));
        let writer = thread::spawn(move || put(cache, ticket, 2));
        let one = put(cache, ticket, 1);
        let two = writer.join().unwrap();
        assert_eq!(look(cache, 1).is_some(), one == Outcome::Inserted);
        assert_eq!(look(cache, 2).is_some(), two == Outcome::Inserted);
        assert!(one == Outcome::Inserted || two == Outcome::Inserted);
    });
}

/// Reader, writer and removal.
#[test]
fn all_three() {
    holds(|faults| {
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
    });
}
