//! ML-DSA-65 (FIPS 204) without an allocator.
//!
//! # Cost
//! Sizes of the expanded keys, which hold the matrix A and the transforms of the secrets so that
//! signing need not make them again: [`SigningKey`] 65,696 bytes, [`VerifyingKey`] 43,104. Both
//! are much larger than their encodings (a 32-byte seed, 1,952 bytes). [`SeedKey`], which holds these
//! two, is for keys that wait: 1,984 bytes.
//!
//! Stack, measured on x86-64 in optimised builds: [`SigningKey::init`] 295 KB,
//! [`SigningKey::public_key`] 180 KB, signing 120 KB, [`VerifyingKey::decode`] 95 to 106 KB with the key
//! it returns, [`VerifyingKey::verify`] 78 KB. An embedder with less expands and verifies elsewhere,
//! or gives this module a stack of its own.
//!
//! # Secrets left on the stack
//! FIPS 204, section 3.6.3, wants intermediate values destroyed. The `ml-dsa` crate zeroises keys
//! when they are dropped but leaves intermediates, and after key expansion whole copies of the key,
//! in stack memory that is no longer in use. So whatever handles the key runs in a call of its own,
//! and afterwards a second call from the same place overwrites as much stack as the first one used
//! (3 to 9 us). This is measured, not guaranteed, since a compiler may lay out frames otherwise:
//! 16-byte pieces of the expanded key were found in 13,979 places after an expansion without it and
//! in 13 after a signature, and in none with it.

use super::family::wiping;
use super::{Domain, Error, Family, Result, Sign, Verify};
use crate::error;
use crate::pool::{Material, bytes};
use bytemuck::Zeroable;
use core::fmt;
use ml_dsa::{Keypair, MlDsa65};
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use super::family::SEED_SIZE;

/// Bytes of an encoded public key (FIPS 204, table 2).
pub const PUBLIC_KEY_SIZE: usize = Family::MlDsa65.public_key_size();

/// Bytes of a signature (FIPS 204, table 2).
pub const SIGNATURE_SIZE: usize = Family::MlDsa65.signature_size();

/// An encoded signature (FIPS 204, Algorithm 26).
pub type Signature = [u8; SIGNATURE_SIZE];

// 64-bit words of stack to wipe: what was measured on x86-64, rounded up.

/// After expansion (281 KB measured).
const EXPAND_STACK: usize = 288 * 1024 / 8;

/// After deriving the public key (172 KB measured).
const PUBLIC_KEY_STACK: usize = 176 * 1024 / 8;

/// After signing (110 KB measured).
const SIGN_STACK: usize = 116 * 1024 / 8;

/// A signing key, expanded.
///
/// Kept where the caller puts it: 64 KB are not to be moved about, and each move would leave a
/// copy. Zeroised on drop.
pub struct SigningKey(ml_dsa::SigningKey<MlDsa65>);

// Does not compile if the crate's zeroisation is switched off.
const _: () = {
    const fn zeroised<T: ZeroizeOnDrop>() {}
    zeroised::<ml_dsa::SigningKey<MlDsa65>>();
};

impl ZeroizeOnDrop for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Expands `seed` into `slot`, dropping a key that was there (FIPS 204, Algorithm 6).
    ///
    /// The seed must be 32 bytes from a cryptographic generator, and stays the caller's to zeroise.
    /// The crate underneath returns the key by value; the copies this makes on the stack are
    /// overwritten before `init` returns.
    pub fn init<'a>(slot: &'a mut Option<Self>, seed: &[u8; SEED_SIZE]) -> &'a Self {
        wiping::<EXPAND_STACK, _>(|| {
            &*slot.insert(Self(ml_dsa::SigningKey::from_seed(seed.into())))
        })
    }

    fn encode_public(&self, out: &mut [u8; PUBLIC_KEY_SIZE]) {
        wiping::<PUBLIC_KEY_STACK, _>(|| *out = self.0.verifying_key().encode().into());
    }

    /// Has `sign` make a signature and writes it to the front of `out`.
    fn make<E>(
        &self,
        out: &mut [u8],
        sign: impl FnOnce(&ml_dsa::ExpandedSigningKey<MlDsa65>) -> Result<ml_dsa::Signature<MlDsa65>, E>,
    ) -> Result<()> {
        let out = out.first_chunk_mut::<SIGNATURE_SIZE>().ok_or(Error::BufferTooSmall)?;
        let key = self.0.expanded_key();
        wiping::<SIGN_STACK, _>(|| {
            *out = sign(key).map_err(|_| Error::Signing)?.encode().into();
            Ok(())
        })
    }
}

impl Sign for SigningKey {
    const FAMILY: Family = Family::MlDsa65;

