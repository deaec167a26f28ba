//! The custodian: the only holder of secret keys. It sees scores, tells one bit each, and signs.

use crate::error::{Error, Kind, Result};
use crate::keys::{CustodianSeeds, Deployment};
use crate::random::random;
use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::sync::atomic::{AtomicU64, Ordering};
use symbolon_core::attest::{
    Digest, Domain, Leaf, Path, Receipt, SIGNATURE_SIZE, Signature, SigningKey, Statement, Tree,
    bulk, merkle,
};
use symbolon_core::bfv::{SecretKey, params};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Decisions, Folded, Threshold};
use symbolon_core::wire::Wire;
use symbolon_platform::clock;
use zeroize::Zeroizing;

/// The mode a statement names: encrypted probe, plaintext template.
const SEALED_PROBE: u8 = 1;

/// A custodian, shared by all threads.
pub struct Custodian<const L: usize> {
    kernels: &'static Kernels,
    deployment: Deployment,
    secret: Box<SecretKey<L>>,
    signing: Box<Option<SigningKey>>,
    refused: AtomicU64,
}

/// One thread's working memory, made once.
pub struct Desk<const L: usize> {
    rng: ChaCha20Rng,
    wire: Vec<u8>,
}

impl<const L: usize> Desk<L> {
    /// Errors: `E-ENTROPY`.
    pub fn new() -> Result<Self> {
        let rng = ChaCha20Rng::from_seed(*Zeroizing::new(random()?));
        Ok(Self { rng, wire: vec![0; Folded::<L>::SIZE] })
    }
}

/// A leaf without its decision: what gateway and matcher say of a lane.
pub type Claim = Leaf;

/// A signed batch, from which each lane's receipt is cut.
pub struct SignedBatch {
    statement: Statement,
    leaves: Vec<Leaf>,
    signature: Box<Signature>,
}

impl<const L: usize> Custodian<L> {
    /// Derives the keys from their seeds.
    pub fn new(kernels: &'static Kernels, seeds: &CustodianSeeds) -> Self {
        let mut signing = Box::new(None);
        seeds.signing_key(&mut signing);
        Self {
            kernels,
            deployment: seeds.deployment,
            secret: seeds.secret_key(kernels),
            signing,
            refused: AtomicU64::new(0),
        }
    }

    /// Decides a batch whose first `count` lanes are in use.
    pub fn decide(&self, folded: &Folded<L>, count: usize, threshold: Threshold) -> Decisions {
        let lanes = u32::try_from((1u64 << count.min(32)) - 1).unwrap_or(u32::MAX);
        let decisions = self.secret.decide(self.kernels, folded, lanes, threshold);
        self.refused.fetch_add(u64::from(decisions.refused), Ordering::Relaxed);
        decisions
    }

    /// How many batches were refused because a value was beyond the static bound.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Signs a batch's decisions: fills each claim's bit, builds the tree, signs the root together
    /// with the digest of what was decrypted.
    ///
    /// Errors: `E-ARGUMENT` for no claims or more than lanes.
    pub fn sign(
        &self,
        desk: &mut Desk<L>,
        folded: &Folded<L>,
        decisions: Decisions,
        threshold: Threshold,
        mut claims: Vec<Claim>,
    ) -> Result<SignedBatch> {
        let error = |e: symbolon_core::attest::Error| Error::new(Kind::Argument, e.to_string());
        for (lane, leaf) in claims.iter_mut().enumerate() {
            leaf.accept = decisions.accepted >> lane & 1 == 1;
        }
        let hashes: Vec<Digest> = claims.iter().map(Leaf::hash).collect();
        let root = merkle::root(&hashes).map_err(error)?;
        // The buffer was made in the right size.
        let written = folded.encode(self.kernels, &mut desk.wire);
        debug_assert!(written.is_ok());
        let mut batch = [0; 16];
        desk.rng.fill_bytes(&mut batch);
        let statement = Statement {
            deployment: self.deployment.id,
            key_epoch: self.deployment.epoch,
            params: params::id::<L>(),
            mode: SEALED_PROBE,
            dims: folded.layout().dims() as u16,
            threshold: threshold.score(),
            batch,
            time_ms: clock::unix_ms(),
            count: claims.len() as u8,
            result: bulk(Domain::RESULT, &[&desk.wire]),
            root,
        };
        let mut signature = Box::new([0; SIGNATURE_SIZE]);
        let no_key = || Error::new(Kind::KeyFile, "the custodian has no signing key");
        let key = self.signing.as_ref().as_ref().ok_or_else(no_key)?;
        statement.sign(key, &mut desk.rng, &mut signature).map_err(error)?;
        Ok(SignedBatch { statement, leaves: claims, signature })
    }
}

impl SignedBatch {
    /// Appends the receipt of every lane to `out`, in lane order.
    ///
    /// Errors: `E-ARGUMENT`, never for a batch that [`Custodian::sign`] made.
    pub fn receipts(&self, out: &mut Vec<u8>) -> Result<()> {
        let error = |e: symbolon_core::attest::Error| Error::new(Kind::Argument, e.to_string());
        let hashes: Vec<Digest> = self.leaves.iter().map(Leaf::hash).collect();
        let mut tree = Tree::new();
        tree.build(&hashes).map_err(error)?;
        let mut buffer = [0; Receipt::MAX_SIZE];
        for (index, leaf) in self.leaves.iter().enumerate() {
            let mut path = Path::EMPTY;
            tree.path(index, &mut path).map_err(error)?;
            let receipt = Receipt {
                statement: self.statement,
                leaf: *leaf,
                index: index as u8,
                path,
                signature: &self.signature,
            };
            let size = receipt.encode(&mut buffer).map_err(error)?;
            out.extend_from_slice(buffer.get(..size).unwrap_or_default());
        }
        Ok(())
    }
}
