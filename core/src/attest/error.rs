use core::fmt;

/// What is wrong with a receipt, one of its parts, or a call that makes one.
///
/// No variant carries data: everything checked here is public, but errors are logged and logs travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The first four bytes are not [`Receipt::MAGIC`](super::Receipt::MAGIC).
    BadMagic,
    /// A receipt or statement of a version this code does not know.
    UnknownVersion,
    /// A signature algorithm this code does not know.
    UnknownAlgorithm,
    /// The input ends before the object does.
    Truncated,
    /// Bytes follow where the object should have been the whole input.
    TrailingBytes,
    /// A field holds a value that no encoder writes.
    NonCanonical,
    /// The output buffer is shorter than the encoding.
    BufferTooSmall,
    /// A batch of no leaves, or of more than [`MAX_LEAVES`](super::MAX_LEAVES).
    LeafCount,
    /// A leaf index that is not below the leaf count.
    LeafIndex,
    /// A path whose length is not the one its leaf's index and the leaf count demand.
    PathLength,
    /// The path leads from the leaf to another root than the signed one.
    WrongPath,
    /// The signature is malformed, or not by this key over this statement.
    WrongSignature,
    /// Signing drew no acceptable candidate in 13,107 tries (FIPS 204, Algorithm 2, returning ⊥):
    /// with a working random source and an honest key this does not happen.
    Signing,
}

/// Result of this module's operations.
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadMagic => "not a receipt",
            Self::UnknownVersion => "unknown format version",
            Self::UnknownAlgorithm => "unknown signature algorithm",
            Self::Truncated => "input ends too early",
            Self::TrailingBytes => "bytes after the end",
            Self::NonCanonical => "field value outside its range",
            Self::BufferTooSmall => "output buffer too small",
            Self::LeafCount => "leaf count out of range",
            Self::LeafIndex => "leaf index out of range",
            Self::PathLength => "path length does not fit index and count",
            Self::WrongPath => "path does not lead to the signed root",
            Self::WrongSignature => "signature does not verify",
            Self::Signing => "signing failed",
        })
    }
}

impl core::error::Error for Error {}
