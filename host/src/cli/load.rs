//! `symbolon load`

use super::auth::clear_decision;
use super::model::Model;
use super::output::Output;
use super::{KeyUse, Window, threshold};
use crate::batch::{Attempt, Outcome, Pipeline, Request};
use crate::batching::histogram::{Counts, Histogram};
use crate::batching::{Answer, Priority, Rejected, Reply, Service, Settings, Strategy};
use crate::error::{Error, Kind, Result};
use crate::gallery::Gallery;
use crate::gateway::Gateway;
use crate::isa;
use crate::keys::ParameterSet;
use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use symbolon_core::bfv::{Q54, Q81};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::Threshold;
use zeroize::Zeroizing;

/// Put load on the pipeline, and measure what it answers.
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
#[derive(clap::Args)]
pub struct Arguments {
    /// Attempts a second, at random times.
    #[arg(long, value_name = "N", conflicts_with = "concurrency", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rate: Option<u64>,
    /// Attempts under way at a time.
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    concurrency: u64,
    /// How long to measure; a fifth of it more to warm up.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    #[command(flatten)]
    batches: Batches,
    /// Measure every strategy at 10 to 95 % of what the pipeline does at most.
    #[arg(long, conflicts_with_all = ["rate", "concurrency", "strategy"])]
    compare: bool,
    /// Where --compare draws its plot, as SVG.
    #[arg(long, value_name = "FILE", requires = "compare")]
    plot: Option<std::path::PathBuf>,
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
    let Arguments { seed, identities, dims, params, .. } = *arguments;
    let model = Model::new(seed, identities, dims, params)?;
    let threshold = threshold(model.layout, &arguments.threshold)?;
    let load = Load { arguments, kernels: isa::kernels()?, model, threshold };
    match params {
        ParameterSet::Q54 => load.run::<Q54>(output),
        ParameterSet::Q81 => load.run::<Q81>(output),
    }
}

struct Load<'a> {
    arguments: &'a Arguments,
    kernels: &'static Kernels,
    model: Model,
    threshold: Threshold,
}

/// How attempts come.
#[derive(Clone, Copy)]
enum Pattern {
    /// So many a second.
    Open(f64),
    /// So many under way.
    Closed(u64),
}

/// Different attempts that are prepared; then they come again.
const PREPARED: u64 = 4096;

/// An attempt, ready to be submitted, and what it is to be answered.
struct Prepared {
    probe: Zeroizing<Vec<i16>>,
    claim: usize,
    accept: bool,
}

/// What answers tell.
#[derive(Default)]
struct Ledger {
    latency: Histogram,
    answered: AtomicU64,
    failed: AtomicU64,
    wrong: AtomicU64,
    under_way: AtomicUsize,
    waits: AtomicBool,
}

struct Shot {
    ledger: Arc<Ledger>,
    due: Instant,
    accept: bool,
    sender: Thread,
}

