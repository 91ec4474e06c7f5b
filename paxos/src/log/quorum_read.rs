//! Paxos quorum reads: linearizable reads that ask no leader (Charapko, Ailijiang, Demirbas,
//! *Linearizable Quorum Reads in Paxos*, HotStorage 2019).
//!
//! A reader asks the voters for the last slot that they have voted in, in whatever ballot, and waits
//! for the answers of a set that meets every quorum of phase 2. Whatever was chosen before it asked, a
//! quorum had voted for by then, so the greatest of the answers is behind it: the read sees
//! everything up to there. It is answered once all of that is chosen and applied here.
//!
//! One round of questions is for all reads that waited when it began; who comes later waits for the
//! next one.
//!
//! A slot that somebody has voted in may stay open: its leader fell, and the next one has not heard
//! of the vote. So reads that wait for too long are placed anew by another round (the paper's
//! *rinse*), and the leader is asked to propose something up to there.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use synod_core::{
    Instant, LogIndex, NodeId, Refusal, Round, SnapshotId, Ticket, TicketRange, Wake,
};
use synod_quorum::{Tally, Verdict};

use super::message::Body;
use super::multi::{MultiPaxos, Role};
use super::node::Node;
use super::planted::planted;

/// The quorum reads of this node, in whatever role.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct QuorumReads {
    /// The latest round that has begun.
    round: Round,
    /// Reads that wait for the next round.
    gathering: Vec<Group>,
    asked: Option<Asked>,
    /// Reads that wait for a slot: in the order of the slots, each greater than the one before.
    open: VecDeque<Open>,
    /// When those are placed anew.
    rinse_at: Option<Instant>,
    /// The leader is to propose something up to here.
    pub(crate) fill: Option<LogIndex>,
    /// Who knows the most slots to be chosen, of those who have answered the last round.
    ahead: Option<(LogIndex, NodeId)>,
    /// What was known here when it was asked for them.
    fetched: Option<(LogIndex, Option<(SnapshotId, u64)>)>,
    /// No read has to be given up before.
    expires: Option<Instant>,
}

/// Reads that came in a row at one time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Group {
    tickets: TicketRange,
    until: Instant,
}

/// A round under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Asked {
    /// The reads that waited when it began.
    groups: Vec<Group>,
    /// Which slot chose the configuration whose voters are asked.
    since: LogIndex,
    answers: Tally,
    /// The greatest slot that an answer has named.
    last: LogIndex,
    ahead: Option<(LogIndex, NodeId)>,
    /// When those who have not answered are asked again.
    again: Instant,
}

/// Reads whose slot is known and not chosen yet, as far as this node knows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Open {
    index: LogIndex,
    since: LogIndex,
    groups: Vec<Group>,
}

impl QuorumReads {
    /// Takes a read on.
    pub(crate) fn read(&mut self, node: &Node, ticket: Ticket) {
        let until = node.now + node.config.timing.forward_timeout;
        self.expires = Some(self.expires.map_or(until, |by| by.min(until)));
        if let Some(group) = self.gathering.last_mut()
            && group.until == until
            && group.tickets.extend(ticket)
        {
            return;
        }
        let tickets = TicketRange::one(ticket);
        self.gathering.push(Group { tickets, until });
    }

    /// Whether there is something to do at all.
    pub(crate) fn is_idle(&self) -> bool {
        self.gathering.is_empty() && self.asked.is_none() && self.open.is_empty()
    }

    /// Begins what is to begin, and ends what has waited for what is chosen by now.
    pub(crate) fn flush(&mut self, node: &mut Node) {
        self.answer(node);
        let (since, rinses) = (node.history.since(), !self.open.is_empty());
        // Nobody waits for it any more.
        self.asked
            .take_if(|asked| asked.groups.is_empty() && !rinses);
        if let Some(asked) = self.asked.take_if(|asked| asked.since != since) {
            // Other voters may have chosen more by now.
            self.gathering.splice(..0, asked.groups);
        }
        if self.asked.is_none() && !self.gathering.is_empty() {
            self.begin(node);
        }
    }

