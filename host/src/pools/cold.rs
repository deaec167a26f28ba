//! The cold tier: serialised keys, sealed, in memory that may be paged out.
//!
//! A ring: the oldest key is promoted first. What seals it is drawn when the tier is made and lies in
//! locked memory. The nonce of a key is its number, and numbers are not used twice.

use super::Failure;
use crate::random::fill_random;
use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use symbolon_platform::locked::{Arena, Options, Protection};
use symbolon_platform::pool;
use zeroize::Zeroize;

const KEY: usize = 32;
const TAG: usize = 16;

/// Sealed keys of one kind.
pub(super) struct Cold {
    kind: &'static str,
    size: usize,
    capacity: u32,
    key: RwLock<Arena>,
    ring: Mutex<Ring>,
    /// For who only wants to know: written under the lock.
    level: AtomicU32,
    unreadable: AtomicU64,
    expired: AtomicU64,
}

struct Ring {
    /// Ciphertext and tag of each place, one after the other.
    sealed: Vec<u8>,
    born: Vec<u32>,
    /// Numbers of the oldest key and of the next; a number's place is its remainder.
    first: u64,
    next: u64,
    closed: bool,
}

impl Ring {
    fn place(&self, number: u64) -> usize {
        (number % self.born.len().max(1) as u64) as usize
    }
}

/// What came of looking for a key.
pub(super) enum Opened {
    /// One lies in the caller's buffer; it was born then.
    Key(u32),
    /// One did not open: it is gone, and counted.
    Unreadable,
    /// There is none.
    Empty,
}

impl Cold {
    /// An empty tier for `capacity` keys of `size` bytes.
    pub(super) fn new(
        kind: &'static str,
        size: usize,
        capacity: u32,
        options: Options,
    ) -> Result<Self, Failure> {
        let memory = |e| Failure::Memory(pool::Error::Memory(e));
        let mut key = Arena::new(KEY, options).map_err(memory)?;
        fill_random(key.bytes_mut().get_mut(..KEY).unwrap_or_default()).map_err(Failure::Host)?;
        let cells = capacity as usize;
        let ring = Ring {
            sealed: vec![0; cells * (size + TAG)],
            born: vec![0; cells],
            first: 0,
            next: 0,
            closed: false,
        };
        Ok(Self {
            kind,
            size,
            capacity,
            key: key.into(),
            ring: ring.into(),
            level: AtomicU32::new(0),
            unreadable: AtomicU64::new(0),
            expired: AtomicU64::new(0),
        })
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nobody panics with the lock in the middle of a change.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cipher(&self) -> Option<XChaCha20Poly1305> {
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner);
        XChaCha20Poly1305::new_from_slice(key.bytes().get(..KEY)?).ok()
    }

