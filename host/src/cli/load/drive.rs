//! Requests over several connections, from one thread, and what came of them.

use super::super::client::{Connection, Failure, Target};
use super::{Arrivals, Pattern, wait};
use crate::batching::histogram::{Counts, Histogram};
use crate::error::{Error, Kind, Result};
use crate::server::api::binary;
use axum::body::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode, Uri};
use serde::Deserialize;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// After which an answer is given up, and its connection closed.
const PATIENCE: Duration = Duration::from_secs(30);
/// After a failure to connect.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a request is tried on a fresh connection, where the server closed the last one before it was sent.
const TRIES: usize = 3;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One attempt, as JSON.
    Single,
    /// Many, in the binary form.
    Batch,
}

impl Form {
    pub const ALL: [Self; 2] = [Self::Single, Self::Batch];

    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Batch => "batch",
        }
    }

    fn path(self) -> Uri {
        Uri::from_static(match self {
            Self::Single => "/v1/authentications",
            Self::Batch => "/v1/authentications:batch",
        })
    }

    pub fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Single => "application/json",
            Self::Batch => binary::MEDIA_TYPE,
        })
    }
}

/// Parts of requests of each form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    pub single: u32,
    pub batch: u32,
}

impl Mix {
    /// Of the `n`-th request. Forms are spread evenly.
    pub fn form(self, n: u64) -> Form {
        let all = u64::from(self.single) + u64::from(self.batch);
        let (at, batch) = (n % all.max(1), u64::from(self.batch));
        if (at + 1) * batch / all != at * batch / all { Form::Batch } else { Form::Single }
    }

    /// Attempts of a request, on average, where batches have so many.
    pub fn items(self, batch: usize) -> f64 {
        let (single, batches) = (f64::from(self.single), f64::from(self.batch));
        (single + batches * batch as f64) / (single + batches)
    }
}

/// A request's body, and what its attempts are to be answered.
pub struct Prepared {
    pub body: Bytes,
    pub accept: Vec<bool>,
}

/// All that is decided before the first request.
pub struct Plan {
    pub target: Target,
    pub authorization: Option<HeaderValue>,
    pub connections: usize,
    pub pattern: Pattern,
    pub mix: Mix,
    /// Attempts of a batch.
    pub batch: usize,
    /// Of each form that the mix has at least one.
    pub prepared: [Vec<Prepared>; 2],
    pub seed: u64,
    /// How long to measure; a fifth of it more to warm up.
    pub time: Duration,
}

impl Plan {
    /// The head of a request of this form.
    pub fn headers(&self, form: Form) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, form.media_type());
        if let Some(authorization) = &self.authorization {
            headers.insert(hyper::header::AUTHORIZATION, authorization.clone());
        }
        headers
    }

    fn prepared(&self, n: u64) -> Option<(Form, &Prepared)> {
        let form = self.mix.form(n);
        let of = &self.prepared[form as usize];
        let at = n.checked_rem(of.len() as u64)?;
        of.get(at as usize).map(|prepared| (form, prepared))
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// No connection could be made.
    Connect,
    /// The connection broke.
    Broken,
    /// It is not what this address answers.
    Malformed,
    /// It did not come in time.
    Timeout,
}

impl Trouble {
    fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Broken => "broken",
            Self::Malformed => "malformed",
            Self::Timeout => "timeout",
        }
    }
}

/// What was counted, of attempts but for `requests`; of one thread.
#[derive(Default)]
struct Ledger {
    requests: Cell<u64>,
    submitted: Cell<u64>,
    decided: Cell<u64>,
    wrong: Cell<u64>,
    statuses: RefCell<BTreeMap<u16, u64>>,
    codes: RefCell<BTreeMap<String, u64>>,
    troubles: RefCell<BTreeMap<Trouble, u64>>,
    latency: Histogram,
    forms: [Histogram; 2],
}

fn add(count: &Cell<u64>, more: u64) {
    count.set(count.get() + more);
}

