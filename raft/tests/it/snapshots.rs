//! Snapshots: taking the place of a log, and surviving what comes between (Raft §7).

use bytes::Bytes;
use synod_core::{
    Change, Generation, Lane, LogEvent, LogIndex, LogLoad, LogRecord, Machine, NodeId, OldLog,
    ReplicatedLog, SnapshotId, SnapshotMeta, Stamp,
};
use synod_raft::{Body, ConfigBuilder, Piece, Round};

use crate::cluster::{Cluster, ms, n};
use crate::replication::conflict;
use crate::solo::{Solo, acks, append, appended, appends, at};
use crate::steady::snapshot;

const STATE: &[u8] = b"the whole state";

/// A snapshot of a leader of nodes 1 to 3.
fn meta(index: u64, term: u64) -> SnapshotMeta {
    let known = Solo::leading(|builder| builder);
    let config = known.raft.describe(LogIndex(1)).unwrap().config;
    SnapshotMeta {
        id: SnapshotId {
            origin: Generation(2),
            index: LogIndex(index),
        },
        stamp: Stamp::of(term),
        config,
        size: STATE.len() as u64,
    }
}

fn piece(meta: &SnapshotMeta, from: usize, to: usize) -> Body {
    Body::Snapshot(Box::new(Piece {
        meta: meta.clone(),
        offset: from as u64,
        chunk: Bytes::from_static(&STATE[from..to]),
        round: Round(0),
    }))
}

fn got(meta: &SnapshotMeta, offset: u64) -> Body {
    Body::SnapshotGot {
        id: meta.id,
        offset,
        round: Round(0),
    }
}

fn restores(solo: &Solo) -> usize {
    let restores = |event: &&synod_raft::Event| matches!(event, LogEvent::Restore(_));
    solo.events.iter().filter(restores).count()
}

#[test]
fn a_snapshot_that_the_log_covers_keeps_the_tail() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 9, 0));
    solo.settle();
    solo.take();
    solo.say(2, 1, piece(&meta(5, 1), 0, 15));
    solo.settle();
    let status = solo.status();
    assert_eq!((status.last, status.committed), (LogIndex(9), LogIndex(5)));
    assert_eq!(
        acks(&solo.take()),
        [5],
        "acknowledged as if it had been installed"
    );
    assert_eq!(restores(&solo), 0);
}

#[test]
fn a_snapshot_that_the_log_contradicts_takes_its_place() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 9, 0));
    solo.settle();
    solo.take();
    solo.say(3, 3, piece(&meta(5, 2), 0, 15));
    assert_eq!(
        (acks(&solo.take()), restores(&solo)),
        (vec![], 0),
        "not before it is durable"
    );
    solo.settle();
    let status = solo.status();
    assert_eq!((status.last, status.compacted), (LogIndex(5), LogIndex(5)));
    assert_eq!((acks(&solo.take()), restores(&solo)), (vec![5], 1));
    solo.say(3, 3, append(at(5, 2), 3, 2, 7));
    solo.settle();
    assert_eq!(acks(&solo.take()), [7], "the log goes on behind it");
}

#[test]
fn a_snapshot_from_behind_the_commit_is_not_installed() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 9, 6));
    solo.settle();
    solo.take();
    solo.say(2, 1, piece(&meta(6, 1), 0, 15));
    solo.say(2, 1, piece(&meta(2, 1), 0, 15));
    solo.settle();
    assert_eq!((solo.status().last, restores(&solo)), (LogIndex(9), 0));
    assert!(acks(&solo.take()).iter().all(|ack| *ack == 6));
    assert_eq!(solo.image.snapshot(), None);
}

#[test]
fn a_write_of_the_log_before_says_nothing_of_the_log_behind_a_snapshot() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 9, 0));
    solo.say(3, 3, piece(&meta(5, 2), 0, 15));
    solo.take();
    solo.sync_one();
    assert_eq!(
        acks(&solo.take()),
        [],
        "the first write held entries that are gone"
    );
    solo.settle();
    assert_eq!(acks(&solo.take()), [5]);
}

#[test]
fn pieces_out_of_order_are_answered_with_where_to_go_on() {
    let mut solo = Solo::new(1, 3);
    let meta = meta(5, 1);
    solo.say(2, 1, piece(&meta, 5, 10));
    solo.settle();
    assert_eq!(solo.take(), [(2, got(&meta, 0))]);
    solo.say(2, 1, piece(&meta, 0, 5));
    solo.say(2, 1, piece(&meta, 0, 5));
    solo.settle();
    assert!(solo.take().iter().all(|(_, body)| *body == got(&meta, 5)));
    solo.say(2, 1, piece(&meta, 5, 10));
    solo.say(2, 1, piece(&meta, 10, 15));
    solo.settle();
    assert_eq!(solo.image.snapshot_contents().as_deref(), Some(STATE));
}

