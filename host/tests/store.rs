//! The template store: what it keeps, what it refuses, and that a refusal changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use redb::{Database, ReadableTable, TableDefinition};
use symbolon_host::error::{Error, Kind};
use symbolon_host::store::{Change, MAX_TEMPLATE_BYTES, Store, Templates, Writer};
use tempfile::TempDir;
use zeroize::Zeroizing;

const TEMPLATES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("templates");
const META: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta");

type Content = BTreeMap<String, Vec<u8>>;

fn people<'a>(ids: &[&'a str]) -> Vec<(&'a str, Zeroizing<Vec<u8>>)> {
    ids.iter().map(|id| (*id, Zeroizing::new(format!("the template of {id}").into()))).collect()
}

fn content(store: &Store) -> Result<Content, Error> {
    let mut content = Content::new();
    store.for_each(|id, template| {
        assert!(content.insert(id.into(), template.into()).is_none());
        Ok(())
    })?;
    Ok(content)
}

fn read(dir: &Path) -> Result<Content, Error> {
    content(&Store::open(dir)?)
}

/// In memory where that is to be had: these tests commit hundreds of times, and disks sync slowly.
fn tempdir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A store with anna, bea and cleo.
fn store() -> (TempDir, PathBuf) {
    let temp = tempdir();
    let dir = temp.path().join("store");
    let mut store = Store::create_or_open(&dir, 128).unwrap();
    assert_eq!(store.enrol(people(&["cleo", "anna", "bea"])).unwrap(), 3);
    (temp, dir)
}

/// Another store of the same people, with the same key.
fn twin(dir: &Path) -> (TempDir, PathBuf) {
    let temp = tempdir();
    fs::copy(dir.join("template.key"), temp.path().join("template.key")).unwrap();
    let mut twin = Store::create_or_open(temp.path(), 128).unwrap();
    twin.enrol(people(&["anna", "bea", "cleo"])).unwrap();
    let path = temp.path().to_owned();
    (temp, path)
}

fn refusal<T>(outcome: Result<T, Error>) -> (Kind, String) {
    let error = outcome.err().unwrap();
    let line = error.to_string();
    assert!(!line.contains('\n'));
    (error.kind(), line)
}

fn database(dir: &Path) -> PathBuf {
    dir.join("templates.redb")
}

/// The names and bytes of all files.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Changes the database behind the store's back.
fn tamper(
    dir: &Path,
    change: impl FnOnce(&mut redb::Table<&'static [u8], &'static [u8]>),
    table: TableDefinition<&'static [u8], &'static [u8]>,
) {
    let database = Database::open(database(dir)).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&mut transaction.open_table(table).unwrap());
    transaction.commit().unwrap();
}

#[test]
fn keeps_what_it_is_given() {
    let (_temp, dir) = store();
    let store = Store::open(&dir).unwrap();
    assert_eq!((store.len(), store.dims(), store.padded_dims()), (3, 128, 128));
    assert_eq!(store.ids().unwrap(), ["anna", "bea", "cleo"]);
    assert_eq!(&**store.get("bea").unwrap().unwrap(), b"the template of bea");
    assert!(store.get("dora").unwrap().is_none());
    assert!(store.contains("anna").unwrap() && !store.contains("").unwrap());
    let (uuid, created) = (store.uuid(), store.created());
    assert_eq!((uuid[6] >> 4, uuid[8] >> 6), (4, 2));
    assert!(created > 1_700_000_000);
    drop(store);

    let mut store = Store::create_or_open(&dir, 128).unwrap();
    assert_eq!((store.uuid(), store.created()), (uuid, created));
    assert_eq!(store.enrol(people(&["dora"])).unwrap(), 1);
    assert_eq!(store.enrol(people(&[])).unwrap(), 0);
    assert_eq!(&**store.get("dora").unwrap().unwrap(), b"the template of dora");
    assert_eq!((store.len(), content(&store).unwrap().len()), (4, 4));
    assert!(read(&dir).is_ok());
    assert_eq!(files(&dir).len(), 2);
}

