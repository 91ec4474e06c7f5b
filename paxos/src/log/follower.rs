//! The follower: votes for what the leader proposes, and learns what is chosen.

use synod_core::{Instant, LogIndex, NodeId, Round};

use super::Epoch;
use super::message::{Accept, Body, Page, Piece};
use super::node::Node;
use super::planted::planted;
use super::window::Window;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Follower {
    /// The latest round of the leader that it has seen.
    round: Round,
    /// The leader is to be told what is held.
    ack: bool,
    /// The leader wants to know whether this node still follows: a heartbeat or a read's round.
    asked: bool,
    /// What the leader knows to be chosen, and the first slot that it sends by itself.
    chosen: LogIndex,
    pushed: LogIndex,
    /// What it lacks and was asked for.
    pub(crate) fetching: Window,
    /// It lacks more, and asks once the disk has room.
    waits: bool,
    /// Where it has stopped among open slots, and since when: votes are on their way, perhaps.
    behind: Option<(LogIndex, Instant)>,
    /// Who is in a later epoch, and which: this node fetches what is chosen before it takes part
    /// again.
    later: Option<(NodeId, Epoch)>,
}

impl Follower {
    /// A follower of another leader than `before`, or of none: it goes on to fetch.
    pub(crate) fn after(before: Option<&Self>) -> Self {
        Self {
            round: Round(0),
            ack: false,
            asked: false,
            chosen: LogIndex::START,
            pushed: LogIndex::START,
            fetching: before.map_or_else(Window::default, |before| before.fetching.clone()),
            waits: before.is_some_and(|before| before.waits),
            later: before.and_then(|before| before.later),
            behind: None,
        }
    }

    /// `from` is in a later epoch.
    pub(crate) fn fall_behind(&mut self, node: &mut Node, from: NodeId, epoch: Epoch) {
        let known = self
            .later
            .filter(|(peer, known)| *known >= epoch && node.link_to(*peer).is_some());
        self.later = known.or(Some((from, epoch)));
        if self.fetching.is_idle() && !self.waits {
            self.catch_up(node, from);
        }
    }

    fn is_behind(&self, node: &Node) -> bool {
        self.later.is_some_and(|(_, epoch)| epoch > node.epoch())
    }

    /// Entries of the leader, whose ballot is promised (phase 2b).
    pub(crate) fn on_accept(&mut self, node: &mut Node, from: NodeId, accept: Accept) {
        let Accept {
            entries,
            chosen,
            pushed,
            round,
            fast,
        } = accept;
        if let Some(first) = fast {
            node.open_fast(first);
        }
        self.asked |= entries.is_empty() || round > self.round;
        self.round = self.round.max(round);
        node.touch = node.now;
        self.chosen = self.chosen.max(chosen);
        self.pushed = self.pushed.max(pushed);
        // What is chosen is here, and the same in every later ballot.
        let entries = entries.after(node.chosen);
        let mut at = entries.first();
        while !entries.is_empty() && at <= entries.last() {
            if let Some(end) = node.held.end_of(at) {
                at = end.next();
                continue;
            }
            let last = entries.last();
            let end = node.held.gap_end(at).map_or(last, |end| end.min(last));
            node.put(entries.after(at.previous()).through(end));
            at = end.next();
        }
        if planted!(node, ChosenWithoutBallot) {
            let end = node.slots.stretch_end(node.chosen).min(chosen);
            node.held.raise(end);
        }
        // Of what it holds in this ballot it knows that it is what the leader proposed; an older
        // vote in a chosen slot may be for something else.
        node.choose(chosen.min(node.held.through()));
        self.ack = true;
        if self.fetching.is_idle() {
            self.catch_up(node, from);
        }
    }

