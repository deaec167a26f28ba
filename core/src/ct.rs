//! Constant time: what may be known of secrets, and how memcheck is told.
//!
//! No branch, no address and no division here depends on a secret. `cargo xtask ct` checks that under
//! valgrind: secrets are marked as undefined ([`poison`]), and memcheck then reports every branch
//! and every address that depends on them. Where something made from a secret may be known, the
//! code says so with `public`, and the reason stands beside it. The idea is Langley's (ctgrind,
//! 2010).
//!
//! Without the feature `valgrind`, or on another processor than x86-64, all of this does nothing.
#![allow(unsafe_code)]

/// Declares a value public though it was made from secrets. Every call is an exception to the
/// rule above and says why it is one.
#[inline(always)]
pub(crate) fn public<T: Copy>(mut value: T) -> T {
    declassify(&mut value);
    value
}

/// Marks memory as secret.
pub fn poison<T: ?Sized>(value: &mut T) {
    mark(MAKE_MEM_UNDEFINED, value);
}

/// Marks memory as public.
#[inline(always)]
pub fn declassify<T: ?Sized>(value: &mut T) {
    mark(MAKE_MEM_DEFINED, value);
}

/// Whether memcheck takes any bit of `value` for secret.
#[must_use]
pub fn is_poisoned<T: ?Sized>(value: &T) -> bool {
    const AT_ONCE: usize = 64;
    let (start, len) = ((&raw const *value).addr(), size_of_val(value));
    (0..len).step_by(AT_ONCE).any(|at| {
        let mut bits = [0u8; AT_ONCE];
        let into = (&raw mut bits).addr();
        request(GET_VBITS, start + at, into, AT_ONCE.min(len - at));
        core::hint::black_box(bits) != [0; AT_ONCE]
    })
}

/// How many errors memcheck has reported since the program started; 0 without it.
#[must_use]
pub fn errors() -> usize {
    request(COUNT_ERRORS, 0, 0, 0)
}

/// Whether valgrind runs this program, and this crate was built to talk to it.
#[must_use]
pub fn is_watched() -> bool {
    request(RUNNING_ON_VALGRIND, 0, 0, 0) != 0
}

#[inline(always)]
fn mark<T: ?Sized>(code: usize, value: &mut T) {
    request(code, (&raw mut *value).addr(), size_of_val(value), 0);
}

// valgrind.h, memcheck.h.
const RUNNING_ON_VALGRIND: usize = 0x1001;
const COUNT_ERRORS: usize = 0x1201;
const MAKE_MEM_UNDEFINED: usize = 0x4d43_0001;
const MAKE_MEM_DEFINED: usize = 0x4d43_0002;
const GET_VBITS: usize = 0x4d43_0008;

/// A client request: rdi is rotated by 128 bits in all, which means something to valgrind only.
#[cfg(all(feature = "valgrind", target_arch = "x86_64"))]
#[inline(always)]
fn request(code: usize, first: usize, second: usize, third: usize) -> usize {
    let message = [code, first, second, third, 0, 0];
    let mut answer = 0;
    // SAFETY: a processor runs five instructions that change nothing but flags. Valgrind reads
    // `message`; of the memory that it names, bytes change only in `is_poisoned`'s own buffer.
    unsafe {
        core::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") &raw const message,
            inout("rdx") answer,
            options(nostack),
        );
    }
    answer
}

#[cfg(not(all(feature = "valgrind", target_arch = "x86_64")))]
#[inline(always)]
fn request(_: usize, _: usize, _: usize, _: usize) -> usize {
    0
}
