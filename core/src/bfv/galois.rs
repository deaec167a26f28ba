//! Rotations of slots: the automorphisms X -> X^g, followed by a key switch.
//!
//! A ciphertext (c0, c1) under s becomes one under s' = s(X^(1/g)) first, and then the automorphism
//! takes s' to s and turns the message. In this order the digits of c1 serve every rotation of the
//! same ciphertext (Halevi and Shoup 2018 call them hoisted).

use super::encrypt::Ciphertext;
use super::switch::{Switch, accumulate, decompose};
use super::switch_keys::GaloisKey;
use crate::kernel::Kernels;
use crate::kernel::contract::{Limb, Runs};
use crate::ntt::N;
use crate::place::retag;
use crate::poly::{Coeff, Eval, Poly, Room};
use crate::rns::Rns;
use bytemuck::Zeroable;

/// How slots move, seen as two rows of half the ring's degree each
/// ([`super::Plaintext::encode_rows`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Both rows turn, this many places to the left (to the right where negative), modulo their length.
    Rows(i32),
    /// The two rows change places.
    Swap,
}

impl Rotation {
    /// g of the automorphism X -> X^g, modulo twice the ring's degree: 3^steps, or -1.
    #[must_use]
    pub const fn element<const L: usize>(self) -> u32 {
        let degree = (Rns::<L>::PARTS * N) as u32;
        match self {
            Self::Swap => 2 * degree - 1,
            Self::Rows(steps) => {
                let mut steps = steps.rem_euclid(degree as i32 / 2);
                let (mut base, mut power) = (3, 1);
                while steps > 0 {
                    if steps & 1 == 1 {
                        power = power * base % (2 * degree);
                    }
                    base = base * base % (2 * degree);
                    steps >>= 1;
                }
                power
            }
        }
    }

    /// The rotation that undoes it.
    #[must_use]
    pub const fn inverse(self) -> Self {
        match self {
            Self::Swap => Self::Swap,
            Self::Rows(steps) => Self::Rows(steps.wrapping_neg()),
        }
    }
}

/// X -> X^g on values: where each of the result's comes from.
#[derive(Clone, Copy, Zeroable)]
#[repr(C)]
pub(super) struct Automorphism {
    halves: [Runs; 2],
    /// The half that each half comes from.
    from: [u32; 2],
}

impl Automorphism {
    /// Fills in the automorphism of `g`, odd, for rings of one or two halves.
    pub(super) fn set(&mut self, g: u32, parts: usize) {
        let bits = (parts * N).ilog2();
        // Exponents e = 2 brv(position) + 1, of which the last four bits of the position are the
        // highest: values of the result at e are those at g e.
        let low = (1 << (bits - 3)) - 1;
        let reverse = |x: u32| x.reverse_bits() >> (u32::BITS - bits);
        let halves = self.halves.iter_mut().zip(&mut self.from).take(parts);
        for (half, (runs, from)) in halves.enumerate() {
            let position = |j: u32| (g * j % 16).reverse_bits() >> (u32::BITS - 4);
            runs.positions = (0..16).map(|j| u64::from(position(j)) << (4 * j)).sum();
            let inverse = g.wrapping_pow(3) % 16;
            for (run, (out, carry)) in runs.from.iter_mut().zip(&mut runs.carry).enumerate() {
                let e = 2 * reverse((N * half + 16 * run) as u32) + 1;
                let e = g.wrapping_mul(e);
                let position = reverse((e & low) >> 1) as usize;
                *from = (position / N) as u32;
                *out = (position % N / 16) as u32;
                // g (j + carry) = g j + what is carried: g^-1 = g^3 mod 16.
                *carry = (e >> (bits - 3)) % 16 * inverse % 16;
            }
        }
    }

    pub(super) const ZERO: Self = {
        const RUNS: Runs = Runs { from: [0; N / 16], carry: [0; N / 16], positions: 0 };
        Self { halves: [RUNS; 2], from: [0; 2] }
    };

    /// Applies it to the limbs of one prime.
    pub(super) fn apply<'a>(
        &self,
        k: &Kernels,
        out: impl Iterator<Item = &'a mut Limb>,
        x: [Option<&Limb>; 2],
    ) {
        for ((out, runs), &from) in out.zip(&self.halves).zip(&self.from) {
            if let Some(Some(x)) = x.get(from as usize) {
                (k.permute)(out, x, runs);
            }
        }
    }
}

/// A ciphertext made ready for many rotations: c0, and the digits of c1. They are what a rotation
/// spends most of its time on.
#[derive(Zeroable)]
#[repr(C)]
pub struct Hoisted<const L: usize>
where
    Rns<L>: Switch,
{
    pub(super) digits: <Rns<L> as Switch>::Digits,
    c0: Poly<L, Eval>,
}

