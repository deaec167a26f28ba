//! The registry: who is enrolled, the tree of their leaves, its epochs, and the proofs that were presented.
//!
//! ```text
//! DIR/identities.redb   table "ids":        id -> place; those enrolled now
//!                       table "leaves":     leaf -> place; all there ever were
//!                       table "nodes":      level (1), index (8) -> node; those of the current epoch that are
//!                                           not zero, leaves at level 0
//!                       table "staged":     place -> leaf, or zeros; what the next publication changes
//!                       table "epochs":     number -> root (32), published and ends at (8, 8), state (1)
//!                       table "nullifiers": epoch (4), nullifier (32) -> fingerprint (32)
//!                       table "meta":       "header" -> `SYID`, version 1, depth (1), deployment (16),
//!                                           digest of these (32)
//! ```
//!
//! [`Registry::enrol`] and [`Registry::revoke`] gather changes; [`Registry::publish`] makes them the tree of the
//! next epoch, all in one transaction, so that [`Registry::path`] always leads to a root that was published.
//! What is hashed is hashed then.
//!
//! # Places and leaves are used once
//! A new leaf takes the next place, 2^depth of them in all; a revoked one's stays empty. A leaf that was
//! enrolled once is refused for ever: whoever it was revoked from still knows its secret. An id may come back,
//! with a new leaf.
//!
//! # Revocation
//! A proof does not say whose it is, so the roots before a revocation must go, all at once and without overlap:
//! everybody proves anew, on his own device, and sessions that were admitted under them
//! are their keeper's to end. Publications that only add keep the epochs before them for an overlap. So enrol as
//! it comes, and revoke in batches where that can wait.
//!
//! # What the file shows, and what protects it
//! Ids, in the clear; how many there are, in which order they came; when epochs were published. Leaves tell
//! nothing of secrets, of 217 bits each, nor, without them, of attributes. Nullifiers are not linked to leaves,
//! nor to each other, by who does not know secrets. The file is its owner's only. Who can write it decides who is
//! enrolled: nothing here tells an altered file that is consistent. [`Registry::publish`] and
//! [`Registry::path`] find nodes that do not belong to the published root, [`Registry::check`] every other
//! inconsistency. Putting back an older copy brings back who was revoked since, and forgets nullifiers.
//!
//! # Cost
//! Enrolling and revoking hash nothing. A publication costs about one hash for each new leaf, those of a batch being
//! next to each other, and one a level for all of them; and as many for what was there before, by which it finds that
//! it builds on the published root: at most 2 x 62 for a single leaf, whatever the depth. A revoked leaf
//! shares levels with others only as chance has it.
//!
//! Measured on x86-64, two cores that others used too, the tests' build (a hash 1.3 us), depth 32, least of
//! several runs, the file in memory: 10,000 leaves in one batch, 9 us each to enrol and 8 us each to publish; one leaf
//! 0.1 ms to enrol and 0.35 ms to publish or to revoke; a path, with its check, 0.13 ms; 420 bytes a leaf in the file.
//! On a disk each call waits for it: 0.5 to 5 ms there. `cargo test --test registry speed -- --nocapture` measures it.

use super::epochs::{Epoch, Epochs, RootError, State};
use super::hash::Node;
use super::nullifiers::Waiting;
use super::tree::{self, Change, LEVELS, Nodes, Path};
use crate::database::Role;
use crate::error::{Error, Kind, Result};
use crate::input::check_id;
use crate::private_file;
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition,
};
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use symbolon_core::attest::{Domain, hash};

/// The file's name.
pub const FILE: &str = "identities.redb";
/// Levels of a tree unless told otherwise: room for four thousand million leaves.
pub const DEFAULT_DEPTH: u8 = 32;
/// How long an epoch holds after the next was published, unless told otherwise: a day.
pub const DEFAULT_OVERLAP_MS: u64 = 24 * 60 * 60 * 1000;

pub(super) const ROLE: Role =
    Role { name: "identity registry", format: Kind::IdentitiesFormat, busy: Kind::IdentitiesBusy };
