//! Signs the batches of a short window at once, when the log has them.
//!
//! ```text
//!   submit ──▶ waiting ──▶ LOG THREAD: one commit ──▶ open ──▶ SIGNING THREAD: tree, ──▶ windows ─┐
//!   (any thread)              for all that wait        ▲       three signatures at once           │
//!                                 ▲                    │                                          │
//!                                 └────────────────────┴─── the log has them: receipts are out ◀──┘
//! ```
//!
//! [`Ticket::durable`] returns when the disk has a batch's decisions: no answer leaves before.
//! [`Ticket::receipts`] returns when the disk has the signed window too. A window closes when it has
//! [`Settings::batches`] batches, or when the oldest of them is [`Settings::time`] old, whichever is
//! first. It holds batches that are durable only, and a receipt leaves after its window is durable: so a
//! crash at any point leaves a log whose end is at most unsigned, and the next signer signs it.
//!
//! No lock is held while a thread writes or signs. A log or a key that fails, and a thread that dies,
//! fail everybody who waits and everybody who comes after.

use crate::error::{Error, Kind, Result};
use crate::isa;
use crate::log::{Log, Tail};
use serde::Serialize;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use symbolon_core::attest::{
    Batch, BatchPath, BatchTree, Digest, Family, KeyId, Leaf, LeafHasher, MAX_BATCHES, MAX_LEAVES,
    Receipt, Signatures, Window, WindowPath, WindowTree,
};
use symbolon_platform::clock::{self, Stopwatch};
use symbolon_platform::threads::{Priority, Worker};

/// How far apart commits begin while several batches come between two: a commit takes the disk, and a tenth of a
/// millisecond of a core, whatever is in it.
const GATHER: Duration = Duration::from_millis(1);

/// The most batches that wait for a signature; who comes then waits too.
const MAX_UNSIGNED: u64 = 16 * MAX_BATCHES as u64;

/// When a window closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Batches in a window at most: 1, which signs every batch by itself, to [`MAX_BATCHES`].
    pub batches: usize,
    /// Age of its oldest batch.
    pub time: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { batches: 64, time: Duration::from_millis(100) }
    }
}

/// A batch's decisions and what the custodian states of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The statement: its root is that of the leaves.
    pub batch: Batch,
    /// The decisions, in lane order.
    pub leaves: Vec<Leaf>,
}

/// A batch whose root is that of its leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated(Attested);

impl Stated {
    /// Completes a statement by count and root of its leaves.
    ///
    /// Errors: `E-ARGUMENT` for no leaves or more than a batch holds.
    pub fn new(batch: Batch, leaves: Vec<Leaf>) -> Result<Self> {
        let root = root(&leaves)?;
        // As many as a tree may have.
        let count = leaves.len() as u8;
        Ok(Self(Attested { batch: Batch { count, root, ..batch }, leaves }))
    }
}

fn root(leaves: &[Leaf]) -> Result<Digest> {
    tree(leaves, &mut BatchTree::new())
}

/// Builds the tree of a batch's leaves; gives its root.
///
/// Errors: `E-ARGUMENT` for no leaves or more than a batch holds.
pub fn tree(leaves: &[Leaf], tree: &mut BatchTree) -> Result<Digest> {
    let error = |e: symbolon_core::attest::Error| Error::new(Kind::Argument, e.to_string());
    let kernels = isa::fastest();
    let mut hashes = [Digest::default(); MAX_LEAVES];
    let too_many = || error(symbolon_core::attest::Error::LeafCount);
    let hashes = hashes.get_mut(..leaves.len()).ok_or_else(too_many)?;
    LeafHasher::new(kernels).hash(kernels, leaves, hashes);
    tree.build(kernels, hashes).map_err(error)
}

