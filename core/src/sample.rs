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
///
/// The generator is asked for min(what is missing, 1024) bytes at a time. That is part of the seeded
/// derivations, as a ChaCha20 generator drops what is left of a word after each call.
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

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::bfv::{Q54, Q81};
    use core::convert::Infallible;
    use rand_core::{Rng, TryCryptoRng, TryRng};
    use std::boxed::Box;
    use std::collections::BTreeSet;
    use std::vec::Vec;
    use std::{format, vec};

    fn rng(seed: u8) -> ChaCha20Rng {
        ChaCha20Rng::from_seed([seed; 32])
    }

    /// Chosen bytes instead of random ones.
    struct Bytes<I>(I);

    impl<I: Iterator<Item = u8>> TryRng for Bytes<I> {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            let mut bytes = [0; 4];
            self.try_fill_bytes(&mut bytes)?;
            Ok(u32::from_le_bytes(bytes))
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            let mut bytes = [0; 8];
            self.try_fill_bytes(&mut bytes)?;
            Ok(u64::from_le_bytes(bytes))
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            out.fill_with(|| self.0.next().unwrap());
            Ok(())
        }
    }

    impl<I: Iterator<Item = u8>> TryCryptoRng for Bytes<I> {}

    /// Bytes `from`, `from` + 1, .. 255, 0, ..
    fn counting(from: usize) -> Bytes<impl Iterator<Item = u8>> {
        Bytes((0..=255).cycle().skip(from))
    }

    /// `polys` polynomials' coefficients as integers; every limb must hold the same ones.
    fn collect<const L: usize>(
        polys: usize,
        mut draw: impl FnMut(&mut Poly<L, Coeff>),
    ) -> Vec<i32> {
        let mut poly = Box::new(Poly::ZERO);
        let mut all = Vec::with_capacity(polys * N);
        for _ in 0..polys {
            draw(&mut poly);
            for i in 0..N {
                let x = Rns::<L>::PRIMES[0].centre(poly.limbs[0][i]);
                for (limb, p) in poly.limbs.iter().zip(Rns::<L>::PRIMES) {
                    assert!(limb[i] < p.q() && p.centre(limb[i]) == x, "limbs differ");
                }
                all.push(x);
            }
        }
        all
    }

    /// Pearson's statistic of counts against probabilities, and a limit that a correct sampler
    /// exceeds for fewer than one seed in 10^6: six standard deviations above the mean and 14 more
    /// for the skew.
    fn chi_square(counts: &[u64], probabilities: &[f64]) -> (f64, f64) {
        assert_eq!(counts.len(), probabilities.len());
        let total = counts.iter().sum::<u64>() as f64;
        let statistic = counts.iter().zip(probabilities).map(|(&count, &p)| {
            assert!(total * p >= 10.0, "too few samples for a cell of {p}");
            (count as f64 - total * p).powi(2) / (total * p)
        });
        let freedom = (counts.len() - 1) as f64;
        (statistic.sum(), freedom + 6.0 * libm::sqrt(2.0 * freedom) + 14.0)
    }

    #[track_caller]
    fn assert_fits(counts: &[u64], probabilities: &[f64], what: &str) {
        let (statistic, limit) = chi_square(counts, probabilities);
        assert!(statistic < limit, "{what}: chi-square {statistic:.1}, limit {limit:.1}");
    }

    #[track_caller]
    fn assert_unfit(counts: &[u64], probabilities: &[f64], what: &str) {
        let (statistic, limit) = chi_square(counts, probabilities);
        assert!(statistic > limit, "{what}: chi-square {statistic:.1}, limit {limit:.1}");
    }

    /// Correlation of samples `lag` apart.
    fn correlation(samples: &[i32], lag: usize, variance: f64) -> f64 {
        let sum = samples.iter().zip(&samples[lag..]).map(|(&a, &b)| f64::from(a) * f64::from(b));
        sum.sum::<f64>() / (samples.len() - lag) as f64 / variance
    }

    #[track_caller]
    fn assert_uncorrelated(samples: &[i32], variance: f64) {
        let limit = 6.0 / libm::sqrt(samples.len() as f64);
        for lag in [1, 2, 3, 4, 191, 192, 1024, N] {
            let r = correlation(samples, lag, variance);
            assert!(r.abs() < limit, "lag {lag}: {r:.6}, limit {limit:.6}");
        }
    }

    const THIRDS: [f64; 3] = [1.0 / 3.0; 3];

    fn ternary_counts(samples: &[i32]) -> [u64; 3] {
        let mut counts = [0; 3];
        for &x in samples {
            counts[(x + 1) as usize] += 1;
        }
        counts
    }

    #[test]
    fn ternary_is_uniform() {
        let mut rng = rng(1);
        let samples = collect::<Q81>(1024, |out| ternary(&mut rng, out));
        assert_fits(&ternary_counts(&samples), &THIRDS, "ternary");
        assert_uncorrelated(&samples, 2.0 / 3.0);
        let samples = collect::<Q54>(256, |out| ternary(&mut rng, out));
        assert_fits(&ternary_counts(&samples), &THIRDS, "ternary");

        // A sampler that keeps byte 255 is found out.
        let mut bytes = vec![0; samples.len() * 4];
        rng.fill_bytes(&mut bytes);
        let broken: Vec<i32> = bytes.iter().map(|b| i32::from(b % 3) - 1).collect();
        assert_unfit(&ternary_counts(&broken), &THIRDS, "bytes mod 3");
    }

    #[test]
    fn ternary_takes_every_byte_but_the_last() {
        let samples = collect::<Q54>(3, |out| ternary(&mut counting(0), out));
        let bytes = (0..=254).cycle().map(|b: i32| b % 3 - 1);
        assert!(samples.chunks(N).all(|poly| bytes.clone().zip(poly).all(|(a, &b)| a == b)));
    }

    /// Probabilities of -21 ..= 21, exact: binomial coefficients over 2^42.
    fn binomial(bits: u32) -> Vec<f64> {
        let mut row = vec![1u64];
        for _ in 0..bits {
            let mut next = vec![1; row.len() + 1];
            for i in 1..row.len() {
                next[i] = row[i - 1] + row[i];
            }
            row = next;
        }
        row.iter().map(|&c| c as f64 / (1u64 << bits) as f64).collect()
    }

    /// Counts and probabilities of -cut ..= cut, what lies beyond added to the ends.
    fn noise_cells(samples: &[i32], cut: i32) -> (Vec<u64>, Vec<f64>) {
        let cells = (2 * cut + 1) as usize;
        let (mut counts, mut probabilities) = (vec![0; cells], vec![0.0; cells]);
        let cell = |x: i32| (x.clamp(-cut, cut) + cut) as usize;
        for &x in samples {
            counts[cell(x)] += 1;
        }
        for (x, p) in (-21..).zip(binomial(42)) {
            probabilities[cell(x)] += p;
        }
        (counts, probabilities)
    }

    #[test]
    fn noise_is_centred_binomial() {
        let mut rng = rng(2);
        let samples = collect::<Q81>(512, |out| noise(&mut rng, out));
        let count = samples.len() as f64;
        let (counts, probabilities) = noise_cells(&samples, 13);
        assert_fits(&counts, &probabilities, "noise");

        let moment = |power| samples.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / count;
        let variance = f64::from(ETA) / 2.0;
        // Six standard deviations of each estimate. Kurtosis of a sum of 42 fair bits: 3 - 2/42.
        let kurtosis = 3.0 - 2.0 / 42.0;
        let (mean, square, fourth) = (moment(1), moment(2), moment(4));
        assert!(mean.abs() < 6.0 * libm::sqrt(variance / count), "mean {mean}");
        let limit = 6.0 * variance * libm::sqrt((kurtosis - 1.0) / count);
        assert!((square - variance).abs() < limit, "variance {square}");
        let ratio = fourth / (square * square);
        assert!((ratio - kurtosis).abs() < 6.0 * libm::sqrt(24.0 / count), "kurtosis {ratio}");
        assert_uncorrelated(&samples, variance);
        // Both tails are there: some 16 samples are expected beyond 13 on either side.
        assert!(samples.iter().min() < Some(&-13) && samples.iter().max() > Some(&13));

        // A sampler with one bit less on each side is found out.
        let broken: Vec<i32> = (0..samples.len())
            .map(|_| (rng.next_u64() & ((1 << 40) - 1)).count_ones() as i32 - 20)
            .collect();
        let (counts, probabilities) = noise_cells(&broken, 13);
        assert_unfit(&counts, &probabilities, "eta 20");
    }

    #[test]
    fn noise_counts_the_stated_bits() {
        // Three samples from 16 bytes, low bits first.
        for len in [1, 2, 3, 4, 32, 191, 192, 193, N] {
            let mut out = vec![u32::MAX; len];
            small_noise(&mut counting(7), &mut out);
            let bytes = len.div_ceil(3) * 16;
            let bits: Vec<u32> = (0..bytes)
                .flat_map(|i| (0..8).map(move |b| u32::from((7 + i) as u8 >> b & 1)))
                .collect();
            for (i, &x) in out.iter().enumerate() {
                let from = i / 3 * 128 + i % 3 * 42;
                let ones: u32 = bits[from..from + 42].iter().sum();
                assert_eq!(x as i32, ones as i32 - 21, "sample {i} of {len}");
            }
        }
    }

    #[test]
    fn uniform_is_uniform() {
        let mut rng = rng(3);
        let mut poly = Box::new(Poly::<Q81, Eval>::ZERO);
        let mut high = [[0; 64]; Q81];
        let mut low = [[0; 64]; Q81];
        let mut extremes = [(u32::MAX, 0); Q81];
        for _ in 0..256 {
            uniform(&mut rng, &mut poly);
            for (i, (limb, p)) in poly.limbs.iter().zip(Rns::<Q81>::PRIMES).enumerate() {
                for &x in limb {
                    assert!(x < p.q());
                    high[i][(u64::from(x) * 64 / u64::from(p.q())) as usize] += 1;
                    low[i][x as usize % 64] += 1;
                    extremes[i] = (extremes[i].0.min(x), extremes[i].1.max(x));
                }
            }
        }
        for (i, p) in Rns::<Q81>::PRIMES.iter().enumerate() {
            assert_fits(&high[i], &[1.0 / 64.0; 64], &format!("limb {i}, magnitude"));
            assert_fits(&low[i], &[1.0 / 64.0; 64], &format!("limb {i}, low bits"));
            // 2^20 samples of 2^27 values: both ends are reached within 2^12.
            assert!(extremes[i].0 < 1 << 12 && extremes[i].1 > p.q() - (1 << 12), "limb {i}");
        }
        // Folding the words above q back instead of throwing them away is found out.
        let q = Rns::<Q81>::PRIMES[2].q();
        let mut broken = [0; 64];
        for _ in 0..1 << 20 {
            let x = (rng.next_u32() >> 5) % q;
            broken[(u64::from(x) * 64 / u64::from(q)) as usize] += 1;
        }
        assert_unfit(&broken, &[1.0 / 64.0; 64], "27 bits mod q");
    }

    #[test]
    fn uniform_takes_the_stated_words() {
        let mut poly = Box::new(Poly::<Q54, Eval>::ZERO);
        uniform(&mut rng(4), &mut poly);
        let mut rng = rng(4);
        let mut words = core::iter::repeat_with(|| rng.next_u32() & ((1 << 27) - 1));
        for (limb, p) in poly.limbs.iter().zip(Rns::<Q54>::PRIMES) {
            assert!(limb.iter().all(|&x| words.find(|&w| w < p.q()) == Some(x)));
        }
    }

    #[test]
    fn uniform_keeps_below_each_prime() {
        // Of these words, with five bits that do not count, each limb takes what is below its prime.
        let [a, b, c] = Rns::<Q81>::PRIMES.map(|p| p.q());
        let script = [a, a - 1, b, b - 1, c, c - 1, (1 << 27) - 1, 0, 1];
        let words = script.iter().cycle().flat_map(|w| (w | 0xa800_0000).to_le_bytes());
        let mut poly = Box::new(Poly::<Q81, Eval>::ZERO);
        uniform(&mut Bytes(words), &mut poly);
        let mut words = script.iter().cycle();
        for (limb, p) in poly.limbs.iter().zip(Rns::<Q81>::PRIMES) {
            assert!(limb.iter().all(|x| words.find(|&&w| w < p.q()) == Some(x)));
        }
    }

    #[test]
    fn flood_is_uniform_between_its_bounds() {
        let mut rng = rng(5);
        // Small bounds, whose every value must come; 63 and 64 straddle a power of two.
        for bound in [0, 1, 2, 3, 7, 8, 31, 63, 64] {
            let values = 2 * bound as usize + 1;
            let mut samples = vec![0; 10_000];
            uniform_signed(&mut rng, bound, &mut samples);
            let mut counts = vec![0; values];
            for x in samples {
                counts[(x + bound) as usize] += 1;
            }
            let even = vec![1.0 / values as f64; values];
            assert_fits(&counts, &even, &format!("bound {bound}"));
        }
        // The bounds of use, and the largest that is allowed.
        let floods = [crate::matching::Blind::<Q54>::FLOOD, crate::matching::Blind::<Q81>::FLOOD];
        for bound in floods.into_iter().chain([(1 << 62) - 1]) {
            let mut samples = vec![0; 1 << 18];
            uniform_signed(&mut rng, bound, &mut samples);
            let mut counts = [0; 64];
            for &x in &samples {
                assert!(x.abs() <= bound);
                let above = (i128::from(x) + i128::from(bound)) * 64 / (2 * i128::from(bound) + 1);
                counts[above as usize] += 1;
            }
            assert_fits(&counts, &[1.0 / 64.0; 64], &format!("bound {bound}"));
            let distinct: BTreeSet<_> = samples.iter().collect();
            assert!(distinct.len() > samples.len() - 64, "bound {bound}");
        }
    }
}