    pub(super) fn level(&self) -> u32 {
        self.level.load(Ordering::Relaxed)
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    pub(super) fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// Of the key that seals.
    pub(super) fn protection(&self) -> Protection {
        self.key.read().unwrap_or_else(PoisonError::into_inner).protection()
    }

    /// Whose place and turn a sealed key is in, and since when it lives: it opens as nothing else.
    fn context(&self, number: u64, born: u32) -> Vec<u8> {
        let turns = u64::from(self.capacity.max(1));
        let mut context = Vec::with_capacity(1 + self.kind.len() + 20);
        context.push(self.kind.len() as u8);
        context.extend_from_slice(self.kind.as_bytes());
        context.extend_from_slice(&(number % turns).to_le_bytes());
        context.extend_from_slice(&(number / turns).to_le_bytes());
        context.extend_from_slice(&born.to_le_bytes());
        context
    }

    /// Seals what lies in `buffer`, in place, and keeps it. Gives whether there was room.
    pub(super) fn put(&self, buffer: &mut [u8], born: u32) -> bool {
        let Some(cipher) = self.cipher() else { return false };
        let mut ring = self.ring();
        if ring.closed || ring.next - ring.first >= u64::from(self.capacity) {
            return false;
        }
        let number = ring.next;
        let context = self.context(number, born);
        let Ok(tag) =
            cipher.encrypt_inout_detached(&nonce(number), &context, (&mut *buffer).into())
        else {
            return false;
        };
        let at = ring.place(number);
        let cells = ring.sealed.chunks_exact_mut(self.size + TAG);
        let Some((text, end)) = cells.into_iter().nth(at).map(|c| c.split_at_mut(self.size)) else {
            return false;
        };
        text.copy_from_slice(buffer);
        end.copy_from_slice(&tag);
        if let Some(since) = ring.born.get_mut(at) {
            *since = born;
        }
        ring.next += 1;
        self.level.store((ring.next - ring.first) as u32, Ordering::Relaxed);
        true
    }

    /// Takes the oldest key and opens it into `buffer`, which is as long as a key.
    pub(super) fn take(&self, buffer: &mut [u8]) -> Opened {
        let Some(cipher) = self.cipher() else { return Opened::Empty };
        let mut tag = Tag::default();
        let (number, born) = {
            let mut ring = self.ring();
            if ring.first == ring.next {
                return Opened::Empty;
            }
            let number = ring.first;
            ring.first += 1;
            self.level.store((ring.next - ring.first) as u32, Ordering::Relaxed);
            let at = ring.place(number);
            let Some(cell) = ring.sealed.chunks_exact_mut(self.size + TAG).nth(at) else {
                return Opened::Empty;
            };
            let (text, end) = cell.split_at(self.size);
            buffer.copy_from_slice(text);
            tag.copy_from_slice(end);
            cell.zeroize();
            (number, ring.born.get(at).copied().unwrap_or_default())
        };
        let context = self.context(number, born);
        match cipher.decrypt_inout_detached(&nonce(number), &context, buffer.into(), &tag) {
            Ok(()) => Opened::Key(born),
            Err(_) => {
                self.lose(false);
                Opened::Unreadable
            }
        }
    }

    /// Counts a key that is gone: too old, or no key.
    pub(super) fn lose(&self, is_expired: bool) {
        let count = if is_expired { &self.expired } else { &self.unreadable };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Drops the keys from the old end on that `is_over` says are.
    pub(super) fn sweep(&self, is_over: impl Fn(u32) -> bool) {
        let mut ring = self.ring();
        while ring.first < ring.next {
            let at = ring.place(ring.first);
            if !ring.born.get(at).is_some_and(|born| is_over(*born)) {
                break;
            }
            if let Some(cell) = ring.sealed.chunks_exact_mut(self.size + TAG).nth(at) {
                cell.zeroize();
            }
            ring.first += 1;
            self.expired.fetch_add(1, Ordering::Relaxed);
        }
        self.level.store((ring.next - ring.first) as u32, Ordering::Relaxed);
    }

    /// Drops all keys.
    pub(super) fn flush(&self) {
        let mut ring = self.ring();
        ring.sealed.zeroize();
        // `zeroize` empties the vector too.
        ring.sealed = vec![0; self.capacity as usize * (self.size + TAG)];
        ring.first = ring.next;
        self.level.store(0, Ordering::Relaxed);
    }

    /// Wipes keys and sealing key, and takes no more.
    pub(super) fn close(&self) {
        let mut ring = self.ring();
        ring.closed = true;
        ring.sealed.zeroize();
        ring.first = ring.next;
        self.level.store(0, Ordering::Relaxed);
        self.key.write().unwrap_or_else(PoisonError::into_inner).wipe();
    }

    /// Every byte that is sealed, for tests that spoil them.
    #[cfg(test)]
    pub(super) fn spoil(&self, change: impl FnOnce(&mut [u8], &mut [u32])) {
        let ring = &mut *self.ring();
        change(&mut ring.sealed, &mut ring.born);
    }
}

fn nonce(number: u64) -> XNonce {
    let mut nonce = XNonce::default();
    for (byte, of) in nonce.iter_mut().zip(number.to_le_bytes()) {
        *byte = of;
    }
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use symbolon_platform::locked::OnFailure;

    const SIZE: usize = 48;
    const CELL: usize = SIZE + TAG;

    fn cold(kind: &'static str) -> Cold {
        let options = Options { on_failure: OnFailure::Degrade, huge: false };
        Cold::new(kind, SIZE, 4, options).unwrap()
    }

    fn put(cold: &Cold, byte: u8, born: u32) -> bool {
        cold.put(&mut [byte; SIZE], born)
    }

    fn take(cold: &Cold) -> Result<(u8, u32), bool> {
        let mut buffer = [0; SIZE];
        match cold.take(&mut buffer) {
            Opened::Key(born) => {
                assert!(buffer.iter().all(|byte| *byte == buffer[0]));
                Ok((buffer[0], born))
            }
            Opened::Unreadable => Err(true),
            Opened::Empty => Err(false),
        }
    }

    #[test]
    fn the_oldest_comes_first_and_the_ring_turns() {
        let cold = cold("kind");
        let mut expected = 0..;
        for byte in 0..3 {
            assert!(put(&cold, byte, u32::from(byte) * 10));
        }
        for byte in 3..40 {
            assert!(put(&cold, byte, u32::from(byte) * 10));
            assert!(!put(&cold, 99, 0), "full");
            let next: u8 = expected.next().unwrap();
            assert_eq!(take(&cold), Ok((next, u32::from(next) * 10)));
        }
        assert_eq!(cold.level(), 3);
        cold.sweep(|born| born < 390);
        assert_eq!((cold.level(), cold.expired()), (1, 2));
        cold.flush();
        assert_eq!((cold.level(), take(&cold)), (0, Err(false)));
        assert!(put(&cold, 7, 1));
        assert_eq!(take(&cold), Ok((7, 1)), "goes on after a flush");
        cold.close();
        assert!(!put(&cold, 7, 1));
        assert_eq!(take(&cold), Err(false));
    }

    /// Nothing opens but what was sealed, where and as it was sealed.
    #[test]
    fn what_is_tampered_with_does_not_open() {
        type Spoil = fn(&mut [u8], &mut [u32]);
        let spoils: [Spoil; 6] = [
            |sealed, _| sealed[0] ^= 1,
            |sealed, _| sealed[SIZE - 1] ^= 0x80,
            |sealed, _| sealed[CELL - 1] ^= 1,
            |_, born| born[0] += 1,
            |sealed, _| sealed.copy_within(CELL..2 * CELL, 0),
            |sealed, _| sealed[..CELL].fill(0),
        ];
        for (i, spoil) in spoils.into_iter().enumerate() {
            let cold = cold("kind");
            assert!(put(&cold, 1, 5) && put(&cold, 2, 5));
            cold.spoil(spoil);
            assert_eq!(take(&cold), Err(true), "spoil {i}");
            assert_eq!((cold.unreadable(), cold.level()), (1, 1));
            assert_eq!(take(&cold), Ok((2, 5)), "the other is as it was");
        }
    }

    /// A key that was taken out does not open when it is put back, neither in its place a turn later nor as
    /// another kind's.
    #[test]
    fn replays_do_not_open() {
        let (a, mut old) = (cold("kind"), Vec::new());
        assert!(put(&a, 1, 5));
        a.spoil(|sealed, _| old = sealed[..CELL].to_vec());
        assert_eq!(take(&a), Ok((1, 5)));
        for byte in 2..5 {
            assert!(put(&a, byte, 5));
        }
        for byte in 2..5 {
            assert_eq!(take(&a), Ok((byte, 5)));
        }
        assert!(put(&a, 9, 5));
        a.spoil(|sealed, _| sealed[..CELL].copy_from_slice(&old));
        assert_eq!(take(&a), Err(true));

        let (a, mut b) = (cold("kind"), cold("kine"));
        b.key = RwLock::new(copy(&a));
        assert!(put(&a, 1, 5) && put(&b, 2, 5));
        a.spoil(|sealed, _| old = sealed[..CELL].to_vec());
        b.spoil(|sealed, _| sealed[..CELL].copy_from_slice(&old));
        assert_eq!(take(&b), Err(true));
        assert_eq!(take(&a), Ok((1, 5)));
    }

    fn copy(from: &Cold) -> Arena {
        let options = Options { on_failure: OnFailure::Degrade, huge: false };
        let mut key = Arena::new(KEY, options).unwrap();
        key.bytes_mut()[..KEY].copy_from_slice(&from.key.read().unwrap().bytes()[..KEY]);
        key
    }

    #[test]
    fn what_is_kept_is_not_the_key() {
        let cold = cold("kind");
        assert!(put(&cold, 0x5a, 5));
        cold.spoil(|sealed, _| {
            assert!(!sealed.windows(4).any(|bytes| bytes == [0x5a; 4]));
        });
    }
}
