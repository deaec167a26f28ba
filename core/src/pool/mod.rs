//! Pools of keys made ahead.

mod material;

pub use material::Material;
