//! Keys made ahead, certified many at once: a statement that the three families sign, and for each key its
//! place in it.
//!
//! ```text
//!    key ... key        public keys of one kind, up to 64 of a refill
//!       \    /
//!       Refill          kind, time, root
//!          |
//!    ML-DSA-65, FN-DSA-512 (draft), SLH-DSA-SHA2-128f
//! ```
//! What signatures cost is shared by the refill, as it is by a window; and a key is handed out with its
//! certificate ready. It says: the holder of the long-term keys made this key, for this deployment, as one
//! of this kind, at this time. It does not say that the key is still to be used, nor for what.

use super::codec::{Reader, concat, write};
use super::merkle::check_count;
use super::{
    Digest, Domain, Error, KeyId, KeySet, Path, Result, Sign, Signatures, Tree, Verify, hash,
};
use rand_core::CryptoRng;

/// The most keys of a refill.
pub const MAX_REFILL: usize = 64;

/// The most nodes of a path in a refill's tree.
pub const MAX_REFILL_PATH: usize = MAX_REFILL.ilog2() as usize;

/// A refill's tree: 4 KB.
pub type RefillTree = Tree<MAX_REFILL>;

/// The way from a key to its refill's root.
pub type RefillPath = Path<MAX_REFILL_PATH>;

/// What the three families sign of keys that were made together.
///
/// # Encoding
/// 115 bytes, back to back, integers little-endian:
///
/// | bytes | field |
/// |---|---|
/// | 1 | version: 1 |
/// | 16 | `deployment` |
/// | 16 | `keys` |
/// | 32 | `kind` |
/// | 8 | `sequence` |
/// | 8 | `time_ms` |
/// | 2 | `count` |
/// | 32 | `root` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refill {
    /// Identifier of the deployment.
    pub deployment: [u8; 16],
    /// The keys that sign.
    pub keys: KeyId,
    /// Which kind all its keys are: [`kind`](Self::kind) of the name.
    pub kind: Digest,
    /// Refills of this kind before this one, by the process that made it.
    pub sequence: u64,
    /// When it was made: milliseconds since 1970-01-01 UTC, by the signer's clock.
    pub time_ms: u64,
    /// Keys: 1 to [`MAX_REFILL`].
    pub count: u16,
    /// Root of the Merkle tree over the keys' [leaves](Self::leaf).
    pub root: Digest,
}

impl Refill {
    /// Version of the encoding.
    pub const VERSION: u8 = 1;

    /// Encoded size in bytes.
    pub const SIZE: usize = 1 + 2 * 16 + 32 + 2 * 8 + 2 + 32;

    /// Context string of the signatures: `symbolon/refill/v1`.
    pub const CONTEXT: Domain = Domain::new("symbolon/refill/v1");

    /// A kind by its name, for instance `ml-kem-768`: SHA3-256 of length byte, `symbolon/key-kind/v1`,
    /// and the name after its length.
    #[must_use]
    pub fn kind(name: &str) -> Digest {
        hash(Domain::KEY_KIND, &[name.as_bytes()])
    }

    /// A key in the tree: SHA3-256 of length byte, `symbolon/refill-key/v1`, and the kind's name and the
    /// encoded public key, each after its length.
    #[must_use]
    pub fn leaf(name: &str, public: &[u8]) -> Digest {
        hash(Domain::REFILL_KEY, &[name.as_bytes(), public])
    }

    /// The fields as in the [table](Self#encoding). Of a refill whose `count` is out of range, it is an
    /// encoding that [`decode`](Self::decode) refuses.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        concat(&[
            &[Self::VERSION],
            &self.deployment,
            &self.keys,
            &self.kind,
            &self.sequence.to_le_bytes(),
            &self.time_ms.to_le_bytes(),
            &self.count.to_le_bytes(),
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
        let refill = Self {
            deployment: *reader.take()?,
            keys: *reader.take()?,
            kind: *reader.take()?,
            sequence: u64::from_le_bytes(*reader.take()?),
            time_ms: u64::from_le_bytes(*reader.take()?),
            count: u16::from_le_bytes(*reader.take()?),
            root: *reader.take()?,
        };
        refill.check()?;
        Ok(refill)
    }

    fn check(&self) -> Result<()> {
        check_count(usize::from(self.count), MAX_REFILL)
    }

    /// Signs the encoding under [`CONTEXT`](Self::CONTEXT), hedged with fresh bytes of `rng`. The signature
    /// goes to the front of `out`: [`Family::signature_size`](super::Family::signature_size) bytes.
    ///
    /// # Errors
    /// [`Error::LeafCount`] for a refill that [`decode`](Self::decode) would refuse;
    /// [`Error::BufferTooSmall`], [`Error::Signing`].
    pub fn sign<S: Sign, R: CryptoRng + ?Sized>(
        &self,
        key: &S,
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<()> {
        self.check()?;
        key.sign(Self::CONTEXT, &self.encode(), rng, out)
    }
}

