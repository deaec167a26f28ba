//! What every kernel must keep: order, alignment and bounds.
//!
//! **Words.** A limb is N words of 32 bits, 64-byte aligned, canonical in \[0, q) before and after
//! every call. Inside a call values are lazy: bounded, in units of q, as below.
//!
//! **Order.** The transform leaves bit-reversed order with each group of 256 words, seen as a square
//! of 16 rows, transposed: position i = 256 g + 16 r + c holds the value at psi^(2 brv(n) + 1) with
//! n = 256 g + 16 c + r, where psi is the plan's 2N-th root and brv reverses log2(N) bits. Vector
//! units do the last four layers on transposed squares and save turning them back. The roots with
//! X^128 = c_k, k = 2 g + h, one block, are then columns 8 h .. 8 h + 7 of group g; X^256 = c_k is
//! all of group k. The k-th output of the 32-point transform (`forward_small`) is the value at c_k.
//! Transforms mod t stay in bit-reversed order.
//!
//! **Bounds, portable kernels.** Since q < 2^27, a word holds 32 q. Shoup's product takes any word
//! and gives less than 2q.
//!
//! *Forward.* A butterfly (a, b) -> (a + w b, a - w b + 2q) adds at most 2q to the larger input.
//! From \[0, q), twelve layers stay below 25 q ([`FORWARD_BOUND`]): no reduction before the end,
//! where one makes the values canonical.
//!
//! *Inverse.* A butterfly (a, b) -> (a + b, (a - b) w) doubles the sum and renews the difference
//! below 2q. Four layers ([`INVERSE_STRIDE`]) take 2q to 32 q, so sums are reduced (to below 2q) in
//! layers 4 and 8; layer 12 multiplies both legs by 1/N, which renews them.
//!
//! **Bounds, vector kernels.** Words are signed and hold 16 q. For |b| <= B q, a centred factor and
//! its rounded companion, the quotient is off by at most 2^-33 B q < B / 64 beside its rounding, so
//! Shoup's product lies in \[-B/64, 1 + B/64\] q (NEON rounds to nearest and loses twice as much:
//! within 1/2 + B/32, which is less).
//!
//! *Forward.* A layer takes B to B + 1 + B/64: from 1 to below 14.6 (`VECTOR_BOUND`) after twelve.
//!
//! *Centring* a word of at most B q shifts instead of dividing, since q lies less than 2^(b - 6) below
//! 2^b: it leaves less than (1/2 + (B + 1/2) / 64) 2^b < (0.51 + (B + 1/2) / 63) q.
//!
//! *Inverse.* A pass of four layers takes words below 7q/5 (canonical ones, products, centred ones).
//! Sums double. The two vectors that have only been summed are centred (to 0.7 q) after three
//! layers, at 11.2 q; after the fourth the others that end in sums, at most 9 q, are centred; what ends
//! in a product, or in the sum of the two that were centred, is below 7q/5 again.
//!
//! **Sums of products** are made in 64-bit lanes and reduced once. Montgomery's reduction takes less
//! than 2^32 q, that is 32 products of words below 2^27 with words below q, and gives less than 2q.
//!
//! **Constant time.** No branch, index or division that depends on a word. The one exception is
//! **rejection**: samplers place a sample after those that were kept, and which were thrown away is
//! independent of the values of those that were kept.

use super::scalar;
use crate::cap::{Capability, Scalar};
use crate::ntt::{LOG_N, N, PLANS, Plan, WIDE_PLANS};
use crate::zq::Prime;
use bytemuck::Zeroable;

/// The bound, in q, on values at the end of the forward transform: 1 + 2 log2 N.
pub const FORWARD_BOUND: u64 = 1 + 2 * LOG_N as u64;

/// After how many layers the inverse transform reduces its sums.
pub const INVERSE_STRIDE: usize = 4;

/// The bound, in 64ths of q, on values at the end of a vector unit's forward transform.
const VECTOR_BOUND: u64 = {
    let mut bound = 64u64;
    let mut layer = 0;
    while layer < LOG_N {
        bound += 64 + bound.div_ceil(64);
        layer += 1;
    }
    bound
};

