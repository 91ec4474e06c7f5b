//! The machine: dispatch, and the transitions between roles.

use alloc::boxed::Box;
use alloc::vec::Vec;

use synod_core::{
    Envelope, Forwards, Instant, Link, LoadId, LogCommand, LogLoad, LogLoaded, LogRecord, Machine,
    NodeId, Output, Rejected, Role as Part, Ticket, Wake, WriteId,
};

use super::elect::Election;
use super::fetch::Server;
use super::follower::Follower;
use super::handover::Handover;
use super::leader::Leader;
use super::node::{Node, Note};
use super::planted::planted;
use super::prepare::Candidate;
use super::quorum_read::QuorumReads;
use super::{Body, Detail, Epoch, Event, Message};
use crate::Ballot;

mod clock;
mod dispatch;
mod epoch;

/// One node of a Multi-Paxos cluster, as a [`Machine`] and a
/// [`ReplicatedLog`](synod_core::ReplicatedLog).
///
/// Made by [`MultiPaxos::new`] from what its storage holds. A clone is an independent copy of the
/// whole state; two nodes that would behave alike are equal, which a model checker relies on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MultiPaxos {
    pub(crate) node: Node,
    pub(crate) role: Role,
    pub(crate) election: Election,
    pub(crate) forwards: Forwards,
    pub(crate) server: Server,
    pub(crate) quorum_reads: QuorumReads,
    /// The epoch that the role is of: that of the node, but while it enters the next one.
    pub(crate) epoch: Epoch,
    pub(crate) handover: Handover,
    /// Something has happened since the last flush that may have to be sent or written.
    pub(crate) dirty: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Role {
    Follower(Follower),
    Candidate(Candidate),
    Leader(Box<Leader>),
}

impl MultiPaxos {
    // Transitions: one function each.

    /// Ends a leadership, if there is one: before another ballot is promised, since what it has taken
    /// on is of its own.
    fn step_down(&mut self) {
        if let Role::Leader(leader) = &mut self.role {
            let node = &mut self.node;
            // It goes to its slots like the rest: a leader that crashed here would have left it in
            // the same state.
            node.seal(leader.ballot);
            leader.end_reads(node);
            node.touch = node.now;
        }
    }

    /// Follows whoever the promised ballot belongs to; `leader` once that leads.
    fn become_follower(&mut self, leader: Option<NodeId>, why: &'static str) {
        self.step_down();
        let node = &self.node;
        if leader != node.leader {
            self.give_up_forwards();
        }
        let node = &mut self.node;
        node.leader = leader;
        if leader.is_some() {
            node.age_claims();
        }
        let before = match &self.role {
            Role::Follower(follower) => Some(follower),
            Role::Candidate(_) | Role::Leader(_) => None,
        };
        self.role = Role::Follower(Follower::after(before));
        let part = if node.is_voter() {
            Part::Follower
        } else {
            Part::Learner
        };
        node.role(part, why);
    }

    /// Promises a higher ballot of another node.
    pub(crate) fn follow(&mut self, ballot: Ballot, why: &'static str) {
        self.step_down();
        self.node.promise(ballot);
        self.election.promised(ballot);
        self.become_follower(None, why);
    }

    /// Prepares a ballot of its own (phase 1).
    fn become_candidate(&mut self, why: &'static str) {
        let ballot = self.election.stand(&self.node);
        self.step_down();
        self.give_up_forwards();
        let node = &mut self.node;
        node.leader = None;
        node.promise(ballot);
        let after = node.chosen;
        node.detail(Detail::Preparing { ballot, after });
        if let Some(candidate) = Candidate::new(node, ballot) {
            self.role = Role::Candidate(candidate);
            node.role(Part::Candidate, why);
        }
        self.drain_notes();
    }

    /// Leads, once phase 1 is done.
    fn lead_if_done(&mut self) {
        let node = &mut self.node;
        let Role::Candidate(candidate) = &mut self.role else {
            return;
        };
        if self.epoch != node.epoch() || !candidate.is_done(node) {
            // What was promised in an epoch that has just ended leads nobody in the next.
            return;
        }
        let (ballot, found) = (candidate.ballot, candidate.finish(node));
        node.leader = Some(node.id());
        node.age_claims();
        self.role = Role::Leader(Box::new(Leader::new(node, ballot, found)));
        if planted!(node, ChosenGoesBack) {
            node.chosen = node.slots.base();
        }
        node.role(Part::Leader, "a quorum has promised its ballot");
        self.dirty = true;
    }

