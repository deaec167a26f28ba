//! API keys: who may do what, and how often.
//!
//! A key is `sk_`, its id (16 hexadecimal digits) and 32 random bytes (64 digits). DIR/api-keys.json has, for each,
//! the SHA-256 of the random bytes. No slow hash is needed: those protect secrets that people choose, which can
//! be guessed; of 2^256 equally likely ones the fastest hash gives nothing away. The id finds the entry, the hashes
//! are compared in constant time. A server reads the file again when it has changed: a key that is revoked is
//! refused within a second.

use super::meter::{Allowance, Meter};
use super::problem::Problem;
use crate::error::{Error, Kind, Result};
use crate::keyring::{hex, unhex};
use crate::keys::lock;
use crate::private_file;
use crate::random::random;
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use subtle::ConstantTimeEq;
use symbolon_platform::clock;
use zeroize::Zeroizing;

/// The file's name.
pub const FILE: &str = "api-keys.json";
const PREFIX: &str = "sk_";

/// What a key is good for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// To enrol and remove people.
    Enrol,
    /// To have people authenticated, and to fetch receipts, public keys and status.
    Authenticate,
    /// To fetch receipts, public keys, status and metrics, and to list the newest decisions.
    Read,
}

/// A key as the file has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// 16 hexadecimal digits.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it is good for.
    pub roles: Vec<Role>,
    /// Requests a second; an item of a batch counts as one. `None`: as many as anybody likes.
    pub rate: Option<u32>,
    /// Of its 32 random bytes: 64 hexadecimal digits.
    sha256: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it was revoked.
    pub revoked_ms: Option<u64>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    keys: Vec<Entry>,
}

fn malformed(path: &Path, what: &str) -> Error {
    Error::new(Kind::KeyFile, what).in_file(path.to_string_lossy())
}

/// The keys of a deployment's directory, the revoked ones too. None where there is no file.
///
/// Errors: `E-KEY-FILE`, `E-IO`.
pub fn list(dir: &Path) -> Result<Vec<Entry>> {
    let path = dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(&path, "read", &e)),
    };
    let content: Content = serde_json::from_str(&text)
        .map_err(|e| malformed(&path, &format!("is no file of API keys: {e}")))?;
    Ok(content.keys)
}

fn write(dir: &Path, keys: Vec<Entry>) -> Result<()> {
    let path = dir.join(FILE);
    let text = serde_json::to_string_pretty(&Content { keys })
        .map_err(|e| Error::new(Kind::Internal, e.to_string()))?;
    private_file::replace(&path, (text + "\n").as_bytes())
}

/// Makes a key. Gives its entry and what its user presents, which is nowhere else.
///
/// Errors: `E-ARGUMENT` for no roles or a rate of 0; `E-KEY-FILE`, `E-IO`, `E-ENTROPY`.
pub fn create(
    dir: &Path,
    name: &str,
    roles: &[Role],
    rate: Option<u32>,
) -> Result<(Entry, Zeroizing<String>)> {
    if roles.is_empty() || rate == Some(0) {
        return Err(Error::new(Kind::Argument, "a key has roles, and a rate above 0"));
    }
    let _lock = lock(dir)?;
    let mut keys = list(dir)?;
    let secret = Zeroizing::new(random::<32>()?);
    let id = hex(&random::<8>()?);
    let digits = Zeroizing::new(hex(&*secret));
    let token = Zeroizing::new([PREFIX, &id, "_", &digits].concat());
    let mut roles = roles.to_vec();
    roles.sort_unstable();
    roles.dedup();
    let entry = Entry {
        id,
        name: name.to_owned(),
        roles,
        rate,
        sha256: hex(&Sha256::digest(*secret)),
        created_ms: clock::unix_ms(),
        revoked_ms: None,
    };
    keys.push(entry.clone());
    write(dir, keys)?;
    Ok((entry, token))
}

/// Revokes a key, for ever. Gives whether it was not revoked already.
///
/// Errors: `E-UNKNOWN-KEY`, `E-KEY-FILE`, `E-IO`.
pub fn revoke(dir: &Path, id: &str) -> Result<bool> {
    let _lock = lock(dir)?;
    let mut keys = list(dir)?;
    let Some(entry) = keys.iter_mut().find(|entry| entry.id == id) else {
        return Err(Error::new(Kind::UnknownKey, format!("no API key has the id {id}")));
    };
    if entry.revoked_ms.is_some() {
        return Ok(false);
    }
    entry.revoked_ms = Some(clock::unix_ms());
    write(dir, keys)?;
    Ok(true)
}

/// A key in force.
struct Key {
    sha256: [u8; 32],
    roles: Vec<Role>,
    allowance: Option<Allowance>,
    /// Kept when the file is read again.
    meter: Arc<Meter>,
}

type Keys = HashMap<[u8; 8], Arc<Key>>;

/// Whoever makes a request.
#[derive(Clone)]
pub struct Caller {
    /// `None`: anybody, where no keys are asked for.
    key: Option<([u8; 8], Arc<Key>)>,
    origin: Instant,
}

