//! The receipt log: every batch that was decided and every window that was signed, in order.
//!
//! ```text
//! DIR/receipts.redb    table "runs": number of its first batch, from 0 -> of each batch its
//!                                    statement, its leaves
//!                      table "windows": sequence from 0 -> window statement, number of its first
//!                                       batch (8), signatures in the order of receipts, hashes of
//!                                       its batches: a receipt needs them, and not the batches
//!                      table "meta": "header" -> `SYLG`, version 3, deployment (16)
//!                                    "tail" -> number of batches (8), of windows (8), of runs (8)
//!                                    "seal" -> 32 bytes: see below
//! ```
//!
//! A run is what was written at once, as far as it fills redb's pages, which are powers of two: a full batch alone takes two
//! of 4 KiB and leaves half of them empty, and many records take redb longer than one.
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
//! What neither prevents: whoever can write the file can cut off its end for readers, or put back an older
//! copy of all of it, seal included. Whoever keeps a receipt, or noted a window's hash, can tell:
//! [`Report::chain`] has every hash.
//!
//! One process writes a log; what it appends is on the disk when [`Log::append`] returns.

use crate::database::Role;
use crate::error::{Error, Kind, Result};
use crate::isa;
use crate::keyring::Keyring;
use crate::signer::{self, Attested, SignatureSet, SignedWindow};
use redb::{
    AccessGuard, Database, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableDefinition,
};
use std::collections::VecDeque;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use subtle::ConstantTimeEq;
use symbolon_core::attest::{
    self, Batch, BatchTree, Digest, Domain, Error as AttestError, Leaf, MAX_BATCHES, MAX_LEAVES,
    Window, WindowPath, WindowTree, commit,
};
use zeroize::Zeroizing;

/// The file's name.
pub const FILE: &str = "receipts.redb";

const ROLE: Role = Role { name: "receipt log", format: Kind::LogFormat, busy: Kind::LogBusy };
const RUNS: TableDefinition<u64, &[u8]> = TableDefinition::new("runs");
const WINDOWS: TableDefinition<u64, &[u8]> = TableDefinition::new("windows");
const META: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta");
const HEADER: &[u8] = b"header";
const TAIL: &[u8] = b"tail";
const SEAL: &[u8] = b"seal";
const SEAL_DOMAIN: Domain = Domain::new("symbolon/log-seal/v3");
const LINK: Domain = Domain::new("symbolon/log-link/v1");
const MAGIC: [u8; 4] = *b"SYLG";
const VERSION: u8 = 3;
/// Bytes that redb may keep in memory: a log is written at its end.
const CACHE: usize = 16 << 20;
/// Bytes of a page of redb's, which it has powers of two of.
const PAGE: usize = 4096;
/// What a page holds beside a value, with some to spare.
const PAGE_HEAD: usize = 64;
/// Pages of a run at most, since a receipt reads all of it.
const RUN_PAGES: usize = 16;

/// What seals the end of a log: secret, and the same for all runs of a deployment
/// ([`CustodianSeeds::seal_key`](crate::keys::CustodianSeeds::seal_key)).
pub type SealKey = Zeroizing<[u8; 32]>;

/// Where a log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Batches in it.
    pub batches: u64,
    /// Windows in it.
    pub windows: u64,
    /// Batches that these windows sign: the first so many.
    pub signed: u64,
    /// Hash of the last window; zeros if there is none.
    pub previous: Digest,
}

/// A log, open to be appended to. Other processes are kept out.
pub struct Log {
    path: PathBuf,
    deployment: [u8; 16],
    /// Absent only while the value is dropped.
    database: Option<Arc<Database>>,
    tail: Tail,
    /// Records of batches.
    runs: u64,
    /// Hashes of the batches that no window signs yet, in order.
    unsigned: VecDeque<Digest>,
    /// Their chain: see [`link`].
    chain: Digest,
    seal: SealKey,
}

