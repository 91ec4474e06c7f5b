//! What a start makes of a storage.

use synod_core::{Generation, Instant, Machine};
use synod_paxos::Ballot;
use synod_paxos::single::{Body, Config, Decree, Event, Record, RestoreError};

use crate::cluster::{Cluster, Said, ballot, n, nodes, value};
use crate::solo::vote;

fn start(records: impl IntoIterator<Item = Record>) -> Result<Decree, RestoreError> {
    let config = Config::builder(n(1))
        .acceptors(nodes(1..=3))
        .build()
        .unwrap();
    Decree::new(config, records, Instant::START)
}

fn name(node: u64, generation: u64) -> Record {
    Record::Storage {
        node: n(node),
        generation: Generation(generation),
    }
}

fn voted(at: (u64, u64), promised: (u64, u64)) -> Record {
    Record::Voted {
        vote: vote(at.0, at.1, 8),
        promised: ballot(promised.0, promised.1),
    }
}

#[test]
fn a_storage_that_cannot_be_this_nodes_is_refused() {
    let (found, node) = (n(2), n(1));
    assert_eq!(
        start([name(2, 5)]),
        Err(RestoreError::OtherNode { found, node })
    );
    let promised = Record::Promised(ballot(2, 1));
    assert_eq!(start([promised]), Err(RestoreError::Nameless));
    let (before, generation) = (Generation(5), Generation(6));
    let twice = start([name(1, 5), name(1, 6)]);
    assert_eq!(twice, Err(RestoreError::Twice { before, generation }));
    assert_eq!(
        start([name(1, 5), voted((4, 1), (2, 1))]),
        Err(RestoreError::Torn)
    );
    let beyond = Record::Ballot(ballot(Ballot::LAST_ROUND + 2, 1));
    assert_eq!(start([name(1, 5), beyond]), Err(RestoreError::Torn));
}

/// Later records replace earlier ones; promise and ballot never fall.
#[test]
fn records_add_up() {
    let decree = start([
        name(1, 5),
        Record::Ballot(ballot(2, 1)),
        Record::Promised(ballot(2, 1)),
        voted((2, 1), (2, 1)),
        Record::Promised(ballot(6, 3)),
        Record::Ballot(ballot(4, 1)),
        Record::Known {
            node: n(2),
            generation: Generation(9),
        },
    ])
    .unwrap();
    assert_eq!(decree.promised(), Some(ballot(6, 3)));
    assert_eq!(decree.vote(), Some(&vote(2, 1, 8)));
    decree.check();
    let over = start([name(1, 5), Record::Chosen(value(8))]).unwrap();
    assert_eq!(over.chosen(), Some(&value(8)));
    assert_eq!(over.deadline(), None);
}

/// Every prefix of every write is safe to crash after: the machine starts from each, and the decree
/// comes to the same end.
#[test]
fn every_prefix_of_a_write_is_a_start() {
    for victim in 1..=3 {
        for after in 0..12 {
            for kept in 0..3 {
                let mut cluster =
                    Cluster::new(&[1, 2, 3], |builder| builder.acceptors(nodes(1..=3)));
                cluster.propose(1, value(8)).unwrap();
                for step in 0..after {
                    cluster.server(victim).stalled = step + 1 == after;
                    if !cluster.pass(|_| true) {
                        break;
                    }
                }
                cluster.crash(victim, kept);
                cluster.restart(victim);
                cluster.propose(2, value(9)).unwrap();
                let limit = core::time::Duration::from_secs(10);
                for id in 1..=3 {
                    cluster.learn(id);
                }
                let chosen = cluster.run_until_learned(&[1, 2, 3], limit);
                let phases = cluster.server(1).config.quorums().clone();
                assert_eq!(
                    cluster.truth(&phases),
                    [chosen.id],
                    "{victim} {after} {kept}"
                );
            }
        }
    }
}

/// Whatever is said rests on what its speaker has stored before: a ballot, a promise, a vote; and what
/// is learned, on votes that are stored at a quorum.
#[test]
fn everything_said_was_stored_before() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4], |builder| {
        builder.fast_acceptors(nodes(1..=4)).distinguished(n(1))
    });
    cluster.settle();
    cluster.propose(1, value(8)).unwrap();
    cluster.propose(2, value(9)).unwrap();
    cluster.net.reverse();
    cluster.settle();
    cluster.run_until_learned(&[1, 2, 3, 4], core::time::Duration::from_secs(5));
    let (mut stored, mut checked) = (Vec::new(), 0);
    for said in &cluster.said {
        let of = |node, holds: &dyn Fn(&Record) -> bool| {
            let mut all = stored.iter();
            all.any(|(owner, record)| *owner == node && holds(record))
        };
        match said {
            Said::Stored(node, records) => {
                stored.extend(records.iter().cloned().map(|record| (*node, record)));
                continue;
            }
            Said::Sent(envelope) => {
                let at_least = |wanted: Ballot| {
                    of(envelope.from, &|record| match record {
                        Record::Promised(at) | Record::Voted { promised: at, .. } => *at >= wanted,
                        _ => false,
                    })
                };
                let used = |wanted: Ballot| {
                    of(
                        envelope.from,
                        &|r| matches!(r, Record::Ballot(at) if *at >= wanted),
                    )
                };
                match &envelope.message.body {
                    Body::Prepare { ballot } | Body::Any { ballot } => assert!(used(*ballot)),
                    Body::Accept { ballot, .. } => assert!(used(*ballot)),
                    Body::Promise { ballot, .. } => assert!(at_least(*ballot)),
                    Body::Accepted { vote, promised } => {
                        let voted =
                            |r: &Record| matches!(r, Record::Voted { vote: v, .. } if v == vote);
                        assert!(of(envelope.from, &voted) && at_least(*promised));
                    }
                    _ => continue,
                }
            }
            Said::Told(_, Event::Chosen(value)) => {
                let voters = stored.iter().filter(|(_, record)| {
                    matches!(record, Record::Voted { vote, .. } if vote.value == *value)
                });
                assert!(voters.count() >= 3);
            }
            Said::Told(node, Event::Opened(ballot)) => assert_eq!(ballot.proposer, *node),
            Said::Told(..) => continue,
        }
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}
