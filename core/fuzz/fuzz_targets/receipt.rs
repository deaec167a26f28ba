//! Receipts come from strangers, one or many to a file: every input is decoded or refused, each
//! receipt has one encoding and ends by itself, and verification ends with a verdict.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use symbolon_core::attest::{Error, PUBLIC_KEY_SIZE, Receipt, SEED_SIZE, SigningKey, VerifyingKey};

/// The key that signed the seeds.
static KEY: LazyLock<VerifyingKey> = LazyLock::new(|| {
    let mut slot = None;
    let mut public = [0; PUBLIC_KEY_SIZE];
    SigningKey::init(&mut slot, &[7; SEED_SIZE]).public_key(&mut public);
    VerifyingKey::decode(&public)
});

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Ok((receipt, used)) = Receipt::decode(rest) {
        assert!((Receipt::MIN_SIZE..=Receipt::MAX_SIZE).contains(&used));
        let (bytes, after) = rest.split_at(used);
        let mut encoded = [0; Receipt::MAX_SIZE];
        assert_eq!(receipt.encode(&mut encoded), Ok(used));
        assert_eq!(encoded[..used], *bytes);
        // What follows makes no difference, and each byte is needed.
        assert_eq!(Receipt::decode_exact(bytes), Ok(receipt));
        assert_eq!(Receipt::decode(&bytes[..used - 1]), Err(Error::Truncated));
        if !after.is_empty() {
            assert_eq!(Receipt::decode_exact(rest), Err(Error::TrailingBytes));
        }
        if let Ok(leaf) = receipt.verify(&KEY) {
            assert_eq!(*leaf, receipt.leaf);
        }
        rest = after;
    }
});
