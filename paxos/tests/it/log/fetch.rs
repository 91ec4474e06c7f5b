//! What nodes get that lack something: chosen slots, snapshots in pieces; and what may be dropped.

use synod_core::{Generation, LogIndex, ReplicatedLog, Role, SnapshotId, SnapshotMeta, Stamp};
use synod_paxos::log::{Body, ConfigBuilder, Detail, Page, Piece};

use super::cluster::{Cluster, i, ms, n};
use super::solo::{Solo, accept, accepted, b, page, votes};

fn asked(after: u64, staged: Option<(SnapshotId, u64)>) -> Body {
    Body::Fetch {
        after: i(after),
        through: None,
        votes: false,
        staged,
    }
}

/// Who was away while a new leader chose things gets them of the leader, who does not push them.
#[test]
fn who_was_away_fetches_what_the_leader_does_not_push() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.crash(n(3));
    for k in 0..30 {
        cluster.commit(n(1), &k.to_string());
    }
    // Node 2 begins behind all of them, and pushes none.
    let now = cluster.now;
    cluster.log(n(1)).transfer(now, n(2)).unwrap();
    cluster.run(ms(100));
    assert_eq!(cluster.leader(), Some(n(2)));
    cluster.sent.clear();
    cluster.restart(n(3));
    cluster.run(ms(300));
    assert_eq!(cluster.commands(n(3)).len(), 30);
    assert!(cluster.count("Fetch") >= 1 && cluster.count("Page") >= 1);
    let fetching = cluster.servers[&n(3)]
        .details()
        .find_map(|detail| match detail {
            Detail::Fetching { after, from } => Some((*after, *from)),
            _ => None,
        });
    assert_eq!(fetching, Some((i(0), n(2))));
}

/// What is no longer in the leader's memory is fetched, too, and read from its disk.
#[test]
fn what_is_on_disk_only_is_read_for_who_asks() {
    let mut cluster = Cluster::with(3, |builder| {
        builder.max_log_bytes(100).max_accept_bytes(100)
    });
    cluster.led_by(n(1));
    cluster.isolate(n(3));
    for k in 0..60 {
        cluster.commit(n(1), &format!("command {k}"));
    }
    cluster.run(ms(50));
    assert!(cluster.status(n(1)).log_bytes <= 200);
    cluster.heal();
    cluster.run(ms(1000));
    assert_eq!(cluster.commands(n(3)).len(), 60);
}

#[test]
fn a_fetch_that_is_not_answered_is_sent_again() {
    let mut solo = Solo::new(1, 3);
    let ballot = b(4, 2);
    solo.say(2, ballot, accept(votes(9, ballot, &["i"]), 8, 9));
    solo.settle();
    assert!(solo.take_to(2).contains(&asked(0, None)));
    solo.wait(ms(250));
    solo.say(2, ballot, accept(votes(10, ballot, &[]), 8, 9));
    assert!(
        solo.take_to(2).contains(&asked(0, None)),
        "the first was lost"
    );
}

/// A page that leaves a slot out is nonsense: what is chosen has no gap.
#[test]
fn a_page_with_a_hole_is_not_taken() {
    let mut solo = Solo::new(1, 3);
    let ballot = b(4, 2);
    solo.say(2, ballot, accept(votes(9, ballot, &["i"]), 8, 9));
    solo.settle();
    let dropped = solo.status().dropped_messages;
    solo.say(
        2,
        ballot,
        Body::Page(page(0, 8, 9, &[votes(2, b(2, 3), &["b", "c"])])),
    );
    solo.settle();
    assert_eq!(solo.status().committed, i(0));
    assert_eq!(solo.status().dropped_messages, dropped + 1);
    let from_later = Page {
        through: i(8),
        ..page(4, 8, 9, &[votes(5, b(2, 3), &["e", "f", "g", "h"])])
    };
    solo.say(2, ballot, Body::Page(from_later));
    solo.settle();
    assert_eq!(solo.status().committed, i(0));
}

