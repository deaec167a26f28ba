//! SHA3-256 of many messages at once, which differ in their last block only.

use super::Digest;
use crate::kernel::Kernels;
use crate::kernel::contract::{self, Rounds, SPONGES, Sponges};

/// Bytes that SHA3-256 absorbs at a time.
pub(super) const BLOCK: usize = 136;

/// A state that has absorbed whole blocks.
pub(super) type Begun = [u64; 25];

/// Of no block.
pub(super) const NOTHING: Begun = [0; 25];

/// Absorbs the one block that follows nothing.
pub(super) fn begin(kernels: &Kernels, block: &[u8; BLOCK]) -> Begun {
    let mut states = spread(&NOTHING);
    let mut padded = [0; contract::BLOCK];
    padded.iter_mut().zip(block).for_each(|(to, from)| *to = *from);
    (kernels.absorb)(&mut states, &[&padded; SPONGES], 1);
    (kernels.keccak)(&mut states, 1, Rounds::All);
    states.0.map(|[first, ..]| first)
}

fn spread(begun: &Begun) -> Sponges {
    Sponges(begun.map(|word| [word; SPONGES]))
}

/// Hashes what begins so and ends with each of these.
pub(super) fn finish<'a, const BYTES: usize>(
    kernels: &Kernels,
    begun: &Begun,
    endings: impl IntoIterator<Item = [u8; BYTES]>,
    out: impl IntoIterator<Item = &'a mut Digest>,
) {
    const { assert!(BYTES < BLOCK, "its padding needs another block") }
    let mut pairs = endings.into_iter().zip(out);
    let mut blocks = [[0; contract::BLOCK]; SPONGES];
    loop {
        let mut outs = [const { None }; SPONGES];
        let mut used = 0;
        for (block, out) in blocks.iter_mut().zip(&mut outs) {
            let Some((ending, digest)) = pairs.next() else { break };
            let (bytes, padding) = block.split_at_mut(BYTES);
            bytes.copy_from_slice(&ending);
            if let [first, ..] = padding {
                *first = 0x06;
            }
            block[BLOCK - 1] |= 0x80;
            *out = Some(digest);
            used += 1;
        }
        if used == 0 {
            return;
        }
        let mut states = spread(begun);
        (kernels.absorb)(&mut states, &blocks.each_ref(), used);
        (kernels.keccak)(&mut states, used, Rounds::All);
        for (lane, out) in outs.into_iter().flatten().enumerate() {
            *out = states.digest(lane);
        }
    }
}