impl Reply<Outcome> for Shot {
    fn answer(self, answer: Result<Answer<Outcome>>) {
        let ledger = &*self.ledger;
        ledger.latency.add(self.due.elapsed());
        match answer {
            Ok(Answer { batch, lane }) => {
                let accepted = batch.decisions.accepted >> lane & 1 == 1;
                ledger.wrong.fetch_add(u64::from(accepted != self.accept), Ordering::Relaxed);
                ledger.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                ledger.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        ledger.under_way.fetch_sub(1, Ordering::SeqCst);
        if ledger.waits.load(Ordering::SeqCst) {
            self.sender.unpark();
        }
    }
}

/// What one run showed.
struct Shown {
    strategy: Choice,
    pattern: Pattern,
    seconds: f64,
    submitted: u64,
    busy: u64,
    answered: u64,
    failed: u64,
    wrong: u64,
    /// Of 32 lanes, on average.
    fill: f64,
    latency: Counts,
}

impl Shown {
    fn rate(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    fn us(&self, part: f64) -> f64 {
        self.latency.percentile(part).as_secs_f64() * 1e6
    }

    fn json(&self) -> Value {
        let (loop_, offered) = match self.pattern {
            Pattern::Open(rate) => ("open", json!({ "rate_per_s": rate.round() })),
            Pattern::Closed(n) => ("closed", json!({ "concurrency": n })),
        };
        json!({
            "strategy": self.strategy.name(),
            "loop": loop_,
            "offered": offered,
            "seconds": (self.seconds * 1e3).round() / 1e3,
            "submitted": self.submitted,
            "busy": self.busy,
            "answered": self.answered,
            "failed": self.failed,
            "wrong": self.wrong,
            "answered_per_s": self.rate().round(),
            "batch_fill": (self.fill * 10.0).round() / 10.0,
            "latency_us": {
                "p50": self.us(0.5).round(), "p90": self.us(0.9).round(), "p99": self.us(0.99).round(),
                "p99_9": self.us(0.999).round(), "max": self.us(1.0).round(),
            },
        })
    }
}

impl Load<'_> {
    fn run<const L: usize>(&self, output: &mut Output) -> Result<()> {
        let gallery = self.model.enrol(output)?;
        let prepared = self.prepare(&gallery)?;
        let seconds = Duration::from_secs(self.arguments.seconds);
        let (window, key_use) = (&self.arguments.window, &self.arguments.key_use);
        let (pipeline, signer) =
            self.model.pipeline::<L>(self.kernels, self.threshold, window, key_use, output)?;
        let field = Field { load: self, pipeline: Arc::new(pipeline), gallery, prepared };
        let runs = if self.arguments.compare {
            field.compare(seconds, output)?
        } else {
            let pattern = match self.arguments.rate {
                Some(rate) => Pattern::Open(rate as f64),
                None => Pattern::Closed(self.arguments.concurrency),
            };
            vec![field.measure(self.arguments.batches.strategy, pattern, seconds, output)?]
        };
        drop(field);
        let signing = signer.finish()?;
        if output.is_json() {
            let runs: Vec<_> = runs.iter().map(Shown::json).collect();
            let json = json!({
                "mode": "in-process", "params": self.arguments.params.name(),
                "dims": self.arguments.dims, "workers": workers(), "isa": self.kernels.isa(),
                "runs": runs, "signing": super::signing_json(&signing),
            });
            output.line(json.to_string())?;
        } else {
            table(&runs, output)?;
            output.line("")?;
            output.line(super::signing_line(&signing))?;
        }
        if let Some(path) = &self.arguments.plot {
            let plot = super::load_plot::latency(&series(&runs));
            std::fs::write(path, plot).map_err(|e| Error::io(path, "write", &e))?;
        }
        match runs.iter().map(|run| run.wrong).sum() {
            0 => Ok(()),
            wrong => {
                let message = format!("{wrong} decisions differ from the clear computation");
                Err(Error::new(Kind::Mismatch, message))
            }
        }
    }

    /// Genuine and impostor attempts in turn, quantised, with their clear decisions.
    fn prepare(&self, gallery: &Gallery) -> Result<Vec<Prepared>> {
        let (layout, people) = (self.model.layout, self.arguments.identities);
        let gateway = Gateway::new(self.kernels, layout);
        let mut embedding = Zeroizing::new(vec![0.0; self.arguments.dims]);
        (0..PREPARED)
            .map(|i| {
                let person = i / 2 % people;
                let claim = if i % 2 == 0 { person } else { (person + 1) % people };
                let capture = 1 + u32::try_from(i / 2 / people).unwrap_or(0);
                self.model.population.capture(person, capture, &mut embedding)?;
                let mut probe = Zeroizing::new(vec![0; layout.dims()]);
                gateway.quantise(&embedding, &mut probe)?;
                let claim = claim as usize;
                let attempt = Attempt { probe: &embedding, claim, proof: None };
                let accept = clear_decision(layout, self.threshold, gallery, &attempt);
                Ok(Prepared { probe, claim, accept: accept == Some(true) })
            })
            .collect()
    }
}

fn workers() -> usize {
    rayon::current_num_threads()
}

/// Everything that is shared by runs.
struct Field<'a, const L: usize> {
    load: &'a Load<'a>,
    pipeline: Arc<Pipeline<L>>,
    gallery: Gallery,
    prepared: Vec<Prepared>,
}

impl<const L: usize> Field<'_, L> {
    fn measure(
        &self,
        strategy: Choice,
        pattern: Pattern,
        time: Duration,
        output: &Output,
    ) -> Result<Shown> {
        let batches = &self.load.arguments.batches;
        let settings = Settings {
            capacity: usize::try_from(batches.queue).unwrap_or(usize::MAX),
            ..Settings::new(workers(), batches.strategy(strategy))
        };
        let service = Service::start(Arc::clone(&self.pipeline), &settings)?;
        let ledger = Arc::new(Ledger::default());
        let (stop, sent) = (AtomicBool::new(false), Sent::default());
        let shown: Result<_> = thread::scope(|scope| {
            let sender = thread::Builder::new().name("symbolon-load".into());
            let sending = || match pattern {
                Pattern::Open(rate) => self.open(rate, &service, &ledger, &sent, &stop),
                Pattern::Closed(n) => self.closed(n, &service, &ledger, &sent, &stop),
            };
            let sender = sender
                .spawn_scoped(scope, sending)
                .map_err(|e| Error::new(Kind::Io, format!("a thread cannot be started: {e}")))?;
            let look = || Look {
                at: Instant::now(),
                latency: ledger.latency.read(),
                submitted: sent.submitted.load(Ordering::Relaxed),
                busy: sent.busy.load(Ordering::Relaxed),
                answered: ledger.answered.load(Ordering::Relaxed),
                batches: service.counters().batches.load(Ordering::Relaxed),
                filled: service.counters().filled.load(Ordering::Relaxed),
            };
            let bar = output.watch(strategy.name());
            watch(&bar, time / 5, &look);
            let first = look();
            watch(&bar, time, &look);
            let last = look();
            bar.finish_and_clear();
            stop.store(true, Ordering::SeqCst);
            sender.thread().unpark();
            // A sender has nothing to panic about; if it did, the numbers show it.
            let _ = sender.join();
            Ok((first, last))
        });
        service.drain();
        let (first, last) = shown?;
        let filled = (last.filled - first.filled) as f64;
        Ok(Shown {
            strategy,
            pattern,
            seconds: last.at.duration_since(first.at).as_secs_f64(),
            submitted: last.submitted - first.submitted,
            busy: last.busy - first.busy,
            answered: last.answered - first.answered,
            failed: ledger.failed.load(Ordering::Relaxed),
            wrong: ledger.wrong.load(Ordering::Relaxed),
            fill: filled / (last.batches - first.batches).max(1) as f64,
            latency: last.latency.since(&first.latency),
        })
    }

