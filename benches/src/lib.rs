//! What the benches share: keys, batches and their clear answers, from fixed seeds.
#![forbid(unsafe_code)]

use bytemuck::{Zeroable, zeroed_box};
use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use symbolon_core::bfv::{PublicKey, SecretKey, generate};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Layout, quantise};
use symbolon_core::poly::{Coeff, Poly};

/// A value in a box of its own, all zero.
#[must_use]
pub fn zero<T: Zeroable>() -> Box<T> {
    zeroed_box()
}

/// Every kind of kernel that this processor runs.
#[must_use]
pub fn kernels() -> Vec<&'static Kernels> {
    symbolon_platform::cpu::available().into_iter().map(Kernels::select).collect()
}

/// A generator from a fixed seed.
#[must_use]
pub fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([42; 32])
}

/// A key pair.
#[must_use]
pub fn keys<const L: usize>(k: &Kernels) -> (Box<SecretKey<L>>, Box<PublicKey<L>>) {
    let (mut secret, mut public) = (zero(), zero());
    generate(k, &[1; 32], &mut secret, &mut public, &mut zero::<Poly<L, Coeff>>());
    (secret, public)
}

/// Random unit vectors of a layout, quantised; a template is its probe with noise in every other lane.
pub struct Batch {
    /// Of 128 dimensions: 32 users.
    pub layout: Layout,
    /// As they come to the gateway.
    pub embeddings: Vec<Vec<f64>>,
    /// Quantised probes.
    pub probes: Vec<Vec<i16>>,
    /// Quantised templates.
    pub templates: Vec<Vec<i16>>,
}

impl Batch {
    /// The batch of a fixed seed.
    #[must_use]
    pub fn new() -> Self {
        let layout = Layout::D128;
        let mut rng = rng();
        let mut unit = || f64::from(rng.next_u32()) / f64::from(u32::MAX) - 0.5;
        let mut vector = || (0..layout.dims()).map(|_| unit()).collect::<Vec<f64>>();
        let embeddings: Vec<Vec<f64>> = (0..layout.users()).map(|_| vector()).collect();
        let strangers: Vec<Vec<f64>> = (0..layout.users()).map(|_| vector()).collect();
        let quantised = |v: &Vec<f64>| {
            let mut out = vec![0; layout.dims()];
            quantise(layout, v, &mut out).expect("a fixed seed gives usable vectors");
            out
        };
        let near = |(lane, (own, other)): (usize, (&Vec<f64>, &Vec<f64>))| {
            let weight = if lane % 2 == 0 { 0.3 } else { 3.0 };
            own.iter().zip(other).map(|(a, b)| a + weight * b).collect::<Vec<f64>>()
        };
        let templates: Vec<Vec<f64>> =
            embeddings.iter().zip(&strangers).enumerate().map(near).collect();
        Self {
            layout,
            probes: embeddings.iter().map(quantised).collect(),
            templates: templates.iter().map(quantised).collect(),
            embeddings,
        }
    }

    /// The accepted lanes by plain integers.
    #[must_use]
    pub fn accepted(&self, threshold: i32) -> u32 {
        let score = |(p, t): (&Vec<i16>, &Vec<i16>)| -> i32 {
            p.iter().zip(t).map(|(&p, &t)| i32::from(p) * i32::from(t)).sum()
        };
        let scores = self.probes.iter().zip(&self.templates).map(score);
        scores.enumerate().fold(0, |bits, (lane, s)| bits | u32::from(s >= threshold) << lane)
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}
