//! What comes late, to the wrong one or for another try: it counts for nothing, and who asks is told.

use synod_core::{
    Link, LinkId, LogEvent, LogIndex, Machine, ReadLevel, ReplicatedLog, Role, Ticket,
};
use synod_raft::{Body, Denial, Outcome, Position, Round, Term};

use crate::cluster::{ms, n};
use crate::solo::{Solo, append, appended, at, proposed, vote, voted};

#[test]
fn answers_of_an_earlier_term_count_for_nothing() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 5, 0));
    solo.settle();
    solo.win(&[3]);
    solo.take();
    let conflict = Body::Conflict {
        asked: LogIndex(5),
        hint: at(2, 1),
        round: Round(0),
    };
    let before = solo.status();
    for old in [appended(5, 0), conflict, voted(false, 2, true)] {
        let dropped = solo.status().dropped_messages;
        solo.say(3, 1, old);
        assert_eq!(solo.status().dropped_messages, dropped + 1);
    }
    let after = solo.status();
    assert_eq!(
        (before.peers, before.committed),
        (after.peers, after.committed)
    );
    assert_eq!(solo.take(), []);
}

/// The votes that were promised before are no votes.
#[test]
fn a_late_pre_vote_is_no_vote() {
    let mut solo = Solo::new(1, 5);
    solo.campaign(&[2, 3]);
    for voter in [2, 3, 4, 5] {
        solo.say(voter, 0, voted(true, 1, true));
        solo.say(voter, 1, voted(true, 2, true));
    }
    assert_eq!(solo.role(), Role::Candidate);
    solo.say(4, 1, voted(false, 1, true));
    solo.say(5, 1, voted(false, 1, true));
    assert_eq!(solo.role(), Role::Leader);
}

#[test]
fn only_voters_are_asked_for_votes() {
    let mut solo = Solo::with(1, 3, |builder| builder.learners([n(7)]));
    solo.wake();
    let asked = |solo: &mut Solo| {
        let mut asked: Vec<u64> = solo.take().iter().map(|(to, _)| *to).collect();
        asked.sort_unstable();
        asked
    };
    assert_eq!(asked(&mut solo), [2, 3]);
    for peer in [3, 7, 8] {
        solo.raft.link(solo.now, n(peer), Link::Up(LinkId(1)));
    }
    solo.pump();
    assert_eq!(asked(&mut solo), [3], "a new link loses what was under way");
}

#[test]
fn who_asks_for_a_vote_too_late_is_told_so() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 5, append(at(0, 0), 5, 1, 0));
    solo.settle();
    solo.take();
    solo.say(3, 4, vote(false, at(9, 4)));
    let sent = solo.take_messages();
    assert_eq!(sent.len(), 1, "for a term that is over");
    assert_eq!(
        (sent[0].0, sent[0].1.term, &sent[0].1.body),
        (n(3), Term(5), &voted(false, 4, false))
    );
    solo.say(3, 5, vote(false, at(9, 5)));
    assert_eq!(
        solo.take(),
        [(3, voted(false, 5, false))],
        "for one that has its leader"
    );
}

/// Only who may have led the term says that it does not know.
#[test]
fn who_cannot_have_led_refuses_what_is_passed_on_to_it() {
    let propose = Body::Propose {
        life: 5,
        first: Ticket(6),
        commands: vec![bytes::Bytes::new()],
    };
    let refused = proposed(5, Ticket(6), 1, Outcome::Refused(Denial::NotLeader));
    let mut fresh = Solo::new(1, 3);
    fresh.say(3, 0, propose.clone());
    assert_eq!(fresh.take(), [(3, refused.clone())], "no vote, no leader");

    let mut lost = Solo::new(1, 3);
    lost.campaign(&[2]);
    lost.take();
    let unknown = proposed(5, Ticket(6), 1, Outcome::Unknown);
    lost.say(3, 1, propose.clone());
    assert_eq!(lost.take(), [(3, unknown)], "it stands in this term");
    lost.say(2, 1, append(at(0, 0), 1, 1, 0));
    lost.settle();
    lost.take();
    lost.say(3, 1, propose);
    assert_eq!(lost.take(), [(3, refused)], "another has won it");
}

/// Whatever was passed on together is given up ticket by ticket.
#[test]
fn what_was_passed_on_together_ends_one_by_one() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 1));
    solo.settle();
    let mut tickets = Vec::new();
    for _ in 0..3 {
        tickets.push(solo.raft.propose(solo.now, "x".into()).unwrap());
    }
    for _ in 0..3 {
        let level = ReadLevel::Linearizable;
        tickets.push(solo.raft.read(solo.now, level).unwrap());
    }
    solo.pump();
    // Another leader: what became of the first is not known, the reads may be asked again.
    solo.say(3, 2, append(at(1, 1), 2, 0, 1));
    let ended = |event: &synod_raft::Event| match event {
        LogEvent::Unknown(ticket) | LogEvent::Refused(ticket, _) => Some(*ticket),
        _ => None,
    };
    let ended: Vec<Ticket> = solo.events.iter().filter_map(ended).collect();
    assert_eq!(ended, tickets);
}

