//! Sessions: handshakes as they should go and as they should not, resumption, revocation.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use symbolon_core::attest::{Digest, Validity};
use symbolon_host::error::{Error, Kind};
use symbolon_host::families::mlkem::DecapsulationKey;
use symbolon_host::keyring::{Entry, Keyring};
use symbolon_host::keys::{Deployment, SigningKeys, SigningSeeds};
use symbolon_host::pools::{CertifiedSupply, Config, SignRefill};
use symbolon_host::session::{
    ASK_SIZE, Admit, Admitted, BEGIN_SIZE, Begun, Channel, Client, DeviceKey, Epochs, HELLO_SIZE,
    KEY_KIND, Kind as Record, Next, OFFER_SIZE, Presented, RECORD_OVERHEAD, RESUME_SIZE,
    RESUMED_SIZE, Refusal, Refused, Resumption, Server, Session, Settings, Step, WELCOME_SIZE,
};
use symbolon_host::signer::SignWindow;
use symbolon_platform::locked::{OnFailure, Options};

const DEGRADE: Options = Options { on_failure: OnFailure::Degrade, huge: false };
const EPOCHS: Epochs = Epochs { policy: 3, identity: 5 };
const KNOWN: &[u8] = b"known";
const PROOF: &[u8] = b"a proof";

/// Knows one fingerprint and one proof.
struct Door {
    identity_epoch: AtomicU32,
    asked: AtomicUsize,
}

impl Admit for Door {
    fn admit(&self, _: &Digest, presented: Presented<'_>) -> Result<Admitted, Refused> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let identity_epoch = self.identity_epoch.load(Ordering::Relaxed);
        match presented {
            Presented::Fingerprint(KNOWN) | Presented::Proof(PROOF) => Ok(Admitted {
                identity_epoch,
                lifetime: Duration::from_secs(3600),
                evidence: [0xe1; 32],
            }),
            Presented::Fingerprint(b"nobody") => Err(Refused::Refused),
            Presented::Fingerprint(_) => Err(Refused::Unknown),
            Presented::Proof(_) => Err(Refused::Refused),
        }
    }
}

struct World {
    keys: Arc<SigningKeys>,
    ring: Keyring,
    supply: Arc<CertifiedSupply<DecapsulationKey>>,
    door: Arc<Door>,
    server: Server,
    device: DeviceKey,
}

const SETTINGS: Settings = Settings {
    sessions: 64,
    lifetime: Duration::from_secs(600),
    ticket_period: Duration::from_secs(600),
    memory: DEGRADE,
};

fn world(settings: Settings) -> World {
    of(7, settings)
}

fn of(id: u8, settings: Settings) -> World {
    let deployment = Deployment { id: [id; 16], epoch: 1 };
    let keys = SigningSeeds::draw(deployment, Validity::ALWAYS).unwrap().keys().unwrap();
    let keys = Arc::new(keys);
    let ring = ring(&keys);
    let config = Config::fixed::<DecapsulationKey>(64, DEGRADE);
    let signs: Arc<dyn SignRefill> = Arc::clone(&keys) as _;
    let supply = CertifiedSupply::start(config, KEY_KIND, signs, || Ok(())).unwrap();
    supply.fill(&mut supply.desk(()), &mut |_| ()).unwrap();
    let supply = Arc::new(supply);
    let door = Arc::new(Door { identity_epoch: EPOCHS.identity.into(), asked: 0.into() });
    let admit = Arc::clone(&door) as Arc<dyn Admit>;
    let server = Server::start([id; 16], Arc::clone(&supply), admit, EPOCHS, settings).unwrap();
    World { keys, ring, supply, door, server, device: DeviceKey::derive(&[id; 32]) }
}

fn ring(keys: &SigningKeys) -> Keyring {
    Keyring::parse(&keys.public(), Path::new("verify.key")).unwrap()
}

/// What went over the wire, up to the server's answer to a begin.
struct Said {
    hello: Vec<u8>,
    offer: Vec<u8>,
    begin: Vec<u8>,
    answer: Vec<u8>,
}

struct Made {
    said: Said,
    server: Channel,
    client: Channel,
    session: Session,
    resumption: Resumption,
}

