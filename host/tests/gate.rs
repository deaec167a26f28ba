//! Proof, registry, cache and sessions together: who is let pass, by what, and for how long.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;
use symbolon_core::attest::{Digest, Validity};
use symbolon_host::error::Kind;
use symbolon_host::families::mlkem::DecapsulationKey;
use symbolon_host::identity::gate::{
    Claim, Counts, Passage, Settings as GateSettings, fingerprint_message, proof_message,
};
use symbolon_host::identity::hash::Node;
use symbolon_host::identity::registry::Registry;
use symbolon_host::identity::statement::{Context, proof_digest};
use symbolon_host::identity::{Credential, Gate, Prover};
use symbolon_host::keyring::Keyring;
use symbolon_host::keys::{Deployment, SigningSeeds};
use symbolon_host::pools::{CertifiedSupply, Config};
use symbolon_host::session::{
    Admit, Channel, Client, DeviceKey, Epochs, KEY_KIND, Next, Presented, RESUME_SIZE,
    RESUMED_SIZE, Refusal, Refused, Resumption, Server, Session, Settings, Step,
};
use symbolon_platform::clock;
use symbolon_platform::locked::{OnFailure, Options};
use tempfile::TempDir;

const DEPLOYMENT: [u8; 16] = [0xd0; 16];
const HOUR: u64 = 3_600_000;
const DEVICE: Digest = [1; 32];

struct World {
    gate: Arc<Gate>,
    people: Vec<Credential>,
    prover: Prover,
    _dir: TempDir,
}

/// Three people, enrolled and published.
fn world(settings: GateSettings) -> World {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    Registry::create(dir.path(), 20, DEPLOYMENT).unwrap();
    let registry = Arc::new(Registry::open(dir.path()).unwrap());
    let people: Vec<_> = (0..3).map(|_| Credential::draw(b"staff").unwrap()).collect();
    let leaves: Vec<_> =
        people.iter().enumerate().map(|(i, person)| (name(i), person.leaf())).collect();
    registry.enrol(&leaves).unwrap();
    registry.publish(clock::unix_ms(), HOUR).unwrap();
    let gate = Arc::new(Gate::new(registry, settings).unwrap());
    World { gate, people, prover: Prover::new(), _dir: dir }
}

fn name(person: usize) -> String {
    format!("person {person}")
}

fn small() -> GateSettings {
    GateSettings { capacity: 1024, threads: 4, ..GateSettings::default() }
}

impl World {
    /// A proof of a person, for a device, against the current root.
    fn prove(&self, person: usize, device: &Digest) -> (Claim, Vec<u8>) {
        let registry = self.gate.registry();
        let path = registry.path(&name(person)).unwrap();
        let context = Context { deployment: DEPLOYMENT, device: *device, epoch: path.epoch };
        let (statement, proof) =
            self.prover.prove(&self.people[person], &path.place(), &context).unwrap();
        (Claim { epoch: path.epoch, nullifier: statement.nullifier }, proof)
    }

    fn counts(&self) -> (u64, u64, u64) {
        let Counts { accepted, again, refused } = self.gate.counts();
        (accepted, again, refused)
    }
}

#[test]
fn a_proof_is_verified_once_and_then_found() {
    let world = world(small());
    let gate = &world.gate;
    let (claim, proof) = world.prove(0, &DEVICE);
    let digest = proof_digest(&proof);
    assert_eq!(gate.recall(&DEVICE, &claim, &digest), Passage::Unknown);
    assert_eq!(gate.present(&DEVICE, &claim, &proof).unwrap(), digest);
    assert_eq!(gate.recall(&DEVICE, &claim, &digest), Passage::Holds(digest));
    // Presented again it is found, not verified.
    assert_eq!(gate.present(&DEVICE, &claim, &proof).unwrap(), digest);
    assert_eq!(world.counts(), (1, 0, 0));
    // Forgotten, it is verified anew.
    gate.forget(&DEVICE, &claim, &digest);
    assert_eq!(gate.recall(&DEVICE, &claim, &digest), Passage::Unknown);
    gate.present(&DEVICE, &claim, &proof).unwrap();
    assert_eq!(world.counts(), (1, 1, 0));
    assert!(gate.cache().stats.hits >= 2);
}

