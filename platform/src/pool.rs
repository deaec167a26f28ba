//! A pool of keys in locked memory: where [`symbolon_core::pool`] meets [`locked`].
#![allow(unsafe_code)]

use std::fmt;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;

use symbolon_core::pool::{Material, Policy, Pool, PoolRef};

use crate::locked::{self, Arena, Options, Protection};

/// A pool in an [`Arena`] of its own. Clones are the same pool, and so are the leases that hold one; when
/// the last of them is gone, the memory is wiped and given back.
pub struct LockedPool<T: Material>(Arc<Home<T>>);

/// Where a pool lies. Its references are counted beside those of other pools: a line of its own keeps
/// the cores that use different ones apart.
#[repr(align(128))]
struct Home<T: Material> {
    pool: NonNull<Pool<T>>,
    arena: Arena,
}

// SAFETY: a pool is Sync, for its cells are; the arena is Send and Sync.
unsafe impl<T: Material> Send for Home<T> {}
// SAFETY: as above.
unsafe impl<T: Material> Sync for Home<T> {}

/// Why there is no pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No cells, or more than a pool can have.
    Capacity,
    /// No memory, or not as protected as was asked.
    Memory(locked::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capacity => f.write_str("no pool has so many cells"),
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl<T: Material> LockedPool<T> {
    /// An empty pool of `cells`. `options` say what becomes of a protection that fails: an error, or a
    /// pool that tells ([`degraded`](Self::degraded)).
    ///
    /// # Errors
    /// [`Error::Capacity`], [`Error::Memory`].
    pub fn new(cells: u32, policy: Policy, options: Options) -> Result<Self, Error> {
        // A page's start is aligned enough.
        const { assert!(Pool::<T>::ALIGN <= 4096) }
        let cells = cells as usize;
        let size = Pool::<T>::size(cells).ok_or(Error::Capacity)?;
        let arena = Arena::new(size, options).map_err(Error::Memory)?;
        // SAFETY: an arena is zeroed, begins at a page, is no smaller than asked, and nobody else has this
        // one. It lives as long as `Home`, out of which no reference is lent for longer; it wipes itself.
        let pool = unsafe { Pool::place(arena.as_ptr(), cells, policy) };
        let pool = NonNull::from(pool.map_err(|_| Error::Capacity)?);
        Ok(Self(Arc::new(Home { pool, arena })))
    }

    /// What holds of its memory.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.0.arena.protection()
    }

    /// The first protection that failed, and why.
    #[must_use]
    pub fn degraded(&self) -> Option<locked::Error> {
        self.0.arena.degraded()
    }

    /// Its addresses: whole pages, for searches of memory that leave it out, and for sums of what is locked.
    #[must_use]
    pub fn addresses(&self) -> Range<usize> {
        let start = self.0.arena.as_ptr().as_ptr().addr();
        start..start + self.0.arena.len()
    }
}

impl<T: Material> Clone for LockedPool<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Material> Deref for LockedPool<T> {
    type Target = Pool<T>;

    fn deref(&self) -> &Pool<T> {
        // SAFETY: placed by `new`, in memory that lives as long as `self`; only ever shared.
        unsafe { self.0.pool.as_ref() }
    }
}

// SAFETY: clones share one home, which lives as long as any of them.
unsafe impl<T: Material> PoolRef<T> for LockedPool<T> {
    fn pool(&self) -> &Pool<T> {
        self
    }
}

/// No key is shown.
impl<T: Material> fmt::Debug for LockedPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedPool").field("kind", &T::NAME).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locked::OnFailure;
    use symbolon_core::error::Error as CoreError;
    use symbolon_core::kem::mlkem::DecapsulationKey;

    const DEGRADE: Options = Options { on_failure: OnFailure::Degrade, huge: false };

    fn pool(cells: u32) -> Result<LockedPool<DecapsulationKey>, Error> {
        LockedPool::new(cells, Policy::new(cells), DEGRADE)
    }

    #[test]
    fn capacities_have_limits() {
        assert_eq!(pool(0).err(), Some(Error::Capacity));
        assert_eq!(pool(u32::MAX).err(), Some(Error::Capacity));
        let three = pool(3).unwrap();
        assert_eq!(three.capacity(), 3);
        let size = Pool::<DecapsulationKey>::size(3).unwrap();
        assert!(three.addresses().len() >= size && three.addresses().len() < size + 65536);
    }

    /// A lease keeps its pool, and the last one to go takes it along.
    #[test]
    fn leases_own_their_way() {
        let pool = pool(2).unwrap();
        let made = pool.fill(0, |key| {
            key.derive(&[7; 64]);
            Ok::<_, CoreError>(())
        });
        assert_eq!(made, Ok(true));
        let home = Arc::downgrade(&pool.0);
        let lease = Pool::acquire_by(pool.clone(), 0).unwrap();
        let expected = lease.id();
        drop(pool);
        assert!(home.upgrade().is_some());
        let shared = std::thread::spawn(move || lease.share().unwrap()).join().unwrap();
        assert_eq!(shared.id(), expected);
        drop(shared);
        assert!(home.upgrade().is_none());
    }
}
