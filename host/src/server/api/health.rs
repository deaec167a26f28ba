//! `/livez`, `/readyz`, `/metrics`

use super::super::access::{Caller, Role};
use super::super::{App, metrics as numbers};
use super::Problem;
use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Whether the process is alive, and need not be started anew.
#[utoipa::path(
    get, path = "/livez", tag = "operation",
    responses(
        (status = 200, description = "It is"),
        (status = 503, description = "Something failed for good: it ends"),
    )
)]
pub async fn live(State(app): State<Arc<App>>) -> Response {
    match app.failure() {
        None => "alive\n".into_response(),
        Some((what, _)) => unavailable(&format!("failed: {what}\n")),
    }
}

/// Whether it can serve.
#[utoipa::path(
    get, path = "/readyz", tag = "operation",
    responses(
        (status = 200, description = "It can"),
        (status = 503, description = "It is being stopped, or something failed for good"),
    )
)]
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.unready() {
        None => "ready\n".into_response(),
        Some(why) => unavailable(&format!("not ready: {why}\n")),
    }
}

fn unavailable(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, why.to_owned()).into_response()
}

/// Numbers for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "In its text format", content_type = "text/plain")),
    security(("key" = []))
)]
pub async fn metrics(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    caller.require(&[Role::Read])?;
    Ok(([(header::CONTENT_TYPE, numbers::MEDIA_TYPE)], numbers::page(&app)).into_response())
}
