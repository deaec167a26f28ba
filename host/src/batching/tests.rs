use super::*;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::thread;

/// Doubles numbers. Fails on 13, panics on 666, and on everything while it is broken.
#[derive(Default)]
struct Doubling {
    broken: AtomicBool,
    full_disk: AtomicBool,
    lost: AtomicBool,
    mute: AtomicBool,
    defect: AtomicBool,
    sizes: Mutex<Vec<usize>>,
    pause: Duration,
}

impl Engine for Doubling {
    type Request = u32;
    type Desk = ();
    type Decided = Vec<u32>;
    type Batch = Vec<u32>;

    fn lanes(&self) -> usize {
        32
    }

    fn desk(&self) -> Result<()> {
        Ok(())
    }

    fn decide(
        &self,
        (): &mut (),
        requests: &mut dyn ExactSizeIterator<Item = &u32>,
    ) -> Result<Vec<u32>> {
        self.sizes.lock().unwrap().push(requests.len());
        thread::sleep(self.pause);
        let several = requests.len() > 1;
        let batch: Vec<u32> = requests.copied().collect();
        assert!(!batch.contains(&666), "a defect");
        if batch.contains(&13) || several && self.broken.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::Argument, "thirteen"));
        }
        Ok(batch.into_iter().map(|number| 2 * number).collect())
    }

    fn attest(&self, decided: Vec<u32>) -> Result<Vec<u32>> {
        assert!(!self.defect.load(Ordering::Relaxed), "a defect");
        match self.mute.load(Ordering::Relaxed) {
            true => Err(Error::new(Kind::Signing, "no pen")),
            false => Ok(decided),
        }
    }

    fn durable(&self, _: &Vec<u32>) -> Result<()> {
        assert!(!self.lost.load(Ordering::Relaxed), "a defect that nobody catches");
        match self.full_disk.load(Ordering::Relaxed) {
            true => Err(Error::new(Kind::Io, "no space left on the device")),
            false => Ok(()),
        }
    }
}

/// What was answered, by number.
type Answered = Vec<(u32, Result<u32>)>;

#[derive(Clone, Default)]
struct Book(Arc<Mutex<Answered>>);

struct Entry(Book, u32);

impl Reply<Vec<u32>> for Entry {
    fn answer(self, answer: Result<Answer<Vec<u32>>>) {
        assert!(self.1 != 5_000, "a caller's defect");
        let result = answer.map(|answer| answer.batch[answer.lane]);
        self.0.0.lock().unwrap().push((self.1, result));
    }
}

fn start(engine: &Arc<Doubling>, strategy: Strategy) -> Service<Doubling, Entry> {
    let mut settings = Settings::new(2, strategy);
    settings.capacity = 100_000;
    settings.breaker = breaker::Limits { failures: 3, pause: Duration::from_millis(50) };
    settings.period = Duration::from_millis(5);
    Service::start(Arc::clone(engine), &settings).unwrap()
}

const QUICK: Strategy = Strategy::Window { wait: Duration::from_millis(2) };

fn submit(service: &Service<Doubling, Entry>, book: &Book, number: u32) {
    let reply = Entry(book.clone(), number);
    assert!(service.submit(number, reply, Priority::Normal, None).is_ok());
}

/// Ends the service; what was answered, by number.
fn answers(service: Service<Doubling, Entry>, book: Book) -> Answered {
    service.drain().unwrap();
    let mut answers = std::mem::take(&mut *book.0.lock().unwrap());
    answers.sort_by_key(|(number, _)| *number);
    answers
}

fn quiet<T>(run: impl FnOnce() -> T) -> T {
    // Panics that are part of a test need no trace; which thread they come from is not known before.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let result = run();
    panic::set_hook(hook);
    result
}

#[test]
fn everything_is_answered_once() {
    for strategy in [
        QUICK,
        Strategy::Size { size: 7, wait: Duration::from_micros(300) },
        Strategy::Adaptive { p99: Duration::from_millis(5) },
    ] {
        let (engine, book) = (Arc::default(), Book::default());
        let service = start(&engine, strategy);
        for number in 1_000..3_000 {
            submit(&service, &book, number);
        }
        let counters = service.counters();
        assert_eq!(counters.accepted.load(Ordering::Relaxed), 2_000);
        let expected: Vec<_> = (1_000..3_000).map(|number| (number, Ok(2 * number))).collect();
        assert_eq!(answers(service, book), expected);
        assert!(engine.sizes.lock().unwrap().iter().all(|&size| size <= 32));
    }
}

