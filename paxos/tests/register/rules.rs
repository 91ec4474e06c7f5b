//! One test for each rule.

use synod_core::{Machine, NodeId};
use synod_paxos::register::{
    Accept, Before, Body, Change, Command, Condition, Decision, Event, Held, Key, Nack, Phase,
    Refusal, Rejection, State, Version,
};
use synod_quorum::{PaxosPhases, Quorum};

use crate::hand::{Hand, ballot, config, write};

const ABC: &[u64] = &[1, 2, 3];

fn key() -> Key {
    Key::Data("k".into())
}

fn prepare(round: u64, proposer: u64) -> Body {
    Body::Prepare {
        key: key(),
        ballot: ballot(round, proposer),
        asked: 0,
    }
}

fn accept(round: u64, proposer: u64, next: u64, value: &'static str) -> Body {
    Body::Accept(Box::new(Accept {
        key: key(),
        ballot: ballot(round, proposer),
        state: State {
            version: ballot(round, proposer),
            before: Before::Nothing(ballot(0, 0)),
            value: Some(value.into()),
        },
        next: ballot(next, proposer),
    }))
}

fn is_accept(body: &Body) -> bool {
    matches!(body, Body::Accept(_))
}

fn is_prepare(body: &Body) -> bool {
    matches!(body, Body::Prepare { .. })
}

// The acceptor.

#[test]
fn an_acceptor_promises_what_is_above_all_it_knows() {
    let mut hand = Hand::new(ABC);
    let promised = |answers: &[Body]| matches!(answers, [Body::Promised { .. }]);
    assert!(promised(&hand.forge(2, 1, prepare(4, 2))));
    assert!(
        promised(&hand.forge(2, 1, prepare(4, 2))),
        "an answer can get lost"
    );
    let nack = |above| {
        move |answers: &[Body]| {
            matches!(answers, [Body::Refused { phase: Phase::One, why: Nack::Promised(it), .. }]
                if *it == above)
        }
    };
    assert!(nack(ballot(4, 2))(&hand.forge(3, 1, prepare(2, 3))));
    assert!(matches!(
        &hand.forge(2, 1, accept(4, 2, 8, "a"))[..],
        [Body::Accepted { .. }]
    ));
    assert!(
        nack(ballot(8, 2))(&hand.forge(3, 1, prepare(6, 3))),
        "next is promised"
    );
    assert!(
        nack(ballot(8, 2))(&hand.forge(2, 1, prepare(4, 2))),
        "not at what it has accepted"
    );
    assert!(
        promised(&hand.forge(2, 1, prepare(8, 2))),
        "its owner may prepare it"
    );
    assert!(promised(&hand.forge(3, 1, prepare(8, 3))));
}

#[test]
fn an_acceptor_accepts_what_it_has_not_promised_away() {
    let mut hand = Hand::new(ABC);
    let accepted = |answers: &[Body]| matches!(answers, [Body::Accepted { .. }]);
    hand.forge(3, 1, prepare(6, 3));
    let answers = hand.forge(2, 1, accept(4, 2, 8, "a"));
    let [
        Body::Refused {
            phase: Phase::Two,
            why: Nack::Promised(above),
            ..
        },
    ] = &answers[..]
    else {
        panic!("{answers:?}");
    };
    assert_eq!(*above, ballot(6, 3));
    assert!(accepted(&hand.forge(3, 1, accept(6, 3, 10, "b"))));
    assert!(
        accepted(&hand.forge(3, 1, accept(6, 3, 10, "b"))),
        "an answer can get lost"
    );
    assert!(
        hand.forge(3, 1, accept(6, 3, 10, "c")).is_empty(),
        "one ballot, one proposal"
    );
    assert!(
        !accepted(&hand.forge(2, 1, accept(8, 2, 12, "d"))),
        "10 is promised"
    );
    assert!(
        accepted(&hand.forge(2, 1, accept(12, 2, 14, "e"))),
        "without phase 1, if it is above"
    );
}

