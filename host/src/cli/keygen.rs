//! `symbolon keygen`

use super::output::Output;
use crate::error::Result;
use crate::keys::{self, ParameterSet};
use serde_json::json;
use std::path::PathBuf;

/// Make a deployment's keys in DIR: custodian.key (secret, mode 0600), public.key and verify.key.
///
/// The custodian keeps custodian.key; gateway and matcher need public.key; whoever checks receipts
/// needs verify.key. Keys that exist are never overwritten. `symbolon enrol` makes keys in a new
/// store by itself; make them first to choose the parameter set or to keep them elsewhere.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where the keys go; created if missing.
    dir: PathBuf,
    /// Parameter set.
    #[arg(long, value_enum, default_value = "q54")]
    params: ParameterSet,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    let files = keys::create(&arguments.dir, arguments.params)?;
    if output.is_json() {
        let files: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
        return output
            .line(json!({ "params": arguments.params.name(), "files": files }).to_string());
    }
    output.line(format!("made {} keys:", arguments.params.name()))?;
    files.iter().try_for_each(|file| output.line(format!("  {}", file.display())))
}
