//! Models of pools: loom runs every order in which a few threads can do a few steps, and every value that
//! the memory model lets them read. `cargo xtask loom`.
//!
//! Each model runs as the code stands, and must hold, and again with a mistake in it (`pool::faults`),
//! and must then fail: a model that passes whatever the code does proves nothing.
#![cfg(loom)]

use bytemuck::Zeroable;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use rand_core::CryptoRng;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use symbolon_core::error::Error;
use symbolon_core::pool::faults::Faults;
use symbolon_core::pool::{Fixed, Material, Policy};
use zeroize::Zeroize;

#[derive(Zeroable, Zeroize)]
#[repr(C)]
struct Key(u64);

impl Material for Key {
    const NAME: &'static str = "test";
    const MAX_USES: Option<u32> = None;
    const PUBLIC_SIZE: usize = 0;
    const SERIAL_SIZE: usize = 0;
    type Maker<'m> = ();

    fn generate<R: CryptoRng + ?Sized>(&mut self, (): &mut (), _: &mut R) -> Result<(), Error> {
        Ok(())
    }
    fn public(&self, (): &mut (), _: &mut [u8]) -> Result<(), Error> {
        Ok(())
    }
    fn serialise(&self, (): &mut (), _: &mut [u8]) -> Result<(), Error> {
        Ok(())
    }
    fn restore(&mut self, (): &mut (), _: &[u8]) -> Result<(), Error> {
        Ok(())
    }
}

type Pool<const CELLS: usize> = Arc<Fixed<Key, CELLS>>;

const TTL: u32 = 10;

fn pool<const CELLS: usize>(max_uses: u32, faults: Faults) -> Pool<CELLS> {
    let ttl = NonZeroU32::new(TTL);
    let max_uses = NonZeroU32::new(max_uses);
    let high = CELLS as u32;
    Arc::new(Fixed::new(Policy { ttl, max_uses, low: 0, high }, faults))
}

fn fill<const CELLS: usize>(pool: &Fixed<Key, CELLS>, now: u32, number: u64) -> bool {
    let made: Result<bool, ()> = pool.fill(now, |key| {
        assert_eq!(key.0, 0, "an empty cell is wiped");
        key.0 = number;
        Ok(())
    });
    made.unwrap()
}

/// Every key that is ready is handed out once, and nothing is lost: for when the threads are done.
fn account<const CELLS: usize>(pool: &Fixed<Key, CELLS>, now: u32, mut expected: Vec<u64>) {
    let leases: Vec<_> = std::iter::from_fn(|| pool.acquire(now).ok()).collect();
    let mut found: Vec<_> = leases.iter().map(|lease| lease.0).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let empty = CELLS - found.len();
    for _ in 0..empty {
        assert!(fill(pool, now, 99), "an empty cell was lost");
    }
    assert!(!fill(pool, now, 99), "a cell is on two stacks");
}

/// Runs a model in every order with so many preemptions, and gives in how many that were.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) -> usize {
    static ORDERS: Mutex<usize> = Mutex::new(0);
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    *ORDERS.lock().unwrap() = 0;
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        *ORDERS.lock().unwrap() += 1;
        model();
    });
    *ORDERS.lock().unwrap()
}

/// As the code stands the model must hold, in more than a few orders: loom misses those in which a thread
/// that was spawned writes what the first one has read.
fn holds(model: fn(Faults)) {
    holds_with(4, model);
}

/// The same, for models of many steps.
fn holds_with(preemptions: usize, model: fn(Faults)) {
    let orders = explore(preemptions, move || model(Faults::NONE));
    println!("{orders} orders");
    assert!(orders >= 7, "{orders}");
}

/// With a mistake in the code it must not.
fn fails(faults: Faults, model: fn(Faults)) {
    let failed = catch_unwind(AssertUnwindSafe(|| explore(4, move || model(faults))));
    assert!(failed.is_err(), "the model does not see {faults:?}");
}

