//! One entry: a digest and its verdict, which readers see whole or not at all.

use super::faults::Faults;
use super::{Digest, Record, Verdict};
use crate::primitive::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicU32, fence};
use crate::primitive::{Bits, Word, const_fn, filled};

const BYTES: usize = size_of::<Bits>();
/// Words of a digest.
const WORDS: usize = size_of::<Digest>() / BYTES;

/// What an entry is: three bits. The verdict is the fourth; the rest is a version, which every change raises.
const KIND: Bits = 7;
/// Nobody's. All zero.
const EMPTY: Bits = 0;
/// To be read. No other kind has this bit, so that a reader asks for no more.
const VALID: Bits = 1;
/// One writer's, who has not finished.
const WRITING: Bits = 2;
/// Still that writer's, who will find that it must not be published.
const CANCELLED: Bits = 4;
const ACCEPTED: Bits = 8;
const VERSION: Bits = 16;

/// As often as this a hit is remembered: two bits' worth.
const MOST_USES: u32 = 3;

/// A cache line, or two halves of one where words have 32 bits.
///
/// A reader takes the state, the words, and the state again (a sequence lock, all of it atomics: Boehm, Can Seqlocks
/// Get Along With Programming Language Memory Models?, 2012). With 64-bit words the version comes round after 2^60
/// changes of one entry, with 32-bit words after 2^28, all of which would have to pass within one reading.
#[repr(C, align(64))]
pub struct Entry {
    state: Word,
    digest: [Word; WORDS],
    expiry: AtomicU32,
    epoch: AtomicU32,
    /// Hits since the clock's hand came by, up to [`MOST_USES`]. A hint: updates may be lost.
    used: AtomicU32,
}

/// A writer's right to an entry: its state since then.
pub(super) struct Claim(Bits);

/// A digest in words.
pub(super) struct Words([Bits; WORDS]);

impl Words {
    #[inline(always)]
    pub(super) fn new(digest: &Digest) -> Self {
        let (words, _) = digest.as_chunks::<BYTES>();
        let mut all = [0; WORDS];
        for (to, from) in all.iter_mut().zip(words) {
            *to = Bits::from_le_bytes(*from);
        }
        Self(all)
    }
}

/// The state after a change to `kind`.
const fn next(state: Bits, kind: Bits) -> Bits {
    (state & !(VERSION - 1)).wrapping_add(VERSION) | kind
}

impl Entry {
    const_fn! {
        /// Nobody's.
        #[must_use]
        pub fn new() -> Self {
            Self {
                state: Word::new(EMPTY),
                digest: filled!(Word::new(0)),
                expiry: AtomicU32::new(0),
                epoch: AtomicU32::new(0),
                used: AtomicU32::new(0),
            }
        }
    }

    /// What is there for this digest. Nothing, if somebody writes to the entry meanwhile: never waits.
    #[inline(always)]
    pub(super) fn read(&self, digest: &Words, faults: Faults) -> Option<Record> {
        let state = self.state.load(faults.observe());
        if state & VALID == 0 || !self.has(digest) {
            return None;
        }
        let expiry = self.expiry.load(Relaxed);
        let epoch = self.epoch.load(Relaxed);
        // Whose words were read has its claim seen by the load below.
        fence(Acquire);
        if faults.checks_twice() && self.state.load(Relaxed) != state {
            return None;
        }
        let verdict = if state & ACCEPTED == 0 { Verdict::Refused } else { Verdict::Accepted };
        Some(Record { verdict, expiry, epoch })
    }

    #[inline(always)]
    fn has(&self, digest: &Words) -> bool {
        let differ = |(word, wanted): (&Word, &Bits)| word.load(Relaxed) ^ wanted;
        self.digest.iter().zip(&digest.0).map(differ).fold(0, |all, bits| all | bits) == 0
    }

    /// A first look, which brings the line closer.
    #[inline]
    pub(super) fn is_valid(&self) -> bool {
        self.state.load(Relaxed) & VALID != 0
    }

    /// Whether nobody ever claimed it, or its version has come round.
    pub(super) fn is_unused(&self) -> bool {
        self.state.load(Relaxed) == EMPTY
    }

