//! Numbers separated by commas.
//!
//! A general CSV reader is not needed: fields are numbers, so a quoted field holds no comma and no
//! line end. Working on the file's own bytes leaves no copy to wipe.

use zeroize::Zeroizing;

use super::{Embeddings, MAX_DIMS, Rows, lines};
use crate::error::{Kind, Result};

pub(super) fn parse(name: &str, text: &[u8]) -> Result<Embeddings> {
    let mut rows = Rows::new(name);
    let mut row = Zeroizing::new(Vec::with_capacity(MAX_DIMS));
    for (number, line) in lines(text) {
        if line.trim_ascii().is_empty() {
            return Err(rows.error(Kind::Parse, number, "the line is empty"));
        }
        if number == 1 && is_header(line) {
            continue;
        }
        row.clear();
        let mut count = 0;
        for field in fields(line) {
            let Some(value) = number_in(field) else {
                let error = rows.error(Kind::Parse, number, "not a number");
                return Err(error.in_field(format!("column {count}")));
            };
            if count < MAX_DIMS {
                row.push(value);
            }
            count += 1;
        }
        rows.push(&row, count, number, text)?;
    }
    rows.finish(None)
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&b| b == b',')
}

fn number_in(field: &[u8]) -> Option<f64> {
    let field = field.trim_ascii();
    let unquoted = field.strip_prefix(b"\"").and_then(|f| f.strip_suffix(b"\""));
    std::str::from_utf8(unquoted.unwrap_or(field)).ok()?.parse().ok()
}

/// No field is a number, or there are eight or more and they are 0, 1, 2, ... A line of numbers and
/// words is no header: a damaged first row must not be passed over in silence.
fn is_header(line: &[u8]) -> bool {
    let counts = fields(line).enumerate().all(|(i, field)| number_in(field) == Some(i as f64));
    (counts && fields(line).nth(7).is_some()) || fields(line).all(|f| number_in(f).is_none())
}
