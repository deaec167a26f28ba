//! The time: monotonic for measuring, wall clock for statements.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::os;

/// A point on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds since the start, or since the last lap; starts the next lap.
    pub fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let elapsed = now.duration_since(self.0).as_secs_f64() * 1e6;
        self.0 = now;
        elapsed
    }
}

/// Milliseconds since an origin: for ages, where a few milliseconds do not matter.
///
/// On Linux it moves when the kernel's tick does, every 1 to 10 ms, and costs 8 ns where a reading of
/// `Instant` costs 57 (measured on x86-64, a virtual machine).
#[derive(Clone, Copy, Debug)]
pub struct Ticks(u64);

impl Ticks {
    /// The origin is now.
    #[must_use]
    pub fn start() -> Self {
        Self(os::coarse_ms())
    }

    /// Begins at 0 again after 49 days: two of them are compared by `wrapping_sub`.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "it wraps")]
    pub fn now(&self) -> u32 {
        os::coarse_ms().wrapping_sub(self.0) as u32
    }
}

/// Milliseconds since 1970 by the wall clock; 0 where it stands before that.
#[must_use]
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_never_run_backwards() {
        let mut watch = Stopwatch::start();
        assert!(watch.lap() >= 0.0 && watch.lap() >= 0.0);
        // 2026 began at this many milliseconds.
        assert!(unix_ms() > 1_767_225_600_000);
    }

    #[test]
    fn ticks_follow_the_clock() {
        let mut outer = Stopwatch::start();
        let ticks = Ticks::start();
        let mut inner = Stopwatch::start();
        std::thread::sleep(std::time::Duration::from_millis(60));
        let inner = inner.lap() / 1000.0;
        let now = f64::from(ticks.now());
        let outer = outer.lap() / 1000.0;
        assert!(inner - 11.0 <= now && now <= outer + 11.0, "{now} ticks in {inner} to {outer} ms");
    }

    #[test]
    fn ticks_wrap() {
        let before = Ticks(os::coarse_ms() + 1000).now();
        assert!(before > u32::MAX - 2000, "{before}");
        assert_eq!(before.wrapping_add(1000) / 1000, 0);
    }
}
