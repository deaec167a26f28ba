//! How it is proven: fields, hashes, the low-degree test and its figures of security.

use super::circuit::{COLUMNS, CONSTRAINTS, Circuit, DEGREE, DEPTH, PUBLIC, ROWS};
use super::hash::{LEAF_TAG, NULLIFIER_TAG, PERMUTATION, WIDTH};
use crate::sha256::{BLOCK, INITIAL, PADDING, compress, pad, write};
use chacha20::ChaCha20Rng;
use p3_air::{Air, RowWindow};
use p3_challenger::{HashChallenger, SerializingChallenger32};
use p3_commit::ExtensionMmcs;
use p3_dft::Radix2DFTSmallBatch;
use p3_field::coset::TwoAdicMultiplicativeCoset;
use p3_field::extension::BinomialExtensionField;
use p3_field::integers::QuotientMap;
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField32};
use p3_fri::{FriParameters, HidingFriPcs};
use p3_koala_bear::KoalaBear;
use p3_matrix::dense::RowMajorMatrixView;
use p3_matrix::stack::VerticalPair;
use p3_merkle_tree::MerkleTreeHidingMmcs;
use p3_symmetric::{CryptographicHasher, Permutation, PseudoCompressionFunction};
use p3_uni_stark::{
    AirLayout, ConjecturedSecurity, LegacySecurity, OpeningShape, ProvenSecurity, StarkConfig,
    StarkSecurityParams, VerifierConstraintFolder,
};
use sha2::{Digest as _, Sha256};
use std::slice;
use std::sync::LazyLock;
use symbolon_core::attest::{Digest, Domain, hash};

/// Challenges: four elements, 124 bits.
pub type Challenge = BinomialExtensionField<KoalaBear, 4>;

/// SHA-256 of field elements and of the transcript.
#[derive(Clone, Copy, Debug)]
pub struct Sha;

impl CryptographicHasher<u8, [u8; 32]> for Sha {
    // The work asked of a prover is many short messages, which come this many at a time.
    const LANES: usize = 64;

    fn hash_iter<I: IntoIterator<Item = u8>>(&self, input: I) -> [u8; 32] {
        // A transcript drains its buffer: a copy of memory.
        let bytes: Vec<u8> = input.into_iter().collect();
        Sha256::digest(bytes).into()
    }

    fn hash_iter_slices<'a, I: IntoIterator<Item = &'a [u8]>>(&self, input: I) -> [u8; 32] {
        let mut hash = Sha256::new();
        input.into_iter().for_each(|slice| hash.update(slice));
        hash.finalize().into()
    }

    fn hash_many(&self, input: &[u8], out: &mut [[u8; 32]]) {
        let length = input.len().checked_div(out.len()).unwrap_or(0);
        // What one block holds with its padding.
        if !(1..=BLOCK - PADDING).contains(&length) {
            for (i, out) in out.iter_mut().enumerate() {
                *out = self.hash_slice(&input[i * length..][..length]);
            }
            return;
        }
        let mut padded = [0; BLOCK];
        pad(&mut padded, length, 0);
        // All are written before the first is read: a processor waits where it reads what it just wrote in parts.
        let mut blocks = [padded; 16];
        for (messages, out) in input.chunks(blocks.len() * length).zip(out.chunks_mut(blocks.len()))
        {
            for (block, message) in blocks.iter_mut().zip(messages.chunks_exact(length)) {
                block[..length].copy_from_slice(message);
            }
            for (block, out) in blocks.iter().zip(out) {
                *out = compressed(block);
            }
        }
    }
}

impl CryptographicHasher<KoalaBear, [u8; 32]> for Sha {
    // More than one, so that the library gives rows whole and not as iterators.
    const LANES: usize = 4;

    fn hash_iter<I: IntoIterator<Item = KoalaBear>>(&self, input: I) -> [u8; 32] {
        let elements: Vec<KoalaBear> = input.into_iter().collect();
        self.hash_slice(&elements)
    }

    fn hash_iter_slices<'a, I: IntoIterator<Item = &'a [KoalaBear]>>(&self, input: I) -> [u8; 32] {
        let mut hash = Sha256::new();
        // To hash them one by one would take several times as long.
        let mut bytes = [[0; 4]; BLOCK];
        for elements in input.into_iter().flat_map(|slice| slice.chunks(BLOCK)) {
            for (bytes, element) in bytes.iter_mut().zip(elements) {
                *bytes = element.to_unique_u32().to_le_bytes();
            }
            hash.update(bytes[..elements.len()].as_flattened());
        }
        hash.finalize().into()
    }
}

/// What SHA-256's compression function makes of its initial state and a block.
fn compressed(block: &[u8; BLOCK]) -> [u8; 32] {
    let (mut state, mut out) = (INITIAL, [0; 32]);
    compress(&mut state, slice::from_ref(block));
    write(&state, &mut out);
    out
}

