//! A proof as bytes: every number of values is fixed by the parameters, so that no byte says one, but for the
//! digests of a tree that queries do not share. What decodes has the one right shape, and encodes to the same
//! bytes. Elements are canonical, 4 bytes, little-endian; a list of digests has its length before it, 2 bytes.
//!
//! The library's serde format takes a quarter more bytes, skips trailing ones, and has lengths from the prover.

use super::circuit::COLUMNS;
use super::params::{
    CHUNKS, Challenge, Config, EXTENSION, LOG_ARITY, LOG_DEGREE, LOG_FINAL, MASKS, QUERIES, SALT,
};
use p3_field::integers::QuotientMap;
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField32};
use p3_fri::{BatchMultiOpening, CommitPhaseMultiStep, FriProof};
use p3_koala_bear::KoalaBear;
use p3_merkle_tree::PrunedMerklePaths;
use p3_symmetric::MerkleCap;
use p3_uni_stark::{Commitments, OpenedValues};
use std::cell::RefCell;

pub(super) type Proof = p3_uni_stark::Proof<Config>;
type Cap = MerkleCap<KoalaBear, [u8; 32]>;
type Paths = PrunedMerklePaths<u8, 32>;

/// No proof is longer. Most have 37 to 38.5 KB; the longest, whose queries share no digest, has 39,628 bytes.
pub const MAX_PROOF_SIZE: usize = 48 * 1024;

const FOLDS: usize = (LOG_DEGREE - LOG_FINAL).div_ceil(LOG_ARITY);
// One round goes all the way.
const _: () = assert!(FOLDS == 1 && LOG_FINAL + LOG_ARITY == LOG_DEGREE);

/// Widths of the matrices of each commitment in the order that they are opened in: what hides the batch, the
/// table, the quotient's chunks.
const RANDOM: [usize; 1] = [EXTENSION + MASKS];
const TABLE: [usize; 1] = [COLUMNS + MASKS];
const QUOTIENT: [usize; CHUNKS] = [EXTENSION + MASKS; CHUNKS];

/// A proof's bytes.
pub(super) fn encode(mut proof: Proof) -> Vec<u8> {
    let mut writer = Writer(Vec::with_capacity(MAX_PROOF_SIZE));
    // A writer takes everything.
    let _ = walk(&mut proof, &mut writer);
    writer.0
}

/// What `then` makes of the proof of these bytes; `None` where they are not the encoding of one.
///
/// A proof has many small parts, and to allocate them takes longer than to read them: each thread keeps one.
pub(super) fn decode<T>(bytes: &[u8], then: impl FnOnce(&Proof) -> T) -> Option<T> {
    thread_local!(static PROOF: RefCell<Proof> = RefCell::new(blank()));
    if bytes.len() > MAX_PROOF_SIZE {
        return None;
    }
    PROOF.with_borrow_mut(|proof| {
        let mut reader = Reader(bytes);
        walk(proof, &mut reader)?;
        reader.0.is_empty().then(|| then(proof))
    })
}

trait Visit {
    fn element(&mut self, element: &mut KoalaBear) -> Option<()>;
    fn digest(&mut self, digest: &mut [u8; 32]) -> Option<()>;
    fn digests(&mut self, digests: &mut Vec<[u8; 32]>) -> Option<()>;
}

struct Writer(Vec<u8>);

impl Visit for Writer {
    fn element(&mut self, element: &mut KoalaBear) -> Option<()> {
        self.0.extend(element.as_canonical_u32().to_le_bytes());
        Some(())
    }

    fn digest(&mut self, digest: &mut [u8; 32]) -> Option<()> {
        self.0.extend(&*digest);
        Some(())
    }

    fn digests(&mut self, digests: &mut Vec<[u8; 32]>) -> Option<()> {
        self.0.extend(u16::try_from(digests.len()).ok()?.to_le_bytes());
        digests.iter_mut().try_for_each(|digest| self.digest(digest))
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }
}

impl Visit for Reader<'_> {
    fn element(&mut self, element: &mut KoalaBear) -> Option<()> {
        *element = KoalaBear::from_canonical_checked(u32::from_le_bytes(*self.take()?))?;
        Some(())
    }

    fn digest(&mut self, digest: &mut [u8; 32]) -> Option<()> {
        *digest = *self.take()?;
        Some(())
    }

    fn digests(&mut self, digests: &mut Vec<[u8; 32]>) -> Option<()> {
        let count = usize::from(u16::from_le_bytes(*self.take()?));
        let (taken, rest) = self.0.split_at_checked(count.checked_mul(32)?)?;
        digests.clear();
        digests.extend_from_slice(taken.as_chunks().0);
        self.0 = rest;
        Some(())
    }
}

