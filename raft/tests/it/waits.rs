//! What waits does not wait for ever, nor for what it need not.

use core::time::Duration;

use bytes::Bytes;
use synod_core::{
    Change, Generation, Instant, Link, LinkId, LogEvent, LogImage, LogIndex, LogLoad, Machine,
    Output, ReadLevel, Refusal, ReplicatedLog, Role, SessionToken, SnapshotMeta, Ticket,
};
use synod_raft::{Body, Detail, Event};

use crate::cluster::{Cluster, ms, n};
use crate::solo::{Solo, append, appended, at};

/// The default of `forward_timeout`.
const PATIENCE: Duration = Duration::from_secs(2);

fn asks(solo: &mut Solo, peer: u64) -> usize {
    let appends = |(to, body): &&(u64, Body)| *to == peer && matches!(body, Body::Append(_));
    solo.take().iter().filter(appends).count()
}

/// What became of a ticket, as the events tell.
fn fate(events: &[Event], ticket: Ticket) -> Option<&'static str> {
    let mut fates = events.iter().filter_map(|event| match event {
        LogEvent::Unknown(t) if *t == ticket => Some("unknown"),
        LogEvent::Displaced(t) if *t == ticket => Some("displaced"),
        LogEvent::Refused(t, Refusal::TimedOut) if *t == ticket => Some("timed out"),
        LogEvent::Refused(t, _) if *t == ticket => Some("refused"),
        LogEvent::Read { ticket: t, .. } if *t == ticket => Some("read"),
        LogEvent::Committed(committed) if committed.iter().any(|(.., t)| t == Some(ticket)) => {
            Some("committed")
        }
        _ => None,
    });
    let fate = fates.next();
    assert_eq!(fates.next(), None, "a ticket resolves once");
    fate
}

/// A write that takes long keeps neither the leader's quorum nor its reads waiting.
#[test]
fn a_follower_whose_disk_is_slow_still_says_that_it_follows() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 0));
    solo.settle();
    solo.take();
    solo.say(2, 1, append(at(1, 1), 1, 2, 0));
    assert_eq!(solo.writing.len(), 1, "i2 and i3 are being written");
    assert_eq!(solo.take(), [], "and not acknowledged");
    solo.say(2, 1, append(at(3, 1), 1, 0, 0));
    assert_eq!(
        solo.take(),
        [(2, appended(1, 0))],
        "here, with what is durable"
    );
    let Body::Append(mut asked) = append(at(3, 1), 1, 0, 0) else {
        unreachable!("an append")
    };
    asked.round = synod_raft::Round(7);
    solo.say(2, 1, Body::Append(asked));
    assert_eq!(solo.take(), [(2, appended(1, 7))], "for a read's round too");
    solo.settle();
    assert_eq!(
        solo.take(),
        [(2, appended(3, 7))],
        "once, when it is durable"
    );
}

/// The term is durable before anything is said in it, slow disk or not.
#[test]
fn a_follower_says_nothing_in_a_term_that_is_not_durable() {
    let mut solo = Solo::new(1, 3);
    solo.settle();
    solo.take();
    solo.say(2, 4, append(at(0, 0), 4, 1, 0));
    solo.say(2, 4, append(at(1, 4), 4, 0, 0));
    assert_eq!(solo.take(), []);
    solo.settle();
    assert_eq!(solo.take().last(), Some(&(2, appended(1, 0))));
}

#[test]
fn a_read_at_a_place_that_does_not_come_is_given_up() {
    let mut solo = Solo::with(1, 3, |builder| builder.max_pending_reads(2));
    solo.say(2, 1, append(at(0, 0), 1, 3, 3));
    solo.settle();
    let far = ReadLevel::Session(SessionToken(LogIndex(1 << 40)));
    let near = ReadLevel::Session(SessionToken(LogIndex(4)));
    let (far, near) = (
        solo.raft.read(solo.now, far).unwrap(),
        solo.raft.read(solo.now, near).unwrap(),
    );
    solo.pump();
    let busy = solo.raft.read(solo.now, ReadLevel::Stale).unwrap_err();
    assert!(matches!(busy.refusal, Refusal::Busy { limit: 2, .. }));
    let start = solo.now;
    while solo.now < start + PATIENCE {
        // The leader is alive all the while.
        let at = solo.raft.deadline().unwrap().at;
        solo.now = solo.now.max(at.min(solo.now + ms(50)));
        solo.raft.tick(solo.now);
        solo.pump();
        solo.say(2, 1, append(at_three(), 1, 0, 3));
        if solo.now == start + ms(1000) {
            solo.say(2, 1, append(at_three(), 1, 1, 4));
            solo.settle();
        }
    }
    assert_eq!(fate(&solo.events, near), Some("read"));
    assert_eq!(fate(&solo.events, far), Some("timed out"));
    solo.raft
        .read(solo.now, ReadLevel::Stale)
        .expect("the slot is free");
}

