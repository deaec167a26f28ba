//! Receipts from a log, again: where nobody writes it, and beside whoever does.

use arc_swap::ArcSwapOption;
use redb::{Database, ReadOnlyDatabase};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::part::{self, Ends, FILE, Found, NEXT, Part, ROLE};
use crate::error::{Error, Kind, Result};

/// How often, and how long, one waits for a log to have been divided.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// A log, open to be read by any number of processes while none writes; or the parts of one that have ended.
pub struct Reader {
    /// Those that have ended, by the numbers of their first batches; and the one that is written.
    finished: Vec<(u64, PathBuf)>,
    newest: Option<(PathBuf, ReadOnlyDatabase)>,
    first: Ends,
    last: Ends,
}

impl Reader {
    /// Opens the log in `dir`.
    ///
    /// Errors: `E-LOG` where a part follows that is not there; `E-LOG-FORMAT`, `E-LOG-BUSY`, `E-IO`.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let error = |kind, message| Err(Error::new(kind, message).in_file(path.to_string_lossy()));
        let mut tries = 0;
        loop {
            tries += 1;
            let newest = match ROLE.open_reader(&path) {
                Err(_) if !ROLE.exists(&path)? => None,
                opened => Some(opened?),
            };
            let ended = match &newest {
                Some(newest) => Part::new(&path, newest)?.ends.ended,
                None => !part::finished(dir)?.is_empty(),
            };
            if !ended {
                return Self::of(dir, newest.map(|newest| (path, newest)));
            }
            // Either is so for a moment, where somebody divides it just now.
            drop(newest);
            if tries < TRIES && part::is_written(dir) {
                thread::sleep(PAUSE);
            } else if tries == 1 {
                // Nobody does; but somebody may just have ended.
            } else if ROLE.exists(&dir.join(NEXT))? {
                let message = "a crash cut short its being divided: whoever writes it next brings that to its end";
                return error(Kind::LogBusy, message);
            } else {
                let message = "another part of the log follows, which is not here: see --finished";
                return error(Kind::Log, message);
            }
        }
    }

    /// Opens those of its parts that have ended: somebody may be writing the log.
    ///
    /// Errors: `E-LOG-FORMAT`, `E-IO`.
    pub fn finished(dir: &Path) -> Result<Self> {
        Self::of(dir, None)
    }

    fn of(dir: &Path, newest: Option<(PathBuf, ReadOnlyDatabase)>) -> Result<Self> {
        let finished = part::finished(dir)?;
        let ends = Ends::default();
        let mut reader = Self { finished, newest, first: ends, last: ends };
        let Some(last) = reader.parts().checked_sub(1) else {
            let message = if ROLE.exists(&dir.join(FILE))? {
                "no part of the receipt log has ended yet".to_owned()
            } else {
                format!("no receipt log here: there is no {FILE}")
            };
            return Err(Error::new(Kind::LogFormat, message).in_file(dir.to_string_lossy()));
        };
        reader.first = reader.part(0, |part| Ok(part.ends))?;
        reader.last = reader.part(last, |part| Ok(part.ends))?;
        Ok(reader)
    }

    /// What is done with one of its parts.
    pub(super) fn part<T>(
        &self,
        index: usize,
        take: impl FnOnce(&Part<'_, ReadOnlyDatabase>) -> Result<T>,
    ) -> Result<T> {
        match (self.finished.get(index), &self.newest) {
            (Some((number, path)), _) => part::read_finished(*number, path, take),
            (None, Some((path, newest))) => take(&Part::new(path, newest)?),
            (None, None) => Err(Error::new(Kind::LogFormat, "the log has no such part")),
        }
    }

    /// Of how many files it is.
    pub fn parts(&self) -> usize {
        self.finished.len() + usize::from(self.newest.is_some())
    }

    /// Whether the part of this index is one that is never written again.
    pub(super) fn has_ended(&self, index: usize) -> bool {
        index < self.finished.len()
    }

    pub(super) fn first(&self) -> &Ends {
        &self.first
    }

    /// The deployment whose decisions it holds.
    pub fn deployment(&self) -> [u8; 16] {
        self.last.deployment
    }

    /// How many batches it says it holds.
    pub fn batches(&self) -> u64 {
        self.last.batches.saturating_sub(self.first.start.batches)
    }

    /// Appends the receipt of a request to `out`: the request's batch is looked for from the newest
    /// on. Whoever gets it verifies it.
    ///
    /// Errors: `E-UNKNOWN-REQUEST` if the log has no such request, or no window signs its batch yet;
    /// `E-LOG-FORMAT`, `E-IO`.
    pub fn receipt(&self, request: &[u8; 16], out: &mut Vec<u8>) -> Result<()> {
        for index in (0..self.parts()).rev() {
            match self.part(index, |part| part.receipt(request, 0..u64::MAX, out))? {
                Found::Receipt => return Ok(()),
                Found::Nothing => {}
                Found::Unsigned => {
                    let message = "the request's batch is not signed yet: the next run does it";
                    return Err(Error::new(Kind::UnknownRequest, message));
                }
            }
        }
        Err(Error::new(Kind::UnknownRequest, "no request has this id"))
    }
}

