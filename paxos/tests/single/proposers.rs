//! The proposer's rules: ballots that are its own and never used again, one value for each, and what
//! it does when it is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use synod_core::{Machine, Ticket};
use synod_paxos::Ballot;
use synod_paxos::single::{Body, Config, Event, Learning, Record, Rejected, Value};
use synod_quorum::{Expr, Grid, PaxosPhases, Quorum};

use crate::cluster::{Cluster, ballot, n, nodes, value};
use crate::solo::{Solo, accept, prepare, promise, refused, vote};

fn three() -> Cluster {
    Cluster::new(&[1, 2, 3], |builder| builder.acceptors(nodes(1..=3)))
}

/// Proposer 11 of acceptors 1, 2, 3.
fn proposer(seed: u64) -> Solo {
    let mut solo = Solo::new(
        Config::builder(n(11))
            .acceptors(nodes(1..=3))
            .proposers(nodes([11, 12]))
            .learners(nodes([11, 12]))
            .seed(seed)
            .build()
            .unwrap(),
    );
    for acceptor in 1..=3 {
        solo.hear(acceptor, Body::Ask);
    }
    solo
}

fn propose(solo: &mut Solo, of: u64) -> Vec<Body> {
    solo.decree.propose(solo.now, value(of)).unwrap();
    solo.drain().into_iter().map(|(_, body)| body).collect()
}

fn ballots(cluster: &Cluster) -> Vec<Ballot> {
    let sent = cluster.sent.iter().filter_map(|e| match &e.message.body {
        Body::Prepare { ballot } => Some(*ballot),
        _ => None,
    });
    sent.collect()
}

/// A ballot is on disk before anybody hears of it, and never used again.
#[test]
fn a_ballot_is_durable_before_it_is_spoken_of() {
    let mut cluster = three();
    cluster.server(1).stalled = true;
    cluster.propose(1, value(8)).unwrap();
    assert_eq!(cluster.sent, []);
    assert!(
        cluster
            .server(1)
            .writing
            .as_ref()
            .unwrap()
            .1
            .contains(&Record::Ballot(ballot(2, 1)))
    );
    cluster.sync(n(1));
    assert_eq!(ballots(&cluster), [ballot(2, 1), ballot(2, 1)]);
    cluster.crash(1, 0);
    cluster.restart(1);
    cluster.propose(1, value(9)).unwrap();
    assert_eq!(ballots(&cluster)[2..], [ballot(4, 1), ballot(4, 1)]);
}

/// Its own acceptor's promise is in the same write as the ballot, behind it: no sync of its own.
#[test]
fn a_proposer_asks_its_own_acceptor_in_one_write() {
    let mut cluster = three();
    cluster.server(1).stalled = true;
    cluster.propose(1, value(8)).unwrap();
    let records = cluster.server(1).writing.clone().unwrap().1;
    let tail = &records[records.len() - 2..];
    assert_eq!(
        tail,
        [Record::Ballot(ballot(2, 1)), Record::Promised(ballot(2, 1))]
    );
}

/// What was sent in a ballot whose outcome is unknown is never joined by another value in it:
/// a restart opens another ballot, and finds the first value.
#[test]
fn an_unknown_outcome_burns_the_ballot() {
    let mut cluster = three();
    cluster.propose(1, value(8)).unwrap();
    for _ in 0..2 {
        cluster.round();
    }
    cluster.pass(|e| e.to == n(2) && matches!(e.message.body, Body::Accept { .. }));
    cluster.lose(|_| true);
    cluster.crash(1, 0);
    cluster.restart(1);
    cluster.propose(1, value(9)).unwrap();
    cluster.settle();
    assert_eq!(cluster.decree(3).chosen(), Some(&value(8)));
    let mut seen = BTreeSet::new();
    for envelope in &cluster.sent {
        if let Body::Accept { ballot, value } = &envelope.message.body {
            seen.insert((*ballot, value.id));
        }
    }
    let of: BTreeSet<_> = seen.iter().map(|(ballot, _)| ballot).collect();
    assert_eq!(of.len(), seen.len(), "one value in each ballot: {seen:?}");
}

