//! Links between nodes, and what messages suffer on them.

use synod_core::{Envelope, Machine};

use super::trace::note;
use super::{Happening, MILLI, Message, World};
use crate::application::Application;
use crate::check::ensure;
use crate::subject::Subject;

/// The links of all pairs, and the ways on which nothing passes.
pub(super) struct Network {
    size: usize,
    /// For each pair: the incarnation of its link, and whether that is up.
    pairs: Vec<(u64, bool)>,
    /// For each way: how many partitions block it.
    blocked: Vec<u8>,
    /// For each way of an ordered network: the incarnation of which something is lost, so that
    /// nothing that follows may arrive.
    broken: Vec<u64>,
    /// For each way: when the last message arrives.
    last: Vec<u64>,
}

impl Network {
    pub(super) fn new(size: usize) -> Self {
        let ways = size * size;
        Self {
            size,
            pairs: vec![(0, false); ways],
            blocked: vec![0; ways],
            broken: vec![0; ways],
            last: vec![0; ways],
        }
    }

    const fn way(&self, from: usize, to: usize) -> usize {
        from * self.size + to
    }

    fn pair(&mut self, one: usize, other: usize) -> &mut (u64, bool) {
        let (low, high) = (one.min(other), one.max(other));
        &mut self.pairs[low * self.size + high]
    }

    fn renew(&mut self, one: usize, other: usize, up: bool) {
        let pair = self.pair(one, other);
        *pair = (pair.0 + 1, up);
    }

    pub(super) fn block(&mut self, from: usize, to: usize) {
        let way = self.way(from, to);
        self.blocked[way] += 1;
    }

    pub(super) fn unblock(&mut self, from: usize, to: usize) {
        let way = self.way(from, to);
        self.blocked[way] = self.blocked[way].saturating_sub(1);
    }

    pub(super) fn clear(&mut self) {
        self.blocked.fill(0);
    }
}

