//! Keys that belong together, in one piece, as a pool holds them.

use super::galois::Rotation;
use super::keys::{PublicKey, SecretKey, generate};
use super::params::kind;
use super::switch::Switch;
use super::switch_keys::{GaloisKey, KeyGen, RelinKey};
use crate::error::Error;
use crate::kernel::Kernels;
use crate::place::wipe;
use crate::poly::{Coeff, Poly};
use crate::pool::{Material, bytes};
use crate::rns::Rns;
use crate::wire::Wire;
use bytemuck::Zeroable;
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret key, its public key, and the seed of both. Zeroised on drop; no Debug, no Clone.
#[derive(Zeroable)]
#[repr(C)]
pub struct KeyPair<const L: usize> {
    secret: SecretKey<L>,
    public: PublicKey<L>,
    seed: [u8; 32],
}

impl<const L: usize> KeyPair<L> {
    /// All zero, for statics: not a key until it is derived.
    pub const ZERO: Self = Self { secret: SecretKey::ZERO, public: PublicKey::ZERO, seed: [0; 32] };

    /// Derives both keys from `seed`, in place, as [`generate`] does. `scratch` holds zeros afterwards.
    pub fn derive(&mut self, k: &Kernels, seed: &[u8; 32], scratch: &mut Poly<L, Coeff>) {
        self.seed = *seed;
        self.derive_keys(k, scratch);
    }

    fn derive_keys(&mut self, k: &Kernels, scratch: &mut Poly<L, Coeff>) {
        generate(k, &self.seed, &mut self.secret, &mut self.public, scratch);
    }

    /// The secret key.
    #[must_use]
    pub const fn secret_key(&self) -> &SecretKey<L> {
        &self.secret
    }

    /// The public key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey<L> {
        &self.public
    }
}

/// All of it, the public key too, so that nothing is left in a pool's memory.
impl<const L: usize> Zeroize for KeyPair<L> {
    fn zeroize(&mut self) {
        self.secret.zeroize();
        wipe(&mut self.public);
        self.seed.zeroize();
    }
}

/// The secret key zeroises itself.
impl<const L: usize> Drop for KeyPair<L> {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl<const L: usize> ZeroizeOnDrop for KeyPair<L> {}

/// What making a [`KeyPair`] needs.
pub struct KeyPairMaker<'m, const L: usize> {
    /// The processor's kernels.
    pub kernels: &'m Kernels,
    /// Working memory; holds zeros afterwards.
    pub scratch: &'m mut Poly<L, Coeff>,
}

/// Made of 32 bytes of the generator, and serialised as these: restoring costs what making costs. The
/// public part is the public key's [wire form](crate::wire).
impl<const L: usize> Material for KeyPair<L> {
    const NAME: &'static str = kind!("bfv-pair", L);
    const MAX_USES: Option<u32> = None;
    const PUBLIC_SIZE: usize = PublicKey::<L>::SIZE;
    const SERIAL_SIZE: usize = 32;
    type Maker<'m> = KeyPairMaker<'m, L>;

    fn generate<R: CryptoRng + ?Sized>(
        &mut self,
        maker: &mut Self::Maker<'_>,
        rng: &mut R,
    ) -> Result<(), Error> {
        rng.fill_bytes(&mut self.seed);
        self.derive_keys(maker.kernels, maker.scratch);
        Ok(())
    }

    fn public(&self, maker: &mut Self::Maker<'_>, out: &mut [u8]) -> Result<(), Error> {
        Ok(self.public.encode(maker.kernels, out)?)
    }

    fn serialise(&self, _: &mut Self::Maker<'_>, out: &mut [u8]) -> Result<(), Error> {
        bytes::write(&self.seed, out)
    }

    fn restore(&mut self, maker: &mut Self::Maker<'_>, bytes: &[u8]) -> Result<(), Error> {
        self.derive(maker.kernels, bytes::read(bytes)?, maker.scratch);
        Ok(())
    }
}

/// A key pair with its relinearisation key and the Galois keys of `R` rotations, all of one seed.
/// Zeroised on drop; no Debug, no Clone.
///
/// Relinearisation and Galois keys are public, have [wire forms](crate::wire) of their own, and are
/// encryptions under the secret key of what is made of it.
#[derive(Zeroable)]
#[repr(C)]
pub struct KeySet<const L: usize, const R: usize>
where
    Rns<L>: Switch,
{
    pair: KeyPair<L>,
    relin: RelinKey<L>,
    galois: [GaloisKey<L>; R],
}

