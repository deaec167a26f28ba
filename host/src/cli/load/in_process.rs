//! Load on the pipeline in this process.

use super::super::auth::clear_decision;
use super::super::model::Model;
use super::super::output::Output;
use super::super::{signing_json, signing_line, threshold};
use super::{
    Arguments, Arrivals, Choice, Drawn, PREPARED, Pattern, drawn, latency_json, plot, wait,
};
use crate::batch::{Attempt, Outcome, Pipeline, Request};
use crate::batching::histogram::{Counts, Histogram};
use crate::batching::{Answer, Priority, Rejected, Reply, Service, Settings};
use crate::error::{Error, Kind, Result};
use crate::gallery::Gallery;
use crate::gateway::Gateway;
use crate::isa;
use crate::keys::ParameterSet;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use symbolon_core::bfv::{Q54, Q81};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::Threshold;
use zeroize::Zeroizing;

/// Attempts under way at a time, unless said otherwise.
const CONCURRENCY: u64 = 4096;

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
        ledger.latency.add([self.due.elapsed()]);
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
        super::us(&self.latency, part)
    }

    fn json(&self) -> Value {
        let (loop_, offered) = self.pattern.json();
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
            "latency_us": latency_json(&self.latency),
        })
    }
}

impl Load<'_> {
    fn run<const L: usize>(&self, output: &mut Output) -> Result<()> {
        let gallery = self.model.enrol(output)?;
        let prepared = self.prepare(&gallery)?;
        let seconds = Duration::from_secs(self.arguments.seconds);
        let (window, key_use) = (&self.arguments.window, &self.arguments.key_use);
        let (pipeline, signer) = self.model.pipeline::<L>(
            self.kernels,
            self.threshold,
            self.model.signing()?,
            window,
            key_use,
            output,
        )?;
        let field = Field { load: self, pipeline: Arc::new(pipeline), gallery, prepared };
        let runs = if self.arguments.compare {
            field.compare(seconds, output)?
        } else {
            let pattern = match self.arguments.rate {
                Some(rate) => Pattern::Open(rate as f64),
                None => Pattern::Closed(self.arguments.concurrency.unwrap_or(CONCURRENCY)),
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
                "runs": runs, "signing": signing_json(&signing),
            });
            output.line(json.to_string())?;
        } else {
            table(&runs, output)?;
            output.line("")?;
            output.line(signing_line(&signing))?;
        }
        if let Some(path) = &self.arguments.plot {
            let plot = plot::latency(&series(&runs));
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
                let Drawn { person, capture, claim } = drawn(i, people);
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
        service.drain()?;
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

    /// Every strategy at rising rates, one after the other at each, as a machine's speed changes; the most it does first.
    fn compare(&self, time: Duration, output: &Output) -> Result<Vec<Shown>> {
        let most = self.measure(Choice::Window, Pattern::Closed(CONCURRENCY), time, output)?;
        let capacity = most.rate();
        let mut runs = vec![most];
        let mut strategies = Choice::ALL;
        for percent in [10.0, 25.0, 50.0, 75.0, 90.0, 95.0] {
            let rate = Pattern::Open(capacity * percent / 100.0);
            for strategy in strategies {
                runs.push(self.measure(strategy, rate, time, output)?);
            }
            // None is always the last.
            strategies.rotate_left(1);
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
            Err((Rejected::Busy(_) | Rejected::Draining, ..)) => {
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
        let mut arrivals = Arrivals::new(self.load.arguments.seed, rate, Instant::now());
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            let due = arrivals.next();
            wait(due, Duration::MAX);
            self.submit(n, due, service, ledger, sent);
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
        let offered = run.pattern.offered();
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
