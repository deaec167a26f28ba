//! From single requests to full batches, on every core.
//!
//! ```text
//!  submit ─▶ [ high   ]                    worker 0 ─┐
//!  submit ─▶ [ normal ] ─▶ who collects ─▶ worker 1 ─┼─▶ engine ─▶ [ log ] ─▶ answers, in order
//!  submit ─▶ [ bulk   ]                    ...      ─┘
//! ```
//!
//! A batch is a ciphertext's worth of requests, and costs almost the same with one of them as with all: so the fewer
//! leave half empty the more people a core serves, and the longer one waits for others the later all are. The
//! [`Strategy`] says how that is weighed. Requests are checked before they are taken in. A batch that fails all the same is
//! halved until the request is found that made it fail: that one is refused, the others are answered. Where batches
//! fail again and again, requests are decided one by one, until a [`Breaker`] has tried a batch again. Where what was
//! decided cannot be attested again and again, which is nobody's request's fault, another breaker has requests refused
//! before they are decided.
//!
//! No answer leaves before the engine says that it is durable. What was taken in is answered, also when the service is
//! [drained](Service::drain).

pub mod breaker;
pub mod collector;
pub mod histogram;
pub mod strategy;

pub use breaker::{Breaker, Pass};
pub use collector::{Collector, Priority};
pub use histogram::Histogram;
pub use strategy::{Pace, Seen, Strategy};

use crate::error::{Error, Kind, Result};
use collector::{Refused, Waiting};
use crossbeam_utils::CachePadded;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use symbolon_platform::threads::{Outcome, Priority as ThreadPriority, Worker};

/// What decides batches.
pub trait Engine: Send + Sync + 'static {
    /// A request, checked.
    type Request: Send + 'static;
    /// A worker's memory.
    type Desk;
    /// What was decided, and nobody may know yet.
    type Decided;
    /// A decided batch, which may still be on its way to the disk.
    type Batch: Send + Sync + 'static;

    /// The most requests of a batch: 1 to 32.
    fn lanes(&self) -> usize;

    /// A worker's memory; a new one after a panic.
    ///
    /// Errors: those of its parts.
    fn desk(&self) -> Result<Self::Desk>;

    /// Decides; lane i is request i.
    ///
    /// Errors: what a single request may be to blame for.
    fn decide(
        &self,
        desk: &mut Self::Desk,
        requests: &mut dyn ExactSizeIterator<Item = &Self::Request>,
    ) -> Result<Self::Decided>;

    /// Puts what was decided on its way to the disk.
    ///
    /// Errors: what no request is to blame for.
    fn attest(&self, decided: Self::Decided) -> Result<Self::Batch>;

    /// Returns when the batch is durable. Called in the order in which batches were decided, more or less.
    ///
    /// Errors: it never will be.
    fn durable(&self, batch: &Self::Batch) -> Result<()>;
}

/// What a request is answered with.
pub struct Answer<B> {
    /// The batch it was decided in.
    pub batch: Arc<B>,
    /// Its lane.
    pub lane: usize,
}

/// Whom a request is answered to: once, whatever happens.
pub trait Reply<B>: Send {
    /// Takes the answer. On a thread that answers everybody: it must not wait.
    fn answer(self, answer: Result<Answer<B>>);
}

/// How a service works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Workers; each is kept on one of `cores`, in turn, where there are any.
    pub workers: usize,
    /// See there.
    pub cores: Vec<usize>,
    /// Requests that may wait, of each priority.
    pub capacity: usize,
    /// When a batch leaves.
    pub strategy: Strategy,
    /// When batches are given up for single requests.
    pub breaker: breaker::Limits,
    /// How often an adaptive strategy adapts.
    pub period: Duration,
    /// Whether it counts and times what it does. Without, [`Counters`] stay 0 and an adaptive strategy does not adapt:
    /// for finding out what that costs.
    pub observed: bool,
}

impl Settings {
    /// For so many workers: 128 batches may wait.
    #[must_use]
    pub fn new(workers: usize, strategy: Strategy) -> Self {
        let period = Duration::from_millis(50);
        Self {
            workers,
            cores: Vec::new(),
            capacity: 4096,
            strategy,
            breaker: breaker::Limits::default(),
            period,
            observed: true,
        }
    }
}

struct Job<T, R> {
    request: T,
    reply: R,
    since: Instant,
    deadline: Option<Instant>,
}

impl<T, R> Waiting for Job<T, R> {
    fn since(&self) -> Instant {
        self.since
    }
}

/// A batch on its way to those who asked.
struct Decided<B, R> {
    batch: Arc<B>,
    replies: Vec<(R, Instant)>,
}

