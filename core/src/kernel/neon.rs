//! Advanced SIMD, tuned for cores with four vector pipes of which two multiply (Neoverse V2).

use super::lanes::{Lanes, Words};
use core::arch::aarch64::*;

#[derive(Clone, Copy)]
pub(super) struct Neon(uint32x4_t);

impl Neon {
    #[inline(always)]
    fn signed(self) -> int32x4_t {
        // SAFETY: as `Lanes` says.
        unsafe { vreinterpretq_s32_u32(self.0) }
    }

    #[inline(always)]
    fn from_signed(x: int32x4_t) -> Self {
        // SAFETY: as `Lanes` says.
        Self(unsafe { vreinterpretq_u32_s32(x) })
    }
}

// SAFETY (every block here): as `Lanes` says, the processor has these instructions; loads and stores
// are the caller's promise.
impl Lanes for Neon {
    const LANES: usize = 4;
    const PAIRS: bool = true;
    type Wide = [uint64x2_t; 2];

    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { vld1q_u32(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u32) {
        // SAFETY: the caller's promise.
        unsafe { vst1q_u32(to, self.0) }
    }
    #[inline(always)]
    unsafe fn store_kept(self, keep: Self, to: *mut u32) -> usize {
        // SAFETY: the caller's promise: at most three lanes have been kept before the last.
        unsafe {
            let mut at = 0;
            *to = vgetq_lane_u32::<0>(self.0);
            at += (vgetq_lane_u32::<0>(keep.0) & 1) as usize;
            *to.add(at) = vgetq_lane_u32::<1>(self.0);
            at += (vgetq_lane_u32::<1>(keep.0) & 1) as usize;
            *to.add(at) = vgetq_lane_u32::<2>(self.0);
            at += (vgetq_lane_u32::<2>(keep.0) & 1) as usize;
            *to.add(at) = vgetq_lane_u32::<3>(self.0);
            at + (vgetq_lane_u32::<3>(keep.0) & 1) as usize
        }
    }
    #[inline(always)]
    fn splat(x: u32) -> Self {
        // SAFETY: see above.
        Self(unsafe { vdupq_n_u32(x) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { vaddq_u32(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { vsubq_u32(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { vmulq_u32(self.0, other.0) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { vminq_u32(self.0, other.0) })
    }
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { vandq_u32(self.0, other.0) })
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { vorrq_u32(self.0, other.0) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { veorq_u32(self.0, other.0) })
    }
    #[inline(always)]
    fn shr<const K: i32>(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { vshrq_n_u32::<K>(self.0) })
    }
    #[inline(always)]
    fn shl_by(self, bits: u32) -> Self {
        // SAFETY: see above.
        Self(unsafe { vshlq_u32(self.0, vdupq_n_s32(bits as i32)) })
    }
    #[inline(always)]
    fn shr_by(self, bits: u32) -> Self {
        // SAFETY: see above.
        Self(unsafe { vshlq_u32(self.0, vdupq_n_s32(-(bits as i32))) })
    }
    #[inline(always)]
    fn sar<const K: i32>(self) -> Self {
        // SAFETY: see above.
        Self::from_signed(unsafe { vshrq_n_s32::<K>(self.signed()) })
    }
    #[inline(always)]
    fn sar_by(self, bits: u32) -> Self {
        // SAFETY: see above.
        Self::from_signed(unsafe { vshlq_s32(self.signed(), vdupq_n_s32(-(bits as i32))) })
    }
    #[inline(always)]
    fn rotl<const K: i32, const REST: i32>(self) -> Self {
        // SAFETY: see above.
        unsafe {
            if K == 16 {
                return Self(vreinterpretq_u32_u16(vrev32q_u16(vreinterpretq_u16_u32(self.0))));
            }
            Self(vsriq_n_u32::<REST>(vshlq_n_u32::<K>(self.0), self.0))
        }
    }
    #[inline(always)]
    fn gt(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { vcgtq_s32(self.signed(), other.signed()) })
    }
    #[inline(always)]
    fn count_ones(self) -> Self {
        // SAFETY: see above.
        unsafe { Self(vpaddlq_u16(vpaddlq_u8(vcntq_u8(vreinterpretq_u8_u32(self.0))))) }
    }
    #[inline(always)]
    fn pick(self, from: Self) -> Self {
        // SAFETY: see above. Word i is bytes 4 i to 4 i + 3.
        unsafe {
            let bytes = vmlaq_u32(vdupq_n_u32(0x0302_0100), from.0, vdupq_n_u32(0x0404_0404));
            let picked = vqtbl1q_u8(vreinterpretq_u8_u32(self.0), vreinterpretq_u8_u32(bytes));
            Self(vreinterpretq_u32_u8(picked))
        }
    }
    #[inline(always)]
    fn odd(self) -> Self {
        self
    }
    #[inline(always)]
    fn shoup(self, w: Self, ws: Self, _: Self, q: Self) -> Self {
        // SAFETY: see above. Three multiplications: doubling high half, rounded; low; low.
        unsafe {
            let k = vqrdmulhq_s32(self.signed(), ws.signed());
            Self::from_signed(vmlsq_s32(vmulq_s32(self.signed(), w.signed()), k, q.signed()))
        }
    }
    #[inline(always)]
    fn montgomery(self, other: Self, q: Self, inverse: Self) -> Self {
        // SAFETY: see above. Doubled high halves; their low words agree, so halving is exact.
        unsafe {
            let m = self.mul(other).mul(inverse).signed();
            let high = vqdmulhq_s32(self.signed(), other.signed());
            Self::from_signed(vhsubq_s32(high, vqdmulhq_s32(m, q.signed())))
        }
    }
    #[inline(always)]
    fn wide_zero() -> Self::Wide {
        // SAFETY: see above.
        [unsafe { vdupq_n_u64(0) }; 2]
    }
    #[inline(always)]
    fn wide_mul_add([low, high]: Self::Wide, a: Self, b: Self) -> Self::Wide {
        // SAFETY: see above.
        unsafe {
            [vmlal_u32(low, vget_low_u32(a.0), vget_low_u32(b.0)), vmlal_high_u32(high, a.0, b.0)]
        }
    }
    #[inline(always)]
    fn wide_montgomery([low, high]: Self::Wide, q: Self, negated: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            let m = vmulq_u32(vmovn_high_u64(vmovn_u64(low), high), negated.0);
            let low = vmlal_u32(low, vget_low_u32(m), vget_low_u32(q.0));
            let high = vmlal_high_u32(high, m, q.0);
            Self(vshrn_high_n_u64::<32>(vshrn_n_u64::<32>(low), high))
        }
    }
    #[inline(always)]
    fn wide_halves(sums: Self::Wide) -> [u64; 2] {
        // SAFETY: see above.
        unsafe { [vaddvq_u64(sums[0]), vaddvq_u64(sums[1])] }
    }
    #[inline(always)]
    fn wide_round<const SHIFT: i32>(sums: Self::Wide, half: u64) -> Self {
        // SAFETY: see above.
        unsafe {
            let half = vdupq_n_u64(half);
            let low = vshrq_n_u64::<SHIFT>(vaddq_u64(sums[0], half));
            let high = vshrq_n_u64::<SHIFT>(vaddq_u64(sums[1], half));
            Self(vmovn_high_u64(vmovn_u64(low), high))
        }
    }
    #[inline(always)]
    fn transpose(rows: [Self; 16]) -> [Self; 16] {
        let mut r = rows;
        for i in (0..16).step_by(4) {
            let [a, b, c, d] = [r[i].0, r[i + 1].0, r[i + 2].0, r[i + 3].0];
            // SAFETY: see above. 2x2 squares of words, then of pairs.
            unsafe {
                let e = vreinterpretq_u64_u32(vtrn1q_u32(a, b));
                let f = vreinterpretq_u64_u32(vtrn1q_u32(c, d));
                let g = vreinterpretq_u64_u32(vtrn2q_u32(a, b));
                let h = vreinterpretq_u64_u32(vtrn2q_u32(c, d));
                r[i] = Self(vreinterpretq_u32_u64(vtrn1q_u64(e, f)));
                r[i + 1] = Self(vreinterpretq_u32_u64(vtrn1q_u64(g, h)));
                r[i + 2] = Self(vreinterpretq_u32_u64(vtrn2q_u64(e, f)));
                r[i + 3] = Self(vreinterpretq_u32_u64(vtrn2q_u64(g, h)));
            }
        }
        r
    }
}

#[derive(Clone, Copy)]
pub(super) struct NeonWords(uint64x2_t);

// SAFETY (every block here): as of `Lanes`.
impl Words for NeonWords {
    const COUNT: usize = 2;

    #[inline(always)]
    fn few(states: &mut Sponges, count: usize, rounds: Rounds) {
        super::scalar::keccak(states, count, rounds);
    }

    #[inline(always)]
    unsafe fn load(from: *const u64) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { vld1q_u64(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u64) {
        // SAFETY: the caller's promise.
        unsafe { vst1q_u64(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_bytes(from: *const [u8; 8]) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { vreinterpretq_u64_u8(vld1q_u8(from.cast())) })
    }
    #[inline(always)]
    fn transpose(mut x: [Self; 8]) -> [Self; 8] {
        // SAFETY: see above.
        unsafe {
            (x[0].0, x[1].0) = (vzip1q_u64(x[0].0, x[1].0), vzip2q_u64(x[0].0, x[1].0));
            x
        }
    }
    #[inline(always)]
    fn splat(x: u64) -> Self {
        // SAFETY: see above.
        Self(unsafe { vdupq_n_u64(x) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { veorq_u64(self.0, other.0) })
    }
    #[inline(always)]
    fn xor3(self, a: Self, b: Self) -> Self {
        self.xor(a).xor(b)
    }
    #[inline(always)]
    fn chi(self, a: Self, b: Self) -> Self {
        // SAFETY: see above.
        self.xor(Self(unsafe { vbicq_u64(b.0, a.0) }))
    }
    #[inline(always)]
    fn rotl<const K: i32, const REST: i32>(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { vsriq_n_u64::<REST>(vshlq_n_u64::<K>(self.0), self.0) })
    }
}

super::vector_kernels!(Neon, NeonWords, "neon", "neon");
