//! Patterns in what is asked for, from a sample: hit rates that drift, scans, digests that everybody wants.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use symbolon_core::cache::Digest;

/// Samples of a window: with one look-up in 64, 65,536 look-ups.
const WINDOW: u64 = 1024;
/// Places of the memory of what was seen: half a megabyte.
const PLACES: usize = 1 << 16;
/// Places whose counts are halved after each window: all of them within 64 windows.
const FADING: usize = PLACES / 64;
/// Digests that [`Findings::hot`] has at most.
const TOP: usize = 8;
/// A digest is hot with this share of what is remembered.
const HOT: f64 = 1.0 / 64.0;
/// A rate has moved when it is so far from its baseline: with 1024 samples the standard deviation is at most 1/64,
/// so chance goes as far once in some 10^6 windows.
const MOVED: f64 = 5.0 / 64.0;
/// A scan is noticed when the share of digests never seen rises by so much.
const SCAN: f64 = 0.15;

/// Three counts of a window in a word, 21 bits each, so that a window is closed by one exchange.
const FIELD: u32 = 21;

/// What was noticed. All of it is estimated from the sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Windows that were closed: nothing is known before the first, and no change before the third.
    pub windows: u32,
    /// Hits among the look-ups of the last window, 0 to 1.
    pub hit_rate: f64,
    /// The same, averaged over the windows before, recent ones counting more.
    pub usual_hit_rate: f64,
    /// The hit rate has moved away from what was usual.
    pub drifts: bool,
    /// Look-ups of digests that were not seen lately, 0 to 1.
    pub unseen_rate: f64,
    /// The same, averaged over the windows before.
    pub usual_unseen_rate: f64,
    /// Many more digests than usual were never seen: somebody goes through all there are, or makes them up.
    pub scan: bool,
    /// Digests with an unusual share of all look-ups, hottest first.
    pub hot: Vec<Hot>,
}

/// A digest that many ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hot {
    /// How the digest begins.
    pub prefix: [u8; 6],
    /// Its share of the look-ups, 0 to 1.
    pub share: f64,
}

/// A watch. It is fed by any number of threads; what two of them write at once may be counted once.
pub struct Watch {
    window: AtomicU64,
    last: AtomicU64,
    /// Averages of the windows before `last`: hits and unseen in 32 bits each, as fractions of 2^32.
    usual: AtomicU64,
    windows: AtomicU32,
    /// The first six bytes of a digest and a count.
    places: Box<[AtomicU64]>,
    /// Where a digest's place is: nobody outside can aim.
    key: u64,
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

/// The fields of a window: samples, hits, unseen.
fn fields(window: u64) -> [u64; 3] {
    [0, 1, 2].map(|at| window >> (at * FIELD) & ((1 << FIELD) - 1))
}

/// A rate as a fraction of 2^32.
fn fraction(part: u64, whole: u64) -> u64 {
    (part << 32).checked_div(whole).unwrap_or(0).min(u64::from(u32::MAX))
}

impl Watch {
    /// Nothing seen.
    #[must_use]
    pub fn new() -> Self {
        Self::keyed(RandomState::new().hash_one(0))
    }

    fn keyed(key: u64) -> Self {
        Self {
            window: AtomicU64::new(0),
            last: AtomicU64::new(0),
            usual: AtomicU64::new(0),
            windows: AtomicU32::new(0),
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            key: key | 1,
        }
    }

    /// One sampled look-up and whether it was a hit.
    pub fn see(&self, digest: &Digest, hit: bool) {
        let unseen = !self.remember(digest);
        let add = 1 | u64::from(hit) << FIELD | u64::from(unseen) << (2 * FIELD);
        if self.window.fetch_add(add, Relaxed) & ((1 << FIELD) - 1) == WINDOW - 1 {
            self.close();
        }
    }

    /// Whether the digest was seen lately. A place is one digest's until others have outnumbered it (Misra and Gries,
    /// Finding Repeated Elements, 1982, for one counter).
    fn remember(&self, digest: &Digest) -> bool {
        let [a, b, c, d, e, f, ..] = *digest;
        let prefix = u64::from_be_bytes([a, b, c, d, e, f, 0, 0]);
        // Multiply-shift (Dietzfelbinger et al., A Reliable Randomized Algorithm for the Closest-Pair Problem, 1997).
        let at = (prefix >> 16).wrapping_mul(self.key) >> (u64::BITS - PLACES.ilog2());
        let Some(place) = self.places.get(at as usize) else { return false };
        let there = place.load(Relaxed);
        let (whose, count) = (there & !0xffff, there & 0xffff);
        let known = whose == prefix && count > 0;
        let next = match count {
            0 => prefix | 1,
            _ if known => prefix | (count + 1).min(0xffff),
            1 => prefix | 1,
            _ => whose | (count - 1),
        };
        place.store(next, Relaxed);
        known
    }

    /// The thread that saw the window's last sample does this; others go on meanwhile.
    fn close(&self) {
        let closed = self.window.swap(0, Relaxed);
        let windows = self.windows.load(Relaxed);
        let before = fields(self.last.swap(closed, Relaxed));
        if windows > 0 {
            let usual = self.usual.load(Relaxed);
            let average = |old: u64, part: u64| {
                let new = fraction(part, before[0]);
                if windows == 1 { new } else { old - old / 8 + new / 8 }
            };
            let hits = average(usual >> 32, before[1]);
            let unseen = average(usual & u64::from(u32::MAX), before[2]);
            self.usual.store(hits << 32 | unseen, Relaxed);
        }
        let start = windows as usize % (PLACES / FADING) * FADING;
        for place in self.places.iter().skip(start).take(FADING) {
            let there = place.load(Relaxed);
            place.store(there & !0xffff | ((there & 0xffff) / 2), Relaxed);
        }
        self.windows.store(windows.wrapping_add(1), Relaxed);
    }