impl World {
    fn client(&self) -> Client<'_> {
        Client::new(&self.device, &self.ring, 11).unwrap()
    }

    fn offered(
        &self,
    ) -> (Vec<u8>, Vec<u8>, symbolon_host::session::Greeted, symbolon_host::session::Offered<'_>)
    {
        let (mut hello, mut offer) = (Vec::new(), Vec::new());
        let greeted = self.client().hello(&mut hello).unwrap();
        // A key of its own for each, however many a test takes.
        let offered = match self.server.offer(&hello, &mut offer) {
            Ok(offered) => offered,
            Err(refusal) => {
                assert_eq!(refusal, Refusal::Busy);
                self.supply.fill(&mut self.supply.desk(()), &mut |_| ()).unwrap();
                self.server.offer(&hello, &mut offer).unwrap()
            }
        };
        (hello, offer, greeted, offered)
    }

    fn try_session(&self, presented: Presented<'_>) -> Result<Made, Error> {
        let (hello, offer, greeted, offered) = self.offered();
        let (mut server, mut client) = (Channel::new(), Channel::new());
        let (mut begin, mut answer) = (Vec::new(), Vec::new());
        let begun = self.client().begin(greeted, &offer, presented, &mut begin)?;
        let Step::Welcome(session) = offered.begin(&begin, &mut server, &mut answer)? else {
            panic!("no proof is asked for");
        };
        let Next::Welcome(resumption) = begun.next(&answer, &mut client)? else {
            panic!("a welcome");
        };
        let said = Said { hello, offer, begin, answer };
        Ok(Made { said, server, client, session, resumption })
    }

    fn session(&self) -> Made {
        self.try_session(Presented::Fingerprint(KNOWN)).unwrap()
    }

    /// The server's answer to a resume.
    fn answer(&self, message: &[u8]) -> Result<([u8; RESUMED_SIZE], Channel, Session), Refusal> {
        let (mut channel, mut out) = (Channel::new(), [0; RESUMED_SIZE]);
        let session = self.server.resume(message, &mut channel, &mut out)?;
        Ok((out, channel, session))
    }

    fn resume(&self, resumption: Resumption) -> (Resumption, Channel, Channel) {
        let mut message = [0; RESUME_SIZE];
        let resuming = resumption.resume(&mut message).unwrap();
        let (answer, server, _) = self.answer(&message).unwrap();
        let mut client = Channel::new();
        (resuming.finish(&answer, &mut client).unwrap(), server, client)
    }
}

fn message(resumption: Resumption) -> [u8; RESUME_SIZE] {
    let mut message = [0; RESUME_SIZE];
    resumption.resume(&mut message).unwrap();
    message
}

/// Probes go one way, answers the other.
fn talk(server: &mut Channel, client: &mut Channel) {
    for turn in 0..3_u8 {
        let mut record = vec![0; 512 + RECORD_OVERHEAD];
        client.seal(Record::Probe, &[turn; 512], &mut record).unwrap();
        assert_eq!(server.open(&mut record), Ok((Record::Probe, &[turn; 512][..])));
        let mut record = vec![0; 1 + RECORD_OVERHEAD];
        server.seal(Record::Answer, &[turn], &mut record).unwrap();
        assert_eq!(client.open(&mut record), Ok((Record::Answer, &[turn][..])));
    }
}

fn refused<T>(result: Result<T, Error>) -> Error {
    let error = result.err().expect("refused");
    assert!(matches!(error.kind(), Kind::Session | Kind::Ticket), "{error}");
    error
}

#[test]
fn a_session_is_made_used_and_resumed() {
    let world = world(SETTINGS);
    let Made { said, mut server, mut client, session, resumption } = world.session();
    assert_eq!(said.hello.len(), HELLO_SIZE);
    assert!((OFFER_SIZE + 21_190..=OFFER_SIZE + 21_382).contains(&said.offer.len()));
    assert_eq!((said.begin.len(), said.answer.len()), (BEGIN_SIZE + KNOWN.len(), WELCOME_SIZE));
    assert_eq!(resumption.session(), Some(session.id));
    assert_eq!((&session.device, session.version), (world.device.digest(), 11));
    assert!(resumption.left() <= SETTINGS.lifetime);
    talk(&mut server, &mut client);
    assert_eq!(world.server.holds(&session), Ok(()));

    let mut next = resumption;
    for _ in 0..20 {
        let (mut server, mut client);
        (next, server, client) = world.resume(next);
        talk(&mut server, &mut client);
    }
    let counts = world.server.counts();
    assert_eq!((counts.opened, counts.refused, counts.spent, counts.not_resumed), (1, 0, 0, 0));
    assert_eq!(world.server.sessions(), 1);
}

