//! The `symbolon` binary as its users meet it: output, exit codes, and one line for every error.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{Run, command, object, symbolon};
use serde_json::{Value, json};
use symbolon_core::attest::{Batch, Leaf, Receipt, Window};
use symbolon_host::store::Store;
use tempfile::TempDir;

const DIMS: usize = 128;
const PEOPLE: usize = 5;

/// Uniform in -1 to 1, the same every time (splitmix64).
fn uniform(seed: u64) -> f64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as f64 / (u64::MAX / 2) as f64 - 1.0
}

/// A capture of a person, whose captures have a cosine of some 0.99 with each other and of some
/// 0.1 with anyone else's.
fn capture(person: usize, capture: usize, dims: usize) -> Vec<f64> {
    let at = |capture: usize, i: usize| uniform((capture << 40 | person << 20 | i) as u64 + 1);
    (0..dims).map(|i| at(0, i) + 0.1 * at(capture + 1, i)).collect()
}

fn captures(number: usize, dims: usize) -> Vec<Vec<f64>> {
    (0..PEOPLE).map(|person| capture(person, number, dims)).collect()
}

fn csv(rows: &[Vec<f64>]) -> String {
    let line = |row: &Vec<f64>| row.iter().map(f64::to_string).collect::<Vec<_>>().join(",") + "\n";
    rows.iter().map(line).collect()
}

fn npy(rows: &[Vec<f64>]) -> Vec<u8> {
    let (count, dims) = (rows.len(), rows[0].len());
    let header =
        format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({count}, {dims}), }}");
    let mut file = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    file.extend_from_slice(format!("{header:<117}\n").as_bytes());
    assert_eq!(file.len(), NPY_DATA);
    file.extend(rows.iter().flatten().flat_map(|value| value.to_le_bytes()));
    file
}

/// Where the values of [`npy`] begin.
const NPY_DATA: usize = 128;

/// Names and contents of all files, and on Unix their permissions.
fn snapshot(dir: &Path) -> BTreeMap<String, (Vec<u8>, u32)> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            #[cfg(unix)]
            let mode =
                std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions());
            #[cfg(not(unix))]
            let mode = 0;
            let name = entry.file_name().into_string().unwrap();
            (name, (fs::read(entry.path()).unwrap(), mode))
        })
        // The receipt log grows with every authentication.
        .filter(|(name, _)| !name.starts_with("receipts."))
        .collect()
}

/// Everybody's record, unsealed.
fn records(store: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut records = BTreeMap::new();
    let store = Store::open(store).unwrap();
    store
        .for_each(|id, record| {
            records.insert(id.into(), record.into());
            Ok(())
        })
        .unwrap();
    records
}

/// The answers of an authentication, without the ids of the requests, which are its own every time.
#[track_caller]
fn answers(run: Run) -> Vec<Value> {
    let mut lines = run.ok_json();
    // The last tells what signing took.
    let signing = lines.pop().unwrap()["signing"].take();
    assert_eq!(signing["batches"], lines.len().div_ceil(32));
    for line in &mut lines {
        let request = line.as_object_mut().unwrap().remove("request").unwrap();
        let request = request.as_str().unwrap();
        assert!(request.len() == 32 && request.bytes().all(|c| c.is_ascii_hexdigit()));
    }
    lines
}

/// A directory with a store of 5 people, p0 to p4.
struct World {
    temp: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self::empty();
        world.enrol("store", &[]).ok();
        world
    }

    /// No store, but `enrol.csv` and `probes.csv`, captures 0 and 1 of everybody, and `ids`.
    fn empty() -> Self {
        let world = Self { temp: tempfile::tempdir().unwrap() };
        world.write("enrol.csv", csv(&captures(0, DIMS)));
        world.write("probes.csv", csv(&captures(1, DIMS)));
        world.write("ids", "p0\np1\np2\np3\np4\n");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// The binary, run in this directory.
    fn run(&self, arguments: &[&str]) -> Run {
        command(arguments).current_dir(self.temp.path()).output().unwrap().into()
    }

    fn enrol(&self, store: &str, more: &[&str]) -> Run {
        let arguments =
            ["enrol", "--embeddings", "enrol.csv", "--ids", "ids", "--store", store, "--json"];
        self.run(&[&arguments, more].concat())
    }

    /// Authenticates `probes.csv` and gives the lines.
    fn auth(&self, store: &str, more: &[&str]) -> Vec<Value> {
        let arguments =
            ["auth", "--embeddings", "probes.csv", "--ids", "ids", "--store", store, "--json"];
        answers(self.run(&[&arguments, more].concat()))
    }

    /// Writes the receipts of all 5 to `receipts` and gives them one by one.
    fn receipts(&self) -> Vec<Vec<u8>> {
        self.auth("store", &["--receipt", "receipts"]);
        let bytes = fs::read(self.path("receipts")).unwrap();
        let mut rest = &bytes[..];
        let mut receipts = Vec::new();
        while !rest.is_empty() {
            let (receipt, after) = rest.split_at(Receipt::decode(rest).unwrap().1);
            receipts.push(receipt.to_vec());
            rest = after;
        }
        assert_eq!(receipts.len(), PEOPLE);
        receipts
    }

    /// Runs a command that must fail, for people and for machines, and requires that both say the
    /// same in the way that is promised. Gives the machines' error and what came before it.
    #[track_caller]
    fn failure(&self, arguments: &[&str], exit: i32) -> (Value, String) {
        let plain = self.run(arguments);
        let machine = self.run(&[arguments, &["--json"]].concat());
        assert_eq!((plain.code, machine.code), (Some(exit), Some(exit)), "{plain:?} {machine:?}");
        let line = plain.stderr.strip_suffix('\n').unwrap_or_else(|| panic!("{plain:?}"));
        assert!(!line.chars().any(char::is_control), "more than a line: {plain:?}");
        let lower = line.to_lowercase();
        for word in ["panic", "backtrace", ".rs:", "unwrap"] {
            assert!(!lower.contains(word), "{line}");
        }

        assert_eq!(machine.stderr.lines().count(), 1, "{machine:?}");
        let mut outer = object(&machine.stderr);
        assert_eq!(outer.as_object().unwrap().len(), 1);
        let error = outer["error"].take();
        let keys: Vec<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "message", "file", "row", "line", "field"]);

        // The line for people, from the parts for machines.
        let mut want = format!("symbolon: {}: ", error["code"].as_str().unwrap());
        if let Some(file) = error["file"].as_str() {
            write!(want, "{file}: ").unwrap();
        }
        let row = match (error["row"].as_u64(), error["line"].as_u64()) {
            (Some(row), Some(line)) => format!("row {row} (line {line})"),
            (Some(row), None) => format!("row {row}"),
            (None, Some(line)) => format!("line {line}"),
            (None, None) => String::new(),
        };
        let field = error["field"].as_str().unwrap_or_default();
        let place = [row.as_str(), field].map(str::to_owned);
        let place = place.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        if !place.is_empty() {
            write!(want, "{}: ", place.join(", ")).unwrap();
        }
        want += error["message"].as_str().unwrap();
        assert_eq!(line, want);
        (error, machine.stdout)
    }

    /// Runs a command whose input is unusable: exit code 2 and nothing on standard output. `places`
    /// are the parts of the error that name a place; no other part may.
    #[track_caller]
    fn unusable(&self, arguments: &[&str], code: &str, places: Value) -> String {
        let (error, stdout) = self.failure(arguments, 2);
        assert_eq!(stdout, "");
        assert_eq!(error["code"], code, "{error}");
        for part in ["file", "row", "line", "field"] {
            assert_eq!(error[part], places[part], "{part} of {error}");
        }
        error["message"].as_str().unwrap().into()
    }
}