impl<const L: usize> Hoisted<L>
where
    Rns<L>: Switch,
{
    /// All zero, for statics.
    pub const ZERO: Self = Self { digits: Room::ZERO, c0: Poly::ZERO };

    /// Takes a ciphertext. `scratch` is working space.
    pub fn prepare(&mut self, k: &Kernels, x: &Ciphertext<L>, scratch: &mut Poly<L, Coeff>) {
        self.c0.copy_from(&x.c0);
        digits(k, &x.c1, self.digits.as_mut(), scratch);
    }

    /// out = the ciphertext, rotated as the key says. `scratch` is working space.
    ///
    /// Noise: one key switch's, see `bfv::noise`.
    pub fn rotate(
        &self,
        k: &Kernels,
        key: &GaloisKey<L>,
        out: &mut Ciphertext<L>,
        scratch: &mut Poly<L, Coeff>,
    ) {
        out.c0.copy_from(&self.c0);
        rotate(k, self.digits.as_ref(), key, out, scratch);
    }
}

/// The digits of values.
fn digits<const L: usize>(
    k: &Kernels,
    x: &Poly<L, Eval>,
    digits: &mut [Limb],
    scratch: &mut Poly<L, Coeff>,
) where
    Rns<L>: Switch,
{
    let coeffs = retag::<L, Coeff, Eval>(scratch);
    coeffs.copy_from(x);
    let coeffs = coeffs.inverse(k);
    decompose(k, &coeffs.limbs, Some(&x.limbs), digits);
}

/// (c0, what `digits` came from) rotated: for both components and each prime the values before the
/// automorphism, handed to `sink` with the numbers of the component and of the prime. Component 0
/// still wants c0.
fn switched<const L: usize>(
    k: &Kernels,
    digits: &[Limb],
    key: &GaloisKey<L>,
    scratch: &mut Poly<L, Coeff>,
    mut sink: impl FnMut(usize, usize, &mut [Limb]),
) where
    Rns<L>: Switch,
{
    for component in [0, 1] {
        let rows = key.rows.as_ref();
        accumulate(k, digits, rows, component, &mut scratch.limbs, |i, sums| {
            sink(component, i, sums);
        });
    }
}

/// The limbs of prime `i`.
fn limbs_of<const L: usize>(x: &mut Poly<L, Eval>, i: usize) -> impl Iterator<Item = &mut Limb> {
    x.limbs.iter_mut().skip(i).step_by(Rns::<L>::COUNT)
}

/// a = a + b, limbs of prime `i`.
fn add<'a, const L: usize>(
    k: &Kernels,
    a: impl Iterator<Item = &'a mut Limb>,
    b: impl Iterator<Item = &'a mut Limb>,
    i: usize,
) {
    for ((a, b), plan) in a.zip(b).zip(Rns::<L>::PLANS.iter().skip(i).step_by(Rns::<L>::COUNT)) {
        (k.add_assign)(a, b, plan);
    }
}

/// out = (out.c0, what `digits` came from) rotated.
fn rotate<const L: usize>(
    k: &Kernels,
    digits: &[Limb],
    key: &GaloisKey<L>,
    out: &mut Ciphertext<L>,
    scratch: &mut Poly<L, Coeff>,
) where
    Rns<L>: Switch,
{
    switched(k, digits, key, scratch, |component, i, sums| {
        if component == 0 {
            add::<L>(k, sums.iter_mut(), limbs_of(&mut out.c0, i), i);
            key.automorphism.apply(k, limbs_of(&mut out.c0, i), [sums.first(), sums.get(1)]);
        } else {
            key.automorphism.apply(k, limbs_of(&mut out.c1, i), [sums.first(), sums.get(1)]);
        }
    });
}

impl<const L: usize> Ciphertext<L>
where
    Rns<L>: Switch,
{
    /// Rotates the slots as the key says, in place. `space` and `scratch` are working space; what
    /// `space` was prepared with is lost.
    ///
    /// Noise: one key switch's is added, see `bfv::noise`.
    pub fn rotate(
        &mut self,
        k: &Kernels,
        key: &GaloisKey<L>,
        space: &mut Hoisted<L>,
        scratch: &mut Poly<L, Coeff>,
    ) {
        digits(k, &self.c1, space.digits.as_mut(), scratch);
        rotate(k, space.digits.as_ref(), key, self, scratch);
    }

    /// For each key in turn: self = self + self rotated. With `Rows(1)`, `Rows(2)`, `Rows(4)` every slot
    /// ends as the sum of eight, itself and the seven on its right; with all powers of two up to a
    /// quarter of the degree and `Swap`, as the sum of all slots. `space` and `scratch` are working
    /// space; what `space` was prepared with is lost.
    ///
    /// Noise: doubles with each key, and one key switch's is added.
    pub fn rotate_sum<'a>(
        &mut self,
        k: &Kernels,
        keys: impl IntoIterator<Item = &'a GaloisKey<L>>,
        space: &mut Hoisted<L>,
        scratch: &mut Poly<L, Coeff>,
    ) where
        Rns<L>: 'a,
    {
        for key in keys {
            let Hoisted { digits: space, c0: turned } = &mut *space;
            digits(k, &self.c1, space.as_mut(), scratch);
            switched(k, space.as_ref(), key, scratch, |component, i, sums| {
                let out = if component == 0 { &mut self.c0 } else { &mut self.c1 };
                if component == 0 {
                    add::<L>(k, sums.iter_mut(), limbs_of(out, i), i);
                }
                key.automorphism.apply(k, limbs_of(turned, i), [sums.first(), sums.get(1)]);
                add::<L>(k, limbs_of(out, i), limbs_of(turned, i), i);
            });
        }
    }
}
