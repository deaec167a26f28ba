//! What Symbolon asks of an operating system, and nothing more: which instructions may run, random
//! bytes, the time, memory for secrets, huge pages, threads in their places, and no core dumps. Knows
//! nothing of matching.
//!
//! Memory, threads and dumps are Linux's; elsewhere everything compiles, and what is not done is
//! reported as any other failure.
#![deny(unsafe_code)]

pub mod clock;
pub mod cpu;
pub mod entropy;
pub mod huge;
pub mod locked;
pub mod pool;
pub mod process;
#[cfg(all(feature = "scan", target_os = "linux"))]
pub mod scan;
pub mod threads;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod os;
#[cfg(not(target_os = "linux"))]
#[path = "other.rs"]
mod os;
