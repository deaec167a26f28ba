//! `/v1/receipts`

use super::super::App;
use super::super::access::{Caller, Role};
use super::super::newest::{Decided, KEPT};
use super::{Problem, id_in, json};
use crate::error::{Error, Kind};
use crate::keyring::{Keyring, hex, parse_id};
use axum::Extension;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use symbolon_core::attest::{Family, Receipt};
use symbolon_platform::clock;
use utoipa::{IntoParams, ToSchema};

/// Where to look.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Where {
    /// The batch's number in the log, as the decision named it. Without it the newest 4,096 batches are looked
    /// through, which takes longer.
    batch: Option<u64>,
}

/// How many.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct HowMany {
    /// At most so many, 1 to 64: 16, unless said otherwise.
    newest: Option<usize>,
}

/// The newest decisions.
#[derive(Serialize, ToSchema)]
pub struct Newest {
    /// The newest first.
    pub decisions: Vec<Shown>,
}

/// A decision that was made lately.
#[derive(Serialize, ToSchema)]
pub struct Shown {
    /// When its batch was attested, in milliseconds since 1970.
    pub time_ms: u64,
    /// The decision.
    #[serde(flatten)]
    pub decision: super::authentications::Decision,
}

impl From<Decided> for Shown {
    fn from(Decided { verdict, time_ms }: Decided) -> Self {
        Self { time_ms, decision: verdict.into() }
    }
}

/// What verifying a receipt gave.
#[derive(Serialize, ToSchema)]
pub struct Verification {
    /// Whether both paths and all signatures verify, and the key set may have signed then.
    pub valid: bool,
    /// Why not.
    pub reason: Option<String>,
    /// The key set that the receipt names: 32 hexadecimal digits.
    pub key_id: String,
    /// Its state: `active`, `retired`, and so on. Absent where it is none of the deployment's.
    #[schema(value_type = Option<String>)]
    pub key_state: Option<&'static str>,
    /// The algorithms of the signatures.
    #[schema(value_type = Vec<String>)]
    pub algorithms: [&'static str; 3],
    /// The request: 32 hexadecimal digits.
    pub request: String,
    /// What the receipt says of it.
    pub accept: bool,
    /// When it was signed, in milliseconds since 1970.
    pub signed_ms: u64,
}

impl Verification {
    /// As `symbolon verify` does it.
    fn of(receipt: &Receipt<'_>, ring: &Keyring) -> Self {
        let reason = ring.verify(receipt).err();
        let window = &receipt.window;
        Self {
            valid: reason.is_none(),
            reason,
            key_id: hex(&window.keys),
            key_state: ring.find(&window.keys).map(|entry| entry.state(clock::unix_ms())),
            algorithms: Family::ALL.map(Family::name),
            request: hex(&receipt.leaf.request),
            accept: receipt.leaf.accept,
            signed_ms: window.time_ms,
        }
    }
}

/// List the newest decisions.
///
/// Of those that were made since the server began, the newest 64 are there. None names a person.
#[utoipa::path(
    get, path = "/v1/receipts", tag = "receipts",
    params(HowMany),
    responses(
        (status = 200, description = "The decisions", body = Newest),
        (status = 400, description = "E-REQUEST: the query is malformed"),
    ),
    security(("key" = []))
)]
pub async fn newest(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    many: Result<Query<HowMany>, QueryRejection>,
) -> Result<Response, Problem> {
    // Who only authenticates is told of its own.
    caller.require(&[Role::Read])?;
    let many = many.ok().map_or(Some(0), |many| many.newest).unwrap_or(16);
    if !(1..=KEPT).contains(&many) {
        return Err(Problem::new(Kind::Request, "the query is ?newest=NUMBER, from 1 to 64"));
    }
    let decisions = app.parts.decider.newest().list(many);
    json(&Newest { decisions: decisions.into_iter().map(Shown::from).collect() })
}

/// Fetch a receipt: the decision with its proof, for `symbolon verify`.
///
/// It is there when its window is signed: a quarter of a second after the decision, unless set otherwise.
#[utoipa::path(
    get, path = "/v1/receipts/{request}", tag = "receipts",
    params(("request" = String, Path, description = "32 hexadecimal digits"), Where),
    responses(
        (status = 200, description = "The receipt", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 202, description = "E-NOT-SIGNED: try again after Retry-After"),
        (status = 400, description = "E-REQUEST: malformed"),
        (status = 404, description = "E-UNKNOWN-REQUEST"),
        (status = 429, description = "E-BUSY, E-RATE: try again after Retry-After"),
        (status = 503, description = "E-LOG-BUSY: the server ends, or its log goes on in another file just now"),
    ),
    security(("key" = []))
)]
pub async fn fetch(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Result<Path<String>, PathRejection>,
    place: Result<Query<Where>, QueryRejection>,
) -> Result<Response, Problem> {
    let receipt = look_up(&app, &caller, request, place, Ok).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], receipt).into_response())
}

/// Verify a receipt, by the deployment's public keys.
///
/// It is this server that verifies, and says so of itself: whoever does not rely on it fetches the receipt, and has
/// `symbolon verify` do the same with keys from somebody they trust.
#[utoipa::path(
    post, path = "/v1/receipts/{request}/verify", tag = "receipts",
    params(("request" = String, Path, description = "32 hexadecimal digits"), Where),
    responses(
        (status = 200, description = "Whether it verifies, and by what", body = Verification),
        (status = 202, description = "E-NOT-SIGNED: try again after Retry-After"),
        (status = 400, description = "E-REQUEST: malformed"),
        (status = 404, description = "E-UNKNOWN-REQUEST"),
        (status = 429, description = "E-BUSY, E-RATE: try again after Retry-After"),
        (status = 503, description = "E-LOG-BUSY: the server ends, or its log goes on in another file just now"),
    ),
    security(("key" = []))
)]
pub async fn verify(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Result<Path<String>, PathRejection>,
    place: Result<Query<Where>, QueryRejection>,
) -> Result<Response, Problem> {
    let dir = app.parts.dir.clone();
    let check = move |bytes: Vec<u8>| {
        // Read again each time: sets are added and revoked while a server runs.
        let ring = Keyring::load(&dir, None)?;
        let (receipt, _) =
            Receipt::decode(&bytes).map_err(|e| Error::new(Kind::ReceiptFormat, e.to_string()))?;
        Ok(Verification::of(&receipt, &ring))
    };
    json(&look_up(&app, &caller, request, place, check).await?)
}

/// Fetches a receipt and does something with it, on a thread that may wait.
async fn look_up<T: Send + 'static>(
    app: &App,
    caller: &Caller,
    request: Result<Path<String>, PathRejection>,
    place: Result<Query<Where>, QueryRejection>,
    then: impl FnOnce(Vec<u8>) -> crate::error::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    caller.require(&[Role::Authenticate, Role::Read])?;
    let malformed = || Problem::new(Kind::Request, "a request's id is 32 hexadecimal digits");
    let request = parse_id(&id_in(request, Kind::Request)?).ok_or_else(malformed)?;
    let place = place.map_err(|_| Problem::new(Kind::Request, "the query is ?batch=NUMBER"))?;
    let log = app.parts.log.clone();
    let look = move || {
        let mut receipt = Vec::new();
        log.receipt(&request, place.batch, &mut receipt).and_then(|()| then(receipt))
    };
    app.lookups.run(look).await
}
