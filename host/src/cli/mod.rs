//! The command line.

mod apikey;
mod auth;
mod client;
mod config;
mod connect;
mod demo;
mod devices;
mod enrol;
mod identity;
mod keygen;
mod keys;
mod load;

mod log;
mod model;
mod output;
mod pool;
mod prove;
mod receipts;
mod serve;
mod session;
mod status;
mod verify;

use crate::custodian::{Custodian, Limits, Rotations};
use crate::error::{Error, Kind, Result};
use crate::input::Captures;
use crate::keys::CustodianSeeds;
use crate::signer::{Metrics, Settings};
use clap::{Parser, Subcommand};
use output::Output;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Layout, Threshold};
use symbolon_platform::locked::{OnFailure, Options};
use symbolon_platform::process::{self, Hardened};

const VERSION: &str = if cfg!(feature = "lab") {
    concat!(env!("CARGO_PKG_VERSION"), ", a lab build: it tells scores")
} else {
    env!("CARGO_PKG_VERSION")
};

/// Authenticates people by biometrics: probes are matched while they are encrypted.
///
/// 32 people's probes fill one BFV ciphertext; one multiplication under encryption scores all 32; the
/// custodian decrypts 32 numbers, turns each into one bit, and signs: the batches of a tenth of a second
/// at once, with ML-DSA-65, FN-DSA-512 (a draft) and SLH-DSA-SHA2-128f, of which all must verify. Each
/// decision's receipt verifies offline; a log in a chain of signatures keeps all of them. Templates are
/// sealed on disk; the matcher, which multiplies by them, sees them.
///
/// Begin with `symbolon demo`. Then: keygen, enrol, auth, verify; keys to rotate and revoke; log to
/// verify the whole history; pool to size pools of keys made ahead; identity to enrol credentials, prove to
/// prove one without naming it; session to try how devices connect; load to see what the pipeline or a server stands; serve
/// for a server, with config and apikey. Exit codes: 0 done or valid, 1 something does not verify, 2 unusable
/// input, 3 wrong settings of a server. Errors are one line with a stable code, such as E-UNKNOWN-ID.
///
/// The environment variable SYMBOLON_ISA (scalar, avx2, avx512, neon) forces the processor's
/// instructions to use; by default the fastest it has.
#[derive(Parser)]
#[command(name = "symbolon", version = VERSION, max_term_width = 100)]
struct Arguments {
    /// Print JSON for machines: results on standard output, errors on standard error.
    #[arg(long, global = true)]
    json: bool,
    /// Threads that run batches; by default one for each core.
    #[arg(long, global = true, value_name = "N")]
    threads: Option<usize>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
// Each command's help stands at its arguments.
#[allow(missing_docs)]
enum Command {
    Demo(demo::Arguments),
    Enrol(enrol::Arguments),
    Auth(auth::Arguments),
    Verify(verify::Arguments),
    Keygen(keygen::Arguments),
    Keys(keys::Arguments),
    Log(log::Arguments),
    Load(load::Arguments),
    Identity(identity::Arguments),
    Pool(pool::Arguments),
    Session(session::Arguments),
    Prove(prove::Arguments),
    Serve(serve::Arguments),
    Config(config::Arguments),
    Apikey(apikey::Arguments),
}

/// Runs the command line; the exit code is the process's.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let mut output = Output::new(arguments.json);
    let Hardened { undumpable, no_core_file } = process::harden();
    if cfg!(target_os = "linux") && !(undumpable && no_core_file) {
        output.warn("the system may dump this process's memory, and keys with it, into a file");
    }
    let result = start_pool(arguments.threads)
        .and_then(|()| match &arguments.command {
            Command::Demo(a) => demo::run(a, &mut output),
            Command::Enrol(a) => enrol::run(a, &mut output),
            Command::Auth(a) => auth::run(a, &mut output),
            Command::Verify(a) => verify::run(a, &mut output),
            Command::Keygen(a) => keygen::run(a, &mut output),
            Command::Keys(a) => keys::run(a, &mut output),
            Command::Log(a) => log::run(a, &mut output),
            Command::Load(a) => load::run(a, &mut output),
            Command::Identity(a) => identity::run(a, &mut output),
            Command::Pool(a) => pool::run(a, &mut output),
            Command::Session(a) => session::run(a, &mut output),
            Command::Prove(a) => prove::run(a, &mut output),
            Command::Serve(a) => serve::run(a, &mut output),
            Command::Config(a) => config::run(a, &mut output),
            Command::Apikey(a) => apikey::run(a, &mut output),
        })
        .and_then(|()| output.finish());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.fail(&error),
    }
}

/// What was asked for (help, the version), or a mistake in the arguments, in one line like any other.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help that nobody reads any more is no error.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Nothing was asked for: show what can be.
        let _ = error.print();
        return ExitCode::from(Kind::Argument.exit_code());
    }
    let text = error.to_string();
    let what = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    let json = std::env::args_os().any(|argument| argument == "--json");
    Output::new(json).fail(&Error::new(Kind::Argument, format!("{what}; see symbolon --help")))
}

