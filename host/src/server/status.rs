//! A server's numbers, read in one place for whoever shows them: `/v1/status`, `/metrics`, the dashboard. Nothing in
//! them names a person or a key.

use super::App;
use super::sessions::Sessions;
use crate::batching::breaker::State;
use crate::batching::histogram::Counts;
use crate::cache::Snapshot;
use crate::{batching, pools};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use symbolon_platform::clock;
use tokio::time::{MissedTickBehavior, interval};
use utoipa::ToSchema;

/// How often rates are measured.
const PERIOD: Duration = Duration::from_secs(1);
/// Percentiles and fill are over so many periods.
const RECENT: usize = 10;
/// The history is of so many.
const HISTORY: usize = 60;

/// How a server is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Seconds since it began.
    pub uptime_s: f64,
    /// What keeps it from serving, if something does.
    pub unready: Option<String>,
    /// Of the last seconds.
    pub recent: Recent,
    /// Attempts to authenticate.
    pub attempts: Attempts,
    /// Attempts that wait for a batch.
    pub queue: Queue,
    /// Batches.
    pub batches: Batches,
    /// The breaker of batches: open, it has attempts decided one by one.
    pub breaker: Breaker,
    /// The breaker of attestation: open, it has attempts refused.
    pub attestation: Breaker,
    /// The keys that probes are encrypted under.
    pub keys: Keys,
    /// The receipt log.
    pub log: Log,
    /// Who is enrolled.
    pub people: People,
    /// Identities that were tried in vain too often.
    pub lockouts: Lockouts,
    /// Devices that prove to be enrolled; absent where there is no registry.
    pub devices: Option<Devices>,
    /// The HTTP interface.
    pub http: Http,
    /// Bytes of memory that the process has, where the system says.
    pub resident_bytes: Option<u64>,
}

/// What was measured once a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Recent {
    /// Seconds that the figures below are of: ten, or fewer at first.
    pub seconds: f64,
    /// Decisions a second.
    pub decisions_per_s: f64,
    /// Milliseconds until the disk has a decision, of half of them at most; up to an eighth too long. Absent where
    /// nothing was decided.
    pub p50_ms: Option<f64>,
    /// The same of 99 in 100.
    pub p99_ms: Option<f64>,
    /// Attempts a batch. Absent where there was none.
    pub per_batch: Option<f64>,
    /// Decisions a second in each of the last 60 seconds, or fewer at first; oldest first.
    pub history: Vec<f64>,
}

/// Attempts since the server began.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Attempts {
    /// Taken in.
    pub taken_in: u64,
    /// Decided: accepted or rejected.
    pub decided: u64,
    /// Not taken in: too many waited.
    pub busy: u64,
    /// Whose deadline passed while they waited.
    pub expired: u64,
    /// That could not be decided.
    pub failed: u64,
}

/// Attempts that wait, by priority.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Queue {
    /// For the next batch.
    pub high: usize,
    /// The usual ones.
    pub normal: usize,
    /// For where there is room.
    pub bulk: usize,
    /// How many may wait, of each.
    pub capacity: usize,
}

/// Batches since the server began, and when the next one leaves.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Batches {
    /// Decided.
    pub decided: u64,
    /// Refused by the custodian.
    pub refused: u64,
    /// Panics while deciding.
    pub panics: u64,
    /// How long an attempt waits for others, in microseconds.
    pub wait_us: f64,
    /// Attempts that are enough for a batch.
    pub enough: u32,
    /// The most of a batch.
    pub lanes: usize,
}

/// The state of a stage's breaker: of batches, of attestation, of the work on identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// The stage works.
    Closed,
    /// It failed several times in a row, and is spared for a while: see whose breaker it is.
    Open,
    /// One piece of work is tried.
    HalfOpen,
}

impl BreakerState {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// As documents have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl From<State> for BreakerState {
    fn from(state: State) -> Self {
        match state {
            State::Closed => Self::Closed,
            State::Open => Self::Open,
            State::HalfOpen => Self::HalfOpen,
        }
    }
}

/// A stage's breaker.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Breaker {
    /// Its state.
    pub state: BreakerState,
    /// Times that it has opened.
    pub opened: u64,
}

impl From<&batching::Breaker> for Breaker {
    fn from(breaker: &batching::Breaker) -> Self {
        Self { state: breaker.state().into(), opened: breaker.opened() }
    }
}

