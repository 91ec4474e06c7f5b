//! Reads at each level: linearizable ones on leader and followers, and the schedules in which they
//! would be stale.

use synod_core::{
    Denial, LogEvent, ReadLevel, Refusal, ReplicatedLog, Role, Round, SessionToken, Ticket,
};
use synod_paxos::log::Body;

use super::cluster::{Cluster, i, ms, n, outcome};
use super::solo::{Solo, accept, b, held, page, promise, votes};

fn read(solo: &mut Solo) -> Ticket {
    let ticket = solo.log.read(solo.now, ReadLevel::Linearizable).unwrap();
    solo.pump();
    ticket
}

/// The latest round that a peer was asked to confirm.
fn round(solo: &mut Solo) -> u64 {
    let of = |(_, body): &(u64, Body)| match body {
        Body::Accept(accept) => Some(accept.round.0),
        _ => None,
    };
    solo.take().iter().filter_map(of).max().expect("a question")
}

/// A voter holds so much, and has seen this round.
fn confirmed(through: u64, round: u64) -> Body {
    Body::Accepted {
        held: held(through, &[]),
        round: Round(round),
    }
}

#[test]
fn a_linearizable_read_sees_what_was_chosen_before() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    for at in [1, 2, 3] {
        let ticket = cluster.read(n(at), ReadLevel::Linearizable).unwrap();
        cluster.run(ms(6));
        assert_eq!(cluster.outcome(n(at), ticket), "read i1", "at {at}");
    }
    // One that comes while a write is on its way sees what was chosen before it came.
    let write = cluster.propose(n(1), "b").unwrap();
    let before = cluster.read(n(2), ReadLevel::Linearizable).unwrap();
    cluster.run(ms(10));
    assert_eq!(cluster.outcome(n(1), write), "committed i2");
    assert_eq!(
        cluster.outcome(n(2), before),
        "read i1",
        "it was not chosen yet"
    );
    let after = cluster.read(n(2), ReadLevel::Linearizable).unwrap();
    cluster.run(ms(10));
    assert_eq!(cluster.outcome(n(2), after), "read i2");
}

/// At a follower, the answer comes once its state machine is there.
#[test]
fn a_read_at_a_follower_waits_for_what_it_must_see() {
    let mut solo = Solo::new(1, 3);
    let ballot = b(2, 2);
    solo.say(2, ballot, accept(votes(1, ballot, &["a", "b"]), 1, 1));
    solo.settle();
    solo.take();
    let ticket = read(&mut solo);
    let sent = solo.take_to(2);
    let [
        Body::Read {
            life,
            ticket: asked,
        },
    ] = sent[..]
    else {
        panic!("{sent:?}")
    };
    let answer = |index| Body::ReadAt {
        life,
        ticket: asked,
        index,
    };
    let mut other = solo.clone();
    solo.say(2, ballot, answer(Ok(i(2))));
    assert_eq!(
        outcome(&solo.events, ticket),
        "",
        "slot 2 is not known to be chosen here"
    );
    solo.say(2, ballot, accept(votes(3, ballot, &[]), 2, 1));
    assert_eq!(outcome(&solo.events, ticket), "read i2");
    solo.say(2, ballot, answer(Ok(i(2))));
    assert_eq!(outcome(&solo.events, ticket), "read i2", "once");
    other.say(2, ballot, answer(Err(Denial::NotLeader)));
    assert_eq!(
        outcome(&other.events, ticket),
        "refused: this node is not the leader"
    );
}

#[test]
fn a_session_reads_its_writes_on_any_replica() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.cut.push((n(1), n(3)));
    let at = cluster.commit(n(1), "a");
    let token = ReadLevel::Session(SessionToken(at));
    let near = cluster.read(n(1), token).unwrap();
    assert_eq!(cluster.outcome(n(1), near), "read i1", "at once");
    let far = cluster.read(n(3), token).unwrap();
    cluster.run(ms(20));
    assert_eq!(cluster.outcome(n(3), far), "", "it does not have it yet");
    cluster.heal();
    cluster.run(ms(500));
    assert_eq!(cluster.outcome(n(3), far), "read i1");
}

#[test]
fn a_session_that_is_ahead_of_everything_times_out() {
    let mut cluster = Cluster::with(3, |builder| builder.forward_timeout(ms(500)));
    cluster.led_by(n(1));
    let token = ReadLevel::Session(SessionToken(i(1_000)));
    let ticket = cluster.read(n(2), token).unwrap();
    cluster.run(ms(490));
    assert_eq!(cluster.outcome(n(2), ticket), "");
    cluster.run(ms(20));
    assert_eq!(
        cluster.outcome(n(2), ticket),
        "refused: no answer came in time"
    );
}

#[test]
fn a_stale_read_answers_at_once_wherever_it_is() {
    let mut cluster = Cluster::new(3);
    let ticket = cluster.read(n(2), ReadLevel::Stale).unwrap();
    assert_eq!(
        cluster.outcome(n(2), ticket),
        "read i0",
        "before any leader"
    );
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.run(ms(10));
    cluster.isolate(n(3));
    cluster.commit(n(1), "b");
    let ticket = cluster.read(n(3), ReadLevel::Stale).unwrap();
    assert_eq!(cluster.outcome(n(3), ticket), "read i1");
}

#[test]
fn reads_by_lease_are_not_there_unless_configured() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    for at in [1, 2] {
        let refused = cluster.read(n(at), ReadLevel::Lease).unwrap_err();
        let text = "a read by lease is not supported (the leader is n1)";
        assert_eq!(refused.to_string(), text);
        assert_eq!(refused.command, None);
    }
}

