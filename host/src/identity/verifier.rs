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
    use super::super::codec;
    use super::super::hash::{Node, Secret};
    use super::super::{circuit, params};
    use super::*;
    use p3_uni_stark::prove_with_preprocessed;

    #[test]
    fn proofs_of_another_circuit_do_not_verify() {
        let secret = Secret::of_seed(&[5; Secret::SEED]);
        let (table, statement) = circuit::trace(&secret, &Node::ZERO, &Node::ZERO, 0, &[]);
        let mut other = *params::circuit_id();
        other[31] ^= 1;
        let public = public_values(&statement);
        let prove = |circuit| {
            let config = config(circuit, [1, 2, 3].map(|n| ChaCha20Rng::from_seed([n; 32])));
            let proof = prove_with_preprocessed(&config, &Circuit, table.clone(), &public, None);
            codec::encode(proof.unwrap())
        };
        let proof = prove(params::circuit_id());
        Verifier::new().verify(&statement, &proof).unwrap();
        assert_eq!(
            Verifier::of(&other).verify(&statement, &proof).unwrap_err().kind(),
            Kind::Proof
        );
        let proof = prove(&other);
        Verifier::of(&other).verify(&statement, &proof).unwrap();
        assert_eq!(Verifier::new().verify(&statement, &proof).unwrap_err().kind(), Kind::Proof);
    }
}
