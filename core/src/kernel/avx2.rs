//! AVX2.

use super::lanes::{Lanes, Words};
use crate::ct;
use core::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(super) struct Ymm(__m256i);

/// Even lanes of `even` shifted down, odd lanes of `odd`: the high words of two products.
#[inline(always)]
fn high(even: __m256i, odd: __m256i) -> __m256i {
    // SAFETY: as `Lanes` says.
    unsafe { _mm256_blend_epi32::<0xaa>(_mm256_srli_epi64::<32>(even), odd) }
}

/// Both halves of `x` with their bytes in `order`.
#[inline(always)]
fn shuffle(order: u128, x: __m256i) -> __m256i {
    // SAFETY: as `Lanes` says.
    unsafe { _mm256_shuffle_epi8(x, both(order)) }
}

/// The bytes of `table` that `x` names.
#[inline(always)]
fn permuted(table: u128, x: __m256i) -> __m256i {
    // SAFETY: as `Lanes` says.
    unsafe { _mm256_shuffle_epi8(both(table), x) }
}

#[inline(always)]
fn both(x: u128) -> __m256i {
    // SAFETY: as `Lanes` says.
    unsafe { _mm256_broadcastsi128_si256(_mm_set_epi64x((x >> 64) as i64, x as i64)) }
}

// SAFETY (every block here): as `Lanes` says, the processor has these instructions; loads and stores
// are the caller's promise.
impl Lanes for Ymm {
    const LANES: usize = 8;
    const PAIRS: bool = false;
    type Wide = [__m256i; 2];

    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm256_loadu_si256(from.cast()) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u32) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_si256(to.cast(), self.0) }
    }
    #[inline(always)]
    unsafe fn store_kept(self, keep: Self, to: *mut u32) -> usize {
        // SAFETY: the caller's promise; the table has a row for each mask of eight lanes.
        unsafe {
            // Public: which lanes are thrown away, on which no kept one depends.
            let keep = ct::public(_mm256_movemask_ps(_mm256_castsi256_ps(keep.0)) as usize);
            let row = KEPT.get_unchecked(keep & 0xff);
            let order = _mm256_cvtepu8_epi32(_mm_loadl_epi64(row.as_ptr().cast()));
            Self(_mm256_permutevar8x32_epi32(self.0, order)).store(to);
            keep.count_ones() as usize
        }
    }
    #[inline(always)]
    fn splat(x: u32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_set1_epi32(x as i32) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_add_epi32(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_sub_epi32(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_mullo_epi32(self.0, other.0) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_min_epu32(self.0, other.0) })
    }
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_and_si256(self.0, other.0) })
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_or_si256(self.0, other.0) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }
    #[inline(always)]
    fn shr<const K: i32>(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_srli_epi32::<K>(self.0) })
    }
    #[inline(always)]
    fn shl_by(self, bits: u32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_sll_epi32(self.0, _mm_cvtsi32_si128(bits as i32)) })
    }
    #[inline(always)]
    fn shr_by(self, bits: u32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_srl_epi32(self.0, _mm_cvtsi32_si128(bits as i32)) })
    }
    #[inline(always)]
    fn sar<const K: i32>(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_srai_epi32::<K>(self.0) })
    }
    #[inline(always)]
    fn sar_by(self, bits: u32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_sra_epi32(self.0, _mm_cvtsi32_si128(bits as i32)) })
    }
    #[inline(always)]
    fn rotl<const K: i32, const REST: i32>(self) -> Self {
        // Whole bytes in one shuffle.
        let order = match K {
            16 => 0x0d0c_0f0e_0908_0b0a_0504_0706_0100_0302,
            8 => 0x0e0d_0c0f_0a09_080b_0605_0407_0201_0003,
            _ => {
                // SAFETY: see above.
                let high = unsafe { _mm256_slli_epi32::<K>(self.0) };
                return Self(high).or(self.shr::<REST>());
            }
        };
        Self(shuffle(order, self.0))
    }
    #[inline(always)]
    fn gt(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_cmpgt_epi32(self.0, other.0) })
    }
    #[inline(always)]
    fn count_ones(self) -> Self {
        // SAFETY: see above. Half bytes by table, then sums of four bytes.
        unsafe {
            let counts = 0x0403_0302_0302_0201_0302_0201_0201_0100;
            let half = _mm256_set1_epi8(15);
            let low = self.0;
            let high = _mm256_and_si256(_mm256_srli_epi32::<4>(low), half);
            let low = _mm256_and_si256(low, half);
            let bytes = _mm256_add_epi8(permuted(counts, low), permuted(counts, high));
            let pairs = _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1));
            Self(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }
    #[inline(always)]
    fn pick(self, from: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_permutevar8x32_epi32(self.0, from.0) })
    }
    #[inline(always)]
    fn odd(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_srli_epi64::<32>(self.0) })
    }
    #[inline(always)]
    fn shoup(self, w: Self, ws: Self, ws_odd: Self, q: Self) -> Self {
        // SAFETY: see above.
        let k = unsafe {
            let even = _mm256_mul_epi32(self.0, ws.0);
            let odd = _mm256_mul_epi32(self.odd().0, ws_odd.0);
            Self(high(even, odd))
        };
        self.mul(w).sub(k.mul(q))
    }
    #[inline(always)]
    fn montgomery(self, other: Self, q: Self, inverse: Self) -> Self {
        // SAFETY: see above. The low words of both products agree, so the high ones subtract.
        unsafe {
            let even = _mm256_mul_epi32(self.0, other.0);
            let odd = _mm256_mul_epi32(self.odd().0, other.odd().0);
            let m = _mm256_mul_epi32(even, inverse.0);
            let m_odd = _mm256_mul_epi32(odd, inverse.0);
            let even = _mm256_sub_epi64(even, _mm256_mul_epi32(m, q.0));
            let odd = _mm256_sub_epi64(odd, _mm256_mul_epi32(m_odd, q.0));
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
                _mm256_add_epi64(even, _mm256_mul_epu32(a.0, b.0)),
                _mm256_add_epi64(odd, _mm256_mul_epu32(a.odd().0, b.odd().0)),
            ]
        }
    }
    #[inline(always)]
    fn wide_montgomery([even, odd]: Self::Wide, q: Self, negated: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            let m = _mm256_mul_epu32(even, negated.0);
            let m_odd = _mm256_mul_epu32(odd, negated.0);
            let even = _mm256_add_epi64(even, _mm256_mul_epu32(m, q.0));
            let odd = _mm256_add_epi64(odd, _mm256_mul_epu32(m_odd, q.0));
            Self(high(even, odd))
        }
    }
    #[inline(always)]
    fn wide_halves([even, odd]: Self::Wide) -> [u64; 2] {
        let mut sums = [0u64; 4];
        // SAFETY: see above.
        unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), _mm256_add_epi64(even, odd)) };
        [sums[0] + sums[1], sums[2] + sums[3]]
    }
    #[inline(always)]
    fn wide_round<const SHIFT: i32>([even, odd]: Self::Wide, half: u64) -> Self {
        // SAFETY: see above.
        unsafe {
            let half = _mm256_set1_epi64x(half as i64);
            let even = _mm256_srli_epi64::<SHIFT>(_mm256_add_epi64(even, half));
            let odd = _mm256_srli_epi64::<SHIFT>(_mm256_add_epi64(odd, half));
            Self(_mm256_or_si256(even, _mm256_slli_epi64::<32>(odd)))
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
            for i in (0..16).step_by(2) {
                let (a, b) = (r[i], r[i + 1]);
                (r[i], r[i + 1]) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            }
            for i in (0..16).step_by(4) {
                let [a, b, c, d] = [r[i], r[i + 1], r[i + 2], r[i + 3]];
                r[i] = _mm256_unpacklo_epi64(a, c);
                r[i + 1] = _mm256_unpackhi_epi64(a, c);
                r[i + 2] = _mm256_unpacklo_epi64(b, d);
                r[i + 3] = _mm256_unpackhi_epi64(b, d);
            }
            // r[8 s + 4 k + j] has column 4 p + j of rows 4 k .. of square s in half p.
            let mut out = rows;
            for s in [0, 8] {
                for j in 0..4 {
                    let (a, b) = (r[s + j], r[s + 4 + j]);
                    out[s + j] = Self(_mm256_permute2x128_si256::<0x20>(a, b));
                    out[s + 4 + j] = Self(_mm256_permute2x128_si256::<0x31>(a, b));
                }
            }
            out
        }
    }
}

