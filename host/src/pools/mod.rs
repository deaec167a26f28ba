//! Keys made ahead, kind by kind: a [`Supply`] hands them out at once and makes up for them behind.
//!
//! ```text
//!  consumers                      thread 0   thread 1   ...
//!                                    |          |              home shard, then neighbours
//!  hot: a locked pool a core      [shard 0]  [shard 1]  ...
//!                                     \________|_______/       when all are dry
//!  warm: one locked pool               [  shared  ]
//!                                        ^      ^              make; open what is sealed
//!  replenishers, low priority          [ thread ] ...          urgent below `low`, a quarter of a core
//!                                        |      ^              below `high`, else parked
//!  cold: sealed, may be paged          [   ring   ]
//! ```
//!
//! A key is made in its cell, used in its cell and wiped in its cell. Only what goes through the cold
//! tier is moved: serialised in locked memory, sealed there, and opened there again. Its age goes along.
//!
//! Consumers take no lock, allocate nothing and wait for nobody. Who finds a pool below its low
//! watermark wakes one replenisher, if any is idle: one load says so. Who finds no key at all has a miss,
//! counted, and may make one by itself ([`Supply::acquire_or_make`]).
//!
//! A generator that panics or fails is counted and tried again, later and later, with a new desk; one that
//! hangs costs its thread and its cell. The system's lack of locked memory is an error or shows in the
//! [`Status`], as [`Config::memory`] says.

mod certified;
mod cold;
mod desk;
mod health;
pub mod kinds;
mod replenish;
mod shards;
pub mod sizing;
pub mod trial;

pub use certified::{Certificate, CertifiedSupply, SignRefill};
pub use desk::{Desk, Fresh};
pub use health::{Alert, ColdTier, ProtectionStatus, Status, Tier, TierStatus};
pub use replenish::Activity;
pub use shards::{Kept, Key};
pub use sizing::Config;

use crate::error::{Error, Kind};
use cold::{Cold, Opened};
use replenish::Crew;
use shards::Tiers;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use symbolon_core::pool::{Material, Miss, Policy};
use symbolon_platform::clock::Ticks;
use symbolon_platform::locked::{Arena, Options};
use symbolon_platform::pool::{self, LockedPool};
use symbolon_platform::threads::{Priority, Worker};
use zeroize::Zeroize;

/// Why there is no key, or no supply.
#[derive(Debug)]
pub enum Failure {
    /// The supply is shut down.
    Closed,
    /// No key is ready, and every cell is in use.
    NoRoom,
    /// The generator failed.
    Generator(symbolon_core::Error),
    /// Entropy, or what certifies keys, failed.
    Host(Error),
    /// There is no memory for the keys, or not as protected as was asked.
    Memory(pool::Error),
    /// A thread could not be started.
    Thread(io::Error),
    /// Settings contradict each other.
    Settings(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the supply of keys is shut down"),
            Self::NoRoom => f.write_str("no key is ready and every cell is in use"),
            Self::Generator(error) => write!(f, "a key could not be made: {error}"),
            Self::Host(error) => f.write_str(error.message()),
            Self::Memory(error) => write!(f, "no memory for keys: {error}"),
            Self::Thread(error) => write!(f, "a replenisher cannot be started: {error}"),
            Self::Settings(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Host(error) => error,
            other => Self::new(Kind::Pool, other.to_string()),
        }
    }
}

/// How far filling has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which kind.
    pub kind: &'static str,
    /// Keys ready.
    pub made: u32,
    /// Keys wanted: the high watermarks.
    pub wanted: u32,
}

/// What a shutdown could not wait for. Cells that are still out are wiped when their keys are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Which kind.
    pub kind: &'static str,
    /// Cells handed out, or being filled.
    pub cells: u32,
    /// Replenishers that have not ended.
    pub replenishers: u32,
}

impl fmt::Display for Remaining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, cells, replenishers } = self;
        write!(f, "{kind}: {cells} keys are in use and {replenishers} replenishers at work")
    }
}

impl std::error::Error for Remaining {}

/// Counted now and then: away from what is read all the time.
#[derive(Default)]
#[repr(align(128))]
struct Counts {
    misses: AtomicU64,
    on_demand: AtomicU64,
    made: AtomicU64,
    /// When pools were last swept.
    tidied: AtomicU32,
}

