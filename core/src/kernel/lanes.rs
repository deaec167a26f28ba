//! What a vector unit must offer; the algorithms in `vector/` are written once, over this.

use super::contract::{Rounds, SPONGES, Sponges};

/// A vector of 32-bit lanes.
///
/// Implemented by each processor folder's register type. The methods are safe to call only where the
/// processor has the instructions; `vector/` is reached through the tables of [`super::contract`]
/// alone, and these are handed out for a capability value, which is the proof.
pub(super) trait Lanes: Copy {
    /// Lanes of 32 bits: 4, 8 or 16.
    const LANES: usize;

    /// Whether the registers hold two ChaCha states.
    const PAIRS: bool;

    /// 64-bit sums, as many as there are lanes.
    type Wide: Copy;

    /// # Safety
    /// [`Lanes::LANES`] words can be read at `from`.
    unsafe fn load(from: *const u32) -> Self;

    /// # Safety
    /// [`Lanes::LANES`] words can be written at `to`.
    unsafe fn store(self, to: *mut u32);

    /// Writes the lanes in which `keep` is all ones, in order and without gaps, and gives their
    /// number. What follows them is overwritten with anything. `keep` is public: see
    /// [`super::contract`] on rejection.
    ///
    /// # Safety
    /// [`Lanes::LANES`] words can be written at `to`.
    unsafe fn store_kept(self, keep: Self, to: *mut u32) -> usize;

    /// Every lane x.
    fn splat(x: u32) -> Self;

    /// Lane-wise, wrapping.
    fn add(self, other: Self) -> Self;
    /// Lane-wise, wrapping.
    fn sub(self, other: Self) -> Self;
    /// Low words of the products.
    fn mul(self, other: Self) -> Self;
    /// The lesser, unsigned.
    fn min(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    /// Shift right, zeros in.
    fn shr<const K: i32>(self) -> Self;
    /// Shift left by less than 32.
    fn shl_by(self, bits: u32) -> Self;
    /// Shift right by less than 32, zeros in.
    fn shr_by(self, bits: u32) -> Self;
    /// Shift right, signs in.
    fn sar<const K: i32>(self) -> Self;
    /// Shift right by less than 32, signs in.
    fn sar_by(self, bits: u32) -> Self;
    /// Rotate left.
    fn rotl<const K: i32, const REST: i32>(self) -> Self;
    /// All ones where self > other, signed.
    fn gt(self, other: Self) -> Self;
    /// Ones in each lane.
    fn count_ones(self) -> Self;
    /// Lane i of the result is lane `from`\[i\], which is below LANES.
    fn pick(self, from: Self) -> Self;

    /// The companion of a twiddle as [`Lanes::shoup`] wants it for odd lanes.
    fn odd(self) -> Self;

    /// self w mod q, off by less than q: congruent, at most 5q/4 away from zero (see [`super::contract`]).
    /// self is signed, `w` centred, `ws` its companion, `ws_odd` = `ws.odd()` (or `ws` itself if
    /// all lanes are equal).
    fn shoup(self, w: Self, ws: Self, ws_odd: Self, q: Self) -> Self;

    /// self other 2^-32 mod q, signed: at most self other / 2^32 + q/2 away from zero.
    /// `inverse` = q^-1 mod 2^32.
    fn montgomery(self, other: Self, q: Self, inverse: Self) -> Self;

    fn wide_zero() -> Self::Wide;
    /// sums + a b, unsigned, lane by lane.
    fn wide_mul_add(sums: Self::Wide, a: Self, b: Self) -> Self::Wide;
    /// sums 2^-32 mod q in \[0, 2q), for sums < 2^32 q; `negated` = -q^-1 mod 2^32.
    fn wide_montgomery(sums: Self::Wide, q: Self, negated: Self) -> Self;
    /// The sums of the lower and of the upper half of the lanes.
    fn wide_halves(sums: Self::Wide) -> [u64; 2];
    /// (sums + `half`) >> `SHIFT`, low words.
    fn wide_round<const SHIFT: i32>(sums: Self::Wide, half: u64) -> Self;

    /// Transposes LANES x LANES squares: rows 0 .. LANES, then the next, up to 16 rows.
    fn transpose(rows: [Self; 16]) -> [Self; 16];

    /// Words below 2^27, 27 bits each back to back in the first bytes; zeros follow. `None` where bytes do not go from any
    /// lane to any other in an instruction.
    #[inline(always)]
    fn packed(self) -> Option<Self> {
        None
    }
}

/// A register of 64-bit lanes: a word of one state in each.
pub(super) trait Words: Copy {
    /// Lanes: 2, 4 or 8.
    const COUNT: usize;

    /// Permutes so few states that they fill no more than half of a register.
    fn few(states: &mut Sponges, count: usize, rounds: Rounds);

    /// # Safety
    /// [`Words::COUNT`] words can be read at `from`.
    unsafe fn load(from: *const u64) -> Self;
    /// # Safety
    /// [`Words::COUNT`] words can be written at `to`.
    unsafe fn store(self, to: *mut u64);
    /// Little-endian.
    ///
    /// # Safety
    /// [`Words::COUNT`] words can be read at `from`, which need not be aligned.
    unsafe fn load_bytes(from: *const [u8; 8]) -> Self;
    /// Of the first COUNT rows: lane j of row i to lane i of row j.
    fn transpose(rows: [Self; SPONGES]) -> [Self; SPONGES];
    /// Every lane x.
    fn splat(x: u64) -> Self;
    fn xor(self, other: Self) -> Self;
    /// self ^ a ^ b.
    fn xor3(self, a: Self, b: Self) -> Self;
    /// self ^ (!a & b).
    fn chi(self, a: Self, b: Self) -> Self;
    /// Rotate left by K, which is neither 0 nor 64; REST is 64 - K.
    fn rotl<const K: i32, const REST: i32>(self) -> Self;
}
