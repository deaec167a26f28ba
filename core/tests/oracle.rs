//! The scheme a second time, from its definitions, in big integers: rings without residues or
//! transforms, samplers bit by bit, rounding by exact division. Every value that the library lets
//! out is compared, and what it does not let out (a ciphertext's two halves) shows in decryptions
//! under other keys: they give all coefficients of c0 + c1 s' for any s'.

mod common;

use chacha20::{ChaCha12Rng, ChaCha20Rng};
use common::*;
use num_bigint::{BigInt, BigUint};
use rand_core::{Rng, SeedableRng};
use sha3::{Digest as _, Sha3_256};
use std::iter;
use symbolon_core::bfv::{
    Ciphertext, Plaintext, PublicKey, Q54, Q81, SecretKey, SeededCiphertext, generate, noise,
};
use symbolon_core::matching::{Blind, fold};
use symbolon_core::poly::{Coeff, Eval, Poly};

/// Each limb's prime and its 2N-th root of unity.
const LIMBS: [(u64, u64); 3] =
    [(134_176_769, 51_707_741), (134_111_233, 133_095_912), (134_012_929, 89_697_661)];

fn big(x: impl Into<BigInt>) -> BigInt {
    x.into()
}

/// x mod m in \[0, m).
fn modulo(x: &BigInt, m: &BigInt) -> BigInt {
    ((x % m) + m) % m
}

fn modulus<const L: usize>() -> BigInt {
    LIMBS[..L].iter().map(|&(q, _)| big(q)).product()
}

/// floor((2 a + b) / 2b): a / b rounded, for a, b >= 0. There are no ties where b is odd.
fn round_div(a: &BigInt, b: &BigInt) -> BigInt {
    (2 * a + b) / (2 * b)
}

/// An element of Z_Q\[X\]/(X^N + 1): N coefficients in \[0, Q).
#[derive(Clone, PartialEq, Debug)]
struct Ring<const L: usize>(Vec<BigInt>);

impl<const L: usize> Ring<L> {
    fn new(coeffs: impl IntoIterator<Item = BigInt>) -> Self {
        let q = modulus::<L>();
        let coeffs: Vec<_> = coeffs.into_iter().map(|c| modulo(&c, &q)).collect();
        assert_eq!(coeffs.len(), N);
        Self(coeffs)
    }

    fn small(coeffs: &[i64]) -> Self {
        Self::new(coeffs.iter().map(|&c| big(c)))
    }

    /// The element with these residues, by the Chinese remainder theorem.
    fn from_limbs(limbs: &[[u32; N]; L]) -> Self {
        let q = modulus::<L>();
        let basis: Vec<BigInt> = LIMBS[..L]
            .iter()
            .map(|&(p, _)| {
                let others = &q / p;
                let inverse = others.modpow(&big(p - 2), &big(p));
                others * inverse
            })
            .collect();
        Self::new((0..N).map(|i| basis.iter().zip(limbs).map(|(b, limb)| b * limb[i]).sum()))
    }

    fn limbs(&self) -> Box<[[u32; N]; L]> {
        let mut out = Box::new([[0; N]; L]);
        for (limb, &(p, _)) in out.iter_mut().zip(&LIMBS) {
            for (out, c) in limb.iter_mut().zip(&self.0) {
                *out = u32::try_from(c % p).unwrap();
            }
        }
        out
    }

    fn add(&self, other: &Self) -> Self {
        Self::new(self.0.iter().zip(&other.0).map(|(a, b)| a + b))
    }

    fn neg(&self) -> Self {
        Self::new(self.0.iter().map(|a| -a))
    }

    /// Kronecker's substitution: one product of two long integers, X = 2^192. Coefficients of the
    /// product are below 2^(2 81 + 12).
    fn mul(&self, other: &Self) -> Self {
        const WIDTH: usize = 24;
        let pack = |ring: &Self| {
            let mut bytes = vec![0; N * WIDTH];
            for (out, c) in bytes.chunks_mut(WIDTH).zip(&ring.0) {
                let digits = c.magnitude().to_bytes_le();
                out[..digits.len()].copy_from_slice(&digits);
            }
            BigUint::from_bytes_le(&bytes)
        };
        let mut bytes = (pack(self) * pack(other)).to_bytes_le();
        bytes.resize(2 * N * WIDTH, 0);
        let wide: Vec<BigInt> =
            bytes.chunks(WIDTH).map(|c| big(BigUint::from_bytes_le(c))).collect();
        Self::new((0..N).map(|i| &wide[i] - &wide[i + N]))
    }

