//! Which sessions are alive: one 64-bit word a session, and a register of whose they are.
//!
//! A word is generation (32 bits) and count (32 bits). A ticket names its place and the word that it is good
//! for. To resume is one compare-exchange of that word for the next count: it fails if the ticket was used, if
//! the session was revoked, and if the place has another session by now, and of two who try at once one wins.
//! To end a session is to put the next generation. Nothing else is published by a word, so its own order of
//! changes is all that is needed.
//!
//! Who opens or ends a session takes a lock, which resuming never does.

use super::Refusal;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use symbolon_core::attest::Digest;

/// The most sessions of a table.
pub const MAX_SESSIONS: u32 = 1 << 24;

/// A session's place and the word that a ticket is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub slot: u32,
    pub word: u64,
}

const fn generation(word: u64) -> u32 {
    (word >> 32) as u32
}

impl Place {
    /// What the session is called: generation and slot.
    pub(super) const fn session(self) -> SessionId {
        SessionId { slot: self.slot, generation: generation(self.word) }
    }
}

/// What a session is called, while its server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    slot: u32,
    generation: u32,
}

impl SessionId {
    /// As a number.
    #[must_use]
    pub const fn number(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// Inverse of [`number`](Self::number).
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self { slot: number as u32, generation: (number >> 32) as u32 }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.number())
    }
}

/// Whose session is in a place, and until when.
#[derive(Clone, Copy)]
struct Tenant {
    device: Digest,
    /// 0 for a session that was ended.
    ends: u64,
}

/// Places by the time at which they are free: all that were ever let, 0 for those free at once.
struct Register {
    by_end: BTreeSet<(u64, u32)>,
    tenants: Vec<Tenant>,
}

pub(super) struct Table {
    words: Box<[AtomicU64]>,
    register: Mutex<Register>,
}