impl Log {
    /// Opens the log in `dir`, or creates one for the deployment.
    ///
    /// Errors: `E-LOG` if its end is not what was last appended under this key: somebody else wrote it;
    /// `E-LOG-FORMAT` if it is damaged, of another version or deployment; `E-LOG-BUSY` while another
    /// process has it open; `E-IO`, `E-ENTROPY`.
    pub fn create_or_open(dir: &Path, deployment: [u8; 16], seal: SealKey) -> Result<Self> {
        let path = dir.join(FILE);
        if !ROLE.exists(&path)? {
            let sealed = seal_of(&seal, &Tail::default(), 0, &Digest::default());
            let header = [&MAGIC[..], &[VERSION], &deployment].concat();
            ROLE.create(&path, |database| {
                let transaction = database.begin_write()?;
                let mut meta = transaction.open_table(META)?;
                meta.insert(HEADER, header.as_slice())?;
                meta.insert(TAIL, [0; 24].as_slice())?;
                meta.insert(SEAL, sealed.as_slice())?;
                drop(meta);
                transaction.open_table(RUNS)?;
                transaction.open_table(WINDOWS)?;
                Ok(transaction.commit()?)
            })?;
        }
        let database =
            ROLE.shield(&path, || Ok(Database::builder().set_cache_size(CACHE).open(&path)?))?;
        let (tail, unsigned, chain) = (Tail::default(), VecDeque::new(), Digest::default());
        let database = Some(Arc::new(database));
        let mut log = Self { path, deployment, database, tail, runs: 0, unsigned, chain, seal };
        let (ends, tail) = self::tail(&log.path, log.database()?)?;
        if ends.deployment != log.deployment {
            return Err(log.damaged("it is another deployment's"));
        }
        (log.tail, log.runs) = (tail, ends.runs);
        let mut tree = BatchTree::new();
        // The last one too where all are signed: nothing may stand behind it.
        let from = tail.signed.min(tail.batches.saturating_sub(1));
        let mut batches = Walk::from(&log.path, log.database()?, from);
        let (mut unsigned, mut chain) = (VecDeque::new(), Digest::default());
        for number in from..tail.batches {
            let hash = match checked(batches.next()?, &log.deployment, &mut tree) {
                Ok(attested) => attested.batch.hash(),
                Err(fault) => return Err(log.broken(&format!("batch {number}: {fault}"))),
            };
            if number >= tail.signed {
                unsigned.push_back(hash);
                chain = link(&chain, &hash);
            }
        }
        if !batches.is_all()? {
            return Err(log.broken("there is more than it says"));
        }
        (log.unsigned, log.chain) = (unsigned, chain);
        let sealed = seal_of(&log.seal, &tail, log.runs, &log.chain);
        if !bool::from(stored_seal(&log.path, log.database()?)?.ct_eq(&sealed)) {
            return Err(log.broken("its end is not what was written last"));
        }
        Ok(log)
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
        let (mut tail, mut runs) = (self.tail, self.runs);
        let database = self.database()?;
        let added = || batches.iter().map(|(_, hash)| *hash);
        let (mut left, mut chain) = (0, self.chain);
        ROLE.shield(&self.path, || {
            let transaction = database.begin_write()?;
            let mut table = transaction.open_table(RUNS)?;
            let mut rest = batches;
            let mut bytes: usize = rest.iter().map(|(attested, _)| size_of_batch(attested)).sum();
            while !rest.is_empty() {
                let run = run(rest.iter().map(|(attested, _)| size_of_batch(attested)), bytes);
                let (some, others) = rest.split_at(run.batches);
                let mut value = table.insert_reserve(tail.batches, run.bytes)?;
                let mut to = value.as_mut();
                for (attested, _) in some {
                    to = encode_batch(attested, to);
                }
                drop(value);
                tail.batches += run.batches as u64;
                runs += 1;
                bytes -= run.bytes;
                rest = others;
            }
            drop(table);
            let mut table = transaction.open_table(WINDOWS)?;
            for signed in windows {
                let hashes = self.unsigned.range(left..).take(signed.window.count.into());
                table.insert(tail.windows, encode_window(signed, hashes).as_slice())?;
                tail.windows += 1;
                tail.signed += u64::from(signed.window.count);
                tail.previous = signed.window.hash();
                left += usize::from(signed.window.count);
            }
            drop(table);
            let counts = [tail.batches, tail.windows, runs].map(u64::to_le_bytes);
            let mut meta = transaction.open_table(META)?;
            meta.insert(TAIL, counts.as_flattened())?;
            // It goes on, or begins anew behind what was signed.
            chain = if left == 0 {
                added().fold(self.chain, |chain, hash| link(&chain, &hash))
            } else {
                let unsigned = self.unsigned.iter().copied().chain(added()).skip(left);
                unsigned.fold(Digest::default(), |chain, hash| link(&chain, &hash))
            };
            meta.insert(SEAL, seal_of(&self.seal, &tail, runs, &chain).as_slice())?;
            drop(meta);
            Ok(transaction.commit()?)
        })?;
        (self.tail, self.runs, self.chain) = (tail, runs, chain);
        self.unsigned.extend(added());
        self.unsigned.drain(..left.min(self.unsigned.len()));
        Ok(())
    }

