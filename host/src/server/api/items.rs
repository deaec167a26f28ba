//! One attempt as clients state it, checked.

use super::super::App;
use super::super::roster::Seat;
use super::Problem;
use crate::batch::Request;
use crate::batching::Priority;
use crate::error::Kind;
use crate::input::{MAX_DIMS, check_id};
use crate::keyring::unhex;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// The longest that an attempt may wait, whatever it asks for.
const MAX_DEADLINE: Duration = Duration::from_secs(60);

/// Values straight into memory that is wiped.
pub struct Embedding(pub Zeroizing<Vec<f64>>);

impl<'de> Deserialize<'de> for Embedding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl<'de> Visitor<'de> for Values {
            type Value = Embedding;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Embedding, A::Error> {
                // Of its full size, so that it never moves and leaves a copy behind.
                let mut out = Zeroizing::new(Vec::with_capacity(MAX_DIMS));
                while let Some(value) = values.next_element()? {
                    if out.len() == MAX_DIMS {
                        return Err(A::Error::custom("more than 512 values"));
                    }
                    out.push(value);
                }
                Ok(Embedding(out))
            }
        }
        deserializer.deserialize_seq(Values)
    }
}

/// 16 bytes as 32 hexadecimal digits.
#[derive(Clone, Copy)]
pub struct Nonce(pub [u8; 16]);

impl<'de> Deserialize<'de> for Nonce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = <Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = unhex(digits.as_bytes());
        bytes.map(Self).ok_or_else(|| D::Error::custom("a nonce is 32 hexadecimal digits"))
    }
}

/// Who rides first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rank {
    /// In the next batch.
    High,
    /// The usual one, but for items of batches.
    Normal,
    /// Where there is room.
    Bulk,
}

impl From<Rank> for Priority {
    fn from(rank: Rank) -> Self {
        match rank {
            Rank::High => Self::High,
            Rank::Normal => Self::Normal,
            Rank::Bulk => Self::Bulk,
        }
    }
}

/// An attempt to authenticate.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Attempt<'a> {
    /// Whom it claims to be: 1 to 256 bytes, no control characters.
    #[serde(borrow)]
    #[schema(value_type = String, example = "person-0000003")]
    pub id: Cow<'a, str>,
    /// The embedding, of any length but 0: as many numbers as the deployment has dimensions.
    #[schema(value_type = Vec<f64>)]
    pub embedding: Embedding,
    /// The relying party's challenge, which the receipt will have: 32 hexadecimal digits.
    #[schema(value_type = Option<String>)]
    pub nonce: Option<Nonce>,
    /// Who rides first.
    pub priority: Option<Rank>,
    /// Milliseconds after which an answer is of no use; at most 60,000.
    pub deadline_ms: Option<u32>,
}

/// Where JSON is wrong, and what was expected there: not what is there, which may be a value, and of any length.
pub fn malformed(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let expected = text.rfind(", expected ").and_then(|at| text.get(at + 2..)).unwrap_or(&text);
    let what: String = expected.chars().take(160).collect();
    Problem::new(Kind::Parse, format!("the JSON is not as it should be: {what}"))
}

/// An attempt that can be submitted.
pub struct Checked {
    pub seat: Arc<Seat>,
    pub request: Request,
}

/// Checks an attempt and quantises it.
///
/// Errors: `E-ID`, `E-DIMENSION`, `E-UNKNOWN-ID`, `E-NOT-FINITE`, `E-ZERO-VECTOR`.
pub fn check(
    app: &App,
    id: &str,
    embedding: &[f64],
    nonce: Option<[u8; 16]>,
) -> Result<Checked, Problem> {
    let parts = &app.parts;
    check_id(id).map_err(|what| Problem::new(Kind::Id, what))?;
    dimensions(app, embedding)?;
    let seat = parts.roster.find(id).ok_or_else(unknown)?;
    let mut probe = Zeroizing::new(vec![0; parts.layout.dims()]);
    parts.gateway.quantise(embedding, &mut probe)?;
    let claim = Arc::clone(&seat.entry);
    Ok(Checked { seat, request: Request { probe, claim, nonce, proof: None } })
}

/// Requires as many values as the deployment has dimensions.
///
/// Errors: `E-DIMENSION`.
pub fn dimensions(app: &App, embedding: &[f64]) -> Result<(), Problem> {
    let (dims, given) = (app.parts.dims, embedding.len());
    if given == dims {
        return Ok(());
    }
    Err(Problem::new(Kind::Dimension, format!("an embedding has {dims} values here, not {given}")))
}

pub fn unknown() -> Problem {
    Problem::new(Kind::UnknownId, "nobody is enrolled under this id")
}

/// The budget of failed attempts is empty.
pub fn locked(time: Duration) -> Problem {
    Problem::new(Kind::Locked, "too many attempts for this id have failed").after(time)
}

/// The time after which an answer is of no use.
pub fn deadline(app: &App, now: Instant, asked: Option<u32>) -> Instant {
    let time = asked.map_or(app.limits.deadline, |ms| Duration::from_millis(ms.into()));
    now + time.min(MAX_DEADLINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_without_what_is_there() {
        let told = |json: &str| match serde_json::from_str::<Attempt<'_>>(json) {
            Ok(_) => panic!("{json} is as it should be"),
            Err(error) => malformed(&error).detail,
        };
        let secret = format!("0.34, expected {}", "\u{7f}".repeat(100_000));
        for (json, what) in [
            (
                format!(r#"{{"id":"a","embedding":[0.1,"{secret}"]}}"#),
                "expected f64 at line 1 column",
            ),
            (format!(r#"{{"id":"a","embedding":"{secret}"}}"#), "expected an array of numbers at"),
            (format!(r#"{{"id":"a","embedding":[],"deadline_ms":"{secret}"}}"#), "expected u32 at"),
            (
                format!(r#"{{"id":"a","embedding":[],"priority":"{secret}"}}"#),
                "expected one of `high`",
            ),
            (format!(r#"{{"{secret}":1}}"#), "expected one of `id`, `embedding`, `nonce`"),
            (r#"{"id":"a"}"#.into(), "missing field `embedding` at line 1 column"),
            (
                r#"{"id":"a","embedding":[],"nonce":"00"}"#.into(),
                "a nonce is 32 hexadecimal digits",
            ),
            (r#"{"id":"a","#.into(), "EOF while parsing"),
        ] {
            let told = told(&json);
            assert!(told.contains(what) && told.len() < 256, "{told}");
            assert!(!told.contains("0.34") && !told.contains('\u{7f}'), "{told}");
        }
    }
}