#[test]
fn a_proof_is_good_for_its_device_and_statement_only() {
    let world = world(small());
    let gate = &world.gate;
    let (claim, proof) = world.prove(0, &DEVICE);
    let digest = proof_digest(&proof);
    gate.present(&DEVICE, &claim, &proof).unwrap();
    // Who saw proof or fingerprint, and holds another device key.
    let thief = [2; 32];
    assert_eq!(gate.recall(&thief, &claim, &digest), Passage::Unknown);
    assert_eq!(gate.present(&thief, &claim, &proof).unwrap_err().kind(), Kind::Proof);
    // Refused before it is verified again.
    assert_eq!(gate.recall(&thief, &claim, &digest), Passage::Refused);
    assert_eq!(gate.present(&thief, &claim, &proof).unwrap_err().kind(), Kind::Proof);
    // Another nullifier, digest or epoch.
    let other = Claim { nullifier: Node::of_digest(&[7; 32]), ..claim };
    assert_eq!(gate.recall(&DEVICE, &other, &digest), Passage::Unknown);
    assert_eq!(gate.present(&DEVICE, &other, &proof).unwrap_err().kind(), Kind::Proof);
    let mut flipped = digest;
    flipped[31] ^= 1;
    assert_eq!(gate.recall(&DEVICE, &claim, &flipped), Passage::Unknown);
    let later = Claim { epoch: claim.epoch + 1, ..claim };
    assert_eq!(gate.recall(&DEVICE, &later, &digest), Passage::Refused);
    assert_eq!(gate.present(&DEVICE, &later, &proof).unwrap_err().kind(), Kind::Root);
    assert_eq!(gate.present(&DEVICE, &claim, b"").unwrap_err().kind(), Kind::ProofFormat);
    // None of which disturbs whose it is.
    assert_eq!(gate.recall(&DEVICE, &claim, &digest), Passage::Holds(digest));
}

#[test]
fn a_credential_has_one_proof_in_a_context() {
    let world = world(small());
    let (claim, proof) = world.prove(0, &DEVICE);
    world.gate.present(&DEVICE, &claim, &proof).unwrap();
    let (same, another) = world.prove(0, &DEVICE);
    assert_eq!(same, claim);
    assert_ne!(another, proof);
    assert_eq!(world.gate.present(&DEVICE, &same, &another).unwrap_err().kind(), Kind::Nullifier);
    // On another device it is another context.
    let (elsewhere, proof) = world.prove(0, &[2; 32]);
    world.gate.present(&[2; 32], &elsewhere, &proof).unwrap();
    assert_eq!(world.counts(), (2, 0, 1));
}

#[test]
fn an_epoch_that_goes_on_and_one_that_is_withdrawn() {
    let world = world(small());
    let (gate, registry) = (&world.gate, world.gate.registry());
    let (claim, proof) = world.prove(0, &DEVICE);
    let digest = gate.present(&DEVICE, &claim, &proof).unwrap();
    // Somebody joins: the root is another, the proof holds for the overlap, its verdict does not.
    registry.enrol(&[("new", Credential::draw(b"").unwrap().leaf())]).unwrap();
    registry.publish(clock::unix_ms(), HOUR).unwrap();
    assert_eq!(gate.recall(&DEVICE, &claim, &digest), Passage::Unknown);
    gate.present(&DEVICE, &claim, &proof).unwrap();
    assert_eq!(gate.recall(&DEVICE, &claim, &digest), Passage::Holds(digest));
    // Somebody is revoked: at once nothing of before holds.
    registry.revoke(&[name(0)]).unwrap();
    registry.publish(clock::unix_ms(), HOUR).unwrap();
    assert_eq!(gate.recall(&DEVICE, &claim, &digest), Passage::Refused);
    assert_eq!(gate.present(&DEVICE, &claim, &proof).unwrap_err().kind(), Kind::Root);
    // The others prove anew; the revoked one has no path.
    let (claim, proof) = world.prove(1, &DEVICE);
    gate.present(&DEVICE, &claim, &proof).unwrap();
    assert_eq!(registry.path(&name(0)).unwrap_err().kind(), Kind::UnknownId);
}

#[test]
fn a_verdict_ends_by_time() {
    let world = world(GateSettings { lifetime: Duration::from_secs(1), ..small() });
    let (claim, proof) = world.prove(0, &DEVICE);
    let digest = world.gate.present(&DEVICE, &claim, &proof).unwrap();
    assert_eq!(world.gate.recall(&DEVICE, &claim, &digest), Passage::Holds(digest));
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(world.gate.recall(&DEVICE, &claim, &digest), Passage::Unknown);
    let settings = GateSettings { lifetime: Duration::ZERO, ..small() };
    let error = Gate::new(Arc::clone(world.gate.registry()), settings).err().unwrap();
    assert_eq!(error.kind(), Kind::Argument);
}

#[test]
fn messages_that_are_none_are_refused() {
    let world = world(small());
    let (claim, proof) = world.prove(0, &DEVICE);
    let digest = world.gate.present(&DEVICE, &claim, &proof).unwrap();
    let message = fingerprint_message(&claim, &digest);
    assert_eq!(message.len(), 68);
    assert!(world.gate.admit(&DEVICE, Presented::Fingerprint(&message)).is_ok());
    for size in 0..message.len() {
        let cut = world.gate.admit(&DEVICE, Presented::Fingerprint(&message[..size]));
        assert_eq!(cut, Err(Refused::Refused));
        assert!(world.gate.admit(&DEVICE, Presented::Proof(&message[..size])).is_err());
    }
    let long = [message.as_slice(), &[0]].concat();
    assert_eq!(world.gate.admit(&DEVICE, Presented::Fingerprint(&long)), Err(Refused::Refused));
    // A nullifier beyond the field.
    let mut beyond = message;
    beyond[4..8].fill(0xff);
    assert_eq!(world.gate.admit(&DEVICE, Presented::Fingerprint(&beyond)), Err(Refused::Refused));
}