/// An empty piece before the end would be answered for ever; one too long is not of this snapshot.
#[test]
fn a_piece_that_cannot_be_is_dropped() {
    let mut solo = Solo::new(1, 3);
    let whole = meta(5, 1);
    solo.say(2, 1, piece(&whole, 0, 5));
    solo.settle();
    solo.take();
    let mut short = whole.clone();
    short.size = 9;
    for wrong in [piece(&whole, 5, 5), piece(&short, 5, 10)] {
        let dropped = solo.status().dropped_messages;
        solo.say(2, 1, wrong);
        assert_eq!(solo.status().dropped_messages, dropped + 1);
        assert_eq!((solo.writing.len(), solo.take()), (0, vec![]));
    }
    solo.say(2, 1, piece(&whole, 5, 15));
    solo.settle();
    assert_eq!(acks(&solo.take()), [5]);
}

/// The first answer was lost: it is given again although a piece is being written meanwhile.
#[test]
fn a_repeated_append_is_answered_again() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 2, 0));
    solo.settle();
    assert_eq!(acks(&solo.take()), [2]);
    solo.say(2, 1, piece(&meta(5, 1), 0, 5));
    assert_eq!(solo.writing.len(), 1);
    solo.say(2, 1, append(at(0, 0), 1, 2, 0));
    solo.settle();
    assert_eq!(acks(&solo.take()), [2]);
}

/// What is durable of a snapshot is told to the leader that sent it, not to the one after it.
#[test]
fn a_new_leader_is_not_told_of_another_s_pieces() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, piece(&meta(5, 1), 0, 5));
    solo.say(3, 2, append(at(0, 0), 2, 0, 0));
    solo.settle();
    let told = |(_, body): &(u64, Body)| matches!(body, Body::SnapshotGot { .. });
    assert!(!solo.take().iter().any(told));
}

#[test]
fn a_transfer_goes_on_after_a_crash() {
    let mut solo = Solo::new(1, 3);
    let meta = meta(5, 1);
    solo.say(2, 1, piece(&meta, 0, 10));
    solo.settle();
    let mut again = Solo::on(1, 3, solo.image, |builder| builder);
    again.say(2, 1, piece(&meta, 0, 10));
    again.settle();
    assert_eq!(again.take(), [(2, got(&meta, 10))]);
    again.say(2, 1, piece(&meta, 10, 15));
    again.settle();
    assert_eq!(acks(&again.take()), [5]);
}

#[test]
fn a_crash_at_any_record_of_an_installation_leaves_one_whole_history() {
    let history = |solo: &mut Solo| {
        solo.say(2, 1, append(at(0, 0), 1, 9, 0));
        solo.settle();
        solo.take();
        solo.say(3, 3, piece(&meta(5, 2), 0, 15));
    };
    let mut probe = Solo::new(1, 3);
    history(&mut probe);
    let records: Vec<LogRecord> = probe.writing.into_iter().flat_map(|(_, r)| r).collect();
    for survive in 0..=records.len() {
        let mut image = probe.image.clone();
        for record in &records[..survive] {
            image.apply(record.clone()).unwrap();
        }
        let mut solo = Solo::on(1, 3, image, |builder| builder);
        let status = solo.status();
        let old = (status.last, status.snapshot) == (LogIndex(9), LogIndex(0));
        let new = (status.last, status.snapshot) == (LogIndex(5), LogIndex(5));
        assert!(old || new, "after {survive} records: {status:?}");
        // The leader tries again from the start, and is told how far it had come.
        solo.say(3, 3, piece(&meta(5, 2), 0, 15));
        solo.settle();
        if solo.status().snapshot == LogIndex(0) {
            solo.say(3, 3, piece(&meta(5, 2), 15, 15));
            solo.settle();
        }
        assert_eq!(
            solo.status().snapshot,
            LogIndex(5),
            "after {survive} records"
        );
        assert_eq!(solo.image.snapshot_contents().as_deref(), Some(STATE));
    }
}

#[test]
fn an_idle_leader_with_nothing_but_a_snapshot_brings_up_a_new_follower() {
    let mut cluster = Cluster::with(3, |builder| builder.retained_entries(0).max_log_bytes(1));
    let leader = cluster.elect();
    let late = n(leader.0 % 3 + 1);
    cluster.isolate(late);
    for k in 0..5 {
        cluster.propose(leader, &k.to_string()).unwrap();
        cluster.settle();
    }
    snapshot(&mut cluster, leader, 6, b"six");
    assert_eq!(cluster.raft(leader.0).status().compacted, LogIndex(6));
    cluster.heal();
    cluster.run(ms(2500));
    assert_eq!(
        cluster.raft(late.0).status().committed,
        cluster.raft(leader.0).status().committed
    );
    let contents = cluster.server(late.0).image.snapshot_contents().unwrap();
    assert_eq!(&contents[..], b"six");
}

