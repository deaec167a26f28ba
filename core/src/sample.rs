//! The wide generator, and the distributions that RLWE needs.
//!
//! Randomness comes as 32 bytes from the caller and is expanded by ChaCha12, sixteen blocks at a time
//! ([`Chunk`]). Every draw begins with a fresh chunk and throws away what it leaves of its last one, so
//! the same seed gives the same polynomials on every processor. The draws are part of the wire format:
//! seeded keys and ciphertexts are expanded with them.
//!
//! Rejections depend only on bytes that are thrown away; accepted samples are made without branches.

use crate::attest::{Domain, hash};
use crate::ct;
use crate::kernel::Kernels;
use crate::kernel::contract::{Chunk, KEPT_SLACK, Limb, SAMPLES};
use crate::ntt::{N, Plan, parts};
use crate::place::wipe;
use crate::poly::{Coeff, Eval, Poly};
use crate::rns::Rns;
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use crate::kernel::contract::ETA;

/// The keystream of one seed: ChaCha12 with the seed as key, nonce zero, and a 64-bit block counter
/// from zero (Bernstein's ChaCha with twelve rounds; RFC 8439 has its 20-round sister). Zeroised on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Stream {
    key: [u32; 8],
    counter: u64,
}

impl Stream {
    /// The stream of a seed, which must be uniform, and secret if what is drawn is to be.
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Self {
        let mut key = [0; 8];
        for (word, bytes) in key.iter_mut().zip(seed.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Self { key, counter: 0 }
    }

    /// The stream of a seed of 32 bytes from the caller's generator.
    pub fn from_rng<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let stream = Self::new(&seed);
        seed.zeroize();
        stream
    }

    /// The stream of SHA3-256 of a domain and a seed.
    pub(crate) fn derive(domain: Domain, seed: &[u8; 32]) -> Self {
        Self::of(domain, &[seed])
    }

    /// The stream of SHA3-256 of a domain and several parts.
    pub(crate) fn of(domain: Domain, parts: &[&[u8]]) -> Self {
        let mut key = hash(domain, parts);
        let stream = Self::new(&key);
        key.zeroize();
        stream
    }

    fn next(&mut self, k: &Kernels, chunks: &mut [Chunk]) {
        (k.keystream)(chunks, &self.key, self.counter);
        self.counter = self.counter.wrapping_add(16 * chunks.len() as u64);
    }
}

/// A stream's words one by one: row by row of its chunks.
pub(crate) struct Words<'a> {
    k: &'a Kernels,
    stream: &'a mut Stream,
    chunk: [Chunk; 1],
    used: usize,
}

impl<'a> Words<'a> {
    pub(crate) fn new(k: &'a Kernels, stream: &'a mut Stream) -> Self {
        Self { k, stream, chunk: zero(), used: usize::MAX }
    }

    pub(crate) fn next(&mut self) -> u32 {
        loop {
            if let Some(&word) = self.chunk[0].0.as_flattened().get(self.used) {
                self.used += 1;
                return word;
            }
            self.stream.next(self.k, &mut self.chunk);
            self.used = 0;
        }
    }
}

impl Drop for Words<'_> {
    fn drop(&mut self) {
        wipe(&mut self.chunk);
    }
}

const fn zero<const COUNT: usize>() -> [Chunk; COUNT] {
    [const { Chunk([[0; 16]; 16]) }; COUNT]
}

/// Uniform modulo Q, for public values: each word as many low bits of the next of the stream as the
/// limb's prime has, thrown away (fewer than one in 90) where not below it. Every limb begins with a
/// fresh chunk.
pub fn uniform<const L: usize>(k: &Kernels, stream: &mut Stream, out: &mut Poly<L, Eval>) {
    uniform_limbs(k, stream, &mut out.limbs, &Rns::<L>::PLANS);
}

/// The same for the limbs of any basis.
pub(crate) fn uniform_limbs(k: &Kernels, stream: &mut Stream, out: &mut [Limb], plans: &[&Plan]) {
    let mut chunks = zero::<1>();
    let mut kept = [0; 256 + KEPT_SLACK];
    for (limb, plan) in out.iter_mut().zip(plans) {
        let mut rest = limb.as_mut_slice();
        while !rest.is_empty() {
            stream.next(k, &mut chunks);
            let [chunk] = &chunks;
            let count = (k.uniform)(&mut kept, chunk, plan).min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            for (out, &x) in now.iter_mut().zip(&kept) {
                *out = x;
            }
            rest = later;
        }
    }
}

/// Uniform in {-1, 0, 1}: bytes below 255, mod 3, less 1. Every N coefficients are drawn by themselves.
pub fn ternary<const L: usize>(k: &Kernels, stream: &mut Stream, out: &mut Poly<L, Coeff>) {
    const { assert!(Rns::<L>::COUNT > 1) }
    ternary_limbs(k, stream, &mut out.limbs, &Rns::<L>::PLANS);
}

