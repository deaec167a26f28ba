//! The kernels, one file for each capability, each filling one [`super::contract::Kernels`].

pub(super) mod scalar;
