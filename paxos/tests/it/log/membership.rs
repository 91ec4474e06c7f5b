//! Who belongs to a cluster: learners, quorum systems, nodes with another disk.

use synod_core::{Change, ReplicatedLog, Role};
use synod_paxos::log::{Body, Detail};
use synod_quorum::{PaxosPhases, Quorum};

use super::cluster::{Cluster, i, ms, n};
use super::solo::{Solo, accept, b, votes};

fn change(cluster: &mut Cluster, at: u64, change: Change) -> Result<synod_core::Ticket, String> {
    let now = cluster.now;
    let ticket = cluster.log(n(at)).reconfigure(now, change);
    cluster.pump();
    ticket.map_err(|rejected| rejected.refusal.to_string())
}

#[test]
fn a_learner_gets_the_log_and_does_not_count() {
    let mut cluster = Cluster::of(&[1, 2, 3, 4], |builder| {
        builder.voters([n(1), n(2), n(3)]).learners([n(4)])
    });
    cluster.led_by(n(1));
    assert_eq!(cluster.status(n(4)).role, Role::Learner);
    cluster.commit(n(1), "a");
    cluster.run(ms(10));
    assert_eq!(cluster.commands(n(4)), ["a"]);
    cluster.crash(n(2));
    cluster.crash(n(3));
    let ticket = cluster.propose(n(1), "b").unwrap();
    cluster.run(ms(1000));
    assert_eq!(cluster.outcome(n(1), ticket), "", "its copy is no vote");
    assert_eq!(
        cluster.status(n(4)).role,
        Role::Learner,
        "and it stands for nothing"
    );
    assert_eq!(cluster.leader(), None);
}

/// It joins with an empty disk and learns everything, through snapshots, too; it is taken out and
/// hears of that.
#[test]
fn a_learner_joins_and_leaves() {
    let mut cluster = Cluster::with(3, |builder| builder.retained_entries(0));
    cluster.led_by(n(1));
    for k in 0..10 {
        cluster.commit(n(1), &k.to_string());
    }
    cluster.snapshot(n(1), i(8), b"eight");
    cluster.join(4);
    cluster.run(ms(300));
    assert_eq!(
        cluster.status(n(4)).committed,
        i(0),
        "nobody has taken it in"
    );
    let ticket = change(&mut cluster, 1, Change::AddLearner(n(4))).unwrap();
    cluster.run(ms(600));
    assert_eq!(cluster.outcome(n(1), ticket), "committed i11");
    let status = cluster.status(n(4));
    assert_eq!((status.committed, status.snapshot), (i(11), i(8)));
    assert_eq!((status.role, status.learners), (Role::Learner, vec![n(4)]));
    assert_eq!(status.voters, [n(1), n(2), n(3)]);
    cluster.commit(n(1), "for all");
    cluster.run(ms(10));
    assert!(cluster.commands(n(4)).ends_with(&["for all".into()]));
    // It is there after a restart, and after a change of the leader.
    cluster.crash(n(4));
    cluster.restart(n(4));
    let now = cluster.now;
    cluster.log(n(1)).transfer(now, n(2)).unwrap();
    cluster.run(ms(300));
    cluster.commit(n(2), "by another");
    cluster.run(ms(10));
    assert_eq!(cluster.status(n(4)).committed, i(13));

    change(&mut cluster, 2, Change::RemoveLearner(n(4))).unwrap();
    cluster.run(ms(300));
    assert_eq!(cluster.status(n(4)).learners, [], "it has heard of it");
    assert_eq!(cluster.status(n(2)).peers.len(), 2);
    cluster.commit(n(2), "without it");
    cluster.run(ms(100));
    assert!(!cluster.commands(n(4)).contains(&"without it".into()));
}

#[test]
fn changes_that_make_no_sense_are_refused() {
    let mut cluster = Cluster::of(&[1, 2, 3, 4], |builder| {
        builder.voters([n(1), n(2), n(3)]).learners([n(4)])
    });
    cluster.led_by(n(1));
    let mut refused = |at, what| change(&mut cluster, at, what).unwrap_err();
    assert_eq!(
        refused(2, Change::AddLearner(n(5))),
        "this node is not the leader"
    );
    assert_eq!(
        refused(1, Change::AddLearner(n(2))),
        "n2 is a member already"
    );
    assert_eq!(
        refused(1, Change::AddLearner(n(4))),
        "n4 is a member already"
    );
    assert_eq!(
        refused(1, Change::RemoveLearner(n(2))),
        "n2 is not a learner"
    );
    assert_eq!(
        refused(1, Change::RemoveLearner(n(9))),
        "n9 is not a learner"
    );
}

