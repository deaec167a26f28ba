//! What pools hold, kind by kind: made from a generator, wiped, serialised, restored, used.
#![cfg(not(miri))]

mod common;

use common::{Keys, N, kernels, rng, zeroed};
use rand_core::CryptoRng;
use std::collections::HashMap;
use std::fmt::Debug;
use symbolon_core::Error;
use symbolon_core::attest::{Domain, Sign, Verify, fndsa, mldsa, slhdsa};
use symbolon_core::bfv::{
    Ciphertext, Hoisted, KeyGen, KeyPair, KeyPairMaker, KeySet, KeySetMaker, Multiply, Plaintext,
    Product, PublicKey, Q54, Q81, Q135, Rotation, SecretKey, Switch, Zero, ZeroMaker, encrypt,
};
use symbolon_core::kem::{self, Decapsulate, Encapsulate, mlkem};
use symbolon_core::matching::fold::commit_seed;
use symbolon_core::matching::{BlindMaker, Layout, SeededBlind, fold};
use symbolon_core::poly::{Coeff, Poly};
use symbolon_core::pool::Material;
use symbolon_core::rns::Rns;
use symbolon_core::wire::Wire;

const CONTEXT: Domain = Domain::new("symbolon/test");

fn serial<M: Material>(value: &M, maker: &mut M::Maker<'_>) -> Vec<u8> {
    let mut bytes = vec![0xa5; M::SERIAL_SIZE];
    value.serialise(maker, &mut bytes).unwrap();
    bytes
}

fn public<M: Material>(value: &M, maker: &mut M::Maker<'_>) -> Vec<u8> {
    let mut bytes = vec![0xa5; M::PUBLIC_SIZE];
    value.public(maker, &mut bytes).unwrap();
    bytes
}

fn made<M: Material>(maker: &mut M::Maker<'_>, rng: &mut impl CryptoRng) -> Box<M> {
    let mut value = zeroed::<M>();
    value.generate(maker, rng).unwrap();
    value
}