/// Two threads that take and put back, so that the same cell comes back on top while the other pops it.
fn take_and_put_back(faults: Faults) {
    let pool = pool::<2>(0, faults);
    fill(&pool, 0, 1);
    fill(&pool, 0, 2);
    let other = Arc::clone(&pool);
    let thread = thread::spawn(move || {
        let first = other.acquire(0).ok();
        let second = other.acquire(0).ok();
        drop(first);
        drop(second);
    });
    let lease = pool.acquire(0).ok();
    assert!(lease.is_none_or(|lease| lease.0 == 1 || lease.0 == 2));
    thread.join().unwrap();
    account(&pool, 0, vec![1, 2]);
}

#[test]
fn taking_and_putting_back() {
    holds(take_and_put_back);
}

#[test]
fn taking_and_putting_back_needs_the_tag() {
    fails(Faults { no_tag: true, ..Faults::NONE }, take_and_put_back);
}

/// A filler and a taker: what is handed out is a whole key.
fn fill_and_take(faults: Faults) {
    let pool = pool::<2>(1, faults);
    let taker = Arc::clone(&pool);
    let take = |pool: &Fixed<Key, 2>| pool.acquire(0).ok().map(|lease| lease.0);
    let thread = thread::spawn(move || [take(&taker), take(&taker)]);
    fill(&pool, 0, 7);
    fill(&pool, 0, 8);
    let seen = thread.join().unwrap();
    assert!(seen.iter().flatten().all(|key| [7, 8].contains(key)), "{seen:?}");
    account(&pool, 0, [7, 8].into_iter().filter(|key| !seen.contains(&Some(*key))).collect());
}

#[test]
fn filling_and_taking() {
    holds(fill_and_take);
}

#[test]
fn filling_and_taking_needs_publication() {
    fails(Faults { weak_order: true, ..Faults::NONE }, fill_and_take);
}

/// A sweep against a taker: a key is handed out, or wiped, and never both.
fn sweep_and_take(faults: Faults) {
    let pool = pool::<2>(0, faults);
    fill(&pool, 0, 1);
    fill(&pool, 5, 2);
    let sweeper = Arc::clone(&pool);
    let thread = thread::spawn(move || sweeper.sweep(TTL));
    // By the taker's clock nothing is expired yet.
    let seen: Vec<_> = (0..2).map_while(|_| pool.acquire(6).ok()).collect();
    assert!(seen.iter().all(|lease| lease.0 == 1 || lease.0 == 2));
    let swept = thread.join().unwrap();
    assert!(seen.iter().all(|lease| lease.0 == 1 || lease.0 == 2));
    drop(seen);
    let expected = if swept == 1 { vec![2] } else { vec![1, 2] };
    account(&pool, 6, expected);
}

#[test]
fn sweeping_and_taking() {
    holds(sweep_and_take);
}

#[test]
fn sweeping_and_taking_needs_the_check() {
    fails(Faults { no_retire_check: true, ..Faults::NONE }, sweep_and_take);
}

/// The same, of a pool that is never dropped: one failure is enough.
fn sweep_and_keep(faults: Faults) {
    let policy = Policy { ttl: NonZeroU32::new(TTL), max_uses: None, low: 0, high: 2 };
    let pool: &'static Fixed<Key, 2> = Box::leak(Box::new(Fixed::new(policy, faults)));
    fill(pool, 0, 1);
    fill(pool, 5, 2);
    let thread = thread::spawn(move || pool.sweep(TTL));
    for lease in (0..2).map_while(|_| pool.acquire(6).ok()) {
        let key = lease.0;
        std::mem::forget(lease);
        assert!(key == 1 || key == 2);
    }
    thread.join().unwrap();
}

#[test]
fn sweeping_and_keeping() {
    holds(sweep_and_keep);
}

#[test]
fn sweeping_and_keeping_needs_the_sweep_announced() {
    fails(Faults { silent_sweep: true, ..Faults::NONE }, sweep_and_keep);
}

