//! Receipts come from strangers: every input is decoded or refused, each receipt has one encoding,
//! and verification ends with a verdict.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use symbolon_core::attest::{PUBLIC_KEY_SIZE, Receipt, SEED_SIZE, SigningKey, VerifyingKey};

/// The key that signed the seeds.
static KEY: LazyLock<VerifyingKey> = LazyLock::new(|| {
    let mut slot = None;
    let mut public = [0; PUBLIC_KEY_SIZE];
    SigningKey::init(&mut slot, &[7; SEED_SIZE]).public_key(&mut public);
    VerifyingKey::decode(&public)
});

fuzz_target!(|data: &[u8]| {
    let Ok((receipt, used)) = Receipt::decode(data) else { return };
    let mut encoded = [0; Receipt::MAX_SIZE];
    let size = receipt.encode(&mut encoded).expect("what was decoded can be encoded");
    assert_eq!(encoded[..size], data[..used]);
    assert_eq!(Receipt::decode_exact(&data[..used]), Ok(receipt));
    if let Ok(leaf) = receipt.verify(&KEY) {
        assert_eq!(*leaf, receipt.leaf);
    }
});
