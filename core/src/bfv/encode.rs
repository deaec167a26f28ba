//! Plaintexts: N words mod t, and what they can stand for.

use crate::error::Error;
use crate::kernel::Kernels;
use crate::ntt::{LOG_N, N};
use crate::place::wipe;
use crate::poly::{Coeff, Eval, Mont, Poly};
use crate::rns::Rns;
use crate::zt;
use bytemuck::Zeroable;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A polynomial mod t = 65537: N canonical coefficients. Zeroised on drop.
///
/// It may stand for N slots (a product of plaintexts multiplies slot by slot), in the transform's
/// own order, or for its coefficients as they are.
#[derive(Zeroable, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub struct Plaintext {
    pub(crate) coeffs: [u32; N],
}

impl Zeroize for Plaintext {
    fn zeroize(&mut self) {
        wipe(&mut self.coeffs);
    }
}

impl Plaintext {
    /// Zero, for statics.
    pub const ZERO: Self = Self { coeffs: [0; N] };

    /// The coefficients, canonical.
    #[must_use]
    pub const fn coeffs(&self) -> &[u32; N] {
        &self.coeffs
    }

    /// Coefficients from signed values; missing ones are zero.
    ///
    /// # Errors
    /// [`Error::Length`] for more than N values, [`Error::Range`] for one outside +-32768.
    /// `self` is unchanged then.
    pub fn encode_coeffs(&mut self, values: &[i32]) -> Result<(), Error> {
        if values.len() > N {
            return Err(Error::Length);
        }
        if values.iter().any(|&v| !(-32_768..=32_768).contains(&v)) {
            return Err(Error::Range);
        }
        for (i, c) in self.coeffs.iter_mut().enumerate() {
            *c = zt::canonical(values.get(i).copied().unwrap_or(0));
        }
        Ok(())
    }

    /// Slots from signed values; missing ones are zero.
    ///
    /// # Errors
    /// As [`Plaintext::encode_coeffs`].
    pub fn encode_slots(&mut self, k: &Kernels, values: &[i32]) -> Result<(), Error> {
        self.encode_coeffs(values)?;
        (k.plain_inverse)(&mut self.coeffs, LOG_N);
        Ok(())
    }

    /// The coefficients, centred in \[-32768, 32768\].
    pub fn decode_coeffs(&self, out: &mut [i32; N]) {
        for (out, &c) in out.iter_mut().zip(&self.coeffs) {
            *out = zt::centre(c);
        }
    }

    /// The slots, centred. `self` is the working space and holds zero afterwards.
    pub fn decode_slots(&mut self, k: &Kernels, out: &mut [i32; N]) {
        (k.plain_forward)(&mut self.coeffs, LOG_N);
        self.decode_coeffs(out);
        self.zeroize();
    }

    /// The multiplicand: coefficients lifted to their centred value, transformed, times 2^32.
    pub fn to_multiplicand<'a, const L: usize>(
        &self,
        k: &Kernels,
        out: &'a mut Poly<L, Coeff>,
    ) -> &'a mut Poly<L, Mont> {
        for (limb, plan) in out.limbs.iter_mut().zip(Rns::<L>::PLANS) {
            (k.lift_plain)(limb, &self.coeffs, plan);
        }
        out.forward(k).to_mont(k)
    }

    /// Adds round(Q m / t) = floor(Q/t) m + floor(((Q mod t) m + t/2) / t) to coefficients: the message
    /// at its place in a ciphertext. Exact: floor(Q/t) m alone would leave (Q mod t) m / t as noise,
    /// 20 bits of it after a product.
    pub(crate) fn add_scaled<const L: usize>(&self, k: &Kernels, out: &mut Poly<L, Coeff>) {
        for ((limb, plan), delta) in out.limbs.iter_mut().zip(Rns::<L>::PLANS).zip(Rns::<L>::DELTA)
        {
            (k.add_scaled)(limb, &self.coeffs, delta, Rns::<L>::Q_MOD_T, plan);
        }
    }

    /// The scaled message in evaluation form, for additions to a ciphertext.
    pub fn to_addend<'a, const L: usize>(
        &self,
        k: &Kernels,
        out: &'a mut Poly<L, Coeff>,
    ) -> &'a mut Poly<L, Eval> {
        out.limbs = [[0; N]; L];
        self.add_scaled(k, out);
        out.forward(k)
    }
}
