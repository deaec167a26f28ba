//! Golden vectors: the bytes of every wire format, made from fixed seeds, must never change.
//!
//! `SYMBOLON_BLESS=1` writes them anew (`cargo xtask vectors --bless`): a change of format, which
//! takes a new version number.

mod common;

use bytemuck::Zeroable;
use chacha20::ChaCha20Rng;
use common::kernels;
use proptest::prelude::*;
use rand_core::SeedableRng;
use std::path::PathBuf;
use symbolon_core::attest::{Domain, bulk};
use symbolon_core::bfv::{
    Ciphertext, GaloisKey, Hoisted, KeyGen, Multiply, Plaintext, Product, PublicKey, Q54, Q81,
    Q135, RelinKey, Rotation, SecretKey, SeededCiphertext, Switch, Tensor, encrypt, generate,
};
use symbolon_core::matching::{Blind, Folded, Layout, fold};
use symbolon_core::poly::{Coeff, Mont, Poly};
use symbolon_core::rns::Rns;
use symbolon_core::wire::{Wire, WireError};

fn zero<T: Zeroable>() -> Box<T> {
    bytemuck::zeroed_box()
}

fn encoded<T: Wire>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; T::SIZE];
    value.encode(kernels(), &mut bytes).unwrap();
    bytes
}

