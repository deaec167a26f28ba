//! BFV from its definitions, in big integers: rings without residues or transforms, samplers bit by
//! bit, rounding by exact division. Nothing is shared with the library but the format's constants.
#![allow(dead_code)] // no one test uses all of it

use super::common::{N, T};
use chacha20::{ChaCha12Rng, ChaCha20Rng};
use num_bigint::{BigInt, BigUint};
use rand_core::{Rng, SeedableRng};
use sha3::{Digest as _, Sha3_256};
use std::iter;

/// Words of a limb, whatever the degree; and as many coefficients are sampled at a time.
const LIMB: usize = N;

/// The primes of degree 4096: those of Q54 are the first two, of Q81 the first three, and the next
/// one is the special prime of key switching. The rest hold products.
const CHAIN_4096: [u64; 7] =
    [134_176_769, 134_111_233, 134_012_929, 33_538_049, 133_963_777, 133_881_857, 133_857_281];
/// The primes of degree 8192: four of Q108, five of Q135, the special one, and the rest.
const CHAIN_8192: [u64; 11] = [
    133_857_281,
    133_644_289,
    133_611_521,
    133_513_217,
    133_251_073,
    132_825_089,
    132_759_553,
    132_710_401,
    132_612_097,
    132_464_641,
    132_333_569,
];

pub fn big(x: impl Into<BigInt>) -> BigInt {
    x.into()
}

/// x mod m in \[0, m).
pub fn modulo(x: &BigInt, m: &BigInt) -> BigInt {
    ((x % m) + m) % m
}

/// x mod m of least absolute value, for odd m.
pub fn centred(x: &BigInt, m: &BigInt) -> BigInt {
    let x = modulo(x, m);
    if &x * 2 > *m { x - m } else { x }
}

/// floor((2 a + b) / 2b): a / b rounded, for a, b >= 0. There are no ties where b is odd.
pub fn round_div(a: &BigInt, b: &BigInt) -> BigInt {
    (2 * a + b) / (2 * b)
}

/// The degree of a basis of L limbs.
pub const fn degree<const L: usize>() -> usize {
    if L < 8 { LIMB } else { 2 * LIMB }
}

/// The primes of a basis of L limbs: at degree 8192 each has two.
pub fn primes<const L: usize>() -> &'static [u64] {
    if L < 8 { &CHAIN_4096[..L] } else { &CHAIN_8192[..L / 2] }
}

pub fn modulus<const L: usize>() -> BigInt {
    primes::<L>().iter().map(|&q| big(q)).product()
}

pub fn power(base: u64, exp: u64, q: u64) -> u64 {
    let (mut base, mut exp, mut acc) = (base, exp, 1);
    while exp > 0 {
        if exp % 2 == 1 {
            acc = acc * base % q;
        }
        base = base * base % q;
        exp /= 2;
    }
    acc
}

/// The 2n-th root of unity that the format takes: x^((q - 1) / 2n) for the least x that gives one.
pub fn root(n: usize, q: u64) -> u64 {
    let n = n as u64;
    (2..).map(|x| power(x, (q - 1) / (2 * n), q)).find(|&r| power(r, n, q) == q - 1).unwrap()
}

/// sum over j of x\[j\] w^(j k), for each k: the recursion of Cooley and Tukey.
fn dft(x: &[u64], w: u64, q: u64) -> Vec<u64> {
    if x.len() == 1 {
        return x.to_vec();
    }
    let part =
        |from| dft(&x.iter().skip(from).step_by(2).copied().collect::<Vec<_>>(), w * w % q, q);
    let (even, odd) = (part(0), part(1));
    let factors = iter::successors(Some(1), |f| Some(f * w % q));
    let odd: Vec<u64> = odd.iter().zip(factors).map(|(o, f)| o * f % q).collect();
    let sums = even.iter().zip(&odd).map(|(e, o)| (e + o) % q);
    let differences = even.iter().zip(&odd).map(|(e, o)| (e + q - o) % q);
    sums.chain(differences).collect()
}

/// Values at psi^(2 k + 1), for each k, of a polynomial mod q.
pub fn evaluate(coeffs: &[u64], q: u64) -> Vec<u64> {
    let psi = root(coeffs.len(), q);
    let turned = iter::successors(Some(1), |f| Some(f * psi % q));
    let turned: Vec<u64> = coeffs.iter().zip(turned).map(|(c, f)| c * f % q).collect();
    dft(&turned, psi * psi % q, q)
}

