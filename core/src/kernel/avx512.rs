//! AVX-512: F, DQ, BW, VL, VBMI, VBMI2, BITALG and VPOPCNTDQ (Ice Lake, Zen 4 and after).

use super::contract::WORD_BITS;
use super::lanes::{Lanes, Words};
use crate::ct;
use core::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(super) struct Zmm(__m512i);

/// Even lanes of `even` shifted down, odd lanes of `odd`: the high words of two products.
#[inline(always)]
fn high(even: __m512i, odd: __m512i) -> __m512i {
    // SAFETY: as `Lanes` says.
    unsafe { _mm512_mask_shuffle_epi32::<0xf5>(odd, 0x5555, even) }
}

// SAFETY (every block here): as `Lanes` says, the processor has these instructions; loads and stores
// are the caller's promise.
impl Lanes for Zmm {
    const LANES: usize = 16;
    const PAIRS: bool = true;
    type Wide = [__m512i; 2];

    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm512_loadu_si512(from.cast()) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u32) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(to.cast(), self.0) }
    }
    #[inline(always)]
    unsafe fn store_kept(self, keep: Self, to: *mut u32) -> usize {
        // SAFETY: the caller's promise. Compressed in a register, as compressed stores are slow.
        unsafe {
            // Public: which lanes are thrown away, on which no kept one depends.
            let keep = ct::public(_mm512_movepi32_mask(keep.0));
            Self(_mm512_maskz_compress_epi32(keep, self.0)).store(to);
            keep.count_ones() as usize
        }
    }
    #[inline(always)]
    fn splat(x: u32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_set1_epi32(x as i32) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_add_epi32(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_sub_epi32(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_mullo_epi32(self.0, other.0) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_min_epu32(self.0, other.0) })
    }
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_and_si512(self.0, other.0) })
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_or_si512(self.0, other.0) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_xor_si512(self.0, other.0) })
    }
    #[inline(always)]
    fn shr<const K: i32>(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_srl_epi32(self.0, _mm_cvtsi32_si128(K)) })
    }
    #[inline(always)]
    fn shl_by(self, bits: u32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_sll_epi32(self.0, _mm_cvtsi32_si128(bits as i32)) })
    }
    #[inline(always)]
    fn shr_by(self, bits: u32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_srl_epi32(self.0, _mm_cvtsi32_si128(bits as i32)) })
    }
    #[inline(always)]
    fn sar<const K: i32>(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_sra_epi32(self.0, _mm_cvtsi32_si128(K)) })
    }
    #[inline(always)]
    fn sar_by(self, bits: u32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_sra_epi32(self.0, _mm_cvtsi32_si128(bits as i32)) })
    }
    #[inline(always)]
    fn rotl<const K: i32, const REST: i32>(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_rol_epi32::<K>(self.0) })
    }
    #[inline(always)]
    fn gt(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_movm_epi32(_mm512_cmpgt_epi32_mask(self.0, other.0)) })
    }
    #[inline(always)]
    fn count_ones(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_popcnt_epi32(self.0) })
    }
    #[inline(always)]
    fn pick(self, from: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_permutexvar_epi32(from.0, self.0) })
    }
    #[inline(always)]
    fn odd(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_srli_epi64::<32>(self.0) })
    }
    #[inline(always)]
    fn shoup(self, w: Self, ws: Self, ws_odd: Self, q: Self) -> Self {
        // SAFETY: see above.
        let k = unsafe {
            let even = _mm512_mul_epi32(self.0, ws.0);
            let odd = _mm512_mul_epi32(self.odd().0, ws_odd.0);
            Self(high(even, odd))
        };
        self.mul(w).sub(k.mul(q))
    }
    #[inline(always)]
    fn montgomery(self, other: Self, q: Self, inverse: Self) -> Self {
        // SAFETY: see above. The low words of both products agree, so the high ones subtract.
        unsafe {
            let even = _mm512_mul_epi32(self.0, other.0);
            let odd = _mm512_mul_epi32(self.odd().0, other.odd().0);
            let m = _mm512_mul_epi32(even, inverse.0);
            let m_odd = _mm512_mul_epi32(odd, inverse.0);
            let even = _mm512_sub_epi64(even, _mm512_mul_epi32(m, q.0));
            let odd = _mm512_sub_epi64(odd, _mm512_mul_epi32(m_odd, q.0));
            Self(high(even, odd))
        }
    }
    #[inline(always)]
    fn wide_zero() -> Self::Wide {
        [Self::splat(0).0; 2]
    }
    #[inline(always)]
    fn wide_mul_add([even, odd]: Self::Wide, a: Self, b: Self) -> Self::Wide {
        // SAFETY: see above.
        unsafe {
            [
                _mm512_add_epi64(even, _mm512_mul_epu32(a.0, b.0)),
                _mm512_add_epi64(odd, _mm512_mul_epu32(a.odd().0, b.odd().0)),
            ]
        }
    }
    #[inline(always)]
    fn wide_montgomery([even, odd]: Self::Wide, q: Self, negated: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            let m = _mm512_mul_epu32(even, negated.0);
            let m_odd = _mm512_mul_epu32(odd, negated.0);
            let even = _mm512_add_epi64(even, _mm512_mul_epu32(m, q.0));
            let odd = _mm512_add_epi64(odd, _mm512_mul_epu32(m_odd, q.0));
            Self(high(even, odd))
        }
    }
    #[inline(always)]
    fn wide_halves([even, odd]: Self::Wide) -> [u64; 2] {
        // SAFETY: see above.
        unsafe {
            let sums = _mm512_add_epi64(even, odd);
            let halves = _mm512_mask_reduce_add_epi64(0x0f, sums);
            [halves as u64, _mm512_mask_reduce_add_epi64(0xf0, sums) as u64]
        }
    }
    #[inline(always)]
    fn wide_round<const SHIFT: i32>([even, odd]: Self::Wide, half: u64) -> Self {
        // SAFETY: see above.
        unsafe {
            let half = _mm512_set1_epi64(half as i64);
            let count = _mm_cvtsi32_si128(SHIFT);
            let even = _mm512_srl_epi64(_mm512_add_epi64(even, half), count);
            let odd = _mm512_srl_epi64(_mm512_add_epi64(odd, half), count);
            Self(_mm512_or_si512(even, _mm512_slli_epi64::<32>(odd)))
        }
    }
    #[inline(always)]
    fn transpose(rows: [Self; 16]) -> [Self; 16] {
        let mut r = [rows[0].0; 16];
        for (r, row) in r.iter_mut().zip(rows) {
            *r = row.0;
        }
        // SAFETY: see above.
        unsafe {
            // 2x2 squares of words, then of pairs of words, within each quarter of a register.
            for i in (0..16).step_by(2) {
                let (a, b) = (r[i], r[i + 1]);
                (r[i], r[i + 1]) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            }
            for i in (0..16).step_by(4) {
                let [a, b, c, d] = [r[i], r[i + 1], r[i + 2], r[i + 3]];
                r[i] = _mm512_unpacklo_epi64(a, c);
                r[i + 1] = _mm512_unpackhi_epi64(a, c);
                r[i + 2] = _mm512_unpacklo_epi64(b, d);
                r[i + 3] = _mm512_unpackhi_epi64(b, d);
            }
            // r[4 k + j] has column 4 p + j of rows 4 k .. in quarter p. Quarters are transposed.
            let mut out = rows;
            for j in 0..4 {
                let [a, b, c, d] = [r[j], r[4 + j], r[8 + j], r[12 + j]];
                let (ab_even, ab_odd) =
                    (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
                let (cd_even, cd_odd) =
                    (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
                out[j] = Self(_mm512_shuffle_i32x4::<0x88>(ab_even, cd_even));
                out[8 + j] = Self(_mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even));
                out[4 + j] = Self(_mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd));
                out[12 + j] = Self(_mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd));
            }
            out
        }
    }
    #[inline(always)]
    fn packed(self) -> Option<Self> {
        // SAFETY: see above; the places are aligned.
        unsafe {
            // The lower word of a pair, the upper one behind it.
            let (low, down) =
                (_mm512_set1_epi64((1 << WORD_BITS) - 1), _mm512_srli_epi64::<5>(self.0));
            let pairs = _mm512_ternarylogic_epi64::<0xe4>(self.0, down, low);
            let pairs = _mm512_sllv_epi64(pairs, _mm512_setr_epi64(0, 6, 4, 2, 0, 6, 4, 2));
            // Neighbours share a byte.
            let even =
                _mm512_permutexvar_epi8(_mm512_load_si512(PLACES[0].0.as_ptr().cast()), pairs);
            let odd =
                _mm512_permutexvar_epi8(_mm512_load_si512(PLACES[1].0.as_ptr().cast()), pairs);
            Some(Self(_mm512_or_si512(even, odd)))
        }
    }
}

