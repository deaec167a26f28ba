//! The dashboard and what it shows, as a browser and other clients get it.
#![cfg(unix)]

mod common;
#[path = "common/serving.rs"]
mod serving;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use common::symbolon;
use serde_json::{Value, json};
use serving::{Client, IDLE, Server, attempt, deployment, enrolment};
use symbolon_host::identity::registry::Registry;
use symbolon_host::keyring::Keyring;
use symbolon_host::server::access::{self, Role};
use tempfile::TempDir;

/// Three people; decisions one by one and together: the newest last.
fn decisions(client: &mut Client) -> Vec<Value> {
    client.enrol(0..3);
    let pairs = [(0, 0), (1, 1), (2, 0), (1, 1), (0, 2)];
    let one = |(who, claim)| client.post("/v1/authentications", &attempt(who, claim)).json();
    let mut all: Vec<_> = pairs.into_iter().map(one).collect();
    let lines = [attempt(2, 2).to_string(), attempt(1, 0).to_string()].join("\n");
    let many = client.send("POST", "/v1/authentications:batch", &[], lines.as_bytes()).lines();
    all.extend(many);
    assert!(all.iter().all(|decision| decision["accept"].is_boolean()), "{all:?}");
    all
}

/// Verifies the receipt of a decision, once it is signed.
fn verification(client: &mut Client, decision: &Value) -> Value {
    client.receipt(decision);
    let path = decision["receipt"].as_str().unwrap().replace('?', "/verify?");
    let answer = client.send("POST", &path, &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn one_document_has_the_numbers_that_metrics_has() {
    let dir = deployment();
    let flags = [IDLE, &["--limits-attempts", "2"]].concat();
    let server = Server::start(dir.path(), &flags);
    let mut client = server.client();
    let began = client.get("/v1/status").json();
    assert_eq!(
        (&began["attempts"]["decided"], &began["people"]["enrolled"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(began["recent"]["p50_ms"], json!(null));
    // Two of them are in vain, for the same person.
    let made = decisions(&mut client);
    client.post("/v1/authentications", &attempt(0, 0)).problem(429, "E-LOCKED");
    // Measured once a second.
    let end = Instant::now() + Duration::from_secs(20);
    let status = loop {
        let status = client.get("/v1/status").json();
        let seen = status["recent"]["history"].as_array().unwrap();
        let sum: f64 = seen.iter().map(|rate| rate.as_f64().unwrap()).sum();
        if sum > 0.0 {
            break status;
        }
        assert!(Instant::now() < end, "{status}");
        thread::sleep(Duration::from_millis(50));
    };
    let recent = &status["recent"];
    let (p50, p99) = (recent["p50_ms"].as_f64().unwrap(), recent["p99_ms"].as_f64().unwrap());
    assert!(p50 > 0.0 && p99 >= p50 && p99 < 20_000.0, "{recent}");
    assert!((1.0..=32.0).contains(&recent["per_batch"].as_f64().unwrap()), "{recent}");
    assert!(recent["decisions_per_s"].as_f64().unwrap() > 0.0, "{recent}");
    assert_eq!(status["attempts"]["decided"], made.len());
    assert_eq!(
        status["people"],
        json!({
            "enrolled": 3, "added": 3, "removed": 0, "commits": 3, "failed": 0
        })
    );
    assert_eq!(status["lockouts"], json!({ "lockouts": 1, "refused": 1, "failed": 0 }));
    assert_eq!(status["breaker"], json!({ "state": "closed", "opened": 0 }));
    assert_eq!((&status["unready"], &status["batches"]["lanes"]), (&json!(null), &json!(32)));
    let pool = &status["keys"]["pool"];
    assert!(
        pool["ready"].as_u64() <= pool["capacity"].as_u64() && pool["kind"].is_string(),
        "{pool}"
    );
    for (metric, at) in [
        ("batch_attempts_total", "/attempts/decided"),
        ("batches_total", "/batches/decided"),
        ("people", "/people/enrolled"),
        ("bfv_epoch", "/keys/epoch"),
        ("identity_lockouts_total", "/lockouts/lockouts"),
        ("identity_budgets_failed_total", "/lockouts/failed"),
        ("batch_stage_seconds_count{stage=\"fold\"}", "/batches/decided"),
        ("queue_capacity", "/queue/capacity"),
    ] {
        let value = status.pointer(at).unwrap().as_f64().unwrap();
        assert_eq!(client.metric(&format!("symbolon_{metric}")), value, "{metric}");
    }
    assert!(!status.to_string().contains("person"));

    let document = client.get("/openapi.json").json();
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["Recent"]["properties"]["history"]["type"], "array");
    for (path, method) in
        [("/v1/status", "get"), ("/v1/receipts", "get"), ("/v1/receipts/{request}/verify", "post")]
    {
        assert!(document["paths"][path][method].is_object(), "{path}");
    }

    // The same on a command line.
    let url = format!("http://{}", server.address);
    let said = symbolon(["pool", "status", "--json", "--url", &url]).ok_json();
    assert_eq!(said[0]["attempts"], status["attempts"]);
    let said = symbolon(["pool", "status", "--url", &url]).ok();
    let line = "3 enrolled; 1 lockouts, 1 attempts refused while locked";
    assert!(said.contains(line) && said.contains("7 decided, 0 turned away"), "{said}");
    server.stop();
    let run = symbolon(["pool", "status", "--url", &url]);
    assert!(run.code == Some(2) && run.stderr.contains("E-IO"), "{run:?}");
}

#[test]
fn the_newest_decisions_are_listed_and_verified() {
    let dir = deployment();
    let server = Server::start(dir.path(), IDLE);
    let mut client = server.client();
    assert_eq!(client.get("/v1/receipts").json(), json!({ "decisions": [] }));
    let mut made = decisions(&mut client);
    made.reverse();
    let listed = client.get("/v1/receipts?newest=3").json();
    let listed = listed["decisions"].as_array().unwrap();
    assert_eq!(listed.len(), 3);
    let all = client.get("/v1/receipts").json();
    let all = all["decisions"].as_array().unwrap();
    assert_eq!((all.len(), &all[..3]), (made.len(), &listed[..]));
    // What is decided together may be answered in any order.
    let requests = |of: &[Value]| {
        let mut requests: Vec<_> = of.iter().map(|d| d["request"].to_string()).collect();
        requests.sort_unstable();
        requests
    };
    assert_eq!(requests(all), requests(&made));
    for (listed, made) in all.iter().zip(&made).skip(2) {
        for field in ["request", "accept", "batch", "batch_number", "receipt"] {
            assert_eq!(listed[field], made[field]);
        }
        assert!(listed["time_ms"].as_u64() > Some(1_700_000_000_000));
    }
    for bad in ["0", "65", "-1", "x"] {
        client.get(&format!("/v1/receipts?newest={bad}")).problem(400, "E-REQUEST");
    }

    let ring = Keyring::load(dir.path(), None).unwrap();
    let id = symbolon_host::keyring::hex(&ring.entries()[0].keys.id);
    for decision in &made {
        let said = verification(&mut client, decision);
        assert_eq!((&said["valid"], &said["reason"]), (&json!(true), &json!(null)));
        assert_eq!((&said["key_id"], &said["key_state"]), (&json!(id), &json!("active")));
        assert_eq!(
            (&said["request"], &said["accept"]),
            (&decision["request"], &decision["accept"])
        );
        let algorithms = ["ML-DSA-65", "FN-DSA-512 (draft)", "SLH-DSA-SHA2-128f"];
        assert_eq!(said["algorithms"], json!(algorithms));
    }
    let (unknown, batch) = ("00".repeat(16), &made[0]["batch_number"]);
    for query in ["", &format!("?batch={batch}"), "?batch=99999"] {
        let path = format!("/v1/receipts/{unknown}/verify{query}");
        client.send("POST", &path, &[], b"").problem(404, "E-UNKNOWN-REQUEST");
    }
    client.send("POST", "/v1/receipts/none/verify", &[], b"").problem(400, "E-REQUEST");
    let path = format!("/v1/receipts/{unknown}/verify");
    client.get(&path).problem(405, "E-METHOD");

    // A set that is revoked, and then the keys of somebody else.
    symbolon(["keys", "revoke", dir.path().to_str().unwrap(), &id]).ok();
    let said = verification(&mut client, &made[0]);
    assert_eq!((&said["valid"], &said["key_state"]), (&json!(false), &json!("revoked")));
    assert!(said["reason"].as_str().unwrap().contains("revoked"), "{said}");
    fs::copy(deployment().path().join("verify.key"), dir.path().join("verify.key")).unwrap();
    let said = verification(&mut client, &made[0]);
    assert_eq!((&said["valid"], &said["key_state"]), (&json!(false), &json!(null)));
    assert!(said["reason"].as_str().unwrap().contains("another deployment"), "{said}");
    server.stop();
}

/// A deployment that asks for keys: one to enrol and authenticate, one to read.
fn guarded() -> (TempDir, String, String) {
    let dir = deployment();
    let made =
        |roles: &[Role]| access::create(dir.path(), "test", roles, None).unwrap().1.to_string();
    let keys = [made(&[Role::Enrol, Role::Authenticate]), made(&[Role::Read])];
    let [door, read] = keys;
    (dir, door, read)
}

/// Somebody is enrolled and accepted, under a key.
fn decision_under(client: &mut Client, key: &str) -> Value {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    let body = enrolment(0).to_string();
    assert_eq!(client.send("POST", "/v1/enrolments", &headers, body.as_bytes()).status, 201);
    let body = attempt(0, 0).to_string();
    client.send("POST", "/v1/authentications", &headers, body.as_bytes()).json()
}

#[test]
fn roles_say_who_sees_what() {
    let (dir, door, read) = guarded();
    let server = Server::start(dir.path(), IDLE);
    let mut client = server.client();
    let decision = decision_under(&mut client, &door);
    let verify = format!("/v1/receipts/{}/verify", decision["request"].as_str().unwrap());
    client.get("/v1/status").problem(401, "E-API-KEY");
    client.get("/v1/receipts").problem(401, "E-API-KEY");
    client.send("POST", &verify, &[], b"").problem(401, "E-API-KEY");
    let mut get = |path: &str, key: &str| {
        client.send("GET", path, &[("authorization", &format!("Bearer {key}"))], b"")
    };
    assert_eq!(get("/v1/status", &door).status, 200);
    assert_eq!(get("/v1/status", &read).status, 200);
    assert_eq!(get("/v1/receipts", &read).json()["decisions"][0]["request"], decision["request"]);
    get("/v1/receipts", &door).problem(403, "E-ROLE");
    let (_, enrol) = access::create(dir.path(), "test", &[Role::Enrol], None).unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while get("/v1/status", &enrol).status == 401 && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
    }
    get("/v1/status", &enrol).problem(403, "E-ROLE");

    let url = format!("http://{}", server.address);
    let run = symbolon(["pool", "status", "--url", &url]);
    assert!(run.code == Some(2) && run.stderr.contains("E-API-KEY"), "{run:?}");
    let file = dir.path().join("key");
    fs::write(&file, &read).unwrap();
    let file = file.to_str().unwrap();
    let said = symbolon(["pool", "status", "--url", &url, "--api-key-file", file, "--json"]);
    assert_eq!(said.ok_json()[0]["people"]["enrolled"], 1);
    server.stop();
}

#[test]
fn a_server_is_asked_over_tls() {
    let dir = deployment();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| data.join(name));
    let (chain, key) = (chain.to_str().unwrap(), key.to_str().unwrap());
    let server = Server::start(dir.path(), &["--tls-chain", chain, "--tls-key", key]);
    let (_, port) = server.address.rsplit_once(':').unwrap();
    let url = format!("https://localhost:{port}");
    let said = symbolon(["pool", "status", "--json", "--url", &url, "--ca", chain]).ok_json();
    assert_eq!(said[0]["people"]["enrolled"], 0);
    // The certificate is not for this name.
    let url = format!("https://other.localhost:{port}");
    let run = symbolon(["pool", "status", "--url", &url, "--ca", chain]);
    assert!(run.code == Some(2) && run.stderr.contains("E-IO"), "{run:?}");
    server.stop();
}

#[test]
fn pages_load_nothing_and_run_only_what_is_theirs() {
    let (dir, ..) = guarded();
    let server = Server::start(dir.path(), IDLE);
    let mut client = server.client();
    for path in ["/", "/docs"] {
        // To anybody: there is nothing in them.
        let [page, again] = [client.get(path), client.get(path)];
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, Some("text/html; charset=utf-8"))
        );
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        let policy = page.header("content-security-policy").unwrap();
        let mut rules: Vec<_> = policy.split("; ").collect();
        let nonce =
            rules[1].strip_prefix("script-src 'nonce-").unwrap().strip_suffix('\'').unwrap();
        assert_eq!(nonce.len(), 32);
        assert_eq!(rules.remove(2), format!("style-src 'nonce-{nonce}'"));
        rules.remove(1);
        assert_eq!(
            rules,
            [
                "default-src 'none'",
                "connect-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            ]
        );
        assert_ne!(again.header("content-security-policy"), Some(policy));
        let text = String::from_utf8(page.body.clone()).unwrap();
        let marked = text.matches(&format!("nonce=\"{nonce}\"")).count();
        let parts = text.matches("<script").count() + text.matches("<style").count();
        assert_eq!((marked, parts, text.contains("{nonce}")), (2, 2, false));
        for outside in ["http:", "https:", "src=", "url(", "@import", "<link", "<iframe", "//cdn"] {
            assert!(!text.contains(outside), "{path}: {outside}");
        }
    }
    server.stop();
}

/// A browser without a window, asked over its DevTools protocol: JSON, ended by a zero byte.
struct Browser {
    child: Child,
    messages: Receiver<Value>,
    session: Option<String>,
    asked: u64,
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// `None`, with a word, where there is none; but not where every check must run.
    fn start() -> Option<Self> {
        let is_there = |name: &&str| {
            let paths = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&paths).any(|dir| dir.join(name).is_file())
        };
        let Some(name) = ["chromium", "chromium-browser"].into_iter().find(is_there) else {
            let what = "no Chromium (apt-get install chromium)";
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{what}");
            println!("SKIPPED: {what}");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        // It reads from descriptor 3 and writes to 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh", name])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--disable-dev-shm-usage", "--no-proxy-server", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, messages) = mpsc::channel();
        thread::spawn(move || {
            for message in out.split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let (session, events) = (None, Vec::new());
        let mut browser = Self { child, messages, session, asked: 0, events, _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach)["sessionId"].clone();
        browser.session = session.as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let wait = Duration::from_secs(60);
            let message = self.messages.recv_timeout(wait).expect("the browser answers");
            if message["id"] == self.asked {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn open(&mut self, url: &str) {
        self.eval("window.left = true");
        self.call("Page.navigate", json!({ "url": url }));
        self.until("!window.left && document.readyState === 'complete'");
    }

    /// An expression's value.
    #[track_caller]
    fn eval(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        let result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression holds.
    #[track_caller]
    fn until(&mut self, expression: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.eval(expression) != json!(true) {
            let page = "document.body.innerText";
            assert!(Instant::now() < end, "never {expression}: {}", self.eval(page));
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What an element shows.
    #[track_caller]
    fn text(&mut self, id: &str) -> String {
        let text = self.eval(&format!("document.getElementById({id:?}).innerText"));
        text.as_str().unwrap().to_owned()
    }

    /// What scripts did wrong, or the page's policy forbade.
    fn complaints(&self) -> Vec<&Value> {
        let is_bad = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Log.entryAdded") => event["params"]["entry"]["source"] != "network",
            _ => false,
        };
        self.events.iter().filter(is_bad).collect()
    }

    /// The addresses that were asked for.
    fn requests(&self) -> Vec<&str> {
        let sent = self.events.iter().filter(|e| e["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| event["params"]["request"]["url"].as_str()).collect()
    }
}

/// A test that failed leaves nothing running.
impl Drop for Browser {
    fn drop(&mut self) {
        // Its own processes end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SERVING: &str = "document.getElementById('state').innerText === 'Serving'";

#[test]
fn a_browser_shows_what_the_server_says() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = deployment();
    let ring = Keyring::load(dir.path(), None).unwrap();
    Registry::create(dir.path(), 20, ring.entries()[0].deployment.id).unwrap();
    let server = Server::start(dir.path(), IDLE);
    let mut client = server.client();
    let url = format!("http://{}/", server.address);
    browser.open(&url);
    // Nothing yet: how to make something.
    browser.until(SERVING);
    assert!(browser.text("how").starts_with(&format!("curl -s {url}v1/authentications ")));
    assert_eq!((browser.text("decided"), browser.text("people")), ("0".into(), "0".into()));

    let made = decisions(&mut client);
    for decision in &made {
        client.receipt(decision);
    }
    let count = made.len();
    browser.until(&format!("document.querySelectorAll('#receipts tr').length === {count}"));
    // Every number is from the same document.
    let status = client.get("/v1/status").json();
    for (id, at) in [
        ("decided", "/attempts/decided"),
        ("batches", "/batches/decided"),
        ("people", "/people/enrolled"),
        ("breaker", "/breaker/state"),
        ("attestation", "/attestation/state"),
        ("epoch", "/keys/epoch"),
        ("room", "/queue/capacity"),
        ("sessions", "/devices/sessions"),
        ("identity-breaker", "/devices/breaker/state"),
        ("verdicts", "/devices/verdicts/capacity"),
    ] {
        let value = status.pointer(at).unwrap();
        let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(browser.text(id).replace(',', ""), plain, "{id}");
    }
    assert_eq!(status["attempts"]["decided"], count);
    let newest = client.get("/v1/receipts").json();
    let newest = newest["decisions"].as_array().unwrap();
    let rows = browser.eval(
        "[...document.querySelectorAll('#receipts tr')].map(row => [...row.cells].slice(0, 2).map(c => c.innerText))",
    );
    let word = |decision: &Value| if decision["accept"] == true { "accepted" } else { "rejected" };
    let wanted: Vec<_> = newest.iter().map(|d| json!([d["request"], word(d)])).collect();
    assert_eq!(rows, json!(wanted));
    assert!(!browser.text("main").contains("person "));
    let line = "document.getElementById('curve').getAttribute('points').split(' ').length > 1";
    browser.until(line);

    browser.eval("document.querySelector('#receipts button').click()");
    browser.until("document.querySelector('.note p')?.className === 'good'");
    let note = browser.eval("document.querySelector('.note').innerText");
    let note = note.as_str().unwrap();
    let id =
        symbolon_host::keyring::hex(&Keyring::load(dir.path(), None).unwrap().entries()[0].keys.id);
    assert!(
        note.starts_with("Valid: ") && note.contains(&id) && note.contains("ML-DSA-65"),
        "{note}"
    );
    let receipt = newest[0]["receipt"].as_str().unwrap();
    assert!(note.contains("symbolon verify") && note.contains(receipt), "{note}");

    // The list goes on, and what was said stays.
    let next = client.post("/v1/authentications", &attempt(1, 1)).json();
    let first = "document.querySelector('#receipts tr')?.dataset.request";
    browser.until(&format!("{first} === {}", next["request"]));
    assert_eq!(browser.eval("document.querySelectorAll('.note').length"), 1);

    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    let requests = browser.requests();
    assert!(requests.iter().all(|asked| asked.starts_with(&url)), "{requests:?}");
    assert!(requests.len() > 3);

    // It says that the server has gone, and takes it up again.
    let address = server.address.clone();
    server.stop();
    browser.until("document.getElementById('state').innerText.includes('does not answer')");
    assert_eq!(browser.text("people"), "3");
    let server = Server::start(dir.path(), &[IDLE, &["--listen", &address]].concat());
    browser.until(SERVING);
    browser.until("document.getElementById('decided').innerText === '0'");
    browser.until("document.querySelectorAll('#receipts tr').length === 0");

    // What does not verify, it says too.
    let mut client = server.client();
    let last = client.post("/v1/authentications", &attempt(1, 1)).json();
    client.receipt(&last);
    symbolon(["keys", "revoke", dir.path().to_str().unwrap(), &id]).ok();
    browser.until(&format!("{first} === {}", last["request"]));
    browser.eval("document.querySelector('#receipts button').click()");
    browser.until("document.querySelector('.note p')?.className === 'bad'");
    let note = browser.eval("document.querySelector('.note').innerText");
    assert!(note.as_str().unwrap().starts_with("Not valid: the keys were revoked"), "{note}");
    server.stop();
}

#[test]
fn a_browser_asks_for_a_key_and_keeps_it_in_its_tab() {
    let Some(mut browser) = Browser::start() else { return };
    let (dir, door, read) = guarded();
    let server = Server::start(dir.path(), IDLE);
    let decision = decision_under(&mut server.client(), &door);
    let url = format!("http://{}/", server.address);
    browser.open(&url);
    browser.until("document.getElementById('state').innerText === 'An API key is needed'");
    let enter = |browser: &mut Browser, key: &str| {
        browser.until("!document.getElementById('login').hidden");
        browser.eval(&format!("document.getElementById('key').value = {key:?}"));
        browser.eval("document.querySelector('form button').click()");
    };
    enter(&mut browser, "sk_0");
    browser.until(
        "document.getElementById('state').innerText === 'The API key is unknown or revoked'",
    );
    // It may see the numbers, not everybody's decisions.
    enter(&mut browser, &door);
    browser.until(SERVING);
    assert_eq!((browser.text("people"), browser.text("decided")), ("1".into(), "1".into()));
    browser.until("document.getElementById('refusal').innerText.includes('role read')");
    assert_eq!(browser.eval("document.getElementById('login').hidden"), true);

    browser.eval("sessionStorage.clear()");
    browser.open(&url);
    enter(&mut browser, &read);
    let first = "document.querySelector('#receipts tr')?.dataset.request";
    browser.until(&format!("{first} === {}", decision["request"]));
    // Taken up again in the tab, and nowhere else.
    browser.open(&url);
    browser.until(&format!("{first} === {}", decision["request"]));
    let kept = browser.eval("[sessionStorage.length, localStorage.length, document.cookie]");
    assert_eq!(kept, json!([1, 0, ""]));
    let page = browser.eval("document.documentElement.outerHTML");
    assert!(!page.as_str().unwrap().contains(&read));
    assert!(browser.requests().iter().all(|asked| !asked.contains("sk_")));
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    server.stop();
}
