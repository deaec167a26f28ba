//! What the benches share: keys, batches and their clear answers, from fixed seeds.
//!
//! Naming, which `cargo xtask bench` relies on: a criterion group is a thing that a user cares
//! about (`bfv/encrypt`; `/Q81` at its end for the larger set), and its functions are who did it: a
//! capability of ours (`avx512`) or a peer (`tfhe-ntt 0.7.1`).
#![forbid(unsafe_code)]

#[cfg(feature = "host")]
pub mod cache;
pub mod owner;
pub mod peers;
pub mod pool;
pub mod rows;
pub mod turns;

use std::time::Instant;

use bytemuck::{Zeroable, zeroed_box};
use chacha20::ChaCha20Rng;
use criterion::Bencher;
use rand_core::{Rng, SeedableRng};
use symbolon_core::bfv::{
    Ciphertext, Plaintext, PublicKey, Q54, SecretKey, Zero, encrypt, generate, params,
};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Blind, Folded, Layout, Threshold, fold, quantise};
use symbolon_core::poly::{Coeff, Mont, Poly};
use symbolon_core::wire::Wire;

/// The rotations of the benches: after all of them every slot holds the sum of the 128 slots that a
/// person has in the transform's order.
pub const TURNS: [i32; 7] = [16, 32, 64, 128, 256, 512, 1024];

/// Of all keys.
pub const SEED: [u8; 32] = [1; 32];

/// A value in a box of its own, all zero.
#[must_use]
pub fn zero<T: Zeroable>() -> Box<T> {
    zeroed_box()
}

/// Kernels to measure, the best one last.
#[must_use]
pub fn kernels() -> Vec<&'static Kernels> {
    symbolon_platform::cpu::available().into_iter().map(Kernels::select).collect()
}

/// The fastest kernels here.
#[must_use]
pub fn best() -> &'static Kernels {
    Kernels::select(symbolon_platform::cpu::detect())
}

/// A generator from a fixed seed.
#[must_use]
pub fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([42; 32])
}

/// A group's name: plain for Q54, with the set at its end for the others.
#[must_use]
pub fn name<const L: usize>(what: &str) -> String {
    if L == Q54 { what.to_owned() } else { format!("{what}/{}", params::name::<L>()) }
}

/// Times a call that does the same work on each of `limbs` limbs, and reports one limb's share.
pub fn iter_limbs<R>(b: &mut Bencher<'_>, limbs: u32, mut call: impl FnMut() -> R) {
    b.iter_custom(|iterations| {
        let calls = iterations.div_ceil(u64::from(limbs));
        let start = Instant::now();
        for _ in 0..calls {
            std::hint::black_box(call());
        }
        start.elapsed().mul_f64(iterations as f64 / (calls * u64::from(limbs)) as f64)
    });
}

