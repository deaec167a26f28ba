//! Threads with a name, on a core, behind the others; and what of it came true.

use std::io;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

use crate::os;

/// Who goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// As the thread that starts it.
    #[default]
    Normal,
    /// After everybody else: a batch job (`SCHED_BATCH`) in short slices, nicer by ten than its starter.
    Low,
}

/// A thread to start.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Linux shows the first 15 bytes.
    pub name: String,
    /// To run on this core and no other.
    pub core: Option<usize>,
    /// Whether others go first.
    pub priority: Priority,
}

/// What came of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was none.
    NotAsked,
    /// It holds.
    Done,
    /// It does not. The system's answer, or `None` where it has no such call.
    Failed(Option<i32>),
}

impl From<io::Result<()>> for Outcome {
    fn from(result: io::Result<()>) -> Self {
        result.map_or_else(|error| Self::Failed(error.raw_os_error()), |()| Self::Done)
    }
}

/// Where and how a [`Worker`] runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Whether it stays on its core.
    pub core: Outcome,
    /// Whether others go first.
    pub priority: Outcome,
}

impl Worker {
    /// Starts it, and waits until it is in its place.
    ///
    /// A wish that fails does not keep `body` from running: whoever minds it finds it in the
    /// [`Placement`].
    ///
    /// # Errors
    /// There can be no thread, or the name has a NUL byte.
    pub fn spawn<T, F>(self, body: F) -> io::Result<(JoinHandle<T>, Placement)>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        if self.name.contains('\0') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (report, placed) = mpsc::sync_channel(1);
        let Self { name, core, priority } = self;
        let thread = Builder::new().name(name).spawn(move || {
            let core = core.map_or(Outcome::NotAsked, |core| os::pin(core).into());
            let priority = match priority {
                Priority::Normal => Outcome::NotAsked,
                Priority::Low => os::lower_priority().into(),
            };
            // The other end waits for it.
            let _ = report.send(Placement { core, priority });
            body()
        })?;
        let placement = placed.recv().map_err(io::Error::other)?;
        Ok((thread, placement))
    }
}

/// The cores on which the calling thread may run: asked before it is pinned, those of the process.
///
/// # Errors
/// The operating system does not say.
pub fn cores() -> io::Result<Vec<usize>> {
    os::cores()
}

/// The core on which the calling thread ran just now, where the operating system says.
#[must_use]
pub fn current_core() -> Option<usize> {
    os::current_core()
}
