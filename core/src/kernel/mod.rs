//! Every inner loop, for each kind of processor.
//!
//! [`contract`] states what each kernel must keep and holds the table of them. `scalar` is the
//! meaning: portable code. The algorithms for vector units are written once, in `vector/`, over the
//! operations of `lanes`; `avx512`, `avx2` and `neon` are these operations and a table each.
#![allow(unsafe_code)]

pub mod contract;
mod lanes;
mod scalar;
#[cfg(test)]
mod tests;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod twiddles;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vector;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

pub use contract::Kernels;

/// A safe function for the table, around one that has the instructions.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! vector_kernel {
    ($lanes:ty, $features:literal, $module:ident::$name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)?) => {
        fn $name($($arg: $type),*) $(-> $out)? {
            #[target_feature(enable = $features)]
            fn $name($($arg: $type),*) $(-> $out)? {
                $module::$name::<$lanes>($($arg),*)
            }
            // SAFETY: the table is handed out for a capability value only, which proves that the
            // processor has the instructions.
            unsafe { $name($($arg),*) }
        }
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use vector_kernel;

/// The table of a vector unit: each algorithm of `vector/` compiled for `$lanes` with `$features`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! vector_kernels {
    ($lanes:ty, $isa:literal, $features:literal) => {
        use super::contract::{Kernels, Limb};
        use super::vector::{ntt, pointwise};
        use super::{scalar, vector_kernel};
        use crate::ntt::Plan;

        pub(crate) static KERNELS: Kernels = Kernels {
            isa: $isa,
            forward,
            inverse,
            mul,
            mul_assign,
            mul_acc,
            add_assign,
            sub_assign,
            negate,
            to_mont,
            from_mont,
            block_sums,
            ..scalar::KERNELS
        };

        vector_kernel!($lanes, $features, ntt::forward(x: &mut Limb, plan: &Plan));
        vector_kernel!($lanes, $features, ntt::inverse(x: &mut Limb, plan: &Plan));
        vector_kernel!($lanes, $features, pointwise::mul(out: &mut Limb, a: &Limb, b: &Limb, plan: &Plan));
        vector_kernel!($lanes, $features, pointwise::mul_assign(a: &mut Limb, b: &Limb, plan: &Plan));
        vector_kernel!($lanes, $features, pointwise::mul_acc(out: &mut Limb, a: &Limb, b: &Limb, plan: &Plan));
        vector_kernel!($lanes, $features, pointwise::add_assign(a: &mut Limb, b: &Limb, plan: &Plan));
        vector_kernel!($lanes, $features, pointwise::sub_assign(a: &mut Limb, b: &Limb, plan: &Plan));
        vector_kernel!($lanes, $features, pointwise::negate(a: &mut Limb, plan: &Plan));
        vector_kernel!($lanes, $features, pointwise::to_mont(a: &mut Limb, plan: &Plan));
        vector_kernel!($lanes, $features, pointwise::from_mont(a: &mut Limb, plan: &Plan));
        vector_kernel!($lanes, $features, pointwise::block_sums(out: &mut [u32], a: &Limb, b: &Limb, plan: &Plan));
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use vector_kernels;