impl Ledger {
    fn took(&self, form: Form, time: Duration) {
        self.latency.add([time]);
        self.forms[form as usize].add([time]);
    }

    /// An attempt was decided.
    fn decided(&self, form: Form, due: Instant, accept: bool, expected: bool) {
        self.took(form, due.elapsed());
        add(&self.decided, 1);
        add(&self.wrong, u64::from(accept != expected));
    }

    /// Attempts were refused, or failed.
    fn refused(&self, status: u16, code: &str, count: u64) {
        *self.statuses.borrow_mut().entry(status).or_default() += count;
        let mut codes = self.codes.borrow_mut();
        match codes.get_mut(code) {
            Some(of) => *of += count,
            None => drop(codes.insert(code.to_owned(), count)),
        }
    }

    fn look(&self) -> Look {
        Look {
            at: Instant::now(),
            requests: self.requests.get(),
            submitted: self.submitted.get(),
            decided: self.decided.get(),
            latency: self.latency.read(),
            forms: Form::ALL.map(|form| self.forms[form as usize].read()),
        }
    }
}

/// Where a run stands.
struct Look {
    at: Instant,
    requests: u64,
    submitted: u64,
    decided: u64,
    latency: Counts,
    forms: [Counts; 2],
}

/// What a run showed.
pub struct Shown {
    pub seconds: f64,
    /// Within the time that was measured.
    pub requests: u64,
    pub submitted: u64,
    pub decided: u64,
    /// Of attempts decided, or waited for in vain, from when they were due.
    pub latency: Counts,
    /// The same for each form.
    pub forms: [Counts; 2],
    /// Attempts that were due and could not be sent, in open loop: all connections had others under way.
    pub unsent: u64,
    /// From the first request to the last, in attempts: decisions that differ from the clear computation,
    pub wrong: u64,
    /// answers by status,
    pub statuses: BTreeMap<u16, u64>,
    /// those that are no decisions by their code,
    pub codes: BTreeMap<String, u64>,
    /// and what was not answered, by reason.
    pub errors: BTreeMap<&'static str, u64>,
}

/// Puts load on the server; `progress` is told twice a second how it goes: decisions a second and latency so far.
pub fn run(plan: Plan, progress: impl Fn(f64, &Counts)) -> Result<Shown> {
    let runtime = runtime()?;
    let drive = Rc::new(Drive::new(plan));
    let tasks = tokio::task::LocalSet::new();
    let shown = tasks.block_on(&runtime, Rc::clone(&drive).measure(progress));
    // The connections' tasks have nothing to finish.
    runtime.shutdown_background();
    shown
}

/// One thread for everything.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::new(Kind::Io, format!("sockets cannot be had: {e}")))
}

struct Drive {
    plan: Plan,
    /// Paths and heads by form.
    paths: [Uri; 2],
    headers: [HeaderMap; 2],
    ledger: Ledger,
    /// Requests begun, in closed loop.
    begun: Cell<u64>,
    /// The times of requests, in open loop: of the next that nobody has taken.
    arrivals: Option<RefCell<Ahead>>,
    /// In open loop a permit for each request that is due; in closed loop for each attempt that may be under way.
    gate: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

/// Arrivals, with the next one known.
struct Ahead {
    arrivals: Arrivals,
    n: u64,
    due: Instant,
}

impl Ahead {
    fn new(mut arrivals: Arrivals) -> Self {
        let due = arrivals.next();
        Self { arrivals, n: 0, due }
    }

    fn take(&mut self) -> (u64, Instant) {
        let taken = (self.n, self.due);
        self.n += 1;
        self.due = self.arrivals.next();
        taken
    }
}

/// A worker's turn to send.
struct Turn<'a> {
    n: u64,
    due: Instant,
    /// Given back when its attempts are done with, in closed loop.
    _under_way: Option<SemaphorePermit<'a>>,
}