/// Two sweeps and a taker that puts back: a pop after one sweep, in the middle of the other.
#[test]
fn two_sweeps() {
    holds_with(2, |faults| {
        let pool = pool::<2>(0, faults);
        fill(&pool, 0, 1);
        fill(&pool, 5, 2);
        let sweepers = [Arc::clone(&pool), Arc::clone(&pool)];
        let threads = sweepers.map(|pool| thread::spawn(move || pool.sweep(TTL)));
        let first = pool.acquire(6).ok().map(|lease| lease.0);
        let second = pool.acquire(6).ok().map(|lease| lease.0);
        assert!([first, second].iter().flatten().all(|key| *key == 1 || *key == 2));
        let swept: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(swept <= 1);
        account(&pool, 6, if swept == 1 { vec![2] } else { vec![1, 2] });
    });
}

/// What was popped before a sweep is not touched by it, though its state says so only later; and what comes
/// back in the middle of it is.
#[test]
fn sweeping_deep() {
    holds_with(2, |faults| {
        let pool = pool::<3>(0, faults);
        for number in 1..=3 {
            fill(&pool, 0, number);
        }
        let user = Arc::clone(&pool);
        let thread = thread::spawn(move || {
            let a = user.acquire(0).ok();
            let b = user.acquire(0).ok();
            assert!([&a, &b].into_iter().flatten().all(|lease| lease.0 != 0));
            drop(a);
            assert!(b.as_ref().is_none_or(|lease| lease.0 != 0));
        });
        pool.sweep(TTL);
        thread.join().unwrap();
        pool.sweep(TTL);
        account(&pool, 0, vec![]);
    });
}

#[test]
fn sweeping_and_taking_needs_the_swept_cell_back() {
    fails(Faults { lose_swept: true, ..Faults::NONE }, sweep_and_take);
}

/// A filler that uses a swept cell where it lies, against a taker that comes by.
fn refill_in_place(faults: Faults) {
    let pool = pool::<2>(0, faults);
    fill(&pool, 5, 1);
    fill(&pool, 0, 2);
    assert_eq!(pool.sweep(TTL), 1);
    let filler = Arc::clone(&pool);
    let thread = thread::spawn(move || fill(&filler, TTL, 3));
    let first = pool.acquire(TTL).unwrap();
    let second = pool.acquire(TTL).ok();
    let seen: Vec<_> = [Some(first), second].into_iter().flatten().map(|l| l.0).collect();
    assert!(seen.iter().all(|key| *key == 1 || *key == 3), "{seen:?}");
    // While the taker carries the empty cell from one stack to the other, the filler finds none.
    let filled = thread.join().unwrap();
    account(&pool, TTL, if filled { vec![1, 3] } else { vec![1] });
}

#[test]
fn refilling_in_place() {
    holds(refill_in_place);
}

#[test]
fn refilling_in_place_needs_publication() {
    fails(Faults { weak_order: true, ..Faults::NONE }, refill_in_place);
}

/// Two leases on one key, dropped by two threads, the second refilled by whoever comes first.
fn share(faults: Faults) {
    let high = 1;
    let policy = Policy { ttl: None, max_uses: NonZeroU32::new(1), low: 0, high };
    // A reference count of loom's would order the threads by itself.
    let pool: &'static Fixed<Key, 1> = Box::leak(Box::new(Fixed::new(policy, faults)));
    fill(pool, 0, 1);
    let lease = pool.acquire(0).unwrap();
    let shared = lease.share().unwrap();
    let thread = thread::spawn(move || {
        assert_eq!(shared.0, 1);
        drop(shared);
    });
    assert_eq!(lease.0, 1);
    drop(lease);
    let filled = fill(pool, 0, 2);
    thread.join().unwrap();
    account(pool, 0, if filled { vec![2] } else { vec![] });
}

#[test]
fn sharing() {
    holds(share);
}

