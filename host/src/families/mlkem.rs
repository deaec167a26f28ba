//! ML-KEM-768 by libcrux, behind the traits of [`symbolon_core::kem`].

use libcrux_ml_kem::mlkem768::{self, MlKem768PublicKey};
use rand_core::CryptoRng;
use std::fmt;
use symbolon_core::Error;
use symbolon_core::attest::family::wiping;
use symbolon_core::kem::{
    CIPHERTEXT_SIZE, DECAPSULATION_KEY_SIZE, Decapsulate, ENCAPSULATION_KEY_SIZE, Encapsulate,
    SECRET_SIZE, SEED_SIZE, encapsulation_key,
};
use symbolon_core::pool::{Material, bytes};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

// 64-bit words of stack to wipe: what was measured on x86-64 with AVX2, and room for moves.

/// After deriving a key (24 KB measured).
const DERIVE_STACK: usize = 32 * 1024 / 8;

/// After encapsulation (28 KB measured).
const ENCAPSULATE_STACK: usize = 36 * 1024 / 8;

/// After decapsulation (29 KB measured).
const DECAPSULATE_STACK: usize = 40 * 1024 / 8;

/// A decapsulation key, encoded: zeroised on drop, and kept where the caller puts it, since a move
/// leaves a copy. All zeros are no key.
#[derive(bytemuck::Zeroable, Zeroize, ZeroizeOnDrop)]
#[repr(transparent)]
pub struct DecapsulationKey([u8; DECAPSULATION_KEY_SIZE]);

impl fmt::Debug for DecapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecapsulationKey").finish_non_exhaustive()
    }
}

impl DecapsulationKey {
    /// All zero, for statics: not a key until it is derived or decoded.
    pub const ZERO: Self = Self([0; DECAPSULATION_KEY_SIZE]);

    /// Derives the key of `seed`, in place (FIPS 203, Algorithm 16). It is the key that
    /// [`symbolon_core::kem::mlkem::DecapsulationKey::derive`] makes of the same seed.
    ///
    /// The seed must be 64 bytes from a cryptographic generator, and stays the caller's to zeroise.
    pub fn derive(&mut self, seed: &[u8; SEED_SIZE]) {
        wiping::<DERIVE_STACK, _>(|| self.0 = *mlkem768::generate_key_pair(*seed).sk());
    }

    /// Reads an encoded key, in place.
    ///
    /// # Errors
    /// [`Error::Range`] where the encapsulation key in it is none or is not what its hash is of
    /// (FIPS 203, section 7.3). `self` is then as it was.
    pub fn decode(&mut self, input: &[u8; DECAPSULATION_KEY_SIZE]) -> Result<(), Error> {
        let public = MlKem768PublicKey::try_from(encapsulation_key(input));
        let is_key = mlkem768::validate_public_key(&public.map_err(|_| Error::Range)?)
            && wiping::<DERIVE_STACK, _>(|| {
                mlkem768::portable::validate_private_key_only(&input.into())
            });
        if !is_key {
            return Err(Error::Range);
        }
        self.0 = *input;
        Ok(())
    }
}

impl Decapsulate for DecapsulationKey {
    fn decapsulate(
        &self,
        ciphertext: &[u8; CIPHERTEXT_SIZE],
        secret: &mut [u8; SECRET_SIZE],
    ) -> Result<(), Error> {
        if bytes::is_empty(&self.0) {
            return Err(Error::Range);
        }
        wiping::<DECAPSULATE_STACK, _>(|| {
            *secret = mlkem768::decapsulate(&(&self.0).into(), &ciphertext.into());
        });
        Ok(())
    }

    fn encapsulation_key(&self, out: &mut [u8; ENCAPSULATION_KEY_SIZE]) {
        out.copy_from_slice(encapsulation_key(&self.0));
    }
}

/// Made of 64 bytes of the generator; serialised as it lies.
impl Material for DecapsulationKey {
    const NAME: &'static str = "ml-kem-768-libcrux";
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

/// An encapsulation key, encoded: each encapsulation expands it anew.
#[derive(Clone)]
pub struct EncapsulationKey(MlKem768PublicKey);

impl fmt::Debug for EncapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncapsulationKey").finish_non_exhaustive()
    }
}

impl EncapsulationKey {
    /// Takes an encoded key.
    ///
    /// # Errors
    /// [`Error::Range`] where a coefficient is not below q = 3329 (FIPS 203, section 7.2).
    pub fn decode(input: &[u8; ENCAPSULATION_KEY_SIZE]) -> Result<Self, Error> {
        let key = MlKem768PublicKey::from(input);
        if mlkem768::validate_public_key(&key) { Ok(Self(key)) } else { Err(Error::Range) }
    }
}

