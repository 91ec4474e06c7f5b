//! What is sent, written, read back and dropped: neither more nor less than is due.

use std::time::Duration;

use bytes::Bytes;
use synod_core::{
    Change, Entries, Entry, Link, LinkId, LogEvent, LogIndex, LogLoad, LogRecord, Machine, Output,
    ReadLevel, ReplicatedLog, Stamp, Ticket,
};
use synod_raft::{Append, Body, Config, Outcome, Raft, Round, Term};

use crate::cluster::{ms, n};
use crate::solo::{Solo, acks, append, appended, appends, at, proposed, vote};

/// What a command of ten bytes costs.
const TEN: usize = 10 + Entry::OVERHEAD;

fn ten() -> Bytes {
    Bytes::from_static(b"0123456789")
}

fn conflict(asked: u64, hint: synod_raft::Position) -> Body {
    Body::Conflict {
        asked: LogIndex(asked),
        hint,
        round: Round(0),
    }
}

/// The tickets of the reads that were answered.
fn answered(solo: &Solo) -> Vec<Ticket> {
    let read = |event: &synod_raft::Event| match event {
        LogEvent::Read { ticket, .. } => Some(*ticket),
        _ => None,
    };
    solo.events.iter().filter_map(read).collect()
}

#[test]
fn appends_stay_within_their_limit() {
    let mut solo = Solo::leading(|builder| builder.max_append_bytes(2 * TEN));
    for _ in 0..5 {
        solo.raft.propose(solo.now, ten()).unwrap();
    }
    solo.pump();
    assert_eq!(appends(&solo.take(), 3), [(1, 2, 1), (3, 2, 1), (5, 1, 1)]);
}

/// Small appends become large ones for who is behind: exactly as many as fit.
#[test]
fn entries_that_came_one_by_one_are_sent_together() {
    let mut solo = Solo::leading(|builder| builder.max_append_bytes(3 * TEN));
    for _ in 0..8 {
        solo.raft.propose(solo.now, ten()).unwrap();
        solo.settle();
    }
    solo.raft.link(solo.now, n(3), Link::Up(LinkId(1)));
    solo.pump();
    solo.take();
    solo.say(3, 1, appended(1, 0));
    assert_eq!(appends(&solo.take(), 3), [(1, 3, 1), (4, 3, 1), (7, 2, 1)]);
}

/// Part of a large append is not joined with what comes behind the rest of it.
#[test]
fn what_is_cut_from_an_append_is_sent_next() {
    let limit = 2 * TEN + Entry::OVERHEAD;
    let mut solo = Solo::leading(|builder| builder.max_append_bytes(limit));
    for run in [&[10, 10, 10][..], &[0]] {
        for &length in run {
            let command = ten().slice(..length);
            solo.raft.propose(solo.now, command).unwrap();
        }
        solo.settle();
    }
    solo.raft.link(solo.now, n(3), Link::Up(LinkId(1)));
    solo.pump();
    solo.take();
    solo.say(3, 1, appended(1, 0));
    assert_eq!(appends(&solo.take(), 3), [(1, 2, 1), (3, 2, 1)]);
    assert_eq!(solo.loads, []);
}

/// Whoever is taken out gets the entry that says so and nothing behind it, also if both were sealed
/// together.
#[test]
fn one_that_is_taken_out_is_sent_no_later_entry() {
    for limit in [1 << 20, 1] {
        let mut solo = Solo::leading(|b| b.learners([n(7)]).max_append_bytes(limit));
        solo.say(7, 1, appended(1, 0));
        solo.take();
        let out = Change::RemoveLearner(n(7));
        solo.raft.reconfigure(solo.now, out).unwrap();
        solo.raft.propose(solo.now, ten()).unwrap();
        solo.pump();
        assert_eq!(appends(&solo.take(), 7), [(1, 1, 1)], "limit {limit}");
    }
}

