//! The search for an order, after Wing & Gong (1993, §4) with Lowe's improvements (2017, §3).
//!
//! Depth first: take an operation that may come next, note it, go on; when nothing may come next,
//! undo the last choice. An operation may come next if it was invoked before the first answer that
//! is still outstanding, and if the object in its present state could have answered what was
//! answered. This keeps the search small:
//!
//! - A combination of state and operations taken is entered once ([`Memo`]). All operations whose
//!   answers come before the first outstanding one are taken, so the set is one number, the front,
//!   and the few that were taken ahead of it.
//! - An operation that changes nothing is taken as soon as it may be, and that choice is never
//!   reconsidered: in any order that takes it later, it can be moved here.
//! - The same holds for a write with all that needs it, and a state that is needed is not left for
//!   good ([`Outlook`](super::outlook)).
//! - An operation of unknown outcome is a last resort: taken only after all others failed, only
//!   if it changes the state (else the order is as good without it), after its equals that were
//!   invoked before (else exchange them), not if nobody needs what it leaves, and not at all where
//!   the same place was reached with fewer of them.
//! - Whoever is not taken when the last answer is accounted for did not happen.
//!
//! Why nothing is missed: suppose that the search ends without an order, although one can be
//! completed from some place that it entered; take the place that needs the fewest further steps.
//! By the above, its first step or one that is as good was tried, and led to a place that was
//! entered, or is covered by one that was, and needs fewer steps still.

use super::memo::{Bits, Memo, Place, States};
use super::partition::Entry;
use super::plan::{Kind, Plan};
use super::plant::{Bug, planted};
use super::{Effect, Leaves, Model, Needs};

/// How a search ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// This is an order: indexes of entries.
    Order(Vec<u32>),
    /// There is none.
    None(Stuck),
    /// Not known; the steps ran out.
    Limit,
}

/// How far a search without success came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stuck {
    /// The entry whose answer was not reached, by index.
    pub(super) at: u32,
    /// It did not come further because of needs that may come from after that answer.
    pub(super) looked_ahead: bool,
}

/// Searches an order of `entries` from one of the states numbered `starts`. `steps` counts
/// executions of the model, upwards to `limit`.
pub(super) fn search<M: Model>(
    model: &M,
    entries: &[Entry<'_, M::Op, M::Ret>],
    states: &mut States<M::State>,
    starts: &[u32],
    steps: &mut u64,
    limit: u64,
) -> End {
    let plan = Plan::new(model, entries, states);
    let budget = Budget { steps, limit };
    if plan.slots.max(plan.possibles) <= 64 {
        Search::<M, u64>::new(model, entries, plan, states, budget).run(starts)
    } else {
        Search::<M, Box<[u64]>>::new(model, entries, plan, states, budget).run(starts)
    }
}

struct Budget<'a> {
    steps: &'a mut u64,
    limit: u64,
}

/// The steps ran out.
struct OutOfSteps;

/// What an undone choice brings back.
struct Frame<B> {
    taken: usize,
    front: u32,
    early: B,
    used: B,
    state: u32,
}

struct Search<'a, M: Model, B> {
    model: &'a M,
    entries: &'a [Entry<'a, M::Op, M::Ret>],
    plan: Plan,
    states: &'a mut States<M::State>,
    budget: Budget<'a>,
    memo: Memo<B>,
    /// The partial order: indexes of entries.
    taken: Vec<u32>,
    /// How many of `plan.order` are taken without a gap.
    front: u32,
    /// Slots of certain entries that are taken beyond the front.
    early: B,
    /// Numbers of possible entries that are taken.
    used: B,
    state: u32,
    /// The furthest front of all.
    furthest: u32,
    looked_ahead: bool,
}