#[test]
fn one_change_at_a_time() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.isolate(n(1));
    change(&mut cluster, 1, Change::AddLearner(n(4))).unwrap();
    let refused = change(&mut cluster, 1, Change::AddLearner(n(5))).unwrap_err();
    assert_eq!(refused, "another membership change is under way at i2");
    cluster.heal();
    cluster.run(ms(300));
    change(&mut cluster, 1, Change::AddLearner(n(5))).unwrap();
}

/// A configuration is in force once it is chosen, on whoever learns so, and not before: one that
/// another ballot replaces has never been.
#[test]
fn a_configuration_counts_when_it_is_chosen() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.isolate(n(1));
    change(&mut cluster, 1, Change::AddLearner(n(4))).unwrap();
    cluster.run(ms(20));
    assert_eq!(cluster.status(n(1)).learners, []);
    cluster.run(ms(800));
    let next = cluster.leader().unwrap();
    cluster.commit(next, "b");
    cluster.heal();
    cluster.run(ms(800));
    for id in cluster.ids() {
        assert_eq!(cluster.status(id).learners, [], "{id}");
    }
    // Chosen at a quorum, and the node restarts before it is told so.
    change(&mut cluster, next.0, Change::AddLearner(n(4))).unwrap();
    cluster.run(ms(1));
    for id in cluster.ids() {
        cluster.crash(id);
    }
    for id in [n(1), n(2), n(3)] {
        cluster.restart(id);
    }
    cluster.run(ms(1000));
    for id in [n(1), n(2), n(3)] {
        assert_eq!(cluster.status(id).learners, [n(4)], "{id}");
    }
}

fn flexible(one: usize, two: usize) -> PaxosPhases {
    let count = |need| Quorum::count(need, (1..=4).map(n)).unwrap();
    PaxosPhases::new(&count(one), &count(two)).unwrap()
}

/// Four nodes, three for phase 1 and two for phase 2: two may be away while the leader stays.
#[test]
fn small_quorums_choose_and_large_ones_elect() {
    let mut cluster = Cluster::with(4, |builder| builder.quorums(flexible(3, 2)));
    cluster.led_by(n(1));
    cluster.crash(n(3));
    cluster.crash(n(4));
    cluster.commit(n(1), "two are enough");
    cluster.run(ms(1000));
    assert_eq!(cluster.leader(), Some(n(1)), "and it stays the leader");
    cluster.commit(n(1), "still");
    let start = cluster.now;
    cluster.crash(n(1));
    cluster.restart(n(4));
    cluster.run(ms(2000));
    assert_eq!(cluster.leader(), None, "two do not elect");
    assert_eq!(cluster.ballots_since(start), 0, "nor do they try");
    cluster.restart(n(3));
    let leader = cluster.elect();
    cluster.commit(leader, "three do");
    cluster.run(ms(300));
    for id in [n(2), n(3), n(4)] {
        assert_eq!(
            cluster.commands(id),
            ["two are enough", "still", "three do"],
            "{id}"
        );
    }
}

/// All for phase 1 and one for phase 2: the leader decides alone, and no other can take over
/// without it.
#[test]
fn one_may_choose_if_all_elect() {
    let mut cluster = Cluster::with(4, |builder| builder.quorums(flexible(4, 1)));
    cluster.led_by(n(1));
    for id in [2, 3, 4] {
        cluster.crash(n(id));
    }
    cluster.commit(n(1), "alone");
    cluster.run(ms(1000));
    cluster.commit(n(1), "alone for long");
    for id in [2, 3, 4] {
        cluster.restart(n(id));
    }
    cluster.run(ms(300));
    cluster.crash(n(1));
    cluster.run(ms(2000));
    assert_eq!(cluster.leader(), None);
    cluster.restart(n(1));
    let leader = cluster.elect();
    cluster.commit(leader, "together");
}

