//! `cargo xtask doc`

use crate::cargo::{cargo, run as run_command};
use crate::clippy::WITH_PEERS;
use crate::report::Report;

/// Builds the documentation; any rustdoc warning is an error.
pub fn run(report: &mut Report) {
    report.step("doc", || {
        let mut command = cargo(["doc", "--workspace", "--no-deps"]);
        run_command(command.args(WITH_PEERS).env("RUSTDOCFLAGS", "-Dwarnings"))
    });
}
