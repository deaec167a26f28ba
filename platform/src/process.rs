//! What other processes, and core files, may see of this one.

use crate::os;

/// What holds of this process after [`harden`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardened {
    /// The kernel dumps no core of it, and other processes of the same user may not trace it.
    pub undumpable: bool,
    /// Its core files, and those of processes that it starts, have no bytes (`RLIMIT_CORE` is 0).
    pub no_core_file: bool,
}

/// Forbids core dumps, for good.
///
/// Linux then gives most of `/proc/self` to root, and debuggers of ordinary users have no access.
/// Privileged ones still do: locked memory is left out of their dumps only if they respect it.
#[must_use]
pub fn harden() -> Hardened {
    os::forbid_dumps();
    Hardened { undumpable: !is_dumpable(), no_core_file: !os::may_leave_core() }
}

/// Whether the kernel may dump a core of this process; true where it cannot be asked.
#[must_use]
pub fn is_dumpable() -> bool {
    os::is_dumpable()
}
