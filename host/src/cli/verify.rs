//! `symbolon verify`

use super::output::Output;
use crate::error::{Error, Kind, Result};
use crate::keyring::{Keyring, hex};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use symbolon_core::attest::Receipt;

/// Verify receipts, offline: both paths, all three signatures, deployment, key epoch and the keys'
/// validity.
///
/// A file holds one receipt or many, back to back. Exit code 0 if all verify, 1 if one does not, 2 if
/// the file holds something else. That a receipt verifies is not yet an answer: compare its nonce,
/// identity, threshold and time with what you asked, and look at the bit.
#[derive(clap::Args)]
pub struct Arguments {
    /// The receipts.
    #[arg(value_name = "RECEIPT")]
    receipt: PathBuf,
    /// The deployment's verify.key, or the directory that holds it.
    #[arg(long, value_name = "FILE|DIR")]
    keys: PathBuf,
    /// The revocation list; by default verify.revoked beside the keys, if there is one.
    #[arg(long, value_name = "FILE")]
    revoked: Option<PathBuf>,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    let name = arguments.receipt.to_string_lossy();
    let ring = Keyring::load(&arguments.keys, arguments.revoked.as_deref())?;
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
        let failure = ring.verify(receipt).err();
        bar.inc(1);
        if output.is_json() {
            output.line(
                json!({
                    "receipt": index, "valid": failure.is_none(), "reason": failure,
                    "accept": receipt.leaf.accept, "request": hex(&receipt.leaf.request),
                    "nonce": hex(&receipt.leaf.nonce), "identity": hex(&receipt.leaf.identity),
                    "batch": hex(&receipt.batch.batch), "policy": hex(&receipt.batch.policy),
                    "threshold_score": receipt.batch.threshold, "time_ms": receipt.batch.time_ms,
                    "window": receipt.window.sequence, "signed_ms": receipt.window.time_ms,
                    "key_id": hex(&receipt.window.keys),
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
