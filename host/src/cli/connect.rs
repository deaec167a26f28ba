//! `symbolon session connect`

use super::client::{Connection, Target, authorization};
use super::output::Output;
use crate::error::{Error, Kind, Result};
use crate::identity::gate::{Claim, fingerprint_message, proof_message};
use crate::identity::statement::{Context, proof_digest};
use crate::identity::{Credential, MAX_PROOF_SIZE, Prover, tree};
use crate::keyring::{Keyring, hex};
use crate::private_file;
use crate::session::{
    Channel, Client, DeviceKey, Kind as Record, Next, Presented, RECORD_OVERHEAD, RESUME_SIZE,
    Resumption,
};
use axum::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use symbolon_platform::clock::Stopwatch;
use zeroize::Zeroizing;

/// Be a device at a running server: prove to be enrolled, have attempts decided in a session, resume it.
///
/// The identity, whose leaf the server's operator has enrolled (PUT /v1/identities/ID, then POST /v1/epochs),
/// is proven without naming it, and the proof is kept in --proof: it is presented whole to a server that does
/// not know it, and by its fingerprint to one that does, so run it twice to see the difference. With --embedding an
/// attempt is decided inside the session, before it is resumed and after.
#[derive(clap::Args)]
pub struct Arguments {
    /// The server: http://HOST:PORT or https://HOST:PORT.
    #[arg(long)]
    url: String,
    /// For https: the certificates to trust, PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The API key, where the server asks for one.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// The deployment's public keys, from somebody you trust: verify.key.
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// The device's key, of `symbolon session device`.
    #[arg(long, value_name = "FILE")]
    device: PathBuf,
    /// The credential, of `symbolon prove credential`.
    #[arg(long, value_name = "FILE")]
    credential: PathBuf,
    /// The id that the credential's leaf is enrolled under, and that the attempt claims to be.
    #[arg(long)]
    id: String,
    /// Where the proof is kept; made anew in each epoch of the registry.
    #[arg(long, value_name = "FILE")]
    proof: PathBuf,
    /// An embedding for the attempt: a JSON array of numbers.
    #[arg(long, value_name = "FILE")]
    embedding: Option<PathBuf>,
}

/// An attempt, as the server reads it.
#[derive(Serialize)]
struct Attempt<'a> {
    id: &'a str,
    embedding: &'a [f64],
}

/// A step, and what it took.
struct Step {
    what: &'static str,
    sent: usize,
    got: usize,
    us: f64,
}

struct Device<'a> {
    arguments: &'a Arguments,
    connection: Connection,
    headers: HeaderMap,
    steps: Vec<Step>,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::new(Kind::Io, format!("the client cannot be started: {e}")))?;
    runtime.block_on(connect(arguments, output))
}

async fn connect(arguments: &Arguments, output: &mut Output) -> Result<()> {
    let ring = Keyring::load(&arguments.keys, None)?;
    let key = DeviceKey::load(&arguments.device)?;
    let credential = Credential::load(&arguments.credential)?;
    let embedding = arguments.embedding.as_deref().map(embedding).transpose()?;
    let mut headers = HeaderMap::new();
    if let Some(file) = &arguments.api_key_file {
        headers.insert(AUTHORIZATION, authorization(file)?);
    }
    let target = Target::new(&arguments.url, arguments.ca.as_deref())?;
    let connection = target.connect().await?;
    let mut device = Device { arguments, connection, headers, steps: Vec::new() };

    let client = Client::new(&key, &ring, 1)?;
    let (claim, proof) = device.proof(&credential, &client).await?;
    let (session, resumption, mut channel, asked) =
        device.handshake(&client, &claim, &proof).await?;
    let mut decisions = Vec::new();
    if let Some(embedding) = &embedding {
        decisions.push(device.attempt(&session, &mut channel, embedding).await?);
    }
    let mut channel = device.resume(&session, resumption).await?;
    if let Some(embedding) = &embedding {
        decisions.push(device.attempt(&session, &mut channel, embedding).await?);
    }

    if output.is_json() {
        let steps: Vec<_> = device
            .steps
            .iter()
            .map(|s| json!({ "step": s.what, "sent": s.sent, "got": s.got, "us": s.us.round() }))
            .collect();
        let line = json!({
            "device": hex(key.digest()), "epoch": claim.epoch, "proof": hex(&proof_digest(&proof)),
            "proof_asked_for": asked, "session": session, "steps": steps, "decisions": decisions,
        });
        return output.line(line.to_string());
    }
    output.line(format!("device {}", hex(key.digest())))?;
    for Step { what, sent, got, us } in &device.steps {
        output.line(format!(
            "  {what:<24} {sent:>6} bytes sent  {got:>6} back  {:>8.2} ms",
            us / 1e3
        ))?;
    }
    output.line(match asked {
        true => "the server had not seen the proof, and asked for it",
        false => "the server knew the proof by its fingerprint",
    })?;
    for decision in &decisions {
        output.line(decision.to_string())?;
    }
    output.line(format!("session {session}: resumed once, and left open"))
}

fn malformed(path: &Path, what: &str) -> Error {
    Error::new(Kind::Parse, what).in_file(path.to_string_lossy())
}

fn embedding(path: &Path) -> Result<Zeroizing<Vec<f64>>> {
    let text = Zeroizing::new(fs::read(path).map_err(|e| Error::io(path, "read", &e))?);
    let values = serde_json::from_slice(&text).map(Zeroizing::new);
    values.map_err(|e| malformed(path, &format!("is no JSON array of numbers: {e}")))
}

