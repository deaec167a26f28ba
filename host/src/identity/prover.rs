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

#[cfg(test)]
mod tests {
    use super::super::circuit::ROWS;
    use super::super::hash::compress;
    use super::*;
    use p3_koala_bear::KoalaBear;
    use std::collections::HashMap;

    /// What is opened at a position depends on the table and on what hides it alone: of proofs of one statement that were
    /// hidden in the same way, some would open the same. With 16 of them two share a position 8 times, on average, and
    /// those that fold four into one 30 times.
    #[test]
    fn what_hides_is_drawn_for_every_proof() {
        const PROOFS: usize = 16;
        let credential = Credential::draw(b"attributes").unwrap();
        let context = Context { deployment: [1; 16], device: [2; 32], epoch: 3 };
        let root = (2..ROWS).fold(credential.leaf(), |node, _| compress(&node, &Node::ZERO));
        let place = Place { index: 0, siblings: &[], root };
        let prover = Prover::new();
        // Rows of the random polynomials, of the table and of the quotient's salts, and salts of what is folded.
        let mut seen = [(); 4].map(|()| HashMap::new());
        let mut again = [0; 4];
        for number in 0..PROOFS {
            let (_, proof) = prover.prove(&credential, &place, &context).unwrap();
            let mut note = |what: usize, row: &[Vec<KoalaBear>]| {
                let before = seen[what].insert(row.concat(), number);
                again[what] += usize::from(before.is_some_and(|before| before != number));
            };
            codec::decode(&proof, |proof| {
                let (_, fri) = &proof.opening_proof;
                let [random, table, quotient] = &fri.input_openings[..] else { panic!("three") };
                random.opened_values.iter().for_each(|row| note(0, row));
                table.opened_values.iter().for_each(|row| note(1, row));
                quotient.opening_proof.0.iter().for_each(|row| note(2, row));
                fri.commit_phase_openings[0].opening_proof.0.iter().for_each(|row| note(3, row));
            })
            .unwrap();
        }
        assert_eq!(again[..3], [0; 3]);
        // Salts of 31 bits may be equal by chance, but not so many.
        assert!(again[3] < 4, "{}", again[3]);
    }
}
