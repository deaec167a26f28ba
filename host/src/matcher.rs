//! The matcher: holds templates and the public key, multiplies under encryption, and sees neither
//! probes nor scores.

use crate::error::{Error, Kind, Result};
use crate::gallery::Entry;
use crate::random::random;
use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use symbolon_core::attest::Digest;
use symbolon_core::bfv::{Ciphertext, Plaintext, PublicKey};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::fold::commit_seed;
use symbolon_core::matching::{Blind, Folded, Layout, fold};
use symbolon_core::poly::{Coeff, Poly};
use zeroize::{Zeroize, Zeroizing};

/// A matcher, shared by all threads.
pub struct Matcher {
    kernels: &'static Kernels,
    layout: Layout,
}

/// One thread's working memory, made once.
pub struct Desk<const L: usize> {
    rng: ChaCha20Rng,
    plain: Box<Plaintext>,
    scratch: Box<Poly<L, Coeff>>,
    templates: Box<Poly<L, Coeff>>,
    blind: Box<Blind<L>>,
}

impl<const L: usize> Desk<L> {
    /// Errors: `E-ENTROPY`.
    pub fn new() -> Result<Self> {
        Ok(Self {
            rng: ChaCha20Rng::from_seed(*Zeroizing::new(random()?)),
            plain: bytemuck::zeroed_box(),
            scratch: bytemuck::zeroed_box(),
            templates: bytemuck::zeroed_box(),
            blind: bytemuck::zeroed_box(),
        })
    }
}

/// The encoded templates go with the thread.
impl<const L: usize> Drop for Desk<L> {
    fn drop(&mut self) {
        self.templates.zeroize();
        self.scratch.zeroize();
    }
}

impl Matcher {
    /// A matcher for people of this layout.
    pub fn new(kernels: &'static Kernels, layout: Layout) -> Self {
        Self { kernels, layout }
    }

    /// Matches a batch, encrypted under `key`, against one template a lane, re-randomised under a fresh
    /// seed. Gives what the custodian is sent and the commitment to the seed.
    ///
    /// Errors: `E-ARGUMENT` for more templates than lanes or one of another layout.
    pub fn fold<'a, const L: usize>(
        &self,
        desk: &'a mut Desk<L>,
        key: &PublicKey<L>,
        probe: &Ciphertext<L>,
        templates: &[&Entry],
    ) -> Result<(&'a Folded<L>, Digest)> {
        let error = |e: symbolon_core::Error| Error::new(Kind::Argument, e.to_string());
        let mut seed = Zeroizing::new([0; 32]);
        desk.rng.fill_bytes(&mut *seed);
        desk.blind.prepare(self.kernels, key, self.layout, &seed, &mut desk.scratch);
        let templates = self
            .layout
            .encode_templates(
                self.kernels,
                templates.iter().map(|entry| entry.template.as_slice()),
                &mut desk.plain,
                &mut desk.templates,
            )
            .map_err(error)?;
        let folded = fold(self.kernels, probe, templates, &mut desk.blind).map_err(error)?;
        Ok((folded, commit_seed(&seed)))
    }
}
