//! In place of `traces` in builds without the feature `otlp`: spans are sent nowhere.

use crate::error::{Error, Kind, Result};
use axum::extract::Request;
use axum::http::HeaderValue;
use std::time::Duration;

const WITHOUT: &str = "this symbolon was built without --features otlp";

/// What is wrong with sending spans anywhere.
pub fn check(_: &str) -> std::result::Result<(), String> {
    Err(WITHOUT.into())
}

/// There are none.
pub enum Traces {}

impl Traces {
    /// Errors: `E-CONFIG`.
    pub fn start(_: &str, _: f64, _: &'static str) -> Result<Self> {
        Err(Error::new(Kind::Config, format!("otlp.endpoint: {WITHOUT}")))
    }

    /// No request's span.
    pub fn begin(&self, _: &Request, _: Option<&str>, _: Option<&HeaderValue>) -> Option<Span> {
        match *self {}
    }
}

/// There are none.
pub enum Span {}

impl Span {
    /// Of no request.
    pub fn answered(self, _: u16, _: Duration) {
        match self {}
    }
}
