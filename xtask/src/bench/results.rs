//! What a run found: read from criterion, kept as JSON.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::instructions::Count;
use super::machine::Machine;

/// Our instruction sets, in the order of the tables, and `any`, where libraries choose by themselves;
/// whoever else did something is a peer.
pub const ISAS: [&str; 5] = ["scalar", "neon", "avx2", "avx512", "any"];

/// The order of the tables; names that are not here follow, sorted.
const ORDER: [&str; 94] = [
    "ntt/forward",
    "ntt/inverse",
    "ntt/pointwise",
    "bfv/encrypt",
    "bfv/decrypt",
    "bfv/decrypt-folded",
    "bfv/keygen",
    "bfv/multiply-plain",
    "bfv/rotate",
    "bfv/hoisted",
    "bfv/slot-sum",
    "bfv/keyset",
    "wire/encode",
    "wire/decode",
    "batch/sealed-probe",
    "batch/sealed-probe-pooled",
    "bfv/encrypt/Q81",
    "bfv/decrypt/Q81",
    "bfv/decrypt-folded/Q81",
    "bfv/keygen/Q81",
    "bfv/multiply-plain/Q81",
    "bfv/rotate/Q81",
    "bfv/hoisted/Q81",
    "bfv/slot-sum/Q81",
    "bfv/multiply/Q81",
    "bfv/product/Q81",
    "bfv/relinearise/Q81",
    "bfv/keyset/Q81",
    "wire/encode/Q81",
    "wire/decode/Q81",
    "batch/sealed-probe/Q81",
    "batch/sealed-probe-pooled/Q81",
    "bfv/rotate/Q135",
    "bfv/multiply/Q135",
    "bfv/product/Q135",
    "bfv/relinearise/Q135",
    "attest/tree",
    "attest/batch-window64",
    "attest/batch-window512",
    "attest/person-window64",
    "attest/person-window512",
    "attest/verify",
    "attest/sign/ml-dsa-65",
    "attest/sign/fn-dsa-512",
    "attest/sign/slh-dsa-sha2-128f",
    "attest/verify/ml-dsa-65",
    "attest/verify/fn-dsa-512",
    "attest/verify/slh-dsa-sha2-128f",
    "pool/acquire",
    "pool/acquire-contended",
    "pool/acquire-contended-p50",
    "pool/acquire-contended-p99",
    "pool/acquire-contended-p99.9",
    "pool/acquire-sharded",
    "pool/supply",
    "pool/supply-threads",
    "pool/by-value",
    "pool/lifo",
    "pool/fifo",
    "pool/lifo-once",
    "pool/fifo-once",
    "cache/hit",
    "cache/hit-2t",
    "cache/hit-many",
    "cache/admission",
    "cache/threads-96",
    "cache/instrumentation",
    "cache/trace/zipf",
    "cache/trace/one-hit",
    "cache/trace/shifting",
    "identity/prove",
    "identity/verify",
    "identity/verify-invalid",
    "identity/fingerprint",
    "pipeline/matching",
    "pipeline/auth",
    "pipeline/auth-uninstrumented",
    "pipeline/auth-pinned",
    "auth/single-cold",
    "auth/single-warm",
    "session/resume",
    "session/resume-client",
    "session/handshake",
    "session/handshake-unpooled",
    "session/seal",
    "session/open",
    "stage/encode",
    "stage/encrypt",
    "stage/zero",
    "stage/add",
    "stage/blind",
    "stage/templates",
    "stage/fold",
    "stage/decide",
];

/// One benchmark: a criterion group (`bfv/encrypt`) and who did it (`avx512`, `fhe 0.1.1`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// What was done.
    pub name: String,
    /// One of ours ([`ISAS`]) or a peer.
    pub by: String,
    /// Median over the samples.
    pub median_ns: f64,
    /// The 95 % confidence interval of the median.
    pub low_ns: f64,
    /// Its upper end.
    pub high_ns: f64,
}

impl Measure {
    /// Half the width of the median's interval, as a share of the median.
    pub fn spread(&self) -> f64 {
        (self.high_ns - self.low_ns) / 2.0 / self.median_ns
    }