impl<'a, M: Model, B: Bits> Search<'a, M, B> {
    fn new(
        model: &'a M,
        entries: &'a [Entry<'a, M::Op, M::Ret>],
        plan: Plan,
        states: &'a mut States<M::State>,
        budget: Budget<'a>,
    ) -> Self {
        Self {
            model,
            entries,
            states,
            budget,
            memo: Memo::new(plan.possibles > 0),
            taken: Vec::new(),
            front: 0,
            early: B::empty(plan.slots),
            used: B::empty(plan.possibles),
            state: 0,
            furthest: 0,
            looked_ahead: false,
            plan,
        }
    }

    fn run(mut self, starts: &[u32]) -> End {
        if self.is_complete() {
            return End::Order(self.taken);
        }
        for &start in starts {
            match self.run_from(start) {
                Ok(true) => return End::Order(self.taken),
                Ok(false) => {}
                Err(OutOfSteps) => return End::Limit,
            }
        }
        let at = self.plan.order.get(self.furthest as usize);
        End::None(Stuck {
            at: *at.expect("whoever gets to the end has found an order"),
            looked_ahead: self.looked_ahead,
        })
    }

    /// Whether there is an order from this state. If there is none, nothing is taken in the end.
    fn run_from(&mut self, start: u32) -> Result<bool, OutOfSteps> {
        let base = self.frame();
        self.state = start;
        if !self.settle()? {
            self.undo(base);
            return Ok(false);
        }
        let mut frames: Vec<(u32, Frame<B>)> = Vec::new();
        let mut tried = None;
        while !self.is_complete() {
            if let Some(entry) = self.candidate(tried) {
                tried = Some(entry);
                let Some(next) = self.step(entry)? else {
                    continue;
                };
                let frame = self.frame();
                self.take(entry, next);
                if self.settle()? {
                    frames.push((entry, frame));
                    tried = None;
                } else {
                    self.undo(frame);
                }
            } else if let Some((entry, frame)) = frames.pop() {
                self.undo(frame);
                tried = Some(entry);
            } else {
                self.undo(base);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_complete(&self) -> bool {
        self.front as usize == self.plan.order.len()
    }

    /// The entry to try after `tried`: those that took effect first, then those that may have.
    fn candidate(&self, tried: Option<u32>) -> Option<u32> {
        let certain = match tried {
            None => self.in_time(self.plan.certain.first()),
            Some(tried) if self.plan.kinds[tried as usize].is_certain() => {
                self.in_time(self.plan.certain.after(tried))
            }
            Some(tried) => return self.in_time(self.plan.possible.after(tried)),
        };
        certain.or_else(|| self.in_time(self.plan.possible.first()))
    }

    /// `entry`, if it was invoked before the first answer that is outstanding.
    fn in_time(&self, entry: Option<u32>) -> Option<u32> {
        let by = *self.plan.by.get(self.front as usize)?;
        let is_in_time = |&entry: &u32| self.entries[entry as usize].call < by;
        entry.filter(|entry| is_in_time(entry) || planted(Bug::RealTimeIgnored))
    }

    /// The state after `entry`, if it is worth taking now.
    fn step(&mut self, entry: u32) -> Result<Option<u32>, OutOfSteps> {
        let effect = self.plan.effects[entry as usize];
        let kind = self.plan.kinds[entry as usize];
        if !self
            .plan
            .outlook
            .may_take(effect, kind.is_certain(), self.state)
        {
            self.looked_ahead = true;
            return Ok(None);
        }
        let Kind::Possible { twin, .. } = kind else {
            return self.execute(entry);
        };
        let waits = |twin: u32| !self.used.contains(twin as usize) || planted(Bug::TwinForgotten);
        let enough = planted(Bug::OneUnknown) && self.used != B::empty(self.plan.possibles);
        if twin.is_some_and(waits) || enough || self.is_useless(effect) {
            return Ok(None);
        }
        let next = self.execute(entry)?;
        Ok(next.filter(|&next| next != self.state))
    }

    /// Whether a possible write writes what nobody needs.
    fn is_useless(&self, effect: Effect<u32>) -> bool {
        let outlook = &self.plan.outlook;
        matches!(effect, Effect { needs: Needs::Nothing, leaves: Leaves::Exactly(state) }
            if outlook.is_plain() && outlook.is_spent(state))
    }

    fn execute(&mut self, entry: u32) -> Result<Option<u32>, OutOfSteps> {
        let effect = self.plan.effects[entry as usize];
        if matches!(effect.needs, Needs::Exactly(state) if state != self.state) {
            return Ok(None);
        }
        if *self.budget.steps >= self.budget.limit {
            return Err(OutOfSteps);
        }
        *self.budget.steps += 1;
        let Entry { op, ret, .. } = self.entries[entry as usize];
        let next = self.model.step(self.states.state(self.state), op, ret);
        let next = next.map(|next| self.states.met(next));
        debug_assert!(
            effect.allows(&self.state, next.as_ref()),
            "the model's effect of an operation is not what its step does: {effect:?}, with states \
             by number, from {} to {next:?}",
            self.state
        );
        Ok(next)
    }

    fn take(&mut self, entry: u32, next: u32) {
        self.taken.push(entry);
        self.state = next;
        let kind = self.plan.kinds[entry as usize];
        let effect = self.plan.effects[entry as usize];
        self.plan.outlook.remove(effect, kind.is_certain());
        match kind {
            Kind::Certain { slot } => {
                self.plan.certain.lift(entry);
                self.early.insert(slot as usize);
                self.advance();
            }
            Kind::Possible { number, .. } => {
                self.plan.possible.lift(entry);
                self.used.insert(number as usize);
            }
            Kind::Idle => unreachable!("idle entries are on no list"),
        }
    }

    /// Moves the front over everything that is taken.
    fn advance(&mut self) {
        while let Some(&entry) = self.plan.order.get(self.front as usize) {
            let Kind::Certain { slot } = self.plan.kinds[entry as usize] else {
                unreachable!("the order has certain entries only");
            };
            // Whoever shares the slot was invoked after the front's answer: it is not taken yet.
            if !self.early.contains(slot as usize) {
                break;
            }
            if !planted(Bug::SlotNotFreed) {
                self.early.remove(slot as usize);
            }
            self.front += 1;
        }
        self.furthest = self.furthest.max(self.front);
    }

    /// Takes all that may as well come now, then tells whether this place is new.
    fn settle(&mut self) -> Result<bool, OutOfSteps> {
        self.take_inert()?;
        while self.may_take_block() && self.take_block()? {}
        let place = Place {
            front: self.front,
            early: self.early.clone(),
            state: self.state,
        };
        Ok(self.memo.is_new(place, &self.used))
    }

    /// Takes all that changes nothing and may come now.
    fn take_inert(&mut self) -> Result<(), OutOfSteps> {
        let mut next = self.in_time(self.plan.certain.first());
        while let Some(entry) = next {
            let is_inert = self.plan.effects[entry as usize].leaves == Leaves::Same;
            if is_inert || planted(Bug::AbsorbsWrites) {
                let state = self.execute(entry)?;
                if state == Some(self.state) {
                    self.take(entry, self.state);
                }
            }
            // Still right if it was taken: it keeps its place between its neighbours. And the front
            // may have moved.
            next = self.in_time(self.plan.certain.after(entry));
        }
        Ok(())
    }

    fn may_take_block(&self) -> bool {
        let outlook = &self.plan.outlook;
        outlook.is_plain() && (outlook.is_spent(self.state) || planted(Bug::BlockOverNeeded))
    }

    /// Takes a write with all that needs it, if there is one of which all may come now.
    fn take_block(&mut self) -> Result<bool, OutOfSteps> {
        let mut next = self.candidate(None);
        while let Some(entry) = next {
            if self.leads_block(entry) && self.try_block(entry)? {
                return Ok(true);
            }
            next = self.candidate(Some(entry));
        }
        Ok(false)
    }

    /// Whether `entry` is a write that happened, or may have and would explain something.
    fn leads_block(&self, entry: u32) -> bool {
        let Effect { needs, leaves } = self.plan.effects[entry as usize];
        match (needs, leaves) {
            (Needs::Nothing, Leaves::Exactly(state)) => {
                let is_certain = self.plan.kinds[entry as usize].is_certain();
                is_certain || self.plan.outlook.is_needed(state)
            }
            _ => false,
        }
    }

    fn try_block(&mut self, entry: u32) -> Result<bool, OutOfSteps> {
        let Some(state) = self.execute(entry)? else {
            return Ok(false);
        };
        let frame = self.frame();
        self.take(entry, state);
        self.take_inert()?;
        let is_whole = self.plan.outlook.is_spent(state) || planted(Bug::BlockTooEarly);
        if !is_whole {
            self.undo(frame);
        }
        Ok(is_whole)
    }

    fn frame(&self) -> Frame<B> {
        Frame {
            taken: self.taken.len(),
            front: self.front,
            early: self.early.clone(),
            used: self.used.clone(),
            state: self.state,
        }
    }

    fn undo(&mut self, frame: Frame<B>) {
        while self.taken.len() > frame.taken {
            let Some(entry) = self.taken.pop() else { break };
            let kind = self.plan.kinds[entry as usize];
            self.plan
                .outlook
                .add(self.plan.effects[entry as usize], kind.is_certain());
            if planted(Bug::OpsNotRestored) {
                continue;
            }
            match kind {
                Kind::Certain { .. } => self.plan.certain.put_back(entry),
                Kind::Possible { .. } => self.plan.possible.put_back(entry),
                Kind::Idle => {}
            }
        }
        self.front = frame.front;
        self.used = frame.used;
        if !planted(Bug::SetNotRestored) {
            self.early = frame.early;
        }
        if !planted(Bug::StateNotRestored) {
            self.state = frame.state;
        }
    }
}
