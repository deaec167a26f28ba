//! `POST /v1/authentications:batch`
//!
//! Two formats, with the same results: `application/x-ndjson`, a line an attempt, as for one; and for machines the
//! [binary form](super::binary).

use super::super::access::{Caller, Role};
use super::super::decide::{self, Asker, Item, Verdict};
use super::super::idempotency::Said;
use super::super::{App, MAX_ITEMS};
use super::authentications::Decision;
use super::items::{self, Attempt, Rank, check, locked, malformed};
use super::{IDEMPOTENCY_KEY, Problem, binary, body, once};
use crate::batching::{Priority, Rejected};
use crate::error::{Error, Kind};
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};
use zeroize::Zeroizing;

const NDJSON: &str = "application/x-ndjson";
/// Bytes of results that leave together.
const CHUNK: usize = 8 << 10;
/// Attempts that are submitted before others on the thread have their turn.
const STRIDE: usize = 64;

/// For all items that do not say otherwise.
#[derive(Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Who rides first: `bulk`, unless said otherwise.
    priority: Option<Rank>,
    /// Milliseconds after which an answer is of no use; at most 60,000.
    deadline_ms: Option<u32>,
}

/// What became of an attempt: a decision, or why there is none.
#[derive(Serialize, ToSchema)]
pub struct Line {
    /// Which: counted from 0.
    pub index: u32,
    /// What the status would be of this attempt alone.
    pub status: u16,
    /// The decision.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// The stable code of what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Have many attempts decided.
///
/// At most 4,096. The results are lines of JSON, in the order of the attempts, and leave as they come. Each has a
/// status of its own: what is wrong with one attempt is no concern of the others. Attempts are as for
/// /v1/authentications, a line of JSON each; or binary: `SYB1`, then for each the id's length (2 bytes), the id, a
/// byte that is 1 if a nonce follows and else 0, the nonce (16), the values as 32-bit floats; all little-endian.
#[utoipa::path(
    post, path = "/v1/authentications:batch", tag = "authentication",
    params(
        Defaults,
        ("Idempotency-Key" = Option<String>, Header, description = "Repeats get the same response"),
    ),
    request_body(
        content((Attempt = "application/x-ndjson"), (Vec<u8> = "application/vnd.symbolon.attempts"))
    ),
    responses(
        (status = 200, description = "A line for each attempt", content_type = "application/x-ndjson", body = Line),
        (status = 400, description = "E-REQUEST: the binary form is damaged"),
        (status = 409, description = "E-IDEMPOTENCY"),
        (status = 413, description = "E-TOO-LARGE"),
        (status = 429, description = "E-BUSY, E-RATE: try again after Retry-After"),
        (status = 503, description = "E-DRAINING"),
    ),
    security(("key" = []))
)]
pub async fn authenticate(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    defaults: Result<Query<Defaults>, QueryRejection>,
    request: Request,
) -> Response {
    let began = Instant::now();
    let (head, incoming) = request.into_parts();
    let received = async {
        caller.require(&[Role::Authenticate])?;
        let is_binary = body::media_type(&head.headers, &[NDJSON, binary::MEDIA_TYPE])? == 1;
        let known = |_| Problem::new(Kind::Request, "the query has priority and deadline_ms");
        let Query(defaults) = defaults.map_err(known)?;
        let body = body::read(&app, &head.headers, incoming, app.limits.batch_bytes).await?;
        if app.is_draining() {
            return Err(super::super::problem::draining());
        }
        let places = match is_binary {
            true => binary::places(&body.bytes, app.parts.dims)?,
            false => lines(&body.bytes)?,
        };
        Ok((Items { is_binary, places, body }, defaults))
    };
    let (items, defaults) = match received.await {
        Ok(received) => received,
        Err(problem) => return problem.into_response(),
    };
    app.http.items.fetch_add(items.places.len() as u64, Ordering::Relaxed);
    let (results, stream) = mpsc::channel(8);
    let copy = head.headers.contains_key(IDEMPOTENCY_KEY).then(|| items.body.bytes.clone());
    let job = Job { app: Arc::clone(&app), caller: caller.clone(), defaults, began, results };
    let Some(copy) = copy else {
        tokio::spawn(job.run(items));
        let mut response = Response::new(Body::new(Stream { results: stream, ended: false }));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
        return response;
    };
    // Begun only when it is known to be the first.
    let work = gather(job, items, stream);
    once(&app, &caller, &head.headers, "/v1/authentications:batch", &copy, work).await
}

