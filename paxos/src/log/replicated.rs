//! Multi-Paxos as a replicated log: what the application may ask.

use alloc::vec::Vec;

use bytes::Bytes;
use synod_core::{
    Change, Entry, Instant, LogEvent, LogIndex, LogRecord, NodeId, PeerStatus, ReadLevel, Refusal,
    Rejected, ReplicatedLog, Role as Part, SnapshotId, SnapshotMeta, Status, Ticket, TicketRange,
};

use super::Detail;
use super::fast::Name;
use super::multi::{MultiPaxos, Role};
use super::peer::Peer;
use super::planted::planted;

impl MultiPaxos {
    fn reject(&self, command: Option<Bytes>, refusal: Refusal) -> Rejected {
        Rejected {
            command,
            leader: self.node.leader,
            refusal,
        }
    }

    /// Passes a command on to the leader, if there is one and that is wanted.
    fn forward(&mut self, command: Bytes) -> Result<Ticket, Rejected> {
        let limit = self.node.config.limits.uncommitted_bytes;
        let refusal = match self.node.leader {
            None => Refusal::NoLeader,
            Some(_) if !self.node.config.forward => Refusal::NotLeader,
            Some(leader) if self.node.link_to(leader).is_none() => Refusal::NoLeader,
            Some(_) if !self.forwards.fits(&command, limit) => Refusal::Busy {
                what: "the bytes of forwarded proposals",
                limit,
            },
            Some(_) => {
                let ticket = self.node.tickets.next_proposal();
                self.forwards.propose(ticket, command);
                return Ok(ticket);
            }
        };
        Err(self.reject(Some(command), refusal))
    }

    /// Takes a command on that this node offers to all voters itself.
    fn offer_command(&mut self, command: Bytes) -> Result<Ticket, Rejected> {
        let node = &mut self.node;
        let limit = node.config.limits.uncommitted_bytes;
        let weight = command.len() + Entry::OVERHEAD;
        if !node.fast.offers.fits(weight, limit) {
            let what = "the bytes of uncommitted proposals";
            return Err(self.reject(Some(command), Refusal::Busy { what, limit }));
        }
        let ticket = node.tickets.next_proposal();
        let name = Name {
            life: node.life,
            number: ticket.0,
        };
        node.fast.offers.take_on(name, name.command(&command));
        Ok(ticket)
    }

    /// Asks the voters, whoever leads, in whatever role this node is.
    pub(crate) fn read_by_quorum(&mut self) -> Result<Ticket, Rejected> {
        if self.node.membership().phases().is_none() {
            // It has not heard yet who votes.
            return Err(self.reject(None, Refusal::NoLeader));
        }
        let ticket = self.node.tickets.next_read();
        self.node.handout.begin_read();
        self.quorum_reads.read(&self.node, ticket);
        Ok(ticket)
    }

    /// Asks the leader, here or elsewhere, from which index on a read may be answered.
    fn read_linearizable(&mut self) -> Result<Ticket, Rejected> {
        if self.node.fast.open.is_some() {
            // What is chosen may be known elsewhere before the leader knows it. A set of voters that
            // meets every quorum of phase 2 as a quorum of phase 1 meets every fast one, too.
            return self.read_by_quorum();
        }
        let linked = self
            .node
            .leader
            .is_some_and(|leader| self.node.link_to(leader).is_some());
        if self.node.config.quorum_reads && !matches!(self.role, Role::Leader(_)) {
            return self.read_by_quorum();
        }
        match &mut self.role {
            Role::Leader(leader) => {
                let ticket = self.node.tickets.next_read();
                self.node.handout.begin_read();
                leader.read(&self.node, ticket);
                Ok(ticket)
            }
            Role::Follower(_) if linked => {
                let ticket = self.node.tickets.next_read();
                self.node.handout.begin_read();
                self.forwards.read(ticket);
                Ok(ticket)
            }
            Role::Follower(_) | Role::Candidate(_) => Err(self.reject(None, Refusal::NoLeader)),
        }
    }
}

