//! Every encoded object, in both parameter sets: bytes are refused and leave zero behind, or are the
//! one encoding of what they decode to.
#![no_main]

use bytemuck::{Zeroable, zeroed_box};
use libfuzzer_sys::fuzz_target;
use symbolon_core::bfv::{Ciphertext, PublicKey, SeededCiphertext};
use symbolon_core::matching::Folded;
use symbolon_core::wire::Wire;

const HEADER: usize = 8;

fn check<T: Wire + Zeroable>(data: &[u8]) {
    // As it is, and filled up with zeros so that a short input reaches the last field too.
    for size in [data.len(), T::SIZE] {
        let mut bytes = data.to_vec();
        bytes.resize(size, 0);
        let mut value = zeroed_box::<T>();
        let mut encoded = vec![0; T::SIZE];
        let decoded = value.decode(&bytes);
        value.encode(&mut encoded).expect("the buffer has the size");
        if decoded.is_ok() {
            assert!(encoded == bytes, "a second encoding");
        } else {
            assert!(encoded[HEADER..].iter().all(|&byte| byte == 0), "something left behind");
        }
    }
}

// Read as what the header says: every other type stops at the header.
fuzz_target!(|data: &[u8]| match data.get(5..7) {
    Some([1, 3]) => check::<PublicKey<3>>(data),
    Some([2, 2]) => check::<Ciphertext<2>>(data),
    Some([2, 3]) => check::<Ciphertext<3>>(data),
    Some([3, 2]) => check::<SeededCiphertext<2>>(data),
    Some([3, 3]) => check::<SeededCiphertext<3>>(data),
    Some([4, 2]) => check::<Folded<2>>(data),
    Some([4, 3]) => check::<Folded<3>>(data),
    _ => check::<PublicKey<2>>(data),
});