    /// Begins a round.
    fn begin(&mut self, node: &mut Node) {
        let Some(phases) = node.membership().phases() else {
            return;
        };
        let answers = Tally::new(phases.phase1().clone());
        let voters = phases.members().to_vec();
        self.round.0 += 1;
        self.asked = Some(Asked {
            groups: core::mem::take(&mut self.gathering),
            since: node.history.since(),
            answers,
            last: LogIndex::START,
            ahead: None,
            again: node.now + node.config.timing.round,
        });
        let me = node.id();
        for peer in voters.into_iter().filter(|voter| *voter != me) {
            self.ask(node, peer);
        }
        // Counts only if this node votes.
        let (last, chosen) = node.last_vote();
        self.on_answer(node, me, self.round, last, chosen);
    }

    fn ask(&self, node: &mut Node, peer: NodeId) {
        let (life, round) = (node.life, self.round);
        // Safe before any write: a question promises nothing.
        node.send_now(peer, Body::QuorumRead { life, round });
    }

    /// Asks all who have not answered the round under way.
    fn ask_again(&mut self, node: &mut Node) {
        let Some(asked) = &mut self.asked else { return };
        asked.again = node.now + node.config.timing.round;
        let quorum = asked.answers.quorum();
        let answered = asked.answers.answered();
        let silent = quorum.members().iter().copied();
        let silent = silent.filter(|id| !quorum.set([*id]).is_subset(answered));
        let silent: Vec<NodeId> = silent.filter(|id| *id != node.id()).collect();
        for peer in silent {
            self.ask(node, peer);
        }
    }

    /// The link to a peer has come up: what it was asked is lost.
    pub(crate) fn relink(&self, node: &mut Node, peer: NodeId) {
        if let Some(asked) = &self.asked
            && asked.answers.quorum().position(peer).is_some()
        {
            self.ask(node, peer);
        }
    }

    /// A voter's last slot; an answer to an earlier round confirms nothing that came later.
    pub(crate) fn on_answer(
        &mut self,
        node: &mut Node,
        from: NodeId,
        round: Round,
        last: LogIndex,
        chosen: LogIndex,
    ) {
        let current = self.round;
        let since = node.history.since();
        let counts = |asked: &&mut Asked| round == current && asked.since == since;
        let Some(asked) = self.asked.as_mut().filter(counts) else {
            return node.drop_message();
        };
        if asked.answers.quorum().position(from).is_some() {
            asked.last = asked.last.max(last);
            asked.ahead = asked.ahead.max(Some((chosen, from)));
        }
        let mut done = asked.answers.record(from, true) == Verdict::Won;
        if planted!(node, QuorumReadFromTooFew) {
            let answers = asked.answers.yes().len();
            done |= answers * 2 + 2 > asked.answers.quorum().members().len();
        }
        if done && let Some(asked) = self.asked.take() {
            self.place(node, asked);
            self.answer(node);
        }
    }

    /// A quorum has answered: its reads, and those that have waited for a later slot since before the
    /// round began, wait for the greatest slot that was named.
    fn place(&mut self, node: &Node, asked: Asked) {
        let Asked { since, ahead, .. } = asked;
        let mut index = asked.last;
        if planted!(node, QuorumReadDoesNotWait) {
            index = index.min(node.chosen);
        }
        let mut groups = Vec::new();
        while let Some(later) = self
            .open
            .pop_back_if(|open| open.index >= index || open.since != since)
        {
            groups.splice(..0, later.groups);
        }
        groups.extend(asked.groups);
        self.ahead = ahead;
        self.fetched = None;
        if self.open.is_empty() {
            self.rinse_at = None;
        }
        if !groups.is_empty() {
            self.open.push_back(Open {
                index,
                since,
                groups,
            });
        }
    }

    /// Reads whose slot is chosen, with all before it, ripen here.
    fn answer(&mut self, node: &mut Node) {
        let since = node.history.since();
        while let Some(open) = self.open.pop_front_if(|open| open.index <= node.chosen) {
            if open.since == since {
                for group in open.groups {
                    node.ripen_at(open.index, group.tickets);
                }
            } else {
                // A configuration was chosen meanwhile, and its voters may have chosen more before
                // the round began. (If so, a quorum of those that were asked had voted for the
                // configuration, which is why this read has waited for it.)
                self.gathering.splice(..0, open.groups);
            }
        }
        if self.open.is_empty() {
            self.rinse_at = None;
        } else if self.rinse_at.is_none() {
            self.rinse_at = Some(node.now + node.config.timing.heartbeat);
        }
    }

