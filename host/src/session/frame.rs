//! Messages on a stream of bytes: the length (4, little-endian), then the message.

use super::Refusal;
use super::message::MAX_MESSAGE;
use crate::error::{Error, Kind, Result};
use std::io::{self, Read, Write};

fn broken(what: &str, error: &io::Error) -> Error {
    Error::new(Kind::Session, format!("the connection cannot be {what}: {error}"))
}

/// Writes one message. Errors: `E-SESSION` where the stream fails, or does not take it in its time.
pub fn write(stream: &mut impl Write, message: &[u8]) -> Result<()> {
    let size = u32::try_from(message.len()).map_err(|_| Refusal::Limit)?;
    let mut framed = Vec::with_capacity(4 + message.len());
    framed.extend_from_slice(&size.to_le_bytes());
    framed.extend_from_slice(message);
    stream.write_all(&framed).and_then(|()| stream.flush()).map_err(|e| broken("written to", &e))
}

/// Reads one message, of at most `most` bytes. Memory is taken as the bytes come.
///
/// Errors: `E-SESSION` where the stream fails, ends, or brings nothing in its time, and for longer messages.
pub fn read(stream: &mut impl Read, most: usize) -> Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size).map_err(|e| broken("read", &e))?;
    let size = u32::from_le_bytes(size) as usize;
    if size > most.min(MAX_MESSAGE) {
        return Err(Refusal::Limit.into());
    }
    let mut message = Vec::new();
    let got = Read::take(&mut *stream, size as u64).read_to_end(&mut message);
    got.map_err(|e| broken("read", &e))?;
    if message.len() < size {
        return Err(Error::new(Kind::Session, "the connection ended within a message"));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_whole_or_refused() {
        let mut bytes = Vec::new();
        write(&mut bytes, b"abc").unwrap();
        write(&mut bytes, b"").unwrap();
        assert_eq!(bytes, [3, 0, 0, 0, b'a', b'b', b'c', 0, 0, 0, 0]);
        let stream = &mut bytes.as_slice();
        assert_eq!(read(stream, 3).unwrap(), b"abc");
        assert_eq!(read(stream, 3).unwrap(), b"");
        assert!(read(stream, 3).is_err());
        assert!(read(&mut bytes.as_slice(), 2).is_err(), "too long");
        assert!(read(&mut &bytes[..6], 3).is_err(), "cut short");
        assert!(read(&mut &[255; 8][..], usize::MAX).is_err());
    }
}
