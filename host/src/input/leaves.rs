//! Who is to be enrolled with which leaf: one JSON object a line, `{"id": "...", "leaf": "64 hex digits"}`.
//! Other members are ignored.

use super::{check_id, lines, open, read_all};
use crate::error::{Error, Kind, Result};
use crate::identity::hash::Node;
use crate::identity::tree::node;
use serde::Deserialize;
use std::path::Path;

#[derive(Deserialize)]
struct Line {
    id: String,
    leaf: String,
}

/// Reads a file of leaves. Errors: `E-IO`; `E-PARSE`, `E-ID`, `E-LEAF` with row and line.
pub fn load_leaves(path: &Path) -> Result<Vec<(String, Node)>> {
    let (mut file, len) = open(path)?;
    parse_leaves(&path.to_string_lossy(), &read_all(path, &mut file, len)?)
}

/// Parses the bytes of a file of leaves; `name` stands for it in errors. Errors: `E-PARSE`, `E-ID`, `E-LEAF`.
pub fn parse_leaves(name: &str, text: &[u8]) -> Result<Vec<(String, Node)>> {
    let mut people = Vec::new();
    for (number, line) in lines(text) {
        let error = |kind, what: &str| {
            Error::new(kind, what).in_file(name).at_row(number - 1).at_line(number)
        };
        let Line { id, leaf } = serde_json::from_slice(line).map_err(|e| {
            let what = format!(r#"not {{"id": "...", "leaf": "..."}} (at byte {})"#, e.column());
            error(Kind::Parse, &what)
        })?;
        check_id(&id).map_err(|what| error(Kind::Id, what).in_field("id"))?;
        people.push((id, leaf_of(&leaf).map_err(|what| error(Kind::Leaf, what).in_field("leaf"))?));
    }
    Ok(people)
}

/// A leaf from 64 hexadecimal digits, or what is wrong with them.
pub fn leaf_of(digits: &str) -> std::result::Result<Node, &'static str> {
    match node(digits) {
        None => Err("a leaf is 64 hexadecimal digits, 8 field elements"),
        Some(Node::ZERO) => Err("zeros stand for an empty place"),
        Some(leaf) => Ok(leaf),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_read_by_line() {
        let leaf = format!("01{}", "00".repeat(31));
        let good = format!(
            "{{\"id\":\"a\",\"leaf\":\"{leaf}\"}}\r\n{{\"leaf\":\"{leaf}\",\"id\":\"b\",\"x\":1}}"
        );
        let people = parse_leaves("f", good.as_bytes()).unwrap();
        assert_eq!(people.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(people.iter().all(|(_, found)| Some(*found) == node(&leaf)));
        assert!(parse_leaves("f", b"").unwrap().is_empty());
        for (bad, kind) in [
            ("{}".to_owned(), Kind::Parse),
            (String::new(), Kind::Parse),
            (format!("{{\"id\":\"\",\"leaf\":\"{leaf}\"}}"), Kind::Id),
            (format!("{{\"id\":\"c\",\"leaf\":\"{}\"}}", &leaf[1..]), Kind::Leaf),
            (format!("{{\"id\":\"c\",\"leaf\":\"{}\"}}", "f".repeat(64)), Kind::Leaf),
            (format!("{{\"id\":\"c\",\"leaf\":\"{}\"}}", "0".repeat(64)), Kind::Leaf),
        ] {
            let error = parse_leaves("f", format!("{good}\n{bad}\n").as_bytes()).unwrap_err();
            assert_eq!(
                (error.kind(), error.row(), error.line()),
                (kind, Some(2), Some(3)),
                "{bad}"
            );
        }
    }
}
