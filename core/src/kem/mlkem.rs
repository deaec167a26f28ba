//! ML-KEM-768 (FIPS 203) without an allocator.
//!
//! # Cost
//! [`DecapsulationKey`] 2,400 bytes, its encoding, taken apart anew for each ciphertext;
//! [`EncapsulationKey`] 1,600 bytes.
//!
//! Stack, measured on x86-64 in optimised builds, wiping included: [`DecapsulationKey::derive`] and
//! [`DecapsulationKey::decode`] 33 KB, [`EncapsulationKey::decode`] 10 KB, encapsulation 29 KB, decapsulation
//! 37 KB.
//!
//! # Secrets left on the stack
//! The `ml-kem` crate zeroises keys when they are dropped but not its intermediates (FIPS 203, section
//! 3.3, wants them destroyed), nor what moving keys leaves. So whatever handles secrets runs in a call of
//! its own and its stack is overwritten afterwards, as in [`mldsa`](crate::attest::mldsa).

use super::{
    CIPHERTEXT_SIZE, DECAPSULATION_KEY_SIZE, Decapsulate, ENCAPSULATION_KEY_SIZE, Encapsulate,
    SECRET_SIZE, SEED_SIZE, encapsulation_key,
};
use crate::attest::family::wiping;
use crate::error::Error;
use crate::pool::{Material, bytes};
use bytemuck::Zeroable;
use core::fmt;
use ml_kem::kem::{Decapsulate as _, Encapsulate as _, KeyExport as _};
use ml_kem::ml_kem_768 as expanded;
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

// 64-bit words of stack to wipe: what was measured on x86-64, rounded up.

/// After deriving a key (29 KB measured), or reading one (18).
const DERIVE_STACK: usize = 32 * 1024 / 8;

/// After encapsulation (25 KB measured).
const ENCAPSULATE_STACK: usize = 28 * 1024 / 8;

/// After decapsulation (34 KB measured).
const DECAPSULATE_STACK: usize = 36 * 1024 / 8;

/// A decapsulation key, encoded: zeroised on drop, and kept where the caller puts it, since a move
/// leaves a copy. All zeros are no key.
#[derive(Zeroable, Zeroize, ZeroizeOnDrop)]
#[repr(transparent)]
pub struct DecapsulationKey([u8; DECAPSULATION_KEY_SIZE]);

// Does not compile if the crate's zeroisation is switched off.
const _: () = {
    const fn zeroised<T: ZeroizeOnDrop>() {}
    zeroised::<expanded::DecapsulationKey>();
};

impl fmt::Debug for DecapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecapsulationKey").finish_non_exhaustive()
    }
}

impl DecapsulationKey {
    /// All zero, for statics: not a key until it is derived or decoded.
    pub const ZERO: Self = Self([0; DECAPSULATION_KEY_SIZE]);

    /// Derives the key of `seed`, in place: d, then z (FIPS 203, Algorithm 16).
    ///
    /// The seed must be 64 bytes from a cryptographic generator, and stays the caller's to zeroise.
    #[expect(
        deprecated,
        reason = "the encoding of FIPS 203, which the crate would rather not have"
    )]
    pub fn derive(&mut self, seed: &[u8; SEED_SIZE]) {
        use ml_kem::ExpandedKeyEncoding as _;
        wiping::<DERIVE_STACK, _>(|| {
            let key = expanded::DecapsulationKey::from_seed((*seed).into());
            self.0 = key.to_expanded_bytes().into();
        });
    }

    /// Reads an encoded key, in place.
    ///
    /// # Errors
    /// [`Error::Range`] where the encapsulation key in it is none or is not what its hash is of
    /// (FIPS 203, section 7.3). `self` is then as it was.
    pub fn decode(&mut self, input: &[u8; DECAPSULATION_KEY_SIZE]) -> Result<(), Error> {
        wiping::<DERIVE_STACK, _>(|| expand(input).map(|_| ()))?;
        self.0 = *input;
        Ok(())
    }
}

/// A key made ready, by value: only within [`wiping`].
#[expect(deprecated, reason = "the encoding of FIPS 203, which the crate would rather not have")]
fn expand(key: &[u8; DECAPSULATION_KEY_SIZE]) -> Result<expanded::DecapsulationKey, Error> {
    expanded::DecapsulationKey::from_expanded(key.into()).map_err(|_| Error::Range)
}

impl Decapsulate for DecapsulationKey {
    fn decapsulate(
        &self,
        ciphertext: &[u8; CIPHERTEXT_SIZE],
        secret: &mut [u8; SECRET_SIZE],
    ) -> Result<(), Error> {
        wiping::<DECAPSULATE_STACK, _>(|| {
            *secret = expand(&self.0)?.decapsulate(ciphertext.into()).into();
            Ok(())
        })
    }

    fn encapsulation_key(&self, out: &mut [u8; ENCAPSULATION_KEY_SIZE]) {
        out.copy_from_slice(encapsulation_key(&self.0));
    }
}

/// Made of 64 bytes of the generator; serialised as it lies.
impl Material for DecapsulationKey {
    const NAME: &'static str = "ml-kem-768";
    const MAX_USES: Option<u32> = None;
    const PUBLIC_SIZE: usize = ENCAPSULATION_KEY_SIZE;
    const SERIAL_SIZE: usize = DECAPSULATION_KEY_SIZE;
    type Maker<'m> = ();

    fn generate<R: CryptoRng + ?Sized>(&mut self, (): &mut (), rng: &mut R) -> Result<(), Error> {
        let mut seed = Zeroizing::new([0; SEED_SIZE]);
        rng.fill_bytes(&mut *seed);
        self.derive(&seed);
        Ok(())
    }

    fn public(&self, (): &mut (), out: &mut [u8]) -> Result<(), Error> {
        bytes::write(encapsulation_key(&self.0), out)
    }

    fn serialise(&self, (): &mut (), out: &mut [u8]) -> Result<(), Error> {
        bytes::write(&self.0, out)
    }

    fn restore(&mut self, (): &mut (), bytes: &[u8]) -> Result<(), Error> {
        self.decode(bytes::read(bytes)?)
    }
}

/// An encapsulation key, expanded.
pub struct EncapsulationKey(expanded::EncapsulationKey);

impl fmt::Debug for EncapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncapsulationKey").finish_non_exhaustive()
    }
}

impl EncapsulationKey {
    /// Expands an encoded key.
    ///
    /// # Errors
    /// [`Error::Range`] where a coefficient is not below q = 3329 (FIPS 203, section 7.2).
    pub fn decode(input: &[u8; ENCAPSULATION_KEY_SIZE]) -> Result<Self, Error> {
        expanded::EncapsulationKey::new(input.into()).map(Self).map_err(|_| Error::Range)
    }

    /// The encoded key.
    #[must_use]
    pub fn encode(&self) -> [u8; ENCAPSULATION_KEY_SIZE] {
        self.0.to_bytes().into()
    }
}

impl Encapsulate for EncapsulationKey {
    fn encapsulate<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        ciphertext: &mut [u8; CIPHERTEXT_SIZE],
        secret: &mut [u8; SECRET_SIZE],
    ) {
        wiping::<ENCAPSULATE_STACK, _>(|| {
            let (made, shared) = self.0.encapsulate_with_rng(rng);
            *ciphertext = made.into();
            *secret = shared.into();
        });
    }
}
