//! `cargo xtask tidy`: house rules that no compiler knows. One module a rule or a family of them.

mod dependencies;
mod locks;
mod panics;
mod roles;
mod source;
mod text;
mod unsafety;

use std::fmt;
use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::cargo::{metadata, output, root};
use crate::report::Report;
use crate::tidy::source::Source;

/// One broken rule at one place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    file: String,
    /// Counted from 1.
    line: usize,
    /// The rule and what to do, in one line.
    rule: String,
}

impl Violation {
    fn new(file: &str, line: usize, rule: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, rule: rule.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

/// A text file of the repository, by its path from the root.
struct TextFile {
    path: String,
    text: String,
}

/// Checks every rule and prints each violation.
pub fn run(report: &mut Report) {
    report.step("tidy", || {
        let metadata = metadata()?;
        let files = text_files()?;
        let sources: Vec<_> = files
            .iter()
            .filter(|file| file.path.ends_with(".rs"))
            .map(|file| Source::new(&file.path, &file.text))
            .collect();

        let mut found = dependencies::check(&metadata, &files);
        found.extend(dependencies::check_core_is_bare(&sources));
        found.extend(roles::check(&sources));
        found.extend(locks::check(&sources));
        found.extend(unsafety::check(&sources, &unsafety::crate_roots(&metadata, root())));
        found.extend(text::check(&files));
        found.extend(panics::check(&sources));
        found.sort();
        for violation in &found {
            println!("{violation}");
        }
        ensure!(found.is_empty(), "{} violations", found.len());
        println!("{} files, no violations", files.len());
        Ok(())
    });
}

/// Every file that git tracks or would track, but for binary ones.
fn text_files() -> Result<Vec<TextFile>> {
    let mut git = Command::new("git");
    // The checkout may belong to another user than the one who runs the checks.
    git.args(["-c", "safe.directory=*", "ls-files", "-z"]);
    git.args(["--cached", "--others", "--exclude-standard"]).current_dir(root());
    let mut files = Vec::new();
    for path in output(&mut git)?.split_terminator('\0') {
        let absolute = root().join(path);
        // A tracked file may have been deleted, or be a link.
        if !absolute.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        if let Ok(text) = String::from_utf8(fs::read(absolute)?)
            && !text.contains('\0')
        {
            files.push(TextFile { path: path.to_owned(), text });
        }
    }
    Ok(files)
}
