//! Pools of keys made ahead.

pub mod bytes;
mod material;

pub use material::Material;