impl Drive {
    fn new(plan: Plan) -> Self {
        let permits = match plan.pattern {
            Pattern::Open(_) => 0,
            Pattern::Closed(n) => usize::try_from(n).unwrap_or(Semaphore::MAX_PERMITS),
        };
        Self {
            paths: Form::ALL.map(Form::path),
            headers: Form::ALL.map(|form| plan.headers(form)),
            ledger: Ledger::default(),
            begun: 0.into(),
            arrivals: plan.arrivals(Instant::now()).map(|arrivals| Ahead::new(arrivals).into()),
            gate: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            stop: watch::Sender::new(false),
            plan,
        }
    }

    async fn measure(self: Rc<Self>, progress: impl Fn(f64, &Counts)) -> Result<Shown> {
        let stopped = Arc::new(AtomicBool::new(false));
        let clock = self.start_clock(&stopped)?;
        let mut workers = JoinSet::new();
        for _ in 0..self.plan.connections {
            workers.spawn_local(Rc::clone(&self).work());
        }
        self.watch(self.plan.time / 5, &progress).await;
        let first = self.ledger.look();
        self.watch(self.plan.time, &progress).await;
        let last = self.ledger.look();
        stopped.store(true, Ordering::Relaxed);
        self.gate.close();
        self.stop.send_replace(true);
        let unsent = self.unsent(last.at);
        // What is under way is waited for: it counts as long as it takes.
        while let Some(worker) = workers.join_next().await {
            worker.map_err(|e| Error::new(Kind::Internal, format!("a connection's task: {e}")))?;
        }
        if let Some(clock) = clock {
            // It has nothing to panic about.
            let _ = clock.join();
        }
        let ledger = &self.ledger;
        let [single, batch] = ledger.look().forms;
        let [single_before, batch_before] = &first.forms;
        let mut statuses = ledger.statuses.take();
        if ledger.decided.get() > 0 {
            statuses.insert(200, ledger.decided.get());
        }
        let troubles = ledger.troubles.take();
        Ok(Shown {
            seconds: last.at.duration_since(first.at).as_secs_f64(),
            requests: last.requests - first.requests,
            submitted: last.submitted - first.submitted,
            decided: last.decided - first.decided,
            latency: ledger.latency.read().since(&first.latency),
            forms: [single.since(single_before), batch.since(batch_before)],
            unsent,
            wrong: ledger.wrong.get(),
            statuses,
            codes: ledger.codes.take(),
            errors: troubles.into_iter().map(|(trouble, n)| (trouble.name(), n)).collect(),
        })
    }

    /// Shows how it goes, for so long.
    async fn watch(&self, time: Duration, progress: &impl Fn(f64, &Counts)) {
        let (start, mut before) = (Instant::now(), self.ledger.look());
        while let Some(rest) = time.checked_sub(start.elapsed()) {
            sleep(rest.min(Duration::from_millis(500))).await;
            let now = self.ledger.look();
            let seconds = now.at.duration_since(before.at).as_secs_f64();
            progress((now.decided - before.decided) as f64 / seconds, &now.latency);
            before = now;
        }
    }

    /// In open loop, a thread that tells when requests are due. The runtime's timers know milliseconds only.
    fn start_clock(&self, stopped: &Arc<AtomicBool>) -> Result<Option<thread::JoinHandle<()>>> {
        let Some(ahead) = &self.arrivals else { return Ok(None) };
        let start = ahead.borrow().arrivals.start;
        let Some(mut arrivals) = self.plan.arrivals(start) else { return Ok(None) };
        let (gate, stopped) = (Arc::clone(&self.gate), Arc::clone(stopped));
        let tell = move || {
            let mut due = arrivals.next();
            while !stopped.load(Ordering::Relaxed) {
                if wait(due, Duration::from_millis(50)) {
                    gate.add_permits(1);
                    due = arrivals.next();
                }
            }
        };
        let clock = thread::Builder::new().name("symbolon-clock".into()).spawn(tell);
        clock
            .map(Some)
            .map_err(|e| Error::new(Kind::Io, format!("a thread cannot be started: {e}")))
    }

