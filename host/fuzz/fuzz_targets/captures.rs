//! A selection of captures, a line, and a file of ids to apply it to: a selection picks rows in order,
//! each with its id, and all captures that it demands of every id.
#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use symbolon_host::input::{Captures, parse_ids, require_unique, select};

fuzz_target!(|text: &str| {
    let Some((selection, ids)) = text.split_once('\n') else { return };
    let Ok(captures) = selection.parse::<Captures>() else { return };
    let Ok(ids) = parse_ids("input", ids.as_bytes()) else { return };
    let Ok(selected) = select(&ids, &captures) else { return };
    assert!(selected.is_sorted_by_key(|&(row, _)| row));
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut rest = selected.iter().peekable();
    for (row, id) in ids.iter().enumerate() {
        let capture = seen.entry(id).or_default();
        let picked = rest.next_if(|&&(picked, _)| picked == row);
        assert_eq!(picked.is_some(), captures.contains(*capture));
        assert!(picked.is_none_or(|&(_, picked)| picked == id));
        *capture += 1;
    }
    let _ = require_unique(&selected);
});
