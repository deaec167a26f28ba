//! Other people's libraries on the same work, their answers checked as ours are.

#[cfg(feature = "peers")]
pub mod caches;
#[cfg(feature = "fhe")]
pub mod fhe_rs;
#[cfg(feature = "peers")]
pub mod indices;
#[cfg(feature = "peers")]
pub mod tfhe;
