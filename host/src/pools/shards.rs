//! The pools of the hot and the warm tier, and how a thread finds a key in them.

use super::sizing::Config;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use symbolon_core::pool::{KeyId, Lease, Material, Miss, Pool, TooManyShares};
use symbolon_platform::pool::{Error, LockedPool};

/// The number of the calling thread, which says where it looks first.
fn home() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static HOME: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    // A thread that is ending looks anywhere.
    HOME.try_with(|home| *home).unwrap_or(0)
}

/// A key handed out: a reference to the cell where it was made. When the last one for a use is dropped, the
/// key goes back to its pool or, if it may not be used again, is wiped.
#[must_use = "a key that is dropped at once is a use of it for nothing"]
pub struct Key<'a, T: Material> {
    lease: Lease<T, &'a Pool<T>>,
    home: &'a LockedPool<T>,
    pool: usize,
}

/// A key that keeps its pool's memory, however long it is held.
pub type Kept<T> = Lease<T, LockedPool<T>>;

impl<T: Material> Key<'_, T> {
    /// Another reference to the same key, for the same use.
    ///
    /// # Errors
    /// [`TooManyShares`] at 2^31.
    pub fn share(&self) -> Result<Self, TooManyShares> {
        Ok(Self { lease: self.lease.share()?, home: self.home, pool: self.pool })
    }

    /// The key, to be changed: `None` while it is shared.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.lease.get_mut()
    }

    /// The same, for longer than the supply: it counts as one more owner of the pool's memory.
    ///
    /// # Errors
    /// [`TooManyShares`] at 2^31.
    pub fn keep(self) -> Result<Kept<T>, TooManyShares> {
        self.lease.carried_by(self.home.clone()).map_err(|_| TooManyShares)
    }

    /// Has the key wiped when its last reference is dropped, whatever uses remain.
    pub fn retire(self) {
        self.lease.retire();
    }

    /// The number of its pool, shards first, and which of the pool's keys it is.
    pub fn id(&self) -> (usize, KeyId) {
        (self.pool, self.lease.id())
    }

    /// How many keys its pool had left when it was taken.
    pub fn left(&self) -> u32 {
        self.lease.left()
    }
}

impl<T: Material> Deref for Key<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lease
    }
}

/// No key is shown.
impl<T: Material> fmt::Debug for Key<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kind", &T::NAME)
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// The hot tier's shards, then the warm tier's pool.
pub(super) struct Tiers<T: Material> {
    pools: Box<[LockedPool<T>]>,
    shards: usize,
}

impl<T: Material> Tiers<T> {
    /// Empty pools.
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let pool = |cells| LockedPool::new(cells, config.policy(cells), config.memory);
        let shards = config.shards.max(1) as usize;
        let hot = (0..shards).map(|_| pool(config.shard()));
        let warm = (config.warm > 0).then(|| pool(config.warm));
        Ok(Self { pools: hot.chain(warm).collect::<Result<_, _>>()?, shards })
    }

    /// All pools: their places are the numbers in [`Key::id`].
    pub(super) fn pools(&self) -> &[LockedPool<T>] {
        &self.pools
    }

    pub(super) fn hot(&self) -> &[LockedPool<T>] {
        self.pools.get(..self.shards).unwrap_or_default()
    }

    pub(super) fn warm(&self) -> Option<&LockedPool<T>> {
        self.pools.get(self.shards)
    }

    /// The calling thread's own shard.
    fn first(&self) -> usize {
        let home = home();
        // Most threads have one of their own, and a division takes longer than a look.
        if home < self.shards { home } else { home % self.shards }
    }

    /// The pools in the order in which the calling thread looks: its own shard, the neighbours, the warm tier.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (usize, &LockedPool<T>)> {
        let first = self.first();
        let turned = (first..self.shards).chain(0..first).chain(self.shards..self.pools.len());
        turned.filter_map(|at| Some((at, self.pools.get(at)?)))
    }

    /// A key from wherever there is one.
    #[inline(always)]
    pub(super) fn acquire(&self, now: u32) -> Result<Key<'_, T>, Miss> {
        let at = self.first();
        if let Some(pool) = self.pools.get(at)
            && let Ok(lease) = pool.acquire(now)
        {
            return Ok(Key { lease, home: pool, pool: at });
        }
        self.acquire_elsewhere(now)
    }

    #[cold]
    fn acquire_elsewhere(&self, now: u32) -> Result<Key<'_, T>, Miss> {
        let mut pools = self.in_order();
        if pools.next().is_some_and(|(_, own)| own.is_closed()) {
            return Err(Miss::Closed);
        }
        for (at, pool) in pools {
            match pool.acquire(now) {
                Ok(lease) => return Ok(Key { lease, home: pool, pool: at }),
                Err(Miss::Closed) => return Err(Miss::Closed),
                Err(Miss::Dry) => {}
            }
        }
        Err(Miss::Dry)
    }

    /// Whether filling some pool is urgent.
    pub(super) fn is_low(&self) -> bool {
        self.pools.iter().any(|pool| pool.is_low())
    }
}
