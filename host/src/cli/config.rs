//! The server's settings: what there are, where they come from, and `symbolon config`.
//!
//! One table says of each its name, its default, its range and what it is for; the file, the environment and the flags
//! are read by it. A later source outdoes an earlier one: defaults, file, environment, flags.

use super::load::Choice;
use super::output::Output;
use crate::batching::Strategy;
use crate::custodian::Limits as KeyLimits;
use crate::error::{Error, Kind, Result};
use crate::log::Log;
use crate::server::{Limits, listen, traces};
use clap::{Arg, ArgAction, ArgMatches, Subcommand, ValueEnum};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// What variables of the environment begin with.
const ENVIRONMENT: &str = "SYMBOLON_SERVE_";

/// What a setting can be.
trait Value: Sized {
    /// Of its text.
    fn read(text: &str) -> std::result::Result<Self, String>;
    /// As TOML.
    fn show(&self) -> String;
}

fn parsed<T: FromStr>(text: &str, what: &str) -> std::result::Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is not {what}"))
}

macro_rules! values {
    ($($type:ty: $what:literal, $show:expr;)+) => {
        $(impl Value for $type {
            fn read(text: &str) -> std::result::Result<Self, String> {
                parsed(text, $what)
            }

            fn show(&self) -> String {
                let show: fn(&Self) -> String = $show;
                show(self)
            }
        })+
    };
}

values! {
    u64: "a whole number", ToString::to_string;
    f64: "a number", |value| format!("{value:?}");
    bool: "true or false", ToString::to_string;
    String: "text", |value| quoted(value);
    SocketAddr: "an address with a port, such as 127.0.0.1:8320", |value| quoted(value);
}

impl Value for Option<PathBuf> {
    fn read(text: &str) -> std::result::Result<Self, String> {
        Ok(Some(text).filter(|text| !text.is_empty()).map(PathBuf::from))
    }

    fn show(&self) -> String {
        quoted(self.as_deref().unwrap_or(Path::new("")).display())
    }
}

fn quoted(value: impl Display) -> String {
    // What JSON escapes, TOML does in the same way.
    serde_json::Value::from(value.to_string()).to_string()
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, ValueEnum)]
pub enum Level {
    /// Failures.
    Error,
    /// And what may become one.
    Warn,
    /// And what happens once.
    Info,
    /// And requests.
    Debug,
    /// And what libraries say.
    Trace,
}

/// By the names that they have on the command line.
macro_rules! named {
    ($($type:ty)+) => {
        $(impl Value for $type {
            fn read(text: &str) -> std::result::Result<Self, String> {
                ValueEnum::from_str(text, false).map_err(|_| {
                    let values = Self::value_variants().iter();
                    let names = values.filter_map(ValueEnum::to_possible_value);
                    let names: Vec<_> = names.map(|name| name.get_name().to_owned()).collect();
                    format!("{text:?} is not one of {}", names.join(", "))
                })
            }

            fn show(&self) -> String {
                let value = self.to_possible_value();
                quoted(value.as_ref().map_or("", |value| value.get_name()))
            }
        })+
    };
}

named!(Choice Level);

impl Level {
    /// As the logging library has it.
    pub fn filter(self) -> tracing::Level {
        match self {
            Self::Error => tracing::Level::ERROR,
            Self::Warn => tracing::Level::WARN,
            Self::Info => tracing::Level::INFO,
            Self::Debug => tracing::Level::DEBUG,
            Self::Trace => tracing::Level::TRACE,
        }
    }
}

/// A setting.
struct Setting {
    /// As in the file: `tls.chain`.
    name: &'static str,
    help: &'static str,
    set: fn(&mut Config, &str) -> std::result::Result<(), String>,
    show: fn(&Config) -> String,
}

