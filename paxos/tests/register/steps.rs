//! Steps of the configuration.

use synod_core::NodeId;
use synod_paxos::register::Change;
use synod_paxos::register::planted::Bug;
use synod_paxos::register::{
    Accept, Before, Body, Command, Condition, Configuration, Event, Key, Refusal, Rejection, State,
    Step, StepError,
};
use synod_quorum::{PaxosPhases, Quorum};

use crate::hand::{Hand, ballot, config};

fn majority(ids: &[u64]) -> PaxosPhases {
    PaxosPhases::majority(ids.iter().map(|id| NodeId(*id))).unwrap()
}

fn founded(ids: &[u64]) -> Configuration {
    Configuration::founding(majority(ids))
}

/// The steps from one to the other.
fn way(mut from: Configuration, to: &PaxosPhases) -> Vec<&'static str> {
    let mut steps = Vec::new();
    while let Some(step) = from.toward(to).unwrap() {
        steps.push(match &step {
            Step::Settle => "settle",
            Step::Phases(phases) if phases == to => "there",
            Step::Phases(_) => "between",
        });
        from = from.step(&step).unwrap();
        assert!(steps.len() < 9, "{steps:?}");
    }
    assert_eq!(from.phases(), to);
    assert!(from.unsettled().is_empty());
    steps
}

#[test]
fn odd_to_even_goes_by_a_rescan_and_even_to_odd_does_not() {
    let long = ["between", "settle", "there", "settle"];
    // Three of four meet two of three: there is no need of a step between (§2.3.1 takes one, because
    // old and new proposers are at work at the same time).
    assert_eq!(
        way(founded(&[1, 2, 3]), &majority(&[1, 2, 3, 4])),
        ["there", "settle"]
    );
    assert_eq!(
        way(founded(&[1, 2, 3, 4]), &majority(&[1, 2, 3, 4, 5])),
        ["there", "settle"]
    );
    assert_eq!(
        way(founded(&[1, 2, 3, 4]), &majority(&[1, 2, 3])),
        ["there", "settle"]
    );
    // A replacement, and two nodes at once.
    assert_eq!(way(founded(&[1, 2, 3]), &majority(&[1, 2, 4])), long);
    assert_eq!(way(founded(&[1, 2, 3]), &majority(&[4, 5, 6])), long);
    assert_eq!(way(founded(&[1]), &majority(&[1, 2, 3])), long);
    assert_eq!(way(founded(&[1]), &majority(&[1, 2])), ["there", "settle"]);
    assert_eq!(way(founded(&[1, 2, 3]), &majority(&[1])), long);
}

/// §2.3.2: "it's possible to sequentially replace every acceptor with an empty acceptor, lose all
/// data".
#[test]
fn steps_that_lose_what_was_chosen_are_refused() {
    let three = founded(&[1, 2, 3]);
    let refused = three.step(&Step::Phases(majority(&[1, 2, 4]))).unwrap_err();
    let text = "what was chosen would be lost: phase-1 quorum {n1, n4} and phase-2 quorum {n2, n3} \
                have no node in common";
    assert_eq!(refused.to_string(), text);
    // Step by step without a rescan is no better: what was chosen may still rest on two of three.
    let four = three.step(&Step::Phases(majority(&[1, 2, 3, 4]))).unwrap();
    let refused = four.step(&Step::Phases(majority(&[2, 3, 4]))).unwrap_err();
    assert!(matches!(refused, StepError::Loses(_)), "{refused}");
    let settled = four.step(&Step::Settle).unwrap();
    assert!(settled.step(&Step::Phases(majority(&[2, 3, 4]))).is_ok());
}

#[test]
fn a_node_comes_back_only_when_nothing_rests_on_what_it_held() {
    let four = founded(&[1, 2, 3, 4]);
    let three = four.step(&Step::Phases(majority(&[1, 2, 3]))).unwrap();
    let refused = three
        .step(&Step::Phases(majority(&[1, 2, 3, 4])))
        .unwrap_err();
    assert_eq!(refused, StepError::TooEarly { node: NodeId(4) });
    let settled = three.step(&Step::Settle).unwrap();
    let back = settled
        .step(&Step::Phases(majority(&[1, 2, 3, 4])))
        .unwrap();
    assert_eq!(
        (back.member_since(NodeId(4)), back.member_since(NodeId(1))),
        (Some(3), Some(0))
    );
    assert_eq!(
        founded(&[1]).step(&Step::Settle).unwrap_err(),
        StepError::Nothing
    );
}

const FIVE: &[u64] = &[1, 2, 3, 4, 5];

/// Three acceptors and two that wait.
fn cluster() -> Hand {
    Hand::with(FIVE, |id| {
        let founders: &[u64] = if id <= 3 { &[1, 2, 3] } else { &[] };
        config(id, founders)
    })
}

