//! Makes proofs.

use super::circuit::{self, Circuit, DEPTH, public_values};
use super::codec;
use super::credential::Credential;
use super::hash::Node;
use super::params::{circuit_id, config};
use super::statement::{Context, Statement};
use super::verifier::Verifier;
use crate::error::{Error, Kind, Result};
use crate::random::random;
use chacha20::ChaCha20Rng;
use p3_uni_stark::prove_with_preprocessed;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

/// Where a credential's leaf stands in a tree, as its registry publishes it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Number of the leaf.
    pub index: u64,
    /// The siblings of the leaf and of what is above it, upward: one for each level of the tree, [`DEPTH`] at most.
    pub siblings: &'a [Node],
    /// The root, lifted to [`DEPTH`] levels.
    pub root: Node,
}

/// Makes proofs. It holds the tables that do not change from proof to proof, and nothing secret.
pub struct Prover {
    verifier: Verifier,
}

impl Default for Prover {
    fn default() -> Self {
        Self::new()
    }
}

impl Prover {
    /// A prover.
    #[must_use]
    pub fn new() -> Self {
        Self { verifier: Verifier::new() }
    }

    /// Proves that the credential's leaf is under the place's root, and which nullifier it has in `context`.
    /// Each proof is hidden by fresh randomness of the system: two proofs of a statement have nothing in common
    /// but the statement. A proof that does not verify is not given out.
    ///
    /// The seeds of the randomness are wiped; the table of the secret is not, nor its extensions, which the library
    /// takes by value and frees: a process that proves is to be a short-lived one, or one whose memory is not
    /// dumped.
    ///
    /// Errors: `E-PLACE` where the place does not lead from this credential's leaf to its root, `E-PROVING`,
    /// `E-ENTROPY`.
    pub fn prove(
        &self,
        credential: &Credential,
        place: &Place<'_>,
        context: &Context,
    ) -> Result<(Statement, Vec<u8>)> {
        let &Place { index, siblings, root } = place;
        let bad = |what: &str| Error::new(Kind::Place, what);
        if siblings.len() > DEPTH {
            return Err(bad(&format!("{} siblings are more than {DEPTH}", siblings.len())));
        }
        if index >> siblings.len() != 0 {
            return Err(bad("the leaf's number is beyond the tree"));
        }
        let secret = credential.secret();
        let attributes = credential.attributes();
        let (table, statement) =
            circuit::trace(&secret, attributes, &context.node(), index, siblings);
        if statement.root != root {
            let what = "this credential's leaf does not lead to the root: it was revoked or replaced, is not \
                        yet in a published tree, or the path is another's";
            return Err(bad(what));
        }
        let rng = || random().map(|seed| ChaCha20Rng::from_seed(*Zeroizing::new(seed)));
        let config = config(circuit_id(), [rng()?, rng()?, rng()?]);
        let public = public_values(&statement);
        let proof = prove_with_preprocessed(&config, &Circuit, table, &public, None)
            .map_err(|e| Error::new(Kind::Proving, format!("cannot prove: {e}")))?;
        let proof = codec::encode(proof);
        self.verifier
            .verify(&statement, &proof)
            .map_err(|_| Error::new(Kind::Proving, "the proof that was made does not verify"))?;
        Ok((statement, proof))
    }
}