// Snapshots.

fn meta(origin: u64, index: u64, size: u64) -> SnapshotMeta {
    SnapshotMeta {
        id: SnapshotId {
            origin: Generation(origin),
            index: LogIndex(index),
        },
        stamp: Stamp { number: 2, node: 2 },
        config: config(),
        size,
    }
}

/// The encoded configuration of three voters.
fn config() -> bytes::Bytes {
    let mut solo = Solo::new(1, 3);
    solo.say(2, b(2, 2), accept(votes(1, b(2, 2), &["a"]), 1, 1));
    solo.settle();
    solo.log.describe(i(1)).unwrap().config
}

fn piece(meta: &SnapshotMeta, offset: u64, chunk: &'static str) -> Body {
    Body::Piece(Box::new(Piece {
        meta: meta.clone(),
        offset,
        chunk: chunk.into(),
    }))
}

/// A follower that has heard of slot 9 and lacks what comes before.
fn behind() -> Solo {
    let mut solo = Solo::new(1, 3);
    let ballot = b(4, 2);
    solo.say(2, ballot, accept(votes(9, ballot, &["i"]), 8, 9));
    solo.settle();
    solo.take();
    solo
}

#[test]
fn a_snapshot_comes_in_pieces_and_keeps_the_votes_behind_it() {
    let (mut solo, snapshot, ballot) = (behind(), meta(2, 8, 6), b(4, 2));
    solo.say(2, ballot, piece(&snapshot, 0, "abc"));
    assert!(
        solo.take_to(2).contains(&asked(0, Some((snapshot.id, 3)))),
        "the next, at once"
    );
    solo.say(2, ballot, piece(&snapshot, 3, "def"));
    assert_eq!(solo.status().committed, i(8));
    solo.settle();
    let held = solo.take_to(2);
    assert!(
        held.contains(&accepted(9, &[])),
        "slot 9 is still voted for: {held:?}"
    );
    solo.say(2, ballot, accept(votes(10, ballot, &[]), 9, 9));
    let contents = solo.image.snapshot_contents().unwrap();
    assert_eq!(&contents[..], b"abcdef");
    assert_eq!(solo.handed(), ["i"]);
    let mut again = solo.restarted(3);
    assert!(again.status().committed >= i(8));
    again.settle();
}

/// Pieces that do not fit, repeat or lead nowhere change nothing.
#[test]
fn a_piece_fits_or_is_dropped() {
    let (mut solo, snapshot, ballot) = (behind(), meta(2, 8, 6), b(4, 2));
    solo.say(2, ballot, piece(&snapshot, 0, "abc"));
    for (offset, chunk) in [(0, "abc"), (4, "ef"), (3, ""), (3, "defg")] {
        let before = solo.status().dropped_messages;
        solo.say(2, ballot, piece(&snapshot, offset, chunk));
        assert_eq!(
            solo.status().dropped_messages,
            before + 1,
            "{offset} {chunk:?}"
        );
    }
    solo.say(2, ballot, piece(&snapshot, 3, "def"));
    assert_eq!(solo.status().snapshot, i(8));
}

/// Two peers have different snapshots: while one is being received, the other does not make it
/// begin anew; when the first falls silent, the other may.
#[test]
fn pieces_of_two_sources_do_not_mix() {
    let ballot = b(4, 2);
    let (one, other) = (meta(2, 8, 6), meta(3, 7, 4));
    let mut solo = behind();
    solo.say(2, ballot, piece(&one, 0, "abc"));
    solo.say(3, ballot, piece(&other, 0, "xy"));
    solo.say(2, ballot, piece(&one, 3, "def"));
    solo.settle();
    assert_eq!(&solo.image.snapshot_contents().unwrap()[..], b"abcdef");

    let mut solo = behind();
    solo.say(2, ballot, piece(&one, 0, "abc"));
    solo.wait(ms(450));
    solo.say(3, ballot, piece(&other, 0, "xy"));
    solo.say(2, ballot, piece(&one, 3, "def"));
    solo.say(3, ballot, piece(&other, 2, "z!"));
    solo.settle();
    assert_eq!(&solo.image.snapshot_contents().unwrap()[..], b"xyz!");

    // A link that is gone makes way at once.
    let mut solo = behind();
    solo.say(2, ballot, piece(&one, 0, "abc"));
    synod_core::Machine::link(&mut solo.log, solo.now, n(2), synod_core::Link::Down);
    solo.say(3, ballot, piece(&other, 0, "xyz!"));
    assert_eq!(solo.status().snapshot, i(7));
}

