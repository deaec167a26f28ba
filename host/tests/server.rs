//! The server over real sockets: what clients get, and what is left when it is stopped or killed.
#![cfg(unix)]

mod common;
#[path = "common/serving.rs"]
mod serving;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::{command, symbolon};
use serde_json::{Value, json};
use serving::{
    Answer, Client, DIMS, IDLE, Server, attempt, capture, deployment, enrolment, person,
};
use symbolon_core::attest::Receipt;
use symbolon_host::identity::registry::{DEFAULT_DEPTH, Registry};
use symbolon_host::keyring::Keyring;
use symbolon_host::keys::CustodianSeeds;
use symbolon_host::server::access::{self, Role};
use symbolon_host::store::Store;

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
    let mut fields: Vec<_> = accepted.as_object().unwrap().keys().cloned().collect();
    // One bit and names: no score, but in a lab build.
    if cfg!(feature = "lab") {
        assert_eq!(fields.pop().unwrap(), "score");
        for (decision, who) in [(&accepted, 1), (&rejected, 2)] {
            let (probe, template) = (capture(who, 1), capture(1, 0));
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let norms = (dot(&probe, &probe) * dot(&template, &template)).sqrt();
            let cosine = dot(&probe, &template) / norms;
            let score = decision["score"].as_f64().unwrap();
            assert!((score - cosine).abs() < 0.02, "{score} is not {cosine}");
        }
    }
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
    let until = ring.entries()[0].keys.validity.not_after_ms - symbolon_platform::clock::unix_ms();
    let valid = client.metric("symbolon_signing_keys_valid_seconds");
    assert!((until as f64 / 1e3 - valid).abs() < 60.0, "{valid}");
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