    /// FIPS 204, Algorithm 2, with 32 bytes of `rng`. An error leaves `out` as it was.
    fn sign<R: CryptoRng + ?Sized>(
        &self,
        context: Domain,
        message: &[u8],
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<()> {
        self.make(out, |key| key.sign_randomized(message, context.as_bytes(), rng))
    }

    /// FIPS 204, section 3.4. An error leaves `out` as it was.
    fn sign_deterministic(&self, context: Domain, message: &[u8], out: &mut [u8]) -> Result<()> {
        self.make(out, |key| key.sign_deterministic(message, context.as_bytes()))
    }

    /// FIPS 204, Algorithm 22.
    fn public_key(&self, out: &mut [u8]) -> Result<()> {
        self.encode_public(out.first_chunk_mut().ok_or(Error::BufferTooSmall)?);
        Ok(())
    }
}

/// A signing key as its seed, and the public key made of it: what to hold while it does not sign.
///
/// Zeroised on drop, and kept where the caller puts it, since a move leaves a copy. All zeros are no key.
#[derive(Zeroable, Zeroize, ZeroizeOnDrop)]
#[repr(C)]
pub struct SeedKey {
    seed: [u8; SEED_SIZE],
    public: [u8; PUBLIC_KEY_SIZE],
}

impl fmt::Debug for SeedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeedKey").finish_non_exhaustive()
    }
}

impl SeedKey {
    /// All zero, for statics: not a key until it is derived.
    pub const ZERO: Self = Self { seed: [0; SEED_SIZE], public: [0; PUBLIC_KEY_SIZE] };

    /// Takes the seed of a key, in place, and derives its public half: [`SigningKey::init`] says what of
    /// the seed. `slot` is working memory, and empty afterwards.
    pub fn derive(&mut self, seed: &[u8; SEED_SIZE], slot: &mut Option<SigningKey>) {
        self.seed = *seed;
        self.derive_public(slot);
    }

    fn derive_public(&mut self, slot: &mut Option<SigningKey>) {
        SigningKey::init(slot, &self.seed).encode_public(&mut self.public);
        *slot = None;
    }

    /// The encoded public key.
    #[must_use]
    pub const fn public_key(&self) -> &[u8; PUBLIC_KEY_SIZE] {
        &self.public
    }

    /// The key to sign with, expanded into `slot`: [`SigningKey::init`].
    ///
    /// # Errors
    /// [`Error::Signing`] if this is no key, as in an empty cell of a pool.
    pub fn expand<'a>(&self, slot: &'a mut Option<SigningKey>) -> Result<&'a SigningKey> {
        if bytes::is_empty(&self.seed) {
            return Err(Error::Signing);
        }
        Ok(SigningKey::init(slot, &self.seed))
    }
}

/// Made of 32 bytes of the generator; serialised as it lies: seed, public key. That they belong together
/// is not looked at again. The maker is room to expand a key in, and holds none afterwards.
impl Material for SeedKey {
    const NAME: &'static str = "ml-dsa-65-seed";
    const MAX_USES: Option<u32> = None;
    const PUBLIC_SIZE: usize = PUBLIC_KEY_SIZE;
    const SERIAL_SIZE: usize = SEED_SIZE + PUBLIC_KEY_SIZE;
    type Maker<'m> = &'m mut Option<SigningKey>;

    fn generate<R: CryptoRng + ?Sized>(
        &mut self,
        slot: &mut Self::Maker<'_>,
        rng: &mut R,
    ) -> Result<(), error::Error> {
        rng.fill_bytes(&mut self.seed);
        self.derive_public(slot);
        Ok(())
    }

    fn public(&self, _: &mut Self::Maker<'_>, out: &mut [u8]) -> Result<(), error::Error> {
        bytes::write(&self.public, out)
    }

    fn serialise(&self, _: &mut Self::Maker<'_>, out: &mut [u8]) -> Result<(), error::Error> {
        bytes::write_both(&self.seed, &self.public, out)
    }

    fn restore(&mut self, _: &mut Self::Maker<'_>, bytes: &[u8]) -> Result<(), error::Error> {
        let (seed, public) = bytes::read_both(bytes)?;
        (self.seed, self.public) = (*seed, *public);
        Ok(())
    }
}

/// A public key, expanded for verification.
pub struct VerifyingKey(ml_dsa::VerifyingKey<MlDsa65>);

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// Expands an encoded public key (FIPS 204, Algorithm 23). Every string of this length is one.
    #[must_use]
    pub fn decode(input: &[u8; PUBLIC_KEY_SIZE]) -> Self {
        Self(ml_dsa::VerifyingKey::decode(input.into()))
    }

    /// The encoded public key (FIPS 204, Algorithm 22).
    #[must_use]
    pub fn encode(&self) -> [u8; PUBLIC_KEY_SIZE] {
        self.0.encode().into()
    }
}

impl Verify for VerifyingKey {
    const FAMILY: Family = Family::MlDsa65;

    /// FIPS 204, Algorithm 3.
    fn verify(&self, context: Domain, message: &[u8], signature: &[u8]) -> Result<()> {
        <&Signature>::try_from(signature)
            .ok()
            .and_then(|signature| ml_dsa::Signature::decode(signature.into()))
            .filter(|signature| self.0.verify_with_context(message, context.as_bytes(), signature))
            .map(|_| ())
            .ok_or(Error::WrongSignature(Self::FAMILY))
    }
}