/// A supply as all its threads see it.
struct Shared<T: Material> {
    tiers: Tiers<T>,
    cold: Option<Cold>,
    crew: Crew,
    ticks: Ticks,
    memory: Options,
    counts: Counts,
    window: Mutex<health::Window>,
}

/// Where a thread has keys on their way to and from the cold tier.
struct Stash<T: Material> {
    /// One cell, to make a key in.
    mint: LockedPool<T>,
    buffer: Arena,
}

impl<T: Material> Stash<T> {
    /// Room for a serialised key.
    fn buffer(&mut self) -> &mut [u8] {
        self.buffer.bytes_mut().get_mut(..T::SERIAL_SIZE).unwrap_or_default()
    }
}

/// Keys of one kind, made ahead.
pub struct Supply<T: Material> {
    shared: Arc<Shared<T>>,
}

impl<T: Material> Supply<T> {
    /// Makes the pools and starts the replenishers, each at a desk of its own from `desks`. Returns at
    /// once: [`fill`](Self::fill) waits for keys.
    ///
    /// # Errors
    /// [`Failure::Memory`], [`Failure::Settings`], [`Failure::Thread`]; [`Failure::Host`] without entropy.
    pub fn start<D: Desk<T>>(
        config: Config,
        desks: impl Fn() -> Result<D, Failure> + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        if config.cold > 0 && D::BATCH > 1 {
            return Err(Failure::Settings("keys that are finished together have no cold tier"));
        }
        let cold = match config.cold {
            0 => None,
            cells => Some(Cold::new(T::NAME, T::SERIAL_SIZE, cells, config.memory)?),
        };
        let shared = Arc::new(Shared {
            tiers: Tiers::new(&config).map_err(Failure::Memory)?,
            cold,
            crew: Crew::new(config.replenishers),
            ticks: Ticks::start(),
            memory: config.memory,
            counts: Counts::default(),
            window: Mutex::default(),
        });
        shared.observe();
        // From here on, dropping it ends the threads that have started.
        let supply = Self { shared: Arc::clone(&shared) };
        let desks = Arc::new(desks);
        for index in 0..config.replenishers as usize {
            let (shared, desks) = (Arc::clone(&shared), Arc::clone(&desks));
            let name = format!("keys-{}", T::NAME);
            Worker { name, core: None, priority: Priority::Low }
                .spawn(move || replenish::run(&shared, index, &*desks))
                .map_err(Failure::Thread)?;
        }
        Ok(supply)
    }

