//! How many keys to hold: by demand, and by the memory that may be locked.

use std::num::NonZeroU32;
use std::time::Duration;
use symbolon_core::pool::{Material, Policy, Pool};
use symbolon_platform::locked::Options;

/// Bytes that all kinds' [defaults](Config::of) together lock at most: the limit on locked memory of most systems.
pub const BUDGET: usize = 8 << 20;

/// Bytes of the cells that one kind takes by default.
const SHARE: usize = 640 << 10;
/// The most cells that one takes.
const CELLS: usize = 256;
/// Fewer cells than this are not worth a shard.
const SHARD: u32 = 8;
/// Keys in the cold tier by default.
const COLD: u32 = 1024;
/// A serialised form this much smaller than the key is a seed: to open it costs what making a key costs.
const SEED: usize = 8;
/// The largest serialised form that pays: to open an encryption of zero took 76 us where to make one took 23
/// (Q54, both on a busy Zen 5).
const OPENED: usize = 16 << 10;

/// A supply's settings.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Pools of the hot tier: as many as threads that take keys at once, as a rule one a core.
    pub shards: u32,
    /// Cells of the hot tier, over all shards.
    pub hot: u32,
    /// Cells of the warm tier, which serves whoever finds the hot one empty; 0 for none.
    pub warm: u32,
    /// Sealed keys that may be paged out; 0 for none. They speed up refilling where opening one costs less
    /// than making one.
    pub cold: u32,
    /// No key is handed out at this age, whatever tiers it went through. Below 24 days.
    pub ttl: Option<Duration>,
    /// How often a key is handed out. A kind may allow less.
    pub max_uses: Option<NonZeroU32>,
    /// In hundredths of its cells: below, filling a pool is urgent.
    pub low: u32,
    /// In hundredths of its cells: there, filling stops.
    pub high: u32,
    /// Threads that refill.
    pub replenishers: u32,
    /// What is asked of the memory, and what to do where it is not to be had.
    pub memory: Options,
}

impl Config {
    /// What suits a kind where nothing is known of the demand: each key handed out once, and for a day.
    #[must_use]
    pub fn of<T: Material>(cores: usize) -> Self {
        let cells = (SHARE / Pool::<T>::CELL_SIZE).clamp(2, CELLS) as u32;
        let warm = cells / 4;
        let hot = cells - warm;
        let is_seed = T::SERIAL_SIZE * SEED <= size_of::<T>();
        let pays = !is_seed && T::SERIAL_SIZE <= OPENED;
        Self {
            shards: u32::try_from(cores).unwrap_or(u32::MAX).clamp(1, (hot / SHARD).max(1)),
            hot,
            warm,
            cold: if pays { COLD } else { 0 },
            ttl: Some(Duration::from_secs(24 * 60 * 60)),
            max_uses: Some(NonZeroU32::MIN),
            low: 25,
            high: 100,
            replenishers: 1,
            memory: Options::default(),
        }
    }

    /// One shard of so many keys, which nobody makes up for: whoever starts the supply fills it.
    #[must_use]
    pub fn fixed<T: Material>(keys: u32, memory: Options) -> Self {
        let (shards, warm, cold, replenishers) = (1, 0, 0, 0);
        Self { shards, hot: keys, warm, cold, replenishers, memory, ..Self::of::<T>(1) }
    }

    /// The cells of each shard.
    #[must_use]
    pub fn shard(&self) -> u32 {
        self.hot.div_ceil(self.shards.max(1))
    }

    /// Bytes that a supply of `T` locks, in whole pages of 4 KiB: pools, and what the cold tier needs. `None`
    /// where there cannot be such pools.
    #[must_use]
    pub fn locked<T: Material>(&self) -> Option<usize> {
        let pool = |cells: u32| match cells {
            0 => Some(0),
            _ => Pool::<T>::size(cells as usize)?.checked_next_multiple_of(4096),
        };
        let hot = pool(self.shard())?.checked_mul(self.shards as usize)?;
        let cold = match self.cold {
            0 => 0,
            // The key; and of each replenisher a cell, and room for its serialised form.
            _ => {
                let each = pool(1)?.checked_add(T::SERIAL_SIZE.checked_next_multiple_of(4096)?)?;
                each.checked_mul(self.replenishers as usize)?.checked_add(4096)?
            }
        };
        hot.checked_add(pool(self.warm)?)?.checked_add(cold)
    }

