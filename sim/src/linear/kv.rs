//! A key-value map, as replicated services offer it.

use bytes::Bytes;

use super::{Effect, Leaves, Model, Needs};

/// What is asked of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KvAction {
    /// The present value, please.
    Get,
    /// Replace the value.
    Put(Bytes),
    /// Remove the value.
    Delete,
    /// Replace what is there, if it is what is expected. `None` is absence.
    Cas {
        /// What must be there.
        expected: Option<Bytes>,
        /// What is there afterwards.
        new: Option<Bytes>,
    },
    /// Add bytes at the end; an absent value counts as empty.
    Append(Bytes),
    /// Add to the value, a decimal number; an absent value counts as 0.
    Incr(i64),
}

/// What the map answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KvRet {
    /// The value, to a get.
    Value(Option<Bytes>),
    /// Done, to a put.
    Done,
    /// Whether something was there, to a delete.
    Deleted(bool),
    /// Whether the expected value was there and is replaced, to a compare-and-swap.
    Swapped(bool),
    /// The new length in bytes, to an append.
    Length(usize),
    /// The new number, to an increment.
    Number(i64),
    /// Refused, to an increment: the value is no decimal number, or the sum is out of range.
    NotANumber,
}

/// One action on one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KvOp {
    /// The key.
    pub key: Bytes,
    /// What is asked of it.
    pub action: KvAction,
}

impl KvOp {
    /// `action` on `key`.
    pub fn new(key: impl Into<Bytes>, action: KvAction) -> Self {
        Self {
            key: key.into(),
            action,
        }
    }
}

/// A map from keys to bytes, empty at first; each key is judged alone.
///
/// ```
/// use synod_sim::linear::{KvAction, KvMap, KvOp, KvRet, Model};
///
/// let incr = KvOp::new("hits", KvAction::Incr(2));
/// let state = Some("40".into());
/// let after = KvMap.step(&state, &incr, Some(&KvRet::Number(42)));
/// assert_eq!(after, Some(Some("42".into())));
/// assert_eq!(KvMap.step(&state, &incr, Some(&KvRet::Number(2))), None);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct KvMap;

impl Model for KvMap {
    type Op = KvOp;
    type Ret = KvRet;
    type Key = Bytes;
    type State = Option<Bytes>;

    fn key(&self, op: &KvOp) -> Bytes {
        op.key.clone()
    }

    fn initial(&self, _: &Bytes) -> Option<Bytes> {
        None
    }

    fn step(&self, state: &Option<Bytes>, op: &KvOp, ret: Option<&KvRet>) -> Option<Option<Bytes>> {
        let (right, next) = execute(state, &op.action);
        ret.is_none_or(|ret| *ret == right).then_some(next)
    }

    fn effect(&self, op: &KvOp, ret: Option<&KvRet>) -> Effect<Option<Bytes>> {
        use KvAction::{Append, Cas, Delete, Get, Incr, Put};
        match (&op.action, ret) {
            (Get, Some(KvRet::Value(value))) => Effect::reads(value.clone()),
            (Put(value), Some(KvRet::Done) | None) => Effect::writes(Some(value.clone())),
            (Delete, Some(KvRet::Deleted(false))) => Effect::reads(None),
            (Delete, Some(KvRet::Deleted(true))) => Effect {
                needs: Needs::Unspecified,
                leaves: Leaves::Exactly(None),
            },
            (Delete, None) => Effect::writes(None),
            (Cas { expected, new }, Some(KvRet::Swapped(true)) | None) => {
                Effect::swaps(expected.clone(), new.clone())
            }
            (Get, None)
            | (Cas { .. }, Some(KvRet::Swapped(false)))
            | (Incr(_), Some(KvRet::NotANumber)) => Effect::changes_nothing(),
            (Incr(_), Some(KvRet::Number(sum))) => Effect {
                needs: Needs::Unspecified,
                leaves: Leaves::Exactly(Some(sum.to_string().into())),
            },
            // The rest depends on the value, or is an answer to another question.
            (Append(_) | Incr(_) | Get | Put(_) | Delete | Cas { .. }, _) => Effect::UNSPECIFIED,
        }
    }
}

