//! The receipt log: every batch that was decided and every window that was signed, in order.
//!
//! ```text
//! DIR/receipts-N.redb  parts that have ended, by the number of their first batch; and
//! DIR/receipts.redb    the one that is written: of each
//!                      table "runs": number of its first batch, from 0 -> of each batch its
//!                                    statement, its leaves
//!                      table "windows": sequence from 0 -> window statement, number of its first
//!                                       batch (8), signatures in the order of receipts, hashes of
//!                                       its batches: a receipt needs them, and not the batches
//!                      table "meta": "header" -> `SYLG`, version 4, deployment (16), where the part
//!                                       begins: batch (8), window (8), hash of the window before
//!                                    "tail" -> numbers behind its last batch (8) and window (8), how
//!                                       many runs there are (8), bytes that were written (8)
//!                                    "seal" -> 32 bytes: see below
//!                                    "ended" -> nothing, where another part follows
//! ```
//!
//! A run is what was written at once, as far as it fills redb's pages, which are powers of two: a full batch alone takes two
//! of 4 KiB and leaves half of them empty, and many records take redb longer than one.
//!
//! A part that has grown to [`Log::divide_at`] ends with its last window, and what no window signs yet is moved to the next,
//! so each is whole by itself: a moment after it gets its name, when it is closed, it is never written again, and can be copied,
//! verified, kept elsewhere or thrown away while the next is written; and what redb reads after a crash is one part. Numbers go
//! on from part to part.
//!
//! Statements and leaves are encoded as in receipts, integers little-endian. A window signs the batches
//! that follow those of the window before it, and names that window's hash. So nothing that was signed
//! can be changed, removed, added or put in another order without breaking a root or the chain:
//! [`verify`] looks at all of it.
//!
//! No signature covers the batches at the end yet, and the next run signs what it finds there. So the
//! end is sealed with each commit, under a key that the custodian alone derives ([`SealKey`]): a
//! commitment to the numbers, the last window's hash, and a chain of the hashes of the batches that no window
//! signs. Nobody appends to an end whose seal is broken, and nothing of it is signed. To open a log is to look at its end
//! only: what became of what was signed, [`verify`] tells.
//!
//! What neither prevents: whoever can write the files can cut off the end for readers, or put back an older
//! copy of all of it, seal included; and parts at the beginning may be kept elsewhere. Whoever keeps a receipt, or noted a
//! window's hash, can tell: [`Report::chain`] has every hash.
//!
//! One process writes a log, by a lock on `receipts.lock`; what it appends is on the disk when [`Log::append`] returns.

mod part;
mod read;
mod record;
mod verify;

pub use part::FILE;
pub use read::{Handle, Reader};
pub use verify::{Report, verify};

use crate::error::{Error, Kind, Result};
use crate::signer::{Attested, SignedWindow};
use arc_swap::ArcSwapOption;
use part::{
    ENDED, Ends, HEADER, META, NEXT, Part, ROLE, RUNS, SEAL, Start, TAIL, WINDOWS, Walk, checked,
};
use record::{cut_runs, decode_batch, encode_window, write_runs};
use redb::{Database, ReadableDatabase, Table};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use subtle::ConstantTimeEq;
use symbolon_core::attest::{self, Batch, BatchTree, Digest, Domain, Leaf, MAX_LEAVES, commit};
use zeroize::Zeroizing;

const SEAL_DOMAIN: Domain = Domain::new("symbolon/log-seal/v4");
const LINK: Domain = Domain::new("symbolon/log-link/v1");
/// Bytes of a batch of 32.
const FULL_BATCH: u64 = (Batch::SIZE + MAX_LEAVES * Leaf::SIZE) as u64;
/// Bytes that are soon moved to another part.
const LITTLE: u64 = 16 << 20;
/// Batches that are moved to another part at once.
const MOVED: u64 = 256;

/// What seals the end of a log: secret, and the same for all runs of a deployment
/// ([`CustodianSeeds::seal_key`](crate::keys::CustodianSeeds::seal_key)).
pub type SealKey = Zeroizing<[u8; 32]>;

/// Where a log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Batches in it, with those of parts before.
    pub batches: u64,
    /// Windows in it, likewise.
    pub windows: u64,
    /// Batches that these windows sign: the first so many.
    pub signed: u64,
    /// Hash of the last window; zeros if there is none.
    pub previous: Digest,
}

