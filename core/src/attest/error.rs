use super::Family;
use core::fmt;

/// What is wrong with a receipt, a certificate, one of their parts, a key, or a call that makes one.
///
/// No variant carries more than the name of a family: everything checked here is public, but errors
/// are logged and logs travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The first four bytes are not [`Receipt::MAGIC`](super::Receipt::MAGIC), or not
    /// [`Certificate::MAGIC`](super::Certificate::MAGIC).
    BadMagic,
    /// A receipt or statement of a version this code does not know.
    UnknownVersion,
    /// A signature algorithm this code does not know.
    UnknownAlgorithm,
    /// Fewer signatures than the three [families](Family::ALL).
    MissingFamily,
    /// A family a second time, or before its turn.
    FamilyOrder,
    /// The input ends before the object does.
    Truncated,
    /// Bytes follow where the object should have been the whole input.
    TrailingBytes,
    /// A field holds a value that no encoder writes.
    NonCanonical,
    /// The output buffer is shorter than what should go there.
    BufferTooSmall,
    /// A batch, a window or a refill of no leaves, or of more than its tree holds: [`MAX_LEAVES`] decisions,
    /// [`MAX_BATCHES`] batches, [`MAX_REFILL`] keys.
    ///
    /// [`MAX_REFILL`]: super::MAX_REFILL
    /// [`MAX_LEAVES`]: super::MAX_LEAVES
    /// [`MAX_BATCHES`]: super::MAX_BATCHES
    LeafCount,
    /// An index in a batch or a window that is not below the count there.
    LeafIndex,
    /// A path whose length is not the one that its leaf's index and the leaf count demand.
    PathLength,
    /// The path leads from the leaf to another root than the batch's, or from a key to another than the
    /// refill's.
    WrongPath,
    /// The path leads from the batch to another root than the window's.
    WrongWindowPath,
    /// A key was certified as one of another kind.
    WrongKind,
    /// The batch is of another deployment than the window.
    WrongDeployment,
    /// The window or refill names other keys than those to verify with.
    UnknownKey,
    /// Signed before the keys became valid.
    NotYetValid,
    /// Signed after the keys were retired.
    Retired,
    /// The keys were revoked: whatever the time, nothing they signed counts.
    Revoked,
    /// The signature of this family is malformed, or not by this key over this window.
    WrongSignature(Family),
    /// Signing drew no acceptable candidate in as many tries as its standard allows: with a working
    /// random source and an honest key this does not happen.
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
            Self::MissingFamily => "fewer signatures than families",
            Self::FamilyOrder => "signatures out of order",
            Self::Truncated => "input ends too early",
            Self::TrailingBytes => "bytes after the end",
            Self::NonCanonical => "field value outside its range",
            Self::BufferTooSmall => "output buffer too small",
            Self::LeafCount => "leaf count out of range",
            Self::LeafIndex => "leaf index out of range",
            Self::PathLength => "path length does not fit index and count",
            Self::WrongPath => "path does not lead to the root",
            Self::WrongWindowPath => "path does not lead to the signed root",
            Self::WrongKind => "certified as another kind of key",
            Self::WrongDeployment => "batch and window are of different deployments",
            Self::UnknownKey => "signed with other keys",
            Self::NotYetValid => "signed before the keys became valid",
            Self::Retired => "signed after the keys were retired",
            Self::Revoked => "the keys were revoked",
            Self::WrongSignature(family) => {
                return write!(f, "{family} signature does not verify");
            }
            Self::Signing => "signing failed",
        })
    }
}

impl core::error::Error for Error {}