    /// Coefficients 0, d, 2d, .. of t times this element, centred: what a fold lets through.
    fn low_end(&self, d: usize) -> Vec<i128> {
        let q = modulus::<L>();
        let centred = |c: &BigInt| {
            let c = modulo(&(c * T), &q);
            i128::try_from(if &c * 2 > q { c - &q } else { c }).unwrap()
        };
        self.0.iter().step_by(d).map(centred).collect()
    }
}

/// round(Q m / t).
fn scaled<const L: usize>(message: &[i64]) -> Ring<L> {
    let q = modulus::<L>();
    Ring::new(message.iter().map(|&m| round_div(&(&q * m), &big(T))))
}

/// round(t w / Q) mod t, and for each coefficient whether t w / Q is at least 2^-14 away from a
/// tie, where the library promises the same.
fn rounded<const L: usize>(phase: &Ring<L>) -> (Vec<i64>, Vec<bool>) {
    let q = modulus::<L>();
    let round = |w: &BigInt| {
        let tw = w * T;
        let message = i64::try_from(round_div(&tw, &q) % T).unwrap();
        let off: BigInt = (2 * tw + &q) % (2 * &q);
        let near = off.clone().min(2 * &q - off);
        (message, near << 13 >= q)
    };
    phase.0.iter().map(round).unzip()
}

/// The library's polynomial, transformed by the library, for use as an addend.
fn eval<const L: usize>(ring: &Ring<L>, memory: &mut Poly<L, Coeff>) -> Box<Poly<L, Eval>> {
    memory.set_limbs(&ring.limbs()).unwrap();
    let mut out = zeroed::<Poly<L, Eval>>();
    out.copy_from(memory.forward(kernels()));
    out
}

/// The coefficients of a library polynomial in evaluation form, by the library's transform.
fn coefficients<const L: usize>(poly: &Poly<L, Eval>) -> Ring<L> {
    let mut copy = zeroed::<Poly<L, Eval>>();
    copy.copy_from(poly);
    Ring::from_limbs(copy.inverse(kernels()).limbs())
}

/// A keystream, a chunk of 256 words at a time: sixteen blocks of ChaCha12, word i of block b at
/// 16 i + b.
struct Stream(ChaCha12Rng);

impl Stream {
    /// Under the hash of a domain and a seed.
    fn new(domain: &str, seed: &[u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(hash(domain, seed)))
    }

    /// Under 32 bytes of a generator.
    fn draw(rng: &mut ChaCha20Rng) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        Self(ChaCha12Rng::from_seed(seed))
    }

    fn chunk(&mut self) -> Vec<u32> {
        let words: Vec<u32> = (0..256).map(|_| self.0.next_u32()).collect();
        (0..256).map(|i| words[i % 16 * 16 + i / 16]).collect()
    }
}

fn hash(domain: &str, seed: &[u8; 32]) -> [u8; 32] {
    let mut hasher = Sha3_256::new();
    hasher.update([domain.len() as u8]);
    hasher.update(domain);
    hasher.update(32u64.to_le_bytes());
    hasher.update(seed);
    hasher.finalize().into()
}

/// Bytes, mod 3 less 1, 255 left out: of each row of 16 words first the lowest bytes.
fn ternary(stream: &mut Stream) -> Vec<i64> {
    let mut out = vec![];
    while out.len() < N {
        for row in stream.chunk().chunks(16) {
            for i in 0..4 {
                let bytes = row.iter().map(|word| word.to_le_bytes()[i]);
                out.extend(bytes.filter(|&b| b < 255).map(|b| i64::from(b % 3) - 1));
            }
        }
    }
    out.truncate(N);
    out
}

