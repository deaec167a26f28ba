//! Single attempts through queues, batches, log and answers, on every core: what serving costs beside matching.
//!
//! | row | timed |
//! |---|---|
//! | `pipeline/matching` | 32 people matched and decided, each core for itself: `batch/sealed-probe` on all of them |
//! | `pipeline/auth` | 32 attempts submitted one by one, 4,096 under way: until the last is answered and signed |
//! | `pipeline/auth-uninstrumented` | the same without counters and histograms |
//! | `pipeline/auth-pinned` | `pipeline/auth` with each worker kept on a core |
//! | `auth/single-cold` | one person alone: handshake, proof verified, attempt decided and in the log |
//! | `auth/single-warm` | one person alone: session resumed, attempt decided and in the log |
//!
//! All but the last two are times of a batch's worth, wall clock, so that 32 / time is people a second, and are measured
//! in turn, a second of each. The log, more than 2 GB of it, is in memory (/dev/shm) where there is such: a disk's time is its own.
//! What devices compute is off the clock.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use symbolon_benches::pool::MEMORY;
use symbolon_benches::turns::{self, Contestant};
use symbolon_benches::{Pipeline as Matching, best};
use symbolon_core::attest::Digest;
use symbolon_core::bfv::Q54;
use symbolon_core::matching::{Layout, Threshold};
use symbolon_host::batch::{Outcome, Pipeline, Request};
use symbolon_host::batching::{Answer, Priority, Reply, Service, Settings, Strategy};
use symbolon_host::custodian::{Custodian, Limits};
use symbolon_host::error::Result;
use symbolon_host::families::mlkem::DecapsulationKey;
use symbolon_host::gallery;
use symbolon_host::gallery::Entry;
use symbolon_host::gateway::Gateway;
use symbolon_host::identity::gate::{self, Claim, fingerprint_message, proof_message};
use symbolon_host::identity::registry::Registry;
use symbolon_host::identity::statement::{Context, proof_digest};
use symbolon_host::identity::{Credential, Gate, Prover};
use symbolon_host::keyring::Keyring;
use symbolon_host::keys::{self, CustodianSeeds, ParameterSet, SigningKeys};
use symbolon_host::log::Log;
use symbolon_host::pools::{CertifiedSupply, Config};
use symbolon_host::population::Population;
use symbolon_host::session::{
    self, Channel, Client, DeviceKey, Epochs, KEY_KIND, Next, Presented, RESUME_SIZE, RESUMED_SIZE,
    Resumption, Server, Step,
};
use symbolon_host::signer::{self, Signer};
use symbolon_platform::{clock, threads};
use tempfile::TempDir;
use zeroize::Zeroizing;

