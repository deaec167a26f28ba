//! The pool: cells, a stack of those that are ready, a stack of those that are empty.
#![allow(unsafe_code)]

use super::cell::{
    Bump, Cell, EMPTY, FILLING, LEASED, READY, REFILLING, RETIRED, RETIRING, State, wipe_key,
};
use super::faults::Faults;
use super::lease::{KeyId, Lease, PoolRef, TooManyShares, Vacancy};
use super::policy::{Kept, Policy};
use super::stack::{Head, Link, Native, Popped, Stack};
#[cfg(not(loom))]
use crate::error::Error;
use crate::pool::Material;
use crate::primitive::Count;
use crate::primitive::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
#[cfg(not(loom))]
use core::ptr::{self, NonNull};

/// Memory that two cores write keeps to itself: a pair of cache lines, since processors fetch in pairs.
#[cfg_attr(target_pointer_width = "64", repr(align(128)))]
#[cfg_attr(not(target_pointer_width = "64"), repr(align(32)))]
struct Line<T>(T);

/// A pool of `cells`: [`Fixed`] where the capacity is a constant, or behind [`Pool::place`] where it is not.
///
/// Everything is lock-free: a thread that stalls in the middle of anything blocks no other. See the
/// [module](crate::pool) for what it does.
#[repr(C)]
pub struct Pool<T: Material, C: ?Sized = [Cell<T>]> {
    ready: Line<Stack>,
    vacant: Line<Stack>,
    seldom: Line<Seldom>,
    settings: Line<Settings>,
    key: PhantomData<T>,
    pub(super) cells: C,
}

/// What is written now and then.
struct Seldom {
    /// Cells from here on were never used: they are on no stack.
    fresh: AtomicU32,
    /// RETIRED cells on the ready stack.
    buried: AtomicU32,
    /// Where to look for the next of them.
    cursor: AtomicU32,
    missed: Count,
}

/// What is read all the time.
struct Settings {
    policy: Kept,
    closed: AtomicBool,
    faults: Faults,
}

/// A pool with its cells in it, for a `static`. Under [`Policy::new`] of its capacity it is all zero, so
/// it takes no room in the program; for another policy call [`Pool::set_policy`] when the program starts.
pub type Fixed<T, const CELLS: usize> = Pool<T, [Cell<T>; CELLS]>;

/// No key was to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// None is ready: make one, or wait until somebody has.
    Dry,
    /// The pool is closed.
    Closed,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dry => "no key is ready",
            Self::Closed => "the pool is closed",
        })
    }
}

impl core::error::Error for Miss {}

/// What a pool holds and has done. Read cell by cell while others go on: sums are of slightly different
/// moments. Counters wrap at 2^32 a cell; on 32-bit processors ages and acquisitions do too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Stats {
    /// Cells.
    pub capacity: u32,
    /// Cells with a key to be had.
    pub ready: u32,
    /// Cells handed out.
    pub leased: u32,
    /// Cells that a filler or a sweep has.
    pub busy: u32,
    /// Keys made.
    pub filled: u64,
    /// Keys handed out.
    pub acquired: u64,
    /// Times that no key was ready.
    pub missed: u64,
    /// Keys that got too old before they were handed out.
    pub expired: u64,
    /// Keys wiped: expired, used up, retired by hand or by closing.
    pub retired: u64,
    /// Ticks from fill to hand-out, over all keys handed out.
    pub age_sum: u64,
}

impl<T: Material, const CELLS: usize> Fixed<T, CELLS> {
    /// An empty pool. More cells than a head can name, or none, do not compile. Watermarks above
    /// the capacity count as the capacity.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new(policy: Policy) -> Self {
        const {
            assert!(0 < CELLS && CELLS <= Native::MAX_CELLS);
            assert!(!matches!(T::MAX_USES, Some(0 | u32::MAX)));
        }
        Self {
            ready: Line(Stack::new(Native::new(0))),
            vacant: Line(Stack::new(Native::new(0))),
            seldom: Line(Seldom {
                fresh: AtomicU32::new(0),
                buried: AtomicU32::new(0),
                cursor: AtomicU32::new(0),
                missed: Count::new(0),
            }),
            settings: Line(Settings {
                policy: Kept::new(policy, CELLS as u32),
                closed: AtomicBool::new(false),
                faults: Faults::NONE,
            }),
            key: PhantomData,
            cells: [const { Cell::EMPTY }; CELLS],
        }
    }

    /// An empty pool for a model, with mistakes in it.
    #[cfg(loom)]
    pub fn new(policy: Policy, faults: Faults) -> Self {
        Self {
            ready: Line(Stack::new(Native::new(0))),
            vacant: Line(Stack::new(Native::new(0))),
            seldom: Line(Seldom {
                fresh: AtomicU32::new(0),
                buried: AtomicU32::new(0),
                cursor: AtomicU32::new(0),
                missed: Count::new(0),
            }),
            settings: Line(Settings {
                policy: Kept::new(policy, CELLS as u32),
                closed: AtomicBool::new(false),
                faults,
            }),
            key: PhantomData,
            cells: core::array::from_fn(|_| Cell::empty()),
        }
    }
}

