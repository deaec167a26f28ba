//! `symbolon keygen`

use super::keys::VALID_DAYS;
use super::output::Output;
use crate::error::Result;
use crate::keyring::hex;
use crate::keys::{self, ParameterSet};
use serde_json::json;
use std::path::PathBuf;

/// Make a deployment's keys in DIR.
///
/// custodian.key and signing-ID.key are secret (mode 0600) and stay with the custodian; gateway and
/// matcher need public.key; whoever checks receipts needs verify.key, which holds the public keys of the
/// key set ID: ML-DSA-65, FN-DSA-512 (a draft) and SLH-DSA-SHA2-128f. Keys that exist are never
/// overwritten. `symbolon enrol` makes keys in a new store by itself; make them first to choose the
/// parameter set or to keep them elsewhere. `symbolon keys` lists, rotates, revokes and exports them.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where the keys go; created if missing.
    dir: PathBuf,
    /// Parameter set.
    #[arg(long, value_enum, default_value = "q54")]
    params: ParameterSet,
    /// How long the signing keys may sign.
    #[arg(long, value_name = "DAYS", default_value_t = VALID_DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    valid_days: u32,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    let made = keys::create(&arguments.dir, arguments.params, arguments.valid_days)?;
    let id = hex(&made.id);
    if output.is_json() {
        let files: Vec<String> = made.files.iter().map(|f| f.display().to_string()).collect();
        let line = json!({
            "params": arguments.params.name(), "key_id": id, "files": files,
            "not_before_ms": made.validity.not_before_ms, "not_after_ms": made.validity.not_after_ms,
        });
        return output.line(line.to_string());
    }
    output.line(format!("made {} keys and key set {id}:", arguments.params.name()))?;
    made.files.iter().try_for_each(|file| output.line(format!("  {}", file.display())))?;
    output.line(format!("it may sign for {} days", arguments.valid_days))
}
