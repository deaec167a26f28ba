//! Runs the steps of a task one after another, keeps their results and prints the table at the end.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Why a step could not be done, as opposed to done and failed.
#[derive(Debug)]
pub enum Unmet {
    /// Nothing is wrong here: the check cannot be made at this place. Not a failure.
    Skip(String),
    /// A tool is not installed. The message says how to install it. Exit status 2.
    Missing(String),
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Skip(why) | Self::Missing(why)) = self;
        f.write_str(why)
    }
}

impl Error for Unmet {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    Failed,
    Missing,
    Skipped,
}

struct Step {
    name: String,
    outcome: Outcome,
    time: Duration,
}

/// The results so far.
#[derive(Default)]
pub struct Report {
    steps: Vec<Step>,
    skip_missing: bool,
}

impl Report {
    /// From here on, a step whose tool is not installed is skipped, not failed.
    pub fn skip_missing_tools(&mut self) {
        self.skip_missing = true;
    }

    /// Runs one check. Whatever comes of it is printed and kept, and the run goes on.
    pub fn step(&mut self, name: &str, check: impl FnOnce() -> anyhow::Result<()>) {
        println!("\n=== {name}");
        let start = Instant::now();
        let result = check();
        let time = start.elapsed();
        let outcome = match result {
            Ok(()) => {
                println!("ok {name}: {:.1} s", time.as_secs_f64());
                Outcome::Ok
            }
            Err(error) => match error.downcast_ref::<Unmet>() {
                Some(Unmet::Skip(why)) => skipped(name, why),
                Some(Unmet::Missing(why)) if self.skip_missing => skipped(name, why),
                Some(Unmet::Missing(why)) => {
                    println!("MISSING {name}: {why}");
                    Outcome::Missing
                }
                None => {
                    println!("FAILED {name}: {error:#}");
                    Outcome::Failed
                }
            },
        };
        self.steps.push(Step { name: name.to_owned(), outcome, time });
    }

    /// Prints the table; the exit status is 1 if a step failed, else 2 if a tool was missing.
    pub fn finish(&self) -> ExitCode {
        print!("\n{}", self.table());
        ExitCode::from(self.status())
    }

    fn table(&self) -> String {
        let width = self.steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
        let mut table = String::new();
        for Step { name, outcome, time } in &self.steps {
            let word = match outcome {
                Outcome::Ok => "ok",
                Outcome::Failed => "FAILED",
                Outcome::Missing => "MISSING",
                Outcome::Skipped => "SKIPPED",
            };
            table += &format!("{name:width$}  {word:7}  {:7.1} s\n", time.as_secs_f64());
        }
        table
    }

    fn status(&self) -> u8 {
        let any = |wanted| self.steps.iter().any(|step| step.outcome == wanted);
        if any(Outcome::Failed) {
            1
        } else if any(Outcome::Missing) {
            2
        } else {
            0
        }
    }
}

fn skipped(name: &str, why: &str) -> Outcome {
    println!("SKIPPED {name}: {why}");
    Outcome::Skipped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing() -> anyhow::Result<()> {
        Err(Unmet::Missing("no such tool".into()).into())
    }

    #[test]
    fn a_skipped_step_is_shown_and_does_not_fail() {
        let mut report = Report::default();
        report.step("first", || Ok(()));
        report.step("second", || Err(Unmet::Skip("no network".into()).into()));
        assert_eq!(report.status(), 0);
        let table = report.table();
        assert!(table.contains("first   ok "), "{table}");
        assert!(table.contains("second  SKIPPED "), "{table}");
    }

    #[test]
    fn a_missing_tool_is_status_2_unless_skipped() {
        let mut report = Report::default();
        report.step("strict", missing);
        assert_eq!(report.status(), 2);

        let mut report = Report::default();
        report.skip_missing_tools();
        report.step("lenient", missing);
        assert_eq!(report.status(), 0);
        assert!(report.table().contains("SKIPPED"));
    }

    #[test]
    fn a_failure_is_status_1_and_the_run_goes_on() {
        let mut report = Report::default();
        report.step("fails", || anyhow::bail!("wrong"));
        report.step("misses", missing);
        report.step("passes", || Ok(()));
        assert_eq!(report.status(), 1);
        assert_eq!(report.steps.len(), 3);
    }
}
