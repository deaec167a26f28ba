//! The BFV keys of a deployment, one after the other: each serves for so many batches or so long.
//!
//! A one-bit answer is an oracle, and whoever crafts ciphertexts needs some two thousand answers under one
//! key to recover it (SECURITY.md): a key that is gone by then is worth nothing. Templates are not
//! encrypted under it in `sealed-probe`, so a new one costs its generation, which a [`Supply`] has done ahead.
//!
//! A batch keeps the epoch that it began under, and with it the key, until it is decided. Who finds that
//! an epoch is over brings in the next one; the others go on under the old one and wait for nobody.

use crate::error::Result;
use crate::keys::CustodianSeeds;
use crate::pools::kinds::PairDesk;
use crate::pools::{Config, Failure, Supply};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use symbolon_core::bfv::{KeyPair, PublicKey, SecretKey};
use symbolon_core::kernel::Kernels;
use symbolon_core::pool::{Lease, Policy, Pool};
use symbolon_platform::clock::{self, Ticks};
use symbolon_platform::locked::{self, Options};
use symbolon_platform::pool::LockedPool;

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

/// A key pair in locked memory, which it keeps.
type Pair<const L: usize> = Lease<KeyPair<L>, LockedPool<KeyPair<L>>>;

/// A BFV key in use. It is wiped when the custodian has the next one and the last batch lets go of it.
pub struct Epoch<const L: usize> {
    number: u32,
    pair: Pair<L>,
    began: u32,
    begun: AtomicU32,
    decided: AtomicU32,
}

impl<const L: usize> Epoch<L> {
    fn new(number: u32, pair: Pair<L>, began: u32) -> Arc<Self> {
        let (begun, decided) = (AtomicU32::new(0), AtomicU32::new(0));
        Arc::new(Self { number, pair, began, begun, decided })
    }

    /// What statements call it: the deployment's epoch for the key that is derived from its seed, and then
    /// the second in which a key came into use, or one more than the last.
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
    /// Those that could not be made: batches go on under the old key until its custodian refuses.
    pub failed: u32,
}

/// What brings in the next key.
struct Source<const L: usize> {
    limits: Limits,
    supply: Supply<KeyPair<L>>,
    kernels: &'static Kernels,
}

/// The keys of a deployment.
pub struct Epochs<const L: usize> {
    source: Option<Source<L>>,
    /// What the memory of the first key lacks.
    own_degraded: Option<locked::Error>,
    ticks: Ticks,
    /// The number of the current epoch: what a worker compares before each batch.
    number: AtomicU32,
    current: Mutex<Arc<Epoch<L>>>,
    rotating: AtomicBool,
    rotated: AtomicU32,
    failed: AtomicU32,
}

impl<const L: usize> Epochs<L> {
    /// Begins with the key that `seeds` give. With `limits`, others follow, made ahead in memory with the
    /// protections that `memory` asks for; without, it stays.
    ///
    /// Errors: `E-POOL` where there is no such memory.
    pub fn new(
        kernels: &'static Kernels,
        seeds: &CustodianSeeds,
        limits: Option<Limits>,
        memory: Options,
    ) -> Result<Self> {
        let source = limits
            .map(|limits| {
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
                Result::Ok(Source { limits, supply, kernels })
            })
            .transpose()?;
        let ticks = Ticks::start();
        let epoch = seeds.deployment.epoch;
        let own = LockedPool::new(1, Policy::new(1), memory).map_err(Failure::Memory)?;
        own.fill(0, |pair: &mut KeyPair<L>| {
            seeds.derive(kernels, pair);
            Ok::<_, Failure>(())
        })?;
        let own_degraded = own.degraded();
        // The cell was empty, and now it is not.
        let pair = Pool::acquire_by(own, 0).map_err(|_| Failure::NoRoom)?;
        let first = Epoch::new(epoch, pair, ticks.now());
        Ok(Self {
            source,
            own_degraded,
            ticks,
            number: AtomicU32::new(epoch),
            current: Mutex::new(first),
            rotating: AtomicBool::new(false),
            rotated: AtomicU32::new(0),
            failed: AtomicU32::new(0),
        })
    }

    /// The epoch in use, for a worker to keep.
    pub fn current(&self) -> Arc<Epoch<L>> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Brings a worker's epoch up to date and counts the batch that it begins.
    pub fn begin(&self, epoch: &mut Arc<Epoch<L>>) {
        if epoch.number != self.number.load(Ordering::Acquire) {
            *epoch = self.current();
        }
        let begun = epoch.begun.fetch_add(1, Ordering::Relaxed);
        if let Some(source) = &self.source {
            let age = Duration::from_millis(self.ticks.now().wrapping_sub(epoch.began).into());
            if begun >= source.limits.batches.get() || age >= source.limits.age {
                self.rotate(source, epoch);
            }
        }
    }

    /// Whether one more batch may be decided under this key.
    pub(super) fn may_decide(&self, epoch: &Epoch<L>) -> bool {
        let Some(source) = &self.source else { return true };
        let decided = epoch.decided.fetch_add(1, Ordering::Relaxed);
        decided < source.limits.batches.get().saturating_mul(2)
    }

    /// Brings in the next key, unless somebody else does: then this batch begins under the old one.
    fn rotate(&self, source: &Source<L>, epoch: &mut Arc<Epoch<L>>) {
        let is_current = |this: &Self| epoch.number == this.number.load(Ordering::Acquire);
        if !is_current(self) || self.rotating.swap(true, Ordering::Acquire) {
            return;
        }
        // Another may have been here between the two.
        if is_current(self) {
            match source.supply.acquire_or_make(&mut PairDesk::new(source.kernels)) {
                Ok(pair) => {
                    let second = u32::try_from(clock::unix_ms() / 1000).unwrap_or(u32::MAX);
                    let number = second.max(epoch.number.saturating_add(1));
                    let next = Epoch::new(number, pair.into_lease(), self.ticks.now());
                    next.begun.store(1, Ordering::Relaxed);
                    *epoch = Arc::clone(&next);
                    *self.current.lock().unwrap_or_else(PoisonError::into_inner) = next;
                    self.number.store(number, Ordering::Release);
                    self.rotated.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => _ = self.failed.fetch_add(1, Ordering::Relaxed),
            }
        }
        self.rotating.store(false, Ordering::Release);
    }

    /// How rotation has gone.
    pub fn rotations(&self) -> Rotations {
        let status = self.source.as_ref().map(|source| source.supply.status());
        Rotations {
            rotated: self.rotated.load(Ordering::Relaxed).into(),
            on_demand: status.map_or(0, |status| status.misses),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// What memory of keys lacks of what was asked, and what to do about it; `None` if nothing.
    pub fn degraded(&self) -> Option<String> {
        let made = self.source.as_ref().and_then(|s| s.supply.status().protection.degraded);
        made.or_else(|| self.own_degraded.map(|reason| reason.to_string()))
    }
}