#[test]
fn sharing_needs_to_wait_for_the_others() {
    fails(Faults { weak_share: true, ..Faults::NONE }, share);
}

/// Three threads: fill, take and sweep at once.
#[test]
fn all_three() {
    fn model(faults: Faults) {
        let pool = pool::<2>(1, faults);
        fill(&pool, 0, 1);
        let [filler, sweeper] = [Arc::clone(&pool), Arc::clone(&pool)];
        let filler = thread::spawn(move || fill(&filler, 5, 2));
        let sweeper = thread::spawn(move || sweeper.sweep(TTL));
        let seen = pool.acquire(6).ok().map(|lease| lease.0);
        assert!(seen.is_none_or(|key| key == 1 || key == 2));
        let (filled, swept) = (filler.join().unwrap(), sweeper.join().unwrap());
        assert!(filled, "one cell was empty all the time");
        let mut left = vec![1, 2];
        left.retain(|key| Some(*key) != seen && !(*key == 1 && swept == 1));
        account(&pool, 6, left);
    }
    holds(model);
}

/// A pool that is closed while a lease comes back: what the closer does not see the next drain does.
#[test]
fn closing() {
    holds(|faults| {
        let pool = pool::<2>(0, faults);
        fill(&pool, 0, 1);
        fill(&pool, 0, 2);
        let user = Arc::clone(&pool);
        let thread = thread::spawn(move || drop(user.acquire(0)));
        pool.close();
        let left = pool.drain();
        thread.join().unwrap();
        assert!(left <= 1);
        assert_eq!(pool.drain(), 0);
    });
}

/// A pool that drains to nothing while somebody fills it: then no key is in it, now or later.
fn close_and_fill(faults: Faults) {
    let pool = pool::<1>(0, faults);
    let closer = Arc::clone(&pool);
    let thread = thread::spawn(move || {
        closer.close();
        closer.drain()
    });
    let _ = pool.fill(0, |key| Ok::<_, ()>(key.0 = 1));
    if thread.join().unwrap() == 0 {
        assert_eq!(pool.stats().ready, 0);
    }
}

#[test]
fn closing_and_filling() {
    holds(close_and_fill);
}

#[test]
fn closing_and_filling_needs_the_fence() {
    fails(Faults { no_closing_fence: true, ..Faults::NONE }, close_and_fill);
}

/// A key that was changed and came back, against a sweep that looked before.
#[test]
fn sweeping_what_came_back() {
    fn change(pool: &Fixed<Key, 1>) {
        if let Ok(mut lease) = pool.acquire(0) {
            lease.get_mut().unwrap().0 = 2;
        }
    }
    for swapped in [false, true] {
        let orders = explore(4, move || {
            let pool = pool::<1>(0, Faults::NONE);
            fill(&pool, 0, 1);
            let other = Arc::clone(&pool);
            let thread = if swapped {
                thread::spawn(move || change(&other))
            } else {
                thread::spawn(move || _ = other.sweep(TTL))
            };
            if swapped {
                pool.sweep(TTL);
            } else {
                change(&pool);
            }
            thread.join().unwrap();
        });
        assert!(orders >= 7, "{orders}");
    }
}

/// Two fillers at once leave an exact level.
#[test]
fn two_fillers() {
    holds(|faults| {
        let pool = pool::<2>(0, faults);
        let other = Arc::clone(&pool);
        let thread = thread::spawn(move || fill(&other, 0, 2));
        fill(&pool, 0, 1);
        thread.join().unwrap();
        assert_eq!(pool.level(), 2);
        account(&pool, 0, vec![1, 2]);
    });
}

/// A broken counter would be found: loom itself works.
#[test]
fn loom_sees_a_lost_update() {
    let failed = catch_unwind(|| {
        loom::model(|| {
            let count = Arc::new(AtomicUsize::new(0));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let count = Arc::clone(&count);
                    thread::spawn(move || {
                        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(count.load(Ordering::Relaxed), 2);
        });
    });
    assert!(failed.is_err());
}
