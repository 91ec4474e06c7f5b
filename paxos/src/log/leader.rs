//! The leader: takes commands on, sends them as phase 2, counts what is durable (Lamport, *Paxos Made
//! Simple*, §3).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use synod_core::{
    Denial, Entries, Entry, Instant, LeaderReads, LogIndex, NodeId, Outcome, Refusal, Round, Ticket,
};

use super::fast::{Lead, Name};
use super::lease::Lease;
use super::message::Body;
use super::node::Node;
use super::peer::Peer;
use super::planted::planted;
use super::prepare::Found;
use super::{Cover, Detail, Epoch};
use crate::Ballot;

mod change;
mod feed;
mod read;
mod thrifty;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Leader {
    pub(crate) ballot: Ballot,
    /// Slots up to here hold what earlier ballots may have chosen: before all of them are chosen
    /// anew, this leader does not know what is.
    pub(crate) recovered: LogIndex,
    pub(crate) peers: Vec<Peer>,
    /// For each voter in the order of the quorums: its place among the peers, or this node.
    places: Vec<Option<usize>>,
    /// Which slot chose the configuration that the peers are of.
    since: LogIndex,
    /// The epoch that the ballot is of.
    epoch: Epoch,
    /// The last change of the configuration that was proposed here.
    pub(crate) change: LogIndex,
    /// The stop-sign that ends the epoch, if one is proposed: nothing is, behind it.
    stop: Option<LogIndex>,
    /// The first slot of this ballot: what lies before was chosen when it began.
    opened: LogIndex,
    /// The last proposals that each node has passed on, and in which of its lives. Outlives its
    /// membership: a repeated message may come after that, or after its return.
    forwarded: BTreeMap<NodeId, (u64, Ticket)>,
    /// The latest round that has begun.
    round: Round,
    /// A read waits for a round that has not begun.
    round_wanted: bool,
    reads: LeaderReads,
    /// In thrifty mode, those that entries go to before they are chosen.
    first: Option<Vec<NodeId>>,
    pub(crate) lease: Lease,
    heartbeat_due: Instant,
    /// A heartbeat is due to whoever has heard nothing since the last.
    beat: bool,
    /// The followers are told of what is chosen at this time if no entries do it before.
    commit_due: Option<Instant>,
    commit_overdue: bool,
    /// Something may have to be written or sent.
    pub(crate) due: bool,
    pub(crate) fast: Lead,
    /// What is proposed and not chosen, in bytes.
    pub(crate) uncommitted: usize,
}

impl Leader {
    /// Begins phase 2 of a ballot whose phase 1 has found this: each slot that somebody voted in is
    /// proposed again with the value of the highest vote, each one before them that nobody voted in
    /// with nothing (§3, "no-op").
    pub(crate) fn new(node: &mut Node, ballot: Ballot, found: Found) -> Self {
        let opened = node.chosen.next();
        let through = if planted!(node, SuffixNotProposed) {
            node.chosen
        } else {
            found.through
        };
        let mut leader = Self {
            ballot,
            recovered: through,
            peers: Vec::new(),
            places: Vec::new(),
            since: node.history.since(),
            epoch: node.epoch(),
            change: LogIndex::START,
            stop: found.stop,
            opened,
            forwarded: BTreeMap::new(),
            round: Round(0),
            round_wanted: false,
            reads: LeaderReads::default(),
            first: None,
            lease: Lease::default(),
            heartbeat_due: node.now + node.config.timing.heartbeat,
            beat: true,
            commit_due: None,
            commit_overdue: false,
            due: true,
            fast: Lead::default(),
            uncommitted: 0,
        };
        let blanks = leader.propose_again(node, through, found);
        if let Some(stop) = leader.stop {
            // Behind what is proposed again, so that no crash leaves neither.
            node.cut(stop);
        }
        let detail = Detail::Recovered {
            ballot,
            through,
            blanks,
        };
        node.detail(detail);
        leader.follow_membership(node);
        leader
    }

    /// Proposes what was found; says how many slots were empty.
    fn propose_again(&mut self, node: &mut Node, through: LogIndex, found: Found) -> u64 {
        let mut votes = found.votes;
        let (mut blanks, mut index) = (0, self.opened);
        while index <= through {
            let (first, mut weight, mut entries) = (index, 0, Vec::new());
            while index <= through && weight < node.config.limits.accept_bytes {
                let entry = match votes.remove(&index) {
                    Some((_, entry)) => entry,
                    None if planted!(node, GapNotFilled) && entries.is_empty() => break,
                    None => {
                        blanks += 1;
                        Entry::blank()
                    }
                };
                weight += entry.weight();
                entries.push(entry);
                index = index.next();
            }
            if entries.is_empty() {
                index = index.next();
                continue;
            }
            // What earlier leaders left is taken on whatever the limits say.
            self.uncommitted += weight;
            node.put(Entries::new(first, self.ballot.stamp(), entries));
        }
        blanks
    }

