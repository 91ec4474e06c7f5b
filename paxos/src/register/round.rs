//! One attempt at a job: its ballot and how far it has come.

use alloc::vec::Vec;

use synod_core::{Instant, NodeId};
use synod_quorum::{NodeSet, Quorum, Tally, Verdict};

use crate::Ballot;
use crate::register::job::{Job, Telling};
use crate::register::message::Held;
use crate::register::types::{State, Vote};

/// A job under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Round {
    pub(crate) job: Job,
    pub(crate) ballot: Ballot,
    pub(crate) stage: Stage,
    /// How many ballots have met a conflict.
    pub(crate) conflicts: u32,
    /// When the next thing is to be done: send again, or try again.
    pub(crate) due: Instant,
}

/// How far a round has come.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Stage {
    /// A conflict: the next ballot has to wait.
    Backoff,
    /// Phase 1.
    Prepare(Prepare),
    /// Phase 1 is done, and the application is to say what to propose.
    Asking { base: State },
    /// Phase 2.
    Accept(Proposal),
}

/// Phase 1: what acceptors hold, as far as they have answered.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Prepare {
    pub(crate) tally: Tally,
    /// How often the same was asked before in this ballot, by jobs that changed nothing. A late answer
    /// to one of these says what was there before this job: counted, it would make a stale read
    /// (`tests/register/rules.rs`, `a_late_promise_confirms_no_later_read`).
    pub(crate) asked: u64,
    /// The vote of the latest configuration and the highest ballot in it.
    best: Option<Vote>,
    /// Who has that, accepted under the configuration in force.
    holders: NodeSet,
    /// The highest ballot up to which something may be forgotten.
    floor: Ballot,
    /// These have no room.
    pub(crate) full: NodeSet,
    /// Planted: configurations make no difference to the order of votes.
    by_ballot: bool,
}

/// Phase 2.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Proposal {
    pub(crate) tally: Tally,
    pub(crate) state: State,
    pub(crate) next: Ballot,
    pub(crate) telling: Telling,
    /// These have no room.
    pub(crate) full: NodeSet,
    /// Planted: what it was made from.
    #[cfg(feature = "planted")]
    pub(crate) base: Option<State>,
}

/// Two proposals in one ballot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Clash(pub(crate) Ballot);

impl Prepare {
    pub(crate) fn new(phase1: &Quorum, asked: u64, by_ballot: bool) -> Self {
        Self {
            tally: Tally::new(phase1.clone()),
            asked,
            best: None,
            holders: NodeSet::EMPTY,
            floor: Ballot::START,
            full: NodeSet::EMPTY,
            by_ballot,
        }
    }

    /// Counts a promise.
    pub(crate) fn promised(
        &mut self,
        from: NodeId,
        held: Held,
        epoch: u64,
    ) -> Result<Verdict, Clash> {
        let Some(place) = self.tally.quorum().position(from) else {
            return Ok(self.tally.verdict());
        };
        if self.tally.answered().contains(place) {
            return Ok(self.tally.verdict());
        }
        match held {
            Held::Nothing(floor) => self.floor = self.floor.max(floor),
            Held::Vote(vote) => {
                match &self.best {
                    Some(best) if self.rank(&vote) < self.rank(best) => {
                        return Ok(self.tally.record(from, true));
                    }
                    Some(best) if self.rank(&vote) == self.rank(best) => {
                        if vote.state != best.state {
                            return Err(Clash(vote.ballot));
                        }
                    }
                    Some(_) | None => self.holders = NodeSet::EMPTY,
                }
                if vote.epoch == epoch {
                    self.holders.insert(place);
                }
                self.best = Some(vote);
            }
        }
        Ok(self.tally.record(from, true))
    }

    /// Votes of a later configuration come after all of an earlier one. By ballot alone, this goes
    /// wrong: in epoch 10 a minority accepts ballot 218; in epoch 11 a quorum without it prepares and
    /// chooses 216, and the next one, with 218 in it, goes back behind that. Quorums of phase 1 of an
    /// epoch need not meet those of phase 2 of the next.
    const fn rank(&self, vote: &Vote) -> (u64, Ballot) {
        let epoch = if self.by_ballot { 0 } else { vote.epoch };
        (epoch, vote.ballot)
    }

