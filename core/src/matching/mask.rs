//! The zero-sum mask: the same decisions from a full decryption.
//!
//! For key holders that speak plain BFV. Probe and template are encoded slot by slot, so the product
//! holds p_i t_i; the matcher adds an encryption of a mask that is uniform but for one thing: each
//! user's slots sum to zero. The key holder decrypts all, sums each user's slots, and learns the
//! score only. Dearer than the fold: all of both components is sent, a full inverse transform and
//! the plaintext's transform are done.

use super::decide::{Decisions, Scores, Threshold};
use super::layout::Layout;
use crate::bfv::{Ciphertext, Plaintext, PublicKey, SecretKey, encrypt};
use crate::kernel::Kernels;
use crate::ntt::LOG_N;
use crate::poly::{Coeff, Mont, Poly};
use crate::sample::{Stream, Words};
use crate::zt;
use rand_core::CryptoRng;
use zeroize::Zeroize;

/// A plaintext whose slots are uniform mod t except that each user's sum to zero.
fn zero_sum(k: &Kernels, layout: Layout, stream: &mut Stream, out: &mut Plaintext) {
    let mut words = Words::new(k, stream);
    for block in out.coeffs.as_flattened_mut().chunks_exact_mut(layout.dims()) {
        let mut sum = 0i32;
        if let Some((first, rest)) = block.split_first_mut() {
            for slot in rest {
                *slot = uniform(&mut words);
                // At most 511 times 65536.
                sum += *slot as i32;
            }
            *first = zt::canonical(-sum);
        }
    }
    (k.plain_inverse)(out.coeffs.as_flattened_mut(), LOG_N);
}

/// Uniform mod t: 2^32 - 1 is a multiple of t, so only the word 2^32 - 1 is rejected.
fn uniform(words: &mut Words<'_>) -> u32 {
    loop {
        let x = words.next();
        if x != u32::MAX {
            return zt::canonical((x & 0xffff) as i32 - (x >> 16) as i32);
        }
    }
}

/// Multiplies a probe with templates (both from [`Layout::encode_slots`]) and adds a fresh
/// encryption of a fresh mask. `plain` and `scratch` are working space and hold zeros afterwards.
#[allow(clippy::too_many_arguments)]
pub fn masked<const L: usize, R: CryptoRng + ?Sized>(
    k: &Kernels,
    key: &PublicKey<L>,
    layout: Layout,
    probe: &Ciphertext<L>,
    templates: &Poly<L, Mont>,
    rng: &mut R,
    out: &mut Ciphertext<L>,
    plain: &mut Plaintext,
    scratch: &mut Poly<L, Coeff>,
) {
    zero_sum(k, layout, &mut Stream::from_rng(rng), plain);
    encrypt(k, key, plain, rng, out, scratch);
    plain.zeroize();
    out.c0.mul_acc(k, &probe.c0, templates);
    out.c1.mul_acc(k, &probe.c1, templates);
}

impl<const L: usize> SecretKey<L> {
    /// Decides a masked batch, as [`SecretKey::decide`] does a folded one. There is no refusal: the
    /// rounding of a full decryption leaves nothing to bound. `plain` and `scratch` hold zeros
    /// afterwards.
    #[allow(clippy::too_many_arguments)]
    pub fn decide_masked(
        &self,
        k: &Kernels,
        layout: Layout,
        masked: &Ciphertext<L>,
        lanes: u32,
        threshold: Threshold,
        plain: &mut Plaintext,
        scratch: &mut Poly<L, Coeff>,
    ) -> Decisions {
        let mut scores = Scores::ZERO;
        self.masked_scores(k, layout, masked, plain, scratch, &mut scores);
        scores.decide(lanes & layout.all_lanes(), threshold)
    }

    pub(crate) fn masked_scores(
        &self,
        k: &Kernels,
        layout: Layout,
        masked: &Ciphertext<L>,
        plain: &mut Plaintext,
        scratch: &mut Poly<L, Coeff>,
        out: &mut Scores,
    ) {
        self.decrypt(k, masked, plain, scratch);
        (k.plain_forward)(plain.coeffs.as_flattened_mut(), LOG_N);
        for (score, block) in out.scores.iter_mut().zip(plain.coeffs().chunks_exact(layout.dims()))
        {
            // 512 words below 2^17.
            *score = zt::centre(zt::canonical(block.iter().map(|&x| x as i32).sum()));
        }
        plain.zeroize();
        out.refused = 0;
    }
}
