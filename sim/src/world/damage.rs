//! Disks that are lost or damaged, and nodes that may not come back.

use synod_core::Rng;

use super::{Happening, MILLI, World};
use crate::application::Application;
use crate::subject::Subject;
use crate::trace::{What, Who, note};

/// What a node knows of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Acquaintance {
    /// Nothing that would survive.
    None,
    /// It has heard of it, and knows it for good once this write is durable.
    WithWrite(u64),
    /// It knows it for good.
    Durable,
}

impl<S: Subject, A: Application> World<'_, S, A> {
    /// Whether this node may still lose its disk: the protocol promises to survive so many, once
    /// all others have met it and have made a note of that.
    fn within_budget(&self, i: usize) -> bool {
        let knows = |other: usize| {
            other == i
                || self.stored[other].lost > 0
                || self.nodes[other].met[i] == Acquaintance::Durable
        };
        i < self.plan.voters
            && self.stored[i].lost == 0
            && self.lost_disks < self.plan.lost_disks
            && (0..self.plan.voters).all(knows)
    }

    /// A message of `from` has arrived: whoever hears of a peer for the first time notes who it is
    /// with its next write.
    pub(super) fn meets(&mut self, node: usize, from: usize) {
        let node = &mut self.nodes[node];
        if node.met[from] == Acquaintance::None {
            node.met[from] = Acquaintance::WithWrite(node.persists + 1);
        }
    }

    /// This write of the machine's, by its place among all of its lives, is durable.
    pub(super) fn has_noted(&mut self, node: usize, write: u64) {
        for met in &mut self.nodes[node].met {
            if matches!(*met, Acquaintance::WithWrite(needed) if needed <= write) {
                *met = Acquaintance::Durable;
            }
        }
    }

    /// What was not durable is forgotten.
    pub(super) fn forgets(&mut self, node: usize, all: bool) {
        for met in &mut self.nodes[node].met {
            if all || *met != Acquaintance::Durable {
                *met = Acquaintance::None;
            }
        }
    }

    /// A node crashes, and comes back under its name with an empty disk.
    pub(super) fn lose_disk(&mut self, i: usize, damaged: bool) {
        if !damaged && !self.within_budget(i) {
            return;
        }
        if !damaged {
            self.lost_disks += 1;
            self.crash(i);
        }
        self.strike("disks lost");
        note!(self, Who::Node(i), What::Fault, "has lost its disk");
        let stored = &mut self.stored[i];
        stored.image = synod_core::LogImage::new();
        stored.shadow = synod_core::LogImage::new();
        stored.lost += 1;
        let seed = synod_core::mix(self.plan.seed, 1_000 + i as u64);
        self.nodes[i].device = self.subject.device(self.plan.nodes[i], seed);
        self.nodes[i].kept = None;
        self.forgets(i, true);
    }

    /// A node crashes, and its disk is damaged meanwhile: its storage will say so.
    pub(super) fn rot(&mut self, i: usize, rng: &mut Rng) {
        if !self.within_budget(i) {
            return;
        }
        self.lost_disks += 1;
        self.crash(i);
        self.strike("disks damaged");
        let damaged = match &mut self.nodes[i].device {
            Some(device) => device.damage(rng),
            None => true,
        };
        note!(self, Who::Node(i), What::Fault, "has a damaged disk");
        if damaged {
            self.nodes[i].damaged = Some(rng.chance(500_000));
        }
        // From now on nothing may rest on what it holds.
        self.stored[i].lost += 1;
    }

    /// A node with a damaged disk is started: its storage refuses, and someone replaces the disk or
    /// leaves the node alone.
    pub(super) fn refuses_to_start(&mut self, i: usize) -> bool {
        let Some(replaced) = self.nodes[i].damaged.take() else {
            return false;
        };
        self.marks.add("starts refused");
        note!(
            self,
            Who::Node(i),
            What::Fault,
            "cannot read its disk, and does not start"
        );
        if replaced {
            self.lose_disk(i, true);
            let at = self.now + 10 * MILLI;
            self.agenda.push(at, Happening::Start { node: i });
        } else {
            self.nodes[i].kept = None;
        }
        true
    }

    /// A node has stopped for good: that is right if it has lost its disk.
    pub(super) fn stopped(&mut self, i: usize) -> bool {
        if self.stored[i].lost == 0 {
            return false;
        }
        if !self.nodes[i].retired {
            self.marks.add("amnesiacs refused");
            self.nodes[i].retired = true;
        }
        true
    }
}
