//! KT128 (RFC 9861): the digest of something large, eight pieces at a time.
//!
//! The message is cut into chunks of 8 KiB. Each but the first has a digest of its own, and what is hashed in the end is
//! the first chunk and these digests. So the chunks are as many sponges, which a vector unit permutes at once; the first
//! chunk is absorbed beside the others.

use super::{Digest, Domain};
use crate::kernel::Kernels;
use crate::kernel::contract::{BLOCK as RATE, Block, Rounds, SPONGES, Sponges};
use bytemuck::Zeroable;

/// Bytes of a chunk.
const CHUNK: usize = 8192;
/// What ends the only chunk, the chunks, and the chunk that holds their digests.
const SINGLE: u8 = 0x07;
const LEAF: u8 = 0x0b;
const FINAL: u8 = 0x06;
/// What stands between the first chunk and the digests.
const MARK: [u8; 8] = [3, 0, 0, 0, 0, 0, 0, 0];

const NOTHING: Block = [0; RATE];

/// KT128 of one large public object, 32 bytes, with the domain as customization string. `pieces` are the object's in
/// order; their boundaries make no difference, so that sender and receiver may cut differently.
///
/// Ciphertexts, 27 and 55 KB, are hashed so because it is several times as fast as SHA3-256: half of the rounds, and eight
/// chunks at once where the processor has AVX-512. Collisions take 2^128 trials. For public data: the sponges are not
/// zeroised.
#[must_use]
pub fn bulk(kernels: &Kernels, domain: Domain, pieces: &[&[u8]]) -> Digest {
    let name = domain.as_bytes();
    // A domain has 1 to 255.
    kt128(kernels, Pieces { pieces, name, length: &[name.len() as u8, 1] })
}

/// What is hashed: pieces, the customization string and its length, encoded.
#[derive(Clone, Copy)]
struct Pieces<'a> {
    pieces: &'a [&'a [u8]],
    name: &'a [u8],
    length: &'a [u8],
}

impl<'a> Pieces<'a> {
    fn get(&self, index: usize) -> Option<&'a [u8]> {
        match index.checked_sub(self.pieces.len()) {
            None => self.pieces.get(index).copied(),
            Some(0) => Some(self.name),
            Some(1) => Some(self.length),
            Some(_) => None,
        }
    }

    fn total(&self) -> usize {
        let tail = self.name.len() + self.length.len();
        self.pieces.iter().fold(tail, |sum, piece| sum.saturating_add(piece.len()))
    }
}

/// A place in them.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    pieces: Pieces<'a>,
    /// The next piece.
    next: usize,
    /// What is left of the one before.
    rest: &'a [u8],
}

impl Cursor<'_> {
    /// Tells the bytes that follow, so many, as they lie. Ends early if there are fewer.
    fn each(&mut self, mut count: usize, mut tell: impl FnMut(&[u8])) {
        while count > 0 {
            if self.rest.is_empty() {
                let Some(piece) = self.pieces.get(self.next) else { return };
                (self.rest, self.next) = (piece, self.next + 1);
            }
            let (some, rest) = self.rest.split_at(count.min(self.rest.len()));
            tell(some);
            self.rest = rest;
            count -= some.len();
        }
    }
}

/// One sponge: lane 0.
struct Sponge<'a> {
    kernels: &'a Kernels,
    state: Sponges,
    /// Bytes of a block that were absorbed: below RATE.
    used: usize,
}

impl Sponge<'_> {
    fn xor(&mut self, at: usize, byte: u8) {
        if let Some([first, ..]) = self.state.0.get_mut(at / 8) {
            *first ^= u64::from(byte) << (8 * (at % 8));
        }
    }

    fn permute(&mut self) {
        (self.kernels.keccak)(&mut self.state, 1, Rounds::Half);
        self.used = 0;
    }

    fn absorb(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.used == 0
                && let Some((block, rest)) = bytes.split_first_chunk::<RATE>()
            {
                (self.kernels.absorb)(&mut self.state, &[block; SPONGES], 1);
                self.permute();
                bytes = rest;
                continue;
            }
            let (some, rest) = bytes.split_at(bytes.len().min(RATE - self.used));
            for &byte in some {
                self.xor(self.used, byte);
                self.used += 1;
            }
            if self.used == RATE {
                self.permute();
            }
            bytes = rest;
        }
    }

    fn finish(mut self, end: u8) -> Digest {
        self.xor(self.used, end);
        self.xor(RATE - 1, 0x80);
        self.permute();
        self.state.digest(0)
    }
}

/// A chunk on its way into a sponge.
#[derive(Clone, Copy)]
struct Lane<'a> {
    cursor: Cursor<'a>,
    /// Bytes to come; `None` when its last block was absorbed.
    left: Option<usize>,
}

