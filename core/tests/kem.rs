//! ML-KEM-768 against published answers.
#![cfg(not(miri))]

use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest as _, Sha256};
use shake::Shake128;
use shake::digest::{ExtendableOutput, Update, XofReader};
use std::convert::Infallible;
use symbolon_core::Error;
use symbolon_core::kem::mlkem::{DecapsulationKey, EncapsulationKey};
use symbolon_core::kem::{
    CIPHERTEXT_SIZE, Decapsulate, ENCAPSULATION_KEY_SIZE, Encapsulate, SECRET_SIZE, SEED_SIZE,
};

/// A stream of bytes as a generator.
struct Stream<X>(X);

impl<X: XofReader> TryRng for Stream<X> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.read(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.read(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.read(out);
        Ok(())
    }
}

impl<X: XofReader> TryCryptoRng for Stream<X> {}

fn unhex<const SIZE: usize>(text: &str) -> [u8; SIZE] {
    assert_eq!(text.len(), 2 * SIZE);
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

/// What Go's `crypto/mlkem` publishes for the final FIPS 203 (`TestAccumulated`), after the vectors of
/// C2SP: seed, message and a random ciphertext are drawn from SHAKE128 of nothing, ten thousand times, and
/// encapsulation key, ciphertext, secret and the secret of the random ciphertext, which is implicitly
/// rejected, go into another SHAKE128. Where tests are emulated, a hundred times.
#[test]
fn accumulated_known_answers() {
    const ROUNDS: usize = if cfg!(target_arch = "x86_64") { 10_000 } else { 100 };
    let mut stream = Stream(Shake128::default().finalize_xof());
    let mut gathered = Shake128::default();
    let mut key = DecapsulationKey::ZERO;
    let mut public = [0; ENCAPSULATION_KEY_SIZE];
    let mut ciphertext = [0; CIPHERTEXT_SIZE];
    let [mut sent, mut received] = [[0; SECRET_SIZE]; 2];
    let after = |gathered: &Shake128| {
        let mut digest = [0; 32];
        gathered.clone().finalize_xof().read(&mut digest);
        digest
    };
    for round in 1..=ROUNDS {
        let mut seed = [0; SEED_SIZE];
        stream.0.read(&mut seed);
        key.derive(&seed);
        key.encapsulation_key(&mut public);
        gathered.update(&public);
        let encapsulate = EncapsulationKey::decode(&public).unwrap();
        assert!(encapsulate.encode() == public);
        encapsulate.encapsulate(&mut stream, &mut ciphertext, &mut sent);
        gathered.update(&ciphertext);
        gathered.update(&sent);
        key.decapsulate(&ciphertext, &mut received).unwrap();
        assert_eq!(received, sent);
        stream.0.read(&mut ciphertext);
        key.decapsulate(&ciphertext, &mut received).unwrap();
        assert_ne!(received, sent);
        gathered.update(&received);
        let expected = match round {
            100 => "1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415",
            10_000 => "8a518cc63da366322a8e7a818c7a0d63483cb3528d34a4cf42f35d5ad73f22fc",
            _ => continue,
        };
        assert_eq!(after(&gathered), unhex(expected), "after {round}");
    }
}

/// NIST ACVP, ML-KEM-keyGen-FIPS203, the first case of ML-KEM-768, as published with CIRCL: d, z, and the
/// SHA-256 of the encapsulation key.
#[test]
fn key_generation_known_answer() {
    let seed = unhex(
        "e34a701c4c87582f42264ee422d3c684d97611f2523efe0c998af05056d693dc\
         a85768f3486bd32a01bf9a8f21ea938e648eae4e5448c34c3eb88820b159eedd",
    );
    let mut key = DecapsulationKey::ZERO;
    key.derive(&seed);
    let mut public = [0; ENCAPSULATION_KEY_SIZE];
    key.encapsulation_key(&mut public);
    let expected = "7799c9d8eef172aa78c073514f2f039c240de8c5cb61bca82ba0bc46041ce279";
    assert_eq!(Sha256::digest(public)[..], unhex::<32>(expected));
}

/// FIPS 203, section 7.2: each coefficient, 12 bits, is below q = 3329; the last 32 bytes are free.
#[test]
fn coefficients_beyond_the_modulus_are_refused() {
    let mut key = DecapsulationKey::ZERO;
    key.derive(&[7; SEED_SIZE]);
    let mut good = [0; ENCAPSULATION_KEY_SIZE];
    key.encapsulation_key(&mut good);
    for index in [0, 1, 255, 256, 400, 766, 767] {
        for value in [3328_u16, 3329, 3330, 4095] {
            let mut bytes = good;
            let at = index / 2 * 3;
            let (low, high) = (bytes[at + 1] & 0x0f, bytes[at + 1] & 0xf0);
            if index % 2 == 0 {
                bytes[at] = value as u8;
                bytes[at + 1] = high | (value >> 8) as u8;
            } else {
                bytes[at + 1] = low | (value << 4) as u8;
                bytes[at + 2] = (value >> 4) as u8;
            }
            let decoded = EncapsulationKey::decode(&bytes);
            if value < 3329 {
                assert!(decoded.unwrap().encode() == bytes, "coefficient {index}");
            } else {
                assert_eq!(decoded.err(), Some(Error::Range), "coefficient {index}, {value}");
            }
        }
    }
    good[ENCAPSULATION_KEY_SIZE - 32..].fill(0xff);
    assert!(EncapsulationKey::decode(&good).is_ok());
}