    /// Takes a key that is ready: from the calling thread's shard, its neighbours, or the warm tier.
    ///
    /// # Errors
    /// [`Miss::Dry`] if none is: counted. [`Miss::Closed`].
    #[inline]
    pub fn acquire(&self) -> Result<Key<'_, T>, Miss> {
        let shared = &*self.shared;
        let taken = shared.tiers.acquire(shared.now());
        match &taken {
            Ok(key) => {
                let (pool, _) = key.id();
                let pool = shared.tiers.pools().get(pool);
                if pool.is_some_and(|pool| key.left() < pool.policy().low) {
                    shared.crew.wake();
                }
            }
            Err(Miss::Dry) => {
                shared.counts.misses.fetch_add(1, Ordering::Relaxed);
                shared.crew.wake();
            }
            Err(Miss::Closed) => {}
        }
        taken
    }

    /// Takes a key that is ready or else, which counts as a miss, makes one: that takes as long as it takes.
    ///
    /// # Errors
    /// [`Failure::NoRoom`] where every cell is in use, [`Failure::Closed`], [`Failure::Generator`],
    /// [`Failure::Host`].
    pub fn acquire_or_make(&self, desk: &mut impl Desk<T>) -> Result<Key<'_, T>, Failure> {
        let shared = &*self.shared;
        let mut miss = match self.acquire() {
            Ok(key) => return Ok(key),
            Err(miss) => miss,
        };
        loop {
            if miss == Miss::Closed {
                return Err(Failure::Closed);
            }
            let vacancy = shared
                .tiers
                .in_order()
                .find_map(|(pool, cells)| Some(Fresh { pool, vacancy: cells.vacancy()? }));
            match vacancy {
                Some(vacancy) => shared.make(desk, vec![vacancy])?,
                None if shared.tiers.pools().iter().any(|pool| pool.is_closed()) => {
                    return Err(Failure::Closed);
                }
                // Somebody may have brought one while we looked.
                None => return shared.demand().map_err(|_| Failure::NoRoom),
            };
            // Another consumer may have been faster: then one more is made.
            match shared.demand() {
                Ok(key) => return Ok(key),
                Err(next) => miss = next,
            }
        }
    }

    /// Makes keys on the calling thread, beside the replenishers, until all pools are full, or would be if
    /// nobody held keys.
    ///
    /// # Errors
    /// [`Failure::Closed`], [`Failure::Generator`], [`Failure::Host`].
    pub fn fill(
        &self,
        desk: &mut impl Desk<T>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Failure> {
        let shared = &*self.shared;
        let pools = shared.tiers.pools();
        loop {
            let (made, wanted) = pools.iter().fold((0, 0), |(made, wanted), pool| {
                let high = pool.policy().high;
                (made + pool.level().min(high), wanted + high)
            });
            progress(Progress { kind: T::NAME, made, wanted });
            if made == wanted {
                return Ok(());
            }
            if pools.iter().any(|pool| pool.is_closed()) {
                return Err(Failure::Closed);
            }
            let mut filled = 0;
            for at in (0..pools.len()).filter(|at| pools.get(*at).is_some_and(|p| p.wanted() > 0)) {
                filled += shared.refill(desk, at)?;
            }
            if filled == 0 {
                if pools.iter().all(|pool| pool.stats().busy == 0) {
                    return Ok(());
                }
                // Others are making the rest.
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Wipes every key that is not handed out, in all tiers: when what they were made under is no longer
    /// valid. Gives how many keys of the hot and the warm tier that were. What is being made stays.
    pub fn flush(&self) -> u32 {
        if let Some(cold) = &self.shared.cold {
            cold.flush();
        }
        let flushed = self.shared.tiers.pools().iter().map(|pool| pool.flush()).sum();
        self.shared.crew.wake();
        flushed
    }

    /// The addresses of the pools' memory, for searches that leave it out.
    pub fn addresses(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.shared.tiers.pools().iter().map(|pool| pool.addresses())
    }

    /// Hands out no more keys, ends the replenishers, wipes all keys of all tiers, and waits until those
    /// that are handed out have come back and were wiped too, or until `timeout`. Dropping the supply does
    /// the same without waiting.
    ///
    /// # Errors
    /// [`Remaining`]: what it did not wait for. Call it again to wait longer.
    pub fn shut_down(&self, timeout: Duration) -> Result<(), Remaining> {
        let shared = &*self.shared;
        let until = Instant::now() + timeout;
        shared.crew.stop();
        shared.tiers.pools().iter().for_each(|pool| pool.close());
        if let Some(cold) = &shared.cold {
            cold.close();
        }
        loop {
            let cells = shared.tiers.pools().iter().map(|pool| pool.drain()).sum();
            let replenishers = shared.crew.at_work();
            if (cells, replenishers) == (0, 0) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(Remaining { kind: T::NAME, cells, replenishers });
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl<T: Material> Drop for Supply<T> {
    fn drop(&mut self) {
        // What remains wipes itself.
        let _ = self.shut_down(Duration::ZERO);
    }
}

impl<T: Material> Shared<T> {
    fn now(&self) -> u32 {
        self.ticks.now()
    }

    /// A key that was made because somebody asks for it.
    fn demand(&self) -> Result<Key<'_, T>, Miss> {
        let taken = self.tiers.acquire(self.now());
        if taken.is_ok() {
            self.counts.on_demand.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Makes keys in these cells. Gives how many.
    fn make<D: Desk<T>>(&self, desk: &mut D, mut keys: Vec<Fresh<'_, T>>) -> Result<u32, Failure> {
        for key in &mut keys {
            desk::generate(desk, &mut *key.vacancy)?;
        }
        desk.finish(&mut keys)?;
        let made = keys.len() as u32;
        let now = self.now();
        keys.into_iter().for_each(|key| key.vacancy.commit(now));
        self.counts.made.fetch_add(made.into(), Ordering::Relaxed);
        Ok(made)
    }

    /// Makes keys where they are wanted, as many as are best made together, for pool `first` before
    /// others. Gives how many: none if there is no cell.
    fn refill<D: Desk<T>>(&self, desk: &mut D, first: usize) -> Result<u32, Failure> {
        let pools = self.tiers.pools();
        // Of one key at a time, all are for the first.
        let reach = if D::BATCH > 1 { pools.len() } else { 1 };
        let mut keys = Vec::new();
        for at in (0..reach).map(|at| (first + at) % pools.len()) {
            let Some(cells) = pools.get(at) else { continue };
            let most = D::BATCH.saturating_sub(keys.len()).min(cells.wanted() as usize);
            let vacancies = (0..most).map_while(|_| cells.vacancy());
            keys.extend(vacancies.map(|vacancy| Fresh { pool: at, vacancy }));
        }
        if keys.is_empty() { Ok(0) } else { self.make(desk, keys) }
    }

    fn stash(&self) -> Result<Option<Stash<T>>, Failure> {
        if self.cold.is_none() {
            return Ok(None);
        }
        let mint = LockedPool::new(1, Policy::new(1), self.memory).map_err(Failure::Memory)?;
        let buffer = Arena::new(T::SERIAL_SIZE, self.memory);
        let buffer = buffer.map_err(|e| Failure::Memory(pool::Error::Memory(e)))?;
        Ok(Some(Stash { mint, buffer }))
    }

    /// Opens a sealed key for pool `at`. Gives whether there was one, and a cell.
    fn promote<D: Desk<T>>(
        &self,
        desk: &mut D,
        stash: &mut Stash<T>,
        at: usize,
    ) -> Result<bool, Failure> {
        let Some((cold, pool)) = self.cold.as_ref().zip(self.tiers.pools().get(at)) else {
            return Ok(false);
        };
        if cold.level() == 0 {
            return Ok(false);
        }
        let Some(mut vacancy) = pool.vacancy() else { return Ok(false) };
        loop {
            let born = match cold.take(stash.buffer()) {
                Opened::Key(born) => born,
                Opened::Unreadable => continue,
                Opened::Empty => return Ok(false),
            };
            let now = self.now();
            let is_expired = pool.policy().is_expired(Policy::age(now, born));
            let restored =
                !is_expired && vacancy.restore(&mut desk.maker(), stash.buffer()).is_ok();
            stash.buffer().zeroize();
            if restored {
                vacancy.commit(born);
                return Ok(true);
            }
            cold.lose(is_expired);
        }
    }

    /// Makes a key for the cold tier, if it has room. Gives whether it had.
    fn put_away<D: Desk<T>>(&self, desk: &mut D, stash: &mut Stash<T>) -> Result<bool, Failure> {
        let Some(cold) = self.cold.as_ref().filter(|cold| cold.level() < cold.capacity()) else {
            return Ok(false);
        };
        let mint = stash.mint.clone();
        let Some(mut key) = mint.vacancy() else { return Ok(false) };
        desk::generate(desk, &mut *key)?;
        let sealed = key
            .serialise(&mut desk.maker(), stash.buffer())
            .map(|()| cold.put(stash.buffer(), self.now()));
        stash.buffer().zeroize();
        let sealed = sealed.map_err(Failure::Generator)?;
        if sealed {
            self.counts.made.fetch_add(1, Ordering::Relaxed);
        }
        Ok(sealed)
    }

    /// About once a second, whoever comes first sweeps, takes a sample, and hears of it.
    fn tidy(&self) -> bool {
        let (now, then) = (self.now(), self.counts.tidied.load(Ordering::Relaxed));
        let is_due = now.wrapping_sub(then) >= health::SAMPLE
            && (self.counts.tidied)
                .compare_exchange(then, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !is_due {
            return false;
        }
        for pool in self.tiers.pools() {
            pool.sweep(now);
        }
        if let Some((cold, pool)) = self.cold.as_ref().zip(self.tiers.pools().first()) {
            cold.sweep(|born| pool.policy().is_expired(Policy::age(now, born)));
        }
        self.observe();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use symbolon_core::kem::mlkem::DecapsulationKey;
    use symbolon_platform::locked::OnFailure;

    fn supply(cold: u32) -> Supply<DecapsulationKey> {
        let memory = Options { on_failure: OnFailure::Degrade, huge: false };
        let config = Config {
            shards: 1,
            hot: 4,
            warm: 0,
            cold,
            replenishers: 0,
            memory,
            ..Config::of::<DecapsulationKey>(1)
        };
        Supply::start(config, || Ok(())).unwrap()
    }

    /// What goes through the cold tier comes back as it was, as old as it is; what was spoilt there does not.
    #[test]
    fn sealed_keys_come_back_or_are_counted() {
        let supply = supply(4);
        let shared = &*supply.shared;
        let mut stash = shared.stash().unwrap().unwrap();
        for _ in 0..4 {
            assert!(shared.put_away(&mut (), &mut stash).unwrap());
        }
        assert!(!shared.put_away(&mut (), &mut stash).unwrap(), "full");
        assert!(stash.buffer().iter().all(|byte| *byte == 0), "wiped");
        assert_eq!(stash.mint.stats().filled, 0, "made there, not kept there");
        shared.cold.as_ref().unwrap().spoil(|sealed, _| sealed[7] ^= 1);
        thread::sleep(Duration::from_millis(50));
        for level in 1..4 {
            assert!(shared.promote(&mut (), &mut stash, 0).unwrap());
            assert_eq!(shared.tiers.pools()[0].level(), level);
        }
        assert!(!shared.promote(&mut (), &mut stash, 0).unwrap(), "empty");
        assert!(stash.buffer().iter().all(|byte| *byte == 0), "wiped");
        let status = supply.status();
        let cold = status.tiers.cold.unwrap();
        assert_eq!((cold.level, cold.unreadable, status.level), (0, 1, 3));
        for _ in 0..3 {
            let key = supply.acquire().unwrap();
            let mut out = [0; DecapsulationKey::PUBLIC_SIZE];
            key.public(&mut (), &mut out).unwrap();
            assert!(out.iter().any(|byte| *byte != 0));
        }
        let age = supply.status().mean_age_ms;
        assert!(age >= 40.0, "age goes along: {age}");
    }

    /// What opens and is no key is dropped, too.
    #[test]
    fn what_is_no_key_is_not_promoted() {
        let supply = supply(2);
        let shared = &*supply.shared;
        let mut stash = shared.stash().unwrap().unwrap();
        let cold = shared.cold.as_ref().unwrap();
        assert!(cold.put(&mut [7; DecapsulationKey::SERIAL_SIZE], shared.now()));
        assert!(shared.put_away(&mut (), &mut stash).unwrap());
        assert!(shared.promote(&mut (), &mut stash, 0).unwrap());
        assert_eq!((cold.unreadable(), cold.level()), (1, 0));
        assert_eq!(shared.tiers.pools()[0].level(), 1);

        // Nor is what got too old there: a day.
        let (mut key, day) = (stash.buffer().to_vec(), 24 * 60 * 60 * 1000);
        assert!(cold.put(&mut key, shared.now().wrapping_sub(day + 1)));
        assert!(!shared.promote(&mut (), &mut stash, 0).unwrap());
        assert_eq!((cold.unreadable(), cold.level(), cold.expired()), (1, 0, 1));
    }

    #[test]
    fn failures_have_codes_and_say_what_to_do() {
        let memory = Options::default();
        let config = Config { hot: 0, shards: 1, memory, ..Config::of::<DecapsulationKey>(1) };
        let failure = Supply::<DecapsulationKey>::start(config, || Ok(())).err().unwrap();
        assert!(matches!(failure, Failure::Memory(pool::Error::Capacity)));
        let error = Error::from(failure);
        assert_eq!((error.code(), error.exit_code()), ("E-POOL", 2));
        assert_eq!(error.message(), "no memory for keys: no pool has so many cells");
        let inner = Error::new(Kind::Entropy, "none");
        assert_eq!(Error::from(Failure::Host(inner.clone())), inner);
    }
}
