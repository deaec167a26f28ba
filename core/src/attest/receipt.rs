use super::codec::{Reader, write};
use super::{Batch, Error, KeySet, Leaf, MAX_PATH, MAX_WINDOW_PATH, Path, Result};
use super::{BatchPath, Digest, Signatures, Verify, Window, WindowPath};

/// The proof of one decision: a leaf, its path to the root of its batch, the batch's path to the root
/// of its window, and the window with its three signatures.
///
/// # Encoding
/// Integers little-endian:
///
/// | bytes | field |
/// |---|---|
/// | 4 | magic `SYRC` |
/// | 1 | version: 2 |
/// | 1 | index of the leaf in its batch |
/// | 130 | [`Leaf`] |
/// | 1 | nodes of the leaf's path: as many as its index and the batch's count demand |
/// | 32 each | the path, lowest node first |
/// | 218 | [`Batch`] |
/// | 2 | index of the batch in its window |
/// | 1 | nodes of the batch's path: as many as its index and the window's count demand |
/// | 32 each | the path, lowest node first |
/// | 115 | [`Window`] |
/// | 1 | number of signatures: 3 |
/// | 1 + 3309 | [`Family::MlDsa65`](super::Family::MlDsa65)'s identifier 0x01, signature |
/// | 1 + 666 | [`Family::FnDsa512Draft`](super::Family::FnDsa512Draft)'s identifier 0x82, signature |
/// | 1 + 17088 | [`Family::SlhDsaSha2_128f`](super::Family::SlhDsaSha2_128f)'s identifier 0x03, signature |
///
/// There is one encoding of each receipt, and it ends by itself: a receipt file is receipts back to
/// back. Why this is not CBOR is in the [module page](super#one-fixed-encoding).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// The decision this receipt proves. Its request is the receipt's identifier.
    pub leaf: Leaf,
    /// Index of the leaf in its batch: below the batch's `count`.
    pub index: u8,
    /// The way from the leaf to the batch's root.
    pub path: BatchPath,
    /// The setting of the decision, shared by the batch's receipts.
    pub batch: Batch,
    /// Index of the batch in its window: below the window's `count`.
    pub batch_index: u16,
    /// The way from the batch to the window's root.
    pub window_path: WindowPath,
    /// What was signed, shared by the window's receipts.
    pub window: Window,
    /// The signatures over the window, shared by its receipts.
    pub signatures: Signatures<'a>,
}

/// Bytes before the signatures, without the paths.
const MIN_HEAD: usize = 4 + 1 + 1 + Leaf::SIZE + 1 + Batch::SIZE + 2 + 1 + Window::SIZE + 1;

/// The most bytes before the signatures.
pub(super) const MAX_HEAD: usize = MIN_HEAD + (MAX_PATH + MAX_WINDOW_PATH) * size_of::<Digest>();

impl<'a> Receipt<'a> {
    /// The first bytes of every receipt.
    pub const MAGIC: [u8; 4] = *b"SYRC";

    /// Version of the encoding.
    pub const VERSION: u8 = 2;

    /// Encoded size of the only receipt of a window of one decision.
    pub const MIN_SIZE: usize = MIN_HEAD + Signatures::SIZE;

    /// Encoded size of a receipt with the longest paths.
    pub const MAX_SIZE: usize = MAX_HEAD + Signatures::SIZE;

