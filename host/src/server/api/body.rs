//! Bodies of requests: bounded, in time, and wiped.

use super::super::{App, Share};
use super::Problem;
use crate::error::Kind;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// A body, and its part of what all may take.
pub struct Bytes {
    /// The bytes.
    pub bytes: Zeroizing<Vec<u8>>,
    _share: Share,
}

/// Reads a body of at most `limit` bytes.
///
/// Errors: `E-TOO-LARGE`, `E-BUSY`, `E-SLOW`, `E-REQUEST`.
pub async fn read(
    app: &App,
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(Kind::TooLarge, format!("a body has at most {limit} bytes here"));
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    // Without a length it may be as large as any.
    let size = length.and_then(|length| length.parse::<usize>().ok()).unwrap_or(limit);
    if size > limit {
        return Err(too_large());
    }
    let share = app.bodies.take(size).ok_or_else(full)?;
    // Of its full size, so that it never moves and leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    let read = async {
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|_| Problem::new(Kind::Request, "the body does not come through"))?;
            if let Ok(data) = frame.into_data() {
                if bytes.len() + data.len() > size {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&data);
            }
        }
        Ok(())
    };
    let slow = || Problem::new(Kind::Slow, "the body did not come in time");
    timeout(app.limits.body_time, read).await.map_err(|_| slow())??;
    Ok(Bytes { bytes, _share: share })
}

/// There is no room for what a request brings.
pub fn full() -> Problem {
    let what = "the bodies of other requests fill the memory for them";
    Problem::new(Kind::Busy, what).after(Duration::from_secs(1))
}

/// Requires one of these media types; nothing said is the first. Gives which.
///
/// Errors: `E-MEDIA-TYPE`.
pub fn media_type(headers: &HeaderMap, known: &[&'static str]) -> Result<usize, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(0) };
    let value = value.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    known
        .iter()
        .position(|known| essence.eq_ignore_ascii_case(known))
        .ok_or_else(|| Problem::new(Kind::MediaType, format!("this takes {}", known.join(" or "))))
}
