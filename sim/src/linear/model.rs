//! What a correct object does when it is asked one thing at a time.

use core::hash::Hash;

/// A sequential specification: the object that the system under test pretends to be.
///
/// Operations on different keys must not affect each other: a history is linearizable exactly if
/// its part for each key is (Herlihy & Wing 1990, §3.1, locality), and the checker searches each
/// part alone. An object whose operations span keys has one key, `()`.
///
/// ```
/// use synod_sim::linear::Model;
///
/// /// A counter that answers with the value before.
/// struct Tickets;
///
/// impl Model for Tickets {
///     type Op = ();
///     type Ret = u64;
///     type Key = ();
///     type State = u64;
///
///     fn key(&self, (): &()) {}
///
///     fn initial(&self, (): &()) -> u64 {
///         0
///     }
///
///     fn step(&self, next: &u64, (): &(), ret: Option<&u64>) -> Option<u64> {
///         ret.is_none_or(|ret| ret == next).then(|| next + 1)
///     }
/// }
/// ```
pub trait Model {
    /// What clients ask.
    type Op: PartialEq;
    /// What they are told.
    type Ret;
    /// What separates operations that do not affect each other.
    type Key: Clone + Ord;
    /// The object's state, of one key.
    type State: Clone + Eq + Hash;

    /// The part of the object that `op` concerns.
    fn key(&self, op: &Self::Op) -> Self::Key;

    /// The state of that part before any operation.
    fn initial(&self, key: &Self::Key) -> Self::State;

    /// The state after `op` was executed in `state` and answered `ret`; `None` if a correct object
    /// would not have given that answer. An unknown answer (`ret` is `None`) may be any.
    fn step(
        &self,
        state: &Self::State,
        op: &Self::Op,
        ret: Option<&Self::Ret>,
    ) -> Option<Self::State>;

    /// What is known of `op`, answered `ret`, in all states at once. It makes the search far
    /// cheaper; [`Effect::UNSPECIFIED`], the default, is always right, and anything else must be
    /// true (debug builds check it wherever the model is executed).
    ///
    /// Without an answer (`ret` is `None`), this is the effect that the operation has if it changes
    /// anything: a compare-and-swap needs the expected state and leaves the new one.
    fn effect(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> Effect<Self::State> {
        let _ = (op, ret);
        Effect::UNSPECIFIED
    }
}

/// What an operation with a certain answer does, in all states at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect<S> {
    /// The states in which the answer is right.
    pub needs: Needs<S>,
    /// The state afterwards.
    pub leaves: Leaves<S>,
}

impl<S> Effect<S> {
    /// Nothing is known.
    pub const UNSPECIFIED: Self = Self {
        needs: Needs::Unspecified,
        leaves: Leaves::Unspecified,
    };

    /// The answer of a read: right in `state` only, which it leaves as it is.
    pub const fn reads(state: S) -> Self {
        Self {
            needs: Needs::Exactly(state),
            leaves: Leaves::Same,
        }
    }

    /// The answer of a write: right in every state, leaves `state`.
    pub const fn writes(state: S) -> Self {
        Self {
            needs: Needs::Nothing,
            leaves: Leaves::Exactly(state),
        }
    }

    /// The answer of a compare-and-swap that did it: right in state `from` only, leaves `to`.
    pub const fn swaps(from: S, to: S) -> Self {
        Self {
            needs: Needs::Exactly(from),
            leaves: Leaves::Exactly(to),
        }
    }

    /// An answer that is right in some states, all of which it leaves as they are.
    pub const fn changes_nothing() -> Self {
        Self {
            needs: Needs::Unspecified,
            leaves: Leaves::Same,
        }
    }
}

impl<S: PartialEq> Effect<S> {
    /// Whether this effect says that the operation may lead from `state` to `next`, where `None`
    /// stands for an answer that is not right.
    #[must_use]
    pub fn allows(&self, state: &S, next: Option<&S>) -> bool {
        let needs = match &self.needs {
            Needs::Nothing => next.is_some(),
            Needs::Exactly(needed) => next.is_some() == (state == needed),
            Needs::Unspecified => true,
        };
        let leaves = next.is_none_or(|next| match &self.leaves {
            Leaves::Same => next == state,
            Leaves::Exactly(left) => next == left,
            Leaves::Unspecified => true,
        });
        needs && leaves
    }
}

/// The states in which an answer is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Needs<S> {
    /// Every state.
    Nothing,
    /// This state only.
    Exactly(S),
    /// Not known in general.
    Unspecified,
}

/// The state after an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leaves<S> {
    /// The state before.
    Same,
    /// This state.
    Exactly(S),
    /// It depends on the state before.
    Unspecified,
}