/// A log, open to be appended to. Other processes are kept out.
pub struct Log {
    dir: PathBuf,
    path: PathBuf,
    deployment: [u8; 16],
    /// Held as long as it is open.
    _lock: File,
    /// The part that is written; absent when it was closed.
    database: Arc<ArcSwapOption<Database>>,
    start: Start,
    tail: Tail,
    /// Records of batches in this part, and bytes that were written to it.
    runs: u64,
    bytes: u64,
    /// Hashes of the batches that no window signs yet, in order.
    unsigned: VecDeque<Digest>,
    /// Their chain: see [`link`].
    chain: Digest,
    seal: SealKey,
    divide_at: u64,
    /// Bytes before which that is not tried again.
    not_before: u64,
    keep: Option<usize>,
}

impl Log {
    /// Where a part ends, if nobody says otherwise.
    pub const DIVIDE_AT: u64 = 1 << 30;

    /// Opens the log in `dir`, or creates one for the deployment.
    ///
    /// Errors: `E-LOG` if its end is not what was last appended under this key: somebody else wrote it, or the newest part is
    /// not there, or an older copy of it; `E-LOG-FORMAT` if it is damaged, of another version or deployment; `E-LOG-BUSY` while another
    /// process has it open; `E-IO`, `E-ENTROPY`.
    pub fn create_or_open(dir: &Path, deployment: [u8; 16], seal: SealKey) -> Result<Self> {
        let path = dir.join(FILE);
        let lock = part::lock(dir)?;
        part::settle(dir)?;
        let before = part::finished(dir)?;
        if !ROLE.exists(&path)? {
            if !before.is_empty() {
                return Err(misplaced(&path, "there are parts of a log here, and not the newest"));
            }
            let (start, tail) = (Start::default(), Tail::default());
            ROLE.create(&path, |database| {
                let transaction = database.begin_write()?;
                transaction.open_table(RUNS)?;
                transaction.open_table(WINDOWS)?;
                let mut meta = transaction.open_table(META)?;
                meta.insert(HEADER, part::header(&deployment, &start).as_slice())?;
                let end = End { start, tail, runs: 0, bytes: 0, chain: Digest::default() };
                end.write(&seal, &mut meta)?;
                drop(meta);
                Ok(transaction.commit()?)
            })?;
        }
        let database = part::open(&path)?;
        let opened = Part::new(&path, &database)?;
        let damaged = |what: &str| ROLE.damaged(&path, what);
        let Ends { start, runs, bytes, .. } = opened.ends;
        if opened.ends.deployment != deployment {
            return Err(damaged("it is another deployment's"));
        }
        if opened.ends.ended {
            return Err(misplaced(&path, "another part follows on it, which is not there"));
        }
        if let Some((number, last)) = before.last() {
            let follows = *number < start.batches
                // Where a crash came before it was closed, redb repairs it now.
                && match part::read_finished(*number, last, |part| Ok(part.ends)) {
                    Ok(end) => {
                        end.ended
                            && end.deployment == deployment
                            && end.batches <= start.batches
                            && end.windows <= start.windows
                    }
                    // Somebody is putting it there, or it is damaged: nothing is appended to it.
                    Err(error) => {
                        let (code, message) = (error.code(), error.message());
                        tracing::warn!(code, message, "the part before cannot be read");
                        true
                    }
                };
            if !follows {
                return Err(misplaced(&path, "it does not follow on the parts before it"));
            }
        }
        part::check_name(dir, &start)?;
        let tail = tail(&opened)?;
        let mut tree = BatchTree::new();
        // The last one too where all are signed: nothing may stand behind it.
        let from = tail.signed.min(tail.batches.saturating_sub(1)).max(start.batches);
        let mut batches = Walk::from(&opened, from);
        let (mut unsigned, mut chain) = (VecDeque::new(), Digest::default());
        for number in from..tail.batches {
            let hash = match checked(batches.next()?, &deployment, &mut tree) {
                Ok(attested) => attested.batch.hash(),
                Err(fault) => return Err(broken(&path, &format!("batch {number}: {fault}"))),
            };
            if number >= tail.signed {
                unsigned.push_back(hash);
                chain = link(&chain, &hash);
            }
        }
        if !batches.is_all()? {
            return Err(broken(&path, "there is more than it says"));
        }
        let sealed = End { start, tail, runs, bytes, chain }.seal(&seal);
        if !bool::from(opened.seal()?.ct_eq(&sealed)) {
            return Err(broken(&path, "its end is not what was written last"));
        }
        let database = Arc::new(ArcSwapOption::from_pointee(database));
        let (dir, divide_at) = (dir.to_owned(), Self::DIVIDE_AT);
        Ok(Self {
            dir,
            path,
            deployment,
            _lock: lock,
            database,
            start,
            tail,
            runs,
            bytes,
            unsigned,
            chain,
            seal,
            divide_at,
            not_before: 0,
            keep: None,
        })
    }