/// Uses of a key that never wears out.
const UNLIMITED: u32 = u32::MAX;

/// How often a key may be handed out.
const fn uses<T: Material>(policy: &Policy) -> u32 {
    match (policy.max_uses, T::MAX_USES) {
        (Some(a), Some(b)) if a.get() < b => a.get(),
        (_, Some(b)) => b,
        (Some(a), None) => a.get(),
        (None, None) => UNLIMITED,
    }
}

impl<T: Material, const CELLS: usize> Deref for Fixed<T, CELLS> {
    type Target = Pool<T>;

    fn deref(&self) -> &Pool<T> {
        self
    }
}

impl<T: Material> Pool<T> {
    /// Bytes of a cell: header and key.
    pub const CELL_SIZE: usize = size_of::<Cell<T>>();

    /// The alignment of a pool's memory.
    pub const ALIGN: usize = align_of::<Pool<T, [Cell<T>; 0]>>();

    /// Bytes of a pool: 512 (on 64-bit processors) and its cells. `None` for none or more than a head can
    /// name.
    #[must_use]
    pub const fn size(cells: usize) -> Option<usize> {
        if cells == 0 || cells > Native::MAX_CELLS {
            return None;
        }
        match cells.checked_mul(Self::CELL_SIZE) {
            Some(bytes) => match bytes.checked_add(size_of::<Pool<T, [Cell<T>; 0]>>()) {
                Some(bytes) => bytes.checked_next_multiple_of(Self::ALIGN),
                None => None,
            },
            None => None,
        }
    }

