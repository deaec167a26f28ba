//! The server over real sockets: what clients get, and what is left when it is stopped or killed.
#![cfg(unix)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::{command, symbolon};
use serde_json::{Value, json};
use symbolon_core::attest::Receipt;
use symbolon_host::identity::gate::{Claim, fingerprint_message, proof_message};
use symbolon_host::identity::registry::Registry;
use symbolon_host::identity::statement::{Context, proof_digest};
use symbolon_host::identity::{Credential, Prover, tree};
use symbolon_host::keyring::Keyring;
use symbolon_host::keys::{self, ParameterSet};
use symbolon_host::server::access::{self, Role};
use symbolon_host::session::{
    Channel, DeviceKey, Kind as Record, Next, Presented, RECORD_OVERHEAD, RESUME_SIZE, Resumption,
};
use symbolon_host::store::Store;
use tempfile::TempDir;

const DIMS: usize = 128;

/// Uniform in -1 to 1, the same every time (splitmix64).
fn uniform(seed: u64) -> f64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as f64 / (u64::MAX / 2) as f64 - 1.0
}

/// A capture of a person: a cosine of some 0.99 with their others, of some 0.1 with anyone else's.
fn capture(person: usize, capture: usize) -> Vec<f64> {
    let at = |capture: usize, i: usize| uniform((capture << 40 | person << 20 | i) as u64 + 1);
    (0..DIMS).map(|i| at(0, i) + 0.1 * at(capture + 1, i)).collect()
}

fn person(i: usize) -> String {
    format!("person {i}")
}

/// An attempt of `who`'s, to be `claim`.
fn attempt(who: usize, claim: usize) -> Value {
    json!({ "id": person(claim), "embedding": capture(who, 1) })
}

fn enrolment(i: usize) -> Value {
    json!({ "id": person(i), "embedding": capture(i, 0) })
}

/// A deployment without people.
fn deployment() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    keys::create(dir.path(), ParameterSet::Q54, 1).unwrap();
    Store::create_or_open(dir.path(), DIMS).unwrap();
    dir
}

/// A running server.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(dir: &Path, flags: &[&str]) -> Self {
        let mut command = command(["serve", "--json", "--listen", "127.0.0.1:0"]);
        command.arg("--store").arg(dir).args(flags);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = ready["listening"].as_str().unwrap();
        let (_, address) = url.split_once("://").unwrap();
        Self { child, address: address.to_owned() }
    }

    fn client(&self) -> Client {
        Client::new(&self.address)
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Its exit code.
    fn ended(mut self) -> Option<i32> {
        let status = self.child.wait().unwrap();
        status.code()
    }

    fn stop(self) {
        self.signal("-TERM");
        assert_eq!(self.ended(), Some(0));
    }
}

/// A test that failed leaves nothing running.
impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A response.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.body.clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Requires a problem with this status and code.
    #[track_caller]
    fn problem(&self, status: u16, code: &str) {
        let kind = self.header("content-type");
        assert_eq!((self.status, kind), (status, Some("application/problem+json")), "{self:?}");
        let body = self.json();
        assert_eq!((&body["status"], &body["code"]), (&json!(status), &json!(code)), "{body}");
        assert!(self.header("x-request-id").is_some());
    }
}

/// A connection that is kept.
struct Client<S: Read + Write = TcpStream> {
    stream: BufReader<S>,
}

impl Client {
    fn new(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream: BufReader::new(stream) }
    }
}

impl<S: Read + Write> Client<S> {
    fn write(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        let stream = self.stream.get_mut();
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        stream.flush().unwrap();
    }

