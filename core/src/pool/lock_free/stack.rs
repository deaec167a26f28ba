//! A lock-free stack of cell indices (Treiber 1986) whose head carries a tag against ABA.
//!
//! Links and depths live in the cells. A thread that stalls anywhere in `push` or `pop` blocks no other:
//! whoever finds the head changed tries again, and it has changed because another got on.
//!
//! # ABA
//! `pop` reads head and link and then exchanges the head; if the same cell came back on top in between
//! with another link, the exchange must fail. So every push counts the tag up: the same cell on top means
//! the same tag only if nobody pushed, and then its link is the same too. A tag of T bits is fooled by
//! a thread that sleeps between its two steps for a multiple of 2^T pushes, to the push, with the same cell
//! on top again.
//!
//! | head | index | tag | wraps after, at 100 million pushes a second |
//! |---|---|---|---|
//! | 64 bits | 24 bits | 40 bits | 3 hours |
//! | 32 bits | 10 bits: at most 1,023 cells | 22 bits | 42 ms; 4.2 s at a million, a fast microcontroller's |
//!
//! With 32 bits an interrupt handler or a preempted task that sleeps so long inside `pop`, while others push a
//! multiple of 4,194,304 times, can corrupt the stack: give such tasks pools of their own.

use super::faults::Faults;
use super::primitive::Backoff;
#[cfg(target_has_atomic = "64")]
use super::primitive::atomic::AtomicU64;
use super::primitive::atomic::{AtomicU32, Ordering};

/// What a head is made of: a word that can be exchanged, an index in its low bits, a tag above.
pub trait Head {
    /// The most cells: an index and "none" must fit.
    const MAX_CELLS: usize;
    /// Bits of the index.
    const INDEX_BITS: u32;

    fn load(&self, order: Ordering) -> u64;
    fn exchange(&self, old: u64, new: u64, success: Ordering) -> Result<u64, u64>;
}

#[cfg(target_has_atomic = "64")]
impl Head for AtomicU64 {
    const INDEX_BITS: u32 = 24;
    const MAX_CELLS: usize = (1 << Self::INDEX_BITS) - 1;

    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn exchange(&self, old: u64, new: u64, success: Ordering) -> Result<u64, u64> {
        self.compare_exchange_weak(old, new, success, Ordering::Relaxed)
    }
}

impl Head for AtomicU32 {
    const INDEX_BITS: u32 = 10;
    const MAX_CELLS: usize = (1 << Self::INDEX_BITS) - 1;

    fn load(&self, order: Ordering) -> u64 {
        self.load(order).into()
    }

    fn exchange(&self, old: u64, new: u64, success: Ordering) -> Result<u64, u64> {
        // A tag beyond 32 bits falls off: it wraps.
        self.compare_exchange_weak(old as u32, new as u32, success, Ordering::Relaxed)
            .map(u64::from)
            .map_err(u64::from)
    }
}

/// The widest head that this processor exchanges at once.
#[cfg(target_has_atomic = "64")]
pub type Native = AtomicU64;
#[cfg(not(target_has_atomic = "64"))]
pub type Native = AtomicU32;

/// What a cell lends the stack that it is on.
pub struct Link {
    /// The cell below, plus one; 0 at the bottom.
    next: AtomicU32,
    /// How many cells there are from here to the bottom. It does not change while the cell is on the stack.
    depth: AtomicU32,
}

impl Link {
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { next: AtomicU32::new(0), depth: AtomicU32::new(0) }
    }

    #[cfg(loom)]
    pub fn new() -> Self {
        Self { next: AtomicU32::new(0), depth: AtomicU32::new(0) }
    }
}

/// A stack of indices. Zeroed memory is an empty one.
pub struct Stack<H = Native> {
    head: H,
}

impl<H: Head> Stack<H> {
    pub const fn new(head: H) -> Self {
        Self { head }
    }

