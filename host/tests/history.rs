//! Keys that rotate and are revoked, windows, and the log: what it holds against whoever rewrites it.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{command, symbolon};
use redb::{Database, ReadableTable, ReadableTableMetadata, TableDefinition};
use serde_json::Value;
use symbolon_core::attest::{Batch, BatchTree, Digest, KeyId, Leaf, Receipt, Validity, Window};
use symbolon_host::error::{Error, Kind, Result};
use symbolon_host::isa;
use symbolon_host::keyring::{Keyring, hex};
use symbolon_host::keys::{self, Deployment, ParameterSet, SigningKeys, SigningSeeds};
use symbolon_host::log::{self, Log, Reader};
use symbolon_host::signer::{Attested, Settings, SignWindow, SignatureSet, Signer, Stated};
use tempfile::TempDir;

const DEPLOYMENT: Deployment = Deployment { id: [0xd0; 16], epoch: 1 };
const RUNS: TableDefinition<u64, &[u8]> = TableDefinition::new("runs");
const WINDOWS: TableDefinition<u64, &[u8]> = TableDefinition::new("windows");
const META: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta");
/// So long that no test waits for it.
const NEVER: Duration = Duration::from_secs(3600);

fn seal() -> log::SealKey {
    log::SealKey::new([5; 32])
}

/// A batch of `count` decisions, all bytes of which are its number's.
fn stated(number: u8, count: u8) -> Stated {
    attested(number, count).check().unwrap()
}

fn attested(number: u8, count: u8) -> Attested {
    let leaf = |lane: u8| Leaf {
        request: [number, lane, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        nonce: [lane; 16],
        identity: [number; 32],
        accept: lane.is_multiple_of(2),
        proof: None,
        template: [lane; 32],
    };
    let leaves: Vec<Leaf> = (0..count).map(leaf).collect();
    let hashes: Vec<Digest> = leaves.iter().map(Leaf::hash).collect();
    let batch = Batch {
        deployment: DEPLOYMENT.id,
        key_epoch: 1,
        params: 2,
        mode: 1,
        dims: 128,
        threshold: 15_313,
        policy: [1; 32],
        verifier: 0,
        batch: [number; 16],
        time_ms: 1_800_000_000_000,
        count,
        probe: [number; 32],
        blind: [number; 32],
        result: [number; 32],
        root: BatchTree::new().build(isa::fastest(), &hashes).unwrap(),
    };
    Attested { batch, leaves }
}

/// A directory with a log, keys to sign it and the ring that they verify under.
struct World {
    temp: TempDir,
    keys: Arc<SigningKeys>,
    ring: Keyring,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let keys = SigningSeeds::draw(DEPLOYMENT, Validity::ALWAYS).unwrap().keys().unwrap();
        let public = keys.public();
        fs::write(temp.path().join("verify.key"), &public).unwrap();
        let ring = Keyring::parse(&public, Path::new("ring")).unwrap();
        Self { temp, keys: Arc::new(keys), ring }
    }

    fn dir(&self) -> &Path {
        self.temp.path()
    }

    fn signer(&self, batches: usize, time: Duration) -> Signer {
        self.signer_with(self.keys.clone(), batches, time)
    }

    fn signer_with(&self, keys: Arc<dyn SignWindow>, batches: usize, time: Duration) -> Signer {
        let log = Log::create_or_open(self.dir(), DEPLOYMENT.id, seal()).unwrap();
        Signer::start(log, keys, Settings { batches, time }).unwrap()
    }

    /// Another log under the same keys.
    fn twin(&self) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let ring = Keyring::parse(&self.keys.public(), Path::new("ring")).unwrap();
        Self { temp, keys: self.keys.clone(), ring }
    }

    /// A log of 7 batches of 1 to 7 decisions, each a run, in windows of 3, 3 and 1.
    fn filled() -> Self {
        Self::new().fill(0)
    }

    /// Fills the log so, with other decisions for every `kind`.
    fn fill(self, kind: u8) -> Self {
        let world = self;
        let signer = world.signer(3, NEVER);
        for number in 0..7 {
            let mut attested = attested(number, number + 1);
            attested.batch.result = [kind; 32];
            signer.submit(attested.check().unwrap()).unwrap().durable().unwrap();
        }
        let metrics = signer.finish().unwrap();
        assert_eq!((metrics.windows, metrics.batches, metrics.largest), (3, 7, 3));
        world
    }

    fn verify(&self) -> Result<log::Report> {
        log::verify(&Reader::open(self.dir())?, &self.ring, &|_| {})
    }

    /// Changes the database behind the log's back.
    fn tamper(&self, change: impl FnOnce(&redb::WriteTransaction)) {
        let database = Database::open(self.dir().join(log::FILE)).unwrap();
        let transaction = database.begin_write().unwrap();
        change(&transaction);
        transaction.commit().unwrap();
    }
}

fn receipts(ticket: &symbolon_host::signer::Ticket) -> Vec<u8> {
    let mut bytes = Vec::new();
    ticket.receipts(&mut bytes).unwrap();
    bytes
}

/// Each receipt of a file must verify; gives how many, and the window's sequence and size.
fn check(ring: &Keyring, mut bytes: &[u8]) -> (usize, u64, u16) {
    let mut found = (0, 0, 0);
    while !bytes.is_empty() {
        let (receipt, size) = Receipt::decode(bytes).unwrap();
        assert_eq!(ring.verify(&receipt).map(|leaf| leaf.request), Ok(receipt.leaf.request));
        found = (found.0 + 1, receipt.window.sequence, receipt.window.count);
        bytes = &bytes[size..];
    }
    found
}

// --- windows ---

#[test]
fn windows_close_by_count() {
    let world = World::new();
    let signer = world.signer(3, NEVER);
    let tickets: Vec<_> = (0..7).map(|n| signer.submit(stated(n, 32)).unwrap()).collect();
    for (n, ticket) in tickets[..6].iter().enumerate() {
        ticket.durable().unwrap();
        assert_eq!(check(&world.ring, &receipts(ticket)), (32, n as u64 / 3, 3));
    }
    // The seventh waits for others, until it is told not to.
    tickets[6].durable().unwrap();
    assert_eq!(signer.metrics().windows, 2);
    signer.flush();
    assert_eq!(check(&world.ring, &receipts(&tickets[6])), (32, 2, 1));
    let metrics = signer.finish().unwrap();
    assert_eq!((metrics.windows, metrics.batches, metrics.largest), (3, 7, 3));
    assert!(metrics.signing_us > 0.0 && metrics.durable_us.mean > 0.0);
    assert!(metrics.signed_us.max >= metrics.durable_us.mean);
    assert!(signer.submit(stated(8, 1)).is_err());
    drop(signer);
    let report = world.verify().unwrap();
    assert_eq!((report.decisions, report.windows, report.unsigned), (7 * 32, 3, 0));
}

#[test]
fn windows_close_by_time() {
    let world = World::new();
    let (time, start) = (Duration::from_millis(300), Instant::now());
    let signer = world.signer(4096, time);
    let tickets: Vec<_> = (0..3).map(|n| signer.submit(stated(n, 5)).unwrap()).collect();
    for ticket in &tickets {
        assert_eq!(check(&world.ring, &receipts(ticket)), (5, 0, 3));
    }
    assert!(start.elapsed() >= time);
}

