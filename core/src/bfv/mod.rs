//! The BFV scheme (Brakerski 2012; Fan and Vercauteren 2012) on 27-bit limbs.
//!
//! One verb a file. Ciphertexts stay in evaluation form: everything here consumes them so.

mod decrypt;
mod encode;
mod encrypt;
mod evaluate;
mod keys;
#[cfg(feature = "hazmat")]
pub mod noise;
pub mod params;
mod zero;

pub use encode::Plaintext;
pub use encrypt::{Ciphertext, SeededCiphertext, encrypt};
pub use keys::{PublicKey, SecretKey, generate};
pub use params::{Q54, Q81};
pub use zero::Zero;