    /// Takes over from whoever leads.
    pub(super) fn take_over(&mut self, why: &'static str) {
        if self.node.is_voter() && !self.node.is_bound(self.node.id()) {
            self.become_candidate(why);
        }
    }

    // Notes and loads.

    /// Does to this node what waited for a write.
    fn drain_notes(&mut self) {
        let mut grown = false;
        while let Some(note) = self.node.outbox.next_note() {
            let node = &mut self.node;
            match note {
                Note::Held(cover) => {
                    node.persisted(&cover);
                    grown = true;
                }
                Note::Promised(ballot) if ballot == node.promised => {
                    node.settled = true;
                    grown = true;
                    if let Role::Candidate(candidate) = &mut self.role {
                        candidate.own_promise(node);
                        self.lead_if_done();
                    }
                }
                Note::Installed(index) => {
                    node.handout.installed(index);
                    node.due = true;
                }
                Note::Refused { ballot, to } if ballot == node.promised => {
                    // Safe while other writes run: the promise was written before.
                    node.send_now(to, Body::Nack);
                }
                Note::Voted { ballot, votes } if ballot == node.promised => {
                    let me = node.id();
                    self.count_votes(me, &votes);
                }
                // Of a ballot that is over.
                Note::Promised(_) | Note::Refused { .. } | Note::Voted { .. } => {}
            }
        }
        if !grown {
            return;
        }
        match &mut self.role {
            Role::Leader(leader) => leader.advance(&mut self.node),
            Role::Follower(follower) if self.node.settled => follower.answer(&mut self.node),
            Role::Follower(_) | Role::Candidate(_) => {}
        }
    }

    fn on_loaded(&mut self, load: LoadId, answer: Option<LogLoaded>) {
        let node = &mut self.node;
        if node.handout.loaded(load) {
            let runs = match answer {
                Some(LogLoaded::Entries { runs, .. }) => runs,
                Some(LogLoaded::Snapshot { .. }) | None => Vec::new(),
            };
            return node.hand_loaded(runs);
        }
        if self.server.loaded(node, load, &answer) {
            return;
        }
        if let Role::Candidate(candidate) = &mut self.role
            && candidate.loaded(node, load, &answer)
        {
            self.lead_if_done();
        }
    }

    /// Writes and sends what has gathered since the last flush. Kept out of `poll`, which most
    /// often has only to hand out what is ready.
    #[inline(never)]
    fn flush(&mut self) {
        self.flush_offers();
        // Own votes that count by now may decide slots, which are held then.
        self.drain_notes();
        if !self.quorum_reads.is_idle() {
            self.read_by_quorums();
        }
        let node = &mut self.node;
        match &mut self.role {
            Role::Leader(leader) => {
                leader.flush(node);
                node.note_held();
            }
            Role::Follower(follower) => {
                follower.flush(node);
                if self.forwards.is_gathering()
                    && let Some(leader) = node.leader
                {
                    self.send_forwards(leader);
                }
            }
            Role::Candidate(_) => node.note_held(),
        }
        self.drain_notes();
        self.follow_configuration();
        let node = &mut self.node;
        match &mut self.role {
            Role::Leader(leader) => leader.advance_decided(node),
            Role::Follower(_) => {
                node.choose_decided();
            }
            Role::Candidate(_) => {}
        }
        if node.due {
            node.due = false;
            node.hand_out();
            let through = node.chosen.min(node.durable.through());
            node.slots.evict(node.config.limits.log_bytes, through);
        }
    }

    /// Notes the time, and that the next poll may have something to gather.
    pub(crate) fn see(&mut self, now: Instant) {
        self.node.see(now);
        self.dirty = true;
    }

    /// Checks the invariants of this node alone.
    ///
    /// # Panics
    ///
    /// If one is broken: a bug of this crate.
    pub fn check(&self) {
        self.node.check();
        if let Role::Leader(leader) = &self.role {
            leader.check(&self.node);
        }
    }
}

impl Machine for MultiPaxos {
    type Command = LogCommand;
    type Reply = Result<Option<Ticket>, Rejected>;
    type Message = Message;
    type Record = LogRecord;
    type Load = LogLoad;
    type Loaded = LogLoaded;
    type Event = Event;

