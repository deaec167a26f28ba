//! What every kernel must keep: order, alignment and bounds.
//!
//! **Words.** A limb is N words of 32 bits, 64-byte aligned, canonical in \[0, q) before and after
//! every call. Inside a call values are lazy: bounded, in units of q, as below.
//!
//! **Order.** Position i of a transformed limb holds the value at psi^(2 brv(i) + 1), where psi is
//! the plan's 2N-th root and brv reverses log2(N) bits (the order in which decimation in time
//! leaves it). So 128 k .. 128 k + 127 are the roots with X^128 = c_k, one block, and the k-th
//! output of the 32-point transform (`forward_small`) is the value at c_k.
//!
//! **Bounds.** Since q < 2^27, a word holds 32 q. Shoup's product takes any word and gives less
//! than 2q.
//!
//! *Forward.* A butterfly (a, b) -> (a + w b, a - w b + 2q) adds at most 2q to the larger input.
//! From \[0, q), twelve layers stay below 25 q ([`FORWARD_BOUND`]): no reduction before the end,
//! where one makes the values canonical.
//!
//! *Inverse.* A butterfly (a, b) -> (a + b, (a - b) w) doubles the sum and renews the difference
//! below 2q. Four layers ([`INVERSE_STRIDE`]) take 2q to 32 q, so sums are reduced (to below 2q) in
//! layers 4 and 8; layer 12 multiplies both legs by 1/N, which renews them.
//!
//! **Constant time.** No branch, index or division that depends on a word.

use super::N;
use super::kernel::scalar;
use super::plan::{PRIMES, Plan};
use crate::cap::{Capability, Scalar};

/// The bound, in q, on values at the end of the forward transform: 1 + 2 log2 N.
pub const FORWARD_BOUND: u64 = 1 + 2 * super::LOG_N as u64;

/// After how many layers the inverse transform reduces its sums.
pub const INVERSE_STRIDE: usize = 4;

const _: () = {
    let mut i = 0;
    while i < super::PLANS.len() {
        let q = PRIMES[i].q() as u64;
        assert!(FORWARD_BOUND * q <= 1 << 32, "the lazy forward transform overflows");
        assert!((2 << INVERSE_STRIDE) * q <= 1 << 32, "the lazy inverse transform overflows");
        i += 1;
    }
    assert!(super::LOG_N.is_multiple_of(INVERSE_STRIDE), "the last layer must be one that reduces");
};

/// The largest transform that `Kernels::forward_small` and its inverse do: users in a batch.
pub const MAX_SMALL: usize = 32;

/// One limb.
pub type Limb = [u32; N];

/// The kernels chosen for a processor: one switchboard, filled once, passed by reference.
///
/// Each entry keeps the contract of this module. The fields are private to core, so only tested
/// kernels can stand behind them.
pub struct Kernels {
    pub(crate) isa: &'static str,
    /// Coefficients to values, natural order in, transform order out.
    pub(crate) forward: fn(&mut Limb, &Plan),
    /// Values to coefficients, 1/N included.
    pub(crate) inverse: fn(&mut Limb, &Plan),
    /// out = a b 2^-32.
    pub(crate) mul: fn(&mut Limb, &Limb, &Limb, &Plan),
    /// a = a b 2^-32.
    pub(crate) mul_assign: fn(&mut Limb, &Limb, &Plan),
    /// out = out + a b 2^-32.
    pub(crate) mul_acc: fn(&mut Limb, &Limb, &Limb, &Plan),
    /// a = a + b.
    pub(crate) add_assign: fn(&mut Limb, &Limb, &Plan),
    /// a = a - b.
    pub(crate) sub_assign: fn(&mut Limb, &Limb, &Plan),
    /// a = -a.
    pub(crate) negate: fn(&mut Limb, &Plan),
    /// a = a 2^32.
    pub(crate) to_mont: fn(&mut Limb, &Plan),
    /// a = a 2^-32.
    pub(crate) from_mont: fn(&mut Limb, &Plan),
    /// out\[k\] = sum over the k-th of `out.len()` equal blocks of a b 2^-32. At most 512 words a
    /// block, so that a sum of products fits 63 bits.
    pub(crate) block_sums: fn(&mut [u32], &Limb, &Limb, &Plan),
    /// The first log2(len) layers on a short vector: coefficients of Y^j to values at the c_k.
    /// `len` is a power of two up to [`MAX_SMALL`].
    pub(crate) forward_small: fn(&mut [u32], &Plan),
    /// Its inverse times `len`: the caller's constant takes 1/len.
    pub(crate) inverse_small: fn(&mut [u32], &Plan),
    /// Plaintext words, canonical mod t: the first `layers` layers of the forward transform. The
    /// length is a power of two, at least 2^layers.
    pub(crate) plain_forward: fn(&mut [u32], usize),
    /// Plaintext words: the inverse of the same layers (one at least), 1/2^layers included.
    pub(crate) plain_inverse: fn(&mut [u32], usize),
}

impl Kernels {
    /// Portable kernels, for any processor.
    #[must_use]
    pub const fn scalar(_: Scalar) -> &'static Self {
        &scalar::KERNELS
    }

    /// The fastest kernels there are for a capability. Where none are written for it, that is the
    /// portable ones, and [`Kernels::isa`] says so.
    #[must_use]
    pub const fn select(capability: Capability) -> &'static Self {
        match capability {
            Capability::Scalar(_)
            | Capability::Avx2(_)
            | Capability::Avx512(_)
            | Capability::Neon(_) => Self::scalar(Scalar),
        }
    }

    /// What the kernels are written for: `scalar`.
    #[must_use]
    pub const fn isa(&self) -> &'static str {
        self.isa
    }
}

impl core::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Kernels").field("isa", &self.isa).finish_non_exhaustive()
    }
}
