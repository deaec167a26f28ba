//! redb databases: made whole, opened after a crash, and their failures given a code.

use std::fs;
use std::io;
use std::path::Path;

use redb::{Database, DatabaseError, ReadOnlyDatabase};

use crate::error::{Error, Kind, Result};
use crate::private_file;
use crate::random::random;
use crate::shield::shield;

/// Bytes that redb may keep of one in memory: it is read through once, or written at its end.
pub const CACHE: usize = 16 << 20;

/// How a kind of database is spoken of.
pub struct Role {
    /// What it is: "template store".
    pub name: &'static str,
    /// The error of one that is damaged.
    pub format: Kind,
    /// The error of one that another process has open.
    pub busy: Kind,
}

impl Role {
    /// The error of a file that is none of this role, or damaged.
    pub fn damaged(&self, path: &Path, what: &str) -> Error {
        let message = format!("is not a {}, or damaged: {what}", self.name);
        Error::new(self.format, message).in_file(path.to_string_lossy())
    }

    /// Whether there is a file at `path`. Errors: the role's, for something else there; `E-IO`.
    pub fn exists(&self, path: &Path) -> Result<bool> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Ok(true),
            Ok(_) => {
                let error = Error::new(self.format, "is not a regular file");
                Err(error.in_file(path.to_string_lossy()))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io(path, "look for", &e)),
        }
    }

    /// Makes a database that only its owner may read. It appears whole under its name, or not at all;
    /// and it never takes the place of one that another process has made meanwhile.
    ///
    /// Errors: `E-IO`, `E-ENTROPY`, the role's.
    pub fn create(
        &self,
        path: &Path,
        fill: impl FnOnce(&Database) -> std::result::Result<(), redb::Error>,
    ) -> Result<()> {
        let mut new = path.as_os_str().to_owned();
        new.push(format!(".{:016x}", u64::from_le_bytes(random()?)));
        let new = Path::new(&new);
        let made = private_file::create(new, b"")
            .and_then(|()| {
                self.shield(new, || fill(&Database::builder().set_cache_size(CACHE).create(new)?))
            })
            .and_then(|()| match fs::hard_link(new, path) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    Err(Error::io(path, "create", &e))
                }
                _ => Ok(()),
            });
        // The first error is the one to report; a file left behind holds nothing.
        let _ = fs::remove_file(new);
        made?;
        private_file::sync_dir(private_file::parent(path))
    }

    /// Opens a database for reading. One that a crash left open is repaired first.
    ///
    /// Errors: the role's, `E-IO`.
    pub fn open_reader(&self, path: &Path) -> Result<ReadOnlyDatabase> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE);
        self.shield(path, || match builder.open_read_only(path) {
            Err(DatabaseError::RepairAborted) => {
                drop(builder.open(path)?);
                Ok(builder.open_read_only(path)?)
            }
            reader => Ok(reader?),
        })
    }

    /// Runs a database operation and gives its failure a code.
    ///
    /// redb does not hold the pages it reads against their checksums. Most nonsense it reports; some
    /// makes it panic (table names that are not UTF-8, offsets out of range). That is a damaged file,
    /// not a bug here: the panic is caught. Everything redb owns during the operation must be dropped
    /// within it, since dropping may panic too. Not caught: a page number gone wrong can have redb
    /// allocate up to 4 GiB for the page.
    pub fn shield<T>(
        &self,
        path: &Path,
        operation: impl FnOnce() -> std::result::Result<T, redb::Error>,
    ) -> Result<T> {
        match shield(operation) {
            Some(Ok(value)) => Ok(value),
            Some(Err(redb::Error::DatabaseAlreadyOpen)) => {
                let message = format!("another process has the {} open", self.noun());
                Err(Error::new(self.busy, message).in_file(path.to_string_lossy()))
            }
            Some(Err(redb::Error::Io(e))) if !is_damage(&e) => Err(Error::io(path, "use", &e)),
            // The content is as it was: redb does nothing more with a file that failed once.
            Some(Err(redb::Error::PreviousIo)) => {
                let message = "cannot use: it failed before, and must be opened anew";
                Err(Error::new(Kind::Io, message).in_file(path.to_string_lossy()))
            }
            Some(Err(e)) => Err(self.damaged(path, &e.to_string())),
            None => Err(self.damaged(path, "its pages make no sense")),
        }
    }

    /// The last word of the name: "store".
    fn noun(&self) -> &str {
        self.name.rsplit(' ').next().unwrap_or(self.name)
    }
}

/// Whether redb means the content of the file, not access to it.
fn is_damage(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_is_no_damage() {
        let role = Role { name: "test store", format: Kind::StoreFormat, busy: Kind::StoreBusy };
        let kind = |error: redb::Error| {
            role.shield(Path::new("x.redb"), || Err::<(), _>(error)).unwrap_err().kind()
        };
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(kind(redb::Error::Io(full())), Kind::Io);
        assert_eq!(kind(redb::Error::PreviousIo), Kind::Io);
        assert_eq!(kind(redb::Error::Io(io::ErrorKind::InvalidData.into())), Kind::StoreFormat);
        assert_eq!(kind(redb::Error::Corrupted("a page".into())), Kind::StoreFormat);
        assert_eq!(kind(redb::Error::DatabaseAlreadyOpen), Kind::StoreBusy);
    }
}