#[test]
fn nothing_is_answered_before_it_is_durable() {
    let mut hand = Hand::new(ABC);
    hand.held.push(1);
    assert!(hand.forge(2, 1, prepare(4, 2)).is_empty());
    hand.held.push(2);
    assert!(hand.forge(3, 2, accept(4, 3, 6, "a")).is_empty());
    // Nor does a proposer count its own acceptor before.
    let ticket = hand.write(3, "own", "x");
    hand.held.push(3);
    hand.settle_among(&[3]);
    assert!(hand.outcome(3, ticket).is_none());
}

// Round trips.

#[test]
fn the_first_change_takes_two_round_trips_and_the_next_one() {
    let mut hand = Hand::new(ABC);
    // Nodes get to know each other, and rounds are reserved.
    hand.write(1, "other", "x");
    hand.settle();
    (hand.sent, hand.written) = (0, 0);
    let ticket = hand.write(1, "k", "a");
    assert_eq!(hand.settle(), 4, "delays");
    assert_eq!(hand.value(1, ticket).as_deref(), Some("a"));
    let (sent, written) = (hand.sent, hand.written);
    assert_eq!((sent, written), (8, 6), "messages and records");
    hand.write(1, "k", "b");
    assert_eq!(hand.settle(), 2, "delays");
    assert_eq!((hand.sent - sent, hand.written - written), (4, 3));
    // A conditional one, and one computed by the application, take no more.
    let ticket = hand.change(1, "k", write("c", Condition::Value("b".into())));
    assert_eq!(hand.settle(), 2);
    assert_eq!(hand.value(1, ticket).as_deref(), Some("c"));
}

#[test]
fn a_read_of_a_stable_proposer_takes_one_round_trip_and_no_write() {
    let mut hand = Hand::new(ABC);
    hand.write(1, "k", "a");
    hand.settle();
    for _ in 0..3 {
        let (sent, written) = (hand.sent, hand.written);
        let ticket = hand.read(1, "k");
        assert_eq!(hand.settle(), 2);
        assert_eq!(hand.value(1, ticket).as_deref(), Some("a"));
        assert_eq!((hand.sent - sent, hand.written - written), (4, 0));
    }
    hand.write(1, "k", "b");
    assert_eq!(
        hand.settle(),
        2,
        "and the next change is as quick as before"
    );
}

#[test]
fn a_read_of_another_takes_one_round_trip_if_a_quorum_agrees() {
    let mut hand = Hand::new(ABC);
    hand.write(1, "k", "a");
    hand.settle();
    let ticket = hand.read(2, "k");
    // Its own round is behind that of the first: a conflict tells it.
    hand.pass(50);
    assert_eq!(hand.value(2, ticket).as_deref(), Some("a"));
    let ticket = hand.read(3, "k");
    hand.pass(50);
    assert_eq!(hand.value(3, ticket).as_deref(), Some("a"));
    let ballots = hand.nodes.values().map(|node| {
        let register = &node.storage().registers[&key()];
        register.vote.as_ref().unwrap().ballot
    });
    let ballots: Vec<_> = ballots.collect();
    assert!(
        ballots.iter().all(|it| it.proposer == NodeId(1)),
        "no read has proposed anything"
    );
}

/// Those who accept in a flexible system need not be a quorum of phase 1.
#[test]
fn a_next_ballot_counts_only_once_a_phase_1_quorum_has_promised_it() {
    let nodes = || (1..=4).map(NodeId);
    let phases = PaxosPhases::new(
        &Quorum::count(3, nodes()).unwrap(),
        &Quorum::count(2, nodes()).unwrap(),
    );
    let phases = phases.unwrap();
    let ids = &[1, 2, 3, 4];
    let mut hand = Hand::with(ids, |id| config(id, &[]).quorums(phases.clone()));
    hand.write(1, "k", "a");
    hand.deliver(|it| is_prepare(&it.message.body));
    hand.deliver(|_| true);
    // Only one other accepts.
    hand.deliver(|it| it.to == NodeId(2));
    hand.mail.retain(|it| it.from == NodeId(2));
    hand.settle();
    hand.write(1, "k", "b");
    assert!(
        hand.mail.iter().all(|it| is_prepare(&it.message.body)),
        "phase 1 is not done"
    );
    hand.settle();
    // All have accepted by now, late ones included.
    hand.write(1, "k", "c");
    assert!(
        hand.mail.iter().all(|it| is_accept(&it.message.body)),
        "phase 1 is done"
    );
}

