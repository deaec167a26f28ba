//! SHA-256 of messages of few blocks, whose lengths are known: they are padded where they lie, so that all blocks are
//! written before the first is hashed. A processor waits where it reads what it just wrote in parts.

pub(crate) use sha2::block_api::compress256 as compress;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 64;
/// A 1 and the message's length in bits: the least that is added to a message.
pub(crate) const PADDING: usize = 1 + 8;
/// Where it begins (FIPS 180-4, section 5.3.3).
pub(crate) const INITIAL: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/// Pads a message of `size` bytes that follows on so many blocks (FIPS 180-4, section 5.1.1), and gives its own. There
/// is room, and zeros where nothing was written.
pub(crate) fn pad<const ROOM: usize>(
    message: &mut [u8; ROOM],
    size: usize,
    before: usize,
) -> &[[u8; BLOCK]] {
    message[size] = 0x80;
    let blocks = &mut message.as_chunks_mut::<BLOCK>().0[..(size + PADDING).div_ceil(BLOCK)];
    if let Some(end) = blocks.as_flattened_mut().last_chunk_mut() {
        *end = (8 * (before * BLOCK + size) as u64).to_be_bytes();
    }
    blocks
}

/// A state as it is written.
pub(crate) fn write(state: &[u32; 8], out: &mut [u8]) {
    for (out, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *out = word.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn it_is_sha_256() {
        const ROOM: usize = 3 * BLOCK;
        let bytes: [u8; BLOCK + ROOM] = std::array::from_fn(|i| (i * i + 1) as u8);
        for before in [0, 1] {
            for size in 0..=ROOM - PADDING {
                let (head, tail) = bytes[..before * BLOCK + size].split_at(before * BLOCK);
                let (mut state, mut message, mut out) = (INITIAL, [0; ROOM], [0; 32]);
                compress(&mut state, head.as_chunks().0);
                message[..size].copy_from_slice(tail);
                compress(&mut state, pad(&mut message, size, before));
                write(&state, &mut out);
                let known: [u8; 32] = Sha256::digest([head, tail].concat()).into();
                assert_eq!(out, known, "{size} bytes after {before} blocks");
            }
        }
    }
}