const PEOPLE: u64 = 1024;
const DIMS: usize = 128;
const USERS: u64 = 32;
/// Attempts under way.
const UNDER_WAY: u64 = 4096;
/// Batches of a pass, and passes of a row.
const PASS: usize = 8192;
const SAMPLES: usize = 20;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// A deployment, its people, and a prepared attempt of each, genuine.
struct World {
    pipeline: Arc<Pipeline<Q54>>,
    signing: Arc<SigningKeys>,
    signer: Arc<Signer>,
    people: Vec<(Arc<Entry>, Zeroizing<Vec<i16>>)>,
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let (dir, kernels) = (dir(), best());
        keys::create(dir.path(), ParameterSet::Q54, 1).expect("keys");
        let seeds = CustodianSeeds::load(dir.path()).expect("seeds");
        let layout = Layout::for_dims(DIMS).expect("a layout");
        let threshold = Threshold::from_cosine(layout, 0.5).expect("a threshold");
        let population = Population::new(1, PEOPLE, DIMS).expect("people");
        let gateway = Gateway::new(kernels, layout);
        let [mut enrolled, mut embedding] = [vec![0.0; DIMS], vec![0.0; DIMS]];
        let people = (0..PEOPLE).filter_map(|person| {
            population.capture(person, 0, &mut enrolled).expect("a capture");
            population.capture(person, 1, &mut embedding).expect("a capture");
            // Those who are rejected by chance would have to be told from a mistake.
            if cosine(&enrolled, &embedding) < 0.55 {
                return None;
            }
            let record = gallery::record(layout, &enrolled).expect("a record");
            let entry = Entry::parse(layout, &person.to_string(), &record).expect("an entry");
            let mut probe = Zeroizing::new(vec![0; layout.dims()]);
            gateway.quantise(&embedding, &mut probe).expect("a probe");
            Some((Arc::new(entry), probe))
        });
        let people: Vec<_> = people.collect();
        assert!(people.len() > PEOPLE as usize / 2, "most are close to what they were");
        let signing = SigningKeys::load(dir.path(), seeds.deployment, clock::unix_ms());
        let signing = Arc::new(signing.expect("signing keys"));
        let log = Log::create_or_open(dir.path(), seeds.deployment.id, seeds.seal_key());
        // As `symbolon serve` has it.
        let window = signer::Settings { batches: 4096, time: Duration::from_millis(250) };
        let signer = Signer::start(log.expect("a log"), Arc::clone(&signing) as _, window);
        let signer = Arc::new(signer.expect("a signer"));
        let limits = Limits {
            batches: NonZeroU32::new(Limits::DEFAULT_BATCHES).expect("not 0"),
            age: Duration::from_secs(3600),
        };
        let custodian = Custodian::new(kernels, &seeds, Some(limits), MEMORY).expect("a custodian");
        let pipeline = Pipeline::new(kernels, layout, threshold, custodian, Arc::clone(&signer));
        Self { pipeline: Arc::new(pipeline), signing, signer, people, dir }
    }

    fn service(
        &self,
        strategy: Strategy,
        change: impl FnOnce(&mut Settings),
    ) -> Service<Pipeline<Q54>, Told> {
        let mut settings = Settings::new(cores(), strategy);
        settings.capacity = 2 * UNDER_WAY as usize;
        change(&mut settings);
        Service::start(Arc::clone(&self.pipeline), &settings).expect("a service")
    }

    fn request(&self, number: u64, proof: Option<Digest>) -> Request {
        let (claim, probe) = &self.people[number as usize % self.people.len()];
        Request { probe: probe.clone(), claim: Arc::clone(claim), nonce: None, proof }
    }
}

/// Tells whoever waits, and checks that the person was accepted.
struct Told {
    answered: Arc<AtomicU64>,
    every: mpsc::SyncSender<Arc<Outcome>>,
}

impl Reply<Outcome> for Told {
    fn answer(self, answer: Result<Answer<Outcome>>) {
        let Answer { batch, lane } = answer.expect("decided");
        assert!(batch.decisions.accepted >> lane & 1 == 1, "everybody is genuine");
        // Who submits is woken once for a batch's worth.
        if (self.answered.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(USERS) {
            let _ = self.every.send(batch);
        }
    }
}

/// Matching alone, on every core.
fn matching() -> Duration {
    let share = PASS / cores();
    let barrier = std::sync::Barrier::new(cores() + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores())
            .map(|_| {
                scope.spawn(|| {
                    let mut pipeline = Matching::<Q54>::new(best());
                    let expected = pipeline.expected(USERS as usize);
                    barrier.wait();
                    for _ in 0..share {
                        assert_eq!(pipeline.run(USERS as usize), expected);
                    }
                })
            })
            .collect();
        barrier.wait();
        let start = Instant::now();
        threads.into_iter().for_each(|thread| thread.join().expect("decides"));
        turns::each(start.elapsed(), share * cores())
    })
}

