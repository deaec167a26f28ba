//! Locked memory as the kernel sees it, in processes that may be killed for it.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use common::{again, passes, plant, role};
use symbolon_platform::locked::{Arena, Error, OnFailure, Options, check_lockable, memlock_limit};
use symbolon_platform::{entropy, process};
use tempfile::TempDir;

const REFUSE: Options = Options { on_failure: OnFailure::Refuse, huge: false };
const DEGRADE: Options = Options { on_failure: OnFailure::Degrade, huge: false };
const MASK: u8 = 0xa5;

/// What the kernel writes about the mapping that begins where the arena does.
fn smaps(arena: &Arena, field: &str) -> String {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let start = arena.as_ptr().as_ptr().addr();
    let range = format!("{start:x}-{:x} ", start + arena.len());
    let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&range));
    assert!(lines.next().is_some(), "no mapping is the arena's");
    lines.find_map(|line| line.strip_prefix(field)).unwrap().trim().to_owned()
}

#[test]
fn the_kernel_agrees() {
    // Alone, for the limit is the process's.
    if role().is_none() {
        return passes("the_kernel_agrees", "child");
    }
    let bytes = 2 * common::page_size() - 1;
    if let Err(why) = check_lockable(bytes) {
        return println!("SKIPPED: {why}");
    }
    let arena = Arena::new(bytes, REFUSE).unwrap();
    let flags = smaps(&arena, "VmFlags:");
    for flag in ["lo", "dd", "wf"] {
        assert!(flags.split(' ').any(|set| set == flag), "{flag} is not in {flags}");
    }
    assert_eq!(smaps(&arena, "Locked:"), format!("{} kB", arena.len() / 1024));
    assert_eq!(smaps(&arena, "Rss:"), format!("{} kB", arena.len() / 1024));
    let holds = arena.protection();
    assert!(holds.locked && holds.undumped && holds.wiped_on_fork && holds.guarded && !holds.huge);
    assert_eq!(arena.degraded(), None);
}

#[test]
fn huge_pages_are_told_from_small_ones() {
    let child = role().is_some();
    if child {
        common::forbid_huge_pages();
    } else {
        passes("huge_pages_are_told_from_small_ones", "forbidden");
    }
    let arena = Arena::new(5 << 20, Options { huge: true, ..DEGRADE }).unwrap();
    let kib: usize = smaps(&arena, "AnonHugePages:").strip_suffix(" kB").unwrap().parse().unwrap();
    println!("{kib} KiB in huge pages");
    // Whether there are any is the machine's business. Of 5 MiB, 4 fit into pages of 2.
    assert_eq!(arena.protection().huge, kib >= 4096);
    assert!(!child || kib == 0);
    assert!(arena.bytes().iter().all(|byte| *byte == 0));
    let size = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
    if size.is_ok_and(|size| size.trim() == "2097152") {
        let flags = smaps(&arena, "VmFlags:");
        assert!(flags.split(' ').any(|set| set == "hg"), "nobody asked for them: {flags}");
        assert!(arena.as_ptr().as_ptr().addr().is_multiple_of(2 << 20));
    }
    let small = Arena::new(5 << 20, DEGRADE).unwrap();
    assert!(!small.protection().huge);
}

#[test]
fn dropping_wipes() {
    let mut arena = Arena::new(2 * common::page_size(), DEGRADE).unwrap();
    arena.bytes_mut().fill(0x5a);
    let mut pages = match common::keep_pages(arena.bytes()) {
        Ok(pages) => pages,
        Err(why) => return println!("SKIPPED: vmsplice: {why}"),
    };
    drop(arena);
    let mut left = Vec::new();
    pages.read_to_end(&mut left).unwrap();
    assert_eq!(left.len(), 2 * common::page_size());
    assert!(left.iter().all(|byte| *byte == 0), "the pages went back as they were");
}

