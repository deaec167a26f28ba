//! Plaintexts: N words mod t, and what they can stand for.

use crate::ct;
use crate::error::Error;
use crate::kernel::Kernels;
use crate::ntt::{LOG_N, N};
use crate::place::wipe;
use crate::poly::{Coeff, Eval, Mont, Poly};
use crate::rns::Rns;
use crate::zt;
use bytemuck::Zeroable;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A polynomial mod t = 65537: N canonical coefficients for each of the ring's PARTS. Zeroised on
/// drop.
///
/// It may stand for slots (a product of plaintexts multiplies slot by slot), one for each coefficient,
/// in the transform's own order or in rows, or for its coefficients as they are.
#[derive(Zeroable, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub struct Plaintext<const PARTS: usize = 1> {
    pub(crate) coeffs: [[u32; N]; PARTS],
}

impl<const PARTS: usize> Zeroize for Plaintext<PARTS> {
    fn zeroize(&mut self) {
        wipe(&mut self.coeffs);
    }
}

/// Where the slots of the natural order are in the transform's: row 0, column j is the value at the
/// root's 3^j-th power, row 1 that at its inverse.
fn rows<const PARTS: usize>() -> impl Iterator<Item = usize> {
    let degree = (PARTS * N) as u32;
    let mut power = 1;
    (0..PARTS * N).map(move |i| {
        if i == PARTS * N / 2 {
            // The first row has gone once round: the second begins at -1.
            power = 2 * degree - 1;
        }
        let at = (power >> 1).reverse_bits() >> (u32::BITS - degree.ilog2());
        power = power * 3 % (2 * degree);
        at as usize
    })
}

impl<const PARTS: usize> Plaintext<PARTS> {
    /// Zero, for statics.
    pub const ZERO: Self = Self { coeffs: [[0; N]; PARTS] };

    const LAYERS: usize = {
        assert!(PARTS == 1 || PARTS == 2, "a ring has one or two parts");
        LOG_N + PARTS - 1
    };

    /// The coefficients, canonical.
    #[must_use]
    pub const fn coeffs(&self) -> &[u32] {
        self.coeffs.as_flattened()
    }

    /// Coefficients from signed values; missing ones are zero.
    ///
    /// # Errors
    /// [`Error::Length`] for more values than coefficients, [`Error::Range`] for one outside +-32768.
    /// `self` is unchanged then.
    pub fn encode_coeffs(&mut self, values: &[i32]) -> Result<(), Error> {
        check::<PARTS>(values)?;
        for (i, c) in self.coeffs.as_flattened_mut().iter_mut().enumerate() {
            *c = zt::canonical(values.get(i).copied().unwrap_or(0));
        }
        Ok(())
    }

    /// Slots in transform order from signed values; missing ones are zero.
    ///
    /// # Errors
    /// As [`Plaintext::encode_coeffs`].
    pub fn encode_slots(&mut self, k: &Kernels, values: &[i32]) -> Result<(), Error> {
        self.encode_coeffs(values)?;
        (k.plain_inverse)(self.coeffs.as_flattened_mut(), Self::LAYERS);
        Ok(())
    }

    /// Slots in natural order, which rotations turn: two rows, one after the other, of half the slots
    /// each. Missing ones are zero.
    ///
    /// # Errors
    /// As [`Plaintext::encode_coeffs`].
    pub fn encode_rows(&mut self, k: &Kernels, values: &[i32]) -> Result<(), Error> {
        check::<PARTS>(values)?;
        let slots = self.coeffs.as_flattened_mut();
        for (i, at) in rows::<PARTS>().enumerate() {
            if let Some(slot) = slots.get_mut(at) {
                *slot = zt::canonical(values.get(i).copied().unwrap_or(0));
            }
        }
        (k.plain_inverse)(slots, Self::LAYERS);
        Ok(())
    }

