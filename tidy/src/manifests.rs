//! What manifests say.

use toml::Value;

use crate::Tree;

/// What no member says for itself.
const INHERITED: &[&str] = &["version", "edition", "rust-version", "license"];

fn is_workspace(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")?.as_bool()) == Some(true)
}

/// One version, one edition, one toolchain, one licence, one set of lints.
pub(crate) fn inherited(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in tree.members() {
        for key in INHERITED {
            if !is_workspace(package.field(key)) {
                complaints.push(format!(
                    "{}/Cargo.toml: `{key}.workspace = true` is missing",
                    package.dir
                ));
            }
        }
        if !is_workspace(package.manifest.get("lints")) {
            complaints.push(format!(
                "{}/Cargo.toml: `[lints] workspace = true` is missing",
                package.dir
            ));
        }
    }
    complaints
}

/// In the workspace, in every package beside it, and nowhere allowed again.
pub(crate) fn unsafe_forbidden(tree: &Tree) -> Vec<String> {
    let forbids = |lints: Option<&Value>| {
        lints.and_then(|lints| lints.get("rust")?.get("unsafe_code")?.as_str()) == Some("forbid")
    };
    let root = tree.root();
    let mut complaints = Vec::new();
    let workspace = root
        .get("workspace")
        .and_then(|workspace| workspace.get("lints"));
    if !forbids(workspace) {
        complaints.push("Cargo.toml: the lint `unsafe_code` is not `forbid`".into());
    }
    for package in tree.excluded() {
        if !forbids(package.manifest.get("lints")) {
            complaints.push(format!(
                "{}/Cargo.toml: the lint `unsafe_code` is not `forbid`",
                package.dir
            ));
        }
    }
    complaints
}

/// By path and without a version: cargo leaves them out when it packages, so no two crates need each
/// other to be published first.
pub(crate) fn dev_dependencies(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in tree.members() {
        for (name, value) in package.dependencies("dev-dependencies") {
            let by_path = value.get("path").is_some() && value.get("version").is_none();
            if name.starts_with("synod-") && !by_path {
                complaints.push(format!(
                    "{}/Cargo.toml: the dev-dependency {name} must have a path and no version",
                    package.dir
                ));
            }
        }
    }
    complaints
}

/// Nothing, or the standard library.
pub(crate) fn default_features(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in tree.published() {
        let features = package
            .manifest
            .get("features")
            .and_then(|features| features.get("default")?.as_array());
        for feature in features.into_iter().flatten().filter_map(Value::as_str) {
            if feature != "std" {
                complaints.push(format!(
                    "{}/Cargo.toml: the feature {feature} is on by default",
                    package.dir
                ));
            }
        }
    }
    complaints
}

/// Users choose their runtime: none comes with a published crate unless they ask.
pub(crate) fn tokio(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in tree.published() {
        for (name, value) in package.dependencies("dependencies") {
            let optional = value.get("optional").and_then(Value::as_bool) == Some(true);
            if name.starts_with("tokio") && !optional {
                complaints.push(format!(
                    "{}/Cargo.toml: {name} is not optional",
                    package.dir
                ));
            }
        }
    }
    complaints
}
