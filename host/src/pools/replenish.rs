//! The threads that refill: fast while a pool is low, a quarter of a core between the watermarks, parked
//! when all is full.

use super::desk::Desk;
use super::{Failure, Shared, Stash};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use symbolon_core::pool::Material;

/// How long one is parked before it looks by itself: keys age meanwhile, and somebody has to sweep.
const PARKED: Duration = Duration::from_secs(1);
/// How long one rests where keys are wanted, but every cell is in use.
const NO_ROOM: Duration = Duration::from_millis(10);
/// Between the watermarks a thread rests this many times as long as it took to make a key, but no longer
/// than it would be parked.
const REST: u32 = 3;
/// Keys that take less than this are made several in a row before it rests: a rest costs a call of the system.
const SPELL: Duration = Duration::from_micros(500);
/// How long after a failure it tries again; twice as long after every further one.
const RETRY: Duration = Duration::from_millis(50);
const MAX_RETRY: Duration = Duration::from_secs(5);

/// What a replenisher is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Activity {
    /// Looks for what to do, or makes keys.
    Working = 0,
    /// Between the watermarks, for a moment.
    Resting = 1,
    /// All pools are full.
    Parked = 2,
    /// After a failure, until it tries again.
    Failed = 3,
    /// It has ended.
    Ended = 4,
}

impl Activity {
    const fn of(number: u8) -> Self {
        match number {
            0 => Self::Working,
            1 => Self::Resting,
            2 => Self::Parked,
            3 => Self::Failed,
            _ => Self::Ended,
        }
    }
}

/// All replenishers of a supply, as others see them.
pub(super) struct Crew {
    workers: Box<[Worker]>,
    /// How many rest or are parked.
    idle: AtomicU32,
    stop: AtomicBool,
    pub(super) panics: AtomicU64,
    pub(super) failures: AtomicU64,
}

struct Worker {
    activity: AtomicU8,
    thread: OnceLock<Thread>,
}

impl Worker {
    fn set(&self, activity: Activity) {
        self.activity.store(activity as u8, Ordering::SeqCst);
    }

    fn activity(&self) -> Activity {
        Activity::of(self.activity.load(Ordering::SeqCst))
    }

