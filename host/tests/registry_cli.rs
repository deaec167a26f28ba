//! `symbolon identity` as its users meet it.

mod common;

use common::{Run, command, object, symbolon};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use symbolon_host::identity::hash::Node;
use symbolon_host::identity::registry::Registry;
use symbolon_host::identity::tree::{Path, node};
use symbolon_host::keyring::hex;
use tempfile::TempDir;

const DEPLOYMENT: &str = "0123456789abcdef0123456789abcdef";

fn leaf(number: u8) -> Node {
    Node::of_digest(&[number; 32])
}

fn digits(number: u8) -> String {
    hex(&leaf(number).encode())
}

struct World {
    temp: TempDir,
}

impl World {
    /// A directory where `r` is an empty registry.
    fn new() -> Self {
        let world = Self { temp: tempfile::tempdir().unwrap() };
        let made = world.json(&["init", "r", "--deployment", DEPLOYMENT]);
        assert_eq!(made, [json!({ "depth": 32, "deployment": DEPLOYMENT })]);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let arguments = [&["identity"], arguments].concat();
        command(arguments).current_dir(self.temp.path()).output().unwrap().into()
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        self.run(&[arguments, &["--json"]].concat()).ok_json()
    }

    #[track_caller]
    fn one(&self, arguments: &[&str]) -> Value {
        let [line] = &self.json(arguments)[..] else { panic!("{arguments:?}: not one line") };
        line.clone()
    }

    /// The error of a command that must fail, with what it names.
    #[track_caller]
    fn fails(&self, arguments: &[&str], code: &str, exit: i32) -> Value {
        let plain = self.run(arguments);
        let machine = self.run(&[arguments, &["--json"]].concat());
        assert_eq!((plain.code, machine.code), (Some(exit), Some(exit)), "{plain:?} {machine:?}");
        assert!(plain.stderr.starts_with(&format!("symbolon: {code}: ")), "{plain:?}");
        assert_eq!((plain.stderr.lines().count(), plain.stdout.as_str()), (1, ""), "{plain:?}");
        let error = object(&machine.stderr)["error"].take();
        assert_eq!(error["code"], code, "{machine:?}");
        error
    }

    fn enrol(&self, id: &str, number: u8) -> Value {
        self.one(&["enrol", "r", "--id", id, "--leaf", &digits(number)])
    }
}

