//! One file of a log.

use redb::{
    AccessGuard, Database, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableDefinition,
};
use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};
use symbolon_core::attest::{BatchTree, Digest, WindowPath, WindowTree};

use super::record::{MAX_RUN, decode_batch, decode_window, reach, split};
use crate::database::{self, Role};
use crate::error::{Error, Kind, Result};
use crate::isa;
use crate::private_file;
use crate::signer::{self, Attested, SignedWindow};

/// The name of the part that is written.
pub const FILE: &str = "receipts.redb";
/// The part that is to follow on it, while it is made.
pub const NEXT: &str = "receipts.next.redb";
/// Locked by whoever writes; empty, and of no use while nobody does.
const LOCK: &str = "receipts.lock";

pub const ROLE: Role = Role { name: "receipt log", format: Kind::LogFormat, busy: Kind::LogBusy };
pub const RUNS: TableDefinition<u64, &[u8]> = TableDefinition::new("runs");
pub const WINDOWS: TableDefinition<u64, &[u8]> = TableDefinition::new("windows");
pub const META: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta");
pub const HEADER: &[u8] = b"header";
pub const TAIL: &[u8] = b"tail";
pub const SEAL: &[u8] = b"seal";
pub const ENDED: &[u8] = b"ended";
const MAGIC: [u8; 4] = *b"SYLG";
const VERSION: u8 = 4;

/// Where a part begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Number of its first batch.
    pub batches: u64,
    /// Sequence of its first window.
    pub windows: u64,
    /// Hash of the window before; zeros if there is none.
    pub previous: Digest,
}

/// What a part says of itself.
#[derive(Clone, Copy, Default)]
pub struct Ends {
    pub deployment: [u8; 16],
    pub start: Start,
    /// The number behind its last batch, and that behind its last window.
    pub batches: u64,
    pub windows: u64,
    pub runs: u64,
    /// What was written to it.
    pub bytes: u64,
    /// Whether another follows.
    pub ended: bool,
}

pub fn header(deployment: &[u8; 16], start: &Start) -> Vec<u8> {
    let numbers = [start.batches, start.windows].map(u64::to_le_bytes);
    [&MAGIC[..], &[VERSION], deployment, numbers.as_flattened(), &start.previous].concat()
}

/// The parts in `dir` that have ended, in order: the numbers of their first batches, by their names.
pub fn finished(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let error = |e| Error::io(dir, "look for parts of the receipt log in", &e);
    let mut parts = Vec::new();
    for entry in fs::read_dir(dir).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("receipts-"));
        let number = number.and_then(|rest| rest.strip_suffix(".redb")?.parse().ok());
        // Of one spelling: another's are somebody else's.
        let number = number.filter(|number| *name == *name_of(*number));
        // A link may lead to another disk.
        if let Some(number) = number
            && fs::metadata(entry.path()).is_ok_and(|found| found.is_file())
        {
            parts.push((number, entry.path()));
        }
    }
    parts.sort();
    Ok(parts)
}

/// The file of a part that has ended and begins with this batch.
fn name_of(batch: u64) -> String {
    format!("receipts-{batch:016}.redb")
}

/// Fails where something has the name that the part is to have once it has ended.
pub fn check_name(dir: &Path, start: &Start) -> Result<PathBuf> {
    let to = dir.join(name_of(start.batches));
    match fs::symlink_metadata(&to) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(to),
        Err(e) => Err(Error::io(&to, "look for", &e)),
        Ok(_) => Err(ROLE.damaged(&to, "the part that is to end now has this name")),
    }
}

/// Whether somebody writes the log in `dir`.
pub fn is_written(dir: &Path) -> bool {
    let would_block = |file: File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    File::open(dir.join(LOCK)).is_ok_and(would_block)
}

/// What `take` makes of a part that has ended, and has this number in its name.
pub fn read_finished<T>(
    number: u64,
    path: &Path,
    take: impl FnOnce(&Part<'_, ReadOnlyDatabase>) -> Result<T>,
) -> Result<T> {
    let database = ROLE.open_reader(path)?;
    let taken = Part::new(path, &database).and_then(|part| {
        if part.ends.start.batches != number {
            let message = "it begins with another batch than its name says";
            return Err(Error::new(Kind::Log, message).in_file(path.to_string_lossy()));
        }
        take(&part)
    });
    close(path, database)?;
    taken
}

/// Keeps others from writing the log in `dir`, be it between two of its parts, until it is dropped.
pub fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let error = |e| Error::io(&path, "open", &e);
    let file = options.open(&path).map_err(error)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let [ours, theirs] = [file.metadata().map_err(error)?, dir.metadata().map_err(error)?];
        if ours.uid() != theirs.uid() {
            // Root's, it would keep out whoever has the directory. They may make another.
            let _ = fchown(&file, Some(theirs.uid()), Some(theirs.gid()));
        }
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = "another process has the log open";
            Err(Error::new(Kind::LogBusy, message).in_file(dir.join(FILE).to_string_lossy()))
        }
        Err(TryLockError::Error(e)) => Err(Error::io(&path, "lock", &e)),
    }
}

