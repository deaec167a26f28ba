//! The fold: what the matcher computes, and what of it leaves the matcher.
//!
//! The score of user k is the constant coefficient of block k of the product P = c T. Since block k
//! is the set of roots x with x^d = c_k, the sum of P over those d values is d sum_a P\[d a\] c_k^a:
//! only `users` coefficients matter, and in evaluation form they are sums over contiguous runs. So
//! of c0 T the matcher sends one sum a user and limb; of c1 T it sends all, for the custodian has to
//! multiply by s before it can sum.
//!
//! What is sent would betray the template: c1 T to anyone who knows c1, and the noise to the key
//! holder. So it is always re-randomised by a fresh encryption of zero (whose own sums need only the
//! noise at coefficients 0, d, 2d, ..) and the sums are flooded: a uniform |f| <= Q / 16 t is added
//! to each of the `users` coefficients. What that buys is in SECURITY.md: against a key holder that
//! studies noise, nothing provable with Q54, about 2^-29 a batch with Q81.

use super::layout::{Layout, MAX_USERS};
use crate::attest::{Digest, Domain, hash};
use crate::bfv::params::kind;
use crate::bfv::{Ciphertext, PublicKey};
use crate::error::Error;
use crate::kernel::Kernels;
use crate::place::{retag, wipe};
use crate::poly::{Coeff, Eval, Mont, Poly};
use crate::pool::{Material, bytes};
use crate::rns::Rns;
use crate::sample::{self, Stream, Words};
use crate::zt::T;
use bytemuck::Zeroable;
use rand_core::CryptoRng;
use zeroize::Zeroize;

const STREAM: Domain = Domain::new("symbolon/blind-stream/v1");

/// What the matcher sends the custodian: `users` block sums of the first component a limb, all of
/// the second. Half a ciphertext.
#[derive(Zeroable)]
#[repr(C)]
pub struct Folded<const L: usize> {
    pub(crate) c1: Poly<L, Eval>,
    /// Entries from [`Layout::users`] on are zero.
    pub(crate) sums: [[u32; MAX_USERS]; L],
    pub(crate) layout: Layout,
}

impl<const L: usize> Folded<L> {
    /// All zero, for statics.
    pub const ZERO: Self = Self { c1: Poly::ZERO, sums: [[0; MAX_USERS]; L], layout: Layout::D128 };

    /// The layout it was made for.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }
}

/// A re-randomisation: an encryption of zero, folded, its sums flooded. Made ahead, used once, and a
/// secret until then. Zeroised on drop if it has not served.
#[derive(Zeroable)]
#[repr(C)]
pub struct Blind<const L: usize> {
    folded: Folded<L>,
    /// 1 from [`Blind::prepare`] to its use by [`fold`].
    fresh: u8,
}

impl<const L: usize> Blind<L> {
    /// All zero, for statics: [`fold`] refuses it until it is prepared.
    pub const ZERO: Self = Self { folded: Folded::ZERO, fresh: 0 };

    /// The flood's bound: |f| <= Q / 16 t.
    pub const FLOOD: i64 = (Rns::<L>::Q / (16 * T as u128)) as i64;

    /// Whether it may still be used.
    #[must_use]
    pub const fn is_fresh(&self) -> bool {
        self.fresh == 1
    }

    /// Makes a re-randomisation from a secret seed, which must be fresh and uniform. The same seed
    /// gives the same values, so that an auditor who is shown it can run the match again.
    /// `scratch` holds zeros afterwards.
    pub fn prepare(
        &mut self,
        k: &Kernels,
        key: &PublicKey<L>,
        layout: Layout,
        seed: &[u8; 32],
        scratch: &mut Poly<L, Coeff>,
    ) {
        let users = layout.users();
        let mut stream = Stream::derive(STREAM, seed);
        sample::ternary(k, &mut stream, scratch);
        let u = scratch.forward(k);

        let c1 = retag::<L, Eval, Coeff>(&mut self.folded.c1);
        sample::noise(k, &mut stream, c1);
        c1.forward_mul_acc(k, u, &key.p1);

        // Noise and flood of the coefficients that count; the others of the first component never
        // leave the matcher, so they are not made.
        let mut values = [0i64; MAX_USERS];
        noise_and_flood(k, &mut stream, Self::FLOOD, &mut values);

        self.folded.sums = [[0; MAX_USERS]; L];
        for (((sums, plan), u), p0) in
            self.folded.sums.iter_mut().zip(Rns::<L>::PLANS).zip(&u.limbs).zip(&key.p0.limbs)
        {
            let p = &plan.prime;
            let mut flood = [0u32; MAX_USERS];
            for (out, &value) in flood.iter_mut().zip(&values) {
                *out = p.residue_wide(i128::from(value));
            }
            let (Some(sums), Some(flood)) = (sums.get_mut(..users), flood.get_mut(..users)) else {
                return;
            };
            (k.forward_small)(flood, plan);
            (k.block_sums)(sums, u, p0, plan);
            for (sum, f) in sums.iter_mut().zip(flood) {
                *sum = p.add(*sum, p.mul(*f, layout.dims() as u32));
                f.zeroize();
            }
        }
        values.zeroize();
        scratch.zeroize();
        self.folded.layout = layout;
        self.fresh = 1;
    }
}

/// The sum of both. Not inlined: its chunks are not to lie under those of the other samplers.
#[inline(never)]
fn noise_and_flood(k: &Kernels, stream: &mut Stream, flood: i64, out: &mut [i64; MAX_USERS]) {
    let mut noise = [0u32; MAX_USERS];
    sample::small_noise(k, stream, &mut noise);
    sample::uniform_signed(&mut Words::new(k, stream), flood, out);
    for (value, &e) in out.iter_mut().zip(&noise) {
        *value += i64::from(e as i32);
    }
    noise.zeroize();
}