impl<const L: usize, const R: usize> KeySet<L, R>
where
    Rns<L>: Switch,
{
    /// All zero, for statics: not a key until it is derived.
    pub const ZERO: Self =
        Self { pair: KeyPair::ZERO, relin: RelinKey::ZERO, galois: [const { GaloisKey::ZERO }; R] };

    /// Derives all keys from `seed`, in place. The maker's memory holds zeros afterwards.
    pub fn derive(&mut self, maker: &mut KeySetMaker<'_, L, R>, seed: &[u8; 32]) {
        self.pair.seed = *seed;
        self.derive_keys(maker);
    }

    fn derive_keys(&mut self, maker: &mut KeySetMaker<'_, L, R>) {
        let k = maker.kernels;
        self.pair.derive_keys(k, maker.scratch);
        maker.keygen.derive(k, &self.pair.seed);
        maker.keygen.relin(k, &mut self.relin);
        for (key, rotation) in self.galois.iter_mut().zip(maker.rotations) {
            maker.keygen.galois(k, *rotation, key);
        }
        maker.keygen.zeroize();
    }

    /// The secret and the public key.
    #[must_use]
    pub const fn pair(&self) -> &KeyPair<L> {
        &self.pair
    }

    /// The relinearisation key.
    #[must_use]
    pub const fn relin_key(&self) -> &RelinKey<L> {
        &self.relin
    }

    /// The Galois keys, in the order of the maker's rotations.
    #[must_use]
    pub const fn galois_keys(&self) -> &[GaloisKey<L>; R] {
        &self.galois
    }
}

/// All of it, as [`KeyPair`].
impl<const L: usize, const R: usize> Zeroize for KeySet<L, R>
where
    Rns<L>: Switch,
{
    fn zeroize(&mut self) {
        self.pair.zeroize();
        wipe(&mut self.relin);
        wipe(&mut self.galois);
    }
}

impl<const L: usize, const R: usize> ZeroizeOnDrop for KeySet<L, R> where Rns<L>: Switch {}

/// What making a [`KeySet`] needs.
pub struct KeySetMaker<'m, const L: usize, const R: usize>
where
    Rns<L>: Switch,
{
    /// The processor's kernels.
    pub kernels: &'m Kernels,
    /// Working memory; holds zeros afterwards.
    pub scratch: &'m mut Poly<L, Coeff>,
    /// Working memory; holds zeros afterwards.
    pub keygen: &'m mut KeyGen<L>,
    /// What the Galois keys are for. A set is restored with the rotations that it was made with.
    pub rotations: &'m [Rotation; R],
}

/// Made of 32 bytes of the generator, and serialised as these: restoring costs what making costs, and
/// wants the same rotations. The public part is the public key's [wire form](crate::wire).
impl<const L: usize, const R: usize> Material for KeySet<L, R>
where
    Rns<L>: Switch,
{
    const NAME: &'static str = kind!("bfv-set", L);
    const MAX_USES: Option<u32> = None;
    const PUBLIC_SIZE: usize = PublicKey::<L>::SIZE;
    const SERIAL_SIZE: usize = 32;
    type Maker<'m> = KeySetMaker<'m, L, R>;

    fn generate<G: CryptoRng + ?Sized>(
        &mut self,
        maker: &mut Self::Maker<'_>,
        rng: &mut G,
    ) -> Result<(), Error> {
        rng.fill_bytes(&mut self.pair.seed);
        self.derive_keys(maker);
        Ok(())
    }

    fn public(&self, maker: &mut Self::Maker<'_>, out: &mut [u8]) -> Result<(), Error> {
        Ok(self.pair.public.encode(maker.kernels, out)?)
    }

    fn serialise(&self, _: &mut Self::Maker<'_>, out: &mut [u8]) -> Result<(), Error> {
        bytes::write(&self.pair.seed, out)
    }

    fn restore(&mut self, maker: &mut Self::Maker<'_>, bytes: &[u8]) -> Result<(), Error> {
        self.derive(maker, bytes::read(bytes)?);
        Ok(())
    }
}