/// The whole response at once, so that it can be given again.
async fn gather(job: Job, items: Items, mut stream: mpsc::Receiver<Part>) -> Result<Said, Problem> {
    tokio::spawn(job.run(items));
    let mut body = Vec::new();
    loop {
        match stream.recv().await {
            Some(Part::Lines(lines)) => body.extend_from_slice(&lines),
            Some(Part::End) => break,
            None => return Err(Problem::new(Kind::Internal, "the batch was lost")),
        }
    }
    Ok(Said { status: StatusCode::OK, media_type: NDJSON, retry_after: None, body: body.into() })
}

struct Items {
    is_binary: bool,
    /// Where each is in the body.
    places: Vec<Range<usize>>,
    body: body::Bytes,
}

/// The lines that are not empty.
fn lines(body: &[u8]) -> Result<Vec<Range<usize>>, Problem> {
    let mut places = Vec::new();
    let mut start = 0;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len();
        if !line.trim_ascii().is_empty() {
            if places.len() == MAX_ITEMS {
                return Err(binary::too_many().into());
            }
            places.push(start..end);
        }
        start = end;
    }
    Ok(places)
}

/// Submits attempts, and puts their results in order.
struct Job {
    app: Arc<App>,
    caller: Caller,
    defaults: Defaults,
    began: Instant,
    results: mpsc::Sender<Part>,
}

/// What came of a submission.
enum Submitted {
    UnderWay,
    /// There is no room at present.
    Full(Problem),
    Refused(Problem),
}

