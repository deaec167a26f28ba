//! The keystream and the samplers that turn it into polynomials.

use super::super::lanes::Lanes;
use super::lift;
use crate::kernel::contract::{CHACHA, Chunk, DOUBLE_ROUNDS, ETA, KEPT_SLACK, Limb, SAMPLES};
use crate::ntt::{N, Plan};

/// A vector of the words of row `i`, from column `at` on.
///
/// # Safety
/// `at` + LANES is at most 16.
#[inline(always)]
unsafe fn row<V: Lanes>(chunk: &Chunk, i: usize, at: usize) -> V {
    // SAFETY: the caller's promise, and i is below 16.
    unsafe { V::load(chunk.0.as_ptr().cast::<u32>().add(16 * i + at)) }
}

macro_rules! quarter_rounds {
    ($v:ident $($a:literal $b:literal $c:literal $d:literal),*) => {
        $($v[$a] = $v[$a].add($v[$b]); $v[$d] = $v[$d].xor($v[$a]).rotl::<16, 16>();)*
        $($v[$c] = $v[$c].add($v[$d]); $v[$b] = $v[$b].xor($v[$c]).rotl::<12, 20>();)*
        $($v[$a] = $v[$a].add($v[$b]); $v[$d] = $v[$d].xor($v[$a]).rotl::<8, 24>();)*
        $($v[$c] = $v[$c].add($v[$d]); $v[$b] = $v[$b].xor($v[$c]).rotl::<7, 25>();)*
    };
}