/// What has only gathered did not happen, ticket by ticket.
#[test]
fn what_was_not_passed_on_yet_is_refused_one_by_one() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 1));
    solo.settle();
    let tickets = [(); 3].map(|()| solo.raft.propose(solo.now, "x".into()).unwrap());
    solo.say(3, 2, append(at(1, 1), 2, 0, 1));
    let refused = |event: &synod_raft::Event| match event {
        LogEvent::Refused(ticket, synod_core::Refusal::NoLeader) => Some(*ticket),
        _ => None,
    };
    let refused: Vec<Ticket> = solo.events.iter().filter_map(refused).collect();
    assert_eq!(refused, tickets);
}

/// An answer to another life of this machine is none of ours.
#[test]
fn an_answer_to_another_life_is_dropped() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 1));
    solo.settle();
    solo.take();
    let ticket = solo.propose("x").unwrap();
    let Some((2, Body::Propose { life, first, .. })) = solo.take().pop() else {
        panic!("the command goes to the leader");
    };
    let dropped = solo.status().dropped_messages;
    solo.say(2, 1, proposed(life ^ 1, first, 1, Outcome::Unknown));
    assert_eq!(solo.status().dropped_messages, dropped + 1);
    let unknown = |event: &synod_raft::Event| matches!(event, LogEvent::Unknown(t) if *t == ticket);
    assert!(!solo.events.iter().any(unknown));
    solo.say(2, 1, proposed(life, first, 1, Outcome::Unknown));
    assert!(solo.events.iter().any(unknown));
}

/// A snapshot that another has replaced before either was durable makes nothing of the second durable.
#[test]
fn a_snapshot_is_claimed_by_its_own_write_only() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 0));
    solo.settle();
    solo.say(2, 1, crate::tickets::snapshot(5, 1));
    solo.say(2, 1, crate::tickets::snapshot(9, 1));
    solo.take();
    solo.sync_one();
    solo.say(2, 1, append(at(0, 0), 1, 0, 0));
    let claimed = crate::solo::acks(&solo.take());
    assert!(claimed.iter().all(|ack| *ack <= 5), "{claimed:?}");
    solo.settle();
    assert_eq!(crate::solo::acks(&solo.take()).last(), Some(&9));
}

#[test]
fn a_configuration_counts_among_what_is_under_way() {
    let mut solo = Solo::leading(|builder| builder);
    let add = synod_core::Change::AddLearner(n(7));
    solo.raft.reconfigure(solo.now, add).unwrap();
    let weight = solo.status().uncommitted_bytes;
    assert!(weight > synod_core::Entry::OVERHEAD);
    solo.settle();
    solo.say(2, 1, appended(2, 0));
    assert_eq!(solo.status().uncommitted_bytes, 0);
}

#[test]
fn a_leader_takes_on_so_many_reads_of_others_and_no_more() {
    let mut solo = Solo::leading(|builder| builder.max_pending_reads(2));
    for ticket in 1..=3 {
        let ticket = Ticket(ticket);
        solo.say(2, 1, Body::Read { life: 5, ticket });
    }
    let denied = |(_, body): &(u64, Body)| match body {
        Body::ReadAt { ticket, index, .. } => Some((ticket.0, *index)),
        _ => None,
    };
    let denied: Vec<_> = solo.take().iter().filter_map(denied).collect();
    assert_eq!(denied, [(3, Err(Denial::Busy { limit: 2 }))]);
    solo.say(3, 1, appended(1, 1));
    let ticket = Ticket(4);
    solo.take();
    solo.say(2, 1, Body::Read { life: 5, ticket });
    let answers = solo.take();
    let answers = |body: &Body| answers.iter().filter(|(_, b)| b == body).count();
    let busy = Body::ReadAt {
        life: 5,
        ticket,
        index: Err(Denial::Busy { limit: 2 }),
    };
    assert_eq!(answers(&busy), 0, "there is room again");
}

/// A learner whose proposals have ended waits for nothing.
#[test]
fn nobody_waits_for_proposals_that_have_ended() {
    for (term, before) in [(2, at(1, 1)), (3, at(1, 1))] {
        let mut solo = Solo::with(4, 3, |builder| builder.learners([n(4)]));
        solo.say(2, 1, append(at(0, 0), 1, 1, 1));
        solo.settle();
        solo.take();
        solo.propose("x").unwrap();
        let Some((2, Body::Propose { life, first, .. })) = solo.take().pop() else {
            panic!("the command goes to the leader");
        };
        let outcome = Outcome::Accepted(LogIndex(3));
        solo.say(2, 1, proposed(life, first, 1, outcome));
        assert!(solo.raft.deadline().is_some());
        if term == 2 {
            solo.say(3, 2, append(before, 2, 2, 3));
        } else {
            solo.say(3, 3, crate::tickets::snapshot(5, 3));
        }
        solo.settle();
        let ended = |event: &synod_raft::Event| match event {
            LogEvent::Displaced(ticket) | LogEvent::Unknown(ticket) => *ticket == first,
            _ => false,
        };
        assert!(solo.events.iter().any(ended));
        assert_eq!(solo.raft.deadline(), None);
    }
}

