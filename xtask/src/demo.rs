//! A server of the demonstration in a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cargo::run as run_command;

/// A running server, stopped when this is dropped.
pub struct Server {
    child: Child,
    /// Read on to the end, so that the server can write.
    output: BufReader<ChildStdout>,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    /// The same without `http://`.
    pub address: String,
}

impl Server {
    /// Starts it, without limits on attempts that fail.
    pub fn start(binary: &Path) -> Result<Self> {
        let mut command = Command::new(binary);
        // Impostors try everybody, all the time.
        command.args([
            "serve",
            "--demo",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--limits-attempts",
            "0",
        ]);
        command.args(["--log-level", "warn"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| binary.display().to_string())?;
        let output = BufReader::new(child.stdout.take().context("the output is a pipe")?);
        let mut server = Self { child, output, url: String::new(), address: String::new() };
        let mut line = String::new();
        server.output.read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line).context("the server does not start")?;
        let url =
            ready["listening"].as_str().context("the server does not say where it listens")?;
        server.address = url.strip_prefix("http://").context("it speaks HTTP")?.to_owned();
        server.url = url.to_owned();
        Ok(server)
    }

    /// Tells it to stop.
    fn terminate(&self) -> Result<()> {
        run_command(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))
    }

    /// Stops it in order.
    pub fn stop(mut self) -> Result<()> {
        self.terminate()?;
        self.output.read_to_string(&mut String::new())?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Killed at once it would leave its directory, which may be large.
        if matches!(self.child.try_wait(), Ok(None)) && self.terminate().is_ok() {
            let end = Instant::now() + Duration::from_secs(40);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
                thread::sleep(Duration::from_millis(50));
            }
        }
        // It has ended, or there is nothing better to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
