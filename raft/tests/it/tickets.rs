//! A ticket resolves exactly once, and truly (contract rule 6).

use bytes::Bytes;
use synod_core::{
    Change, Generation, Link, LinkId, LogEvent, LogIndex, Machine, ReplicatedLog, SnapshotId,
    SnapshotMeta, Stamp, Ticket,
};
use synod_raft::{Body, Denial, Outcome, Piece, Round};

use crate::cluster::{ms, n};
use crate::solo::{Solo, append, appended, at, proposed};

/// What became of a ticket, every time that something was said of it.
fn fates(solo: &Solo, ticket: Ticket) -> Vec<&'static str> {
    let fate = |event: &synod_raft::Event| match event {
        LogEvent::Unknown(t) if *t == ticket => Some("unknown"),
        LogEvent::Displaced(t) if *t == ticket => Some("displaced"),
        LogEvent::Refused(t, _) if *t == ticket => Some("refused"),
        LogEvent::Read { ticket: t, .. } if *t == ticket => Some("read"),
        LogEvent::Committed(committed) if committed.iter().any(|(.., t)| t == Some(ticket)) => {
            Some("committed")
        }
        _ => None,
    };
    solo.events.iter().filter_map(fate).collect()
}

/// What was forwarded: life and first ticket.
fn forwarded(solo: &mut Solo) -> (u64, Ticket) {
    let of = |(_, body): &(u64, Body)| match body {
        Body::Propose { life, first, .. } => Some((*life, *first)),
        _ => None,
    };
    solo.take().iter().find_map(of).expect("forwarded")
}

/// A follower of 2 in term 1 with one committed entry.
fn following() -> Solo {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 1));
    solo.settle();
    solo.take();
    solo
}

/// Two proposals cannot be at one place: a leader that says so neither hangs this node nor makes it
/// tell one entry's fate twice.
#[test]
fn two_proposals_at_one_place_do_not_hang_the_node() {
    for (a, b) in [(2, 2), (2, 3), (3, 2)] {
        let mut solo = following();
        let mut tickets = Vec::new();
        for place in [a, b] {
            let commands = ["x", "y"].map(|c| Bytes::from_static(c.as_bytes()));
            for command in commands {
                tickets.push(solo.raft.propose(solo.now, command).unwrap());
            }
            solo.pump();
            let (life, first) = forwarded(&mut solo);
            let outcome = Outcome::Accepted(LogIndex(place));
            solo.say(2, 1, proposed(life, first, 2, outcome));
        }
        for k in 1..=5 {
            solo.say(2, 1, append(at(k, 1), 1, 1, k + 1));
            solo.settle();
        }
        for &ticket in &tickets {
            assert_eq!(fates(&solo, ticket).len(), 1, "{ticket} with {a} and {b}");
        }
    }
}

/// A snapshot in one piece.
pub(crate) fn snapshot(index: u64, term: u64) -> Body {
    let known = Solo::leading(|builder| builder);
    let meta = SnapshotMeta {
        id: SnapshotId {
            origin: Generation(3),
            index: LogIndex(index),
        },
        stamp: Stamp::of(term),
        config: known.raft.describe(LogIndex(1)).unwrap().config,
        size: 5,
    };
    let piece = Piece {
        meta,
        offset: 0,
        chunk: Bytes::from_static(b"state"),
        round: Round(0),
    };
    Body::Snapshot(Box::new(piece))
}

/// Terms rise along a log: behind a snapshot of term 2 there is no entry of term 1, and nothing more
/// need be committed to know that.
#[test]
fn proposals_behind_a_snapshot_of_a_later_term_are_displaced() {
    let mut solo = following();
    let mut tickets = Vec::new();
    for place in [3, 9] {
        tickets.push(solo.propose("lost").unwrap());
        let (life, first) = forwarded(&mut solo);
        let outcome = Outcome::Accepted(LogIndex(place));
        solo.say(2, 1, proposed(life, first, 1, outcome));
    }
    solo.say(3, 2, snapshot(5, 2));
    solo.settle();
    // The new leader is alive and has nothing more to say.
    for _ in 0..100 {
        solo.wait(ms(50));
        solo.say(3, 2, append(at(5, 2), 2, 0, 5));
        solo.settle();
    }
    assert_eq!(fates(&solo, tickets[0]), ["unknown"]);
    assert_eq!(fates(&solo, tickets[1]), ["displaced"]);
}

/// The leader was elected again, and this node heard of it before the answer from its first term.
#[test]
fn a_late_answer_of_an_earlier_term_waits_for_nothing() {
    let mut solo = following();
    let ticket = solo.propose("lost").unwrap();
    let (life, first) = forwarded(&mut solo);
    solo.say(2, 3, append(at(1, 1), 3, 1, 2));
    solo.settle();
    let outcome = Outcome::Accepted(LogIndex(7));
    solo.say(2, 1, proposed(life, first, 1, outcome));
    assert_eq!(fates(&solo, ticket), ["displaced"]);
}

