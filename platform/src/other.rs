//! Operating systems of which only memory is asked: nothing is locked, hidden, pinned or lowered,
//! and each call says so. `linux.rs` has the same names.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io::{self, ErrorKind::Unsupported};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::time::Instant;

pub const GUARDED: bool = false;

/// The largest page of the systems meant.
pub fn page_size() -> usize {
    16384
}

pub fn huge_page_size() -> Option<usize> {
    None
}

pub fn prefer_huge<T>(_: &mut [MaybeUninit<T>]) -> io::Result<()> {
    Err(Unsupported.into())
}

#[derive(Debug)]
pub struct Pages {
    start: NonNull<u8>,
    layout: Layout,
}

impl Pages {
    /// `len` bytes, and not none, at a multiple of `align`, a power of two.
    pub fn map(len: usize, align: usize) -> io::Result<Self> {
        let full = io::ErrorKind::OutOfMemory;
        let layout = Layout::from_size_align(len, align).map_err(|_| full)?;
        // SAFETY: the layout has a size.
        let start = unsafe { alloc_zeroed(layout) };
        Ok(Self { start: NonNull::new(start).ok_or(full)?, layout })
    }

    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub fn len(&self) -> usize {
        self.layout.size()
    }

    pub fn lock(&self) -> io::Result<()> {
        Err(Unsupported.into())
    }

    pub fn keep_from_dumps(&self) -> io::Result<()> {
        Err(Unsupported.into())
    }

    pub fn wipe_on_fork(&self) -> io::Result<()> {
        Err(Unsupported.into())
    }

    pub fn prefer_huge(&self) -> io::Result<()> {
        Err(Unsupported.into())
    }

    pub fn huge(&self) -> usize {
        0
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated by `map` with this layout; who borrowed the memory borrowed `self`.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

pub fn memlock_limit() -> Option<u64> {
    None
}

pub fn locked_bytes() -> usize {
    0
}

pub fn try_lock(_len: usize) -> io::Result<()> {
    Err(Unsupported.into())
}

pub fn cores() -> io::Result<Vec<usize>> {
    Err(Unsupported.into())
}

pub fn current_core() -> Option<usize> {
    None
}

pub fn pin(_core: usize) -> io::Result<()> {
    Err(Unsupported.into())
}

pub fn lower_priority() -> io::Result<()> {
    Err(Unsupported.into())
}

pub fn is_dumpable() -> bool {
    true
}

pub fn may_leave_core() -> bool {
    true
}

pub fn forbid_dumps() {}

pub fn coarse_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
