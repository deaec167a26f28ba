//! The newest decisions, for the dashboard: a few, in memory, gone when the process ends.

use super::decide::Verdict;
use crossbeam_queue::ArrayQueue;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many are kept.
pub const KEPT: usize = 64;

/// A decision that the disk has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decided {
    /// What was decided.
    pub verdict: Verdict,
    /// When its batch was attested, in milliseconds since 1970, as the receipt has it.
    pub time_ms: u64,
}

/// The newest [`KEPT`] of them.
pub struct Newest {
    /// Whoever answers puts them here and waits for nobody.
    came: ArrayQueue<Decided>,
    /// Whoever looks takes them from there. Newest first.
    seen: Mutex<VecDeque<Decided>>,
}

impl Default for Newest {
    fn default() -> Self {
        Self { came: ArrayQueue::new(KEPT), seen: VecDeque::with_capacity(KEPT).into() }
    }
}

impl Newest {
    /// Adds one; the oldest makes room.
    pub(super) fn add(&self, decided: Decided) {
        self.came.force_push(decided);
    }

    /// At most so many, the newest first.
    pub fn list(&self, most: usize) -> Vec<Decided> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // No more than were there when it began: others go on adding.
        for _ in 0..self.came.len() {
            let Some(decided) = self.came.pop() else { break };
            seen.truncate(KEPT - 1);
            seen.push_front(decided);
        }
        seen.iter().take(most).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(number: u64) -> Decided {
        let verdict = Verdict {
            accept: true,
            request: [1; 16],
            batch: [2; 16],
            number,
            #[cfg(feature = "lab")]
            score: None,
        };
        Decided { verdict, time_ms: 7 }
    }

    fn numbers(newest: &Newest, most: usize) -> Vec<u64> {
        newest.list(most).iter().map(|decided| decided.verdict.number).collect()
    }

    #[test]
    fn the_newest_are_kept_whether_or_not_anybody_looks() {
        let newest = Newest::default();
        assert!(numbers(&newest, 16).is_empty());
        (0..3).for_each(|n| newest.add(decided(n)));
        assert_eq!(numbers(&newest, 2), [2, 1]);
        assert_eq!(numbers(&newest, 9), [2, 1, 0]);
        // Some were looked at before, some were not; and more came than are kept.
        for end in [10, 40, 300] {
            let begin = numbers(&newest, 1)[0] + 1;
            (begin..end).for_each(|n| newest.add(decided(n)));
            let kept: Vec<_> = (0..end).rev().take(KEPT).collect();
            assert_eq!(numbers(&newest, usize::MAX), kept);
        }
    }

    #[test]
    fn those_who_add_wait_for_nobody_who_looks() {
        let newest = Newest::default();
        std::thread::scope(|scope| {
            let adds = scope.spawn(|| (0..20_000).for_each(|n| newest.add(decided(n))));
            while !adds.is_finished() {
                let seen = numbers(&newest, KEPT);
                assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
            }
        });
        assert_eq!(numbers(&newest, 1), [19_999]);
    }
}
