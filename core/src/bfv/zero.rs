//! Encryptions of zero, made ahead: what is left of an encryption when its message arrives.

use super::encode::Plaintext;
use super::encrypt::{Ciphertext, encrypt_under};
use super::keys::PublicKey;
use super::params::kind;
use crate::error::Error;
use crate::kernel::Kernels;
use crate::place::wipe;
use crate::poly::{Coeff, Poly};
use crate::pool::{Material, bytes};
use crate::sample::Stream;
use crate::wire::Wire;
use bytemuck::Zeroable;
use rand_core::CryptoRng;
use zeroize::Zeroize;

/// A public-key encryption of zero that becomes that of one message.
///
/// Who has seen it before can subtract it from the ciphertext and read the message, so it is a secret
/// until then, and serves once. Zeroised on drop if it has not served.
#[derive(Zeroable)]
#[repr(C)]
pub struct Zero<const L: usize> {
    ciphertext: Ciphertext<L>,
    /// 1 from [`Zero::prepare`] to its use.
    fresh: u8,
}

impl<const L: usize> Zero<L> {
    /// All zero, for statics: refused until it is prepared.
    pub const ZERO: Self = Self { ciphertext: Ciphertext::ZERO, fresh: 0 };

    /// Whether it may still be used.
    #[must_use]
    pub const fn is_fresh(&self) -> bool {
        self.fresh == 1
    }

    /// Makes an encryption of zero. `scratch` holds zeros afterwards.
    pub fn prepare<R: CryptoRng + ?Sized>(
        &mut self,
        k: &Kernels,
        key: &PublicKey<L>,
        rng: &mut R,
        scratch: &mut Poly<L, Coeff>,
    ) {
        let mut stream = Stream::from_rng(rng);
        encrypt_under(k, key, |_| (), &mut stream, &mut self.ciphertext, scratch);
        self.fresh = 1;
    }

    /// Adds a message: the result is an encryption as [`super::encrypt()`] makes it, for the price of
    /// one transform a limb. `scratch` holds zeros afterwards.
    ///
    /// # Errors
    /// [`Error::ZeroUsed`] if it has served before or was never prepared.
    pub fn encrypt<const PARTS: usize>(
        &mut self,
        k: &Kernels,
        message: &Plaintext<PARTS>,
        scratch: &mut Poly<L, Coeff>,
    ) -> Result<&mut Ciphertext<L>, Error> {
        let ciphertext = self.take()?;
        ciphertext.add_plain(k, message.to_addend(k, scratch));
        scratch.zeroize();
        Ok(ciphertext)
    }

    /// The encryption of zero, for its one use.
    pub(crate) fn take(&mut self) -> Result<&mut Ciphertext<L>, Error> {
        if !self.is_fresh() {
            return Err(Error::ZeroUsed);
        }
        self.fresh = 0;
        Ok(&mut self.ciphertext)
    }
}

impl<const L: usize> Drop for Zero<L> {
    fn drop(&mut self) {
        if self.is_fresh() {
            wipe(&mut self.ciphertext);
        }
    }
}

impl<const L: usize> Zeroize for Zero<L> {
    fn zeroize(&mut self) {
        wipe(&mut self.ciphertext);
        self.fresh.zeroize();
    }
}

/// What making a [`Zero`] needs.
pub struct ZeroMaker<'m, const L: usize> {
    /// The processor's kernels.
    pub kernels: &'m Kernels,
    /// The key that messages are to be encrypted under.
    pub key: &'m PublicKey<L>,
    /// Working memory; holds zeros afterwards.
    pub scratch: &'m mut Poly<L, Coeff>,
}

/// Serves once. Serialised as the ciphertext, which wants keeping as secret as it was. One that has
/// served is not serialised ([`Error::ZeroUsed`]), or it would serve again; and whoever restores one
/// twice has two that are the same.
impl<const L: usize> Material for Zero<L> {
    const NAME: &'static str = kind!("bfv-zero", L);
    const MAX_USES: Option<u32> = Some(1);
    const PUBLIC_SIZE: usize = 0;
    const SERIAL_SIZE: usize = Ciphertext::<L>::SIZE;
    type Maker<'m> = ZeroMaker<'m, L>;

    fn generate<R: CryptoRng + ?Sized>(
        &mut self,
        maker: &mut Self::Maker<'_>,
        rng: &mut R,
    ) -> Result<(), Error> {
        self.prepare(maker.kernels, maker.key, rng, maker.scratch);
        Ok(())
    }

    fn public(&self, _: &mut Self::Maker<'_>, out: &mut [u8]) -> Result<(), Error> {
        bytes::write(&[], out)
    }

    fn serialise(&self, maker: &mut Self::Maker<'_>, out: &mut [u8]) -> Result<(), Error> {
        if !self.is_fresh() {
            return Err(Error::ZeroUsed);
        }
        Ok(self.ciphertext.encode(maker.kernels, out)?)
    }

    fn restore(&mut self, maker: &mut Self::Maker<'_>, bytes: &[u8]) -> Result<(), Error> {
        self.fresh = 0;
        self.ciphertext.decode(maker.kernels, bytes)?;
        self.fresh = 1;
        Ok(())
    }
}