/// Goes all the way.
fn walk(hand: &mut Hand, at: u64, to: &[u64]) {
    let target = majority(to);
    for _ in 0..8 {
        let configuration = hand.nodes[&at].configuration().unwrap();
        let Some(step) = configuration.toward(&target).unwrap() else {
            return;
        };
        let ticket = hand.call(at, Command::Configure(step)).unwrap().unwrap();
        hand.pass(300);
        let outcome = hand.outcome(at, ticket);
        assert!(
            matches!(outcome, Some(Event::Stepped { .. })),
            "{outcome:?}"
        );
    }
    panic!("the way to {to:?} has no end");
}

#[test]
fn every_acceptor_is_replaced_and_nothing_is_lost() {
    let mut hand = cluster();
    for key in ["a", "b", "c"] {
        hand.write(1, key, "kept");
        hand.settle();
    }
    assert_eq!(
        hand.call(4, Command::Collect).unwrap_err().why,
        Rejection::NoConfiguration
    );
    walk(&mut hand, 1, &[1, 2, 4]);
    walk(&mut hand, 1, &[1, 4, 5]);
    walk(&mut hand, 4, &[4, 5]);
    for id in [1, 2, 3] {
        assert!(
            hand.nodes[&id].storage().registers.is_empty(),
            "n{id} is no acceptor any more"
        );
    }
    assert!(
        hand.events
            .iter()
            .any(|(_, it)| matches!(it, Event::Settling { registers: 4, .. }))
    );
    for (id, key) in [(4, "a"), (5, "b"), (1, "c")] {
        let read = hand.read(id, key);
        hand.pass(200);
        assert_eq!(hand.value(id, read).as_deref(), Some("kept"));
    }
}

/// A page is 64 registers: more are listed page by page.
#[test]
fn a_rescan_reaches_every_page() {
    let mut hand = cluster();
    let names: Vec<String> = (0..200).map(|place| format!("k{place:03}")).collect();
    for name in &names {
        let change = crate::hand::write("v", Condition::Always);
        let key = name.clone().into();
        hand.call(1, Command::Change { key, change }).unwrap();
        hand.settle();
    }
    walk(&mut hand, 2, &[1, 2, 3, 4]);
    let settled = hand.events.iter().filter_map(|(_, it)| match it {
        Event::Settling { registers, .. } => Some(*registers),
        _ => None,
    });
    assert_eq!(settled.collect::<Vec<_>>(), [64, 128, 192, 201]);
}

/// What a node held before it left is gone when it comes back: it may have been purged meanwhile.
#[test]
fn a_node_that_comes_back_is_empty() {
    let mut hand = cluster();
    hand.write(1, "k", "old");
    hand.settle();
    // The third does not hear of anything.
    let lost = hand.nodes.remove(&3).unwrap();
    let all = |hand: &mut Hand, to: &[u64]| walk(hand, 1, to);
    all(&mut hand, &[1, 2, 4]);
    let when = Condition::Always;
    hand.change(1, "k", Change::Delete { when });
    hand.pass(3000);
    assert!(
        !hand.nodes[&1]
            .storage()
            .registers
            .contains_key(&Key::Data("k".into()))
    );
    all(&mut hand, &[1, 2, 3, 4]);
    hand.nodes.insert(3, lost);
    assert!(
        hand.nodes[&3]
            .storage()
            .registers
            .contains_key(&Key::Data("k".into()))
    );
    let read = hand.read(3, "k");
    hand.pass(3000);
    assert!(matches!(
        hand.outcome(3, read),
        Some(Event::Done { current: None, .. })
    ));
    // By another way as well.
    let read = hand.read(2, "k");
    hand.pass(500);
    assert_eq!(hand.value(2, read), None);
}

/// Two steps at the same time: one of them is taken, the other is told.
#[test]
fn one_of_two_steps_is_taken() {
    let mut hand = cluster();
    let step = |to: &[u64]| Command::Configure(Step::Phases(majority(to)));
    let one = hand.call(1, step(&[1, 2, 3, 4])).unwrap().unwrap();
    let two = hand.call(2, step(&[1, 2, 3, 5])).unwrap().unwrap();
    let busy = hand.call(1, step(&[1, 2, 3, 5])).unwrap_err().why;
    assert!(matches!(busy, Rejection::Busy { .. }));
    hand.pass(1000);
    let outcomes = [hand.outcome(1, one), hand.outcome(2, two)];
    let taken = outcomes
        .iter()
        .filter(|it| matches!(it, Some(Event::Stepped { .. })));
    assert_eq!(taken.count(), 1, "{outcomes:?}");
    let epochs = hand
        .nodes
        .values()
        .filter_map(|node| Some(node.configuration()?.epoch()));
    assert!(epochs.filter(|epoch| *epoch == 1).count() >= 4);
}

