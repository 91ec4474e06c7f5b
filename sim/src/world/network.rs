//! Links between nodes, and what messages suffer on them.

use bytes::{Bytes, BytesMut};
use synod_core::{Envelope, Machine, Rng, mix};

use super::{Happening, Kind, MILLI, Stage, World};
use crate::check::{Breach, ensure};
use crate::scene::Scene;
use crate::subject::{Message, Subject};
use crate::trace::{What, Who, note};

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
    /// For each way: until when it is slow, and by how much.
    slow: Vec<(u64, u64)>,
    /// For each way: how many messages have gone it.
    sent: Vec<u64>,
    /// How many have gone any.
    number: u64,
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
            slow: vec![(0, 0); ways],
            sent: vec![0; ways],
            number: 0,
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

    pub(super) fn slow_down(&mut self, (from, to): (usize, usize), until: u64, extra: u64) {
        let way = self.way(from, to);
        self.slow[way] = (until, extra);
    }

    pub(super) fn clear(&mut self) {
        self.blocked.fill(0);
        self.slow.fill((0, 0));
    }
}

impl<S: Subject, I> Stage<'_, S, I> {
    /// A new incarnation of a link comes up, after a message there and one back.
    pub(super) fn connect(&mut self, one: usize, other: usize) {
        self.network.renew(one, other, true);
        let delay = self.plan.network.delay;
        let tries = delay.draw(&mut self.rng) + delay.draw(&mut self.rng);
        self.tell_ends(one, other, tries, delay.high);
    }

    /// A link goes down. Until an end learns of it, what was sent before still arrives there.
    pub(super) fn disconnect(&mut self, one: usize, other: usize) {
        self.network.renew(one, other, false);
        self.tell_ends(one, other, 0, 50 * MILLI);
    }

    fn tell_ends(&mut self, one: usize, other: usize, after: u64, within: u64) {
        for (node, peer) in [(one, other), (other, one)] {
            let at = self.now + after + self.rng.below(within);
            self.agenda.push(at, Happening::Link { node, peer });
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
        let after = 10 * MILLI + self.rng.below(300 * MILLI);
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
            let disk = self.stored[from].lost;
            let first = *self.vows.entry((from, disk, era)).or_insert(to);
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
        self.network.number += 1;
        self.network.sent[way] += 1;
        let (number, nth) = (self.network.number, self.network.sent[way]);
        note!(
            self,
            Who::Node(from),
            What::Send {
                message: number,
                to
            },
            "{:?}",
            envelope.message
        );
        let ways = (from, to);
        let plan = &self.plan.network;
        let (lost, late, doubled) = (
            plan.lost_per_million,
            plan.slow_per_million,
            plan.doubled_per_million,
        );
        let lost = self.strikes(Kind::Lost, ways, nth, lost).is_some();
        if lost || self.network.blocked[way] > 0 {
            return self.lose(ways, incarnation, number, &envelope);
        }
        let mut at = self.now + self.delay(ways, nth, late);
        if self.plan.network.ordered {
            at = at.max(self.network.last[way]);
            self.network.last[way] = at;
        } else if let Some(mut rng) = self.strikes(Kind::Doubled, ways, nth, doubled) {
            self.marks.add("messages doubled");
            let again = self.now + 3 * self.plan.network.delay.draw(&mut rng);
            self.carry(again, ways, incarnation, number, nth, envelope.clone());
        }
        self.carry(at, ways, incarnation, number, nth, envelope);
    }

    /// How long a message takes.
    fn delay(&mut self, ways: (usize, usize), nth: u64, late: u32) -> u64 {
        let way = self.network.way(ways.0, ways.1);
        let place = mix(mix(self.plan.seed, 2 + way as u64), nth);
        let mut took = self.plan.network.delay.draw(&mut Rng::new(place));
        if let Some(mut rng) = self.strikes(Kind::Late, ways, nth, late) {
            took += self.plan.network.slow.draw(&mut rng);
        }
        let (until, extra) = self.network.slow[way];
        if self.now < until {
            took += extra;
        }
        took
    }

    /// Puts a message on its way, as it is or as bytes.
    fn carry(
        &mut self,
        at: u64,
        ways: (usize, usize),
        incarnation: u64,
        number: u64,
        nth: u64,
        envelope: Envelope<Message<S>>,
    ) {
        let (from, to) = ways;
        let wire = self.subject.wire().filter(|_| self.plan.network.bytes);
        let Some(wire) = wire else {
            let deliver = Happening::Deliver {
                from,
                to,
                incarnation,
                number,
                envelope,
            };
            return self.agenda.push(at, deliver);
        };
        let mut bytes = wire.encode(&envelope.message);
        let chance = self.plan.network.damaged_per_million;
        if let Some(mut rng) = self.strikes(Kind::Damaged, ways, nth, chance)
            && !bytes.is_empty()
        {
            let mut damaged = BytesMut::from(&bytes[..]);
            let bit = rng.below(8 * damaged.len() as u64) as usize;
            damaged[bit / 8] ^= 1 << (bit % 8);
            bytes = damaged.freeze();
            self.strike("messages damaged");
        }
        let deliver = Happening::DeliverBytes {
            from,
            to,
            incarnation,
            number,
            bytes,
            envelope,
        };
        self.agenda.push(at, deliver);
    }

    fn lose(
        &mut self,
        (from, to): (usize, usize),
        incarnation: u64,
        number: u64,
        envelope: &Envelope<Message<S>>,
    ) {
        note!(
            self,
            Who::Node(from),
            What::Lost {
                message: number,
                to
            },
            "{:?}",
            envelope.message
        );
        self.marks.add("messages lost");
        let way = self.network.way(from, to);
        if self.plan.network.ordered && self.network.broken[way] < incarnation {
            self.network.broken[way] = incarnation;
            self.reconnect_later(from, to);
        }
    }
}