/// Keys are bytes, not `str`: redb takes it for granted that a stored `str` is UTF-8.
const IDS: TableDefinition<&[u8], u64> = TableDefinition::new("ids");
const LEAVES: TableDefinition<&Encoded, u64> = TableDefinition::new("leaves");
const NODES: TableDefinition<(u8, u64), &Encoded> = TableDefinition::new("nodes");
const STAGED: TableDefinition<u64, &Encoded> = TableDefinition::new("staged");
const EPOCHS: TableDefinition<u32, &[u8]> = TableDefinition::new("epochs");
pub(super) const NULLIFIERS: TableDefinition<(u32, &Encoded), &Encoded> =
    TableDefinition::new("nullifiers");
const META: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta");
const HEADER: &[u8] = b"header";
const HEADER_DOMAIN: Domain = Domain::new("symbolon/identity-header/v1");
const MAGIC: [u8; 4] = *b"SYID";
const VERSION: u8 = 1;
/// Changes applied at a time, which bounds memory to some 20 MB.
const CHUNK: usize = 1 << 16;

/// Bytes that redb may keep in memory.
const CACHE: usize = 64 << 20;

type Encoded = [u8; Node::SIZE];

/// A registry, open for use by any number of threads. Other processes are kept out.
pub struct Registry {
    pub(super) path: PathBuf,
    /// Absent only while the value is dropped.
    database: Option<Database>,
    depth: u8,
    deployment: [u8; 16],
    pub(super) epochs: Epochs,
    /// Held by who publishes, from the commit until all know of it, and by who writes what a publication would
    /// end. The database has one writer at a time anyway.
    publishing: Mutex<()>,
    pub(super) waiting: Mutex<Vec<Arc<Waiting>>>,
    /// What the disk failed with.
    failure: OnceLock<Error>,
}

/// What a publication did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The new epoch.
    pub epoch: Epoch,
    /// Leaves added.
    pub enrolled: u64,
    /// Leaves taken away: if any, all older epochs were withdrawn.
    pub revoked: u64,
    /// Permutations that it took.
    pub hashes: u64,
}

/// How a registry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Who is enrolled, published or not.
    pub enrolled: u64,
    /// Places that were ever taken, of 2^depth.
    pub places: u64,
    /// Leaves that the next publication adds.
    pub to_enrol: u64,
    /// Leaves that the next publication takes away.
    pub to_revoke: u64,
    /// Nullifiers of the epochs that may hold.
    pub nullifiers: u64,
}

/// What [`Registry::check`] found to be in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Leaves of the current epoch.
    pub leaves: u64,
    /// Nodes above them.
    pub nodes: u64,
    /// The root that they lead to: the current epoch's. Zeros before there is one.
    pub root: Node,
}

/// Why an operation on the database ends: its own failure, or what it found.
pub(super) enum Fault {
    Database(redb::Error),
    Found(Error),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

pub(super) type Outcome<T> = std::result::Result<T, Fault>;

impl Registry {
    /// Makes an empty registry in `dir`, of a tree with `depth` levels.
    ///
    /// Errors: `E-ARGUMENT` for a depth that is not 1 to [`LEVELS`], or if there is a registry; `E-IO`,
    /// `E-ENTROPY`.
    pub fn create(dir: &FilePath, depth: u8, deployment: [u8; 16]) -> Result<()> {
        let path = dir.join(FILE);
        let error =
            |what: &str| Err(Error::new(Kind::Argument, what).in_file(path.to_string_lossy()));
        if !(1..=LEVELS).contains(&depth) {
            return error("a tree has 1 to 62 levels");
        }
        if ROLE.exists(&path)? {
            return error("exists: it is not overwritten");
        }
        private_file::create_dir(dir)?;
        let header = header(depth, &deployment);
        ROLE.create(&path, |database| {
            let transaction = database.begin_write()?;
            transaction.open_table(META)?.insert(HEADER, header.as_slice())?;
            transaction.open_table(IDS)?;
            transaction.open_table(LEAVES)?;
            transaction.open_table(NODES)?;
            transaction.open_table(STAGED)?;
            transaction.open_table(EPOCHS)?;
            transaction.open_table(NULLIFIERS)?;
            Ok(transaction.commit()?)
        })
    }

