//! The BFV scheme (Brakerski 2012; Fan and Vercauteren 2012) on 27-bit limbs.
//!
//! One verb a file. Ciphertexts stay in evaluation form: everything here consumes them so.

mod decrypt;
mod encode;
mod encrypt;
mod evaluate;
mod galois;
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
pub use keys::{PublicKey, SecretKey, generate};
pub use multiply::{Multiply, Product, Tensor};
pub use params::{Q54, Q81, Q108, Q135};
pub use switch::Switch;
pub(crate) use switch_keys::expand;
pub use switch_keys::{GaloisKey, KeyGen, RelinKey};
pub use zero::Zero;