#[test]
fn every_batch_by_itself() {
    let world = World::new();
    let signer = world.signer(1, NEVER);
    let tickets: Vec<_> = (0..4).map(|n| signer.submit(stated(n, 2)).unwrap()).collect();
    for (n, ticket) in tickets.iter().enumerate() {
        assert_eq!(check(&world.ring, &receipts(ticket)), (2, n as u64, 1));
    }
    assert_eq!(signer.finish().unwrap().windows, 4);
}

#[test]
fn many_threads_hand_in() {
    let world = World::new();
    let signer = world.signer(16, Duration::from_millis(20));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (signer, ring) = (&signer, &world.ring);
            scope.spawn(move || {
                for n in 0..10 {
                    let ticket = signer.submit(stated(thread * 10 + n, 3)).unwrap();
                    ticket.durable().unwrap();
                    assert_eq!(check(ring, &receipts(&ticket)).0, 3);
                }
            });
        }
    });
    signer.finish().unwrap();
    let report = world.verify().unwrap();
    assert_eq!((report.batches, report.decisions, report.unsigned), (40, 120, 0));
}

/// Signs as `keys` do, but for a window whose number is `fails`; counts.
struct Faulty {
    keys: Arc<SigningKeys>,
    fails: u64,
    panics: bool,
    tried: AtomicUsize,
}

impl SignWindow for Faulty {
    fn id(&self) -> KeyId {
        self.keys.id()
    }

    fn deployment(&self) -> [u8; 16] {
        self.keys.deployment()
    }

    fn sign(&self, window: &Window, out: &mut SignatureSet) -> Result<f64> {
        self.tried.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics || window.sequence != self.fails, "on purpose");
        if window.sequence == self.fails {
            return Err(Error::new(Kind::Signing, "on purpose"));
        }
        self.keys.sign(window, out)
    }
}

/// A key that fails, or a thread that dies, is told to everybody who waits and who comes after; what was
/// durable is signed by the next.
#[test]
fn failing_keys_fail_everybody() {
    for panics in [false, true] {
        let world = World::new();
        let faulty =
            Faulty { keys: world.keys.clone(), fails: 1, panics, tried: AtomicUsize::new(0) };
        let faulty = Arc::new(faulty);
        let signer = world.signer_with(faulty.clone(), 2, NEVER);
        let tickets: Vec<_> = (0..2).map(|n| signer.submit(stated(n, 2)).unwrap()).collect();
        assert_eq!(check(&world.ring, &receipts(&tickets[0])), (2, 0, 2));
        let late: Vec<_> = (2..4).map(|n| signer.submit(stated(n, 2)).unwrap()).collect();
        for ticket in &late {
            let error = ticket.receipts(&mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), Kind::Signing);
        }
        assert_eq!(receipts(&tickets[1]).len(), receipts(&tickets[0]).len());
        assert_eq!(signer.submit(stated(9, 2)).err().unwrap().kind(), Kind::Signing);
        assert_eq!(signer.finish().unwrap_err().kind(), Kind::Signing);
        assert_eq!(faulty.tried.load(Ordering::Relaxed), 2);
        drop(signer);
        assert_eq!(world.verify().unwrap().unsigned, 2);
        let next = world.signer(64, NEVER);
        next.finish().unwrap();
        drop(next);
        let report = world.verify().unwrap();
        assert_eq!((report.batches, report.windows, report.unsigned), (4, 2, 0));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let world = World::new();
    let signer = world.signer(64, NEVER);
    let mut foreign = attested(1, 3);
    foreign.batch.deployment = [1; 16];
    let mut short = attested(1, 3);
    short.leaves.pop();
    let mut none = attested(1, 1);
    none.leaves.pop();
    none.batch.count = 0;
    let mut other = attested(1, 3);
    other.leaves[0].accept ^= true;
    for bad in [short, none, other] {
        assert_eq!(bad.check().err().unwrap().kind(), Kind::Argument);
    }
    let foreign = foreign.check().unwrap();
    assert_eq!(signer.submit(foreign).err().unwrap().kind(), Kind::Argument);
    // Another process, or this one again.
    let again = Log::create_or_open(world.dir(), DEPLOYMENT.id, seal()).err().unwrap();
    assert_eq!(again.kind(), Kind::LogBusy);
    assert_eq!(Reader::open(world.dir()).err().unwrap().kind(), Kind::LogBusy);
    drop(signer);
    let foreign = Log::create_or_open(world.dir(), [1; 16], seal()).err().unwrap();
    assert_eq!(foreign.kind(), Kind::LogFormat);
    for batches in [0, 4097] {
        let log = Log::create_or_open(world.dir(), DEPLOYMENT.id, seal()).unwrap();
        let settings = Settings { batches, time: NEVER };
        let error = Signer::start(log, world.keys.clone(), settings).err().unwrap();
        assert_eq!(error.kind(), Kind::Argument);
    }
    // Keys whose time is over do not sign.
    let validity = Validity { not_before_ms: 1, not_after_ms: 2, revoked: false };
    let old = SigningSeeds::draw(DEPLOYMENT, validity).unwrap().keys().unwrap();
    let signer = world.signer_with(Arc::new(old), 1, NEVER);
    let ticket = signer.submit(stated(0, 1)).unwrap();
    let error = ticket.receipts(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::KeyValidity);
}

/// Between durable and signed: the answer has left, the signature is made by the next run.
#[test]
fn a_crash_leaves_nothing_unsigned_for_ever() {
    let world = World::new();
    let signer = world.signer(3, NEVER);
    let tickets: Vec<_> = (0..5).map(|n| signer.submit(stated(n, 4)).unwrap()).collect();
    assert_eq!(check(&world.ring, &receipts(&tickets[2])), (4, 0, 3));
    tickets[4].durable().unwrap();
    drop(signer);
    let error = tickets[4].receipts(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::Signing);
    let report = world.verify().unwrap();
    assert_eq!((report.batches, report.windows, report.unsigned), (5, 1, 2));
    let request = attested(4, 4).leaves[1].request;
    let mut bytes = Vec::new();
    let reader = Reader::open(world.dir()).unwrap();
    let error = reader.receipt(&request, &mut bytes).unwrap_err();
    assert_eq!(error.kind(), Kind::UnknownRequest);
    drop(reader);

    let signer = world.signer(64, NEVER);
    let ticket = signer.submit(stated(5, 4)).unwrap();
    signer.flush();
    assert_eq!(check(&world.ring, &receipts(&ticket)).0, 4);
    signer.finish().unwrap();
    drop(signer);
    let report = world.verify().unwrap();
    assert_eq!((report.batches, report.decisions, report.unsigned), (6, 24, 0));
    Reader::open(world.dir()).unwrap().receipt(&request, &mut bytes).unwrap();
    assert_eq!(check(&world.ring, &bytes).0, 1);
    assert_eq!(Receipt::decode_exact(&bytes).unwrap().leaf, attested(4, 4).leaves[1]);
}