/// BFV keys.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Keys {
    /// Number of the one in use.
    pub epoch: u32,
    /// Keys after the first.
    pub rotated: u64,
    /// Of these, not ready when they were needed.
    pub on_demand: u64,
    /// Times that none could be made.
    pub failed: u64,
    /// Whether their memory lacks a protection.
    pub degraded: bool,
    /// The pool of the next ones; absent where the deployment's own key is in use.
    pub pool: Option<Pool>,
}

/// A pool of keys made ahead.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Pool {
    /// Which kind.
    pub kind: String,
    /// Keys that are ready.
    pub ready: u32,
    /// Below so many, refilling is urgent.
    pub low: u32,
    /// The most.
    pub capacity: u32,
    /// Share of the keys asked for in the last minute that were ready; 1 where none was.
    pub hit_rate: f64,
    /// Keys made, a second, in the last minute.
    pub made_per_s: f64,
    /// Keys handed out, a second, in the last minute.
    pub used_per_s: f64,
}

impl From<pools::Status> for Pool {
    fn from(pool: pools::Status) -> Self {
        Self {
            kind: pool.kind.into(),
            ready: pool.level,
            low: pool.low,
            capacity: pool.capacity,
            hit_rate: pool.hit_rate,
            made_per_s: pool.made_per_s,
            used_per_s: pool.used_per_s,
        }
    }
}

/// The receipt log since the server began.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Log {
    /// Seconds for which the signing keys in use may still sign: then the server ends, and takes the next if it is
    /// started anew.
    #[serde(default)]
    pub keys_valid_s: u64,
    /// Batches signed.
    pub signed_batches: u64,
    /// Windows signed.
    pub signed_windows: u64,
    /// Commits.
    pub commits: u64,
    /// Seconds for signing, of all threads, waiting for a core included.
    pub signing_s: f64,
    /// Milliseconds until the disk has a batch, on average.
    pub durable_ms: f64,
    /// Milliseconds until it has its signature, on average.
    pub signed_ms: f64,
    /// Whether log or signing has failed.
    pub failed: bool,
}

/// People.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct People {
    /// Enrolled at present.
    pub enrolled: usize,
    /// Enrolled since the server began.
    pub added: u64,
    /// Removed since.
    pub removed: u64,
    /// Commits of the store.
    pub commits: u64,
    /// Commits that failed.
    pub failed: u64,
}

/// Lockouts since the server began.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Lockouts {
    /// Rejections that emptied an identity's budget: an alarm.
    pub lockouts: u64,
    /// Attempts refused while an identity was locked.
    pub refused: u64,
    /// Times that budgets could not be written.
    pub failed: u64,
}

/// Devices, their sessions and their proofs; counts since the server began.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Devices {
    /// Sessions that hold.
    pub sessions: usize,
    /// Handshakes under way.
    pub handshakes: usize,
    /// Sessions made.
    pub opened: u64,
    /// Handshakes refused.
    pub refused: u64,
    /// Sessions resumed.
    pub resumed: u64,
    /// Resumes whose ticket had been used: replays, thefts, answers that were lost.
    pub spent: u64,
    /// Resumes refused for other reasons.
    pub not_resumed: u64,
    /// The registry's epoch.
    pub epoch: u32,
    /// Proofs.
    pub proofs: Proofs,
    /// The cache of verdicts on them.
    pub verdicts: Verdicts,
    /// The breaker of the work on identities: open, it has one done at a time.
    pub breaker: Breaker,
    /// Panics of it.
    pub panics: u64,
    /// ML-KEM keys for handshakes.
    pub keys: Pool,
}

/// Proofs since the server began.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Proofs {
    /// Accepted for the first time.
    pub accepted: u64,
    /// Verified again: their verdicts were gone.
    pub again: u64,
    /// Refused.
    pub refused: u64,
}

/// The cache of verdicts since the server began.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Verdicts {
    /// The most that are kept.
    pub capacity: usize,
    /// Found.
    pub hits: u64,
    /// Not found.
    pub misses: u64,
    /// Share of those found; absent before the first look-up.
    pub hit_rate: Option<f64>,
    /// That made room for others.
    pub evictions: u64,
    /// Half of the look-ups took no longer, in nanoseconds; one in 1,024 is timed. Absent before the first.
    pub p50_ns: Option<u32>,
    /// 99 of 100 took no longer.
    pub p99_ns: Option<u32>,
    /// What the look-ups look like.
    pub findings: Findings,
}

/// What was noticed of the look-ups of verdicts; from a sample of one in 64.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Findings {
    /// Share of hits lately.
    pub hit_rate: f64,
    /// The usual one.
    pub usual_hit_rate: f64,
    /// The hit rate has moved away from what was usual.
    pub drifts: bool,
    /// Many more proofs than usual were never seen.
    pub scan: bool,
    /// Shares of the proofs that are asked for unusually often, the largest first.
    pub hot_shares: Vec<f64>,
}

