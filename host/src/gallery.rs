//! Templates as the matcher holds them: quantised, each with the salts of its commitments.

use crate::error::{Error, Kind, Result};
use crate::random::random;
use crate::store::Store;
use std::collections::HashMap;
use std::sync::Arc;
use symbolon_core::attest::{Digest, Domain, commit};
use symbolon_core::cap::Scalar;
use symbolon_core::error::Error as CoreError;
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Layout, quantise};
use zeroize::Zeroizing;

/// What is sealed for a person: identity salt (32), template salt (32), components (2 each).
const SALTS: usize = 64;

/// Turns core's refusal of a vector into the host's error; the caller adds file and row.
pub fn vector_error(error: CoreError) -> Error {
    match error {
        CoreError::NotFinite(column) => {
            Error::new(Kind::NotFinite, error.to_string()).in_field(format!("column {column}"))
        }
        CoreError::ZeroVector => Error::new(Kind::ZeroVector, error.to_string()),
        _ => Error::new(Kind::Dimension, error.to_string()),
    }
}

/// Quantises an embedding at enrolment into the record to be sealed.
///
/// Errors: `E-NOT-FINITE`, `E-ZERO-VECTOR`, `E-DIMENSION`, `E-ENTROPY`.
pub fn record(layout: Layout, embedding: &[f64]) -> Result<Zeroizing<Vec<u8>>> {
    let mut values = Zeroizing::new(vec![0i16; layout.dims()]);
    quantise(Kernels::scalar(Scalar), layout, embedding, &mut values).map_err(vector_error)?;
    let mut record = Zeroizing::new(Vec::with_capacity(SALTS + 2 * values.len()));
    record.extend_from_slice(&*Zeroizing::new(random::<SALTS>()?));
    for value in values.iter() {
        record.extend_from_slice(&value.to_le_bytes());
    }
    Ok(record)
}

/// One enrolled person.
pub struct Entry {
    /// The quantised template, [`Layout::dims`] components. Zeroised on drop.
    pub template: Zeroizing<Vec<i16>>,
    /// Salted commitment to the id.
    pub identity: Digest,
    /// Salted commitment to the template.
    pub commitment: Digest,
}

impl Entry {
    /// From a record as [`record`] makes it. `None` if it is not one of this layout.
    pub fn parse(layout: Layout, id: &str, record: &[u8]) -> Option<Self> {
        let (identity_salt, rest) = record.split_first_chunk::<32>()?;
        let (template_salt, values) = rest.split_first_chunk::<32>()?;
        if values.len() != 2 * layout.dims() {
            return None;
        }
        let (pairs, _) = values.as_chunks::<2>();
        Some(Self {
            template: Zeroizing::new(pairs.iter().map(|&pair| i16::from_le_bytes(pair)).collect()),
            identity: commit(Domain::IDENTITY, identity_salt, id.as_bytes()),
            commitment: commit(Domain::TEMPLATE, template_salt, values),
        })
    }
}

/// The people of one run, by position.
pub struct Gallery {
    layout: Layout,
    entries: Vec<Arc<Entry>>,
    positions: HashMap<String, usize>,
}

impl Gallery {
    /// An empty gallery.
    pub fn new(layout: Layout) -> Self {
        Self { layout, entries: Vec::new(), positions: HashMap::new() }
    }

    /// Unseals the template of an id, once. Gives its position, or `None` if nobody is enrolled
    /// under it.
    ///
    /// Errors: the store's, and `E-STORE-RECORD` for a record that does not hold a template.
    pub fn load(&mut self, store: &Store, id: &str) -> Result<Option<usize>> {
        if let Some(&position) = self.positions.get(id) {
            return Ok(Some(position));
        }
        let Some(record) = store.get(id)? else { return Ok(None) };
        let Some(entry) = Entry::parse(self.layout, id, &record) else {
            let message = format!("the record of id \"{id}\" does not hold a template");
            return Err(Error::new(Kind::StoreRecord, message));
        };
        let position = self.entries.len();
        self.entries.push(Arc::new(entry));
        self.positions.insert(id.to_owned(), position);
        Ok(Some(position))
    }

    /// The entry at a position.
    pub fn get(&self, position: usize) -> Option<&Arc<Entry>> {
        self.entries.get(position)
    }

    /// Everybody, in order of position.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }
}
