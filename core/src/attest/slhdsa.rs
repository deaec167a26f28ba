//! SLH-DSA-SHA2-128f (FIPS 205): its security rests on SHA-256 alone.
//!
//! # Cost
//! Keys are small ([`SigningKey`] 64 bytes, [`VerifyingKey`] 32), signatures are large (17,088
//! bytes) and slow to make: some 107,000 SHA-256 compressions, milliseconds. One signature serves
//! a window of batches.
//!
//! Stack, measured on x86-64 in optimised builds: signing 78 KB, wiping included, for the signature
//! exists there three times; [`VerifyingKey::verify`](Verify::verify) 37 KB, of which 17 are the
//! signature, taken apart.
//!
//! # Secrets left on the stack
//! The `slh-dsa` crate zeroises keys when they are dropped and nothing else. So signing runs in a call
//! of its own and its stack is overwritten afterwards, as in [`mldsa`](super::mldsa).

use super::family::wiping;
use super::{Domain, Error, Family, Result, Sign, Verify, hash};
use crate::error;
use crate::pool::{Material, bytes};
use bytemuck::Zeroable;
use core::fmt;
use rand_core::CryptoRng;
use sha3::digest::array::Array;
use slh_dsa::Sha2_128f;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use super::family::SEED_SIZE;

/// Bytes of an encoded public key (FIPS 205, table 2).
pub const PUBLIC_KEY_SIZE: usize = Family::SlhDsaSha2_128f.public_key_size();

/// Bytes of a signature (FIPS 205, table 2).
pub const SIGNATURE_SIZE: usize = Family::SlhDsaSha2_128f.signature_size();

/// An encoded signature (FIPS 205, figure 17).
pub type Signature = [u8; SIGNATURE_SIZE];

/// FIPS 205's security parameter n in bytes: the size of each secret and of opt_rand.
const N: usize = 16;

/// How FIPS 205's three seeds are made of one: see [`SigningKey::init`].
const SEEDS: Domain = Domain::new("symbolon/slh-dsa-seeds/v1");

// 64-bit words of stack to wipe: what was measured on x86-64, rounded up.

/// After deriving a key (4 KB measured).
const INIT_STACK: usize = 6 * 1024 / 8;

/// After signing (74 KB measured).
const SIGN_STACK: usize = 76 * 1024 / 8;

/// Bytes of an encoded signing key: SK.seed, SK.prf, PK.seed, PK.root (FIPS 205, figure 15).
const SECRET_SIZE: usize = 4 * N;

/// A signing key, encoded, with the root in it: zeroised on drop, and kept where the caller puts it, since
/// a move leaves a copy. All zeros are no key.
#[derive(Zeroable, Zeroize, ZeroizeOnDrop)]
#[repr(transparent)]
pub struct SigningKey([u8; SECRET_SIZE]);

// Does not compile if the crate's zeroisation is switched off.
const _: () = {
    const fn zeroised<T: ZeroizeOnDrop>() {}
    zeroised::<slh_dsa::SigningKey<Sha2_128f>>();
};

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

impl SigningKey {
    /// All zero, for statics: not a key until it is derived.
    pub const ZERO: Self = Self([0; SECRET_SIZE]);

    /// [Derives](Self::derive) a key from `seed` into `slot`, dropping a key that was there.
    pub fn init<'a>(slot: &'a mut Option<Self>, seed: &[u8; SEED_SIZE]) -> &'a Self {
        let key = slot.insert(Self::ZERO);
        key.derive(seed);
        key
    }

    /// Derives a key from `seed`, in place (FIPS 205, Algorithm 18).
    ///
    /// FIPS 205 wants three independent seeds of 16 bytes. SK.seed, SK.prf and PK.seed are the first
    /// halves of the [`hash`] of `seed` and one byte, 0, 1 and 2, under `symbolon/slh-dsa-seeds/v1`.
    /// The seed must be 32 bytes from a cryptographic generator, and stays the caller's to zeroise.
    pub fn derive(&mut self, seed: &[u8; SEED_SIZE]) {
        wiping::<INIT_STACK, _>(|| {
            let part = |index: u8| Zeroizing::new(hash(SEEDS, &[seed, &[index]]));
            self.set(&first_half(&part(0)), &first_half(&part(1)), &first_half(&part(2)));
        });
    }

    /// FIPS 205, Algorithm 18: the root of the top tree from SK.seed, SK.prf and PK.seed.
    fn set(&mut self, sk_seed: &[u8; N], sk_prf: &[u8; N], pk_seed: &[u8; N]) {
        let key = slh_dsa::SigningKey::<Sha2_128f>::slh_keygen_internal(sk_seed, sk_prf, pk_seed);
        self.0 = key.to_bytes().into();
    }

    /// The key as the crate has it: copied, nothing computed.
    fn decode(&self) -> Result<slh_dsa::SigningKey<Sha2_128f>> {
        if bytes::is_empty(&self.0) {
            return Err(Error::Signing);
        }
        slh_dsa::SigningKey::try_from(&self.0[..]).map_err(|_| Error::Signing)
    }

    /// PK.seed, PK.root.
    fn public_half(&self) -> &[u8] {
        self.0.split_at(SECRET_SIZE - PUBLIC_KEY_SIZE).1
    }

    /// FIPS 205, Algorithm 22: without `opt_rand` deterministic.
    fn make(
        &self,
        context: &[u8],
        message: &[u8],
        opt_rand: Option<&[u8; N]>,
        out: &mut [u8],
    ) -> Result<()> {
        let out = out.first_chunk_mut::<SIGNATURE_SIZE>().ok_or(Error::BufferTooSmall)?;
        wiping::<SIGN_STACK, _>(|| {
            let opt_rand = opt_rand.map(<[u8; N]>::as_slice);
            let made = self.decode()?.try_sign_with_context(message, context, opt_rand);
            *out = made.map_err(|_| Error::Signing)?.to_bytes().into();
            Ok(())
        })
    }
}

