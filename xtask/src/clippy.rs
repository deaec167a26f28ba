//! `cargo xtask clippy`

use crate::cargo::{cargo, run as run_command};
use crate::report::Report;

const CORE_FEATURES: [&str; 4] = ["critical-section", "defmt", "hazmat", "valgrind"];

/// Lints the workspace, the benches with their features, then core on its own: alone, and with each.
pub fn run(report: &mut Report) {
    report.step("clippy: workspace", || {
        let args = ["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"];
        run_command(&mut cargo(args))
    });
    // Other people's libraries, which nothing else here builds.
    report.step("clippy: benches with peers", || {
        let package = ["clippy", "-p", "symbolon-benches", "--all-targets"];
        let args = ["--features", "peers,instructions", "--", "-Dwarnings"];
        run_command(cargo(package).args(args))
    });
    report.step("clippy: core alone", || core_with(&[]));
    for feature in CORE_FEATURES {
        report.step(&format!("clippy: core + {feature}"), || core_with(&["--features", feature]));
    }
}

fn core_with(features: &[&str]) -> anyhow::Result<()> {
    let args = ["clippy", "-p", "symbolon-core", "--no-default-features"];
    run_command(cargo(args).args(features).args(["--", "-Dwarnings"]))
}