/// The polynomial with these values.
pub fn interpolate_odd(values: &[u64], q: u64) -> Vec<u64> {
    let n = values.len();
    let psi = power(root(n, q), 2 * n as u64 - 1, q);
    let n_inverse = power(n as u64, q - 2, q);
    let turned = iter::successors(Some(n_inverse), |f| Some(f * psi % q));
    dft(values, psi * psi % q, q).iter().zip(turned).map(|(c, f)| c * f % q).collect()
}

/// Which of the odd powers of psi stands at word i of a prime's half h.
fn exponent(n: usize, h: usize, i: usize) -> usize {
    // Each group of 256 is a square of 16 x 16, transposed.
    let natural = i / 256 * 256 + i % 16 * 16 + i % 256 / 16;
    (LIMB * h + natural).reverse_bits() >> (usize::BITS - n.trailing_zeros())
}

/// Which of the odd powers of the root mod t stands in slot i: bit-reversed order.
pub fn slot_exponent(n: usize, i: usize) -> usize {
    i.reverse_bits() >> (usize::BITS - n.trailing_zeros())
}

/// a b in Z\[X\]/(X^n + 1), by Kronecker's substitution: one product of two long integers, X a power
/// of two with room for every coefficient and its sign.
pub fn negacyclic(a: &[BigInt], b: &[BigInt]) -> Vec<BigInt> {
    let n = a.len();
    assert_eq!(n, b.len());
    let bits = |x: &[BigInt]| x.iter().map(BigInt::bits).max().unwrap();
    let width = (bits(a) + bits(b) + u64::from(n.ilog2()) + 2).div_ceil(8) as usize;
    let pack = |x: &[BigInt]| {
        let part = |negative: bool| {
            let mut bytes = vec![0; n * width];
            for (out, c) in bytes.chunks_mut(width).zip(x) {
                if (c < &BigInt::ZERO) == negative {
                    let digits = c.magnitude().to_bytes_le();
                    out[..digits.len()].copy_from_slice(&digits);
                }
            }
            big(BigUint::from_bytes_le(&bytes))
        };
        part(false) - part(true)
    };
    // A half in every digit takes the borrows away.
    let mut halves = vec![0; 2 * n * width];
    halves.chunks_mut(width).for_each(|digit| digit[width - 1] = 0x80);
    let sum = pack(a) * pack(b) + big(BigUint::from_bytes_le(&halves));
    let mut bytes = sum.to_biguint().unwrap().to_bytes_le();
    bytes.resize(2 * n * width, 0);
    let half = big(1) << (8 * width - 1);
    let wide: Vec<BigInt> =
        bytes.chunks(width).map(|c| big(BigUint::from_bytes_le(c)) - &half).collect();
    (0..n).map(|i| &wide[i] - &wide[i + n]).collect()
}

/// An element of Z_Q\[X\]/(X^N + 1): N coefficients in \[0, Q).
#[derive(Clone, PartialEq, Debug)]
pub struct Ring<const L: usize>(pub Vec<BigInt>);

impl<const L: usize> Ring<L> {
    pub fn new(coeffs: impl IntoIterator<Item = BigInt>) -> Self {
        let q = modulus::<L>();
        let coeffs: Vec<_> = coeffs.into_iter().map(|c| modulo(&c, &q)).collect();
        assert_eq!(coeffs.len(), degree::<L>());
        Self(coeffs)
    }

    pub fn zero() -> Self {
        Self(vec![BigInt::ZERO; degree::<L>()])
    }

    pub fn small(coeffs: &[i64]) -> Self {
        Self::new(coeffs.iter().map(|&c| big(c)))
    }

