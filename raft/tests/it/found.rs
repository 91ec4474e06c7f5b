//! What the simulator has found, as stories: each fails without its fix.

use synod_core::{LogEvent, LogImage, LogIndex, Machine, ReadLevel, ReplicatedLog, Role};

use crate::cluster::{Cluster, ms, n};
use crate::steady::snapshot;

/// A proposal at i5 of an old leader is cut off, and the new log ends at i3: nobody need propose
/// anything more for the old leader to say that it is displaced.
#[test]
fn a_cut_off_proposal_behind_the_end_of_the_log_is_displaced() {
    let mut cluster = Cluster::new(3);
    let old = cluster.elect();
    cluster.propose(old, "a").unwrap();
    cluster.run(ms(5));
    cluster.isolate(old);
    let lost: Vec<_> = (0..3)
        .map(|k| cluster.propose(old, &format!("lost{k}")).unwrap())
        .collect();
    cluster.run(ms(2000));
    cluster.heal();
    cluster.run(ms(1000));
    assert_eq!(cluster.raft(old.0).status().last, LogIndex(3));
    for ticket in lost {
        assert_eq!(cluster.outcome(old, ticket), ["displaced"]);
    }
}

/// With nothing retained the log begins where the snapshot ends: a state machine in memory needs the
/// snapshot all the same.
#[test]
fn a_restart_right_behind_the_snapshot_restores_it() {
    let mut cluster = Cluster::with(1, |builder| builder.retained_entries(0));
    cluster.run(ms(1));
    cluster.propose(n(1), "a").unwrap();
    cluster.settle();
    snapshot(&mut cluster, n(1), 2, b"the state at two");
    assert_eq!(cluster.raft(1).status().compacted, LogIndex(2));
    cluster.crash(n(1));
    cluster.restart(n(1));
    cluster.run(ms(1));
    let restores = |event: &synod_raft::Event| matches!(event, LogEvent::Restore(_));
    assert!(cluster.server(1).events.iter().any(restores));
}

/// The leader has compacted all that it sent; the acknowledgement of that is lost, and with one
/// message in flight nothing more may be sent. Heartbeats make up for it.
#[test]
fn a_lost_acknowledgement_of_what_is_compacted_is_made_up_for() {
    let mut cluster = Cluster::with(3, |builder| {
        builder.retained_entries(0).max_in_flight(1, 1 << 20)
    });
    let leader = cluster.elect();
    let late = n(leader.0 % 3 + 1);
    cluster.run(ms(100));
    cluster.cut.push((late, leader));
    for command in ["a", "b"] {
        cluster.propose(leader, command).unwrap();
        cluster.settle();
    }
    snapshot(&mut cluster, leader, 3, b"the state at three");
    cluster.heal();
    cluster.run(ms(1000));
    assert_eq!(cluster.raft(late.0).status().committed, LogIndex(3));
    let status = cluster.raft(leader.0).status();
    let peer = status.peers.iter().find(|peer| peer.node == late).unwrap();
    assert_eq!(peer.matched, LogIndex(3));
}

/// What is read back for a follower comes after the leader has compacted it.
#[test]
fn what_is_read_back_may_be_behind_the_base_when_it_comes() {
    let mut cluster = Cluster::with(3, |builder| builder.retained_entries(0).max_log_bytes(1));
    let leader = cluster.elect();
    let late = n(leader.0 % 3 + 1);
    cluster.isolate(late);
    for k in 0..5 {
        cluster.propose(leader, &format!("c{k}")).unwrap();
        cluster.settle();
    }
    cluster.heal();
    let before: LogImage = cluster.server(leader.0).image.clone();
    // The leader probes and asks for what the follower lacks; its disk is slow to answer.
    for _ in 0..500 {
        if !cluster.server(leader.0).loads.is_empty() {
            break;
        }
        cluster.now = cluster.now + ms(1);
        cluster.tick();
        for id in 1..=3 {
            cluster.pump(n(id));
            if id != leader.0 {
                cluster.sync(n(id));
                cluster.pump(n(id));
            }
        }
        for envelope in core::mem::take(&mut cluster.network) {
            cluster.deliver(envelope);
            cluster.pump(leader);
        }
    }
    let loads = core::mem::take(&mut cluster.server(leader.0).loads);
    assert!(!loads.is_empty(), "what left memory is read back");
    snapshot(&mut cluster, leader, 6, b"the state at six");
    let now = cluster.now;
    for (load, what) in loads {
        cluster.raft(leader.0).loaded(now, load, before.load(&what));
    }
    cluster.run(ms(1000));
    assert_eq!(cluster.raft(late.0).status().committed, LogIndex(6));
}

