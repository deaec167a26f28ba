//! Instruction counts under valgrind, through gungraun.

use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cargo::{cargo, output};
use crate::report::Unmet;

/// Of the crate that the benches link: the runner must be the same.
const VERSION: &str = "0.20.0";

/// Instructions that one call executed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// `ntt/forward`, `batch/sealed-probe`: of two limbs both.
    pub name: String,
    pub isa: String,
    pub instructions: u64,
    /// In the last run on this machine.
    pub before: Option<u64>,
}

/// Counts every benchmark of benches/benches/instructions.rs.
pub fn count() -> Result<Vec<Count>> {
    if output(Command::new("valgrind").arg("--version")).is_err() {
        let why = "valgrind is not installed: `apt-get install valgrind libc6-dbg`";
        return Err(Unmet::Skip(why.into()).into());
    }
    let found = output(Command::new("gungraun-runner").arg("--version")).unwrap_or_default();
    if !found.trim().ends_with(VERSION) {
        let why = format!(
            "gungraun-runner {VERSION} is not installed: \
             `cargo install --locked gungraun-runner --version {VERSION}`"
        );
        return Err(Unmet::Skip(why).into());
    }
    println!("under valgrind, scalar and the vector kernels that it knows (no AVX-512)");
    let mut command = cargo(["bench", "--quiet", "-p", "symbolon-benches"]);
    command.args(["--features", "instructions", "--bench", "instructions"]);
    let counts = parse(&output(command.args(["--", "--output-format=json"]))?)?;
    for Count { name, isa, instructions, before } in &counts {
        let change = before.map_or_else(String::new, |before| change(*instructions, before));
        println!("{name:20} {isa:7} {instructions:>10}{change}");
    }
    Ok(counts)
}

/// `  +1.25 %`, or nothing where nothing changed.
pub fn change(now: u64, before: u64) -> String {
    if now == before || before == 0 {
        return String::new();
    }
    format!("  {:+.2} %", (now as f64 / before as f64 - 1.0) * 100.0)
}

/// One JSON object a line.
fn parse(lines: &str) -> Result<Vec<Count>> {
    lines
        .lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).context("gungraun printed no JSON")?;
            read(&value).with_context(|| format!("not what gungraun {VERSION} prints: {line}"))
        })
        .collect()
}

fn read(value: &Value) -> Option<Count> {
    let group = value["group"].as_str()?;
    let function = value["function_name"].as_str()?;
    let total = &value["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"];
    Some(Count {
        name: format!("{group}/{}", function.replace('_', "-")),
        isa: isa(value["id"].as_str()?)?.to_owned(),
        instructions: total["new"].as_u64()?,
        before: total["old"].as_u64(),
    })
}

/// `isa_1` is the second kind of kernel that this processor shows under valgrind.
fn isa(id: &str) -> Option<&'static str> {
    let vector = if cfg!(target_arch = "aarch64") { "neon" } else { "avx2" };
    ["scalar", vector].get(id.strip_prefix("isa_")?.parse::<usize>().ok()?).copied()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(id: &str, values: &Value) -> String {
        let total = json!({ "metrics": { "Ir": { "values": values } } });
        json!({
            "group": "batch", "function_name": "sealed_probe", "id": id,
            "profiles": [{ "data": { "total": total } }]
        })
        .to_string()
    }

    #[test]
    fn counts_are_read() {
        let first = line("isa_0", &json!({ "new": 100 }));
        let again = line("isa_0", &json!({ "new": 110, "old": 100 }));
        let counts = parse(&format!("{first}\n{again}\n")).unwrap();
        assert_eq!((counts[0].instructions, counts[0].before), (100, None));
        assert_eq!((counts[1].instructions, counts[1].before), (110, Some(100)));
        assert_eq!(
            (counts[0].name.as_str(), counts[0].isa.as_str()),
            ("batch/sealed-probe", "scalar")
        );
        assert!(parse("Done").is_err());
        assert!(parse("{}").is_err());
        assert!(parse(&line("isa_7", &json!({ "new": 1 }))).is_err());
    }

    #[test]
    fn changes_show_their_sign() {
        assert_eq!(change(110, 100), "  +10.00 %");
        assert_eq!(change(99, 100), "  -1.00 %");
        assert_eq!(change(100, 100), "");
    }
}
