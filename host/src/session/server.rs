//! The server's side: handshakes with keys of a certified supply, and resumption.

use super::admit::{Admit, Admitted, Refused};
use super::channel::Channel;
use super::clock::Clock;
use super::handshake::{Handshake, Side};
use super::message::{
    BEGIN_HEAD, Begin, HEAD, Hello, Login, MAX_MESSAGE, Offer, Presented, Resume, Resumed, ask,
    concat, read_prove,
};
use super::schedule::{Label, Prf, Secret};
use super::seal::{Half, MAX_RECORDS, TAG};
use super::table::{MAX_SESSIONS, SessionId, Table};
use super::ticket::{Contents, TICKET_SIZE, TicketKeys};
use super::{MAX_RECORD, RESUMED_SIZE, Refusal, Welcome, device, generator};
use crate::error::{Error, Kind, Result};
use crate::families::mlkem::DecapsulationKey;
use crate::pools::{CertifiedSupply, Key};
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::time::Duration;
use symbolon_core::attest::Digest;
use symbolon_core::attest::family::wiping;
use symbolon_core::kem::{Decapsulate, ENCAPSULATION_KEY_SIZE, SECRET_SIZE};
use symbolon_core::pool::Miss;
use symbolon_platform::locked::Options;
use symbolon_platform::threads::{Priority, Worker};
use zeroize::Zeroizing;

// 64-bit words of stack to wipe after secrets were worked with: they are made where they stay, but the
// crates' functions return them by value. A test searches for what is left.

const RESUME_STACK: usize = 4 * 1024 / 8;
const BEGIN_STACK: usize = 8 * 1024 / 8;

/// What a supply of keys for sessions names their kind.
pub const KEY_KIND: &str = "ml-kem-768";

/// A server's settings.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Sessions at once, 1 to 2^24: 8 bytes each, and some 100 where there is one.
    pub sessions: u32,
    /// The longest that a session lasts: 1 ms to 24 days.
    pub lifetime: Duration,
    /// For how long a ticket key seals, and for how long after that it opens: 1 ms to 1 day. A client that is
    /// silent for twice as long cannot resume.
    pub ticket_period: Duration,
    /// Of the ticket keys.
    pub memory: Options,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sessions: 1 << 16,
            lifetime: Duration::from_secs(8 * 60 * 60),
            ticket_period: Duration::from_secs(10 * 60),
            memory: Options::default(),
        }
    }
}

/// The epochs to which sessions are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// Of the policy by which decisions are taken.
    pub policy: u32,
    /// Of the identities that are known.
    pub identity: u32,
}

/// What a server has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions made.
    pub opened: u64,
    /// Handshakes that were refused.
    pub refused: u64,
    /// Resumes refused because the ticket had been used: replays, thefts, and answers that were lost.
    pub spent: u64,
    /// Resumes refused for other reasons.
    pub not_resumed: u64,
}

#[derive(Default)]
struct Counters {
    opened: AtomicU64,
    refused: AtomicU64,
    spent: AtomicU64,
    not_resumed: AtomicU64,
}

/// A session, as its server knows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// What it is called, while the server runs.
    pub id: SessionId,
    /// [Whose](device::digest) it is.
    pub device: Digest,
    /// What admitted it: see [`Admitted::evidence`].
    pub evidence: Digest,
    /// The client's version.
    pub version: u32,
    /// The epochs it is bound to.
    pub epochs: Epochs,
    /// By the server's clock.
    ends: u64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.id)
    }
}

