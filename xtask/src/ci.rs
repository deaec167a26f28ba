//! `cargo xtask ci`

use std::env;

use crate::report::Report;
use crate::{clippy, cross, ct, deny, doc, fmt, fuzz, loom, schema, stack, test, tidy, vectors};

/// Run every check, and end with a table of the results.
///
/// A check that fails does not stop the others. On your own machine a check whose tool is not
/// installed is skipped, with a line that says how to install it; with CI=true in the environment
/// it counts as an error, because .ci/run has installed everything.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out schema, deny, cross, ct and fuzz.
    #[arg(long)]
    quick: bool,
}

/// Runs the checks.
pub fn run(report: &mut Report, args: &Args) {
    if env::var_os("CI").is_none() {
        report.skip_missing_tools();
    }
    fmt::run(report);
    clippy::run(report);
    test::run(report);
    if !args.quick {
        schema::run(report, &schema::Args::default());
    }
    doc::run(report);
    if !args.quick {
        deny::run(report);
    }
    tidy::run(report);
    if !args.quick {
        cross::run(report, &cross::Args::default());
        ct::run(report, &ct::Args {});
    }
    stack::run(report);
    loom::run(report);
    if !args.quick {
        fuzz::run(report, &fuzz::Args::default());
    }
    vectors::run(report, &vectors::Args::default());
}
