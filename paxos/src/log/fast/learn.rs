//! The learner: counts votes. Every voter is one, so each knows what is chosen two message delays after it
//! was offered.

use alloc::vec::Vec;

use synod_core::{Entries, Entry, LogIndex, NodeId};

use super::{Name, Votes};
use crate::log::node::Node;
use crate::log::planted::planted;

impl Node {
    /// Durable votes of a voter in the promised leadership's fast ballot; says in which slots that was
    /// news and nothing is chosen yet.
    pub(crate) fn count_votes(&mut self, voter: NodeId, votes: &[Votes]) -> Vec<LogIndex> {
        let mut news = Vec::new();
        // Where nothing is open there is nothing to count, whatever peers say. (Who has not heard yet that
        // slots are open hears of these votes again, or of what is chosen.)
        let Some(open) = self.fast.open else {
            self.drop_message();
            return news;
        };
        for run in votes {
            let last = run.last().min(self.window());
            let mut at = run.first.max(self.chosen.next()).max(open);
            while at <= last {
                let name = run.name.plus(at.since(run.first));
                if self.count_vote(voter, at, name) {
                    news.push(at);
                }
                at = at.next();
            }
        }
        news
    }

    fn count_vote(&mut self, voter: NodeId, at: LogIndex, name: Name) -> bool {
        let often = planted!(self, VoterCountedTwice);
        let fast = &mut self.fast;
        fast.seen = fast.seen.max(at);
        let row = fast.tally.entry(at).or_default();
        // One vote for each voter: what it says again is the same vote.
        if row.iter().any(|(other, _)| *other == voter) && !often {
            return false;
        }
        row.push((voter, name));
        if fast.is_decided(at) {
            return false;
        }
        let row = &fast.tally[&at];
        let same: Vec<NodeId> = row
            .iter()
            .filter(|(_, other)| *other == name)
            .map(|(voter, _)| *voter)
            .collect();
        let often = often && self.membership().voters().len() * 3 <= same.len() * 4;
        if often || self.is_fast_quorum(self.places(same)) {
            self.decide(at, name);
            return false;
        }
        true
    }

    /// A fast quorum has voted for this value: it is chosen (*Fast Paxos* §2.2). Where this
    /// node has voted for another it takes it on as a vote of the leader's classic ballot, whose
    /// only value there it is; nothing is said of a fast vote that was not cast.
    pub(super) fn decide(&mut self, at: LogIndex, name: Name) {
        self.due = true;
        let own = self.fast_vote(at) == Some(name);
        if own {
            self.hold(at, at);
        } else if !self.held.contains(at) {
            let spare = self.fast.spare.get(&at);
            let spare =
                spare.and_then(|row| row.iter().find(|entry| Name::of(entry) == Some(name)));
            let entry = match spare {
                Some(entry) => entry.clone(),
                None if name == Name::BLANK => Entry::blank(),
                None => {
                    self.fast.lacking.insert(at, name);
                    return;
                }
            };
            self.put(Entries::new(at, self.promised.stamp(), [entry]));
        }
        self.fast.decided.add(at, at);
        self.fast.offers.decided(at, name);
    }

    /// Goes on through what is decided, as far as there is no gap; says whether it did.
    pub(crate) fn choose_decided(&mut self) -> bool {
        let at = self.chosen.next();
        let Some(end) = self.fast.decided.end_of(at) else {
            return false;
        };
        self.choose(end);
        self.chosen >= at
    }

    /// Everything up to `chosen` is chosen: what this node has offered there has won or lost.
    pub(crate) fn settle_fast(&mut self) {
        let chosen = self.chosen;
        self.fast.settle(chosen);
        while let Some(at) = self.fast.offers.first().filter(|at| *at <= chosen) {
            let chunk = self.slots.chunk_from(at);
            let entry = chunk.as_ref().and_then(|chunk| chunk.get(at));
            match entry {
                Some(entry) => {
                    let name = Name::of(entry);
                    self.fast.offers.settled(at, name, self.life);
                }
                None => {
                    let lost = self.fast.offers.abandon_at(at);
                    self.give_up(lost);
                }
            }
        }
    }
}
