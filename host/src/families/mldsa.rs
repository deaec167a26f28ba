//! ML-DSA-65 by libcrux, behind the traits of [`symbolon_core::attest`]: `cargo xtask bench --filter
//! attest` has the times.

use bytemuck::Zeroable;
use libcrux_ml_dsa::ml_dsa_65::{
    self, MLDSA65Signature, MLDSA65SigningKey, MLDSA65VerificationKey,
};
use rand_core::CryptoRng;
use std::fmt;
use symbolon_core::attest::family::wiping;
use symbolon_core::attest::mldsa::{PUBLIC_KEY_SIZE, SIGNATURE_SIZE, Signature};
use symbolon_core::attest::{Domain, Error, Family, Result, SEED_SIZE, Sign, Verify};
use symbolon_core::pool::{Material, bytes};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

// 64-bit words of stack to wipe: what was measured on x86-64 with AVX2, and room for moves.

/// After deriving a key (74 KB measured).
const INIT_STACK: usize = 80 * 1024 / 8;

/// After signing (121 KB measured).
const SIGN_STACK: usize = 136 * 1024 / 8;

/// Bytes of an encoded signing key (FIPS 204, table 2).
const SECRET_SIZE: usize = MLDSA65SigningKey::len();

/// A signing key, encoded, and its public key. Zeroised on drop, and kept where the caller puts it, since
/// a move leaves a copy. All zeros are no key.
#[derive(Zeroable, Zeroize, ZeroizeOnDrop)]
#[repr(C)]
pub struct SigningKey {
    secret: [u8; SECRET_SIZE],
    public: [u8; PUBLIC_KEY_SIZE],
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

impl SigningKey {
    /// All zero, for statics: not a key until it is derived.
    pub const ZERO: Self = Self { secret: [0; SECRET_SIZE], public: [0; PUBLIC_KEY_SIZE] };

    /// [Derives](Self::derive) the key of `seed` into `slot`, dropping a key that was there.
    pub fn init<'a>(slot: &'a mut Option<Self>, seed: &[u8; SEED_SIZE]) -> &'a Self {
        let key = slot.insert(Self::ZERO);
        key.derive(seed);
        key
    }

    /// Derives the key of `seed`, in place (FIPS 204, Algorithm 6). It is the key that
    /// [`symbolon_core::attest::mldsa::SigningKey::init`] makes of the same seed.
    ///
    /// The seed must be 32 bytes from a cryptographic generator, and stays the caller's to zeroise.
    pub fn derive(&mut self, seed: &[u8; SEED_SIZE]) {
        wiping::<INIT_STACK, _>(|| {
            let pair = ml_dsa_65::generate_key_pair(*seed);
            self.secret = *pair.signing_key.as_ref();
            self.public = *pair.verification_key.as_ref();
        });
    }

    fn make(
        &self,
        context: Domain,
        message: &[u8],
        random: &[u8; 32],
        out: &mut [u8],
    ) -> Result<()> {
        let out = out.first_chunk_mut::<SIGNATURE_SIZE>().ok_or(Error::BufferTooSmall)?;
        if bytes::is_empty(&self.secret) {
            return Err(Error::Signing);
        }
        wiping::<SIGN_STACK, _>(|| {
            let key = MLDSA65SigningKey::new(self.secret);
            let made = ml_dsa_65::sign(&key, message, context.as_bytes(), *random);
            *out = *made.map_err(|_| Error::Signing)?.as_ref();
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
        let mut random = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *random);
        self.make(context, message, &random, out)
    }

    /// FIPS 204, section 3.4. An error leaves `out` as it was.
    fn sign_deterministic(&self, context: Domain, message: &[u8], out: &mut [u8]) -> Result<()> {
        self.make(context, message, &[0; 32], out)
    }

    fn public_key(&self, out: &mut [u8]) -> Result<()> {
        *out.first_chunk_mut().ok_or(Error::BufferTooSmall)? = self.public;
        Ok(())
    }
}