    /// Writes the encoding to the front of `out` and returns its size, at most
    /// [`MAX_SIZE`](Self::MAX_SIZE).
    ///
    /// # Errors
    /// [`Error::LeafCount`], [`Error::LeafIndex`], [`Error::PathLength`] or [`Error::NonCanonical`]
    /// if the parts do not fit together; [`Error::BufferTooSmall`], which leaves a part of the
    /// encoding in `out`.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize> {
        self.head().check_shape()?;
        // `check_shape` bounds both lengths.
        let (path, window_path) = (self.path.nodes(), self.window_path.nodes());
        let head = write(
            out,
            &[
                &Self::MAGIC,
                &[Self::VERSION, self.index],
                &self.leaf.encode(),
                &[path.len() as u8],
                path.as_flattened(),
                &self.batch.encode(),
                &self.batch_index.to_le_bytes(),
                &[window_path.len() as u8],
                window_path.as_flattened(),
                &self.window.encode(),
            ],
        )?;
        let rest = out.get_mut(head..).ok_or(Error::BufferTooSmall)?;
        Ok(head + self.signatures.write(rest)?)
    }

    /// Reads the receipt at the front of `input` and returns it with the bytes it takes up. It is
    /// well formed, and no more: only [`verify`](Self::verify) says whether it is true.
    ///
    /// # Errors
    /// The first of these in reading order: [`Error::BadMagic`], [`Error::UnknownVersion`],
    /// [`Error::NonCanonical`], [`Error::LeafCount`], [`Error::LeafIndex`], [`Error::PathLength`],
    /// [`Error::MissingFamily`], [`Error::UnknownAlgorithm`], [`Error::FamilyOrder`],
    /// [`Error::Truncated`].
    pub fn decode(input: &'a [u8]) -> Result<(Self, usize)> {
        let mut reader = Reader::new(input);
        let Head { leaf, index, path, batch, batch_index, window_path, window } =
            Head::decode(&mut reader)?;
        let signatures = Signatures::read(&mut reader)?;
        let receipt =
            Self { leaf, index, path, batch, batch_index, window_path, window, signatures };
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

    /// Checks both paths, the keys and all three signatures, and returns the leaf they prove.
    ///
    /// What is then certain is in the [module page](super). What is left to the relying party, which
    /// alone knows what it asked: that `nonce` is its challenge, that `identity` opens to whom it
    /// asked about, that the batch's deployment, epoch, parameters, mode, threshold, policy,
    /// verifier and time are ones it trusts, and that [`Leaf::accept`] is set: a receipt proves a
    /// reject as well.
    ///
    /// # Errors
    /// The first of these: [`Error::LeafCount`], [`Error::LeafIndex`], [`Error::PathLength`],
    /// [`Error::NonCanonical`] if the parts do not fit together (never after
    /// [`decode`](Self::decode)); [`Error::WrongPath`], [`Error::WrongWindowPath`],
    /// [`Error::WrongDeployment`]; those of [`KeySet::check`]; [`Error::WrongSignature`].
    pub fn verify<M: Verify, F: Verify, S: Verify>(&self, keys: &KeySet<M, F, S>) -> Result<&Leaf> {
        // What costs little first: the paths take a hundredth of the time of the signatures.
        self.head().verify(keys)?;
        self.window.verify(keys, &self.signatures)?;
        Ok(&self.leaf)
    }

    fn head(&self) -> Head {
        let Self { leaf, index, path, batch, batch_index, window_path, window, .. } = *self;
        Head { leaf, index, path, batch, batch_index, window_path, window }
    }
}

/// A receipt but for its signatures.
pub(super) struct Head {
    pub(super) leaf: Leaf,
    index: u8,
    path: BatchPath,
    pub(super) batch: Batch,
    batch_index: u16,
    window_path: WindowPath,
    pub(super) window: Window,
}

impl Head {
    /// Reads everything before the first signature's identifier, and checks it in the order in which
    /// it is read: a longer input gives the same error.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        if *reader.take()? != Receipt::MAGIC {
            return Err(Error::BadMagic);
        }
        if reader.u8()? != Receipt::VERSION {
            return Err(Error::UnknownVersion);
        }
        let index = reader.u8()?;
        let leaf = Leaf::decode(reader.take()?)?;
        let path = Path::read(reader)?;
        let batch = Batch::decode(reader.take()?)?;
        path.check(usize::from(index), usize::from(batch.count))?;
        let batch_index = u16::from_le_bytes(*reader.take()?);
        let window_path = Path::read(reader)?;
        let window = Window::decode(reader.take()?)?;
        window_path.check(usize::from(batch_index), usize::from(window.count))?;
        Signatures::read_count(reader)?;
        Ok(Self { leaf, index, path, batch, batch_index, window_path, window })
    }

    /// Checks everything but the signatures.
    pub(super) fn verify<M: Verify, F: Verify, S: Verify>(
        &self,
        keys: &KeySet<M, F, S>,
    ) -> Result<()> {
        self.check_shape()?;
        let (index, count) = (usize::from(self.index), usize::from(self.batch.count));
        if self.path.root(&self.leaf.hash(), index, count)? != self.batch.root {
            return Err(Error::WrongPath);
        }
        let (index, count) = (usize::from(self.batch_index), usize::from(self.window.count));
        if self.window_path.root(&self.batch.hash(), index, count)? != self.window.root {
            return Err(Error::WrongWindowPath);
        }
        if self.batch.deployment != self.window.deployment {
            return Err(Error::WrongDeployment);
        }
        keys.check(&self.window)
    }

    /// Checks that there is an encoding of it.
    fn check_shape(&self) -> Result<()> {
        self.path.check(usize::from(self.index), usize::from(self.batch.count))?;
        self.window_path.check(usize::from(self.batch_index), usize::from(self.window.count))?;
        self.window.check()
    }
}
