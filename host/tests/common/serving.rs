//! A server in a process of its own, and whoever asks it.
#![allow(dead_code, reason = "no test uses all of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::common::command;
use serde_json::{Value, json};
use symbolon_host::keys::{self, ParameterSet};
use symbolon_host::store::Store;
use tempfile::TempDir;

pub const DIMS: usize = 128;

/// Uniform in -1 to 1, the same every time (splitmix64).
fn uniform(seed: u64) -> f64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as f64 / (u64::MAX / 2) as f64 - 1.0
}

/// A capture of a person: a cosine of some 0.99 with their others, of some 0.1 with anyone else's.
pub fn capture(person: usize, capture: usize) -> Vec<f64> {
    let at = |capture: usize, i: usize| uniform((capture << 40 | person << 20 | i) as u64 + 1);
    (0..DIMS).map(|i| at(0, i) + 0.1 * at(capture + 1, i)).collect()
}

pub fn person(i: usize) -> String {
    format!("person {i}")
}

/// An attempt of `who`'s, to be `claim`.
pub fn attempt(who: usize, claim: usize) -> Value {
    json!({ "id": person(claim), "embedding": capture(who, 1) })
}

pub fn enrolment(i: usize) -> Value {
    json!({ "id": person(i), "embedding": capture(i, 0) })
}

/// A deployment without people.
pub fn deployment() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    keys::create(dir.path(), ParameterSet::Q54, 1).unwrap();
    Store::create_or_open(dir.path(), DIMS).unwrap();
    dir
}

/// A running server.
pub struct Server {
    pub child: Child,
    pub address: String,
}

impl Server {
    pub fn start(dir: &Path, flags: &[&str]) -> Self {
        let mut command = command(["serve", "--json"]);
        command.stderr(Stdio::null());
        Self::run(command, dir, flags)
    }

    /// One whose log is kept, for [`Self::told`].
    pub fn start_told(dir: &Path, flags: &[&str]) -> Self {
        let mut command = command(["serve", "--json", "--log-json=true"]);
        command.stderr(Stdio::piped());
        Self::run(command, dir, flags)
    }

    /// Where no file can have more than so many bytes.
    pub fn start_on_full_disk(dir: &Path, flags: &[&str], bytes: u64) -> Self {
        let limit = format!("trap '' XFSZ; ulimit -f {}", bytes.div_ceil(512));
        Self::start_limited(dir, flags, &limit)
    }

    /// After a command of a shell that limits it. Its log is kept.
    pub fn start_limited(dir: &Path, flags: &[&str], limit: &str) -> Self {
        let mut command = Command::new("sh");
        let limited = format!(r#"{limit}; exec "$0" "$@""#);
        let binary = env!("CARGO_BIN_EXE_symbolon");
        command.args(["-c", &limited, binary, "serve", "--json", "--log-json=true"]);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        Self::run(command, dir, flags)
    }

    fn run(mut command: Command, dir: &Path, flags: &[&str]) -> Self {
        if !flags.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.arg("--store").arg(dir).args(flags).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = ready["listening"].as_str().unwrap();
        let (_, address) = url.split_once("://").unwrap();
        Self { child, address: address.to_owned() }
    }

    pub fn client(&self) -> Client {
        Client::new(&self.address)
    }

    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Its exit code.
    pub fn ended(mut self) -> Option<i32> {
        let status = self.child.wait().unwrap();
        status.code()
    }

    /// Its exit code, and what it said to standard error.
    pub fn told(mut self) -> (Option<i32>, String) {
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (self.ended(), errors)
    }

    pub fn stop(self) {
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
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.body.clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Requires a problem with this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) {
        let kind = self.header("content-type");
        assert_eq!((self.status, kind), (status, Some("application/problem+json")), "{self:?}");
        let body = self.json();
        assert_eq!((&body["status"], &body["code"]), (&json!(status), &json!(code)), "{body}");
        assert!(self.header("x-request-id").is_some());
    }
}

/// A connection that is kept.
pub struct Client<S: Read + Write = TcpStream> {
    pub stream: BufReader<S>,
}

impl Client {
    pub fn new(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream: BufReader::new(stream) }
    }
}

impl<S: Read + Write> Client<S> {
    pub fn write(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        let stream = self.stream.get_mut();
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        stream.flush().unwrap();
    }

    /// `None` if the server closes instead.
    pub fn read(&mut self) -> Option<Answer> {
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

    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.write(method, path, headers, body);
        self.read().expect("an answer")
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], body.to_string().as_bytes())
    }

    #[track_caller]
    pub fn enrol(&mut self, people: std::ops::Range<usize>) {
        for i in people {
            let answer = self.post("/v1/enrolments", &enrolment(i));
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }

    /// Waits for the receipt of a decision.
    #[track_caller]
    pub fn receipt(&mut self, decision: &Value) -> Vec<u8> {
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
    pub fn metric(&mut self, name: &str) -> f64 {
        let page = String::from_utf8(self.get("/metrics").body).unwrap();
        let line = page.lines().find(|line| line.split(' ').next() == Some(name));
        line.and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap()
    }
}

/// Attempts do not wait for others.
pub const IDLE: &[&str] = &["--batch-strategy", "window", "--batch-wait-us", "0"];
