//! `/v1/sessions`, `/v1/handshakes`: a device and its session.

use super::super::access::{Caller, Role};
use super::super::idempotency::Said;
use super::super::problem::told;
use super::super::sessions::{Sessions, refused, unknown};
use super::super::{App, SINGLE_BYTES};
use super::{Problem, authentications, body, empty, id_in, in_time};
use crate::error::Kind;
use crate::keyring::{hex, unhex};
use crate::session::{Channel, Kind as Record, MAX_MESSAGE, RECORD_OVERHEAD};
use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::MutexGuard;
use zeroize::Zeroizing;

/// Messages and records of a session, as they are.
const MEDIA_TYPE: &str = "application/vnd.symbolon.session";

/// The sessions, where the deployment has a registry.
///
/// Errors: `E-NO-ROUTE`.
pub(super) fn sessions(app: &App) -> Result<&Arc<Sessions>, Problem> {
    app.parts.sessions.as_ref().ok_or_else(|| {
        let what = "this deployment keeps no identities: symbolon identity init makes a registry";
        Problem::new(Kind::NoRoute, what)
    })
}

/// A message: from whoever may have people authenticated.
async fn message(
    app: &App,
    caller: &Caller,
    request: Request,
    limit: usize,
) -> Result<body::Bytes, Problem> {
    caller.require(&[Role::Authenticate])?;
    let (head, incoming) = request.into_parts();
    body::media_type(&head.headers, &[MEDIA_TYPE, "application/octet-stream"])?;
    if app.is_draining() {
        return Err(super::super::problem::draining());
    }
    body::read(app, &head.headers, incoming, limit).await
}

fn answer(status: StatusCode, bytes: Vec<u8>, location: Option<String>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Some(location) = location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        headers.insert(header::LOCATION, location);
    }
    response
}

/// Begin a handshake.
///
/// The body is a hello of the session protocol, the answer an offer: a certified ML-KEM-768 key for this handshake.
/// It goes on at the address in `Location`, within ten seconds.
#[utoipa::path(
    post, path = "/v1/sessions", tag = "session",
    request_body(content = Vec<u8>, content_type = "application/vnd.symbolon.session"),
    responses(
        (status = 201, description = "An offer", content_type = "application/vnd.symbolon.session", body = Vec<u8>),
        (status = 400, description = "E-REQUEST: no hello"),
        (status = 404, description = "E-NO-ROUTE: no registry of identities"),
        (status = 429, description = "E-BUSY, E-RATE: no key is ready, or too many handshakes are under way"),
    ),
    security(("key" = []))
)]
pub async fn greet(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let sessions = sessions(&app)?;
    let hello = message(&app, &caller, request, 1024).await?.bytes;
    let (id, offer) = sessions.greet(hello).await?;
    Ok(answer(StatusCode::CREATED, offer, Some(format!("/v1/handshakes/{}", hex(&id)))))
}

/// Go on with a handshake.
///
/// The body is a begin, or the proof that was asked for. The answer asks for the proof (200), or it is a welcome
/// (201) with the session's address in `Location`.
#[utoipa::path(
    post, path = "/v1/handshakes/{id}", tag = "session",
    params(("id" = String, Path, description = "32 hexadecimal digits")),
    request_body(content = Vec<u8>, content_type = "application/vnd.symbolon.session"),
    responses(
        (status = 200, description = "The proof is asked for", content_type = "application/vnd.symbolon.session", body = Vec<u8>),
        (status = 201, description = "A welcome", content_type = "application/vnd.symbolon.session", body = Vec<u8>),
        (status = 400, description = "E-REQUEST: malformed"),
        (status = 403, description = "E-SESSION: signature or identity are refused"),
        (status = 404, description = "E-UNKNOWN-ID: no such handshake, or it is over"),
        (status = 429, description = "E-BUSY: every place for a session is taken"),
    ),
    security(("key" = []))
)]
pub async fn go_on(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let sessions = sessions(&app)?;
    let malformed =
        || Problem::new(Kind::Request, "a handshake is called by 32 hexadecimal digits");
    let id = unhex(&id_in(id, Kind::Request)?).ok_or_else(malformed)?;
    let received = message(&app, &caller, request, MAX_MESSAGE).await?.bytes;
    let said = sessions.go_on(&id, received).await?;
    let location =
        said.session.map(|session| format!("/v1/sessions/{}", sessions.address(session)));
    let status = if location.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer(status, said.bytes, location))
}