impl<S: Subject, C: Scene<S>> World<'_, S, C> {
    /// An end learns how its link is.
    pub(super) fn see_link(&mut self, node: usize, peer: usize) {
        let stage = &mut self.stage;
        let (incarnation, up) = *stage.network.pair(node, peer);
        let runs = stage.nodes[node].up.is_some();
        let end = &mut stage.nodes[node].ends[peer];
        if end.seen == incarnation || !runs {
            return;
        }
        end.seen = incarnation;
        if up || end.link.is_some() {
            self.link(node, peer, up);
        }
    }

    /// What has arrived as bytes is read: damage must be noticed, and ends the link.
    pub(super) fn deliver_bytes(
        &mut self,
        ways: (usize, usize),
        incarnation: u64,
        number: u64,
        bytes: Bytes,
        envelope: Envelope<Message<S>>,
    ) {
        let (from, to) = ways;
        let stage = &mut self.stage;
        let Some(wire) = stage.subject.wire() else {
            return;
        };
        match wire.decode(bytes) {
            Ok(message) if message == envelope.message => {
                let envelope = Envelope {
                    message,
                    ..envelope
                };
                self.deliver(ways, incarnation, number, envelope);
            }
            Ok(message) => {
                let evidence = format!("{:?} arrives as {message:?}", envelope.message);
                stage.fail(Breach::new(
                    "a message arrives as it was sent or not at all",
                    evidence,
                ));
            }
            Err(error) => {
                note!(
                    stage,
                    Who::Node(to),
                    What::Link,
                    "cannot read a message of {}: {error}",
                    stage.id(from)
                );
                let current = *stage.network.pair(from, to) == (incarnation, true);
                if current && stage.nodes[to].up.is_some() {
                    stage.marks.add("links closed for damage");
                    stage.disconnect(from, to);
                    stage.reconnect_later(from, to);
                }
            }
        }
    }

    pub(super) fn deliver(
        &mut self,
        (from, to): (usize, usize),
        incarnation: u64,
        number: u64,
        mut envelope: Envelope<Message<S>>,
    ) {
        let stage = &mut self.stage;
        let way = stage.network.way(from, to);
        if stage.nodes[to].up.is_none() || stage.network.broken[way] == incarnation {
            return;
        }
        if stage.network.blocked[way] > 0 {
            return stage.lose((from, to), incarnation, number, &envelope);
        }
        // A transport announces a link before its first message.
        if *stage.network.pair(from, to) == (incarnation, true) {
            self.see_link(to, from);
        }
        let stage = &mut self.stage;
        let end = stage.nodes[to].ends[from];
        let Some(link) = end.link.filter(|_| end.seen == incarnation) else {
            return;
        };
        envelope.link = link;
        note!(
            stage,
            Who::Node(to),
            What::Receive {
                message: number,
                from
            },
            "{:?}",
            envelope.message
        );
        let now = stage.local(to);
        if let Some(machine) = stage.machine_mut(to) {
            machine.step(now, envelope);
            stage.meets(to, from);
            self.stirred(to);
        }
    }
}