    /// Whoever reads it in this process meanwhile.
    pub fn handle(&self) -> Handle {
        let database = self.database.as_ref().map_or_else(Weak::new, Arc::downgrade);
        Handle { path: self.path.clone(), database }
    }

    fn database(&self) -> Result<&Database> {
        self.database.as_deref().ok_or_else(|| self.damaged("it was closed"))
    }

    fn damaged(&self, what: &str) -> Error {
        ROLE.damaged(&self.path, what)
    }

    fn broken(&self, what: &str) -> Error {
        let message = format!("{what}: somebody else wrote it, so nothing is appended or signed");
        Error::new(Kind::Log, message).in_file(self.path.to_string_lossy())
    }
}

/// The chain of unsigned batches with one more, so that a commit need not hash all of them again; of none it is
/// zeros.
fn link(chain: &Digest, hash: &Digest) -> Digest {
    attest::hash(LINK, &[chain, hash])
}

/// The seal of a log that ends so.
fn seal_of(key: &SealKey, tail: &Tail, runs: u64, chain: &Digest) -> Digest {
    let mut end = [tail.batches, tail.windows, runs, tail.signed].map(u64::to_le_bytes).concat();
    end.extend_from_slice(&tail.previous);
    end.extend_from_slice(chain);
    commit(SEAL_DOMAIN, key, &end)
}

fn stored_seal(path: &Path, database: &impl ReadableDatabase) -> Result<Vec<u8>> {
    ROLE.shield(path, || {
        let meta = database.begin_read()?.open_table(META)?;
        Ok(meta.get(SEAL)?.map(|value| value.value().to_vec()).unwrap_or_default())
    })
}

impl Drop for Log {
    fn drop(&mut self) {
        let database = self.database.take();
        // What was appended is on the disk; there is nobody left to tell of a failure to close.
        let _ = ROLE.shield(&self.path, || {
            drop(database);
            Ok(())
        });
    }
}

/// A log, open to be read by any number of processes while none writes.
pub struct Reader {
    path: PathBuf,
    database: ReadOnlyDatabase,
    ends: Ends,
}

impl Reader {
    /// Opens the log in `dir`. Errors: `E-LOG-FORMAT`, `E-LOG-BUSY`, `E-IO`.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        if !ROLE.exists(&path)? {
            let message = format!("no receipt log here: there is no {FILE}");
            return Err(Error::new(Kind::LogFormat, message).in_file(dir.to_string_lossy()));
        }
        let database = ROLE.open_reader(&path)?;
        let ends = ends(&path, &database)?;
        Ok(Self { path, database, ends })
    }

    /// The deployment whose decisions it holds.
    pub fn deployment(&self) -> [u8; 16] {
        self.ends.deployment
    }

    /// How many batches it says it holds.
    pub fn batches(&self) -> u64 {
        self.ends.batches
    }

    /// How many windows it says it holds.
    pub fn windows(&self) -> u64 {
        self.ends.windows
    }

    /// Appends the receipt of a request to `out`: the request's batch is looked for from the newest
    /// on. Whoever gets it verifies it.
    ///
    /// Errors: `E-UNKNOWN-REQUEST` if the log has no such request, or no window signs its batch yet;
    /// `E-LOG-FORMAT`, `E-IO`.
    pub fn receipt(&self, request: &[u8; 16], out: &mut Vec<u8>) -> Result<()> {
        let Self { path, database, ends } = self;
        let numbers = (0..ends.batches).rev();
        match append_receipt(path, database, ends, request, numbers, out)? {
            Found::Receipt => Ok(()),
            Found::Unsigned => {
                let message = "the request's batch is not signed yet: the next run does it";
                Err(Error::new(Kind::UnknownRequest, message).in_file(path.to_string_lossy()))
            }
            Found::Nothing => {
                let error = Error::new(Kind::UnknownRequest, "no request has this id");
                Err(error.in_file(path.to_string_lossy()))
            }
        }
    }
}

