//! Leaves, batches, windows, refills and certificates: any bytes of the right length are refused, or are the
//! one encoding of what they decode to. The first bytes of an input are tried as each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_core::attest::{
    Batch, Certificate, Leaf, MAX_BATCHES, MAX_LEAVES, MAX_REFILL, Refill, Window,
};

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
    if let Some(bytes) = data.first_chunk()
        && let Ok(refill) = Refill::decode(bytes)
    {
        assert_eq!(refill.encode(), *bytes);
        assert!((1..=MAX_REFILL).contains(&usize::from(refill.count)));
    }
    // Signatures are noise to a decoder: short inputs need not bring them.
    let mut whole = data.to_vec();
    for size in [data.len(), Certificate::MIN_SIZE, Certificate::MAX_SIZE] {
        whole.resize(size, 0);
        if let Ok(certificate) = Certificate::decode_exact(&whole) {
            let mut out = vec![0; Certificate::MAX_SIZE];
            assert_eq!(certificate.encode(&mut out), Ok(whole.len()));
            assert_eq!(out[..whole.len()], whole);
        }
    }
});