/// The state before the rounds, one block in each lane: blocks `counter` + `at` on.
#[inline(always)]
fn initial<V: Lanes>(key: &[u32; 8], counter: u64, at: usize) -> [V; 16] {
    // Counters are multiples of 16, so the lanes' ones differ in the low word only.
    debug_assert!(counter.is_multiple_of(16));
    const LANE: [u32; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut state = [V::splat(0); 16];
    for i in 0..4 {
        state[i] = V::splat(CHACHA[i]);
    }
    for i in 0..8 {
        state[4 + i] = V::splat(key[i]);
    }
    // SAFETY: at + LANES is at most 16.
    let lane = unsafe { V::load(LANE.as_ptr().add(at)) };
    state[12] = V::splat(counter as u32).add(lane);
    state[13] = V::splat((counter >> 32) as u32);
    state
}

/// The state after the rounds, plus that before, to columns `at` on of a chunk: row i is word i of
/// sixteen blocks.
#[inline(always)]
fn finish<V: Lanes>(out: &mut Chunk, v: [V; 16], key: &[u32; 8], counter: u64, at: usize) {
    let out = out.0.as_mut_ptr().cast::<u32>();
    let start = initial::<V>(key, counter, at);
    for i in 0..16 {
        // SAFETY: 16 i + at + LANES is at most 256.
        unsafe { v[i].add(start[i]).store(out.add(16 * i + at)) };
    }
}

#[inline(always)]
pub(crate) fn keystream<V: Lanes>(out: &mut [Chunk], key: &[u32; 8], counter: u64) {
    let mut counter = counter;
    let mut out = out;
    if V::PAIRS {
        // Two chunks side by side: one alone leaves half of the pipes waiting.
        let (pairs, rest) = out.as_chunks_mut::<2>();
        for [first, second] in pairs {
            for at in (0..16).step_by(V::LANES) {
                let next = counter.wrapping_add(16);
                let mut v = initial::<V>(key, counter, at);
                let mut w = initial::<V>(key, next, at);
                for _ in 0..DOUBLE_ROUNDS {
                    quarter_rounds!(v 0 4 8 12, 1 5 9 13, 2 6 10 14, 3 7 11 15);
                    quarter_rounds!(w 0 4 8 12, 1 5 9 13, 2 6 10 14, 3 7 11 15);
                    quarter_rounds!(v 0 5 10 15, 1 6 11 12, 2 7 8 13, 3 4 9 14);
                    quarter_rounds!(w 0 5 10 15, 1 6 11 12, 2 7 8 13, 3 4 9 14);
                }
                finish(first, v, key, counter, at);
                finish(second, w, key, next, at);
            }
            counter = counter.wrapping_add(32);
        }
        out = rest;
    }
    for chunk in out {
        for at in (0..16).step_by(V::LANES) {
            let mut v = initial::<V>(key, counter, at);
            for _ in 0..DOUBLE_ROUNDS {
                quarter_rounds!(v 0 4 8 12, 1 5 9 13, 2 6 10 14, 3 7 11 15);
                quarter_rounds!(v 0 5 10 15, 1 6 11 12, 2 7 8 13, 3 4 9 14);
            }
            finish(chunk, v, key, counter, at);
        }
        counter = counter.wrapping_add(16);
    }
}

#[inline(always)]
pub(crate) fn noise<V: Lanes>(out: &mut [u32; SAMPLES], chunk: &Chunk) {
    let out = out.as_mut_ptr();
    let eta = V::splat(ETA);
    let ten = V::splat((1 << 10) - 1);
    for group in 0..4 {
        for at in (0..16).step_by(V::LANES) {
            // SAFETY: rows below 16; 16 (3 group + 2) + at + LANES is at most 192.
            unsafe {
                let rest = row::<V>(chunk, 4 * group + 3, at);
                let parts = [rest.and(ten), rest.shr::<10>().and(ten), rest.shr::<20>().and(ten)];
                for (j, part) in parts.into_iter().enumerate() {
                    let ones = row::<V>(chunk, 4 * group + j, at).count_ones();
                    let sample = ones.add(part.count_ones()).sub(eta);
                    sample.store(out.add(16 * (3 * group + j) + at));
                }
            }
        }
    }
}

#[inline(always)]
pub(crate) fn ternary<V: Lanes>(out: &mut [u32], chunk: &Chunk) -> usize {
    assert!(out.len() >= size_of::<Chunk>() + KEPT_SLACK);
    let out = out.as_mut_ptr();
    let (byte, three, third) = (V::splat(255), V::splat(3), V::splat(171));
    let one = V::splat(1);
    let mut kept = 0;
    for i in 0..16 {
        let mut columns = [V::splat(0); 4];
        for (c, at) in (0..16).step_by(V::LANES).enumerate() {
            // SAFETY: at + LANES is at most 16.
            columns[c] = unsafe { row(chunk, i, at) };
        }
        for _ in 0..4 {
            for x in columns.iter_mut().take(16 / V::LANES) {
                let b = x.and(byte);
                *x = x.shr::<8>();
                // b mod 3: 171 / 512 is close enough to 1/3 below 256.
                let residue = b.sub(b.mul(third).shr::<9>().mul(three));
                // SAFETY: at most 1024 samples are kept, and there is room for LANES more.
                kept += unsafe { residue.sub(one).store_kept(byte.gt(b), out.add(kept)) };
            }
        }
    }
    kept
}

#[inline(always)]
pub(crate) fn uniform<V: Lanes>(out: &mut [u32], chunk: &Chunk, plan: &Plan) -> usize {
    assert!(out.len() >= size_of::<Chunk>() / 4 + KEPT_SLACK);
    let out = out.as_mut_ptr();
    let (q, mask) = (V::splat(plan.prime.q()), V::splat((1 << plan.prime.bits()) - 1));
    let mut kept = 0;
    for i in 0..16 {
        for at in (0..16).step_by(V::LANES) {
            // SAFETY: at most 256 words are kept, and there is room for LANES more.
            unsafe {
                let x = row::<V>(chunk, i, at).and(mask);
                kept += x.store_kept(q.gt(x), out.add(kept));
            }
        }
    }
    kept
}

#[inline(always)]
pub(crate) fn spread<V: Lanes>(limbs: &mut [Limb], plans: &[&Plan]) {
    let Some((first, rest)) = limbs.split_first_mut() else { return };
    let first = first.as_mut_ptr();
    for (limb, plan) in rest.iter_mut().zip(plans.iter().skip(1)) {
        let q = V::splat(plan.prime.q());
        let limb = limb.as_mut_ptr();
        for i in (0..N).step_by(V::LANES) {
            // SAFETY: i + LANES is at most N.
            unsafe { lift(V::load(first.add(i)), q).store(limb.add(i)) };
        }
    }
    for plan in plans.iter().take(1) {
        let q = V::splat(plan.prime.q());
        for i in (0..N).step_by(V::LANES) {
            // SAFETY: i + LANES is at most N.
            unsafe { lift(V::load(first.add(i)), q).store(first.add(i)) };
        }
    }
}
