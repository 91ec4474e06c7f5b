//! A quorum system and its members' progress, drawn in text.

use crate::Quorum;
use alloc::string::{String, ToString};
use core::fmt;

/// What [`Quorum::picture`] draws.
#[derive(Debug)]
pub struct Picture<'a> {
    quorum: &'a Quorum,
    values: &'a [u64],
}

impl Quorum {
    /// Draws how far each member has come, for logs and people: a bar by rank, the value, and a
    /// mark at those that hold the [highest](Quorum::highest) value that a quorum has reached.
    ///
    /// ```
    /// use synod_core::NodeId;
    /// use synod_quorum::Quorum;
    ///
    /// let quorum = Quorum::majority([1, 2, 3].map(NodeId))?;
    /// assert_eq!(quorum.picture(&[7, 9, 4]).to_string(), "\
    /// majority(n1, n2, n3) has reached 7
    /// n1 xx> 7 *
    /// n2 xxx> 9 *
    /// n3 x> 4
    /// ");
    /// # Ok::<(), synod_quorum::QuorumError>(())
    /// ```
    ///
    /// # Panics
    /// If there are not as many values as members.
    #[must_use]
    pub fn picture<'a>(&'a self, values: &'a [u64]) -> Picture<'a> {
        assert_eq!(values.len(), self.members().len(), "one value per member");
        Picture {
            quorum: self,
            values,
        }
    }
}

impl fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reached = self.quorum.highest(self.values);
        writeln!(f, "{} has reached {reached}", self.quorum)?;
        let names: alloc::vec::Vec<String> = self
            .quorum
            .members()
            .iter()
            .map(ToString::to_string)
            .collect();
        let width = names.iter().map(String::len).max().unwrap_or(0);
        for (name, value) in names.iter().zip(self.values) {
            let rank = self.values.iter().filter(|other| *other <= value).count();
            let bar = "x".repeat(rank);
            let mark = if *value >= reached { " *" } else { "" };
            writeln!(f, "{name:width$} {bar}> {value}{mark}")?;
        }
        Ok(())
    }
}