    /// Attempts that were due by then and that nobody has sent. They count with the time that they have waited.
    fn unsent(&self, end: Instant) -> u64 {
        let Some(ahead) = &self.arrivals else { return 0 };
        let (mut ahead, mut unsent) = (ahead.borrow_mut(), 0);
        while ahead.due <= end {
            let (n, due) = ahead.take();
            let Some((form, prepared)) = self.plan.prepared(n) else { continue };
            for _ in &prepared.accept {
                self.ledger.took(form, end.duration_since(due));
                unsent += 1;
            }
        }
        unsent
    }

    /// Waits for a request's turn. `None` at the end.
    async fn turn(&self) -> Option<Turn<'_>> {
        if let Some(ahead) = &self.arrivals {
            self.gate.acquire().await.ok()?.forget();
            let (n, due) = ahead.borrow_mut().take();
            return Some(Turn { n, due, _under_way: None });
        }
        let n = self.begun.replace(self.begun.get() + 1);
        let (_, prepared) = self.plan.prepared(n)?;
        let most = match self.plan.pattern {
            Pattern::Closed(n) => n,
            Pattern::Open(_) => u64::MAX,
        };
        let items = u32::try_from((prepared.accept.len() as u64).min(most)).unwrap_or(u32::MAX);
        let under_way = self.gate.acquire_many(items).await.ok()?;
        Some(Turn { n, due: Instant::now(), _under_way: Some(under_way) })
    }

    /// Sends requests over one connection, until the end.
    async fn work(self: Rc<Self>) {
        let (mut connection, mut buffer) = (None, Vec::new());
        let mut stop = self.stop.subscribe();
        while let Some(turn) = self.turn().await {
            let Some((form, prepared)) = self.plan.prepared(turn.n) else { return };
            add(&self.ledger.requests, 1);
            add(&self.ledger.submitted, prepared.accept.len() as u64);
            let mut answers = Answers {
                ledger: &self.ledger,
                form,
                due: turn.due,
                expected: &prepared.accept,
                answered: 0,
            };
            let ask = self.ask(&mut connection, &mut buffer, prepared, &mut answers);
            let asked = timeout(PATIENCE, ask).await.unwrap_or(Err(Trouble::Timeout));
            let pause = match asked {
                Ok(again) => again.filter(|_| self.arrivals.is_none()),
                Err(trouble) => {
                    answers.lost(trouble);
                    connection = None;
                    (trouble == Trouble::Connect).then_some(PAUSE)
                }
            };
            if let Some(pause) = pause {
                // Its attempts are done with: others may be under way.
                drop(turn);
                tokio::select! {
                    () = sleep(pause) => (),
                    _ = stop.wait_for(|stop| *stop) => (),
                }
            }
        }
    }

    /// Sends a request and takes its answers in. Tells when to come again, where the server does.
    async fn ask(
        &self,
        connection: &mut Option<Connection>,
        buffer: &mut Vec<u8>,
        prepared: &Prepared,
        answers: &mut Answers<'_>,
    ) -> std::result::Result<Option<Duration>, Trouble> {
        let form = answers.form;
        let (path, headers) = (&self.paths[form as usize], &self.headers[form as usize]);
        let mut response = None;
        for _ in 0..TRIES {
            let usable = match connection.take().filter(|open| !open.is_closed()) {
                Some(open) => open,
                None => self.plan.target.connect().await.map_err(|_| Trouble::Connect)?,
            };
            let open = connection.insert(usable);
            match open.send(Method::POST, path, headers, prepared.body.clone()).await {
                Ok(came) => {
                    response = Some(came);
                    break;
                }
                Err(Failure::Unsent) => *connection = None,
                Err(Failure::Broken(_)) => return Err(Trouble::Broken),
            }
        }
        let (head, mut body) = response.ok_or(Trouble::Broken)?.into_parts();
        buffer.clear();
        match (head.status, form) {
            (StatusCode::OK, Form::Batch) => answers.take_lines(&mut body, buffer).await?,
            (StatusCode::OK, Form::Single) => {
                read(&mut body, buffer).await?;
                answers.take_one(buffer)?;
            }
            (status, _) => {
                read(&mut body, buffer).await?;
                let problem: Option<Problem<'_>> = serde_json::from_slice(buffer).ok();
                let code = problem.map_or(Cow::Borrowed("none"), |problem| problem.code);
                answers.refused(status.as_u16(), &code);
            }
        }
        Ok(retry_after(head.status, &head.headers))
    }
}

