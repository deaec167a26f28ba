//! A store with a header, a record or an id from someone without the key: whatever the bytes, it is
//! refused, and nobody's template is mistaken for another's.
//!
//! Damage to the database's pages is left to the tests: a page number gone wrong has redb allocate up
//! to 4 GiB before it notices, which a fuzzer takes for a crash.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use redb::{Database, Durability, TableDefinition};
use symbolon_host::error::Kind;
use symbolon_host::store::Store;
use tempfile::TempDir;
use zeroize::Zeroizing;

const TEMPLATES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("templates");
const META: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta");

/// A store of two people and the bytes of its database.
static STORE: LazyLock<(TempDir, PathBuf, Vec<u8>)> = LazyLock::new(|| {
    let dir =
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let mut store = Store::create_or_open(dir.path(), 128).expect("a new store");
    let people = ["anna", "bea"].map(|id| (id, Zeroizing::new(template(id))));
    store.enrol(people).expect("an enrolment");
    drop(store);
    let path = dir.path().join("templates.redb");
    let bytes = fs::read(&path).expect("the database");
    (dir, path, bytes)
});

fn template(id: &str) -> Vec<u8> {
    id.repeat(40).into_bytes()
}

fn put(path: &PathBuf, table: TableDefinition<&[u8], &[u8]>, key: &[u8], value: &[u8]) {
    let write = || -> Result<(), redb::Error> {
        let database = Database::open(path)?;
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        transaction.open_table(table)?.insert(key, value)?;
        Ok(transaction.commit()?)
    };
    write().expect("a sound database");
}

fuzz_target!(|data: &[u8]| {
    let Some((&place, bytes)) = data.split_first() else { return };
    let (dir, path, whole) = &*STORE;
    fs::write(path, whole).expect("a writable directory");
    match place {
        b'h' => {
            put(path, META, b"header", bytes);
            let kind = Store::open(dir.path()).expect_err("a header without a seal").kind();
            assert!(matches!(kind, Kind::StoreFormat | Kind::StoreKey));
        }
        b'r' => {
            put(path, TEMPLATES, b"anna", bytes);
            let mut store = Store::open(dir.path()).expect("a store");
            assert_eq!(store.get("anna").expect_err("no seal").kind(), Kind::StoreRecord);
            let walked = store.for_each(|_, _| Ok(())).expect_err("no seal");
            assert_eq!(walked.kind(), Kind::StoreRecord);
            let again = store.enrol([("anna", Zeroizing::new(Vec::new()))]);
            assert_eq!(again.expect_err("enrolled already").kind(), Kind::DuplicateId);
            let bea = store.get("bea").expect("a record").expect("enrolled");
            assert_eq!(*bea, template("bea"));
        }
        b'i' if bytes != b"anna" && bytes != b"bea" => {
            put(path, TEMPLATES, bytes, b"");
            let kind = Store::open(dir.path()).expect_err("an id too many").kind();
            assert_eq!(kind, Kind::StoreFormat);
        }
        _ => {}
    }
});
