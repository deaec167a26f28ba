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
//! | head | index | sweepers | tag | wraps after, at 100 million pushes a second |
//! |---|---|---|---|---|
//! | 64 bits | 21 bits | 3 bits | 40 bits | 3 hours |
//! | 32 bits | 10 bits: at most 1,023 cells | none | 22 bits | 42 ms; 4.2 s at a million, a fast microcontroller's |
//!
//! With 32 bits an interrupt handler or a preempted task that sleeps so long inside `pop`, while others push a
//! multiple of 4,194,304 times, can corrupt the stack: give such tasks pools of their own.

use super::faults::Faults;
use crate::primitive::Backoff;
#[cfg(target_has_atomic = "64")]
use crate::primitive::atomic::AtomicU64;
use crate::primitive::atomic::{AtomicU32, Ordering};

/// What a head is made of: a word that can be exchanged, an index in its low bits, above it how many sweepers
/// there are, and a tag.
pub trait Head {
    /// Bits of the index.
    const INDEX_BITS: u32;
    /// Bits of the number of sweepers; 0 where there is no room, and every pop must reckon with one.
    const SWEEPER_BITS: u32;
    /// The most cells: an index and "none" must fit.
    const MAX_CELLS: usize = (1 << Self::INDEX_BITS) - 1;
    /// One sweeper.
    const SWEEPER: u64 = 1 << Self::INDEX_BITS;
    /// All of them.
    const SWEEPERS: u64 = ((1 << Self::SWEEPER_BITS) - 1) << Self::INDEX_BITS;
    /// One more push.
    const PUSH: u64 = 1 << (Self::INDEX_BITS + Self::SWEEPER_BITS);

    fn load(&self, order: Ordering) -> u64;
    fn exchange(&self, old: u64, new: u64, success: Ordering) -> Result<u64, u64>;
}

#[cfg(target_has_atomic = "64")]
impl Head for AtomicU64 {
    const INDEX_BITS: u32 = 21;
    const SWEEPER_BITS: u32 = 3;

    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn exchange(&self, old: u64, new: u64, success: Ordering) -> Result<u64, u64> {
        self.compare_exchange_weak(old, new, success, Ordering::Relaxed)
    }
}

impl Head for AtomicU32 {
    const INDEX_BITS: u32 = 10;
    const SWEEPER_BITS: u32 = 0;

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

/// A cell that was on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Popped {
    pub at: u32,
    /// How many are left below it.
    pub left: u32,
    /// Whether a sweeper may reach it.
    pub is_swept: bool,
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
            // Release, for sweeps: whoever follows the link sees the links below as they were then.
            own.next.store(below.map_or(0, |below| below + 1), Ordering::Release);
            own.depth.store(depth.wrapping_add(1), Ordering::Relaxed);
            let above = (head & !index_mask::<H>()).wrapping_add(H::PUSH * faults.tag_step());
            let new = above | u64::from(at + 1);
            match self.head.exchange(head, new, faults.publish()) {
                Ok(_) => return,
                Err(_) => {
                    backoff.spin();
                    head = self.head.load(faults.take_over());
                }
            }
        }
    }

    /// Takes the cell on top.
    pub fn pop<'a>(
        &self,
        link: impl Fn(u32) -> Option<&'a Link>,
        faults: Faults,
    ) -> Option<Popped> {
        let mut head = self.head.load(faults.take_over());
        let mut backoff = Backoff::new();
        loop {
            let top = index(head, H::INDEX_BITS)?;
            let own = link(top)?;
            let next = own.next.load(Ordering::Relaxed);
            let depth = own.depth.load(Ordering::Relaxed);
            let new = head & !index_mask::<H>() | u64::from(next);
            // Acquire: what the pusher of this cell wrote. The pushes below go on being published by the
            // release sequence that every exchange of the head is part of.
            match self.head.exchange(head, new, faults.take_over()) {
                Ok(_) => {
                    let is_swept = H::SWEEPER_BITS == 0 || head & H::SWEEPERS != 0;
                    return Some(Popped { at: top, left: depth.wrapping_sub(1), is_swept });
                }
                Err(_) => {
                    backoff.spin();
                    head = self.head.load(faults.take_over());
                }
            }
        }
    }
}

