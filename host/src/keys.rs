//! A deployment's keys, as files.
//!
//! | file | holds | who needs it |
//! |---|---|---|
//! | `custodian.key` (0600) | parameter set, epoch, deployment id, the seed of the BFV secret key | the custodian |
//! | `signing-ID.key` (0600) | the seeds of the three signing keys of the key set ID | the custodian |
//! | `public.key` | the BFV public key, as on the wire | gateway and matcher |
//! | `verify.key` | the key sets, oldest first: [`keyring`] | relying parties |
//! | `verify.revoked` | the ids of those that count no more | relying parties |
//!
//! Integers are little-endian. `custodian.key`: `SYCK`, version 2, parameter-set id, epoch (4),
//! deployment (16), BFV seed (32). `signing-ID.key`: `SYSK`, version 1, keys: 3, epoch (4), deployment
//! (16), first and last millisecond of validity (8 each), seeds (32 each) of ML-DSA-65, FN-DSA-512 and
//! SLH-DSA-SHA2-128f.
//!
//! Rotation makes a new key set and leaves the old one as it is: it verifies until its end, and signs
//! no more as soon as a newer one may; a running process keeps the set that it began with. Secrets are
//! never overwritten; `verify.key` and the revocation list only grow, and are replaced whole (comments
//! in the list are not kept).

use crate::error::{Error, Kind, Result};
use crate::families::mldsa::SigningKey as MlDsa;
use crate::isa;
use crate::keyring::{
    self, Entry, Keyring, PublicKeys, REVOKED, VERIFY, exists, hex, key_error, load_revoked,
    read_public,
};
use crate::log::SealKey;
use crate::pools::SignRefill;
use crate::private_file;
use crate::random::{fill_random, random};
use crate::signer::{SignWindow, SignatureSet};
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use symbolon_core::attest::{
    Domain, Family, KeyId, Refill, SEED_SIZE, Sign, Validity, Window, fndsa, hash, slhdsa,
};
use symbolon_core::bfv::{KeyPair, PublicKey, Q54, Q81, generate, params};
use symbolon_core::kernel::Kernels;
use symbolon_core::poly::{Coeff, Poly};
use symbolon_core::wire::Wire;
use symbolon_platform::clock::{self, Stopwatch};
use zeroize::Zeroizing;

const CUSTODIAN: &str = "custodian.key";
const PUBLIC: &str = "public.key";
const CUSTODIAN_MAGIC: [u8; 4] = *b"SYCK";
const CUSTODIAN_VERSION: u8 = 2;
const SIGNING_MAGIC: [u8; 4] = *b"SYSK";
const SIGNING_VERSION: u8 = 1;
const FAMILIES: u8 = Family::ALL.len() as u8;
const CUSTODIAN_SIZE: usize = Deployment::HEADER + 32;
const SIGNING_SIZE: usize = Deployment::HEADER + 2 * 8 + 3 * SEED_SIZE;
const SEAL_KEY: Domain = Domain::new("symbolon/log-seal-key/v1");
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The parameter set a deployment runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ParameterSet {
    /// 54-bit modulus: fast. The custodian is trusted not to study noise.
    Q54,
    /// 81-bit modulus: strict. Flooding hides the template from the custodian, about 2^-29 a batch.
    Q81,
}

impl ParameterSet {
    const fn id(self) -> u8 {
        match self {
            Self::Q54 => params::id::<Q54>(),
            Self::Q81 => params::id::<Q81>(),
        }
    }

    fn from_id(id: u8) -> Option<Self> {
        [Self::Q54, Self::Q81].into_iter().find(|set| set.id() == id)
    }

    /// `Q54` or `Q81`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Q54 => params::name::<Q54>(),
            Self::Q81 => params::name::<Q81>(),
        }
    }
}

/// Which deployment, which epoch: what statements say of their signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Drawn when the keys were made.
    pub id: [u8; 16],
    /// Counts key generations of a deployment, from 1.
    pub epoch: u32,
}

impl Deployment {
    /// Bytes of what every key file starts with: magic (4), version, a tag, epoch (4), id (16).
    pub(crate) const HEADER: usize = 4 + 1 + 1 + 4 + 16;