/// What the disk holds the moment that an answer may leave, as a machine that stops then finds it.
#[test]
fn answers_are_on_the_disk() {
    let world = World::new();
    let signer = world.signer(2, NEVER);
    for number in 0..5 {
        let ticket = signer.submit(stated(number, 3)).unwrap();
        ticket.durable().unwrap();
        let crashed = world.twin();
        fs::copy(world.dir().join(log::FILE), crashed.dir().join(log::FILE)).unwrap();
        let next = crashed.signer(64, NEVER);
        next.finish().unwrap();
        drop(next);
        let report = crashed.verify().unwrap();
        assert_eq!((report.batches, report.unsigned), (u64::from(number) + 1, 0));
        let leaf = attested(number, 3).leaves[2];
        let mut bytes = Vec::new();
        Reader::open(crashed.dir()).unwrap().receipt(&leaf.request, &mut bytes).unwrap();
        assert_eq!(check(&world.ring, &bytes).0, 1);
    }
}

// --- history ---

#[test]
fn the_log_gives_every_receipt_again() {
    let world = World::filled();
    let reader = Reader::open(world.dir()).unwrap();
    for number in 0..7 {
        for leaf in attested(number, number + 1).leaves {
            let mut bytes = Vec::new();
            reader.receipt(&leaf.request, &mut bytes).unwrap();
            assert_eq!(Receipt::decode_exact(&bytes).unwrap().leaf, leaf);
            let size = if number < 6 { 3 } else { 1 };
            assert_eq!(check(&world.ring, &bytes), (1, u64::from(number) / 3, size));
        }
    }
    let error = reader.receipt(&[0xee; 16], &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::UnknownRequest);
}

type Change = Box<dyn Fn(&redb::WriteTransaction)>;

/// Changes a record's bytes.
fn edit(table: TableDefinition<'static, u64, &'static [u8]>, n: u64, at: usize) -> Change {
    Box::new(move |transaction| {
        let mut table = transaction.open_table(table).unwrap();
        let mut bytes = table.get(n).unwrap().unwrap().value().to_vec();
        bytes[at] ^= 1;
        table.insert(n, bytes.as_slice()).unwrap();
    })
}

fn remove(table: TableDefinition<'static, u64, &'static [u8]>, n: u64) -> Change {
    Box::new(move |transaction| {
        transaction.open_table(table).unwrap().remove(n).unwrap().unwrap();
    })
}

fn swap(table: TableDefinition<'static, u64, &'static [u8]>, a: u64, b: u64) -> Change {
    Box::new(move |transaction| {
        let mut table = transaction.open_table(table).unwrap();
        let [x, y] = [a, b].map(|n| table.get(n).unwrap().unwrap().value().to_vec());
        table.insert(a, y.as_slice()).unwrap();
        table.insert(b, x.as_slice()).unwrap();
    })
}

fn copy(table: TableDefinition<'static, u64, &'static [u8]>, from: u64, to: u64) -> Change {
    Box::new(move |transaction| {
        let mut table = transaction.open_table(table).unwrap();
        let bytes = table.get(from).unwrap().unwrap().value().to_vec();
        table.insert(to, bytes.as_slice()).unwrap();
    })
}

/// What the log says of its end, where each batch is a run.
fn says(batches: u64, windows: u64) -> Change {
    Box::new(move |transaction| {
        let mut table = transaction.open_table(META).unwrap();
        let counts = [batches, windows, batches, 0].map(u64::to_le_bytes);
        table.insert(&b"tail"[..], counts.as_flattened()).unwrap();
    })
}

#[test]
fn rewritten_history_is_found() {
    let leaf = Batch::SIZE;
    let signature = Window::SIZE + 8;
    let cases: Vec<(&str, Vec<Change>, &str, usize)> = vec![
        ("a leaf's bit", vec![edit(RUNS, 1, leaf + 64)], "batch", 1),
        ("a leaf's identity", vec![edit(RUNS, 4, leaf + 40)], "batch", 4),
        ("the last batch's leaf", vec![edit(RUNS, 6, leaf + 3 * Leaf::SIZE)], "batch", 6),
        ("a batch's threshold", vec![edit(RUNS, 2, 25)], "window", 0),
        ("a batch's deployment", vec![edit(RUNS, 2, 3)], "batch", 2),
        ("a batch's version", vec![edit(RUNS, 2, 0)], "batch", 2),
        ("no batch 0", vec![remove(RUNS, 0)], "batch", 0),
        ("no batch 3", vec![remove(RUNS, 3)], "batch", 3),
        ("no batch 6", vec![remove(RUNS, 6)], "batch", 6),
        ("no window 0", vec![remove(WINDOWS, 0)], "window", 0),
        ("no window 1", vec![remove(WINDOWS, 1)], "window", 1),
        ("no window 2", vec![remove(WINDOWS, 2)], "window", 2),
        ("batches swapped", vec![swap(RUNS, 0, 1)], "window", 0),
        ("batches of two windows swapped", vec![swap(RUNS, 2, 3)], "window", 0),
        ("windows swapped", vec![swap(WINDOWS, 0, 1)], "window", 0),
        ("the last windows swapped", vec![swap(WINDOWS, 1, 2)], "window", 1),
        ("a window twice", vec![copy(WINDOWS, 0, 1)], "window", 1),
        ("a batch twice", vec![copy(RUNS, 0, 1)], "window", 0),
        ("a window's sequence", vec![edit(WINDOWS, 1, 33)], "window", 1),
        ("a window's time", vec![edit(WINDOWS, 1, 41)], "window", 1),
        ("a window's previous", vec![edit(WINDOWS, 1, 60)], "window", 1),
        ("a window's root", vec![edit(WINDOWS, 2, 100)], "window", 2),
        ("a window's first batch", vec![edit(WINDOWS, 2, Window::SIZE)], "window", 2),
        ("ML-DSA", vec![edit(WINDOWS, 0, signature + 5)], "window", 0),
        ("FN-DSA", vec![edit(WINDOWS, 1, signature + 3309 + 100)], "window", 1),
        ("SLH-DSA", vec![edit(WINDOWS, 2, signature + 3309 + 666 + 9000)], "window", 2),
        ("a hash", vec![edit(WINDOWS, 1, signature + 3309 + 666 + 17_088 + 40)], "window", 1),
        ("a batch more", vec![copy(RUNS, 6, 7)], "batch", 7),
        ("a window more", vec![copy(WINDOWS, 2, 3)], "window", 3),
        ("a window more, and said so", vec![copy(WINDOWS, 2, 3), says(7, 4)], "window", 3),
        ("fewer said", vec![says(6, 3)], "batch", 6),
        ("fewer windows said", vec![says(7, 2)], "window", 2),
    ];
    let world = World::filled();
    let path = world.dir().join(log::FILE);
    let good = fs::read(&path).unwrap();
    assert_eq!(world.verify().unwrap().chain.len(), 3);
    for (what, changes, field, row) in cases {
        fs::write(&path, &good).unwrap();
        for change in changes {
            world.tamper(|transaction| change(transaction));
        }
        let error = world.verify().map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), Kind::Log, "{what}: {error}");
        assert_eq!((error.field(), error.row()), (Some(field), Some(row)), "{what}: {error}");
    }
    // A window with all its batches from another history under the same keys: everything fits and is
    // signed, but for the chain.
    fs::write(&path, &good).unwrap();
    let twin = world.twin().fill(1);
    let database = Database::open(twin.dir().join(log::FILE)).unwrap();
    let other = redb::ReadableDatabase::begin_read(&database).unwrap();
    world.tamper(|transaction| {
        for (table, records) in [(RUNS, 3..6), (WINDOWS, 1..2)] {
            let from = other.open_table(table).unwrap();
            let mut to = transaction.open_table(table).unwrap();
            for n in records {
                let bytes = from.get(n).unwrap().unwrap().value().to_vec();
                to.insert(n, bytes.as_slice()).unwrap();
            }
        }
    });
    let error = world.verify().map(|_| ()).unwrap_err();
    assert_eq!((error.field(), error.row()), (Some("window"), Some(1)), "{error}");
    assert!(error.message().contains("does not follow"), "{error}");
    // An end that was cut off with care shows only against what was noted.
    fs::write(&path, &good).unwrap();
    let noted = world.verify().unwrap().chain[2];
    for change in [remove(WINDOWS, 2), remove(RUNS, 6), says(6, 2)] {
        world.tamper(|transaction| change(transaction));
    }
    let report = world.verify().unwrap();
    assert_eq!((report.batches, report.windows), (6, 2));
    let run = |hash: Digest| {
        let dir = world.dir().to_str().unwrap();
        symbolon(["log", "verify", dir, "--contains", &hex(&hash)])
    };
    run(report.chain[1]).ok();
    let run = run(noted);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.starts_with("symbolon: E-LOG: "), "{run:?}");
}

