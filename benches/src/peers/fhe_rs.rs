//! `fhe` (fhe.rs) with `tfhe-ntt` inside: plain BFV as a user of that library does it best.
//!
//! Its batch is the classical one: slots, one product, then seven rotations that add up each
//! person's 128 slots. It re-randomises nothing and floods nothing, so it does less than ours.
//!
//! It switches keys with a special prime where ciphertexts live one level below their keys: the last
//! prime of the chain is then the special one, and keys have a digit for each of the others.

use std::sync::Arc;

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use fhe::bfv::{
    BfvParameters, BfvParametersBuilder, Ciphertext, Encoding, EvaluationKey, EvaluationKeyBuilder,
    Multiplicator, Plaintext, PublicKey, RelinearizationKey, SecretKey,
};
use fhe_traits::{FheDecoder, FheDecrypter, FheEncoder, FheEncrypter};
use rand::CryptoRng;
use symbolon_core::bfv::{Q54, Q81};
use symbolon_core::matching::quantise;

use crate::rows::Rows;
use crate::{Batch, TURNS, best};

/// A modulus, and a special prime or none.
pub struct Set {
    /// Slots.
    pub degree: usize,
    /// Bits of each prime, of the special one too.
    pub moduli: &'static [usize],
    /// 1 if the last prime is special.
    pub level: usize,
    /// As it stands in the tables.
    pub name: &'static str,
}

/// What encrypts and decrypts alone: two moduli of 27 bits as Q54 has, and one of 54, which suits its
/// 64-bit words better.
const SINGLE: [Set; 2] = [
    Set { degree: 4096, moduli: &[27, 27], level: 0, name: "fhe 0.1.1, moduli 27+27" },
    Set { degree: 4096, moduli: &[54], level: 0, name: "fhe 0.1.1, modulus 54" },
];

/// What the batch takes: with 54 bits in all and no special prime, the rotations drown the message in
/// noise. Of the sets that decide rightly (its own 36+36+37 among them) this is the fastest.
const ROTATING: Set =
    Set { degree: 4096, moduli: &[36, 36], level: 0, name: "fhe 0.1.1, moduli 36+36" };

/// For each of our sets the same primes, and what was fastest in a trial of seven sets within the
/// same security and with room for the same work. Without a special prime a switch leaves 20 bits
/// more noise than with one.
const SAME_54: Set =
    Set { degree: 4096, moduli: &[27, 27, 27], level: 1, name: "fhe 0.1.1, 27+27, special 27" };
const KEYS_54: Set =
    Set { degree: 4096, moduli: &[54, 50], level: 1, name: "fhe 0.1.1, 54, special 50" };
const SAME_81: Set = Set {
    degree: 4096,
    moduli: &[27, 27, 27, 25],
    level: 1,
    name: "fhe 0.1.1, 3 x 27, special 25",
};
const FAST_81: Set =
    Set { degree: 4096, moduli: &[40, 41], level: 0, name: "fhe 0.1.1, moduli 40+41" };
const SAME_135: Set =
    Set { degree: 8192, moduli: &[27; 6], level: 1, name: "fhe 0.1.1, 5 x 27, special 27" };
const FAST_135: Set =
    Set { degree: 8192, moduli: &[45, 45, 45], level: 0, name: "fhe 0.1.1, moduli 45+45+45" };

/// The sets to stand beside ours.
const fn beside<const L: usize>() -> [Set; 2] {
    match L {
        Q54 => [SAME_54, ROTATING],
        Q81 => [SAME_81, FAST_81],
        _ => [SAME_135, FAST_135],
    }
}

/// The same for key sets, where a digit less counts for more.
const fn beside_keys<const L: usize>() -> [Set; 2] {
    match L {
        Q54 => [SAME_54, KEYS_54],
        _ => beside::<L>(),
    }
}

/// What one set's owner has.
pub struct Fixture {
    parameters: Arc<BfvParameters>,
    level: usize,
    secret: SecretKey,
    public: PublicKey,
}

impl Fixture {
    /// Fresh keys.
    pub fn new(set: &Set, rng: &mut impl CryptoRng) -> Self {
        let parameters = BfvParametersBuilder::new()
            .set_degree(set.degree)
            .set_plaintext_modulus(65_537)
            .set_moduli_sizes(set.moduli)
            .build_arc()
            .expect("it accepts these");
        let secret = SecretKey::random(&parameters, rng);
        let public = PublicKey::new(&secret, rng);
        Self { parameters, level: set.level, secret, public }
    }

