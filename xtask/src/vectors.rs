//! `cargo xtask vectors`

use crate::cargo::{cargo, run as run_command};
use crate::report::Report;

/// Check the golden vectors, or write them anew with --bless.
///
/// The vectors fix the bytes of every format and the result of every seeded computation. Changing
/// them breaks what others have stored: look at the difference (`git diff`) before you commit it.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Write the vectors from the code as it is, instead of checking the code against them.
    #[arg(long)]
    bless: bool,
}

/// Checks or writes the vectors.
pub fn run(report: &mut Report, args: &Args) {
    report.step("vectors", || {
        let mut command = cargo(["test", "--workspace", "--test", "vectors"]);
        // A variable left over in the shell must not turn a check into a rewrite.
        command.env_remove("SYMBOLON_BLESS");
        if args.bless {
            command.env("SYMBOLON_BLESS", "1");
        }
        run_command(&mut command)
    });
}