    /// Makes a pool in zeroed memory, where its capacity is known at run time only.
    ///
    /// # Errors
    /// [`Error::Length`] for no cells, or more than a head can name.
    ///
    /// # Safety
    /// `memory` is zeroed, aligned to [`ALIGN`](Self::ALIGN), has [`size`](Self::size) bytes, and belongs to
    /// this pool alone for `'a`. Nobody drops the pool: wiping the memory when it is over is the caller's.
    #[cfg(not(loom))]
    pub unsafe fn place<'a>(
        memory: NonNull<u8>,
        cells: usize,
        policy: Policy,
    ) -> Result<&'a Self, Error> {
        const { assert!(!matches!(T::MAX_USES, Some(0 | u32::MAX))) }
        Self::size(cells).ok_or(Error::Length)?;
        let pool =
            ptr::slice_from_raw_parts_mut(memory.cast::<Cell<T>>().as_ptr(), cells) as *mut Self;
        // SAFETY: the memory is large enough and ours, as the caller promises. Zeros are an empty pool but for
        // its settings, which are written before anybody sees them.
        unsafe {
            (&raw mut (*pool).settings).write(Line(Settings {
                policy: Kept::new(policy, cells as u32),
                closed: AtomicBool::new(false),
                faults: Faults::NONE,
            }));
            Ok(&*pool)
        }
    }

    /// How many cells it has.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.cells.len() as u32
    }

    /// Its settings.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.settings.0.policy.get(self.capacity())
    }

    /// Changes its settings, while others go on. Keys that are made already keep their uses.
    pub fn set_policy(&self, policy: Policy) {
        self.settings.0.policy.set(policy, self.capacity());
    }

    /// How many keys are ready, to within what is going on: two loads.
    #[must_use]
    pub fn level(&self) -> u32 {
        let depth = self.ready.0.depth(|at| self.link(at));
        depth.saturating_sub(self.seldom.0.buried.load(Ordering::Relaxed))
    }

    /// How many keys to make until the high watermark.
    #[must_use]
    pub fn wanted(&self) -> u32 {
        self.policy().high.saturating_sub(self.level())
    }

    /// Whether filling is urgent: the level is below the low watermark.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.level() < self.policy().low
    }

    /// Takes the key that was put back or made last: it is the likeliest to be in the cache. `now` is the
    /// caller's tick.
    ///
    /// # Errors
    /// [`Miss::Dry`] if none is ready: counted. [`Miss::Closed`].
    #[inline(always)]
    pub fn acquire(&self, now: u32) -> Result<Lease<T, &Self>, Miss> {
        Self::acquire_by(self, now)
    }

    /// The same, for a lease that carries its own way to the pool.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    #[inline(always)]
    pub fn acquire_by<P: PoolRef<T>>(by: P, now: u32) -> Result<Lease<T, P>, Miss> {
        let pool = by.pool();
        if pool.is_closed() {
            return Err(Miss::Closed);
        }
        while let Some((at, cell, state, left)) = pool.take() {
            let age = Policy::age(now, cell.born.load(Ordering::Relaxed));
            if pool.policy().is_expired(age) {
                cell.expired.bump(1);
                pool.discard(at, cell, state);
                continue;
            }
            let uses = cell.uses.load(Ordering::Relaxed);
            if uses != UNLIMITED {
                cell.uses.store(uses.saturating_sub(1), Ordering::Relaxed);
            }
            cell.acquired.bump(1);
            cell.age_sum.bump(age);
            let id = KeyId { cell: at, generation: state.generation() };
            let left = left.saturating_sub(pool.seldom.0.buried.load(Ordering::Relaxed));
            return Ok(Lease::new(by, id, left));
        }
        pool.seldom.0.missed.fetch_add(1, Ordering::Relaxed);
        Err(Miss::Dry)
    }

    /// Takes a cell off the ready stack and makes it LEASED, so that the caller owns it.
    // Inlined as far as this, as what uses it is: a lease that is returned in memory costs five nanoseconds.
    #[inline(always)]
    fn take(&self) -> Option<(u32, &Cell<T>, State, u32)> {
        let faults = self.settings.0.faults;
        loop {
            let Popped { at, left, is_swept } = self.ready.0.pop(|at| self.link(at), faults)?;
            let cell = self.cell(at)?;
            let state = cell.state(faults);
            // Nobody but a sweep competes for a ready cell that was popped.
            if state.kind() == READY && !is_swept {
                let leased = state.to(LEASED);
                cell.set_state(leased, faults);
                return Some((at, cell, leased, left));
            }
            if let Some(leased) = self.contend(at, cell, state) {
                return Some((at, cell, leased, left));
            }
        }
    }

    /// Makes a popped cell LEASED, against sweeps and fillers that have it too; or leaves it to them, or to the
    /// next filler.
    #[inline(never)]
    fn contend(&self, at: u32, cell: &Cell<T>, mut state: State) -> Option<State> {
        let faults = self.settings.0.faults;
        // Ends: each turn either succeeds or sees that sweep or filler went one step on.
        loop {
            let changed = match state.kind() {
                READY => {
                    let leased = state.to(LEASED);
                    match cell.change_state(state, leased, faults) {
                        Ok(()) => return Some(leased),
                        Err(now) => Err(now),
                    }
                }
                RETIRED if !faults.checks_retirement() => return Some(state.to(LEASED)),
                RETIRED => cell.change_state(state, state.to(EMPTY), faults).map(|()| {
                    self.seldom.0.buried.fetch_sub(1, Ordering::Relaxed);
                    self.vacant.0.push(at, |at| self.link(at), faults);
                }),
                _ => cell.unlink(state),
            };
            match changed {
                Ok(()) => return None,
                Err(now) => state = now,
            }
        }
    }

    /// An empty cell to make a key in; `None` if there is none, or the pool is closed. Several may be filled
    /// at once, by several threads or by one.
    #[must_use]
    pub fn vacancy(&self) -> Option<Vacancy<'_, T>> {
        if self.is_closed() {
            return None;
        }
        let popped =
            self.vacant.0.pop(|at| self.link(at), self.settings.0.faults).map(|popped| popped.at);
        if let Some(at) = popped.or_else(|| self.fresh()) {
            let cell = self.cell(at)?;
            let state = cell.state(self.settings.0.faults).to(FILLING);
            cell.set_state(state, Faults::NONE);
            return self.unless_closed(Vacancy::new(self, at, state));
        }
        self.buried().and_then(|vacancy| self.unless_closed(vacancy))
    }

    /// Who fills says so and then looks whether the pool is closed; who closes it does so and then looks who
    /// fills. With a fence on both sides, one sees the other.
    fn unless_closed<'a>(&self, vacancy: Vacancy<'a, T>) -> Option<Vacancy<'a, T>> {
        if self.settings.0.faults.fences_closing() {
            fence(Ordering::SeqCst);
        }
        (!self.is_closed()).then_some(vacancy)
    }

    /// Makes one key, if there is an empty cell and `make` succeeds. Gives whether there was a cell.
    ///
    /// # Errors
    /// That of `make`; the cell is wiped and free again.
    pub fn fill<E>(&self, now: u32, make: impl FnOnce(&mut T) -> Result<(), E>) -> Result<bool, E> {
        let Some(mut vacancy) = self.vacancy() else { return Ok(false) };
        make(&mut vacancy)?;
        vacancy.commit(now);
        Ok(true)
    }

    /// A cell that was never used.
    fn fresh(&self) -> Option<u32> {
        let fresh = &self.seldom.0.fresh;
        let mut at = fresh.load(Ordering::Relaxed);
        while at < self.capacity() {
            match fresh.compare_exchange(at, at + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(at),
                Err(now) => at = now,
            }
        }
        None
    }

    /// A cell whose key was swept, where it lies on the ready stack.
    fn buried(&self) -> Option<Vacancy<'_, T>> {
        let count = self.capacity();
        let start = self.seldom.0.cursor.load(Ordering::Relaxed);
        for step in 0..count {
            if self.seldom.0.buried.load(Ordering::Relaxed) == 0 {
                return None;
            }
            let at = (start.wrapping_add(step)) % count;
            let cell = self.cell(at)?;
            let state = cell.state(self.settings.0.faults);
            let refilling = state.to(REFILLING);
            if state.kind() == RETIRED
                && cell.change_state(state, refilling, self.settings.0.faults).is_ok()
            {
                self.seldom.0.buried.fetch_sub(1, Ordering::Relaxed);
                self.seldom.0.cursor.store(at.wrapping_add(1), Ordering::Relaxed);
                return Some(Vacancy::new(self, at, refilling));
            }
        }
        None
    }

    /// Makes a filled cell a ready key.
    pub(super) fn publish(&self, at: u32, state: State, now: u32) {
        let faults = self.settings.0.faults;
        let Some(cell) = self.cell(at) else { return };
        cell.born.store(now, Ordering::Relaxed);
        cell.uses.store(uses::<T>(&self.policy()), Ordering::Relaxed);
        cell.leases.store(1, Ordering::Relaxed);
        cell.filled.bump(1);
        let ready = state.next().to(READY);
        // Where the cell is still on the ready stack, it is enough to say so, unless a pop came by.
        if state.kind() == REFILLING && cell.change_state(state, ready, faults).is_ok() {
            return;
        }
        cell.set_state(ready, faults);
        self.ready.0.push(at, |at| self.link(at), faults);
    }

    /// Leaves an empty cell, owned and wiped, to the next filler.
    pub(super) fn release_empty(&self, at: u32, state: State) {
        let Some(cell) = self.cell(at) else { return };
        cell.set_state(state.to(EMPTY), self.settings.0.faults);
        self.vacant.0.push(at, |at| self.link(at), self.settings.0.faults);
    }

    /// Leaves a wiped cell where it is on the ready stack; or, where a pop has taken it off, to the next
    /// filler.
    pub(super) fn lay_down(&self, at: u32, state: State) {
        let faults = self.settings.0.faults;
        let Some(cell) = self.cell(at) else { return };
        // Counted first: who sees it RETIRED counts it back.
        self.seldom.0.buried.fetch_add(1, Ordering::Relaxed);
        if cell.change_state(state, state.to(RETIRED), faults).is_err() {
            self.seldom.0.buried.fetch_sub(1, Ordering::Relaxed);
            if faults.returns_swept() {
                self.release_empty(at, state);
            }
        }
    }

    /// Wipes the key of an owned cell.
    #[inline(never)]
    fn discard(&self, at: u32, cell: &Cell<T>, state: State) {
        // SAFETY: the caller owns the cell: it took it off the ready stack, or dropped its last lease.
        unsafe { wipe_key(cell) };
        cell.retired.bump(1);
        self.release_empty(at, state);
    }

    /// Whether this key is to be had, handed out, or being made: for who keeps something beside keys.
    #[must_use]
    pub fn is_alive(&self, id: KeyId) -> bool {
        self.cell(id.cell).is_some_and(|cell| match cell.state(self.settings.0.faults) {
            state if matches!(state.kind(), READY | LEASED) => state.generation() == id.generation,
            state if matches!(state.kind(), FILLING | REFILLING) => {
                state.next().generation() == id.generation
            }
            _ => false,
        })
    }

    /// Wipes what is too old at `now`, and gives how many keys that were. Call it now and then: last in, first
    /// out keeps old keys at the bottom, where no acquisition sees them. Up to seven threads may at once.
    pub fn sweep(&self, now: u32) -> u32 {
        self.sweep_if(
            |cell| {
                let age = Policy::age(now, cell.born.load(Ordering::Relaxed));
                self.policy().is_expired(age)
            },
            |cell| cell.expired.bump(1),
        )
    }

    /// Wipes every ready key, and gives how many that were: when what they were made under is no longer
    /// valid. Keys that are handed out come back as usual.
    pub fn flush(&self) -> u32 {
        self.sweep_if(|_| true, |_| ())
    }

    fn sweep_if(&self, is_over: impl Fn(&Cell<T>) -> bool, count: impl Fn(&Cell<T>)) -> u32 {
        let faults = self.settings.0.faults;
        let mut swept = 0;
        let mut visit = |at| {
            let Some(cell) = self.cell(at) else { return };
            let state = cell.state(faults);
            let retiring = state.to(RETIRING);
            if state.kind() != READY
                || !is_over(cell)
                || cell.change_state(state, retiring, faults).is_err()
            {
                return;
            }
            // SAFETY: RETIRING is the sweep's: pops leave it, fillers and other sweeps do not look at it.
            unsafe { wipe_key(cell) };
            count(cell);
            cell.retired.bump(1);
            self.lay_down(at, retiring);
            swept += 1;
        };
        self.ready.0.sweep(|at| self.link(at), self.cells.len(), faults, &mut visit);
        swept
    }

    /// Hands out and takes in no more keys: those that come back are wiped. [`drain`](Self::drain) wipes those
    /// that are ready. There is no way back.
    pub fn close(&self) {
        self.settings.0.closed.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Whether it is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.settings.0.closed.load(Ordering::Relaxed)
    }

    /// Wipes every ready key. Gives how many cells still hold one or may: leased, or being filled. Call it
    /// until that is 0: then a closed pool holds no key, and never will. One that is open may be filled
    /// meanwhile, without end.
    pub fn drain(&self) -> u32 {
        while let Some((at, cell, state, _)) = self.take() {
            self.discard(at, cell, state);
        }
        let holds =
            |cell: &&Cell<T>| !matches!(cell.state(self.settings.0.faults).kind(), EMPTY | RETIRED);
        self.cells.iter().filter(holds).count() as u32
    }

    /// Counts, by a look at every cell.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let missed = self.seldom.0.missed.get();
        let mut stats = Stats { capacity: self.capacity(), missed, ..Stats::default() };
        for cell in &self.cells {
            match cell.state(self.settings.0.faults).kind() {
                READY => stats.ready += 1,
                LEASED => stats.leased += 1,
                EMPTY | RETIRED => {}
                _ => stats.busy += 1,
            }
            stats.filled += cell.filled.get();
            stats.acquired += cell.acquired.get();
            stats.expired += cell.expired.get();
            stats.retired += cell.retired.get();
            stats.age_sum += cell.age_sum.get();
        }
        stats
    }

    pub(super) fn cell(&self, at: u32) -> Option<&Cell<T>> {
        self.cells.get(at as usize)
    }

    fn link(&self, at: u32) -> Option<&Link> {
        self.cell(at).map(|cell| &cell.link)
    }

    pub(super) fn add_lease(&self, at: u32) -> Result<(), TooManyShares> {
        const MOST: u32 = 1 << 31;
        let cell = self.cell(at).ok_or(TooManyShares)?;
        if cell.leases.fetch_add(1, Ordering::Relaxed) >= MOST {
            cell.leases.fetch_sub(1, Ordering::Relaxed);
            return Err(TooManyShares);
        }
        Ok(())
    }

    pub(super) fn is_only_lease(&self, cell: &Cell<T>) -> bool {
        cell.leases.load(Ordering::Acquire) == 1
    }

    pub(super) fn forbid_uses(&self, at: u32) {
        if let Some(cell) = self.cell(at) {
            cell.uses.store(0, Ordering::Relaxed);
        }
    }

    /// Takes back one lease.
    #[inline(always)]
    pub(super) fn give_back(&self, at: u32) {
        let faults = self.settings.0.faults;
        let Some(cell) = self.cell(at) else { return };
        // A lone lease cannot be shared meanwhile, so looking is enough.
        if !self.is_only_lease(cell) {
            if cell.leases.fetch_sub(1, faults.give_up()) != 1 {
                return;
            }
            // What other leases read comes before what happens to the key now.
            fence(Ordering::Acquire);
            cell.leases.store(1, Ordering::Relaxed);
        }
        let state = cell.state(self.settings.0.faults);
        if cell.uses.load(Ordering::Relaxed) == 0 || self.is_closed() {
            self.discard(at, cell, state);
        } else {
            cell.set_state(state.to(READY), faults);
            self.ready.0.push(at, |at| self.link(at), faults);
        }
    }
}