/// The schedule of seed 1098: a minority of the old epoch has accepted in a higher ballot than the one
/// in which a quorum of the new epoch chooses something.
#[test]
fn a_vote_of_an_earlier_epoch_does_not_undo_one_of_a_later() {
    assert_eq!(read_after_a_high_vote(None).as_deref(), Some("new"));
    let planted = read_after_a_high_vote(Some(Bug::EpochsUnordered));
    assert_eq!(
        planted.as_deref(),
        Some("old"),
        "the schedule shows the planted bug"
    );
}

fn read_after_a_high_vote(bug: Option<Bug>) -> Option<String> {
    let mut hand = Hand::with(FIVE, |id| {
        let founders: &[u64] = if id <= 3 { &[1, 2, 3] } else { &[] };
        match bug {
            Some(bug) => config(id, founders).danger_plant(bug),
            None => config(id, founders),
        }
    });
    hand.write(1, "k", "old");
    hand.settle();
    let vote = hand.nodes[&1].storage().registers[&Key::Data("k".into())]
        .vote
        .clone()
        .unwrap();
    // In epoch 0, the second acceptor alone is asked to accept the old content in a high ballot.
    let high = Body::Accept(Box::new(Accept {
        key: Key::Data("k".into()),
        ballot: ballot(2000, 3),
        state: vote.state,
        next: ballot(2002, 3),
    }));
    assert!(matches!(
        &hand.forge(3, 2, high)[..],
        [Body::Accepted { .. }]
    ));
    // A step, and a change that the others choose in a lower ballot.
    let step = Step::Phases(majority(&[1, 2, 3, 4]));
    hand.call(1, Command::Configure(step)).unwrap();
    hand.pass(100);
    assert_eq!(
        hand.nodes[&4].configuration().map(Configuration::epoch),
        Some(1)
    );
    let written = hand.write(1, "k", "new");
    for _ in 0..3 {
        hand.settle_among(&[1, 3, 4]);
        hand.later(20);
    }
    assert_eq!(hand.value(1, written).as_deref(), Some("new"));
    let chosen = hand.nodes[&1].storage().registers[&Key::Data("k".into())]
        .vote
        .clone()
        .unwrap();
    assert!(
        chosen.ballot < ballot(2000, 3),
        "below that of the minority"
    );
    // A quorum with the minority in it.
    let read = hand.read(4, "k");
    for _ in 0..20 {
        hand.settle_among(&[2, 3, 4]);
        hand.later(20);
    }
    hand.settle_among(&[2, 3, 4]);
    hand.value(4, read)
}

#[test]
fn a_state_that_cannot_be_is_dropped() {
    let mut hand = cluster();
    let before = hand.nodes[&1].dropped();
    let state = State {
        version: ballot(6, 2),
        before: Before::Nothing(ballot(0, 0)),
        value: Some("x".into()),
    };
    let accept = |ballot, next| {
        Body::Accept(Box::new(Accept {
            key: Key::Data("k".into()),
            ballot,
            state: state.clone(),
            next,
        }))
    };
    // Made after it is proposed; of somebody else; without a next ballot; in a fast round.
    for (at, next) in [
        (ballot(4, 2), ballot(8, 2)),
        (ballot(8, 3), ballot(10, 3)),
        (ballot(8, 2), ballot(8, 2)),
        (ballot(9, 2), ballot(11, 2)),
    ] {
        assert!(hand.forge(2, 1, accept(at, next)).is_empty());
    }
    assert_eq!(hand.nodes[&1].dropped() - before, 4);
}

/// A version is a fencing number: it grows over deletion, purge, and the replacement of every acceptor
/// that remembers how far it had got.
#[test]
fn versions_grow_although_nobody_is_left_who_held_the_last() {
    let mut hand = cluster();
    for _ in 0..50 {
        hand.write(1, "k", "old");
        hand.settle();
    }
    let when = Condition::Always;
    let deleted = hand.change(1, "k", Change::Delete { when });
    hand.pass(3000);
    assert!(
        hand.events
            .iter()
            .any(|(_, event)| matches!(event, Event::Purged { .. }))
    );
    let version = |hand: &Hand, id, ticket| match hand.outcome(id, ticket) {
        Some(Event::Done { made, .. }) => made.unwrap(),
        other => panic!("{other:?}"),
    };
    let last = version(&hand, 1, deleted);
    walk(&mut hand, 1, &[4, 5]);
    let written = hand.write(5, "k", "new");
    hand.pass(1000);
    let new = version(&hand, 5, written);
    assert!(new > last, "{new} is made after {last}");
}