/// What is written at once lies in few records, none of which may hold more, or less, than it was given.
#[test]
fn batches_in_runs() {
    let world = World::new();
    let mut log = Log::create_or_open(world.dir(), DEPLOYMENT.id, seal()).unwrap();
    let batches: Vec<_> = (0..40).map(|number| attested(number, 32)).collect();
    let batches: Vec<_> = batches.iter().map(|one| (one, one.batch.hash())).collect();
    for some in [&batches[..1], &batches[1..9], &batches[9..]] {
        log.append(some, &[]).unwrap();
    }
    drop(log);
    let path = world.dir().join(log::FILE);
    let database = Database::open(&path).unwrap();
    let records = redb::ReadableDatabase::begin_read(&database).unwrap().open_table(RUNS).unwrap();
    let records = records.iter().unwrap().map(|record| record.unwrap().0.value());
    assert_eq!(records.collect::<Vec<_>>(), [0, 1, 8, 9, 23, 37]);
    drop(database);
    assert_eq!(world.verify().unwrap().unsigned, 40);

    let (keys, tried) = (world.keys.clone(), AtomicUsize::new(0));
    let faulty = Faulty { keys, fails: 2, panics: false, tried };
    world.signer_with(Arc::new(faulty), 16, NEVER).finish().unwrap_err();
    // A record in the way of another, in place of one that nobody reads.
    let refused = |change: &dyn Fn(&redb::WriteTransaction)| {
        let good = fs::read(&path).unwrap();
        world.tamper(change);
        let error = Log::create_or_open(world.dir(), DEPLOYMENT.id, seal()).err().unwrap();
        assert_eq!(error.kind(), Kind::Log, "{error}");
        fs::write(&path, good).unwrap();
    };
    refused(&|transaction| {
        remove(RUNS, 0)(transaction);
        copy(RUNS, 8, 34)(transaction);
    });
    // What is not signed begins within a run.
    let log = Log::create_or_open(world.dir(), DEPLOYMENT.id, seal()).unwrap();
    let unsigned = batches[32..].iter().map(|(_, hash)| *hash);
    assert!(log.unsigned().eq(unsigned), "the last eight");
    drop(log);
    world.signer(16, NEVER).finish().unwrap();
    let report = world.verify().unwrap();
    assert_eq!((report.batches, report.decisions, report.windows), (40, 1280, 3));
    let reader = Reader::open(world.dir()).unwrap();
    for (number, (batch, _)) in batches.iter().enumerate() {
        let mut bytes = Vec::new();
        reader.receipt(&batch.leaves[number % 32].request, &mut bytes).unwrap();
        let size = if number < 32 { 16 } else { 8 };
        assert_eq!(check(&world.ring, &bytes), (1, number as u64 / 16, size));
    }
    drop(reader);

    // Where all are signed the end is an end as well.
    refused(&|transaction| {
        let mut table = transaction.open_table(RUNS).unwrap();
        let bytes = table.get(37).unwrap().unwrap().value().to_vec();
        table.insert(37, [&bytes[..], &bytes[..1]].concat().as_slice()).unwrap();
    });
    // All in one record would be read for every batch.
    let good = fs::read(&path).unwrap();
    world.tamper(|transaction| {
        let mut table = transaction.open_table(RUNS).unwrap();
        let bytes = table.get(23).unwrap().unwrap().value().repeat(2);
        table.insert(23, bytes.as_slice()).unwrap();
    });
    let error = world.verify().unwrap_err();
    assert_eq!((error.kind(), error.row()), (Kind::Log, Some(23)), "{error}");

    const BATCH: usize = Batch::SIZE + 32 * Leaf::SIZE;
    let change = |key: u64, change: fn(&mut Vec<u8>)| {
        fs::write(&path, &good).unwrap();
        world.tamper(|transaction| {
            let mut table = transaction.open_table(RUNS).unwrap();
            let mut bytes = table.get(key).unwrap().unwrap().value().to_vec();
            change(&mut bytes);
            table.insert(key, bytes.as_slice()).unwrap();
        });
        let error = world.verify().map(|_| ()).unwrap_err();
        assert_eq!((error.kind(), error.field()), (Kind::Log, Some("batch")), "{error}");
        error.row().unwrap()
    };
    assert_eq!(change(9, |run| run[3 * BATCH + Batch::SIZE + 64] ^= 1), 12);
    // No version, so that nobody knows where the next one begins.
    assert_eq!(change(9, |run| run[3 * BATCH] ^= 1), 12);
    assert_eq!(change(23, |run| run.truncate(13 * BATCH)), 36);
    assert_eq!(change(23, |run| run.truncate(14 * BATCH - 1)), 36);
    // The batch that is there twice is one by itself; what follows is not where it is to be.
    assert_eq!(change(8, |run| run.extend_from_within(..BATCH)), 10);
    assert_eq!(change(8, |run| run.push(0)), 9);
    assert_eq!(change(37, |run| run.extend_from_within(..BATCH)), 40);
    assert_eq!(change(37, |run| run.truncate(2 * BATCH)), 39);
    // A record within another.
    fs::write(&path, &good).unwrap();
    world.tamper(|transaction| copy(RUNS, 0, 12)(transaction));
    let error = world.verify().map(|_| ()).unwrap_err();
    assert_eq!((error.field(), error.row()), (Some("batch"), Some(23)), "{error}");
}

/// Names of the files of a log, in order.
fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".redb"));
    names.sort();
    names
}

/// A log of 8 batches in each of 3 parts that have ended, in windows of 4, and 3 in the newest.
fn divided() -> World {
    let world = World::new();
    for part in 0..4 {
        let mut log = Log::create_or_open(world.dir(), DEPLOYMENT.id, seal()).unwrap();
        log.divide_at(1, None);
        log.append(&[], &[]).unwrap();
        log.divide_at(u64::MAX, None);
        let settings = Settings { batches: 4, time: NEVER };
        let signer = Signer::start(log, world.keys.clone(), settings).unwrap();
        for number in 0..if part < 3 { 8 } else { 3 } {
            signer.submit(stated(8 * part + number, 3)).unwrap().durable().unwrap();
        }
        signer.finish().unwrap();
    }
    world
}