impl<S: Subject, A: Application> World<'_, S, A> {
    /// A new incarnation of a link comes up, after a message there and one back.
    pub(super) fn connect(&mut self, one: usize, other: usize) {
        self.network.renew(one, other, true);
        let delay = self.plan.network.delay;
        let tries = delay.draw(&mut self.rng.network) + delay.draw(&mut self.rng.network);
        self.tell_ends(one, other, tries, delay.high);
    }

    /// A link goes down. Until an end learns of it, what was sent before still arrives there.
    pub(super) fn disconnect(&mut self, one: usize, other: usize) {
        self.network.renew(one, other, false);
        self.tell_ends(one, other, 0, 50 * MILLI);
    }

    fn tell_ends(&mut self, one: usize, other: usize, after: u64, within: u64) {
        for (node, peer) in [(one, other), (other, one)] {
            let at = self.now + after + self.rng.network.below(within);
            self.agenda.push(at, Happening::Link { node, peer });
        }
    }

    /// An end learns how its link is.
    pub(super) fn see_link(&mut self, node: usize, peer: usize) {
        let (incarnation, up) = *self.network.pair(node, peer);
        let runs = self.nodes[node].up.is_some();
        let end = &mut self.nodes[node].ends[peer];
        if end.seen == incarnation || !runs {
            return;
        }
        end.seen = incarnation;
        if up || end.link.is_some() {
            self.link(node, peer, up);
        }
    }

    pub(super) fn reconnect(&mut self, one: usize, other: usize, incarnation: u64) {
        let (current, up) = *self.network.pair(one, other);
        let runs = |i: usize| self.nodes[i].up.is_some();
        if current != incarnation || !runs(one) || !runs(other) {
            return;
        }
        let ways = [(one, other), (other, one)];
        let blocked = ways
            .iter()
            .any(|(from, to)| self.network.blocked[self.network.way(*from, *to)] > 0);
        if !blocked {
            return self.connect(one, other);
        }
        if up {
            self.disconnect(one, other);
        }
        self.reconnect_later(one, other);
    }

    pub(super) fn reconnect_later(&mut self, one: usize, other: usize) {
        let after = 10 * MILLI + self.rng.network.below(300 * MILLI);
        let (incarnation, _) = *self.network.pair(one, other);
        let reconnect = Happening::Reconnect {
            one,
            other,
            incarnation,
        };
        self.agenda.push(self.now + after, reconnect);
    }

    /// A node binds itself once in an era.
    fn keep_vow(&mut self, from: usize, envelope: &Envelope<Message<S>>) {
        if let Some((era, to)) = self.subject.vow(envelope) {
            let first = *self.vows.entry((from, era)).or_insert(to);
            let kept = ensure(first == to, "a node binds itself once in an era", || {
                format!("{} did to {first} in {era}, and now to {to}", self.id(from))
            });
            self.must(kept);
        }
    }

    /// Takes a message from a node.
    pub(super) fn send(&mut self, from: usize, envelope: Envelope<Message<S>>) {
        self.keep_vow(from, &envelope);
        let Some(to) = self.place(envelope.to) else {
            return self.marks.add("messages to nobody");
        };
        let end = self.nodes[from].ends[to];
        if end.link != Some(envelope.link) {
            return;
        }
        let incarnation = end.seen;
        let way = self.network.way(from, to);
        let plan = &self.plan.network;
        let lost = !self.calm && self.rng.network.chance(plan.lost_per_million);
        if lost || self.network.blocked[way] > 0 {
            return self.lose(from, to, incarnation, &envelope);
        }
        let mut took = plan.delay.draw(&mut self.rng.network);
        if !self.calm && self.rng.network.chance(plan.slow_per_million) {
            took += plan.slow.draw(&mut self.rng.network);
        }
        let mut at = self.now + took;
        if plan.ordered {
            at = at.max(self.network.last[way]);
            self.network.last[way] = at;
        } else if !self.calm && self.rng.network.chance(plan.doubled_per_million) {
            self.marks.add("messages doubled");
            let again = self.now + 3 * plan.delay.draw(&mut self.rng.network);
            let envelope = envelope.clone();
            let copy = Happening::Deliver {
                from,
                to,
                incarnation,
                envelope,
            };
            self.agenda.push(again, copy);
        }
        let deliver = Happening::Deliver {
            from,
            to,
            incarnation,
            envelope,
        };
        self.agenda.push(at, deliver);
    }

    fn lose(&mut self, from: usize, to: usize, incarnation: u64, envelope: &Envelope<Message<S>>) {
        note!(
            self,
            "{} -> {} LOST {:?}",
            envelope.from,
            envelope.to,
            envelope.message
        );
        self.marks.add("messages lost");
        let way = self.network.way(from, to);
        if self.plan.network.ordered && self.network.broken[way] < incarnation {
            self.network.broken[way] = incarnation;
            self.reconnect_later(from, to);
        }
    }

    pub(super) fn deliver(
        &mut self,
        from: usize,
        to: usize,
        incarnation: u64,
        mut envelope: Envelope<Message<S>>,
    ) {
        let way = self.network.way(from, to);
        if self.nodes[to].up.is_none() || self.network.broken[way] == incarnation {
            return;
        }
        if self.network.blocked[way] > 0 {
            return self.lose(from, to, incarnation, &envelope);
        }
        // A transport announces a link before its first message.
        if *self.network.pair(from, to) == (incarnation, true) {
            self.see_link(to, from);
        }
        let end = self.nodes[to].ends[from];
        let Some(link) = end.link.filter(|_| end.seen == incarnation) else {
            return;
        };
        envelope.link = link;
        note!(
            self,
            "{} -> {} {:?}",
            envelope.from,
            envelope.to,
            envelope.message
        );
        let now = self.local(to);
        if let Some(log) = self.log(to) {
            log.step(now, envelope);
            self.stirred(to);
        }
    }
}
