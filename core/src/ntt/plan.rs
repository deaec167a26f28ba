//! Constant tables: twiddle factors of each prime, and of t, in .rodata.

use super::{LOG_N, N};
use crate::zq::Prime;
use crate::zt;

/// What a transform modulo one prime needs.
///
/// Position m + i (m a power of two, i < m) holds psi^brv(m + i), the twiddle of block i in the
/// layer of m blocks. The inverse needs no table: its twiddle for the same block is
/// -w\[2m - 1 - i\]. 32 KiB a prime.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Plan {
    /// w, canonical.
    pub(crate) w: [u32; N],
    /// Shoup's companions, floor(2^32 w / q).
    pub(crate) ws: [u32; N],
    /// The prime.
    pub prime: Prime,
    /// Its place in [`PLANS`].
    pub(crate) index: usize,
    /// 1/N and its companion: scales the sum leg of the inverse's last layer.
    pub(crate) n_inv: (u32, u32),
    /// The inverse's last twiddle times 1/N, and its companion.
    pub(crate) w_last: (u32, u32),
}

const fn reverse(i: usize) -> usize {
    i.reverse_bits() >> (usize::BITS as usize - LOG_N)
}

impl Plan {
    /// # Panics
    /// Unless `psi` is a primitive 2N-th root of unity mod the prime.
    const fn new(index: usize, q: u32, psi: u32) -> Self {
        let prime = Prime::new(q);
        assert!((q - 1).is_multiple_of(2 * N as u32), "no 2N-th root of unity");
        assert!(prime.pow(psi, N as u64) == q - 1, "psi^N must be -1");
        let psi_shoup = prime.shoup(psi);
        let mut w = [0; N];
        let mut ws = [0; N];
        let mut power = 1;
        let mut k = 0;
        while k < N {
            w[reverse(k)] = power;
            ws[reverse(k)] = prime.shoup(power);
            power = prime.shoup_mul(power, psi, psi_shoup);
            k += 1;
        }
        let n_inv = prime.inv(N as u32);
        // The inverse of psi^(N/2) is its negative.
        let w_last = prime.mul(prime.neg(prime.pow(psi, N as u64 / 2)), n_inv);
        Self {
            w,
            ws,
            prime,
            index,
            n_inv: (n_inv, prime.shoup(n_inv)),
            w_last: (w_last, prime.shoup(w_last)),
        }
    }
}

/// The limbs' primes, the three largest below 2^27 that are 1 mod 8192, each with a primitive
/// 2N-th root of unity: x^((q - 1) / 2N) for the least x that gives one. Part of the wire format.
///
/// A static each, so that a firmware image holds the tables of its own parameter set only.
pub const PLANS: [&Plan; 3] = [&PLAN_0, &PLAN_1, &PLAN_2];

static PLAN_0: Plan = Plan::new(0, 134_176_769, 51_707_741);
static PLAN_1: Plan = Plan::new(1, 134_111_233, 133_095_912);
static PLAN_2: Plan = Plan::new(2, 134_012_929, 89_697_661);

/// The primes alone, for constants.
pub(crate) const PRIMES: [Prime; 3] = [PLANS[0].prime, PLANS[1].prime, PLANS[2].prime];

/// Twiddles of the transform mod t, laid out like [`Plan`]'s, centred.
#[repr(C, align(64))]
pub(crate) struct PlainPlan {
    pub(crate) w: [i32; N],
}

/// 2N-th root of unity mod t: 3^((t - 1) / 2N).
const PLAIN_PSI: u32 = 6_561;

pub(crate) static PLAIN: PlainPlan = {
    assert!((zt::T - 1).is_multiple_of(2 * N as u32), "t = 1 mod 2N: a plaintext needs N slots");
    assert!(zt::pow(PLAIN_PSI, N as u32) == zt::T - 1, "psi^N must be -1 mod t");
    let mut w = [0; N];
    let mut power = 1u32;
    let mut k = 0;
    while k < N {
        w[reverse(k)] = zt::centre(power);
        power = (power as u64 * PLAIN_PSI as u64 % zt::T as u64) as u32;
        k += 1;
    }
    PlainPlan { w }
};