    /// Every strategy at rising rates; the most it does first.
    fn compare(&self, time: Duration, output: &Output) -> Result<Vec<Shown>> {
        let concurrency = self.load.arguments.concurrency;
        let most = self.measure(Choice::Window, Pattern::Closed(concurrency), time, output)?;
        let capacity = most.rate();
        let mut runs = vec![most];
        for strategy in Choice::ALL {
            for percent in [10.0, 25.0, 50.0, 75.0, 90.0, 95.0] {
                let rate = Pattern::Open(capacity * percent / 100.0);
                runs.push(self.measure(strategy, rate, time, output)?);
            }
        }
        Ok(runs)
    }

    /// Submits the `n`-th attempt, that was due then. `false` where there is no room.
    fn submit(
        &self,
        n: u64,
        due: Instant,
        service: &Service<Pipeline<L>, Shot>,
        ledger: &Arc<Ledger>,
        sent: &Sent,
    ) -> bool {
        let at = usize::try_from(n % PREPARED).unwrap_or(0);
        let Some(Prepared { probe, claim, accept }) = self.prepared.get(at) else { return false };
        let Some(claim) = self.gallery.get(*claim) else { return false };
        let claim = Arc::clone(claim);
        let request = Request { probe: probe.clone(), claim, nonce: None, proof: None };
        let shot =
            Shot { ledger: Arc::clone(ledger), due, accept: *accept, sender: thread::current() };
        ledger.under_way.fetch_add(1, Ordering::SeqCst);
        sent.submitted.fetch_add(1, Ordering::Relaxed);
        match service.submit(request, shot, Priority::Normal, None) {
            Ok(()) => true,
            Err((Rejected::Busy(_) | Rejected::Draining, _)) => {
                ledger.under_way.fetch_sub(1, Ordering::SeqCst);
                sent.busy.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// Submits at random times, the same ones for the same seed.
    fn open(
        &self,
        rate: f64,
        service: &Service<Pipeline<L>, Shot>,
        ledger: &Arc<Ledger>,
        sent: &Sent,
        stop: &AtomicBool,
    ) {
        let mut rng = ChaCha20Rng::seed_from_u64(self.load.arguments.seed);
        let (start, mut due, mut n) = (Instant::now(), 0.0, 0);
        while !stop.load(Ordering::Relaxed) {
            // Uniform in (0, 1]; its negative logarithm is the time to the next of independent arrivals.
            let uniform = ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
            due -= libm::log(uniform) / rate;
            let at = start + Duration::from_secs_f64(due);
            if let Some(early) = at.checked_duration_since(Instant::now())
                && early > Duration::from_micros(60)
            {
                thread::sleep(early);
            }
            self.submit(n, at, service, ledger, sent);
            n += 1;
        }
    }

    /// Keeps so many under way.
    fn closed(
        &self,
        most: u64,
        service: &Service<Pipeline<L>, Shot>,
        ledger: &Arc<Ledger>,
        sent: &Sent,
        stop: &AtomicBool,
    ) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let room = || ledger.under_way.load(Ordering::SeqCst) < most;
        let mut n = 0;
        while !stop.load(Ordering::SeqCst) {
            if room() && self.submit(n, Instant::now(), service, ledger, sent) {
                n += 1;
                continue;
            }
            ledger.waits.store(true, Ordering::SeqCst);
            if !room() && !stop.load(Ordering::SeqCst) {
                // No longer than that, also where the queue is smaller than `most`.
                thread::park_timeout(Duration::from_millis(1));
            }
            ledger.waits.store(false, Ordering::SeqCst);
        }
    }
}

#[derive(Default)]
struct Sent {
    submitted: AtomicU64,
    busy: AtomicU64,
}

/// Where a run stands.
struct Look {
    at: Instant,
    latency: Counts,
    submitted: u64,
    busy: u64,
    answered: u64,
    batches: u64,
    filled: u64,
}

/// Waits, and shows how it goes.
fn watch(bar: &indicatif::ProgressBar, time: Duration, look: &dyn Fn() -> Look) {
    let end = Instant::now() + time;
    let mut before = look();
    while let Some(rest) = end.checked_duration_since(Instant::now()) {
        thread::sleep(rest.min(Duration::from_millis(500)));
        let now = look();
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        let latency = now.latency.since(&before.latency);
        let us = |part| latency.percentile(part).as_secs_f64() * 1e6;
        bar.set_message(format!(
            "{:.0} answers a second, p50 {:.0} us, p99 {:.0} us, {:.1} a batch",
            (now.answered - before.answered) as f64 / seconds,
            us(0.5),
            us(0.99),
            (now.filled - before.filled) as f64 / (now.batches - before.batches).max(1) as f64,
        ));
        bar.tick();
        before = now;
    }
}

fn table(runs: &[Shown], output: &mut Output) -> Result<()> {
    output.line(format!(
        "{:<9} {:>15} {:>11} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "strategy",
        "offered",
        "answered/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "a batch",
        "busy",
        "failed"
    ))?;
    for run in runs {
        let offered = match run.pattern {
            Pattern::Open(rate) => format!("{rate:.0}/s"),
            Pattern::Closed(n) => format!("{n} at once"),
        };
        output.line(format!(
            "{:<9} {offered:>15} {:>11.0} {:>9.0} {:>9.0} {:>9.0} {:>9.1} {:>9} {:>7}",
            run.strategy.name(),
            run.rate(),
            run.us(0.5),
            run.us(0.99),
            run.us(0.999),
            run.fill,
            run.busy,
            run.failed,
        ))?;
    }
    Ok(())
}

/// For the plot: a line a strategy, of answers a second and p99.
fn series(runs: &[Shown]) -> Vec<(&'static str, Vec<(f64, f64)>)> {
    let of = |choice: Choice| {
        let open = |run: &&Shown| run.strategy == choice && matches!(run.pattern, Pattern::Open(_));
        (choice.name(), runs.iter().filter(open).map(|run| (run.rate(), run.us(0.99))).collect())
    };
    Choice::ALL.map(of).to_vec()
}