impl Attested {
    /// Computes the root anew.
    ///
    /// Errors: `E-ARGUMENT` if leaves and statement do not fit together.
    pub fn check(self) -> Result<Stated> {
        let fits = usize::from(self.batch.count) == self.leaves.len()
            && root(&self.leaves)? == self.batch.root;
        if !fits {
            return Err(Error::new(Kind::Argument, "the batch does not fit its leaves"));
        }
        Ok(Stated(self))
    }

    /// Appends the receipts of these lanes to `out`: of a batch that is the window's `index`-th, with the
    /// path to its root.
    ///
    /// Errors: `E-ARGUMENT` if the parts do not fit together.
    pub fn receipts(
        &self,
        lanes: Range<usize>,
        signed: &SignedWindow,
        index: u16,
        path: WindowPath,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let error = |e: symbolon_core::attest::Error| Error::new(Kind::Argument, e.to_string());
        let mut tree = BatchTree::new();
        self::tree(&self.leaves, &mut tree)?;
        let mut buffer = vec![0; Receipt::MAX_SIZE];
        for lane in lanes {
            let Some(leaf) = self.leaves.get(lane) else { break };
            let mut leaf_path = BatchPath::EMPTY;
            tree.path(lane, &mut leaf_path).map_err(error)?;
            let receipt = Receipt {
                leaf: *leaf,
                index: lane as u8,
                path: leaf_path,
                batch: self.batch,
                batch_index: index,
                window_path: path,
                window: signed.window,
                signatures: signed.signatures.borrowed(),
            };
            let size = receipt.encode(&mut buffer).map_err(error)?;
            out.extend_from_slice(buffer.get(..size).unwrap_or_default());
        }
        Ok(())
    }
}

/// The three signatures of a window.
pub struct SignatureSet {
    /// ML-DSA-65.
    pub ml_dsa: [u8; Family::MlDsa65.signature_size()],
    /// FN-DSA-512 (draft).
    pub fn_dsa: [u8; Family::FnDsa512Draft.signature_size()],
    /// SLH-DSA-SHA2-128f.
    pub slh_dsa: [u8; Family::SlhDsaSha2_128f.signature_size()],
}

impl Default for SignatureSet {
    fn default() -> Self {
        Self { ml_dsa: [0; _], fn_dsa: [0; _], slh_dsa: [0; _] }
    }
}

impl SignatureSet {
    /// As receipts hold them.
    pub fn borrowed(&self) -> Signatures<'_> {
        Signatures { ml_dsa: &self.ml_dsa, fn_dsa: &self.fn_dsa, slh_dsa: &self.slh_dsa }
    }
}

/// A window and its signatures.
pub struct SignedWindow {
    /// What is signed.
    pub window: Window,
    /// Number of its first batch in the log.
    pub first: u64,
    /// The signatures.
    pub signatures: Box<SignatureSet>,
}

/// Whoever signs windows: [`SigningKeys`](crate::keys::SigningKeys), or a device that holds them.
pub trait SignWindow: Send + Sync {
    /// The key set's id.
    fn id(&self) -> KeyId;

    /// The deployment that it signs for.
    fn deployment(&self) -> [u8; 16];

    /// Makes the three signatures. Gives the time of its threads, waiting for a core included, in us.
    ///
    /// Errors: `E-SIGNING`, `E-KEY-VALIDITY`, `E-ENTROPY`.
    fn sign(&self, window: &Window, out: &mut SignatureSet) -> Result<f64>;
}

/// Times of many events, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    /// Their mean.
    pub mean: f64,
    /// The longest.
    pub max: f64,
    #[serde(skip)]
    count: u64,
}

impl Times {
    fn add(&mut self, us: f64) {
        self.count += 1;
        self.mean += (us - self.mean) / self.count as f64;
        self.max = self.max.max(us);
    }
}

/// What a signer has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Metrics {
    /// Batches signed.
    pub batches: u64,
    /// Windows signed.
    pub windows: u64,
    /// Batches of the largest window.
    pub largest: u64,
    /// Commits of the log.
    pub commits: u64,
    /// From a batch's submission until the disk has it: when its answers may leave.
    pub durable_us: Times,
    /// From a batch's submission until the disk has its signed window: when its receipts may leave.
    pub signed_us: Times,
    /// Time for the signatures and the tree of all windows, of all threads, waiting for a core included; in microseconds.
    pub signing_us: f64,
}