#[test]
fn pads_to_a_layout() {
    let temp = tempdir();
    for (dims, padded) in [(1, 128), (128, 128), (129, 256), (256, 256), (257, 512), (512, 512)] {
        let store = Store::create_or_open(&temp.path().join(dims.to_string()), dims).unwrap();
        assert_eq!((store.dims(), store.padded_dims()), (dims, padded));
        assert!(store.is_empty() && store.ids().unwrap().is_empty());
    }
    for dims in [0, 513, 65_536 + 128, usize::MAX] {
        let dir = temp.path().join("none");
        assert_eq!(refusal(Store::create_or_open(&dir, dims)).0, Kind::Dimension);
        assert!(!dir.exists());
    }
}

#[test]
fn walks_many_batches() {
    let temp = tempdir();
    let mut store = Store::create_or_open(temp.path(), 256).unwrap();
    let ids: Vec<String> = (0..3000).map(|i| format!("{:05}", i * 7919 % 3000)).collect();
    store.enrol(ids.iter().map(|id| (id, Zeroizing::new(id.repeat(9).into())))).unwrap();
    let all = content(&store).unwrap();
    assert_eq!(all.len(), 3000);
    assert!(all.iter().all(|(id, template)| *template == id.repeat(9).as_bytes()));
    assert!(store.ids().unwrap().is_sorted());
    // The caller's error ends the walk.
    let mut count = 0;
    let outcome = store.for_each(|_, _| {
        count += 1;
        if count == 1500 { Err(Error::new(Kind::Capture, "enough")) } else { Ok(()) }
    });
    assert_eq!((count, refusal(outcome).0), (1500, Kind::Capture));
}

#[test]
fn nothing_is_in_the_clear() {
    let (_temp, dir) = store();
    let key = fs::read(dir.join("template.key")).unwrap();
    let bytes = fs::read(database(&dir)).unwrap();
    let holds = |what: &[u8]| bytes.windows(what.len()).any(|w| w == what);
    assert!(holds(b"anna"));
    assert!(!holds(b"the template of") && !holds(&key[..8]) && !holds(&key[24..]));
    assert!(format!("{:?}", Store::open(&dir).unwrap()).ends_with("store, 3 records)"));
}

#[cfg(unix)]
#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let (_temp, dir) = store();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("template.key")), 0o600);
    assert_eq!(mode(&database(&dir)), 0o600);
}

// --- enrolment is all or nothing ---

#[test]
fn a_refused_enrolment_changes_nothing() {
    let (_temp, dir) = store();
    let before = read(&dir).unwrap();
    let mut store = Store::create_or_open(&dir, 128).unwrap();
    let long = "x".repeat(257);
    for (ids, kind) in [
        (&["dora", "eve", "bea"][..], Kind::DuplicateId),
        (&["dora", "eve", "dora"], Kind::DuplicateId),
        (&["dora", ""], Kind::Id),
        (&["dora", "a\nb"], Kind::Id),
        (&["dora", &long], Kind::Id),
    ] {
        assert_eq!(refusal(store.enrol(people(ids))).0, kind, "{ids:?}");
        assert_eq!(content(&store).unwrap(), before, "{ids:?}");
        assert_eq!(store.len(), 3);
        assert!(!store.contains("dora").unwrap());
    }
    let large = [("dora", Zeroizing::new(vec![0; MAX_TEMPLATE_BYTES + 1]))];
    assert_eq!(refusal(store.enrol(large)).0, Kind::Argument);
    drop(store);
    assert_eq!(read(&dir).unwrap(), before);
    // And the store goes on working.
    let mut store = Store::open(&dir).unwrap();
    let large = [("dora", Zeroizing::new(vec![7; MAX_TEMPLATE_BYTES]))];
    assert_eq!(store.enrol(large).unwrap(), 1);
    assert_eq!(store.get("dora").unwrap().unwrap().len(), MAX_TEMPLATE_BYTES);
}

#[test]
fn a_panic_of_the_callers_passes_through() {
    let (_temp, dir) = store();
    let mut store = Store::open(&dir).unwrap();
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ =
            store.enrol(std::iter::from_fn(|| -> Option<(String, _)> { panic!("the caller's") }));
    }));
    assert!(panics.is_err());
    assert_eq!(content(&store).unwrap().len(), 3);
}

