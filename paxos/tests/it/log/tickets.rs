//! What becomes of proposals: each ticket is settled once, by what happened.

use bytes::Bytes;
use synod_core::{Denial, Outcome, Refusal, ReplicatedLog, Role, Ticket};
use synod_paxos::log::Body;

use super::cluster::{Cluster, i, ms, n, outcome};
use super::solo::{Solo, accept, b, votes};

/// A follower that has passed one proposal on: its life and the ticket as sent.
fn forwarded(command: &str) -> (Solo, Ticket, u64, Ticket) {
    let mut solo = Solo::new(1, 3);
    let ballot = b(2, 2);
    solo.say(2, ballot, accept(votes(1, ballot, &["first"]), 1, 1));
    solo.settle();
    solo.take();
    let ticket = solo.propose(command).unwrap();
    let sent = solo.take_to(2);
    let [Body::Propose { life, first, .. }] = &sent[..] else {
        panic!("{sent:?}")
    };
    let (life, first) = (*life, *first);
    (solo, ticket, life, first)
}

fn proposed(life: u64, first: Ticket, count: u32, outcome: Outcome) -> Body {
    Body::Proposed {
        life,
        first,
        count,
        outcome,
    }
}

#[test]
fn what_is_chosen_is_committed_with_its_index() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    let tickets: Vec<_> = (0..5)
        .flat_map(|k| [1, 2, 3].map(|at| (at, k)))
        .map(|(at, k)| (at, cluster.propose(n(at), &format!("{at}.{k}")).unwrap()))
        .collect();
    cluster.run(ms(20));
    let mut indexes = Vec::new();
    for (at, ticket) in tickets {
        let what = cluster.outcome(n(at), ticket);
        indexes.push(
            what.strip_prefix("committed i")
                .unwrap()
                .parse::<u64>()
                .unwrap(),
        );
    }
    indexes.sort_unstable();
    assert_eq!(indexes, (1..=15).collect::<Vec<_>>());
}

/// Another value was chosen in the place of this one.
#[test]
fn what_another_ballot_replaces_is_displaced() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.isolate(n(1));
    let lost: Vec<_> = (0..3)
        .map(|k| cluster.propose(n(1), &format!("lost {k}")).unwrap())
        .collect();
    cluster.run(ms(600));
    let next = cluster.leader().unwrap();
    for k in 0..3 {
        cluster.commit(next, &format!("kept {k}"));
    }
    cluster.heal();
    cluster.run(ms(500));
    for ticket in lost {
        assert_eq!(cluster.outcome(n(1), ticket), "displaced");
    }
}

/// Where another ballot chose the same bytes, nobody can tell whose they are: this one's, proposed
/// again, or another client's.
#[test]
fn equal_bytes_of_another_ballot_are_unknown() {
    let mut solo = Solo::leading(|builder| builder);
    let ticket = solo.propose("x").unwrap();
    solo.settle();
    solo.say(2, b(90, 2), accept(votes(1, b(90, 2), &["x"]), 1, 1));
    solo.settle();
    assert_eq!(solo.handed(), ["x"]);
    assert_eq!(outcome(&solo.events, ticket), "unknown");
}

/// The same with other bytes; and with nothing, as a gap is filled.
#[test]
fn other_bytes_of_another_ballot_displace() {
    for other in ["y", ""] {
        let mut solo = Solo::leading(|builder| builder);
        let ticket = solo.propose("x").unwrap();
        solo.settle();
        solo.say(2, b(90, 2), accept(votes(1, b(90, 2), &[other]), 1, 1));
        solo.settle();
        assert_eq!(outcome(&solo.events, ticket), "displaced");
    }
}

/// A leader that regains its place with a higher ballot proposes its own entries again: under the
/// new mark, so all that can be said is that the bytes are the same.
#[test]
fn a_leader_that_recovers_its_own_proposals_does_not_lose_them() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.isolate(n(1));
    let ticket = cluster.propose(n(1), "x").unwrap();
    cluster.run(ms(300));
    // The two others hear neither each other nor node 1: nobody leads, and then all can again.
    cluster.part(n(2), n(3));
    cluster.heal();
    cluster.run(ms(1000));
    let what = cluster.outcome(n(1), ticket);
    let chosen = cluster.commands(n(1)).contains(&"x".into());
    assert!(
        if chosen {
            what != "displaced"
        } else {
            !what.is_empty()
        },
        "{what:?}, {chosen}"
    );
}

