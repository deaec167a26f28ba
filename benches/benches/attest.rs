//! Attestation: the signature families; what a window costs a batch; a receipt verified.
//!
//! `any` is what the host signs and verifies with: libraries that choose instructions by themselves.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use k12::CustomRefKt128;
use k12::digest::{ExtendableOutput, XofReader};
use sha2::Sha256;
use sha3::{Digest as _, Sha3_256};
use symbolon_benches::{SEED, best, kernels, rng, zero};
use symbolon_core::attest::{
    Batch, BatchPath, BatchTree, Digest, Domain, Family, KeySet, Leaf, LeafHasher, MAX_LEAVES,
    Receipt, Sign, Signatures, Validity, Verify, Window, WindowPath, WindowTree, bulk, key_id,
};
use symbolon_core::attest::{fndsa, mldsa, slhdsa};
use symbolon_host::families::mldsa as libcrux;

const CONTEXT: Domain = Domain::new("symbolon/bench");

/// Of a probe ciphertext.
const BYTES: usize = 55_304;

/// As large as the statement of a window.
const MESSAGE: [u8; 128] = [3; 128];

const ML_DSA: &str = "ml-dsa 0.1.2";
const ANY: &str = "any";

/// A group's name: `what` and the family, without its variant's capitals and marks.
fn name(what: &str, family: Family) -> String {
    let family = family.name().trim_end_matches(" (draft)").to_lowercase();
    format!("attest/{what}/{family}")
}

/// Checks that a signature verifies, then times hedged signing: a new signature each time, since
/// the time of ML-DSA depends on how many candidates it rejects.
fn sign<S: Sign, V: Verify>(c: &mut Criterion, who: &str, key: &S, public: &V) -> Vec<u8> {
    let (mut rng, mut signature) = (rng(), vec![0; S::FAMILY.signature_size()]);
    key.sign(CONTEXT, &MESSAGE, &mut rng, &mut signature).expect("signs");
    public.verify(CONTEXT, &MESSAGE, &signature).expect("verifies");
    let mut group = c.benchmark_group(name("sign", S::FAMILY));
    let mut scratch = signature.clone();
    group.bench_function(who, |b| {
        b.iter(|| key.sign(CONTEXT, &MESSAGE, &mut rng, &mut scratch));
    });
    group.finish();
    signature
}

fn verify<V: Verify>(c: &mut Criterion, who: &str, public: &V, signature: &[u8]) {
    public.verify(CONTEXT, &MESSAGE, signature).expect("verifies");
    public.verify(CONTEXT, &MESSAGE[1..], signature).expect_err("another message");
    let mut group = c.benchmark_group(name("verify", V::FAMILY));
    group.bench_function(who, |b| b.iter(|| public.verify(CONTEXT, &MESSAGE, signature)));
    group.finish();
}

fn public<const SIZE: usize>(key: &impl Sign) -> [u8; SIZE] {
    let mut public = [0; SIZE];
    key.public_key(&mut public).expect("fits");
    public
}

fn families(c: &mut Criterion) {
    let (mut plain, mut fast) = (Box::new(None), None);
    let key = mldsa::SigningKey::init(&mut plain, &SEED);
    let public_key = mldsa::VerifyingKey::decode(&public(key));
    let signature = sign(c, ML_DSA, key, &public_key);
    verify(c, ML_DSA, &public_key, &signature);
    let key = libcrux::SigningKey::init(&mut fast, &SEED);
    let public_key = libcrux::VerifyingKey::decode(&public(key));
    sign(c, ANY, key, &public_key);
    verify(c, ANY, &public_key, &signature);

    let mut slot = None;
    let key = fndsa::SigningKey::init(&mut slot, &SEED);
    let public_key = fndsa::VerifyingKey::decode(&public(key)).expect("a key");
    let signature = sign(c, ANY, key, &public_key);
    verify(c, ANY, &public_key, &signature);

    let mut slot = None;
    let key = slhdsa::SigningKey::init(&mut slot, &SEED);
    let public_key = slhdsa::VerifyingKey::decode(&public(key));
    let signature = sign(c, ANY, key, &public_key);
    verify(c, ANY, &public_key, &signature);
}