/// For each mask of eight lanes, the lanes that are set, in order.
static KEPT: [[u8; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut lane, mut at) = (0, 0);
        while lane < 8 {
            if mask >> lane & 1 == 1 {
                table[mask][at] = lane as u8;
                at += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};

#[derive(Clone, Copy)]
pub(super) struct YmmWords(__m256i);

// SAFETY (every block here): as of `Lanes`.
impl Words for YmmWords {
    const COUNT: usize = 4;

    #[inline(always)]
    fn few(states: &mut Sponges, count: usize, rounds: Rounds) {
        super::scalar::keccak(states, count, rounds);
    }

    #[inline(always)]
    unsafe fn load(from: *const u64) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm256_loadu_si256(from.cast()) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u64) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_si256(to.cast(), self.0) }
    }
    #[inline(always)]
    unsafe fn load_bytes(from: *const [u8; 8]) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm256_loadu_si256(from.cast()) })
    }
    #[inline(always)]
    fn transpose(mut x: [Self; 8]) -> [Self; 8] {
        // SAFETY: see above.
        unsafe {
            let (a, b) =
                (_mm256_unpacklo_epi64(x[0].0, x[1].0), _mm256_unpackhi_epi64(x[0].0, x[1].0));
            let (c, d) =
                (_mm256_unpacklo_epi64(x[2].0, x[3].0), _mm256_unpackhi_epi64(x[2].0, x[3].0));
            x[0].0 = _mm256_permute2x128_si256::<0x20>(a, c);
            x[1].0 = _mm256_permute2x128_si256::<0x20>(b, d);
            x[2].0 = _mm256_permute2x128_si256::<0x31>(a, c);
            x[3].0 = _mm256_permute2x128_si256::<0x31>(b, d);
            x
        }
    }
    #[inline(always)]
    fn splat(x: u64) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_set1_epi64x(x as i64) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }
    #[inline(always)]
    fn xor3(self, a: Self, b: Self) -> Self {
        self.xor(a).xor(b)
    }
    #[inline(always)]
    fn chi(self, a: Self, b: Self) -> Self {
        // SAFETY: see above.
        self.xor(Self(unsafe { _mm256_andnot_si256(a.0, b.0) }))
    }
    #[inline(always)]
    fn rotl<const K: i32, const REST: i32>(self) -> Self {
        // SAFETY: see above.
        unsafe {
            let (high, low) = (_mm256_slli_epi64::<K>(self.0), _mm256_srli_epi64::<REST>(self.0));
            Self(_mm256_or_si256(high, low))
        }
    }
}

super::vector_kernels!(Ymm, YmmWords, "avx2", "avx2");
