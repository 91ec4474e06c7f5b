//! What passes between the roles of a node, and between nodes.

use alloc::vec::Vec;

use synod_core::{Generation, NodeId};

use super::Decree;
use crate::Ballot;
use crate::single::acceptor::{Answer, Reply};
use crate::single::{Body, Event, Learning, Record, Recovery, Value, Vote};

impl Decree {
    /// Lets the roles of this node do what they ask of each other, and what waited for a write.
    pub(super) fn settle(&mut self) {
        loop {
            if let Some(request) = self.node.requests.pop_front() {
                self.on_request(self.node.id(), request);
            } else if let Some(note) = self.node.outbox.next_note() {
                self.on_answer(self.node.id(), note);
            } else {
                return;
            }
        }
    }

    /// A request to the acceptor, of a peer or of its own node.
    fn on_request(&mut self, from: NodeId, request: Body) {
        let config = &self.node.config;
        let (Some(acceptor), None) = (&mut self.acceptor, self.node.fenced) else {
            return;
        };
        let reply = match request {
            Body::Prepare { ballot } => acceptor.prepare(config, ballot),
            Body::Accept { ballot, value } => acceptor.accept(config, ballot, value),
            Body::Any { ballot } => acceptor.any(config, ballot),
            Body::Propose { value } => acceptor.offer(config, value),
            Body::Promise { .. }
            | Body::Accepted { .. }
            | Body::Refused { .. }
            | Body::Chosen { .. }
            | Body::Ask
            | Body::Complete
            | Body::Stranger { .. } => unreachable!("not a request to an acceptor"),
        };
        self.reply(from, reply);
    }

    /// Writes what an acceptor has to keep, and lets it speak once that is durable.
    fn reply(&mut self, to: NodeId, (record, answer): Reply) {
        let node = &mut self.node;
        if let Some(record) = record {
            node.outbox.write(record);
        }
        match answer {
            Some(answer @ Answer::Accepted { .. }) => self.report(answer),
            Some(answer) if to == node.id() => node.outbox.note_after(answer),
            Some(answer) => node.send(to, said(answer)),
            None => {}
        }
    }

    /// Tells of a vote: learners by the scheme, the proposer of the ballot, and where acceptors
    /// recover from collisions the others of them.
    fn report(&mut self, answer: Answer) {
        let Answer::Accepted { vote, .. } = &answer else {
            return;
        };
        let ballot = vote.ballot;
        let mut to = self.first_reached();
        let config = &self.node.config;
        to.push(ballot.proposer);
        if ballot.is_fast() && config.recovery == Recovery::Uncoordinated {
            to.extend(config.acceptors());
        }
        to.push(config.id);
        to.sort_unstable();
        to.dedup();
        for peer in to {
            if peer == self.node.id() {
                self.node.outbox.note_after(answer.clone());
            } else {
                self.node.send(peer, said(answer.clone()));
            }
        }
    }

    /// The learners that are told of votes: the first that can be reached, which is how others take
    /// over from one that is gone.
    fn first_reached(&self) -> Vec<NodeId> {
        let config = &self.node.config;
        let learners = config.learners.iter().copied();
        let reached = learners.filter(|id| self.node.reaches(*id));
        reached.take(config.first_learners()).collect()
    }

    /// The link to a learner has come up or is gone: a vote of which nobody has heard the end is told
    /// to it, or to who takes over from it.
    pub(super) fn tell_again(&mut self, peer: NodeId, is_up: bool) {
        let node = &self.node;
        let is_over = node.chosen.is_some() || node.fenced.is_some();
        let acceptor = self.acceptor.as_ref().filter(|_| !is_over);
        let Some((vote, promised)) = acceptor.and_then(|a| Some((a.vote()?, a.promised()))) else {
            return;
        };
        let vote = vote.clone();
        let to = self.first_reached();
        if !is_up && node.config.learners.contains(&peer) {
            for learner in to {
                let vote = vote.clone();
                self.node.send(learner, Body::Accepted { vote, promised });
            }
        } else if to.contains(&peer) {
            self.node.send(peer, Body::Accepted { vote, promised });
        }
    }

    /// What an acceptor says, that of this node among them.
    fn on_answer(&mut self, from: NodeId, answer: Answer) {
        if self.node.fenced.is_some() && from == self.node.id() {
            return;
        }
        if let Answer::Accepted { vote, promised } = &answer {
            self.on_vote(from, vote, *promised);
        }
        if self.node.chosen.is_some() || self.node.fenced.is_some() {
            return;
        }
        let (Some(proposer), node) = (&mut self.proposer, &mut self.node) else {
            return;
        };
        match answer {
            Answer::Promise { ballot, vote } => proposer.on_promise(node, from, ballot, vote),
            Answer::Accepted { vote, promised } => {
                proposer.on_accepted(node, from, vote, promised);
            }
            Answer::Refused { ballot, promised } => {
                proposer.on_refused(node, from, ballot, promised);
            }
        }
    }

    fn on_vote(&mut self, from: NodeId, vote: &Vote, promised: Ballot) {
        let node = &mut self.node;
        if let Some(learner) = &mut self.learner
            && node.chosen.is_none()
        {
            let chosen = learner.count(&node.config, from, vote.clone());
            learner.expect(node);
            if let Some(value) = chosen {
                self.on_chosen(value);
                self.spread();
            }
        }
        let config = &self.node.config;
        if let (Some(acceptor), None) = (&mut self.acceptor, self.node.fenced) {
            let reply = acceptor.hear(config, from, vote.clone(), promised);
            self.reply(vote.ballot.proposer, reply);
        }
    }

