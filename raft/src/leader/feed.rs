//! What a leader sends: entries, heartbeats and snapshots, to each peer as much as it may have.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use synod_core::{Entries, LogIndex, LogLoad, NodeId};

use super::Leader;
use crate::message::{Append, Body, Piece};
use crate::node::Node;
use crate::planted::planted;
use crate::progress::{Mode, Peer};
use crate::{Detail, Round};

impl Leader {
    /// Writes and sends what has gathered.
    pub(crate) fn flush(&mut self, node: &mut Node) {
        if !self.due {
            return;
        }
        self.due = false;
        if let Some(chunk) = node.log.seal(node.term) {
            node.write_entries(chunk);
            if planted!(node, CountUnwritten) {
                self.advance(node);
            }
        }
        if self.round_wanted {
            self.round_wanted = false;
            self.round.0 += 1;
            // A leader whose weight is a quorum by itself waits for nobody's answer.
            self.confirm_reads(node);
        }
        for place in 0..self.peers.len() {
            self.feed(node, place);
        }
        if self.peers.iter().any(Peer::is_gone) {
            self.peers.retain(|peer| !peer.is_gone());
            self.find_slots(node);
        }
        if self.commit_due.is_some() && self.peers.iter().all(|peer| !lacks_commit(node, peer)) {
            self.commit_due = None;
        }
        self.commit_overdue = false;
        self.beat = false;
    }

    /// Sends one peer what it may have.
    fn feed(&mut self, node: &mut Node, place: usize) {
        let round = self.round;
        let reading = !self.reads.is_empty();
        let peer = &mut self.peers[place];
        if !peer.linked {
            return;
        }
        let limits = &node.config.limits;
        let (messages, in_flight) = (limits.in_flight_messages, limits.in_flight_bytes);
        let (end, most) = (peer.end(node.log.sealed()), limits.append_bytes);
        // What comes before our log cannot be compared: a probe from there would never end. One that
        // is taken out may have all that it is to have, and not have said so.
        let base = node.log.base().index;
        let lost =
            |peer: &Peer| matches!(peer.mode, Mode::Probe { .. }) && peer.next.previous() < base;
        while (peer.next <= end || lost(peer)) && peer.may_send(messages, in_flight) {
            match node.log.read(peer.next, end, most) {
                Some(entries) => send_entries(node, peer, entries, round),
                None => fetch(node, peer),
            }
        }
        if let Mode::Snapshot { .. } = peer.mode {
            fetch_snapshot(node, peer);
        }
        let probe = peer.may_send(messages, in_flight) && matches!(peer.mode, Mode::Probe { .. });
        let wanted = probe
            || (reading && peer.round_sent < round)
            // Nobody waits for a sign of life much longer than one interval: what was sent just
            // after a heartbeat does not stand for the next one.
            || (self.beat && node.now.since(peer.sent_at) >= node.config.timing.heartbeat / 2)
            || (self.commit_overdue && lacks_commit(node, peer));
        if wanted {
            send_empty(node, peer, round);
        }
        if self.beat {
            peer.quiet = true;
        }
    }

    /// What was read back for a peer.
    pub(crate) fn loaded_entries(
        &mut self,
        node: &mut Node,
        place: usize,
        answer: Option<Vec<Entries>>,
    ) {
        let round = self.round;
        self.due = true;
        let peer = &mut self.peers[place];
        peer.load = None;
        let mut any = false;
        for run in answer.into_iter().flatten() {
            let known = peer.next.previous() >= node.log.base().index;
            if known && run.first() == peer.next && peer.may_send(usize::MAX, usize::MAX) {
                send_entries(node, peer, run, round);
                any = true;
            }
        }
        // Behind the base: compacted meanwhile. The next flush sees that and offers the snapshot.
        // Else the storage does not have what it should: asking at once would only keep it busy.
        peer.stalled = !any && peer.next.previous() >= node.log.base().index;
    }

    /// A piece of the snapshot that was read back for a peer.
    pub(crate) fn loaded_snapshot(
        &mut self,
        node: &mut Node,
        place: usize,
        answer: Option<(synod_core::SnapshotMeta, u64, Bytes)>,
    ) {
        let round = self.round;
        self.due = true;
        let peer = &mut self.peers[place];
        peer.load = None;
        let Mode::Snapshot {
            id,
            offset,
            waiting,
            ..
        } = peer.mode
        else {
            return;
        };
        match answer {
            Some((meta, at, chunk)) if meta.id == id && at == offset => {
                peer.round_sent = peer.round_sent.max(round);
                peer.quiet = false;
                peer.sent_at = node.now;
                // Safe before any write: a snapshot holds only what is committed and durable.
                node.send_now(
                    peer.id,
                    Body::Snapshot(Box::new(Piece {
                        meta,
                        offset,
                        chunk,
                        round,
                    })),
                );
            }
            // The answer to an earlier piece came while this one was read: what it asks for is next.
            Some((meta, ..)) if meta.id == id && !waiting => {}
            // Another snapshot has taken its place.
            Some(_) | None => {
                peer.become_probe(peer.matched.next());
                // Or the storage does not have what it should.
                peer.stalled = node.snapshot.as_ref().is_some_and(|s| s.id == id);
            }
        }
    }

