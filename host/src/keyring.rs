//! The public keys of signers: what receipts are verified with, offline.
//!
//! A key set is the three public keys of a signer, of which all must verify. A keyring is the sets of
//! a deployment, one after the other as rotation made them; `verify.key` is one. A set, 2,939 bytes,
//! integers little-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | magic `SYVK` |
//! | 1 | version: 2 |
//! | 1 | keys: 3 |
//! | 4 | key epoch: receipts under the set name this BFV key, or a later one |
//! | 16 | deployment |
//! | 8, 8 | first and last millisecond at which the set may sign, since 1970 |
//! | 16 | key id: [`key_id`] of the three keys |
//! | 1952 | ML-DSA-65 public key |
//! | 897 | FN-DSA-512 public key (draft) |
//! | 32 | SLH-DSA-SHA2-128f public key |
//!
//! The key id binds the keys and nothing else: epoch, deployment and validity are as trustworthy as the
//! way by which the file came. So is `verify.revoked` beside it, the revocation list: key ids in
//! hexadecimal, one a line, `#` before a comment. What a revoked set signed is refused, whatever its
//! time: who stole a key writes any time.

use crate::error::{Error, Kind, Result};
use crate::families::mldsa::VerifyingKey as MlDsa;
use crate::keys::Deployment;
use crate::signer::SignedWindow;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use symbolon_core::attest::{
    Domain, Family, KeyId, KeySet, Leaf, Receipt, Validity, Verify, fndsa, key_id, slhdsa,
};

/// The file with a deployment's key sets.
pub const VERIFY: &str = "verify.key";
/// The revocation list beside it.
pub const REVOKED: &str = "verify.revoked";

const MAGIC: [u8; 4] = *b"SYVK";
const VERSION: u8 = 2;
const FAMILIES: u8 = Family::ALL.len() as u8;
const ML_DSA: usize = Family::MlDsa65.public_key_size();
const FN_DSA: usize = Family::FnDsa512Draft.public_key_size();
const SLH_DSA: usize = Family::SlhDsaSha2_128f.public_key_size();

/// Encoded size of a key set.
pub const SET_SIZE: usize = Deployment::HEADER + 2 * 8 + 16 + ML_DSA + FN_DSA + SLH_DSA;

/// More than a deployment rotates through; a limit on what is read.
const MAX_SETS: usize = 1024;
/// Bytes of a revocation list that are read.
const MAX_LIST: usize = 1 << 20;

/// The three public keys of a signer, as bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKeys {
    /// ML-DSA-65.
    pub ml_dsa: Box<[u8; ML_DSA]>,
    /// FN-DSA-512 (draft).
    pub fn_dsa: Box<[u8; FN_DSA]>,
    /// SLH-DSA-SHA2-128f.
    pub slh_dsa: Box<[u8; SLH_DSA]>,
}

impl PublicKeys {
    /// What names them.
    pub fn id(&self) -> KeyId {
        key_id(&self.ml_dsa, &self.fn_dsa, &self.slh_dsa)
    }
}

/// Three public keys made ready to verify.
pub type Keys = KeySet<Memo<MlDsa>, Memo<fndsa::VerifyingKey>, Memo<slhdsa::VerifyingKey>>;

/// A public key that remembers what it verified last: the receipts of a window share its signatures,
/// and come one after the other.
pub struct Memo<V> {
    key: V,
    last: Mutex<Option<Verified>>,
}

/// What was verified.
#[derive(PartialEq, Eq)]
struct Verified {
    context: Domain,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl<V> Memo<V> {
    fn new(key: V) -> Self {
        Self { key, last: Mutex::new(None) }
    }
}

impl<V: Verify> Verify for Memo<V> {
    const FAMILY: Family = V::FAMILY;

    fn verify(
        &self,
        context: Domain,
        message: &[u8],
        signature: &[u8],
    ) -> symbolon_core::attest::Result<()> {
        // A thread that panicked with the lock left a value that was verified.
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last().as_ref().is_some_and(|last| {
            last.context == context && last.message == message && last.signature == signature
        });
        if !known {
            self.key.verify(context, message, signature)?;
            let (message, signature) = (message.to_vec(), signature.to_vec());
            *last() = Some(Verified { context, message, signature });
        }
        Ok(())
    }
}

/// A key set of a keyring.
pub struct Entry {
    /// Whose it is.
    pub deployment: Deployment,
    /// The keys, with their id and when they may sign.
    pub keys: Box<Keys>,
    encoded: Box<[u8; SET_SIZE]>,
}

impl Entry {
    /// The encoding of a key set, as in the [table](self).
    pub fn encode(deployment: Deployment, validity: Validity, keys: &PublicKeys) -> Vec<u8> {
        let mut out = deployment.header(MAGIC, VERSION, FAMILIES).to_vec();
        out.extend_from_slice(&validity.not_before_ms.to_le_bytes());
        out.extend_from_slice(&validity.not_after_ms.to_le_bytes());
        out.extend_from_slice(&keys.id());
        out.extend_from_slice(&*keys.ml_dsa);
        out.extend_from_slice(&*keys.fn_dsa);
        out.extend_from_slice(&*keys.slh_dsa);
        out
    }

