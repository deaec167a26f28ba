//! The three signature families: what their traits promise, and each against another implementation.
//!
//! Known answers of ML-DSA-65 are in `attest.rs`, those of the others beside their code, since they
//! need what no caller may: contexts and seeds of the standards' own choosing.
//!
//! FN-DSA has no second implementation here: none other is maintained in Rust, and the Falcon of the
//! submission to NIST hashes and encodes otherwise than the draft. It is held against the answers that
//! `fn-dsa` publishes.

use chacha20::ChaCha20Rng;
use fips205::slh_dsa_sha2_128f as other;
use fips205::traits::{SerDes as _, Signer as _, Verifier as _};
use libcrux_ml_dsa::ml_dsa_65 as libcrux;
use rand_core::{CryptoRng, Rng, SeedableRng};
use std::fmt::Debug;
use symbolon_core::attest::{Domain, Error, Family, SEED_SIZE, Sign, Verify};
use symbolon_core::attest::{fndsa, mldsa, slhdsa};

const CONTEXT: Domain = Domain::new("symbolon/test");
const OTHER: Domain = Domain::new("symbolon/tests");

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn public_key<const SIZE: usize>(key: &impl Sign) -> [u8; SIZE] {
    let mut public = [0; SIZE];
    key.public_key(&mut public).unwrap();
    public
}

fn hedged<S: Sign>(key: &S, message: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
    let mut signature = vec![0; S::FAMILY.signature_size()];
    key.sign(CONTEXT, message, rng, &mut signature).unwrap();
    signature
}

fn deterministic<S: Sign>(key: &S, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; S::FAMILY.signature_size()];
    key.sign_deterministic(CONTEXT, message, &mut signature).unwrap();
    signature
}

/// What every family keeps to.
fn keeps_the_contract<S: Sign + Debug, V: Verify>(key: &S, public: &V, stranger: &V) {
    assert_eq!(S::FAMILY, V::FAMILY);
    let size = S::FAMILY.signature_size();
    let wrong = Err(Error::WrongSignature(S::FAMILY));
    let message = b"message";
    let signature = hedged(key, message, &mut rng(1));
    assert_eq!(public.verify(CONTEXT, message, &signature), Ok(()));

    assert_eq!(stranger.verify(CONTEXT, message, &signature), wrong, "key");
    assert_eq!(public.verify(OTHER, message, &signature), wrong, "context");
    assert_eq!(public.verify(CONTEXT, b"massage", &signature), wrong, "message");
    assert_eq!(public.verify(CONTEXT, b"", &signature), wrong, "message");
    for size in [0, 1, size - 1] {
        assert_eq!(public.verify(CONTEXT, message, &signature[..size]), wrong, "{size} bytes");
    }
    let longer = [&signature[..], &[0]].concat();
    assert_eq!(public.verify(CONTEXT, message, &longer), wrong, "a byte too many");
    for filler in [0, 0xff] {
        assert_eq!(public.verify(CONTEXT, message, &vec![filler; size]), wrong, "{filler}");
    }
    let mut altered = signature.clone();
    for at in (0..size).step_by(size / 97) {
        altered[at] ^= 1 << (at % 8);
        assert_eq!(public.verify(CONTEXT, message, &altered), wrong, "byte {at}");
        altered[at] = signature[at];
    }

    assert_eq!(hedged(key, message, &mut rng(1)), signature, "same randomness");
    assert_ne!(hedged(key, message, &mut rng(2)), signature, "other randomness");
    let always = deterministic(key, message);
    assert_eq!(deterministic(key, message), always);
    assert_ne!(always, signature);
    assert_eq!(public.verify(CONTEXT, message, &always), Ok(()));

    let mut long = vec![0xa5; size + 1];
    key.sign_deterministic(CONTEXT, message, &mut long).unwrap();
    assert_eq!(long, [&always[..], &[0xa5]].concat(), "the front of the buffer, and no more");
    let short = &mut vec![0; size - 1][..];
    assert_eq!(key.sign(CONTEXT, message, &mut rng(1), short), Err(Error::BufferTooSmall));
    assert_eq!(key.sign_deterministic(CONTEXT, message, short), Err(Error::BufferTooSmall));
    let short = &mut vec![0; S::FAMILY.public_key_size() - 1][..];
    assert_eq!(key.public_key(short), Err(Error::BufferTooSmall));
    assert_eq!(format!("{key:?}"), "SigningKey { .. }");
}

#[test]
fn ml_dsa_keeps_the_contract() {
    let [mut a, mut b] = [(); 2].map(|()| Box::new(None));
    let key = mldsa::SigningKey::init(&mut a, &[1; SEED_SIZE]);
    let stranger = mldsa::SigningKey::init(&mut b, &[2; SEED_SIZE]);
    let [public, stranger] = [key, stranger].map(|k| mldsa::VerifyingKey::decode(&public_key(k)));
    keeps_the_contract(key, &public, &stranger);
}

#[test]
fn fn_dsa_keeps_the_contract() {
    let [mut a, mut b] = [None, None];
    let key = fndsa::SigningKey::init(&mut a, &[1; SEED_SIZE]);
    let stranger = fndsa::SigningKey::init(&mut b, &[2; SEED_SIZE]);
    let decode = |key| fndsa::VerifyingKey::decode(&public_key(key)).unwrap();
    keeps_the_contract(key, &decode(key), &decode(stranger));
}

