//! Thrifty mode: entries go to a quorum first, and to the others once they are chosen (Moraru, Andersen,
//! Kaminsky, *There Is More Consensus in Egalitarian Parliaments*, SOSP 2013, §6.2).

use alloc::vec::Vec;

use synod_core::{LogIndex, NodeId};

use super::Leader;
use crate::log::node::Node;
use crate::log::peer::Peer;

impl Leader {
    /// How many chosen entries wait for a node that is not asked first, at most, if they come sooner
    /// than the next heartbeat.
    const BACKLOG: u64 = 256;

    /// Keeps a quorum whose members answer. Without one, or out of thrifty mode, all are asked at once.
    pub(super) fn choose_first(&mut self, node: &Node) {
        if !node.config.thrifty {
            return;
        }
        let Some(phases) = node.membership().phases() else {
            return;
        };
        let (quorum, round) = (phases.phase2(), node.config.timing.round);
        let answers = |peer: &&Peer| {
            let votes = quorum.position(peer.id).is_some() && peer.leaving.is_none();
            votes && peer.linked && !peer.is_late(node.now, round)
        };
        let mut peers: Vec<&Peer> = self.peers.iter().filter(answers).collect();
        // Those that were first stay so: each change sends entries to one more.
        let was = |id: NodeId| self.first.as_ref().is_some_and(|first| first.contains(&id));
        peers.sort_by_key(|peer| (!was(peer.id), core::cmp::Reverse(peer.heard), peer.id));
        let mut set = quorum.set([node.id()]);
        for peer in peers {
            if quorum.is_quorum(set) {
                break;
            }
            set = set | quorum.set([peer.id]);
        }
        let first = quorum.shrink(set).map(|set| quorum.nodes(set).collect());
        if first != self.first {
            self.first = first;
        }
    }

    /// The last slot that this peer is to have now, of those up to `end`.
    pub(super) fn may_have(&self, node: &Node, peer: &Peer, end: LogIndex) -> LogIndex {
        let Some(first) = &self.first else {
            return end;
        };
        if first.contains(&peer.id) {
            return end;
        }
        let chosen = end.min(node.chosen);
        let soon = self.beat
            || (self.commit_overdue && self.waits(node, peer))
            || chosen.since(peer.next.previous()) >= Self::BACKLOG;
        // Or nothing for now.
        if soon { chosen } else { LogIndex::START }
    }

    /// Whether a peer hears of what is chosen without delay: it is asked first, or has just passed
    /// something on, and somebody waits there.
    pub(super) fn waits(&self, node: &Node, peer: &Peer) -> bool {
        let round = node.config.timing.round;
        let first = self.first.as_ref();
        first.is_none_or(|first| first.contains(&peer.id))
            || peer.asked.is_some_and(|at| node.now.since(at) < round)
    }
}