/// Bytes of the commands that are committed no longer count, entry by entry.
#[test]
fn what_is_committed_of_a_run_no_longer_counts() {
    let weight = 1 + synod_core::Entry::OVERHEAD;
    for commits in [&[2, 3, 4, 5, 6][..], &[2, 4, 6], &[3, 6], &[4, 5], &[6]] {
        let mut solo = Solo::leading(|builder| builder);
        for run in [3, 2] {
            for _ in 0..run {
                solo.raft.propose(solo.now, "x".into()).unwrap();
            }
            solo.settle();
        }
        let in_flight = |solo: &Solo| solo.status().peers[0].in_flight_bytes;
        assert_eq!(in_flight(&solo), 5 * weight);
        for &index in commits {
            solo.say(2, 1, appended(index, 0));
            let left = 6 - index as usize;
            let bytes = solo.status().uncommitted_bytes;
            assert_eq!(bytes, left * weight, "with i{index} committed");
        }
    }
}

/// What storage is slow to read back for one place is not sent as another.
#[test]
fn a_piece_of_a_snapshot_is_sent_at_its_own_place_only() {
    let mut solo = crate::sent::behind_a_snapshot();
    solo.raft.link(solo.now, n(3), Link::Up(LinkId(1)));
    solo.pump();
    let hint: Position = at(0, 0);
    solo.say(
        3,
        1,
        Body::Conflict {
            asked: LogIndex(5),
            hint,
            round: Round(0),
        },
    );
    assert_eq!(solo.loads.len(), 1);
    let id = solo.raft.describe(LogIndex(5)).unwrap().id;
    solo.take();
    // An old answer, while the first piece is being read.
    solo.say(
        3,
        1,
        Body::SnapshotGot {
            id,
            offset: 8,
            round: Round(0),
        },
    );
    for _ in 0..5 {
        solo.load();
        solo.wait(ms(50));
    }
    for (_, body) in solo.take() {
        if let Body::Snapshot(piece) = body {
            let from = piece.offset as usize;
            let own = &b"sixteen bytes..."[from..from + piece.chunk.len()];
            assert_eq!(&piece.chunk[..], own, "at {from}");
        }
    }
}

/// A follower is still being sent a snapshot that a smaller one has replaced: its answer counts, and
/// the storage says what there is.
#[test]
fn an_answer_about_a_replaced_snapshot_is_heard() {
    let mut solo = crate::sent::behind_a_snapshot();
    let old = solo.raft.describe(LogIndex(5)).unwrap().id;
    solo.raft.link(solo.now, n(3), Link::Up(LinkId(1)));
    solo.pump();
    solo.say(
        3,
        1,
        Body::Conflict {
            asked: LogIndex(5),
            hint: at(0, 0),
            round: Round(0),
        },
    );
    solo.load();
    solo.propose("y");
    solo.settle();
    solo.say(2, 1, appended(6, 0));
    solo.settle();
    crate::bounds::compact(&mut solo, 6);
    assert_eq!(solo.loads, []);
    solo.say(
        3,
        1,
        Body::SnapshotGot {
            id: old,
            offset: 8,
            round: Round(0),
        },
    );
    let what = solo.loads.first().map(|(_, what)| what.clone());
    assert!(
        matches!(what, Some(synod_core::LogLoad::Snapshot { id, offset: 8, .. }) if id == old),
        "{what:?}"
    );
}

/// A piece that is not answered is sent again after twice the longest time-out, and not before.
#[test]
fn a_piece_of_a_snapshot_is_waited_for() {
    let mut solo = crate::sent::behind_a_snapshot();
    solo.raft.link(solo.now, n(3), Link::Up(LinkId(1)));
    solo.pump();
    solo.say(
        3,
        1,
        Body::Conflict {
            asked: LogIndex(5),
            hint: at(0, 0),
            round: Round(0),
        },
    );
    let start = solo.now;
    solo.load();
    let mut again = Vec::new();
    for _ in 0..40 {
        solo.wait(ms(50));
        if !solo.loads.is_empty() {
            again.push(solo.now.since(start));
            solo.load();
        }
        solo.say(2, 1, appended(5, 0));
    }
    assert_eq!(again, [ms(1200)]);
}

#[test]
fn terms_and_places_read_like_in_a_log() {
    let text = format!("{} {:?} {:?}", Term(7), Term(7), at(3, 7));
    assert_eq!(text, "T7 T7 i3@T7");
}
