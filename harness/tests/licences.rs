//! Everything that is linked, in both workspaces, has a licence that this project may be built on.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Licences that ask for no more than that they are named.
const ALLOWED: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Whether a choice that the SPDX expression leaves is allowed: `OR` chooses, `AND` binds both,
/// `/` is how old packages write `OR`.
fn is_allowed(expression: &str) -> bool {
    let words = expression.replace('/', " OR ").replace('(', " ( ");
    let words = words.replace(')', " ) ");
    let words: Vec<&str> = words.split_whitespace().collect();
    let (allowed, rest) = either(&words);
    allowed && rest.is_empty()
}

fn either<'w>(words: &'w [&'w str]) -> (bool, &'w [&'w str]) {
    let (mut allowed, mut rest) = both(words);
    while let Some((&"OR", after)) = rest.split_first() {
        let (right, left_over) = both(after);
        (allowed, rest) = (allowed || right, left_over);
    }
    (allowed, rest)
}

fn both<'w>(words: &'w [&'w str]) -> (bool, &'w [&'w str]) {
    let (mut allowed, mut rest) = one(words);
    while let Some((&"AND", after)) = rest.split_first() {
        let (right, left_over) = one(after);
        (allowed, rest) = (allowed && right, left_over);
    }
    (allowed, rest)
}

fn one<'w>(words: &'w [&'w str]) -> (bool, &'w [&'w str]) {
    match words {
        ["(", inner @ ..] => match either(inner) {
            (allowed, [")", rest @ ..]) => (allowed, rest),
            (_, rest) => (false, rest),
        },
        [name, "WITH", exception, rest @ ..] => {
            let whole = format!("{name} WITH {exception}");
            (ALLOWED.contains(&whole.as_str()), rest)
        }
        [name, rest @ ..] => (ALLOWED.contains(name), rest),
        [] => (false, &[]),
    }
}

fn complaints(manifest: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .arg("--manifest-path")
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(
        packages.len() > 5,
        "{manifest}: {} packages",
        packages.len()
    );
    let complaint = |package: &Value| {
        let licence = package["license"].as_str().unwrap_or("none named");
        let (name, version) = (&package["name"], &package["version"]);
        (!is_allowed(licence)).then(|| format!("{name} {version}: {licence}"))
    };
    packages.iter().filter_map(complaint).collect()
}

#[test]
fn everything_that_is_linked_may_be() {
    for manifest in ["../Cargo.toml", "../firmware-ref/Cargo.toml"] {
        let complaints = complaints(manifest);
        let remedy = "choose another package, or extend ALLOWED with a licence like those in it";
        assert!(
            complaints.is_empty(),
            "{manifest}: {complaints:#?}\n{remedy}"
        );
    }
}

#[test]
fn expressions_are_understood() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "MIT OR GPL-2.0-only",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in [
        "",
        "none named",
        "GPL-3.0-or-later",
        "LGPL-2.1-only",
        "MIT AND GPL-2.0-only",
        "GPL-2.0-only WITH Classpath-exception-2.0",
        "(MIT",
    ] {
        assert!(!is_allowed(bad), "{bad}");
    }
}