/// What was received outlives a crash: the rest alone is asked for.
#[test]
fn a_snapshot_resumes_after_a_crash() {
    let (mut solo, snapshot, ballot) = (behind(), meta(2, 8, 6), b(4, 2));
    solo.say(2, ballot, piece(&snapshot, 0, "abc"));
    solo.settle();
    let mut again = solo.restarted(3);
    again.say(2, ballot, accept(votes(10, ballot, &[]), 8, 9));
    assert!(again.take_to(2).contains(&asked(0, Some((snapshot.id, 3)))));
    again.say(2, ballot, piece(&snapshot, 3, "def"));
    again.settle();
    assert_eq!(&again.image.snapshot_contents().unwrap()[..], b"abcdef");
}

/// A follower far behind, whole: cut off, and connected again, over a link that breaks on the way.
#[test]
fn a_follower_far_behind_gets_the_snapshot() {
    let mut cluster = Cluster::with(3, |builder| {
        builder.retained_entries(2).snapshot_chunk_bytes(3)
    });
    cluster.led_by(n(1));
    cluster.isolate(n(3));
    for k in 0..20 {
        cluster.commit(n(1), &k.to_string());
    }
    cluster.run(ms(10));
    for id in [n(1), n(2)] {
        cluster.snapshot(id, i(18), b"the state at eighteen");
    }
    cluster.heal();
    cluster.run(ms(60));
    assert!(cluster.status(n(3)).snapshot < i(18), "it is on its way");
    cluster.crash(n(3));
    cluster.restart(n(3));
    cluster.run(ms(1000));
    let status = cluster.status(n(3));
    assert_eq!((status.committed, status.snapshot), (i(20), i(18)));
    let contents = cluster.servers[&n(3)].image.snapshot_contents().unwrap();
    assert_eq!(&contents[..], b"the state at eighteen");
    assert_eq!(cluster.commands(n(3)), ["18", "19"]);
    cluster.crash(n(3));
    cluster.restart(n(3));
    cluster.run(ms(200));
    assert_eq!(cluster.commands(n(3)), ["18", "19"]);
}

// Compaction.

/// Nothing leaves the log that the state machine has not applied, and nothing but what a snapshot
/// covers; so many entries before it stay.
#[test]
fn compaction_is_bounded_by_what_is_applied_and_kept() {
    let mut cluster = Cluster::with(3, |builder| {
        builder.retained_entries(3).max_unapplied_bytes(1)
    });
    cluster.led_by(n(1));
    cluster.idle = vec![n(2)];
    for k in 0..10 {
        cluster.commit(n(1), &k.to_string());
    }
    cluster.run(ms(10));
    cluster.snapshot(n(1), i(8), b"eight");
    assert_eq!(cluster.status(n(1)).compacted, i(5));
    // Node 2 has been handed one entry and has applied none; a snapshot that it took would lie.
    assert_eq!(cluster.commands(n(2)).len(), 1);
    assert_eq!(cluster.status(n(2)).applied, i(0));
    cluster.snapshot(n(2), i(8), b"eight");
    assert!(cluster.status(n(2)).compacted <= i(1));
    cluster.idle.clear();
    let now = cluster.now;
    cluster.log(n(2)).applied(now, i(1));
    cluster.run(ms(10));
    assert_eq!(cluster.commands(n(2)).len(), 10, "nothing is missing");
    // No step back.
    cluster.snapshot(n(1), i(10), b"ten");
    assert_eq!(cluster.status(n(1)).compacted, i(7));
    let old = cluster.log(n(1)).describe(i(9)).unwrap();
    cluster.log(n(1)).compact(now, old);
    assert_eq!(cluster.status(n(1)).snapshot, i(10));
    assert_eq!(cluster.log(n(1)).describe(i(11)), None, "not chosen");
    assert_eq!(
        cluster.log(n(1)).describe(i(0)),
        None,
        "nothing to describe"
    );
}

