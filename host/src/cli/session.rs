//! `symbolon session`

use super::connect;
use super::output::Output;
use crate::error::{Error, Kind, Result};
use crate::families::mlkem::DecapsulationKey;
use crate::keyring::{Keyring, hex};
use crate::keys::{CustodianSeeds, Deployment, SigningKeys, SigningSeeds};
use crate::pools::{CertifiedSupply, Config, SignRefill};
use crate::random::random;
use crate::session::{
    Admit, Admitted, Channel, Client, DeviceKey, Epochs, KEY_KIND, Kind as Record, MAX_MESSAGE,
    Next, Presented, RECORD_OVERHEAD, RESUME_SIZE, RESUMED_SIZE, Refusal, Refused, Resumption,
    Server, Session, Settings, Step, frame, message,
};
use crate::signer::SignWindow;
use clap::Subcommand;
use serde_json::json;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use symbolon_core::attest::{Digest, Validity};
use symbolon_platform::clock::{self, Stopwatch};
use symbolon_platform::locked::{OnFailure, Options};

/// Try sessions: handshakes by ML-KEM-768 with keys made ahead, and tickets that resume them.
///
/// A device makes a session once, with a key that the deployment made ahead and signed, and with a signature
/// of its own. From then on a ticket brings it back: one message each way, no public-key arithmetic, and a few
/// microseconds of the server's time. A ticket is good once, and not at all when its session was revoked.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
// Each command's help stands at its arguments.
#[allow(missing_docs)]
enum Command {
    Device(Device),
    Try(Try),
    Connect(connect::Arguments),
}

/// Make a device's key: ML-DSA-65, in a file that only its owner may read.
///
/// Its digest, which is printed, is what the device is called: by it sessions are admitted and revoked.
/// A file that exists is not overwritten.
#[derive(clap::Args)]
struct Device {
    /// Where the key goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Make a session, use it, resume it, and see what is refused: client and server in one process, over TCP on
/// this machine.
///
/// Of each message its size is shown, and the time that the side that sends it took for it. Then come resumes,
/// a ticket that is used again, and one of a session that was revoked: both must be refused, or the command
/// ends with E-MISMATCH. Everybody is admitted here.
///
/// Examples: `symbolon session try`, with keys made for it; `symbolon keygen keys` and `symbolon session try
/// --dir keys` with a deployment's.
#[derive(clap::Args)]
struct Try {
    /// A deployment's directory, with custodian.key, a signing key and verify.key; by default keys are made
    /// for the trial, and not kept.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A device's key; by default one is made for the trial, and not kept.
    #[arg(long, value_name = "FILE")]
    device: Option<PathBuf>,
    /// How often to resume.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    resumes: u32,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    match &arguments.command {
        Command::Device(a) => device(a, output),
        Command::Try(a) => attempt(a, output),
        Command::Connect(a) => connect::run(a, output),
    }
}

fn device(arguments: &Device, output: &mut Output) -> Result<()> {
    let digest = hex(DeviceKey::create(&arguments.out)?.digest());
    let file = arguments.out.display().to_string();
    if output.is_json() {
        return output.line(json!({ "file": file, "device": digest }).to_string());
    }
    output.line(format!("made device {digest}: {file}"))
}

/// Admits everybody.
struct Everybody;

const EPOCHS: Epochs = Epochs { policy: 1, identity: 1 };

impl Admit for Everybody {
    fn admit(&self, _: &Digest, _: Presented<'_>) -> std::result::Result<Admitted, Refused> {
        Ok(Admitted {
            identity_epoch: EPOCHS.identity,
            lifetime: Duration::from_secs(3600),
            evidence: [0; 32],
        })
    }
}

/// Keys that are ready: two handshakes are made.
const KEYS: u32 = 4;
const MEMORY: Options = Options { on_failure: OnFailure::Degrade, huge: false };
const PROBE: usize = 512;
/// Nobody waits for longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One message, and what it cost its sender.
struct Line {
    what: &'static str,
    from: &'static str,
    bytes: usize,
    us: f64,
}

/// Both ends of a connection on this machine, and what went over it.
struct Wire {
    client: TcpStream,
    server: TcpStream,
    lines: Vec<Line>,
}