#[test]
fn an_unknown_fingerprint_is_asked_for_its_proof() {
    let world = world(SETTINGS);
    let begin = |fingerprint| {
        let (_, offer, greeted, offered) = world.offered();
        let (mut message, mut answer) = (Vec::new(), Vec::new());
        let presented = Presented::Fingerprint(fingerprint);
        let begun = world.client().begin(greeted, &offer, presented, &mut message).unwrap();
        let mut channel = Channel::new();
        let step = offered.begin(&message, &mut channel, &mut answer).unwrap();
        let Step::Ask(asked) = step else { panic!("asked") };
        let Next::Ask(client) = begun.next(&answer, &mut channel).unwrap() else { panic!() };
        assert!(!channel.is_open());
        (asked, client)
    };
    let (asked, client) = begin(b"new");
    let (mut server_side, mut client_side) = (Channel::new(), Channel::new());
    let (mut message, mut answer) = (Vec::new(), Vec::new());
    let begun: Begun = client.prove(PROOF, &mut message).unwrap();
    asked.proof(&message, &mut server_side, &mut answer).unwrap();
    let Next::Welcome(next) = begun.next(&answer, &mut client_side).unwrap() else { panic!() };
    talk(&mut server_side, &mut client_side);
    world.resume(next);
    assert_eq!(world.door.asked.load(Ordering::Relaxed), 2);

    let (asked, client) = begin(b"new");
    client.prove(b"another proof", &mut message).unwrap();
    let wrong = asked.proof(&message, &mut server_side, &mut answer);
    assert_eq!(wrong.err(), Some(Refusal::Identity));
    assert!(world.try_session(Presented::Proof(PROOF)).is_ok());
    let nobody = refused(world.try_session(Presented::Fingerprint(b"nobody")));
    assert_eq!(nobody.message(), Refusal::Identity.to_string());
    refused(world.try_session(Presented::Proof(b"none")));
    let long = vec![0; 65_537];
    let error = world.try_session(Presented::Proof(&long)).err().unwrap();
    assert_eq!(error.kind(), Kind::Argument);
}

