//! `cargo xtask fills`: what a person costs a running server, by how many share a batch.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::cargo::{cargo, root, run as run_command, target_dir};
use crate::demo::Server;
use crate::report::Report;

/// Measure what a person costs a running server, by how many share a batch.
///
/// Builds `symbolon`, starts `serve --demo` and sends batches of 1 to 32 attempts, one after the other. From the server's own
/// time on the processor, all threads together, and its count of decisions comes the time per person. It prints a
/// table and writes benches/results/fills.svg, which the README shows. Linux only; close other programs first.
#[derive(clap::Args)]
pub struct Args {
    /// Seconds of each size.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Build nothing: use this program.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

const SIZES: [u32; 6] = [1, 2, 4, 8, 16, 32];

struct Point {
    /// Attempts a batch, as the server counted.
    fill: f64,
    /// Of one core.
    us: f64,
}

/// Builds and measures.
pub fn run(report: &mut Report, args: &Args) {
    report.step("fills", || {
        let binary = match &args.binary {
            Some(binary) => binary.clone(),
            None => {
                run_command(&mut cargo(["build", "-p", "symbolon-host", "--release"]))?;
                target_dir()?.join("release/symbolon")
            }
        };
        let points = measure(&binary, args.seconds)?;
        for Point { fill, us } in &points {
            println!("{fill:5.1} a batch: {us:7.1} us of one core a person");
        }
        let file = root().join("benches/results/fills.svg");
        fs::write(&file, plot(&points)).with_context(|| file.display().to_string())?;
        println!("wrote {}", file.display());
        Ok(())
    });
}

fn measure(binary: &Path, seconds: u64) -> Result<Vec<Point>> {
    let server = Server::start(binary)?;
    let read = || -> Result<_> {
        let page = server.metrics()?;
        let [batches, people] =
            ["batches_total", "batch_attempts_total"].map(|name| page.get(name));
        Ok((server.cpu_seconds()?, batches, people))
    };
    let mut points = Vec::new();
    for size in SIZES {
        let before = read()?;
        let (size, seconds) = (size.to_string(), seconds.to_string());
        let mut load = Command::new(binary);
        load.args([
            "load",
            "--json",
            "--url",
            &server.url,
            "--mix",
            "batch=1",
            "--connections",
            "1",
        ]);
        load.args(["--batch", &size, "--concurrency", &size, "--seconds", &seconds]);
        let done = load.stdin(Stdio::null()).output().context("the load does not start")?;
        ensure!(done.status.success(), "the load ended with {}", done.status);
        let after = read()?;
        let (batches, people) = (after.1 - before.1, after.2 - before.2);
        ensure!(people > 0.0, "nobody was decided");
        points.push(Point { fill: people / batches, us: (after.0 - before.0) / people * 1e6 });
    }
    server.stop()?;
    Ok(points)
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 46.0;
const STYLE: &str = "svg{background:#fff;font:13px system-ui,sans-serif}text{fill:#333}line{stroke:#ddd}\
polyline{fill:none;stroke:#1b6ca8;stroke-width:2}circle{fill:#1b6ca8}\
@media(prefers-color-scheme:dark){svg{background:#16181c}text{fill:#ccc}line{stroke:#333}\
polyline{stroke:#6db3e8}circle{fill:#6db3e8}}";

/// Both axes by doublings.
fn plot(points: &[Point]) -> String {
    let least = points.iter().map(|point| point.us).fold(f64::MAX, f64::min);
    let most = points.iter().map(|point| point.us).fold(least, f64::max);
    let (low, high) = (least.log2().floor(), most.log2().ceil());
    let x = |fill: f64| LEFT + fill.log2() / 5.0 * (WIDTH - LEFT - RIGHT);
    let y = |us: f64| TOP + (high - us.log2()) / (high - low).max(1.0) * (HEIGHT - TOP - BOTTOM);
    let mut body = String::new();
    // Writing into a string does not fail.
    let mut step = low;
    while step <= high {
        let (at, us) = (y(step.exp2()), step.exp2());
        let right = WIDTH - RIGHT;
        let _ = writeln!(
            body,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{us:.0} us</text>",
            LEFT - 8.0,
            at + 4.0,
        );
        step += 1.0;
    }
    for size in SIZES {
        let (at, below) = (x(f64::from(size)), HEIGHT - BOTTOM + 20.0);
        let _ = writeln!(
            body,
            "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{size}</text>"
        );
    }
    let line: Vec<_> = points.iter().map(|p| format!("{:.1},{:.1}", x(p.fill), y(p.us))).collect();
    let _ = writeln!(body, "<polyline points=\"{}\"/>", line.join(" "));
    for point in points {
        let (cx, cy) = (x(point.fill), y(point.us));
        let (above, us) = (cy - 10.0, point.us);
        let _ = writeln!(
            body,
            "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"4\"/>\
             <text x=\"{cx:.1}\" y=\"{above:.1}\" text-anchor=\"middle\">{us:.1}</text>"
        );
    }
    let middle = WIDTH / 2.0;
    let foot = HEIGHT - 8.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Time of one core a person, by people a batch\"><style>{STYLE}</style>\n\
         <text x=\"{LEFT}\" y=\"20\">Time of one core a person, HTTP, log and signatures included</text>\n{body}\
         <text x=\"{middle}\" y=\"{foot}\" text-anchor=\"middle\">people a batch</text>\n</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plot_falls_where_the_times_fall() {
        let points = [(1.0, 200.0), (32.0, 10.0)].map(|(fill, us)| Point { fill, us });
        let plot = plot(&points);
        let line = plot.split("<polyline points=\"").nth(1).unwrap().split('"').next().unwrap();
        let at: Vec<Vec<f64>> = line
            .split(' ')
            .map(|point| point.split(',').map(|n| n.parse().unwrap()).collect())
            .collect();
        assert!(at[0][0] < at[1][0] && at[0][1] < at[1][1], "{line}");
        assert!(at[1][0] <= WIDTH && at[1][1] <= HEIGHT && at[0][1] >= TOP);
        assert!(plot.contains(">10.0<") && plot.ends_with("</svg>\n"));
    }
}
