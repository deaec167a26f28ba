//! Files that only their owner may read: keys.

use crate::error::{Error, Kind, Result};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// Writes a new file with mode 0600, synced to disk.
///
/// Errors: `E-IO`, also where the file exists: keys are never overwritten.
pub fn create(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|e| Error::io(path, "create", &e))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|e| {
        // Half a key is of no use to anyone; the first error is the one to report.
        let _ = fs::remove_file(path);
        Error::io(path, "write", &e)
    })
}

/// Makes a directory, and what leads to it, that only its owner may enter; one that exists stays as
/// it is.
///
/// Errors: `E-IO`.
pub fn create_dir(path: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|e| Error::io(path, "create", &e))
}

/// Reads a file of exactly `N` bytes that nobody but its owner may read or write.
///
/// Errors, of `kind`: missing, no regular file, readable by others, of another length. `E-IO`.
pub fn read<const N: usize>(path: &Path, kind: Kind) -> Result<Zeroizing<[u8; N]>> {
    let error = |message: String| Error::new(kind, message).in_file(path.to_string_lossy());
    let io = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => error("the key file is missing".into()),
        _ => Error::io(path, "read the key file", &e),
    };
    // Asked before opening: to open a named pipe would wait for its writer.
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Err(error("is not a regular file".into()));
    }
    let mut file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(error(format!("others may read or write it (mode {mode:03o}): chmod 600")));
        }
    }
    if metadata.len() != N as u64 {
        return Err(error(format!("has {} bytes, not {N}", metadata.len())));
    }
    let mut bytes = Zeroizing::new([0; N]);
    file.read_exact(&mut *bytes).map_err(io)?;
    Ok(bytes)
}

/// Writes a file that appears whole or not at all, synced to disk: one that only its owner may read,
/// or one for everybody. Where there is one already, it stays: keys are never overwritten.
///
/// Errors: `E-IO`.
pub fn publish(path: &Path, bytes: &[u8], private: bool) -> Result<()> {
    let file = whole(path, bytes, private)?;
    file.persist_noclobber(path).map_err(|e| Error::io(path, "create", &e.error))?;
    sync_dir(parent(path))
}

/// Writes a file for everybody that takes the place of an older one at once, synced to disk.
///
/// Errors: `E-IO`.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    whole(path, bytes, false)?.persist(path).map_err(|e| Error::io(path, "replace", &e.error))?;
    sync_dir(parent(path))
}

/// A file beside `path`, not yet under its name, that goes when it is dropped.
///
/// Errors: `E-IO`.
pub fn beside(path: &Path, private: bool) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".symbolon-");
    #[cfg(unix)]
    {
        let mode = if private { 0o600 } else { 0o666 };
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = private;
    // Its message would name the file beside, which is of no use to anyone.
    builder.tempfile_in(parent(path)).map_err(|e| Error::io(path, "create", &e.kind().into()))
}

fn whole(path: &Path, bytes: &[u8], private: bool) -> Result<NamedTempFile> {
    let mut file = beside(path, private)?;
    let written = file.write_all(bytes).and_then(|()| file.as_file().sync_all());
    written.map_err(|e| Error::io(path, "write", &e))?;
    Ok(file)
}

/// The directory that a path is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Makes names that were added to a directory last. Only Unix has this for directories.
///
/// Errors: `E-IO`.
pub fn sync_dir(dir: &Path) -> Result<()> {
    #[cfg(unix)]
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(dir, "sync", &e))?;
    Ok(())
}
