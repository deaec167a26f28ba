//! `cargo xtask fmt`

use crate::cargo::{cargo, run as run_command};
use crate::report::Report;

/// Checks the formatting of every package; changes nothing.
pub fn run(report: &mut Report) {
    report.step("fmt", || run_command(&mut cargo(["fmt", "--all", "--check"])));
}
