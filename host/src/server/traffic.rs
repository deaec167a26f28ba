//! Whose turn it is on a connection: ours while a request is being answered, or a response waits for more of itself; else
//! the peer's, be it to ask or to take what there is. Bytes alone say nothing: a peer can answer pings for ever.

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Longer than anything takes that we do for a peer: whatever has not moved for so long is over.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// What is under way on one connection.
pub(super) struct Traffic {
    began: Instant,
    /// Requests that came.
    requests: AtomicU64,
    /// Requests and responses that are for us to go on with.
    ours: AtomicUsize,
    /// Responses that were not handed out to their ends.
    responses: AtomicUsize,
    /// When that changed last, or a part of a response was taken; in milliseconds since the beginning.
    moved: AtomicU64,
}

impl Traffic {
    pub(super) fn new() -> Arc<Self> {
        let began = Instant::now();
        let [ours, responses] = [0, 0].map(AtomicUsize::new);
        Arc::new(Self { began, requests: 0.into(), ours, responses, moved: 0.into() })
    }

    fn since(&self) -> Duration {
        self.began.elapsed()
    }

    /// Something moves now.
    pub(super) fn moved(&self) {
        let ms = u64::try_from(self.since().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(ms, Ordering::Relaxed);
    }

    /// Whether there was a request.
    pub(super) fn has_begun(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// Waits until it has been the peer's turn for so long, and nothing has moved; `idle` where it has taken what it asked for.
    pub(super) async fn still(&self, time: Duration, idle: Duration) {
        loop {
            let most = if self.ours.load(Ordering::Acquire) > 0 {
                LONGEST
            } else if self.has_begun() && self.responses.load(Ordering::Acquire) == 0 {
                idle
            } else {
                time
            };
            let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
            let left = most.saturating_sub(self.since().saturating_sub(moved));
            if left.is_zero() {
                return;
            }
            sleep(left.min(time).min(idle)).await;
        }
    }

    /// A service whose requests and responses are counted here.
    pub(super) fn service<S>(self: &Arc<Self>, service: S) -> Counted<S> {
        Counted { service, traffic: Arc::clone(self) }
    }
}

/// Something that is ours to go on with, until it is dropped.
struct Turn(Arc<Traffic>);

impl Turn {
    fn new(traffic: &Arc<Traffic>) -> Self {
        traffic.ours.fetch_add(1, Ordering::Relaxed);
        traffic.moved();
        Self(Arc::clone(traffic))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.moved();
        // Who sees it end sees when.
        self.0.ours.fetch_sub(1, Ordering::Release);
    }
}

/// A service, counted.
pub(super) struct Counted<S> {
    service: S,
    traffic: Arc<Traffic>,
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<Response<CountedBody>, E>> + Send>>;

impl<S> Service<Request<Incoming>> for Counted<S>
where
    S: Service<Request<Incoming>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<CountedBody>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.traffic.requests.fetch_add(1, Ordering::Relaxed);
        let turn = Turn::new(&self.traffic);
        let answer = self.service.call(request);
        Box::pin(async move {
            let response = answer.await?;
            Ok(response.map(|body| CountedBody::new(body, &turn.0)))
        })
    }
}

/// Bytes of a response that are handed out together.
const PART: usize = 16 << 10;

/// The body of a response. It is asked for more when the peer has taken what there was, or soon will have: see
/// `BUFFER` of [`listen`](super::listen). So it is handed out in parts, each of which shows that the peer goes on.
pub(super) struct CountedBody {
    body: Body,
    /// What is left of a frame.
    rest: Bytes,
    traffic: Arc<Traffic>,
    /// While the next part is not there.
    turn: Option<Turn>,
}

impl CountedBody {
    fn new(body: Body, traffic: &Arc<Traffic>) -> Self {
        traffic.responses.fetch_add(1, Ordering::Relaxed);
        Self { body, rest: Bytes::new(), traffic: Arc::clone(traffic), turn: None }
    }
}

impl Drop for CountedBody {
    fn drop(&mut self) {
        self.traffic.moved();
        self.traffic.responses.fetch_sub(1, Ordering::Release);
    }
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, rest, traffic, turn } = self.get_mut();
        let some = |rest: &mut Bytes| Frame::data(rest.split_to(PART.min(rest.len())));
        let part = if rest.is_empty() {
            Pin::new(body).poll_frame(context).map_ok(|frame| match frame.into_data() {
                Ok(data) => {
                    *rest = data;
                    some(rest)
                }
                Err(frame) => frame,
            })
        } else {
            Poll::Ready(Some(Ok(some(rest))))
        };
        if part.is_pending() {
            turn.get_or_insert_with(|| Turn::new(traffic));
        } else {
            *turn = None;
            traffic.moved();
        }
        part
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_large_response_moves_in_parts() {
        let (traffic, sent) = (Traffic::new(), Bytes::from(vec![7; 5 * PART / 2]));
        let mut body = CountedBody::new(Body::from(sent.clone()), &traffic);
        let (mut came, mut parts) = (0, Vec::new());
        loop {
            let left = (sent.len() - came) as u64;
            assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(left), left == 0));
            let Some(part) = body.frame().await else { break };
            let part = part.unwrap().into_data().unwrap();
            assert!(part.iter().all(|byte| *byte == 7));
            came += part.len();
            parts.push(part.len());
        }
        assert_eq!((parts, came), (vec![PART, PART, PART / 2], sent.len()));
    }
}
