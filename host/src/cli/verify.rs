//! `symbolon verify`

use super::output::{Output, hex};
use crate::error::{Error, Kind, Result};
use crate::keys;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use symbolon_core::attest::Receipt;

/// Verify receipts, offline: path, root, signature, deployment and key epoch of each.
///
/// A file holds one receipt or many, back to back. Exit code 0 if all verify, 1 if one does not, 2 if
/// the file holds something else.
#[derive(clap::Args)]
pub struct Arguments {
    /// The receipts.
    #[arg(value_name = "RECEIPT")]
    receipt: PathBuf,
    /// The deployment's verify.key.
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    let name = arguments.receipt.to_string_lossy();
    let (deployment, key) = keys::load_verifying(&arguments.keys)?;
    let bytes =
        fs::read(&arguments.receipt).map_err(|e| Error::io(&arguments.receipt, "read", &e))?;
    let malformed = |index: usize, message: &str| {
        Error::new(Kind::ReceiptFormat, message).in_file(&name).at_row(index)
    };
    let mut receipts = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (receipt, size) =
            Receipt::decode(rest).map_err(|e| malformed(receipts.len(), &e.to_string()))?;
        receipts.push(receipt);
        rest = rest.get(size..).unwrap_or_default();
    }
    if receipts.is_empty() {
        return Err(malformed(0, "the file is empty"));
    }

    let bar = output.progress("verifying", receipts.len());
    let mut first_failure = None;
    for (index, receipt) in receipts.iter().enumerate() {
        let statement = &receipt.statement;
        let failure = if statement.deployment != deployment.id {
            Some("the receipt is another deployment's".to_owned())
        } else if statement.key_epoch != deployment.epoch {
            Some(format!("the receipt is of key epoch {}", statement.key_epoch))
        } else {
            receipt.verify(&key).err().map(|e| e.to_string())
        };
        bar.inc(1);
        if output.is_json() {
            output.line(
                json!({
                    "receipt": index, "valid": failure.is_none(), "reason": failure,
                    "accept": receipt.leaf.accept, "request": hex(&receipt.leaf.request),
                    "identity": hex(&receipt.leaf.identity), "batch": hex(&statement.batch),
                    "threshold_score": statement.threshold, "time_ms": statement.time_ms,
                })
                .to_string(),
            )?;
        } else if failure.is_some() || receipts.len() <= 32 {
            let verdict = match &failure {
                None if receipt.leaf.accept => "valid: accepted",
                None => "valid: rejected",
                Some(reason) => reason,
            };
            let request = hex(&receipt.leaf.request);
            output.line(format!("receipt {index:>6}  request {request}  {verdict}"))?;
        }
        first_failure = first_failure.or(failure.map(|reason| (index, reason)));
    }
    bar.finish_and_clear();
    match first_failure {
        Some((index, reason)) => {
            Err(Error::new(Kind::Receipt, reason).in_file(&name).at_row(index))
        }
        None if output.is_json() => Ok(()),
        None => output.line(format!("all {} receipts verify", receipts.len())),
    }
}
