//! `cargo xtask loom`

use crate::cargo::{cargo, run as run_command, target_dir};
use crate::report::Report;

/// Runs the models of core's pools and cache, and those with a mistake in them, which must fail.
pub fn run(report: &mut Report) {
    report.step("loom", || {
        let models = ["--test", "loom", "--test", "loom_cache"];
        let mut command = cargo(["test", "-p", "symbolon-core"]);
        command.args(models);
        // Everything is built anew for it, so beside the rest.
        let target = target_dir()?.join("loom");
        run_command(command.arg("--target-dir").arg(target).env("RUSTFLAGS", "--cfg loom"))
    });
}
