//! Limits, refusals and ends: what happens to everything that was asked for, and to nonsense.

use std::time::Duration;

use bytes::Bytes;
use synod_core::{
    Generation, LogEvent, LogImage, LogIndex, LogRecord, Machine, NodeId, ReadLevel, Refusal,
    ReplicatedLog, Restored, Role, Stamp, Ticket,
};
use synod_raft::{Body, Config, ConfigBuilder, ConfigError, Denial, Outcome, Raft, RestoreError};

use crate::cluster::{Cluster, ms, n};
use crate::solo::{Solo, append, appended, at, proposed};

/// A follower of node 2 that has passed a command on: its ticket and the question.
fn forwarded() -> (Solo, Ticket, u64, Ticket) {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 0));
    solo.settle();
    solo.take();
    let ticket = solo.propose("x").unwrap();
    let Some((2, Body::Propose { life, first, .. })) = solo.take().pop() else {
        panic!("the command goes to the leader");
    };
    (solo, ticket, life, first)
}

/// Everything that a ticket of a proposal has resolved to.
fn outcomes(solo: &Solo, ticket: Ticket) -> Vec<String> {
    let of = |event: &synod_raft::Event| match event {
        LogEvent::Committed(c) => {
            let hit = c.iter().find(|(_, _, _, t)| *t == Some(ticket));
            hit.map(|(index, ..)| format!("committed {index}"))
        }
        LogEvent::Displaced(t) if *t == ticket => Some("displaced".into()),
        LogEvent::Unknown(t) if *t == ticket => Some("unknown".into()),
        LogEvent::Refused(t, why) if *t == ticket => Some(format!("refused: {why}")),
        _ => None,
    };
    solo.events.iter().filter_map(of).collect()
}

#[test]
fn a_leader_without_a_quorum_steps_down_and_takes_on_no_more_than_its_limit() {
    let mut cluster = Cluster::with(3, |builder| {
        builder.max_uncommitted_bytes(1000).max_command_bytes(100)
    });
    let leader = cluster.elect();
    cluster.run(ms(10));
    cluster.isolate(leader);
    let mut taken = Vec::new();
    let refused = loop {
        match cluster.propose(leader, "0123456789") {
            Ok(ticket) => taken.push(ticket),
            Err(rejected) => break rejected.refusal,
        }
    };
    assert!(matches!(refused, Refusal::Busy { limit: 1000, .. }));
    cluster.run(ms(700));
    assert_ne!(cluster.raft(leader.0).status().role, Role::Leader);
    let rejected = cluster.propose(leader, "x").unwrap_err();
    assert_eq!(rejected.refusal, Refusal::NoLeader);
    let new = cluster.elect();
    for k in 0..20 {
        cluster.propose(new, &k.to_string()).unwrap();
    }
    cluster.heal();
    cluster.run(ms(1000));
    for ticket in taken {
        assert_eq!(
            cluster.outcome(leader, ticket),
            ["displaced"],
            "each ends, once"
        );
    }
}

#[test]
fn what_was_forwarded_and_is_not_answered_ends_as_unknown() {
    let (mut solo, ticket, life, first) = forwarded();
    for _ in 0..30 {
        solo.say(2, 1, append(at(1, 1), 1, 0, 0));
        solo.wait(ms(100));
    }
    assert_eq!(outcomes(&solo, ticket), ["unknown"]);
    solo.say(
        2,
        1,
        proposed(life, first, 1, Outcome::Accepted(LogIndex(2))),
    );
    assert_eq!(outcomes(&solo, ticket), ["unknown"], "once");
}

#[test]
fn what_was_forwarded_ends_when_the_leader_does() {
    let (mut solo, ticket, ..) = forwarded();
    solo.say(3, 2, append(at(1, 1), 2, 0, 0));
    assert_eq!(
        outcomes(&solo, ticket),
        ["unknown"],
        "it was sent, and may have happened"
    );
    let (mut solo, ticket, life, first) = forwarded();
    let busy = Outcome::Refused(Denial::Busy { limit: 9 });
    solo.say(2, 1, proposed(life, first, 1, busy));
    assert_eq!(outcomes(&solo, ticket).len(), 1);
    let (mut solo, ticket, life, first) = forwarded();
    solo.say(
        2,
        1,
        proposed(life, first, 1, Outcome::Accepted(LogIndex(2))),
    );
    solo.say(2, 1, append(at(1, 1), 1, 1, 2));
    solo.settle();
    assert_eq!(outcomes(&solo, ticket), ["committed i2"]);
}