#[test]
fn guards_kill() {
    if let Some(role) = role() {
        let _ = process::harden();
        let arena = Arena::new(1, DEGRADE).unwrap();
        let (start, len) = (arena.as_ptr().as_ptr(), arena.len());
        common::touch(match role.as_str() {
            "first" => start,
            "last" => start.wrapping_add(len - 1),
            "before" => start.wrapping_sub(1),
            "after" => start.wrapping_add(len),
            _ => unreachable!(),
        });
        return;
    }
    passes("guards_kill", "first");
    passes("guards_kill", "last");
    for place in ["before", "after"] {
        let output = again("guards_kill", place).output().unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{place}: {output:?}");
    }
}

#[test]
fn a_forked_child_reads_zeros() {
    let mut arena = Arena::new(1, DEGRADE).unwrap();
    assert!(arena.protection().wiped_on_fork);
    arena.bytes_mut().fill(0x5a);
    let ordinary = [0x5a_u8; 64];
    let zeros = |bytes: &[u8]| i32::from(bytes.iter().all(|byte| *byte == 0));
    assert_eq!(common::forked(|| zeros(arena.bytes())), 1);
    assert_eq!(common::forked(|| zeros(std::hint::black_box(&ordinary))), 0);
    assert!(arena.bytes().iter().all(|byte| *byte == 0x5a), "the parent keeps it");
}

#[test]
fn without_the_privilege_the_limit_counts() {
    let page = common::page_size();
    let limit = 16 * page;
    if role().is_none() {
        return passes("without_the_privilege_the_limit_counts", "child");
    }
    if let Err(why) = common::limit_locked(limit) {
        return println!("SKIPPED: the limit is below {limit} bytes already: {why}");
    }
    assert_eq!(memlock_limit(), Some(limit as u64));
    // With it or without, asking ahead tells what will happen.
    assert_eq!(check_lockable(1 << 20).is_ok(), Arena::new(1 << 20, REFUSE).is_ok());

    common::drop_ipc_lock();
    let error = Arena::new(1 << 20, REFUSE).err().unwrap();
    assert!(
        matches!(error, Error::Lock { wanted: 0x0010_0000, locked: 0, limit: Some(at), errno: Some(_) }
            if at == limit as u64),
        "{error:?}"
    );
    assert!(error.to_string().contains(&format!("RLIMIT_MEMLOCK is {limit}")), "{error}");
    assert_eq!(check_lockable(1 << 20), Err(error));

    let mut arena = Arena::new(1 << 20, DEGRADE).unwrap();
    let holds = arena.protection();
    assert!(!holds.locked && holds.undumped && holds.wiped_on_fork, "{holds:?}");
    assert_eq!(arena.degraded(), Some(error));
    assert_eq!(smaps(&arena, "Locked:"), "0 kB");
    arena.bytes_mut().fill(1);

    // What is locked already counts; what was freed does not.
    let most = Arena::new(10 * page, REFUSE).unwrap();
    assert_eq!(check_lockable(6 * page), Ok(()));
    let over = check_lockable(7 * page).err();
    let locked = 10 * page;
    assert!(matches!(over, Some(Error::Lock { locked: l, .. }) if l == locked), "{over:?}");
    assert_eq!(Arena::new(7 * page, REFUSE).err(), over);
    drop(most);
    assert_eq!(check_lockable(16 * page), Ok(()));
    assert_eq!(Arena::new(16 * page, REFUSE).map(|arena| arena.len()), Ok(16 * page));
}

/// Secrets in an arena and, to see that a dump is a dump, others in ordinary memory; then a core:
/// the debugger's, and the kernel's own.
#[test]
fn core_dumps_leave_arenas_out() {
    if let Some(role) = role() {
        return hold_patterns(&role);
    }
    let [secret, control] = [entropy::array::<64>().unwrap(), entropy::array().unwrap()];
    let role = hex(&[secret, control].concat());
    let check = |core: &[u8], by: &str| {
        let has = |masked: &[u8]| {
            let pattern: Vec<_> = masked.iter().map(|byte| byte ^ MASK).collect();
            core.windows(pattern.len()).any(|window| window == pattern)
        };
        assert!(has(&control), "{by}: ordinary memory is missing, which proves nothing");
        assert!(!has(&secret), "{by}: the secret is in the core");
        println!("{by}: {} bytes of core", core.len());
    };
    match debugger_core(&role) {
        Ok(core) => check(&core, "gcore"),
        Err(why) => println!("SKIPPED: gcore: {why}"),
    }
    match kernel_core(&role) {
        Ok(core) => check(&core, "kernel"),
        Err(why) => println!("SKIPPED: the kernel's core: {why}"),
    }
}