/// What the server says went wrong.
fn problem(status: StatusCode, body: &[u8]) -> Error {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or("no reason given").to_owned();
    let (code, detail) = (text("code"), text("detail"));
    Error::new(Kind::Session, format!("the server answers {}: {code}: {detail}", status.as_u16()))
}

impl Device<'_> {
    /// A request that is to be answered with one of `good`. Gives address and body.
    async fn ask(
        &mut self,
        what: &'static str,
        method: Method,
        path: &str,
        body: &[u8],
        good: &[StatusCode],
    ) -> Result<(StatusCode, String, Vec<u8>)> {
        let mut headers = self.headers.clone();
        let media_type = HeaderValue::from_static("application/vnd.symbolon.session");
        headers.insert(CONTENT_TYPE, media_type);
        let mut watch = Stopwatch::start();
        let body = Bytes::copy_from_slice(body);
        let sent = body.len();
        let answer = self.connection.request(method, path, &headers, body).await?;
        let us = watch.lap();
        if !good.contains(&answer.status) {
            return Err(problem(answer.status, &answer.body));
        }
        self.steps.push(Step { what, sent, got: answer.body.len(), us });
        let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        Ok((answer.status, location.unwrap_or_default().to_owned(), answer.body.to_vec()))
    }

    /// The proof of this epoch: as it was kept, or made.
    async fn proof(
        &mut self,
        credential: &Credential,
        client: &Client<'_>,
    ) -> Result<(Claim, Vec<u8>)> {
        let file = &self.arguments.proof;
        let id = self.arguments.id.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let address = format!("/v1/identities/{id}/path");
        let (.., path) = self.ask("path", Method::GET, &address, b"", &[StatusCode::OK]).await?;
        let path = tree::Path::parse(&path)?;
        match fs::read(file) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(file, "read", &e)),
            Ok(kept) => {
                let (claim, proof) = Claim::decode(&kept)
                    .filter(|(_, proof)| proof.len() <= MAX_PROOF_SIZE)
                    .ok_or_else(|| malformed(file, "holds no proof"))?;
                if claim.epoch == path.epoch {
                    return Ok((claim, proof.to_vec()));
                }
            }
        }
        let (deployment, device) = (client.deployment, *client.device.digest());
        let context = Context { deployment, device, epoch: path.epoch };
        let mut watch = Stopwatch::start();
        let (statement, proof) = Prover::new().prove(credential, &path.place(), &context)?;
        self.steps.push(Step { what: "prove", sent: 0, got: 0, us: watch.lap() });
        let claim = Claim { epoch: path.epoch, nullifier: statement.nullifier };
        // Kept first: another one of this epoch would be refused.
        private_file::replace(file, &proof_message(&claim, &proof))?;
        Ok((claim, proof))
    }

    /// The session, what resumes it, its channel, and whether the proof was asked for.
    async fn handshake(
        &mut self,
        client: &Client<'_>,
        claim: &Claim,
        proof: &[u8],
    ) -> Result<(String, Resumption, Channel, bool)> {
        let (mut message, mut channel) = (Vec::new(), Channel::new());
        let greeted = client.hello(&mut message)?;
        let created = &[StatusCode::CREATED];
        let (_, address, offer) =
            self.ask("hello", Method::POST, "/v1/sessions", &message, created).await?;
        let known = fingerprint_message(claim, &proof_digest(proof));
        let presented = Presented::Fingerprint(&known);
        let begun = client.begin(greeted, &offer, presented, &mut message)?;
        let either = &[StatusCode::OK, StatusCode::CREATED];
        let (_, session, answer) =
            self.ask("begin, fingerprint", Method::POST, &address, &message, either).await?;
        let asked = match begun.next(&answer, &mut channel)? {
            Next::Welcome(resumption) => return Ok((session, resumption, channel, false)),
            Next::Ask(asked) => asked,
        };
        let begun = asked.prove(&proof_message(claim, proof), &mut message)?;
        let (_, session, answer) =
            self.ask("proof", Method::POST, &address, &message, created).await?;
        match begun.next(&answer, &mut channel)? {
            Next::Welcome(resumption) => Ok((session, resumption, channel, true)),
            Next::Ask(_) => Err(Error::new(Kind::Session, "the server asks twice for the proof")),
        }
    }

    /// An attempt inside the session: the decision, or the problem.
    async fn attempt(
        &mut self,
        session: &str,
        channel: &mut Channel,
        embedding: &[f64],
    ) -> Result<Value> {
        // Not by way of a JSON value, which would keep a copy.
        let attempt = Attempt { id: &self.arguments.id, embedding };
        let text = serde_json::to_string(&attempt).map(Zeroizing::new);
        let text = text.map_err(|e| Error::new(Kind::Internal, e.to_string()))?;
        let mut record = vec![0; text.len() + RECORD_OVERHEAD];
        channel.seal(Record::Probe, text.as_bytes(), &mut record)?;
        let address = format!("{session}/authentications");
        let (.., mut answer) =
            self.ask("attempt", Method::POST, &address, &record, &[StatusCode::OK]).await?;
        let (_, text) = channel.open(&mut answer)?;
        serde_json::from_slice(text)
            .map_err(|_| Error::new(Kind::Session, "the server's answer is no JSON"))
    }

    async fn resume(&mut self, session: &str, resumption: Resumption) -> Result<Channel> {
        let (mut message, mut channel) = ([0; RESUME_SIZE], Channel::new());
        let resuming = resumption.resume(&mut message)?;
        let address = format!("{session}/resume");
        let (.., answer) =
            self.ask("resume", Method::POST, &address, &message, &[StatusCode::OK]).await?;
        resuming.finish(&answer, &mut channel)?;
        Ok(channel)
    }
}