    pub(crate) fn header(self, magic: [u8; 4], version: u8, tag: u8) -> [u8; Self::HEADER] {
        let mut out = [0; Self::HEADER];
        out[..4].copy_from_slice(&magic);
        out[4..6].copy_from_slice(&[version, tag]);
        out[6..10].copy_from_slice(&self.epoch.to_le_bytes());
        out[10..].copy_from_slice(&self.id);
        out
    }

    /// The deployment and the tag of a file's header.
    pub(crate) fn parse(
        header: &[u8; Self::HEADER],
        magic: [u8; 4],
        known: u8,
        path: &Path,
    ) -> Result<(Self, u8)> {
        let [m0, m1, m2, m3, version, tag, e0, e1, e2, e3, id @ ..] = *header;
        if [m0, m1, m2, m3] != magic {
            return Err(key_error(path, "is no key file of this kind"));
        }
        if version != known {
            return Err(key_error(path, &format!("is of version {version}; {known} is known")));
        }
        Ok((Self { id, epoch: u32::from_le_bytes([e0, e1, e2, e3]) }, tag))
    }
}

fn wrong_size(path: &Path, bytes: &[u8], size: usize) -> Error {
    key_error(path, &format!("has {} bytes, not {size}", bytes.len()))
}

/// Whether a directory holds a deployment's keys.
pub fn exist(dir: &Path) -> bool {
    dir.join(CUSTODIAN).exists()
}

/// The custodian's secret, as read from its file: the seed that its BFV keys are derived from.
pub struct CustodianSeeds {
    /// The parameter set they are for.
    pub set: ParameterSet,
    /// The deployment they belong to.
    pub deployment: Deployment,
    bfv: Zeroizing<[u8; 32]>,
}

impl CustodianSeeds {
    /// Reads `custodian.key`. Errors: `E-KEY-FILE`, `E-IO`.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(CUSTODIAN);
        Self::parse(&*private_file::read::<CUSTODIAN_SIZE>(&path, Kind::KeyFile)?, &path)
    }

    /// Parses the content of a `custodian.key`; `path` stands for it in errors. Errors: `E-KEY-FILE`.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let parts = || {
            let (header, rest) = bytes.split_first_chunk()?;
            let bfv: &[u8; 32] = rest.try_into().ok()?;
            Some((header, bfv))
        };
        let (header, bfv) = parts().ok_or_else(|| wrong_size(path, bytes, CUSTODIAN_SIZE))?;
        let (deployment, id) = Deployment::parse(header, CUSTODIAN_MAGIC, CUSTODIAN_VERSION, path)?;
        let set = ParameterSet::from_id(id)
            .ok_or_else(|| key_error(path, &format!("parameter set {id} is not known")))?;
        Ok(Self { set, deployment, bfv: Zeroizing::new(*bfv) })
    }

    /// What seals the end of the deployment's receipt log.
    pub fn seal_key(&self) -> SealKey {
        Zeroizing::new(hash(SEAL_KEY, &[&*self.bfv]))
    }

    /// A fresh seed. Errors: `E-ENTROPY`.
    pub fn draw(set: ParameterSet) -> Result<Self> {
        let deployment = Deployment { id: random()?, epoch: 1 };
        let mut seeds = Self { set, deployment, bfv: Zeroizing::new([0; 32]) };
        fill_random(seeds.bfv.as_mut_slice())?;
        Ok(seeds)
    }

    fn encode(&self) -> Zeroizing<[u8; CUSTODIAN_SIZE]> {
        let mut out = Zeroizing::new([0; CUSTODIAN_SIZE]);
        let header = self.deployment.header(CUSTODIAN_MAGIC, CUSTODIAN_VERSION, self.set.id());
        fill(out.as_mut_slice(), &[&header, &*self.bfv]);
        out
    }

    /// Derives the BFV keys, in place.
    pub fn derive<const L: usize>(&self, k: &Kernels, pair: &mut KeyPair<L>) {
        pair.derive(k, &self.bfv, &mut bytemuck::zeroed_box::<Poly<L, Coeff>>());
    }

    /// Derives the BFV public key.
    pub fn public_key<const L: usize>(&self, k: &Kernels) -> Box<PublicKey<L>> {
        let mut public = bytemuck::zeroed_box();
        let mut scratch = bytemuck::zeroed_box::<Poly<L, Coeff>>();
        generate(k, &self.bfv, &mut bytemuck::zeroed_box(), &mut public, &mut scratch);
        public
    }
}