    fn parse(bytes: &[u8; SET_SIZE], path: &Path) -> Result<Self> {
        let mut rest = bytes.as_slice();
        let cut = || key_error(path, "is cut short");
        let header = take(&mut rest).ok_or_else(cut)?;
        let (deployment, families) = Deployment::parse(header, MAGIC, VERSION, path)?;
        if families != FAMILIES {
            let message = format!("has a set of {families} keys: {FAMILIES} are needed");
            return Err(key_error(path, &message));
        }
        let validity = Validity {
            not_before_ms: u64::from_le_bytes(*take(&mut rest).ok_or_else(cut)?),
            not_after_ms: u64::from_le_bytes(*take(&mut rest).ok_or_else(cut)?),
            revoked: false,
        };
        let id: KeyId = *take(&mut rest).ok_or_else(cut)?;
        let ml_dsa = take(&mut rest).ok_or_else(cut)?;
        let fn_dsa = take(&mut rest).ok_or_else(cut)?;
        let slh_dsa = take(&mut rest).ok_or_else(cut)?;
        if key_id(ml_dsa, fn_dsa, slh_dsa) != id {
            return Err(key_error(path, "has keys that do not fit their id: it is damaged"));
        }
        let fn_dsa = fndsa::VerifyingKey::decode(fn_dsa)
            .map_err(|e| key_error(path, &format!("has a bad FN-DSA-512 key: {e}")))?;
        let fn_dsa = Memo::new(fn_dsa);
        let slh_dsa = Memo::new(slhdsa::VerifyingKey::decode(slh_dsa));
        let ml_dsa = Memo::new(MlDsa::decode(ml_dsa));
        let keys = Box::new(KeySet { id, validity, ml_dsa, fn_dsa, slh_dsa });
        Ok(Self { deployment, keys, encoded: Box::new(*bytes) })
    }

    /// The encoding.
    pub fn encoded(&self) -> &[u8] {
        &*self.encoded
    }

    /// What the set is good for at a time: `active`, `future`, `retired` or `revoked`.
    pub fn state(&self, now_ms: u64) -> &'static str {
        use symbolon_core::attest::Error::{NotYetValid, Revoked};
        match self.keys.validity.check(now_ms) {
            Ok(()) => "active",
            Err(Revoked) => "revoked",
            Err(NotYetValid) => "future",
            Err(_) => "retired",
        }
    }
}

/// A deployment's key sets, and which of them are revoked.
pub struct Keyring {
    entries: Vec<Entry>,
}

impl Keyring {
    /// Reads the keyring `path`, or `verify.key` where that is a directory, and the revocation list: the
    /// one given, or `verify.revoked` beside the keys if there is one.
    ///
    /// Errors: `E-KEY-FILE`, `E-IO`.
    pub fn load(path: &Path, revoked: Option<&Path>) -> Result<Self> {
        let (file, beside) = if path.is_dir() {
            (path.join(VERIFY), path.join(REVOKED))
        } else {
            (path.to_owned(), path.with_file_name(REVOKED))
        };
        let bytes = read_public(&file, MAX_SETS * SET_SIZE)?;
        let mut ring = Self::parse(&bytes, &file)?;
        if let Some(list) = revoked {
            ring.revoke(&load_revoked(list)?);
        } else if exists(&beside)? {
            ring.revoke(&load_revoked(&beside)?);
        }
        Ok(ring)
    }

    /// Parses key sets back to back, none revoked; `path` stands for them in errors.
    ///
    /// Errors: `E-KEY-FILE`.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let (sets, rest) = bytes.as_chunks::<SET_SIZE>();
        // What is no keyring at all is told from one that was cut.
        let starts = rest.first_chunk().is_none_or(|magic| *magic == MAGIC);
        if !starts || !bytes.starts_with(&MAGIC) {
            return Err(key_error(path, "is no key file of this kind"));
        }
        if !rest.is_empty() {
            let message = format!("has {} bytes, no multiple of {SET_SIZE}", bytes.len());
            return Err(key_error(path, &message));
        }
        if sets.len() > MAX_SETS {
            return Err(key_error(path, &format!("has more than {MAX_SETS} key sets")));
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(sets.len());
        for set in sets {
            let entry = Entry::parse(set, path)?;
            if entries.iter().any(|e| e.keys.id == entry.keys.id) {
                return Err(key_error(path, "has a key set twice"));
            }
            entries.push(entry);
        }
        Ok(Self { entries })
    }

