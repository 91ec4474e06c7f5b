//! The acceptor's rules: what it answers, what it keeps, and what it keeps before it answers.

use synod_core::{Machine, Output};
use synod_paxos::Ballot;
use synod_paxos::single::{Body, Record};

use crate::cluster::{ballot, n, value};
use crate::solo::{Solo, accept, accepted, prepare, promise, refused, vote};

fn acceptor() -> Solo {
    let mut solo = Solo::acceptor(|builder| builder);
    // First contacts are another test's matter.
    solo.hear(11, Body::Ask);
    solo.hear(12, Body::Ask);
    solo
}

/// P1a: a later ballot is promised, and what is below is refused with what was promised.
#[test]
fn a_promise_rules_out_earlier_ballots() {
    let mut solo = acceptor();
    assert_eq!(
        solo.hear(11, prepare(4, 11)),
        [(n(11), promise(4, 11, None))]
    );
    assert_eq!(solo.decree.promised(), Some(ballot(4, 11)));
    for request in [prepare(2, 12), accept(2, 12, 8)] {
        let nack = refused((2, 12), (4, 11));
        assert_eq!(solo.hear(12, request), [(n(12), nack)]);
    }
    assert_eq!(solo.decree.vote(), None);
    // Of the same round the proposer decides.
    assert_eq!(
        solo.hear(12, prepare(4, 12)),
        [(n(12), promise(4, 12, None))]
    );
}

/// The same asked again, by a message that came twice, is answered again.
#[test]
fn a_promise_is_said_again_and_not_written_again() {
    let mut solo = acceptor();
    let first = solo.hear(11, prepare(2, 11));
    let written = solo.disk.len();
    assert_eq!(solo.hear(11, prepare(2, 11)), first);
    assert_eq!(solo.disk.len(), written);
    solo.hear(11, accept(2, 11, 8));
    assert_eq!(solo.hear(11, prepare(2, 11)), [], "phase 1 is over");
}

/// A vote in a ballot that was not promised here is a promise as well.
#[test]
fn a_vote_raises_the_promise() {
    let mut solo = acceptor();
    let said = solo.hear(12, accept(4, 12, 5));
    let body = accepted(vote(4, 12, 5), (4, 12));
    assert_eq!(said, [(n(11), body.clone()), (n(12), body)]);
    assert_eq!(solo.decree.promised(), Some(ballot(4, 12)));
    assert_eq!(
        solo.hear(11, prepare(2, 11)),
        [(n(11), refused((2, 11), (4, 12)))]
    );
}

/// What is reported is the ballot of the vote, whatever was promised since.
#[test]
fn a_promise_reports_the_ballot_of_the_vote() {
    let mut solo = acceptor();
    solo.hear(11, accept(2, 11, 8));
    solo.hear(12, prepare(4, 12));
    let said = solo.hear(11, prepare(6, 11));
    assert_eq!(said, [(n(11), promise(6, 11, Some(vote(2, 11, 8))))]);
}

/// One vote in each ballot: the second value of a classic one is nonsense, the first is said again.
#[test]
fn a_ballot_gets_one_vote() {
    let mut solo = acceptor();
    let first = solo.hear(11, accept(2, 11, 8));
    assert_eq!(solo.hear(11, accept(2, 11, 9)), []);
    assert_eq!(solo.hear(11, accept(2, 11, 8)), first);
    assert_eq!(solo.decree.vote(), Some(&vote(2, 11, 8)));
}

/// The same bytes of two clients are two values; one value with other bytes is the same.
#[test]
fn values_are_compared_by_identity() {
    let mut solo = acceptor();
    solo.hear(11, accept(2, 11, 8));
    let mut twin = value(9);
    twin.payload = value(8).payload;
    let ballot = ballot(2, 11);
    assert_eq!(
        solo.hear(
            11,
            Body::Accept {
                ballot,
                value: twin
            }
        ),
        []
    );
    let mut same = value(8);
    same.payload = "otherwise".into();
    let said = solo.hear(
        11,
        Body::Accept {
            ballot,
            value: same,
        },
    );
    assert_eq!(
        said[0].1,
        accepted(vote(2, 11, 8), (2, 11)),
        "the first bytes stand"
    );
}

