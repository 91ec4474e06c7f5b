//! Linearizable reads (dissertation §6.4), and the schedules in which other implementations gave
//! stale ones.

use synod_core::{
    LogIndex, Machine, NodeId, ReadLevel, Refusal, ReplicatedLog, Role, SessionToken, Ticket,
};
use synod_raft::{Body, Denial};

use crate::cluster::{Cluster, ms, n};
use crate::solo::{Solo, append, appended, at};

fn read(solo: &mut Solo) -> Ticket {
    let ticket = solo.raft.read(solo.now, ReadLevel::Linearizable).unwrap();
    solo.pump();
    ticket
}

/// What became of a read.
fn answer(solo: &Solo, ticket: Ticket) -> Option<Result<u64, Refusal>> {
    use synod_core::LogEvent;
    let mut answers = solo.events.iter().filter_map(|event| match event {
        LogEvent::Read { ticket: t, index } if *t == ticket => Some(Ok(index.0)),
        LogEvent::Refused(t, why) if *t == ticket => Some(Err(*why)),
        _ => None,
    });
    let first = answers.next();
    assert!(answers.next().is_none(), "a ticket resolves once");
    first
}

/// The latest round that a peer was asked to confirm.
fn round(solo: &mut Solo) -> u64 {
    let of = |(_, body): &(u64, Body)| match body {
        Body::Append(append) => Some(append.round.0),
        _ => None,
    };
    solo.take().iter().filter_map(of).max().expect("an append")
}

#[test]
fn a_new_leader_answers_no_read_before_its_term_has_committed() {
    let mut solo = Solo::new(1, 3);
    solo.win(&[2]);
    let ticket = read(&mut solo);
    let asked = round(&mut solo);
    solo.say(2, 1, appended(0, asked));
    assert_eq!(
        answer(&solo, ticket),
        None,
        "led, but what is committed is not known"
    );
    solo.say(2, 1, appended(1, asked));
    assert_eq!(answer(&solo, ticket), Some(Ok(1)));
}

#[test]
fn reads_are_refused_when_the_leader_steps_down() {
    let mut solo = Solo::leading(|builder| builder);
    let ticket = read(&mut solo);
    solo.say(3, 9, append(at(1, 1), 9, 0, 0));
    assert_eq!(answer(&solo, ticket), Some(Err(Refusal::NotLeader)));
}

#[test]
fn a_delayed_or_repeated_answer_confirms_no_later_read() {
    // The schedule of etcd-io/etcd #20418: a read that is done, its second answer still under way;
    // the leader is cut off and others commit; then a new read, and the old answer arrives.
    let mut solo = Solo::leading(|builder| builder);
    let first = read(&mut solo);
    let asked = round(&mut solo);
    solo.say(2, 1, appended(1, asked));
    assert_eq!(answer(&solo, first), Some(Ok(1)));
    let second = read(&mut solo);
    let later = round(&mut solo);
    assert!(later > asked);
    for _ in 0..3 {
        solo.say(3, 1, appended(1, asked));
        solo.say(2, 1, appended(1, asked));
    }
    assert_eq!(
        answer(&solo, second),
        None,
        "nobody has confirmed anything since it arrived"
    );
    solo.say(3, 1, appended(1, later));
    assert_eq!(answer(&solo, second), Some(Ok(1)));
}

#[test]
fn an_answer_to_a_round_that_has_not_begun_confirms_nothing() {
    let mut solo = Solo::leading(|builder| builder);
    let ticket = solo.raft.read(solo.now, ReadLevel::Linearizable).unwrap();
    solo.say(2, 1, appended(1, 1));
    assert_eq!(answer(&solo, ticket), None);
}

#[test]
fn learners_and_strangers_confirm_nothing() {
    let mut solo = Solo::leading(|builder| builder.learners([NodeId(7)]));
    let ticket = read(&mut solo);
    let asked = round(&mut solo);
    for peer in [7, 8] {
        solo.say(peer, 1, appended(1, asked));
    }
    assert_eq!(answer(&solo, ticket), None);
}

