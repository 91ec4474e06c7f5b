//! What a leader sends: entries in their slots, heartbeats, news of what is chosen.

use synod_core::{Entries, LogIndex, NodeId};

use super::Leader;
use crate::log::message::{Accept, Body};
use crate::log::node::Node;
use crate::log::peer::Peer;
use crate::log::planted::planted;

impl Leader {
    /// The first slot that this leader sends by itself: of this ballot, and in memory. Who lacks
    /// earlier ones asks for them: they are chosen.
    pub(super) fn pushed(&self, node: &Node) -> LogIndex {
        let memory = node.slots.first_in_memory();
        memory.map_or_else(|| node.slots.last().next(), |first| first.max(self.opened))
    }

    /// Writes and sends what has gathered.
    pub(crate) fn flush(&mut self, node: &mut Node) {
        if !self.due {
            return;
        }
        self.due = false;
        self.open_fast(node);
        node.seal(self.ballot);
        if planted!(node, CountUnwritten) {
            self.advance(node);
        }
        if self.round_wanted {
            self.round_wanted = false;
            self.round.0 += 1;
            // A leader whose weight is a quorum by itself waits for nobody's answer.
            self.confirm_reads(node);
        }
        if self.beat {
            self.lease.ask(node);
        }
        self.choose_first(node);
        let pushed = self.pushed(node);
        for place in 0..self.peers.len() {
            self.feed(node, place, pushed);
        }
        if self.peers.iter().any(Peer::is_gone) {
            self.peers.retain(|peer| !peer.is_gone());
            self.find_places(node);
        }
        if self.commit_due.is_some() && self.peers.iter().all(|peer| !lacks_news(node, peer)) {
            self.commit_due = None;
        }
        self.commit_overdue = false;
        self.beat = false;
        self.fast.announce = false;
    }

    /// Sends one peer what it may have.
    fn feed(&mut self, node: &mut Node, place: usize, pushed: LogIndex) {
        let round = self.round;
        let reading = !self.reads.is_empty();
        let peer = &self.peers[place];
        if !peer.linked {
            return;
        }
        let end = self.may_have(node, peer, peer.end(node.slots.sealed()));
        let news = self.commit_overdue && lacks_news(node, peer) && self.waits(node, peer);
        let peer = &mut self.peers[place];
        let limits = &node.config.limits;
        let (messages, in_flight) = (limits.in_flight_messages, limits.in_flight_bytes);
        let most = limits.accept_bytes;
        peer.next = peer.next.max(pushed);
        while peer.next <= end && peer.may_send(messages, in_flight) {
            if let Some(there) = peer.acked.end_of(peer.next) {
                peer.next = there.next();
                continue;
            }
            let mut gap = peer.acked.gap_end(peer.next).unwrap_or(end).min(end);
            if node.fast.open.is_some() {
                match proposed_in(node, peer.next, gap) {
                    // Votes for what others have offered are no proposals.
                    None => {
                        peer.next = gap.next();
                        continue;
                    }
                    Some((first, last)) => (peer.next, gap) = (first, last),
                }
                if let Some(last) = peer.flies_to(peer.next) {
                    peer.next = last.next();
                    continue;
                }
            }
            let Some(entries) = node.slots.read(peer.next, gap, most) else {
                let mut planted = planted!(node, GapNotFilled);
                planted |= planted!(node, SuffixNotProposed);
                debug_assert!(planted, "what is pushed is in memory");
                break;
            };
            let (first, last, bytes) = (entries.first(), entries.last(), entries.weight());
            send(node, peer, entries, pushed, round);
            peer.sent(first, last, bytes, node.now);
        }
        let wanted = self.fast.announce
            || (reading && peer.round_sent < round)
            // Nobody waits for a sign of life much longer than one interval: what was sent just
            // after a heartbeat does not stand for the next one.
            || (self.beat && node.now.since(peer.sent_at) >= node.config.timing.heartbeat / 2)
            || (news && lacks_news(node, peer));
        if wanted {
            let entries = Entries::empty(node.slots.sealed().next(), self.ballot.stamp());
            send(node, peer, entries, pushed, round);
        }
    }

    /// The link to a peer has a new incarnation or is gone.
    pub(crate) fn relink(&mut self, node: &Node, id: NodeId, linked: bool) {
        self.due = true;
        // Whoever comes is greeted at once.
        self.beat |= linked;
        if !linked {
            // Nothing of this link comes again.
            self.forwarded.remove(&id);
        }
        let now = node.now;
        if let Some(peer) = self.peer(id) {
            peer.relink(linked, now);
        }
    }
}

/// Sends entries, or none, to a peer.
///
/// Safe before this node's own write is durable: the ballot is durably promised since phase 1 began,
/// a vote means nothing until a quorum has cast it durably, and the leader counts its own only once
/// it is written.
fn send(
    node: &mut Node,
    peer: &mut Peer,
    entries: Entries,
    pushed: LogIndex,
    round: synod_core::Round,
) {
    peer.round_sent = round;
    peer.chosen_sent = node.chosen;
    peer.sent_at = node.now;
    let accept = Accept {
        entries,
        chosen: node.chosen,
        pushed,
        round,
        fast: node.fast.open,
    };
    node.send_now(peer.id, Body::Accept(accept));
}

/// The first stretch of what the leader has itself proposed between two slots.
fn proposed_in(node: &Node, first: LogIndex, last: LogIndex) -> Option<(LogIndex, LogIndex)> {
    let stamp = node.promised.stamp();
    let mut runs = node.slots.runs_in(first, last);
    let own = runs.find(|run| run.stamp == stamp)?;
    Some((own.first, own.last))
}

/// Whether a peer has not been told of all that is chosen.
fn lacks_news(node: &Node, peer: &Peer) -> bool {
    peer.linked && peer.chosen_sent < node.chosen
}