fn at_three() -> synod_raft::Position {
    at(3, 1)
}

/// Pitfall 37: whoever is cut off says so in the end, and does not let its clients wait for ever.
#[test]
fn proposals_of_a_leader_that_is_cut_off_become_unknown() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.elect();
    cluster.isolate(leader);
    let ticket = cluster.propose(leader, "nobody hears this").unwrap();
    cluster.run(ms(1500));
    assert_ne!(cluster.raft(leader.0).status().role, Role::Leader);
    assert_eq!(cluster.outcome(leader, ticket), [""; 0], "not yet");
    cluster.run(PATIENCE);
    let events = &cluster.server(leader.0).events;
    assert_eq!(fate(events, ticket), Some("unknown"));
    cluster.heal();
    cluster.run(ms(2000));
    let events = &cluster.server(leader.0).events;
    assert_eq!(fate(events, ticket), Some("unknown"), "once");
}

/// As long as a leader is heard, a proposal that it has taken on is waited for.
#[test]
fn proposals_of_a_follower_in_touch_wait_for_their_commit() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 1));
    solo.settle();
    let ticket = solo.propose("slow").unwrap();
    let asked = solo.take();
    let (life, first) = asked
        .iter()
        .find_map(|(_, body)| match body {
            Body::Propose { life, first, .. } => Some((*life, *first)),
            _ => None,
        })
        .expect("forwarded");
    solo.say(
        2,
        1,
        Body::Proposed {
            life,
            first,
            count: 1,
            outcome: synod_raft::Outcome::Accepted(LogIndex(2)),
        },
    );
    for _ in 0..100 {
        solo.wait(ms(50));
        solo.say(2, 1, append(at(1, 1), 1, 0, 1));
    }
    assert_eq!(fate(&solo.events, ticket), None);
    solo.wait(PATIENCE);
    assert_eq!(fate(&solo.events, ticket), Some("unknown"), "out of touch");
}

/// Found by the simulator: a read at another level took a ticket between two that were forwarded
/// together.
#[test]
fn reads_of_all_levels_at_a_follower_resolve_once_each() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 1));
    solo.settle();
    solo.take();
    let levels = [
        ReadLevel::Linearizable,
        ReadLevel::Stale,
        ReadLevel::Linearizable,
        ReadLevel::Linearizable,
    ];
    let tickets = levels.map(|level| solo.raft.read(solo.now, level).unwrap());
    solo.pump();
    for (_, body) in solo.take() {
        if let Body::Read { life, ticket } = body {
            let index = Ok(LogIndex(1));
            let answer = Body::ReadAt {
                life,
                ticket,
                index,
            };
            solo.say(2, 1, answer);
        }
    }
    for ticket in tickets {
        assert_eq!(fate(&solo.events, ticket), Some("read"));
    }
}

/// Pitfall 29: who is taken out is told.
#[test]
fn a_removed_learner_learns_that_it_is_out() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.elect();
    cluster.start(n(4), LogImage::new(), 0);
    cluster.connect();
    let now = cluster.now;
    let add = Change::AddLearner(n(4));
    cluster.raft(leader.0).reconfigure(now, add).unwrap();
    cluster.run(ms(100));
    assert_eq!(cluster.raft(4).status().learners, [n(4)]);
    let (now, out) = (cluster.now, Change::RemoveLearner(n(4)));
    cluster.raft(leader.0).reconfigure(now, out).unwrap();
    cluster.run(ms(100));
    let status = cluster.raft(4).status();
    assert_eq!(status.learners, [], "it knows");
    assert_eq!(status.committed, status.last, "that this is committed, too");
    let peers = cluster.raft(leader.0).status().peers;
    assert!(
        peers.iter().all(|peer| peer.node != n(4)),
        "and is let go then"
    );
    cluster.propose(leader, "not for you").unwrap();
    cluster.run(ms(100));
    assert!(!cluster.commands(4).contains(&"not for you".to_owned()));
}