/// A node goes on from a snapshot and what is behind it.
#[test]
fn a_compacted_log_is_a_start() {
    let mut cluster = Cluster::with(3, |builder| builder.retained_entries(0));
    cluster.led_by(n(1));
    for k in 0..10 {
        cluster.commit(n(1), &k.to_string());
    }
    cluster.run(ms(10));
    for id in cluster.ids() {
        cluster.snapshot(id, i(7), b"seven");
    }
    for id in cluster.ids() {
        cluster.crash(id);
    }
    for id in cluster.ids() {
        cluster.restart(id);
    }
    let leader = cluster.elect();
    cluster.commit(leader, "after");
    cluster.run(ms(50));
    for id in cluster.ids() {
        assert_eq!(cluster.commands(id), ["7", "8", "9", "after"], "{id}");
        assert_eq!(cluster.status(id).compacted, i(7));
    }
    assert_eq!(cluster.status(leader).role, Role::Leader);
}

/// Entries before a snapshot that are still in the log are not handed out again.
#[test]
fn what_a_snapshot_covers_is_not_handed_out_after_it() {
    let mut cluster = Cluster::with(3, |builder| builder.retained_entries(5));
    cluster.led_by(n(1));
    for k in 0..10 {
        cluster.commit(n(1), &k.to_string());
    }
    cluster.run(ms(10));
    cluster.snapshot(n(2), i(8), b"eight");
    assert_eq!(cluster.status(n(2)).compacted, i(3));
    cluster.crash(n(2));
    cluster.restart(n(2));
    cluster.run(ms(200));
    assert_eq!(cluster.commands(n(2)), ["8", "9"]);
}

/// A state machine with a disk of its own says where it is; what it has is not handed out again.
#[test]
fn a_state_machine_may_be_ahead_of_what_a_start_knows() {
    let mut solo = Solo::new(1, 3);
    solo.say(
        2,
        b(2, 2),
        accept(votes(1, b(2, 2), &["a", "b", "c"]), 3, 1),
    );
    solo.settle();
    assert_eq!(solo.handed(), ["a", "b", "c"]);
    let config = synod_paxos::log::Config::builder(n(1)).voters([n(1), n(2), n(3)]);
    let config = config.build().unwrap();
    let restored = solo.image.restored(usize::MAX);
    let mut again = solo.clone();
    again.events.clear();
    again.log = synod_paxos::log::MultiPaxos::new(config, restored, solo.now).unwrap();
    again.log.applied(solo.now, i(2));
    assert_eq!(
        again.status().committed,
        i(2),
        "what was applied was chosen"
    );
    again.pump();
    assert_eq!(again.handed(), [""; 0]);
}

// Several pages at once.

/// Entries in a page of the clusters below, about.
const PAGE: u64 = 10;

/// Three members with 300 entries, of which a page holds a few; a learner is taken in.
fn with_a_learner(configure: fn(ConfigBuilder) -> ConfigBuilder) -> Cluster {
    let mut cluster = Cluster::with(3, move |builder| {
        let weight = synod_core::Entry::command("command 123".into()).weight();
        configure(builder.max_accept_bytes(PAGE as usize * weight))
    });
    cluster.led_by(n(1));
    for k in 0..300 {
        cluster.commit(n(1), &format!("command {k:03}"));
    }
    cluster.run(ms(200));
    cluster.join(4);
    let now = cluster.now;
    let change = synod_core::Change::AddLearner(n(4));
    cluster.log(n(1)).reconfigure(now, change).unwrap();
    cluster.pump();
    // A leader sends by itself what it has in memory: what it does not is what is fetched.
    cluster.lose_unless(|envelope| match &envelope.message.body {
        Body::Accept(accept) => envelope.to != n(4) || accept.entries.is_empty(),
        _ => true,
    });
    cluster
}

