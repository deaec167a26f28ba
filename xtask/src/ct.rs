//! `cargo xtask ct`

mod arm;
mod kernels;
mod listing;
mod machine;
mod x86;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::cargo::{cargo, output, root, target_dir};
use crate::cross::{LINUX_ARM, linux_arm};
use crate::ct::kernels::{AARCH64, Architecture, Counts, Findings, Run, X86_64, examine, not_run};
use crate::report::{Report, Unmet};

/// Check that no secret decides a branch or an address.
///
/// By running: platform/tests/ct.rs marks keys, seeds, messages, probes and templates as undefined
/// and runs everything that touches them under valgrind, whose memcheck follows them bit by bit and
/// reports each branch and each address that depends on one. Done with the portable and the AVX2
/// kernels, of a release build; valgrind does not know AVX-512. A routine that leaks on purpose has
/// to be reported, or the check fails. What is made from secrets and may be known is declared in
/// core's sources with `ct::public(..)`, and the reason above it; they are listed.
///
/// By reading: the vector kernels (AVX2, AVX-512; NEON from a cross build) are disassembled as they
/// are linked, and run on a model of the processor. It knows pointers, lengths and counters; whatever
/// is read through a kernel's arguments, and whatever has been in a vector, is secret. A branch, an
/// address or a division that depends on a secret fails. So does any gather, scatter or vector
/// division, any call but memset and its like, and any instruction that no run comes to, each branch
/// being followed both ways. Two kernels sample by rejection: which lanes they keep is taken for
/// public. Every loop is run to its end, so the instructions are counted exactly; cycles on
/// Neoverse V2 are a model's, which is at `transform` in xtask/src/ct.rs.
///
/// Not proved: that a processor takes the same time for all operands of an instruction (on Arm, DIT
/// has to be set for that); anything about other compilers, flags and targets; paths in core that
/// the inputs of platform/tests/ct.rs do not take; the portable code on Arm; quantisation outside its
/// kernels; ML-DSA, whose signing rejects by design. The model trusts that what kernels read from
/// the program's own image is constant.
#[derive(clap::Args)]
pub struct Args {}

const NO_ARGUMENTS: [&str; 0] = [];

/// What valgrind can run.
const WATCHED: [&str; 2] = ["scalar", "avx2"];

/// Declares something public.
const EXCEPTION: &str = "ct::public(";
/// Begins the comment above that says why.
const REASON: &str = "// Public: ";

/// Runs both checks.
pub fn run(report: &mut Report, _: &Args) {
    report.step("ct: what is declared public", exceptions);
    report.step("ct: valgrind sees a leak", leak);
    for capability in WATCHED {
        report.step(&format!("ct: valgrind, {capability}"), || watch(capability));
    }
    for (isa, lanes) in [("avx2", 8), ("avx512", 16)] {
        report.step(&format!("ct: machine code, {isa}"), || {
            if !cfg!(target_arch = "x86_64") {
                return Err(Unmet::Skip("not on x86-64".into()).into());
            }
            let program = build(&mut program(&[])?)?;
            judge(isa, lanes, &disassemble("objdump", &["-M", "intel"], &program)?, &X86_64)
        });
    }
    report.step("ct: machine code, neon", || {
        let mut command = linux_arm()?;
        let program = build(arguments(&mut command).args(["--target", LINUX_ARM]))?;
        judge("neon", 4, &disassemble("aarch64-linux-gnu-objdump", &[], &program)?, &AARCH64)
    });
}

/// Lists what core declares public, and asks for the reason of each.
fn exceptions() -> Result<()> {
    let mut files = vec![root().join("core/src")];
    let mut missing = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                files.push(entry?.path());
            }
            files.sort();
            continue;
        }
        let shown = path.strip_prefix(root())?.display();
        let text = fs::read_to_string(&path).with_context(|| shown.to_string())?;
        for (line, reason) in declared(&text) {
            println!("{shown}:{line}: {}", reason.unwrap_or("NO REASON"));
            missing += usize::from(reason.is_none());
        }
    }
    ensure!(missing == 0, "a comment `{REASON}..` must stand above each `{EXCEPTION}..)`");
    Ok(())
}