/// Reads a log that this process appends to, as long as it does.
#[derive(Clone)]
pub struct Handle {
    path: PathBuf,
    database: Weak<Database>,
}

impl Handle {
    /// Batches that are looked through for a request whose batch is not named.
    pub const SEARCHED: u64 = 4096;

    /// Appends the receipt of a request to `out`: of the batch of this number, or looked for in the newest
    /// [`Self::SEARCHED`].
    ///
    /// Errors: `E-UNKNOWN-REQUEST` if no such request is there; `E-NOT-SIGNED` if no window signs its batch yet;
    /// `E-LOG-BUSY` if the log was closed; `E-LOG-FORMAT`, `E-IO`.
    pub fn receipt(
        &self,
        request: &[u8; 16],
        number: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let Some(database) = self.database.upgrade() else {
            return Err(Error::new(Kind::LogBusy, "the receipt log is closed"));
        };
        let found = ends(&self.path, &*database).and_then(|ends| {
            let first = number.unwrap_or(ends.batches.saturating_sub(Self::SEARCHED));
            let end = number.map_or(ends.batches, |n| n.saturating_add(1)).min(ends.batches);
            append_receipt(&self.path, &*database, &ends, request, (first..end).rev(), out)
        });
        // It may be the last to let go.
        ROLE.shield(&self.path, || {
            drop(database);
            Ok(())
        })?;
        match found? {
            Found::Receipt => Ok(()),
            Found::Unsigned => {
                Err(Error::new(Kind::NotSigned, "the request's batch is not signed yet"))
            }
            Found::Nothing => Err(Error::new(Kind::UnknownRequest, "no request has this id here")),
        }
    }
}

enum Found {
    Receipt,
    /// No window signs its batch yet.
    Unsigned,
    Nothing,
}

/// Appends the receipt of a request to `out`, from the first of the batches that has it.
fn append_receipt(
    path: &Path,
    database: &impl ReadableDatabase,
    ends: &Ends,
    request: &[u8; 16],
    numbers: impl Iterator<Item = u64>,
    out: &mut Vec<u8>,
) -> Result<Found> {
    let missing = |what: &str| ROLE.damaged(path, what);
    for number in numbers {
        let found = batch(path, database, number)?.ok_or_else(|| missing("a batch is missing"))?;
        let Some(lane) = found.leaves.iter().position(|leaf| leaf.request == *request) else {
            continue;
        };
        let Some((signed, hashes)) = window_of(path, database, ends, number)? else {
            return Ok(Found::Unsigned);
        };
        let mut tree = bytemuck::zeroed_box::<WindowTree>();
        let index = (number - signed.first) as usize;
        let mut window_path = WindowPath::EMPTY;
        let root = tree.build(isa::fastest(), &hashes).map_err(|e| missing(&e.to_string()))?;
        if root != signed.window.root {
            return Err(missing("a window lists other batches than it signs"));
        }
        tree.path(index, &mut window_path).map_err(|e| missing(&e.to_string()))?;
        found.receipts(lane..lane + 1, &signed, index as u16, window_path, out)?;
        return Ok(Found::Receipt);
    }
    Ok(Found::Nothing)
}

/// The window that signs a batch, if one does, and the hashes of its batches.
fn window_of(
    path: &Path,
    database: &impl ReadableDatabase,
    ends: &Ends,
    batch: u64,
) -> Result<Option<(SignedWindow, Vec<Digest>)>> {
    let missing = || ROLE.damaged(path, "a window is missing");
    let (mut low, mut high) = (0, ends.windows);
    while low < high {
        let middle = low + (high - low) / 2;
        let [first, end] = reach(path, database, middle)?.ok_or_else(missing)?;
        if batch < first {
            high = middle;
        } else if batch >= end {
            low = middle + 1;
        } else {
            return Ok(Some(window(path, database, middle)?.ok_or_else(missing)?));
        }
    }
    Ok(None)
}

