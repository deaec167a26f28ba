//! Errors: small, `Copy`, and without anything secret in them.

use core::fmt;

/// Why an input was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// More or fewer values than the operation takes.
    Length,
    /// A value outside its range.
    Range,
    /// A dimension that no layout holds: 1 to 512 are held.
    Dimension,
    /// A NaN or an infinity, at this index of the vector.
    NotFinite(u16),
    /// A vector of length zero, which has no direction.
    ZeroVector,
    /// A threshold that is not a cosine: finite and between -1 and 1.
    Threshold,
    /// A re-randomisation that was used before: each hides one result only.
    BlindUsed,
    /// An encryption of zero that was used before: each hides one message only.
    ZeroUsed,
    /// Galois keys that are not those of the rotations to be made.
    Keys,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => f.write_str("wrong number of values"),
            Self::Range => f.write_str("value out of range"),
            Self::Dimension => f.write_str("dimension must be between 1 and 512"),
            Self::NotFinite(index) => write!(f, "component {index} is not a finite number"),
            Self::ZeroVector => f.write_str("the vector is zero"),
            Self::Threshold => f.write_str("threshold must be a number between -1 and 1"),
            Self::BlindUsed => f.write_str("a re-randomisation may be used once"),
            Self::Keys => f.write_str("the Galois keys are not those of the rotations"),
            Self::ZeroUsed => f.write_str("an encryption of zero may be used once"),
        }
    }
}

impl core::error::Error for Error {}
