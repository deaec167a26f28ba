//! Identities proven in zero knowledge: a proof made, checked, and known again. On one thread, by Plonky3, which
//! takes what the compiler was told of the processor: `cargo xtask bench --native`.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use symbolon_host::identity::hash::{Node, compress};
use symbolon_host::identity::statement::{Context, proof_digest};
use symbolon_host::identity::{Credential, Place, Prover, Verifier, circuit::DEPTH, circuit_id};

const ANY: &str = "any";

fn identity(c: &mut Criterion) {
    let credential = Credential::draw(b"").expect("entropy");
    let siblings = [Node::ZERO; DEPTH];
    let root = siblings.iter().fold(credential.leaf(), |below, right| compress(&below, right));
    let place = Place { index: 0, siblings: &siblings, root };
    let context = Context { deployment: [1; 16], device: [2; 32], epoch: 3 };
    let (prover, verifier) = (Prover::new(), Verifier::new());
    let (statement, proof) = prover.prove(&credential, &place, &context).expect("proves");
    verifier.verify(&statement, &proof).expect("verifies");
    // The transcript differs from its first challenge on, so that the work asked of it is missing.
    let mut wrong = statement;
    wrong.root = wrong.nullifier;
    verifier.verify(&wrong, &proof).expect_err("another root");

    let mut group = c.benchmark_group("identity/prove");
    group.bench_function(ANY, |b| b.iter(|| prover.prove(&credential, &place, &context)));
    group.finish();
    let mut group = c.benchmark_group("identity/verify");
    group.bench_function(ANY, |b| b.iter(|| verifier.verify(&statement, &proof)));
    group.finish();
    let mut group = c.benchmark_group("identity/verify-invalid");
    group.bench_function(ANY, |b| b.iter(|| verifier.verify(&wrong, &proof)));
    group.finish();
    let mut group = c.benchmark_group("identity/fingerprint");
    group.bench_function(ANY, |b| {
        b.iter(|| statement.fingerprint(circuit_id(), &proof_digest(&proof)));
    });
    group.finish();
}

criterion_group!(benches, identity);
criterion_main!(benches);
