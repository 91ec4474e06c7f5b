//! The text of every file that a rule may look at.

use alloc::collections::BTreeMap;
use std::io;
use std::path::Path;

use toml::{Table, Value};

/// Directories that hold nothing of ours.
const SKIPPED: &[&str] = &["target", "corpus", "artifacts", "node_modules"];

/// Names and endings of files that are read.
const ENDINGS: &[&str] = &[".rs", ".toml", ".md", "LICENSE-MIT", "LICENSE-APACHE"];

/// A source tree in memory: paths from its root, with `/`, and texts.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, String>,
}

/// One package of the tree.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its directory.
    pub dir: String,
    /// Its manifest.
    pub manifest: Table,
}

impl Tree {
    /// A tree of these files.
    pub fn new<P: Into<String>, T: Into<String>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
        let files = files
            .into_iter()
            .map(|(path, text)| (path.into(), text.into()));
        Self {
            files: files.collect(),
        }
    }

    /// Reads the tree below `root`; hidden directories and what was built are left out.
    ///
    /// # Errors
    ///
    /// What the file system says, also of a link that leads nowhere.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.read_dir(root, "")?;
        Ok(tree)
    }

    fn read_dir(&mut self, dir: &Path, prefix: &str) -> io::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            // A link counts as a file: no directory of the tree is one.
            if entry.file_type()?.is_dir() {
                if !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                    self.read_dir(&entry.path(), &format!("{path}/"))?;
                }
            } else if ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                let text = std::fs::read_to_string(entry.path())?;
                self.files.insert(path, text);
            } else {
                // Only that it is there.
                self.files.insert(path, String::new());
            }
        }
        Ok(())
    }

    /// Puts a file into the tree, or another text into a file.
    pub fn put(&mut self, path: &str, text: impl Into<String>) {
        self.files.insert(path.into(), text.into());
    }

    /// Takes a file out of the tree.
    pub fn remove(&mut self, path: &str) {
        self.files.remove(path);
    }

    /// The text of a file.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether a file is there or a directory with files.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        let below = format!("{path}/");
        self.files.contains_key(path) || self.files.keys().any(|file| file.starts_with(&below))
    }

    /// All files whose path begins and ends so.
    pub fn files<'a>(
        &'a self,
        prefix: &'a str,
        ending: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.starts_with(prefix) && path.ends_with(ending))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The workspace's manifest; an empty one if it cannot be read.
    #[must_use]
    pub fn root(&self) -> Table {
        self.manifest("Cargo.toml").unwrap_or_default()
    }

    fn manifest(&self, path: &str) -> Option<Table> {
        self.text(path)?.parse().ok()
    }

    /// The members of the workspace.
    #[must_use]
    pub fn members(&self) -> Vec<Package> {
        self.listed("members")
    }

    /// The packages beside the workspace: heavy or special, each with a lock file of its own.
    #[must_use]
    pub fn excluded(&self) -> Vec<Package> {
        self.listed("exclude")
    }

    /// The members that are published.
    #[must_use]
    pub fn published(&self) -> Vec<Package> {
        let members = self.members().into_iter();
        members.filter(Package::is_published).collect()
    }

    fn listed(&self, key: &str) -> Vec<Package> {
        let root = self.root();
        let listed = root
            .get("workspace")
            .and_then(|workspace| workspace.get(key)?.as_array());
        let dirs = listed.into_iter().flatten().filter_map(Value::as_str);
        let mut found = Vec::new();
        for dir in dirs.flat_map(|dir| self.matching(dir)) {
            if let Some(manifest) = self.manifest(&format!("{dir}/Cargo.toml")) {
                found.push(Package { dir, manifest });
            }
        }
        found
    }

    /// The directories that a member's pattern stands for: `dir` or `dir/*`.
    fn matching(&self, pattern: &str) -> Vec<String> {
        let Some(prefix) = pattern.strip_suffix('*') else {
            return vec![pattern.into()];
        };
        let manifests = self.files(prefix, "/Cargo.toml");
        manifests
            .filter_map(|(path, _)| path.strip_suffix("/Cargo.toml"))
            .filter(|dir| !dir[prefix.len()..].contains('/'))
            .map(Into::into)
            .collect()
    }
}

impl Package {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.field("name").and_then(Value::as_str).unwrap_or("")
    }

    /// A field of `[package]`.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&Value> {
        self.manifest.get("package")?.get(key)
    }

    /// Whether it goes to the registry.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.field("publish").and_then(Value::as_bool) != Some(false)
    }

    /// The dependencies of a kind (`dependencies`, `dev-dependencies`, `build-dependencies`), those
    /// for single targets included.
    #[must_use]
    pub fn dependencies(&self, kind: &str) -> Vec<(String, Value)> {
        let targets = self.manifest.get("target").and_then(Value::as_table);
        let per_target = targets
            .into_iter()
            .flatten()
            .filter_map(|(_, t)| t.get(kind));
        let tables = self.manifest.get(kind).into_iter().chain(per_target);
        tables
            .filter_map(Value::as_table)
            .flatten()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// A path inside the package, from the root of the tree.
    #[must_use]
    pub fn path(&self, inside: &str) -> String {
        format!("{}/{inside}", self.dir)
    }
}
