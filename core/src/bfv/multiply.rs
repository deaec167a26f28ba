//! Products of ciphertexts, and the way back to two components.
//!
//! The message of a product is round(t/Q) of the product of two phases, which are polynomials of
//! integers: so the operands are lifted to a basis Q B that holds their product exactly, multiplied
//! there, scaled by t / Q and rounded, all in residues (Halevi, Polyakov and Shoup 2019, with the
//! scaling straight back to Q). A product has three components, (c0, c1, c2) under (1, s, s^2).

use super::encrypt::Ciphertext;
use super::galois::Hoisted;
use super::switch::{Switch, accumulate, decompose};
use super::switch_keys::RelinKey;
use crate::kernel::Kernels;
use crate::kernel::contract::{Limb, MAX_BASE, SHARE_BITS, Source, Target};
use crate::ntt::{self, Plan};
use crate::place::retag;
use crate::poly::{Coeff, Eval, Limbs, Poly, Room};
use crate::rns::Rns;
use crate::zq::Prime;
use crate::zt::T;
use bytemuck::Zeroable;

/// The parameter sets that hold a product of two ciphertexts: Q81 and Q135. For Q54 there is none: six
/// standard deviations of a product's noise are as much as it holds.
///
/// ```compile_fail,E0599
/// # use symbolon_core::bfv::{Ciphertext, Product, Q54};
/// let product = Product::<{ Q54 }>::ZERO;
/// ```
pub trait Multiply: Switch {
    /// Four polynomials modulo Q B.
    type Space: Room;
    /// The transforms modulo the primes of Q and B.
    #[doc(hidden)]
    const BASIS: &'static [&'static Plan];
    /// From Q to B: what is left, and what is entered.
    #[doc(hidden)]
    const EXTEND: (&'static [Source], &'static [Target]);
    /// From Q B to t / Q times as much modulo Q.
    #[doc(hidden)]
    const SCALE: (&'static [Source], &'static [Target]);
}

/// A prime of Q among the primes of Q B, and what a conversion needs of each.
struct Bases<const L: usize, const M: usize>;

impl<const L: usize, const M: usize> Bases<L, M> {
    const Q: usize = Rns::<L>::COUNT;
    const ALL: usize = Rns::<M>::COUNT;
    const PRIMES: [Prime; M] = Rns::<M>::PRIMES;

    const fn source(p: Prime, punctured: u32, fraction: u32) -> Source {
        let share = ((1u64 << SHARE_BITS) + p.q() as u64 / 2) / p.q() as u64;
        Source { prime: p, punctured, share: share as u32, fraction }
    }

    /// 2^32 x.
    const fn shifted(p: Prime, x: u32) -> u32 {
        p.mul(x, p.r())
    }

    /// x = sum y Q/q - k Q with y = x (Q/q)^-1 mod q.
    const EXTEND_FROM: [Source; MAX_BASE] = {
        let mut from = [Self::source(Self::PRIMES[0], 0, 0); MAX_BASE];
        let mut i = 0;
        while i < Self::Q {
            let p = Self::PRIMES[i];
            let inverse = p.inv(p.product(&Self::PRIMES, Self::Q, i));
            from[i] = Self::source(p, Self::shifted(p, inverse), 0);
            i += 1;
        }
        from
    };

    const EXTEND_TO: [Target; MAX_BASE] = {
        let prime = Self::PRIMES[0];
        let mut to = [Target { prime, weights: [0; MAX_BASE], overflow: 0, one: 0 }; MAX_BASE];
        let mut i = 0;
        while i < Self::ALL - Self::Q {
            let p = Self::PRIMES[Self::Q + i];
            let whole = p.product(&Self::PRIMES, Self::Q, usize::MAX);
            to[i].prime = p;
            to[i].overflow = Self::shifted(p, p.neg(whole));
            to[i].one = p.r();
            let mut j = 0;
            while j < Self::Q {
                to[i].weights[j] = Self::shifted(p, p.product(&Self::PRIMES, Self::Q, j));
                j += 1;
            }
            i += 1;
        }
        to
    };

    /// t B mod m, m below 2^54.
    const fn scaled_modulus(m: u64) -> u64 {
        let mut product = T as u64 % m;
        let mut i = Self::Q;
        while i < Self::ALL {
            product = (product as u128 * Self::PRIMES[i].q() as u128 % m as u128) as u64;
            i += 1;
        }
        product
    }

    /// Of d = sum y QB/q - k QB, which comes as d 2^-32: t d / Q = sum y tB/q - k tB, where tB/q is an
    /// integer for the primes of B and has a fraction for those of Q.
    const SCALE_FROM: [Source; MAX_BASE] = {
        let mut from = [Self::source(Self::PRIMES[0], 0, 0); MAX_BASE];
        let mut i = 0;
        while i < Self::ALL {
            let p = Self::PRIMES[i];
            let inverse = p.inv(p.product(&Self::PRIMES, Self::ALL, i));
            let fraction = if i < Self::Q {
                let q = p.q() as u64;
                ((Self::scaled_modulus(q) << 32) + q / 2) / q
            } else {
                0
            };
            assert!(fraction < 1 << 32);
            let punctured = Self::shifted(p, Self::shifted(p, inverse));
            from[i] = Self::source(p, punctured, fraction as u32);
            i += 1;
        }
        from
    };