/// Fields back to back into `out`, which is as long as they are.
fn fill(out: &mut [u8], fields: &[&[u8]]) {
    for (out, byte) in out.iter_mut().zip(fields.iter().copied().flatten()) {
        *out = *byte;
    }
}

/// What a key set's signing keys are derived from.
pub struct SigningSeeds {
    /// The deployment they sign for.
    pub deployment: Deployment,
    /// When they may sign.
    pub validity: Validity,
    /// Of ML-DSA-65, FN-DSA-512 and SLH-DSA-SHA2-128f.
    seeds: [Zeroizing<[u8; SEED_SIZE]>; 3],
}

impl SigningSeeds {
    /// Fresh seeds. Errors: `E-ENTROPY`.
    pub fn draw(deployment: Deployment, validity: Validity) -> Result<Self> {
        let mut seeds = Self { deployment, validity, seeds: Default::default() };
        for seed in &mut seeds.seeds {
            fill_random(seed.as_mut_slice())?;
        }
        Ok(seeds)
    }

    /// Reads a `signing-ID.key`. Errors: `E-KEY-FILE`, `E-IO`.
    pub fn load(path: &Path) -> Result<Self> {
        Self::parse(&*private_file::read::<SIGNING_SIZE>(path, Kind::KeyFile)?, path)
    }

    /// Parses the content of a `signing-ID.key`; `path` stands for it in errors. Errors: `E-KEY-FILE`.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let parts = || {
            let (header, rest) = bytes.split_first_chunk()?;
            let (before, rest) = rest.split_first_chunk()?;
            let (after, rest) = rest.split_first_chunk()?;
            let (seeds, []) = rest.as_chunks::<SEED_SIZE>() else { return None };
            let seeds: &[[u8; SEED_SIZE]; 3] = seeds.try_into().ok()?;
            Some((header, *before, *after, seeds))
        };
        let (header, before, after, seeds) =
            parts().ok_or_else(|| wrong_size(path, bytes, SIGNING_SIZE))?;
        let (deployment, families) =
            Deployment::parse(header, SIGNING_MAGIC, SIGNING_VERSION, path)?;
        if families != FAMILIES {
            return Err(key_error(path, &format!("has seeds of {families} keys, not {FAMILIES}")));
        }
        let validity = Validity {
            not_before_ms: u64::from_le_bytes(before),
            not_after_ms: u64::from_le_bytes(after),
            revoked: false,
        };
        let [a, b, c] = seeds;
        Ok(Self { deployment, validity, seeds: [a, b, c].map(|seed| Zeroizing::new(*seed)) })
    }

    fn encode(&self) -> Zeroizing<[u8; SIGNING_SIZE]> {
        let mut out = Zeroizing::new([0; SIGNING_SIZE]);
        let header = self.deployment.header(SIGNING_MAGIC, SIGNING_VERSION, FAMILIES);
        let [ml_dsa, fn_dsa, slh_dsa] = &self.seeds;
        fill(
            out.as_mut_slice(),
            &[
                &header,
                &self.validity.not_before_ms.to_le_bytes(),
                &self.validity.not_after_ms.to_le_bytes(),
                &**ml_dsa,
                &**fn_dsa,
                &**slh_dsa,
            ],
        );
        out
    }

    /// Derives the signing keys. Errors: `E-SIGNING`.
    pub fn keys(&self) -> Result<SigningKeys> {
        let [ml_seed, fn_seed, slh_seed] = &self.seeds;
        let (mut ml_dsa, mut fn_dsa, mut slh_dsa) =
            (Box::new(None), Box::new(None), Box::new(None));
        let mut public = PublicKeys {
            ml_dsa: Box::new([0; _]),
            fn_dsa: Box::new([0; _]),
            slh_dsa: Box::new([0; _]),
        };
        MlDsa::init(&mut ml_dsa, ml_seed).public_key(&mut *public.ml_dsa).map_err(signing)?;
        let key = fndsa::SigningKey::init(&mut fn_dsa, fn_seed);
        key.public_key(&mut *public.fn_dsa).map_err(signing)?;
        let key = slhdsa::SigningKey::init(&mut slh_dsa, slh_seed);
        key.public_key(&mut *public.slh_dsa).map_err(signing)?;
        let Self { deployment, validity, .. } = *self;
        Ok(SigningKeys { id: public.id(), public, deployment, validity, ml_dsa, fn_dsa, slh_dsa })
    }
}

