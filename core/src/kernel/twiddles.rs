//! Twiddle factors as vector units take them: centred, with signed companions, in the order of use.

use super::contract::GROUP;
use crate::ntt::plan::{PLAIN, PRIMES};
use crate::ntt::{N, PLANS, Plan};
use crate::zq::Prime;

/// Groups in a limb, and runs in a group.
pub(super) const GROUPS: usize = N / GROUP;

/// Fraction bits of a companion: what the processor's high product shifts out.
const COMPANION_BITS: u32 = if cfg!(target_arch = "aarch64") { 31 } else { 32 };

/// The factors of one prime, 62 KiB. Each is centred, |w| <= q/2; its companion is
/// round(2^`COMPANION_BITS` w / q).
#[repr(C, align(64))]
pub(super) struct Twiddles {
    /// Layers 1 to 8: entry m + i for block i of the layer of m blocks.
    pub w: [i32; GROUP],
    pub ws: [i32; GROUP],
    /// Layers 9 to 12 (1, 2, 4, 8 rows a group), a lane for each of a group's 16 runs: factors, then
    /// companions.
    pub tail: [[[[i32; GROUPS]; 15]; GROUPS]; 2],
    /// The same for the inverse: the mirrored blocks' factors.
    pub inverse_tail: [[[[i32; GROUPS]; 15]; GROUPS]; 2],
    /// 1/N and its companion.
    pub n_inv: [i32; 2],
    /// The inverse's last factor times 1/N, for (b - a), and its companion.
    pub w_last: [i32; 2],
}

static TWIDDLES: [Twiddles; 3] =
    [Twiddles::new(PLANS[0]), Twiddles::new(PLANS[1]), Twiddles::new(PLANS[2])];

impl Twiddles {
    /// The factors that belong to a plan.
    #[inline(always)]
    pub(super) fn of(plan: &Plan) -> &'static Self {
        const { assert!(TWIDDLES.len() == PRIMES.len()) }
        // SAFETY: a plan's index is its place among the primes, and plans are made in one file only.
        unsafe { TWIDDLES.get_unchecked(plan.index) }
    }

    const fn new(plan: &Plan) -> Self {
        let prime = plan.prime;
        let mut out = Self {
            w: [0; GROUP],
            ws: [0; GROUP],
            tail: [[[[0; GROUPS]; 15]; GROUPS]; 2],
            inverse_tail: [[[[0; GROUPS]; 15]; GROUPS]; 2],
            n_inv: pair(&prime, plan.n_inv.0),
            // The table has the factor for b - a.
            w_last: pair(&prime, prime.neg(plan.w_last.0)),
        };
        let mut i = 0;
        while i < GROUP {
            [out.w[i], out.ws[i]] = pair(&prime, plan.w[i]);
            i += 1;
        }
        let mut run = 0;
        while run < N / 16 {
            let mut row = 0;
            while row < 15 {
                let (m, block) = place(run, row);
                let (group, lane) = (run / GROUPS, run % GROUPS);
                let [w, ws] = pair(&prime, plan.w[m + block]);
                out.tail[0][group][row][lane] = w;
                out.tail[1][group][row][lane] = ws;
                let [w, ws] = pair(&prime, plan.w[2 * m - 1 - block]);
                out.inverse_tail[0][group][row][lane] = w;
                out.inverse_tail[1][group][row][lane] = ws;
                row += 1;
            }
            run += 1;
        }
        out
    }
}

/// Which block of the layer of m blocks row `row` of the last four layers has for run `run`.
const fn place(run: usize, row: usize) -> (usize, usize) {
    let layer = (row + 1).ilog2();
    (GROUP << layer, (run << layer) + (row + 1 - (1 << layer)))
}

/// A factor, centred, and its companion.
const fn pair(prime: &Prime, w: u32) -> [i32; 2] {
    let w = prime.centre(w) as i64;
    let q = prime.q() as i64;
    let double = (w << (COMPANION_BITS + 1)) + q;
    [w as i32, double.div_euclid(2 * q) as i32]
}

/// The twiddles mod t of the last four layers, as [`Twiddles::tail`] has them, and the mirrored ones.
pub(super) static PLAIN_TAIL: [[[[i32; GROUPS]; 15]; GROUPS]; 2] = {
    let mut out = [[[[0; GROUPS]; 15]; GROUPS]; 2];
    let mut run = 0;
    while run < N / 16 {
        let mut row = 0;
        while row < 15 {
            let (m, block) = place(run, row);
            out[0][run / GROUPS][row][run % GROUPS] = PLAIN.w[m + block];
            out[1][run / GROUPS][row][run % GROUPS] = PLAIN.w[2 * m - 1 - block];
            row += 1;
        }
        run += 1;
    }
    out
};
