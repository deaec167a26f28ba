//! Errors as clients see them: `application/problem+json` (RFC 9457) with the stable code.

use crate::batching::Rejected;
use crate::error::{Error, Kind};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use symbolon_platform::clock;

/// The media type.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong with a request.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The stable code.
    pub kind: Kind,
    /// What a person reads. Names the client's own input only: no file, no value.
    pub detail: String,
    /// When it may be worth trying again.
    pub retry_after: Option<Duration>,
}

/// What the client is told of the rest: it is in the log.
const INTERNAL: &str = "the server failed; its log has more under this request's id";

impl Problem {
    /// Of this kind.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None }
    }

    /// It may be worth trying again then.
    #[must_use]
    pub fn after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    /// The response's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.kind {
            Kind::Request | Kind::Parse | Kind::Argument => StatusCode::BAD_REQUEST,
            Kind::ApiKey => StatusCode::UNAUTHORIZED,
            Kind::Role | Kind::Session => StatusCode::FORBIDDEN,
            Kind::UnknownId | Kind::UnknownRequest | Kind::NoRoute => StatusCode::NOT_FOUND,
            Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
            Kind::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Slow => StatusCode::REQUEST_TIMEOUT,
            Kind::DuplicateId | Kind::DuplicateLeaf | Kind::Unpublished | Kind::Idempotency => {
                StatusCode::CONFLICT
            }
            Kind::Ticket => StatusCode::GONE,
            Kind::IdentitiesFull => StatusCode::INSUFFICIENT_STORAGE,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Dimension | Kind::NotFinite | Kind::ZeroVector | Kind::Id | Kind::Leaf => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Kind::Busy | Kind::Rate | Kind::Locked => StatusCode::TOO_MANY_REQUESTS,
            // Not ready is no failure.
            Kind::NotSigned => StatusCode::ACCEPTED,
            Kind::Draining | Kind::LogBusy => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Deadline => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The body.
    #[must_use]
    pub fn json(&self) -> String {
        let status = self.status();
        json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "code": self.kind.code(),
            "detail": self.detail,
        })
        .to_string()
    }

    /// Whole seconds, as the header has them, and at least one.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        self.retry_after.map(|time| time.as_millis().div_ceil(1000).max(1) as u64)
    }
}

/// How many were told, by kind.
static TOLD: [AtomicU64; Kind::ALL.len()] = [const { AtomicU64::new(0) }; _];

/// Counts what a client is told.
pub(super) fn told(kind: Kind) {
    if let Some(count) = TOLD.get(kind as usize) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The codes that requests, and items of batches, were answered with, and how often.
pub(super) fn counts() -> impl Iterator<Item = (&'static str, u64)> {
    let counts = TOLD.iter().map(|count| count.load(Ordering::Relaxed));
    Kind::ALL.iter().map(|kind| kind.code()).zip(counts).filter(|(_, count)| *count > 0)
}

/// Failures that are logged in a second, more or less: what every request meets must not fill the disk.
const LOGGED: u64 = 20;

/// A second and how many were in it.
static LAST: AtomicU64 = AtomicU64::new(0);

fn may_log(of: &AtomicU64, second: u64) -> bool {
    let last = of.load(Ordering::Relaxed);
    let count = if last >> 8 == second { last & 0xff } else { 0 };
    if count < LOGGED {
        of.store(second << 8 | (count + 1), Ordering::Relaxed);
    }
    count < LOGGED
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let mut problem = Self::new(error.kind(), error.message());
        let failed = problem.status() == StatusCode::INTERNAL_SERVER_ERROR;
        if failed && may_log(&LAST, clock::unix_ms() / 1000) {
            tracing::error!(code = error.code(), message = error.message(), "a request failed");
        }
        if failed {
            problem.detail = INTERNAL.into();
        }
        if let Some(field) = error.field() {
            problem.detail = format!("{field}: {}", problem.detail);
        }
        match error.kind() {
            Kind::NotSigned | Kind::Busy => problem.after(Duration::from_secs(1)),
            _ => problem,
        }
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Busy(time) => {
                Self::new(Kind::Busy, "too many requests wait already").after(time)
            }
            Rejected::Draining => draining(),
        }
    }
}

/// The server is being stopped.
#[must_use]
pub fn draining() -> Problem {
    Problem::new(Kind::Draining, "the server is being stopped").after(Duration::from_secs(1))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        told(self.kind);
        let mut response = Response::new(Body::from(self.json()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.kind == Kind::ApiKey {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_request_meets_is_logged_now_and_then() {
        let last = AtomicU64::new(0);
        for second in [7, 8] {
            let logged = (0..10_000).filter(|_| may_log(&last, second)).count() as u64;
            assert_eq!(logged, LOGGED);
        }
    }
}