/// Whoever was sent the commit with an append is not told again.
#[test]
fn a_commit_is_told_once() {
    let mut solo = Solo::leading(|builder| builder);
    solo.propose("a");
    solo.settle();
    solo.take();
    for peer in [2, 3] {
        solo.say(peer, 1, appended(2, 0));
    }
    assert_eq!(appends(&solo.take(), 3), [], "it may ride along");
    let wake = solo.raft.deadline().unwrap().at;
    assert_eq!(wake.since(solo.now), Duration::from_micros(500));
    solo.propose("b");
    assert_eq!(appends(&solo.take(), 3), [(2, 1, 2)], "as it does here");
    let wake = solo.raft.deadline().unwrap().at;
    assert!(wake.since(solo.now) > ms(1), "nothing else is due");
    for _ in 0..10 {
        solo.wait(ms(1));
    }
    assert_eq!(appends(&solo.take(), 3), []);
    solo.settle();
    for peer in [2, 3] {
        solo.say(peer, 1, appended(3, 0));
    }
    for _ in 0..10 {
        solo.wait(ms(1));
    }
    assert_eq!(appends(&solo.take(), 3), [(3, 0, 3)], "or goes by itself");
}

/// What carries a round asks for it: one message is enough.
#[test]
fn a_round_of_a_read_is_asked_once() {
    let mut solo = Solo::leading(|builder| builder);
    solo.raft.read(solo.now, ReadLevel::Linearizable).unwrap();
    solo.pump();
    assert_eq!(appends(&solo.take(), 3), [(1, 0, 1)]);
    solo.propose("x");
    assert_eq!(appends(&solo.take(), 3), [(1, 1, 1)]);
}

#[test]
fn reads_of_one_round_are_answered_together() {
    let mut solo = Solo::leading(|builder| builder);
    let mut read = |level| solo.raft.read(solo.now, level).unwrap();
    let mut tickets = vec![
        read(ReadLevel::Linearizable),
        read(ReadLevel::Linearizable),
        read(ReadLevel::Linearizable),
        read(ReadLevel::Stale),
        read(ReadLevel::Linearizable),
    ];
    solo.pump();
    solo.say(2, 1, appended(1, 1));
    let mut answered = answered(&solo);
    answered.sort();
    tickets.sort();
    assert_eq!(answered, tickets);
}

/// Two reads at one index and of two rounds: the answer to the first confirms the first alone.
#[test]
fn reads_of_two_rounds_are_answered_one_after_the_other() {
    let mut solo = Solo::leading(|builder| builder);
    let first = solo.raft.read(solo.now, ReadLevel::Linearizable).unwrap();
    solo.pump();
    let second = solo.raft.read(solo.now, ReadLevel::Linearizable).unwrap();
    solo.pump();
    solo.say(2, 1, appended(1, 1));
    assert_eq!(answered(&solo), [first]);
    solo.say(2, 1, appended(1, 2));
    assert_eq!(answered(&solo), [first, second]);
}

/// What left memory comes back piece by piece, each asked for as soon as the one before it is there.
#[test]
fn entries_are_read_back_without_waiting() {
    let mut solo = Solo::with(1, 1, |builder| {
        builder
            .max_log_bytes(1)
            .max_unapplied_bytes(1)
            .max_append_bytes(1)
    });
    solo.wake();
    solo.settle();
    for _ in 0..5 {
        solo.raft.propose(solo.now, ten()).unwrap();
        while let Some(output) = solo.raft.poll() {
            if let Output::Persist(write, records) = output {
                for record in records {
                    solo.image.apply(record).unwrap();
                }
                solo.raft.persisted(solo.now, write);
            }
        }
    }
    solo.raft.applied(solo.now, LogIndex(2));
    solo.pump();
    let mut loads = 0;
    while !solo.loads.is_empty() {
        solo.load();
        loads += 1;
    }
    assert_eq!((loads, solo.status().applied), (4, LogIndex(6)));
}

