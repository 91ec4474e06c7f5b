//! Fast rounds: one vote each, collisions seen at once, recovered by the rule, and what is left when
//! they cannot be.

use std::time::Duration;

use synod_core::{Decode, Encode};
use synod_paxos::Ballot;
use synod_paxos::single::{Body, Config, Event, Record, Recovery, ValueId};

use crate::cluster::{Cluster, ballot, n, nodes, value};
use crate::solo::{Solo, accepted, prepare, promise, refused, vote};

const FAST: Ballot = ballot(1, 11);

fn acceptor() -> Solo {
    let mut solo = Solo::acceptor(|b| b.fast_acceptors(nodes(1..=3)).distinguished(n(11)));
    solo.hear(11, Body::Ask);
    solo.hear(12, Body::Ask);
    solo
}

fn propose(of: u64) -> Body {
    Body::Propose { value: value(of) }
}

/// Open for the first value that comes, durable, and only for that one.
#[test]
fn an_acceptor_votes_once_in_a_fast_ballot() {
    let mut solo = acceptor();
    solo.hear(11, prepare(1, 11));
    assert_eq!(solo.hear(11, Body::Any { ballot: FAST }), []);
    let said = solo.hear(12, propose(5));
    let expected = accepted(vote(1, 11, 5), (2, 11));
    assert_eq!(said, [(n(11), expected.clone()), (n(12), expected.clone())]);
    assert_eq!(solo.hear(11, propose(8)), []);
    let again = solo.hear(11, Body::Any { ballot: FAST });
    assert_eq!(again[0].1, expected, "it says its vote again");
    assert_eq!(solo.decree.vote(), Some(&vote(1, 11, 5)));
}

/// A fast ballot so high that those in which its collisions are recovered would lie beyond the last round is
/// nonsense: whoever voted in it could not read its disk any more.
#[test]
fn the_last_ballots_are_opened_by_nobody() {
    let fast = |b: synod_paxos::single::ConfigBuilder| {
        b.fast_acceptors(nodes(1..=3))
            .distinguished(n(11))
            .recovery(Recovery::Uncoordinated)
    };
    for below in 0..8 {
        let mut solo = Solo::acceptor(fast);
        solo.hear(11, Body::Ask);
        let ballot = ballot(Ballot::LAST_ROUND - below, 11);
        solo.hear(11, Body::Any { ballot });
        solo.hear(11, propose(5));
        solo.hear(11, Body::Prepare { ballot });
        for record in &solo.disk {
            let read = Record::decode_all(record.to_bytes());
            assert_eq!(read.as_ref(), Ok(record), "{ballot}");
        }
        solo.restart();
    }
}

/// The vote may come before the promise and the value before the "any".
#[test]
fn a_value_waits_for_the_fast_ballot() {
    let mut solo = acceptor();
    assert_eq!(solo.hear(12, propose(5)), []);
    assert_eq!(solo.hear(11, propose(8)), []);
    let said = solo.hear(11, Body::Any { ballot: FAST });
    assert_eq!(
        said[0].1,
        accepted(vote(1, 11, 5), (2, 11)),
        "the first that came"
    );
}

/// Nobody votes in a fast ballot that is not open, nor below a promise.
#[test]
fn a_fast_ballot_below_the_promise_is_refused() {
    let mut solo = acceptor();
    solo.hear(12, prepare(2, 12));
    let any = Body::Any { ballot: FAST };
    assert_eq!(solo.hear(11, any), [(n(11), refused((1, 11), (2, 12)))]);
    assert_eq!(solo.hear(12, propose(5)), []);
    // Promised after it was opened: the same.
    let mut solo = acceptor();
    solo.hear(11, Body::Any { ballot: FAST });
    solo.hear(12, prepare(2, 12));
    assert_eq!(solo.hear(12, propose(5)), []);
    assert_eq!(solo.decree.vote(), None);
}

/// A restart forgets that a ballot is open: it votes for less than it might, never for more.
#[test]
fn an_open_ballot_is_forgotten_in_a_crash() {
    let mut solo = acceptor();
    solo.hear(11, prepare(1, 11));
    solo.hear(11, Body::Any { ballot: FAST });
    solo.restart();
    assert_eq!(solo.hear(12, propose(5)), []);
    let said = solo.hear(11, Body::Any { ballot: FAST });
    assert_eq!(said[0].1, accepted(vote(1, 11, 5), (2, 11)));
}