/// Opens a part to write it. After a crash it is repaired, which reads all of it.
pub fn open(path: &Path) -> Result<Database> {
    ROLE.shield(path, || {
        let mut builder = Database::builder();
        builder.set_cache_size(database::CACHE).set_repair_callback(|session| {
            let percent = (100.0 * session.progress()) as u32;
            tracing::warn!(percent, "the receipt log was left open by a crash: repairing it");
        });
        Ok(builder.open(path)?)
    })
}

/// Puts the part that is written among those that have ended, and the next in its place.
pub fn advance(dir: &Path, ended: &Start) -> Result<()> {
    let (path, to) = (dir.join(FILE), check_name(dir, ended)?);
    fs::rename(&path, &to).map_err(|e| Error::io(&path, "rename", &e))?;
    // Not after the other: it would take this one's last name.
    private_file::sync_dir(dir)?;
    install(dir)
}

fn install(dir: &Path) -> Result<()> {
    let next = dir.join(NEXT);
    fs::rename(&next, dir.join(FILE)).map_err(|e| Error::io(&next, "rename", &e))?;
    private_file::sync_dir(dir)
}

/// Brings to its end what a crash cut short between two parts, for whoever has the log's lock.
pub fn settle(dir: &Path) -> Result<()> {
    let (path, next) = (dir.join(FILE), dir.join(NEXT));
    // What was not yet whole.
    let error = |e| Error::io(dir, "look through", &e);
    for entry in fs::read_dir(dir).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name();
        let end = name.to_str().and_then(|name| name.strip_prefix(NEXT)?.strip_prefix('.'));
        let is_ours = end
            .is_some_and(|end| end.len() == 16 && end.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if is_ours && entry.file_type().map_err(error)?.is_file() {
            fs::remove_file(entry.path()).map_err(|e| Error::io(&entry.path(), "remove", &e))?;
        }
    }
    if !ROLE.exists(&next)? {
        return Ok(());
    }
    if !ROLE.exists(&path)? {
        return install(dir);
    }
    let database = open(&path)?;
    let ends = Part::new(&path, &database)?.ends;
    if ends.ended {
        advance(dir, &ends.start)?;
    } else {
        fs::remove_file(&next).map_err(|e| Error::io(&next, "remove", &e))?;
    }
    close(&path, database)
}

/// Lets go of a database, which may read its pages once more.
pub fn close<D>(path: &Path, database: D) -> Result<()> {
    ROLE.shield(path, || {
        drop(database);
        Ok(())
    })
}

/// What became of a request whose batch was looked for.
pub enum Found {
    /// Its receipt was written.
    Receipt,
    /// No window signs its batch yet.
    Unsigned,
    /// No batch has it.
    Nothing,
}

/// A file that is open, and what it said of itself then.
pub struct Part<'a, D> {
    pub path: &'a Path,
    database: &'a D,
    pub ends: Ends,
}

impl<'a, D: ReadableDatabase> Part<'a, D> {
    /// Errors: `E-LOG-FORMAT`, `E-IO`.
    pub fn new(path: &'a Path, database: &'a D) -> Result<Self> {
        Ok(Self { path, database, ends: ends(path, database)? })
    }

    fn damaged(&self, what: &str) -> Error {
        ROLE.damaged(self.path, what)
    }

    /// How many runs and windows there are.
    pub fn counts(&self) -> Result<(u64, u64)> {
        ROLE.shield(self.path, || {
            let transaction = self.database.begin_read()?;
            Ok((transaction.open_table(RUNS)?.len()?, transaction.open_table(WINDOWS)?.len()?))
        })
    }

    /// The number of the last window, if there is one.
    pub fn last_window(&self) -> Result<Option<u64>> {
        ROLE.shield(self.path, || {
            let table = self.database.begin_read()?.open_table(WINDOWS)?;
            Ok(table.last()?.map(|(number, _)| number.value()))
        })
    }

    /// What it says that number is.
    pub fn said_last_window(&self) -> Option<u64> {
        (self.ends.windows > self.ends.start.windows).then(|| self.ends.windows - 1)
    }