fn first_half(digest: &[u8; 2 * N]) -> Zeroizing<[u8; N]> {
    let mut half = Zeroizing::new([0; N]);
    for (to, from) in half.iter_mut().zip(digest) {
        *to = *from;
    }
    half
}

impl Sign for SigningKey {
    const FAMILY: Family = Family::SlhDsaSha2_128f;

    /// FIPS 205, Algorithm 22, with 16 bytes of `rng` as opt_rand. [`Error::Signing`] where there is no key.
    fn sign<R: CryptoRng + ?Sized>(
        &self,
        context: Domain,
        message: &[u8],
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<()> {
        let mut opt_rand = Zeroizing::new([0; N]);
        rng.fill_bytes(&mut *opt_rand);
        self.make(context.as_bytes(), message, Some(&opt_rand), out)
    }

    fn sign_deterministic(&self, context: Domain, message: &[u8], out: &mut [u8]) -> Result<()> {
        self.make(context.as_bytes(), message, None, out)
    }

    fn public_key(&self, out: &mut [u8]) -> Result<()> {
        let out = out.first_chunk_mut::<PUBLIC_KEY_SIZE>().ok_or(Error::BufferTooSmall)?;
        out.copy_from_slice(self.public_half());
        Ok(())
    }
}

/// Made of 32 bytes of the generator; serialised as it lies. The root is not computed again.
impl Material for SigningKey {
    const NAME: &'static str = "slh-dsa-sha2-128f";
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
        bytes::write(self.public_half(), out)
    }

    fn serialise(&self, (): &mut (), out: &mut [u8]) -> Result<(), error::Error> {
        bytes::write(&self.0, out)
    }

