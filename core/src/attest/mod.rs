//! Receipts: decisions, signed so that they can be checked offline.
//!
//! The custodian turns each decision of a batch into a [`Leaf`], the leaves into a Merkle tree, and
//! states its root and the setting of the batch: a [`Batch`]. The batches of a short window make a
//! second tree, whose root stands in a [`Window`], and that is signed, by three families at once:
//! what signatures cost is shared by all batches of the window.
//!
//! ```text
//!    Leaf ... Leaf        Leaf ... Leaf        one decision each
//!       \      /             \      /
//!        Batch      ...       Batch            setting, root of up to 32 leaves
//!             \              /
//!    previous <-- Window <-- next              keys, time, root of up to 4096 batches
//!                   |
//!     ML-DSA-65, FN-DSA-512 (draft), SLH-DSA-SHA2-128f
//! ```
//!
//! A [`Receipt`] is one leaf, its path, its batch, the batch's path, the window and the three
//! signatures: what the relying party keeps. It verifies with a [`KeySet`] alone, whole or, with
//! [`StreamVerifier`], as it comes in.
//!
//! # Three families
//! | family | standard | rests on |
//! |---|---|---|
//! | [`mldsa`] | FIPS 204 | module lattices |
//! | [`fndsa`] | FIPS 206, **a draft** | NTRU lattices |
//! | [`slhdsa`] | FIPS 205 | hash functions alone |
//!
//! All three signatures must verify, so a receipt is as hard to forge as the hardest of them, and a
//! draft among them takes nothing away. Since FIPS 206 is not final, [`Family::FnDsa512Draft`] carries
//! a mark in its name and in its identifier, and the final standard will get another.
//!
//! Each family signs the encoded window itself, not a hash of it made outside, under the context
//! string [`Window::CONTEXT`] (FIPS 204, section 5.2; FIPS 205, section 10.2; the draft has one too).
//!
//! # What a receipt proves
//! The holder of the signing keys attests this bit, for these commitments (identity, template,
//! identity proof if there was one; probe ciphertext and re-randomisation seed of the batch), in answer to this
//! request and nonce, in this batch, with this threshold, policy, key epoch and parameters, and says
//! that it was decided at this time and signed at that. The bit cannot be changed, nor moved to
//! another request, position, batch, window or deployment, without forging all three families or
//! colliding SHA3-256. It shows nothing of other decisions but how many there were and a few hashes.
//!
//! Each window names the hash of the one before. Who has kept one window can see whether the windows
//! up to it are still those that led to it.
//!
//! # What it does not prove
//! - That the matcher used the probe and the template that are committed to. The custodian sees
//!   neither; it signs what it was told and what it decrypted ([`Batch::result`]). An auditor
//!   who is shown what the commitments open to can run the match again and compare.
//! - That an identity proof is good: it names the proof and what checked it ([`Batch::verifier`]).
//! - That the template belongs to the identity, or that a live person stood before the sensor.
//! - That the times are right, beyond the signer's clocks. Validity of keys is checked at the time
//!   that the window claims; a thief claims any, so revocation asks no time.
//! - That the chain of windows has no branch, or where it ends: that takes somebody who keeps windows
//!   and compares.
//! - That it answers the relying party's question: see [`Receipt::verify`] for what to compare.
//!
//! Whoever holds the signing keys can decide anything. The decision is as good as the custodian.
//!
//! # One fixed encoding
//! Every field has one place and one form, so there is one encoding of each receipt, and whatever
//! is accepted is what an encoder writes. CBOR and COSE would need rules on top for that (RFC 8949,
//! section 4.2), and a parser to trust in the smallest verifier; this is read in place, with no memory
//! but the result. Who needs an EAT (RFC 9711) can carry a receipt in it as a byte string.
//!
//! # Memory
//! Verification allocates nothing. Measured on x86-64, with the `ml-dsa` crate: 44 KB of keys made
//! ready, 79 KB of stack in [`Receipt::verify`], nearly all of it ML-DSA's, 7 KB in
//! [`Receipt::decode`], and the receipt, at most 22 KB; in a stream 81 KB of stack, and 17 KB of
//! buffer instead of the receipt. With libcrux's ML-DSA behind [`Verify`], keys and stack together are
//! 72 KB. `cargo xtask stack` measures and limits both.
//!
//! # Example
//! ```
//! # use symbolon_core::attest::*;
//! # fn main() -> Result<()> {
//! # let mut rng = <chacha20::ChaCha20Rng as rand_core::SeedableRng>::from_seed([7; 32]);
//! # let leaves = [Leaf {
//! #     request: [1; 16], nonce: [2; 16], identity: [3; 32], accept: true, proof: None,
//! #     template: [5; 32],
//! # }; 3];
//! # let mut batch = Batch {
//! #     deployment: [1; 16], key_epoch: 1, params: 1, mode: 1, dims: 128, threshold: 9000,
//! #     policy: [7; 32], verifier: 0, batch: [2; 16], time_ms: 1_800_000_000_000, count: 3,
//! #     probe: [4; 32], blind: [6; 32], result: [3; 32], root: [0; 32],
//! # };
//! # let kernels = symbolon_core::kernel::Kernels::scalar(symbolon_core::cap::Scalar);
//! # let (mut ml_dsa, mut fn_dsa, mut slh_dsa) = (None, None, None);
//! # let ml_dsa = mldsa::SigningKey::init(&mut ml_dsa, &[1; SEED_SIZE]);
//! # let fn_dsa = fndsa::SigningKey::init(&mut fn_dsa, &[2; SEED_SIZE]);
//! # let slh_dsa = slhdsa::SigningKey::init(&mut slh_dsa, &[3; SEED_SIZE]);
//! # let mut ml_dsa_public = [0; mldsa::PUBLIC_KEY_SIZE];
//! # ml_dsa.public_key(&mut ml_dsa_public)?;
//! # let mut fn_dsa_public = [0; fndsa::PUBLIC_KEY_SIZE];
//! # fn_dsa.public_key(&mut fn_dsa_public)?;
//! # let mut slh_dsa_public = [0; slhdsa::PUBLIC_KEY_SIZE];
//! # slh_dsa.public_key(&mut slh_dsa_public)?;
//! // The custodian, once a batch ...
//! let mut tree = BatchTree::new();
//! let mut hashes = [[0; 32]; 3];
//! LeafHasher::new(kernels).hash(kernels, &leaves, &mut hashes);
//! batch.root = tree.build(kernels, &hashes)?;
//! // ... once a window, here of one batch ...
//! let id = key_id(&ml_dsa_public, &fn_dsa_public, &slh_dsa_public);
//! let mut batches = merkle::Tree::<1>::new();
//! let window = Window {
//!     deployment: batch.deployment,
//!     keys: id,
//!     sequence: 0,
//!     time_ms: batch.time_ms + 100,
//!     count: 1,
//!     previous: [0; 32],
//!     root: batches.build(kernels, &[batch.hash()])?,
//! };
//! let mut signatures =
//!     ([0; mldsa::SIGNATURE_SIZE], [0; fndsa::SIGNATURE_SIZE], [0; slhdsa::SIGNATURE_SIZE]);
//! window.sign(ml_dsa, &mut rng, &mut signatures.0)?;
//! window.sign(fn_dsa, &mut rng, &mut signatures.1)?;
//! window.sign(slh_dsa, &mut rng, &mut signatures.2)?;
//! // ... and for each leaf.
//! let mut receipt = Receipt {
//!     leaf: leaves[2],
//!     index: 2,
//!     path: BatchPath::EMPTY,
//!     batch,
//!     batch_index: 0,
//!     window_path: WindowPath::EMPTY,
//!     window,
//!     signatures: Signatures {
//!         ml_dsa: &signatures.0,
//!         fn_dsa: &signatures.1,
//!         slh_dsa: &signatures.2,
//!     },
//! };
//! tree.path(2, &mut receipt.path)?;
//! let mut bytes = [0; Receipt::MAX_SIZE];
//! let size = receipt.encode(&mut bytes)?;
//!
//! // The relying party.
//! let keys = KeySet {
//!     id,
//!     validity: Validity::ALWAYS,
//!     ml_dsa: mldsa::VerifyingKey::decode(&ml_dsa_public),
//!     fn_dsa: fndsa::VerifyingKey::decode(&fn_dsa_public)?,
//!     slh_dsa: slhdsa::VerifyingKey::decode(&slh_dsa_public),
//! };
//! let receipt = Receipt::decode_exact(&bytes[..size])?;
//! let leaf = receipt.verify(&keys)?;
//! assert!(leaf.accept && leaf.nonce == [2; 16]);
//! # Ok(())
//! # }
//! ```

mod batch;
mod bulk;
mod codec;
mod digest;
mod error;
pub mod family;
pub mod fndsa;
mod keys;
mod leaf;
mod many;
pub mod merkle;
pub mod mldsa;
mod receipt;
mod refill;
pub mod slhdsa;
mod stream;
mod window;

pub use batch::Batch;
pub use bulk::bulk;
pub use digest::{Digest, Domain, commit, hash};
pub use error::{Error, Result};
pub use family::{Family, SEED_SIZE, Sign, Verify};
pub use keys::{KeyId, KeySet, Validity, key_id};
pub use leaf::{Leaf, LeafHasher};
pub use merkle::{
    BatchPath, BatchTree, MAX_BATCHES, MAX_LEAVES, MAX_PATH, MAX_WINDOW_PATH, Path, Tree,
    WindowPath, WindowTree,
};
pub use receipt::Receipt;
pub use refill::{Certificate, MAX_REFILL, MAX_REFILL_PATH, Refill, RefillPath, RefillTree};
pub use stream::{Proven, StreamBuffer, StreamVerifier};
pub use window::{Signatures, Window};