    /// Opens the registry in `dir`.
    ///
    /// Errors: `E-IDENTITIES-FORMAT` if there is none, it is damaged or of another version;
    /// `E-IDENTITIES-BUSY` while another process has it open; `E-IO`.
    pub fn open(dir: &FilePath) -> Result<Self> {
        let path = dir.join(FILE);
        if !ROLE.exists(&path)? {
            let message = format!("no identity registry here: there is no {FILE}");
            return Err(Error::new(ROLE.format, message).in_file(dir.to_string_lossy()));
        }
        let database = Some(
            ROLE.shield(&path, || Ok(Database::builder().set_cache_size(CACHE).open(&path)?))?,
        );
        let (publishing, waiting, failure) = Default::default();
        let mut registry = Self {
            path,
            database,
            depth: 0,
            deployment: [0; 16],
            epochs: Epochs::new(1),
            publishing,
            waiting,
            failure,
        };
        let header = registry.read(|transaction| {
            let meta = transaction.open_table(META)?;
            Ok(meta.get(HEADER)?.map(|value| value.value().to_vec()).unwrap_or_default())
        })?;
        (registry.depth, registry.deployment) = registry.parse(&header)?;
        let epochs = registry.read(|transaction| {
            let mut epochs = Vec::new();
            for entry in transaction.open_table(EPOCHS)?.range::<u32>(..)?.rev() {
                let (number, record) = entry?;
                let epoch = registry.epoch(number.value(), record.value())?;
                let current = epoch.state == State::Open && epoch.until_ms == u64::MAX;
                if epochs.is_empty() && !current {
                    return Err(registry.fault("its last epoch has ended"));
                }
                if epoch.state == State::Withdrawn {
                    break;
                }
                epochs.push(epoch);
            }
            Ok(epochs)
        })?;
        let first = epochs.last().map_or(1, |epoch| epoch.number);
        registry.epochs = Epochs::new(first);
        for (number, epoch) in (first..=u32::MAX).zip(epochs.iter().rev()) {
            if epoch.number != number {
                return Err(registry.damaged("an epoch is missing"));
            }
            registry.epochs.set(epoch);
        }
        Ok(registry)
    }

    /// Levels of the tree.
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// Whose registry it is.
    pub fn deployment(&self) -> [u8; 16] {
        self.deployment
    }

    /// The newest epoch's number; 0 before the first publication. Reads memory only.
    pub fn current_epoch(&self) -> u32 {
        self.epochs.current()
    }

    /// The root of an epoch, if it holds at `now_ms`: lifted, as it is proven against. Reads memory only, and
    /// waits for nobody.
    ///
    /// Errors: [`RootError`].
    pub fn root_of(&self, epoch: u32, now_ms: u64) -> std::result::Result<Node, RootError> {
        self.epochs.get(epoch)?.holds(now_ms)
    }

    /// Enrols leaves under ids, all of them or none, from the next publication on. Returns when the disk has
    /// them. That whoever hands in a leaf knows its secret is not shown here: let them prove it, or a leaf that
    /// was seen on its way can be enrolled under another's id first.
    ///
    /// Errors, which change nothing: `E-ID`; `E-LEAF` for zeros; `E-DUPLICATE-ID` for an id that is enrolled or
    /// comes twice; `E-DUPLICATE-LEAF` for a leaf that comes twice or was ever enrolled; `E-IDENTITIES-FULL`;
    /// `E-IDENTITIES-FORMAT`, `E-IO`. All but the last few name the row.
    pub fn enrol<S: AsRef<str>>(&self, people: &[(S, Node)]) -> Result<()> {
        for (row, (id, leaf)) in people.iter().enumerate() {
            check_id(id.as_ref()).map_err(|what| self.error(Kind::Id, what).at_row(row))?;
            if *leaf == Node::ZERO {
                return Err(self.error(Kind::Leaf, "zeros stand for an empty place").at_row(row));
            }
        }
        self.write(|transaction| {
            let mut ids = transaction.open_table(IDS)?;
            let mut leaves = transaction.open_table(LEAVES)?;
            let mut staged = transaction.open_table(STAGED)?;
            let taken = leaves.len()?;
            for (row, (id, leaf)) in people.iter().enumerate() {
                let (id, place) = (id.as_ref(), taken.saturating_add(row as u64));
                let fault =
                    |kind, what: String| Err(Fault::Found(self.error(kind, &what).at_row(row)));
                if place >> self.depth != 0 {
                    let what = format!("the tree's 2^{} places are taken", self.depth);
                    return fault(Kind::IdentitiesFull, what);
                }
                if ids.insert(id.as_bytes(), place)?.is_some() {
                    let what = format!("id \"{id}\" is enrolled already, or given twice");
                    return fault(Kind::DuplicateId, what);
                }
                if leaves.insert(&leaf.encode(), place)?.is_some() {
                    let what =
                        format!("the leaf of \"{id}\" was enrolled before, or is given twice");
                    return fault(Kind::DuplicateLeaf, what);
                }
                if staged.insert(place, &leaf.encode())?.is_some() {
                    return Err(self.fault("two leaves have one place"));
                }
            }
            Ok(())
        })
    }