/// A leader that is cut off while the others go on: what it says to reads until it steps down.
fn cut_off(level: ReadLevel) {
    let mut cluster = Cluster::new(3);
    let old = cluster.elect();
    cluster.propose(old, "before").unwrap();
    cluster.run(ms(10));
    cluster.isolate(old);
    let mut tickets = Vec::new();
    let mut committed = 0;
    for _ in 0..1500 {
        if let Ok(ticket) = cluster.read(old, level) {
            tickets.push(ticket);
        }
        cluster.run(ms(1));
        let new = cluster.leader().filter(|leader| *leader != old);
        if let Some(new) = new {
            committed += u32::from(cluster.propose(new, "after").is_ok());
        }
    }
    assert!(committed > 0, "the others go on");
    assert_ne!(cluster.raft(old.0).status().role, Role::Leader);
    cluster.heal();
    cluster.run(ms(300));
    assert_eq!(tickets.is_empty(), level == ReadLevel::Lease);
    for ticket in tickets {
        let outcome = cluster.outcome(old, ticket);
        assert_eq!(
            outcome,
            ["refused: this node is not the leader"],
            "{ticket:?}"
        );
    }
}

#[test]
fn a_leader_that_is_cut_off_answers_no_read() {
    // The third schedule: perfect clocks, the followers time out first, and the old leader does not
    // know yet.
    cut_off(ReadLevel::Linearizable);
    // Nor is there a lease that could be stale.
    cut_off(ReadLevel::Lease);
}

#[test]
fn another_leader_without_a_time_out_makes_no_read_stale() {
    // The second schedule: someone else is elected while the old leader is still being heard of (a
    // transfer of the leadership does that). It needs a confirmation that nobody gives any more.
    let mut solo = Solo::leading(|builder| builder);
    let ticket = read(&mut solo);
    let asked = round(&mut solo);
    let lease = solo.raft.read(solo.now, ReadLevel::Lease).unwrap_err();
    assert!(matches!(lease.refusal, Refusal::Unsupported(_)));
    let transfer = solo.raft.transfer(solo.now, NodeId(2)).unwrap_err();
    assert!(matches!(transfer.refusal, Refusal::Unsupported(_)));
    // Both voted in term 2, and answer out of it.
    solo.say(2, 2, appended(0, 0));
    solo.say(3, 1, appended(1, asked));
    assert_eq!(answer(&solo, ticket), Some(Err(Refusal::NotLeader)));
}

#[test]
fn a_leader_alone_waits_for_its_own_disk() {
    let mut solo = Solo::new(1, 1);
    solo.wake();
    while solo.role() != Role::Leader {
        solo.sync_one();
    }
    let ticket = read(&mut solo);
    assert_eq!(
        answer(&solo, ticket),
        None,
        "its opening entry is not durable"
    );
    solo.settle();
    assert_eq!(answer(&solo, ticket), Some(Ok(1)));
}

#[test]
fn after_a_restart_no_read_is_answered_from_what_is_on_disk_alone() {
    let mut solo = Solo::new(1, 1);
    solo.wake();
    solo.settle();
    for _ in 0..4 {
        solo.propose("x");
    }
    solo.settle();
    let mut again = Solo::on(1, 1, solo.image, |builder| builder);
    assert_eq!(again.status().committed, LogIndex(0));
    assert!(again.raft.read(again.now, ReadLevel::Linearizable).is_err());
    again.wake();
    again.settle();
    let ticket = read(&mut again);
    again.settle();
    assert_eq!(
        answer(&again, ticket),
        Some(Ok(6)),
        "all of the log, and the opening entry"
    );
}

