//! Sessions over HTTP: the protocol of [`crate::session`], a message a request, before a registry of identities.
//!
//! ```text
//!  POST /v1/sessions           hello   ─▶ a task that holds the key of this handshake ─▶ offer, and its address
//!  POST /v1/handshakes/{id}    begin   ─▶ that task ─▶ IDENTITY: signature, cache or proof ─▶ ask, or welcome
//!  POST /v1/sessions/{id}/resume       ─▶ at once: a ticket takes microseconds
//!  POST /v1/sessions/{id}/authentications  a record ─▶ as /v1/authentications ─▶ a record
//! ```
//!
//! A handshake is a task, as it borrows its key from the pool: if the device does not go on in time, the task ends
//! and the key is wiped. Work on identities, a signature of the device and perhaps a proof, is a stage of its own:
//! a few at a time, beside the threads of the sockets, behind a breaker that lets one after the other through
//! when it fails. To gather it into batches would gain nothing: no part of it is shared by two. The same is true
//! of resuming, which costs less than to hand it to another thread.
//!
//! A session's channel has its own order of records, so that one request of a session is answered at a time. Sessions
//! are numbered, and a number can be guessed: so an address has a tag beside it that follows from the number under a
//! key of this process. Nobody ends a session, or spoils its order, but who was told its address.
//!
//! Who publishes a new epoch of the registry ends all sessions, and all verdicts: no fingerprint is known then, so that
//! every device sends its proof again, 39 KB, and it is verified anew, as few at a time; if somebody was revoked, new
//! proofs.

use super::duty::Duty;
use super::problem::Problem;
use crate::batching::{Breaker, Pass, breaker};
use crate::error::{Error, Kind, Result};
use crate::families::mlkem::DecapsulationKey;
use crate::identity::Gate;
use crate::identity::registry::{Published, Registry};
use crate::keyring::{hex, unhex};
use crate::pools::{CertifiedSupply, Config, SignRefill};
use crate::random::random;
use crate::session::{
    Channel, Epochs, KEY_KIND, RESUMED_SIZE, Refusal, Server, Session, SessionId, Settings, Step,
};
use papaya::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, Weak, mpsc as threads};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use symbolon_core::attest::{Domain, commit};
use symbolon_platform::clock;
use symbolon_platform::threads::{Priority, Worker};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout_at;
use zeroize::Zeroizing;

/// Identities that are judged at a time: more would keep the cores from deciding.
const JUDGED: u32 = 2;
/// In which a device has to answer an offer or a question.
const PATIENCE: Duration = Duration::from_secs(10);
const ADDRESS: Domain = Domain::new("symbolon/session-address/v1");
/// Bytes of an address: the session's number, and what follows from it.
const NUMBER: usize = 8;
const TAG: usize = 16;

/// How sessions are kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Handshakes under way; each holds a key.
    pub handshakes: u32,
    /// How often new leaves are published, if there are any.
    pub publish: Duration,
    /// How long an epoch holds after the next one, in milliseconds.
    pub overlap_ms: u64,
    /// The policy's epoch.
    pub policy: u32,
}

/// What a device sends, and where the answer goes.
struct Message {
    bytes: Zeroizing<Vec<u8>>,
    answer: oneshot::Sender<std::result::Result<Answer, Refusal>>,
}

/// What a device is answered.
pub struct Answer {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The session, where there is one now.
    pub session: Option<SessionId>,
}

/// A session that is in use.
#[derive(Default)]
pub struct Live {
    session: OnceLock<Session>,
    /// Filled where it stays.
    channel: Mutex<Channel>,
}

impl Live {
    /// The session. Nobody but its maker sees one without.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.get()
    }

    /// The channel, for one at a time. Errors: `E-BUSY`.
    pub(super) fn channel(
        &self,
    ) -> std::result::Result<tokio::sync::MutexGuard<'_, Channel>, Problem> {
        self.channel.try_lock().map_err(|_| {
            let what = "a session answers one record at a time";
            Problem::new(Kind::Busy, what).after(Duration::from_secs(1))
        })
    }
}

/// A stage whose work takes a while.
struct Stage {
    breaker: Breaker,
    permits: Semaphore,
    began: Instant,
    panics: AtomicU64,
}

