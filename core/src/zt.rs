//! Arithmetic modulo the plaintext modulus t = 65537 = 2^16 + 1.
//!
//! Since 2^16 = -1 mod t, the high half of a value is subtracted from its low half: no
//! multiplication, no division. Values at rest are canonical, in \[0, t); inside a transform they
//! are centred, so that a product of two fits an `i32`.

/// The plaintext modulus, a Fermat prime: t = 1 mod 2N for every N up to 2^15.
pub const T: u32 = 65_537;

/// x mod t for |x| <= 2^31 - 2^15 - 1, near the centre: |r| <= 2^15 + |x| / 2^16 + 1.
#[must_use]
#[inline(always)]
pub const fn fold(x: i32) -> i32 {
    let y = x + (1 << 15);
    (y & 0xffff) - (1 << 15) - (y >> 16)
}

/// The canonical value in \[0, t) of an |x| <= 2^31 - 2^15 - 1.
#[must_use]
#[inline(always)]
pub const fn canonical(x: i32) -> u32 {
    // Within 65535 of zero.
    let r = fold(x);
    (r + (T as i32 & (r >> 31))) as u32
}

/// The centred value, in \[-2^15, 2^15\], of a canonical one.
#[must_use]
#[inline(always)]
pub const fn centre(x: u32) -> i32 {
    let x = x as i32;
    x - (T as i32 & (((T as i32 - 1) / 2 - x) >> 31))
}

/// floor(x / t), without a division: with x = h 2^16 + l, x / t = h + (l - h) / t and |l - h| < t.
#[must_use]
#[inline(always)]
pub const fn div_floor(x: u32) -> u32 {
    let (h, l) = ((x >> 16) as i32, (x & 0xffff) as i32);
    (h + ((l - h) >> 31)) as u32
}

/// The canonical residue of a signed 128-bit value, by the alternating sum of its 16-bit digits.
#[must_use]
#[inline]
pub const fn residue(x: i128) -> u32 {
    let mut acc = 0i32;
    let mut i = 0;
    while i < 7 {
        let digit = ((x >> (16 * i)) & 0xffff) as i32;
        acc += if i % 2 == 0 { digit } else { -digit };
        i += 1;
    }
    // The top digit keeps the sign: 2^112 = (-1)^7.
    acc -= (x >> 112) as i32;
    canonical(acc)
}

/// base^exp mod t. Variable time in `exp`: for constants only.
#[must_use]
pub const fn pow(base: u32, mut exp: u32) -> u32 {
    let mut base = base as u64 % T as u64;
    let mut acc = 1u64;
    while exp > 0 {
        if exp & 1 == 1 {
            acc = acc * base % T as u64;
        }
        base = base * base % T as u64;
        exp >>= 1;
    }
    acc as u32
}

/// a^-1 mod t. For constants only.
#[must_use]
pub const fn inv(a: u32) -> u32 {
    pow(a, T - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fold_and_canonical_agree_with_division() {
        let top = i32::MAX - (1 << 15);
        let edges = [top, -top, top - 65_537, 0, 1, -1, 65_536, -65_536, 65_537, -65_537];
        let spread = (-1_000_000..1_000_000).map(|k: i32| k.wrapping_mul(2_131));
        for x in edges.into_iter().chain(spread.filter(|x| x.abs() < i32::MAX - (1 << 15))) {
            let want = x.rem_euclid(T as i32);
            assert_eq!(fold(x).rem_euclid(T as i32), want, "{x}");
            assert!(fold(x).abs() <= (1 << 15) + (x.abs() >> 16) + 1, "{x}");
            assert_eq!(canonical(x) as i32, want, "{x}");
        }
        for x in 0..T {
            assert_eq!(centre(x).rem_euclid(T as i32) as u32, x);
            assert!(centre(x).abs() <= 1 << 15);
        }
    }

    #[test]
    fn floor_division_is_exact() {
        let edge = (0..=65_535).flat_map(|k| [k * T, (k * T).saturating_sub(1)]);
        let spread = (0..1_000_000u32).map(|k| k.wrapping_mul(4_295_113));
        for x in edge.chain(spread).chain([u32::MAX, u32::MAX - 1]) {
            assert_eq!(div_floor(x), x / T, "{x}");
        }
    }

    #[test]
    fn residue_of_wide_values() {
        for shift in 0..126 {
            for x in [1i128 << shift, -(1i128 << shift), (1 << shift) - 1, 1 - (1 << shift)] {
                assert_eq!(i128::from(residue(x)), x.rem_euclid(65_537), "{x}");
            }
        }
    }
}