// --- demo ---

/// One JSON object, whose figures fit together.
fn demo(dims: usize, params: &str) -> Value {
    let temp = tempfile::tempdir().unwrap();
    let dims_text = dims.to_string();
    let arguments = ["demo", "--json", "--identities", "20", "--attempts", "90", "--dims"];
    let mut run = command(arguments);
    run.args([&dims_text, "--params", params]).env("TMPDIR", temp.path());
    let run = Run::from(run.output().unwrap());
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0, "the demo left something behind");
    let [report] = &run.ok_json()[..] else { panic!("one object") };

    let users = [32, 16, 8][[128, 256, 512].iter().position(|&most| dims <= most).unwrap()];
    assert_eq!(report["identities"], 20);
    assert_eq!(report["dims"], dims);
    assert_eq!(report["params"], params.to_uppercase());
    assert_eq!(report["batches"], 90usize.div_ceil(users));
    assert_eq!(report["mismatches"], 0);
    assert_eq!(report["refused_batches"], 0);
    assert_eq!(report["receipt_verified"], true);
    assert_eq!(report["log"]["decisions"], 90);
    assert_eq!(report["log"]["unsigned_batches"], 0);
    assert_eq!(report["signing"]["batches"], report["batches"]);
    assert_eq!(report["signing"]["windows"], report["log"]["windows"]);
    for time in ["durable_us", "signed_us"] {
        assert!(report["signing"][time]["mean"].as_f64().unwrap() > 0.0);
    }
    assert!(!report["isa"].as_str().unwrap().is_empty());
    for (kind, rate, wrong) in [("genuine", "frr", "rejected"), ("impostor", "far", "accepted")] {
        let count = |what: &str| report[kind][what].as_u64().unwrap();
        assert_eq!(count("accepted") + count("rejected"), 45);
        assert_eq!(report[rate].as_f64().unwrap(), count(wrong) as f64 / 45.0);
    }
    // What is found again takes less than what is verified first.
    let identity = |what: &str| report["identity"][what].as_f64().unwrap();
    assert_eq!(
        (identity("devices"), report["identity"]["bits"]["conjectured"].as_u64()),
        (16.0, Some(100))
    );
    assert_eq!(report["identity"]["bits"]["proven"], 59);
    assert!((35_000.0..40_000.0).contains(&identity("proof_bytes")));
    for (cold, cached) in [("verify_us", "recall_us"), ("session_cold_us", "session_resume_us")] {
        assert!(identity(cold) > 5.0 * identity(cached) && identity(cached) > 0.0, "{report}");
    }
    assert!(identity("session_cached_us") > 0.0 && identity("prove_us") > identity("verify_us"));
    let us = |stage: &str| report["batch_us"][stage].as_f64().unwrap();
    for stage in ["encrypt", "match", "decrypt", "total"] {
        assert!(us(stage) > 0.0, "{stage} takes {}", us(stage));
    }
    // The total is rounded to a tenth.
    let rate = report["auths_per_s_per_core"].as_f64().unwrap();
    let exact = users as f64 * 1e6 / us("total");
    assert!((rate - exact).abs() <= 1.0 + exact * 0.05 / us("total"), "{rate} is not {exact}");
    report.clone()
}

#[test]
fn demo_reports_in_every_layout_and_set() {
    for dims in [128, 200, 512] {
        let (fast, strict) = (demo(dims, "q54"), demo(dims, "q81"));
        // The same people, the same integers: the keys make no difference.
        for part in ["genuine", "impostor", "frr", "far", "float_differences"] {
            assert_eq!(fast[part], strict[part]);
        }
        assert!(fast["genuine"]["accepted"].as_u64() > Some(30));
        assert!(fast["impostor"]["rejected"].as_u64() > Some(30));
    }
}

#[test]
fn demo_tells_people_too() {
    let text = symbolon(["demo", "--identities", "2", "--attempts", "2", "--threads", "1"]).ok();
    assert!(text.contains("differ from the clear computation: 0"), "{text}");
    assert!(text.contains("all verify"), "{text}");
    assert!(text.contains("soundness          100 bits conjectured, 59 proven"), "{text}");
    for (row, note) in [
        ("proof verified", "cold: the first time"),
        ("proof found", "cached: two digests and a look-up"),
        ("session, cold", "nullifier on the disk"),
        ("session, cached", "fingerprint"),
        ("session resumed", "a ticket"),
    ] {
        let line = text.lines().find(|line| line.starts_with(row));
        assert!(line.is_some_and(|line| line.contains(" us  ") && line.contains(note)), "{text}");
    }
    for (arguments, code) in [
        (["--dims", "0"], "E-DIMENSION"),
        (["--dims", "513"], "E-DIMENSION"),
        (["--threshold", "2"], "E-THRESHOLD"),
        (["--threads", "0"], "E-ARGUMENT"),
        (["--threads", "1025"], "E-ARGUMENT"),
    ] {
        let (error, _) = World::empty().failure(&[&["demo"], &arguments[..]].concat(), 2);
        assert_eq!(error["code"], code);
    }
}

// --- the way through ---

#[test]
fn keys_enrolment_authentication_verification() {
    for (set, params) in [("q54", "Q54"), ("q81", "Q81")] {
        let world = World::empty();
        let made = world.run(&["keygen", "store", "--params", set, "--json"]).ok_json();
        let id = made[0]["key_id"].as_str().unwrap();
        let signing = format!("signing-{id}.key");
        let files = ["custodian.key", &signing, "public.key", "verify.key"];
        let paths = files.map(|name| Path::new("store").join(name).display().to_string());
        assert_eq!((&made[0]["params"], &made[0]["files"]), (&json!(params), &json!(paths)));
        let valid = |end: &str| made[0][end].as_u64().unwrap();
        let year = 365 * 24 * 60 * 60 * 1000;
        assert_eq!(valid("not_after_ms") - valid("not_before_ms"), year);
        let keys = snapshot(&world.path("store"));
        let mut names = files;
        names.sort_unstable();
        assert_eq!(keys.keys().map(String::as_str).collect::<Vec<_>>(), names);

        // Enrolment uses these keys, whatever set it is told to make keys for.
        let enrolled = world.enrol("store", &["--params", "q54"]).ok_json();
        let summary = json!({
            "enrolled": PEOPLE, "total": PEOPLE, "dims": DIMS, "store": "store",
            "keys_created": false,
        });
        assert_eq!(enrolled, [summary]);
        let store = snapshot(&world.path("store"));
        for name in files {
            assert_eq!(store[name], keys[name]);
        }
        #[cfg(unix)]
        for name in ["custodian.key", &signing, "template.key", "templates.redb"] {
            assert_eq!(store[name].1 & 0o777, 0o600, "{name}");
        }

        let lines = world.auth("store", &["--receipt", "receipts", "--impostors", "--check"]);
        let mut want = Vec::new();
        for row in 0..PEOPLE {
            want.push(json!({ "row": row, "id": format!("p{row}"), "accept": true }));
            let next = format!("p{}", (row + 1) % PEOPLE);
            want.push(json!({ "row": row, "id": next, "accept": false, "impostor": true }));
        }
        assert_eq!(lines, want);
        assert_eq!(snapshot(&world.path("store")), store, "authentication only reads");

        let verify = ["verify", "receipts", "--keys", "store/verify.key"];
        assert!(world.run(&verify).ok().ends_with("all 10 receipts verify\n"));
        let lines = world.run(&[&verify[..], &["--json"]].concat()).ok_json();
        for (i, (line, want)) in lines.iter().zip(&want).enumerate() {
            assert_eq!((&line["receipt"], &line["valid"]), (&json!(i), &json!(true)));
            assert_eq!(line["accept"], want["accept"]);
            assert_eq!(line["reason"], Value::Null);
            assert_eq!(line["threshold_score"], 15_313);
            assert_eq!((&line["window"], &line["key_id"]), (&json!(0), &json!(id)));
        }
        assert_eq!(lines.len(), want.len());
    }
}