/// Every byte of every message has another value, but that of the longest it is the heads' and some of the rest: someone
/// refuses, nobody panics.
#[test]
fn altered_messages_are_refused() {
    let world = world(SETTINGS);
    let hello_of = || {
        let mut hello = Vec::new();
        (world.client().hello(&mut hello).unwrap(), hello)
    };
    // Of the long messages, the heads whole and the rest in steps.
    let places = |len: usize, step: usize| (0..len).filter(move |at| *at < 64 || at % step == 0);
    let presented = Presented::Fingerprint(KNOWN);

    let (_, hello) = hello_of();
    for at in places(hello.len(), 1) {
        let (greeted, mut hello) = hello_of();
        hello[at] ^= 1 << (at % 8);
        let (mut offer, mut begin, mut out) = (Vec::new(), Vec::new(), Vec::new());
        match world.server.offer(&hello, &mut offer) {
            // Another nonce: both sides know another transcript.
            Ok(offered) => {
                world.client().begin(greeted, &offer, presented, &mut begin).unwrap();
                let wrong = offered.begin(&begin, &mut Channel::new(), &mut out);
                assert_eq!(wrong.err(), Some(Refusal::Unauthentic), "hello {at}");
            }
            Err(Refusal::Busy) => {
                world.supply.fill(&mut world.supply.desk(()), &mut |_| ()).unwrap();
            }
            Err(_) => {}
        }
    }

    let (_, offer, _, offered) = world.offered();
    drop(offered);
    for at in places(offer.len(), 97) {
        let (_, mut offer, greeted, offered) = world.offered();
        offer[at] ^= 1 << (at % 8);
        let (mut begin, mut out) = (Vec::new(), Vec::new());
        match world.client().begin(greeted, &offer, presented, &mut begin) {
            // Nonce and epochs are in the transcript alone.
            Ok(_) => {
                assert!((2..42).contains(&at), "offer {at}");
                let wrong = offered.begin(&begin, &mut Channel::new(), &mut out);
                assert_eq!(wrong.err(), Some(Refusal::Unauthentic), "offer {at}");
            }
            Err(error) => assert_eq!(error.kind(), Kind::Session, "offer {at}: {error}"),
        }
    }

    for at in places(BEGIN_SIZE + KNOWN.len(), 61) {
        let (_, offer, greeted, offered) = world.offered();
        let (mut begin, mut out, mut channel) = (Vec::new(), Vec::new(), Channel::new());
        world.client().begin(greeted, &offer, presented, &mut begin).unwrap();
        begin[at] ^= 1 << (at % 8);
        assert!(offered.begin(&begin, &mut channel, &mut out).is_err(), "begin {at}");
        assert!(!channel.is_open() && out.is_empty());
    }

    let asked = |answer: &mut Vec<u8>| {
        let (_, offer, greeted, offered) = world.offered();
        let mut begin = Vec::new();
        let unknown = Presented::Fingerprint(b"new");
        let begun = world.client().begin(greeted, &offer, unknown, &mut begin).unwrap();
        let step = offered.begin(&begin, &mut Channel::new(), answer).unwrap();
        let Step::Ask(asked) = step else { panic!("asked") };
        (asked, begun)
    };
    for at in 0..ASK_SIZE {
        let (mut answer, mut channel) = (Vec::new(), Channel::new());
        let (_asked, begun) = asked(&mut answer);
        assert_eq!(answer.len(), ASK_SIZE);
        answer[at] ^= 1 << (at % 8);
        refused(begun.next(&answer, &mut channel).map(drop));
        assert!(!channel.is_open(), "ask {at}");
    }

    // As long as the ask, and the proof.
    for at in 0..ASK_SIZE + PROOF.len() {
        let (mut answer, mut prove, mut channel) = (Vec::new(), Vec::new(), Channel::new());
        let (asked, begun) = asked(&mut answer);
        let Next::Ask(client) = begun.next(&answer, &mut channel).unwrap() else { panic!() };
        client.prove(PROOF, &mut prove).unwrap();
        assert_eq!(prove.len(), ASK_SIZE + PROOF.len());
        prove[at] ^= 1 << (at % 8);
        answer.clear();
        assert!(asked.proof(&prove, &mut channel, &mut answer).is_err(), "prove {at}");
        assert!(!channel.is_open() && answer.is_empty());
    }

    for at in 0..WELCOME_SIZE {
        let (_, offer, greeted, offered) = world.offered();
        let (mut begin, mut answer, mut channel) = (Vec::new(), Vec::new(), Channel::new());
        let begun = world.client().begin(greeted, &offer, presented, &mut begin).unwrap();
        let step = offered.begin(&begin, &mut channel, &mut answer).unwrap();
        let Step::Welcome(session) = step else { panic!() };
        answer[at] ^= 1 << (at % 8);
        let mut channel = Channel::new();
        refused(begun.next(&answer, &mut channel).map(drop));
        assert!(!channel.is_open(), "welcome {at}");
        world.server.revoke(session.id);
    }
    assert_eq!(world.server.sessions(), 0);

    let mut next = world.session().resumption;
    for at in 0..RESUME_SIZE {
        let mut message = [0; RESUME_SIZE];
        let resuming = next.resume(&mut message).unwrap();
        let mut altered = message;
        altered[at] ^= 1 << (at % 8);
        assert!(world.answer(&altered).is_err(), "resume {at}");
        // Which has spent nothing.
        let (answer, ..) = world.answer(&message).unwrap();
        next = resuming.finish(&answer, &mut Channel::new()).unwrap();
    }
    for at in 0..RESUMED_SIZE {
        let mut message = [0; RESUME_SIZE];
        let resuming = world.session().resumption.resume(&mut message).unwrap();
        let (mut answer, _, session) = world.answer(&message).unwrap();
        answer[at] ^= 1 << (at % 8);
        let mut channel = Channel::new();
        refused(resuming.finish(&answer, &mut channel));
        assert!(!channel.is_open(), "resumed {at}");
        world.server.revoke(session.id);
    }
}

