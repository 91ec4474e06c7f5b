//! Who may depend on whom.

use toml::Value;

use crate::{Package, Tree};

/// What a published crate may use of the family, and whether it does without the standard library.
struct Layer {
    name: &'static str,
    may_use: &'static [&'static str],
    no_std: bool,
}

const MACHINE: &[&str] = &["synod-core", "synod-quorum"];

/// The house, from the ground up. Dev-dependencies are free: tests of a machine may use the
/// simulator.
const LAYERS: &[Layer] = &[
    layer("synod-core", &[], true),
    layer("synod-hashring", &["synod-core"], true),
    layer("synod-quorum", &["synod-core"], true),
    layer("synod-raft", MACHINE, true),
    layer("synod-paxos", MACHINE, true),
    layer("synod-zab", MACHINE, true),
    layer("synod-lock", MACHINE, true),
    // Paxos Commit is made of Paxos.
    layer(
        "synod-commit",
        &["synod-core", "synod-quorum", "synod-paxos"],
        true,
    ),
    // These run any machine, and so know none.
    layer("synod-node", &["synod-core"], false),
    layer("synod-sim", &["synod-core"], false),
];

const fn layer(name: &'static str, may_use: &'static [&'static str], no_std: bool) -> Layer {
    Layer {
        name,
        may_use,
        no_std,
    }
}

/// Crates of others that ours are built with. Each is one more thing that a user must trust, so the
/// list is short; a crate that only tests or an optional feature need is not on it.
const FOREIGN: &[&str] = &["async-trait", "bytes", "crc32fast", "futures", "thiserror"];

fn layer_of(package: &Package) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.name == package.name())
}

fn is_adapter(package: &Package) -> bool {
    package.dir.starts_with("adapters/")
}

fn is_optional(value: &Value) -> bool {
    value.get("optional").and_then(Value::as_bool) == Some(true)
}

/// `core` and `quorum` at the bottom, machines beside each other, `node` and `sim` beside the
/// machines.
pub(crate) fn direction(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in tree.published() {
        if is_adapter(&package) {
            continue;
        }
        let name = package.name();
        let Some(layer) = layer_of(&package) else {
            complaints.push(format!(
                "{name} is not in the table of layers (tidy/src/layers.rs)"
            ));
            continue;
        };
        for (used, _) in used_by(&package) {
            if used.starts_with("synod-") && !layer.may_use.contains(&used.as_str()) {
                complaints.push(format!(
                    "{name} uses {used}, it may use only {:?}",
                    layer.may_use
                ));
            }
        }
    }
    complaints
}

/// Examples, benches and tools are ends: nothing rests on them.
pub(crate) fn unpublished(tree: &Tree) -> Vec<String> {
    let members = tree.members();
    let ends: Vec<&str> = members
        .iter()
        .filter(|member| !member.is_published())
        .map(Package::name)
        .collect();
    let mut complaints = Vec::new();
    for package in &members {
        let all = used_by(package)
            .into_iter()
            .chain(package.dependencies("dev-dependencies"));
        for (used, _) in all {
            if ends.contains(&used.as_str()) && used != package.name() {
                complaints.push(format!(
                    "{} uses {used}, which is not published",
                    package.name()
                ));
            }
        }
    }
    complaints
}

/// What is always built is on the list.
pub(crate) fn foreign(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in tree.published() {
        if is_adapter(&package) {
            continue;
        }
        for (used, value) in used_by(&package) {
            let known = used.starts_with("synod-") || FOREIGN.contains(&used.as_str());
            if !known && !is_optional(&value) {
                complaints.push(format!(
                    "{} needs {used}, which is not in the list of foreign crates \
                     (tidy/src/layers.rs); make it optional or argue for it there",
                    package.name()
                ));
            }
        }
    }
    complaints
}

/// The attribute; the probe shows that it is true.
pub(crate) fn no_std(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in tree.published() {
        let path = package.path("src/lib.rs");
        let text = tree.text(&path).unwrap_or_default();
        let wanted = layer_of(&package).is_some_and(|layer| layer.no_std);
        if wanted && !text.lines().any(|line| line == "#![no_std]") {
            complaints.push(format!("{path} has no line `#![no_std]`"));
        }
        let name = package.name();
        let probe = tree.text("probe/Cargo.toml").unwrap_or_default();
        if wanted && !probe.contains(&format!("{name} =")) {
            complaints.push(format!(
                "probe/Cargo.toml does not link {name}, which is no_std"
            ));
        }
    }
    complaints
}

fn used_by(package: &Package) -> Vec<(String, Value)> {
    let mut used = package.dependencies("dependencies");
    used.extend(package.dependencies("build-dependencies"));
    used
}