/// Makes sessions, and goes on with them. Shared by all threads.
pub struct Server {
    deployment: [u8; 16],
    supply: Arc<CertifiedSupply<DecapsulationKey>>,
    admit: Arc<dyn Admit>,
    table: Table,
    tickets: Arc<TicketKeys>,
    clock: Arc<Clock>,
    policy: AtomicU32,
    identity: AtomicU32,
    lifetime: u64,
    counters: Counters,
    /// Dropped, it ends the thread that rotates ticket keys.
    _keeper: Sender<()>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl Server {
    /// A server of a deployment, with keys of its supply, which was started with [`KEY_KIND`] and whose keys
    /// serve once. It has a thread that brings in new ticket keys.
    ///
    /// Errors: `E-ARGUMENT` for settings out of range; `E-POOL` without locked memory where that is asked for;
    /// `E-ENTROPY`, `E-IO`.
    pub fn start(
        deployment: [u8; 16],
        supply: Arc<CertifiedSupply<DecapsulationKey>>,
        admit: Arc<dyn Admit>,
        epochs: Epochs,
        settings: Settings,
    ) -> Result<Self> {
        let (lifetime, period) = (millis(settings.lifetime), millis(settings.ticket_period));
        if !(1..=MAX_SESSIONS).contains(&settings.sessions)
            || !(1..=24 * DAY_MS).contains(&lifetime)
            || !(1..=DAY_MS).contains(&period)
        {
            return Err(Error::new(Kind::Argument, "a session setting is out of range"));
        }
        let clock = Arc::new(Clock::start());
        let tickets = TicketKeys::new(&deployment, period, clock.now(), settings.memory)?;
        let tickets = Arc::new(tickets);
        Ok(Self {
            deployment,
            supply,
            admit,
            table: Table::new(settings.sessions),
            _keeper: keep(&tickets, &clock)?,
            tickets,
            clock,
            policy: AtomicU32::new(epochs.policy),
            identity: AtomicU32::new(epochs.identity),
            lifetime,
            counters: Counters::default(),
        })
    }

    /// The deployment.
    #[must_use]
    pub fn deployment(&self) -> [u8; 16] {
        self.deployment
    }

    /// The epochs that hold.
    #[must_use]
    pub fn epochs(&self) -> Epochs {
        Epochs {
            policy: self.policy.load(Ordering::Acquire),
            identity: self.identity.load(Ordering::Acquire),
        }
    }

    /// Brings in new epochs: no session of others is resumed from here on, nor [holds](Self::holds).
    pub fn advance(&self, epochs: Epochs) {
        self.policy.store(epochs.policy, Ordering::Release);
        self.identity.store(epochs.identity, Ordering::Release);
    }

    /// Why the ticket keys' memory is not protected as was asked, if it is not.
    #[must_use]
    pub fn degraded(&self) -> Option<String> {
        self.tickets.degraded()
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let Counters { opened, refused, spent, not_resumed } = &self.counters;
        let [opened, refused, spent, not_resumed] =
            [opened, refused, spent, not_resumed].map(|count| count.load(Ordering::Relaxed));
        Counts { opened, refused, spent, not_resumed }
    }

    /// Sessions whose time is not over and that were not ended.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.table.alive(self.clock.now())
    }

    /// Brings in a new ticket key before its time: tickets of the one before the last open no more.
    ///
    /// Errors: `E-ENTROPY`, `E-POOL`.
    pub fn rotate(&self) -> Result<()> {
        self.tickets.rotate(self.clock.now())
    }

    /// Ends a session. Gives whether there was one whose time was not over.
    pub fn revoke(&self, session: SessionId) -> bool {
        self.table.end(session, self.clock.now())
    }

    /// Ends all sessions that a device has, and gives how many. That it makes no new one is the business of
    /// [`Admit`]: tell it first.
    pub fn revoke_device(&self, device: &Digest) -> usize {
        self.table.end_of(Some(device), self.clock.now())
    }

    /// Ends all sessions, and gives how many.
    pub fn revoke_all(&self) -> usize {
        self.table.end_of(None, self.clock.now())
    }

    /// Whether a session still holds: to be asked before every use of a channel that has been open for a while.
    ///
    /// # Errors
    /// [`Refusal::Expired`], [`Refusal::Epoch`], [`Refusal::Revoked`].
    pub fn holds(&self, session: &Session) -> std::result::Result<(), Refusal> {
        self.in_time(session.ends, session.epochs, self.clock.now())?;
        if self.table.holds(session.id) { Ok(()) } else { Err(Refusal::Revoked) }
    }

    fn in_time(&self, ends: u64, epochs: Epochs, now: u64) -> std::result::Result<(), Refusal> {
        if now >= ends {
            Err(Refusal::Expired)
        } else if epochs != self.epochs() {
            Err(Refusal::Epoch)
        } else {
            Ok(())
        }
    }

