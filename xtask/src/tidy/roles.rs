//! The gateway and the matcher never name what only the custodian holds.

use super::Violation;
use super::source::{Source, starts_with, tokens};

const ROLES: [&str; 2] = ["host/src/gateway", "host/src/matcher"];
/// Any use of these, inside another word and inside literals too, whatever their case.
const SECRETS: [&str; 4] = ["SecretKey", "decrypt", "CustodianKey", "hazmat"];
/// Where a path to the host's own custodian module can start.
const OWN_CRATE: [&str; 4] = ["crate", "super", "self", "symbolon_host"];

/// Checks the files of the two roles. Comments may speak of anything.
pub fn check(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| of_a_role(&source.path)) {
        let mut report = |line, name: &str| {
            let rule = format!("roles: the gateway and the matcher must not name {name}");
            found.push(Violation::new(&source.path, line, rule));
        };
        for (index, line) in source.uncommented.lines().enumerate() {
            let line = line.to_lowercase();
            for secret in SECRETS {
                if line.contains(&secret.to_lowercase()) {
                    report(index + 1, secret);
                }
            }
        }
        let tokens = tokens(&source.code);
        // Within a `use` of this crate, groups of names are taken apart by nobody: any place counts.
        let mut in_own_use = false;
        for (at, token) in tokens.iter().enumerate() {
            if let Some(next) = tokens.get(at + 1)
                && token.text == "use"
            {
                in_own_use = OWN_CRATE.contains(&next.text);
            } else if token.text == ";" {
                in_own_use = false;
            }
            let path =
                OWN_CRATE.contains(&token.text) && starts_with(&tokens[at + 1..], ": : custodian");
            if path || in_own_use && token.text == "custodian" {
                report(token.line, "crate::custodian");
            }
        }
    }
    found.dedup();
    found
}

/// Whether the path is `gateway.rs`, `gateway_something.rs` or in `gateway/`; likewise the matcher.
fn of_a_role(path: &str) -> bool {
    ROLES.iter().any(|role| path.starts_with(role))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&[Source::new(path, text)]).into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn secrets_are_not_named() {
        for secret in SECRETS {
            let text = format!("// a comment may say {secret}\nuse symbolon_core::{secret};\n");
            assert_eq!(lines("host/src/gateway.rs", &text), [2], "{secret}");
            assert_eq!(lines("host/src/matcher/mod.rs", &text), [2], "{secret}");
            assert_eq!(lines("host/src/custodian.rs", &text), [0; 0], "{secret}");
        }
        assert_eq!(lines("host/src/matcher.rs", "fn f() { core::decrypt_batch() }"), [1]);
        assert_eq!(lines("host/src/matcher.rs", "struct Decryptor;"), [1]);
        assert_eq!(lines("host/src/matcher.rs", "#[path = \"decrypt.rs\"]\nmod d;"), [1]);
    }

    #[test]
    fn the_custodian_module_is_not_reached() {
        for text in [
            "use crate::custodian::Custodian;",
            "use crate::{\n    batch, custodian};",
            "use super::custodian as c;",
            "fn f() { crate::custodian::decide() }",
            "fn f() { symbolon_host::custodian::decide() }",
        ] {
            assert!(!lines("host/src/gateway/mod.rs", text).is_empty(), "{text}");
        }
        let allowed = "use crate::batch;\nfn f(custodian: &mut impl Decide) { custodian.ask(); }\n";
        assert_eq!(lines("host/src/gateway/mod.rs", allowed), [0; 0]);
    }
}
