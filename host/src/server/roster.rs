//! Who is enrolled, in memory: read by every request without a lock, changed by one thread.
//!
//! ```text
//!  enrol, remove ─▶ [ waiting ] ─▶ REGISTRAR: one transaction for all that wait ─▶ roster ─▶ answers
//! ```
//!
//! The registrar has the store open for as long as it lives. A change shows in the roster when the disk has it, and is
//! answered then: so a crash takes nothing back that was acknowledged. What is under way for somebody who is
//! removed meanwhile is still decided.
//!
//! A disk that fails once fails for good: the store takes nothing more until it is opened anew. So the server ends then; and
//! where the registrar dies.

use super::attempts::Attempts;
use super::duty::Duty;
use super::meter::Meter;
use crate::error::{Error, Kind, Result};
use crate::gallery::Entry;
use crate::store::{Change, Templates};
use papaya::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use symbolon_core::matching::Layout;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// Changes that may wait; and the most of one transaction.
const WAITING: usize = 1024;
const TOGETHER: usize = 256;

/// Somebody's place in the roster.
pub struct Seat {
    /// Who.
    pub id: Arc<str>,
    /// What the matcher needs.
    pub entry: Arc<Entry>,
    /// Attempts that failed, and those under way.
    pub failures: Meter,
    /// Whether the failures are on their way to the disk.
    pub(super) unsaved: AtomicBool,
}

impl Seat {
    /// With a budget as it was saved.
    #[must_use]
    pub fn new(id: Arc<str>, entry: Entry, failures: Meter) -> Arc<Self> {
        Arc::new(Self { id, entry: Arc::new(entry), failures, unsaved: false.into() })
    }
}

/// Everybody, by id.
pub struct Roster {
    seats: HashMap<Arc<str>, Arc<Seat>>,
}

impl Roster {
    /// Everybody in a store, with their budgets as `attempts` saved them. `progress` is told of each.
    ///
    /// Errors: the store's, and `E-STORE-RECORD` for a record that does not hold a template.
    pub fn load(
        store: &dyn Templates,
        layout: Layout,
        attempts: &Attempts,
        progress: &mut dyn FnMut(),
    ) -> Result<Self> {
        let people = usize::try_from(store.people()).unwrap_or(0);
        let seats = HashMap::with_capacity(people);
        store.for_each(&mut |id, record| {
            let entry = Entry::parse(layout, id, record).ok_or_else(|| {
                let message = format!("the record of id \"{id}\" does not hold a template");
                Error::new(Kind::StoreRecord, message)
            })?;
            let id: Arc<str> = id.into();
            seats.pin().insert(Arc::clone(&id), Seat::new(id.clone(), entry, attempts.saved(&id)));
            progress();
            Ok(())
        })?;
        Ok(Self { seats })
    }

    /// Somebody's place.
    pub fn find(&self, id: &str) -> Option<Arc<Seat>> {
        self.seats.pin().get(id).cloned()
    }

    /// How many are enrolled.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

enum Wish {
    Enrol { id: String, record: Zeroizing<Vec<u8>> },
    Remove { id: String },
}

/// What a change waits for.
pub type Done = oneshot::Receiver<Result<()>>;

struct Order {
    wish: Wish,
    done: oneshot::Sender<Result<()>>,
}

/// What the registrar has done.
#[derive(Default)]
pub struct Registered {
    /// People enrolled.
    pub enrolled: AtomicU64,
    /// People removed.
    pub removed: AtomicU64,
    /// Transactions.
    pub commits: AtomicU64,
    /// Transactions that failed.
    pub failed: AtomicU64,
    /// What the disk failed with.
    failure: OnceLock<Error>,
}

/// Changes store and roster.
pub struct Registrar {
    /// Absent when it has ended.
    orders: Mutex<Option<SyncSender<Order>>>,
    thread: Duty,
    counters: Arc<Registered>,
}

impl Registrar {
    /// Starts its thread. Errors: `E-IO`.
    pub fn start(
        store: Box<dyn Templates>,
        layout: Layout,
        roster: Arc<Roster>,
        attempts: Arc<Attempts>,
    ) -> Result<Self> {
        let (orders, waiting) = mpsc::sync_channel(WAITING);
        let counters = Arc::new(Registered::default());
        let mut desk = Desk { store, layout, roster, attempts, counters: Arc::clone(&counters) };
        let thread = thread::Builder::new()
            .name("symbolon-roster".into())
            .spawn(move || desk.work(&waiting))
            .map_err(|e| Error::new(Kind::Io, format!("a thread cannot be started: {e}")))?;
        let thread = Duty::new("changes the roster", thread);
        Ok(Self { orders: Some(orders).into(), thread, counters })
    }

