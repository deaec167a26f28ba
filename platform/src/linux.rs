//! What Linux is asked, call by call. `other.rs` has the same names.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

/// Whether [`Pages`] stand between pages that nobody may touch.
pub const GUARDED: bool = true;

/// What one call answered: 0, or a code in errno.
fn check(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The size of a page.
pub fn page_size() -> usize {
    // SAFETY: only asks.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// The size of a huge page, where the kernel has such.
pub fn huge_page_size() -> Option<usize> {
    let size = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").ok()?;
    size.trim().parse().ok().filter(|size: &usize| size.is_power_of_two())
}

/// Zeroed private memory with at least one page before and after it that nobody may touch.
#[derive(Debug)]
pub struct Pages {
    start: NonNull<u8>,
    len: usize,
    // With the guards.
    base: *mut libc::c_void,
    reserved: usize,
}

impl Pages {
    /// `len` bytes, whole pages, at a multiple of `align`, a power of two and at least a page.
    pub fn map(len: usize, align: usize) -> io::Result<Self> {
        let page = page_size();
        let reserved = len.checked_add(align).and_then(|sum| sum.checked_add(page));
        let reserved = reserved.ok_or(io::ErrorKind::OutOfMemory)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let base = unsafe { libc::mmap(ptr::null_mut(), reserved, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let before = (base.addr() + page).next_multiple_of(align) - base.addr();
        // SAFETY: `before` is at most `align`, for `base` is a multiple of the page, and so is `align`.
        let start = unsafe { base.cast::<u8>().add(before) };
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        // What fails from here on unmaps.
        let pages = Self { start, len, base, reserved };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: within the mapping, which nobody else knows yet.
        check(unsafe { libc::mprotect(start.as_ptr().cast(), len, access) })?;
        Ok(pages)
    }

    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Makes all pages resident, and keeps them so.
    pub fn lock(&self) -> io::Result<()> {
        // SAFETY: our own pages; contents and access do not change.
        check(unsafe { libc::mlock(self.start.as_ptr().cast(), self.len) })
    }

    pub fn keep_from_dumps(&self) -> io::Result<()> {
        self.advise(libc::MADV_DONTDUMP)
    }

    pub fn wipe_on_fork(&self) -> io::Result<()> {
        self.advise(libc::MADV_WIPEONFORK)
    }

    pub fn prefer_huge(&self) -> io::Result<()> {
        self.advise(libc::MADV_HUGEPAGE)
    }

    fn advise(&self, advice: libc::c_int) -> io::Result<()> {
        // SAFETY: our own pages; none of the advice above changes what this process reads there.
        check(unsafe { libc::madvise(self.start.as_ptr().cast(), self.len, advice) })
    }

    /// How many bytes are in huge pages at present.
    pub fn huge(&self) -> usize {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        let start = format!("{:x}-", self.start.as_ptr().addr());
        let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&start));
        lines.find_map(|line| kib(line.strip_prefix("AnonHugePages:")?)).unwrap_or(0)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`; who borrowed the pages borrowed `self`. This unlocks them, too.
        unsafe { libc::munmap(self.base, self.reserved) };
    }
}

/// Asks for huge pages under the whole pages of this memory.
pub fn prefer_huge<T>(memory: &mut [MaybeUninit<T>]) -> io::Result<()> {
    let page = page_size();
    let size = size_of_val(memory);
    let start = memory.as_mut_ptr().cast::<u8>();
    let before = start.addr().next_multiple_of(page) - start.addr();
    let len = size.saturating_sub(before) / page * page;
    if len == 0 {
        return Ok(());
    }
    // SAFETY: pages of memory that is lent to us; what is read there does not change.
    check(unsafe { libc::madvise(start.wrapping_add(before).cast(), len, libc::MADV_HUGEPAGE) })
}

/// "  12 kB" in bytes.
fn kib(text: &str) -> Option<usize> {
    text.trim().strip_suffix(" kB")?.parse::<usize>().ok()?.checked_mul(1024)
}

/// How many bytes may be locked; `None` if there is no limit.
pub fn memlock_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    (answer == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// How many bytes this process has locked.
pub fn locked_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| kib(line.strip_prefix("VmLck:")?)).unwrap_or(0)
}

/// Whether the kernel would let so many bytes more be locked. Nothing becomes resident.
pub fn try_lock(len: usize) -> io::Result<()> {
    // Below the limit there is no question. Above it, only the kernel knows what privileges count
    // for: those of root within a user namespace do not. Where they do, no limit counts; so this
    // takes nothing from what others are about to lock.
    let total = u64::try_from(locked_bytes().saturating_add(len)).unwrap_or(u64::MAX);
    if memlock_limit().is_none_or(|limit| total <= limit) {
        return Ok(());
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, at an address that the kernel chooses, and unmapped below.
    unsafe {
        let memory = libc::mmap(ptr::null_mut(), len, access, flags, -1, 0);
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let on_fault = libc::c_long::from(libc::MLOCK_ONFAULT);
        let answer = match libc::syscall(libc::SYS_mlock2, memory, len, on_fault) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        libc::munmap(memory, len);
        answer
    }
}

/// The cores on which the calling thread may run.
pub fn cores() -> io::Result<Vec<usize>> {
    // SAFETY: a set of bits; all zero is the empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes no more than the size given.
    check(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) })?;
    // SAFETY: below the size of the set.
    let is_set = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
    Ok((0..8 * size_of_val(&set)).filter(is_set).collect())
}

pub fn current_core() -> Option<usize> {
    // SAFETY: only asks.
    usize::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// Keeps the calling thread on one core.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: a set of bits; all zero is the empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if core >= 8 * size_of_val(&set) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: below the size of the set, as checked.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the kernel reads the set.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) })
}

/// Slices of a thread that lets others go first: who wakes up beside it waits no longer than for one, from Linux 6.12
/// on. Earlier ones give it the slices that all have, some milliseconds.
const SHORT_SLICE_NS: u64 = 100_000;

/// Lets others go before the calling thread: a batch job, nicer by ten.
pub fn lower_priority() -> io::Result<()> {
    // SAFETY: a call with numbers; 0 is the calling thread. -1 may be an error or a nice value, and the same counts
    // from there.
    let now = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_BATCH as u32,
        sched_flags: 0,
        sched_nice: (now + 10).min(19),
        sched_priority: 0,
        sched_runtime: SHORT_SLICE_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads as many bytes of the attributes as they say.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub fn is_dumpable() -> bool {
    // SAFETY: only asks.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) != 0 }
}

/// Whether this process may leave a core file of any size.
pub fn may_leave_core() -> bool {
    let mut limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    // SAFETY: the kernel writes one rlimit.
    unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) };
    limit.rlim_cur != 0
}

/// Asks for neither: what came of it, `is_dumpable` and `may_leave_core` say.
pub fn forbid_dumps() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel reads numbers and one rlimit.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::MIN);
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
    }
}

/// Milliseconds of the monotonic clock, as of the kernel's last tick.
pub fn coarse_ms() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec. It has had this clock since 2.6.32.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}