    fn call(&mut self, now: Instant, command: LogCommand) -> Self::Reply {
        command.give(self, now)
    }

    fn step(&mut self, now: Instant, envelope: Envelope<Message>) {
        self.see(now);
        let Envelope {
            from,
            to,
            link,
            message,
        } = envelope;
        let meant = to == self.node.id() && self.node.link_to(from) == Some(link);
        if self.node.stopped || !meant || !message.is_plausible() {
            return self.node.drop_message();
        }
        // Not answered in kind: two that are strangers to each other would go on without end.
        let answered = !matches!(message.body, Body::Stranger { .. });
        if !self.node.recognise(from, message.generation, answered) {
            return self.node.drop_message();
        }
        if self.is_of_epoch(from, &message) {
            self.on_message(from, message);
        }
        self.follow_configuration();
    }

    fn link(&mut self, now: Instant, peer: NodeId, link: Link) {
        self.see(now);
        let node = &mut self.node;
        node.links.retain(|(known, _)| *known != peer);
        node.outbox.purge(peer);
        self.server.forget(peer);
        node.staging = node.staging.filter(|(source, _)| *source != peer);
        let up = matches!(link, Link::Up(_));
        if let Link::Up(id) = link {
            let place = node.links.partition_point(|(known, _)| *known < peer);
            node.links.insert(place, (peer, id));
            if node.is_voter() && node.membership().is_voter(peer) {
                self.election.ask(node, peer);
            }
            self.quorum_reads.relink(node, peer);
        }
        match &mut self.role {
            Role::Leader(leader) => leader.relink(node, peer, up),
            Role::Candidate(candidate) if up => candidate.ask(node, peer),
            Role::Candidate(_) => {}
            Role::Follower(follower) => {
                follower.fetching.forget(peer);
            }
        }
        if self.node.leader == Some(peer) {
            self.give_up_forwards();
        }
    }

    fn tick(&mut self, now: Instant) {
        self.see(now);
        if !self.node.stopped {
            self.on_tick();
            self.follow_configuration();
        }
    }

    fn persisted(&mut self, now: Instant, write: WriteId) {
        self.node.see(now);
        self.node.outbox.persisted(write);
        self.node.founded = true;
        self.drain_notes();
        match &mut self.role {
            Role::Follower(follower) => follower.go_on(&mut self.node),
            Role::Candidate(candidate) => candidate.go_on_all(&mut self.node),
            Role::Leader(_) => {}
        }
        self.follow_configuration();
        // What is durable may let the next entries go out.
        self.dirty = true;
    }

    fn loaded(&mut self, now: Instant, load: LoadId, answer: Option<LogLoaded>) {
        self.see(now);
        self.on_loaded(load, answer);
        self.follow_configuration();
    }

    fn poll(&mut self) -> Option<Output<Message, LogRecord, Event, LogLoad>> {
        if (self.dirty || self.node.due) && !self.node.outbox.has_ready() && !self.node.stopped {
            self.dirty = false;
            self.flush();
        }
        if self.node.stopped && !self.node.outbox.has_ready() {
            // Nothing new is written or sent. What was ready, or waits for a write under way, was
            // true.
            return None;
        }
        self.node.outbox.poll()
    }

    fn deadline(&self) -> Option<Wake> {
        if self.node.stopped {
            return None;
        }
        let wake = |why| move |at| Wake { at, why };
        let leads = matches!(self.role, Role::Leader(_));
        let role = match &self.role {
            Role::Leader(leader) => Some((leader.deadline(), "the leader's heartbeat")),
            Role::Follower(follower) => follower
                .fetching
                .deadline()
                .map(|until| (until, "the answer of who has more")),
            Role::Candidate(_) => None,
        };
        let role = role.map(|(at, why)| Wake { at, why });
        let round = self.node.is_voter().then_some(self.election.ends);
        let round = round.map(wake("the end of a round of the election"));
        let forwards = self.forwards.deadline();
        let forwards = forwards.map(wake("the leader's answer to what was passed on"));
        let forwards = Wake::earlier(forwards, self.quorum_reads.deadline());
        let node = self.node.deadline(leads);
        let left_out = self.handover.deadline();
        let node = Wake::earlier(
            node,
            left_out.map(wake("voters that may not know of their part")),
        );
        Wake::earlier(Wake::earlier(role, round), Wake::earlier(forwards, node))
    }
}