/// SHA-256's compression function from its own initial state: one block, without padding, as the trees' nodes
/// are all of one length.
impl PseudoCompressionFunction<[u8; 32], 2> for Sha {
    fn compress(&self, input: [[u8; 32]; 2]) -> [u8; 32] {
        let mut block = [0; BLOCK];
        block.copy_from_slice(input.as_flattened());
        compressed(&block)
    }
}

/// Log of the size of the domain that polynomials are committed on, over their degree.
pub const LOG_BLOWUP: usize = 5;
/// Positions at which commitments are opened. A column hides as long as its 64 random values are no fewer
/// than 2 (17 + 4 * 2): what the queries and the two challenge points show of it.
pub const QUERIES: usize = 17;
/// Bits of work before the positions are drawn.
pub const GRINDING: usize = 17;
/// Log of how many values a round of folding makes one of.
pub const LOG_ARITY: usize = 2;
/// Log of the number of coefficients at which folding ends: one round of it leaves this many.
pub const LOG_FINAL: usize = 5;
/// Random polynomials committed beside each matrix: as many as a challenge has elements.
pub const MASKS: usize = EXTENSION;
/// Random elements hashed with each row of a matrix: 31 bits, which alone would not hide it. What does are random
/// values of its own. [`MASKS`] columns of the table, of a chunk and of the random matrix are random polynomials, of
/// degree 127 and shown at 25 points at most: a row which is not opened has 124 bits in them that nobody knows. What
/// is folded is as random as those, and a proof shows 32 + 3 * 17 of its 128 coefficients' worth: a row of it has three
/// values, 372 bits, that nobody knows.
pub const SALT: usize = 1;
/// Elements of a challenge: 124 bits.
pub const EXTENSION: usize = 4;
/// Log of the degree of what is committed: the table's rows, and as many random ones.
pub const LOG_DEGREE: usize = ROWS.ilog2() as usize + 1;
/// Parts that the quotient of constraints is committed in: DEGREE, doubled to hide it.
pub const CHUNKS: usize = 2 * DEGREE;

const FIELD_BITS: usize = 124;
const COLLISION_BITS: usize = 128;

pub(super) type ValMmcs = MerkleTreeHidingMmcs<KoalaBear, u8, Sha, Sha, ChaCha20Rng, 2, 32, SALT>;
pub(super) type ChallengeMmcs = ExtensionMmcs<KoalaBear, Challenge, ValMmcs>;
pub(super) type Challenger = SerializingChallenger32<KoalaBear, HashChallenger<u8, Sha, 32>>;
pub(super) type Pcs =
    HidingFriPcs<KoalaBear, Radix2DFTSmallBatch<KoalaBear>, ValMmcs, ChallengeMmcs, ChaCha20Rng>;
pub(super) type Config = StarkConfig<Pcs, Challenge, Challenger>;

/// The configuration of one proof, or of any number of verifications, of the circuit of this id. What hides the table is drawn from
/// `rngs`: a prover seeds them afresh for every proof, a verifier draws nothing from them.
pub(super) fn config(circuit: &Digest, rngs: [ChaCha20Rng; 3]) -> Config {
    let [salts, folded_salts, masks] = rngs;
    let fri = fri(ChallengeMmcs::new(ValMmcs::new(Sha, Sha, 0, folded_salts)));
    let mmcs = ValMmcs::new(Sha, Sha, 0, salts);
    let pcs = Pcs::new(Radix2DFTSmallBatch::default(), mmcs, fri, MASKS, masks);
    let transcript = HashChallenger::new(circuit.to_vec(), Sha);
    Config::new(pcs, SerializingChallenger32::new(transcript))
}

const fn fri<M>(mmcs: M) -> FriParameters<M> {
    FriParameters {
        log_blowup: LOG_BLOWUP,
        log_final_poly_len: LOG_FINAL,
        max_log_arity: LOG_ARITY,
        num_queries: QUERIES,
        batch_proof_of_work_bits: 0,
        commit_proof_of_work_bits: 0,
        query_proof_of_work_bits: GRINDING,
        mmcs,
    }
}

/// Version of what checks identity proofs, as statements of batches name it: circuit, parameters, and what a
/// [gate](super::gate) asks beside.
pub const VERIFIER: u32 = 1;

