//! Memory for secrets: resident, in no core dump, gone in a forked child, wiped when it is freed.
//!
//! Each of these can fail, the first one often: an ordinary process may lock little. What holds is
//! never a guess: [`Arena::new`] fails, or says in [`Protection`] what it could not have.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::slice;

use symbolon_core::place;

use crate::os;

/// What to do where the operating system denies a protection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Give no memory.
    #[default]
    Refuse,
    /// Give it all the same, and say so: [`Arena::degraded`].
    Degrade,
}

/// What is wanted of an [`Arena`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// If it cannot be locked, kept from core dumps or wiped on fork.
    pub on_failure: OnFailure,
    /// Huge pages where they fit. To have none is no failure; [`Protection::huge`] tells.
    pub huge: bool,
}

/// What holds of an [`Arena`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// All of it is in memory and stays there: nothing is written to swap.
    pub locked: bool,
    /// It is left out of core dumps.
    pub undumped: bool,
    /// A forked child reads zeros.
    pub wiped_on_fork: bool,
    /// Pages that nobody may touch stand before and after it.
    pub guarded: bool,
    /// It is in huge pages, but for an end that fills none.
    pub huge: bool,
}

/// Why there is no memory, or why it is not protected. `errno` is `None` where the operating system
/// has no such call, or is not asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Nothing was asked for, or more than there are addresses.
    Size,
    /// No memory.
    Map {
        /// So many bytes.
        wanted: usize,
        /// The system's answer.
        errno: Option<i32>,
    },
    /// The memory may be written to swap.
    Lock {
        /// So many bytes.
        wanted: usize,
        /// So many bytes the process had locked before.
        locked: usize,
        /// So many bytes it may lock; `None` if there is no limit.
        limit: Option<u64>,
        /// The system's answer.
        errno: Option<i32>,
    },
    /// The memory may stand in core dumps.
    Dump {
        /// The system's answer.
        errno: Option<i32>,
    },
    /// A forked child could read the memory.
    Fork {
        /// The system's answer.
        errno: Option<i32>,
    },
}

impl Error {
    fn lock(wanted: usize, locked: usize, error: &io::Error) -> Self {
        let errno = error.raw_os_error();
        Self::Lock { wanted, locked, limit: memlock_limit(), errno }
    }
}

/// The operating system's words for a code.
struct Answer(Option<i32>);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(code) => io::Error::from_raw_os_error(code).fmt(f),
            None => f.write_str("not on this operating system"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Size => f.write_str("no such amount of memory"),
            Self::Map { wanted, errno } => {
                write!(f, "no memory for {wanted} bytes: {}", Answer(errno))
            }
            Self::Lock { wanted, locked, limit: Some(limit), errno: errno @ Some(_) } => {
                let needed = locked.saturating_add(wanted);
                let kib = needed.div_ceil(1024);
                write!(
                    f,
                    "cannot lock {wanted} bytes of memory: {}. {needed} bytes are needed in all, and \
                     RLIMIT_MEMLOCK is {limit}. Raise it (`ulimit -l {kib}`; for a systemd unit \
                     LimitMEMLOCK={kib}K) or grant the capability CAP_IPC_LOCK",
                    Answer(errno)
                )
            }
            Self::Lock { wanted, errno, .. } => {
                write!(f, "cannot lock {wanted} bytes of memory: {}", Answer(errno))
            }
            Self::Dump { errno } => {
                write!(f, "cannot keep memory out of core dumps: {}", Answer(errno))
            }
            Self::Fork { errno } => {
                write!(f, "cannot hide memory from forked processes: {}", Answer(errno))
            }
        }
    }
}

impl std::error::Error for Error {}

/// How many bytes this process may lock, if not privileged; `None` if there is no limit.
#[must_use]
pub fn memlock_limit() -> Option<u64> {
    os::memlock_limit()
}

/// Whether `bytes` more could be locked: asks the kernel, where the limit alone does not answer it.
///
/// What others lock in the meantime, it cannot know.
///
/// # Errors
/// [`Error::Lock`], with what to raise; [`Error::Size`] as [`Arena::new`].
pub fn check_lockable(bytes: usize) -> Result<(), Error> {
    let wanted = whole_pages(bytes)?;
    let locked = os::locked_bytes();
    os::try_lock(wanted).map_err(|error| Error::lock(wanted, locked, &error))
}

fn whole_pages(bytes: usize) -> Result<usize, Error> {
    let len = bytes.checked_next_multiple_of(os::page_size());
    len.filter(|len| (1..=isize::MAX as usize).contains(len)).ok_or(Error::Size)
}

/// Whole pages of memory for secrets. Dropping it wipes it.
#[derive(Debug)]
pub struct Arena {
    pages: os::Pages,
    protection: Protection,
    degraded: Option<Error>,
}

