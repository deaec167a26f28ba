//! Keys put to use, one at a time and kind by kind: what benches and `symbolon pool bench` time.

use super::{Desk, Failure, Supply};
use crate::error::{Error, Kind, Result};
use crate::families::{mldsa as libcrux_mldsa, mlkem as libcrux_mlkem};
use crate::random::random;
use bytemuck::zeroed_box;
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use std::panic::resume_unwind;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use symbolon_core::attest::{Domain, Sign, Verify, fndsa, mldsa, slhdsa};
use symbolon_core::bfv::{
    Ciphertext, Hoisted, KeyGen, KeyPair, KeyPairMaker, KeySet, KeySetMaker, Plaintext, Q54, Q81,
    Rotation, Switch, Zero, ZeroMaker, encrypt,
};
use symbolon_core::kem::{CIPHERTEXT_SIZE, Decapsulate, Encapsulate, SECRET_SIZE, mlkem};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{BlindMaker, Layout, SeededBlind, Threshold, fold};
use symbolon_core::ntt::N;
use symbolon_core::poly::{Coeff, Mont, Poly};
use symbolon_core::pool::Material;
use symbolon_core::rns::Rns;
use zeroize::Zeroizing;

/// The rotations of the key sets that are tried: with them every slot gets the sum of 128.
pub const TURNS: [Rotation; 7] = [
    Rotation::Rows(16),
    Rotation::Rows(32),
    Rotation::Rows(64),
    Rotation::Rows(128),
    Rotation::Rows(256),
    Rotation::Rows(512),
    Rotation::Rows(1024),
];

const CONTEXT: Domain = Domain::new("symbolon/trial");
const MESSAGE: [u8; 128] = [3; 128];

/// A desk that knows what keys are for.
pub trait Trial<T: Material>: Desk<T> {
    /// What is done with a key, in a word or two.
    const USE: &'static str;

    /// Does it once, as the first user does: what is held compact is expanded for it.
    ///
    /// Errors: `E-POOL` if this is no key.
    fn spend(&mut self, key: &mut T) -> Result<()>;

    /// Does it once, and says whether the outcome is right.
    ///
    /// Errors: as [`spend`](Self::spend).
    fn check(&mut self, key: &mut T) -> Result<bool>;
}

/// Is shown kinds, one after the other.
pub trait Visitor {
    /// A kind, and how a thread gets a desk.
    ///
    /// Errors: the visitor's own.
    fn visit<T: Material, D: Trial<T>>(
        &mut self,
        desk: impl Fn() -> std::result::Result<D, Failure> + Clone + Send + Sync + 'static,
    ) -> Result<()>;
}

macro_rules! kinds {
    ($($kind:ty, $make:expr;)+) => {
        /// The names of all kinds that can be tried.
        pub const KINDS: &[&str] = &[$(<$kind as Material>::NAME),+];

        /// Shows the visitor those kinds whose names are wanted.
        ///
        /// Errors: the visitor's own.
        pub fn each(
            kernels: &'static Kernels,
            wanted: impl Fn(&str) -> bool,
            visitor: &mut impl Visitor,
        ) -> Result<()> {
            $(
                if wanted(<$kind as Material>::NAME) {
                    visitor.visit::<$kind, _>(move || ($make)(kernels))?;
                }
            )+
            Ok(())
        }
    };
}

kinds! {
    mlkem::DecapsulationKey, |_| Ok(KemTrial::new());
    libcrux_mlkem::DecapsulationKey, |_| Ok(KemTrial::new());
    mldsa::SeedKey, |_| SeedTrial::new();
    libcrux_mldsa::SigningKey, |_| SignTrial::new(verify_ml_dsa);
    fndsa::SigningKey, |_| SignTrial::new(verify_fn_dsa);
    slhdsa::SigningKey, |_| SignTrial::new(verify_slh_dsa);
    Zero<Q54>, BfvTrial::<Q54>::new;
    Zero<Q81>, BfvTrial::<Q81>::new;
    SeededBlind<Q54>, BfvTrial::<Q54>::new;
    SeededBlind<Q81>, BfvTrial::<Q81>::new;
    KeyPair<Q54>, BfvTrial::<Q54>::new;
    KeyPair<Q81>, BfvTrial::<Q81>::new;
    KeySet<Q54, 7>, BfvTrial::<Q54>::new;
}