    /// Has parts end when so many bytes were written to them, or later, where what is not signed yet is more than half of
    /// that; and the oldest removed where more than `keep` have ended: one is always kept.
    pub fn divide_at(&mut self, bytes: u64, keep: Option<usize>) {
        (self.divide_at, self.keep) = (bytes, keep.map(|keep| keep.max(1)));
    }

    /// Where it ends.
    pub fn tail(&self) -> Tail {
        self.tail
    }

    /// The deployment whose decisions it holds.
    pub fn deployment(&self) -> [u8; 16] {
        self.deployment
    }

    /// The hashes of the batches that no window signs yet, in order.
    pub fn unsigned(&self) -> impl Iterator<Item = Digest> {
        self.unsigned.iter().copied()
    }

    /// Appends batches, each with its hash, then windows of batches that were there before, in one transaction.
    /// Returns when the disk has them.
    ///
    /// Errors: `E-ARGUMENT` for a batch of another deployment, or one that has not as many leaves as it says, and for a
    /// window of batches that are not there; `E-LOG-FORMAT`, `E-IO`; nothing is then appended.
    pub fn append(
        &mut self,
        batches: &[(&Attested, Digest)],
        windows: &[&SignedWindow],
    ) -> Result<()> {
        let fits = |Attested { batch, leaves }: &Attested| {
            batch.deployment == self.deployment
                && (1..=MAX_LEAVES).contains(&leaves.len())
                && usize::from(batch.count) == leaves.len()
        };
        let signed: usize = windows.iter().map(|signed| usize::from(signed.window.count)).sum();
        if !batches.iter().all(|(attested, _)| fits(attested)) || signed > self.unsigned.len() {
            let message = "a batch or a window that nobody could read again";
            return Err(Error::new(Kind::Argument, message));
        }
        let moved = self.unsigned.len() as u64 * FULL_BATCH;
        if self.bytes >= self.divide_at.max(self.not_before)
            && self.tail.windows > self.start.windows
            && moved <= self.divide_at.max(LITTLE) / 2
        {
            self.divide()?;
        }
        let added: Vec<_> = batches.iter().map(|(attested, _)| *attested).collect();
        let hashes = || batches.iter().map(|(_, hash)| *hash);
        let Self { start, mut tail, mut runs, mut bytes, mut chain, .. } = *self;
        let database = self.database()?;
        let mut left = 0;
        ROLE.shield(&self.path, || {
            let transaction = database.begin_write()?;
            let mut table = transaction.open_table(RUNS)?;
            let more = write_runs(&mut table, tail.batches, &added)?;
            (runs, bytes) = (runs + more.0, bytes + more.1);
            tail.batches += added.len() as u64;
            drop(table);
            let mut table = transaction.open_table(WINDOWS)?;
            for signed in windows {
                let hashes = self.unsigned.range(left..).take(signed.window.count.into());
                let window = encode_window(signed, hashes);
                table.insert(tail.windows, window.as_slice())?;
                bytes += window.len() as u64;
                tail.windows += 1;
                tail.signed += u64::from(signed.window.count);
                tail.previous = signed.window.hash();
                left += usize::from(signed.window.count);
            }
            drop(table);
            // It goes on, or begins anew behind what was signed.
            chain = if left == 0 {
                hashes().fold(chain, |chain, hash| link(&chain, &hash))
            } else {
                let unsigned = self.unsigned.iter().copied().chain(hashes()).skip(left);
                unsigned.fold(Digest::default(), |chain, hash| link(&chain, &hash))
            };
            let mut meta = transaction.open_table(META)?;
            End { start, tail, runs, bytes, chain }.write(&self.seal, &mut meta)?;
            drop(meta);
            Ok(transaction.commit()?)
        })?;
        (self.tail, self.runs, self.bytes, self.chain) = (tail, runs, bytes, chain);
        self.unsigned.extend(hashes());
        self.unsigned.drain(..left.min(self.unsigned.len()));
        Ok(())
    }

