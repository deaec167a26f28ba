//! `cargo xtask fuzz`

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cargo::{cargo, output, root, run as run_command, target_dir};
use crate::report::{Report, Unmet};

/// Where fuzz targets are: workspaces of their own.
pub const FOLDERS: [&str; 2] = ["core/fuzz", "host/fuzz"];

/// Run each fuzz target for a few seconds.
///
/// A target is a file in core/fuzz/fuzz_targets or host/fuzz/fuzz_targets with a `[[bin]]` entry in
/// that folder's Cargo.toml. Inputs to start from go in seeds/TARGET/ beside it and are committed;
/// what the fuzzer finds is kept in corpus/TARGET/, and inputs that crash in artifacts/TARGET/.
/// Uses cargo-fuzz (`cargo install --locked cargo-fuzz`) with the pinned toolchain, no nightly.
#[derive(clap::Args)]
pub struct Args {
    /// How long to run each target.
    #[arg(long, value_name = "N", default_value_t = Args::default().seconds)]
    seconds: u32,
    /// Only these targets.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

impl Default for Args {
    fn default() -> Self {
        Self { seconds: 10, targets: Vec::new() }
    }
}

struct Target {
    folder: &'static str,
    name: String,
}

/// Finds the targets and fuzzes each.
pub fn run(report: &mut Report, args: &Args) {
    let targets = match find(root(), &args.targets) {
        Ok(targets) => targets,
        Err(error) => return report.step("fuzz", || Err(error)),
    };
    for target in targets {
        report.step(&format!("fuzz: {}", target.name), || fuzz(&target, args.seconds));
    }
}

/// The targets under `root`: those named, or all if none is named.
fn find(root: &Path, wanted: &[String]) -> Result<Vec<Target>> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        let targets = root.join(folder).join("fuzz_targets");
        if !targets.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&targets).with_context(|| targets.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.file_stem().context("a file has a name")?;
                found.push(Target { folder, name: name.to_string_lossy().into_owned() });
            }
        }
    }
    if found.is_empty() {
        return Err(Unmet::Skip(format!("no targets in {}", FOLDERS.join(" or "))).into());
    }
    found.sort_by(|a, b| (a.folder, &a.name).cmp(&(b.folder, &b.name)));
    for name in wanted {
        if !found.iter().any(|target| target.name == *name) {
            let known: Vec<_> = found.iter().map(|target| target.name.as_str()).collect();
            bail!("no target is called {name}; there are: {}", known.join(", "));
        }
    }
    found.retain(|target| wanted.is_empty() || wanted.contains(&target.name));
    Ok(found)
}

fn fuzz(target: &Target, seconds: u32) -> Result<()> {
    if output(&mut cargo(["fuzz", "--version"])).is_err() {
        let how = "cargo-fuzz is not installed: `cargo install --locked cargo-fuzz`";
        return Err(Unmet::Missing(how.into()).into());
    }
    let Target { folder, name } = target;
    let corpus = root().join(folder).join("corpus").join(name);
    fs::create_dir_all(&corpus).with_context(|| corpus.display().to_string())?;
    let seeds = root().join(folder).join("seeds").join(name);

    let mut command = cargo(["fuzz", "run", "--fuzz-dir", folder]);
    // Sanitizers are unstable options of a stable compiler, which ships their run time.
    command.env("RUSTC_BOOTSTRAP", "1");
    command.arg("--target-dir").arg(target_dir()?.join("fuzz"));
    command.arg(name).arg(corpus);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    let limit = format!("-max_total_time={seconds}");
    run_command(command.args(["--", &limit, "-verbosity=0", "-print_final_stats=1"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_and_chosen_by_name() {
        let root = std::env::temp_dir().join(format!("xtask-fuzz-{}", std::process::id()));
        let files = ["core/fuzz/fuzz_targets/wire.rs", "host/fuzz/fuzz_targets/store.rs"];
        assert!(find(&root, &[]).is_err_and(|error| error.is::<Unmet>()));
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let names = |wanted: &[&str]| -> Result<Vec<String>> {
            let wanted: Vec<_> = wanted.iter().map(|&name| name.to_owned()).collect();
            Ok(find(&root, &wanted)?.into_iter().map(|target| target.name).collect())
        };
        assert_eq!(names(&[]).unwrap(), ["wire", "store"]);
        assert_eq!(names(&["store"]).unwrap(), ["store"]);
        assert!(names(&["nothing"]).unwrap_err().to_string().contains("wire, store"));
        fs::remove_dir_all(root).unwrap();
    }
}