/// What is not answered is asked again: the same ballot, the same value, only of the silent.
#[test]
fn silence_is_asked_again_in_the_same_ballot() {
    let mut solo = proposer(1);
    assert_eq!(propose(&mut solo, 8), vec![prepare(2, 11); 3]);
    solo.hear(1, promise(2, 11, None));
    let wake = solo.decree.deadline().unwrap();
    assert_eq!(wake.at.since(solo.now), Duration::from_millis(200));
    solo.decree.tick(solo.now);
    assert_eq!(solo.drain(), [], "not yet");
    solo.now = wake.at;
    solo.decree.tick(solo.now);
    assert_eq!(
        solo.drain(),
        [(n(2), prepare(2, 11)), (n(3), prepare(2, 11))]
    );
    let asked = solo.hear(2, promise(2, 11, None));
    assert_eq!(asked, [1, 2, 3].map(|id| (n(id), accept(2, 11, 8))));
    solo.now = solo.decree.deadline().unwrap().at;
    solo.decree.tick(solo.now);
    assert_eq!(solo.drain(), [1, 2, 3].map(|id| (n(id), accept(2, 11, 8))));
}

/// P2c: the value of the highest ballot among the promises, and not its own.
#[test]
fn the_last_vote_of_a_quorum_is_proposed() {
    let mut solo = proposer(1);
    propose(&mut solo, 8);
    solo.hear(1, refused((2, 11), (4, 12)));
    solo.hear(2, refused((2, 11), (4, 12)));
    solo.now = solo.decree.deadline().unwrap().at;
    solo.decree.tick(solo.now);
    solo.drain();
    assert_eq!(
        solo.decree.ballot(),
        Some(ballot(6, 11)),
        "past what refused it"
    );
    solo.hear(1, promise(6, 11, Some(vote(2, 12, 5))));
    let asked = solo.hear(3, promise(6, 11, Some(vote(4, 12, 7))));
    assert_eq!(asked[0].1, accept(6, 11, 7));
    // A third promise comes too late to change anything.
    assert_eq!(solo.hear(2, promise(6, 11, Some(vote(5, 12, 9)))), []);
}

/// The same promise twice is one promise, one of another ballot none.
#[test]
fn promises_are_counted_once_and_for_their_ballot() {
    let mut solo = proposer(1);
    propose(&mut solo, 8);
    solo.hear(1, promise(2, 11, None));
    assert_eq!(solo.hear(1, promise(2, 11, None)), []);
    assert_eq!(solo.hear(2, promise(4, 11, None)), []);
    assert_eq!(solo.hear(2, promise(2, 11, None)).len(), 3);
}

/// One refusal of three leaves a quorum; it is given up when it cannot be any more, or when time is
/// over.
#[test]
fn a_ballot_is_given_up_when_no_quorum_is_left() {
    let mut solo = proposer(1);
    propose(&mut solo, 8);
    solo.hear(1, refused((2, 11), (4, 12)));
    assert_eq!(solo.decree.phase(), Some("preparing"));
    let mut hopeful = solo.decree.clone();
    solo.hear(2, refused((2, 11), (6, 12)));
    assert_eq!(solo.decree.phase(), Some("backing off"));
    let told = Event::Refused {
        ballot: ballot(2, 11),
        promised: ballot(6, 12),
    };
    assert!(solo.events.contains(&told));
    hopeful.tick(hopeful.deadline().unwrap().at);
    assert_eq!(hopeful.phase(), Some("backing off"));
}

/// Waits that grow, that differ by seed, and that are the same for the same seed: no running state.
#[test]
fn refusals_are_waited_out_longer_each_time() {
    let waits = |seed: u64| -> Vec<u64> {
        let mut solo = proposer(seed);
        propose(&mut solo, 8);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let at = solo.decree.ballot().unwrap();
            let higher = (at.round + 2, 12);
            solo.hear(1, refused((at.round, 11), higher));
            solo.hear(2, refused((at.round, 11), higher));
            let wake = solo.decree.deadline().unwrap();
            waits.push(wake.at.since(solo.now).as_nanos() as u64);
            solo.now = wake.at;
            solo.decree.tick(solo.now);
            solo.drain();
        }
        waits
    };
    let first = waits(1);
    assert_eq!(first, waits(1));
    assert_ne!(first, waits(2));
    let (min, max) = (5_000_000, 1_000_000_000);
    for (refusal, wait) in first.iter().enumerate() {
        let limit = (min << (refusal + 1)).min(max);
        assert!((min..limit).contains(wait), "{refusal}: {first:?}");
    }
    assert!(
        first[8..].iter().max() > first[..2].iter().max(),
        "{first:?}"
    );
}

