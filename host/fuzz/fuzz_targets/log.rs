//! A receipt log with a record of somebody else's: whatever its bytes, nothing that was signed changes unseen, and
//! nobody goes on writing what they left.
//!
//! The first byte names the record; then it is replaced, or (upper case) changed where it stands: two bytes for the place,
//! and what is exclusive-ored there. Damage to the database's pages is left to the tests: see `store`.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use redb::{Database, Durability, ReadableDatabase, TableDefinition};
use symbolon_core::attest::{Batch, Leaf, Validity};
use symbolon_host::keyring::Keyring;
use symbolon_host::keys::{Deployment, SigningSeeds};
use symbolon_host::log::{self, Log, Reader, SealKey};
use symbolon_host::signer::{Settings, Signer, Stated};
use tempfile::TempDir;

const RUNS: TableDefinition<u64, &[u8]> = TableDefinition::new("runs");
const WINDOWS: TableDefinition<u64, &[u8]> = TableDefinition::new("windows");
const META: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta");
const DEPLOYMENT: Deployment = Deployment { id: [0xd0; 16], epoch: 1 };

struct World {
    dir: TempDir,
    path: PathBuf,
    whole: Vec<u8>,
    ring: Keyring,
}

fn seal() -> SealKey {
    SealKey::new([5; 32])
}

fn leaf(number: u8) -> Leaf {
    let [request, nonce] = [[number; 16], [1; 16]];
    Leaf { request, nonce, identity: [2; 32], accept: true, proof: None, template: [3; 32] }
}

fn stated(number: u8) -> Stated {
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
        count: 0,
        probe: [4; 32],
        blind: [5; 32],
        result: [6; 32],
        root: [0; 32],
    };
    Stated::new(batch, vec![leaf(number), leaf(number + 100)]).expect("a batch")
}

/// A log of a window of two batches, and a batch that no window signs.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let dir =
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let keys = SigningSeeds::draw(DEPLOYMENT, Validity::ALWAYS).and_then(|seeds| seeds.keys());
    let keys = keys.expect("keys");
    let ring = Keyring::parse(&keys.public(), Path::new("ring")).expect("a keyring");
    let keys = Arc::new(keys);
    for batches in [&[0, 1][..], &[2]] {
        let log = Log::create_or_open(dir.path(), DEPLOYMENT.id, seal()).expect("a log");
        let settings = Settings { batches: 2, time: Duration::from_secs(3600) };
        let signer = Signer::start(log, keys.clone(), settings).expect("a signer");
        let tickets = batches.iter().map(|number| signer.submit(stated(*number)));
        let tickets: Vec<_> = tickets.map(|ticket| ticket.expect("a ticket")).collect();
        for ticket in tickets {
            if batches.len() == 2 {
                ticket.receipts(&mut Vec::new()).expect("receipts");
            }
            ticket.durable().expect("the disk");
        }
    }
    let path = dir.path().join(log::FILE);
    let whole = fs::read(&path).expect("the database");
    World { dir, path, whole, ring }
});

fn changed(old: &[u8], replace: bool, bytes: &[u8]) -> Option<Vec<u8>> {
    if replace {
        return Some(bytes.to_vec());
    }
    let (at, bytes) = bytes.split_first_chunk()?;
    let mut new = old.to_vec();
    let place = new.get_mut(usize::from(u16::from_le_bytes(*at))..)?;
    place.iter_mut().zip(bytes).for_each(|(to, from)| *to ^= from);
    Some(new)
}

/// Changes a record; gives whether it is another now.
fn change(path: &Path, place: u8, bytes: &[u8]) -> Result<Option<bool>, redb::Error> {
    let database = Database::open(path)?;
    let replace = place.is_ascii_lowercase();
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::None)?;
    let reader = database.begin_read()?;
    let was = match place.to_ascii_lowercase() {
        b's' | b'u' => {
            // The signed batches may be one record or two; the last is not signed.
            let key = if place.eq_ignore_ascii_case(&b's') { 0 } else { 2 };
            let old = reader.open_table(RUNS)?.get(key)?.map(|value| value.value().to_vec());
            let old = old.unwrap_or_default();
            let Some(new) = changed(&old, replace, bytes) else { return Ok(None) };
            transaction.open_table(RUNS)?.insert(key, new.as_slice())?;
            old == new
        }
        b'w' => {
            let old = reader.open_table(WINDOWS)?.get(0)?.map(|value| value.value().to_vec());
            let old = old.unwrap_or_default();
            let Some(new) = changed(&old, replace, bytes) else { return Ok(None) };
            transaction.open_table(WINDOWS)?.insert(0, new.as_slice())?;
            old == new
        }
        letter @ (b'h' | b't') => {
            let key: &[u8] = if letter == b'h' { b"header" } else { b"tail" };
            let old = reader.open_table(META)?.get(key)?.map(|value| value.value().to_vec());
            let old = old.unwrap_or_default();
            let Some(new) = changed(&old, replace, bytes) else { return Ok(None) };
            transaction.open_table(META)?.insert(key, new.as_slice())?;
            old == new
        }
        _ => return Ok(None),
    };
    drop(reader);
    transaction.commit()?;
    Ok(Some(!was))
}

fuzz_target!(|data: &[u8]| {
    let Some((&place, bytes)) = data.split_first() else { return };
    let World { dir, path, whole, ring } = &*WORLD;
    fs::write(path, whole).expect("a writable directory");
    let Some(is_other) = change(path, place, bytes).expect("a sound database") else { return };

    let verified = Reader::open(dir.path()).and_then(|reader| {
        for number in [0, 1, 2, 101] {
            // It is there, or it is not, or it does not fit.
            let _ = reader.receipt(&leaf(number).request, &mut Vec::new());
        }
        log::verify(&reader, ring, &|_| {})
    });
    if is_other && matches!(place.to_ascii_lowercase(), b's' | b'w') {
        verified.expect_err("what is signed was changed");
    } else if !is_other {
        assert_eq!(verified.expect("a sound log").batches, 3);
    }
    let opened = Log::create_or_open(dir.path(), DEPLOYMENT.id, seal());
    match place.to_ascii_lowercase() {
        // Who writes looks at the end only, and not at signatures.
        b's' | b'w' => {}
        _ if is_other => drop(opened.err().expect("its end is another's")),
        _ => assert_eq!(opened.expect("a sound log").tail().batches, 3),
    }
});
