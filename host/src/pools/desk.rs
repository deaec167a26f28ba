//! What a thread makes keys with.

use super::Failure;
use crate::random::random;
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use symbolon_core::pool::{KeyId, Material, Vacancy};
use zeroize::Zeroizing;

/// A thread's means of making keys: owns what a [`Material::Maker`] borrows, working memory above all.
pub trait Desk<T: Material> {
    /// How many keys are best made together.
    const BATCH: usize = 1;

    /// What a key is made with.
    fn maker(&mut self) -> T::Maker<'_>;

    /// Finishes keys that were just made, before anybody is handed one.
    ///
    /// # Errors
    /// [`Failure::Host`]; none of the keys is then used.
    fn finish(&mut self, keys: &mut [Fresh<'_, T>]) -> Result<(), Failure> {
        let _ = keys;
        Ok(())
    }

    /// Called about once a second on one of a supply's threads. `is_alive` tells whether a key is to be had, in
    /// use, or being made.
    fn tidy(&mut self, is_alive: &dyn Fn(usize, KeyId) -> bool) {
        let _ = is_alive;
    }
}

/// For kinds that need nothing.
impl<T: Material> Desk<T> for ()
where
    for<'m> T: Material<Maker<'m> = ()>,
{
    fn maker(&mut self) {}
}

/// A key being made.
pub struct Fresh<'a, T: Material> {
    /// The number of its pool.
    pub pool: usize,
    /// Its cell.
    pub vacancy: Vacancy<'a, T>,
}

/// Makes a key in a cell, from fresh entropy: the generator and its buffer are wiped after each.
pub(super) fn generate<T: Material, D: Desk<T>>(desk: &mut D, key: &mut T) -> Result<(), Failure> {
    let mut rng = ChaCha20Rng::from_seed(*Zeroizing::new(random().map_err(Failure::Host)?));
    key.generate(&mut desk.maker(), &mut rng).map_err(Failure::Generator)
}
