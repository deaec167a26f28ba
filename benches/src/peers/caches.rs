//! What else keeps things by key: maps that never forget, and caches with policies of their own.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use dashmap::DashMap;
use symbolon_core::cache::Digest;

use crate::cache::{Ask, Keeper, VALUE, Value, holds};

/// The first eight bytes of a digest, as they are: fast, and whoever makes digests chooses them.
#[derive(Default)]
pub struct Prefix(u64);

impl Hasher for Prefix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}
}

/// A map under locks, by shards.
pub struct Dash<S>(DashMap<Digest, Value, S>);
/// With that hasher.
pub type DashPrefix = Dash<BuildHasherDefault<Prefix>>;
/// As it comes.
pub type DashDefault = Dash<RandomState>;

trait Named {
    const WHO: &'static str;
}

impl Named for BuildHasherDefault<Prefix> {
    const WHO: &'static str = "dashmap 6.2.1, a prefix for its hash";
}

impl Named for RandomState {
    const WHO: &'static str = "dashmap 6.2.1";
}

#[allow(private_bounds)]
impl<S: BuildHasher + Clone + Default + Named + Send + Sync + 'static> Keeper for Dash<S> {
    const WHO: &'static str = S::WHO;
    type Desk<'a> = &'a Self;

    fn new(capacity: usize) -> Self {
        Self(DashMap::with_capacity_and_hasher(capacity, S::default()))
    }

    fn desk(&self) -> &Self {
        self
    }
}

impl<S: BuildHasher + Clone> Ask for &Dash<S> {
    #[inline]
    fn get(&self, digest: &Digest) -> bool {
        self.0.get(digest).is_some_and(|value| holds(*value))
    }

    fn put(&self, digest: &Digest) {
        self.0.insert(*digest, VALUE);
    }
}

/// A map that one thread has to itself: what no lock at all would give.
pub struct Unlocked(HashMap<Digest, Value, BuildHasherDefault<Prefix>>);

impl Unlocked {
    /// With these in it.
    #[must_use]
    pub fn of(digests: &[Digest]) -> Self {
        Self(digests.iter().map(|digest| (*digest, VALUE)).collect())
    }
}

impl Ask for &Unlocked {
    #[inline]
    fn get(&self, digest: &Digest) -> bool {
        self.0.get(digest).is_some_and(|value| holds(*value))
    }

    /// It is full from the start.
    fn put(&self, _: &Digest) {}
}

macro_rules! caches {
    ($($(#[$doc:meta])* $name:ident($cache:ty), $who:literal, |$capacity:ident| $new:expr, $value:expr;)*) => {$(
        $(#[$doc])*
        pub struct $name($cache);

        impl Keeper for $name {
            const WHO: &'static str = $who;
            type Desk<'a> = &'a Self;

            fn new($capacity: usize) -> Self {
                Self($new)
            }

            fn desk(&self) -> &Self {
                self
            }
        }

        impl Ask for &$name {
            #[inline]
            fn get(&self, digest: &Digest) -> bool {
                let value: fn(_) -> Value = $value;
                self.0.get(digest).is_some_and(|found| holds(value(found)))
            }

            fn put(&self, digest: &Digest) {
                self.0.insert(*digest, VALUE);
            }
        }
    )*};
}

caches! {
    /// Clock-PRO, under locks by shards.
    Quick(quick_cache::sync::Cache<Digest, Value>), "quick_cache 0.7.0",
        |capacity| quick_cache::sync::Cache::new(capacity), |value| value;
    /// W-TinyLFU.
    Moka(moka::sync::Cache<Digest, Value>), "moka 0.12.16",
        |capacity| moka::sync::Cache::new(capacity as u64), |value| value;
    /// S3-FIFO.
    Foyer(foyer_memory::Cache<Digest, Value>), "foyer-memory 0.22.6, S3-FIFO",
        |capacity| foyer_memory::CacheBuilder::new(capacity)
            .with_eviction_config(foyer_memory::S3FifoConfig::default())
            .build(),
        |entry: foyer_memory::CacheEntry<Digest, Value>| *entry.value();
}