/// A begin is for one key, which is gone: it is of no use to another connection.
#[test]
fn a_replayed_begin_is_refused() {
    let world = world(SETTINGS);
    let begin = world.session().said.begin;
    let (_, _, _, offered) = world.offered();
    let replayed = offered.begin(&begin, &mut Channel::new(), &mut Vec::new());
    assert_eq!(replayed.err(), Some(Refusal::Unauthentic));
}

/// Whoever has a deployment's offers has not its sessions: the key is needed.
#[test]
fn another_deployment_is_refused() {
    let (world, other) = (of(7, SETTINGS), of(8, SETTINGS));
    let (_, offer, _, _) = other.offered();
    let mut hello = Vec::new();
    let greeted = world.client().hello(&mut hello).unwrap();
    let presented = Presented::Fingerprint(KNOWN);
    let error = refused(world.client().begin(greeted, &offer, presented, &mut Vec::new()));
    assert!(error.message().contains("not known"), "{error}");
    // Known, and still not meant.
    let both = [world.keys.public(), other.keys.public()].concat();
    let both = Keyring::parse(&both, Path::new("both")).unwrap();
    let client = Client { keyring: &both, ..world.client() };
    let greeted = client.hello(&mut hello).unwrap();
    let error = refused(client.begin(greeted, &offer, presented, &mut Vec::new()));
    assert!(error.message().contains("another deployment"), "{error}");
    // Its tickets are worth nothing here.
    let message = message(other.session().resumption);
    assert_eq!(world.answer(&message).err(), Some(Refusal::Ticket));
}

#[test]
fn keys_that_do_not_count_certify_nothing() {
    let world = world(SETTINGS);
    let presented = Presented::Fingerprint(KNOWN);
    let refuses = |ring: &Keyring, age: Duration, what: &str| {
        let client = Client { keyring: ring, max_key_age: age, ..world.client() };
        let (_, offer, _, _offered) = world.offered();
        let greeted = client.hello(&mut Vec::new()).unwrap();
        let error = refused(client.begin(greeted, &offer, presented, &mut Vec::new()));
        assert!(error.message().contains(what), "{error}");
    };
    let hour = Duration::from_secs(3600);
    let mut revoked = ring(&world.keys);
    revoked.revoke(&[world.keys.id()].into());
    refuses(&revoked, hour, "revoked");
    // A keyring that says that the set's time is over. Its id does not bind that.
    let mut bytes = world.keys.public();
    let day = 24 * 3600 * 1000;
    let now = symbolon_platform::clock::unix_ms();
    bytes[34..42].copy_from_slice(&(now - 1).to_le_bytes());
    let retired = Keyring::parse(&bytes, Path::new("retired")).unwrap();
    let entry: &Entry = &retired.entries()[0];
    assert_eq!(entry.state(now), "retired");
    refuses(&retired, hour, "");
    bytes[34..42].copy_from_slice(&u64::MAX.to_le_bytes());
    bytes[26..34].copy_from_slice(&(now + day).to_le_bytes());
    refuses(&Keyring::parse(&bytes, Path::new("future")).unwrap(), hour, "");
    thread::sleep(Duration::from_millis(5));
    refuses(&world.ring, Duration::ZERO, "too old");
}

#[test]
fn a_spent_ticket_is_refused_and_counted() {
    let world = world(SETTINGS);
    let mut message = [0; RESUME_SIZE];
    let resuming = world.session().resumption.resume(&mut message).unwrap();
    let (answer, ..) = world.answer(&message).unwrap();
    assert_eq!(world.answer(&message).err(), Some(Refusal::Spent));
    assert_eq!(world.answer(&message).err(), Some(Refusal::Spent));
    assert_eq!(world.server.counts().spent, 2);
    // The session goes on.
    let next = resuming.finish(&answer, &mut Channel::new()).unwrap();
    world.resume(next);
}

#[test]
fn of_many_who_resume_at_once_one_does() {
    let world = world(SETTINGS);
    let mut next = world.session().resumption;
    for _ in 0..50 {
        let mut message = [0; RESUME_SIZE];
        let resuming = next.resume(&mut message).unwrap();
        let answers: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| world.answer(&message).map(|(answer, ..)| answer)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let won: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        assert_eq!(won.len(), 1);
        let lost = answers.iter().filter_map(|answer| answer.as_ref().err());
        assert!(lost.into_iter().all(|refusal| *refusal == Refusal::Spent));
        next = resuming.finish(won[0], &mut Channel::new()).unwrap();
    }
}

