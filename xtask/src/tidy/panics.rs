//! Core does not panic: what can fail says so with a typed error.

use super::Violation;
use super::source::{Source, starts_with, tokens, without_tests};

const PANICS: [(&str, &str); 4] = [
    (". unwrap (", ".unwrap()"),
    (". expect (", ".expect("),
    ("panic !", "panic!("),
    ("unreachable !", "unreachable!("),
];

/// Checks core's sources but for their tests. Assertions may stay: they state what callers must keep.
pub fn check(sources: &[Source]) -> Vec<Violation> {
    let core: Vec<_> = sources
        .iter()
        .filter(|source| source.path.starts_with("core/src/"))
        .map(|source| (source, without_tests(&source.code)))
        .collect();
    let test_modules: Vec<_> = core
        .iter()
        .flat_map(|(source, (_, names))| names.iter().map(|name| child(&source.path, name)))
        .collect();
    let is_test = |path: &str| {
        test_modules.iter().any(|module| {
            let rest = path.strip_prefix(module.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    };
    let mut found = Vec::new();
    for (source, (code, _)) in core.iter().filter(|(source, _)| !is_test(&source.path)) {
        let tokens = tokens(code);
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

/// The path, without ending, of the module `name` declared in the file at `path`.
fn child(path: &str, name: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file {
        "lib.rs" | "mod.rs" => format!("{folder}/{name}"),
        _ => format!("{}/{name}", path.trim_end_matches(".rs")),
    }
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
    }

    #[test]
    fn test_modules_in_files_of_their_own_are_tests() {
        let declares = "#[cfg(test)]\nmod oracle;\nmod plan;\n";
        let panics = "fn f() { a.unwrap() }\n";
        let files = [
            ("core/src/ntt/mod.rs", declares),
            ("core/src/ntt/oracle.rs", panics),
            ("core/src/ntt/oracle/deep.rs", panics),
            ("core/src/ntt/plan.rs", panics),
            ("core/src/pool.rs", declares),
            ("core/src/pool/oracle.rs", panics),
            ("core/src/oracle.rs", panics),
        ];
        let expected = [("core/src/ntt/plan.rs", 1), ("core/src/oracle.rs", 1)];
        assert_eq!(found(&files), expected.map(|(path, line)| (path.to_owned(), line)));
    }
}
