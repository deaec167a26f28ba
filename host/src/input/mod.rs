//! Readers of embeddings and ids: files in, checked rows out.
//!
//! Every reader is total: whatever the bytes, the answer is an [`Embeddings`] whose rows are all
//! finite, nonzero and of one length from 1 to [`MAX_DIMS`], or a typed error that names file, row
//! and field. Error messages never repeat a value.
//!
//! Embeddings are biometric data: the buffers that hold them, and the text they are parsed from,
//! are wiped when they are dropped.

mod captures;
mod csv;
mod ids;
mod jsonl;
mod leaves;
mod npy;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};

pub use captures::{Captures, require_unique, select};
pub use ids::{MAX_ID_BYTES, check_id, load_ids, parse_ids};
pub use leaves::{leaf_of, load_leaves, parse_leaves};

/// The largest number of dimensions an embedding may have.
pub const MAX_DIMS: usize = 512;

/// The largest input file, in bytes (16 GiB): larger galleries are enrolled in parts.
pub const MAX_FILE_BYTES: u64 = 16 << 30;

/// A file format, told by the extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.npy`: numpy's array format, versions 1 to 3, a 2-D array of `f4` or `f8` in either byte
    /// order and either memory order, one row an embedding.
    Npy,
    /// `.csv`: numbers separated by commas, one line an embedding. A first line without any number
    /// is a header, and so is 0,1,2,... of eight or more columns (what pandas writes for
    /// unnamed ones).
    Csv,
    /// `.jsonl`: one line an embedding, `[0.1, ...]` or `{"embedding": [0.1, ...], "id": "..."}`.
    Jsonl,
}

impl Format {
    /// The format that the extension of `path` stands for, in either case. Errors: `E-FORMAT`.
    pub fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("npy") => Ok(Self::Npy),
            Some("csv") => Ok(Self::Csv),
            Some("jsonl") => Ok(Self::Jsonl),
            _ => {
                let message = "the extension is none of those read here: .npy, .csv, .jsonl";
                Err(Error::new(Kind::Format, message).in_file(path.to_string_lossy()))
            }
        }
    }
}

/// A table of embeddings, one row each, not normalised. Wiped on drop.
pub struct Embeddings {
    name: String,
    dims: usize,
    values: Zeroizing<Vec<f64>>,
    ids: Option<Vec<String>>,
}

impl Embeddings {
    /// Reads a file; the extension chooses the format.
    ///
    /// Errors: `E-FORMAT`, `E-IO`, `E-PARSE`, `E-DIMENSION`, `E-NOT-FINITE`, `E-ZERO-VECTOR`, `E-ID`.
    pub fn load(path: &Path) -> Result<Self> {
        let format = Format::of(path)?;
        let name = path.to_string_lossy();
        let (mut file, len) = open(path)?;
        match format {
            Format::Npy => npy::read(&name, &mut file, len),
            Format::Csv => csv::parse(&name, &read_all(path, &mut file, len)?),
            Format::Jsonl => jsonl::parse(&name, &read_all(path, &mut file, len)?),
        }
    }

    /// Parses the bytes of a file; `name` stands for it in errors. Errors: as [`Self::load`].
    pub fn parse(format: Format, name: &str, bytes: &[u8]) -> Result<Self> {
        match format {
            Format::Npy => npy::read(name, &mut &bytes[..], bytes.len() as u64),
            Format::Csv => csv::parse(name, bytes),
            Format::Jsonl => jsonl::parse(name, bytes),
        }
    }

    /// The number of dimensions, 1 to [`MAX_DIMS`].
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// The number of rows, at least 1.
    pub fn rows(&self) -> usize {
        self.values.len() / self.dims
    }

    /// Row `i`, `dims` long, if there is one.
    pub fn row(&self, i: usize) -> Option<&[f64]> {
        let start = i.checked_mul(self.dims)?;
        self.values.get(start..start.checked_add(self.dims)?)
    }

    /// All values, row after row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The ids the file itself holds (`.jsonl` with an `id` on every line).
    pub fn ids(&self) -> Option<&[String]> {
        self.ids.as_deref()
    }

    /// Requires `dims` dimensions, the store's. Errors: `E-DIMENSION`.
    pub fn require_dims(&self, dims: usize) -> Result<()> {
        if self.dims == dims {
            return Ok(());
        }
        let message = format!("has {} dimensions, but the store has {dims}", self.dims);
        Err(Error::new(Kind::Dimension, message).in_file(&self.name))
    }

    /// The id of every row: from the ids file if one is given, else from the embeddings file.
    ///
    /// Errors: `E-ARGUMENT` if neither or both hold ids, `E-ROWS-IDS` if the counts differ, and
    /// those of [`load_ids`].
    pub fn label(&self, ids_file: Option<&Path>) -> Result<Vec<String>> {
        let error = |kind, message: &str| Err(Error::new(kind, message).in_file(&self.name));
        match (ids_file, &self.ids) {
            (None, Some(ids)) => Ok(ids.clone()),
            (None, None) => error(Kind::Argument, "holds no ids: give a file of ids, one a line"),
            (Some(_), Some(_)) => {
                error(Kind::Argument, "holds its own ids, and a file of ids is given as well")
            }
            (Some(path), None) => {
                let ids = load_ids(path)?;
                if ids.len() == self.rows() {
                    return Ok(ids);
                }
                let (rows, ids, path) = (self.rows(), ids.len(), path.display());
                error(Kind::RowsIds, &format!("has {rows} rows, but {path} has {ids} ids"))
            }
        }
    }
}