    /// Takes people's leaves out, all of them or none, from the next publication on: publish at once where it
    /// matters. Returns when the disk has it.
    ///
    /// Errors, which change nothing: `E-UNKNOWN-ID`, with the row, for an id that is not enrolled or comes
    /// twice; `E-IDENTITIES-FORMAT`, `E-IO`.
    pub fn revoke<S: AsRef<str>>(&self, ids: &[S]) -> Result<()> {
        self.write(|transaction| {
            let mut table = transaction.open_table(IDS)?;
            let mut staged = transaction.open_table(STAGED)?;
            for (row, id) in ids.iter().enumerate() {
                let id = id.as_ref();
                let place = table.remove(id.as_bytes())?.map(|place| place.value());
                let Some(place) = place else {
                    let what = format!("nobody is enrolled as \"{id}\", or it is given twice");
                    return Err(Fault::Found(self.error(Kind::UnknownId, &what).at_row(row)));
                };
                // What was not published yet is not published at all.
                if staged.remove(place)?.is_none() {
                    staged.insert(place, &Node::ZERO.encode())?;
                }
            }
            Ok(())
        })
    }

    /// Makes all changes, if any, the tree of the next epoch. If it only adds leaves, the epochs before it hold
    /// until `overlap_ms` after `now_ms`, or less if they ended sooner; if it takes any away, they end at once.
    /// Nullifiers of epochs that hold no more are forgotten. Returns when the disk has it.
    ///
    /// Epochs whose end has come at `now_ms` are over for good, should the clock be wrong or be put back.
    ///
    /// Errors: `E-IDENTITIES-FORMAT` if nodes are not those of the current root; `E-IDENTITIES-FULL` after
    /// 2^32 - 1 epochs; `E-IO`. Nothing is then published, unless the disk failed at the last: open it again
    /// to see.
    pub fn publish(&self, now_ms: u64, overlap_ms: u64) -> Result<Published> {
        let _publishing = self.publishing();
        let current = self.current_epoch();
        let Some(number) = current.checked_add(1) else {
            return Err(self.error(Kind::IdentitiesFull, "there is no further epoch"));
        };
        let (published, ended) = self.write(|transaction| {
            let mut published = self.apply(transaction, number, now_ms)?;
            let withdrawn = published.revoked != 0;
            let mut epochs = transaction.open_table(EPOCHS)?;
            let mut ended = Vec::new();
            let mut oldest = number;
            for number in (1..number).rev() {
                let record = epochs.get(number)?.map(|record| record.value().to_vec());
                let epoch = self.epoch(number, &record.unwrap_or_default())?;
                // Those before it end no later than an epoch does.
                let over = if withdrawn {
                    epoch.state == State::Withdrawn
                } else {
                    epoch.state != State::Open
                };
                if over {
                    break;
                }
                let until_ms = now_ms.saturating_add(overlap_ms);
                let epoch = epoch.succeeded(withdrawn, now_ms, until_ms);
                epochs.insert(number, epoch.encode().as_slice())?;
                if epoch.state == State::Open {
                    oldest = number;
                }
                ended.push(epoch);
            }
            if epochs.insert(number, published.epoch.encode().as_slice())?.is_some() {
                return Err(self.fault("there is an epoch after the last"));
            }
            let none = Node::ZERO.encode();
            let mut nullifiers = transaction.open_table(NULLIFIERS)?;
            nullifiers.retain_in(..(oldest, &none), |_, _| false)?;
            published.epoch.number = number;
            Ok((published, ended))
        })?;
        ended.iter().for_each(|epoch| self.epochs.set(epoch));
        self.epochs.set(&published.epoch);
        Ok(published)
    }

