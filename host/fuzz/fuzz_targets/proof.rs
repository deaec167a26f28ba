//! Proofs of identity: whatever the bytes, an answer; no bytes but the proof's own prove its statement.
//!
//! The seed is a proof by the credential below, with 20 siblings of zero. When the circuit's id changes, it is made anew
//! by `SYMBOLON_BLESS=1 cargo test -p symbolon-host --test identity older`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::LazyLock;
use symbolon_host::identity::circuit::DEPTH;
use symbolon_host::identity::hash::{Node, compress};
use symbolon_host::identity::statement::{Context, Statement};
use symbolon_host::identity::{Credential, Verifier};

const PROOF: &[u8] = include_bytes!("../seeds/proof/proof");

static STATEMENT: LazyLock<(Verifier, Statement)> = LazyLock::new(|| {
    let mut bytes = [0; 93];
    bytes[..5].copy_from_slice(b"SYID\x01");
    let credential = Credential::parse(&bytes, Path::new("seed")).expect("a credential");
    let root = (0..DEPTH).fold(credential.leaf(), |below, _| compress(&below, &Node::ZERO));
    let context = Context { deployment: [0; 16], device: [0; 32], epoch: 1 }.node();
    let statement = Statement { root, context, nullifier: credential.nullifier(&context) };
    let verifier = Verifier::new();
    verifier.verify(&statement, PROOF).expect("the seed verifies");
    (verifier, statement)
});

fuzz_target!(|bytes: &[u8]| {
    let (verifier, statement) = &*STATEMENT;
    if verifier.verify(statement, bytes).is_ok() {
        assert_eq!(bytes, PROOF);
    }
});
