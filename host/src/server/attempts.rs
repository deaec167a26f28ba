//! How often an identity may be tried in vain, before nobody may try it for a while.
//!
//! An attempt takes one out of the identity's budget when it comes in, and puts it back unless it is rejected: so
//! attempts at once get no further than attempts one by one. A budget of n an hour lets n be rejected at once, and
//! then one every n-th of an hour.
//!
//! Budgets outlive the process: DIR/attempts.redb has, for each id that was rejected lately, when its budget will
//! be full, and the time of the last write. It is written behind the answers, once a second. So a crash forgets the rejections of
//! the last second, which are never more than one budget; a stop forgets none. What cannot be written is tried again with
//! the next, in a file that is opened anew; where that fails several times in a row, it has failed for good.
//!
//! Times are of the wall clock as it was when the process began, and go on with one that nobody sets. A wall clock that was
//! set back before the last write counts as of then: budgets never get emptier by it, nor are they fuller than they were. One
//! that is set forward between two runs fills them.

use super::duty::Duty;
use super::meter::{Allowance, Meter};
use super::roster::Seat;
use crate::database::Role;
use crate::error::{Error, Kind, Result};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use symbolon_platform::clock;

/// The file's name.
pub const FILE: &str = "attempts.redb";

const ROLE: Role =
    Role { name: "attempts database", format: Kind::StoreFormat, busy: Kind::StoreBusy };
const FULL_AT: TableDefinition<&[u8], u64> = TableDefinition::new("full_at");
const WRITTEN: TableDefinition<(), u64> = TableDefinition::new("written");
const CACHE: usize = 4 << 20;
/// How often rejections are written.
const PERIOD: Duration = Duration::from_secs(1);
/// Writes that fail in a row before nobody waits for another.
const TRIES: u32 = 3;

/// The budgets' rule, and whoever saves them.
pub struct Attempts {
    /// `None`: as many as anybody likes.
    allowance: Option<Allowance>,
    clock: Clock,
    /// As they were when the process began, until everybody is seated.
    saved: Mutex<HashMap<Vec<u8>, u64>>,
    /// Absent when it has ended.
    rejected: Mutex<Option<Sender<Arc<Seat>>>>,
    thread: Duty,
    counters: Arc<Counters>,
}

/// What was counted.
#[derive(Default)]
pub struct Counters {
    /// Attempts that were not taken in, because the identity's budget was empty.
    pub locked: AtomicU64,
    /// Times that an identity's budget ran out: an alarm.
    pub lockouts: AtomicU64,
    /// Times that budgets could not be written.
    pub failed: AtomicU64,
    /// What it failed with, when it was given up.
    failure: OnceLock<Error>,
}

/// The time in nanoseconds. It is never set.
#[derive(Clone, Copy)]
struct Clock {
    start: u64,
    began: Instant,
}

impl Clock {
    /// That is `start` now.
    fn new(start: u64) -> Self {
        Self { start, began: Instant::now() }
    }

    fn now(&self) -> u64 {
        let since = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.start.saturating_add(since)
    }
}

impl Attempts {
    /// With the budgets in `dir`; the file is made where there is none.
    ///
    /// Errors: `E-STORE-FORMAT` if it is damaged; `E-STORE-BUSY`, `E-IO`, `E-ENTROPY`.
    pub fn start(dir: &Path, allowance: Option<Allowance>) -> Result<Self> {
        Self::start_at(dir, allowance, clock::unix_ms().saturating_mul(1_000_000))
    }

    fn start_at(dir: &Path, allowance: Option<Allowance>, wall: u64) -> Result<Self> {
        let path = dir.join(FILE);
        if !ROLE.exists(&path)? {
            ROLE.create(&path, |database| {
                let transaction = database.begin_write()?;
                transaction.open_table(FULL_AT)?;
                Ok(transaction.commit()?)
            })?;
        }
        let (database, clock, saved) = ROLE.shield(&path, || {
            let database = open(&path)?;
            let transaction = database.begin_read()?;
            let written = match transaction.open_table(WRITTEN) {
                Ok(table) => table.get(())?.map_or(0, |written| written.value()),
                // Nothing was written yet.
                Err(TableError::TableDoesNotExist(_)) => 0,
                Err(e) => return Err(e.into()),
            };
            let clock = Clock::new(wall.max(written));
            let mut saved = HashMap::new();
            for row in transaction.open_table(FULL_AT)?.iter()? {
                let (id, full_at) = row?;
                if full_at.value() > clock.start {
                    saved.insert(id.value().to_vec(), full_at.value());
                }
            }
            Ok((database, clock, saved))
        })?;
        let counters = Arc::new(Counters::default());
        let (rejected, waiting) = mpsc::channel();
        let writer = Writer {
            path,
            database: Some(database),
            clock,
            counters: Arc::clone(&counters),
            failures: 0,
        };
        let thread = thread::Builder::new()
            .name("symbolon-budget".into())
            .spawn(move || writer.work(&waiting))
            .map_err(|e| Error::new(Kind::Io, format!("a thread cannot be started: {e}")))?;
        Ok(Self {
            allowance,
            clock,
            saved: saved.into(),
            rejected: Some(rejected).into(),
            thread: Duty::new("writes budgets of attempts", thread),
            counters,
        })
    }