/// Puts so many keys into the cold tier of a supply, none of whose replenishers runs, and gives the time
/// that it takes to open them again into its first pool.
///
/// # Errors
/// [`Failure::NoRoom`] if there is no cold tier or a tier has no room for so many; those of the desk.
pub fn promotion<T: Material, D: Desk<T>>(
    supply: &Supply<T>,
    desk: &mut D,
    keys: u32,
) -> std::result::Result<Duration, Failure> {
    let shared = &*supply.shared;
    let mut stash = shared.stash()?.ok_or(Failure::NoRoom)?;
    for _ in 0..keys {
        if !shared.put_away(desk, &mut stash)? {
            return Err(Failure::NoRoom);
        }
    }
    let start = Instant::now();
    for _ in 0..keys {
        if !shared.promote(desk, &mut stash, 0)? {
            return Err(Failure::NoRoom);
        }
    }
    Ok(start.elapsed())
}

/// Runs `work` on so many threads at once, each with its number: the time from the first start to the last
/// end, and what each gave.
pub fn together<R: Send>(threads: usize, work: impl Fn(usize) -> R + Sync) -> (Duration, Vec<R>) {
    let ready = Barrier::new(threads);
    let (starts, ends): (Vec<_>, Vec<_>) = thread::scope(|scope| {
        let (ready, work) = (&ready, &work);
        let run = |at| {
            move || {
                ready.wait();
                let start = Instant::now();
                let made = work(at);
                (start, (Instant::now(), made))
            }
        };
        let threads: Vec<_> = (0..threads).map(|at| scope.spawn(run(at))).collect();
        let joined = threads.into_iter().map(|t| t.join().unwrap_or_else(|e| resume_unwind(e)));
        joined.unzip()
    });
    let start = starts.into_iter().min();
    let end = ends.iter().map(|(end, _)| *end).max();
    let spent = end.zip(start).map_or(Duration::ZERO, |(end, start)| end - start);
    (spent, ends.into_iter().map(|(_, made)| made).collect())
}

/// A generator of its own for each desk.
fn generator() -> std::result::Result<ChaCha20Rng, Failure> {
    Ok(ChaCha20Rng::from_seed(*Zeroizing::new(random().map_err(Failure::Host)?)))
}

fn unfit(error: impl ToString) -> Error {
    Error::new(Kind::Pool, error.to_string())
}

/// Decapsulates.
struct KemTrial {
    ciphertext: [u8; CIPHERTEXT_SIZE],
    secret: [u8; SECRET_SIZE],
}

impl KemTrial {
    /// With a ciphertext that no encapsulation made: it takes the same time.
    fn new() -> Self {
        Self { ciphertext: [5; CIPHERTEXT_SIZE], secret: [0; SECRET_SIZE] }
    }
}

impl<T> Desk<T> for KemTrial
where
    for<'m> T: Material<Maker<'m> = ()>,
{
    fn maker(&mut self) {}
}

impl<T> Trial<T> for KemTrial
where
    for<'m> T: Material<Maker<'m> = ()> + Decapsulate,
{
    const USE: &'static str = "decapsulate";

    fn spend(&mut self, key: &mut T) -> Result<()> {
        key.decapsulate(&self.ciphertext, &mut self.secret).map_err(unfit)
    }

    fn check(&mut self, key: &mut T) -> Result<bool> {
        let (mut public, mut sent) = ([0; _], [0; SECRET_SIZE]);
        key.encapsulation_key(&mut public);
        let public = mlkem::EncapsulationKey::decode(&public).map_err(unfit)?;
        public.encapsulate(&mut generator()?, &mut self.ciphertext, &mut sent);
        self.spend(key)?;
        Ok(self.secret == sent)
    }
}