#[test]
fn enrolment_makes_keys_once_and_adds_people() {
    let world = World::empty();
    assert_eq!(world.enrol("store", &["--params", "q81"]).ok_json()[0]["keys_created"], true);
    let keys = snapshot(&world.path("store"));
    assert_eq!(keys["custodian.key"].0[5], 3, "the parameter set's id");
    world.write("ids", "q0\nq1\nq2\nq3\nq4\n");
    let summary = &world.enrol("store", &[]).ok_json()[0];
    assert_eq!((&summary["total"], &summary["keys_created"]), (&json!(10), &json!(false)));
    let after = snapshot(&world.path("store"));
    for name in ["custodian.key", "public.key", "verify.key", "template.key"] {
        assert_eq!(keys[name], after[name]);
    }
}

#[test]
fn every_format_says_the_same() {
    let world = World::new();
    let probes = captures(1, DIMS);
    world.write("probes.npy", npy(&probes));
    let line = |(i, row): (usize, &Vec<f64>)| json!({ "id": format!("p{i}"), "embedding": row });
    let lines: Vec<String> = probes.iter().enumerate().map(|l| line(l).to_string()).collect();
    world.write("probes.jsonl", lines.join("\n"));
    let want = world.auth("store", &[]);
    assert!(want.iter().all(|line| line["accept"] == true));
    for (file, ids) in [("probes.npy", &["--ids", "ids"][..]), ("probes.jsonl", &[])] {
        let run = ["auth", "--store", "store", "--json", "--embeddings", file];
        assert_eq!(answers(world.run(&[&run[..], ids].concat())), want);
    }
}

