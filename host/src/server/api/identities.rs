//! `/v1/identities`, `/v1/epochs`: who can prove to be enrolled.

use super::super::access::{Caller, Role};
use super::super::errands::Errands;
use super::super::sessions::Sessions;
use super::super::{App, SINGLE_BYTES};
use super::items::malformed;
use super::sessions::sessions;
use super::{Problem, body, empty, id_in};
use crate::error::{Kind, Result as Outcome};
use crate::identity::tree;
use crate::input::check_id;
use crate::keyring::hex;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use utoipa::ToSchema;

/// A credential's leaf.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// 64 hexadecimal digits, as `symbolon prove leaf` prints them.
    pub leaf: String,
}

/// Works on the registry, beside the threads of the sockets.
pub(super) async fn blocking<T: Send + 'static>(
    errands: &Errands,
    sessions: &Arc<Sessions>,
    work: impl FnOnce(&Sessions) -> Outcome<T> + Send + 'static,
) -> Result<T, Problem> {
    let sessions = Arc::clone(sessions);
    errands.run(move || work(&sessions)).await
}

fn id_of(id: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let id = id_in(id, Kind::Id)?;
    check_id(&id).map_err(|what| Problem::new(Kind::Id, what))?;
    Ok(id)
}

/// Enrol a credential's leaf under an id.
///
/// It counts from the next publication on: by itself after a while, at once by POST /v1/epochs. Have the holder prove that he
/// knows the leaf's secret over a channel that tells who he is. A leaf is enrolled once, for ever.
#[utoipa::path(
    put, path = "/v1/identities/{id}", tag = "identity",
    params(("id" = String, Path, description = "Who, percent-encoded")),
    request_body = Leaf,
    responses(
        (status = 202, description = "Enrolled, from the next epoch on"),
        (status = 400, description = "E-PARSE: malformed JSON"),
        (status = 404, description = "E-NO-ROUTE: no registry of identities"),
        (status = 409, description = "E-DUPLICATE-ID, E-DUPLICATE-LEAF"),
        (status = 422, description = "E-ID, E-LEAF"),
        (status = 429, description = "E-BUSY, E-RATE: try again after Retry-After"),
    ),
    security(("key" = []))
)]
pub async fn enrol(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    caller.require(&[Role::Enrol])?;
    let sessions = sessions(&app)?;
    let id = id_of(id)?;
    let (head, incoming) = request.into_parts();
    body::media_type(&head.headers, &["application/json"])?;
    let body = body::read(&app, &head.headers, incoming, SINGLE_BYTES).await?.bytes;
    let Leaf { leaf } = serde_json::from_slice(&body).map_err(|e| malformed(&e))?;
    let leaf = tree::node(&leaf)
        .ok_or_else(|| Problem::new(Kind::Leaf, "a leaf is a node of 64 hexadecimal digits"))?;
    blocking(&app.changes, sessions, move |sessions| sessions.registry().enrol(&[(id, leaf)]))
        .await?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// Revoke an identity, at once.
///
/// A proof does not say whose it is: every session ends, and every device proves anew.
#[utoipa::path(
    delete, path = "/v1/identities/{id}", tag = "identity",
    params(("id" = String, Path, description = "Who, percent-encoded")),
    responses(
        (status = 204, description = "Revoked, and published"),
        (status = 404, description = "E-UNKNOWN-ID; E-NO-ROUTE: no registry of identities"),
        (status = 422, description = "E-ID"),
        (status = 429, description = "E-BUSY, E-RATE: try again after Retry-After"),
    ),
    security(("key" = []))
)]
pub async fn revoke(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    caller.require(&[Role::Enrol])?;
    let sessions = sessions(&app)?;
    let id = id_of(id)?;
    let unknown = super::items::unknown();
    if blocking(&app.changes, sessions, move |sessions| sessions.revoke(&id)).await? {
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    Err(unknown)
}

/// Fetch the path from an identity's leaf to the current root: what its holder proves with.
#[utoipa::path(
    get, path = "/v1/identities/{id}/path", tag = "identity",
    params(("id" = String, Path, description = "Who, percent-encoded")),
    responses(
        (status = 200, description = "As `symbolon prove make --path` reads it", content_type = "application/json"),
        (status = 404, description = "E-UNKNOWN-ID; E-NO-ROUTE: no registry of identities"),
        (status = 409, description = "E-UNPUBLISHED: from the next epoch on"),
        (status = 422, description = "E-ID"),
        (status = 429, description = "E-BUSY, E-RATE: try again after Retry-After"),
    ),
    security(("key" = []))
)]
pub async fn path(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    caller.require(&[Role::Enrol, Role::Authenticate])?;
    let sessions = sessions(&app)?;
    let id = id_of(id)?;
    let path =
        blocking(&app.lookups, sessions, move |sessions| sessions.registry().path(&id)).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], path.to_json()).into_response())
}

/// Publish the identities as they are now as the next epoch.
///
/// Every session ends, and with it every verdict: each device is asked for its proof again, 39 KB, of which two at a time
/// are verified anew. If somebody was revoked no older proof holds, and each device makes a new one.
#[utoipa::path(
    post, path = "/v1/epochs", tag = "identity",
    responses(
        (status = 201, description = "Published", content_type = "application/json"),
        (status = 404, description = "E-NO-ROUTE: no registry of identities"),
        (status = 429, description = "E-BUSY, E-RATE: try again after Retry-After"),
    ),
    security(("key" = []))
)]
pub async fn publish(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    caller.require(&[Role::Enrol])?;
    let published = blocking(&app.changes, sessions(&app)?, Sessions::publish).await?;
    let body = json!({
        "epoch": published.epoch.number, "root": hex(&published.epoch.root.encode()),
        "enrolled": published.enrolled, "revoked": published.revoked,
    });
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok((StatusCode::CREATED, headers, body.to_string()).into_response())
}
