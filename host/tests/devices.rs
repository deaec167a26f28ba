//! Devices at a server: identities, proofs, sessions, and a command that is such a device.
#![cfg(unix)]

mod common;
#[path = "common/serving.rs"]
mod serving;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{command, symbolon};
use serde_json::{Value, json};
use serving::{Answer, Client, IDLE, Server, attempt, capture, deployment};
use symbolon_core::attest::Receipt;
use symbolon_host::identity::gate::{Claim, fingerprint_message, proof_message};
use symbolon_host::identity::registry::Registry;
use symbolon_host::identity::statement::{Context, proof_digest};
use symbolon_host::identity::{Credential, Prover, tree};
use symbolon_host::keyring::Keyring;
use symbolon_host::session::{
    Channel, DeviceKey, Kind as Record, Next, Presented, RECORD_OVERHEAD, RESUME_SIZE, Resumption,
};
use tempfile::TempDir;

/// A device: its key, and its credential's proof.
struct Device {
    key: DeviceKey,
    claim: Claim,
    proof: Vec<u8>,
}

const SESSION: &[(&str, &str)] = &[("content-type", "application/vnd.symbolon.session")];

impl Client {
    /// Enrols a fresh credential under an id, publishes it, and proves it for a fresh device.
    fn device(&mut self, ring: &Keyring, id: &str) -> Device {
        let key = DeviceKey::draw().unwrap();
        let credential = Credential::draw(b"staff").unwrap();
        let leaf = json!({ "leaf": symbolon_host::keyring::hex(&credential.leaf().encode()) });
        let (address, body) = (format!("/v1/identities/{id}"), leaf.to_string());
        assert_eq!(self.send("PUT", &address, &[], body.as_bytes()).status, 202);
        let path = format!("{address}/path");
        self.get(&path).problem(409, "E-UNPUBLISHED");
        assert_eq!(self.post("/v1/epochs", &json!({})).status, 201);
        let place = tree::Path::parse(&self.get(&path).body).unwrap();
        let deployment = ring.entries()[0].deployment.id;
        let context = Context { deployment, device: *key.digest(), epoch: place.epoch };
        let (statement, proof) =
            Prover::new().prove(&credential, &place.place(), &context).unwrap();
        let claim = Claim { epoch: place.epoch, nullifier: statement.nullifier };
        Device { key, claim, proof }
    }

    /// A handshake: the session's address, what resumes it, its channel, and whether the proof was asked for.
    fn handshake(
        &mut self,
        ring: &Keyring,
        device: &Device,
    ) -> Result<(String, Resumption, Channel, bool), Answer> {
        let client = symbolon_host::session::Client::new(&device.key, ring, 1).unwrap();
        let (mut message, mut channel) = (Vec::new(), Channel::new());
        let greeted = client.hello(&mut message).unwrap();
        let offer = self.send("POST", "/v1/sessions", SESSION, &message);
        if offer.status != 201 {
            return Err(offer);
        }
        let address = offer.header("location").unwrap().to_owned();
        let known = fingerprint_message(&device.claim, &proof_digest(&device.proof));
        let presented = Presented::Fingerprint(&known);
        let begun = client.begin(greeted, &offer.body, presented, &mut message).unwrap();
        let mut answer = self.send("POST", &address, SESSION, &message);
        let mut begun = Some(begun);
        for asked in [false, true] {
            if !matches!(answer.status, 200 | 201) {
                return Err(answer);
            }
            match begun.take().unwrap().next(&answer.body, &mut channel).unwrap() {
                Next::Welcome(resumption) => {
                    let session = answer.header("location").unwrap().to_owned();
                    return Ok((session, resumption, channel, asked));
                }
                Next::Ask(next) => {
                    let shown = proof_message(&device.claim, &device.proof);
                    begun = Some(next.prove(&shown, &mut message).unwrap());
                    answer = self.send("POST", &address, SESSION, &message);
                }
            }
        }
        panic!("asked twice");
    }

    fn record(&mut self, session: &str, record: &[u8]) -> Answer {
        self.send("POST", &format!("{session}/authentications"), SESSION, record)
    }