    /// `None` if the server closes instead.
    fn read(&mut self) -> Option<Answer> {
        let line = |stream: &mut BufReader<S>| {
            let mut line = String::new();
            let read = stream.read_line(&mut line).ok()?;
            (read != 0).then(|| line.trim_end().to_owned())
        };
        let status = line(&mut self.stream)?.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let header = line(&mut self.stream)?;
            let Some((name, value)) = header.split_once(": ") else { break };
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if let Some(length) = answer.header("content-length") {
            answer.body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut answer.body).ok()?;
        } else if answer.header("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(&line(&mut self.stream)?, 16).unwrap();
                let mut chunk = vec![0; size + 2];
                self.stream.read_exact(&mut chunk).ok()?;
                answer.body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    break;
                }
            }
        }
        Some(answer)
    }

    fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.write(method, path, headers, body);
        self.read().expect("an answer")
    }

    fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], body.to_string().as_bytes())
    }

    #[track_caller]
    fn enrol(&mut self, people: std::ops::Range<usize>) {
        for i in people {
            let answer = self.post("/v1/enrolments", &enrolment(i));
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }

    /// Waits for the receipt of a decision.
    #[track_caller]
    fn receipt(&mut self, decision: &Value) -> Vec<u8> {
        let path = decision["receipt"].as_str().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = self.get(path);
            if answer.status == 200 {
                return answer.body;
            }
            answer.problem(202, "E-NOT-SIGNED");
            assert!(answer.header("retry-after").is_some() && Instant::now() < end);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A number of /metrics.
    fn metric(&mut self, name: &str) -> f64 {
        let page = String::from_utf8(self.get("/metrics").body).unwrap();
        let line = page.lines().find(|line| line.split(' ').next() == Some(name));
        line.and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap()
    }
}

const IDLE: &[&str] = &["--batch-strategy", "window", "--batch-wait-us", "0"];

#[test]
fn from_enrolment_to_receipt_to_removal() {
    let dir = deployment();
    let server = Server::start(dir.path(), IDLE);
    let mut client = server.client();
    client.enrol(0..3);
    client.post("/v1/enrolments", &enrolment(1)).problem(409, "E-DUPLICATE-ID");

    let nonce = "000102030405060708090a0b0c0d0e0f";
    let mut genuine = attempt(1, 1);
    genuine["nonce"] = nonce.into();
    let accepted = client.post("/v1/authentications", &genuine);
    assert_eq!(accepted.status, 200);
    let accepted = accepted.json();
    let rejected = client.post("/v1/authentications", &attempt(2, 1)).json();
    assert_eq!((&accepted["accept"], &rejected["accept"]), (&json!(true), &json!(false)));
    let fields: Vec<_> = accepted.as_object().unwrap().keys().cloned().collect();
    // One bit and names: no score.
    assert_eq!(fields, ["accept", "request", "batch", "batch_number", "receipt"]);

    // Verified by the keys that the server gives, which are the deployment's.
    let keys = client.send("GET", "/v1/keys", &[("accept", "application/octet-stream")], b"");
    assert_eq!(keys.body, fs::read(dir.path().join("verify.key")).unwrap());
    let ring = Keyring::parse(&keys.body, Path::new("keys")).unwrap();
    for (decision, accept) in [(&accepted, true), (&rejected, false)] {
        let bytes = client.receipt(decision);
        let (receipt, size) = Receipt::decode(&bytes).unwrap();
        let leaf = ring.verify(&receipt).unwrap();
        assert_eq!((leaf.accept, size), (accept, bytes.len()));
        assert_eq!(decision["request"], symbolon_host::keyring::hex(&leaf.request));
        assert_eq!(decision["batch"], symbolon_host::keyring::hex(&receipt.batch.batch));
        if accept {
            assert_eq!(symbolon_host::keyring::hex(&leaf.nonce), nonce);
        }
        // Found without the batch's number too.
        let path = format!("/v1/receipts/{}", decision["request"].as_str().unwrap());
        assert_eq!(client.get(&path).body, bytes);
    }
    let sets = client.get("/v1/keys").json();
    assert_eq!(sets["sets"][0]["state"], "active");
    assert_eq!(sets["sets"][0]["id"], symbolon_host::keyring::hex(&ring.entries()[0].keys.id));
    client.get(&format!("/v1/receipts/{nonce}")).problem(404, "E-UNKNOWN-REQUEST");
    client.get("/v1/receipts/none").problem(400, "E-REQUEST");

    assert_eq!(client.send("DELETE", "/v1/enrolments/person%201", &[], b"").status, 204);
    client.post("/v1/authentications", &attempt(1, 1)).problem(404, "E-UNKNOWN-ID");
    client.send("DELETE", "/v1/enrolments/person%201", &[], b"").problem(404, "E-UNKNOWN-ID");
    assert_eq!(client.metric("symbolon_people"), 2.0);
    client.enrol(1..2);
    assert_eq!(client.post("/v1/authentications", &attempt(1, 1)).json()["accept"], true);
    server.stop();
    // The store and the log are whole.
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.ids().unwrap(), [person(0), person(1), person(2)]);
    symbolon(["log", "verify", dir.path().to_str().unwrap()]).ok();
}

