//! `cargo xtask doc`

use crate::cargo::{cargo, run as run_command};
use crate::report::Report;

/// Builds the documentation; any rustdoc warning is an error.
pub fn run(report: &mut Report) {
    report.step("doc", || {
        run_command(cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings"))
    });
}
