//! Words of 27 bits, back to back: LANES runs of 32 words at a time, one in each lane.

use super::super::lanes::Lanes;
use crate::kernel::contract::{Limb, PACKED, WORD_BITS};
use crate::ntt::{N, Plan};

/// Words that fill a whole number of packed ones.
const RUN: usize = 32;

/// Transposes LANES runs, `from` to `from` + 32 `LANES`, `stride` words apart, into 32 vectors.
///
/// # Safety
/// 32 words of each run can be read.
#[inline(always)]
unsafe fn gather<V: Lanes>(from: *const u32, stride: usize) -> [V; RUN] {
    let mut out = [V::splat(0); RUN];
    for half in 0..2 {
        let mut v = [V::splat(0); 16];
        for (i, v) in v.iter_mut().enumerate() {
            let (c, l) = (i / V::LANES, i % V::LANES);
            // SAFETY: the caller's promise.
            *v = unsafe { V::load(from.add(stride * l + 16 * half + V::LANES * c)) };
        }
        let v = V::transpose(v);
        for i in 0..16 {
            out[16 * half + i] = v[i];
        }
    }
    out
}

/// The reverse of [`gather`]: runs are written in order, so that the next one may overwrite the end of
/// the last.
///
/// # Safety
/// 32 words of each run can be written.
#[inline(always)]
unsafe fn scatter<V: Lanes>(v: [V; RUN], to: *mut u32, stride: usize) {
    let mut halves = [[V::splat(0); 16]; 2];
    for half in 0..2 {
        for i in 0..16 {
            halves[half][i] = v[16 * half + i];
        }
        halves[half] = V::transpose(halves[half]);
    }
    for l in 0..V::LANES {
        for c in 0..RUN / V::LANES {
            let (half, c) = (V::LANES * c / 16, V::LANES * c % 16 / V::LANES);
            // SAFETY: the caller's promise.
            unsafe {
                halves[half][V::LANES * c + l].store(to.add(stride * l + 16 * half + V::LANES * c));
            }
        }
    }
}

/// Its body for each of the first [`WORD_BITS`] numbers, as constants: a loop would compute where words begin.
macro_rules! each_packed {
    ($j:ident: $body:block) => {
        each_packed!(@ $j $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26)
    };
    (@ $j:ident $body:block $($n:literal)*) => {
        $({
            const $j: usize = $n;
            $body
        })*
    };
}

/// The same for each of [`RUN`].
macro_rules! each_word {
    ($j:ident: $body:block) => {
        each_packed!($j: $body);
        each_packed!(@ $j $body 27 28 29 30 31);
    };
}

/// Words of one batch of runs, packed, with room for what [`scatter`] writes beyond the last.
type Batch = [u32; 16 * WORD_BITS + RUN];

#[inline(always)]
pub(crate) fn pack<V: Lanes>(out: &mut [u8; PACKED], limb: &Limb) {
    if V::splat(0).packed().is_some() {
        return pack_each::<V>(out, limb);
    }
    let mut batch: Batch = [0; 16 * WORD_BITS + RUN];
    let words = WORD_BITS * V::LANES;
    for at in 0..N / (RUN * V::LANES) {
        // SAFETY: batches tile both arrays; shifts are below 32.
        unsafe {
            let v = gather::<V>(limb.as_ptr().add(RUN * V::LANES * at), RUN);
            let mut packed = [V::splat(0); RUN];
            each_packed!(J: {
                // Packed word J begins with bit S of word K.
                const K: usize = 32 * J / WORD_BITS;
                const S: u32 = (32 * J % WORD_BITS) as u32;
                const NEXT: u32 = WORD_BITS as u32 - S;
                packed[J] = v[K].shr_by(S).or(v[K + 1].shl_by(NEXT));
                if NEXT + (WORD_BITS as u32) < 32 {
                    packed[J] = packed[J].or(v[(K + 2) % RUN].shl_by(NEXT + WORD_BITS as u32));
                }
            });
            scatter(packed, batch.as_mut_ptr(), WORD_BITS);
            let to = out.as_mut_ptr().add(4 * words * at);
            for i in (0..words).step_by(V::LANES) {
                V::load(batch.as_ptr().add(i)).store(to.add(4 * i).cast());
            }
        }
    }
}

/// Register by register, each of which overwrites the zeros behind the one before.
#[inline(always)]
fn pack_each<V: Lanes>(out: &mut [u8; PACKED], limb: &Limb) {
    let bytes = V::LANES * WORD_BITS / 8;
    let (mut last, mut at) = ([0_u32; 16], 0);
    while at < N {
        // SAFETY: LANES divides N, and 8 divides LANES; but for the last register, which has LANES of the 16 words in
        // `last`, what is written ends before the packed words do.
        unsafe {
            let Some(packed) = V::load(limb.as_ptr().add(at)).packed() else { return };
            let (to, next) = (out.as_mut_ptr().add(at * WORD_BITS / 8), at + V::LANES);
            if next < N {
                packed.store(to.cast());
            } else {
                packed.store(last.as_mut_ptr());
                to.copy_from_nonoverlapping(last.as_ptr().cast(), bytes);
            }
            at = next;
        }
    }
}

/// Gives whether every word is below q.
#[inline(always)]
pub(crate) fn unpack<V: Lanes>(out: &mut Limb, bytes: &[u8; PACKED], plan: &Plan) -> bool {
    let mut batch: Batch = [0; 16 * WORD_BITS + RUN];
    let words = WORD_BITS * V::LANES;
    let (mask, q) = (V::splat((1 << WORD_BITS) - 1), V::splat(plan.prime.q()));
    let mut good = V::splat(u32::MAX);
    for at in 0..N / (RUN * V::LANES) {
        // SAFETY: batches tile both arrays.
        unsafe {
            let from = bytes.as_ptr().add(4 * words * at);
            for i in (0..words).step_by(V::LANES) {
                V::load(from.add(4 * i).cast()).store(batch.as_mut_ptr().add(i));
            }
            let packed = gather::<V>(batch.as_ptr(), WORD_BITS);
            let mut v = [V::splat(0); RUN];
            each_word!(K: {
                // Word K begins with bit S of packed word J.
                const J: usize = WORD_BITS * K / 32;
                const S: u32 = (WORD_BITS * K % 32) as u32;
                let mut word = packed[J].shr_by(S);
                if S as usize + WORD_BITS > 32 {
                    word = word.or(packed[J + 1].shl_by(32 - S));
                }
                v[K] = word.and(mask);
                good = good.and(q.gt(v[K]));
            });
            scatter(v, out.as_mut_ptr().add(RUN * V::LANES * at), RUN);
        }
    }
    let mut lanes = [0u32; 16];
    // SAFETY: at most 16 lanes.
    unsafe { good.store(lanes.as_mut_ptr()) };
    lanes.iter().take(V::LANES).fold(u32::MAX, |all, lane| all & lane) == u32::MAX
}