// Outcomes.

/// An accept whose answers are lost burns its ballot: the next change begins with phase 1.
#[test]
fn an_unknown_outcome_burns_the_ballot_and_drops_the_cache() {
    let mut hand = Hand::new(ABC);
    hand.write(1, "k", "a");
    hand.settle();
    let lost = hand.write(1, "k", "b");
    let burnt = hand.mail[0].message.body.clone();
    hand.mail.clear();
    hand.later(3000);
    assert_eq!(
        hand.outcome(1, lost),
        Some(&Event::Unknown { ticket: lost })
    );
    hand.mail.clear();
    hand.write(1, "k", "c");
    let (Body::Accept(burnt), Body::Prepare { ballot, .. }) = (burnt, &hand.mail[0].message.body)
    else {
        panic!("phase 1 comes first: {:?}", hand.mail);
    };
    assert!(*ballot > burnt.ballot);
}

/// A change that a minority has accepted and that nobody else has taken up is made again; one that
/// was taken up is not.
#[test]
fn a_change_is_made_once_whatever_becomes_of_its_proposals() {
    for taken_up in [false, true] {
        let mut hand = Hand::new(ABC);
        hand.write(1, "k", "a");
        hand.settle();
        // Its own acceptor only accepts this.
        let ticket = hand.change(1, "k", write("b", Condition::Value("a".into())));
        hand.mail.clear();
        // Another reads, with it or without it.
        let read = hand.read(2, "k");
        let friends: &[u64] = if taken_up { &[1, 2] } else { &[2, 3] };
        for _ in 0..6 {
            hand.settle_among(friends);
            hand.later(20);
        }
        hand.settle_among(friends);
        let seen = if taken_up { "b" } else { "a" };
        assert_eq!(hand.value(2, read).as_deref(), Some(seen));
        hand.pass(500);
        assert_eq!(
            hand.value(1, ticket).as_deref(),
            Some("b"),
            "taken up: {taken_up}"
        );
    }
}

/// CASSANDRA-12126: a read that finds nothing must keep a minority's value from turning up later,
/// or else a later read would see what an earlier one did not.
#[test]
fn a_read_that_finds_nothing_fences_the_minority() {
    let mut hand = Hand::new(ABC);
    let ticket = hand.write(1, "k", "a");
    hand.deliver(|it| is_prepare(&it.message.body));
    hand.deliver(|_| true);
    // Nobody else gets the proposal, and the proposer is cut off.
    hand.mail.clear();
    let read = hand.read(2, "k");
    for _ in 0..5 {
        hand.settle_among(&[2, 3]);
        hand.later(20);
    }
    hand.settle_among(&[2, 3]);
    assert_eq!(hand.value(2, read), None);
    // The minority answers this one.
    let read = hand.read(3, "k");
    for _ in 0..5 {
        hand.settle_among(&[1, 3]);
        hand.later(20);
    }
    hand.settle_among(&[1, 3]);
    let late = hand.value(3, read);
    // The write is still under way, so it may happen, but after the first read, as a change of its own.
    let version = hand.nodes[&3].storage().registers[&key()]
        .vote
        .clone()
        .unwrap();
    assert!(
        late.is_none() || version.state.version > ballot(4, 2),
        "{late:?} {version:?}"
    );
    hand.pass(3000);
    assert!(hand.outcome(1, ticket).is_some());
}