#[test]
fn bad_requests_are_problems_with_codes() {
    let dir = deployment();
    let server = Server::start(dir.path(), IDLE);
    let mut client = server.client();
    client.enrol(0..1);
    let embedding = |values: &str| format!("{{\"id\":\"person 0\",\"embedding\":[{values}]}}");
    let ones = |n: usize| vec!["1"; n].join(",");
    let (a, e) = ("/v1/authentications", "/v1/enrolments");
    let cases = [
        ("POST", a, "{".to_owned(), 400, "E-PARSE"),
        ("POST", a, "[]".into(), 400, "E-PARSE"),
        ("POST", a, "\u{ff}".into(), 400, "E-PARSE"),
        ("POST", a, embedding(&(ones(DIMS - 1) + ",null")), 400, "E-PARSE"),
        ("POST", a, embedding(&(ones(DIMS - 1) + ",NaN")), 400, "E-PARSE"),
        ("POST", a, embedding(&(ones(DIMS - 1) + ",1e999")), 400, "E-PARSE"),
        ("POST", a, embedding(&ones(513)), 400, "E-PARSE"),
        ("POST", a, embedding(&ones(DIMS)).replace('}', ",\"x\":1}"), 400, "E-PARSE"),
        ("POST", a, embedding(&ones(DIMS)).replace('}', ",\"nonce\":\"00\"}"), 400, "E-PARSE"),
        ("POST", a, embedding(&ones(DIMS - 1)), 422, "E-DIMENSION"),
        ("POST", a, embedding(""), 422, "E-DIMENSION"),
        ("POST", a, embedding(&vec!["0"; DIMS].join(",")), 422, "E-ZERO-VECTOR"),
        ("POST", a, embedding(&ones(DIMS)).replace("person 0", ""), 422, "E-ID"),
        ("POST", a, embedding(&ones(DIMS)).replace("person 0", "nobody"), 404, "E-UNKNOWN-ID"),
        ("POST", e, embedding(&ones(DIMS)).replace("person 0", "a\\u0000"), 422, "E-ID"),
        ("POST", e, embedding(&ones(DIMS + 1)).replace("person 0", "new"), 422, "E-DIMENSION"),
        ("POST", e, embedding(&vec!["0"; DIMS].join(",")), 422, "E-ZERO-VECTOR"),
        ("GET", a, String::new(), 405, "E-METHOD"),
        ("GET", "/v2", String::new(), 404, "E-NO-ROUTE"),
        ("POST", "/v1/authentications:batch?priority=x", String::new(), 400, "E-REQUEST"),
    ];
    for (method, path, body, status, code) in cases {
        eprintln!("{method} {path} {code}");
        client.send(method, path, &[], body.as_bytes()).problem(status, code);
    }
    let wrong = [("content-type", "text/plain")];
    client.send("POST", a, &wrong, b"{}").problem(415, "E-MEDIA-TYPE");
    let binary = [("content-type", "application/vnd.symbolon.attempts")];
    client
        .send("POST", "/v1/authentications:batch", &binary, b"SYB1\x05")
        .problem(400, "E-REQUEST");
    let lines = "{}\n".repeat(4097);
    client
        .send("POST", "/v1/authentications:batch", &[], lines.as_bytes())
        .problem(413, "E-TOO-LARGE");
    // Refused by its length alone; the connection may be closed then.
    server.client().send("POST", a, &[], &vec![b' '; 70_000]).problem(413, "E-TOO-LARGE");

    for (origin, status) in [("http://evil.example", 403), ("http://localhost.evil.example", 403)]
        .into_iter()
        .chain([("null", 403), ("http://localhost:8320", 200), ("http://127.0.0.1", 200)])
    {
        let answer = client.send("GET", "/v1/keys", &[("origin", origin)], b"");
        assert_eq!(answer.status, status, "{origin}");
    }

    let named = client.send("GET", "/livez", &[("x-request-id", "me-1")], b"");
    assert_eq!((named.status, named.header("x-request-id")), (200, Some("me-1")));
    let fresh = client.send("GET", "/readyz", &[("x-request-id", "a b")], b"");
    assert_eq!((fresh.status, fresh.header("x-request-id").unwrap().len()), (200, 32));
    // Nothing of this shows in the numbers.
    let page = String::from_utf8(client.get("/metrics").body).unwrap();
    assert!(!page.contains("person") && page.contains("symbolon_http_requests_total"));
    server.stop();
}