/// Made of 32 bytes of the generator; serialised as it lies: signing key, public key. When it is restored,
/// both must begin with the same seed of their matrix; more is not looked at.
impl Material for SigningKey {
    const NAME: &'static str = "ml-dsa-65-libcrux";
    const MAX_USES: Option<u32> = None;
    const PUBLIC_SIZE: usize = PUBLIC_KEY_SIZE;
    const SERIAL_SIZE: usize = SECRET_SIZE + PUBLIC_KEY_SIZE;
    type Maker<'m> = ();

    fn generate<R: CryptoRng + ?Sized>(
        &mut self,
        (): &mut (),
        rng: &mut R,
    ) -> std::result::Result<(), symbolon_core::Error> {
        let mut seed = Zeroizing::new([0; SEED_SIZE]);
        rng.fill_bytes(&mut *seed);
        self.derive(&seed);
        Ok(())
    }

    fn public(&self, (): &mut (), out: &mut [u8]) -> std::result::Result<(), symbolon_core::Error> {
        bytes::write(&self.public, out)
    }

    fn serialise(
        &self,
        (): &mut (),
        out: &mut [u8],
    ) -> std::result::Result<(), symbolon_core::Error> {
        bytes::write_both(&self.secret, &self.public, out)
    }

    fn restore(
        &mut self,
        (): &mut (),
        bytes: &[u8],
    ) -> std::result::Result<(), symbolon_core::Error> {
        let (secret, public) = bytes::read_both::<SECRET_SIZE, PUBLIC_KEY_SIZE>(bytes)?;
        if secret.first_chunk::<32>() != public.first_chunk() {
            return Err(symbolon_core::Error::Range);
        }
        (self.secret, self.public) = (*secret, *public);
        Ok(())
    }
}

/// A public key, encoded: each verification expands it anew.
#[derive(Clone)]
pub struct VerifyingKey(MLDSA65VerificationKey);

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// Takes an encoded public key. Every string of this length is one.
    #[must_use]
    pub fn decode(input: &[u8; PUBLIC_KEY_SIZE]) -> Self {
        Self(MLDSA65VerificationKey::new(*input))
    }
}

impl Verify for VerifyingKey {
    const FAMILY: Family = Family::MlDsa65;

