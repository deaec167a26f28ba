//! A device's key: ML-DSA-65, kept as its seed in a file that only its owner may read.
//!
//! `SYDK`, version 1, seed (32): 37 bytes.

use crate::error::{Error, Kind, Result};
use crate::families::mldsa::{SigningKey, VerifyingKey};
use crate::isa;
use crate::private_file;
use crate::random::{fill_random, random};
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use std::fmt;
use std::path::Path;
use symbolon_core::attest::mldsa::{PUBLIC_KEY_SIZE, SIGNATURE_SIZE};
use symbolon_core::attest::{Digest, Domain, SEED_SIZE, Sign, Verify, bulk, hash};
use zeroize::Zeroizing;

const MAGIC: [u8; 4] = *b"SYDK";
const VERSION: u8 = 1;
const SIZE: usize = 4 + 1 + SEED_SIZE;

/// Context string of a device's signature: `symbolon/session/device/v1`.
const CONTEXT: Domain = Domain::new("symbolon/session/device/v1");
/// What it signs.
const LOGIN: Domain = Domain::new("symbolon/session/login/v2");
const DEVICE: Domain = Domain::new("symbolon/device/v1");

/// What a device is called: SHA3-256 of length byte, `symbolon/device/v1`, and its public key after its length.
#[must_use]
pub fn digest(public: &[u8; PUBLIC_KEY_SIZE]) -> Digest {
    hash(DEVICE, &[public])
}

/// What a device signs: everything said before, and what it says of itself. All but the last part have one size.
fn login(
    transcript: &Digest,
    version: u32,
    public: &[u8; PUBLIC_KEY_SIZE],
    presented: (u8, &[u8]),
) -> Digest {
    let (kind, bytes) = presented;
    bulk(isa::fastest(), LOGIN, &[transcript, &version.to_le_bytes(), public, &[kind], bytes])
}

/// Whether a device signed this.
pub(super) fn verify(
    transcript: &Digest,
    version: u32,
    public: &[u8; PUBLIC_KEY_SIZE],
    presented: (u8, &[u8]),
    signature: &[u8; SIGNATURE_SIZE],
) -> bool {
    let message = login(transcript, version, public, presented);
    VerifyingKey::decode(public).verify(CONTEXT, &message, signature).is_ok()
}

/// A device's key.
pub struct DeviceKey {
    key: Box<SigningKey>,
    public: Box<[u8; PUBLIC_KEY_SIZE]>,
    digest: Digest,
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceKey").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl DeviceKey {
    /// A new key. Errors: `E-ENTROPY`.
    pub fn draw() -> Result<Self> {
        let mut seed = Zeroizing::new([0; SEED_SIZE]);
        fill_random(&mut *seed)?;
        Ok(Self::derive(&seed))
    }

    /// The key of a seed.
    #[must_use]
    pub fn derive(seed: &[u8; SEED_SIZE]) -> Self {
        let mut key = bytemuck::zeroed_box::<SigningKey>();
        key.derive(seed);
        let mut public = Box::new([0; PUBLIC_KEY_SIZE]);
        // It has that size.
        let _ = key.public_key(&mut *public);
        let digest = digest(&public);
        Self { key, public, digest }
    }

    /// Makes a new key's file, and the key. Errors: `E-IO`, also where there is one; `E-ENTROPY`.
    pub fn create(path: &Path) -> Result<Self> {
        let mut bytes = Zeroizing::new([0; SIZE]);
        if let Some((head, seed)) = bytes.split_first_chunk_mut::<5>() {
            head[..4].copy_from_slice(&MAGIC);
            head[4] = VERSION;
            fill_random(seed)?;
        }
        private_file::create(path, &*bytes)?;
        Self::parse(&bytes, path)
    }

    /// Reads a key's file. Errors: `E-KEY-FILE`, `E-IO`.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = private_file::read(path, Kind::KeyFile)?;
        Self::parse(&bytes, path)
    }

    /// Of a key file's bytes. Errors: `E-KEY-FILE`.
    pub fn parse(bytes: &[u8; SIZE], path: &Path) -> Result<Self> {
        let error = || {
            let message = "is no device key of a version that is read here";
            Error::new(Kind::KeyFile, message).in_file(path.to_string_lossy())
        };
        let (head, seed) = bytes.split_first_chunk::<5>().ok_or_else(error)?;
        if head[..4] != MAGIC || head[4] != VERSION {
            return Err(error());
        }
        Ok(Self::derive(seed.try_into().map_err(|_| error())?))
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> &[u8; PUBLIC_KEY_SIZE] {
        &self.public
    }

    /// What the device is called.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Signs a login. Errors: `E-ENTROPY`, `E-SIGNING`.
    pub(super) fn sign(
        &self,
        transcript: &Digest,
        version: u32,
        presented: (u8, &[u8]),
        out: &mut [u8; SIGNATURE_SIZE],
    ) -> Result<()> {
        let mut rng = ChaCha20Rng::from_seed(*Zeroizing::new(random()?));
        let message = login(transcript, version, &self.public, presented);
        let signed = self.key.sign(CONTEXT, &message, &mut rng, out);
        signed.map_err(|e| Error::new(Kind::Signing, e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device.key");
        let key = DeviceKey::create(&path).unwrap();
        assert_eq!(DeviceKey::load(&path).unwrap().digest(), key.digest());
        assert_eq!(DeviceKey::create(&path).unwrap_err().kind(), Kind::Io, "never overwritten");
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..5 {
            let mut other: [u8; SIZE] = bytes.clone().try_into().unwrap();
            other[at] ^= 1;
            assert_eq!(DeviceKey::parse(&other, &path).unwrap_err().kind(), Kind::KeyFile);
        }
        assert!(!format!("{key:?}").contains("seed"));
    }

    #[test]
    fn a_signature_is_over_all_of_a_login() {
        let key = DeviceKey::derive(&[1; 32]);
        let mut signature = [0; SIGNATURE_SIZE];
        key.sign(&[2; 32], 3, (0, b"me"), &mut signature).unwrap();
        let is = |transcript, version, presented| {
            verify(transcript, version, key.public(), presented, &signature)
        };
        assert!(is(&[2; 32], 3, (0, b"me")));
        assert!(!is(&[3; 32], 3, (0, b"me")));
        assert!(!is(&[2; 32], 4, (0, b"me")));
        assert!(!is(&[2; 32], 3, (1, b"me")));
        assert!(!is(&[2; 32], 3, (0, b"you")));
        let other = DeviceKey::derive(&[2; 32]);
        assert!(!verify(&[2; 32], 3, other.public(), (0, b"me"), &signature));
    }
}
