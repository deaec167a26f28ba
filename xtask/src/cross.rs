//! `cargo xtask cross`

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo::{cargo, examples, output, root, run as run_command, target_dir};
use crate::elf::Sizes;
use crate::report::{Report, Unmet};

/// Build core for five bare-metal targets, link its examples for one, and run its tests on emulated
/// 64-bit Arm.
///
/// The bare-metal builds show that core needs neither std nor an allocator nor, on thumbv6m, a
/// compare-and-swap instruction; the examples, which are whole programs, that it leaves nothing else
/// to be linked. The emulated run (in release: emulation is slow) shows the same answers on another
/// architecture: word for word the kernels', so tests that draw statistics of what they compute, or repeat
/// on the largest parameters what others do on the smaller, are left out unless `--whole` asks for them.
///
/// Each target is built by whichever toolchain has it: the pinned one, after `rustup target add`,
/// or Debian's own Rust in /usr/bin, which `cargo xtask cross --install` installs. Their products
/// are kept apart, in target/cross-pinned and target/cross-debian.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Install with apt what is missing, and build nothing (Debian; as root).
    #[arg(long)]
    install: bool,
    /// Run the slowest of the emulated tests too.
    #[arg(long)]
    whole: bool,
}

/// What the names of the slowest of core's tests have in them.
const SLOWEST: [&str; 3] = ["a_thousand_batches", "keep_their_bound", "q135"];
const BARE_METAL: [&str; 5] = [
    "thumbv8m.main-none-eabi",
    "riscv32imac-unknown-none-elf",
    "aarch64-unknown-none",
    "x86_64-unknown-none",
    "thumbv6m-none-eabi",
];
const WITH_DEFMT: &str = "thumbv8m.main-none-eabi";
/// Key pools, where no instruction exchanges a word.
const WITHOUT_CAS: &str = "thumbv6m-none-eabi";
const WITH_EXAMPLES: &str = "thumbv8m.main-none-eabi";
/// Less code than this in an example, and the linker has thrown it away: the smallest has 55 KiB.
const LEAST_CODE: u64 = 32 << 10;
/// 64-bit Arm with Linux.
pub const LINUX_ARM: &str = "aarch64-unknown-linux-gnu";
const LINKER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64-static";
const ARM_ROOT: &str = "/usr/aarch64-linux-gnu";

const DEBIAN_RUST: [&str; 4] =
    ["rustc-web", "cargo-web", "rust-web-src", "libstd-rust-web-dev:arm64"];
const DEBIAN_EMULATION: [&str; 3] =
    ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user-static"];
const DEBIAN_LINKER: &str = "lld";

/// Builds for, or tests on, every target; or installs what that needs.
pub fn run(report: &mut Report, args: &Args) {
    if args.install {
        report.step("cross --install", install);
        return;
    }
    for target in BARE_METAL {
        report.step(&format!("cross: {target}"), || build(target, &[]));
    }
    report.step(&format!("cross: {WITH_DEFMT} + defmt"), || {
        build(WITH_DEFMT, &["--features", "defmt"])
    });
    report.step(&format!("cross: {WITHOUT_CAS} + critical-section"), || {
        build(WITHOUT_CAS, &["--features", "critical-section"])
    });
    report.step(&format!("cross: {WITH_EXAMPLES}, examples"), link_examples);
    report.step(&format!("cross: tests on {LINUX_ARM}"), || test(args.whole));
}

fn build(target: &str, features: &[&str]) -> Result<()> {
    let mut command = bare_metal(target)?;
    run_command(command.args(["--lib", "--no-default-features"]).args(features))
}

/// The command that builds core for a target without an operating system.
fn bare_metal(target: &str) -> Result<Command> {
    let toolchain = Toolchain::with(target)?;
    let mut command = toolchain.cargo()?;
    command.args(["build", "--release", "-p", "symbolon-core", "--target", target]);
    if let Toolchain::Debian = toolchain {
        // Debian ships the source of the bare-metal libraries, not their builds.
        command.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=core");
    }
    Ok(command)
}

