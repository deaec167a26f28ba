//! A file of ids: what is not refused is a list of ids that each pass the check on their own, and the
//! lines they stood on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_host::input::{check_id, parse_ids};

fuzz_target!(|file: &[u8]| {
    let Ok(ids) = parse_ids("input", file) else { return };
    assert!(ids.iter().all(|id| check_id(id).is_ok()));
    // With a byte order mark, lest the first id begin with one.
    let lines = ids.iter().map(|id| format!("{id}\n"));
    let lines = std::iter::once("\u{feff}".into()).chain(lines).collect::<String>();
    assert_eq!(parse_ids("input", lines.as_bytes()).as_deref(), Ok(&ids[..]));
});
