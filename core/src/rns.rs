//! The residue number system: constants of each parameter set, and the ways out of it.

use crate::kernel::contract::{ROUND_BITS, Rounding};
use crate::ntt::{PLANS, Plan, WIDE_PLANS};
use crate::zq::Prime;
use crate::zt::T;

/// The constants of Q = q_0 q_1 .., the first primes of their degree's chain ([`crate::ntt::plan`]). L
/// limbs name a basis, and with it the degree:
///
/// | degree | bases |
/// |---|---|
/// | 4096 | 2 (Q54), 3 (Q81 = Q54 and special prime), 4 (Q81 and special prime), 7 (Q81's products) |
/// | 8192, two limbs a prime | 8 (Q108), 10 (Q135), 12 (Q135 and special prime), 22 (Q135's products) |
///
/// Where there are two limbs a prime, the low halves of all primes come first. A carrier for associated
/// constants, never a value.
#[derive(Debug)]
pub struct Rns<const L: usize>(());

impl<const L: usize> Rns<L> {
    /// Limbs a prime, and so the degree in units of N: 1 or 2.
    pub const PARTS: usize = {
        assert!(matches!(L, 2 | 3 | 4 | 7 | 8 | 10 | 12 | 22), "no such basis: see `Rns`");
        if L < 8 { 1 } else { 2 }
    };

    /// How many primes there are.
    pub const COUNT: usize = L / Self::PARTS;

    /// The limbs' transform tables.
    pub const PLANS: [&'static Plan; L] = {
        let mut plans = [PLANS[0]; L];
        let mut i = 0;
        while i < L {
            plans[i] = match Self::PARTS {
                1 => PLANS[i],
                _ => WIDE_PLANS[i % Self::COUNT][i / Self::COUNT],
            };
            i += 1;
        }
        plans
    };

    /// The limbs' primes.
    pub const PRIMES: [Prime; L] = {
        let mut primes = [Self::PLANS[0].prime; L];
        let mut i = 0;
        while i < L {
            primes[i] = Self::PLANS[i].prime;
            i += 1;
        }
        primes
    };

    /// The modulus, where it fits: Q54 and Q81.
    pub const Q: u128 = {
        let mut q = 1u128;
        let mut i = 0;
        while i < Self::COUNT {
            q *= Self::PRIMES[i].q() as u128;
            i += 1;
        }
        q
    };

    /// Q mod t.
    pub(crate) const Q_MOD_T: u32 = {
        let mut rest = 1u64;
        let mut i = 0;
        while i < Self::COUNT {
            rest = rest * Self::PRIMES[i].q() as u64 % T as u64;
            i += 1;
        }
        assert!(rest < T as u64 - 1, "the exact scaling works in 32 bits");
        rest as u32
    };

    /// 2^32 floor(Q / t) mod q_i: one Montgomery product scales a message.
    pub(crate) const DELTA: [u32; L] = {
        let mut c = [0; L];
        let mut i = 0;
        while i < L {
            // floor(Q/t) = (Q - (Q mod t)) / t, and Q is 0 here.
            let p = Self::PRIMES[i];
            let delta = p.mul(p.neg(Self::Q_MOD_T), p.inv(T));
            c[i] = p.residue((delta as u128) << 32);
            i += 1;
        }
        c
    };

    /// 2^32 / q of the last prime q, modulo each limb's prime but its own.
    pub(crate) const LAST_INVERSE: [u32; L] = {
        let mut c = [0; L];
        let last = Self::PRIMES[Self::COUNT - 1].q();
        let mut i = 0;
        while i < L {
            let p = Self::PRIMES[i];
            if p.q() != last {
                c[i] = p.mul(p.inv(last % p.q()), p.r());
            }
            i += 1;
        }
        c
    };