/// What is known of a member that was taken out is not believed of one that returns: its disk may
/// be another.
#[test]
fn a_learner_that_returns_starts_from_nothing() {
    let mut solo = Solo::leading(|builder| builder.learners([n(7)]));
    let link = |solo: &mut Solo| {
        solo.raft.link(solo.now, n(7), Link::Up(LinkId(1)));
        solo.pump();
    };
    link(&mut solo);
    solo.say(7, 1, appended(1, 0));
    let matched = |solo: &Solo| {
        let peers = solo.status().peers;
        peers.iter().find(|p| p.node == n(7)).map(|p| p.matched.0)
    };
    assert_eq!(matched(&solo), Some(1));
    for (change, last) in [
        (Change::RemoveLearner(n(7)), 2),
        (Change::AddLearner(n(7)), 3),
    ] {
        solo.raft.reconfigure(solo.now, change).unwrap();
        solo.settle();
        solo.say(2, 1, appended(last, 0));
        solo.settle();
    }
    assert_eq!(matched(&solo), Some(0));
}

#[test]
fn a_new_link_to_one_that_was_taken_out_tells_it_nothing() {
    let mut solo = Solo::leading(|builder| builder.learners([n(7)]));
    solo.raft.link(solo.now, n(7), Link::Up(LinkId(1)));
    solo.pump();
    let out = Change::RemoveLearner(n(7));
    solo.raft.reconfigure(solo.now, out).unwrap();
    solo.raft.link(solo.now, n(7), Link::Down);
    solo.raft.link(solo.now, n(7), Link::Up(LinkId(2)));
    solo.take();
    solo.settle();
    solo.wait(ms(50));
    assert_eq!(asks(&mut solo, 7), 0);
    assert!(asks(&mut solo, 2) == 0 && solo.status().peers.len() == 2);
}

/// A storage that does not have what the state machine needs is asked again with time, not at once.
#[test]
fn a_storage_that_lost_something_is_not_kept_busy() {
    let mut solo = Solo::with(1, 1, |builder| {
        builder.max_log_bytes(1).max_unapplied_bytes(1)
    });
    solo.wake();
    solo.settle();
    for k in 0..10 {
        let command = Bytes::from(format!("c{k}"));
        solo.raft.propose(solo.now, command).unwrap();
        // The state machine applies nothing from here on: what is committed leaves memory.
        while let Some(output) = solo.raft.poll() {
            if let Output::Persist(write, records) = output {
                let applied = records
                    .into_iter()
                    .try_for_each(|record| solo.image.apply(record));
                applied.unwrap();
                solo.raft.persisted(solo.now, write);
            }
        }
    }
    solo.raft.applied(solo.now, LogIndex(2));
    solo.pump();
    for _ in 0..3 {
        let (load, what) = solo.loads.remove(0);
        assert!(matches!(what, LogLoad::Entries { .. }));
        solo.raft.loaded(solo.now, load, None);
        solo.pump();
        assert_eq!(solo.loads, [], "not at once");
        solo.raft.read(solo.now, ReadLevel::Stale).unwrap();
        solo.pump();
        assert_eq!(solo.loads, [], "nor because something else happens");
        solo.wait(ms(49));
        assert_eq!(solo.loads, [], "nor before its time");
        solo.wait(ms(1));
        assert_eq!(solo.loads.len(), 1, "after a heartbeat");
    }
    while !solo.loads.is_empty() {
        solo.load();
    }
    assert_eq!(solo.status().applied, LogIndex(11));
}

