//! A server of the demonstration in a process of its own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
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

    /// What its /metrics says.
    pub fn metrics(&self) -> Result<Page> {
        let mut stream = TcpStream::connect(&self.address).context("the server is gone")?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        ensure!(text.starts_with("HTTP/1.1 200 "), "no metrics: {text:.100}");
        Ok(Page::parse(&text))
    }

    /// Seconds of the processor that it has taken: Linux.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(&path).context(path)?;
        // The name, which may have spaces, ends with the last bracket; the 12th and 13th after it are ticks.
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let ticks: Vec<f64> = fields.skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
        ensure!(ticks.len() == 2, "no times of the server");
        // A hundredth of a second on every Linux that there is.
        Ok(ticks.iter().sum::<f64>() / 100.0)
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

/// What /metrics says: names with their labels, without `symbolon_`.
pub struct Page(HashMap<String, f64>);

impl Page {
    pub fn parse(text: &str) -> Self {
        let value = |line: &str| {
            let (name, value) = line.strip_prefix("symbolon_")?.rsplit_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        };
        Self(text.lines().filter_map(value).collect())
    }

    /// 0 where there is none.
    pub fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// All that have this name, whatever their labels, and these words in them.
    pub fn sum(&self, name: &str, words: &str) -> f64 {
        let wanted = |of: &str| of.split('{').next() == Some(name) && of.contains(words);
        self.0.iter().filter(|(of, _)| wanted(of)).map(|(_, value)| value).sum()
    }

    /// Bounds of a histogram in seconds, and how many did not exceed them.
    pub fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let front = format!("{name}_bucket{{le=\"");
        let bucket = |(of, count): (&String, &f64)| {
            let bound = of.strip_prefix(&front)?.strip_suffix("\"}")?;
            Some((bound.parse::<f64>().ok()?, *count))
        };
        // "+Inf" is a number too.
        let mut buckets: Vec<_> = self.0.iter().filter_map(bucket).collect();
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        buckets
    }
}