#[test]
fn a_reject_is_no_failure() {
    let world = World::new();
    world.write("ids", "p1\np2\np3\np4\np4\n");
    let accepted = |lines: Vec<Value>| {
        lines.iter().map(|line| line["accept"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(accepted(world.auth("store", &[])), [false, false, false, false, true]);
    assert_eq!(accepted(world.auth("store", &["--threshold", "1"])), [false; 5]);
    assert_eq!(accepted(world.auth("store", &["--threshold", "-1"])), [true; 5]);
    assert_eq!(accepted(world.auth("store", &["--threads", "1"])).len(), 5);
    let text =
        world.run(&["auth", "--embeddings", "probes.csv", "--ids", "ids", "--store", "store"]);
    let text = text.ok();
    assert!(
        text.contains("\naccepted 1 of 5 at threshold 0.5\nsigned 1 batches in 1 windows"),
        "{text}"
    );
    assert_eq!(text.matches("reject").count(), 4);
    assert_eq!(text.matches("  request ").count(), 5);
}

#[test]
fn captures_choose_the_rows() {
    let world = World::empty();
    // p0 three times, p1 twice, mixed.
    let rows = [(0, 0), (1, 0), (0, 1), (0, 2), (1, 1)].map(|(p, c)| capture(p, c, DIMS));
    world.write("enrol.csv", csv(&rows));
    world.write("probes.csv", csv(&rows));
    world.write("ids", "p0\np1\np0\np0\np1\n");
    assert_eq!(world.enrol("store", &["--captures", "0"]).ok_json()[0]["enrolled"], 2);
    let rows = |captures: &str| -> Vec<u64> {
        let lines = world.auth("store", &["--captures", captures]);
        assert!(lines.iter().all(|line| line["accept"] == true));
        lines.iter().map(|line| line["row"].as_u64().unwrap()).collect()
    };
    assert_eq!(rows("1.."), [2, 3, 4]);
    assert_eq!(rows("0..1"), [0, 1, 2, 4]);
    assert_eq!(rows("2.."), [3]);
}

// --- what is refused ---

/// Enrolment and authentication refuse the same files, and the store is as it was. Enrolment is
/// tried with a new store too, which must not come into being.
#[test]
fn bad_embeddings_and_ids() {
    let world = World::new();
    let good = captures(1, DIMS);
    let edited = |edit: &dyn Fn(&mut Vec<Vec<f64>>)| {
        let mut rows = good.clone();
        edit(&mut rows);
        rows
    };
    let set = |row: usize, column: usize, value: f64| edited(&|rows| rows[row][column] = value);
    let line = |text: &str| {
        let mut lines: Vec<String> = csv(&good).lines().map(str::to_owned).collect();
        lines[2] = text.into();
        lines.join("\n")
    };
    let file = npy(&good);
    let claiming = |from: &str, to: &str| {
        let mut file = file.clone();
        let at = file.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        file[at..at + to.len()].copy_from_slice(to.as_bytes());
        file
    };

    let embeddings: &[(&str, Vec<u8>, &str, Value)] = &[
        // Wrong dimension: of one row, of all, too many.
        ("ragged.csv", line("1,2").into(), "E-DIMENSION", json!({ "row": 2, "line": 3 })),
        ("many.csv", csv(&captures(0, 513)).into(), "E-DIMENSION", json!({ "row": 0, "line": 1 })),
        ("many.npy", npy(&captures(0, 513)), "E-DIMENSION", json!({})),
        // No number, no direction.
        (
            "nan.csv",
            csv(&set(3, 7, f64::NAN)).into(),
            "E-NOT-FINITE",
            json!({ "row": 3, "line": 4, "field": "column 7" }),
        ),
        (
            "inf.csv",
            csv(&set(0, 127, f64::INFINITY)).into(),
            "E-NOT-FINITE",
            json!({ "row": 0, "line": 1, "field": "column 127" }),
        ),
        (
            "large.csv",
            csv(&good).replacen("0.", "1e999", 1).into(),
            "E-NOT-FINITE",
            json!({ "row": 0, "line": 1, "field": "column 0" }),
        ),
        (
            "nan.npy",
            npy(&set(4, 1, f64::NAN)),
            "E-NOT-FINITE",
            json!({ "row": 4, "field": "column 1" }),
        ),
        (
            "inf.npy",
            npy(&set(2, 0, f64::NEG_INFINITY)),
            "E-NOT-FINITE",
            json!({ "row": 2, "field": "column 0" }),
        ),
        (
            "zero.csv",
            csv(&edited(&|rows| rows[1].fill(0.0))).into(),
            "E-ZERO-VECTOR",
            json!({ "row": 1, "line": 2 }),
        ),
        (
            "zero.npy",
            npy(&edited(&|rows| rows[4].fill(-0.0))),
            "E-ZERO-VECTOR",
            json!({ "row": 4 }),
        ),
        ("zero.jsonl", "[0, 0.0, -0e5]".into(), "E-ZERO-VECTOR", json!({ "row": 0, "line": 1 })),
        // Not what the extension says, or of an extension nobody reads.
        (
            "words.csv",
            line("1,b").into(),
            "E-PARSE",
            json!({ "row": 2, "line": 3, "field": "column 1" }),
        ),
        ("gap.csv", line("").into(), "E-PARSE", json!({ "row": 2, "line": 3 })),
        ("empty.csv", vec![], "E-PARSE", json!({})),
        ("empty.jsonl", vec![], "E-PARSE", json!({})),
        ("nan.jsonl", "[1, NaN]".into(), "E-PARSE", json!({ "row": 0, "line": 1 })),
        ("binary.jsonl", file.clone(), "E-PARSE", json!({ "row": 0, "line": 1 })),
        ("text.npy", csv(&good).into(), "E-PARSE", json!({})),
        ("rows.txt", csv(&good).into(), "E-FORMAT", json!({})),
        ("rows", csv(&good).into(), "E-FORMAT", json!({})),
        ("rows.npy.gz", file.clone(), "E-FORMAT", json!({})),
        ("integers.npy", claiming("<f8", "<i8"), "E-FORMAT", json!({})),
        ("flat.npy", claiming("(5, 128)", "(640,)  "), "E-FORMAT", json!({})),
        ("none.npy", claiming("(5, 128)", "(0, 128)"), "E-PARSE", json!({})),
        // Cut short, or longer than it says.
        ("more.npy", claiming("(5, 128)", "(6, 128)"), "E-PARSE", json!({})),
        ("less.npy", claiming("(5, 128)", "(4, 128)"), "E-PARSE", json!({})),
        ("huge.npy", claiming("(5, 128)", "(9999999999999, 128)"), "E-PARSE", json!({})),
        ("cut0.npy", vec![], "E-PARSE", json!({})),
        ("cut5.npy", file[..5].into(), "E-PARSE", json!({})),
        ("cut9.npy", file[..9].into(), "E-PARSE", json!({})),
        ("cut60.npy", file[..60].into(), "E-PARSE", json!({})),
        ("cut128.npy", file[..NPY_DATA].into(), "E-PARSE", json!({})),
        ("cut1000.npy", file[..1000].into(), "E-PARSE", json!({})),
        ("cut.npy", file[..file.len() - 1].into(), "E-PARSE", json!({})),
        ("long.npy", [&file[..], &[0]].concat(), "E-PARSE", json!({})),
    ];
    let long = format!("p0\n{}\np2\np3\np4\n", "x".repeat(257));
    let ids: &[(&str, &[u8], &str, Value)] = &[
        ("blank", b"p0\n\np2\np3\np4\n", "E-ID", json!({ "row": 1, "line": 2 })),
        ("long", long.as_bytes(), "E-ID", json!({ "row": 1, "line": 2 })),
        ("tab", b"p0\np1\np2\np\t3\np4\n", "E-ID", json!({ "row": 3, "line": 4 })),
        ("latin", b"p0\np1\np2\np3\np\xff\n", "E-ID", json!({ "row": 4, "line": 5 })),
    ];

    let before = snapshot(&world.path("store"));
    for command in ["enrol", "auth"] {
        let stores: &[&str] = if command == "enrol" { &["store", "fresh"] } else { &["store"] };
        for store in stores {
            let refuse =
                |embeddings: &str, ids: &[&str], code: &str, file: &str, mut place: Value| {
                    place["file"] = file.into();
                    let run = [command, "--store", store, "--embeddings", embeddings];
                    world.unusable(&[&run[..], ids].concat(), code, place);
                };
            for (name, content, code, place) in embeddings {
                world.write(name, content);
                refuse(name, &["--ids", "ids"], code, name, place.clone());
            }
            for (name, content, code, place) in ids {
                world.write(name, content);
                refuse("probes.csv", &["--ids", name], code, name, place.clone());
            }
            world.write("four", "p0\np1\np2\np3\n");
            world.write("six", "p0\np1\np2\np3\np4\np5\n");
            world.write("nobody", "");
            for count in ["four", "six", "nobody"] {
                refuse("probes.csv", &["--ids", count], "E-ROWS-IDS", "probes.csv", json!({}));
            }
            refuse("probes.csv", &[], "E-ARGUMENT", "probes.csv", json!({}));
            world.write("both.jsonl", json!({ "id": "p0", "embedding": good[0] }).to_string());
            refuse("both.jsonl", &["--ids", "ids"], "E-ARGUMENT", "both.jsonl", json!({}));
            refuse("gone.csv", &["--ids", "ids"], "E-IO", "gone.csv", json!({}));
            refuse("probes.csv", &["--ids", "gone"], "E-IO", "gone", json!({}));
            fs::create_dir_all(world.path("folder.csv")).unwrap();
            refuse("folder.csv", &["--ids", "ids"], "E-IO", "folder.csv", json!({}));
        }
    }
    assert!(!world.path("fresh").exists(), "nothing is made for what is refused");
    assert_eq!(snapshot(&world.path("store")), before);
    assert!(world.auth("store", &[]).iter().all(|line| line["accept"] == true));
}

#[test]
fn bad_arguments() {
    let world = World::new();
    let before = snapshot(&world.path("store"));
    let auth = ["auth", "--embeddings", "probes.csv", "--ids", "ids", "--store", "store"];
    let enrol = ["enrol", "--embeddings", "enrol.csv", "--ids", "ids", "--store", "fresh"];
    let refuse = |command: &[&str], argument: &str, code: &str, place: Value| {
        world.unusable(&[command, &[argument]].concat(), code, place)
    };
    for threshold in ["nan", "NaN", "2", "abc", "-1.5", "", "inf", "-inf", "1.0000001", "0,5"] {
        let argument = format!("--threshold={threshold}");
        let message = refuse(&auth, &argument, "E-THRESHOLD", json!({ "field": "--threshold" }));
        assert!(message.contains(&format!("\"{threshold}\"")), "{message}");
    }
    for captures in ["x", "", "-1", "1-3", "3..1", "..", "..2", "1,,2", "0;1", "4294967296"] {
        for command in [&auth, &enrol] {
            let argument = format!("--captures={captures}");
            refuse(command, &argument, "E-ARGUMENT", json!({ "field": "captures" }));
        }
    }
    // Everybody has one capture.
    for command in [&auth, &enrol] {
        for captures in ["1", "0..1", "0,3"] {
            let argument = format!("--captures={captures}");
            let place = json!({ "file": "ids", "row": 0 });
            let message = refuse(command, &argument, "E-CAPTURE", place);
            assert!(message.contains("\"p0\""), "{message}");
        }
        refuse(command, "--captures=1..", "E-CAPTURE", json!({ "file": "ids" }));
        refuse(command, "--threads=0", "E-ARGUMENT", json!({}));
    }
    world.write("one.csv", csv(&captures(1, DIMS)[..1]));
    world.write("one", "p0\n");
    let one = ["auth", "--embeddings", "one.csv", "--ids", "one", "--store", "store"];
    refuse(&one, "--impostors", "E-ARGUMENT", json!({}));
    let nowhere = "no/such/folder/receipts";
    world.unusable(
        &[&auth[..], &["--receipt", nowhere]].concat(),
        "E-IO",
        json!({ "file": nowhere }),
    );
    assert!(!world.path("fresh").exists());
    assert_eq!(snapshot(&world.path("store")), before);
}

#[test]
fn ids_that_do_not_fit_the_store() {
    let world = World::new();
    let (before, people) = (snapshot(&world.path("store")), records(&world.path("store")));
    assert_eq!(people.len(), PEOPLE);

    // Authentication: the third and the fifth are not enrolled; the first of them is named.
    world.write("strangers", "p0\np1\nnobody\np3\nno one\n");
    let auth = |ids| ["auth", "--embeddings", "probes.csv", "--ids", ids, "--store", "store"];
    let place = json!({ "file": "strangers", "row": 2 });
    let message = world.unusable(&auth("strangers"), "E-UNKNOWN-ID", place);
    assert!(message.contains("\"nobody\""), "{message}");
    // Ids are not trimmed, folded or cut.
    for id in ["P0", "p0 ", "p"] {
        world.write("one.csv", csv(&captures(1, DIMS)[..1]));
        world.write("one", id);
        let run = ["auth", "--embeddings", "one.csv", "--ids", "one", "--store", "store"];
        world.unusable(&run, "E-UNKNOWN-ID", json!({ "file": "one", "row": 0 }));
    }

    // Enrolment: twice in the file.
    world.write("twice", "q0\nq1\nq2\nq1\nq4\n");
    for store in ["store", "fresh"] {
        let run = ["enrol", "--embeddings", "enrol.csv", "--ids", "twice", "--store", store];
        let place = json!({ "file": "twice", "row": 3 });
        let message = world.unusable(&run, "E-DUPLICATE-ID", place);
        assert!(message.contains("\"q1\"") && message.contains("row 1"), "{message}");
    }
    assert!(!world.path("fresh").exists());
    assert_eq!(snapshot(&world.path("store")), before);

    // Enrolled already, the last of five: the four before it are not enrolled either.
    world.write("again", "q0\nq1\nq2\nq3\np4\n");
    let run = ["enrol", "--embeddings", "enrol.csv", "--ids", "again", "--store", "store"];
    let message = world.unusable(&run, "E-DUPLICATE-ID", json!({ "file": "store" }));
    assert!(message.contains("\"p4\""), "{message}");
    assert_eq!(records(&world.path("store")), people);
    // The database was opened to write, and may have written its own housekeeping.
    let mut after = snapshot(&world.path("store"));
    after.insert("templates.redb".into(), before["templates.redb"].clone());
    assert_eq!(after, before);

    // Another dimension than the store's, of the same layout.
    world.write("short.csv", csv(&captures(0, 64)));
    world.write("new", "q0\nq1\nq2\nq3\nq4\n");
    let run = ["enrol", "--embeddings", "short.csv", "--ids", "new", "--store", "store"];
    let message = world.unusable(&run, "E-DIMENSION", json!({ "file": "store" }));
    assert!(message.contains("128") && message.contains("64"), "{message}");
    let run = ["auth", "--embeddings", "short.csv", "--ids", "ids", "--store", "store"];
    let message = world.unusable(&run, "E-DIMENSION", json!({ "file": "short.csv" }));
    assert!(message.contains("128") && message.contains("64"), "{message}");
    assert_eq!(records(&world.path("store")), people);
}

/// Damages a copy of a store's file, and expects both commands that open the store to refuse it and
/// to change nothing.
struct Damage<'a> {
    world: &'a World,
    store: BTreeMap<String, (Vec<u8>, u32)>,
}

impl Damage<'_> {
    /// A fresh copy of the store at `copy`.
    fn copy(&self) -> PathBuf {
        let dir = self.world.path("copy");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        for (name, (content, _mode)) in &self.store {
            let file = dir.join(name);
            fs::write(&file, content).unwrap();
            #[cfg(unix)]
            set_mode(&file, *_mode);
        }
        dir
    }

    /// `place` is the file that the error names, below the directory of the test.
    #[track_caller]
    fn refused(&self, commands: &[&str], damage: impl Fn(&Path), code: &str, place: &str) {
        for command in commands {
            let dir = self.copy();
            damage(&dir);
            let before = snapshot(&dir);
            let ids = if *command == "enrol" { "new" } else { "ids" };
            let run = [command, "--embeddings", "probes.csv", "--ids", ids, "--store", "copy"];
            self.world.unusable(&run, code, json!({ "file": place }));
            assert_eq!(snapshot(&dir), before);
        }
    }
}

#[cfg(unix)]
fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn damaged_and_foreign_stores() {
    let world = World::new();
    world.write("new", "q0\nq1\nq2\nq3\nq4\n");
    world.enrol("other", &[]).ok();
    let other = snapshot(&world.path("other"));
    let damage = Damage { world: &world, store: snapshot(&world.path("store")) };
    let both = ["auth", "enrol"];
    let replace = |dir: &Path, name: &str, content: &[u8]| {
        let file = OpenOptions::new().write(true).truncate(true).open(dir.join(name));
        std::io::Write::write_all(&mut file.unwrap(), content).unwrap();
    };

    let database = &damage.store["templates.redb"].0;
    let lengths = [0, 1, 8, 63, 64, 511, 512, 4096, database.len() / 2, database.len() - 1];
    for length in lengths {
        let cut = |dir: &Path| replace(dir, "templates.redb", &database[..length]);
        damage.refused(&both, cut, "E-STORE-FORMAT", "copy/templates.redb");
    }
    let garbage: Vec<u8> = (0..database.len() as u64).map(|i| uniform(i).to_bits() as u8).collect();
    let overwrite = |dir: &Path| replace(dir, "templates.redb", &garbage);
    damage.refused(&both, overwrite, "E-STORE-FORMAT", "copy/templates.redb");

    // Halves of two stores.
    for half in ["templates.redb", "template.key"] {
        let swap = |dir: &Path| replace(dir, half, &other[half].0);
        damage.refused(&both, swap, "E-STORE-KEY", "copy");
    }
    let key = "template.key";
    let place = "copy/template.key";
    for length in [0, 31] {
        let cut = |dir: &Path| replace(dir, key, &other[key].0[..length]);
        damage.refused(&both, cut, "E-STORE-KEY", place);
    }
    let longer = |dir: &Path| replace(dir, key, &[0; 33]);
    damage.refused(&both, longer, "E-STORE-KEY", place);
    let remove = |dir: &Path| fs::remove_file(dir.join(key)).unwrap();
    damage.refused(&both, remove, "E-STORE-KEY", place);
    #[cfg(unix)]
    for mode in [0o644, 0o640, 0o604, 0o620, 0o602] {
        damage.refused(&both, |dir| set_mode(&dir.join(key), mode), "E-STORE-KEY", place);
    }

    // No store at all.
    let remove = |dir: &Path| fs::remove_file(dir.join("templates.redb")).unwrap();
    damage.refused(&["auth"], remove, "E-STORE-FORMAT", "copy");
    let auth = |store| ["auth", "--embeddings", "probes.csv", "--ids", "ids", "--store", store];
    world.unusable(&auth("nowhere"), "E-STORE-FORMAT", json!({ "file": "nowhere" }));
    assert!(!world.path("nowhere").exists());

    // What was copied was in order.
    damage.copy();
    assert!(world.auth("copy", &[]).iter().all(|line| line["accept"] == true));
}

#[test]
fn damaged_keys() {
    let world = World::new();
    let damage = Damage { world: &world, store: snapshot(&world.path("store")) };
    let replace =
        |dir: &Path, name: &str, content: &[u8]| fs::write(dir.join(name), content).unwrap();
    for name in ["custodian.key", "public.key"] {
        let place = format!("copy/{name}");
        let key = &damage.store[name].0;
        let with = |at: usize, byte: u8| {
            let mut key = key.clone();
            key[at] = byte;
            key
        };
        let garbage: Vec<u8> = (0..key.len() as u64).map(|i| uniform(i).to_bits() as u8).collect();
        let mut bad = vec![
            vec![],
            key[..3].into(),
            key[..10].into(),
            key[..key.len() - 1].into(),
            [&key[..], &[0]].concat(),
            garbage,
            with(0, b'X'),
            // The version; the parameter set, or of public.key the kind.
            with(4, 3),
            with(5, 9),
        ];
        if name == "public.key" {
            // The other parameter set; a coefficient above its prime.
            bad.push(with(6, 3));
            bad.push([&key[..8], &[0xff; 4], &key[12..]].concat());
        }
        for content in bad {
            damage.refused(&["auth"], |dir| replace(dir, name, &content), "E-KEY-FILE", &place);
        }
        let remove = |dir: &Path| fs::remove_file(dir.join(name)).unwrap();
        damage.refused(&["auth"], remove, "E-KEY-FILE", &place);
    }
    #[cfg(unix)]
    for mode in [0o644, 0o640, 0o604, 0o620, 0o602] {
        let open = |dir: &Path| set_mode(&dir.join("custodian.key"), mode);
        damage.refused(&["auth"], open, "E-KEY-FILE", "copy/custodian.key");
    }
    // Keys are never overwritten.
    let before = snapshot(&world.path("store"));
    let place = json!({ "file": "store/custodian.key" });
    world.unusable(&["keygen", "store"], "E-KEY-FILE", place);
    assert_eq!(snapshot(&world.path("store")), before);
    world.unusable(&["keygen", "ids"], "E-IO", json!({ "file": "ids" }));
}

/// Keys of two deployments do not work together, and that is said: a batch encrypted for another key
/// decrypts to noise, and everybody would be rejected without a word.
#[test]
fn keys_of_another_deployment() {
    let world = World::new();
    for (other, set) in [("other", "q54"), ("strict", "q81")] {
        world.enrol(other, &["--params", set]).ok();
        let other = snapshot(&world.path(other));
        let damage = Damage { world: &world, store: snapshot(&world.path("store")) };
        for name in ["custodian.key", "public.key"] {
            let swap = |dir: &Path| fs::write(dir.join(name), &other[name].0).unwrap();
            damage.refused(&["auth"], swap, "E-KEY-FILE", "copy/public.key");
        }
    }
}

// --- receipts ---

const VERIFY: [&str; 4] = ["verify", "bad", "--keys", "store/verify.key"];

#[test]
fn malformed_receipts() {
    let world = World::new();
    let receipts = world.receipts();
    let (first, all) = (&receipts[0], receipts.concat());
    let with = |at: usize, byte: u8| {
        let mut receipt = first.clone();
        receipt[at] = byte;
        receipt
    };
    // Magic, version, index, leaf, path of 5 leaves (3 nodes, 1 for the last), batch, window.
    let (index, leaf) = (5, 6);
    let nodes = leaf + Leaf::SIZE;
    let batch = nodes + 1 + 3 * 32;
    let count = batch + 1 + 16 + 4 + 2 + 2 + 4 + 32 + 4 + 16 + 8;
    let batch_index = batch + Batch::SIZE;
    let window = batch_index + 3;
    let signatures = window + Window::SIZE;
    assert_eq!((first[count], first[index], first[nodes]), (PEOPLE as u8, 0, 3));
    assert_eq!((first[batch], first[window], first[signatures]), (2, 1, 3));
    let cases: &[(Vec<u8>, usize)] = &[
        (vec![], 0),
        (first[..1].into(), 0),
        (first[..leaf].into(), 0),
        (first[..signatures].into(), 0),
        (first[..first.len() - 1].into(), 0),
        (all[..all.len() - 1].into(), 4),
        (all[1..].into(), 0),
        ([&first[..], &[0]].concat(), 1),
        ([&first[..], b"SYRC"].concat(), 1),
        ([&all[..], &all[..100]].concat(), 5),
        (captures_as_bytes(), 0),
        (with(0, b's'), 0),
        // Versions: the receipt's, the batch's, the window's.
        (with(4, 1), 0),
        (with(batch, 1), 0),
        (with(window, 2), 0),
        (with(count, 0), 0),
        (with(count, 33), 0),
        (with(index, PEOPLE as u8), 0),
        (with(nodes, 2), 0),
        (with(batch_index, 1), 0),
        // The decision, and whether there is an identity proof: neither 0 nor 1.
        (with(leaf + 64, 2), 0),
        (with(leaf + 65, 2), 0),
        // Fewer signatures than families; a family that is not known, or not in its turn.
        (with(signatures, 2), 0),
        (with(signatures + 1, 0x7f), 0),
        (with(signatures + 1, 0x03), 0),
    ];
    for (bad, row) in cases {
        world.write("bad", bad);
        world.unusable(&VERIFY, "E-RECEIPT-FORMAT", json!({ "file": "bad", "row": row }));
    }
    let gone = ["verify", "gone", "--keys", "store/verify.key"];
    world.unusable(&gone, "E-IO", json!({ "file": "gone" }));
    let folder = ["verify", "store", "--keys", "store/verify.key"];
    world.unusable(&folder, "E-IO", json!({ "file": "store" }));
}

fn captures_as_bytes() -> Vec<u8> {
    csv(&captures(0, DIMS)).into()
}

/// One bit of each byte before the signatures, and of some of theirs, flipped: none of what can still be
/// read verifies.
#[test]
fn altered_receipts() {
    let world = World::new();
    let receipt = &world.receipts()[2];
    let (mut altered, mut malformed) = (Vec::new(), Vec::new());
    let signatures = receipt.len() - (3 + 3309 + 666 + 17_088);
    // Past the identifiers of the families.
    let sampled = (signatures + 1..receipt.len()).step_by(397);
    for at in (0..signatures).chain(sampled) {
        let mut bytes = receipt.clone();
        bytes[at] ^= 1 << (at % 8);
        if Receipt::decode_exact(&bytes).is_ok() {
            altered.push((at, bytes));
        } else {
            malformed.push((at, bytes));
        }
    }
    // Magic, versions, what determines lengths, perhaps the decision; and what has to be zero: the absent
    // identity proof, the hash of a window before the first.
    assert!(malformed.len() < 90, "{}", malformed.len());
    for (at, bytes) in malformed {
        world.write("bad", bytes);
        let (error, _) = world.failure(&VERIFY, 2);
        assert_eq!(error["code"], "E-RECEIPT-FORMAT", "byte {at}");
    }

    // All others in one file, between two that are in order.
    let bytes: Vec<&[u8]> = altered.iter().map(|(_, bytes)| &bytes[..]).collect();
    world.write("bad", [receipt, &bytes.concat()[..], receipt].concat());
    let (error, stdout) = world.failure(&VERIFY, 1);
    assert_eq!((&error["code"], &error["row"]), (&json!("E-RECEIPT"), &json!(1)));
    assert_eq!(error["file"], "bad");
    let lines: Vec<Value> = stdout.lines().map(object).collect();
    assert_eq!(lines.len(), altered.len() + 2);
    for (line, (at, _)) in lines[1..].iter().zip(&altered) {
        assert_eq!(line["valid"], false, "byte {at}");
        assert!(line["reason"].is_string());
    }
    for line in [&lines[0], &lines[lines.len() - 1]] {
        assert_eq!((&line["valid"], &line["reason"]), (&json!(true), &Value::Null));
    }

    // Alone, one of each part: leaf, path, batch, window, the first signature.
    let (path, window) = (6 + Leaf::SIZE + 1, signatures - 1 - Window::SIZE);
    let sampled = signatures + 1 + 397;
    for at in [6 + 20, path + 5, path + 96 + 30, window + 20, sampled] {
        let bytes = &altered.iter().find(|&&(position, _)| position == at).unwrap().1;
        world.write("bad", bytes);
        let (error, _) = world.failure(&VERIFY, 1);
        assert_eq!((&error["code"], &error["row"]), (&json!("E-RECEIPT"), &json!(0)));
    }
}

#[test]
fn receipts_of_another_deployment() {
    let world = World::new();
    world.receipts();
    world.enrol("other", &[]).ok();
    let refuse = |keys: &str| {
        let (error, stdout) = world.failure(&["verify", "receipts", "--keys", keys], 1);
        assert_eq!((&error["code"], &error["row"]), (&json!("E-RECEIPT"), &json!(0)));
        assert_eq!(stdout.lines().count(), PEOPLE);
        error["message"].as_str().unwrap().to_owned()
    };
    assert!(refuse("other/verify.key").contains("deployment"));
    // A key file of a later epoch than the receipt's, or of another deployment.
    let key = fs::read(world.path("store/verify.key")).unwrap();
    for (at, what) in [(9, "epoch"), (10, "deployment"), (25, "deployment")] {
        let mut key = key.clone();
        key[at] ^= 0xff;
        world.write("key", key);
        assert!(refuse("key").contains(what));
    }
    // Another key set under this deployment's name does not help.
    let other = fs::read(world.path("other/verify.key")).unwrap();
    world.write("key", [&key[..26], &other[26..]].concat());
    assert!(refuse("key").contains("not in the keyring"));
    // Nor one that says it starts later, or has ended.
    for (at, what) in
        [(26 + 6, "before the keys became valid"), (34 + 5, "after the keys were retired")]
    {
        let mut key = key.clone();
        key[at] = if at < 34 { 0x7f } else { 0 };
        world.write("key", key);
        assert!(refuse("key").contains(what));
    }
}

#[test]
fn bad_verification_keys() {
    let world = World::new();
    world.receipts();
    let key = fs::read(world.path("store/verify.key")).unwrap();
    let with = |at: usize, byte: u8| {
        let mut key = key.clone();
        key[at] = byte;
        key
    };
    for content in [
        vec![],
        key[..25].into(),
        key[..key.len() - 1].into(),
        [&key[..], &[0]].concat(),
        key.iter().map(|byte| byte.wrapping_mul(91)).collect(),
        fs::read(world.path("store/public.key")).unwrap(),
        fs::read(world.path("store/custodian.key")).unwrap(),
        with(0, b's'),
        with(4, 1),
        with(5, 2),
        // Each of the keys, and their id.
        with(42, key[42] ^ 1),
        with(1000, key[1000] ^ 1),
        with(58 + 1952 + 500, key[58 + 1952 + 500] ^ 1),
        with(key.len() - 1, key[key.len() - 1] ^ 1),
        // A set twice.
        [&key[..], &key[..]].concat(),
    ] {
        world.write("key", content);
        let run = ["verify", "receipts", "--keys", "key"];
        world.unusable(&run, "E-KEY-FILE", json!({ "file": "key" }));
    }
    let run = ["verify", "receipts", "--keys", "gone"];
    world.unusable(&run, "E-KEY-FILE", json!({ "file": "gone" }));
    // A directory stands for its verify.key.
    world.run(&["verify", "receipts", "--keys", "store"]).ok();
    fs::create_dir(world.path("empty")).unwrap();
    let run = ["verify", "receipts", "--keys", "empty"];
    world.unusable(&run, "E-KEY-FILE", json!({ "file": "empty/verify.key" }));
}

// --- the terminal ---

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let world = World::new();
    // `| true`: gone before the first line.
    let auth = ["auth", "--embeddings", "probes.csv", "--ids", "ids", "--store", "store"];
    let spawn = |arguments: &[&str]| {
        let mut run = command(arguments);
        run.current_dir(world.temp.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        run.spawn().unwrap()
    };
    let mut child = spawn(&auth);
    drop(child.stdout.take());
    Run::from(child.wait_with_output().unwrap()).ok();

    // `| head -1`: gone in the middle of more than a pipe holds.
    let many = world.receipts().concat().repeat(200);
    world.write("many", many);
    let mut child = spawn(&["verify", "many", "--keys", "store/verify.key", "--json"]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(object(&line)["valid"], true);
    Run::from(child.wait_with_output().unwrap()).ok();

    // A full disk is a failure.
    #[cfg(target_os = "linux")]
    {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut run = command(auth);
        run.current_dir(world.temp.path()).stdout(full);
        let run = Run::from(run.output().unwrap());
        assert_eq!(run.code, Some(2));
        assert_eq!(run.stderr.lines().count(), 1);
        assert!(run.stderr.starts_with("symbolon: E-IO: standard output: "), "{}", run.stderr);
    }
}

#[test]
fn help_names_every_option() {
    let commands: &[(&str, &[&str])] = &[
        (
            "demo",
            &[
                "identities",
                "attempts",
                "dims",
                "threshold",
                "params",
                "seed",
                "window-ms",
                "window-batches",
            ],
        ),
        ("enrol", &["embeddings", "ids", "store", "captures", "params"]),
        (
            "auth",
            &[
                "embeddings",
                "ids",
                "store",
                "threshold",
                "captures",
                "impostors",
                "check",
                "receipt",
                "log",
                "window-ms",
                "window-batches",
            ],
        ),
        ("verify", &["keys", "revoked"]),
        ("keygen", &["params", "valid-days"]),
        ("keys", &[]),
        ("log", &[]),
        ("identity", &[]),
        ("pool", &[]),
        ("prove", &[]),
    ];
    let all = symbolon(["--help"]).ok();
    for (name, options) in commands {
        assert!(all.contains(&format!("\n  {name} ")), "{all}");
        for help in [["help", name], [name, "--help"], [name, "-h"]] {
            let text = symbolon(help).ok();
            for option in options.iter().chain(&["json", "threads", "help"]) {
                assert!(text.contains(&format!("--{option}")), "{name}: {option}");
            }
        }
    }
    assert!(symbolon(["--version"]).ok().starts_with("symbolon 0."));
    // A command line that cannot be understood.
    for arguments in [&["enroll"][..], &["auth"], &["demo", "--dims", "many"], &[]] {
        let run = symbolon(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
        assert!(!run.stderr.to_lowercase().contains("panic"));
    }
}

/// A slip must not cost a key: receipts take the place of receipts only.
#[test]
fn receipts_overwrite_receipts_only() {
    let world = World::new();
    let auth = |out| {
        ["auth", "--embeddings", "probes.csv", "--ids", "ids", "--store", "store", "--receipt", out]
    };
    let before = snapshot(&world.path("store"));
    for key in ["store/custodian.key", "store/verify.key"] {
        world.unusable(&auth(key), "E-ARGUMENT", json!({ "file": key }));
    }
    assert_eq!(snapshot(&world.path("store")), before);
    // The log is made meanwhile: it stays.
    let log = "store/receipts.redb";
    world.unusable(&auth(log), "E-ARGUMENT", json!({ "file": log }));
    world.run(&auth("receipts")).ok();
    world.run(&auth("receipts")).ok();
    world.run(&["log", "verify", "store"]).ok();
}

/// Mistakes in the arguments are one line with a code, like any other error.
#[test]
fn wrong_arguments() {
    let world = World::new();
    for arguments in
        [&["frob"][..], &["auth"], &["demo", "--identities", "1"], &["demo", "--nonsense"]]
    {
        world.unusable(arguments, "E-ARGUMENT", json!({}));
    }
}

// --- pools of keys ---

/// Standard output as one JSON object. Whether memory can be locked is the machine's: a warning may come.
#[track_caller]
fn with_warnings(run: Run) -> Value {
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.lines().all(|line| object(line)["warning"].is_string()), "{run:?}");
    object(&run.stdout)
}

#[test]
fn pools_are_measured() {
    let arguments = "--json --threads 2 pool bench --keys 9 --low 3 --seconds 0.002";
    let found = with_warnings(symbolon(arguments.split(' ')));
    assert_eq!(found["threads"], 2);
    let kinds = found["kinds"].as_array().unwrap();
    assert_eq!(kinds.len(), 13);
    for kind in kinds {
        let name = kind["kind"].as_str().unwrap();
        for positive in ["direct_us", "made_per_s_one", "made_per_s_all", "taken_ns"] {
            assert!(kind[positive].as_f64().unwrap() > 0.0, "{name} {positive}");
        }
        for positive in ["first_use_us", "dry_us", "key_bytes", "memory_bytes"] {
            assert!(kind[positive].as_f64().unwrap() > 0.0, "{name} {positive}");
        }
        assert_eq!((&kind["keys"], &kind["low"]), (&json!(9), &json!(4)), "{name}");
        let burst = &kind["burst"];
        assert_eq!((&burst["lost"], &burst["doubled"]), (&json!(0), &json!(0)), "{name}");
        assert_eq!((&burst["asked"], &burst["hits"]), (&json!(9), &json!(9)), "{name}");
        assert_eq!(burst["hit_rate"], 1.0);
        let serves_once = name.starts_with("bfv-zero") || name.starts_with("blind");
        assert_eq!(kind["again_ns_one"].is_null(), serves_once, "{name}");
        let no_cold = ["blind", "bfv-"].iter().any(|start| name.starts_with(start));
        assert_eq!(kind["cold_us"].is_null(), no_cold, "{name}");
    }
}

#[test]
fn pools_are_shown() {
    let arguments = "pool bench --keys 16 --seconds 0.002 --kind ml-kem-768 --kind bfv-zero-q54";
    let run = symbolon(arguments.split(' '));
    assert_eq!(run.code, Some(0), "{run:?}");
    for part in ["ml-kem-768", "bfv-zero-q54", "decapsulate", "encrypt", "100.0 %", "made  ##"] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    assert!(!run.stdout.contains("fn-dsa"), "{}", run.stdout);
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 100), "{}", run.stdout);
}

