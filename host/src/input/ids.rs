//! Ids: who a row belongs to.

use std::path::Path;

use super::{lines, open, read_all};
use crate::error::{Error, Kind, Result};

/// The longest id, in bytes.
pub const MAX_ID_BYTES: usize = 256;

/// Says what is wrong with an id: it must have 1 to [`MAX_ID_BYTES`] bytes and no control character.
pub fn check_id(id: &str) -> std::result::Result<(), &'static str> {
    if id.is_empty() {
        return Err("the id is empty");
    }
    if id.len() > MAX_ID_BYTES {
        return Err("the id is longer than 256 bytes");
    }
    if id.chars().any(char::is_control) {
        return Err("the id holds a control character");
    }
    Ok(())
}

/// Reads a file of ids, one a line, UTF-8. Errors: `E-IO`, `E-ID` with row and line.
pub fn load_ids(path: &Path) -> Result<Vec<String>> {
    let (mut file, len) = open(path)?;
    parse_ids(&path.to_string_lossy(), &read_all(path, &mut file, len)?)
}

/// Parses the bytes of a file of ids; `name` stands for it in errors. Errors: `E-ID`.
pub fn parse_ids(name: &str, text: &[u8]) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for (number, line) in lines(text) {
        let id = std::str::from_utf8(line).map_err(|_| "the id is not UTF-8");
        let id = id.and_then(|id| check_id(id).map(|()| id)).map_err(|what| {
            Error::new(Kind::Id, what).in_file(name).at_row(number - 1).at_line(number)
        })?;
        ids.push(id.to_owned());
    }
    Ok(ids)
}