fn signing(e: symbolon_core::attest::Error) -> Error {
    Error::new(Kind::Signing, e.to_string())
}

/// The signing keys of a key set, made ready to sign.
pub struct SigningKeys {
    public: PublicKeys,
    id: KeyId,
    deployment: Deployment,
    validity: Validity,
    ml_dsa: Box<Option<MlDsa>>,
    fn_dsa: Box<Option<fndsa::SigningKey>>,
    slh_dsa: Box<Option<slhdsa::SigningKey>>,
}

impl SigningKeys {
    /// The signing keys of the deployment in `dir` that sign at `now_ms`: of the key sets in its
    /// keyring that may, the one that became valid last.
    ///
    /// Errors: `E-KEY-VALIDITY` if none may; `E-KEY-FILE`, `E-IO`, `E-SIGNING`.
    pub fn load(dir: &Path, deployment: Deployment, now_ms: u64) -> Result<Self> {
        let ring = Keyring::load(dir, None)?;
        let path = dir.join(VERIFY);
        if ring.entries().iter().any(|entry| entry.deployment != deployment) {
            return Err(key_error(&path, "has a key set of another deployment or key epoch"));
        }
        let may = ring.entries().iter().filter(|entry| entry.keys.validity.check(now_ms).is_ok());
        // Of equals the last one.
        let Some(entry) = may.max_by_key(|entry| entry.keys.validity.not_before_ms) else {
            let states = ring.entries().iter().map(|e| e.state(now_ms)).collect::<Vec<_>>();
            let message = format!(
                "no key set may sign now (they are {}): symbolon keys rotate makes a new one",
                states.join(", ")
            );
            let error = Error::new(Kind::KeyValidity, message);
            return Err(error.in_file(path.to_string_lossy()));
        };
        let path = signing_path(dir, &entry.keys.id);
        let keys = SigningSeeds::load(&path)?.keys()?;
        let same = keys.id == entry.keys.id
            && keys.deployment == entry.deployment
            && keys.validity.not_before_ms == entry.keys.validity.not_before_ms
            && keys.validity.not_after_ms == entry.keys.validity.not_after_ms;
        if !same {
            return Err(key_error(&path, "differs from the key set of this id in verify.key"));
        }
        Ok(keys)
    }

    /// The last millisecond at which they sign.
    pub fn not_after_ms(&self) -> u64 {
        self.validity.not_after_ms
    }

    /// The key set as in `verify.key`: what verifies what these keys sign.
    pub fn public(&self) -> Vec<u8> {
        Entry::encode(self.deployment, self.validity, &self.public)
    }
}

impl SignWindow for SigningKeys {
    fn id(&self) -> KeyId {
        self.id
    }

    fn deployment(&self) -> [u8; 16] {
        self.deployment.id
    }

    /// The three families at once, each on a thread of its own.
    ///
    /// Errors: `E-KEY-VALIDITY` at a time at which the keys may not sign, `E-SIGNING`, `E-ENTROPY`.
    fn sign(&self, window: &Window, out: &mut SignatureSet) -> Result<f64> {
        self.all(window, window.time_ms, out)
    }
}

impl SignRefill for SigningKeys {
    /// As windows are signed.
    fn sign_refill(&self, refill: &Refill, out: &mut SignatureSet) -> Result<f64> {
        self.all(refill, refill.time_ms, out)
    }
}

/// What the three families sign.
trait Statement: Sync {
    fn sign<S: Sign>(
        &self,
        key: &S,
        rng: &mut ChaCha20Rng,
        out: &mut [u8],
    ) -> symbolon_core::attest::Result<()>;
}

impl Statement for Window {
    fn sign<S: Sign>(
        &self,
        key: &S,
        rng: &mut ChaCha20Rng,
        out: &mut [u8],
    ) -> symbolon_core::attest::Result<()> {
        self.sign(key, rng, out)
    }
}

impl Statement for Refill {
    fn sign<S: Sign>(
        &self,
        key: &S,
        rng: &mut ChaCha20Rng,
        out: &mut [u8],
    ) -> symbolon_core::attest::Result<()> {
        self.sign(key, rng, out)
    }
}