/// A server's whole work, but for what speaks to the network.
fn serve(world: &World, service: &Service<Pipeline<Q54>, Told>) -> Duration {
    let answered = Arc::new(AtomicU64::new(0));
    let (every, told) = mpsc::sync_channel(UNDER_WAY as usize);
    let start = Instant::now();
    for batch in 0..PASS as u64 {
        if batch >= UNDER_WAY / USERS {
            told.recv().expect("answers");
        }
        for lane in 0..USERS {
            let request = world.request(batch * USERS + lane, None);
            let told = Told { answered: Arc::clone(&answered), every: every.clone() };
            let taken = service.submit(request, told, Priority::Normal, None);
            assert!(taken.is_ok(), "there is room");
        }
    }
    drop(every);
    let last = told.iter().last().expect("answers");
    world.signer.flush();
    last.ticket.receipts(&mut Vec::new()).expect("signed");
    turns::each(start.elapsed(), PASS)
}

fn serving(c: &mut Criterion) {
    let world = World::new();
    type Change = fn(&mut Settings);
    let rows: [(&str, Change); 3] = [
        ("pipeline/auth", |_| ()),
        ("pipeline/auth-uninstrumented", |settings| settings.observed = false),
        ("pipeline/auth-pinned", |settings| settings.cores = threads::cores().expect("cores")),
    ];
    let wait = Duration::from_millis(2);
    let strategy = Strategy::Size { size: USERS as u32, wait };
    let services = rows.map(|(group, change)| (group, world.service(strategy, change)));
    let who = best().isa();
    let mut all = Vec::new();
    for (group, service) in &services {
        all.push(Contestant { group, who, pass: Box::new(|| serve(&world, service)) });
    }
    all.push(Contestant { group: "pipeline/matching", who, pass: Box::new(matching) });
    turns::in_turn(c, SAMPLES, &all);
    drop(all);
    for (_, service) in services {
        service.drain().expect("no thread died");
    }
    assert!(world.signer.failure().is_none());
}

/// A device before a server with an empty cache, or after.
struct Door {
    world: World,
    server: Server,
    supply: Arc<CertifiedSupply<DecapsulationKey>>,
    gate: Arc<Gate>,
    ring: Keyring,
    device: DeviceKey,
    claim: Claim,
    proof: Vec<u8>,
}

impl Door {
    fn new() -> Self {
        let world = World::new();
        let dir = world.dir.path();
        let ring = Keyring::load(dir, None).expect("a keyring");
        let deployment = ring.entries()[0].deployment.id;
        Registry::create(dir, 32, deployment).expect("a registry");
        let registry = Arc::new(Registry::open(dir).expect("a registry"));
        let (device, credential) = (DeviceKey::draw().expect("a device"), Credential::draw(b""));
        let credential = credential.expect("a credential");
        registry.enrol(&[("0", credential.leaf())]).expect("enrols");
        let epoch = registry.publish(clock::unix_ms(), 1000).expect("publishes").epoch.number;
        let path = registry.path("0").expect("a path");
        let context = Context { deployment, device: *device.digest(), epoch };
        let made = Prover::new().prove(&credential, &path.place(), &context);
        let (statement, proof) = made.expect("proves");
        let claim = Claim { epoch, nullifier: statement.nullifier };
        let gate = Arc::new(Gate::new(registry, gate::Settings::default()).expect("a gate"));
        let config = Config::fixed::<DecapsulationKey>(256, MEMORY);
        let signs = Arc::clone(&world.signing) as _;
        let supply = CertifiedSupply::start(config, KEY_KIND, signs, || Ok(())).expect("keys");
        let supply = Arc::new(supply);
        let epochs = Epochs { policy: 1, identity: epoch };
        let settings = session::Settings { memory: MEMORY, ..session::Settings::default() };
        let admit = Arc::clone(&gate) as _;
        let server = Server::start(deployment, Arc::clone(&supply), admit, epochs, settings);
        let server = server.expect("a server");
        Self { world, server, supply, gate, ring, device, claim, proof }
    }