    /// What is answered to an attempt inside a session.
    fn inside(&mut self, session: &str, channel: &mut Channel, attempt: &Value) -> Value {
        let answer = self.record(session, &sealed(channel, attempt));
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut record = answer.body;
        let (kind, text) = channel.open(&mut record).unwrap();
        assert_eq!(kind, Record::Answer);
        serde_json::from_slice(text).unwrap()
    }
}

fn sealed(channel: &mut Channel, attempt: &Value) -> Vec<u8> {
    let text = attempt.to_string();
    let mut record = vec![0; text.len() + RECORD_OVERHEAD];
    channel.seal(Record::Probe, text.as_bytes(), &mut record).unwrap();
    record
}

/// A deployment with an empty registry, and its public keys.
fn with_registry() -> (TempDir, Keyring) {
    let dir = deployment();
    let ring = Keyring::load(dir.path(), None).unwrap();
    Registry::create(dir.path(), 20, ring.entries()[0].deployment.id).unwrap();
    (dir, ring)
}

#[test]
fn a_device_proves_once_then_comes_back_and_resumes() {
    let (dir, ring) = with_registry();
    let server = Server::start(dir.path(), IDLE);
    let mut client = server.client();
    client.enrol(0..2);
    let device = client.device(&ring, "person%200");

    let (session, _, mut channel, asked) = client.handshake(&ring, &device).unwrap();
    assert!(asked);
    let accepted = client.inside(&session, &mut channel, &attempt(0, 0));
    assert_eq!(accepted["accept"], true);
    let rejected = client.inside(&session, &mut channel, &attempt(1, 0));
    assert_eq!(rejected["accept"], false);
    let unknown = client.inside(&session, &mut channel, &attempt(0, 7));
    assert_eq!((&unknown["status"], &unknown["code"]), (&json!(404), &json!("E-UNKNOWN-ID")));
    // The receipt names the proof.
    let bytes = client.receipt(&accepted);
    let (receipt, _) = Receipt::decode(&bytes).unwrap();
    let leaf = ring.verify(&receipt).unwrap();
    assert_eq!(leaf.proof, Some(proof_digest(&device.proof)));

    // Who comes back is known by the fingerprint.
    let (session, resumption, mut channel, asked) = client.handshake(&ring, &device).unwrap();
    assert!(!asked);
    assert_eq!(client.inside(&session, &mut channel, &attempt(0, 0))["accept"], true);
    let mut message = [0; RESUME_SIZE];
    let resuming = resumption.resume(&mut message).unwrap();
    let address = format!("{session}/resume");
    let answer = client.send("POST", &address, SESSION, &message);
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut channel = Channel::new();
    let next = resuming.finish(&answer.body, &mut channel).unwrap();
    assert_eq!(client.inside(&session, &mut channel, &attempt(0, 0))["accept"], true);
    // Once.
    client.send("POST", &address, SESSION, &message).problem(410, "E-TICKET");
    assert_eq!(client.inside(&session, &mut channel, &attempt(0, 0))["accept"], true);
    assert_eq!(client.metric("symbolon_sessions_opened_total"), 2.0);
    assert_eq!(client.metric("symbolon_sessions_resumed_total"), 1.0);
    assert_eq!(client.metric("symbolon_sessions_spent_total"), 1.0);
    assert_eq!(client.metric("symbolon_proofs_accepted_total"), 1.0);
    assert!(client.metric("symbolon_verdict_hits_total") >= 1.0);
    // One in 1,024 is timed, so that of these few perhaps none was.
    for quantile in ["0.5", "0.99"] {
        let name = format!("symbolon_verdict_lookup_seconds{{quantile=\"{quantile}\"}}");
        let seconds = client.metric(&name);
        assert!(seconds.is_nan() || (0.0..1.0).contains(&seconds), "{seconds}");
    }

    // A record that was sent before does not open, and ends the session.
    let record = sealed(&mut channel, &attempt(0, 0));
    assert_eq!(client.record(&session, &record).status, 200);
    client.record(&session, &record).problem(403, "E-SESSION");
    client.record(&session, &record).problem(404, "E-UNKNOWN-ID");
    next.resume(&mut message).unwrap();
    client.send("POST", &address, SESSION, &message).problem(410, "E-TICKET");

    // Ended by a record, and by the address.
    let (session, _, mut channel, _) = client.handshake(&ring, &device).unwrap();
    let mut record = [0; RECORD_OVERHEAD];
    channel.seal(Record::Close, b"", &mut record).unwrap();
    assert_eq!(client.record(&session, &record).status, 200);
    client.send("DELETE", &session, &[], b"").problem(404, "E-UNKNOWN-ID");
    let (session, ..) = client.handshake(&ring, &device).unwrap();
    assert_eq!(client.send("DELETE", &session, &[], b"").status, 204);
    assert_eq!(client.metric("symbolon_sessions"), 1.0);
    server.stop();
}

