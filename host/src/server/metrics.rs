//! Numbers for Prometheus, in its text format. Nothing in them names a person or a key.

use super::App;
use super::status::{BreakerState, Status};
use crate::batching::histogram::{Counts, Histogram};
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The media type.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The addresses that are counted apart.
const ROUTES: [&str; 15] = [
    "/",
    "/v1/authentications",
    "/v1/authentications:batch",
    "/v1/enrolments",
    "/v1/enrolments/{id}",
    "/v1/receipts",
    "/v1/receipts/{request}",
    "/v1/receipts/{request}/verify",
    "/v1/keys",
    "/v1/status",
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
    pub(super) started: Instant,
    pub(super) connections: AtomicI64,
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
    let now = Status::read(app);
    page.head("build_info", "gauge", "What runs.");
    page.value("build_info", &format!("{{version=\"{}\"}}", now.version), 1);

    page.gauge("uptime_seconds", "Since the server began.", now.uptime_s);
    page.gauge("http_connections", "Open connections.", now.http.connections);
    page.head("http_requests_total", "counter", "Requests answered, by route and class of status.");
    for (route, counts) in ROUTES.iter().chain([&OTHER]).zip(&app.http.requests) {
        for (class, count) in counts.iter().enumerate() {
            let count = count.load(Relaxed);
            if count != 0 {
                let labels = format!("{{route=\"{route}\",status=\"{}xx\"}}", class + 1);
                page.value("http_requests_total", &labels, count);
            }
        }
    }
    let help = "From a request's head until its response's; of a batch until its first result.";
    page.histogram("http_request_seconds", help, &app.http.seconds.read());
    page.counter("http_batch_items_total", "Items of batches.", now.http.batch_items);
    page.gauge("http_body_bytes", "Bodies of requests in memory.", now.http.body_bytes);

    let queue = &now.queue;
    page.head("queue_depth", "gauge", "Attempts that wait for a batch.");
    for (name, depth) in [("high", queue.high), ("normal", queue.normal), ("bulk", queue.bulk)] {
        page.value("queue_depth", &format!("{{priority=\"{name}\"}}"), depth);
    }
    page.gauge("queue_capacity", "Attempts that may wait, of each priority.", queue.capacity);
    let attempts = &now.attempts;
    page.counter("attempts_accepted_total", "Attempts taken in.", attempts.taken_in);
    page.counter("attempts_busy_total", "Attempts not taken in: too many waited.", attempts.busy);
    page.counter("attempts_expired_total", "Attempts whose deadline passed.", attempts.expired);
    page.counter("attempts_failed_total", "Attempts that could not be decided.", attempts.failed);
    page.counter("batches_total", "Batches decided.", now.batches.decided);
    page.counter("batch_attempts_total", "Attempts in them.", attempts.decided);
    page.counter("panics_total", "Panics while deciding.", now.batches.panics);
    let counters = app.parts.decider.counters();
    let waited = counters.waited.read();
    page.histogram("attempt_wait_seconds", "Until a worker takes an attempt.", &waited);
    let answered = counters.answered.read();
    page.histogram("attempt_seconds", "Until the disk has the decision.", &answered);
    let wait = now.batches.wait_us / 1e6;
    page.gauge("batch_wait_seconds", "How long an attempt waits for others.", wait);
    page.gauge("batch_enough", "Attempts that are enough for a batch.", now.batches.enough);
    page.head("breaker_state", "gauge", "The breaker of batches: 1 for the state that it is in.");
    for state in BreakerState::ALL {
        let label = format!("{{state=\"{}\"}}", state.name());
        page.value("breaker_state", &label, u8::from(state == now.breaker.state));
    }
    page.counter("breaker_opened_total", "Times that it has opened.", now.breaker.opened);

    let keys = &now.keys;
    page.gauge("bfv_epoch", "Number of the BFV key in use.", keys.epoch);
    page.counter("bfv_rotations_total", "BFV keys after the first.", keys.rotated);
    page.counter(
        "bfv_rotations_on_demand_total",
        "BFV keys that were not ready when they were needed.",
        keys.on_demand,
    );
    page.counter("bfv_rotations_failed_total", "Times that no BFV key could be made.", keys.failed);
    let degraded = u8::from(keys.degraded);
    page.gauge("bfv_memory_degraded", "1 where keys' memory is not protected.", degraded);
    if let Some(pool) = &keys.pool {
        page.gauge("bfv_pool_ready", "BFV keys made ahead.", pool.ready);
        page.gauge("bfv_pool_capacity", "The most of them.", pool.capacity);
    }
    let refused = now.batches.refused;
    page.counter("batches_refused_total", "Batches the custodian refused.", refused);

    let log = &now.log;
    page.counter("signed_batches_total", "Batches signed.", log.signed_batches);
    page.counter("signed_windows_total", "Windows signed.", log.signed_windows);
    page.counter("log_commits_total", "Commits of the receipt log.", log.commits);
    page.counter("signing_cpu_seconds_total", "Processor's time for signing.", log.signing_s);
    let durable = log.durable_ms / 1e3;
    page.gauge("log_durable_seconds_mean", "Until the disk has a batch, on average.", durable);
    let signed = log.signed_ms / 1e3;
    page.gauge("log_signed_seconds_mean", "Until it has its signature, on average.", signed);
    page.gauge("log_failed", "1 where log or signing has failed.", u8::from(log.failed));

    let people = &now.people;
    page.gauge("people", "People enrolled.", people.enrolled);
    page.counter("enrolled_total", "People enrolled here.", people.added);
    page.counter("removed_total", "People removed here.", people.removed);
    page.counter("store_commits_total", "Commits of the store.", people.commits);
    page.counter("store_failed_total", "Commits of the store that failed.", people.failed);
    page.counter(
        "identity_lockouts_total",
        "Rejections that emptied an identity's budget: an alarm.",
        now.lockouts.lockouts,
    );
    page.counter(
        "identity_locked_total",
        "Attempts refused while an identity was locked.",
        now.lockouts.refused,
    );
    page.gauge("idempotency_entries", "Requests remembered.", now.http.idempotency_entries);
    page.gauge("idempotency_bytes", "Bytes of their responses.", now.http.idempotency_bytes);
    if let Some(bytes) = now.resident_bytes {
        page.gauge("process_resident_bytes", "Memory of the process.", bytes);
    }
    page.0
}