/// Shows the shape, never the values.
impl fmt::Debug for Embeddings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Embeddings({} x {})", self.rows(), self.dims)
    }
}

/// Collects the rows of a text format, checking each.
struct Rows<'a> {
    name: &'a str,
    dims: usize,
    rows: usize,
    values: Zeroizing<Vec<f64>>,
}

impl<'a> Rows<'a> {
    fn new(name: &'a str) -> Self {
        Self { name, dims: 0, rows: 0, values: Zeroizing::default() }
    }

    /// An error at the row that comes next.
    fn error(&self, kind: Kind, line: usize, message: &str) -> Error {
        Error::new(kind, message).in_file(self.name).at_row(self.rows).at_line(line)
    }

    /// Adds a row of `count` values, of which `row` holds the first [`MAX_DIMS`] at most. `text` is
    /// the whole file.
    fn push(&mut self, row: &[f64], count: usize, line: usize, text: &[u8]) -> Result<()> {
        if self.rows == 0 {
            check_dims(count).map_err(|e| e.in_file(self.name).at_row(self.rows).at_line(line))?;
            self.dims = count;
            // Room for all rows at once: a buffer that grows leaves copies behind. A value takes
            // two bytes at least, so a file of short lines cannot ask for more than four times
            // its own size.
            let lines = text.iter().filter(|&&b| b == b'\n').count() + 1;
            let capacity = count.saturating_mul(lines).min(text.len() / 2 + 1);
            self.values = buffer(self.name, capacity)?;
        } else if count != self.dims {
            let message = format!("{count} values, but the first row has {}", self.dims);
            return Err(self.error(Kind::Dimension, line, &message));
        }
        check_row(row).map_err(|e| e.in_file(self.name).at_row(self.rows).at_line(line))?;
        self.values.extend_from_slice(row);
        self.rows += 1;
        Ok(())
    }

    fn finish(self, ids: Option<Vec<String>>) -> Result<Embeddings> {
        if self.rows == 0 {
            return Err(no_rows(self.name));
        }
        Ok(Embeddings { name: self.name.into(), dims: self.dims, values: self.values, ids })
    }
}

fn no_rows(name: &str) -> Error {
    Error::new(Kind::Parse, "holds no embedding").in_file(name)
}

fn check_dims(dims: usize) -> Result<()> {
    if (1..=MAX_DIMS).contains(&dims) {
        return Ok(());
    }
    let message = format!("{dims} dimensions: 1 to {MAX_DIMS} are supported");
    Err(Error::new(Kind::Dimension, message))
}

/// A row must be finite and have a direction.
fn check_row(row: &[f64]) -> Result<()> {
    if let Some(column) = row.iter().position(|v| !v.is_finite()) {
        let message = "the value is NaN or infinite";
        return Err(Error::new(Kind::NotFinite, message).in_field(format!("column {column}")));
    }
    if row.iter().all(|&v| v == 0.0) {
        return Err(Error::new(Kind::ZeroVector, "all values are zero"));
    }
    Ok(())
}

/// An empty buffer with room for `capacity` values, or `E-IO` if memory does not suffice.
fn buffer<T: zeroize::Zeroize>(name: &str, capacity: usize) -> Result<Zeroizing<Vec<T>>> {
    let mut buffer = Zeroizing::new(Vec::new());
    buffer.try_reserve_exact(capacity).map_err(|_| {
        Error::new(Kind::Io, "memory does not suffice to read the file").in_file(name)
    })?;
    Ok(buffer)
}

/// Opens a regular file of at most [`MAX_FILE_BYTES`]; gives its length too.
fn open(path: &Path) -> Result<(File, u64)> {
    let io = |e: std::io::Error| Error::io(path, "open", &e);
    let error = |message: &str| Err(Error::new(Kind::Io, message).in_file(path.to_string_lossy()));
    // Asked before opening: to open a named pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return error("is not a regular file");
    }
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    if len > MAX_FILE_BYTES {
        return error("is larger than 16 GiB");
    }
    Ok((file, len))
}

/// The whole of a file whose length is `len`.
fn read_all(path: &Path, file: &mut File, len: u64) -> Result<Zeroizing<Vec<u8>>> {
    let name = path.to_string_lossy();
    let mut bytes = buffer(&name, usize::try_from(len).unwrap_or(usize::MAX))?;
    // `take` keeps a file that grows meanwhile from moving the buffer.
    file.take(len).read_to_end(&mut bytes).map_err(|e| Error::io(path, "read", &e))?;
    Ok(bytes)
}

/// The lines of a text file, counted from 1, without line ends and byte order mark.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    // An empty file has no line, not one that is empty.
    text.split(|&b| b == b'\n')
        .skip(usize::from(text.is_empty()))
        .enumerate()
        .map(|(i, line)| (i + 1, line.strip_suffix(b"\r").unwrap_or(line)))
}