impl ReplicatedLog for MultiPaxos {
    type Detail = Detail;

    fn propose(&mut self, now: Instant, command: Bytes) -> Result<Ticket, Rejected> {
        self.see(now);
        let node = &mut self.node;
        let limit = node.config.limits.command_bytes;
        if node.stopped {
            return Err(self.reject(Some(command), Refusal::Stopped));
        }
        if command.len() > limit {
            let len = command.len();
            return Err(self.reject(Some(command), Refusal::TooLarge { len, limit }));
        }
        if self.offers() {
            return self.offer_command(command);
        }
        let node = &mut self.node;
        match &mut self.role {
            Role::Leader(leader) => match leader.propose(node, Entry::command(command)) {
                Ok(index) => {
                    let ticket = node.tickets.next_proposal();
                    node.tickets.claim(index, 1, node.promised, ticket);
                    Ok(ticket)
                }
                Err((refusal, entry)) => Err(self.reject(Some(entry.payload), refusal)),
            },
            Role::Follower(_) | Role::Candidate(_) => self.forward(command),
        }
    }

    fn read(&mut self, now: Instant, level: ReadLevel) -> Result<Ticket, Rejected> {
        self.see(now);
        if self.node.stopped {
            return Err(self.reject(None, Refusal::Stopped));
        }
        let limit = self.node.config.limits.pending_reads;
        if self.node.handout.pending_reads() >= limit {
            return Err(self.reject(
                None,
                Refusal::Busy {
                    what: "the pending reads",
                    limit,
                },
            ));
        }
        let at = match level {
            ReadLevel::Linearizable => return self.read_linearizable(),
            ReadLevel::Lease if self.node.config.lease.is_none() => {
                return Err(self.reject(None, Refusal::Unsupported("a read by lease")));
            }
            ReadLevel::Lease => match &self.role {
                // Where slots are open, voters choose without the leader.
                Role::Leader(leader)
                    if self.node.fast.open.is_none() && leader.knows_all(&self.node) =>
                {
                    self.node.chosen
                }
                Role::Leader(_) | Role::Follower(_) | Role::Candidate(_) => {
                    return self.read_linearizable();
                }
            },
            ReadLevel::Session(token) => token.0,
            ReadLevel::Stale => LogIndex::START,
        };
        let ticket = self.node.tickets.next_read();
        self.node.handout.begin_read();
        let index = at.max(self.node.handout.handed());
        self.node.ripen_at(index, TicketRange::one(ticket));
        Ok(ticket)
    }

    fn reconfigure(&mut self, now: Instant, change: Change) -> Result<Ticket, Rejected> {
        self.see(now);
        let node = &mut self.node;
        let Role::Leader(leader) = &mut self.role else {
            return Err(self.reject(None, Refusal::NotLeader));
        };
        if node.fast.open.is_some() && !node.stopped {
            // Open slots are decided by one set of quorums: classic rounds come first.
            node.pause_fast();
            self.take_over("a change of the configuration needs classic rounds");
            return Err(self.reject(None, Refusal::NoLeader));
        }
        let refusal = if node.stopped {
            Refusal::Stopped
        } else if let Some(index) = leader.changing(node) {
            Refusal::ChangeUnderWay(index)
        } else {
            match leader.after(node, &change) {
                Ok(membership) => {
                    let index = leader.reconfigure(node, &membership);
                    let ticket = node.tickets.next_proposal();
                    node.tickets.claim(index, 1, node.promised, ticket);
                    return Ok(ticket);
                }
                Err(refusal) => refusal,
            }
        };
        Err(self.reject(None, refusal))
    }