/// The decisions of a batch.
fn leaves(batch: usize) -> [Leaf; MAX_LEAVES] {
    core::array::from_fn(|lane| {
        let [lane, low, high] = [lane as u8, batch as u8, (batch >> 8) as u8];
        Leaf {
            request: [lane; 16],
            nonce: [low; 16],
            identity: [high; 32],
            accept: lane % 2 == 0,
            proof: None,
            template: [lane ^ 3; 32],
        }
    })
}

/// One signer's keys of the three families.
struct Signer<'a> {
    ml_dsa: &'a libcrux::SigningKey,
    fn_dsa: &'a fndsa::SigningKey,
    slh_dsa: &'a slhdsa::SigningKey,
}

/// A window of batches under one signature of each family.
struct Signed {
    hasher: LeafHasher,
    leaves: Vec<[Leaf; MAX_LEAVES]>,
    batch_tree: BatchTree,
    batches: Vec<Batch>,
    hashes: Vec<Digest>,
    tree: Box<WindowTree>,
    window: Window,
    ml_dsa: [u8; mldsa::SIGNATURE_SIZE],
    fn_dsa: [u8; fndsa::SIGNATURE_SIZE],
    slh_dsa: [u8; slhdsa::SIGNATURE_SIZE],
}

impl Signed {
    /// Nothing of it is signed yet.
    fn new(size: usize, keys: [u8; 16]) -> Self {
        let batch = Batch {
            deployment: [1; 16],
            key_epoch: 1,
            params: 1,
            mode: 1,
            dims: 128,
            threshold: 9000,
            policy: [2; 32],
            verifier: 0,
            batch: [3; 16],
            time_ms: 1_800_000_000_000,
            count: MAX_LEAVES as u8,
            probe: [4; 32],
            blind: [5; 32],
            result: [6; 32],
            root: [0; 32],
        };
        let window = Window {
            deployment: batch.deployment,
            keys,
            sequence: 1,
            time_ms: batch.time_ms + 100,
            count: size as u16,
            previous: [7; 32],
            root: [0; 32],
        };
        Self {
            hasher: LeafHasher::new(best()),
            leaves: (0..size).map(leaves).collect(),
            batch_tree: BatchTree::new(),
            batches: vec![batch; size],
            hashes: vec![[0; 32]; size],
            tree: zero(),
            window,
            ml_dsa: [0; _],
            fn_dsa: [0; _],
            slh_dsa: [0; _],
        }
    }

    /// Leaves and tree of one batch.
    fn batch(&mut self, at: usize) {
        let mut hashes = [[0; 32]; MAX_LEAVES];
        self.hasher.hash(best(), &self.leaves[at], &mut hashes);
        self.batches[at].root = self.batch_tree.build(best(), &hashes).expect("a batch");
        self.hashes[at] = self.batches[at].hash();
    }

    /// Everything that attestation takes, on one core.
    fn sign(&mut self, signer: &Signer<'_>) {
        for at in 0..self.batches.len() {
            self.batch(at);
        }
        self.window.root = self.tree.build(best(), &self.hashes).expect("a window");
        let rng = &mut rng();
        self.window.sign(signer.ml_dsa, rng, &mut self.ml_dsa).expect("signs");
        self.window.sign(signer.fn_dsa, rng, &mut self.fn_dsa).expect("signs");
        self.window.sign(signer.slh_dsa, rng, &mut self.slh_dsa).expect("signs");
    }

    /// A receipt of the first batch, encoded.
    fn receipt(&mut self) -> Vec<u8> {
        self.batch(0);
        let (mut path, mut window_path) = (BatchPath::EMPTY, WindowPath::EMPTY);
        self.batch_tree.path(9, &mut path).expect("a leaf");
        self.tree.path(0, &mut window_path).expect("a batch");
        let receipt = Receipt {
            leaf: self.leaves[0][9],
            index: 9,
            path,
            batch: self.batches[0],
            batch_index: 0,
            window_path,
            window: self.window,
            signatures: Signatures {
                ml_dsa: &self.ml_dsa,
                fn_dsa: &self.fn_dsa,
                slh_dsa: &self.slh_dsa,
            },
        };
        let mut bytes = vec![0; Receipt::MAX_SIZE];
        let size = receipt.encode(&mut bytes).expect("fits");
        bytes.truncate(size);
        bytes
    }
}

