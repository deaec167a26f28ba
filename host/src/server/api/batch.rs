//! `POST /v1/authentications:batch`
//!
//! Two formats, with the same results: `application/x-ndjson`, a line an attempt, as for one; and for machines the
//! [binary form](super::binary).

use super::super::access::{Caller, Role};
use super::super::decide::{self, Asker, Item, Verdict};
use super::super::idempotency::{Said, lasts};
use super::super::problem::told;
use super::super::{App, ITEM_BYTES, MAX_ITEMS, Parts, SINGLE_BYTES, Share};
use super::authentications::Decision;
use super::items::{self, Attempt, Checked, Rank, check, locked, malformed};
use super::{IDEMPOTENCY_KEY, Problem, Work, binary, body, late, once};
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
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};
use utoipa::{IntoParams, ToSchema};
use zeroize::Zeroizing;

const NDJSON: &str = "application/x-ndjson";
/// Bytes of results that leave together.
const CHUNK: usize = 8 << 10;
/// Bytes of a line, more or less.
const LINE: usize = 256;
/// An item until its line has left: where it is, what came of it, and its line, twice where the response is gathered.
const _: () = assert!(ITEM_BYTES == 2 * LINE + 96);
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
/// At most 4,096. The results are lines of JSON, in the order of the attempts, and leave as they come; whoever takes none
/// for limits.body-ms loses the rest, but under an idempotency key. Each has a status of its own: what is wrong with one
/// attempt is no concern of the others. Attempts are as for
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
        let body = body::read_batch(&app, &head.headers, incoming).await?;
        if app.is_draining() {
            return Err(super::super::problem::draining());
        }
        let places = match is_binary {
            true => binary::places(&body.bytes, app.parts.dims)?,
            false => lines(&body.bytes)?,
        };
        let room = app.batches.take(places.len() * ITEM_BYTES).ok_or_else(body::full)?;
        Ok((body, is_binary, places, defaults, room))
    };
    let (body, is_binary, places, defaults, room) = match received.await {
        Ok(received) => received,
        Err(problem) => return problem.into_response(),
    };
    app.http.items.fetch_add(places.len() as u64, Ordering::Relaxed);
    let (results, stream) = mpsc::channel(8);
    let (to, by) = (Arc::clone(&app), caller.clone());
    let keyed = head.headers.contains_key(IDEMPOTENCY_KEY);
    let job = Job { app: to, caller: by, defaults, began, results, keyed, room };
    if keyed {
        // Begun only when it is known to be the first.
        let work = move |body| {
            tokio::spawn(job.run(Items { is_binary, places, body }));
            Ok(Work { until: None, answer: gather(stream) })
        };
        return once(&app, &caller, &head, "/v1/authentications:batch", body, work).await;
    }
    tokio::spawn(job.run(Items { is_binary, places, body }));
    let mut response = Response::new(Body::new(Stream { results: stream, ended: false }));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    response
}

/// The whole response at once, so that it can be given again.
async fn gather(mut stream: mpsc::Receiver<Part>) -> Result<Said, Problem> {
    let mut body = Vec::new();
    let (lasting, room) = loop {
        match stream.recv().await {
            Some(Part::Lines(lines)) => body.extend_from_slice(&lines),
            Some(Part::End { lasting, room }) => break (lasting, room.map(Arc::new)),
            None => return Err(Problem::new(Kind::Internal, "the batch was lost")),
        }
    };
    let (status, body) = (StatusCode::OK, body.into());
    let (retry_after, problem) = (None, None);
    Ok(Said { status, media_type: NDJSON, retry_after, body, lasting, room, problem })
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
    /// Nothing is given up then: what is said of an item is said for good.
    keyed: bool,
    /// For what is kept of every item until its line has left.
    room: Share,
}

/// An attempt that was charged and checked.
struct Ready {
    checked: Checked,
    priority: Priority,
    deadline: Instant,
}

/// What came of a submission.
enum Submitted {
    UnderWay,
    /// There is no room at present.
    Full(Ready, Problem),
    Refused(Problem),
}

