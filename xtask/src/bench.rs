//! `cargo xtask bench`

use crate::cargo::{cargo, run as run_command};
use crate::report::Report;

/// Run the benches: they check the answer, then time it.
///
/// Close other programs first, and mind the clock: figures from a busy or throttled machine mean
/// little. Results are kept under target/criterion, and the next run is compared with the last.
#[derive(clap::Args)]
pub struct Args {
    /// Only the benches whose name contains this (criterion takes a regular expression).
    #[arg(long)]
    filter: Option<String>,
    /// Fewer samples: rough figures in seconds.
    #[arg(long)]
    quick: bool,
    /// Anything else for criterion, after `--`: for example `-- --save-baseline before`.
    #[arg(last = true)]
    criterion: Vec<String>,
}

/// Runs the benches.
pub fn run(report: &mut Report, args: &Args) {
    report.step("bench", || {
        let mut command = cargo(["bench", "-p", "symbolon-benches", "--"]);
        command.args(&args.filter);
        if args.quick {
            command.arg("--quick");
        }
        run_command(command.args(&args.criterion))
    });
}
