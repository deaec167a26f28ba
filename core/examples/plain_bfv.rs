//! BFV without matching: 4096 numbers a ciphertext, added and multiplied while encrypted.
//!
//! `cargo run --release -p symbolon-core --example plain_bfv`
#![cfg_attr(target_os = "none", no_std, no_main)]

mod start;

use bytemuck::Zeroable;
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use symbolon_core::bfv::{Ciphertext, Plaintext, PublicKey, Q54, SecretKey, encrypt, generate};
use symbolon_core::cap::Scalar;
use symbolon_core::kernel::Kernels;
use symbolon_core::ntt::N;
use symbolon_core::poly::{Coeff, Poly};
use zeroize::Zeroize;

start::start!(run, Memory);

/// Everything large, 320 KiB. Core allocates nothing and moves nothing of it: the caller says where
/// it lives. Here that is a box or, on a microcontroller, a static.
#[derive(Zeroable)]
struct Memory {
    secret: SecretKey<Q54>,
    public: PublicKey<Q54>,
    plain: Plaintext,
    x: Ciphertext<Q54>,
    y: Ciphertext<Q54>,
    factor: Poly<Q54, Coeff>,
    slots: [i32; N],
    scratch: Poly<Q54, Coeff>,
}

fn run(memory: &mut Memory) -> Result<(), symbolon_core::Error> {
    let Memory { secret, public, plain, x, y, factor, slots, scratch } = memory;
    // A real program passes its own entropy: both seeds must be fresh and secret.
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let k = Kernels::scalar(Scalar);
    generate(k, &[2; 32], secret, public, scratch);

    // Two vectors, encrypted. A slot holds a number from -32768 to 32768; missing ones are zero.
    plain.encode_slots(k, &[1, 2, 3, -4])?;
    encrypt(k, public, plain, &mut rng, x, scratch);
    plain.encode_slots(k, &[10, 20, 30, 40])?;
    encrypt(k, public, plain, &mut rng, y, scratch);

    // (x + y) * [1, -2, 3, -4], slot by slot, without the key.
    x.add_assign(k, y);
    plain.encode_slots(k, &[1, -2, 3, -4])?;
    x.multiply_plain(k, plain.to_multiplicand(k, factor));

    secret.decrypt(k, x, plain, scratch);
    plain.decode_slots(k, slots)?;
    start::say!("{:?}", &slots[..5]);
    assert_eq!(slots[..5], [11, -44, 99, -144, 0]);
    secret.zeroize();
    Ok(())
}