/// What holds of every kind. `works` is shown a value and what came of its restoration.
fn check<M: Material>(
    maker: &mut M::Maker<'_>,
    works: impl FnOnce(Box<M>, Box<M>, &mut M::Maker<'_>),
) {
    let first = made::<M>(maker, &mut rng(1));
    let (first_serial, first_public) = (serial(&*first, maker), public(&*first, maker));
    let same = made::<M>(maker, &mut rng(1));
    assert!(serial(&*same, maker) == first_serial, "{}: one seed, one key", M::NAME);
    assert!(public(&*same, maker) == first_public, "{}", M::NAME);

    // Over one that was there.
    let mut other = same;
    other.generate(maker, &mut rng(2)).unwrap();
    assert!(serial(&*other, maker) != first_serial, "{}: two seeds, two keys", M::NAME);
    assert!(M::PUBLIC_SIZE == 0 || public(&*other, maker) != first_public, "{}", M::NAME);

    for size in [0, M::SERIAL_SIZE - 1, M::SERIAL_SIZE + 1] {
        let mut bytes = first_serial.clone();
        bytes.resize(size, 0);
        assert_eq!(other.serialise(maker, &mut bytes), Err(Error::Length), "{}", M::NAME);
        let mut empty = zeroed::<M>();
        assert_eq!(empty.restore(maker, &bytes), Err(Error::Length), "{}", M::NAME);
        assert!(is_empty(&*empty, maker), "{}: left by {size} bytes", M::NAME);
    }
    for size in [M::PUBLIC_SIZE.checked_sub(1), Some(M::PUBLIC_SIZE + 1)].into_iter().flatten() {
        let refused = other.public(maker, &mut vec![0; size]);
        assert_eq!(refused, Err(Error::Length), "{}", M::NAME);
    }
    let mut empty = zeroed::<M>();
    let zeros = vec![0; M::SERIAL_SIZE];
    assert_eq!(empty.restore(maker, &zeros), Err(Error::Range), "{}: zeros", M::NAME);
    assert!(is_empty(&*empty, maker), "{}", M::NAME);

    let mut restored = other;
    restored.restore(maker, &first_serial).unwrap();
    assert!(serial(&*restored, maker) == first_serial, "{}", M::NAME);
    assert!(public(&*restored, maker) == first_public, "{}", M::NAME);
    works(first, restored, maker);

    let mut wiped = made::<M>(maker, &mut rng(3));
    wiped.zeroize();
    assert!(is_empty(&*wiped, maker), "{}: wiped", M::NAME);
}

/// As far as can be seen from outside; `core/tests/stack.rs` looks at the bytes.
fn is_empty<M: Material>(value: &M, maker: &mut M::Maker<'_>) -> bool {
    let mut bytes = vec![0; M::SERIAL_SIZE];
    match value.serialise(maker, &mut bytes) {
        // What has served, or never did.
        Err(Error::ZeroUsed | Error::BlindUsed) => true,
        Err(_) => false,
        Ok(()) => {
            M::MAX_USES.is_none() && zeroed::<M>().restore(maker, &bytes) == Err(Error::Range)
        }
    }
}

/// What `key` signs verifies.
fn signs<V: Verify>(key: &impl Sign, verify: &V) {
    let mut signature = vec![0; V::FAMILY.signature_size()];
    key.sign(CONTEXT, b"message", &mut rng(4), &mut signature).unwrap();
    assert_eq!(verify.verify(CONTEXT, b"message", &signature), Ok(()), "{}", V::FAMILY);
    signature[50] ^= 1;
    assert!(verify.verify(CONTEXT, b"message", &signature).is_err(), "{}", V::FAMILY);
}

fn array<const SIZE: usize>(bytes: &[u8]) -> &[u8; SIZE] {
    bytes.try_into().unwrap()
}

#[test]
fn ml_dsa() {
    let mut slot = Box::new(None);
    check::<mldsa::SeedKey>(&mut &mut *slot, |key, restored, slot| {
        let bytes = public(&*key, slot);
        assert_eq!(key.public_key()[..], bytes);
        let verify = Box::new(mldsa::VerifyingKey::decode(array(&bytes)));
        assert!(slot.is_none(), "nothing stays in the maker");
        for key in [key, restored] {
            signs(key.expand(slot).unwrap(), &*verify);
        }
        **slot = None;
        let refused = mldsa::SeedKey::ZERO.expand(slot).err();
        assert_eq!(refused, Some(symbolon_core::attest::Error::Signing));
    });
}

#[test]
fn fn_dsa() {
    check::<fndsa::SigningKey>(&mut (), |key, restored, maker| {
        let verify = fndsa::VerifyingKey::decode(array(&public(&*key, maker))).unwrap();
        for key in [&*key, &*restored] {
            signs(key, &verify);
        }
        refuses_to_sign(&fndsa::SigningKey::ZERO);
        // The header; and f, g and F that are no key.
        for part in [0..1, 1..1281] {
            let mut bytes = serial(&*key, maker);
            bytes[part.clone()].iter_mut().enumerate().for_each(|(i, byte)| *byte = (37 * i) as u8);
            let mut other = fndsa::SigningKey::ZERO;
            assert_eq!(other.restore(maker, &bytes), Err(Error::Range), "{part:?}");
            assert!(is_empty(&other, maker));
        }
    });
}

#[test]
fn slh_dsa() {
    check::<slhdsa::SigningKey>(&mut (), |key, restored, maker| {
        let verify = slhdsa::VerifyingKey::decode(array(&public(&*key, maker)));
        for key in [&*key, &*restored] {
            signs(key, &verify);
        }
        refuses_to_sign(&slhdsa::SigningKey::ZERO);
    });
}

fn refuses_to_sign<S: Sign + Debug>(key: &S) {
    let mut signature = vec![0; S::FAMILY.signature_size()];
    let refused = key.sign_deterministic(CONTEXT, b"message", &mut signature);
    assert_eq!(refused, Err(symbolon_core::attest::Error::Signing), "{key:?}");
}

#[test]
fn ml_kem() {
    check::<mlkem::DecapsulationKey>(&mut (), |key, restored, maker| {
        let encoded = public(&*key, maker);
        let mut own = [0; kem::ENCAPSULATION_KEY_SIZE];
        key.encapsulation_key(&mut own);
        assert_eq!(own[..], encoded);
        let encapsulate = mlkem::EncapsulationKey::decode(array(&encoded)).unwrap();
        let mut ciphertext = [0; kem::CIPHERTEXT_SIZE];
        let [mut sent, mut received] = [[0; kem::SECRET_SIZE]; 2];
        encapsulate.encapsulate(&mut rng(4), &mut ciphertext, &mut sent);
        for key in [&*key, &*restored] {
            received.fill(0);
            key.decapsulate(&ciphertext, &mut received).unwrap();
            assert_eq!(received, sent);
        }
        let nothing = mlkem::DecapsulationKey::ZERO;
        assert_eq!(nothing.decapsulate(&ciphertext, &mut received), Err(Error::Range));
        assert_eq!(received, sent, "left as it was");

        // The encapsulation key, a coefficient beyond its range, and the hash.
        for (at, byte) in [(1152, 1), (2335, 1), (1152 + 1, 0xff), (2336, 1), (2367, 1)] {
            let mut bytes = serial(&*key, maker);
            bytes[at] ^= byte;
            let mut other = mlkem::DecapsulationKey::ZERO;
            assert_eq!(other.restore(maker, &bytes), Err(Error::Range), "byte {at}");
            assert!(is_empty(&other, maker));
        }
    });
}

#[test]
fn zeros() {
    fn of<const L: usize>() {
        let mut keys = Keys::<L>::new(1);
        let (mut message, mut out) = (zeroed::<Plaintext>(), zeroed::<Plaintext>());
        let values: Vec<i32> = (0..N as i32).collect();
        message.encode_slots(kernels(), &values).unwrap();
        let (secret, key) = (&keys.secret, &*keys.public);
        let mut scratch = zeroed();
        let mut maker = ZeroMaker { kernels: kernels(), key, scratch: &mut *keys.scratch };
        check::<Zero<L>>(&mut maker, |zero, restored, maker| {
            for mut zero in [zero, restored] {
                assert!(zero.is_fresh());
                let ciphertext = zero.encrypt(kernels(), &message, maker.scratch).unwrap();
                secret.decrypt(kernels(), ciphertext, &mut out, &mut scratch);
                let mut decoded = vec![0; N];
                out.decode_slots(kernels(), &mut decoded).unwrap();
                assert_eq!(decoded, values);
                let bytes = &mut vec![0; Zero::<L>::SERIAL_SIZE];
                assert_eq!(zero.serialise(maker, bytes), Err(Error::ZeroUsed), "no second use");
            }
            let mut zero = made::<Zero<L>>(maker, &mut rng(5));
            let mut bytes = serial(&*zero, maker);
            bytes[0] ^= 1;
            assert_eq!(zero.restore(maker, &bytes), Err(Error::Range));
            assert!(!zero.is_fresh(), "what was there is gone");
        });
    }
    of::<Q54>();
    of::<Q81>();
}

#[test]
fn blinds() {
    fn of<const L: usize>() {
        let mut keys = Keys::<L>::new(1);
        let layout = Layout::D128;
        let k = kernels();
        let vector: Vec<i16> = (0..128).map(|i| i % 31 - 15).collect();
        let (mut plain, mut templates) = (zeroed::<Plaintext>(), zeroed());
        layout.encode_probes(k, [&vector[..]], &mut plain).unwrap();
        let probe = keys.encrypt(&plain, &mut rng(2));
        let templates =
            layout.encode_templates(k, [&vector[..]], &mut plain, &mut templates).unwrap();
        let mut maker =
            BlindMaker { kernels: k, key: &keys.public, layout, scratch: &mut *keys.scratch };
        check::<SeededBlind<L>>(&mut maker, |blind, restored, maker| {
            assert_eq!(blind.seed()[..], serial(&*blind, maker));
            let commitment = commit_seed(blind.seed());
            let folded = [blind, restored].map(|mut blind| {
                let mut bytes = vec![0; symbolon_core::matching::Folded::<L>::SIZE];
                fold(k, &probe, templates, blind.blind()).unwrap().encode(k, &mut bytes).unwrap();
                assert_eq!(commit_seed(blind.seed()), commitment, "it stays");
                assert_eq!(fold(k, &probe, templates, blind.blind()).err(), Some(Error::BlindUsed));
                let refused = blind.serialise(maker, &mut [0; 32]);
                assert_eq!(refused, Err(Error::BlindUsed), "no second use");
                bytes
            });
            assert!(folded[0] == folded[1], "the same fold");
        });
    }
    of::<Q54>();
    of::<Q81>();
}

/// An encryption with `key` decrypts with `secret`.
fn encrypts<const L: usize, const P: usize>(key: &PublicKey<L>, secret: &SecretKey<L>) {
    let (mut message, mut out) = (zeroed::<Plaintext<P>>(), zeroed::<Plaintext<P>>());
    let (mut ciphertext, mut scratch) = (zeroed::<Ciphertext<L>>(), zeroed::<Poly<L, Coeff>>());
    let values: Vec<i32> = (0..(P * N) as i32).collect();
    message.encode_rows(kernels(), &values).unwrap();
    encrypt(kernels(), key, &message, &mut rng(6), &mut ciphertext, &mut scratch);
    secret.decrypt(kernels(), &ciphertext, &mut out, &mut scratch);
    let mut decoded = vec![0; P * N];
    out.decode_rows(kernels(), &mut decoded).unwrap();
    assert_eq!(decoded, values);
}

#[test]
fn key_pairs() {
    fn of<const L: usize, const P: usize>() {
        let mut scratch = zeroed();
        let mut maker = KeyPairMaker { kernels: kernels(), scratch: &mut scratch };
        check::<KeyPair<L>>(&mut maker, |pair, restored, maker| {
            let mut bytes = vec![0; PublicKey::<L>::SIZE];
            pair.public_key().encode(kernels(), &mut bytes).unwrap();
            assert!(public(&*pair, maker) == bytes);
            encrypts::<L, P>(pair.public_key(), restored.secret_key());
            encrypts::<L, P>(restored.public_key(), pair.secret_key());
        });
    }
    of::<Q54, 1>();
    of::<Q81, 1>();
    of::<Q135, 2>();
}

/// Rows turned by each of the rotations, once multiplied by themselves, under the keys of one set and
/// decrypted by another.
fn evaluates<const L: usize, const P: usize>(
    set: &KeySet<L, 2>,
    secret: &SecretKey<L>,
    rotations: &[Rotation; 2],
) where
    Rns<L>: Switch + Multiply,
{
    let k = kernels();
    let half = P * N / 2;
    let values: Vec<i32> = (0..2 * half as i32).map(|i| i % 101 - 50).collect();
    let mut message = zeroed::<Plaintext<P>>();
    let [mut x, mut y] = [(); 2].map(|()| zeroed::<Ciphertext<L>>());
    let (mut scratch, mut space) = (zeroed(), zeroed::<Hoisted<L>>());
    let (mut product, mut tensor) = (zeroed::<Product<L>>(), zeroed());
    message.encode_rows(k, &values).unwrap();
    encrypt(k, set.pair().public_key(), &message, &mut rng(7), &mut x, &mut scratch);
    product.multiply(k, &x, &x, &mut tensor);
    product.relinearise(k, set.relin_key(), &mut y, &mut space, &mut scratch);
    space.prepare(k, &y, &mut scratch);
    for (key, rotation) in set.galois_keys().iter().zip(rotations) {
        assert_eq!(key.element(), rotation.element::<L>());
        space.rotate(k, key, &mut x, &mut scratch);
        secret.decrypt(k, &x, &mut message, &mut scratch);
        let mut decoded = vec![0; 2 * half];
        message.decode_rows(k, &mut decoded).unwrap();
        let expected = (0..2 * half).map(|i| {
            let from = match rotation {
                Rotation::Swap => (i + half) % (2 * half),
                Rotation::Rows(steps) => i / half * half + (i + *steps as usize) % half,
            };
            values[from].pow(2)
        });
        assert!(decoded.into_iter().eq(expected), "{rotation:?}");
    }
}

#[test]
fn key_sets() {
    const ROTATIONS: [Rotation; 2] = [Rotation::Rows(3), Rotation::Swap];
    fn of<const L: usize, const P: usize>()
    where
        Rns<L>: Switch + Multiply,
    {
        let (mut scratch, mut keygen) = (zeroed(), zeroed::<KeyGen<L>>());
        let mut maker = KeySetMaker {
            kernels: kernels(),
            scratch: &mut scratch,
            keygen: &mut keygen,
            rotations: &ROTATIONS,
        };
        check::<KeySet<L, 2>>(&mut maker, |set, restored, _| {
            encrypts::<L, P>(set.pair().public_key(), restored.pair().secret_key());
            evaluates::<L, P>(&restored, set.pair().secret_key(), &ROTATIONS);
            evaluates::<L, P>(&set, restored.pair().secret_key(), &ROTATIONS);
        });
    }
    of::<Q81, 1>();
    of::<Q135, 2>();
}

/// The table of `pool`'s documentation: name, bytes in memory, of the public part, serialised.
#[test]
fn the_documented_sizes_are_those() {
    fn row<M: Material>(name: &str) -> (String, Vec<String>) {
        let uses = M::MAX_USES.map_or("any".to_owned(), |uses| uses.to_string());
        let sizes = [size_of::<M>(), M::PUBLIC_SIZE, M::SERIAL_SIZE].map(|size| size.to_string());
        let name = if name.is_empty() { M::NAME } else { name };
        (name.to_owned(), sizes.into_iter().chain([uses]).collect())
    }
    let mut expected = HashMap::from([
        row::<mlkem::DecapsulationKey>(""),
        row::<mldsa::SeedKey>(""),
        row::<fndsa::SigningKey>(""),
        row::<slhdsa::SigningKey>(""),
        row::<Zero<Q54>>(""),
        row::<Zero<Q81>>(""),
        row::<SeededBlind<Q54>>(""),
        row::<SeededBlind<Q81>>(""),
        row::<KeyPair<Q54>>(""),
        row::<KeyPair<Q81>>(""),
        row::<KeyPair<Q135>>(""),
        row::<KeySet<Q54, 0>>("bfv-set-q54"),
        row::<KeySet<Q81, 0>>("bfv-set-q81"),
        row::<KeySet<Q135, 0>>("bfv-set-q135"),
    ]);
    let source = include_str!("../src/pool/mod.rs");
    for line in source.lines().filter(|line| line.starts_with("//! | `")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, _, rest @ .., _] = &cells[..] else { panic!("{line}") };
        let name = name.trim_matches('`');
        let found: Vec<_> = rest.iter().map(|cell| cell.replace(',', "")).collect();
        assert_eq!(expected.remove(name), Some(found), "{line}");
    }
    assert!(expected.is_empty(), "not in the table: {expected:?}");
    let rotation = [
        size_of::<KeySet<Q54, 1>>() - size_of::<KeySet<Q54, 0>>(),
        size_of::<KeySet<Q81, 1>>() - size_of::<KeySet<Q81, 0>>(),
        size_of::<KeySet<Q135, 1>>() - size_of::<KeySet<Q135, 0>>(),
    ];
    assert_eq!(rotation, [200_960, 397_568, 1_970_432], "as documented");
}