macro_rules! settings {
    ($($name:literal, $field:ident: $type:ty = $default:expr, $range:expr, $help:literal;)+) => {
        /// Everything that can be set. See [`SETTINGS`] for what each is for.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "the table has it")]
        pub struct Config {
            $(pub $field: $type,)+
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        const SETTINGS: &[Setting] = &[$(Setting {
            name: $name,
            help: $help,
            set: |config, text| {
                let value = <$type>::read(text)?;
                let range: Option<RangeInclusive<$type>> = $range;
                if let Some(range) = range.filter(|range| !range.contains(&value)) {
                    let (least, most) = (range.start().show(), range.end().show());
                    return Err(format!("{text} is not in {least} to {most}"));
                }
                config.$field = value;
                Ok(())
            },
            show: |config| config.$field.show(),
        },)+];
    };
}

settings! {
    "store", store: Option<PathBuf> = None, None,
        "The deployment's directory: templates, keys, API keys, budgets of attempts";
    "log", log: Option<PathBuf> = None, None,
        "The directory of the receipt log; by default the store's";
    "receipts.part-mb", receipts_part_mb: u64 = Log::DIVIDE_AT >> 20, Some(1..=1 << 20),
        "MiB after which the receipt log goes on in another file; the one before is never written again, so it can be copied or \
         moved away";
    "receipts.keep-parts", receipts_keep_parts: u64 = 0, Some(0..=1_000_000),
        "How many of these are kept, the oldest being removed for good; 0 keeps all";
    "threshold", threshold: f64 = 0.5, Some(-1.0..=1.0),
        "The least cosine that is accepted";
    "listen", listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8320)), None,
        "Where to listen; port 0 for any";
    "insecure", insecure: bool = false, None,
        "Listen elsewhere than on the loopback interface without TLS";
    "tls.chain", tls_chain: Option<PathBuf> = None, None,
        "Certificates, PEM, the server's first: TLS 1.3 is spoken where they are set";
    "tls.key", tls_key: Option<PathBuf> = None, None,
        "Their private key, PEM";
    "tls.only-hybrid", tls_only_hybrid: bool = false, None,
        "Agree on keys by X25519MLKEM768 only; by default it is preferred";
    "threads.http", threads_http: u64 = (cores() / 4).clamp(2, 256), Some(1..=256),
        "Threads that serve sockets; by default one for every four cores, and two at least";
    "threads.workers", threads_workers: u64 = cores(), Some(1..=1024),
        "Threads that decide batches; by default one for each core";
    "threads.pin", threads_pin: bool = false, None,
        "Keep each of these on a core, in turn; by default the system moves them";
    "batch.strategy", batch_strategy: Choice = Choice::Adaptive, None,
        "When a batch that is not full leaves: window, size or adaptive";
    "batch.wait-us", batch_wait_us: u64 = 2000, Some(0..=10_000_000),
        "For window and size: how long the oldest attempt waits";
    "batch.size", batch_size: u64 = 16, Some(1..=32),
        "For size: how many attempts are enough";
    "batch.target-us", batch_target_us: u64 = 5000, Some(100..=10_000_000),
        "For adaptive: the time within which 99 of 100 answers are to come";
    "batch.queue", batch_queue: u64 = 8192, Some(1..=10_000_000),
        "Attempts that may wait, of each priority";
    "window.ms", window_ms: u64 = 250, Some(0..=60_000),
        "Sign when the oldest decision that waits is this old";
    "window.batches", window_batches: u64 = 4096, Some(1..=4096),
        "Sign when this many batches wait";
    "keys.batches", keys_batches: u64 = KeyLimits::DEFAULT_BATCHES as u64, Some(0..=u32::MAX as u64),
        "Bring in a fresh BFV key after this many batches; 0 keeps the deployment's own";
    "keys.minutes", keys_minutes: u64 = KeyLimits::DEFAULT_MINUTES as u64, Some(1..=20_160),
        "Bring in a fresh BFV key when the last one has served so long";
    "keys.require-locked-memory", keys_locked: bool = false, None,
        "Stop where memory for keys cannot be locked; by default that is a warning";
    "limits.connections", connections: u64 = 1024, Some(1..=1_000_000),
        "Connections at a time";
    "limits.connections-per-address", connections_per_address: u64 = 512, Some(1..=1_000_000),
        "Of these from one address, or one IPv6 network; a proxy is one";
    "limits.header-ms", header_ms: u64 = 5000, Some(10..=600_000),
        "In which a connection's first request must have begun; and after which one is closed whose peer takes no more of a \
         large response";
    "limits.idle-ms", idle_ms: u64 = 75_000, Some(10..=3_600_000),
        "After which a connection is closed that has nothing under way; longer than a load balancer in front keeps its own";
    "limits.body-ms", body_ms: u64 = 10_000, Some(10..=600_000),
        "In which a request's body must have come, and the next part of a batch's response be taken; and, once a connection is \
         closed, the rest of its responses must have gone";
    "limits.batch-bytes", batch_bytes: u64 = 16 << 20, Some(1024..=1 << 30),
        "The largest body of a batch";
    "limits.body-bytes", body_bytes: u64 = 64 << 20, Some(65_536..=1 << 40),
        "Bodies of all requests at a time, and 608 bytes for each item of batches";
    "limits.deadline-ms", deadline_ms: u64 = 10_000, Some(1..=60_000),
        "After which an attempt is given up that names no deadline";
    "limits.attempts", attempts: u64 = 100, Some(0..=1_000_000),
        "Attempts that may fail for one identity within limits.attempts-minutes; 0 for any number";
    "limits.attempts-minutes", attempts_minutes: u64 = 60, Some(1..=525_600),
        "See limits.attempts";
    "idempotency.entries", idempotency_entries: u64 = 16_384, Some(1..=10_000_000),
        "Requests with an idempotency key that are remembered";
    "idempotency.bytes", idempotency_bytes: u64 = 32 << 20, Some(1024..=1 << 40),
        "Bytes of their responses; a larger one than a sixteenth of this is not remembered";
    "idempotency.minutes", idempotency_minutes: u64 = 10, Some(1..=10_080),
        "How long they are remembered";
    "identities.publish-seconds", identities_publish_seconds: u64 = 300, Some(1..=86_400),
        "How often identities that were enrolled meanwhile are published; revocations are at once";
    "identities.overlap-hours", identities_overlap_hours: u64 = 24, Some(0..=8760),
        "How long proofs hold after the next publication that revokes nobody";
    "identities.verdicts", identities_verdicts: u64 = 1 << 17, Some(1024..=1 << 30),
        "Verdicts on proofs that are kept";
    "sessions.places", sessions_places: u64 = 1 << 14, Some(1..=1 << 24),
        "Sessions at a time, where the store has a registry of identities";
    "sessions.minutes", sessions_minutes: u64 = 480, Some(1..=34_560),
        "The longest that a session lasts";
    "sessions.keys", sessions_keys: u64 = 256, Some(64..=1 << 20),
        "ML-KEM keys for handshakes that are made ahead; as many may be under way";
    "drain.delay-seconds", drain_delay_seconds: u64 = 0, Some(0..=3600),
        "How long requests are served once the server is told to stop, while /readyz says 503: for load balancers to see it";
    "drain.seconds", drain_seconds: u64 = 30, Some(0..=3600),
        "How long what is under way may take after that";
    "otlp.endpoint", otlp_endpoint: String = String::new(), None,
        "Where spans of requests are sent: http://HOST:PORT of an OpenTelemetry collector on this machine, which does the TLS, as \
         this is plain HTTP; nowhere if empty. Takes a build with --features otlp";
    "otlp.ratio", otlp_ratio: f64 = 0.01, Some(0.0..=1.0),
        "The part, 0.0 to 1.0, that is recorded of the requests without a traceparent header; with one its sender decides";
    "log-level", log_level: Level = Level::Info, None,
        "What is logged: error, warn, info, debug or trace";
    "log-json", log_json: bool = false, None,
        "Log as JSON";
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u64)
}