/// Two proposers at once, any seeds: both come to an end, and to the same.
#[test]
fn a_duel_ends() {
    for seed in 0..200 {
        let mut cluster = Cluster::new(&[1, 2, 3], |builder| {
            builder.acceptors(nodes(1..=3)).seed(seed)
        });
        cluster.propose(1, value(1)).unwrap();
        cluster.propose(2, value(2)).unwrap();
        cluster.propose(3, value(3)).unwrap();
        cluster.run_until_learned(&[1, 2, 3], Duration::from_secs(10));
        let settled = |id: u64, e: &Event| match e {
            Event::Won(ticket) | Event::Lost { ticket, .. } => Some((id, *ticket)),
            _ => None,
        };
        let all = cluster.servers.iter();
        let all = all.flat_map(|(id, s)| s.events.iter().filter_map(move |e| settled(id.0, e)));
        let all: Vec<_> = all.collect();
        assert_eq!(all, [(1, Ticket(1)), (2, Ticket(1)), (3, Ticket(1))]);
    }
}

/// A distinguished proposer is left alone with it, and replaced when it is not heard of.
#[test]
fn the_distinguished_proposer_proposes_for_all() {
    let make = || {
        Cluster::new(&[1, 2, 3], |builder| {
            builder.acceptors(nodes(1..=3)).distinguished(n(1))
        })
    };
    let mut cluster = make();
    cluster.propose(2, value(2)).unwrap();
    cluster.propose(3, value(3)).unwrap();
    cluster.settle();
    assert!(
        ballots(&cluster)
            .iter()
            .all(|ballot| ballot.proposer == n(1))
    );
    assert_eq!(
        cluster.decree(3).chosen(),
        Some(&value(2)),
        "the first that came"
    );
    assert!(cluster.server(2).events.contains(&Event::Won(Ticket(1))));
    assert!(matches!(
        cluster.server(3).events[..],
        [.., Event::Lost { .. }]
    ));

    let mut cluster = make();
    cluster.crash(1, 0);
    cluster.propose(2, value(2)).unwrap();
    let start = cluster.now;
    cluster.run_until_learned(&[2, 3], Duration::from_secs(1));
    assert_eq!(
        cluster.now.since(start),
        Duration::from_millis(600),
        "its patience"
    );
    assert_eq!(ballots(&cluster).last().unwrap().proposer, n(2));
}

/// The value that is left to a distinguished proposer comes once, however often it is sent.
#[test]
fn a_value_is_taken_on_once() {
    let config = Config::builder(n(11))
        .acceptors(nodes(1..=3))
        .proposers(nodes([11, 12]))
        .learners(nodes([11, 12]))
        .distinguished(n(11))
        .max_proposals(2)
        .build()
        .unwrap();
    let mut solo = Solo::new(config);
    let body = |of| Body::Propose { value: value(of) };
    assert_eq!(solo.hear(12, body(5)).len(), 3);
    for of in [5, 6, 7, 8] {
        assert_eq!(solo.hear(12, body(of)), []);
    }
    let busy = solo.decree.propose(solo.now, value(9));
    assert_eq!(
        busy,
        Err(Rejected::Busy {
            value: value(9),
            limit: 2
        })
    );
}

#[test]
fn what_cannot_be_proposed_is_handed_back() {
    let mut acceptor = Solo::acceptor(|builder| builder);
    let now = acceptor.now;
    let refused = acceptor.decree.propose(now, value(8));
    assert_eq!(refused, Err(Rejected::NotProposer(value(8))));
    assert_eq!(acceptor.decree.learn(now), Err(Rejected::NotLearner));
    let mut solo = proposer(1);
    let long = Value::new(1, 1, vec![0; (1 << 20) + 1].into());
    let (len, limit) = ((1 << 20) + 1, 1 << 20);
    let refused = solo.decree.propose(now, long.clone());
    assert_eq!(
        refused,
        Err(Rejected::TooLong {
            value: long,
            len,
            limit
        })
    );
    assert_eq!(solo.drain(), []);
}

