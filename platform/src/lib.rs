//! What Symbolon asks of an operating system, and nothing more: which instructions may run, random
//! bytes, and the time. Knows nothing of matching.
#![deny(unsafe_code)]

pub mod clock;
pub mod cpu;
pub mod entropy;
