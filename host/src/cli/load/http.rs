//! Load on a running server.

use super::super::client::{self, Connection, Target};
use super::super::model::name;
use super::super::output::Output;
use super::super::threshold;
use super::drive::{self, Form, Mix, Plan, Prepared, Shown};
use super::{Arguments, Drawn, PREPARED, Pattern, drawn, latency_json, us};
use crate::batching::histogram::Counts;
use crate::error::{Error, Kind, Result};
use crate::gallery::vector_error;
use crate::population::Population;
use crate::server::MAX_ITEMS;
use crate::server::api::binary;
use axum::body::Bytes;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use symbolon_core::cap::Scalar;
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Layout, Threshold, quantise};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

/// A server to put load on.
#[derive(clap::Args)]
pub struct Remote {
    /// Put load on the server at this address, such as http://127.0.0.1:8320.
    #[arg(long, value_name = "URL", conflicts_with_all = [
        "compare", "strategy", "wait_us", "batch_size", "target_us", "queue", "params", "window_ms",
        "window_batches", "key_batches", "key_minutes", "require_locked_memory",
    ])]
    pub url: Option<String>,
    /// With --url: parts of requests for one attempt and for a batch of them, such as single=1,batch=4.
    #[arg(long, value_name = "PARTS", default_value = "single=1", value_parser = mix, requires = "url")]
    mix: Mix,
    /// With --url: attempts of a batch.
    #[arg(long, value_name = "N", default_value_t = 64, requires = "url",
        value_parser = clap::value_parser!(u16).range(1..=MAX_ITEMS as i64))]
    batch: u16,
    /// With --url: connections. Each has one request under way at a time.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..), requires = "url")]
    connections: u16,
    /// With --url: a file with the API key to present.
    #[arg(long, value_name = "FILE", requires = "url")]
    api_key_file: Option<PathBuf>,
    /// With --url: certificates that vouch for the server, PEM; https needs them.
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// With --url: enrol the people first, those that are not enrolled yet.
    #[arg(long, requires = "url")]
    enrol: bool,
}

/// Reads `single=1,batch=4`.
fn mix(text: &str) -> std::result::Result<Mix, String> {
    let mut mix = Mix { single: 0, batch: 0 };
    for part in text.split(',') {
        let (form, count) = part.split_once('=').ok_or("parts are single=N and batch=N")?;
        let count = count.parse::<u16>().map_err(|_| format!("{count:?} is not 0 to 65535"))?;
        match form {
            "single" => mix.single = count.into(),
            "batch" => mix.batch = count.into(),
            _ => return Err(format!("{form:?} is neither single nor batch")),
        }
    }
    if mix == (Mix { single: 0, batch: 0 }) {
        return Err("nothing would be sent".into());
    }
    Ok(mix)
}

pub fn run(url: &str, arguments: &Arguments, output: &mut Output) -> Result<()> {
    let remote = &arguments.remote;
    let people = People::new(arguments)?;
    let prepared = |form: Form, count: u32| match (form, count) {
        (_, 0) => Ok(Vec::new()),
        (Form::Single, _) => people.singles(),
        (Form::Batch, _) => people.batches(remote.batch.into()),
    };
    let plan = Plan {
        target: Target::new(url, remote.ca.as_deref())?,
        authorization: remote.api_key_file.as_deref().map(client::authorization).transpose()?,
        connections: remote.connections.into(),
        pattern: match (arguments.rate, arguments.concurrency) {
            (Some(rate), _) => Pattern::Open(rate as f64),
            (None, Some(n)) => Pattern::Closed(n),
            (None, None) => {
                let items = if remote.mix.batch == 0 { 1 } else { remote.batch };
                Pattern::Closed(u64::from(remote.connections) * u64::from(items))
            }
        },
        mix: remote.mix,
        batch: remote.batch.into(),
        prepared: [
            prepared(Form::Single, remote.mix.single)?,
            prepared(Form::Batch, remote.mix.batch)?,
        ],
        seed: arguments.seed,
        time: Duration::from_secs(arguments.seconds),
    };
    let plan = people.check(plan, remote.enrol, output)?;
    let (pattern, mix) = (plan.pattern, plan.mix);
    let bar = output.watch("load");
    let shown = drive::run(plan, |rate, latency: &Counts| {
        let (p50, p99) = (us(latency, 0.5), us(latency, 0.99));
        bar.set_message(format!(
            "{rate:.0} decisions a second; p50 {p50:.0} us, p99 {p99:.0} us so far"
        ));
        bar.tick();
    });
    bar.finish_and_clear();
    let shown = shown?;
    let report = Report { url, arguments, pattern, mix, shown: &shown };
    if output.is_json() {
        output.line(report.json().to_string())?;
    } else {
        report.table(output)?;
    }
    let errors: u64 = shown.errors.values().sum();
    if shown.wrong > 0 {
        let message = format!("{} decisions differ from the clear computation", shown.wrong);
        return Err(Error::new(Kind::Mismatch, message));
    }
    if shown.decided == 0 && errors > 0 {
        let message =
            format!("the server decided nothing, and left {errors} attempts without an answer");
        return Err(Error::new(Kind::Io, message));
    }
    Ok(())
}

