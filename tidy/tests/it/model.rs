//! A small tree that keeps every rule, to be broken in one place.

use synod_tidy::Tree;

const ROOT: &str = r#"
[workspace]
members = ["core", "raft", "sim", "examples/*"]
exclude = ["bench"]

[workspace.package]
categories = ["algorithms"]

[workspace.lints.rust]
unsafe_code = "forbid"
"#;

const INHERITED: &str = r#"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
repository.workspace = true
authors.workspace = true
"#;

const README: &str = "# synod

```sh
cargo run --release -p synod-kv -- demo
```

```sh
cargo test --workspace
```

See [core](core/README.md#there), [the web](https://example.org/) and [an item](synod_core::Machine).
";

/// The manifest of a published crate.
pub(crate) fn manifest(name: &str, dependencies: &str) -> String {
    format!(
        r#"
[package]
name = "{name}"
description = "A crate"
keywords = ["consensus", "sans-io"]
readme = "README.md"
categories.workspace = true
{INHERITED}
[package.metadata.docs.rs]
all-features = true

[features]
default = []
{dependencies}
[lints]
workspace = true
"#
    )
}

/// The manifest of a crate that is not published.
fn end(name: &str) -> String {
    format!(
        r#"
[package]
name = "{name}"
publish = false
{INHERITED}
[dependencies]
anything = "1"
tokio = "1"

[lints]
workspace = true
"#
    )
}

/// The tree.
pub(crate) fn good() -> Tree {
    let mut tree = Tree::default();
    tree.put("Cargo.toml", ROOT);
    tree.put("README.md", README);
    tree.put("LICENSE-MIT", "mit");
    tree.put("LICENSE-APACHE", "apache");
    let bytes = "[dependencies]\nbytes = \"1\"";
    let core = "[dependencies]\nsynod-core = { workspace = true }
tokio = { version = \"1\", optional = true }
[dev-dependencies]\nsynod-sim = { path = \"../sim\" }";
    let crates = [
        ("core", manifest("synod-core", bytes)),
        ("raft", manifest("synod-raft", core)),
        (
            "sim",
            manifest(
                "synod-sim",
                "[dependencies]\nsynod-core = { workspace = true }",
            ),
        ),
    ];
    for (dir, manifest) in crates {
        tree.put(&format!("{dir}/Cargo.toml"), manifest);
        tree.put(&format!("{dir}/README.md"), "# A crate\n\n```\n```\n");
        tree.put(&format!("{dir}/CHANGELOG.md"), "# Changes");
        tree.put(&format!("{dir}/LICENSE-MIT"), "mit");
        tree.put(&format!("{dir}/LICENSE-APACHE"), "apache");
        tree.put(&format!("{dir}/examples/one.rs"), "fn main() {}");
        let lib = "#![doc = include_str!(\"../README.md\")]\n#![no_std]\npub use bytes::Bytes;\n";
        tree.put(&format!("{dir}/src/lib.rs"), lib);
    }
    let words = "// todo! dbg! #[ignore]\nfn my_todo() { \"unimplemented!()\"; }\n";
    tree.put("core/src/words.rs", words);
    let named = "//! See `src/words.rs`, `raft/src/lib.rs` and `lib.rs`.\n";
    tree.put("core/src/named.rs", named);
    let own = "#[cfg(feature = \"tokio\")]\nmod tokio;\npub use tokio::TokioClock;\n";
    tree.put("raft/src/clock.rs", own);
    tree.put("examples/kv/Cargo.toml", end("synod-kv"));
    let bench = "[package]\nname = \"bench\"\n[lints.rust]\nunsafe_code = \"forbid\"";
    tree.put("bench/Cargo.toml", bench);
    let probe = "[dependencies]\nsynod-core = \"1\"\nsynod-raft = \"1\"\n";
    tree.put("probe/Cargo.toml", probe);
    tree
}