    /// The key sets, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The key set of this id.
    pub fn find(&self, id: &KeyId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.keys.id == *id)
    }

    /// Marks key sets as revoked; ids of others are let be.
    pub fn revoke(&mut self, ids: &BTreeSet<KeyId>) {
        for entry in &mut self.entries {
            entry.keys.validity.revoked |= ids.contains(&entry.keys.id);
        }
    }

    /// Verifies a receipt under the key set that it names: both paths, all three signatures, the keys'
    /// validity, deployment, and that the key epoch is none from before the set's. Gives the leaf, or the reason for refusing it.
    pub fn verify<'a>(&self, receipt: &'a Receipt<'_>) -> std::result::Result<&'a Leaf, String> {
        let Some(entry) = self.find(&receipt.window.keys) else {
            if self.entries.iter().all(|e| e.deployment.id != receipt.window.deployment) {
                return Err("the receipt is another deployment's".into());
            }
            let id = hex(&receipt.window.keys);
            return Err(format!("signed with keys that are not in the keyring: {id}"));
        };
        if receipt.window.deployment != entry.deployment.id {
            return Err("the receipt is another deployment's".into());
        }
        if receipt.batch.key_epoch < entry.deployment.epoch {
            return Err(format!("the receipt is of key epoch {}", receipt.batch.key_epoch));
        }
        receipt.verify(&entry.keys).map_err(|e| e.to_string())
    }

    /// Verifies a window's signatures at its time. Gives whether its key set was revoked since, which
    /// refuses a receipt but not a log that goes on; or the reason for refusing it.
    pub fn verify_window(&self, signed: &SignedWindow) -> std::result::Result<bool, String> {
        let window = &signed.window;
        let Some(entry) = self.find(&window.keys) else {
            let id = hex(&window.keys);
            return Err(format!("it is signed with keys that are not in the keyring: {id}"));
        };
        if window.deployment != entry.deployment.id {
            return Err("its keys are another deployment's".into());
        }
        let KeySet { id, validity, ml_dsa, fn_dsa, slh_dsa } = &*entry.keys;
        let validity = Validity { revoked: false, ..*validity };
        let keys = KeySet { id: *id, validity, ml_dsa, fn_dsa, slh_dsa };
        window.verify(&keys, &signed.signatures.borrowed()).map_err(|e| e.to_string())?;
        Ok(entry.keys.validity.revoked)
    }
}

/// Reads a revocation list. Errors: `E-KEY-FILE` with the line, `E-IO`.
pub fn load_revoked(path: &Path) -> Result<BTreeSet<KeyId>> {
    let bytes = read_public(path, MAX_LIST)?;
    let text = String::from_utf8(bytes).map_err(|_| key_error(path, "is no text"))?;
    if text.len() > MAX_LIST {
        return Err(key_error(path, "is too large for a revocation list"));
    }
    let mut ids = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            let id = parse_id(line);
            ids.insert(id.ok_or_else(|| key_error(path, "is no key id").at_line(index + 1))?);
        }
    }
    Ok(ids)
}

/// A key id, or a request's, from 32 hexadecimal digits.
pub fn parse_id(text: &str) -> Option<[u8; 16]> {
    unhex(text)
}

/// Bytes of hexadecimal digits, two for each of `N`.
pub fn unhex<const N: usize>(digits: impl AsRef<[u8]>) -> Option<[u8; N]> {
    let (pairs, []) = digits.as_ref().as_chunks::<2>() else { return None };
    if pairs.len() != N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = (high? << 4 | low?) as u8;
    }
    Some(bytes)
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A keyring's two files, in a directory.
pub fn files(dir: &Path) -> [PathBuf; 2] {
    [VERIFY, REVOKED].map(|name| dir.join(name))
}

/// Whether there is a file. Errors: `E-IO`.
pub(crate) fn exists(path: &Path) -> Result<bool> {
    // A link that leads nowhere is there: to read it says what is wrong.
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(path, "look for", &e)),
    }
}

pub(crate) fn key_error(path: &Path, message: &str) -> Error {
    Error::new(Kind::KeyFile, message).in_file(path.to_string_lossy())
}

/// A file that is not secret, but not longer than it may be by more than a byte either.
pub(crate) fn read_public(path: &Path, size: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = fs::File::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => key_error(path, "the key file is missing"),
        _ => Error::io(path, "read", &e),
    })?;
    let read = Read::take(&mut file, size as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|e| Error::io(path, "read", &e))?;
    Ok(bytes)
}

/// The next `N` bytes.
fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_32_digits() {
        let id = [0x0f; 16];
        assert_eq!(parse_id(&hex(&id)), Some(id));
        assert_eq!(parse_id(&hex(&id).to_uppercase()), Some(id));
        for bad in ["", "0f", &"0f".repeat(17), &"0g".repeat(16), &"+f".repeat(16), &"é".repeat(16)]
        {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn lists_are_read_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        let id = "0123456789abcdef0123456789abcdef";
        fs::write(&path, format!("# none\n\n {id} # stolen\n{id}\n")).unwrap();
        assert_eq!(load_revoked(&path).unwrap(), BTreeSet::from([parse_id(id).unwrap()]));
        fs::write(&path, format!("{id}\n{}\n", &id[1..])).unwrap();
        let error = load_revoked(&path).unwrap_err();
        assert_eq!((error.kind(), error.line()), (Kind::KeyFile, Some(2)));
        fs::write(&path, [0xff]).unwrap();
        assert_eq!(load_revoked(&path).unwrap_err().kind(), Kind::KeyFile);
    }
}