    /// Notes a hit. A store only where there is something to note: a line that is hot stays shared.
    #[inline(always)]
    pub(super) fn touch(&self) {
        let used = self.used.load(Relaxed);
        if used < MOST_USES {
            self.used.store(used + 1, Relaxed);
        }
    }

    /// Whether it was used since it was last asked, of whatever can still be used.
    pub(super) fn is_used(&self, now: u32, epoch: u32) -> bool {
        let used = self.used.load(Relaxed);
        self.is_alive(now, epoch) && used > 0
    }

    /// The clock's hand comes by.
    pub(super) fn cool(&self) {
        self.used.store(self.used.load(Relaxed).saturating_sub(1), Relaxed);
    }

    /// Forgets its hits.
    pub(super) fn settle(&self) {
        self.used.store(0, Relaxed);
    }

    /// Whether somebody could still be given what is there. A hint.
    pub(super) fn is_alive(&self, now: u32, epoch: u32) -> bool {
        self.is_valid() && now < self.expiry.load(Relaxed) && self.epoch.load(Relaxed) == epoch
    }

    /// Takes the entry from its readers, and from the clock's hand. None where another writer has it.
    pub(super) fn claim(&self, faults: Faults) -> Option<Claim> {
        let state = self.state.load(Relaxed);
        if ![EMPTY, VALID].contains(&(state & KIND)) {
            return None;
        }
        let claimed = next(state, WRITING);
        if faults.claims_alone() {
            // Acquire: what the last writer wrote comes before what this one will write.
            self.state.compare_exchange(state, claimed, Acquire, Relaxed).ok()?;
        } else {
            self.state.store(claimed, Relaxed);
        }
        // Who reads a word of what follows sees the claim.
        fence(Release);
        Some(Claim(claimed))
    }

    /// Gives the entry up with nothing in it.
    pub(super) fn abandon(&self, claim: Claim) {
        self.state.store(next(claim.0, EMPTY), Release);
    }

    /// Writes and publishes, unless it was cancelled meanwhile.
    pub(super) fn publish(
        &self,
        claim: Claim,
        digest: &Words,
        record: Record,
        faults: Faults,
    ) -> bool {
        for (word, bits) in self.digest.iter().zip(&digest.0) {
            word.store(*bits, Relaxed);
        }
        self.expiry.store(record.expiry, Relaxed);
        self.epoch.store(record.epoch, Relaxed);
        self.used.store(0, Relaxed);
        let accepted = if record.verdict == Verdict::Accepted { ACCEPTED } else { 0 };
        let valid = next(claim.0, VALID | accepted);
        if !faults.heeds_cancellation() {
            self.state.store(valid, Release);
            return true;
        }
        match self.state.compare_exchange(claim.0, valid, faults.publish(), Relaxed) {
            Ok(_) => true,
            Err(_) => {
                self.abandon(claim);
                false
            }
        }
    }

    /// Ends whatever there is for this digest: what is valid becomes empty, and a writer, whose digest nobody can know
    /// yet, is cancelled. Whether a verdict was there.
    pub(super) fn dismiss(&self, digest: &Words) -> bool {
        let mut state = self.state.load(Acquire);
        loop {
            let ended = match state & KIND {
                VALID => {
                    let same = self.has(digest);
                    fence(Acquire);
                    let again = self.state.load(Relaxed);
                    if again != state {
                        state = self.state.load(Acquire);
                        continue;
                    }
                    if !same {
                        return false;
                    }
                    next(state, EMPTY)
                }
                // The version stays: it is the writer's claim that fails.
                WRITING => state & !KIND | CANCELLED,
                _ => return false,
            };
            match self.state.compare_exchange(state, ended, Acquire, Acquire) {
                Ok(_) => return state & KIND == VALID,
                Err(now) => state = now,
            }
        }
    }

    pub(super) fn clear(&self) {
        self.state.store(EMPTY, Relaxed);
        self.settle();
    }
}

#[cfg(not(loom))]
impl Default for Entry {
    fn default() -> Self {
        Self::new()
    }
}