/// A follower's log ends before the leader's base, in the middle of a chunk that the leader still
/// has in memory: it gets the snapshot, not entries whose predecessor nobody knows.
#[test]
fn a_chunk_that_reaches_across_the_base_is_read_behind_it_only() {
    let mut cluster = Cluster::with(3, |builder| builder.retained_entries(0));
    let leader = cluster.elect();
    let late = n(leader.0 % 3 + 1);
    cluster.run(ms(100));
    cluster.isolate(late);
    // One chunk: i2 to i5.
    for k in 0..4 {
        cluster.propose(leader, &format!("c{k}")).unwrap();
    }
    cluster.settle();
    snapshot(&mut cluster, leader, 4, b"the state at four");
    cluster.crash(late);
    cluster.heal();
    cluster.restart(late);
    cluster.run(ms(1000));
    let status = cluster.raft(late.0).status();
    assert_eq!(
        (status.snapshot, status.committed),
        (LogIndex(4), LogIndex(5))
    );
}

/// Likewise where the chunk begins right at the base: what the follower needs first is the last entry
/// that is compacted.
#[test]
fn a_chunk_that_begins_at_the_base_is_read_behind_it_only() {
    let mut cluster = Cluster::with(3, |builder| builder.retained_entries(0));
    let leader = cluster.elect();
    let late = n(leader.0 % 3 + 1);
    cluster.run(ms(100));
    cluster.isolate(late);
    // One chunk: i2 to i5, and its first is compacted.
    for k in 0..4 {
        cluster.propose(leader, &format!("c{k}")).unwrap();
    }
    cluster.settle();
    snapshot(&mut cluster, leader, 2, b"the state at two");
    cluster.crash(late);
    cluster.heal();
    cluster.restart(late);
    cluster.run(ms(1000));
    let status = cluster.raft(late.0).status();
    assert_eq!(
        (status.snapshot, status.committed),
        (LogIndex(2), LogIndex(5))
    );
}

/// A node that starts for the first time and crashes before its first write is durable has told
/// nobody the name of its storage: it comes back with another one and is welcome.
#[test]
fn a_first_start_tells_its_name_only_once_it_is_durable() {
    let mut cluster = Cluster::new(3);
    cluster.stuck = vec![n(3)];
    cluster.run(ms(1500));
    assert_ne!(cluster.leader(), None);
    cluster.propose(n(3), "a").unwrap();
    cluster.read(n(3), ReadLevel::Linearizable).unwrap();
    cluster.settle();
    cluster.crash(n(3));
    cluster.stuck.clear();
    cluster.restart(n(3));
    cluster.run(ms(1000));
    let status = cluster.raft(3).status();
    assert_eq!(
        (status.role, status.committed),
        (Role::Follower, LogIndex(1))
    );
}

/// A follower gathers two reads for the leader and answers a stale one between them: each ticket
/// resolves once.
#[test]
fn a_stale_read_between_two_that_gather_has_a_ticket_of_its_own() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.elect();
    cluster.run(ms(100));
    let follower = n(leader.0 % 3 + 1);
    let levels = [
        ReadLevel::Linearizable,
        ReadLevel::Stale,
        ReadLevel::Linearizable,
    ];
    let tickets = levels.map(|level| cluster.read(follower, level).unwrap());
    cluster.run(ms(500));
    let events = &cluster.server(follower.0).events;
    for ticket in tickets {
        let answers = |event: &&synod_raft::Event| matches!(event, LogEvent::Read { ticket: of, .. } if *of == ticket);
        assert_eq!(events.iter().filter(answers).count(), 1, "{ticket}");
    }
}
