//! Pools: what holds one step after the other, and under threads against an oracle.
#![cfg(not(loom))]

use bytemuck::Zeroable;
use rand_core::CryptoRng;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use symbolon_core::error::Error;
use symbolon_core::pool::{Fixed, Material, Miss, Policy, Pool};
use zeroize::Zeroize;

/// A key that a number is written into, twice: half a key would show.
#[derive(Zeroable, Zeroize)]
#[repr(C)]
struct Key {
    number: u64,
    rest: [u64; 7],
    again: u64,
}

/// One that serves once.
#[derive(Zeroable, Zeroize)]
#[repr(C)]
struct Once(u64);

/// One that serves three times.
#[derive(Zeroable, Zeroize)]
#[repr(C)]
struct Thrice(u64);

macro_rules! material {
    ($key:ty, $uses:expr) => {
        impl Material for $key {
            const NAME: &'static str = "test";
            const MAX_USES: Option<u32> = $uses;
            const PUBLIC_SIZE: usize = 0;
            const SERIAL_SIZE: usize = 0;
            type Maker<'m> = ();

            fn generate<R: CryptoRng + ?Sized>(
                &mut self,
                (): &mut (),
                _: &mut R,
            ) -> Result<(), Error> {
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
    };
}
material!(Key, None);
material!(Once, Some(1));
material!(Thrice, Some(3));

fn fill(pool: &Pool<Key>, now: u32, number: u64) -> bool {
    let made: Result<bool, ()> = pool.fill(now, |key| {
        assert_eq!((key.number, key.again), (0, 0), "an empty cell is wiped");
        (key.number, key.again) = (number, number);
        Ok(())
    });
    made.unwrap()
}

fn settings(ttl: u32, max_uses: u32, low: u32, high: u32) -> Policy {
    Policy { ttl: NonZeroU32::new(ttl), max_uses: NonZeroU32::new(max_uses), low, high }
}

static STATIC: Fixed<Key, 3> = Fixed::new(Policy::new(3));

#[test]
fn a_static_pool_gives_the_last_key_first() {
    assert_eq!(STATIC.acquire(0).unwrap_err(), Miss::Dry);
    for number in 1..=3 {
        assert!(fill(&STATIC, 0, number));
    }
    assert!(!fill(&STATIC, 0, 4), "full");
    let a = STATIC.acquire(0).unwrap();
    let b = STATIC.acquire(0).unwrap();
    assert_eq!((a.number, a.left(), b.number, b.left()), (3, 2, 2, 1));
    drop(a);
    assert_eq!(STATIC.acquire(0).unwrap().number, 3, "warm");
    drop(b);
    assert_eq!(STATIC.level(), 3);
    let stats = STATIC.stats();
    assert_eq!((stats.acquired, stats.missed, stats.filled, stats.retired), (3, 1, 3, 0));
}

#[test]
fn keys_wear_out() {
    let pool = Fixed::<Key, 2>::new(settings(0, 3, 0, 2));
    fill(&pool, 0, 7);
    for _ in 0..3 {
        assert_eq!(pool.acquire(0).unwrap().number, 7);
    }
    assert_eq!(pool.acquire(0).unwrap_err(), Miss::Dry);
    assert_eq!(pool.stats().retired, 1);

    // A kind's own limit holds whatever the policy says.
    let once = Fixed::<Once, 2>::new(settings(0, 3, 0, 2));
    once.fill(0, |key| {
        key.0 = 5;
        Ok::<_, ()>(())
    })
    .unwrap();
    assert_eq!(once.acquire(0).unwrap().0, 5);
    assert_eq!(once.acquire(0).unwrap_err(), Miss::Dry);

    // And the policy's, where it is the stricter.
    let pool = Fixed::<Thrice, 1>::new(settings(0, 2, 0, 1));
    let made: Result<bool, ()> = pool.fill(0, |key| {
        key.0 = 1;
        Ok(())
    });
    assert_eq!(made, Ok(true));
    assert!(pool.acquire(0).is_ok() && pool.acquire(0).is_ok() && pool.acquire(0).is_err());
}

#[test]
fn keys_expire_with_and_without_a_sweep() {
    let pool = Fixed::<Key, 3>::new(settings(10, 0, 0, 3));
    fill(&pool, 100, 1);
    fill(&pool, 105, 2);
    assert_eq!(pool.acquire(109).unwrap().number, 2);
    assert_eq!(pool.sweep(109), 0);
    assert_eq!(pool.sweep(110), 1, "the older one, at the bottom");
    assert_eq!((pool.level(), pool.stats().expired), (1, 1));
    assert_eq!(pool.acquire(114).unwrap().number, 2);
    assert_eq!(pool.acquire(115).unwrap_err(), Miss::Dry, "never handed out, swept or not");
    assert_eq!((pool.stats().expired, pool.stats().retired), (2, 2));
    // The tick wraps, and a birth that another thread's clock puts after now is no age at all.
    fill(&pool, u32::MAX - 3, 3);
    fill(&pool, 5, 4);
    assert_eq!(pool.acquire(4).unwrap().number, 4);
    assert_eq!(pool.sweep(6), 1);
}

#[test]
fn swept_cells_are_filled_where_they_lie() {
    let pool = Fixed::<Key, 4>::new(settings(10, 0, 0, 4));
    for number in 1..=3 {
        fill(&pool, 0, number);
    }
    fill(&pool, 8, 4);
    assert_eq!(pool.sweep(10), 3);
    assert_eq!((pool.level(), pool.wanted()), (1, 3));
    for number in 5..=7 {
        assert!(fill(&pool, 10, number));
    }
    assert!(!fill(&pool, 10, 8));
    assert_eq!((pool.level(), pool.wanted()), (4, 0));
    let leases: Vec<_> = (0..4).map(|_| pool.acquire(11).unwrap()).collect();
    let numbers: HashSet<_> = leases.iter().map(|lease| lease.number).collect();
    assert_eq!(numbers, HashSet::from([4, 5, 6, 7]));
    assert_eq!(pool.acquire(11).unwrap_err(), Miss::Dry);
}

#[test]
fn a_pop_passes_by_what_is_swept_or_being_filled() {
    let pool = Fixed::<Key, 3>::new(settings(10, 0, 0, 3));
    fill(&pool, 5, 1);
    fill(&pool, 0, 2);
    fill(&pool, 0, 3);
    assert_eq!(pool.sweep(10), 2);
    // The cell on top is taken by a filler that is slow.
    let mut slow = pool.vacancy().unwrap();
    slow.number = 9;
    assert_eq!(pool.acquire(11).unwrap().number, 1);
    assert_eq!(pool.stats().busy, 1);
    slow.commit(11);
    assert_eq!(pool.acquire(11).unwrap().number, 9);
    assert_eq!(pool.level(), 2);
    // All three cells are still there.
    assert!(fill(&pool, 11, 4));
    assert!(!fill(&pool, 11, 5));
}

#[test]
fn shares_end_one_use_together() {
    let pool = Fixed::<Key, 1>::new(settings(0, 1, 0, 1));
    fill(&pool, 0, 1);
    let mut lease = pool.acquire(0).unwrap();
    assert!(lease.get_mut().is_some());
    let shared = lease.share().unwrap();
    assert!(lease.get_mut().is_none(), "others read it");
    drop(lease);
    assert_eq!(shared.number, 1);
    assert!(!fill(&pool, 0, 2), "still in use");
    assert_eq!(pool.drain(), 1);
    drop(shared);
    assert_eq!(pool.stats().retired, 1);
    assert!(fill(&pool, 0, 2));

    // The next key of the cell has another name.
    let first = pool.acquire(0).unwrap().id();
    fill(&pool, 0, 3);
    let second = pool.acquire(0).unwrap().id();
    assert_eq!(first.cell, second.cell);
    assert_ne!(first, second);
}

#[test]
fn a_lease_is_carried_by_another_way_to_its_own_pool_only() {
    let pools = [const { Fixed::<Key, 2>::new(Policy::new(2)) }; 2];
    let [own, other] = &pools;
    fill(own, 0, 1);
    fill(other, 0, 2);
    let lease = own.acquire(0).unwrap();
    let lease = lease.carried_by(&**other).unwrap_err();
    let lease = lease.carried_by(&**own).unwrap();
    assert_eq!((lease.number, own.stats().leased, other.stats().ready), (1, 1, 1));
    drop(lease);
    assert_eq!((own.level(), own.stats().acquired), (1, 1));
}

#[test]
fn a_key_can_be_retired_by_hand_and_all_by_a_flush() {
    let pool = Fixed::<Key, 3>::new(Policy::new(3));
    for number in 1..=3 {
        fill(&pool, 0, number);
    }
    let lease = pool.acquire(0).unwrap();
    let shared = lease.share().unwrap();
    lease.retire();
    assert_eq!(shared.number, 3);
    drop(shared);
    assert_eq!((pool.level(), pool.stats().retired), (2, 1));
    assert_eq!(pool.flush(), 2);
    assert_eq!(pool.acquire(0).unwrap_err(), Miss::Dry);
    assert_eq!(pool.stats().expired, 0);
    assert_eq!(pool.drain(), 0);
}

#[test]
fn fillers_that_fail_or_panic_give_their_cell_back() {
    let pool = Fixed::<Key, 1>::new(settings(10, 0, 0, 1));
    for in_place in [false, true] {
        if in_place {
            fill(&pool, 0, 1);
            assert_eq!(pool.sweep(10), 1);
        }
        let failed = pool.fill(0, |key| {
            key.number = 1;
            Err("no entropy")
        });
        assert_eq!(failed, Err("no entropy"));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            pool.fill(0, |key| -> Result<(), ()> {
                key.number = 1;
                panic!("in the middle")
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(pool.stats().ready, 0);
        // A filler that never comes back: its cell is handed to nobody, and nobody waits.
        let stalled = pool.vacancy().unwrap();
        assert_eq!(pool.acquire(0).unwrap_err(), Miss::Dry);
        assert!(pool.vacancy().is_none());
        drop(stalled);
        assert!(fill(&pool, 20, 2));
        assert_eq!(pool.acquire(20).unwrap().number, 2);
        pool.drain();
    }
}

#[test]
fn closing_wipes_everything() {
    let pool = Fixed::<Key, 4>::new(Policy::new(4));
    for number in 1..=2 {
        fill(&pool, 0, number);
    }
    let lease = pool.acquire(0).unwrap();
    let vacancy = pool.vacancy().unwrap();
    pool.close();
    assert_eq!(pool.acquire(0).unwrap_err(), Miss::Closed);
    assert!(pool.vacancy().is_none());
    assert_eq!(pool.drain(), 2);
    vacancy.commit(0);
    assert_eq!(pool.drain(), 1);
    drop(lease);
    assert_eq!(pool.drain(), 0);
}

#[test]
fn closed_pools_take_nothing_in() {
    let pool = Fixed::<Key, 2>::new(Policy::new(2));
    fill(&pool, 0, 1);
    let (lease, vacancy) = (pool.acquire(0).unwrap(), pool.vacancy().unwrap());
    pool.close();
    vacancy.commit(0);
    drop(lease);
    let stats = pool.stats();
    assert_eq!((stats.ready, stats.retired, stats.filled), (0, 1, 1));
}

#[test]
fn ids_tell_who_is_alive() {
    let pool = Fixed::<Key, 1>::new(settings(0, 1, 0, 1));
    let vacancy = pool.vacancy().unwrap();
    let first = vacancy.id();
    assert!(pool.is_alive(first));
    vacancy.commit(0);
    assert!(pool.is_alive(first));
    let lease = pool.acquire(0).unwrap();
    assert_eq!(lease.id(), first);
    assert!(pool.is_alive(first));
    drop(lease);
    assert!(!pool.is_alive(first));
    let vacancy = pool.vacancy().unwrap();
    let second = vacancy.id();
    assert!(!pool.is_alive(first) && pool.is_alive(second));
    vacancy.commit(0);
    assert!(!pool.is_alive(first) && pool.is_alive(second));
}

#[test]
fn a_cell_is_taken_off_and_brought_back_again_and_again() {
    let pool = Fixed::<Key, 1>::new(settings(10, 0, 0, 1));
    fill(&pool, 0, 1);
    for round in 1..4 {
        assert_eq!(pool.sweep(10 * round), 1);
        let mut slow = pool.vacancy().unwrap();
        assert!(pool.acquire(10 * round).is_err(), "takes it off");
        slow.number = 7;
        slow.commit(10 * round);
        assert_eq!((pool.level(), pool.acquire(10 * round).unwrap().number), (1, 7));
    }
}

/// Keys that are swept lie on the stack still, and do not count as left.
#[test]
fn what_is_left_are_keys() {
    let pool = Fixed::<Key, 8>::new(settings(10, 0, 4, 8));
    for number in 1..=6 {
        fill(&pool, 0, number);
    }
    fill(&pool, 5, 7);
    fill(&pool, 5, 8);
    assert_eq!(pool.sweep(10), 6);
    assert_eq!((pool.level(), pool.acquire(10).unwrap().left()), (2, 1));
}

/// The longest age, with the tick going round three times.
#[test]
fn the_longest_age_ends_too() {
    let pool = Fixed::<Key, 1>::new(settings(u32::MAX, 0, 0, 1));
    let mut now = 0_u32;
    let mut swept = 0;
    for _ in 0..12 {
        fill(&pool, now, 1);
        assert_eq!(pool.sweep(now.wrapping_add(Policy::MAX_TTL - 1)), 0);
        now = now.wrapping_add(Policy::MAX_TTL + (Policy::MAX_TTL >> 1));
        swept += pool.sweep(now);
    }
    assert_eq!(swept, 12);
}

#[test]
fn impossible_settings_are_clamped() {
    let pool = Fixed::<Key, 4>::new(settings(u32::MAX, 0, 9, 8));
    assert_eq!((pool.policy().low, pool.policy().high), (4, 4));
    assert_eq!(pool.policy().ttl.unwrap().get(), Policy::MAX_TTL);
    assert!(pool.is_low());
    for number in 1..=4 {
        fill(&pool, 0, number);
    }
    assert!(!pool.is_low());
}

#[test]
fn settings_can_be_changed() {
    let pool = Fixed::<Key, 8>::new(Policy::new(8));
    assert_eq!(pool.policy(), Policy::new(8));
    fill(&pool, 0, 1);
    let other = settings(10, 1, 3, 5);
    pool.set_policy(other);
    assert_eq!((pool.policy(), pool.wanted()), (other, 4));
    fill(&pool, 0, 2);
    assert_eq!(pool.acquire(0).unwrap().number, 2);
    // It was made under the new policy and is used up; the one before is not.
    assert_eq!(pool.acquire(0).unwrap().number, 1);
    assert_eq!(pool.acquire(0).unwrap().number, 1);
    assert_eq!(pool.acquire(10).unwrap_err(), Miss::Dry);
}

#[test]
fn sizes_are_what_is_documented() {
    assert_eq!(Pool::<Key>::size(0), None);
    assert_eq!(Pool::<Key>::size(usize::MAX), None);
    assert_eq!(Pool::<Key>::CELL_SIZE, 128, "56 bytes of state, 72 of the key, whole lines");
    let size = Pool::<Key>::size(10).unwrap();
    assert_eq!(size, (512 + 10 * Pool::<Key>::CELL_SIZE).next_multiple_of(128));
    assert_eq!(size_of::<Fixed<Key, 10>>(), size);
}

/// Ends the other threads when one is done, or fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Threads that acquire, share, retire and drop, threads that fill, one that sweeps and flushes, against
/// an oracle: who holds which key, and which keys are over.
#[test]
fn threads_against_an_oracle() {
    const CELLS: usize = 64;
    const USES: u64 = 3;
    const TTL: u64 = 3;
    static POOL: Fixed<Key, CELLS> = Fixed::new(Policy {
        ttl: NonZeroU32::new(TTL as u32),
        max_uses: NonZeroU32::new(USES as u32),
        low: 8,
        high: CELLS as u32,
    });
    static STOP: AtomicBool = AtomicBool::new(false);
    static TICK: AtomicU64 = AtomicU64::new(0);
    static MADE: AtomicU64 = AtomicU64::new(0);
    let held = Mutex::new(HashSet::new());
    let used = Mutex::new(HashMap::<u64, u64>::new());
    let born = Mutex::new(HashMap::<u64, u64>::new());
    let start = Barrier::new(5);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                while !STOP.load(Ordering::Relaxed) {
                    let number = MADE.fetch_add(1, Ordering::Relaxed) + 1;
                    let now = TICK.load(Ordering::Relaxed);
                    born.lock().unwrap().insert(number, now);
                    if number.is_multiple_of(17) {
                        let _ = POOL.fill(now as u32, |key| {
                            key.number = number;
                            Err(())
                        });
                    } else if !fill(&POOL, now as u32, number) {
                        thread::yield_now();
                    }
                }
            });
        }
        let users: Vec<_> = (0..2)
            .map(|id| {
                let (held, used, born, start) = (&held, &used, &born, &start);
                scope.spawn(move || {
                    let _stop = StopOnDrop(&STOP);
                    start.wait();
                    let mut had = 0_u64;
                    let mut turn = id;
                    while had < 40_000 && !STOP.load(Ordering::Relaxed) {
                        turn += 1;
                        let now = TICK.load(Ordering::Relaxed);
                        let Ok(lease) = POOL.acquire(now as u32) else {
                            thread::yield_now();
                            continue;
                        };
                        had += 1;
                        let number = lease.number;
                        assert_ne!(number, 0, "wiped");
                        assert!(held.lock().unwrap().insert(number), "handed out twice at once");
                        let uses = {
                            let mut used = used.lock().unwrap();
                            let uses = used.entry(number).or_default();
                            *uses += 1;
                            *uses
                        };
                        assert!(uses <= USES, "handed out after its last use");
                        let age = now.saturating_sub(born.lock().unwrap()[&number]);
                        assert!(age < TTL, "handed out when it was expired");
                        let shared = (turn % 3 == 0).then(|| lease.share().unwrap());
                        assert_eq!((lease.number, lease.again), (number, number));
                        if turn % 5 == 0 {
                            used.lock().unwrap().insert(number, USES);
                            held.lock().unwrap().remove(&number);
                            lease.retire();
                        } else {
                            held.lock().unwrap().remove(&number);
                            drop(lease);
                        }
                        if let Some(shared) = shared {
                            assert_eq!((shared.number, shared.again), (number, number));
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            start.wait();
            while !STOP.load(Ordering::Relaxed) {
                let now = TICK.fetch_add(1, Ordering::Relaxed) + 1;
                if now.is_multiple_of(3) {
                    POOL.sweep(now as u32);
                }
                if now.is_multiple_of(997) {
                    POOL.flush();
                }
            }
        });
        for user in users {
            user.join().unwrap();
        }
        STOP.store(true, Ordering::Relaxed);
    });
    let stats = POOL.stats();
    assert_eq!(stats.acquired, 80_000);
    assert_eq!((stats.leased, stats.busy), (0, 0));
    assert_eq!(stats.ready, POOL.level());
    assert_eq!(stats.filled, stats.retired + u64::from(stats.ready));
    // How many expired is the scheduler's to say.
    assert!(stats.expired < stats.retired, "{stats:?}");
    // No cell was lost.
    assert_eq!(POOL.flush(), stats.ready);
    for _ in 0..CELLS {
        assert!(fill(&POOL, 0, 1));
    }
    assert!(!fill(&POOL, 0, 1));
}