/// The same for the limbs of any basis of two primes at least.
pub(crate) fn ternary_limbs(k: &Kernels, stream: &mut Stream, out: &mut [Limb], plans: &[&Plan]) {
    // What is drawn too much goes into the second limb, which is written last.
    const { assert!(N > size_of::<Chunk>() + KEPT_SLACK) }
    let mut chunks = zero::<2>();
    for part in out.chunks_exact_mut(plans.len() / parts(plans)) {
        let mut filled = 0;
        let words = part.as_flattened_mut();
        while filled < N {
            // Two at a time, but for the last.
            let count = if N - filled > size_of::<Chunk>() { 2 } else { 1 };
            let Some(chunks) = chunks.get_mut(..count) else { return };
            stream.next(k, chunks);
            for chunk in chunks {
                let Some(rest) = words.get_mut(filled..) else { return };
                filled += (k.ternary)(rest, chunk);
            }
        }
        (k.spread)(part, plans);
    }
    wipe(&mut chunks);
}

/// Centred binomial with parameter [`ETA`]. Every N coefficients are drawn by themselves.
pub fn noise<const L: usize>(k: &Kernels, stream: &mut Stream, out: &mut Poly<L, Coeff>) {
    noise_limbs(k, stream, &mut out.limbs, &Rns::<L>::PLANS);
}

/// The same for the limbs of any basis.
pub(crate) fn noise_limbs(k: &Kernels, stream: &mut Stream, out: &mut [Limb], plans: &[&Plan]) {
    for part in out.chunks_exact_mut(plans.len() / parts(plans)) {
        if let [first, ..] = part {
            small_noise(k, stream, first);
        }
        (k.spread)(part, plans);
    }
}

/// Centred binomial samples, as signed words.
pub(crate) fn small_noise(k: &Kernels, stream: &mut Stream, out: &mut [u32]) {
    let mut chunks = zero::<2>();
    let (whole, rest) = out.as_chunks_mut::<SAMPLES>();
    for outs in whole.chunks_mut(chunks.len()) {
        let Some(chunks) = chunks.get_mut(..outs.len()) else { return };
        stream.next(k, chunks);
        for (out, chunk) in outs.iter_mut().zip(chunks) {
            (k.noise)(out, chunk);
        }
    }
    if !rest.is_empty() {
        let mut last = [0; SAMPLES];
        let [chunk, _] = &mut chunks;
        stream.next(k, core::slice::from_mut(chunk));
        (k.noise)(&mut last, chunk);
        for (out, &x) in rest.iter_mut().zip(&last) {
            *out = x;
        }
        wipe(&mut last);
    }
    wipe(&mut chunks);
}