// SAFETY: it owns its pages, which no thread is special to; shared, it is only read through `bytes`.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// `bytes`, rounded up to whole pages, all zero and at a page's start.
    ///
    /// # Errors
    /// [`Error::Size`] for 0 bytes, or too many. [`Error::Map`] if there is no memory. The others where
    /// a protection fails, unless `options` say to go on.
    pub fn new(bytes: usize, options: Options) -> Result<Self, Error> {
        let len = whole_pages(bytes)?;
        let huge_page = os::huge_page_size().filter(|size| options.huge && *size <= len);
        let align = huge_page.unwrap_or(1).max(os::page_size());
        let pages = os::Pages::map(len, align)
            .map_err(|error| Error::Map { wanted: len, errno: error.raw_os_error() })?;

        let mut degraded = None;
        let mut holds = |done: Result<(), Error>| match done {
            Ok(()) => Ok(true),
            Err(error) if options.on_failure == OnFailure::Refuse => Err(error),
            Err(error) => {
                degraded.get_or_insert(error);
                Ok(false)
            }
        };
        let errno = |error: io::Error| error.raw_os_error();
        let undumped = holds(pages.keep_from_dumps().map_err(|e| Error::Dump { errno: errno(e) }))?;
        let wiped_on_fork =
            holds(pages.wipe_on_fork().map_err(|e| Error::Fork { errno: errno(e) }))?;
        // Before locking, which decides what pages it is made of.
        let prefers_huge = huge_page.is_some() && pages.prefer_huge().is_ok();
        let before = os::locked_bytes();
        let locked = holds(pages.lock().map_err(|e| Error::lock(len, before, &e)))?;

        let protection =
            Protection { locked, undumped, wiped_on_fork, guarded: os::GUARDED, huge: false };
        let mut arena = Self { pages, protection, degraded };
        if let Some(size) = huge_page
            && prefers_huge
        {
            // To have pages that are not locked as well.
            arena.wipe();
            arena.protection.huge = arena.pages.huge() >= len / size * size;
        }
        Ok(arena)
    }

    /// What holds of this memory.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// The first protection that failed, and why; `None` if none did.
    #[must_use]
    pub fn degraded(&self) -> Option<Error> {
        self.degraded
    }

    /// The first byte. Who writes through it sees to it that nobody borrows [`bytes`](Self::bytes).
    #[must_use]
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.pages.start()
    }

    /// Its size in bytes: whole pages.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped, initialised by the system, and ours while `self` lives.
        unsafe { slice::from_raw_parts(self.as_ptr().as_ptr(), self.len()) }
    }

    /// All of it, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed by nobody else.
        unsafe { slice::from_raw_parts_mut(self.as_ptr().as_ptr(), self.len()) }
    }

    /// Overwrites all of it with zeros.
    pub fn wipe(&mut self) {
        // Every page is a multiple of this.
        let (blocks, _) = self.bytes_mut().as_chunks_mut::<4096>();
        blocks.iter_mut().for_each(place::wipe);
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEGRADE: Options = Options { on_failure: OnFailure::Degrade, huge: false };

    #[test]
    fn sizes_are_whole_pages() {
        let page = os::page_size();
        for (asked, len) in [(1, page), (page, page), (page + 1, 2 * page)] {
            let arena = Arena::new(asked, DEGRADE).unwrap();
            assert_eq!(arena.len(), len);
            assert!(arena.as_ptr().as_ptr().addr().is_multiple_of(page));
            assert!(arena.bytes().iter().all(|byte| *byte == 0));
        }
        for none in [0, usize::MAX, isize::MAX as usize] {
            assert_eq!(Arena::new(none, DEGRADE).err(), Some(Error::Size));
            assert_eq!(check_lockable(none), Err(Error::Size));
        }
        let most = (isize::MAX as usize).next_multiple_of(page) - page;
        assert!(matches!(Arena::new(most, DEGRADE), Err(Error::Map { .. })));
    }

    /// What dropping does first, while it can be seen.
    #[test]
    fn wiping_leaves_no_byte() {
        let mut arena = Arena::new(3 * os::page_size(), DEGRADE).unwrap();
        arena.bytes_mut().fill(0xa5);
        arena.wipe();
        assert!(arena.bytes().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn messages_say_what_to_raise() {
        let (wanted, locked) = (1 << 20, 4096);
        let error = Error::Lock { wanted, locked, limit: Some(65536), errno: Some(12) };
        let message = error.to_string();
        for part in [
            "1048576 bytes",
            "1052672 bytes are needed",
            "RLIMIT_MEMLOCK is 65536",
            "`ulimit -l 1028`",
            "LimitMEMLOCK=1028K",
            "CAP_IPC_LOCK",
        ] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
        let unlimited = Error::Lock { wanted, locked, limit: None, errno: Some(12) }.to_string();
        assert!(!unlimited.contains("RLIMIT_MEMLOCK"), "{unlimited}");
        let elsewhere = Error::Dump { errno: None }.to_string();
        assert!(elsewhere.ends_with("not on this operating system"), "{elsewhere}");
    }
}