/// What a service has done. Times are from submission. Who submits, who decides and who answers each write to cache
/// lines of their own.
#[derive(Default)]
pub struct Counters {
    /// Requests taken in.
    pub accepted: CachePadded<AtomicU64>,
    /// Requests sent away because too many waited: whoever submits counts them, and knows which are tried again.
    pub busy: AtomicU64,
    /// Requests whose deadline passed while they waited.
    pub expired: AtomicU64,
    /// Requests that made a batch fail.
    pub failed: AtomicU64,
    /// Batches decided.
    pub batches: AtomicU64,
    /// Requests in them.
    pub filled: AtomicU64,
    /// Panics of the engine.
    pub panics: AtomicU64,
    /// Until a worker takes a request.
    pub waited: CachePadded<Histogram>,
    /// Until the answer.
    pub answered: CachePadded<Histogram>,
}

struct Shared<E: Engine, R> {
    engine: Arc<E>,
    collector: Collector<Job<E::Request, R>>,
    pace: Pace,
    breaker: Breaker,
    attestation: Breaker,
    counters: Counters,
    started: Instant,
    period: Duration,
    observed: bool,
    /// Answers a second, of the last period in which there were any; 0 before.
    rate: AtomicU64,
}

/// Takes requests in and has them decided.
pub struct Service<E: Engine, R: Reply<E::Batch> + 'static> {
    shared: Arc<Shared<E, R>>,
    threads: Vec<JoinHandle<()>>,
}

type Answers<E, R> = mpsc::SyncSender<Decided<<E as Engine>::Batch, R>>;

/// How what was decided goes on.
struct Way<'a, E: Engine, R> {
    answers: &'a Answers<E, R>,
    attestation: Pass,
}

/// Why a request was not taken in.
#[derive(Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Too many wait. It may be tried again after this time.
    Busy(Duration),
    /// The service is being drained.
    Draining,
}

impl<E: Engine, R: Reply<E::Batch> + 'static> Service<E, R> {
    /// Starts the workers.
    ///
    /// Errors: `E-ARGUMENT` for no workers or more than 1,024; `E-IO` where there are no threads, or one cannot be kept on
    /// its core; the engine's.
    pub fn start(engine: Arc<E>, settings: &Settings) -> Result<Self> {
        let workers = settings.workers;
        if !(1..=1024).contains(&workers) {
            return Err(Error::new(Kind::Argument, "a service has 1 to 1024 workers"));
        }
        let lanes = engine.lanes();
        let shared = Arc::new(Shared {
            collector: Collector::new(workers, lanes, settings.capacity),
            pace: Pace::new(settings.strategy, u32::try_from(lanes).unwrap_or(1)),
            breaker: Breaker::new(settings.breaker),
            attestation: Breaker::new(settings.breaker),
            engine,
            counters: Counters::default(),
            started: Instant::now(),
            period: settings.period,
            observed: settings.observed,
            rate: 0.into(),
        });
        let mut service = Self { shared: Arc::clone(&shared), threads: Vec::new() };
        // As many batches as may be on their way to the disk: who decides more waits.
        let (answers, decided) = mpsc::sync_channel(4096);
        let thread = |error| Error::new(Kind::Io, format!("a thread cannot be started: {error}"));
        for worker in 0..workers {
            let (shared, answers) = (Arc::clone(&shared), answers.clone());
            let core = settings.cores.get(worker % settings.cores.len().max(1)).copied();
            let place = Worker {
                name: format!("symbolon-w{worker}"),
                core,
                priority: ThreadPriority::Normal,
            };
            let body = move || shared.work(worker, &answers);
            let (started, placement) = place.spawn(body).map_err(thread)?;
            service.threads.push(started);
            if let (Some(core), Outcome::Failed(_)) = (core, placement.core) {
                let message = format!("worker {worker} cannot be kept on core {core}");
                return Err(Error::new(Kind::Io, message));
            }
        }
        let place =
            Worker { name: "symbolon-answer".into(), core: None, priority: ThreadPriority::Normal };
        let body = move || shared.answer(&decided);
        service.threads.push(place.spawn(body).map_err(thread)?.0);
        Ok(service)
    }

    /// Takes a request in. It is answered once, and not later than it takes to find its deadline passed.
    ///
    /// # Errors
    /// [`Rejected`], with request and reply.
    pub fn submit(
        &self,
        request: E::Request,
        reply: R,
        priority: Priority,
        deadline: Option<Instant>,
    ) -> std::result::Result<(), (Rejected, E::Request, R)> {
        let shared = &*self.shared;
        let job = Job { request, reply, since: Instant::now(), deadline };
        match shared.collector.push(job, priority) {
            Ok(()) => {
                shared.count(&shared.counters.accepted, 1);
                Ok(())
            }
            Err(Refused::Full(job)) => {
                Err((Rejected::Busy(shared.retry_after()), job.request, job.reply))
            }
            Err(Refused::Closed(job)) => Err((Rejected::Draining, job.request, job.reply)),
        }
    }

    /// Whether one of its threads has died: it cannot go on without, and whoever waits for what that had waits in vain.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        let died = self.threads.iter().any(JoinHandle::is_finished);
        died.then(died_thread)
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The breaker of batches.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.shared.breaker
    }

    /// The breaker of attestation.
    #[must_use]
    pub fn attestation(&self) -> &Breaker {
        &self.shared.attestation
    }

    /// The strategy, as it has adapted.
    #[must_use]
    pub fn pace(&self) -> &Pace {
        &self.shared.pace
    }

    /// Requests that wait, by priority, and the room for those of one.
    #[must_use]
    pub fn depth(&self) -> ([usize; 3], usize) {
        (self.shared.collector.depth(), self.shared.collector.capacity())
    }

    /// Takes nothing in any more, and returns when everything is answered.
    ///
    /// # Errors
    /// `E-INTERNAL` if one of its threads has died.
    pub fn drain(mut self) -> Result<()> {
        self.end()
    }
}

