//! `cargo xtask test`

use crate::cargo::{cargo, run as run_command};
use crate::report::Report;

/// Runs the workspace's tests.
pub fn run(report: &mut Report) {
    report.step("test", || run_command(&mut cargo(["test", "--workspace"])));
}
