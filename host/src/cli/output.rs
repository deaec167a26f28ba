//! What goes to the terminal, and how it ends.

use crate::error::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, BufWriter, Stdout, Write};
use std::path::Path;
use std::process::ExitCode;

/// Buffered standard output, for people or for machines.
pub struct Output {
    json: bool,
    out: BufWriter<Stdout>,
    /// The reader has gone (`symbolon .. | head`): that is no error, but there is nobody to write to.
    closed: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json, out: BufWriter::new(io::stdout()), closed: false }
    }

    /// Whether machines read it.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Writes a line. Errors: `E-IO`.
    pub fn line(&mut self, line: impl AsRef<str>) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let written = writeln!(self.out, "{}", line.as_ref());
        self.check(written)
    }

    /// Writes what was buffered. Errors: `E-IO`.
    pub fn finish(&mut self) -> Result<()> {
        let flushed = self.out.flush();
        self.check(flushed)
    }

    fn check(&mut self, result: io::Result<()>) -> Result<()> {
        match result {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            result => result.map_err(|e| Error::io(Path::new("standard output"), "write", &e)),
        }
    }

    /// Reports an error, after what was written before it; gives the exit code.
    pub fn fail(&mut self, error: &Error) -> ExitCode {
        // Standard output may be what failed; there is nothing better to do about it.
        let _ = self.out.flush();
        let line = if self.json { error.to_json() } else { format!("symbolon: {error}") };
        let _ = writeln!(io::stderr(), "{line}");
        ExitCode::from(error.exit_code())
    }

    /// Says on standard error what is not as it should be, where a person reads or a program does.
    pub fn warn(&self, message: &str) {
        let line = if self.json {
            serde_json::json!({ "warning": message }).to_string()
        } else {
            format!("symbolon: warning: {message}")
        };
        // There is nothing better to do where it cannot be written.
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// A progress bar on standard error, where that is a terminal and a person reads.
    pub fn progress(&self, what: &'static str, total: usize) -> ProgressBar {
        if self.json {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(total as u64);
        let style =
            ProgressStyle::with_template("{msg:>14} {bar:40} {pos}/{len} [{elapsed}, {eta} to go]");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.with_message(what)
    }

    /// A line on standard error that says how something goes that has no end in sight.
    pub fn watch(&self, what: &'static str) -> ProgressBar {
        if self.json {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{prefix:>14} {spinner} {msg} [{elapsed}]")
        {
            bar.set_style(style);
        }
        bar.with_prefix(what)
    }
}
