use super::codec::{Reader, concat};
use super::many::{self, BLOCK, Begun};
use super::{Digest, Domain, Error, Result};
use crate::kernel::Kernels;
use sha3::{Digest as _, Sha3_256};

/// One decision, and commitments to what is its own. What it shares with its batch, the probe
/// ciphertext among it, stands in the [`Batch`](super::Batch).
///
/// # Encoding
/// 130 bytes, back to back:
///
/// | bytes | field |
/// |---|---|
/// | 16 | `request` |
/// | 16 | `nonce` |
/// | 32 | `identity` |
/// | 1 | `accept`: 0 or 1 |
/// | 1 + 32 | `proof`: 0 and 32 zero bytes if absent, 1 and the digest if present |
/// | 32 | `template` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Identifier of the request, chosen by the gateway; the receipt's identifier too.
    pub request: [u8; 16],
    /// The relying party's challenge: what makes a receipt an answer to its question and not an
    /// old one shown again.
    pub nonce: [u8; 16],
    /// [`commit`](super::commit) to the claimed identity, under [`Domain::IDENTITY`].
    pub identity: Digest,
    /// The decision: whether the score reached the threshold.
    pub accept: bool,
    /// [`bulk`](super::bulk) digest of the identity proof that came with the probe, under
    /// [`Domain::PROOF`]; `None` where none was asked for. What checked it is
    /// [`Batch::verifier`](super::Batch::verifier).
    pub proof: Option<Digest>,
    /// [`commit`](super::commit) to the template, under [`Domain::TEMPLATE`].
    pub template: Digest,
}

impl Leaf {
    /// Encoded size in bytes.
    pub const SIZE: usize = 2 * 16 + 2 + 3 * 32;

    /// The fields as in the [table](Self#encoding).
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        concat(&[
            &self.request,
            &self.nonce,
            &self.identity,
            &[u8::from(self.accept), u8::from(self.proof.is_some())],
            &self.proof.unwrap_or_default(),
            &self.template,
        ])
    }

    /// Inverse of [`encode`](Self::encode).
    ///
    /// # Errors
    /// [`Error::NonCanonical`] if `accept` or the mark of `proof` is neither 0 nor 1, or an absent
    /// proof has a digest.
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
            proof: match (reader.u8()?, *reader.take()?) {
                (0, digest) if digest == Digest::default() => None,
                (1, digest) => Some(digest),
                _ => return Err(Error::NonCanonical),
            },
            template: *reader.take()?,
        })
    }

    /// The leaf's hash in the batch's Merkle tree: SHA3-256 of one block (136 bytes: length byte,
    /// `symbolon/leaf/v2`, zeros), 0x00 and the encoding (RFC 9162, section 2.1.1, with a domain before it,
    /// padded as in SP 800-185, section 2.3.3). [`LeafHasher`] makes many in a fraction of the time.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let hasher = Sha3_256::new().chain_update(FIRST).chain_update([PREFIX]);
        hasher.chain_update(self.encode()).finalize().into()
    }
}

/// What stands before each leaf: a block, and a byte.
const FIRST: [u8; BLOCK] = {
    let mut block = [0; BLOCK];
    let name = Domain::LEAF.as_bytes();
    block[0] = name.len() as u8;
    let mut i = 0;
    while i < name.len() {
        block[1 + i] = name[i];
        i += 1;
    }
    block
};
const PREFIX: u8 = 0x00;

/// Hashes leaves, several at once where the processor can: the first block is absorbed once, and then each takes
/// one permutation.
#[derive(Clone)]
pub struct LeafHasher(Begun);

impl core::fmt::Debug for LeafHasher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LeafHasher").finish_non_exhaustive()
    }
}

impl LeafHasher {
    /// With the first block absorbed.
    #[must_use]
    pub fn new(kernels: &Kernels) -> Self {
        Self(many::begin(kernels, &FIRST))
    }

    /// [`Leaf::hash`] of each, as many as there is room for in `out`.
    pub fn hash(&self, kernels: &Kernels, leaves: &[Leaf], out: &mut [Digest]) {
        let endings = leaves.iter().map(|leaf| {
            let mut ending = [PREFIX; 1 + Leaf::SIZE];
            if let Some((_, encoding)) = ending.split_first_chunk_mut::<1>() {
                encoding.copy_from_slice(&leaf.encode());
            }
            ending
        });
        many::finish(kernels, &self.0, endings, out);
    }
}
