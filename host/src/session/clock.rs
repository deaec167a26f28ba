//! A server's clock: milliseconds since it started, which no one sets.

use std::sync::atomic::{AtomicU64, Ordering};
use symbolon_platform::clock::Ticks;

/// [`Ticks`], which begin again after 49 days, continued: it is read more often than that.
pub(super) struct Clock {
    ticks: Ticks,
    /// What was read some time ago.
    seen: AtomicU64,
}

/// How far it moves before that is remembered.
const STEP: u64 = 1 << 20;

impl Clock {
    pub(super) fn start() -> Self {
        Self { ticks: Ticks::start(), seen: AtomicU64::new(0) }
    }

    pub(super) fn now(&self) -> u64 {
        let seen = self.seen.load(Ordering::Relaxed);
        let (now, is_due) = continued(seen, self.ticks.now());
        if is_due {
            self.seen.fetch_max(now, Ordering::Relaxed);
        }
        now
    }
}

/// The time of `ticks`, close to `seen`, and whether it is time to remember it.
fn continued(seen: u64, ticks: u32) -> (u64, bool) {
    let ahead = ticks.wrapping_sub(seen as u32);
    if ahead > u32::MAX / 2 {
        // Read before another thread's, which was remembered since.
        return (seen, false);
    }
    let now = seen + u64::from(ahead);
    (now, u64::from(ahead) >= STEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_where_ticks_begin_again() {
        assert_eq!(continued(0, 5), (5, false));
        assert_eq!(continued(0, STEP as u32), (STEP, true));
        let late = u64::from(u32::MAX) - 10;
        assert_eq!(continued(late, u32::MAX), (u64::from(u32::MAX), false));
        assert_eq!(continued(late, 5), (u64::from(u32::MAX) + 6, false));
        assert_eq!(continued(5 << 32 | 7, 6), (5 << 32 | 7, false));
        let clock = Clock::start();
        let first = clock.now();
        std::thread::sleep(std::time::Duration::from_millis(30));
        assert!(clock.now() >= first + 10);
    }
}