    /// Has one peer for each member.
    fn follow_membership(&mut self, node: &Node) {
        self.since = node.history.since();
        let membership = node.membership();
        let others = membership.others(node.id());
        self.peers.retain_mut(|peer| {
            let stays = others.binary_search(&peer.id).is_ok();
            let returns = stays && peer.leaving.is_some();
            if !stays {
                // Whoever is taken out hears of it: it gets the log up to the entry that does so.
                peer.leaving.get_or_insert(self.since);
            }
            // One that returns may do so with another disk: nothing is known of it.
            !returns && !peer.is_gone()
        });
        let next = self.pushed(node);
        for id in others {
            if let Err(place) = self.peers.binary_search_by_key(&id, |peer| peer.id) {
                let linked = node.link_to(id).is_some();
                self.peers
                    .insert(place, Peer::new(id, linked, next, node.now));
            }
        }
        self.find_places(node);
        self.due = true;
    }

    fn find_places(&mut self, node: &Node) {
        let voters = node.membership().voters().iter();
        self.places = voters
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
        if let Some(stop) = self.closed(node) {
            return Err((Refusal::ChangeUnderWay(stop), entry));
        }
        let limit = node.config.limits.uncommitted_bytes;
        let weight = entry.weight();
        if self.uncommitted > 0 && self.uncommitted + weight > limit {
            let what = "the bytes of uncommitted proposals";
            return Err((Refusal::Busy { what, limit }, entry));
        }
        self.uncommitted += weight;
        self.due = true;
        Ok(node.slots.open(entry))
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
            let asked = node.config.thrifty.then_some(node.now);
            let accepted = match self.peer(from) {
                Some(_) if node.fast.open.is_some() => {
                    Self::offer_for(node, (life, first), commands)
                }
                Some(peer) => {
                    peer.asked = asked;
                    self.accept(node, commands)
                }
                None => Err(Denial::NotLeader),
            };
            accepted.map_or_else(Outcome::Refused, Outcome::Accepted)
        };
        // Safe before any write: it only names the slot and the ballot of the entry, and promises
        // nothing. Sent before the entry itself, so that it arrives before what is chosen.
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

    /// Offers commands in open slots under the names that their own node gives them: it knows
    /// them again.
    fn offer_for(
        node: &mut Node,
        (life, first): (u64, Ticket),
        commands: Vec<Bytes>,
    ) -> Result<LogIndex, Denial> {
        fit(node, &commands)?;
        let limit = node.config.limits.uncommitted_bytes;
        let weight = commands
            .iter()
            .map(|command| command.len() + Entry::OVERHEAD)
            .sum();
        let known = life != node.life && first.0 > 0;
        if !known || !node.fast.offers.fits(weight, limit) {
            return Err(Denial::Busy { limit: clip(limit) });
        }
        for (number, command) in (first.0..).zip(commands) {
            let name = Name { life, number };
            node.fast.offers.take_on(name, name.command(&command));
        }
        Ok(LogIndex::START)
    }

    fn accept(&mut self, node: &mut Node, commands: Vec<Bytes>) -> Result<LogIndex, Denial> {
        if let Some(stop) = self.closed(node) {
            return Err(Denial::ChangeUnderWay(stop));
        }
        fit(node, &commands)?;
        let limits = &node.config.limits;
        let weights = commands
            .iter()
            .map(|command| command.len() + Entry::OVERHEAD);
        let weight: usize = weights.sum();
        if self.uncommitted > 0 && self.uncommitted + weight > limits.uncommitted_bytes {
            return Err(Denial::Busy {
                limit: clip(limits.uncommitted_bytes),
            });
        }
        self.uncommitted += weight;
        self.due = true;
        let index = node.slots.last().next();
        for command in commands {
            node.slots.open(Entry::command(command));
        }
        Ok(index)
    }

    /// Asks another voter to take over. It prepares a higher ballot, and this node follows that like any
    /// other. It needs not have everything: phase 1 fetches what it lacks.
    pub(crate) fn hand_over(&mut self, node: &mut Node, to: NodeId) {
        self.lease.give_up(node);
        node.send(to, Body::TakeOver);
    }

    // Counting.

    /// The highest value that a quorum of phase 2 has reached.
    fn held_by_quorum(&self, node: &Node, own: u64, of: impl Fn(&Peer) -> u64) -> u64 {
        let Some(phases) = node.membership().phases() else {
            return 0;
        };
        let value = |position: usize| match self.places[position] {
            Some(place) => of(&self.peers[place]),
            None => own,
        };
        phases.phase2().highest_by(value)
    }

