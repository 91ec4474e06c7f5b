//! Disks that are slow, torn or gone.

use synod_core::{LogIndex, Machine, Output, ReplicatedLog, Role};

use super::cluster::{Cluster, i, ms, n};
use super::solo::{Solo, accept, accepted, b, votes};

/// While one write is under way, the next gathers: however many proposals come, there is one.
#[test]
fn one_write_gathers_what_comes_meanwhile() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.stuck = vec![n(1)];
    for k in 0..50 {
        cluster.propose(n(1), &k.to_string()).unwrap();
    }
    assert_eq!(cluster.servers[&n(1)].writing.len(), 1);
    cluster.sync(n(1));
    cluster.pump();
    let writing = &cluster.servers[&n(1)].writing;
    assert_eq!(writing.len(), 1, "the rest together");
    assert!(!writing[0].1.is_empty());
    cluster.stuck.clear();
    cluster.run(ms(10));
    assert_eq!(cluster.commands(n(2)).len(), 50);
}

/// The disk of one of three hangs: the others go on, and neither does it fall from the cluster.
#[test]
fn a_disk_that_hangs_holds_up_nobody_else() {
    for slow in [2, 3] {
        let mut cluster = Cluster::new(3);
        cluster.led_by(n(1));
        cluster.stuck = vec![n(slow)];
        let start = cluster.now;
        for k in 0..20 {
            cluster.commit(n(1), &k.to_string());
            cluster.run(ms(50));
        }
        assert_eq!(cluster.ballots_since(start), 0);
        assert_eq!(
            cluster.commands(n(slow)).len(),
            0,
            "nothing is handed out that is not durable"
        );
        cluster.stuck.clear();
        cluster.run(ms(1000));
        assert_eq!(cluster.commands(n(slow)).len(), 20);
    }
}

/// A leader whose disk hangs chooses with the others: its own vote is not needed.
#[test]
fn a_leader_with_a_hanging_disk_chooses_with_the_others() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.stuck = vec![n(1)];
    let ticket = cluster.propose(n(1), "x").unwrap();
    cluster.run(ms(100));
    assert_eq!(cluster.status(n(1)).committed, i(1));
    assert_eq!(cluster.commands(n(2)), ["x"]);
    assert_eq!(
        cluster.outcome(n(1), ticket),
        "",
        "its own log does not hold it"
    );
    cluster.crash(n(1));
    cluster.stuck.clear();
    let leader = cluster.elect();
    cluster.restart(n(1));
    cluster.commit(leader, "y");
    cluster.run(ms(300));
    assert_eq!(cluster.commands(n(1)), ["x", "y"]);
}

/// A crash in the middle of a write leaves a prefix of its records: whichever it is, what was chosen
/// stays chosen and all agree.
#[test]
fn a_torn_write_loses_nothing_that_was_chosen() {
    for keep in 0..8 {
        for who in 1..=3 {
            let mut cluster = Cluster::with(3, |builder| {
                builder.max_accept_bytes(40).writes_in_flight(4)
            });
            cluster.led_by(n(1));
            cluster.commit(n(1), "chosen");
            cluster.stuck = vec![n(who)];
            for k in 0..6 {
                cluster.propose(n(1), &k.to_string()).unwrap();
                cluster.run(ms(2));
            }
            cluster.crash_keeping(n(who), keep);
            cluster.stuck.clear();
            cluster.restart(n(who));
            cluster.run(ms(1000));
            let leader = cluster.leader().unwrap();
            cluster.commit(leader, "after");
            cluster.run(ms(100));
            for id in cluster.ids() {
                let commands = cluster.commands(id);
                assert_eq!(
                    commands.first().unwrap(),
                    "chosen",
                    "{id}, {who} keeps {keep}"
                );
                assert_eq!(
                    commands.last().unwrap(),
                    "after",
                    "{id}, {who} keeps {keep}"
                );
                assert_eq!(commands.len(), 8, "{id}, {who} keeps {keep}");
            }
        }
    }
}

