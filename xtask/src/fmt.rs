//! `cargo xtask fmt`

use crate::cargo::{cargo, root, run as run_command};
use crate::fuzz::FOLDERS;
use crate::report::Report;

/// Checks the formatting of every package, the fuzz targets' included; changes nothing.
pub fn run(report: &mut Report) {
    report.step("fmt", || {
        run_command(&mut cargo(["fmt", "--all", "--check"]))?;
        for folder in FOLDERS {
            let manifest = root().join(folder).join("Cargo.toml");
            if manifest.is_file() {
                run_command(cargo(["fmt", "--check", "--manifest-path"]).arg(manifest))?;
            }
        }
        Ok(())
    });
}
