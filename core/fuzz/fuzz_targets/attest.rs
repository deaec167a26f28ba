//! Leaves, batches and windows: any bytes of the right length are refused, or are the one encoding of
//! what they decode to. The first bytes of an input are tried as each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_core::attest::{Batch, Leaf, MAX_BATCHES, MAX_LEAVES, Window};

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
        && let Ok(batch) = Batch::decode(bytes)
    {
        assert_eq!(batch.encode(), *bytes);
        assert!((1..=MAX_LEAVES).contains(&usize::from(batch.count)));
    }
    if let Some(bytes) = data.first_chunk()
        && let Ok(window) = Window::decode(bytes)
    {
        assert_eq!(window.encode(), *bytes);
        assert!((1..=MAX_BATCHES).contains(&usize::from(window.count)));
        assert!(window.sequence > 0 || window.previous == [0; 32]);
    }
});