/// A repeated message of one that was taken out meanwhile must not be answered as if nothing had
/// happened, nor become a second entry when its sender returns.
#[test]
fn a_repeated_proposal_of_a_removed_learner_is_neither_denied_nor_taken_again() {
    let mut solo = Solo::leading(|builder| builder.learners([n(7)]));
    solo.raft.link(solo.now, n(7), Link::Up(LinkId(1)));
    solo.pump();
    let again = Body::Propose {
        life: 77,
        first: Ticket(5),
        commands: vec![Bytes::from_static(b"once")],
    };
    let answer = |solo: &mut Solo| {
        let of = |(to, body): (u64, Body)| match body {
            Body::Proposed { outcome, .. } if to == 7 => Some(outcome),
            _ => None,
        };
        solo.take().into_iter().find_map(of)
    };
    solo.say(7, 1, again.clone());
    assert_eq!(
        answer(&mut solo),
        Some(Outcome::Accepted(LogIndex(2))),
        "taken on"
    );
    let mut last = 2;
    for change in [Change::RemoveLearner(n(7)), Change::AddLearner(n(7))] {
        solo.raft.reconfigure(solo.now, change).unwrap();
        last += 1;
        solo.settle();
        for peer in [2, 7] {
            solo.say(peer, 1, appended(last, 0));
            solo.settle();
        }
        // Whoever was taken out hears of the commit, and is let go.
        solo.wait(ms(50));
        solo.take();
        solo.say(7, 1, again.clone());
        assert_eq!(answer(&mut solo), Some(Outcome::Unknown), "at i{last}");
    }
    assert_eq!(solo.status().last, LogIndex(last));
    let stranger = Body::Propose {
        life: 99,
        first: Ticket(1),
        commands: vec![Bytes::new()],
    };
    solo.say(9, 1, stranger);
    let denied = solo.take();
    let denial = |(to, body): &(u64, Body)| {
        let refused = Outcome::Refused(Denial::NotLeader);
        *to == 9 && matches!(body, Body::Proposed { outcome, .. } if *outcome == refused)
    };
    assert!(denied.iter().any(denial), "{denied:?}");
}

/// A follower whose commands `a`, `b` and `c` were passed on one by one, and their tickets.
fn three_forwarded() -> (Solo, u64, [Ticket; 3]) {
    let mut solo = following();
    let mut life = 0;
    let tickets = ["a", "b", "c"].map(|command| {
        let ticket = solo.propose(command).unwrap();
        life = forwarded(&mut solo).0;
        ticket
    });
    (solo, life, tickets)
}

/// The places at which tickets were committed.
fn places(solo: &Solo, tickets: [Ticket; 3]) -> [Option<u64>; 3] {
    tickets.map(|ticket| {
        let place = |event: &synod_raft::Event| match event {
            LogEvent::Committed(committed) => committed
                .iter()
                .find_map(|(index, .., t)| (t == Some(ticket)).then_some(index.0)),
            _ => None,
        };
        solo.events.iter().find_map(place)
    })
}

/// Whatever the order of tickets and places, each ticket gets the place that was named for it.
#[test]
fn each_proposal_is_committed_at_its_own_place() {
    for order in [
        [2, 3, 4],
        [2, 4, 6],
        [4, 3, 2],
        [2, 4, 3],
        [3, 2, 6],
        [6, 2, 4],
    ] {
        for (first, second) in [(1, 5), (3, 3), (5, 1)] {
            let (mut solo, life, tickets) = three_forwarded();
            for (ticket, place) in tickets.into_iter().zip(order) {
                let outcome = Outcome::Accepted(LogIndex(place));
                solo.say(2, 1, proposed(life, ticket, 1, outcome));
            }
            solo.say(2, 1, append(at(1, 1), 1, first, 1 + first));
            solo.settle();
            solo.say(2, 1, append(at(1 + first, 1), 1, second, 7));
            solo.settle();
            assert_eq!(
                places(&solo, tickets),
                order.map(Some),
                "{first} and then {second}"
            );
        }
    }
}

/// Neighbours of two terms are two claims: what becomes of one says nothing of the other.
#[test]
fn proposals_of_two_terms_side_by_side_are_settled_each_by_its_term() {
    let mut solo = following();
    let old = solo.propose("old").unwrap();
    let (life, first) = forwarded(&mut solo);
    let outcome = Outcome::Accepted(LogIndex(2));
    solo.say(2, 1, proposed(life, first, 1, outcome));
    solo.say(2, 1, append(at(1, 1), 1, 1, 1));
    solo.say(3, 2, append(at(2, 1), 2, 0, 1));
    solo.settle();
    solo.take();
    let new = solo.propose("new").unwrap();
    let (life, first) = forwarded(&mut solo);
    let outcome = Outcome::Accepted(LogIndex(3));
    solo.say(3, 2, proposed(life, first, 1, outcome));
    solo.say(3, 2, append(at(2, 1), 2, 1, 3));
    solo.settle();
    assert_eq!(fates(&solo, old), ["committed"]);
    assert_eq!(fates(&solo, new), ["committed"]);
}

/// The word of a place that was handed out already comes too late: the response is gone.
#[test]
fn an_answer_that_the_commit_overtook_leaves_nobody_waiting() {
    for place in [1, 2] {
        let mut solo = following();
        let ticket = solo.propose("x").unwrap();
        let (life, first) = forwarded(&mut solo);
        solo.say(2, 1, append(at(1, 1), 1, 1, 2));
        solo.settle();
        let outcome = Outcome::Accepted(LogIndex(place));
        solo.say(2, 1, proposed(life, first, 1, outcome));
        assert_eq!(fates(&solo, ticket), ["unknown"], "at i{place}");
    }
}

/// A copy of what was passed on may come as long as its link has not been down.
#[test]
fn a_link_that_is_announced_again_makes_no_copy_new() {
    let mut solo = Solo::leading(|builder| builder);
    let propose = Body::Propose {
        life: 5,
        first: Ticket(1),
        commands: vec![Bytes::from_static(b"once")],
    };
    solo.say(2, 1, propose.clone());
    solo.settle();
    solo.raft.link(solo.now, n(2), Link::Up(LinkId(1)));
    solo.say(2, 1, propose);
    solo.settle();
    assert_eq!(solo.status().last, LogIndex(2));
}
