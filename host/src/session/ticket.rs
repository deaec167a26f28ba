//! Tickets: what a server needs to go on with a session, sealed and given to the client.
//!
//! | bytes | field |
//! |---|---|
//! | 4 | number of the ticket key |
//! | 12 | nonce, random |
//! | 128 | sealed: slot (4), word (8), end (8), epochs (4, 4), client version (4), secret, device, evidence (32 each) |
//! | 16 | tag, over deployment and version too |
//!
//! Nothing in clear names session or device, so who reads along cannot tell whose ticket it is, or that two are
//! of one session. Nonces are drawn, 2^29 of them a key at a million resumes a second: two are the same
//! with probability 2^-39.
//!
//! Ticket keys live in locked memory that a forked child does not inherit: there every ticket is refused. A key
//! seals for one period and opens for one more; then it is wiped, and with it what its tickets hold.

use super::message::{concat, write};
use super::schedule::{Secret, Wiped};
use super::seal::{Cipher, TAG, cipher};
use super::table::Place;
use super::{Refusal, generator};
use crate::error::{Error, Kind, Result};
use crate::random::fill_random;
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Nonce, Tag};
use arc_swap::ArcSwap;
use std::sync::Arc;
use symbolon_core::attest::Digest;
use symbolon_platform::locked::{Arena, Options};
use zeroize::Zeroize;

/// Bytes of a ticket.
pub const TICKET_SIZE: usize = HEAD + TEXT + TAG;
const HEAD: usize = 4 + 12;
const TEXT: usize = 4 + 8 + 8 + 3 * 4 + 3 * 32;
/// Version of the encoding.
const VERSION: u8 = 1;

/// What a ticket holds: filled in place, since a move leaves a copy of the secret.
#[derive(Default)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub(super) struct Contents {
    pub place: Place,
    /// By the server's clock, in milliseconds.
    pub ends: u64,
    pub policy_epoch: u32,
    pub identity_epoch: u32,
    pub version: u32,
    pub secret: Secret,
    pub device: Digest,
    pub evidence: Digest,
}

impl Contents {
    fn encode(&self, out: &mut [u8; TEXT]) {
        let fields: [&[u8]; 9] = [
            &self.place.slot.to_le_bytes(),
            &self.place.word.to_le_bytes(),
            &self.ends.to_le_bytes(),
            &self.policy_epoch.to_le_bytes(),
            &self.identity_epoch.to_le_bytes(),
            &self.version.to_le_bytes(),
            &*self.secret,
            &self.device,
            &self.evidence,
        ];
        write(&fields, out);
    }

    /// Inverse of [`encode`](Self::encode). `None` is for sizes that do not add up, which these do.
    fn decode(&mut self, text: &[u8; TEXT]) -> Option<()> {
        fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
            let (head, tail) = rest.split_first_chunk()?;
            *rest = tail;
            Some(head)
        }
        let rest = &mut text.as_slice();
        self.place.slot = u32::from_le_bytes(*take(rest)?);
        self.place.word = u64::from_le_bytes(*take(rest)?);
        self.ends = u64::from_le_bytes(*take(rest)?);
        self.policy_epoch = u32::from_le_bytes(*take(rest)?);
        self.identity_epoch = u32::from_le_bytes(*take(rest)?);
        self.version = u32::from_le_bytes(*take(rest)?);
        self.secret.copy_from_slice(take::<32>(rest)?);
        self.device.copy_from_slice(take::<32>(rest)?);
        self.evidence.copy_from_slice(take::<32>(rest)?);
        Some(())
    }
}

/// A ticket key. Its memory is zeros in a forked child, where the mark is missing.
struct TicketKey {
    number: u32,
    born: u64,
    memory: Arena,
}

const MARK: u8 = 1;

impl TicketKey {
    fn draw(number: u32, born: u64, options: Options) -> Result<Self> {
        let mut memory =
            Arena::new(33, options).map_err(|e| Error::new(Kind::Pool, e.to_string()))?;
        if let Some((key, rest)) = memory.bytes_mut().split_first_chunk_mut::<32>() {
            fill_random(key)?;
            rest.iter_mut().take(1).for_each(|mark| *mark = MARK);
        }
        Ok(Self { number, born, memory })
    }

    fn bytes(&self) -> Option<&[u8; 32]> {
        let (key, rest) = self.memory.bytes().split_first_chunk()?;
        (rest.first() == Some(&MARK)).then_some(key)
    }
}

/// The key that seals, and the one before it.
struct Ring {
    current: Arc<TicketKey>,
    previous: Option<Arc<TicketKey>>,
}

/// The ticket keys of a server.
pub(super) struct TicketKeys {
    ring: ArcSwap<Ring>,
    /// Deployment and version, to which tickets are bound.
    bound: [u8; 17],
    period: u64,
    options: Options,
}

