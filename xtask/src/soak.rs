//! `cargo xtask soak`: a server under load for a while.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cargo::{cargo, run as run_command, target_dir};
use crate::demo::{Page, Server};
use crate::report::Report;

/// Put load on a server for a while, and watch that it neither grows nor fails.
///
/// Builds `symbolon`, starts `serve --demo`, finds in 20 seconds how many attempts a second it decides at most, then sends
/// half as many at random times, single and in batches, for as long as is said. Each second it reads the server's
/// /metrics. It ends with a table, target/soak/soak.json and target/soak/soak.svg: memory and latency over time.
///
/// Fails if the server's memory (RSS) is at the end more than 5 % and more than 8 MiB above what it was after a fifth of the
/// time; if an answer differs from the clear computation, gets a status of 500 or above, or does not come; or if
/// more than one in 1,000 BFV keys was not ready when it was needed.
///
/// The log of receipts grows in the temporary directory, by about a third of a kilobyte for each decision: 10,000 a second
/// for ten minutes take 2 GB. Unix only.
///
/// Examples: `cargo xtask soak`, `cargo xtask soak --minutes 600`, `cargo xtask soak --minutes 1 --profile dev`.
#[derive(clap::Args)]
pub struct Args {
    /// How long, after the 20 seconds.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    minutes: u64,
    /// What cargo builds with. With `dev` the figures are worth little, the checks as much.
    #[arg(long, value_name = "PROFILE", default_value = "release")]
    profile: String,
    /// Build nothing: use this program.
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    binary: Option<PathBuf>,
}

/// How long the most that the server decides is looked for.
const PROBE: Duration = Duration::from_secs(20);
/// Four requests for one attempt, then a batch.
const MIX: [&str; 6] = ["--mix", "single=4,batch=1", "--batch", "64", "--connections", "64"];
/// By which memory may grow: both.
const GROWTH: f64 = 0.05;
const GROWTH_BYTES: f64 = 8.0 * MIB;
/// Of the keys, those that may be late.
const LATE_KEYS: f64 = 0.001;
const MIB: f64 = 1_048_576.0;

/// Builds, and soaks.
pub fn run(report: &mut Report, args: &Args) {
    let mut binary = args.binary.clone();
    if binary.is_none() {
        report.step("soak: build", || {
            let profile = &args.profile;
            run_command(&mut cargo(["build", "-p", "symbolon-host", "--profile", profile]))?;
            // The one profile whose folder has another name.
            let folder = if profile == "dev" { "debug" } else { profile };
            binary = Some(target_dir()?.join(folder).join("symbolon"));
            Ok(())
        });
    }
    if let Some(binary) = binary {
        report.step("soak", || soak(&binary, Duration::from_secs(60 * args.minutes)));
    }
}

fn soak(binary: &Path, time: Duration) -> Result<()> {
    let server = Server::start(binary)?;
    println!("looking for the most that {} decides", server.url);
    let most = server.load(binary, PROBE, None)?.finish()?;
    let capacity = most["decided_per_s"].as_f64().context("the load tells no rate")?;
    let rate = (capacity / 2.0).round().max(1.0);
    println!("{capacity:.0} a second at most; {rate:.0} a second from here on");

    let mut load = server.load(binary, time, Some(rate))?;
    let samples = watch(&server, &mut load, time)?;
    let shown = load.finish()?;
    let page = server.metrics()?;
    server.stop()?;

    print!("\n{}", table(&samples));
    let ms = |part: &str| shown["latency_us"][part].as_f64().unwrap_or(0.0) / 1e3;
    println!("from when they were due: p50 {:.1} ms, p99 {:.1} ms", ms("p50"), ms("p99"));
    let failures = failures(&samples, &[&most, &shown], &page);
    let folder = target_dir()?.join("soak");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let result = json!({
        "binary": binary, "seconds": time.as_secs(), "most_per_s": capacity, "rate_per_s": rate,
        "failures": failures, "most": most, "load": shown, "samples": samples,
    });
    write(&folder.join("soak.json"), &(serde_json::to_string_pretty(&result)? + "\n"))?;
    write(&folder.join("soak.svg"), &plot(&samples))?;
    ensure!(failures.is_empty(), "{}", failures.join("; "));
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| file.display().to_string())?;
    println!("wrote {}", file.display());
    Ok(())
}

