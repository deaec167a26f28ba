//! Twiddle factors as vector units take them: centred, with signed companions, in the order of use.

use super::contract::GROUP;
use crate::ntt::N;
use crate::ntt::plan::{self, PLAIN};
use crate::zq::Prime;

/// Groups in a limb, and runs in a group.
pub(super) const GROUPS: usize = N / GROUP;

/// Fraction bits of a companion: what the processor's high product shifts out.
const COMPANION_BITS: u32 = if cfg!(target_arch = "aarch64") { 31 } else { 32 };

/// The factors of one plan, 62 KiB. Each is centred, |w| <= q/2; its companion is
/// round(2^`COMPANION_BITS` w / q).
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Twiddles {
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

impl Twiddles {
    /// Those of the plan with the same arguments. Where there are two halves, the inverse of one takes
    /// the twiddles of the other.
    pub(crate) const fn new(prime: Prime, psi: u32, half: Option<usize>) -> Self {
        let [plan, _] = plan::twiddles(prime, psi, half);
        let n_inv = prime.inv(if half.is_none() { N } else { 2 * N } as u32);
        let mut out = Self {
            w: [0; GROUP],
            ws: [0; GROUP],
            tail: [[[[0; GROUPS]; 15]; GROUPS]; 2],
            inverse_tail: [[[[0; GROUPS]; 15]; GROUPS]; 2],
            n_inv: pair(&prime, n_inv),
            w_last: pair(&prime, prime.mul(plan[1], n_inv)),
        };
        let mut i = 0;
        while i < GROUP {
            [out.w[i], out.ws[i]] = pair(&prime, plan[i]);
            i += 1;
        }
        let mut run = 0;
        while run < N / 16 {
            let mut row = 0;
            while row < 15 {
                let (m, block) = place(GROUP, run, row);
                let (group, lane) = (run / GROUPS, run % GROUPS);
                let [w, ws] = pair(&prime, plan[m + block]);
                out.tail[0][group][row][lane] = w;
                out.tail[1][group][row][lane] = ws;
                let [w, ws] = pair(&prime, plan[2 * m - 1 - block]);
                out.inverse_tail[0][group][row][lane] = w;
                out.inverse_tail[1][group][row][lane] = ws;
                row += 1;
            }
            run += 1;
        }
        out
    }
}

/// Which block of the layer of m blocks row `row` of the last four layers has for run `run` of `runs`.
const fn place(runs: usize, run: usize, row: usize) -> (usize, usize) {
    let layer = (row + 1).ilog2();
    (runs << layer, (run << layer) + (row + 1 - (1 << layer)))
}

/// A factor, centred, and its companion.
const fn pair(prime: &Prime, w: u32) -> [i32; 2] {
    let w = prime.centre(w) as i64;
    let q = prime.q() as i64;
    let double = (w << (COMPANION_BITS + 1)) + q;
    [w as i32, double.div_euclid(2 * q) as i32]
}

/// Factors for each lane and each group: as [`Twiddles::tail`] has them, and the mirrored ones.
type PlainTail<const COUNT: usize> = [[[[i32; GROUPS]; 15]; COUNT]; 2];

/// The twiddles mod t of the last four layers of a transform of N and of 2N points.
pub(super) static PLAIN_TAIL: PlainTail<GROUPS> = plain_tail();
pub(super) static WIDE_PLAIN_TAIL: PlainTail<{ 2 * GROUPS }> = plain_tail();

const fn plain_tail<const COUNT: usize>() -> PlainTail<COUNT> {
    let mut out = [[[[0; GROUPS]; 15]; COUNT]; 2];
    let runs = 16 * COUNT;
    let mut run = 0;
    while run < runs {
        let mut row = 0;
        while row < 15 {
            let (m, block) = place(runs, run, row);
            out[0][run / GROUPS][row][run % GROUPS] = PLAIN.w[m + block];
            out[1][run / GROUPS][row][run % GROUPS] = PLAIN.w[2 * m - 1 - block];
            row += 1;
        }
        run += 1;
    }
    out
}
