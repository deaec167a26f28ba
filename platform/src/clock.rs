//! The time: monotonic for measuring, wall clock for statements.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

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
}
