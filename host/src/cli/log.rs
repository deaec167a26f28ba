//! `symbolon log`

use super::output::Output;
use super::receipts::Receipts;
use crate::error::{Error, Kind, Result};
use crate::keyring::{Keyring, hex, parse_id, unhex};
use crate::log::{self, Reader};
use clap::Subcommand;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Verify the receipt log, or have a receipt from it again.
///
/// The log holds every decision: batches, and the windows that sign them, each of which names the hash of the one before it.
/// It is written in receipts.redb; what has grown large goes on in another, and is kept as receipts-N.redb, N being the number
/// of its first batch. Such parts are never written again: copy them, keep them elsewhere, or throw the oldest away.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Verify the whole history: every decision, root and signature, and the chain of the windows.
    ///
    /// Exit code 0 if all of it verifies, 1 if something was changed, removed, added or reordered, 2 if the
    /// file is no log. Batches at the end may be unsigned: the next run signs them. A log whose end was cut
    /// off verifies; note the last window's hash to tell next time (--contains). So does one whose oldest parts are not there,
    /// which is said.
    Verify {
        /// The directory with receipts.redb.
        dir: PathBuf,
        /// Only the parts that have ended: beside a server that writes the log, or where they are kept.
        #[arg(long)]
        finished: bool,
        /// The keyring; by default verify.key in DIR.
        #[arg(long, value_name = "FILE|DIR")]
        keys: Option<PathBuf>,
        /// The revocation list; by default verify.revoked beside the keys, if there is one.
        #[arg(long, value_name = "FILE")]
        revoked: Option<PathBuf>,
        /// Require that the chain has a window of this hash: one that was noted before.
        #[arg(long, value_name = "HASH")]
        contains: Option<String>,
    },
    /// Write the receipt of a request, as `symbolon verify` reads it.
    Receipt {
        /// The directory with receipts.redb.
        dir: PathBuf,
        /// Only from the parts that have ended: beside a server, or where they are kept.
        #[arg(long)]
        finished: bool,
        /// The request's id: 32 hexadecimal digits.
        request: String,
        /// Where to; takes the place of receipts only.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    match &arguments.command {
        Command::Verify { dir, finished, keys, revoked, contains } => {
            let noted = contains.as_deref().map(digest).transpose()?;
            let ring = Keyring::load(keys.as_ref().unwrap_or(dir), revoked.as_deref())?;
            let log = open(dir, *finished)?;
            let bar = output.progress("verifying", log.batches() as usize);
            let report = log::verify(&log, &ring, &|n| bar.inc(n));
            bar.finish_and_clear();
            let report = report?;
            let is_there = |noted| {
                let before = report.first_window != 0 && report.previous == noted;
                before || report.chain.contains(&noted)
            };
            if noted.is_some_and(|noted| !is_there(noted)) {
                let message = "no window has the noted hash: history was rewritten, or cut off, or it is in a part that is \
                               not here";
                let file = dir.join(log::FILE);
                return Err(Error::new(Kind::Log, message).in_file(file.to_string_lossy()));
            }
            let last = report.chain.last().map(|digest| hex(digest));
            if output.is_json() {
                let line = json!({
                    "valid": true, "batches": report.batches, "decisions": report.decisions,
                    "windows": report.windows, "unsigned_batches": report.unsigned,
                    "revoked_windows": report.revoked, "last_window": last,
                    "parts": report.parts, "first_window": report.first_window,
                    "previous_window": hex(&report.previous),
                });
                return output.line(line.to_string());
            }
            output.line(format!(
                "{} decisions in {} batches, {} windows: all verify",
                report.decisions, report.batches, report.windows
            ))?;
            if report.first_window != 0 {
                output.line(format!(
                    "what was before window {} is not here; its last window: {}",
                    report.first_window,
                    hex(&report.previous)
                ))?;
            }
            if report.unsigned != 0 {
                let what = "which nothing proves until the next run signs them";
                let line = format!("not signed yet: the last {} batches, {what}", report.unsigned);
                output.line(line)?;
            }
            if report.revoked != 0 {
                let what = "under key sets revoked since; later windows vouch for them";
                output.line(format!("{} windows {what}", report.revoked))?;
            }
            match last {
                Some(last) => output.line(format!("last window: {last}")),
                None => Ok(()),
            }
        }
        Command::Receipt { dir, finished, request, out } => {
            let wrong = || {
                let message = "a request's id is 32 hexadecimal digits";
                Error::new(Kind::Argument, message).in_field("REQUEST")
            };
            let request = parse_id(request).ok_or_else(wrong)?;
            let mut bytes = Vec::new();
            open(dir, *finished)?.receipt(&request, &mut bytes)?;
            let mut file = Receipts::create(out)?;
            file.write(&bytes)?;
            file.finish()?;
            let out = out.display().to_string();
            if output.is_json() {
                return output.line(json!({ "request": hex(&request), "file": out }).to_string());
            }
            output.line(format!("wrote the receipt to {out}"))
        }
    }
}

fn open(dir: &Path, finished: bool) -> Result<Reader> {
    if finished { Reader::finished(dir) } else { Reader::open(dir) }
}

/// A window's hash. Errors: `E-ARGUMENT`.
fn digest(text: &str) -> Result<[u8; 32]> {
    let error = || Error::new(Kind::Argument, "a hash is 64 hexadecimal digits");
    unhex(text).ok_or_else(|| error().in_field("--contains"))
}