/// From every four rows three times 16 samples: ones in a word and in ten bits of the fourth row's,
/// less 21.
fn binomial(stream: &mut Stream, count: usize) -> Vec<i64> {
    let mut out = vec![];
    while out.len() < count {
        for rows in stream.chunk().chunks(64) {
            for i in 0..48 {
                let rest = rows[48 + i % 16] / (1 << (i / 16 * 10)) % 1024;
                out.push(i64::from(rows[i].count_ones() + rest.count_ones()) - 21);
            }
        }
    }
    out.truncate(count);
    out
}

/// Uniform mod Q, as values at the roots in transform order; here their interpolation, by the sum
/// over all roots.
fn uniform<const L: usize>(stream: &mut Stream) -> Ring<L> {
    let mut limbs = Box::new([[0; N]; L]);
    for (limb, &(q, psi)) in limbs.iter_mut().zip(&LIMBS) {
        let power = |base: u64, exp: u64| (0..exp).fold(1, |acc, _| acc * base % q);
        let psi_inverse = power(psi, 2 * N as u64 - 1);
        let mut sums = vec![0u128; N];
        let mut values = vec![];
        while values.len() < N {
            let words = stream.chunk().into_iter().map(|word| u64::from(word) % (1 << 27));
            values.extend(words.filter(|&x| x < q));
        }
        for i in 0..N as u32 {
            let value = values[i as usize];
            // Each group of 256 is a square of 16 x 16, transposed.
            let natural = i / 256 * 256 + i % 16 * 16 + i % 256 / 16;
            let odd = 2 * (natural.reverse_bits() >> 20) + 1;
            let inverse = power(psi_inverse, odd.into());
            let mut factor = value;
            for sum in &mut sums {
                *sum += u128::from(factor);
                factor = factor * inverse % q;
            }
        }
        // N^-1 = -(q - 1) / N, since q = 1 mod N.
        let n_inverse = q - (q - 1) / N as u64;
        for (out, sum) in limb.iter_mut().zip(sums) {
            *out = (sum % u128::from(q) * u128::from(n_inverse) % u128::from(q)) as u32;
        }
    }
    Ring::from_limbs(&limbs)
}

/// A key pair, derived from a seed by the description of the derivation.
struct Model<const L: usize> {
    s: Vec<i64>,
    p0: Ring<L>,
    p1: Ring<L>,
}

impl<const L: usize> Model<L> {
    fn new(seed: u8) -> Self {
        let seed = [seed; 32];
        let s = ternary(&mut Stream::new("symbolon/bfv-secret/v1", &seed));
        let e = binomial(&mut Stream::new("symbolon/bfv-key-error/v1", &seed), N);
        let public_seed = hash("symbolon/bfv-public-seed/v1", &seed);
        let a = uniform(&mut Stream::new("symbolon/bfv-public/v1", &public_seed));
        // The six-sigma norms: these seeds pass at the first try.
        assert!(s.iter().map(|x| x * x).sum::<i64>() <= 2_912);
        assert!(e.iter().map(|x| x * x).sum::<i64>() <= 48_710);
        let p0 = a.mul(&Ring::small(&s)).add(&Ring::small(&e)).neg();
        Self { s, p0, p1: a }
    }

    fn secret(&self) -> Ring<L> {
        Ring::small(&self.s)
    }

    /// (p0 u + e0 + round(Q m / t), p1 u + e1), and nothing else drawn.
    fn encrypt(&self, message: &[i64], rng: &mut ChaCha20Rng) -> [Ring<L>; 2] {
        let rng = &mut Stream::draw(rng);
        let u = Ring::small(&ternary(rng));
        let c0 = self.p0.mul(&u).add(&Ring::small(&binomial(rng, N))).add(&scaled(message));
        let c1 = self.p1.mul(&u).add(&Ring::small(&binomial(rng, N)));
        [c0, c1]
    }
}

