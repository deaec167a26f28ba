//! Face embeddings of 500 people, 4 captures each: every decision taken under encryption equals the
//! one that plain integers give, computed here from the definition with no code of the project's.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{command, symbolon};
use serde_json::json;
use symbolon_core::attest::Receipt;

const PEOPLE: usize = 500;
const CAPTURES: usize = 4;
const DIMS: usize = 128;
/// Scale of a quantised vector of up to 128 dimensions.
const SCALE: i64 = 175;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The rows of a numpy file, version 1.0, little-endian f4 in C order.
fn rows() -> Vec<Vec<f32>> {
    let file = fs::read(data("embeddings-500x4.npy")).unwrap();
    assert_eq!(&file[..8], b"\x93NUMPY\x01\x00");
    let length = usize::from(u16::from_le_bytes([file[8], file[9]]));
    let (header, values) = file[10..].split_at(length);
    let header = std::str::from_utf8(header).unwrap();
    let shape = format!("'shape': ({}, {DIMS})", PEOPLE * CAPTURES);
    for part in ["'descr': '<f4'", "'fortran_order': False", &shape] {
        assert!(header.contains(part), "{header}");
    }
    assert_eq!(values.len(), PEOPLE * CAPTURES * DIMS * 4);
    let (values, _) = values.as_chunks::<4>();
    let values: Vec<f32> = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    values.chunks_exact(DIMS).map(<[f32]>::to_vec).collect()
}

fn ids() -> Vec<String> {
    let text = fs::read_to_string(data("embeddings-500x4.ids.txt")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn unit(row: &[f32]) -> Vec<f64> {
    let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    row.iter().map(|&x| f64::from(x) / norm).collect()
}

/// Halves away from zero, as `f64::round` does.
fn quantised(row: &[f32]) -> Vec<i64> {
    unit(row).iter().map(|x| (x * SCALE as f64).round() as i64).collect()
}

/// One decision that the binary has to take.
struct Expected {
    row: usize,
    id: String,
    impostor: bool,
    score: i64,
    cosine: f64,
}

/// Captures 1 to 3 of everybody against capture 0 of the same person and of the next one, in file
/// order.
fn expected() -> Vec<Expected> {
    let (rows, ids) = (rows(), ids());
    assert_eq!(ids.len(), rows.len());
    let mut people: Vec<(&str, usize)> = Vec::new();
    for (row, id) in ids.iter().enumerate() {
        if people.iter().all(|&(known, _)| known != id) {
            people.push((id, row));
        }
    }
    assert_eq!(people.len(), PEOPLE);

    let units: Vec<_> = rows.iter().map(|row| unit(row)).collect();
    let integers: Vec<_> = rows.iter().map(|row| quantised(row)).collect();
    let mut all = Vec::new();
    for (row, id) in ids.iter().enumerate() {
        let own = people.iter().position(|&(known, _)| known == id).unwrap();
        if people[own].1 == row {
            continue;
        }
        for claim in [own, (own + 1) % PEOPLE] {
            let (claimed, enrolled) = people[claim];
            let score = integers[row].iter().zip(&integers[enrolled]).map(|(a, b)| a * b).sum();
            let cosine = units[row].iter().zip(&units[enrolled]).map(|(a, b)| a * b).sum();
            all.push(Expected { row, id: claimed.into(), impostor: claim != own, score, cosine });
        }
    }
    assert_eq!(all.len(), PEOPLE * (CAPTURES - 1) * 2);
    all
}

/// Enrols capture 0 and authenticates captures 1 to 3 at thresholds in tenths. Gives the number of
/// accepted genuine and impostor attempts of each.
fn agrees(params: &str, thresholds: &[i64]) -> Vec<(usize, usize)> {
    let temp = tempfile::tempdir().unwrap();
    let store = temp.path().join("store");
    let receipts = temp.path().join("receipts");
    let (embeddings, ids) = (data("embeddings-500x4.npy"), data("embeddings-500x4.ids.txt"));
    let run = |name: &str, captures: &str| {
        let mut run = command([name, "--json", "--captures", captures]);
        run.arg("--embeddings").arg(&embeddings).arg("--ids").arg(&ids).arg("--store").arg(&store);
        run
    };
    let end = |mut command: std::process::Command| common::Run::from(command.output().unwrap());

    let mut enrol = run("enrol", "0");
    enrol.args(["--params", params]);
    let summary = end(enrol).ok_json();
    assert_eq!(summary.len(), 1);
    assert_eq!(summary[0]["enrolled"], PEOPLE);
    assert_eq!(summary[0]["dims"], DIMS);

    let expected = expected();
    let mut accepted = Vec::new();
    for &tenths in thresholds {
        let threshold = tenths as f64 / 10.0;
        // ceil(threshold * S^2) in integers, for a positive threshold.
        let least = (tenths * SCALE * SCALE + 9) / 10;
        let mut auth = run("auth", "1..3");
        auth.args(["--impostors", "--threshold", &threshold.to_string(), "--receipt"]);
        auth.arg(&receipts);
        let mut lines = end(auth).ok_json();
        let signing = lines.pop().unwrap();
        assert_eq!(signing["signing"]["batches"], expected.len().div_ceil(32));

        assert_eq!(lines.len(), expected.len());
        let (mut genuine, mut impostors, mut from_float) = (0, 0, 0);
        for (line, expected) in lines.iter().zip(&expected) {
            let accept = expected.score >= least;
            let mut want = json!({ "row": expected.row, "id": expected.id, "accept": accept });
            if expected.impostor {
                want["impostor"] = true.into();
            }
            want["request"] = line["request"].clone();
            assert_eq!(*line, want, "{params} at {threshold}");
            from_float += usize::from(accept != (expected.cosine >= threshold));
            *if expected.impostor { &mut impostors } else { &mut genuine } += usize::from(accept);
        }
        let all = expected.len() / 2;
        eprintln!(
            "{params} at {threshold}: {genuine} of {all} genuine and {impostors} of {all} impostor \
             attempts accepted; {from_float} of {} decisions differ from the unrounded cosine's",
            expected.len()
        );
        accepted.push((genuine, impostors));

        // The receipts say the same, in the same order.
        let bytes = fs::read(&receipts).unwrap();
        let mut rest = &bytes[..];
        for expected in &expected {
            let (receipt, size) = Receipt::decode(rest).unwrap();
            assert_eq!(receipt.leaf.accept, expected.score >= least);
            assert_eq!(i64::from(receipt.batch.threshold), least);
            rest = &rest[size..];
        }
        assert!(rest.is_empty());
        let keys = store.join("verify.key");
        let verify = symbolon([
            "verify".as_ref(),
            receipts.as_os_str(),
            "--keys".as_ref(),
            keys.as_os_str(),
        ]);
        assert!(verify.ok().contains("all 3000 receipts verify"));
    }
    accepted
}

#[test]
fn every_decision_is_that_of_plain_integers() {
    let [(genuine, impostors), (more_genuine, more_impostors)] = agrees("q54", &[5, 1])[..] else {
        panic!("two thresholds")
    };
    // A test in which nobody is rejected, or no stranger accepted, would show little.
    assert!(0 < genuine && genuine < more_genuine);
    assert!(impostors < more_impostors);
    assert!(0 < more_impostors && more_impostors < PEOPLE * (CAPTURES - 1));
}

#[test]
fn the_strict_parameters_decide_the_same() {
    let [(genuine, _), (_, impostors)] = agrees("q81", &[5, 1])[..] else {
        panic!("two thresholds")
    };
    assert!(genuine > 0 && impostors > 0);
}