/// Every receipt of these batches of three decisions is there, and verifies.
fn all_there(world: &World, numbers: std::ops::Range<u8>) {
    let reader = Reader::open(world.dir()).unwrap();
    for number in numbers {
        for leaf in attested(number, 3).leaves {
            let mut bytes = Vec::new();
            reader.receipt(&leaf.request, &mut bytes).unwrap();
            assert_eq!(Receipt::decode_exact(&bytes).unwrap().leaf, leaf);
            assert_eq!(check(&world.ring, &bytes).0, 1);
        }
    }
}

/// What no window signs yet goes into the next part, out of the midst of a run.
#[test]
fn a_log_goes_on_in_another_part() {
    let world = World::new();
    let mut log = Log::create_or_open(world.dir(), DEPLOYMENT.id, seal()).unwrap();
    let batches: Vec<_> = (0..12).map(|number| attested(number, 3)).collect();
    let batches: Vec<_> = batches.iter().map(|one| (one, one.batch.hash())).collect();
    log.append(&batches[..10], &[]).unwrap();
    // Nothing is signed, so there is nothing to end.
    log.divide_at(1, None);
    log.append(&batches[10..11], &[]).unwrap();
    drop(log);
    assert_eq!(files(world.dir()), ["receipts.redb"]);
    let (keys, tried) = (world.keys.clone(), AtomicUsize::new(0));
    let faulty = Faulty { keys, fails: 1, panics: false, tried };
    world.signer_with(Arc::new(faulty), 4, NEVER).finish().unwrap_err();

    let mut log = Log::create_or_open(world.dir(), DEPLOYMENT.id, seal()).unwrap();
    log.divide_at(1, None);
    let handle = log.handle();
    log.append(&batches[11..], &[]).unwrap();
    assert_eq!(files(world.dir()), ["receipts-0000000000000000.redb", "receipts.redb"]);
    assert_eq!((log.tail().batches, log.tail().signed, log.tail().windows), (12, 4, 1));
    assert!(log.unsigned().eq(batches[4..].iter().map(|(_, hash)| *hash)));
    // Beside the writer: receipts of both parts, and the history of the one that has ended.
    let request = |number: usize| batches[number].0.leaves[2].request;
    let mut bytes = Vec::new();
    handle.receipt(&request(3), Some(3), &mut bytes).unwrap();
    handle.receipt(&request(3), None, &mut bytes).unwrap();
    assert_eq!(check(&world.ring, &bytes).0, 2);
    for (number, at, kind) in [
        (4, Some(4), Kind::NotSigned),
        (11, None, Kind::NotSigned),
        (4, Some(3), Kind::UnknownRequest),
        (3, Some(4), Kind::UnknownRequest),
        (3, Some(99), Kind::UnknownRequest),
        (3, Some(u64::MAX), Kind::UnknownRequest),
    ] {
        let error = handle.receipt(&request(number), at, &mut bytes).unwrap_err();
        assert_eq!(error.kind(), kind, "{number} at {at:?}: {error}");
    }
    assert_eq!(Reader::open(world.dir()).err().unwrap().kind(), Kind::LogBusy);
    let finished = Reader::finished(world.dir()).unwrap();
    let report = log::verify(&finished, &world.ring, &|_| {}).unwrap();
    assert_eq!((report.batches, report.windows, report.unsigned), (4, 1, 0));
    drop(finished);
    drop(log);
    assert_eq!(handle.receipt(&request(3), Some(3), &mut bytes).unwrap_err().kind(), Kind::LogBusy);

    world.signer(5, NEVER).finish().unwrap();
    let report = world.verify().unwrap();
    assert_eq!((report.parts, report.batches, report.windows), (2, 12, 3));
    assert_eq!((report.decisions, report.unsigned, report.first_window), (36, 0, 0));
    all_there(&world, 0..12);
}

#[test]
fn parts_are_one_history() {
    let world = divided();
    let [a, b, c] = [0, 8, 16].map(|number| format!("receipts-{number:016}.redb"));
    let newest = log::FILE.to_owned();
    assert_eq!(files(world.dir()), [&a, &b, &c, &newest].map(String::as_str));
    let whole = world.verify().unwrap();
    assert_eq!((whole.parts, whole.batches, whole.windows, whole.unsigned), (4, 27, 7, 0));
    all_there(&world, 0..27);
    let path = |name: &str| world.dir().join(name);
    let aside = |name: &str| fs::rename(path(name), path(name).with_extension("aside")).unwrap();
    let back = |name: &str| fs::rename(path(name).with_extension("aside"), path(name)).unwrap();
    let wrong = |what: &str| {
        let error = world.verify().map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), Kind::Log, "{error}");
        assert!(error.message().contains(what), "{error}");
        error
    };
    let row = |what: &str| wrong(what).row().unwrap();

    // The oldest may be elsewhere, which is said.
    aside(&a);
    let rest = world.verify().unwrap();
    assert_eq!((rest.first_window, rest.previous), (2, whole.chain[1]));
    assert_eq!((rest.parts, rest.batches, &rest.chain[..]), (3, 19, &whole.chain[2..]));
    all_there(&world, 8..27);
    let error = Reader::open(world.dir()).unwrap().receipt(&[0; 16], &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::UnknownRequest);
    let dir = world.dir().to_str().unwrap();
    for noted in [1, 2, 6] {
        let run = symbolon(["log", "verify", dir, "--contains", &hex(&whole.chain[noted])]);
        let text = run.ok();
        assert!(text.contains("before window 2"), "{text}");
    }
    let run = symbolon(["log", "verify", dir, "--contains", &hex(&whole.chain[0])]);
    assert_eq!(run.code, Some(1), "{run:?}");
    back(&a);
    // One from the middle may not, nor may one stand for another.
    aside(&b);
    assert_eq!(row("part before"), 4);
    for other in [&a, &c] {
        fs::copy(path(other), path(&b)).unwrap();
        wrong("than its name says");
    }
    back(&b);
    // Of another history under the same keys.
    let twin = divided();
    fs::copy(twin.dir().join(&b), path("x.redb")).unwrap();
    aside(&b);
    fs::rename(path("x.redb"), path(&b)).unwrap();
    world.verify().unwrap_err();
    back(&b);
    // What has ended has not gone on.
    fs::copy(path(&newest), path("receipts-0000000000000024.redb")).unwrap();
    assert_eq!(row("not ended"), 27);
    fs::remove_file(path("receipts-0000000000000024.redb")).unwrap();
    // What has other names is no part.
    fs::create_dir(path("receipts-+9.redb")).unwrap();
    fs::create_dir(path("receipts-0000000000000009.redb")).unwrap();
    fs::copy(path(&c), path("receipts-8.redb")).unwrap();
    all_there(&world, 8..16);
    assert_eq!(world.verify().unwrap(), whole);

    // Whoever writes needs the newest, which says where it begins.
    let open = || Log::create_or_open(world.dir(), DEPLOYMENT.id, seal()).err().unwrap();
    aside(&newest);
    assert_eq!(open().kind(), Kind::Log);
    wrong("not here");
    let finished = Reader::finished(world.dir()).unwrap();
    assert_eq!(log::verify(&finished, &world.ring, &|_| {}).unwrap().batches, 24);
    fs::copy(path(&c), path(&newest)).unwrap();
    assert_eq!(open().kind(), Kind::Log);
    wrong("not here");
    // An older copy, of when its seal was whole.
    let older = twin.dir().join("older");
    fs::create_dir(&older).unwrap();
    let signer = Signer::start(
        Log::create_or_open(&older, DEPLOYMENT.id, seal()).unwrap(),
        world.keys.clone(),
        Settings { batches: 4, time: NEVER },
    );
    signer.unwrap().submit(stated(0, 3)).unwrap().durable().unwrap();
    fs::copy(older.join(log::FILE), path(&newest)).unwrap();
    assert_eq!(open().kind(), Kind::Log);
    back(&newest);
    let good = fs::read(path(&newest)).unwrap();
    for at in [21, 29, 37] {
        world.tamper(|transaction| {
            let mut meta = transaction.open_table(META).unwrap();
            let mut header = meta.get(&b"header"[..]).unwrap().unwrap().value().to_vec();
            header[at] ^= 1;
            meta.insert(&b"header"[..], header.as_slice()).unwrap();
        });
        assert!([Kind::Log, Kind::LogFormat].contains(&open().kind()));
        row("part before");
        fs::write(path(&newest), &good).unwrap();
    }
    world.signer(4, NEVER).finish().unwrap();
}

