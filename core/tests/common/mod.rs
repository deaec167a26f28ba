//! What the tests of BFV and matching share: keys on the heap, and slow arithmetic mod t.
#![allow(dead_code)] // no one test uses all of it

mod available;

use available::available;
use bytemuck::Zeroable;
use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::env;
use std::sync::OnceLock;
use symbolon_core::bfv::{Ciphertext, Plaintext, PublicKey, SecretKey, encrypt, generate};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::Layout;
use symbolon_core::poly::{Coeff, Poly};

pub const N: usize = 4096;
pub const T: i64 = 65_537;
pub const LAYOUTS: [Layout; 3] = [Layout::D128, Layout::D256, Layout::D512];

/// 2N-th root of unity mod t: fixes the order of users and slots.
const PLAIN_ROOT: i64 = 6_561;

/// The fastest of this processor, or those that `SYMBOLON_ISA` names.
pub fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = env::var("SYMBOLON_ISA").unwrap_or_default();
        let mut all = available();
        all.retain(|k| name.is_empty() || k.isa() == name);
        all.pop().unwrap_or_else(|| panic!("SYMBOLON_ISA={name}: not here"))
    })
}

/// All of this processor's.
pub fn every() -> impl Iterator<Item = &'static Kernels> {
    available().into_iter()
}

/// On the heap from the start: the largest keys are larger than a thread's stack.
pub fn zeroed<T: Zeroable>() -> Box<T> {
    bytemuck::zeroed_box()
}

pub fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

/// A key pair and working space; P is the ring's parts.
pub struct Keys<const L: usize, const P: usize = 1> {
    pub secret: Box<SecretKey<L>>,
    pub public: Box<PublicKey<L>>,
    pub scratch: Box<Poly<L, Coeff>>,
}

impl<const L: usize, const P: usize> Keys<L, P> {
    pub fn new(seed: u8) -> Self {
        let mut keys = Self { secret: zeroed(), public: zeroed(), scratch: zeroed() };
        let (secret, public) = (&mut keys.secret, &mut keys.public);
        generate(kernels(), &[seed; 32], secret, public, &mut keys.scratch);
        keys
    }

    pub fn encrypt(&mut self, message: &Plaintext<P>, rng: &mut ChaCha20Rng) -> Box<Ciphertext<L>> {
        let mut out = zeroed();
        encrypt(kernels(), &self.public, message, rng, &mut out, &mut self.scratch);
        assert!(self.scratch.limbs().iter().flatten().all(|&x| x == 0), "scratch holds zeros");
        out
    }

    pub fn decrypt(&mut self, ciphertext: &Ciphertext<L>) -> Vec<i64> {
        let mut out = zeroed::<Plaintext<P>>();
        self.secret.decrypt(kernels(), ciphertext, &mut out, &mut self.scratch);
        words(&out)
    }
}

/// A plaintext's coefficients, canonical.
pub fn words<const P: usize>(plain: &Plaintext<P>) -> Vec<i64> {
    plain.coeffs().iter().map(|&c| i64::from(c)).collect()
}

/// The plaintext with these coefficients mod t.
pub fn plaintext(coeffs: &[i64]) -> Box<Plaintext> {
    plaintext_of(coeffs)
}

/// The same for a ring of P parts.
pub fn plaintext_of<const P: usize>(coeffs: &[i64]) -> Box<Plaintext<P>> {
    let mut out = zeroed::<Plaintext<P>>();
    let centred: Vec<i32> = coeffs.iter().map(|&c| centre(c)).collect();
    out.encode_coeffs(&centred).unwrap();
    out
}

/// N words uniform mod t.
pub fn random_words(rng: &mut ChaCha20Rng) -> Vec<i64> {
    (0..N).map(|_| i64::from(rng.next_u32()) % T).collect()
}

/// x mod t in \[-32768, 32768\].
pub fn centre(x: i64) -> i32 {
    let x = x.rem_euclid(T);
    (if x > T / 2 { x - T } else { x }) as i32
}

/// base^exp mod t, the exponent of either sign.
pub fn pow(base: i64, exp: i64) -> i64 {
    let (mut base, mut exp, mut acc) = (base, exp.rem_euclid(T - 1), 1);
    while exp > 0 {
        if exp & 1 == 1 {
            acc = acc * base % T;
        }
        base = base * base % T;
        exp >>= 1;
    }
    acc
}

