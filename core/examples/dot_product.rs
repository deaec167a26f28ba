//! Dot products of two encrypted vectors: one product of ciphertexts, then rotate and add.
//!
//! `cargo run --release -p symbolon-core --example dot_product`
#![cfg_attr(target_os = "none", no_std, no_main)]

mod start;

use bytemuck::Zeroable;
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use symbolon_core::bfv::{
    Ciphertext, GaloisKey, Hoisted, KeyGen, Plaintext, Product, PublicKey, Q81, RelinKey, Rotation,
    SecretKey, Tensor, encrypt, generate,
};
use symbolon_core::cap::Scalar;
use symbolon_core::kernel::Kernels;
use symbolon_core::ntt::N;
use symbolon_core::poly::{Coeff, Poly};
use zeroize::Zeroize;

start::start!(run, Memory);

/// Numbers in a vector: 4096 slots hold 512 vectors.
const LEN: usize = 8;

/// One key each. After turns by 1, 2 and 4, adding each time, a slot holds the sum of eight.
const TURNS: [Rotation; 3] = [Rotation::Rows(1), Rotation::Rows(2), Rotation::Rows(4)];

/// Everything large, 2.9 MiB, of which the keys are half. A box or, on a microcontroller, a static.
#[derive(Zeroable)]
struct Memory {
    // Client.
    secret: SecretKey<Q81>,
    public: PublicKey<Q81>,
    keygen: KeyGen<Q81>,
    plain: Plaintext,
    slots: [i32; N],
    // Client to server.
    relin: RelinKey<Q81>,
    galois: [GaloisKey<Q81>; TURNS.len()],
    x: Ciphertext<Q81>,
    y: Ciphertext<Q81>,
    // Server.
    product: Product<Q81>,
    tensor: Tensor<Q81>,
    space: Hoisted<Q81>,
    scratch: Poly<Q81, Coeff>,
}

/// The vectors' numbers, slot by slot.
fn left(i: usize) -> i32 {
    i as i32 % 61 - 30
}

fn right(i: usize) -> i32 {
    i as i32 % 47 - 23
}

fn run(memory: &mut Memory) -> Result<(), symbolon_core::Error> {
    let Memory { secret, public, keygen, plain, slots, relin, galois, x, y, .. } = memory;
    let Memory { product, tensor, space, scratch, .. } = memory;
    let k = Kernels::scalar(Scalar);
    // A real program passes its own entropy: both seeds must be fresh and secret.
    let (seed, mut rng) = ([2; 32], ChaCha20Rng::from_seed([1; 32]));

    // Client: the keys. All but the secret one may be sent, and stay the same.
    generate(k, &seed, secret, public, scratch);
    keygen.derive(k, &seed);
    keygen.relin(k, relin);
    for (rotation, key) in TURNS.into_iter().zip(&mut *galois) {
        keygen.galois(k, rotation, key);
    }
    // Client: 512 pairs of vectors. Rotations turn slots as `encode_rows` places them.
    for (number, out) in [(left as fn(usize) -> i32, &mut *x), (right, y)] {
        for (i, slot) in slots.iter_mut().enumerate() {
            *slot = number(i);
        }
        plain.encode_rows(k, slots)?;
        encrypt(k, public, plain, &mut rng, out, scratch);
    }

    // Server: multiplies slot by slot, then adds up. Where it knows one side in the clear,
    // `multiply_plain` takes the place of both lines, and no relinearisation key is needed.
    product.multiply(k, x, y, tensor);
    product.relinearise(k, relin, x, space, scratch);
    x.rotate_sum(k, &*galois, space, scratch);

    // Client: every eighth slot is a dot product. The others are sums across two vectors.
    secret.decrypt(k, x, plain, scratch);
    plain.decode_rows(k, slots)?;
    for (vector, &sum) in slots.iter().step_by(LEN).enumerate() {
        let at = LEN * vector..LEN * (vector + 1);
        assert_eq!(sum, at.map(|i| left(i) * right(i)).sum());
    }
    start::say!(
        "512 dot products, the first four: {} {} {} {}",
        slots[0],
        slots[8],
        slots[16],
        slots[24]
    );
    secret.zeroize();
    keygen.zeroize();
    Ok(())
}
