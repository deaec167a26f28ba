//! `symbolon load --url` against real servers.
#![cfg(unix)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Run, command, object, symbolon};
use serde_json::{Value, json};
use symbolon_host::keys::{self, ParameterSet};
use symbolon_host::server::access::{self, Role};
use symbolon_host::store::Store;
use tempfile::TempDir;

/// A deployment without people.
fn deployment() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    keys::create(dir.path(), ParameterSet::Q54, 1).unwrap();
    Store::create_or_open(dir.path(), 32).unwrap();
    dir
}

/// A running server, of which failed tests leave nothing.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(dir: &Path, flags: &[&str]) -> Self {
        let mut command = command(["serve", "--json", "--listen", "127.0.0.1:0"]);
        command.arg("--store").arg(dir).args(["--limits-attempts", "0"]).args(flags);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, url: object(line.trim())["listening"].as_str().unwrap().to_owned() }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Attempts that it has taken in, as it counts them itself.
    fn accepted(&self) -> u64 {
        let mut stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let name = "symbolon_attempts_accepted_total ";
        page.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    }

    fn wait_for(&self, accepted: u64) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.accepted() < accepted {
            assert!(Instant::now() < end);
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn load(&self, flags: &[&str]) -> Command {
        let mut command = command(["load", "--json", "--url", &self.url, "--dims", "32"]);
        command.args(["--identities", "40"]).args(flags);
        if !flags.contains(&"--connections") {
            command.args(["--connections", "4"]);
        }
        command
    }

    fn run(&self, flags: &[&str]) -> Run {
        self.load(flags).output().unwrap().into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn shown(run: Run) -> Value {
    let [ref shown] = run.ok_json()[..] else { panic!("one object") };
    shown.clone()
}

#[track_caller]
fn refused(run: Run, exit: i32, code: &str) {
    assert!(run.code == Some(exit) && run.stderr.contains(code), "{run:?}");
}

#[test]
fn both_forms_in_both_loops_are_answered_as_in_the_clear() {
    let dir = deployment();
    let server = Server::start(dir.path(), &[]);
    refused(server.run(&["--seconds", "1"]), 2, "E-UNKNOWN-ID");
    // Enrolled; a second time they are there already.
    for (flags, loop_) in [(&[][..], "closed"), (&["--rate", "600"], "open")] {
        let before = server.accepted();
        let both = ["--enrol", "--seconds", "1", "--mix", "single=1,batch=2", "--batch", "16"];
        let shown = shown(server.run(&[&both[..], flags].concat()));
        assert_eq!((&shown["loop"], &shown["wrong"]), (&json!(loop_), &json!(0)), "{shown}");
        let statuses = shown["statuses"].as_object().unwrap();
        assert_eq!(statuses.keys().collect::<Vec<_>>(), ["200"], "{shown}");
        assert_eq!((&shown["codes"], &shown["errors"]), (&json!({}), &json!({})), "{shown}");
        // One is asked for beforehand. Here and there the same is counted.
        assert_eq!(statuses["200"], server.accepted() - before - 1, "{shown}");
        for latency in
            [&shown["latency_us"], &shown["forms_us"]["single"], &shown["forms_us"]["batch"]]
        {
            assert!(latency["p50"].as_f64().unwrap() > 0.0, "{shown}");
        }
        let decided = shown["decided"].as_u64().unwrap();
        assert!(decided > 0 && decided <= statuses["200"].as_u64().unwrap());
        if loop_ == "open" {
            // 600 are due, in 55 requests: five standard deviations either way.
            let due = shown["submitted"].as_u64().unwrap() + shown["unsent"].as_u64().unwrap();
            assert!((150..1100).contains(&due), "{shown}");
        }
    }
    // For people.
    let mut people = command(["load", "--url", &server.url, "--dims", "32", "--identities", "40"]);
    let table = Run::from(people.args(["--seconds", "1"]).output().unwrap()).ok();
    assert!(
        table.contains("64 at once") && table.contains("equals the clear computation"),
        "{table}"
    );
}

#[test]
fn answers_that_differ_are_counted_and_fail_the_run() {
    let dir = deployment();
    let server = Server::start(dir.path(), &[]);
    shown(server.run(&["--enrol", "--seconds", "1"]));
    // Others' templates: what should be accepted is not.
    for form in ["single=1", "batch=1"] {
        let run = server.run(&["--seed", "2", "--seconds", "1", "--mix", form]);
        let shown = object(run.stdout.trim());
        assert!(run.code == Some(1) && run.stderr.contains("E-MISMATCH"), "{run:?}");
        let part = shown["wrong"].as_f64().unwrap() / shown["statuses"]["200"].as_f64().unwrap();
        assert!((0.3..0.7).contains(&part), "{shown}");
    }
}

#[test]
fn keys_are_presented_and_refusals_counted_apart() {
    let dir = deployment();
    let key = |roles: &[Role], rate| {
        let (_, token) = access::create(dir.path(), "load", roles, rate).unwrap();
        let file = dir.path().join(format!("key-{rate:?}"));
        fs::write(&file, token.as_bytes()).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let any = key(&[Role::Enrol, Role::Authenticate], None);
    let slow = key(&[Role::Authenticate], Some(20));
    let wrong = dir.path().join("wrong");
    fs::write(&wrong, ["sk_", &"0".repeat(16), "_", &"0".repeat(64)].concat()).unwrap();
    let server = Server::start(dir.path(), &[]);

    refused(server.run(&["--seconds", "1"]), 2, "E-API-KEY");
    let flags = ["--seconds", "1", "--api-key-file", wrong.to_str().unwrap()];
    refused(server.run(&flags), 2, "E-API-KEY");
    refused(server.run(&["--enrol", "--api-key-file", &slow]), 2, "E-ROLE");
    shown(server.run(&["--enrol", "--seconds", "1", "--api-key-file", &any]));

    // Twenty at once, and twenty a second. In closed loop nobody comes again before they are told to.
    for mix in ["single=1", "batch=1"] {
        let flags = ["--seconds", "3", "--batch", "2", "--mix", mix, "--api-key-file", &slow];
        let closed = shown(server.run(&flags));
        let all = |shown: &Value| -> u64 {
            shown["statuses"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum()
        };
        assert!(closed["refused"].as_u64().unwrap() > 0 && all(&closed) < 300, "{closed}");
        assert_eq!((&closed["wrong"], &closed["errors"]), (&json!(0), &json!({})), "{closed}");
        assert_eq!(closed["codes"]["E-RATE"], closed["statuses"]["429"], "{closed}");
        assert!(closed["statuses"]["200"].as_u64().unwrap() <= 20 + 20 * 6, "{closed}");
        // In open loop they come all the same.
        let open = shown(server.run(&[&flags[..], &["--rate", "400"]].concat()));
        assert!(open["statuses"]["429"].as_u64().unwrap() > 500, "{open}");
        assert_eq!(open["refused"], open["statuses"]["429"]);
    }
}

#[test]
fn far_too_many_are_refused_and_the_others_are_served_as_ever() {
    let dir = deployment();
    // 32 every 20 ms at most, and four that wait.
    let slow = ["--batch-strategy", "window", "--batch-wait-us", "20000", "--batch-queue", "4"];
    let server = Server::start(dir.path(), &[&slow[..], &["--threads-workers", "1"]].concat());
    shown(server.run(&["--enrol", "--seconds", "1"]));
    let flood = ["--seconds", "2", "--rate", "16000", "--connections", "128"];
    let flood = shown(server.run(&flood));
    let count = |what: &str| flood["statuses"][what].as_u64().unwrap_or(0);
    assert!(count("200") > 100 && count("429") > count("200"), "{flood}");
    assert_eq!(flood["statuses"].as_object().unwrap().len(), 2, "{flood}");
    assert_eq!(flood["codes"]["E-BUSY"], flood["statuses"]["429"], "{flood}");
    assert_eq!((&flood["wrong"], &flood["errors"]), (&json!(0), &json!({})), "{flood}");
    // Nothing of it is left.
    let calm = shown(server.run(&["--seconds", "1", "--rate", "50"]));
    assert_eq!(calm["statuses"].as_object().unwrap().keys().collect::<Vec<_>>(), ["200"]);
    assert!(calm["latency_us"]["p50"].as_f64().unwrap() < 200e3, "{calm}");
}

#[test]
fn a_server_that_is_gone_is_an_error() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    refused(symbolon(["load", "--url", &format!("http://{nobody}")]), 2, "E-IO");

    let dir = deployment();
    let mut server = Server::start(dir.path(), &[]);
    shown(server.run(&["--enrol", "--seconds", "1"]));
    let before = server.accepted();
    let load =
        server.load(&["--seconds", "4"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    server.wait_for(before + 100);
    server.child.kill().unwrap();
    let run = Run::from(load.unwrap().wait_with_output().unwrap());
    let shown = object(run.stdout.trim());
    assert!(shown["errors"]["connect"].as_u64().unwrap() > 0, "{shown}");
    assert_eq!(shown["wrong"], 0);
}

#[test]
fn a_stall_shows_in_the_latency_of_all_that_were_due() {
    let dir = deployment();
    let server = Server::start(dir.path(), &[]);
    shown(server.run(&["--enrol", "--seconds", "1"]));
    let before = server.accepted();
    let flags = ["--seconds", "4", "--rate", "250"];
    let load = server.load(&flags).stdout(Stdio::piped()).spawn().unwrap();
    server.wait_for(before + 20);
    // Beyond the time to warm up.
    thread::sleep(Duration::from_millis(1200));
    server.signal("-STOP");
    thread::sleep(Duration::from_millis(1000));
    server.signal("-CONT");
    let shown = shown(load.wait_with_output().unwrap().into());
    // 250 of 1000 were due meanwhile. Four connections alone would be four slow answers.
    let us = |part: &str| shown["latency_us"][part].as_f64().unwrap();
    assert!(us("p90") > 300e3 && us("p99") > 600e3 && us("p99") < 4e6, "{shown}");
    assert_eq!((&shown["wrong"], &shown["errors"]), (&json!(0), &json!({})));
}

#[test]
fn tls_is_spoken_with_whom_the_certificates_vouch_for() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    let (chain, key) = (data.join("chain.pem"), data.join("key.pem"));
    let (chain, key) = (chain.to_str().unwrap(), key.to_str().unwrap());
    let dir = deployment();
    let server = Server::start(dir.path(), &["--tls-chain", chain, "--tls-key", key]);
    assert!(server.url.starts_with("https://127.0.0.1:"));
    refused(server.run(&[]), 2, "E-ARGUMENT");
    refused(server.run(&["--ca", key]), 2, "E-KEY-FILE");
    let shown = shown(server.run(&[
        "--ca",
        chain,
        "--enrol",
        "--seconds",
        "1",
        "--mix",
        "single=1,batch=1",
    ]));
    assert!(shown["decided"].as_u64().unwrap() > 0 && shown["wrong"] == 0, "{shown}");
    // Its certificate is of no other name.
    let other = server.url.replace("127.0.0.1", "127.0.0.2");
    refused(symbolon(["load", "--url", &other, "--ca", chain]), 2, "E-IO");
    let clear = server.url.replace("https", "http");
    refused(symbolon(["load", "--url", &clear]), 2, "E-IO");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let url = "http://127.0.0.1:1";
    for flags in [
        &["--url", "127.0.0.1:1"][..],
        &["--url", url, "--compare"],
        &["--url", url, "--strategy", "size"],
        &["--url", url, "--params", "q81"],
        &["--url", url, "--window-ms", "1"],
        &["--url", url, "--rate", "1", "--concurrency", "1"],
        &["--url", url, "--mix", "batch=0"],
        &["--url", url, "--batch", "4097"],
        &["--url", url, "--connections", "0"],
        &["--mix", "batch=1"],
        &["--enrol"],
    ] {
        refused(symbolon([&["load"], flags].concat()), 2, "E-ARGUMENT");
    }
}