/// The log goes on in other files while decisions are made, receipts of earlier ones stay where they are said to be, and the
/// oldest files go.
#[test]
fn the_receipt_log_goes_on_in_parts() {
    let dir = deployment();
    let flags = [IDLE, &["--receipts-part-mb", "1", "--receipts-keep-parts", "2"][..]].concat();
    let server = Server::start(dir.path(), &flags);
    let mut client = server.client();
    client.enrol(0..1);
    let first = client.post("/v1/authentications", &attempt(0, 0)).json();
    let bytes = client.receipt(&first);
    let lines = format!("{}\n", attempt(0, 0)).repeat(4096);
    let ended = || {
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with("receipts-")).count()
    };
    let mut more = || {
        let answer = client.send("POST", "/v1/authentications:batch", &[], lines.as_bytes());
        assert_eq!(answer.status, 200);
        answer.lines().pop().unwrap();
    };
    while ended() < 2 {
        more();
    }
    assert_eq!(server.client().receipt(&first), bytes);
    let run = symbolon(["log", "verify", "--finished", dir.path().to_str().unwrap()]).ok();
    assert!(run.contains("all verify"), "{run}");
    let oldest = dir.path().join("receipts-0000000000000000.redb");
    while oldest.exists() {
        more();
    }
    assert_eq!(ended(), 2);
    let path = first["receipt"].as_str().unwrap();
    server.client().get(path).problem(404, "E-UNKNOWN-REQUEST");
    server.stop();
    let run = symbolon(["log", "verify", dir.path().to_str().unwrap()]).ok();
    assert!(run.contains("is not here"), "{run}");
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
        ("DELETE", "/v1/enrolments/%ff", String::new(), 422, "E-ID"),
        ("GET", "/v1/receipts/%ff", String::new(), 400, "E-REQUEST"),
        ("POST", "/v1/receipts/%ff/verify", String::new(), 400, "E-REQUEST"),
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
    // Nor does a name that somebody had point to this machine: then there is no origin to tell.
    for (host, status) in
        [("evil.example", 403), ("localhost.evil.example:80", 403), ("[::1]:1", 200)]
    {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        let head = format!("GET /v1/keys HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
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
    // Of which nothing comes back, and which is not read.
    lines[22] = json!({ "id": person(0), "embedding": ["0.34\u{7f}".repeat(1000)] }).to_string();
    lines[23] = json!({ "id": "x".repeat(1 << 16), "embedding": [] }).to_string();
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
            22 => Some((400, "E-PARSE")),
            23 => Some((413, "E-TOO-LARGE")),
            _ => None,
        };
        match bad {
            Some((status, code)) => {
                assert_eq!((&result["status"], &result["code"]), (&json!(status), &json!(code)));
                let text = result.to_string();
                assert!(text.len() < 300 && !text.contains("0.34"), "{text}");
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
    // None of which is decided.
    assert_eq!(client.send("POST", path, &[], "{}\n".repeat(100).as_bytes()).lines().len(), 100);
    server.stop();
}

#[test]
fn lines_leave_before_all_is_decided() {
    let dir = deployment();
    let server = Server::start(dir.path(), &waiting("3000000"));
    server.client().enrol(0..1);
    let began = Instant::now();
    let body = format!("{}\n{}\n", attempt(0, 99), attempt(0, 0));
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let length = body.len();
    let head = format!(
        "POST /v1/authentications:batch HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let (mut received, mut part) = (Vec::new(), [0; 4096]);
    let has = |received: &[u8], what: &str| String::from_utf8_lossy(received).contains(what);
    while !has(&received, "E-UNKNOWN-ID") {
        let count = stream.read(&mut part).unwrap();
        assert_ne!(count, 0);
        received.extend_from_slice(&part[..count]);
    }
    assert!(began.elapsed() < Duration::from_secs(2) && !has(&received, "accept"));
    stream.read_to_end(&mut received).unwrap();
    assert!(has(&received, "\"accept\":true"));
    assert!(began.elapsed() > Duration::from_secs(2));
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
    let told = client.send("POST", path, &[], b"{}\n{}\n").lines();
    assert_eq!((told.len(), &told[1]["code"]), (2, &json!("E-PARSE")));
    assert_eq!(client.metric("symbolon_problems_total{code=\"E-PARSE\"}"), 2.0);
    client.get("/v1/receipts/none").problem(400, "E-REQUEST");
    assert_eq!(client.metric("symbolon_problems_total{code=\"E-REQUEST\"}"), 1.0);
    // Who waits for room is not sent away.
    assert_eq!(client.metric("symbolon_attempts_busy_total"), 0.0);
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
    let other = format!("{path}?priority=high");
    send(&other, "a", &attempt(0, 0)).problem(409, "E-IDEMPOTENCY");
    assert_eq!(client.metric("symbolon_attempts_accepted_total"), 3.0);
    server.stop();
}

#[test]
fn a_repeated_request_is_done_once_though_its_client_had_gone() {
    let dir = deployment();
    let server = Server::start(dir.path(), &waiting("3000000"));
    let mut client = server.client();
    client.enrol(0..1);
    let (path, body) = ("/v1/authentications", attempt(0, 0).to_string());
    let key = [("idempotency-key", "a")];
    let mut gone = server.client();
    gone.write("POST", path, &key, body.as_bytes());
    until_accepted(&server, 1.0);
    drop(gone);
    thread::sleep(Duration::from_millis(100));
    client.send("POST", path, &key, body.as_bytes()).problem(409, "E-IDEMPOTENCY");
    let end = Instant::now() + Duration::from_secs(30);
    let answer = loop {
        let answer = client.send("POST", path, &key, body.as_bytes());
        if answer.status != 409 {
            break answer;
        }
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((answer.status, &answer.json()["accept"]), (200, &json!(true)));
    assert_eq!(client.metric("symbolon_attempts_accepted_total"), 1.0);
    server.stop();
}

#[test]
fn an_item_is_charged_once_however_long_it_waits_for_room() {
    let dir = deployment();
    let made = |role, rate| access::create(dir.path(), "test", &[role], rate).unwrap().1;
    let (enrol, authenticate) = (made(Role::Enrol, None), made(Role::Authenticate, Some(201)));
    let server = Server::start(dir.path(), &["--batch-queue", "1", "--limits-attempts", "0"]);
    let mut client = server.client();
    let bearer = format!("Bearer {}", *enrol);
    let body = enrolment(0).to_string();
    let made =
        client.send("POST", "/v1/enrolments", &[("authorization", &bearer)], body.as_bytes());
    assert_eq!(made.status, 201);
    let lines = vec![attempt(0, 0).to_string(); 200].join("\n");
    let bearer = [("authorization", format!("Bearer {}", *authenticate))];
    let bearer = bearer.each_ref().map(|(name, value)| (*name, value.as_str()));
    let path = "/v1/authentications:batch?deadline_ms=60000";
    let results = client.send("POST", path, &bearer, lines.as_bytes()).lines();
    let accepted = results.iter().filter(|result| result["accept"] == true).count();
    assert_eq!((results.len(), accepted), (200, 200));
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
    let mut flags = waiting("6000000");
    flags.extend(["--batch-queue", "1"]);
    let server = Server::start(dir.path(), &flags);
    server.client().enrol(0..1);
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    let mut late = attempt(0, 0);
    late["deadline_ms"] = 20.into();
    let began = Instant::now();
    clients[0].write("POST", "/v1/authentications", &[], late.to_string().as_bytes());
    until_accepted(&server, 1.0);
    // Told in time, whatever becomes of it.
    let answer = clients[0].read().unwrap();
    answer.problem(504, "E-DEADLINE");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // The worker has it: there is room for one.
    while server.client().metric("symbolon_queue_depth{priority=\"normal\"}") != 0.0 {
        thread::sleep(Duration::from_millis(5));
    }
    for client in &mut clients[1..] {
        client.write("POST", "/v1/authentications", &[], attempt(0, 0).to_string().as_bytes());
    }
    let answers: Vec<_> = clients[1..].iter_mut().map(|client| client.read().unwrap()).collect();
    let busy: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    // One is with the worker at most, one in the queue.
    assert!(busy.len() >= 5, "{answers:?}");
    for answer in busy {
        answer.problem(429, "E-BUSY");
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert_eq!(seconds, 1, "nothing is known of the rate");
    }
    assert!(answers.iter().any(|answer| answer.status == 200));
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
fn balancers_see_that_it_will_stop_while_it_serves() {
    let dir = deployment();
    let server = Server::start(dir.path(), &[IDLE, &["--drain-delay-seconds", "2"]].concat());
    server.client().enrol(0..1);
    assert_eq!(server.client().get("/readyz").status, 200);
    let told = Instant::now();
    server.signal("-TERM");
    while server.client().get("/readyz").status == 200 {
        assert!(told.elapsed() < Duration::from_secs(1));
    }
    // Whoever comes is served, and the process lives.
    let mut client = server.client();
    assert_eq!(client.get("/livez").status, 200);
    assert_eq!(client.post("/v1/authentications", &attempt(0, 0)).json()["accept"], true);
    assert_eq!(server.ended(), Some(0));
    assert!(told.elapsed() >= Duration::from_secs(2));
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
fn a_terminal_that_goes_stops_nothing() {
    let dir = deployment();
    let mut server = Server::start_told(dir.path(), IDLE);
    server.signal("-HUP");
    let mut log = BufReader::new(server.child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("SIGHUP") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0);
    }
    // Nor does it that nobody reads the log any more.
    drop(log);
    server.signal("-HUP");
    server.client().enrol(0..1);
    server.stop();
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
                        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
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
    let mut flags = vec!["--limits-header-ms", "300", "--limits-body-ms", "300"];
    flags.extend(["--limits-idle-ms", "2000"]);
    let server = Server::start(dir.path(), &flags);
    let starts: [&[u8]; 4] =
        [b"", b"P", b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx-a: ", b"PRI * HTTP/2.0\r\n"];
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
    let drip = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx-a: ".iter().chain([b'a'; 1000].iter());
    for byte in drip {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    // A body that does not come.
    let mut client = server.client();
    let head =
        b"POST /v1/authentications HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{";
    client.stream.get_mut().write_all(head).unwrap();
    client.read().unwrap().problem(408, "E-SLOW");
    // Whoever has asked once may take longer to ask again, but not for ever, nor by beginning to.
    for start in [&b""[..], b"GET /livez"] {
        let mut client = server.client();
        for _ in 0..2 {
            assert_eq!(client.get("/livez").status, 200);
            thread::sleep(Duration::from_secs(1));
        }
        client.stream.get_mut().write_all(start).unwrap();
        until_closed(client.stream.get_ref());
    }
    server.stop();
}

/// Reads until the server has closed; gives what came. Fails if it does not within ten seconds.
fn until_closed(mut stream: &TcpStream) -> Vec<u8> {
    let end = Instant::now() + Duration::from_secs(10);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => return all,
            Ok(n) => all.extend_from_slice(&part[..n]),
            // A reset closes too.
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::ConnectionReset);
                return all;
            }
        }
        assert!(Instant::now() < end);
    }
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// Asks for /livez over HTTP/2 with these settings, once, and from then on answers pings and settings only, until the
/// server closes. Gives the kinds of frames that came.
fn asks_once(address: &str, settings: &[u8]) -> Vec<u8> {
    const PING: u8 = 6;
    const SETTINGS: u8 = 4;
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // GET, http, /livez, localhost.
    let head = [&b"\x82\x86\x04\x06/livez"[..], b"\x01\x09localhost"].concat();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let hello = [&preface[..], &frame(SETTINGS, 0, 0, settings), &frame(1, 5, 1, &head)].concat();
    stream.write_all(&hello).unwrap();
    let (end, mut kinds) = (Instant::now() + Duration::from_secs(10), Vec::new());
    loop {
        let mut head = [0; 9];
        if let Err(e) = stream.read_exact(&mut head) {
            assert!(matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset));
            return kinds;
        }
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).unwrap();
        if matches!(head[3], PING | SETTINGS) && head[4] == 0 {
            let payload = if head[3] == PING { &payload[..] } else { &[] };
            // It may have gone by now.
            let _ = stream.write_all(&frame(head[3], 1, 0, payload));
        }
        kinds.push(head[3]);
        assert!(Instant::now() < end, "{kinds:?}");
    }
}

#[test]
fn whoever_takes_or_asks_for_nothing_more_is_let_go() {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const GOAWAY: u8 = 7;
    let dir = deployment();
    let mut flags = waiting("5000000");
    flags.extend(["--limits-header-ms", "2000", "--limits-body-ms", "1000"]);
    flags.extend(["--limits-idle-ms", "2000"]);
    let server = Server::start(dir.path(), &flags);
    server.client().enrol(0..1);
    // Told in order.
    let kinds = asks_once(&server.address, &[]);
    for kind in [HEADERS, DATA, GOAWAY] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    // Whose windows let no body through.
    let kinds = asks_once(&server.address, &[0, 4, 0, 0, 0, 0]);
    assert!(kinds.contains(&HEADERS) && !kinds.contains(&DATA), "{kinds:?}");
    // Asks and asks, and reads nothing, until nothing goes any more.
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    let asked = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
    let end = Instant::now() + Duration::from_secs(20);
    while let Ok(_) | Err(ErrorKind::WouldBlock) = stream.write(&asked).map_err(|e| e.kind()) {
        assert!(Instant::now() < end);
    }
    // Kept, and idle.
    let mut client = server.client();
    assert_eq!(client.get("/livez").status, 200);
    until_closed(client.stream.get_ref());
    // Whoever waits for us is waited for, though it takes several times as long.
    let mut client = server.client();
    let decision = client.post("/v1/authentications", &attempt(0, 0));
    assert_eq!(decision.json()["accept"], true);
    let batch = client.post("/v1/authentications:batch", &attempt(0, 0));
    assert_eq!(batch.lines()[0]["accept"], true);
    // The others are gone.
    assert!(server.client().metric("symbolon_http_connections") <= 2.0);
    server.stop();
}

#[test]
fn bodies_that_do_not_come_are_in_nobody_s_way() {
    let dir = deployment();
    let room = ["--limits-body-bytes", "4653824", "--limits-batch-bytes", "1000000"];
    let server = Server::start(dir.path(), &[IDLE, &room].concat());
    // Three fit into what batches may fill.
    let mut slow: Vec<_> = (0..3).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    for stream in &mut slow {
        let head = "POST /v1/authentications:batch HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
    }
    thread::sleep(Duration::from_millis(300));
    let mut client = server.client();
    client.enrol(0..1);
    // Of few bytes, and room for many lines.
    let large = "{}\n".repeat(1500);
    let mut batch = || client.send("POST", "/v1/authentications:batch", &[], large.as_bytes());
    assert_eq!(batch().lines().len(), 1500);
    // What has come counts.
    for stream in &mut slow {
        stream.write_all(&[b' '; 990_000]).unwrap();
    }
    let end = Instant::now() + Duration::from_secs(10);
    let mut single = server.client();
    while single.metric("symbolon_http_body_bytes") < 3_000_000.0 {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(20));
    }
    batch().problem(429, "E-BUSY");
    // Batches keep out batches only.
    assert_eq!(single.post("/v1/authentications", &attempt(0, 0)).json()["accept"], true);
    drop(slow);
    while batch().status != 200 {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(20));
    }
    // All of it is given back.
    while client.metric("symbolon_http_body_bytes") > 0.0 {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(5));
    }
    // The largest batch has just room.
    let mut lines = "x\n".repeat(4096);
    lines += &" ".repeat(1_000_000 - lines.len());
    let results = client.send("POST", "/v1/authentications:batch", &[], lines.as_bytes()).lines();
    assert_eq!(results.len(), 4096);
    server.stop();
}