impl Caller {
    /// Requires one of these roles.
    ///
    /// Errors: `E-ROLE`.
    pub fn require(&self, roles: &[Role]) -> std::result::Result<(), Problem> {
        match &self.key {
            Some((_, key)) if !roles.iter().any(|role| key.roles.contains(role)) => {
                Err(Problem::new(Kind::Role, "the API key does not have the role that this takes"))
            }
            _ => Ok(()),
        }
    }

    /// Counts a request, or an item of a batch.
    ///
    /// Errors: `E-RATE`.
    pub fn charge(&self) -> std::result::Result<(), Problem> {
        let Some((_, key)) = &self.key else { return Ok(()) };
        let Some(allowance) = key.allowance else { return Ok(()) };
        key.meter.charge(allowance, nanoseconds(self.origin)).map_err(|wait| {
            Problem::new(Kind::Rate, "the API key is used more often than it may be").after(wait)
        })
    }

    /// The key's id; zeros for anybody.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        self.key.as_ref().map_or([0; 8], |(id, _)| *id)
    }
}

/// Since a moment that is a while ago, so that a full budget's time is not below 0.
fn nanoseconds(origin: Instant) -> u64 {
    u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Lets callers in.
pub struct Access {
    dir: PathBuf,
    keys: ArcSwap<Keys>,
    /// Whether a key is asked for.
    required: bool,
    /// When the file that was loaded was last changed.
    loaded: Option<SystemTime>,
    origin: Instant,
}

fn changed(dir: &Path) -> Option<SystemTime> {
    fs::metadata(dir.join(FILE)).and_then(|file| file.modified()).ok()
}

impl Access {
    /// With the keys in `dir`. Without any, anybody is let in.
    ///
    /// Errors: `E-KEY-FILE`, `E-IO`.
    pub fn load(dir: &Path) -> Result<Self> {
        // Before it is read: what changes it meanwhile is seen later.
        let loaded = changed(dir);
        let keys = read(dir, &Keys::new())?;
        let required = dir.join(FILE).exists();
        let keys = ArcSwap::from_pointee(keys);
        Ok(Self { dir: dir.to_owned(), keys, required, loaded, origin: Instant::now() })
    }

    /// Whether a key is asked for.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// Reads the file again.
    ///
    /// Errors: as [`Self::load`]; the keys stay as they are.
    fn reload(&self) -> Result<()> {
        let keys = read(&self.dir, &self.keys.load())?;
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    /// Whoever has the key of an `authorization` header's value.
    ///
    /// Errors: `E-API-KEY`.
    pub fn admit(&self, authorization: Option<&[u8]>) -> std::result::Result<Caller, Problem> {
        if !self.required {
            return Ok(Caller { key: None, origin: self.origin });
        }
        let refused = |what: &str| Problem::new(Kind::ApiKey, what);
        let value = authorization.ok_or_else(|| refused("an API key is needed"))?;
        let unknown = || refused("the API key is unknown or revoked");
        let (id, secret) = parse(value).ok_or_else(unknown)?;
        let keys = self.keys.load();
        let found = keys.get(&id);
        let hash: [u8; 32] = Sha256::digest(*secret).into();
        // Compared with something in any case.
        let expected = found.map_or([0; 32], |key| key.sha256);
        let same = bool::from(hash.ct_eq(&expected));
        let key = found.filter(|_| same).ok_or_else(unknown)?;
        Ok(Caller { key: Some((id, Arc::clone(key))), origin: self.origin })
    }
}

/// What came of reading the file again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Its keys are in force.
    Again,
    /// There were no keys when the server began, so that anybody is let in still.
    Open,
    /// It cannot be read, and the keys stay as they are. It is tried again, and said once.
    Failed(Error),
}

/// Looks whether the file has changed.
pub(super) struct Watch<'a> {
    access: &'a Access,
    seen: Option<SystemTime>,
    /// Whether the last reading failed.
    failing: bool,
}

impl<'a> Watch<'a> {
    /// From when the keys were loaded.
    pub(super) fn new(access: &'a Access) -> Self {
        Self { access, seen: access.loaded, failing: false }
    }

    /// Reads the file again, if it has changed since it could be read. Gives what is to be told.
    pub(super) fn look(&mut self) -> Option<Read> {
        let now = changed(&self.access.dir);
        if now == self.seen {
            return None;
        }
        if let Err(error) = self.access.reload() {
            let told = std::mem::replace(&mut self.failing, true);
            return (!told).then_some(Read::Failed(error));
        }
        // Only now: what could not be read may revoke a key.
        (self.seen, self.failing) = (now, false);
        Some(if self.access.required { Read::Again } else { Read::Open })
    }
}