    pub(crate) fn place_of_load(&self, load: synod_core::LoadId) -> Option<usize> {
        self.peers.iter().position(|peer| peer.load == Some(load))
    }

    /// The link to a peer has a new incarnation or is gone.
    pub(crate) fn relink(&mut self, node: &Node, id: NodeId, linked: bool) {
        self.due = true;
        if !linked {
            // Nothing of this link comes again.
            self.forwarded.remove(&id);
        }
        if let Some(peer) = self.peer(id) {
            peer.relink(linked, node.log.last());
        }
    }
}

/// Sends entries to a peer.
///
/// Safe before this node's own write is durable: the leader's term is durable since its candidacy,
/// an entry of it means nothing until a quorum has it on disk, and the leader counts itself only
/// once its own write is durable (dissertation §10.2.1: the leader's disk in parallel).
fn send_entries(node: &mut Node, peer: &mut Peer, entries: Entries, round: Round) {
    let Some(before) = node.log.term_at(entries.first().previous()) else {
        debug_assert!(false, "the entry before what is in the log is known");
        return;
    };
    let (last, bytes) = (entries.last(), entries.weight());
    let append = Append {
        before,
        entries,
        commit: node.commit,
        round,
    };
    send_append(node, peer, append);
    peer.sent(last, bytes);
}

fn send_append(node: &mut Node, peer: &mut Peer, append: Append) {
    peer.round_sent = append.round;
    peer.commit_sent = append.commit.min(append.entries.last());
    peer.quiet = false;
    peer.sent_at = node.now;
    // Safe as said at `send_entries`.
    node.send_now(peer.id, Body::Append(append));
}

/// Sends no entries: a heartbeat, a probe, news of a commit or a question for confirmation.
fn send_empty(node: &mut Node, peer: &mut Peer, round: Round) {
    let (at, before) = match peer.mode {
        // Its log is far behind: every log has the place before the first entry.
        Mode::Snapshot { .. } => (LogIndex::START, crate::Term::START),
        Mode::Probe { .. } | Mode::Replicate => {
            let at = peer.next.previous();
            match node.log.term_at(at) {
                Some(term) => (at, term),
                // All that was sent is compacted. The place where our log begins still tells whether
                // the peer has it: to ask for less would leave what was lost in flight for ever.
                None => (node.log.base().index, node.log.base().term),
            }
        }
    };
    let entries = Entries::empty(at.next(), node.term.stamp());
    send_append(
        node,
        peer,
        Append {
            before,
            entries,
            commit: node.commit,
            round,
        },
    );
    if let Mode::Probe { .. } = peer.mode {
        // A probe is about the place where it asks: the refusal of another would count for nothing,
        // and while reads go on, what is asked is never given up as lost.
        peer.next = at.next();
    }
    if at == peer.next.previous() {
        // Under way until it is answered: another before that would be answered, too, and the two
        // would go on without end.
        peer.sent(at, 0);
    }
}

/// Reads back what a peer needs next, or turns to the snapshot if that is compacted.
fn fetch(node: &mut Node, peer: &mut Peer) {
    let after = peer.next.previous();
    if after >= node.log.base().index {
        let load = LogLoad::Entries {
            after,
            // Only what is durable has left memory (contract rule 8).
            through: peer.end(node.log.durable()),
            max_bytes: node.config.limits.append_bytes,
        };
        peer.load = Some(node.outbox.load(load));
        return;
    }
    match &node.snapshot {
        Some(snapshot) => {
            let id = snapshot.id;
            peer.become_snapshot(id);
            node.detail(Detail::SnapshotOffered { to: peer.id, id });
        }
        None => {
            // A log is compacted only behind a snapshot.
            debug_assert!(false, "{} needs a snapshot and there is none", peer.id);
            peer.become_probe(node.log.base().index.next());
        }
    }
}

fn fetch_snapshot(node: &mut Node, peer: &mut Peer) {
    let max_bytes = node.config.limits.snapshot_chunk_bytes;
    if let Mode::Snapshot {
        id,
        offset,
        waiting,
        since,
    } = &mut peer.mode
        && !*waiting
        && peer.load.is_none()
    {
        *waiting = true;
        *since = node.now;
        let load = LogLoad::Snapshot {
            id: *id,
            offset: *offset,
            max_bytes,
        };
        peer.load = Some(node.outbox.load(load));
    }
}

/// Whether a peer has what is committed and has not been told that it is.
fn lacks_commit(node: &Node, peer: &Peer) -> bool {
    peer.linked
        && matches!(peer.mode, Mode::Replicate)
        && peer.commit_sent < node.commit.min(peer.next.previous())
}
