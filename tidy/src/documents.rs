//! What documents say.

use crate::Tree;

/// What a newcomer types.
const COMMANDS: [&str; 2] = [
    "cargo run --release -p synod-kv -- demo",
    "cargo test --workspace",
];

/// The first two code blocks of the README, each of one line.
pub(crate) fn commands(tree: &Tree) -> Vec<String> {
    let text = tree.text("README.md").unwrap_or_default();
    let mut blocks = blocks(text).into_iter();
    let mut complaints = Vec::new();
    for command in COMMANDS {
        let found = blocks.next();
        if found != Some(("sh", format!("{command}\n"))) {
            complaints.push(format!(
                "README.md: the block should be `sh` with `{command}`, it is {found:?}"
            ));
        }
    }
    complaints
}

/// The fenced blocks of a document: language and contents.
fn blocks(text: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(language), None) => open = Some((language.trim(), String::new())),
            (None, Some((_, contents))) => {
                contents.push_str(line);
                contents.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// Links to files of the tree.
pub(crate) fn links(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.files("", ".md") {
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        let mut fenced = false;
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            let targets = line.split("](").skip(1).filter(|_| !fenced);
            for target in targets.filter_map(|rest| rest.split([')', '#']).next()) {
                let to_file = !target.is_empty()
                    && !target.contains("://")
                    && !target.contains("::")
                    && (target.contains('.') || target.contains('/'));
                if to_file && !tree.has(&resolve(dir, target)) {
                    complaints.push(format!("{path}: {target} is not there"));
                }
            }
        }
    }
    complaints
}

/// Where a link in a document of `dir` leads.
fn resolve(dir: &str, target: &str) -> String {
    let mut parts: Vec<&str> = dir.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Source files that a comment or document names, as paths between backticks.
pub(crate) fn named_files(tree: &Tree) -> Vec<String> {
    let packages: Vec<_> = tree.members().into_iter().chain(tree.excluded()).collect();
    let mut complaints = Vec::new();
    for (path, text) in tree.files("", "") {
        let own = packages
            .iter()
            .find(|package| path.starts_with(&package.path("")));
        let beside = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        for (number, line) in text.lines().enumerate() {
            let prose = path.ends_with(".md") || line.trim_start().starts_with("//");
            for name in line.split('`').skip(1).step_by(2).filter(|_| prose) {
                let is_there = tree.text(name).is_some()
                    || tree.text(&resolve(beside, name)).is_some()
                    || own.is_some_and(|package| tree.text(&package.path(name)).is_some())
                    || own.is_some_and(|p| tree.text(&p.path(&format!("src/{name}"))).is_some());
                if is_path(name) && !is_there {
                    complaints.push(format!("{path}:{}: {name} is not there", number + 1));
                }
            }
        }
    }
    complaints
}

/// A source file in a directory; one without is named after a pattern, not after itself.
fn is_path(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "/_-.".contains(c);
    name.ends_with(".rs") && name.contains('/') && !name.contains("..") && name.chars().all(plain)
}