    const SCALE_TO: [Target; MAX_BASE] = {
        let prime = Self::PRIMES[0];
        let mut to = [Target { prime, weights: [0; MAX_BASE], overflow: 0, one: 0 }; MAX_BASE];
        let mut i = 0;
        while i < Self::Q {
            let p = Self::PRIMES[i];
            let whole = Self::scaled_modulus(p.q() as u64) as u32;
            to[i].prime = p;
            to[i].overflow = Self::shifted(p, p.neg(whole));
            to[i].one = p.r();
            let mut j = 0;
            while j < Self::ALL {
                let other = Self::PRIMES[j];
                let q = other.q() as u64;
                let weight = if i == j {
                    // floor(tB / q) mod q.
                    (Self::scaled_modulus(q * q) / q) as u32
                } else if j < Self::Q {
                    // (tB - (tB mod q)) / q.
                    let rest = (Self::scaled_modulus(q) % p.q() as u64) as u32;
                    p.mul(p.sub(whole, rest), p.inv((q % p.q() as u64) as u32))
                } else {
                    p.mul(whole, p.inv((q % p.q() as u64) as u32))
                };
                to[i].weights[j] = Self::shifted(p, weight);
                j += 1;
            }
            i += 1;
        }
        to
    };

    // B > 2 N Q: the product of two centred polynomials fits, and so does the sum of two products.
    const FITS: () = {
        let mut bits = 0;
        let mut i = 0;
        while i < Self::ALL {
            // Less than the logarithm of each: 2^b - q <= 2^(b - 6), and 63/64 > 2^-(1/40).
            let b = 40 * Self::PRIMES[i].bits() as i64;
            bits += if i < Self::Q { -b } else { b - 1 };
            i += 1;
        }
        let degree = Rns::<L>::PARTS * ntt::N;
        assert!(bits > 40 * (degree.ilog2() as i64 + 1), "the basis does not hold a product");
    };
}

macro_rules! multiply {
    ($l:literal, $m:literal) => {
        impl Multiply for Rns<$l> {
            type Space = Limbs<{ 4 * $m }>;
            const BASIS: &'static [&'static Plan] = &Rns::<$m>::PLANS;
            const EXTEND: (&'static [Source], &'static [Target]) = {
                let () = Bases::<$l, $m>::FITS;
                let (from, _) = Bases::<$l, $m>::EXTEND_FROM.split_at(Bases::<$l, $m>::Q);
                let others = Bases::<$l, $m>::ALL - Bases::<$l, $m>::Q;
                (from, Bases::<$l, $m>::EXTEND_TO.split_at(others).0)
            };
            const SCALE: (&'static [Source], &'static [Target]) = {
                let (from, _) = Bases::<$l, $m>::SCALE_FROM.split_at(Bases::<$l, $m>::ALL);
                (from, Bases::<$l, $m>::SCALE_TO.split_at(Bases::<$l, $m>::Q).0)
            };
        }
    };
}
multiply!(3, 7);
multiply!(10, 22);

/// Working space of a product.
#[derive(Zeroable)]
#[repr(C)]
pub struct Tensor<const L: usize>
where
    Rns<L>: Multiply,
{
    space: <Rns<L> as Multiply>::Space,
}

impl<const L: usize> Tensor<L>
where
    Rns<L>: Multiply,
{
    /// All zero, for statics.
    pub const ZERO: Self = Self { space: Room::ZERO };
}

/// The product of two ciphertexts: (c0, c1, c2) with c0 + c1 s + c2 s^2 = round(Q m / t) + noise.
#[derive(Zeroable)]
#[repr(C)]
pub struct Product<const L: usize>
where
    Rns<L>: Multiply,
{
    c0: Poly<L, Eval>,
    c1: Poly<L, Eval>,
    /// Coefficients, as relinearisation wants them.
    c2: Poly<L, Coeff>,
}