    /// Applies what is staged.
    fn apply(
        &self,
        transaction: &redb::WriteTransaction,
        number: u32,
        now_ms: u64,
    ) -> Outcome<Published> {
        let before = match number {
            1 => Node::ZERO,
            _ => self.epochs.get(number - 1).map_err(|e| self.fault(&e.to_string()))?.root,
        };
        let mut nodes = Stored { table: transaction.open_table(NODES)?, registry: self };
        let staged = transaction.open_table(STAGED)?;
        let (mut enrolled, mut revoked, mut hashes) = (0, 0, 0);
        // What the nodes that were read lead to; the first time it must be what was published.
        let mut expected = None;
        let mut next = Some(0);
        loop {
            let mut changes = Vec::new();
            if let Some(start) = next.take() {
                for entry in staged.range(start..)? {
                    let (index, leaf) = entry?;
                    let (index, new) = (index.value(), self.node(leaf.value())?);
                    if changes.len() == CHUNK {
                        next = Some(index);
                        break;
                    }
                    let old = nodes.get(0, index)?;
                    match (old == Node::ZERO, new == Node::ZERO) {
                        (true, false) => enrolled += 1,
                        (false, true) => revoked += 1,
                        _ => return Err(self.fault("a change does not fit the leaf it changes")),
                    }
                    if index >> self.depth != 0 {
                        return Err(self.fault("a leaf's place is outside the tree"));
                    }
                    changes.push(Change { index, old, new });
                }
            }
            let updated = tree::update(&mut nodes, self.depth, changes)?;
            hashes += updated.hashes;
            let fits = match expected {
                None => tree::lift(&updated.old, self.depth) == before,
                Some(root) => updated.old == root,
            };
            if !fits {
                return Err(self.fault("its nodes do not lead to the published root"));
            }
            expected = Some(updated.new);
            if next.is_none() {
                drop(staged);
                transaction.delete_table(STAGED)?;
                transaction.open_table(STAGED)?;
                let root = tree::lift(&updated.new, self.depth);
                let lifted = [before, root].iter().filter(|root| **root != Node::ZERO).count();
                hashes += lifted as u64 * u64::from(LEVELS - self.depth);
                let (published_ms, until_ms) = (now_ms, u64::MAX);
                let epoch = Epoch { number, root, published_ms, until_ms, state: State::Open };
                return Ok(Published { epoch, enrolled, revoked, hashes });
            }
        }
    }

    /// The path of an id's leaf to the current epoch's root.
    ///
    /// Errors: `E-UNKNOWN-ID` if nobody is enrolled under it; `E-UNPUBLISHED` if its leaf is not in an epoch
    /// yet; `E-IDENTITIES-FORMAT`, also if the path does not lead to the root; `E-IO`.
    pub fn path(&self, id: &str) -> Result<Path> {
        let (path, leaf) = self.read(|transaction| {
            let unknown = || {
                let what = format!("nobody is enrolled as \"{id}\"");
                Fault::Found(self.error(Kind::UnknownId, &what))
            };
            let place = transaction.open_table(IDS)?.get(id.as_bytes())?;
            let index = place.ok_or_else(unknown)?.value();
            let staged = transaction.open_table(STAGED)?;
            if staged.get(index)?.is_some() {
                let what = format!("\"{id}\" is enrolled from the next publication on");
                return Err(Fault::Found(self.error(Kind::Unpublished, &what)));
            }
            let epochs = transaction.open_table(EPOCHS)?;
            let (number, record) =
                epochs.last()?.ok_or_else(|| self.fault("a leaf has no epoch"))?;
            let Epoch { number: epoch, root, .. } = self.epoch(number.value(), record.value())?;
            let nodes = transaction.open_table(NODES)?;
            let siblings =
                (0..self.depth).map(|level| get(self, &nodes, level, (index >> level) ^ 1));
            let siblings = siblings.collect::<Outcome<_>>()?;
            let leaf = get(self, &nodes, 0, index)?;
            Ok((Path { epoch, index, siblings, root }, leaf))
        })?;
        if !path.verify(&leaf) {
            return Err(self.damaged("its nodes do not lead to the published root"));
        }
        Ok(path)
    }