/// The first batch of a window and that behind its last, without the rest of it.
fn reach(path: &Path, database: &impl ReadableDatabase, n: u64) -> Result<Option<[u64; 2]>> {
    const HEAD: usize = Window::SIZE + 8;
    let head = ROLE.shield(path, || {
        let table = database.begin_read()?.open_table(WINDOWS)?;
        Ok(table.get(n)?.and_then(|value| value.value().first_chunk::<HEAD>().copied()))
    })?;
    let decode = |head: [u8; HEAD]| {
        let (window, first) = head.split_first_chunk()?;
        let first = u64::from_le_bytes(*first.first_chunk()?);
        Some([first, first.saturating_add(Window::decode(window).ok()?.count.into())])
    };
    Ok(head.and_then(decode))
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Batches.
    pub batches: u64,
    /// Decisions in them.
    pub decisions: u64,
    /// Windows.
    pub windows: u64,
    /// Batches at the end that no window signs yet.
    pub unsigned: u64,
    /// Windows under key sets that were revoked since. Their signatures were checked all the same, and a
    /// later window under other keys vouches for them.
    pub revoked: u64,
    /// The hash of every window, in order.
    pub chain: Vec<Digest>,
}

/// Verifies a log from its first batch to its last: leaves against batch roots, batches against window
/// roots, sequence and chain of the windows, all three signatures of each against the keyring.
/// `progress` is told of every batch.
///
/// Errors: `E-LOG` with the number of the window or of the batch as row and which of both as field;
/// `E-LOG-FORMAT`, `E-IO`.
pub fn verify(log: &Reader, ring: &Keyring, progress: &dyn Fn(u64)) -> Result<Report> {
    let wrong = |field: &str, number: u64, what: String| {
        let row = usize::try_from(number).unwrap_or(usize::MAX);
        let error = Error::new(Kind::Log, what).in_file(log.path.to_string_lossy());
        Err(error.at_row(row).in_field(field))
    };
    let tail = log.ends;
    if !ring.entries().iter().any(|entry| entry.deployment.id == tail.deployment) {
        let message = "the log is another deployment's than the keyring";
        return Err(Error::new(Kind::Log, message).in_file(log.path.to_string_lossy()));
    }
    let mut report = Report::default();
    let mut previous = Digest::default();
    let mut distrusted = None;
    let mut trees = Trees::new();
    let mut hashes = Vec::new();
    let mut batches = Walk::from(&log.path, &log.database, 0);
    for sequence in 0..tail.windows {
        let (signed, listed) = match raw_window(&log.path, &log.database, sequence)? {
            None => return wrong("window", sequence, "it is missing".into()),
            Some(bytes) => match decode_window(&bytes) {
                Err(e) => return wrong("window", sequence, format!("it is damaged: {e}")),
                Ok(decoded) => decoded,
            },
        };
        let window = &signed.window;
        let fault = if window.deployment != log.ends.deployment {
            Some("it is another deployment's")
        } else if window.sequence != sequence {
            Some("it stands in another window's place")
        } else if window.previous != previous {
            Some("it does not follow the window before it")
        } else if signed.first != report.batches {
            Some("it does not begin where the window before it ends")
        } else {
            None
        };
        if let Some(fault) = fault {
            return wrong("window", sequence, fault.into());
        }
        hashes.clear();
        for number in signed.first..signed.first + u64::from(window.count) {
            match checked(batches.next()?, &tail.deployment, &mut trees.batch) {
                Err(fault) => return wrong("batch", number, fault),
                Ok(attested) => {
                    report.decisions += attested.leaves.len() as u64;
                    hashes.push(attested.batch.hash());
                }
            }
            progress(1);
        }
        match trees.window.build(isa::fastest(), &hashes) {
            Ok(root) if root == window.root => {}
            _ => return wrong("window", sequence, "its batches are not those signed".into()),
        }
        if listed != hashes {
            return wrong("window", sequence, "it lists other batches".into());
        }
        match ring.verify_window(&signed) {
            Ok(false) => distrusted = None,
            Ok(true) => {
                report.revoked += 1;
                distrusted = Some(sequence);
            }
            Err(reason) => return wrong("window", sequence, reason),
        }
        previous = window.hash();
        report.chain.push(previous);
        report.windows += 1;
        report.batches += u64::from(window.count);
    }
    if let Some(sequence) = distrusted {
        let message = "its keys were revoked, and no later window under others vouches for it";
        return wrong("window", sequence, message.into());
    }
    for number in report.batches..tail.batches {
        match checked(batches.next()?, &tail.deployment, &mut trees.batch) {
            Err(fault) => return wrong("batch", number, fault),
            Ok(attested) => report.decisions += attested.leaves.len() as u64,
        }
        report.unsigned += 1;
        progress(1);
    }
    report.batches += report.unsigned;
    // What stands in neither place was put there by somebody else.
    if tail.batches < report.batches {
        return wrong("batch", tail.batches, "it is signed, and the log says it has none".into());
    }
    if last_window(&log.path, &log.database)? != tail.windows.checked_sub(1) {
        return wrong("window", report.windows, "the log says that it has no such window".into());
    }
    if batches.runs != tail.runs || !batches.is_all()? {
        return wrong("batch", report.batches, "there is more, or less, than the log says".into());
    }
    Ok(report)
}

