//! Threads are where they were asked to be, as the kernel sees them.
#![cfg(target_os = "linux")]

use std::fs;

use symbolon_platform::threads::{Outcome, Placement, Priority, Worker, cores, current_core};

const NORMAL: Worker = Worker { name: String::new(), core: None, priority: Priority::Normal };

/// The calling thread's name, nice value and scheduling policy.
fn kernel_view() -> (String, i32, u32) {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (name, rest) = stat.rsplit_once(") ").unwrap();
    let (_, name) = name.split_once('(').unwrap();
    // proc_pid_stat(5) counts from 1, and the rest begins with the third.
    let fields: Vec<_> = rest.split_whitespace().collect();
    (name.to_owned(), fields[19 - 3].parse().unwrap(), fields[41 - 3].parse().unwrap())
}

#[test]
fn names_are_seen() {
    let worker = Worker { name: "refill-of-the-probes".into(), ..NORMAL };
    let (thread, placement) = worker.spawn(kernel_view).unwrap();
    let nothing = Placement { core: Outcome::NotAsked, priority: Outcome::NotAsked };
    assert_eq!((thread.join().unwrap().0.as_str(), placement), ("refill-of-the-p", nothing));
    assert!(Worker { name: "a\0b".into(), ..NORMAL }.spawn(|| ()).is_err());
}

#[test]
fn a_pinned_thread_stays_on_its_core() {
    let before = cores().unwrap();
    assert!(before.contains(&current_core().unwrap()));
    for &core in &before {
        let worker = Worker { name: "pinned".into(), core: Some(core), ..NORMAL };
        let (thread, placement) = worker.spawn(|| (cores().unwrap(), current_core())).unwrap();
        assert_eq!(placement, Placement { core: Outcome::Done, priority: Outcome::NotAsked });
        assert_eq!(thread.join().unwrap(), (vec![core], Some(core)));
    }
    assert_eq!(cores().unwrap(), before, "only the worker is pinned");
}

#[test]
fn a_core_that_is_not_there_is_reported() {
    for core in [1023, 1024, usize::MAX] {
        let worker = Worker { name: "lost".into(), core: Some(core), ..NORMAL };
        let (thread, placement) = worker.spawn(|| cores().unwrap()).unwrap();
        assert_eq!(placement.core, Outcome::Failed(Some(libc::EINVAL)));
        assert_eq!(thread.join().unwrap(), cores().unwrap());
    }
}

#[test]
fn a_low_thread_is_low_alone() {
    let (_, nice, policy) = kernel_view();
    let worker = Worker { name: "low".into(), core: None, priority: Priority::Low };
    let (thread, placement) = worker.spawn(kernel_view).unwrap();
    assert_eq!(placement, Placement { core: Outcome::NotAsked, priority: Outcome::Done });
    let batch = u32::try_from(libc::SCHED_BATCH).unwrap();
    assert_eq!(thread.join().unwrap(), ("low".into(), (nice + 10).min(19), batch));
    assert_eq!(kernel_view().1, nice);
    assert_eq!(kernel_view().2, policy);
}
