//! Sessions: what a server does for a client that comes back, and for one that is new.
//!
//! | row | timed |
//! |---|---|
//! | `session/resume` | a resume's bytes in, the answer's bytes out, and a channel: on one thread |
//! | `session/resume-client` | the client's part of it, both messages |
//! | `session/handshake` | hello to welcome, the server's part, with a key of the pool |
//! | `session/handshake-unpooled` | the same with a key made and certified for it: three signatures |
//! | `session/seal`, `session/open` | a record with a probe of 512 bytes |
//!
//! What the other side does meanwhile is off the clock. A resume's channel expands the key that opens the client's records
//! with the first of them.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use symbolon_benches::pool::MEMORY;
use symbolon_core::attest::{Digest, Validity};
use symbolon_host::families::mlkem::DecapsulationKey;
use symbolon_host::keyring::Keyring;
use symbolon_host::keys::{Deployment, SigningKeys, SigningSeeds};
use symbolon_host::pools::{CertifiedSupply, Config, SignRefill};
use symbolon_host::session::{
    Admit, Admitted, Channel, Client, DeviceKey, Epochs, KEY_KIND, Kind, Next, Presented,
    RECORD_OVERHEAD, RESUME_SIZE, RESUMED_SIZE, Refused, Resumption, Server, Settings, Step,
};

const ANY: &str = "any";
/// Of the supply.
const KEYS: u32 = 64;
/// Clients that resume together.
const CLIENTS: usize = 256;
const EPOCHS: Epochs = Epochs { policy: 1, identity: 1 };
const SHOWN: Presented<'static> = Presented::Fingerprint(&[7; 64]);

/// Everybody may.
struct Open;

impl Admit for Open {
    fn admit(&self, _: &Digest, _: Presented<'_>) -> Result<Admitted, Refused> {
        Ok(Admitted {
            identity_epoch: EPOCHS.identity,
            lifetime: Duration::from_secs(3600),
            evidence: [0xe1; 32],
        })
    }
}

struct World {
    ring: Keyring,
    supply: Arc<CertifiedSupply<DecapsulationKey>>,
    server: Server,
    device: DeviceKey,
}

impl World {
    fn new() -> Self {
        let deployment = Deployment { id: [7; 16], epoch: 1 };
        let seeds = SigningSeeds::draw(deployment, Validity::ALWAYS).expect("entropy");
        let keys: Arc<SigningKeys> = Arc::new(seeds.keys().expect("keys"));
        let ring = Keyring::parse(&keys.public(), Path::new("verify.key")).expect("a keyring");
        let config = Config::fixed::<DecapsulationKey>(KEYS, MEMORY);
        let signs: Arc<dyn SignRefill> = keys;
        let supply = CertifiedSupply::start(config, KEY_KIND, signs, || Ok(())).expect("a supply");
        let supply = Arc::new(supply);
        let settings = Settings { sessions: 1 << 20, memory: MEMORY, ..Settings::default() };
        let server = Server::start([7; 16], Arc::clone(&supply), Arc::new(Open), EPOCHS, settings);
        let server = server.expect("a server");
        Self { ring, supply, server, device: DeviceKey::derive(&[1; 32]) }
    }

    fn client(&self) -> Client<'_> {
        Client::new(&self.device, &self.ring, 1).expect("a client")
    }

    fn fill(&self) {
        self.supply.fill(&mut self.supply.desk(()), &mut |_| ()).expect("keys");
    }

    /// A session, and the time that the server takes for it.
    fn session(&self, is_pooled: bool) -> (Resumption, Channel, Channel, Duration) {
        let (mut hello, mut offer) = (Vec::new(), Vec::new());
        let (mut begin, mut answer) = (Vec::new(), Vec::new());
        let [mut own, mut channel] = [Channel::new(), Channel::new()];
        let client = self.client();
        let greeted = client.hello(&mut hello).expect("a hello");
        let mut desk = self.supply.desk(());

        let start = Instant::now();
        let offered = if is_pooled {
            self.server.offer(&hello, &mut offer)
        } else {
            let key = self.supply.acquire_or_make(&mut desk).expect("a key");
            self.server.offer_key(&hello, key, &mut offer)
        };
        let mut spent = start.elapsed();
        let offered = offered.expect("an offer");
        let begun = client.begin(greeted, &offer, SHOWN, &mut begin).expect("a begin");
        let start = Instant::now();
        let step = offered.begin(&begin, &mut channel, &mut answer).expect("a welcome");
        spent += start.elapsed();
        let Step::Welcome(session) = step else { panic!("a welcome") };
        let Next::Welcome(next) = begun.next(&answer, &mut own).expect("a session") else {
            panic!("a session")
        };
        assert_eq!(self.server.holds(&session), Ok(()));
        (next, own, channel, spent)
    }
}

