//! What synod promises about its own source tree, as rules that a test applies: dependency
//! direction, `no_std`, what a published crate carries, file lengths, forbidden words, documents
//! whose commands and links are right.
//!
//! A [`Tree`] is the text of every file that a rule may look at; a rule is a function from a tree to
//! complaints. So each rule is tried on a small tree that breaks it, besides the real one.
//!
//! Adding a crate: put it into the workspace and into the table in `layers.rs`.

extern crate alloc;

mod documents;
mod layers;
mod lexer;
mod manifests;
mod published;
mod sources;
mod tree;

pub use tree::{Package, Tree};

/// A rule: its name and what finds the places that break it.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// What it is called in a report.
    pub name: &'static str,
    /// One line for each place that breaks it.
    pub complaints: fn(&Tree) -> Vec<String>,
}

/// All rules.
pub const RULES: &[Rule] = &[
    rule("dependencies point one way", layers::direction),
    rule(
        "nothing depends on what is not published",
        layers::unpublished,
    ),
    rule("foreign dependencies are known ones", layers::foreign),
    rule("no_std crates say so", layers::no_std),
    rule("manifests inherit from the workspace", manifests::inherited),
    rule("unsafe code is forbidden", manifests::unsafe_forbidden),
    rule(
        "our own dev-dependencies have no version",
        manifests::dev_dependencies,
    ),
    rule("default features are small", manifests::default_features),
    rule("tokio is optional", manifests::tokio),
    rule("published crates carry their files", published::files),
    rule("published crates describe themselves", published::metadata),
    rule(
        "the README is the crate documentation",
        published::readme_is_docs,
    ),
    rule("only known foreign crates are exported", published::exports),
    rule("files are short", sources::length),
    rule("no placeholders", sources::placeholders),
    rule("no ignored tests", sources::ignored_tests),
    rule("no ignored documentation tests", sources::ignored_doc_tests),
    rule(
        "the README begins with the two commands",
        documents::commands,
    ),
    rule("links lead somewhere", documents::links),
    rule("files that are named are there", documents::named_files),
];

const fn rule(name: &'static str, complaints: fn(&Tree) -> Vec<String>) -> Rule {
    Rule { name, complaints }
}
