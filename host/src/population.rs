//! A model population for `symbolon demo`: embeddings of people who do not exist.
//!
//! Each identity has a mean direction, uniform on the sphere. A capture is
//! `normalise(mean + (s / sqrt(d)) * g)` with `g` a standard Gaussian vector of `d` dimensions and
//! `s = 0.56 * exp(0.33 * z)`, `z` standard Gaussian: a quality of the capture's own, log-normal,
//! so that a bad capture is bad in all directions at once. Two captures of one identity have a
//! cosine of about `1 / sqrt((1 + s1^2) (1 + s2^2))`; captures of two identities have the cosine of
//! two random directions, close to a Gaussian of standard deviation `1 / sqrt(d)`.
//!
//! Beside it the extract of real embeddings in `tests/data` (500 people, 4 captures each, 128
//! dimensions; 3,000 genuine and 1,996,000 impostor pairs). The model's column is as many identities
//! of as many captures (seed 1); a test holds both columns to these figures:
//!
//! | cosine               | model   | real extract |
//! |----------------------|---------|--------------|
//! | genuine, median      | 0.757   | 0.653        |
//! | genuine, 1 %         | 0.489   | 0.426        |
//! | genuine, 99 %        | 0.909   | 0.817        |
//! | FRR at 0.5           | 1.3 %   | 4.9 %        |
//! | impostor, mean       | 0.000   | 0.032        |
//! | impostor, deviation  | 0.088   | 0.132        |
//! | FAR at 0.5           | < 1e-6  | 1.2e-4       |
//!
//! The model is therefore kinder than the extract: its people are spread over all 128 dimensions,
//! where real impostor cosines vary as if there were 57 (`1 / 0.132^2`). It serves to show the system
//! at work on a gallery of any size, not to predict the error rates of a deployment.
//!
//! Values depend on the seed, the identity and the capture's number alone, and are the same on
//! every processor: ChaCha20 gives the bits, `libm` the functions.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use libm::{exp, log, sqrt};

use crate::error::{Error, Kind, Result};
use crate::input::MAX_DIMS;

/// The median length of a capture's noise, the mean being of length 1.
const SPREAD: f64 = 0.56;
/// The standard deviation of the logarithm of that length.
const SPREAD_LOG_DEVIATION: f64 = 0.33;
/// Key stream blocks set aside for a vector; 512 dimensions use about 170, so 2^16 never run out.
const BLOCKS_PER_VECTOR_LOG2: u32 = 16;

/// A model population. It stores nothing: vectors are made when asked for.
#[derive(Clone, Debug)]
pub struct Population {
    seed: [u8; 32],
    identities: u64,
    dims: usize,
}

impl Population {
    /// A population of `identities` people with embeddings of `dims` dimensions, 1 to 512.
    ///
    /// Errors: `E-DIMENSION`; `E-ARGUMENT` if there is nobody.
    pub fn new(seed: u64, identities: u64, dims: usize) -> Result<Self> {
        if !(1..=MAX_DIMS).contains(&dims) {
            let message = format!("{dims} dimensions: 1 to {MAX_DIMS} are supported");
            return Err(Error::new(Kind::Dimension, message));
        }
        if identities == 0 {
            return Err(Error::new(Kind::Argument, "a population needs at least one identity"));
        }
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Ok(Self { seed: key, identities, dims })
    }

    /// The number of people.
    pub fn identities(&self) -> u64 {
        self.identities
    }