/// Links every example as the program of a microcontroller (core/examples/start/), and looks into it.
fn link_examples() -> Result<()> {
    let mut command = bare_metal(WITH_EXAMPLES)?;
    // The pinned toolchain brings the linker, Debian's does not.
    command.env("CARGO_TARGET_THUMBV8M_MAIN_NONE_EABI_LINKER", linker()?);
    run_command(command.arg("--examples"))?;
    let target_dir = command.get_envs().find(|(name, _)| *name == "CARGO_TARGET_DIR");
    let target_dir = target_dir.and_then(|(_, value)| value).context("no target folder")?;
    let folder = Path::new(target_dir).join(WITH_EXAMPLES).join("release/examples");
    for name in examples()? {
        let Sizes { code, constants, memory } =
            Sizes::of(&fs::read(folder.join(&name))?).context("not an ELF file of 32 bits")?;
        let [in_code, in_constants, in_memory] =
            [code, constants, memory].map(|bytes| bytes.div_ceil(1 << 10));
        println!(
            "{name}: {in_code} KiB of code, {in_constants} of constants, {in_memory} of memory"
        );
        ensure!(code >= LEAST_CODE, "{name}: what it does is not in the program");
    }
    Ok(())
}

/// LLVM's linker: the pinned toolchain's own, or else the system's.
fn linker() -> Result<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let library =
        output(Command::new(rustc).args(["--print", "target-libdir"]).current_dir(root()))?;
    let own = Path::new(library.trim()).with_file_name("bin").join("rust-lld");
    if own.is_file() {
        return Ok(own);
    }
    let missing = || Unmet::Missing(advice("ld.lld is missing"));
    Ok(on_path("ld.lld").then(|| "ld.lld".into()).ok_or_else(missing)?)
}

/// Cargo, set up to link and run programs for [`LINUX_ARM`]; the target remains to be named.
pub fn linux_arm() -> Result<Command> {
    let toolchain = Toolchain::with(LINUX_ARM)?;
    emulation()?;
    // The path comes first: with another libc of this architecture installed, the loader of one and
    // the libc of the other would meet, and a program stops at its first thread.
    let runner = format!("{EMULATOR} -E LD_LIBRARY_PATH={ARM_ROOT}/lib -L {ARM_ROOT}");
    let mut command = toolchain.cargo()?;
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER);
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    Ok(command)
}

fn test(whole: bool) -> Result<()> {
    let mut command = linux_arm()?;
    command.args(["test", "--release", "-p", "symbolon-core", "--target", LINUX_ARM, "--"]);
    let left_out = SLOWEST.iter().filter(|_| !whole);
    run_command(command.args(left_out.flat_map(|name| ["--skip", name])))
}

/// A Rust that can build for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Toolchain {
    /// The one this task was started with, pinned in rust-toolchain.toml.
    Pinned,
    /// Debian's, in /usr/bin.
    Debian,
}

impl Toolchain {
    fn with(target: &str) -> Result<Self> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let sysroot = output(Command::new(rustc).args(["--print", "sysroot"]).current_dir(root()))?;
        let version = output(Command::new("/usr/bin/rustc").arg("--version"));
        let debian = version.is_ok_and(|version| is_recent(&version)).then_some(Path::new("/usr"));
        let missing = || Unmet::Missing(advice(&format!("no Rust here builds for {target}")));
        Ok(Self::choose(target, Path::new(sysroot.trim()), debian).ok_or_else(missing)?)
    }

    /// The toolchain that has `target`, given where the pinned one and Debian's are installed.
    fn choose(target: &str, pinned: &Path, debian: Option<&Path>) -> Option<Self> {
        if pinned.join("lib/rustlib").join(target).join("lib").is_dir() {
            return Some(Self::Pinned);
        }
        let debian = debian?;
        let library = if target.contains("-linux-") {
            debian.join("lib/rustlib").join(target).join("lib")
        } else {
            // Built from source, see `build`.
            debian.join("lib/rustlib/src/rust/library")
        };
        (debian.join("bin/cargo").is_file() && library.is_dir()).then_some(Self::Debian)
    }

    /// This toolchain's cargo, with a target folder of its own.
    fn cargo(self) -> Result<Command> {
        let no_args: [&str; 0] = [];
        let mut command = cargo(no_args);
        let folder = match self {
            Self::Pinned => "cross-pinned",
            Self::Debian => {
                command = Command::new("/usr/bin/cargo");
                command.current_dir(root());
                // Whatever cargo starts must be Debian's too: rustup's proxies may come first.
                let path = env::var_os("PATH").unwrap_or_default();
                let usr = PathBuf::from("/usr/bin");
                let path = env::join_paths([usr].into_iter().chain(env::split_paths(&path)))?;
                command.env("PATH", path);
                for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"] {
                    command.env_remove(name);
                }
                "cross-debian"
            }
        };
        command.env("CARGO_TARGET_DIR", target_dir()?.join(folder));
        Ok(command)
    }
}