/// A read is confirmed by what meets every quorum of phase 1.
#[test]
fn reads_are_confirmed_by_the_quorum_of_phase_2() {
    let mut cluster = Cluster::with(4, |builder| builder.quorums(flexible(3, 2)));
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.crash(n(3));
    cluster.crash(n(4));
    let ticket = cluster
        .read(n(1), synod_core::ReadLevel::Linearizable)
        .unwrap();
    cluster.run(ms(5));
    assert_eq!(cluster.outcome(n(1), ticket), "read i1");
    cluster.crash(n(2));
    let ticket = cluster
        .read(n(1), synod_core::ReadLevel::Linearizable)
        .unwrap();
    cluster.run(ms(500));
    assert_ne!(cluster.outcome(n(1), ticket), "read i1");
}

// Nodes that have lost their disk.

/// A node that comes back with another disk has lost its promises: whoever knew it tells it so, and
/// it stops. Else a quorum could promise twice.
#[test]
fn a_node_that_has_lost_its_disk_stops() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.run(ms(10));
    cluster.crash(n(2));
    cluster.may_stop = true;
    let life = cluster.servers[&n(2)].life + 1;
    cluster.servers.remove(&n(2));
    cluster.start(n(2), synod_core::LogImage::new(), life);
    cluster.run(ms(300));
    assert_eq!(cluster.status(n(2)).role, Role::Stopped);
    let why = cluster.servers[&n(2)]
        .events
        .iter()
        .find_map(|event| match event {
            synod_core::LogEvent::Stopped(why) => Some(why.clone()),
            _ => None,
        });
    let why = why.unwrap();
    assert_eq!(why.rule, "a node keeps its storage");
    assert!(
        why.evidence.contains("take the node out of the cluster"),
        "{}",
        why.evidence
    );
    let amnesia = |cluster: &Cluster, id| {
        let mut details = cluster.servers[&id].details();
        details.any(|detail| matches!(detail, Detail::Amnesia { peer, .. } if *peer == n(2)))
    };
    assert!(amnesia(&cluster, n(1)) || amnesia(&cluster, n(3)));
    // It says and does nothing any more.
    cluster.sent.clear();
    let refused = cluster.propose(n(2), "x").unwrap_err();
    assert_eq!(refused.refusal.to_string(), "this node has stopped");
    assert_eq!(refused.command.unwrap(), "x");
    let refused = cluster
        .read(n(2), synod_core::ReadLevel::Stale)
        .unwrap_err();
    assert_eq!(refused.refusal.to_string(), "this node has stopped");
    cluster.commit(n(1), "on without it");
    assert_eq!(cluster.status(n(2)).committed, i(0));
}

/// Its promises count for nothing while it has not heard so.
#[test]
fn a_stranger_does_not_vote() {
    let mut solo = Solo::new(1, 3);
    solo.stand(&[2, 3]);
    let ballot = solo.ballot();
    let message = |generation, body| synod_core::Envelope {
        from: n(2),
        to: n(1),
        link: synod_core::LinkId(1),
        message: synod_paxos::log::Message {
            generation: synod_core::Generation(generation),
            ballot,
            epoch: synod_paxos::log::Epoch(0),
            body,
        },
    };
    let nothing = || super::solo::promise(super::solo::page(0, 0, 0, &[]));
    solo.take();
    synod_core::Machine::step(&mut solo.log, solo.now, message(77, nothing()));
    solo.pump();
    assert_eq!(solo.status().role, Role::Candidate);
    let known = synod_core::Generation(2);
    assert_eq!(solo.take_to(2), [Body::Stranger { known }]);
    synod_core::Machine::step(&mut solo.log, solo.now, message(2, nothing()));
    assert_eq!(solo.status().role, Role::Leader);
}

/// Who is told of another storage by one that is no member goes on.
#[test]
fn only_members_stop_a_node() {
    let known = synod_core::Generation(12345);
    let mut solo = Solo::new(1, 3);
    solo.say(9, b(0, 0), Body::Stranger { known });
    assert_eq!(solo.stopped(), None);
    solo.say(2, b(0, 0), Body::Stranger { known });
    assert_eq!(solo.stopped(), Some("a node keeps its storage"));
    let before = solo.clone();
    solo.take();
    solo.say(2, b(2, 2), accept(votes(1, b(2, 2), &["a"]), 1, 1));
    solo.wait(ms(5000));
    solo.settle();
    assert_eq!(solo.take(), []);
    assert_eq!(solo.handed(), before.handed());
    assert_eq!(solo.log.status().role, Role::Stopped);
}
