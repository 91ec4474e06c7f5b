//! The key-value map.

use synod_sim::history::{ClientId, History, Instant, OpId};
use synod_sim::linear::{Checker, KvAction, KvMap, KvOp, KvRet, Verdict};

#[derive(Default)]
struct Map {
    history: History<KvOp, KvRet>,
    now: u64,
}

impl Map {
    /// One after the other.
    fn run(&mut self, key: &'static str, action: KvAction, ret: KvRet) -> OpId {
        self.now += 10;
        let at = Instant::from_nanos;
        let id = self
            .history
            .invoke(ClientId(1), KvOp::new(key, action), at(self.now));
        self.history.complete(id, ret, at(self.now + 5));
        id
    }

    fn verdict(&self) -> Verdict<bytes::Bytes> {
        Checker::new(KvMap).check(&self.history)
    }
}

fn value(text: &'static str) -> KvRet {
    KvRet::Value(Some(text.into()))
}

#[test]
fn keys_are_judged_apart() {
    let mut map = Map::default();
    map.run("a", KvAction::Put("1".into()), KvRet::Done);
    map.run("b", KvAction::Append("x".into()), KvRet::Length(1));
    map.run("b", KvAction::Append("y".into()), KvRet::Length(2));
    map.run("a", KvAction::Incr(41), KvRet::Number(42));
    map.run("b", KvAction::Get, value("xy"));
    map.run("a", KvAction::Get, value("42"));
    map.run("a", KvAction::Delete, KvRet::Deleted(true));
    map.run("a", KvAction::Get, KvRet::Value(None));
    let Verdict::Linearizable(parts) = map.verdict() else {
        panic!("this is what a map does");
    };
    let lengths = parts
        .iter()
        .map(|part| (part.key.clone(), part.order.len()));
    assert_eq!(
        lengths.collect::<Vec<_>>(),
        [("a".into(), 5), ("b".into(), 3)]
    );
    assert_eq!(map.verdict().to_string(), "yes (8 operations, 2 keys)");
}

#[test]
fn a_retried_append_that_happened_twice_is_seen() {
    let mut map = Map::default();
    map.run("k", KvAction::Append("a".into()), KvRet::Length(1));
    let get = map.run("k", KvAction::Get, value("aa"));
    assert_eq!(
        map.verdict().violation().map(|violation| violation.stuck),
        Some(get)
    );
}

#[test]
fn a_lost_increment_is_seen() {
    let mut map = Map::default();
    map.run("k", KvAction::Incr(1), KvRet::Number(1));
    let first = map.run("k", KvAction::Incr(1), KvRet::Number(2));
    let second = map.run("k", KvAction::Incr(1), KvRet::Number(2));
    let verdict = map.verdict();
    let violation = verdict
        .violation()
        .expect("two increments gave the same number");
    assert_eq!(violation.ops, [first, second]);
}

/// An operation that was answered with what belongs to another kind of operation.
#[test]
fn an_answer_of_the_wrong_kind_is_wrong() {
    let mut map = Map::default();
    let get = map.run("k", KvAction::Get, KvRet::Done);
    assert_eq!(
        map.verdict()
            .violation()
            .map(|violation| violation.ops.clone()),
        Some(vec![get])
    );
}