impl<E: Engine, R: Reply<E::Batch> + 'static> Service<E, R> {
    fn end(&mut self) -> Result<()> {
        self.shared.collector.close();
        let died = self.threads.drain(..).filter_map(|thread| thread.join().err()).count();
        if died == 0 { Ok(()) } else { Err(died_thread()) }
    }
}

/// As [`Service::drain`].
impl<E: Engine, R: Reply<E::Batch> + 'static> Drop for Service<E, R> {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.end();
    }
}

fn died_thread() -> Error {
    Error::new(Kind::Internal, "a thread that decides or answers died")
}

impl<E: Engine, R: Reply<E::Batch>> Shared<E, R> {
    fn work(&self, worker: usize, answers: &Answers<E, R>) {
        let (mut desk, mut jobs) = (None, Vec::with_capacity(self.engine.lanes()));
        while self.collector.take(worker, &self.pace, &mut jobs) {
            let now = Instant::now();
            if self.observed {
                let waited = jobs.iter().map(|job| now.saturating_duration_since(job.since));
                self.counters.waited.add(waited);
            }
            let late = |job: &mut Job<_, _>| job.deadline.is_some_and(|deadline| deadline < now);
            for job in jobs.extract_if(.., late) {
                self.count(&self.counters.expired, 1);
                let error = Error::new(Kind::Deadline, "its deadline passed while it waited");
                tell(job.reply, Err(error));
            }
            if !jobs.is_empty() {
                self.settle(&mut desk, &mut jobs, answers);
            }
        }
    }