impl Metrics {
    /// Batches of a window, on average.
    pub fn per_window(&self) -> f64 {
        self.batches as f64 / self.windows.max(1) as f64
    }

    /// The same for a batch's share, in microseconds.
    pub fn signing_us_per_batch(&self) -> f64 {
        self.signing_us / self.batches.max(1) as f64
    }
}

/// A batch on its way.
struct Slot {
    hash: Digest,
    /// Absent for what an earlier signer left in the log.
    submitted: Option<Instant>,
    proof: OnceLock<Proof>,
}

/// A batch's place in a window.
struct Proof {
    signed: Arc<SignedWindow>,
    index: u16,
    path: WindowPath,
}

/// A window's batches, each with its path.
type Placed = Vec<(Arc<Slot>, WindowPath)>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Go on.
    No,
    /// Sign what there is, then end.
    Finish,
    /// Write what there is, then end.
    Abandon,
}

struct State {
    /// Submitted, not in the log.
    waiting: Vec<(Arc<Slot>, Arc<Attested>)>,
    /// In the log, not in a window.
    open: VecDeque<Arc<Slot>>,
    /// Signed, not in the log.
    windows: Vec<(Arc<SignedWindow>, Placed)>,
    /// Number of the next batch to be submitted.
    next: u64,
    /// Batches that the log has.
    durable: u64,
    /// Batches that windows in the log sign.
    signed: u64,
    /// Sign all below this number without waiting for more.
    flush: u64,
    stop: Stop,
    /// The signing thread has ended; the log thread has, and has closed the log.
    signing_ended: bool,
    log_ended: bool,
    failed: Option<Error>,
    metrics: Metrics,
}

struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    to_write: Condvar,
    /// There is something to sign.
    to_sign: Condvar,
    /// The log has something, or never will.
    written: Condvar,
    settings: Settings,
}

/// The state again, when it has changed.
fn wait<'a>(on: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    on.wait(state).unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No one panics with the lock in the middle of a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: Error) {
        self.lock().failed.get_or_insert(error);
        self.all();
    }

    /// Wakes everybody.
    fn all(&self) {
        self.to_write.notify_all();
        self.to_sign.notify_all();
        self.written.notify_all();
    }
}

/// Signs for any number of threads.
pub struct Signer {
    shared: Arc<Shared>,
    deployment: [u8; 16],
    threads: Vec<JoinHandle<()>>,
}

