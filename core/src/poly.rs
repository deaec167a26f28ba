//! Polynomials in R_Q = Z_Q\[X\]/(X^N + 1), held limb by limb. The representation is a type.

use crate::kernel::Kernels;
use crate::kernel::contract::Limb;
use crate::ntt::{self, N};
use crate::place::{retag, wipe};
use crate::rns::Rns;
use bytemuck::Zeroable;
use core::marker::PhantomData;
use zeroize::Zeroize;

/// Coefficients, constant term first.
#[derive(Debug, Zeroable)]
pub struct Coeff(());

/// Values at the 2N-th roots of unity, in the transform's own (bit-reversed) order.
#[derive(Debug, Zeroable)]
pub struct Eval(());

/// Values as in [`Eval`], times 2^32: the second operand of a product, whose Montgomery reduction
/// takes the 2^32 off again. Keys and plaintext multiplicands are held so.
#[derive(Debug, Zeroable)]
pub struct Mont(());

/// A polynomial modulo Q = q_0 q_1 ..: L limbs of N canonical 32-bit words, 64-byte aligned.
///
/// L names the parameter set, such as [`crate::bfv::Q54`]: see [`Rns`]. Made in place with
/// [`crate::place::zeroed`]; [`Poly::ZERO`] serves `static`s.
#[derive(Zeroable)]
#[repr(C, align(64))]
pub struct Poly<const L: usize, R> {
    pub(crate) limbs: [[u32; N]; L],
    representation: PhantomData<R>,
}

impl<const L: usize, R> Poly<L, R> {
    /// Zero, for statics.
    pub const ZERO: Self = Self { limbs: [[0; N]; L], representation: PhantomData };

    /// The words of each limb, canonical.
    #[must_use]
    pub const fn limbs(&self) -> &[[u32; N]; L] {
        &self.limbs
    }

    /// Sets every coefficient or value.
    ///
    /// # Errors
    /// The first (limb, index) whose word is not below its prime; `self` is then unchanged.
    pub fn set_limbs(&mut self, limbs: &[[u32; N]; L]) -> Result<(), (usize, usize)> {
        for (i, (limb, prime)) in limbs.iter().zip(Rns::<L>::PRIMES).enumerate() {
            if let Some(index) = limb.iter().position(|&x| x >= prime.q()) {
                return Err((i, index));
            }
        }
        self.limbs = *limbs;
        Ok(())
    }

    /// Copies another polynomial of the same representation.
    pub fn copy_from(&mut self, other: &Self) {
        self.limbs = other.limbs;
    }

    /// self = self + b.
    pub fn add_assign(&mut self, k: &Kernels, b: &Self) {
        for ((out, b), plan) in self.limbs.iter_mut().zip(&b.limbs).zip(Rns::<L>::PLANS) {
            (k.add_assign)(out, b, plan);
        }
    }

    /// self = self - b.
    pub fn sub_assign(&mut self, k: &Kernels, b: &Self) {
        for ((out, b), plan) in self.limbs.iter_mut().zip(&b.limbs).zip(Rns::<L>::PLANS) {
            (k.sub_assign)(out, b, plan);
        }
    }

    /// self = -self.
    pub fn negate(&mut self, k: &Kernels) {
        for (out, plan) in self.limbs.iter_mut().zip(Rns::<L>::PLANS) {
            (k.negate)(out, plan);
        }
    }
}

/// Limbs of some basis, for what is not one polynomial: keys and working space.
#[derive(Zeroable)]
#[repr(C, align(64))]
pub struct Limbs<const COUNT: usize>([Limb; COUNT]);

/// [`Limbs`], however many.
pub trait Room: AsRef<[Limb]> + AsMut<[Limb]> + Zeroable + Zeroize + Send + Sync + 'static {
    /// All zero, for statics.
    const ZERO: Self;
}

impl<const COUNT: usize> Room for Limbs<COUNT> {
    const ZERO: Self = Self([[0; N]; COUNT]);
}