/// What its own acceptor listed for a rescan of an earlier epoch waits for a slow disk, and in between
/// the acceptor votes for a register that is new. The list is no answer to the rescan of the next epoch:
/// the register would be forgotten with the quorum that chose it.
#[test]
fn a_list_of_an_earlier_epoch_settles_nothing() {
    let ids = |ids: &[u64]| ids.iter().map(|id| NodeId(*id)).collect::<Vec<_>>();
    let all = Quorum::count(3, ids(&[1, 2, 3])).unwrap();
    let one = Quorum::count(1, ids(&[1, 2, 3])).unwrap();
    let founders = PaxosPhases::new(&one, &all).unwrap();
    let mut hand = Hand::with(&[1, 2, 3, 4], |id| match id {
        4 => config(id, &[]),
        _ => config(id, &[]).quorums(founders.clone()),
    });
    let step = |to: &[u64]| Command::Configure(Step::Phases(majority(to)));
    hand.call(1, step(&[1, 2, 3])).unwrap();
    hand.pass(300);
    // The disk of n1 is slow: a rescan of epoch 1 has only its own list, of nothing, and that waits.
    hand.held = vec![1];
    hand.write(3, "other", "x");
    hand.settle_among(&[1, 3]);
    let aborted = hand.call(1, Command::Configure(Step::Settle)).unwrap();
    hand.mail.clear();
    // n2 has a quorum of promises without n1, and then proposes to n1 and itself only.
    let written = hand.write(2, "k", "kept");
    while hand.deliver(|it| [2, 3].contains(&it.to.0) && [2, 3].contains(&it.from.0)) > 0 {
        let accepts = |it: &synod_core::Envelope<_>| it.from.0 == 2 && it.to.0 == 1;
        if hand.nodes[&2].storage().registers[&Key::Data("k".into())]
            .vote
            .is_some()
        {
            hand.mail.retain(accepts);
        }
    }
    hand.deliver(|it| it.from.0 == 2 && it.to.0 == 1);
    // The others take a step, and n1 hears of it and begins again.
    hand.call(3, step(&[1, 2, 3, 4])).unwrap();
    while hand.deliver(|it| it.to.0 != 1 && it.from.0 != 1 && !is_news(it)) > 0 {}
    hand.deliver(|it| is_news(it) && it.to.0 != 2);
    assert_eq!(
        hand.nodes[&1].configuration().map(Configuration::epoch),
        Some(2)
    );
    assert_eq!(
        hand.nodes[&2].configuration().map(Configuration::epoch),
        Some(1)
    );
    hand.mail.clear();
    let settled = hand
        .call(1, Command::Configure(Step::Settle))
        .unwrap()
        .unwrap();
    assert!(matches!(
        hand.outcome(1, aborted.unwrap()),
        Some(Event::Refused { .. })
    ));
    hand.settle_among(&[1, 3, 4]);
    // The disk is there again: n2 hears of the vote of n1 and tells its client.
    hand.held.clear();
    hand.release(1);
    hand.deliver(|it| it.from.0 == 1 && it.to.0 == 2);
    assert_eq!(hand.value(2, written).as_deref(), Some("kept"));
    for _ in 0..50 {
        hand.settle_among(&[1, 3, 4]);
        hand.later(20);
    }
    assert!(matches!(
        hand.outcome(1, settled),
        Some(Event::Stepped { .. })
    ));
    // From here on nothing rests on n1 and n2.
    hand.pass(500);
    walk(&mut hand, 3, &[3, 4]);
    let read = hand.read(3, "k");
    hand.pass(500);
    assert_eq!(hand.value(3, read).as_deref(), Some("kept"));
}

fn is_news(envelope: &synod_core::Envelope<synod_paxos::register::Message>) -> bool {
    matches!(envelope.message.body, Body::Configuration(_))
}

/// Acceptors that have no room for what has to be chosen once more: the step ends, and can be tried
/// again when there is room.
#[test]
fn a_rescan_that_finds_no_room_is_refused() {
    let mut hand = Hand::with(&[1, 2, 3, 4], |id| {
        let founders: &[u64] = if id <= 3 { &[1, 2, 3] } else { &[] };
        let registers = if id <= 2 { 100 } else { 2 };
        config(id, founders).max_registers(registers)
    });
    for key in ["a", "b", "c", "d"] {
        hand.write(1, key, "kept");
        hand.pass(100);
    }
    let step = Step::Phases(majority(&[1, 2, 3, 4]));
    hand.call(1, Command::Configure(step)).unwrap();
    hand.pass(300);
    let settle = || Command::Configure(Step::Settle);
    let ticket = hand.call(1, settle()).unwrap().unwrap();
    hand.pass(5000);
    assert_eq!(
        hand.outcome(1, ticket),
        Some(&Event::Refused {
            ticket,
            why: Refusal::Full
        })
    );
    assert!(hand.call(1, settle()).is_ok(), "it can be tried again");
}