impl Stage {
    /// Does a piece of work. One at a time, while the breaker is open.
    async fn work<T>(
        &self,
        work: impl FnOnce() -> std::result::Result<T, Refusal>,
    ) -> std::result::Result<T, Refusal> {
        let now = || u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let pass = self.breaker.pass(now());
        let alone = if pass == Pass::Avoid { JUDGED } else { 1 };
        let permit = self.permits.acquire_many(alone).await;
        let result = tokio::task::block_in_place(|| catch_unwind(AssertUnwindSafe(work)));
        drop(permit);
        let result = result.unwrap_or_else(|_| {
            self.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!(code = Kind::Internal.code(), "judging an identity panicked");
            Err(Refusal::Internal)
        });
        match result {
            // Whatever a client is refused for is no failure of the stage.
            Err(Refusal::Internal) => self.breaker.failed(pass, now()),
            _ => self.breaker.worked(pass),
        }
        result
    }
}

/// Sessions of a deployment.
pub struct Sessions {
    server: Server,
    gate: Arc<Gate>,
    supply: Arc<CertifiedSupply<DecapsulationKey>>,
    limits: Limits,
    room: Arc<Semaphore>,
    handshakes: HashMap<[u8; 16], mpsc::Sender<Message>>,
    /// By place in the server's table, so that a new tenant takes the old one's place here too.
    live: HashMap<u32, Arc<Live>>,
    stage: Stage,
    resumed: AtomicU64,
    /// Makes addresses of sessions' numbers.
    names: Zeroizing<[u8; 32]>,
    /// One publication at a time, with all that follows from it.
    publishing: std::sync::Mutex<()>,
    /// The thread that publishes.
    keeper: OnceLock<Keeper>,
}

struct Keeper {
    /// Absent when it was told to end.
    stop: std::sync::Mutex<Option<threads::Sender<()>>>,
    thread: Duty,
}

impl Sessions {
    /// Sessions of those whom `gate` lets pass, with `keys` ML-KEM keys made ahead, which `signs` certifies.
    ///
    /// What waited to be revoked is published first.
    ///
    /// Errors: `E-POOL`, `E-ARGUMENT`, `E-ENTROPY`, `E-IO`; those of [`Registry::publish`].
    pub fn start(
        gate: Gate,
        signs: Arc<dyn SignRefill>,
        keys: Config,
        settings: Settings,
        limits: Limits,
    ) -> Result<Arc<Self>> {
        let registry = gate.registry();
        let status = registry.status()?;
        if status.to_revoke != 0 || registry.current_epoch() == 0 && status.to_enrol != 0 {
            registry.publish(clock::unix_ms(), limits.overlap_ms)?;
        }
        let epochs = Epochs { policy: limits.policy, identity: registry.current_epoch() };
        let deployment = registry.deployment();
        let supply = Arc::new(CertifiedSupply::start(keys, KEY_KIND, signs, || Ok(()))?);
        let gate = Arc::new(gate);
        let admit = Arc::clone(&gate) as Arc<dyn crate::session::Admit>;
        let server = Server::start(deployment, Arc::clone(&supply), admit, epochs, settings)?;
        let sessions = Arc::new(Self {
            server,
            gate,
            supply,
            limits,
            room: Arc::new(Semaphore::new(limits.handshakes as usize)),
            handshakes: HashMap::new(),
            live: HashMap::new(),
            stage: Stage {
                breaker: Breaker::new(breaker::Limits::default()),
                permits: Semaphore::new(JUDGED as usize),
                began: Instant::now(),
                panics: AtomicU64::new(0),
            },
            resumed: AtomicU64::new(0),
            names: Zeroizing::new(random()?),
            publishing: std::sync::Mutex::new(()),
            keeper: OnceLock::new(),
        });
        let keeper = keep(&sessions)?;
        // It is the only one.
        let _ = sessions.keeper.set(keeper);
        Ok(sessions)
    }

    /// The registry.
    pub fn registry(&self) -> &Arc<Registry> {
        self.gate.registry()
    }

    /// What has failed for good, if something has: the registry, or the thread that publishes.
    pub fn failure(&self) -> Option<Error> {
        let keeper = || self.keeper.get().and_then(|keeper| keeper.thread.failure());
        self.registry().failure().or_else(keeper)
    }