    /// The coefficients, centred in \[-32768, 32768\].
    ///
    /// # Errors
    /// [`Error::Length`] unless `out` holds all of them and no more.
    pub fn decode_coeffs(&self, out: &mut [i32]) -> Result<(), Error> {
        if out.len() != PARTS * N {
            return Err(Error::Length);
        }
        for (out, &c) in out.iter_mut().zip(self.coeffs()) {
            *out = zt::centre(c);
        }
        Ok(())
    }

    /// The slots in transform order, centred. `self` is the working space and holds zero afterwards.
    ///
    /// # Errors
    /// As [`Plaintext::decode_coeffs`]; `self` is unchanged then.
    pub fn decode_slots(&mut self, k: &Kernels, out: &mut [i32]) -> Result<(), Error> {
        if out.len() != PARTS * N {
            return Err(Error::Length);
        }
        (k.plain_forward)(self.coeffs.as_flattened_mut(), Self::LAYERS);
        self.decode_coeffs(out)?;
        self.zeroize();
        Ok(())
    }

    /// The slots in natural order, as [`Plaintext::encode_rows`] takes them, centred. `self` is the
    /// working space and holds zero afterwards.
    ///
    /// # Errors
    /// As [`Plaintext::decode_coeffs`]; `self` is unchanged then.
    pub fn decode_rows(&mut self, k: &Kernels, out: &mut [i32]) -> Result<(), Error> {
        if out.len() != PARTS * N {
            return Err(Error::Length);
        }
        (k.plain_forward)(self.coeffs.as_flattened_mut(), Self::LAYERS);
        for (out, at) in out.iter_mut().zip(rows::<PARTS>()) {
            if let Some(&slot) = self.coeffs().get(at) {
                *out = zt::centre(slot);
            }
        }
        self.zeroize();
        Ok(())
    }

    /// The multiplicand: coefficients lifted to their centred value, transformed, times 2^32.
    pub fn to_multiplicand<'a, const L: usize>(
        &self,
        k: &Kernels,
        out: &'a mut Poly<L, Coeff>,
    ) -> &'a mut Poly<L, Mont> {
        const { assert!(PARTS == Rns::<L>::PARTS, "plaintext and ciphertext of different degrees") }
        let parts = out.limbs.chunks_exact_mut(Rns::<L>::COUNT);
        for (limbs, coeffs) in parts.zip(&self.coeffs) {
            for (limb, plan) in limbs.iter_mut().zip(Rns::<L>::PLANS) {
                (k.lift_plain)(limb, coeffs, plan);
            }
        }
        out.forward(k).to_mont(k)
    }

    /// Adds round(Q m / t) = floor(Q/t) m + floor(((Q mod t) m + t/2) / t) to coefficients: the message
    /// at its place in a ciphertext. Exact: floor(Q/t) m alone would leave (Q mod t) m / t as noise,
    /// 20 bits of it after a product.
    pub(crate) fn add_scaled<const L: usize>(&self, k: &Kernels, out: &mut Poly<L, Coeff>) {
        const { assert!(PARTS == Rns::<L>::PARTS, "plaintext and ciphertext of different degrees") }
        let parts = out.limbs.chunks_exact_mut(Rns::<L>::COUNT);
        for (limbs, coeffs) in parts.zip(&self.coeffs) {
            for ((limb, plan), delta) in limbs.iter_mut().zip(Rns::<L>::PLANS).zip(Rns::<L>::DELTA)
            {
                (k.add_scaled)(limb, coeffs, delta, Rns::<L>::Q_MOD_T, plan);
            }
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

/// Whether values fit.
fn check<const PARTS: usize>(values: &[i32]) -> Result<(), Error> {
    if values.len() > PARTS * N {
        return Err(Error::Length);
    }
    let is_outside = |&v: &i32| v.wrapping_add(32_768).cast_unsigned() > 65_536;
    let outside = values.iter().fold(false, |any, v| any | is_outside(v));
    // Public: an error tells the caller, and no value that fits brings it about.
    if ct::public(outside) { Err(Error::Range) } else { Ok(()) }
}