    /// The number of dimensions.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Writes capture `capture` of person `identity` (both from 0) to `out`, `dims` values of
    /// Euclidean length 1.
    ///
    /// Errors: `E-ARGUMENT` for an identity outside the population, `E-DIMENSION` for an `out` of
    /// another length.
    pub fn capture(&self, identity: u64, capture: u32, out: &mut [f64]) -> Result<()> {
        if identity >= self.identities {
            let message = format!("identity {identity} of a population of {}", self.identities);
            return Err(Error::new(Kind::Argument, message));
        }
        if out.len() != self.dims {
            let message = format!("{} values for {} dimensions", out.len(), self.dims);
            return Err(Error::new(Kind::Dimension, message));
        }
        let mut mean = self.gaussians(identity, 0);
        out.fill_with(|| mean.next());
        normalise(out);
        let mut noise = self.gaussians(identity, u64::from(capture) + 1);
        let spread = SPREAD * exp(SPREAD_LOG_DEVIATION * noise.next());
        let deviation = spread / sqrt(self.dims as f64);
        for value in out.iter_mut() {
            *value += deviation * noise.next();
        }
        normalise(out);
        Ok(())
    }

    /// The Gaussians of vector `vector` of an identity.
    fn gaussians(&self, identity: u64, vector: u64) -> Gaussians {
        let mut rng = ChaCha20Rng::from_seed(self.seed);
        rng.set_stream(identity);
        rng.set_block_pos(vector << BLOCKS_PER_VECTOR_LOG2);
        Gaussians { rng, spare: None }
    }
}

/// Scales to length 1; a zero vector, of negligible probability, stays as it is.
fn normalise(values: &mut [f64]) {
    let length = sqrt(values.iter().map(|v| v * v).sum());
    if length > 0.0 {
        values.iter_mut().for_each(|v| *v /= length);
    }
}

/// Standard Gaussians by Marsaglia's polar method (SIAM Review 6, 1964, p. 260).
struct Gaussians {
    rng: ChaCha20Rng,
    spare: Option<f64>,
}

