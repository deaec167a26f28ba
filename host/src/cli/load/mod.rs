//! `symbolon load`

mod drive;
mod http;
mod in_process;
mod plot;

use super::output::Output;
use super::{KeyUse, Window};
use crate::batching::Strategy;
use crate::batching::histogram::Counts;
use crate::error::Result;
use crate::keys::ParameterSet;
use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Put load on the pipeline or on a running server, and measure what it answers.
///
/// In this process, without a network: model people are enrolled into a temporary directory, their
/// attempts go one by one into the queues, are gathered into batches, matched, decided, logged on the disk and
/// answered, and every answer is checked against the clear computation. Latency is from when an attempt was
/// due to when its answer may leave; attempts that could not be submitted in time count from when they
/// should have been, so a pipeline that stalls cannot hide it.
///
/// With --rate attempts come at random at that rate, whatever the pipeline does (open loop); with --concurrency
/// so many are under way, and each answer sends the next (closed loop). --compare runs every strategy
/// at rising rates and draws latency against load.
///
/// With --url the same over HTTP, from one thread: attempts one by one, batches of them in the binary form, or both
/// (--mix). The server must know the people: `symbolon serve --demo` has those of the defaults here; --enrol enrols
/// them. --seed, --identities, --dims and --threshold must be the server's, or answers differ from the clear
/// computation. Half the attempts are impostors', so start the server with --limits-attempts 0, or it locks
/// identities. An attempt that is not answered counts with the time that it has waited; those that the server
/// refuses (429, 503) are counted apart, and in closed loop Retry-After is heeded.
#[derive(clap::Args)]
pub struct Arguments {
    /// Attempts a second, at random times.
    #[arg(long, value_name = "N", conflicts_with = "concurrency", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rate: Option<u64>,
    /// Attempts under way at a time: 4096 unless it says otherwise; with --url, as many as the connections take.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    concurrency: Option<u64>,
    /// How long to measure; a fifth of it more to warm up.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    #[command(flatten)]
    remote: http::Remote,
    #[command(flatten)]
    batches: Batches,
    /// Measure every strategy at 10 to 95 % of what the pipeline does at most.
    #[arg(long, conflicts_with_all = ["rate", "concurrency", "strategy"])]
    compare: bool,
    /// Where --compare draws its plot, as SVG.
    #[arg(long, value_name = "FILE", requires = "compare")]
    plot: Option<PathBuf>,
    /// People to enrol.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    identities: u64,
    /// Dimensions of an embedding, 1 to 512.
    #[arg(long, default_value_t = 128)]
    dims: usize,
    /// The least cosine that is accepted, -1 to 1.
    #[arg(long, value_name = "COSINE", default_value = "0.5", allow_hyphen_values = true)]
    threshold: String,
    /// Parameter set.
    #[arg(long, value_enum, default_value = "q54")]
    params: ParameterSet,
    /// Seed of the population and of the times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    window: Window,
    #[command(flatten)]
    key_use: KeyUse,
}

/// How attempts become batches.
#[derive(clap::Args)]
struct Batches {
    /// When a batch that is not full leaves.
    #[arg(long, value_enum, default_value = "adaptive")]
    strategy: Choice,
    /// For `window` and `size`: how long the oldest attempt waits, in microseconds.
    #[arg(long, value_name = "US", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    wait_us: u64,
    /// For `size`: how many attempts are enough.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=32))]
    batch_size: u32,
    /// For `adaptive`: the time within which 99 of 100 answers are to come, in microseconds.
    #[arg(long, value_name = "US", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    target_us: u64,
    /// Attempts that may wait, of each priority.
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    queue: u64,
}

/// When a batch that is not full leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, clap::ValueEnum)]
pub enum Choice {
    /// When its oldest attempt has waited so long.
    Window,
    /// When it has so many attempts, or its oldest has waited so long.
    Size,
    /// As the time within which answers are to come allows.
    Adaptive,
}

impl Choice {
    const ALL: [Self; 3] = [Self::Window, Self::Size, Self::Adaptive];

    fn name(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Size => "size",
            Self::Adaptive => "adaptive",
        }
    }
}

impl Batches {
    fn strategy(&self, choice: Choice) -> Strategy {
        let wait = Duration::from_micros(self.wait_us);
        match choice {
            Choice::Window => Strategy::Window { wait },
            Choice::Size => Strategy::Size { size: self.batch_size, wait },
            Choice::Adaptive => Strategy::Adaptive { p99: Duration::from_micros(self.target_us) },
        }
    }
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    match &arguments.remote.url {
        None => in_process::run(arguments, output),
        Some(url) => http::run(url, arguments, output),
    }
}

/// How attempts come.
#[derive(Clone, Copy)]
enum Pattern {
    /// So many a second.
    Open(f64),
    /// So many under way.
    Closed(u64),
}

impl Pattern {
    /// Its name, and what is offered.
    fn json(self) -> (&'static str, Value) {
        match self {
            Self::Open(rate) => ("open", json!({ "rate_per_s": rate.round() })),
            Self::Closed(n) => ("closed", json!({ "concurrency": n })),
        }
    }

    /// What is offered, for people.
    fn offered(self) -> String {
        match self {
            Self::Open(rate) => format!("{rate:.0}/s"),
            Self::Closed(n) => format!("{n} at once"),
        }
    }
}

/// Different attempts that are prepared; then they come again.
const PREPARED: u64 = 4096;

/// An attempt of the model people's.
struct Drawn {
    /// Whose capture it is.
    person: u64,
    /// Which of theirs; 0 is the enrolled one.
    capture: u32,
    /// Whom they claim to be.
    claim: u64,
}

/// The `i`-th attempt, genuine and impostor in turn.
fn drawn(i: u64, people: u64) -> Drawn {
    let person = i / 2 % people;
    let claim = if i.is_multiple_of(2) { person } else { (person + 1) % people };
    Drawn { person, capture: 1 + u32::try_from(i / 2 / people).unwrap_or(0), claim }
}

/// Random times, the same ones for the same seed.
struct Arrivals {
    rng: ChaCha20Rng,
    rate: f64,
    start: Instant,
    due: f64,
}

impl Arrivals {
    fn new(seed: u64, rate: f64, start: Instant) -> Self {
        Self { rng: ChaCha20Rng::seed_from_u64(seed), rate, start, due: 0.0 }
    }

    /// The next one.
    fn next(&mut self) -> Instant {
        // Uniform in (0, 1]; its negative logarithm is the time to the next of independent arrivals.
        let uniform = ((self.rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        self.due -= libm::log(uniform) / self.rate;
        self.start + Duration::from_secs_f64(self.due)
    }
}

/// Waits until then; no longer than `most` at a time. Whether it is then.
fn wait(at: Instant, most: Duration) -> bool {
    match at.checked_duration_since(Instant::now()) {
        // Sleeping takes about as much longer.
        Some(early) if early > Duration::from_micros(60) => {
            thread::sleep(early.min(most));
            early <= most
        }
        _ => true,
    }
}

fn us(latency: &Counts, part: f64) -> f64 {
    latency.percentile(part).as_secs_f64() * 1e6
}

/// Microseconds, for machines.
fn latency_json(latency: &Counts) -> Value {
    let us = |part| us(latency, part).round();
    json!({ "p50": us(0.5), "p90": us(0.9), "p99": us(0.99), "p99_9": us(0.999), "max": us(1.0) })
}
