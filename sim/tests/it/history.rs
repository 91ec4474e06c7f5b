//! Recording.

use synod_sim::history::{ClientId, History, Instant, Outcome};

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

#[test]
fn a_record_tells_what_was_recorded() {
    let mut history = History::new();
    assert!(history.is_empty());
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|op| history.invoke(ClientId(7), op, at(3)));
    history.complete(a, 1, at(4));
    history.unknown(b);
    history.fail(c);
    let outcomes: Vec<_> = history
        .iter()
        .map(|(_, record)| record.outcome().clone())
        .collect();
    let expected = [
        Outcome::Completed(1),
        Outcome::Unknown,
        Outcome::Failed,
        Outcome::Open,
    ];
    assert_eq!(outcomes, expected);
    let record = history.get(a);
    assert_eq!(
        (record.client(), *record.op(), record.ret()),
        (ClientId(7), "a", Some(&1))
    );
    assert_eq!(
        (record.invoked_at(), record.completed_at()),
        (at(3), Some(at(4)))
    );
    assert_eq!(
        (history.len(), d.index(), d.to_string()),
        (4, 3, "op3".into())
    );
}

#[test]
fn a_late_answer_may_follow_unknown() {
    let mut history = History::new();
    let op = history.invoke(ClientId(1), "op", at(0));
    history.unknown(op);
    history.complete(op, 1, at(90));
    assert_eq!(history.get(op).completed_at(), Some(at(90)));
}

#[test]
#[should_panic(expected = "op0 is settled already")]
fn two_answers_are_refused() {
    let mut history = History::new();
    let op = history.invoke(ClientId(1), "op", at(0));
    history.complete(op, 1, at(1));
    history.complete(op, 1, at(2));
}

#[test]
#[should_panic(expected = "op0 was invoked at 5ns, but completed before, at 4ns")]
fn an_answer_before_the_question_is_refused() {
    let mut history = History::new();
    let op = history.invoke(ClientId(1), "op", at(5));
    history.complete(op, 1, at(4));
}

#[test]
fn precedence_needs_an_end() {
    let mut history: History<&str, ()> = History::new();
    let open = history.invoke(ClientId(1), "open", at(0));
    let over = history.invoke(ClientId(2), "over", at(0));
    history.complete(over, (), at(5));
    let later = history.invoke(ClientId(3), "later", at(5));
    let later = history.get(later);
    assert!(history.get(over).precedes(later));
    assert!(!history.get(open).precedes(later));
    assert!(!later.precedes(history.get(over)));
}