const fn check(prime: Prime) {
    let (q, top) = (prime.q() as u64, 1 << prime.bits());
    assert!(FORWARD_BOUND * q <= 1 << 32, "the lazy forward transform overflows");
    assert!((2 << INVERSE_STRIDE) * q <= 1 << 32, "the lazy inverse transform overflows");
    // What `centre` takes (in the forward transform a product is added first).
    assert!((VECTOR_BOUND + 35) * q / 64 < (1 << 31) - (1 << 26), "the signed transform overflows");
    assert!(12 * q < (1 << 31) - (1 << 26), "the signed inverse transform overflows");
    assert!(64 * (top - q) <= top, "q is too far below 2^b to divide by shifting");
}

const _: () = {
    let mut i = 0;
    while i < PLANS.len() {
        check(PLANS[i].prime);
        i += 1;
    }
    let mut i = 0;
    while i < WIDE_PLANS.len() {
        check(WIDE_PLANS[i][0].prime);
        i += 1;
    }
    assert!(LOG_N.is_multiple_of(INVERSE_STRIDE), "the last layer must be one that reduces");
};

/// Words in a group: see **Order**.
pub const GROUP: usize = 256;

/// The largest transform that `Kernels::forward_small` and its inverse do: users in a batch.
pub const MAX_SMALL: usize = 32;

/// One limb.
pub type Limb = [u32; N];

/// Bits of a packed word, and bytes of a packed limb.
pub const WORD_BITS: usize = 27;
/// Bytes of a packed limb.
pub const PACKED: usize = N * WORD_BITS / 8;

/// The centred binomial's parameter: a sample is the difference of two sums of ETA bits, so its
/// variance is ETA / 2 = 10.5 (sigma 3.24, above the 3.2 of the Homomorphic Encryption Standard).
pub const ETA: u32 = 21;

/// 1,024 bytes of keystream: sixteen consecutive ChaCha12 blocks, word i of block b in row i, column
/// b, so that sixteen lanes make sixteen blocks without moving a word.
#[derive(Clone, PartialEq, Eq, Zeroable)]
#[repr(C, align(64))]
pub struct Chunk(pub [[u32; 16]; 16]);

/// ChaCha's rounds, two at a time. Twelve: the best attack known reaches seven, and 20 would cost a
/// batch 6 % more with AVX-512, 15 % with AVX2.
pub(crate) const DOUBLE_ROUNDS: usize = 6;

/// ChaCha's constant, "expand 32-byte k" (RFC 8439 section 2.3).
pub(crate) const CHACHA: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// Binomial samples of a chunk: three from every four words.
pub const SAMPLES: usize = 192;

/// Words that a sampler may overwrite beyond the last that it keeps.
pub const KEPT_SLACK: usize = 16;

/// Keccak states that a kernel permutes at once.
pub const SPONGES: usize = 8;

/// Bytes of a block: as many as TurboSHAKE128 absorbs at a time (RFC 9861). Sponges that absorb fewer have zeros behind
/// them, which change nothing.
pub const BLOCK: usize = 168;
/// A block.
pub type Block = [u8; BLOCK];

/// Rounds of Keccak-p\[1600\]: the last so many of 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    /// 12: TurboSHAKE (RFC 9861).
    Half,
    /// 24: FIPS 202.
    All,
}

/// These states: row i has word i (lane x + 5 y of FIPS 202) of each.
#[derive(Clone, PartialEq, Eq, Zeroable)]
#[repr(C, align(64))]
pub struct Sponges(pub [[u64; SPONGES]; 25]);

impl Sponges {
    /// The first 32 bytes of one of them.
    #[must_use]
    pub fn digest(&self, which: usize) -> [u8; 32] {
        let mut out = [0; 32];
        for (out, row) in out.as_chunks_mut().0.iter_mut().zip(&self.0) {
            *out = row.get(which).copied().unwrap_or_default().to_le_bytes();
        }
        out
    }
}

/// Fraction bits of the rounding mod t.
pub const ROUND_BITS: u32 = 42;

/// One limb's constants for the rounding mod t.
#[derive(Clone, Copy, Debug)]
pub struct Rounding {
    /// The limb's prime.
    pub prime: Prime,
    /// 2^32 (Q/q)^-1 mod q.
    pub punctured: u32,
    /// round(t 2^[`ROUND_BITS`] / q).
    pub factor: u32,
}