/// Wherever the power fails between two parts, the next run goes on.
#[test]
fn a_crash_between_two_parts() {
    let world = divided();
    let last = "receipts-0000000000000016.redb";
    let states: [(&str, [Option<&str>; 3]); 4] = [
        ("the next is being made", [None, Some(last), Some("garbage")]),
        ("the next is made", [None, Some(last), Some(log::FILE)]),
        ("the old one is ended", [None, Some(last), Some(log::FILE)]),
        ("the old one is renamed", [Some(last), None, Some(log::FILE)]),
    ];
    for (what, [old, current, next]) in states {
        let crashed = world.twin();
        let copy = |from: Option<&str>, to: &str| match from {
            None => {}
            Some("garbage") => fs::write(crashed.dir().join(to), [7; 5000]).unwrap(),
            Some(from) => drop(fs::copy(world.dir().join(from), crashed.dir().join(to)).unwrap()),
        };
        for name in files(world.dir()).iter().take(2) {
            copy(Some(name), name);
        }
        copy(old, last);
        copy(current, log::FILE);
        copy(next, "receipts.next.redb");
        let begun = what.starts_with("the old one");
        if begun {
            assert_eq!(Reader::open(crashed.dir()).err().unwrap().kind(), Kind::LogBusy, "{what}");
        } else {
            crashed.tamper(|transaction| {
                transaction.open_table(META).unwrap().remove(&b"ended"[..]).unwrap();
            });
            assert_eq!(crashed.verify().unwrap().batches, 24);
        }
        let half = crashed.dir().join("receipts.next.redb.0123456789abcdef");
        let other = crashed.dir().join("receipts.next.redb.mine");
        [&half, &other].iter().for_each(|path| fs::write(path, "not yet whole").unwrap());
        crashed.signer(4, NEVER).finish().unwrap();
        assert!(!half.exists() && other.exists());
        let all = if begun { 27 } else { 24 };
        let report = crashed.verify().unwrap();
        assert_eq!((report.batches, report.unsigned), (all, 0), "{what}");
        all_there(&crashed, 0..all as u8);
        assert_eq!(files(crashed.dir()).len(), if all == 24 { 3 } else { 4 }, "{what}");
    }
}

/// Where the next part cannot be made, this one goes on; nothing is lost.
#[test]
fn a_part_that_cannot_end() {
    let world = divided();
    let open = || Log::create_or_open(world.dir(), DEPLOYMENT.id, seal());
    let mut log = open().unwrap();
    log.divide_at(1, None);
    let blocker = world.dir().join("receipts-0000000000000024.redb");
    fs::create_dir(&blocker).unwrap();
    for number in 27..30 {
        let one = attested(number, 3);
        log.append(&[(&one, one.batch.hash())], &[]).unwrap();
    }
    drop(log);
    assert_eq!(open().err().unwrap().kind(), Kind::LogFormat);
    fs::remove_dir(&blocker).unwrap();
    let mut log = open().unwrap();
    assert_eq!(log.tail().batches, 30);
    log.divide_at(1, None);
    log.append(&[], &[]).unwrap();
    drop(log);
    assert!(blocker.is_file());
    let report = world.verify().unwrap();
    assert_eq!((report.parts, report.batches, report.unsigned), (5, 30, 3));
    // The one before may be on another disk, or damaged: who writes does not need it.
    let elsewhere = tempfile::tempdir().unwrap();
    let there = elsewhere.path().join("x");
    fs::copy(&blocker, &there).unwrap();
    fs::remove_file(&blocker).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&there, &blocker).unwrap();
        assert_eq!(world.verify().unwrap(), report);
        fs::remove_file(&blocker).unwrap();
    }
    fs::write(&blocker, "half a copy").unwrap();
    assert_eq!(open().unwrap().tail().batches, 30);
    world.verify().unwrap_err();
}

/// Only so many parts are kept, and whoever asks for a receipt meanwhile gets it.
#[test]
fn receipts_while_parts_end() {
    let world = World::new();
    let mut log = Log::create_or_open(world.dir(), DEPLOYMENT.id, seal()).unwrap();
    log.divide_at(1, Some(20));
    let handle = log.handle();
    let settings = Settings { batches: 2, time: NEVER };
    let signer = Signer::start(log, world.keys.clone(), settings).unwrap();
    let (written, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (handle, ring, written, done) = (&handle, &world.ring, &written, &done);
            scope.spawn(move || {
                while done.load(Ordering::Acquire) == 0 {
                    let end = written.load(Ordering::Acquire);
                    for number in (end.saturating_sub(24)..end).filter(|n| n % 2 == thread) {
                        let request = attested(number as u8, 3).leaves[1].request;
                        let at = (number % 4 < 2).then_some(number as u64);
                        let mut bytes = Vec::new();
                        handle.receipt(&request, at, &mut bytes).unwrap();
                        assert_eq!(check(ring, &bytes).0, 1);
                    }
                }
            });
        }
        for number in 0..120 {
            let ticket = signer.submit(stated(number, 3)).unwrap();
            if number % 2 == 1 {
                receipts(&ticket);
                written.store(usize::from(number) + 1, Ordering::Release);
            }
        }
        done.store(1, Ordering::Release);
    });
    signer.finish().unwrap();
    drop(signer);
    assert_eq!(files(world.dir()).len(), 21);
    let report = world.verify().unwrap();
    assert!(report.first_window > 0 && report.unsigned == 0);
    assert_eq!(report.first_window + report.windows, 60);
}

