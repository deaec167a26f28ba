//! Numbers for Prometheus, in its text format. Nothing in them names a person or a key.

use super::App;
use super::sessions::Sessions;
use crate::batching::breaker::State;
use crate::batching::histogram::{Counts, Histogram};
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The media type.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The addresses that are counted apart.
const ROUTES: [&str; 19] = [
    "/v1/authentications",
    "/v1/authentications:batch",
    "/v1/enrolments",
    "/v1/enrolments/{id}",
    "/v1/sessions",
    "/v1/sessions/{id}",
    "/v1/sessions/{id}/resume",
    "/v1/sessions/{id}/authentications",
    "/v1/handshakes/{id}",
    "/v1/identities/{id}",
    "/v1/identities/{id}/path",
    "/v1/epochs",
    "/v1/receipts/{request}",
    "/v1/keys",
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
];
/// And the others.
const OTHER: &str = "other";

/// Bounds of histograms, in microseconds.
const BOUNDS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    2_500_000, 10_000_000,
];

/// What was counted of requests.
pub struct Http {
    started: Instant,
    connections: AtomicI64,
    /// By route and first digit of the status.
    requests: [[AtomicU64; 5]; ROUTES.len() + 1],
    seconds: Histogram,
    /// Items of batches.
    pub(super) items: AtomicU64,
}

impl Http {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            connections: 0.into(),
            requests: Default::default(),
            seconds: Histogram::default(),
            items: 0.into(),
        }
    }

    pub(super) fn opened(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(super) fn closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    pub(super) fn answered(&self, route: Option<&str>, status: u16, time: Duration) {
        let index = ROUTES.iter().position(|known| Some(*known) == route).unwrap_or(ROUTES.len());
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        if let Some(count) = self.requests.get(index).and_then(|counts| counts.get(class)) {
            count.fetch_add(1, Relaxed);
        }
        self.seconds.add(time);
    }
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // A string takes everything.
        let _ = writeln!(self.0, "# HELP symbolon_{name} {help}\n# TYPE symbolon_{name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "symbolon_{name}{labels} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "counter", help);
        self.value(name, "", value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.value(name, "", value);
    }

    fn histogram(&mut self, name: &str, help: &str, counts: &Counts) {
        self.head(name, "histogram", help);
        for us in BOUNDS {
            let label = format!("{{le=\"{}\"}}", us as f64 / 1e6);
            self.value(&format!("{name}_bucket"), &label, counts.within(Duration::from_micros(us)));
        }
        self.value(&format!("{name}_bucket"), "{le=\"+Inf\"}", counts.total());
        self.value(&format!("{name}_sum"), "", counts.sum().as_secs_f64());
        self.value(&format!("{name}_count"), "", counts.total());
    }
}