/// The HTTP interface.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Http {
    /// Open connections.
    pub connections: i64,
    /// Items of batches since the server began.
    pub batch_items: u64,
    /// Bytes of requests' bodies in memory.
    pub body_bytes: usize,
    /// Requests whose responses are remembered.
    pub idempotency_entries: usize,
    /// Bytes of these responses.
    pub idempotency_bytes: usize,
    /// Requests forgotten before their time, for want of memory.
    #[serde(default)]
    pub idempotency_evicted: u64,
}

impl Status {
    /// Now. Read without stopping anybody: numbers are of slightly different moments.
    pub(super) fn read(app: &App) -> Self {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        let parts = &app.parts;
        let decider = &parts.decider;
        let (counters, pace) = (decider.counters(), decider.pace());
        let ([high, normal, bulk], capacity) = decider.depth();
        let rotations = decider.rotations();
        let signing = parts.signer.metrics();
        let registered = parts.registrar.counters();
        let vain = parts.attempts.counters();
        let (idempotency_entries, idempotency_bytes, idempotency_evicted) =
            parts.idempotency.held();
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_s: app.http.started.elapsed().as_secs_f64(),
            unready: app.unready(),
            recent: Recent::clone(&app.recent.load()),
            attempts: Attempts {
                taken_in: load(&counters.accepted),
                decided: load(&counters.filled),
                busy: load(&counters.busy),
                expired: load(&counters.expired),
                failed: load(&counters.failed),
            },
            queue: Queue { high, normal, bulk, capacity },
            batches: Batches {
                decided: load(&counters.batches),
                refused: decider.refused(),
                panics: load(&counters.panics),
                wait_us: pace.wait().as_secs_f64() * 1e6,
                enough: pace.size(),
                lanes: parts.layout.users(),
            },
            breaker: decider.breaker().into(),
            attestation: decider.attestation().into(),
            keys: Keys {
                epoch: decider.epoch(),
                rotated: rotations.rotated,
                on_demand: rotations.on_demand,
                failed: rotations.failed,
                degraded: decider.degraded().is_some(),
                pool: decider.pool().map(Pool::from),
            },
            log: Log {
                keys_valid_s: parts.signing_until_ms.saturating_sub(clock::unix_ms()) / 1000,
                signed_batches: signing.batches,
                signed_windows: signing.windows,
                commits: signing.commits,
                signing_s: signing.signing_us / 1e6,
                durable_ms: signing.durable_us.mean / 1e3,
                signed_ms: signing.signed_us.mean / 1e3,
                failed: parts.signer.failure().is_some(),
            },
            people: People {
                enrolled: parts.roster.len(),
                added: load(&registered.enrolled),
                removed: load(&registered.removed),
                commits: load(&registered.commits),
                failed: load(&registered.failed),
            },
            lockouts: Lockouts {
                lockouts: load(&vain.lockouts),
                refused: load(&vain.locked),
                failed: load(&vain.failed),
            },
            devices: parts.sessions.as_deref().map(Devices::read),
            http: Http {
                connections: app.http.connections.load(Relaxed),
                batch_items: load(&app.http.items),
                body_bytes: app.bodies.used.load(Relaxed),
                idempotency_entries,
                idempotency_bytes,
                idempotency_evicted,
            },
            resident_bytes: resident(),
        }
    }
}

impl Devices {
    fn read(sessions: &Sessions) -> Self {
        let server = sessions.server();
        let (counts, proofs) = (server.counts(), sessions.gate().counts());
        let (breaker, panics) = sessions.stage();
        let Snapshot { stats, capacity, p50_ns, p99_ns, findings } = sessions.gate().cache();
        let asked = stats.hits + stats.misses;
        Self {
            sessions: server.sessions(),
            handshakes: sessions.handshakes(),
            opened: counts.opened,
            refused: counts.refused,
            resumed: sessions.resumed(),
            spent: counts.spent,
            not_resumed: counts.not_resumed,
            epoch: sessions.registry().current_epoch(),
            proofs: Proofs {
                accepted: proofs.accepted,
                again: proofs.again,
                refused: proofs.refused,
            },
            verdicts: Verdicts {
                capacity,
                hits: stats.hits,
                misses: stats.misses,
                hit_rate: (asked != 0).then(|| stats.hits as f64 / asked as f64),
                evictions: stats.evictions,
                p50_ns,
                p99_ns,
                findings: Findings {
                    hit_rate: findings.hit_rate,
                    usual_hit_rate: findings.usual_hit_rate,
                    drifts: findings.drifts,
                    scan: findings.scan,
                    hot_shares: findings.hot.iter().map(|hot| hot.share).collect(),
                },
            },
            breaker: breaker.into(),
            panics,
            keys: sessions.supply().status().into(),
        }
    }
}

