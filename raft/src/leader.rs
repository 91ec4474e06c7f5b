//! The leader (Raft §5.3, §5.4): takes commands on, replicates them, counts what is durable.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use synod_core::{Entry, EntryKind, Instant, LeaderReads, LogIndex, NodeId, Refusal, Ticket};

use crate::message::{Body, Denial, Outcome};
use crate::node::Node;
use crate::planted::planted;
use crate::progress::{Mode, Peer};
use crate::{Membership, Position, Round};

mod feed;
mod read;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Leader {
    /// The entry that opened the term: nothing is committed before it is (Raft §5.4.2).
    pub(crate) opened: LogIndex,
    pub(crate) peers: Vec<Peer>,
    /// For each member of the replication quorums in their order: its place among the peers, or
    /// this node.
    slots: Vec<Option<usize>>,
    /// The last proposals that each node has passed on, and in which of its lives. Outlives its
    /// membership: a repeated message may come after that, or after its return.
    forwarded: BTreeMap<NodeId, (u64, Ticket)>,
    /// The latest round that has begun.
    round: Round,
    /// A read waits for a round that has not begun.
    round_wanted: bool,
    pub(crate) reads: LeaderReads,
    heartbeat_due: Instant,
    /// A heartbeat is due to whoever has heard nothing since the last.
    beat: bool,
    /// The followers are told of the commit at this time if no append does it before.
    commit_due: Option<Instant>,
    commit_overdue: bool,
    /// Something may have to be written or sent.
    due: bool,
    /// What is proposed and not committed, in bytes.
    pub(crate) uncommitted: usize,
}

impl Leader {
    /// Opens a term that this node has won.
    pub(crate) fn new(node: &mut Node) -> Self {
        let uncommitted = node.log.weight(node.commit, node.log.last());
        let next = node.log.last().next();
        let opened = node.log.open(node.term, Entry::blank());
        let mut leader = Self {
            opened,
            peers: Vec::new(),
            slots: Vec::new(),
            forwarded: BTreeMap::new(),
            round: Round(0),
            round_wanted: false,
            reads: LeaderReads::default(),
            heartbeat_due: node.now + node.config.timing.heartbeat,
            beat: true,
            commit_due: None,
            commit_overdue: false,
            due: true,
            // The entry that opens a term is let in whatever the limit says, or a full node could
            // never commit what fills it.
            uncommitted: uncommitted + Entry::OVERHEAD,
        };
        leader.follow_membership(node, next);
        leader
    }

    /// Has one peer for each member: new ones are probed from `next` on.
    pub(crate) fn follow_membership(&mut self, node: &Node, next: LogIndex) {
        let membership = node.membership();
        let others = membership.others(node.id());
        self.peers.retain_mut(|peer| {
            let stays = others.binary_search(&peer.id).is_ok();
            let returns = stays && peer.leaving.is_some();
            if !stays {
                // Whoever is taken out hears of it: it gets the log up to the entry that does so.
                peer.leaving.get_or_insert(next);
            }
            // One that returns may do so with another disk: nothing is known of it.
            !returns && !peer.is_gone()
        });
        for id in others {
            if let Err(place) = self.peers.binary_search_by_key(&id, |peer| peer.id) {
                let linked = node.link_to(id).is_some();
                self.peers
                    .insert(place, Peer::new(id, linked, next, node.now));
            }
        }
        self.find_slots(node);
    }

    fn find_slots(&mut self, node: &Node) {
        let counted = node
            .membership()
            .phases()
            .map_or(&[][..], |phases| phases.replication().members());
        self.slots = counted
            .iter()
            .map(|voter| self.peers.binary_search_by_key(voter, |peer| peer.id).ok())
            .collect();
    }

