//! Whether a device may pass: its identity proof is verified once, and then found.
//!
//! ```text
//!  who comes first: epoch, nullifier, proof ──▶ digest ──▶ verify ──▶ nullifier unused? ──▶ verdict kept
//!                      39 KB                                           on the disk
//!  who comes back:  epoch, nullifier, digest ─────────────────────────────────────────────▶ verdict found
//!                      68 bytes
//! ```
//!
//! # What a hit proves, and what it does not
//!
//! A verdict is kept under the [fingerprint](Statement::fingerprint): SHA3-256 of circuit, root, context, nullifier
//! and the proof's digest. Root and context are not taken from the caller: the root is the registry's for the epoch,
//! and the context is computed from this deployment, that epoch, and the device whose key the session has just
//! proven. So who is let in by a hit
//! - holds the device key that the proof was made for: the handshake's signature says so, over this session's
//!   transcript. The proof itself shows nothing, as it is no secret; that is why it need not be sent again, and why
//!   seeing one, or its fingerprint, helps nobody else;
//! - names a statement that was verified *here*, in this epoch, by this circuit: another statement, circuit or
//!   proof has another fingerprint, or SHA3-256 has a collision, or KT128, by which the proof goes into it;
//! - was enrolled when that epoch's root was published, and nobody was revoked since: a publication that follows
//!   a revocation withdraws the roots before it, and is asked for before the cache is.
//!
//! It does not show that whoever enrolled still holds the credential's secret: that was shown when the proof was
//! made, once in an epoch; nor that the person at the device is who was enrolled, which is what the probe is
//! for; nor who it is, which the proof hides. A digest that was found at a time at which the statement no longer
//! holds is no hit: verdicts hold in the epoch in which they were reached, and for a time.
//!
//! Refusals are kept too, for a minute, so that a proof that is none costs its digest the second time. They cannot
//! keep anybody out: whoever has a good proof has another fingerprint.

use super::epochs::RootError;
use super::hash::Node;
use super::nullifiers::Presentation;
use super::params::circuit_id;
use super::registry::Registry;
use super::statement::{Context, Statement, proof_digest};
use super::verifier::Verifier;
use crate::cache::{Snapshot, Verdicts};
use crate::error::{Error, Kind, Result};
use crate::session::{Admit, Admitted, Presented, Refused};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use symbolon_core::attest::Digest;
use symbolon_core::cache::{Outcome, Record, Verdict};
use symbolon_platform::clock;

/// A proof's statement as its holder sends it: what the gate cannot know by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The epoch whose root it is against.
    pub epoch: u32,
    /// See [`Statement::nullifier`].
    pub nullifier: Node,
}

impl Claim {
    /// Epoch, little-endian, and nullifier.
    pub const SIZE: usize = 4 + Node::SIZE;

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        out[..4].copy_from_slice(&self.epoch.to_le_bytes());
        out[4..].copy_from_slice(&self.nullifier.encode());
        out
    }

    /// Reads a claim and what follows it; `None` for bytes that are none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (epoch, rest) = bytes.split_first_chunk()?;
        let (nullifier, rest) = rest.split_first_chunk()?;
        let nullifier = Node::decode(nullifier)?;
        Some((Self { epoch: u32::from_le_bytes(*epoch), nullifier }, rest))
    }
}

/// What who comes back presents: 68 bytes.
#[must_use]
pub fn fingerprint_message(claim: &Claim, proof: &Digest) -> Vec<u8> {
    [claim.encode().as_slice(), proof].concat()
}

/// What who comes first presents.
#[must_use]
pub fn proof_message(claim: &Claim, proof: &[u8]) -> Vec<u8> {
    [claim.encode().as_slice(), proof].concat()
}

/// How long verdicts are kept, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Verdicts: 82 bytes each, and half a megabyte.
    pub capacity: usize,
    /// Threads that count for themselves.
    pub threads: usize,
    /// How long an accepted proof is not verified again, in whole seconds: 1 s to 20 days.
    pub lifetime: Duration,
    /// How long a session that it admits may last.
    pub session: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            capacity: 1 << 17,
            threads: 64,
            lifetime: Duration::from_secs(60 * 60),
            session: Duration::from_secs(8 * 60 * 60),
        }
    }
}

const REFUSAL_LIFETIME: Duration = Duration::from_secs(60);

/// Where a proof stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It holds. Its digest is what receipts name.
    Holds(Digest),
    /// It is not known, or no more: present it.
    Unknown,
    /// It does not hold.
    Refused,
}

/// Proofs verified here, and those that were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accepted for the first time.
    pub accepted: u64,
    /// Verified anew: their verdicts were gone.
    pub again: u64,
    /// Refused.
    pub refused: u64,
}

/// Lets devices pass. Shared by all threads.
pub struct Gate {
    deployment: [u8; 16],
    registry: Arc<Registry>,
    verifier: Verifier,
    verdicts: &'static Verdicts<'static>,
    started: Instant,
    settings: Settings,
    accepted: AtomicU64,
    again: AtomicU64,
    refused: AtomicU64,
}