    /// FIPS 204, Algorithm 3.
    fn verify(&self, context: Domain, message: &[u8], signature: &[u8]) -> Result<()> {
        <&Signature>::try_from(signature)
            .ok()
            .map(|signature| MLDSA65Signature::new(*signature))
            .and_then(|s| ml_dsa_65::verify(&self.0, message, context.as_bytes(), &s).ok())
            .ok_or(Error::WrongSignature(Self::FAMILY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};
    use symbolon_core::attest::mldsa;

    const CONTEXT: Domain = Domain::new("symbolon/test");

    /// Both from one seed: the same public key and, without randomness, the same signature; and each
    /// verifies the other's hedged one.
    #[test]
    fn libcrux_and_core_agree() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let (mut fast, mut plain) = (None, Box::new(None));
        for round in 0..20_usize {
            let mut seed = [0; SEED_SIZE];
            rng.fill_bytes(&mut seed);
            let fast = SigningKey::init(&mut fast, &seed);
            let plain = mldsa::SigningKey::init(&mut plain, &seed);
            let [mut public, mut public_plain] = [[0; PUBLIC_KEY_SIZE]; 2];
            fast.public_key(&mut public).unwrap();
            plain.public_key(&mut public_plain).unwrap();
            assert_eq!(public, public_plain);
            let verify = VerifyingKey::decode(&public);
            let verify_plain = mldsa::VerifyingKey::decode(&public);

            let message = vec![round as u8; 37 * round];
            let [mut a, mut b] = [[0; SIGNATURE_SIZE]; 2];
            fast.sign_deterministic(CONTEXT, &message, &mut a).unwrap();
            plain.sign_deterministic(CONTEXT, &message, &mut b).unwrap();
            assert_eq!(a, b);
            fast.sign(CONTEXT, &message, &mut rng, &mut a).unwrap();
            assert_ne!(a, b, "hedged");
            plain.sign(CONTEXT, &message, &mut rng, &mut b).unwrap();
            for signature in [&mut a, &mut b] {
                assert_eq!(verify.verify(CONTEXT, &message, &signature[..]), Ok(()));
                assert_eq!(verify_plain.verify(CONTEXT, &message, &signature[..]), Ok(()));
                signature[round * 160] ^= 1;
                let wrong = Err(Error::WrongSignature(Family::MlDsa65));
                assert_eq!(verify.verify(CONTEXT, &message, &signature[..]), wrong);
                assert_eq!(verify_plain.verify(CONTEXT, &message, &signature[..]), wrong);
            }
        }
    }

    #[test]
    fn what_is_restored_signs_and_what_is_no_key_does_not() {
        let mut key = SigningKey::ZERO;
        let mut signature = [0; SIGNATURE_SIZE];
        assert_eq!(key.sign_deterministic(CONTEXT, b"", &mut signature), Err(Error::Signing));
        key.generate(&mut (), &mut ChaCha20Rng::from_seed([1; 32])).unwrap();
        let mut bytes = vec![0; SigningKey::SERIAL_SIZE];
        key.serialise(&mut (), &mut bytes).unwrap();
        let mut restored = SigningKey::ZERO;
        restored.restore(&mut (), &bytes).unwrap();
        let mut public = [0; PUBLIC_KEY_SIZE];
        Material::public(&key, &mut (), &mut public).unwrap();
        restored.sign_deterministic(CONTEXT, b"", &mut signature).unwrap();
        let verify = VerifyingKey::decode(&public);
        assert_eq!(verify.verify(CONTEXT, b"", &signature), Ok(()));

        let (length, range) = (Err(symbolon_core::Error::Length), Err(symbolon_core::Error::Range));
        assert_eq!(restored.restore(&mut (), &bytes[1..]), length);
        assert_eq!(key.serialise(&mut (), &mut bytes[1..]), length);
        assert_eq!(key.public(&mut (), &mut public[1..]), length);
        bytes[SECRET_SIZE] ^= 1;
        assert_eq!(restored.restore(&mut (), &bytes), range);
        bytes.fill(0);
        assert_eq!(restored.restore(&mut (), &bytes), range);
        key.zeroize();
        assert_eq!((key.secret, key.public), (SigningKey::ZERO.secret, SigningKey::ZERO.public));
    }

    #[test]
    fn wrong_sizes_and_contexts_are_refused() {
        let mut slot = None;
        let key = SigningKey::init(&mut slot, &[2; SEED_SIZE]);
        let mut public = [0; PUBLIC_KEY_SIZE];
        key.public_key(&mut public).unwrap();
        let mut signature = [0; SIGNATURE_SIZE + 1];
        let short = &mut signature[..SIGNATURE_SIZE - 1];
        assert_eq!(key.sign_deterministic(CONTEXT, b"", short), Err(Error::BufferTooSmall));
        assert_eq!(key.public_key(&mut public[1..]), Err(Error::BufferTooSmall));
        key.sign_deterministic(CONTEXT, b"", &mut signature).unwrap();
        let verify = VerifyingKey::decode(&public);
        let wrong = Err(Error::WrongSignature(Family::MlDsa65));
        assert_eq!(verify.verify(CONTEXT, b"", &signature[..SIGNATURE_SIZE]), Ok(()));
        assert_eq!(verify.verify(CONTEXT, b"", &signature), wrong);
        assert_eq!(verify.verify(CONTEXT, b"", &signature[1..]), wrong);
        assert_eq!(verify.verify(CONTEXT, b"", &[]), wrong);
        let other = Domain::new("symbolon/other");
        assert_eq!(verify.verify(other, b"", &signature[..SIGNATURE_SIZE]), wrong);
        assert_eq!(format!("{key:?}"), "SigningKey { .. }");
    }
}