/// Persist before you speak: promise before 1b, vote before 2b. Structural, by the outbox.
#[test]
fn nothing_is_said_before_it_is_durable() {
    for (request, record) in [
        (prepare(2, 11), Record::Promised(ballot(2, 11))),
        (
            accept(2, 11, 8),
            Record::Voted {
                vote: vote(2, 11, 8),
                promised: ballot(2, 11),
            },
        ),
    ] {
        let mut solo = acceptor();
        let envelope = solo.envelope(11, request);
        solo.decree.step(solo.now, envelope);
        let Some(Output::Persist(write, records)) = solo.decree.poll() else {
            panic!("the write comes first");
        };
        assert_eq!(records.into_iter().collect::<Vec<_>>(), [record]);
        assert_eq!(solo.decree.poll(), None, "the answer waits for the disk");
        solo.decree.persisted(solo.now, write);
        assert!(matches!(solo.decree.poll(), Some(Output::Send(_))));
    }
}

/// After a restart an acceptor knows its promise and its vote.
#[test]
fn promise_and_vote_outlive_a_crash() {
    let mut solo = acceptor();
    solo.hear(11, accept(2, 11, 8));
    solo.hear(12, prepare(4, 12));
    solo.restart();
    assert_eq!(solo.decree.promised(), Some(ballot(4, 12)));
    assert_eq!(
        solo.hear(11, prepare(4, 11)),
        [(n(11), refused((4, 11), (4, 12)))]
    );
    let said = solo.hear(12, prepare(4, 12));
    assert_eq!(said, [(n(12), promise(4, 12, Some(vote(2, 11, 8))))]);
}

/// Once a value is known to be chosen, whoever asks for anything is told.
#[test]
fn late_proposers_are_told_what_was_chosen() {
    let mut solo = acceptor();
    solo.hear(11, Body::Chosen { value: value(8) });
    for request in [prepare(6, 12), accept(6, 12, 5), Body::Ask] {
        let told = Body::Chosen { value: value(8) };
        assert_eq!(solo.hear(12, request), [(n(12), told)]);
    }
    solo.restart();
    assert_eq!(solo.decree.chosen(), Some(&value(8)));
}

/// A ballot is its proposer's: nobody else asks in it, and only proposers ask.
#[test]
fn nonsense_is_dropped_and_counted() {
    let mut solo = acceptor();
    solo.hear(3, Body::Ask);
    solo.drops(12, prepare(2, 11));
    solo.drops(12, accept(2, 11, 8));
    solo.drops(3, prepare(2, 3));
    let beyond = Ballot::LAST_ROUND + 2;
    solo.drops(11, prepare(beyond, 11));
    solo.drops(11, accept(beyond, 11, 8));
    solo.drops(11, accepted(vote(2, 11, 8), (2, 11)));
    solo.drops(11, prepare(0, 0));
    let any = |round| Body::Any {
        ballot: ballot(round, 11),
    };
    solo.drops(11, any(2));
    // Votes lie below the promises that report them, nacks name more than what they refuse.
    solo.drops(3, promise(2, 1, Some(vote(2, 11, 8))));
    solo.drops(3, refused((4, 11), (2, 11)));
    // This node has opened no ballot, and learns from acceptors only.
    solo.drops(3, promise(2, 11, None));
    solo.drops(12, Body::Complete);
    let mut long = value(8);
    long.payload = vec![0; (1 << 20) + 1].into();
    solo.drops(11, Body::Propose { value: long });
    // Strangers to the decree, and old links.
    solo.drops(17, prepare(2, 17));
    let mut envelope = solo.envelope(11, prepare(2, 11));
    envelope.link = synod_core::LinkId(0);
    let dropped = solo.decree.dropped();
    solo.decree.step(solo.now, envelope);
    assert_eq!(solo.decree.dropped(), dropped + 1);
    assert_eq!(solo.drain(), []);
}

/// The last rounds are taken, and nothing overflows behind them.
#[test]
fn the_last_round_is_no_panic() {
    let mut solo = acceptor();
    let last = Ballot::LAST_ROUND;
    solo.hear(11, prepare(last, 11));
    let said = solo.hear(11, accept(last, 11, 8));
    assert_eq!(said[0].1, accepted(vote(last, 11, 8), (last, 11)));
}
