//! Decryption in full: every coefficient of the message.

use super::encode::Plaintext;
use super::encrypt::Ciphertext;
use super::keys::SecretKey;
use crate::kernel::Kernels;
use crate::place::retag;
use crate::poly::{Coeff, Eval, Poly};
use crate::rns::Rns;
use zeroize::Zeroize;

impl<const L: usize> SecretKey<L> {
    /// m = round(t (c0 + c1 s) / Q) mod t. `scratch` holds the phase on the way, zeros afterwards.
    ///
    /// Right where the noise is below Q/2t (1 - 2^-12); what lies beyond decrypts to something else
    /// without a sign. BFV has no integrity: see SECURITY.md before decrypting for others.
    pub fn decrypt<const PARTS: usize>(
        &self,
        k: &Kernels,
        ciphertext: &Ciphertext<L>,
        out: &mut Plaintext<PARTS>,
        scratch: &mut Poly<L, Coeff>,
    ) {
        const { assert!(PARTS == Rns::<L>::PARTS, "plaintext and ciphertext of different degrees") }
        self.phase(k, ciphertext, scratch);
        let parts = scratch.limbs.chunks_exact(Rns::<L>::COUNT);
        for (out, limbs) in out.coeffs.iter_mut().zip(parts) {
            (k.round)(out, limbs, &Rns::<L>::ROUNDING);
        }
        scratch.zeroize();
    }

    /// c0 + c1 s, as coefficients.
    pub(crate) fn phase(&self, k: &Kernels, ciphertext: &Ciphertext<L>, out: &mut Poly<L, Coeff>) {
        let w = retag::<L, Coeff, Eval>(out);
        w.set_product(k, &ciphertext.c1, &self.s);
        w.add_assign(k, &ciphertext.c0);
        w.inverse(k);
    }
}
