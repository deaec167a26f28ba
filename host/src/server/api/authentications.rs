//! `POST /v1/authentications`

use super::super::access::{Caller, Role};
use super::super::decide::{self, Asker, Verdict};
use super::super::idempotency::Said;
use super::super::{App, SINGLE_BYTES};
use super::items::{self, Attempt, check, locked, malformed};
use super::{Problem, Work, body, once};
use crate::batching::{Priority, Rejected};
use crate::error::Kind;
use crate::keyring::hex;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use symbolon_core::attest::Digest;
use tokio::sync::oneshot;
use utoipa::ToSchema;

/// A decision. It is in the receipt log, on the disk.
#[derive(Serialize, ToSchema)]
pub struct Decision {
    /// Whether the embedding is close enough to the template.
    pub accept: bool,
    /// Names the request: 32 hexadecimal digits.
    pub request: String,
    /// Names the batch it was decided in: 32 hexadecimal digits.
    pub batch: String,
    /// The batch's number in the log.
    pub batch_number: u64,
    /// Where the receipt will be in a moment.
    pub receipt: String,
    /// The cosine of embedding and template: in this build, which is one for a laboratory.
    #[cfg(feature = "lab")]
    pub score: Option<f64>,
}

impl From<Verdict> for Decision {
    fn from(verdict: Verdict) -> Self {
        let (request, number) = (hex(&verdict.request), verdict.number);
        Self {
            accept: verdict.accept,
            receipt: format!("/v1/receipts/{request}?batch={number}"),
            request,
            batch: hex(&verdict.batch),
            batch_number: number,
            #[cfg(feature = "lab")]
            score: verdict.score,
        }
    }
}

/// Have one attempt decided: is this the person it claims to be?
///
/// The answer comes when the decision is in the receipt log: one bit, and where its receipt will be.
#[utoipa::path(
    post, path = "/v1/authentications", tag = "authentication",
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeats get the same response")),
    request_body = Attempt,
    responses(
        (status = 200, description = "Decided: accepted or rejected", body = Decision),
        (status = 400, description = "E-PARSE: malformed JSON"),
        (status = 404, description = "E-UNKNOWN-ID"),
        (status = 409, description = "E-IDEMPOTENCY"),
        (status = 413, description = "E-TOO-LARGE"),
        (status = 422, description = "E-DIMENSION, E-NOT-FINITE, E-ZERO-VECTOR, E-ID"),
        (status = 429, description = "E-BUSY, E-RATE, E-LOCKED: try again after Retry-After"),
        (status = 503, description = "E-DRAINING"),
        (status = 504, description = "E-DEADLINE"),
    ),
    security(("key" = []))
)]
pub async fn authenticate(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let began = Instant::now();
    let (head, incoming) = request.into_parts();
    let received = async {
        caller.require(&[Role::Authenticate])?;
        body::media_type(&head.headers, &["application/json"])?;
        body::read(&app, &head.headers, incoming, SINGLE_BYTES).await
    };
    let body = match received.await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let to = Arc::clone(&app);
    let work = move |body: body::Bytes| {
        let (answer, until) = submit(&to, &body.bytes, began, None)?;
        Ok(Work { until: Some(until), answer: answered(answer) })
    };
    once(&app, &caller, &head, "/v1/authentications", body, work).await
}

/// A verdict on its way.
type Answer = oneshot::Receiver<crate::error::Result<Verdict>>;

/// Waits for it.
pub(super) async fn answered(answer: Answer) -> Result<Said, Problem> {
    let lost = |_| Problem::new(Kind::Internal, "the attempt was lost");
    let verdict = answer.await.map_err(lost)??;
    let json = serde_json::to_string(&Decision::from(verdict));
    let json = json.map_err(|e| Problem::new(Kind::Internal, e.to_string()))?;
    Ok(Said::json(StatusCode::OK, json))
}

/// Submits what a body asks for. Gives where the answer comes, and until when it is of use. `proof` is the digest of the
/// identity proof that it came with.
pub(super) fn submit(
    app: &Arc<App>,
    body: &[u8],
    began: Instant,
    proof: Option<Digest>,
) -> Result<(Answer, Instant), Problem> {
    let attempt: Attempt<'_> = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
    let nonce = attempt.nonce.map(|nonce| nonce.0);
    let mut checked = check(app, &attempt.id, &attempt.embedding.0, nonce)?;
    checked.request.proof = proof;
    let (ask, answer) = oneshot::channel();
    let under_way = decide::Attempt::begin(&checked.seat, &app.parts.attempts, Asker::One(ask))
        .map_err(locked)?;
    let deadline = items::deadline(app, began, attempt.deadline_ms);
    let priority = attempt.priority.map_or(Priority::Normal, Priority::from);
    let decider = &app.parts.decider;
    let taken = decider.submit(checked.request, under_way, priority, Some(deadline));
    taken.map_err(|(rejected, _)| {
        if let Rejected::Busy(_) = rejected {
            decider.counters().busy.fetch_add(1, Ordering::Relaxed);
        }
        rejected
    })?;
    Ok((answer, deadline))
}
