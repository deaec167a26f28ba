//! The negacyclic number-theoretic transform and the pointwise arithmetic around it.
//!
//! [`contract`] states what every kernel must keep; `kernel/` holds the kernels, one file for each
//! capability, all with the same functions; [`plan`] holds the constant tables.

pub mod contract;
mod kernel;
pub mod plan;
#[cfg(test)]
mod tests;

pub use contract::Kernels;
pub use plan::{PLANS, Plan};

/// log2 of the ring degree.
pub const LOG_N: usize = 12;

/// The ring degree: R = Z\[X\]/(X^N + 1).
pub const N: usize = 1 << LOG_N;