/// What a batch costs where a window holds so many, all work on one core, and a person in it; then
/// verification of a whole receipt from its bytes, keys made ready beforehand.
fn windows(c: &mut Criterion) {
    let mut slots = (None, None, None);
    let signer = Signer {
        ml_dsa: libcrux::SigningKey::init(&mut slots.0, &SEED),
        fn_dsa: fndsa::SigningKey::init(&mut slots.1, &SEED),
        slh_dsa: slhdsa::SigningKey::init(&mut slots.2, &SEED),
    };
    let (ml_dsa, fn_dsa, slh_dsa) =
        (public(signer.ml_dsa), public(signer.fn_dsa), public(signer.slh_dsa));
    let keys = KeySet {
        id: key_id(&ml_dsa, &fn_dsa, &slh_dsa),
        validity: Validity::ALWAYS,
        ml_dsa: libcrux::VerifyingKey::decode(&ml_dsa),
        fn_dsa: fndsa::VerifyingKey::decode(&fn_dsa).expect("a key"),
        slh_dsa: slhdsa::VerifyingKey::decode(&slh_dsa),
    };
    let verify = |bytes: &[u8]| {
        let receipt = Receipt::decode_exact(bytes).expect("a receipt");
        receipt.verify(&keys).map(|leaf| leaf.accept)
    };
    for size in [64, 512] {
        let mut signed = Signed::new(size, keys.id);
        signed.sign(&signer);
        let mut receipt = signed.receipt();
        verify(&receipt).expect("verifies");
        receipt[40] ^= 1;
        verify(&receipt).expect_err("another leaf");
        let mut timed = |rounds: u64, shares: usize| {
            let start = Instant::now();
            for _ in 0..rounds {
                signed.sign(&signer);
            }
            start.elapsed() / shares as u32
        };
        let mut group = c.benchmark_group(format!("attest/batch-window{size}"));
        group.throughput(Throughput::Elements(MAX_LEAVES as u64));
        group.bench_function(ANY, |b| b.iter_custom(|rounds| timed(rounds, size)));
        group.finish();
        let mut group = c.benchmark_group(format!("attest/person-window{size}"));
        group.bench_function(ANY, |b| b.iter_custom(|rounds| timed(rounds, size * MAX_LEAVES)));
        group.finish();
    }

    let mut signed = Signed::new(1, keys.id);
    let mut group = c.benchmark_group("attest/tree");
    group.bench_function(ANY, |b| b.iter(|| signed.batch(0)));
    group.finish();

    let mut signed = Signed::new(64, keys.id);
    signed.sign(&signer);
    let receipt = signed.receipt();
    let mut group = c.benchmark_group("attest/verify");
    group.bench_function(ANY, |b| b.iter(|| verify(&receipt).expect("verifies")));
    group.finish();
}

/// The digest of a probe ciphertext's bytes, with each vector unit; what others take for as many.
fn digests(c: &mut Criterion) {
    let bytes = vec![5; BYTES];
    let mut group = c.benchmark_group("attest/digest");
    group.throughput(Throughput::Bytes(BYTES as u64));
    for kernels in kernels() {
        let digest = || bulk(kernels, Domain::PROBE, &[black_box(&bytes)]);
        group.bench_function(kernels.isa(), |b| b.iter(digest));
    }
    let known = bulk(best(), Domain::PROBE, &[&bytes]);
    let k12 = || {
        let mut hash = CustomRefKt128::new_customized(Domain::PROBE.as_bytes());
        k12::digest::Update::update(&mut hash, black_box(&bytes));
        let mut out = Digest::default();
        hash.finalize_xof().read(&mut out);
        out
    };
    assert_eq!(k12(), known, "the same digest");
    group.bench_function("k12 0.5.1", |b| b.iter(k12));
    group.bench_function("SHA-256, sha2 0.11", |b| b.iter(|| Sha256::digest(black_box(&bytes))));
    group.bench_function("SHA3-256, sha3 0.12", |b| b.iter(|| Sha3_256::digest(black_box(&bytes))));
    group.finish();
}

criterion_group!(benches, families, windows, digests);
criterion_main!(benches);
