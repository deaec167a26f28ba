//! What anyone may do with ciphertexts, in place.
//!
//! | operation | noise |
//! |---|---|
//! | add, sub | the sum of both |
//! | negate | the same |
//! | add or sub plain | the same (exact scaling adds at most 1/2) |
//! | multiply plain | times the plaintext polynomial: up to sqrt(N) t / sqrt(12), some 20 bits |

use super::encrypt::Ciphertext;
use crate::kernel::Kernels;
use crate::poly::{Eval, Mont, Poly};

impl<const L: usize> Ciphertext<L> {
    /// self = self + other: messages add, mod t.
    pub fn add_assign(&mut self, k: &Kernels, other: &Self) {
        self.c0.add_assign(k, &other.c0);
        self.c1.add_assign(k, &other.c1);
    }

    /// self = self - other.
    pub fn sub_assign(&mut self, k: &Kernels, other: &Self) {
        self.c0.sub_assign(k, &other.c0);
        self.c1.sub_assign(k, &other.c1);
    }

    /// self = -self.
    pub fn negate(&mut self, k: &Kernels) {
        self.c0.negate(k);
        self.c1.negate(k);
    }

    /// Adds a plaintext, made an addend by [`super::Plaintext::to_addend`].
    pub fn add_plain(&mut self, k: &Kernels, addend: &Poly<L, Eval>) {
        self.c0.add_assign(k, addend);
    }

    /// Subtracts a plaintext, made an addend by [`super::Plaintext::to_addend`].
    pub fn sub_plain(&mut self, k: &Kernels, addend: &Poly<L, Eval>) {
        self.c0.sub_assign(k, addend);
    }

    /// Multiplies by a plaintext, made a multiplicand by [`super::Plaintext::to_multiplicand`].
    /// Two pointwise products: no transform, and the result stays in evaluation form.
    pub fn multiply_plain(&mut self, k: &Kernels, multiplicand: &Poly<L, Mont>) {
        self.c0.mul_assign(k, multiplicand);
        self.c1.mul_assign(k, multiplicand);
    }
}