/// The lines that declare something public, with the reason in the comment above them.
fn declared(text: &str) -> Vec<(usize, Option<&str>)> {
    let lines: Vec<_> = text.lines().collect();
    let reason = |at: usize| {
        let mut above = lines[..at].iter().rev().map(|line| line.trim());
        above.find_map(|line| {
            line.strip_prefix(REASON).map(Some).or((!line.starts_with("//")).then_some(None))
        })?
    };
    let declares = |line: &str| line.contains(EXCEPTION) && !line.trim().starts_with("//");
    let found = lines.iter().enumerate().filter(|(_, line)| declares(line));
    found.map(|(at, _)| (at + 1, reason(at))).collect()
}

/// The check has to be able to fail.
fn leak() -> Result<()> {
    let mut command = valgrind()?;
    command.arg("--leak");
    let output = command.output()?;
    let report = String::from_utf8_lossy(&output.stderr);
    for what in ["Conditional jump", "Use of uninitialised value"] {
        ensure!(report.contains(what), "`{what}` is missing in the report on a leak:\n{report}");
    }
    ensure!(output.status.code() == Some(LEAKS), "memcheck saw no leak:\n{report}");
    println!("a branch and an address made of a secret were reported");
    Ok(())
}

/// Memcheck's exit status where it has reported something.
const LEAKS: i32 = 99;

fn watch(capability: &str) -> Result<()> {
    let mut command = valgrind()?;
    let seen = output(command.arg(capability))?;
    print!("{seen}");
    if !seen.contains(&format!("{capability}: done")) {
        return Err(Unmet::Skip(format!("this processor has no {capability}")).into());
    }
    Ok(())
}

/// Valgrind, with the program it is to run.
fn valgrind() -> Result<Command> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Unmet::Skip("core talks to valgrind on x86-64 only".into()).into());
    }
    if output(Command::new("valgrind").arg("--version")).is_err() {
        let how = "valgrind is not installed: `apt-get install valgrind`";
        return Err(Unmet::Missing(how.into()).into());
    }
    let program = build(&mut program(&["--features", "symbolon-core/valgrind"])?)?;
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--leak-check=no", &format!("--error-exitcode={LEAKS}")]);
    command.arg(program);
    Ok(command)
}

/// Cargo, set up to build platform/tests/ct.rs in release, with line numbers for memcheck's reports.
fn program(features: &[&str]) -> Result<Command> {
    let mut command = cargo(NO_ARGUMENTS);
    command.env("CARGO_TARGET_DIR", target_dir()?.join("ct"));
    arguments(&mut command).args(features);
    Ok(command)
}

fn arguments(command: &mut Command) -> &mut Command {
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only");
    command.args(["test", "--release", "-p", "symbolon-platform", "--test", "ct", "--no-run"]);
    command.arg("--message-format=json-render-diagnostics")
}

/// Builds a test and tells where it is.
fn build(command: &mut Command) -> Result<PathBuf> {
    for line in output(command)?.lines() {
        let message: Value = serde_json::from_str(line).context("cargo printed no JSON")?;
        if let Some(executable) = message["executable"].as_str() {
            return Ok(executable.into());
        }
    }
    bail!("cargo built no program")
}

fn disassemble(objdump: &str, options: &[&str], program: &Path) -> Result<String> {
    let mut command = Command::new(objdump);
    if output(command.arg("--version")).is_err() {
        let how = format!("{objdump} is not installed: it comes with GNU binutils");
        return Err(Unmet::Missing(how).into());
    }
    let mut command = Command::new(objdump);
    command.args(["--disassemble", "--no-show-raw-insn", "--demangle=rust"]);
    output(command.args(options).arg(program))
}