    /// The element with these residues, one list a prime, by the Chinese remainder theorem.
    pub fn from_residues<'a>(residues: impl IntoIterator<Item = &'a [u64]>) -> Self {
        let q = modulus::<L>();
        let mut sums = vec![BigInt::ZERO; degree::<L>()];
        let mut residues = residues.into_iter();
        for (&p, residues) in primes::<L>().iter().zip(residues.by_ref()) {
            let others = &q / p;
            let inverse = others.modpow(&big(p - 2), &big(p));
            let basis = others * inverse;
            sums.iter_mut().zip(residues).for_each(|(sum, &r)| *sum += &basis * r);
        }
        assert!(residues.next().is_none());
        Self::new(sums)
    }

    /// Its coefficients mod each prime.
    pub fn residues(&self) -> Vec<Vec<u64>> {
        let residue = |c: &BigInt, p: u64| u64::try_from(c % p).unwrap();
        primes::<L>().iter().map(|&p| self.0.iter().map(|c| residue(c, p)).collect()).collect()
    }

    /// The element whose values, in the order of a transform, are these words: a limb each.
    pub fn from_words(words: &[Vec<u32>]) -> Self {
        assert_eq!(words.len(), L);
        let (n, count) = (degree::<L>(), primes::<L>().len());
        let residues: Vec<Vec<u64>> = primes::<L>()
            .iter()
            .enumerate()
            .map(|(j, &p)| {
                let mut values = vec![0; n];
                for (h, limb) in words.iter().skip(j).step_by(count).enumerate() {
                    for (i, &word) in limb.iter().enumerate() {
                        values[exponent(n, h, i)] = word.into();
                    }
                }
                interpolate_odd(&values, p)
            })
            .collect();
        Self::from_residues(residues.iter().map(Vec::as_slice))
    }

    /// Its values as the words of a transform.
    pub fn words(&self) -> Vec<Vec<u32>> {
        let (n, count) = (degree::<L>(), primes::<L>().len());
        let mut words = vec![vec![0; LIMB]; L];
        for (j, (&p, residues)) in primes::<L>().iter().zip(self.residues()).enumerate() {
            let values = evaluate(&residues, p);
            for (h, limb) in words.iter_mut().skip(j).step_by(count).enumerate() {
                for (i, word) in limb.iter_mut().enumerate() {
                    *word = values[exponent(n, h, i)] as u32;
                }
            }
        }
        words
    }

    pub fn add(&self, other: &Self) -> Self {
        Self::new(self.0.iter().zip(&other.0).map(|(a, b)| a + b))
    }

    pub fn sub(&self, other: &Self) -> Self {
        Self::new(self.0.iter().zip(&other.0).map(|(a, b)| a - b))
    }

    pub fn neg(&self) -> Self {
        Self::new(self.0.iter().map(|a| -a))
    }

    /// The coefficients of least absolute value.
    pub fn centred(&self) -> Vec<BigInt> {
        let q = modulus::<L>();
        self.0.iter().map(|c| centred(c, &q)).collect()
    }

    pub fn mul(&self, other: &Self) -> Self {
        Self::new(negacyclic(&self.centred(), &other.centred()))
    }

    pub fn scale(&self, factor: &BigInt) -> Self {
        Self::new(self.0.iter().map(|c| c * factor))
    }

    /// The automorphism X -> X^g.
    pub fn map(&self, g: usize) -> Self {
        let n = self.0.len();
        let mut out = vec![BigInt::ZERO; n];
        for (i, c) in self.0.iter().enumerate() {
            let at = i * g % (2 * n);
            out[at % n] = if at < n { c.clone() } else { -c };
        }
        Self::new(out)
    }

    /// Divided by the last prime and rounded: the remainder is the one of least absolute value.
    pub fn drop_last<const M: usize>(&self) -> Ring<M> {
        let p = &modulus::<L>() / &modulus::<M>();
        Ring::new(self.0.iter().map(|c| (c - centred(c, &p)) / &p))
    }

    /// The largest absolute value.
    pub fn size(&self) -> BigInt {
        self.centred().into_iter().map(|c| big(c.magnitude().clone())).max().unwrap()
    }

    pub fn square_norm(&self) -> f64 {
        self.centred().iter().map(|c| i64::try_from(c).unwrap().pow(2) as f64).sum()
    }

    /// Coefficients 0, d, 2d, .. of t times this element, centred: what a fold lets through.
    pub fn low_end(&self, d: usize) -> Vec<i128> {
        let q = modulus::<L>();
        let low = |c: &BigInt| i128::try_from(centred(&(c * T), &q)).unwrap();
        self.0.iter().step_by(d).map(low).collect()
    }
}

