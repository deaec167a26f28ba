//! `cargo xtask bench`: runs the benches, then shows what they found.

mod bound;
mod charts;
mod html;
mod instructions;
mod machine;
mod results;
mod svg;
mod table;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use crate::bench::machine::Machine;
use crate::bench::results::{Others, Run};
use crate::cargo::{cargo, root, run as run_command, target_dir};
use crate::report::{Report, Unmet};

/// Run the benches: they check the answer, then time it, beside other people's libraries.
///
/// Everything runs in one go on one machine: each operation with every instruction set that the
/// processor has (scalar, avx2, avx512, neon), and the peers (tfhe-ntt, fhe) on the same work in
/// the same process. It ends with a table, and an HTML report with plots under target/bench/.
///
/// Reading the table: `ratio` is the peer's time divided by ours, so 15 means we take a fifteenth.
/// `bound` is the least time the multiplications and the issue of instructions allow on this
/// processor, at the clock measured in the run; blank where nothing is known. Times are medians,
/// with half the width of their 95 % interval.
/// Figures that others took on other machines stand in a column of their own and are never divided.
///
/// Rows that begin with `pool/` are of keys made ahead; `benches/benches/pool.rs` says what each is. Kind
/// by kind they have a table of their own: a key made when it is asked for (direct), one that was ready
/// (pooled), the same used once (first use), a supply that has run dry, a sealed key opened (cold).
///
/// Rows `cache/trace/` have a second table: what the caches answered of each trace, in percent. Those of `cache/hit` and its
/// like, of `cache/instrumentation` and of `pipeline/` were measured in turn, a pass of each, and the run prints what each
/// took beside the first of them, round by round: rows that are minutes apart say less on a machine whose speed changes.
///
/// A quick run takes about five minutes, a full one about twenty, after the build. Close other
/// programs first: what they take is noted in the report, and a busy machine makes figures
/// worthless. Instruction counts do not mind; they need valgrind and gungraun-runner, else they are
/// skipped and the run says so. Where the peers cannot be built, the rest runs without them.
///
/// Examples: `cargo xtask bench --quick`, `cargo xtask bench --filter 'ntt|bfv/encrypt'`,
/// `cargo xtask bench --filter pool`, `cargo xtask bench --json out.json`, `cargo xtask bench --save`.
#[derive(clap::Args)]
pub struct Args {
    /// Fewer and shorter samples: rough figures, good enough for a look.
    #[arg(long)]
    quick: bool,
    /// Write the rows here.
    ///
    /// An array of {name, isa, median_ns, peer, peer_ns, ratio}, one for each
    /// name, instruction set and peer; peer, peer_ns and ratio are null where there is no peer.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only the benches whose name (such as ntt/forward/avx512) matches this regular expression.
    #[arg(long, value_name = "REGEX")]
    filter: Option<String>,
    /// Build for this machine's processor (`RUSTFLAGS="-C target-cpu=native"`), the peers too.
    ///
    /// Core's kernels find their instruction set when they run. For proofs of identity it makes a difference: the
    /// prover's field arithmetic is chosen when it is compiled.
    #[arg(long)]
    native: bool,
    /// Do not build and time other people's libraries.
    #[arg(long)]
    no_peers: bool,
    /// Keep the result in benches/results/, to be committed, and print the table as Markdown.
    #[arg(long, conflicts_with_all = ["quick", "filter", "native", "no_peers", "criterion"])]
    save: bool,
    /// Run nothing: show a result that --save has written, with its Markdown table.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "filter", "native", "no_peers", "save"])]
    show: Option<PathBuf>,
    /// Anything else for criterion, after `--`: for example `-- --save-baseline before`.
    #[arg(last = true)]
    criterion: Vec<String>,
}

