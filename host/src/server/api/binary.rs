//! Attempts in a binary form, `application/vnd.symbolon.attempts`; integers and floats little-endian:
//!
//! ```text
//! "SYB1" (4) then for each attempt:
//! id's length (2) | id | flags (1): bit 0, a nonce follows; the others are 0 | nonce (16) | dims x f32 (4)
//! ```
//!
//! How many values an attempt has is not written down: both sides know the deployment's dimensions.

use super::super::MAX_ITEMS;
use crate::error::{Error, Kind, Result};
use std::ops::Range;

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.symbolon.attempts";
/// What it begins with.
pub const MAGIC: [u8; 4] = *b"SYB1";
const NONCE: u8 = 1;

/// An attempt's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// Whom it claims to be: any bytes, at most 65,535.
    pub id: &'a [u8],
    /// The relying party's challenge.
    pub nonce: Option<[u8; 16]>,
    /// The embedding, four bytes a value.
    values: &'a [u8],
}

impl<'a> Attempt<'a> {
    /// The first attempt, of `dims` values, and what follows it. `None` if there is none that is whole, or its flags are
    /// unknown.
    #[must_use]
    pub fn split(bytes: &'a [u8], dims: usize) -> Option<(Self, &'a [u8])> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (id, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        let (flags, rest) = rest.split_first()?;
        let (nonce, rest) = match *flags {
            0 => (None, rest),
            NONCE => rest.split_first_chunk().map(|(nonce, rest)| (Some(*nonce), rest))?,
            _ => return None,
        };
        let (values, rest) = rest.split_at_checked(dims.checked_mul(4)?)?;
        Some((Self { id, nonce, values }, rest))
    }

    /// The embedding.
    pub fn values(&self) -> impl ExactSizeIterator<Item = f32> + 'a {
        let (values, _) = self.values.as_chunks();
        values.iter().map(|&bytes| f32::from_le_bytes(bytes))
    }
}

/// Where each attempt of a body is. The body may have none.
///
/// Errors: `E-REQUEST` for what is not this form; `E-TOO-LARGE` for more than [`MAX_ITEMS`].
pub fn places(body: &[u8], dims: usize) -> Result<Vec<Range<usize>>> {
    let mut rest = body
        .strip_prefix(&MAGIC)
        .ok_or_else(|| Error::new(Kind::Request, "the binary form begins with SYB1"))?;
    let mut places = Vec::new();
    while !rest.is_empty() {
        if places.len() == MAX_ITEMS {
            return Err(too_many());
        }
        let start = body.len() - rest.len();
        let (_, after) = Attempt::split(rest, dims).ok_or_else(|| {
            let message = format!("the binary form is damaged at attempt {}", places.len());
            Error::new(Kind::Request, message)
        })?;
        rest = after;
        places.push(start..body.len() - rest.len());
    }
    Ok(places)
}

/// A batch has more attempts than it may.
pub(super) fn too_many() -> Error {
    Error::new(Kind::TooLarge, format!("a batch has at most {MAX_ITEMS} attempts"))
}

