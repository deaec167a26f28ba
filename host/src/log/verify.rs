//! A log held against its keyring, from end to end.

use redb::ReadableDatabase;
use symbolon_core::attest::{BatchTree, Digest, WindowTree};

use super::part::{Part, Start, Walk, checked};
use super::read::Reader;
use super::record::decode_window;
use crate::error::{Error, Kind, Result};
use crate::isa;
use crate::keyring::Keyring;

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Sequence of the first window: not 0 where parts before are not here.
    pub first_window: u64,
    /// Hash of the window before that; zeros if there is none.
    pub previous: Digest,
    /// Files.
    pub parts: usize,
    /// Batches.
    pub batches: u64,
    /// Decisions in them.
    pub decisions: u64,
    /// Windows.
    pub windows: u64,
    /// Batches at the end that no window signs yet.
    pub unsigned: u64,
    /// Windows under key sets that were revoked since. Their signatures were checked all the same, and a
    /// later window under other keys vouches for them.
    pub revoked: u64,
    /// The hash of every window, in order.
    pub chain: Vec<Digest>,
}

/// Verifies a log from its first batch to its last: leaves against batch roots, batches against window
/// roots, sequence and chain of the windows, all three signatures of each against the keyring, and that each part begins where
/// the one before it ends. `progress` is told of every batch.
///
/// Errors: `E-LOG` with the number of the window or of the batch as row and which of both as field;
/// `E-LOG-FORMAT`, `E-IO`.
pub fn verify(log: &Reader, ring: &Keyring, progress: &dyn Fn(u64)) -> Result<Report> {
    let deployment = log.deployment();
    if !ring.entries().iter().any(|entry| entry.deployment.id == deployment) {
        let message = "the log is another deployment's than the keyring";
        return Err(Error::new(Kind::Log, message));
    }
    let start = log.first().start;
    let mut verifier = Verifier {
        ring,
        progress,
        deployment,
        at: start,
        distrusted: None,
        batch_tree: BatchTree::new(),
        window_tree: bytemuck::zeroed_box(),
        report: Report {
            first_window: start.windows,
            previous: start.previous,
            parts: log.parts(),
            ..Report::default()
        },
    };
    for index in 0..log.parts() {
        log.part(index, |part| verifier.part(part, log.has_ended(index)))?;
    }
    match verifier.distrusted {
        Some(error) => Err(error),
        None => Ok(verifier.report),
    }
}

struct Verifier<'a> {
    ring: &'a Keyring,
    progress: &'a dyn Fn(u64),
    deployment: [u8; 16],
    /// Where the next part is to begin: behind what was verified.
    at: Start,
    /// The last window, where nobody vouches for it yet: its keys were revoked.
    distrusted: Option<Error>,
    batch_tree: BatchTree,
    window_tree: Box<WindowTree>,
    report: Report,
}

impl Verifier<'_> {
    /// Verifies what one file holds.
    fn part(&mut self, part: &Part<'_, impl ReadableDatabase>, has_ended: bool) -> Result<()> {
        let wrong = |field: &str, number: u64, what: &str| {
            let row = usize::try_from(number).unwrap_or(usize::MAX);
            let error = Error::new(Kind::Log, what).in_file(part.path.to_string_lossy());
            error.at_row(row).in_field(field)
        };
        let said = &part.ends;
        if said.deployment != self.deployment {
            return Err(wrong("window", said.start.windows, "it is another deployment's"));
        }
        if said.start != self.at {
            let what = "it does not begin where the part before it ends";
            return Err(wrong("window", said.start.windows, what));
        }
        if has_ended && !said.ended {
            return Err(wrong("batch", said.batches, "it was not ended, and is not the newest"));
        }
        let mut hashes = Vec::new();
        let mut batches = Walk::from(part, said.start.batches);
        for sequence in said.start.windows..said.windows {
            let (signed, listed) = match part.raw_window(sequence)? {
                None => return Err(wrong("window", sequence, "it is missing")),
                Some(bytes) => decode_window(&bytes)
                    .map_err(|e| wrong("window", sequence, &format!("it is damaged: {e}")))?,
            };
            let window = &signed.window;
            let fault = if window.deployment != self.deployment {
                Some("it is another deployment's")
            } else if window.sequence != sequence {
                Some("it stands in another window's place")
            } else if window.previous != self.at.previous {
                Some("it does not follow the window before it")
            } else if signed.first != self.at.batches {
                Some("it does not begin where the window before it ends")
            } else {
                None
            };
            if let Some(fault) = fault {
                return Err(wrong("window", sequence, fault));
            }
            hashes.clear();
            for number in signed.first..signed.first + u64::from(window.count) {
                hashes.push(self.batch(&mut batches)?.map_err(|e| wrong("batch", number, &e))?);
            }
            match self.window_tree.build(isa::fastest(), &hashes) {
                Ok(root) if root == window.root => {}
                _ => return Err(wrong("window", sequence, "its batches are not those signed")),
            }
            if listed != hashes {
                return Err(wrong("window", sequence, "it lists other batches"));
            }
            match self.ring.verify_window(&signed) {
                Ok(false) => self.distrusted = None,
                Ok(true) => {
                    self.report.revoked += 1;
                    let what =
                        "its keys were revoked, and no later window under others vouches for it";
                    self.distrusted = Some(wrong("window", sequence, what));
                }
                Err(reason) => return Err(wrong("window", sequence, &reason)),
            }
            self.report.chain.push(window.hash());
            self.report.windows += 1;
            self.at = Start {
                batches: signed.first + u64::from(window.count),
                windows: sequence + 1,
                previous: window.hash(),
            };
        }
        for number in self.at.batches..said.batches {
            self.batch(&mut batches)?.map_err(|e| wrong("batch", number, &e))?;
            self.report.unsigned += 1;
        }
        // What stands in neither place was put there by somebody else.
        if said.batches < self.at.batches {
            let what = "it is signed, and the log says it has none";
            return Err(wrong("batch", said.batches, what));
        }
        if part.last_window()? != part.said_last_window() {
            let what = "the log says that it has no such window";
            return Err(wrong("window", said.windows, what));
        }
        if batches.runs != said.runs || !batches.is_all()? {
            let what = "there is more, or less, than the log says";
            return Err(wrong("batch", said.batches, what));
        }
        if has_ended && self.report.unsigned != 0 {
            return Err(wrong("batch", self.at.batches, "no window of its part signs it"));
        }
        Ok(())
    }

    /// The hash of the next batch, if that is as it should be.
    fn batch(
        &mut self,
        batches: &mut Walk<'_, impl ReadableDatabase>,
    ) -> Result<std::result::Result<Digest, String>> {
        let found = checked(batches.next()?, &self.deployment, &mut self.batch_tree);
        Ok(found.map(|attested| {
            self.report.batches += 1;
            self.report.decisions += attested.leaves.len() as u64;
            (self.progress)(1);
            attested.batch.hash()
        }))
    }
}
