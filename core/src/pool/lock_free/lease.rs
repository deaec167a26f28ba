//! Who may touch a key: [`Lease`], and [`Vacancy`] while it is made.
#![allow(unsafe_code)]

use super::Pool;
use super::cell::{REFILLING, State, wipe_key};
use super::policy::Policy;
use crate::pool::Material;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// A way to a pool that leases can hold: a reference, or what counts references.
///
/// # Safety
/// `pool` gives the same pool every time, also through clones, as long as any of them lives.
pub unsafe trait PoolRef<T: Material>: Clone {
    /// The pool.
    fn pool(&self) -> &Pool<T>;
}

// SAFETY: a reference leads to one place.
unsafe impl<T: Material> PoolRef<T> for &Pool<T> {
    fn pool(&self) -> &Pool<T> {
        self
    }
}

/// Which key of a pool: a cell holds one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId {
    /// The cell's index.
    pub cell: u32,
    /// Which of the cell's keys. Wraps after 2^28.
    pub generation: u32,
}

/// A key handed out: a reference that is counted, not a copy. When the last one for a use is dropped the key goes
/// back to be used again or, if it may not, is wiped.
///
/// One that is leaked (`mem::forget`) keeps its cell for ever.
#[must_use = "a lease that is dropped at once is a use of the key for nothing"]
pub struct Lease<T: Material, P: PoolRef<T>> {
    pool: P,
    id: KeyId,
    left: u32,
    key: PhantomData<T>,
}

impl<T: Material, P: PoolRef<T>> Lease<T, P> {
    /// The caller has made the cell LEASED, for this lease or with one more in its count.
    pub(super) fn new(pool: P, id: KeyId, left: u32) -> Self {
        Self { pool, id, left, key: PhantomData }
    }

    /// Another lease on the same key, for the same use.
    ///
    /// # Errors
    /// [`TooManyShares`] at 2^31.
    pub fn share(&self) -> Result<Self, TooManyShares> {
        self.pool.pool().add_lease(self.id.cell)?;
        Ok(Self::new(self.pool.clone(), self.id, self.left))
    }

    /// The same lease, by another way to the same pool: one that keeps it, say.
    ///
    /// # Errors
    /// The lease as it was, if `pool` is another, or at 2^31 shares.
    pub fn carried_by<Q: PoolRef<T>>(self, pool: Q) -> Result<Lease<T, Q>, Self> {
        let (own, other) = (self.pool.pool(), pool.pool());
        if !core::ptr::eq(own, other) || own.add_lease(self.id.cell).is_err() {
            return Err(self);
        }
        Ok(Lease::new(pool, self.id, self.left))
    }

    /// The key, to be changed: `None` while it is shared.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        let cell = self.pool.pool().cell(self.id.cell)?;
        if !self.pool.pool().is_only_lease(cell) {
            return None;
        }
        // SAFETY: the only lease, borrowed exclusively: nobody can share it meanwhile.
        Some(unsafe { cell.key_mut() })
    }

    /// Has the key wiped when its last lease is dropped, whatever uses remain.
    pub fn retire(self) {
        self.pool.pool().forbid_uses(self.id.cell);
    }

    /// Which key it is.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// How many keys were left in the pool when this one was taken, to within what was going on.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// The age of the key at `now`.
    pub fn age(&self, now: u32) -> u32 {
        self.pool.pool().cell(self.id.cell).map_or(0, |cell| {
            Policy::age(now, cell.born.load(crate::primitive::atomic::Ordering::Relaxed))
        })
    }
}

impl<T: Material, P: PoolRef<T>> Deref for Lease<T, P> {
    type Target = T;

    fn deref(&self) -> &T {
        let pool = self.pool.pool();
        // SAFETY: `id.cell` was popped from this pool, so it is one of its cells.
        let cell = unsafe { pool.cells.get_unchecked(self.id.cell as usize) };
        // SAFETY: this lease lives as long as the reference; exclusive ones borrow the only lease exclusively.
        unsafe { cell.key() }
    }
}

impl<T: Material, P: PoolRef<T>> Drop for Lease<T, P> {
    #[inline]
    fn drop(&mut self) {
        self.pool.pool().give_back(self.id.cell);
    }
}

/// No key is shown.
impl<T: Material, P: PoolRef<T>> fmt::Debug for Lease<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A key is shared 2^31 times already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyShares;

impl fmt::Display for TooManyShares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key is shared too often")
    }
}

impl core::error::Error for TooManyShares {}

/// An empty cell, to be filled: nobody else sees it. Dropped without [`commit`](Self::commit), also by a
/// panic, it is wiped and free again.
pub struct Vacancy<'a, T: Material> {
    pool: &'a Pool<T>,
    at: u32,
    /// FILLING, or REFILLING where the cell is still on the ready stack.
    state: State,
    committed: bool,
}

impl<'a, T: Material> Vacancy<'a, T> {
    pub(super) fn new(pool: &'a Pool<T>, at: u32, state: State) -> Self {
        Self { pool, at, state, committed: false }
    }

    /// Which key it will be.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId { cell: self.at, generation: self.state.next().generation() }
    }

    /// Makes it a ready key, born `now`. A pool that was closed meanwhile has it wiped instead.
    pub fn commit(mut self, now: u32) {
        if !self.pool.is_closed() {
            self.committed = true;
            self.pool.publish(self.at, self.state, now);
        }
    }
}

impl<T: Material> Deref for Vacancy<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `at` is a cell of this pool, and its state makes this its only owner.
        unsafe { self.pool.cells.get_unchecked(self.at as usize).key() }
    }
}

impl<T: Material> DerefMut for Vacancy<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { self.pool.cells.get_unchecked(self.at as usize).key_mut() }
    }
}

impl<T: Material> Drop for Vacancy<'_, T> {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        if let Some(cell) = self.pool.cell(self.at) {
            // SAFETY: its only owner.
            unsafe { wipe_key(cell) };
        }
        if self.state.kind() == REFILLING {
            self.pool.lay_down(self.at, self.state);
        } else {
            self.pool.release_empty(self.at, self.state);
        }
    }
}