/// The vote of a fast ballot promises the coordinator's next one, so that it can stand for a
/// promise there: ballots of others lie between.
#[test]
fn a_fast_vote_promises_the_recovery() {
    let mut solo = acceptor();
    solo.hear(11, Body::Any { ballot: FAST });
    solo.hear(12, propose(5));
    assert_eq!(solo.decree.promised(), Some(ballot(2, 11)));
    // Between 1.11 and 2.11: 1.12 would be another's, and here is one that asks with round 2.
    let between = ballot(2, 5);
    assert!(FAST < between && between < ballot(2, 11));
    let said = solo.hear(11, prepare(2, 11));
    assert_eq!(said, [(n(11), promise(2, 11, Some(vote(1, 11, 5))))]);
}

fn four(recovery: Recovery) -> Cluster {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 11, 12], |builder| {
        builder
            .fast_acceptors(nodes(1..=4))
            .proposers(nodes([11, 12]))
            .learners(nodes([11, 12]))
            .distinguished(n(11))
            .recovery(recovery)
    });
    cluster.settle();
    cluster
}

/// Both propose; these acceptors hear of 11's value first, the others of 12's.
fn collide(cluster: &mut Cluster, of_11: &[u64]) {
    cluster.propose(11, value(11)).unwrap();
    cluster.propose(12, value(12)).unwrap();
    for acceptor in 1..=4 {
        let first = if of_11.contains(&acceptor) { 11 } else { 12 };
        cluster.pass_between(first, acceptor);
        cluster.pass_between(23 - first, acceptor);
    }
}

fn told(cluster: &Cluster, id: u64) -> Vec<Event> {
    let told = cluster.servers[&n(id)].events.iter();
    let about = |e: &&Event| {
        matches!(
            e,
            Event::Won(_) | Event::Lost { .. } | Event::Collided { .. }
        )
    };
    told.filter(about).cloned().collect()
}

/// Two and two of four: no third of either is left, and nobody waits for a timer. The owner of
/// the value that was not chosen is told, once.
#[test]
fn a_collision_is_seen_at_once_and_settled_once() {
    for recovery in [Recovery::Coordinated, Recovery::Uncoordinated] {
        let mut cluster = four(recovery);
        let now = cluster.now;
        collide(&mut cluster, &[1, 2]);
        cluster.settle();
        assert_eq!(cluster.now, now);
        let id = ValueId {
            client: 11,
            sequence: 1,
        };
        assert_eq!(
            cluster.decree(12).chosen().unwrap().id,
            id,
            "of equals the first by name"
        );
        let settled = |id| {
            let mut all = told(&cluster, id);
            all.retain(|event| !matches!(event, Event::Collided { .. }));
            all
        };
        let ticket = synod_core::Ticket(1);
        assert_eq!(settled(11), [Event::Won(ticket)]);
        assert_eq!(settled(12), [Event::Lost { ticket, to: id }]);
        let collided = told(&cluster, 11).len() > 1;
        assert_eq!(collided, recovery == Recovery::Coordinated);
    }
}

/// As soon as three of four are for one value it is chosen, whatever the fourth says: no recovery.
#[test]
fn one_apart_is_no_collision() {
    let mut cluster = four(Recovery::Coordinated);
    collide(&mut cluster, &[1, 3, 4]);
    cluster.settle();
    assert_eq!(cluster.decree(12).chosen(), Some(&value(11)));
    assert_eq!(told(&cluster, 11).len(), 1);
    assert_eq!(
        cluster.count_sent(|body| matches!(body, Body::Accept { .. })),
        0
    );
}

/// With two votes of four for two values and two silent, either may still be chosen: it waits, until
/// the time is over.
#[test]
fn what_may_still_be_chosen_is_waited_for() {
    let mut cluster = four(Recovery::Coordinated);
    cluster.propose(11, value(11)).unwrap();
    cluster.propose(12, value(12)).unwrap();
    cluster.pass_between(11, 1);
    cluster.pass_between(12, 2);
    cluster.lose(|e| matches!(e.message.body, Body::Propose { .. }));
    cluster.settle();
    assert_eq!(told(&cluster, 11), []);
    cluster.wake(11);
    assert!(matches!(told(&cluster, 11)[..], [Event::Collided { .. }]));
    cluster.settle();
    assert!(cluster.decree(12).chosen().is_some());
}