/// What a proof is bound to besides its statement: every transcript begins with it. The library's transcript
/// has the shape of the table but not the constraints, so that proofs of two circuits of one shape would be told
/// apart only by whether they verify.
///
/// The constraints go in by their value at a point that a hash gives (two systems of constraints that differ
/// agree there by chance in 2^-110), the permutation by an image. The rest are numbers.
#[must_use]
pub fn circuit_id() -> &'static Digest {
    static ID: LazyLock<Digest> = LazyLock::new(|| {
        const CIRCUIT: Domain = Domain::new("symbolon/identity-circuit/v1");
        let numbers = [
            ROWS,
            COLUMNS,
            PUBLIC,
            CONSTRAINTS,
            DEGREE,
            DEPTH,
            WIDTH,
            LEAF_TAG as usize,
            NULLIFIER_TAG as usize,
            LOG_BLOWUP,
            QUERIES,
            GRINDING,
            LOG_ARITY,
            LOG_FINAL,
            MASKS,
            SALT,
            EXTENSION,
        ];
        let numbers: Vec<u8> = numbers.iter().flat_map(|&n| (n as u64).to_le_bytes()).collect();
        let bytes = |elements: &[KoalaBear]| -> Vec<u8> {
            elements.iter().flat_map(|e| e.as_canonical_u32().to_le_bytes()).collect()
        };
        let image = PERMUTATION.permute([KoalaBear::ZERO; WIDTH]);
        let constraints = constraints_somewhere();
        hash(
            CIRCUIT,
            &[
                b"p3-uni-stark 0.8.0, hiding FRI, KoalaBear, x^4 - 3, SHA-256",
                &numbers,
                &bytes(&image),
                &bytes(constraints.as_basis_coefficients_slice()),
            ],
        )
    });
    &ID
}

/// All constraints, folded into one value, at a point that nobody chose.
fn constraints_somewhere() -> Challenge {
    let mut count = 0_u32;
    let mut element = || {
        count += 1;
        let digest: [u8; 32] = Sha.hash_iter(count.to_le_bytes());
        let [a, b, c, d, e, f, g, h, ..] = digest;
        KoalaBear::from_int(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    };
    let public = [(); PUBLIC].map(|()| element());
    let mut challenge = || Challenge::from_basis_coefficients_fn(|_| element());
    let row = [(); COLUMNS].map(|()| challenge());
    let next = [(); COLUMNS].map(|()| challenge());
    let rows = |top, bottom| {
        VerticalPair::new(RowMajorMatrixView::new_row(top), RowMajorMatrixView::new_row(bottom))
    };
    let mut folder = VerifierConstraintFolder::<Config> {
        main: rows(&row, &next),
        preprocessed: VerticalPair::new(
            RowMajorMatrixView::new(&[], 0),
            RowMajorMatrixView::new(&[], 0),
        ),
        preprocessed_window: RowWindow::from_two_rows(&[], &[]),
        periodic_values: &[],
        public_values: &public,
        is_first_row: challenge(),
        is_last_row: challenge(),
        is_transition: challenge(),
        alpha: challenge(),
        accumulator: Challenge::ZERO,
    };
    Circuit.eval(&mut folder);
    folder.accumulator
}

/// Bits of security against a prover who knows no secret, as p3-security computes them. The weakest step of
/// the protocol counts, of which none exceeds the 124 bits of the challenges or the 128 of SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Security {
    /// By ethSTARK's conjecture ([2021/582](https://eprint.iacr.org/2021/582)), up to the code's capacity: a
    /// query is worth LOG_BLOWUP bits, to which GRINDING come. Refuted for extreme parameters in 2025; no
    /// attack is known at these.
    pub ethstark: usize,
    /// By what of it is still conjectured, for random words
    /// ([2025/2010](https://eprint.iacr.org/2025/2010)). Its authors advise to rely on what is proven.
    pub random_words: usize,
    /// Proven, with codes decoded as far as Johnson's bound, where a query is worth a little less than
    /// LOG_BLOWUP / 2 bits
    /// ([2024/1553](https://eprint.iacr.org/2024/1553), [2026/2056](https://eprint.iacr.org/2026/2056)).
    pub johnson: usize,
    /// Proven, with codes decoded uniquely, where a query is worth a little less than one bit.
    pub unique: usize,
}

impl Security {
    /// What is said where there is room for one figure: of the conjectures the one that is not refuted.
    #[must_use]
    pub fn conjectured(&self) -> usize {
        self.random_words
    }

    /// What is proven, by whichever way proves more.
    #[must_use]
    pub fn proven(&self) -> usize {
        self.johnson.max(self.unique)
    }
}

