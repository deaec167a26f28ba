//! What is at which address.

mod authentications;
mod batch;
pub mod binary;
mod body;
mod enrolments;
mod health;
mod identities;
mod items;
mod keys;
mod openapi;
mod pages;
mod receipts;
mod sessions;
mod status;

use super::App;
use super::access::Caller;
use super::idempotency::{Begun, Said};
use super::metrics::Http;
use super::problem::Problem;
use crate::error::Kind;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use std::any::Any;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::oneshot;
use tokio::time::{sleep_until, timeout_at};
use tower_http::catch_panic::CatchPanicLayer;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest request id that is taken over, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// Everything.
pub(super) fn router(app: Arc<App>) -> Router {
    let guarded = Router::new()
        .route("/v1/authentications", post(authentications::authenticate))
        .route("/v1/authentications:batch", post(batch::authenticate))
        .route("/v1/enrolments", post(enrolments::enrol))
        .route("/v1/enrolments/{id}", delete(enrolments::remove))
        .route("/v1/sessions", post(sessions::greet))
        .route("/v1/sessions/{id}", delete(sessions::end))
        .route("/v1/sessions/{id}/resume", post(sessions::resume))
        .route("/v1/sessions/{id}/authentications", post(sessions::authenticate))
        .route("/v1/handshakes/{id}", post(sessions::go_on))
        .route("/v1/identities/{id}", put(identities::enrol).delete(identities::revoke))
        .route("/v1/identities/{id}/path", get(identities::path))
        .route("/v1/epochs", post(identities::publish))
        .route("/v1/receipts", get(receipts::newest))
        .route("/v1/receipts/{request}", get(receipts::fetch))
        .route("/v1/receipts/{request}/verify", post(receipts::verify))
        .route("/v1/keys", get(keys::list))
        .route("/v1/status", get(status::read))
        .route("/metrics", get(health::metrics))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&app), admit));
    let routes = Router::new()
        .merge(guarded)
        .route("/", get(pages::dashboard))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/openapi.json", get(openapi::document))
        .route("/docs", get(pages::viewer))
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method);
    fronted(routes, app)
}

/// Routes, each request to which is named, counted and logged, and answered though its handler panics.
fn fronted(routes: Router<Arc<App>>, app: Arc<App>) -> Router {
    routes
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), front))
        .with_state(app)
}

async fn nothing() -> Problem {
    Problem::new(Kind::NoRoute, "there is nothing at this address: see /docs")
}

async fn wrong_method() -> Problem {
    Problem::new(Kind::Method, "this address has no such method: see /docs")
}

/// What a handler's panic is answered with.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!(code = Kind::Internal.code(), "a handler panicked");
    Problem::new(Kind::Internal, "the server failed in an unforeseen way").into_response()
}

/// A request under way: what is dropped unanswered is counted too.
struct UnderWay<'a> {
    http: &'a Http,
    route: Option<&'a str>,
    answered: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.http.gone(self.route);
        }
    }
}