    /// What is chosen, and this node lacks, comes from its leader; where there is none, from the one
    /// who knew most. Says whom to ask.
    pub(crate) fn wants(&mut self, node: &Node) -> Option<NodeId> {
        let open = self.open.front()?;
        let (chosen, peer) = self.ahead?;
        let here = (node.chosen, node.staged);
        let news = chosen > node.chosen && open.index > node.chosen && self.fetched != Some(here);
        if !news || peer == node.id() || !node.outbox.has_room() {
            return None;
        }
        self.fetched = Some(here);
        Some(peer)
    }

    // Time.

    pub(crate) fn deadline(&self) -> Option<Wake> {
        let wake = |why| move |at| Wake { at, why };
        let again = self.asked.as_ref().map(|asked| asked.again);
        let again = again.map(wake("the answers to a quorum read"));
        let rinse = self
            .rinse_at
            .map(wake("a slot that a quorum read waits for"));
        let late = self.expires.map(wake("quorum reads that are late"));
        Wake::earlier(Wake::earlier(again, rinse), late)
    }

    /// Fires what is due.
    pub(crate) fn tick(&mut self, node: &mut Node) {
        if self.expires.is_some_and(|by| by <= node.now) {
            self.expire(node);
        }
        if self.asked.as_ref().is_some_and(|a| a.again <= node.now) {
            self.ask_again(node);
        }
        if self.rinse_at.is_some_and(|at| at <= node.now) {
            self.rinse_at = Some(node.now + node.config.timing.heartbeat);
            self.fill = self.open.back().map(|open| open.index);
            if self.asked.is_none() {
                self.begin(node);
            }
        }
    }

    /// Refuses the reads whose time is over.
    fn expire(&mut self, node: &mut Node) {
        let now = node.now;
        let (mut late, mut first) = (Vec::new(), None);
        let mut sift = |groups: &mut Vec<Group>| {
            groups.retain(|group| {
                let stays = group.until > now;
                if stays {
                    let until = group.until;
                    first = Some(first.map_or(until, |by: Instant| by.min(until)));
                } else {
                    late.push(group.tickets);
                }
                stays
            });
            !groups.is_empty()
        };
        self.open.retain_mut(|open| sift(&mut open.groups));
        if let Some(asked) = &mut self.asked {
            sift(&mut asked.groups);
        }
        sift(&mut self.gathering);
        self.expires = first;
        for tickets in late {
            node.refuse_reads(tickets, Refusal::TimedOut);
        }
    }
}

impl MultiPaxos {
    /// Asks and answers what is to be, and has filled what nobody else would.
    pub(crate) fn read_by_quorums(&mut self) {
        let node = &mut self.node;
        self.quorum_reads.flush(node);
        if let Some(through) = self.quorum_reads.fill.take() {
            match &mut self.role {
                Role::Leader(leader) => leader.fill(node, through),
                Role::Follower(_) | Role::Candidate(_) => {
                    if let Some(leader) = node.leader {
                        // Safe before any write: it promises nothing.
                        node.send_now(leader, Body::Fill { through });
                    }
                }
            }
        }
        if matches!(self.role, Role::Follower(_))
            && node.leader.is_none()
            && let Some(peer) = self.quorum_reads.wants(node)
        {
            node.fetch(peer, node.chosen, None);
        }
    }
}

impl Node {
    /// The last slot that this node has voted in or knows to be chosen, and the last one that it
    /// knows to be chosen with all before it.
    ///
    /// Votes that are not durable yet are among them: to name a greater slot than one has to costs the
    /// reader time and nothing else. Those that are durable are among them in every life. What a
    /// leader has taken on and not sealed is not: nobody has voted for it.
    pub(crate) fn last_vote(&self) -> (LogIndex, LogIndex) {
        (self.slots.sealed().max(self.chosen), self.chosen)
    }

    /// Answers the question of a reader.
    pub(crate) fn on_quorum_read(&mut self, from: NodeId, life: u64, round: Round) {
        let (last, chosen) = self.last_vote();
        // Safe before any write, see there.
        self.send_now(
            from,
            Body::QuorumReadAt {
                life,
                round,
                last,
                chosen,
            },
        );
    }
}