    /// Whether it is ours.
    pub fn is_ours(&self) -> bool {
        ISAS.contains(&self.by.as_str())
    }
}

/// How much of a row's accesses a cache answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// As in [`Measure`].
    pub name: String,
    /// As in [`Measure`], and a choice of what is kept that looks ahead.
    pub by: String,
    /// 0 to 100.
    pub percent: f64,
}

/// A run, as it is kept under benches/results/.
#[derive(Serialize, Deserialize)]
pub struct Run {
    /// UTC, YYYY-MM-DD.
    pub date: String,
    /// As it was typed.
    pub command: String,
    /// Where.
    pub machine: Machine,
    /// Every benchmark.
    pub measures: Vec<Measure>,
    /// Instructions executed; empty where they could not be counted.
    pub instructions: Vec<Count>,
    /// Hit rates of the rows that have such.
    #[serde(default)]
    pub rates: Vec<Rate>,
}

/// A line of `--json`.
#[derive(Debug, PartialEq, Serialize)]
pub struct Row<'a> {
    pub name: &'a str,
    pub isa: &'a str,
    pub median_ns: f64,
    pub peer: Option<&'a str>,
    pub peer_ns: Option<f64>,
    /// The peer's time divided by ours.
    pub ratio: Option<f64>,
}

impl Run {
    /// The names in the order of the tables, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.measures.iter().map(|measure| measure.name.as_str()).collect();
        names.sort_by_key(|name| order(name));
        names.dedup();
        names
    }

    /// Our measures of a name in the order of [`ISAS`].
    pub fn ours(&self, name: &str) -> Vec<&Measure> {
        let find = |isa| self.measures.iter().find(|m| m.name == name && m.by == isa);
        ISAS.into_iter().filter_map(find).collect()
    }

    /// The peers' measures of a name.
    pub fn peers(&self, name: &str) -> Vec<&Measure> {
        self.measures.iter().filter(|m| m.name == name && !m.is_ours()).collect()
    }

    /// Our median in nanoseconds.
    pub fn median(&self, name: &str, isa: &str) -> Option<f64> {
        self.measures.iter().find(|m| m.name == name && m.by == isa).map(|m| m.median_ns)
    }

    /// Every name, instruction set and peer.
    pub fn rows(&self) -> Vec<Row<'_>> {
        self.names().into_iter().flat_map(|name| self.rows_of(name)).collect()
    }

    /// The rows of one name.
    pub fn rows_of<'a>(&'a self, name: &'a str) -> Vec<Row<'a>> {
        let peers = self.peers(name);
        let mut rows = Vec::new();
        for ours in self.ours(name) {
            let row = |peer: Option<&'a Measure>| Row {
                name,
                isa: &ours.by,
                median_ns: ours.median_ns,
                peer: peer.map(|peer| peer.by.as_str()),
                peer_ns: peer.map(|peer| peer.median_ns),
                ratio: peer.map(|peer| peer.median_ns / ours.median_ns),
            };
            if peers.is_empty() {
                rows.push(row(None));
            }
            rows.extend(peers.iter().map(|peer| row(Some(peer))));
        }
        rows
    }
}

/// Known names first, then by name with numbers in order: fill/8 before fill/16.
fn order(name: &str) -> (usize, String, u64, String) {
    let known = ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
    let (stem, last) = name.rsplit_once('/').unwrap_or((name, ""));
    (known, stem.to_owned(), last.parse().unwrap_or(0), last.to_owned())
}

/// Reads the hit rates of rows that were measured: what benches wrote as `SYMBOLON_HIT_RATES`, if they did.
pub fn read_rates(file: &Path, measures: &[Measure]) -> Result<Vec<Rate>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let rate = |line: &str| {
        let [name, by, percent] = line.split('\t').collect::<Vec<_>>()[..] else { return None };
        Some(Rate { name: name.into(), by: by.into(), percent: percent.parse().ok()? })
    };
    let rates = text.lines().map(|line| rate(line).with_context(|| format!("a rate: {line}")));
    let measured = |rate: &Rate| measures.iter().any(|measure| measure.name == rate.name);
    let rates: Vec<_> = rates.collect::<Result<_>>()?;
    Ok(rates.into_iter().filter(measured).collect())
}