#[test]
fn a_leader_sends_one_piece_at_a_time_and_goes_on_after_a_break() {
    let mut cluster = Cluster::with(3, |builder| {
        builder
            .retained_entries(0)
            .max_log_bytes(1)
            .snapshot_chunk_bytes(4)
    });
    let leader = cluster.elect();
    let late = n(leader.0 % 3 + 1);
    cluster.isolate(late);
    cluster.propose(leader, "x").unwrap();
    cluster.settle();
    snapshot(&mut cluster, leader, 2, STATE);
    cluster.heal();
    let mut offsets: Vec<u64> = Vec::new();
    for _ in 0..8000 {
        cluster.now = cluster.now + ms(1);
        cluster.tick();
        let ids: Vec<NodeId> = cluster.servers.keys().copied().collect();
        for id in ids {
            cluster.pump(id);
            cluster.sync(id);
            cluster.pump(id);
        }
        let mail = std::mem::take(&mut cluster.network);
        let pieces = mail
            .iter()
            .filter_map(|envelope| match &envelope.message.body {
                Body::Snapshot(piece) => Some(piece.offset),
                _ => None,
            });
        let pieces: Vec<u64> = pieces.collect();
        assert!(pieces.len() <= 1, "one at a time");
        offsets.extend(&pieces);
        // Every third piece is lost.
        let lose = offsets.len().is_multiple_of(3);
        let lost = |body: &Body| matches!(body, Body::Snapshot(_)) && lose;
        for envelope in mail {
            if !lost(&envelope.message.body) {
                cluster.deliver(envelope);
            }
        }
        if cluster.server(late.0).image.snapshot().is_some() {
            break;
        }
    }
    assert_eq!(
        cluster.server(late.0).image.snapshot_contents().as_deref(),
        Some(STATE)
    );
    assert!(offsets.is_sorted(), "never back: {offsets:?}");
    assert_eq!(offsets.last(), Some(&12));
    assert!(offsets.len() > 4, "some were lost: {offsets:?}");
}

#[test]
fn a_snapshot_with_an_unreadable_configuration_stops_the_node() {
    let mut solo = Solo::new(1, 3);
    let mut meta = meta(5, 1);
    meta.config = Bytes::from_static(b"\x07nonsense");
    solo.say(2, 1, piece(&meta, 0, 15));
    assert_eq!(
        solo.stopped(),
        Some("configurations in snapshots are readable")
    );
}

#[test]
fn the_log_is_not_compacted_beyond_what_is_committed_and_handed_out() {
    let mut solo = Solo::with(1, 3, |builder| builder.retained_entries(0));
    solo.say(2, 1, append(at(0, 0), 1, 9, 4));
    solo.settle();
    assert_eq!(solo.raft.describe(LogIndex(5)), None, "not committed");
    solo.raft.compact(solo.now, meta(7, 1));
    assert_eq!(solo.status().compacted, LogIndex(0));
    assert!(solo.raft.deadline().is_some());
}

/// Found by a seed: a learner that was taken out had all that it was to have, its answer was lost, and the
/// log was compacted beyond. A probe from where the log begins was refused, and each refusal asked for
/// another: the two talked as fast as the network could carry.
#[test]
fn one_that_is_taken_out_and_behind_the_log_gets_the_snapshot() {
    let retain_nothing = |builder: ConfigBuilder| builder.learners([n(7)]).retained_entries(0);
    let mut solo = Solo::leading(retain_nothing);
    solo.say(7, 1, appended(1, 0));
    let out = Change::RemoveLearner(n(7));
    solo.raft.reconfigure(solo.now, out).unwrap();
    solo.settle();
    for k in 0..5 {
        solo.propose(&format!("c{k}"));
    }
    solo.settle();
    for peer in [2, 3] {
        solo.say(peer, 1, appended(7, 0));
    }
    let mut meta = solo.raft.describe(LogIndex(7)).unwrap();
    meta.size = STATE.len() as u64;
    let (id, chunk) = (meta.id, Bytes::from_static(STATE));
    for record in [
        LogRecord::Stage {
            lane: Lane::Taken,
            id,
            offset: 0,
            chunk,
        },
        LogRecord::Activate {
            meta: meta.clone(),
            log: OldLog::Keep,
        },
    ] {
        solo.image.apply(record).unwrap();
    }
    solo.raft.compact(solo.now, meta);
    solo.settle();
    assert_eq!(solo.status().compacted, LogIndex(7));
    solo.take();
    let mut probes = 0;
    while solo.loads.is_empty() {
        solo.wait(ms(50));
        for (before, ..) in appends(&solo.take(), 7) {
            probes += 1;
            solo.say(7, 1, conflict(before, at(2, 1)));
        }
        assert!(probes < 5, "it is asked again and again");
    }
    assert!(
        matches!(solo.loads[..], [(_, LogLoad::Snapshot { .. })]),
        "{:?}",
        solo.loads
    );
    // Its answer is that it has it.
    solo.say(7, 1, appended(7, 0));
    solo.wait(ms(50));
    solo.say(7, 1, appended(7, 0));
    assert_eq!(solo.status().peers.len(), 2, "and it is let go");
}
