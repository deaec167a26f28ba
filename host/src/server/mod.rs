//! The server: an HTTP interface over the batching service.
//!
//! ```text
//!  socket ─▶ listen: cap, TLS, time limits ─▶ front: API key, rate ─▶ handler: checks, quantises ─▶ batching
//!                                                                                                       │
//!  socket ◀──────────────────────────────────── one bit, the receipt's address ◀── log, on the disk ◀───┘
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | [`listen`] | sockets, TLS, time limits, the end |
//! | `traffic` | whose turn it is on a connection |
//! | [`api`] | what is at which address |
//! | [`problem`] | errors as clients see them |
//! | [`access`] | API keys, roles, rates |
//! | [`idempotency`] | requests that are repeated |
//! | [`roster`] | who is enrolled, in memory and on the disk |
//! | [`attempts`] | how often an identity may be tried in vain |
//! | [`decide`] | from the handlers to the batching service and back |
//! | `duty` | threads that die, which nobody else would notice |
//! | [`errands`] | what waits for a disk, off the threads of the sockets |
//! | [`sessions`] | devices that prove to be enrolled, and what follows |
//! | [`meter`] | budgets that refill |
//! | [`newest`] | the newest decisions |
//! | [`status`] | every number, and the rates of the last seconds |
//! | [`metrics`] | the numbers for Prometheus |
//! | [`traces`] | spans for a collector, in builds with `otlp` |
//!
//! A few threads serve sockets; the service's workers have the cores. An answer is one bit and where its receipt will
//! be; scores never leave the custodian but in lab builds. Embeddings are wiped as soon as they are quantised, and those when
//! they are encrypted; what the HTTP library and the kernel have buffered of a request is not.
//!
//! # When something fails for good
//!
//! The databases take nothing more after the first time that the disk refuses something, be it full for a moment. So the server
//! does not go on half alive: where the receipt log, the signing keys, the store, the budgets of attempts or the registry fail,
//! or a thread dies that changes one of them, decides or answers, `/livez` and `/readyz` say so, and it ends as if told to
//! stop, with the failure's exit code, which is 2. Whoever supervises it starts it anew; all that was answered is there.
//!
//! # Memory
//!
//! All that grows with what clients do is bounded. In bytes, for `n` people of `d` dimensions with padding (128,
//! 256, 512), the server holds at most about
//!
//! ```text
//!   n (2 d + 400)                       roster: template, commitments, id, budget
//! + connections x 160 KiB               sockets, of HTTP/1.1: read buffer, header, task; see below of HTTP/2
//! + body_bytes                          bodies of requests, and 608 bytes for each item of a batch until its line has
//!                                       left, all together: more are refused (429); batches fill three quarters of it
//! + http threads x batch_bytes / 2      a body on each that moves, as it has outgrown its place
//! + 3 queue (2 d + 300)                 attempts that wait, of three priorities
//! + 4096 x 8 KiB                        batches on their way to the disk
//! + 65536 x 300                         batches that wait for a signature
//! + idempotency.bytes + 200 entries     responses to be given again
//! + 36 MiB                              caches of the three databases
//! + sessions (100 + 1.5 KiB)            sessions and, of those in use, their keys
//! + 64 MiB + 82 verdicts                the registry's cache, and that of verdicts
//! + workers x 1 MiB                     working memory of the pipeline, and the keys
//! + 5 x 16 MiB                          files of the receipt log that are looked through, or begun, beside the newest
//! + 2560 x 3 KiB                        spans that wait, or are being sent, where there is a collector
//! ```
//!
//! The sizes are estimates from the types, not measurements;
//! an HTTP/2 connection has up to 64 requests under way, each with a head of up to 16 KiB. With the defaults, 1,000
//! people and HTTP/1.1 that is some 500 MiB at the very most, and 100 more with a registry of identities.

pub mod access;
pub mod api;
pub mod attempts;
pub mod decide;
mod duty;
pub mod errands;
pub mod idempotency;
pub mod listen;
pub mod meter;
pub mod metrics;
pub mod newest;
mod peers;
pub mod problem;
pub mod roster;
pub mod sessions;
pub mod status;
#[cfg(feature = "otlp")]
pub mod traces;
#[cfg(not(feature = "otlp"))]
#[path = "untraced.rs"]
pub mod traces;
mod traffic;

use crate::error::{Error, Kind, Result};
use crate::gateway::Gateway;
use crate::log::Handle;
use crate::random::random;
use crate::signer::{self, Signer};
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The largest body of a request for one person, in bytes.
pub const SINGLE_BYTES: usize = 64 << 10;
/// The most items of a batch.
pub const MAX_ITEMS: usize = 4096;
/// Bytes that an item of a batch takes, beside its body, until its line has left.
pub const ITEM_BYTES: usize = 608;

/// Limits of what clients may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a batch's body.
    pub batch_bytes: usize,
    /// Bytes of all bodies at a time.
    pub body_bytes: usize,
    /// In which a body must have come.
    pub body_time: Duration,
    /// Of attempts that name none.
    pub deadline: Duration,
}