/// Every value of a proof, in the order of the encoding.
fn walk<V: Visit>(proof: &mut Proof, v: &mut V) -> Option<()> {
    let Proof {
        commitments: Commitments { trace, quotient_chunks, random },
        opened_values: opened,
        opening_proof: (masks, fri),
        // Fixed, or zero since no work is asked for there.
        degree_bits: _,
        ood_pow_witness: _,
    } = proof;
    for commitment in [trace, quotient_chunks, random.as_mut()?] {
        cap(commitment, v)?;
    }
    challenges(&mut opened.trace_local, v)?;
    challenges(opened.trace_next.as_mut()?, v)?;
    opened.quotient_chunks.iter_mut().try_for_each(|chunk| challenges(chunk, v))?;
    challenges(opened.random.as_mut()?, v)?;
    masks.iter_mut().flatten().flatten().try_for_each(|point| challenges(point, v))?;
    fri.commit_phase_commits.iter_mut().try_for_each(|commitment| cap(commitment, v))?;
    challenges(&mut fri.final_poly, v)?;
    v.element(&mut fri.query_pow_witness)?;
    for BatchMultiOpening { opened_values, opening_proof } in &mut fri.input_openings {
        opened_values.iter_mut().flatten().flatten().try_for_each(|value| v.element(value))?;
        paths(opening_proof, v)?;
    }
    for CommitPhaseMultiStep { sibling_values, opening_proof } in &mut fri.commit_phase_openings {
        sibling_values.iter_mut().try_for_each(|values| challenges(values, v))?;
        paths(opening_proof, v)?;
    }
    Some(())
}

fn cap(cap: &mut Cap, v: &mut impl Visit) -> Option<()> {
    let mut root = *cap.roots().first()?;
    v.digest(&mut root)?;
    *cap = Cap::from(vec![root]);
    Some(())
}

fn challenges(values: &mut [Challenge], v: &mut impl Visit) -> Option<()> {
    for value in values {
        let mut coefficients = [KoalaBear::ZERO; EXTENSION];
        coefficients.copy_from_slice(value.as_basis_coefficients_slice());
        coefficients.iter_mut().try_for_each(|element| v.element(element))?;
        *value = Challenge::new(coefficients);
    }
    Some(())
}

fn paths((salts, paths): &mut (Vec<Vec<Vec<KoalaBear>>>, Paths), v: &mut impl Visit) -> Option<()> {
    salts.iter_mut().flatten().flatten().try_for_each(|element| v.element(element))?;
    v.digests(&mut paths.sibling_hashes)
}

/// A proof of the one shape, all zero.
fn blank() -> Proof {
    let challenges = |n| vec![Challenge::ZERO; n];
    let cap = || Cap::from(vec![[0; 32]]);
    let rows = |widths: &[usize]| -> Vec<Vec<Vec<KoalaBear>>> {
        let row = || widths.iter().map(|&width| vec![KoalaBear::ZERO; width]).collect();
        (0..QUERIES).map(|_| row()).collect()
    };
    let opening_proof = |matrices| {
        let sibling_hashes = Vec::new();
        (rows(&vec![SALT; matrices]), Paths { sibling_hashes })
    };
    let input = |widths: &[usize]| BatchMultiOpening {
        opened_values: rows(widths),
        opening_proof: opening_proof(widths.len()),
    };
    Proof {
        commitments: Commitments { trace: cap(), quotient_chunks: cap(), random: Some(cap()) },
        opened_values: OpenedValues {
            trace_local: challenges(COLUMNS),
            trace_next: Some(challenges(COLUMNS)),
            preprocessed: None,
            quotient_chunks: vec![challenges(EXTENSION); CHUNKS],
            random: Some(challenges(EXTENSION)),
        },
        opening_proof: (
            vec![
                vec![vec![challenges(MASKS)]],
                vec![vec![challenges(MASKS); 2]],
                vec![vec![challenges(MASKS)]; CHUNKS],
            ],
            FriProof {
                batch_pow_witness: KoalaBear::ZERO,
                commit_phase_commits: vec![cap(); FOLDS],
                commit_pow_witnesses: vec![KoalaBear::ZERO; FOLDS],
                input_openings: vec![input(&RANDOM), input(&TABLE), input(&QUOTIENT)],
                commit_phase_openings: vec![CommitPhaseMultiStep {
                    sibling_values: vec![challenges((1 << LOG_ARITY) - 1); QUERIES],
                    opening_proof: opening_proof(1),
                }],
                final_poly: challenges(1 << LOG_FINAL),
                query_pow_witness: KoalaBear::ZERO,
            },
        ),
        degree_bits: LOG_DEGREE,
        ood_pow_witness: KoalaBear::ZERO,
    }
}
