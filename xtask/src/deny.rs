//! `cargo xtask deny`

use anyhow::Result;

use crate::cargo::{cargo, output, run as run_command};
use crate::report::{Report, Unmet};

/// Checks the dependency tree against deny.toml.
pub fn run(report: &mut Report) {
    report.step("deny: licenses bans sources", || {
        installed()?;
        run_command(&mut cargo(["deny", "check", "licenses", "bans", "sources"]))
    });
    report.step("deny: advisories", || {
        installed()?;
        if let Err(error) = output(&mut cargo(["deny", "fetch", "db"])) {
            let error = error.to_string();
            let last = error.trim().lines().last().unwrap_or_default();
            let why = format!("the advisory database cannot be fetched: {last}");
            return Err(Unmet::Skip(why).into());
        }
        run_command(&mut cargo(["deny", "check", "--disable-fetch", "advisories"]))
    });
}

fn installed() -> Result<()> {
    output(&mut cargo(["deny", "--version"])).map(|_| ()).map_err(|_| {
        let how = "cargo-deny is not installed: `cargo install --locked cargo-deny`";
        Unmet::Missing(how.into()).into()
    })
}
