//! Core does not panic: what can fail says so with a typed error.

use super::Violation;
use super::source::{Source, starts_with, tokens, untested};

const PANICS: [(&str, &str); 4] = [
    (". unwrap (", ".unwrap()"),
    (". expect (", ".expect("),
    ("panic !", "panic!("),
    ("unreachable !", "unreachable!("),
];

/// Checks core's sources but for their tests. Assertions may stay: they state what callers must keep.
pub fn check(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for (source, code) in untested(sources, "core/src/") {
        let tokens = tokens(&code);
        for at in 0..tokens.len() {
            for (pattern, shown) in PANICS {
                if starts_with(&tokens[at..], pattern) {
                    let rule = format!("panics: core returns an error instead of {shown}");
                    found.push(Violation::new(&source.path, tokens[at].line, rule));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<(String, usize)> {
        let sources: Vec<_> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        check(&sources).into_iter().map(|found| (found.file, found.line)).collect()
    }

    #[test]
    fn core_does_not_panic() {
        for code in ["a.unwrap()", "a\n.expect(\"b\")", "panic!(\"b\")", "unreachable! { }"] {
            let text = format!("fn f() {{ {code} }}\n");
            assert_eq!(found(&[("core/src/wire.rs", &text)]).len(), 1, "{code}");
            assert_eq!(found(&[("core/tests/wire.rs", &text)]).len(), 0, "{code}");
            assert_eq!(found(&[("host/src/wire.rs", &text)]).len(), 0, "{code}");
        }
    }

    #[test]
    fn what_cannot_panic_is_left_alone() {
        let text = "
            //! a.unwrap() and panic!()
            const _: () = assert!(1 < 2);
            fn f() { a.unwrap_or(1); b.expectation(); c(\"panic!()\") }
            #[cfg(test)]
            mod tests { fn f() { a.unwrap(); panic!() } }";
        assert_eq!(found(&[("core/src/wire.rs", text)]), []);
        let module = ("core/src/wire/tests.rs", "fn f() { a.unwrap() }");
        assert_eq!(found(&[("core/src/wire.rs", "#[cfg(test)] mod tests;"), module]), []);
    }
}
