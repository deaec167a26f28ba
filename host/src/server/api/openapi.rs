//! `/openapi.json`, made from the handlers.

use super::super::problem::MEDIA_TYPE;
use super::super::status::Status;
use super::{
    authentications, batch, enrolments, health, identities, items, keys, receipts, sessions, status,
};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::LazyLock;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Symbolon",
        description = "Biometric matching under encryption. Every error is application/problem+json (RFC 9457) with \
                       a stable `code`; every response has x-request-id."
    ),
    paths(
        authentications::authenticate, batch::authenticate, enrolments::enrol, enrolments::remove,
        sessions::greet, sessions::go_on, sessions::resume, sessions::authenticate, sessions::end,
        identities::enrol, identities::revoke, identities::path, identities::publish,
        receipts::newest, receipts::fetch, receipts::verify, keys::list, status::read,
        health::live, health::ready, health::metrics,
    ),
    components(schemas(
        items::Attempt, items::Rank, authentications::Decision, enrolments::Enrolment, batch::Line,
        identities::Leaf, receipts::Newest, receipts::Verification, Status
    )),
    modifiers(&Keys, &Problems),
)]
struct Document;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("key", scheme);
    }
}

/// What any request may be answered beside what its operation lists: too large, too slow, without a key, and so on.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let content = ContentBuilder::new().build();
        let problem = ResponseBuilder::new()
            .description("What went wrong, with its code")
            .content(MEDIA_TYPE, content)
            .build();
        for path in document.paths.paths.values_mut() {
            let operations = [&mut path.get, &mut path.put, &mut path.post, &mut path.delete];
            for operation in operations.into_iter().flatten() {
                let responses = &mut operation.responses.responses;
                responses.insert("default".into(), problem.clone().into());
            }
        }
    }
}

static JSON: LazyLock<String> =
    LazyLock::new(|| Document::openapi().to_json().unwrap_or_else(|error| error.to_string()));

pub async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], JSON.as_str()).into_response()
}
