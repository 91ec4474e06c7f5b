//! The machine: dispatch, and the transitions between roles.

use alloc::vec::Vec;

use synod_core::{
    Envelope, Forwards, Instant, Link, LoadId, LogCommand, LogIndex, LogLoad, LogLoaded, LogRecord,
    Machine, NodeId, Output, Rejected, Role as Part, Ticket, Wake, WriteId,
};
use synod_quorum::Verdict;

use crate::election::Candidate;
use crate::follower::Follower;
use crate::leader::Leader;
use crate::node::{Node, Note};
use crate::planted::planted;
use crate::{Body, Event, Message, Round, Term};

mod dispatch;

/// One node of a Raft cluster, as a [`Machine`] and a
/// [`ReplicatedLog`](synod_core::ReplicatedLog).
///
/// Made by [`Raft::new`] from what its storage holds. A clone is an independent copy of the whole
/// state; two nodes that would behave alike are equal, which a model checker relies on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Raft {
    pub(crate) node: Node,
    pub(crate) role: Role,
    pub(crate) forwards: Forwards,
    /// Something has happened since the last flush that may have to be sent or written.
    pub(crate) dirty: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Role {
    Follower(Follower),
    Candidate(Candidate),
    Leader(Leader),
}

impl Raft {
    // Transitions: one function each.

    /// Follows in `term`, the current one or a later one.
    fn become_follower(&mut self, term: Term, leader: Option<NodeId>, why: &'static str) {
        let node = &mut self.node;
        if let Role::Leader(leader) = &mut self.role {
            // What it has taken on goes to its log like the rest: a leader that crashed here would
            // have left it in the same state.
            if let Some(chunk) = node.log.seal(node.term) {
                node.write_entries(chunk);
            }
            leader.end_reads(node);
            node.touch = node.now;
        }
        if leader != node.leader {
            self.give_up_forwards();
        }
        let node = &mut self.node;
        if term > node.term {
            node.term = term;
            node.vote = None;
            if !planted!(node, TermNotPersisted) {
                node.write_state();
            }
        }
        node.leader = leader;
        let attempt = match &self.role {
            Role::Candidate(candidate) => candidate.attempt + 1,
            Role::Follower(_) | Role::Leader(_) => 0,
        };
        self.role = Role::Follower(Follower::new(node, attempt));
        let part = if node.is_voter() {
            Part::Follower
        } else {
            Part::Learner
        };
        node.role(part, why);
    }

    /// Asks for pre-votes, or stands at once where those are off.
    fn become_candidate(&mut self, attempt: u64, why: &'static str) {
        if !self.node.config.pre_vote {
            return self.stand(why);
        }
        if let Some(candidate) = Candidate::ask(&mut self.node, attempt) {
            self.enter_candidacy(candidate, why);
        }
    }

    /// Stands for election in a new term.
    fn stand(&mut self, why: &'static str) {
        if let Some(candidate) = Candidate::stand(&mut self.node) {
            self.enter_candidacy(candidate, why);
        }
    }

    fn enter_candidacy(&mut self, candidate: Candidate, why: &'static str) {
        self.node.leader = None;
        self.give_up_forwards();
        let verdict = candidate.verdict();
        self.role = Role::Candidate(candidate);
        self.node.role(Part::Candidate, why);
        self.count_votes(verdict);
        self.drain_notes();
    }

    /// Leads the current term, which it has won.
    fn become_leader(&mut self) {
        let node = &mut self.node;
        assert_eq!(node.vote, Some(node.id()), "a leader has voted for itself");
        node.leader = Some(node.id());
        self.role = Role::Leader(Leader::new(node));
        node.role(Part::Leader, "won the election");
        // Its own vote may have been the last: then nothing else says that there is something to
        // write and send, and the term would stay unopened until the first heartbeat.
        self.dirty = true;
    }