impl Job {
    async fn run(self, items: Items) {
        let count = items.places.len();
        let (ask, mut answers) = mpsc::unbounded_channel();
        let mut order = Order::new(count);
        let mut values = Zeroizing::new(Vec::with_capacity(self.app.parts.dims));
        let mut batch = Vec::with_capacity(256);
        for (index, place) in items.places.iter().enumerate() {
            let item = items.body.bytes.get(place.clone()).unwrap_or_default();
            let index = index as u32;
            loop {
                match self.submit(&items, item, &mut values, Asker::Many(ask.clone(), index)) {
                    Submitted::UnderWay => order.under_way += 1,
                    Submitted::Refused(problem) => order.put(index, Err(problem)),
                    // Those before it make room, if they are this batch's own.
                    Submitted::Full(_) if order.under_way > 0 => {
                        order.take(&mut answers, &mut batch).await;
                        if !order.send(&self.results, false).await {
                            return;
                        }
                        continue;
                    }
                    Submitted::Full(problem) => order.put(index, Err(problem)),
                }
                break;
            }
            if (index as usize).is_multiple_of(STRIDE) {
                while let Ok(item) = answers.try_recv() {
                    order.answered(item);
                }
                if !order.send(&self.results, false).await {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
        // The embeddings are in the queue, quantised.
        drop(items);
        while order.under_way > 0 {
            order.take(&mut answers, &mut batch).await;
            if !order.send(&self.results, false).await {
                return;
            }
        }
        order.send(&self.results, true).await;
    }

    fn submit(
        &self,
        items: &Items,
        item: &[u8],
        values: &mut Zeroizing<Vec<f64>>,
        asker: Asker,
    ) -> Submitted {
        let app = &*self.app;
        let outcome = (|| {
            self.caller.charge()?;
            let Defaults { priority, deadline_ms } = self.defaults;
            let (checked, rank, deadline_ms) = if items.is_binary {
                let damaged = || Problem::new(Kind::Request, "the binary form is damaged");
                let (attempt, _) =
                    binary::Attempt::split(item, app.parts.dims).ok_or_else(damaged)?;
                let id = std::str::from_utf8(attempt.id)
                    .map_err(|_| Problem::new(Kind::Id, "the id is not UTF-8"))?;
                values.clear();
                values.extend(attempt.values().map(f64::from));
                (check(app, id, values, attempt.nonce)?, priority, deadline_ms)
            } else {
                let attempt: Attempt<'_> =
                    serde_json::from_slice(item).map_err(|e| malformed(&e))?;
                let nonce = attempt.nonce.map(|nonce| nonce.0);
                let checked = check(app, &attempt.id, &attempt.embedding.0, nonce)?;
                (checked, attempt.priority.or(priority), attempt.deadline_ms.or(deadline_ms))
            };
            let attempt = decide::Attempt::begin(&checked.seat, &app.parts.attempts, asker)
                .map_err(locked)?;
            let deadline = items::deadline(app, self.began, deadline_ms);
            let priority = rank.map_or(Priority::Bulk, Priority::from);
            match app.parts.decider.submit(checked.request, attempt, priority, Some(deadline)) {
                Ok(()) => Ok(Submitted::UnderWay),
                Err(busy @ Rejected::Busy(_)) => Ok(Submitted::Full(busy.into())),
                Err(rejected) => Err(rejected.into()),
            }
        })();
        outcome.unwrap_or_else(Submitted::Refused)
    }
}

/// Results as they come, and as they leave.
struct Order {
    came: Vec<Option<Result<Verdict, Problem>>>,
    /// Those that have left.
    left: usize,
    under_way: usize,
    chunk: Vec<u8>,
}

impl Order {
    fn new(count: usize) -> Self {
        let came = (0..count).map(|_| None).collect();
        Self { came, left: 0, under_way: 0, chunk: Vec::with_capacity(CHUNK + 512) }
    }

    fn put(&mut self, index: u32, result: Result<Verdict, Problem>) {
        if let Some(place) = self.came.get_mut(index as usize) {
            *place = Some(result);
        }
    }

    fn answered(&mut self, (index, result): Item) {
        self.under_way -= 1;
        self.put(index, result.map_err(|error: Error| error.into()));
    }

    /// Waits for results.
    async fn take(&mut self, answers: &mut mpsc::UnboundedReceiver<Item>, batch: &mut Vec<Item>) {
        answers.recv_many(batch, 256).await;
        for item in batch.drain(..) {
            self.answered(item);
        }
    }

    /// Sends what can leave; at the `end` all of it. `false` if nobody takes it any more.
    async fn send(&mut self, to: &mpsc::Sender<Part>, end: bool) -> bool {
        while let Some(result) = self.came.get_mut(self.left).and_then(Option::take) {
            self.write(result);
            self.left += 1;
            if self.chunk.len() >= CHUNK {
                let lines = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK + 512));
                if to.send(Part::Lines(lines.into())).await.is_err() {
                    return false;
                }
            }
        }
        if !end {
            return true;
        }
        let lines = std::mem::take(&mut self.chunk);
        to.send(Part::Lines(lines.into())).await.is_ok() && to.send(Part::End).await.is_ok()
    }

    fn write(&mut self, result: Result<Verdict, Problem>) {
        let (index, line) = (self.left as u32, &mut self.chunk);
        let line_of = match result {
            Ok(verdict) => Line {
                index,
                status: 200,
                decision: Some(verdict.into()),
                code: None,
                detail: None,
            },
            Err(problem) => Line {
                index,
                status: problem.status().as_u16(),
                decision: None,
                code: Some(problem.kind.code()),
                detail: Some(problem.detail),
            },
        };
        // A vector takes everything, and there is nothing in it that JSON has not.
        let _ = serde_json::to_writer(&mut *line, &line_of);
        line.push(b'\n');
    }
}

/// A part of a response.
enum Part {
    Lines(Bytes),
    End,
}

/// A response that comes in parts. Without its end it is cut off, so that nobody takes it for whole.
struct Stream {
    results: mpsc::Receiver<Part>,
    ended: bool,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.results.poll_recv(context).map(|part| match part {
            Some(Part::Lines(lines)) => Some(Ok(Frame::data(lines))),
            Some(Part::End) => {
                self.ended = true;
                None
            }
            None => Some(Err(io::Error::other("the batch was lost"))),
        })
    }
}
