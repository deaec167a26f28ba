//! Encryption, with the public key or (seeded, half the size) with the secret one.

use super::encode::Plaintext;
use super::keys::{PublicKey, SecretKey};
use crate::attest::Domain;
use crate::kernel::Kernels;
use crate::place::retag;
use crate::poly::{Coeff, Eval, Poly};
use crate::sample::{self, Stream};
use bytemuck::Zeroable;
use rand_core::CryptoRng;
use zeroize::Zeroize;

const SEEDED: Domain = Domain::new("symbolon/bfv-seeded/v1");

/// A ciphertext (c0, c1): c0 + c1 s = round(Q m / t) + noise mod Q. In evaluation form.
#[derive(Zeroable)]
#[repr(C)]
pub struct Ciphertext<const L: usize> {
    pub(crate) c0: Poly<L, Eval>,
    pub(crate) c1: Poly<L, Eval>,
}

impl<const L: usize> Ciphertext<L> {
    /// The encryption of zero without noise, for statics.
    pub const ZERO: Self = Self { c0: Poly::ZERO, c1: Poly::ZERO };

    /// Copies another ciphertext.
    pub fn copy_from(&mut self, other: &Self) {
        self.c0.copy_from(&other.c0);
        self.c1.copy_from(&other.c1);
    }
}

/// A ciphertext made with the secret key, whose c1 is the expansion of 32 bytes.
#[derive(Zeroable)]
#[repr(C)]
pub struct SeededCiphertext<const L: usize> {
    pub(crate) c0: Poly<L, Eval>,
    pub(crate) seed: [u8; 32],
}

/// Public-key encryption: (p0 u + e0 + round(Q m / t), p1 u + e1), u ternary, e0 and e1 binomial.
///
/// `scratch` holds u on the way and zeros afterwards. Noise: [`super::params`], bounds in
/// `bfv::noise`.
pub fn encrypt<const L: usize, const PARTS: usize, R: CryptoRng + ?Sized>(
    k: &Kernels,
    key: &PublicKey<L>,
    message: &Plaintext<PARTS>,
    rng: &mut R,
    out: &mut Ciphertext<L>,
    scratch: &mut Poly<L, Coeff>,
) {
    let add_message = |c0: &mut _| message.add_scaled(k, c0);
    encrypt_under(k, key, add_message, &mut Stream::from_rng(rng), out, scratch);
}

/// The same from a stream, of whatever `add_message` adds to zero.
pub(super) fn encrypt_under<const L: usize>(
    k: &Kernels,
    key: &PublicKey<L>,
    add_message: impl FnOnce(&mut Poly<L, Coeff>),
    stream: &mut Stream,
    out: &mut Ciphertext<L>,
    scratch: &mut Poly<L, Coeff>,
) {
    sample::ternary(k, stream, scratch);
    let u = scratch.forward(k);

    let c0 = retag::<L, Eval, Coeff>(&mut out.c0);
    sample::noise(k, stream, c0);
    add_message(c0);
    c0.forward_mul_acc(k, u, &key.p0);

    let c1 = retag::<L, Eval, Coeff>(&mut out.c1);
    sample::noise(k, stream, c1);
    c1.forward_mul_acc(k, u, &key.p1);
    scratch.zeroize();
}

impl<const L: usize> SecretKey<L> {
    /// Secret-key encryption: c1 uniform from a fresh seed, c0 = -(c1 s) + e + round(Q m / t). Less
    /// noise than [`encrypt`] and half the bytes.
    pub fn encrypt<const PARTS: usize, R: CryptoRng + ?Sized>(
        &self,
        k: &Kernels,
        message: &Plaintext<PARTS>,
        rng: &mut R,
        out: &mut SeededCiphertext<L>,
        scratch: &mut Poly<L, Coeff>,
    ) {
        rng.fill_bytes(&mut out.seed);
        let a = retag::<L, Coeff, Eval>(scratch);
        sample::uniform(k, &mut Stream::derive(SEEDED, &out.seed), a);
        a.negate(k);

        let c0 = retag::<L, Eval, Coeff>(&mut out.c0);
        sample::noise(k, &mut Stream::from_rng(rng), c0);
        message.add_scaled(k, c0);
        c0.forward_mul_acc(k, a, &self.s);
    }
}

impl<const L: usize> SeededCiphertext<L> {
    /// Zero, for statics.
    pub const ZERO: Self = Self { c0: Poly::ZERO, seed: [0; 32] };

    /// The full ciphertext.
    pub fn expand(&self, k: &Kernels, out: &mut Ciphertext<L>) {
        out.c0.copy_from(&self.c0);
        sample::uniform(k, &mut Stream::derive(SEEDED, &self.seed), &mut out.c1);
    }
}
