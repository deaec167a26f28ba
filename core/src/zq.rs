//! Arithmetic modulo one 27-bit prime, in 32-bit words.
//!
//! Three reductions, each where it is cheapest:
//!
//! | reduction | takes | gives | used for |
//! |---|---|---|---|
//! | Shoup | any u32 a, a constant w < q | a w in \[0, 2q) | butterflies, products with constants |
//! | Montgomery | a < 2^32 q | a 2^-32 in \[0, 2q) | products of two unknowns |
//! | Barrett | any u32 a | a in \[0, 2q) | sums that have grown |
//!
//! Values at rest are canonical, in \[0, q). Inside a kernel they are lazy, under the bounds of
//! [`crate::ntt::contract`]. Nothing here branches on or divides by a value, but for the functions
//! marked as meant for constants.
//!
//! Sources: Montgomery 1985; Barrett 1986; Harvey, "Faster arithmetic for number-theoretic
//! transforms" (2014) for Shoup's trick and lazy butterflies.

/// One prime modulus q with the constants its reductions need.
///
/// q is odd and 2^26 < q < 2^27, so 32 q < 2^32: see [`crate::ntt::contract`] for what that buys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prime {
    q: u32,
    /// -q^-1 mod 2^32.
    neg_qinv: u32,
    /// 2^64 mod q: one Montgomery product with it multiplies by 2^32.
    r2: u32,
    /// floor(2^32 / q), the Shoup companion of 1: Barrett's factor.
    barrett: u32,
    /// floor(2^56 / q), the Shoup companion of 2^24.
    shoup24: u32,
}

impl Prime {
    /// Builds the constants for `q`. Meant for `const` evaluation, where a bad `q` fails to compile.
    ///
    /// # Panics
    /// If `q` is not a prime in (2^26, 2^27).
    #[must_use]
    pub const fn new(q: u32) -> Self {
        assert!(q > 1 << 26 && q < 1 << 27, "limbs are 27 bits: 32 q must fit a u32");
        assert!(is_prime(q), "the modulus must be prime");
        let mut inv = 1u32;
        let mut i = 0;
        // Newton's iteration doubles the number of right bits: 1, 2, 4, .. 32.
        while i < 5 {
            inv = inv.wrapping_mul(2u32.wrapping_sub(q.wrapping_mul(inv)));
            i += 1;
        }
        Self {
            q,
            neg_qinv: inv.wrapping_neg(),
            r2: ((1u128 << 64) % q as u128) as u32,
            barrett: ((1u64 << 32) / q as u64) as u32,
            shoup24: ((1u64 << 56) / q as u64) as u32,
        }
    }

    /// The modulus.
    #[must_use]
    #[inline(always)]
    pub const fn q(&self) -> u32 {
        self.q
    }

    /// 2^64 mod q.
    #[must_use]
    #[inline(always)]
    pub const fn r2(&self) -> u32 {
        self.r2
    }

    /// The canonical value of an a < 2q.
    #[must_use]
    #[inline(always)]
    pub const fn correct(&self, a: u32) -> u32 {
        let s = a.wrapping_sub(self.q);
        // All ones where a < q: both are below 2^28, so the sign bit tells.
        let mask = ((s as i32) >> 31) as u32;
        s.wrapping_add(self.q & mask)
    }

    /// Montgomery reduction: a 2^-32 mod q in \[0, 2q), for a < 2^32 q.
    #[must_use]
    #[inline(always)]
    pub const fn montgomery(&self, a: u64) -> u32 {
        // Kept in 64-bit lanes throughout, which is how vector units multiply.
        let m = ((a & 0xffff_ffff) * self.neg_qinv as u64) & 0xffff_ffff;
        ((a + m * self.q as u64) >> 32) as u32
    }

    /// a b 2^-32 mod q, canonical, for a b < 2^32 q: one of the two may be as large as 32 q.
    #[must_use]
    #[inline(always)]
    pub const fn montgomery_mul(&self, a: u32, b: u32) -> u32 {
        self.correct(self.montgomery(a as u64 * b as u64))
    }

    /// Barrett reduction of any word, to \[0, 2q).
    #[must_use]
    #[inline(always)]
    pub const fn barrett(&self, a: u32) -> u32 {
        self.shoup_lazy(a, 1, self.barrett)
    }

    /// The canonical value of any word.
    #[must_use]
    #[inline(always)]
    pub const fn reduce(&self, a: u32) -> u32 {
        self.correct(self.barrett(a))
    }