    /// All epochs, the oldest first. Errors: `E-IDENTITIES-FORMAT`, `E-IO`.
    pub fn history(&self) -> Result<Vec<Epoch>> {
        self.read(|transaction| {
            let mut epochs = Vec::new();
            for entry in transaction.open_table(EPOCHS)?.range::<u32>(..)? {
                let (number, record) = entry?;
                epochs.push(self.epoch(number.value(), record.value())?);
            }
            Ok(epochs)
        })
    }

    /// How it stands. Errors: `E-IDENTITIES-FORMAT`, `E-IO`.
    pub fn status(&self) -> Result<Status> {
        self.read(|transaction| {
            let (mut to_enrol, mut to_revoke) = (0, 0);
            for entry in transaction.open_table(STAGED)?.range::<u64>(..)? {
                let revokes = *entry?.1.value() == Node::ZERO.encode();
                *(if revokes { &mut to_revoke } else { &mut to_enrol }) += 1;
            }
            Ok(Status {
                enrolled: transaction.open_table(IDS)?.len()?,
                places: transaction.open_table(LEAVES)?.len()?,
                to_enrol,
                to_revoke,
                nullifiers: transaction.open_table(NULLIFIERS)?.len()?,
            })
        })
    }

    /// Computes the current root anew from the leaves and compares every node on the way; looks whether ids,
    /// leaves, places and changes agree, and the epochs follow each other. `progress` is told of leaves and nodes
    /// as they are read.
    ///
    /// Errors: `E-IDENTITIES-FORMAT` with what does not agree; `E-IO`.
    pub fn check(&self, progress: &dyn Fn(u64)) -> Result<Report> {
        self.read(|transaction| {
            let published = self.check_places(transaction)?;
            let mut last = None;
            let mut over = [true; 2];
            for (entry, number) in transaction.open_table(EPOCHS)?.range::<u32>(..)?.zip(1..) {
                let (found, record) = entry?;
                let epoch = self.epoch(found.value(), record.value())?;
                if epoch.number != number {
                    return Err(self.fault("an epoch is missing"));
                }
                // Withdrawn ones come first, then those that expired.
                let open = [epoch.state == State::Withdrawn, epoch.state != State::Open];
                if open.iter().zip(over).any(|(now, before)| *now && !before) {
                    return Err(self.fault("an epoch holds that one after it does not"));
                }
                over = open;
                last = Some(epoch);
            }
            if last.map_or(0, |epoch| epoch.number) != self.current_epoch()
                || over[1] && last.is_some()
            {
                return Err(self.fault("the last epoch is not the current one"));
            }
            let nodes = transaction.open_table(NODES)?;
            let mut report = Report { leaves: 0, nodes: 0, root: Node::ZERO };
            let level = |level: u8| nodes.range((level, 0)..=(level, u64::MAX));
            for entry in level(0)? {
                let (key, leaf) = entry?;
                let index = usize::try_from(key.value().1).ok();
                if !index.and_then(|index| published.get(index)).is_some_and(|published| *published)
                {
                    return Err(self.fault("a leaf is in the tree that nobody is enrolled with"));
                }
                if self.node(leaf.value())? == Node::ZERO {
                    return Err(self.fault("an empty place holds a leaf"));
                }
                report.leaves += 1;
                progress(1);
            }
            if report.leaves != published.iter().filter(|published| **published).count() as u64 {
                return Err(self.fault("somebody is enrolled whose leaf is not in the tree"));
            }
            for height in 0..self.depth {
                let mut above = level(height + 1)?;
                let mut below = level(height)?.peekable();
                while let Some(entry) = below.next() {
                    let (key, node) = entry?;
                    let ((_, index), node) = (key.value(), self.node(node.value())?);
                    let mut pair = [Node::ZERO; 2];
                    pair[(index & 1) as usize] = node;
                    if index & 1 == 0 {
                        let beside = below.next_if(|entry| {
                            entry.as_ref().is_ok_and(|(key, _)| key.value().1 == index + 1)
                        });
                        if let Some(entry) = beside {
                            pair[1] = self.node(entry?.1.value())?;
                        }
                    }
                    let stored = above.next().transpose()?;
                    let stored = match &stored {
                        Some((key, node)) => Some((key.value().1, self.node(node.value())?)),
                        None => None,
                    };
                    if stored != Some((index >> 1, tree::parent(&pair[0], &pair[1]))) {
                        let what = format!("node {} of level {} is wrong", index >> 1, height + 1);
                        return Err(self.fault(&what));
                    }
                    report.nodes += 1;
                    progress(1);
                }
                if above.next().is_some() {
                    let what = format!("level {} has a node above nothing", height + 1);
                    return Err(self.fault(&what));
                }
            }
            if nodes.range((self.depth + 1, 0)..)?.next().is_some() {
                return Err(self.fault("there is a node above the root"));
            }
            report.root = tree::lift(&get(self, &nodes, self.depth, 0)?, self.depth);
            if report.root != last.map_or(Node::ZERO, |epoch| epoch.root) {
                return Err(self.fault("the leaves do not lead to the published root"));
            }
            Ok(report)
        })
    }