    pub fn seal(&self) -> Result<Vec<u8>> {
        ROLE.shield(self.path, || {
            let meta = self.database.begin_read()?.open_table(META)?;
            Ok(meta.get(SEAL)?.map(|value| value.value().to_vec()).unwrap_or_default())
        })
    }

    pub fn raw_window(&self, n: u64) -> Result<Option<Vec<u8>>> {
        ROLE.shield(self.path, || {
            let table = self.database.begin_read()?.open_table(WINDOWS)?;
            Ok(table.get(n)?.map(|value| value.value().to_vec()))
        })
    }

    /// A window and the hashes of its batches.
    pub fn window(&self, n: u64) -> Result<Option<(SignedWindow, Vec<Digest>)>> {
        let decoded = self.raw_window(n)?.map(|bytes| decode_window(&bytes)).transpose();
        decoded.map_err(|e| self.damaged(&format!("window {n}: {e}")))
    }

    /// The window that signs a batch, if one does, and the hashes of its batches.
    fn window_of(&self, batch: u64) -> Result<Option<(SignedWindow, Vec<Digest>)>> {
        let missing = || self.damaged("a window is missing");
        let (mut low, mut high) = (self.ends.start.windows, self.ends.windows);
        while low < high {
            let middle = low + (high - low) / 2;
            let [first, end] = ROLE
                .shield(self.path, || {
                    let table = self.database.begin_read()?.open_table(WINDOWS)?;
                    Ok(table.get(middle)?.and_then(|value| reach(value.value())))
                })?
                .ok_or_else(missing)?;
            if batch < first {
                high = middle;
            } else if batch >= end {
                low = middle + 1;
            } else {
                return Ok(Some(self.window(middle)?.ok_or_else(missing)?));
            }
        }
        Ok(None)
    }

    fn batch(&self, n: u64) -> Result<Option<Attested>> {
        let bytes = self.seek(n, None, |run| split(run).0)?;
        let decoded = bytes.map(|(_, bytes)| decode_batch(&bytes)).transpose();
        decoded.map_err(|e| self.damaged(&format!("batch {n}: {e}")))
    }

    /// Appends the receipt of a request to `out`: of those of these batches that it has, from the last one that has the
    /// request.
    pub fn receipt(
        &self,
        request: &[u8; 16],
        numbers: Range<u64>,
        out: &mut Vec<u8>,
    ) -> Result<Found> {
        let Ends { start, batches, .. } = self.ends;
        for number in (numbers.start.max(start.batches)..numbers.end.min(batches)).rev() {
            let found = self.batch(number)?.ok_or_else(|| self.damaged("a batch is missing"))?;
            let Some(lane) = found.leaves.iter().position(|leaf| leaf.request == *request) else {
                continue;
            };
            let Some((signed, hashes)) = self.window_of(number)? else {
                return Ok(Found::Unsigned);
            };
            let mut tree = bytemuck::zeroed_box::<WindowTree>();
            let index = (number - signed.first) as usize;
            let mut path = WindowPath::EMPTY;
            let root = tree.build(isa::fastest(), &hashes);
            if root.map_err(|e| self.damaged(&e.to_string()))? != signed.window.root {
                return Err(self.damaged("a window lists other batches than it signs"));
            }
            tree.path(index, &mut path).map_err(|e| self.damaged(&e.to_string()))?;
            found.receipts(lane..lane + 1, &signed, index as u16, path, out)?;
            return Ok(Found::Receipt);
        }
        Ok(Found::Nothing)
    }

    /// What `take` makes of the run that has this batch, from there to its end, and with which batch it begins: the one that
    /// follows on the run that begins with batch `after`, or any.
    fn seek(
        &self,
        number: u64,
        after: Option<u64>,
        take: impl FnOnce(&[u8]) -> &[u8],
    ) -> Result<Option<(u64, Vec<u8>)>> {
        ROLE.shield(self.path, || {
            let table = self.database.begin_read()?.open_table(RUNS)?;
            let found = match after {
                None => table.range(..=number)?.next_back().transpose()?,
                Some(after) => {
                    following(&table, after)?.filter(|(first, _)| first.value() == number)
                }
            };
            let Some((first, run)) = found else { return Ok(None) };
            let (mut rest, mut at) = (run.value(), first.value());
            // Nobody wrote longer ones, which would be gone through for every batch in them.
            if rest.len() > MAX_RUN {
                return Ok(None);
            }
            while at < number && !rest.is_empty() {
                (rest, at) = (split(rest).1, at + 1);
            }
            Ok((!rest.is_empty()).then(|| (first.value(), take(rest).to_vec())))
        })
    }
}