/// Adds an attempt to a body that begins with [`MAGIC`].
///
/// Errors: `E-ID` for an id of more than 65,535 bytes; the body is as before.
pub fn write(
    body: &mut Vec<u8>,
    id: &[u8],
    nonce: Option<&[u8; 16]>,
    values: impl IntoIterator<Item = f32>,
) -> Result<()> {
    let length = u16::try_from(id.len())
        .map_err(|_| Error::new(Kind::Id, "an id has at most 65,535 bytes in the binary form"))?;
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(id);
    match nonce {
        None => body.push(0),
        Some(nonce) => {
            body.push(NONCE);
            body.extend_from_slice(nonce);
        }
    }
    for value in values {
        body.extend_from_slice(&value.to_le_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    type Owned = (Vec<u8>, Option<[u8; 16]>, Vec<u32>);

    fn body(attempts: &[Owned]) -> Vec<u8> {
        let mut body = MAGIC.to_vec();
        for (id, nonce, bits) in attempts {
            let values = bits.iter().map(|&bits| f32::from_bits(bits));
            write(&mut body, id, nonce.as_ref(), values).unwrap();
        }
        body
    }

    fn read(body: &[u8], dims: usize) -> Result<Vec<Owned>> {
        let of = |place: Range<usize>| {
            let (attempt, rest) = Attempt::split(&body[place], dims).unwrap();
            assert!(rest.is_empty());
            let bits = attempt.values().map(f32::to_bits).collect();
            (attempt.id.to_vec(), attempt.nonce, bits)
        };
        Ok(places(body, dims)?.into_iter().map(of).collect())
    }

    #[test]
    fn the_bytes_are_as_documented() {
        let mut body = MAGIC.to_vec();
        write(&mut body, b"ab", None, [1.0]).unwrap();
        write(&mut body, b"c", Some(&[7; 16]), [-2.0]).unwrap();
        let expected = [
            &b"SYB1"[..],
            &[2, 0, b'a', b'b', 0, 0, 0, 0x80, 0x3f],
            &[1, 0, b'c', 1],
            &[7; 16],
            &[0, 0, 0, 0xc0],
        ];
        assert_eq!(body, expected.concat());
        assert_eq!(places(&body, 1).unwrap(), [4..13, 13..37]);
    }

    proptest! {
        /// Values by their bits: NaNs too come out as they went in.
        #[test]
        fn what_is_written_is_read(attempts in (0usize..9).prop_flat_map(|dims| {
            let bits = vec(any::<u32>(), dims);
            (Just(dims), vec((vec(any::<u8>(), 0..300), any::<Option<[u8; 16]>>(), bits), 0..6))
        })) {
            let (dims, attempts) = attempts;
            prop_assert_eq!(read(&body(&attempts), dims).unwrap(), attempts);
        }

        /// There is one encoding: what is read is written again to the same bytes.
        #[test]
        fn what_is_read_is_written(bytes in vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..64), dims in 0usize..4) {
            let bytes = [&MAGIC[..], &bytes].concat();
            if let Ok(attempts) = read(&bytes, dims) {
                prop_assert_eq!(body(&attempts), bytes);
            }
        }

        /// Cut anywhere but between attempts, it is refused.
        #[test]
        fn a_part_is_refused(cut in 0usize..94) {
            let attempts = [(b"anna".to_vec(), Some([3; 16]), vec![5; 5]), (b"bea".to_vec(), None, vec![6; 5])];
            let whole = body(&attempts);
            let ends: Vec<_> = places(&whole, 5).unwrap().iter().map(|place| place.end).collect();
            prop_assert_eq!(ends, [47, 73]);
            let part = &whole[..cut.min(whole.len())];
            let fits = [4, 47, 73].contains(&part.len());
            match places(part, 5) {
                Ok(_) => prop_assert!(fits),
                Err(error) => prop_assert!(!fits && error.kind() == Kind::Request),
            }
        }
    }

    #[test]
    fn what_is_not_this_form_is_refused() {
        let kind = |bytes: &[u8]| places(bytes, 1).map_err(|error| error.kind());
        assert_eq!(kind(b""), Err(Kind::Request));
        assert_eq!(kind(b"SYB2"), Err(Kind::Request));
        assert_eq!(kind(b"SYB1"), Ok(vec![]));
        // An unknown flag.
        assert_eq!(kind(b"SYB1\x01\x00a\x02\x00\x00\x00\x00"), Err(Kind::Request));
        // An id that reaches beyond the end.
        assert_eq!(kind(b"SYB1\xff\xffa\x00\x00\x00\x00\x00"), Err(Kind::Request));
        // Another number of dimensions.
        let mut two = MAGIC.to_vec();
        write(&mut two, b"a", None, [1.0, 1.0]).unwrap();
        assert!(kind(&two).is_err() && places(&two, 2).is_ok());
        assert!(places(&two, usize::MAX).is_err());
        let before = two.len();
        let long = write(&mut two, &[b'a'; 65_536], None, [0.0]);
        assert_eq!((long.unwrap_err().kind(), two.len()), (Kind::Id, before));
        // As many as there may be, and one more.
        let mut many = MAGIC.to_vec();
        for _ in 0..MAX_ITEMS {
            write(&mut many, b"", None, []).unwrap();
        }
        assert_eq!(places(&many, 0).unwrap().len(), MAX_ITEMS);
        write(&mut many, b"", None, []).unwrap();
        assert_eq!(places(&many, 0).unwrap_err().kind(), Kind::TooLarge);
    }
}