    /// The gate before it.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Whoever makes sessions.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Keys made ahead.
    pub fn supply(&self) -> &CertifiedSupply<DecapsulationKey> {
        &self.supply
    }

    /// The breaker of the work on identities, and how often that has panicked.
    pub fn stage(&self) -> (&Breaker, u64) {
        (&self.stage.breaker, self.stage.panics.load(Ordering::Relaxed))
    }

    /// Handshakes under way.
    pub fn handshakes(&self) -> usize {
        self.handshakes.len()
    }

    /// Sessions that were resumed.
    pub fn resumed(&self) -> u64 {
        self.resumed.load(Ordering::Relaxed)
    }

    /// A session's address: 48 hexadecimal digits.
    pub fn address(&self, id: SessionId) -> String {
        hex(&self.named(id.number().to_be_bytes()))
    }

    fn named(&self, number: [u8; NUMBER]) -> [u8; NUMBER + TAG] {
        let tag = commit(ADDRESS, &self.names, &number);
        let mut address = [0; NUMBER + TAG];
        for (to, from) in address.iter_mut().zip(number.iter().chain(&tag)) {
            *to = *from;
        }
        address
    }

    /// The session of an address. Whether there is one is another question.
    ///
    /// Errors: `E-REQUEST` for what is no address, `E-UNKNOWN-ID` for one that was never given out.
    pub fn at(&self, address: &str) -> std::result::Result<SessionId, Problem> {
        let malformed =
            || Problem::new(Kind::Request, "a session's address has 48 hexadecimal digits");
        let given: [u8; NUMBER + TAG] = unhex(address).ok_or_else(malformed)?;
        let number = *given.first_chunk().ok_or_else(malformed)?;
        if bool::from(given.ct_eq(&self.named(number))) {
            Ok(SessionId::from_number(u64::from_be_bytes(number)))
        } else {
            Err(unknown())
        }
    }

    /// Begins a handshake: gives its name and the offer.
    ///
    /// Errors: `E-BUSY`, `E-ENTROPY`, and those of [`refused`].
    pub async fn greet(
        self: &Arc<Self>,
        hello: Zeroizing<Vec<u8>>,
    ) -> std::result::Result<([u8; 16], Vec<u8>), Problem> {
        let busy = || refused(Refusal::Busy);
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(|_| busy())?;
        let id: [u8; 16] = random()?;
        let (to, messages) = mpsc::channel(1);
        let (answer, offer) = oneshot::channel();
        self.handshakes.pin().insert(id, to);
        let under_way = UnderWay { sessions: Arc::clone(self), id, _permit: permit };
        tokio::spawn(under_way.run(Message { bytes: hello, answer }, messages));
        let offer = offer.await.map_err(|_| refused(Refusal::Internal))?.map_err(refused)?;
        Ok((id, offer.bytes))
    }

    /// Goes on with a handshake.
    ///
    /// Errors: `E-UNKNOWN-ID` where there is none of this name, and those of [`refused`].
    pub async fn go_on(
        &self,
        id: &[u8; 16],
        bytes: Zeroizing<Vec<u8>>,
    ) -> std::result::Result<Answer, Problem> {
        let over = || Problem::new(Kind::UnknownId, "there is no such handshake, or it is over");
        let to = self.handshakes.pin().get(id).cloned().ok_or_else(over)?;
        let (answer, told) = oneshot::channel();
        to.send(Message { bytes, answer }).await.map_err(|_| over())?;
        told.await.map_err(|_| over())?.map_err(refused)
    }

    /// Resumes a session.
    ///
    /// Errors: those of [`refused`]. The ticket may be used up by one that was meant for another session.
    pub fn resume(
        &self,
        id: SessionId,
        message: &[u8],
    ) -> std::result::Result<[u8; RESUMED_SIZE], Problem> {
        let (live, mut out) = (Arc::new(Live::default()), [0; RESUMED_SIZE]);
        let session = {
            let mut channel = live.channel()?;
            self.server.resume(message, &mut channel, &mut out).map_err(refused)?
        };
        if session.id != id {
            return Err(Problem::new(Kind::Request, "the ticket is another session's"));
        }
        self.resumed.fetch_add(1, Ordering::Relaxed);
        self.welcome(&live, session);
        Ok(out)
    }

