//! Table lookups at encrypted places: 8192 indices, a table of 16, and a server that learns none.
//!
//! The client encrypts four bits for each index. The server halves the table once for each bit,
//! keeping entry `zero` or entry `one` as zero + bit (one - zero) without knowing which.
//!
//! `cargo run --release -p symbolon-core --example lookup`
#![cfg_attr(target_os = "none", no_std, no_main)]

mod start;

use bytemuck::Zeroable;
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use symbolon_core::bfv::{
    Ciphertext, Hoisted, KeyGen, Plaintext, Product, PublicKey, Q135, RelinKey, SecretKey, Tensor,
    encrypt, generate,
};
use symbolon_core::cap::Scalar;
use symbolon_core::kernel::Kernels;
use symbolon_core::ntt::N;
use symbolon_core::poly::{Coeff, Poly};
use zeroize::Zeroize;

start::start!(run, Memory);

const BITS: usize = 4;

/// The server's. Its entries may be any numbers from -32768 to 32768.
const TABLE: [i32; 1 << BITS] = [3, 1, 4, 1, 5, -9, 2, 6, 5, 3, 5, -8, 9, 7, 9, 3];

/// Everything large, 9.8 MiB. A box or, on a microcontroller, a static. Degree 8192 is two times N.
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
    bits: [Ciphertext<Q135>; BITS],
    // Server.
    entries: [Ciphertext<Q135>; TABLE.len() / 2],
    product: Product<Q135>,
    tensor: Tensor<Q135>,
    space: Hoisted<Q135>,
    scratch: Poly<Q135, Coeff>,
}

fn run(memory: &mut Memory) -> Result<(), symbolon_core::Error> {
    let Memory { secret, public, keygen, plain, slots, relin, bits, .. } = memory;
    let Memory { entries, product, tensor, space, scratch, .. } = memory;
    let k = Kernels::scalar(Scalar);
    // A real program passes its own entropy: both seeds must be fresh and secret.
    let (seed, mut rng) = ([2; 32], ChaCha20Rng::from_seed([1; 32]));

    // Client: keys; then of every index its bits, the lowest first, each in a ciphertext.
    generate(k, &seed, secret, public, scratch);
    keygen.derive(k, &seed);
    keygen.relin(k, relin);
    let index = |slot: usize| slot / 3 % TABLE.len();
    for (i, bit) in bits.iter_mut().enumerate() {
        for (at, slot) in slots.iter_mut().enumerate() {
            *slot = (index(at) >> i & 1) as i32;
        }
        plain.encode_slots(k, slots)?;
        encrypt(k, public, plain, &mut rng, bit, scratch);
    }

    // Server: the lowest bit chooses between numbers that it knows, which takes no product of
    // ciphertexts. The same number in all slots is a constant polynomial: times it costs least noise.
    let [lowest, higher @ ..] = bits;
    for (entry, pair) in entries.iter_mut().zip(TABLE.chunks_exact(2)) {
        entry.copy_from(lowest);
        plain.encode_coeffs(&[pair[1] - pair[0]])?;
        entry.multiply_plain(k, plain.to_multiplicand(k, scratch));
        plain.encode_coeffs(&[pair[0]])?;
        entry.add_plain(k, plain.to_addend(k, scratch));
    }
    // Server: each other bit, between what the bits below have left: three products in a row.
    for (level, bit) in higher.iter().enumerate() {
        let half = 1 << level;
        for both in entries.chunks_exact_mut(2 * half) {
            let (zero, one) = both.split_at_mut(half);
            let (zero, one) = (&mut zero[0], &mut one[0]);
            one.sub_assign(k, zero);
            product.multiply(k, one, bit, tensor);
            product.relinearise(k, relin, one, space, scratch);
            zero.add_assign(k, one);
        }
    }

    // Client: its entries. The server does not hide the rest from it: noise tells of the table.
    secret.decrypt(k, &entries[0], plain, scratch);
    plain.decode_slots(k, slots)?;
    for (at, &entry) in slots.iter().enumerate() {
        assert_eq!(entry, TABLE[index(at)]);
    }
    start::say!("8192 lookups, the first twelve: {:?}", &slots[..12]);
    secret.zeroize();
    keygen.zeroize();
    Ok(())
}