    /// A value was chosen: by the votes that were counted here, or by the word of who counted them.
    fn on_chosen(&mut self, value: Value) {
        let node = &mut self.node;
        if let Some(known) = &node.chosen {
            if known.id != value.id {
                node.drop_message();
            }
            return;
        }
        node.chosen = Some(value.clone());
        // Safe at once: the votes that chose it are durable where they were cast. The record only
        // spares a restart the asking.
        node.outbox.write(Record::Chosen(value.clone()));
        node.tell(Event::Chosen(value.clone()));
        if let Some(proposer) = &mut self.proposer {
            proposer.done(node, &value);
        }
        if let Some(learner) = &mut self.learner {
            learner.done();
        }
    }

    /// Who has counted the votes tells those who have not heard of them: one of the first learners
    /// its share of the rest, any other all of them.
    fn spread(&mut self) {
        let Some(value) = self.node.chosen.clone() else {
            return;
        };
        let config = &self.node.config;
        if config.learning == Learning::Everyone {
            return;
        }
        let first = config.first_learners();
        let place = config.learners.iter().position(|id| *id == config.id);
        let share = |other: usize| match place {
            Some(place) if place < first => other >= first && other % first == place,
            Some(_) => true,
            // A proposer that heard of the votes in its ballot: others have, too.
            None => false,
        };
        let told = config.learners.iter().enumerate();
        let told = told.filter(|(other, _)| share(*other));
        let told: Vec<_> = told.map(|(_, id)| *id).collect();
        for to in told {
            let value = value.clone();
            self.node.send(to, Body::Chosen { value });
        }
    }

    /// A peer's message that may be what it says.
    pub(super) fn on_message(&mut self, from: NodeId, body: Body) {
        let node = &mut self.node;
        let config = &node.config;
        let votes = config.position(from).is_some();
        let proposes = |ballot: Ballot| ballot.proposer == from && config.proposers.contains(&from);
        match body {
            Body::Prepare { ballot } | Body::Accept { ballot, .. } | Body::Any { ballot }
                if self.acceptor.is_some() && proposes(ballot) =>
            {
                if !self.is_answered(from) {
                    self.on_request(from, body);
                }
            }
            Body::Propose { value } if value.payload.len() <= config.max_value_bytes => {
                if !self.is_answered(from) {
                    self.on_proposal(from, value);
                }
            }
            Body::Promise { ballot, vote } if votes && ballot.proposer == node.id() => {
                self.on_answer(from, Answer::Promise { ballot, vote });
            }
            Body::Refused { ballot, promised } if votes && ballot.proposer == node.id() => {
                self.on_answer(from, Answer::Refused { ballot, promised });
            }
            Body::Accepted { vote, promised } if votes => {
                self.on_answer(from, Answer::Accepted { vote, promised });
            }
            Body::Chosen { value } => self.on_chosen(value),
            Body::Ask => {
                if !self.is_answered(from) {
                    self.on_ask(from);
                }
            }
            Body::Complete if self.proposer.is_some() => {
                if !self.is_answered(from) {
                    self.complete();
                }
            }
            Body::Stranger { known } => self.on_stranger(known),
            Body::Prepare { .. }
            | Body::Accept { .. }
            | Body::Any { .. }
            | Body::Propose { .. }
            | Body::Promise { .. }
            | Body::Refused { .. }
            | Body::Accepted { .. }
            | Body::Complete => self.node.drop_message(),
        }
    }

    /// Who asks for anything after the end is told the end.
    fn is_answered(&mut self, from: NodeId) -> bool {
        let Some(value) = self.node.chosen.clone() else {
            return false;
        };
        self.node.send(from, Body::Chosen { value });
        true
    }

    fn on_proposal(&mut self, from: NodeId, value: Value) {
        if let (Some(proposer), None) = (&mut self.proposer, self.node.fenced) {
            proposer.take_on(&mut self.node, value.clone());
        }
        if self.acceptor.is_some() {
            self.on_request(from, Body::Propose { value });
        }
    }

    /// A learner hears too little: the last vote of the acceptor, if there is one.
    fn on_ask(&mut self, from: NodeId) {
        let acceptor = self
            .acceptor
            .as_ref()
            .filter(|_| self.node.fenced.is_none());
        let Some(acceptor) = acceptor else {
            return;
        };
        if let Some(vote) = acceptor.vote().cloned() {
            let promised = acceptor.promised();
            self.node.send(from, Body::Accepted { vote, promised });
        }
    }

    pub(super) fn complete(&mut self) {
        if let (Some(proposer), None) = (&mut self.proposer, self.node.fenced) {
            proposer.complete(&mut self.node);
        }
    }

    /// A peer knows another storage of this node. An acceptor that has lost its votes may not vote,
    /// and a proposer that has lost its ballots may not propose: neither does again (Paxos Made
    /// Simple §2.2: it must remember "even if it fails and then restarts").
    fn on_stranger(&mut self, known: Generation) {
        let node = &mut self.node;
        if known == node.generation || node.fenced.is_some() {
            return node.drop_message();
        }
        node.fenced = Some(known);
        node.outbox.write(Record::Fenced { known });
        node.tell(Event::Fenced { known });
        if let Some(proposer) = &mut self.proposer {
            proposer.stop();
        }
    }
}

/// What an acceptor says, as a message.
fn said(answer: Answer) -> Body {
    match answer {
        Answer::Promise { ballot, vote } => Body::Promise { ballot, vote },
        Answer::Accepted { vote, promised } => Body::Accepted { vote, promised },
        Answer::Refused { ballot, promised } => Body::Refused { ballot, promised },
    }
}