/// The model people, and what they would be answered in the clear.
struct People {
    population: Population,
    layout: Layout,
    threshold: Threshold,
    identities: u64,
}

/// An attempt, as the server will see it.
struct Attempt {
    claim: String,
    values: Vec<f32>,
    accept: bool,
}

impl People {
    fn new(arguments: &Arguments) -> Result<Self> {
        let Arguments { seed, identities, dims, .. } = *arguments;
        let layout =
            Layout::for_dims(dims).map_err(|e| Error::new(Kind::Dimension, e.to_string()))?;
        let population = Population::new(seed, identities, dims)?;
        Ok(Self {
            population,
            layout,
            threshold: threshold(layout, &arguments.threshold)?,
            identities,
        })
    }

    fn capture(&self, person: u64, capture: u32) -> Result<Vec<f64>> {
        let mut embedding = vec![0.0; self.population.dims()];
        self.population.capture(person, capture, &mut embedding)?;
        Ok(embedding)
    }

    fn quantised(&self, embedding: &[f64]) -> Result<Vec<i16>> {
        let mut values = vec![0; self.layout.dims()];
        quantise(Kernels::scalar(Scalar), self.layout, embedding, &mut values)
            .map_err(vector_error)?;
        Ok(values)
    }

    /// All attempts, with their decisions by plain integers. Their values are floats, whatever the form: what the server
    /// reads of both is the same.
    fn attempts(&self) -> Result<Vec<Attempt>> {
        let mut templates: HashMap<u64, Vec<i16>> = HashMap::new();
        let attempt = |i| {
            let Drawn { person, capture, claim } = drawn(i, self.identities);
            let template = match templates.entry(claim) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(self.quantised(&self.capture(claim, 0)?)?),
            };
            let values: Vec<_> =
                self.capture(person, capture)?.into_iter().map(|value| value as f32).collect();
            let exact: Vec<_> = values.iter().copied().map(f64::from).collect();
            let probe = self.quantised(&exact)?;
            let score: i32 =
                probe.iter().zip(&*template).map(|(&p, &t)| i32::from(p) * i32::from(t)).sum();
            Ok(Attempt { claim: name(claim), values, accept: score >= self.threshold.score() })
        };
        (0..PREPARED).map(attempt).collect()
    }

    fn singles(&self) -> Result<Vec<Prepared>> {
        let body = |attempt: Attempt| {
            let values: Vec<_> = attempt.values.iter().copied().map(f64::from).collect();
            let body = json!({ "id": attempt.claim, "embedding": values }).to_string();
            Prepared { body: body.into(), accept: vec![attempt.accept] }
        };
        Ok(self.attempts()?.into_iter().map(body).collect())
    }

    /// Batches of so many; together they have every attempt.
    fn batches(&self, items: usize) -> Result<Vec<Prepared>> {
        let attempts = self.attempts()?;
        let mut all = attempts.iter().cycle();
        let batch = |_| {
            let (mut body, mut accept) = (binary::MAGIC.to_vec(), Vec::with_capacity(items));
            for attempt in all.by_ref().take(items) {
                let values = attempt.values.iter().copied();
                binary::write(&mut body, attempt.claim.as_bytes(), None, values)?;
                accept.push(attempt.accept);
            }
            Ok(Prepared { body: body.into(), accept })
        };
        (0..attempts.len().div_ceil(items.max(1))).map(batch).collect()
    }

    /// Enrols people if that is asked for, and has one request answered: what is wrong with all of them shows
    /// before there are thousands.
    ///
    /// Errors: `E-IO`; the server's own.
    fn check(&self, plan: Plan, enrol: bool, output: &Output) -> Result<Plan> {
        let runtime = drive::runtime()?;
        let tasks = LocalSet::new();
        let plan = tasks.block_on(&runtime, async {
            let plan = if enrol { self.enrol(plan, output).await? } else { plan };
            let mut connection = plan.target.connect().await?;
            let attempt = json!({ "id": name(0), "embedding": self.capture(0, 1)? }).to_string();
            let headers = plan.headers(Form::Single);
            let path = "/v1/authentications";
            let answer = connection.request(Method::POST, path, &headers, attempt.into()).await?;
            match answer.status {
                StatusCode::OK
                | StatusCode::TOO_MANY_REQUESTS
                | StatusCode::SERVICE_UNAVAILABLE => Ok(plan),
                status => Err(problem(status, &answer.body)),
            }
        });
        runtime.shutdown_background();
        plan
    }

    async fn enrol(&self, plan: Plan, output: &Output) -> Result<Plan> {
        let bar =
            output.progress("enrolling", usize::try_from(self.identities).unwrap_or(usize::MAX));
        let next = Rc::new(Cell::new(0));
        let plan = Rc::new(plan);
        let mut workers: JoinSet<Result<()>> = JoinSet::new();
        for _ in 0..plan.connections {
            let (next, plan, population) =
                (Rc::clone(&next), Rc::clone(&plan), self.population.clone());
            let bar = bar.clone();
            workers.spawn_local(async move {
                let (mut connection, headers) =
                    (plan.target.connect().await?, plan.headers(Form::Single));
                let mut embedding = vec![0.0; population.dims()];
                while next.get() < population.identities() {
                    let person = next.replace(next.get() + 1);
                    population.capture(person, 0, &mut embedding)?;
                    let body = json!({ "id": name(person), "embedding": embedding }).to_string();
                    enrol_one(&mut connection, &headers, body.into()).await?;
                    bar.inc(1);
                }
                Ok(())
            });
        }
        while let Some(worker) = workers.join_next().await {
            worker.map_err(|e| Error::new(Kind::Internal, e.to_string()))??;
        }
        bar.finish_and_clear();
        Rc::into_inner(plan).ok_or_else(|| Error::new(Kind::Internal, "the plan is still in use"))
    }
}