    /// A handshake, in which the proof is asked for; and the server's time.
    fn handshake(&self) -> (Resumption, Digest, Duration) {
        self.supply.fill(&mut self.supply.desk(()), &mut |_| ()).expect("keys");
        let digest = proof_digest(&self.proof);
        self.gate.forget(self.device.digest(), &self.claim, &digest);
        let client = Client::new(&self.device, &self.ring, 1).expect("a client");
        let (mut hello, mut offer, mut begin) = (Vec::new(), Vec::new(), Vec::new());
        let (mut answer, mut proof, mut welcome) = (Vec::new(), Vec::new(), Vec::new());
        let (mut ours, mut theirs) = (Channel::new(), Channel::new());
        let greeted = client.hello(&mut hello).expect("a hello");
        let mut watch = Watch::default();
        let offered = watch.time(|| self.server.offer(&hello, &mut offer)).expect("an offer");
        let known = fingerprint_message(&self.claim, &digest);
        let presented = Presented::Fingerprint(&known);
        let begun = client.begin(greeted, &offer, presented, &mut begin).expect("a begin");
        let step = watch.time(|| offered.begin(&begin, &mut theirs, &mut answer));
        let Ok(Step::Ask(asks)) = step else { panic!("the proof is not known") };
        let Ok(Next::Ask(asked)) = begun.next(&answer, &mut ours) else {
            panic!("it is asked for")
        };
        let begun = asked.prove(&proof_message(&self.claim, &self.proof), &mut proof);
        let begun = begun.expect("a proof");
        let session = watch.time(|| asks.proof(&proof, &mut theirs, &mut welcome));
        let evidence = session.expect("a session").evidence;
        let Ok(Next::Welcome(next)) = begun.next(&welcome, &mut ours) else { panic!("welcome") };
        (next, evidence, watch.0)
    }

    /// One attempt alone, until its answer.
    fn attempt(&self, service: &Service<Pipeline<Q54>, Told>, proof: Digest) {
        let answered = Arc::new(AtomicU64::new(USERS - 1));
        let (every, told) = mpsc::sync_channel(1);
        let request = self.world.request(0, Some(proof));
        let reply = Told { answered, every };
        assert!(service.submit(request, reply, Priority::High, None).is_ok(), "there is room");
        told.recv().expect("an answer");
    }
}

#[derive(Default)]
struct Watch(Duration);

impl Watch {
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.0 += start.elapsed();
        done
    }
}

fn alone(c: &mut Criterion) {
    let door = Door::new();
    let service = door.world.service(Strategy::Window { wait: Duration::ZERO }, |_| ());
    c.benchmark_group("auth/single-cold").bench_function(best().isa(), |b| {
        b.iter_custom(|rounds| {
            let mut watch = Watch::default();
            for _ in 0..rounds {
                let (_, evidence, spent) = door.handshake();
                watch.0 += spent;
                watch.time(|| door.attempt(&service, evidence));
                door.server.revoke_all();
            }
            watch.0
        });
    });
    let (next, evidence, _) = door.handshake();
    let mut next = Some(next);
    let (mut ours, mut theirs) = (Channel::new(), Channel::new());
    c.benchmark_group("auth/single-warm").bench_function(best().isa(), |b| {
        b.iter_custom(|rounds| {
            let mut watch = Watch::default();
            for _ in 0..rounds {
                let (mut message, mut answer) = ([0; RESUME_SIZE], [0; RESUMED_SIZE]);
                let resuming = next.take().expect("a ticket").resume(&mut message);
                let resuming = resuming.expect("entropy");
                watch.time(|| {
                    door.server.resume(&message, &mut theirs, &mut answer).expect("holds");
                    door.attempt(&service, evidence);
                });
                next = Some(resuming.finish(&answer, &mut ours).expect("an answer"));
            }
            watch.0
        });
    });
    service.drain().expect("no thread died");
}

criterion_group!(benches, serving, alone);
criterion_main!(benches);