    fn restore(&mut self, (): &mut (), bytes: &[u8]) -> Result<(), error::Error> {
        self.0 = *bytes::read(bytes)?;
        Ok(())
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey(slh_dsa::VerifyingKey<Sha2_128f>);

impl VerifyingKey {
    /// Reads an encoded public key (FIPS 205, figure 16). Every string of this length is one.
    #[must_use]
    pub fn decode(input: &[u8; PUBLIC_KEY_SIZE]) -> Self {
        Self(Array(*input).into())
    }

    /// The encoded public key.
    #[must_use]
    pub fn encode(&self) -> [u8; PUBLIC_KEY_SIZE] {
        self.0.to_bytes().into()
    }

    fn check(&self, context: &[u8], message: &[u8], signature: &[u8]) -> Result<()> {
        slh_dsa::Signature::try_from(signature)
            .and_then(|signature| self.0.try_verify_with_context(message, context, &signature))
            .map_err(|_| Error::WrongSignature(Family::SlhDsaSha2_128f))
    }
}

impl Verify for VerifyingKey {
    const FAMILY: Family = Family::SlhDsaSha2_128f;

    /// FIPS 205, Algorithm 24.
    fn verify(&self, context: Domain, message: &[u8], signature: &[u8]) -> Result<()> {
        self.check(context.as_bytes(), message, signature)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    extern crate std;
    use sha2::{Digest as _, Sha256};
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    fn unhex<const SIZE: usize>(text: &str) -> [u8; SIZE] {
        let digit = |i: usize| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap();
        assert_eq!(text.len(), 2 * SIZE);
        core::array::from_fn(digit)
    }

    /// A key of FIPS 205's three seeds, written one after the other.
    fn derive(seeds: &[u8; 3 * N]) -> SigningKey {
        let part = |i: usize| seeds[i * N..][..N].try_into().unwrap();
        let mut key = SigningKey::ZERO;
        key.set(part(0), part(1), part(2));
        key
    }

    /// NIST ACVP, SLH-DSA-keyGen-FIPS205, vector set 53, SLH-DSA-SHA2-128f, cases 21 to 23: the three
    /// seeds, and the root that ends the public key.
    #[test]
    fn key_generation_known_answers() {
        let vectors = [
            (
                "C42BCB3B5A6F331F5CCE899253C6D9E29FF2B7EAD7A04BAB1794DB8CC659C3B4\
                 A868F1BD5DEBC12D4C9FAD66AABD0A94",
                "B546DF247BE4C457F3D467CDFCFABD39",
            ),
            (
                "E1ACD07BE2B06F36EBC979E81C976E19A0D54BAB090466BE7003A0CCC8AC4A69\
                 9F838B251AAA42134DCACEC5BC86353E",
                "C61B9D6750093B32C343A0D2ED4C7194",
            ),
            (
                "E71BBEE0A9368FE92E8D9408E44D39F6CAF934395A05FD314DF287DC4F4BFF20\
                 5B46CDCE4E6AD8CC9DD6256CEF916ADB",
                "20F5F0463B626060D27C46E30CEF61A1",
            ),
        ];
        for (seeds, root) in vectors {
            let seeds: [u8; 3 * N] = unhex(seeds);
            let mut public = [0; PUBLIC_KEY_SIZE];
            derive(&seeds).public_key(&mut public).unwrap();
            assert_eq!(public[..N], seeds[2 * N..]);
            assert_eq!(public[N..], unhex::<N>(root));
        }
    }

    /// The first record of the known-answer file for SHA2-128f of the SPHINCS+ submission to NIST,
    /// as SLotH publishes its SHA-256 (`kat1-sha256.txt`). Seeds, message and opt_rand are what NIST's
    /// generator draws from the seed 0, 1, 2, ..., 47; the signature is FIPS 205's Algorithm 19,
    /// which knows no context string.
    #[test]
    fn signature_known_answer() {
        let seed: [u8; 48] = unhex(
            "061550234D158C5EC95595FE04EF7A25767F2E24CC2BC479D09D86DC9ABCFDE7\
             056A8C266F9EF97ED08541DBD2E1FFA1",
        );
        let message: [u8; 33] =
            unhex("D81C4D8D734FCBFBEADE3D3F8A039FAA2A2C9957E835AD55B22E75BF57BB556AC8");
        let seeds: [u8; 3 * N] = unhex(
            "7C9935A0B07694AA0C6D10E4DB6B1ADD2FD81A25CCB148032DCD739936737F2D\
             B505D7CFAD1B497499323C8686325E47",
        );
        let opt_rand: [u8; N] = unhex("33B3C07507E4201748494D832B6EE2A6");
        let key = derive(&seeds);
        let mut public = [0; PUBLIC_KEY_SIZE];
        key.public_key(&mut public).unwrap();
        let signature =
            key.decode().unwrap().slh_sign_internal(&[&message], Some(&opt_rand)).to_bytes();
        let text = format!(
            "# SPHINCS+\n\ncount = 0\nseed = {}\nmlen = 33\nmsg = {}\npk = {}\nsk = {}{}\n\
             smlen = {}\nsm = {}{}\n\n",
            hex(&seed),
            hex(&message),
            hex(&public),
            hex(&seeds),
            hex(&public[N..]),
            SIGNATURE_SIZE + message.len(),
            hex(&signature),
            hex(&message),
        );
        assert_eq!(
            Sha256::digest(text)[..],
            unhex::<32>("D3DF72BB154ABAEF53CC5D0DD5B4FDE46A797E90E30805FFF7C3E31041AB4C67")
        );
    }

    /// FIPS 205, Algorithm 22: what is signed is a zero byte, the context's length, the context and
    /// the message; and without randomness opt_rand is PK.seed.
    #[test]
    fn the_context_is_prepended() {
        let mut slot = None;
        let key = SigningKey::init(&mut slot, &[3; SEED_SIZE]);
        let mut public = [0; PUBLIC_KEY_SIZE];
        key.public_key(&mut public).unwrap();
        let mut signature = [0; SIGNATURE_SIZE];
        key.sign_deterministic(Domain::new("symbolon/test"), b"message", &mut signature).unwrap();
        let prefixed: Vec<u8> = [&[0, 13], &b"symbolon/test"[..], b"message"].concat();
        let expected =
            key.decode().unwrap().slh_sign_internal(&[&prefixed], Some(&public[..N])).to_bytes();
        assert!(signature == expected[..]);
    }

    #[test]
    fn the_three_seeds_differ() {
        let mut slot = None;
        let key = SigningKey::init(&mut slot, &[7; SEED_SIZE]);
        let (a, b, c) = (&key.0[..N], &key.0[N..2 * N], &key.0[2 * N..3 * N]);
        assert!(a != b && a != c && b != c);
        assert_eq!(*a, hash(SEEDS, &[&[7; SEED_SIZE], &[0]])[..N]);
    }
}