impl Plan {
    fn arrivals(&self, start: Instant) -> Option<Arrivals> {
        match self.pattern {
            Pattern::Open(rate) => {
                Some(Arrivals::new(self.seed, rate / self.mix.items(self.batch), start))
            }
            Pattern::Closed(_) => None,
        }
    }
}

/// When a server that is busy or being stopped wants to be asked again.
pub fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn read(body: &mut Incoming, buffer: &mut Vec<u8>) -> std::result::Result<(), Trouble> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| Trouble::Broken)?.into_data() {
            buffer.extend_from_slice(&data);
        }
    }
    Ok(())
}

/// What an answer says, as far as it is of interest.
#[derive(Deserialize)]
struct Decision {
    accept: bool,
}

#[derive(Deserialize)]
struct Problem<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Line<'a> {
    index: usize,
    status: u16,
    accept: Option<bool>,
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
}

/// A request's answers, as they come.
struct Answers<'a> {
    ledger: &'a Ledger,
    form: Form,
    due: Instant,
    expected: &'a [bool],
    answered: usize,
}

impl Answers<'_> {
    fn take_one(&mut self, body: &[u8]) -> std::result::Result<(), Trouble> {
        let decision: Decision = serde_json::from_slice(body).map_err(|_| Trouble::Malformed)?;
        self.decided(decision.accept)
    }

    fn decided(&mut self, accept: bool) -> std::result::Result<(), Trouble> {
        let expected = self.expected.get(self.answered).ok_or(Trouble::Malformed)?;
        self.ledger.decided(self.form, self.due, accept, *expected);
        self.answered += 1;
        Ok(())
    }

    /// Lines as they come, in order, one for each attempt. `rest` has the beginning of the next.
    async fn take_lines(
        &mut self,
        body: &mut Incoming,
        rest: &mut Vec<u8>,
    ) -> std::result::Result<(), Trouble> {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Trouble::Broken)?.into_data() else { continue };
            for part in data.split_inclusive(|byte| *byte == b'\n') {
                if !part.ends_with(b"\n") {
                    rest.extend_from_slice(part);
                } else if rest.is_empty() {
                    self.take_line(part)?;
                } else {
                    rest.extend_from_slice(part);
                    self.take_line(rest)?;
                    rest.clear();
                }
            }
        }
        let whole = rest.is_empty() && self.answered == self.expected.len();
        whole.then_some(()).ok_or(Trouble::Malformed)
    }

    fn take_line(&mut self, line: &[u8]) -> std::result::Result<(), Trouble> {
        let line: Line<'_> = serde_json::from_slice(line).map_err(|_| Trouble::Malformed)?;
        if line.index != self.answered || line.index >= self.expected.len() {
            return Err(Trouble::Malformed);
        }
        match (line.status, line.accept) {
            (200, Some(accept)) => self.decided(accept),
            (200, None) => Err(Trouble::Malformed),
            (status, _) => {
                self.ledger.refused(status, line.code.as_deref().unwrap_or("none"), 1);
                self.answered += 1;
                Ok(())
            }
        }
    }

    fn left(&self) -> u64 {
        (self.expected.len() - self.answered) as u64
    }

    /// The whole request was.
    fn refused(&mut self, status: u16, code: &str) {
        self.ledger.refused(status, code, self.left());
        self.answered = self.expected.len();
    }

    /// No more answers come. Those waited for in vain count with that time.
    fn lost(&self, trouble: Trouble) {
        *self.ledger.troubles.borrow_mut().entry(trouble).or_default() += self.left();
        if trouble == Trouble::Timeout {
            for _ in 0..self.left() {
                self.ledger.took(self.form, self.due.elapsed());
            }
        }
    }
}
