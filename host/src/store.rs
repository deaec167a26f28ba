//! The template store: a directory with a database of sealed templates and the key that seals them.
//!
//! ```text
//! DIR/template.key     32 random bytes that only their owner may read
//! DIR/templates.redb   table "templates": id -> record
//!                      table "meta": "header" -> header, key check, header seal
//! record               nonce (24) | XChaCha20-Poly1305 ciphertext | tag (16)
//! ```
//!
//! The associated data of a record are the store's format, dimensions and UUID, and the id: a record
//! opens in its own place only. What is sealed is opaque here. Every nonce is 24 fresh bytes from the
//! operating system, so none repeats (draft-irtf-cfrg-xchacha-03, section 3.1).
//!
//! The header counts the records, so that none is lost in silence. What the seals do *not* prevent:
//! reading the ids, which are the database's keys, and putting back an older copy of the store.
//!
//! A [`Store`] is open shared and read-only; only [`Store::enrol`] and [`Store::remove`] write, in one
//! transaction, and keep other processes out meanwhile. A [`Writer`] keeps them out as long as it lives, and
//! writes what it is given in one transaction after the other.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use redb::{
    Database, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableDefinition,
};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::database::Role;
use crate::error::{Error, Kind, Result};
use crate::input::{MAX_DIMS, check_id};
use crate::private_file;
use crate::random::fill_random;

/// The largest template, in bytes (1 MiB).
pub const MAX_TEMPLATE_BYTES: usize = 1 << 20;

const DATABASE: &str = "templates.redb";
const ROLE: Role =
    Role { name: "template store", format: Kind::StoreFormat, busy: Kind::StoreBusy };
const KEY: &str = "template.key";
/// Keys are bytes, not `str`: redb takes it for granted that a stored `str` is UTF-8.
const TEMPLATES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("templates");
const META: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta");
const HEADER: &[u8] = b"header";
type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;
/// Bytes that redb may keep in memory for a [`Writer`], which reads everything once.
const CACHE: usize = 16 << 20;
/// Records read at a time.
const BATCH: usize = 1024;
/// What the associated data of each kind of seal start with.
const RECORD_DOMAIN: &[u8] = b"symbolon template";
const HEADER_DOMAIN: &[u8] = b"symbolon store header";
const KEY_CHECK_DOMAIN: &[u8] = b"symbolon store key";
/// The version of all of the above.
const FORMAT: u16 = 1;

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
/// The length of a seal of nothing.
const SEAL_LEN: usize = NONCE_LEN + TAG_LEN;

/// An open template store.
pub struct Store {
    dir: PathBuf,
    sealer: Sealer,
    header: Header,
    /// Absent only if the database could not be opened again after an enrolment.
    reader: Option<ReadOnlyDatabase>,
}

impl Store {
    /// Opens the store in `dir`, or creates one for embeddings of `dims` dimensions (1 to 512): the
    /// directory, the key, the database. A store that exists must have `dims` dimensions.
    ///
    /// Errors: `E-DIMENSION`, `E-IO`, `E-ENTROPY`, and those of [`Self::open`].
    pub fn create_or_open(dir: &Path, dims: usize) -> Result<Self> {
        let error = |message: String| {
            Err(Error::new(Kind::Dimension, message).in_file(dir.to_string_lossy()))
        };
        let Some(header) = Header::new(dims)? else {
            return error(format!("{dims} dimensions: 1 to {MAX_DIMS} are supported"));
        };
        if !has_database(dir)? {
            create(dir, header)?;
        }
        let store = Self::open(dir)?;
        if store.dims() != dims {
            return error(format!("the store has {} dimensions, not {dims}", store.dims()));
        }
        Ok(store)
    }

