//! What a correct register does: a value or none, by key.

use synod_sim::linear::{Effect, Model};

/// What clients ask. Values are unique, so a version stands for its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Op {
    pub(crate) key: u8,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Read,
    Write(u64),
    Create(u64),
    /// By value or by version.
    Cas(u64, u64),
    Delete,
    /// Reads, then puts this in its place.
    Custom(u64),
}

/// What they are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ret {
    /// To a read.
    Value(Option<u64>),
    /// It is done.
    Done,
    /// The condition does not hold: this is there.
    Mismatch(Option<u64>),
    /// Put in the place of this.
    Replaced(Option<u64>),
}

pub(crate) struct Registers;

impl Model for Registers {
    type Op = Op;
    type Ret = Ret;
    type Key = u8;
    type State = Option<u64>;

    fn key(&self, op: &Op) -> u8 {
        op.key
    }

    fn initial(&self, _: &u8) -> Option<u64> {
        None
    }

    fn step(&self, state: &Option<u64>, op: &Op, ret: Option<&Ret>) -> Option<Option<u64>> {
        let (right, next) = match op.kind {
            Kind::Read => (Ret::Value(*state), *state),
            Kind::Write(value) => (Ret::Done, Some(value)),
            Kind::Create(value) if state.is_none() => (Ret::Done, Some(value)),
            Kind::Cas(expected, value) if *state == Some(expected) => (Ret::Done, Some(value)),
            Kind::Create(_) | Kind::Cas(..) => (Ret::Mismatch(*state), *state),
            Kind::Delete => (Ret::Done, None),
            Kind::Custom(value) => (Ret::Replaced(*state), Some(value)),
        };
        ret.is_none_or(|ret| *ret == right).then_some(next)
    }

    fn effect(&self, op: &Op, ret: Option<&Ret>) -> Effect<Option<u64>> {
        match (op.kind, ret) {
            (Kind::Read, Some(Ret::Value(value))) => Effect::reads(*value),
            (Kind::Read, _) | (_, Some(Ret::Mismatch(_))) => Effect::changes_nothing(),
            (Kind::Write(value), _) => Effect::writes(Some(value)),
            (Kind::Delete, _) => Effect::writes(None),
            (Kind::Create(value), _) => Effect::swaps(None, Some(value)),
            (Kind::Cas(expected, value), _) => Effect::swaps(Some(expected), Some(value)),
            (Kind::Custom(value), Some(Ret::Replaced(was))) => Effect::swaps(*was, Some(value)),
            (Kind::Custom(value), _) => Effect::writes(Some(value)),
        }
    }
}
