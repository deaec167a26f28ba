use super::codec::{Reader, concat};
use super::{Digest, Domain, Error, Result};
use sha3::{Digest as _, Sha3_256};

/// RFC 9162, section 2.1.1: leaves and nodes are hashed under different first bytes.
const PREFIX: [u8; 1] = [0x00];

/// One decision, and commitments to everything it was computed from.
///
/// `probe`, `template` and `blind`, opened by those who hold what they commit to, let an auditor
/// run the match again and compare what the custodian was sent with
/// [`Statement::result`](super::Statement::result).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Identifier of the request, chosen by the gateway.
    pub request: [u8; 16],
    /// The relying party's challenge: what makes a receipt an answer to its question and not an
    /// old one shown again.
    pub nonce: [u8; 16],
    /// [`commit`](super::commit) to the claimed identity, under [`Domain::IDENTITY`].
    pub identity: Digest,
    /// The decision: whether the score reached the threshold.
    pub accept: bool,
    /// [`bulk`](super::bulk) digest of the probe ciphertext, under [`Domain::PROBE`].
    pub probe: Digest,
    /// [`commit`](super::commit) to the template, under [`Domain::TEMPLATE`].
    pub template: Digest,
    /// [`commit`](super::commit) to the seed of the re-randomisation, under [`Domain::BLIND`].
    pub blind: Digest,
}

impl Leaf {
    /// Encoded size in bytes.
    pub const SIZE: usize = 2 * 16 + 1 + 4 * 32;

    /// The fields back to back in the order of their declaration; `accept` is one byte, 0 or 1.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        concat(&[
            &self.request,
            &self.nonce,
            &self.identity,
            &[u8::from(self.accept)],
            &self.probe,
            &self.template,
            &self.blind,
        ])
    }

    /// Inverse of [`encode`](Self::encode).
    ///
    /// # Errors
    /// [`Error::NonCanonical`] if the byte of `accept` is neither 0 nor 1.
    pub fn decode(input: &[u8; Self::SIZE]) -> Result<Self> {
        let mut reader = Reader::new(input);
        Ok(Self {
            request: *reader.take()?,
            nonce: *reader.take()?,
            identity: *reader.take()?,
            accept: match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Error::NonCanonical),
            },
            probe: *reader.take()?,
            template: *reader.take()?,
            blind: *reader.take()?,
        })
    }

    /// The leaf's hash in the Merkle tree: SHA3-256 of length byte, `symbolon/leaf/v1`, 0x00 and
    /// the encoding (RFC 9162, section 2.1.1, with a domain before it).
    #[must_use]
    pub fn hash(&self) -> Digest {
        let hasher: Sha3_256 = Domain::LEAF.hasher();
        hasher.chain_update(PREFIX).chain_update(self.encode()).finalize().into()
    }
}