    /// Opens the store in `dir`.
    ///
    /// Errors: `E-STORE-FORMAT` if there is none, it is damaged or of another version; `E-STORE-KEY`;
    /// `E-STORE-BUSY` while another process enrols; `E-IO`.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(DATABASE);
        if !has_database(dir)? {
            let message = format!("no template store here: there is no {DATABASE}");
            return Err(Error::new(Kind::StoreFormat, message).in_file(dir.to_string_lossy()));
        }
        let sealer = Sealer::load(&dir.join(KEY))?;
        let reader = ROLE.open_reader(&path)?;
        let (header, records) = ROLE.shield(&path, || {
            let transaction = reader.begin_read()?;
            let meta = transaction.open_table(META)?;
            let header = meta.get(HEADER)?.map(|h| h.value().to_vec());
            Ok((header, transaction.open_table(TEMPLATES)?.len()?))
        })?;
        let header = Header::parse(header.as_deref(), &sealer).map_err(|e| at(e, dir))?;
        if header.records != records {
            return Err(lost_records(dir, header.records, records));
        }
        Ok(Self { dir: dir.to_owned(), sealer, header, reader: Some(reader) })
    }

    /// The number of dimensions of the embeddings, 1 to 512.
    pub fn dims(&self) -> usize {
        usize::from(self.header.dims)
    }

    /// The number of dimensions with padding: 128, 256 or 512.
    pub fn padded_dims(&self) -> usize {
        usize::from(self.header.padded_dims())
    }

    /// The store's UUID (RFC 9562, version 4), drawn when it was created.
    pub fn uuid(&self) -> [u8; 16] {
        self.header.uuid
    }

    /// When the store was created, in seconds since 1970.
    pub fn created(&self) -> u64 {
        self.header.created
    }

    /// The number of people enrolled.
    pub fn len(&self) -> u64 {
        self.header.records
    }

    /// Whether nobody is enrolled.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Enrols people: ids with templates of at most [`MAX_TEMPLATE_BYTES`], all of them or none. Gives
    /// their number. Returns when the disk has them.
    ///
    /// Errors, which leave the store as it was: `E-ID`; `E-DUPLICATE-ID` for an id that is enrolled
    /// already or comes twice; `E-ARGUMENT` for a template that is too large; `E-STORE-BUSY` while
    /// another process has the store open; `E-ENTROPY`; `E-IO`.
    pub fn enrol<S: AsRef<str>>(
        &mut self,
        people: impl IntoIterator<Item = (S, Zeroizing<Vec<u8>>)>,
    ) -> Result<u64> {
        let mut records = Vec::new();
        for (id, template) in people {
            let id = id.as_ref();
            let record = sealed(&self.dir, &self.sealer, &self.header, id, &template)?;
            records.push((id.to_owned(), Some(record)));
        }
        self.write(&records)?;
        Ok(records.len() as u64)
    }

    /// Removes people, all of them or none. Gives their number. Returns when the disk has forgotten them, as far
    /// as a disk does: the key that sealed them is still there.
    ///
    /// Errors, which leave the store as it was: `E-UNKNOWN-ID` for an id that is not enrolled or comes twice;
    /// `E-STORE-BUSY`, `E-ENTROPY`, `E-IO` as for [`Self::enrol`].
    pub fn remove<S: AsRef<str>>(&mut self, ids: impl IntoIterator<Item = S>) -> Result<u64> {
        let ids: Vec<_> = ids.into_iter().map(|id| (id.as_ref().to_owned(), None)).collect();
        self.write(&ids)?;
        Ok(ids.len() as u64)
    }

    /// Makes all changes in one transaction, or none.
    fn write(&mut self, changes: &[Sealed]) -> Result<()> {
        // Our own shared lock would keep the writer out.
        self.reader = None;
        let path = self.dir.join(DATABASE);
        let written = ROLE.shield(&path, || {
            let database = Database::open(&path)?;
            transact(&database, &self.dir, &self.sealer, self.header.uuid, changes, true)
        });
        let reopened = ROLE.open_reader(&path).map(|r| self.reader = Some(r));
        self.header = written??.0;
        reopened
    }

    /// The template of `id`, if enrolled. Errors: `E-STORE-RECORD`, `E-STORE-FORMAT`, `E-IO`.
    pub fn get(&self, id: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let record =
            self.read(|table| Ok(table.get(id.as_bytes())?.map(|r| r.value().to_vec())))?;
        record.map(|record| self.unseal(id, &record)).transpose()
    }

    /// Whether `id` is enrolled. Errors: `E-STORE-FORMAT`, `E-IO`.
    pub fn contains(&self, id: &str) -> Result<bool> {
        self.read(|table| Ok(table.get(id.as_bytes())?.is_some()))
    }

    /// All ids, in the order of their bytes. Errors: `E-STORE-FORMAT`, `E-IO`.
    pub fn ids(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        self.walk(|id, _| {
            ids.push(id.to_owned());
            Ok(())
        })?;
        Ok(ids)
    }

    /// Calls `f` with each id and template, in the order of the ids' bytes, until it fails.
    ///
    /// Errors: `f`'s own, `E-STORE-RECORD`, `E-STORE-FORMAT`, `E-IO`.
    pub fn for_each(&self, mut f: impl FnMut(&str, &[u8]) -> Result<()>) -> Result<()> {
        self.walk(|id, record| f(id, &self.unseal(id, record)?))
    }

    /// Calls `f` with each id and sealed record.
    fn walk(&self, f: impl FnMut(&str, &[u8]) -> Result<()>) -> Result<()> {
        walk(&self.dir, &self.header, self.reader()?, f)
    }

    fn reader(&self) -> Result<&ReadOnlyDatabase> {
        self.reader.as_ref().ok_or_else(|| {
            let message = "the store could not be opened again after an enrolment";
            at(Error::new(Kind::StoreBusy, message), &self.dir)
        })
    }

    /// Reads from the table of templates, shielded.
    fn read<T>(
        &self,
        operation: impl FnOnce(Table) -> std::result::Result<T, redb::Error>,
    ) -> Result<T> {
        let reader = self.reader()?;
        ROLE.shield(&self.dir, || operation(reader.begin_read()?.open_table(TEMPLATES)?))
    }

    fn unseal(&self, id: &str, record: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        unsealed(&self.dir, &self.sealer, &self.header, id, record)
    }
}

