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
//!   is the feature `critical-section`. With 32 bits a pool has at most 1,023 cells, and see `lock_free/stack.rs` for how long a
//!   thread may sleep.
//! - Two threads that fill, sweep, acquire and drop in any order: checked by loom, `core/tests/loom.rs`.
//!
//! # Time
//! `now` is a coarse tick that the caller counts. A sweep ([`Pool::sweep`]) wipes what is expired where
//! it lies; acquisitions skip it, and the next fillers use its cell in place.
//!
//! # Kinds
//! Bytes of one in a cell, of its public part, and of its serialised form; and how often it may serve.
//!
//! | kind | type | in memory | public | serialised | uses |
//! |---|---|---|---|---|---|
//! | `ml-kem-768` | [`kem::mlkem::DecapsulationKey`](crate::kem::mlkem::DecapsulationKey) | 2,400 | 1,184 | 2,400 | any |
//! | `ml-dsa-65-seed` | [`attest::mldsa::SeedKey`](crate::attest::mldsa::SeedKey) | 1,984 | 1,952 | 1,984 | any |
//! | `fn-dsa-512-draft` | `attest::fndsa::SigningKey` (feature `fn-dsa-sign`) | 2,242 | 897 | 1,345 | any |
//! | `slh-dsa-sha2-128f` | [`attest::slhdsa::SigningKey`](crate::attest::slhdsa::SigningKey) | 64 | 32 | 64 | any |
//! | `bfv-zero-q54` | [`bfv::Zero`](crate::bfv::Zero) | 65,600 | 0 | 55,304 | 1 |
//! | `bfv-zero-q81` | | 98,368 | 0 | 82,952 | 1 |
//! | `blind-q54` | [`matching::SeededBlind`](crate::matching::SeededBlind) | 33,216 | 0 | 32 | 1 |
//! | `blind-q81` | | 49,728 | 0 | 32 | 1 |
//! | `bfv-pair-q54` | [`bfv::KeyPair`](crate::bfv::KeyPair) | 98,432 | 27,688 | 32 | any |
//! | `bfv-pair-q81` | | 147,584 | 41,512 | 32 | any |
//! | `bfv-pair-q135` | | 491,648 | 138,280 | 32 | any |
//! | `bfv-set-q54` | [`bfv::KeySet`](crate::bfv::KeySet), without rotations | 295,104 | 27,688 | 32 | any |
//! | `bfv-set-q81` | | 540,864 | 41,512 | 32 | any |
//! | `bfv-set-q135` | | 2,457,792 | 138,280 | 32 | any |
//!
//! Each rotation of a set takes a [`bfv::GaloisKey`](crate::bfv::GaloisKey) more: 200,960, 397,568 and
//! 1,970,432 bytes with Q54, Q81 and Q135. What is serialised as a 32-byte seed is made again when it is restored, at the same cost;
//! the other forms are copied and, where bytes can be wrong, looked at.

pub mod bytes;
mod material;

pub use material::Material;

// What exchanges words: with the processor's instruction, or within critical sections.
#[cfg(any(target_has_atomic = "32", feature = "critical-section"))]
mod lock_free;

#[cfg(any(target_has_atomic = "32", feature = "critical-section"))]
pub use lock_free::*;