/// The page.
pub(super) fn page(app: &App) -> String {
    let mut page = Page(String::with_capacity(16 << 10));
    let parts = &app.parts;
    page.head("build_info", "gauge", "What runs.");
    page.value("build_info", concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1);

    let http = &app.http;
    page.gauge("uptime_seconds", "Since the server began.", http.started.elapsed().as_secs_f64());
    page.gauge("http_connections", "Open connections.", http.connections.load(Relaxed));
    page.head("http_requests_total", "counter", "Requests answered, by route and class of status.");
    for (route, counts) in ROUTES.iter().chain([&OTHER]).zip(&http.requests) {
        for (class, count) in counts.iter().enumerate() {
            let count = count.load(Relaxed);
            if count != 0 {
                let labels = format!("{{route=\"{route}\",status=\"{}xx\"}}", class + 1);
                page.value("http_requests_total", &labels, count);
            }
        }
    }
    let help = "From a request's head until its response's; of a batch until its first result.";
    page.histogram("http_request_seconds", help, &http.seconds.read());
    page.counter("http_batch_items_total", "Items of batches.", http.items.load(Relaxed));
    let used = app.bodies.used.load(Relaxed);
    page.gauge("http_body_bytes", "Bodies of requests in memory.", used);

    let decider = &parts.decider;
    let (depth, room) = decider.depth();
    page.head("queue_depth", "gauge", "Attempts that wait for a batch.");
    for (name, depth) in ["high", "normal", "bulk"].iter().zip(depth) {
        page.value("queue_depth", &format!("{{priority=\"{name}\"}}"), depth);
    }
    page.gauge("queue_capacity", "Attempts that may wait, of each priority.", room);
    let counters = decider.counters();
    let load = |counter: &AtomicU64| counter.load(Relaxed);
    page.counter("attempts_accepted_total", "Attempts taken in.", load(&counters.accepted));
    page.counter(
        "attempts_busy_total",
        "Attempts not taken in: too many waited.",
        load(&counters.busy),
    );
    page.counter(
        "attempts_expired_total",
        "Attempts whose deadline passed.",
        load(&counters.expired),
    );
    page.counter(
        "attempts_failed_total",
        "Attempts that could not be decided.",
        load(&counters.failed),
    );
    page.counter("batches_total", "Batches decided.", load(&counters.batches));
    page.counter("batch_attempts_total", "Attempts in them.", load(&counters.filled));
    page.counter("panics_total", "Panics while deciding.", load(&counters.panics));
    let waited = counters.waited.read();
    page.histogram("attempt_wait_seconds", "Until a worker takes an attempt.", &waited);
    let answered = counters.answered.read();
    page.histogram("attempt_seconds", "Until the disk has the decision.", &answered);
    let (pace, breaker) = (decider.pace(), decider.breaker());
    let wait = pace.wait().as_secs_f64();
    page.gauge("batch_wait_seconds", "How long an attempt waits for others.", wait);
    page.gauge("batch_enough", "Attempts that are enough for a batch.", pace.size());
    let identity = parts.sessions.as_ref().map(|sessions| ("identity", sessions.stage().0));
    let breakers: Vec<_> = [("decision", breaker)].into_iter().chain(identity).collect();
    page.head("breaker_state", "gauge", "A stage's breaker: 1 for the state that it is in.");
    for (stage, breaker) in &breakers {
        let state = breaker.state();
        for (name, is) in
            [("closed", State::Closed), ("open", State::Open), ("half_open", State::HalfOpen)]
        {
            let label = format!("{{stage=\"{stage}\",state=\"{name}\"}}");
            page.value("breaker_state", &label, u8::from(is == state));
        }
    }
    page.head("breaker_opened_total", "counter", "Times that it has opened.");
    for (stage, breaker) in &breakers {
        page.value("breaker_opened_total", &format!("{{stage=\"{stage}\"}}"), breaker.opened());
    }

    let rotations = decider.rotations();
    page.gauge("bfv_epoch", "Number of the BFV key in use.", decider.epoch());
    page.counter("bfv_rotations_total", "BFV keys after the first.", rotations.rotated);
    page.counter(
        "bfv_rotations_on_demand_total",
        "BFV keys that were not ready when they were needed.",
        rotations.on_demand,
    );
    page.counter(
        "bfv_rotations_failed_total",
        "Times that no BFV key could be made.",
        rotations.failed,
    );
    let degraded = u8::from(decider.degraded().is_some());
    page.gauge("bfv_memory_degraded", "1 where keys' memory is not protected.", degraded);
    page.counter("batches_refused_total", "Batches the custodian refused.", decider.refused());

    let signing = parts.signer.metrics();
    page.counter("signed_batches_total", "Batches signed.", signing.batches);
    page.counter("signed_windows_total", "Windows signed.", signing.windows);
    page.counter("log_commits_total", "Commits of the receipt log.", signing.commits);
    let seconds = signing.signing_us / 1e6;
    page.counter("signing_cpu_seconds_total", "Processor's time for signing.", seconds);
    let durable = signing.durable_us.mean / 1e6;
    page.gauge("log_durable_seconds_mean", "Until the disk has a batch, on average.", durable);
    let signed = signing.signed_us.mean / 1e6;
    page.gauge("log_signed_seconds_mean", "Until it has its signature, on average.", signed);
    let failed = u8::from(parts.signer.failure().is_some());
    page.gauge("log_failed", "1 where log or signing has failed.", failed);

    let registered = parts.registrar.counters();
    page.gauge("people", "People enrolled.", parts.roster.len());
    page.counter("enrolled_total", "People enrolled here.", load(&registered.enrolled));
    page.counter("removed_total", "People removed here.", load(&registered.removed));
    page.counter("store_commits_total", "Commits of the store.", load(&registered.commits));
    page.counter(
        "store_failed_total",
        "Commits of the store that failed.",
        load(&registered.failed),
    );
    let attempts = parts.attempts.counters();
    page.counter(
        "identity_lockouts_total",
        "Rejections that emptied an identity's budget: an alarm.",
        load(&attempts.lockouts),
    );
    page.counter(
        "identity_locked_total",
        "Attempts refused while an identity was locked.",
        load(&attempts.locked),
    );
    if let Some(sessions) = &parts.sessions {
        devices(&mut page, sessions);
    }
    let (entries, bytes) = parts.idempotency.held();
    page.gauge("idempotency_entries", "Requests remembered.", entries);
    page.gauge("idempotency_bytes", "Bytes of their responses.", bytes);
    if let Some(bytes) = resident() {
        page.gauge("process_resident_bytes", "Memory of the process.", bytes);
    }
    page.0
}

/// Of devices, their sessions and their proofs.
fn devices(page: &mut Page, sessions: &Sessions) {
    let server = sessions.server();
    let counts = server.counts();
    page.gauge("sessions", "Sessions that hold.", server.sessions());
    page.gauge("handshakes", "Handshakes under way.", sessions.handshakes());
    page.counter("sessions_opened_total", "Sessions made.", counts.opened);
    page.counter("handshakes_refused_total", "Handshakes refused.", counts.refused);
    page.counter("sessions_resumed_total", "Sessions resumed.", sessions.resumed());
    let help = "Resumes whose ticket had been used: replays, thefts, answers that were lost.";
    page.counter("sessions_spent_total", help, counts.spent);
    let help = "Resumes refused for other reasons.";
    page.counter("sessions_not_resumed_total", help, counts.not_resumed);
    let (_, panics) = sessions.stage();
    page.counter("identity_panics_total", "Panics while judging identities.", panics);

    let proofs = sessions.gate().counts();
    page.counter("proofs_accepted_total", "Proofs accepted for the first time.", proofs.accepted);
    page.counter("proofs_again_total", "Proofs verified again.", proofs.again);
    page.counter("proofs_refused_total", "Proofs refused.", proofs.refused);
    page.gauge("identity_epoch", "The registry's epoch.", sessions.registry().current_epoch());

    let cache = sessions.gate().cache();
    page.counter("verdict_hits_total", "Verdicts found.", cache.stats.hits);
    page.counter("verdict_misses_total", "Verdicts not found.", cache.stats.misses);

    let supply = sessions.supply().status();
    page.gauge("session_keys", "ML-KEM keys that are ready.", supply.level);
    page.counter("session_keys_missed_total", "Times that none was.", supply.misses);
}

/// Where the system says.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
