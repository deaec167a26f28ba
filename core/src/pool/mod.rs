//! Pools of keys made ahead: what is slow to make is made before it is asked for.
//!
//! A [`Pool`] is a fixed number of cells, where the caller puts them: a static ([`Fixed`]), or memory of
//! its own ([`Pool::place`]). A key is made in its cell, used in its cell and wiped in its cell; what threads
//! exchange are indices. Last in, first out: the next key is the one that is in the cache.
//!
//! ```
//! # use symbolon_core::{error::Error, pool::{Fixed, Material, Miss, Policy}};
//! # #[derive(bytemuck::Zeroable, zeroize::Zeroize)]
//! # #[repr(C)]
//! # struct Key([u8; 32]);
//! # impl Material for Key {
//! #     const NAME: &'static str = "example";
//! #     const MAX_USES: Option<u32> = None;
//! #     const PUBLIC_SIZE: usize = 0;
//! #     const SERIAL_SIZE: usize = 32;
//! #     type Maker<'m> = ();
//! #     fn generate<R: rand_core::CryptoRng + ?Sized>(&mut self, (): &mut (), rng: &mut R) -> Result<(), Error> {
//! #         rng.fill_bytes(&mut self.0);
//! #         Ok(())
//! #     }
//! #     fn public(&self, (): &mut (), _: &mut [u8]) -> Result<(), Error> { Ok(()) }
//! #     fn serialise(&self, (): &mut (), _: &mut [u8]) -> Result<(), Error> { Ok(()) }
//! #     fn restore(&mut self, (): &mut (), _: &[u8]) -> Result<(), Error> { Ok(()) }
//! # }
//! # let mut rng = <chacha20::ChaCha20Rng as rand_core::SeedableRng>::from_seed([7; 32]);
//! static POOL: Fixed<Key, 16> = Fixed::new(Policy::new(16));
//!
//! // One thread, or the idle loop: until there are as many as the high watermark.
//! while POOL.wanted() > 0 {
//!     POOL.fill(0, |key| key.generate(&mut (), &mut rng))?;
//! }
//! // Others, whenever they need one.
//! let key = POOL.acquire(1).expect("sixteen are there");
//! assert_ne!(key.0, [0; 32]);
//! drop(key); // Back to the others, or wiped if it may not be used again.
//! # Ok::<(), Error>(())
//! ```
//!
//! # What holds
//! - No key is handed out to two at once, none that is expired, and none more often than its policy or its
//!   kind allows. [`Lease::share`] gives counted references for one use; the last to be dropped ends it.
//! - Whatever is over is wiped before its cell is free: used up, expired, retired, a filler that failed or
//!   panicked.
//! - Lock-free: a thread that stalls anywhere blocks no other. A filler that never comes back costs its
//!   cell. Exchanges of one word are all it takes, of 64 or of 32 bits; for processors that have none there
//!   is the feature `critical-section`. With 32 bits a pool has at most 1,023 cells, and see `stack.rs` for how long a
//!   thread may sleep.
//! - Two threads that fill, sweep, acquire and drop in any order: checked by loom, `core/tests/loom.rs`.
//!
//! # Time
//! `now` is a coarse tick that the caller counts. A sweep ([`Pool::sweep`]) wipes what is expired where
//! it lies; acquisitions skip it, and the next fillers use its cell in place.

mod cell;
#[cfg(loom)]
pub mod faults;
#[cfg(not(loom))]
mod faults;
mod lease;
mod material;
mod policy;
#[allow(clippy::module_inception)]
mod pool;
mod primitive;
mod stack;

pub use cell::Cell;
pub use lease::{KeyId, Lease, PoolRef, TooManyShares, Vacancy};
pub use material::Material;
pub use policy::Policy;
pub use pool::{Fixed, Miss, Pool, Stats};
