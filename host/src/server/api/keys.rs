//! `GET /v1/keys`

use super::super::App;
use super::super::access::{Caller, Role};
use super::Problem;
use crate::keyring::{Entry, Keyring, hex};
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;
use symbolon_platform::clock;

/// Fetch the public key sets that receipts verify under.
///
/// As JSON; or, with `Accept: application/octet-stream`, as the file verify.key that `symbolon verify` reads. Whoever
/// relies on receipts has them from somebody they trust, and compares the ids.
#[utoipa::path(
    get, path = "/v1/keys", tag = "receipts",
    responses(
        (status = 200, description = "The key sets, oldest first"),
        (status = 429, description = "E-BUSY, E-RATE: try again after Retry-After"),
    ),
    security(("key" = []))
)]
pub async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.require(&[Role::Authenticate, Role::Read])?;
    let dir = app.parts.dir.clone();
    // Read again each time: sets are added and revoked while a server runs.
    let ring = app.lookups.run(move || Keyring::load(&dir, None)).await?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("application/octet-stream")) {
        let raw: Vec<u8> = ring.entries().iter().flat_map(Entry::encoded).copied().collect();
        return Ok(([(header::CONTENT_TYPE, "application/octet-stream")], raw).into_response());
    }
    let now = clock::unix_ms();
    let sets: Vec<_> = ring
        .entries()
        .iter()
        .map(|entry| {
            let validity = &entry.keys.validity;
            json!({
                "id": hex(&entry.keys.id), "state": entry.state(now),
                "not_before_ms": validity.not_before_ms, "not_after_ms": validity.not_after_ms,
                "encoded": hex(entry.encoded()),
            })
        })
        .collect();
    let deployment = ring.entries().first().map(|entry| hex(&entry.deployment.id));
    let body = json!({ "deployment": deployment, "sets": sets }).to_string();
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
