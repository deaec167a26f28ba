//! `/livez`, `/readyz`, `/metrics`

use super::super::access::{Caller, Role};
use super::super::{App, metrics as numbers};
use super::Problem;
use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Whether the process is alive.
#[utoipa::path(get, path = "/livez", tag = "operation", responses((status = 200, description = "It is")))]
pub async fn live() -> &'static str {
    "alive\n"
}

/// Whether it can serve.
#[utoipa::path(
    get, path = "/readyz", tag = "operation",
    responses(
        (status = 200, description = "It can"),
        (status = 503, description = "It is being stopped, or the log has failed"),
    )
)]
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.unready() {
        None => "ready\n".into_response(),
        Some(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response()
        }
    }
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