/// A change of a [`Writer`]'s.
pub enum Change<'a> {
    /// Somebody comes.
    Enrol {
        /// Who.
        id: &'a str,
        /// With which template.
        template: &'a [u8],
    },
    /// Somebody goes.
    Remove {
        /// Who.
        id: &'a str,
    },
}

/// Where a server keeps its people. [`Writer`] is the one there is; what takes over when one machine is outgrown
/// is another.
pub trait Templates: Send {
    /// The number of dimensions of the embeddings, 1 to 512.
    fn dims(&self) -> usize;

    /// The number of people enrolled.
    fn people(&self) -> u64;

    /// Goes through everybody: id, and template.
    ///
    /// Errors: `E-STORE-FORMAT`, `E-STORE-RECORD`, `E-IO`, and what `f` gives.
    fn for_each(&self, f: &mut dyn FnMut(&str, &[u8]) -> Result<()>) -> Result<()>;

    /// Makes changes in their order, all at once; one that cannot be made is left out, and the others are made.
    /// Returns when they will outlive a crash: for each, whether it was made.
    ///
    /// Errors, of one change: `E-ID`, `E-DUPLICATE-ID`, `E-UNKNOWN-ID`, `E-ARGUMENT`, `E-ENTROPY`. Of all, and
    /// none is made: `E-STORE-FORMAT`, `E-IO`. After `E-IO` nothing is promised before the store is opened anew.
    fn apply(&mut self, changes: &[Change<'_>]) -> Result<Vec<Result<()>>>;
}

/// A store that one process changes, for as long as this lives; others find it busy.
pub struct Writer {
    dir: PathBuf,
    sealer: Sealer,
    header: Header,
    /// Absent only while the value is dropped.
    database: Option<Database>,
}

impl Writer {
    /// Opens the store in `dir`, which exists.
    ///
    /// Errors: those of [`Store::open`]; `E-STORE-BUSY` while any other process has it open.
    pub fn open(dir: &Path) -> Result<Self> {
        // Looks at everything that there is to look at.
        let Store { dir, sealer, reader, .. } = Store::open(dir)?;
        let path = dir.join(DATABASE);
        let (database, header) = ROLE.shield(&path, || {
            drop(reader);
            let database = Database::builder().set_cache_size(CACHE).open(&path)?;
            let meta = database.begin_read()?.open_table(META)?;
            let header = meta.get(HEADER)?.map(|h| h.value().to_vec());
            Ok((database, header))
        })?;
        // Another process may have written between the two.
        let header = Header::parse(header.as_deref(), &sealer).map_err(|e| at(e, &dir))?;
        Ok(Self { dir, sealer, header, database: Some(database) })
    }

    fn database(&self) -> Result<&Database> {
        self.database.as_ref().ok_or_else(|| self.closed())
    }

    fn closed(&self) -> Error {
        at(Error::new(Kind::StoreBusy, "the store was closed"), &self.dir)
    }
}

impl Templates for Writer {
    fn dims(&self) -> usize {
        usize::from(self.header.dims)
    }

    fn people(&self) -> u64 {
        self.header.records
    }

    fn for_each(&self, f: &mut dyn FnMut(&str, &[u8]) -> Result<()>) -> Result<()> {
        let Self { dir, sealer, header, .. } = self;
        walk(dir, header, self.database()?, |id, record| {
            f(id, &unsealed(dir, sealer, header, id, record)?)
        })
    }

    /// In one transaction.
    fn apply(&mut self, changes: &[Change<'_>]) -> Result<Vec<Result<()>>> {
        let mut outcomes = Vec::with_capacity(changes.len());
        let mut records = Vec::with_capacity(changes.len());
        for change in changes {
            let record = match *change {
                Change::Enrol { id, template } => {
                    sealed(&self.dir, &self.sealer, &self.header, id, template)
                        .map(|record| (id.to_owned(), Some(record)))
                }
                Change::Remove { id } => Ok((id.to_owned(), None)),
            };
            outcomes.push(record.map(|record| records.push(record)));
        }
        let uuid = self.header.uuid;
        let (header, made) = ROLE.shield(&self.dir.join(DATABASE), || match &self.database {
            Some(database) => transact(database, &self.dir, &self.sealer, uuid, &records, false),
            None => Ok(Err(self.closed())),
        })??;
        self.header = header;
        let mut made = made.into_iter();
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
            *outcome = made.next().unwrap_or_else(|| Err(self.closed()));
        }
        Ok(outcomes)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let database = self.database.take();
        // What was changed is on the disk; there is nobody left to tell of a failure to close.
        let _ = ROLE.shield(&self.dir, || {
            drop(database);
            Ok(())
        });
    }
}

/// Who, and a sealed record for one who comes.
type Sealed = (String, Option<Vec<u8>>);

/// The new header, and what came of each change.
type Changed = (Header, Vec<Result<()>>);

/// Checks and seals a template.
fn sealed(
    dir: &Path,
    sealer: &Sealer,
    header: &Header,
    id: &str,
    template: &[u8],
) -> Result<Vec<u8>> {
    check_id(id).map_err(|what| at(Error::new(Kind::Id, what), dir))?;
    if template.len() > MAX_TEMPLATE_BYTES {
        let message = format!("the template of \"{id}\" has {} bytes", template.len());
        return Err(at(Error::new(Kind::Argument, message), dir));
    }
    sealer.seal(&header.record_context(id), template)
}

fn unsealed(
    dir: &Path,
    sealer: &Sealer,
    header: &Header,
    id: &str,
    record: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    sealer.open(&header.record_context(id), record).ok_or_else(|| {
        let message = format!("the record of id \"{id}\" was altered or is damaged");
        at(Error::new(Kind::StoreRecord, message), dir)
    })
}

/// Makes changes in one transaction: where `all` is set all of them or, with an error, none; else those that can be
/// made. Gives the new header and what came of each.
fn transact(
    database: &Database,
    dir: &Path,
    sealer: &Sealer,
    uuid: [u8; 16],
    changes: &[Sealed],
    all: bool,
) -> std::result::Result<Result<Changed>, redb::Error> {
    let transaction = database.begin_write()?;
    let mut meta = transaction.open_table(META)?;
    // Another process may have written since this one opened the store.
    let stored = meta.get(HEADER)?.map(|h| h.value().to_vec());
    let mut header = match Header::parse(stored.as_deref(), sealer) {
        Ok(header) => header,
        Err(e) => return Ok(Err(at(e, dir))),
    };
    if header.uuid != uuid {
        let message = "another store has taken this one's place";
        return Ok(Err(at(Error::new(Kind::StoreFormat, message), dir)));
    }
    let mut templates = transaction.open_table(TEMPLATES)?;
    let mut outcomes = Vec::with_capacity(changes.len());
    for (id, record) in changes {
        let known = templates.get(id.as_bytes())?.is_some();
        let fault = match record {
            Some(record) if !known => {
                templates.insert(id.as_bytes(), record.as_slice())?;
                header.records = header.records.saturating_add(1);
                None
            }
            None if known => {
                templates.remove(id.as_bytes())?;
                header.records = header.records.saturating_sub(1);
                None
            }
            Some(_) if all => {
                let message = "is enrolled already, or given twice: nobody was enrolled";
                Some((Kind::DuplicateId, message))
            }
            None if all => {
                let message = "is not enrolled, or given twice: nobody was removed";
                Some((Kind::UnknownId, message))
            }
            Some(_) => Some((Kind::DuplicateId, "is enrolled already")),
            None => Some((Kind::UnknownId, "is not enrolled")),
        };
        outcomes.push(match fault {
            None => Ok(()),
            Some((kind, what)) => {
                let error = at(Error::new(kind, format!("id \"{id}\" {what}")), dir);
                if all {
                    return Ok(Err(error));
                }
                Err(error)
            }
        });
    }
    let sealed = match header.seal(sealer) {
        Ok(sealed) => sealed,
        Err(e) => return Ok(Err(e)),
    };
    meta.insert(HEADER, sealed.as_slice())?;
    drop((meta, templates));
    transaction.commit()?;
    Ok(Ok((header, outcomes)))
}

/// Calls `f` with each id and sealed record; reads them in batches, so that `f` runs unshielded.
fn walk(
    dir: &Path,
    header: &Header,
    database: &impl ReadableDatabase,
    mut f: impl FnMut(&str, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut last: Option<Vec<u8>> = None;
    let mut records = 0;
    while records < header.records {
        let start = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let batch = ROLE.shield(dir, || {
            let table = database.begin_read()?.open_table(TEMPLATES)?;
            table
                .range::<&[u8]>((start, Bound::Unbounded))?
                .take(BATCH)
                .map(|entry| {
                    let (id, record) = entry?;
                    Ok((id.value().to_vec(), record.value().to_vec()))
                })
                .collect::<std::result::Result<Vec<_>, redb::Error>>()
        })?;
        if batch.is_empty() {
            break;
        }
        for (id, record) in batch {
            // Ids in strict order and as many as there should be: each record once.
            if last.as_ref().is_some_and(|last| *last >= id) {
                return Err(ROLE.damaged(dir, "the ids are not in order"));
            }
            let name = std::str::from_utf8(&id);
            f(name.map_err(|_| ROLE.damaged(dir, "an id is not UTF-8"))?, &record)?;
            records += 1;
            last = Some(id);
        }
    }
    if records != header.records {
        return Err(lost_records(dir, header.records, records));
    }
    Ok(())
}

/// Shows the place and size, never a key.
impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({}, {} records)", self.dir.display(), self.len())
    }
}

/// The key, as a cipher that wipes it on drop.
struct Sealer(XChaCha20Poly1305);

/// Wiping is a feature of the cipher's crate that could be lost unnoticed.
const _: fn(XChaCha20Poly1305) = {
    fn wiped_on_drop<T: ZeroizeOnDrop>(_: T) {}
    wiped_on_drop
};

impl Sealer {
    /// Reads a key file. Errors: `E-STORE-KEY`, `E-IO`.
    fn load(path: &Path) -> Result<Self> {
        Ok(Self::new(&*private_file::read(path, Kind::StoreKey)?))
    }

