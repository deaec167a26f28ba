//! Rows that are compared: measured in turn, pass by pass. Rows of one table are else minutes apart, in which a machine
//! that is shared with others changes its speed by half.

use std::time::Duration;

use criterion::{Criterion, SamplingMode};
use rand_core::Rng;

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

/// In the environment: how many times all are measured, for `cargo xtask bench --quick`. Criterion takes ten and more.
const ROUNDS: &str = "SYMBOLON_ROUNDS";

/// Measures all of them so many times and gives criterion what was measured; nothing where no row is asked for. Its options
/// for how long to measure make no difference. Prints what each took beside the first in the same rounds, which criterion
/// has no figure for.
pub fn in_turn(c: &mut Criterion, rounds: usize, all: &[Contestant<'_>]) {
    let asked = std::env::var(ROUNDS).ok().and_then(|rounds| rounds.parse().ok());
    let samples = asked.unwrap_or(rounds).max(10);
    let mut rounds: Vec<Vec<Duration>> = Vec::new();
    let (mut order, mut rng): (Vec<usize>, _) = ((0..all.len()).collect(), crate::rng());
    for (row, Contestant { group, who, .. }) in all.iter().enumerate() {
        let mut sample = 0;
        let mut group = c.benchmark_group(*group);
        group.sample_size(samples).sampling_mode(SamplingMode::Flat);
        // The first round is criterion's warm-up, and one call of it is enough.
        group.warm_up_time(Duration::from_nanos(1)).bench_function(*who, |b| {
            // Not within what criterion takes for the row's own time, or it would ask for single turns.
            if sample == rounds.len() {
                let mut round = vec![Duration::ZERO; all.len()];
                shuffle(&mut order, &mut rng);
                for &at in &order {
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

/// Another order, so that nobody always comes after the same, nor after himself: what he had in caches would help him.
fn shuffle(order: &mut [usize], rng: &mut impl Rng) {
    let last = order.last().copied();
    for at in (1..order.len()).rev() {
        order.swap(at, rng.next_u32() as usize % (at + 1));
    }
    if order.len() > 2 && order.first().copied() == last {
        order.swap(0, 1);
    }
}
