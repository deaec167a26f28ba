//! `cargo xtask schema`: the server against its own OpenAPI document.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::cargo::{cargo, output, root, run as run_command, target_dir};
use crate::demo::Server;
use crate::report::{Report, Unmet};

/// Ask a running server for everything that its OpenAPI document has, well formed and not.
///
/// Uses schemathesis (`pip install schemathesis==4.32.5`), which draws requests from the document: no answer may be a
/// failure of the server (5xx, but for deadlines that clients set themselves), and each must have a status, a media
/// type and a body as the document says. Starts `symbolon serve --demo` of the tests' build.
#[derive(clap::Args)]
pub struct Args {
    /// Requests to draw for each operation.
    #[arg(long, value_name = "N", default_value_t = Args::default().examples)]
    examples: u32,
}

impl Default for Args {
    fn default() -> Self {
        Self { examples: 30 }
    }
}

const FOLDER: &str = "host/tests/data/schema";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance";

/// Builds the server, and asks it.
pub fn run(report: &mut Report, args: &Args) {
    report.step("schema", || {
        if output(Command::new("schemathesis").arg("--version")).is_err() {
            let how = "schemathesis is not installed: `pip install schemathesis==4.32.5`";
            return Err(Unmet::Missing(how.into()).into());
        }
        // With the tests' features, so that after them nothing is built anew.
        run_command(&mut cargo(["test", "--workspace", "--no-run", "--test", "server"]))?;
        let server = Server::start(&target_dir()?.join("debug/symbolon"))?;
        ask(&server.url, &root().join(FOLDER), args.examples)?;
        server.stop()
    });
}

fn ask(url: &str, folder: &Path, examples: u32) -> Result<()> {
    // It leaves files where it runs.
    let work = target_dir()?.join("schema");
    fs::create_dir_all(&work)?;
    let mut command = Command::new("schemathesis");
    command.current_dir(work).env("PYTHONPATH", folder).env("SCHEMATHESIS_HOOKS", "hooks");
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg("--config-file");
    command.arg(folder.join("schemathesis.toml")).arg("run").arg(format!("{url}/openapi.json"));
    // The same requests every time.
    command.args([
        "--checks",
        CHECKS,
        "--seed",
        "1",
        "--no-color",
        "--generation-database",
        "none",
    ]);
    run_command(command.args(["--max-examples", &examples.to_string()]))
}