/// a b in Z\[X\]/(X^n + 1), reduced mod t.
pub fn product(a: &[i64], b: &[i64]) -> Vec<i64> {
    let n = a.len();
    let mut out = vec![0i64; n];
    for (i, &a) in a.iter().enumerate() {
        // Up to 8192 products of at most 2^32 stay below 2^46.
        let (low, high) = b.split_at(n - i);
        out[i..].iter_mut().zip(low).for_each(|(out, b)| *out += a * b);
        out.iter_mut().zip(high).for_each(|(out, b)| *out -= a * b);
    }
    out.into_iter().map(|x| x.rem_euclid(T)).collect()
}

/// c_k, the value of X^(N / blocks) in block k of `blocks`.
pub fn block_root(blocks: usize, k: usize) -> i64 {
    let bits = blocks.trailing_zeros();
    let reversed = (k as u32).reverse_bits().checked_shr(32 - bits).unwrap_or(0);
    pow(PLAIN_ROOT, (N / blocks) as i64 * (2 * i64::from(reversed) + 1))
}

/// The remainder of a polynomial modulo X^d - c_k mod t, d = N / blocks.
pub fn remainder(poly: &[i64], blocks: usize, k: usize) -> Vec<i64> {
    let d = N / blocks;
    let c = block_root(blocks, k);
    let horner = |j| poly.iter().skip(j).step_by(d).rev().fold(0, |acc, &x| (acc * c + x) % T);
    (0..d).map(horner).map(|x: i64| x.rem_euclid(T)).collect()
}

/// The value in slot i: X - c_i leaves one coefficient.
pub fn slot(poly: &[i64], i: usize) -> i32 {
    centre(remainder(poly, N, i)[0])
}

/// The polynomial with these remainders: the inverse Fourier sum over the blocks.
pub fn interpolate(blocks: &[Vec<i64>]) -> Vec<i64> {
    let count = blocks.len();
    let d = N / count;
    let mut out = vec![0; N];
    for (k, block) in blocks.iter().enumerate() {
        let inverse = pow(block_root(count, k), -1);
        let mut factor = pow(count as i64, -1);
        for out in out.chunks_mut(d) {
            out.iter_mut().zip(block).for_each(|(out, b)| *out = (*out + b * factor) % T);
            factor = factor * inverse % T;
        }
    }
    out
}

/// A probe from the definition: sum p_i X^i in the user's block.
pub fn probe_poly(layout: Layout, probes: &[Vec<i16>]) -> Vec<i64> {
    let mut blocks = vec![vec![0; layout.dims()]; layout.users()];
    for (block, probe) in blocks.iter_mut().zip(probes) {
        block.iter_mut().zip(probe).for_each(|(b, &p)| *b = i64::from(p).rem_euclid(T));
    }
    interpolate(&blocks)
}

/// A template from the definition: sum t_i X^-i, where X^-i = X^(d - i) / c_k for i > 0.
pub fn template_poly(layout: Layout, templates: &[Vec<i16>]) -> Vec<i64> {
    let (d, users) = (layout.dims(), layout.users());
    let mut blocks = vec![vec![0; d]; users];
    for (k, (block, template)) in blocks.iter_mut().zip(templates).enumerate() {
        let inverse = pow(block_root(users, k), -1);
        for (i, &t) in template.iter().enumerate() {
            let (at, factor) = if i == 0 { (0, 1) } else { (d - i, inverse) };
            block[at] = (i64::from(t) * factor).rem_euclid(T);
        }
    }
    interpolate(&blocks)
}

/// The score from the definition; 0 where either vector is missing.
pub fn inner_product(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
}

/// A random vector of a layout's length whose sum of squares is at most 32767, and close to it.
pub fn random_vector(layout: Layout, rng: &mut ChaCha20Rng) -> Vec<i16> {
    let raw: Vec<f64> =
        (0..layout.dims()).map(|_| f64::from(rng.next_u32()) / 2f64.powi(31) - 1.0).collect();
    let length = raw.iter().map(|x| x * x).sum::<f64>().sqrt();
    raw.iter().map(|x| (x / length * f64::from(layout.scale())).round() as i16).collect()
}

/// References to vectors, as the encoders take them.
pub fn slices(vectors: &[Vec<i16>]) -> impl Iterator<Item = &[i16]> {
    vectors.iter().map(Vec::as_slice)
}
