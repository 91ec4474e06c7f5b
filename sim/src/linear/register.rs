//! The classic object: registers that are read, written, and compared and swapped.

use core::hash::Hash;
use core::marker::PhantomData;

use super::{Effect, Model};

/// What is asked of the register at `key`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegisterOp<K, V> {
    /// The present value, please.
    Read {
        /// Which register.
        key: K,
    },
    /// Replace the value.
    Write {
        /// Which register.
        key: K,
        /// By what.
        value: V,
    },
    /// Replace the value if it is the expected one.
    Cas {
        /// Which register.
        key: K,
        /// What must be there.
        expected: V,
        /// By what to replace it.
        new: V,
    },
}

/// What a register answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegisterRet<V> {
    /// The value, to a read.
    Value(V),
    /// Done, to a write.
    Written,
    /// Whether the expected value was there and is replaced, to a compare-and-swap.
    Swapped(bool),
}

/// Registers by key, all with the same initial value.
///
/// ```
/// use synod_sim::linear::{Model, Register, RegisterOp, RegisterRet};
///
/// let registers = Register::new(0);
/// let state = registers.initial(&'x');
/// let write = RegisterOp::Write { key: 'x', value: 7 };
/// assert_eq!(registers.step(&state, &write, Some(&RegisterRet::Written)), Some(7));
/// let read = RegisterOp::Read { key: 'x' };
/// assert_eq!(registers.step(&7, &read, Some(&RegisterRet::Value(0))), None);
/// ```
#[derive(Clone, Debug)]
pub struct Register<K, V> {
    initial: V,
    keys: PhantomData<fn(K)>,
}

impl<K, V> Register<K, V> {
    /// Registers that hold `initial` before they are written.
    #[must_use]
    pub const fn new(initial: V) -> Self {
        Self {
            initial,
            keys: PhantomData,
        }
    }
}

impl<K: Clone + Ord, V: Clone + Eq + Hash> Model for Register<K, V> {
    type Op = RegisterOp<K, V>;
    type Ret = RegisterRet<V>;
    type Key = K;
    type State = V;

    fn key(&self, op: &Self::Op) -> K {
        match op {
            RegisterOp::Read { key }
            | RegisterOp::Write { key, .. }
            | RegisterOp::Cas { key, .. } => key.clone(),
        }
    }

    fn initial(&self, _: &K) -> V {
        self.initial.clone()
    }

    fn step(&self, state: &V, op: &Self::Op, ret: Option<&Self::Ret>) -> Option<V> {
        let (right, next) = match op {
            RegisterOp::Read { .. } => (RegisterRet::Value(state.clone()), state),
            RegisterOp::Write { value, .. } => (RegisterRet::Written, value),
            RegisterOp::Cas { expected, new, .. } if state == expected => {
                (RegisterRet::Swapped(true), new)
            }
            RegisterOp::Cas { .. } => (RegisterRet::Swapped(false), state),
        };
        ret.is_none_or(|ret| *ret == right).then(|| next.clone())
    }

    fn effect(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> Effect<V> {
        match (op, ret) {
            (RegisterOp::Read { .. }, Some(RegisterRet::Value(value))) => {
                Effect::reads(value.clone())
            }
            (RegisterOp::Read { .. }, _) | (_, Some(RegisterRet::Swapped(false))) => {
                Effect::changes_nothing()
            }
            (RegisterOp::Cas { expected, new, .. }, _) => {
                Effect::swaps(expected.clone(), new.clone())
            }
            (RegisterOp::Write { value, .. }, Some(RegisterRet::Written) | None) => {
                Effect::writes(value.clone())
            }
            (RegisterOp::Write { .. }, Some(_)) => Effect::UNSPECIFIED,
        }
    }
}