    fn welcome(&self, live: &Arc<Live>, session: Session) {
        // It was made by whoever calls this.
        let _ = live.session.set(session);
        self.live.pin().insert(place(session.id), Arc::clone(live));
    }

    /// A session that is in use, if it holds.
    ///
    /// Errors: `E-UNKNOWN-ID`, and those of [`refused`].
    pub fn find(&self, id: SessionId) -> std::result::Result<Arc<Live>, Problem> {
        let live = self.live.pin().get(&place(id)).cloned().ok_or_else(unknown)?;
        let session = live.session().filter(|session| session.id == id).ok_or_else(unknown)?;
        if let Err(refusal) = self.server.holds(session) {
            self.end(id);
            return Err(refused(refusal));
        }
        Ok(live)
    }

    /// Ends a session. Gives whether there was one.
    pub fn end(&self, id: SessionId) -> bool {
        let ended = self.server.revoke(id);
        let is_it = |_: &u32, live: &Arc<Live>| live.session().is_some_and(|s| s.id == id);
        let _ = self.live.pin().remove_if(&place(id), is_it);
        ended
    }

    /// Publishes the registry as it is now: ends all sessions.
    ///
    /// Errors: those of [`Registry::publish`].
    pub fn publish(&self) -> Result<Published> {
        // Held until the server knows of it: of two at once, the older epoch must not be told last.
        let _alone = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let published = self.registry().publish(clock::unix_ms(), self.limits.overlap_ms)?;
        let epochs = Epochs { policy: self.limits.policy, identity: published.epoch.number };
        self.server.advance(epochs);
        self.server.revoke_all();
        self.live.pin().clear();
        tracing::info!(
            epoch = published.epoch.number,
            enrolled = published.enrolled,
            revoked = published.revoked,
            "identities are published"
        );
        Ok(published)
    }

    /// Revokes an identity at once: whoever comes back must prove anew. Gives whether there was one. Asked again after
    /// an error, it publishes what was revoked then.
    ///
    /// Errors: those of [`Registry::revoke`] and [`Registry::publish`].
    pub fn revoke(&self, id: &str) -> Result<bool> {
        let registry = self.registry();
        let known = match registry.revoke(&[id]) {
            Ok(()) => true,
            Err(error) if error.kind() == Kind::UnknownId => false,
            Err(error) => return Err(error),
        };
        if known || registry.status()?.to_revoke != 0 {
            self.publish()?;
        }
        Ok(known)
    }

    /// Publishes what waits, and forgets sessions that are over.
    fn tidy(&self, publish: bool) {
        let registry = self.registry();
        let waits = publish && registry.status().is_ok_and(|s| s.to_enrol + s.to_revoke != 0);
        if waits && let Err(error) = self.publish() {
            tracing::error!(code = error.code(), message = error.message(), "not published");
        }
        let holds = |live: &Arc<Live>| live.session().is_some_and(|s| self.server.holds(s).is_ok());
        self.live.pin().retain(|_, live| holds(live));
    }

    /// Ends the thread that publishes.
    pub fn finish(&self) {
        if let Some(Keeper { stop, thread }) = self.keeper.get() {
            drop(stop.lock().unwrap_or_else(PoisonError::into_inner).take());
            thread.end();
        }
    }
}

/// Errors do not tell an address that was never given out from one that is over.
pub(super) fn unknown() -> Problem {
    Problem::new(Kind::UnknownId, "there is no such session, or it is over")
}

/// A session's place in the table.
fn place(id: SessionId) -> u32 {
    id.number() as u32
}

/// What a refusal is over HTTP: 400 for what is malformed, 403 for what is not let in, 410 for tickets and sessions
/// that are over, 429 where there is no room, 500 for trouble here.
pub fn refused(refusal: Refusal) -> Problem {
    let kind = match refusal {
        Refusal::Malformed | Refusal::Version | Refusal::Limit => Kind::Request,
        Refusal::Busy | Refusal::Full => Kind::Busy,
        Refusal::Internal => Kind::Internal,
        other => other.kind(),
    };
    let problem = Problem::new(kind, refusal.to_string());
    if kind == Kind::Busy { problem.after(Duration::from_secs(1)) } else { problem }
}

