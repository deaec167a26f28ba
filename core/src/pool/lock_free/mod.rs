//! The pool itself, of exchanges of one word: [`Pool`] over [`Cell`]s, two `stack`s of their indices, and
//! who may touch a key when.

mod cell;
#[cfg(not(loom))]
mod faults;
#[cfg(loom)]
pub mod faults;
mod lease;
mod policy;
mod pool;
mod stack;

pub use cell::Cell;
pub use lease::{KeyId, Lease, PoolRef, TooManyShares, Vacancy};
pub use policy::Policy;
pub use pool::{Fixed, Miss, Pool, Stats};
