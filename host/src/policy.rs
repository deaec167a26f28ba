//! The settings that a decision was taken under, as one digest in every batch statement.
//!
//! The digest is [`hash`] under [`Domain::POLICY`] of this text, each line ended by a line feed, numbers
//! in decimal without leading zeros:
//!
//! ```text
//! symbolon policy 1
//! params Q54
//! mode sealed-probe
//! dims 128
//! threshold 15313
//! ```
//!
//! `params` is the parameter set's name; `dims` the dimensions with padding, 128, 256 or 512; `threshold` the
//! least quantised score that is accepted. A relying party that trusts some settings writes the same
//! text and compares digests. A setting that is added changes the first line's number.

use symbolon_core::attest::{Digest, Domain, hash};
use symbolon_core::matching::{Layout, Threshold};

/// The canonical text.
pub fn text(params: &str, layout: Layout, threshold: Threshold) -> String {
    let (dims, score) = (layout.dims(), threshold.score());
    format!(
        "symbolon policy 1\nparams {params}\nmode sealed-probe\ndims {dims}\nthreshold {score}\n"
    )
}

/// The digest of the text.
pub fn digest(params: &str, layout: Layout, threshold: Threshold) -> Digest {
    hash(Domain::POLICY, &[text(params, layout, threshold).as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_it_is_said_to_be() {
        let threshold = Threshold::from_cosine(Layout::D128, 0.5).unwrap();
        let want = "symbolon policy 1\nparams Q54\nmode sealed-probe\ndims 128\nthreshold 15313\n";
        assert_eq!(text("Q54", Layout::D128, threshold), want);
        let this = digest("Q54", Layout::D128, threshold);
        let other = Threshold::from_cosine(Layout::D128, 0.501).unwrap();
        assert_ne!(this, digest("Q54", Layout::D128, other));
        assert_ne!(this, digest("Q81", Layout::D128, threshold));
        assert_ne!(this, digest("Q54", Layout::D256, threshold));
    }
}