#[repr(align(64))]
struct Bytes([u8; 64]);

/// Where each byte of packed words comes from, of even and of odd pairs that were shifted to where a byte begins.
static PLACES: [Bytes; 2] = {
    // The last byte of the first pair is 0.
    let mut from = [const { Bytes([7; 64]) }; 2];
    let mut pair = 0;
    while pair < 8 {
        let (first, end) = (2 * WORD_BITS * pair / 8, (2 * WORD_BITS * (pair + 1)).div_ceil(8));
        let mut at = first;
        while at < end {
            from[pair % 2].0[at] = (8 * pair + at - first) as u8;
            at += 1;
        }
        pair += 1;
    }
    from
};

#[derive(Clone, Copy)]
pub(super) struct ZmmWords(__m512i);

// SAFETY (every block here): as of `Lanes`.
impl Words for ZmmWords {
    const COUNT: usize = 8;

    #[inline(always)]
    fn few(states: &mut Sponges, count: usize, rounds: Rounds) {
        super::vector::keccak::keccak::<super::avx2::YmmWords>(states, count, rounds);
    }

    #[inline(always)]
    unsafe fn load(from: *const u64) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm512_loadu_si512(from.cast()) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u64) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(to.cast(), self.0) }
    }
    #[inline(always)]
    unsafe fn load_bytes(from: *const [u8; 8]) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm512_loadu_si512(from.cast()) })
    }
    #[inline(always)]
    fn transpose(x: [Self; 8]) -> [Self; 8] {
        // SAFETY: see above.
        unsafe {
            let mut pairs = [_mm512_setzero_si512(); 8];
            let mut quads = pairs;
            let mut out = x;
            for i in 0..4 {
                pairs[2 * i] = _mm512_unpacklo_epi64(x[2 * i].0, x[2 * i + 1].0);
                pairs[2 * i + 1] = _mm512_unpackhi_epi64(x[2 * i].0, x[2 * i + 1].0);
            }
            // Even and odd 128 bits of four rows.
            for i in 0..2 {
                for j in 0..2 {
                    let (a, b) = (pairs[4 * i + j], pairs[4 * i + 2 + j]);
                    quads[4 * i + j] = _mm512_shuffle_i64x2::<0x88>(a, b);
                    quads[4 * i + 2 + j] = _mm512_shuffle_i64x2::<0xdd>(a, b);
                }
            }
            for i in 0..4 {
                out[i].0 = _mm512_shuffle_i64x2::<0x88>(quads[i], quads[4 + i]);
                out[4 + i].0 = _mm512_shuffle_i64x2::<0xdd>(quads[i], quads[4 + i]);
            }
            out
        }
    }
    #[inline(always)]
    fn splat(x: u64) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_set1_epi64(x as i64) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_xor_si512(self.0, other.0) })
    }
    #[inline(always)]
    fn xor3(self, a: Self, b: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_ternarylogic_epi64::<0x96>(self.0, a.0, b.0) })
    }
    #[inline(always)]
    fn chi(self, a: Self, b: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_ternarylogic_epi64::<0xd2>(self.0, a.0, b.0) })
    }
    #[inline(always)]
    fn rotl<const K: i32, const REST: i32>(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_rol_epi64::<K>(self.0) })
    }
}

super::vector_kernels!(
    Zmm,
    ZmmWords,
    "avx512",
    "avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg,avx512vpopcntdq"
);