/// Where the system says.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What was counted until a moment.
struct Sample {
    at: Instant,
    decided: u64,
    batches: u64,
    answered: Counts,
}

/// Samples of the last [`RECENT`] periods and the rates between those of [`HISTORY`], oldest first.
#[derive(Default)]
struct Window {
    samples: VecDeque<Sample>,
    rates: VecDeque<f64>,
}

impl Window {
    /// What is to be shown from now on.
    fn add(&mut self, now: Sample) -> Recent {
        let Some(last) = self.samples.back() else {
            self.samples.push_back(now);
            return Recent::default();
        };
        let rate = |before: &Sample| {
            let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
            (now.decided.saturating_sub(before.decided) as f64 / seconds.max(1e-3), seconds)
        };
        self.rates.push_back(tenths(rate(last).0));
        if self.rates.len() > HISTORY {
            self.rates.pop_front();
        }
        // Not empty: there is a last one.
        let first = self.samples.front().unwrap_or(last);
        let (per_s, seconds) = rate(first);
        let seen = now.answered.since(&first.answered);
        let percentile = |part| {
            let time = seen.percentile(part).as_secs_f64() * 1e3;
            (seen.total() > 0).then_some((time * 1e3).round() / 1e3)
        };
        let batches = now.batches.saturating_sub(first.batches);
        let filled = now.decided.saturating_sub(first.decided);
        let recent = Recent {
            seconds: tenths(seconds),
            decisions_per_s: tenths(per_s),
            p50_ms: percentile(0.5),
            p99_ms: percentile(0.99),
            per_batch: (batches > 0).then(|| tenths(filled as f64 / batches as f64)),
            history: self.rates.iter().copied().collect(),
        };
        self.samples.push_back(now);
        if self.samples.len() > RECENT {
            self.samples.pop_front();
        }
        recent
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Measures, for as long as the server serves.
pub(super) async fn measure(app: Arc<App>) {
    let mut window = Window::default();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let counters = app.parts.decider.counters();
        let recent = window.add(Sample {
            at: Instant::now(),
            decided: counters.filled.load(Relaxed),
            batches: counters.batches.load(Relaxed),
            answered: counters.answered.read(),
        });
        app.recent.store(Arc::new(recent));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batching::histogram::Histogram;

    #[test]
    fn figures_are_of_the_last_seconds_only() {
        let (start, times) = (Instant::now(), Histogram::default());
        let (mut window, mut decided, mut batches) = (Window::default(), 0, 0);
        // In each second so many decisions, of so many milliseconds, in batches of 10.
        let mut second = |at: u64, count: u64, ms: u64| {
            (decided, batches) = (decided + count, batches + count / 10);
            (0..count).for_each(|_| times.add([Duration::from_millis(ms)]));
            let at = start + Duration::from_secs(at);
            window.add(Sample { at, decided, batches, answered: times.read() })
        };
        assert_eq!(second(0, 500, 900), Recent::default());
        let idle = second(1, 0, 0);
        assert_eq!((idle.decisions_per_s, idle.p50_ms, idle.per_batch), (0.0, None, None));
        let slow = second(2, 40, 80);
        assert_eq!((slow.seconds, slow.decisions_per_s, slow.per_batch), (2.0, 20.0, Some(10.0)));
        assert_eq!(slow.history, [0.0, 40.0]);
        let p50 = slow.p50_ms.unwrap();
        assert!((80.0..=90.0).contains(&p50), "{p50}");
        for at in 3..12 {
            second(at, 100, 2);
        }
        // The slow second is ten seconds ago, and counts no more.
        let fast = second(12, 100, 2);
        assert_eq!((fast.seconds, fast.decisions_per_s), (10.0, 100.0));
        let (p50, p99) = (fast.p50_ms.unwrap(), fast.p99_ms.unwrap());
        assert!((2.0..=2.25).contains(&p50) && (2.0..=2.25).contains(&p99), "{p50} {p99}");
        for at in 13..100 {
            second(at, 10, 1);
        }
        let long = second(101, 60, 1);
        assert_eq!(long.history.len(), HISTORY);
        // Two seconds passed here.
        assert_eq!(long.history[HISTORY - 2..], [10.0, 30.0]);
    }

    #[test]
    fn names_are_what_documents_have() {
        for state in BreakerState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }
}
