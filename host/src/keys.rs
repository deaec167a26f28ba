//! A deployment's keys, as files.
//!
//! | file | holds | who needs it |
//! |---|---|---|
//! | `custodian.key` (0600) | parameter set, epoch, deployment id, the seeds of both secret keys | the custodian |
//! | `public.key` | the BFV public key, as on the wire | gateway and matcher |
//! | `verify.key` | deployment id, epoch, the ML-DSA-65 verification key | relying parties |
//!
//! Integers are little-endian. `custodian.key`: `SYCK`, version 1, parameter-set id, epoch (4),
//! deployment (16), BFV seed (32), signing seed (32). `verify.key`: `SYVK`, version 1, algorithm 1,
//! epoch (4), deployment (16), key (1952).

use crate::error::{Error, Kind, Result};
use crate::isa;
use crate::private_file;
use crate::random::{fill_random, random};
use std::fs;
use std::path::{Path, PathBuf};
use symbolon_core::attest::{PUBLIC_KEY_SIZE, Receipt, SigningKey, VerifyingKey};
use symbolon_core::bfv::{PublicKey, Q54, Q81, SecretKey, generate, params};
use symbolon_core::kernel::Kernels;
use symbolon_core::poly::{Coeff, Poly};
use symbolon_core::wire::Wire;
use zeroize::Zeroizing;

const CUSTODIAN: &str = "custodian.key";
const PUBLIC: &str = "public.key";
const VERIFY: &str = "verify.key";
const CUSTODIAN_MAGIC: [u8; 4] = *b"SYCK";
const VERIFY_MAGIC: [u8; 4] = *b"SYVK";
const VERSION: u8 = 1;
const HEADER: usize = 4 + 1 + 1 + 4 + 16;
const CUSTODIAN_SIZE: usize = HEADER + 2 * 32;
const VERIFY_SIZE: usize = HEADER + PUBLIC_KEY_SIZE;

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
    fn header(self, magic: [u8; 4], tag: u8) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..4].copy_from_slice(&magic);
        out[4..6].copy_from_slice(&[VERSION, tag]);
        out[6..10].copy_from_slice(&self.epoch.to_le_bytes());
        out[10..].copy_from_slice(&self.id);
        out
    }

    /// The deployment and the tag of a file's header.
    fn parse(header: &[u8; HEADER], magic: [u8; 4], path: &Path) -> Result<(Self, u8)> {
        let [m0, m1, m2, m3, version, tag, e0, e1, e2, e3, id @ ..] = *header;
        if [m0, m1, m2, m3] != magic {
            return Err(key_error(path, "is no key file of this kind"));
        }
        if version != VERSION {
            return Err(key_error(path, &format!("is of version {version}; {VERSION} is known")));
        }
        Ok((Self { id, epoch: u32::from_le_bytes([e0, e1, e2, e3]) }, tag))
    }
}

fn key_error(path: &Path, message: &str) -> Error {
    Error::new(Kind::KeyFile, message).in_file(path.to_string_lossy())
}

fn wrong_size(path: &Path, bytes: &[u8], size: usize) -> Error {
    key_error(path, &format!("has {} bytes, not {size}", bytes.len()))
}

/// Whether a directory holds a deployment's keys.
pub fn exist(dir: &Path) -> bool {
    dir.join(CUSTODIAN).exists()
}

/// The custodian's secrets, as read from its file: seeds, which the keys are derived from.
pub struct CustodianSeeds {
    /// The parameter set they are for.
    pub set: ParameterSet,
    /// The deployment they belong to.
    pub deployment: Deployment,
    bfv: Zeroizing<[u8; 32]>,
    signing: Zeroizing<[u8; 32]>,
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
            let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
            let (bfv, rest) = rest.split_first_chunk::<32>()?;
            let signing: &[u8; 32] = rest.try_into().ok()?;
            Some((header, bfv, signing))
        };
        let (header, bfv, signing) =
            parts().ok_or_else(|| wrong_size(path, bytes, CUSTODIAN_SIZE))?;
        let (deployment, id) = Deployment::parse(header, CUSTODIAN_MAGIC, path)?;
        let set = ParameterSet::from_id(id)
            .ok_or_else(|| key_error(path, &format!("parameter set {id} is not known")))?;
        Ok(Self { set, deployment, bfv: Zeroizing::new(*bfv), signing: Zeroizing::new(*signing) })
    }

    /// Fresh seeds. Errors: `E-ENTROPY`.
    pub fn draw(set: ParameterSet) -> Result<Self> {
        let mut seeds = Self {
            set,
            deployment: Deployment { id: random()?, epoch: 1 },
            bfv: Zeroizing::new([0; 32]),
            signing: Zeroizing::new([0; 32]),
        };
        for seed in [&mut seeds.bfv, &mut seeds.signing] {
            fill_random(seed.as_mut_slice())?;
        }
        Ok(seeds)
    }

    /// Derives the BFV secret key.
    pub fn secret_key<const L: usize>(&self, k: &Kernels) -> Box<SecretKey<L>> {
        let mut secret = bytemuck::zeroed_box::<SecretKey<L>>();
        secret.derive(k, &self.bfv);
        secret
    }

    /// Derives the BFV public key.
    pub fn public_key<const L: usize>(&self, k: &Kernels) -> Box<PublicKey<L>> {
        let mut public = bytemuck::zeroed_box();
        let mut scratch = bytemuck::zeroed_box::<Poly<L, Coeff>>();
        generate(k, &self.bfv, &mut bytemuck::zeroed_box(), &mut public, &mut scratch);
        public
    }

    /// Derives the signing key, into `slot`.
    pub fn signing_key<'a>(&self, slot: &'a mut Option<SigningKey>) -> &'a SigningKey {
        SigningKey::init(slot, &self.signing)
    }
}

