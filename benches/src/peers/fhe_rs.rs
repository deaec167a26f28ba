//! `fhe` (fhe.rs) with `tfhe-ntt` inside: plain BFV as a user of that library does it best.
//!
//! Its batch is the classical one: slots, one product, then seven rotations that add up each
//! person's 128 slots. It re-randomises nothing and floods nothing, so it does less than ours.

use std::sync::Arc;

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use fhe::bfv::{
    BfvParameters, BfvParametersBuilder, Ciphertext, Encoding, EvaluationKey, EvaluationKeyBuilder,
    Plaintext, PublicKey, SecretKey,
};
use fhe_traits::{FheDecoder, FheDecrypter, FheEncoder, FheEncrypter};
use symbolon_core::matching::quantise;
use symbolon_core::ntt::N;

use crate::{Batch, best};

/// What is timed alone: two moduli of 27 bits as Q54 has, and one of 54, which suits its 64-bit
/// words better.
const SINGLE: [(&[usize], &str); 2] =
    [(&[27, 27], "fhe 0.1.1, moduli 27+27"), (&[54], "fhe 0.1.1, modulus 54")];

/// What the batch takes: with 54 bits in all, the rotations drown the message in noise. Of the sets
/// that decide rightly (its own 36+36+37 among them) this is the fastest.
const ROTATING: (&[usize], &str) = (&[36, 36], "fhe 0.1.1, moduli 36+36");

fn parameters(moduli: &[usize]) -> Arc<BfvParameters> {
    BfvParametersBuilder::new()
        .set_degree(N)
        .set_plaintext_modulus(65_537)
        .set_moduli_sizes(moduli)
        .build_arc()
        .expect("it accepts these")
}

struct Fixture {
    parameters: Arc<BfvParameters>,
    batch: Batch,
    secret: SecretKey,
    public: PublicKey,
}

impl Fixture {
    fn new(moduli: &[usize]) -> Self {
        let mut rng = rand::rng();
        let parameters = parameters(moduli);
        let secret = SecretKey::random(&parameters, &mut rng);
        let public = PublicKey::new(&secret, &mut rng);
        Self { parameters, batch: Batch::new(), secret, public }
    }

    fn encode(&self, vectors: &[Vec<i16>]) -> Plaintext {
        let slots: Vec<i64> = vectors.iter().flatten().copied().map(i64::from).collect();
        Plaintext::try_encode(&slots, Encoding::simd(), &self.parameters).expect("fits")
    }

    fn encrypt(&self, plain: &Plaintext) -> Ciphertext {
        self.public.try_encrypt(plain, &mut rand::rng()).expect("encrypts")
    }

    fn decrypt(&self, ciphertext: &Ciphertext) -> Vec<i64> {
        let plain = self.secret.try_decrypt(ciphertext).expect("decrypts");
        Vec::<i64>::try_decode(&plain, Encoding::simd()).expect("decodes")
    }

    /// Panics unless the probes are in the ciphertext.
    fn check(&self, ciphertext: &Ciphertext) {
        let slots = self.batch.probes.iter().flatten().copied().map(i64::from);
        assert!(slots.eq(self.decrypt(ciphertext)), "decrypts to what was encrypted");
    }
}

/// Public-key encryption of an encoded plaintext.
pub fn encrypt(group: &mut BenchmarkGroup<'_, WallTime>) {
    for (moduli, name) in SINGLE {
        let fixture = Fixture::new(moduli);
        let plain = fixture.encode(&fixture.batch.probes);
        fixture.check(&fixture.encrypt(&plain));
        group.bench_function(name, |b| b.iter(|| fixture.encrypt(&plain)));
    }
}

/// Decryption to decoded slots.
pub fn decrypt(group: &mut BenchmarkGroup<'_, WallTime>) {
    for (moduli, name) in SINGLE {
        let fixture = Fixture::new(moduli);
        let ciphertext = fixture.encrypt(&fixture.encode(&fixture.batch.probes));
        fixture.check(&ciphertext);
        group.bench_function(name, |b| b.iter(|| fixture.decrypt(&ciphertext)));
    }
}

/// Embeddings to decisions, 32 people.
pub fn batch(group: &mut BenchmarkGroup<'_, WallTime>) {
    let fixture = Fixture::new(ROTATING.0);
    let mut builder = EvaluationKeyBuilder::new(&fixture.secret).expect("builds");
    for step in steps() {
        builder.enable_column_rotation(step).expect("a rotation");
    }
    let rotations = builder.build(&mut rand::rng()).expect("builds");
    let users = fixture.batch.layout.users();
    let expected = fixture.batch.accepted(users);
    assert_eq!(decisions(&fixture, &rotations), expected, "right decisions");
    group.bench_function(ROTATING.1, |b| b.iter(|| decisions(&fixture, &rotations)));
}

/// 1, 2, 4, .. 64: after the last, each slot holds the sum of 128.
fn steps() -> impl Iterator<Item = usize> {
    (0..7).map(|i| 1 << i)
}

fn decisions(fixture: &Fixture, rotations: &EvaluationKey) -> u32 {
    let batch = &fixture.batch;
    let quantised = |embedding: &Vec<f64>| {
        let mut out = vec![0; batch.layout.dims()];
        quantise(best(), batch.layout, embedding, &mut out).expect("usable");
        out
    };
    let probes: Vec<_> = batch.embeddings.iter().map(quantised).collect();
    let mut sums = fixture.encrypt(&fixture.encode(&probes));
    sums *= &fixture.encode(&batch.templates);
    for step in steps() {
        let rotated = rotations.rotates_columns_by(&sums, step).expect("has the key");
        sums += &rotated;
    }
    let slots = fixture.decrypt(&sums);
    let scores = slots.iter().step_by(batch.layout.dims());
    let threshold = i64::from(batch.threshold.score());
    scores.enumerate().fold(0, |bits, (lane, &score)| bits | u32::from(score >= threshold) << lane)
}
