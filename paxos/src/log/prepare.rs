//! Phase 1: a proposer asks for promises and for what was voted for in lower ballots (Lamport, *Paxos
//! Made Simple*, §2.2 and §3). One ballot is for all slots behind what is known to be chosen.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use synod_core::{Entries, Entry, LoadId, LogIndex, LogLoaded, NodeId};
use synod_quorum::{NodeSet, Tally, Verdict};

use super::fast::{Reports, Rule};
use super::fetch;
use super::message::{Body, Page};
use super::node::Node;
use super::planted::planted;
use super::stop;
use crate::Ballot;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Candidate {
    pub(crate) ballot: Ballot,
    /// Who has promised the ballot, and who has promised a higher one.
    promises: Tally,
    acceptors: Vec<Acceptor>,
    /// The votes in each slot that is not known to be chosen.
    found: BTreeMap<LogIndex, Reports>,
    /// This node's own votes that are on disk only.
    loading: Option<LoadId>,
    /// How many rounds of the election have ended while its own disk had not answered.
    waited: u32,
}

/// What an acceptor has said.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Acceptor {
    id: NodeId,
    /// It has promised.
    promised: bool,
    /// Its votes up to here are known.
    covered: LogIndex,
    /// The last slot that it holds a vote in.
    last: LogIndex,
    /// It has more, and is asked for it once the disk has room.
    waits: bool,
}

/// What phase 1 has found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// The last slot that anybody voted in.
    pub(crate) through: LogIndex,
    /// The value to propose again in each slot that somebody voted in.
    pub(crate) votes: BTreeMap<LogIndex, (Ballot, Entry)>,
    /// The last of them is a stop-sign: nothing is proposed behind it.
    pub(crate) stop: Option<LogIndex>,
}

impl Candidate {
    /// Promises `ballot`, its own, and asks the others to (Paxos Made Simple §2.2, phase 1a). Own promise and question are held back
    /// until that is durable: so no life of this node uses a ballot that another one has used.
    pub(crate) fn new(node: &mut Node, ballot: Ballot) -> Option<Self> {
        let phases = node.membership().phases()?;
        let promises = Tally::new(phases.phase1().clone());
        let acceptors = phases.members().iter().map(|id| Acceptor {
            id: *id,
            promised: false,
            covered: LogIndex::START,
            last: LogIndex::START,
            waits: false,
        });
        let mut candidate = Self {
            ballot,
            promises,
            acceptors: acceptors.collect(),
            found: BTreeMap::new(),
            loading: None,
            waited: 0,
        };
        candidate.ask_all(node);
        Some(candidate)
    }

    /// A round of the election is over; says whether this node's own disk keeps it from leading: it
    /// has not written the promise, or read the votes, for longer than a disk that works takes. All
    /// others hear it and would leave it alone for ever, though any of them could lead.
    pub(crate) fn is_stuck(&mut self, node: &Node) -> bool {
        const PATIENCE: u32 = 16;
        if node.settled && self.loading.is_none() {
            self.waited = 0;
        } else {
            self.waited += 1;
        }
        self.waited > PATIENCE
    }

    /// Asks everyone who has not answered yet.
    pub(crate) fn ask_all(&mut self, node: &mut Node) {
        if self.loading.is_none() {
            self.read_own(node);
        }
        for place in 0..self.acceptors.len() {
            let acceptor = &self.acceptors[place];
            if acceptor.id == node.id() {
                continue;
            }
            if acceptor.promised {
                self.go_on(node, place);
            } else {
                let body = Body::Prepare { after: node.chosen };
                node.send(acceptor.id, body);
            }
        }
    }

    /// Asks one whose link has come up.
    pub(crate) fn ask(&mut self, node: &mut Node, peer: NodeId) {
        if let Some(place) = self.place(peer) {
            if self.acceptors[place].promised {
                self.go_on(node, place);
            } else {
                node.send(peer, Body::Prepare { after: node.chosen });
            }
        }
    }

    fn place(&self, id: NodeId) -> Option<usize> {
        self.acceptors.iter().position(|acceptor| acceptor.id == id)
    }

    /// Asks for the next page of an acceptor's votes, if there is more.
    fn go_on(&mut self, node: &mut Node, place: usize) {
        let room = node.outbox.has_room();
        let acceptor = &mut self.acceptors[place];
        let known = acceptor.covered.max(node.chosen);
        let lacks = known < acceptor.last;
        // As a follower: no more is asked for than the disk can take.
        acceptor.waits = lacks && !room;
        if lacks && room {
            node.fetch_votes(acceptor.id, known);
        }
    }

    /// The disk has room again.
    pub(crate) fn go_on_all(&mut self, node: &mut Node) {
        for place in 0..self.acceptors.len() {
            if self.acceptors[place].waits {
                self.go_on(node, place);
            }
        }
    }

    /// This node's own promise is durable.
    pub(crate) fn own_promise(&mut self, node: &Node) {
        self.promises.record(node.id(), true);
        if let Some(place) = self.place(node.id()) {
            self.acceptors[place].promised = true;
        }
    }

    /// Takes this node's own votes, from disk where they are not in memory.
    fn read_own(&mut self, node: &mut Node) {
        let Some(place) = self.place(node.id()) else {
            return;
        };
        self.acceptors[place].last = node.slots.sealed();
        loop {
            let known = self.acceptors[place].covered.max(node.chosen);
            if known >= self.acceptors[place].last {
                return;
            }
            match fetch::page(node, (known, None), true) {
                Ok(page) => self.take(node, place, &page),
                Err(load) => {
                    self.loading = Some(node.outbox.load(load));
                    return;
                }
            }
        }
    }