impl Gate {
    /// A gate before a registry. The memory of its verdicts is the process's until that ends.
    ///
    /// Errors: `E-ARGUMENT` for settings out of range; `E-ENTROPY`.
    pub fn new(registry: Arc<Registry>, settings: Settings) -> Result<Self> {
        let range = Duration::from_secs(1)..=Duration::from_secs(20 * 24 * 60 * 60);
        if !range.contains(&settings.lifetime) {
            return Err(Error::new(Kind::Argument, "verdicts are kept for 1 second to 20 days"));
        }
        Ok(Self {
            deployment: registry.deployment(),
            registry,
            verifier: Verifier::new(),
            verdicts: Verdicts::start(settings.capacity, settings.threads)?,
            started: Instant::now(),
            settings,
            accepted: AtomicU64::new(0),
            again: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// The registry that it asks.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// What the cache has done.
    #[must_use]
    pub fn cache(&self) -> Snapshot {
        self.verdicts.snapshot()
    }

    /// What was verified.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let [accepted, again, refused] =
            [&self.accepted, &self.again, &self.refused].map(|n| n.load(Ordering::Relaxed));
        Counts { accepted, again, refused }
    }

    /// Seconds since the start: milliseconds would wrap, and bring back verdicts that are over, after 49 days.
    fn now(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    /// What `device` claims, as it would have to be proven. Errors: the epoch does not hold.
    fn statement(
        &self,
        device: &Digest,
        claim: &Claim,
    ) -> std::result::Result<Statement, RootError> {
        let root = self.registry.root_of(claim.epoch, clock::unix_ms())?;
        let context = Context { deployment: self.deployment, device: *device, epoch: claim.epoch };
        Ok(Statement { root, context: context.node(), nullifier: claim.nullifier })
    }

    /// Looks for the verdict on a proof that was presented before, by its digest. No lock, no allocation.
    #[must_use]
    pub fn recall(&self, device: &Digest, claim: &Claim, proof: &Digest) -> Passage {
        let Ok(statement) = self.statement(device, claim) else { return Passage::Refused };
        let fingerprint = statement.fingerprint(circuit_id(), proof);
        let (now, epoch) = (self.now(), self.registry.current_epoch());
        match self.verdicts.desk().get(&fingerprint, now, epoch) {
            Ok(Verdict::Accepted) => Passage::Holds(*proof),
            Ok(Verdict::Refused) => Passage::Refused,
            Err(_) => Passage::Unknown,
        }
    }

    /// Verifies a proof, unless it was already, and takes note of its nullifier: on the disk before it passes.
    ///
    /// Errors: `E-PROOF`, `E-PROOF-FORMAT`, `E-ROOT`, `E-NULLIFIER`: it does not hold; `E-IDENTITIES-FORMAT`, `E-IO`:
    /// whether it does could not be noted.
    pub fn present(&self, device: &Digest, claim: &Claim, proof: &[u8]) -> Result<Digest> {
        let result = self.verified(device, claim, proof);
        self.refused.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
        result
    }

    fn verified(&self, device: &Digest, claim: &Claim, proof: &[u8]) -> Result<Digest> {
        let statement = self.statement(device, claim)?;
        let digest = proof_digest(proof);
        let fingerprint = statement.fingerprint(circuit_id(), &digest);
        let epoch = self.registry.current_epoch();
        let desk = self.verdicts.desk();
        // Taken before the work begins: what is revoked meanwhile stays so.
        let ticket = match desk.get(&fingerprint, self.now(), epoch) {
            Ok(Verdict::Accepted) => return Ok(digest),
            Ok(Verdict::Refused) => {
                return Err(Error::new(Kind::Proof, "the proof was refused before"));
            }
            Err(ticket) => ticket,
        };
        let keep = |verdict, lifetime: Duration| {
            let now = self.now();
            let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
            let record = Record { verdict, expiry: now.saturating_add(seconds), epoch };
            // A verdict that finds no place is reached again.
            let (Outcome::Inserted | Outcome::Dropped | Outcome::Outdated) =
                desk.insert(ticket, &fingerprint, record, now);
        };
        if let Err(error) = self.verifier.verify(&statement, proof) {
            keep(Verdict::Refused, REFUSAL_LIFETIME);
            return Err(error);
        }
        // After the proof, or anybody could spend anything.
        let presentation =
            Presentation { epoch: claim.epoch, nullifier: claim.nullifier, fingerprint };
        let counter = match self.registry.spend(&presentation, clock::unix_ms())? {
            super::nullifiers::Presented::First => &self.accepted,
            super::nullifiers::Presented::Again => &self.again,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        keep(Verdict::Accepted, self.settings.lifetime);
        Ok(digest)
    }

    /// Forgets the verdict on a proof, at once: it must be presented again.
    pub fn forget(&self, device: &Digest, claim: &Claim, proof: &Digest) {
        if let Ok(statement) = self.statement(device, claim) {
            let fingerprint = statement.fingerprint(circuit_id(), proof);
            self.verdicts.desk().remove(&fingerprint);
        }
    }
}

impl Admit for Gate {
    fn admit(
        &self,
        device: &Digest,
        presented: Presented<'_>,
    ) -> std::result::Result<Admitted, Refused> {
        let (Presented::Fingerprint(bytes) | Presented::Proof(bytes)) = presented;
        let (claim, rest) = Claim::decode(bytes).ok_or(Refused::Refused)?;
        let evidence = match presented {
            Presented::Fingerprint(_) => {
                let digest = rest.try_into().map_err(|_| Refused::Refused)?;
                match self.recall(device, &claim, digest) {
                    Passage::Holds(digest) => digest,
                    Passage::Unknown => return Err(Refused::Unknown),
                    Passage::Refused => return Err(Refused::Refused),
                }
            }
            Presented::Proof(_) => {
                self.present(device, &claim, rest).map_err(|error| match error.kind() {
                    Kind::Proof | Kind::ProofFormat | Kind::Root | Kind::Nullifier => {
                        Refused::Refused
                    }
                    _ => Refused::Failed,
                })?
            }
        };
        let identity_epoch = self.registry.current_epoch();
        Ok(Admitted { identity_epoch, lifetime: self.settings.session, evidence })
    }
}