#[test]
fn what_fits_in_memory_exactly_stays_there() {
    for (limit, kept) in [(3 * TEN, 3), (3 * TEN - 1, 2)] {
        let mut solo = Solo::leading(|builder| builder.max_log_bytes(limit));
        for count in 0..3 {
            solo.raft.propose(solo.now, ten()).unwrap();
            solo.settle();
            solo.say(2, 1, appended(count + 2, 0));
        }
        solo.pump();
        // The opening entry is the oldest and goes first.
        assert_eq!(solo.status().log_bytes, kept * TEN, "with {limit}");
    }
}

/// A tail with a hole, or one that ends too early, is no tail: its entries are read back.
#[test]
fn a_tail_with_a_hole_is_left_on_disk() {
    let mut solo = Solo::new(1, 3);
    for term in 1..=3 {
        let before = at(2 * term - 2, term - 1);
        solo.say(2, term, append(before, term, 2, 0));
    }
    solo.settle();
    let whole = solo.image.restored(usize::MAX);
    assert_eq!(whole.tail.len(), 3);
    for remove in [None, Some(1), Some(2)] {
        let mut restored = whole.clone();
        if let Some(place) = remove {
            restored.tail.remove(place);
        }
        let config = Config::builder(n(1)).voters([1, 2, 3].map(n));
        let raft = Raft::new(config.build().unwrap(), restored, solo.now).unwrap();
        raft.check();
        let status = raft.status();
        assert_eq!(status.last, LogIndex(6));
        assert_eq!(status.log_bytes > 0, remove.is_none(), "without {remove:?}");
    }
}

/// Adding a member forgets nobody, so there is nothing to remember durably but the entry.
#[test]
fn a_change_writes_the_state_only_if_somebody_is_forgotten() {
    let states = |solo: &Solo| {
        let records = solo.writing.iter().flat_map(|(_, records)| records.iter());
        let state = |record: &&LogRecord| matches!(record, LogRecord::State(_));
        records.filter(state).count()
    };
    let mut solo = Solo::leading(|builder| builder);
    let add = Change::AddLearner(n(7));
    solo.raft.reconfigure(solo.now, add).unwrap();
    solo.pump();
    assert_eq!((solo.writing.len(), states(&solo)), (1, 0));
    solo.settle();
    for peer in [2, 3, 7] {
        solo.say(peer, 1, appended(2, 0));
    }
    solo.settle();
    let out = Change::RemoveLearner(n(7));
    solo.raft.reconfigure(solo.now, out).unwrap();
    solo.pump();
    assert_eq!(states(&solo), 1, "another disk may come back under its id");
}

#[test]
fn learners_are_kept_in_order() {
    let solo = Solo::with(1, 3, |builder| builder.learners([n(9), n(7), n(8)]));
    assert_eq!(solo.status().learners, [n(7), n(8), n(9)]);
}

/// The hint of a refusal names the last place that may fit.
#[test]
fn a_refusal_names_the_last_place_that_may_fit() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 10, 0));
    solo.say(2, 2, append(at(10, 1), 2, 40, 0));
    solo.settle();
    solo.take();
    for (asked, hint) in [
        (at(11, 3), at(11, 2)),
        (at(11, 1), at(10, 1)),
        (at(50, 1), at(10, 1)),
        (at(51, 2), at(50, 2)),
        (at(9, 0), at(0, 0)),
    ] {
        solo.say(3, 3, append(asked, 3, 0, 0));
        solo.settle();
        assert_eq!(solo.take(), [(3, conflict(asked.index.0, hint))]);
    }
}

/// What is dropped is counted, and what is taken is not.
#[test]
fn answers_that_nobody_waits_for_are_dropped() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 1));
    solo.settle();
    let dropped = solo.status().dropped_messages;
    solo.take();
    solo.propose("x").unwrap();
    solo.raft.read(solo.now, ReadLevel::Linearizable).unwrap();
    solo.pump();
    let mut answers = Vec::new();
    for (_, body) in solo.take() {
        match body {
            Body::Propose { life, first, .. } => {
                answers.push(proposed(life, first, 1, Outcome::Unknown));
            }
            Body::Read { life, ticket } => answers.push(Body::ReadAt {
                life,
                ticket,
                index: Ok(LogIndex(1)),
            }),
            _ => {}
        }
    }
    assert_eq!(answers.len(), 2);
    for expected in [0, 1] {
        for answer in &answers {
            let before = solo.status().dropped_messages;
            solo.say(2, 1, answer.clone());
            assert_eq!(solo.status().dropped_messages, before + expected);
        }
    }
    assert_eq!(solo.status().dropped_messages, dropped + 2);
}