    fn transfer(&mut self, now: Instant, to: NodeId) -> Result<(), Rejected> {
        self.see(now);
        let refusal = match &mut self.role {
            _ if self.node.stopped => Refusal::Stopped,
            Role::Follower(_) | Role::Candidate(_) => Refusal::NotLeader,
            Role::Leader(_) if to == self.node.id() => return Ok(()),
            Role::Leader(_) if !self.node.membership().is_voter(to) => Refusal::BadChange {
                node: to,
                rule: "is not a voter",
            },
            Role::Leader(leader) => {
                leader.hand_over(&mut self.node, to);
                return Ok(());
            }
        };
        Err(self.reject(None, refusal))
    }

    fn applied(&mut self, now: Instant, through: LogIndex) {
        self.node.see(now);
        self.node.applied(through);
        self.follow_configuration();
    }

    fn describe(&self, applied: LogIndex) -> Option<SnapshotMeta> {
        let node = &self.node;
        if applied > node.chosen || applied == LogIndex::START {
            return None;
        }
        let ballot = node.slots.ballot_at(applied)?;
        let config = node.history.at(applied).to_bytes();
        let id = SnapshotId {
            origin: node.generation,
            index: applied,
        };
        Some(SnapshotMeta {
            id,
            stamp: ballot.stamp(),
            config,
            size: 0,
        })
    }

    fn compact(&mut self, now: Instant, snapshot: SnapshotMeta) {
        self.see(now);
        let node = &mut self.node;
        let current = node
            .snapshot
            .as_ref()
            .map_or(LogIndex::START, SnapshotMeta::index);
        if snapshot.index() <= current || snapshot.index() > node.chosen {
            return;
        }
        let retained = node.config.limits.retained_entries;
        let through = LogIndex(snapshot.index().0.saturating_sub(retained));
        node.snapshot = Some(snapshot);
        // Nothing leaves the log that the state machine still needs.
        let through = if planted!(node, TrimUnapplied) {
            node.chosen
        } else {
            through.min(node.handout.handed())
        };
        let Some(ballot) = node.slots.ballot_at(through) else {
            return;
        };
        if through <= node.slots.base() {
            return;
        }
        node.slots.compact(through, ballot);
        node.history.compact(through);
        node.outbox.write(LogRecord::Compact {
            through,
            stamp: ballot.stamp(),
        });
        node.outbox
            .event_after(LogEvent::Detail(Detail::Compacted { through }));
    }

    fn status(&self) -> Status {
        let node = &self.node;
        let membership = node.membership();
        let role = match &self.role {
            _ if node.stopped => Part::Stopped,
            Role::Leader(_) => Part::Leader,
            Role::Candidate(_) => Part::Candidate,
            Role::Follower(_) if node.is_voter() => Part::Follower,
            Role::Follower(_) => Part::Learner,
        };
        let peer = |peer: &Peer| PeerStatus {
            node: peer.id,
            voter: membership.is_voter(peer.id),
            linked: peer.linked,
            matched: peer.acked.through(),
            next: peer.next,
            in_flight_bytes: peer.in_flight_bytes(),
            state: "accept",
            heard: Some(peer.heard),
        };
        let (peers, uncommitted_bytes) = match &self.role {
            Role::Leader(leader) => (leader.peers.iter().map(peer).collect(), leader.uncommitted),
            Role::Follower(_) | Role::Candidate(_) => (Vec::new(), 0),
        };
        let uncommitted_bytes = uncommitted_bytes + node.fast.offers.bytes();
        Status {
            node: node.id(),
            generation: node.generation,
            role,
            era: node.promised.round,
            leader: node.leader,
            committed: node.chosen,
            applied: node.handout.applied(),
            durable: node.durable.through(),
            last: node.slots.last(),
            compacted: node.slots.base(),
            snapshot: node
                .snapshot
                .as_ref()
                .map_or(LogIndex::START, SnapshotMeta::index),
            log_bytes: node.slots.bytes(),
            uncommitted_bytes,
            peers,
            voters: membership.voters().to_vec(),
            learners: membership.learners().to_vec(),
            dropped_messages: node.dropped.0,
        }
    }
}