impl Setting {
    /// `--tls-chain`, without the dashes.
    fn flag(&self) -> String {
        self.name.replace('.', "-")
    }

    /// `SYMBOLON_SERVE_TLS_CHAIN`.
    fn variable(&self) -> String {
        ENVIRONMENT.to_owned() + &self.name.replace(['.', '-'], "_").to_uppercase()
    }
}

/// Where one wrote something, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `symbolon.toml:12`, `the environment`, `the command line`.
    pub place: String,
    /// In one line.
    pub what: String,
}

/// Settings and where they came from.
pub struct Read {
    /// The settings, as far as they could be read.
    pub config: Config,
    /// All that is wrong.
    pub mistakes: Vec<Mistake>,
    /// By name, for those that are not the default.
    origins: BTreeMap<&'static str, String>,
}

impl Read {
    /// Reads every source.
    ///
    /// Errors: `E-IO` where the file cannot be read.
    pub fn new(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &Flags,
    ) -> Result<Self> {
        let (config, mistakes) = (Config::default(), Vec::new());
        let mut read = Self { config, mistakes, origins: BTreeMap::new() };
        if let Some(path) = file {
            let text = fs::read_to_string(path).map_err(|e| Error::io(path, "read", &e))?;
            read.file(&path.to_string_lossy(), &text);
        }
        read.environment(environment);
        for (setting, text) in SETTINGS.iter().zip(&flags.values) {
            if let Some(text) = text {
                let what = format!("--{}", setting.flag());
                read.set(setting, text, "the command line", &what);
            }
        }
        read.together();
        Ok(read)
    }

