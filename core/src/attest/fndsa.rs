//! FN-DSA-512, known as Falcon: **a draft**. FIPS 206 is not final, and what it becomes may differ in
//! encodings, hashing and domain separation; see [`Family::FnDsa512Draft`].
//!
//! Verification is always there. `SigningKey` needs the feature `fn-dsa-sign`: its crates allocate
//! nothing, but pull in `alloc` by way of a dependency, so that a firmware would have to name an
//! allocator to link them.
//!
//! # Cost
//! [`VerifyingKey`] 1,100 bytes; `SigningKey` 2,242 bytes, expanded anew for each signature: the
//! expanded one would be 58 KB of long-lived secrets, and could not be shared between threads,
//! because it signs in working space of its own.
//!
//! Stack, measured on x86-64 in optimised builds: key generation 33 KB, signing 185 KB (the expanded
//! key three times), `VerifyingKey::decode` 3 KB, verifying 4 KB.
//!
//! # Secrets left on the stack
//! The `fn-dsa` crates zeroise keys and working space when they are dropped, but not the copies that
//! moving them leaves. So key generation and signing run in calls of their own and their
//! stack is overwritten afterwards, as in [`mldsa`](super::mldsa).

use super::{Domain, Error, Family, Result, Verify};
use core::fmt;
use fn_dsa_vrfy::{DomainContext, HASH_ID_RAW, VerifyingKey as _, VerifyingKey512};

#[cfg(feature = "fn-dsa-sign")]
mod signing;

#[cfg(feature = "fn-dsa-sign")]
pub use signing::SigningKey;

pub use super::family::SEED_SIZE;

/// Bytes of an encoded public key.
pub const PUBLIC_KEY_SIZE: usize = Family::FnDsa512Draft.public_key_size();

/// Bytes of a signature.
pub const SIGNATURE_SIZE: usize = Family::FnDsa512Draft.signature_size();

/// An encoded signature: header, 40-byte nonce, compressed polynomial, padded with zeros.
pub type Signature = [u8; SIGNATURE_SIZE];

// The crates' sizes are those of the receipts.
const _: () = {
    assert!(PUBLIC_KEY_SIZE == fn_dsa_vrfy::vrfy_key_size(fn_dsa_vrfy::FN_DSA_LOGN_512));
    assert!(SIGNATURE_SIZE == fn_dsa_vrfy::signature_size(fn_dsa_vrfy::FN_DSA_LOGN_512));
};

/// A public key, decoded for verification.
#[derive(Clone)]
pub struct VerifyingKey(VerifyingKey512);

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// Reads an encoded public key.
    ///
    /// # Errors
    /// [`Error::NonCanonical`]: a wrong header, or a coefficient that is not below q = 12289.
    pub fn decode(input: &[u8; PUBLIC_KEY_SIZE]) -> Result<Self> {
        VerifyingKey512::decode(input).map(Self).ok_or(Error::NonCanonical)
    }
}

impl Verify for VerifyingKey {
    const FAMILY: Family = Family::FnDsa512Draft;

    fn verify(&self, context: Domain, message: &[u8], signature: &[u8]) -> Result<()> {
        let context = DomainContext(context.as_bytes());
        if self.0.verify(signature, &context, &HASH_ID_RAW, message) {
            Ok(())
        } else {
            Err(Error::WrongSignature(Self::FAMILY))
        }
    }
}
