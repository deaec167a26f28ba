//! The BFV scheme (Brakerski 2012; Fan and Vercauteren 2012) on 27-bit limbs.
//!
//! One verb a file. Ciphertexts stay in evaluation form: everything here consumes them so.
//!
//! # Noise, and how far it goes
//!
//! A ciphertext decrypts to its message while its noise is below Q/2t, and to something else, without a
//! sign, beyond. Noise is for the secret key alone to see, so who evaluates adds up beforehand. In
//! bits, log2 of the bounds that `bfv::noise` has (feature `hazmat`) and tests hold measurements against:
//!
//! | | [`Q54`] | [`Q81`] | [`Q108`] | [`Q135`] |
//! |---|---|---|---|---|
//! | room: Q/2t | 37.0 | 64.0 | 91.0 | 118.0 |
//! | [`encrypt`]: starts at | 10.5 | 10.5 | 11.0 | 11.0 |
//! | [`SecretKey::encrypt`]: starts at | 4.4 | 4.4 | 4.4 | 4.4 |
//! | [`rotate`](Ciphertext::rotate), [`relinearise`](Product::relinearise): adds | 9.0 | 11.3 |  | 10.2 |
//! | [`multiply_plain`](Ciphertext::multiply_plain) of a fresh one: comes to | 30.7 | 30.7 | 31.7 | 31.7 |
//! | [`multiply`](Product::multiply) of two fresh ones: comes to |  | 38.4 |  | 39.9 |
//! | a product of two such: comes to |  |  |  | 68.8 |
//! | a product of two of those: comes to |  |  |  | 97.7 |
//! | [`switch_modulus`](Ciphertext::switch_modulus) to this set: leaves at least | 6.6 |  | 7.1 |  |
//!
//! What becomes of noise that is there already:
//!
//! | operation | noise |
//! |---|---|
//! | [`add_assign`](Ciphertext::add_assign), [`sub_assign`](Ciphertext::sub_assign) | the sum of both |
//! | [`add_plain`](Ciphertext::add_plain), [`sub_plain`](Ciphertext::sub_plain), [`negate`](Ciphertext::negate) | the same |
//! | [`multiply_plain`](Ciphertext::multiply_plain) | 20 bits more, 21 at degree 8192; by the number c in every slot, c times as much |
//! | [`rotate`](Ciphertext::rotate), [`Hoisted::rotate`], [`relinearise`](Product::relinearise) | one key switch's is added |
//! | [`rotate_sum`](Ciphertext::rotate_sum) | for each key doubled, and one key switch's added |
//! | [`multiply`](Product::multiply) | 28 bits more than the noisier operand has, 29 at degree 8192 |
//! | [`Product::add_assign`] | the sum of both |
//! | [`switch_modulus`](Ciphertext::switch_modulus) | 27 bits less, and so is the room |
//!
//! How many of each fit, from fresh ciphertexts on:
//!
//! | | [`Q54`] | [`Q81`] | [`Q108`] | [`Q135`] |
//! |---|---|---|---|---|
//! | sums: log2 of how many | 26 | 53 | 79 | 106 |
//! | products with plaintexts in a row | 1 | 2 | 3 | 5 |
//! | products of ciphertexts in a row | 0 | 1 | 0 | 3 |
//! | keys of [`rotate_sum`](Ciphertext::rotate_sum) after one with a plaintext | 6 | 12 |  | 13 |
//! | the same after one of ciphertexts |  | 12 |  | 13 |
//!
//! (12 and 13 keys add up all slots.) As a rule of thumb: begin with 11 bits; take 29 for each product of
//! ciphertexts on the longest way through the computation and 21 for each with a plaintext, one for each
//! doubling of a sum, none for rotations. The result must stay below the room: 27 bits for each prime of
//! Q, less 17. A sum costs the same before a product as after it, and saves products.

mod decrypt;
mod encode;
mod encrypt;
mod evaluate;
mod galois;
mod key_set;
mod keys;
mod multiply;
#[cfg(feature = "hazmat")]
pub mod noise;
pub mod params;
mod switch;
mod switch_keys;
mod zero;

pub use encode::Plaintext;
pub use encrypt::{Ciphertext, SeededCiphertext, encrypt};
pub use galois::{Hoisted, Rotation};
pub use key_set::{KeyPair, KeyPairMaker, KeySet, KeySetMaker};
pub use keys::{PublicKey, SecretKey, generate};
pub use multiply::{Multiply, Product, Tensor};
pub use params::{Q54, Q81, Q108, Q135};
pub use switch::Switch;
pub(crate) use switch_keys::expand;
pub use switch_keys::{GaloisKey, KeyGen, RelinKey};
pub use zero::{Zero, ZeroMaker};