impl<const COUNT: usize> AsRef<[Limb]> for Limbs<COUNT> {
    fn as_ref(&self) -> &[Limb] {
        &self.0
    }
}

impl<const COUNT: usize> AsMut<[Limb]> for Limbs<COUNT> {
    fn as_mut(&mut self) -> &mut [Limb] {
        &mut self.0
    }
}

impl<const COUNT: usize> Zeroize for Limbs<COUNT> {
    fn zeroize(&mut self) {
        wipe(&mut self.0);
    }
}

impl<const L: usize, R> Zeroize for Poly<L, R> {
    fn zeroize(&mut self) {
        wipe(&mut self.limbs);
    }
}

impl<const L: usize> Poly<L, Coeff> {
    /// The forward negacyclic transform modulo every prime, in place.
    pub fn forward(&mut self, k: &Kernels) -> &mut Poly<L, Eval> {
        for ((low, high), plan) in
            ntt::halves(&mut self.limbs, Rns::<L>::PARTS).zip(Rns::<L>::PLANS)
        {
            ntt::forward(k, low, high, plan);
        }
        retag(self)
    }

    /// The forward transform modulo every prime, plus a b, in place and in one pass.
    pub fn forward_mul_acc(
        &mut self,
        k: &Kernels,
        a: &Poly<L, Eval>,
        b: &Poly<L, Mont>,
    ) -> &mut Poly<L, Eval> {
        ntt::forward_mul_acc(k, &mut self.limbs, &a.limbs, &b.limbs, &Rns::<L>::PLANS);
        retag(self)
    }
}

impl<const L: usize> Poly<L, Eval> {
    /// The inverse transform modulo every prime, in place.
    pub fn inverse(&mut self, k: &Kernels) -> &mut Poly<L, Coeff> {
        for ((low, high), plan) in
            ntt::halves(&mut self.limbs, Rns::<L>::PARTS).zip(Rns::<L>::PLANS)
        {
            ntt::inverse(k, low, high, plan);
        }
        retag(self)
    }

    /// self = a b.
    pub fn set_product(&mut self, k: &Kernels, a: &Self, b: &Poly<L, Mont>) {
        for (((out, a), b), plan) in
            self.limbs.iter_mut().zip(&a.limbs).zip(&b.limbs).zip(Rns::<L>::PLANS)
        {
            (k.mul)(out, a, b, plan);
        }
    }

    /// self = self b.
    pub fn mul_assign(&mut self, k: &Kernels, b: &Poly<L, Mont>) {
        for ((out, b), plan) in self.limbs.iter_mut().zip(&b.limbs).zip(Rns::<L>::PLANS) {
            (k.mul_assign)(out, b, plan);
        }
    }

    /// self = self + a b.
    pub fn mul_acc(&mut self, k: &Kernels, a: &Self, b: &Poly<L, Mont>) {
        for (((out, a), b), plan) in
            self.limbs.iter_mut().zip(&a.limbs).zip(&b.limbs).zip(Rns::<L>::PLANS)
        {
            (k.mul_acc)(out, a, b, plan);
        }
    }

    /// Turns the values into a multiplicand, in place: one product with 2^64.
    pub fn to_mont(&mut self, k: &Kernels) -> &mut Poly<L, Mont> {
        for (limb, plan) in self.limbs.iter_mut().zip(Rns::<L>::PLANS) {
            (k.scale)(limb, plan.prime.r2(), plan);
        }
        retag(self)
    }
}

impl<const L: usize> Poly<L, Mont> {
    /// Takes the factor 2^32 off again, in place.
    pub fn to_eval(&mut self, k: &Kernels) -> &mut Poly<L, Eval> {
        for (limb, plan) in self.limbs.iter_mut().zip(Rns::<L>::PLANS) {
            (k.scale)(limb, 1, plan);
        }
        retag(self)
    }
}