#[test]
fn an_answer_with_another_count_leaves_nobody_waiting_for_ever() {
    let (mut solo, ticket, life, first) = forwarded();
    solo.say(2, 1, proposed(life, first, 7, Outcome::Unknown));
    assert_eq!(
        outcomes(&solo, ticket),
        [""; 0],
        "it answers nothing of ours"
    );
    solo.say(
        2,
        1,
        proposed(life, first, 1, Outcome::Accepted(LogIndex(2))),
    );
    solo.say(2, 1, append(at(1, 1), 1, 1, 2));
    solo.settle();
    assert_eq!(outcomes(&solo, ticket), ["committed i2"]);
}

#[test]
fn a_forwarded_command_is_taken_on_once() {
    let commands = vec![Bytes::from_static(b"x")];
    let (life, first) = (5, Ticket(1));
    let propose = Body::Propose {
        life,
        first,
        commands,
    };
    let mut solo = Solo::leading(|builder| builder);
    solo.say(2, 1, propose.clone());
    solo.say(2, 1, propose.clone());
    let answers = solo.take();
    let answers: Vec<&Body> = answers.iter().map(|(_, body)| body).collect();
    assert!(answers.contains(&&proposed(life, first, 1, Outcome::Accepted(LogIndex(2)))));
    assert!(answers.contains(&&proposed(life, first, 1, Outcome::Unknown)));
    solo.settle();
    assert_eq!(solo.status().last, LogIndex(2));
    // It loses touch, and a copy that was long under way arrives: it cannot say that it never was.
    solo.wait(ms(700));
    assert_eq!(solo.role(), Role::Follower);
    solo.take();
    solo.say(2, 1, propose.clone());
    assert_eq!(
        solo.take(),
        [(2, proposed(life, first, 1, Outcome::Unknown))]
    );
    // Nor does it take it on again when it leads once more.
    solo.win(&[3]);
    solo.settle();
    let last = solo.status().last;
    solo.take();
    solo.say(2, 1, propose);
    solo.settle();
    assert_eq!(
        solo.take(),
        [(2, proposed(life, first, 1, Outcome::Unknown))]
    );
    assert_eq!(solo.status().last, last);
}

#[test]
fn refusals_name_the_rule_and_hand_the_command_back() {
    let mut solo = Solo::leading(|builder| builder.max_command_bytes(3).max_pending_reads(1));
    let rejected = solo.raft.propose(solo.now, "1234".into()).unwrap_err();
    assert_eq!(rejected.refusal, Refusal::TooLarge { len: 4, limit: 3 });
    assert_eq!(
        (rejected.command, rejected.leader),
        (Some("1234".into()), Some(n(1)))
    );
    solo.raft.read(solo.now, ReadLevel::Linearizable).unwrap();
    let busy = solo
        .raft
        .read(solo.now, ReadLevel::Linearizable)
        .unwrap_err();
    assert!(matches!(busy.refusal, Refusal::Busy { limit: 1, .. }));
    let mut follower = Solo::with(1, 3, |builder| builder.forward_proposals(false));
    follower.say(2, 1, append(at(0, 0), 1, 1, 0));
    let rejected = follower.raft.propose(follower.now, "x".into()).unwrap_err();
    assert_eq!(
        (rejected.refusal, rejected.leader),
        (Refusal::NotLeader, Some(n(2)))
    );
}