#[test]
fn an_enrolment_cut_short_is_undone() {
    let (_temp, dir) = store();
    let before = read(&dir).unwrap();
    // What is on the disk while a transaction is under way, as a crash would leave it.
    let open = Database::open(database(&dir)).unwrap();
    let transaction = open.begin_write().unwrap();
    transaction.open_table(TEMPLATES).unwrap().insert(&b"dora"[..], &b"half"[..]).unwrap();
    let snapshot = fs::read(database(&dir)).unwrap();
    drop(transaction);
    drop(open);
    fs::write(database(&dir), snapshot).unwrap();
    assert!(matches!(
        redb::ReadOnlyDatabase::open(database(&dir)),
        Err(redb::DatabaseError::RepairAborted)
    ));
    assert_eq!(read(&dir).unwrap(), before);
    assert_eq!(Store::open(&dir).unwrap().enrol(people(&["dora"])).unwrap(), 1);
}

// --- sharing ---

#[test]
fn readers_share_and_a_writer_excludes() {
    let (_temp, dir) = store();
    let mut one = Store::open(&dir).unwrap();
    let two = Store::open(&dir).unwrap();
    let (kind, line) = refusal(one.enrol(people(&["dora"])));
    assert_eq!(kind, Kind::StoreBusy, "{line}");
    assert_eq!(content(&one).unwrap(), content(&two).unwrap());
    drop(two);
    one.enrol(people(&["dora"])).unwrap();
    drop(one);
    let writer = Database::open(database(&dir)).unwrap();
    assert_eq!(refusal(Store::open(&dir)).0, Kind::StoreBusy);
    assert_eq!(refusal(Store::create_or_open(&dir, 128)).0, Kind::StoreBusy);
    drop(writer);
    assert_eq!(read(&dir).unwrap().len(), 4);
}

#[test]
fn enrolments_of_two_handles_add_up() {
    let (_temp, dir) = store();
    let mut one = Store::open(&dir).unwrap();
    // The other comes and goes between this one's opening and its enrolment.
    let database = database(&dir);
    let aside = dir.join("aside");
    fs::copy(&database, &aside).unwrap();
    fs::rename(&aside, &database).unwrap();
    Store::open(&dir).unwrap().enrol(people(&["dora"])).unwrap();
    one.enrol(people(&["eve"])).unwrap();
    assert_eq!((one.len(), content(&one).unwrap().len()), (5, 5));
    assert_eq!(read(&dir).unwrap().len(), 5);
}

#[test]
fn another_store_in_its_place_is_noticed() {
    let (_temp, dir) = store();
    for same_key in [false, true] {
        let (_other_temp, other) = if same_key { twin(&dir) } else { store() };
        let mut open = Store::open(&dir).unwrap();
        let aside = dir.join("aside");
        fs::copy(database(&dir), dir.join("kept")).unwrap();
        fs::copy(database(&other), &aside).unwrap();
        fs::rename(&aside, database(&dir)).unwrap();
        let kind = if same_key { Kind::StoreFormat } else { Kind::StoreKey };
        assert_eq!(refusal(open.enrol(people(&["dora"]))).0, kind);
        fs::rename(dir.join("kept"), database(&dir)).unwrap();
    }
}

// --- keys ---

