//! Random bytes without a system call for each: a ChaCha20 generator a thread, seeded by the system.
//!
//! They are nonces, which go over the wire; keys are drawn elsewhere. A forked child would draw the same ones,
//! but has no ticket keys and no keys of a pool to use them with, where the system wipes locked memory on
//! fork.

use super::Refusal;
use crate::random::random;
use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::cell::RefCell;
use zeroize::Zeroizing;

/// Draws before the system is asked for a seed again.
const DRAWS: u32 = 1 << 16;

struct Generator {
    rng: ChaCha20Rng,
    left: u32,
}

thread_local!(static GENERATOR: RefCell<Option<Generator>> = const { RefCell::new(None) });

/// Fills `out`.
///
/// # Errors
/// [`Refusal::Internal`] where the system gives no seed, or the thread is ending.
pub(super) fn fill(out: &mut [u8]) -> Result<(), Refusal> {
    let drawn = GENERATOR.try_with(|cell| {
        let mut slot = cell.try_borrow_mut().map_err(|_| Refusal::Internal)?;
        let generator = match &mut *slot {
            Some(generator) if generator.left > 0 => generator,
            old => {
                let seed = Zeroizing::new(random::<32>().map_err(|_| Refusal::Internal)?);
                old.insert(Generator { rng: ChaCha20Rng::from_seed(*seed), left: DRAWS })
            }
        };
        generator.left -= 1;
        generator.rng.fill_bytes(out);
        Ok(())
    });
    drawn.unwrap_or(Err(Refusal::Internal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ_between_threads_and_across_seeds() {
        let draw = || {
            let mut out = [0; 16];
            fill(&mut out).unwrap();
            out
        };
        let mut seen = std::collections::HashSet::new();
        for _ in 0..DRAWS + 10 {
            assert!(seen.insert(draw()));
        }
        assert!(seen.insert(std::thread::spawn(draw).join().unwrap()));
    }
}