    /// Shoup's companion of a constant w < q: floor(2^32 w / q). For constants only.
    #[must_use]
    pub const fn shoup(&self, w: u32) -> u32 {
        (((w as u64) << 32) / self.q as u64) as u32
    }

    /// a w mod q in \[0, 2q), for any word a, a constant w < q and its companion `ws`.
    #[must_use]
    #[inline(always)]
    pub const fn shoup_lazy(&self, a: u32, w: u32, ws: u32) -> u32 {
        let k = (a as u64 * ws as u64) >> 32;
        // The difference is below 2q, so only its low word matters; 64-bit lanes as above.
        (a as u64 * w as u64).wrapping_sub(k * self.q as u64) as u32
    }

    /// a w mod q, canonical.
    #[must_use]
    #[inline(always)]
    pub const fn shoup_mul(&self, a: u32, w: u32, ws: u32) -> u32 {
        self.correct(self.shoup_lazy(a, w, ws))
    }

    /// The centred value, |r| <= (q - 1) / 2, of a canonical one.
    #[must_use]
    #[inline(always)]
    pub const fn centre(&self, a: u32) -> i32 {
        let a = a as i32;
        let above = ((self.q as i32 - 1) / 2 - a) >> 31;
        a - (self.q as i32 & above)
    }

    /// The canonical value of a centred one, or of any |a| < q.
    #[must_use]
    #[inline(always)]
    pub const fn from_signed(&self, a: i32) -> u32 {
        (a + (self.q as i32 & (a >> 31))) as u32
    }

    /// a + b of canonical values, canonical.
    #[must_use]
    #[inline(always)]
    pub const fn add(&self, a: u32, b: u32) -> u32 {
        self.correct(a + b)
    }

    /// a - b of canonical values, canonical.
    #[must_use]
    #[inline(always)]
    pub const fn sub(&self, a: u32, b: u32) -> u32 {
        self.from_signed(a as i32 - b as i32)
    }

    /// -a of a canonical value, canonical.
    #[must_use]
    #[inline(always)]
    pub const fn neg(&self, a: u32) -> u32 {
        self.sub(0, a)
    }

    /// a b of canonical values, canonical: one Montgomery product to multiply, one to undo 2^-32.
    #[must_use]
    #[inline(always)]
    pub const fn mul(&self, a: u32, b: u32) -> u32 {
        self.montgomery_mul(self.montgomery_mul(a, b), self.r2)
    }

    /// s 2^-32 mod q, canonical, of a sum s < 2^63 (512 products of canonical values at most).
    ///
    /// The high word counts as it is, the low word after a Montgomery reduction.
    #[must_use]
    #[inline(always)]
    pub const fn montgomery_sum(&self, s: u64) -> u32 {
        let low = self.correct(self.montgomery(s & 0xffff_ffff));
        let high = self.reduce((s >> 32) as u32);
        self.add(low, high)
    }

    /// The canonical residue of |x| < 2^120, without a division: Horner's rule on 24-bit digits.
    #[must_use]
    #[inline]
    pub const fn residue_wide(&self, x: i128) -> u32 {
        let mut acc = self.from_signed((x >> 96) as i32);
        let mut shift = 96;
        while shift > 0 {
            shift -= 24;
            let digit = ((x >> shift) & 0xff_ffff) as u32;
            acc = self.add(self.shoup_mul(acc, 1 << 24, self.shoup24), digit);
        }
        acc
    }

    /// base^exp mod q. Variable time in `exp`: for constants only.
    #[must_use]
    pub const fn pow(&self, base: u32, mut exp: u64) -> u32 {
        let mut base = base;
        let mut acc = 1;
        while exp > 0 {
            if exp & 1 == 1 {
                acc = self.mul(acc, base);
            }
            base = self.mul(base, base);
            exp >>= 1;
        }
        acc
    }

    /// a^-1 mod q by Fermat. For constants only.
    #[must_use]
    pub const fn inv(&self, a: u32) -> u32 {
        self.pow(a, self.q as u64 - 2)
    }

    /// The residue of a constant. Divides: for constants only.
    #[must_use]
    pub const fn residue(&self, a: u128) -> u32 {
        (a % self.q as u128) as u32
    }
}

/// Trial division: for constants only.
#[must_use]
pub const fn is_prime(n: u32) -> bool {
    if n < 2 || (n > 2 && n.is_multiple_of(2)) {
        return false;
    }
    let mut d = 3u64;
    while d * d <= n as u64 {
        if (n as u64).is_multiple_of(d) {
            return false;
        }
        d += 2;
    }
    true
}