/// Compares a ciphertext with its model through decryptions under three keys: its own, another one,
/// and zero, which shows c0 alone. The two wrong ones give phases uniform mod Q.
#[track_caller]
fn assert_same<const L: usize>(
    ciphertext: &Ciphertext<L>,
    model: &[Ring<L>; 2],
    message: &[i64],
    right: &mut Keys<L>,
    wrong: &mut Keys<L>,
) {
    let mut zero = Keys { secret: zeroed::<SecretKey<L>>(), ..Keys::new(99) };
    for (keys, is_right) in [(right, true), (wrong, false), (&mut zero, false)] {
        let mut s = [0; N];
        noise::secret_coeffs(kernels(), &keys.secret, &mut s);
        let s: Vec<i64> = s.iter().map(|&x| x.into()).collect();
        let phase = model[0].add(&model[1].mul(&Ring::small(&s)));

        let (want, safe) = rounded(&phase);
        let got = keys.decrypt(ciphertext);
        let mut skipped = 0;
        for i in 0..N {
            if safe[i] {
                assert_eq!(got[i], want[i], "coefficient {i}");
            } else {
                skipped += 1;
            }
        }
        assert!(skipped <= if is_right { 0 } else { 5 }, "{skipped} ties");
        if is_right {
            assert_eq!(got, message);
        }

        // The largest distance from a message, to the last bit.
        let q = modulus::<L>();
        let distance = phase.add(&scaled::<L>(message).neg());
        let largest = distance.0.into_iter().map(|d| (&q - &d).min(d)).max().unwrap();
        let measured = noise::measure(
            kernels(),
            &keys.secret,
            ciphertext,
            &plaintext(message),
            &mut keys.scratch,
        );
        assert_eq!(big(measured), largest);
    }
}

fn edge_messages() -> Vec<Vec<i64>> {
    let mut rng = rng(40);
    vec![
        vec![0; N],
        vec![T - 1; N],
        vec![1; N],
        vec![T / 2; N],
        vec![T / 2 + 1; N],
        (0..N as i64).map(|i| i % 2 * (T - 1)).collect(),
        (0..N as i64).map(|i| (i + 1) % 2 * (T - 1)).collect(),
        (0..N).map(|i| i64::from(i == N - 1)).collect(),
        random_words(&mut rng),
    ]
}

fn secrets_are_derived<const L: usize>() {
    for seed in [0, 1, 255] {
        let keys = Keys::<L>::new(seed);
        let mut s = [0; N];
        noise::secret_coeffs(kernels(), &keys.secret, &mut s);
        let want = ternary(&mut Stream::new("symbolon/bfv-secret/v1", &[seed; 32]));
        assert!(s.iter().zip(want).all(|(&s, w)| i64::from(s) == w), "seed {seed}");
    }
}

#[test]
fn secrets_are_derived_as_described() {
    secrets_are_derived::<Q54>();
    secrets_are_derived::<Q81>();
}

fn public_key_encryption<const L: usize>() {
    let (mut right, mut wrong) = (Keys::<L>::new(1), Keys::<L>::new(2));
    let model = Model::<L>::new(1);
    for (i, message) in edge_messages().into_iter().enumerate().filter(|(i, _)| [1, 8].contains(i))
    {
        let seed = 10 + i as u8;
        let ciphertext = right.encrypt(&plaintext(&message), &mut rng(seed));
        let want = model.encrypt(&message, &mut rng(seed));
        assert_same(&ciphertext, &want, &message, &mut right, &mut wrong);
    }
}

#[test]
fn public_key_encryption_q54() {
    public_key_encryption::<Q54>();
}

#[test]
fn public_key_encryption_q81() {
    public_key_encryption::<Q81>();
}

fn seeded_encryption<const L: usize>() {
    let (mut right, mut wrong) = (Keys::<L>::new(3), Keys::<L>::new(4));
    let s = Ring::small(&ternary(&mut Stream::new("symbolon/bfv-secret/v1", &[3; 32])));
    let message = random_words(&mut rng(50));
    let (mut seeded, mut ciphertext) = (zeroed::<SeededCiphertext<L>>(), zeroed::<Ciphertext<L>>());
    right.secret.encrypt(
        kernels(),
        &plaintext(&message),
        &mut rng(51),
        &mut seeded,
        &mut right.scratch,
    );
    seeded.expand(kernels(), &mut ciphertext);

    let mut rng = rng(51);
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    let c1 = uniform(&mut Stream::new("symbolon/bfv-seeded/v1", &seed));
    let e = Ring::small(&binomial(&mut Stream::draw(&mut rng), N));
    let c0 = c1.mul(&s).neg().add(&e).add(&scaled(&message));
    assert_same(&ciphertext, &[c0, c1], &message, &mut right, &mut wrong);
}