    /// The policy of a pool with so many cells.
    pub(super) fn policy(&self, cells: u32) -> Policy {
        let part = |hundredths: u32| {
            let part = (u64::from(cells) * u64::from(hundredths)).div_ceil(100);
            part.min(cells.into()) as u32
        };
        let ttl = self.ttl.map(|ttl| {
            let ms = u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX);
            NonZeroU32::new(ms).unwrap_or(NonZeroU32::MIN)
        });
        Policy { ttl, max_uses: self.max_uses, low: part(self.low), high: part(self.high) }
    }
}

/// The most keys that [`capacity`] gives.
pub const MOST: u32 = 1 << 20;

/// How many keys to hold where at most `peak` a second are used, and refilling may take `interval` to set
/// in or to catch up: twice what is used in that time, so that the interval may begin when the last one
/// has just ended. At least 1, rounded up to whole eights (a cache line of counters), at most [`MOST`].
#[must_use]
pub fn capacity(peak: f64, interval: Duration) -> u32 {
    let keys = (peak * interval.as_secs_f64() * 2.0).ceil();
    // What is no number, or below one, is 1; what is beyond, the most.
    let keys = if keys >= f64::from(MOST) { MOST } else { keys.max(1.0) as u32 };
    keys.next_multiple_of(8).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use symbolon_core::attest::{fndsa, mldsa, slhdsa};
    use symbolon_core::bfv::{KeyPair, Q54, Q81, Zero};
    use symbolon_core::kem::mlkem;
    use symbolon_core::matching::SeededBlind;

    #[test]
    fn all_defaults_fit_the_budget() {
        fn locked<T: Material>(cores: usize) -> usize {
            let config = Config::of::<T>(cores);
            assert!(config.hot >= 1 && config.shards >= 1 && config.shard() >= 1, "{}", T::NAME);
            let bytes = config.locked::<T>().unwrap();
            println!("{}: {} + {} cells, {bytes} bytes", T::NAME, config.hot, config.warm);
            bytes
        }
        for cores in [1, 2, 16, 64, 1000] {
            let all = [
                locked::<mlkem::DecapsulationKey>(cores),
                locked::<mldsa::SeedKey>(cores),
                locked::<fndsa::SigningKey>(cores),
                locked::<slhdsa::SigningKey>(cores),
                locked::<Zero<Q54>>(cores),
                locked::<Zero<Q81>>(cores),
                locked::<SeededBlind<Q54>>(cores),
                locked::<SeededBlind<Q81>>(cores),
                locked::<KeyPair<Q54>>(cores),
                locked::<KeyPair<Q81>>(cores),
            ];
            let sum: usize = all.iter().sum();
            assert!(sum <= BUDGET, "{sum} bytes with {cores} cores");
        }
    }

    #[test]
    fn only_what_is_opened_faster_than_made_is_kept_cold() {
        assert_eq!(Config::of::<Zero<Q54>>(2).cold, 0);
        assert_eq!(Config::of::<KeyPair<Q54>>(2).cold, 0);
        assert_eq!(Config::of::<SeededBlind<Q54>>(2).cold, 0);
        assert!(Config::of::<mlkem::DecapsulationKey>(2).cold > 0);
    }

    #[test]
    fn capacities_are_twice_the_demand() {
        let minute = Duration::from_secs(60);
        assert_eq!(capacity(100.0, minute), 12_000);
        assert_eq!(capacity(0.01, minute), 8);
        assert_eq!(capacity(0.0, minute), 8);
        assert_eq!(capacity(f64::NAN, minute), 8);
        assert_eq!(capacity(-1.0, minute), 8);
        assert_eq!(capacity(f64::INFINITY, minute), MOST);
        assert_eq!(capacity(1e6, minute), MOST);
        assert_eq!(capacity(100.0, Duration::from_millis(90)), 24);
    }

    #[test]
    fn watermarks_are_parts_of_the_cells() {
        let config = Config { low: 25, high: 90, ..Config::of::<mlkem::DecapsulationKey>(1) };
        let policy = config.policy(10);
        assert_eq!((policy.low, policy.high), (3, 9));
        let policy = config.policy(1);
        assert_eq!((policy.low, policy.high), (1, 1));
        let config = Config { low: 0, high: 1000, ttl: Some(Duration::ZERO), ..config };
        let policy = config.policy(u32::MAX);
        assert_eq!((policy.low, policy.high), (0, u32::MAX));
        assert_eq!(policy.ttl, Some(NonZeroU32::MIN));
    }
}