    /// The budget of one who is seated, as it was saved. Gives it once.
    pub(super) fn saved(&self, id: &str) -> Meter {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        Meter::from_raw(saved.remove(id.as_bytes()).unwrap_or(0))
    }

    /// Begins an attempt.
    ///
    /// # Errors
    /// The identity is locked: how long.
    pub fn begin(&self, seat: &Seat) -> std::result::Result<(), Duration> {
        let Some(allowance) = self.allowance else { return Ok(()) };
        seat.failures.charge(allowance, self.clock.now()).inspect_err(|_| {
            self.counters.locked.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Ends an attempt that was not rejected.
    pub fn absolve(&self, seat: &Seat) {
        if let Some(allowance) = self.allowance {
            seat.failures.refund(allowance);
        }
    }

    /// Ends an attempt that was.
    pub fn rejected(&self, seat: &Arc<Seat>) {
        let Some(allowance) = self.allowance else { return };
        // Put back if there was one: so it was not the last.
        if seat.failures.charge(allowance, self.clock.now()).is_ok() {
            seat.failures.refund(allowance);
        } else {
            self.counters.lockouts.fetch_add(1, Ordering::Relaxed);
        }
        self.save(seat);
    }

    /// Forgets what one did who is removed.
    pub(super) fn forget(&self, seat: &Arc<Seat>) {
        if self.allowance.is_some() && seat.failures.read() != 0 {
            seat.failures.fill();
            self.save(seat);
        }
    }

    fn save(&self, seat: &Arc<Seat>) {
        if !seat.unsaved.swap(true, Ordering::AcqRel) {
            let rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(rejected) = rejected.as_ref() {
                // It ends only after this.
                let _ = rejected.send(Arc::clone(seat));
            }
        }
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Why budgets cannot be written any more, if they cannot.
    pub fn failure(&self) -> Option<Error> {
        self.counters.failure.get().cloned().or_else(|| self.thread.failure())
    }

    /// Writes what is not written yet, and closes the file.
    pub fn finish(&self) {
        drop(self.rejected.lock().unwrap_or_else(PoisonError::into_inner).take());
        // What it could not do, it has said.
        self.thread.end();
    }
}

/// As [`Attempts::finish`].
impl Drop for Attempts {
    fn drop(&mut self) {
        self.finish();
    }
}

fn open(path: &Path) -> std::result::Result<Database, redb::Error> {
    Ok(Database::builder().set_cache_size(CACHE).open(path)?)
}

struct Writer {
    path: PathBuf,
    /// Absent after a failure.
    database: Option<Database>,
    clock: Clock,
    counters: Arc<Counters>,
    /// In a row.
    failures: u32,
}

impl Writer {
    fn work(mut self, rejected: &Receiver<Arc<Seat>>) {
        let mut seats = Vec::new();
        let mut next = Instant::now() + PERIOD;
        loop {
            let ends = match rejected.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(seat) => {
                    seats.push(seat);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if ends || Instant::now() >= next {
                self.write(&mut seats);
                next = Instant::now() + PERIOD;
            }
            if ends {
                // Nobody tries after this.
                if !seats.is_empty() {
                    self.failures = self.failures.max(TRIES - 1);
                    self.write(&mut seats);
                }
                return;
            }
        }
    }

    /// Writes the budgets of these; takes them out when the disk has them.
    fn write(&mut self, seats: &mut Vec<Arc<Seat>>) {
        if seats.is_empty() {
            return;
        }
        for seat in seats.iter() {
            // Before it is read: what comes then is saved next time.
            seat.unsaved.store(false, Ordering::Release);
        }
        let now = self.clock.now();
        let Self { path, database, .. } = self;
        let written = ROLE.shield(path, || {
            let database = match database {
                Some(database) => database,
                None => database.insert(open(path)?),
            };
            let transaction = database.begin_write()?;
            let mut table = transaction.open_table(FULL_AT)?;
            for seat in seats.iter() {
                let full_at = seat.failures.read();
                if full_at > now {
                    table.insert(seat.id.as_bytes(), full_at)?;
                } else {
                    table.remove(seat.id.as_bytes())?;
                }
            }
            drop(table);
            transaction.open_table(WRITTEN)?.insert((), now)?;
            Ok(transaction.commit()?)
        });
        let Err(error) = written else {
            self.failures = 0;
            return seats.clear();
        };
        // Whoever was rejected again meanwhile comes by itself.
        seats.retain(|seat| !seat.unsaved.swap(true, Ordering::AcqRel));
        self.close();
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        self.failures += 1;
        let (code, message) = (error.code(), error.message());
        tracing::error!(code, message, "budgets of attempts cannot be written");
        if self.failures >= TRIES {
            // The first one says why.
            let _ = self.counters.failure.set(error);
        }
    }

    fn close(&mut self) {
        let database = self.database.take();
        // What was written is on the disk.
        let _ = ROLE.shield(&self.path, || {
            drop(database);
            Ok(())
        });
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gallery::{self, Entry};
    use symbolon_core::matching::Layout;

    const HOUR: Duration = Duration::from_secs(3600);

    fn budget() -> Option<Allowance> {
        Allowance::new(4, HOUR)
    }

    fn seat(attempts: &Attempts) -> Arc<Seat> {
        let layout = Layout::for_dims(128).unwrap();
        let record = gallery::record(layout, &[1.0; 128]).unwrap();
        let entry = Entry::parse(layout, "anna", &record).unwrap();
        Seat::new("anna".into(), entry, attempts.saved("anna"))
    }

    fn fail(attempts: &Attempts, seat: &Arc<Seat>) {
        attempts.begin(seat).unwrap();
        attempts.rejected(seat);
    }

    #[test]
    fn a_clock_that_jumps_locks_nobody_and_frees_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let hours = |n: u64| n * 3600 * 1_000_000_000;
        let start = |wall: u64| Attempts::start_at(dir.path(), budget(), wall).unwrap();
        // One failure of four, and then the clock is set back by a hundred hours.
        let attempts = start(hours(1000));
        fail(&attempts, &seat(&attempts));
        drop(attempts);
        let attempts = start(hours(900));
        let one = seat(&attempts);
        for _ in 0..3 {
            fail(&attempts, &one);
        }
        // Empty: for a quarter of an hour, not for a hundred hours.
        let wait = attempts.begin(&one).unwrap_err();
        assert!(wait <= HOUR / 4, "{wait:?}");
        drop(attempts);
        for (wall, locked) in [(0, true), (900, true), (1000, true), (1001, false)] {
            let attempts = start(hours(wall));
            let begun = attempts.begin(&seat(&attempts));
            assert_eq!(begun.is_err(), locked, "{wall} {begun:?}");
            drop(attempts);
        }
    }

    #[test]
    fn what_cannot_be_written_is_written_later() {
        let dir = tempfile::tempdir().unwrap();
        let attempts = Attempts::start(dir.path(), budget()).unwrap();
        let one = seat(&attempts);
        attempts.begin(&one).unwrap();
        one.unsaved.store(true, Ordering::Relaxed);
        let mut writer = Writer {
            path: dir.path().join("later.redb"),
            database: None,
            clock: attempts.clock,
            counters: Arc::default(),
            failures: 0,
        };
        let mut seats = vec![Arc::clone(&one)];
        let failed = |writer: &Writer| {
            let Counters { failed, failure, .. } = &*writer.counters;
            (failed.load(Ordering::Relaxed), failure.get().map(Error::kind))
        };
        for tries in 1..=2 {
            writer.write(&mut seats);
            assert_eq!((failed(&writer), seats.len()), ((tries, None), 1));
            // So nobody hands it in a second time.
            assert!(one.unsaved.load(Ordering::Relaxed));
        }
        drop(Database::create(&writer.path).unwrap());
        writer.write(&mut seats);
        assert_eq!((failed(&writer), seats.len(), writer.failures), ((2, None), 0, 0));
        assert!(!one.unsaved.load(Ordering::Relaxed));
        let transaction = writer.database.as_ref().unwrap().begin_read().unwrap();
        let table = transaction.open_table(FULL_AT).unwrap();
        assert_eq!(table.get(&b"anna"[..]).unwrap().unwrap().value(), one.failures.read());
        drop((table, transaction));

        // Several times in a row, and it is for good.
        writer.close();
        std::fs::remove_file(&writer.path).unwrap();
        one.unsaved.store(true, Ordering::Relaxed);
        seats.push(one);
        (0..TRIES).for_each(|_| writer.write(&mut seats));
        assert_eq!((failed(&writer), seats.len()), ((5, Some(Kind::Io)), 1));
    }
}