#[test]
fn a_linearizable_read_needs_a_leader() {
    let mut cluster = Cluster::new(3);
    let refused = cluster.read(n(1), ReadLevel::Linearizable).unwrap_err();
    assert_eq!(refused.refusal, Refusal::NoLeader);
}

/// A new leader knows what may have been chosen before it only when it has had all of it chosen
/// anew: no read is answered before.
#[test]
fn no_read_is_answered_before_recovery() {
    let mut solo = Solo::new(1, 3);
    solo.stand(&[2, 3]);
    let ballot = solo.ballot();
    solo.say(
        2,
        ballot,
        promise(page(0, 0, 2, &[votes(1, b(0, 2), &["a", "b"])])),
    );
    assert_eq!(solo.status().role, Role::Leader);
    let ticket = read(&mut solo);
    let asked = round(&mut solo);
    solo.say(2, ballot, confirmed(0, asked));
    solo.settle();
    assert_eq!(
        outcome(&solo.events, ticket),
        "",
        "it leads, and a may be chosen"
    );
    solo.say(2, ballot, confirmed(1, asked));
    assert_eq!(outcome(&solo.events, ticket), "", "and b");
    solo.say(2, ballot, confirmed(2, asked));
    assert_eq!(outcome(&solo.events, ticket), "read i2");
}

/// An answer to an earlier round is no answer to a later one, however often it comes.
#[test]
fn an_old_answer_confirms_no_later_read() {
    let mut solo = Solo::leading(|builder| builder);
    let ballot = solo.ballot();
    let first = read(&mut solo);
    let one = round(&mut solo);
    solo.say(2, ballot, confirmed(0, one));
    assert_eq!(outcome(&solo.events, first), "read i0");
    let second = read(&mut solo);
    let two = round(&mut solo);
    assert!(two > one);
    for peer in [2, 3, 2, 3] {
        solo.say(peer, ballot, confirmed(0, one));
    }
    for (peer, ballot) in [(9, ballot), (3, b(90, 3)), (3, b(0, 3))] {
        solo.say(peer, ballot, confirmed(0, two));
    }
    assert_eq!(outcome(&solo.events, second), "");
    solo.say(3, ballot, confirmed(0, two));
    assert_eq!(outcome(&solo.events, second), "read i0");
}

#[test]
fn an_answer_to_a_round_that_was_not_asked_confirms_nothing() {
    let mut solo = Solo::leading(|builder| builder);
    let ballot = solo.ballot();
    let ticket = solo.log.read(solo.now, ReadLevel::Linearizable).unwrap();
    solo.say(2, ballot, confirmed(0, 1));
    assert_eq!(outcome(&solo.events, ticket), "");
}

/// A slow disk of the leader or of a follower holds up no read.
#[test]
fn reads_do_not_wait_for_disks() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.run(ms(10));
    cluster.stuck = cluster.ids();
    let write = cluster.propose(n(1), "b").unwrap();
    let tickets = [1, 2].map(|at| (at, cluster.read(n(at), ReadLevel::Linearizable).unwrap()));
    cluster.run(ms(10));
    for (at, ticket) in tickets {
        assert_eq!(cluster.outcome(n(at), ticket), "read i1", "at {at}");
    }
    assert_eq!(cluster.outcome(n(1), write), "");
}

/// A leader that is cut off while the others go on: no read of it is answered.
#[test]
fn a_deposed_leader_answers_no_read() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "before");
    cluster.run(ms(10));
    cluster.isolate(n(1));
    let mut tickets = Vec::new();
    let mut next = None;
    for _ in 0..1_500 {
        tickets.extend(cluster.read(n(1), ReadLevel::Linearizable).ok());
        cluster.run(ms(1));
        if next.is_none() && cluster.leader().is_some_and(|leader| leader != n(1)) {
            next = cluster.leader();
            cluster.commit(next.unwrap(), "after");
        }
    }
    assert!(next.is_some() && tickets.len() > 50);
    let role = cluster.status(n(1)).role;
    assert_ne!(role, Role::Leader);
    for ticket in tickets {
        let what = cluster.outcome(n(1), ticket);
        assert_eq!(
            what, "refused: this node is not the leader",
            "and each is told so"
        );
    }
    cluster.heal();
    cluster.run(ms(500));
    let ticket = cluster.read(n(1), ReadLevel::Linearizable).unwrap();
    cluster.run(ms(10));
    assert_eq!(cluster.outcome(n(1), ticket), "read i2");
}

/// What a follower has asked is settled when its leader falls, or does not answer.
#[test]
fn reads_through_a_follower_end() {
    let mut cluster = Cluster::with(3, |builder| builder.forward_timeout(ms(300)));
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.crash(n(3));
    cluster.cut.push((n(2), n(1)));
    let ticket = cluster.read(n(2), ReadLevel::Linearizable).unwrap();
    cluster.run(ms(1000));
    let what = cluster.outcome(n(2), ticket);
    assert!(what.starts_with("refused: "), "{what:?}");
}

#[test]
fn a_read_is_an_event_after_what_it_must_see() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.propose(n(1), "a").unwrap();
    cluster.run(ms(1));
    let ticket = cluster.read(n(2), ReadLevel::Linearizable).unwrap();
    cluster.run(ms(20));
    let events = &cluster.servers[&n(2)].events;
    let handed = events.iter().position(|event| match event {
        LogEvent::Committed(committed) => committed.entries.contains(i(1)),
        _ => false,
    });
    let answered = events
        .iter()
        .position(|event| matches!(event, LogEvent::Read { ticket: of, .. } if *of == ticket));
    assert!(handed.unwrap() < answered.unwrap());
}
