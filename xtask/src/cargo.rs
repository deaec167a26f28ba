//! Running cargo and other programs from the workspace's root.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The workspace's root folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// The cargo that runs this task (so the pinned toolchain's), ready to start in the root.
pub fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Prints the command line, runs it with this terminal's output and no input, and fails if it does.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    println!("$ {shown}");
    let status = command.stdin(Stdio::null()).status().with_context(|| shown.clone())?;
    ensure!(status.success(), "`{shown}` ended with {status}");
    Ok(())
}

/// What a command prints to its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| shown.clone())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{shown}` ended with {}: {}", output.status, errors.trim());
    String::from_utf8(output.stdout).with_context(|| shown)
}

/// What `cargo metadata` says of the workspace's own packages.
pub fn metadata() -> Result<Value> {
    let json = output(&mut cargo(["metadata", "--no-deps", "--format-version=1"]))?;
    serde_json::from_str(&json).context("cargo metadata printed something else than JSON")
}

/// The names of core's examples.
pub fn examples() -> Result<Vec<String>> {
    let metadata = metadata()?;
    let targets = |package: &Value| package["targets"].as_array().cloned().unwrap_or_default();
    let packages = metadata["packages"].as_array().context("no packages in metadata")?;
    let core = packages.iter().find(|package| package["name"] == "symbolon-core");
    let targets = core.map(targets).context("no symbolon-core in metadata")?.into_iter();
    let examples = targets.filter(|target| target["kind"][0] == "example");
    Ok(examples.filter_map(|target| Some(target["name"].as_str()?.to_owned())).collect())
}

/// Where build products go: `target`, or what CARGO_TARGET_DIR says.
pub fn target_dir() -> Result<PathBuf> {
    let metadata = metadata()?;
    let folder =
        metadata["target_directory"].as_str().context("no target_directory in metadata")?;
    Ok(folder.into())
}

/// The command as a person would type it, with the variables that it sets.
fn shown(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            let name = name.to_string_lossy();
            let inherited = env::var(&*name).unwrap_or_default();
            let value = match value.to_str().and_then(|value| value.strip_suffix(&inherited)) {
                Some(front) if !inherited.is_empty() => format!("{front}${name}"),
                _ => quoted(value),
            };
            words.push(format!("{name}={value}"));
        }
    }
    let program = Path::new(command.get_program());
    // The pinned toolchain's cargo has a long path of no interest; another one's path is the point.
    let own = env::var_os("CARGO").is_some_and(|cargo| cargo == program.as_os_str());
    words.push(if own { "cargo".to_owned() } else { program.display().to_string() });
    words.extend(command.get_args().map(quoted));
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.contains(char::is_whitespace) { format!("'{word}'") } else { word.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_typed() {
        let mut command = Command::new("ls");
        let path = env::var("PATH").unwrap();
        command.env("LANG", "C").env("PATH", "/a:".to_owned() + &path).args(["-l", "a b"]);
        assert_eq!(shown(&command), "LANG=C PATH=/a:$PATH ls -l 'a b'");
    }

    #[test]
    fn a_failing_command_is_an_error() {
        assert!(run(&mut Command::new("true")).is_ok());
        assert!(run(&mut Command::new("false")).is_err());
        assert!(run(&mut Command::new("no-such-program-anywhere")).is_err());
    }
}