/// A write fails: the driver drops the machine. Nothing that rested on the write was said, and what
/// the disk has is where the next life begins.
#[test]
fn a_machine_whose_disk_fails_is_dropped() {
    let mut solo = Solo::new(1, 3);
    let ballot = b(2, 2);
    solo.say(2, ballot, accept(votes(1, ballot, &["a"]), 0, 1));
    solo.settle();
    assert_eq!(solo.take_to(2), [accepted(1, &[])]);
    solo.say(2, ballot, accept(votes(2, ballot, &["b"]), 0, 1));
    // This write never returns. Whatever else comes, no vote for slot 2 leaves the machine.
    for step in 0..20 {
        solo.wait(ms(60));
        solo.say(2, ballot, accept(votes(3, ballot, &[]), 2, 1));
        if step % 5 == 0 {
            solo.say(
                3,
                b(4 + 2 * step, 3),
                synod_paxos::log::Body::Prepare { after: i(0) },
            );
        }
    }
    for (_, body) in solo.take() {
        match body {
            synod_paxos::log::Body::Accepted { held, .. } => assert!(!held.contains(i(2))),
            synod_paxos::log::Body::Promise(_) => panic!("a promise that is not durable"),
            _ => {}
        }
    }
    assert_eq!(solo.handed(), ["a"], "slot 2 is chosen, and not held here");
    let mut again = solo.restarted(3);
    assert_eq!((again.status().last, again.status().era), (i(1), 2));
    again.say(2, ballot, accept(votes(2, ballot, &["B"]), 2, 1));
    again.settle();
    assert_eq!(again.handed(), ["a", "B"]);
}

/// What storage says that it does not have is asked for again, and nothing else comes to harm.
#[test]
fn an_answer_that_storage_does_not_have_is_asked_for_again() {
    let mut cluster = Cluster::with(3, |builder| builder.max_log_bytes(1).max_unapplied_bytes(1));
    cluster.led_by(n(1));
    cluster.idle = vec![n(2)];
    for k in 0..5 {
        cluster.commit(n(1), &k.to_string());
    }
    cluster.run(ms(10));
    cluster.idle.clear();
    cluster.stuck = vec![n(2)];
    let now = cluster.now;
    cluster.log(n(2)).applied(now, i(1));
    cluster.pump();
    let server = cluster.server(n(2));
    let loads = std::mem::take(&mut server.loads);
    assert_eq!(loads.len(), 1);
    server.log.loaded(now, loads[0].0, None);
    cluster.stuck.clear();
    cluster.run(ms(1000));
    assert_eq!(cluster.commands(n(2)).len(), 5);
}

/// The same inputs give the same outputs, and two that behaved alike are equal.
#[test]
fn a_clone_does_the_same() {
    let mut solo = Solo::leading(|builder| builder);
    let mut twin = solo.clone();
    for one in [&mut solo, &mut twin] {
        for k in 0..10 {
            one.propose(&k.to_string());
            one.wait(ms(30));
            one.settle();
        }
    }
    assert_eq!(solo.log, twin.log);
    assert_eq!(solo.take(), twin.take());
    assert_eq!(solo.events, twin.events);
}

/// A tick that is not due, an answer that nobody asked for: nothing happens.
#[test]
fn spurious_calls_do_nothing() {
    let mut solo = Solo::leading(|builder| builder);
    solo.settle();
    solo.take();
    let before = solo.log.clone();
    for _ in 0..3 {
        solo.log.tick(solo.now);
        solo.log.loaded(solo.now, synod_core::LoadId(99), None);
        solo.log.applied(solo.now, LogIndex::START);
    }
    let mut outputs = Vec::new();
    while let Some(output) = solo.log.poll() {
        outputs.push(matches!(output, Output::Event(_)));
    }
    assert_eq!(outputs, []);
    assert_eq!(solo.log, before);
    assert_eq!(solo.log.status().role, Role::Leader);
}
