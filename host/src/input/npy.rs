//! numpy's array format (numpy.lib.format, versions 1.0 to 3.0).
//!
//! `npyz` reads the header; what could harm it is turned away first: it allocates what the header
//! claims, multiplies the sizes it finds unchecked, and its parser recurses and backtracks, at each
//! bracket two ways.

use std::io::{self, Read};

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use super::{Embeddings, buffer, check_dims, check_row, no_rows};
use crate::error::{Error, Kind, Result};

/// The longest header, in bytes: numpy's own default limit.
const MAX_HEADER: usize = 10_000;
/// The most opening brackets in a header: a plain array has two, a tuple in a dictionary.
const MAX_BRACKETS: usize = 8;
/// The most decimal digits in a header: numbers of 19 digits in all have a product below 2^64.
const MAX_DIGITS: usize = 19;
/// Bytes decoded at a time, a multiple of either element size.
const CHUNK: usize = 1 << 16;

/// Reads a file of `len` bytes.
pub(super) fn read(name: &str, file: &mut dyn Read, len: u64) -> Result<Embeddings> {
    let error = |kind, message: String| Error::new(kind, message).in_file(name);
    let unreadable = |e: io::Error| match e.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
            error(Kind::Parse, "not a whole numpy array file".into())
        }
        _ => error(Kind::Io, format!("cannot read: {e}")),
    };

    let (header, header_len) = read_header(file).map_err(unreadable)?;
    let &[rows, dims] = header.shape() else {
        let axes = header.shape().len();
        return Err(error(
            Kind::Format,
            format!("the array has {axes} axes: rows and columns, 2, are read here"),
        ));
    };
    let (decode, size) = decoder(&header.dtype()).map_err(|what| {
        error(Kind::Format, format!("the element type is {what}: f4 and f8 are read here"))
    })?;
    if rows == 0 {
        return Err(no_rows(name));
    }
    // A count that usize cannot hold is certainly too many dimensions.
    let dims = usize::try_from(dims).unwrap_or(usize::MAX);
    check_dims(dims).map_err(|e| e.in_file(name))?;
    let data_len = len.saturating_sub(header_len as u64);
    // Before anything is allocated: the file must hold what its header claims.
    if rows.checked_mul((dims * size) as u64) != Some(data_len) {
        let message = format!(
            "the header claims {rows} x {dims} elements of {size} bytes, but {data_len} bytes follow"
        );
        return Err(error(Kind::Parse, message));
    }

    // The limit on files has this hold on 64-bit machines; on others memory does not suffice.
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let count = rows.saturating_mul(dims);
    let mut values = buffer(name, count)?;
    values.resize(count, 0.0);
    let mut chunk = buffer(name, CHUNK)?;
    let mut index = 0;
    let mut rest = data_len;
    while rest > 0 {
        let take = rest.min(CHUNK as u64);
        rest -= take;
        chunk.resize(take as usize, 0);
        file.read_exact(&mut chunk).map_err(unreadable)?;
        for bytes in chunk.chunks_exact(size) {
            let place = match header.order() {
                Order::C => index,
                Order::Fortran => (index % rows) * dims + index / rows,
            };
            if let (Some(value), Some(decoded)) = (values.get_mut(place), decode(bytes)) {
                *value = decoded;
            }
            index += 1;
        }
    }
    for (i, row) in values.chunks_exact(dims).enumerate() {
        check_row(row).map_err(|e| e.in_file(name).at_row(i))?;
    }
    Ok(Embeddings { name: name.into(), dims, values, ids: None })
}

/// The header and its length in bytes.
fn read_header(file: &mut dyn Read) -> io::Result<(NpyHeader, usize)> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut header = Vec::new();
    let mut read_on = |header: &mut Vec<u8>, count: usize| {
        let start = header.len();
        header.resize(start + count, 0);
        file.read_exact(&mut header[start..])
    };
    // Magic and version, then the length of the text, in 2 bytes (version 1) or in 4.
    read_on(&mut header, 8)?;
    let width = if header[6] == 1 { 2 } else { 4 };
    read_on(&mut header, width)?;
    let length = header[8..].iter().rev().fold(0, |n: usize, &b| n << 8 | usize::from(b));
    if length > MAX_HEADER {
        return Err(invalid());
    }
    read_on(&mut header, length)?;
    if !is_harmless(&header[8 + width..]) {
        return Err(invalid());
    }
    Ok((NpyHeader::from_reader(&header[..])?, header.len()))
}

/// Whether the parser can be trusted with the text of a header: with few brackets, and with integers
/// whose product fits 64 bits. Brackets and digits in strings count too, which errs on the safe side;
/// hexadecimal, whose digits go further, is refused.
fn is_harmless(text: &[u8]) -> bool {
    let brackets = text.iter().filter(|b| b"([{".contains(b)).count();
    let digits = text.iter().filter(|b| b.is_ascii_digit()).count();
    let hexadecimal = text.windows(2).any(|pair| matches!(pair, b"0x" | b"0X"));
    brackets <= MAX_BRACKETS && digits <= MAX_DIGITS && !hexadecimal
}

type Decode = fn(&[u8]) -> Option<f64>;

/// How to decode an element and its size in bytes, or what it is instead.
fn decoder(dtype: &DType) -> std::result::Result<(Decode, usize), String> {
    let DType::Plain(element) = dtype else {
        return Err("a structure".into());
    };
    let float = element.type_char() == TypeChar::Float;
    match (float, element.size_field(), element.endianness()) {
        (true, 4, Endianness::Little) => {
            Ok((|b| b.first_chunk().map(|&b| f64::from(f32::from_le_bytes(b))), 4))
        }
        (true, 4, Endianness::Big) => {
            Ok((|b| b.first_chunk().map(|&b| f64::from(f32::from_be_bytes(b))), 4))
        }
        (true, 8, Endianness::Little) => {
            Ok((|b| b.first_chunk().map(|&b| f64::from_le_bytes(b)), 8))
        }
        (true, 8, Endianness::Big) => Ok((|b| b.first_chunk().map(|&b| f64::from_be_bytes(b)), 8)),
        _ => Err(format!("'{element}'")),
    }
}