impl Signer {
    /// Starts the threads. What the log holds unsigned goes into the first window.
    ///
    /// Errors: `E-ARGUMENT` for settings out of range; `E-LOG-FORMAT` for another deployment's log or a
    /// damaged one; `E-IO`.
    pub fn start(log: Log, keys: Arc<dyn SignWindow>, settings: Settings) -> Result<Self> {
        if !(1..=MAX_BATCHES).contains(&settings.batches) {
            let message = format!("a window has 1 to {MAX_BATCHES} batches");
            return Err(Error::new(Kind::Argument, message));
        }
        let deployment = log.deployment();
        if keys.deployment() != deployment {
            let message = "the receipt log is another deployment's than the signing keys";
            return Err(Error::new(Kind::LogFormat, message));
        }
        let tail = log.tail();
        let open: VecDeque<_> = log
            .unsigned()
            .map(|hash| Arc::new(Slot { hash, submitted: None, proof: OnceLock::new() }))
            .collect();
        let state = State {
            waiting: Vec::new(),
            open,
            windows: Vec::new(),
            next: tail.batches,
            durable: tail.batches,
            signed: tail.signed,
            flush: 0,
            stop: Stop::No,
            signing_ended: false,
            log_ended: false,
            failed: None,
            metrics: Metrics::default(),
        };
        let [to_write, to_sign, written] = [(); 3].map(|()| Condvar::new());
        let shared = Arc::new(Shared { state: state.into(), to_write, to_sign, written, settings });
        let mut signer = Self { shared: Arc::clone(&shared), deployment, threads: Vec::new() };
        let spawn = |name: &str, priority, run: Box<dyn FnOnce() + Send>| {
            let worker = Worker { name: format!("symbolon-{name}"), core: None, priority };
            worker.spawn(run).map(|(thread, _)| thread).map_err(|e: io::Error| {
                // The one that has started ends when the signer is dropped.
                let mut state = shared.lock();
                (state.signing_ended, state.log_ended) = (true, true);
                Error::new(Kind::Io, format!("a thread cannot be started: {e}"))
            })
        };
        let (a, b) = (Arc::clone(&shared), Arc::clone(&shared));
        // Answers wait for the log, and only receipts for signatures: what decides goes first. Where every core is
        // busy, signing takes longer, until as many batches wait for it as may.
        signer.threads.push(spawn(
            "signing",
            Priority::Low,
            Box::new(move || {
                let _end = End { shared: &a, ended: |state| state.signing_ended = true };
                signing_thread(&a, &*keys, tail);
            }),
        )?);
        signer.threads.push(spawn(
            "log",
            Priority::Normal,
            Box::new(move || {
                let _end = End { shared: &b, ended: |state| state.log_ended = true };
                log_thread(&b, log);
            }),
        )?);
        Ok(signer)
    }

    /// Hands in a batch. Returns at once, but where very many wait for a signature.
    ///
    /// Errors: `E-ARGUMENT` if it is another deployment's; what failed log or signing.
    pub fn submit(&self, Stated(attested): Stated) -> Result<Ticket> {
        if attested.batch.deployment != self.deployment {
            return Err(Error::new(Kind::Argument, "the batch is another deployment's"));
        }
        let attested = Arc::new(attested);
        let submitted = Some(Instant::now());
        let hash = attested.batch.hash();
        let slot = Arc::new(Slot { hash, submitted, proof: OnceLock::new() });
        let mut state = self.shared.lock();
        loop {
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if state.stop != Stop::No {
                return Err(Error::new(Kind::Signing, "the signer has ended"));
            }
            if state.next - state.signed < MAX_UNSIGNED {
                break;
            }
            state = wait(&self.shared.written, state);
        }
        let number = state.next;
        state.next += 1;
        state.waiting.push((Arc::clone(&slot), Arc::clone(&attested)));
        drop(state);
        self.shared.to_write.notify_one();
        Ok(Ticket { number, slot, attested, shared: Arc::clone(&self.shared) })
    }

    /// Has everything signed that was handed in so far, without waiting for more.
    pub fn flush(&self) {
        let mut state = self.shared.lock();
        state.flush = state.next;
        drop(state);
        self.shared.to_sign.notify_one();
    }

    /// Signs what is left, closes the log, and tells what was done. Nothing can be handed in any more.
    ///
    /// Errors: what failed log or signing.
    pub fn finish(&self) -> Result<Metrics> {
        let mut state = self.shared.lock();
        if state.stop == Stop::No {
            state.stop = Stop::Finish;
        }
        self.shared.all();
        while !state.log_ended {
            state = wait(&self.shared.written, state);
        }
        match &state.failed {
            Some(error) => Err(error.clone()),
            None => Ok(state.metrics),
        }
    }

    /// What failed log or signing, if something did: nothing is taken in any more.
    pub fn failure(&self) -> Option<Error> {
        self.shared.lock().failed.clone()
    }

    /// What was done so far.
    pub fn metrics(&self) -> Metrics {
        self.shared.lock().metrics
    }
}

/// Ends the threads: what was handed in is written, and left to the next signer to sign.
impl Drop for Signer {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.stop == Stop::No {
            state.stop = Stop::Abandon;
        }
        drop(state);
        self.shared.all();
        for thread in self.threads.drain(..) {
            // A thread that died has said so.
            let _ = thread.join();
        }
    }
}