    /// Asks `peer` for what the leader does not send by itself.
    fn catch_up(&mut self, node: &mut Node, peer: NodeId) {
        self.fetching.absorb(node);
        node.choose(self.chosen.min(node.held.through()));
        let known = node.held.through();
        let open = node.fast.open.is_some_and(|first| known.next() >= first);
        let pushed = known.next() >= self.pushed && !open;
        let enough = known >= self.chosen || pushed || (open && self.may_come(node, known));
        if enough && !self.is_behind(node) {
            self.fetching.clear();
            return;
        }
        if !node.outbox.has_room() {
            // What came before is being written. A peer's memory is faster than a disk: to ask for
            // more would gather all that is missing here, and for ever if the disk hangs.
            self.waits = true;
            return;
        }
        // What the leader sends by itself is not asked for, if this node is of its epoch; of open slots
        // it sends nothing.
        let end = if open || self.is_behind(node) {
            LogIndex(u64::MAX)
        } else {
            self.pushed.previous()
        };
        self.fetching.ask(node, peer, end);
    }

    /// Whether what is chosen in open slots may still be learned from votes, which need no question.
    fn may_come(&mut self, node: &Node, known: LogIndex) -> bool {
        if !node.is_voter() || !self.fetching.is_idle() {
            return false;
        }
        match self.behind {
            Some((at, since)) if at == known => {
                node.now.since(since) < node.config.timing.heartbeat
            }
            Some(_) | None => {
                self.behind = Some((known, node.now));
                true
            }
        }
    }

    /// The disk has room again.
    pub(crate) fn go_on(&mut self, node: &mut Node) {
        if core::mem::take(&mut self.waits) {
            self.go_on_with(node);
        }
    }

    /// Asks on whoever is known to have more.
    fn go_on_with(&mut self, node: &mut Node) {
        let later = self.later.filter(|_| self.is_behind(node));
        if let Some(peer) = later.map(|(peer, _)| peer).or(node.leader) {
            self.catch_up(node, peer);
        }
    }

    /// What has not come is asked for elsewhere; if nothing has, the leader's next message begins anew.
    pub(crate) fn tick(&mut self, node: &mut Node) {
        if self
            .fetching
            .deadline()
            .is_some_and(|until| until <= node.now)
        {
            self.fetching.expire(node.now);
            if self.fetching.is_idle() {
                self.fetching.clear();
            } else {
                self.go_on_with(node);
            }
        }
    }

    /// Chosen entries that it asked for.
    pub(crate) fn on_page(&mut self, node: &mut Node, from: NodeId, page: &Page) {
        let before = node.chosen;
        self.fetching.take(node, from, page);
        node.choose(self.chosen.min(node.held.through()));
        self.went_on(node, from, node.chosen > before);
    }

    /// A piece of a snapshot that covers what it asked for.
    pub(crate) fn on_piece(&mut self, node: &mut Node, from: NodeId, piece: Piece) {
        let before = node.staged;
        let installed = node.on_piece(from, piece);
        if installed || node.staged != before {
            self.fetching.take_piece();
        }
        self.went_on(node, from, installed || node.staged != before);
    }

    /// An answer to what it asked for: if that was news, the next part is asked for at once.
    fn went_on(&mut self, node: &mut Node, from: NodeId, news: bool) {
        if !news {
            return;
        }
        self.ack = true;
        self.catch_up(node, from);
    }

    /// Acknowledges what has come: one answer for all of it.
    pub(crate) fn flush(&mut self, node: &mut Node) {
        let news = node.unnoted;
        node.note_held();
        let (ack, asked) = (
            core::mem::take(&mut self.ack),
            core::mem::take(&mut self.asked),
        );
        if news && planted!(node, VoteNotPersisted) {
            let held = node.held.short();
            return self.answer_with(node, held);
        }
        if !ack && !asked {
            return;
        }
        // What was written is acknowledged when it is durable. But a slow disk is no silent node:
        // that this one follows needs no write, so neither the leader's quorum nor its reads wait.
        if node.settled && (asked || !news) {
            self.answer(node);
        }
        // A promise that is not durable yet acknowledges by itself.
    }

    /// What is held and durable has grown, or the promise is durable.
    pub(crate) fn answer(&self, node: &mut Node) {
        let held = node.durable.short();
        self.answer_with(node, held);
    }

    fn answer_with(&self, node: &mut Node, held: super::Cover) {
        let Some(leader) = node.leader else { return };
        let round = self.round;
        // Safe while other writes run: it says only what a note has said to be durable, in a ballot
        // whose promise is.
        node.send_now(leader, Body::Accepted { held, round });
    }
}