    /// Whether ids, leaves and changes agree on places; gives for each whether the tree has its leaf.
    fn check_places(&self, transaction: &ReadTransaction) -> Outcome<Vec<bool>> {
        let ids = transaction.open_table(IDS)?;
        let leaves = transaction.open_table(LEAVES)?;
        let nodes = transaction.open_table(NODES)?;
        let staged = transaction.open_table(STAGED)?;
        // A count that is wrong must not cost memory: no leaf takes less of the file than this.
        let size = self.path.metadata().map_or(0, |file| file.len());
        let places = leaves.len()?.min(size / Node::SIZE as u64) as usize;
        let mut taken = vec![false; places];
        for entry in leaves.range::<&Encoded>(..)? {
            let (leaf, place) = entry?;
            let (leaf, place) = (leaf.value(), place.value());
            let slot = usize::try_from(place).ok().and_then(|place| taken.get_mut(place));
            let slot = slot.ok_or_else(|| self.fault("a leaf has a place after the last"))?;
            if std::mem::replace(slot, true) {
                return Err(self.fault("two leaves have one place"));
            }
            let stands = match nodes.get((0, place))? {
                None => staged.get(place)?,
                published => published,
            };
            if stands.is_some_and(|stands| stands.value() != leaf) {
                return Err(self.fault("a place holds another leaf than was enrolled there"));
            }
        }
        if leaves.len()? != places as u64 || taken.contains(&false) {
            return Err(self.fault("a place has no leaf"));
        }
        let mut enrolled = vec![false; places];
        for entry in ids.range::<&[u8]>(..)? {
            let (id, place) = entry?;
            let id = std::str::from_utf8(id.value()).map_err(|_| "the id is not UTF-8");
            id.and_then(check_id).map_err(|what| self.fault(what))?;
            let slot = usize::try_from(place.value()).ok().and_then(|at| enrolled.get_mut(at));
            let slot = slot.ok_or_else(|| self.fault("an id has a place after the last"))?;
            if std::mem::replace(slot, true) {
                return Err(self.fault("two ids have one place"));
            }
        }
        let mut published = enrolled;
        for entry in staged.range::<u64>(..)? {
            let (place, leaf) = entry?;
            let adds = *leaf.value() != Node::ZERO.encode();
            let slot = usize::try_from(place.value()).ok().and_then(|at| published.get_mut(at));
            // What is added has an id now and is not in the tree yet; what is taken away, the reverse.
            match slot {
                Some(slot) if *slot == adds => *slot = !adds,
                _ => return Err(self.fault("a change is not that of an id")),
            }
        }
        Ok(published)
    }

    pub(super) fn publishing(&self) -> MutexGuard<'_, ()> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an operation within a transaction for reading.
    pub(super) fn read<T>(
        &self,
        operation: impl FnOnce(&ReadTransaction) -> Outcome<T>,
    ) -> Result<T> {
        self.shield(|database| operation(&database.begin_read()?))
    }

