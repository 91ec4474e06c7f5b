//! The acceptor: what it has promised, what it has voted for, and the rules for both.

use alloc::collections::BTreeMap;

use synod_core::NodeId;

use super::planted::planted;
use super::record::Saved;
use super::{Config, Record, Recovery, Value};
use crate::Ballot;

/// A vote: a value, and the ballot in which it was voted for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Vote {
    /// The ballot.
    pub ballot: Ballot,
    /// The value.
    pub value: Value,
}

/// The acceptor of one node (*Paxos Made Simple*, §2.2; *Fast Paxos*, §2.1).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Acceptor {
    /// It votes in no ballot below (P1a).
    promised: Ballot,
    /// Its last vote, which is its highest.
    vote: Option<Vote>,
    /// The fast ballot in which it may vote for whatever comes.
    open: Option<Ballot>,
    /// What came before that was so: one value is enough to vote.
    waiting: Option<Value>,
    /// What acceptors voted for in the open ballot, and promised with it: for uncoordinated
    /// recovery.
    heard: BTreeMap<NodeId, (Vote, Ballot)>,
}

/// What an acceptor says to a request.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Answer {
    Promise { ballot: Ballot, vote: Option<Vote> },
    Accepted { vote: Vote, promised: Ballot },
    Refused { ballot: Ballot, promised: Ballot },
}

/// What is to be written, and what may be said once that is durable.
pub(crate) type Reply = (Option<Record>, Option<Answer>);

const SILENT: Reply = (None, None);

impl Acceptor {
    pub(crate) fn new(saved: &Saved) -> Self {
        Self {
            promised: saved.promised,
            vote: saved.vote.clone(),
            // Both are forgotten in a crash: it then votes for less than it might, never for more.
            open: None,
            waiting: None,
            heard: BTreeMap::new(),
        }
    }

    pub(crate) const fn promised(&self) -> Ballot {
        self.promised
    }

    pub(crate) const fn vote(&self) -> Option<&Vote> {
        self.vote.as_ref()
    }

    fn voted_in(&self) -> Ballot {
        self.vote.as_ref().map_or(Ballot::START, |vote| vote.ballot)
    }

    /// Phase 1b: promises if the ballot is above all that it has promised, or the same asked again.
    pub(crate) fn prepare(&mut self, config: &Config, ballot: Ballot) -> Reply {
        if ballot < self.promised {
            return (None, Some(self.refusal(ballot)));
        }
        if self.voted_in() >= ballot {
            // Its proposer has gone on to phase 2 long ago.
            return SILENT;
        }
        let mut vote = self.vote.clone();
        if let Some(vote) = &mut vote
            && planted!(config, VoteWithoutItsBallot)
            && self.promised < ballot
        {
            vote.ballot = self.promised;
        }
        let answer = Answer::Promise { ballot, vote };
        if ballot == self.promised {
            return (None, Some(answer));
        }
        self.promised = ballot;
        let written = !planted!(config, PromiseNotPersisted);
        (written.then_some(Record::Promised(ballot)), Some(answer))
    }

    /// Phase 2b: votes unless it has promised more. One vote in each ballot: whatever else is asked
    /// for in the same one, the vote stands.
    pub(crate) fn accept(&mut self, config: &Config, ballot: Ballot, value: Value) -> Reply {
        match self.again(ballot) {
            Some(Answer::Accepted { vote, promised }) if vote.value.id == value.id => {
                (None, Some(Answer::Accepted { vote, promised }))
            }
            // A second value in a classic ballot is nonsense; in a fast one this acceptor was faster.
            Some(answer) if ballot.is_fast() => (None, Some(answer)),
            Some(_) => SILENT,
            None if ballot < self.promised => (None, Some(self.refusal(ballot))),
            None => self.cast(config, Vote { ballot, value }, false),
        }
    }

    /// Phase 2a "any" (*Fast Paxos*, §2.1): votes for the value that waits, or for the next to come.
    pub(crate) fn any(&mut self, config: &Config, ballot: Ballot) -> Reply {
        if let Some(answer) = self.again(ballot) {
            return (None, Some(answer));
        }
        if ballot < self.promised {
            return (None, Some(self.refusal(ballot)));
        }
        if self.open < Some(ballot) {
            self.open = Some(ballot);
            self.heard.clear();
        }
        match self.waiting.take() {
            Some(value) => self.offer(config, value),
            None => SILENT,
        }
    }