/// round(Q m / t).
pub fn scaled<const L: usize>(message: &[i64]) -> Ring<L> {
    let q = modulus::<L>();
    Ring::new(message.iter().map(|&m| round_div(&(&q * m), &big(T))))
}

/// Decryption is exact where t w / Q is at least 2^-(this + 1) away from a tie.
pub fn reach<const L: usize>() -> u32 {
    if primes::<L>().len() <= 4 { 13 } else { 12 }
}

/// round(t w / Q) mod t, and for each coefficient whether t w / Q is so far away from a tie that
/// the library promises the same.
pub fn rounded<const L: usize>(phase: &Ring<L>) -> (Vec<i64>, Vec<bool>) {
    let q = modulus::<L>();
    let round = |w: &BigInt| {
        let tw = w * T;
        let message = i64::try_from(round_div(&tw, &q) % T).unwrap();
        let off: BigInt = (2 * tw + &q) % (2 * &q);
        let near = off.clone().min(2 * &q - off);
        (message, near << reach::<L>() >= q)
    };
    phase.0.iter().map(round).unzip()
}

/// A keystream, a chunk of 256 words at a time: sixteen blocks of ChaCha12, word i of block b at
/// 16 i + b.
pub struct Stream(ChaCha12Rng);

impl Stream {
    /// Under the hash of a domain and a seed.
    pub fn new(domain: &str, seed: &[u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(hash(domain, &[seed])))
    }

    /// Under 32 bytes as they are.
    pub fn under(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// Under 32 bytes of a generator.
    pub fn draw(rng: &mut ChaCha20Rng) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        Self(ChaCha12Rng::from_seed(seed))
    }

    pub fn chunk(&mut self) -> Vec<u32> {
        let words: Vec<u32> = (0..256).map(|_| self.0.next_u32()).collect();
        (0..256).map(|i| words[i % 16 * 16 + i / 16]).collect()
    }
}

/// SHA3-256 of a domain and of fields, each with its length.
pub fn hash(domain: &str, fields: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha3_256::new();
    hasher.update([domain.len() as u8]);
    hasher.update(domain);
    for field in fields {
        hasher.update((field.len() as u64).to_le_bytes());
        hasher.update(field);
    }
    hasher.finalize().into()
}

/// N small coefficients, drawn a limb at a time: every draw begins with a fresh chunk.
fn by_limbs(n: usize, mut draw: impl FnMut(usize) -> Vec<i64>) -> Vec<i64> {
    (0..n / LIMB).flat_map(|_| draw(LIMB)).collect()
}

/// The coefficients of a ternary polynomial.
pub fn ternary<const L: usize>(stream: &mut Stream) -> Ring<L> {
    Ring::small(&by_limbs(degree::<L>(), |count| trits(stream, count)))
}

/// The coefficients of a noise polynomial.
pub fn noise<const L: usize>(stream: &mut Stream) -> Ring<L> {
    Ring::small(&by_limbs(degree::<L>(), |count| binomial(stream, count)))
}

/// Bytes, mod 3 less 1, 255 left out: of each row of 16 words first the lowest bytes.
fn trits(stream: &mut Stream, count: usize) -> Vec<i64> {
    let mut out = vec![];
    while out.len() < count {
        for row in stream.chunk().chunks(16) {
            for i in 0..4 {
                let bytes = row.iter().map(|word| word.to_le_bytes()[i]);
                out.extend(bytes.filter(|&b| b < 255).map(|b| i64::from(b % 3) - 1));
            }
        }
    }
    out.truncate(count);
    out
}