#[test]
fn seeded_encryption_matches_the_model() {
    seeded_encryption::<Q54>();
    seeded_encryption::<Q81>();
}

fn every_message_is_scaled_exactly<const L: usize>() {
    let mut memory = zeroed::<Poly<L, Coeff>>();
    let messages: Vec<i64> = (0..T).collect();
    for chunk in messages.chunks(N) {
        let mut message = chunk.to_vec();
        message.resize(N, T - 1);
        let addend = plaintext(&message);
        let got = coefficients(addend.to_addend(kernels(), &mut memory));
        assert_eq!(got, scaled::<L>(&message));
    }
}

#[test]
fn scaling_is_exact_for_every_message() {
    every_message_is_scaled_exactly::<Q54>();
    every_message_is_scaled_exactly::<Q81>();
}

/// Phases put together by hand: c0 from an addend, c1 zero.
fn decryption_is_exact_up_to_its_reach<const L: usize>() {
    let k = kernels();
    let mut keys = Keys::<L>::new(5);
    let mut memory = zeroed::<Poly<L, Coeff>>();
    let mut decrypt = |phase: &Ring<L>| {
        let mut ciphertext = zeroed::<Ciphertext<L>>();
        ciphertext.add_plain(k, &eval(phase, &mut memory));
        keys.decrypt(&ciphertext)
    };
    let (q, t) = (modulus::<L>(), big(T));
    // Q/2t (1 - 2^-13), exclusive, and noise as far on the other side.
    let reach: BigInt = (&q * ((1 << 13) - 1) - 1) / ((2 * &t) << 13);
    let beyond: BigInt = (&q * ((1 << 13) + 1)) / ((2 * &t) << 13) + 2;
    let messages: Vec<i64> = (0..T).collect();
    for chunk in messages.chunks(N) {
        let mut message = chunk.to_vec();
        message.resize(N, 0);
        let base = scaled::<L>(&message);
        let with = |noise: BigInt| Ring::new(base.0.iter().map(|c| c + &noise));
        assert_eq!(decrypt(&with(reach.clone())), message);
        assert_eq!(decrypt(&with(-&reach)), message);
        // What goes over has to fall to the neighbour once the fixed point's own error is passed.
        let slack: BigInt = &q >> 34;
        let next: Vec<i64> = message.iter().map(|m| (m + 1) % T).collect();
        assert_eq!(decrypt(&with(&beyond + &slack)), next);
        let previous: Vec<i64> = message.iter().map(|m| (m + T - 1) % T).collect();
        assert_eq!(decrypt(&with(-&beyond - &slack)), previous);
    }
    // Anywhere mod Q.
    let mut rng = rng(60);
    let phase = Ring::new((0..N).map(|_| {
        let high = u128::from(rng.next_u64()) << 64;
        big(high | u128::from(rng.next_u64()))
    }));
    let (want, safe) = rounded(&phase);
    let got = decrypt(&phase);
    assert!((0..N).all(|i| got[i] == want[i] || !safe[i]));
    assert!(safe.iter().filter(|&&s| !s).count() <= 5);
}

#[test]
fn decryption_rounds_exactly() {
    decryption_is_exact_up_to_its_reach::<Q54>();
    decryption_is_exact_up_to_its_reach::<Q81>();
}

fn edge_messages_come_back<const L: usize>() {
    let mut keys = Keys::<L>::new(6);
    let mut rng = rng(70);
    for message in edge_messages() {
        let plain = plaintext(&message);
        assert_eq!(words(&plain), message);
        let ciphertext = keys.encrypt(&plain, &mut rng);
        assert_eq!(keys.decrypt(&ciphertext), message);
        assert!(keys.scratch.limbs().iter().flatten().all(|&x| x == 0), "scratch holds zeros");

        let (mut seeded, mut expanded) = (zeroed::<SeededCiphertext<L>>(), zeroed());
        keys.secret.encrypt(kernels(), &plain, &mut rng, &mut seeded, &mut keys.scratch);
        seeded.expand(kernels(), &mut expanded);
        assert_eq!(keys.decrypt(&expanded), message);
    }
}

