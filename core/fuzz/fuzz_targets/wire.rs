//! Every kind of encoded object: bytes are refused and leave zero behind, or are the
//! one encoding of what they decode to.
#![no_main]

use bytemuck::{Zeroable, zeroed_box};
use libfuzzer_sys::fuzz_target;
use symbolon_core::bfv::{
    Ciphertext, GaloisKey, PublicKey, Q54, Q81, Q135, RelinKey, SeededCiphertext,
};
use symbolon_core::cap::Scalar;
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::Folded;
use symbolon_core::wire::Wire;
use symbolon_platform::cpu;

const HEADER: usize = 8;

/// `value` may hold an earlier object, of which nothing may remain.
fn check<T: Wire>(value: &mut T, bytes: &[u8]) {
    for capability in cpu::available() {
        check_on(Kernels::select(capability), value, bytes);
    }
}

fn check_on<T: Wire>(k: &Kernels, value: &mut T, bytes: &[u8]) {
    let decoded = value.decode(k, bytes);
    let mut encoded = vec![0; T::SIZE];
    value.encode(k, &mut encoded).expect("the buffer has the size");
    if decoded.is_ok() {
        assert!(encoded == bytes, "a second encoding");
    } else {
        assert!(encoded[HEADER..] == vec![0; T::SIZE - HEADER], "something left behind");
    }
}

/// Continues `data` with `fill`, over and over, so that a short input reaches every field.
fn filled<T: Wire>(data: &[u8], fill: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    while bytes.len() < T::SIZE && !fill.is_empty() {
        bytes.extend_from_slice(fill);
    }
    bytes.truncate(T::SIZE);
    bytes
}

fn check_filled<T: Wire + Zeroable>(data: &[u8]) {
    let mut value = zeroed_box::<T>();
    let body = data.get(HEADER..).unwrap_or_default();
    check(&mut *value, &filled::<T>(data, body));
    check(&mut *value, &filled::<T>(data, &[0; 1024]));
    check(&mut *value, data);
}

fn refuses<T: Wire + Zeroable>(data: &[u8]) {
    assert!(zeroed_box::<T>().decode(Kernels::scalar(Scalar), data).is_err());
}

fuzz_target!(|data: &[u8]| {
    // Kind and parameter set.
    match data.get(5..7) {
        Some([1, 2]) => check_filled::<PublicKey<Q54>>(data),
        Some([1, 3]) => check_filled::<PublicKey<Q81>>(data),
        Some([2, 2]) => check_filled::<Ciphertext<Q54>>(data),
        Some([2, 3]) => check_filled::<Ciphertext<Q81>>(data),
        Some([3, 2]) => check_filled::<SeededCiphertext<Q54>>(data),
        Some([3, 3]) => check_filled::<SeededCiphertext<Q81>>(data),
        Some([4, 2]) => check_filled::<Folded<Q54>>(data),
        Some([4, 3]) => check_filled::<Folded<Q81>>(data),
        Some([2, 10]) => check_filled::<Ciphertext<Q135>>(data),
        Some([5, 2]) => check_filled::<RelinKey<Q54>>(data),
        Some([6, 2]) => check_filled::<GaloisKey<Q54>>(data),
        Some([6, 3]) => check_filled::<GaloisKey<Q81>>(data),
        _ => {
            refuses::<Ciphertext<Q135>>(data);
            refuses::<RelinKey<Q54>>(data);
            refuses::<GaloisKey<Q54>>(data);
            refuses::<GaloisKey<Q81>>(data);
            refuses::<PublicKey<Q54>>(data);
            refuses::<PublicKey<Q81>>(data);
            refuses::<Ciphertext<Q54>>(data);
            refuses::<Ciphertext<Q81>>(data);
            refuses::<SeededCiphertext<Q54>>(data);
            refuses::<SeededCiphertext<Q81>>(data);
            refuses::<Folded<Q54>>(data);
            refuses::<Folded<Q81>>(data);
        }
    }
});