/// A slot that no later leader has heard of may stay empty for ever: its proposal does not wait for
/// that.
#[test]
fn a_proposal_in_a_slot_that_nobody_fills_becomes_unknown() {
    let mut solo = Solo::leading(|builder| builder.forward_timeout(ms(500)));
    let ticket = solo.propose("x").unwrap();
    solo.settle();
    solo.say(2, b(90, 2), accept(votes(1, b(90, 2), &[]), 0, 1));
    solo.settle();
    for _ in 0..9 {
        solo.wait(ms(50));
        solo.say(2, b(90, 2), accept(votes(1, b(90, 2), &[]), 0, 1));
    }
    assert_eq!(outcome(&solo.events, ticket), "");
    solo.wait(ms(100));
    assert_eq!(outcome(&solo.events, ticket), "unknown");
    solo.say(2, b(90, 2), accept(votes(1, b(90, 2), &["y"]), 1, 1));
    solo.settle();
    assert_eq!(outcome(&solo.events, ticket), "unknown", "once");
}

/// A snapshot that covers the slot tells nothing of who is in it.
#[test]
fn a_proposal_below_a_snapshot_becomes_unknown() {
    let mut cluster = Cluster::with(3, |builder| builder.retained_entries(0));
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.isolate(n(1));
    let lost = cluster.propose(n(1), "lost").unwrap();
    cluster.run(ms(600));
    let next = cluster.leader().unwrap();
    for k in 0..10 {
        cluster.commit(next, &k.to_string());
    }
    cluster.run(ms(10));
    for id in [n(2), n(3)] {
        cluster.snapshot(id, i(10), b"ten");
    }
    cluster.heal();
    cluster.run(ms(800));
    assert_eq!(cluster.status(n(1)).snapshot, i(10));
    assert_eq!(cluster.outcome(n(1), lost), "unknown");
}

// Through a follower.

#[test]
fn a_forwarded_proposal_is_settled_by_its_slot() {
    let ballot = b(2, 2);
    let (mut solo, ticket, life, first) = forwarded("x");
    solo.say(2, ballot, proposed(life, first, 1, Outcome::Accepted(i(2))));
    solo.say(2, ballot, accept(votes(2, ballot, &["x"]), 2, 1));
    solo.settle();
    assert_eq!(outcome(&solo.events, ticket), "committed i2");

    let (mut solo, ticket, life, first) = forwarded("x");
    solo.say(2, ballot, proposed(life, first, 1, Outcome::Accepted(i(2))));
    solo.say(3, b(4, 3), accept(votes(2, b(4, 3), &["y"]), 2, 2));
    solo.settle();
    let what = outcome(&solo.events, ticket);
    assert_eq!(what, "unknown", "its bytes are not known here: {what}");

    // The answer comes after the entry.
    let (mut solo, ticket, life, first) = forwarded("x");
    solo.say(2, ballot, accept(votes(2, ballot, &["x"]), 2, 1));
    solo.settle();
    solo.say(2, ballot, proposed(life, first, 1, Outcome::Accepted(i(2))));
    assert_eq!(outcome(&solo.events, ticket), "unknown");
}

#[test]
fn a_leaders_refusal_names_value_and_limit() {
    let busy = Denial::Busy { limit: 9 };
    let large = Denial::TooLarge { len: 10, limit: 9 };
    for (denial, text) in [
        (Denial::NotLeader, "refused: this node is not the leader"),
        (
            busy,
            "refused: the leader's uncommitted proposals would exceed the limit of 9",
        ),
        (large, "refused: the command has 10 bytes, the limit is 9"),
    ] {
        let (mut solo, ticket, life, first) = forwarded("x");
        solo.say(
            2,
            b(2, 2),
            proposed(life, first, 1, Outcome::Refused(denial)),
        );
        let what = outcome(&solo.events, ticket);
        assert!(
            what == text || denial == busy && what.ends_with("limit of 9"),
            "{what}"
        );
    }
}

#[test]
fn what_was_forwarded_ends_with_the_leader() {
    let (mut solo, ticket, ..) = forwarded("x");
    solo.say(3, b(4, 3), accept(votes(2, b(4, 3), &[]), 1, 2));
    assert_eq!(
        outcome(&solo.events, ticket),
        "unknown",
        "it may have happened"
    );

    let (mut solo, ticket, ..) = forwarded("x");
    synod_core::Machine::link(&mut solo.log, solo.now, n(2), synod_core::Link::Down);
    solo.pump();
    assert_eq!(outcome(&solo.events, ticket), "unknown");

    let (mut solo, ticket, ..) = forwarded("x");
    for _ in 0..25 {
        solo.say(2, b(2, 2), accept(votes(2, b(2, 2), &[]), 1, 1));
        solo.wait(ms(100));
    }
    assert_eq!(
        outcome(&solo.events, ticket),
        "unknown",
        "no answer in two seconds"
    );
}

