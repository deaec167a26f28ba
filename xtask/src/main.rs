//! The project's chores, one module a task: `cargo xtask help`.
#![forbid(unsafe_code)]

mod bench;
mod cargo;
mod ci;
mod clippy;
mod cross;
mod ct;
mod demo;
mod deny;
mod doc;
mod elf;
mod fills;
mod fmt;
mod fuzz;
mod loom;
mod report;
mod schema;
mod soak;
mod stack;
mod test;
mod tidy;
mod vectors;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::report::Report;

/// The project's chores.
///
/// Every task can be run alone; `cargo xtask ci` runs all the checks. `cargo xtask help TASK` says
/// what a task does and why.
///
/// Exit status: 0 when every check passed or was skipped with a reason, 1 when one failed, 2 when
/// a tool that it needs is not installed (the message says how to install it).
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
// A task without a comment here has its help at its `Args`.
enum Task {
    /// Check that the code is formatted.
    ///
    /// Changes nothing. `cargo fmt` formats, with the settings in rustfmt.toml.
    Fmt,
    /// Lint: clippy over everything, benches with their peers and the host with its features, then over the
    /// host without, and core alone, without features and with all of them.
    ///
    /// Cargo unites features across a workspace, so a workspace build never sees core the way a
    /// firmware build does. Hence the extra runs.
    Clippy,
    /// Run the workspace's tests: `cargo test --workspace`, which uses the processor's fastest kernels,
    /// then core's examples, which check their own answers, then the host's tests of its features,
    /// then the tests of the whole scheme on portable and on AVX2 kernels.
    Test,
    /// Build the documentation and refuse broken links and missing docs.
    ///
    /// Read it with `cargo doc --workspace --no-deps --open`.
    Doc,
    /// Check dependencies: licences, bans, sources and security advisories (deny.toml).
    ///
    /// Uses cargo-deny (`cargo install --locked cargo-deny`). Advisories need the RustSec database,
    /// a git repository on GitHub; where it cannot be fetched that check is skipped and says so.
    Deny,
    /// Check the house rules that no compiler knows.
    ///
    /// Dependencies point one way (host -> platform -> core); core stays no_std without an
    /// allocator; the gateway and the matcher never name secret keys or decryption; `unsafe` stays
    /// in a short list of files, with a reason at each block; core does not panic; no placeholders;
    /// plain text hygiene. Prints `file:line: rule: what to do`. The rules are in xtask/src/tidy/.
    Tidy,
    Cross(cross::Args),
    Ct(ct::Args),
    /// Measure the stack that core's entry points use, in a release build.
    ///
    /// An enclave's stack is small. The measurements and their limits are in core/tests/stack.rs.
    Stack,
    /// Check core's lock-free pools: every order in which a few threads can do a few steps, by loom.
    ///
    /// Each model in core/tests/loom.rs runs as the code stands, and again with a mistake built in (no tag,
    /// a weak ordering, a missing check), which it must find. Builds into target/loom, since it takes all
    /// of core apart: `--cfg loom` puts loom's atomics in place of the processor's.
    Loom,
    Fuzz(fuzz::Args),
    Vectors(vectors::Args),
    Bench(bench::Args),
    Fills(fills::Args),
    Schema(schema::Args),
    Soak(soak::Args),
    Ci(ci::Args),
}

fn main() -> ExitCode {
    let mut report = Report::default();
    match Cli::parse().task {
        Task::Fmt => fmt::run(&mut report),
        Task::Clippy => clippy::run(&mut report),
        Task::Test => test::run(&mut report),
        Task::Doc => doc::run(&mut report),
        Task::Deny => deny::run(&mut report),
        Task::Tidy => tidy::run(&mut report),
        Task::Cross(args) => cross::run(&mut report, &args),
        Task::Ct(args) => ct::run(&mut report, &args),
        Task::Stack => stack::run(&mut report),
        Task::Loom => loom::run(&mut report),
        Task::Fuzz(args) => fuzz::run(&mut report, &args),
        Task::Vectors(args) => vectors::run(&mut report, &args),
        Task::Bench(args) => bench::run(&mut report, &args),
        Task::Fills(args) => fills::run(&mut report, &args),
        Task::Schema(args) => schema::run(&mut report, &args),
        Task::Soak(args) => soak::run(&mut report, &args),
        Task::Ci(args) => ci::run(&mut report, &args),
    }
    report.finish()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
