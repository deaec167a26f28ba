//! Reading and writing fields back to back; integers are little-endian.

use super::{Error, Result};

/// Takes fixed-size fields off the front of its input.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// The next `N` bytes, or [`Error::Truncated`].
    pub(super) fn take<const N: usize>(&mut self) -> Result<&'a [u8; N]> {
        let (field, rest) = self.rest.split_first_chunk().ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(field)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.take().map(|&[byte]| byte)
    }

    /// Bytes not yet taken.
    pub(super) const fn remaining(&self) -> usize {
        self.rest.len()
    }
}

/// Writes `fields` to the front of `out` and returns the bytes written; [`Error::BufferTooSmall`]
/// leaves a part of them there.
pub(super) fn write(out: &mut [u8], fields: &[&[u8]]) -> Result<usize> {
    let (size, mut rest) = (out.len(), out);
    for field in fields {
        let (head, tail) = rest.split_at_mut_checked(field.len()).ok_or(Error::BufferTooSmall)?;
        head.copy_from_slice(field);
        rest = tail;
    }
    Ok(size - rest.len())
}

/// `fields` back to back; their lengths add up to `N`.
pub(super) fn concat<const N: usize>(fields: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let written = write(&mut out, fields);
    debug_assert_eq!(written, Ok(N));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_takes_exactly_what_is_there() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.take::<4>(), Err(Error::Truncated));
        assert_eq!(reader.take(), Ok(&[1, 2]));
        assert_eq!(reader.remaining(), 1);
        assert_eq!(reader.u8(), Ok(3));
        assert_eq!(reader.u8(), Err(Error::Truncated));
        assert_eq!(reader.take(), Ok(&[]));
    }

    #[test]
    fn write_stops_at_the_end_of_the_buffer() {
        let mut out = [9; 4];
        assert_eq!(write(&mut out, &[&[1, 2], &[], &[3]]), Ok(3));
        assert_eq!(out, [1, 2, 3, 9]);
        assert_eq!(write(&mut out, &[&[1, 2], &[3, 4, 5]]), Err(Error::BufferTooSmall));
    }
}
