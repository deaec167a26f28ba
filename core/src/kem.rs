//! Key encapsulation: a secret for two, carried by a ciphertext to whoever holds the decapsulation key.
//!
//! ML-KEM-768 (FIPS 203), whose security rests on module lattices, behind two traits, so that a caller
//! can take any implementation of it: [`mlkem`] here, and a faster one in the host.

pub mod mlkem;

use crate::error::Error;
use rand_core::CryptoRng;

/// Bytes of the seed that a decapsulation key is derived from: d, then z (FIPS 203, Algorithm 19).
pub const SEED_SIZE: usize = 64;

/// Bytes of an encoded encapsulation key (FIPS 203, table 3).
pub const ENCAPSULATION_KEY_SIZE: usize = 1184;

/// Bytes of an encoded decapsulation key (FIPS 203, table 3). The encapsulation key is part of it.
pub const DECAPSULATION_KEY_SIZE: usize = 2400;

/// Bytes of a ciphertext (FIPS 203, table 3).
pub const CIPHERTEXT_SIZE: usize = 1088;

/// Bytes of a shared secret (FIPS 203, table 3).
pub const SECRET_SIZE: usize = 32;

/// An encapsulation key made ready to use.
pub trait Encapsulate {
    /// Draws 32 bytes of `rng`, and writes a shared secret, and the ciphertext that carries it
    /// (FIPS 203, Algorithm 20).
    fn encapsulate<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        ciphertext: &mut [u8; CIPHERTEXT_SIZE],
        secret: &mut [u8; SECRET_SIZE],
    );
}

/// A decapsulation key.
pub trait Decapsulate {
    /// Writes the secret that `ciphertext` carries (FIPS 203, Algorithm 21).
    ///
    /// A ciphertext that no encapsulation made is not an error: it gives a secret that nobody else
    /// knows, always the same one, in the same time (implicit rejection). Both sides find out when they
    /// use their secrets.
    ///
    /// # Errors
    /// [`Error::Range`] if this is no key, as in an empty cell of a pool. `secret` is then as it was.
    fn decapsulate(
        &self,
        ciphertext: &[u8; CIPHERTEXT_SIZE],
        secret: &mut [u8; SECRET_SIZE],
    ) -> Result<(), Error>;

    /// Writes the encoded encapsulation key.
    fn encapsulation_key(&self, out: &mut [u8; ENCAPSULATION_KEY_SIZE]);
}

/// The encapsulation key within an encoded decapsulation key, which is the secret of the encryption
/// scheme underneath, this, its hash, and z (FIPS 203, Algorithm 16).
#[must_use]
pub fn encapsulation_key(key: &[u8; DECAPSULATION_KEY_SIZE]) -> &[u8] {
    key.split_at(DECAPSULATION_KEY_SIZE - ENCAPSULATION_KEY_SIZE - 64)
        .1
        .split_at(ENCAPSULATION_KEY_SIZE)
        .0
}