/// A ticket key at work: between a ticket that was opened and the next that is sealed.
pub(super) struct Opened {
    ring: arc_swap::Guard<Arc<Ring>>,
    cipher: Cipher,
    number: u32,
}

impl TicketKeys {
    /// With a first key, at `now`; `period` in milliseconds.
    pub(super) fn new(
        deployment: &[u8; 16],
        period: u64,
        now: u64,
        options: Options,
    ) -> Result<Self> {
        let current = Arc::new(TicketKey::draw(0, now, options)?);
        let ring = ArcSwap::from_pointee(Ring { current, previous: None });
        Ok(Self { ring, bound: concat(&[deployment, &[VERSION]]), period, options })
    }

    /// Brings in a new key: the current one opens for one more period, the one before it is gone. Of two who do so at
    /// once each brings in one, with a number of its own.
    ///
    /// Errors: `E-ENTROPY`; `E-POOL` without locked memory where that is asked for.
    pub(super) fn rotate(&self, now: u64) -> Result<()> {
        let mut old = self.ring.load();
        loop {
            let number = old.current.number.wrapping_add(1);
            let current = Arc::new(TicketKey::draw(number, now, self.options)?);
            let previous = Some(Arc::clone(&old.current));
            let found = self.ring.compare_and_swap(&*old, Arc::new(Ring { current, previous }));
            if Arc::ptr_eq(&old, &found) {
                return Ok(());
            }
            old = found;
        }
    }

    /// Milliseconds until the current key has sealed for a period.
    pub(super) fn due_in(&self, now: u64) -> u64 {
        self.ring.load().current.born.saturating_add(self.period).saturating_sub(now)
    }

    /// Whether what memory was asked for is what it is.
    pub(super) fn degraded(&self) -> Option<String> {
        self.ring.load().current.memory.degraded().map(|e| e.to_string())
    }

    /// Opens a ticket into `contents`.
    pub(super) fn open(
        &self,
        ticket: &[u8; TICKET_SIZE],
        now: u64,
        contents: &mut Contents,
    ) -> std::result::Result<Opened, Refusal> {
        let (number, rest) = ticket.split_first_chunk().ok_or(Refusal::Ticket)?;
        let (nonce, rest) = rest.split_first_chunk::<12>().ok_or(Refusal::Ticket)?;
        let (text, tag) = rest.split_first_chunk::<TEXT>().ok_or(Refusal::Ticket)?;
        let tag: &[u8; TAG] = tag.try_into().map_err(|_| Refusal::Ticket)?;
        let number = u32::from_le_bytes(*number);
        let ring = self.ring.load();
        let key = [Some(&ring.current), ring.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| key.number == number && now < key.born.saturating_add(2 * self.period))
            .ok_or(Refusal::Ticket)?;
        let cipher = cipher(key.bytes().ok_or(Refusal::Ticket)?);
        let mut text = Wiped(*text);
        cipher
            .decrypt_inout_detached(
                &Nonce::from(*nonce),
                &self.context(number),
                text.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| Refusal::Ticket)?;
        contents.decode(&text).ok_or(Refusal::Ticket)?;
        Ok(Opened { ring, cipher, number })
    }

    /// Seals a ticket under the current key, which may be the one that opened the last.
    pub(super) fn seal(
        &self,
        contents: &Contents,
        opened: Option<&Opened>,
        out: &mut [u8; TICKET_SIZE],
    ) -> std::result::Result<(), Refusal> {
        let (fresh, made);
        let ring = match opened {
            Some(opened) => &opened.ring,
            None => {
                fresh = self.ring.load();
                &fresh
            }
        };
        let key = &ring.current;
        let cipher = match opened.filter(|opened| opened.number == key.number) {
            Some(opened) => &opened.cipher,
            None => {
                made = cipher(key.bytes().ok_or(Refusal::Internal)?);
                &made
            }
        };
        let mut nonce = [0; 12];
        generator::fill(&mut nonce)?;
        let mut text = Wiped([0; TEXT]);
        contents.encode(&mut text);
        let tag = cipher
            .encrypt_inout_detached(
                &Nonce::from(nonce),
                &self.context(key.number),
                text.as_mut_slice().into(),
            )
            .map_err(|_| Refusal::Internal)?;
        *out = concat(&[&key.number.to_le_bytes(), &nonce, &*text, &tag]);
        Ok(())
    }

    /// What a ticket is bound to beside what is sealed in it.
    fn context(&self, number: u32) -> [u8; 21] {
        concat(&[&self.bound, &number.to_le_bytes()])
    }
}

/// A ticket as a client holds it, and its secret: in a box, where both stay.
pub(super) struct Held {
    pub ticket: [u8; TICKET_SIZE],
    pub secret: [u8; 32],
}