#[test]
fn keys_that_will_not_do() {
    let (_temp, dir) = store();
    let key = dir.join("template.key");
    let good = fs::read(&key).unwrap();
    let before = fs::read(database(&dir)).unwrap();
    let put = |bytes: &[u8]| fs::write(&key, bytes).unwrap();

    put(&good[..31]);
    let (kind, line) = refusal(Store::open(&dir));
    assert_eq!(kind, Kind::StoreKey);
    assert!(line.ends_with("template.key: has 31 bytes, not 32"), "{line}");
    put(&[&good[..], b"\n"].concat());
    assert_eq!(refusal(Store::open(&dir)).0, Kind::StoreKey);
    put(&[0; 32]);
    let (kind, line) = refusal(Store::open(&dir));
    assert_eq!(kind, Kind::StoreKey);
    assert!(line.ends_with("the key in template.key is not this store's"), "{line}");
    fs::remove_file(&key).unwrap();
    let (kind, line) = refusal(Store::create_or_open(&dir, 128));
    assert_eq!(kind, Kind::StoreKey);
    assert!(line.ends_with("template.key: the key file is missing"), "{line}");
    assert!(!key.exists());
    fs::create_dir(&key).unwrap();
    assert_eq!(refusal(Store::open(&dir)).0, Kind::StoreKey);
    fs::remove_dir(&key).unwrap();
    put(&good);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for mode in [0o640, 0o604, 0o620, 0o660, 0o644] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            let (kind, line) = refusal(Store::open(&dir));
            assert_eq!(kind, Kind::StoreKey);
            let end = format!("others may read or write it (mode {mode:03o}): chmod 600");
            assert!(line.ends_with(&end), "{line}");
        }
        fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
    }
    assert_eq!(read(&dir).unwrap().len(), 3);
    assert_eq!(fs::read(database(&dir)).unwrap(), before);
}

#[test]
fn a_key_without_database_is_used() {
    let temp = tempdir();
    drop(Store::create_or_open(temp.path(), 128).unwrap());
    let key = fs::read(temp.path().join("template.key")).unwrap();
    fs::remove_file(database(temp.path())).unwrap();
    let mut store = Store::create_or_open(temp.path(), 256).unwrap();
    store.enrol(people(&["anna"])).unwrap();
    assert_eq!(store.dims(), 256);
    assert_eq!(fs::read(temp.path().join("template.key")).unwrap(), key);
}

// --- places that will not do ---

#[test]
fn directories_that_will_not_do() {
    let temp = tempdir();
    let file = temp.path().join("file");
    fs::write(&file, "x").unwrap();
    assert_eq!(refusal(Store::create_or_open(&file, 128)).0, Kind::Io);
    assert_eq!(refusal(Store::create_or_open(&file.join("store"), 128)).0, Kind::Io);
    let (kind, line) = refusal(Store::open(temp.path()));
    assert_eq!(kind, Kind::StoreFormat);
    assert!(line.ends_with("no template store here: there is no templates.redb"), "{line}");
    assert_eq!(files(temp.path()).len(), 1);
    fs::create_dir(database(temp.path())).unwrap();
    assert_eq!(refusal(Store::create_or_open(temp.path(), 128)).0, Kind::StoreFormat);
}

#[test]
fn other_dimensions_are_refused() {
    let (_temp, dir) = store();
    let before = files(&dir);
    let (kind, line) = refusal(Store::create_or_open(&dir, 127));
    assert_eq!(kind, Kind::Dimension);
    assert!(line.ends_with("the store has 128 dimensions, not 127"), "{line}");
    assert_eq!(files(&dir), before);
}

#[test]
fn foreign_files_are_refused_and_left_alone() {
    let (_temp, dir) = store();
    let foreign_database = {
        let path = dir.join("foreign");
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        const OTHER: TableDefinition<u64, &str> = TableDefinition::new("meta");
        transaction.open_table(OTHER).unwrap().insert(1, "x").unwrap();
        transaction.commit().unwrap();
        drop(database);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        bytes
    };
    let foreign =
        [&b""[..], b"x", b"SQLite format 3\0", &[0; 100_000], &[0xff; 100_000], &foreign_database];
    for bytes in foreign {
        fs::write(database(&dir), bytes).unwrap();
        let before = files(&dir);
        assert_eq!(refusal(Store::open(&dir)).0, Kind::StoreFormat);
        assert_eq!(refusal(Store::create_or_open(&dir, 128)).0, Kind::StoreFormat);
        assert_eq!(files(&dir), before);
    }
}

// --- tampering ---