#[test]
fn pools_are_sized() {
    let size = |more: &[&str]| {
        symbolon([&["pool", "size", "--kind", "ml-kem-768", "--json"], more].concat())
    };
    let found = with_warnings(size(&["--peak", "100", "--interval", "1.5"]));
    assert_eq!((&found["keys"], &found["low"]), (&json!(304), &json!(76)));
    assert_eq!(found["kinds"].as_array().unwrap().len(), 1);
    let bytes = found["locked_bytes"].as_u64().unwrap();
    assert_eq!(found["kinds"][0]["locked_bytes"], bytes);
    assert!(bytes > 300 * 2400 && bytes < 400 * 2600, "{bytes}");
    let lines = symbolon(["pool", "size", "--peak", "9", "--interval", "2"]);
    let text = lines.ok();
    assert!(text.starts_with("40 keys of each kind") && text.contains("together"), "{text}");
    // More than is advised: it says so.
    let run = size(&["--peak", "1e9", "--interval", "60"]);
    assert!(object(&run.stderr)["warning"].is_string(), "{run:?}");
    let found = object(&run.stdout);
    assert_eq!(found["keys"], 1 << 20);
    if found["lockable"] == false {
        let advice = found["advice"].as_str().unwrap();
        assert!(
            ["ulimit -l", "LimitMEMLOCK="].iter().all(|word| advice.contains(word)),
            "{advice}"
        );
    }
}