/// The schedule of seed 386: a promise that answers an earlier read of the same cached ballot comes
/// late, and counts for nothing.
#[test]
fn a_late_promise_confirms_no_later_read() {
    let mut hand = Hand::new(ABC);
    hand.write(3, "k", "a");
    hand.settle();
    hand.read(3, "k");
    hand.deliver(|it| is_prepare(&it.message.body));
    // Two answers; one is kept back.
    let late = hand.mail.pop().unwrap();
    hand.settle();
    // Others go on without this node.
    hand.write(1, "k", "b");
    for _ in 0..5 {
        hand.settle_among(&[1, 2]);
        hand.later(20);
    }
    hand.settle_among(&[1, 2]);
    let read = hand.read(3, "k");
    hand.step(late);
    assert!(hand.outcome(3, read).is_none(), "nobody has confirmed it");
    hand.pass(500);
    assert_eq!(hand.value(3, read).as_deref(), Some("b"));
}

#[test]
fn conditions_are_checked_and_told() {
    let mut hand = Hand::new(ABC);
    let ticket = hand.change(1, "k", write("a", Condition::Present));
    hand.pass(20);
    let none = Refusal::Condition { current: None };
    assert_eq!(
        hand.outcome(1, ticket),
        Some(&Event::Refused { ticket, why: none })
    );
    let ticket = hand.change(1, "k", write("a", Condition::Absent));
    hand.pass(20);
    let Some(Event::Done {
        current: Some(current),
        ..
    }) = hand.outcome(1, ticket).cloned()
    else {
        panic!("it was absent");
    };
    let stale = Condition::Version(Version(ballot(1, 1)));
    let ticket = hand.change(1, "k", write("b", stale));
    hand.pass(20);
    let why = Refusal::Condition {
        current: Some(current.clone()),
    };
    assert_eq!(
        hand.outcome(1, ticket),
        Some(&Event::Refused { ticket, why })
    );
    let ticket = hand.change(1, "k", write("b", Condition::Version(current.version)));
    hand.pass(20);
    assert_eq!(hand.value(1, ticket).as_deref(), Some("b"));
}

#[test]
fn the_application_computes_and_a_late_answer_is_refused() {
    let mut hand = Hand::new(ABC);
    let ticket = hand.change(1, "k", Change::Custom);
    hand.settle();
    let asked = hand.events.iter().find_map(|(_, event)| match event {
        Event::Ask {
            ballot, current, ..
        } => Some((*ballot, current.clone())),
        _ => None,
    });
    let (asked, None) = asked.unwrap() else {
        panic!("nothing is there")
    };
    let decide = |ballot| Command::Decide {
        ticket,
        ballot,
        decision: Decision::Write("x".into()),
    };
    let refused = hand.call(1, decide(ballot(400, 1))).unwrap_err();
    let other = ballot(400, 1);
    assert_eq!(
        refused.why,
        Rejection::Late {
            ticket,
            ballot: other
        }
    );
    hand.call(1, decide(asked)).unwrap();
    hand.settle();
    assert_eq!(hand.value(1, ticket).as_deref(), Some("x"));
    assert!(hand.call(1, decide(asked)).is_err(), "once is enough");
    // Nobody answers the next one.
    let ticket = hand.change(1, "k", Change::Custom);
    hand.pass(3000);
    let why = Refusal::TimedOut;
    assert_eq!(
        hand.outcome(1, ticket),
        Some(&Event::Refused { ticket, why })
    );
}

// Deletion.