/// Reads every benchmark that criterion has measured since `start`.
pub fn read(folder: &Path, start: SystemTime) -> Result<Vec<Measure>> {
    let mut measures = Vec::new();
    for file in benchmarks(folder)? {
        let estimates = file.with_file_name("estimates.json");
        if fs::metadata(&estimates).and_then(|metadata| metadata.modified())? >= start {
            measures.push(measure(&json(&file)?, &json(&estimates)?).with_context(|| {
                format!("{}: not what criterion 0.8 writes", estimates.display())
            })?);
        }
    }
    Ok(measures)
}

/// Every `new/benchmark.json` below a folder, in a fixed order.
fn benchmarks(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("new/benchmark.json") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn json(file: &Path) -> Result<Value> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}

fn measure(benchmark: &Value, estimates: &Value) -> Option<Measure> {
    let median = &estimates["median"];
    let interval = &median["confidence_interval"];
    Some(Measure {
        name: benchmark["group_id"].as_str()?.to_owned(),
        by: benchmark["function_id"].as_str()?.to_owned(),
        median_ns: median["point_estimate"].as_f64()?,
        low_ns: interval["lower_bound"].as_f64()?,
        high_ns: interval["upper_bound"].as_f64()?,
    })
}

/// What is said about others: how the peers work here, and figures from other machines.
#[derive(Deserialize)]
pub struct Others {
    /// How a peer is run.
    pub peers: Vec<Peer>,
    /// Figures that were not taken in this run.
    pub figures: Vec<Figure>,
}

/// A library that runs beside ours.
#[derive(Deserialize)]
pub struct Peer {
    /// The beginning of its name in [`Measure::by`].
    pub peer: String,
    /// Its instruction sets.
    pub runs: String,
    /// What it does and does not do.
    pub work: String,
}

/// A figure from elsewhere, quoted and never divided.
#[derive(Deserialize)]
pub struct Figure {
    /// The work it is to be read beside.
    pub name: String,
    /// Whose.
    pub who: String,
    /// As quoted, with its unit.
    #[serde(rename = "figure")]
    pub text: String,
    /// When.
    pub when: String,
    /// On what, and says who.
    #[serde(rename = "where")]
    pub place: String,
}

impl Others {
    /// Reads benches/data/others.json.
    pub fn read(file: &Path) -> Result<Self> {
        serde_json::from_value(json(file)?).with_context(|| file.display().to_string())
    }