/// Reads a log that this process appends to, as long as it does.
#[derive(Clone)]
pub struct Handle {
    dir: PathBuf,
    database: Arc<ArcSwapOption<Database>>,
}

impl Handle {
    /// Batches that are looked through for a request whose batch is not named.
    pub const SEARCHED: u64 = 4096;

    pub(super) fn new(dir: PathBuf, database: Arc<ArcSwapOption<Database>>) -> Self {
        Self { dir, database }
    }

    /// Appends the receipt of a request to `out`: of the batch of this number, or looked for in the newest
    /// [`Self::SEARCHED`].
    ///
    /// Errors: `E-UNKNOWN-REQUEST` if no such request is there, or the part that had it is not any more; `E-NOT-SIGNED` if no
    /// window signs its batch yet; `E-LOG-BUSY` if the log was closed; `E-LOG-FORMAT`, `E-IO`.
    pub fn receipt(
        &self,
        request: &[u8; 16],
        number: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut tries = 0;
        let found = loop {
            tries += 1;
            match self.look(request, number, out) {
                Ok(Some(found)) => break found,
                // It is closed for good.
                Err(error) if self.database.load().is_none() => return Err(error),
                Err(error) if error.kind() != Kind::LogBusy || tries == TRIES => return Err(error),
                Ok(None) if tries == TRIES => {
                    let message = "the receipt log is being divided";
                    return Err(Error::new(Kind::LogBusy, message));
                }
                _ => thread::sleep(PAUSE),
            }
        };
        match found {
            Found::Receipt => Ok(()),
            Found::Unsigned => {
                Err(Error::new(Kind::NotSigned, "the request's batch is not signed yet"))
            }
            Found::Nothing => Err(Error::new(Kind::UnknownRequest, "no request has this id here")),
        }
    }

    /// Looks once; nothing where the part that was looked through was ended meanwhile.
    fn look(
        &self,
        request: &[u8; 16],
        number: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Found>> {
        let path = self.dir.join(FILE);
        let Some(database) = self.database.load_full() else {
            return Err(Error::new(Kind::LogBusy, "the receipt log is closed"));
        };
        let looked = Part::new(&path, &*database).and_then(|newest| {
            let batches = newest.ends.batches;
            let first = number.unwrap_or(batches.saturating_sub(Self::SEARCHED));
            let end = number.map_or(batches, |n| n.saturating_add(1));
            Ok((newest.receipt(request, first..end, out)?, newest.ends.start.batches, first..end))
        });
        // What is not found may have been cut off meanwhile; or it was before, and the next part is not there yet.
        let again = matches!(looked, Ok((Found::Nothing, ..)) | Err(_))
            && Part::new(&path, &*database).is_ok_and(|newest| newest.ends.ended);
        // It may be the last to let go.
        part::close(&path, database)?;
        match looked {
            _ if again => Ok(None),
            Ok((Found::Nothing, begins, numbers)) if numbers.start < begins => {
                self.look_back(request, numbers, out).map(Some)
            }
            looked => looked.map(|(found, ..)| Some(found)),
        }
    }

    /// Looks through parts that have ended.
    fn look_back(
        &self,
        request: &[u8; 16],
        numbers: Range<u64>,
        out: &mut Vec<u8>,
    ) -> Result<Found> {
        for (begins, path) in part::finished(&self.dir)?.into_iter().rev() {
            if begins >= numbers.end {
                continue;
            }
            let look = |part: &Part<'_, _>| part.receipt(request, numbers.clone(), out);
            match part::read_finished(begins, &path, look) {
                Ok(Found::Nothing) if begins > numbers.start => {}
                // Thrown away meanwhile.
                Err(_) if !path.exists() => {}
                found => return found,
            }
        }
        Ok(Found::Nothing)
    }
}