/// Starts the thread that publishes. It looks every second for sessions that are over.
fn keep(sessions: &Arc<Sessions>) -> Result<Keeper> {
    let (stop, stopped) = threads::channel::<()>();
    let every = sessions.limits.publish;
    let sessions: Weak<Sessions> = Arc::downgrade(sessions);
    let work = move || {
        let mut last = Instant::now();
        let second = Duration::from_secs(1);
        while stopped.recv_timeout(second) == Err(threads::RecvTimeoutError::Timeout) {
            let Some(sessions) = sessions.upgrade() else { return };
            let due = last.elapsed() >= every;
            if due {
                last = Instant::now();
            }
            sessions.tidy(due);
        }
    };
    let (thread, _) = Worker { name: "identities".into(), core: None, priority: Priority::Low }
        .spawn(work)
        .map_err(|e| Error::new(Kind::Io, format!("a thread cannot be started: {e}")))?;
    let thread = Duty::new("publishes identities", thread);
    Ok(Keeper { stop: Some(stop).into(), thread })
}

/// A handshake under way.
struct UnderWay {
    sessions: Arc<Sessions>,
    id: [u8; 16],
    _permit: OwnedSemaphorePermit,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.sessions.handshakes.pin().remove(&self.id);
    }
}

impl UnderWay {
    /// From the hello to the welcome, or to whatever ends it.
    async fn run(self, hello: Message, mut messages: mpsc::Receiver<Message>) {
        let Sessions { server, stage, .. } = &*self.sessions;
        let mut bytes = Vec::new();
        let offered = match server.offer(&hello.bytes, &mut bytes) {
            Ok(offered) => offered,
            Err(refusal) => return say(hello.answer, Err(refusal)),
        };
        say(hello.answer, Ok(Answer { bytes, session: None }));

        let live = Arc::new(Live::default());
        let mut channel = live.channel.lock().await;
        let Some(begin) = next(&mut messages).await else { return };
        let mut bytes = Vec::new();
        let step = stage.work(|| offered.begin(&begin.bytes, &mut channel, &mut bytes)).await;
        let asked = match step {
            Err(refusal) => return say(begin.answer, Err(refusal)),
            Ok(Step::Welcome(session)) => {
                drop(channel);
                return self.welcome(&live, session, bytes, begin.answer);
            }
            Ok(Step::Ask(asked)) => asked,
        };
        say(begin.answer, Ok(Answer { bytes, session: None }));

        let Some(proof) = next(&mut messages).await else { return };
        let mut bytes = Vec::new();
        let session = stage.work(|| asked.proof(&proof.bytes, &mut channel, &mut bytes)).await;
        drop(channel);
        match session {
            Err(refusal) => say(proof.answer, Err(refusal)),
            Ok(session) => self.welcome(&live, session, bytes, proof.answer),
        }
    }

    fn welcome(
        &self,
        live: &Arc<Live>,
        session: Session,
        bytes: Vec<u8>,
        to: oneshot::Sender<std::result::Result<Answer, Refusal>>,
    ) {
        self.sessions.welcome(live, session);
        say(to, Ok(Answer { bytes, session: Some(session.id) }));
    }
}

/// Whoever asked may have gone.
fn say(
    to: oneshot::Sender<std::result::Result<Answer, Refusal>>,
    what: std::result::Result<Answer, Refusal>,
) {
    drop(to.send(what));
}