/// From every four rows three times 16 samples: ones in a word and in ten bits of the fourth row's,
/// less 21.
pub fn binomial(stream: &mut Stream, count: usize) -> Vec<i64> {
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

/// Words uniform mod the primes of a basis, limb by limb, as values in the order of a transform.
pub fn uniform_words<const L: usize>(stream: &mut Stream) -> Vec<Vec<u32>> {
    let limb = |l: usize| {
        let q = primes::<L>()[l % primes::<L>().len()] as u32;
        let mut values = vec![];
        while values.len() < LIMB {
            let words = stream.chunk().into_iter().map(|word| word % q.next_power_of_two());
            values.extend(words.filter(|&x| x < q));
        }
        values.truncate(LIMB);
        values
    };
    (0..L).map(limb).collect()
}

pub fn uniform<const L: usize>(stream: &mut Stream) -> Ring<L> {
    Ring::from_words(&uniform_words::<L>(stream))
}

/// The secret key of a seed.
pub fn secret<const L: usize>(seed: &[u8; 32]) -> Ring<L> {
    let s = ternary::<L>(&mut Stream::new("symbolon/bfv-secret/v1", seed));
    // Six sigma: the seeds of tests pass at the first try.
    let n = degree::<L>() as f64;
    assert!(s.square_norm() <= 2.0 * n / 3.0 + 6.0 * (2.0 * n / 9.0).sqrt());
    s
}

/// A key pair, derived from a seed by the description of the derivation.
pub struct Model<const L: usize> {
    pub seed: [u8; 32],
    pub s: Ring<L>,
    pub p0: Ring<L>,
    pub p1: Ring<L>,
}

impl<const L: usize> Model<L> {
    pub fn new(seed: u8) -> Self {
        let (seed, n) = ([seed; 32], degree::<L>() as f64);
        let s = secret(&seed);
        let e = noise(&mut Stream::new("symbolon/bfv-key-error/v1", &seed));
        let public_seed = hash("symbolon/bfv-public-seed/v1", &[&seed]);
        let a = uniform(&mut Stream::new("symbolon/bfv-public/v1", &public_seed));
        assert!(e.square_norm() <= 10.5 * (n + 6.0 * (2.0 * n).sqrt()));
        let p0 = a.mul(&s).add(&e).neg();
        Self { seed, s, p0, p1: a }
    }

    /// (p0 u + e0 + round(Q m / t), p1 u + e1), and nothing else drawn.
    pub fn encrypt(&self, message: &[i64], rng: &mut ChaCha20Rng) -> [Ring<L>; 2] {
        let rng = &mut Stream::draw(rng);
        let u = ternary(rng);
        let c0 = self.p0.mul(&u).add(&noise(rng)).add(&scaled(message));
        let c1 = self.p1.mul(&u).add(&noise(rng));
        [c0, c1]
    }

    /// c0 + c1 s.
    pub fn phase(&self, ciphertext: &[Ring<L>; 2]) -> Ring<L> {
        ciphertext[0].add(&ciphertext[1].mul(&self.s))
    }
}

/// Words of 27 bits to bytes, least significant bit first.
pub fn pack(words: &[Vec<u32>]) -> Vec<u8> {
    let bits = words.iter().flatten().flat_map(|word| (0..27).map(move |bit| word >> bit & 1));
    let bits: Vec<u32> = bits.collect();
    bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |acc, bit| 2 * acc + *bit as u8)).collect()
}

/// And back, as many limbs as there are.
pub fn unpack(bytes: &[u8]) -> Vec<Vec<u32>> {
    let bits: Vec<u32> =
        bytes.iter().flat_map(|byte| (0..8).map(move |bit| u32::from(byte >> bit & 1))).collect();
    let word = |bits: &[u32]| bits.iter().rev().fold(0, |acc, bit| 2 * acc + bit);
    bits.chunks(27 * LIMB).map(|limb| limb.chunks(27).map(word).collect()).collect()
}

/// A key of key switching over Q P, E limbs: (b_i, a_i) for each prime q_i of Q, with
/// b_i + a_i s' = -e_i + P (1 mod q_i, 0 mod the others and P) payload.
pub struct SwitchKey<const E: usize> {
    rows: Vec<[Ring<E>; 2]>,
    /// What the public halves are drawn from.
    pub seed: [u8; 32],
}

