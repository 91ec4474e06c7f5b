//! Steady use: what happens when nothing goes wrong.

use synod_core::{LogIndex, ReadLevel, ReplicatedLog, Role};

use crate::cluster::{Cluster, ms, n};

#[test]
fn three_nodes_elect_one_and_commit() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.elect();
    let ticket = cluster.propose(leader, "a").unwrap();
    cluster.settle();
    assert_eq!(cluster.outcome(leader, ticket), ["committed i2"]);
    cluster.run(ms(2));
    for id in 1..=3 {
        assert_eq!(
            cluster.commands(id),
            ["a"],
            "n{id} learns of the commit within 2 ms"
        );
    }
}

#[test]
fn one_node_is_a_cluster() {
    let mut cluster = Cluster::new(1);
    cluster.run(ms(1));
    let ticket = cluster.propose(n(1), "a").unwrap();
    let read = cluster.read(n(1), ReadLevel::Linearizable).unwrap();
    cluster.settle();
    assert_eq!(cluster.outcome(n(1), ticket), ["committed i2"]);
    assert_eq!(cluster.outcome(n(1), read), ["read i1"]);
}

#[test]
fn a_leader_that_dies_is_replaced_and_comes_back_as_follower() {
    let mut cluster = Cluster::new(3);
    let old = cluster.elect();
    cluster.propose(old, "a").unwrap();
    cluster.settle();
    cluster.crash(old);
    let new = cluster.elect();
    assert_ne!(old, new);
    let ticket = cluster.propose(new, "b").unwrap();
    cluster.settle();
    assert_eq!(cluster.outcome(new, ticket), ["committed i4"]);
    cluster.restart(old);
    cluster.run(ms(200));
    assert_eq!(cluster.commands(old.0), ["a", "b"]);
    assert_eq!(cluster.raft(old.0).status().role, Role::Follower);
}

#[test]
fn a_follower_passes_proposals_and_reads_on() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.elect();
    let follower = n(leader.0 % 3 + 1);
    let ticket = cluster.propose(follower, "a").unwrap();
    let read = cluster.read(follower, ReadLevel::Linearizable).unwrap();
    cluster.run(ms(3));
    assert_eq!(cluster.outcome(follower, ticket), ["committed i2"]);
    assert_eq!(cluster.outcome(follower, read).len(), 1);
}

#[test]
fn a_follower_far_behind_gets_the_snapshot() {
    let mut cluster = Cluster::with(3, |builder| {
        builder.retained_entries(2).snapshot_chunk_bytes(4)
    });
    let leader = cluster.elect();
    let late = n(leader.0 % 3 + 1);
    cluster.isolate(late);
    for k in 0..20 {
        cluster.propose(leader, &format!("c{k}")).unwrap();
        cluster.settle();
    }
    snapshot(&mut cluster, leader, 18, b"the state at eighteen");
    cluster.heal();
    cluster.run(ms(2000));
    let status = cluster.raft(late.0).status();
    assert_eq!(status.committed, LogIndex(21));
    assert_eq!(status.snapshot, LogIndex(18));
    let contents = cluster.server(late.0).image.snapshot_contents().unwrap();
    assert_eq!(&contents[..], b"the state at eighteen");
    cluster.crash(late);
    cluster.restart(late);
    cluster.run(ms(200));
    assert_eq!(cluster.raft(late.0).status().committed, LogIndex(21));
}

/// Takes a snapshot as a driver does.
pub(crate) fn snapshot(
    cluster: &mut Cluster,
    id: synod_core::NodeId,
    at: u64,
    contents: &'static [u8],
) {
    use synod_core::{Lane, LogRecord, OldLog};
    let now = cluster.now;
    let server = cluster.server(id.0);
    let mut meta = server.raft.describe(LogIndex(at)).unwrap();
    meta.size = contents.len() as u64;
    let chunk = contents.into();
    let stage = LogRecord::Stage {
        lane: Lane::Taken,
        id: meta.id,
        offset: 0,
        chunk,
    };
    server.image.apply(stage).unwrap();
    let log = OldLog::Keep;
    server
        .image
        .apply(LogRecord::Activate {
            meta: meta.clone(),
            log,
        })
        .unwrap();
    server.raft.compact(now, meta);
    cluster.settle();
}