impl Limits {
    /// What batches may fill of so many [`Self::body_bytes`].
    const fn of_batches(body_bytes: usize) -> usize {
        body_bytes / 4 * 3
    }

    /// The least [`Self::body_bytes`] by which the largest batch of so many bytes is taken: an item has two at least.
    #[must_use]
    pub fn least_body_bytes(batch_bytes: usize) -> usize {
        let items = MAX_ITEMS.min(batch_bytes.div_ceil(2)) * ITEM_BYTES;
        batch_bytes.saturating_add(items).div_ceil(3).saturating_mul(4)
    }
}

/// What a server is made of.
pub struct Parts {
    /// The deployment's directory.
    pub dir: PathBuf,
    /// Dimensions of an embedding.
    pub dims: usize,
    /// The last millisecond at which the signing keys sign.
    pub signing_until_ms: u64,
    /// Quantises probes.
    pub gateway: Gateway,
    /// The people's layout.
    pub layout: symbolon_core::matching::Layout,
    /// Who is enrolled.
    pub roster: Arc<roster::Roster>,
    /// Whoever changes that.
    pub registrar: roster::Registrar,
    /// Their budgets.
    pub attempts: Arc<attempts::Attempts>,
    /// The batching service.
    pub decider: Box<dyn decide::Decider>,
    /// Whoever signs.
    pub signer: Arc<Signer>,
    /// The receipt log.
    pub log: Handle,
    /// Who is let in.
    pub access: access::Access,
    /// Responses to be given again.
    pub idempotency: idempotency::Idempotency,
    /// Sessions, where there is a registry of identities.
    pub sessions: Option<Arc<sessions::Sessions>>,
    /// Where spans go, if anywhere. The last are sent when it is dropped, at the end of all.
    pub traces: Option<traces::Traces>,
}

/// A server's state.
pub struct App {
    parts: Parts,
    limits: Limits,
    bodies: Room,
    /// The part of it that batches may fill: single requests are not kept out by them.
    batches: Room,
    /// Told to stop, and serving still.
    leaving: AtomicBool,
    draining: AtomicBool,
    http: metrics::Http,
    /// What was measured last.
    recent: ArcSwap<status::Recent>,
    /// Names of requests: what tells this process from others, and how many there were.
    name: u64,
    named: AtomicU64,
    /// Looking up receipts, paths and keys; and, apart from it, changing the registry: no reader keeps anybody from revoking.
    lookups: errands::Errands,
    changes: errands::Errands,
}

impl App {
    /// Of these parts. Errors: `E-ENTROPY`.
    pub fn new(parts: Parts, limits: Limits) -> Result<Self> {
        let bodies = Room::new(limits.body_bytes);
        Ok(Self {
            parts,
            limits,
            batches: bodies.part(Limits::of_batches(limits.body_bytes)),
            bodies,
            leaving: false.into(),
            draining: false.into(),
            http: metrics::Http::new(),
            recent: ArcSwap::default(),
            name: u64::from_le_bytes(random()?),
            named: 0.into(),
            lookups: errands::Errands::new("receipts, paths and keys are looked up"),
            changes: errands::Errands::new("changes of the registry wait"),
        })
    }

    /// Whether it is being stopped.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Ends all that works behind the handlers, in the order in which they depend on each other: everything that was
    /// taken in is decided, signed and written. Tells what signing took.
    ///
    /// Errors: what failed for good.
    pub fn finish(self) -> Result<signer::Metrics> {
        let Parts { registrar, attempts, decider, signer, sessions, .. } = self.parts;
        if let Some(sessions) = &sessions {
            sessions.finish();
        }
        let drained = decider.drain();
        registrar.finish();
        attempts.finish();
        let signed = signer.finish()?;
        let registry = || sessions.and_then(|sessions| sessions.failure());
        match registrar.failure().or_else(|| attempts.failure()).or_else(registry) {
            Some(error) => Err(error),
            None => drained.map(|()| signed),
        }
    }

    /// What has failed for good, if something has, and how: the server ends.
    pub fn failure(&self) -> Option<(&'static str, Error)> {
        let Parts { registrar, attempts, decider, signer, sessions, .. } = &self.parts;
        let registry = sessions.as_ref().and_then(|sessions| sessions.failure());
        let of = |what, failure: Option<Error>| failure.map(|error| (what, error));
        of("the receipt log or the signing keys", signer.failure())
            .or_else(|| of("the template store", registrar.failure()))
            .or_else(|| of("the budgets of attempts", attempts.failure()))
            .or_else(|| of("the registry of identities", registry))
            .or_else(|| of("batching", decider.failure()))
    }

    /// What keeps it from serving, if something does.
    pub fn unready(&self) -> Option<String> {
        match self.failure() {
            Some((what, _)) => Some(format!("failed: {what}")),
            None => {
                let stops = self.leaving.load(Ordering::Relaxed) || self.is_draining();
                stops.then(|| "it is being stopped".into())
            }
        }
    }
}

/// Bytes that bodies may take.
struct Room {
    used: Arc<AtomicUsize>,
    limit: usize,
}

