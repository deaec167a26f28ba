//! What a supply tells of itself.

use super::replenish::Activity;
use super::{Shared, Supply};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use symbolon_core::pool::{Material, Stats};

/// Rates are over this many milliseconds, or since the start.
const WINDOW: u32 = 60_000;
/// The least time between two samples, in milliseconds.
pub(super) const SAMPLE: u32 = 1_000;
/// A lower share of hits is an alert.
const HIT_RATE: f64 = 0.999;

/// What needs somebody's attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alert {
    /// Fewer keys are ready than the low watermarks of all pools ask for.
    BelowLow,
    /// Of the keys asked for in the last minute, fewer than 99.9 % were ready.
    HitRate,
}

/// A tier of pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tier {
    /// Keys ready.
    pub level: u32,
    /// Keys handed out.
    pub leased: u32,
    /// Cells.
    pub capacity: u32,
}

/// The cold tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ColdTier {
    /// Sealed keys.
    pub level: u32,
    /// The most.
    pub capacity: u32,
    /// Keys that did not open, or were no keys, and are gone. Not 0: memory is damaged, or tampered with.
    pub unreadable: u64,
}

/// Where the keys are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TierStatus {
    /// The shards, added up.
    pub hot: Tier,
    /// The shared pool.
    pub warm: Option<Tier>,
    /// Sealed keys.
    pub cold: Option<ColdTier>,
}

/// What holds of the memory of all pools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProtectionStatus {
    /// Bytes, in whole pages.
    pub bytes: usize,
    /// None of it is written to swap.
    pub locked: bool,
    /// None of it stands in core dumps.
    pub undumped: bool,
    /// Forked children read zeros.
    pub wiped_on_fork: bool,
    /// The first protection that failed, and what to do about it.
    pub degraded: Option<String>,
}

/// How a supply is. Read without stopping anybody: figures are of slightly different moments.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// Which kind.
    pub kind: &'static str,
    /// Keys ready in the hot and the warm tier.
    pub level: u32,
    /// Sum of their low watermarks.
    pub low: u32,
    /// Sum of their high watermarks.
    pub high: u32,
    /// Sum of their cells.
    pub capacity: u32,
    /// Keys handed out that were ready, since the start.
    pub hits: u64,
    /// Times that none was, since the start.
    pub misses: u64,
    /// Share of hits in the window; 1 if nothing was asked for.
    pub hit_rate: f64,
    /// Milliseconds from birth to hand-out, on average in the window.
    pub mean_age_ms: f64,
    /// Keys made, a second, in the window.
    pub made_per_s: f64,
    /// Keys handed out, a second, in the window.
    pub used_per_s: f64,
    /// The window in seconds: a minute, or less at first.
    pub window_s: f64,
    /// Keys that got too old, since the start.
    pub expired: u64,
    /// Where the keys are.
    pub tiers: TierStatus,
    /// What each replenisher is doing.
    pub replenishers: Vec<Activity>,
    /// Generators that panicked, since the start.
    pub panics: u64,
    /// Keys that could not be made, since the start.
    pub failures: u64,
    /// What protects the keys.
    pub protection: ProtectionStatus,
    /// What needs attention: the worst, if anything does.
    pub alert: Option<Alert>,
}

/// Counts at one moment.
#[derive(Clone, Copy, Default)]
struct Sample {
    tick: u32,
    hits: u64,
    misses: u64,
    made: u64,
    used: u64,
    age_sum: u64,
}

/// Samples of the last minute, oldest first.
#[derive(Default)]
pub(super) struct Window(VecDeque<Sample>);

impl Window {
    /// The sample that `now` is compared with. Keeps `now`, if the last one is old enough.
    fn turn(&mut self, now: Sample) -> Sample {
        let age = |of: &Sample| now.tick.wrapping_sub(of.tick);
        while self.0.get(1).is_some_and(|second| age(second) >= WINDOW) {
            self.0.pop_front();
        }
        if self.0.back().is_none_or(|last| age(last) >= SAMPLE) {
            self.0.push_back(now);
        }
        self.0.front().copied().unwrap_or(now)
    }
}

impl<T: Material> Shared<T> {
    fn sample(&self, stats: &Stats) -> Sample {
        let on_demand = self.counts.on_demand.load(Ordering::Relaxed);
        Sample {
            tick: self.now(),
            hits: stats.acquired.saturating_sub(on_demand),
            misses: self.counts.misses.load(Ordering::Relaxed),
            made: self.counts.made.load(Ordering::Relaxed),
            used: stats.acquired,
            age_sum: stats.age_sum,
        }
    }

    /// Where the window has come to: the moment it began, and now.
    fn window(&self, stats: &Stats) -> (Sample, Sample) {
        let now = self.sample(stats);
        // Kept by whoever looks; consumers never do.
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        (window.turn(now), now)
    }

