use super::codec::{Reader, concat};
use super::merkle::{MAX_LEAVES, check_count};
use super::{Digest, Domain, Error, Result};
use sha3::{Digest as _, Sha3_256};

/// What the custodian states of one batch: the root of the batch's leaves, the setting in which they
/// were decided, and what they share. It is signed as part of a [`Window`](super::Window).
///
/// `probe`, `blind` and the leaves' templates, opened by those who hold what they commit to, let an
/// auditor run the match again and compare what the custodian was sent with `result`.
///
/// # Encoding
/// 218 bytes, back to back, integers little-endian:
///
/// | bytes | field |
/// |---|---|
/// | 1 | version: 2 |
/// | 16 | `deployment` |
/// | 4 | `key_epoch` |
/// | 1 | `params` |
/// | 1 | `mode` |
/// | 2 | `dims` |
/// | 4 | `threshold` |
/// | 32 | `policy` |
/// | 4 | `verifier` |
/// | 16 | `batch` |
/// | 8 | `time_ms` |
/// | 1 | `count` |
/// | 32 | `probe` |
/// | 32 | `blind` |
/// | 32 | `result` |
/// | 32 | `root` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Identifier of the deployment.
    pub deployment: [u8; 16],
    /// Epoch of the BFV key that decrypted.
    pub key_epoch: u32,
    /// Identifier of the BFV parameter set; its values are the deployment's, not checked here.
    pub params: u8,
    /// Identifier of the mode (which side was encrypted); not checked here.
    pub mode: u8,
    /// Dimensions of a template.
    pub dims: u16,
    /// The score that was enough to accept, on the scale of quantised scores (|score| <= 32767).
    pub threshold: i32,
    /// [`hash`](super::hash) of the deployment's settings, under [`Domain::POLICY`].
    pub policy: Digest,
    /// Version of what checked the identity proofs of the leaves; 0 if nothing did.
    pub verifier: u32,
    /// Identifier of the batch.
    pub batch: [u8; 16],
    /// When the custodian decided: milliseconds since 1970-01-01 UTC, by the custodian's clock.
    pub time_ms: u64,
    /// Leaves in the batch: 1 to [`MAX_LEAVES`].
    pub count: u8,
    /// [`bulk`](super::bulk) digest of the probe ciphertext, under [`Domain::PROBE`].
    pub probe: Digest,
    /// [`commit`](super::commit) to the seed of the re-randomisation, under [`Domain::BLIND`].
    pub blind: Digest,
    /// [`bulk`](super::bulk) digest of what the custodian decrypted, under [`Domain::RESULT`].
    pub result: Digest,
    /// Root of the Merkle tree over the batch's leaves.
    pub root: Digest,
}

impl Batch {
    /// Version of the encoding.
    pub const VERSION: u8 = 2;

    /// Encoded size in bytes.
    pub const SIZE: usize = 1 + 16 + 4 + 1 + 1 + 2 + 4 + 32 + 4 + 16 + 8 + 1 + 4 * 32;

    /// The fields as in the [table](Self#encoding). Of a batch whose `count` is out of range, it is
    /// an encoding that [`decode`](Self::decode) refuses.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        concat(&[
            &[Self::VERSION],
            &self.deployment,
            &self.key_epoch.to_le_bytes(),
            &[self.params, self.mode],
            &self.dims.to_le_bytes(),
            &self.threshold.to_le_bytes(),
            &self.policy,
            &self.verifier.to_le_bytes(),
            &self.batch,
            &self.time_ms.to_le_bytes(),
            &[self.count],
            &self.probe,
            &self.blind,
            &self.result,
            &self.root,
        ])
    }

    /// Inverse of [`encode`](Self::encode).
    ///
    /// # Errors
    /// [`Error::UnknownVersion`]; [`Error::LeafCount`] if `count` is out of range.
    pub fn decode(input: &[u8; Self::SIZE]) -> Result<Self> {
        let mut reader = Reader::new(input);
        if reader.u8()? != Self::VERSION {
            return Err(Error::UnknownVersion);
        }
        let batch = Self {
            deployment: *reader.take()?,
            key_epoch: u32::from_le_bytes(*reader.take()?),
            params: reader.u8()?,
            mode: reader.u8()?,
            dims: u16::from_le_bytes(*reader.take()?),
            threshold: i32::from_le_bytes(*reader.take()?),
            policy: *reader.take()?,
            verifier: u32::from_le_bytes(*reader.take()?),
            batch: *reader.take()?,
            time_ms: u64::from_le_bytes(*reader.take()?),
            count: reader.u8()?,
            probe: *reader.take()?,
            blind: *reader.take()?,
            result: *reader.take()?,
            root: *reader.take()?,
        };
        check_count(usize::from(batch.count), MAX_LEAVES)?;
        Ok(batch)
    }

    /// The batch's hash in the window's Merkle tree: SHA3-256 of length byte, `symbolon/batch/v2`,
    /// 0x00 and the encoding (RFC 9162, section 2.1.1, with a domain before it).
    #[must_use]
    pub fn hash(&self) -> Digest {
        let hasher: Sha3_256 = Domain::BATCH.hasher();
        hasher.chain_update([0x00]).chain_update(self.encode()).finalize().into()
    }
}