/// Uniform in \[-bound, bound\] by rejection from the next power of two; bound < 2^62. Two words a
/// try, the lower half first.
pub(crate) fn uniform_signed(words: &mut Words<'_>, bound: i64, out: &mut [i64]) {
    let width = 2 * bound as u64 + 1;
    let mask = u64::MAX >> width.leading_zeros();
    for slot in out {
        *slot = loop {
            let low = u64::from(words.next());
            let x = (u64::from(words.next()) << 32 | low) & mask;
            // Public: only that two words were thrown away.
            if ct::public(x < width) {
                break x as i64 - bound;
            }
        };
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::bfv::{Q54, Q81};
    use crate::cap::Scalar;
    use chacha20::{ChaCha12Rng, ChaCha20Rng};
    use rand_core::{Rng, SeedableRng};
    use std::boxed::Box;
    use std::collections::BTreeSet;
    use std::format;
    use std::vec;
    use std::vec::Vec;

    fn kernels() -> &'static Kernels {
        Kernels::scalar(Scalar)
    }

    fn stream(seed: u8) -> Stream {
        Stream::new(&[seed; 32])
    }

    fn rng(seed: u8) -> ChaCha20Rng {
        ChaCha20Rng::from_seed([seed; 32])
    }

    /// The words of a stream's chunks, from the library's cipher: blocks in columns.
    fn chunks(seed: u8) -> impl Iterator<Item = [u32; 256]> {
        let mut rng = ChaCha12Rng::from_seed([seed; 32]);
        core::iter::repeat_with(move || {
            let mut words = [0; 256];
            for block in 0..16 {
                for i in 0..16 {
                    words[16 * i + block] = rng.next_u32();
                }
            }
            words
        })
    }

    #[test]
    fn the_stream_is_chacha12_from_its_first_block_on() {
        let mut stream = stream(9);
        let mut made = zero::<1>();
        for words in chunks(9).take(5) {
            stream.next(kernels(), &mut made);
            assert_eq!(made[0].0.as_flattened(), words);
        }
        let mut words = self::stream(9);
        let mut words = Words::new(kernels(), &mut words);
        assert!(chunks(9).take(3).flatten().all(|word| word == words.next()));
    }

    #[test]
    fn draws_begin_with_fresh_chunks() {
        // 32 samples take a chunk, so the next draw is that of the second.
        let (mut first, mut second) = ([0; 32], [0; 32]);
        let mut stream = self::stream(8);
        small_noise(kernels(), &mut stream, &mut first);
        small_noise(kernels(), &mut stream, &mut second);
        let mut later = Stream { key: self::stream(8).key, counter: 16 };
        let mut again = [0; 32];
        small_noise(kernels(), &mut later, &mut again);
        assert!(second == again && first != second);
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
        let (mut rng, mut stream) = (rng(1), stream(1));
        let samples = collect::<Q81>(1024, |out| ternary(kernels(), &mut stream, out));
        assert_fits(&ternary_counts(&samples), &THIRDS, "ternary");
        assert_uncorrelated(&samples, 2.0 / 3.0);
        let samples = collect::<Q54>(256, |out| ternary(kernels(), &mut stream, out));
        assert_fits(&ternary_counts(&samples), &THIRDS, "ternary");

        // A sampler that keeps byte 255 is found out.
        let mut bytes = vec![0; samples.len() * 4];
        rng.fill_bytes(&mut bytes);
        let broken: Vec<i32> = bytes.iter().map(|b| i32::from(b % 3) - 1).collect();
        assert_unfit(&ternary_counts(&broken), &THIRDS, "bytes mod 3");
    }

    #[test]
    fn ternary_takes_every_byte_but_the_last() {
        let mut stream = stream(6);
        let samples = collect::<Q54>(3, |out| ternary(kernels(), &mut stream, out));
        let mut chunks = chunks(6);
        for poly in samples.chunks(N) {
            let mut want: Vec<i32> = vec![];
            while want.len() < N {
                let words = chunks.next().unwrap();
                let bytes = words.chunks(16).flat_map(|row| {
                    (0..4).flat_map(move |i| row.iter().map(move |word| word >> (8 * i) & 0xff))
                });
                want.extend(bytes.filter(|&b| b != 255).map(|b| (b % 3) as i32 - 1));
            }
            assert!(want.len() > N, "a little is thrown away");
            assert!(want.starts_with(poly));
        }
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
        let (mut rng, mut stream) = (rng(2), stream(2));
        let samples = collect::<Q81>(512, |out| noise(kernels(), &mut stream, out));
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
        for len in [1, 32, 191, 192, 193, N] {
            let mut out = vec![u32::MAX; len];
            small_noise(kernels(), &mut stream(7), &mut out);
            let want = chunks(7).flat_map(|words| {
                (0..SAMPLES).map(move |i| {
                    let (group, j, column) = (i / 48, i % 48 / 16, i % 16);
                    let word = |row: usize| words[16 * (4 * group + row) + column];
                    let rest = word(3) >> (10 * j) & 0x3ff;
                    word(j).count_ones() as i32 + rest.count_ones() as i32 - 21
                })
            });
            assert!(out.iter().zip(want).all(|(&x, want)| x as i32 == want), "{len} samples");
        }
    }

    #[test]
    fn uniform_is_uniform() {
        let (mut rng, mut stream) = (rng(3), stream(3));
        let mut poly = Box::new(Poly::<Q81, Eval>::ZERO);
        let mut high = [[0; 64]; Q81];
        let mut low = [[0; 64]; Q81];
        let mut extremes = [(u32::MAX, 0); Q81];
        for _ in 0..256 {
            uniform(kernels(), &mut stream, &mut poly);
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
        let mut poly = Box::new(Poly::<Q81, Eval>::ZERO);
        uniform(kernels(), &mut stream(4), &mut poly);
        let mut chunks = chunks(4);
        for (limb, p) in poly.limbs.iter().zip(Rns::<Q81>::PRIMES) {
            let mut want = vec![];
            while want.len() < N {
                let words = chunks.next().unwrap().map(|word| word & ((1 << 27) - 1));
                want.extend(words.into_iter().filter(|&x| x < p.q()));
            }
            assert!(want.starts_with(limb));
        }
    }

    #[test]
    fn flood_is_uniform_between_its_bounds() {
        let mut stream = stream(5);
        let mut words = Words::new(kernels(), &mut stream);
        // Small bounds, whose every value must come; 63 and 64 straddle a power of two.
        for bound in [0, 1, 2, 3, 7, 8, 31, 63, 64] {
            let values = 2 * bound as usize + 1;
            let mut samples = vec![0; 10_000];
            uniform_signed(&mut words, bound, &mut samples);
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
            uniform_signed(&mut words, bound, &mut samples);
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