#[test]
fn a_record_opens_in_its_own_place_only() {
    // Swapped between two ids.
    let (_temp, dir) = store();
    tamper(
        &dir,
        |table| {
            let record = |id: &[u8]| table.get(id).unwrap().unwrap().value().to_vec();
            let (anna, bea) = (record(b"anna"), record(b"bea"));
            table.insert(&b"anna"[..], &bea[..]).unwrap();
            table.insert(&b"bea"[..], &anna[..]).unwrap();
        },
        TEMPLATES,
    );
    let store_open = Store::open(&dir).unwrap();
    let (kind, line) = refusal(store_open.get("anna"));
    assert_eq!(kind, Kind::StoreRecord);
    assert!(line.ends_with("the record of id \"anna\" was altered or is damaged"), "{line}");
    assert!(store_open.get("cleo").unwrap().is_some());
    assert_eq!(refusal(content(&store_open)).0, Kind::StoreRecord);

    // Brought from another store with the same key.
    let (_temp, dir) = store();
    let (_twin_temp, twin) = twin(&dir);
    let mut record = Vec::new();
    tamper(
        &twin,
        |table| record = table.get(&b"anna"[..]).unwrap().unwrap().value().to_vec(),
        TEMPLATES,
    );
    tamper(&dir, |table| drop(table.insert(&b"anna"[..], &record[..])), TEMPLATES);
    assert_eq!(refusal(Store::open(&dir).unwrap().get("anna")).0, Kind::StoreRecord);
}

#[test]
fn every_bit_of_a_record_counts() {
    let (_temp, dir) = store();
    let mut good = Vec::new();
    tamper(
        &dir,
        |table| good = table.get(&b"bea"[..]).unwrap().unwrap().value().to_vec(),
        TEMPLATES,
    );
    let put =
        |bytes: &[u8]| tamper(&dir, |table| drop(table.insert(&b"bea"[..], bytes)), TEMPLATES);
    for bit in (0..8 * good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        put(&bad);
        assert_eq!(refusal(Store::open(&dir).unwrap().get("bea")).0, Kind::StoreRecord, "{bit}");
    }
    for len in [0, 1, 23, 24, 39, 40, good.len() - 1] {
        put(&good[..len]);
        assert_eq!(refusal(Store::open(&dir).unwrap().get("bea")).0, Kind::StoreRecord, "{len}");
    }
    put(&good);
    assert_eq!(read(&dir).unwrap().len(), 3);
}

#[test]
fn lost_and_added_records_are_noticed() {
    let (_temp, dir) = store();
    tamper(&dir, |table| drop(table.remove(&b"bea"[..])), TEMPLATES);
    let (kind, line) = refusal(Store::open(&dir));
    assert_eq!(kind, Kind::StoreFormat);
    assert!(line.ends_with("2 records of 3"), "{line}");
    // Even if the database's own count, as it stands twice in a table's definition, is made to agree.
    let (mut bytes, two) = (fs::read(database(&dir)).unwrap(), 2u64.to_le_bytes());
    for i in 0..bytes.len() - 41 {
        if bytes[i..i + 8] == two && bytes[i + 8] == 1 && bytes[i + 33..i + 41] == two {
            bytes[i] = 3;
            bytes[i + 33] = 3;
        }
    }
    let shrunk = fs::read(database(&dir)).unwrap();
    fs::write(database(&dir), bytes).unwrap();
    assert_eq!(Store::open(&dir).unwrap().len(), 3);
    assert!(refusal(read(&dir)).1.ends_with("2 records of 3"));
    fs::write(database(&dir), shrunk).unwrap();
    tamper(&dir, |table| drop(table.insert(&b"\xff"[..], &b""[..])), TEMPLATES);
    assert_eq!(refusal(read(&dir)).0, Kind::StoreFormat);
    tamper(&dir, |table| drop(table.insert(&b"zoe"[..], &b""[..])), TEMPLATES);
    assert_eq!(refusal(Store::open(&dir)).0, Kind::StoreFormat);
}

