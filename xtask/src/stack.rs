//! `cargo xtask stack`

use crate::cargo::{cargo, run as run_command};
use crate::report::Report;

/// Measures the stack of core's entry points as a release build uses it.
pub fn run(report: &mut Report) {
    report.step("stack", || {
        let args =
            ["test", "--release", "-p", "symbolon-core", "--test", "stack", "--", "--nocapture"];
        run_command(&mut cargo(args))
    });
}