/// The figures of these parameters and this circuit.
#[must_use]
pub fn security() -> Security {
    let fri = fri(());
    let layout =
        AirLayout { main_width: COLUMNS, num_public_values: PUBLIC, ..AirLayout::default() };
    // Two-adic: the field has roots of unity of order 2^24.
    let domain = TwoAdicMultiplicativeCoset::new(KoalaBear::ONE, LOG_DEGREE - 1);
    let Some(domain) = domain else {
        return Security { ethstark: 0, random_words: 0, johnson: 0, unique: 0 };
    };
    let params = StarkSecurityParams::from_air::<KoalaBear, Challenge, _>(
        fri.security_regime(),
        &Circuit,
        layout,
        domain,
        FIELD_BITS,
        COLLISION_BITS,
        2,
        OpeningShape::hiding(MASKS),
        fri.grinding_sites(),
    );
    let proven = ProvenSecurity::compute_from_proof(LOG_DEGREE, &params);
    Security {
        ethstark: LegacySecurity::compute_from_params(&params, LOG_DEGREE).security_bits,
        random_words: ConjecturedSecurity::compute_from_params(&params, LOG_DEGREE).security_bits,
        johnson: proven.list_decoding_bits,
        unique: proven.unique_decoding_bits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::hex;
    use p3_uni_stark::{get_log_num_quotient_chunks, get_symbolic_constraints};

    #[test]
    fn hashes_are_sha_256() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for length in [0, 1, 63, 64, 255, 256, 257, 1000] {
            let known: [u8; 32] = Sha256::digest(&bytes[..length]).into();
            assert_eq!(Sha.hash_iter(bytes[..length].iter().copied()), known, "{length}");
            let halves = bytes[..length].split_at(length / 2);
            assert_eq!(Sha.hash_iter_slices([halves.0, halves.1]), known, "{length}");
        }
        // Many of one length, in one block and in more.
        for length in [0, 1, 36, 55, 56, 64, 100] {
            for count in [0, 1, 5, 16, 17, 64] {
                let messages: Vec<u8> =
                    bytes.iter().copied().cycle().take(length * count).collect();
                let mut digests = vec![[0; 32]; count];
                Sha.hash_many(&messages, &mut digests);
                for (i, digest) in digests.iter().enumerate() {
                    let known: [u8; 32] = Sha256::digest(&messages[i * length..][..length]).into();
                    assert_eq!(*digest, known, "{i} of {count}, {length}");
                }
            }
        }
        let elements: Vec<_> = (0..157).map(KoalaBear::from_int).collect();
        let unique: Vec<u8> =
            elements.iter().flat_map(|e| e.to_unique_u32().to_le_bytes()).collect();
        let known: [u8; 32] = Sha256::digest(unique).into();
        assert_eq!(Sha.hash_iter(elements.iter().copied()), known);
        for at in [0, 1, 63, 64, 65, 157] {
            let halves = elements.split_at(at);
            assert_eq!(Sha.hash_iter_slices([halves.0, halves.1]), known, "{at}");
        }
        // A message of one block, with its padding.
        let mut block = [0; 64];
        block[..4].copy_from_slice(b"abc\x80");
        block[63] = 24;
        let halves = [0, 32].map(|at| block[at..][..32].try_into().unwrap());
        assert_eq!(Sha.compress(halves), <[u8; 32]>::from(Sha256::digest(b"abc")));
    }

    #[test]
    fn what_is_said_of_the_circuit_holds() {
        let layout =
            AirLayout { main_width: COLUMNS, num_public_values: PUBLIC, ..AirLayout::default() };
        let constraints = get_symbolic_constraints(&Circuit, layout);
        assert_eq!(constraints.len(), CONSTRAINTS);
        let degrees: Vec<_> = constraints.iter().map(|c| c.degree_multiple()).collect();
        assert_eq!(degrees.iter().max(), Some(&DEGREE));
        let chunks = get_log_num_quotient_chunks(&Circuit, layout, ROWS, 1) + 1;
        assert_eq!(1 << chunks, CHUNKS);
    }

    #[test]
    fn the_circuit_is_known_by_its_id() {
        // Another id means that no older proof verifies: a new circuit or new parameters.
        let known = "0663f183841fd59bdf7ca8adcbf36d0024e6a3cce1fde50bc03963c92d3e4539";
        assert_eq!(hex(circuit_id()), known);
    }

    #[test]
    fn security_is_what_the_documents_say() {
        let known = Security { ethstark: 102, random_words: 100, johnson: 59, unique: 33 };
        assert_eq!(security(), known);
        assert_eq!((known.conjectured(), known.proven()), (100, 59));
        // By hand: what the queries are worth, under the conjecture and up to Johnson's bound, where a query
        // is worth half as much, less a little.
        assert!(LOG_BLOWUP * QUERIES + GRINDING >= known.ethstark);
        assert!(LOG_BLOWUP * QUERIES / 2 + GRINDING >= known.johnson);
        assert!(QUERIES + GRINDING >= known.unique);
        // Hiding: no fewer random values than twice what is shown.
        const { assert!(2 * (QUERIES + 2 * EXTENSION) <= ROWS) };
    }
}