/// An attempt in the binary form.
fn binary(who: usize, claim: usize, nonce: Option<[u8; 16]>) -> Vec<u8> {
    let id = person(claim);
    let mut out = (id.len() as u16).to_le_bytes().to_vec();
    out.extend_from_slice(id.as_bytes());
    out.push(nonce.is_some().into());
    out.extend(nonce.into_iter().flatten());
    out.extend(capture(who, 1).iter().flat_map(|&value| (value as f32).to_le_bytes()));
    out
}

#[test]
fn a_bad_item_is_no_concern_of_the_others() {
    let dir = deployment();
    let server = Server::start(dir.path(), &["--limits-attempts", "0"]);
    let mut client = server.client();
    client.enrol(0..8);
    let path = "/v1/authentications:batch";
    let mut lines: Vec<_> = (0..32).map(|i| attempt(i % 8, i / 4).to_string()).collect();
    lines[7] = attempt(7, 99).to_string();
    lines[20] = "{\"id\":".into();
    lines[21] = json!({ "id": person(0), "embedding": [1.0] }).to_string();
    let kind = [("content-type", "application/x-ndjson")];
    let answer = client.send("POST", path, &kind, (lines.join("\n") + "\n\n").as_bytes());
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
    let results = answer.lines();
    assert_eq!(results.len(), 32);
    for (i, result) in results.iter().enumerate() {
        assert_eq!(result["index"], i);
        let bad = match i {
            7 => Some((404, "E-UNKNOWN-ID")),
            20 => Some((400, "E-PARSE")),
            21 => Some((422, "E-DIMENSION")),
            _ => None,
        };
        match bad {
            Some((status, code)) => {
                assert_eq!((&result["status"], &result["code"]), (&json!(status), &json!(code)));
            }
            None => {
                assert_eq!(result["status"], 200, "{result}");
                assert_eq!(result["accept"], i % 8 == i / 4, "{result}");
            }
        }
    }
    let ring = Keyring::load(dir.path(), None).unwrap();
    let bytes = client.receipt(&results[10]);
    let (receipt, _) = Receipt::decode(&bytes).unwrap();
    assert!(ring.verify(&receipt).unwrap().accept);

    // The binary form, more than fit into the queue at a time, and with a nonce.
    let kind = [("content-type", "application/vnd.symbolon.attempts")];
    let mut body = b"SYB1".to_vec();
    for i in 0..4096 {
        body.extend(binary(i % 8, i % 7, (i == 5).then_some([7; 16])));
    }
    let results = client.send("POST", path, &kind, &body).lines();
    assert_eq!(results.len(), 4096);
    let wrong = results.iter().enumerate().filter(|(i, r)| r["accept"] != (i % 8 == i % 7));
    assert_eq!(wrong.count(), 0);
    let bytes = client.receipt(&results[5]);
    assert_eq!(Receipt::decode(&bytes).unwrap().0.leaf.nonce, [7; 16]);
    assert_eq!(client.send("POST", path, &kind, b"SYB1").lines(), [json!(null); 0]);
    server.stop();
}

#[test]
fn a_batch_larger_than_the_queue_is_decided() {
    let dir = deployment();
    let server = Server::start(dir.path(), &["--batch-queue", "40", "--limits-attempts", "0"]);
    let mut client = server.client();
    client.enrol(0..2);
    let lines: Vec<_> = (0..500).map(|i| attempt(i % 2, 0).to_string()).collect();
    let path = "/v1/authentications:batch?priority=high&deadline_ms=60000";
    let results = client.send("POST", path, &[], lines.join("\n").as_bytes()).lines();
    let accepted = results.iter().filter(|result| result["accept"] == true).count();
    assert_eq!((results.len(), accepted), (500, 250));
    server.stop();
}

