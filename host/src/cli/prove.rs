//! `symbolon prove`

use super::output::Output;
use crate::error::{Error, Kind, Result};
use crate::identity::hash::Node;
use crate::identity::statement::{Context, Statement, proof_digest};
use crate::identity::{Credential, MAX_PROOF_SIZE, Prover, Verifier, circuit_id, security, tree};
use crate::keyring::{hex, unhex};
use crate::private_file;
use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use symbolon_platform::clock::Stopwatch;

/// Prove an enrolled identity without naming it, and check such proofs.
///
/// A credential is a secret that stays with its person; its leaf is what a registry enrols. A proof says
/// that its maker knows the secret of some leaf under a published root, and shows that secret's nullifier:
/// the same number all through a context (one deployment, device and epoch), another in every other.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a credential, and print the leaf to have enrolled.
    Credential {
        /// The new file: whoever reads it is the person (mode 0600).
        file: PathBuf,
        /// A file whose digest goes into the leaf: what the registry attests of the person.
        #[arg(long, value_name = "FILE")]
        attributes: Option<PathBuf>,
    },
    /// Print a credential's leaf.
    Leaf {
        /// The credential.
        file: PathBuf,
    },
    /// Prove that a credential's leaf is in a registry's tree.
    ///
    /// Prints the statement: with --json as `symbolon prove check` reads it.
    Make {
        /// The credential.
        file: PathBuf,
        /// The leaf's path to the root, as the registry gives it.
        #[arg(long, value_name = "FILE")]
        path: PathBuf,
        /// The deployment the proof is for: 32 hexadecimal digits.
        #[arg(long, value_name = "ID")]
        deployment: String,
        /// The digest of the device's key: 64 hexadecimal digits.
        #[arg(long, value_name = "DIGEST")]
        device: String,
        /// The new file that holds the proof.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Check a proof.
    ///
    /// Exit code 0 if it proves the statement, 1 if it does not, 2 if it is no proof. That the statement's root
    /// is a published one and its context the device's own is for whoever asks to know.
    Check {
        /// The proof.
        file: PathBuf,
        /// The statement: JSON with root, context and nullifier, 64 hexadecimal digits each.
        #[arg(long, value_name = "FILE")]
        statement: PathBuf,
    },
}

#[derive(Deserialize)]
struct StatementFile {
    root: String,
    context: String,
    nullifier: String,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    match &arguments.command {
        Command::Credential { file, attributes } => {
            let attributes = match attributes {
                Some(path) => fs::read(path).map_err(|e| Error::io(path, "read", &e))?,
                None => Vec::new(),
            };
            let credential = Credential::draw(&attributes)?;
            credential.save(file)?;
            leaf(&credential, output)
        }
        Command::Leaf { file } => leaf(&Credential::load(file)?, output),
        Command::Make { file, path, deployment, device, out } => {
            let argument = |name: &str, digits: usize| {
                Error::new(Kind::Argument, format!("takes {digits} hexadecimal digits"))
                    .in_field(name)
            };
            let deployment = unhex(deployment).ok_or_else(|| argument("--deployment", 32))?;
            let device = unhex(device).ok_or_else(|| argument("--device", 64))?;
            let credential = Credential::load(file)?;
            let place = tree::Path::parse(&read(path, 1 << 16)?)
                .map_err(|e| e.in_file(path.to_string_lossy()))?;
            let context = Context { deployment, device, epoch: place.epoch };
            let prover = Prover::new();
            let mut watch = Stopwatch::start();
            let (statement, proof) = prover
                .prove(&credential, &place.place(), &context)
                .map_err(|e| e.in_file(path.to_string_lossy()))?;
            let us = watch.lap();
            private_file::publish(out, &proof, false)?;
            report(&statement, &proof, "prove", us, output)
        }
        Command::Check { file, statement } => {
            let text = read(statement, 1 << 16)?;
            let StatementFile { root, context, nullifier } =
                serde_json::from_slice(&text).map_err(|e| malformed(statement, &e.to_string()))?;
            let [root, context, nullifier] =
                [("root", root), ("context", context), ("nullifier", nullifier)]
                    .map(|(field, text)| node(statement, field, &text));
            let statement = Statement { root: root?, context: context?, nullifier: nullifier? };
            let proof = read(file, MAX_PROOF_SIZE)?;
            let verifier = Verifier::new();
            let mut watch = Stopwatch::start();
            verifier.verify(&statement, &proof).map_err(|e| e.in_file(file.to_string_lossy()))?;
            let us = watch.lap();
            report(&statement, &proof, "verify", us, output)
        }
    }
}

fn leaf(credential: &Credential, output: &mut Output) -> Result<()> {
    let leaf = hex(&credential.leaf().encode());
    if output.is_json() {
        return output.line(json!({ "leaf": leaf }).to_string());
    }
    output.line(format!("leaf {leaf}"))
}

/// What was proven, what it took, what it is worth.
fn report(
    statement: &Statement,
    proof: &[u8],
    what: &str,
    us: f64,
    output: &mut Output,
) -> Result<()> {
    let circuit = circuit_id();
    let fingerprint = hex(&statement.fingerprint(circuit, &proof_digest(proof)));
    let [root, context, nullifier] =
        [statement.root, statement.context, statement.nullifier].map(|node| hex(&node.encode()));
    let bits = security();
    if output.is_json() {
        let mut line = json!({
            "root": root, "context": context, "nullifier": nullifier,
            "circuit": hex(circuit), "fingerprint": fingerprint, "proof_bytes": proof.len(),
            "bits_conjectured": bits.conjectured(), "bits_conjectured_ethstark": bits.ethstark,
            "bits_proven": bits.proven(), "bits_proven_unique_decoding": bits.unique,
        });
        line[format!("{what}_us")] = Value::from(us.round());
        return output.line(line.to_string());
    }
    output.line(format!("root      {root}"))?;
    output.line(format!("context   {context}"))?;
    output.line(format!("nullifier {nullifier}"))?;
    let past = if what == "prove" { "proven" } else { "verified" };
    output.line(format!("{past} in {:.2} ms; the proof has {} bytes", us / 1e3, proof.len()))?;
    output.line(format!(
        "security: {} bits by conjecture, {} proven",
        bits.conjectured(),
        bits.proven()
    ))
}

fn malformed(path: &Path, message: &str) -> Error {
    Error::new(Kind::Parse, message).in_file(path.to_string_lossy())
}

/// A file, and a byte more than `size` where it is longer.
fn read(path: &Path, size: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| Error::io(path, "open", &e))?;
    let read = file.take(size as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|e| Error::io(path, "read", &e))?;
    Ok(bytes)
}

fn node(path: &Path, field: &str, text: &str) -> Result<Node> {
    tree::node(text)
        .ok_or_else(|| malformed(path, "is no node of 64 hexadecimal digits").in_field(field))
}