/// Whether a signature of the message verifies under an encoded public key.
type Verifier = fn(&[u8], &[u8]) -> bool;

fn verify_ml_dsa(public: &[u8], signature: &[u8]) -> bool {
    let Ok(public) = public.try_into() else { return false };
    mldsa::VerifyingKey::decode(public).verify(CONTEXT, &MESSAGE, signature).is_ok()
}

fn verify_fn_dsa(public: &[u8], signature: &[u8]) -> bool {
    let Ok(public) = public.try_into() else { return false };
    let key = fndsa::VerifyingKey::decode(public);
    key.is_ok_and(|key| key.verify(CONTEXT, &MESSAGE, signature).is_ok())
}

fn verify_slh_dsa(public: &[u8], signature: &[u8]) -> bool {
    let Ok(public) = public.try_into() else { return false };
    slhdsa::VerifyingKey::decode(public).verify(CONTEXT, &MESSAGE, signature).is_ok()
}

/// Signs.
struct SignTrial {
    rng: ChaCha20Rng,
    signature: Vec<u8>,
    verify: Verifier,
}

impl SignTrial {
    fn new(verify: Verifier) -> std::result::Result<Self, Failure> {
        Ok(Self { rng: generator()?, signature: Vec::new(), verify })
    }

    fn sign(&mut self, key: &impl Sign) -> Result<()> {
        self.signature.resize(signature_size(key), 0);
        key.sign(CONTEXT, &MESSAGE, &mut self.rng, &mut self.signature).map_err(unfit)
    }
}

fn signature_size<S: Sign>(_: &S) -> usize {
    S::FAMILY.signature_size()
}

impl<T> Desk<T> for SignTrial
where
    for<'m> T: Material<Maker<'m> = ()>,
{
    fn maker(&mut self) {}
}

impl<T> Trial<T> for SignTrial
where
    for<'m> T: Material<Maker<'m> = ()> + Sign,
{
    const USE: &'static str = "sign";

    fn spend(&mut self, key: &mut T) -> Result<()> {
        self.sign(key)
    }

    fn check(&mut self, key: &mut T) -> Result<bool> {
        self.sign(key)?;
        let mut public = vec![0; T::PUBLIC_SIZE];
        key.public(&mut (), &mut public).map_err(unfit)?;
        Ok((self.verify)(&public, &self.signature))
    }
}

/// Expands an ML-DSA-65 key of its seed, and signs.
struct SeedTrial {
    signer: SignTrial,
    slot: Box<Option<mldsa::SigningKey>>,
}

impl SeedTrial {
    fn new() -> std::result::Result<Self, Failure> {
        Ok(Self { signer: SignTrial::new(verify_ml_dsa)?, slot: Box::new(None) })
    }
}

impl Desk<mldsa::SeedKey> for SeedTrial {
    fn maker(&mut self) -> &mut Option<mldsa::SigningKey> {
        &mut self.slot
    }
}

impl Trial<mldsa::SeedKey> for SeedTrial {
    const USE: &'static str = "expand, sign";

    fn spend(&mut self, key: &mut mldsa::SeedKey) -> Result<()> {
        self.signer.sign(key.expand(&mut self.slot).map_err(unfit)?)?;
        *self.slot = None;
        Ok(())
    }

    fn check(&mut self, key: &mut mldsa::SeedKey) -> Result<bool> {
        self.spend(key)?;
        Ok(verify_ml_dsa(key.public_key(), &self.signer.signature))
    }
}

/// What the kinds of BFV have in common: keys of a fixed seed, a message, and working memory.
struct BfvTrial<const L: usize>
where
    Rns<L>: Switch,
{
    k: &'static Kernels,
    rng: ChaCha20Rng,
    pair: Box<KeyPair<L>>,
    keygen: Box<KeyGen<L>>,
    layout: Layout,
    rows: Vec<i32>,
    message: Box<Plaintext>,
    plain: Box<Plaintext>,
    /// Encrypts probes under `pair`, until somebody changes it.
    ciphertext: Box<Ciphertext<L>>,
    templates: Box<Poly<L, Mont>>,
    space: Box<Hoisted<L>>,
    scratch: Box<Poly<L, Coeff>>,
}

