//! Random small histories, half of them from a correct object, half with something wrong.

use alloc::collections::BTreeMap;
use core::fmt::Debug;

use super::Rng;
use super::brute::{Item, Items};
use crate::history::{ClientId, History, Instant, OpId};
use crate::linear::kv::execute;
use crate::linear::{
    KvAction, KvMap, KvOp, KvRet, Leaves, Model, Register, RegisterOp, RegisterRet,
};

/// An object to make histories of.
pub(super) trait Object:
    Model<Op: Clone + Debug, Ret: Clone + Debug, State: Debug, Key: Debug>
{
    fn random_op(&self, rng: &mut Rng, values: usize) -> Self::Op;
    fn random_state(&self, rng: &mut Rng, values: usize) -> Self::State;
    fn run(&self, state: &Self::State, op: &Self::Op) -> (Self::Ret, Self::State);
}

/// Two registers.
pub(super) type Registers = Register<u8, u8>;

impl Object for Registers {
    fn random_op(&self, rng: &mut Rng, values: usize) -> RegisterOp<u8, u8> {
        let key = u8::from(rng.percent(15));
        let [value, new] = [rng.below(values) as u8, rng.below(values) as u8];
        match rng.below(10) {
            0..5 => RegisterOp::Read { key },
            5..9 => RegisterOp::Write { key, value },
            _ => RegisterOp::Cas {
                key,
                expected: value,
                new,
            },
        }
    }

    fn random_state(&self, rng: &mut Rng, values: usize) -> u8 {
        rng.below(values) as u8
    }

    fn run(&self, state: &u8, op: &RegisterOp<u8, u8>) -> (RegisterRet<u8>, u8) {
        match *op {
            RegisterOp::Read { .. } => (RegisterRet::Value(*state), *state),
            RegisterOp::Write { value, .. } => (RegisterRet::Written, value),
            RegisterOp::Cas { expected, new, .. } if expected == *state => {
                (RegisterRet::Swapped(true), new)
            }
            RegisterOp::Cas { .. } => (RegisterRet::Swapped(false), *state),
        }
    }
}

impl Object for KvMap {
    fn random_op(&self, rng: &mut Rng, _: usize) -> KvOp {
        let value = |rng: &mut Rng| rng.pick(&["1", "2", "x"]).into();
        let maybe = |rng: &mut Rng| rng.pick(&[None, Some("1".into()), Some("2".into())]);
        let action = match rng.below(12) {
            0..4 => KvAction::Get,
            4 => KvAction::Put(value(rng)),
            5 => KvAction::Delete,
            6 => KvAction::Cas {
                expected: maybe(rng),
                new: maybe(rng),
            },
            7..9 => KvAction::Append(value(rng)),
            _ => KvAction::Incr(1),
        };
        KvOp::new(rng.pick(&["a", "a", "b"]), action)
    }

    fn random_state(&self, rng: &mut Rng, _: usize) -> Option<bytes::Bytes> {
        rng.pick(&[
            None,
            Some("1".into()),
            Some("2".into()),
            Some("11".into()),
            Some("x".into()),
        ])
    }

    fn run(&self, state: &Self::State, op: &KvOp) -> (KvRet, Self::State) {
        execute(state, &op.action)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Completed,
    Unknown,
    Failed,
}

/// One operation; events are numbered, and two successive ones share an instant.
#[derive(Clone, Debug)]
pub(super) struct Call<Op, Ret> {
    pub(super) client: u64,
    pub(super) op: Op,
    pub(super) ret: Option<Ret>,
    pub(super) fate: Fate,
    pub(super) called: usize,
    pub(super) ended: usize,
    pub(super) bound: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Case<Op, Ret> {
    pub(super) calls: Vec<Call<Op, Ret>>,
}

/// A case for this object.
pub(super) type CaseOf<M> = Case<<M as Model>::Op, <M as Model>::Ret>;

const fn instant(event: usize) -> u64 {
    event as u64 / 2
}

/// How to make cases.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) clients: usize,
    pub(super) ops: usize,
    pub(super) unknown_percent: usize,
    pub(super) wrong_percent: usize,
    /// How many values a register can have.
    pub(super) values: usize,
}

impl<Op: Clone, Ret: Clone> Case<Op, Ret> {
    pub(super) fn random<M: Object<Op = Op, Ret = Ret>>(
        model: &M,
        rng: &mut Rng,
        shape: Shape,
    ) -> Self {
        let mut calls: Vec<Call<Op, Ret>> = Vec::new();
        let mut states: BTreeMap<M::Key, M::State> = BTreeMap::new();
        let mut pending: Vec<Option<usize>> = vec![None; shape.clients];
        let mut awaiting_effect: Vec<usize> = Vec::new();
        let ops = 1 + rng.below(shape.ops);
        let mut event = 0;
        while calls.len() < ops || pending.iter().any(Option::is_some) {
            event += 1;
            if rng.percent(60) && !awaiting_effect.is_empty() {
                let at = rng.below(awaiting_effect.len());
                let it = awaiting_effect.swap_remove(at);
                calls[it].take_effect(model, &mut states, rng, event);
            }
            let client = rng.below(shape.clients);
            let Some(it) = pending[client] else {
                if calls.len() < ops {
                    pending[client] = Some(calls.len());
                    let call = Call::random(model, rng, client, event, shape);
                    if call.fate != Fate::Failed
                        && (call.fate == Fate::Completed || rng.percent(75))
                    {
                        awaiting_effect.push(calls.len());
                    }
                    calls.push(call);
                }
                continue;
            };
            let has_effect = !awaiting_effect.contains(&it);
            if calls[it].fate != Fate::Completed || has_effect {
                calls[it].ended = event;
                pending[client] = None;
            }
        }
        let mut case = Self { calls };
        if rng.percent(shape.wrong_percent) {
            case.spoil(model, rng, shape);
        }
        case
    }