/// What a key is handed out with: its place in a refill, and the refill, signed.
///
/// # Encoding
/// Integers little-endian:
///
/// | bytes | field |
/// |---|---|
/// | 4 | magic `SYPC` |
/// | 1 | version: 1 |
/// | 115 | [`Refill`] |
/// | 2 | index of the key in its refill |
/// | 1 | nodes of the key's path: as many as its index and the refill's count demand |
/// | 32 each | the path, lowest node first |
/// | 21067 | number of signatures and signatures, as in a [`Receipt`](super::Receipt) |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// What was signed, shared by the refill's keys.
    pub refill: Refill,
    /// Index of the key in its refill: below the refill's `count`.
    pub index: u16,
    /// The way from the key to the refill's root.
    pub path: RefillPath,
    /// The signatures over the refill, shared by its keys.
    pub signatures: Signatures<'a>,
}

impl<'a> Certificate<'a> {
    /// The first bytes of every certificate.
    pub const MAGIC: [u8; 4] = *b"SYPC";

    /// Version of the encoding.
    pub const VERSION: u8 = 1;

    /// Encoded size of the certificate of a key alone.
    pub const MIN_SIZE: usize = 4 + 1 + Refill::SIZE + 2 + 1 + 1 + Signatures::SIZE;

    /// Encoded size of a certificate with the longest path.
    pub const MAX_SIZE: usize = Self::MIN_SIZE + MAX_REFILL_PATH * size_of::<Digest>();

    /// Writes the encoding to the front of `out` and returns its size, at most
    /// [`MAX_SIZE`](Self::MAX_SIZE).
    ///
    /// # Errors
    /// [`Error::LeafCount`], [`Error::LeafIndex`], [`Error::PathLength`] if the parts do not fit together;
    /// [`Error::BufferTooSmall`], which leaves a part of the encoding in `out`.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize> {
        self.check_shape()?;
        // `check_shape` bounds its length.
        let path = self.path.nodes();
        let head = write(
            out,
            &[
                &Self::MAGIC,
                &[Self::VERSION],
                &self.refill.encode(),
                &self.index.to_le_bytes(),
                &[path.len() as u8],
                path.as_flattened(),
            ],
        )?;
        let rest = out.get_mut(head..).ok_or(Error::BufferTooSmall)?;
        Ok(head + self.signatures.write(rest)?)
    }

    /// Reads the certificate that is the whole of `input`. It is well formed, and no more: only
    /// [`verify`](Self::verify) says whether it is true.
    ///
    /// # Errors
    /// The first of these in reading order: [`Error::BadMagic`], [`Error::UnknownVersion`],
    /// [`Error::LeafCount`], [`Error::LeafIndex`], [`Error::PathLength`], [`Error::MissingFamily`],
    /// [`Error::NonCanonical`], [`Error::UnknownAlgorithm`], [`Error::FamilyOrder`],
    /// [`Error::Truncated`], [`Error::TrailingBytes`].
    pub fn decode_exact(input: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(input);
        if *reader.take()? != Self::MAGIC {
            return Err(Error::BadMagic);
        }
        if reader.u8()? != Self::VERSION {
            return Err(Error::UnknownVersion);
        }
        let refill = Refill::decode(reader.take()?)?;
        let index = u16::from_le_bytes(*reader.take()?);
        let path = Path::read(&mut reader)?;
        path.check(usize::from(index), usize::from(refill.count))?;
        Signatures::read_count(&mut reader)?;
        let signatures = Signatures::read(&mut reader)?;
        if reader.remaining() > 0 {
            return Err(Error::TrailingBytes);
        }
        Ok(Self { refill, index, path, signatures })
    }

    /// Checks that `public` is a key of the kind `name` in this refill, and that all three families' keys
    /// signed it at a time at which they might. Gives the refill, of which deployment and time are left to
    /// the caller to judge.
    ///
    /// # Errors
    /// The first of these: [`Error::LeafCount`], [`Error::LeafIndex`], [`Error::PathLength`] if the parts do
    /// not fit together (never after [`decode_exact`](Self::decode_exact)); [`Error::WrongKind`],
    /// [`Error::WrongPath`]; [`Error::UnknownKey`], [`Error::Revoked`], [`Error::NotYetValid`],
    /// [`Error::Retired`]; [`Error::WrongSignature`].
    pub fn verify<M: Verify, F: Verify, S: Verify>(
        &self,
        name: &str,
        public: &[u8],
        keys: &KeySet<M, F, S>,
    ) -> Result<&Refill> {
        self.check_shape()?;
        let Self { refill, index, path, signatures } = self;
        if refill.kind != Refill::kind(name) {
            return Err(Error::WrongKind);
        }
        let (index, count) = (usize::from(*index), usize::from(refill.count));
        if path.root(&Refill::leaf(name, public), index, count)? != refill.root {
            return Err(Error::WrongPath);
        }
        keys.check_signer(&refill.keys, refill.time_ms)?;
        keys.verify_all(Refill::CONTEXT, &refill.encode(), signatures)?;
        Ok(refill)
    }

    /// Checks that there is an encoding of it.
    fn check_shape(&self) -> Result<()> {
        self.refill.check()?;
        self.path.check(usize::from(self.index), usize::from(self.refill.count))
    }
}
