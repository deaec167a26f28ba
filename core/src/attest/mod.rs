//! Receipts: a batch's decisions, signed so that they can be checked offline.
//!
//! The custodian turns each decision of a batch into a [`Leaf`], the leaves into a Merkle [`Tree`],
//! and signs the root, within a [`Statement`], with ML-DSA-65. A [`Receipt`] is one leaf, its
//! [`Path`] and the signed statement: what the relying party keeps.
//!
//! # What a receipt proves
//! The holder of the signing key decided this bit, for these commitments (identity, probe
//! ciphertext, template, re-randomisation seed), in answer to this request and nonce, in this batch,
//! with this threshold, key epoch and parameters, and says it did so at this time. The bit cannot
//! be changed, nor moved to another request, position, batch or deployment, without forging
//! ML-DSA-65 or colliding SHA3-256. It shows nothing of the batch's other leaves but their number
//! and a few hashes.
//!
//! # What it does not prove
//! - That the matcher used the probe and the template that the leaf commits to. The custodian sees
//!   neither; it signs what it was told and what it decrypted ([`Statement::result`]). An auditor
//!   who is shown what the commitments open to can run the match again and compare.
//! - That the template belongs to the identity, or that a live person stood before the sensor.
//! - That the time is right, beyond the custodian's clock.
//! - That it answers the relying party's question: see [`Receipt::verify`] for what to compare.
//!
//! Whoever holds the signing key can decide anything. The decision is as good as the custodian.
//!
//! # Example
//! ```
//! # use symbolon_core::attest::*;
//! # fn main() -> Result<()> {
//! # let mut rng = <chacha20::ChaCha20Rng as rand_core::SeedableRng>::from_seed([7; 32]);
//! # let leaves = [Leaf {
//! #     request: [1; 16], nonce: [2; 16], identity: [3; 32], accept: true,
//! #     probe: [4; 32], template: [5; 32], blind: [6; 32],
//! # }; 3];
//! # let mut statement = Statement {
//! #     deployment: [1; 16], key_epoch: 1, params: 1, mode: 1, dims: 128, threshold: 9000,
//! #     batch: [2; 16], time_ms: 1_800_000_000_000, count: 3, result: [3; 32], root: [0; 32],
//! # };
//! # let mut public = [0; PUBLIC_KEY_SIZE];
//! // The custodian, once a batch ...
//! let mut slot = None;
//! let key = SigningKey::init(&mut slot, &[42; SEED_SIZE]);
//! # key.public_key(&mut public);
//! let mut tree = Tree::new();
//! statement.root = tree.build(&leaves.map(|leaf| leaf.hash()))?;
//! let mut signature = [0; SIGNATURE_SIZE];
//! statement.sign(key, &mut rng, &mut signature)?;
//! // ... and for each leaf.
//! let mut receipt =
//!     Receipt { statement, leaf: leaves[2], index: 2, path: Path::EMPTY, signature: &signature };
//! tree.path(2, &mut receipt.path)?;
//! let mut bytes = [0; Receipt::MAX_SIZE];
//! let size = receipt.encode(&mut bytes)?;
//!
//! // The relying party.
//! let receipt = Receipt::decode_exact(&bytes[..size])?;
//! let leaf = receipt.verify(&VerifyingKey::decode(&public))?;
//! assert!(leaf.accept && leaf.nonce == [2; 16]);
//! # Ok(())
//! # }
//! ```

mod codec;
mod digest;
mod error;
mod leaf;
pub mod merkle;
pub mod mldsa;
mod receipt;
mod statement;

pub use digest::{Digest, Domain, bulk, commit, hash};
pub use error::{Error, Result};
pub use leaf::Leaf;
pub use merkle::{MAX_LEAVES, MAX_PATH, Path, Tree};
pub use mldsa::{PUBLIC_KEY_SIZE, SEED_SIZE, SIGNATURE_SIZE, Signature, SigningKey, VerifyingKey};
pub use receipt::Receipt;
pub use statement::Statement;
