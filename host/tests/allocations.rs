//! What is found again is found without allocating: counted by the allocator, for each thread by itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::thread;
use symbolon_core::cache::{Digest, Record, Ticket, Verdict};
use symbolon_host::cache::{Heap, Verdicts};
use symbolon_host::identity::gate::{Claim, Passage, Settings};
use symbolon_host::identity::registry::Registry;
use symbolon_host::identity::statement::{Context, proof_digest};
use symbolon_host::identity::{Credential, Gate, Prover};
use symbolon_platform::clock;

struct Counting;

thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });

fn count() {
    // A thread that ends allocates where there is no counter any more.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: everything is handed to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often this thread allocates meanwhile.
fn allocations(run: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    run();
    COUNT.get() - before
}

#[test]
fn allocations_are_counted() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
    assert_eq!(allocations(|| _ = std::hint::black_box(1)), 0);
}

fn digest(number: u64) -> Digest {
    let mut digest = [0; 32];
    let halves = [1, 2].map(|half| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(half));
    digest[..8].copy_from_slice(&halves[0].to_le_bytes());
    digest[16..24].copy_from_slice(&halves[1].to_le_bytes());
    digest
}

/// As many of everything that some are sampled and timed, by threads with counters of their own and without, in a cache
/// that is too small for them. The first look-up counts as well.
#[test]
fn the_cache_allocates_when_it_starts_alone() {
    let mut heap = Heap::new(1000, 1);
    let verdicts = Verdicts::new(&mut heap).unwrap();
    let work = || {
        for number in 0..10_000 {
            let (desk, digest) = (verdicts.desk(), digest(number % 2_000));
            let Err(ticket) = desk.get(&digest, 0, 0) else { continue };
            let record = Record { verdict: Verdict::Accepted, expiry: 1, epoch: 0 };
            // Others remove in the same set.
            let _ = desk.insert(ticket, &digest, record, 0);
            desk.remove(&digest);
            let _ = desk.insert(desk.ticket(&digest), &digest, record, 0);
        }
        let mut found = [Err(Ticket::NONE); 64];
        let digests: [Digest; 64] = std::array::from_fn(|i| digest(i as u64));
        verdicts.desk().get_many(&digests, 0, 0, &mut found);
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(allocations(work), 0));
        }
    });
    let snapshot = verdicts.snapshot();
    assert!(snapshot.stats.hits > 0 && snapshot.stats.misses > 0 && snapshot.p50_ns.is_some());
}

#[test]
fn the_gate_finds_without_allocating() {
    const DEPLOYMENT: [u8; 16] = [0xd0; 16];
    const DEVICE: Digest = [1; 32];
    let dir = tempfile::tempdir().unwrap();
    Registry::create(dir.path(), 20, DEPLOYMENT).unwrap();
    let registry = Arc::new(Registry::open(dir.path()).unwrap());
    let person = Credential::draw(b"staff").unwrap();
    registry.enrol(&[("person", person.leaf())]).unwrap();
    registry.publish(clock::unix_ms(), 3_600_000).unwrap();
    let settings = Settings { capacity: 1024, threads: 1, ..Settings::default() };
    let gate = Gate::new(Arc::clone(&registry), settings).unwrap();
    let path = registry.path("person").unwrap();
    let context = Context { deployment: DEPLOYMENT, device: DEVICE, epoch: path.epoch };
    let (statement, proof) = Prover::new().prove(&person, &path.place(), &context).unwrap();
    let claim = Claim { epoch: path.epoch, nullifier: statement.nullifier };
    gate.present(&DEVICE, &claim, &proof).unwrap();
    let digest = proof_digest(&proof);
    let ask = |device: &Digest, passage: Passage| {
        (0..3_000).for_each(|_| assert_eq!(gate.recall(device, &claim, &digest), passage));
    };
    assert_eq!(allocations(|| ask(&DEVICE, Passage::Holds(digest))), 0);
    assert_eq!(allocations(|| ask(&[2; 32], Passage::Unknown)), 0);
}
