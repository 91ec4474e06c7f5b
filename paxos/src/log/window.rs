//! What a node that lacks chosen slots has asked for: several pages at once, of several members.
//!
//! What is chosen is the same at whoever has it, so ranges of it may come from anyone, in any order. The
//! first page comes from whoever says that there is more, and shows how many slots a page has; then each
//! member that is linked is asked for the next ranges. A page that comes too early is kept until what lies
//! before it is there. There are never more than [`MOST`] of both: so much memory it costs. What is
//! not answered in time, or not in full, is a gap again, and somebody else is asked.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use synod_core::{Entries, Instant, LogIndex, NodeId};

use super::Detail;
use super::message::Page;
use super::node::Node;

/// Pages that are under way or kept, at most.
const MOST: usize = 8;
/// The most slots that one page is asked for.
const LONGEST: u64 = 1 << 16;
/// Pages under way from one member.
pub(crate) const EACH: usize = 2;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Window {
    asked: Vec<Asked>,
    /// Pages that came early, by the slot before their first.
    early: BTreeMap<LogIndex, Page>,
    /// How many slots a page is asked for; 0 before the first has come.
    slots: u64,
    /// A page came that did not have room for all of these: it is asked for no more.
    short: bool,
    /// The last slot that somebody has said to be chosen.
    known: LogIndex,
    /// Who has not answered in time or does not have what it was asked for.
    passed_over: Vec<NodeId>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Asked {
    from: NodeId,
    after: LogIndex,
    through: LogIndex,
    until: Instant,
}

impl Window {
    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// Nothing more is lacking, or what was asked for is of no use.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When the first answer is late.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.asked.iter().map(|asked| asked.until).min()
    }

    /// Gives up what has not come in time.
    pub(crate) fn expire(&mut self, now: Instant) {
        let late = self.asked.iter().filter(|asked| asked.until <= now);
        let late: Vec<NodeId> = late.map(|asked| asked.from).collect();
        self.asked.retain(|asked| asked.until > now);
        self.passed_over.extend(late);
    }

    /// The link to `peer` is another one: what it was asked for does not come.
    pub(crate) fn forget(&mut self, peer: NodeId) {
        self.asked.retain(|asked| asked.from != peer);
    }

    /// A page has come, of which the part that is chosen is taken over as soon as it fits; says whether
    /// more is chosen here than before.
    pub(crate) fn take(&mut self, node: &mut Node, from: NodeId, page: &Page) -> bool {
        let before = node.chosen;
        let here = |asked: &Asked| asked.from == from && asked.after == page.after;
        let asked = self.asked.iter().position(here);
        let asked = asked.map(|place| self.asked.swap_remove(place));
        self.known = self.known.max(page.chosen);
        let there = page.through.min(page.chosen);
        if let Some(asked) = &asked
            && there > page.after
        {
            self.measure(node, asked, page, there);
        }
        if page.after <= before {
            node.learn(page);
        } else if asked.is_some() && there > page.after {
            self.early.insert(page.after, page.clone());
        } else if asked.is_some() {
            // It has nothing of that.
            self.passed_over.push(from);
        }
        self.absorb(node);
        node.chosen > before
    }

    /// Takes over what came early and fits now: what lay before it may have come by other ways than pages.
    pub(crate) fn absorb(&mut self, node: &mut Node) {
        while let Some(next) = self.early.first_entry()
            && *next.key() <= node.chosen
        {
            node.learn(&next.remove());
        }
    }

    /// How many slots the next pages are to have: as many as fit.
    fn measure(&mut self, node: &Node, asked: &Asked, page: &Page, there: LogIndex) {
        let came = there.since(page.after);
        let short = there < asked.through && there < page.chosen;
        self.short |= short;
        if short || there > asked.through || self.slots == 0 {
            self.slots = came;
        } else if !self.short {
            // A guess by this node's own limit: who answers may have a lower one.
            let weight: usize = page.runs.iter().map(Entries::weight).sum();
            if weight.saturating_mul(2) <= node.config.limits.accept_bytes {
                self.slots = self.slots.saturating_mul(2).min(LONGEST);
            }
        }
    }

    /// A piece of a snapshot has come instead of a page: what lies behind is of no use yet.
    pub(crate) fn take_piece(&mut self) {
        self.clear();
    }

    /// Asks `peer` for what comes next, and everybody for what comes behind that, up to `end`.
    pub(crate) fn ask(&mut self, node: &mut Node, peer: NodeId, end: LogIndex) {
        if self.gap(node.chosen).0 == node.chosen {
            if self.asked.is_empty() && self.slots == 0 {
                let after = node.chosen;
                node.detail(Detail::Fetching { after, from: peer });
            }
            let through = node.chosen.plus(self.slots.max(1));
            self.note(node, peer, node.chosen, through);
            node.fetch(peer, node.chosen, None);
        }
        if self.slots == 0 {
            return;
        }
        let end = end.min(self.known);
        for source in self.sources(node, peer) {
            for _ in 0..EACH {
                let (after, next) = self.gap(node.chosen);
                let under_way = self.asked.iter().filter(|asked| asked.from == source);
                let full = self.asked.len() + self.early.len() >= MOST;
                if after >= end || full || under_way.count() >= EACH {
                    break;
                }
                let through = after.plus(self.slots).min(end).min(next.unwrap_or(end));
                self.note(node, source, after, through);
                node.fetch(source, after, Some(through));
            }
        }
        // Who is slow must not hold up all that lies behind: when it has nothing else to do, whoever
        // answers is asked for the same.
        let idle = !self.asked.iter().any(|asked| asked.from == peer);
        let first = self.asked.iter_mut().min_by_key(|asked| asked.after);
        if let Some(first) = first.filter(|_| idle) {
            first.from = peer;
            let range = (first.after, first.through);
            node.fetch(peer, range.0, Some(range.1));
        }
    }

    fn note(&mut self, node: &Node, from: NodeId, after: LogIndex, through: LogIndex) {
        let patience = node.config.timing.round.saturating_mul(2);
        self.asked.push(Asked {
            from,
            after,
            through,
            until: node.now + patience,
        });
    }

    /// The linked members, `first` at first, without those that were of no use.
    fn sources(&self, node: &Node, first: NodeId) -> Vec<NodeId> {
        let others = node.membership().others(node.id()).into_iter();
        let others = others.filter(|other| *other != first && node.link_to(*other).is_some());
        let all = core::iter::once(first).chain(others);
        all.filter(|node| !self.passed_over.contains(node))
            .collect()
    }

    /// The first slots behind `chosen` that nobody is asked for and are not here: the slot before them,
    /// and the one before what comes next.
    fn gap(&self, chosen: LogIndex) -> (LogIndex, Option<LogIndex>) {
        let asked = self.asked.iter().map(|asked| (asked.after, asked.through));
        let early = self.early.values().map(|page| (page.after, page.through));
        let mut covered: Vec<(LogIndex, LogIndex)> = asked.chain(early).collect();
        covered.sort_unstable();
        let mut at = chosen;
        for (after, through) in covered {
            if after > at {
                return (at, Some(after));
            }
            at = at.max(through);
        }
        (at, None)
    }
}
