//! Rows that are compared: measured in turn, pass by pass. Rows of one table are else minutes apart, in which a machine
//! that is shared with others changes its speed by half.

use std::time::Duration;

use criterion::{Criterion, SamplingMode};

/// What a pass tells the time of, so that it is not rounded to a nanosecond.
pub const UNIT: u32 = 1000;

/// A row, and a pass of it: how long [`UNIT`] turns took.
pub struct Contestant<'a> {
    /// The row's group.
    pub group: &'static str,
    /// The row's name in it.
    pub who: &'static str,
    /// See [`Contestant`].
    pub pass: Box<dyn Fn() -> Duration + 'a>,
}

/// The time of [`UNIT`] turns where so many took `spent`.
#[must_use]
pub fn each(spent: Duration, turns: usize) -> Duration {
    spent.mul_f64(f64::from(UNIT) / turns as f64)
}

/// How many times all are measured at least, where this is in the environment: `cargo xtask bench --quick`.
const ROUNDS: &str = "SYMBOLON_ROUNDS";

/// Measures all of them so many times and gives criterion what was measured; nothing where no row is asked for. Its options
/// for how long to measure make no difference. Prints what each took beside the first in the same rounds, which criterion
/// has no figure for.
pub fn in_turn(c: &mut Criterion, rounds: usize, all: &[Contestant<'_>]) {
    let asked = std::env::var(ROUNDS).ok().and_then(|rounds| rounds.parse().ok());
    let samples = asked.unwrap_or(rounds);
    let mut rounds: Vec<Vec<Duration>> = Vec::new();
    for (row, Contestant { group, who, .. }) in all.iter().enumerate() {
        let mut sample = 0;
        let mut group = c.benchmark_group(*group);
        group.sample_size(samples).sampling_mode(SamplingMode::Flat);
        // The first round is criterion's warm-up, and one call of it is enough.
        group.warm_up_time(Duration::from_nanos(1)).bench_function(*who, |b| {
            // Not within what criterion takes for the row's own time, or it would ask for single turns.
            if sample == rounds.len() {
                let mut round = vec![Duration::ZERO; all.len()];
                // Forward and back, so that nobody always comes after the same.
                let order = |at: usize| if sample % 2 == 0 { at } else { all.len() - 1 - at };
                for at in (0..all.len()).map(order) {
                    round[at] = (all[at].pass)();
                }
                rounds.push(round);
            }
            let unit = rounds[sample][row];
            b.iter_custom(|turns| unit.mul_f64(turns as f64 / f64::from(UNIT)));
            sample += 1;
        });
    }
    let Some((first, others)) = all.split_first().filter(|_| rounds.len() > 1) else { return };
    for (row, Contestant { group, who, .. }) in (1..).zip(others) {
        let ratio = |round: &Vec<Duration>| round[row].as_secs_f64() / round[0].as_secs_f64();
        let mut ratios: Vec<f64> = rounds[1..].iter().map(ratio).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let [low, median, high] = [1, 2, 3].map(|quarter| ratios[ratios.len() * quarter / 4]);
        let (whose, whom) = (first.group, first.who);
        println!(
            "{group}/{who}: {median:.3} of {whose}/{whom}, round by round ({low:.3} to {high:.3})"
        );
    }
}
