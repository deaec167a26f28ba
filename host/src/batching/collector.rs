//! Requests that wait, and the workers that wait for them. Bounded, and without a lock.
//!
//! Whoever submits pushes into the queue of its priority. Of the workers without work one collects: it holds a batch
//! that is not full, and waits as long as the [`Pace`] allows. The others sleep, or take what makes a
//! full batch. A worker that is done takes what has gathered meanwhile: under load nobody waits for anything.
//!
//! *No wake-up is lost.* Who submits pushes and then looks for sleepers; who goes to sleep says so and then looks at
//! the queues. Between the two there is a sequentially consistent fence on each side, so one sees the other.

use super::strategy::Pace;
use crossbeam_queue::ArrayQueue;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Who rides first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Priority {
    /// In the next batch that leaves, but for the places kept for others.
    High,
    /// The usual one.
    Normal,
    /// Where there is room, and a place in every batch.
    Bulk,
}

impl Priority {
    /// All, first ones first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Bulk];
}

/// Of 32 lanes, how many each priority has before another one with requests waiting may take the rest.
const KEPT: [usize; 3] = [22, 8, 2];
const LANES: usize = 32;

/// What waits.
pub trait Waiting {
    /// Since when.
    fn since(&self) -> Instant;
}

/// Why something was not taken in. It is given back.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<T> {
    /// The queue of its priority is full.
    Full(T),
    /// Nothing is taken in any more.
    Closed(T),
}

/// The queues of one type of request.
pub struct Collector<T> {
    queues: [ArrayQueue<T>; 3],
    lanes: usize,
    /// 1 + the worker that collects, or 0.
    leader: AtomicUsize,
    /// How many waiting requests wake it.
    enough: AtomicUsize,
    /// A bit a worker that sleeps.
    asleep: Box<[AtomicU64]>,
    threads: Box<[OnceLock<Thread>]>,
    closed: AtomicBool,
    /// Requests between the look at `closed` and their queue.
    entering: AtomicUsize,
}

impl<T: Waiting> Collector<T> {
    /// For so many workers, with room for `capacity` requests of each priority.
    #[must_use]
    pub fn new(workers: usize, lanes: usize, capacity: usize) -> Self {
        Self {
            queues: Priority::ALL.map(|_| ArrayQueue::new(capacity.max(1))),
            lanes: lanes.clamp(1, LANES),
            leader: 0.into(),
            enough: 0.into(),
            asleep: (0..workers.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            threads: (0..workers).map(|_| OnceLock::new()).collect(),
            closed: false.into(),
            entering: 0.into(),
        }
    }

    /// Requests that wait, by priority.
    #[must_use]
    pub fn depth(&self) -> [usize; 3] {
        [0, 1, 2].map(|p: usize| self.queues.get(p).map_or(0, ArrayQueue::len))
    }

    /// Room for requests of one priority.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queues[0].capacity()
    }

    fn waiting(&self) -> usize {
        self.depth().iter().sum()
    }

    /// Takes a request in, and wakes a worker where one is needed.
    ///
    /// # Errors
    /// [`Refused`], with the request.
    pub fn push(&self, request: T, priority: Priority) -> Result<(), Refused<T>> {
        // Said before looking, so that whoever sees the end has seen everybody who did not.
        self.entering.fetch_add(1, Ordering::SeqCst);
        let pushed = if self.closed.load(Ordering::SeqCst) {
            Err(Refused::Closed(request))
        } else {
            self.queues[priority as usize].push(request).map_err(Refused::Full)
        };
        self.entering.fetch_sub(1, Ordering::Release);
        pushed?;
        fence(Ordering::SeqCst);
        match self.leader.load(Ordering::Relaxed) {
            0 => self.wake_one(),
            leader => {
                if self.waiting() >= self.enough.load(Ordering::Relaxed) {
                    self.wake(leader - 1);
                }
            }
        }
        Ok(())
    }

