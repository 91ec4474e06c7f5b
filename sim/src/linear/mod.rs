//! Is there one order of all operations that explains every answer and respects real time?
//!
//! That is linearizability (Herlihy & Wing 1990). A [`Checker`] takes a
//! [`History`] and a [`Model`] of the object, and answers with a
//! [`Verdict`]. It is exact: it finds an order if there is one, and says that it does not know when
//! its steps run out, never that all is well.
//!
//! Cheaper questions, where more is known than the clients know:
//! - [`verify_order`]: is *this* order (the replicated log's) an explanation? Linear time.
//! - [`session`]: does each client see its own writes, and never time run backwards?
//! - [`once`]: is each acknowledged effect there exactly once?
//!
//! Files: `model`, `register`, `kv` (what a correct object does) · `partition` (cut by key) ·
//! `plan`, `search`, `outlook`, `memo` (find an order) · `window` (make a failure small) · `render` (show it) ·
//! `order` · `session` · `once`.

mod kv;
mod memo;
mod model;
pub mod once;
mod order;
mod outlook;
mod partition;
mod plan;
mod plant;
mod register;
mod render;
mod search;
pub mod session;
#[cfg(test)]
mod tests;
mod verdict;
mod window;

pub use kv::{KvAction, KvMap, KvOp, KvRet};
pub use model::{Effect, Leaves, Model, Needs};
pub use order::{OrderFault, verify_order};
pub use register::{Register, RegisterOp, RegisterRet};
pub use verdict::{Linearization, Verdict, Violation};

use crate::history::History;
use memo::States;
use partition::{Entry, Part, partition};
use plant::{Bug, planted};
use search::{End, Stuck, search};
use window::{Start, minimise};

/// Judges histories of one kind of object.
///
/// ```
/// use synod_sim::history::{ClientId, History, Instant};
/// use synod_sim::linear::{Checker, Register, RegisterOp, RegisterRet};
///
/// let mut history = History::new();
/// let write = RegisterOp::Write { key: "x", value: 1 };
/// let write = history.invoke(ClientId(1), write, Instant::from_nanos(0));
/// history.complete(write, RegisterRet::Written, Instant::from_nanos(5));
/// let read = history.invoke(ClientId(2), RegisterOp::Read { key: "x" }, Instant::from_nanos(6));
/// history.complete(read, RegisterRet::Value(0), Instant::from_nanos(9));
///
/// let verdict = Checker::new(Register::new(0)).check(&history);
/// let violation = verdict.violation().expect("the read is stale");
/// assert_eq!(violation.ops, [write, read]);
/// ```
#[derive(Clone, Debug)]
pub struct Checker<M> {
    model: M,
    step_limit: u64,
}

impl<M: Model> Checker<M> {
    /// Steps per key, if not set otherwise: some seconds and at most about 1 GB.
    pub const STEP_LIMIT: u64 = 20_000_000;

    /// A checker for objects that `model` specifies.
    pub const fn new(model: M) -> Self {
        Self {
            model,
            step_limit: Self::STEP_LIMIT,
        }
    }

    /// Gives up on a key after this many executions of the model. It bounds time, and memory to
    /// about 50 bytes a step (more with more than 64 operations under way at once, or of unknown
    /// outcome). Making a violation small may take as many again.
    #[must_use]
    pub const fn step_limit(mut self, steps: u64) -> Self {
        self.step_limit = steps;
        self
    }

    /// Judges `history`, key by key in ascending order up to the first violation.
    ///
    /// What the history says to have failed is left out; what it says to be unknown, or has no
    /// answer yet, may have happened at any time after its invocation, or not.
    pub fn check(&self, history: &History<M::Op, M::Ret>) -> Verdict<M::Key> {
        let (mut found, mut unknown, mut spent) = (Vec::new(), Vec::new(), 0);
        for (key, part) in partition(&self.model, history) {
            let mut states = States::new();
            let (end, steps) = self.search(&key, &part, &mut states);
            spent += steps;
            match end {
                End::Order(order) => {
                    let order = order.iter().map(|&entry| part[entry as usize].id);
                    let order = order.collect();
                    found.push(Linearization { key, order });
                }
                End::None(stuck) => {
                    let violation = self.violation(key, &part, &mut states, stuck);
                    return Verdict::NotLinearizable(violation);
                }
                End::Limit => unknown.push(key),
            }
            if planted(Bug::FirstKeyOnly) {
                break;
            }
        }
        if unknown.is_empty() || planted(Bug::LimitIsOk) {
            Verdict::Linearizable(found)
        } else {
            Verdict::Unknown {
                keys: unknown,
                steps: spent,
            }
        }
    }

    fn search(
        &self,
        key: &M::Key,
        part: &[Entry<'_, M::Op, M::Ret>],
        states: &mut States<M::State>,
    ) -> (End, u64) {
        let mut steps = 0;
        let start = states.met(self.model.initial(key));
        let end = search(
            &self.model,
            part,
            states,
            &[start],
            &mut steps,
            self.step_limit,
        );
        (end, steps)
    }

    fn violation(
        &self,
        key: M::Key,
        part: &Part<'_, M>,
        states: &mut States<M::State>,
        stuck: Stuck,
    ) -> Violation<M::Key> {
        let id = |&entry: &u32| part[entry as usize].id;
        let core = minimise(&self.model, part, states, stuck, self.step_limit);
        Violation {
            key,
            ops: core.ops.iter().map(id).collect(),
            stuck: id(&core.stuck),
            since_start: matches!(core.start, Start::Initial),
        }
    }
}