impl SigningKeys {
    fn all(&self, statement: &impl Statement, time_ms: u64, out: &mut SignatureSet) -> Result<f64> {
        self.validity.check(time_ms).map_err(|e| {
            Error::new(Kind::KeyValidity, format!("{e}: symbolon keys rotate makes new ones"))
        })?;
        let (ml_dsa, fn_dsa, slh_dsa) = (&*self.ml_dsa, &*self.fn_dsa, &*self.slh_dsa);
        let SignatureSet { ml_dsa: ml_out, fn_dsa: fn_out, slh_dsa: slh_out } = out;
        let spawn = |e: io::Error| Error::new(Kind::Signing, format!("no thread to sign on: {e}"));
        thread::scope(|scope| {
            let named = |name: &str| thread::Builder::new().name(format!("symbolon-{name}"));
            let ml = named("ml-dsa")
                .spawn_scoped(scope, move || one(ml_dsa, statement, ml_out))
                .map_err(spawn)?;
            let fndsa = named("fn-dsa")
                .spawn_scoped(scope, move || one(fn_dsa, statement, fn_out))
                .map_err(spawn)?;
            let slh = one(slh_dsa, statement, slh_out);
            let died = |_| Err(Error::new(Kind::Signing, "a signing thread died"));
            Ok(ml.join().unwrap_or_else(died)? + fndsa.join().unwrap_or_else(died)? + slh?)
        })
    }
}

/// One family's signature; gives the microseconds that it took.
fn one<S: Sign>(key: &Option<S>, statement: &impl Statement, out: &mut [u8]) -> Result<f64> {
    let mut watch = Stopwatch::start();
    let mut rng = ChaCha20Rng::from_seed(*Zeroizing::new(random()?));
    let no_key = || Error::new(Kind::Signing, "there is no signing key");
    statement.sign(key.as_ref().ok_or_else(no_key)?, &mut rng, out).map_err(signing)?;
    Ok(watch.lap())
}

fn signing_path(dir: &Path, id: &KeyId) -> PathBuf {
    dir.join(format!("signing-{}.key", hex(id)))
}

/// When a key set may sign, and which it is.
#[derive(Clone, Debug)]
pub struct Made {
    /// The key set's id.
    pub id: KeyId,
    /// The first and the last millisecond.
    pub validity: Validity,
    /// The files written.
    pub files: Vec<PathBuf>,
}

/// From `start_ms` on for `days` days.
fn validity(start_ms: u64, days: u32) -> Validity {
    let not_after_ms = start_ms.saturating_add(u64::from(days).saturating_mul(DAY_MS));
    Validity { not_before_ms: start_ms, not_after_ms, revoked: false }
}

/// Makes a deployment's keys in `dir`, which is created if it is missing: the BFV keys, and a key set
/// that may sign from this moment on for `days` days.
///
/// Errors: `E-KEY-FILE` where keys exist already (none is overwritten), `E-IO`, `E-ENTROPY`.
pub fn create(dir: &Path, set: ParameterSet, days: u32) -> Result<Made> {
    private_file::create_dir(dir)?;
    let _lock = lock(dir)?;
    if exist(dir) {
        return Err(key_error(&dir.join(CUSTODIAN), "exists already; keys are never overwritten"));
    }
    for name in [PUBLIC, VERIFY, REVOKED] {
        let path = dir.join(name);
        if exists(&path)? {
            let message = "exists without custodian.key (it is another machine's, or key generation \
                           was interrupted); keys are never overwritten: remove it first";
            return Err(key_error(&path, message));
        }
    }
    let seeds = CustodianSeeds::draw(set)?;
    let k = isa::kernels()?;
    let public = match set {
        ParameterSet::Q54 => encoded(k, &*seeds.public_key::<Q54>(k)),
        ParameterSet::Q81 => encoded(k, &*seeds.public_key::<Q81>(k)),
    };
    let made = validity(clock::unix_ms(), days);
    let signing = SigningSeeds::draw(seeds.deployment, made)?;
    let keys = signing.keys()?;
    let [custodian, signing_file, public_file, verify_file] =
        [dir.join(CUSTODIAN), signing_path(dir, &keys.id), dir.join(PUBLIC), dir.join(VERIFY)];
    private_file::publish(&public_file, &public, false)?;
    private_file::publish(&signing_file, &*signing.encode(), true)?;
    private_file::publish(&verify_file, &keys.public(), false)?;
    // The secret last: a directory with it is complete.
    private_file::publish(&custodian, &*seeds.encode(), true)?;
    let files = vec![custodian, signing_file, public_file, verify_file];
    Ok(Made { id: keys.id, validity: made, files })
}

