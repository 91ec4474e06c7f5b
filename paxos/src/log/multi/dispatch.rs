//! Which message means what in which ballot and role.

use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;
use synod_core::{Denial, Entries, Generation, LogIndex, NodeId, Outcome, Ticket};

use super::{MultiPaxos, Role};
use crate::Ballot;
use crate::log::elect::Answer;
use crate::log::message::{Accept, Body, Message, Page, Piece};
use crate::log::planted::planted;
use crate::log::{Epoch, Votes, fetch};

impl MultiPaxos {
    pub(super) fn on_message(&mut self, from: NodeId, message: Message) {
        let (ballot, epoch) = (message.ballot, message.epoch);
        match message.body {
            Body::Ask { round } => {
                if self.node.is_voter() {
                    self.election.on_ask(&mut self.node, from, round);
                }
            }
            Body::Beat {
                round,
                stands,
                follows,
                content,
                priority,
            } => {
                if self.node.membership().contains(self.node.id()) {
                    let answer = Answer {
                        from,
                        stands,
                        follows,
                        content,
                        priority,
                    };
                    self.election.on_beat(&mut self.node, round, answer);
                } else {
                    self.handover.on_beat(&mut self.node, from);
                }
            }
            Body::TakeOver => {
                // A leader that the next epoch leaves out hands over, too: nobody leads in that.
                let leads = self.node.leader.is_none_or(|leader| leader == from);
                if leads && ballot.proposer == from && ballot == self.node.promised {
                    self.take_over("its leader asked it to");
                } else {
                    self.node.drop_message();
                }
            }
            Body::Prepare { after } => self.on_prepare(from, ballot, after),
            Body::Promise(page) => self.on_promise(from, ballot, &page),
            Body::Nack => self.on_nack(from, ballot),
            Body::Accept(accept) => self.on_accept(from, ballot, accept),
            Body::Accepted { held, round } => match &mut self.role {
                Role::Leader(leader) if ballot == leader.ballot => {
                    leader.on_accepted(&mut self.node, from, &held, round);
                }
                Role::Leader(_) | Role::Follower(_) | Role::Candidate(_) => {
                    self.node.drop_message();
                }
            },
            Body::Fetch {
                after,
                through,
                votes,
                staged,
            } => self.on_fetch((from, ballot), (after, through), votes, staged),
            Body::Page(page) => self.on_page(from, (ballot, epoch), &page),
            Body::Piece(piece) => self.on_piece(from, *piece),
            Body::Propose {
                life,
                first,
                commands,
            } => self.on_propose((from, ballot), life, first, commands),
            Body::Proposed {
                life,
                first,
                count,
                outcome,
            } if life == self.node.life => self.on_proposed(ballot, first, count, outcome),
            Body::Read { life, ticket } => self.on_read(from, life, ticket),
            Body::ReadAt {
                life,
                ticket,
                index,
            } if life == self.node.life => self.on_read_at(ticket, index),
            Body::Offer(entries) => self.on_offer(from, ballot, &entries),
            Body::Voted(votes) => self.on_voted(from, ballot, &votes),
            Body::QuorumRead { life, round } => self.node.on_quorum_read(from, life, round),
            Body::QuorumReadAt {
                life,
                round,
                last,
                chosen,
            } if life == self.node.life => {
                let reads = &mut self.quorum_reads;
                reads.on_answer(&mut self.node, from, round, last, chosen);
            }
            Body::Lease { round, nanos } => {
                let follows = self.election.follows;
                self.node.on_lease((from, ballot), follows, round, nanos);
            }
            Body::Granted { round, nanos } => match &mut self.role {
                Role::Leader(leader) if ballot == leader.ballot => {
                    leader.lease.on_granted(&mut self.node, from, round, nanos);
                }
                Role::Leader(_) | Role::Follower(_) | Role::Candidate(_) => {
                    self.node.drop_message();
                }
            },
            Body::Fill { through } => match &mut self.role {
                Role::Leader(leader) if self.node.membership().contains(from) => {
                    leader.fill(&mut self.node, through);
                }
                Role::Leader(_) | Role::Follower(_) | Role::Candidate(_) => {
                    self.node.drop_message();
                }
            },
            Body::Proposed { .. } | Body::ReadAt { .. } | Body::QuorumReadAt { .. } => {
                self.node.drop_message();
            }
            Body::Stranger { known } => self.on_stranger(from, known),
        }
    }