    fn count_votes(&mut self, verdict: Verdict) {
        let Role::Candidate(candidate) = &self.role else {
            return;
        };
        match (verdict, candidate.pre) {
            (Verdict::Won, true) => self.stand("would win an election"),
            (Verdict::Won, false) => self.become_leader(),
            (Verdict::Lost, _) => {
                self.become_follower(self.node.term, None, "lost the election");
            }
            (Verdict::Pending, _) => {}
        }
    }

    /// Whether there is a leader that another election would only disturb.
    fn is_led(&self) -> bool {
        match &self.role {
            Role::Leader(_) => true,
            Role::Follower(follower) => follower.is_led(&self.node),
            Role::Candidate(_) => false,
        }
    }

    // Notes and loads.

    /// Does to this node what waited for a write.
    fn drain_notes(&mut self) {
        let mut stored = None;
        while let Some(note) = self.node.outbox.next_note() {
            match (note, &mut self.role) {
                (
                    Note::Written {
                        stored: through,
                        ack,
                    },
                    role,
                ) => {
                    if let Some(through) = through {
                        self.node.log.persisted(through);
                        self.node.due |= self.node.commit > self.node.handout.handed();
                        stored = Some(through);
                    }
                    if let (Some((term, matched)), Role::Follower(follower)) = (ack, role)
                        && term == self.node.term
                    {
                        follower.acknowledge(&mut self.node, matched);
                    }
                }
                (Note::Installed(index), _) => {
                    self.node.handout.installed(index);
                    self.node.due = true;
                }
                (Note::Voted(term), Role::Candidate(candidate))
                    if term == self.node.term && !candidate.pre =>
                {
                    let verdict = candidate.record(self.node.config.id, true);
                    self.count_votes(verdict);
                }
                (Note::Deposed { term, leader }, _) if term == self.node.term => {
                    // Safe while other writes run: the term was written before.
                    let body = Body::Appended {
                        matched: LogIndex::START,
                        round: Round(0),
                    };
                    self.node.send_now(leader, body);
                }
                (Note::Refused { term, asked, hint }, Role::Follower(follower))
                    if term == self.node.term =>
                {
                    follower.conflict(&mut self.node, asked, hint);
                }
                (Note::Staged { term, id, offset }, Role::Follower(follower))
                    if term == self.node.term =>
                {
                    follower.got(&mut self.node, id, offset);
                }
                // Of a role or term that is over.
                (
                    Note::Voted(_)
                    | Note::Refused { .. }
                    | Note::Deposed { .. }
                    | Note::Staged { .. },
                    _,
                ) => {}
            }
        }
        if stored > Some(self.node.commit)
            && let Role::Leader(leader) = &mut self.role
        {
            leader.advance(&mut self.node);
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
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(place) = leader.place_of_load(load) else {
            return;
        };
        match answer {
            Some(LogLoaded::Entries { runs, .. }) => {
                leader.loaded_entries(node, place, Some(runs));
            }
            Some(LogLoaded::Snapshot {
                meta,
                offset,
                chunk,
            }) => {
                leader.loaded_snapshot(node, place, Some((meta, offset, chunk)));
            }
            None => {
                leader.loaded_entries(node, place, None);
                leader.loaded_snapshot(node, place, None);
            }
        }
    }

    // Time.

    fn on_tick(&mut self) {
        self.expire_forwards();
        self.node.tick();
        if !matches!(self.role, Role::Leader(_)) {
            self.node.lose_touch();
        }
        let now = self.node.now;
        match &mut self.role {
            Role::Leader(leader) => {
                leader.tick(&self.node);
                if !leader.has_quorum(&self.node) {
                    self.become_follower(self.node.term, None, "lost touch with a quorum");
                }
            }
            Role::Candidate(candidate) if now >= candidate.deadline => {
                let attempt = candidate.attempt + 1;
                self.become_candidate(attempt, "the election was not decided in time");
            }
            Role::Follower(follower) if now >= follower.deadline && self.node.is_voter() => {
                let attempt = follower.attempt + 1;
                self.become_candidate(attempt, "heard of no leader in time");
            }
            Role::Candidate(_) | Role::Follower(_) => {}
        }
    }

    /// Writes and sends what has gathered since the last flush. Kept out of `poll`, which most
    /// often has only to hand out what is ready.
    #[inline(never)]
    fn flush(&mut self) {
        let node = &mut self.node;
        match &mut self.role {
            Role::Leader(leader) => {
                leader.flush(node);
                node.note_written(None);
            }
            Role::Follower(follower) => {
                follower.flush(node);
                if self.forwards.is_gathering()
                    && let Some(leader) = node.leader
                {
                    self.send_forwards(leader);
                }
            }
            Role::Candidate(_) => node.note_written(None),
        }
        self.drain_notes();
        let node = &mut self.node;
        if node.due {
            node.due = false;
            node.hand_out();
            node.log.evict(node.config.limits.log_bytes, node.commit);
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

impl Machine for Raft {
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
        match message.body {
            // The two of steady use, without a detour.
            Body::Append(append) if message.term == self.node.term => {
                if let Some((follower, node)) = self.follow(from, message.term) {
                    follower.on_append(node, append);
                }
            }
            Body::Appended { matched, round } if message.term == self.node.term => {
                self.on_appended(from, matched, round);
            }
            body => self.on_message(from, Message { body, ..message }),
        }
    }

    fn link(&mut self, now: Instant, peer: NodeId, link: Link) {
        self.see(now);
        let node = &mut self.node;
        node.links.retain(|(known, _)| *known != peer);
        node.outbox.purge(peer);
        if let Link::Up(id) = link {
            let place = node.links.partition_point(|(known, _)| *known < peer);
            node.links.insert(place, (peer, id));
        }
        if node.leader == Some(peer) {
            self.give_up_forwards();
        }
        let node = &mut self.node;
        match &mut self.role {
            Role::Leader(leader) => leader.relink(node, peer, matches!(link, Link::Up(_))),
            Role::Candidate(candidate) => {
                if matches!(link, Link::Up(_)) {
                    candidate.request_from(node, peer);
                }
            }
            Role::Follower(_) => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        self.see(now);
        if !self.node.stopped {
            self.on_tick();
        }
    }

    fn persisted(&mut self, now: Instant, write: WriteId) {
        self.node.see(now);
        self.node.outbox.persisted(write);
        self.node.founded = true;
        self.drain_notes();
    }

    fn loaded(&mut self, now: Instant, load: LoadId, answer: Option<LogLoaded>) {
        self.see(now);
        self.on_loaded(load, answer);
    }

    fn poll(&mut self) -> Option<Output<Message, LogRecord, Event, LogLoad>> {
        if (self.dirty || self.node.due) && !self.node.outbox.has_ready() && !self.node.stopped {
            self.dirty = false;
            self.flush();
        }
        if self.node.stopped && !self.node.outbox.has_ready() {
            // Nothing new is written or sent. What was ready, or waits for a write under way, was true.
            return None;
        }
        self.node.outbox.poll()
    }

    fn deadline(&self) -> Option<Wake> {
        if self.node.stopped {
            return None;
        }
        let own = match &self.role {
            Role::Leader(leader) => Some(Wake {
                at: leader.deadline(),
                why: "heartbeat or commit",
            }),
            Role::Candidate(candidate) => Some(Wake {
                at: candidate.deadline,
                why: "undecided election",
            }),
            Role::Follower(follower) => self.node.is_voter().then_some(Wake {
                at: follower.deadline,
                why: "silent leader",
            }),
        };
        let forwarded = self.forwards.deadline().map(|at| Wake {
            at,
            why: "forwarded request",
        });
        let leads = matches!(self.role, Role::Leader(_));
        Wake::earlier(Wake::earlier(own, forwarded), self.node.deadline(leads))
    }
}