impl<const L: usize> BfvTrial<L>
where
    Rns<L>: Switch,
{
    fn new(k: &'static Kernels) -> std::result::Result<Self, Failure> {
        let mut own = Self {
            k,
            rng: generator()?,
            pair: zeroed_box(),
            keygen: zeroed_box(),
            layout: Layout::D128,
            rows: (0..N as i32).map(|slot| slot % 301 - 150).collect(),
            message: zeroed_box(),
            plain: zeroed_box(),
            ciphertext: zeroed_box(),
            templates: zeroed_box(),
            space: zeroed_box(),
            scratch: zeroed_box(),
        };
        own.prepare().map_err(Failure::Generator)?;
        Ok(own)
    }

    fn prepare(&mut self) -> std::result::Result<(), symbolon_core::Error> {
        let Self { k, rng, pair, layout, rows, message, plain, ciphertext, .. } = self;
        pair.derive(k, &[7; 32], &mut self.scratch);
        // Every lane's probe has length one; every second template is the opposite.
        let side = layout.scale() as i16;
        let vector = |sign: i16| {
            let mut vector = vec![0; layout.dims()];
            vector[0] = sign * side;
            vector
        };
        let (same, opposite) = (vector(1), vector(-1));
        let lanes = 0..layout.users();
        layout.encode_probes(k, lanes.clone().map(|_| same.as_slice()), plain)?;
        encrypt(k, pair.public_key(), plain, rng, ciphertext, &mut self.scratch);
        let template = |lane| if lane % 2 == 0 { same.as_slice() } else { opposite.as_slice() };
        let mut poly = zeroed_box();
        let made = layout.encode_templates(k, lanes.map(template), plain, &mut poly)?;
        self.templates.copy_from(made);
        message.encode_rows(k, rows)
    }

    /// The slots of the ciphertext, under these keys.
    fn decrypted(&mut self, pair: &KeyPair<L>) -> Result<Vec<i32>> {
        let Self { k, ciphertext, plain, scratch, .. } = self;
        pair.secret_key().decrypt(k, ciphertext, &mut **plain, scratch);
        let mut rows = vec![0; N];
        plain.decode_rows(k, &mut rows).map_err(unfit)?;
        Ok(rows)
    }
}

impl<const L: usize> Desk<Zero<L>> for BfvTrial<L>
where
    Rns<L>: Switch,
{
    fn maker(&mut self) -> ZeroMaker<'_, L> {
        let Self { k, pair, scratch, .. } = self;
        ZeroMaker { kernels: k, key: pair.public_key(), scratch }
    }
}

impl<const L: usize> Trial<Zero<L>> for BfvTrial<L>
where
    Rns<L>: Switch,
{
    const USE: &'static str = "encrypt";

    fn spend(&mut self, key: &mut Zero<L>) -> Result<()> {
        key.encrypt(self.k, &*self.message, &mut self.scratch).map(|_| ()).map_err(unfit)
    }

    fn check(&mut self, key: &mut Zero<L>) -> Result<bool> {
        let Self { k, pair, message, plain, scratch, .. } = self;
        let ciphertext = key.encrypt(k, &**message, scratch).map_err(unfit)?;
        pair.secret_key().decrypt(k, ciphertext, &mut **plain, scratch);
        Ok(plain.coeffs() == message.coeffs())
    }
}

impl<const L: usize> Desk<SeededBlind<L>> for BfvTrial<L>
where
    Rns<L>: Switch,
{
    fn maker(&mut self) -> BlindMaker<'_, L> {
        let Self { k, pair, layout, scratch, .. } = self;
        BlindMaker { kernels: k, key: pair.public_key(), layout: *layout, scratch }
    }
}

