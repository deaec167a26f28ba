//! Constant tables: twiddle factors of each prime, and of t, in .rodata.

use super::{LOG_N, N};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::kernel::Twiddles;
use crate::zq::Prime;
use crate::zt;

/// What a transform of N words modulo one prime needs: the ring mod X^N + 1, or one half of the ring
/// of twice the degree (see [`super`]).
///
/// Position m + i (m a power of two, i < m) holds the twiddle w of block i in the layer of m blocks:
/// psi^brv(m + i), brv reversing log2(N) bits, psi a 2N-th root of unity; in half h of the larger ring
/// psi^brv((2 + h) m + i), one bit more, psi a 4N-th root. The inverse needs no table: its twiddle for
/// the same block is -w\[2m - 1 - i\], of the other half where there are two. 32 KiB a plan.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Plan {
    /// w, canonical.
    pub(crate) w: [u32; N],
    /// Shoup's companions, floor(2^32 w / q).
    pub(crate) ws: [u32; N],
    /// The prime.
    pub prime: Prime,
    /// 1 over the ring's degree, and its companion: scales the sum leg of the inverse's last layer.
    pub(crate) n_inv: (u32, u32),
    /// The inverse's last twiddle times that, and its companion.
    pub(crate) w_last: (u32, u32),
    /// 2^32 psi^N, the twiddle of the layer that makes the two halves; 0 where there is but one.
    pub(crate) top: u32,
    /// The plan of the other half, whose twiddles the inverse takes; without halves, this one.
    pub(crate) other: &'static Self,
    /// The same factors as vector units take them.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub(crate) twiddles: &'static Twiddles,
}

/// The low `bits` bits of i, reversed.
const fn reverse(i: usize, bits: usize) -> usize {
    i.reverse_bits() >> (usize::BITS as usize - bits)
}

/// Twiddles and their companions: `half` is none for the ring of degree N.
///
/// # Panics
/// Unless `psi` is a primitive root of unity of the order that is needed.
pub(crate) const fn twiddles(prime: Prime, psi: u32, half: Option<usize>) -> [[u32; N]; 2] {
    let degree = if half.is_none() { N } else { 2 * N };
    assert!((prime.q() - 1).is_multiple_of(2 * degree as u32), "no such root of unity");
    assert!(prime.pow(psi, degree as u64) == prime.q() - 1, "psi^N must be -1");
    let psi_shoup = prime.shoup(psi);
    let mut powers = [1; 2 * N];
    let mut k = 1;
    while k < degree {
        powers[k] = prime.shoup_mul(powers[k - 1], psi, psi_shoup);
        k += 1;
    }
    let mut out = [[1; N], [prime.shoup(1); N]];
    let mut at = 1;
    while at < N {
        let blocks = 1 << at.ilog2();
        let exponent = match half {
            None => reverse(at, LOG_N),
            Some(half) => reverse(at + (1 + half) * blocks, LOG_N + 1),
        };
        out[0][at] = powers[exponent];
        out[1][at] = prime.shoup(powers[exponent]);
        at += 1;
    }
    out
}

impl Plan {
    const fn new(
        prime: Prime,
        psi: u32,
        half: Option<usize>,
        other: &'static Self,
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))] twiddles: &'static Twiddles,
    ) -> Self {
        let [w, ws] = self::twiddles(prime, psi, half);
        let (degree, top) = match half {
            None => (N, 0),
            Some(_) => (2 * N, prime.mul(prime.pow(psi, N as u64), prime.residue(1 << 32))),
        };
        let n_inv = prime.inv(degree as u32);
        // As everywhere: the inverse's twiddle is the negative of the mirrored block's.
        let w_last = prime.mul(prime.neg(w[1]), n_inv);
        Self {
            w,
            ws,
            prime,
            n_inv: (n_inv, prime.shoup(n_inv)),
            w_last: (w_last, prime.shoup(w_last)),
            top,
            other,
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            twiddles,
        }
    }
}

/// A static each, so that a firmware image holds the tables of its own parameter set only.
macro_rules! plan {
    ($plan:ident, $twiddles:ident, $q:literal, $psi:literal, $half:expr, $other:ident) => {
        static $plan: Plan = Plan::new(
            Prime::new($q),
            $psi,
            $half,
            &$other,
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            &$twiddles,
        );
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        static $twiddles: Twiddles = Twiddles::new(Prime::new($q), $psi, $half);
    };
}

/// Both halves of the larger ring.
macro_rules! halves {
    ($low:ident $low_w:ident, $high:ident $high_w:ident, $q:literal, $psi:literal) => {
        plan!($low, $low_w, $q, $psi, Some(0), $high);
        plan!($high, $high_w, $q, $psi, Some(1), $low);
    };
}

