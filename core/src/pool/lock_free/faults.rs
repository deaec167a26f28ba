//! What a model breaks on purpose, to see that it would notice.
#![cfg_attr(loom, allow(missing_docs))]

use crate::primitive::atomic::Ordering;

/// Mistakes to make. Outside of models there is none to choose, and this is nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The stack's tag stays as it is.
    #[cfg(loom)]
    pub no_tag: bool,
    /// A key is handed out without waiting for what its filler wrote.
    #[cfg(loom)]
    pub weak_order: bool,
    /// A pop takes what it finds for a key, retired or not.
    #[cfg(loom)]
    pub no_retire_check: bool,
    /// The last of several shares wipes without waiting for what the others read.
    #[cfg(loom)]
    pub weak_share: bool,
    /// A sweep that lost its cell to a pop keeps it.
    #[cfg(loom)]
    pub lose_swept: bool,
    /// A sweep does not say that it goes on.
    #[cfg(loom)]
    pub silent_sweep: bool,
    /// Who fills does not wait to be seen before it looks whether the pool is closed.
    #[cfg(loom)]
    pub no_closing_fence: bool,
}

impl Faults {
    pub const NONE: Self = Self {
        #[cfg(loom)]
        no_tag: false,
        #[cfg(loom)]
        weak_order: false,
        #[cfg(loom)]
        no_retire_check: false,
        #[cfg(loom)]
        weak_share: false,
        #[cfg(loom)]
        lose_swept: false,
        #[cfg(loom)]
        silent_sweep: false,
        #[cfg(loom)]
        no_closing_fence: false,
    };

    pub const fn tag_step(self) -> u64 {
        #[cfg(loom)]
        if self.no_tag {
            return 0;
        }
        1
    }

    /// How a key is published and taken over.
    pub const fn publish(self) -> Ordering {
        #[cfg(loom)]
        if self.weak_order {
            return Ordering::Relaxed;
        }
        Ordering::Release
    }

    pub const fn take_over(self) -> Ordering {
        #[cfg(loom)]
        if self.weak_order {
            return Ordering::Relaxed;
        }
        Ordering::Acquire
    }

    /// How a share is given up.
    pub const fn give_up(self) -> Ordering {
        #[cfg(loom)]
        if self.weak_share {
            return Ordering::Relaxed;
        }
        Ordering::Release
    }

    pub const fn checks_retirement(self) -> bool {
        #[cfg(loom)]
        if self.no_retire_check {
            return false;
        }
        true
    }

    pub const fn announces_sweeps(self) -> bool {
        #[cfg(loom)]
        if self.silent_sweep {
            return false;
        }
        true
    }

    pub const fn fences_closing(self) -> bool {
        #[cfg(loom)]
        if self.no_closing_fence {
            return false;
        }
        true
    }

    pub const fn returns_swept(self) -> bool {
        #[cfg(loom)]
        if self.lose_swept {
            return false;
        }
        true
    }
}
