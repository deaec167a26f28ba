//! How often an identity may be tried in vain, before nobody may try it for a while.
//!
//! An attempt takes one out of the identity's budget when it comes in, and puts it back unless it is rejected: so
//! attempts at once get no further than attempts one by one. A budget of n an hour lets n be rejected at once, and
//! then one every n-th of an hour.
//!
//! Budgets outlive the process: DIR/attempts.redb has, for each id that was rejected lately, when its budget will
//! be full. It is written behind the answers, once a second. So a crash forgets the rejections of the last
//! second, which are never more than one budget; a stop forgets none. Times are of the wall clock: a clock that
//! is set back prolongs a lock by as much, and one that is set forward shortens it.

use super::meter::{Allowance, Meter};
use super::roster::Seat;
use crate::database::Role;
use crate::error::{Error, Kind, Result};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use symbolon_platform::clock;

/// The file's name.
pub const FILE: &str = "attempts.redb";

const ROLE: Role =
    Role { name: "attempts database", format: Kind::StoreFormat, busy: Kind::StoreBusy };
const FULL_AT: TableDefinition<&[u8], u64> = TableDefinition::new("full_at");
const CACHE: usize = 4 << 20;
/// How often rejections are written.
const PERIOD: Duration = Duration::from_secs(1);

/// The budgets' rule, and whoever saves them.
pub struct Attempts {
    /// `None`: as many as anybody likes.
    allowance: Option<Allowance>,
    /// As they were when the process began, until everybody is seated.
    saved: Mutex<HashMap<Vec<u8>, u64>>,
    /// Absent when it has ended.
    rejected: Mutex<Option<Sender<Arc<Seat>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
}

fn now() -> u64 {
    clock::unix_ms().saturating_mul(1_000_000)
}

impl Attempts {
    /// With the budgets in `dir`; the file is made where there is none.
    ///
    /// Errors: `E-STORE-FORMAT` if it is damaged; `E-STORE-BUSY`, `E-IO`, `E-ENTROPY`.
    pub fn start(dir: &Path, allowance: Option<Allowance>) -> Result<Self> {
        let path = dir.join(FILE);
        if !ROLE.exists(&path)? {
            ROLE.create(&path, |database| {
                let transaction = database.begin_write()?;
                transaction.open_table(FULL_AT)?;
                Ok(transaction.commit()?)
            })?;
        }
        let now = now();
        let (database, saved) = ROLE.shield(&path, || {
            let database = Database::builder().set_cache_size(CACHE).open(&path)?;
            let table = database.begin_read()?.open_table(FULL_AT)?;
            let mut saved = HashMap::new();
            for row in table.iter()? {
                let (id, full_at) = row?;
                if full_at.value() > now {
                    saved.insert(id.value().to_vec(), full_at.value());
                }
            }
            Ok((database, saved))
        })?;
        let counters = Arc::new(Counters::default());
        let (rejected, waiting) = mpsc::channel();
        let writer = Writer { path, database: Some(database), counters: Arc::clone(&counters) };
        let thread = thread::Builder::new()
            .name("symbolon-budget".into())
            .spawn(move || writer.work(&waiting))
            .map_err(|e| Error::new(Kind::Io, format!("a thread cannot be started: {e}")))?;
        Ok(Self {
            allowance,
            saved: saved.into(),
            rejected: Some(rejected).into(),
            thread: Some(thread).into(),
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
        seat.failures.charge(allowance, now()).inspect_err(|_| {
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
        if seat.failures.charge(allowance, now()).is_ok() {
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

    /// Writes what is not written yet, and closes the file.
    pub fn finish(&self) {
        drop(self.rejected.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // What it could not do is counted.
            let _ = thread.join();
        }
    }
}

/// As [`Attempts::finish`].
impl Drop for Attempts {
    fn drop(&mut self) {
        self.finish();
    }
}

struct Writer {
    path: PathBuf,
    /// Absent only while the value is dropped.
    database: Option<Database>,
    counters: Arc<Counters>,
}

impl Writer {
    fn work(self, rejected: &Receiver<Arc<Seat>>) {
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
                if !seats.is_empty() {
                    self.write(&seats);
                    seats.clear();
                }
                next = Instant::now() + PERIOD;
            }
            if ends {
                return;
            }
        }
    }

    fn write(&self, seats: &[Arc<Seat>]) {
        let now = now();
        let written = ROLE.shield(&self.path, || {
            let Some(database) = &self.database else { return Ok(()) };
            let transaction = database.begin_write()?;
            let mut table = transaction.open_table(FULL_AT)?;
            for seat in seats {
                // Before it is read: what comes then is saved next time.
                seat.unsaved.store(false, Ordering::Release);
                let full_at = seat.failures.read();
                if full_at > now {
                    table.insert(seat.id.as_bytes(), full_at)?;
                } else {
                    table.remove(seat.id.as_bytes())?;
                }
            }
            drop(table);
            Ok(transaction.commit()?)
        });
        if let Err(error) = written {
            self.counters.failed.fetch_add(1, Ordering::Relaxed);
            tracing::error!(code = error.code(), "budgets of attempts cannot be written");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let database = self.database.take();
        // What was written is on the disk.
        let _ = ROLE.shield(&self.path, || {
            drop(database);
            Ok(())
        });
    }
}
