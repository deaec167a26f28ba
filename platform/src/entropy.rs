//! Random bytes from the operating system.

use std::fmt;

/// The operating system gave no entropy.
#[derive(Clone, Copy, Debug)]
pub struct NoEntropy(getrandom::Error);

impl fmt::Display for NoEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the operating system gave no random bytes: {}", self.0)
    }
}

impl std::error::Error for NoEntropy {}

/// Fills `out` from the operating system's generator, which blocks until it is seeded.
///
/// # Errors
/// [`NoEntropy`] where there is none; `out` must then not be used.
pub fn fill(out: &mut [u8]) -> Result<(), NoEntropy> {
    getrandom::fill(out).map_err(NoEntropy)
}

/// An array of random bytes: a seed, a salt, a nonce, an id.
///
/// # Errors
/// As [`fill`].
pub fn array<const N: usize>() -> Result<[u8; N], NoEntropy> {
    let mut out = [0; N];
    fill(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_draws_differ() {
        assert_ne!(super::array::<32>().unwrap(), super::array::<32>().unwrap());
    }
}
