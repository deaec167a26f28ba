use super::codec::{Reader, concat};
use super::merkle::check_count;
use super::{Digest, Domain, Error, Result, Signature, SigningKey, VerifyingKey};
use rand_core::CryptoRng;

/// What the custodian signs, once a batch: the root of the batch's leaves and the setting in which
/// they were decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
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
    /// Identifier of the batch.
    pub batch: [u8; 16],
    /// When the custodian decided: milliseconds since 1970-01-01 UTC, by the custodian's clock.
    pub time_ms: u64,
    /// Leaves in the batch: 1 to [`MAX_LEAVES`](super::MAX_LEAVES).
    pub count: u8,
    /// [`bulk`](super::bulk) digest of what the custodian decrypted, under [`Domain::RESULT`].
    pub result: Digest,
    /// Root of the Merkle tree over the batch's leaves.
    pub root: Digest,
}

impl Statement {
    /// Version of the encoding.
    pub const VERSION: u8 = 1;

    /// Encoded size in bytes.
    pub const SIZE: usize = 1 + 16 + 4 + 1 + 1 + 2 + 4 + 16 + 8 + 1 + 2 * 32;

    /// Context string of the signature: `symbolon/statement/v1`.
    pub const CONTEXT: Domain = Domain::new("symbolon/statement/v1");

    /// [`VERSION`](Self::VERSION), then the fields back to back in the order of their declaration,
    /// integers little-endian. Of a statement whose `count` is out of range, it is an encoding that
    /// [`decode`](Self::decode) refuses.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        concat(&[
            &[Self::VERSION],
            &self.deployment,
            &self.key_epoch.to_le_bytes(),
            &[self.params, self.mode],
            &self.dims.to_le_bytes(),
            &self.threshold.to_le_bytes(),
            &self.batch,
            &self.time_ms.to_le_bytes(),
            &[self.count],
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
        let statement = Self {
            deployment: *reader.take()?,
            key_epoch: u32::from_le_bytes(*reader.take()?),
            params: reader.u8()?,
            mode: reader.u8()?,
            dims: u16::from_le_bytes(*reader.take()?),
            threshold: i32::from_le_bytes(*reader.take()?),
            batch: *reader.take()?,
            time_ms: u64::from_le_bytes(*reader.take()?),
            count: reader.u8()?,
            result: *reader.take()?,
            root: *reader.take()?,
        };
        check_count(usize::from(statement.count))?;
        Ok(statement)
    }

    /// Signs the encoding under [`CONTEXT`](Self::CONTEXT): one signature serves all receipts of
    /// the batch.
    ///
    /// # Errors
    /// [`Error::LeafCount`] if `count` is out of range, [`Error::Signing`]; `signature` is then
    /// left as it was.
    pub fn sign<R: CryptoRng + ?Sized>(
        &self,
        key: &SigningKey,
        rng: &mut R,
        signature: &mut Signature,
    ) -> Result<()> {
        check_count(usize::from(self.count))?;
        key.sign(Self::CONTEXT, &self.encode(), rng, signature)
    }

    /// Checks that `signature` is one by `key` over this statement.
    ///
    /// # Errors
    /// [`Error::WrongSignature`].
    pub fn verify(&self, key: &VerifyingKey, signature: &Signature) -> Result<()> {
        key.verify(Self::CONTEXT, &self.encode(), signature)
    }
}
