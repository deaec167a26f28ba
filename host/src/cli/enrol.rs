//! `symbolon enrol`

use super::output::Output;
use super::{captures, selected};
use crate::error::{Error, Kind, Result};
use crate::gallery;
use crate::input::{Embeddings, require_unique};
use crate::keys::{self, ParameterSet};
use crate::store::Store;
use serde_json::json;
use std::path::PathBuf;
use symbolon_core::matching::Layout;

/// Enrol people: read one embedding each, quantise and seal it, and put it into the store.
///
/// All are enrolled or none. The store is created if it is missing, with a template key (mode 0600)
/// and, unless `symbolon keygen` made some there, the deployment's keys.
#[derive(clap::Args)]
pub struct Arguments {
    /// Embeddings, one a row: .npy (2-D, f32 or f64), .csv or .jsonl.
    #[arg(long, value_name = "FILE")]
    embeddings: PathBuf,
    /// Ids, one a line, in the order of the rows. A .jsonl file may hold them itself.
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// The store's directory.
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// Which captures of each id to take, where ids repeat: 0 is an id's first row, 1..3 its second to
    /// fourth. Enrolment takes one a person.
    #[arg(long, value_name = "RANGE")]
    captures: Option<String>,
    /// Parameter set of the keys, if they have to be made.
    #[arg(long, value_enum, default_value = "q54")]
    params: ParameterSet,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    let captures = captures(arguments.captures.as_deref())?;
    let embeddings = Embeddings::load(&arguments.embeddings)?;
    let ids = embeddings.label(arguments.ids.as_deref())?;
    let ids_file = arguments.ids.as_ref().unwrap_or(&arguments.embeddings).to_string_lossy();
    let rows = selected(&ids, captures.as_ref()).map_err(|e| e.in_file(&ids_file))?;
    require_unique(&rows).map_err(|e| e.in_file(&ids_file))?;

    let layout = Layout::for_dims(embeddings.dims())
        .map_err(|e| Error::new(Kind::Dimension, e.to_string()))?;
    let bar = output.progress("sealing", rows.len());
    let mut records = Vec::with_capacity(rows.len());
    for &(row, id) in &rows {
        let embedding = embeddings.row(row).unwrap_or_default();
        let record = gallery::record(layout, embedding)
            .map_err(|e| e.in_file(arguments.embeddings.to_string_lossy()).at_row(row))?;
        records.push((id, record));
        bar.inc(1);
    }
    bar.finish_and_clear();

    let mut store = Store::create_or_open(&arguments.store, embeddings.dims())?;
    let new_keys = !keys::exist(&arguments.store);
    if new_keys {
        keys::create(&arguments.store, arguments.params, super::keys::VALID_DAYS)?;
    }
    let enrolled = store.enrol(records)?;
    if output.is_json() {
        let summary = json!({
            "enrolled": enrolled, "total": store.len(), "dims": store.dims(),
            "store": arguments.store.display().to_string(), "keys_created": new_keys,
        });
        return output.line(summary.to_string());
    }
    output.line(format!(
        "enrolled {enrolled} of {} dimensions in {}; it holds {}",
        store.dims(),
        arguments.store.display(),
        store.len(),
    ))?;
    if new_keys {
        output.line(format!("made {} keys beside it", arguments.params.name()))?;
    }
    Ok(())
}