/// Whoever hears a heartbeat hears the next within one and a half intervals, whatever else is sent.
#[test]
fn what_is_sent_just_after_a_heartbeat_does_not_stand_for_the_next() {
    let mut solo = Solo::leading(|builder| builder);
    let mut last = solo.now;
    let mut beats = 0;
    for step in 0..200 {
        solo.now = solo.now + ms(1);
        if solo.raft.deadline().is_some_and(|wake| wake.at <= solo.now) {
            solo.raft.tick(solo.now);
            solo.pump();
        }
        if step == 51 {
            solo.propose("just after a heartbeat");
            solo.settle();
        }
        if asks(&mut solo, 3) > 0 {
            last = solo.now;
            beats += 1;
        }
        assert!(solo.now.since(last) <= ms(75), "silent since {last:?}");
    }
    assert!(beats >= 4);
}

/// Only a member can say that another storage has this node's name.
#[test]
fn a_stranger_s_word_stops_nobody() {
    let mut solo = Solo::leading(|builder| builder.learners([n(7)]));
    solo.raft.link(solo.now, n(9), Link::Up(LinkId(1)));
    let known = Generation(77);
    solo.say(9, 1, Body::Stranger { known });
    assert_eq!(solo.stopped(), None);
    solo.say(2, 1, Body::Stranger { known });
    assert_eq!(solo.stopped(), Some("a node keeps its storage"));
}

fn got(meta: &SnapshotMeta, offset: u64) -> Body {
    Body::SnapshotGot {
        id: meta.id,
        offset,
        round: synod_raft::Round(0),
    }
}

/// An answer that comes twice starts no second stream of pieces, and one from behind the end asks
/// no storage for anything.
#[test]
fn one_stream_of_a_snapshot_at_a_time() {
    let mut solo = Solo::leading(|builder| builder.retained_entries(0).snapshot_chunk_bytes(4));
    for k in 0..4 {
        solo.propose(&format!("c{k}"));
        solo.settle();
        solo.say(2, 1, appended(k + 2, 0));
        solo.settle();
    }
    solo.raft.applied(solo.now, LogIndex(5));
    let mut meta = solo.raft.describe(LogIndex(5)).unwrap();
    let contents = Bytes::from_static(b"sixteen bytes...");
    meta.size = contents.len() as u64;
    for record in [
        synod_core::LogRecord::Stage {
            lane: synod_core::Lane::Taken,
            id: meta.id,
            offset: 0,
            chunk: contents,
        },
        synod_core::LogRecord::Activate {
            meta: meta.clone(),
            log: synod_core::OldLog::Keep,
        },
    ] {
        solo.image.apply(record).unwrap();
    }
    solo.raft.compact(solo.now, meta.clone());
    solo.settle();
    solo.raft.link(solo.now, n(3), Link::Down);
    solo.raft.link(solo.now, n(3), Link::Up(LinkId(1)));
    solo.pump();
    solo.say(
        3,
        1,
        Body::Conflict {
            asked: LogIndex(5),
            hint: at(0, 0),
            round: synod_raft::Round(0),
        },
    );
    let offered = |event: &Event| matches!(event, LogEvent::Detail(Detail::SnapshotOffered { .. }));
    assert!(solo.events.iter().any(offered));
    assert_eq!(solo.loads.len(), 1);
    solo.load();
    solo.say(3, 1, got(&meta, 4));
    assert_eq!(solo.loads.len(), 1, "the second piece");
    solo.load();
    for _ in 0..3 {
        solo.say(3, 1, got(&meta, 4));
        assert_eq!(solo.loads, [], "it is under way");
    }
    solo.say(3, 1, got(&meta, 17));
    assert_eq!(solo.loads, [], "behind the end");
    solo.say(3, 1, got(&meta, 8));
    assert_eq!(solo.loads.len(), 1, "the third piece");
}

/// Twice the longest time-out that can be configured is still a time.
#[test]
fn the_longest_times_do_not_overflow() {
    let most = Duration::from_nanos(u64::MAX / 2);
    let mut solo = Solo::leading(|builder| builder.election_timeout(ms(300)..=most));
    solo.wait(ms(50));
    solo.now = Instant::from_nanos(u64::MAX / 2);
    solo.raft.tick(solo.now);
    solo.pump();
    assert_eq!(solo.role(), Role::Leader);
}

