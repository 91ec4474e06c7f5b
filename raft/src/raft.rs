//! The machine: dispatch, and the transitions between roles.

use alloc::format;
use alloc::vec::Vec;

use synod_core::{
    Envelope, Instant, Link, LoadId, LogCommand, LogLoad, LogLoaded, LogRecord, Machine, NodeId,
    Output, Rejected, Role as Part, Ticket, Wake, WriteId,
};
use synod_quorum::Verdict;

use crate::election::{self, Candidate};
use crate::follower::Follower;
use crate::forward::Forwards;
use crate::leader::Leader;
use crate::message::{Denial, Outcome};
use crate::node::{Node, Note};
use crate::planted::planted;
use crate::{Body, Event, Message, Round, Term};

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
            leader.reads.fail(node);
            node.touch = node.now;
        }
        if leader != node.leader {
            self.forwards.give_up(node);
        }
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
        self.forwards.give_up(&mut self.node);
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

    // Messages.

    fn on_message(&mut self, from: NodeId, message: Message) {
        let term = message.term;
        let stale = term < self.node.term;
        match message.body {
            Body::Stranger { known } => self.on_stranger(from, known),
            Body::Vote { pre: true, last } => {
                let led = self.is_led();
                election::on_pre_vote(&mut self.node, from, term, last, led);
            }
            Body::Vote { pre: false, .. } if stale => {
                let body = Body::Voted {
                    pre: false,
                    candidacy: term,
                    granted: false,
                };
                self.node.send(from, body);
            }
            // A server that was cut off, or removed, must not depose a leader that is alive
            // (dissertation §4.2.3).
            Body::Vote { pre: false, .. } if term > self.node.term && self.is_led() => {
                self.node.drop_message();
            }
            // A peer that is behind grants a pre-vote in its own, earlier term.
            Body::Voted {
                pre: true,
                candidacy,
                granted,
            } if stale => {
                self.on_voted(from, true, candidacy, granted);
            }
            Body::Append(_) | Body::Snapshot(_) if stale => {
                // Answered, not dropped: an old leader, or one behind this node's term, must learn
                // of it, or the two would ignore each other for ever.
                let body = Body::Appended {
                    matched: synod_core::LogIndex::START,
                    round: Round(0),
                };
                self.node.send(from, body);
            }
            Body::Propose {
                life,
                first,
                commands,
            } if stale => {
                // Maybe a copy of one that this node took on in a term that it led before: to take
                // it on again would make a second entry of it. Whoever waits for the answer has
                // given up on the old term's leader by the time it reads this one's term.
                let count = u32::try_from(commands.len()).unwrap_or(u32::MAX);
                self.node.send(
                    from,
                    Body::Proposed {
                        life,
                        first,
                        count,
                        outcome: Outcome::Unknown,
                    },
                );
            }
            Body::Propose {
                life,
                first,
                commands,
            } => {
                self.notice_term(term);
                self.on_propose(from, life, first, commands);
            }
            Body::Read { life, ticket } => {
                self.notice_term(term);
                self.on_read(from, life, ticket);
            }
            Body::Proposed {
                life,
                first,
                count,
                outcome,
            } if life == self.node.life => {
                self.notice_term(term);
                let node = &mut self.node;
                if !self.forwards.proposed(node, term, first, count, outcome) {
                    node.drop_message();
                }
            }
            Body::ReadAt {
                life,
                ticket,
                index,
            } if life == self.node.life => {
                self.notice_term(term);
                if !self.forwards.read_at(&mut self.node, ticket, index) {
                    self.node.drop_message();
                }
            }
            Body::Proposed { .. } | Body::ReadAt { .. } => self.node.drop_message(),
            body if stale => {
                drop(body);
                self.node.drop_message();
            }
            body => self.on_current(from, term, body),
        }
    }

    /// Follows into a later term, whoever named it.
    fn notice_term(&mut self, term: Term) {
        if term > self.node.term {
            self.become_follower(term, None, "a peer has a later term");
        }
    }

    /// A message of this term or a later one.
    fn on_current(&mut self, from: NodeId, term: Term, body: Body) {
        match body {
            Body::Vote { last, .. } => {
                self.notice_term(term);
                self.on_vote(from, last);
            }
            Body::Voted {
                pre,
                candidacy,
                granted,
            } => {
                self.notice_term(term);
                self.on_voted(from, pre, candidacy, granted);
            }
            Body::Append(append) => {
                if let Some((follower, node)) = self.follow(from, term) {
                    follower.on_append(node, from, append);
                }
            }
            Body::Snapshot(piece) => {
                if let Some((follower, node)) = self.follow(from, term) {
                    follower.on_snapshot(node, from, *piece);
                }
            }
            Body::Appended { matched, round } => {
                self.notice_term(term);
                self.on_appended(from, matched, round);
            }
            Body::Conflict { asked, hint, round } => {
                self.notice_term(term);
                match &mut self.role {
                    Role::Leader(leader) => {
                        leader.on_conflict(&mut self.node, from, asked, hint, round);
                    }
                    Role::Follower(_) | Role::Candidate(_) => self.node.drop_message(),
                }
            }
            Body::SnapshotGot { id, offset, round } => {
                self.notice_term(term);
                match &mut self.role {
                    Role::Leader(leader) => {
                        leader.on_snapshot_got(&mut self.node, from, (id, offset), round);
                    }
                    Role::Follower(_) | Role::Candidate(_) => self.node.drop_message(),
                }
            }
            Body::Propose { .. }
            | Body::Proposed { .. }
            | Body::Read { .. }
            | Body::ReadAt { .. }
            | Body::Stranger { .. } => unreachable!("answered whatever the term"),
        }
    }

    fn on_appended(&mut self, from: NodeId, matched: synod_core::LogIndex, round: Round) {
        match &mut self.role {
            Role::Leader(leader) => leader.on_appended(&mut self.node, from, matched, round),
            Role::Follower(_) | Role::Candidate(_) => self.node.drop_message(),
        }
    }

    /// This node as a follower of `from`, which leads `term`; `None` if that cannot be.
    fn follow(&mut self, from: NodeId, term: Term) -> Option<(&mut Follower, &mut Node)> {
        let node = &self.node;
        let rival = match &self.role {
            Role::Leader(_) => Some(node.id()),
            Role::Follower(_) | Role::Candidate(_) => node.leader.filter(|leader| *leader != from),
        };
        match rival.filter(|_| term == node.term) {
            Some(rival) => {
                let evidence = format!("{rival} and {from} both lead {term}");
                self.node
                    .fail_stop("at most one leader per term (Raft §5.2)", evidence);
                return None;
            }
            None if term > node.term || node.leader != Some(from) => {
                self.become_follower(term, Some(from), "heard of the leader");
            }
            None => {}
        }
        match &mut self.role {
            Role::Follower(follower) => Some((follower, &mut self.node)),
            Role::Candidate(_) | Role::Leader(_) => None,
        }
    }

    fn on_vote(&mut self, from: NodeId, last: crate::Position) {
        if election::on_vote(&mut self.node, from, last)
            && let Role::Follower(follower) = &mut self.role
        {
            // Who has just voted gives the candidate time to win.
            follower.wait(&self.node);
        }
    }

    fn on_voted(&mut self, from: NodeId, pre: bool, candidacy: Term, granted: bool) {
        let Role::Candidate(candidate) = &mut self.role else {
            return;
        };
        if candidate.pre != pre || candidacy != election::candidacy(self.node.term, pre) {
            return self.node.drop_message();
        }
        let verdict = candidate.record(from, granted);
        self.count_votes(verdict);
    }

    fn on_propose(&mut self, from: NodeId, life: u64, first: Ticket, commands: Vec<bytes::Bytes>) {
        match &mut self.role {
            Role::Leader(leader) => leader.on_propose(&mut self.node, from, life, first, commands),
            Role::Follower(_) | Role::Candidate(_) => {
                let count = u32::try_from(commands.len()).unwrap_or(u32::MAX);
                // A leader that has stepped down within its term may have taken on the same message
                // before: only who cannot have led this term knows that nothing happened.
                let may_have_led =
                    self.node.vote == Some(self.node.id()) && self.node.leader.is_none();
                let outcome = if may_have_led {
                    Outcome::Unknown
                } else {
                    Outcome::Refused(Denial::NotLeader)
                };
                self.node.send(
                    from,
                    Body::Proposed {
                        life,
                        first,
                        count,
                        outcome,
                    },
                );
            }
        }
    }

    fn on_read(&mut self, from: NodeId, life: u64, ticket: Ticket) {
        match &mut self.role {
            Role::Leader(leader) => leader.on_read(&mut self.node, from, life, ticket),
            Role::Follower(_) | Role::Candidate(_) => {
                let index = Err(Denial::NotLeader);
                self.node.send(
                    from,
                    Body::ReadAt {
                        life,
                        ticket,
                        index,
                    },
                );
            }
        }
    }

    /// A peer knows another storage under this node's name.
    fn on_stranger(&mut self, from: NodeId, known: synod_core::Generation) {
        // Only members have a say: who was taken out may remember what is forgotten here.
        if known == self.node.generation || !self.node.membership().contains(from) {
            return self.node.drop_message();
        }
        let evidence = format!(
            "{from} knows {known} under the name {}, this storage is {}: take the node out of the \
             cluster and let it join under a new id",
            self.node.id(),
            self.node.generation
        );
        self.node.fail_stop("a node keeps its storage", evidence);
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
                        self.node.due |= self.node.commit > self.node.handed;
                        stored = Some(through);
                    }
                    if let (Some((term, matched)), Role::Follower(follower)) = (ack, role)
                        && term == self.node.term
                    {
                        follower.acknowledge(&mut self.node, matched);
                    }
                }
                (Note::Installed(index), _) => {
                    // Another snapshot may have come since: its own note follows.
                    self.node.installing = self.node.handed > index && self.node.installing;
                    self.node.due = true;
                }
                (Note::Voted(term), Role::Candidate(candidate))
                    if term == self.node.term && !candidate.pre =>
                {
                    let verdict = candidate.record(self.node.config.id, true);
                    self.count_votes(verdict);
                }
                (Note::Staged { term, id, offset }, Role::Follower(follower))
                    if term == self.node.term =>
                {
                    follower.got(&mut self.node, id, offset);
                }
                // Of a role or term that is over.
                (Note::Voted(_) | Note::Staged { .. }, _) => {}
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
        if node.handing == Some(load) {
            node.handing = None;
            node.due = true;
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
        self.forwards.tick(&mut self.node);
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
                    self.forwards.flush(node, leader);
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
        if !self.node.recognise(from, message.generation) {
            return self.node.drop_message();
        }
        match message.body {
            // The two of steady use, without a detour.
            Body::Append(append) if message.term == self.node.term => {
                if let Some((follower, node)) = self.follow(from, message.term) {
                    follower.on_append(node, from, append);
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
            self.forwards.give_up(node);
        }
        match &mut self.role {
            Role::Leader(leader) => leader.relink(peer, matches!(link, Link::Up(_))),
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
            // Nothing is written or sent any more.
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
