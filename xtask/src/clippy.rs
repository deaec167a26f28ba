//! `cargo xtask clippy`

use crate::cargo::{cargo, run as run_command};
use crate::report::Report;

/// Other people's libraries too, which nothing else here builds. As `doc` does, so that what is common is checked once.
pub const WITH_PEERS: [&str; 2] = [
    "--features",
    "symbolon-benches/peers,symbolon-benches/instructions,symbolon-host/otlp,symbolon-host/lab",
];
const CORE_FEATURES: &str = "critical-section,defmt,hazmat,valgrind";

/// Lints the workspace, benches and host with their features, then the host without, and core on its own: bare, and with all it has.
pub fn run(report: &mut Report) {
    report.step("clippy: workspace", || {
        let mut command = cargo(["clippy", "--workspace", "--all-targets"]);
        run_command(command.args(WITH_PEERS).args(["--", "-Dwarnings"]))
    });
    report.step("clippy: host without features", || {
        run_command(&mut cargo(["clippy", "-p", "symbolon-host", "--", "-Dwarnings"]))
    });
    report.step("clippy: core alone", || core_with(&[]));
    report.step("clippy: core with all features", || core_with(&["--features", CORE_FEATURES]));
}

fn core_with(features: &[&str]) -> anyhow::Result<()> {
    let args = ["clippy", "-p", "symbolon-core", "--no-default-features"];
    run_command(cargo(args).args(features).args(["--", "-Dwarnings"]))
}