/// Nor does a refusal wait for the disk: it promises nothing.
#[test]
fn a_follower_whose_disk_is_slow_still_says_what_it_lacks() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 0));
    solo.settle();
    solo.take();
    solo.say(2, 1, append(at(1, 1), 1, 1, 0));
    solo.say(2, 1, append(at(5, 1), 1, 0, 0));
    let refusal = Body::Conflict {
        asked: LogIndex(5),
        hint: at(2, 1),
        round: synod_raft::Round(0),
    };
    assert_eq!(solo.take(), [(2, refusal)]);
}

/// While a snapshot takes the place of the log nothing is durable for sure: a follower still says
/// that it follows, and claims nothing.
#[test]
fn a_follower_that_installs_a_snapshot_slowly_still_says_that_it_follows() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 0));
    solo.settle();
    solo.take();
    solo.say(2, 1, crate::tickets::snapshot(5, 1));
    assert_eq!(solo.writing.len(), 1);
    solo.say(2, 1, append(at(0, 0), 1, 0, 0));
    assert_eq!(solo.take(), [(2, appended(0, 0))]);
    solo.settle();
    assert_eq!(solo.take(), [(2, appended(5, 0))]);
}

/// Heartbeats to a node whose disk hangs gather nothing there: one answer stands for all.
#[test]
fn a_disk_that_hangs_gathers_no_answers() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 4, append(at(0, 0), 4, 1, 0));
    for _ in 0..100 {
        solo.say(2, 4, append(at(1, 4), 4, 0, 0));
    }
    assert_eq!(solo.take(), []);
    solo.settle();
    assert_eq!(solo.take(), [(2, appended(1, 0))]);
}

/// A peer that lacks what it has acknowledged (an old copy of its disk, say), or that names no place
/// before the one refused, is asked again with the next heartbeat, not without end at once.
#[test]
fn a_peer_that_takes_back_its_word_is_not_asked_at_once() {
    let mut solo = Solo::leading(|builder| builder);
    let conflict = |asked, hint| Body::Conflict {
        asked: LogIndex(asked),
        hint,
        round: synod_raft::Round(0),
    };
    solo.raft.link(solo.now, n(2), Link::Up(LinkId(1)));
    solo.pump();
    assert_eq!(asks(&mut solo, 2), 1, "the probe behind what it had");
    for _ in 0..3 {
        solo.say(2, 1, conflict(1, at(0, 0)));
        assert_eq!(asks(&mut solo, 2), 0);
    }
    solo.wait(ms(50));
    assert_eq!(asks(&mut solo, 2), 1);

    // The other way: it refuses whatever it is asked, and names a place no lower.
    let mut solo = Solo::with(1, 3, |builder| builder.max_append_bytes(1));
    solo.say(2, 1, append(at(0, 0), 1, 5, 0));
    solo.settle();
    solo.win(&[2, 3]);
    solo.take();
    let mut asked = 5;
    for _ in 0..20 {
        solo.say(2, 2, conflict(asked, at(9, 2)));
        let sent = crate::solo::appends(&solo.take(), 2);
        assert!(sent.iter().all(|(before, ..)| *before < asked), "{sent:?}");
        asked = sent.last().map_or(asked, |(before, ..)| *before);
    }
}

/// One that is taken out gets nothing that comes after that, and is given up if it does not answer.
#[test]
fn one_that_is_taken_out_and_silent_is_given_up() {
    let mut solo = Solo::leading(|builder| builder.learners([n(7)]));
    solo.raft.link(solo.now, n(7), Link::Up(LinkId(1)));
    solo.pump();
    solo.say(7, 1, appended(1, 0));
    let out = Change::RemoveLearner(n(7));
    solo.raft.reconfigure(solo.now, out).unwrap();
    solo.settle();
    solo.propose("not for you");
    solo.settle();
    let sent = crate::solo::appends(&solo.take(), 7);
    assert!(
        sent.iter()
            .all(|(before, count, _)| before + *count as u64 <= 2),
        "{sent:?}"
    );
    for _ in 0..30 {
        solo.wait(ms(50));
        for peer in [2, 3] {
            solo.say(peer, 1, appended(3, 0));
        }
    }
    assert_eq!(solo.status().peers.len(), 2);
}
