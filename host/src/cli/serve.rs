//! `symbolon serve`

use super::config::{Config, Flags, Read};
use super::model::{Model, name};
use super::output::Output;
use super::{KeyUse, Window, signing_json, signing_line};
use crate::batch::Pipeline;
use crate::batching::Settings as Batching;
use crate::error::{Error, Kind, Result};
use crate::families::mlkem::DecapsulationKey;
use crate::gateway::Gateway;
use crate::identity::registry::{self, DEFAULT_DEPTH, Registry};
use crate::identity::{Credential, Gate, gate};
use crate::isa;
use crate::keyring::VERIFY;
use crate::keys::{self, CustodianSeeds, ParameterSet, SigningKeys};
use crate::log::Log;
use crate::pools::Config as Supply;
use crate::private_file;
use crate::server::access::Access;
use crate::server::attempts::Attempts;
use crate::server::decide;
use crate::server::idempotency::{self, Idempotency};
use crate::server::listen::{self, Settings};
use crate::server::meter::Allowance;
use crate::server::roster::{Registrar, Roster};
use crate::server::sessions::{self, Sessions};
use crate::server::traces::Traces;
use crate::server::{self, Limits, Parts};
use crate::session::{self, DeviceKey};
use crate::signer::Signer;
use crate::store::{Templates, Writer};
use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use symbolon_core::bfv::{Q54, Q81};
use symbolon_core::matching::{Layout, Threshold};
use symbolon_platform::locked::{OnFailure, Options};
use symbolon_platform::{clock, threads};
use zeroize::Zeroizing;

/// People of the demonstration, and the one who has a device and a credential.
const DEMO_PEOPLE: u64 = 1024;
const DEMO_PERSON: u64 = 3;
const DEMO_DEVICE: &str = "demo.device";
const DEMO_CREDENTIAL: &str = "demo.credential";
const DEMO_EMBEDDING: &str = "demo.embedding";
const DEMO_PROOF: &str = "demo.proof";

/// Files that are open beside connections, and some to spare.
const OWN_FILES: u64 = 64;

/// Serve authentication over HTTP.
///
/// What is at which address stands at /docs and in /openapi.json. On the loopback interface it speaks plain HTTP; elsewhere
/// TLS 1.3, with hybrid post-quantum key agreement. Without API keys (`symbolon apikey create`) anybody is
/// let in, on the loopback interface only. SIGTERM or SIGINT stop it in order: what was taken in is answered, the log is
/// closed, the exit code is 0. A second signal ends it at once. SIGHUP changes nothing: settings are read at the start, and API
/// keys whenever their file changes. Where log, store or registry cannot be written any more it stops
/// likewise, with exit code 2: it is to be started anew. Exit code 3 is for settings that are wrong, which that does not mend.
///
/// Settings come from --file, from variables such as SYMBOLON_SERVE_LISTEN, and from flags; `symbolon config
/// check` prints them.
#[derive(clap::Args)]
pub struct Arguments {
    /// The settings' file, TOML.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Serve model people from a temporary directory, and print a command that authenticates one.
    #[arg(long, conflicts_with = "store")]
    demo: bool,
    #[command(flatten)]
    flags: Flags,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    let mut config =
        Read::new(arguments.file.as_deref(), std::env::vars_os(), &arguments.flags)?.config()?;
    logging(&config);
    let mut model = None;
    if arguments.demo {
        let made = Model::new(1, DEMO_PEOPLE, 128, ParameterSet::Q54)?;
        made.enrol(output)?;
        demo_device(&made)?;
        config.store = Some(made.dir().to_owned());
        config.log = None;
        model = Some(made);
    }
    let Some(dir) = config.store.clone() else {
        let message = "store: the deployment's directory is needed, or --demo";
        return Err(Error::new(Kind::Config, message));
    };
    let seeds = CustodianSeeds::load(&dir)?;
    let server = Server { config: &config, dir: &dir, seeds: &seeds, model: model.as_ref() };
    match seeds.set {
        ParameterSet::Q54 => server.run::<Q54>(output),
        ParameterSet::Q81 => server.run::<Q81>(output),
    }
}

/// Gives one of the model people a device and a credential, whose leaf is enrolled.
fn demo_device(model: &Model) -> Result<()> {
    let dir = model.dir();
    DeviceKey::create(&dir.join(DEMO_DEVICE))?;
    let credential = Credential::draw(b"")?;
    credential.save(&dir.join(DEMO_CREDENTIAL))?;
    let mut embedding = Zeroizing::new(vec![0.0; model.population.dims()]);
    model.population.capture(DEMO_PERSON, 2, &mut embedding)?;
    let text = Zeroizing::new(json!(*embedding).to_string());
    private_file::create(&dir.join(DEMO_EMBEDDING), text.as_bytes())?;
    Registry::create(dir, DEFAULT_DEPTH, model.deployment())?;
    Registry::open(dir)?.enrol(&[(name(DEMO_PERSON), credential.leaf())])
}

