//! Large values in place.
//!
//! A ciphertext is 64 KiB and an enclave's stack may be less. So large values are never returned:
//! the caller owns the memory (a static, an arena, a box) and core writes into it. This file holds
//! the only pointer tricks that takes.
#![allow(unsafe_code)]

use crate::poly::Poly;
use bytemuck::Zeroable;
use core::mem::MaybeUninit;

/// Fills uninitialised memory with zeros and hands it back as a value, without a copy on the stack.
///
/// ```
/// # use core::mem::MaybeUninit;
/// # use symbolon_core::{bfv::{Ciphertext, Q54}, place};
/// let mut memory = Box::new(MaybeUninit::<Ciphertext<Q54>>::uninit());
/// let ciphertext: &mut Ciphertext<Q54> = place::zeroed(&mut memory);
/// # let _ = ciphertext;
/// ```
pub fn zeroed<T: Zeroable>(memory: &mut MaybeUninit<T>) -> &mut T {
    // SAFETY: the pointer is valid for one T; `Zeroable` promises that all-zero bytes are a T.
    unsafe {
        memory.as_mut_ptr().write_bytes(0, 1);
        memory.assume_init_mut()
    }
}

/// Overwrites a value with zeros, which the compiler may not leave out, at the speed of memory.
pub fn wipe<T: Zeroable>(value: &mut T) {
    bytemuck::write_zeroes(value);
    keep(value);
}

/// The same for memory whose value is not to be dropped.
pub(crate) fn wipe_unset<T: Zeroable>(memory: &mut MaybeUninit<T>) {
    // SAFETY: the pointer is valid for one T.
    unsafe { memory.as_mut_ptr().write_bytes(0, 1) };
    keep(memory);
}

/// Makes sure that what was written is in memory.
fn keep<T>(value: &mut T) {
    // SAFETY: no instruction. The pointer escapes into it, so what was written must be in memory before.
    unsafe {
        core::arch::asm!("/* {0} */", in(reg) core::ptr::from_mut(value), options(nostack, preserves_flags));
    }
}

/// The same words under another representation. Only the transforms and conversions that really
/// change the representation call this.
pub(crate) fn retag<const L: usize, A, B>(poly: &mut Poly<L, A>) -> &mut Poly<L, B> {
    // SAFETY: `Poly` is `repr(C)` and its representation is a zero-sized marker, so both types have
    // one layout, and every bit pattern of the words is valid; the borrow is carried over.
    unsafe { &mut *core::ptr::from_mut(poly).cast() }
}
