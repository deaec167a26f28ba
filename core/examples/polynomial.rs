//! x^3 - 2x + 1 of 8192 encrypted numbers at once: two products of ciphertexts in a row.
//!
//! `cargo run --release -p symbolon-core --example polynomial`
#![cfg_attr(target_os = "none", no_std, no_main)]

mod start;

use bytemuck::Zeroable;
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use symbolon_core::bfv::{
    Ciphertext, Hoisted, KeyGen, Plaintext, Product, PublicKey, Q108, Q135, RelinKey, SecretKey,
    Tensor, encrypt, generate,
};
use symbolon_core::cap::Scalar;
use symbolon_core::kernel::Kernels;
use symbolon_core::ntt::N;
use symbolon_core::poly::{Coeff, Poly};
use zeroize::Zeroize;

start::start!(run, Memory);

/// Everything large, 7.2 MiB. A box or, on a microcontroller, a static. Degree 8192 is two times N.
#[derive(Zeroable)]
struct Memory {
    // Client.
    secret: SecretKey<Q135>,
    public: PublicKey<Q135>,
    keygen: KeyGen<Q135>,
    plain: Plaintext<2>,
    slots: [i32; 2 * N],
    // Client to server.
    relin: RelinKey<Q135>,
    x: Ciphertext<Q135>,
    // Server.
    power: Ciphertext<Q135>,
    product: Product<Q135>,
    tensor: Tensor<Q135>,
    space: Hoisted<Q135>,
    scratch: Poly<Q135, Coeff>,
    // Server to client, and what opens it.
    sent: Ciphertext<Q108>,
    secret_sent: SecretKey<Q108>,
    scratch_sent: Poly<Q108, Coeff>,
}

fn run(memory: &mut Memory) -> Result<(), symbolon_core::Error> {
    let Memory { secret, public, keygen, plain, slots, relin, x, .. } = memory;
    let Memory { power, product, tensor, space, scratch, .. } = memory;
    let Memory { sent, secret_sent, scratch_sent, .. } = memory;
    let k = Kernels::scalar(Scalar);
    // A real program passes its own entropy: both seeds must be fresh and secret.
    let (seed, mut rng) = ([2; 32], ChaCha20Rng::from_seed([1; 32]));

    // Client: keys, and numbers from -31 to 31, so that results keep within a slot's range.
    generate(k, &seed, secret, public, scratch);
    keygen.derive(k, &seed);
    keygen.relin(k, relin);
    let number = |i: usize| i as i32 % 63 - 31;
    for (i, slot) in slots.iter_mut().enumerate() {
        *slot = number(i);
    }
    plain.encode_slots(k, slots)?;
    encrypt(k, public, plain, &mut rng, x, scratch);

    // Server: x x, and that times x. A product has three components until it is relinearised.
    product.multiply(k, x, x, tensor);
    product.relinearise(k, relin, power, space, scratch);
    product.multiply(k, power, x, tensor);
    product.relinearise(k, relin, power, space, scratch);
    // Server: - x - x + 1. Subtracting twice is noise of two, a product with a plaintext of -2 the
    // same; but one with different numbers in its slots costs 20 bits.
    power.sub_assign(k, x);
    power.sub_assign(k, x);
    slots.fill(1);
    plain.encode_slots(k, slots)?;
    power.add_plain(k, plain.to_addend(k, scratch));
    // Server: what is sent needs no room for further noise, so it goes without a fifth of its bits.
    power.switch_modulus(k, sent, scratch);

    // Client: the same seed gives the key of the smaller modulus.
    secret_sent.derive(k, &seed);
    secret_sent.decrypt(k, sent, plain, scratch_sent);
    plain.decode_slots(k, slots)?;
    for (i, &y) in slots.iter().enumerate() {
        let x = number(i);
        assert_eq!(y, x * x * x - 2 * x + 1);
    }
    start::say!("x^3 - 2x + 1 at -31, -30, -29, -28: {:?}", &slots[..4]);
    secret.zeroize();
    secret_sent.zeroize();
    keygen.zeroize();
    Ok(())
}
