//! Keys. Everything is derived from one 32-byte seed, which is what a custodian stores.

use crate::attest::{Domain, hash};
use crate::ct;
use crate::kernel::Kernels;
use crate::kernel::contract::Limb;
use crate::ntt::{self, N, Plan};
use crate::place::retag;
use crate::poly::{Coeff, Eval, Mont, Poly};
use crate::rns::Rns;
use crate::sample::{self, Stream};
use bytemuck::Zeroable;
use zeroize::{Zeroize, ZeroizeOnDrop};

const SECRET: Domain = Domain::new("symbolon/bfv-secret/v1");
const ERROR: Domain = Domain::new("symbolon/bfv-key-error/v1");
const PUBLIC: Domain = Domain::new("symbolon/bfv-public/v1");
const PUBLIC_SEED: Domain = Domain::new("symbolon/bfv-public-seed/v1");

/// The secret key s: uniform ternary, in evaluation form. Zeroised on drop; no Debug, no Clone.
#[derive(Zeroable, Zeroize, ZeroizeOnDrop)]
#[repr(C)]
pub struct SecretKey<const L: usize> {
    pub(crate) s: Poly<L, Mont>,
}

impl<const L: usize> SecretKey<L> {
    /// All zero, for statics: not a key until it is derived.
    pub const ZERO: Self = Self { s: Poly::ZERO };
}

/// The public key (p0, p1) = (-(a s + e), a), both in evaluation form; a is expanded from `seed`.
#[derive(Zeroable)]
#[repr(C)]
pub struct PublicKey<const L: usize> {
    pub(crate) p0: Poly<L, Mont>,
    pub(crate) p1: Poly<L, Mont>,
    pub(crate) seed: [u8; 32],
}

impl<const L: usize> PublicKey<L> {
    /// All zero, for statics: not a key until [`generate`] or a decoder has filled it.
    pub const ZERO: Self = Self { p0: Poly::ZERO, p1: Poly::ZERO, seed: [0; 32] };

    /// Fills p1 from the seed.
    pub(crate) fn expand(&mut self, k: &Kernels) {
        let a = retag::<L, Mont, Eval>(&mut self.p1);
        sample::uniform(k, &mut Stream::derive(PUBLIC, &self.seed), a);
        a.to_mont(k);
    }
}

/// The largest squared norms of a key that is accepted: the mean plus six standard deviations
/// (s: mean 2N/3, variance 2N/9; e: mean 10.5 N, variance of a square below 2 * 10.5^2). The noise
/// bounds of matching rest on them.
const fn max_secret_norm(degree: u64) -> u64 {
    (2 * degree).div_ceil(3) + (8 * degree).isqrt()
}
const fn max_error_norm(degree: u64) -> u64 {
    21 * degree / 2 + (7_938 * degree).isqrt()
}

impl<const L: usize> SecretKey<L> {
    /// Derives the secret key from `seed`, in place: all that a custodian needs. [`generate`] derives
    /// the same one.
    ///
    /// The same seed always gives the same key. Fewer than one seed in 10^8 give a norm above six
    /// sigma at the first try; the derivation then goes on with its keystream, so that no seed fails.
    pub fn derive(&mut self, k: &Kernels, seed: &[u8; 32]) {
        derive(k, seed, &mut self.s.limbs, &Rns::<L>::PLANS);
    }
}

/// The secret key over any basis, as multiplicand.
pub(super) fn derive(k: &Kernels, seed: &[u8; 32], s: &mut [Limb], plans: &[&Plan]) {
    let mut stream = Stream::derive(SECRET, seed);
    let bound = max_secret_norm((ntt::parts(plans) * N) as u64);
    loop {
        sample::ternary_limbs(k, &mut stream, s, plans);
        // Public: which of the tries was the first to keep the bound, which is thrown away else.
        if ct::public(norm(s, plans) <= bound) {
            break;
        }
    }
    for ((low, high), plan) in ntt::halves(s, ntt::parts(plans)).zip(plans) {
        ntt::forward(k, low, high, plan);
    }
    for (limb, plan) in s.iter_mut().zip(plans) {
        (k.scale)(limb, plan.prime.r2(), plan);
    }
}

/// Derives a key pair from `seed`, in place, as [`SecretKey::derive`] does the secret half. `scratch`
/// is left holding zeros.
pub fn generate<const L: usize>(
    k: &Kernels,
    seed: &[u8; 32],
    secret: &mut SecretKey<L>,
    public: &mut PublicKey<L>,
    scratch: &mut Poly<L, Coeff>,
) {
    secret.derive(k, seed);
    // Public: a hash of a uniform seed hides it.
    public.seed = ct::public(hash(PUBLIC_SEED, &[seed]));
    public.expand(k);

    let mut stream = Stream::derive(ERROR, seed);
    let bound = const { max_error_norm((Rns::<L>::PARTS * N) as u64) };
    loop {
        sample::noise(k, &mut stream, scratch);
        // Public: as for s.
        if ct::public(norm(&scratch.limbs, &Rns::<L>::PLANS) <= bound) {
            break;
        }
    }
    let e = scratch.forward(k).to_mont(k);
    // p0 = -(a s + e). The product of two multiplicands is a multiplicand again.
    let p0 = retag::<L, Mont, Eval>(&mut public.p0);
    p0.set_product(k, retag(&mut public.p1), &secret.s);
    p0.add_assign(k, retag(e));
    p0.negate(k);
    scratch.zeroize();
}

/// The squared norm of a small polynomial.
fn norm(limbs: &[Limb], plans: &[&Plan]) -> u64 {
    let mut sum = 0;
    for (limb, plan) in limbs.iter().zip(plans).step_by(plans.len() / ntt::parts(plans)) {
        for &x in limb {
            let x = i64::from(plan.prime.centre(x));
            sum += (x * x) as u64;
        }
    }
    sum
}