#[test]
fn a_hardened_process_leaves_no_core() {
    if let Some(role) = role() {
        common::allow_core_files();
        if role == "hardened" {
            assert!(process::is_dumpable());
            let holds = process::harden();
            assert!(holds.undumpable && holds.no_core_file && !process::is_dumpable());
            let limits = fs::read_to_string("/proc/self/limits").unwrap();
            let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
            let numbers: Vec<_> = core.unwrap().split_whitespace().take(2).collect();
            assert_eq!(numbers, ["0", "0"]);
        }
        std::process::abort();
    }
    let dumps = |role| {
        let directory = TempDir::new().unwrap();
        let test = "a_hardened_process_leaves_no_core";
        let output = again(test, role).current_dir(&directory).output().unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
        output.status.core_dumped()
    };
    assert!(!dumps("hardened"));
    match writes_cores_here() {
        Ok(()) => assert!(dumps("ordinary"), "no process here leaves a core"),
        Err(why) => println!("SKIPPED: a core of a process that is not hardened: {why}"),
    }
}

/// The child: holds both patterns until it is killed, or aborts.
fn hold_patterns(role: &str) {
    let (end, masked) = role.split_once(':').unwrap();
    let masked: Vec<u8> = masked
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let (secret, control) = masked.split_at(64);
    let mut arena = Arena::new(1, DEGRADE).unwrap();
    plant(&mut arena.bytes_mut()[100..], secret, MASK);
    let mut ordinary = vec![0; 64];
    plant(&mut ordinary, control, MASK);
    common::allow_tracing();
    if end == "abort" {
        common::allow_core_files();
        std::process::abort();
    }
    println!("\nready");
    // Ends with the parent's end of the pipe.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    std::hint::black_box((&arena, &ordinary));
}

fn debugger_core(patterns: &str) -> Result<Vec<u8>, String> {
    let test = "core_dumps_leave_arenas_out";
    let directory = TempDir::new().unwrap();
    let mut holder = again(test, &format!("wait:{patterns}"));
    let mut holder = holder.stdin(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "ready"), "it holds nothing");
    let gcore = Command::new("gcore")
        .arg("-o")
        .arg(directory.path().join("core"))
        .arg(holder.id().to_string())
        .env("DEBUGINFOD_URLS", "")
        .stdin(Stdio::null())
        .output();
    drop(holder.stdin.take());
    holder.wait().unwrap();
    let output = gcore.map_err(|error| format!("{error} (Debian: package gdb)"))?;
    let core = directory.path().join(format!("core.{}", holder.id()));
    fs::read(core).map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn kernel_core(patterns: &str) -> Result<Vec<u8>, String> {
    writes_cores_here()?;
    let directory = TempDir::new().unwrap();
    let mut holder = again("core_dumps_leave_arenas_out", &format!("abort:{patterns}"));
    let output = holder.current_dir(&directory).output().unwrap();
    assert!(output.status.core_dumped(), "{output:?}");
    let core = fs::read_dir(&directory).unwrap().next().ok_or("no file")?.unwrap();
    Ok(fs::read(core.path()).unwrap())
}

/// Whether the kernel puts cores into the working directory.
fn writes_cores_here() -> Result<(), String> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.trim().is_empty() || pattern.contains(['|', '/', '@']) {
        return Err(format!("/proc/sys/kernel/core_pattern is {pattern:?}"));
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    if core.and_then(|line| line.split_whitespace().nth(1)) == Some("unlimited") {
        Ok(())
    } else {
        Err("the hard limit on core files is not unlimited".into())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