#[test]
fn a_deleted_register_leaves_every_disk_and_its_versions_go_on() {
    let mut hand = Hand::new(ABC);
    hand.write(1, "k", "a");
    hand.settle();
    let before = hand.nodes[&1].storage().registers[&key()].promised;
    let when = Condition::Always;
    let ticket = hand.change(1, "k", Change::Delete { when });
    hand.settle();
    assert_eq!(hand.value(1, ticket), None);
    hand.pass(1500);
    assert!(
        hand.events
            .iter()
            .any(|(_, event)| matches!(event, Event::Purged { .. }))
    );
    for node in hand.nodes.values() {
        assert!(node.storage().registers.is_empty(), "nothing is left");
        assert!(node.storage().floor >= before, "but what was promised is");
    }
    let ticket = hand.change(2, "k", write("b", Condition::Absent));
    hand.pass(100);
    let Some(Event::Done {
        current: Some(current),
        ..
    }) = hand.outcome(2, ticket)
    else {
        panic!("it is absent");
    };
    assert!(current.version.0 > before, "no version comes twice");
}

/// The lost delete of §3.1: a proposal from before the tombstone arrives when all is forgotten.
#[test]
fn a_late_proposal_revives_nothing() {
    let mut hand = Hand::new(ABC);
    hand.write(2, "k", "a");
    hand.settle();
    hand.write(2, "k", "late");
    let late = std::mem::take(&mut hand.mail);
    let when = Condition::Always;
    hand.change(1, "k", Change::Delete { when });
    hand.pass(5000);
    assert!(
        hand.nodes
            .values()
            .all(|node| node.storage().registers.is_empty())
    );
    for envelope in late {
        hand.step(envelope);
    }
    hand.mail.clear();
    let read = hand.read(3, "k");
    hand.pass(500);
    assert_eq!(hand.value(3, read), None);
}

/// The paper's example of §3.1: as long as one acceptor has not heard of the tombstone, the others
/// keep it.
#[test]
fn a_tombstone_stays_until_every_acceptor_has_it() {
    let mut hand = Hand::new(ABC);
    hand.write(1, "k", "a");
    hand.settle();
    let when = Condition::Always;
    hand.change(1, "k", Change::Delete { when });
    for _ in 0..100 {
        hand.settle_among(&[1, 2]);
        hand.later(50);
    }
    for id in [1, 2] {
        let register = &hand.nodes[&id].storage().registers[&key()];
        assert!(
            register.vote.as_ref().unwrap().state.value.is_none(),
            "n{id}"
        );
    }
    hand.pass(8000);
    assert!(
        hand.nodes
            .values()
            .all(|node| node.storage().registers.is_empty())
    );
}

#[test]
fn a_purge_goes_on_after_a_crash() {
    let mut hand = Hand::new(ABC);
    hand.write(1, "k", "a");
    let when = Condition::Always;
    hand.change(1, "k", Change::Delete { when });
    hand.settle();
    hand.start(1, config(1, ABC).seed(100));
    hand.pass(3000);
    assert!(
        hand.nodes
            .values()
            .all(|node| node.storage().registers.is_empty())
    );
    // And when the one who did it stays away, another can be told.
    hand.write(1, "k", "a");
    hand.change(
        1,
        "k",
        Change::Delete {
            when: Condition::Always,
        },
    );
    hand.settle();
    let one = hand.nodes.remove(&1).unwrap();
    hand.call(2, Command::Collect).unwrap();
    hand.nodes.insert(1, one);
    hand.pass(3000);
    assert!(
        hand.nodes
            .values()
            .all(|node| node.storage().registers.is_empty())
    );
}

// Starts.

#[test]
fn a_later_life_uses_no_ballot_of_an_earlier_one() {
    let mut hand = Hand::new(ABC);
    hand.write(1, "k", "a");
    let used = hand.mail.iter().filter_map(|it| match &it.message.body {
        Body::Prepare { ballot, .. } => Some(*ballot),
        _ => None,
    });
    let used = used.max().unwrap();
    hand.mail.clear();
    hand.start(1, config(1, ABC).seed(9));
    hand.write(1, "k", "b");
    let Body::Prepare { ballot, .. } = &hand.mail[0].message.body else {
        panic!("nothing is cached");
    };
    assert!(*ballot > used);
}