impl<const L: usize> Product<L>
where
    Rns<L>: Multiply,
{
    /// Zero, for statics.
    pub const ZERO: Self = Self { c0: Poly::ZERO, c1: Poly::ZERO, c2: Poly::ZERO };

    /// self = a b: messages multiply, mod t. A square (the same reference twice) takes less time.
    ///
    /// Every coefficient of the exact product, scaled by t/Q, is rounded to within 1/2 and 2^-6 for each
    /// prime of Q. Noise: some 27 bits more than the operands have, see `bfv::noise`.
    pub fn multiply(
        &mut self,
        k: &Kernels,
        a: &Ciphertext<L>,
        b: &Ciphertext<L>,
        space: &mut Tensor<L>,
    ) {
        let plans = <Rns<L> as Multiply>::BASIS;
        let space = space.space.as_mut();
        let (left, right) = space.split_at_mut(2 * plans.len());
        for (x, out) in [&a.c0, &a.c1].into_iter().zip(left.chunks_exact_mut(plans.len())) {
            extend(k, x, out);
        }
        if core::ptr::eq(a, b) {
            for (right, left) in right.iter_mut().zip(left) {
                *right = *left;
            }
        } else {
            for (x, out) in [&b.c0, &b.c1].into_iter().zip(right.chunks_exact_mut(plans.len())) {
                extend(k, x, out);
            }
        }
        let (first, rest) = space.split_at_mut(plans.len());
        let (second, rest) = rest.split_at_mut(plans.len());
        let (third, fourth) = rest.split_at_mut(plans.len());
        let factors = first.iter_mut().zip(&mut *second).zip(&mut *third).zip(fourth);
        for ((((a, b), c), d), plan) in factors.zip(plans) {
            (k.tensor)(a, b, c, d, plan);
        }
        scale(k, first, retag(&mut self.c0));
        scale(k, third, retag(&mut self.c1));
        scale(k, second, &mut self.c2);
        retag::<L, Eval, Coeff>(&mut self.c0).forward(k);
        retag::<L, Eval, Coeff>(&mut self.c1).forward(k);
    }

    /// self = self + other. Sums of products need but one relinearisation.
    pub fn add_assign(&mut self, k: &Kernels, other: &Self) {
        self.c0.add_assign(k, &other.c0);
        self.c1.add_assign(k, &other.c1);
        self.c2.add_assign(k, &other.c2);
    }

    /// out = the same message in two components. `space` and `scratch` are working space.
    ///
    /// Noise: one key switch's is added, see `bfv::noise`.
    pub fn relinearise(
        &self,
        k: &Kernels,
        key: &RelinKey<L>,
        out: &mut Ciphertext<L>,
        space: &mut Hoisted<L>,
        scratch: &mut Poly<L, Coeff>,
    ) {
        let digits = space.digits.as_mut();
        decompose(k, &self.c2.limbs, None, digits);
        let components = [(&self.c0, &mut out.c0), (&self.c1, &mut out.c1)];
        for (component, (own, out)) in components.into_iter().enumerate() {
            out.copy_from(own);
            accumulate(k, digits, key.rows.as_ref(), component, &mut scratch.limbs, |i, sums| {
                let out = out.limbs.iter_mut().zip(Rns::<L>::PLANS);
                for ((out, plan), sum) in out.skip(i).step_by(Rns::<L>::COUNT).zip(sums) {
                    (k.add_assign)(out, sum, plan);
                }
            });
        }
    }
}

/// Values modulo Q to values modulo Q B, of the same centred integers.
fn extend<const L: usize>(k: &Kernels, x: &Poly<L, Eval>, out: &mut [Limb])
where
    Rns<L>: Multiply,
{
    let (parts, count) = (Rns::<L>::PARTS, Rns::<L>::COUNT);
    let plans = <Rns<L> as Multiply>::BASIS;
    let all = plans.len() / parts;
    let copy = |out: &mut [Limb]| {
        for (out, x) in out.chunks_exact_mut(all).zip(x.limbs.chunks_exact(count)) {
            for (out, x) in out.iter_mut().zip(x) {
                *out = *x;
            }
        }
    };
    copy(out);
    for ((low, high), plan) in ntt::halves(out, parts).zip(plans).take(count) {
        ntt::inverse(k, low, high, plan);
    }
    let (from, to) = <Rns<L> as Multiply>::EXTEND;
    for limbs in out.chunks_exact_mut(all) {
        let (own, others) = limbs.split_at_mut(count);
        (k.convert)(others, own, from, to);
    }
    for ((low, high), plan) in ntt::halves(out, parts).zip(plans).skip(count) {
        ntt::forward(k, low, high, plan);
    }
    copy(out);
}

/// Values modulo Q B to the coefficients of t / Q times as much, rounded, modulo Q.
fn scale<const L: usize>(k: &Kernels, x: &mut [Limb], out: &mut Poly<L, Coeff>)
where
    Rns<L>: Multiply,
{
    let plans = <Rns<L> as Multiply>::BASIS;
    for ((low, high), plan) in ntt::halves(x, Rns::<L>::PARTS).zip(plans) {
        ntt::inverse(k, low, high, plan);
    }
    let (from, to) = <Rns<L> as Multiply>::SCALE;
    let parts = x.chunks_exact(plans.len() / Rns::<L>::PARTS);
    for (x, out) in parts.zip(out.limbs.chunks_exact_mut(Rns::<L>::COUNT)) {
        (k.convert)(out, x, from, to);
    }
}
