//! `cargo xtask test`

use std::process::Command;

use crate::cargo::{cargo, examples, run as run_command, target_dir};
use crate::report::{Report, Unmet};

/// Runs the workspace's tests, core's examples, those of the host's features, the tests that ask another
/// library, then those of the whole scheme again on each slower kind of kernel.
pub fn run(report: &mut Report) {
    report.step("test", || run_command(&mut cargo(["test", "--workspace"])));
    report.step("test: examples", || {
        // The tests' build has them; `cargo run` would unite other features, and build anew.
        run_command(&mut cargo(["build", "--workspace", "--examples"]))?;
        let folder = target_dir()?.join("debug/examples");
        examples()?.iter().try_for_each(|name| run_command(&mut Command::new(folder.join(name))))
    });
    report.step("test: features of the host", || {
        // Of the whole workspace, as above, so that little else than the host is built anew; and that hardly optimised.
        let plain = ["--config", "profile.dev.package.symbolon-host.opt-level=0"];
        let features =
            ["test", "--workspace", "--features", "symbolon-host/otlp,symbolon-host/lab"];
        let test =
            |test: &[&str]| run_command(cargo(features).args(plain).arg("--test").args(test));
        test(&["otlp"])?;
        // What a lab build answers.
        test(&["server", "from_enrolment_to_receipt_to_removal"])
    });
    report.step("test: second opinion", || {
        let package = ["test", "-p", "symbolon-benches", "--no-default-features"];
        run_command(cargo(package).args(["--features", "fhe", "--test", "second_opinion"]))
    });
    for (isa, is_here) in [("scalar", true), ("avx2", has_avx2())] {
        report.step(&format!("test: {isa} kernels"), || {
            if !is_here {
                return Err(Unmet::Skip(format!("this processor has no {isa}")).into());
            }
            let mut command = cargo(["test", "--workspace"]);
            command.args(
                ["oracle", "general", "matching", "noise", "vectors"]
                    .iter()
                    .flat_map(|t| ["--test", t]),
            );
            run_command(command.env("SYMBOLON_ISA", isa))
        });
    }
}

fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}