#[test]
fn a_repeated_request_is_done_once() {
    let dir = deployment();
    let server = Server::start(dir.path(), IDLE);
    let mut client = server.client();
    let mut send = |path: &str, key: &str, body: &Value| {
        client.send("POST", path, &[("idempotency-key", key)], body.to_string().as_bytes())
    };
    let first = send("/v1/enrolments", "a", &enrolment(0));
    let again = send("/v1/enrolments", "a", &enrolment(0));
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.body, again.body);
    send("/v1/enrolments", "a", &enrolment(1)).problem(409, "E-IDEMPOTENCY");
    send("/v1/enrolments", "b", &enrolment(0)).problem(409, "E-DUPLICATE-ID");
    let path = "/v1/authentications";
    let decision = send(path, "a", &attempt(0, 0));
    assert_eq!((decision.status, &send(path, "a", &attempt(0, 0)).body), (200, &decision.body));
    assert_ne!(send(path, "c", &attempt(0, 0)).body, decision.body);
    let path = "/v1/authentications:batch";
    let batch = send(path, "a", &attempt(0, 0));
    assert_eq!(batch.lines()[0]["accept"], true);
    assert_eq!(send(path, "a", &attempt(0, 0)).body, batch.body);
    assert_eq!(client.metric("symbolon_attempts_accepted_total"), 3.0);
    server.stop();
}