    /// Phase 1b.
    fn on_prepare(&mut self, from: NodeId, ballot: Ballot, after: LogIndex) {
        #[cfg(feature = "planted")]
        self.take_back(ballot);
        let node = &mut self.node;
        let between_voters = node.is_voter() && node.membership().is_voter(from);
        if ballot.proposer != from || !between_voters {
            return node.drop_message();
        }
        if ballot < node.promised {
            return node.refuse(from);
        }
        if node.is_bound(from) {
            // It has granted somebody else a lease. Who prepares asks again in each round.
            return node.drop_message();
        }
        if ballot == node.promised && !node.settled {
            // Asked again: the first answer waits for the disk, and one is enough. If that hangs, one
            // for each round would gather; if the first was lost with its link, the next round's
            // question finds the promise durable.
            return;
        }
        if ballot > node.promised {
            self.follow(ballot, "has promised a higher ballot");
        }
        let node = &mut self.node;
        let here = after >= node.slots.base();
        let page = here
            .then(|| fetch::page(node, (after, None), true).ok())
            .flatten();
        let page = page.unwrap_or_else(|| {
            // It asks for what is on disk only, or for the snapshot, now that it hears of more.
            fetch::answer_page(node, after, after, Vec::new())
        });
        let page = if planted!(node, VoteWithoutBallot) {
            fetch::restamp(page, ballot)
        } else {
            page
        };
        // Held back until the promise is durable: a node that forgot it would accept in a lower one.
        node.send(from, Body::Promise(page));
    }

    fn on_promise(&mut self, from: NodeId, ballot: Ballot, page: &Page) {
        match &mut self.role {
            Role::Candidate(candidate) if ballot == candidate.ballot => {
                candidate.on_promise(&mut self.node, from, page);
                self.lead_if_done();
            }
            Role::Candidate(_) | Role::Leader(_) | Role::Follower(_) => self.node.drop_message(),
        }
    }

    fn on_nack(&mut self, from: NodeId, ballot: Ballot) {
        if ballot <= self.node.promised {
            return self.node.drop_message();
        }
        self.election.outbid(ballot);
        if let Role::Candidate(candidate) = &mut self.role
            && candidate.on_nack(from)
        {
            self.become_follower(None, "others have promised a higher ballot");
        }
    }

    /// Phase 2b.
    fn on_accept(&mut self, from: NodeId, ballot: Ballot, accept: Accept) {
        #[cfg(feature = "planted")]
        self.take_back(ballot);
        if ballot.proposer != from || from == self.node.id() {
            return self.node.drop_message();
        }
        if ballot < self.node.promised {
            return self.node.refuse(from);
        }
        if ballot > self.node.promised {
            // To accept is to promise.
            #[cfg(feature = "planted")]
            let before = self.node.promised;
            self.follow(ballot, "heard of the leader of a higher ballot");
            #[cfg(feature = "planted")]
            if planted!(self.node, AcceptKeepsPromise) {
                self.node.unasked = Some(before);
            }
        }
        if self.node.leader != Some(from) {
            self.become_follower(Some(from), "heard of the leader");
        }
        match &mut self.role {
            Role::Follower(follower) => follower.on_accept(&mut self.node, from, accept),
            Role::Candidate(_) | Role::Leader(_) => self.node.drop_message(),
        }
    }

    /// Somebody offers values in slots of the promised ballot.
    fn on_offer(&mut self, from: NodeId, ballot: Ballot, entries: &Entries) {
        let node = &mut self.node;
        if ballot != node.promised || !node.membership().contains(from) {
            return node.drop_message();
        }
        match &mut self.role {
            Role::Leader(leader) => leader.on_offer(node, from, entries),
            Role::Follower(_) => node.on_offer(from, entries),
            Role::Candidate(_) => node.drop_message(),
        }
    }

    /// Somebody has voted in the fast ballot of the promised leadership.
    fn on_voted(&mut self, from: NodeId, ballot: Ballot, votes: &[Votes]) {
        let node = &mut self.node;
        if ballot != node.promised || !node.membership().is_voter(from) {
            return node.drop_message();
        }
        self.count_votes(from, votes);
    }

