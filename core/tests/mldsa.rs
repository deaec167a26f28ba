//! ML-DSA-65 against published vectors, and what its documentation says of binding and stack.

use chacha20::ChaCha20Rng;
use core::convert::Infallible;
use rand_core::{SeedableRng, TryCryptoRng, TryRng};
use sha3::{Digest as _, Sha3_256};
use std::sync::LazyLock;
use symbolon_core::attest::mldsa::{
    PUBLIC_KEY_SIZE, SIGNATURE_SIZE, Signature, SigningKey, VerifyingKey,
};
use symbolon_core::attest::{Domain, Error, Family, SEED_SIZE, Sign, Verify};

/// A key pair on the heap: test threads have small stacks.
struct Pair {
    signing: Box<Option<SigningKey>>,
    verifying: Box<VerifyingKey>,
}

impl Pair {
    fn new(seed: u8) -> Self {
        let mut signing = Box::new(None);
        let mut public = [0; PUBLIC_KEY_SIZE];
        SigningKey::init(&mut signing, &[seed; SEED_SIZE]).public_key(&mut public).unwrap();
        Self { signing, verifying: Box::new(VerifyingKey::decode(&public)) }
    }

    fn signing(&self) -> &SigningKey {
        self.signing.as_ref().as_ref().unwrap()
    }
}

static PAIR: LazyLock<Pair> = LazyLock::new(|| Pair::new(42));

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0);
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// Key generation seeds of the NIST known-answer file for ML-DSA-65 and the SHA3-256 of the public
/// keys, as published with libcrux.
#[test]
fn key_generation_known_answers() {
    let vectors = [
        (
            "7c9935a0b07694aa0c6d10e4db6b1add2fd81a25ccb148032dcd739936737f2d",
            "67099a6aed1ca9dd645a73261cead798ba29e4a15ede3a469ad4cb620b0296be",
        ),
        (
            "4b622de1350119c45a9f2e2ef3dc5df50a759d138cdfbd64c81cc7cc2f513345",
            "114dbfea406d98227a7e962050ed302be8b3be65e246416cc15465e07bcc39cf",
        ),
        (
            "1d836e889e46259bcd1ccd2b369583c5b47cfbb919ec2b72c280247cb15a5569",
            "dcad3c37aa5fa8c3b7d2ff78d98c7bcdbd9c7a44091f28a5e85bda9831279856",
        ),
    ];
    let mut slot = Box::new(None);
    for (seed, expected) in vectors {
        let mut public = [0; PUBLIC_KEY_SIZE];
        SigningKey::init(&mut slot, &unhex(seed).try_into().unwrap())
            .public_key(&mut public)
            .unwrap();
        assert_eq!(Sha3_256::digest(public)[..], *unhex(expected));
        assert_eq!(VerifyingKey::decode(&public).encode(), public);
    }
}

/// Wycheproof, `mldsa_65_sign_seed_test.json`, case 4: deterministic, with a context string. The
/// first 48 bytes of the signature, which hash the key, the message, the context and the
/// commitment, and its last 16, the end of the hint.
#[test]
fn signature_known_answer() {
    let key = PAIR.signing();
    let context = Domain::new("A".repeat(255).leak());
    let mut signature = [0; SIGNATURE_SIZE];
    key.sign_deterministic(context, b"Hello world", &mut signature).unwrap();
    assert_eq!(
        signature[..48],
        *unhex(
            "88b645448a1c81f55c81631d057b1ca1fa8bb42af19f1c2dd2bf12594f23b86e\
             17e383aefec687503d0077658497fcc5"
        )
    );
    assert_eq!(signature[SIGNATURE_SIZE - 16..], *unhex("0000000000000000000004090b131a1d"));
    PAIR.verifying.verify(context, b"Hello world", &signature).unwrap();
    // FIPS 204, Algorithm 2: the deterministic variant is the hedged one with 32 zero bytes.
    let mut hedged = [0; SIGNATURE_SIZE];
    key.sign(context, b"Hello world", &mut Fixed([0; 32]), &mut hedged).unwrap();
    assert_eq!(hedged, signature);
    key.sign(context, b"Hello world", &mut Fixed([1; 32]), &mut hedged).unwrap();
    assert_ne!(hedged, signature);
    PAIR.verifying.verify(context, b"Hello world", &hedged).unwrap();
}

/// A generator that can be asked for 32 bytes once.
struct Fixed([u8; 32]);

impl TryRng for Fixed {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("it is asked for 32 bytes")
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("it is asked for 32 bytes")
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

#[test]
fn signatures_bind_key_context_and_message() {
    let (a, b) = (Domain::new("symbolon/a"), Domain::new("symbolon/b"));
    let mut signature = [0; SIGNATURE_SIZE];
    PAIR.signing().sign(a, b"message", &mut rng(1), &mut signature).unwrap();
    let check = |key: &VerifyingKey, context, message: &[u8], signature: &Signature| {
        key.verify(context, message, signature)
    };
    assert_eq!(check(&PAIR.verifying, a, b"message", &signature), Ok(()));
    assert_eq!(
        check(&PAIR.verifying, b, b"message", &signature),
        Err(Error::WrongSignature(Family::MlDsa65))
    );
    assert_eq!(
        check(&PAIR.verifying, a, b"massage", &signature),
        Err(Error::WrongSignature(Family::MlDsa65))
    );
    let other = Pair::new(43);
    assert_eq!(
        check(&other.verifying, a, b"message", &signature),
        Err(Error::WrongSignature(Family::MlDsa65))
    );
    for malformed in [[0; SIGNATURE_SIZE], [0xff; SIGNATURE_SIZE]] {
        assert_eq!(
            check(&PAIR.verifying, a, b"message", &malformed),
            Err(Error::WrongSignature(Family::MlDsa65))
        );
    }
}

#[test]
fn keys_do_not_print_themselves() {
    assert_eq!(format!("{:?}", PAIR.signing()), "SigningKey { .. }");
    assert_eq!(format!("{:?}", PAIR.verifying), "VerifyingKey { .. }");
}

/// What the documentation says about the stack, with a little room: a thread that needs more
/// kills the test run.
#[test]
#[cfg(not(miri))]
fn stack_use_is_bounded() {
    fn on_stack<T: Send>(kib: usize, run: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(kib * 1024);
            thread.spawn_scoped(scope, run).unwrap().join().unwrap()
        })
    }
    let context = Domain::new("symbolon/stack");
    // Boxed out here: `Box::new` may build its value on the stack first.
    let mut slot = Box::new(None);
    let mut public = Box::new([0; PUBLIC_KEY_SIZE]);
    let mut signature = Box::new([0; SIGNATURE_SIZE]);
    let mut verifying = Box::new(None);
    on_stack(320, || {
        SigningKey::init(&mut slot, &[1; SEED_SIZE]);
    });
    let key = || slot.as_ref().as_ref().unwrap();
    on_stack(208, || key().public_key(&mut *public).unwrap());
    on_stack(144, || key().sign(context, b"message", &mut rng(1), &mut *signature).unwrap());
    on_stack(192, || *verifying = Some(VerifyingKey::decode(&public)));
    on_stack(112, || verifying.as_ref().as_ref().unwrap().verify(context, b"message", &*signature))
        .unwrap();
}