    /// How many cells are on it: exact while nobody changes it.
    pub fn depth<'a>(&self, link: impl Fn(u32) -> Option<&'a Link>) -> u32 {
        let top = index(self.head.load(Ordering::Acquire), H::INDEX_BITS);
        top.and_then(link).map_or(0, |link| link.depth.load(Ordering::Relaxed))
    }

    /// Puts a cell on top. The caller owns it, and whatever it wrote before is seen by who pops it.
    pub fn push<'a>(&self, at: u32, link: impl Fn(u32) -> Option<&'a Link>, faults: Faults) {
        let Some(own) = link(at) else { return };
        // Acquire: the depth of the cell below, as its pusher wrote it.
        let mut head = self.head.load(faults.take_over());
        let mut backoff = Backoff::new();
        loop {
            let below = index(head, H::INDEX_BITS);
            // A cell that was popped meanwhile shows a depth of elsewhere: then the exchange fails.
            let depth = below.and_then(&link).map_or(0, |link| link.depth.load(Ordering::Relaxed));
            own.next.store(below.map_or(0, |below| below + 1), Ordering::Relaxed);
            own.depth.store(depth.wrapping_add(1), Ordering::Relaxed);
            let tag = (head >> H::INDEX_BITS).wrapping_add(faults.tag_step());
            let new = tag << H::INDEX_BITS | u64::from(at + 1);
            match self.head.exchange(head, new, faults.publish()) {
                Ok(_) => return,
                Err(_) => {
                    backoff.spin();
                    head = self.head.load(faults.take_over());
                }
            }
        }
    }

    /// Takes the cell on top: its index, and how many are left below it.
    pub fn pop<'a>(
        &self,
        link: impl Fn(u32) -> Option<&'a Link>,
        faults: Faults,
    ) -> Option<(u32, u32)> {
        let mut head = self.head.load(faults.take_over());
        let mut backoff = Backoff::new();
        loop {
            let top = index(head, H::INDEX_BITS)?;
            let own = link(top)?;
            let next = own.next.load(Ordering::Relaxed);
            let depth = own.depth.load(Ordering::Relaxed);
            let new = head >> H::INDEX_BITS << H::INDEX_BITS | u64::from(next);
            // Acquire: what the pusher of this cell wrote. The pushes below go on being published by the
            // release sequence that every exchange of the head is part of.
            match self.head.exchange(head, new, faults.take_over()) {
                Ok(_) => return Some((top, depth.wrapping_sub(1))),
                Err(_) => {
                    backoff.spin();
                    head = self.head.load(faults.take_over());
                }
            }
        }
    }
}

/// The cell that a head names.
fn index(head: u64, bits: u32) -> Option<u32> {
    ((head & ((1 << bits) - 1)) as u32).checked_sub(1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::HashSet;
    use std::sync::Mutex;
    use std::thread;
    use std::vec::Vec;

    fn links(count: u32) -> Vec<Link> {
        (0..count).map(|_| Link::new()).collect()
    }

    fn last_in_first_out<H: Head>(head: H) {
        let stack = Stack::new(head);
        let links = links(1023);
        let link = |at: u32| links.get(at as usize);
        for round in 0..3 {
            assert_eq!(stack.pop(link, Faults::NONE), None);
            for at in 0..1023 {
                stack.push(at, link, Faults::NONE);
                assert_eq!(stack.depth(link), at + 1, "round {round}");
            }
            for at in (0..1023).rev() {
                assert_eq!(stack.pop(link, Faults::NONE), Some((at, at)));
            }
        }
    }

    #[test]
    fn both_heads_are_stacks() {
        last_in_first_out(AtomicU64::new(0));
        last_in_first_out(AtomicU32::new(0));
        // The tag wraps in the middle of it.
        last_in_first_out(AtomicU64::new(((1 << 40) - 500) << 24));
        last_in_first_out(AtomicU32::new(((1 << 22) - 500) << 10));
        assert_eq!((AtomicU64::MAX_CELLS, AtomicU32::MAX_CELLS), ((1 << 24) - 1, 1023));
    }

    #[test]
    fn a_push_changes_the_head_that_a_pop_has_read() {
        let stack = Stack::new(AtomicU32::new(0));
        let links = links(2);
        let link = |at: u32| links.get(at as usize);
        stack.push(0, link, Faults::NONE);
        let before = stack.head.load(Ordering::Relaxed);
        stack.pop(link, Faults::NONE);
        stack.push(0, link, Faults::NONE);
        assert_ne!(stack.head.load(Ordering::Relaxed), before);
    }

    /// Four threads exchange eight cells: each is in one hand at a time, and none is lost.
    fn exchanged<H: Head + Sync>(head: H) {
        let stack = Stack::new(head);
        let links = links(8);
        let link = |at: u32| links.get(at as usize);
        let held = Mutex::new(HashSet::new());
        (0..8).for_each(|at| stack.push(at, link, Faults::NONE));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let Some((at, _)) = stack.pop(link, Faults::NONE) else { continue };
                        assert!(held.lock().unwrap().insert(at));
                        assert!(held.lock().unwrap().remove(&at));
                        stack.push(at, link, Faults::NONE);
                    }
                });
            }
        });
        let rest: HashSet<_> =
            core::iter::from_fn(|| stack.pop(link, Faults::NONE).map(|(at, _)| at)).collect();
        assert_eq!(rest.len(), 8);
    }

    #[test]
    fn threads_exchange_cells() {
        exchanged(AtomicU64::new(0));
        exchanged(AtomicU32::new(0));
    }
}