#[test]
fn who_is_removed_is_out_at_once() {
    let (dir, ring) = with_registry();
    let server = Server::start(dir.path(), IDLE);
    let mut client = server.client();
    client.enrol(0..2);
    let gone = client.device(&ring, "person%200");
    let other = client.device(&ring, "person%201");
    let (session, resumption, mut channel, _) = client.handshake(&ring, &gone).unwrap();
    assert_eq!(client.inside(&session, &mut channel, &attempt(0, 0))["accept"], true);

    assert_eq!(client.send("DELETE", "/v1/enrolments/person%200", &[], b"").status, 204);
    client.record(&session, &sealed(&mut channel, &attempt(0, 0))).problem(404, "E-UNKNOWN-ID");
    let mut message = [0; RESUME_SIZE];
    resumption.resume(&mut message).unwrap();
    let address = format!("{session}/resume");
    client.send("POST", &address, SESSION, &message).problem(410, "E-TICKET");
    // Neither fingerprint nor proof, of anybody: everybody proves anew.
    client.handshake(&ring, &gone).unwrap_err().problem(403, "E-SESSION");
    client.handshake(&ring, &other).unwrap_err().problem(403, "E-SESSION");
    client.get("/v1/identities/person%200/path").problem(404, "E-UNKNOWN-ID");
    assert_eq!(client.get("/v1/identities/person%201/path").status, 200);

    // An identity without a template goes by either address.
    client.device(&ring, "badge");
    assert_eq!(client.send("DELETE", "/v1/enrolments/badge", &[], b"").status, 204);
    client.send("DELETE", "/v1/enrolments/badge", &[], b"").problem(404, "E-UNKNOWN-ID");
    assert_eq!(client.send("DELETE", "/v1/identities/person%201", &[], b"").status, 204);
    assert_eq!(client.post("/v1/authentications", &attempt(1, 1)).json()["accept"], true);
    server.stop();
    // It outlives the server.
    let registry = Registry::open(dir.path()).unwrap();
    assert_eq!((registry.status().unwrap().enrolled, registry.current_epoch()), (0, 6));
}