/// Key-switching keys and what they are for, as bytes.
fn general<const L: usize, const PARTS: usize>() -> [(&'static str, Vec<u8>); 4]
where
    Rns<L>: Switch,
{
    let k = kernels();
    let (mut sk, mut pk) = (zero::<SecretKey<L>>(), zero::<PublicKey<L>>());
    let (mut plain, mut scratch) = (zero::<Plaintext<PARTS>>(), zero::<Poly<L, Coeff>>());
    generate(k, &[2; 32], &mut sk, &mut pk, &mut scratch);
    let mut keys = zero::<KeyGen<L>>();
    keys.derive(k, &[2; 32]);
    let (mut relin, mut galois) = (zero::<RelinKey<L>>(), zero::<GaloisKey<L>>());
    keys.relin(k, &mut relin);
    keys.galois(k, Rotation::Rows(-3), &mut galois);

    plain.encode_rows(k, &[3, 1, 4, 1, -5, 9, 2, 6]).unwrap();
    let mut ciphertext = zero::<Ciphertext<L>>();
    encrypt(k, &pk, &plain, &mut ChaCha20Rng::from_seed([1; 32]), &mut ciphertext, &mut scratch);
    let mut space = zero::<Hoisted<L>>();
    ciphertext.rotate(k, &galois, &mut space, &mut scratch);
    [
        ("general-public-key", encoded(&*pk)),
        ("relin-key", encoded(&*relin)),
        ("galois-key", encoded(&*galois)),
        ("rotated", encoded(&*ciphertext)),
    ]
}

/// A product, relinearised.
fn product<const L: usize, const PARTS: usize>() -> (&'static str, Vec<u8>)
where
    Rns<L>: Multiply,
{
    let k = kernels();
    let (mut pk, mut relin) = (zero::<PublicKey<L>>(), zero::<RelinKey<L>>());
    let mut scratch = zero::<Poly<L, Coeff>>();
    let [_, key, ..] = general::<L, PARTS>();
    relin.decode(k, &key.1).unwrap();
    pk.decode(k, &general::<L, PARTS>()[0].1).unwrap();
    let (mut plain, mut ciphertext) = (zero::<Plaintext<PARTS>>(), zero::<Ciphertext<L>>());
    plain.encode_rows(k, &[2, 7, 1, 8, -2, 8]).unwrap();
    encrypt(k, &pk, &plain, &mut ChaCha20Rng::from_seed([4; 32]), &mut ciphertext, &mut scratch);
    let (mut product, mut tensor) = (zero::<Product<L>>(), zero::<Tensor<L>>());
    product.multiply(k, &ciphertext, &ciphertext, &mut tensor);
    product.relinearise(k, &relin, &mut ciphertext, &mut zero(), &mut scratch);
    ("squared", encoded(&*ciphertext))
}

/// One of each kind of matching, as bytes.
fn samples<const L: usize>() -> [(&'static str, Vec<u8>); 4] {
    let k = kernels();
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let (mut sk, mut pk) = (zero::<SecretKey<L>>(), zero::<PublicKey<L>>());
    let (mut plain, mut scratch) = (zero::<Plaintext>(), zero::<Poly<L, Coeff>>());
    generate(k, &[2; 32], &mut sk, &mut pk, &mut scratch);

    let layout = Layout::D256;
    let vectors: Vec<Vec<i16>> =
        (0..16i16).map(|u| (0..256).map(|i| (u + i) % 19 - 9).collect()).collect();
    let slices = || vectors.iter().map(Vec::as_slice);
    layout.encode_probes(k, slices(), &mut plain).unwrap();
    let mut seeded = zero::<SeededCiphertext<L>>();
    sk.encrypt(k, &plain, &mut rng, &mut seeded, &mut scratch);
    let mut ciphertext = zero::<Ciphertext<L>>();
    encrypt(k, &pk, &plain, &mut rng, &mut ciphertext, &mut scratch);

    let mut blind = zero::<Blind<L>>();
    blind.prepare(k, &pk, layout, &[3; 32], &mut scratch);
    let mut poly = zero::<Poly<L, Coeff>>();
    let templates = layout.encode_templates(k, slices(), &mut plain, &mut poly).unwrap();
    let folded = fold(k, &ciphertext, templates, &mut blind).unwrap();
    [
        ("public-key", encoded(&*pk)),
        ("ciphertext", encoded(&*ciphertext)),
        ("seeded-ciphertext", encoded(&*seeded)),
        ("folded", encoded(folded)),
    ]
}

fn vectors_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// The digests of all encodings, a line each, are committed; one object is committed whole.
#[test]
fn golden() {
    let mut lines = String::new();
    let matching = [("q54", samples::<Q54>()), ("q81", samples::<Q81>())];
    let whole = matching[0].1[3].1.clone();
    let general = [
        ("q54", general::<Q54, 1>()),
        ("q81", general::<Q81, 1>()),
        ("q135", general::<Q135, 2>()),
    ];
    let products = [("q81", product::<Q81, 1>()), ("q135", product::<Q135, 2>())];
    let products = products.map(|(set, product)| (set, vec![product]));
    let sets = matching.into_iter().chain(general).map(|(set, objects)| (set, objects.to_vec()));
    for (set, objects) in sets.chain(products) {
        for (name, bytes) in objects {
            let digest = bulk(kernels(), Domain::RESULT, &[&bytes]);
            let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
            lines += &format!("{set}/{name} {} {hex}\n", bytes.len());
        }
    }
    let (list, file) = (vectors_dir().join("wire-v1.txt"), vectors_dir().join("folded-q54-v1.bin"));
    if std::env::var_os("SYMBOLON_BLESS").is_some() {
        std::fs::create_dir_all(vectors_dir()).unwrap();
        std::fs::write(&list, &lines).unwrap();
        std::fs::write(&file, &whole).unwrap();
    }
    assert_eq!(std::fs::read_to_string(list).unwrap(), lines);
    assert!(std::fs::read(file).unwrap() == whole);
}

fn round_trip<T: Wire + Zeroable>(bytes: &[u8]) {
    let mut value = zero::<T>();
    value.decode(kernels(), bytes).unwrap();
    assert!(encoded(&*value) == bytes);
}

fn refuses<T: Wire + Zeroable>(bytes: &[u8], error: WireError) {
    let mut value = zero::<T>();
    assert_eq!(value.decode(kernels(), bytes), Err(error));
    assert!(encoded(&*value)[8..].iter().all(|&b| b == 0), "what is refused leaves zero behind");
}

#[test]
fn every_kind_round_trips_and_refuses() {
    let [key, ciphertext, seeded, folded] = samples::<Q54>().map(|(_, bytes)| bytes);
    round_trip::<PublicKey<Q54>>(&key);
    round_trip::<Ciphertext<Q54>>(&ciphertext);
    round_trip::<SeededCiphertext<Q54>>(&seeded);
    round_trip::<Folded<Q54>>(&folded);
    let [key81, ciphertext81, seeded81, folded81] = samples::<Q81>().map(|(_, bytes)| bytes);
    round_trip::<PublicKey<Q81>>(&key81);
    round_trip::<Ciphertext<Q81>>(&ciphertext81);
    round_trip::<SeededCiphertext<Q81>>(&seeded81);
    round_trip::<Folded<Q81>>(&folded81);

    let [_, relin, galois, _] = general::<Q54, 1>().map(|(_, bytes)| bytes);
    round_trip::<RelinKey<Q54>>(&relin);
    round_trip::<GaloisKey<Q54>>(&galois);
    let [key135, relin135, galois135, rotated] = general::<Q135, 2>().map(|(_, bytes)| bytes);
    round_trip::<PublicKey<Q135>>(&key135);
    round_trip::<RelinKey<Q135>>(&relin135);
    round_trip::<GaloisKey<Q135>>(&galois135);
    round_trip::<Ciphertext<Q135>>(&rotated);
    refuses::<GaloisKey<Q54>>(&relin, WireError::Kind(5));
    refuses::<RelinKey<Q81>>(&relin, WireError::Parameters(2));
    for element in [0, 2, 8190, 8193, u32::MAX] {
        let mut bytes = galois.clone();
        bytes[8..12].copy_from_slice(&element.to_le_bytes());
        refuses::<GaloisKey<Q54>>(&bytes, WireError::Element(element));
    }
    let mut bytes = galois;
    set_word(&mut bytes, 12 + 5 * 4096 * 27 / 8, 9, 134_012_929);
    refuses::<GaloisKey<Q54>>(&bytes, WireError::Coefficient { limb: 5, index: 9 });

    type C = Ciphertext<Q54>;
    refuses::<C>(&key, WireError::Kind(1));
    refuses::<C>(&ciphertext81, WireError::Parameters(3));
    let length = |actual| WireError::Length { expected: C::SIZE, actual };
    refuses::<C>(&ciphertext[..7], length(7));
    refuses::<C>(&ciphertext[..C::SIZE - 1], length(C::SIZE - 1));
    refuses::<C>(&[&ciphertext[..], &[0]].concat(), length(C::SIZE + 1));
    let broken = |at: usize, byte: u8| {
        let mut bytes = ciphertext.clone();
        bytes[at] = byte;
        bytes
    };
    refuses::<C>(&broken(0, 0), WireError::Magic);
    refuses::<C>(&broken(4, 2), WireError::Version(2));
    refuses::<C>(&broken(7, 1), WireError::Layout(1));

    // Word 5 of limb 2 (the second polynomial's first) set to its prime, then to all ones.
    for word in [134_176_769u128, (1 << 27) - 1] {
        let mut bytes = ciphertext.clone();
        let bit = (2 * 4096 + 5) * 27;
        let at = 8 + bit / 8;
        let mut window = u128::from_le_bytes(bytes[at..at + 16].try_into().unwrap());
        window &= !(((1 << 27) - 1) << (bit % 8));
        window |= word << (bit % 8);
        bytes[at..at + 16].copy_from_slice(&window.to_le_bytes());
        refuses::<C>(&bytes, WireError::Coefficient { limb: 2, index: 5 });
    }
    // An unused sum: layout D256 has 16 users, so sum 16 must be zero.
    let mut bytes = folded.clone();
    bytes[8 + 16 * 27 / 8] |= 1;
    refuses::<Folded<Q54>>(&bytes, WireError::Coefficient { limb: 0, index: 16 });
    let mut bytes = folded;
    bytes[7] = 3;
    refuses::<Folded<Q54>>(&bytes, WireError::Layout(3));
}

/// Sets word `index` of the words that begin at byte `start`.
fn set_word(bytes: &mut [u8], start: usize, index: usize, word: u32) {
    for bit in 0..27 {
        let at = 27 * index + bit;
        let byte = &mut bytes[start + at / 8];
        *byte = *byte & !(1 << (at % 8)) | ((word >> bit & 1) as u8) << (at % 8);
    }
}

/// Sums count as limbs, before those of the second component.
#[test]
fn a_folded_batch_names_its_limbs() {
    let [.., folded] = samples::<Q81>().map(|(_, bytes)| bytes);
    let (sums, limbs) = (32 * 27 / 8, 4096 * 27 / 8);
    for (limb, q) in [134_176_769, 134_111_233, 134_012_929].into_iter().enumerate() {
        for word in [q, (1 << 27) - 1] {
            let mut bytes = folded.clone();
            set_word(&mut bytes, 8 + sums * limb, 7, word);
            refuses::<Folded<Q81>>(&bytes, WireError::Coefficient { limb: limb as u8, index: 7 });
            let mut bytes = folded.clone();
            set_word(&mut bytes, 8 + 3 * sums + limbs * limb, 4095, word);
            let limb = 3 + limb as u8;
            refuses::<Folded<Q81>>(&bytes, WireError::Coefficient { limb, index: 4095 });
        }
        let mut bytes = folded.clone();
        set_word(&mut bytes, 8 + sums * limb, 7, q - 1);
        round_trip::<Folded<Q81>>(&bytes);
    }
}

#[test]
fn encoders_want_the_exact_size() {
    let value = zero::<Ciphertext<Q54>>();
    let expected = Ciphertext::<Q54>::SIZE;
    for actual in [0, 8, expected - 1, expected + 1] {
        let mut bytes = vec![7; actual];
        let refused = value.encode(kernels(), &mut bytes);
        assert_eq!(refused, Err(WireError::Length { expected, actual }));
        assert!(bytes.iter().all(|&b| b == 7), "nothing is written");
    }
}

/// A decoded key encrypts as the one that was encoded: its second half is expanded from the seed.
#[test]
fn a_decoded_key_serves() {
    let k = kernels();
    let (mut sk, mut scratch) = (zero::<SecretKey<Q54>>(), zero::<Poly<Q54, Coeff>>());
    let [mut made, mut read] = [(); 2].map(|()| zero::<PublicKey<Q54>>());
    generate(k, &[2; 32], &mut sk, &mut made, &mut scratch);
    read.decode(k, &encoded(&*made)).unwrap();
    let [a, b] = [made, read].map(|key| {
        let (plain, mut out) = (zero::<Plaintext>(), zero::<Ciphertext<Q54>>());
        let mut rng = ChaCha20Rng::from_seed([5; 32]);
        encrypt(k, &key, &plain, &mut rng, &mut out, &mut scratch);
        encoded(&*out)
    });
    assert!(a == b);
}

/// Memory that has served for more users leaves nothing behind in the unused sums.
#[test]
fn a_blind_forgets_its_last_layout() {
    let k = kernels();
    let (mut sk, mut pk) = (zero::<SecretKey<Q54>>(), zero::<PublicKey<Q54>>());
    let (mut scratch, templates) = (zero::<Poly<Q54, Coeff>>(), zero::<Poly<Q54, Mont>>());
    generate(k, &[2; 32], &mut sk, &mut pk, &mut scratch);
    let probe = zero::<Ciphertext<Q54>>();
    let mut folded = |blind: &mut Blind<Q54>, layout| {
        blind.prepare(k, &pk, layout, &[3; 32], &mut scratch);
        encoded(fold(k, &probe, &templates, blind).unwrap())
    };
    let [mut used, mut fresh] = [(); 2].map(|()| zero::<Blind<Q54>>());
    for layout in [Layout::D128, Layout::D512, Layout::D256] {
        let bytes = folded(&mut used, layout);
        round_trip::<Folded<Q54>>(&bytes);
        assert!(bytes == folded(&mut fresh, layout));
        fresh = zero();
    }
}

fn total<T: Wire + Zeroable>(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut value = zero::<T>();
    if value.decode(kernels(), bytes).is_ok() {
        prop_assert!(encoded(&*value) == bytes);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever the bytes, decoding answers, and what it takes is canonical.
    #[test]
    fn decoders_are_total(
        kind in 0u8..8, set in 1u8..5, layout in 0u8..5, fill in any::<u8>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in 0usize..3,
    ) {
        let small = [PublicKey::<Q54>::SIZE, Ciphertext::<Q54>::SIZE, Folded::<Q54>::SIZE];
        for size in small.into_iter().chain([RelinKey::<Q54>::SIZE, GaloisKey::<Q54>::SIZE]) {
            let mut bytes = vec![fill & 0x3f; size];
            bytes[..8].copy_from_slice(&[b'S', b'Y', b'M', b'B', 1, kind, set, layout]);
            for (index, byte) in &edits {
                bytes[index.index(size)] = *byte;
            }
            let bytes = &bytes[..size - cut];
            total::<PublicKey<Q54>>(bytes)?;
            total::<Ciphertext<Q54>>(bytes)?;
            total::<SeededCiphertext<Q54>>(bytes)?;
            total::<Folded<Q54>>(bytes)?;
            total::<RelinKey<Q54>>(bytes)?;
            total::<GaloisKey<Q54>>(bytes)?;
        }
    }
}