    /// The figures beside a name.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Figure> {
        self.figures.iter().filter(move |figure| figure.name == name)
    }
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;
    use crate::cargo::root;

    /// A run with these measures.
    pub fn run(measures: &[(&str, &str, f64)]) -> Run {
        let measure = |&(name, by, median_ns): &(&str, &str, f64)| Measure {
            name: name.into(),
            by: by.into(),
            median_ns,
            low_ns: median_ns * 0.9,
            high_ns: median_ns * 1.1,
        };
        Run {
            date: "2026-11-20".into(),
            command: "cargo xtask bench".into(),
            machine: Machine::default(),
            measures: measures.iter().map(measure).collect(),
            instructions: Vec::new(),
            rates: Vec::new(),
        }
    }

    #[test]
    fn rates_of_measured_rows_are_read() {
        let file = std::env::temp_dir().join(format!("xtask-rates-{}", std::process::id()));
        assert_eq!(read_rates(&file, &[]).unwrap(), []);
        fs::write(&file, "cache/trace/zipf\tmoka 0.12\t80.5\ncache/trace/one-hit\tany\t50\n")
            .unwrap();
        let measures = run(&[("cache/trace/zipf", "any", 60.0)]).measures;
        let rate = Rate { name: "cache/trace/zipf".into(), by: "moka 0.12".into(), percent: 80.5 };
        assert_eq!(read_rates(&file, &measures).unwrap(), [rate]);
        fs::write(&file, "cache/trace/zipf\tmoka\n").unwrap();
        assert!(read_rates(&file, &measures).is_err());
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn criterion_is_read() {
        let benchmark = json!({ "group_id": "bfv/encrypt", "function_id": "avx2" });
        let interval = json!({ "lower_bound": 9.5, "upper_bound": 11.0 });
        let estimates =
            json!({ "median": { "point_estimate": 10.0, "confidence_interval": interval } });
        let read = measure(&benchmark, &estimates).unwrap();
        assert_eq!((read.name.as_str(), read.by.as_str()), ("bfv/encrypt", "avx2"));
        assert_eq!((read.median_ns, read.low_ns, read.high_ns), (10.0, 9.5, 11.0));
        assert_eq!(measure(&benchmark, &json!({})), None);
        assert_eq!(measure(&json!({}), &estimates), None);
    }

    #[test]
    fn only_what_is_new_is_read() {
        let folder = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
        let new = folder.join("ntt_forward/scalar/new");
        fs::create_dir_all(&new).unwrap();
        fs::create_dir_all(folder.join("ntt_forward/scalar/base")).unwrap();
        let benchmark = json!({ "group_id": "ntt/forward", "function_id": "scalar" });
        let interval = json!({ "lower_bound": 1.0, "upper_bound": 3.0 });
        let estimates =
            json!({ "median": { "point_estimate": 2.0, "confidence_interval": interval } });
        for place in ["new", "base"] {
            let place = folder.join("ntt_forward/scalar").join(place);
            fs::write(place.join("benchmark.json"), benchmark.to_string()).unwrap();
            fs::write(place.join("estimates.json"), estimates.to_string()).unwrap();
        }
        let found = read(&folder, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].median_ns, 2.0);
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        assert_eq!(read(&folder, later).unwrap(), []);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_row_for_each_name_capability_and_peer() {
        let run = run(&[
            ("bfv/encrypt", "avx512", 20.0),
            ("bfv/encrypt", "fhe 0.1.1", 300.0),
            ("bfv/encrypt", "scalar", 200.0),
            ("bfv/encrypt", "other", 100.0),
            ("ntt/forward", "scalar", 9.0),
        ]);
        let rows = run.rows();
        let short: Vec<_> = rows.iter().map(|r| (r.name, r.isa, r.peer, r.ratio)).collect();
        let expected = [
            ("ntt/forward", "scalar", None, None),
            ("bfv/encrypt", "scalar", Some("fhe 0.1.1"), Some(1.5)),
            ("bfv/encrypt", "scalar", Some("other"), Some(0.5)),
            ("bfv/encrypt", "avx512", Some("fhe 0.1.1"), Some(15.0)),
            ("bfv/encrypt", "avx512", Some("other"), Some(5.0)),
        ];
        assert_eq!(short, expected);
        let expected = json!({
            "name": "ntt/forward", "isa": "scalar", "median_ns": 9.0,
            "peer": null, "peer_ns": null, "ratio": null
        });
        assert_eq!(serde_json::to_value(&rows[0]).unwrap(), expected);
    }

    #[test]
    fn names_come_in_the_order_of_the_tables() {
        let run = run(&[
            ("scaling/2", "scalar", 1.0),
            ("fill/16", "scalar", 1.0),
            ("fill/8", "scalar", 1.0),
            ("fill/8", "avx2", 1.0),
            ("stage/fold", "scalar", 1.0),
            ("bfv/encrypt", "scalar", 1.0),
            ("ntt/inverse", "scalar", 1.0),
        ]);
        let expected =
            ["ntt/inverse", "bfv/encrypt", "stage/fold", "fill/8", "fill/16", "scaling/2"];
        assert_eq!(run.names(), expected);
    }

    #[test]
    fn a_run_survives_its_file() {
        let run = run(&[("ntt/forward", "scalar", 9.25)]);
        let text = serde_json::to_string(&run).unwrap();
        let back: Run = serde_json::from_str(&text).unwrap();
        assert_eq!(back.measures, run.measures);
        assert_eq!(back.date, run.date);
    }

    #[test]
    fn the_others_are_readable() {
        let others = Others::read(&root().join("benches/data/others.json")).unwrap();
        assert!(others.of("batch/sealed-probe").count() >= 3);
        assert!(others.figures.iter().all(|figure| ORDER.contains(&figure.name.as_str())));
    }
}
