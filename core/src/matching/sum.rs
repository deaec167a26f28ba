//! Matching by rotating and adding: the older way, for results that leave the custodian's hands.
//!
//! The product of a probe and templates holds, in the slots of each user's block, values whose sum is
//! d times the score (d components, padded). Adding the block's rotations of itself to it leaves d
//! times the score in every slot of the block, and nothing else in the whole plaintext: whoever
//! decrypts it sees scores alone, by plain BFV. It costs 7 key switches (8 with 256 components, 9 with
//! 512), where the fold costs none.
//!
//! For Q81. Adding up multiplies what noise the product has by d, which at Q54 would leave some one
//! batch in a hundred wrong: there it does not compile.
//!
//! The result is re-randomised, but its noise is not flooded, and noise tells the key holder about
//! templates; [`mod@super::fold`] floods.

use super::decide::{Decisions, Scores, Threshold};
use super::layout::Layout;
use crate::bfv::{
    Ciphertext, GaloisKey, Hoisted, Plaintext, Q54, Rotation, SecretKey, Switch, Zero,
};
use crate::error::Error;
use crate::kernel::Kernels;
use crate::ntt::LOG_N;
use crate::poly::{Coeff, Mont, Poly};
use crate::rns::Rns;
use crate::zt;
use zeroize::Zeroize;

impl Layout {
    /// The rotations that take each block's slots through one another: by 2048 / d times 1, 2, 4, ..
    /// One Galois key each; [`Layout::D512`]'s serve the others.
    pub fn rotations(self) -> impl ExactSizeIterator<Item = Rotation> {
        let (first, count) = (2048 / self.dims() as i32, self.dims().ilog2() as usize);
        (0..count).map(move |i| Rotation::Rows(first << i))
    }
}

/// Matches a batch: probe times templates, each user's block summed in all its slots, re-randomised by
/// an encryption of zero, which is used up. `keys` are those of [`Layout::rotations`], in any order.
/// `templates` come from [`Layout::encode_templates`]. `space` and `scratch` are working space.
///
/// # Errors
/// [`Error::Keys`] where a key is missing, or one too many; [`Error::ZeroUsed`] if the encryption of
/// zero has served before. Either before anything is done.
#[allow(clippy::too_many_arguments)]
pub fn summed<const L: usize>(
    k: &Kernels,
    layout: Layout,
    probe: &Ciphertext<L>,
    templates: &Poly<L, Mont>,
    keys: &[&GaloisKey<L>],
    zero: &mut Zero<L>,
    out: &mut Ciphertext<L>,
    space: &mut Hoisted<L>,
    scratch: &mut Poly<L, Coeff>,
) -> Result<(), Error>
where
    Rns<L>: Switch,
{
    const { assert!(L != Q54, "Q54 does not hold the noise of a product, summed") }
    let is_served = |r: Rotation| keys.iter().any(|key| key.element() == r.element::<L>());
    if keys.len() != layout.rotations().len() || !layout.rotations().all(is_served) {
        return Err(Error::Keys);
    }
    let zero = zero.take()?;
    out.copy_from(probe);
    out.multiply_plain(k, templates);
    out.rotate_sum(k, keys.iter().copied(), space, scratch);
    out.add_assign(k, zero);
    Ok(())
}

impl<const L: usize> SecretKey<L> {
    /// Decides a summed batch, as [`SecretKey::decide`] does a folded one. There is no refusal: the
    /// rounding of a full decryption leaves nothing to bound. `plain` and `scratch` hold zeros
    /// afterwards.
    #[allow(clippy::too_many_arguments)]
    pub fn decide_summed(
        &self,
        k: &Kernels,
        layout: Layout,
        summed: &Ciphertext<L>,
        lanes: u32,
        threshold: Threshold,
        plain: &mut Plaintext,
        scratch: &mut Poly<L, Coeff>,
    ) -> Decisions {
        let mut scores = Scores::ZERO;
        self.summed_scores(k, layout, summed, plain, scratch, &mut scores);
        scores.decide(lanes & layout.all_lanes(), threshold)
    }

    pub(crate) fn summed_scores(
        &self,
        k: &Kernels,
        layout: Layout,
        summed: &Ciphertext<L>,
        plain: &mut Plaintext,
        scratch: &mut Poly<L, Coeff>,
        out: &mut Scores,
    ) {
        self.decrypt(k, summed, plain, scratch);
        (k.plain_forward)(plain.coeffs.as_flattened_mut(), LOG_N);
        // 1/d = -2^16/d mod t.
        let inverse = -((1 << 16) / layout.dims() as i32);
        let blocks = plain.coeffs().chunks_exact(layout.dims());
        for (score, block) in out.scores.iter_mut().zip(blocks) {
            for &slot in block.iter().take(1) {
                *score = zt::centre(zt::canonical(zt::centre(slot) * inverse));
            }
        }
        plain.zeroize();
        out.refused = 0;
    }
}
