//! Placeholders and plain text hygiene.

use super::source::is_word;
use super::{TextFile, Violation};

/// Words that promise something instead of doing it. Cut in two, so that this file has none.
const PLACEHOLDERS: [&str; 7] = [
    concat!("for", " now"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("db", "g!("),
];
const HYGIENIC: [&str; 6] = [".rs", ".toml", ".md", ".yml", ".sh", ".ci/run"];
const MAX_COLUMNS: usize = 140;

/// Checks placeholders in every file, and white space in those that people write.
pub fn check(files: &[TextFile]) -> Vec<Violation> {
    let mut found = Vec::new();
    for TextFile { path, text } in files {
        let hygienic = HYGIENIC.iter().any(|ending| path.ends_with(ending));
        for (index, line) in text.split_terminator('\n').enumerate() {
            let mut report = |rule: &str| found.push(Violation::new(path, index + 1, rule));
            for placeholder in PLACEHOLDERS {
                if has_phrase(line, placeholder) {
                    report(&format!("placeholder: do it or leave it out: {placeholder}"));
                }
            }
            if hygienic && line.contains('\t') {
                report("text: no tabs");
            }
            if hygienic && line.ends_with(char::is_whitespace) {
                report("text: no white space at the end of a line");
            }
            if path.ends_with(".rs") && line.chars().count() > MAX_COLUMNS {
                report(&format!("text: no line longer than {MAX_COLUMNS} columns"));
            }
        }
        if hygienic && !text.is_empty() && !text.ends_with('\n') {
            let rule = "text: a file ends with a newline";
            found.push(Violation::new(path, text.lines().count(), rule));
        }
    }
    found
}

/// Whether the phrase occurs in the line as whole words. A phrase with a space may begin a sentence.
fn has_phrase(line: &str, phrase: &str) -> bool {
    let line = if phrase.contains(' ') { line.to_lowercase() } else { line.to_owned() };
    line.match_indices(phrase).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + phrase.len()..]);
        let goes_on = phrase.ends_with(is_word) && after.starts_with(is_word);
        !before.ends_with(is_word) && !goes_on
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let files = [TextFile { path: path.to_owned(), text: text.to_owned() }];
        check(&files).iter().map(Violation::to_string).collect()
    }

    #[test]
    fn placeholders_are_found_anywhere() {
        for placeholder in PLACEHOLDERS {
            let text = format!("fine\n// {placeholder}\n");
            let rule = format!("placeholder: do it or leave it out: {placeholder}");
            assert_eq!(found("docs/a.txt", &text), [format!("docs/a.txt:2: {rule}")]);
        }
        let begins = concat!("For", " now, it does nothing.\n");
        assert_eq!(found("README.md", begins).len(), 1);
    }

    #[test]
    fn other_words_are_not_placeholders() {
        let text = concat!("for", " nowhere\nthere", "for", " now\nXX", "XX\nmeth", "TO", "DO\n");
        assert_eq!(found("README.md", text), [""; 0]);
    }

    #[test]
    fn white_space_is_clean() {
        assert_eq!(found("a.rs", "a\tb\n"), ["a.rs:1: text: no tabs"]);
        assert_eq!(found("a.md", "a \n"), ["a.md:1: text: no white space at the end of a line"]);
        assert_eq!(found("a.toml", "a\r\n").len(), 1);
        assert_eq!(found("a.rs", "a\nb"), ["a.rs:2: text: a file ends with a newline"]);
        assert_eq!(found("LICENSE", "a\t \nb"), [""; 0]);
        assert_eq!(found("a.rs", ""), [""; 0]);
    }

    #[test]
    fn lines_are_short_in_columns_not_bytes() {
        let line = |columns| "é".repeat(columns) + "\n";
        assert_eq!(found("a.rs", &line(MAX_COLUMNS)), [""; 0]);
        let rule = "a.rs:1: text: no line longer than 140 columns";
        assert_eq!(found("a.rs", &line(MAX_COLUMNS + 1)), [rule]);
        assert_eq!(found("a.md", &line(MAX_COLUMNS + 1)), [""; 0]);
    }
}
