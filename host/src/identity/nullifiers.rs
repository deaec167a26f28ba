//! The proofs that were presented, so that each credential has one in a context.
//!
//! A nullifier is H(secret, context), and the context has deployment, device and epoch in it: one that is
//! known was made by the same secret for the same context, or two hashes collide (2^124 trials). So what is
//! kept is keyed by it alone, and by the epoch, to forget all of an epoch at once. It is presented *after*
//! the proof was verified against that context: otherwise anybody could spend anything.
//!
//! A proof is known by its fingerprint. The same one again is who came back; it must be verified anew where its
//! verdict is kept no more. Another one under the same nullifier is refused: whoever lost a proof proves again in
//! the next epoch, or under another device key. The same credential on two devices has two contexts, which
//! nothing here links.

use super::epochs::RootError;
use super::hash::Node;
use super::registry::{NULLIFIERS, Outcome, Registry};
use crate::error::{Error, Kind, Result};
use redb::ReadableTable;
use std::fmt;
use symbolon_core::attest::Digest;

/// A verified proof that is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presentation {
    /// Of its context, and whose root it is against.
    pub epoch: u32,
    /// See [`Statement`](super::statement::Statement).
    pub nullifier: Node,
    /// See [`Statement::fingerprint`](super::statement::Statement::fingerprint).
    pub fingerprint: Digest,
}

/// How a proof that may pass was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// For the first time.
    First,
    /// Not for the first time.
    Again,
}

/// Why a presentation is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The epoch does not hold.
    Root(RootError),
    /// Another proof was presented under this nullifier.
    Spent,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(error) => error.fmt(f),
            Self::Spent => {
                f.write_str("another proof of this credential was presented in this context")
            }
        }
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Root(error) => error.into(),
            Refused::Spent => Self::new(Kind::Nullifier, refused.to_string()),
        }
    }
}

impl Registry {
    /// Notes a presentation. If it is a first one, the disk has it when this returns.
    ///
    /// Errors: `E-ROOT`, `E-NULLIFIER` as in [`Refused`]; `E-IDENTITIES-FORMAT`, `E-IO`.
    pub fn spend(&self, presentation: &Presentation, now_ms: u64) -> Result<Presented> {
        let outcomes = self.spend_many(&[*presentation], now_ms)?;
        let [outcome] = outcomes.as_slice() else {
            return Err(self.error(Kind::IdentitiesFormat, "a presentation has no outcome"));
        };
        Ok((*outcome)?)
    }

    /// Notes many presentations, in their order, with one commit for all that are first, and none if there are
    /// none. The disk has them when this returns. Outcomes are in the order of the presentations.
    ///
    /// Errors: `E-IDENTITIES-FORMAT`, `E-IO`; none may then be let in.
    pub fn spend_many(
        &self,
        presentations: &[Presentation],
        now_ms: u64,
    ) -> Result<Vec<std::result::Result<Presented, Refused>>> {
        // Who comes back is told without waiting for those who write.
        let known = self.read(|transaction| {
            let table = transaction.open_table(NULLIFIERS)?;
            presentations
                .iter()
                .map(|one| self.known(&table, one, now_ms))
                .collect::<Outcome<Vec<_>>>()
        })?;
        if let Some(outcomes) = known.into_iter().collect() {
            return Ok(outcomes);
        }
        // No publication comes between the question whether an epoch holds and the commit.
        let _publishing = self.publishing();
        self.write(|transaction| {
            let mut table = transaction.open_table(NULLIFIERS)?;
            let mut outcomes = Vec::with_capacity(presentations.len());
            for one in presentations {
                let outcome = self.known(&table, one, now_ms)?;
                if outcome.is_none() {
                    table.insert((one.epoch, &one.nullifier.encode()), &one.fingerprint)?;
                }
                outcomes.push(outcome.unwrap_or(Ok(Presented::First)));
            }
            Ok(outcomes)
        })
    }

    /// The outcome, but for a first presentation.
    fn known(
        &self,
        table: &impl ReadableTable<(u32, &'static Digest), &'static Digest>,
        one: &Presentation,
        now_ms: u64,
    ) -> Outcome<Option<std::result::Result<Presented, Refused>>> {
        if let Err(error) = self.root_of(one.epoch, now_ms) {
            return Ok(Some(Err(Refused::Root(error))));
        }
        let stored = table.get((one.epoch, &one.nullifier.encode()))?;
        Ok(stored.map(|fingerprint| match *fingerprint.value() == one.fingerprint {
            true => Ok(Presented::Again),
            false => Err(Refused::Spent),
        }))
    }
}