/// Primes on either side of a base conversion, at most.
pub const MAX_BASE: usize = 11;

/// Fraction bits of [`Source::share`].
pub const SHARE_BITS: u32 = 56;

/// One prime of the base that is left.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The prime.
    pub prime: Prime,
    /// Its factor of y = x w 2^-32 mod q.
    pub punctured: u32,
    /// round(2^[`SHARE_BITS`] / q): what y counts in the whole modulus.
    pub share: u32,
    /// What y counts beside its weights, in 2^-32.
    pub fraction: u32,
}

/// One prime of the base that is entered.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The prime.
    pub prime: Prime,
    /// 2^32 times each source's weight, mod q.
    pub weights: [u32; MAX_BASE],
    /// 2^32 times the negative of the whole modulus' weight, mod q.
    pub overflow: u32,
    /// 2^32 mod q.
    pub one: u32,
}

/// Limbs out, limbs in, and the base of each.
pub(crate) type Convert = fn(&mut [Limb], &[Limb], &[Source], &[Target]);

/// An automorphism X -> X^g on values in transform order, run by run (columns of a group; g odd).
///
/// The four lowest bits of a position in bit-reversed order are the highest of its exponent. So runs
/// of 16 go to runs of 16, groups to groups, and within a run j, its position with its bits reversed,
/// comes from g j + carry.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C, align(64))]
pub struct Runs {
    /// For each run of the result: the run it comes from, in a group that all 16 share.
    pub(crate) from: [u32; N / 16],
    /// What is added to j before it is multiplied by g, below 16.
    pub(crate) carry: [u32; N / 16],
    /// For each j: g j mod 16 with its bits reversed, four bits from the lowest on.
    pub(crate) positions: u64,
}