    /// A client's value: votes for it if a fast ballot is open and it has not voted there.
    pub(crate) fn offer(&mut self, config: &Config, value: Value) -> Reply {
        if let Some(ballot) = self.open
            && ballot >= self.promised
            && ballot > self.voted_in()
        {
            return self.cast(config, Vote { ballot, value }, true);
        }
        // Once it has voted, a value that comes late has little to wait for: a fast ballot is open
        // only if a quorum has not voted at all.
        if self.vote.is_none() {
            self.waiting.get_or_insert(value);
        }
        SILENT
    }

    /// A vote of an acceptor, for uncoordinated recovery (*Fast Paxos*, §3.2): once enough have
    /// voted in the open ballot, and for too many values, their votes are taken for promises of the
    /// same coordinator's next fast ballot, which they were made to be, and it votes there.
    pub(crate) fn hear(
        &mut self,
        config: &Config,
        from: NodeId,
        vote: Vote,
        promised: Ballot,
    ) -> Reply {
        if config.recovery != Recovery::Uncoordinated || self.open != Some(vote.ballot) {
            return SILENT;
        }
        let next = vote.ballot.next_fast(vote.ballot.proposer);
        self.heard.insert(from, (vote, promised));
        if self.promised > next || self.voted_in() >= next || !self.has_collided(config) {
            return SILENT;
        }
        let promises = self
            .heard
            .iter()
            .filter(|(_, (_, promised))| *promised >= next);
        let promises: BTreeMap<_, _> = promises
            .map(|(node, (vote, _))| (*node, Some(vote.clone())))
            .collect();
        if !config.is_prepared(config.phases.phase1().set(promises.keys().copied())) {
            return SILENT;
        }
        match config.pick(&promises).into_value() {
            Some(value) => {
                let ballot = next;
                self.cast(config, Vote { ballot, value }, false)
            }
            None => SILENT,
        }
    }

    /// Whether no value can be chosen any more in the open ballot, whatever the silent vote for.
    fn has_collided(&self, config: &Config) -> bool {
        let votes = self.heard.iter().map(|(node, (vote, _))| (*node, vote));
        config.is_hopeless(votes, |_| true)
    }

    /// The vote in this ballot, to be told once more.
    fn again(&self, ballot: Ballot) -> Option<Answer> {
        let vote = self.vote.clone().filter(|vote| vote.ballot == ballot)?;
        let promised = self.promised;
        Some(Answer::Accepted { vote, promised })
    }

    /// Votes. That is a promise, too (P1a: it has responded to a proposal of this number). A vote in
    /// a fast ballot promises the ballot in which a collision is recovered, so that it can be taken
    /// for a promise there: between the two lie ballots of other proposers, and a vote in one of
    /// those would make it a lie.
    fn cast(&mut self, config: &Config, vote: Vote, open: bool) -> Reply {
        let ballot = vote.ballot;
        let promised = match config.recovery {
            _ if !ballot.is_fast() => ballot,
            Recovery::Uncoordinated if open => ballot.next_fast(ballot.proposer),
            Recovery::Coordinated | Recovery::Uncoordinated => ballot.next_classic(ballot.proposer),
        };
        if !planted!(config, VoteIsNoPromise) {
            self.promised = self.promised.max(promised);
        }
        self.vote = Some(vote.clone());
        let promised = self.promised;
        let record = Record::Voted {
            vote: vote.clone(),
            promised,
        };
        let written = !planted!(config, VoteNotPersisted);
        let answer = Answer::Accepted { vote, promised };
        (written.then_some(record), Some(answer))
    }

    const fn refusal(&self, ballot: Ballot) -> Answer {
        let promised = self.promised;
        Answer::Refused { ballot, promised }
    }

    /// Its own invariants.
    pub(crate) fn check(&self) {
        assert!(
            self.voted_in() <= self.promised,
            "a vote is a promise: {:?} above {}",
            self.vote,
            self.promised
        );
    }
}