    /// Writes a new key file, which must not exist. Errors: `E-IO`, `E-ENTROPY`.
    fn create(path: &Path) -> Result<Self> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        fill_random(&mut *key)?;
        private_file::create(path, &*key)?;
        Ok(Self::new(&key))
    }

    fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(XChaCha20Poly1305::new(key.into()))
    }

    /// `nonce | ciphertext | tag`.
    fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = XNonce::default();
        fill_random(&mut nonce)?;
        // Exactly sized: a buffer that moved would leave the plain text behind.
        let mut sealed = Vec::with_capacity(SEAL_LEN + plain.len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = self
            .0
            .encrypt_inout_detached(&nonce, context, (&mut sealed[NONCE_LEN..]).into())
            .map_err(|_| Error::new(Kind::Argument, "too large to seal"))?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// What was sealed in `context`, if `sealed` is that and unaltered.
    fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let (text, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
        let mut text = Zeroizing::new(text.to_vec());
        let opened = self.0.decrypt_inout_detached(
            &XNonce::from(*nonce),
            context,
            text.as_mut_slice().into(),
            &(*tag).into(),
        );
        opened.ok().map(|()| text)
    }
}

/// What a header starts with.
const MAGIC: [u8; 8] = *b"symbolon";

/// What a store knows of itself.
///
/// Stored as magic (8), format (2), dimensions (2), dimensions with padding (2), UUID (16), creation
/// time (8), number of records (8), integers little-endian; then the key check and the header's seal.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    /// 1 to 512.
    dims: u16,
    uuid: [u8; 16],
    created: u64,
    records: u64,
}