    /// Answers a hello with a key of the supply. The answer is an [`Offer`].
    ///
    /// The key is the connection's until what is given is dropped: who holds connections without going on holds
    /// keys, so that connections need a deadline, and a limit of each peer.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if no key is ready; [`Refusal::Internal`]; those of [`Hello::decode`].
    pub fn offer(
        &self,
        hello: &[u8],
        out: &mut Vec<u8>,
    ) -> std::result::Result<Offered<'_>, Refusal> {
        self.refusing(|| {
            Hello::decode(hello)?;
            let key = self.supply.acquire().map_err(|miss| match miss {
                Miss::Dry => Refusal::Busy,
                Miss::Closed => Refusal::Internal,
            })?;
            self.offer_key(hello, key, out)
        })
    }

    /// The same with a key that was taken before, or [made](crate::pools::Supply::acquire_or_make) for it.
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn offer_key<'a>(
        &'a self,
        hello: &[u8],
        key: Key<'a, DecapsulationKey>,
        out: &mut Vec<u8>,
    ) -> std::result::Result<Offered<'a>, Refusal> {
        let hello = Hello::decode(hello)?.encode();
        let certificate = self.supply.certificate(&key).and_then(|c| c.encode());
        let certificate = certificate.map_err(|_| Refusal::Internal)?;
        let mut nonce = [0; 32];
        generator::fill(&mut nonce)?;
        let mut public = [0; ENCAPSULATION_KEY_SIZE];
        key.encapsulation_key(&mut public);
        let epochs = self.epochs();
        let offer = Offer {
            nonce,
            policy_epoch: epochs.policy,
            identity_epoch: epochs.identity,
            key: &public,
            certificate: &certificate,
        };
        *out = offer.encode();
        Ok(Offered { server: self, key, hello, offer: out.clone(), epochs })
    }

    fn refusing<T>(
        &self,
        work: impl FnOnce() -> std::result::Result<T, Refusal>,
    ) -> std::result::Result<T, Refusal> {
        work().inspect_err(|_| {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Goes on with a session: takes a [`Resume`], fills the channel, and writes a [`Resumed`]. It takes no
    /// lock, allocates nothing, and asks the system for nothing.
    ///
    /// A ticket that was used is refused and counted, and its session goes on: whoever recorded a resume on
    /// its way could otherwise end the session by sending it again.
    ///
    /// # Errors
    /// In this order: those of [`Resume::decode`]; [`Refusal::Ticket`], [`Refusal::Binder`]; and of a sender who
    /// holds the secret [`Refusal::Client`], [`Refusal::Expired`], [`Refusal::Epoch`], [`Refusal::Worn`],
    /// [`Refusal::Spent`], [`Refusal::Revoked`]. The channel is then closed.
    pub fn resume(
        &self,
        message: &[u8],
        channel: &mut Channel,
        out: &mut [u8; RESUMED_SIZE],
    ) -> std::result::Result<Session, Refusal> {
        let resumed = wiping::<RESUME_STACK, _>(|| self.resumed(message, channel, out));
        if let Err(refusal) = resumed {
            channel.close();
            let counter = match refusal {
                Refusal::Spent => &self.counters.spent,
                _ => &self.counters.not_resumed,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        resumed
    }

    fn resumed(
        &self,
        message: &[u8],
        channel: &mut Channel,
        out: &mut [u8; RESUMED_SIZE],
    ) -> std::result::Result<Session, Refusal> {
        let resume = Resume::decode(message)?;
        let now = self.clock.now();
        let mut contents = Contents::default();
        let opened = self.tickets.open(resume.ticket, now, &mut contents)?;
        let prf = Prf::new(&contents.secret);
        let bound = message.first_chunk().ok_or(Refusal::Malformed)?;
        // Before anything that tells of the session, and before the ticket is spent: anybody may have seen it.
        if !prf.is(Label::Binder, &Resume::context(bound, &contents.device), resume.binder) {
            return Err(Refusal::Binder);
        }
        let epochs = Epochs { policy: contents.policy_epoch, identity: contents.identity_epoch };
        if resume.version != contents.version {
            return Err(Refusal::Client);
        }
        if (resume.policy_epoch, resume.identity_epoch) != (epochs.policy, epochs.identity) {
            return Err(Refusal::Epoch);
        }
        self.in_time(contents.ends, epochs, now)?;
        let mut nonce = [0; 16];
        generator::fill(&mut nonce)?;
        contents.place = self.table.advance(contents.place)?;
        let mut keys = ResumedKeys::default();
        keys.derive(&prf, resume.binder, &nonce);
        keys.start(Side::Server, channel);
        contents.secret.copy_from_slice(&*keys.resumption);

        let head = Resumed::head(&nonce);
        let mut text = [0; 4 + TICKET_SIZE];
        if let Some((left, ticket)) = text.split_first_chunk_mut::<4>() {
            *left = left_ms(contents.ends, now).to_le_bytes();
            let ticket = ticket.first_chunk_mut().ok_or(Refusal::Internal)?;
            self.tickets.seal(&contents, Some(&opened), ticket)?;
        }
        let tag = sealing(channel)?.seal(&head, &mut text)?;
        *out = concat(&[&head, &text, &tag]);
        Ok(session(&contents))
    }
}

fn sealing(channel: &mut Channel) -> std::result::Result<&mut Half, Refusal> {
    channel.halves().0.as_mut().ok_or(Refusal::Closed)
}

fn left_ms(ends: u64, now: u64) -> u32 {
    u32::try_from(ends.saturating_sub(now)).unwrap_or(u32::MAX)
}

fn session(contents: &Contents) -> Session {
    Session {
        id: contents.place.session(),
        device: contents.device,
        evidence: contents.evidence,
        version: contents.version,
        epochs: Epochs { policy: contents.policy_epoch, identity: contents.identity_epoch },
        ends: contents.ends,
    }
}

/// What a device is told that is not admitted.
fn of(refused: Refused) -> Refusal {
    match refused {
        Refused::Failed => Refusal::Internal,
        Refused::Unknown | Refused::Refused => Refusal::Identity,
    }
}

/// The keys of a resumed session: of the ticket's secret, the binder, which is over all that the client
/// said, and the server's nonce.
#[derive(Default)]
pub(super) struct ResumedKeys {
    client: Secret,
    server: Secret,
    pub(super) resumption: Secret,
}

impl ResumedKeys {
    pub(super) fn derive(&mut self, prf: &Prf, binder: &[u8; 32], nonce: &[u8; 16]) {
        let context: [u8; 32 + 16] = concat(&[binder, nonce]);
        let keys = [
            (Label::ClientRecords, &mut *self.client),
            (Label::ServerRecords, &mut *self.server),
            (Label::Resumption, &mut *self.resumption),
        ];
        prf.expand(&context, keys);
    }

    pub(super) fn start(&self, side: Side, channel: &mut Channel) {
        match side {
            Side::Client => channel.start(&self.client, &self.server),
            Side::Server => channel.start(&self.server, &self.client),
        }
    }
}

/// Starts the thread that brings in ticket keys. It ends when what is given is dropped.
fn keep(tickets: &Arc<TicketKeys>, clock: &Arc<Clock>) -> Result<Sender<()>> {
    let (sender, receiver) = mpsc::channel::<()>();
    let (tickets, clock): (Weak<TicketKeys>, _) = (Arc::downgrade(tickets), Arc::clone(clock));
    let work = move || {
        while let Some(tickets) = tickets.upgrade() {
            let mut wait = tickets.due_in(clock.now());
            if wait == 0 {
                // What failed is tried again; meanwhile the last key ends by itself.
                wait = if tickets.rotate(clock.now()).is_ok() { 1 } else { 1000 };
            }
            drop(tickets);
            if receiver.recv_timeout(Duration::from_millis(wait)) != Err(RecvTimeoutError::Timeout)
            {
                return;
            }
        }
    };
    Worker { name: "ticket-keys".into(), core: None, priority: Priority::Low }
        .spawn(work)
        .map_err(|e| Error::new(Kind::Io, format!("a thread cannot be started: {e}")))?;
    Ok(sender)
}

/// A key was offered; the client is to begin.
pub struct Offered<'a> {
    server: &'a Server,
    pub(super) key: Key<'a, DecapsulationKey>,
    hello: [u8; super::HELLO_SIZE],
    offer: Vec<u8>,
    epochs: Epochs,
}

/// What the server answers to a begin, or to a proof.
pub enum Step<'a> {
    /// The answer asks for the proof.
    Ask(Asked<'a>),
    /// The answer is a welcome: there is a session.
    Welcome(Session),
}

/// The client is to present its proof.
pub struct Asked<'a> {
    server: &'a Server,
    handshake: Box<Handshake>,
    device: Digest,
    version: u32,
    epochs: Epochs,
}

impl<'a> Offered<'a> {
    /// Takes a [`Begin`], and writes the answer. The key is used once, here, and wiped.
    ///
    /// # Errors
    /// Those of [`Begin::decode`]; [`Refusal::Unauthentic`], [`Refusal::Device`], [`Refusal::Identity`],
    /// [`Refusal::Changed`], [`Refusal::Full`], [`Refusal::Internal`].
    pub fn begin(
        self,
        message: &[u8],
        channel: &mut Channel,
        out: &mut Vec<u8>,
    ) -> std::result::Result<Step<'a>, Refusal> {
        let server = self.server;
        wiping::<BEGIN_STACK, _>(|| server.refusing(|| self.begun(message, channel, out)))
    }

    fn begun(
        self,
        message: &[u8],
        channel: &mut Channel,
        out: &mut Vec<u8>,
    ) -> std::result::Result<Step<'a>, Refusal> {
        let Self { server, key, hello, offer, epochs } = self;
        let begin = Begin::decode(message)?;
        let head = message.get(..BEGIN_HEAD).ok_or(Refusal::Malformed)?;
        let mut shared = Zeroizing::new([0; SECRET_SIZE]);
        key.decapsulate(begin.ciphertext, &mut shared).map_err(|_| Refusal::Internal)?;
        // Wiped, whatever the supply's settings are.
        key.retire();
        let mut handshake = Handshake::new(&hello, &offer, head, &shared);
        let transcript = *handshake.transcript();
        let text = handshake.hear(Side::Client, BEGIN_HEAD, message)?;
        let Login { version, device, signature, presented } = Login::decode(&text)?;
        if !device::verify(&transcript, version, device, presented.parts(), signature) {
            return Err(Refusal::Device);
        }
        let device = device::digest(device);
        let asked = Asked { server, handshake, device, version, epochs };
        match server.admit.admit(&device, presented) {
            Ok(admitted) => asked.welcome(admitted, channel, out).map(Step::Welcome),
            Err(Refused::Unknown) if matches!(presented, Presented::Fingerprint(_)) => {
                let mut asked = asked;
                *out = asked.handshake.say(Side::Server, &ask(), &mut [])?;
                Ok(Step::Ask(asked))
            }
            Err(refused) => Err(of(refused)),
        }
    }
}