/// Trees to build roots with.
struct Trees {
    batch: BatchTree,
    window: Box<WindowTree>,
}

impl Trees {
    fn new() -> Self {
        Self { batch: BatchTree::new(), window: bytemuck::zeroed_box() }
    }
}

/// A batch whose leaves lead to its root, or what is wrong with it.
fn checked(
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

fn size_of_batch(attested: &Attested) -> usize {
    Batch::SIZE + attested.leaves.len() * Leaf::SIZE
}

/// Writes a batch, and gives the room behind it.
fn encode_batch<'a>(attested: &Attested, to: &'a mut [u8]) -> &'a mut [u8] {
    let mut to = put(&attested.batch.encode(), to);
    for leaf in &attested.leaves {
        to = put(&leaf.encode(), to);
    }
    to
}

fn put<'a>(bytes: &[u8], to: &'a mut [u8]) -> &'a mut [u8] {
    let (here, rest) = to.split_at_mut(bytes.len());
    here.copy_from_slice(bytes);
    rest
}

/// What goes into a value.
struct Run {
    batches: usize,
    bytes: usize,
}

/// The first of these batches, `total` bytes together, that fill a page well: it may be all of them where they leave no more
/// than a fifth of it empty.
fn run(sizes: impl Iterator<Item = usize>, total: usize) -> Run {
    let pages = (total + total / 4 + PAGE_HEAD) / PAGE;
    let room = (PAGE << pages.clamp(1, RUN_PAGES).ilog2()) - PAGE_HEAD;
    let mut run = Run { batches: 0, bytes: 0 };
    for size in sizes {
        if run.batches > 0 && run.bytes + size > room {
            break;
        }
        run = Run { batches: run.batches + 1, bytes: run.bytes + size };
    }
    run
}

/// The first batch of a run, and the others; all of it where its size makes no sense.
fn split(run: &[u8]) -> (&[u8], &[u8]) {
    let statement = run.first_chunk().map(Batch::decode).and_then(|batch| batch.ok());
    let size = statement.map(|batch| Batch::SIZE + usize::from(batch.count) * Leaf::SIZE);
    size.and_then(|size| run.split_at_checked(size)).unwrap_or((run, &[]))
}

/// What `take` makes of the run that has this batch, from there to its end, and with which batch it begins: the one that
/// follows on the run that begins with batch `after`, or any.
fn seek(
    path: &Path,
    database: &impl ReadableDatabase,
    number: u64,
    after: Option<u64>,
    take: impl FnOnce(&[u8]) -> &[u8],
) -> Result<Option<(u64, Vec<u8>)>> {
    ROLE.shield(path, || {
        let table = database.begin_read()?.open_table(RUNS)?;
        let found = match after {
            None => table.range(..=number)?.next_back().transpose()?,
            Some(after) => following(&table, after)?.filter(|(first, _)| first.value() == number),
        };
        let Some((first, run)) = found else { return Ok(None) };
        let (mut rest, mut at) = (run.value(), first.value());
        // Nobody wrote longer ones, which would be gone through for every batch in them.
        if rest.len() > RUN_PAGES * PAGE {
            return Ok(None);
        }
        while at < number && !rest.is_empty() {
            (rest, at) = (split(rest).1, at + 1);
        }
        Ok((!rest.is_empty()).then(|| (first.value(), take(rest).to_vec())))
    })
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
struct Walk<'a, D> {
    path: &'a Path,
    database: &'a D,
    /// The next batch.
    number: u64,
    /// What holds it, and where in it.
    run: Vec<u8>,
    at: usize,
    /// With which batch that begins.
    first: Option<u64>,
    /// How many were read.
    runs: u64,
}

