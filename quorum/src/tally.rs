//! [`Tally`]: answers to one question, counted.

use crate::{NodeSet, Quorum};
use synod_core::NodeId;

/// What the answers so far amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A quorum said yes. Further answers do not change that.
    Won,
    /// So many said no that the others are no quorum. Further answers do not change that.
    Lost,
    /// It depends on those who have not answered yet.
    Pending,
}

/// Counts the members' answers to one question: an election, a round of accepts, a write.
///
/// The first answer of each member stands; a second one, and answers of nodes that are not
/// members, change nothing.
///
/// ```
/// use synod_core::NodeId;
/// use synod_quorum::{Quorum, Tally, Verdict};
///
/// let mut votes = Tally::new(Quorum::majority([1, 2, 3].map(NodeId))?);
/// assert_eq!(votes.record(NodeId(1), true), Verdict::Pending);
/// assert_eq!(votes.record(NodeId(1), true), Verdict::Pending); // once is enough
/// assert_eq!(votes.record(NodeId(8), true), Verdict::Pending); // a stranger
/// assert_eq!(votes.record(NodeId(3), true), Verdict::Won);
/// # Ok::<(), synod_quorum::QuorumError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tally {
    quorum: Quorum,
    yes: NodeSet,
    no: NodeSet,
}

impl Tally {
    /// Nobody has answered yet.
    #[must_use]
    pub const fn new(quorum: Quorum) -> Self {
        Self {
            quorum,
            yes: NodeSet::EMPTY,
            no: NodeSet::EMPTY,
        }
    }

    /// Counts the answer of `node`, unless it is a stranger or has answered before, and tells how
    /// things stand.
    pub fn record(&mut self, node: NodeId, yes: bool) -> Verdict {
        if let Some(position) = self.quorum.position(node) {
            self.record_at(position, yes);
        }
        self.verdict()
    }

    fn record_at(&mut self, position: usize, yes: bool) {
        if self.answered().contains(position) {
            return;
        }
        if yes {
            self.yes.insert(position);
        } else {
            self.no.insert(position);
        }
    }

    /// How things stand.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.quorum.is_quorum(self.yes) {
            Verdict::Won
        } else if self.quorum.is_blocked_by(self.no) {
            Verdict::Lost
        } else {
            Verdict::Pending
        }
    }

    /// Those who said yes.
    #[must_use]
    pub const fn yes(&self) -> NodeSet {
        self.yes
    }

    /// Those who said no.
    #[must_use]
    pub const fn no(&self) -> NodeSet {
        self.no
    }

    /// Those who have answered.
    #[must_use]
    pub fn answered(&self) -> NodeSet {
        self.yes | self.no
    }

    /// The quorum system that it is counted by.
    #[must_use]
    pub const fn quorum(&self) -> &Quorum {
        &self.quorum
    }
}
