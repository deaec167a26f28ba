//! Sampling of the distributions that RLWE needs, from the caller's generator.
//!
//! The generator is asked for whole buffers, so a wide one (many blocks at once) is used as such.
//! Rejections depend only on bytes that are thrown away; accepted samples are made without branches.

use crate::attest::{Domain, hash};
use crate::ntt::N;
use crate::poly::{Coeff, Eval, Poly};
use crate::rns::Rns;
use chacha20::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng};
use zeroize::Zeroize;

/// The centred binomial's parameter: a sample is the difference of two sums of ETA bits, so its
/// variance is ETA / 2 = 10.5 (sigma 3.24, above the 3.2 of the Homomorphic Encryption Standard).
pub const ETA: u32 = 21;

/// Bytes drawn from the generator at a time.
const BUFFER: usize = 1024;

/// The keystream of a seed: ChaCha20 (64-bit counter, nonce zero) under SHA3-256 of domain and
/// seed. Part of the wire formats: seeded keys and ciphertexts are expanded with it.
pub(crate) fn stream(domain: Domain, seed: &[u8; 32]) -> ChaCha20Rng {
    let mut key = hash(domain, &[seed]);
    let rng = ChaCha20Rng::from_seed(key);
    key.zeroize();
    rng
}

/// Uniform modulo Q, for public values. Limb after limb, each word the low 27 bits of the next 4
/// little-endian bytes, thrown away (fewer than one in 600) where not below the limb's prime.
pub fn uniform<const L: usize, R: CryptoRng + ?Sized>(rng: &mut R, out: &mut Poly<L, Eval>) {
    let mut buffer = [0u8; BUFFER];
    let mut words = [].iter();
    for (limb, p) in out.limbs.iter_mut().zip(Rns::<L>::PRIMES) {
        for slot in limb {
            *slot = loop {
                let Some(word) = words.next() else {
                    rng.fill_bytes(&mut buffer);
                    words = buffer.as_chunks::<4>().0.iter();
                    continue;
                };
                let x = u32::from_le_bytes(*word) & ((1 << 27) - 1);
                if x < p.q() {
                    break x;
                }
            };
        }
    }
}

/// Uniform in {-1, 0, 1}: a byte below 255, mod 3.
pub fn ternary<const L: usize, R: CryptoRng + ?Sized>(rng: &mut R, out: &mut Poly<L, Coeff>) {
    let mut buffer = [0u8; BUFFER];
    let [first, ..] = out.limbs.as_mut_slice() else { return };
    let mut filled = 0;
    while filled < N {
        let want = (N - filled).min(BUFFER);
        let Some(bytes) = buffer.get_mut(..want) else { return };
        rng.fill_bytes(bytes);
        for &byte in bytes.iter() {
            // byte mod 3 by multiplication: 171 / 512 is close enough to 1/3 below 256.
            let b = u32::from(byte);
            let residue = b - 3 * ((b * 171) >> 9);
            // A rejected byte's sample is overwritten by the next.
            if let Some(slot) = first.get_mut(filled) {
                *slot = residue.wrapping_sub(1);
            }
            filled += usize::from(byte != 255);
        }
    }
    buffer.zeroize();
    spread(out);
}

/// Centred binomial with parameter [`ETA`], N coefficients.
pub fn noise<const L: usize, R: CryptoRng + ?Sized>(rng: &mut R, out: &mut Poly<L, Coeff>) {
    if let [first, ..] = out.limbs.as_mut_slice() {
        small_noise(rng, first);
    }
    spread(out);
}

/// Centred binomial samples, as signed words: three from every 16 bytes (126 of their bits).
pub(crate) fn small_noise<R: CryptoRng + ?Sized>(rng: &mut R, out: &mut [u32]) {
    const BITS: u64 = (1 << (2 * ETA)) - 1;
    let sample = |bits: u64| (bits & BITS).count_ones().wrapping_sub(ETA);
    let mut buffer = [0u8; BUFFER];
    for chunk in out.chunks_mut(BUFFER / 16 * 3) {
        let Some(bytes) = buffer.get_mut(..chunk.len().div_ceil(3) * 16) else { return };
        rng.fill_bytes(bytes);
        for (group, block) in chunk.chunks_mut(3).zip(bytes.as_chunks::<16>().0) {
            // popcount of 42 fair bits, less 21: the same as the difference of two sums of 21.
            let block = u128::from_le_bytes(*block);
            for (i, slot) in group.iter_mut().enumerate() {
                *slot = sample((block >> (42 * i)) as u64);
            }
        }
    }
    buffer.zeroize();
}

/// Uniform in \[-bound, bound\] by rejection from the next power of two; bound < 2^62.
pub(crate) fn uniform_signed<R: CryptoRng + ?Sized>(rng: &mut R, bound: i64, out: &mut [i64]) {
    let width = 2 * bound as u64 + 1;
    let mask = u64::MAX >> width.leading_zeros();
    for slot in out {
        *slot = loop {
            let x = rng.next_u64() & mask;
            if x < width {
                break x as i64 - bound;
            }
        };
    }
}

/// From signed words in limb 0 to canonical residues in every limb.
fn spread<const L: usize>(out: &mut Poly<L, Coeff>) {
    if let Some((first, rest)) = out.limbs.split_first_mut() {
        for (limb, p) in rest.iter_mut().zip(Rns::<L>::PRIMES.iter().skip(1)) {
            for (out, &x) in limb.iter_mut().zip(first.iter()) {
                *out = p.from_signed(x as i32);
            }
        }
        for x in first {
            *x = Rns::<L>::PRIMES[0].from_signed(*x as i32);
        }
    }
}