/// A batch that was handed in.
pub struct Ticket {
    number: u64,
    slot: Arc<Slot>,
    attested: Arc<Attested>,
    shared: Arc<Shared>,
}

impl Ticket {
    /// The batch.
    pub fn attested(&self) -> &Attested {
        &self.attested
    }

    /// The batch's number in the log.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns when the disk has the batch's decisions: its answers may leave.
    ///
    /// Errors: what failed the log. A failure to sign alone is none: the log thread writes what waits
    /// before it ends.
    pub fn durable(&self) -> Result<()> {
        let mut state = self.shared.lock();
        loop {
            if state.durable > self.number {
                return Ok(());
            }
            if state.log_ended {
                self.check(&state)?;
            }
            state = wait(&self.shared.written, state);
        }
    }

    /// Appends the receipt of every lane to `out`, in lane order, when the disk has the signed window.
    ///
    /// Errors: what failed log or signing.
    pub fn receipts(&self, out: &mut Vec<u8>) -> Result<()> {
        let mut state = self.shared.lock();
        while state.signed <= self.number {
            self.check(&state)?;
            state = wait(&self.shared.written, state);
        }
        drop(state);
        let no_proof = || Error::new(Kind::Signing, "a window was signed without its batches");
        let Proof { signed, index, path } = self.slot.proof.get().ok_or_else(no_proof)?;
        self.attested.receipts(0..self.attested.leaves.len(), signed, *index, *path, out)
    }

    /// Whether there is still something to wait for.
    fn check(&self, state: &State) -> Result<()> {
        match &state.failed {
            Some(error) => Err(error.clone()),
            None if state.log_ended => {
                Err(Error::new(Kind::Signing, "the signer ended before the batch was signed"))
            }
            None => Ok(()),
        }
    }
}

/// Says that a thread has ended, however it did.
struct End<'a> {
    shared: &'a Shared,
    ended: fn(&mut State),
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if thread::panicking() {
            let error = Error::new(Kind::Signing, "the thread that writes or signs died");
            state.failed.get_or_insert(error);
        }
        (self.ended)(&mut state);
        drop(state);
        self.shared.all();
    }
}

fn log_thread(shared: &Shared, mut log: Log) {
    let mut next = Instant::now();
    loop {
        let mut state = shared.lock();
        while state.failed.is_none()
            && state.waiting.is_empty()
            && state.windows.is_empty()
            && !state.signing_ended
        {
            state = wait(&shared.to_write, state);
        }
        let left = next.saturating_duration_since(Instant::now());
        if !left.is_zero() && state.stop == Stop::No && state.failed.is_none() {
            drop(state);
            thread::sleep(left);
            state = shared.lock();
        }
        let began = Instant::now();
        let (batches, windows) =
            (std::mem::take(&mut state.waiting), std::mem::take(&mut state.windows));
        // What failed elsewhere is no reason to lose decisions.
        if batches.is_empty() && windows.is_empty() {
            return;
        }
        drop(state);

        let attested: Vec<_> =
            batches.iter().map(|(slot, attested)| (&**attested, slot.hash)).collect();
        let signed: Vec<_> = windows.iter().map(|(signed, _)| &**signed).collect();
        if let Err(error) = log.append(&attested, &signed) {
            return shared.fail(error);
        }

        let since = |slot: &Slot| slot.submitted.map(|at| at.elapsed().as_secs_f64() * 1e6);
        let mut state = shared.lock();
        state.metrics.commits += 1;
        state.durable += batches.len() as u64;
        let count = batches.len();
        for (slot, _) in batches {
            if let Some(us) = since(&slot) {
                state.metrics.durable_us.add(us);
            }
            state.open.push_back(slot);
        }
        for (signed, slots) in windows {
            let count = slots.len() as u64;
            state.signed += count;
            state.metrics.batches += count;
            state.metrics.windows += 1;
            state.metrics.largest = state.metrics.largest.max(count);
            for (index, (slot, path)) in slots.into_iter().enumerate() {
                if let Some(us) = since(&slot) {
                    state.metrics.signed_us.add(us);
                }
                let (signed, index) = (Arc::clone(&signed), index as u16);
                // Each slot is in one window.
                let _ = slot.proof.set(Proof { signed, index, path });
            }
        }
        // Who comes alone does not wait for others.
        next = if count > 1 { began + GATHER } else { began };
        drop(state);
        shared.written.notify_all();
        shared.to_sign.notify_one();
    }
}