#[test]
fn revoked_sessions_are_over() {
    let world = world(SETTINGS);
    let other = DeviceKey::derive(&[99; 32]);
    let [one, two, three] = [(); 3].map(|()| world.session());
    let Made { session, resumption, .. } = {
        let client = Client { device: &other, ..world.client() };
        let (_, offer, greeted, offered) = world.offered();
        let (mut begin, mut answer) = (Vec::new(), Vec::new());
        let presented = Presented::Fingerprint(KNOWN);
        let begun = client.begin(greeted, &offer, presented, &mut begin).unwrap();
        let (mut server, mut own) = (Channel::new(), Channel::new());
        let step = offered.begin(&begin, &mut server, &mut answer).unwrap();
        let Step::Welcome(session) = step else { panic!() };
        let Next::Welcome(resumption) = begun.next(&answer, &mut own).unwrap() else { panic!() };
        let said = Said { hello: vec![], offer, begin, answer };
        Made { said, server, client: own, session, resumption }
    };
    assert_ne!(session.device, one.session.device);
    assert!(world.server.revoke(one.session.id) && !world.server.revoke(one.session.id));
    assert_eq!(world.server.holds(&one.session), Err(Refusal::Revoked));
    assert_eq!(world.answer(&message(one.resumption)).err(), Some(Refusal::Revoked));
    assert_eq!(world.server.holds(&two.session), Ok(()));
    assert_eq!(world.server.revoke_device(world.device.digest()), 2);
    for made in [two, three] {
        assert_eq!(world.answer(&message(made.resumption)).err(), Some(Refusal::Revoked));
    }
    assert_eq!(world.server.holds(&session), Ok(()));
    assert_eq!(world.server.revoke_all(), 1);
    assert_eq!(world.answer(&message(resumption)).err(), Some(Refusal::Revoked));
    assert_eq!((world.server.sessions(), world.server.counts().not_resumed), (0, 4));
}

#[test]
fn epochs_end_sessions() {
    let world = world(SETTINGS);
    for epochs in [Epochs { policy: 4, ..EPOCHS }, Epochs { identity: 6, ..EPOCHS }] {
        world.server.advance(EPOCHS);
        let made = world.session();
        let message = message(made.resumption);
        world.server.advance(epochs);
        assert_eq!(world.answer(&message).err(), Some(Refusal::Epoch));
        assert_eq!(world.server.holds(&made.session), Err(Refusal::Epoch));
        // In the middle of a handshake.
        world.server.advance(EPOCHS);
        let (_, offer, greeted, offered) = world.offered();
        let mut begin = Vec::new();
        let presented = Presented::Fingerprint(KNOWN);
        world.client().begin(greeted, &offer, presented, &mut begin).unwrap();
        world.server.advance(epochs);
        let late = offered.begin(&begin, &mut Channel::new(), &mut Vec::new());
        assert_eq!(late.err(), Some(Refusal::Changed));
    }
    // Judged by identities of another epoch.
    world.server.advance(EPOCHS);
    world.door.identity_epoch.store(4, Ordering::Relaxed);
    let error = refused(world.try_session(Presented::Fingerprint(KNOWN)));
    assert_eq!(error.message(), Refusal::Changed.to_string());
}

#[test]
fn time_ends_sessions() {
    let short = Duration::from_millis(150);
    let world = world(Settings { lifetime: short, sessions: 2, ..SETTINGS });
    let (first, second) = (world.session(), world.session());
    let full = refused(world.try_session(Presented::Fingerprint(KNOWN)));
    assert_eq!(full.message(), Refusal::Full.to_string());
    let (next, ..) = world.resume(first.resumption);
    assert!(next.left() <= short, "resuming prolongs nothing");
    thread::sleep(short + Duration::from_millis(30));
    assert_eq!(world.answer(&message(next)).err(), Some(Refusal::Expired));
    assert_eq!(world.server.holds(&second.session), Err(Refusal::Expired));
    assert_eq!(world.server.sessions(), 0);
    // What is over is not ended.
    assert!(!world.server.revoke(first.session.id));
    assert_eq!(world.server.revoke_device(world.device.digest()) + world.server.revoke_all(), 0);
    // The place of the first is used again, for another session.
    let third = world.session();
    assert_ne!(third.session.id, first.session.id);
    assert_eq!(third.session.id.number() as u32, first.session.id.number() as u32);
    assert_eq!(world.answer(&message(second.resumption)).err(), Some(Refusal::Expired));
}

