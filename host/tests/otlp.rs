//! Spans of requests as a collector gets them, and servers whose collector gets none.
#![cfg(unix)]

mod common;
#[path = "common/serving.rs"]
mod serving;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::symbolon;
use serde_json::json;
use serving::{Answer, Client, Server, deployment};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const ID: &str = "000102030405060708090a0b0c0d0e0f";

/// Takes what is posted to /v1/traces, and keeps it.
struct Collector {
    endpoint: String,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let taken = Arc::default();
        let to = Arc::clone(&taken);
        thread::spawn(move || {
            listener.incoming().for_each(|stream| {
                take(stream.unwrap(), &to).expect("a request is whole");
            });
        });
        Self { endpoint, taken }
    }

    /// What came, in one: messages of protobuf that follow each other are one.
    fn taken(&self) -> Vec<u8> {
        self.taken.lock().unwrap().clone()
    }
}

fn take(stream: TcpStream, to: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_lowercase());
    }
    assert_eq!(head[0], "post /v1/traces http/1.1");
    assert!(head.contains(&"content-type: application/x-protobuf".into()), "{head:?}");
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body)?;
    to.lock().unwrap().extend(body);
    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
}

/// Protobuf's fields by number: numbers as eight bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn number(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes);
        let length = match tag & 7 {
            0 => {
                found.push((tag >> 3, number(&mut bytes).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => number(&mut bytes) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(length);
        found.push((tag >> 3, value.to_vec()));
        bytes = rest;
    }
    found
}

/// What is at a path of field numbers.
fn at(bytes: &[u8], path: &[u64]) -> Vec<Vec<u8>> {
    let Some((first, rest)) = path.split_first() else { return vec![bytes.to_vec()] };
    let inner = fields(bytes).into_iter().filter(|(number, _)| number == first);
    inner.flat_map(|(_, bytes)| at(&bytes, rest)).collect()
}

fn text(bytes: &[u8], path: &[u64]) -> String {
    at(bytes, path).first().map_or(String::new(), |it| String::from_utf8(it.clone()).unwrap())
}

fn number(bytes: &[u8], path: &[u64]) -> u64 {
    let whole = |it: &Vec<u8>| u64::from_le_bytes(it.as_slice().try_into().unwrap());
    at(bytes, path).first().map_or(0, whole)
}

/// Attributes, by name; numbers in decimal.
fn attributes(bytes: &[u8], path: &[u64]) -> Vec<(String, String)> {
    let value = |it: &[u8]| match text(it, &[2, 1]) {
        none if none.is_empty() => number(it, &[2, 3]).to_string(),
        text => text,
    };
    let mut all: Vec<_> = at(bytes, path).iter().map(|it| (text(it, &[1]), value(it))).collect();
    all.sort();
    all
}

/// A span, as far as it is looked at.
#[derive(Debug)]
struct Span {
    trace: String,
    parent: String,
    state: String,
    name: String,
    kind: u64,
    nanoseconds: u64,
    attributes: Vec<(String, String)>,
    is_error: bool,
}

impl Span {
    fn read(bytes: &[u8]) -> Self {
        let hex = |field| symbolon_host::keyring::hex(&at(bytes, &[field]).concat());
        Self {
            trace: hex(1),
            parent: hex(4),
            state: text(bytes, &[3]),
            name: text(bytes, &[5]),
            kind: number(bytes, &[6]),
            nanoseconds: number(bytes, &[8]) - number(bytes, &[7]),
            attributes: attributes(bytes, &[9]),
            is_error: number(bytes, &[15, 3]) == 2,
        }
    }

    fn of(taken: &[u8]) -> Vec<Self> {
        at(taken, &[1, 2, 2]).iter().map(|span| Self::read(span)).collect()
    }

    #[track_caller]
    fn has(&self, attributes: &[(&str, &str)]) {
        let own = self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        assert_eq!(own.collect::<Vec<_>>(), attributes, "{self:?}");
    }
}

fn has(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn start(dir: &Path, endpoint: &str, ratio: &str, flags: &[&str]) -> Server {
    let flags = [&["--otlp-endpoint", endpoint, "--otlp-ratio", ratio], flags].concat();
    Server::start_told(dir, &flags)
}

/// With a parent and a name.
fn ask(client: &mut Client, method: &str, path: &str, parent: &str, id: &str) -> Answer {
    let headers = [("traceparent", parent), ("tracestate", "a=b"), ("x-request-id", id)];
    client.send(method, path, &headers, b"")
}

#[test]
fn spans_say_what_was_asked_and_no_more() {
    let collector = Collector::start();
    let dir = deployment();
    let server = start(dir.path(), &collector.endpoint, "1", &["--drain-delay-seconds", "1"]);
    let mut client = server.client();
    let sampled = format!("00-{TRACE}-{PARENT}-01");
    let path = format!("/v1/receipts/{ID}?batch=987654321");
    let began = Instant::now();
    ask(&mut client, "GET", &path, &sampled, "one").problem(404, "E-UNKNOWN-REQUEST");
    let took = began.elapsed();
    ask(&mut client, "BREW", "/secret/path", &sampled[1..], "two").problem(404, "E-NO-ROUTE");
    // Whoever sent this records none of it.
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    assert_eq!(ask(&mut client, "GET", "/livez", &unsampled, "three").status, 200);
    server.signal("-TERM");
    let end = Instant::now() + Duration::from_secs(20);
    while client.get("/readyz").status != 503 {
        assert!(Instant::now() < end);
    }
    drop(client);
    let (code, said) = server.told();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("otlp"), "{said}");

    let taken = collector.taken();
    for secret in [ID, "987654321", "secret", "127.0.0.1", "livez", "three"] {
        assert!(!has(&taken, secret.as_bytes()), "{secret}");
    }
    let resource = attributes(&taken, &[1, 1, 1]);
    let is = |name: &str, value: &str| resource.contains(&(name.into(), value.into()));
    assert!(is("service.name", "symbolon"), "{resource:?}");
    assert!(is("service.version", env!("CARGO_PKG_VERSION")), "{resource:?}");

    let spans = Span::of(&taken);
    let [receipt, brew, ready @ ..] = &spans[..] else { panic!("{spans:?}") };
    const SERVER: u64 = 2;
    assert!(spans.iter().all(|span| span.kind == SERVER), "{spans:?}");
    assert_eq!((receipt.trace.as_str(), receipt.parent.as_str()), (TRACE, PARENT));
    assert_eq!((receipt.state.as_str(), receipt.is_error), ("a=b", false));
    assert_eq!(receipt.name, "GET /v1/receipts/{request}");
    assert!(Duration::from_nanos(receipt.nanoseconds) <= took, "{receipt:?} {took:?}");
    receipt.has(&[
        ("http.request.method", "GET"),
        ("http.response.status_code", "404"),
        ("http.route", "/v1/receipts/{request}"),
        ("symbolon.request_id", "one"),
        ("url.scheme", "http"),
    ]);
    // Its parent is none.
    assert!(brew.trace != TRACE && brew.trace.len() == 32, "{brew:?}");
    assert_eq!((brew.parent.as_str(), brew.name.as_str()), ("", "HTTP"));
    brew.has(&[
        ("http.request.method", "_OTHER"),
        ("http.response.status_code", "404"),
        ("symbolon.request_id", "two"),
        ("url.scheme", "http"),
    ]);
    let last = ready.last().unwrap();
    assert_eq!((last.name.as_str(), last.is_error), ("GET /readyz", true));
    let error = ("error.type".to_owned(), "503".to_owned());
    assert!(last.attributes.contains(&error), "{last:?}");
}

#[test]
fn without_a_ratio_only_what_others_record_is() {
    let collector = Collector::start();
    let dir = deployment();
    let server = start(dir.path(), &collector.endpoint, "0", &[]);
    let mut client = server.client();
    for _ in 0..50 {
        assert_eq!(client.get("/livez").status, 200);
    }
    let later = format!("01-{TRACE}-{PARENT}-01-and-more");
    for sampled in [format!("00-{TRACE}-{PARENT}-01"), later] {
        assert_eq!(ask(&mut client, "GET", "/readyz", &sampled, "one").status, 200);
    }
    // As none, the next ones.
    for wrong in [
        String::new(),
        format!("00-{TRACE}-{PARENT}-1"),
        format!("00-{TRACE}-{PARENT}-011"),
        format!("00-{TRACE}-{PARENT}-01-and-more"),
        format!("01-{TRACE}-{PARENT}-011"),
        format!("ff-{TRACE}-{PARENT}-01"),
        format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
        format!("00-+{}-{PARENT}-01", &TRACE[1..]),
        format!("00-{}-{PARENT}-01", &TRACE[1..]),
        format!("00-{}-{PARENT}-01", "0".repeat(32)),
        format!("00_{TRACE}-{PARENT}-01"),
    ] {
        assert_eq!(ask(&mut client, "GET", "/livez", &wrong, "two").status, 200);
    }
    let twice = format!("00-{TRACE}-{PARENT}-01");
    let twice = [("traceparent", twice.as_str()), ("traceparent", &twice)];
    assert_eq!(client.send("GET", "/livez", &twice, b"").status, 200);
    drop(client);
    server.stop();
    let spans = Span::of(&collector.taken());
    assert_eq!(spans.len(), 2, "{spans:?}");
    for span in spans {
        assert_eq!((span.name.as_str(), span.trace.as_str()), ("GET /readyz", TRACE));
    }
}

#[test]
fn requests_do_not_wait_for_a_collector_that_is_not_there_or_never_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let absent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = deployment();
    for address in [silent.local_addr().unwrap(), absent] {
        let server = start(dir.path(), &format!("http://{address}"), "1", &[]);
        let mut client = server.client();
        let began = Instant::now();
        // More than wait for the collector, more than are sent at a time.
        for _ in 0..4000 {
            assert_eq!(client.get("/livez").status, 200);
        }
        client.get(&format!("/v1/receipts/{ID}")).problem(404, "E-UNKNOWN-REQUEST");
        let asked = began.elapsed();
        drop(client);
        let began = Instant::now();
        server.signal("-TERM");
        let (code, said) = server.told();
        let ended = began.elapsed();
        println!("{address}: asked {asked:?}, ended {ended:?}\n{said}");
        assert_eq!(code, Some(0), "{said}");
        assert!(ended < Duration::from_secs(10), "{ended:?}");
        // Not for every span, nor for every batch.
        let loud = said.lines().filter(|line| line.contains("WARN") || line.contains("ERROR"));
        assert!((1..=4).contains(&loud.count()), "{said}");
        assert!(said.contains("otlp.endpoint takes no spans"), "{said}");
    }
}

#[test]
fn a_collector_is_spoken_to_in_plain_http() {
    let check = |endpoint| symbolon(["config", "check", "--json", "--otlp-endpoint", endpoint]);
    for right in ["http://127.0.0.1:4318", "http://[::1]:4318/", "http://collector"] {
        let lines = check(right).ok_json();
        assert_eq!(lines[0]["mistakes"], json!([]), "{right}");
    }
    let wrong = ["x", "x:1", "https://x:1", "http://", "http://x:", "http://x:99999"];
    for wrong in wrong.into_iter().chain(["http://x/v1", "http://x?y", "http://x#y", "http://a@x"])
    {
        let run = check(wrong);
        assert!(run.code == Some(3) && run.stderr.contains("otlp.endpoint"), "{wrong}: {run:?}");
    }
}