/// The primes of degree N = 4096: the seven largest below 2^27 that are 1 mod 8192, and in the fourth
/// place the largest such below 2^25. Each with a primitive 2N-th root of unity: x^((q - 1) / 2N) for
/// the least x that gives one. Part of the wire format.
///
/// Q54 is the first two, and the third its special prime; Q81 is the first three, and the fourth its
/// special prime; its products are made modulo all seven.
pub const PLANS: [&Plan; 7] = [&PLAN_0, &PLAN_1, &PLAN_2, &PLAN_3, &PLAN_4, &PLAN_5, &PLAN_6];

plan!(PLAN_0, TWIDDLES_0, 134_176_769, 51_707_741, None, PLAN_0);
plan!(PLAN_1, TWIDDLES_1, 134_111_233, 133_095_912, None, PLAN_1);
plan!(PLAN_2, TWIDDLES_2, 134_012_929, 89_697_661, None, PLAN_2);
plan!(PLAN_3, TWIDDLES_3, 33_538_049, 19_924_644, None, PLAN_3);
plan!(PLAN_4, TWIDDLES_4, 133_963_777, 19_581_179, None, PLAN_4);
plan!(PLAN_5, TWIDDLES_5, 133_881_857, 30_851_312, None, PLAN_5);
plan!(PLAN_6, TWIDDLES_6, 133_857_281, 131_928_565, None, PLAN_6);

/// The primes of degree 8192, low and high half: the largest below 2^27 that are 1 mod 16384, roots
/// as above.
///
/// Q135 is the first five, and the sixth its special prime; its products are made modulo all eleven.
pub const WIDE_PLANS: [[&Plan; 2]; 11] = [
    [&WIDE_0, &WIDE_0H],
    [&WIDE_1, &WIDE_1H],
    [&WIDE_2, &WIDE_2H],
    [&WIDE_3, &WIDE_3H],
    [&WIDE_4, &WIDE_4H],
    [&WIDE_5, &WIDE_5H],
    [&WIDE_6, &WIDE_6H],
    [&WIDE_7, &WIDE_7H],
    [&WIDE_8, &WIDE_8H],
    [&WIDE_9, &WIDE_9H],
    [&WIDE_10, &WIDE_10H],
];

halves!(WIDE_0 WIDE_TWIDDLES_0, WIDE_0H WIDE_TWIDDLES_0H, 133_857_281, 77_665_072);
halves!(WIDE_1 WIDE_TWIDDLES_1, WIDE_1H WIDE_TWIDDLES_1H, 133_644_289, 19_882_282);
halves!(WIDE_2 WIDE_TWIDDLES_2, WIDE_2H WIDE_TWIDDLES_2H, 133_611_521, 34_093_882);
halves!(WIDE_3 WIDE_TWIDDLES_3, WIDE_3H WIDE_TWIDDLES_3H, 133_513_217, 55_639_084);
halves!(WIDE_4 WIDE_TWIDDLES_4, WIDE_4H WIDE_TWIDDLES_4H, 133_251_073, 128_607_860);
halves!(WIDE_5 WIDE_TWIDDLES_5, WIDE_5H WIDE_TWIDDLES_5H, 132_825_089, 14_976_858);
halves!(WIDE_6 WIDE_TWIDDLES_6, WIDE_6H WIDE_TWIDDLES_6H, 132_759_553, 91_360_296);
halves!(WIDE_7 WIDE_TWIDDLES_7, WIDE_7H WIDE_TWIDDLES_7H, 132_710_401, 70_767_023);
halves!(WIDE_8 WIDE_TWIDDLES_8, WIDE_8H WIDE_TWIDDLES_8H, 132_612_097, 39_382_934);
halves!(WIDE_9 WIDE_TWIDDLES_9, WIDE_9H WIDE_TWIDDLES_9H, 132_464_641, 8_299_684);
halves!(WIDE_10 WIDE_TWIDDLES_10, WIDE_10H WIDE_TWIDDLES_10H, 132_333_569, 14_912_642);

/// Twiddles of the transforms mod t of up to 2N points, laid out like [`Plan`]'s, centred. One table
/// serves all lengths: the larger ring's root squared is the smaller's.
#[repr(C, align(64))]
pub(crate) struct PlainPlan {
    pub(crate) w: [i32; 2 * N],
}

/// 4N-th root of unity mod t: 3^((t - 1) / 4N).
const PLAIN_PSI: u32 = 81;

pub(crate) static PLAIN: PlainPlan = {
    const POINTS: usize = 2 * N;
    assert!((zt::T - 1).is_multiple_of(2 * POINTS as u32), "a plaintext needs as many slots");
    assert!(zt::pow(PLAIN_PSI, POINTS as u32) == zt::T - 1, "psi^2N must be -1 mod t");
    let mut w = [0; POINTS];
    let mut power = 1u32;
    let mut k = 0;
    while k < POINTS {
        w[reverse(k, LOG_N + 1)] = zt::centre(power);
        power = (power as u64 * PLAIN_PSI as u64 % zt::T as u64) as u32;
        k += 1;
    }
    PlainPlan { w }
};
