//! The demo's devices: each proves an enrolled credential, makes a session, and comes back.

use super::model::Model;
use super::output::Output;
use super::session::median;
use crate::error::{Error, Kind, Result};
use crate::families::mlkem::DecapsulationKey;
use crate::identity::gate::{Claim, Passage, fingerprint_message, proof_message};
use crate::identity::registry::Registry;
use crate::identity::statement::{Context, Statement};
use crate::identity::{Credential, Gate, Prover, Security, Verifier, gate, security};
use crate::keyring::Keyring;
use crate::pools::{CertifiedSupply, Config, SignRefill};
use crate::session::{
    Admit, Channel, Client, DeviceKey, Epochs, KEY_KIND, Kind as Record, Next, Presented,
    RECORD_OVERHEAD, RESUME_SIZE, RESUMED_SIZE, Refusal, Resumption, Server, Session, Settings,
    Step,
};
use serde_json::{Value, json};
use std::hint::black_box;
use std::sync::Arc;
use symbolon_core::attest::Digest;
use symbolon_platform::clock::{self, Stopwatch};
use symbolon_platform::locked::Options;
use zeroize::Zeroizing;

const OVERLAP_MS: u64 = 60 * 60 * 1000;
/// How often each device comes back.
const RETURNS: u32 = 200;

/// A device, and the person's credential on it.
struct Device {
    key: DeviceKey,
    credential: Credential,
    claim: Claim,
    statement: Statement,
    proof: Vec<u8>,
}

/// Devices with a session each.
pub struct Devices {
    connected: Vec<Connected>,
    pub report: Report,
}

struct Connected {
    session: Session,
    client: Channel,
    server: Channel,
}

/// Medians, in microseconds; of the server unless it says otherwise.
pub struct Report {
    pub devices: usize,
    security: Security,
    proof_bytes: usize,
    /// The device's.
    prove: f64,
    verify: f64,
    recall: f64,
    /// Of the look-up in the cache alone: half take no longer, in nanoseconds.
    lookup_ns: Option<u32>,
    first: f64,
    again: f64,
    resume: f64,
}

impl Devices {
    /// Enrols credentials for so many people, has each device prove its own, and connects it: first with the
    /// proof, then by its fingerprint, then by tickets.
    pub fn connect(
        count: usize,
        model: &Model,
        signs: Arc<dyn SignRefill>,
        memory: Options,
        output: &Output,
    ) -> Result<Self> {
        let deployment = signs.deployment();
        Registry::create(model.dir(), 32, deployment)?;
        let registry = Arc::new(Registry::open(model.dir())?);
        let (devices, prove) = prove(count, &registry, deployment, output)?;
        let gate = Arc::new(Gate::new(Arc::clone(&registry), gate::Settings::default())?);
        let ring = Keyring::load(model.dir(), None)?;
        let server = server(count, &registry, &gate, signs, memory)?;

        let bar = output.progress("connecting", count);
        let (mut first, mut again, mut resumes) = (Vec::new(), Vec::new(), Vec::new());
        let mut connected = Vec::new();
        for device in &devices {
            let client = Client { deployment, ..Client::new(&device.key, &ring, 1)? };
            let made = Handshake::run(&server, &client, device)?;
            expect(made.asked, "a proof that nobody has seen is asked for")?;
            first.push(made.us);
            let made = Handshake::run(&server, &client, device)?;
            expect(!made.asked, "a proof that was verified is found")?;
            again.push(made.us);
            connected.push(resume(&server, made, &mut resumes)?);
            bar.inc(1);
        }
        bar.finish_and_clear();

        let report = Report {
            devices: count,
            security: security(),
            proof_bytes: devices.iter().map(|device| device.proof.len()).max().unwrap_or(0),
            prove,
            verify: verify(&devices)?,
            recall: recall(&gate, &devices)?,
            lookup_ns: gate.cache().p50_ns,
            first: median(first),
            again: median(again),
            resume: median(resumes),
        };
        Ok(Self { connected, report })
    }