impl<const L: usize> Trial<SeededBlind<L>> for BfvTrial<L>
where
    Rns<L>: Switch,
{
    const USE: &'static str = "fold";

    fn spend(&mut self, key: &mut SeededBlind<L>) -> Result<()> {
        let folded = fold(self.k, &self.ciphertext, &self.templates, key.blind());
        folded.map(|_| ()).map_err(unfit)
    }

    fn check(&mut self, key: &mut SeededBlind<L>) -> Result<bool> {
        let Self { k, pair, layout, ciphertext, templates, .. } = self;
        let folded = fold(k, ciphertext, templates, key.blind()).map_err(unfit)?;
        let threshold = Threshold::from_cosine(*layout, 0.5).map_err(unfit)?;
        let decisions = pair.secret_key().decide(k, folded, u32::MAX, threshold);
        Ok(decisions.accepted == 0x5555_5555)
    }
}

impl<const L: usize> Desk<KeyPair<L>> for BfvTrial<L>
where
    Rns<L>: Switch,
{
    fn maker(&mut self) -> KeyPairMaker<'_, L> {
        KeyPairMaker { kernels: self.k, scratch: &mut self.scratch }
    }
}

impl<const L: usize> Trial<KeyPair<L>> for BfvTrial<L>
where
    Rns<L>: Switch,
{
    const USE: &'static str = "encrypt";

    fn spend(&mut self, key: &mut KeyPair<L>) -> Result<()> {
        let Self { k, rng, message, ciphertext, scratch, .. } = self;
        encrypt(k, key.public_key(), &**message, rng, ciphertext, scratch);
        Ok(())
    }

    fn check(&mut self, key: &mut KeyPair<L>) -> Result<bool> {
        self.spend(key)?;
        Ok(self.decrypted(key)? == self.rows)
    }
}

impl<const L: usize> Desk<KeySet<L, 7>> for BfvTrial<L>
where
    Rns<L>: Switch,
{
    fn maker(&mut self) -> KeySetMaker<'_, L, 7> {
        let Self { k, scratch, keygen, .. } = self;
        KeySetMaker { kernels: k, scratch, keygen, rotations: &TURNS }
    }
}

impl<const L: usize> Trial<KeySet<L, 7>> for BfvTrial<L>
where
    Rns<L>: Switch,
{
    const USE: &'static str = "encrypt, rotate";

    fn spend(&mut self, key: &mut KeySet<L, 7>) -> Result<()> {
        let Self { k, rng, message, ciphertext, space, scratch, .. } = self;
        encrypt(k, key.pair().public_key(), &**message, rng, ciphertext, scratch);
        let [first, ..] = key.galois_keys();
        ciphertext.rotate(k, first, space, scratch);
        Ok(())
    }

    fn check(&mut self, key: &mut KeySet<L, 7>) -> Result<bool> {
        self.spend(key)?;
        let mut expected = self.rows.clone();
        let row = expected.len() / 2;
        expected.chunks_exact_mut(row).for_each(|row| row.rotate_left(16));
        Ok(self.decrypted(key.pair())? == expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa;

    /// Makes one of each kind and has it do what it is for.
    struct Checks(Vec<&'static str>);

    impl Visitor for Checks {
        fn visit<T: Material, D: Trial<T>>(
            &mut self,
            desk: impl Fn() -> std::result::Result<D, Failure> + Clone + Send + Sync + 'static,
        ) -> Result<()> {
            let (mut desk, mut key) = (desk()?, zeroed_box::<T>());
            for _ in 0..2 {
                super::super::desk::generate(&mut desk, &mut *key)?;
                assert!(desk.check(&mut key)?, "{}: {}", T::NAME, D::USE);
            }
            key.zeroize();
            self.0.push(T::NAME);
            Ok(())
        }
    }

    #[test]
    fn every_kind_does_what_it_is_for() {
        let mut checks = Checks(Vec::new());
        each(isa::kernels().unwrap(), |_| true, &mut checks).unwrap();
        assert_eq!(checks.0, KINDS);
        let mut some = Checks(Vec::new());
        each(isa::kernels().unwrap(), |name| name == "bfv-pair-q54", &mut some).unwrap();
        assert_eq!(some.0, ["bfv-pair-q54"]);
    }
}
