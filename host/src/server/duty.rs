//! Threads that work until they are told to end. One that ends before that has died, and what it was there for is not done
//! any more: a failure for good.

use crate::error::{Error, Kind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// Such a thread.
pub(super) struct Duty {
    /// What it does: "writes budgets".
    what: &'static str,
    /// Absent once it was told to end.
    thread: Mutex<Option<JoinHandle<()>>>,
    panicked: AtomicBool,
}

impl Duty {
    pub(super) fn new(what: &'static str, thread: JoinHandle<()>) -> Self {
        Self { what, thread: Some(thread).into(), panicked: false.into() }
    }

    /// Whether it has died, which stays.
    pub(super) fn failure(&self) -> Option<Error> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = thread.as_ref().is_some_and(JoinHandle::is_finished);
        (gone || self.panicked.load(Ordering::Relaxed))
            .then(|| Error::new(Kind::Internal, format!("the thread that {} died", self.what)))
    }

    /// Waits for its end, once it was told.
    pub(super) fn end(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            self.panicked.store(true, Ordering::Relaxed);
        }
    }
}