/// Clients that come back one after the other, as they do to a server.
fn resume(c: &mut Criterion) {
    let world = World::new();
    let mut waiting: Vec<_> = (0..CLIENTS)
        .map(|at| {
            if at % KEYS as usize == 0 {
                world.fill();
            }
            world.session(true).0
        })
        .collect();
    let mut messages = vec![[0; RESUME_SIZE]; CLIENTS];
    let mut answers = vec![[0; RESUMED_SIZE]; CLIENTS];
    let (mut own, mut channel) = (Channel::new(), Channel::new());
    // So many of them ask, the server answers all, and all take their answers: who takes how long.
    let mut turn = |count: usize| {
        let rest = waiting.split_off(count);
        let start = Instant::now();
        let asked: Vec<_> = std::mem::replace(&mut waiting, rest)
            .into_iter()
            .zip(&mut messages)
            .map(|(next, message)| next.resume(message).expect("entropy"))
            .collect();
        let between = Instant::now();
        for (message, answer) in messages.iter().zip(&mut answers).take(count) {
            world.server.resume(message, &mut channel, answer).expect("holds");
        }
        let answered = Instant::now();
        let next = asked.into_iter().zip(&answers);
        waiting.extend(next.map(|(a, answer)| a.finish(answer, &mut own).expect("an answer")));
        (answered - between, (between - start) + answered.elapsed())
    };
    for (name, of_client) in [("session/resume", false), ("session/resume-client", true)] {
        c.benchmark_group(name).bench_function(ANY, |b| {
            b.iter_custom(|rounds| {
                let (mut left, mut spent) = (rounds, Duration::ZERO);
                while left > 0 {
                    let count = left.min(CLIENTS as u64);
                    let (server, client) = turn(count as usize);
                    spent += if of_client { client } else { server };
                    left -= count;
                }
                spent
            });
        });
    }
    let counts = world.server.counts();
    assert_eq!((counts.spent, counts.not_resumed), (0, 0), "all went through");
}

fn handshake(c: &mut Criterion) {
    let world = World::new();
    let mut left = 0;
    c.benchmark_group("session/handshake").bench_function(ANY, |b| {
        b.iter_custom(|rounds| {
            let turn = |_| {
                if left == 0 {
                    world.fill();
                    left = KEYS;
                }
                left -= 1;
                world.session(true).3
            };
            (0..rounds).map(turn).sum()
        });
    });
    while world.supply.acquire().is_ok() {}
    c.benchmark_group("session/handshake-unpooled").bench_function(ANY, |b| {
        b.iter_custom(|rounds| (0..rounds).map(|_| world.session(false).3).sum());
    });
}

fn records(c: &mut Criterion) {
    let world = World::new();
    world.fill();
    let (_, mut own, mut channel, _) = world.session(true);
    let (probe, mut record) = ([5; 512], [0; 512 + RECORD_OVERHEAD]);
    let mut sealed = 0_u64;
    for (name, of_seal) in [("session/seal", true), ("session/open", false)] {
        c.benchmark_group(name).bench_function(ANY, |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    // Before the keys have served as often as they may.
                    if sealed == 1 << 20 {
                        (_, own, channel, _) = {
                            world.fill();
                            world.session(true)
                        };
                        sealed = 0;
                    }
                    sealed += 1;
                    let at = Instant::now();
                    own.seal(Kind::Probe, black_box(&probe), &mut record).expect("sealed");
                    let between = Instant::now();
                    let (_, opened) = channel.open(&mut record).expect("opened");
                    let end = Instant::now();
                    assert_eq!(opened.len(), 512);
                    spent += if of_seal { between - at } else { end - between };
                }
                spent
            });
        });
    }
}

criterion_group!(benches, resume, handshake, records);
criterion_main!(benches);