impl<H: Head> Stack<H> {
    /// Lets `visit` see the cells on the stack, from the top, while others push and pop. Pops know of it: a
    /// cell that is visited was on the stack when the sweep began or was pushed since, so whoever has popped
    /// it meanwhile found [`Popped::is_swept`]. Some may be left out, or visited twice, where others are
    /// busy; `limit` ends it. Does nothing while as many sweeps go on as the head can count.
    pub fn sweep<'a>(
        &self,
        link: impl Fn(u32) -> Option<&'a Link>,
        limit: usize,
        faults: Faults,
        mut visit: impl FnMut(u32),
    ) {
        let Some(mut next) = self.announce(faults) else { return };
        for _ in 0..limit {
            let Some(at) = next.checked_sub(1) else { break };
            let Some(cell) = link(at) else { break };
            // The cell below, if this one is on the stack still. If not, one that was below it since the sweep
            // began, here or among the empty ones, where it may lie by now.
            next = cell.next.load(Ordering::Acquire);
            visit(at);
        }
        self.withdraw(faults);
    }

    /// Counts one sweeper more. Gives the top's index plus one, 0 for none.
    fn announce(&self, faults: Faults) -> Option<u32> {
        let mut head = self.head.load(Ordering::Acquire);
        let mut backoff = Backoff::new();
        loop {
            let top = (head & index_mask::<H>()) as u32;
            if H::SWEEPER_BITS == 0 || !faults.announces_sweeps() {
                return Some(top);
            }
            if head & H::SWEEPERS == H::SWEEPERS {
                return None;
            }
            // Release and acquire: who pops from here on knows; what was popped before is not on the stack that
            // we see.
            match self.head.exchange(head, head + H::SWEEPER, Ordering::AcqRel) {
                Ok(_) => return Some(top),
                Err(_) => {
                    backoff.spin();
                    head = self.head.load(Ordering::Acquire);
                }
            }
        }
    }

    /// Counts one sweeper less.
    fn withdraw(&self, faults: Faults) {
        if H::SWEEPER_BITS == 0 || !faults.announces_sweeps() {
            return;
        }
        let mut head = self.head.load(Ordering::Relaxed);
        let mut backoff = Backoff::new();
        // Release: who pops without us sees what we did to the cells.
        while self.head.exchange(head, head - H::SWEEPER, Ordering::Release).is_err() {
            backoff.spin();
            head = self.head.load(Ordering::Relaxed);
        }
    }
}

/// The bits of the index.
const fn index_mask<H: Head>() -> u64 {
    (1 << H::INDEX_BITS) - 1
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

    fn popped(at: u32, left: u32, is_swept: bool) -> Option<Popped> {
        Some(Popped { at, left, is_swept })
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
                assert_eq!(stack.pop(link, Faults::NONE), popped(at, at, H::SWEEPER_BITS == 0));
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
        assert_eq!((AtomicU64::MAX_CELLS, AtomicU32::MAX_CELLS), ((1 << 21) - 1, 1023));
    }

    fn swept<H: Head>(head: H) {
        let stack = Stack::new(head);
        let links = links(100);
        let link = |at: u32| links.get(at as usize);
        (0..100).for_each(|at| stack.push(at, link, Faults::NONE));
        let mut seen = Vec::new();
        stack.sweep(link, 100, Faults::NONE, |at| seen.push(at));
        assert!(seen.iter().copied().eq((0..100).rev()), "from the top, each once");
        // A pop in the middle of one knows of it, and one afterwards does not.
        let always = H::SWEEPER_BITS == 0;
        stack.sweep(link, 1, Faults::NONE, |_| {
            assert_eq!(stack.pop(link, Faults::NONE), popped(99, 99, true));
            stack.push(99, link, Faults::NONE);
        });
        assert_eq!(stack.pop(link, Faults::NONE), popped(99, 99, always));
        // More than seven at once are not counted: the eighth does nothing.
        let announced: Vec<_> = (0..8).map(|_| stack.announce(Faults::NONE)).collect();
        assert_eq!(
            announced.iter().filter(|top| **top == Some(99)).count(),
            if always { 8 } else { 7 }
        );
        assert_eq!(stack.pop(link, Faults::NONE), popped(98, 98, true));
        (0..7).for_each(|_| stack.withdraw(Faults::NONE));
        assert_eq!(stack.pop(link, Faults::NONE), popped(97, 97, always));
    }

    #[test]
    fn pops_know_of_sweeps() {
        swept(AtomicU64::new(0));
        swept(AtomicU32::new(0));
        swept(AtomicU64::new(((1 << 40) - 50) << 24));
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
                        let Some(Popped { at, .. }) = stack.pop(link, Faults::NONE) else {
                            continue;
                        };
                        assert!(held.lock().unwrap().insert(at));
                        assert!(held.lock().unwrap().remove(&at));
                        stack.push(at, link, Faults::NONE);
                    }
                });
            }
        });
        let rest: HashSet<_> =
            core::iter::from_fn(|| stack.pop(link, Faults::NONE).map(|popped| popped.at)).collect();
        assert_eq!(rest.len(), 8);
    }

    #[test]
    fn threads_exchange_cells() {
        exchanged(AtomicU64::new(0));
        exchanged(AtomicU32::new(0));
    }
}
