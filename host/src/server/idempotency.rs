//! Requests that are repeated: the same key and the same request get the same response, and are done once.
//!
//! In memory, bounded in entries, bytes and time: a client that repeats a request because it saw no answer does so
//! soon. Failures of the server and refusals for want of room are not kept, so they can be tried again, nor is a
//! response of many parts if one of them is such, nor one that would take a sixteenth of the memory for all. What is
//! forgotten before its time for want of memory is counted. A restart forgets: an enrolment that is repeated after it
//! finds its id taken, a decision is made again.

use super::Share;
use super::problem::{Problem, told};
use crate::error::{Kind, Result};
use crate::random::random;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 128;

/// A response that can be given again.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its status.
    pub status: StatusCode,
    /// Its media type.
    pub media_type: &'static str,
    /// Its `retry-after`, in seconds.
    pub retry_after: Option<u64>,
    /// Its body.
    pub body: Bytes,
    /// Whether it would be the same again.
    pub lasting: bool,
    /// Room for its body until it has left; not for what is remembered, which has its own.
    pub(super) room: Option<Arc<Share>>,
    /// What kind of problem it is, if it is one: counted when it is told.
    pub(super) problem: Option<Kind>,
}

/// A body, and room for it until nobody has it any more: HTTP libraries take it whole, long before it has left.
struct Held {
    body: Bytes,
    _room: Arc<Share>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Whether a repeated request is to be answered with this again, rather than to be tried.
#[must_use]
pub fn lasts(status: StatusCode) -> bool {
    !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS
}

impl Said {
    /// As JSON.
    #[must_use]
    pub fn json(status: StatusCode, body: String) -> Self {
        let (media_type, lasting) = ("application/json", lasts(status));
        Self {
            status,
            media_type,
            retry_after: None,
            body: body.into(),
            lasting,
            room: None,
            problem: None,
        }
    }
}

impl From<Problem> for Said {
    fn from(problem: Problem) -> Self {
        Self {
            status: problem.status(),
            media_type: super::problem::MEDIA_TYPE,
            retry_after: problem.retry_after_s(),
            body: problem.json().into(),
            lasting: lasts(problem.status()),
            room: None,
            problem: Some(problem.kind),
        }
    }
}

impl IntoResponse for Said {
    fn into_response(self) -> Response {
        self.problem.into_iter().for_each(told);
        let mut response = Response::new(match self.room {
            Some(room) => Body::from(Bytes::from_owner(Held { body: self.body, _room: room })),
            None => Body::from(self.body),
        });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests.
    pub entries: usize,
    /// Bytes of their responses.
    pub bytes: usize,
    /// How long.
    pub time: Duration,
}

type Key = [u8; 32];

struct Entry {
    request: [u8; 32],
    said: Option<Said>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Key, Entry>,
    /// Those that were answered, oldest first.
    order: VecDeque<(Instant, Key, usize)>,
    bytes: usize,
    /// Forgotten before their time.
    evicted: u64,
}

/// Remembers requests and their responses.
pub struct Idempotency {
    limits: Limits,
    /// Hashes are keyed: what is remembered says nothing of what was sent.
    salt: [u8; 32],
    inner: Mutex<Inner>,
}

/// What is to be done with a request.
pub enum Begun<'a> {
    /// Do it, and tell.
    First(Ticket<'a>),
    /// It was done.
    Again(Said),
}

/// A request that is done for the first time. Dropped without an answer, it is forgotten.
pub struct Ticket<'a> {
    of: &'a Idempotency,
    key: Key,
    answered: bool,
}

impl Idempotency {
    /// Remembers nothing yet. Errors: `E-ENTROPY`.
    pub fn new(limits: Limits) -> Result<Self> {
        Ok(Self { limits, salt: random()?, inner: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nobody panics with it in the middle of a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(self.salt);
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    /// Looks whether a request was made before: by this caller, to this address, under this key. It is the same if its
    /// parts are.
    ///
    /// Errors: `E-IDEMPOTENCY` if it is under way, or was another; `E-REQUEST` for a key that is none; `E-BUSY` if too
    /// many are under way.
    pub fn begin(
        &self,
        caller: &[u8],
        address: &str,
        key: &[u8],
        request: &[&[u8]],
    ) -> std::result::Result<Begun<'_>, Problem> {
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(Problem::new(Kind::Request, "an idempotency key has 1 to 128 bytes"));
        }
        let request = self.hash(request);
        let key = self.hash(&[caller, address.as_bytes(), key]);
        let mut inner = self.lock();
        inner.expire(self.limits, Instant::now());
        if let Some(entry) = inner.entries.get(&key) {
            if entry.request != request {
                let what = "the idempotency key was used for another request";
                return Err(Problem::new(Kind::Idempotency, what));
            }
            return match &entry.said {
                Some(said) => Ok(Begun::Again(said.clone())),
                None => Err(Problem::new(Kind::Idempotency, "the same request is under way")
                    .after(Duration::from_secs(1))),
            };
        }
        if inner.entries.len() >= 2 * self.limits.entries {
            let what = "too many requests with idempotency keys are under way";
            return Err(Problem::new(Kind::Busy, what).after(Duration::from_secs(1)));
        }
        inner.entries.insert(key, Entry { request, said: None });
        drop(inner);
        Ok(Begun::First(Ticket { of: self, key, answered: false }))
    }

    /// How many are remembered, and the bytes of their responses; and how many were forgotten before their time.
    pub fn held(&self) -> (usize, usize, u64) {
        let inner = self.lock();
        (inner.entries.len(), inner.bytes, inner.evicted)
    }
}

impl Inner {
    fn expire(&mut self, limits: Limits, now: Instant) {
        while let Some(&(until, key, bytes)) = self.order.front() {
            let fits = self.order.len() <= limits.entries && self.bytes <= limits.bytes;
            if fits && now < until {
                return;
            }
            self.order.pop_front();
            self.entries.remove(&key);
            self.bytes -= bytes;
            self.evicted += u64::from(now < until);
        }
    }
}

impl Ticket<'_> {
    /// Remembers the response, if it is one to give again.
    pub fn done(mut self, said: &Said) {
        // One that is too large would have all others forgotten.
        if !said.lasting || said.body.len() > self.of.limits.bytes / 16 {
            return;
        }
        self.answered = true;
        let mut inner = self.of.lock();
        let (until, bytes) = (Instant::now() + self.of.limits.time, said.body.len());
        if let Some(entry) = inner.entries.get_mut(&self.key) {
            entry.said = Some(Said { room: None, ..said.clone() });
            inner.order.push_back((until, self.key, bytes));
            inner.bytes += bytes;
        }
        inner.expire(self.of.limits, Instant::now());
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.of.lock().entries.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(entries: usize, bytes: usize) -> Idempotency {
        Idempotency::new(Limits { entries, bytes, time: Duration::from_secs(60) }).unwrap()
    }

    fn said(status: StatusCode, text: &str) -> Said {
        Said::json(status, text.into())
    }

    fn do_once(of: &Idempotency, key: &str, body: &str, answer: &Said) {
        match of.begin(b"me", "/", key.as_bytes(), &[body.as_bytes()]) {
            Ok(Begun::First(ticket)) => ticket.done(answer),
            _ => panic!("{key} was used before"),
        }
    }

    fn again(of: &Idempotency, key: &str, body: &str) -> Option<String> {
        match of.begin(b"me", "/", key.as_bytes(), &[body.as_bytes()]) {
            Ok(Begun::Again(said)) => Some(String::from_utf8(said.body.to_vec()).unwrap()),
            _ => None,
        }
    }

    #[test]
    fn the_same_request_gets_the_same_response() {
        let of = memory(8, 1000);
        do_once(&of, "a", "body", &said(StatusCode::CREATED, "done"));
        assert_eq!(again(&of, "a", "body").as_deref(), Some("done"));
        let error = of.begin(b"me", "/", b"a", &[b"other"]).err().unwrap();
        assert_eq!(error.kind, Kind::Idempotency);
        let error = of.begin(b"me", "/", b"a", &[b"bo", b"dy"]).err().unwrap();
        assert_eq!(error.kind, Kind::Idempotency);
        // Another caller, another address, another key: another request.
        for (caller, address, key) in [("you", "/", "a"), ("me", "/b", "a"), ("me", "/", "b")] {
            let begun = of.begin(caller.as_bytes(), address, key.as_bytes(), &[b"body"]);
            assert!(matches!(begun, Ok(Begun::First(_))));
        }
    }

    #[test]
    fn one_under_way_is_not_begun_again_and_a_failure_can_be() {
        let of = memory(8, 1000);
        let Ok(Begun::First(ticket)) = of.begin(b"me", "/", b"a", &[b"body"]) else { panic!() };
        let error = of.begin(b"me", "/", b"a", &[b"body"]).err().unwrap();
        assert_eq!((error.kind, error.retry_after.is_some()), (Kind::Idempotency, true));
        ticket.done(&said(StatusCode::TOO_MANY_REQUESTS, "busy"));
        do_once(&of, "a", "body", &said(StatusCode::INTERNAL_SERVER_ERROR, "oh"));
        let parts = Said { lasting: false, ..said(StatusCode::OK, "some of it") };
        do_once(&of, "a", "body", &parts);
        do_once(&of, "a", "body", &said(StatusCode::NOT_FOUND, "nobody"));
        assert_eq!(again(&of, "a", "body").as_deref(), Some("nobody"));
        assert!(of.begin(b"me", "/", &[b'a'; MAX_KEY + 1], &[]).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        for of in [memory(4, 1000), memory(100, 160)] {
            for i in 0..100 {
                do_once(&of, &i.to_string(), "", &said(StatusCode::OK, "0123456789"));
                assert!(of.held().0 <= 17 && of.held().1 <= 160);
            }
            assert!(again(&of, "99", "").is_some() && again(&of, "80", "").is_none());
            let before = of.held();
            assert_eq!(before.0 as u64 + before.2, 100);
            // What is too large is not remembered, and costs nobody his place.
            do_once(&of, "large", "", &said(StatusCode::OK, &"x".repeat(63)));
            assert_eq!(of.held(), before);
            assert!(again(&of, "99", "").is_some() && again(&of, "large", "").is_none());
        }
    }

    #[tokio::test]
    async fn a_response_has_its_room_until_it_has_left() {
        use http_body_util::BodyExt;
        let room = super::super::Room::new(1000);
        let share = Some(Arc::new(room.take(600).unwrap()));
        let of = memory(8, 1000);
        let answer = Said { room: share, ..said(StatusCode::OK, "lines") };
        do_once(&of, "a", "", &answer);
        let response = answer.into_response();
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(5));
        // As libraries take it: whole, and then there is no body any more.
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(bytes, "lines");
        assert!(room.take(600).is_none());
        drop(bytes);
        assert!(room.take(600).is_some());
        assert_eq!(again(&of, "a", "").as_deref(), Some("lines"));
    }
}
