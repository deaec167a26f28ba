//! `symbolon session`, as people and programs see it.

mod common;

use common::{command, object, symbolon};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Runs in a directory. Where memory cannot be locked there is a warning, which is no concern here.
fn run(dir: &Path, arguments: &[&str]) -> common::Run {
    let mut run: common::Run =
        command(arguments).current_dir(dir).output().expect("the binary starts").into();
    run.stderr = run.stderr.lines().filter(|line| !line.contains("warning")).collect();
    run
}

#[test]
fn sessions_are_tried() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    run(dir, &["keygen", "keys"]).ok();
    let made = run(dir, &["session", "device", "--out", "device.key", "--json"]).ok_json();
    let mode = dir.join("device.key").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = run(dir, &["session", "device", "--out", "device.key"]);
    assert!(again.code == Some(2) && again.stderr.contains("E-IO"), "{again:?}");

    let tried = ["session", "try", "--dir", "keys", "--device", "device.key", "--resumes", "20"];
    let line = &run(dir, &[&tried[..], &["--json"]].concat()).ok_json()[0];
    assert_eq!(line["device"], made[0]["device"]);
    let messages = line["messages"].as_array().unwrap();
    let whats: Vec<_> = messages.iter().map(|m| m["message"].as_str().unwrap()).collect();
    assert_eq!(whats, ["hello", "offer", "begin", "welcome", "probe", "answer"]);
    let bytes: Vec<_> = messages.iter().map(|m| m["bytes"].as_u64().unwrap()).collect();
    // A key of a refill of four: two nodes of path.
    assert_eq!(bytes, [34, 1226 + 21_190 + 64, 6372 + 5, 206, 530, 19]);
    assert_eq!(
        (&line["resume"]["request_bytes"], &line["resume"]["answer_bytes"]),
        (&238.into(), &198.into())
    );
    assert!(line["refused"]["spent"].as_str().unwrap().starts_with("E-TICKET: "));
    assert!(line["refused"]["revoked"].as_str().unwrap().starts_with("E-TICKET: "));
    let text = run(dir, &["session", "try", "--resumes", "3"]).ok();
    assert!(text.contains("resumed 3 times") && text.contains("revoked"), "{text}");
}

#[test]
fn sessions_need_keys() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("device.key"), [0; 37]).unwrap();
    std::fs::set_permissions(dir.join("device.key"), PermissionsExt::from_mode(0o600)).unwrap();
    for (arguments, code) in [
        (&["session", "try", "--device", "device.key"][..], "E-KEY-FILE"),
        (&["session", "try", "--dir", "nowhere"], "E-KEY-FILE"),
        (&["session", "try", "--resumes", "0"], "E-ARGUMENT"),
    ] {
        let failed = run(dir, &[arguments, &["--json"]].concat());
        assert_eq!((failed.code, failed.stdout.as_str()), (Some(2), ""), "{failed:?}");
        assert_eq!(object(&failed.stderr)["error"]["code"], code);
    }
    for help in [&["session", "--help"][..], &["session", "try", "--help"]] {
        assert!(symbolon(help).ok().contains("--json"));
    }
}