    /// Sends a device's probe through its session; gives it as the gateway reads it, and the digest of the
    /// proof that the session was admitted by.
    ///
    /// Errors: `E-SESSION`; `E-ARGUMENT` where there is no such device.
    pub fn send(&mut self, device: usize, probe: &[f64]) -> Result<(Zeroizing<Vec<f64>>, Digest)> {
        let nobody = || Error::new(Kind::Argument, "there is no such device");
        let Connected { session, client, server } =
            self.connected.get_mut(device).ok_or_else(nobody)?;
        let bytes: Zeroizing<Vec<u8>> =
            Zeroizing::new(probe.iter().flat_map(|x| x.to_le_bytes()).collect());
        let mut record = Zeroizing::new(vec![0; bytes.len() + RECORD_OVERHEAD]);
        client.seal(Record::Probe, &bytes, &mut record)?;
        let (_, opened) = server.open(&mut record)?;
        let values = opened.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
        Ok((Zeroizing::new(values.collect()), session.evidence))
    }
}

fn expect(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::new(Kind::Mismatch, what)) }
}

/// Credentials, enrolled and proven; and what a proof took.
fn prove(
    count: usize,
    registry: &Registry,
    deployment: [u8; 16],
    output: &Output,
) -> Result<(Vec<Device>, f64)> {
    let name = |i: usize| format!("device-{i:04}");
    let credentials: Vec<Credential> =
        (0..count).map(|_| Credential::draw(b"demo")).collect::<Result<_>>()?;
    let leaves: Vec<_> =
        credentials.iter().enumerate().map(|(i, one)| (name(i), one.leaf())).collect();
    registry.enrol(&leaves)?;
    registry.publish(clock::unix_ms(), OVERLAP_MS)?;

    let prover = Prover::new();
    let bar = output.progress("proving", count);
    let (mut devices, mut times) = (Vec::new(), Vec::new());
    for (i, credential) in credentials.into_iter().enumerate() {
        let key = DeviceKey::draw()?;
        let path = registry.path(&name(i))?;
        let context = Context { deployment, device: *key.digest(), epoch: path.epoch };
        let mut watch = Stopwatch::start();
        let (statement, proof) = prover.prove(&credential, &path.place(), &context)?;
        times.push(watch.lap());
        let claim = Claim { epoch: path.epoch, nullifier: statement.nullifier };
        devices.push(Device { key, credential, claim, statement, proof });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((devices, median(times)))
}

fn server(
    count: usize,
    registry: &Registry,
    gate: &Arc<Gate>,
    signs: Arc<dyn SignRefill>,
    memory: Options,
) -> Result<Server> {
    let deployment = signs.deployment();
    // Two handshakes each; no thread makes up for them.
    let keys = u32::try_from(2 * count).unwrap_or(u32::MAX);
    let config = Config::fixed::<DecapsulationKey>(keys, memory);
    let supply = CertifiedSupply::start(config, KEY_KIND, signs, || Ok(()))?;
    supply.fill(&mut supply.desk(()), &mut |_| ())?;
    let epochs = Epochs { policy: 1, identity: registry.current_epoch() };
    let admit = Arc::clone(gate) as Arc<dyn Admit>;
    let settings = Settings { sessions: keys.max(1), memory, ..Settings::default() };
    Server::start(deployment, Arc::new(supply), admit, epochs, settings)
}

/// What a handshake led to.
struct Handshake {
    session: Session,
    resumption: Resumption,
    /// Whether the proof was asked for.
    asked: bool,
    /// The server's time.
    us: f64,
}

impl Handshake {
    fn run(server: &Server, client: &Client<'_>, device: &Device) -> Result<Self> {
        let digest = crate::identity::statement::proof_digest(&device.proof);
        let known = fingerprint_message(&device.claim, &digest);
        let (mut hello, mut offer, mut message, mut answer) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut ours, mut theirs) = (Channel::new(), Channel::new());
        let greeted = client.hello(&mut hello)?;
        let mut watch = Stopwatch::start();
        let offered = server.offer(&hello, &mut offer)?;
        let mut us = watch.lap();
        let presented = Presented::Fingerprint(&known);
        let begun = client.begin(greeted, &offer, presented, &mut message)?;
        watch.lap();
        let step = offered.begin(&message, &mut theirs, &mut answer)?;
        us += watch.lap();
        let next = begun.next(&answer, &mut ours)?;
        match (step, next) {
            (Step::Welcome(session), Next::Welcome(resumption)) => {
                Ok(Self { session, resumption, asked: false, us })
            }
            (Step::Ask(at_server), Next::Ask(at_client)) => {
                let proof = proof_message(&device.claim, &device.proof);
                let begun = at_client.prove(&proof, &mut message)?;
                watch.lap();
                let session = at_server.proof(&message, &mut theirs, &mut answer)?;
                us += watch.lap();
                match begun.next(&answer, &mut ours)? {
                    Next::Welcome(resumption) => Ok(Self { session, resumption, asked: true, us }),
                    Next::Ask(_) => Err(Refusal::Malformed.into()),
                }
            }
            _ => Err(Refusal::Malformed.into()),
        }
    }
}