#[test]
fn every_rule_of_the_settings_is_named_with_both_values() {
    type Set = fn(ConfigBuilder) -> ConfigBuilder;
    let cases: [(Set, &str); 9] = [
        (
            |b| b.heartbeat_interval(ms(200)),
            "election_timeout_min (300ms) must be at least twice the heartbeat_interval (200ms)",
        ),
        (
            |b| b.heartbeat_interval(Duration::MAX),
            "election_timeout_min (300ms) must be at least twice the heartbeat_interval",
        ),
        (
            |b| b.election_timeout(ms(300)..=ms(300)),
            "election_timeout_max (300ms) must be greater than election_timeout_min (300ms)",
        ),
        (
            |b| b.max_pending_reads(0),
            "max_pending_reads (0) must be at least 1",
        ),
        (
            |b| b.writes_in_flight(0),
            "writes_in_flight (0) must be at least 1",
        ),
        (
            |b| b.max_append_bytes(9 << 20),
            "max_append_bytes (9437184) must not be greater than max_in_flight bytes (8388608)",
        ),
        (
            |b| b.max_command_bytes(65 << 20),
            "max_command_bytes (68157440) must not be greater than max_uncommitted_bytes (67108864)",
        ),
        (
            |b| b.learners([n(2)]),
            "n2 is named twice among voters and learners",
        ),
        (
            |b| b.voters([n(2), n(3)]),
            "n1 is neither a voter nor a learner of the cluster that it is to found",
        ),
    ];
    for (set, text) in cases {
        let builder = Config::builder(n(1)).voters([n(1), n(2), n(3)]);
        let error = set(builder).build().unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
    let twice = Config::builder(n(1))
        .voters([n(1), n(1)])
        .build()
        .unwrap_err();
    assert!(twice.to_string().contains("n1"), "{twice}");
    let nobody = Config::builder(n(1)).learners([n(1)]).build().unwrap_err();
    assert!(matches!(nobody, ConfigError::Voters(_)), "zero voters");
}

#[test]
fn a_start_on_a_disk_that_cannot_be_this_node_s_is_refused() {
    let config = || {
        Config::builder(n(1))
            .voters([n(1), n(2), n(3)])
            .build()
            .unwrap()
    };
    let start = |restored| Raft::new(config(), restored, synod_core::Instant::START).unwrap_err();
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 3, 0));
    solo.settle();
    let good: Restored = solo.image.restored(usize::MAX);
    let mut bad = good.clone();
    bad.state = Some(Bytes::from_static(b"\x09"));
    assert!(matches!(start(bad), RestoreError::State(_)));
    let mut bad = good.clone();
    bad.state = None;
    let error = start(bad);
    assert_eq!(error, RestoreError::StateMissing { last: LogIndex(3) });
    let other = Solo::new(2, 3).image.restored(usize::MAX);
    let error = start(other);
    assert_eq!(
        error.to_string(),
        "the storage belongs to n2, this node is n1"
    );
    let mut bad = good.clone();
    bad.runs[0].first = LogIndex(2);
    let error = start(bad);
    assert_eq!(
        error.to_string(),
        "the stored log ends at i0 and goes on at i2"
    );
    let mut bad = good.clone();
    bad.configs.push((LogIndex(2), Bytes::from_static(b"\x01")));
    assert!(matches!(
        start(bad),
        RestoreError::Config {
            index: LogIndex(2),
            ..
        }
    ));
    let mut bad = good.clone();
    bad.compacted = (LogIndex(1), Stamp::of(1));
    bad.runs[0].first = LogIndex(2);
    assert_eq!(
        start(bad).to_string(),
        "the stored log begins behind i1 and there is no snapshot of what came before"
    );
    let mut bad = good;
    bad.snapshot = Some(synod_core::SnapshotMeta {
        id: synod_core::SnapshotId {
            origin: Generation(1),
            index: LogIndex(2),
        },
        stamp: Stamp::of(8),
        config: Bytes::new(),
        size: 0,
    });
    assert!(matches!(
        start(bad),
        RestoreError::SnapshotElsewhere {
            last: LogIndex(3),
            ..
        }
    ));
}

#[test]
fn an_idle_node_has_one_deadline_far_away() {
    let mut solo = Solo::with(4, 3, |builder| builder.learners([NodeId(4)]));
    assert_eq!(solo.raft.deadline(), None, "a learner waits for nothing");
    solo.pump();
    let mut many: Vec<Solo> = (0..10_000).map(|_| Solo::new(1, 3)).collect();
    for follower in &mut many {
        let wake = follower.raft.deadline().unwrap();
        assert_eq!(wake.why, "silent leader");
        assert!(wake.at.since(follower.now) >= ms(300));
        // Woken for nothing, it does nothing and wants to be woken at the same time.
        follower.raft.tick(follower.now);
        assert!(follower.raft.poll().is_none());
        assert_eq!(follower.raft.deadline(), Some(wake));
    }
    let mut leader = Solo::leading(|builder| builder);
    leader.wait(ms(1));
    leader.take();
    let wake = leader.raft.deadline().unwrap();
    assert!(wake.at.since(leader.now) >= ms(45), "the next heartbeat");
    leader.raft.tick(leader.now);
    leader.pump();
    assert_eq!(leader.take(), []);
}

#[test]
fn a_deadline_that_was_served_moves_on() {
    let mut solo = Solo::new(1, 3);
    for _ in 0..50 {
        let before = solo.raft.deadline().unwrap();
        solo.wake();
        assert!(solo.raft.deadline().unwrap().at > before.at);
        solo.settle();
    }
    let mut leader = Solo::leading(|builder| builder);
    for k in 0..50 {
        if leader.role() == Role::Leader {
            leader.propose("x");
            leader.settle();
            leader.say(2, leader.term(), appended(leader.status().last.0, 0));
        }
        let before = leader.raft.deadline().unwrap();
        leader.wake();
        assert!(leader.raft.deadline().unwrap().at > before.at, "step {k}");
    }
}

#[test]
fn a_stopped_storage_record_is_what_a_restart_reads() {
    // The first record of a fresh node is its state: without it a log must not be trusted.
    let mut image = LogImage::new();
    let config = Config::builder(n(1)).voters([n(1)]).build().unwrap();
    let mut raft = Raft::new(config, image.restored(0), synod_core::Instant::START).unwrap();
    while let Some(output) = raft.poll() {
        if let synod_core::Output::Persist(_, records) = output {
            let first = records.into_iter().next().unwrap();
            assert!(matches!(first, LogRecord::State(_)));
            image.apply(first).unwrap();
        }
    }
    assert!(image.state().is_some());
}