    /// Makes it work, if it is idle. Gives whether it was.
    fn rouse(&self) -> bool {
        let now = self.activity();
        matches!(now, Activity::Resting | Activity::Parked)
            && self
                .activity
                .compare_exchange(now as u8, 0, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

impl Crew {
    pub(super) fn new(threads: u32) -> Self {
        let worker = |_| Worker { activity: AtomicU8::new(0), thread: OnceLock::new() };
        Self {
            workers: (0..threads).map(worker).collect(),
            idle: AtomicU32::new(0),
            stop: AtomicBool::new(false),
            panics: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub(super) fn activities(&self) -> Vec<Activity> {
        self.workers.iter().map(Worker::activity).collect()
    }

    /// Has one more work, if any is idle. For who has just taken a key.
    #[inline]
    pub(super) fn wake(&self) {
        // Who goes to rest says so and then looks at the levels; we have lowered one and look whether
        // somebody says so. With a fence on both sides, one of us sees the other.
        fence(Ordering::SeqCst);
        if self.idle.load(Ordering::Relaxed) > 0 {
            self.wake_one();
        }
    }

    #[cold]
    fn wake_one(&self) {
        if let Some(worker) = self.workers.iter().find(|worker| worker.rouse()) {
            self.idle.fetch_sub(1, Ordering::SeqCst);
            worker.unpark();
        }
    }

    /// Lets the worker rest, until it is woken or for so long, unless `is_needed`.
    fn rest(&self, worker: &Worker, how: Activity, time: Duration, is_needed: impl Fn() -> bool) {
        self.idle.fetch_add(1, Ordering::SeqCst);
        worker.set(how);
        fence(Ordering::SeqCst);
        if !is_needed() && !self.stops() {
            thread::park_timeout(time);
        }
        if worker.rouse() {
            self.idle.fetch_sub(1, Ordering::SeqCst);
        }
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.workers.iter().for_each(Worker::unpark);
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// How many have not ended.
    pub(super) fn at_work(&self) -> u32 {
        self.workers.iter().filter(|worker| worker.activity() != Activity::Ended).count() as u32
    }
}

/// What came of looking for work.
enum Step {
    /// Keys were made where they were urgent.
    Urgent,
    /// Keys were made below a high watermark.
    Calm,
    /// Keys are urgent somewhere, and there is no cell for them.
    NoRoom,
    /// There is nothing to do.
    Full,
}

/// What a replenisher works with.
struct Tools<T: Material, D> {
    desk: D,
    stash: Option<Stash<T>>,
}

/// A replenisher's life. `desks` gives it a new desk, at first and after a failure.
pub(super) fn run<T: Material, D: Desk<T>>(
    shared: &Shared<T>,
    index: usize,
    desks: &dyn Fn() -> Result<D, Failure>,
) {
    let crew = &shared.crew;
    let Some(worker) = crew.workers.get(index) else { return };
    // Set once: this is the only thread that does.
    let _ = worker.thread.set(thread::current());
    let mut tools: Option<Tools<T, D>> = None;
    let mut cursor = index;
    let mut retry = RETRY;
    let mut spell = Duration::ZERO;
    while !crew.stops() {
        let begun = Instant::now();
        // What a panic leaves behind is not used again: the desk is dropped, cells are wiped.
        let done = catch_unwind(AssertUnwindSafe(|| {
            let tools = match &mut tools {
                Some(tools) => tools,
                none => none.insert(Tools { desk: desks()?, stash: shared.stash()? }),
            };
            if shared.tidy() {
                let pools = shared.tiers.pools();
                tools.desk.tidy(&|at, id| pools.get(at).is_some_and(|pool| pool.is_alive(id)));
            }
            step(shared, tools, &mut cursor)
        }));
        let step = match done {
            Ok(Ok(step)) => step,
            failed => {
                let count = if failed.is_err() { &crew.panics } else { &crew.failures };
                count.fetch_add(1, Ordering::Relaxed);
                tools = None;
                wait(crew, worker, retry);
                retry = (retry * 2).min(MAX_RETRY);
                continue;
            }
        };
        let low = || shared.tiers.is_low();
        match step {
            Step::Urgent => {}
            Step::Calm => {
                spell += begun.elapsed();
                if spell >= SPELL {
                    crew.rest(worker, Activity::Resting, (spell * REST).min(PARKED), low);
                    spell = Duration::ZERO;
                }
            }
            Step::NoRoom => crew.rest(worker, Activity::Resting, NO_ROOM, || false),
            Step::Full => crew.rest(worker, Activity::Parked, PARKED, low),
        }
        if matches!(step, Step::Urgent | Step::Calm) {
            retry = RETRY;
        }
    }
    drop(tools);
    worker.set(Activity::Ended);
}

/// Waits after a failure; nothing but the end of the supply cuts it short.
fn wait(crew: &Crew, worker: &Worker, time: Duration) {
    worker.set(Activity::Failed);
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now())
        && !left.is_zero()
        && !crew.stops()
    {
        thread::park_timeout(left);
    }
    worker.set(Activity::Working);
}

/// Makes keys for the pool that needs them most; of equals, the next in turn.
fn step<T: Material, D: Desk<T>>(
    shared: &Shared<T>,
    tools: &mut Tools<T, D>,
    cursor: &mut usize,
) -> Result<Step, Failure> {
    let pools = shared.tiers.pools();
    let turn = |cursor: usize| (0..pools.len()).map(move |at| (cursor + at) % pools.len());
    let mut starved = false;
    for (is_urgent, made) in [(true, Step::Urgent), (false, Step::Calm)] {
        for at in turn(*cursor) {
            let needs = pools.get(at).is_some_and(|pool| match is_urgent {
                true => pool.is_low(),
                // Keys that are finished together wait for one another, as long as none is urgent.
                false => {
                    let policy = pool.policy();
                    let span = policy.high.saturating_sub(policy.low) / 2;
                    pool.wanted() >= span.min(D::BATCH as u32).max(1)
                }
            });
            if !needs {
                continue;
            }
            let promoted = match &mut tools.stash {
                Some(stash) if is_urgent => shared.promote(&mut tools.desk, stash, at)?,
                _ => false,
            };
            if promoted || shared.refill(&mut tools.desk, at)? > 0 {
                *cursor = at + 1;
                return Ok(made);
            }
            starved |= is_urgent;
        }
    }
    if let Some(stash) = &mut tools.stash
        && shared.put_away(&mut tools.desk, stash)?
    {
        return Ok(Step::Calm);
    }
    Ok(if starved { Step::NoRoom } else { Step::Full })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Who rests is woken at once, and not once too often.
    #[test]
    fn who_rests_is_woken() {
        let crew = Arc::new(Crew::new(2));
        let long = Duration::from_secs(600);
        let rester = |index: usize| {
            let crew = Arc::clone(&crew);
            thread::spawn(move || {
                let worker = &crew.workers[index];
                worker.thread.set(thread::current()).unwrap();
                crew.rest(worker, Activity::Parked, long, || false);
            })
        };
        let threads = [rester(0), rester(1)];
        while crew.idle.load(Ordering::SeqCst) != 2
            || crew.activities() != [Activity::Parked, Activity::Parked]
        {
            thread::yield_now();
        }
        crew.wake();
        assert_eq!(crew.idle.load(Ordering::SeqCst), 1, "one of them");
        crew.wake();
        assert_eq!(crew.idle.load(Ordering::SeqCst), 0);
        crew.wake();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(crew.idle.load(Ordering::SeqCst), 0);
        assert_eq!(crew.activities(), [Activity::Working; 2]);
    }

    /// The second look comes when others can see that it rests.
    #[test]
    fn who_is_needed_does_not_rest() {
        let crew = Crew::new(1);
        let worker = &crew.workers[0];
        let begun = Instant::now();
        let is_needed = || {
            assert_eq!(crew.idle.load(Ordering::SeqCst), 1);
            assert_eq!(worker.activity(), Activity::Resting);
            true
        };
        crew.rest(worker, Activity::Resting, Duration::from_secs(20), is_needed);
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!((crew.idle.load(Ordering::SeqCst), worker.activity()), (0, Activity::Working));
    }

    /// No wake-up is lost between looking and resting: a lost one would cost ten minutes.
    #[test]
    fn no_wake_up_is_lost() {
        const TURNS: u32 = 20_000;
        let crew = Crew::new(1);
        let (asked, served) = (AtomicU32::new(0), AtomicU32::new(0));
        let is_needed = || asked.load(Ordering::Relaxed) > served.load(Ordering::Relaxed);
        thread::scope(|scope| {
            scope.spawn(|| {
                let worker = &crew.workers[0];
                worker.thread.set(thread::current()).unwrap();
                while served.load(Ordering::Relaxed) < TURNS {
                    if is_needed() {
                        served.fetch_add(1, Ordering::Relaxed);
                    } else {
                        crew.rest(worker, Activity::Parked, Duration::from_secs(600), is_needed);
                    }
                }
            });
            for turn in 1..=TURNS {
                let begun = Instant::now();
                asked.store(turn, Ordering::Relaxed);
                crew.wake();
                while served.load(Ordering::Relaxed) < turn {
                    assert!(begun.elapsed() < Duration::from_secs(30), "lost at {turn}");
                    thread::yield_now();
                }
            }
        });
    }
}
