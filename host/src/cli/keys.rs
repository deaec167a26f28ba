//! `symbolon keys`

use super::output::Output;
use crate::error::{Error, Kind, Result};
use crate::keyring::{self, Entry, Keyring, hex, parse_id};
use crate::keys;
use crate::private_file;
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;
use symbolon_platform::clock;

/// How long a key set may sign unless told otherwise.
pub const VALID_DAYS: u32 = 365;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// List, rotate, revoke and export key sets.
///
/// A key set is the three keys that sign receipts together, named by its id: 32 hexadecimal digits of a
/// digest of its public keys. verify.key holds a deployment's public key sets, oldest first. Of those that
/// may sign, the newest does; the others still verify until their end.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the key sets of a keyring: id, state, when they may sign.
    List {
        /// A directory with verify.key, or such a file.
        keys: PathBuf,
        /// The revocation list; by default verify.revoked beside the keys, if there is one.
        #[arg(long, value_name = "FILE")]
        revoked: Option<PathBuf>,
    },
    /// Make a new key set, which signs from its start on; those before it stay as they are.
    ///
    /// Receipts under the old sets verify until those end, so the two overlap. Give relying parties the
    /// new verify.key before the new set starts: --starts-in-days leaves them the time. A running
    /// process keeps the set that it began with.
    Rotate {
        /// The deployment's directory, with custodian.key.
        dir: PathBuf,
        /// How long the new set may sign.
        #[arg(long, value_name = "DAYS", default_value_t = VALID_DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        valid_days: u32,
        /// When it starts; by default at once.
        #[arg(long, value_name = "DAYS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=36_500))]
        starts_in_days: u32,
    },
    /// Revoke a key set for ever: nothing it signed counts any more, whatever its time.
    ///
    /// For keys that are, or may be, in other hands: whoever has them can sign under any time. Stop what
    /// signs under them first: a running process keeps the set that it began with. The id is
    /// added to verify.revoked, which relying parties need as they need verify.key. The log stays
    /// verifiable: a later window under another set vouches for those before it.
    Revoke {
        /// The deployment's directory, with verify.key.
        dir: PathBuf,
        /// The key set's id.
        id: String,
    },
    /// Write the public key sets to a new file, for relying parties; revoked ones only if named.
    Export {
        /// A directory with verify.key, or such a file.
        keys: PathBuf,
        /// Where to; a file that exists is not overwritten.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Only the set of this id.
        #[arg(long)]
        id: Option<String>,
    },
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    match &arguments.command {
        Command::List { keys, revoked } => {
            let ring = Keyring::load(keys, revoked.as_deref())?;
            list(&ring, output)
        }
        Command::Rotate { dir, valid_days, starts_in_days } => {
            let start = clock::unix_ms().saturating_add(u64::from(*starts_in_days) * DAY_MS);
            let made = keys::rotate(dir, start, *valid_days)?;
            let id = hex(&made.id);
            if output.is_json() {
                let files: Vec<_> = made.files.iter().map(|f| f.display().to_string()).collect();
                let line = json!({
                    "key_id": id, "files": files, "not_before_ms": made.validity.not_before_ms,
                    "not_after_ms": made.validity.not_after_ms,
                });
                return output.line(line.to_string());
            }
            let when = match starts_in_days {
                0 => "at once".to_owned(),
                days => format!("in {days} days"),
            };
            output.line(format!("made key set {id}, which signs {when} for {valid_days} days:"))?;
            made.files.iter().try_for_each(|file| output.line(format!("  {}", file.display())))
        }
        Command::Revoke { dir, id } => {
            let id = key_id(id)?;
            let new = keys::revoke(dir, &id)?;
            if output.is_json() {
                return output.line(json!({ "key_id": hex(&id), "new": new }).to_string());
            }
            let was = if new { "is revoked" } else { "was revoked already" };
            output.line(format!("key set {} {was}: {}", hex(&id), keyring::REVOKED))
        }
        Command::Export { keys, out, id } => {
            let ring = Keyring::load(keys, None)?;
            let id = id.as_deref().map(key_id).transpose()?;
            let chosen: Vec<&Entry> = ring
                .entries()
                .iter()
                .filter(|entry| id.map_or(!entry.keys.validity.revoked, |id| entry.keys.id == id))
                .collect();
            if chosen.is_empty() {
                let error = Error::new(Kind::UnknownKey, "no key set has this id");
                return Err(error.in_file(keys.to_string_lossy()));
            }
            let bytes: Vec<u8> = chosen.iter().flat_map(|entry| entry.encoded()).copied().collect();
            private_file::publish(out, &bytes, false)?;
            let out = out.display();
            if output.is_json() {
                let ids: Vec<_> = chosen.iter().map(|entry| hex(&entry.keys.id)).collect();
                let line = json!({ "file": out.to_string(), "key_ids": ids });
                return output.line(line.to_string());
            }
            output.line(format!("wrote {} public key sets to {out}", chosen.len()))
        }
    }
}

fn list(ring: &Keyring, output: &mut Output) -> Result<()> {
    let now = clock::unix_ms();
    for entry in ring.entries() {
        let (id, state) = (hex(&entry.keys.id), entry.state(now));
        let validity = &entry.keys.validity;
        if output.is_json() {
            let line = json!({
                "key_id": id, "state": state, "not_before_ms": validity.not_before_ms,
                "not_after_ms": validity.not_after_ms, "deployment": hex(&entry.deployment.id),
                "epoch": entry.deployment.epoch,
            });
            output.line(line.to_string())?;
        } else {
            let span = match state {
                "future" => format!("starts in {}", days(validity.not_before_ms - now)),
                "active" => format!("ends in {}", days(validity.not_after_ms - now)),
                "retired" => format!("ended {} ago", days(now - validity.not_after_ms)),
                _ => "nothing it signed counts".to_owned(),
            };
            output.line(format!("{id}  {state:<8} {span}"))?;
        }
    }
    Ok(())
}

fn days(ms: u64) -> String {
    format!("{:.1} days", ms as f64 / DAY_MS as f64)
}

fn key_id(text: &str) -> Result<[u8; 16]> {
    let error = || Error::new(Kind::Argument, "a key id is 32 hexadecimal digits").in_field("ID");
    parse_id(text).ok_or_else(error)
}