impl Table {
    /// Room for so many sessions: 1 to [`MAX_SESSIONS`].
    pub(super) fn new(capacity: u32) -> Self {
        let capacity = capacity.clamp(1, MAX_SESSIONS);
        let words = (0..capacity).map(|_| AtomicU64::new(0)).collect();
        let tenants = Vec::with_capacity(capacity as usize);
        Self { words, register: Mutex::new(Register { by_end: BTreeSet::new(), tenants }) }
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        // No one panics with the lock in the middle of a change.
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a place until `ends`: a new one, or the one that has been free for longest.
    pub(super) fn open(&self, device: &Digest, ends: u64, now: u64) -> Result<Place, Refusal> {
        let mut register = self.register();
        let tenant = Tenant { device: *device, ends };
        let first = register.by_end.first().copied().filter(|(end, _)| *end <= now);
        let slot = if let Some(free) = first {
            register.by_end.remove(&free);
            if let Some(old) = register.tenants.get_mut(free.1 as usize) {
                *old = tenant;
            }
            free.1
        } else if register.tenants.len() < self.words.len() {
            register.tenants.push(tenant);
            register.tenants.len() as u32 - 1
        } else {
            return Err(Refusal::Full);
        };
        register.by_end.insert((ends, slot));
        let word = self.renew(slot).ok_or(Refusal::Full)?;
        Ok(Place { slot, word })
    }

    /// Puts the next generation, which only the register's holder does: the count may move meanwhile.
    fn renew(&self, slot: u32) -> Option<u64> {
        let cell = self.words.get(slot as usize)?;
        let next = u64::from(generation(cell.load(Ordering::Acquire)).wrapping_add(1)) << 32;
        cell.store(next, Ordering::Release);
        Some(next)
    }

    /// Uses the ticket for this place, and gives what the next one is for.
    pub(super) fn advance(&self, place: Place) -> Result<Place, Refusal> {
        let cell = self.words.get(place.slot as usize).ok_or(Refusal::Ticket)?;
        if place.word as u32 == u32::MAX {
            return Err(Refusal::Worn);
        }
        let next = place.word + 1;
        match cell.compare_exchange(place.word, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(Place { slot: place.slot, word: next }),
            Err(found) if generation(found) == generation(place.word) => Err(Refusal::Spent),
            Err(_) => Err(Refusal::Revoked),
        }
    }

    /// Whether a session was not ended. Of one whose time is over, ask the clock.
    pub(super) fn holds(&self, session: SessionId) -> bool {
        let cell = self.words.get(session.slot as usize);
        cell.is_some_and(|cell| generation(cell.load(Ordering::Acquire)) == session.generation)
    }

    /// Ends a session. Gives whether there was one whose time was not over.
    pub(super) fn end(&self, session: SessionId, now: u64) -> bool {
        let mut register = self.register();
        self.holds(session) && self.vacate(&mut register, session.slot, now)
    }

    /// Ends the sessions of a device, or all of them. Gives how many whose time was not over. It goes through all
    /// that were ever let.
    pub(super) fn end_of(&self, device: Option<&Digest>, now: u64) -> usize {
        let mut register = self.register();
        let of = |tenant: &Tenant| device.is_none_or(|device| tenant.device == *device);
        let slots: Vec<u32> = (0..)
            .zip(&register.tenants)
            .filter_map(|(slot, tenant)| of(tenant).then_some(slot))
            .collect();
        slots.into_iter().filter(|slot| self.vacate(&mut register, *slot, now)).count()
    }

    /// Ends whatever session is in a place, unless its time was over: then it has ended, and its place is free.
    fn vacate(&self, register: &mut Register, slot: u32, now: u64) -> bool {
        let Some(tenant) = register.tenants.get_mut(slot as usize) else { return false };
        if tenant.ends <= now {
            return false;
        }
        let ends = std::mem::take(&mut tenant.ends);
        register.by_end.remove(&(ends, slot));
        register.by_end.insert((0, slot));
        self.renew(slot).is_some()
    }

    /// Sessions whose time is not over.
    pub(super) fn alive(&self, now: u64) -> usize {
        self.register().by_end.range((now.saturating_add(1), 0)..).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    const A: Digest = [1; 32];
    const B: Digest = [2; 32];

    #[test]
    fn a_ticket_is_good_once() {
        let table = Table::new(4);
        let first = table.open(&A, 100, 0).unwrap();
        let second = table.advance(first).unwrap();
        assert_eq!(table.advance(first), Err(Refusal::Spent));
        let third = table.advance(second).unwrap();
        assert_eq!((second.word + 1, third.session()), (third.word, first.session()));
        assert_eq!(table.advance(second), Err(Refusal::Spent));
        assert_eq!(table.advance(Place { slot: 4, word: 0 }), Err(Refusal::Ticket));
        let worn = Place { word: first.word | u64::from(u32::MAX), ..first };
        assert_eq!(table.advance(worn), Err(Refusal::Worn));
    }

    #[test]
    fn what_is_ended_is_over() {
        let table = Table::new(8);
        let [a, b, c] = [A, B, A].map(|device| table.open(&device, 100, 0).unwrap());
        assert_eq!(table.alive(0), 3);
        assert!(table.holds(b.session()) && table.end(b.session(), 0));
        assert!(!table.holds(b.session()) && !table.end(b.session(), 0));
        assert_eq!(table.advance(b), Err(Refusal::Revoked));
        let ended = [Some(&B), Some(&A), None].map(|device| table.end_of(device, 0));
        assert_eq!(ended, [0, 2, 0]);
        assert_eq!(table.advance(a), Err(Refusal::Revoked));
        assert_eq!(table.advance(c), Err(Refusal::Revoked));
        assert_eq!(table.alive(0), 0);
        let again = table.open(&A, 100, 0).unwrap();
        assert_eq!(again.slot, a.slot, "the one free for longest");
        assert_eq!(table.advance(a), Err(Refusal::Revoked), "the place's next session is another");
        assert!(table.advance(again).is_ok());
        assert!(table.end_of(None, 0) == 1 && table.alive(0) == 0);
    }

    /// What is over by itself is not ended again, nor counted.
    #[test]
    fn what_has_expired_is_not_ended() {
        let table = Table::new(8);
        let [short, ..] = [10, 20, 20].map(|ends| table.open(&A, ends, 0).unwrap());
        table.open(&B, 20, 0).unwrap();
        assert!(!table.end(short.session(), 10));
        assert_eq!((table.alive(10), table.end_of(Some(&A), 10), table.alive(10)), (3, 2, 1));
        assert_eq!((table.end_of(None, 20), table.alive(20)), (0, 0));
        // Their places are free, those first that were ended.
        let slots: Vec<_> = (0..4).map(|_| table.open(&B, 30, 20).unwrap().slot).collect();
        assert_eq!(slots, [1, 2, 0, 3]);
        assert_eq!(table.end_of(None, 29), 4);
    }

    #[test]
    fn a_full_table_takes_the_place_that_expired_first() {
        let table = Table::new(3);
        let places = [30, 10, 20].map(|ends| table.open(&A, ends, 0).unwrap());
        assert_eq!(table.open(&B, 100, 9), Err(Refusal::Full));
        assert_eq!(table.alive(9), 3);
        let next = table.open(&B, 100, 25).unwrap();
        assert_eq!(next.slot, places[1].slot);
        assert_eq!(table.alive(25), 2);
        assert_eq!(table.advance(places[1]), Err(Refusal::Revoked));
        assert_eq!(table.open(&B, 100, 25).unwrap().slot, places[2].slot);
        assert_eq!(table.open(&B, 100, 25), Err(Refusal::Full));
        assert!(table.end(next.session(), 25));
        assert_eq!(table.open(&B, 100, 25).unwrap().slot, next.slot);
    }

    #[test]
    fn ids_are_numbers() {
        let place = Place { slot: 7, word: 9 << 32 | 5 };
        let session = place.session();
        assert_eq!(SessionId::from_number(session.number()), session);
        assert_eq!(session.to_string(), "0000000900000007");
    }

    /// Of many who use one ticket at once one wins, and none after the session was ended.
    #[test]
    fn one_of_many_wins() {
        let table = Table::new(2);
        for _ in 0..200 {
            let place = table.open(&A, 1, 0).unwrap();
            let won = AtomicUsize::new(0);
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        let next = table.advance(place);
                        won.fetch_add(usize::from(next.is_ok()), Ordering::Relaxed);
                    });
                }
            });
            assert_eq!(won.into_inner(), 1);
            assert!(table.end(place.session(), 0));
            let current = Place { word: place.word + 1, ..place };
            assert_eq!(table.advance(current), Err(Refusal::Revoked));
        }
    }
}