/// Whether what `rustc --version` printed is at least the workspace's `rust-version`.
fn is_recent(version: &str) -> bool {
    let numbers = |text: &str| -> Option<(u32, u32)> {
        let mut parts = text.split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    };
    let found = version.split_whitespace().nth(1).and_then(numbers);
    found.is_some() && found >= numbers(env!("CARGO_PKG_RUST_VERSION"))
}

/// Fails unless programs for 64-bit Arm Linux can be linked and run here.
fn emulation() -> Result<()> {
    let missing = [LINKER, EMULATOR].into_iter().find(|tool| !on_path(tool));
    let missing = missing.or((!Path::new(ARM_ROOT).is_dir()).then_some(ARM_ROOT));
    match missing {
        None => Ok(()),
        Some(missing) => Err(Unmet::Missing(advice(&format!("{missing} is missing"))).into()),
    }
}

fn on_path(tool: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}

/// How to get what is missing, on both kinds of machine.
fn advice(problem: &str) -> String {
    format!(
        "{problem}\n\
         with rustup: rustup target add {} {LINUX_ARM}\n             \
         apt-get install {}\n\
         on Debian:   cargo xtask cross --install   (as root; brings Debian's own Rust)",
        BARE_METAL.join(" "),
        DEBIAN_EMULATION.join(" "),
    )
}

fn install() -> Result<()> {
    let targets = BARE_METAL.into_iter().chain([LINUX_ARM]);
    let rust = targets.map(Toolchain::with).find_map(Result::err);
    let (emulation, linker) = (emulation().err(), linker().err());
    let mut packages = Vec::new();
    if rust.is_some() {
        packages.extend(DEBIAN_RUST);
    }
    if emulation.is_some() {
        packages.extend(DEBIAN_EMULATION);
    }
    if linker.is_some() {
        packages.push(DEBIAN_LINKER);
    }
    if packages.is_empty() {
        println!("nothing to install");
        return Ok(());
    }
    let root_user = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root_user || !on_path("apt-get") {
        let why = format!("needs root and apt-get to install {}", packages.join(" "));
        return Err(Unmet::Missing(why).into());
    }
    run_command(Command::new("dpkg").args(["--add-architecture", "arm64"]))?;
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    if let Err(error) = run_command(apt().arg("update")) {
        // One unreachable source among several is no reason to stop: the installation will tell.
        println!("{error}");
    }
    run_command(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toolchain_with_the_target_is_chosen() {
        let root = env::temp_dir().join(format!("xtask-cross-{}", std::process::id()));
        let (pinned, debian) = (root.join("pinned"), root.join("debian"));
        let bare = BARE_METAL[0];
        let choose = |target| Toolchain::choose(target, &pinned, Some(&debian));

        assert_eq!(choose(bare), None);
        fs::create_dir_all(debian.join("lib/rustlib/src/rust/library")).unwrap();
        assert_eq!(choose(bare), None, "sources without cargo");
        fs::create_dir_all(debian.join("bin")).unwrap();
        fs::write(debian.join("bin/cargo"), "").unwrap();
        assert_eq!(choose(bare), Some(Toolchain::Debian));
        assert_eq!(Toolchain::choose(bare, &pinned, None), None, "Debian's Rust is too old");
        assert_eq!(choose(LINUX_ARM), None, "std is not built from source");
        fs::create_dir_all(debian.join("lib/rustlib").join(LINUX_ARM).join("lib")).unwrap();
        assert_eq!(choose(LINUX_ARM), Some(Toolchain::Debian));
        fs::create_dir_all(pinned.join("lib/rustlib").join(bare).join("lib")).unwrap();
        assert_eq!(choose(bare), Some(Toolchain::Pinned));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn an_old_compiler_is_told_from_a_recent_one() {
        assert!(is_recent("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"));
        assert!(is_recent(concat!("rustc ", env!("CARGO_PKG_RUST_VERSION"), ".0")));
        assert!(!is_recent("rustc 1.63.0"));
        assert!(!is_recent("rustc"));
    }

    #[test]
    fn advice_names_both_ways() {
        let advice = advice("no Rust here builds for moon-base");
        assert!(advice.contains("rustup target add thumbv8m.main-none-eabi"), "{advice}");
        assert!(advice.contains("cargo xtask cross --install"), "{advice}");
    }
}
