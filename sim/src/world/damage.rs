//! Disks that are lost or damaged, and what peers know of each other.

use synod_core::Rng;

use super::{Stage, World};
use crate::scene::Scene;
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

impl<S: Subject, I> Stage<'_, S, I> {
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
}

impl<S: Subject, C: Scene<S>> World<'_, S, C> {
    /// A node crashes, and comes back under its name with an empty disk.
    pub(super) fn lose_disk(&mut self, i: usize, damaged: bool) {
        if !damaged && !self.stage.within_budget(i) {
            return;
        }
        if !damaged {
            self.stage.lost_disks += 1;
            self.crash(i);
        }
        let stage = &mut self.stage;
        stage.strike("disks lost");
        note!(stage, Who::Node(i), What::Fault, "has lost its disk");
        let stored = &mut stage.stored[i];
        stored.image = S::Disk::default();
        stored.shadow = S::Disk::default();
        stored.lost += 1;
        let seed = synod_core::mix(stage.plan.seed, 1_000 + i as u64);
        stage.nodes[i].device = stage.subject.device(stage.plan.nodes[i], seed);
        self.scene.forgets(stage, i);
        stage.forgets(i, true);
    }

    /// A node crashes, and its disk is damaged meanwhile: its storage will say so.
    pub(super) fn rot(&mut self, i: usize, rng: &mut Rng) {
        if !self.stage.within_budget(i) {
            return;
        }
        self.stage.lost_disks += 1;
        self.crash(i);
        let stage = &mut self.stage;
        stage.strike("disks damaged");
        let damaged = match &mut stage.nodes[i].device {
            Some(device) => device.damage(rng),
            None => true,
        };
        note!(stage, Who::Node(i), What::Fault, "has a damaged disk");
        if damaged {
            stage.nodes[i].damaged = Some(rng.chance(500_000));
        }
        // From now on nothing may rest on what it holds.
        stage.stored[i].lost += 1;
    }
}
