//! Key files and what the store seals: whatever the bytes, an answer; what is taken has the one right
//! size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use symbolon_core::matching::Layout;
use symbolon_host::gallery::Entry;
use symbolon_host::keys::{CustodianSeeds, parse_verifying};

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("input");
    if CustodianSeeds::parse(bytes, path).is_ok() {
        assert_eq!((bytes.len(), &bytes[..5]), (90, &b"SYCK\x01"[..]));
    }
    if parse_verifying(bytes, path).is_ok() {
        assert_eq!((bytes.len(), &bytes[..6]), (1978, &b"SYVK\x01\x01"[..]));
    }
    for layout in [Layout::D128, Layout::D256, Layout::D512] {
        if let Some(entry) = Entry::parse(layout, "id", bytes) {
            assert_eq!(entry.template.len(), layout.dims());
            assert_eq!(bytes.len(), 64 + 2 * layout.dims());
        }
    }
});
