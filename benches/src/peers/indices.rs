//! What else hands out indices, or keys by value: without state, counters, ages or wiping.

use std::hint::{black_box, spin_loop};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::pool::Exchange;

/// Whether these are all indices, each once.
fn all(mut indices: Vec<u32>, count: u32) -> bool {
    indices.sort_unstable();
    indices.into_iter().eq(0..count)
}

/// First in, first out; a thread that stalls within holds up the others.
pub struct Queue(ArrayQueue<u32>);

impl Exchange for Queue {
    const WHO: &'static str = "crossbeam-queue 0.3.14, ArrayQueue<u32>";

    fn new() -> Self {
        let queue = ArrayQueue::new(Self::THINGS as usize);
        (0..Self::THINGS).for_each(|index| queue.push(index).expect("room"));
        Self(queue)
    }

    fn pair(&self) {
        let index = black_box(self.0.pop().expect("an index"));
        self.0.push(index).expect("room");
    }

    fn is_complete(&self) -> bool {
        all(std::iter::from_fn(|| self.0.pop()).collect(), Self::THINGS)
    }
}

/// Last in, first out; whoever waits sleeps.
pub struct Locked(Mutex<Vec<u32>>);

impl Exchange for Locked {
    const WHO: &'static str = "std Mutex<Vec<u32>>";

    fn new() -> Self {
        Self(Mutex::new((0..Self::THINGS).collect()))
    }

    fn pair(&self) {
        let index = black_box(self.0.lock().expect("unpoisoned").pop().expect("an index"));
        self.0.lock().expect("unpoisoned").push(index);
    }

    fn is_complete(&self) -> bool {
        all(self.0.lock().expect("unpoisoned").clone(), Self::THINGS)
    }
}

/// A stack of links beside each other under one head of index and tag (Treiber), with backoff: what our pool is
/// built on, and no more.
pub struct Stack {
    head: AtomicU64,
    next: Vec<AtomicU32>,
}

impl Stack {
    /// Exchanges the head by what `change` makes of it.
    fn exchange(&self, change: impl Fn(u64) -> u64) -> u64 {
        let mut head = self.head.load(Ordering::Acquire);
        let mut turns = 1;
        loop {
            let new = change(head);
            match self.head.compare_exchange_weak(head, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return head,
                Err(_) => (0..turns).for_each(|_| spin_loop()),
            }
            turns = (turns * 2).min(64);
            head = self.head.load(Ordering::Acquire);
        }
    }

    fn link(&self, head: u64) -> &AtomicU32 {
        &self.next[head as u32 as usize]
    }
}

impl Exchange for Stack {
    const WHO: &'static str = "a bare stack of indices";

    fn new() -> Self {
        // Each on the one before it; the bottom, which stays, on itself.
        let next = (0..=Self::THINGS).map(|at| AtomicU32::new(at.saturating_sub(1))).collect();
        Self { head: AtomicU64::new(Self::THINGS.into()), next }
    }

    fn pair(&self) {
        let under = |head| u64::from(self.link(head).load(Ordering::Relaxed));
        let index = black_box(self.exchange(|head| head >> 32 << 32 | under(head))) & 0xffff_ffff;
        assert_ne!(index, 0, "an index");
        self.exchange(|head| {
            self.link(index).store(head as u32, Ordering::Relaxed);
            ((head >> 32) + 1) << 32 | index
        });
    }

    fn is_complete(&self) -> bool {
        let mut at = self.head.load(Ordering::Acquire) as u32;
        let mut found = Vec::new();
        while at != 0 && found.len() <= Self::THINGS as usize {
            found.push(at - 1);
            at = self.next[at as usize].load(Ordering::Relaxed);
        }
        all(found, Self::THINGS)
    }
}

/// Keys of `SIZE` bytes themselves: each is copied out and in again, and copies stay behind.
pub struct Values<const SIZE: usize>(ArrayQueue<[u8; SIZE]>);

impl<const SIZE: usize> Exchange for Values<SIZE> {
    const WHO: &'static str = "crossbeam-queue 0.3.14, keys by value";

    fn new() -> Self {
        let queue = ArrayQueue::new(Self::THINGS as usize);
        (0..Self::THINGS).for_each(|_| queue.push([7; SIZE]).expect("room"));
        Self(queue)
    }

    fn pair(&self) {
        let key = black_box(self.0.pop().expect("a key"));
        self.0.push(key).expect("room");
    }

    fn is_complete(&self) -> bool {
        let keys: Vec<_> = std::iter::from_fn(|| self.0.pop()).collect();
        keys.len() == Self::THINGS as usize && keys.iter().all(|key| *key == [7; SIZE])
    }
}
