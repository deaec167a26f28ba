use super::codec::{Reader, concat, write};
use super::merkle::{MAX_BATCHES, check_count};
use super::{Digest, Domain, Error, Family, KeyId, KeySet, Result, Sign, Verify, hash};
use rand_core::CryptoRng;

/// What the three families sign: the root of the [batches](super::Batch) of a short span of time,
/// and the window before it.
///
/// # Encoding
/// 115 bytes, back to back, integers little-endian:
///
/// | bytes | field |
/// |---|---|
/// | 1 | version: 1 |
/// | 16 | `deployment` |
/// | 16 | `keys` |
/// | 8 | `sequence` |
/// | 8 | `time_ms` |
/// | 2 | `count` |
/// | 32 | `previous` |
/// | 32 | `root` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Identifier of the deployment: that of every batch in the window.
    pub deployment: [u8; 16],
    /// The keys that sign.
    pub keys: KeyId,
    /// Windows of the deployment before this one.
    pub sequence: u64,
    /// When the window was closed: milliseconds since 1970-01-01 UTC, by the signer's clock.
    pub time_ms: u64,
    /// Batches in the window: 1 to [`MAX_BATCHES`].
    pub count: u16,
    /// [`hash`](Self::hash) of the window before: zero for `sequence` 0, which has none.
    pub previous: Digest,
    /// Root of the Merkle tree over the batches.
    pub root: Digest,
}

impl Window {
    /// Version of the encoding.
    pub const VERSION: u8 = 1;

    /// Encoded size in bytes.
    pub const SIZE: usize = 1 + 2 * 16 + 2 * 8 + 2 + 2 * 32;

    /// Context string of the signatures: `symbolon/window/v1`.
    pub const CONTEXT: Domain = Domain::new("symbolon/window/v1");

    /// The fields as in the [table](Self#encoding). Of a window that breaks the rules of `count` or
    /// `previous`, it is an encoding that [`decode`](Self::decode) refuses.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        concat(&[
            &[Self::VERSION],
            &self.deployment,
            &self.keys,
            &self.sequence.to_le_bytes(),
            &self.time_ms.to_le_bytes(),
            &self.count.to_le_bytes(),
            &self.previous,
            &self.root,
        ])
    }

    /// Inverse of [`encode`](Self::encode).
    ///
    /// # Errors
    /// [`Error::UnknownVersion`]; [`Error::LeafCount`] if `count` is out of range;
    /// [`Error::NonCanonical`] if `sequence` is 0 and `previous` is not.
    pub fn decode(input: &[u8; Self::SIZE]) -> Result<Self> {
        let mut reader = Reader::new(input);
        if reader.u8()? != Self::VERSION {
            return Err(Error::UnknownVersion);
        }
        let window = Self {
            deployment: *reader.take()?,
            keys: *reader.take()?,
            sequence: u64::from_le_bytes(*reader.take()?),
            time_ms: u64::from_le_bytes(*reader.take()?),
            count: u16::from_le_bytes(*reader.take()?),
            previous: *reader.take()?,
            root: *reader.take()?,
        };
        window.check()?;
        Ok(window)
    }

    /// The rules that not every value of this type keeps.
    pub(super) fn check(&self) -> Result<()> {
        check_count(usize::from(self.count), MAX_BATCHES)?;
        if self.sequence == 0 && self.previous != Digest::default() {
            return Err(Error::NonCanonical);
        }
        Ok(())
    }

    /// What the next window's `previous` must be: SHA3-256 of length byte,
    /// `symbolon/window-hash/v1`, the encoding's length as 8 bytes and the encoding.
    #[must_use]
    pub fn hash(&self) -> Digest {
        hash(Domain::WINDOW_HASH, &[&self.encode()])
    }

    /// Signs the encoding under [`CONTEXT`](Self::CONTEXT), hedged with fresh bytes of `rng`: one
    /// signature a family serves all receipts of the window. It goes to the front of `out`:
    /// [`Family::signature_size`] bytes.
    ///
    /// # Errors
    /// [`Error::LeafCount`], [`Error::NonCanonical`] for a window that [`decode`](Self::decode) would
    /// refuse; [`Error::BufferTooSmall`], [`Error::Signing`].
    pub fn sign<S: Sign, R: CryptoRng + ?Sized>(
        &self,
        key: &S,
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<()> {
        self.check()?;
        key.sign(Self::CONTEXT, &self.encode(), rng, out)
    }

    /// Signs as [`sign`](Self::sign) does, but deterministically: for known answers.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub fn sign_deterministic<S: Sign>(&self, key: &S, out: &mut [u8]) -> Result<()> {
        self.check()?;
        key.sign_deterministic(Self::CONTEXT, &self.encode(), out)
    }

    /// Checks that `keys` sign for this window at its time, and that each family's signature is one
    /// by its key over this window: one or two of three are not enough.
    ///
    /// # Errors
    /// Those of [`KeySet::check`], then [`Error::WrongSignature`] with the first family, in the order
    /// of [`Family::ALL`], whose signature is wrong.
    pub fn verify<M: Verify, F: Verify, S: Verify>(
        &self,
        keys: &KeySet<M, F, S>,
        signatures: &Signatures<'_>,
    ) -> Result<()> {
        keys.check(self)?;
        keys.verify_all(Self::CONTEXT, &self.encode(), signatures)
    }
}

