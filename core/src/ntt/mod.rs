//! The negacyclic number-theoretic transform: its size and its constant tables. The transforms
//! themselves are kernels, see [`crate::kernel`].

pub mod plan;

pub use plan::{PLANS, Plan};

/// log2 of the ring degree.
pub const LOG_N: usize = 12;

/// The ring degree: R = Z\[X\]/(X^N + 1).
pub const N: usize = 1 << LOG_N;