impl<const E: usize> SwitchKey<E> {
    /// The relinearisation key of a secret key's seed, or (X -> X^g) the Galois key of g.
    pub fn derive(seed: &[u8; 32], g: Option<usize>) -> Self {
        let n = degree::<E>();
        let s = secret::<E>(seed);
        let (target, payload) = match g {
            None => (s.clone(), s.mul(&s)),
            // g^(N - 1) g = 1 mod 2N: the odd residues are a group of N elements.
            Some(g) => (s.map(power(g as u64, n as u64 - 1, 2 * n as u64) as usize), s),
        };
        let id = (g.unwrap_or(0) as u32).to_le_bytes();
        let public = hash("symbolon/bfv-switch-seed/v1", &[seed, &id]);
        let mut uniform = Stream::new("symbolon/bfv-switch/v1", &public);
        let mut errors = Stream::under(hash("symbolon/bfv-switch-error/v1", &[seed, &id]));
        let (chain, special) = chain_of_key::<E>();
        let rows = chain.iter().map(|&q| {
            let a = from_held(&uniform_words::<E>(&mut uniform));
            // P g, with g = 1 mod q, 0 mod the other primes.
            let others = modulus::<E>() / q;
            let factor = &others * others.modpow(&big(q - 2), &big(q)) * special;
            let b = payload.scale(&factor).sub(&a.mul(&target)).sub(&noise(&mut errors));
            [b, a]
        });
        Self { rows: rows.collect(), seed: public }
    }

    /// The words of the halves b, as they are held.
    pub fn words(&self) -> Vec<Vec<u32>> {
        self.rows.iter().flat_map(|[b, _]| to_held(b)).collect()
    }

    /// Switches a polynomial: its digits are its residues mod each prime of Q, of least absolute
    /// value, and what comes is divided by P and rounded.
    pub fn switch<const L: usize>(&self, c: &Ring<L>) -> [Ring<L>; 2] {
        assert_eq!(primes::<L>().len(), self.rows.len());
        let digits: Vec<Vec<BigInt>> = primes::<L>()
            .iter()
            .map(|&q| c.0.iter().map(|c| centred(c, &big(q))).collect())
            .collect();
        [0, 1].map(|half| {
            let mut sums = vec![BigInt::ZERO; degree::<L>()];
            for (digit, row) in digits.iter().zip(&self.rows) {
                let product = negacyclic(digit, &row[half].0);
                sums.iter_mut().zip(product).for_each(|(sum, x)| *sum += x);
            }
            Ring::<E>::new(sums).drop_last()
        })
    }
}

/// The primes of Q, and P.
fn chain_of_key<const E: usize>() -> (&'static [u64], u64) {
    let (&special, chain) = primes::<E>().split_last().unwrap();
    (chain, special)
}

/// What a key's words stand for: they are held times 2^32, and those of Q divided by P.
fn from_held<const E: usize>(words: &[Vec<u32>]) -> Ring<E> {
    rescale(Ring::from_words(words), |q, p| {
        let inverse = power((1 << 32) % q, q - 2, q);
        if q == p { inverse } else { inverse * (p % q) % q }
    })
}

fn to_held<const E: usize>(ring: &Ring<E>) -> Vec<Vec<u32>> {
    let held = rescale(ring.clone(), |q, p| {
        let factor = (1 << 32) % q;
        if q == p { factor } else { factor * power(p % q, q - 2, q) % q }
    });
    held.words()
}

/// Multiplies the residues mod each prime by a factor of its own, of (that prime, P).
fn rescale<const E: usize>(ring: Ring<E>, factor: impl Fn(u64, u64) -> u64) -> Ring<E> {
    let (_, p) = chain_of_key::<E>();
    let mut residues = ring.residues();
    for (residues, &q) in residues.iter_mut().zip(primes::<E>()) {
        let factor = factor(q, p);
        residues.iter_mut().for_each(|r| *r = *r * factor % q);
    }
    Ring::from_residues(residues.iter().map(Vec::as_slice))
}

/// A ciphertext turned by X -> X^g and back under its own key.
pub fn rotated<const L: usize, const E: usize>(
    [c0, c1]: &[Ring<L>; 2],
    key: &SwitchKey<E>,
    g: usize,
) -> [Ring<L>; 2] {
    let [b, a] = key.switch(c1);
    [c0.add(&b).map(g), a.map(g)]
}

/// The tensor of two ciphertexts over the integers, before it is scaled.
pub fn tensor([x0, x1]: &[Vec<BigInt>; 2], [y0, y1]: &[Vec<BigInt>; 2]) -> [Vec<BigInt>; 3] {
    let (a, b) = (negacyclic(x0, y1), negacyclic(x1, y0));
    let middle = a.into_iter().zip(b).map(|(a, b)| a + b).collect();
    [negacyclic(x0, y0), middle, negacyclic(x1, y1)]
}
