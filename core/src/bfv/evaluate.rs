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
use crate::ntt;
use crate::poly::{Coeff, Eval, Mont, Poly};
use crate::rns::Rns;

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

    /// out = the same message modulo what is left of Q without its last prime: from Q81 to Q54, from
    /// Q135 to Q108. For results that are sent or stored, and for what follows where less room is
    /// needed. The secret key is the one of the same seed. `scratch` is working space.
    pub fn switch_modulus<const M: usize>(
        &self,
        k: &Kernels,
        out: &mut Ciphertext<M>,
        scratch: &mut Poly<L, Coeff>,
    ) {
        const {
            assert!(Rns::<L>::PARTS == Rns::<M>::PARTS, "no modulus to switch to: other degree");
            assert!(Rns::<L>::COUNT == Rns::<M>::COUNT + 1, "one prime is dropped at a time");
        }
        drop_prime(k, &self.c0, &mut out.c0, scratch);
        drop_prime(k, &self.c1, &mut out.c1, scratch);
    }
}

/// out = x / q rounded, q the last prime of x: x minus its centred residue mod q, times 1/q.
fn drop_prime<const L: usize, const M: usize>(
    k: &Kernels,
    x: &Poly<L, Eval>,
    out: &mut Poly<M, Eval>,
    scratch: &mut Poly<L, Coeff>,
) {
    let (parts, count) = (Rns::<M>::PARTS, Rns::<M>::COUNT);
    let (last, rest) = scratch.limbs.split_at_mut(parts);
    let Some((residues, _)) = rest.split_at_mut_checked(parts) else { return };
    for (last, x) in last.iter_mut().zip(x.limbs.iter().skip(count).step_by(count + 1)) {
        *last = *x;
    }
    let Some(plan) = Rns::<L>::PLANS.get(count) else { return };
    for (low, high) in ntt::halves(last, parts) {
        ntt::inverse(k, low, high, plan);
    }
    let prime = plan.prime;
    for (i, plan) in Rns::<M>::PLANS.iter().enumerate().take(count) {
        let inverse = Rns::<L>::LAST_INVERSE.get(i).copied().unwrap_or(0);
        for (residue, last) in residues.iter_mut().zip(last.iter()) {
            (k.raise)(residue, last, &prime, plan.prime.neg(inverse), plan);
        }
        for (low, high) in ntt::halves(residues, parts) {
            ntt::forward(k, low, high, plan);
        }
        let out = out.limbs.iter_mut().skip(i).step_by(count);
        let x = x.limbs.iter().skip(i).step_by(count + 1);
        for ((out, x), residue) in out.zip(x).zip(residues.iter()) {
            *out = *x;
            (k.scale)(out, inverse, plan);
            (k.add_assign)(out, residue, plan);
        }
    }
}