    /// Gives some operations another answer, or claims something else of them.
    fn spoil<M: Object<Op = Op, Ret = Ret>>(&mut self, model: &M, rng: &mut Rng, shape: Shape) {
        for _ in 0..2 {
            let it = rng.below(self.calls.len());
            let call = &mut self.calls[it];
            match call.fate {
                Fate::Completed => {
                    call.ret = Some(
                        model
                            .run(&model.random_state(rng, shape.values), &call.op)
                            .0,
                    )
                }
                Fate::Unknown => call.bound = Some(instant(call.called) + rng.below(3) as u64),
                Fate::Failed => {}
            }
        }
    }

    pub(super) fn history(&self) -> (History<Op, Ret>, Vec<OpId>) {
        let mut history = History::new();
        let mut events: Vec<(usize, usize, bool)> = Vec::new();
        for (it, call) in self.calls.iter().enumerate() {
            events.push((call.called, it, true));
            events.push((call.ended, it, false));
        }
        events.sort_unstable();
        let mut ids: BTreeMap<usize, OpId> = BTreeMap::new();
        for (event, it, is_call) in events {
            let call = &self.calls[it];
            let at = Instant::from_nanos(instant(event));
            if is_call {
                ids.insert(
                    it,
                    history.invoke(ClientId(call.client), call.op.clone(), at),
                );
                continue;
            }
            match (call.fate, &call.ret) {
                (Fate::Completed, Some(ret)) => history.complete(ids[&it], ret.clone(), at),
                (Fate::Completed, None) => unreachable!("completed means answered"),
                (Fate::Unknown, _) => history.unknown(ids[&it]),
                (Fate::Failed, _) => history.fail(ids[&it]),
            }
        }
        for (it, call) in self.calls.iter().enumerate() {
            if let Some(bound) = call.bound {
                let bounded = history.bound(ids[&it], Instant::from_nanos(bound));
                bounded.expect("a bound is not before the call");
            }
        }
        (history, ids.into_values().collect())
    }

    /// The operations on `key` for the brute force, and which they are. Times are doubled: a bound
    /// is after all events of its instant, so between two events.
    pub(super) fn items<M: Object<Op = Op, Ret = Ret>>(
        &self,
        model: &M,
        key: &M::Key,
    ) -> (Items<M>, Vec<usize>) {
        let mut items = Vec::new();
        let mut which = Vec::new();
        for (it, call) in self.calls.iter().enumerate() {
            if call.fate == Fate::Failed || model.key(&call.op) != *key {
                continue;
            }
            let ended = (call.fate == Fate::Completed).then_some(2 * call.ended);
            let bound = call.bound.map(|bound| 2 * (2 * bound as usize + 1) + 1);
            let until = ended.into_iter().chain(bound).min();
            let ret = call.ret.clone().filter(|_| call.fate == Fate::Completed);
            let item = Item {
                op: call.op.clone(),
                ret,
                from: 2 * call.called,
                until,
            };
            items.push(item);
            which.push(it);
        }
        (items, which)
    }

    pub(super) fn keys<M: Object<Op = Op, Ret = Ret>>(&self, model: &M) -> Vec<M::Key> {
        let mut keys: Vec<_> = self.calls.iter().map(|call| model.key(&call.op)).collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

impl<Op: Clone, Ret: Clone> Call<Op, Ret> {
    fn random<M: Object<Op = Op, Ret = Ret>>(
        model: &M,
        rng: &mut Rng,
        client: usize,
        event: usize,
        shape: Shape,
    ) -> Self {
        let op = model.random_op(rng, shape.values);
        let fate = match rng.below(100) {
            // An unknown read says nothing.
            _ if model.effect(&op, None).leaves == Leaves::Same && rng.percent(90) => {
                Fate::Completed
            }
            dice if dice < shape.unknown_percent => Fate::Unknown,
            dice if dice < shape.unknown_percent + 5 && shape.unknown_percent > 0 => Fate::Failed,
            _ => Fate::Completed,
        };
        Self {
            client: client as u64,
            op,
            ret: None,
            fate,
            called: event,
            ended: event,
            bound: None,
        }
    }

    fn take_effect<M: Object<Op = Op, Ret = Ret>>(
        &mut self,
        model: &M,
        states: &mut BTreeMap<M::Key, M::State>,
        rng: &mut Rng,
        event: usize,
    ) {
        let key = model.key(&self.op);
        let state = states.remove(&key).unwrap_or_else(|| model.initial(&key));
        let (ret, next) = model.run(&state, &self.op);
        states.insert(key, next);
        self.ret = Some(ret);
        if rng.percent(if self.fate == Fate::Unknown { 40 } else { 5 }) {
            self.bound = Some(instant(event) + rng.below(2) as u64);
        }
    }
}