#[test]
fn one_that_fails_fails_alone() {
    quiet(|| {
        let engine = Arc::new(Doubling::default());
        let book = Book::default();
        let service = start(&engine, QUICK);
        for number in (1_000..1_031).chain([13]) {
            submit(&service, &book, number);
        }
        for number in (2_000..2_031).chain([666]) {
            submit(&service, &book, number);
        }
        let panics = || service.counters().panics.load(Ordering::Relaxed);
        while service.counters().failed.load(Ordering::Relaxed) < 2 {
            thread::yield_now();
        }
        assert!(panics() >= 1);
        let answers = answers(service, book);
        assert_eq!(answers.len(), 64);
        for (number, answer) in answers {
            match number {
                13 => assert_eq!(answer.unwrap_err().kind(), Kind::Argument),
                666 => assert_eq!(answer.unwrap_err().kind(), Kind::Internal),
                _ => assert_eq!(answer.unwrap(), 2 * number),
            }
        }
    });
}

#[test]
fn a_broken_stage_serves_single_requests_until_it_works() {
    let engine = Arc::new(Doubling::default());
    let book = Book::default();
    let service = start(&engine, QUICK);
    engine.broken.store(true, Ordering::Relaxed);
    let batch = |base: u32| {
        (base..base + 32).for_each(|number| submit(&service, &book, number));
        while book.0.lock().unwrap().iter().filter(|(n, _)| *n / 100 == base / 100).count() < 32 {
            thread::yield_now();
        }
    };
    for round in 0..4 {
        batch(10_000 + 100 * round);
    }
    assert_eq!(service.breaker().state(), breaker::State::Open);
    engine.sizes.lock().unwrap().clear();
    batch(20_000);
    assert!(engine.sizes.lock().unwrap().iter().all(|&size| size == 1));
    engine.broken.store(false, Ordering::Relaxed);
    thread::sleep(Duration::from_millis(60));
    batch(30_000);
    batch(31_000);
    assert_eq!(service.breaker().state(), breaker::State::Closed);
    assert!(engine.sizes.lock().unwrap().iter().any(|&size| size > 1));
    assert!(answers(service, book).iter().all(|(_, answer)| answer.is_ok()));
}

#[test]
fn nothing_is_decided_while_nothing_can_be_attested() {
    let engine = Arc::new(Doubling::default());
    let book = Book::default();
    let service = start(&engine, QUICK);
    let batch = |base: u32| {
        (base..base + 32).for_each(|number| submit(&service, &book, number));
        let of = |answers: &Answered| -> Vec<_> {
            let of = answers.iter().filter(|(number, _)| number / 100 == base / 100);
            of.map(|(_, answer)| answer.clone().map_err(|error| error.kind())).collect()
        };
        loop {
            let answers = of(&book.0.lock().unwrap());
            if answers.len() == 32 {
                return answers;
            }
            thread::yield_now();
        }
    };
    let refused = vec![Err(Kind::Signing); 32];
    engine.mute.store(true, Ordering::Relaxed);
    for round in 0..10 {
        assert_eq!(batch(10_000 + 100 * round), refused);
    }
    assert_eq!(service.attestation().state(), breaker::State::Open);
    // No request is to blame, so no batch is halved, and no longer decided at all.
    assert_eq!(service.breaker().state(), breaker::State::Closed);
    engine.sizes.lock().unwrap().clear();
    assert_eq!(batch(20_000), refused);
    assert!(engine.sizes.lock().unwrap().is_empty());
    // A try in which no request comes so far leaves it to the next.
    thread::sleep(Duration::from_millis(60));
    quiet(|| {
        submit(&service, &book, 13);
        while book.0.lock().unwrap().iter().all(|(number, _)| *number != 13) {
            thread::yield_now();
        }
    });
    thread::sleep(Duration::from_millis(60));
    engine.mute.store(false, Ordering::Relaxed);
    while batch(30_000).iter().all(|answer| answer.is_err()) {
        book.0.lock().unwrap().retain(|(number, _)| number / 100 != 300);
    }
    let all = batch(31_000);
    assert!(all.iter().all(|answer| answer.is_ok()), "{all:?}");
    assert_eq!(service.attestation().state(), breaker::State::Closed);
    // A defect in attesting is its fault too, and ends no worker.
    engine.defect.store(true, Ordering::Relaxed);
    assert_eq!(quiet(|| batch(40_000)), vec![Err(Kind::Internal); 32]);
    engine.defect.store(false, Ordering::Relaxed);
    assert!(batch(41_000).iter().all(|answer| answer.is_ok()));
    assert_ne!(service.counters().panics.load(Ordering::Relaxed), 0);
}