    /// Ends the part where its last window ends, and goes on in another.
    ///
    /// The next is made whole first, then this one is ended, then they are renamed: wherever that stops,
    /// [`part::settle`] can tell how to go on. Where the next cannot be made, this one goes on for a while.
    ///
    /// Errors: `E-LOG-FORMAT`, `E-IO`; the log is closed then, as what it had may be in the next part.
    fn divide(&mut self) -> Result<()> {
        let old = self.database()?;
        let Tail { windows, signed, previous, .. } = self.tail;
        let start = Start { batches: signed, windows, previous };
        let (database, runs) = match self.prepare(&start, &old) {
            Ok(next) => next,
            Err(error) => {
                let (code, message) = (error.code(), error.message());
                tracing::error!(code, message, "the receipt log cannot go on in another file yet");
                self.not_before = self.bytes.saturating_add(self.divide_at.max(LITTLE) / 16);
                return Ok(());
            }
        };
        self.change_over(start, runs, database, old).inspect_err(|_| {
            let _ = self.close();
        })?;
        tracing::info!(
            batches = signed,
            "the receipt log goes on in another file: the one before has ended"
        );
        self.drop_oldest();
        Ok(())
    }

    /// Makes the part that begins there. Gives it and its runs.
    fn prepare(&self, start: &Start, old: &Database) -> Result<(Database, u64)> {
        part::check_name(&self.dir, &self.start)?;
        let next = self.dir.join(NEXT);
        match fs::remove_file(&next) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(&next, "remove", &e));
            }
            _ => {}
        }
        let runs = self.begin(&next, start, old)?;
        Ok((part::open(&next)?, runs))
    }

    /// Ends this part, and goes on in the one that begins there.
    fn change_over(
        &mut self,
        start: Start,
        runs: u64,
        database: Database,
        old: Arc<Database>,
    ) -> Result<()> {
        let signed = start.batches;
        ROLE.shield(&self.path, || {
            let transaction = old.begin_write()?;
            let runs = cut_runs(&mut transaction.open_table(RUNS)?, signed)?;
            let mut meta = transaction.open_table(META)?;
            let (tail, chain) = (Tail { batches: signed, ..self.tail }, Digest::default());
            End { start: self.start, tail, runs, bytes: self.bytes, chain }
                .write(&self.seal, &mut meta)?;
            meta.insert(ENDED, &[][..])?;
            drop(meta);
            Ok(transaction.commit()?)
        })?;
        part::advance(&self.dir, &self.start)?;
        self.database.store(Some(Arc::new(database)));
        part::close(&self.path, old)?;
        (self.start, self.runs, self.bytes, self.not_before) = (start, runs, 0, 0);
        Ok(())
    }

    /// Makes the part that begins there, with what no window signs yet. Gives its runs.
    fn begin(&self, next: &Path, start: &Start, old: &Database) -> Result<u64> {
        let old = Part::new(&self.path, old)?;
        let mut unsigned = Walk::from(&old, start.batches);
        let mut hashes = self.unsigned.iter();
        let (mut runs, mut failed) = (0, None);
        let mut chunk = |size: u64| {
            let other = || ROLE.damaged(&self.path, "a batch is not what was written");
            let next = |_| match unsigned.next()?.map(decode_batch) {
                Some(Ok(batch)) if hashes.next() == Some(&batch.batch.hash()) => Ok(batch),
                _ => Err(other()),
            };
            (0..size).map(next).collect::<Result<Vec<_>>>()
        };
        let made = ROLE.create(next, |database| {
            let transaction = database.begin_write()?;
            let mut table = transaction.open_table(RUNS)?;
            let mut number = start.batches;
            while number < self.tail.batches {
                let some = chunk(MOVED.min(self.tail.batches - number)).map_err(|error| {
                    failed = Some(error);
                    redb::Error::Corrupted(String::new())
                })?;
                runs += write_runs(&mut table, number, &some.iter().collect::<Vec<_>>())?.0;
                number += some.len() as u64;
            }
            drop(table);
            transaction.open_table(WINDOWS)?;
            let mut meta = transaction.open_table(META)?;
            meta.insert(HEADER, part::header(&self.deployment, start).as_slice())?;
            let (start, tail, chain) = (*start, self.tail, self.chain);
            // What is only moved does not count: a part that is long in being signed would be divided again and again.
            End { start, tail, runs, bytes: 0, chain }.write(&self.seal, &mut meta)?;
            drop(meta);
            Ok(transaction.commit()?)
        });
        match failed {
            Some(error) => Err(error),
            None => made.map(|()| runs),
        }
    }

    /// Where it fails, it is no reason to decide nothing any more.
    fn drop_oldest(&self) {
        let Some(keep) = self.keep else { return };
        let ended = part::finished(&self.dir).unwrap_or_else(|e| {
            let (code, message) = (e.code(), e.message());
            tracing::error!(code, message, "the oldest parts of the receipt log are not found");
            Vec::new()
        });
        for (number, path) in ended.iter().take(ended.len().saturating_sub(keep)) {
            match fs::remove_file(path) {
                Ok(()) => tracing::info!(first_batch = number, "the oldest part was removed"),
                Err(e) => tracing::error!(error = %e, "the oldest part could not be removed"),
            }
        }
    }

    /// Whoever reads it in this process meanwhile.
    pub fn handle(&self) -> Handle {
        Handle::new(self.dir.clone(), Arc::clone(&self.database))
    }

    fn database(&self) -> Result<Arc<Database>> {
        self.database.load_full().ok_or_else(|| {
            let error = Error::new(Kind::Io, "the receipt log was closed when it failed");
            error.in_file(self.path.to_string_lossy())
        })
    }

    fn close(&self) -> Result<()> {
        part::close(&self.path, self.database.swap(None))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // What was appended is on the disk; there is nobody left to tell of a failure to close.
        let _ = self.close();
    }
}

