//! Key files and what the store seals: whatever the bytes, an answer; what is taken has the one right
//! size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use symbolon_core::matching::Layout;
use symbolon_host::gallery::Entry;
use symbolon_host::keyring::{Keyring, SET_SIZE};
use symbolon_host::keys::{CustodianSeeds, SigningSeeds};

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("input");
    if CustodianSeeds::parse(bytes, path).is_ok() {
        assert_eq!((bytes.len(), &bytes[..5]), (58, &b"SYCK\x02"[..]));
    }
    if SigningSeeds::parse(bytes, path).is_ok() {
        assert_eq!((bytes.len(), &bytes[..6]), (138, &b"SYSK\x01\x03"[..]));
    }
    if let Ok(ring) = Keyring::parse(bytes, path) {
        assert_eq!(
            (bytes.len(), &bytes[..6]),
            (ring.entries().len() * SET_SIZE, &b"SYVK\x02\x03"[..])
        );
    }
    for layout in [Layout::D128, Layout::D256, Layout::D512] {
        if let Some(entry) = Entry::parse(layout, "id", bytes) {
            assert_eq!(entry.template.len(), layout.dims());
            assert_eq!(bytes.len(), 64 + 2 * layout.dims());
        }
    }
});
