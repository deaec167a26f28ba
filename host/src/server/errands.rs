//! Work that waits for a disk, on threads that may: a few pieces of a kind at a time, some more wait, and the others are
//! refused.

use super::problem::Problem;
use crate::error::{Kind, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Pieces of one kind that are worked on at a time.
const AT_WORK: usize = 4;
/// And those that wait for it.
const WAITING: usize = 60;

/// One kind of such work.
pub struct Errands {
    room: Arc<Semaphore>,
    at_work: Arc<Semaphore>,
    busy: &'static str,
}

impl Errands {
    /// Nothing to do yet. `busy` is what too many do: "receipts are looked up".
    #[must_use]
    pub fn new(busy: &'static str) -> Self {
        let [room, at_work] = [AT_WORK + WAITING, AT_WORK].map(|n| Arc::new(Semaphore::new(n)));
        Self { room, at_work, busy }
    }

    /// Does a piece of work.
    ///
    /// Errors: `E-BUSY`, `E-INTERNAL` where it panics, and its own.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, Problem> {
        let failed = || Problem::new(Kind::Internal, "the server failed in an unforeseen way");
        let place = Arc::clone(&self.room).try_acquire_owned().map_err(|_| {
            let what = format!("too many {} at once", self.busy);
            Problem::new(Kind::Busy, what).after(Duration::from_secs(1))
        })?;
        let turn = Arc::clone(&self.at_work).acquire_owned().await.map_err(|_| failed())?;
        // It goes on where nobody waits for it any more, and so keeps its place.
        let work = move || {
            let _held = (place, turn);
            work()
        };
        Ok(spawn_blocking(work).await.map_err(|_| failed())??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_few_work_some_wait_and_others_are_refused() {
        let errands = Arc::new(Errands::new("things wait"));
        let (go, wait) = mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        let start = || {
            let (errands, wait) = (Arc::clone(&errands), Arc::clone(&wait));
            tokio::spawn(async move {
                let hold = move || {
                    let _ = wait.lock().unwrap().recv();
                    Ok(())
                };
                errands.run(hold).await
            })
        };
        let mut tasks: Vec<_> = (0..AT_WORK + WAITING).map(|_| start()).collect();
        while errands.room.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = errands.run(|| Ok(())).await.unwrap_err();
        assert_eq!((refused.kind, refused.retry_after.is_some()), (Kind::Busy, true));
        // Another kind has its own places.
        assert_eq!(Errands::new("").run(|| Ok(7)).await.unwrap(), 7);
        // Who goes while it waits leaves its place, and who goes during the work does not.
        while errands.at_work.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        tasks.drain(..).for_each(|task| task.abort());
        while errands.room.available_permits() < WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(errands.at_work.available_permits(), 0);
        drop(go);
        while errands.room.available_permits() < AT_WORK + WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(errands.run(|| Ok(8)).await.unwrap(), 8);
        let failed = errands.run(|| Err::<(), _>(Error::new(Kind::UnknownId, "nobody"))).await;
        assert_eq!(failed.unwrap_err().kind, Kind::UnknownId);
        let panicked = errands.run(|| -> Result<()> { panic!("on purpose") }).await;
        assert_eq!(panicked.unwrap_err().kind, Kind::Internal);
    }
}