impl Header {
    /// The header of a new, empty store, or `None` for an unsupported number of dimensions.
    fn new(dims: usize) -> Result<Option<Self>> {
        if !(1..=MAX_DIMS).contains(&dims) {
            return Ok(None);
        }
        let mut uuid = [0; 16];
        fill_random(&mut uuid)?;
        // RFC 9562, section 5.4: version 4, variant 10.
        uuid[6] = uuid[6] & 0x0f | 0x40;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
        Ok(Some(Self { dims: dims as u16, uuid, created, records: 0 }))
    }

    fn padded_dims(&self) -> u16 {
        match self.dims {
            0..=128 => 128,
            129..=256 => 256,
            _ => 512,
        }
    }

    fn plain(&self) -> Vec<u8> {
        let mut plain = MAGIC.to_vec();
        plain.extend_from_slice(&FORMAT.to_le_bytes());
        plain.extend_from_slice(&self.dims.to_le_bytes());
        plain.extend_from_slice(&self.padded_dims().to_le_bytes());
        plain.extend_from_slice(&self.uuid);
        plain.extend_from_slice(&self.created.to_le_bytes());
        plain.extend_from_slice(&self.records.to_le_bytes());
        plain
    }

    fn seal(&self, sealer: &Sealer) -> Result<Vec<u8>> {
        let mut header = self.plain();
        let seal = sealer.seal(&[HEADER_DOMAIN, &header].concat(), b"")?;
        header.extend_from_slice(&sealer.seal(KEY_CHECK_DOMAIN, b"")?);
        header.extend_from_slice(&seal);
        Ok(header)
    }