/// Batches that leave after so long, so that requests stay where a test wants them.
fn waiting(us: &'static str) -> Vec<&'static str> {
    vec!["--batch-strategy", "window", "--batch-wait-us", us, "--threads-workers", "1"]
}

/// Until the server has so many attempts.
fn until_accepted(server: &Server, count: f64) {
    let mut client = server.client();
    let end = Instant::now() + Duration::from_secs(30);
    while client.metric("symbolon_attempts_accepted_total") < count {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn too_many_are_told_when_to_come_again_and_late_ones_that_they_are() {
    let dir = deployment();
    let mut flags = waiting("1500000");
    flags.extend(["--batch-queue", "1"]);
    let server = Server::start(dir.path(), &flags);
    server.client().enrol(0..1);
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    let mut late = attempt(0, 0);
    late["deadline_ms"] = 20.into();
    clients[0].write("POST", "/v1/authentications", &[], late.to_string().as_bytes());
    until_accepted(&server, 1.0);
    // The worker has it: there is room for one.
    while server.client().metric("symbolon_queue_depth{priority=\"normal\"}") != 0.0 {
        thread::sleep(Duration::from_millis(5));
    }
    for client in &mut clients[1..] {
        client.write("POST", "/v1/authentications", &[], attempt(0, 0).to_string().as_bytes());
    }
    let answers: Vec<_> = clients.iter_mut().map(|client| client.read().unwrap()).collect();
    answers[0].problem(504, "E-DEADLINE");
    let busy: Vec<_> = answers[1..].iter().filter(|answer| answer.status == 429).collect();
    // One is with the worker at most, one in the queue.
    assert!(busy.len() >= 5, "{answers:?}");
    for answer in busy {
        answer.problem(429, "E-BUSY");
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&seconds));
    }
    assert!(answers[1..].iter().any(|answer| answer.status == 200));
    server.stop();
}

#[test]
fn what_is_under_way_is_answered_when_the_server_is_stopped() {
    let dir = deployment();
    let server = Server::start(dir.path(), &waiting("700000"));
    server.client().enrol(0..1);
    let mut clients: Vec<_> = (0..20).map(|_| server.client()).collect();
    for client in &mut clients {
        client.write("POST", "/v1/authentications", &[], attempt(0, 0).to_string().as_bytes());
    }
    until_accepted(&server, 20.0);
    server.signal("-TERM");
    let answers: Vec<_> = clients.iter_mut().map(|client| client.read().unwrap()).collect();
    for answer in &answers {
        assert_eq!((answer.status, &answer.json()["accept"]), (200, &json!(true)));
    }
    assert!(TcpStream::connect(&server.address).is_err());
    assert_eq!(server.ended(), Some(0));
    // All is signed, and the log is closed.
    let report = symbolon(["log", "verify", "--json", dir.path().to_str().unwrap()]).ok_json();
    assert_eq!(report[0]["decisions"], 20);
    assert_eq!(report[0]["unsigned_batches"], 0);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = deployment();
    let server = Server::start(dir.path(), &waiting("10000000"));
    server.client().enrol(0..1);
    let mut client = server.client();
    client.write("POST", "/v1/authentications", &[], attempt(0, 0).to_string().as_bytes());
    until_accepted(&server, 1.0);
    let began = Instant::now();
    server.signal("-INT");
    thread::sleep(Duration::from_millis(200));
    server.signal("-INT");
    assert_eq!(server.ended(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_kill_takes_back_nothing_that_was_acknowledged() {
    let dir = deployment();
    let server = Server::start(dir.path(), &["--limits-attempts", "0"]);
    server.client().enrol(0..1);
    let (enrolled, decided) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let stopped = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        for t in 0..3_usize {
            let (server, enrolled, decided, stopped) = (&server, &enrolled, &decided, &stopped);
            scope.spawn(move || {
                let mut client = server.client();
                for i in 0.. {
                    let who = 1 + 3 * i + t;
                    let (path, body) = match t {
                        0 | 1 => ("/v1/enrolments", enrolment(who)),
                        _ => ("/v1/authentications", attempt(0, 0)),
                    };
                    let stream = client.stream.get_mut();
                    let body = body.to_string();
                    let head = format!(
                        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    if stream.write_all((head + &body).as_bytes()).is_err() {
                        return;
                    }
                    let Some(answer) = client.read() else { return };
                    match answer.status {
                        201 => enrolled.lock().unwrap().push(who),
                        200 => decided.lock().unwrap().push(answer.json()),
                        _ => panic!("{answer:?}"),
                    }
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        let end = Instant::now() + Duration::from_secs(60);
        while (enrolled.lock().unwrap().len() < 50 || decided.lock().unwrap().len() < 50)
            && Instant::now() < end
        {
            thread::sleep(Duration::from_millis(1));
        }
        server.signal("-KILL");
        stopped.store(true, Ordering::Relaxed);
    });
    assert_eq!(server.ended(), None);
    let (enrolled, decided) = (enrolled.into_inner().unwrap(), decided.into_inner().unwrap());
    assert!(enrolled.len() >= 50 && decided.len() >= 50);

    let server = Server::start(dir.path(), &["--limits-attempts", "0"]);
    let mut client = server.client();
    for &who in &enrolled {
        let answer = client.post("/v1/authentications", &attempt(who, who));
        assert_eq!((answer.status, &answer.json()["accept"]), (200, &json!(true)));
    }
    let ring = Keyring::load(dir.path(), None).unwrap();
    for decision in &decided {
        let bytes = client.receipt(decision);
        let receipt = Receipt::decode(&bytes).unwrap().0;
        assert!(ring.verify(&receipt).unwrap().accept);
    }
    server.stop();
    symbolon(["log", "verify", dir.path().to_str().unwrap()]).ok();
}

#[test]
fn whoever_dawdles_is_cut_off() {
    let dir = deployment();
    let flags = ["--limits-header-ms", "300", "--limits-body-ms", "300"];
    let server = Server::start(dir.path(), &flags);
    let starts: [&[u8]; 4] =
        [b"", b"P", b"GET /livez HTTP/1.1\r\nhost: x\r\nx-a: ", b"PRI * HTTP/2.0\r\n"];
    for start in starts {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let began = Instant::now();
        stream.write_all(start).unwrap();
        let mut rest = Vec::new();
        // Closed, whether by an end or by a reset.
        let _ = stream.read_to_end(&mut rest);
        let text = String::from_utf8_lossy(&rest).into_owned();
        assert!(began.elapsed() < Duration::from_secs(10), "{start:?} {text}");
        assert!(!text.contains("200 OK"), "{text}");
    }
    // A drop at a time.
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let began = Instant::now();
    let drip = b"GET /livez HTTP/1.1\r\nhost: x\r\nx-a: ".iter().chain([b'a'; 1000].iter());
    for byte in drip {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    // A body that does not come.
    let mut client = server.client();
    let head = b"POST /v1/authentications HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    client.stream.get_mut().write_all(head).unwrap();
    client.read().unwrap().problem(408, "E-SLOW");
    server.stop();
}

#[test]
fn keys_let_in_to_their_roles_until_they_are_revoked() {
    let dir = deployment();
    let made = |role, rate| access::create(dir.path(), "test", &[role], rate).unwrap();
    let (enrol, enrol_key) = made(Role::Enrol, None);
    let (_, authenticate_key) = made(Role::Authenticate, Some(3));
    let (_, read_key) = made(Role::Read, None);
    let server = Server::start(dir.path(), IDLE);
    let mut client = server.client();
    let mut send = |method: &str, path: &str, key: &str, body: &Value| {
        let bearer = format!("Bearer {key}");
        client.send(method, path, &[("authorization", &bearer)], body.to_string().as_bytes())
    };
    let (a, e) = ("/v1/authentications", "/v1/enrolments");
    send("POST", e, "sk_0", &enrolment(0)).problem(401, "E-API-KEY");
    send("POST", e, &authenticate_key, &enrolment(0)).problem(403, "E-ROLE");
    assert_eq!(send("POST", e, &enrol_key, &enrolment(0)).status, 201);
    send("POST", a, &enrol_key, &attempt(0, 0)).problem(403, "E-ROLE");
    send("GET", "/metrics", &enrol_key, &json!({})).problem(403, "E-ROLE");
    assert_eq!(send("GET", "/metrics", &read_key, &json!({})).status, 200);
    // One of three is used up by now, and they come back within a second.
    let statuses: Vec<_> =
        (0..20).map(|_| send("POST", a, &authenticate_key, &attempt(0, 0))).collect();
    let refused = statuses.iter().find(|answer| answer.status != 200).unwrap();
    refused.problem(429, "E-RATE");
    assert_eq!(refused.header("retry-after"), Some("1"));

    symbolon(["apikey", "revoke", "--store", dir.path().to_str().unwrap(), &enrol.id]).ok();
    let end = Instant::now() + Duration::from_secs(10);
    while send("DELETE", "/v1/enrolments/x", &enrol_key, &json!({})).status != 401 {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(send("GET", "/livez", "", &json!({})).status, 200);
    let listed = symbolon(["apikey", "list", "--store", dir.path().to_str().unwrap()]).ok();
    assert_eq!(listed.matches("in force").count(), 2, "{listed}");
    server.stop();
}

#[test]
fn an_identity_that_is_tried_in_vain_is_locked_also_after_a_restart() {
    let dir = deployment();
    let flags = [IDLE, &["--limits-attempts", "3"]].concat();
    let server = Server::start(dir.path(), &flags);
    let mut client = server.client();
    client.enrol(0..2);
    for _ in 0..10 {
        // Accepted ones cost nothing.
        assert_eq!(client.post("/v1/authentications", &attempt(0, 0)).json()["accept"], true);
    }
    for _ in 0..3 {
        assert_eq!(client.post("/v1/authentications", &attempt(1, 0)).json()["accept"], false);
    }
    client.post("/v1/authentications", &attempt(0, 0)).problem(429, "E-LOCKED");
    assert_eq!(client.metric("symbolon_identity_lockouts_total"), 1.0);
    // Nobody else is.
    assert_eq!(client.post("/v1/authentications", &attempt(1, 1)).json()["accept"], true);
    // Many at once get no further than one by one.
    let lines = vec![attempt(0, 1).to_string(); 50].join("\n");
    let results = client.send("POST", "/v1/authentications:batch", &[], lines.as_bytes()).lines();
    let locked = results.iter().filter(|result| result["code"] == "E-LOCKED").count();
    assert_eq!(locked, 47);
    server.stop();

    let server = Server::start(dir.path(), &flags);
    let mut client = server.client();
    let answer = client.post("/v1/authentications", &attempt(0, 0));
    answer.problem(429, "E-LOCKED");
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1000..=1200).contains(&seconds), "{seconds}");
    // Removed and enrolled again, it is a new identity.
    assert_eq!(client.send("DELETE", "/v1/enrolments/person%200", &[], b"").status, 204);
    client.enrol(0..1);
    assert_eq!(client.post("/v1/authentications", &attempt(0, 0)).json()["accept"], true);
    server.stop();
}

#[test]
fn tls_agrees_on_hybrid_keys() {
    let dir = deployment();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    let (chain, key) = (data.join("chain.pem"), data.join("key.pem"));
    let flags = ["--tls-chain", chain.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let server = Server::start(dir.path(), &flags);
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&chain).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(&server.address).unwrap();
    let stream = rustls::StreamOwned::new(connection, stream);
    let mut client = Client { stream: BufReader::new(stream) };
    client.enrol(0..1);
    assert_eq!(client.post("/v1/authentications", &attempt(0, 0)).json()["accept"], true);
    let connection = &client.stream.get_ref().conn;
    assert_eq!(connection.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let group = connection.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    // Plain HTTP gets nothing.
    let mut plain = server.client();
    plain.write("GET", "/livez", &[], b"");
    assert_eq!(plain.read(), None);
    server.stop();
}

#[test]
fn the_document_has_every_address() {
    let dir = deployment();
    let server = Server::start(dir.path(), IDLE);
    let mut client = server.client();
    let document = client.get("/openapi.json").json();
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    for path in [
        "/v1/authentications",
        "/v1/authentications:batch",
        "/v1/enrolments",
        "/v1/enrolments/{id}",
        "/v1/receipts/{request}",
        "/v1/keys",
        "/livez",
        "/readyz",
        "/metrics",
    ] {
        assert!(paths.contains(&path), "{path}: {paths:?}");
    }
    let attempt = &document["components"]["schemas"]["Attempt"]["properties"];
    assert_eq!(attempt["embedding"]["items"]["type"], "number");
    let page = client.get("/docs");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    // It asks nobody else for anything.
    let page = String::from_utf8(page.body).unwrap();
    assert!(!page.contains("http:") && !page.contains("https:"));
    server.stop();
}

#[test]
fn it_does_not_start_where_it_would_be_open_to_everybody() {
    let dir = deployment();
    let store = dir.path().to_str().unwrap();
    let refused = |flags: &[&str]| {
        let run = symbolon([&["serve", "--store", store], flags].concat());
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains("E-CONFIG: "), "{run:?}");
    };
    refused(&["--listen", "0.0.0.0:0"]);
    refused(&["--listen", "0.0.0.0:0", "--insecure"]);
    refused(&["--threshold", "2"]);
    refused(&["--tls-chain", "x"]);
    let run = symbolon(["serve", "--file", "/nowhere"]);
    assert!(run.stderr.contains("E-IO: "), "{run:?}");
    let run = symbolon(["config", "check", "--limits-connections", "0"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stdout.contains("# wrong: the command line: --limits-connections: "), "{run:?}");
    let settings = symbolon(["config", "check"]).ok();
    assert!(settings.contains("limits.attempts = 100"), "{settings}");
}

#[test]
fn the_demonstration_prints_a_command_that_works() {
    let mut child = command(["serve", "--demo", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut first, mut second) = (String::new(), String::new());
    out.read_line(&mut first).unwrap();
    out.read_line(&mut second).unwrap();
    let address = first.trim().strip_prefix("listening on http://").unwrap().to_owned();
    let server = Server { child, address };
    let (_, body) = second.trim().split_once("-d '").unwrap();
    let body: Value = serde_json::from_str(body.strip_suffix('\'').unwrap()).unwrap();
    let answer = server.client().post("/v1/authentications", &body);
    assert_eq!(answer.json()["accept"], true, "{answer:?}");
    server.stop();
}

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
    post(&mut client, "/v1/handshakes/00", b"").problem(400, "E-REQUEST");
    let nobody = format!("/v1/handshakes/{}", "0".repeat(32));
    post(&mut client, &nobody, b"").problem(404, "E-UNKNOWN-ID");
    let text = [("content-type", "text/plain")];
    client.send("POST", "/v1/sessions", &text, b"").problem(415, "E-MEDIA-TYPE");
    post(&mut client, "/v1/sessions/1/resume", b"").problem(400, "E-REQUEST");
    let session = format!("/v1/sessions/{}", "0".repeat(16));
    for size in [0, 1, 237, 238, 239] {
        let answer = post(&mut client, &format!("{session}/resume"), &vec![7; size]);
        answer.problem(400, "E-REQUEST");
    }
    client.record(&session, &[0; 100]).problem(404, "E-UNKNOWN-ID");
    client.send("DELETE", &session, &[], b"").problem(404, "E-UNKNOWN-ID");
    client.send("PUT", "/v1/identities/a", &[], b"{").problem(400, "E-PARSE");
    client.send("PUT", "/v1/identities/a", &[], b"{\"leaf\":\"00\"}").problem(422, "E-LEAF");
    let zeros = json!({ "leaf": "0".repeat(64) }).to_string();
    client.send("PUT", "/v1/identities/a", &[], zeros.as_bytes()).problem(422, "E-LEAF");
    client.send("DELETE", "/v1/identities/a", &[], b"").problem(404, "E-UNKNOWN-ID");

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
    let hello = |message: &mut Vec<u8>| drop(it.hello(message).unwrap());
    let mut answers = Vec::new();
    for _ in 0..80 {
        hello(&mut message);
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