fn ends(path: &Path, database: &impl ReadableDatabase) -> Result<Ends> {
    let (header, counts, ended) = ROLE.shield(path, || {
        let meta = database.begin_read()?.open_table(META)?;
        let get = |key: &[u8]| -> std::result::Result<_, redb::Error> {
            Ok(meta.get(key)?.map(|value| value.value().to_vec()).unwrap_or_default())
        };
        Ok((get(HEADER)?, get(TAIL)?, meta.get(ENDED)?.is_some()))
    })?;
    let damaged = |what: &str| ROLE.damaged(path, what);
    let nonsense = || damaged("its header makes no sense");
    let fields = header.strip_prefix(&MAGIC).and_then(|rest| rest.split_first());
    let (version, rest) = fields.ok_or_else(nonsense)?;
    if *version != VERSION {
        let message = format!("the log is of version {version}: this program reads {VERSION}");
        return Err(Error::new(Kind::LogFormat, message).in_file(path.to_string_lossy()));
    }
    let fields = || -> Option<([u8; 16], Start)> {
        let (deployment, rest) = rest.split_first_chunk()?;
        let (batches, rest) = rest.split_first_chunk()?;
        let (windows, rest) = rest.split_first_chunk()?;
        let [batches, windows] = [*batches, *windows].map(u64::from_le_bytes);
        Some((*deployment, Start { batches, windows, previous: rest.try_into().ok()? }))
    };
    let (deployment, start) = fields().ok_or_else(nonsense)?;
    let ([batches, windows, runs, bytes], []) = counts.as_chunks() else {
        return Err(damaged("its end is not noted"));
    };
    let [batches, windows, runs, bytes] =
        [*batches, *windows, *runs, *bytes].map(u64::from_le_bytes);
    if batches < start.batches || windows < start.windows {
        return Err(damaged("it ends before it begins"));
    }
    // What comes before the first window is nothing.
    if start.windows == 0 && start != Start::default() {
        return Err(nonsense());
    }
    Ok(Ends { deployment, start, batches, windows, runs, bytes, ended })
}

type Record<'a> = (AccessGuard<'a, u64>, AccessGuard<'a, &'static [u8]>);

/// The record after that of this number.
fn following(
    table: &ReadOnlyTable<u64, &'static [u8]>,
    number: u64,
) -> std::result::Result<Option<Record<'static>>, redb::Error> {
    Ok(table.range((Bound::Excluded(number), Bound::Unbounded))?.next().transpose()?)
}

/// Batches in order, each of which stands where the one before it ends.
pub struct Walk<'a, D> {
    part: &'a Part<'a, D>,
    /// The next batch.
    number: u64,
    /// What holds it, and where in it.
    run: Vec<u8>,
    at: usize,
    /// With which batch that begins.
    first: Option<u64>,
    /// How many were read.
    pub runs: u64,
}

impl<'a, D: ReadableDatabase> Walk<'a, D> {
    pub fn from(part: &'a Part<'a, D>, number: u64) -> Self {
        Self { part, number, run: Vec::new(), at: 0, first: None, runs: 0 }
    }

    fn at_end_of_run(&self) -> bool {
        self.at == self.run.len()
    }

    /// Whether nothing is left behind the last batch that was read.
    pub fn is_all(&self) -> Result<bool> {
        let more = ROLE.shield(self.part.path, || {
            let table = self.part.database.begin_read()?.open_table(RUNS)?;
            match self.first {
                Some(first) => Ok(following(&table, first)?.is_some()),
                None => Ok(table.first()?.is_some()),
            }
        })?;
        Ok(self.at_end_of_run() && !more)
    }

    /// The next batch, if it is there.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.at_end_of_run() {
            // The first may be within a run; each of the others begins one, with none between.
            let found = self.part.seek(self.number, self.first, |run| run)?;
            let Some((first, run)) = found else { return Ok(None) };
            (self.first, self.run, self.at) = (Some(first), run, 0);
            self.runs += 1;
        }
        let (batch, _) = split(&self.run[self.at..]);
        self.at += batch.len();
        self.number += 1;
        Ok(Some(batch))
    }
}

/// A batch whose leaves lead to its root, or what is wrong with it.
pub fn checked(
    bytes: Option<&[u8]>,
    deployment: &[u8; 16],
    tree: &mut BatchTree,
) -> std::result::Result<Attested, String> {
    let Some(bytes) = bytes else {
        return Err("it is missing, or something is in its place".into());
    };
    let attested = decode_batch(bytes).map_err(|e| format!("it is damaged: {e}"))?;
    if attested.batch.deployment != *deployment {
        return Err("it is another deployment's".into());
    }
    match signer::tree(&attested.leaves, tree) {
        Ok(root) if root == attested.batch.root => Ok(attested),
        _ => Err("its decisions are not those of its root".into()),
    }
}