impl<'a, D: ReadableDatabase> Walk<'a, D> {
    fn from(path: &'a Path, database: &'a D, number: u64) -> Self {
        Self { path, database, number, run: Vec::new(), at: 0, first: None, runs: 0 }
    }

    fn at_end_of_run(&self) -> bool {
        self.at == self.run.len()
    }

    /// Whether nothing is left behind the last batch that was read.
    fn is_all(&self) -> Result<bool> {
        let more = ROLE.shield(self.path, || {
            let table = self.database.begin_read()?.open_table(RUNS)?;
            match self.first {
                Some(first) => Ok(following(&table, first)?.is_some()),
                None => Ok(table.first()?.is_some()),
            }
        })?;
        Ok(self.at_end_of_run() && !more)
    }

    /// The next batch, if it is there.
    fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.at_end_of_run() {
            // The first may be within a run; each of the others begins one, with none between.
            let found = seek(self.path, self.database, self.number, self.first, |run| run)?;
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

fn decode_batch(bytes: &[u8]) -> std::result::Result<Attested, AttestError> {
    let (batch, rest) = bytes.split_first_chunk().ok_or(AttestError::Truncated)?;
    let batch = Batch::decode(batch)?;
    let (leaves, rest) = rest.as_chunks::<{ Leaf::SIZE }>();
    if !rest.is_empty() || leaves.len() != usize::from(batch.count) {
        return Err(AttestError::LeafCount);
    }
    let leaves = leaves.iter().map(Leaf::decode).collect::<std::result::Result<_, _>>()?;
    Ok(Attested { batch, leaves })
}

fn encode_window<'a>(signed: &SignedWindow, hashes: impl Iterator<Item = &'a Digest>) -> Vec<u8> {
    let mut out = signed.window.encode().to_vec();
    out.extend_from_slice(&signed.first.to_le_bytes());
    let SignatureSet { ml_dsa, fn_dsa, slh_dsa } = &*signed.signatures;
    out.extend_from_slice(ml_dsa);
    out.extend_from_slice(fn_dsa);
    out.extend_from_slice(slh_dsa);
    hashes.for_each(|hash| out.extend_from_slice(hash));
    out
}

/// A window, and the hashes of its batches.
fn decode_window(bytes: &[u8]) -> std::result::Result<(SignedWindow, Vec<Digest>), AttestError> {
    let cut = AttestError::Truncated;
    let (window, rest) = bytes.split_first_chunk().ok_or(cut)?;
    let window = Window::decode(window)?;
    let (first, rest) = rest.split_first_chunk().ok_or(cut)?;
    let first = u64::from_le_bytes(*first);
    let (ml_dsa, rest) = rest.split_first_chunk().ok_or(cut)?;
    let (fn_dsa, rest) = rest.split_first_chunk().ok_or(cut)?;
    let (slh_dsa, rest) = rest.split_first_chunk().ok_or(cut)?;
    let (hashes, rest) = rest.as_chunks();
    if !rest.is_empty() || hashes.len() != usize::from(window.count) {
        return Err(AttestError::LeafCount);
    }
    // No sum of a batch's number and a window's count may run over.
    if first > u64::MAX - MAX_BATCHES as u64 {
        return Err(AttestError::NonCanonical);
    }
    let mut signatures = Box::<SignatureSet>::default();
    signatures.ml_dsa = *ml_dsa;
    signatures.fn_dsa = *fn_dsa;
    signatures.slh_dsa = *slh_dsa;
    Ok((SignedWindow { window, first, signatures }, hashes.to_vec()))
}

/// What a log says of itself.
#[derive(Clone, Copy)]
struct Ends {
    deployment: [u8; 16],
    batches: u64,
    windows: u64,
    runs: u64,
}

fn ends(path: &Path, database: &impl ReadableDatabase) -> Result<Ends> {
    let (header, counts) = ROLE.shield(path, || {
        let meta = database.begin_read()?.open_table(META)?;
        let get = |key: &[u8]| -> std::result::Result<_, redb::Error> {
            Ok(meta.get(key)?.map(|value| value.value().to_vec()).unwrap_or_default())
        };
        Ok((get(HEADER)?, get(TAIL)?))
    })?;
    let damaged = |what: &str| ROLE.damaged(path, what);
    let fields = header.strip_prefix(&MAGIC).and_then(|rest| rest.split_first());
    let (version, deployment) = fields.ok_or_else(|| damaged("its header makes no sense"))?;
    if *version != VERSION {
        let message = format!("the log is of version {version}: this program reads {VERSION}");
        return Err(Error::new(Kind::LogFormat, message).in_file(path.to_string_lossy()));
    }
    let deployment = deployment.try_into().map_err(|_| damaged("its header makes no sense"))?;
    let ([batches, windows, runs], []) = counts.as_chunks() else {
        return Err(damaged("its end is not noted"));
    };
    let [batches, windows, runs] = [*batches, *windows, *runs].map(u64::from_le_bytes);
    Ok(Ends { deployment, batches, windows, runs })
}

/// Where to append to a log.
fn tail(path: &Path, database: &Database) -> Result<(Ends, Tail)> {
    let ends = ends(path, database)?;
    let Ends { batches, windows, runs, .. } = ends;
    let damaged = |what: &str| ROLE.damaged(path, what);
    if counts(path, database)? != (runs, windows)
        || last_window(path, database)? != windows.checked_sub(1)
    {
        return Err(damaged("it holds more or fewer records than it says"));
    }
    let mut tail = Tail { batches, windows, ..Tail::default() };
    if let Some(last) = windows.checked_sub(1) {
        let last = window(path, database, last)?;
        let (last, _) = last.ok_or_else(|| damaged("the last window is missing"))?;
        tail.signed = last.first + u64::from(last.window.count);
        tail.previous = last.window.hash();
    }
    if tail.signed > tail.batches {
        return Err(damaged("a window signs more batches than there are"));
    }
    Ok((ends, tail))
}

/// How many runs and windows there are.
fn counts(path: &Path, database: &impl ReadableDatabase) -> Result<(u64, u64)> {
    ROLE.shield(path, || {
        let transaction = database.begin_read()?;
        Ok((transaction.open_table(RUNS)?.len()?, transaction.open_table(WINDOWS)?.len()?))
    })
}

/// The number of the last window, if there is one.
fn last_window(path: &Path, database: &impl ReadableDatabase) -> Result<Option<u64>> {
    ROLE.shield(path, || {
        let table = database.begin_read()?.open_table(WINDOWS)?;
        Ok(table.last()?.map(|(number, _)| number.value()))
    })
}

fn raw_window(path: &Path, database: &impl ReadableDatabase, n: u64) -> Result<Option<Vec<u8>>> {
    ROLE.shield(path, || {
        let table = database.begin_read()?.open_table(WINDOWS)?;
        Ok(table.get(n)?.map(|value| value.value().to_vec()))
    })
}

fn batch(path: &Path, database: &impl ReadableDatabase, n: u64) -> Result<Option<Attested>> {
    let bytes = seek(path, database, n, None, |run| split(run).0)?;
    let decoded = bytes.map(|(_, bytes)| decode_batch(&bytes)).transpose();
    decoded.map_err(|e| ROLE.damaged(path, &format!("batch {n}: {e}")))
}

fn window(
    path: &Path,
    database: &impl ReadableDatabase,
    n: u64,
) -> Result<Option<(SignedWindow, Vec<Digest>)>> {
    let decoded = raw_window(path, database, n)?.map(|bytes| decode_window(&bytes)).transpose();
    decoded.map_err(|e| ROLE.damaged(path, &format!("window {n}: {e}")))
}