fn signing_thread(shared: &Shared, keys: &dyn SignWindow, tail: Tail) {
    let Tail { windows: mut sequence, signed: mut first, mut previous, .. } = tail;
    let mut tree = bytemuck::zeroed_box::<WindowTree>();
    while let Some(slots) = next_window(shared, first) {
        let made = sign(keys, &slots, &mut tree, (sequence, first, previous));
        let (signed, paths, us) = match made {
            Ok(made) => made,
            Err(error) => return shared.fail(error),
        };
        sequence += 1;
        first += slots.len() as u64;
        previous = signed.window.hash();
        let mut state = shared.lock();
        state.metrics.signing_us += us;
        state.windows.push((Arc::new(signed), slots.into_iter().zip(paths).collect()));
        drop(state);
        shared.to_write.notify_one();
    }
}

/// Waits until a window closes; gives its batches, or `None` at the end.
fn next_window(shared: &Shared, first: u64) -> Option<Vec<Arc<Slot>>> {
    let Settings { batches: most, time } = shared.settings;
    let mut state = shared.lock();
    loop {
        if state.failed.is_some() || state.stop == Stop::Abandon {
            return None;
        }
        let finish = state.stop == Stop::Finish;
        let all_durable = |number: u64| state.durable >= number;
        if state.open.is_empty() && finish && all_durable(state.next) {
            return None;
        }
        let flush = if finish { state.next } else { state.flush };
        // What a signer before this one left is as old as can be.
        let age = state.open.front().map(|slot| slot.submitted.map_or(time, |at| at.elapsed()));
        let due = age.is_some_and(|age| age >= time);
        let flushed = first < flush && all_durable(flush) && !state.open.is_empty();
        if state.open.len() >= most || due || flushed {
            let count = state.open.len().min(most);
            return Some(state.open.drain(..count).collect());
        }
        state = match age {
            None => wait(&shared.to_sign, state),
            Some(age) => {
                let waited = shared.to_sign.wait_timeout(state, time.saturating_sub(age));
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}

/// Builds and signs the window of these batches; gives their paths too, and the time it took.
fn sign(
    keys: &dyn SignWindow,
    slots: &[Arc<Slot>],
    tree: &mut WindowTree,
    (sequence, first, previous): (u64, u64, Digest),
) -> Result<(SignedWindow, Vec<WindowPath>, f64)> {
    let error = |e: symbolon_core::attest::Error| Error::new(Kind::Signing, e.to_string());
    let mut watch = Stopwatch::start();
    let hashes: Vec<Digest> = slots.iter().map(|slot| slot.hash).collect();
    let root = tree.build(isa::fastest(), &hashes).map_err(error)?;
    let mut paths = vec![WindowPath::EMPTY; slots.len()];
    for (index, path) in paths.iter_mut().enumerate() {
        tree.path(index, path).map_err(error)?;
    }
    let window = Window {
        deployment: keys.deployment(),
        keys: keys.id(),
        sequence,
        time_ms: clock::unix_ms(),
        count: slots.len() as u16,
        previous,
        root,
    };
    let mut us = watch.lap();
    let mut signatures = Box::<SignatureSet>::default();
    us += keys.sign(&window, &mut signatures)?;
    Ok((SignedWindow { window, first, signatures }, paths, us))
}
