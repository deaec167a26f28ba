//! `cargo xtask clippy`

use crate::cargo::{PEERS, cargo, run as run_command};
use crate::report::Report;

const CORE_FEATURES: &str = "critical-section,defmt,hazmat,valgrind";

/// Lints the workspace, the benches with their features, then core on its own: bare, and with all it has.
pub fn run(report: &mut Report) {
    report.step("clippy: workspace", || {
        let args = ["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"];
        run_command(&mut cargo(args))
    });
    report.step("clippy: core alone", || core_with(&[]));
    report.step("clippy: core with all features", || core_with(&["--features", CORE_FEATURES]));
}

fn core_with(features: &[&str]) -> anyhow::Result<()> {
    let args = ["clippy", "-p", "symbolon-core", "--no-default-features"];
    run_command(cargo(args).args(features).args(["--", "-Dwarnings"]))
}
