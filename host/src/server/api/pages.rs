//! `/` and `/docs`: pages that need no other file and ask nobody but this server.

use super::Problem;
use crate::keyring::hex;
use crate::random::random;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};

/// What stands in a page for the nonce of its script and style.
const NONCE: &str = "{nonce}";

/// The dashboard.
pub async fn dashboard() -> Result<Response, Problem> {
    page(include_str!("dashboard.html"))
}

/// What `/openapi.json` says.
pub async fn viewer() -> Result<Response, Problem> {
    page(include_str!("viewer.html"))
}

/// A page whose own script and style are let run, and nothing else.
fn page(text: &str) -> Result<Response, Problem> {
    let nonce = hex(&random::<16>()?);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let text = text.replace(NONCE, &nonce);
    let fixed: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // With its nonce it is good for once.
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((fixed, [(header::CONTENT_SECURITY_POLICY, policy)], text).into_response())
}
