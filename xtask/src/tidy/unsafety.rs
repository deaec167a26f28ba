//! `unsafe` stays in a few files, and each block says why it is sound.

use std::path::Path;

use serde_json::Value;

use super::Violation;
use super::source::{Source, Token, starts_with, tokens};

/// The only places where `unsafe` may appear: files, or folders if they end in `/`.
const ALLOWED: [&str; 12] = [
    "core/src/place.rs",
    "core/src/cap.rs",
    "core/src/ct.rs",
    "core/src/kernel/",
    "core/src/pool/lock_free/cell.rs",
    "core/src/pool/lock_free/lease.rs",
    "core/src/pool/lock_free/pool.rs",
    "core/tests/common/available.rs",
    "core/tests/stack.rs",
    "host/tests/allocations.rs",
    "platform/src/",
    "platform/tests/common/mod.rs",
];

/// The crates that have such places: theirs is `#![deny(unsafe_code)]`, which a module can lift.
const MAY_DENY: [&str; 2] = ["core/src/", "platform/src/"];

/// The root files of every library and binary in the workspace.
pub fn crate_roots(metadata: &Value, root: &Path) -> Vec<String> {
    let mut roots = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        for target in package["targets"].as_array().into_iter().flatten() {
            let kinds = target["kind"].as_array().into_iter().flatten();
            let checked =
                kinds.filter_map(Value::as_str).any(|kind| kind == "lib" || kind == "bin");
            let path = Path::new(target["src_path"].as_str().unwrap_or_default());
            if let Ok(path) = path.strip_prefix(root)
                && checked
            {
                roots.push(path.display().to_string());
            }
        }
    }
    roots
}

/// Checks every Rust file, and that each crate root has the compiler watch as well.
pub fn check(sources: &[Source], roots: &[String]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources {
        let allowed = ALLOWED.iter().any(|place| {
            source.path == *place || place.ends_with('/') && source.path.starts_with(place)
        });
        let tokens = tokens(&source.code);
        for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.text == "unsafe") {
            if !allowed {
                let rule = "unsafe: not in this file; see the list in xtask/src/tidy/unsafety.rs";
                found.push(Violation::new(&source.path, token.line, rule));
            } else if ["{", "impl"].iter().any(|next| starts_with(&tokens[at + 1..], next))
                && !is_explained(source, token.line)
            {
                let rule = "unsafe: say why it is sound in a `// SAFETY:` comment above";
                found.push(Violation::new(&source.path, token.line, rule));
            }
        }
        if roots.contains(&source.path) {
            let may_deny = MAY_DENY.iter().any(|folder| source.path.starts_with(folder));
            let watched = has_lint(&tokens, "forbid") || may_deny && has_lint(&tokens, "deny");
            if !watched {
                let level = if may_deny { "deny" } else { "forbid" };
                let rule = format!("unsafe: the crate begins with #![{level}(unsafe_code)]");
                found.push(Violation::new(&source.path, 1, rule));
            }
        }
    }
    found
}

/// Whether an inner attribute sets `unsafe_code` to `level`.
fn has_lint(tokens: &[Token<'_>], level: &str) -> bool {
    let pattern = format!("# ! [ {level} (");
    (0..tokens.len()).filter(|&at| starts_with(&tokens[at..], &pattern)).any(|at| {
        let mut lints = tokens[at..].iter().take_while(|token| token.text != ")");
        lints.any(|token| token.text == "unsafe_code")
    })
}

/// Whether a SAFETY comment stands on this line or above the statement that the line is part of.
fn is_explained(source: &Source, line: usize) -> bool {
    let lines: Vec<_> = source.text.lines().zip(source.uncommented.lines()).collect();
    let mut in_comment = false;
    for (at, &(text, code)) in lines[..line].iter().enumerate().rev() {
        let code = code.trim();
        if text.contains("SAFETY:") && !code.contains("SAFETY:") {
            return true;
        }
        let is_above = at + 1 < line;
        if code.is_empty() && !text.trim().is_empty() {
            in_comment = true;
        } else if is_above && (in_comment || code.is_empty() || ends_statement(code)) {
            return false;
        }
    }
    false
}

fn ends_statement(code: &str) -> bool {
    code.ends_with([';', '{', '}', ','])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&[Source::new(path, text)], &[]).into_iter().map(|found| found.line).collect()
    }

    #[test]
    fn unsafe_stays_in_its_places() {
        let text = "// unsafe\nconst S: &str = \"unsafe\";\nunsafe fn f() {}\n";
        assert_eq!(lines("host/src/store.rs", text), [3]);
        assert_eq!(lines("core/src/placement.rs", text), [3]);
        assert_eq!(lines("core/src/place.rs", text), [0; 0]);
        assert_eq!(lines("core/src/kernel/avx2.rs", text), [0; 0]);
        assert_eq!(lines("core/src/lib.rs", "#![deny(unsafe_code)]"), [0; 0]);
    }

    #[test]
    fn each_block_is_explained() {
        for explained in [
            "// SAFETY: in range.\nunsafe { f() }",
            "// SAFETY: in range,\n// as said above.\nlet x =\n    unsafe { f() };",
            "// SAFETY: in range.\n#[allow(unsafe_code)]\nunsafe impl Send for A {}",
            "f(/* SAFETY: in range. */ unsafe { g() })",
        ] {
            assert_eq!(lines("platform/src/lib.rs", explained), [0; 0], "{explained}");
        }
        for unexplained in [
            "unsafe { f() }",
            "// in range\nunsafe { f() }",
            "// SAFETY: of another.\nf();\nunsafe { f() }",
            "// SAFETY: of another.\n\nunsafe { f() }",
            "// SAFETY: of another.\nf();\n// in range\nunsafe { f() }",
            "let s = \"SAFETY:\"; unsafe { f() }",
            "unsafe impl Send for A {}",
        ] {
            assert_eq!(lines("platform/src/lib.rs", unexplained).len(), 1, "{unexplained}");
        }
    }

    #[test]
    fn crate_roots_have_the_compiler_watch() {
        let metadata = json!({ "packages": [{ "targets": [
            { "kind": ["bin"], "src_path": "/r/host/src/main.rs" },
            { "kind": ["lib"], "src_path": "/r/core/src/lib.rs" },
            { "kind": ["test"], "src_path": "/r/core/tests/stack.rs" },
        ] }] });
        let roots = crate_roots(&metadata, Path::new("/r"));
        assert_eq!(roots, ["host/src/main.rs", "core/src/lib.rs"]);
        let count = |path, text| check(&[Source::new(path, text)], &roots).len();
        assert_eq!(count("host/src/main.rs", "#![forbid(unsafe_code)]"), 0);
        assert_eq!(count("host/src/main.rs", "#![deny(unsafe_code)]"), 1);
        assert_eq!(count("host/src/main.rs", "// #![forbid(unsafe_code)]"), 1);
        assert_eq!(count("core/src/lib.rs", "#![deny(missing_docs, unsafe_code)]"), 0);
        assert_eq!(count("core/src/lib.rs", "#![deny(missing_docs)]"), 1);
        assert_eq!(count("core/src/poly.rs", ""), 0);
    }
}