/// Whoever can write the file must not have his decisions signed by the next run.
#[test]
fn an_end_that_somebody_else_wrote_is_not_signed() {
    let world = World::new();
    let signer = world.signer(3, NEVER);
    for number in 0..4 {
        signer.submit(stated(number, 3)).unwrap().durable().unwrap();
    }
    // The last batch stays unsigned.
    drop(signer);
    let path = world.dir().join(log::FILE);
    let good = fs::read(&path).unwrap();
    let open = || Log::create_or_open(world.dir(), DEPLOYMENT.id, seal());
    let unsigned = open().unwrap().unsigned().count() as u64;
    assert!(unsigned > 0);

    // Another decision, with its root made anew.
    let forge = |transaction: &redb::WriteTransaction| {
        let mut table = transaction.open_table(RUNS).unwrap();
        let mut forged = attested(3, 3);
        forged.leaves[1].accept = true;
        let hashes: Vec<Digest> = forged.leaves.iter().map(Leaf::hash).collect();
        forged.batch.root = BatchTree::new().build(isa::fastest(), &hashes).unwrap();
        let mut bytes = forged.batch.encode().to_vec();
        forged.leaves.iter().for_each(|leaf| bytes.extend_from_slice(&leaf.encode()));
        table.insert(3, bytes.as_slice()).unwrap();
    };
    let append = |transaction: &redb::WriteTransaction| {
        let mut table = transaction.open_table(RUNS).unwrap();
        let bytes = table.get(3).unwrap().unwrap().value().to_vec();
        table.insert(4, bytes.as_slice()).unwrap();
        drop(table);
        let windows = transaction.open_table(WINDOWS).unwrap().len().unwrap();
        let tail = [5, windows, 5, 0].map(u64::to_le_bytes);
        let mut meta = transaction.open_table(META).unwrap();
        meta.insert(b"tail".as_slice(), tail.as_flattened()).unwrap();
    };
    let unseal = |transaction: &redb::WriteTransaction| {
        transaction.open_table(META).unwrap().remove(b"seal".as_slice()).unwrap();
    };
    // What is not counted as a batch: a record, or bytes, behind the last; a record in the way of another.
    let behind = |transaction: &redb::WriteTransaction| {
        copy(RUNS, 3, 9)(transaction);
        let windows = transaction.open_table(WINDOWS).unwrap().len().unwrap();
        let tail = [4, windows, 5, 0].map(u64::to_le_bytes);
        let mut meta = transaction.open_table(META).unwrap();
        meta.insert(b"tail".as_slice(), tail.as_flattened()).unwrap();
    };
    let lengthen = |transaction: &redb::WriteTransaction| {
        let mut table = transaction.open_table(RUNS).unwrap();
        let bytes = table.get(3).unwrap().unwrap().value().repeat(2);
        table.insert(3, bytes.as_slice()).unwrap();
    };
    let changes: [&dyn Fn(&redb::WriteTransaction); 5] =
        [&forge, &append, &unseal, &behind, &lengthen];
    for (number, change) in changes.into_iter().enumerate() {
        fs::write(&path, &good).unwrap();
        world.tamper(change);
        assert_eq!(open().err().unwrap().kind(), Kind::Log, "change {number}");
        match world.verify() {
            // Readers have no key: all but the decisions that nothing signs is proved to them.
            Ok(report) => assert!(number < 3 && report.unsigned > 0, "change {number}"),
            Err(error) => assert!(number >= 3 && error.kind() == Kind::Log, "change {number}"),
        }
    }
    // Nor does it open under another key.
    fs::write(&path, &good).unwrap();
    let other = Log::create_or_open(world.dir(), DEPLOYMENT.id, log::SealKey::new([6; 32]));
    assert_eq!(other.err().unwrap().kind(), Kind::Log);
    assert!(open().is_ok());
}

/// Before any window, too, a log is some deployment's.
#[test]
fn a_log_under_a_foreign_keyring_does_not_verify() {
    let world = World::new();
    let signer = world.signer(64, NEVER);
    signer.submit(stated(1, 3)).unwrap().durable().unwrap();
    drop(signer);
    assert_eq!(world.verify().unwrap().unsigned, 1);
    let foreign = Deployment { id: [1; 16], epoch: 1 };
    let keys = SigningSeeds::draw(foreign, Validity::ALWAYS).unwrap().keys().unwrap();
    let ring = Keyring::parse(&keys.public(), Path::new("ring")).unwrap();
    let reader = Reader::open(world.dir()).unwrap();
    assert_eq!(log::verify(&reader, &ring, &|_| {}).unwrap_err().kind(), Kind::Log);
}

#[test]
fn damaged_logs() {
    let world = World::filled();
    let path = world.dir().join(log::FILE);
    let good = fs::read(&path).unwrap();
    for length in [0, 1, 64, 511, 4096, good.len() / 2] {
        fs::write(&path, &good[..length]).unwrap();
        assert_eq!(world.verify().unwrap_err().kind(), Kind::LogFormat, "{length} bytes");
        let error = Log::create_or_open(world.dir(), DEPLOYMENT.id, seal()).err().unwrap();
        assert_eq!(error.kind(), Kind::LogFormat, "{length} bytes");
    }
    fs::write(&path, good.iter().map(|byte| byte.wrapping_mul(91)).collect::<Vec<_>>()).unwrap();
    assert_eq!(world.verify().unwrap_err().kind(), Kind::LogFormat);
    // Nor where a window stands behind the last, in place of one that nobody looks at.
    fs::write(&path, &good).unwrap();
    world.tamper(|transaction| {
        copy(WINDOWS, 0, 3)(transaction);
        remove(WINDOWS, 0)(transaction);
    });
    let error = Log::create_or_open(world.dir(), DEPLOYMENT.id, seal()).err().unwrap();
    assert_eq!(error.kind(), Kind::LogFormat);
    // Whoever writes does not go on where records are missing.
    for change in [remove(RUNS, 3), remove(WINDOWS, 2), says(8, 3), says(6, 3)] {
        fs::write(&path, &good).unwrap();
        world.tamper(|transaction| change(transaction));
        let error = Log::create_or_open(world.dir(), DEPLOYMENT.id, seal()).err().unwrap();
        assert_eq!(error.kind(), Kind::LogFormat);
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(world.verify().unwrap_err().kind(), Kind::LogFormat);
    fs::create_dir(&path).unwrap();
    assert_eq!(world.verify().unwrap_err().kind(), Kind::LogFormat);
}

// --- keys ---

/// A directory with keys, and the commands run in it.
struct Keys {
    temp: TempDir,
}

impl Keys {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        keys::create(&temp.path().join("keys"), ParameterSet::Q54, 10).unwrap();
        Self { temp }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> common::Run {
        command(arguments).current_dir(self.temp.path()).output().unwrap().into()
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        self.run(&[arguments, &["--json"]].concat()).ok_json()
    }

    /// Ids and states, in order.
    fn list(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let lines = self.json(&["keys", "list", "keys"]);
        lines.iter().map(|line| (text(&line["key_id"]), text(&line["state"]))).collect()
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], code: &str) {
        let run = self.run(arguments);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.starts_with(&format!("symbolon: {code}: ")), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1);
    }

    /// The key set that signs at a time, in days from this moment.
    fn signs(&self, day: u64) -> Result<String> {
        let dir = self.path("keys");
        let deployment = keys::CustodianSeeds::load(&dir)?.deployment;
        let now = symbolon_platform::clock::unix_ms() + day * 24 * 60 * 60 * 1000;
        SigningKeys::load(&dir, deployment, now).map(|keys| hex(&keys.id()))
    }
}