    /// Keys that turn both rows to the left by so many places, and exchange them if asked to.
    pub fn rotations(&self, turns: &[i32], swap: bool, rng: &mut impl CryptoRng) -> EvaluationKey {
        let mut builder =
            EvaluationKeyBuilder::new_leveled(&self.secret, self.level, 0).expect("builds");
        for &places in turns {
            builder.enable_column_rotation(places as usize).expect("a rotation");
        }
        if swap {
            builder.enable_row_rotation().expect("a rotation");
        }
        builder.build(rng).expect("builds")
    }

    /// The relinearisation key.
    pub fn relinearisation(&self, rng: &mut impl CryptoRng) -> RelinearizationKey {
        RelinearizationKey::new_leveled(&self.secret, self.level, 0, rng).expect("builds")
    }

    fn encoding(&self) -> Encoding {
        Encoding::simd_at_level(self.level)
    }

    /// Slots in natural order, which is this library's own.
    pub fn encode(&self, slots: &[i32]) -> Plaintext {
        let slots: Vec<i64> = slots.iter().copied().map(i64::from).collect();
        Plaintext::try_encode(&slots, self.encoding(), &self.parameters).expect("fits")
    }

    /// With the public key.
    pub fn encrypt(&self, plain: &Plaintext, rng: &mut impl CryptoRng) -> Ciphertext {
        self.public.try_encrypt(plain, rng).expect("encrypts")
    }

    /// To slots, centred in its way: 32768 is -32769 here.
    pub fn decrypt(&self, ciphertext: &Ciphertext) -> Vec<i64> {
        let plain = self.secret.try_decrypt(ciphertext).expect("decrypts");
        Vec::<i64>::try_decode(&plain, self.encoding()).expect("decodes")
    }

    /// Panics unless these slots are in the ciphertext.
    fn check(&self, ciphertext: &Ciphertext, slots: &Rows) {
        assert!(Rows::new(self.decrypt(ciphertext)) == *slots, "decrypts rightly");
    }
}

/// The slots of a batch's people, one after another.
fn slots(vectors: &[Vec<i16>]) -> Vec<i32> {
    vectors.iter().flatten().copied().map(i32::from).collect()
}

/// Public-key encryption of an encoded plaintext.
pub fn encrypt(group: &mut BenchmarkGroup<'_, WallTime>) {
    let slots = Rows(slots(&Batch::new().probes));
    for set in SINGLE {
        let fixture = Fixture::new(&set, &mut rand::rng());
        let plain = fixture.encode(&slots.0);
        fixture.check(&fixture.encrypt(&plain, &mut rand::rng()), &slots);
        group.bench_function(set.name, |b| b.iter(|| fixture.encrypt(&plain, &mut rand::rng())));
    }
}

/// Decryption to decoded slots.
pub fn decrypt(group: &mut BenchmarkGroup<'_, WallTime>) {
    let slots = Rows(slots(&Batch::new().probes));
    for set in SINGLE {
        let fixture = Fixture::new(&set, &mut rand::rng());
        let ciphertext = fixture.encrypt(&fixture.encode(&slots.0), &mut rand::rng());
        fixture.check(&ciphertext, &slots);
        group.bench_function(set.name, |b| b.iter(|| fixture.decrypt(&ciphertext)));
    }
}

/// Two sets of random slots, encrypted.
fn operands(set: &Set) -> (Fixture, [Rows; 2], [Ciphertext; 2]) {
    let fixture = Fixture::new(set, &mut rand::rng());
    let mut rng = crate::rng();
    let slots = [(); 2].map(|()| Rows::random(set.degree, &mut rng));
    let encrypted =
        slots.each_ref().map(|x| fixture.encrypt(&fixture.encode(&x.0), &mut rand::rng()));
    (fixture, slots, encrypted)
}

/// One rotation.
pub fn rotate<const L: usize>(group: &mut BenchmarkGroup<'_, WallTime>) {
    for set in beside::<L>() {
        let (fixture, [slots, _], [x, _]) = operands(&set);
        let key = fixture.rotations(&TURNS[..1], false, &mut rand::rng());
        let rotate = || key.rotates_columns_by(&x, TURNS[0] as usize).expect("has the key");
        fixture.check(&rotate(), &slots.turned(TURNS[0]));
        group.bench_function(set.name, |b| b.iter(rotate));
    }
}