/// A key pair.
#[must_use]
pub fn keys<const L: usize>(k: &Kernels) -> (Box<SecretKey<L>>, Box<PublicKey<L>>) {
    let (mut secret, mut public) = (zero(), zero());
    generate(k, &SEED, &mut secret, &mut public, &mut zero::<Poly<L, Coeff>>());
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
    /// Splits the batch: some are accepted, some are not.
    pub threshold: Threshold,
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
            quantise(best(), layout, v, &mut out).expect("a fixed seed gives usable vectors");
            out
        };
        let near = |(lane, (own, other)): (usize, (&Vec<f64>, &Vec<f64>))| {
            let weight = if lane % 2 == 0 { 0.3 } else { 3.0 };
            own.iter().zip(other).map(|(a, b)| a + weight * b).collect::<Vec<f64>>()
        };
        let templates: Vec<Vec<f64>> =
            embeddings.iter().zip(&strangers).enumerate().map(near).collect();
        let batch = Self {
            layout,
            probes: embeddings.iter().map(quantised).collect(),
            templates: templates.iter().map(quantised).collect(),
            embeddings,
            threshold: Threshold::from_cosine(layout, 0.5).expect("a cosine"),
        };
        let accepted = batch.accepted(layout.users());
        assert!(accepted != 0 && accepted != u32::MAX, "the batch has accepts and rejects");
        batch
    }

    /// The accepted lanes among the first `users` by plain integers.
    #[must_use]
    pub fn accepted(&self, users: usize) -> u32 {
        let score = |(p, t): (&Vec<i16>, &Vec<i16>)| -> i32 {
            p.iter().zip(t).map(|(&p, &t)| i32::from(p) * i32::from(t)).sum()
        };
        let scores = self.probes.iter().zip(&self.templates).map(score).take(users);
        let bit = |s: i32| u32::from(s >= self.threshold.score());
        scores.enumerate().fold(0, |bits, (lane, s)| bits | bit(s) << lane)
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// What a batch needs and a pool makes ahead.
pub struct Ahead<const L: usize> {
    zero: Box<Zero<L>>,
    blind: Box<Blind<L>>,
}

impl<const L: usize> Ahead<L> {
    /// To be prepared.
    #[must_use]
    pub fn new() -> Self {
        Self { zero: zero(), blind: zero() }
    }
}

impl<const L: usize> Default for Ahead<L> {
    fn default() -> Self {
        Self::new()
    }
}

/// All roles of `sealed-probe` with their working memory; a method is a stage. Nothing allocates.
pub struct Pipeline<const L: usize> {
    k: &'static Kernels,
    batch: Batch,
    secret: Box<SecretKey<L>>,
    public: Box<PublicKey<L>>,
    rng: ChaCha20Rng,
    quantised: Vec<Vec<i16>>,
    plain: Box<Plaintext>,
    scratch: Box<Poly<L, Coeff>>,
    ciphertext: Box<Ciphertext<L>>,
    templates: Box<Poly<L, Coeff>>,
    ahead: Ahead<L>,
}

impl<const L: usize> Pipeline<L> {
    /// Keys and a batch from fixed seeds.
    #[must_use]
    pub fn new(k: &'static Kernels) -> Self {
        let batch = Batch::new();
        let (secret, public) = keys::<L>(k);
        Self {
            k,
            secret,
            public,
            rng: rng(),
            quantised: batch.probes.clone(),
            plain: zero(),
            scratch: zero(),
            ciphertext: zero(),
            templates: zero(),
            ahead: Ahead::new(),
            batch,
        }
    }

    /// Which kernels it uses.
    #[must_use]
    pub fn isa(&self) -> &'static str {
        self.k.isa()
    }

    /// People in a full batch.
    #[must_use]
    pub fn users(&self) -> usize {
        self.batch.layout.users()
    }

    /// What the decisions must be.
    #[must_use]
    pub fn expected(&self, users: usize) -> u32 {
        self.batch.accepted(users)
    }

    /// Gateway: embeddings, normalised and quantised, into a plaintext.
    pub fn encode(&mut self, users: usize) {
        let layout = self.batch.layout;
        for (embedding, out) in self.batch.embeddings.iter().zip(&mut self.quantised).take(users) {
            quantise(self.k, layout, embedding, out).expect("usable");
        }
        let probes = self.quantised.iter().map(Vec::as_slice).take(users);
        layout.encode_probes(self.k, probes, &mut self.plain).expect("fits");
    }

    /// Gateway: the plaintext into a ciphertext.
    pub fn encrypt(&mut self) {
        let Self { k, public, plain, rng, ciphertext, scratch, .. } = self;
        encrypt(k, public, plain, rng, ciphertext, scratch);
    }

    /// Gateway, ahead of time: an encryption of zero.
    pub fn zero(&mut self) {
        let Self { k, public, rng, ahead, scratch, .. } = self;
        ahead.zero.prepare(k, public, rng, scratch);
    }

    /// Gateway: the plaintext into a ciphertext, for which it uses up the last [`Self::zero`].
    pub fn add(&mut self) {
        let Self { k, plain, ahead, scratch, .. } = self;
        ahead.zero.encrypt(k, plain, scratch).expect("fresh");
    }

    /// Matcher: the re-randomisation and flood of one batch.
    pub fn blind(&mut self) {
        let Self { k, public, batch, rng, ahead, scratch, .. } = self;
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        ahead.blind.prepare(k, public, batch.layout, &seed, scratch);
    }

    /// Matcher: gathers the templates and encodes them.
    pub fn templates(&mut self, users: usize) -> &Poly<L, Mont> {
        let vectors = self.batch.templates.iter().map(Vec::as_slice).take(users);
        let made = self.batch.layout.encode_templates(
            self.k,
            vectors,
            &mut self.plain,
            &mut self.templates,
        );
        made.expect("fits")
    }

    /// Matcher: multiplies, re-randomises and folds, for which it uses up the last [`Self::blind`].
    pub fn fold(&mut self, templates: &Poly<L, Mont>) -> &Folded<L> {
        fold(self.k, &self.ciphertext, templates, &mut self.ahead.blind).expect("fresh")
    }

    /// What a full batch brings to the custodian, over the wire and back.
    #[must_use]
    pub fn folded(&mut self) -> Box<Folded<L>> {
        let users = self.users();
        self.encode(users);
        self.encrypt();
        self.blind();
        let mut factor = zero::<Poly<L, Mont>>();
        factor.copy_from(self.templates(users));
        let (k, mut bytes) = (self.k, vec![0; Folded::<L>::SIZE]);
        self.fold(&factor).encode(k, &mut bytes).expect("fits");
        let mut folded = zero::<Folded<L>>();
        folded.decode(k, &bytes).expect("well-formed");
        folded
    }

    /// Custodian: one bit for each of the first `users` lanes.
    #[must_use]
    pub fn decide(&self, folded: &Folded<L>, users: usize) -> u32 {
        let lanes = u32::MAX >> (self.batch.layout.users() - users);
        self.secret.decide(self.k, folded, lanes, self.batch.threshold).accepted
    }

    /// Every stage after another: probes to decisions.
    pub fn run(&mut self, users: usize) -> u32 {
        self.encode(users);
        self.encrypt();
        self.blind();
        let Self { k, batch, plain, templates, ciphertext, ahead, secret, .. } = self;
        finish(k, batch, users, ciphertext, &mut ahead.blind, (plain, templates), secret)
    }

    /// What a pool does for one batch.
    pub fn prepare(&mut self, ahead: &mut Ahead<L>) {
        std::mem::swap(&mut self.ahead, ahead);
        self.zero();
        self.blind();
        std::mem::swap(&mut self.ahead, ahead);
    }

    /// Probes to decisions with what was made ahead, and is used up.
    pub fn run_pooled(&mut self, ahead: &mut Ahead<L>, users: usize) -> u32 {
        self.encode(users);
        let Self { k, batch, plain, scratch, templates, secret, .. } = self;
        let ciphertext = ahead.zero.encrypt(k, plain, scratch).expect("fresh");
        finish(k, batch, users, ciphertext, &mut ahead.blind, (plain, templates), secret)
    }
}

/// From a ciphertext to decisions.
fn finish<const L: usize>(
    k: &Kernels,
    batch: &Batch,
    users: usize,
    ciphertext: &Ciphertext<L>,
    blind: &mut Blind<L>,
    (plain, poly): (&mut Plaintext, &mut Poly<L, Coeff>),
    secret: &SecretKey<L>,
) -> u32 {
    let vectors = batch.templates.iter().map(Vec::as_slice).take(users);
    let factor = batch.layout.encode_templates(k, vectors, plain, poly).expect("fits");
    let folded = fold(k, ciphertext, factor, blind).expect("fresh");
    let lanes = u32::MAX >> (batch.layout.users() - users);
    secret.decide(k, folded, lanes, batch.threshold).accepted
}