    /// The content that the round goes on from: that of the highest ballot (§2.2) of the
    /// latest configuration.
    pub(crate) fn base(&self) -> State {
        match &self.best {
            Some(vote) => vote.state.clone(),
            None => State::nothing(self.floor),
        }
    }

    /// The ballot of that content.
    pub(crate) fn base_ballot(&self) -> Ballot {
        self.best.as_ref().map_or(self.floor, |vote| vote.ballot)
    }

    /// Whether those who have room are no quorum.
    pub(crate) fn is_full(&self) -> bool {
        self.tally.quorum().is_blocked_by(self.full)
    }

    /// Whether that content is chosen already, so that it need not be proposed once more to be told.
    ///
    /// All `holders` have accepted it in one ballot *w* and under the configuration *e* in force; if
    /// they are a phase-2 quorum of *e*, it was chosen, by the definition: a ballot is proposed
    /// under one configuration only, so *w* was proposed in *e*. From then on every ballot above *w*
    /// that gets through phase 1, in *e* or later, meets a holder and goes on from this content or one
    /// made from it. So a read that is asked for later cannot return an older one, and a change that
    /// a minority has accepted above *w* unseen by this quorum counts as made after this read. The
    /// votes must be of *e*: a phase-2 quorum of *e* that voted in an earlier epoch with larger
    /// quorums has chosen nothing there.
    pub(crate) fn is_chosen(&self, phase2: &Quorum) -> bool {
        phase2.is_quorum(self.holders)
    }
}

impl Proposal {
    /// Whether those who have room are no quorum.
    pub(crate) fn is_full(&self) -> bool {
        self.tally.quorum().is_blocked_by(self.full)
    }
}

impl Round {
    /// Those who have not answered yet.
    pub(crate) fn silent(&self) -> Vec<NodeId> {
        let tally = match &self.stage {
            Stage::Prepare(prepare) => &prepare.tally,
            Stage::Accept(proposal) => &proposal.tally,
            Stage::Backoff | Stage::Asking { .. } => return Vec::new(),
        };
        let quorum = tally.quorum();
        quorum.nodes(quorum.all() - tally.answered()).collect()
    }

    /// Whether somebody has refused.
    pub(crate) fn is_refused(&self) -> bool {
        match &self.stage {
            Stage::Prepare(prepare) => !prepare.tally.no().is_empty(),
            Stage::Accept(proposal) => !proposal.tally.no().is_empty(),
            Stage::Backoff | Stage::Asking { .. } => false,
        }
    }

    /// Whether those who have answered a proposal have all refused, and others are to answer yet.
    pub(crate) fn may_vanish(&self) -> bool {
        match &self.stage {
            Stage::Accept(proposal) => {
                let tally = &proposal.tally;
                tally.yes().is_empty() && tally.no() != tally.quorum().all()
            }
            Stage::Prepare(_) | Stage::Backoff | Stage::Asking { .. } => false,
        }
    }

    /// Notes that the proposal of this round may or may not take effect.
    pub(crate) fn doubt(&mut self) {
        if let Stage::Accept(proposal) = &self.stage {
            self.job.full |= proposal.is_full();
            let tally = &proposal.tally;
            // Proposing once more what is there takes no effect, and neither does what everybody has
            // refused because they have promised more. Who has no room has promised nothing: a
            // second copy of the same proposal may find some (`tests/register/limits.rs`,
            // `what_was_refused_for_want_of_room_does_not_happen_later`).
            let is_refused_by_all = tally.no() == tally.quorum().all() && proposal.full.is_empty();
            if proposal.state.version == self.ballot && !is_refused_by_all {
                let value = proposal.state.value.clone();
                self.job.doubt(self.ballot, value);
            }
        }
    }
}
