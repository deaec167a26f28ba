//! Leaves and statements: any bytes of the right length are refused, or are the one encoding of what
//! they decode to. The first bytes of an input are tried as either.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_core::attest::{Leaf, MAX_LEAVES, Statement};

fuzz_target!(|data: &[u8]| {
    if let Some(bytes) = data.first_chunk()
        && let Ok(leaf) = Leaf::decode(bytes)
    {
        assert_eq!(leaf.encode(), *bytes);
        let other = Leaf { accept: !leaf.accept, ..leaf };
        assert_eq!(Leaf::decode(&other.encode()), Ok(other));
        assert_ne!(leaf.hash(), other.hash());
    }
    if let Some(bytes) = data.first_chunk()
        && let Ok(statement) = Statement::decode(bytes)
    {
        assert_eq!(statement.encode(), *bytes);
        assert!((1..=MAX_LEAVES).contains(&usize::from(statement.count)));
    }
});
