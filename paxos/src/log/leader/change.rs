//! Changes of the membership: what a leader takes on, and what it still says at the end of its epoch.

use synod_core::{Change, Entries, Entry, EntryKind, LogIndex, NodeId, Refusal};

use super::Leader;
use crate::log::Membership;
use crate::log::membership::stops;
use crate::log::message::{Accept, Body};
use crate::log::node::Node;
use crate::log::peer::Peer;
use crate::log::planted::planted;

/// How many slots a learner may lack that is to vote: as many as it gets while the change is chosen,
/// so that the new voters go on without a pause.
const MAY_LACK: u64 = 1_000;

impl Leader {
    /// The stop-sign behind which nothing is proposed.
    pub(crate) fn closed(&self, node: &Node) -> Option<LogIndex> {
        self.stop.filter(|_| !planted!(node, ProposesBehindStop))
    }

    /// The change that is under way, if one is: one at a time, and none before it is known which
    /// ones earlier ballots have chosen.
    pub(crate) fn changing(&self, node: &Node) -> Option<LogIndex> {
        let latest = self.recovered.max(self.change);
        (node.chosen < latest).then_some(latest)
    }

    /// The configuration after `change`.
    pub(crate) fn after(&self, node: &Node, change: &Change) -> Result<Membership, Refusal> {
        let own = (node.id(), node.generation);
        let storages = [&node.known[..], &[own]].concat();
        let next = node.membership().after(change, &storages)?;
        let fresh = |voter: &&NodeId| !node.membership().is_voter(**voter);
        for voter in next.voters().iter().filter(fresh) {
            if next.epoch() > self.epoch && !self.has_caught_up(node, *voter) {
                return Err(Refusal::BadChange {
                    node: *voter,
                    rule: "lacks more than 1,000 slots or has not answered for two rounds: a voter is \
                           there and has the log",
                });
            }
        }
        Ok(next)
    }

    fn has_caught_up(&self, node: &Node, id: NodeId) -> bool {
        let patience = node.config.timing.round.saturating_mul(2);
        let there = |peer: &&Peer| peer.id == id && peer.linked && peer.leaving.is_none();
        self.peers.iter().find(there).is_some_and(|peer| {
            // It has answered in this ballot, of which the first slots lie behind what was chosen.
            let held = peer.acked.through();
            held > LogIndex::START
                && held.plus(MAY_LACK) >= node.slots.last()
                && node.now.since(peer.heard) <= patience
        })
    }

    /// Proposes a configuration; it is in force once it is chosen. If it is a stop-sign, nothing is
    /// proposed behind it.
    pub(crate) fn reconfigure(&mut self, node: &mut Node, membership: &Membership) -> LogIndex {
        let entry = Entry {
            kind: EntryKind::Config,
            payload: membership.to_bytes(),
        };
        self.uncommitted += entry.weight();
        self.due = true;
        self.change = node.slots.open(entry.clone());
        if stops(&entry, self.epoch) {
            self.stop = Some(self.change);
        }
        node.note_config(self.change, entry);
        self.change
    }

    /// Follows a change of the learners that this node has learned of by other means than counting.
    pub(crate) fn follow_changes(&mut self, node: &mut Node) {
        if node.history.since() != self.since {
            self.advance(node);
        }
    }

    /// The stop-sign is chosen, and with it the last slot of this ballot: tells everyone, as of the
    /// epoch that it ends. Who holds all of it needs no more to enter the next one.
    pub(crate) fn last_word(&mut self, node: &mut Node) {
        let pushed = self.pushed(node);
        let given_up = self.lease.end(node);
        for peer in self.peers.iter().filter(|peer| peer.linked) {
            let accept = Accept {
                entries: Entries::empty(node.slots.sealed().next(), self.ballot.stamp()),
                chosen: node.chosen,
                pushed,
                round: self.round,
                fast: None,
            };
            // Safe before any write: a quorum holds durably what is said to be chosen.
            node.send_as(self.epoch, peer.id, Body::Accept(accept));
            if let Some(given_up) = &given_up {
                // Else the next leader would have to wait until it is over.
                node.send_as(self.epoch, peer.id, given_up.clone());
            }
        }
    }

    /// The voter of the next epoch that has most of the log.
    pub(crate) fn successor(&self, node: &Node) -> Option<NodeId> {
        let voters = self.peers.iter().filter(|peer| {
            let votes = node.membership().is_voter(peer.id);
            votes && peer.linked
        });
        let most = voters.max_by_key(|peer| (peer.acked.through(), peer.heard));
        most.map(|peer| peer.id)
    }
}
