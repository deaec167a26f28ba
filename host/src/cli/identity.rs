//! `symbolon identity`

use super::output::Output;
use crate::error::{Error, Kind, Result};
use crate::identity::epochs::Epoch;
use crate::identity::registry::{DEFAULT_DEPTH, DEFAULT_OVERLAP_MS, Registry};
use crate::identity::tree;
use crate::input::{leaf_of, load_leaves};
use crate::keyring::{Keyring, hex, parse_id};
use crate::private_file;
use clap::Subcommand;
use serde_json::json;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use symbolon_platform::clock;

const HOUR_MS: u64 = 60 * 60 * 1000;
const OVERLAP_HOURS: u32 = (DEFAULT_OVERLAP_MS / HOUR_MS) as u32;
/// More than any path takes.
const MAX_PATH_BYTES: u64 = 1 << 16;

/// Keep the registry of credentials, whose holders prove in zero knowledge that they are enrolled.
///
/// A credential is a secret that its holder keeps; its leaf, 64 hexadecimal digits, is what is enrolled here. The
/// leaves are those of a tree. `publish` makes the tree as it is now the next epoch's, and its root is what proofs
/// are checked against; each holder needs the `path` from the own leaf to that root. So: init once; enrol and revoke
/// as it comes; publish; hand out paths. The registry is identities.redb in DIR, and one process uses it at a time.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an empty registry in DIR.
    Init {
        /// Where it goes; created if missing.
        dir: PathBuf,
        /// Levels of the tree: it has room for 2^N leaves, ever. Proofs are the same size for all.
        #[arg(long, value_name = "N", default_value_t = DEFAULT_DEPTH, value_parser = clap::value_parser!(u8).range(20..=62))]
        depth: u8,
        /// The deployment that proofs are for, 32 hexadecimal digits; by default that of verify.key in DIR.
        #[arg(long, value_name = "HEX")]
        deployment: Option<String>,
    },
    /// Enrol leaves, all of them or none, from the next epoch on.
    ///
    /// Each leaf is taken once: not again after it was revoked, since whoever it was revoked from still has its
    /// secret. An id may come back, with a new leaf. Have holders prove that they know the secret of the leaf they
    /// hand in, over a channel that tells you who they are.
    Enrol {
        /// The registry's directory.
        dir: PathBuf,
        /// Whose leaf it is: 1 to 256 bytes.
        #[arg(long, requires = "leaf", required_unless_present = "file")]
        id: Option<String>,
        /// The leaf: 64 hexadecimal digits.
        #[arg(long, value_name = "HEX", requires = "id")]
        leaf: Option<String>,
        /// Many, one a line: {"id": "anna", "leaf": "64 digits"}.
        #[arg(long, conflicts_with_all = ["id", "leaf"])]
        file: Option<PathBuf>,
    },
    /// Take people's leaves out, all of them or none, from the next epoch on.
    ///
    /// That epoch ends all before it at once: a proof does not say whose it is, so everybody proves anew.
    /// It counts when it is published, so publish at once where a credential is in wrong hands.
    Revoke {
        /// The registry's directory.
        dir: PathBuf,
        /// Whose; may be given many times.
        #[arg(long = "id", value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// Make the tree as it is now the next epoch's.
    ///
    /// If leaves were only added, earlier epochs hold for the overlap, so that everybody has the time to fetch a
    /// path and to prove anew. If any was taken out, they are withdrawn at once.
    Publish {
        /// The registry's directory.
        dir: PathBuf,
        /// How long earlier epochs hold.
        #[arg(long, value_name = "HOURS", default_value_t = OVERLAP_HOURS, value_parser = clap::value_parser!(u32).range(0..=8760))]
        overlap_hours: u32,
    },
    /// Give the path from somebody's leaf to the current epoch's root, as JSON.
    ///
    /// It is what the holder proves with; it is not secret from you, but tells others which leaf is whose.
    Path {
        /// The registry's directory.
        dir: PathBuf,
        /// Whose.
        #[arg(long)]
        id: String,
        /// Where to, readable by its owner only; by default to standard output. Takes the place of a path only.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show how many are enrolled, what waits to be published, and the current epoch.
    Status {
        /// The registry's directory.
        dir: PathBuf,
    },
    /// Show all epochs, the oldest first: root, state, and when each was published and ends.
    Epochs {
        /// The registry's directory.
        dir: PathBuf,
    },
    /// Compute the current root anew from all leaves, and look whether everything in the registry agrees.
    ///
    /// Exit code 0 if it does, 2 if something is damaged. Who alters the registry in a way that agrees is not
    /// found: note a root to tell.
    Check {
        /// The registry's directory.
        dir: PathBuf,
    },
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    match &arguments.command {
        Command::Init { dir, depth, deployment } => {
            let deployment = match deployment {
                Some(digits) => parse_id(digits).ok_or_else(|| {
                    let message = "a deployment is 32 hexadecimal digits";
                    Error::new(Kind::Argument, message).in_field("--deployment")
                })?,
                None => of_keyring(dir)?,
            };
            Registry::create(dir, *depth, deployment)?;
            if output.is_json() {
                let line = json!({ "depth": depth, "deployment": hex(&deployment) });
                return output.line(line.to_string());
            }
            output.line(format!("made a registry of 2^{depth} places in {}", dir.display()))
        }
        Command::Enrol { dir, id, leaf, file } => {
            let people = match (id, leaf, file) {
                (Some(id), Some(leaf), _) => {
                    let leaf = leaf_of(leaf);
                    let error = |what| Error::new(Kind::Leaf, what).in_field("--leaf");
                    vec![(id.clone(), leaf.map_err(error)?)]
                }
                (_, _, Some(file)) => load_leaves(file)?,
                _ => return Err(Error::new(Kind::Argument, "give --id and --leaf, or --file")),
            };
            let registry = Registry::open(dir)?;
            registry.enrol(&people)?;
            let (enrolled, total) = (people.len(), registry.status()?.enrolled);
            if output.is_json() {
                return output.line(json!({ "enrolled": enrolled, "total": total }).to_string());
            }
            output.line(format!("enrolled {enrolled}, from the next epoch on; they are {total}"))
        }
        Command::Revoke { dir, ids } => {
            let registry = Registry::open(dir)?;
            registry.revoke(ids)?;
            let (revoked, total) = (ids.len(), registry.status()?.enrolled);
            if output.is_json() {
                return output.line(json!({ "revoked": revoked, "total": total }).to_string());
            }
            output.line(format!(
                "revoked {revoked}, from the next epoch on: symbolon identity publish"
            ))
        }
        Command::Publish { dir, overlap_hours } => {
            let overlap_ms = u64::from(*overlap_hours) * HOUR_MS;
            let registry = Registry::open(dir)?;
            let published = registry.publish(clock::unix_ms(), overlap_ms)?;
            let Epoch { number, root, published_ms, .. } = published.epoch;
            let withdrew = published.revoked != 0;
            if output.is_json() {
                let line = json!({
                    "epoch": number, "root": hex(&root.encode()), "published_ms": published_ms,
                    "enrolled": published.enrolled, "revoked": published.revoked,
                    "withdrew": withdrew,
                });
                return output.line(line.to_string());
            }
            output.line(format!("epoch {number}, root {}", hex(&root.encode())))?;
            output
                .line(format!("{} enrolled, {} revoked", published.enrolled, published.revoked))?;
            output.line(match (number, withdrew) {
                (1, _) => "it is the first".to_owned(),
                (_, true) => "earlier epochs are withdrawn: everybody proves anew".to_owned(),
                (_, false) => format!("earlier epochs hold for {overlap_hours} hours at most"),
            })
        }
        Command::Path { dir, id, out } => {
            let path = Registry::open(dir)?.path(id)?;
            let json = path.to_json();
            let Some(out) = out else { return output.line(json) };
            write_path(out, &json)?;
            let out = out.display().to_string();
            if output.is_json() {
                return output.line(json!({ "epoch": path.epoch, "file": out }).to_string());
            }
            output.line(format!("wrote the path to the root of epoch {} to {out}", path.epoch))
        }
        Command::Status { dir } => {
            let registry = Registry::open(dir)?;
            let status = registry.status()?;
            let (epoch, now) = (registry.current_epoch(), clock::unix_ms());
            let root = registry.root_of(epoch, now).ok().map(|root| hex(&root.encode()));
            let deployment = hex(&registry.deployment());
            if output.is_json() {
                let line = json!({
                    "deployment": deployment, "depth": registry.depth(),
                    "enrolled": status.enrolled, "places": status.places,
                    "to_enrol": status.to_enrol, "to_revoke": status.to_revoke,
                    "nullifiers": status.nullifiers, "epoch": epoch, "root": root,
                });
                return output.line(line.to_string());
            }
            let (places, depth) = (status.places, registry.depth());
            output.line(format!("deployment {deployment}"))?;
            output.line(format!(
                "{} enrolled; {places} of 2^{depth} places taken",
                status.enrolled
            ))?;
            let (to_enrol, to_revoke) = (status.to_enrol, status.to_revoke);
            output.line(format!("to be published: {to_enrol} enrolled, {to_revoke} revoked"))?;
            output.line(match root {
                Some(root) => format!("epoch {epoch}, root {root}"),
                None => "no epoch yet: symbolon identity publish".to_owned(),
            })?;
            output.line(format!("{} proofs were presented in epochs that hold", status.nullifiers))
        }
        Command::Epochs { dir } => {
            let epochs = Registry::open(dir)?.history()?;
            let now = clock::unix_ms();
            epochs.iter().try_for_each(|epoch| {
                let (state, root) = (state(epoch, now), hex(&epoch.root.encode()));
                let until = (epoch.until_ms != u64::MAX).then_some(epoch.until_ms);
                if output.is_json() {
                    let line = json!({
                        "epoch": epoch.number, "state": state, "root": root,
                        "published_ms": epoch.published_ms, "until_ms": until,
                    });
                    return output.line(line.to_string());
                }
                let left = until.filter(|_| state == "overlap").map_or(String::new(), |until| {
                    format!(", {:.1} hours more", (until - now) as f64 / HOUR_MS as f64)
                });
                output.line(format!("{:>6}  {root}  {state}{left}", epoch.number))
            })
        }
        Command::Check { dir } => {
            let registry = Registry::open(dir)?;
            let bar = output.progress("checking", 2 * registry.status()?.enrolled as usize);
            let report = registry.check(&|n| bar.inc(n));
            bar.finish_and_clear();
            let report = report?;
            let (epoch, root) = (registry.current_epoch(), hex(&report.root.encode()));
            if output.is_json() {
                let line = json!({
                    "valid": true, "leaves": report.leaves, "nodes": report.nodes, "epoch": epoch,
                    "root": root,
                });
                return output.line(line.to_string());
            }
            let (leaves, nodes) = (report.leaves, report.nodes);
            output.line(format!(
                "{leaves} leaves and {nodes} nodes lead to the root of epoch {epoch}: {root}"
            ))
        }
    }
}

/// What an epoch is at a time: `current`, `overlap`, `expired` or `withdrawn`.
fn state(epoch: &Epoch, now_ms: u64) -> &'static str {
    use crate::identity::epochs::RootError::{Expired, Unknown, Withdrawn};
    match epoch.holds(now_ms) {
        Ok(_) if epoch.until_ms == u64::MAX => "current",
        Ok(_) => "overlap",
        Err(Withdrawn) => "withdrawn",
        Err(Expired | Unknown) => "expired",
    }
}