    /// Counts durable votes, of a peer or of this node.
    pub(super) fn count_votes(&mut self, voter: NodeId, votes: &[Votes]) {
        let news = self.node.count_votes(voter, votes);
        if let Role::Leader(leader) = &mut self.role {
            leader.judge(&mut self.node, &news);
        }
        self.dirty = true;
    }

    /// Planted: what it has promised by accepting alone binds it no longer.
    #[cfg(feature = "planted")]
    fn take_back(&mut self, ballot: Ballot) {
        let node = &mut self.node;
        let before = node.unasked.filter(|before| *before <= ballot);
        if let Some(before) = before.filter(|_| ballot < node.promised) {
            node.unasked = None;
            node.promised = before;
            node.leader = None;
            node.let_go();
        }
    }

    fn on_fetch(
        &mut self,
        (from, ballot): (NodeId, Ballot),
        range: (LogIndex, Option<LogIndex>),
        votes: bool,
        staged: Option<(synod_core::SnapshotId, u64)>,
    ) {
        let node = &mut self.node;
        if votes && ballot != node.promised {
            if ballot < node.promised {
                node.refuse(from);
            }
            return;
        }
        self.server.serve(node, from, range, votes, staged);
        if let Role::Candidate(candidate) = &mut self.role
            && candidate.awaits(from)
        {
            // Perhaps it is entering this epoch: it is asked again behind what it needs for that.
            candidate.ask(node, from);
        }
    }

    fn on_page(&mut self, from: NodeId, (ballot, epoch): (Ballot, Epoch), page: &Page) {
        if let Role::Candidate(candidate) = &mut self.role {
            if ballot == candidate.ballot && epoch == self.node.epoch() {
                candidate.on_page(&mut self.node, from, page);
                self.lead_if_done();
            } else {
                self.node.drop_message();
            }
            return;
        }
        // What is chosen in a higher ballot than was promised here: that ballot has begun.
        let chosen = page.runs.iter().filter(|run| run.first() <= page.chosen);
        if let Some(highest) = chosen
            .map(|run| Ballot::from(run.stamp()).as_classic())
            .max()
            && highest > self.node.promised
            && matches!(self.role, Role::Follower(_))
        {
            self.follow(highest, "has learned of a higher ballot");
        }
        match &mut self.role {
            Role::Follower(follower) => follower.on_page(&mut self.node, from, page),
            Role::Candidate(_) | Role::Leader(_) => self.node.drop_message(),
        }
    }

    fn on_piece(&mut self, from: NodeId, piece: Piece) {
        match &mut self.role {
            Role::Follower(follower) => follower.on_piece(&mut self.node, from, piece),
            Role::Candidate(candidate) => {
                let (index, before) = (piece.meta.index(), self.node.staged);
                self.node.on_piece(from, piece);
                // A piece that does not count is not asked for again before the round is over: while
                // another acceptor's snapshot comes, it would only come again.
                let enters = self.node.epoch() != self.epoch;
                if !enters && (self.node.staged != before || index <= self.node.chosen) {
                    candidate.ask(&mut self.node, from);
                }
                self.lead_if_done();
            }
            Role::Leader(_) => self.node.drop_message(),
        }
    }

    fn on_propose(
        &mut self,
        (from, ballot): (NodeId, Ballot),
        life: u64,
        first: Ticket,
        commands: Vec<Bytes>,
    ) {
        let node = &mut self.node;
        let own = node.promised.proposer == node.id();
        let outcome = match &mut self.role {
            Role::Leader(leader) if ballot == leader.ballot => {
                return leader.on_propose(node, from, life, first, commands);
            }
            // Maybe a copy of one that this node took on in a ballot that it led before: to take it
            // on again would make a second entry of it.
            Role::Leader(_) | Role::Follower(_) | Role::Candidate(_)
                if own || ballot < node.promised =>
            {
                Outcome::Unknown
            }
            Role::Leader(_) | Role::Follower(_) | Role::Candidate(_) => {
                Outcome::Refused(Denial::NotLeader)
            }
        };
        let count = u32::try_from(commands.len()).unwrap_or(u32::MAX);
        node.send(
            from,
            Body::Proposed {
                life,
                first,
                count,
                outcome,
            },
        );
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
    fn on_stranger(&mut self, from: NodeId, known: Generation) {
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