    fn set(&mut self, setting: &Setting, text: &str, place: &str, what: &str) {
        match (setting.set)(&mut self.config, text) {
            Ok(()) => drop(self.origins.insert(setting.name, place.to_owned())),
            Err(error) => self.wrong(place, format!("{what}: {error}")),
        }
    }

    fn wrong(&mut self, place: &str, what: String) {
        self.mistakes.push(Mistake { place: place.to_owned(), what });
    }

    fn file(&mut self, name: &str, text: &str) {
        let line =
            |at: usize| 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let place = match error.span() {
                Some(span) => format!("{name}:{}", line(span.start)),
                None => name.to_owned(),
            };
            self.wrong(&place, error.message().replace('\n', " "));
        }
        let mut found = Vec::new();
        flatten("", table.get_ref(), &mut found);
        found.sort_by_key(|(_, at, _)| *at);
        for (key, at, value) in found {
            let place = format!("{name}:{}", line(at));
            match (SETTINGS.iter().find(|setting| setting.name == key), value) {
                (None, _) => self.wrong(&place, format!("{key}: there is no such setting")),
                (Some(_), None) => self.wrong(&place, format!("{key}: takes one value")),
                (Some(setting), Some(value)) => self.set(setting, &value, &place, &key),
            }
        }
    }

    fn environment(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        const PLACE: &str = "the environment";
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(ENVIRONMENT)) else {
                continue;
            };
            let setting = SETTINGS.iter().find(|setting| setting.variable() == name);
            match (setting, value.to_str()) {
                (None, _) => self.wrong(PLACE, format!("{name}: there is no such setting")),
                (_, None) => self.wrong(PLACE, format!("{name}: is not UTF-8")),
                (Some(setting), Some(text)) => self.set(setting, text, PLACE, name),
            }
        }
    }

    /// What fits by itself and not together.
    fn together(&mut self) {
        let config = self.config.clone();
        let place = "together";
        match (&config.tls_chain, &config.tls_key) {
            (Some(chain), Some(key)) => {
                if let Err(error) = listen::tls(chain, key, config.tls_only_hybrid) {
                    self.wrong(place, format!("tls.chain and tls.key: {error}"));
                }
            }
            (None, None) => {
                let loopback = config.listen.ip().is_loopback();
                if !loopback && !config.insecure {
                    let what = format!(
                        "listen: {} is not the loopback interface: set tls.chain and tls.key, or \
                         insecure where something before it speaks TLS",
                        config.listen
                    );
                    self.wrong(place, what);
                }
            }
            _ => self.wrong(place, "tls.chain and tls.key: one needs the other".into()),
        }
        let endpoint = &config.otlp_endpoint;
        if !endpoint.is_empty()
            && let Err(error) = traces::check(endpoint)
        {
            self.wrong(place, format!("otlp.endpoint: {error}"));
        }
        let bytes = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let least = Limits::least_body_bytes(bytes(config.batch_bytes));
        if bytes(config.body_bytes) < least {
            let what = format!(
                "limits.body-bytes: with limits.batch-bytes = {} the largest batch is never taken below {least}",
                config.batch_bytes
            );
            self.wrong(place, what);
        }
    }

    /// The settings, if nothing is wrong.
    ///
    /// Errors: `E-CONFIG` with the first mistake and how many there are.
    pub fn config(self) -> Result<Config> {
        let Some(Mistake { place, what }) = self.mistakes.first() else { return Ok(self.config) };
        let more = match self.mistakes.len() - 1 {
            0 => String::new(),
            n => format!(" ({n} more: see symbolon config check)"),
        };
        Err(Error::new(Kind::Config, format!("{place}: {what}{more}")))
    }
}

/// Keys with dots, where they stand, and their values as text where they are plain.
fn flatten(prefix: &str, table: &DeTable<'_>, out: &mut Vec<(String, usize, Option<String>)>) {
    for (key, value) in table {
        let (name, at) = (format!("{prefix}{}", key.get_ref()), key.span().start);
        let text = match value.get_ref() {
            DeValue::Table(inner) => {
                flatten(&format!("{name}."), inner, out);
                continue;
            }
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Boolean(value) => Some(value.to_string()),
            DeValue::Float(value) => Some(value.as_str().replace('_', "")),
            DeValue::Integer(value) => {
                let number = i64::from_str_radix(&value.as_str().replace('_', ""), value.radix());
                Some(number.map_or_else(|_| value.as_str().to_owned(), |n| n.to_string()))
            }
            DeValue::Datetime(_) | DeValue::Array(_) => None,
        };
        out.push((name, at, text));
    }
}