    /// This node's own votes were read; `false` if it was not that.
    pub(crate) fn loaded(
        &mut self,
        node: &mut Node,
        load: LoadId,
        answer: &Option<LogLoaded>,
    ) -> bool {
        if self.loading != Some(load) {
            return false;
        }
        self.loading = None;
        if let (Some(LogLoaded::Entries { runs, .. }), Some(place)) =
            (answer, self.place(node.id()))
        {
            let known = self.acceptors[place].covered.max(node.chosen);
            let through = runs.last().map_or(known, Entries::last);
            let page = Page {
                after: known,
                through,
                runs: runs.clone(),
                chosen: node.chosen,
                last: node.slots.sealed(),
            };
            self.take(node, place, &page);
            self.read_own(node);
        }
        // Else storage does not have what it should: the next round of the election asks anew.
        true
    }

    /// A promise, with the first page of an acceptor's votes.
    pub(crate) fn on_promise(&mut self, node: &mut Node, from: NodeId, page: &Page) {
        let Some(place) = self.place(from) else {
            return node.drop_message();
        };
        self.promises.record(from, true);
        let first = !core::mem::replace(&mut self.acceptors[place].promised, true);
        if self.hear(node, place, page) || first {
            self.go_on(node, place);
        }
    }

    /// A page of an acceptor's votes.
    pub(crate) fn on_page(&mut self, node: &mut Node, from: NodeId, page: &Page) {
        let Some(place) = self
            .place(from)
            .filter(|place| self.acceptors[*place].promised)
        else {
            return node.drop_message();
        };
        // One that brings nothing new asks for nothing: the question may have been asked twice, by
        // each round of the election anew, and all the answers would go on side by side.
        if self.hear(node, place, page) {
            self.go_on(node, place);
        }
    }

    /// Takes a page in; says whether more of this acceptor's votes is known than before.
    fn hear(&mut self, node: &mut Node, place: usize, page: &Page) -> bool {
        let known = |candidate: &Self, node: &Node| {
            let covered = candidate.acceptors[place].covered;
            covered.max(node.chosen)
        };
        let before = known(self, node);
        self.acceptors[place].last = page.last;
        node.learn(page);
        self.take(node, place, page);
        known(self, node) > before
    }

    /// Notes what an acceptor has voted for: the vote of the highest ballot counts (Paxos Made Simple
    /// §2.2, P2c: with a lower one, what a quorum has chosen in between would be undone). What one that does not come to belong to the quorum has
    /// said counts too: each vote is for a value that is safe in its ballot, so the highest of more
    /// votes than a quorum's is as good. (Of votes in fast ballots that is not so: who has cast them is
    /// kept, and in the end only the quorum's count.) A page that was asked for before the promise says less, what
    /// is chosen alone, but ends there, so nothing in it is missing either.
    fn take(&mut self, node: &Node, place: usize, page: &Page) {
        let acceptor = &mut self.acceptors[place];
        let from = acceptor.id;
        if page.after > acceptor.covered.max(node.chosen) {
            // Of a page between this one and what is known nothing was heard.
            return;
        }
        acceptor.covered = acceptor.covered.max(page.through);
        for run in &page.runs {
            let part = run.after(node.chosen);
            let ballot = Ballot::from(part.stamp());
            for (index, entry) in part.iter() {
                let first = planted!(node, FirstVoteWins);
                let known = self.found.entry(index).or_default();
                known.note(from, ballot, entry, first);
            }
        }
    }

    /// An acceptor has promised a higher ballot; whether that ends this one.
    pub(crate) fn on_nack(&mut self, from: NodeId) -> bool {
        self.promises.record(from, false) == Verdict::Lost
    }

    /// Whether `id` is asked, and has not promised.
    pub(crate) fn awaits(&self, id: NodeId) -> bool {
        self.place(id)
            .is_some_and(|place| !self.acceptors[place].promised)
    }

    /// Whether a quorum has promised and all its votes are known: then phase 2 may begin (§2.2, phase 2a;
    /// that it need only meet the quorums of phase 2: Howard et al., *Flexible Paxos*, 2016).
    pub(crate) fn is_done(&self, node: &Node) -> bool {
        let (quorum, complete) = (self.promises.quorum(), self.complete(node));
        // Its own votes must be among them: it could not tell slots that nobody needs from free ones.
        let own = quorum.set([node.id()]);
        if complete & own != own {
            return false;
        }
        if planted!(node, MajorityMinusOne) {
            return complete.len() * 2 + 2 > quorum.members().len();
        }
        quorum.is_quorum(complete)
    }

    /// Who has promised, with all votes known.
    fn complete(&self, node: &Node) -> NodeSet {
        let complete = self.acceptors.iter().filter(|acceptor| {
            acceptor.promised && acceptor.covered.max(node.chosen) >= acceptor.last
        });
        let quorum = self.promises.quorum();
        quorum.set(complete.map(|acceptor| acceptor.id))
    }

    /// Hands over what phase 1 has found; nothing of it is left here.
    pub(crate) fn finish(&mut self, node: &Node) -> Found {
        let replied = self.complete(node);
        let phases = node.membership().phases();
        let rule = Rule::of(node);
        let reports = self.found.split_off(&node.chosen.next());
        let picked = reports.into_iter().filter_map(|(index, reports)| {
            let vote = reports.pick(phases, replied, rule)?;
            Some((index, vote))
        });
        let mut votes = picked.collect();
        let void_counts = planted!(node, VoidStopCounts);
        let stop = stop::end_of(&mut votes, node.epoch(), void_counts);
        let through = votes
            .last_key_value()
            .map_or(node.chosen, |(index, _)| *index);
        Found {
            through,
            votes,
            stop,
        }
    }
}