#[test]
fn a_node_that_has_lost_its_disk_is_turned_away_and_stops() {
    let mut hand = Hand::new(ABC);
    hand.write(1, "k", "a");
    hand.settle();
    hand.disks.remove(&3);
    hand.start(3, config(3, ABC).seed(77));
    let ticket = hand.write(3, "k", "b");
    hand.pass(3000);
    assert!(
        hand.events
            .iter()
            .any(|(id, it)| *id == 1 && matches!(it, Event::Amnesia { .. }))
    );
    assert!(
        hand.events
            .iter()
            .any(|(id, it)| *id == 3 && matches!(it, Event::Stopped(_)))
    );
    assert!(!matches!(hand.outcome(3, ticket), Some(Event::Done { .. })));
    assert_eq!(hand.nodes[&3].deadline(), None);
    // The others go on.
    let ticket = hand.write(2, "k", "c");
    hand.pass(500);
    assert_eq!(hand.value(2, ticket).as_deref(), Some("c"));
}

#[test]
fn what_was_held_before_is_told_by_its_vote() {
    let mut hand = Hand::new(ABC);
    hand.write(1, "k", "a");
    hand.settle();
    let answers = hand.forge(2, 1, prepare(2000, 2));
    let [
        Body::Promised {
            held: Held::Vote(vote),
            ..
        },
    ] = &answers[..]
    else {
        panic!("{answers:?}");
    };
    assert_eq!(vote.state.value.as_deref(), Some(&b"a"[..]));
    let answers = hand.forge(2, 1, Body::List { after: None });
    let [Body::Keys(page)] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!((&page.keys[..], page.end), (&[key()][..], true));
}

/// Nodes that take turns hinder each other, but nobody is left in doubt.
#[test]
fn proposers_that_take_turns_know_what_they_have_done() {
    let mut hand = Hand::new(ABC);
    for turn in 0..12 {
        let ticket = hand.write(1 + turn % 3, "k", "x");
        hand.pass(100);
        let outcome = hand.outcome(1 + turn % 3, ticket);
        assert!(matches!(outcome, Some(Event::Done { .. })), "{outcome:?}");
    }
}

/// What everybody has refused has not happened, and is made again. A node that only proposes has no
/// acceptor of its own to tell it that its cache is stale.
#[test]
fn a_proposal_that_all_refuse_leaves_no_doubt() {
    let ids = &[1, 2, 3, 4];
    let mut hand = Hand::with(ids, |id| config(id, ABC));
    hand.write(4, "k", "a");
    hand.settle();
    for value in ["b", "c"] {
        hand.write(1, "k", value);
        hand.pass(50);
    }
    let ticket = hand.write(4, "k", "d");
    assert!(hand.mail.iter().all(|it| is_accept(&it.message.body)));
    hand.pass(500);
    assert_eq!(hand.value(4, ticket).as_deref(), Some("d"));
}

/// Nobody can tell any more whether the others have made theirs from it.
#[test]
fn a_stale_proposal_that_one_has_accepted_stays_in_doubt() {
    let mut hand = Hand::new(ABC);
    hand.write(1, "k", "a");
    hand.settle();
    // Two more versions, of which the first hears nothing.
    for (id, value) in [(2, "b"), (3, "c")] {
        hand.write(id, "k", value);
        for _ in 0..5 {
            hand.settle_among(&[2, 3]);
            hand.later(20);
        }
        hand.settle_among(&[2, 3]);
    }
    let ticket = hand.write(1, "k", "d");
    assert!(
        hand.mail.iter().any(|it| is_accept(&it.message.body)),
        "it does not know better"
    );
    hand.pass(500);
    let outcome = hand.outcome(1, ticket);
    // Its own acceptor has accepted it: others may have seen that.
    assert_eq!(outcome, Some(&Event::Unknown { ticket }));
    let ticket = hand.read(2, "k");
    hand.pass(500);
    assert_eq!(hand.value(2, ticket).as_deref(), Some("c"));
}
