//! The signature families behind two traits, so that a verifier can take any implementation of them.

use super::{Domain, Result};
use core::fmt;
use core::hint::black_box;
use rand_core::CryptoRng;
use zeroize::Zeroize;

/// Bytes of the seed that a signing key of any family is derived from.
pub const SEED_SIZE: usize = 32;

/// A signature scheme, each on another assumption: all three would have to fall together.
///
/// Their numbers stand in receipts. The high bit marks a draft: FIPS 206 is not final, and what it
/// becomes gets a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Family {
    /// ML-DSA-65 (FIPS 204): module lattices.
    MlDsa65 = 0x01,
    /// FN-DSA-512 (Falcon) as the `fn-dsa` crates have it ahead of FIPS 206: NTRU lattices. A draft.
    FnDsa512Draft = 0x82,
    /// SLH-DSA-SHA2-128f (FIPS 205): SHA-256 alone.
    SlhDsaSha2_128f = 0x03,
}

impl Family {
    /// All of them, in the order in which receipts hold their signatures.
    pub const ALL: [Self; 3] = [Self::MlDsa65, Self::FnDsa512Draft, Self::SlhDsaSha2_128f];

    /// Its number in receipts.
    #[must_use]
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The family with this number.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0x01 => Some(Self::MlDsa65),
            0x82 => Some(Self::FnDsa512Draft),
            0x03 => Some(Self::SlhDsaSha2_128f),
            _ => None,
        }
    }

    /// Its name, as in the standards.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlDsa65 => "ML-DSA-65",
            Self::FnDsa512Draft => "FN-DSA-512 (draft)",
            Self::SlhDsaSha2_128f => "SLH-DSA-SHA2-128f",
        }
    }

    /// Whether its standard is not final.
    #[must_use]
    pub const fn is_draft(self) -> bool {
        self.id() & 0x80 != 0
    }

    /// Bytes of an encoded public key.
    #[must_use]
    pub const fn public_key_size(self) -> usize {
        match self {
            Self::MlDsa65 => 1952,
            Self::FnDsa512Draft => 897,
            Self::SlhDsaSha2_128f => 32,
        }
    }

    /// Bytes of a signature.
    #[must_use]
    pub const fn signature_size(self) -> usize {
        match self {
            Self::MlDsa65 => 3309,
            Self::FnDsa512Draft => 666,
            Self::SlhDsaSha2_128f => 17088,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A public key made ready to verify with.
pub trait Verify {
    /// The key's family.
    const FAMILY: Family;

    /// Checks that `signature` is one by this key over `message` under the context string `context`.
    /// Takes variable time: everything here is public.
    ///
    /// # Errors
    /// [`Error::WrongSignature`](super::Error::WrongSignature), for bytes that are no signature at
    /// all and for another length than [`Family::signature_size`] too.
    fn verify(&self, context: Domain, message: &[u8], signature: &[u8]) -> Result<()>;
}

/// A signing key made ready to sign with.
pub trait Sign {
    /// The key's family.
    const FAMILY: Family;

    /// Signs `message` under the context string `context` with fresh bytes of `rng`, and writes the
    /// signature to the front of `out`: [`Family::signature_size`] bytes.
    ///
    /// Hedged: with a broken `rng` it is as good as the deterministic variant, and otherwise safer
    /// against faults and power analysis.
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`](super::Error::BufferTooSmall),
    /// [`Error::Signing`](super::Error::Signing); nothing of `out` is then to be used.
    fn sign<R: CryptoRng + ?Sized>(
        &self,
        context: Domain,
        message: &[u8],
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<()>;

    /// Signs as [`sign`](Self::sign) does, but always with the same result: for known answers and for
    /// machines without a random source.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    fn sign_deterministic(&self, context: Domain, message: &[u8], out: &mut [u8]) -> Result<()>;

    /// Writes the encoded public key to the front of `out`: [`Family::public_key_size`] bytes.
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`](super::Error::BufferTooSmall).
    fn public_key(&self, out: &mut [u8]) -> Result<()>;
}

/// Calls `run` in a frame of its own and overwrites `WORDS` 64-bit words of the stack that it used.
///
/// Secrets stay behind in stack memory that is no longer in use; a second call from the same place
/// reaches the same memory. That is measured, not guaranteed, since a compiler may lay out frames
/// otherwise.
pub fn wiping<const WORDS: usize, T>(run: impl FnOnce() -> T) -> T {
    #[inline(never)]
    fn call<T>(run: impl FnOnce() -> T) -> T {
        run()
    }
    #[inline(never)]
    fn wipe<const WORDS: usize>() {
        let mut words = [0_u64; WORDS];
        words.as_mut_slice().zeroize();
        black_box(&words);
    }
    let result = call(run);
    wipe::<WORDS>();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_families() {
        for family in Family::ALL {
            assert_eq!(Family::from_id(family.id()), Some(family));
        }
        let known = (0..=u8::MAX).filter_map(Family::from_id).count();
        assert_eq!(known, Family::ALL.len());
        assert_eq!(Family::ALL.map(Family::is_draft), [false, true, false]);
        assert!(Family::ALL.iter().all(|f| f.is_draft() == f.name().contains("draft")));
    }
}
