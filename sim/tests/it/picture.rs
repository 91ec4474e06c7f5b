//! The picture of a violation.

use synod_sim::history::{ClientId, History, Instant};
use synod_sim::linear::{Checker, KvAction, KvMap, KvOp, KvRet};

use crate::script::{Script, at, write_op};

fn picture(script: &Script) -> String {
    let verdict = script.verdict();
    let violation = verdict.violation().expect("these histories are wrong");
    violation.render(&script.history)
}

#[test]
fn a_column_for_each_client() {
    let mut script = Script::default();
    script.unknown_write(1, 1, 0);
    script.read(2, 1, 10..40);
    script.read(3, 0, 1_500..2_000);
    let expected = "\
not linearizable: 2 operations on (), from 10ns to 2µs
no order gives these answers, whatever the state was before; none gets past the answer to op2
       c2                      c3
 10ns  [ op1 Read { key: () }
 40ns  ] op1 Value(1)
1.5µs                          [ op2 Read { key: () }
  2µs                          ] op2 Value(0)
";
    assert_eq!(picture(&script), expected);
}

#[test]
fn overlapping_operations_of_one_client_have_columns_of_their_own() {
    let mut script = Script::default();
    let write = script.asked(1, write_op(1), 0);
    script
        .history
        .bound(write, Instant::from_nanos(25))
        .expect("25 is after 0");
    script.read(2, 1, 5..20);
    script.read(1, 0, 22..40);
    let expected = "\
not linearizable: 2 operations on (), from 5ns to 40ns
no order gives these answers, whatever the state was before; none gets past the answer to op2
      c1                      c2
 5ns                          [ op1 Read { key: () }
20ns                          ] op1 Value(1)
22ns  [ op2 Read { key: () }
40ns  ] op2 Value(0)
";
    assert_eq!(picture(&script), expected);
}

#[test]
fn the_readme_shows_what_is_drawn() {
    let mut history = History::new();
    let put = KvOp::new("x", KvAction::Put("1".into()));
    history.invoke(ClientId(1), put, at(0));
    for (client, value, when) in [(2, Some("1".into()), 10), (3, None, 30)] {
        let get = KvOp::new("x", KvAction::Get);
        let get = history.invoke(ClientId(client), get, at(when));
        history.complete(get, KvRet::Value(value), at(when + 10));
    }
    let verdict = Checker::new(KvMap).check(&history);
    let violation = verdict.violation().expect("the value is gone");
    let picture = violation.render(&history);
    assert!(
        include_str!("../../README.md").contains(&picture),
        "{picture}"
    );
}