/// A part of it; given back when it is dropped.
#[derive(Debug)]
struct Share {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    fn new(limit: usize) -> Self {
        Self { used: Arc::default(), limit }
    }

    /// The same, of which no more than so many bytes are to be filled from here.
    fn part(&self, limit: usize) -> Self {
        Self { used: Arc::clone(&self.used), limit }
    }

    /// A share of nothing yet.
    fn share(&self) -> Share {
        Share { used: Arc::clone(&self.used), bytes: 0 }
    }

    /// A share of so much, if there is so much left.
    fn take(&self, bytes: usize) -> Option<Share> {
        let mut share = self.share();
        self.add(&mut share, bytes).then_some(share)
    }

    /// Adds to a share, if there is so much left.
    #[must_use]
    fn add(&self, share: &mut Share, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.limit);
        let added = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        share.bytes += if added { bytes } else { 0 };
        added
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Serves until the process is told to stop or something fails for good, and ends in order. `ready` is told the address.
///
/// Errors: `E-IO` where the address cannot be had or there are no threads; what failed for good.
pub fn run(
    parts: Parts,
    limits: Limits,
    settings: &listen::Settings,
    ready: impl FnOnce(std::net::SocketAddr) -> Result<()>,
) -> Result<signer::Metrics> {
    let stop = listen::told_to_stop()?;
    let app = Arc::new(App::new(parts, limits)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.threads)
        .max_blocking_threads(8)
        .thread_name("symbolon-http")
        .enable_all()
        .build()
        .map_err(|e| Error::new(Kind::Io, format!("the threads cannot be started: {e}")))?;
    let served = runtime.block_on(listen::serve(Arc::clone(&app), settings, stop, ready));
    // Every task goes, and what it held of the state.
    runtime.shutdown_timeout(Duration::from_secs(5));
    let until = Instant::now() + Duration::from_secs(5);
    while Arc::strong_count(&app) > 1 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    let app = Arc::into_inner(app)
        .ok_or_else(|| Error::new(Kind::Internal, "the server's state is still in use"))?;
    let finished = app.finish();
    served?;
    finished
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Pipeline;
    use crate::batching::{Settings, Strategy};
    use crate::custodian::Custodian;
    use crate::keys::{self, CustodianSeeds, ParameterSet, SigningKeys};
    use crate::log::Log;
    use crate::store::{Store, Writer};
    use symbolon_core::bfv::Q54;
    use symbolon_core::matching::{Layout, Threshold};
    use symbolon_platform::clock;
    use symbolon_platform::locked::{OnFailure, Options};

    /// A server's state without people, keys or sockets.
    pub(super) fn app(dir: &std::path::Path) -> Arc<App> {
        let kernels = crate::isa::fastest();
        keys::create(dir, ParameterSet::Q54, 1).unwrap();
        let seeds = CustodianSeeds::load(dir).unwrap();
        let layout = Layout::for_dims(128).unwrap();
        drop(Store::create_or_open(dir, 128).unwrap());
        let store = Writer::open(dir).unwrap();
        let attempts = Arc::new(attempts::Attempts::start(dir, None).unwrap());
        let roster = roster::Roster::load(&store, layout, &attempts, &mut || ()).unwrap();
        let roster = Arc::new(roster);
        let memory = Options { on_failure: OnFailure::Degrade, huge: false };
        let custodian = Custodian::<Q54>::new(kernels, &seeds, None, memory).unwrap();
        let log = Log::create_or_open(dir, seeds.deployment.id, seeds.seal_key()).unwrap();
        let handle = log.handle();
        let signing = SigningKeys::load(dir, seeds.deployment, clock::unix_ms()).unwrap();
        let settings = signer::Settings::default();
        let signing_until_ms = signing.not_after_ms();
        let signer = Arc::new(Signer::start(log, Arc::new(signing), settings).unwrap());
        let threshold = Threshold::from_cosine(layout, 0.5).unwrap();
        let pipeline = Pipeline::new(kernels, layout, threshold, custodian, Arc::clone(&signer));
        let strategy = Strategy::Window { wait: Duration::ZERO };
        let seats = Arc::clone(&roster);
        let to = Arc::clone(&attempts);
        let parts = Parts {
            dir: dir.to_owned(),
            dims: 128,
            signing_until_ms,
            gateway: Gateway::new(kernels, layout),
            layout,
            roster,
            registrar: roster::Registrar::start(Box::new(store), layout, seats, to).unwrap(),
            attempts,
            decider: decide::start(pipeline, &Settings::new(1, strategy)).unwrap(),
            signer,
            log: handle,
            access: access::Access::load(dir).unwrap(),
            idempotency: idempotency::Idempotency::new(idempotency::Limits {
                entries: 16,
                bytes: 1 << 20,
                time: Duration::from_secs(60),
            })
            .unwrap(),
            sessions: None,
            traces: None,
        };
        let second = Duration::from_secs(1);
        let limits = Limits {
            batch_bytes: 1 << 20,
            body_bytes: 1 << 24,
            body_time: second,
            deadline: second,
        };
        Arc::new(App::new(parts, limits).unwrap())
    }
}