    /// Runs an operation within a transaction, which is committed if it succeeds.
    pub(super) fn write<T>(
        &self,
        operation: impl FnOnce(&redb::WriteTransaction) -> Outcome<T>,
    ) -> Result<T> {
        self.shield(|database| {
            let transaction = database.begin_write()?;
            let value = operation(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
    }

    fn shield<T>(&self, operation: impl FnOnce(&Database) -> Outcome<T>) -> Result<T> {
        let database = self.database.as_ref().ok_or_else(|| self.damaged("it was closed"))?;
        let done = ROLE.shield(&self.path, || match operation(database) {
            Ok(value) => Ok(Ok(value)),
            Err(Fault::Found(error)) => Ok(Err(error)),
            Err(Fault::Database(error)) => Err(error),
        });
        if let Err(error) = &done
            && error.kind() == Kind::Io
        {
            // The first one says why.
            let _ = self.failure.set(error.clone());
        }
        done?
    }

    /// What the disk failed with, if it did: nothing is written any more until the registry is opened anew.
    pub fn failure(&self) -> Option<Error> {
        self.failure.get().cloned()
    }

    /// Reads a header. Errors: `E-IDENTITIES-FORMAT`.
    fn parse(&self, bytes: &[u8]) -> Result<(u8, [u8; 16])> {
        let damaged = || self.damaged("its header makes no sense");
        let fields = bytes.strip_prefix(&MAGIC).and_then(|rest| rest.split_first());
        let (version, rest) = fields.ok_or_else(damaged)?;
        if *version != VERSION {
            let message =
                format!("the registry is of version {version}: this program reads {VERSION}");
            return Err(self.error(ROLE.format, &message));
        }
        let (depth, rest) = rest.split_first().ok_or_else(damaged)?;
        let deployment = *rest.first_chunk().ok_or_else(damaged)?;
        if header(*depth, &deployment) != bytes || !(1..=LEVELS).contains(depth) {
            return Err(damaged());
        }
        Ok((*depth, deployment))
    }

    fn node(&self, bytes: &Encoded) -> Outcome<Node> {
        Node::decode(bytes).ok_or_else(|| self.fault("a node is none"))
    }

    fn epoch(&self, number: u32, record: &[u8]) -> Outcome<Epoch> {
        let epoch = Epoch::decode(number, record);
        epoch.ok_or_else(|| self.fault(&format!("epoch {number} makes no sense")))
    }

    pub(super) fn fault(&self, what: &str) -> Fault {
        Fault::Found(self.damaged(what))
    }

    fn damaged(&self, what: &str) -> Error {
        ROLE.damaged(&self.path, what)
    }

    pub(super) fn error(&self, kind: Kind, what: &str) -> Error {
        Error::new(kind, what).in_file(self.path.to_string_lossy())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let database = self.database.take();
        // What was committed is on the disk; there is nobody left to tell of a failure to close.
        let _ = ROLE.shield(&self.path, || {
            drop(database);
            Ok(())
        });
    }
}

/// The table of nodes, as a tree's.
struct Stored<'a> {
    table: Table<'a, (u8, u64), &'static Encoded>,
    registry: &'a Registry,
}

impl Nodes for Stored<'_> {
    type Error = Fault;

    fn get(&self, level: u8, index: u64) -> Outcome<Node> {
        get(self.registry, &self.table, level, index)
    }

    fn put(&mut self, level: u8, index: u64, node: &Node) -> Outcome<()> {
        if *node == Node::ZERO {
            self.table.remove((level, index))?;
        } else {
            self.table.insert((level, index), &node.encode())?;
        }
        Ok(())
    }
}

fn get(
    registry: &Registry,
    table: &impl ReadableTable<(u8, u64), &'static Encoded>,
    level: u8,
    index: u64,
) -> Outcome<Node> {
    match table.get((level, index))? {
        Some(node) => registry.node(node.value()),
        None => Ok(Node::ZERO),
    }
}

fn header(depth: u8, deployment: &[u8; 16]) -> Vec<u8> {
    let fields = [&MAGIC[..], &[VERSION, depth], deployment].concat();
    let digest = hash(HEADER_DOMAIN, &[&fields]);
    [&fields[..], &digest].concat()
}