/// The deployment of the keys in a directory. Errors: `E-KEY-FILE`, `E-IO`.
fn of_keyring(dir: &Path) -> Result<[u8; 16]> {
    let ring = Keyring::load(dir, None)?;
    // Of one deployment only: a keyring has a key set at least.
    let newest = ring.entries().last().map(|entry| entry.deployment.id);
    newest.ok_or_else(|| Error::new(Kind::KeyFile, "has no key set"))
}

/// Writes a file that only its owner may read, in the place of a path or of nothing. It appears whole.
///
/// Errors: `E-ARGUMENT` where something else is there, `E-IO`.
fn write_path(out: &Path, json: &str) -> Result<()> {
    let error = |e: io::Error| Error::io(out, "write", &e);
    match fs::metadata(out) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(error(e)),
        Ok(found) => {
            let small = found.is_file() && found.len() <= MAX_PATH_BYTES;
            let path = small.then(|| fs::read(out)).and_then(|bytes| bytes.ok());
            if path.is_none_or(|bytes| tree::Path::parse(&bytes).is_err()) {
                let message = "exists and is no path: it is not overwritten";
                return Err(Error::new(Kind::Argument, message).in_file(out.to_string_lossy()));
            }
        }
    }
    let mut file = private_file::beside(out, true)?;
    writeln!(file, "{json}").and_then(|()| file.as_file().sync_all()).map_err(error)?;
    file.persist(out).map_err(|e| error(e.error))?;
    private_file::sync_dir(private_file::parent(out))
}