/// A handshake; the proof is shown where it is asked for. Gives whether it was.
fn handshake(
    server: &Server,
    client: &Client<'_>,
    fingerprint: &[u8],
    proof: &[u8],
) -> Result<(Session, Resumption, bool), Refusal> {
    let (mut hello, mut offer, mut message, mut answer) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut ours, mut theirs) = (Channel::new(), Channel::new());
    let greeted = client.hello(&mut hello).unwrap();
    let offered = server.offer(&hello, &mut offer)?;
    let presented = Presented::Fingerprint(fingerprint);
    let begun = client.begin(greeted, &offer, presented, &mut message).unwrap();
    match offered.begin(&message, &mut theirs, &mut answer)? {
        Step::Welcome(session) => match begun.next(&answer, &mut ours).unwrap() {
            Next::Welcome(resumption) => Ok((session, resumption, false)),
            Next::Ask(_) => panic!("the server welcomes"),
        },
        Step::Ask(at_server) => {
            let Next::Ask(at_client) = begun.next(&answer, &mut ours).unwrap() else {
                panic!("the server asks");
            };
            let begun = at_client.prove(proof, &mut message).unwrap();
            let session = at_server.proof(&message, &mut theirs, &mut answer)?;
            let Next::Welcome(resumption) = begun.next(&answer, &mut ours).unwrap() else {
                panic!("the server welcomes");
            };
            Ok((session, resumption, true))
        }
    }
}

#[test]
fn a_session_asks_for_the_proof_once_and_its_receipts_can_name_it() {
    let world = world(small());
    let keys = SigningSeeds::draw(Deployment { id: DEPLOYMENT, epoch: 1 }, Validity::ALWAYS)
        .unwrap()
        .keys()
        .unwrap();
    let ring = Keyring::parse(&keys.public(), FilePath::new("verify.key")).unwrap();
    let memory = Options { on_failure: OnFailure::Degrade, huge: false };
    let config = Config::fixed::<DecapsulationKey>(8, memory);
    let supply = CertifiedSupply::start(config, KEY_KIND, Arc::new(keys), || Ok(())).unwrap();
    supply.fill(&mut supply.desk(()), &mut |_| ()).unwrap();
    let epochs = Epochs { policy: 1, identity: world.gate.registry().current_epoch() };
    let admit = Arc::clone(&world.gate) as Arc<dyn Admit>;
    let settings = Settings { sessions: 16, memory, ..Settings::default() };
    let server = Server::start(DEPLOYMENT, Arc::new(supply), admit, epochs, settings).unwrap();

    let device = DeviceKey::draw().unwrap();
    let client = Client::new(&device, &ring, 1).unwrap();
    let (claim, proof) = world.prove(0, device.digest());
    let digest = proof_digest(&proof);
    let (known, shown) = (fingerprint_message(&claim, &digest), proof_message(&claim, &proof));

    let (session, _, asked) = handshake(&server, &client, &known, &shown).unwrap();
    assert!(asked && session.evidence == digest);
    let (session, resumption, asked) = handshake(&server, &client, &known, &shown).unwrap();
    assert!(!asked && session.evidence == digest);
    assert_eq!(world.counts(), (1, 0, 0));

    // Another device with all that went over the wire.
    let thief = DeviceKey::draw().unwrap();
    let other = Client::new(&thief, &ring, 1).unwrap();
    let stolen = handshake(&server, &other, &known, &shown).err();
    assert_eq!(stolen, Some(Refusal::Identity));

    let (mut message, mut answer) = ([0; RESUME_SIZE], [0; RESUMED_SIZE]);
    resumption.resume(&mut message).unwrap();
    let resumed = server.resume(&message, &mut Channel::new(), &mut answer).unwrap();
    assert_eq!((resumed.evidence, resumed.device), (digest, *device.digest()));

    // Somebody is revoked: the session ends with the epoch.
    let registry = world.gate.registry();
    registry.revoke(&[name(1)]).unwrap();
    let published = registry.publish(clock::unix_ms(), HOUR).unwrap();
    server.advance(Epochs { policy: 1, identity: published.epoch.number });
    assert_eq!(server.holds(&session), Err(Refusal::Epoch));
    assert_eq!(handshake(&server, &client, &known, &shown).err(), Some(Refusal::Identity));
}
