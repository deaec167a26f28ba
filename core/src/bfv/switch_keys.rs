//! Relinearisation and Galois keys: encryptions of one secret under another, see [`super::switch`].
//!
//! Row i of a key is (b, a) with a uniform, expanded from a public seed, and, under the secret s',
//! b = -(a s' + e) + P g_i payload, where g_i is 1 modulo q_i and 0 modulo the other primes. Everything
//! is derived from the 32-byte seed of the secret key. An attacker sees Q P: it counts for security
//! (see [`super::params`]).

use super::galois::{Automorphism, Rotation};
use super::keys;
use super::switch::Switch;
use crate::attest::{Domain, hash};
use crate::ct;
use crate::kernel::Kernels;
use crate::kernel::contract::Limb;
use crate::ntt;
use crate::poly::Room;
use crate::rns::Rns;
use crate::sample::{self, Stream};
use bytemuck::Zeroable;
use zeroize::{Zeroize, ZeroizeOnDrop};

const ERROR: Domain = Domain::new("symbolon/bfv-switch-error/v1");
const PUBLIC: Domain = Domain::new("symbolon/bfv-switch/v1");
const PUBLIC_SEED: Domain = Domain::new("symbolon/bfv-switch-seed/v1");

/// Takes s^2 to s: what brings a product back to two components.
#[derive(Zeroable)]
#[repr(C)]
pub struct RelinKey<const L: usize>
where
    Rns<L>: Switch,
{
    pub(crate) rows: <Rns<L> as Switch>::Key,
    pub(crate) seed: [u8; 32],
}

/// Takes s(X^(1/g)) to s: what a rotation needs. One key for each rotation.
#[derive(Zeroable)]
#[repr(C)]
pub struct GaloisKey<const L: usize>
where
    Rns<L>: Switch,
{
    pub(crate) rows: <Rns<L> as Switch>::Key,
    pub(super) automorphism: Automorphism,
    pub(crate) seed: [u8; 32],
    /// g, of the automorphism X -> X^g.
    pub(crate) element: u32,
}

impl<const L: usize> RelinKey<L>
where
    Rns<L>: Switch,
{
    /// All zero, for statics: not a key until [`KeyGen::relin`] or a decoder has filled it.
    pub const ZERO: Self = Self { rows: Room::ZERO, seed: [0; 32] };
}

impl<const L: usize> GaloisKey<L>
where
    Rns<L>: Switch,
{
    /// All zero, for statics: not a key until [`KeyGen::galois`] or a decoder has filled it.
    pub const ZERO: Self =
        Self { rows: Room::ZERO, automorphism: Automorphism::ZERO, seed: [0; 32], element: 0 };

    /// g of the automorphism X -> X^g that the key serves: [`Rotation::element`]. 0 if it is not a key.
    #[must_use]
    pub const fn element(&self) -> u32 {
        self.element
    }

    /// The same for the tables of the automorphism.
    pub(crate) fn set_element(&mut self, element: u32) {
        self.element = element;
        self.automorphism.set(element, Rns::<L>::PARTS);
    }
}

/// Fills the uniform halves of a key's rows from its seed. Not inlined: its chunks are not to lie
/// under what a decoder needs.
#[inline(never)]
pub(crate) fn expand<const L: usize>(k: &Kernels, rows: &mut [Limb], seed: &[u8; 32])
where
    Rns<L>: Switch,
{
    let plans = <Rns<L> as Switch>::PLANS;
    let mut stream = Stream::derive(PUBLIC, seed);
    for row in rows.chunks_exact_mut(2 * plans.len()) {
        // Uniform values are as good times 2^32.
        sample::uniform_limbs(k, &mut stream, row.split_at_mut(plans.len()).1, plans);
    }
}

/// Derives key-switching keys. Holds secrets, zeroised on drop.
#[derive(Zeroable)]
#[repr(C)]
pub struct KeyGen<const L: usize>
where
    Rns<L>: Switch,
{
    /// s over Q P, as multiplicand, like all that follows.
    s: <Rns<L> as Switch>::Extended,
    /// The negative of the secret that a row is encrypted under.
    under: <Rns<L> as Switch>::Extended,
    /// s^2.
    square: <Rns<L> as Switch>::Extended,
    seed: [u8; 32],
}

