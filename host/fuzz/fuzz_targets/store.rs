//! A store whose database was damaged: each five bytes of the input replace one byte. Whatever is left
//! opens or is refused, and what can be read is what was there.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use symbolon_host::error::{Error, Kind};
use symbolon_host::store::Store;
use tempfile::TempDir;
use zeroize::Zeroizing;

/// A store of 40 people and the bytes of its database.
static STORE: LazyLock<(TempDir, PathBuf, Vec<u8>)> = LazyLock::new(|| {
    let dir =
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let mut store = Store::create_or_open(dir.path(), 128).expect("a new store");
    let people = (0..40).map(|i| (format!("id{i}"), Zeroizing::new(template(&format!("id{i}")))));
    store.enrol(people).expect("an enrolment");
    drop(store);
    let path = dir.path().join("templates.redb");
    let bytes = fs::read(&path).expect("the database");
    (dir, path, bytes)
});

fn template(id: &str) -> Vec<u8> {
    id.repeat(40).into_bytes()
}

fuzz_target!(|damage: &[u8]| {
    let (dir, path, whole) = &*STORE;
    let mut bytes = whole.clone();
    for change in damage.chunks_exact(5) {
        if let [a, b, c, d, byte] = *change {
            let place = u32::from_le_bytes([a, b, c, d]) as usize % bytes.len();
            bytes[place] = byte;
        }
    }
    fs::write(path, &bytes).expect("a writable directory");
    let outcome = (|| {
        let mut store = Store::open(dir.path())?;
        let mut count = 0;
        store.for_each(|id, read| {
            assert_eq!(read, template(id));
            count += 1;
            Ok(())
        })?;
        assert_eq!((count, store.len()), (40, 40));
        if let Some(read) = store.get("id7")? {
            assert_eq!(*read, template("id7"));
        }
        store.enrol([("new", Zeroizing::new(template("new")))]).map(drop)
    })();
    // Nobody else has the store open, and the disk is in order.
    let refused =
        |e: Error| [Kind::StoreFormat, Kind::StoreKey, Kind::StoreRecord].contains(&e.kind());
    assert!(outcome.is_ok() || outcome.is_err_and(refused));
});
