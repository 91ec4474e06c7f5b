//! Each rule complains of a tree that breaks it, and only that rule of the right place.

use synod_tidy::{RULES, Tree};

use crate::model::{good, manifest};

/// A rule, what is done to the good tree, and a word of the complaint.
type Case = (&'static str, fn(&mut Tree), &'static str);

const CASES: &[Case] = &[
    (
        "dependencies point one way",
        |tree| {
            let upwards = "[dependencies]\nsynod-raft = { workspace = true }";
            tree.put("sim/Cargo.toml", manifest("synod-sim", upwards));
        },
        "synod-sim uses synod-raft",
    ),
    (
        "dependencies point one way",
        |tree| {
            let upwards = "[target.'cfg(unix)'.dependencies]\nsynod-raft = { workspace = true }";
            tree.put("core/Cargo.toml", manifest("synod-core", upwards));
        },
        "synod-core uses synod-raft",
    ),
    (
        "dependencies point one way",
        |tree| tree.put("sim/Cargo.toml", manifest("synod-new", "")),
        "synod-new is not in the table",
    ),
    (
        "nothing depends on what is not published",
        |tree| {
            let end = "[dev-dependencies]\nsynod-kv = { path = \"../examples/kv\" }";
            tree.put("sim/Cargo.toml", manifest("synod-sim", end));
        },
        "synod-sim uses synod-kv",
    ),
    (
        "foreign dependencies are known ones",
        |tree| {
            let heavy = "[dependencies]\nopenssl = \"1\"";
            tree.put("core/Cargo.toml", manifest("synod-core", heavy));
        },
        "synod-core needs openssl",
    ),
    (
        "no_std crates say so",
        |tree| {
            tree.put(
                "raft/src/lib.rs",
                "#![doc = include_str!(\"../README.md\")]\n",
            )
        },
        "raft/src/lib.rs",
    ),
    (
        "no_std crates say so",
        |tree| tree.put("probe/Cargo.toml", "[dependencies]\nsynod-core = \"1\""),
        "does not link synod-raft",
    ),
    (
        "manifests inherit from the workspace",
        |tree| {
            replace(
                tree,
                "core/Cargo.toml",
                "edition.workspace = true",
                "edition = \"2021\"",
            )
        },
        "edition",
    ),
    (
        "manifests inherit from the workspace",
        |tree| {
            replace(
                tree,
                "examples/kv/Cargo.toml",
                "[lints]\nworkspace = true",
                "",
            )
        },
        "lints",
    ),
    (
        "unsafe code is forbidden",
        |tree| replace(tree, "Cargo.toml", "forbid", "deny"),
        "Cargo.toml",
    ),
    (
        "unsafe code is forbidden",
        |tree| replace(tree, "bench/Cargo.toml", "forbid", "warn"),
        "bench/Cargo.toml",
    ),
    (
        "our own dev-dependencies have no version",
        |tree| {
            let circle = "[dev-dependencies]\nsynod-raft = { workspace = true }";
            tree.put("sim/Cargo.toml", manifest("synod-sim", circle));
        },
        "synod-raft must have a path",
    ),
    (
        "default features are small",
        |tree| {
            replace(
                tree,
                "core/Cargo.toml",
                "default = []",
                "default = [\"serde\"]",
            )
        },
        "serde",
    ),
    (
        "tokio is optional",
        |tree| {
            let runtime = "[dependencies]\ntokio = \"1\"";
            tree.put("core/Cargo.toml", manifest("synod-core", runtime));
        },
        "tokio is not optional",
    ),
    (
        "published crates carry their files",
        |tree| tree.remove("raft/CHANGELOG.md"),
        "raft/CHANGELOG.md",
    ),
    (
        "published crates carry their files",
        |tree| tree.put("raft/LICENSE-MIT", "another"),
        "raft/LICENSE-MIT",
    ),
    (
        "published crates carry their files",
        |tree| tree.remove("raft/examples/one.rs"),
        "raft/examples/",
    ),
    (
        "published crates describe themselves",
        |tree| {
            let six = "\"a\", \"b\", \"c\", \"d\", \"e\", \"f\"";
            replace(tree, "core/Cargo.toml", "\"consensus\", \"sans-io\"", six);
        },
        "6 keywords",
    ),
    (
        "published crates describe themselves",
        |tree| replace(tree, "core/Cargo.toml", "sans-io", "sans io"),
        "`sans io`",
    ),
    (
        "published crates describe themselves",
        |tree| replace(tree, "Cargo.toml", "algorithms", "consensus"),
        "`consensus` is no category",
    ),
    (
        "published crates describe themselves",
        |tree| replace(tree, "core/Cargo.toml", "description = \"A crate\"", ""),
        "description",
    ),
    (
        "published crates describe themselves",
        |tree| replace(tree, "core/Cargo.toml", "all-features = true", ""),
        "all-features",
    ),
    (
        "the README is the crate documentation",
        |tree| tree.put("core/src/lib.rs", "//! Mine.\n#![no_std]\n"),
        "core/src/lib.rs",
    ),
    (
        "only known foreign crates are exported",
        |tree| tree.put("raft/src/io.rs", "pub use tokio::net::TcpStream;\n"),
        "raft/src/io.rs exports tokio",
    ),
    (
        "files are short",
        |tree| tree.put("core/src/long.rs", "\n".repeat(501)),
        "core/src/long.rs has 501 lines",
    ),
    (
        "no placeholders",
        |tree| tree.put("raft/tests/it.rs", "fn f() {\n    todo!()\n}"),
        "raft/tests/it.rs:2",
    ),
    (
        "no placeholders",
        |tree| tree.put("core/src/a.rs", "fn f() { my_dbg!(1); std::dbg!(2); }"),
        "core/src/a.rs:1",
    ),
    (
        "no ignored tests",
        |tree| tree.put("core/src/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}"),
        "core/src/a.rs:2",
    ),
    (
        "no ignored documentation tests",
        |tree| tree.put("core/src/a.rs", "/// ```rust,ignore\n/// ```\nfn f() {}"),
        "core/src/a.rs:1",
    ),
    (
        "no ignored documentation tests",
        |tree| tree.put("sim/README.md", "```ignore\n```"),
        "sim/README.md:1",
    ),
    (
        "the README begins with the two commands",
        |tree| replace(tree, "README.md", "test --workspace", "test -p synod-core"),
        "cargo test --workspace",
    ),
    (
        "the README begins with the two commands",
        |tree| replace(tree, "README.md", "-- demo\n", "-- demo\necho more\n"),
        "-- demo",
    ),
    (
        "links lead somewhere",
        |tree| tree.put("sim/README.md", "see [it](../docs/nothing.md)"),
        "../docs/nothing.md",
    ),
    (
        "files that are named are there",
        |tree| tree.put("core/src/a.rs", "/// See `tests/it/golden.rs`.\nfn f() {}"),
        "core/src/a.rs:1: tests/it/golden.rs",
    ),
];

fn replace(tree: &mut Tree, path: &str, from: &str, to: &str) {
    let text = tree
        .text(path)
        .expect("the file is in the model")
        .to_owned();
    assert!(text.contains(from), "{path} has no {from:?}");
    tree.put(path, text.replace(from, to));
}

#[test]
fn the_model_keeps_every_rule() {
    for rule in RULES {
        let complaints = (rule.complaints)(&good());
        assert!(complaints.is_empty(), "{}: {complaints:?}", rule.name);
    }
}

#[test]
fn each_rule_finds_what_breaks_it() {
    for (name, damage, wanted) in CASES {
        let rule = RULES.iter().find(|rule| rule.name == *name);
        let rule = rule.unwrap_or_else(|| panic!("there is no rule {name:?}"));
        let mut tree = good();
        damage(&mut tree);
        let complaints = (rule.complaints)(&tree);
        assert!(
            complaints
                .iter()
                .any(|complaint| complaint.contains(wanted)),
            "{name}: {wanted:?} is not in {complaints:?}"
        );
    }
}

#[test]
fn every_rule_has_a_case() {
    for rule in RULES {
        let has = CASES.iter().any(|(name, ..)| *name == rule.name);
        assert!(has, "no case for {:?}", rule.name);
    }
}