    /// Errors: `E-STORE-FORMAT`, `E-STORE-KEY`.
    fn parse(bytes: Option<&[u8]>, sealer: &Sealer) -> Result<Self> {
        let error = |message: &str| Error::new(Kind::StoreFormat, message);
        let mut rest = bytes.unwrap_or_default();
        if take(&mut rest) != Some(MAGIC) {
            return Err(error("is not a template store"));
        }
        let format = take(&mut rest).map(u16::from_le_bytes);
        if let Some(format) = format.filter(|&f| f != FORMAT) {
            let message = format!("the store is of version {format}: this program reads {FORMAT}");
            return Err(error(&message));
        }
        let malformed = || error("the store's header is damaged");
        let (header, padded_dims) = Self::fields(&mut rest).ok_or_else(malformed)?;
        let (key_check, seal) = rest.split_first_chunk::<SEAL_LEN>().ok_or_else(malformed)?;
        // Apart from the header's seal, so that another store's key is told from damage.
        if sealer.open(KEY_CHECK_DOMAIN, key_check).is_none() {
            let message = "the key in template.key is not this store's";
            return Err(Error::new(Kind::StoreKey, message));
        }
        sealer.open(&[HEADER_DOMAIN, &header.plain()].concat(), seal).ok_or_else(malformed)?;
        // The seal covers the padding that `dims` implies, not the one that was read.
        if padded_dims != header.padded_dims() {
            return Err(malformed());
        }
        Ok(header)
    }

