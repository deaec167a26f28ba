//! ML-KEM's keys: bytes are refused, or are the one encoding of a key that works.
#![no_main]

use chacha20::ChaCha20Rng;
use libfuzzer_sys::fuzz_target;
use rand_core::SeedableRng;
use symbolon_core::kem::mlkem::{DecapsulationKey, EncapsulationKey};
use symbolon_core::kem::{
    CIPHERTEXT_SIZE, DECAPSULATION_KEY_SIZE, Decapsulate, ENCAPSULATION_KEY_SIZE, Encapsulate,
    SECRET_SIZE,
};
use symbolon_core::pool::Material;

/// Continues `data` with itself.
fn filled<const SIZE: usize>(data: &[u8]) -> [u8; SIZE] {
    let mut bytes = data.iter().copied().cycle();
    std::array::from_fn(|_| bytes.next().unwrap_or(0))
}

/// FIPS 203, section 7.2: 12 bits a coefficient, each below 3329; then 32 bytes.
fn is_reduced(bytes: &[u8; ENCAPSULATION_KEY_SIZE]) -> bool {
    bytes[..ENCAPSULATION_KEY_SIZE - 32].chunks_exact(3).all(|pair| {
        let [a, b, c] = [pair[0], pair[1], pair[2]].map(u32::from);
        a + (b & 15) * 256 < 3329 && b / 16 + c * 16 < 3329
    })
}

/// Sends a secret: the ciphertext.
fn encapsulation_key(bytes: &[u8; ENCAPSULATION_KEY_SIZE]) -> [u8; CIPHERTEXT_SIZE] {
    let mut ciphertext = [0; CIPHERTEXT_SIZE];
    let decoded = EncapsulationKey::decode(bytes);
    assert_eq!(decoded.is_ok(), is_reduced(bytes));
    if let Ok(key) = decoded {
        assert!(key.encode() == *bytes, "a second encoding");
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        key.encapsulate(&mut rng, &mut ciphertext, &mut [0; SECRET_SIZE]);
    }
    ciphertext
}

fuzz_target!(|data: &[u8]| {
    encapsulation_key(&filled(data));

    let bytes = filled::<DECAPSULATION_KEY_SIZE>(data);
    let mut key = DecapsulationKey::ZERO;
    let decoded = key.decode(&bytes);
    let mut encoded = [0; DECAPSULATION_KEY_SIZE];
    key.serialise(&mut (), &mut encoded).expect("the buffer has the size");
    if decoded.is_ok() {
        assert!(encoded == bytes, "a second encoding");
        let mut public = [0; ENCAPSULATION_KEY_SIZE];
        key.encapsulation_key(&mut public);
        let ciphertext = encapsulation_key(&public);
        // Whatever is in it, a ciphertext gives a secret.
        for ciphertext in [ciphertext, filled(data)] {
            key.decapsulate(&ciphertext, &mut [0; SECRET_SIZE]).expect("it is a key");
        }
    } else {
        assert!(encoded == [0; DECAPSULATION_KEY_SIZE], "something left behind");
    }
});