    /// Chooses what a quorum holds durably in this ballot (Paxos Made Simple §2.2: a value is chosen once a
    /// quorum has accepted it in one ballot). Slots may get there in any order; a gap
    /// holds back those behind it, and when it closes they come at once.
    ///
    /// A peer also counts for slots that it knows to be chosen, whatever their mark there: the value
    /// was chosen in a lower ballot then, and is what this one proposes (Paxos Made Simple, P2c).
    pub(crate) fn advance(&mut self, node: &mut Node) {
        let before = node.chosen;
        loop {
            // Before counting anything else: what was chosen last may be a configuration, and who
            // counts behind it are its voters. (Whatever a peer has put there: test
            // `a_configuration_of_other_voters_breaks_no_leader`.)
            if node.epoch() != self.epoch {
                // The stop-sign is chosen, and the ballot over: no read is confirmed any more by voters
                // who may not know that others have taken their place.
                return;
            }
            if node.history.since() != self.since {
                self.follow_membership(node);
            }
            // What a fast quorum has voted for needs nothing more.
            if node.choose_decided() {
                continue;
            }
            let at = node.chosen.next();
            if at > node.held.through() {
                break;
            }
            let end = |cover: &Cover| cover.end_of(at).map_or(0, |end| end.0);
            let own = if planted!(node, CountUnwritten) {
                end(&node.held)
            } else {
                end(&node.durable)
            };
            let mut index = LogIndex(self.held_by_quorum(node, own, |peer| end(&peer.acked)));
            if planted!(node, MajorityMinusOne) {
                let peers = self.peers.iter().map(|peer| end(&peer.acked));
                index = LogIndex(peers.fold(own, u64::max));
            }
            if planted!(node, NextOnAccepted)
                && let Some(stop) = self.stop.filter(|_| index < at)
            {
                index = stop;
            }
            if index < at {
                break;
            }
            let index = index.min(node.held.through());
            let weight = node.slots.weight(at, index);
            self.uncommitted -= weight.min(self.uncommitted);
            node.choose(index);
        }
        if node.chosen > before && self.commit_due.is_none() {
            self.commit_due = Some(node.now + node.config.timing.commit_delay);
        }
        self.confirm_reads(node);
    }

    /// Goes on through what fast quorums have voted for.
    pub(crate) fn advance_decided(&mut self, node: &mut Node) {
        if node.fast.open.is_some() && node.is_decided(node.chosen.next(), node.chosen.next()) {
            self.advance(node);
        }
    }

    /// What a peer holds durably of this ballot.
    pub(crate) fn on_accepted(
        &mut self,
        node: &mut Node,
        from: NodeId,
        held: &Cover,
        round: Round,
    ) {
        let place = self.peers.iter().position(|peer| peer.id == from);
        let sound = |place: &usize| {
            // Of open slots it may know what this leader does not.
            let open = node.fast.open.map_or(LogIndex::START, |_| node.window());
            let last = node.slots.sealed().max(open);
            round <= self.peers[*place].round_sent && held.last() <= last
        };
        let Some(place) = place.filter(sound) else {
            return node.drop_message();
        };
        let peer = &mut self.peers[place];
        peer.heard = node.now;
        peer.round_acked = peer.round_acked.max(round);
        let news = peer.acknowledged(held, node.now);
        self.note_answer(node, from);
        self.due |= news;
        if news {
            self.advance(node);
        } else {
            self.confirm_reads(node);
        }
    }

    // Time.

    pub(crate) fn deadline(&self) -> Instant {
        self.commit_due
            .map_or(self.heartbeat_due, |due| due.min(self.heartbeat_due))
    }

    /// Fires what is due; says whether that was the heartbeat.
    pub(crate) fn tick(&mut self, node: &Node) -> bool {
        let beats = node.now >= self.heartbeat_due;
        if beats {
            self.heartbeat_due = node.now + node.config.timing.heartbeat;
            self.beat = true;
            self.due = true;
            for peer in &mut self.peers {
                peer.retry(node.now, node.config.timing.round);
            }
        }
        if self.commit_due.is_some_and(|due| node.now >= due) {
            self.commit_due = None;
            self.commit_overdue = true;
            self.due = true;
        }
        beats
    }

    /// The leader's own invariants.
    pub(crate) fn check(&self, node: &Node) {
        self.peers.iter().for_each(Peer::check);
        assert_eq!(self.ballot, node.promised, "a leader's ballot is promised");
        let open = node.fast.open;
        let end = open.map_or_else(|| node.slots.sealed(), LogIndex::previous);
        let all = planted!(node, GapNotFilled) || node.held.through() >= end;
        assert!(
            all,
            "a leader holds everything up to its end, or up to what is open"
        );
        let ahead = |peer: &Peer| open.is_none() && peer.acked.last() > node.slots.sealed();
        assert!(!self.peers.iter().any(ahead), "nobody has more");
    }
}

fn clip(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Whether none of these commands is too long.
fn fit(node: &Node, commands: &[Bytes]) -> Result<(), Denial> {
    let limit = node.config.limits.command_bytes;
    let mut lengths = commands.iter().map(Bytes::len);
    match lengths.find(|len| *len > limit) {
        Some(len) => Err(Denial::TooLarge {
            len: clip(len),
            limit: clip(limit),
        }),
        None => Ok(()),
    }
}