/// Resume a session with its ticket.
///
/// What is verified is that the session still holds: not who has it. The ticket in the answer is the next one.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/resume", tag = "session",
    params(("id" = String, Path, description = "48 hexadecimal digits")),
    request_body(content = Vec<u8>, content_type = "application/vnd.symbolon.session"),
    responses(
        (status = 200, description = "Resumed", content_type = "application/vnd.symbolon.session", body = Vec<u8>),
        (status = 400, description = "E-REQUEST: malformed, or another session's"),
        (status = 404, description = "E-UNKNOWN-ID: no such session; E-NO-ROUTE: no registry of identities"),
        (status = 410, description = "E-TICKET: make a new session"),
    ),
    security(("key" = []))
)]
pub async fn resume(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let sessions = sessions(&app)?;
    let id = sessions.at(&id_in(id, Kind::Request)?)?;
    let received = message(&app, &caller, request, 1024).await?.bytes;
    Ok(answer(StatusCode::OK, sessions.resume(id, &received)?.to_vec(), None))
}

/// A channel while a record is answered. Closed where that does not come to its end, be it that whoever asked goes: the next
/// answer would be sealed under the number of the one that is missing, and pass for it.
struct Turn<'a> {
    channel: MutexGuard<'a, Channel>,
    answered: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.channel.close();
        }
    }
}

/// Have an attempt decided, inside a session.
///
/// The body is a record with what /v1/authentications takes, the answer one with what that answers, a problem
/// too: its status is in the record, as whoever is between the two is not to know. The receipt names the identity
/// proof that the session was admitted by. A record of the kind `close` ends the session.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/authentications", tag = "session",
    params(("id" = String, Path, description = "48 hexadecimal digits")),
    request_body(content = Vec<u8>, content_type = "application/vnd.symbolon.session"),
    responses(
        (status = 200, description = "An answer", content_type = "application/vnd.symbolon.session", body = Vec<u8>),
        (status = 400, description = "E-REQUEST: no session's id, no record, or none that a device sends: the session is over"),
        (status = 403, description = "E-SESSION: the record does not open; the session is over"),
        (status = 404, description = "E-UNKNOWN-ID: no such session, or it is over"),
        (status = 410, description = "E-TICKET: the session is over"),
        (status = 429, description = "E-BUSY: a record of this session is being answered"),
    ),
    security(("key" = []))
)]
pub async fn authenticate(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let sessions = sessions(&app)?;
    let id = sessions.at(&id_in(id, Kind::Request)?)?;
    let mut record = message(&app, &caller, request, SINGLE_BYTES + RECORD_OVERHEAD).await?;
    let live = sessions.find(id)?;
    let mut turn = Turn { channel: live.channel()?, answered: false };
    let opened = turn.channel.open(&mut record.bytes);
    let opened = opened.map(|(kind, text)| (kind, Zeroizing::new(text.to_vec())));
    let (kind, text) = opened.map_err(|refusal| {
        sessions.end(id);
        refused(refusal)
    })?;
    let (kind, said) = match kind {
        Record::Close => {
            sessions.end(id);
            (Record::Close, Vec::new())
        }
        Record::Probe => {
            let proof = live.session().map(|session| session.evidence);
            let submitted = authentications::submit(&app, &text, began, proof);
            drop((text, record));
            let said = match submitted {
                Ok((answer, until)) => {
                    in_time(Some(until), authentications::answered(answer)).await
                }
                Err(problem) => Err(problem),
            };
            let said = said.unwrap_or_else(Said::from);
            said.problem.into_iter().for_each(told);
            (Record::Answer, said.body.to_vec())
        }
        Record::Answer => {
            sessions.end(id);
            return Err(Problem::new(Kind::Request, "a device sends probes; the session is over"));
        }
    };
    let mut out = vec![0; said.len() + RECORD_OVERHEAD];
    turn.channel.seal(kind, &said, &mut out).map_err(refused)?;
    turn.answered = true;
    Ok(answer(StatusCode::OK, out, None))
}

/// End a session.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", tag = "session",
    params(("id" = String, Path, description = "48 hexadecimal digits")),
    responses(
        (status = 204, description = "Ended"),
        (status = 400, description = "E-REQUEST: no session's id"),
        (status = 404, description = "E-UNKNOWN-ID"),
    ),
    security(("key" = []))
)]
pub async fn end(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    caller.require(&[Role::Authenticate])?;
    let sessions = sessions(&app)?;
    if sessions.end(sessions.at(&id_in(id, Kind::Request)?)?) {
        return Ok(empty(StatusCode::NO_CONTENT).into_response());
    }
    Err(unknown())
}