fn broken(path: &Path, what: &str) -> Error {
    let message = format!("{what}: somebody else wrote it, so nothing is appended or signed");
    Error::new(Kind::Log, message).in_file(path.to_string_lossy())
}

fn misplaced(path: &Path, what: &str) -> Error {
    let message =
        format!("{what}: somebody moved it, or put an older copy here; nothing is appended");
    Error::new(Kind::Log, message).in_file(path.to_string_lossy())
}

/// The chain of unsigned batches with one more, so that a commit need not hash all of them again; of none it is
/// zeros.
fn link(chain: &Digest, hash: &Digest) -> Digest {
    attest::hash(LINK, &[chain, hash])
}

/// What is noted of a part's end.
struct End {
    start: Start,
    tail: Tail,
    runs: u64,
    bytes: u64,
    chain: Digest,
}

impl End {
    fn seal(&self, key: &SealKey) -> Digest {
        let Self { start, tail, runs, bytes, chain } = self;
        let numbers = [start.batches, start.windows, tail.batches, tail.windows, tail.signed];
        let mut end = numbers.map(u64::to_le_bytes).concat();
        end.extend([*runs, *bytes].map(u64::to_le_bytes).as_flattened());
        end.extend([start.previous, tail.previous, *chain].as_flattened());
        commit(SEAL_DOMAIN, key, &end)
    }

    fn write(
        &self,
        key: &SealKey,
        meta: &mut Table<'_, &'static [u8], &'static [u8]>,
    ) -> std::result::Result<(), redb::Error> {
        let Self { tail, runs, bytes, .. } = self;
        let counts = [tail.batches, tail.windows, *runs, *bytes].map(u64::to_le_bytes);
        meta.insert(TAIL, counts.as_flattened())?;
        meta.insert(SEAL, self.seal(key).as_slice())?;
        Ok(())
    }
}

/// Where to append to a part.
fn tail(part: &Part<'_, impl ReadableDatabase>) -> Result<Tail> {
    let Ends { start, batches, windows, runs, .. } = part.ends;
    let damaged = |what: &str| ROLE.damaged(part.path, what);
    if part.counts()? != (runs, windows - start.windows)
        || part.last_window()? != part.said_last_window()
    {
        return Err(damaged("it holds more or fewer records than it says"));
    }
    let (signed, previous) = (start.batches, start.previous);
    let mut tail = Tail { batches, windows, signed, previous };
    if let Some(last) = part.said_last_window() {
        let last = part.window(last)?;
        let (last, _) = last.ok_or_else(|| damaged("the last window is missing"))?;
        tail.signed = last.first + u64::from(last.window.count);
        tail.previous = last.window.hash();
    }
    if tail.signed > tail.batches || tail.signed < start.batches {
        return Err(damaged("a window signs other batches than there are"));
    }
    Ok(tail)
}