/// Runs the benches and shows what came of them.
pub fn run(report: &mut Report, args: &Args) {
    if let Some(file) = &args.show {
        report.step("bench: report", || {
            let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
            let run = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
            show(&run, args)
        });
        return;
    }

    let mut with_peers = !args.no_peers;
    if with_peers {
        report.step("bench: peers", || {
            let built = run_command(benches(args, true).arg("--no-run"));
            with_peers = built.is_ok();
            built.map_err(|error| Unmet::Skip(format!("{error:#}: without them")).into())
        });
    }
    let mut timed = None;
    report.step("bench: times", || {
        timed = Some(times(args, with_peers)?);
        Ok(())
    });
    let Some(mut run) = timed else { return };
    if args.filter.is_none() {
        report.step("bench: instructions", || {
            run.instructions = instructions::count()?;
            Ok(())
        });
    }
    report.step("bench: report", || show(&run, args));
}

/// `cargo bench` of everything that criterion times.
fn benches(args: &Args, with_peers: bool) -> Command {
    let mut command = cargo(["bench", "-p", "symbolon-benches"]);
    if args.native {
        let flags = env::var("RUSTFLAGS").unwrap_or_default();
        command.env("RUSTFLAGS", format!("{flags} -C target-cpu=native"));
    }
    let mut targets = vec![
        "ntt", "bfv", "general", "attest", "batch", "pool", "cache", "identity", "session",
        "pipeline", "scaling",
    ];
    if with_peers {
        command.args(["--features", "peers"]);
        targets.extend(["rejected", "mimalloc"]);
    }
    for target in targets {
        command.args(["--bench", target]);
    }
    command
}

/// Runs criterion and reads what it measured.
fn times(args: &Args, with_peers: bool) -> Result<Run> {
    run_command(benches(args, with_peers).arg("--no-run"))?;
    let mut machine = Machine::describe()?;
    if machine.is_busy() {
        println!("note: other programs keep the processor {:.0} % busy", machine.busy * 100.0);
        println!("note: the figures will be worse than on a quiet machine");
    }

    let mut command = benches(args, with_peers);
    command.arg("--").args(&args.filter);
    let [warm_up, time, samples, resamples] =
        if args.quick { ["0.1", "0.4", "20", "1000"] } else { ["0.7", "2.5", "60", "20000"] };
    command.args(["--warm-up-time", warm_up, "--measurement-time", time]);
    command.args(["--sample-size", samples, "--nresamples", resamples]);
    if args.quick {
        // Of rows that are measured in turn.
        command.env("SYMBOLON_ROUNDS", "10");
    }
    let rates = target_dir()?.join("bench").join("hit-rates.tsv");
    fs::create_dir_all(target_dir()?.join("bench"))?;
    if rates.exists() {
        fs::remove_file(&rates)?;
    }
    command.env("SYMBOLON_HIT_RATES", &rates);
    let start = SystemTime::now();
    run_command(command.args(&args.criterion))?;
    machine.measure_clock();

    let measures = results::read(&target_dir()?.join("criterion"), start)?;
    ensure!(!measures.is_empty(), "no bench matches the filter");
    let rates = results::read_rates(&rates, &measures)?;
    let command = env::args().skip(1).map(|word| table::quoted(&word)).collect::<Vec<_>>();
    Ok(Run {
        date: machine::today(),
        command: format!("cargo xtask {}", command.join(" ")),
        machine,
        measures,
        instructions: Vec::new(),
        rates,
    })
}

/// Prints the tables and writes the files.
fn show(run: &Run, args: &Args) -> Result<()> {
    let others = Others::read(&root().join("benches/data/others.json"))?;
    println!("{}", table::terminal(run, &others));

    let folder = target_dir()?.join("bench");
    fs::create_dir_all(&folder)?;
    let page = folder.join("report.html");
    write(&page, &html::page(run, &others))?;
    if let Some(file) = &args.json {
        write(file, &(serde_json::to_string_pretty(&run.rows())? + "\n"))?;
    }
    if args.save {
        let name = format!("{}-{}.json", run.date, table::slug(&run.machine.name()));
        let file = root().join("benches/results").join(name);
        write(&file, &(serde_json::to_string_pretty(run)? + "\n"))?;
    }
    if args.save || args.show.is_some() {
        println!("\n{}", table::markdown(run, &others));
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, text).with_context(|| file.display().to_string())?;
    println!("wrote {}", file.display());
    Ok(())
}