#[test]
fn every_bit_of_the_header_counts() {
    let (_temp, dir) = store();
    let mut good = Vec::new();
    tamper(&dir, |table| good = table.get(&b"header"[..]).unwrap().unwrap().value().to_vec(), META);
    let put = |bytes: &[u8]| tamper(&dir, |table| drop(table.insert(&b"header"[..], bytes)), META);
    for byte in 0..good.len() {
        let mut bad = good.clone();
        bad[byte] ^= 1 << (byte % 8);
        put(&bad);
        let (kind, line) = refusal(Store::open(&dir));
        match byte {
            8 | 9 => assert!(line.contains("the store is of version"), "{line}"),
            // The key check: damage here and a wrong key look the same.
            46..86 => assert_eq!(kind, Kind::StoreKey, "{byte}"),
            _ => assert_eq!(kind, Kind::StoreFormat, "{byte}"),
        }
    }
    for len in 0..good.len() {
        put(&good[..len]);
        assert_eq!(refusal(Store::open(&dir)).0, Kind::StoreFormat, "{len}");
    }
    put(&[&good[..], b"\0"].concat());
    assert_eq!(refusal(Store::open(&dir)).0, Kind::StoreFormat);
    tamper(&dir, |table| drop(table.remove(&b"header"[..])), META);
    assert_eq!(refusal(Store::open(&dir)).0, Kind::StoreFormat);
    put(&good);
    assert_eq!(read(&dir).unwrap().len(), 3);
}

// --- damage ---

/// Opens a damaged store, reads all of it and enrols someone. What can be read must be what was there.
fn use_damaged(dir: &Path, damaged: &[u8], before: &Content) -> bool {
    fs::write(database(dir), damaged).unwrap();
    let whole = match read(dir) {
        Ok(content) => {
            assert_eq!(content, *before);
            true
        }
        Err(error) => {
            let store_error = [Kind::StoreFormat, Kind::StoreKey, Kind::StoreRecord];
            assert!(store_error.contains(&error.kind()), "{error}");
            assert!(!error.to_string().contains('\n'));
            false
        }
    };
    fs::write(database(dir), damaged).unwrap();
    if let Ok(mut store) = Store::open(dir) {
        let _ = store.get("bea");
        let _ = store.enrol(people(&["dora"]));
        let _ = store.get("dora");
    }
    whole
}

#[test]
fn truncation_is_an_error() {
    let (_temp, dir) = store();
    let (good, before) = (fs::read(database(&dir)).unwrap(), read(&dir).unwrap());
    for len in (0..good.len()).step_by(509).chain(good.len() - 1..good.len()) {
        assert!(!use_damaged(&dir, &good[..len], &before), "{len}");
    }
    assert!(use_damaged(&dir, &good, &before));
}

#[test]
fn damage_is_an_error_or_without_effect() {
    let (_temp, dir) = store();
    let (good, before) = (fs::read(database(&dir)).unwrap(), read(&dir).unwrap());
    let used = good.iter().rposition(|&b| b != 0).unwrap();
    let mut errors = 0;
    // All of the database's header; of the rest, what is not zero.
    for place in (0..320).chain((320..=used).filter(|&i| good[i] != 0).step_by(11)) {
        let mut bad = good.clone();
        bad[place] ^= 0x81;
        errors += u32::from(!use_damaged(&dir, &bad, &before));
    }
    assert!(errors > 100, "{errors}");
}

/// Run by the next test in a process of its own, to see what it prints.
#[test]
#[ignore = "a helper of damage_prints_nothing"]
fn damage_prints_nothing_child() {
    let (_temp, dir) = store();
    let good = fs::read(database(&dir)).unwrap();
    // The name of a table, which redb takes for UTF-8.
    let mut bad = good.clone();
    let places: Vec<usize> =
        (0..bad.len()).filter(|&i| bad[i..].starts_with(b"templates")).collect();
    places.iter().for_each(|&i| bad[i] = 0xff);
    assert!(!places.is_empty());
    fs::write(database(&dir), &bad).unwrap();
    assert_eq!(refusal(Store::open(&dir)).0, Kind::StoreFormat);
}