    fn stats(&self) -> (Stats, Stats) {
        let sum = |pools: &[symbolon_platform::pool::LockedPool<T>]| {
            pools.iter().map(|pool| pool.stats()).fold(Stats::default(), add)
        };
        (
            sum(self.tiers.hot()),
            sum(self.tiers.warm().map(std::slice::from_ref).unwrap_or_default()),
        )
    }

    /// Takes a sample for the window.
    pub(super) fn observe(&self) {
        let (hot, warm) = self.stats();
        self.window(&add(hot, warm));
    }
}

fn add(a: Stats, b: Stats) -> Stats {
    Stats {
        capacity: a.capacity + b.capacity,
        ready: a.ready + b.ready,
        leased: a.leased + b.leased,
        busy: a.busy + b.busy,
        filled: a.filled + b.filled,
        acquired: a.acquired + b.acquired,
        missed: a.missed + b.missed,
        expired: a.expired + b.expired,
        retired: a.retired + b.retired,
        age_sum: a.age_sum + b.age_sum,
    }
}

fn tier(stats: &Stats) -> Tier {
    Tier { level: stats.ready, leased: stats.leased, capacity: stats.capacity }
}

impl<T: Material> Supply<T> {
    /// How it is. Looks at every cell, and takes no lock that a consumer takes.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = &*self.shared;
        let pools = shared.tiers.pools();
        let (hot, warm) = shared.stats();
        let stats = add(hot, warm);
        let (then, now) = shared.window(&stats);
        let hits = now.hits.saturating_sub(then.hits);
        let asked = hits + now.misses.saturating_sub(then.misses);
        let used = now.used.saturating_sub(then.used);
        let seconds = f64::from(now.tick.wrapping_sub(then.tick)) / 1000.0;
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let hit_rate = if asked == 0 { 1.0 } else { hits as f64 / asked as f64 };
        let (low, high) = pools
            .iter()
            .fold((0, 0), |(low, high), pool| (low + pool.policy().low, high + pool.policy().high));
        let cold = shared.cold.as_ref();
        let alert = if stats.ready < low {
            Some(Alert::BelowLow)
        } else if hit_rate < HIT_RATE {
            Some(Alert::HitRate)
        } else {
            None
        };
        let protections = || {
            let keys = cold.map(|cold| cold.protection());
            pools.iter().map(|pool| pool.protection()).chain(keys)
        };
        let degraded = pools.iter().find_map(|pool| pool.degraded());
        Status {
            kind: T::NAME,
            level: stats.ready,
            low,
            high,
            capacity: stats.capacity,
            hits: now.hits,
            misses: now.misses,
            hit_rate,
            mean_age_ms: now.age_sum.saturating_sub(then.age_sum) as f64 / used.max(1) as f64,
            made_per_s: rate(now.made.saturating_sub(then.made)),
            used_per_s: rate(used),
            window_s: seconds,
            expired: stats.expired + cold.map_or(0, |cold| cold.expired()),
            tiers: TierStatus {
                hot: tier(&hot),
                warm: shared.tiers.warm().map(|_| tier(&warm)),
                cold: cold.map(|cold| ColdTier {
                    level: cold.level(),
                    capacity: cold.capacity(),
                    unreadable: cold.unreadable(),
                }),
            },
            replenishers: shared.crew.activities(),
            panics: shared.crew.panics.load(Ordering::Relaxed),
            failures: shared.crew.failures.load(Ordering::Relaxed),
            protection: ProtectionStatus {
                bytes: pools.iter().map(|pool| pool.addresses().len()).sum(),
                locked: protections().all(|of| of.locked),
                undumped: protections().all(|of| of.undumped),
                wiped_on_fork: protections().all(|of| of.wiped_on_fork),
                degraded: degraded.map(|error| error.to_string()),
            },
            alert,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples stay for a minute, a second apart, and the tick may wrap.
    #[test]
    fn the_window_is_the_last_minute() {
        let mut window = Window::default();
        let start = u32::MAX - 30_000;
        let at =
            |ms: u32| Sample { tick: start.wrapping_add(ms), hits: ms.into(), ..Sample::default() };
        assert_eq!(window.turn(at(0)).hits, 0);
        for ms in (0..60_000).step_by(250) {
            assert_eq!(window.turn(at(ms)).hits, 0);
        }
        assert_eq!(window.0.len(), 60);
        for ms in (60_000..300_000).step_by(250) {
            let begun = u64::from(ms) - window.turn(at(ms)).hits;
            assert!((60_000..61_000).contains(&begun), "{begun}");
        }
        assert!(window.0.len() <= 62);
    }
}