#[test]
fn who_comes_too_late_or_too_many_is_told() {
    let engine = Arc::new(Doubling { pause: Duration::from_millis(20), ..Doubling::default() });
    let book = Book::default();
    let settings = Settings { capacity: 40, ..Settings::new(1, QUICK) };
    let service = Service::start(Arc::clone(&engine), &settings).unwrap();
    let mut busy = 0;
    for number in 1_000..1_400 {
        let reply = Entry(book.clone(), number);
        match service.submit(number, reply, Priority::Normal, None) {
            Ok(()) => (),
            Err((Rejected::Busy(after), request, Entry(_, number))) => {
                assert!(!after.is_zero() && number >= 1_040 && request == number);
                busy += 1;
            }
            Err((Rejected::Draining, ..)) => panic!("it is not draining"),
        }
    }
    assert!(busy >= 400 - 2 * 40 - 64, "{busy}");
    let past = Instant::now();
    let reply = Entry(book.clone(), 9_000);
    assert!(service.submit(9_000, reply, Priority::High, Some(past)).is_ok());
    let answers = answers(service, book);
    assert_eq!(answers.len(), 401 - busy);
    for (number, answer) in answers {
        match number {
            9_000 => assert_eq!(answer.unwrap_err().kind(), Kind::Deadline),
            _ => assert_eq!(answer.unwrap(), 2 * number),
        }
    }
}

#[test]
fn what_is_not_durable_is_not_answered_as_decided() {
    let engine = Arc::new(Doubling::default());
    let book = Book::default();
    let service = start(&engine, QUICK);
    engine.full_disk.store(true, Ordering::Relaxed);
    (1_000..1_010).for_each(|number| submit(&service, &book, number));
    let answers = answers(service, book);
    assert_eq!(answers.len(), 10);
    assert!(answers.into_iter().all(|(_, answer)| answer.unwrap_err().kind() == Kind::Io));
}

#[test]
fn a_thread_that_dies_is_seen() {
    quiet(|| {
        let (engine, book) = (Arc::<Doubling>::default(), Book::default());
        let service = start(&engine, QUICK);
        submit(&service, &book, 1_000);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(service.failure(), None);
        engine.lost.store(true, Ordering::Relaxed);
        submit(&service, &book, 1_001);
        let end = Instant::now() + Duration::from_secs(10);
        while service.failure().is_none() {
            assert!(Instant::now() < end);
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(service.failure().unwrap().kind(), Kind::Internal);
        assert_eq!(service.drain().unwrap_err().kind(), Kind::Internal);
    });
}

#[test]
fn a_reply_that_panics_takes_nobody_with_it() {
    quiet(|| {
        let (engine, book) = (Arc::default(), Book::default());
        let service = start(&engine, QUICK);
        (5_000..5_010).for_each(|number| submit(&service, &book, number));
        assert_eq!(answers(service, book).len(), 9);
    });
}

#[test]
fn settings_are_checked() {
    for workers in [0, 1025] {
        let settings = Settings::new(workers, QUICK);
        let error =
            Service::<_, Entry>::start(Arc::<Doubling>::default(), &settings).err().unwrap();
        assert_eq!(error.kind(), Kind::Argument);
    }
}

#[test]
fn workers_stay_where_they_are_put_or_there_is_no_service() {
    let (engine, book) = (Arc::<Doubling>::default(), Book::default());
    let cores = symbolon_platform::threads::cores().unwrap();
    let settings = Settings { cores, ..Settings::new(2, QUICK) };
    let service = Service::start(Arc::clone(&engine), &settings).unwrap();
    (1_000..1_100).for_each(|number| submit(&service, &book, number));
    assert_eq!(answers(service, book).len(), 100);
    let settings = Settings { cores: vec![1 << 20], ..Settings::new(2, QUICK) };
    let error = Service::<_, Entry>::start(engine, &settings).err().unwrap();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.to_string().contains("worker 0"), "{error}");
}
