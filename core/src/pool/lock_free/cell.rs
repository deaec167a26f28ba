//! One cell: its state, its counters, and the memory of its key. Whoever holds it as the state says may
//! touch that memory; the pointers that this takes are all here.
//!
//! ```text
//!            fill                     pop                      last lease dropped
//!  EMPTY ------------> FILLING -----> READY -----> LEASED -----------------------> EMPTY
//!    ^  no key, or panic |            ^  |  ^         | uses remain                 ^
//!    +-------------------+            |  |  +---------+                             | pop
//!                                     |  | sweep: expired                           |
//!                          REFILLING  |  +-----> RETIRING -----> RETIRED -----------+
//!                              ^------+------------------------------+
//!                                    fill, in place
//! ```
//! READY, RETIRING, RETIRED and REFILLING cells are on the ready stack (or about to be). A pop that meets one
//! that somebody is busy with marks it UNLINKED and goes on; the busy one then brings it back.
#![allow(unsafe_code)]

use super::faults::Faults;
use super::stack::Link;
use crate::place::wipe_unset;
use crate::pool::Material;
use crate::primitive::atomic::{AtomicU32, Ordering};
use crate::primitive::{Count, UnsafeCell};
use core::mem::MaybeUninit;

/// Nothing in it: on the stack of empty cells, or never used.
pub const EMPTY: u32 = 0;
/// A filler has it.
pub const FILLING: u32 = 1;
/// A key to be had.
pub const READY: u32 = 2;
/// Handed out.
pub const LEASED: u32 = 3;
/// A sweep is wiping it.
pub const RETIRING: u32 = 4;
/// Wiped, and still on the ready stack.
pub const RETIRED: u32 = 5;
/// A filler has it, and it is still on the ready stack.
pub const REFILLING: u32 = 6;
const STATE: u32 = 7;
/// Taken off the ready stack while RETIRING or REFILLING.
pub const UNLINKED: u32 = 8;
/// The generation is counted above: it makes a state that was left and entered again another one.
const GENERATION: u32 = 16;

/// A state word: what happens to the cell, and to which of the keys that it has held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State(u32);

impl State {
    pub const fn kind(self) -> u32 {
        self.0 & STATE
    }

    pub const fn generation(self) -> u32 {
        self.0 / GENERATION
    }

    /// The same generation in another state.
    pub const fn to(self, kind: u32) -> Self {
        Self(self.0 & !(STATE | UNLINKED) | kind)
    }

    /// The next generation, wrapping after 2^28.
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(GENERATION))
    }
}

/// A cell of a pool. Zeroed memory is an empty one.
#[cfg_attr(target_pointer_width = "64", repr(C, align(64)))]
#[cfg_attr(not(target_pointer_width = "64"), repr(C))]
pub struct Cell<T: Material> {
    state: AtomicU32,
    pub(super) link: Link,
    /// Leases on it; 1 also while it is ready, so that handing it out need not say so.
    pub(super) leases: AtomicU32,
    /// How often it may still be handed out; `u32::MAX` is without limit.
    pub(super) uses: AtomicU32,
    /// When it was filled.
    pub(super) born: AtomicU32,
    // Counted by whoever owns the cell, so no exchange is needed, and on the line that is in use anyway.
    pub(super) filled: AtomicU32,
    pub(super) expired: AtomicU32,
    pub(super) retired: AtomicU32,
    pub(super) acquired: Count,
    pub(super) age_sum: Count,
    key: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the key is reached as the state word allows: by one owner exclusively, or by leases shared, for
// which T is Send and Sync.
unsafe impl<T: Material> Sync for Cell<T> {}

impl<T: Material> Cell<T> {
    /// An empty cell.
    #[cfg(not(loom))]
    #[allow(clippy::declare_interior_mutable_const, reason = "to fill arrays with")]
    pub const EMPTY: Self = Self {
        state: AtomicU32::new(0),
        link: Link::new(),
        leases: AtomicU32::new(0),
        uses: AtomicU32::new(0),
        born: AtomicU32::new(0),
        filled: AtomicU32::new(0),
        expired: AtomicU32::new(0),
        retired: AtomicU32::new(0),
        acquired: Count::new(0),
        age_sum: Count::new(0),
        key: UnsafeCell::new(MaybeUninit::zeroed()),
    };

    /// An empty cell.
    #[cfg(loom)]
    pub fn empty() -> Self {
        Self {
            state: AtomicU32::new(0),
            link: Link::new(),
            leases: AtomicU32::new(0),
            uses: AtomicU32::new(0),
            born: AtomicU32::new(0),
            filled: AtomicU32::new(0),
            expired: AtomicU32::new(0),
            retired: AtomicU32::new(0),
            acquired: Count::new(0),
            age_sum: Count::new(0),
            key: UnsafeCell::new(MaybeUninit::zeroed()),
        }
    }

    pub(super) fn state(&self, faults: Faults) -> State {
        State(self.state.load(faults.take_over()))
    }

    /// Enters a state from that of the owner, who need not ask.
    pub(super) fn set_state(&self, to: State, faults: Faults) {
        self.state.store(to.0, faults.publish());
    }

    /// Goes from one state to another, unless it is in a third by now: then that.
    pub(super) fn change_state(&self, from: State, to: State, faults: Faults) -> Result<(), State> {
        let order = match faults.publish() {
            Ordering::Release => Ordering::AcqRel,
            weak => weak,
        };
        self.state
            .compare_exchange(from.0, to.0, order, faults.take_over())
            .map(|_| ())
            .map_err(State)
    }

    /// Marks it as taken off the ready stack.
    pub(super) fn unlink(&self, from: State) -> Result<(), State> {
        self.change_state(from, State(from.0 | UNLINKED), Faults::NONE)
    }

    /// The key.
    ///
    /// # Safety
    /// The caller holds a lease for `'a`, or is the only owner and gives out no exclusive reference.
    pub(super) unsafe fn key<'a>(&self) -> &'a T {
        // SAFETY: valid, since the memory was zeroed and `Zeroable` makes that a T; shared, as the caller promises.
        self.key.with(|key| unsafe { &*key.cast() })
    }

    /// The key, to be changed.
    ///
    /// # Safety
    /// The caller is the only owner for `'a`: filler, sweep, or holder of the only lease.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn key_mut<'a>(&self) -> &'a mut T {
        // SAFETY: as above; exclusive, as the caller promises.
        self.key.with_mut(|key| unsafe { &mut *key.cast() })
    }
}

/// Wipes the key.
///
/// # Safety
/// As [`Cell::key_mut`].
pub unsafe fn wipe_key<T: Material>(cell: &Cell<T>) {
    // Not as a T, whose Drop would wipe it first, and byte by byte.
    // SAFETY: exclusive, as the caller promises.
    wipe_unset(cell.key.with_mut(|key| unsafe { &mut *key }));
}

impl<T: Material> Drop for Cell<T> {
    fn drop(&mut self) {
        // SAFETY: exclusive, as `self` is.
        unsafe { wipe_key(self) };
    }
}

/// Counts, where one thread at a time writes.
pub trait Bump {
    fn bump(&self, by: u32);
    fn get(&self) -> u64;
}

impl Bump for AtomicU32 {
    fn bump(&self, by: u32) {
        self.store(self.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.load(Ordering::Relaxed).into()
    }
}

#[cfg(target_has_atomic = "64")]
impl Bump for crate::primitive::atomic::AtomicU64 {
    fn bump(&self, by: u32) {
        self.store(self.load(Ordering::Relaxed).wrapping_add(by.into()), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.load(Ordering::Relaxed)
    }
}
