//! `POST /v1/enrolments`, `DELETE /v1/enrolments/{id}`

use super::super::access::{Caller, Role};
use super::super::idempotency::Said;
use super::super::roster::Done;
use super::super::{App, SINGLE_BYTES};
use super::items::{Embedding, dimensions, malformed};
use super::{Problem, Work, body, empty, id_in, identities, once};
use crate::error::Kind;
use crate::gallery;
use crate::input::check_id;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use utoipa::ToSchema;

/// Somebody to enrol.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// 1 to 256 bytes, no control characters.
    #[schema(example = "anna")]
    pub id: String,
    /// As many numbers as the deployment has dimensions.
    #[schema(value_type = Vec<f64>)]
    pub embedding: Embedding,
}

/// Enrol somebody.
///
/// The answer comes when the disk has the sealed template; attempts are decided from then on.
#[utoipa::path(
    post, path = "/v1/enrolments", tag = "enrolment",
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeats get the same response")),
    request_body = Enrolment,
    responses(
        (status = 201, description = "Enrolled"),
        (status = 400, description = "E-PARSE: malformed JSON"),
        (status = 409, description = "E-DUPLICATE-ID, E-IDEMPOTENCY"),
        (status = 413, description = "E-TOO-LARGE"),
        (status = 422, description = "E-DIMENSION, E-NOT-FINITE, E-ZERO-VECTOR, E-ID"),
        (status = 429, description = "E-BUSY, E-RATE: try again after Retry-After"),
        (status = 503, description = "E-DRAINING"),
    ),
    security(("key" = []))
)]
pub async fn enrol(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let (head, incoming) = request.into_parts();
    let received = async {
        caller.require(&[Role::Enrol])?;
        body::media_type(&head.headers, &["application/json"])?;
        body::read(&app, &head.headers, incoming, SINGLE_BYTES).await
    };
    let body = match received.await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let to = Arc::clone(&app);
    let work = move |body: body::Bytes| {
        let (id, done) = order(&to, &body.bytes)?;
        let answer = async move {
            finished(done).await?;
            Ok(Said::json(StatusCode::CREATED, json!({ "id": id }).to_string()))
        };
        Ok(Work { until: None, answer })
    };
    once(&app, &caller, &head, "/v1/enrolments", body, work).await
}

/// Has a body's person enrolled.
fn order(app: &App, body: &[u8]) -> Result<(String, Done), Problem> {
    let person: Enrolment = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
    check_id(&person.id).map_err(|what| Problem::new(Kind::Id, what))?;
    dimensions(app, &person.embedding.0)?;
    let record = gallery::record(app.parts.layout, &person.embedding.0)?;
    Ok((person.id.clone(), app.parts.registrar.enrol(person.id, record)?))
}

async fn finished(done: Done) -> Result<(), Problem> {
    let lost = |_| Problem::new(Kind::Internal, "the change was lost");
    Ok(done.await.map_err(lost)??)
}

/// Remove somebody.
///
/// The answer comes when the store has forgotten the template; attempts find nobody from then on. Those under way
/// are still decided. An identity of that id is revoked first: see DELETE /v1/identities/{id}.
#[utoipa::path(
    delete, path = "/v1/enrolments/{id}", tag = "enrolment",
    params(("id" = String, Path, description = "Who, percent-encoded")),
    responses(
        (status = 204, description = "Removed"),
        (status = 404, description = "E-UNKNOWN-ID"),
        (status = 422, description = "E-ID"),
        (status = 429, description = "E-BUSY, E-RATE: try again after Retry-After"),
        (status = 503, description = "E-DRAINING"),
    ),
    security(("key" = []))
)]
pub async fn remove(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    caller.require(&[Role::Enrol])?;
    let id = id_in(id, Kind::Id)?;
    let mut revoked = false;
    if let Some(sessions) = &app.parts.sessions {
        let id = id.clone();
        revoked =
            identities::blocking(&app.changes, sessions, move |sessions| sessions.revoke(&id))
                .await?;
    }
    match finished(app.parts.registrar.remove(id)?).await {
        // There was an identity, if no template.
        Err(problem) if revoked && problem.kind == Kind::UnknownId => {}
        other => other?,
    }
    Ok(empty(StatusCode::NO_CONTENT))
}
