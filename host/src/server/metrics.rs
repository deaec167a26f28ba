//! Numbers for Prometheus, in its text format. Nothing in them names a person or a key.

use super::status::{Breaker, BreakerState, Devices, Status};
use super::{App, problem};
use crate::batching::histogram::{Counts, Histogram};
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The media type.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The addresses that are counted apart.
const ROUTES: [&str; 23] = [
    "/",
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
/// The same of a batch's stages.
const STAGE_BOUNDS: [u64; 12] =
    [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 100_000];

/// What was counted of requests.
pub struct Http {
    pub(super) started: Instant,
    pub(super) connections: AtomicI64,
    /// Connections closed because there were too many from their address.
    pub(super) refused: AtomicU64,
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
            refused: 0.into(),
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
        self.count(route, status);
        self.seconds.add([time]);
    }

    /// One whose client has gone before it was answered: as 499, which others have for it.
    pub(super) fn gone(&self, route: Option<&str>) {
        self.count(route, 499);
    }

    fn count(&self, route: Option<&str>, status: u16) {
        let index = ROUTES.iter().position(|known| Some(*known) == route).unwrap_or(ROUTES.len());
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        if let Some(count) = self.requests.get(index).and_then(|counts| counts.get(class)) {
            count.fetch_add(1, Relaxed);
        }
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
        self.counts(name, "", &BOUNDS, counts);
    }

    /// A histogram's lines; `label` is empty or ends with a comma.
    fn counts(&mut self, name: &str, label: &str, bounds: &[u64], counts: &Counts) {
        let (bucket, total) = (format!("{name}_bucket"), counts.total());
        for &us in bounds {
            let labels = format!("{{{label}le=\"{}\"}}", us as f64 / 1e6);
            self.value(&bucket, &labels, counts.within(Duration::from_micros(us)));
        }
        self.value(&bucket, &format!("{{{label}le=\"+Inf\"}}"), total);
        let labels = match label.trim_end_matches(',') {
            "" => String::new(),
            label => format!("{{{label}}}"),
        };
        self.value(&format!("{name}_sum"), &labels, counts.sum().as_secs_f64());
        self.value(&format!("{name}_count"), &labels, total);
    }

    /// Of times in nanoseconds; what has seen none has no number.
    fn quantiles(&mut self, name: &str, help: &str, quantiles: &[(&str, Option<u32>)]) {
        self.head(name, "summary", help);
        for (quantile, ns) in quantiles {
            let seconds = ns.map_or(f64::NAN, |ns| f64::from(ns) / 1e9);
            self.value(name, &format!("{{quantile=\"{quantile}\"}}"), seconds);
        }
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
    let help = "Connections closed because there were too many from their address.";
    page.counter("http_connections_refused_total", help, app.http.refused.load(Relaxed));
    let help =
        "Requests, by route and class of status; 4xx where a client has gone before the answer.";
    page.head("http_requests_total", "counter", help);
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
    page.head("batch_stage_seconds", "histogram", "What a stage of a batch took.");
    for (stage, times) in app.parts.decider.stages().all() {
        let label = format!("stage=\"{stage}\",");
        page.counts("batch_stage_seconds", &label, &STAGE_BOUNDS, &times.read());
    }
    let wait = now.batches.wait_us / 1e6;
    page.gauge("batch_wait_seconds", "How long an attempt waits for others.", wait);
    page.gauge("batch_enough", "Attempts that are enough for a batch.", now.batches.enough);
    let identity = now.devices.as_ref().map(|devices| ("identity", &devices.breaker));
    let breakers: Vec<(&str, &Breaker)> =
        [("decision", &now.breaker), ("attestation", &now.attestation)]
            .into_iter()
            .chain(identity)
            .collect();
    page.head("breaker_state", "gauge", "A stage's breaker: 1 for the state that it is in.");
    for (stage, breaker) in &breakers {
        for state in BreakerState::ALL {
            let label = format!("{{stage=\"{stage}\",state=\"{}\"}}", state.name());
            page.value("breaker_state", &label, u8::from(state == breaker.state));
        }
    }
    page.head("breaker_opened_total", "counter", "Times that it has opened.");
    for (stage, breaker) in &breakers {
        page.value("breaker_opened_total", &format!("{{stage=\"{stage}\"}}"), breaker.opened);
    }

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
    let valid = "How long the signing keys in use may still sign: then the server ends.";
    page.gauge("signing_keys_valid_seconds", valid, log.keys_valid_s);
    page.counter("signed_batches_total", "Batches signed.", log.signed_batches);
    page.counter("signed_windows_total", "Windows signed.", log.signed_windows);
    page.counter("log_commits_total", "Commits of the receipt log.", log.commits);
    page.counter(
        "signing_seconds_total",
        "Time for signing, of all threads, waiting for a core included.",
        log.signing_s,
    );
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
    page.counter(
        "identity_budgets_failed_total",
        "Times that budgets of attempts could not be written.",
        now.lockouts.failed,
    );
    if let Some(devices) = &now.devices {
        of_devices(&mut page, devices);
    }
    let help = "Requests and items of batches that were answered with a problem, by its code.";
    page.head("problems_total", "counter", help);
    for (code, count) in problem::counts() {
        page.value("problems_total", &format!("{{code=\"{code}\"}}"), count);
    }
    page.gauge("idempotency_entries", "Requests remembered.", now.http.idempotency_entries);
    page.gauge("idempotency_bytes", "Bytes of their responses.", now.http.idempotency_bytes);
    page.counter(
        "idempotency_evicted_total",
        "Requests forgotten before their time, for want of memory.",
        now.http.idempotency_evicted,
    );
    if let Some(bytes) = now.resident_bytes {
        page.gauge("process_resident_bytes", "Memory of the process.", bytes);
    }
    page.0
}

/// Of devices, their sessions and their proofs.
fn of_devices(page: &mut Page, now: &Devices) {
    page.gauge("sessions", "Sessions that hold.", now.sessions);
    page.gauge("handshakes", "Handshakes under way.", now.handshakes);
    page.counter("sessions_opened_total", "Sessions made.", now.opened);
    page.counter("handshakes_refused_total", "Handshakes refused.", now.refused);
    page.counter("sessions_resumed_total", "Sessions resumed.", now.resumed);
    let help = "Resumes whose ticket had been used: replays, thefts, answers that were lost.";
    page.counter("sessions_spent_total", help, now.spent);
    let help = "Resumes refused for other reasons.";
    page.counter("sessions_not_resumed_total", help, now.not_resumed);
    page.counter("identity_panics_total", "Panics while judging identities.", now.panics);
    let proofs = &now.proofs;
    page.counter("proofs_accepted_total", "Proofs accepted for the first time.", proofs.accepted);
    page.counter("proofs_again_total", "Proofs verified again.", proofs.again);
    page.counter("proofs_refused_total", "Proofs refused.", proofs.refused);
    page.gauge("identity_epoch", "The registry's epoch.", now.epoch);
    let verdicts = &now.verdicts;
    page.gauge("verdict_capacity", "Verdicts that are kept at most.", verdicts.capacity);
    page.counter("verdict_hits_total", "Verdicts found.", verdicts.hits);
    page.counter("verdict_misses_total", "Verdicts not found.", verdicts.misses);
    page.counter("verdict_evictions_total", "Verdicts that made room.", verdicts.evictions);
    let quantiles = [("0.5", verdicts.p50_ns), ("0.99", verdicts.p99_ns)];
    let help = "Look-ups of verdicts, of which one in 1,024 is timed.";
    page.quantiles("verdict_lookup_seconds", help, &quantiles);
    let findings = &verdicts.findings;
    page.gauge("verdict_drift", "1 where the hit rate is unusual.", u8::from(findings.drifts));
    page.gauge("verdict_scan", "1 where many new proofs are shown.", u8::from(findings.scan));
    let hottest = findings.hot_shares.first().copied().unwrap_or(0.0);
    page.gauge("verdict_hottest_ratio", "Share of look-ups of the hottest proof.", hottest);
    page.gauge("session_keys", "ML-KEM keys that are ready.", now.keys.ready);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_seconds() {
        let mut page = Page(String::new());
        page.quantiles("x_seconds", "X.", &[("0.5", Some(85)), ("0.99", None)]);
        let lines: Vec<_> = page.0.lines().collect();
        assert_eq!(
            lines[..2],
            ["# HELP symbolon_x_seconds X.", "# TYPE symbolon_x_seconds summary"]
        );
        assert_eq!(lines[2], "symbolon_x_seconds{quantile=\"0.5\"} 0.000000085");
        assert_eq!(lines[3], "symbolon_x_seconds{quantile=\"0.99\"} NaN");
    }
}