#[test]
fn bad_sessions_are_problems_with_codes() {
    let (dir, ring) = with_registry();
    let server = Server::start(dir.path(), &[IDLE, &["--sessions-keys", "64"]].concat());
    let mut client = server.client();
    let post =
        |client: &mut Client, path: &str, body: &[u8]| client.send("POST", path, SESSION, body);
    for body in [&b""[..], b"x", &[2; 34], &[0; 34]] {
        post(&mut client, "/v1/sessions", body).problem(400, "E-REQUEST");
    }
    post(&mut client, "/v1/sessions", &[0; 2000]).problem(413, "E-TOO-LARGE");
    for id in ["00", "%ff"] {
        post(&mut client, &format!("/v1/handshakes/{id}"), b"").problem(400, "E-REQUEST");
    }
    let nobody = format!("/v1/handshakes/{}", "0".repeat(32));
    post(&mut client, &nobody, b"").problem(404, "E-UNKNOWN-ID");
    let text = [("content-type", "text/plain")];
    client.send("POST", "/v1/sessions", &text, b"").problem(415, "E-MEDIA-TYPE");
    for id in ["1", "%ff"] {
        let session = format!("/v1/sessions/{id}");
        post(&mut client, &format!("{session}/resume"), b"").problem(400, "E-REQUEST");
        client.record(&session, b"").problem(400, "E-REQUEST");
        client.send("DELETE", &session, &[], b"").problem(400, "E-REQUEST");
    }
    let session = format!("/v1/sessions/{}", "0".repeat(48));
    post(&mut client, &format!("{session}/resume"), &[7; 238]).problem(404, "E-UNKNOWN-ID");
    client.record(&session, &[0; 100]).problem(404, "E-UNKNOWN-ID");
    client.send("DELETE", &session, &[], b"").problem(404, "E-UNKNOWN-ID");
    client.send("PUT", "/v1/identities/a", &[], b"{").problem(400, "E-PARSE");
    client.send("PUT", "/v1/identities/a", &[], b"{\"leaf\":\"00\"}").problem(422, "E-LEAF");
    let zeros = json!({ "leaf": "0".repeat(64) }).to_string();
    client.send("PUT", "/v1/identities/a", &[], zeros.as_bytes()).problem(422, "E-LEAF");
    client.send("DELETE", "/v1/identities/a", &[], b"").problem(404, "E-UNKNOWN-ID");

    // Nobody does anything to a session who knows its number only.
    let device = client.device(&ring, "b");
    let (address, resumption, mut channel, _) = client.handshake(&ring, &device).unwrap();
    let (number, tag) = address.split_at(address.len() - 32);
    for guess in [number.to_owned(), format!("{number}{}", "0".repeat(32))] {
        let status = client.record(&guess, &[0; 100]).status;
        assert!(status == 400 || status == 404, "{status}");
        let status = client.send("DELETE", &guess, &[], b"").status;
        assert!(status == 400 || status == 404, "{status}");
    }
    assert_ne!(tag, "0".repeat(32));
    for size in [0, 1, 237, 238, 239] {
        let answer = post(&mut client, &format!("{address}/resume"), &vec![7; size]);
        answer.problem(400, "E-REQUEST");
    }
    let mine = client.inside(&address, &mut channel, &attempt(0, 0));
    assert_eq!(mine["code"], "E-UNKNOWN-ID");
    let mut message = [0; RESUME_SIZE];
    resumption.resume(&mut message).unwrap();
    assert_eq!(post(&mut client, &format!("{address}/resume"), &message).status, 200);

    // A proof that is another device's, then garbage where a proof is asked for: the handshake is over each time.
    let device = client.device(&ring, "a");
    let thief = Device { key: DeviceKey::draw().unwrap(), ..device };
    client.handshake(&ring, &thief).unwrap_err().problem(403, "E-SESSION");
    let garbage = Device { proof: vec![7; 39_000], ..thief };
    client.handshake(&ring, &garbage).unwrap_err().problem(403, "E-SESSION");
    assert!(client.metric("symbolon_proofs_refused_total") >= 2.0);
    // A begin that was altered on its way; the address is gone afterwards.
    let it = symbolon_host::session::Client::new(&garbage.key, &ring, 1).unwrap();
    let mut message = Vec::new();
    let greeted = it.hello(&mut message).unwrap();
    let offer = post(&mut client, "/v1/sessions", &message);
    let address = offer.header("location").unwrap().to_owned();
    it.begin(greeted, &offer.body, Presented::Fingerprint(b""), &mut message).unwrap();
    *message.last_mut().unwrap() ^= 1;
    post(&mut client, &address, &message).problem(403, "E-SESSION");
    post(&mut client, &address, &message).problem(404, "E-UNKNOWN-ID");
    // As many handshakes as there are keys; those who do not go on hold them.
    let mut answers = Vec::new();
    for _ in 0..80 {
        it.hello(&mut message).unwrap();
        answers.push(post(&mut client, "/v1/sessions", &message).status);
    }
    assert!(answers.contains(&429), "{answers:?}");
    assert_eq!(answers.iter().filter(|s| **s != 201 && **s != 429).count(), 0, "{answers:?}");
    server.stop();

    let plain = deployment();
    let server = Server::start(plain.path(), IDLE);
    let mut client = server.client();
    for (method, path) in [
        ("POST", "/v1/sessions"),
        ("POST", nobody.as_str()),
        ("DELETE", session.as_str()),
        ("GET", "/v1/identities/a/path"),
        ("POST", "/v1/epochs"),
    ] {
        client.send(method, path, &[], b"").problem(404, "E-NO-ROUTE");
    }
    server.stop();
}