/// What the device sends next, if it comes in time.
async fn next(messages: &mut mpsc::Receiver<Message>) -> Option<Message> {
    let until = tokio::time::Instant::now() + PATIENCE;
    timeout_at(until, messages.recv()).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> Stage {
        let limits = breaker::Limits { failures: 3, pause: Duration::from_millis(50) };
        Stage {
            breaker: Breaker::new(limits),
            permits: Semaphore::new(JUDGED as usize),
            began: Instant::now(),
            panics: AtomicU64::new(0),
        }
    }

    /// Sessions of a fresh deployment with a registry.
    fn sessions(dir: &std::path::Path) -> Arc<Sessions> {
        use crate::keys::{self, CustodianSeeds, ParameterSet, SigningKeys};
        use symbolon_platform::locked::{OnFailure, Options};
        keys::create(dir, ParameterSet::Q54, 1).unwrap();
        let deployment = CustodianSeeds::load(dir).unwrap().deployment;
        Registry::create(dir, 20, deployment.id).unwrap();
        let registry = Arc::new(Registry::open(dir).unwrap());
        let gate = Gate::new(registry, crate::identity::gate::Settings::default()).unwrap();
        let signs = Arc::new(SigningKeys::load(dir, deployment, clock::unix_ms()).unwrap());
        let memory = Options { on_failure: OnFailure::Degrade, huge: false };
        let keys = Config::fixed::<DecapsulationKey>(8, memory);
        let settings = Settings { memory, ..Settings::default() };
        let publish = Duration::from_secs(3600);
        let limits = Limits { handshakes: 8, publish, overlap_ms: 1000, policy: 1 };
        Sessions::start(gate, signs, keys, settings, limits).unwrap()
    }

    #[test]
    fn a_revocation_that_was_not_published_is_when_it_is_asked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = sessions(dir.path());
        let credential = crate::identity::Credential::draw(b"").unwrap();
        let registry = sessions.registry();
        registry.enrol(&[("anna", credential.leaf())]).unwrap();
        let before = sessions.publish().unwrap().epoch.number;
        // As where the disk was full in between.
        registry.revoke(&["anna"]).unwrap();
        assert_eq!(registry.current_epoch(), before);
        assert!(!sessions.revoke("anna").unwrap());
        assert_eq!(registry.current_epoch(), before + 1);
        // There is nothing to publish for somebody who never was.
        assert!(!sessions.revoke("bert").unwrap());
        assert_eq!(registry.current_epoch(), before + 1);
        assert_eq!(sessions.failure(), None);
        sessions.finish();
        assert_eq!(sessions.failure(), None);
    }

    #[test]
    fn addresses_cannot_be_made_of_numbers() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [ours, others] = [&dirs[0], &dirs[1]].map(|dir| sessions(dir.path()));
        let id = SessionId::from_number(1 << 32);
        let address = ours.address(id);
        assert_eq!(ours.at(&address).unwrap(), id);
        assert_eq!(others.at(&address).unwrap_err().kind, Kind::UnknownId);
        for digit in 0..address.len() {
            let other = |(at, c)| match (at == digit, c) {
                (true, '0') => '1',
                (true, _) => '0',
                (false, c) => c,
            };
            let altered: String = address.char_indices().map(other).collect();
            assert_eq!(ours.at(&altered).unwrap_err().kind, Kind::UnknownId, "{digit}");
        }
        for malformed in ["", "0", &address[1..], &format!("{address}00"), &"x".repeat(48)] {
            assert_eq!(ours.at(malformed).unwrap_err().kind, Kind::Request);
        }
        ours.finish();
        others.finish();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn panics_open_the_breaker_and_then_it_is_one_at_a_time() {
        use breaker::State;
        let stage = Arc::new(stage());
        // What devices are refused for opens nothing.
        for _ in 0..10 {
            let refused = stage.work(|| Err::<(), _>(Refusal::Identity)).await;
            assert_eq!((refused, stage.breaker.state()), (Err(Refusal::Identity), State::Closed));
        }
        for _ in 0..2 {
            let failed = stage.work(|| Err::<(), _>(Refusal::Internal)).await;
            assert_eq!(failed, Err(Refusal::Internal));
        }
        let panicked = stage.work(|| -> std::result::Result<(), _> { panic!("on purpose") }).await;
        assert_eq!(panicked, Err(Refusal::Internal));
        assert_eq!((stage.breaker.state(), stage.panics.load(Ordering::Relaxed)), (State::Open, 1));
        // Open, others go on: one at a time.
        let (inside, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (stage, inside, most) = (stage.clone(), inside.clone(), most.clone());
                tokio::spawn(async move {
                    let work = || {
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(2));
                        inside.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    };
                    stage.work(work).await
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), Ok(()));
        }
        assert_eq!((most.load(Ordering::SeqCst), stage.breaker.state()), (1, State::Open));
        // After the pause one tries, and it closes.
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(stage.work(|| Ok(1)).await, Ok(1));
        assert_eq!((stage.breaker.state(), stage.breaker.opened()), (State::Closed, 1));
    }
}