#[test]
fn a_registry_from_its_making_on() {
    let world = World::new();
    let status = world.one(&["status", "r"]);
    let wanted = json!({
        "deployment": DEPLOYMENT, "depth": 32, "enrolled": 0, "places": 0, "to_enrol": 0,
        "to_revoke": 0, "nullifiers": 0, "epoch": 0, "root": null,
    });
    assert_eq!(status, wanted);
    assert_eq!(world.enrol("anna", 1), json!({ "enrolled": 1, "total": 1 }));
    let lines: Vec<String> = (2..=9)
        .map(|n| json!({ "id": format!("p{n}"), "leaf": digits(n), "since": 2026 }).to_string())
        .collect();
    fs::write(world.path("many.jsonl"), lines.join("\n")).unwrap();
    let enrolled = world.one(&["enrol", "r", "--file", "many.jsonl"]);
    assert_eq!(enrolled, json!({ "enrolled": 8, "total": 9 }));
    world.fails(&["path", "r", "--id", "anna"], "E-UNPUBLISHED", 2);

    let first = world.one(&["publish", "r"]);
    assert_eq!(first["epoch"], 1);
    assert_eq!((&first["enrolled"], &first["withdrew"]), (&9.into(), &false.into()));
    let root = first["root"].as_str().unwrap();
    // On standard output the path itself, with --json or without.
    let path = world.run(&["path", "r", "--id", "p4"]).ok();
    assert_eq!(path, world.run(&["path", "r", "--id", "p4", "--json"]).ok());
    let path = Path::parse(path.as_bytes()).unwrap();
    assert!(path.verify(&leaf(4)));
    assert_eq!((path.epoch, path.siblings.len(), Some(path.root)), (1, 32, node(root)));

    world.enrol("zoe", 20);
    let second = world.one(&["publish", "r", "--overlap-hours", "2"]);
    let epochs = world.json(&["epochs", "r"]);
    assert_eq!((epochs.len(), &epochs[0]["state"]), (2, &"overlap".into()));
    assert_eq!((&epochs[1]["state"], &epochs[1]["until_ms"]), (&"current".into(), &Value::Null));
    assert_eq!(epochs[0]["root"], first["root"]);
    let until = second["published_ms"].as_u64().unwrap() + 2 * 3_600_000;
    assert_eq!(epochs[0]["until_ms"], until);

    let revoked = world.one(&["revoke", "r", "--id", "p4", "--id", "p5"]);
    assert_eq!(revoked, json!({ "revoked": 2, "total": 8 }));
    let third = world.one(&["publish", "r"]);
    assert_eq!((&third["revoked"], &third["withdrew"]), (&2.into(), &true.into()));
    let states: Vec<_> = world.json(&["epochs", "r"]).iter().map(|e| e["state"].clone()).collect();
    assert_eq!(states, ["withdrawn", "withdrawn", "current"]);
    world.fails(&["path", "r", "--id", "p4"], "E-UNKNOWN-ID", 2);
    let check = world.one(&["check", "r"]);
    assert_eq!((&check["valid"], &check["leaves"]), (&true.into(), &8.into()));
    assert_eq!((&check["epoch"], &check["root"]), (&3.into(), &third["root"]));
    // The same in words.
    for command in ["status", "epochs", "check"] {
        let text = world.run(&[command, "r"]).ok();
        assert!(text.contains(third["root"].as_str().unwrap()), "{text}");
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    let world = World::new();
    world.enrol("anna", 1);
    let good = digits(2);
    let add = |id, leaf| world.fails(&["enrol", "r", "--id", id, "--leaf", leaf], "E-LEAF", 2);
    for bad in ["", "00", &good[1..], &"0".repeat(64), &"f".repeat(64), &"g".repeat(64)] {
        assert_eq!(add("bea", bad)["field"], "--leaf");
    }
    world.fails(&["enrol", "r", "--id", "anna", "--leaf", &good], "E-DUPLICATE-ID", 2);
    world.fails(&["enrol", "r", "--id", "bea", "--leaf", &digits(1)], "E-DUPLICATE-LEAF", 2);
    world.fails(&["enrol", "r", "--id", "", "--leaf", &good], "E-ID", 2);
    for part in [&["--id", "bea"][..], &["--leaf", &good], &["--file", "f", "--id", "bea"], &[]] {
        world.fails(&[&["enrol", "r"], part].concat(), "E-ARGUMENT", 2);
    }
    let line = |id: &str, leaf: &str| json!({ "id": id, "leaf": leaf }).to_string();
    fs::write(world.path("f"), [line("bea", &good), line("cleo", "x")].join("\n")).unwrap();
    let error = world.fails(&["enrol", "r", "--file", "f"], "E-LEAF", 2);
    assert_eq!(
        (&error["file"], &error["row"], &error["line"]),
        (&"f".into(), &1.into(), &2.into())
    );
    assert_eq!(error["field"], "leaf");
    world.fails(&["enrol", "r", "--file", "none"], "E-IO", 2);
    world.fails(&["revoke", "r", "--id", "bea"], "E-UNKNOWN-ID", 2);
    world.fails(&["revoke", "r"], "E-ARGUMENT", 2);
    world.fails(&["init", "r", "--deployment", DEPLOYMENT], "E-ARGUMENT", 2);
    for depth in ["0", "19", "63", "x"] {
        world.fails(&["init", "q", "--deployment", DEPLOYMENT, "--depth", depth], "E-ARGUMENT", 2);
    }
    let error = world.fails(&["init", "q", "--deployment", "01"], "E-ARGUMENT", 2);
    assert_eq!(error["field"], "--deployment");
    // No keys whose deployment it could be.
    world.fails(&["init", "q"], "E-KEY-FILE", 2);
    assert!(!world.path("q").exists());
    for command in ["publish", "status", "epochs", "check"] {
        world.fails(&[command, "q"], "E-IDENTITIES-FORMAT", 2);
    }
    assert_eq!(world.one(&["status", "r"])["to_enrol"], 1);
}

#[test]
fn another_process_keeps_out() {
    let world = World::new();
    let open = Registry::open(&world.path("r")).unwrap();
    world.fails(&["status", "r"], "E-IDENTITIES-BUSY", 2);
    drop(open);
    world.one(&["status", "r"]);
}

#[test]
fn the_deployment_is_the_keys() {
    let world = World::new();
    let run = command(["keygen", "d", "--json"]).current_dir(world.temp.path()).output();
    Run::from(run.unwrap()).ok();
    let made = world.one(&["init", "d", "--depth", "20"]);
    let mut keys = command(["keys", "list", "d", "--json"]);
    let keys = Run::from(keys.current_dir(world.temp.path()).output().unwrap()).ok_json();
    assert_eq!((&made["deployment"], &made["depth"]), (&keys[0]["deployment"], &20.into()));
}

#[test]
fn paths_overwrite_paths_only() {
    let world = World::new();
    world.enrol("anna", 1);
    world.one(&["publish", "r"]);
    let to = |out| ["path", "r", "--id", "anna", "--out", out];
    let wrote = world.one(&to("p"));
    assert_eq!(wrote, json!({ "epoch": 1, "file": "p" }));
    let read = || Path::parse(&fs::read(world.path("p")).unwrap()).unwrap();
    assert_eq!(read().epoch, 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(world.path("p").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    world.one(&["publish", "r"]);
    world.one(&to("p"));
    assert_eq!(read().epoch, 2);
    let registry = world.path("r").join("identities.redb");
    let before = fs::read(&registry).unwrap();
    world.fails(&to("r/identities.redb"), "E-ARGUMENT", 2);
    world.fails(&to("r"), "E-ARGUMENT", 2);
    world.fails(&to("none/p"), "E-IO", 2);
    assert_eq!(fs::read(&registry).unwrap().len(), before.len());
    world.one(&["check", "r"]);
}

#[test]
fn help_teaches() {
    let world = World::new();
    let all = world.run(&["--help"]).ok();
    for (name, words) in [
        ("init", &["--depth", "--deployment"][..]),
        ("enrol", &["--id", "--leaf", "--file"]),
        ("revoke", &["--id"]),
        ("publish", &["--overlap-hours", "withdrawn"]),
        ("path", &["--id", "--out"]),
        ("status", &[]),
        ("epochs", &[]),
        ("check", &[]),
    ] {
        assert!(all.contains(&format!("\n  {name} ")), "{all}");
        let text = world.run(&[name, "--help"]).ok();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
    assert!(symbolon(["--help"]).ok().contains("\n  identity "));
}