    /// Takes nothing in any more. What is in leaves in batches, and then workers are told to end.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        for worker in 0..self.threads.len() {
            self.wake(worker);
        }
    }

    /// Waits for a batch and puts it into `batch`, which is empty. `false` at the end: closed and empty.
    pub fn take(&self, worker: usize, pace: &Pace, batch: &mut Vec<T>) -> bool {
        if let Some(thread) = self.threads.get(worker) {
            thread.get_or_init(thread::current);
        }
        loop {
            if self.waiting() >= self.lanes {
                self.fill(batch);
                // Others may have been quicker.
                if batch.len() == self.lanes {
                    self.pass_on();
                    return true;
                }
            }
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            if self.leader.compare_exchange(0, worker + 1, success, failure).is_ok() {
                let open = self.collect(pace, batch);
                self.leader.store(0, Ordering::Release);
                fence(Ordering::SeqCst);
                self.pass_on();
                return open;
            }
            if !batch.is_empty() {
                return true;
            }
            self.sleep(worker);
        }
    }

    /// As the one that collects: until a batch leaves, or the end.
    fn collect(&self, pace: &Pace, batch: &mut Vec<T>) -> bool {
        loop {
            self.fill(batch);
            let closed = self.closed.load(Ordering::SeqCst);
            let Some(first) = batch.first() else {
                if !closed {
                    self.rest(1, None);
                } else if self.entering.load(Ordering::SeqCst) == 0 && self.waiting() == 0 {
                    return false;
                }
                continue;
            };
            match pace.rest(batch.len(), first.since().elapsed()) {
                Some(_) if closed => return true,
                Some(time) => {
                    let size = (pace.size() as usize).min(self.lanes);
                    self.rest(size.saturating_sub(batch.len()).max(1), Some(time));
                }
                None => return true,
            }
        }
    }

    /// Sleeps as the one that collects, until so many wait.
    fn rest(&self, enough: usize, time: Option<Duration>) {
        self.enough.store(enough, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.waiting() < enough && !self.closed.load(Ordering::Relaxed) {
            match time {
                Some(time) => thread::park_timeout(time),
                None => thread::park(),
            }
        }
    }

    /// Sleeps as one of the others.
    fn sleep(&self, worker: usize) {
        let Some(word) = self.asleep.get(worker / 64) else { return };
        let bit = 1 << (worker % 64);
        word.fetch_or(bit, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let collected = self.leader.load(Ordering::Relaxed) != 0;
        if collected && self.waiting() < self.lanes && !self.closed.load(Ordering::Relaxed) {
            thread::park();
        } else if collected {
            // Who collects is about to take these, or to end.
            thread::yield_now();
        }
        word.fetch_and(!bit, Ordering::Relaxed);
    }

    /// Whoever takes a batch sees to it that what is left is somebody's.
    fn pass_on(&self) {
        if self.waiting() > 0 {
            self.wake_one();
        }
    }

    fn wake_one(&self) {
        for (index, word) in self.asleep.iter().enumerate() {
            let mut bits = word.load(Ordering::Relaxed);
            while bits != 0 {
                let bit = bits.trailing_zeros();
                if word.fetch_and(!(1 << bit), Ordering::Relaxed) >> bit & 1 == 1 {
                    return self.wake(64 * index + bit as usize);
                }
                bits = word.load(Ordering::Relaxed);
            }
        }
    }

    fn wake(&self, worker: usize) {
        if let Some(thread) = self.threads.get(worker).and_then(OnceLock::get) {
            thread.unpark();
        }
    }

    /// Fills a batch up: of each priority what is kept for it, then first ones first.
    fn fill(&self, batch: &mut Vec<T>) {
        for kept in [KEPT, [LANES; 3]] {
            for (queue, kept) in self.queues.iter().zip(kept) {
                // In proportion where there are fewer lanes, and one at least.
                for _ in 0..(kept * self.lanes / LANES).max(1) {
                    if batch.len() >= self.lanes {
                        return;
                    }
                    let Some(request) = queue.pop() else { break };
                    batch.push(request);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::strategy::Strategy;
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    struct Item(u32, Instant);

    impl Waiting for Item {
        fn since(&self) -> Instant {
            self.1
        }
    }

    fn item(number: u32) -> Item {
        Item(number, Instant::now())
    }

    fn numbers(batch: &[Item]) -> Vec<u32> {
        batch.iter().map(|item| item.0).collect()
    }

    fn at_once() -> Pace {
        Pace::new(Strategy::Window { wait: Duration::ZERO }, 32)
    }

    #[test]
    fn each_priority_keeps_its_places() {
        for (lanes, kept) in [(32, [22, 8, 2]), (16, [11, 4, 1]), (8, [5, 2, 1])] {
            let collector = Collector::new(1, lanes, 100);
            for number in 0..100 {
                for (priority, base) in Priority::ALL.into_iter().zip([1000, 2000, 3000]) {
                    assert!(collector.push(item(base + number), priority).is_ok());
                }
            }
            let mut batch = Vec::new();
            assert!(collector.take(0, &at_once(), &mut batch));
            let of = |base| batch.iter().filter(|item| item.0 / 1000 == base).count();
            assert_eq!([1, 2, 3].map(of), kept);
            // In order within a priority.
            assert!(numbers(&batch).is_sorted());
            assert_eq!(collector.depth(), kept.map(|kept| 100 - kept));
        }
    }

    #[test]
    fn nobody_keeps_a_place_for_nobody() {
        let collector = Collector::new(1, 32, 100);
        for number in 0..40 {
            assert!(collector.push(item(number), Priority::Bulk).is_ok());
        }
        let mut batch = Vec::new();
        assert!(collector.take(0, &at_once(), &mut batch));
        assert_eq!(numbers(&batch), (0..32).collect::<Vec<_>>());
        batch.clear();
        assert!(collector.take(0, &at_once(), &mut batch));
        assert_eq!(numbers(&batch), (32..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_queue_gives_the_request_back() {
        let collector = Collector::new(1, 32, 2);
        assert!(collector.push(item(0), Priority::Normal).is_ok());
        assert!(collector.push(item(1), Priority::Normal).is_ok());
        let full = collector.push(item(2), Priority::Normal);
        assert!(matches!(full, Err(Refused::Full(Item(2, _)))));
        // Others have queues of their own.
        assert!(collector.push(item(3), Priority::High).is_ok());
        collector.close();
        let closed = collector.push(item(4), Priority::High);
        assert!(matches!(closed, Err(Refused::Closed(Item(4, _)))));
        let mut batch = Vec::new();
        assert!(collector.take(0, &at_once(), &mut batch));
        assert_eq!(numbers(&batch), [3, 0, 1]);
        batch.clear();
        assert!(!collector.take(0, &at_once(), &mut batch));
    }

    #[test]
    fn waits_for_others_as_long_as_it_may() {
        let wait = Duration::from_millis(30);
        let pace = Pace::new(Strategy::Size { size: 3, wait }, 32);
        let collector = Collector::new(1, 32, 8);
        assert!(collector.push(item(0), Priority::Normal).is_ok());
        let (mut batch, start) = (Vec::new(), Instant::now());
        assert!(collector.take(0, &pace, &mut batch));
        assert!(batch.len() == 1 && start.elapsed() >= wait / 2);
        batch.clear();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..3 {
                    assert!(collector.push(item(number), Priority::Normal).is_ok());
                }
            });
            let long = Pace::new(Strategy::Size { size: 3, wait: 1000 * wait }, 32);
            assert!(collector.take(0, &long, &mut batch));
        });
        assert_eq!(batch.len(), 3);
    }

    /// Every request comes out once, whoever sleeps, collects or closes; a lost wake-up would hang.
    fn everything_comes_out(workers: usize, submitters: usize, wait: Duration) {
        const EACH: u32 = 20_000;
        let collector = Arc::new(Collector::new(workers, 32, 64));
        let pace = Arc::new(Pace::new(Strategy::Window { wait }, 32));
        let seen: Arc<Vec<AtomicUsize>> =
            Arc::new((0..EACH * submitters as u32).map(|_| AtomicUsize::new(0)).collect());
        std::thread::scope(|scope| {
            for worker in 0..workers {
                let (collector, pace, seen) = (&collector, &pace, &seen);
                scope.spawn(move || {
                    let mut batch = Vec::new();
                    while collector.take(worker, pace, &mut batch) {
                        assert!(!batch.is_empty() && batch.len() <= 32);
                        for Item(number, _) in batch.drain(..) {
                            seen[number as usize].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            let submitting: Vec<_> = (0..submitters as u32)
                .map(|submitter| {
                    let collector = &collector;
                    scope.spawn(move || {
                        for number in 0..EACH {
                            let mut next = item(submitter * EACH + number);
                            let priority = Priority::ALL[number as usize % 3];
                            while let Err(refused) = collector.push(next, priority) {
                                let Refused::Full(item) = refused else { panic!("closed") };
                                next = item;
                                std::thread::yield_now();
                            }
                            if number % 1000 == 0 {
                                std::thread::sleep(Duration::from_micros(300));
                            }
                        }
                    })
                })
                .collect();
            for thread in submitting {
                thread.join().unwrap();
            }
            collector.close();
        });
        assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn everything_comes_out_of_few_and_many_workers() {
        everything_comes_out(1, 1, Duration::ZERO);
        everything_comes_out(2, 3, Duration::from_micros(50));
        everything_comes_out(70, 2, Duration::from_micros(200));
    }

    #[test]
    fn what_enters_while_it_closes_comes_out_or_is_given_back() {
        for _ in 0..200 {
            let collector = Collector::new(2, 32, 1000);
            let (kept, out) = (AtomicUsize::new(0), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for worker in 0..2 {
                    let (collector, out) = (&collector, &out);
                    scope.spawn(move || {
                        let mut batch = Vec::new();
                        while collector.take(worker, &at_once(), &mut batch) {
                            out.fetch_add(batch.len(), Ordering::Relaxed);
                            batch.clear();
                        }
                    });
                }
                scope.spawn(|| {
                    while collector.push(item(0), Priority::Normal).is_ok() {
                        kept.fetch_add(1, Ordering::Relaxed);
                    }
                });
                std::thread::sleep(Duration::from_micros(50));
                collector.close();
            });
            assert_eq!(kept.into_inner(), out.into_inner());
        }
    }
}
