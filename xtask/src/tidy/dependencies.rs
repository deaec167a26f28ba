//! Dependencies point one way, host -> platform -> core, and core asks for no allocator.

use serde_json::Value;

use super::source::{Source, starts_with, tokens, untested};
use super::{TextFile, Violation};

const CORE: &str = "symbolon-core";
const PLATFORM: &str = "symbolon-platform";

/// What a package may depend on within the workspace. Tools above them may depend on anything.
const MAY_DEPEND_ON: [(&str, &[&str]); 3] =
    [(CORE, &[]), (PLATFORM, &[CORE]), ("symbolon-host", &[CORE, PLATFORM])];
const TOOLS: [&str; 2] = ["symbolon-benches", "xtask"];

/// Checks the packages' dependencies as `cargo metadata` lists them.
pub fn check(metadata: &Value, files: &[TextFile]) -> Vec<Violation> {
    let mut found = Vec::new();
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let names: Vec<_> = packages.iter().map(|package| text(package, "name")).collect();
    let root = text(metadata, "workspace_root");
    for package in packages {
        let name = text(package, "name");
        let manifest = text(package, "manifest_path");
        let manifest = manifest.strip_prefix(root).unwrap_or(manifest).trim_start_matches('/');
        let mut report = |dependency: &str, rule: String| {
            let line = line_of(files, manifest, dependency);
            found.push(Violation::new(manifest, line, rule));
        };

        let allowed = MAY_DEPEND_ON.iter().find(|(package, _)| *package == name);
        if allowed.is_none() && !TOOLS.contains(&name) {
            let rule = format!("dependencies: say in xtask/src/tidy what {name} may depend on");
            report("name", rule);
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = text(dependency, "name");
            let normal = dependency["kind"].is_null();
            // A package may depend on itself for its tests, to turn on a feature.
            let own_tests = on == name && !normal;
            if let Some((_, allowed)) = allowed
                && names.contains(&on)
                && !allowed.contains(&on)
                && !own_tests
            {
                report(on, format!("dependencies: {name} must not depend on {on}"));
            }
            if name == CORE && normal && dependency["uses_default_features"] != false {
                report(on, format!("dependencies: core takes {on} without default features"));
            }
        }
    }
    found
}

/// Checks that core is no_std and names neither std nor alloc outside its tests.
pub fn check_core_is_bare(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for (source, code) in untested(sources, "core/src/") {
        let tokens = tokens(&code);
        let has = |pattern| (0..tokens.len()).any(|at| starts_with(&tokens[at..], pattern));
        if source.path == "core/src/lib.rs" && !has("# ! [ no_std ]") {
            found.push(Violation::new(&source.path, 1, "no_std: core begins with #![no_std]"));
        }
        for at in 0..tokens.len() {
            for pattern in ["extern crate alloc", "extern crate std", "std : :"] {
                if starts_with(&tokens[at..], pattern) {
                    let rule = "no_std: core uses neither std nor alloc outside its tests";
                    found.push(Violation::new(&source.path, tokens[at].line, rule));
                }
            }
        }
    }
    found
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The line of the manifest that declares `name`, or the first.
fn line_of(files: &[TextFile], manifest: &str, name: &str) -> usize {
    let declares =
        |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '.', '=']));
    let file = files.iter().find(|file| file.path == manifest);
    file.and_then(|file| file.text.lines().position(declares)).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dependency(name: &str, kind: Option<&str>, default: bool) -> Value {
        json!({ "name": name, "kind": kind, "uses_default_features": default })
    }

    fn rules(package: &str, dependencies: &[Value]) -> Vec<String> {
        let all = [CORE, PLATFORM, "symbolon-host", "xtask"];
        let mut packages: Vec<_> = all
            .iter()
            .filter(|name| **name != package)
            .map(|name| json!({ "name": name }))
            .collect();
        packages.push(json!({
            "name": package, "manifest_path": "/r/p/Cargo.toml", "dependencies": dependencies
        }));
        let metadata = json!({ "workspace_root": "/r", "packages": packages });
        let text = "[dependencies]\nlibm.workspace = true\nsymbolon-host = \"1\"\n".to_owned();
        let files = [TextFile { path: "p/Cargo.toml".into(), text }];
        check(&metadata, &files).iter().map(Violation::to_string).collect()
    }

    #[test]
    fn dependencies_point_one_way() {
        let upward = [dependency("symbolon-host", None, true)];
        let broken =
            "p/Cargo.toml:3: dependencies: symbolon-platform must not depend on symbolon-host";
        assert_eq!(rules(PLATFORM, &upward), [broken]);
        assert_eq!(rules(PLATFORM, &[dependency("symbolon-host", Some("dev"), true)]), [broken]);
        assert_eq!(rules(CORE, &[dependency(PLATFORM, Some("build"), false)]).len(), 1);
        assert_eq!(rules(PLATFORM, &[dependency(CORE, None, true)]), [""; 0]);
        assert_eq!(rules(CORE, &[dependency(CORE, Some("dev"), true)]), [""; 0]);
        assert_eq!(rules("xtask", &upward), [""; 0]);
        assert_eq!(rules("newcomer", &[]).len(), 1);
    }

    #[test]
    fn core_takes_no_default_features() {
        let broken = "p/Cargo.toml:2: dependencies: core takes libm without default features";
        assert_eq!(rules(CORE, &[dependency("libm", None, true)]), [broken]);
        assert_eq!(rules(CORE, &[dependency("libm", None, false)]), [""; 0]);
        assert_eq!(rules(CORE, &[dependency("libm", Some("dev"), true)]), [""; 0]);
        assert_eq!(rules(PLATFORM, &[dependency("libm", None, true)]), [""; 0]);
    }

    #[test]
    fn core_is_bare() {
        let lines = |path, text| -> Vec<_> {
            let found = check_core_is_bare(&[Source::new(path, text)]);
            found.into_iter().map(|violation| violation.line).collect()
        };
        let bare = "#![no_std]\n// std::vec\n#[cfg(test)]\nextern crate std;\nmod a;\n";
        assert_eq!(lines("core/src/lib.rs", bare), [0; 0]);
        assert_eq!(lines("core/src/lib.rs", "mod a;\n"), [1]);
        assert_eq!(lines("core/src/a.rs", "\nextern crate alloc;\nuse std::vec;\n"), [2, 3]);
        assert_eq!(lines("platform/src/a.rs", "use std::vec;\n"), [0; 0]);
    }
}
