//! Running out of steps is never good news, and never hides bad news elsewhere.

use synod_sim::history::{ClientId, History, Instant};
use synod_sim::linear::{Checker, Model, Register, RegisterOp, RegisterRet, Verdict};

/// Adds numbers and tells nothing: as hard as it gets, every subset of pending additions counts.
#[derive(Clone, Copy)]
struct Sum;

impl Model for Sum {
    type Op = u64;
    type Ret = Option<u64>;
    type Key = ();
    type State = u64;

    fn key(&self, _: &u64) {}

    fn initial(&self, (): &()) -> u64 {
        0
    }

    fn step(&self, sum: &u64, by: &u64, ret: Option<&Option<u64>>) -> Option<u64> {
        let is_right = ret.is_none_or(|ret| ret.is_none_or(|seen| seen == *sum));
        is_right.then(|| sum + by)
    }
}

fn hard() -> History<u64, Option<u64>> {
    let mut history = History::new();
    let at = Instant::from_nanos;
    for client in 0..24 {
        let add = history.invoke(ClientId(client), 1 << client, at(0));
        history.complete(add, None, at(10));
    }
    let impossible = history.invoke(ClientId(99), 0, at(5));
    history.complete(impossible, Some(1 << 40), at(10));
    history
}

#[test]
fn a_limit_is_met_and_said() {
    let verdict = Checker::new(Sum).step_limit(50_000).check(&hard());
    assert_eq!(
        verdict,
        Verdict::Unknown {
            keys: vec![()],
            steps: 50_000
        }
    );
    assert!(!verdict.is_linearizable() && verdict.violation().is_none());
    assert_eq!(
        verdict.to_string(),
        "unknown (1 keys given up, 50000 steps)"
    );
}

/// One key that is given up does not keep the others from being judged.
#[test]
fn each_key_has_its_own_limit() {
    let mut history = History::new();
    let at = Instant::from_nanos;
    let mut op = |op, ret, from, to| {
        let id = history.invoke(ClientId(1), op, at(from));
        history.complete(id, ret, at(to));
    };
    for n in 0..50 {
        op(
            RegisterOp::Write { key: 'a', value: n },
            RegisterRet::Written,
            10 * n,
            10 * n + 5,
        );
    }
    op(RegisterOp::Read { key: 'b' }, RegisterRet::Value(0), 0, 5);
    let checker = Checker::new(Register::new(0)).step_limit(20);
    let verdict = checker.check(&history);
    let Verdict::Unknown { keys, steps: 21 } = verdict else {
        panic!("20 steps for a, 1 for b: {verdict}");
    };
    assert_eq!(keys, ['a']);

    let bad = history.invoke(ClientId(1), RegisterOp::Read { key: 'b' }, at(10));
    history.complete(bad, RegisterRet::Value(9), at(15));
    let verdict = checker.check(&history);
    assert_eq!(
        verdict
            .violation()
            .map(|violation| (violation.key, violation.stuck)),
        Some(('b', bad))
    );
}
