//! The BFV keys of a deployment, one after the other: each serves for so many batches or so long.
//!
//! A one-bit answer is an oracle, and whoever crafts ciphertexts needs some two thousand answers under one
//! key to recover it (SECURITY.md): a key that answers no more before that is not recovered in this way. Templates are not
//! encrypted under it in `sealed-probe`, so a new one costs its generation, which a [`Supply`] has done ahead.
//!
//! A batch keeps the epoch that it began under, and with it the key, until it is decided. Who finds that
//! an epoch is over brings in the next one; the others go on under the old one meanwhile, and wait only
//! where as many again have begun as its limit allows.

use crate::error::Result;
use crate::keys::CustodianSeeds;
use crate::pools::kinds::PairDesk;
use crate::pools::{self, Config, Desk, Failure, Kept, Supply};
use crate::random::random;
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use std::mem;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;
use symbolon_core::bfv::{KeyPair, PublicKey, SecretKey};
use symbolon_core::kernel::Kernels;
use symbolon_core::pool::{Material, Policy, Pool};
use symbolon_platform::clock::{self, Ticks};
use symbolon_platform::locked::{self, Options};
use symbolon_platform::pool::LockedPool;
use zeroize::Zeroizing;

/// Keys made ahead: enough for the time in which the next one is made.
const AHEAD: u32 = 4;

/// How long a BFV key serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Batches that begin under it. The custodian decides no more than twice as many, whatever comes.
    pub batches: NonZeroU32,
    /// How long batches begin under it.
    pub age: Duration,
}

impl Limits {
    /// Far below the two thousand batches that a key is recovered from, even where twice as many come.
    pub const DEFAULT_BATCHES: u32 = 512;
    /// An hour.
    pub const DEFAULT_MINUTES: u32 = 60;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batches: NonZeroU32::new(Self::DEFAULT_BATCHES).unwrap_or(NonZeroU32::MIN),
            age: Duration::from_secs(60 * u64::from(Self::DEFAULT_MINUTES)),
        }
    }
}

/// A BFV key in use. It is wiped when the custodian has the next one and the last batch lets go of it.
pub struct Epoch<const L: usize> {
    number: u32,
    pair: Kept<KeyPair<L>>,
    began: u32,
    begun: AtomicU32,
    decided: AtomicU32,
}

impl<const L: usize> Epoch<L> {
    fn new(number: u32, pair: Kept<KeyPair<L>>, began: u32) -> Arc<Self> {
        let (begun, decided) = (AtomicU32::new(0), AtomicU32::new(0));
        Arc::new(Self { number, pair, began, begun, decided })
    }

    /// What statements call it: the deployment's epoch for the key that is derived from its seed; for others the
    /// second in which it came into use, or one more than the last. So no two keys of a run share one; of
    /// a run that brings in more than one a second the next run may use some again.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What gateway and matcher encrypt under.
    pub fn public(&self) -> &PublicKey<L> {
        self.pair.public_key()
    }

    pub(super) fn secret(&self) -> &SecretKey<L> {
        self.pair.secret_key()
    }
}

/// How rotation has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rotations {
    /// Keys that came into use after the first.
    pub rotated: u64,
    /// Those that had to be made on the spot, because none was ready.
    pub on_demand: u64,
    /// Times that none could be made: batches go on under the old key, up to twice its limit.
    pub failed: u64,
}

/// What brings in the next key.
struct Source<const L: usize> {
    limits: Limits,
    supply: Supply<KeyPair<L>>,
    kernels: &'static Kernels,
    memory: Options,
}

/// The keys of a deployment.
pub struct Epochs<const L: usize> {
    source: Option<Source<L>>,
    /// What the memory of the deployment's own key lacks, where that is in use.
    own_degraded: Option<locked::Error>,
    ticks: Ticks,
    /// The number of the current epoch: what a worker compares before each batch.
    number: AtomicU32,
    current: Mutex<Arc<Epoch<L>>>,
    /// Held by who brings in the next key.
    rotating: Mutex<()>,
    rotated: AtomicU64,
    failed: AtomicU64,
}

