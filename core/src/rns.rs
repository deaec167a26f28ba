//! The residue number system: constants of each parameter set, and the ways out of it.

use crate::ntt::plan::PRIMES;
use crate::ntt::{N, PLANS, Plan};
use crate::zq::Prime;
use crate::zt::{self, T};

/// The constants of Q = q_0 .. q_(L-1). A carrier for associated constants, never a value.
#[derive(Debug)]
pub struct Rns<const L: usize>(());

/// Fraction bits of [`Rns::round_to_plain`].
const FRACTION: u32 = 46;

impl<const L: usize> Rns<L> {
    /// The limbs' primes.
    pub const PRIMES: [Prime; L] = {
        assert!(L == 2 || L == 3, "a parameter set is Q54 (2 limbs) or Q81 (3 limbs)");
        let mut primes = [PRIMES[0]; L];
        let mut i = 0;
        while i < L {
            primes[i] = PRIMES[i];
            i += 1;
        }
        primes
    };

    /// The limbs' transform tables.
    pub const PLANS: [&'static Plan; L] = {
        let mut plans = [PLANS[0]; L];
        let mut i = 0;
        while i < L {
            plans[i] = PLANS[i];
            i += 1;
        }
        plans
    };

    /// The modulus.
    pub const Q: u128 = {
        let mut q = 1;
        let mut i = 0;
        while i < L {
            q *= Self::PRIMES[i].q() as u128;
            i += 1;
        }
        q
    };

    /// Q mod t.
    pub(crate) const Q_MOD_T: u32 = (Self::Q % T as u128) as u32;

    /// floor(Q / t) mod q_i, with Shoup's companion.
    pub(crate) const DELTA: [(u32, u32); L] = Self::shoup_pairs({
        let mut c = [0; L];
        let mut i = 0;
        while i < L {
            c[i] = Self::PRIMES[i].residue(Self::Q / T as u128);
            i += 1;
        }
        c
    });

    /// (Q / q_i)^-1 mod q_i, with Shoup's companion.
    const PUNCTURED_INV: [(u32, u32); L] = Self::shoup_pairs({
        let mut c = [0; L];
        let mut i = 0;
        while i < L {
            let p = Self::PRIMES[i];
            c[i] = p.inv(p.residue(Self::Q / p.q() as u128));
            i += 1;
        }
        c
    });

    /// round(t 2^46 / q_i).
    const T_OVER_Q: [u64; L] = {
        let mut c = [0; L];
        let mut i = 0;
        while i < L {
            let q = Self::PRIMES[i].q() as u128;
            c[i] = ((((T as u128) << FRACTION) + q / 2) / q) as u64;
            i += 1;
        }
        c
    };

    /// (q_0 .. q_(i-1))^-1 mod q_i, with Shoup's companion: Garner's mixed radix.
    const GARNER: [(u32, u32); L] = Self::shoup_pairs({
        let mut c = [0; L];
        let mut below = 1u128;
        let mut i = 0;
        while i < L {
            let p = Self::PRIMES[i];
            c[i] = p.inv(p.residue(below));
            below *= p.q() as u128;
            i += 1;
        }
        c
    });

    const fn shoup_pairs(c: [u32; L]) -> [(u32, u32); L] {
        let mut pairs = [(0, 0); L];
        let mut i = 0;
        while i < L {
            pairs[i] = (c[i], Self::PRIMES[i].shoup(c[i]));
            i += 1;
        }
        pairs
    }

    /// round(Q m / t) mod q of a canonical plaintext word, with the limb's [`Rns::DELTA`]:
    /// floor(Q/t) m + floor(((Q mod t) m + t/2) / t). Exact: the truncated form would leave (Q mod t) m / t as
    /// noise, 20 bits of it after a product.
    #[inline(always)]
    pub(crate) fn scale(p: &Prime, (delta, shoup): (u32, u32), m: u32) -> u32 {
        // Below 2^32, as Q mod t < t - 1 (asserted below).
        let remainder = Self::Q_MOD_T * m + T / 2;
        p.add(p.shoup_mul(m, delta, shoup), zt::div_floor(remainder))
    }

    /// round(t w / Q) mod t of canonical residues, canonical.
    ///
    /// With y_i = w (Q/q_i)^-1 mod q_i, w = sum y_i Q/q_i - k Q, so t w / Q = sum y_i t/q_i mod t.
    /// Fixed point: each factor is off by at most 2^-47, so the sum is off by less than 2^-18 and the
    /// result is exact where t w / Q keeps that far from a half, that is for noise below
    /// Q/2t (1 - 2^-17).
    #[inline(always)]
    pub(crate) fn round_to_plain(w: [u32; L]) -> u32 {
        let mut sum = 1u64 << (FRACTION - 1);
        for (((w, p), (inv, shoup)), factor) in
            w.into_iter().zip(Self::PRIMES).zip(Self::PUNCTURED_INV).zip(Self::T_OVER_Q)
        {
            sum += u64::from(p.shoup_mul(w, inv, shoup)) * factor;
        }
        zt::canonical((sum >> FRACTION) as i32)
    }