    /// What the rounding to plaintext needs of each limb.
    ///
    /// With y_i = w (Q/q_i)^-1 mod q_i, w = sum y_i Q/q_i - k Q, so t w / Q = sum y_i t/q_i mod t.
    /// Fixed point with 42 bits: each factor is off by at most 2^-43, so a sum of up to four is off by
    /// at most 2^-14, and round(t w / Q) is exact where t w / Q keeps that far from a half, that is for
    /// noise below Q/2t (1 - 2^-13). A fifth limb takes that to 1 - 2^-12.
    pub(crate) const ROUNDING: [Rounding; L] = {
        let mut c = [Rounding { prime: Self::PRIMES[0], punctured: 0, factor: 0 }; L];
        let mut i = 0;
        while i < L {
            let p = Self::PRIMES[i];
            let q = p.q() as u128;
            let inverse = p.inv(p.product(&Self::PRIMES, Self::COUNT, i % Self::COUNT));
            let factor = (((T as u128) << ROUND_BITS) + q / 2) / q;
            assert!(factor < 1 << 32, "a factor is one word");
            // Products below 2^27 2^32 each, and the half, fit 64 bits.
            assert!(Self::COUNT <= 8);
            let punctured = p.residue((inverse as u128) << 32);
            c[i] = Rounding { prime: p, punctured, factor: factor as u32 };
            i += 1;
        }
        c
    };

    /// q_j^-1 mod q_i in row i, column j < i, with Shoup's companion: Garner's mixed radix.
    const GARNER: [[(u32, u32); L]; L] = {
        let mut c = [[(0, 0); L]; L];
        let mut i = 0;
        while i < Self::COUNT {
            let p = Self::PRIMES[i];
            let mut j = 0;
            while j < i {
                let inverse = p.inv(p.residue(Self::PRIMES[j].q() as u128));
                c[i][j] = (inverse, p.shoup(inverse));
                j += 1;
            }
            i += 1;
        }
        c
    };

    /// The mixed-radix digits of the integer in \[0, Q) with these canonical residues (Garner): digit i
    /// counts q_0 .. q_(i-1).
    #[inline]
    pub(crate) fn digits(w: [u32; L]) -> [u32; L] {
        let mut digits = [0; L];
        for (i, p) in Self::PRIMES.iter().enumerate().take(Self::COUNT) {
            let mut digit = w[i];
            for (&below, &(inverse, shoup)) in digits.iter().zip(&Self::GARNER[i]).take(i) {
                // Another prime's digit is below 2 q_i.
                digit = p.shoup_mul(p.sub(digit, p.correct(below)), inverse, shoup);
            }
            digits[i] = digit;
        }
        digits
    }

    /// The integer of canonical residues, centred: |x| <= Q/2. For Q54 and Q81.
    #[inline]
    pub(crate) fn lift(w: [u32; L]) -> i128 {
        let mut x = 0u128;
        let mut below = 1u128;
        for (digit, p) in Self::digits(w).into_iter().zip(&Self::PRIMES) {
            x += below * u128::from(digit);
            below *= u128::from(p.q());
        }
        let (x, q) = (x as i128, Self::Q as i128);
        x - (q & ((q / 2 - x) >> 127))
    }
}

