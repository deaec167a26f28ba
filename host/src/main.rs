//! The `symbolon` binary: see `symbolon --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    symbolon_host::cli::main()
}