    fn count(&self, counter: &AtomicU64, by: u64) {
        if self.observed {
            counter.fetch_add(by, Ordering::Relaxed);
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Decides a batch, or in single requests while the breaker is open.
    fn settle(
        &self,
        desk: &mut Option<E::Desk>,
        jobs: &mut Vec<Job<E::Request, R>>,
        answers: &Answers<E, R>,
    ) {
        let attestation = self.attestation.pass(self.now_ms());
        if attestation == Pass::Avoid {
            let error = Error::new(Kind::Signing, "decisions cannot be written: none is taken");
            return self.fail(jobs, &error);
        }
        self.settle_by(desk, jobs, &Way { answers, attestation });
        if attestation == Pass::Try && self.attestation.state() == breaker::State::HalfOpen {
            // Nothing came so far: it is for another batch to try.
            self.attestation.failed(attestation, self.now_ms());
        }
    }

    fn settle_by(
        &self,
        desk: &mut Option<E::Desk>,
        jobs: &mut Vec<Job<E::Request, R>>,
        way: &Way<'_, E, R>,
    ) {
        let pass = self.breaker.pass(self.now_ms());
        if pass == Pass::Avoid {
            for job in jobs.drain(..) {
                let mut single = vec![job];
                match self.decide(desk, &single) {
                    Ok(decided) => self.hand_on(decided, &mut single, way),
                    Err(error) => self.fail(&mut single, &error),
                }
            }
            return;
        }
        match self.decide(desk, jobs) {
            Ok(decided) => {
                self.breaker.worked(pass);
                self.hand_on(decided, jobs, way);
            }
            Err(error) => {
                self.breaker.failed(pass, self.now_ms());
                self.halve(desk, jobs, &error, way);
            }
        }
    }

    /// Finds who made a batch fail; decides the others. Ten times the work of a batch where it is one of 32.
    fn halve(
        &self,
        desk: &mut Option<E::Desk>,
        jobs: &mut Vec<Job<E::Request, R>>,
        error: &Error,
        way: &Way<'_, E, R>,
    ) {
        if jobs.len() <= 1 {
            return self.fail(jobs, error);
        }
        let mut second = jobs.split_off(jobs.len() / 2);
        for half in [jobs, &mut second] {
            match self.decide(desk, half) {
                Ok(decided) => self.hand_on(decided, half, way),
                Err(error) => self.halve(desk, half, &error, way),
            }
        }
    }

    fn decide(
        &self,
        desk: &mut Option<E::Desk>,
        jobs: &[Job<E::Request, R>],
    ) -> Result<E::Decided> {
        let ready = match desk {
            Some(desk) => desk,
            None => desk.insert(self.engine.desk()?),
        };
        let mut requests = jobs.iter().map(|job| &job.request);
        // What a panic leaves behind is the desk, which is not used again.
        let decide = AssertUnwindSafe(|| self.engine.decide(ready, &mut requests));
        panic::catch_unwind(decide).unwrap_or_else(|_| {
            *desk = None;
            self.count(&self.counters.panics, 1);
            Err(Error::new(Kind::Internal, "deciding it failed in an unforeseen way"))
        })
    }

    fn hand_on(
        &self,
        decided: E::Decided,
        jobs: &mut Vec<Job<E::Request, R>>,
        way: &Way<'_, E, R>,
    ) {
        // What a panic leaves behind is dropped.
        let attest = AssertUnwindSafe(|| self.engine.attest(decided));
        let attested = panic::catch_unwind(attest).unwrap_or_else(|_| {
            self.count(&self.counters.panics, 1);
            Err(Error::new(Kind::Internal, "attesting it failed in an unforeseen way"))
        });
        let batch = match attested {
            Ok(batch) => batch,
            Err(error) => {
                self.attestation.failed(way.attestation, self.now_ms());
                return self.fail(jobs, &error);
            }
        };
        self.attestation.worked(way.attestation);
        self.count(&self.counters.batches, 1);
        self.count(&self.counters.filled, jobs.len() as u64);
        let replies = jobs.drain(..).map(|job| (job.reply, job.since)).collect();
        // Whoever answers ends last.
        let sent = way.answers.send(Decided { batch: Arc::new(batch), replies });
        debug_assert!(sent.is_ok());
    }

    fn fail(&self, jobs: &mut Vec<Job<E::Request, R>>, error: &Error) {
        for job in jobs.drain(..) {
            self.count(&self.counters.failed, 1);
            tell(job.reply, Err(error.clone()));
        }
    }

    /// Answers, in the order in which batches were decided; and has the pace learn of it.
    fn answer(&self, decided: &mpsc::Receiver<Decided<E::Batch, R>>) {
        let (mut since, mut before) = (Instant::now(), self.counters.answered.read());
        for Decided { batch, replies } in decided {
            let durable = self.engine.durable(&batch);
            let now = Instant::now();
            if self.observed {
                let took = replies.iter().map(|(_, since)| now.saturating_duration_since(*since));
                self.counters.answered.add(took);
            }
            for (lane, (reply, _)) in replies.into_iter().enumerate() {
                let answer = Answer { batch: Arc::clone(&batch), lane };
                tell(reply, durable.clone().map(|()| answer));
            }
            let lasted = now.saturating_duration_since(since);
            if lasted >= self.period {
                let counts = self.counters.answered.read();
                let seen = counts.since(&before);
                let (p99, answers) = (seen.percentile(0.99), seen.total());
                self.pace.learn(Seen { p99, answers, lasted });
                // After a pause it would tell of that.
                if lasted < 4 * self.period {
                    let rate = answers as f64 / lasted.as_secs_f64();
                    self.rate.store(rate as u64, Ordering::Relaxed);
                }
                (since, before) = (now, counts);
            }
        }
    }

    /// When what waits now will have been answered, by the last rate; a second where none is known.
    fn retry_after(&self) -> Duration {
        let waiting: usize = self.collector.depth().iter().sum();
        match self.rate.load(Ordering::Relaxed) {
            0 => Duration::from_secs(1),
            rate => Duration::from_secs_f64(waiting as f64 / rate as f64)
                .clamp(Duration::from_millis(1), Duration::from_secs(30)),
        }
    }
}

/// A reply that panics takes nobody with it.
fn tell<B, R: Reply<B>>(reply: R, answer: Result<Answer<B>>) {
    let _ = panic::catch_unwind(AssertUnwindSafe(|| reply.answer(answer)));
}

#[cfg(test)]
mod tests;
