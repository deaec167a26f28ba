use super::codec::{Reader, write};
use super::merkle::path_len;
use super::{Digest, Error, Leaf, MAX_PATH, Path, Result, SIGNATURE_SIZE, Signature};
use super::{Statement, VerifyingKey};

/// A leaf, its path, and the signed statement the path leads to: the proof of one decision.
///
/// # Encoding
/// | bytes | field |
/// |---|---|
/// | 4 | magic `SYRC` |
/// | 1 | version: 1 |
/// | 1 | signature algorithm: 1 = ML-DSA-65 |
/// | 118 | [`Statement`] |
/// | 1 | index of the leaf |
/// | 161 | [`Leaf`] |
/// | 32 each | path, lowest node first; how many, index and the statement's count determine |
/// | 3309 | signature |
///
/// There is one encoding of each receipt, and it ends by itself: a receipt file is receipts back
/// to back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// What was signed.
    pub statement: Statement,
    /// The decision this receipt proves.
    pub leaf: Leaf,
    /// Index of the leaf in its batch: below the statement's `count`.
    pub index: u8,
    /// The way from the leaf to the statement's root.
    pub path: Path,
    /// The signature over the statement, shared by the batch's receipts.
    pub signature: &'a Signature,
}

impl<'a> Receipt<'a> {
    /// The first bytes of every receipt.
    pub const MAGIC: [u8; 4] = *b"SYRC";

    /// Version of the encoding.
    pub const VERSION: u8 = 1;

    /// Algorithm identifier of ML-DSA-65 (FIPS 204).
    pub const ML_DSA_65: u8 = 1;

    /// Encoded size of the only receipt of a batch of one.
    pub const MIN_SIZE: usize =
        Self::MAGIC.len() + 2 + Statement::SIZE + 1 + Leaf::SIZE + SIGNATURE_SIZE;

    /// Encoded size of a receipt with the longest path.
    pub const MAX_SIZE: usize = Self::MIN_SIZE + MAX_PATH * size_of::<Digest>();

    /// Writes the encoding to the front of `out` and returns its size, at most
    /// [`MAX_SIZE`](Self::MAX_SIZE).
    ///
    /// # Errors
    /// [`Error::LeafCount`], [`Error::LeafIndex`] or [`Error::PathLength`] if statement, index and
    /// path do not fit together; [`Error::BufferTooSmall`], which leaves a part of the encoding in
    /// `out`.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize> {
        if self.path.nodes().len() != self.path_len()? {
            return Err(Error::PathLength);
        }
        write(
            out,
            &[
                &Self::MAGIC,
                &[Self::VERSION, Self::ML_DSA_65],
                &self.statement.encode(),
                &[self.index],
                &self.leaf.encode(),
                self.path.nodes().as_flattened(),
                self.signature,
            ],
        )
    }

    /// Reads the receipt at the front of `input` and returns it with the bytes it takes up. It is
    /// well formed, and no more: only [`verify`](Self::verify) says whether it is true.
    ///
    /// # Errors
    /// [`Error::BadMagic`], [`Error::UnknownVersion`], [`Error::UnknownAlgorithm`],
    /// [`Error::Truncated`], [`Error::NonCanonical`], [`Error::LeafCount`] or
    /// [`Error::LeafIndex`].
    pub fn decode(input: &'a [u8]) -> Result<(Self, usize)> {
        let mut reader = Reader::new(input);
        if *reader.take()? != Self::MAGIC {
            return Err(Error::BadMagic);
        }
        if reader.u8()? != Self::VERSION {
            return Err(Error::UnknownVersion);
        }
        if reader.u8()? != Self::ML_DSA_65 {
            return Err(Error::UnknownAlgorithm);
        }
        let statement = Statement::decode(reader.take()?)?;
        let index = reader.u8()?;
        let leaf = Leaf::decode(reader.take()?)?;
        let mut nodes = [Digest::default(); MAX_PATH];
        let nodes = nodes
            .get_mut(..path_len(usize::from(index), usize::from(statement.count))?)
            .ok_or(Error::PathLength)?;
        for node in nodes.iter_mut() {
            *node = *reader.take()?;
        }
        let path = Path::new(nodes)?;
        let signature = reader.take()?;
        let receipt = Self { statement, leaf, index, path, signature };
        Ok((receipt, input.len() - reader.remaining()))
    }

    /// Reads the receipt that is the whole of `input`.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), and [`Error::TrailingBytes`].
    pub fn decode_exact(input: &'a [u8]) -> Result<Self> {
        let (receipt, used) = Self::decode(input)?;
        if used != input.len() {
            return Err(Error::TrailingBytes);
        }
        Ok(receipt)
    }

    /// Checks path, root and signature, and returns the leaf they prove.
    ///
    /// What is then certain is in the [module page](super). What is left to the relying party, which
    /// alone knows what it asked: that `nonce` is its challenge, that `identity` opens to whom it
    /// asked about, that the statement's deployment, epoch, parameters, mode, threshold and time
    /// are ones it trusts, and that [`Leaf::accept`] is set: a receipt proves a reject as well.
    ///
    /// # Errors
    /// [`Error::LeafCount`], [`Error::LeafIndex`], [`Error::PathLength`] if statement, index and
    /// path do not fit together (never after [`decode`](Self::decode)); [`Error::WrongPath`],
    /// [`Error::WrongSignature`].
    pub fn verify(&self, key: &VerifyingKey) -> Result<&Leaf> {
        let count = usize::from(self.statement.count);
        // The path first: it costs a hundredth of the signature.
        if self.path.root(&self.leaf.hash(), usize::from(self.index), count)? != self.statement.root
        {
            return Err(Error::WrongPath);
        }
        self.statement.verify(key, self.signature)?;
        Ok(&self.leaf)
    }

    fn path_len(&self) -> Result<usize> {
        path_len(usize::from(self.index), usize::from(self.statement.count))
    }
}