#[test]
fn keys_rotate_and_are_revoked() {
    let keys = Keys::new();
    let (first, state) = keys.list().remove(0);
    assert_eq!(state, "active");
    let verify = fs::read(keys.path("keys/verify.key")).unwrap();

    // In five days another, until day 25.
    let rotate = ["keys", "rotate", "keys", "--starts-in-days", "5", "--valid-days", "20"];
    let second = keys.json(&rotate)[0]["key_id"].as_str().unwrap().to_owned();
    let state = |states: [&str; 2]| {
        let [a, b] = states.map(str::to_owned);
        vec![(first.clone(), a), (second.clone(), b)]
    };
    assert_eq!(keys.list(), state(["active", "future"]));
    assert!(fs::read(keys.path("keys/verify.key")).unwrap().starts_with(&verify));
    assert_eq!(keys.signs(0).unwrap(), first);
    assert_eq!(keys.signs(4).unwrap(), first);
    for day in [6, 9, 11, 24] {
        assert_eq!(keys.signs(day).unwrap(), second, "day {day}");
    }
    assert_eq!(keys.signs(26).unwrap_err().kind(), Kind::KeyValidity);
    #[cfg(unix)]
    for id in [&first, &second] {
        use std::os::unix::fs::PermissionsExt;
        let file = keys.path("keys").join(format!("signing-{id}.key"));
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    // Exported: public, all or one, never over something.
    keys.json(&["keys", "export", "keys", "--out", "all"]);
    assert_eq!(
        fs::read(keys.path("all")).unwrap(),
        fs::read(keys.path("keys/verify.key")).unwrap()
    );
    keys.json(&["keys", "export", "keys", "--out", "one", "--id", &first]);
    assert_eq!(fs::read(keys.path("one")).unwrap(), verify);
    keys.fails(&["keys", "export", "keys", "--out", "one"], "E-IO");
    assert_eq!(fs::read(keys.path("one")).unwrap(), verify);

    // The second is stolen.
    assert_eq!(keys.json(&["keys", "revoke", "keys", &second])[0]["new"], true);
    assert_eq!(keys.json(&["keys", "revoke", "keys", &second])[0]["new"], false);
    assert_eq!(keys.list(), state(["active", "revoked"]));
    assert_eq!(keys.signs(6).unwrap(), first);
    assert_eq!(keys.signs(11).unwrap_err().kind(), Kind::KeyValidity);
    let unknown = "0".repeat(32);
    keys.fails(&["keys", "revoke", "keys", &unknown], "E-UNKNOWN-KEY");
    keys.fails(&["keys", "revoke", "keys", "zz"], "E-ARGUMENT");
    keys.fails(&["keys", "export", "keys", "--out", "none", "--id", &unknown], "E-UNKNOWN-KEY");
    keys.fails(&["keys", "rotate", "nowhere"], "E-KEY-FILE");
    keys.fails(&["keys", "list", "nowhere"], "E-KEY-FILE");
    fs::write(keys.path("keys/verify.revoked"), "what?\n").unwrap();
    keys.fails(&["keys", "list", "keys"], "E-KEY-FILE");
    fs::remove_file(keys.path("keys/verify.revoked")).unwrap();

    // Seeds that are not the key set's they are named after.
    let signing = |id: &str| keys.path("keys").join(format!("signing-{id}.key"));
    fs::copy(signing(&second), signing(&first)).unwrap();
    assert_eq!(keys.signs(0).unwrap_err().kind(), Kind::KeyFile);
    fs::remove_file(signing(&first)).unwrap();
    assert_eq!(keys.signs(0).unwrap_err().kind(), Kind::KeyFile);
}

/// The whole way, by the command line: receipts and log under a key set, its successor, its revocation.
#[test]
fn receipts_through_rotation_and_revocation() {
    let keys = Keys::new();
    let rows: String = (0..40)
        .map(|row| {
            let value = |i: usize| ((row * 31 + i * 17) % 101) as f64 - 50.0;
            (0..16).map(|i| value(i).to_string()).collect::<Vec<_>>().join(",") + "\n"
        })
        .collect();
    fs::write(keys.path("rows.csv"), rows).unwrap();
    let ids: String = (0..40).map(|i| format!("p{i}\n")).collect();
    fs::write(keys.path("ids"), ids).unwrap();
    let files = ["--embeddings", "rows.csv", "--ids", "ids", "--store", "keys"];
    keys.json(&[&["enrol"][..], &files].concat());
    let auth = |out: &str, more: &[&str]| {
        let lines = keys.json(&[&["auth", "--receipt", out][..], &files, more].concat());
        assert_eq!(lines.len(), 41);
        lines[0]["request"].as_str().unwrap().to_owned()
    };
    let verify = |file: &str| {
        let run = keys.run(&["verify", file, "--keys", "keys", "--json"]);
        (run.code, run.stdout.lines().filter(|line| line.contains("\"valid\":true")).count())
    };
    let log = || keys.json(&["log", "verify", "keys"]).remove(0);

    let request = auth("old", &["--window-batches", "1"]);
    assert_eq!(verify("old"), (Some(0), 40));
    assert_eq!((&log()["windows"], &log()["decisions"]), (&2.into(), &40.into()));
    keys.json(&["keys", "rotate", "keys"]);
    auth("new", &["--window-ms", "60000"]);
    assert_eq!((verify("old"), verify("new")), ((Some(0), 40), (Some(0), 40)));
    assert_eq!((&log()["windows"], &log()["revoked_windows"]), (&3.into(), &0.into()));

    // A receipt again, byte for byte.
    keys.json(&["log", "receipt", "keys", &request, "--out", "again"]);
    let again = fs::read(keys.path("again")).unwrap();
    assert!(fs::read(keys.path("old")).unwrap().starts_with(&again));
    keys.fails(&["log", "receipt", "keys", &"0".repeat(32), "--out", "x"], "E-UNKNOWN-REQUEST");
    keys.fails(&["log", "receipt", "keys", "0", "--out", "x"], "E-ARGUMENT");
    keys.fails(&["log", "receipt", "keys", &request, "--out", "ids"], "E-ARGUMENT");

    // The old keys were stolen: their receipts count no more, the log does.
    let list = keys.list();
    keys.json(&["keys", "revoke", "keys", &list[0].0]);
    assert_eq!((verify("old"), verify("new")), ((Some(1), 0), (Some(0), 40)));
    assert_eq!((&log()["windows"], &log()["revoked_windows"]), (&3.into(), &2.into()));
    // With the new ones gone as well nobody vouches, and nobody signs.
    keys.json(&["keys", "revoke", "keys", &list[1].0]);
    let run = keys.run(&["log", "verify", "keys"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("E-LOG: ") && run.stderr.contains("revoked"), "{run:?}");
    keys.fails(&[&["auth"][..], &files].concat(), "E-KEY-VALIDITY");
    // A relying party may have a list of its own.
    fs::write(keys.path("none"), "# nothing\n").unwrap();
    let run = keys.run(&["verify", "old", "--keys", "keys", "--revoked", "none"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let run = keys.run(&["log", "verify", "keys", "--revoked", "none"]);
    assert_eq!(run.code, Some(0), "{run:?}");
}