/// Comes back again and again; stays connected by the last ticket.
fn resume(server: &Server, made: Handshake, times: &mut Vec<f64>) -> Result<Connected> {
    let Handshake { session, mut resumption, .. } = made;
    let (mut ask, mut answer) = ([0; RESUME_SIZE], [0; RESUMED_SIZE]);
    let mut connected = Connected { session, client: Channel::new(), server: Channel::new() };
    for _ in 0..RETURNS {
        let resuming = resumption.resume(&mut ask)?;
        let mut watch = Stopwatch::start();
        connected.session = server.resume(&ask, &mut connected.server, &mut answer)?;
        times.push(watch.lap());
        resumption = resuming.finish(&answer, &mut connected.client)?;
    }
    Ok(connected)
}

/// A verification, from bytes.
fn verify(devices: &[Device]) -> Result<f64> {
    let verifier = Verifier::new();
    let mut times = Vec::new();
    for Device { statement, proof, credential, .. } in devices {
        // A verifier that said yes to everything would be quick.
        let wrong = Statement { nullifier: credential.leaf(), ..*statement };
        expect(verifier.verify(&wrong, proof).is_err(), "another nullifier is refused")?;
        let mut watch = Stopwatch::start();
        verifier.verify(statement, proof)?;
        times.push(watch.lap());
    }
    Ok(median(times))
}

/// A proof that is found: context, fingerprint and look-up.
fn recall(gate: &Gate, devices: &[Device]) -> Result<f64> {
    let mut times = Vec::new();
    for Device { key, claim, proof, .. } in devices {
        let digest = crate::identity::statement::proof_digest(proof);
        let mut watch = Stopwatch::start();
        for _ in 0..RETURNS {
            let passage = black_box(gate.recall(key.digest(), claim, &digest));
            expect(passage == Passage::Holds(digest), "a proof that was verified is found")?;
        }
        times.push(watch.lap() / f64::from(RETURNS));
    }
    Ok(median(times))
}

impl Report {
    pub fn print(&self, output: &mut Output) -> Result<()> {
        let Self { devices, security, proof_bytes, .. } = self;
        output.line(format!(
            "identity: {devices} devices proved an enrolled credential in zero knowledge, in {:.1} KB",
            *proof_bytes as f64 / 1e3,
        ))?;
        output.line(format!(
            "{:<18} {} bits conjectured, {} proven",
            "soundness",
            security.conjectured(),
            security.proven()
        ))?;
        for (what, us, note) in [
            ("proof made", self.prove, "by the device, once an epoch"),
            ("proof verified", self.verify, "cold: the first time"),
            ("proof found", self.recall, "cached: two digests and a look-up"),
            ("session, cold", self.first, "key, device's signature, proof, nullifier on the disk"),
            ("session, cached", self.again, "key, device's signature, fingerprint"),
            ("session resumed", self.resume, "a ticket, used once"),
        ] {
            output.line(format!("{what:<18} {us:>10.1} us  {note}"))?;
        }
        if let Some(ns) = self.lookup_ns {
            output.line(format!("{:<18} {ns:>10} ns  of finding, by its own clock", "look-up"))?;
        }
        Ok(())
    }

    pub fn json(&self) -> Value {
        let tenth = |us: f64| (us * 10.0).round() / 10.0;
        json!({
            "devices": self.devices,
            "proof_bytes": self.proof_bytes,
            "bits": {
                "conjectured": self.security.conjectured(), "proven": self.security.proven(),
            },
            "prove_us": tenth(self.prove),
            "verify_us": tenth(self.verify),
            "recall_us": tenth(self.recall),
            "lookup_ns": self.lookup_ns,
            "session_cold_us": tenth(self.first),
            "session_cached_us": tenth(self.again),
            "session_resume_us": tenth(self.resume),
        })
    }
}