    /// What was noticed until the last window was closed.
    #[must_use]
    pub fn findings(&self) -> Findings {
        let windows = self.windows.load(Relaxed);
        let last = fields(self.last.load(Relaxed));
        let usual = self.usual.load(Relaxed);
        let rate = |fraction: u64| fraction as f64 / f64::from(u32::MAX);
        let hit_rate = rate(fraction(last[1], last[0]));
        let unseen_rate = rate(fraction(last[2], last[0]));
        let (usual_hit_rate, usual_unseen_rate) = (rate(usual >> 32), rate(usual & 0xffff_ffff));
        let compared = windows > 2;
        Findings {
            windows,
            hit_rate,
            usual_hit_rate,
            drifts: compared && (hit_rate - usual_hit_rate).abs() > MOVED,
            unseen_rate,
            usual_unseen_rate,
            scan: compared && unseen_rate - usual_unseen_rate > SCAN,
            hot: self.hot(),
        }
    }

    fn hot(&self) -> Vec<Hot> {
        let counts: Vec<_> = self.places.iter().map(|place| place.load(Relaxed)).collect();
        let total: u64 = counts.iter().map(|there| there & 0xffff).sum();
        let share = |there: u64| (there & 0xffff) as f64 / total.max(WINDOW) as f64;
        let mut hot: Vec<_> = counts.into_iter().filter(|there| share(*there) > HOT).collect();
        hot.sort_by_key(|there| std::cmp::Reverse(there & 0xffff));
        hot.truncate(TOP);
        let shown = |there: u64| {
            let [a, b, c, d, e, f, ..] = there.to_be_bytes();
            Hot { prefix: [a, b, c, d, e, f], share: share(there) }
        };
        hot.into_iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u64) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        digest
    }

    impl Watch {
        /// Samples of windows that nothing was lost of.
        pub(in super::super) fn samples(&self) -> u64 {
            let open = fields(self.window.load(Relaxed))[0];
            u64::from(self.windows.load(Relaxed)) * WINDOW + open
        }
    }

    /// So many windows over few digests, of which these many percent hit.
    fn usual(watch: &Watch, windows: u64, percent: u64) {
        for at in 0..windows * WINDOW {
            watch.see(&digest(at % 500), at % 100 < percent);
        }
    }

    #[test]
    fn nothing_is_noticed_when_nothing_changes() {
        let watch = Watch::new();
        assert_eq!(watch.findings(), Findings::default());
        usual(&watch, 10, 80);
        let found = watch.findings();
        assert_eq!((found.windows, found.drifts, found.scan), (10, false, false));
        assert!((found.hit_rate - 0.8).abs() < 0.01 && (found.usual_hit_rate - 0.8).abs() < 0.01);
        assert!(found.unseen_rate < 0.05, "{}", found.unseen_rate);
        assert_eq!(found.hot, []);
    }

    #[test]
    fn a_hit_rate_that_falls_drifts() {
        let watch = Watch::new();
        usual(&watch, 10, 80);
        usual(&watch, 1, 60);
        let found = watch.findings();
        assert!(found.drifts && !found.scan);
        assert!((found.hit_rate - 0.6).abs() < 0.01);
        // What lasts becomes usual.
        usual(&watch, 30, 60);
        assert!(!watch.findings().drifts);
    }

    #[test]
    fn digests_that_nobody_saw_are_a_scan() {
        let watch = Watch::new();
        usual(&watch, 10, 80);
        for at in 0..WINDOW {
            watch.see(&digest(if at % 3 == 0 { 1_000_000 + at } else { at % 500 }), at % 100 < 80);
        }
        let found = watch.findings();
        assert!(found.scan && !found.drifts, "{found:?}");
        assert!(found.unseen_rate > 0.3);
    }

    #[test]
    fn hot_digests_are_found_by_their_share() {
        // Neither place is among those that fade meanwhile.
        let watch = Watch::keyed(0x9e37_79b9_7f4a_7c15);
        for at in 0..4 * WINDOW {
            let number = if at % 4 == 0 {
                7
            } else if at % 10 == 1 {
                8
            } else {
                100 + at
            };
            watch.see(&digest(number), true);
        }
        let hot = watch.findings().hot;
        let first = |number| digest(number)[..6].to_vec();
        assert_eq!(hot[0].prefix.to_vec(), first(7));
        assert_eq!(hot[1].prefix.to_vec(), first(8));
        assert_eq!(hot.len(), 2);
        assert!((hot[0].share - 0.25).abs() < 0.05, "{hot:?}");
    }

    #[test]
    fn threads_feed_it_together() {
        let watch = Watch::new();
        std::thread::scope(|scope| {
            (0..4).for_each(|_| _ = scope.spawn(|| usual(&watch, 8, 80)));
        });
        let windows = watch.findings().windows;
        assert!((30..=32).contains(&windows), "{windows}");
    }
}