#[test]
fn connections_for_which_there_are_no_files_are_told_of_now_and_then() {
    let dir = deployment();
    let server = Server::start_limited(dir.path(), IDLE, "ulimit -n 64");
    let many: Vec<_> = (0..80).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    thread::sleep(Duration::from_secs(1));
    drop(many);
    let end = Instant::now() + Duration::from_secs(10);
    while server.client().get("/livez").status != 200 {
        assert!(Instant::now() < end);
    }
    server.signal("-TERM");
    let (code, said) = server.told();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("could not be taken in").count(), 1, "{said}");
    assert!(said.contains("limits.connections: 1088 are needed"), "{said}");
}

#[test]
fn nobody_takes_all_connections() {
    let dir = deployment();
    let server = Server::start(dir.path(), &["--limits-connections-per-address", "2"]);
    let (mut first, second) = (server.client(), server.client());
    assert_eq!(first.get("/livez").status, 200);
    // Closed at once.
    assert_eq!(TcpStream::connect(&server.address).unwrap().read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(first.metric("symbolon_http_connections_refused_total"), 1.0);
    drop(second);
    let end = Instant::now() + Duration::from_secs(10);
    while first.metric("symbolon_http_connections") > 1.0 {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.client().get("/livez").status, 200);
    server.stop();
}

/// Asks until the disk refuses something; gives the answers before that.
fn until_refused(
    client: &mut Client,
    ask: impl Fn(usize) -> (&'static str, String, Value),
) -> Vec<Answer> {
    let mut answers = Vec::new();
    loop {
        let (method, path, body) = ask(answers.len());
        let answer = client.send(method, &path, &[], body.to_string().as_bytes());
        if answer.status >= 300 {
            answer.problem(500, "E-IO");
            // It says that it is to be started anew, if it is there at all.
            client.write("GET", "/livez", &[], b"");
            assert!(client.read().is_none_or(|answer| answer.status == 503));
            return answers;
        }
        answers.push(answer);
    }
}

/// A server with one person whose disk has no more room for files to grow: what they have is used up first.
fn on_full_disk(dir: &Path) -> Server {
    let server = Server::start(dir, IDLE);
    server.client().enrol(0..1);
    server.stop();
    let size = |name: &str| fs::metadata(dir.join(name)).unwrap().len();
    let sizes = ["receipts.redb", "templates.redb", "attempts.redb"].map(size);
    // No window is written meanwhile: what fails is what was asked for.
    let flags = [IDLE, &["--window-ms", "60000"]].concat();
    Server::start_on_full_disk(dir, &flags, sizes.into_iter().max().unwrap())
}

/// Requires that it ended by itself, and said once why.
#[track_caller]
fn failed_for_good(server: Server, what: &str) {
    let (code, said) = server.told();
    assert_eq!(code, Some(2), "{said}");
    let lines: Vec<_> = said.lines().filter(|line| line.contains("failed for good")).collect();
    assert!(lines.len() == 1 && lines[0].contains("E-IO") && lines[0].contains(what), "{said}");
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "E-IO", "{said}");
}

#[test]
fn a_log_that_cannot_be_written_ends_it_and_takes_nothing_back() {
    let dir = deployment();
    let server = on_full_disk(dir.path());
    let mut client = server.client();
    let ask = |_| ("POST", "/v1/authentications".into(), attempt(0, 0));
    let decided = until_refused(&mut client, ask);
    failed_for_good(server, "the receipt log");
    assert!(!decided.is_empty());

    // With room again, all is there.
    let server = Server::start(dir.path(), IDLE);
    let mut client = server.client();
    let ring = Keyring::load(dir.path(), None).unwrap();
    for decision in decided.iter().rev().step_by(100) {
        let bytes = client.receipt(&decision.json());
        assert!(ring.verify(&Receipt::decode(&bytes).unwrap().0).unwrap().accept);
    }
    assert_eq!(client.post("/v1/authentications", &attempt(0, 0)).status, 200);
    server.stop();
    let report = symbolon(["log", "verify", "--json", dir.path().to_str().unwrap()]).ok_json();
    let decisions = report[0]["decisions"].as_u64().unwrap();
    assert!(decisions > decided.len() as u64, "{decisions} {}", decided.len());
}

#[test]
fn a_store_that_cannot_be_written_ends_it_and_takes_nothing_back() {
    let dir = deployment();
    let server = on_full_disk(dir.path());
    let mut client = server.client();
    let ask = |i| ("POST", "/v1/enrolments".into(), enrolment(i + 1));
    let enrolled = until_refused(&mut client, ask);
    failed_for_good(server, "the template store");
    assert!(!enrolled.is_empty());

    let server = Server::start(dir.path(), IDLE);
    let mut client = server.client();
    assert_eq!(client.metric("symbolon_people"), 1.0 + enrolled.len() as f64);
    let last = enrolled.len();
    assert_eq!(client.post("/v1/authentications", &attempt(last, last)).json()["accept"], true);
    client.enrol(last + 1..last + 2);
    server.stop();
}

#[test]
fn a_registry_that_cannot_be_written_ends_it_and_takes_nothing_back() {
    let dir = deployment();
    let id = CustodianSeeds::load(dir.path()).unwrap().deployment.id;
    Registry::create(dir.path(), DEFAULT_DEPTH, id).unwrap();
    let server = on_full_disk(dir.path());
    let mut client = server.client();
    // Publications write most.
    let changed = until_refused(&mut client, |i| match i % 8 {
        7 => ("POST", "/v1/epochs".into(), json!({})),
        _ => {
            let leaf = json!({ "leaf": format!("{:064x}", (i as u128 + 1) << 104) });
            ("PUT", format!("/v1/identities/{i}"), leaf)
        }
    });
    failed_for_good(server, "the registry of identities");
    assert!(!changed.is_empty());

    // One of eight was a publication.
    let enrolled = (changed.len() - changed.len() / 8) as u64;
    let registry = Registry::open(dir.path()).unwrap();
    assert!(registry.status().unwrap().enrolled >= enrolled);
    assert_eq!(registry.failure(), None);
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
fn keys_that_are_made_under_a_server_without_any_do_not_close_it_and_it_says_so() {
    let dir = deployment();
    let server = Server::start_told(dir.path(), IDLE);
    access::create(dir.path(), "late", &[Role::Read], None).unwrap();
    // It is looked twice a second.
    thread::sleep(Duration::from_secs(2));
    assert_eq!(server.client().get("/v1/keys").status, 200);
    server.signal("-TERM");
    let (code, said) = server.told();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("anybody is let in without one") && !said.contains("read again"),
        "{said}"
    );
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
        assert_eq!(run.code, Some(3), "{run:?}");
        assert!(run.stderr.contains("E-CONFIG: "), "{run:?}");
    };
    refused(&["--listen", "0.0.0.0:0"]);
    refused(&["--listen", "0.0.0.0:0", "--insecure"]);
    refused(&["--threshold", "2"]);
    refused(&["--tls-chain", "x"]);
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/symbolon.service");
    assert!(fs::read_to_string(unit).unwrap().contains("\nRestartPreventExitStatus=3\n"));
    let run = symbolon(["serve", "--file", "/nowhere"]);
    assert!(run.stderr.contains("E-IO: "), "{run:?}");
    let run = symbolon(["config", "check", "--limits-connections", "0"]);
    assert_eq!(run.code, Some(3));
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
