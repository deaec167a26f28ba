//! Other people's libraries on the same work, their answers checked as ours are.

pub mod caches;
pub mod fhe_rs;
pub mod indices;
pub mod tfhe;