#[test]
fn edge_messages_survive() {
    edge_messages_come_back::<Q54>();
    edge_messages_come_back::<Q81>();
}

fn evaluation<const L: usize>() {
    let k = kernels();
    let mut keys = Keys::<L>::new(7);
    let mut rng = rng(80);
    let mut memory = zeroed::<Poly<L, Coeff>>();
    let mut pairs = vec![(vec![T - 1; N], vec![T - 1; N]), (vec![T / 2; N], vec![T / 2 + 1; N])];
    pairs.extend((0..3).map(|_| (random_words(&mut rng), random_words(&mut rng))));
    for (a, b) in pairs {
        let (plain_a, plain_b) = (plaintext(&a), plaintext(&b));
        let encrypted_a = keys.encrypt(&plain_a, &mut rng);
        let encrypted_b = keys.encrypt(&plain_b, &mut rng);
        let combine = |f: &dyn Fn(i64, i64) -> i64| -> Vec<i64> {
            a.iter().zip(&b).map(|(&a, &b)| f(a, b).rem_euclid(T)).collect()
        };
        let mut test = |name, f: &mut dyn FnMut(&mut Ciphertext<L>), want: Vec<i64>| {
            let mut x = zeroed::<Ciphertext<L>>();
            x.copy_from(&encrypted_a);
            f(&mut x);
            assert_eq!(keys.decrypt(&x), want, "{name}");
        };
        test("add", &mut |x| x.add_assign(k, &encrypted_b), combine(&|a, b| a + b));
        test("sub", &mut |x| x.sub_assign(k, &encrypted_b), combine(&|a, b| a - b));
        test("negate", &mut |x| x.negate(k), combine(&|a, _| -a));
        let mut add = |x: &mut Ciphertext<L>| x.add_plain(k, plain_b.to_addend(k, &mut memory));
        test("add plain", &mut add, combine(&|a, b| a + b));
        let mut sub = |x: &mut Ciphertext<L>| x.sub_plain(k, plain_b.to_addend(k, &mut memory));
        test("sub plain", &mut sub, combine(&|a, b| a - b));
        let mut multiply = |x: &mut Ciphertext<L>| {
            x.multiply_plain(k, plain_b.to_multiplicand(k, &mut memory));
        };
        test("multiply plain", &mut multiply, product(&a, &b));
        // A little of everything: 3 (a - b) + a X^100, the factor and the shift as plaintexts.
        let mut shift = vec![0; N];
        shift[100] = 1;
        let mut mixed = |x: &mut Ciphertext<L>| {
            x.sub_assign(k, &encrypted_b);
            x.multiply_plain(k, plaintext(&[3]).to_multiplicand(k, &mut memory));
            let mut y = zeroed::<Ciphertext<L>>();
            y.copy_from(&encrypted_a);
            y.multiply_plain(k, plaintext(&shift).to_multiplicand(k, &mut memory));
            x.add_assign(k, &y);
        };
        let shifted = product(&a, &shift);
        let want = (0..N).map(|i| (3 * (a[i] - b[i]) + shifted[i]).rem_euclid(T)).collect();
        test("mixed", &mut mixed, want);
    }
}

#[test]
fn evaluation_matches_the_schoolbook() {
    evaluation::<Q54>();
    evaluation::<Q81>();
}

