//! Files of receipts.

use crate::error::{Error, Kind, Result};
use crate::private_file;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use symbolon_core::attest::Receipt;
use tempfile::NamedTempFile;

/// A file of receipts that is being written. It appears under its name when it is whole.
pub struct Receipts {
    path: PathBuf,
    to: To,
}

enum To {
    File(BufWriter<NamedTempFile>),
    /// A pipe or a device.
    Stream(BufWriter<File>),
}

impl Receipts {
    /// Begins a file. Receipts may take the place of older receipts, and of nothing else: a slip must not
    /// cost a key.
    ///
    /// Errors: `E-ARGUMENT` where something else is there, `E-IO`.
    pub fn create(path: &Path) -> Result<Self> {
        let error = |e: io::Error| Error::io(path, "write", &e);
        let stream = fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        let to = if stream {
            To::Stream(BufWriter::new(File::options().write(true).open(path).map_err(error)?))
        } else {
            refuse_other_files(path)?;
            To::File(BufWriter::new(private_file::beside(path, false)?))
        };
        Ok(Self { path: path.to_owned(), to })
    }

    /// Writes receipts. Errors: `E-IO`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = match &mut self.to {
            To::File(file) => file.write_all(bytes),
            To::Stream(file) => file.write_all(bytes),
        };
        written.map_err(|e| Error::io(&self.path, "write", &e))
    }

    /// Ends the file. Errors: `E-IO`.
    pub fn finish(self) -> Result<()> {
        let error = |e: io::Error| Error::io(&self.path, "write", &e);
        match self.to {
            To::File(file) => {
                let file = file.into_inner().map_err(|e| error(e.into_error()))?;
                file.as_file().sync_all().map_err(error)?;
                // Something else may stand there by now: the log, say.
                refuse_other_files(&self.path)?;
                file.persist(&self.path).map_err(|e| error(e.error))?;
                private_file::sync_dir(private_file::parent(&self.path))
            }
            To::Stream(mut file) => file.flush().map_err(error),
        }
    }
}

fn refuse_other_files(path: &Path) -> Result<()> {
    let mut magic = [0; Receipt::MAGIC.len()];
    match File::open(path).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) if magic == Receipt::MAGIC => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) | Err(_) => {
            let message = "exists and holds no receipts: it is not overwritten";
            Err(Error::new(Kind::Argument, message).in_file(path.to_string_lossy()))
        }
    }
}
