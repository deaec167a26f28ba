//! `GET /v1/receipts/{request}`

use super::super::App;
use super::super::access::{Caller, Role};
use super::Problem;
use crate::error::Kind;
use crate::keyring::parse_id;
use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// Where to look.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Where {
    /// The batch's number in the log, as the decision named it. Without it the newest 4,096 batches are looked
    /// through, which takes longer.
    batch: Option<u64>,
}

/// Fetch a receipt: the decision with its proof, for `symbolon verify`.
///
/// It is there when its window is signed: a tenth of a second after the decision, unless set otherwise.
#[utoipa::path(
    get, path = "/v1/receipts/{request}", tag = "receipts",
    params(("request" = String, Path, description = "32 hexadecimal digits"), Where),
    responses(
        (status = 200, description = "The receipt", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 202, description = "E-NOT-SIGNED: try again after Retry-After"),
        (status = 404, description = "E-UNKNOWN-REQUEST"),
    ),
    security(("key" = []))
)]
pub async fn fetch(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(request): Path<String>,
    place: Result<Query<Where>, QueryRejection>,
) -> Result<Response, Problem> {
    caller.require(&[Role::Authenticate, Role::Read])?;
    let malformed = || Problem::new(Kind::Request, "a request's id is 32 hexadecimal digits");
    let request = parse_id(&request).ok_or_else(malformed)?;
    let place = place.map_err(|_| Problem::new(Kind::Request, "the query is ?batch=NUMBER"))?;
    let failed = || Problem::new(Kind::Internal, "the receipt could not be looked up");
    let _permit = app.lookups.acquire().await.map_err(|_| failed())?;
    let log = app.parts.log.clone();
    let look = move || {
        let mut receipt = Vec::new();
        log.receipt(&request, place.batch, &mut receipt).map(|()| receipt)
    };
    let receipt = tokio::task::spawn_blocking(look).await.map_err(|_| failed())??;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], receipt).into_response())
}