#[test]
fn slh_dsa_keeps_the_contract() {
    let [mut a, mut b] = [None, None];
    let key = slhdsa::SigningKey::init(&mut a, &[1; SEED_SIZE]);
    let stranger = slhdsa::SigningKey::init(&mut b, &[2; SEED_SIZE]);
    let [public, stranger] = [key, stranger].map(|k| slhdsa::VerifyingKey::decode(&public_key(k)));
    assert_eq!(public.encode(), public_key(key));
    keeps_the_contract(key, &public, &stranger);
}

/// Header and coefficients of an encoded FN-DSA key are checked: 14 bits each, below 12289.
#[test]
fn malformed_fn_dsa_keys_are_refused() {
    let mut slot = None;
    let good: [u8; fndsa::PUBLIC_KEY_SIZE] =
        public_key(fndsa::SigningKey::init(&mut slot, &[1; SEED_SIZE]));
    let refused = |key: &[u8; fndsa::PUBLIC_KEY_SIZE]| {
        fndsa::VerifyingKey::decode(key).map(|_| ()) == Err(Error::NonCanonical)
    };
    assert!(!refused(&good));
    for header in [0x00, 0x08, 0x0a, 0x19, 0x59, 0xff] {
        let mut key = good;
        key[0] = header;
        assert!(refused(&key), "header {header:#x}");
    }
    let mut key = good;
    // The first coefficient is the low 14 bits.
    (key[1], key[2]) = (0x01, key[2] & 0xc0 | 0x30);
    assert!(refused(&key), "q itself");
    key[1] = 0;
    assert!(!refused(&key), "q - 1");
}

/// ML-DSA-65 against libcrux: the same key and, without randomness, the same signature; and each
/// verifies the other's hedged one.
#[test]
fn ml_dsa_agrees_with_libcrux() {
    let mut rng = rng(5);
    let mut slot = Box::new(None);
    for round in 0..10_usize {
        let mut seed = [0; SEED_SIZE];
        rng.fill_bytes(&mut seed);
        let ours = mldsa::SigningKey::init(&mut slot, &seed);
        let theirs = libcrux::generate_key_pair(seed);
        let public = public_key(ours);
        assert_eq!(public, *theirs.verification_key.as_ref());
        let message = vec![round as u8; 61 * round];
        let sign = |random| {
            libcrux::sign(&theirs.signing_key, &message, CONTEXT.as_bytes(), random).unwrap()
        };
        assert_eq!(deterministic(ours, &message), sign([0; 32]).as_ref());

        let public = mldsa::VerifyingKey::decode(&public);
        assert_eq!(public.verify(CONTEXT, &message, sign([9; 32]).as_ref()), Ok(()));
        let signature = hedged(ours, &message, &mut rng).try_into().unwrap();
        let signature = libcrux::MLDSA65Signature::new(signature);
        let verify = |context: Domain| {
            libcrux::verify(&theirs.verification_key, &message, context.as_bytes(), &signature)
        };
        assert!(verify(CONTEXT).is_ok() && verify(OTHER).is_err());
    }
}

/// SLH-DSA-SHA2-128f against `fips205`: each verifies the other's signatures.
#[test]
fn slh_dsa_agrees_with_fips205() {
    let (their_public, theirs) = {
        let (sk_seed, sk_prf, pk_seed) = ([1; 16], [2; 16], [3; 16]);
        <other::KG as fips205::traits::KeyGen>::keygen_from_seed(&sk_seed, &sk_prf, &pk_seed)
    };
    let mut slot = None;
    let ours = slhdsa::SigningKey::init(&mut slot, &[4; SEED_SIZE]);
    let public: [u8; slhdsa::PUBLIC_KEY_SIZE] = public_key(ours);
    let their_view = other::PublicKey::try_from_bytes(public).unwrap();
    let our_view = slhdsa::VerifyingKey::decode(&their_public.into_bytes());

    for message in [&b""[..], &[7; 300]] {
        let signature: [u8; slhdsa::SIGNATURE_SIZE] =
            hedged(ours, message, &mut rng(6)).try_into().unwrap();
        assert!(their_view.verify(message, &signature, CONTEXT.as_bytes()));
        assert!(!their_view.verify(message, &signature, OTHER.as_bytes()));

        let mut random = Old(rng(7));
        let signature =
            theirs.try_sign_with_rng(&mut random, message, CONTEXT.as_bytes(), true).unwrap();
        assert_eq!(our_view.verify(CONTEXT, message, &signature), Ok(()));
        let wrong = Err(Error::WrongSignature(Family::SlhDsaSha2_128f));
        assert_eq!(our_view.verify(OTHER, message, &signature), wrong);
    }
}

/// A generator in the terms of rand_core 0.6.
struct Old(ChaCha20Rng);

impl fn_dsa_sign::RngCore for Old {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
    fn fill_bytes(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), fn_dsa_sign::RngError> {
        self.0.fill_bytes(out);
        Ok(())
    }
}

impl fn_dsa_sign::CryptoRng for Old {}