/// Secret, public and relinearisation key, and a Galois key for each of [`TURNS`].
pub fn keyset<const L: usize>(group: &mut BenchmarkGroup<'_, WallTime>) {
    for set in beside_keys::<L>() {
        // The parameters are no part of a key set.
        let Fixture { parameters, level, .. } = Fixture::new(&set, &mut rand::rng());
        let keyset = || {
            let mut rng = rand::rng();
            let parameters = Arc::clone(&parameters);
            let secret = SecretKey::random(&parameters, &mut rng);
            let public = PublicKey::new(&secret, &mut rng);
            let fixture = Fixture { parameters, level, secret, public };
            let relinearisation = fixture.relinearisation(&mut rng);
            let rotations = fixture.rotations(&TURNS, false, &mut rng);
            (fixture, relinearisation, rotations)
        };
        let (fixture, _, rotations) = keyset();
        let slots = Rows::random(set.degree, &mut crate::rng());
        let mut sum = fixture.encrypt(&fixture.encode(&slots.0), &mut rand::rng());
        sum_slots(&rotations, &TURNS, &mut sum);
        fixture.check(&sum, &slots.summed(&TURNS));
        group.bench_function(set.name, |b| b.iter(keyset));
    }
}

/// A product of ciphertexts, relinearised.
pub fn multiply<const L: usize>(group: &mut BenchmarkGroup<'_, WallTime>) {
    for set in beside::<L>() {
        let (fixture, slots, [x, y]) = operands(&set);
        let key = fixture.relinearisation(&mut rand::rng());
        let multiplicator = Multiplicator::default(&key).expect("builds");
        let multiply = || multiplicator.multiply(&x, &y).expect("multiplies");
        fixture.check(&multiply(), &slots[0].times(&slots[1]));
        group.bench_function(set.name, |b| b.iter(multiply));
    }
}

/// Seven rotations, each of the sum so far, and seven additions.
pub fn slot_sum<const L: usize>(group: &mut BenchmarkGroup<'_, WallTime>) {
    for set in beside::<L>() {
        let (fixture, [slots, _], [x, _]) = operands(&set);
        let keys = fixture.rotations(&TURNS, false, &mut rand::rng());
        let sum = || {
            let mut sum = x.clone();
            sum_slots(&keys, &TURNS, &mut sum);
            sum
        };
        fixture.check(&sum(), &slots.summed(&TURNS));
        group.bench_function(set.name, |b| b.iter(sum));
    }
}

/// Seven rotations of one ciphertext; there is nothing in this library that shares their digits.
pub fn hoisted<const L: usize>(group: &mut BenchmarkGroup<'_, WallTime>) {
    for set in beside::<L>() {
        let (fixture, [slots, _], [x, _]) = operands(&set);
        let keys = fixture.rotations(&TURNS, false, &mut rand::rng());
        let rotate = |places| keys.rotates_columns_by(&x, places as usize).expect("has the key");
        for (rotated, places) in TURNS.map(rotate).iter().zip(TURNS) {
            fixture.check(rotated, &slots.turned(places));
        }
        group.bench_function(set.name, |b| b.iter(|| TURNS.map(rotate)));
    }
}

/// For each turn after another: the sum so far plus itself turned.
pub fn sum_slots(keys: &EvaluationKey, turns: &[i32], sum: &mut Ciphertext) {
    for &places in turns {
        let rotated = keys.rotates_columns_by(sum, places as usize).expect("has the key");
        *sum += &rotated;
    }
}

/// Embeddings to decisions, 32 people.
pub fn batch(group: &mut BenchmarkGroup<'_, WallTime>) {
    let fixture = Fixture::new(&ROTATING, &mut rand::rng());
    let batch = Batch::new();
    let rotations = fixture.rotations(&STEPS, false, &mut rand::rng());
    let expected = batch.accepted(batch.layout.users());
    assert_eq!(decisions(&fixture, &batch, &rotations), expected, "right decisions");
    group.bench_function(ROTATING.name, |b| b.iter(|| decisions(&fixture, &batch, &rotations)));
}

/// After the last, each slot holds the sum of 128 in its row.
const STEPS: [i32; 7] = [1, 2, 4, 8, 16, 32, 64];

fn decisions(fixture: &Fixture, batch: &Batch, rotations: &EvaluationKey) -> u32 {
    let quantised = |embedding: &Vec<f64>| {
        let mut out = vec![0; batch.layout.dims()];
        quantise(best(), batch.layout, embedding, &mut out).expect("usable");
        out
    };
    let probes: Vec<_> = batch.embeddings.iter().map(quantised).collect();
    let mut sums = fixture.encrypt(&fixture.encode(&slots(&probes)), &mut rand::rng());
    sums *= &fixture.encode(&slots(&batch.templates));
    sum_slots(rotations, &STEPS, &mut sums);
    let slots = fixture.decrypt(&sums);
    let scores = slots.iter().step_by(batch.layout.dims());
    let threshold = i64::from(batch.threshold.score());
    scores.enumerate().fold(0, |bits, (lane, &score)| bits | u32::from(score >= threshold) << lane)
}
