//! What a log's tables hold: runs of batches, and windows.

use redb::{ReadableTable, Table};
use symbolon_core::attest::{Batch, Digest, Error as AttestError, Leaf, MAX_BATCHES, Window};

use crate::signer::{Attested, SignatureSet, SignedWindow};

/// Bytes of a page of redb's, which it has powers of two of.
const PAGE: usize = 4096;
/// What a page holds beside a value, with some to spare.
const PAGE_HEAD: usize = 64;
/// Pages of a run at most, since a receipt reads all of it.
const RUN_PAGES: usize = 16;
/// Bytes of a run at most.
pub const MAX_RUN: usize = RUN_PAGES * PAGE;

type Result<T> = std::result::Result<T, AttestError>;

pub fn size_of_batch(attested: &Attested) -> usize {
    Batch::SIZE + attested.leaves.len() * Leaf::SIZE
}

/// Writes a batch, and gives the room behind it.
fn encode_batch<'a>(attested: &Attested, to: &'a mut [u8]) -> &'a mut [u8] {
    let mut to = put(&attested.batch.encode(), to);
    for leaf in &attested.leaves {
        to = put(&leaf.encode(), to);
    }
    to
}

fn put<'a>(bytes: &[u8], to: &'a mut [u8]) -> &'a mut [u8] {
    let (here, rest) = to.split_at_mut(bytes.len());
    here.copy_from_slice(bytes);
    rest
}

/// What goes into a value.
struct Run {
    batches: usize,
    bytes: usize,
}

/// The first of these batches, `total` bytes together, that fill a page well: it may be all of them where they leave no more
/// than a fifth of it empty.
fn run(sizes: impl Iterator<Item = usize>, total: usize) -> Run {
    let pages = (total + total / 4 + PAGE_HEAD) / PAGE;
    let room = (PAGE << pages.clamp(1, RUN_PAGES).ilog2()) - PAGE_HEAD;
    let mut run = Run { batches: 0, bytes: 0 };
    for size in sizes {
        if run.batches > 0 && run.bytes + size > room {
            break;
        }
        run = Run { batches: run.batches + 1, bytes: run.bytes + size };
    }
    run
}

/// Writes batches, the first of which has this number. Gives how many runs they took, and how many bytes.
pub fn write_runs(
    table: &mut Table<'_, u64, &'static [u8]>,
    mut number: u64,
    mut batches: &[&Attested],
) -> std::result::Result<(u64, u64), redb::Error> {
    let total: usize = batches.iter().map(|attested| size_of_batch(attested)).sum();
    let (mut runs, mut left) = (0, total);
    while !batches.is_empty() {
        let run = run(batches.iter().map(|attested| size_of_batch(attested)), left);
        let (some, others) = batches.split_at(run.batches);
        let mut value = table.insert_reserve(number, run.bytes)?;
        let mut to = value.as_mut();
        for attested in some {
            to = encode_batch(attested, to);
        }
        drop(value);
        number += run.batches as u64;
        runs += 1;
        left -= run.bytes;
        batches = others;
    }
    Ok((runs, total as u64))
}

/// Takes away what stands from batch `number` on. Gives how many runs are left.
pub fn cut_runs(
    table: &mut Table<'_, u64, &'static [u8]>,
    number: u64,
) -> std::result::Result<u64, redb::Error> {
    let straddling = match table.range(..number)?.next_back().transpose()? {
        None => None,
        Some((first, run)) => {
            let (mut rest, mut at) = (run.value(), first.value());
            while at < number && !rest.is_empty() {
                (rest, at) = (split(rest).1, at + 1);
            }
            let kept = run.value().len() - rest.len();
            (!rest.is_empty()).then(|| (first.value(), run.value()[..kept].to_vec()))
        }
    };
    if let Some((first, kept)) = straddling {
        table.insert(first, kept.as_slice())?;
    }
    table.retain_in(number.., |_, _| false)?;
    Ok(redb::ReadableTableMetadata::len(table)?)
}

/// The first batch of a run, and the others; all of it where its size makes no sense.
pub fn split(run: &[u8]) -> (&[u8], &[u8]) {
    let statement = run.first_chunk().map(Batch::decode).and_then(|batch| batch.ok());
    let size = statement.map(|batch| Batch::SIZE + usize::from(batch.count) * Leaf::SIZE);
    size.and_then(|size| run.split_at_checked(size)).unwrap_or((run, &[]))
}

pub fn decode_batch(bytes: &[u8]) -> Result<Attested> {
    let (batch, rest) = bytes.split_first_chunk().ok_or(AttestError::Truncated)?;
    let batch = Batch::decode(batch)?;
    let (leaves, rest) = rest.as_chunks::<{ Leaf::SIZE }>();
    if !rest.is_empty() || leaves.len() != usize::from(batch.count) {
        return Err(AttestError::LeafCount);
    }
    let leaves = leaves.iter().map(Leaf::decode).collect::<Result<_>>()?;
    Ok(Attested { batch, leaves })
}

pub fn encode_window<'a>(
    signed: &SignedWindow,
    hashes: impl Iterator<Item = &'a Digest>,
) -> Vec<u8> {
    let mut out = signed.window.encode().to_vec();
    out.extend_from_slice(&signed.first.to_le_bytes());
    let SignatureSet { ml_dsa, fn_dsa, slh_dsa } = &*signed.signatures;
    out.extend_from_slice(ml_dsa);
    out.extend_from_slice(fn_dsa);
    out.extend_from_slice(slh_dsa);
    hashes.for_each(|hash| out.extend_from_slice(hash));
    out
}

/// A window, and the hashes of its batches.
pub fn decode_window(bytes: &[u8]) -> Result<(SignedWindow, Vec<Digest>)> {
    let cut = AttestError::Truncated;
    let (window, rest) = bytes.split_first_chunk().ok_or(cut)?;
    let window = Window::decode(window)?;
    let (first, rest) = rest.split_first_chunk().ok_or(cut)?;
    let first = u64::from_le_bytes(*first);
    let (ml_dsa, rest) = rest.split_first_chunk().ok_or(cut)?;
    let (fn_dsa, rest) = rest.split_first_chunk().ok_or(cut)?;
    let (slh_dsa, rest) = rest.split_first_chunk().ok_or(cut)?;
    let (hashes, rest) = rest.as_chunks();
    if !rest.is_empty() || hashes.len() != usize::from(window.count) {
        return Err(AttestError::LeafCount);
    }
    // No sum of a batch's number and a window's count may run over.
    if first > u64::MAX - MAX_BATCHES as u64 {
        return Err(AttestError::NonCanonical);
    }
    let mut signatures = Box::<SignatureSet>::default();
    signatures.ml_dsa = *ml_dsa;
    signatures.fn_dsa = *fn_dsa;
    signatures.slh_dsa = *slh_dsa;
    Ok((SignedWindow { window, first, signatures }, hashes.to_vec()))
}

/// The first batch of a window and that behind its last, by the head of its record.
pub fn reach(bytes: &[u8]) -> Option<[u64; 2]> {
    let (window, first) = bytes.split_first_chunk()?;
    let first = u64::from_le_bytes(*first.first_chunk()?);
    Some([first, first.saturating_add(Window::decode(window).ok()?.count.into())])
}