impl<const L: usize> Epochs<L> {
    /// With `limits`, fresh keys one after the other, from the first on, made ahead in memory with the
    /// protections that `memory` asks for. Without, the key that `seeds` give.
    ///
    /// Errors: `E-POOL` where there is no such memory; `E-ENTROPY`.
    pub fn new(
        kernels: &'static Kernels,
        seeds: &CustodianSeeds,
        limits: Option<Limits>,
        memory: Options,
    ) -> Result<Self> {
        let ticks = Ticks::start();
        let epoch = seeds.deployment.epoch;
        let (source, own_degraded, first) = match limits {
            None => {
                let derive = |pair: &mut KeyPair<L>| {
                    seeds.derive(kernels, pair);
                    Ok(())
                };
                let (pair, degraded) = alone(memory, derive)?;
                (None, degraded, Epoch::new(epoch, pair, ticks.now()))
            }
            Some(limits) => {
                let config = Config {
                    shards: 1,
                    hot: AHEAD,
                    warm: 0,
                    cold: 0,
                    ttl: None,
                    max_uses: Some(NonZeroU32::MIN),
                    low: 50,
                    memory,
                    ..Config::of::<KeyPair<L>>(1)
                };
                let supply = Supply::start(config, move || Ok(PairDesk::new(kernels)))?;
                supply.fill(&mut PairDesk::new(kernels), &mut |_| ())?;
                let source = Source { limits, supply, kernels, memory };
                let first = Epoch::new(number_after(epoch), source.next()?, ticks.now());
                (Some(source), None, first)
            }
        };
        Ok(Self {
            source,
            own_degraded,
            ticks,
            number: AtomicU32::new(first.number),
            current: Mutex::new(first),
            rotating: Mutex::new(()),
            rotated: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    /// The epoch in use, for a worker to keep.
    pub fn current(&self) -> Arc<Epoch<L>> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Brings a worker's epoch up to date and counts the batch that it begins.
    ///
    /// Errors: `E-POOL`, `E-ENTROPY` where a key is over for good and there is no other.
    pub fn begin(&self, epoch: &mut Arc<Epoch<L>>) -> Result<()> {
        loop {
            if epoch.number != self.number.load(Ordering::Acquire) {
                *epoch = self.current();
            }
            let begun = epoch.begun.fetch_add(1, Ordering::Relaxed);
            let Some(source) = &self.source else { return Ok(()) };
            let limit = source.limits.batches.get();
            let age = Duration::from_millis(self.ticks.now().wrapping_sub(epoch.began).into());
            let decided = epoch.decided.load(Ordering::Relaxed);
            if begun < limit && decided < limit && age < source.limits.age {
                return Ok(());
            }
            // As many again may begin while the next key comes in. Then it takes a new one.
            let is_over = begun >= limit.saturating_mul(2) || decided >= limit.saturating_mul(2);
            let rotating = match self.rotating.try_lock() {
                Ok(rotating) => rotating,
                Err(TryLockError::WouldBlock) if !is_over => return Ok(()),
                Err(_) => self.rotating.lock().unwrap_or_else(PoisonError::into_inner),
            };
            if epoch.number != self.number.load(Ordering::Acquire) {
                continue;
            }
            match source.next() {
                Ok(pair) => {
                    self.publish(Epoch::new(number_after(epoch.number), pair, self.ticks.now()))
                }
                Err(failure) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    return if is_over { Err(failure) } else { Ok(()) };
                }
            }
            drop(rotating);
        }
    }

    fn publish(&self, next: Arc<Epoch<L>>) {
        let number = next.number;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let last = mem::replace(&mut *current, next);
        self.number.store(number, Ordering::Release);
        drop(current);
        // If nobody else has it, this wipes it.
        drop(last);
        self.rotated.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one more batch may be decided under this key.
    pub(super) fn may_decide(&self, epoch: &Epoch<L>) -> bool {
        let Some(source) = &self.source else { return true };
        let most = source.limits.batches.get().saturating_mul(2);
        // Looked at first, so that it never wraps.
        epoch.decided.load(Ordering::Relaxed) < most
            && epoch.decided.fetch_add(1, Ordering::Relaxed) < most
    }

    /// How rotation has gone.
    pub fn rotations(&self) -> Rotations {
        Rotations {
            rotated: self.rotated.load(Ordering::Relaxed),
            on_demand: self.pool().map_or(0, |status| status.misses),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// How the pool of the next keys is; `None` where the deployment's own key is in use.
    pub fn pool(&self) -> Option<pools::Status> {
        self.source.as_ref().map(|source| source.supply.status())
    }

    /// What memory of keys lacks of what was asked, and what to do about it; `None` if nothing.
    pub fn degraded(&self) -> Option<String> {
        let made = self.pool().and_then(|status| status.protection.degraded);
        made.or_else(|| self.own_degraded.map(|reason| reason.to_string()))
    }
}

impl<const L: usize> Source<L> {
    /// A key that is ready, or one made on the spot; where old keys in use fill the pool, in memory of its own.
    fn next(&self) -> Result<Kept<KeyPair<L>>> {
        let mut desk = PairDesk::new(self.kernels);
        match self.supply.acquire_or_make(&mut desk) {
            Ok(key) => Ok(key.keep().map_err(|_| Failure::NoRoom)?),
            Err(Failure::NoRoom) => {
                let mut rng = ChaCha20Rng::from_seed(*Zeroizing::new(random()?));
                let made = alone(self.memory, |pair: &mut KeyPair<L>| {
                    pair.generate(&mut desk.maker(), &mut rng).map_err(Failure::Generator)
                });
                Ok(made?.0)
            }
            Err(failure) => Err(failure.into()),
        }
    }
}

/// A key in locked memory of its own, and what that lacks.
fn alone<const L: usize>(
    memory: Options,
    make: impl FnOnce(&mut KeyPair<L>) -> std::result::Result<(), Failure>,
) -> std::result::Result<(Kept<KeyPair<L>>, Option<locked::Error>), Failure> {
    let own = LockedPool::new(1, Policy::new(1), memory).map_err(Failure::Memory)?;
    own.fill(0, make)?;
    let degraded = own.degraded();
    // The cell was empty, and now it is not.
    let pair = Pool::acquire_by(own, 0).map_err(|_| Failure::NoRoom)?;
    Ok((pair, degraded))
}

/// The number of a key that comes into use now: the second, or one more than the last.
fn number_after(last: u32) -> u32 {
    let second = u32::try_from(clock::unix_ms() / 1000).unwrap_or(u32::MAX);
    second.max(last.wrapping_add(1))
}