impl<const L: usize> KeyGen<L>
where
    Rns<L>: Switch,
{
    /// All zero, for statics: [`KeyGen::derive`] comes first.
    pub const ZERO: Self =
        Self { s: Room::ZERO, under: Room::ZERO, square: Room::ZERO, seed: [0; 32] };

    /// Takes the seed of a secret key: [`super::SecretKey::derive`].
    pub fn derive(&mut self, k: &Kernels, seed: &[u8; 32]) {
        self.seed = *seed;
        keys::derive(k, seed, self.s.as_mut(), <Rns<L> as Switch>::PLANS);
    }

    /// The relinearisation key.
    pub fn relin(&mut self, k: &Kernels, out: &mut RelinKey<L>) {
        let plans = <Rns<L> as Switch>::PLANS;
        let s = self.s.as_ref().iter().zip(plans);
        let targets = self.under.as_mut().iter_mut().zip(self.square.as_mut());
        for ((under, square), (s, plan)) in targets.zip(s) {
            *under = *s;
            (k.negate)(under, plan);
            (k.mul)(square, s, s, plan);
        }
        out.seed = rows::<L>(
            k,
            &self.seed,
            0,
            self.under.as_ref(),
            self.square.as_ref(),
            out.rows.as_mut(),
        );
    }

    /// The key of one rotation.
    pub fn galois(&mut self, k: &Kernels, rotation: Rotation, out: &mut GaloisKey<L>) {
        let plans = <Rns<L> as Switch>::PLANS;
        let count = plans.len() / Rns::<L>::PARTS;
        // The inverse automorphism makes s(X^(1/g)); the key's own tables are filled afterwards.
        out.set_element(rotation.inverse().element::<L>());
        for i in 0..count {
            let mut s = self.s.as_ref().iter().skip(i).step_by(count);
            let under = self.under.as_mut().iter_mut().skip(i).step_by(count);
            out.automorphism.apply(k, under, [s.next(), s.next()]);
        }
        for (under, plan) in self.under.as_mut().iter_mut().zip(plans) {
            (k.negate)(under, plan);
        }
        out.set_element(rotation.element::<L>());
        out.seed = rows::<L>(
            k,
            &self.seed,
            out.element,
            self.under.as_ref(),
            self.s.as_ref(),
            out.rows.as_mut(),
        );
    }
}

/// Encrypts `payload` under the negative of `under`, row by row; gives the public seed.
fn rows<const L: usize>(
    k: &Kernels,
    seed: &[u8; 32],
    id: u32,
    under: &[Limb],
    payload: &[Limb],
    out: &mut [Limb],
) -> [u8; 32]
where
    Rns<L>: Switch,
{
    let plans = <Rns<L> as Switch>::PLANS;
    let count = plans.len() / Rns::<L>::PARTS;
    let id = id.to_le_bytes();
    // Public: a hash of a uniform seed hides it.
    let public = ct::public(hash(PUBLIC_SEED, &[seed, &id]));
    expand::<L>(k, out, &public);
    let mut stream = Stream::of(ERROR, &[seed, &id]);
    for (i, row) in out.chunks_exact_mut(2 * plans.len()).enumerate() {
        let (b, a) = row.split_at_mut(plans.len());
        sample::noise_limbs(k, &mut stream, b, plans);
        for ((b, plan), factors) in b.iter_mut().zip(plans).zip(<Rns<L> as Switch>::FACTORS) {
            (k.scale)(b, factors.error, plan);
        }
        ntt::forward_mul_acc(k, b, a, under, plans);
        let own = b.iter_mut().zip(payload).zip(plans).skip(i).step_by(count);
        for ((b, payload), plan) in own {
            (k.add_assign)(b, payload, plan);
        }
    }
    public
}

impl<const L: usize> Zeroize for KeyGen<L>
where
    Rns<L>: Switch,
{
    fn zeroize(&mut self) {
        self.s.zeroize();
        self.under.zeroize();
        self.square.zeroize();
        self.seed.zeroize();
    }
}

impl<const L: usize> Drop for KeyGen<L>
where
    Rns<L>: Switch,
{
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl<const L: usize> ZeroizeOnDrop for KeyGen<L> where Rns<L>: Switch {}