#[test]
fn a_state_machine_may_be_ahead_of_what_is_known_to_be_committed() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 4, 0));
    solo.settle();
    let mut again = Solo::on(1, 3, solo.image, |builder| builder);
    again.raft.applied(again.now, LogIndex(3));
    again.pump();
    assert_eq!(
        again.status().committed,
        LogIndex(3),
        "what was applied was committed"
    );
    again.say(2, 1, append(at(4, 1), 1, 0, 4));
    again.settle();
    let handed: usize = again
        .events
        .iter()
        .filter_map(|event| match event {
            synod_core::LogEvent::Committed(c) => Some(c.entries.len()),
            _ => None,
        })
        .sum();
    assert_eq!(handed, 1, "only the entry that it lacks");
}

#[test]
fn a_forwarded_read_is_answered_where_it_was_asked() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 0));
    solo.settle();
    solo.take();
    let one = read(&mut solo);
    let Some((2, Body::Read { life, ticket })) = solo.take().pop() else {
        panic!("the question goes to the leader");
    };
    let index = Ok(LogIndex(1));
    solo.say(
        2,
        1,
        Body::ReadAt {
            life: life ^ 1,
            ticket,
            index,
        },
    );
    solo.say(
        2,
        1,
        Body::ReadAt {
            life,
            ticket,
            index,
        },
    );
    assert_eq!(answer(&solo, one), None, "it has not got so far");
    solo.say(2, 1, append(at(1, 1), 1, 0, 1));
    assert_eq!(answer(&solo, one), Some(Ok(1)));
    let two = read(&mut solo);
    solo.say(3, 2, append(at(1, 1), 2, 0, 1));
    assert_eq!(
        answer(&solo, two),
        Some(Err(Refusal::NoLeader)),
        "its leader is gone"
    );
}

#[test]
fn who_does_not_lead_says_so_to_forwarded_reads() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 0));
    solo.settle();
    solo.take();
    solo.say(
        3,
        1,
        Body::Read {
            life: 5,
            ticket: Ticket(6),
        },
    );
    let index = Err(Denial::NotLeader);
    assert_eq!(
        solo.take(),
        [(
            3,
            Body::ReadAt {
                life: 5,
                ticket: Ticket(6),
                index
            }
        )]
    );
}

#[test]
fn a_session_reads_what_it_wrote_and_a_stale_read_what_is_there() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 3, 1));
    solo.settle();
    let stale = solo.raft.read(solo.now, ReadLevel::Stale).unwrap();
    let session = solo
        .raft
        .read(solo.now, ReadLevel::Session(SessionToken(LogIndex(3))))
        .unwrap();
    solo.pump();
    assert_eq!(
        (answer(&solo, stale), answer(&solo, session)),
        (Some(Ok(1)), None)
    );
    solo.say(2, 1, append(at(3, 1), 1, 0, 3));
    assert_eq!(answer(&solo, session), Some(Ok(3)));
}

#[test]
fn a_round_is_confirmed_by_a_follower_of_this_term_only() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.elect();
    let ticket = cluster.read(leader, ReadLevel::Linearizable).unwrap();
    let follower = n(leader.0 % 3 + 1);
    cluster.settle();
    assert_eq!(cluster.outcome(leader, ticket), ["read i1"]);
    let forwarded = cluster.read(follower, ReadLevel::Linearizable).unwrap();
    cluster.run(ms(5));
    assert_eq!(cluster.outcome(follower, forwarded), ["read i1"]);
}

/// A voter whose weight is a majority by itself needs nobody's answer, for reads too.
#[test]
fn a_leader_that_is_a_quorum_by_itself_answers_alone() {
    let weights = [(n(1), 3), (n(2), 1), (n(3), 1)];
    let quorum = synod_quorum::Quorum::weighted_majority(weights).unwrap();
    let phases = synod_quorum::Phases::same(&quorum).unwrap();
    let mut solo = Solo::with(1, 3, |builder| builder.quorums(phases.clone()));
    solo.wake();
    solo.settle();
    assert_eq!(
        (solo.role(), solo.status().committed),
        (Role::Leader, LogIndex(1))
    );
    let ticket = read(&mut solo);
    solo.settle();
    assert_eq!(answer(&solo, ticket), Some(Ok(1)));
    assert!(solo.raft.deadline().is_some());
}
