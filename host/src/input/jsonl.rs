//! One JSON value a line: an array of numbers, or an object with an `embedding` and perhaps an `id`.
//! Other members of the object are ignored.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::{Embeddings, MAX_DIMS, Rows, check_id, lines};
use crate::error::{Kind, Result};

pub(super) fn parse(name: &str, text: &[u8]) -> Result<Embeddings> {
    let mut rows = Rows::new(name);
    let mut row = Zeroizing::new(Vec::with_capacity(MAX_DIMS));
    let mut ids: Vec<String> = Vec::new();
    for (number, line) in lines(text) {
        if line.trim_ascii().is_empty() {
            return Err(rows.error(Kind::Parse, number, "the line is empty"));
        }
        row.clear();
        let mut json = serde_json::Deserializer::from_slice(line);
        let parsed = json.deserialize_any(Line { row: &mut row });
        let (count, id) = parsed.and_then(|line| json.end().map(|()| line)).map_err(|e| {
            // The parser's own message may repeat a value.
            let what = match e.is_data() {
                true => r#"not an array of numbers or {"embedding": [...], "id": "..."}"#,
                false => "not valid JSON",
            };
            rows.error(Kind::Parse, number, &format!("{what} (at byte {})", e.column()))
        })?;
        if let Some(id) = &id {
            check_id(id).map_err(|what| rows.error(Kind::Id, number, what).in_field("id"))?;
        }
        if rows.rows > 0 && id.is_some() == ids.is_empty() {
            let message = "some lines have an id and some have none";
            return Err(rows.error(Kind::Parse, number, message).in_field("id"));
        }
        rows.push(&row, count, number, text)?;
        ids.extend(id);
    }
    rows.finish(Some(ids).filter(|ids| !ids.is_empty()))
}

/// A line: its values go to `row`, the first [`MAX_DIMS`] of them; it yields their number and the id.
struct Line<'a> {
    row: &'a mut Vec<f64>,
}

impl<'de> Visitor<'de> for Line<'_> {
    type Value = (usize, Option<String>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of numbers or an object with an embedding")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> std::result::Result<Self::Value, A::Error> {
        Ok((Values { row: self.row }.visit_seq(seq)?, None))
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let (mut count, mut id) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "embedding" if count.is_none() => {
                    count = Some(map.next_value_seed(Values { row: &mut *self.row })?);
                }
                "id" if id.is_none() => id = Some(map.next_value::<String>()?),
                "embedding" | "id" => return Err(A::Error::custom("given twice")),
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok((count.ok_or_else(|| A::Error::missing_field("embedding"))?, id))
    }
}

/// An array of numbers; yields its length.
struct Values<'a> {
    row: &'a mut Vec<f64>,
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<usize, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<usize, A::Error> {
        let mut count: usize = 0;
        while let Some(value) = seq.next_element()? {
            if count < MAX_DIMS {
                self.row.push(value);
            }
            count = count.saturating_add(1);
        }
        Ok(count)
    }
}
