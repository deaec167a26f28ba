//! `symbolon pool status`

use super::client::{self, Target};
use super::output::Output;
use crate::error::{Error, Kind, Result};
use crate::server::status::Status;
use axum::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Method, StatusCode};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::timeout;

/// In which a server must have answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ask a running server how it is: its pool of keys, throughput, queues, breakers, log and people.
///
/// What it says is /v1/status, which --json prints as it came; the dashboard at / shows the same. A server that has
/// API keys takes one with the role read or authenticate.
///
/// Example: `symbolon pool status --url https://matcher.example:8320 --ca chain.pem --api-key-file key`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The server's address.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8320")]
    url: String,
    /// For https: the certificates that vouch for the server, PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A file with an API key.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    let body = ask(arguments)?;
    let unreadable =
        |e| Error::new(Kind::Parse, format!("the server's status cannot be read: {e}"));
    if output.is_json() {
        let whole: Value = serde_json::from_slice(&body).map_err(unreadable)?;
        return output.line(whole.to_string());
    }
    let status: Status = serde_json::from_slice(&body).map_err(unreadable)?;
    print(&status, &arguments.url, output)
}

/// The server's answer. Errors: those of the client; what the server said was wrong.
fn ask(arguments: &Arguments) -> Result<Bytes> {
    let target = Target::new(&arguments.url, arguments.ca.as_deref())?;
    let mut headers = HeaderMap::new();
    if let Some(file) = &arguments.api_key_file {
        headers.insert(AUTHORIZATION, client::authorization(file)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::new(Kind::Io, format!("no connection can be made: {e}")))?;
    let answer = runtime.block_on(async {
        let mut connection = target.connect().await?;
        let asked = connection.request(Method::GET, "/v1/status", &headers, Bytes::new());
        let late = |_| Error::new(Kind::Io, "the server does not answer in time");
        timeout(PATIENCE, asked).await.map_err(late)?
    })?;
    if answer.status == StatusCode::OK {
        return Ok(answer.body);
    }
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let kind = Kind::ALL.iter().find(|kind| problem["code"] == kind.code());
    let none = || Error::new(Kind::Io, format!("the server answers {}", answer.status));
    let detail = problem["detail"].as_str().unwrap_or_default();
    Err(kind.map_or_else(none, |kind| Error::new(*kind, format!("the server says: {detail}"))))
}

fn print(status: &Status, url: &str, output: &mut Output) -> Result<()> {
    let Status {
        recent,
        attempts,
        queue,
        batches,
        breaker,
        attestation,
        keys,
        log,
        people,
        lockouts,
        ..
    } = status;
    let state =
        status.unready.as_ref().map_or("serving".to_owned(), |why| format!("not ready: {why}"));
    let (version, up) = (&status.version, status.uptime_s);
    output.line(format!("{url}, version {version}, up {up:.0} s; {state}"))?;
    output.line("")?;
    output.line(format!(
        "{:<20} {:>8} {:>8} {:>8} {:>10} {:>10} {:>10}",
        "keys made ahead", "ready", "low", "capacity", "ready %", "made/s", "used/s"
    ))?;
    if keys.pool.is_none() {
        output.line("no BFV keys: the deployment's own is in use")?;
    }
    for pool in keys.pool.iter().chain(status.devices.as_ref().map(|devices| &devices.keys)) {
        output.line(format!(
            "{:<20} {:>8} {:>8} {:>8} {:>10.1} {:>10.1} {:>10.1}",
            pool.kind,
            pool.ready,
            pool.low,
            pool.capacity,
            pool.hit_rate * 100.0,
            pool.made_per_s,
            pool.used_per_s,
        ))?;
    }
    output.line(format!(
        "epoch {}, {} rotations ({} made on the spot, {} failed); memory is {}protected",
        keys.epoch,
        keys.rotated,
        keys.on_demand,
        keys.failed,
        if keys.degraded { "not " } else { "" },
    ))?;
    output.line("")?;
    output.line(format!(
        "{:<20} {:>8} {:>8} {:>8} {:>10}",
        "attempts that wait", "high", "normal", "bulk", "room each"
    ))?;
    output.line(format!(
        "{:<20} {:>8} {:>8} {:>8} {:>10}",
        "", queue.high, queue.normal, queue.bulk, queue.capacity
    ))?;
    output.line("")?;
    let ms = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
    let mut row = |what: &str, text: String| output.line(format!("{what:<20} {text}"));
    row(
        "decisions",
        format!(
            "{:.1} a second in the last {:.0} s, half within {}, 99 % within {}",
            recent.decisions_per_s,
            recent.seconds,
            ms(recent.p50_ms),
            ms(recent.p99_ms),
        ),
    )?;
    let fill = recent.per_batch.map_or_else(|| "-".to_owned(), |fill| format!("{fill:.1}"));
    row(
        "batches",
        format!(
            "{} decided, {fill} of {} attempts each lately; breaker {}, opened {} times; of attestation {}, {} times",
            batches.decided,
            batches.lanes,
            breaker.state.name().replace('_', " "),
            breaker.opened,
            attestation.state.name().replace('_', " "),
            attestation.opened,
        ),
    )?;
    row(
        "attempts",
        format!(
            "{} decided, {} turned away, {} too late, {} failed",
            attempts.decided, attempts.busy, attempts.expired, attempts.failed
        ),
    )?;
    if let Some(devices) = &status.devices {
        let verdicts = &devices.verdicts;
        let hits =
            verdicts.hit_rate.map_or_else(|| "-".to_owned(), |r| format!("{:.1} %", r * 100.0));
        row(
            "devices",
            format!(
                "{} sessions, {} resumed, {} proofs accepted, {} refused; verdicts found {hits}; breaker {}",
                devices.sessions,
                devices.resumed,
                devices.proofs.accepted,
                devices.proofs.refused,
                devices.breaker.state.name().replace('_', " "),
            ),
        )?;
    }
    row(
        "receipt log",
        format!(
            "{} batches signed in {} windows; on the disk after {:.1} ms, signed after {:.1} ms{}",
            log.signed_batches,
            log.signed_windows,
            log.durable_ms,
            log.signed_ms,
            if log.failed { "; it has failed" } else { "" },
        ),
    )?;
    row(
        "people",
        format!(
            "{} enrolled; {} lockouts, {} attempts refused while locked",
            people.enrolled, lockouts.lockouts, lockouts.refused
        ),
    )
}