const _: () = {
    // What the parameter sets claim, at compile time.
    assert!(Rns::<2>::Q < 1 << 54 && Rns::<3>::Q < 1 << 81);
    assert!(Rns::<2>::Q > 1 << 53 && Rns::<3>::Q > 1 << 80);
};

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::cap::Scalar;
    use crate::kernel::Kernels;
    use crate::ntt::N;
    use chacha20::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};
    use std::boxed::Box;
    use std::vec;
    use std::vec::Vec;

    fn kernels() -> &'static Kernels {
        Kernels::scalar(Scalar)
    }

    fn residues<const L: usize>(x: u128) -> [u32; L] {
        Rns::<L>::PRIMES.map(|p| (x % u128::from(p.q())) as u32)
    }

    /// Uniform below Q.
    fn draw<const L: usize>(rng: &mut ChaCha20Rng) -> u128 {
        (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())) % Rns::<L>::Q
    }

    /// floor((a Q + c) / b) mod each prime q, of any Q: what is left of the numerator by b q says it.
    fn share<const L: usize>(a: u64, b: u64, c: u64) -> [u32; L] {
        Rns::<L>::PRIMES.map(|p| {
            let modulus = u128::from(b) * u128::from(p.q());
            let primes = Rns::<L>::PRIMES.iter().take(Rns::<L>::COUNT);
            let q = primes.fold(1, |product, p| product * u128::from(p.q()) % modulus);
            ((q * u128::from(a) + u128::from(c)) % modulus / u128::from(b)) as u32
        })
    }

    /// round(Q m / t). Neither here nor below can there be a tie: Q and t are odd.
    fn scaled<const L: usize>(m: u32) -> [u32; L] {
        share(m.into(), T.into(), u64::from(T / 2))
    }

    fn scale_is_exact<const L: usize>() {
        let q_mod_t = Rns::<L>::PRIMES.iter().take(Rns::<L>::COUNT);
        let q_mod_t = q_mod_t.fold(1, |rest, p| rest * u64::from(p.q()) % u64::from(T));
        assert_eq!(u64::from(Rns::<L>::Q_MOD_T), q_mod_t);
        let messages: Vec<u32> = (0..T).collect();
        for chunk in messages.chunks(N) {
            let mut message = Box::new([0; N]);
            message[..chunk.len()].copy_from_slice(chunk);
            let want: Vec<[u32; L]> = message.iter().map(|&m| scaled(m)).collect();
            for i in 0..L {
                let mut out = Box::new([0; N]);
                let plan = Rns::<L>::PLANS[i];
                let delta = Rns::<L>::DELTA[i];
                (kernels().add_scaled)(&mut out, &message, delta, Rns::<L>::Q_MOD_T, plan);
                for ((&m, want), &got) in message.iter().zip(&want).zip(out.iter()) {
                    assert_eq!(got, want[i], "round(Q {m} / t), Q of {L} limbs, limb {i}");
                }
            }
        }
    }

    /// round(t w / Q) of many w.
    fn round<const L: usize>(w: &[[u32; L]]) -> Vec<u32> {
        let mut all = vec![];
        for chunk in w.chunks(N) {
            let mut limbs = vec![[0; N]; Rns::<L>::COUNT];
            for (j, w) in chunk.iter().enumerate() {
                for (limb, &residue) in limbs.iter_mut().zip(w) {
                    limb[j] = residue;
                }
            }
            let mut out = Box::new([0; N]);
            (kernels().round)(&mut out, &limbs, &Rns::<L>::ROUNDING);
            all.extend(&out[..chunk.len()]);
        }
        all
    }

    /// `margin`: t w / Q that is 2^-`margin` away from a half, or more, is rounded as it should be.
    fn rounding_is_exact<const L: usize>(margin: u32) {
        let add = |x: [u32; L], y: [u32; L]| -> [u32; L] {
            core::array::from_fn(|i| (x[i] + y[i]) % Rns::<L>::PRIMES[i].q())
        };
        let minus = |x: [u32; L]| -> [u32; L] {
            core::array::from_fn(|i| (Rns::<L>::PRIMES[i].q() - x[i]) % Rns::<L>::PRIMES[i].q())
        };
        // Q/2t less 2^(1 - margin) of itself, rounded down.
        let reach = |b: u64| share::<L>((1 << (margin - 1)) - 1, (b * u64::from(T)) << margin, 0);
        let (most, half) = (reach(1), reach(2));
        for noise in [[0; L], [1; L], minus([1; L]), most, minus(most), half] {
            let w: Vec<[u32; L]> = (0..T).map(|m| add(scaled(m), noise)).collect();
            assert!(round(&w).into_iter().eq(0..T), "noise {noise:?}, Q of {L} limbs");
        }
        // Half of them uniform, half with t w / Q within 2^-12 of a tie: t w / Q is a 2^-29, as good
        // as exactly.
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let parts: Vec<u64> = (0..40_000)
            .map(|i| {
                let tie = (2 * u64::from(rng.next_u32() % T) + 1) << 28;
                let off = u64::from(rng.next_u32()) >> 14;
                let any = (u64::from(rng.next_u32()) << 14) % (u64::from(T) << 29);
                if i % 2 == 0 { any } else { tie + off - (1 << 17) }
            })
            .collect();
        let w: Vec<[u32; L]> = parts.iter().map(|&a| share(a, u64::from(T) << 29, 0)).collect();
        let mut close = 0;
        for (a, got) in parts.into_iter().zip(round(&w)) {
            let rounded = (a + (1 << 28)) >> 29;
            let distance = (a % (1 << 29)).abs_diff(1 << 28);
            if distance > 1 << (29 - margin) {
                assert_eq!(u64::from(got), rounded % u64::from(T), "{a}");
            } else {
                close += 1;
            }
        }
        assert!(close < 12_000, "half of half of them, not more: {close}");
    }

    /// Digits below their primes, whose sum has the residues that it was made from: there is but one.
    fn digits_are_those_of_the_residues<const L: usize>() {
        let mut rng = ChaCha20Rng::from_seed([5; 32]);
        let primes = Rns::<L>::PRIMES;
        for round in 0..2_000 {
            let w: [u32; L] = core::array::from_fn(|i| {
                let q = primes[i].q();
                let edges = [0, 1, q - 1, q / 2, q / 2 + 1];
                *edges.get(round).unwrap_or(&(rng.next_u32() % q))
            });
            let digits = Rns::<L>::digits(w);
            for (i, q) in primes.iter().map(|p| u64::from(p.q())).enumerate() {
                let (mut sum, mut weight) = (0, 1);
                for (&digit, p) in digits.iter().zip(&primes).take(Rns::<L>::COUNT) {
                    assert!(digit < p.q(), "{w:?}");
                    sum = (sum + weight * u64::from(digit)) % q;
                    weight = weight * u64::from(p.q()) % q;
                }
                // The halves of a prime have residues of their own.
                let want = w[i % Rns::<L>::COUNT];
                assert_eq!(sum, u64::from(want), "{w:?} mod {q}");
            }
        }
    }

    fn lift_is_centred<const L: usize>() {
        let q = Rns::<L>::Q as i128;
        let mut rng = ChaCha20Rng::from_seed([4; 32]);
        let mut edges = vec![0, 1, 2, q / 2 - 1, q / 2, q / 2 + 1, q / 2 + 2, q - 2, q - 1];
        for p in Rns::<L>::PRIMES {
            let p = i128::from(p.q());
            edges.extend([p - 1, p, p + 1, q / p - 1, q / p, q / p + 1, q - p, q - q / p]);
        }
        for x in edges.into_iter().chain((0..100_000).map(|_| draw::<L>(&mut rng) as i128)) {
            let want = if x > q / 2 { x - q } else { x };
            assert_eq!(Rns::<L>::lift(residues(x as u128)), want, "Q of {L} limbs");
        }
    }

    #[test]
    fn scaling_every_message() {
        scale_is_exact::<2>();
        scale_is_exact::<3>();
        scale_is_exact::<8>();
        scale_is_exact::<10>();
    }

    #[test]
    fn rounding_up_to_the_stated_reach() {
        rounding_is_exact::<2>(14);
        rounding_is_exact::<3>(14);
        rounding_is_exact::<8>(14);
        rounding_is_exact::<10>(13);
    }

    #[test]
    fn lifting() {
        lift_is_centred::<2>();
        lift_is_centred::<3>();
    }

    #[test]
    fn mixed_radix() {
        digits_are_those_of_the_residues::<2>();
        digits_are_those_of_the_residues::<3>();
        digits_are_those_of_the_residues::<8>();
        digits_are_those_of_the_residues::<10>();
    }
}
