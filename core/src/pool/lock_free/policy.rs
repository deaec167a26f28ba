//! When a key stops being handed out, and how many are to be had.

use core::num::NonZeroU32;
// No step of a pool's protocol: not in its models, and loads and stores are enough.
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A pool's settings. Ticks are the caller's: whatever `now` counts, a millisecond or a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A key this many ticks old is expired. At most 2^30, and a pool must be swept at least every 2^30
    /// ticks: they wrap. `None`: keys do not age.
    pub ttl: Option<NonZeroU32>,
    /// How often a key is handed out. `None`: as often as its kind allows
    /// ([`Material::MAX_USES`](crate::pool::Material::MAX_USES), which holds in any case).
    pub max_uses: Option<NonZeroU32>,
    /// Fewer ready keys than this, and filling is urgent.
    pub low: u32,
    /// Filling stops at this many.
    pub high: u32,
}

impl Policy {
    /// Keys that neither age nor wear out, as many as there are cells; urgent below a quarter.
    #[must_use]
    pub const fn new(cells: u32) -> Self {
        Self { ttl: None, max_uses: None, low: cells / 4, high: cells }
    }

    /// The longest `ttl`: there are as many ticks again in which a sweep finds that it is over.
    pub const MAX_TTL: u32 = 1 << 30;

    /// Without what cannot be: watermarks above the capacity or crossed, a `ttl` beyond the ticks.
    #[must_use]
    const fn clamped(self, cells: u32) -> Self {
        let high = if self.high < cells { self.high } else { cells };
        let low = if self.low < high { self.low } else { high };
        let ttl = match self.ttl {
            Some(ttl) if ttl.get() > Self::MAX_TTL => NonZeroU32::new(Self::MAX_TTL),
            ttl => ttl,
        };
        Self { ttl, low, high, ..self }
    }

    /// The age of what was born at `born`. A birth just after `now`, by another thread's reading of
    /// the clock, is age 0.
    #[must_use]
    pub const fn age(now: u32, born: u32) -> u32 {
        let age = now.wrapping_sub(born);
        if age > i32::MAX as u32 { 0 } else { age }
    }

    /// Whether a key of this age is no longer handed out.
    #[must_use]
    pub const fn is_expired(&self, age: u32) -> bool {
        match self.ttl {
            Some(ttl) => age >= ttl.get(),
            None => false,
        }
    }
}

/// A policy that can be changed, as differences to [`Policy::new`]: that one is all zero.
pub(super) struct Kept {
    /// 0 for none.
    ttl: AtomicU32,
    /// 0 for none.
    max_uses: AtomicU32,
    low: AtomicU32,
    high: AtomicU32,
}

impl Kept {
    pub const fn new(policy: Policy, cells: u32) -> Self {
        let [ttl, max_uses, low, high] = Self::words(policy, cells);
        Self {
            ttl: AtomicU32::new(ttl),
            max_uses: AtomicU32::new(max_uses),
            low: AtomicU32::new(low),
            high: AtomicU32::new(high),
        }
    }

    const fn words(policy: Policy, cells: u32) -> [u32; 4] {
        const fn word(limit: Option<NonZeroU32>) -> u32 {
            match limit {
                Some(limit) => limit.get(),
                None => 0,
            }
        }
        let (usual, policy) = (Policy::new(cells), policy.clamped(cells));
        let low = policy.low.wrapping_sub(usual.low);
        [word(policy.ttl), word(policy.max_uses), low, policy.high.wrapping_sub(usual.high)]
    }

    pub fn set(&self, policy: Policy, cells: u32) {
        let [ttl, max_uses, low, high] = Self::words(policy, cells);
        self.ttl.store(ttl, Relaxed);
        self.max_uses.store(max_uses, Relaxed);
        self.low.store(low, Relaxed);
        self.high.store(high, Relaxed);
    }

    pub fn get(&self, cells: u32) -> Policy {
        let usual = Policy::new(cells);
        Policy {
            ttl: NonZeroU32::new(self.ttl.load(Relaxed)),
            max_uses: NonZeroU32::new(self.max_uses.load(Relaxed)),
            low: self.low.load(Relaxed).wrapping_add(usual.low),
            high: self.high.load(Relaxed).wrapping_add(usual.high),
        }
    }
}
