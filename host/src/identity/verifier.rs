//! Checks proofs.

use super::circuit::{Circuit, DEGREE, public_values};
use super::codec;
use super::params::{Config, circuit_id, config};
use super::statement::Statement;
use crate::error::{Error, Kind, Result};
use crate::shield::shield;
use chacha20::ChaCha20Rng;
use p3_air::symbolic::SymbolicAirBuilder;
use p3_air::{Air, BaseAir};
use p3_koala_bear::KoalaBear;
use p3_uni_stark::{VerifierConstraintFolder, verify};
use rand_core::SeedableRng;
use symbolon_core::attest::Digest;

/// Checks proofs, on any number of threads at once.
pub struct Verifier {
    config: Config,
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Verifier {
    /// A verifier. What takes time once is done here.
    #[must_use]
    pub fn new() -> Self {
        Self::of(circuit_id())
    }

    fn of(circuit: &Digest) -> Self {
        // Only provers draw from them.
        let rngs = [(); 3].map(|()| ChaCha20Rng::from_seed([0; 32]));
        Self { config: config(circuit, rngs) }
    }

    /// Checks that `proof` proves `statement`. Whether its root is a current one, its context this device's and
    /// its nullifier unused, is for the caller to say.
    ///
    /// Errors: `E-PROOF-FORMAT` for bytes that are no proof, whatever the statement; `E-PROOF` for one that does
    /// not prove this statement.
    pub fn verify(&self, statement: &Statement, proof: &[u8]) -> Result<()> {
        let public = public_values(statement);
        let valid = codec::decode(proof, |proof| {
            shield(|| verify(&self.config, &Pinned, proof, &public).is_ok())
        });
        match valid {
            Some(Some(true)) => Ok(()),
            Some(Some(false) | None) => {
                Err(Error::new(Kind::Proof, "the proof does not prove this statement"))
            }
            None => Err(Error::new(Kind::ProofFormat, "these bytes are no proof")),
        }
    }
}

/// The circuit, with its degree known. The library would derive it from the constraints at every call, which
/// takes as long as the rest: here its constraints are not shown as polynomials, and the degree is the hint's.
struct Pinned;

impl BaseAir<KoalaBear> for Pinned {
    fn width(&self) -> usize {
        Circuit.width()
    }

    fn num_public_values(&self) -> usize {
        Circuit.num_public_values()
    }

    fn max_constraint_degree(&self) -> Option<usize> {
        Some(DEGREE)
    }
}

impl Air<SymbolicAirBuilder<KoalaBear>> for Pinned {
    fn eval(&self, _: &mut SymbolicAirBuilder<KoalaBear>) {}
}

impl<'a> Air<VerifierConstraintFolder<'a, Config>> for Pinned {
    fn eval(&self, builder: &mut VerifierConstraintFolder<'a, Config>) {
        Circuit.eval(builder);
    }
}

#[cfg(test)]
mod tests {
    use super::super::circuit::{self, COLUMNS, DEPTH, PUBLIC, ROWS};
    use super::super::hash::{Node, Secret};
    use super::super::params::{self, LOG_DEGREE};
    use super::*;
    use p3_air::AirLayout;
    use p3_uni_stark::{
        get_log_num_quotient_chunks, get_symbolic_constraints, prove_with_preprocessed,
    };

    /// A proof by a circuit's id, in a tree of so many levels.
    fn prove(circuit: &Digest, levels: usize) -> (Statement, codec::Proof) {
        let secret = Secret::of_seed(&[5; Secret::SEED]);
        let (table, statement) =
            circuit::trace_of(levels, &secret, &Node::ZERO, &Node::ZERO, 0, &[]);
        let config = config(circuit, [1, 2, 3].map(|n| ChaCha20Rng::from_seed([n; 32])));
        let public = public_values(&statement);
        let proof = prove_with_preprocessed(&config, &Circuit, table, &public, None);
        (statement, proof.unwrap())
    }

    #[test]
    fn proofs_of_another_circuit_do_not_verify() {
        let mut other = *params::circuit_id();
        other[31] ^= 1;
        let (statement, proof) = prove(params::circuit_id(), DEPTH);
        let proof = codec::encode(proof);
        Verifier::new().verify(&statement, &proof).unwrap();
        assert_eq!(
            Verifier::of(&other).verify(&statement, &proof).unwrap_err().kind(),
            Kind::Proof
        );
        let (statement, proof) = prove(&other, DEPTH);
        let proof = codec::encode(proof);
        Verifier::of(&other).verify(&statement, &proof).unwrap();
        assert_eq!(Verifier::new().verify(&statement, &proof).unwrap_err().kind(), Kind::Proof);
    }

    /// In a tree of another depth leaves are where inner nodes are in ours. The library takes a table's height from the
    /// proof, and such a proof for good.
    #[test]
    fn proofs_of_another_height_do_not_verify() {
        let (statement, proof) = prove(params::circuit_id(), 2 * ROWS - 2);
        assert_eq!(proof.degree_bits, LOG_DEGREE + 1);
        let verifier = Verifier::new();
        let public = public_values(&statement);
        assert!(verify(&verifier.config, &Pinned, &proof, &public).is_ok(), "to the library it is");
        let error = verifier.verify(&statement, &codec::encode(proof)).unwrap_err();
        assert_eq!(error.kind(), Kind::ProofFormat);

        // Of a proof of the right height the bytes do not say it: another one is encoded the same.
        let (statement, mut proof) = prove(params::circuit_id(), DEPTH);
        assert_eq!(proof.degree_bits, LOG_DEGREE);
        proof.degree_bits += 1;
        let public = public_values(&statement);
        assert!(
            shield(|| verify(&verifier.config, &Pinned, &proof, &public).is_ok()) != Some(true)
        );
        verifier.verify(&statement, &codec::encode(proof)).unwrap();
    }

    /// The constraints are not shown as polynomials, so no degree is derived from them; it is the one that they have.
    #[test]
    fn the_degree_is_known_beforehand() {
        let layout =
            AirLayout { main_width: COLUMNS, num_public_values: PUBLIC, ..AirLayout::default() };
        assert!(get_symbolic_constraints(&Pinned, layout).is_empty());
        let chunks = [
            get_log_num_quotient_chunks(&Pinned, layout, ROWS, 1),
            get_log_num_quotient_chunks(&Circuit, layout, ROWS, 1),
        ];
        assert_eq!(chunks[0], chunks[1]);
    }
}