impl Encapsulate for EncapsulationKey {
    fn encapsulate<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        ciphertext: &mut [u8; CIPHERTEXT_SIZE],
        secret: &mut [u8; SECRET_SIZE],
    ) {
        let mut message = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *message);
        wiping::<ENCAPSULATE_STACK, _>(|| {
            let made;
            (made, *secret) = mlkem768::encapsulate(&self.0, *message);
            *ciphertext = made.into();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};
    use symbolon_core::kem::mlkem;

    /// Both of one seed: the same keys; of one generator's bytes the same ciphertext and secret; and each
    /// opens what the other made, and rejects what neither made to the same secret.
    #[test]
    fn libcrux_and_core_agree() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let (mut fast, mut plain) = (DecapsulationKey::ZERO, mlkem::DecapsulationKey::ZERO);
        for round in 0..100_usize {
            let mut seed = [0; SEED_SIZE];
            rng.fill_bytes(&mut seed);
            fast.derive(&seed);
            plain.derive(&seed);
            let [mut key, mut key_plain] = [[0; DECAPSULATION_KEY_SIZE]; 2];
            fast.serialise(&mut (), &mut key).unwrap();
            plain.serialise(&mut (), &mut key_plain).unwrap();
            assert!(key == key_plain);
            let [mut public, mut public_plain] = [[0; ENCAPSULATION_KEY_SIZE]; 2];
            fast.encapsulation_key(&mut public);
            plain.encapsulation_key(&mut public_plain);
            assert_eq!(public, public_plain);

            let [mut a, mut b] = [[0; CIPHERTEXT_SIZE]; 2];
            let [mut secret, mut secret_plain] = [[0; SECRET_SIZE]; 2];
            let (fast_public, plain_public) = (
                EncapsulationKey::decode(&public).unwrap(),
                mlkem::EncapsulationKey::decode(&public).unwrap(),
            );
            let message = || ChaCha20Rng::from_seed([round as u8; 32]);
            fast_public.encapsulate(&mut message(), &mut a, &mut secret);
            plain_public.encapsulate(&mut message(), &mut b, &mut secret_plain);
            assert_eq!((a, secret), (b, secret_plain));

            let sent = secret;
            open(&fast, &plain, &a, &mut secret);
            assert_eq!(secret, sent);
            a[round * 10] ^= 1;
            open(&fast, &plain, &a, &mut secret);
            assert_ne!(secret, sent);
            rng.fill_bytes(&mut a);
            open(&fast, &plain, &a, &mut secret);
            assert_ne!(secret, sent);
        }
    }

    /// Both give the same.
    fn open(
        fast: &DecapsulationKey,
        plain: &mlkem::DecapsulationKey,
        ciphertext: &[u8; CIPHERTEXT_SIZE],
        secret: &mut [u8; SECRET_SIZE],
    ) {
        let mut secret_plain = [0; SECRET_SIZE];
        fast.decapsulate(ciphertext, secret).unwrap();
        plain.decapsulate(ciphertext, &mut secret_plain).unwrap();
        assert_eq!(*secret, secret_plain);
    }

    /// A byte more, anywhere: both take it for a key or neither does.
    #[test]
    fn both_refuse_the_same_keys() {
        let mut good = [0; DECAPSULATION_KEY_SIZE];
        let mut key = DecapsulationKey::ZERO;
        key.derive(&[3; SEED_SIZE]);
        key.serialise(&mut (), &mut good).unwrap();
        let mut refused = 0;
        for at in (0..DECAPSULATION_KEY_SIZE).step_by(7) {
            let mut bytes = good;
            bytes[at] ^= 0xff;
            let (mut fast, mut plain) = (DecapsulationKey::ZERO, mlkem::DecapsulationKey::ZERO);
            let result = fast.restore(&mut (), &bytes);
            assert_eq!(result, plain.restore(&mut (), &bytes), "byte {at}");
            refused += usize::from(result.is_err());
            let public: &[u8; ENCAPSULATION_KEY_SIZE] =
                encapsulation_key(&bytes).try_into().unwrap();
            let [fast, plain] = [
                EncapsulationKey::decode(public).err(),
                mlkem::EncapsulationKey::decode(public).err(),
            ];
            assert_eq!(fast, plain, "byte {at}");
        }
        // The encapsulation key and its hash, and no more.
        assert_eq!(refused, (ENCAPSULATION_KEY_SIZE + 32).div_ceil(7));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let mut secret = [7; SECRET_SIZE];
        let key = DecapsulationKey::ZERO;
        assert_eq!(key.decapsulate(&[1; CIPHERTEXT_SIZE], &mut secret), Err(Error::Range));
        assert_eq!(secret, [7; SECRET_SIZE]);
        assert_eq!(format!("{key:?}"), "DecapsulationKey { .. }");
        let mut key = DecapsulationKey::ZERO;
        for size in [0, DECAPSULATION_KEY_SIZE - 1, DECAPSULATION_KEY_SIZE + 1] {
            assert_eq!(key.restore(&mut (), &vec![1; size]), Err(Error::Length));
            assert_eq!(key.serialise(&mut (), &mut vec![1; size]), Err(Error::Length));
            assert_eq!(key.public(&mut (), &mut vec![1; size]), Err(Error::Length));
        }
        assert_eq!(key.restore(&mut (), &[0; DECAPSULATION_KEY_SIZE]), Err(Error::Range));
        key.generate(&mut (), &mut ChaCha20Rng::from_seed([1; 32])).unwrap();
        let mut bytes = [0; DECAPSULATION_KEY_SIZE];
        key.serialise(&mut (), &mut bytes).unwrap();
        let mut other = DecapsulationKey::ZERO;
        other.restore(&mut (), &bytes).unwrap();
        assert!(other.0 == key.0);
        key.zeroize();
        assert_eq!(key.0, [0; DECAPSULATION_KEY_SIZE]);
    }
}
