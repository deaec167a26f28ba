//! The custodian's work: a few values decrypted, compared, one bit each.

use super::fold::Folded;
use super::layout::{Layout, MAX_USERS};
use crate::bfv::SecretKey;
use crate::error::Error;
use crate::kernel::Kernels;
use crate::place::wipe;
use crate::rns::Rns;
use crate::zt::{self, T};

/// The score from which on a probe is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Threshold(i32);

impl Threshold {
    /// The least score for a cosine of at least `cosine`: ceil(cosine S^2), S as
    /// [`Layout::scale`].
    ///
    /// # Errors
    /// [`Error::Threshold`] unless `cosine` is finite and within \[-1, 1\].
    pub fn from_cosine(layout: Layout, cosine: f64) -> Result<Self, Error> {
        if !(-1.0..=1.0).contains(&cosine) {
            return Err(Error::Threshold);
        }
        let square = f64::from(layout.scale() * layout.scale());
        Ok(Self(libm::ceil(cosine * square) as i32))
    }

    /// The least accepted score.
    #[must_use]
    pub const fn score(self) -> i32 {
        self.0
    }
}

/// One bit a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Decisions {
    /// Bit i: lane i is accepted. Clear for lanes not in use and for all lanes of a refused batch.
    pub accepted: u32,
    /// A value exceeded the bound that honest inputs keep, so the whole batch was rejected. For the
    /// custodian's own counters: to others a refusal is an ordinary reject.
    pub refused: bool,
}

/// The secret scores of a batch, zeroised on drop.
pub(crate) struct Scores {
    pub(crate) scores: [i32; MAX_USERS],
    /// Zero, or all ones where a value is beyond Q/8.
    pub(crate) refused: u32,
}

impl Drop for Scores {
    fn drop(&mut self) {
        wipe(&mut self.scores);
    }
}

impl Scores {
    pub(crate) const ZERO: Self = Self { scores: [0; MAX_USERS], refused: 0 };

    /// Compares in constant time: the sign bit of score - threshold, both far below 2^30.
    pub(crate) fn decide(&self, lanes: u32, threshold: Threshold) -> Decisions {
        let mut accepted = 0u32;
        for (lane, &score) in self.scores.iter().enumerate() {
            let below = ((score - threshold.0) as u32) >> 31;
            accepted |= (below ^ 1) << lane;
        }
        Decisions { accepted: accepted & lanes & !self.refused, refused: self.refused != 0 }
    }
}

impl<const L: usize> Rns<L> {
    /// t / N mod q_i: takes the block sums' d and the small transform's `users` off and moves the
    /// message to the low end.
    const T_OVER_N: [u32; L] = {
        let mut c = [0; L];
        let mut i = 0;
        while i < L {
            let p = Self::PRIMES[i];
            c[i] = p.mul(T, p.inv(crate::ntt::N as u32));
            i += 1;
        }
        c
    };

    /// (-Q)^-1 mod t, centred: from a low-end value back to its message.
    const LOW_END: i32 = zt::centre(T - zt::inv(Self::Q_MOD_T));

    /// The static bound on a low-end value.
    pub(crate) const REFUSE: i128 = (Self::Q / 8) as i128;
}

impl<const L: usize> SecretKey<L> {
    /// Decides a folded batch: bit i of the result is set where lane i is in `lanes` and its score
    /// reaches the threshold. Constant time in everything but the layout.
    ///
    /// With w = c0 + c1 s = (Q m + noise) / t, the value v = t w mod Q is small and v = -Q m mod t
    /// ("low end"), so no rounding is needed. Honest batches keep |v| far below Q/8; where one value
    /// does not, every lane is rejected.
    #[must_use]
    pub fn decide(
        &self,
        k: &Kernels,
        folded: &Folded<L>,
        lanes: u32,
        threshold: Threshold,
    ) -> Decisions {
        let mut scores = Scores::ZERO;
        self.scores(k, folded, &mut scores);
        scores.decide(lanes & folded.layout.all_lanes(), threshold)
    }

    /// In place: what is returned by value may be copied, and copies are not wiped.
    pub(crate) fn scores(&self, k: &Kernels, folded: &Folded<L>, out: &mut Scores) {
        let users = folded.layout.users();
        let mut values = [0; MAX_USERS];
        self.low_end(k, folded, &mut values);
        let mut refused = 0u32;
        let mut messages = [0u32; MAX_USERS];
        for (message, v) in messages.iter_mut().zip(&values) {
            // The sign bit of bound - |v|.
            let magnitude = (v ^ (v >> 127)) - (v >> 127);
            refused |= ((Rns::<L>::REFUSE - magnitude) >> 127) as u32;
            *message = zt::canonical(zt::centre(zt::residue(*v)) * Rns::<L>::LOW_END);
        }
        wipe(&mut values);
        if let Some(messages) = messages.get_mut(..users) {
            (k.plain_forward)(messages, folded.layout.layers());
        }
        for (score, &message) in out.scores.iter_mut().zip(&messages) {
            *score = zt::centre(message);
        }
        wipe(&mut messages);
        out.refused = refused;
    }

    /// v = t (c0 + c1 s) mod Q, centred, at the coefficients 0, d, 2d, ..; zero beyond `users`.
    pub(crate) fn low_end(&self, k: &Kernels, folded: &Folded<L>, values: &mut [i128; MAX_USERS]) {
        let users = folded.layout.users();
        let mut residues = [[0u32; MAX_USERS]; L];
        for (((((out, sums), c1), s), plan), factor) in residues
            .iter_mut()
            .zip(&folded.sums)
            .zip(&folded.c1.limbs)
            .zip(&self.s.limbs)
            .zip(Rns::<L>::PLANS)
            .zip(Rns::<L>::T_OVER_N)
        {
            let Some(out) = out.get_mut(..users) else { continue };
            (k.block_sums)(out, c1, s, plan);
            for (out, &sum) in out.iter_mut().zip(sums) {
                *out = plan.prime.add(*out, sum);
            }
            (k.inverse_small)(out, plan);
            for out in out {
                *out = plan.prime.mul(*out, factor);
            }
        }
        for (i, value) in values.iter_mut().enumerate() {
            *value = Rns::<L>::lift(residues.each_ref().map(|limb| limb[i]));
        }
        wipe(&mut residues);
    }
}
