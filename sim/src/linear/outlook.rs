//! What lies ahead: which states the operations that are left need, and which they can leave.
//!
//! Where the model specifies [`Effect`]s, this makes the search nearly straightforward, most of all
//! if each value is written once (compare Gibbons & Korach 1997, §4):
//!
//! - A state that is still needed and that nothing left can bring back must not be left.
//! - If nothing that is left needs the present state, a write may be taken as soon as it may be,
//!   together with all that needs what it wrote, provided that all of it may be taken now: in any
//!   order that takes it later, whatever comes next needs neither the present state nor the written
//!   one, so it is a write, too, which does not care; and so is what came after the block there.

use super::plant::{Bug, planted};
use super::{Effect, Leaves, Needs};

/// Counts over the operations that are not taken, but for those that are idle.
#[derive(Debug)]
pub(super) struct Outlook {
    /// By state: certain operations that need it.
    needed: Vec<u32>,
    /// By state: possible operations that need it.
    wanted: Vec<u32>,
    /// By state: operations that leave it.
    sources: Vec<u32>,
    /// Operations that may leave any state.
    wild: u32,
    /// Operations of which something is unspecified.
    complex: u32,
}

impl Outlook {
    /// With nothing left, for states numbered below `states`.
    pub(super) fn new(states: usize) -> Self {
        Self {
            needed: vec![0; states],
            wanted: vec![0; states],
            sources: vec![0; states],
            wild: 0,
            complex: 0,
        }
    }

    /// An operation is left (again).
    pub(super) fn add(&mut self, effect: Effect<u32>, is_certain: bool) {
        self.count(effect, is_certain, |count| *count += 1);
    }

    /// An operation is taken.
    pub(super) fn remove(&mut self, effect: Effect<u32>, is_certain: bool) {
        self.count(effect, is_certain, |count| *count -= 1);
    }

    fn count(&mut self, effect: Effect<u32>, is_certain: bool, change: impl Fn(&mut u32)) {
        let Effect { needs, leaves } = effect;
        if let Needs::Exactly(state) = needs {
            let needs = if is_certain {
                &mut self.needed
            } else {
                &mut self.wanted
            };
            change(&mut needs[state as usize]);
        }
        match leaves {
            Leaves::Exactly(state) => change(&mut self.sources[state as usize]),
            Leaves::Unspecified => change(&mut self.wild),
            Leaves::Same => {}
        }
        if matches!(needs, Needs::Unspecified) || matches!(leaves, Leaves::Unspecified) {
            change(&mut self.complex);
        }
    }

    /// Whether all that is left is fully specified.
    pub(super) fn is_plain(&self) -> bool {
        self.complex == 0 || planted(Bug::PlainForgotten)
    }

    /// Whether nothing that is left needs this state.
    pub(super) fn is_spent(&self, state: u32) -> bool {
        at(&self.needed, state) == 0 && at(&self.wanted, state) == 0
    }

    /// Whether an operation with this effect may be taken in `state` without leaving for good a
    /// state that others need.
    pub(super) fn may_take(&self, effect: Effect<u32>, is_certain: bool, state: u32) -> bool {
        let stays = match effect.leaves {
            Leaves::Same => true,
            Leaves::Exactly(left) => left == state,
            Leaves::Unspecified => false,
        };
        let own = u32::from(is_certain && effect.needs == Needs::Exactly(state));
        let comes_again = at(&self.sources, state) + self.wild > 0;
        let comes_again = comes_again && !planted(Bug::SourcesForgotten);
        stays || at(&self.needed, state) <= own || comes_again
    }

    /// Whether something that certainly happened, and is left, needs this state.
    pub(super) fn is_needed(&self, state: u32) -> bool {
        at(&self.needed, state) > 0
    }
}

/// States with higher numbers were met later, and nobody asks for them.
fn at(counts: &[u32], state: u32) -> u32 {
    counts.get(state as usize).copied().unwrap_or(0)
}