/// The answer, and the value afterwards.
pub(super) fn execute(state: &Option<Bytes>, action: &KvAction) -> (KvRet, Option<Bytes>) {
    match action {
        KvAction::Get => (KvRet::Value(state.clone()), state.clone()),
        KvAction::Put(value) => (KvRet::Done, Some(value.clone())),
        KvAction::Delete => (KvRet::Deleted(state.is_some()), None),
        KvAction::Cas { expected, new } if state == expected => (KvRet::Swapped(true), new.clone()),
        KvAction::Cas { .. } => (KvRet::Swapped(false), state.clone()),
        KvAction::Append(tail) => {
            let value = [state.as_deref().unwrap_or_default(), tail].concat();
            (KvRet::Length(value.len()), Some(value.into()))
        }
        KvAction::Incr(by) => match number(state).and_then(|number| number.checked_add(*by)) {
            Some(sum) => (KvRet::Number(sum), Some(sum.to_string().into())),
            None => (KvRet::NotANumber, state.clone()),
        },
    }
}

fn number(state: &Option<Bytes>) -> Option<i64> {
    let Some(value) = state else { return Some(0) };
    core::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(actions: &[KvAction]) -> Vec<KvRet> {
        let mut state = None;
        let answers = actions.iter().map(|action| {
            let (ret, next) = execute(&state, action);
            state = next;
            ret
        });
        answers.collect()
    }

    #[test]
    fn each_action_answers_what_a_map_would() {
        use KvAction::{Append, Cas, Delete, Get, Incr, Put};
        let cas = |expected: Option<&'static str>, new: Option<&'static str>| Cas {
            expected: expected.map(Bytes::from),
            new: new.map(Bytes::from),
        };
        let answers = run(&[
            Get,
            Delete,
            cas(Some("a"), Some("b")),
            cas(None, Some("a")),
            Append("bc".into()),
            Incr(1),
            Delete,
            Append("7".into()),
            Incr(-9),
            Put(i64::MAX.to_string().into()),
            Incr(1),
            cas(Some("1"), None),
        ]);
        let expected = [
            KvRet::Value(None),
            KvRet::Deleted(false),
            KvRet::Swapped(false),
            KvRet::Swapped(true),
            KvRet::Length(3),
            KvRet::NotANumber,
            KvRet::Deleted(true),
            KvRet::Length(1),
            KvRet::Number(-2),
            KvRet::Done,
            KvRet::NotANumber,
            KvRet::Swapped(false),
        ];
        assert_eq!(answers, expected);
    }

    /// `effect` says of each action, answer and state what `step` does.
    #[test]
    fn effects_are_true() {
        let texts = ["1", "x", "3", "4"].map(|text| Some(Bytes::from(text)));
        let states: Vec<_> = core::iter::once(None).chain(texts).collect();
        let some = || Some(Bytes::from("1"));
        let actions = [
            KvAction::Get,
            KvAction::Put("1".into()),
            KvAction::Delete,
            KvAction::Cas {
                expected: some(),
                new: None,
            },
            KvAction::Cas {
                expected: None,
                new: some(),
            },
            KvAction::Append("1".into()),
            KvAction::Incr(0),
            KvAction::Incr(3),
        ];
        let mut specified = 0;
        for op in actions.map(|action| KvOp::new("k", action)) {
            for ret in states.iter().map(|state| execute(state, &op.action).0) {
                let effect = KvMap.effect(&op, Some(&ret));
                specified += usize::from(effect != Effect::UNSPECIFIED);
                for state in &states {
                    let next = KvMap.step(state, &op, Some(&ret));
                    let allowed = effect.allows(state, next.as_ref());
                    assert!(
                        allowed,
                        "{op:?} answered {ret:?} in {state:?}: not {effect:?}"
                    );
                }
            }
        }
        assert_eq!(specified, 35, "of 40, all but the appends");
    }
}