impl Gaussians {
    fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (self.uniform(), self.uniform());
            let r = x * x + y * y;
            if r > 0.0 && r < 1.0 {
                let scale = sqrt(-2.0 * log(r) / r);
                self.spare = Some(y * scale);
                return x * scale;
            }
        }
    }

    /// Uniform on the multiples of 2^-52 in [-1, 1).
    fn uniform(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 52) as f64) - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Embeddings, Format};

    /// Genuine and impostor cosines of rows of unit length, four to an identity, each sorted.
    fn cosines(rows: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
        let (mut genuine, mut impostor) = (Vec::new(), Vec::new());
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate().skip(i + 1) {
                let cosine = a.iter().zip(b).map(|(a, b)| a * b).sum();
                if i / 4 == j / 4 { genuine.push(cosine) } else { impostor.push(cosine) }
            }
        }
        genuine.sort_by(f64::total_cmp);
        impostor.sort_by(f64::total_cmp);
        (genuine, impostor)
    }

    fn quantile(sorted: &[f64], q: f64) -> f64 {
        sorted[((sorted.len() - 1) as f64 * q) as usize]
    }

    fn below(sorted: &[f64], threshold: f64) -> f64 {
        sorted.partition_point(|&c| c < threshold) as f64 / sorted.len() as f64
    }

    fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        (mean, variance.sqrt())
    }

    fn model(seed: u64, identities: u64, dims: usize) -> Vec<Vec<f64>> {
        let population = Population::new(seed, identities, dims).unwrap();
        let captures = (0..identities).flat_map(|i| (0..4).map(move |c| (i, c)));
        captures
            .map(|(identity, capture)| {
                let mut row = vec![0.0; dims];
                population.capture(identity, capture, &mut row).unwrap();
                row
            })
            .collect()
    }

    #[test]
    fn model_has_the_documented_statistics() {
        let (genuine, impostor) = cosines(&model(1, 500, 128));
        let (mean, deviation) = mean_and_deviation(&impostor);
        let stats = [
            quantile(&genuine, 0.5),
            quantile(&genuine, 0.01),
            quantile(&genuine, 0.99),
            below(&genuine, 0.5),
            mean,
            deviation,
            1.0 - below(&impostor, 0.5),
        ];
        for (value, documented) in stats.iter().zip([0.757, 0.489, 0.909, 0.013, 0.0, 0.088, 0.0]) {
            assert!((value - documented).abs() < 0.0006, "{stats:?}");
        }
    }

    #[test]
    fn extract_has_the_documented_statistics() {
        let bytes = include_bytes!("../tests/data/embeddings-500x4.npy");
        let extract = Embeddings::parse(Format::Npy, "extract", bytes).unwrap();
        let rows: Vec<_> = (0..extract.rows()).map(|i| extract.row(i).unwrap().to_vec()).collect();
        let (genuine, impostor) = cosines(&rows);
        let (mean, deviation) = mean_and_deviation(&impostor);
        let stats = [
            quantile(&genuine, 0.5),
            quantile(&genuine, 0.01),
            quantile(&genuine, 0.99),
            below(&genuine, 0.5),
            mean,
            deviation,
        ];
        for (value, documented) in stats.iter().zip([0.653, 0.426, 0.817, 0.049, 0.032, 0.132]) {
            assert!((value - documented).abs() < 0.0006, "{stats:?}");
        }
        assert!((1.0 - below(&impostor, 0.5) - 1.2e-4).abs() < 0.1e-4);
    }

    #[test]
    fn error_rates_hold_at_every_layout() {
        for dims in [128, 256, 512] {
            let (genuine, impostor) = cosines(&model(7, 300, dims));
            let (median, frr) = (quantile(&genuine, 0.5), below(&genuine, 0.5));
            let (mean, deviation) = mean_and_deviation(&impostor);
            assert!((0.735..0.765).contains(&median), "{dims}: median {median}");
            assert!((0.005..0.025).contains(&frr), "{dims}: FRR {frr}");
            assert!(mean.abs() < 0.003, "{dims}: mean {mean}");
            assert!((deviation * (dims as f64).sqrt() - 1.0).abs() < 0.03, "{dims}: {deviation}");
        }
    }

    #[test]
    fn a_capture_depends_on_its_coordinates_alone() {
        let rows = model(3, 8, 100);
        assert_eq!(rows, model(3, 8, 100));
        // Any order, any population size.
        let mut row = vec![9.0; 100];
        Population::new(3, 1 << 40, 100).unwrap().capture(5, 2, &mut row).unwrap();
        assert_eq!(row, rows[22]);
        assert_ne!(rows, model(4, 8, 100));
        // Two values for ever (an independent implementation gives the same).
        assert_eq!(rows[0][0].to_bits(), 0x3fa7_0fa3_b9da_3b8e);
        assert_eq!(rows[22][99].to_bits(), 0xbfbd_7fa9_3443_2ccf);
    }

    #[test]
    fn far_identities_and_captures_differ() {
        let population = Population::new(0, u64::MAX, 16).unwrap();
        let mut rows = Vec::new();
        for (identity, capture) in [(0, 0), (0, u32::MAX), (u64::MAX - 1, 0), (1 << 32, 0)] {
            let mut row = vec![0.0; 16];
            population.capture(identity, capture, &mut row).unwrap();
            let length = row.iter().map(|v| v * v).sum::<f64>();
            assert!((length - 1.0).abs() < 1e-12);
            assert!(!rows.contains(&row));
            rows.push(row);
        }
    }

    #[test]
    fn wrong_arguments_are_errors() {
        assert_eq!(Population::new(0, 1, 0).unwrap_err().kind(), Kind::Dimension);
        assert_eq!(Population::new(0, 1, 513).unwrap_err().kind(), Kind::Dimension);
        assert_eq!(Population::new(0, 0, 128).unwrap_err().kind(), Kind::Argument);
        let population = Population::new(0, 2, 3).unwrap();
        let error = population.capture(2, 0, &mut [0.0; 3]).unwrap_err();
        assert_eq!(error.kind(), Kind::Argument);
        let error = population.capture(1, 0, &mut [0.0; 4]).unwrap_err();
        assert_eq!(error.kind(), Kind::Dimension);
    }
}