/// Enrols somebody who may be enrolled already.
async fn enrol_one(connection: &mut Connection, headers: &HeaderMap, body: Bytes) -> Result<()> {
    loop {
        let path = "/v1/enrolments";
        let answer = connection.request(Method::POST, path, headers, body.clone()).await?;
        match (answer.status, drive::retry_after(answer.status, &answer.headers)) {
            (StatusCode::CREATED | StatusCode::CONFLICT, _) => return Ok(()),
            (_, Some(time)) => sleep(time).await,
            (status, None) => return Err(problem(status, &answer.body)),
        }
    }
}

/// What the server said, as an error of ours.
fn problem(status: StatusCode, body: &[u8]) -> Error {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = body["code"].as_str().unwrap_or_default();
    let kind = Kind::ALL.iter().copied().find(|kind| kind.code() == code).unwrap_or(Kind::Io);
    let detail = body["detail"].as_str().unwrap_or_default();
    let hint = match kind {
        Kind::UnknownId => ": --enrol enrols the model people, and symbolon serve --demo has them",
        Kind::ApiKey => ": --api-key-file presents one",
        _ => "",
    };
    Error::new(kind, format!("the server answers {status}: {detail}{hint}"))
}

/// A run's results.
struct Report<'a> {
    url: &'a str,
    arguments: &'a Arguments,
    pattern: Pattern,
    mix: Mix,
    shown: &'a Shown,
}