/// To standard error, for people or as JSON. No identity, embedding or key is ever logged.
fn logging(config: &Config) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(config.log_level.filter())
        .with_writer(std::io::stderr)
        .with_target(false)
        // Said on standard error, which is what fails, it would panic.
        .log_internal_errors(false);
    // There is one already where this is a test's process.
    let _ = if config.log_json { builder.json().try_init() } else { builder.try_init() };
}

struct Server<'a> {
    config: &'a Config,
    dir: &'a Path,
    seeds: &'a CustodianSeeds,
    model: Option<&'a Model>,
}

impl Server<'_> {
    fn run<const L: usize>(&self, output: &mut Output) -> Result<()> {
        let (config, dir) = (self.config, self.dir);
        let kernels = isa::kernels()?;
        keys::check_public::<L>(dir, kernels, self.seeds)?;
        let access = Access::load(dir)?;
        if !access.is_required() {
            if !config.listen.ip().is_loopback() {
                let message = "listen: elsewhere than on the loopback interface nobody is let in without an API \
                               key: make one with symbolon apikey create";
                return Err(Error::new(Kind::Config, message));
            }
            output
                .warn("there are no API keys: anybody on this machine may enrol and authenticate");
        }

        #[cfg(feature = "lab")]
        output.warn(
            "this is a lab build: it tells scores, and who asks often enough learns templates",
        );
        let store = Writer::open(dir)?;
        let dims = store.dims();
        let layout =
            Layout::for_dims(dims).map_err(|e| Error::new(Kind::Dimension, e.to_string()))?;
        let threshold = Threshold::from_cosine(layout, config.threshold)
            .map_err(|e| Error::new(Kind::Threshold, e.to_string()))?;
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let allowance = Allowance::new(small(config.attempts), minutes(config.attempts_minutes));
        let attempts = Arc::new(Attempts::start(dir, allowance)?);
        let bar = output.progress("loading", usize::try_from(store.people()).unwrap_or(0));
        let roster = Arc::new(Roster::load(&store, layout, &attempts, &mut || bar.inc(1))?);
        bar.finish_and_clear();
        tracing::info!(people = roster.len(), dims, "the roster is loaded");

        let deployment = self.seeds.deployment;
        let signing = SigningKeys::load(dir, deployment, clock::unix_ms())?;
        let key_use = KeyUse {
            key_batches: small(config.keys_batches),
            key_minutes: small(config.keys_minutes),
            require_locked_memory: config.keys_locked,
        };
        let custodian = key_use.custodian::<L>(kernels, self.seeds, output)?;
        // The log last: what is refused before it changes nothing.
        let log = config.log.as_deref().unwrap_or(dir);
        let mut log = Log::create_or_open(log, deployment.id, self.seeds.seal_key())?;
        let keep = (config.receipts_keep_parts > 0).then(|| large(config.receipts_keep_parts));
        log.divide_at(config.receipts_part_mb << 20, keep);
        let handle = log.handle();
        let window = Window {
            window_ms: config.window_ms,
            window_batches: u16::try_from(config.window_batches).unwrap_or(u16::MAX),
        };
        let signing_until_ms = signing.not_after_ms();
        let signing = Arc::new(signing);
        let sessions = self.sessions(Arc::clone(&signing), output)?;
        let signer = Arc::new(Signer::start(log, signing, window.settings())?);
        let pipeline = Pipeline::new(kernels, layout, threshold, custodian, Arc::clone(&signer));
        let cores = if config.threads_pin {
            threads::cores().map_err(|e| {
                Error::new(Kind::Io, format!("the system does not say which cores there are: {e}"))
            })?
        } else {
            Vec::new()
        };
        let batching = Batching {
            cores,
            capacity: large(config.batch_queue),
            ..Batching::new(large(config.threads_workers), config.strategy())
        };
        let registrar =
            Registrar::start(Box::new(store), layout, Arc::clone(&roster), Arc::clone(&attempts))?;
        let parts = Parts {
            dir: dir.to_owned(),
            dims,
            signing_until_ms,
            gateway: Gateway::new(kernels, layout),
            layout,
            roster,
            registrar,
            attempts,
            decider: decide::start(pipeline, &batching)?,
            signer,
            log: handle,
            access,
            idempotency: Idempotency::new(idempotency::Limits {
                entries: large(config.idempotency_entries),
                bytes: large(config.idempotency_bytes),
                time: minutes(config.idempotency_minutes),
            })?,
            sessions,
            traces: self.traces()?,
        };
        let metrics = server::run(parts, self.limits(), &self.sockets()?, |address| {
            self.ready(address, output)
        })?;
        if output.is_json() {
            return output.line(json!({ "signing": signing_json(&metrics) }).to_string());
        }
        output.line(signing_line(&metrics))
    }

    /// Sessions, where there is a registry of identities.
    fn sessions(
        &self,
        signing: Arc<SigningKeys>,
        output: &mut Output,
    ) -> Result<Option<Arc<Sessions>>> {
        let config = self.config;
        if !self.dir.join(registry::FILE).exists() {
            return Ok(None);
        }
        let registry = Registry::open(self.dir)?;
        let deployment = self.seeds.deployment;
        if registry.deployment() != deployment.id {
            let message = "the registry of identities is another deployment's";
            return Err(Error::new(Kind::Config, message).in_file(registry::FILE));
        }
        let on_failure = if config.keys_locked { OnFailure::Refuse } else { OnFailure::Degrade };
        let memory = Options { on_failure, huge: false };
        let lifetime = Duration::from_secs(60 * config.sessions_minutes);
        let gate = Gate::new(
            Arc::new(registry),
            gate::Settings {
                capacity: large(config.identities_verdicts),
                session: lifetime,
                ..gate::Settings::default()
            },
        )?;
        let keys = small(config.sessions_keys);
        let settings = session::Settings {
            sessions: small(config.sessions_places),
            lifetime,
            memory,
            ..session::Settings::default()
        };
        let limits = sessions::Limits {
            handshakes: keys,
            publish: Duration::from_secs(config.identities_publish_seconds),
            overlap_ms: config.identities_overlap_hours * 60 * 60 * 1000,
            policy: deployment.epoch,
        };
        let supply = Supply { replenishers: 1, ..Supply::fixed::<DecapsulationKey>(keys, memory) };
        let sessions = Sessions::start(gate, signing, supply, settings, limits)?;
        let supply = sessions.supply();
        let bar = output.progress("keys for sessions", keys as usize);
        supply.fill(&mut supply.desk(()), &mut |progress| {
            bar.set_position(progress.made.into());
        })?;
        bar.finish_and_clear();
        if let Some(reason) = sessions.server().degraded() {
            output.warn(&format!("ticket keys are in memory that is not protected: {reason}"));
        }
        Ok(Some(sessions))
    }

    /// Spans, where there is a collector.
    fn traces(&self) -> Result<Option<Traces>> {
        let config = self.config;
        let start = || Traces::start(&config.otlp_endpoint, config.otlp_ratio, self.scheme());
        (!config.otlp_endpoint.is_empty()).then(start).transpose()
    }

    fn scheme(&self) -> &'static str {
        if self.config.tls_chain.is_some() { "https" } else { "http" }
    }

    fn limits(&self) -> Limits {
        Limits {
            batch_bytes: large(self.config.batch_bytes),
            body_bytes: large(self.config.body_bytes),
            body_time: Duration::from_millis(self.config.body_ms),
            deadline: Duration::from_millis(self.config.deadline_ms),
        }
    }

    fn sockets(&self) -> Result<Settings> {
        let config = self.config;
        let files = config.connections.saturating_add(OWN_FILES);
        if let Some(most) = open_files().filter(|most| *most < files) {
            tracing::warn!(
                most,
                "open files are too few for limits.connections: {files} are needed"
            );
        }
        let tls = match (&config.tls_chain, &config.tls_key) {
            (Some(chain), Some(key)) => Some(listen::tls(chain, key, config.tls_only_hybrid)?),
            _ => None,
        };
        Ok(Settings {
            listen: config.listen,
            tls,
            threads: large(config.threads_http),
            connections: large(config.connections),
            per_address: large(config.connections_per_address),
            header_time: Duration::from_millis(config.header_ms),
            idle_time: Duration::from_millis(config.idle_ms),
            drain_delay: Duration::from_secs(config.drain_delay_seconds),
            drain_time: Duration::from_secs(config.drain_seconds),
        })
    }

    /// Says where it listens; for the demonstration, how to authenticate.
    fn ready(&self, address: SocketAddr, output: &mut Output) -> Result<()> {
        let scheme = self.scheme();
        let base = format!("{scheme}://{address}");
        tracing::info!(%address, scheme, "listening");
        if output.is_json() {
            output.line(json!({ "listening": base }).to_string())?;
        } else {
            output.line(format!("listening on {base}"))?;
        }
        if let Some(model) = self.model {
            let mut embedding = Zeroizing::new(vec![0.0; model.population.dims()]);
            model.population.capture(DEMO_PERSON, 1, &mut embedding)?;
            let values: Vec<_> = embedding.iter().map(|value| format!("{value:.4}")).collect();
            let body = format!(
                "{{\"id\":\"{}\",\"embedding\":[{}]}}",
                name(DEMO_PERSON),
                values.join(",")
            );
            let head = "-H 'content-type: application/json'";
            output.line(format!("curl -s {base}/v1/authentications {head} -d '{body}'"))?;
            let file = |name: &str| self.dir.join(name).display().to_string();
            output.line(format!(
                "symbolon session connect --url {base} --keys {} --device {} --credential {} --id {} --proof {} --embedding {}",
                file(VERIFY), file(DEMO_DEVICE), file(DEMO_CREDENTIAL), name(DEMO_PERSON), file(DEMO_PROOF),
                file(DEMO_EMBEDDING),
            ))?;
        }
        output.finish()
    }
}

/// How many files this process may have open, where the system says so.
fn open_files() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A setting that its range keeps below this.
fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn large(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