impl Wire {
    fn new() -> Result<Self> {
        let error = |e: io::Error| {
            Error::new(Kind::Session, format!("there is no connection on this machine: {e}"))
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(error)?;
        let client = TcpStream::connect(listener.local_addr().map_err(error)?).map_err(error)?;
        let (server, _) = listener.accept().map_err(error)?;
        for end in [&client, &server] {
            end.set_nodelay(true).map_err(error)?;
            end.set_read_timeout(Some(TIMEOUT)).map_err(error)?;
            end.set_write_timeout(Some(TIMEOUT)).map_err(error)?;
        }
        Ok(Self { client, server, lines: Vec::new() })
    }

    fn upstream(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        frame::write(&mut self.client, message)?;
        frame::read(&mut self.server, MAX_MESSAGE)
    }

    fn downstream(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        frame::write(&mut self.server, message)?;
        frame::read(&mut self.client, MAX_MESSAGE)
    }

    fn note(&mut self, what: &'static str, from: &'static str, bytes: usize, us: f64) {
        self.lines.push(Line { what, from, bytes, us });
    }
}

/// A session that was made.
struct Made {
    session: Session,
    resumption: Resumption,
    client: Channel,
    server: Channel,
}

fn handshake(wire: &mut Wire, server: &Server, client: &Client<'_>) -> Result<Made> {
    let (mut hello, mut offer, mut begin, mut welcome) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut at_server, mut at_client) = (Channel::new(), Channel::new());
    let mut watch = Stopwatch::start();
    let greeted = client.hello(&mut hello)?;
    wire.note("hello", "client", hello.len(), watch.lap());
    let got = wire.upstream(&hello)?;

    watch.lap();
    let offered = server.offer(&got, &mut offer)?;
    wire.note("offer", "server", offer.len(), watch.lap());
    let got = wire.downstream(&offer)?;

    watch.lap();
    let begun = client.begin(greeted, &got, Presented::Fingerprint(b"trial"), &mut begin)?;
    wire.note("begin", "client", begin.len(), watch.lap());
    let got = wire.upstream(&begin)?;

    watch.lap();
    let step = offered.begin(&got, &mut at_server, &mut welcome)?;
    let Step::Welcome(session) = step else { return Err(Refusal::Identity.into()) };
    wire.note("welcome", "server", welcome.len(), watch.lap());
    let got = wire.downstream(&welcome)?;

    let Next::Welcome(resumption) = begun.next(&got, &mut at_client)? else {
        return Err(Refusal::Identity.into());
    };
    Ok(Made { session, resumption, client: at_client, server: at_server })
}

/// A record from one to the other.
fn record(wire: &mut Wire, made: &mut Made) -> Result<()> {
    let mut out = [0; PROBE + RECORD_OVERHEAD];
    let mut watch = Stopwatch::start();
    let size = made.client.seal(Record::Probe, &[1; PROBE], &mut out)?;
    wire.note("probe", "client", size, watch.lap());
    let mut got = wire.upstream(out.get(..size).unwrap_or_default())?;
    let (_, probe) = made.server.open(&mut got)?;
    let mut answer = [0; 1 + RECORD_OVERHEAD];
    watch.lap();
    let size = made.server.seal(Record::Answer, probe.get(..1).unwrap_or_default(), &mut answer)?;
    wire.note("answer", "server", size, watch.lap());
    let mut got = wire.downstream(answer.get(..size).unwrap_or_default())?;
    made.client.open(&mut got)?;
    Ok(())
}

/// The median of many times.
pub fn median(mut us: Vec<f64>) -> f64 {
    us.sort_by(f64::total_cmp);
    us.get(us.len() / 2).copied().unwrap_or_default()
}

struct Resumes {
    next: Resumption,
    /// The last message that was answered.
    used: [u8; RESUME_SIZE],
    client_us: f64,
    server_us: f64,
}

fn resume(wire: &mut Wire, server: &Server, mut next: Resumption, count: u32) -> Result<Resumes> {
    let (mut used, mut answer) = ([0; RESUME_SIZE], [0; RESUMED_SIZE]);
    let (mut at_server, mut at_client) = (Channel::new(), Channel::new());
    let (mut by_client, mut by_server) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let mut watch = Stopwatch::start();
        let resuming = next.resume(&mut used)?;
        by_client.push(watch.lap());
        let got = wire.upstream(&used)?;
        watch.lap();
        server.resume(&got, &mut at_server, &mut answer)?;
        by_server.push(watch.lap());
        let got = wire.downstream(&answer)?;
        next = resuming.finish(&got, &mut at_client)?;
    }
    Ok(Resumes { next, used, client_us: median(by_client), server_us: median(by_server) })
}

