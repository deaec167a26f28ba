//! Scores, for a laboratory: in builds with the feature `lab` alone.
//!
//! Whoever is told scores finds a template by climbing from answer to answer, and learns of the secret key. So this is for
//! choosing a threshold, with people who know, and keys and templates that are thrown away afterwards.

use super::{Custodian, Epoch};
use symbolon_core::bfv::noise::folded_scores;
use symbolon_core::matching::{Decisions, Folded, MAX_USERS};

/// The cosines of a batch's lanes; nothing of a batch that was refused.
pub type Scores = Option<[f64; MAX_USERS]>;

impl<const L: usize> Custodian<L> {
    /// The scores of a batch that was decided so.
    pub fn scores(&self, epoch: &Epoch<L>, folded: &Folded<L>, decisions: Decisions) -> Scores {
        (!decisions.refused).then(|| {
            let (scores, _) = folded_scores(self.kernels, epoch.secret(), folded);
            let scale = f64::from(folded.layout().scale());
            scores.map(|score| f64::from(score) / (scale * scale))
        })
    }
}
