//! Elections (Raft §5.2, §5.4.1) with pre-votes (dissertation §9.6).

use synod_core::{Instant, NodeId};
use synod_quorum::{Tally, Verdict};

use crate::node::{Node, Note};
use crate::planted::planted;
use crate::{Body, Detail, Position, Term};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Candidate {
    /// Whether it only asks whether it would win.
    pub(crate) pre: bool,
    tally: Tally,
    /// When it tries again.
    pub(crate) deadline: Instant,
    /// How often it has tried in this term.
    pub(crate) attempt: u64,
}

impl Candidate {
    /// Asks whether an election in the next term would be won. Disturbs nobody: no term changes.
    pub(crate) fn ask(node: &mut Node, attempt: u64) -> Option<Self> {
        let mut candidate = Self::new(node, true, attempt)?;
        node.detail(Detail::Election {
            term: node.term.next(),
            pre: true,
        });
        candidate.tally.record(node.id(), true);
        candidate.request(node);
        Some(candidate)
    }

    /// Stands for election in a new term. Term and own vote are one record, and the requests wait
    /// for it: a candidate that forgot its vote could vote for another in the same term.
    pub(crate) fn stand(node: &mut Node) -> Option<Self> {
        node.term = node.term.next();
        node.vote = Some(node.id());
        if !planted!(node, TermNotPersisted) {
            node.write_state();
        }
        let candidate = Self::new(node, false, 0)?;
        node.detail(Detail::Election {
            term: node.term,
            pre: false,
        });
        // Its own vote counts once it is durable.
        node.outbox.note_after(Note::Voted(node.term));
        candidate.request(node);
        Some(candidate)
    }

    fn new(node: &Node, pre: bool, attempt: u64) -> Option<Self> {
        let phases = node.membership().phases()?;
        let tally = Tally::new(phases.election().clone());
        let deadline = node.now + node.election_timeout(attempt);
        Some(Self {
            pre,
            tally,
            deadline,
            attempt,
        })
    }

    fn request(&self, node: &mut Node) {
        for voter in node.membership().voters().to_vec() {
            self.request_from(node, voter);
        }
    }

    /// Asks one voter: at the start, and when a link to it comes up.
    pub(crate) fn request_from(&self, node: &mut Node, voter: NodeId) {
        if voter != node.id() && self.tally.quorum().position(voter).is_some() {
            let last = node.last_position();
            node.send(
                voter,
                Body::Vote {
                    pre: self.pre,
                    last,
                },
            );
        }
    }

    /// Counts a vote.
    pub(crate) fn record(&mut self, voter: NodeId, granted: bool) -> Verdict {
        self.tally.record(voter, granted)
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.tally.verdict()
    }
}

/// The term that a vote request is about.
pub(crate) fn candidacy(term: Term, pre: bool) -> Term {
    if pre { term.next() } else { term }
}

/// Whether a candidate's log is one that this node may vote for: every committed entry is in the
/// log of some voter of every quorum, and that voter refuses a log without it (Raft §5.4.1).
pub(crate) fn may_follow(node: &Node, last: Position) -> bool {
    if planted!(node, VoteForStaleLog) {
        return true;
    }
    if planted!(node, VoteByLengthOnly) {
        return last.index >= node.last_position().index;
    }
    last.is_up_to_date_with(node.last_position())
}

/// Answers a pre-vote: by the whole rule, and without a promise.
pub(crate) fn on_pre_vote(node: &mut Node, from: NodeId, term: Term, last: Position, led: bool) {
    let candidacy = term.next();
    let granted = candidacy > node.term && !led && may_follow(node, last);
    node.send(
        from,
        Body::Voted {
            pre: true,
            candidacy,
            granted,
        },
    );
}

/// Answers a request for a vote in this node's term; says whether it has voted for the candidate.
/// Learners vote too: a candidate may know that they are voters before they do.
pub(crate) fn on_vote(node: &mut Node, from: NodeId, last: Position) -> bool {
    let free = node.vote.is_none_or(|vote| vote == from);
    let granted = free && node.leader.is_none() && may_follow(node, last);
    if granted && node.vote.is_none() {
        node.vote = Some(from);
        if !planted!(node, VoteNotPersisted) {
            node.write_state();
        }
    }
    // Waits for the record above.
    let candidacy = node.term;
    node.send(
        from,
        Body::Voted {
            pre: false,
            candidacy,
            granted,
        },
    );
    granted
}