/// What the client is told when it sends this. Errors: `E-MISMATCH` if it is answered.
fn refusal(wire: &mut Wire, server: &Server, resume: &[u8], expected: Refusal) -> Result<Error> {
    let got = wire.upstream(resume)?;
    let mut out = [0; RESUMED_SIZE];
    let answer = match server.resume(&got, &mut Channel::new(), &mut out) {
        Ok(_) => out.to_vec(),
        Err(refusal) => message::refused(refusal).to_vec(),
    };
    let got = wire.downstream(&answer)?;
    match message::read_refused(&got) {
        Ok(refusal) if refusal == expected => Ok(refusal.into()),
        _ => Err(Error::new(Kind::Mismatch, "a ticket that is worth nothing was not refused")),
    }
}

fn attempt(arguments: &Try, output: &mut Output) -> Result<()> {
    let (keys, ring) = signers(arguments.dir.as_deref())?;
    let device = match &arguments.device {
        Some(path) => DeviceKey::load(path)?,
        None => DeviceKey::draw()?,
    };
    let deployment = keys.deployment();
    let config = Config::fixed::<DecapsulationKey>(KEYS, MEMORY);
    let signs: Arc<dyn SignRefill> = Arc::new(keys);
    let supply = CertifiedSupply::start(config, KEY_KIND, signs, || Ok(()))?;
    let mut watch = Stopwatch::start();
    supply.fill(&mut supply.desk(()), &mut |_| ())?;
    let made_us = watch.lap() / f64::from(KEYS);
    let settings = Settings { sessions: 16, memory: MEMORY, ..Settings::default() };
    let server =
        Server::start(deployment, Arc::new(supply), Arc::new(Everybody), EPOCHS, settings)?;
    if let Some(reason) = server.degraded() {
        output.warn(&format!("keys are in memory that is not protected: {reason}"));
    }
    let client = Client { deployment, ..Client::new(&device, &ring, 1)? };

    let mut wire = Wire::new()?;
    let mut made = handshake(&mut wire, &server, &client)?;
    record(&mut wire, &mut made)?;
    let Made { session, resumption, .. } = made;
    let resumes = resume(&mut wire, &server, resumption, arguments.resumes)?;
    let spent = refusal(&mut wire, &server, &resumes.used, Refusal::Spent)?;
    let mut message = [0; RESUME_SIZE];
    resumes.next.resume(&mut message)?;
    server.revoke(session.id);
    let revoked = refusal(&mut wire, &server, &message, Refusal::Revoked)?;

    let tenth = |us: f64| (us * 10.0).round() / 10.0;
    let hundredth = |us: f64| (us * 100.0).round() / 100.0;
    if output.is_json() {
        let messages: Vec<_> = wire
            .lines
            .iter()
            .map(|l| json!({ "message": l.what, "from": l.from, "bytes": l.bytes, "us": tenth(l.us) }))
            .collect();
        let line = json!({
            "deployment": hex(&deployment), "device": hex(device.digest()),
            "session": session.id.to_string(), "key_made_us": tenth(made_us),
            "messages": messages,
            "resume": {
                "count": arguments.resumes, "request_bytes": RESUME_SIZE, "answer_bytes": RESUMED_SIZE,
                "client_us": hundredth(resumes.client_us), "server_us": hundredth(resumes.server_us),
            },
            "refused": { "spent": spent.to_string(), "revoked": revoked.to_string() },
        });
        return output.line(line.to_string());
    }
    output.line(format!("device {}", hex(device.digest())))?;
    output.line(format!("a key was made ahead, and certified, in {made_us:.0} us"))?;
    for Line { what, from, bytes, us } in &wire.lines {
        output.line(format!("  {what:<8} from the {from}  {bytes:>6} bytes  {us:>9.1} us"))?;
    }
    output.line(format!(
        "resumed {} times: {RESUME_SIZE} bytes and {RESUMED_SIZE} back, {:.2} us of the server's time \
         and {:.2} us of the client's to ask (medians)",
        arguments.resumes, resumes.server_us, resumes.client_us,
    ))?;
    output.line(format!("a ticket used again: {spent}"))?;
    output.line(format!("a revoked session's: {revoked}"))
}

/// The keys that sign, and what they verify under.
fn signers(dir: Option<&Path>) -> Result<(SigningKeys, Keyring)> {
    let Some(dir) = dir else {
        let deployment = Deployment { id: random()?, epoch: 1 };
        let keys = SigningSeeds::draw(deployment, Validity::ALWAYS)?.keys()?;
        let ring = Keyring::parse(&keys.public(), Path::new("the trial's keyring"))?;
        return Ok((keys, ring));
    };
    let deployment = CustodianSeeds::load(dir)?.deployment;
    let keys = SigningKeys::load(dir, deployment, clock::unix_ms())?;
    Ok((keys, Keyring::load(dir, None)?))
}