fn slots<const L: usize>() {
    let k = kernels();
    let mut keys = Keys::<L>::new(8);
    let mut rng = rng(90);
    let mut memory = zeroed::<Poly<L, Coeff>>();
    let values = [0; 2].map(|_| -> Vec<i32> {
        let mut values: Vec<i32> = random_words(&mut rng).into_iter().map(centre).collect();
        values[..4].copy_from_slice(&[32_768, -32_768, 0, 32_768]);
        values
    });
    let [a, b] = [0, 1].map(|i| {
        let mut plain = zeroed::<Plaintext>();
        plain.encode_slots(k, &values[i]).unwrap();
        // Slot i is the value at the i-th root.
        let poly = words(&plain);
        assert!(values[i].iter().enumerate().all(|(j, &v)| slot(&poly, j) == v));
        plain
    });
    let mut ciphertext = keys.encrypt(&a, &mut rng);
    ciphertext.multiply_plain(k, b.to_multiplicand(k, &mut memory));
    let mut out = zeroed::<Plaintext>();
    keys.secret.decrypt(k, &ciphertext, &mut out, &mut keys.scratch);
    let mut slots = [0; N];
    out.decode_slots(k, &mut slots).unwrap();
    for i in 0..N {
        let want = i64::from(values[0][i]) * i64::from(values[1][i]);
        assert_eq!(slots[i], centre(want), "slot {i}");
    }
    assert!(words(&out).iter().all(|&x| x == 0), "working space holds zeros");
}

#[test]
fn slots_multiply_one_by_one() {
    slots::<Q54>();
    slots::<Q81>();
}

#[test]
fn encoding_limits() {
    let k = kernels();
    let mut plain = zeroed::<Plaintext>();
    let full = vec![-32_768; N];
    plain.encode_coeffs(&full).unwrap();
    let before = words(&plain);
    let mut decoded = [0; N];
    plain.decode_coeffs(&mut decoded).unwrap();
    assert_eq!(&decoded[..], &full[..]);
    for refused in [vec![0; N + 1], vec![32_769], vec![0, -32_769], vec![i32::MIN], vec![i32::MAX]]
    {
        let error = if refused.len() > N {
            symbolon_core::Error::Length
        } else {
            symbolon_core::Error::Range
        };
        assert_eq!(plain.encode_coeffs(&refused), Err(error));
        assert_eq!(plain.encode_slots(k, &refused), Err(error));
        assert_eq!(words(&plain), before, "unchanged after an error");
    }
    // Missing values are zero, in both encodings.
    plain.encode_coeffs(&[5]).unwrap();
    assert_eq!((plain.coeffs()[0], plain.coeffs()[1..].iter().max()), (5, Some(&0)));
    plain.encode_slots(k, &[5]).unwrap();
    let poly = words(&plain);
    assert!((0..N).all(|i| slot(&poly, i) == if i == 0 { 5 } else { 0 }));

    // Words are canonical, or refused where they stand, and then nothing changes.
    let mut poly = zeroed::<Poly<Q81, Coeff>>();
    let mut limbs = Box::new([[7; N]; Q81]);
    poly.set_limbs(&limbs).unwrap();
    for (i, &(q, _)) in LIMBS.iter().enumerate() {
        limbs[i][i + 3] = q as u32;
        assert_eq!(poly.set_limbs(&limbs), Err((i, i + 3)));
        assert!(poly.limbs().iter().flatten().all(|&x| x == 7));
        limbs[i][i + 3] = q as u32 - 1;
        poly.set_limbs(&limbs).unwrap();
        limbs[i][i + 3] = 7;
        poly.set_limbs(&limbs).unwrap();
    }
}

/// The same seed, the same keys; another seed, others. Seen through what they encrypt and decrypt.
#[test]
fn keys_are_a_function_of_the_seed() {
    let message = random_words(&mut rng(100));
    let [mut first, mut second, mut third] = [9, 9, 10].map(Keys::<Q54>::new);
    let ciphertext = first.encrypt(&plaintext(&message), &mut rng(101));
    let mut again = second.encrypt(&plaintext(&message), &mut rng(101));
    assert_eq!(second.decrypt(&ciphertext), message);
    again.sub_assign(kernels(), &ciphertext);
    for keys in [&mut first, &mut second, &mut third] {
        let zero = plaintext(&[0; N]);
        let noise = noise::measure(kernels(), &keys.secret, &again, &zero, &mut keys.scratch);
        assert_eq!(noise, 0, "equal ciphertexts: their difference is zero under any key");
    }
    assert_ne!(third.decrypt(&ciphertext), message);
    // Memory that was used before does not matter.
    let (mut secret, mut public) = (zeroed::<SecretKey<Q54>>(), zeroed::<PublicKey<Q54>>());
    for seed in [10, 9] {
        generate(kernels(), &[seed; 32], &mut secret, &mut public, &mut first.scratch);
    }
    second.secret = secret;
    assert_eq!(second.decrypt(&ciphertext), message);
}