#[test]
fn damage_prints_nothing() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "damage_prints_nothing_child", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(child.status.success());
    assert_eq!(String::from_utf8_lossy(&child.stderr), "");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_people(people in prop::collection::btree_map("[^\\p{Cc}]{1,20}", prop::collection::vec(any::<u8>(), 0..600), 0..20)) {
        let temp = tempdir();
        let mut store = Store::create_or_open(temp.path(), 512).unwrap();
        store.enrol(people.iter().map(|(id, t)| (id, Zeroizing::new(t.clone())))).unwrap();
        prop_assert_eq!(&content(&store).unwrap(), &people);
        for (id, template) in &people {
            let got = store.get(id).unwrap().unwrap();
            prop_assert_eq!(&*got, template);
        }
        drop(store);
        prop_assert_eq!(read(temp.path()).unwrap(), people);
    }

    #[test]
    fn any_damage(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let (_temp, dir) = store();
        let (mut bytes, before) = (fs::read(database(&dir)).unwrap(), read(&dir).unwrap());
        for (place, byte) in changes {
            *place.get_mut(&mut bytes) = byte;
        }
        use_damaged(&dir, &bytes, &before);
    }

    #[test]
    fn any_database(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        let (_temp, dir) = store();
        use_damaged(&dir, &bytes, &Content::new());
    }
}

#[test]
fn removal_is_of_all_or_none() {
    let (_temp, dir) = store();
    let mut store = Store::open(&dir).unwrap();
    for ids in [["anna", "dora"], ["anna", "anna"]] {
        assert_eq!(store.remove(ids).unwrap_err().kind(), Kind::UnknownId);
        assert_eq!((store.len(), content(&store).unwrap().len()), (3, 3));
    }
    assert_eq!(store.remove(["anna", "cleo"]).unwrap(), 2);
    assert_eq!((store.len(), store.ids().unwrap()), (1, vec!["bea".to_owned()]));
    assert_eq!(read(&dir).unwrap().len(), 1);
    // Gone is not marked as gone: it can come again.
    assert_eq!(store.enrol(people(&["anna"])).unwrap(), 1);
    assert_eq!(read(&dir).unwrap().len(), 2);
}

#[test]
fn a_writer_makes_the_changes_that_can_be_made_and_keeps_others_out() {
    let (_temp, dir) = store();
    let reader = Store::open(&dir).unwrap();
    assert_eq!(Writer::open(&dir).err().unwrap().kind(), Kind::StoreBusy);
    drop(reader);
    let mut writer = Writer::open(&dir).unwrap();
    assert_eq!(Store::open(&dir).unwrap_err().kind(), Kind::StoreBusy);
    let template = b"a template".as_slice();
    let large = vec![0; MAX_TEMPLATE_BYTES + 1];
    let outcomes = writer
        .apply(&[
            Change::Enrol { id: "dora", template },
            Change::Enrol { id: "anna", template },
            Change::Enrol { id: "", template },
            Change::Enrol { id: "emma", template: &large },
            Change::Remove { id: "fay" },
            Change::Remove { id: "bea" },
            Change::Enrol { id: "bea", template },
            Change::Enrol { id: "bea", template },
            Change::Remove { id: "cleo" },
        ])
        .unwrap();
    let kinds: Vec<_> = outcomes.iter().map(|o| o.as_ref().err().map(Error::kind)).collect();
    let duplicate = Some(Kind::DuplicateId);
    let expected = [
        None,
        duplicate,
        Some(Kind::Id),
        Some(Kind::Argument),
        Some(Kind::UnknownId),
        None,
        None,
        duplicate,
        None,
    ];
    assert_eq!(kinds, expected);
    assert_eq!(writer.people(), 3);
    let mut seen = Vec::new();
    let each = writer.for_each(&mut |id, template| {
        seen.push((id.to_owned(), template.to_vec()));
        Ok(())
    });
    each.unwrap();
    drop(writer);
    let stored = read(&dir).unwrap();
    assert_eq!(stored.clone().into_iter().collect::<Vec<_>>(), seen);
    assert_eq!(stored.keys().collect::<Vec<_>>(), ["anna", "bea", "dora"]);
    assert_eq!((&*stored["bea"], &*stored["anna"]), (template, b"the template of anna".as_slice()));
}
