//! What kinds that are held as bytes share.

use crate::ct;
use crate::error::Error;

/// Writes `bytes` to `out`.
///
/// # Errors
/// [`Error::Length`] unless both are equally long.
pub fn write(bytes: &[u8], out: &mut [u8]) -> Result<(), Error> {
    if out.len() != bytes.len() {
        return Err(Error::Length);
    }
    out.copy_from_slice(bytes);
    Ok(())
}

/// Writes a secret and its public part to `out`, one after the other.
///
/// # Errors
/// [`Error::Length`] unless `out` is as long as both.
pub fn write_both(secret: &[u8], public: &[u8], out: &mut [u8]) -> Result<(), Error> {
    let (first, second) = out.split_at_mut_checked(secret.len()).ok_or(Error::Length)?;
    write(public, second)?;
    write(secret, first)
}

/// Takes what [`write_both`] has written. A secret of zeros is no key.
///
/// # Errors
/// [`Error::Length`] for another length, [`Error::Range`] for zeros.
pub fn read_both<const SECRET: usize, const PUBLIC: usize>(
    bytes: &[u8],
) -> Result<(&[u8; SECRET], &[u8; PUBLIC]), Error> {
    let (secret, public) = bytes.split_at_checked(SECRET).ok_or(Error::Length)?;
    let public = public.try_into().map_err(|_| Error::Length)?;
    Ok((read(secret)?, public))
}

/// Takes a serialised form of `SIZE` bytes. All zeros are what an empty cell would give, and no key.
///
/// # Errors
/// [`Error::Length`] for another length, [`Error::Range`] for zeros.
pub fn read<const SIZE: usize>(bytes: &[u8]) -> Result<&[u8; SIZE], Error> {
    let bytes: &[u8; SIZE] = bytes.try_into().map_err(|_| Error::Length)?;
    if is_empty(bytes) { Err(Error::Range) } else { Ok(bytes) }
}

/// Whether all bytes are zero, as in a cell that holds no key.
#[must_use]
pub fn is_empty(bytes: &[u8]) -> bool {
    // Public: that there is a key, or none.
    ct::public(bytes.iter().fold(0, |any, byte| any | byte) == 0)
}