/// Makes a deployment's keys in `dir`, which is created if it is missing. Gives the files written.
///
/// Errors: `E-KEY-FILE` where keys exist already (none is overwritten), `E-IO`, `E-ENTROPY`.
pub fn create(dir: &Path, set: ParameterSet) -> Result<[PathBuf; 3]> {
    private_file::create_dir(dir)?;
    let files = [CUSTODIAN, PUBLIC, VERIFY].map(|name| dir.join(name));
    if exist(dir) {
        return Err(key_error(&dir.join(CUSTODIAN), "exists already; keys are never overwritten"));
    }
    if let Some(path) = files.iter().find(|path| path.exists()) {
        let message = "exists without custodian.key (it is another machine's, or key generation was \
                       interrupted); keys are never overwritten: remove it first";
        return Err(key_error(path, message));
    }
    let seeds = CustodianSeeds::draw(set)?;
    let k = isa::kernels()?;
    let public = match set {
        ParameterSet::Q54 => encoded(k, &*seeds.public_key::<Q54>(k)),
        ParameterSet::Q81 => encoded(k, &*seeds.public_key::<Q81>(k)),
    };
    let [custodian_path, public_path, verify_path] = &files;
    fs::write(public_path, public).map_err(|e| Error::io(public_path, "write", &e))?;

    let mut slot = Box::new(None);
    let mut verify = seeds.deployment.header(VERIFY_MAGIC, Receipt::ML_DSA_65).to_vec();
    let mut key = [0; PUBLIC_KEY_SIZE];
    seeds.signing_key(&mut slot).public_key(&mut key);
    verify.extend_from_slice(&key);
    fs::write(verify_path, verify).map_err(|e| Error::io(verify_path, "write", &e))?;

    // The secret last: a directory with it is complete.
    let mut secret = Zeroizing::new([0; CUSTODIAN_SIZE]);
    let header = seeds.deployment.header(CUSTODIAN_MAGIC, set.id());
    for (out, byte) in
        secret.iter_mut().zip(header.iter().chain(&*seeds.bfv).chain(&*seeds.signing))
    {
        *out = *byte;
    }
    private_file::create(custodian_path, &*secret)?;
    Ok(files)
}

fn encoded<T: Wire>(k: &Kernels, value: &T) -> Vec<u8> {
    let mut bytes = vec![0; T::SIZE];
    // The size is right by construction.
    let written = value.encode(k, &mut bytes);
    debug_assert!(written.is_ok());
    bytes
}

/// Reads `public.key` and, where the custodian's seeds are at hand, holds it against them: what is
/// encrypted for another key decrypts to noise, and everybody would be rejected without a word.
///
/// Errors: `E-KEY-FILE`, `E-IO`.
pub fn load_public<const L: usize>(
    dir: &Path,
    k: &Kernels,
    seeds: &CustodianSeeds,
) -> Result<Box<PublicKey<L>>> {
    let path = dir.join(PUBLIC);
    let bytes = read_public(&path, PublicKey::<L>::SIZE)?;
    let mut key = bytemuck::zeroed_box::<PublicKey<L>>();
    key.decode(k, &bytes).map_err(|e| key_error(&path, &e.to_string()))?;
    if bytes != encoded(k, &*seeds.public_key::<L>(k)) {
        return Err(key_error(&path, "belongs to another secret key than custodian.key holds"));
    }
    Ok(key)
}

/// Reads a `verify.key`, whatever its name. Errors: `E-KEY-FILE`, `E-IO`.
pub fn load_verifying(path: &Path) -> Result<(Deployment, VerifyingKey)> {
    parse_verifying(&read_public(path, VERIFY_SIZE)?, path)
}

/// Parses the content of a `verify.key`; `path` stands for it in errors. Errors: `E-KEY-FILE`.
pub fn parse_verifying(bytes: &[u8], path: &Path) -> Result<(Deployment, VerifyingKey)> {
    let parts = || {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let key: &[u8; PUBLIC_KEY_SIZE] = rest.try_into().ok()?;
        Some((header, key))
    };
    let (header, key) = parts().ok_or_else(|| wrong_size(path, bytes, VERIFY_SIZE))?;
    let (deployment, algorithm) = Deployment::parse(header, VERIFY_MAGIC, path)?;
    if algorithm != Receipt::ML_DSA_65 {
        return Err(key_error(path, &format!("signature algorithm {algorithm} is not known")));
    }
    Ok((deployment, VerifyingKey::decode(key)))
}

/// A file that is not secret, but not longer than it may be by more than a byte either.
fn read_public(path: &Path, size: usize) -> Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::with_capacity(size + 1);
    let mut file = fs::File::open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => key_error(path, "the key file is missing"),
        _ => Error::io(path, "read", &e),
    })?;
    let read = Read::take(&mut file, size as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|e| Error::io(path, "read", &e))?;
    Ok(bytes)
}