/// Makes a new key set for the deployment in `dir`, which may sign from `start_ms` on for `days` days,
/// and adds it to the keyring. The sets before it stay as they are.
///
/// Errors: `E-KEY-FILE`, `E-IO`, `E-ENTROPY`.
pub fn rotate(dir: &Path, start_ms: u64, days: u32) -> Result<Made> {
    let deployment = CustodianSeeds::load(dir)?.deployment;
    let _lock = lock(dir)?;
    let ring = Keyring::load(dir, None)?;
    let made = validity(start_ms, days);
    let signing = SigningSeeds::draw(deployment, made)?;
    let keys = signing.keys()?;
    let mut sets: Vec<u8> = ring.entries().iter().flat_map(Entry::encoded).copied().collect();
    sets.extend_from_slice(&keys.public());
    let verify_file = dir.join(VERIFY);
    // What will be read again has to be readable.
    Keyring::parse(&sets, &verify_file)?;
    let signing_file = signing_path(dir, &keys.id);
    // The secret first: a key set in the keyring can sign.
    private_file::publish(&signing_file, &*signing.encode(), true)?;
    private_file::replace(&verify_file, &sets)?;
    Ok(Made { id: keys.id, validity: made, files: vec![signing_file, verify_file] })
}

/// Puts a key set of the deployment in `dir` on its revocation list. Gives whether it was not on it
/// already. Nothing brings it back.
///
/// Errors: `E-UNKNOWN-KEY` if the keyring has no such set; `E-KEY-FILE`, `E-IO`.
pub fn revoke(dir: &Path, id: &KeyId) -> Result<bool> {
    let _lock = lock(dir)?;
    let [verify, list] = keyring::files(dir);
    let ring = Keyring::load(dir, None)?;
    let Some(entry) = ring.find(id) else {
        let message = format!("no key set has the id {}", hex(id));
        return Err(Error::new(Kind::UnknownKey, message).in_file(verify.to_string_lossy()));
    };
    if entry.keys.validity.revoked {
        return Ok(false);
    }
    let mut ids = if exists(&list)? { load_revoked(&list)? } else { Default::default() };
    ids.insert(*id);
    let mut text = String::from("# Revoked key sets: nothing they signed counts.\n");
    for id in ids {
        text += &hex(&id);
        text += "\n";
    }
    private_file::replace(&list, text.as_bytes())?;
    Ok(true)
}

/// Keeps other processes from changing the keys in `dir` as long as it lives. Only Unix has locks of
/// directories.
pub(crate) fn lock(dir: &Path) -> Result<Option<File>> {
    if cfg!(not(unix)) {
        return Ok(None);
    }
    let file = File::open(dir).map_err(|e| Error::io(dir, "open", &e))?;
    file.lock().map_err(|e| Error::io(dir, "lock", &e))?;
    Ok(Some(file))
}

fn encoded<T: Wire>(k: &Kernels, value: &T) -> Vec<u8> {
    let mut bytes = vec![0; T::SIZE];
    // The size is right by construction.
    let written = value.encode(k, &mut bytes);
    debug_assert!(written.is_ok());
    bytes
}

/// Reads `public.key` and holds it against the custodian's seeds: what is encrypted for another key
/// decrypts to noise, and everybody would be rejected without a word.
///
/// Errors: `E-KEY-FILE`, `E-IO`.
pub fn check_public<const L: usize>(dir: &Path, k: &Kernels, seeds: &CustodianSeeds) -> Result<()> {
    let path = dir.join(PUBLIC);
    let bytes = read_public(&path, PublicKey::<L>::SIZE)?;
    let mut key = bytemuck::zeroed_box::<PublicKey<L>>();
    key.decode(k, &bytes).map_err(|e| key_error(&path, &e.to_string()))?;
    if bytes != encoded(k, &*seeds.public_key::<L>(k)) {
        return Err(key_error(&path, "belongs to another secret key than custodian.key holds"));
    }
    Ok(())
}