impl Report<'_> {
    fn a_second(&self, count: u64) -> f64 {
        count as f64 / self.shown.seconds
    }

    /// Attempts that the server had no room for.
    fn refused(&self) -> u64 {
        [429, 503].iter().filter_map(|status| self.shown.statuses.get(status)).sum()
    }

    fn json(&self) -> Value {
        let Self { shown, arguments, mix, .. } = self;
        let (loop_, offered) = self.pattern.json();
        let mut forms = json!({});
        for (form, latency) in Form::ALL.iter().zip(&shown.forms) {
            if latency.total() > 0 {
                forms[form.name()] = latency_json(latency);
            }
        }
        json!({
            "mode": "http",
            "url": self.url,
            "loop": loop_,
            "offered": offered,
            "mix": { "single": mix.single, "batch": mix.batch, "items": arguments.remote.batch },
            "connections": arguments.remote.connections,
            "dims": arguments.dims,
            "seconds": (shown.seconds * 1e3).round() / 1e3,
            "requests": shown.requests,
            "submitted": shown.submitted,
            "decided": shown.decided,
            "requests_per_s": self.a_second(shown.requests).round(),
            "decided_per_s": self.a_second(shown.decided).round(),
            "latency_us": latency_json(&shown.latency),
            "forms_us": forms,
            "unsent": shown.unsent,
            "refused": self.refused(),
            "wrong": shown.wrong,
            "statuses": shown.statuses,
            "codes": shown.codes,
            "errors": shown.errors,
        })
    }

    fn table(&self, output: &mut Output) -> Result<()> {
        let shown = self.shown;
        output.line(format!(
            "{:<7} {:>15} {:>10} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}",
            "form",
            "offered",
            "requests/s",
            "decided/s",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "max us",
            "refused",
            "wrong"
        ))?;
        let us = |latency: &Counts| {
            let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|part| us(latency, part));
            format!("{p50:>9.0} {p99:>9.0} {p999:>9.0} {max:>9.0}")
        };
        output.line(format!(
            "{:<7} {:>15} {:>10.0} {:>10.0} {} {:>9} {:>7}",
            "all",
            self.pattern.offered(),
            self.a_second(shown.requests),
            self.a_second(shown.decided),
            us(&shown.latency),
            self.refused(),
            shown.wrong,
        ))?;
        if self.mix.single > 0 && self.mix.batch > 0 {
            for (form, latency) in Form::ALL.iter().zip(&shown.forms) {
                output.line(format!("{:<45} {}", form.name(), us(latency)))?;
            }
        }
        if shown.unsent > 0 {
            output.line(format!("{} attempts were due and not sent by the end", shown.unsent))?;
        }
        for (status, count) in shown.statuses.iter().filter(|(status, _)| **status != 200) {
            output.line(format!("status {status}: {count} attempts"))?;
        }
        for (code, count) in &shown.codes {
            output.line(format!("{code}: {count} attempts"))?;
        }
        for (error, count) in &shown.errors {
            output.line(format!("no answer ({error}): {count} attempts"))?;
        }
        if shown.wrong == 0 && shown.decided > 0 {
            output.line("every decision equals the clear computation")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_are_read_and_spread_evenly() {
        assert_eq!(mix("single=1,batch=4"), Ok(Mix { single: 1, batch: 4 }));
        assert_eq!(mix("batch=2"), Ok(Mix { single: 0, batch: 2 }));
        for wrong in
            ["", "single", "single=0", "single=x", "both=1", "single=1;batch=1", "batch=-1"]
        {
            assert!(mix(wrong).is_err(), "{wrong}");
        }
        let batches = |mix: Mix, range: std::ops::Range<u64>| {
            range.filter(|&n| mix.form(n) == Form::Batch).count()
        };
        let mix = Mix { single: 1, batch: 4 };
        assert_eq!([batches(mix, 0..5), batches(mix, 5..10), batches(mix, 0..1000)], [4, 4, 800]);
        assert_eq!(batches(Mix { single: 2, batch: 2 }, 0..2), 1);
        assert_eq!(batches(Mix { single: 3, batch: 0 }, 0..100), 0);
        assert_eq!(batches(Mix { single: 0, batch: 3 }, 0..100), 100);
        assert_eq!(mix.items(64), 51.4);
    }
}