#[test]
fn an_answer_that_nobody_waited_for_is_not_the_next_one_s() {
    let (dir, ring) = with_registry();
    let waits = ["--batch-strategy", "window", "--batch-wait-us", "700000"];
    let server = Server::start(dir.path(), &waits);
    let mut client = server.client();
    client.enrol(0..1);
    let device = client.device(&ring, "a");
    let end = Instant::now() + Duration::from_secs(30);
    let (address, resumption, mut channel, _) = client.handshake(&ring, &device).unwrap();
    let give_up = |channel: &mut Channel, count| {
        let mut gone = server.client();
        let probe = sealed(channel, &attempt(0, 0));
        gone.write("POST", &format!("{address}/authentications"), SESSION, &probe);
        while server.client().metric("symbolon_attempts_accepted_total") < count {
            assert!(Instant::now() < end);
        }
    };
    // Whoever resumes has a channel anew.
    give_up(&mut channel, 1.0);
    let mut message = [0; RESUME_SIZE];
    let resuming = resumption.resume(&mut message).unwrap();
    let answer = client.send("POST", &format!("{address}/resume"), SESSION, &message);
    let mut channel = Channel::new();
    resuming.finish(&answer.body, &mut channel).unwrap();
    assert_eq!(client.inside(&address, &mut channel, &attempt(1, 0))["accept"], false);
    // Whoever goes on in the old one has none.
    give_up(&mut channel, 3.0);
    let probe = sealed(&mut channel, &attempt(1, 0));
    let mut next = client.record(&address, &probe);
    while next.status == 429 {
        assert!(Instant::now() < end);
        next = client.record(&address, &probe);
    }
    next.problem(403, "E-SESSION");
    server.stop();
}

#[test]
fn the_command_line_is_a_device() {
    let (dir, _) = with_registry();
    let server = Server::start(dir.path(), IDLE);
    let mut client = server.client();
    client.enrol(0..1);
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    symbolon(["session", "device", "--out", &file("device")]).ok();
    let leaf = symbolon(["prove", "credential", &file("credential"), "--json"]).ok_json();
    let body = json!({ "leaf": leaf[0]["leaf"] }).to_string();
    let enrolled = client.send("PUT", "/v1/identities/person%200", &[], body.as_bytes());
    assert_eq!(enrolled.status, 202);
    assert_eq!(client.post("/v1/epochs", &json!({})).status, 201);
    fs::write(file("embedding"), json!(capture(0, 1)).to_string()).unwrap();

    let (url, keys) = (format!("http://{}", server.address), dir.path().join("verify.key"));
    let run = |id: &str, keys: &Path| {
        let mut command = command(["session", "connect", "--json", "--url", &url, "--id", id]);
        command.arg("--keys").arg(keys);
        for name in ["device", "credential", "proof", "embedding"] {
            command.args([format!("--{name}"), file(name)]);
        }
        common::Run::from(command.output().unwrap())
    };
    for asked in [true, false] {
        let line = run("person 0", &keys).ok_json().remove(0);
        assert_eq!(line["proof_asked_for"], asked);
        let bits: Vec<_> = line["decisions"].as_array().unwrap().iter().collect();
        assert!(bits.len() == 2 && bits.iter().all(|bit| bit["accept"] == true), "{line}");
        let steps: Vec<_> = line["steps"].as_array().unwrap().iter().map(|s| &s["step"]).collect();
        assert_eq!(steps.contains(&&json!("prove")), asked);
    }
    // Somebody else's keys, nobody's id, and a file that holds no proof.
    let other = deployment();
    let wrong = run("person 0", &other.path().join("verify.key"));
    assert!(wrong.code != Some(0) && wrong.stderr.contains("E-SESSION"), "{wrong:?}");
    let wrong = run("nobody", &keys);
    assert!(wrong.code != Some(0) && wrong.stderr.contains("E-UNKNOWN-ID"), "{wrong:?}");
    fs::write(file("proof"), "none").unwrap();
    let wrong = run("person 0", &keys);
    assert!(wrong.code != Some(0) && wrong.stderr.contains("holds no proof"), "{wrong:?}");
    server.stop();
}