/// What Raft cannot say is dropped before anything is done with it.
#[test]
fn what_contradicts_its_own_term_is_dropped() {
    let entries = |stamp| Entries::new(LogIndex(1), stamp, [Entry::blank()]);
    let body = |before, stamp| {
        Body::Append(Append {
            before: Term(before),
            entries: entries(stamp),
            commit: LogIndex(0),
            round: Round(0),
        })
    };
    let other = Stamp { number: 1, node: 1 };
    let wrong = [
        body(0, other),
        body(0, Stamp::of(3)),
        body(3, Stamp::of(2)),
        body(2, Stamp::of(1)),
        append(at(0, 3), 2, 0, 0),
        vote(false, at(1, 3)),
        vote(true, at(1, 3)),
        conflict(1, at(1, 3)),
        crate::tickets::snapshot(5, 3),
    ];
    for body in wrong {
        let mut solo = Solo::new(1, 3);
        let dropped = solo.status().dropped_messages;
        solo.say(2, 2, body.clone());
        solo.settle();
        let status = solo.status();
        let seen = (status.era, status.last, status.dropped_messages - dropped);
        assert_eq!(seen, (0, LogIndex(0), 1), "{body:?}");
        assert_eq!(solo.take(), []);
    }
    let mut solo = Solo::new(1, 3);
    solo.say(2, 2, body(0, Stamp::of(2)));
    solo.settle();
    assert_eq!(acks(&solo.take()), [1], "and this one can be");
}

/// Makes a leader of three whose log begins behind a snapshot at i5.
pub(crate) fn behind_a_snapshot() -> Solo {
    let mut solo = Solo::leading(|builder| builder.retained_entries(0).snapshot_chunk_bytes(4));
    for k in 0..4 {
        solo.propose(&format!("c{k}"));
        solo.settle();
        solo.say(2, 1, appended(k + 2, 0));
        solo.settle();
    }
    let mut meta = solo.raft.describe(LogIndex(5)).unwrap();
    let contents = Bytes::from_static(b"sixteen bytes...");
    meta.size = contents.len() as u64;
    for record in [
        LogRecord::Stage {
            lane: synod_core::Lane::Taken,
            id: meta.id,
            offset: 0,
            chunk: contents,
        },
        LogRecord::Activate {
            meta: meta.clone(),
            log: synod_core::OldLog::Keep,
        },
    ] {
        solo.image.apply(record).unwrap();
    }
    solo.raft.compact(solo.now, meta);
    solo.settle();
    solo
}

/// One that is sent a snapshot says with each heartbeat that it follows: that ends nothing. Only
/// what the snapshot holds, acknowledged, does.
#[test]
fn a_peer_is_sent_its_snapshot_until_it_has_it() {
    let mut solo = behind_a_snapshot();
    solo.raft.link(solo.now, n(3), Link::Up(LinkId(1)));
    solo.pump();
    solo.say(3, 1, conflict(5, at(0, 0)));
    let state = |solo: &Solo| {
        let peers = solo.status().peers;
        peers.iter().find(|p| p.node == n(3)).map(|p| p.state)
    };
    assert_eq!(state(&solo), Some("snapshot"));
    assert!(matches!(
        solo.loads[0].1,
        LogLoad::Snapshot { offset: 0, .. }
    ));
    for matched in [0, 4] {
        solo.say(3, 1, appended(matched, 0));
        assert_eq!(state(&solo), Some("snapshot"), "with i{matched}");
    }
    solo.say(3, 1, appended(5, 0));
    assert_eq!(state(&solo), Some("replicate"));
}