#[test]
fn answers_to_others_settle_nothing() {
    let (mut solo, ticket, life, first) = forwarded("x");
    let ballot = b(2, 2);
    solo.say(2, ballot, proposed(life + 1, first, 1, Outcome::Unknown));
    solo.say(
        2,
        ballot,
        proposed(life, Ticket(first.0 + 1), 1, Outcome::Unknown),
    );
    solo.say(2, ballot, proposed(life, first, 7, Outcome::Unknown));
    assert_eq!(outcome(&solo.events, ticket), "");
    solo.say(2, ballot, proposed(life, first, 1, Outcome::Unknown));
    assert_eq!(outcome(&solo.events, ticket), "unknown");
}

/// A message that comes twice makes one entry.
#[test]
fn a_forwarded_command_is_taken_on_once() {
    let mut solo = Solo::leading(|builder| builder);
    let ballot = solo.ballot();
    let propose = |life, first| Body::Propose {
        life,
        first: Ticket(first),
        commands: vec![Bytes::from_static(b"x"), Bytes::from_static(b"y")],
    };
    let answer = |life, first, outcome| proposed(life, Ticket(first), 2, outcome);
    solo.say(2, ballot, propose(5, 1));
    assert!(
        solo.take_to(2)
            .contains(&answer(5, 1, Outcome::Accepted(i(1))))
    );
    solo.say(2, ballot, propose(5, 1));
    assert!(
        solo.take_to(2).contains(&answer(5, 1, Outcome::Unknown)),
        "again"
    );
    solo.say(2, ballot, propose(5, 3));
    assert!(
        solo.take_to(2)
            .contains(&answer(5, 3, Outcome::Accepted(i(3))))
    );
    solo.say(2, ballot, propose(5, 1));
    assert!(
        solo.take_to(2).contains(&answer(5, 1, Outcome::Unknown)),
        "late"
    );
    solo.say(2, ballot, propose(6, 1));
    assert!(
        solo.take_to(2)
            .contains(&answer(6, 1, Outcome::Accepted(i(5)))),
        "another life"
    );
    solo.say(9, ballot, propose(6, 1));
    let refused = Outcome::Refused(Denial::NotLeader);
    assert!(
        solo.take_to(9).contains(&answer(6, 1, refused)),
        "no member"
    );
    assert_eq!(solo.status().last, i(6));
}

/// Who does not lead says so; who may have taken it on in a ballot that is over does not know.
#[test]
fn proposals_are_taken_on_in_the_ballot_they_are_meant_for() {
    let propose = Body::Propose {
        life: 5,
        first: Ticket(1),
        commands: vec![Bytes::from_static(b"x")],
    };
    let answer = |outcome| vec![proposed(5, Ticket(1), 1, outcome)];
    let mut solo = Solo::new(1, 3);
    solo.say(3, b(2, 3), accept(votes(1, b(2, 3), &[]), 0, 1));
    solo.settle();
    solo.take();
    solo.say(2, b(2, 3), propose.clone());
    assert_eq!(solo.take_to(2), answer(Outcome::Refused(Denial::NotLeader)));
    let mut solo = Solo::leading(|builder| builder);
    let old = solo.ballot();
    solo.say(3, b(90, 3), accept(votes(1, b(90, 3), &[]), 0, 1));
    solo.settle();
    solo.take();
    solo.say(2, old, propose);
    assert_eq!(solo.take_to(2), answer(Outcome::Unknown));
    assert_eq!(solo.status().role, Role::Follower);
}

#[test]
fn a_node_that_does_not_forward_names_the_leader() {
    let mut cluster = Cluster::with(3, |builder| builder.forward_proposals(false));
    let refused = cluster.propose(n(2), "x").unwrap_err();
    assert_eq!((refused.refusal, refused.leader), (Refusal::NoLeader, None));
    cluster.led_by(n(1));
    let refused = cluster.propose(n(2), "x").unwrap_err();
    assert_eq!(
        (refused.refusal, refused.leader),
        (Refusal::NotLeader, Some(n(1)))
    );
    assert_eq!(refused.command.unwrap(), "x", "handed back");
}

/// A crash of everybody at once: what was acknowledged is there, each entry once.
#[test]
fn what_is_committed_survives_all() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    for k in 0..10 {
        cluster.commit(n(1), &k.to_string());
    }
    for id in cluster.ids() {
        cluster.crash(id);
    }
    for id in cluster.ids() {
        cluster.restart(id);
    }
    let leader = cluster.elect();
    cluster.commit(leader, "after");
    cluster.run(ms(200));
    for id in cluster.ids() {
        let expected: Vec<_> = (0..10)
            .map(|k| k.to_string())
            .chain(["after".into()])
            .collect();
        assert_eq!(cluster.commands(id), expected, "{id}");
    }
    assert!(cluster.log(leader).describe(i(11)).is_some());
}
