//! Which captures of each person to use, and which row of the file is whose.

use std::collections::HashMap;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

/// The largest number of items in a selection.
const MAX_ITEMS: usize = 64;

/// A selection of captures. Capture `k` of an id is the id's `k`-th row in the file, from 0.
///
/// Written as a list of numbers and ranges: `0`, `1..3` (both ends included: captures 1, 2 and 3),
/// `2..` (2 and all that follow), `0,2`. A number or a closed range demands that *every* id has
/// these captures; an open range takes what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captures {
    items: Vec<(u32, Option<u32>)>,
}

impl Captures {
    /// Whether capture `k` is selected.
    pub fn contains(&self, k: u32) -> bool {
        self.items.iter().any(|&(first, last)| first <= k && last.is_none_or(|last| k <= last))
    }

    /// The highest capture that every id must have, if the selection demands any.
    fn required(&self) -> Option<u32> {
        self.items.iter().filter_map(|&(_, last)| last).max()
    }
}

impl FromStr for Captures {
    type Err = Error;

    /// Errors: `E-ARGUMENT`.
    fn from_str(text: &str) -> Result<Self> {
        let error = |what: &str| {
            let message = format!("{what}: write captures as 0, 1..3 (1, 2 and 3), 1.. or 0,2");
            Error::new(Kind::Argument, message).in_field("captures")
        };
        let number = |text: &str| -> Result<u32> {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            let number = text.parse().ok().filter(|_| digits);
            number.ok_or_else(|| error("not the number of a capture"))
        };
        let mut items = Vec::new();
        for item in text.split(',') {
            if items.len() == MAX_ITEMS {
                return Err(error("more than 64 items"));
            }
            let item = match item.trim().split_once("..") {
                None => number(item.trim()).map(|k| (k, Some(k)))?,
                Some((first, "")) => (number(first)?, None),
                Some((first, last)) => {
                    let (first, last) = (number(first)?, number(last)?);
                    if first > last {
                        return Err(error("a range ends before it starts"));
                    }
                    (first, Some(last))
                }
            };
            items.push(item);
        }
        Ok(Self { items })
    }
}

/// The rows of the selected captures and whose they are, in file order.
///
/// Errors: `E-CAPTURE` if an id lacks a capture that the selection demands, or nothing is selected.
pub fn select<'a>(ids: &'a [String], captures: &Captures) -> Result<Vec<(usize, &'a str)>> {
    let mut seen: HashMap<&str, (u32, usize)> = HashMap::new();
    let mut selected = Vec::new();
    for (row, id) in ids.iter().enumerate() {
        let (count, last_row) = seen.entry(id).or_default();
        if captures.contains(*count) {
            selected.push((row, id.as_str()));
        }
        *count = count.saturating_add(1);
        *last_row = row;
    }
    if let Some(required) = captures.required() {
        // The first in file order, so that the message does not depend on the hash map.
        let lacking = seen.iter().filter(|(_, (count, _))| *count <= required);
        if let Some((id, (count, row))) = lacking.min_by_key(|(_, (_, row))| *row) {
            let message =
                format!("id \"{id}\" has {count} capture(s), numbered from 0: none is {required}");
            return Err(Error::new(Kind::Capture, message).at_row(*row));
        }
    }
    if selected.is_empty() {
        return Err(Error::new(Kind::Capture, "no id has any of the captures asked for"));
    }
    Ok(selected)
}

/// Requires every id at most once, as enrolment does. Errors: `E-DUPLICATE-ID` naming both rows.
pub fn require_unique(selected: &[(usize, &str)]) -> Result<()> {
    let mut seen = HashMap::with_capacity(selected.len());
    for &(row, id) in selected {
        if let Some(first) = seen.insert(id, row) {
            let message = format!("id \"{id}\" was at row {first} already: choose one capture");
            return Err(Error::new(Kind::DuplicateId, message).at_row(row));
        }
    }
    Ok(())
}