/// A whole batch, down to the last bit of what the custodian sees: encoding, encryption, product,
/// re-randomisation, flood and fold.
fn folding<const L: usize>() {
    let k = kernels();
    let mut keys = Keys::<L>::new(11);
    let wrong = Keys::<L>::new(12);
    let model = Model::<L>::new(11);
    let mut memory = zeroed::<Poly<L, Coeff>>();
    let mut plain = zeroed::<Plaintext>();
    for layout in LAYOUTS {
        let (d, users) = (layout.dims(), layout.users());
        let mut vectors = rng(110 + layout.id());
        let [probes, templates] = [0; 2].map(|_| -> Vec<Vec<i16>> {
            (0..users).map(|_| random_vector(layout, &mut vectors)).collect()
        });
        let seed = [layout.id(); 32];

        // The model.
        let [c0, c1] = model.encrypt(&probe_poly(layout, &probes), &mut rng(111));
        let template: Vec<i64> =
            template_poly(layout, &templates).into_iter().map(|x| i64::from(centre(x))).collect();
        let template = Ring::small(&template);
        let mut blind = Stream::new("symbolon/blind-stream/v1", &seed);
        let u = Ring::small(&ternary(&mut blind));
        let e1 = Ring::small(&binomial(&mut blind, N));
        let e0 = binomial(&mut blind, 32);
        // Uniform in [-bound, bound], bound = floor(Q / 16 t), by rejection from 64-bit words.
        let bound = u64::try_from(modulus::<L>() / (16 * T)).unwrap();
        let mut small = vec![0; N];
        let mut keystream = iter::repeat_with(move || blind.chunk()).flatten();
        let mut word = || u64::from(keystream.next().unwrap());
        for (i, e0) in e0.iter().enumerate() {
            let flood = loop {
                let x = (word() + (word() << 32)) % (2 * bound + 1).next_power_of_two();
                if x <= 2 * bound {
                    break x as i64 - bound as i64;
                }
            };
            if i < users {
                small[d * i] = e0 + flood;
            }
        }
        let first = c0.mul(&template).add(&model.p0.mul(&u)).add(&Ring::small(&small));
        let second = c1.mul(&template).add(&model.p1.mul(&u)).add(&e1);

        // The library.
        layout.encode_probes(k, slices(&probes), &mut plain).unwrap();
        assert_eq!(words(&plain), probe_poly(layout, &probes));
        let ciphertext = keys.encrypt(&plain, &mut rng(111));
        let templates =
            layout.encode_templates(k, slices(&templates), &mut plain, &mut memory).unwrap();
        let mut blind = zeroed::<Blind<L>>();
        blind.prepare(k, &keys.public, layout, &seed, &mut keys.scratch);
        let folded = fold(k, &ciphertext, templates, &mut blind).unwrap();

        let right = first.add(&second.mul(&model.secret()));
        let got = noise::folded_values(k, &keys.secret, folded);
        assert_eq!(&got[..users], right.low_end(d), "{layout:?}");
        assert!(got[users..].iter().all(|&v| v == 0));
        // Under a key that has nothing to do with it, all of c1 counts.
        let mut s = [0; N];
        noise::secret_coeffs(k, &wrong.secret, &mut s);
        let s: Vec<i64> = s.iter().map(|&x| x.into()).collect();
        let other = first.add(&second.mul(&Ring::small(&s)));
        let got = noise::folded_values(k, &wrong.secret, folded);
        assert_eq!(&got[..users], other.low_end(d), "{layout:?}");
    }
}

#[test]
fn folds_match_the_model_q54() {
    folding::<Q54>();
}

#[test]
fn folds_match_the_model_q81() {
    folding::<Q81>();
}