/// The kernels chosen for a processor: one switchboard, filled once, passed by reference.
///
/// Each entry keeps the contract of this module. The fields are private to core, so only tested
/// kernels can stand behind them.
pub struct Kernels {
    pub(crate) isa: &'static str,
    /// Coefficients to values, natural order in, transform order out.
    pub(crate) forward: fn(&mut Limb, &Plan),
    /// Values to coefficients, 1/N included. With halves, takes the plan of the other one.
    pub(crate) inverse: fn(&mut Limb, &Plan),
    /// Both at once: x = transform of x, plus a b 2^-32.
    pub(crate) forward_mul_acc: fn(&mut Limb, &Limb, &Limb, &Plan),
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
    /// a = a c 2^-32 of a constant c.
    pub(crate) scale: fn(&mut Limb, u32, &Plan),
    /// The layer above the halves: (a, b) -> (a + i b, a - i b).
    pub(crate) split: fn(&mut Limb, &mut Limb, &Plan),
    /// Its inverse, but for 1/2: (a, b) -> (a + b, (b - a) i).
    pub(crate) join: fn(&mut Limb, &mut Limb, &Plan),
    /// out = out + the sum of a b 2^-32 over pairs of limbs: every so-many-th of each slice, from the
    /// first on. At most [`MAX_BASE`] pairs.
    pub(crate) dot_acc: fn(&mut Limb, [&[Limb]; 2], [usize; 2], &Plan),
    /// The product of (a, b) and (c, d), times 2^-32: a = a c, b = b d, c = a d + b c.
    pub(crate) tensor: fn(&mut Limb, &mut Limb, &mut Limb, &Limb, &Plan),
    /// out = x c 2^-32, x canonical mod another prime and centred.
    pub(crate) raise: fn(&mut Limb, &Limb, &Prime, u32, &Plan),
    /// From one base to another. With y = x w 2^-32 mod q of each source and k = round(sum y share):
    /// out = sum y weight + round(sum y fraction) - k whole, all mod each target.
    pub(crate) convert: Convert,
    /// out = x with its values permuted.
    pub(crate) permute: fn(&mut Limb, &Limb, &Runs),
    /// out\[k\] = sum over the k-th of `out.len()` equal blocks of a b 2^-32. At most 512 words a
    /// block, so that a sum of products fits 63 bits.
    pub(crate) block_sums: fn(&mut [u32], &Limb, &Limb, &Plan),
    /// The first log2(len) layers on a short vector: coefficients of Y^j to values at the c_k.
    /// `len` is 8, 16 or 32 ([`MAX_SMALL`]).
    pub(crate) forward_small: fn(&mut [u32], &Plan),
    /// Its inverse times `len`: the caller's constant takes 1/len.
    pub(crate) inverse_small: fn(&mut [u32], &Plan),
    /// Plaintext words, canonical mod t: the first `layers` layers of the forward transform. The
    /// length is a power of two, at least 2^layers.
    pub(crate) plain_forward: fn(&mut [u32], usize),
    /// Plaintext words: the inverse of the same layers (one at least), 1/2^layers included.
    pub(crate) plain_inverse: fn(&mut [u32], usize),
    /// out = out + round(Q m / t), m canonical mod t: 2^32 floor(Q/t) mod q and Q mod t are given.
    pub(crate) add_scaled: fn(&mut Limb, &Limb, u32, u32, &Plan),
    /// Words canonical mod t to the residues of their centred values.
    pub(crate) lift_plain: fn(&mut Limb, &Limb, &Plan),
    /// round(t w / Q) mod t, from the limbs of w: see [`crate::rns`].
    pub(crate) round: fn(&mut Limb, &[Limb], &[Rounding]),
    /// Chunks of ChaCha12 under a key, from a block counter (a multiple of 16) on. The nonce is zero,
    /// the counter 64 bits, as in the original cipher.
    pub(crate) keystream: fn(&mut [Chunk], &[u32; 8], u64),
    /// Signed words, ones among 42 bits less [`ETA`]: sample 16 (3 g + j) + b is made of word
    /// (4 g + j, b) and bits 10 j .. 10 j + 10 of word (4 g + 3, b).
    pub(crate) noise: fn(&mut [u32; SAMPLES], &Chunk),
    /// Signed words, byte mod 3 less 1, 255 left out; bytes in the order row, byte of the word
    /// (lowest first), column. Gives how many there are; needs room for 1,024 and [`KEPT_SLACK`].
    pub(crate) ternary: fn(&mut [u32], &Chunk) -> usize,
    /// The low bits of each word, as many as q has, row by row, those left out that are not below q.
    /// Gives how many there are; needs room for 256 and [`KEPT_SLACK`].
    pub(crate) uniform: fn(&mut [u32], &Chunk, &Plan) -> usize,
    /// Signed words |x| < 2^24 in the first limb to canonical residues in each.
    pub(crate) spread: fn(&mut [Limb], &[&Plan]),
    /// Word i to bits 27 i .. 27 i + 27, little-endian.
    pub(crate) pack: fn(&mut [u8; PACKED], &Limb),
    /// And back. Gives whether every word is below q.
    pub(crate) unpack: fn(&mut Limb, &[u8; PACKED], &Plan) -> bool,
    /// Adds to each of the first so many states a block of its own, of little-endian words. To the others anything.
    pub(crate) absorb: fn(&mut Sponges, &[&Block; SPONGES], usize),
    /// Keccak-p\[1600\] (FIPS 202, section 3.3) on the first so many states. Of the others, what is then in them means
    /// nothing.
    pub(crate) keccak: fn(&mut Sponges, usize, Rounds),
    /// Of single and of double precision.
    pub(crate) quantise_f32: Quantise<f32>,
    pub(crate) quantise_f64: Quantise<f64>,
}

/// From embeddings to integers.
#[derive(Debug)]
pub struct Quantise<F> {
    /// The sum of squares: eight partial sums, of every eighth component each, added in order.
    pub(crate) square_norm: fn(&[F]) -> f64,
    /// out\[i\] = x\[i\] factor, rounded to the nearest integer, ties to even; below 2^15.
    pub(crate) scale_round: fn(&mut [i16], &[F], f64),
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
            #[cfg(target_arch = "x86_64")]
            Capability::Avx512(_) => &super::avx512::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Capability::Avx2(_) => &super::avx2::KERNELS,
            #[cfg(target_arch = "aarch64")]
            Capability::Neon(_) => &super::neon::KERNELS,
            _ => Self::scalar(Scalar),
        }
    }

    /// What the kernels are written for: `scalar`, `avx2`, `avx512` or `neon`.
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