impl Server {
    fn load(&self, binary: &Path, time: Duration, rate: Option<f64>) -> Result<Load> {
        let mut command = Command::new(binary);
        command.args(["load", "--json", "--url", &self.url]).args(MIX);
        // It warms up for a fifth more.
        command.args(["--seconds", &(time.as_secs() * 5 / 6).max(1).to_string()]);
        if let Some(rate) = rate {
            command.args(["--rate", &rate.to_string()]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        Ok(Load(child.with_context(|| binary.display().to_string())?))
    }
}

/// A running `symbolon load`.
struct Load(Child);

impl Load {
    /// Waits for its result. Wrong answers are in it: with them it ends with 1.
    fn finish(mut self) -> Result<Value> {
        let mut text = String::new();
        self.0.stdout.take().context("the output is a pipe")?.read_to_string(&mut text)?;
        let status = self.0.wait()?;
        serde_json::from_str(&text).with_context(|| format!("symbolon load ended with {status}"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The 99th percentile of what came between two readings, in milliseconds: between two bounds, on a line. 0 of nothing.
fn p99_ms(before: &[(f64, f64)], now: &[(f64, f64)]) -> f64 {
    let counts: Vec<_> =
        now.iter().zip(before).map(|((bound, n), (_, b))| (*bound, n - b)).collect();
    let wanted = counts.last().map_or(0.0, |(_, all)| all * 0.99);
    let (mut floor, mut below) = (0.0, 0.0);
    for (bound, count) in counts {
        if count >= wanted && count > below {
            let part = (wanted - below) / (count - below);
            let bound = if bound.is_finite() { bound } else { floor };
            return 1e3 * (floor + part * (bound - floor));
        }
        (floor, below) = (bound, count);
    }
    0.0
}

/// A second of the server's.
#[derive(Serialize)]
struct Sample {
    seconds: f64,
    rss_bytes: f64,
    decided_per_s: f64,
    p99_ms: f64,
    /// Attempts that wait.
    queued: f64,
    /// Attempts of a batch, of 32.
    batch_fill: f64,
    /// BFV keys brought in so far.
    keys: f64,
    /// Of these, those that were not ready.
    keys_on_demand: f64,
}

/// Reads the metrics every second until the load ends.
fn watch(server: &Server, load: &mut Load, time: Duration) -> Result<Vec<Sample>> {
    let start = Instant::now();
    let first = server.metrics()?;
    let (mut samples, mut before, mut at) = (Vec::new(), server.metrics()?, start);
    while load.0.try_wait()?.is_none() {
        // It ends when what is under way is answered, within half a minute.
        if start.elapsed() > time + Duration::from_secs(120) {
            bail!("symbolon load does not end");
        }
        thread::sleep((at + Duration::from_secs(1)).saturating_duration_since(Instant::now()));
        let now = server.metrics()?;
        let (since, answered) = (at.elapsed().as_secs_f64(), "attempt_seconds");
        at = Instant::now();
        let delta = |name: &str| now.get(name) - before.get(name);
        let sample = Sample {
            seconds: start.elapsed().as_secs_f64(),
            rss_bytes: now.get("process_resident_bytes"),
            decided_per_s: delta("batch_attempts_total") / since,
            p99_ms: p99_ms(&before.buckets(answered), &now.buckets(answered)),
            queued: now.sum("queue_depth", ""),
            batch_fill: delta("batch_attempts_total") / delta("batches_total").max(1.0),
            keys: now.get("bfv_rotations_total") - first.get("bfv_rotations_total"),
            keys_on_demand: now.get("bfv_rotations_on_demand_total")
                - first.get("bfv_rotations_on_demand_total"),
        };
        if samples.len() % 10 == 0 {
            println!("{}", row(&sample));
        }
        samples.push(sample);
        before = now;
    }
    Ok(samples)
}

/// What is wrong, if something is.
fn failures(samples: &[Sample], loads: &[&Value], page: &Page) -> Vec<String> {
    let mut failures = Vec::new();
    let mut add = |what: String| failures.push(what);
    let (fifth, end) = (samples.len() / 5, samples.len());
    let [then, now] = [fifth, end].map(|at| rss(samples.get(at.saturating_sub(5)..at)));
    match (then, now) {
        (Some(then), Some(now)) if now - then > GROWTH_BYTES && now > then * (1.0 + GROWTH) => {
            add(format!("memory grew from {:.1} to {:.1} MiB", then / MIB, now / MIB));
        }
        (Some(_), Some(_)) => (),
        _ => add("there are too few readings of the server's memory".into()),
    }
    for load in loads {
        let wrong = load["wrong"].as_u64();
        if wrong != Some(0) {
            add(format!("{} answers differ from the clear computation", wrong.unwrap_or(0)));
        }
        for (status, count) in load["statuses"].as_object().into_iter().flatten() {
            if status.parse().is_ok_and(|status: u16| status >= 500) {
                add(format!("{count} attempts were answered {status}"));
            }
        }
        for (error, count) in load["errors"].as_object().into_iter().flatten() {
            add(format!("{count} attempts had no answer ({error})"));
        }
        if load["decided"].as_u64().unwrap_or(0) == 0 {
            add("nothing was decided".into());
        }
    }
    // Also those whose answers nobody has read.
    let failed = page.sum("http_requests_total", "status=\"5xx\"");
    if failed > 0.0 {
        add(format!("the server failed {failed} requests"));
    }
    let (keys, late) = (page.get("bfv_rotations_total"), page.get("bfv_rotations_on_demand_total"));
    if late > keys * LATE_KEYS {
        add(format!("{late} of {keys} BFV keys were not ready when they were needed"));
    }
    failures
}

/// The middle one.
fn rss(samples: Option<&[Sample]>) -> Option<f64> {
    let mut rss: Vec<_> = samples?.iter().map(|sample| sample.rss_bytes).collect();
    rss.sort_by(f64::total_cmp);
    rss.get(rss.len() / 2).copied().filter(|bytes| *bytes > 0.0)
}

fn row(sample: &Sample) -> String {
    format!(
        "{:>7.0} {:>9.1} {:>10.0} {:>8.1} {:>7.0} {:>7.1} {:>6.0} {:>6.0}",
        sample.seconds,
        sample.rss_bytes / MIB,
        sample.decided_per_s,
        sample.p99_ms,
        sample.queued,
        sample.batch_fill,
        sample.keys,
        sample.keys_on_demand,
    )
}

/// Some twenty of the samples, evenly.
fn table(samples: &[Sample]) -> String {
    let mut table = format!(
        "{:>7} {:>9} {:>10} {:>8} {:>7} {:>7} {:>6} {:>6}\n",
        "seconds", "RSS MiB", "decided/s", "p99 ms", "queued", "a batch", "keys", "late"
    );
    let step = samples.len().div_ceil(20).max(1);
    for sample in samples.iter().step_by(step) {
        table += &row(sample);
        table.push('\n');
    }
    table
}

const WIDTH: f64 = 720.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
/// Of each of the two panels.
const PANEL: f64 = 180.0;
const TOP: f64 = 32.0;
const STYLE: &str = "svg{background:#fff;font:12px system-ui,sans-serif}text{fill:#333}.grid{stroke:#ddd}\
polyline{fill:none;stroke:#1b6ca8;stroke-width:1.5}\
@media(prefers-color-scheme:dark){svg{background:#16181c}text{fill:#ccc}.grid{stroke:#333}polyline{stroke:#6db3e8}}";

/// Memory and latency over time, one above the other, as SVG that stands alone.
fn plot(samples: &[Sample]) -> String {
    let end = samples.iter().map(|sample| sample.seconds).fold(1.0, f64::max);
    let x = |seconds: f64| LEFT + seconds / end * (WIDTH - LEFT - RIGHT);
    let memory: fn(&Sample) -> f64 = |sample| sample.rss_bytes / MIB;
    let latency: fn(&Sample) -> f64 = |sample| sample.p99_ms;
    let panels = [
        ("Memory of the server (RSS), MiB", memory),
        ("99th percentile of the time to a decision, ms", latency),
    ];
    let mut body = String::new();
    // Writing into a string does not fail.
    for (panel, (title, value)) in panels.iter().enumerate() {
        let top = TOP + panel as f64 * (PANEL + 2.0 * TOP);
        let most = samples.iter().map(value).fold(1e-9, f64::max) * 1.1;
        let y = |value: f64| top + PANEL * (1.0 - value / most);
        let _ = writeln!(body, "<text x=\"{LEFT}\" y=\"{:.1}\">{title}</text>", top - 10.0);
        for quarter in 0..=4 {
            let value = most * f64::from(quarter) / 4.0;
            let (at, right) = (y(value), WIDTH - RIGHT);
            let _ = writeln!(
                body,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.1}</text>",
                LEFT - 6.0,
                at + 4.0,
            );
            let seconds = end * f64::from(quarter) / 4.0;
            let _ = writeln!(
                body,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{seconds:.0} s</text>",
                x(seconds),
                top + PANEL + 18.0,
            );
        }
        let points: Vec<_> = samples
            .iter()
            .map(|sample| format!("{:.1},{:.1}", x(sample.seconds), y(value(sample))))
            .collect();
        let _ = writeln!(body, "<polyline points=\"{}\"/>", points.join(" "));
    }
    let height = 2.0 * (PANEL + 2.0 * TOP);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Memory and latency of the server over time\"><style>{STYLE}</style>\n{body}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: usize, mib: f64) -> Sample {
        Sample {
            seconds: seconds as f64,
            rss_bytes: mib * MIB,
            decided_per_s: 1000.0,
            p99_ms: 5.0,
            queued: 0.0,
            batch_fill: 16.0,
            keys: 10.0,
            keys_on_demand: 0.0,
        }
    }

    fn samples(mib: impl Fn(usize) -> f64) -> Vec<Sample> {
        (0..100).map(|i| sample(i, mib(i))).collect()
    }

    #[test]
    fn percentiles_are_between_bounds() {
        let page = "symbolon_s_bucket{le=\"0.001\"} 50\nsymbolon_s_bucket{le=\"+Inf\"} 100\n\
                    # symbolon_s\nsymbolon_s_bucket{le=\"0.01\"} 100\nsymbolon_other 3\n";
        let now = Page::parse(page).buckets("s");
        assert_eq!(now, [(0.001, 50.0), (0.01, 100.0), (f64::INFINITY, 100.0)]);
        let before: Vec<_> = now.iter().map(|(bound, _)| (*bound, 0.0)).collect();
        assert!((p99_ms(&before, &now) - (1.0 + 9.0 * 0.98)).abs() < 1e-9);
        // Nothing came.
        assert_eq!(p99_ms(&now, &now), 0.0);
        // All of it beyond the last bound.
        let beyond = [(0.001, 0.0), (0.01, 0.0), (f64::INFINITY, 7.0)];
        assert_eq!(p99_ms(&before, &beyond), 10.0);
    }

    #[test]
    fn each_failure_is_found() {
        let good =
            json!({ "wrong": 0, "decided": 9, "statuses": { "200": 9, "429": 3 }, "errors": {} });
        let page = Page::parse(
            "symbolon_bfv_rotations_total 1000\nsymbolon_bfv_rotations_on_demand_total 1\n",
        );
        let count =
            |samples: &[Sample], load: &Value, page: &Page| failures(samples, &[load], page).len();
        let steady = samples(|_| 100.0);
        assert_eq!(count(&steady, &good, &page), 0);
        // Before the end of the first fifth it may grow, and later by a little.
        assert_eq!(count(&samples(|i| if i < 15 { 50.0 } else { 100.0 }), &good, &page), 0);
        assert_eq!(count(&samples(|i| if i < 90 { 100.0 } else { 107.9 }), &good, &page), 0);
        assert_eq!(count(&samples(|i| if i < 90 { 200.0 } else { 209.0 }), &good, &page), 0);
        assert_eq!(count(&samples(|i| if i < 90 { 100.0 } else { 109.0 }), &good, &page), 1);
        assert_eq!(count(&samples(|_| 0.0), &good, &page), 1);
        assert_eq!(count(&[], &good, &page), 1);
        for (field, value) in [
            ("wrong", json!(1)),
            ("wrong", Value::Null),
            ("decided", json!(0)),
            ("statuses", json!({ "200": 9, "504": 1 })),
            ("errors", json!({ "broken": 1 })),
        ] {
            let mut load = good.clone();
            load[field] = value;
            assert_eq!(count(&steady, &load, &page), 1, "{load}");
        }
        for text in [
            "symbolon_bfv_rotations_total 1000\nsymbolon_bfv_rotations_on_demand_total 2\n",
            "symbolon_http_requests_total{route=\"/a\",status=\"5xx\"} 1\n",
        ] {
            assert_eq!(count(&steady, &good, &Page::parse(text)), 1, "{text}");
        }
    }

    #[test]
    fn draws_both_panels() {
        let svg = plot(&samples(|i| i as f64));
        assert_eq!(svg.matches("<polyline").count(), 2);
        for svg in [svg, plot(&[])] {
            assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }
        assert_eq!(table(&samples(|_| 1.0)).lines().count(), 21);
    }
}