impl Job {
    async fn run(self, items: Items) {
        let count = items.places.len();
        let (ask, mut answers) = mpsc::unbounded_channel();
        let mut order = Order::new(count, !self.keyed, self.app.limits.body_time);
        let mut values = Zeroizing::new(Vec::with_capacity(self.app.parts.dims));
        let mut batch = Vec::with_capacity(256);
        for (index, place) in items.places.iter().enumerate() {
            let item = items.body.bytes.get(place.clone()).unwrap_or_default();
            let index = index as u32;
            let mut next = self.prepare(&items, item, &mut values);
            loop {
                let ready = match next {
                    Ok(ready) => ready,
                    Err(problem) => break order.put(index, Err(problem)),
                };
                let deadline = ready.deadline;
                match self.submit(ready, Asker::Many(ask.clone(), index)) {
                    Submitted::UnderWay => break order.begun(index, deadline),
                    Submitted::Refused(problem) => break order.put(index, Err(problem)),
                    // Those before it make room, if they are this batch's own.
                    Submitted::Full(ready, problem) => {
                        next = if order.under_way > 0 {
                            Ok(ready)
                        } else {
                            let counters = self.app.parts.decider.counters();
                            counters.busy.fetch_add(1, Ordering::Relaxed);
                            Err(problem)
                        };
                        order.take(&mut answers, &mut batch).await;
                        if !order.send(&self.results).await {
                            return;
                        }
                    }
                }
            }
            if (index as usize).is_multiple_of(STRIDE) {
                while let Ok(item) = answers.try_recv() {
                    order.answered(item);
                }
                if !order.send(&self.results).await {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
        // The embeddings are in the queue, quantised; whoever answers has a sender of his own.
        drop((items, ask));
        while order.under_way > 0 {
            order.take(&mut answers, &mut batch).await;
            if !order.send(&self.results).await {
                return;
            }
        }
        if !order.send(&self.results).await {
            return;
        }
        let Self { results, room, keyed, .. } = self;
        let (kept, given) = if keyed { (None, Some(room)) } else { (Some(room), None) };
        let end = Part::End { lasting: order.lasting, room: given };
        if results.send(end).await.is_ok() && kept.is_some() {
            // What is in the channel and not yet taken is still in memory.
            let _ = timeout(order.patience, results.closed()).await;
        }
    }

    fn prepare(
        &self,
        items: &Items,
        item: &[u8],
        values: &mut Zeroizing<Vec<f64>>,
    ) -> Result<Ready, Problem> {
        let app = &*self.app;
        self.caller.charge()?;
        if item.trim_ascii_end().len() > SINGLE_BYTES {
            let what = format!("an attempt has at most {SINGLE_BYTES} bytes");
            return Err(Problem::new(Kind::TooLarge, what));
        }
        let Defaults { priority, deadline_ms } = self.defaults;
        let (checked, rank, deadline_ms) = if items.is_binary {
            let damaged = || Problem::new(Kind::Request, "the binary form is damaged");
            let (attempt, _) = binary::Attempt::split(item, app.parts.dims).ok_or_else(damaged)?;
            let id = std::str::from_utf8(attempt.id)
                .map_err(|_| Problem::new(Kind::Id, "the id is not UTF-8"))?;
            values.clear();
            values.extend(attempt.values().map(f64::from));
            (check(app, id, values, attempt.nonce)?, priority, deadline_ms)
        } else {
            let attempt: Attempt<'_> = serde_json::from_slice(item).map_err(|e| malformed(&e))?;
            let nonce = attempt.nonce.map(|nonce| nonce.0);
            let checked = check(app, &attempt.id, &attempt.embedding.0, nonce)?;
            (checked, attempt.priority.or(priority), attempt.deadline_ms.or(deadline_ms))
        };
        let deadline = items::deadline(app, self.began, deadline_ms);
        Ok(Ready { checked, priority: rank.map_or(Priority::Bulk, Priority::from), deadline })
    }

    fn submit(&self, ready: Ready, asker: Asker) -> Submitted {
        let Ready { checked: Checked { seat, request }, priority, deadline } = ready;
        let Parts { attempts, decider, .. } = &self.app.parts;
        let attempt = match decide::Attempt::begin(&seat, attempts, asker) {
            Ok(attempt) => attempt,
            Err(time) => return Submitted::Refused(locked(time)),
        };
        match decider.submit(request, attempt, priority, Some(deadline)) {
            Ok(()) => Submitted::UnderWay,
            Err((busy @ Rejected::Busy(_), request)) => {
                let checked = Checked { seat, request };
                Submitted::Full(Ready { checked, priority, deadline }, busy.into())
            }
            Err((rejected, _)) => Submitted::Refused(rejected.into()),
        }
    }
}

/// What is known of an item.
enum Place {
    Ahead,
    /// Until then an answer is of use.
    UnderWay(Instant),
    Came(Result<Verdict, Problem>),
    Left,
}

/// Results as they come, and as they leave.
struct Order {
    places: Vec<Place>,
    /// Those that have left.
    left: usize,
    under_way: usize,
    /// Whether it waits no longer for an answer than it is of use.
    in_time: bool,
    /// How long whoever reads may take for a part.
    patience: Duration,
    chunk: Vec<u8>,
    /// Whether the response would be the same again.
    lasting: bool,
}

impl Order {
    fn new(count: usize, in_time: bool, patience: Duration) -> Self {
        let places = (0..count).map(|_| Place::Ahead).collect();
        let chunk = Vec::with_capacity(CHUNK.min(count * LINE) + 512);
        Self { places, left: 0, under_way: 0, in_time, patience, chunk, lasting: true }
    }

    fn begun(&mut self, index: u32, until: Instant) {
        if let Some(place) = self.places.get_mut(index as usize) {
            *place = Place::UnderWay(until);
            self.under_way += 1;
        }
    }

    fn put(&mut self, index: u32, result: Result<Verdict, Problem>) {
        if let Some(place) = self.places.get_mut(index as usize) {
            *place = Place::Came(result);
        }
    }

    /// Takes a result, unless it comes too late.
    fn answered(&mut self, (index, result): Item) {
        if let Some(Place::UnderWay(_)) = self.places.get(index as usize) {
            self.under_way -= 1;
            self.put(index, result.map_err(|error: Error| error.into()));
        }
    }

    /// Waits for results: no longer than the next line may.
    async fn take(&mut self, answers: &mut mpsc::UnboundedReceiver<Item>, batch: &mut Vec<Item>) {
        let Some(Place::UnderWay(until)) = self.places.get(self.left) else { return };
        let some = answers.recv_many(batch, 256);
        let came = if self.in_time {
            timeout_at((*until).into(), some).await.map_err(|_| late())
        } else {
            Ok(some.await)
        };
        let lost = || Err(Problem::new(Kind::Internal, "the attempt was lost"));
        if let Err(problem) = came.and_then(|count| if count == 0 { lost() } else { Ok(()) }) {
            self.under_way -= 1;
            self.put(self.left as u32, Err(problem));
        }
        for item in batch.drain(..) {
            self.answered(item);
        }
    }

    /// Sends what can leave. `false` if nobody takes it any more.
    async fn send(&mut self, to: &mpsc::Sender<Part>) -> bool {
        while let Some(place @ Place::Came(_)) = self.places.get_mut(self.left) {
            if let Place::Came(result) = std::mem::replace(place, Place::Left) {
                self.write(result);
            }
            self.left += 1;
            if self.chunk.len() >= CHUNK && !self.flush(to).await {
                return false;
            }
        }
        self.flush(to).await
    }

    async fn flush(&mut self, to: &mpsc::Sender<Part>) -> bool {
        if self.chunk.is_empty() {
            return true;
        }
        let next = Vec::with_capacity(self.chunk.capacity());
        let lines = std::mem::replace(&mut self.chunk, next);
        matches!(timeout(self.patience, to.send(Part::Lines(lines.into()))).await, Ok(Ok(())))
    }

    fn write(&mut self, result: Result<Verdict, Problem>) {
        result.as_ref().err().into_iter().for_each(|problem| told(problem.kind));
        self.lasting &= result.as_ref().err().is_none_or(|problem| lasts(problem.status()));
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
    /// The last one; with the room for all of them where they are gathered.
    End {
        lasting: bool,
        room: Option<Share>,
    },
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
            Some(Part::End { .. }) => {
                self.ended = true;
                None
            }
            None => Some(Err(io::Error::other("the batch was lost"))),
        })
    }
}