/// Names the request, counts and logs it.
async fn front(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(&app, request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let route = route.as_ref().map(MatchedPath::as_str);
    let traces = app.parts.traces.as_ref();
    let span = traces.and_then(|traces| traces.begin(&request, route, id.as_ref()));
    let mut under_way = UnderWay { http: &app.http, route, answered: false };
    let mut response = next.run(request).await;
    under_way.answered = true;
    let (status, time) = (response.status().as_u16(), began.elapsed());
    app.http.answered(route, status, time);
    if let Some(span) = span {
        span.answered(status, time);
    }
    if let Some(id) = id {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(%method, route, status, us, request_id = id.to_str().ok(), "answered");
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The one that came with it, if it is one to take over, or a fresh one.
fn request_id(app: &App, headers: &HeaderMap) -> Option<HeaderValue> {
    let sent = headers.get(REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        (1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    });
    sent.cloned().or_else(|| {
        let [high, low] = [app.name, app.named.fetch_add(1, Ordering::Relaxed)];
        // Digits are fit for a header.
        HeaderValue::from_str(&format!("{high:016x}{low:016x}")).ok()
    })
}

/// Whether a page of another host sends it: by its origin, or by the name under which it reached this machine, which
/// such a page may have had point here.
fn is_foreign(request: &Request) -> bool {
    let is_own = |host: &str| {
        ["127.0.0.1", "localhost", "[::1]"].iter().any(|own| {
            host.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        })
    };
    let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let origin =
        text(header::ORIGIN).map(|origin| origin.split_once("://").map_or("", |(_, host)| host));
    let host = text(header::HOST).or(request.uri().authority().map(Authority::as_str));
    [origin, host].into_iter().flatten().any(|host| !is_own(host))
}

/// Lets a caller in. Where no keys are asked for, a browser on this machine could be made to speak for anybody.
async fn admit(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    if !app.parts.access.is_required() && is_foreign(&request) {
        let what =
            "without API keys nothing is taken under other hosts' names, nor from their pages";
        return Problem::new(Kind::Role, what).into_response();
    }
    let authorization = request.headers().get(header::AUTHORIZATION);
    let admitted = app.parts.access.admit(authorization.map(HeaderValue::as_bytes));
    match admitted.and_then(|caller| caller.charge().map(|()| caller)) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// What a request is answered with, and until when that is of use.
struct Work<F> {
    until: Option<Instant>,
    answer: F,
}

/// The answer, or that it comes too late.
async fn in_time<T>(
    until: Option<Instant>,
    answer: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    match until {
        None => answer.await,
        Some(until) => timeout_at(until.into(), answer).await.unwrap_or_else(|_| Err(late())),
    }
}

/// An answer would come when nobody has a use for it any more.
fn late() -> Problem {
    Problem::new(Kind::Deadline, "its deadline passed before the answer; it may be decided still")
}

/// Does a request; or, under an idempotency key that was used for it before, gives the same response again.
///
/// `work` gets the body, and is done with it when it has begun. Under a key the request is done to its end whether or not
/// somebody waits for the answer: who lost the connection, or came to the deadline, repeats it and is told what became of
/// it. A server that is stopped waits for those only who wait for it.
async fn once<F: Future<Output = Result<Said, Problem>> + Send + 'static>(
    app: &Arc<App>,
    caller: &Caller,
    head: &axum::http::request::Parts,
    address: &'static str,
    body: body::Bytes,
    work: impl FnOnce(body::Bytes) -> Result<Work<F>, Problem> + Send + 'static,
) -> Response {
    let Some(key) = head.headers.get(IDEMPOTENCY_KEY).cloned() else {
        let result = match work(body) {
            Ok(work) => in_time(work.until, work.answer).await,
            Err(problem) => Err(problem),
        };
        return result.unwrap_or_else(Said::from).into_response();
    };
    let (app, caller) = (Arc::clone(app), caller.id());
    let query = head.uri.query().unwrap_or_default().to_owned();
    let (to, told) = oneshot::channel();
    tokio::spawn(async move {
        let idempotency = &app.parts.idempotency;
        // Whoever asked may have gone.
        let tell = |said: Said, to: oneshot::Sender<Said>| drop(to.send(said));
        let request = [query.as_bytes(), &body.bytes];
        let ticket = match idempotency.begin(&caller, address, key.as_bytes(), &request) {
            Ok(Begun::First(ticket)) => ticket,
            Ok(Begun::Again(said)) => return tell(said, to),
            Err(problem) => return tell(problem.into(), to),
        };
        let mut to = Some(to);
        let result = match work(body) {
            Err(problem) => Err(problem),
            Ok(Work { until, answer }) => {
                let mut answer = pin!(answer);
                let late = async {
                    match until {
                        Some(until) => sleep_until(until.into()).await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    result = answer.as_mut() => result,
                    () = late => {
                        to.take().into_iter().for_each(|to| tell(self::late().into(), to));
                        answer.await
                    }
                }
            }
        };
        let said = result.unwrap_or_else(Said::from);
        ticket.done(&said);
        if let Some(to) = to {
            tell(said, to);
        }
    });
    match told.await {
        Ok(said) => said.into_response(),
        Err(_) => Problem::new(Kind::Internal, "the request was lost").into_response(),
    }
}

/// The id in an address; `kind` is what it is where it is none.
fn id_in(path: Result<Path<String>, PathRejection>, kind: Kind) -> Result<String, Problem> {
    let malformed = |_| Problem::new(kind, "the id is not UTF-8, percent-encoded");
    path.map(|Path(id)| id).map_err(malformed)
}

/// A response as JSON.
fn json(body: &impl serde::Serialize) -> Result<Response, Problem> {
    let text = serde_json::to_string(body);
    let text = text.map_err(|e| Problem::new(Kind::Internal, e.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// A response without a body.
fn empty(status: axum::http::StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::super::tests::app;
    use super::super::{metrics, problem};
    use super::*;
    use axum::http::StatusCode;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use std::future::poll_fn;
    use std::task::Poll;

    fn get_of(path: &str) -> Request {
        Request::get(path).body(Body::empty()).unwrap()
    }

    /// How many of a class of status there were at addresses that are none of ours.
    fn counted(app: &App, class: &str) -> u64 {
        let line = format!("symbolon_http_requests_total{{route=\"other\",status=\"{class}\"}} ");
        let page = metrics::page(app);
        page.lines().find_map(|it| it.strip_prefix(&line)).map_or(0, |n| n.parse().unwrap())
    }

    #[tokio::test]
    async fn keys_wait_for_a_disk_as_receipts_do() {
        let dir = tempfile::tempdir().unwrap();
        let app = app(dir.path());
        let service = TowerToHyperService::new(router(Arc::clone(&app)));
        assert_eq!(service.call(get_of("/v1/keys")).await.unwrap().status(), StatusCode::OK);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        let mut busy = tokio::task::JoinSet::new();
        let refused = loop {
            let (app, wait) = (Arc::clone(&app), Arc::clone(&wait));
            let hold = move || {
                let _ = wait.lock().unwrap().recv();
                Ok(())
            };
            busy.spawn(async move { app.lookups.run(hold).await });
            tokio::task::yield_now().await;
            if busy.try_join_next().is_some() {
                break service.call(get_of("/v1/keys")).await.unwrap();
            }
        };
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        drop(go);
    }

    #[tokio::test]
    async fn a_request_that_panics_or_is_given_up_is_counted() {
        async fn panics() {
            panic!("on purpose");
        }
        let dir = tempfile::tempdir().unwrap();
        let app = app(dir.path());
        let routes =
            Router::new().route("/panics", get(panics)).route("/waits", get(pending::<()>));
        let service = TowerToHyperService::new(fronted(routes, Arc::clone(&app)));
        let answer = service.call(get_of("/panics")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], problem::MEDIA_TYPE);
        assert!(answer.headers().contains_key(REQUEST_ID));
        assert_eq!((counted(&app, "5xx"), counted(&app, "4xx")), (1, 0));
        let mut waits = pin!(service.call(get_of("/waits")));
        let polled = poll_fn(|context| Poll::Ready(waits.as_mut().poll(context).is_pending()));
        assert!(polled.await);
        assert_eq!(counted(&app, "4xx"), 0);
        waits.set(service.call(get_of("/panics")));
        assert_eq!((counted(&app, "5xx"), counted(&app, "4xx")), (1, 1));
    }
}
