//! The machine that a run was made on, and its clock.

use std::collections::HashMap;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::bound;
use crate::cargo::{output, root};

/// What the figures depend on.
#[derive(Default, Serialize, Deserialize)]
pub struct Machine {
    /// As the processor names itself.
    pub cpu: String,
    /// `AuthenticAMD 26.2`, or on Arm implementer and part: `0x41 0xd4f`.
    pub id: String,
    /// Whether under a hypervisor.
    pub is_virtual: bool,
    /// Logical processors.
    pub cores: usize,
    /// Gibibytes.
    pub memory_gib: f64,
    /// Of one busy core, measured at the run. 0 if it was not.
    pub clock_ghz: f64,
    /// The share of all processors' time that others took in the second before the run.
    pub busy: f64,
    /// Operating system and architecture.
    pub system: String,
    /// What compiled it.
    pub compiler: String,
    /// The commit, `+` at its end if files had changed since.
    pub commit: String,
}

impl Machine {
    /// Looks around, and measures the clock a first time.
    pub fn describe() -> Result<Self> {
        let git = |args: &[&str]| {
            let mut git = Command::new("git");
            git.args(["-c", "safe.directory=*"]).args(args).current_dir(root());
            output(&mut git).map(|text| text.trim().to_owned())
        };
        let changed = git(&["status", "--porcelain"]).is_ok_and(|changes| !changes.is_empty());
        let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|_| "unknown".into());
        // Where there is no /proc the fields stay empty, and no bound is known.
        let proc = |file: &str| fs::read_to_string(format!("/proc/{file}")).unwrap_or_default();
        let fields = fields(&proc("cpuinfo"));
        let memory = self::fields(&proc("meminfo"));
        let kib = memory.get("MemTotal").and_then(|text| text.split(' ').next()?.parse().ok());
        let before = ticks(&proc("stat"));
        thread::sleep(Duration::from_secs(1));
        let after = ticks(&proc("stat"));
        let busy = before.zip(after).map(|(a, b)| (b.0 - a.0) as f64 / (b.1 - a.1).max(1) as f64);
        let mut machine = Self {
            cpu: fields.get("model name").cloned().unwrap_or_default(),
            id: id(&fields),
            is_virtual: fields.get("flags").is_some_and(|flags| flags.contains("hypervisor")),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib.unwrap_or(0.0) / 1_048_576.0,
            clock_ghz: 0.0,
            busy: busy.unwrap_or(0.0),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            compiler: compiler()?,
            commit: commit + if changed { "+" } else { "" },
        };
        machine.measure_clock();
        Ok(machine)
    }

    /// Whether others took so much that the figures suffer.
    pub fn is_busy(&self) -> bool {
        self.busy > 0.05
    }

    /// Measures the clock; the fastest so far stays.
    pub fn measure_clock(&mut self) {
        self.clock_ghz = (0..20).map(|_| clock_ghz()).fold(self.clock_ghz, f64::max);
    }

    /// The processor in a few words, with its architecture where that is known.
    pub fn name(&self) -> String {
        let cpu = if self.cpu.is_empty() { &self.id } else { &self.cpu };
        match bound::processor(&self.id) {
            Some(known) => format!("{cpu} {}", known.name),
            None => format!("{cpu} ({})", self.id),
        }
    }

    /// Every fact in one line.
    pub fn line(&self) -> String {
        let place = if self.is_virtual { "virtual machine" } else { "bare metal" };
        format!(
            "{} ({}), {} cores at {:.2} GHz, {:.0} GiB, {place}, {:.0} % busy with other programs, {}, {}",
            self.name(),
            self.id,
            self.cores,
            self.clock_ghz,
            self.memory_gib,
            self.busy * 100.0,
            self.system,
            self.compiler
        )
    }
}

/// The compiler beside the cargo that runs this, not another that comes first in PATH.
fn compiler() -> Result<String> {
    let beside = std::env::var_os("CARGO").map(|cargo| Path::new(&cargo).with_file_name("rustc"));
    let rustc = beside.filter(|rustc| rustc.exists()).unwrap_or_else(|| "rustc".into());
    let version = output(Command::new(rustc).arg("--version").current_dir(root()))?;
    Ok(version.trim().to_owned())
}

/// `name: value` lines; of a name that comes more than once, the first.
fn fields(text: &str) -> HashMap<String, String> {
    let mut fields = HashMap::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        fields.entry(name.trim().to_owned()).or_insert_with(|| value.trim().to_owned());
    }
    fields
}

/// From /proc/stat: ticks of all processors not idle, and all ticks. What a hypervisor gave to others
/// counts as not idle.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    // user, nice, system, idle, waiting, two kinds of interrupts, stolen; guests are in the first two.
    let ticks: Vec<u64> = numbers.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let all = ticks.iter().sum::<u64>();
    Some((all - ticks.get(3)? - ticks.get(4)?, all))
}

fn id(fields: &HashMap<String, String>) -> String {
    let get = |name: &str| fields.get(name).map_or("", String::as_str);
    let x86 = format!("{} {}.{}", get("vendor_id"), get("cpu family"), get("model"));
    let arm = format!("{} {}", get("CPU implementer"), get("CPU part"));
    if fields.contains_key("vendor_id") { x86 } else { arm }
}

/// Cycles a nanosecond: a chain of operations that each wait for the last, six cycles a step on
/// every processor that `bound` knows (an xor with a shifted word is two cycles).
fn clock_ghz() -> f64 {
    const STEPS: u32 = 400_000;
    let mut x = black_box(88_172_645_463_325_252u64);
    let start = Instant::now();
    for _ in 0..STEPS {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x);
    6.0 * f64::from(STEPS) / start.elapsed().as_secs_f64() / 1e9
}

/// The date, UTC.
pub fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date(since.as_secs() / 86_400)
}

/// The day after so many since 1970-01-01, in the calendar whose year begins in March, so that the
/// leap day is its last.
fn date(days: u64) -> String {
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(11_017), "2000-03-01");
        assert_eq!(date(19_722), "2023-12-31");
        assert_eq!(date(20_777), "2026-11-20");
    }

    #[test]
    fn processors_have_an_id() {
        let x86 = "vendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\n\nmodel : 3\n";
        assert_eq!(id(&fields(x86)), "AuthenticAMD 26.2");
        let arm = "CPU implementer\t: 0x41\nCPU part\t: 0xd4f\n";
        assert_eq!(id(&fields(arm)), "0x41 0xd4f");
    }

    #[test]
    fn waiting_is_not_work() {
        let stat = "cpu  10 1 5 100 20 2 3 4 9 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(ticks(stat), Some((25, 145)));
        assert_eq!(ticks(""), None);
        assert_eq!(ticks("cpu  1 2 x"), None);
    }

    #[test]
    fn the_clock_is_a_processors() {
        let clock = (0..5).map(|_| clock_ghz()).fold(0.0, f64::max);
        assert!((0.3..8.0).contains(&clock), "{clock} GHz");
    }
}