impl Asked<'_> {
    /// Takes the message with the proof, and writes the welcome.
    ///
    /// # Errors
    /// As [`Offered::begin`].
    pub fn proof(
        mut self,
        message: &[u8],
        channel: &mut Channel,
        out: &mut Vec<u8>,
    ) -> std::result::Result<Session, Refusal> {
        let server = self.server;
        let work = || {
            read_prove(message)?;
            let proof = self.handshake.hear(Side::Client, HEAD, message)?;
            let admitted = server.admit.admit(&self.device, Presented::Proof(&proof));
            self.welcome(admitted.map_err(of)?, channel, out)
        };
        wiping::<BEGIN_STACK, _>(|| server.refusing(work))
    }

    fn welcome(
        mut self,
        admitted: Admitted,
        channel: &mut Channel,
        out: &mut Vec<u8>,
    ) -> std::result::Result<Session, Refusal> {
        let Self { server, epochs, .. } = self;
        if epochs != server.epochs() || admitted.identity_epoch != epochs.identity {
            return Err(Refusal::Changed);
        }
        let now = server.clock.now();
        let lifetime = millis(admitted.lifetime).min(server.lifetime);
        let ends = now + lifetime;
        let place = server.table.open(&self.device, ends, now)?;
        let mut contents = Contents {
            place,
            ends,
            policy_epoch: epochs.policy,
            identity_epoch: epochs.identity,
            version: self.version,
            device: self.device,
            evidence: admitted.evidence,
            ..Contents::default()
        };
        self.handshake.keys(Side::Server, channel, &mut contents.secret);
        let made = self.seal_welcome(&contents, lifetime, out);
        match made {
            Ok(()) => {
                server.counters.opened.fetch_add(1, Ordering::Relaxed);
                Ok(session(&contents))
            }
            Err(refusal) => {
                channel.close();
                server.table.end(place.session(), now);
                Err(refusal)
            }
        }
    }

    fn seal_welcome(
        &mut self,
        contents: &Contents,
        lifetime: u64,
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), Refusal> {
        let mut ticket = [0; TICKET_SIZE];
        self.server.tickets.seal(contents, None, &mut ticket)?;
        let welcome = Welcome {
            session: contents.place.session().number(),
            left_ms: u32::try_from(lifetime).unwrap_or(u32::MAX),
            policy_epoch: contents.policy_epoch,
            identity_epoch: contents.identity_epoch,
            max_record: MAX_RECORD as u32,
            max_records: MAX_RECORDS as u32,
            ticket: &ticket,
        };
        *out = self.handshake.say(Side::Server, &Welcome::HEAD, &mut welcome.encode())?;
        Ok(())
    }
}

// Both are read from one stream.
const _: () = assert!(super::MAX_RECORD + super::RECORD_OVERHEAD <= MAX_MESSAGE && TAG == 16);
