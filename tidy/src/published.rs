//! What a crate on the registry carries.

use toml::Value;

use crate::{Package, Tree};

/// Categories of crates.io that describe something in this family; it refuses any that it does not
/// know, and more than five.
const CATEGORIES: &[&str] = &[
    "algorithms",
    "asynchronous",
    "caching",
    "concurrency",
    "data-structures",
    "database",
    "database-implementations",
    "development-tools::testing",
    "network-programming",
    "no-std",
    "simulation",
];

/// The limit of crates.io for keywords and for categories.
const MOST: usize = 5;

/// The limit of crates.io for the length of a keyword.
const KEYWORD: usize = 20;

/// What cargo packages lies inside the crate: licences too.
pub(crate) fn files(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in tree.published() {
        for name in ["README.md", "CHANGELOG.md"] {
            let path = package.path(name);
            if tree.text(&path).is_none_or(|text| text.trim().is_empty()) {
                complaints.push(format!("{path} is missing or empty"));
            }
        }
        for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let path = package.path(name);
            if tree.text(&path).is_none() || tree.text(&path) != tree.text(name) {
                complaints.push(format!(
                    "{path} is missing or not the same as {name} (copy it: not every checkout keeps links)"
                ));
            }
        }
        let examples = package.path("examples/");
        if tree.files(&examples, ".rs").next().is_none() {
            complaints.push(format!("{examples} holds no example"));
        }
    }
    complaints
}

/// What the registry and docs.rs show.
pub(crate) fn metadata(tree: &Tree) -> Vec<String> {
    let root = tree.root();
    let shared = root
        .get("workspace")
        .and_then(|workspace| workspace.get("package"));
    let mut complaints = Vec::new();
    for package in tree.published() {
        let mut complain = |what: String| complaints.push(format!("{}: {what}", package.dir));
        let description = package.field("description").and_then(Value::as_str);
        if description.is_none_or(|text| text.is_empty() || text.ends_with('.')) {
            complain("the description is missing or ends in a full stop".into());
        }
        for key in ["repository", "authors", "readme"] {
            if package.field(key).is_none() {
                complain(format!("`{key}` is missing"));
            }
        }
        let keywords = strings(package.field("keywords"));
        if !(1..=MOST).contains(&keywords.len()) {
            complain(format!("{} keywords, allowed are 1 to 5", keywords.len()));
        }
        for word in keywords.iter().filter(|word| !is_keyword(word)) {
            complain(format!("`{word}` cannot be a keyword"));
        }
        let categories = match package.field("categories") {
            Some(own) if own.is_array() => strings(Some(own)),
            Some(_) => strings(shared.and_then(|shared| shared.get("categories"))),
            None => Vec::new(),
        };
        if !(1..=MOST).contains(&categories.len()) {
            complain(format!(
                "{} categories, allowed are 1 to 5",
                categories.len()
            ));
        }
        for word in categories.iter().filter(|word| !CATEGORIES.contains(word)) {
            complain(format!("`{word}` is no category that fits (published.rs)"));
        }
        if !docs_show_all_features(&package) {
            complain("`[package.metadata.docs.rs] all-features = true` is missing".into());
        }
    }
    complaints
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

fn is_keyword(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_+".contains(c);
    word.len() <= KEYWORD
        && word.starts_with(|c: char| c.is_ascii_alphanumeric())
        && word.chars().all(plain)
}

fn docs_show_all_features(package: &Package) -> bool {
    let docs = package
        .field("metadata")
        .and_then(|metadata| metadata.get("docs")?.get("rs"));
    docs.and_then(|docs| docs.get("all-features")?.as_bool()) == Some(true)
}

/// One text for both, whose examples are tested.
pub(crate) fn readme_is_docs(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in tree.published() {
        let path = package.path("src/lib.rs");
        let first = tree.text(&path).and_then(|text| text.lines().next());
        if first != Some(r#"#![doc = include_str!("../README.md")]"#) {
            complaints.push(format!("{path} does not begin with its README"));
        }
    }
    complaints
}

/// What a dependency calls its types must not become our promise, except for payloads (`bytes`) and
/// asynchronous I/O (`futures`).
pub(crate) fn exports(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in tree.published() {
        let mut foreign: Vec<String> = package
            .dependencies("dependencies")
            .into_iter()
            .map(|(name, _)| name.replace('-', "_"))
            .filter(|name| !name.starts_with("synod_"))
            .collect();
        foreign.retain(|name| name != "bytes" && name != "futures");
        for (path, text) in tree.files(&package.path("src/"), ".rs") {
            for name in &foreign {
                let exported = [format!("pub use {name}::"), format!("pub use ::{name}::")];
                // A module of ours may be named after what it is for.
                let shadowed = text.lines().any(|line| line == format!("mod {name};"));
                if !shadowed && exported.iter().any(|wanted| text.contains(wanted)) {
                    complaints.push(format!("{path} exports {name}"));
                }
            }
        }
    }
    complaints
}
