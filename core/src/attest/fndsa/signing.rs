use super::super::family::wiping;
use super::super::{Domain, Error, Family, Result, Sign};
use super::{PUBLIC_KEY_SIZE, SEED_SIZE, SIGNATURE_SIZE};
use crate::error;
use crate::pool::{Material, bytes};
use bytemuck::Zeroable;
use core::fmt;
use fn_dsa_kgen::{FN_DSA_LOGN_512, KeyPairGenerator as _, KeyPairGenerator512, sign_key_size};
use fn_dsa_sign::{DomainContext, HASH_ID_RAW, RngError, SigningKey as _, SigningKey512};
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of an encoded signing key: f, g and F, and the hash of the public key.
const SECRET_SIZE: usize = sign_key_size(FN_DSA_LOGN_512);

// 64-bit words of stack to wipe: what was measured on x86-64, rounded up.

/// After key generation (29 KB measured).
const INIT_STACK: usize = 32 * 1024 / 8;

/// After signing (181 KB measured), or reading a key (175).
const SIGN_STACK: usize = 180 * 1024 / 8;

/// A signing key, encoded: zeroised on drop, and kept where the caller puts it, since a move leaves a
/// copy. All zeros are no key.
#[derive(Zeroable, Zeroize, ZeroizeOnDrop)]
#[repr(C)]
pub struct SigningKey {
    secret: [u8; SECRET_SIZE],
    public: [u8; PUBLIC_KEY_SIZE],
}

// Does not compile if the crates stop to zeroise.
const _: () = {
    const fn zeroised<T: ZeroizeOnDrop>() {}
    zeroised::<KeyPairGenerator512>();
    zeroised::<SigningKey512>();
};

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

    /// Generates the key of `seed`, in place.
    ///
    /// Key generation draws 32 bytes, once, and computes everything from them: they are `seed`, which
    /// must come from a cryptographic generator and stays the caller's to zeroise. It takes variable
    /// time, some milliseconds.
    pub fn derive(&mut self, seed: &[u8; SEED_SIZE]) {
        wiping::<INIT_STACK, _>(|| {
            KeyPairGenerator512::default().keygen(
                FN_DSA_LOGN_512,
                &mut Fixed(seed),
                &mut self.secret,
                &mut self.public,
            );
        });
    }

    fn make<R: fn_dsa_sign::CryptoRng + fn_dsa_sign::RngCore>(
        &self,
        context: &[u8],
        message: &[u8],
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<()> {
        let out = out.first_chunk_mut::<SIGNATURE_SIZE>().ok_or(Error::BufferTooSmall)?;
        wiping::<SIGN_STACK, _>(|| {
            let mut key = SigningKey512::decode(&self.secret).ok_or(Error::Signing)?;
            key.sign(rng, &DomainContext(context), &HASH_ID_RAW, message, out).ok_or(Error::Signing)
        })
    }
}

impl Sign for SigningKey {
    const FAMILY: Family = Family::FnDsa512Draft;

    /// Draws 40 bytes of `rng`, and signs with what they, the key and the message hash to.
    fn sign<R: CryptoRng + ?Sized>(
        &self,
        context: Domain,
        message: &[u8],
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<()> {
        self.make(context.as_bytes(), message, &mut Caller(rng), out)
    }

    /// As [`sign`](Self::sign) with 40 zero bytes.
    ///
    /// Two different signatures of one message made with the same nonce give a Falcon key away. Here
    /// nonce and signature follow from key and message, so that this takes two machines that compute
    /// differently; `fn-dsa` computes the same on all of them, which known answers check.
    fn sign_deterministic(&self, context: Domain, message: &[u8], out: &mut [u8]) -> Result<()> {
        self.make(context.as_bytes(), message, &mut Fixed(&[]), out)
    }

    fn public_key(&self, out: &mut [u8]) -> Result<()> {
        *out.first_chunk_mut().ok_or(Error::BufferTooSmall)? = self.public;
        Ok(())
    }
}

/// Made of 32 bytes of the generator; serialised as the signing key, from which the public key is
/// computed again.
impl Material for SigningKey {
    const NAME: &'static str = "fn-dsa-512-draft";
    const MAX_USES: Option<u32> = None;
    const PUBLIC_SIZE: usize = PUBLIC_KEY_SIZE;
    const SERIAL_SIZE: usize = SECRET_SIZE;
    type Maker<'m> = ();