/// How long the learner takes from its first question on, in round trips, and of whom it has got how many
/// pages.
fn round_trips(cluster: &mut Cluster) -> u64 {
    while cluster.count("Fetch") == 0 {
        cluster.run(ms(1));
    }
    let (start, limit) = (cluster.now, ms(2_000));
    while cluster.commands(n(4)).len() < 300 {
        assert!(
            cluster.now.since(start) < limit,
            "{:?}",
            cluster.status(n(4))
        );
        cluster.run(ms(1));
    }
    let took = cluster.now.since(start).as_micros();
    let one = 2 * cluster.delay.as_micros();
    u64::try_from(took.div_ceil(one)).unwrap()
}

/// The leader is new, and pushes nothing of what was chosen before.
fn led_anew(mut cluster: Cluster) -> Cluster {
    let now = cluster.now;
    cluster.log(n(1)).transfer(now, n(2)).unwrap();
    cluster.run(ms(20));
    assert_eq!(cluster.leader(), Some(n(2)));
    cluster
}

#[test]
fn a_learner_catches_up_in_fewer_round_trips_than_pages() {
    let mut cluster = led_anew(with_a_learner(|builder| builder));
    let took = round_trips(&mut cluster);
    let pages = cluster.count("Page");
    println!("{pages} pages in {took} round trips");
    assert!(pages >= 300 / PAGE, "{pages}");
    assert!(pages < 300 / PAGE + 12, "hardly any came twice: {pages}");
    assert!(took * 3 <= pages, "{pages} pages in {took} round trips");
}

/// What came early is taken over when the leader itself has sent what lay before it: found by seed
/// 2031526676867082266.
#[test]
fn a_page_that_came_early_is_not_forgotten() {
    let mut solo = Solo::new(1, 3);
    let ballot = b(4, 2);
    let slots = |from: u64, through: u64| {
        let texts: Vec<String> = (from..=through).map(|slot| slot.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        votes(from, ballot, &texts)
    };
    let say_page = |solo: &mut Solo, from, run: &synod_core::Entries| {
        let after = run.first().0 - 1;
        let mut page = page(after, 20, 20, std::slice::from_ref(run));
        page.through = run.last();
        solo.say(from, ballot, Body::Page(page));
        solo.settle();
    };
    solo.say(2, ballot, accept(votes(21, ballot, &[]), 20, 21));
    solo.settle();
    say_page(&mut solo, 2, &slots(1, 2));
    let asked = |solo: &mut Solo, of| {
        let asked = solo.take_to(of).into_iter().filter_map(|body| match body {
            Body::Fetch { after, through, .. } => Some((after.0, through.map(|slot| slot.0))),
            _ => None,
        });
        asked.collect::<Vec<_>>()
    };
    let before = solo.clone();
    let of_3 = asked(&mut solo, 3);
    assert!(!of_3.is_empty(), "the other member, too");
    solo = before;
    for (after, through) in of_3 {
        say_page(&mut solo, 3, &slots(after + 1, through.unwrap()));
    }
    // The leader's own answers are lost; it sends the rest once more.
    for slot in 3..=20 {
        solo.say(2, ballot, accept(slots(slot, slot), 20, 3));
        solo.settle();
    }
    solo.wait(ms(300));
    solo.say(2, ballot, accept(votes(21, ballot, &[]), 20, 21));
    solo.settle();
    assert_eq!(solo.status().committed, i(20));
}