/// After the end a proposal is settled at once, by identity.
#[test]
fn a_late_proposal_is_settled_at_once() {
    let mut cluster = three();
    cluster.propose(1, value(8)).unwrap();
    cluster.settle();
    cluster.propose(2, value(8)).unwrap();
    cluster.propose(2, value(9)).unwrap();
    let to = value(8).id;
    let ticket = Ticket(2);
    let told = &cluster.server(2).events;
    assert_eq!(
        told[1..],
        [Event::Won(Ticket(1)), Event::Lost { ticket, to }]
    );
    assert_eq!(cluster.net, []);
}

/// A learner's wish for a ballot is no wish for a value: without votes nothing is proposed.
#[test]
fn a_ballot_that_was_asked_for_proposes_no_value_of_its_own() {
    let mut solo = proposer(1);
    solo.hear(12, Body::Ask);
    let asked = solo.hear(12, Body::Complete);
    assert_eq!(asked.len(), 3);
    solo.hear(1, promise(2, 11, None));
    assert_eq!(solo.hear(2, promise(2, 11, None)), []);
    assert_eq!(solo.decree.phase(), Some("idle"));
    assert_eq!(solo.decree.deadline(), None);
}

/// Behind the last round there is no ballot: it stops, and does not panic.
#[test]
fn there_is_no_ballot_behind_the_last() {
    let mut solo = proposer(1);
    propose(&mut solo, 8);
    solo.hear(1, refused((2, 11), (Ballot::LAST_ROUND, 12)));
    solo.hear(2, refused((2, 11), (Ballot::LAST_ROUND, 12)));
    solo.now = solo.decree.deadline().unwrap().at;
    solo.decree.tick(solo.now);
    assert_eq!(solo.drain(), []);
    assert_eq!(solo.decree.deadline(), None);
}

/// A decree of one, and ids that are anything.
#[test]
fn one_node_is_a_decree() {
    for id in [1, 7_000_000, u64::MAX] {
        let mut solo = Solo::new(
            Config::builder(n(id))
                .acceptors(nodes([id]))
                .build()
                .unwrap(),
        );
        let ticket = solo.decree.propose(solo.now, value(8)).unwrap();
        assert_eq!(solo.drain(), []);
        assert_eq!(solo.decree.chosen(), Some(&value(8)));
        let told = &solo.events[solo.events.len() - 2..];
        assert_eq!(told, [Event::Chosen(value(8)), Event::Won(ticket)]);
    }
}

/// Any quorum system that `PaxosPhases` proves: weights, a grid, groups of groups, unequal phases.
#[test]
fn quorums_of_any_shape_decide() {
    let grid = Grid::new(nodes(1..=4), 2).unwrap();
    let system = |expr: Expr| Quorum::new(expr).unwrap();
    let weights = Quorum::weighted_majority([(n(1), 3), (n(2), 1), (n(3), 1)]).unwrap();
    let groups = Quorum::hierarchical([nodes(1..=3), nodes(4..=6), nodes(7..=9)]).unwrap();
    let all = |need| Quorum::count(need, nodes(1..=4)).unwrap();
    for (name, phases, alive) in [
        ("weights", PaxosPhases::new(&weights, &weights), vec![1, 2]),
        (
            "a row, and one of each row",
            PaxosPhases::new(&system(grid.row()), &system(grid.one_per_row())),
            vec![1, 2, 3],
        ),
        (
            "groups",
            PaxosPhases::new(&groups, &groups),
            vec![1, 2, 5, 6],
        ),
        (
            "all and any",
            PaxosPhases::new(&all(4), &all(1)),
            vec![1, 2, 3, 4],
        ),
    ] {
        let phases = phases.unwrap();
        let members: Vec<u64> = phases.members().iter().map(|id| id.0).collect();
        let mut cluster = Cluster::unlinked(&members, |builder| {
            builder.quorums(phases.clone()).learning(Learning::Everyone)
        });
        for id in members.iter().filter(|id| !alive.contains(id)) {
            cluster.crash(*id, 0);
        }
        cluster.link_all();
        cluster.propose(1, value(8)).unwrap();
        cluster.settle();
        assert_eq!(cluster.decree(1).chosen(), Some(&value(8)), "{name}");
    }
}
