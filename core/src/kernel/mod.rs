//! Every inner loop, for each kind of processor.
//!
//! [`contract`] states what each kernel must keep and holds the table of them. `scalar` is the
//! meaning: portable code. The algorithms for vector units are written once, in `vector/`, over the
//! operations of `lanes`; `avx512`, `avx2` and `neon` are these operations and a table each. `bytes` is
//! no part of it: what caches search takes less time than a call through a table.
#![allow(unsafe_code)]

#[cfg(any(target_has_atomic = "32", feature = "critical-section"))]
pub(crate) mod bytes;
pub mod contract;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
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
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use twiddles::Twiddles;

/// For each signature a safe function for the table, around one that has the instructions.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! vector_kernel {
    ($lanes:ty, $features:literal;) => {};
    ($lanes:ty, $features:literal;
     $module:ident::$name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)?; $($rest:tt)*) => {
        fn $name($($arg: $type),*) $(-> $out)? {
            #[target_feature(enable = $features)]
            fn $name($($arg: $type),*) $(-> $out)? {
                $module::$name::<$lanes>($($arg),*)
            }
            // SAFETY: the table is handed out for a capability value only, which proves that the
            // processor has the instructions.
            unsafe { $name($($arg),*) }
        }
        vector_kernel! { $lanes, $features; $($rest)* }
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use vector_kernel;

/// The table of a vector unit: each algorithm of `vector/` compiled for `$lanes` with `$features`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! vector_kernels {
    ($lanes:ty, $words:ty, $isa:literal, $features:literal) => {
        use super::contract::{
            Block, Chunk, Kernels, Limb, PACKED, Quantise, Rounding, Rounds, Runs, SAMPLES, SPONGES,
            Source, Sponges, Target,
        };
        use super::vector::{base, keccak, ntt, pack, permute, plain, pointwise, quantise, sample};
        use super::{scalar, vector_kernel};
        use crate::ntt::Plan;
        use crate::zq::Prime;

        pub(crate) static KERNELS: Kernels = Kernels {
            isa: $isa,
            forward,
            inverse,
            forward_mul_acc,
            mul,
            mul_assign,
            mul_acc,
            add_assign,
            sub_assign,
            negate,
            scale,
            split,
            join,
            dot_acc,
            tensor,
            raise,
            convert,
            permute,
            block_sums,
            plain_forward,
            plain_inverse,
            add_scaled,
            lift_plain,
            round,
            keystream,
            noise,
            ternary,
            uniform,
            spread,
            pack,
            unpack,
            absorb,
            keccak,
            quantise_f32: Quantise { square_norm: norm_f32, scale_round: round_f32 },
            quantise_f64: Quantise { square_norm: norm_f64, scale_round: round_f64 },
            // A few words each.
            forward_small: scalar::forward_small,
            inverse_small: scalar::inverse_small,
        };

        vector_kernel! { $lanes, $features;
            ntt::forward(x: &mut Limb, plan: &Plan);
            ntt::inverse(x: &mut Limb, plan: &Plan);
            ntt::forward_mul_acc(x: &mut Limb, a: &Limb, b: &Limb, plan: &Plan);
            pointwise::mul(out: &mut Limb, a: &Limb, b: &Limb, plan: &Plan);
            pointwise::mul_assign(a: &mut Limb, b: &Limb, plan: &Plan);
            pointwise::mul_acc(out: &mut Limb, a: &Limb, b: &Limb, plan: &Plan);
            pointwise::add_assign(a: &mut Limb, b: &Limb, plan: &Plan);
            pointwise::sub_assign(a: &mut Limb, b: &Limb, plan: &Plan);
            pointwise::negate(a: &mut Limb, plan: &Plan);
            pointwise::scale(a: &mut Limb, c: u32, plan: &Plan);
            pointwise::split(a: &mut Limb, b: &mut Limb, plan: &Plan);
            pointwise::join(a: &mut Limb, b: &mut Limb, plan: &Plan);
            base::dot_acc(out: &mut Limb, pairs: [&[Limb]; 2], steps: [usize; 2], plan: &Plan);
            base::tensor(a: &mut Limb, b: &mut Limb, c: &mut Limb, d: &Limb, plan: &Plan);
            base::raise(out: &mut Limb, x: &Limb, from: &Prime, factor: u32, plan: &Plan);
            base::convert(out: &mut [Limb], x: &[Limb], from: &[Source], to: &[Target]);
            permute::permute(out: &mut Limb, x: &Limb, runs: &Runs);
            pointwise::block_sums(out: &mut [u32], a: &Limb, b: &Limb, plan: &Plan);
            plain::plain_forward(x: &mut [u32], layers: usize);
            plain::plain_inverse(x: &mut [u32], layers: usize);
            plain::add_scaled(out: &mut Limb, message: &Limb, delta: u32, q_mod_t: u32, plan: &Plan);
            plain::lift_plain(out: &mut Limb, message: &Limb, plan: &Plan);
            plain::round(out: &mut Limb, w: &[Limb], rounding: &[Rounding]);
            sample::keystream(out: &mut [Chunk], key: &[u32; 8], counter: u64);
            sample::noise(out: &mut [u32; SAMPLES], chunk: &Chunk);
            sample::ternary(out: &mut [u32], chunk: &Chunk) -> usize;
            sample::uniform(out: &mut [u32], chunk: &Chunk, plan: &Plan) -> usize;
            sample::spread(limbs: &mut [Limb], plans: &[&Plan]);
            quantise::norm_f32(vector: &[f32]) -> f64;
            quantise::norm_f64(vector: &[f64]) -> f64;
            quantise::round_f32(out: &mut [i16], vector: &[f32], factor: f64);
            quantise::round_f64(out: &mut [i16], vector: &[f64], factor: f64);
            pack::pack(out: &mut [u8; PACKED], limb: &Limb);
            pack::unpack(out: &mut Limb, bytes: &[u8; PACKED], plan: &Plan) -> bool;
        }

        vector_kernel! { $words, $features;
            keccak::absorb(states: &mut Sponges, blocks: &[&Block; SPONGES], count: usize);
            keccak::keccak(states: &mut Sponges, count: usize, rounds: Rounds);
        }
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use vector_kernels;
