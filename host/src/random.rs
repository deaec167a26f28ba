//! Random bytes from the operating system, with the host's error.

use crate::error::{Error, Kind, Result};
use symbolon_platform::entropy;

/// Fills `out`. Errors: `E-ENTROPY`.
pub fn fill_random(out: &mut [u8]) -> Result<()> {
    entropy::fill(out).map_err(|e| Error::new(Kind::Entropy, e.to_string()))
}

/// An array of random bytes. Errors: `E-ENTROPY`.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut out = [0; N];
    fill_random(&mut out)?;
    Ok(out)
}