    /// Enrols somebody with a record as [`gallery::record`](crate::gallery::record) makes it.
    ///
    /// Errors: `E-BUSY` where too many changes wait; `E-DRAINING`. When it is done: `E-ID`, `E-DUPLICATE-ID`,
    /// and those of [`Templates::apply`].
    pub fn enrol(&self, id: String, record: Zeroizing<Vec<u8>>) -> Result<Done> {
        self.order(Wish::Enrol { id, record })
    }

    /// Removes somebody.
    ///
    /// Errors: as of [`Self::enrol`]; when it is done, `E-UNKNOWN-ID`.
    pub fn remove(&self, id: String) -> Result<Done> {
        self.order(Wish::Remove { id })
    }

    fn order(&self, wish: Wish) -> Result<Done> {
        let (done, answer) = oneshot::channel();
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let draining = || Error::new(Kind::Draining, "the server is being stopped");
        let sent = orders.as_ref().ok_or_else(draining)?.try_send(Order { wish, done });
        match sent {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(Error::new(Kind::Busy, "too many changes wait")),
            Err(TrySendError::Disconnected(_)) => Err(draining()),
        }
    }

    /// What was done.
    pub fn counters(&self) -> &Registered {
        &self.counters
    }

    /// What the disk failed with, if it did, or that the thread died: no change is made any more.
    pub fn failure(&self) -> Option<Error> {
        self.counters.failure.get().cloned().or_else(|| self.thread.failure())
    }

    /// Takes nothing in any more; returns when all that was taken in is done, and the store is closed.
    pub fn finish(&self) {
        drop(self.orders.lock().unwrap_or_else(PoisonError::into_inner).take());
        // What it left undone is answered by its absence.
        self.thread.end();
    }
}

/// As [`Registrar::finish`].
impl Drop for Registrar {
    fn drop(&mut self) {
        self.finish();
    }
}

struct Desk {
    store: Box<dyn Templates>,
    layout: Layout,
    roster: Arc<Roster>,
    attempts: Arc<Attempts>,
    counters: Arc<Registered>,
}

impl Desk {
    fn work(&mut self, waiting: &Receiver<Order>) {
        let mut orders = Vec::with_capacity(TOGETHER);
        while let Ok(first) = waiting.recv() {
            orders.push(first);
            orders.extend(waiting.try_iter().take(TOGETHER - 1));
            self.settle(&mut orders);
        }
    }

    /// One transaction; then the roster, in the same order; then the answers.
    fn settle(&mut self, orders: &mut Vec<Order>) {
        let changes: Vec<_> = orders
            .iter()
            .map(|order| match &order.wish {
                Wish::Enrol { id, record } => Change::Enrol { id, template: record },
                Wish::Remove { id } => Change::Remove { id },
            })
            .collect();
        let outcomes = self.store.apply(&changes).unwrap_or_else(|error| {
            self.counters.failed.fetch_add(1, Ordering::Relaxed);
            tracing::error!(code = error.code(), "enrolments cannot be written");
            if error.kind() == Kind::Io {
                // The first one says why.
                let _ = self.counters.failure.set(error.clone());
            }
            changes.iter().map(|_| Err(error.clone())).collect()
        });
        drop(changes);
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        for (order, outcome) in orders.drain(..).zip(outcomes) {
            let outcome = outcome.and_then(|()| self.show(order.wish));
            // Whoever asked may have gone.
            let _ = order.done.send(outcome);
        }
    }

