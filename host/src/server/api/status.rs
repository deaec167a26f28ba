//! `GET /v1/status`

use super::super::App;
use super::super::access::{Caller, Role};
use super::super::status::Status;
use super::{Problem, json};
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;

/// How the server is: every number in one document.
///
/// Rates and percentiles are of the last seconds; the other numbers are of now, or since the server began. Nothing in
/// it names a person or a key.
#[utoipa::path(
    get, path = "/v1/status", tag = "operation",
    responses((status = 200, description = "The numbers", body = Status)),
    security(("key" = []))
)]
pub async fn read(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    caller.require(&[Role::Authenticate, Role::Read])?;
    json(&Status::read(&app))
}
