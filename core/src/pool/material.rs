//! What a pool holds: one trait for every kind of key.

use crate::error::Error;
use bytemuck::Zeroable;
use rand_core::CryptoRng;
use zeroize::Zeroize;

/// Key material that is made ahead, in place, and wiped in place.
///
/// All zeros must be a value that is no key, as [`Zeroize`] leaves it: that is what an empty cell holds. Nothing of it
/// may lie elsewhere: no pointers.
///
/// A pool overwrites the memory of what is over, and does not run its `Drop`.
///
/// `generate` and `restore` run in whatever cell is free. When they fail or panic, the pool wipes the
/// cell; they need not.
pub trait Material: Zeroable + Zeroize + Send + Sync + 'static {
    /// Its name in reports and metrics, for instance `ml-kem-768`.
    const NAME: &'static str;

    /// The most times that one may be handed out, where its security asks for a limit.
    const MAX_USES: Option<u32>;

    /// Bytes of the public part; 0 if nothing of it is public.
    const PUBLIC_SIZE: usize;

    /// Bytes of the serialised form.
    const SERIAL_SIZE: usize;

    /// What making one needs besides entropy: kernels, other keys, working memory. `()` if nothing.
    type Maker<'m>;

    /// Makes a fresh one from `rng`.
    ///
    /// # Errors
    /// What the kind's arithmetic reports; the value is then not to be used.
    fn generate<R: CryptoRng + ?Sized>(
        &mut self,
        maker: &mut Self::Maker<'_>,
        rng: &mut R,
    ) -> Result<(), Error>;

    /// Writes the public part to `out`: exactly [`PUBLIC_SIZE`](Self::PUBLIC_SIZE) bytes.
    ///
    /// # Errors
    /// [`Error::Length`] for another length.
    fn public(&self, maker: &mut Self::Maker<'_>, out: &mut [u8]) -> Result<(), Error>;

    /// Writes the **secret** serialised form to `out`: exactly [`SERIAL_SIZE`](Self::SERIAL_SIZE)
    /// bytes, from which [`restore`](Self::restore) makes the same value. For sealing under a key of
    /// the same process; not a format to be stored.
    ///
    /// # Errors
    /// [`Error::Length`] for another length.
    fn serialise(&self, maker: &mut Self::Maker<'_>, out: &mut [u8]) -> Result<(), Error>;

    /// The inverse of [`serialise`](Self::serialise).
    ///
    /// # Errors
    /// [`Error::Length`] for another length, [`Error::Range`] where the bytes are no such form.
    fn restore(&mut self, maker: &mut Self::Maker<'_>, bytes: &[u8]) -> Result<(), Error>;
}