impl<'a> Lane<'a> {
    /// How many whole blocks follow as they lie, unless it has ended.
    fn whole(&self) -> Option<usize> {
        self.left.map(|left| left.min(self.cursor.rest.len()) / RATE)
    }

    /// So many blocks, which there are; none if it has ended.
    fn run(&mut self, count: usize) -> &'a [Block] {
        let whole = self.left.and_then(|left| left.checked_sub(count * RATE));
        let (Some(left), Some((run, rest))) =
            (whole, self.cursor.rest.split_at_checked(count * RATE))
        else {
            return &[];
        };
        (self.left, self.cursor.rest) = (Some(left), rest);
        run.as_chunks().0
    }

    /// The next block, padded if it is the last; `None` after that. It is where it lies, or put together in `block`.
    fn next<'b>(&mut self, block: &'b mut Block) -> Option<&'b Block>
    where
        'a: 'b,
    {
        let left = self.left?;
        self.left = left.checked_sub(RATE);
        if self.left.is_some()
            && let Some((whole, rest)) = self.cursor.rest.split_first_chunk()
        {
            self.cursor.rest = rest;
            return Some(whole);
        }
        let mut to = &mut block[..];
        self.cursor.each(left.min(RATE), |some| {
            if let Some((front, rest)) = core::mem::take(&mut to).split_at_mut_checked(some.len()) {
                front.copy_from_slice(some);
                to = rest;
            }
        });
        to.fill(0);
        if let [first, ..] = to {
            *first = LEAF;
            block[RATE - 1] ^= 0x80;
        }
        Some(block)
    }
}

fn kt128(kernels: &Kernels, pieces: Pieces<'_>) -> Digest {
    let mut left = pieces.total();
    let mut cursor = Cursor { pieces, next: 0, rest: &[] };
    let mut last = Sponge { kernels, state: Sponges::zeroed(), used: 0 };
    if left <= CHUNK {
        cursor.each(left, |some| last.absorb(some));
        return last.finish(SINGLE);
    }
    let leaves = left.div_ceil(CHUNK) - 1;
    let mut is_first = true;
    let mut blocks = [[0; RATE]; SPONGES];
    while left > 0 {
        let mut lanes = [Lane { cursor, left: None }; SPONGES];
        let used = left.div_ceil(CHUNK).min(SPONGES);
        for lane in lanes.iter_mut().take(used) {
            let length = left.min(CHUNK);
            *lane = Lane { cursor, left: Some(length) };
            cursor.each(length, |_| ());
            left -= length;
        }
        let (mut states, mut digests) = (Sponges::zeroed(), [None; SPONGES]);
        while lanes.iter().any(|lane| lane.left.is_some()) {
            let [first, ..] = &mut lanes;
            if is_first && let Some(rest @ ..RATE) = first.left {
                // After its whole blocks, the first chunk waits for the digests of the others.
                last.state.clone_from(&states);
                first.cursor.each(rest, |some| last.absorb(some));
                last.absorb(&MARK);
                (first.left, is_first) = (None, false);
            }
            let whole = lanes.iter().filter_map(Lane::whole).min().unwrap_or(0);
            let runs = lanes.each_mut().map(|lane| lane.run(whole));
            for at in 0..whole {
                let next = runs.map(|run| run.get(at).unwrap_or(&NOTHING));
                (kernels.absorb)(&mut states, &next, used);
                (kernels.keccak)(&mut states, used, Rounds::Half);
            }
            if whole > 0 {
                continue;
            }
            let mut next: [&Block; SPONGES] = [&NOTHING; SPONGES];
            let mut ended = [false; SPONGES];
            for ((lane, block), (next, ended)) in
                lanes.iter_mut().zip(&mut blocks).zip(next.iter_mut().zip(&mut ended))
            {
                if let Some(block) = lane.next(block) {
                    (*next, *ended) = (block, lane.left.is_none());
                }
            }
            (kernels.absorb)(&mut states, &next, used);
            (kernels.keccak)(&mut states, used, Rounds::Half);
            for (lane, (digest, ended)) in digests.iter_mut().zip(ended).enumerate() {
                if ended {
                    *digest = Some(states.digest(lane));
                }
            }
        }
        digests.iter().flatten().for_each(|digest| last.absorb(digest));
    }
    let count = (leaves as u64).to_be_bytes();
    let zeros = count.iter().take_while(|&&byte| byte == 0).count();
    let (_, count) = count.split_at(zeros.min(count.len()));
    last.absorb(count);
    // At most eight.
    last.absorb(&[count.len() as u8, 0xff, 0xff]);
    last.finish(FINAL)
}