#[test]
fn ticket_keys_overlap() {
    let world = world(SETTINGS);
    let [a, b] = [(); 2].map(|()| world.session().resumption);
    world.server.rotate().unwrap();
    let (a, ..) = world.resume(a);
    world.server.rotate().unwrap();
    assert_eq!(world.answer(&message(b)).err(), Some(Refusal::Ticket));
    let (a, ..) = world.resume(a);
    drop(a);

    // By itself, with time.
    let quick = self::world(Settings { ticket_period: Duration::from_millis(60), ..SETTINGS });
    let old = message(quick.session().resumption);
    let mut live = quick.session().resumption;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(400) {
        let mut message = [0; RESUME_SIZE];
        let resuming = live.resume(&mut message).unwrap();
        let Ok((answer, ..)) = quick.answer(&message) else {
            // This thread slept for longer than a ticket lives.
            live = quick.session().resumption;
            continue;
        };
        live = resuming.finish(&answer, &mut Channel::new()).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(quick.answer(&old).err(), Some(Refusal::Ticket));
    assert!(quick.server.counts().opened < 20);
}

#[test]
fn a_dry_supply_says_so() {
    let world = world(SETTINGS);
    let held: Vec<_> = (0..64).map(|_| world.supply.acquire().unwrap()).collect();
    let (mut hello, mut offer) = (Vec::new(), Vec::new());
    world.client().hello(&mut hello).unwrap();
    assert_eq!(world.server.offer(&hello, &mut offer).err(), Some(Refusal::Busy));
    drop(held);
    // One made for it.
    let mut desk = world.supply.desk(());
    let key = world.supply.acquire_or_make(&mut desk).unwrap();
    assert!(world.server.offer_key(&hello, key, &mut offer).is_ok());
}

/// The fuzzer's seeds are messages, each of its kind, and decoding loses nothing.
#[test]
fn long_messages_are_canonical() {
    macro_rules! seed {
        ($name:literal) => {
            &include_bytes!(concat!("../fuzz/seeds/session/", $name))[..]
        };
    }
    use symbolon_host::session::message::{Begin, Hello, Login, Offer, Resume, Resumed, Welcome};
    type Read = fn(&[u8]) -> Result<Vec<u8>, Refusal>;
    let cases: [(&[u8], Read); 7] = [
        (seed!("hello"), |m| Ok(Hello::decode(m)?.encode().to_vec())),
        (seed!("offer"), |m| Ok(Offer::decode(m)?.encode())),
        (seed!("begin"), |m| Ok(Begin::decode(m)?.encode())),
        (seed!("login"), |m| Ok(Login::decode(m)?.encode())),
        (seed!("welcome-text"), |m| Ok(Welcome::decode(m)?.encode().to_vec())),
        (seed!("resume"), |m| Ok(Resume::decode(m)?.encode().to_vec())),
        (seed!("resumed"), |m| Ok(Resumed::decode(m)?.encode().to_vec())),
    ];
    for (bytes, read) in cases {
        assert_eq!(read(bytes).as_deref(), Ok(bytes));
        assert!(read(&bytes[..bytes.len() / 2]).is_err());
    }
    let long = [seed!("login"), &[0; 65_537]].concat();
    assert_eq!(Login::decode(&long), Err(Refusal::Malformed));
    let long = [seed!("begin"), &[0; 65_537]].concat();
    assert_eq!(Begin::decode(&long), Err(Refusal::Malformed));
}

/// Each handshake has a key of its own, and the last reference wipes it.
#[test]
fn keys_serve_once() {
    let world = world(SETTINGS);
    let before = world.supply.status().level;
    let [one, two] = [(); 2].map(|()| world.session().said.offer);
    assert_ne!(one[42..42 + 1184], two[42..42 + 1184]);
    assert_eq!(world.supply.status().level, before - 2);
    assert_ne!(one[2..34], two[2..34]);
}

#[test]
fn nothing_secret_is_shown() {
    let world = world(SETTINGS);
    let made = world.session();
    let shown = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        made.session, made.resumption, made.client, world.server, world.device
    );
    assert!(shown.len() < 800, "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}
