//! What others can fill has a limit, and reaching it is an error that names value and limit.

use synod_core::{Denial, Outcome, ReadLevel, ReplicatedLog, SessionToken, Ticket};
use synod_paxos::log::Body;

use super::cluster::{Cluster, i, ms, n};
use super::solo::{Solo, accepted};

#[test]
fn a_command_has_a_longest_length() {
    let mut solo = Solo::leading(|builder| builder.max_command_bytes(5));
    solo.propose("12345").unwrap();
    let refused = solo.log.propose(solo.now, "123456".into()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the command has 6 bytes, the limit is 5 (the leader is n1)"
    );
    assert_eq!(refused.command.unwrap(), "123456");
    // At a follower as well, before it is sent.
    let mut cluster = Cluster::with(3, |builder| builder.max_command_bytes(5));
    cluster.led_by(n(1));
    let refused = cluster.propose(n(2), "123456").unwrap_err();
    assert_eq!(
        refused.refusal.to_string(),
        "the command has 6 bytes, the limit is 5"
    );
    // And at a leader whose limit is lower than the follower's.
    let ballot = solo.ballot();
    solo.take();
    let propose = Body::Propose {
        life: 7,
        first: Ticket(1),
        commands: vec!["1".into(), "123456".into()],
    };
    solo.say(2, ballot, propose);
    let answer = Body::Proposed {
        life: 7,
        first: Ticket(1),
        count: 2,
        outcome: Outcome::Refused(Denial::TooLarge { len: 6, limit: 5 }),
    };
    assert!(solo.take_to(2).contains(&answer), "all or nothing");
    assert_eq!(solo.status().last, i(1));
}

/// A leader takes on so much that is not chosen, and more when some of it is.
#[test]
fn what_is_not_chosen_is_bounded() {
    let limits =
        |b: synod_paxos::log::ConfigBuilder| b.max_command_bytes(10).max_uncommitted_bytes(200);
    let mut solo = Solo::leading(limits);
    let ballot = solo.ballot();
    let mut taken = 0;
    let refused = loop {
        match solo.log.propose(solo.now, "0123456789".into()) {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
        assert!(taken < 100);
    };
    assert!(taken >= 2, "{taken}");
    let text =
        "the bytes of uncommitted proposals would exceed the limit of 200 (the leader is n1)";
    assert_eq!(refused.to_string(), text);
    assert_eq!(refused.command.unwrap(), "0123456789");
    solo.settle();
    assert!(solo.status().uncommitted_bytes <= 200);
    let propose = Body::Propose {
        life: 7,
        first: Ticket(1),
        commands: vec!["0123456789".into()],
    };
    solo.take();
    solo.say(2, ballot, propose);
    let busy = Outcome::Refused(Denial::Busy { limit: 200 });
    let answers = solo.take_to(2);
    let told = |body: &Body| matches!(body, Body::Proposed { outcome, .. } if *outcome == busy);
    assert!(answers.iter().any(told), "{answers:?}");
    solo.say(2, ballot, accepted(taken, &[]));
    assert_eq!(solo.status().uncommitted_bytes, 0);
    assert!(solo.propose("0123456789").is_some());
}

/// A follower that passes proposals on keeps no more of them than a leader would.
#[test]
fn what_is_passed_on_is_bounded() {
    let mut cluster = Cluster::with(3, |builder| {
        builder.max_command_bytes(10).max_uncommitted_bytes(200)
    });
    cluster.led_by(n(1));
    cluster.part(n(1), n(2));
    let mut taken = Vec::new();
    let refused = loop {
        match cluster.propose(n(2), "0123456789") {
            Ok(ticket) => taken.push(ticket),
            Err(refused) => break refused,
        }
        assert!(taken.len() < 100);
    };
    let text = "the bytes of forwarded proposals would exceed the limit of 200";
    assert_eq!(refused.refusal.to_string(), text);
    cluster.heal();
    cluster.run(ms(3_000));
    for ticket in taken {
        let what = cluster.outcome(n(2), ticket);
        assert!(
            what == "unknown" || what.starts_with("committed"),
            "{what:?}"
        );
    }
    cluster
        .propose(n(2), "0123456789")
        .expect("there is room again");
}

#[test]
fn reads_that_wait_are_bounded() {
    for level in [
        ReadLevel::Linearizable,
        ReadLevel::Session(SessionToken(i(99))),
    ] {
        let mut solo = Solo::leading(|builder| builder.max_pending_reads(3));
        for _ in 0..3 {
            solo.log.read(solo.now, level).unwrap();
        }
        let refused = solo.log.read(solo.now, level).unwrap_err();
        let text = "the pending reads would exceed the limit of 3 (the leader is n1)";
        assert_eq!(refused.to_string(), text);
    }
    let mut solo = Solo::leading(|builder| builder.max_pending_reads(3));
    let ballot = solo.ballot();
    for ticket in 0..4 {
        let read = Body::Read {
            life: 7,
            ticket: Ticket(ticket),
        };
        solo.say(2, ballot, read);
    }
    let busy = Err(Denial::Busy { limit: 3 });
    let answers = solo.take_to(2);
    let told = |body: &&Body| matches!(body, Body::ReadAt { index, .. } if *index == busy);
    assert_eq!(answers.iter().filter(told).count(), 1, "{answers:?}");
}

/// A state machine that is slow gets no more than it may have before it, and a log that it has not
/// applied does not stay in memory for it.
#[test]
fn what_is_handed_out_is_bounded() {
    let mut cluster = Cluster::with(3, |builder| {
        builder.max_unapplied_bytes(300).max_log_bytes(300)
    });
    cluster.led_by(n(1));
    cluster.idle = vec![n(2)];
    for k in 0..200 {
        cluster.commit(n(1), &format!("command {k}"));
    }
    cluster.run(ms(10));
    let got = cluster.commands(n(2)).len();
    assert!((1..20).contains(&got), "{got}");
    assert_eq!(cluster.status(n(2)).committed, i(200));
    assert!(
        cluster.status(n(2)).log_bytes <= 400,
        "{}",
        cluster.status(n(2)).log_bytes
    );
    cluster.idle.clear();
    let now = cluster.now;
    cluster.log(n(2)).applied(now, i(got as u64));
    cluster.run(ms(100));
    assert_eq!(cluster.commands(n(2)).len(), 200);
}