    /// What follows the format: the fields, and the number of dimensions with padding.
    fn fields(rest: &mut &[u8]) -> Option<(Self, u16)> {
        let dims = u16::from_le_bytes(take(rest)?);
        let padded_dims = u16::from_le_bytes(take(rest)?);
        let uuid = take(rest)?;
        let created = u64::from_le_bytes(take(rest)?);
        let records = u64::from_le_bytes(take(rest)?);
        Some((Self { dims, uuid, created, records }, padded_dims))
    }

    /// The associated data of the record of `id`.
    fn record_context(&self, id: &str) -> Vec<u8> {
        let (format, dims) = (FORMAT.to_le_bytes(), self.dims.to_le_bytes());
        [RECORD_DOMAIN, &format, &dims, &self.uuid, id.as_bytes()].concat()
    }
}

/// Makes directory, key and database as far as they are missing.
fn create(dir: &Path, header: Header) -> Result<()> {
    private_file::create_dir(dir)?;
    // A key without a database is what an interrupted creation leaves: it is used.
    let key = dir.join(KEY);
    let key_exists = key.try_exists().map_err(|e| Error::io(&key, "look for", &e))?;
    let sealer = if key_exists { Sealer::load(&key)? } else { Sealer::create(&key)? };
    private_file::sync_dir(dir)?;

    let sealed = header.seal(&sealer)?;
    ROLE.create(&dir.join(DATABASE), |database| {
        let transaction = database.begin_write()?;
        transaction.open_table(META)?.insert(HEADER, sealed.as_slice())?;
        transaction.open_table(TEMPLATES)?;
        Ok(transaction.commit()?)
    })
}

fn lost_records(dir: &Path, expected: u64, found: u64) -> Error {
    ROLE.damaged(dir, &format!("{found} records of {expected}"))
}

fn at(error: Error, path: &Path) -> Error {
    error.in_file(path.to_string_lossy())
}

fn has_database(dir: &Path) -> Result<bool> {
    ROLE.exists(&dir.join(DATABASE))
}

/// The next `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}
