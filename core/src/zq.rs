//! Arithmetic modulo one prime of 25 to 27 bits, in 32-bit words.
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
//! [`crate::kernel::contract`]. Nothing here branches on or divides by a value, but for the functions
//! marked as meant for constants.
//!
//! Sources: Montgomery 1985; Barrett 1986; Harvey, "Faster arithmetic for number-theoretic
//! transforms" (2014) for Shoup's trick and lazy butterflies.

/// One prime modulus q with the constants its reductions need.
///
/// q is odd and 2^24 < q < 2^27, so 32 q < 2^32: see [`crate::kernel::contract`] for what that buys.
/// All have 27 bits but one, a special prime of key switching, for which 25 were left.
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
    /// If `q` is not a prime in (2^24, 2^27).
    #[must_use]
    pub const fn new(q: u32) -> Self {
        assert!(q > 1 << 24 && q < 1 << 27, "limbs are 25 to 27 bits: 32 q must fit a u32");
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

    /// How many bits q has.
    #[must_use]
    #[inline(always)]
    pub const fn bits(&self) -> u32 {
        u32::BITS - self.q.leading_zeros()
    }

    /// 2^64 mod q.
    #[must_use]
    #[inline(always)]
    pub const fn r2(&self) -> u32 {
        self.r2
    }

    /// 2^32 mod q.
    #[must_use]
    #[inline(always)]
    pub const fn r(&self) -> u32 {
        self.montgomery_mul(self.r2, 1)
    }

    /// q^-1 mod 2^32.
    #[must_use]
    #[inline(always)]
    pub const fn qinv(&self) -> u32 {
        self.neg_qinv.wrapping_neg()
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

    /// base^exp mod q of a canonical base. Variable time in `exp`: for constants only.
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

    /// The product mod q of the first `count` of some primes, number `but` left out. For constants only.
    #[must_use]
    pub(crate) const fn product(&self, primes: &[Self], count: usize, but: usize) -> u32 {
        let mut product = 1;
        let mut i = 0;
        while i < count {
            if i != but {
                product = self.mul(product, primes[i].q % self.q);
            }
            i += 1;
        }
        product
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntt::{PLANS, WIDE_PLANS};
    use chacha20::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};

    /// The primes of all plans.
    fn primes() -> impl Iterator<Item = Prime> {
        PLANS.into_iter().chain(WIDE_PLANS.map(|[low, _]| low)).map(|plan| plan.prime)
    }

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([2; 32])
    }

    /// a b mod q.
    fn product(a: u128, b: u128, q: u32) -> u32 {
        (a % u128::from(q) * (b % u128::from(q)) % u128::from(q)) as u32
    }

    /// Words up to `top`: the edges of every stated range below it, then random ones.
    fn words(q: u32, top: u32) -> impl Iterator<Item = u32> {
        let multiples = (1..=32u64).flat_map(move |k| {
            let kq = k * u64::from(q);
            [kq - 1, kq, kq + 1]
        });
        let edges = [0, 1, 2, u64::from(q / 2), u64::from(q / 2) + 1, 1 << 31, u64::from(top)];
        let mut rng = rng();
        let random = (0..2_000).map(move |_| (u64::from(rng.next_u32()) * u64::from(top)) >> 32);
        multiples.chain(edges).chain(random).filter(move |&x| x <= u64::from(top)).map(|x| x as u32)
    }

    #[test]
    fn constants_are_what_they_say() {
        for p in primes() {
            let q = u128::from(p.q);
            assert_eq!(p.q().wrapping_mul(p.neg_qinv), u32::MAX);
            assert_eq!(u128::from(p.r2()), (1 << 64) % q);
            assert_eq!(u128::from(p.barrett), (1 << 32) / q);
            assert_eq!(u128::from(p.shoup24), (1 << 56) / q);
            assert_eq!(Prime::new(p.q), p);
        }
    }

    #[test]
    #[should_panic(expected = "must be prime")]
    fn a_composite_is_no_modulus() {
        let _ = Prime::new(134_176_767);
    }

    #[test]
    #[should_panic(expected = "27 bits")]
    fn a_28_bit_prime_is_no_modulus() {
        let _ = Prime::new(134_217_757);
    }

    #[test]
    #[should_panic(expected = "27 bits")]
    fn a_24_bit_prime_is_no_modulus() {
        let _ = Prime::new(16_777_213);
    }

    #[test]
    fn reductions_of_one_word() {
        for p in primes() {
            let q = p.q();
            for a in words(q, 2 * q - 1) {
                assert_eq!(p.correct(a), a % q, "{a} mod {q}");
            }
            for a in words(q, u32::MAX) {
                assert!(p.barrett(a) < 2 * q, "{a} mod {q}");
                assert_eq!(p.barrett(a) % q, a % q, "{a} mod {q}");
                assert_eq!(p.reduce(a), a % q, "{a} mod {q}");
                assert_eq!(p.residue(u128::from(a)), a % q, "{a} mod {q}");
            }
            assert_eq!(u128::from(p.residue(u128::MAX)), u128::MAX % u128::from(q));
        }
    }

    #[test]
    fn shoup_products_take_any_word() {
        for p in primes() {
            let q = p.q();
            for w in words(q, q - 1).step_by(7).chain([0, 1, q - 1]) {
                let ws = p.shoup(w);
                assert_eq!(u64::from(ws), (u64::from(w) << 32) / u64::from(q));
                for a in words(q, u32::MAX).step_by(5).chain([u32::MAX]) {
                    let want = product(a.into(), w.into(), q);
                    let lazy = p.shoup_lazy(a, w, ws);
                    assert!(lazy < 2 * q, "{a} {w} mod {q}");
                    assert_eq!(lazy % q, want, "{a} {w} mod {q}");
                    assert_eq!(p.shoup_mul(a, w, ws), want, "{a} {w} mod {q}");
                }
            }
        }
    }

    #[test]
    fn montgomery_over_its_whole_range() {
        for p in primes() {
            let q = p.q();
            let r = 1u128 << 32;
            let top = (u64::from(q) << 32) - 1;
            let mut rng = rng();
            let shifts = (0..32 + p.bits()).flat_map(|s| [1u64 << s, (1 << s) - 1]);
            let multiples = (0..=64u64).map(|k| k * u64::from(q));
            let random =
                (0..20_000).map(|_| ((u128::from(rng.next_u64()) * u128::from(top)) >> 64) as u64);
            for a in shifts.chain(multiples).chain([top, top - 1, top - (1 << 32)]).chain(random) {
                let got = p.montgomery(a);
                assert!(got < 2 * q, "{a} mod {q}");
                assert_eq!(product(got.into(), r, q), (a % u64::from(q)) as u32, "{a} mod {q}");
            }
            for b in words(q, q - 1).step_by(5).chain([0, 1, q - 1]) {
                for a in words(q, u32::MAX).step_by(7).chain([u32::MAX, 32 * q - 1]) {
                    let got = p.montgomery_mul(a, b);
                    assert!(got < q);
                    assert_eq!(
                        product(got.into(), r, q),
                        product(a.into(), b.into(), q),
                        "{a} {b} mod {q}"
                    );
                }
            }
        }
    }

    #[test]
    fn montgomery_of_sums() {
        for p in primes() {
            let q = p.q();
            let square = u64::from(q - 1).pow(2);
            let mut rng = rng();
            let edges = (0..63).flat_map(|s| [(1u64 << s) - 1, 1 << s, (1 << s) | 0xffff_ffff]);
            let sums = (0..=512).map(|k| k * square);
            let random = (0..20_000).map(|_| rng.next_u64() >> 1);
            for s in edges.chain(sums).chain([(1 << 63) - 1, ((1 << 31) - 1) << 32]).chain(random) {
                let got = p.montgomery_sum(s);
                assert!(got < q, "{s} mod {q}");
                assert_eq!(
                    product(got.into(), 1 << 32, q),
                    (s % u64::from(q)) as u32,
                    "{s} mod {q}"
                );
            }
        }
    }

    #[test]
    fn signs() {
        for p in primes() {
            let q = p.q();
            for a in words(q, q - 1) {
                let centred = p.centre(a);
                assert!(centred.unsigned_abs() <= (q - 1) / 2, "{a} mod {q}");
                assert_eq!(centred.rem_euclid(q as i32) as u32, a, "mod {q}");
                assert_eq!(p.from_signed(centred), a, "mod {q}");
                for x in [a as i32, -(a as i32)] {
                    assert_eq!(p.from_signed(x), x.rem_euclid(q as i32) as u32, "{x} mod {q}");
                }
                assert_eq!(p.neg(a), (q - a) % q, "{a} mod {q}");
            }
        }
    }

    #[test]
    fn arithmetic_of_canonical_values() {
        for p in primes() {
            let q = p.q();
            for a in words(q, q - 1).step_by(3).chain([0, 1, q - 1]) {
                for b in words(q, q - 1).step_by(11).chain([0, 1, q - 1]) {
                    assert_eq!(p.add(a, b), (a + b) % q, "{a} {b} mod {q}");
                    assert_eq!(p.sub(a, b), (a + q - b) % q, "{a} {b} mod {q}");
                    assert_eq!(p.mul(a, b), product(a.into(), b.into(), q), "{a} {b} mod {q}");
                }
                if a != 0 {
                    assert_eq!(product(a.into(), p.inv(a).into(), q), 1, "{a} mod {q}");
                }
                let mut power = 1;
                for exp in 0..20 {
                    assert_eq!(p.pow(a, exp), power, "{a}^{exp} mod {q}");
                    power = product(power.into(), a.into(), q);
                }
            }
        }
    }

    #[test]
    fn residues_of_wide_values() {
        for p in primes() {
            let q = i128::from(p.q());
            let check = |x: i128| {
                assert_eq!(i128::from(p.residue_wide(x)), x.rem_euclid(q), "{x} mod {q}");
            };
            let top = (1i128 << 120) - 1;
            for x in [0, top, -top, top / q * q, -(top / q * q), q, -q, q - 1, 1 - q, -1] {
                check(x);
            }
            for shift in 0..120 {
                let x = 1i128 << shift;
                for x in [x, x - 1, x + 1, -x, 1 - x, -x - 1] {
                    check(x);
                }
            }
            let mut rng = rng();
            for i in 0..20_000 {
                let x = i128::from(rng.next_u64() as i64) << 64 | i128::from(rng.next_u64());
                check(x >> (8 + i % 119));
            }
        }
    }

    #[test]
    fn primes_by_trial_division() {
        for n in 0..5_000 {
            let prime = n > 1 && (2..n).all(|d| n % d != 0);
            assert_eq!(is_prime(n), prime, "{n}");
        }
        // 2^31 - 1 and the largest prime below 2^32; a square and a product of two large primes.
        assert!(is_prime(2_147_483_647) && is_prime(4_294_967_291));
        assert!(!is_prime(4_294_836_225) && !is_prime(65_521 * 65_519));
    }
}
