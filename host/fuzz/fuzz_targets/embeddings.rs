//! Embedding files come from anywhere: the first byte picks the format, the rest is the file. What
//! is not refused is a table of finite rows, none of them zero.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_host::input::{Embeddings, Format, MAX_DIMS};

fuzz_target!(|data: &[u8]| {
    let Some((&format, file)) = data.split_first() else { return };
    let format = match format {
        b'n' => Format::Npy,
        b'c' => Format::Csv,
        b'j' => Format::Jsonl,
        _ => return,
    };
    let Ok(embeddings) = Embeddings::parse(format, "input", file) else { return };
    let (rows, dims) = (embeddings.rows(), embeddings.dims());
    assert!(rows >= 1 && (1..=MAX_DIMS).contains(&dims));
    assert_eq!(embeddings.values().len(), rows * dims);
    assert!(embeddings.ids().is_none_or(|ids| ids.len() == rows));
    for i in 0..rows {
        let row = embeddings.row(i).expect("there are that many rows");
        assert!(row.iter().all(|value| value.is_finite()) && row.iter().any(|&value| value != 0.0));
    }
});
