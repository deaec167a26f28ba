//! For tests that need a process to spoil, and what they do to it.
#![allow(dead_code, reason = "no test needs all of it")]

use std::env;
use std::io::{self, PipeReader};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::ptr;

const ROLE: &str = "SYMBOLON_TEST_ROLE";

/// What this process is to do, if [`again`] started it.
pub fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// The test of this name in a process of its own, with a role to play.
pub fn again(test: &str, role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs [`again`]; it must end well. What it skipped is skipped here.
pub fn passes(test: &str, role: &str) {
    let output = again(test, role).output().unwrap();
    assert!(output.status.success(), "{role}: {output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    // The harness may have begun the line.
    let skipped = said.lines().filter_map(|line| line.find("SKIPPED").map(|at| &line[at..]));
    skipped.for_each(|line| println!("{line}"));
}

/// Reads a byte at any address.
pub fn touch(address: *const u8) -> u8 {
    // SAFETY: none, on purpose: the process is to die of it.
    unsafe { ptr::read_volatile(address) }
}

/// The exit code of a forked child that runs `body`, which must not allocate, lock or panic.
pub fn forked(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs `body` and ends, without destructors or handlers.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = body();
        // SAFETY: ends the child.
        unsafe { libc::_exit(code) };
    }
    assert!(child > 0, "{}", io::Error::last_os_error());
    let mut status = 0;
    // SAFETY: the kernel writes one status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "the child died: {status:#x}");
    libc::WEXITSTATUS(status)
}

/// Takes from the calling thread the privilege of locking beyond the limit, which it may not have.
pub fn drop_ipc_lock() {
    const VERSION_3: u32 = 0x2008_0522;
    const CAP_IPC_LOCK: u32 = 14;
    #[repr(C)]
    struct Header {
        version: u32,
        thread: i32,
    }
    let header = Header { version: VERSION_3, thread: 0 };
    // Effective, permitted, inheritable; low words, then high words.
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: of version 3, with room for two words of each set.
    let answer = unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) };
    assert_eq!(answer, 0, "{}", io::Error::last_os_error());
    sets[0].iter_mut().for_each(|set| *set &= !(1 << CAP_IPC_LOCK));
    // SAFETY: as above.
    let answer = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    assert_eq!(answer, 0, "{}", io::Error::last_os_error());
}

/// Sets both limits of this process on locked memory, unless that would be to raise them.
pub fn limit_locked(bytes: usize) -> io::Result<()> {
    let bytes = libc::rlim_t::try_from(bytes).unwrap();
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: the kernel reads one rlimit.
    match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Allows core files of any size, as far as the hard limit lets it.
pub fn allow_core_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit, and reads it.
    unsafe {
        libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
    }
}

/// Lets processes that are not its ancestors trace this one, where a security module asks for that.
pub fn allow_tracing() {
    // SAFETY: numbers only; without that module, the kernel knows no such option.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
}

/// Keeps this process from huge pages, whoever asks for them.
pub fn forbid_huge_pages() {
    let yes: libc::c_ulong = 1;
    let none: libc::c_ulong = 0;
    // SAFETY: numbers only.
    let answer = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, yes, none, none, none) };
    assert_eq!(answer, 0, "{}", io::Error::last_os_error());
}

/// A pipe that holds not a copy of `bytes` but the pages themselves, which so outlive their mapping.
pub fn keep_pages(bytes: &[u8]) -> io::Result<PipeReader> {
    let (reader, writer) = io::pipe()?;
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the kernel reads one iovec, and only reads what it describes.
    let kept = unsafe { libc::vmsplice(writer.as_raw_fd(), &raw const part, 1, 0) };
    match usize::try_from(kept) {
        Ok(kept) if kept == bytes.len() => Ok(reader),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The size of a page.
pub fn page_size() -> usize {
    // SAFETY: only asks.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap()
}

/// Writes the pattern that `masked` and `mask` give, and leaves no other copy of it.
#[inline(never)]
pub fn plant(out: &mut [u8], masked: &[u8], mask: u8) {
    for (byte, masked) in out.iter_mut().zip(masked) {
        *byte = masked ^ mask;
    }
}