    /// The integer of canonical residues, centred: |x| <= Q/2 (Garner).
    #[inline]
    pub(crate) fn lift(w: [u32; L]) -> i128 {
        let mut x = 0i128;
        let mut below = 1i128;
        for ((w, p), (inv, shoup)) in w.into_iter().zip(Self::PRIMES).zip(Self::GARNER) {
            // The digit that makes x right modulo one more prime.
            let digit = p.shoup_mul(p.sub(w, p.residue_wide(x)), inv, shoup);
            x += below * i128::from(digit);
            below *= i128::from(p.q());
        }
        let q = Self::Q as i128;
        x - (q & ((q / 2 - x) >> 127))
    }
}

const _: () = {
    // What the parameter sets claim, at compile time.
    assert!(Rns::<2>::Q < 1 << 54 && Rns::<3>::Q < 1 << 81);
    assert!(Rns::<2>::Q > 1 << 53 && Rns::<3>::Q > 1 << 80);
    // The exact scaling works in 32 bits.
    assert!(Rns::<2>::Q_MOD_T < T - 1 && Rns::<3>::Q_MOD_T < T - 1);
    // Three products below 2^27 * 2^35.1 and the half fit 64 bits.
    assert!(3 * ((1 << 27) * (Rns::<3>::T_OVER_Q[2] as u128 + 1)) + (1 << FRACTION) < 1 << 64);
    let mut i = 0;
    while i < 3 {
        assert!((PRIMES[i].q() - 1).is_multiple_of(2 * N as u32));
        i += 1;
    }
};

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use chacha20::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};
    use std::vec;

    fn residues<const L: usize>(x: u128) -> [u32; L] {
        Rns::<L>::PRIMES.map(|p| (x % u128::from(p.q())) as u32)
    }

    /// Uniform below Q.
    fn draw<const L: usize>(rng: &mut ChaCha20Rng) -> u128 {
        (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())) % Rns::<L>::Q
    }

    /// round(Q m / t). Neither here nor below can there be a tie: Q and t are odd.
    fn scaled<const L: usize>(m: u32) -> u128 {
        (2 * Rns::<L>::Q * u128::from(m) + u128::from(T)) / (2 * u128::from(T))
    }

    fn scale_is_exact<const L: usize>() {
        for m in 0..T {
            let want = residues::<L>(scaled::<L>(m));
            for (i, want) in want.into_iter().enumerate() {
                let got = Rns::<L>::scale(&Rns::<L>::PRIMES[i], Rns::<L>::DELTA[i], m);
                assert_eq!(got, want, "round(Q {m} / t), Q of {L} limbs, limb {i}");
            }
        }
    }

    fn rounding_is_exact<const L: usize>() {
        let (q, t) = (Rns::<L>::Q, u128::from(T));
        // The documented reach, Q/2t (1 - 2^-17), rounded down.
        let reach = (q - (q >> 17) - 1) / (2 * t);
        for m in 0..T {
            let w = scaled::<L>(m);
            for noise in [0, 1, q - 1, reach, q - reach, reach / 2] {
                let got = Rns::<L>::round_to_plain(residues((w + noise) % q));
                assert_eq!(got, m, "noise {noise}, Q of {L} limbs");
            }
        }
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let mut close = 0;
        for i in 0..200_000 {
            // Half of them uniform, half with t w / Q within 2^-16 of a tie.
            let w = if i % 2 == 0 {
                draw::<L>(&mut rng)
            } else {
                let tie = (2 * (u128::from(rng.next_u32()) % t) + 1) * q / (2 * t);
                (tie + q + ((u128::from(rng.next_u32()) * (q >> 31)) >> 32) - (q >> 32)) % q
            };
            let exact = (2 * t * w + q) / (2 * q) % t;
            let off = (2 * t * w + q) % (2 * q);
            // Distance of t w / Q from a half, at least 2^-18.
            if off.min(2 * q - off) >= q >> 17 {
                assert_eq!(u128::from(Rns::<L>::round_to_plain(residues(w))), exact, "{w}");
            } else {
                close += 1;
            }
        }
        assert!(close < 30_000, "a quarter of half of them, not more: {close}");
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
    }

    #[test]
    fn rounding_up_to_the_stated_reach() {
        rounding_is_exact::<2>();
        rounding_is_exact::<3>();
    }

    #[test]
    fn lifting() {
        lift_is_centred::<2>();
        lift_is_centred::<3>();
    }
}