/// A flag for each setting.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// In the order of the table.
    values: Vec<Option<String>>,
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let value = |setting: &Setting| matches.get_one::<String>(setting.name).cloned();
        Ok(Self { values: SETTINGS.iter().map(value).collect() })
    }

    fn update_from_arg_matches(
        &mut self,
        matches: &ArgMatches,
    ) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Flags {
    fn augment_args(mut command: clap::Command) -> clap::Command {
        let default = Config::default();
        for setting in SETTINGS {
            let shown = (setting.show)(&default);
            let is_bool = matches!(shown.as_str(), "true" | "false");
            let mut argument = Arg::new(setting.name)
                .long(setting.flag())
                .help(format!("{} [default: {shown}]", setting.help))
                .action(ArgAction::Set)
                .value_name("VALUE")
                .allow_hyphen_values(true);
            if is_bool {
                argument = argument.num_args(0..=1).default_missing_value("true");
            }
            command = command.arg(argument);
        }
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl Config {
    /// When batches leave.
    pub fn strategy(&self) -> Strategy {
        let wait = Duration::from_micros(self.batch_wait_us);
        match self.batch_strategy {
            Choice::Window => Strategy::Window { wait },
            // In range by its own.
            Choice::Size => Strategy::Size { size: self.batch_size as u32, wait },
            Choice::Adaptive => {
                Strategy::Adaptive { p99: Duration::from_micros(self.batch_target_us) }
            }
        }
    }
}

/// Look at the server's settings.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the settings that `symbolon serve` would run with, and where each comes from, as TOML; and every
    /// mistake, with its place.
    ///
    /// Sources, the later ones outdoing the earlier: defaults, the file, variables such as
    /// SYMBOLON_SERVE_TLS_CHAIN, flags. Exit code 0 if nothing is wrong, 3 otherwise.
    Check {
        /// The settings' file, TOML.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        flags: Flags,
    },
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    let Command::Check { file, flags } = &arguments.command;
    let read = Read::new(file.as_deref(), std::env::vars_os(), flags)?;
    if output.is_json() {
        let settings: serde_json::Map<_, _> = SETTINGS
            .iter()
            .map(|setting| {
                let origin = read.origins.get(setting.name).map_or("default", String::as_str);
                let value = (setting.show)(&read.config);
                (setting.name.into(), serde_json::json!({ "value": value, "from": origin }))
            })
            .collect();
        let mistakes: Vec<_> = read
            .mistakes
            .iter()
            .map(|m| serde_json::json!({ "place": m.place, "what": m.what }))
            .collect();
        let line = serde_json::json!({ "settings": settings, "mistakes": mistakes });
        output.line(line.to_string())?;
    } else {
        for setting in SETTINGS {
            let origin = read.origins.get(setting.name).map_or("default", String::as_str);
            let line = format!("{} = {}", setting.name, (setting.show)(&read.config));
            output.line(format!("{line:<44} # {origin}"))?;
        }
        for Mistake { place, what } in &read.mistakes {
            output.line(format!("# wrong: {place}: {what}"))?;
        }
    }
    read.config().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, environment: &[(&str, &str)]) -> Read {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.toml");
        fs::write(&path, file).unwrap();
        let environment = environment.iter().map(|(k, v)| (k.into(), v.into()));
        let mut read = Read::new(Some(&path), environment, &Flags::default()).unwrap();
        let prefix = path.to_string_lossy().into_owned();
        for mistake in &mut read.mistakes {
            mistake.place = mistake.place.replace(&prefix, "s.toml");
        }
        read
    }

    #[test]
    fn later_sources_outdo_earlier_ones() {
        let file = "threshold = 0.25\n[limits]\nconnections = 1_0\nattempts = 0x10\n[batch]\nstrategy = \"size\"\n";
        let first = read(file, &[]);
        assert_eq!(first.mistakes, []);
        let Config { threshold, connections, attempts, batch_strategy, .. } = first.config;
        assert_eq!((threshold, connections, attempts), (0.25, 10, 16));
        assert_eq!(batch_strategy, Choice::Size);
        let second = read(file, &[("SYMBOLON_SERVE_LIMITS_CONNECTIONS", "20"), ("HOME", "/")]);
        assert_eq!((second.mistakes.len(), second.config.connections), (0, 20));
        assert_eq!(second.origins["limits.connections"], "the environment");
        let mut flags = Flags { values: vec![None; SETTINGS.len()] };
        let at = SETTINGS.iter().position(|s| s.name == "limits.connections").unwrap();
        flags.values[at] = Some("30".into());
        let environment = [("SYMBOLON_SERVE_LIMITS_CONNECTIONS".into(), "20".into())];
        let third = Read::new(None, environment, &flags).unwrap();
        assert_eq!(third.config.connections, 30);
    }

    #[test]
    fn every_mistake_is_found_with_its_place() {
        let file = "threshold = 1.5\nlisten = \"0.0.0.0:80\"\ncolour = 1\n\n[limits]\nconnections = 0\n\
                    attempts = [1]\n[tls]\nkey = \"k\"\n";
        let found =
            read(file, &[("SYMBOLON_SERVE_COLOUR", "1"), ("SYMBOLON_SERVE_INSECURE", "yes")]);
        let places: Vec<_> = found.mistakes.iter().map(|m| m.place.as_str()).collect();
        let expected = [
            "s.toml:1",
            "s.toml:3",
            "s.toml:6",
            "s.toml:7",
            "the environment",
            "the environment",
            "together",
        ];
        assert_eq!(places, expected, "{:?}", found.mistakes);
        assert_eq!(found.config().unwrap_err().kind(), Kind::Config);
        let broken = read("a = \nb = 2\n", &[]);
        assert_eq!(broken.mistakes[0].place, "s.toml:1");
    }

    #[test]
    fn only_the_loopback_interface_goes_without_tls() {
        assert_eq!(read("listen = \"[::1]:0\"", &[]).mistakes, []);
        assert_eq!(read("listen = \"192.0.2.1:0\"", &[]).mistakes.len(), 1);
        assert_eq!(read("listen = \"192.0.2.1:0\"\ninsecure = true", &[]).mistakes, []);
    }

    #[test]
    fn spans_go_to_a_collector_in_builds_that_can() {
        let wrong = |endpoint: &str| {
            let read = read(&format!("otlp.endpoint = \"{endpoint}\"\notlp.ratio = 0.5"), &[]);
            assert_eq!(read.config.otlp_ratio, 0.5);
            read.config().err().map(|error| (error.kind(), error.to_string()))
        };
        assert_eq!(wrong(""), None);
        let built = cfg!(feature = "otlp");
        match wrong("http://127.0.0.1:4318") {
            None => assert!(built),
            Some((kind, what)) => {
                assert!(!built && what.contains("without --features otlp"), "{what}");
                assert_eq!(kind, Kind::Config);
            }
        }
        let (kind, what) = wrong("https://127.0.0.1:4318").unwrap();
        assert_eq!((kind, what.contains("http://HOST:PORT")), (Kind::Config, built), "{what}");
        for ratio in ["1.1", "-0.1", "nan"] {
            assert_eq!(read(&format!("otlp.ratio = {ratio}"), &[]).mistakes.len(), 1, "{ratio}");
        }
    }

    #[test]
    fn there_is_room_for_the_largest_batch() {
        let read = |batch: u64, body: u64| {
            let file = format!("limits.batch-bytes = {batch}\nlimits.body-bytes = {body}\n");
            self::read(&file, &[]).mistakes
        };
        // Batches fill three quarters.
        let (batch, least) = (1 << 20, ((1_u64 << 20) + 4096 * 608).div_ceil(3) * 4);
        assert_eq!(read(batch, least), []);
        let mistakes = read(batch, least - 1);
        assert!(mistakes.len() == 1 && mistakes[0].what.contains(&least.to_string()));
        // Few bytes have few items.
        assert_eq!(read(1024, (1024 + 512_u64 * 608).div_ceil(3) * 4), []);
        assert_eq!(read(1 << 30, 1 << 30).len(), 1);
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let default = Config::default();
        let text: String = SETTINGS
            .iter()
            .map(|setting| format!("{} = {}\n", setting.name, (setting.show)(&default)))
            .collect();
        let again = read(&text, &[]);
        assert_eq!(again.mistakes, []);
        assert_eq!(again.config, default);
        assert_eq!(again.origins.len(), SETTINGS.len());
    }
}
