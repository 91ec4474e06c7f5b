//! The tree that this package lies in.

use std::path::Path;

use synod_tidy::{RULES, Tree};

fn read() -> Tree {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    Tree::read(&root).expect("the tree can be read")
}

#[test]
fn the_tree_keeps_every_rule() {
    let tree = read();
    let mut report = String::new();
    for rule in RULES {
        for complaint in (rule.complaints)(&tree) {
            report += &format!("{}: {complaint}\n", rule.name);
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn the_rules_see_the_tree() {
    let tree = read();
    let names: Vec<String> = tree.members().iter().map(|m| m.name().into()).collect();
    for name in ["synod-core", "synod-quorum", "synod-raft", "synod-tidy"] {
        assert!(
            names.iter().any(|n| n == name),
            "{name} is not in {names:?}"
        );
    }
    assert!(tree.excluded().iter().any(|p| p.dir == "bench"));
    assert!(tree.files("core/src/", ".rs").count() > 10);
}