/// The id and the random bytes of `Bearer sk_ID_SECRET`.
fn parse(value: &[u8]) -> Option<([u8; 8], Zeroizing<[u8; 32]>)> {
    let (scheme, token) = value.split_at_checked(7)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return None;
    }
    let token = token.trim_ascii().strip_prefix(PREFIX.as_bytes())?;
    let (id, rest) = token.split_at_checked(16)?;
    let mut secret = Zeroizing::new([0; 32]);
    *secret = unhex(rest.strip_prefix(b"_")?)?;
    Some((unhex(id)?, secret))
}

/// The keys in force; with the meters of those that were before.
fn read(dir: &Path, before: &Keys) -> Result<Keys> {
    let path = dir.join(FILE);
    let mut keys = Keys::new();
    for entry in list(dir)? {
        let parsed = unhex(&entry.id).zip(unhex(&entry.sha256));
        let (id, sha256) =
            parsed.ok_or_else(|| malformed(&path, "has an id or hash that is none"))?;
        if entry.revoked_ms.is_some() {
            continue;
        }
        let meter = before.get(&id).map_or_else(Arc::default, |key| Arc::clone(&key.meter));
        let allowance = entry.rate.and_then(|rate| Allowance::new(rate, Duration::from_secs(1)));
        keys.insert(id, Arc::new(Key { sha256, roles: entry.roles, allowance, meter }));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(token: &str) -> Vec<u8> {
        format!("Bearer {token}").into_bytes()
    }

    #[test]
    fn a_key_is_shown_once_and_lets_in() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Access::load(dir.path()).unwrap().is_required());
        assert!(create(dir.path(), "nobody", &[], None).is_err());
        let (entry, token) =
            create(dir.path(), "door", &[Role::Authenticate, Role::Authenticate], None).unwrap();
        let file = fs::read_to_string(dir.path().join(FILE)).unwrap();
        let (_, secret) = token.rsplit_once('_').unwrap();
        assert!(!file.contains(secret) && file.contains(&entry.id));

        let access = Access::load(dir.path()).unwrap();
        assert!(access.is_required());
        let caller = access.admit(Some(&bearer(&token))).ok().unwrap();
        assert!(caller.require(&[Role::Authenticate]).is_ok());
        assert!(caller.require(&[Role::Authenticate, Role::Read]).is_ok());
        assert_eq!(caller.require(&[Role::Enrol]).unwrap_err().kind, Kind::Role);

        let mut wrong = token.to_string();
        let last = wrong.pop().unwrap();
        wrong.push(if last == '0' { '1' } else { '0' });
        for value in [wrong.as_str(), "", "sk_", &token[..token.len() - 1]] {
            assert!(access.admit(Some(&bearer(value))).is_err(), "{value}");
        }
        assert!(access.admit(None).is_err());
        assert!(access.admit(Some(token.as_bytes())).is_err());
    }

    #[test]
    fn what_could_not_be_read_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let (entry, token) = create(dir.path(), "gone", &[Role::Read], None).unwrap();
        let access = Access::load(dir.path()).unwrap();
        let mut watch = Watch::new(&access);
        assert_eq!(watch.look(), None);
        revoke(dir.path(), &entry.id).unwrap();
        let revoked = fs::read(&path).unwrap();
        let later = SystemTime::now() + Duration::from_secs(9);
        let write = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        };
        write(b"{");
        // Said once.
        assert!(matches!(watch.look(), Some(Read::Failed(error)) if error.kind() == Kind::KeyFile));
        assert_eq!(watch.look(), None);
        assert!(access.admit(Some(&bearer(&token))).is_ok());
        // The same time: nothing but another try shows the change.
        write(&revoked);
        assert_eq!((watch.look(), watch.look()), (Some(Read::Again), None));
        assert!(access.admit(Some(&bearer(&token))).is_err());
    }

    #[test]
    fn a_revoked_key_is_refused_and_rates_outlive_a_reload() {
        let dir = tempfile::tempdir().unwrap();
        let (slow, slow_token) = create(dir.path(), "slow", &[Role::Read], Some(2)).unwrap();
        let (gone, gone_token) = create(dir.path(), "gone", &[Role::Read], None).unwrap();
        let access = Access::load(dir.path()).unwrap();
        let caller = access.admit(Some(&bearer(&slow_token))).ok().unwrap();
        assert!(caller.charge().is_ok() && caller.charge().is_ok());
        assert_eq!(caller.charge().unwrap_err().kind, Kind::Rate);

        assert!(revoke(dir.path(), &gone.id).unwrap());
        assert!(!revoke(dir.path(), &gone.id).unwrap());
        assert!(revoke(dir.path(), "0").is_err());
        assert!(access.admit(Some(&bearer(&gone_token))).is_ok());
        access.reload().unwrap();
        assert!(access.admit(Some(&bearer(&gone_token))).is_err());
        let again = access.admit(Some(&bearer(&slow_token))).ok().unwrap();
        assert!(again.charge().is_err());
        assert_eq!(hex(&again.id()), slow.id);
        // All keys gone is not the same as no keys asked for.
        revoke(dir.path(), &slow.id).unwrap();
        assert!(Access::load(dir.path()).unwrap().admit(None).is_err());
    }
}
