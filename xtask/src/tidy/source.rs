//! A Rust file as the rules see it: without comments and literals, as words, without its tests.

use std::ops::Range;

/// A Rust file, read once for all rules.
pub struct Source {
    /// From the repository's root, with `/`.
    pub path: String,
    /// As it is on disk.
    pub text: String,
    /// Comments blanked: every other byte is where it was.
    pub uncommented: String,
    /// Comments and the insides of literals blanked.
    pub code: String,
}

impl Source {
    /// Reads `text` as the file at `path`.
    pub fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            uncommented: blank(text, false),
            code: blank(text, true),
        }
    }
}

/// A word (identifier, keyword, number) or a single other character.
#[derive(Clone, Copy)]
pub struct Token<'a> {
    pub text: &'a str,
    /// Counted from 1.
    pub line: usize,
    start: usize,
}

/// The tokens of a text; white space only separates them.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut chars = text.char_indices().peekable();
    while let Some((start, first)) = chars.next() {
        if first == '\n' {
            line += 1;
        }
        if first.is_whitespace() {
            continue;
        }
        let mut end = start + first.len_utf8();
        if is_word(first) {
            while let Some((at, next)) = chars.next_if(|&(_, next)| is_word(next)) {
                end = at + next.len_utf8();
            }
        }
        tokens.push(Token { text: &text[start..end], line, start });
    }
    tokens
}

