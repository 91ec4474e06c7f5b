//! What source files look like.

use crate::Tree;
use crate::lexer::code_only;

/// The most lines of a file under `src/`.
const LINES: usize = 500;

/// Macros that stand for work not done, or for a look inside while working.
const PLACEHOLDERS: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// A file is about one thing.
pub(crate) fn length(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    let packages = tree.members().into_iter().chain(tree.excluded());
    for package in packages {
        for (path, text) in tree.files(&package.path("src/"), ".rs") {
            let lines = text.lines().count();
            if lines > LINES {
                complaints.push(format!("{path} has {lines} lines, the limit is {LINES}"));
            }
        }
    }
    complaints
}

/// Nothing is half done.
pub(crate) fn placeholders(tree: &Tree) -> Vec<String> {
    find(tree, |line| {
        PLACEHOLDERS
            .iter()
            .copied()
            .find(|word| has_word(line, word))
    })
}

/// A test runs, or it is not there.
pub(crate) fn ignored_tests(tree: &Tree) -> Vec<String> {
    find(tree, |line| {
        let bare: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        let attribute = bare.starts_with("#[ignore") || bare.contains(",ignore)]");
        attribute.then_some("#[ignore]")
    })
}

/// The lines of code in which something is found.
fn find(tree: &Tree, what: impl Fn(&str) -> Option<&'static str>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.files("", ".rs") {
        for (number, line) in code_only(text).lines().enumerate() {
            if let Some(found) = what(line) {
                complaints.push(format!("{path}:{}: {found}", number + 1));
            }
        }
    }
    complaints
}

fn has_word(line: &str, word: &str) -> bool {
    let mut from = 0;
    while let Some(at) = line[from..].find(word).map(|at| at + from) {
        let before = line[..at].chars().next_back();
        if !before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            return true;
        }
        from = at + word.len();
    }
    false
}

/// Examples in documentation compile.
pub(crate) fn ignored_doc_tests(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.files("", "") {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            let doc = match path.ends_with(".rs") {
                true => ["///", "//!"]
                    .iter()
                    .find_map(|mark| line.strip_prefix(mark)),
                false => Some(line),
            };
            let info = doc.and_then(|doc| doc.trim_start().strip_prefix("```"));
            let ignored = info.is_some_and(|info| info.split([',', ' ']).any(is_ignore));
            if ignored {
                complaints.push(format!("{path}:{}: an example is ignored", number + 1));
            }
        }
    }
    complaints
}

/// `ignore`, or `ignore-` and a target.
fn is_ignore(word: &str) -> bool {
    word == "ignore" || word.starts_with("ignore-")
}