fn start_pool(threads: Option<usize>) -> Result<()> {
    // More threads than this serve nobody and may not start.
    if threads.is_some_and(|n| n == 0 || n > 1024) {
        return Err(Error::new(Kind::Argument, "--threads takes a number from 1 to 1024"));
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .thread_name(|i| format!("symbolon-{i}"))
        .build_global()
        .map_err(|e| Error::new(Kind::Argument, format!("the threads cannot be started: {e}")))
}

/// When decisions are signed.
#[derive(clap::Args)]
struct Window {
    /// Sign when the oldest decision that waits is this old, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    window_ms: u64,
    /// Sign when this many batches wait, 1 to 4096: 1 signs each batch by itself.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    window_batches: u16,
}

impl Window {
    fn settings(&self) -> Settings {
        Settings {
            batches: self.window_batches.into(),
            time: Duration::from_millis(self.window_ms),
        }
    }
}

/// The keys of probes: how long one serves, and where they lie.
#[derive(clap::Args)]
struct KeyUse {
    /// Bring in a fresh BFV key after this many batches; 0 keeps the deployment's own. A matcher that
    /// crafts what it sends needs some 2,000 batches under one key to recover it.
    #[arg(long, value_name = "N", default_value_t = Limits::DEFAULT_BATCHES)]
    key_batches: u32,
    /// Bring in a fresh BFV key when the last one has served so many minutes.
    #[arg(long, value_name = "MIN", default_value_t = Limits::DEFAULT_MINUTES, value_parser = clap::value_parser!(u32).range(1..=20_160))]
    key_minutes: u32,
    /// Stop where memory for keys cannot be locked; by default that is a warning.
    #[arg(long)]
    require_locked_memory: bool,
}

impl KeyUse {
    fn memory(&self) -> Options {
        let on_failure =
            if self.require_locked_memory { OnFailure::Refuse } else { OnFailure::Degrade };
        Options { on_failure, huge: false }
    }

    fn limits(&self) -> Option<Limits> {
        let batches = NonZeroU32::new(self.key_batches)?;
        Some(Limits { batches, age: Duration::from_secs(60 * u64::from(self.key_minutes)) })
    }

    /// A custodian with the deployment's keys, in memory as it was asked for or with a word on what is not.
    fn custodian<const L: usize>(
        &self,
        kernels: &'static Kernels,
        seeds: &CustodianSeeds,
        output: &Output,
    ) -> Result<Custodian<L>> {
        let custodian = Custodian::new(kernels, seeds, self.limits(), self.memory())?;
        if let Some(reason) = custodian.epochs().degraded() {
            output.warn(&format!("keys are in memory that is not protected: {reason}"));
        }
        Ok(custodian)
    }
}

/// How keys were rotated, for people.
fn rotations_line(limits: Option<Limits>, rotations: &Rotations) -> String {
    let Some(limits) = limits else { return "BFV keys: 1, the deployment's own".to_owned() };
    format!(
        "BFV keys: {}, a fresh one every {} batches ({} made while one waited, {} could not be made)",
        rotations.rotated + 1,
        limits.batches,
        rotations.on_demand,
        rotations.failed,
    )
}

/// What signing took, for people.
fn signing_line(metrics: &Metrics) -> String {
    format!(
        "signed {} batches in {} windows of {:.1} ({:.0} us a batch); answers after {:.1} ms, receipts \
         after {:.1} ms, on average",
        metrics.batches,
        metrics.windows,
        metrics.per_window(),
        metrics.signing_us_per_batch(),
        metrics.durable_us.mean / 1e3,
        metrics.signed_us.mean / 1e3,
    )
}

/// What signing took, for machines.
fn signing_json(metrics: &Metrics) -> serde_json::Value {
    let tenth = |us: f64| (us * 10.0).round() / 10.0;
    serde_json::json!({
        "batches": metrics.batches,
        "windows": metrics.windows,
        "batches_per_window": tenth(metrics.per_window()),
        "largest_window": metrics.largest,
        "commits": metrics.commits,
        "durable_us": { "mean": tenth(metrics.durable_us.mean), "max": tenth(metrics.durable_us.max) },
        "signed_us": { "mean": tenth(metrics.signed_us.mean), "max": tenth(metrics.signed_us.max) },
        "signing_us_per_batch": tenth(metrics.signing_us_per_batch()),
    })
}

/// Parses a threshold. Errors: `E-THRESHOLD`.
fn threshold(layout: Layout, text: &str) -> Result<Threshold> {
    let error = |message: &str| {
        Error::new(Kind::Threshold, format!("{message}, not \"{text}\"")).in_field("--threshold")
    };
    let cosine: f64 = text.parse().map_err(|_| error("a threshold is a number"))?;
    Threshold::from_cosine(layout, cosine).map_err(|_| error("a threshold is a cosine, -1 to 1"))
}

/// The rows that take part: the selected captures, or all.
fn selected<'a>(ids: &'a [String], captures: Option<&Captures>) -> Result<Vec<(usize, &'a str)>> {
    match captures {
        Some(captures) => crate::input::select(ids, captures),
        None => Ok(ids.iter().map(String::as_str).enumerate().collect()),
    }
}

/// Parses `--captures`. Errors: `E-ARGUMENT`.
fn captures(text: Option<&str>) -> Result<Option<Captures>> {
    text.map(str::parse).transpose()
}