impl<const L: usize> Drop for Blind<L> {
    fn drop(&mut self) {
        if self.is_fresh() {
            wipe(&mut self.folded);
        }
    }
}

impl<const L: usize> Zeroize for Blind<L> {
    fn zeroize(&mut self) {
        wipe(&mut self.folded);
        self.fresh.zeroize();
    }
}

/// A re-randomisation with the seed that it was made of, which its statement commits to and an auditor
/// may be shown: what a pool holds. All zeros are none.
#[derive(Zeroable)]
#[repr(C)]
pub struct SeededBlind<const L: usize> {
    blind: Blind<L>,
    seed: [u8; 32],
}

impl<const L: usize> SeededBlind<L> {
    /// All zero, for statics: [`fold`] refuses it until it is prepared.
    pub const ZERO: Self = Self { blind: Blind::ZERO, seed: [0; 32] };

    /// The re-randomisation, for [`fold`].
    pub const fn blind(&mut self) -> &mut Blind<L> {
        &mut self.blind
    }

    /// The secret seed, for [`commit_seed`]. It stays when the re-randomisation has served.
    #[must_use]
    pub const fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    fn prepare(&mut self, maker: &mut BlindMaker<'_, L>) {
        self.blind.prepare(maker.kernels, maker.key, maker.layout, &self.seed, maker.scratch);
    }
}

impl<const L: usize> Drop for SeededBlind<L> {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl<const L: usize> Zeroize for SeededBlind<L> {
    fn zeroize(&mut self) {
        self.blind.zeroize();
        self.seed.zeroize();
    }
}

/// What making a [`SeededBlind`] needs.
pub struct BlindMaker<'m, const L: usize> {
    /// The processor's kernels.
    pub kernels: &'m Kernels,
    /// The key that probes are encrypted under.
    pub key: &'m PublicKey<L>,
    /// The layout of probes and templates.
    pub layout: Layout,
    /// Working memory; holds zeros afterwards.
    pub scratch: &'m mut Poly<L, Coeff>,
}

/// Serves once. Serialised as its seed: restoring costs what making costs, and wants the same key and
/// layout. One that has served is not serialised ([`Error::BlindUsed`]), or it would serve again; and
/// whoever restores one twice has two that are the same.
impl<const L: usize> Material for SeededBlind<L> {
    const NAME: &'static str = kind!("blind", L);
    const MAX_USES: Option<u32> = Some(1);
    const PUBLIC_SIZE: usize = 0;
    const SERIAL_SIZE: usize = 32;
    type Maker<'m> = BlindMaker<'m, L>;

    fn generate<R: CryptoRng + ?Sized>(
        &mut self,
        maker: &mut Self::Maker<'_>,
        rng: &mut R,
    ) -> Result<(), Error> {
        rng.fill_bytes(&mut self.seed);
        self.prepare(maker);
        Ok(())
    }

    fn public(&self, _: &mut Self::Maker<'_>, out: &mut [u8]) -> Result<(), Error> {
        bytes::write(&[], out)
    }

    fn serialise(&self, _: &mut Self::Maker<'_>, out: &mut [u8]) -> Result<(), Error> {
        if !self.blind.is_fresh() {
            return Err(Error::BlindUsed);
        }
        bytes::write(&self.seed, out)
    }

    fn restore(&mut self, maker: &mut Self::Maker<'_>, bytes: &[u8]) -> Result<(), Error> {
        self.seed = *bytes::read(bytes)?;
        self.prepare(maker);
        Ok(())
    }
}

/// The commitment to a re-randomisation's seed that goes into a leaf. The seed itself is uniform,
/// so its hash hides it.
#[must_use]
pub fn commit_seed(seed: &[u8; 32]) -> Digest {
    hash(Domain::BLIND, &[seed])
}

/// Matches a batch: probe times templates, re-randomised, flooded and folded, all in the memory of
/// `blind`, which is used up. `templates` come from [`Layout::encode_templates`].
///
/// Probe, templates and blind must be made for one layout. Neither ciphertext nor multiplicand tells
/// which it was: where they differ, scores are random mod t, which nothing refuses, and a good part of
/// all lanes is accepted. Fix the layout once, as the host's pipeline does.
///
/// # Errors
/// [`Error::BlindUsed`] if the blind has served before or was never prepared.
pub fn fold<'a, const L: usize>(
    k: &Kernels,
    probe: &Ciphertext<L>,
    templates: &Poly<L, Mont>,
    blind: &'a mut Blind<L>,
) -> Result<&'a mut Folded<L>, Error> {
    if !blind.is_fresh() {
        return Err(Error::BlindUsed);
    }
    blind.fresh = 0;
    let out = &mut blind.folded;
    let users = out.layout.users();
    for (((sums, plan), c0), t) in
        out.sums.iter_mut().zip(Rns::<L>::PLANS).zip(&probe.c0.limbs).zip(&templates.limbs)
    {
        let mut product = [0u32; MAX_USERS];
        if let Some(product) = product.get_mut(..users) {
            (k.block_sums)(product, c0, t, plan);
        }
        for (sum, &x) in sums.iter_mut().zip(&product) {
            *sum = plan.prime.add(*sum, x);
        }
    }
    out.c1.mul_acc(k, &probe.c1, templates);
    Ok(out)
}