/// Whether the tokens at the front of `tokens` are `pattern`, its words separated by spaces.
pub fn starts_with(tokens: &[Token<'_>], pattern: &str) -> bool {
    let mut rest = tokens.iter();
    pattern.split(' ').all(|word| rest.next().is_some_and(|token| token.text == word))
}

/// Whether `c` can be part of an identifier.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The files in `folder` but for test modules, each with its code but for its tests.
pub fn untested<'a>(sources: &'a [Source], folder: &str) -> Vec<(&'a Source, String)> {
    let mut files = Vec::new();
    let mut test_modules = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with(folder)) {
        let (code, modules) = without_tests(&source.code);
        test_modules.extend(modules.iter().map(|name| child(&source.path, name)));
        files.push((source, code));
    }
    files.retain(|(source, _)| {
        !test_modules.iter().any(|module| {
            let rest = source.path.strip_prefix(module.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    });
    files
}

/// The path, without ending, of the module `name` declared in the file at `path`.
fn child(path: &str, name: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file {
        "lib.rs" | "mod.rs" => format!("{folder}/{name}"),
        _ => format!("{}/{name}", path.trim_end_matches(".rs")),
    }
}

const TEST_ONLY: [&str; 2] = ["# [ cfg ( test ) ]", "# [ cfg ( all ( test ,"];

/// `code` with every item under `#[cfg(test)]` blanked, or all of it under `#![cfg(test)]`; and the
/// names of the test modules that are files of their own (`#[cfg(test)] mod name;`).
fn without_tests(code: &str) -> (String, Vec<String>) {
    let tokens = tokens(code);
    let mut kept = code.as_bytes().to_vec();
    let mut modules = Vec::new();
    for at in 0..tokens.len() {
        if starts_with(&tokens[at..], "# ! [ cfg ( test ) ]") {
            blank_bytes(&mut kept);
        } else if TEST_ONLY.iter().any(|attribute| starts_with(&tokens[at..], attribute)) {
            let end = item_end(&tokens, at);
            let item = &tokens[at..end];
            let stop = item.last().map_or(code.len(), |last| last.start + last.text.len());
            blank_bytes(&mut kept[tokens[at].start..stop]);
            if let [.., keyword, name, semicolon] = item
                && keyword.text == "mod"
                && semicolon.text == ";"
            {
                modules.push(name.text.to_owned());
            }
        }
    }
    (String::from_utf8(kept).expect("whole tokens were blanked"), modules)
}

/// Where the item ends whose attributes begin at `tokens[start]`: after its `;` or its last `}`.
fn item_end(tokens: &[Token<'_>], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < tokens.len() {
        match tokens[at].text {
            "(" | "[" | "{" => depth += 1,
            // The end of what encloses the item: a field or a match arm has no end of its own.
            ")" | "]" | "}" if depth == 0 => return at,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// `text` with its comments, and the insides of its literals if asked, turned into spaces.
fn blank(text: &str, literals: bool) -> String {
    let bytes = text.as_bytes();
    let mut kept = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let after_word = at > 0 && is_word_byte(bytes[at - 1]);
        let (mut inside, length) = if rest.starts_with(b"//") {
            let length = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
            (0..length, length)
        } else if rest.starts_with(b"/*") {
            let length = block_comment(rest);
            (0..length, length)
        } else {
            let raw = if after_word { None } else { raw_string(rest) };
            let literal = raw.or_else(|| string(rest)).or_else(|| character(rest));
            let (inside, length) = literal.unwrap_or((0..0, 1));
            (if literals { inside } else { 0..0 }, length)
        };
        inside.end = inside.end.min(rest.len());
        blank_bytes(&mut kept[at..][inside]);
        at += length;
    }
    String::from_utf8(kept).expect("whole comments and literals were blanked")
}

fn blank_bytes(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// The length of the block comment at the front; they nest.
fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The raw string at the front (`r"`, `br#"`, `cr##"` and so on): its inside and its length.
fn raw_string(rest: &[u8]) -> Option<(Range<usize>, usize)> {
    let prefix = usize::from(matches!(rest[0], b'b' | b'c'));
    if rest.get(prefix) != Some(&b'r') {
        return None;
    }
    let hashes = rest[prefix + 1..].iter().take_while(|&&b| b == b'#').count();
    let open = prefix + 1 + hashes + 1;
    if rest.get(open - 1) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let end = rest[open..].windows(close.len()).position(|window| window == close);
    let end = end.map_or(rest.len(), |end| open + end);
    Some((open..end, end + close.len()))
}

/// The plain string at the front: its inside and its length. A `b` or `c` before it does not matter.
fn string(rest: &[u8]) -> Option<(Range<usize>, usize)> {
    rest.strip_prefix(b"\"").map(|inside| until_quote(inside, b'"'))
}

/// The character literal at the front, if it is one and not a lifetime: its inside and its length.
fn character(rest: &[u8]) -> Option<(Range<usize>, usize)> {
    let inside = rest.strip_prefix(b"'")?;
    let length = match *inside.first()? {
        b'\\' => return Some(until_quote(inside, b'\'')),
        byte if byte.is_ascii() => 1,
        byte => byte.leading_ones() as usize,
    };
    (inside.get(length) == Some(&b'\'')).then_some((1..1 + length, length + 2))
}

/// What comes after an opening quote, as a range and length that count the quote; `\` escapes.
fn until_quote(inside: &[u8], quote: u8) -> (Range<usize>, usize) {
    let mut at = 0;
    while at < inside.len() && inside[at] != quote {
        at += if inside[at] == b'\\' { 2 } else { 1 };
    }
    (1..1 + at, at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        tokens(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_are_blanked_and_lines_stay() {
        let source = Source::new("a.rs", "a /* b /* c */\n d */ e // f\n/// g\nh \"// i\"");
        assert_eq!(words(&source.uncommented), ["a", "e", "h", "\"", "/", "/", "i", "\""]);
        assert_eq!(words(&source.code), ["a", "e", "h", "\"", "\""]);
        assert_eq!(tokens(&source.code)[2].line, 4);
        assert_eq!(source.code.len(), source.text.len());
    }

    #[test]
    fn literals_are_blanked() {
        let cases = [
            (r#"x("un\"safe")y"#, "x ( \" \" ) y"),
            (r#"x(b"\\")y"#, "x ( b \" \" ) y"),
            (r###"x(r#"a"b"#)y"###, "x ( r # \" \" # ) y"),
            (r#"x(br"\")y"#, "x ( br \" \" ) y"),
            (r#"x('"', '\'', b'\\', 'é', '{')y"#, "x ( ' ' , ' ' , b ' ' , ' ' , ' ' ) y"),
            ("fn f<'a, 'b>(x: &'static u8)", "fn f < ' a , ' b > ( x : & ' static u8 )"),
            ("r#type \"a\" y", "r # type \" \" y"),
            ("\"never closed \\", "\""),
        ];
        for (text, expected) in cases {
            assert_eq!(words(&blank(text, true)).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn test_items_are_blanked() {
        let code = "
            fn kept() -> [u8; 2] { [1; 2] }
            #[cfg(test)]
            #[allow(dead_code)]
            fn gone(x: [u8; 2]) -> u8 { if x { 1 } else { 2 } }
            #[cfg(test)] mod proofs;
            #[cfg(all(test, not(loom)))] mod tests { use super::*; }
            struct Kept { a: u8, #[cfg(test)] gone: u8 }
            #[cfg(not(test))] fn also_kept() {}";
        let (kept, modules) = without_tests(code);
        assert!(!kept.contains("gone") && !kept.contains("super"), "{kept}");
        assert!(kept.contains("struct Kept { a: u8,") && kept.contains("also_kept() {}"), "{kept}");
        assert_eq!(modules, ["proofs"]);
        assert_eq!(words(&without_tests("#![cfg(test)] fn gone() {}").0), [""; 0]);
    }

    #[test]
    fn test_modules_in_files_of_their_own_are_tests() {
        let declares = "#[cfg(test)]\nmod oracle;\nmod plan;\n";
        let files = [
            ("core/src/ntt/mod.rs", declares),
            ("core/src/ntt/oracle.rs", ""),
            ("core/src/ntt/oracle/deep.rs", ""),
            ("core/src/ntt/plan.rs", ""),
            ("core/src/pool.rs", declares),
            ("core/src/pool/oracle.rs", ""),
            ("core/src/oracle.rs", ""),
            ("host/src/lib.rs", ""),
        ]
        .map(|(path, text)| Source::new(path, text));
        let kept = untested(&files, "core/src/");
        let kept: Vec<_> = kept.into_iter().map(|(source, _)| source.path.as_str()).collect();
        let expected = [
            "core/src/ntt/mod.rs",
            "core/src/ntt/plan.rs",
            "core/src/pool.rs",
            "core/src/oracle.rs",
        ];
        assert_eq!(kept, expected);
    }
}
