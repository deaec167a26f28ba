//! What the benches of pools share: a key that is mere bytes, and what hands things out.

use bytemuck::Zeroable;
use rand_core::CryptoRng;
use symbolon_core::Error;
use symbolon_core::pool::{Material, Policy, bytes};
use symbolon_platform::locked::{OnFailure, Options};
use symbolon_platform::pool::LockedPool;
use zeroize::Zeroize;

/// Locked memory where there is enough, else any: the time is the same.
pub const MEMORY: Options = Options { on_failure: OnFailure::Degrade, huge: false };

/// A key of so many random bytes.
#[derive(Zeroable, Zeroize)]
#[repr(C)]
pub struct Plain<const SIZE: usize>(pub [u8; SIZE]);

impl<const SIZE: usize> Plain<SIZE> {
    /// Reads all of it.
    #[must_use]
    pub fn sum(&self) -> u64 {
        let (words, _) = self.0.as_chunks();
        words.iter().fold(0, |sum: u64, word| sum.wrapping_add(u64::from_le_bytes(*word)))
    }
}

impl<const SIZE: usize> Material for Plain<SIZE> {
    const NAME: &'static str = "plain";
    const MAX_USES: Option<u32> = None;
    const PUBLIC_SIZE: usize = 0;
    const SERIAL_SIZE: usize = SIZE;
    type Maker<'m> = ();

    fn generate<R: CryptoRng + ?Sized>(&mut self, (): &mut (), rng: &mut R) -> Result<(), Error> {
        rng.fill_bytes(&mut self.0);
        Ok(())
    }

    fn public(&self, (): &mut (), out: &mut [u8]) -> Result<(), Error> {
        bytes::write(&[], out)
    }

    fn serialise(&self, (): &mut (), out: &mut [u8]) -> Result<(), Error> {
        bytes::write(&self.0, out)
    }

    fn restore(&mut self, (): &mut (), bytes: &[u8]) -> Result<(), Error> {
        self.0 = *bytes::read(bytes)?;
        Ok(())
    }
}

/// A full pool of keys.
#[must_use]
pub fn full<T, F>(cells: u32, policy: Policy, mut make: F) -> LockedPool<T>
where
    T: Material,
    F: FnMut(&mut T),
{
    let pool = LockedPool::new(cells, policy, MEMORY).expect("memory");
    for _ in 0..cells {
        let made = pool.fill(0, |key| {
            make(key);
            Ok::<_, Error>(())
        });
        assert_eq!(made, Ok(true), "a cell");
    }
    pool
}

/// Hands out, and takes back.
pub trait Exchange: Sync {
    /// Who it is.
    const WHO: &'static str;
    /// Things to hand out, enough for any bench.
    const THINGS: u32 = 64;

    /// With all of its things.
    fn new() -> Self;

    /// Takes one and gives it back.
    fn pair(&self);

    /// Whether all things are there, each once.
    fn is_complete(&self) -> bool;
}

/// Our pool, of keys of `SIZE` bytes.
pub struct Leases<const SIZE: usize>(LockedPool<Plain<SIZE>>);

impl<const SIZE: usize> Exchange for Leases<SIZE> {
    const WHO: &'static str = "any";

    fn new() -> Self {
        Self(full(Self::THINGS, Policy::new(Self::THINGS), |key: &mut Plain<SIZE>| key.0.fill(7)))
    }

    fn pair(&self) {
        // The key is what is wanted; the lease stays in registers, as it does with who uses a key.
        let key = self.0.acquire(0).expect("a key");
        std::hint::black_box(&*key);
    }

    fn is_complete(&self) -> bool {
        let keys: Vec<_> = std::iter::from_fn(|| self.0.acquire(0).ok()).collect();
        let mut ids: Vec<_> = keys.iter().map(|key| key.id().cell).collect();
        ids.sort_unstable();
        ids.into_iter().eq(0..Self::THINGS) && keys.iter().all(|key| key.0 == [7; SIZE])
    }
}