/// Three voted for one value, of which the coordinator hears of two and of the
/// fourth acceptor's other vote. The rule binds it.
#[test]
fn recovery_keeps_what_may_have_been_chosen() {
    let mut cluster = four(Recovery::Coordinated);
    collide(&mut cluster, &[1, 2, 3]);
    // Acceptor 3's vote reaches nobody, and 3 itself is gone.
    cluster.lose(|e| e.from == n(3));
    cluster.crash(3, 0);
    cluster.settle();
    cluster.run_until_learned(&[11, 12], Duration::from_secs(5));
    assert_eq!(cluster.decree(12).chosen(), Some(&value(11)));
    cluster.restart(3);
    cluster.settle();
    let phases = cluster.server(1).config.quorums().clone();
    assert_eq!(cluster.truth(&phases), [value(11).id]);
}

/// Fewer than a fast quorum are alive: the coordinator does not open a fast round, or gives it up as
/// soon as it knows, and a majority decides.
#[test]
fn classic_rounds_take_over_when_too_few_are_alive() {
    let mut cluster = Cluster::unlinked(&[1, 2, 3, 4, 5], |builder| {
        builder.fast_acceptors(nodes(1..=5)).distinguished(n(1))
    });
    cluster.crash(4, 0);
    cluster.crash(5, 0);
    cluster.link_all();
    cluster.settle();
    assert_eq!(cluster.sent, [], "nothing to open, nothing to propose");
    let now = cluster.now;
    cluster.propose(1, value(7)).unwrap();
    cluster.settle();
    assert_eq!(cluster.decree(3).chosen(), Some(&value(7)));
    assert_eq!(cluster.now, now, "no timer was needed");

    // The links go down in an open round.
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5], |builder| {
        builder.fast_acceptors(nodes(1..=5)).distinguished(n(1))
    });
    cluster.settle();
    cluster.propose(2, value(7)).unwrap();
    cluster.lose(|e| e.to.0 > 3);
    cluster.settle();
    assert_eq!(
        cluster.decree(1).chosen(),
        None,
        "three votes of the four that it takes"
    );
    let now = cluster.now;
    cluster.crash(4, 0);
    cluster.crash(5, 0);
    cluster.settle();
    assert_eq!(cluster.decree(3).chosen(), Some(&value(7)));
    assert_eq!(cluster.now, now);
}

/// The coordinator is dead before it has opened anything: after its patience a client's own node
/// takes the value through a classic ballot.
#[test]
fn a_dead_coordinator_is_not_waited_for_for_ever() {
    let mut cluster = Cluster::unlinked(&[1, 2, 3, 4], |builder| {
        builder.fast_acceptors(nodes(1..=4)).distinguished(n(1))
    });
    cluster.crash(1, 0);
    cluster.link_all();
    cluster.propose(2, value(7)).unwrap();
    cluster.settle();
    assert_eq!(cluster.decree(2).chosen(), None);
    let took = cluster.now;
    cluster.run_until_learned(&[2, 3, 4], Duration::from_secs(1));
    assert_eq!(
        cluster.now.since(took),
        Duration::from_millis(600),
        "its patience"
    );
}

/// A classic round that sees no votes proposes the coordinator's own value, and does not wait for
/// another client.
#[test]
fn a_round_without_votes_proposes_its_own_value() {
    let mut cluster = four(Recovery::Coordinated);
    cluster.propose(11, value(11)).unwrap();
    cluster.lose(|e| matches!(e.message.body, Body::Propose { .. }));
    cluster.wake(11);
    cluster.settle();
    assert_eq!(cluster.decree(12).chosen(), Some(&value(11)));
}

/// Nobody wants anything: an open round costs no timer.
#[test]
fn an_idle_round_has_no_deadline() {
    use synod_core::Machine;
    let cluster = four(Recovery::Coordinated);
    for id in cluster.ids() {
        assert_eq!(cluster.servers[&id].decree.deadline(), None, "{id}");
    }
}

/// The same settings everywhere are not needed for safety: each vote says itself what it promises.
#[test]
fn recovery_needs_no_agreement_about_itself() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 11, 12], |builder| {
        let mixed = builder
            .fast_acceptors(nodes(1..=4))
            .proposers(nodes([11, 12]))
            .learners(nodes([11, 12]))
            .distinguished(n(11));
        let config: Config = mixed.clone().build().unwrap();
        if config.id().0.is_multiple_of(2) {
            mixed.recovery(Recovery::Uncoordinated)
        } else {
            mixed
        }
    });
    cluster.settle();
    collide(&mut cluster, &[1, 2]);
    cluster.run_until_learned(&[11, 12], Duration::from_secs(5));
    let phases = cluster.server(1).config.quorums().clone();
    assert_eq!(cluster.truth(&phases).len(), 1);
}