/// Prints what the kernels run, and fails if one is not accepted.
fn judge(isa: &str, lanes: u64, listing: &str, architecture: &Architecture) -> Result<()> {
    let Findings { runs, size, violations } =
        examine(listing, &format!("symbolon_core::kernel::{isa}"), architecture)?;
    print!("{}", table(&runs));
    for Run { name, counts, .. } in &runs {
        if name == "forward" || name == "inverse" {
            println!("{}", transform(name, counts, lanes));
        }
    }
    println!("{size} instructions of code");
    for violation in &violations {
        println!("{violation}");
    }
    ensure!(violations.is_empty(), "{} violations", violations.len());
    let missing = not_run(&runs);
    ensure!(missing.is_empty(), "not found in the program: {}", missing.join(", "));
    Ok(())
}

/// The instructions that each run took.
fn table(runs: &[Run]) -> String {
    let mut table = format!(
        "{:20} {:>7} {:>8} {:>8} {:>6} {:>6} {:>6} {:>7} {:>6} {:>6}\n",
        "one run",
        "all",
        "multiply",
        "shuffle",
        "other",
        "move",
        "scalar",
        "branch",
        "loads",
        "stores"
    );
    for Run { name, counts, notes } in runs {
        let Counts { multiplies, shuffles, moves, other_vector, scalar, branches, loads, stores } =
            counts;
        table += &format!(
            "{name:20} {:7} {multiplies:8} {shuffles:8} {other_vector:6} {moves:6} {scalar:6} \
             {branches:7} {loads:6} {stores:6}\n",
            counts.all()
        );
        for note in notes {
            table += &format!("  {note}\n");
        }
    }
    table
}

/// Instructions for as many butterflies as a vector has lanes, and for NEON the cycles they take.
///
/// The model of Neoverse V2 counts what its pipes take a cycle: two vector multiplications, four
/// vector instructions of any kind but loads and stores, three loads, two stores, eight
/// instructions in all; no waiting. Three multiplications a butterfly make the bound of 1.5 cycles.
fn transform(name: &str, counts: &Counts, lanes: u64) -> String {
    const BUTTERFLIES: u64 = 12 * 2048;
    let each = |count: u64| count as f64 / (BUTTERFLIES / lanes) as f64;
    let mut text = format!(
        "{name}: {:.2} instructions for {lanes} butterflies, {:.2} of them multiplications",
        each(counts.all()),
        each(counts.multiplies)
    );
    if lanes == 4 {
        let vector = counts.multiplies + counts.shuffles + counts.other_vector;
        let pipes = [
            (counts.multiplies, 2),
            (vector, 4),
            (counts.loads, 3),
            (counts.stores, 2),
            (counts.all(), 8),
        ];
        let cycles = pipes.into_iter().map(|(count, rate)| count.div_ceil(rate)).max().unwrap_or(0);
        text += &format!(
            "; Neoverse V2, by the model: {:.2} cycles for them (bound 1.5), {:.1} us at 2.8 GHz",
            each(cycles),
            cycles as f64 / 2800.0
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_public_is_found_with_its_reason() {
        let text = "
            // Public: thrown away.
            // And more of it.
            n += ct::public(x != 255);
            // No reason.
            ct::public(x);
            // Public: of another.
            f();
            ct::public(x);
            // ct::public(x)
            ";
        assert_eq!(declared(text), [(4, Some("thrown away.")), (6, None), (9, None)]);
    }

    #[test]
    fn cycles_follow_the_busiest_pipes() {
        let counts = Counts { multiplies: 3 * 6144, other_vector: 6144, ..Counts::default() };
        let text = transform("forward", &counts, 4);
        assert!(text.contains("4.00 instructions for 4 butterflies, 3.00 of them"), "{text}");
        assert!(text.contains("1.50 cycles for them (bound 1.5), 3.3 us"), "{text}");
        assert!(!transform("forward", &counts, 8).contains("cycles"));
    }
}
