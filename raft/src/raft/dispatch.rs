//! Which message means what in which term and role (Raft figure 2, "rules for servers").

use alloc::format;
use alloc::vec::Vec;

use synod_core::{NodeId, Ticket};

use super::{Raft, Role};
use crate::follower::Follower;
use crate::message::{Denial, Outcome};
use crate::node::Node;
use crate::{Body, Message, Round, Term, election};

impl Raft {
    pub(super) fn on_message(&mut self, from: NodeId, message: Message) {
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
                self.node.depose(from);
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
                self.on_proposed(term, first, count, outcome);
            }
            Body::ReadAt {
                life,
                ticket,
                index,
            } if life == self.node.life => {
                self.notice_term(term);
                self.on_read_at(ticket, index);
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
                    follower.on_append(node, append);
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

    pub(super) fn on_appended(
        &mut self,
        from: NodeId,
        matched: synod_core::LogIndex,
        round: Round,
    ) {
        match &mut self.role {
            Role::Leader(leader) => leader.on_appended(&mut self.node, from, matched, round),
            Role::Follower(_) | Role::Candidate(_) => self.node.drop_message(),
        }
    }

    /// This node as a follower of `from`, which leads `term`; `None` if that cannot be.
    pub(super) fn follow(
        &mut self,
        from: NodeId,
        term: Term,
    ) -> Option<(&mut Follower, &mut Node)> {
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
}