impl Held {
    pub(super) fn new(ticket: &[u8; TICKET_SIZE], secret: &[u8; 32]) -> Box<Self> {
        let mut held = Box::new(Self { ticket: *ticket, secret: [0; 32] });
        held.secret.copy_from_slice(secret);
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use symbolon_platform::locked::OnFailure;

    const DEGRADE: Options = Options { on_failure: OnFailure::Degrade, huge: false };
    const PERIOD: u64 = 1000;

    fn keys(deployment: u8) -> TicketKeys {
        TicketKeys::new(&[deployment; 16], PERIOD, 0, DEGRADE).unwrap()
    }

    fn contents() -> Contents {
        Contents {
            place: Place { slot: 1, word: 2 << 32 | 3 },
            ends: 4,
            policy_epoch: 5,
            identity_epoch: 6,
            version: 7,
            secret: Wiped([8; 32]),
            device: [9; 32],
            evidence: [10; 32],
        }
    }

    fn seal(keys: &TicketKeys) -> [u8; TICKET_SIZE] {
        let mut ticket = [0; TICKET_SIZE];
        keys.seal(&contents(), None, &mut ticket).unwrap();
        ticket
    }

    fn open(keys: &TicketKeys, ticket: &[u8; TICKET_SIZE], now: u64) -> Option<Refusal> {
        keys.open(ticket, now, &mut Contents::default()).err()
    }

    #[test]
    fn what_is_sealed_opens_and_nothing_else_does() {
        assert_eq!((TEXT, TICKET_SIZE), (128, 160));
        let keys = keys(1);
        let ticket = seal(&keys);
        assert_ne!(ticket, seal(&keys), "two of the same differ");
        assert!(!ticket.windows(4).any(|w| w == [8; 4] || w == [9; 4]), "sealed");
        let mut found = Contents::default();
        let opened = keys.open(&ticket, 0, &mut found).unwrap();
        assert!(found == contents());
        let mut next = [0; TICKET_SIZE];
        keys.seal(&found, Some(&opened), &mut next).unwrap();
        let mut again = Contents::default();
        assert!(keys.open(&next, 0, &mut again).is_ok() && again == found);
        for at in 0..TICKET_SIZE {
            for bit in 0..8 {
                let mut altered = ticket;
                altered[at] ^= 1 << bit;
                assert_eq!(open(&keys, &altered, 0), Some(Refusal::Ticket), "byte {at}");
            }
        }
    }

    #[test]
    fn keys_overlap_by_one_period() {
        let keys = keys(1);
        let first = seal(&keys);
        assert_eq!((keys.due_in(0), keys.due_in(400), keys.due_in(2000)), (1000, 600, 0));
        keys.rotate(PERIOD).unwrap();
        let second = seal(&keys);
        assert_eq!([&first, &second].map(|t| open(&keys, t, PERIOD)), [None; 2]);
        // The next ticket is the new key's, whichever opened the last.
        let mut found = Contents::default();
        let opened = keys.open(&first, PERIOD, &mut found).unwrap();
        let mut next = [0; TICKET_SIZE];
        keys.seal(&found, Some(&opened), &mut next).unwrap();
        keys.rotate(2 * PERIOD).unwrap();
        assert_eq!(open(&keys, &first, 2 * PERIOD), Some(Refusal::Ticket));
        assert_eq!([&next, &second].map(|t| open(&keys, t, 2 * PERIOD)), [None; 2]);
        // Without anybody who rotates, a key ends all the same.
        assert_eq!(open(&keys, &second, 3 * PERIOD), Some(Refusal::Ticket));
    }

    /// None is lost, and no two have one number.
    #[test]
    fn keys_are_brought_in_one_after_the_other() {
        const THREADS: u32 = 4;
        const TURNS: u32 = 50;
        let keys = keys(1);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..TURNS).for_each(|_| keys.rotate(0).unwrap()));
            }
        });
        let ring = keys.ring.load();
        let previous = ring.previous.as_ref().map(|key| key.number);
        assert_eq!((ring.current.number, previous), (THREADS * TURNS, Some(THREADS * TURNS - 1)));
    }

    #[test]
    fn a_ticket_is_bound_to_its_deployment() {
        let (a, b) = (keys(1), keys(2));
        let ticket = seal(&a);
        b.ring.store(a.ring.load_full());
        assert_eq!(open(&b, &ticket, 0), Some(Refusal::Ticket));
        assert_eq!(open(&a, &ticket, 0), None);
    }

    /// As in a forked child, which reads zeros.
    #[test]
    fn without_its_memory_a_key_does_nothing() {
        let keys = keys(1);
        let ticket = seal(&keys);
        let mut memory = Arena::new(33, DEGRADE).unwrap();
        memory.wipe();
        let current = Arc::new(TicketKey { number: 0, born: 0, memory });
        keys.ring.store(Arc::new(Ring { current, previous: None }));
        assert_eq!(open(&keys, &ticket, 0), Some(Refusal::Ticket));
        assert_eq!(keys.seal(&contents(), None, &mut [0; TICKET_SIZE]), Err(Refusal::Internal));
    }
}