    pub(crate) fn peer(&mut self, id: NodeId) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.id == id)
    }

    // Proposals.

    /// Takes a command on.
    pub(crate) fn propose(
        &mut self,
        node: &mut Node,
        entry: Entry,
    ) -> Result<LogIndex, (Refusal, Entry)> {
        let limit = node.config.limits.uncommitted_bytes;
        let weight = entry.weight();
        if self.uncommitted > 0 && self.uncommitted + weight > limit {
            let refusal = Refusal::Busy {
                what: "the bytes of uncommitted proposals",
                limit,
            };
            return Err((refusal, entry));
        }
        self.uncommitted += weight;
        self.due = true;
        Ok(node.log.open(node.term, entry))
    }

    /// Takes on what a follower has passed on: all of it or nothing.
    pub(crate) fn on_propose(
        &mut self,
        node: &mut Node,
        from: NodeId,
        life: u64,
        first: Ticket,
        commands: Vec<Bytes>,
    ) {
        let count = u32::try_from(commands.len()).unwrap_or(u32::MAX);
        let Some(last) = first.0.checked_add(u64::from(count).saturating_sub(1)) else {
            return node.drop_message();
        };
        let seen = self.forwarded.get(&from);
        let outcome = if seen.is_some_and(|(l, seen)| *l == life && *seen >= first) {
            // A repeated message must not become a second entry, and a late one is not told from it.
            Outcome::Unknown
        } else {
            self.forwarded.insert(from, (life, Ticket(last)));
            let accepted = match self.peer(from) {
                Some(_) => self.accept(node, commands),
                None => Err(Denial::NotLeader),
            };
            accepted.map_or_else(Outcome::Refused, Outcome::Accepted)
        };
        // Safe before any write: it only names the place and term of the entry, and promises
        // nothing. Sent before the entry itself, so that it arrives before the commit.
        node.send_now(
            from,
            Body::Proposed {
                life,
                first,
                count,
                outcome,
            },
        );
    }

    fn accept(&mut self, node: &mut Node, commands: Vec<Bytes>) -> Result<LogIndex, Denial> {
        let limits = &node.config.limits;
        let clip = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        if let Some(long) = commands
            .iter()
            .find(|command| command.len() > limits.command_bytes)
        {
            let (len, limit) = (clip(long.len()), clip(limits.command_bytes));
            return Err(Denial::TooLarge { len, limit });
        }
        let weight: usize = commands
            .iter()
            .map(|command| command.len() + Entry::OVERHEAD)
            .sum();
        if self.uncommitted > 0 && self.uncommitted + weight > limits.uncommitted_bytes {
            return Err(Denial::Busy {
                limit: clip(limits.uncommitted_bytes),
            });
        }
        self.uncommitted += weight;
        self.due = true;
        let index = node.log.last().next();
        for command in commands {
            node.log.open(node.term, Entry::command(command));
        }
        Ok(index)
    }

    /// Appends a configuration, in force at once.
    pub(crate) fn reconfigure(&mut self, node: &mut Node, membership: Membership) -> LogIndex {
        let entry = Entry {
            kind: EntryKind::Config,
            payload: membership.to_bytes(),
        };
        self.uncommitted += entry.weight();
        self.due = true;
        let index = node.log.open(node.term, entry);
        node.history.push(index, membership);
        node.membership_changed();
        self.follow_membership(node, index);
        index
    }

    // Counting.

    /// The highest value that a replication quorum has reached.
    fn held_by_quorum(&self, node: &Node, own: u64, of: impl Fn(&Peer) -> u64) -> u64 {
        let Some(phases) = node.membership().phases() else {
            return 0;
        };
        phases
            .replication()
            .highest_by(|position| match self.slots[position] {
                Some(place) => of(&self.peers[place]),
                None => own,
            })
    }

    /// Commits what a quorum holds, if it is of this term: what is older rides along, and is never
    /// committed by counting (Raft §5.4.2, figure 8). This node counts what is durable here.
    pub(crate) fn advance(&mut self, node: &mut Node) {
        let own = if planted!(node, CountUnwritten) {
            node.log.last().0
        } else {
            node.log.durable().0
        };
        let mut index = LogIndex(self.held_by_quorum(node, own, |peer| peer.matched.0));
        if planted!(node, MajorityMinusOne) {
            index = LogIndex(
                self.peers
                    .iter()
                    .map(|peer| peer.matched.0)
                    .fold(own, u64::max),
            );
        }
        if index > node.commit
            && (node.log.term_at(index) == Some(node.term)
                || planted!(node, CommitOldTermByCounting))
        {
            self.uncommitted -= node.log.weight(node.commit, index).min(self.uncommitted);
            node.commit_to(index);
            if self.commit_due.is_none() {
                self.commit_due = Some(node.now + node.config.timing.commit_delay);
            }
        }
        self.confirm_reads(node);
    }

    // Answers.

    /// A follower's log matches up to `matched`, durably.
    pub(crate) fn on_appended(
        &mut self,
        node: &mut Node,
        from: NodeId,
        matched: LogIndex,
        round: Round,
    ) {
        let Some(place) = self.answered(node, from, round) else {
            return;
        };
        if matched > node.log.last() {
            // Nobody has acknowledged more in this term than this leader has: not our message.
            return node.drop_message();
        }
        let peer = &mut self.peers[place];
        let news = peer.acknowledged(matched);
        match peer.mode {
            Mode::Probe { .. } if news || matched == peer.next.previous() => {
                peer.become_replicate();
            }
            Mode::Snapshot { id, .. } if matched >= id.index => peer.become_replicate(),
            Mode::Probe { .. } | Mode::Replicate | Mode::Snapshot { .. } => {}
        }
        // It may have more, or be told of what is committed.
        self.due |= peer.next <= node.log.last() || !matches!(peer.mode, Mode::Replicate);
        if matched > node.commit {
            self.advance(node);
        } else {
            self.confirm_reads(node);
        }
    }

    /// A follower has refused an append: its log parts from ours before the place asked.
    pub(crate) fn on_conflict(
        &mut self,
        node: &mut Node,
        from: NodeId,
        asked: LogIndex,
        hint: Position,
        round: Round,
    ) {
        let Some(place) = self.answered(node, from, round) else {
            return;
        };
        // Where our log and the follower's can agree at the latest: terms above the hint's are not
        // in its log before the place asked.
        let resume = node.log.last_at_most(hint.index, hint.term);
        self.peers[place].refused(asked, resume);
        self.due = true;
        self.confirm_reads(node);
    }

    /// A follower has taken a piece of a snapshot.
    pub(crate) fn on_snapshot_got(
        &mut self,
        node: &mut Node,
        from: NodeId,
        got: (synod_core::SnapshotId, u64),
        round: Round,
    ) {
        let Some(place) = self.answered(node, from, round) else {
            return;
        };
        let size = match &node.snapshot {
            Some(snapshot) if snapshot.id == got.0 => snapshot.size,
            // Replaced meanwhile: the storage will say so.
            Some(_) | None => u64::MAX,
        };
        if let Mode::Snapshot {
            id,
            offset,
            waiting,
            ..
        } = &mut self.peers[place].mode
            && *id == got.0
            // No storage is asked for what lies behind the end, whatever a peer says.
            && got.1 <= size
        {
            // The piece from there on is under way already: this answer came twice.
            if !(*waiting && *offset == got.1) {
                *offset = got.1;
                *waiting = false;
                self.due = true;
            }
        }
        self.confirm_reads(node);
    }

    /// Notes that a peer has answered; its place, if it is one of ours.
    fn answered(&mut self, node: &mut Node, from: NodeId, round: Round) -> Option<usize> {
        let place = self.peers.iter().position(|peer| peer.id == from);
        let Some(place) = place.filter(|place| round <= self.peers[*place].round_sent) else {
            node.drop_message();
            return None;
        };
        let peer = &mut self.peers[place];
        peer.heard = node.now;
        peer.round_acked = peer.round_acked.max(round);
        Some(place)
    }

    // Time.

    pub(crate) fn deadline(&self) -> Instant {
        self.commit_due
            .map_or(self.heartbeat_due, |due| due.min(self.heartbeat_due))
    }

    /// Whether this leader still has a quorum: if not it steps down, so that its clients look
    /// elsewhere (dissertation §6.2).
    pub(crate) fn has_quorum(&self, node: &Node) -> bool {
        let now = node.now.as_nanos();
        let heard = Instant::from_nanos(self.held_by_quorum(node, now, |p| p.heard.as_nanos()));
        node.now.since(heard) <= node.config.timing.election_max
            || node.config.timing.election_max.is_zero()
    }

    /// Fires what is due.
    pub(crate) fn tick(&mut self, node: &Node) {
        if node.now >= self.heartbeat_due {
            self.heartbeat_due = node.now + node.config.timing.heartbeat;
            self.beat = true;
            self.due = true;
            for peer in &mut self.peers {
                // A probe or a piece whose answer was lost is sent again.
                peer.retry(node.now, node.config.timing.election_max.saturating_mul(2));
            }
        }
        if self.commit_due.is_some_and(|due| node.now >= due) {
            self.commit_due = None;
            self.commit_overdue = true;
            self.due = true;
        }
    }

    /// The leader's own invariants.
    pub(crate) fn check(&self, node: &Node) {
        self.peers.iter().for_each(Peer::check);
        assert!(
            node.log.last() >= self.opened,
            "a leader's log only grows (Raft §5.3)"
        );
        assert!(
            self.peers
                .iter()
                .all(|peer| peer.matched <= node.log.last()),
            "nobody has more than the leader"
        );
    }
}
