//! The custodian: the only holder of secret keys. It sees scores, tells one bit each, and states what
//! it decided; its [`signer`](crate::signer) signs.

mod epochs;
#[cfg(feature = "lab")]
mod lab;

pub use epochs::{Epoch, Epochs, Limits, Rotations};
#[cfg(feature = "lab")]
pub use lab::Scores;

use crate::error::Result;
use crate::identity::VERIFIER;
use crate::keys::{CustodianSeeds, Deployment};
use crate::policy;
use crate::random::random;
use crate::signer::Stated;
use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::sync::atomic::{AtomicU64, Ordering};
use symbolon_core::attest::{Batch, Digest, Domain, Leaf, bulk};
use symbolon_core::bfv::params;
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Decisions, Folded, Layout, Threshold};
use symbolon_core::wire::Wire;
use symbolon_platform::clock;
use symbolon_platform::locked::Options;
use zeroize::Zeroizing;

/// The mode a statement names: encrypted probe, plaintext template.
const SEALED_PROBE: u8 = 1;

/// A custodian, shared by all threads.
pub struct Custodian<const L: usize> {
    kernels: &'static Kernels,
    deployment: Deployment,
    epochs: Epochs<L>,
    refused: AtomicU64,
}

/// One thread's working memory, made once.
pub struct Desk<const L: usize> {
    rng: ChaCha20Rng,
    wire: Vec<u8>,
    /// The last batch's setting, and the digest of it.
    policy: Option<(Layout, i32, Digest)>,
}

impl<const L: usize> Desk<L> {
    /// Errors: `E-ENTROPY`.
    pub fn new() -> Result<Self> {
        let rng = ChaCha20Rng::from_seed(*Zeroizing::new(random()?));
        Ok(Self { rng, wire: vec![0; Folded::<L>::SIZE], policy: None })
    }
}

/// What gateway and matcher say of a batch.
pub struct Claims {
    /// Of each lane, a leaf without its decision.
    pub leaves: Vec<Leaf>,
    /// Digest of the probe ciphertext.
    pub probe: Digest,
    /// Commitment to the seed of the re-randomisation.
    pub blind: Digest,
}

impl<const L: usize> Custodian<L> {
    /// With the key that `seeds` give or, with `limits`, fresh ones, one after the other. `memory` says what is
    /// asked of the memory in which they lie.
    ///
    /// Errors: `E-POOL` where there is no such memory; `E-ENTROPY`.
    pub fn new(
        kernels: &'static Kernels,
        seeds: &CustodianSeeds,
        limits: Option<Limits>,
        memory: Options,
    ) -> Result<Self> {
        Ok(Self {
            kernels,
            deployment: seeds.deployment,
            epochs: Epochs::new(kernels, seeds, limits, memory)?,
            refused: AtomicU64::new(0),
        })
    }

    /// Its keys.
    pub fn epochs(&self) -> &Epochs<L> {
        &self.epochs
    }

    /// Decides a batch whose first `count` lanes are in use, under the key that it began with. A key that has
    /// decided twice its limit refuses everything.
    pub fn decide(
        &self,
        epoch: &Epoch<L>,
        folded: &Folded<L>,
        count: usize,
        threshold: Threshold,
    ) -> Decisions {
        let lanes = u32::try_from((1u64 << count.min(32)) - 1).unwrap_or(u32::MAX);
        let decisions = if self.epochs.may_decide(epoch) {
            epoch.secret().decide(self.kernels, folded, lanes, threshold)
        } else {
            Decisions { accepted: 0, refused: true }
        };
        self.refused.fetch_add(u64::from(decisions.refused), Ordering::Relaxed);
        decisions
    }

    /// How many batches were refused: a value was beyond the static bound, or the key had decided too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// States a batch's decisions: fills each claim's bit, builds the tree, and puts its root together
    /// with the setting and the digest of what was decrypted.
    ///
    /// Errors: `E-ARGUMENT` for no claims or more than lanes.
    pub fn attest(
        &self,
        desk: &mut Desk<L>,
        epoch: &Epoch<L>,
        folded: &Folded<L>,
        decisions: Decisions,
        threshold: Threshold,
        claims: Claims,
    ) -> Result<Stated> {
        let Claims { mut leaves, probe, blind } = claims;
        for (lane, leaf) in leaves.iter_mut().enumerate() {
            leaf.accept = decisions.accepted >> lane & 1 == 1;
        }
        // The buffer was made in the right size.
        let written = folded.encode(self.kernels, &mut desk.wire);
        debug_assert!(written.is_ok());
        let (layout, score) = (folded.layout(), threshold.score());
        let policy = match desk.policy {
            Some((of, at, digest)) if (of, at) == (layout, score) => digest,
            _ => policy::digest(params::name::<L>(), layout, threshold),
        };
        desk.policy = Some((layout, score, policy));
        let mut batch = [0; 16];
        desk.rng.fill_bytes(&mut batch);
        let batch = Batch {
            deployment: self.deployment.id,
            key_epoch: epoch.number(),
            params: params::id::<L>(),
            mode: SEALED_PROBE,
            dims: layout.dims() as u16,
            threshold: score,
            policy,
            verifier: if leaves.iter().any(|leaf| leaf.proof.is_some()) { VERIFIER } else { 0 },
            batch,
            time_ms: clock::unix_ms(),
            // With the root, when it is known.
            count: 0,
            probe,
            blind,
            result: bulk(self.kernels, Domain::RESULT, &[&desk.wire]),
            root: [0; 32],
        };
        Stated::new(batch, leaves)
    }
}