#[test]
fn pools_that_cannot_be() {
    let world = World::empty();
    for arguments in [
        "bench --kind ml-kem-512",
        "bench --keys 0",
        "bench --keys 1048577",
        "bench --keys 8 --low 9",
        "bench --seconds 0",
        "bench --seconds nan",
        "bench --seconds 61",
        "size --peak 1",
        "size --peak 0 --interval 1",
        "size --peak 1 --interval=-1",
        "size --peak inf --interval 1",
    ] {
        let arguments: Vec<_> = ["pool"].into_iter().chain(arguments.split(' ')).collect();
        world.unusable(&arguments, "E-ARGUMENT", json!({}));
    }
    for (command, options) in [
        ("bench", &["kind", "keys", "low", "seconds", "require-locked-memory"][..]),
        ("size", &["peak", "interval", "kind"]),
    ] {
        let text = symbolon(["pool", command, "--help"]).ok();
        assert!(options.iter().all(|option| text.contains(&format!("--{option}"))), "{text}");
    }
    let (error, _) = world.failure(&["pool", "bench", "--kind", "rsa"], 2);
    assert!(error["message"].as_str().unwrap().contains("ml-kem-768"), "{error}");
}

/// Who asks for locked memory gets it, or is told what to raise.
#[test]
fn pools_in_locked_memory_or_none() {
    let arguments =
        "pool bench --keys 8 --seconds 0.002 --kind bfv-set-q54 --require-locked-memory";
    let run = symbolon(arguments.split(' '));
    match run.code {
        Some(0) => assert!(run.stderr.is_empty(), "{run:?}"),
        code => {
            assert_eq!(code, Some(2), "{run:?}");
            assert!(run.stderr.contains("E-POOL"), "{run:?}");
        }
    }
}