/// The three signatures over one [`Window`] or [`Refill`](super::Refill), encoded as their standards say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signatures<'a> {
    /// ML-DSA-65.
    pub ml_dsa: &'a [u8; Family::MlDsa65.signature_size()],
    /// FN-DSA-512, of the draft.
    pub fn_dsa: &'a [u8; Family::FnDsa512Draft.signature_size()],
    /// SLH-DSA-SHA2-128f.
    pub slh_dsa: &'a [u8; Family::SlhDsaSha2_128f.signature_size()],
}

impl<'a> Signatures<'a> {
    /// Bytes of the three with their identifiers.
    pub(super) const SIZE: usize = {
        let [first, second, third] = Family::ALL;
        3 + first.signature_size() + second.signature_size() + third.signature_size()
    };

    /// Writes their number, and each after its family's identifier, to the front of `out`.
    pub(super) fn write(&self, out: &mut [u8]) -> Result<usize> {
        let Self { ml_dsa, fn_dsa, slh_dsa } = self;
        let [ml_dsa_id, fn_dsa_id, slh_dsa_id] = Family::ALL.map(|family| [family.id()]);
        let count = [Family::ALL.len() as u8];
        let ids: [&[u8]; 3] = [&ml_dsa_id, &fn_dsa_id, &slh_dsa_id];
        let [a, b, c] = ids;
        write(out, &[&count, a, *ml_dsa, b, *fn_dsa, c, *slh_dsa])
    }

    /// Reads their number, which must be three.
    pub(super) fn read_count(reader: &mut Reader<'_>) -> Result<()> {
        match usize::from(reader.u8()?) {
            count if count < Family::ALL.len() => Err(Error::MissingFamily),
            count if count > Family::ALL.len() => Err(Error::NonCanonical),
            _ => Ok(()),
        }
    }

    /// Reads what follows their number.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self> {
        Ok(Self {
            ml_dsa: signature(reader, Family::MlDsa65)?,
            fn_dsa: signature(reader, Family::FnDsa512Draft)?,
            slh_dsa: signature(reader, Family::SlhDsaSha2_128f)?,
        })
    }

    /// The signature of `family`.
    #[must_use]
    pub const fn of(&self, family: Family) -> &'a [u8] {
        match family {
            Family::MlDsa65 => self.ml_dsa,
            Family::FnDsa512Draft => self.fn_dsa,
            Family::SlhDsaSha2_128f => self.slh_dsa,
        }
    }
}

/// Reads an identifier, which must be that of `family`, and the signature.
fn signature<'a, const SIZE: usize>(
    reader: &mut Reader<'a>,
    family: Family,
) -> Result<&'a [u8; SIZE]> {
    check_id(reader.u8()?, family)?;
    reader.take()
}

/// Checks the identifier where a signature of `family` should begin.
pub(super) fn check_id(id: u8, family: Family) -> Result<()> {
    match Family::from_id(id) {
        Some(found) if found == family => Ok(()),
        Some(_) => Err(Error::FamilyOrder),
        None => Err(Error::UnknownAlgorithm),
    }
}