    fn generate<R: CryptoRng + ?Sized>(
        &mut self,
        (): &mut (),
        rng: &mut R,
    ) -> Result<(), error::Error> {
        let mut seed = Zeroizing::new([0; SEED_SIZE]);
        rng.fill_bytes(&mut *seed);
        self.derive(&seed);
        Ok(())
    }

    fn public(&self, (): &mut (), out: &mut [u8]) -> Result<(), error::Error> {
        bytes::write(&self.public, out)
    }

    fn serialise(&self, (): &mut (), out: &mut [u8]) -> Result<(), error::Error> {
        bytes::write(&self.secret, out)
    }

    fn restore(&mut self, (): &mut (), bytes: &[u8]) -> Result<(), error::Error> {
        let secret = bytes::read(bytes)?;
        wiping::<SIGN_STACK, _>(|| {
            let key = SigningKey512::decode(secret).ok_or(error::Error::Range)?;
            key.to_verifying_key(&mut self.public);
            self.secret = *secret;
            Ok(())
        })
    }
}

/// The caller's generator in the terms of rand_core 0.6, which `fn-dsa` speaks.
struct Caller<'a, R: ?Sized>(&'a mut R);

impl<R: CryptoRng + ?Sized> fn_dsa_sign::RngCore for Caller<'_, R> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), RngError> {
        self.0.fill_bytes(out);
        Ok(())
    }
}

impl<R: CryptoRng + ?Sized> fn_dsa_sign::CryptoRng for Caller<'_, R> {}

/// These bytes, then zeros, on each draw: `fn-dsa` draws once for a key and once for a signature.
struct Fixed<'a>(&'a [u8]);

impl fn_dsa_sign::RngCore for Fixed<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.fill(0);
        for (to, from) in out.iter_mut().zip(self.0) {
            *to = *from;
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), RngError> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl fn_dsa_sign::CryptoRng for Fixed<'_> {}

#[cfg(test)]
mod tests {
    use super::super::VerifyingKey;
    use super::*;
    use crate::attest::Verify;
    use sha3::{Digest as _, Sha3_256};

    fn unhex<const SIZE: usize>(text: &str) -> [u8; SIZE] {
        let digit = |i: usize| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap();
        assert_eq!(text.len(), 2 * SIZE);
        core::array::from_fn(digit)
    }

    /// Published with `fn-dsa` 0.4.0, degree 512, cases 0 and 2, which sign the raw message: the
    /// SHA3-256 of signing key, public key and signature. Seed and randomness are SHAKE256 of 9 and
    /// the case's number in four bytes. FIPS 206 is a draft: no standard has published any.
    #[test]
    fn known_answers() {
        let vectors = [
            (
                "ba6629737ffef577ecf257c874316e1a07677f35994cf0918c1a827247ac5ecd",
                "39d5f58db10116ec91d36b2860321b9b29b1aba12520e92e2ff09e20475986ab2dc63918bff4f749",
                "71009cd3bc68f5061608ab541e9ae27ba0263c42fad97c112825075176d539d0",
            ),
            (
                "3b48f509f35c427d4ecc7c8a83f82124b9e3940edbc9d7015ba00917f08a04ba",
                "81fffdecd330a77ee7046cbd77058a498eda55c1449c84060dc3feebdd9b9e2f7e092fcb52f9625f",
                "91807eec4fc11be204e0bb48d6cc5968dd4dd4e1e886370ddb0c95458d9b68f0",
            ),
        ];
        let mut slot = None;
        for (seed, random, expected) in vectors {
            let key = SigningKey::init(&mut slot, &unhex(seed));
            let mut signature = [0; SIGNATURE_SIZE];
            let random: [u8; 40] = unhex(random);
            key.make(b"domain", b"message", &mut Fixed(&random), &mut signature).unwrap();
            let hasher = Sha3_256::new().chain_update(key.secret).chain_update(key.public);
            assert_eq!(hasher.chain_update(signature).finalize()[..], unhex::<32>(expected));
            let public = VerifyingKey::decode(&key.public).unwrap();
            assert_eq!(public.verify(Domain::new("domain"), b"message", &signature), Ok(()));
        }
    }

    #[test]
    fn keys_are_wiped() {
        let mut slot = None;
        SigningKey::init(&mut slot, &[1; SEED_SIZE]);
        let mut key = slot.unwrap();
        assert_ne!(key.secret, [0; SECRET_SIZE]);
        key.zeroize();
        assert_eq!(key.secret, [0; SECRET_SIZE]);
    }
}
