//! General BFV: the keys of a fixed seed, and slots in natural order into ciphertexts and out.

use chacha20::ChaCha20Rng;
use symbolon_core::bfv::{
    Ciphertext, GaloisKey, Hoisted, KeyGen, Multiply, Plaintext, Product, PublicKey, RelinKey,
    Rotation, SecretKey, Switch, encrypt, generate,
};
use symbolon_core::kernel::Kernels;
use symbolon_core::ntt::N;
use symbolon_core::poly::{Coeff, Poly};
use symbolon_core::rns::Rns;

use crate::rows::Rows;
use crate::{SEED, rng, zero};

/// Who holds the keys, with working memory. Nothing allocates but [`Owner::encrypt`] and
/// [`Owner::decrypt`].
pub struct Owner<const L: usize, const PARTS: usize>
where
    Rns<L>: Switch,
{
    k: &'static Kernels,
    secret: Box<SecretKey<L>>,
    public: Box<PublicKey<L>>,
    keygen: Box<KeyGen<L>>,
    plain: Box<Plaintext<PARTS>>,
    space: Box<Hoisted<L>>,
    scratch: Box<Poly<L, Coeff>>,
    rng: ChaCha20Rng,
}

impl<const L: usize, const PARTS: usize> Owner<L, PARTS>
where
    Rns<L>: Switch,
{
    /// Slots in a ciphertext.
    pub const SLOTS: usize = N * PARTS;

    /// With keys.
    #[must_use]
    pub fn new(k: &'static Kernels) -> Self {
        let (secret, public, keygen) = (zero(), zero(), zero());
        let (plain, space, scratch) = (zero(), zero(), zero());
        let mut owner = Self { k, secret, public, keygen, plain, space, scratch, rng: rng() };
        owner.derive();
        owner
    }

    /// Which kernels it uses.
    #[must_use]
    pub fn kernels(&self) -> &'static Kernels {
        self.k
    }

    /// Its own keys, from the seed.
    pub fn derive(&mut self) {
        let Self { k, secret, public, keygen, scratch, .. } = self;
        generate(k, &SEED, secret, public, scratch);
        keygen.derive(k, &SEED);
    }

    /// The relinearisation key.
    pub fn relin(&mut self, out: &mut RelinKey<L>) {
        self.keygen.relin(self.k, out);
    }

    /// A key for each rotation.
    pub fn galois(&mut self, rotations: &[Rotation], out: &mut [GaloisKey<L>]) {
        for (&rotation, out) in rotations.iter().zip(out) {
            self.keygen.galois(self.k, rotation, out);
        }
    }

    /// With the public key.
    pub fn encrypt(&mut self, slots: &Rows) -> Box<Ciphertext<L>> {
        let Self { k, public, plain, scratch, rng, .. } = self;
        let mut ciphertext = zero();
        plain.encode_rows(k, &slots.0).expect("fits");
        encrypt(k, public, plain, rng, &mut ciphertext, scratch);
        ciphertext
    }

    /// What a ciphertext holds.
    pub fn decrypt(&mut self, ciphertext: &Ciphertext<L>) -> Rows {
        let Self { k, secret, plain, scratch, .. } = self;
        let mut slots = vec![0; Self::SLOTS];
        secret.decrypt(k, ciphertext, plain, scratch);
        plain.decode_rows(k, &mut slots).expect("fits");
        Rows(slots)
    }

    /// x rotated, in place.
    pub fn rotate(&mut self, x: &mut Ciphertext<L>, key: &GaloisKey<L>) {
        x.rotate(self.k, key, &mut self.space, &mut self.scratch);
    }

    /// For each key after another: x plus x rotated, in place.
    pub fn rotate_sum(&mut self, x: &mut Ciphertext<L>, keys: &[GaloisKey<L>]) {
        x.rotate_sum(self.k, keys, &mut self.space, &mut self.scratch);
    }

    /// x rotated by each key. All share its digits.
    pub fn hoisted(&mut self, x: &Ciphertext<L>, keys: &[GaloisKey<L>], out: &mut [Ciphertext<L>]) {
        self.space.prepare(self.k, x, &mut self.scratch);
        for (key, out) in keys.iter().zip(out) {
            self.space.rotate(self.k, key, out, &mut self.scratch);
        }
    }
}

impl<const L: usize, const PARTS: usize> Owner<L, PARTS>
where
    Rns<L>: Multiply,
{
    /// Three components to two.
    pub fn relinearise(&mut self, x: &Product<L>, key: &RelinKey<L>, out: &mut Ciphertext<L>) {
        x.relinearise(self.k, key, out, &mut self.space, &mut self.scratch);
    }
}