    fn show(&self, wish: Wish) -> Result<()> {
        let seats = self.roster.seats.pin();
        match wish {
            Wish::Enrol { id, record } => {
                let entry = Entry::parse(self.layout, &id, &record).ok_or_else(|| {
                    Error::new(Kind::Internal, "a record was enrolled that holds no template")
                })?;
                let id: Arc<str> = id.into();
                seats.insert(Arc::clone(&id), Seat::new(id, entry, Meter::default()));
                self.counters.enrolled.fetch_add(1, Ordering::Relaxed);
            }
            Wish::Remove { id } => {
                if let Some(seat) = seats.remove(id.as_str()) {
                    self.attempts.forget(seat);
                }
                self.counters.removed.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gallery;
    use std::time::{Duration, Instant};

    /// Remembers names, or fails, as it is told.
    struct Memory {
        ids: Vec<String>,
        fails: Arc<AtomicBool>,
    }

    impl Templates for Memory {
        fn dims(&self) -> usize {
            128
        }

        fn people(&self) -> u64 {
            self.ids.len() as u64
        }

        fn for_each(&self, _: &mut dyn FnMut(&str, &[u8]) -> Result<()>) -> Result<()> {
            Ok(())
        }

        fn apply(&mut self, changes: &[Change<'_>]) -> Result<Vec<Result<()>>> {
            if changes.iter().any(|change| matches!(change, Change::Remove { id: "panic" })) {
                panic!("on purpose");
            }
            if self.fails.load(Ordering::Relaxed) {
                return Err(Error::new(Kind::Io, "the disk is full"));
            }
            let made = changes.iter().map(|change| match *change {
                Change::Enrol { id, .. } if self.ids.iter().any(|known| known == id) => {
                    Err(Error::new(Kind::DuplicateId, "enrolled already"))
                }
                Change::Enrol { id, .. } => {
                    self.ids.push(id.to_owned());
                    Ok(())
                }
                Change::Remove { id } => {
                    let before = self.ids.len();
                    self.ids.retain(|known| known != id);
                    let unknown = || Error::new(Kind::UnknownId, "nobody");
                    (self.ids.len() < before).then_some(()).ok_or_else(unknown)
                }
            });
            Ok(made.collect())
        }
    }

    #[test]
    fn a_registrar_that_dies_has_failed_for_good_and_one_that_ends_has_not() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::for_dims(128).unwrap();
        for dies in [true, false] {
            let store = Memory { ids: Vec::new(), fails: Arc::default() };
            let attempts = Arc::new(Attempts::start(dir.path(), None).unwrap());
            let roster = Arc::new(Roster::load(&store, layout, &attempts, &mut || ()).unwrap());
            let registrar =
                Registrar::start(Box::new(store), layout, roster, Arc::clone(&attempts)).unwrap();
            assert_eq!((registrar.failure(), attempts.failure()), (None, None));
            if dies {
                assert!(registrar.remove("panic".into()).unwrap().blocking_recv().is_err());
                let end = Instant::now() + Duration::from_secs(10);
                while registrar.failure().is_none() {
                    assert!(Instant::now() < end);
                }
            }
            registrar.finish();
            attempts.finish();
            let died = dies.then_some(Kind::Internal);
            assert_eq!(registrar.failure().as_ref().map(Error::kind), died);
            assert_eq!(attempts.failure(), None);
        }
    }

    #[test]
    fn what_the_store_does_not_take_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::for_dims(128).unwrap();
        let fails = Arc::new(AtomicBool::new(false));
        let store = Memory { ids: Vec::new(), fails: Arc::clone(&fails) };
        let attempts = Arc::new(Attempts::start(dir.path(), None).unwrap());
        let roster = Arc::new(Roster::load(&store, layout, &attempts, &mut || ()).unwrap());
        let (store, seats) = (Box::new(store), Arc::clone(&roster));
        let registrar = Registrar::start(store, layout, seats, attempts).unwrap();
        let record = || gallery::record(layout, &[1.0; 128]).unwrap();
        let enrol =
            |id: &str| registrar.enrol(id.into(), record()).unwrap().blocking_recv().unwrap();
        let remove = |id: &str| registrar.remove(id.into()).unwrap().blocking_recv().unwrap();

        assert!(enrol("anna").is_ok() && roster.find("anna").is_some());
        assert_eq!(registrar.failure(), None);
        fails.store(true, Ordering::Relaxed);
        assert_eq!(enrol("bert").unwrap_err().kind(), Kind::Io);
        assert_eq!(remove("anna").unwrap_err().kind(), Kind::Io);
        assert!(roster.find("bert").is_none() && roster.find("anna").is_some());
        assert_eq!(registrar.counters().failed.load(Ordering::Relaxed), 2);
        assert_eq!(registrar.failure().unwrap().message(), "the disk is full");
        // When the store is well again, so is everything.
        fails.store(false, Ordering::Relaxed);
        assert!(enrol("bert").is_ok() && remove("anna").is_ok());
        assert_eq!(enrol("bert").unwrap_err().kind(), Kind::DuplicateId);
        assert_eq!(remove("anna").unwrap_err().kind(), Kind::UnknownId);
        assert_eq!((roster.len(), roster.find("anna").is_none()), (1, true));
        registrar.finish();
        assert_eq!(registrar.enrol("carl".into(), record()).unwrap_err().kind(), Kind::Draining);
    }
}
