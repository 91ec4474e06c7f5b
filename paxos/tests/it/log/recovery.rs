//! Phase 1 (Lamport, *Paxos Made Simple*, §2.2 and §3): what a new leader finds, and proposes again.

use synod_core::{LogRecord, ReplicatedLog, Role};
use synod_paxos::log::{Body, Detail, Page};

use super::cluster::{Cluster, i, ms, n};
use super::solo::{Solo, accept, accepted, accepts, b, held, page, promise, votes};

/// Node 1 of five, asking for promises; nothing is known to be chosen.
fn candidate() -> Solo {
    let mut solo = Solo::new(1, 5);
    solo.stand(&[2, 3, 4]);
    solo.take();
    solo
}

fn recovered(solo: &Solo) -> Option<(u64, u64)> {
    let found = solo.details().filter_map(|detail| match detail {
        Detail::Recovered {
            through, blanks, ..
        } => Some((through.0, *blanks)),
        _ => None,
    });
    found.last()
}

#[test]
fn nobody_hears_of_a_ballot_before_it_is_durable() {
    let mut solo = Solo::new(1, 3);
    for _ in 0..8 {
        if solo.status().role == Role::Candidate {
            break;
        }
        solo.wake();
        for (to, body) in solo.take() {
            if let Body::Ask { round } = body {
                solo.say(to, b(0, 0), super::solo::beat(to, round));
            }
        }
    }
    let prepares = |solo: &mut Solo| {
        let sent = solo.take().into_iter();
        sent.filter(|(_, body)| matches!(body, Body::Prepare { .. }))
            .count()
    };
    assert_eq!(prepares(&mut solo), 0);
    solo.settle();
    assert_eq!(prepares(&mut solo), 2);
}

/// A promise is durable before it is given, and outlives a crash.
#[test]
fn a_promise_is_kept() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, b(4, 2), Body::Prepare { after: i(0) });
    assert_eq!(solo.take(), [], "not durable yet");
    let mut lost = solo.restarted(3);
    assert_eq!(lost.status().era, 0);
    lost.say(3, b(2, 3), Body::Prepare { after: i(0) });
    lost.settle();
    assert!(
        matches!(lost.take_to(3)[..], [Body::Promise(_)]),
        "nobody has heard of it"
    );
    solo.settle();
    assert!(matches!(solo.take_to(2)[..], [Body::Promise(_)]));
    let mut kept = solo.restarted(3);
    assert_eq!(kept.status().era, 4);
    kept.say(3, b(2, 3), Body::Prepare { after: i(0) });
    kept.settle();
    assert_eq!(kept.take_to(3), [Body::Nack]);
    kept.say(3, b(2, 3), accept(votes(1, b(2, 3), &["x"]), 0, 1));
    kept.settle();
    assert_eq!(kept.take_to(3), [Body::Nack]);
    assert_eq!(kept.status().last, i(0));
}

#[test]
fn the_same_ballot_is_promised_again_and_a_lower_one_refused() {
    let mut solo = Solo::new(1, 3);
    for _ in 0..2 {
        solo.say(2, b(4, 2), Body::Prepare { after: i(0) });
        solo.settle();
        assert!(
            matches!(solo.take_to(2)[..], [Body::Promise(_)]),
            "the answer was lost"
        );
    }
    solo.say(3, b(4, 3), Body::Prepare { after: i(0) });
    solo.settle();
    assert!(
        matches!(solo.take_to(3)[..], [Body::Promise(_)]),
        "proposers order a round"
    );
    solo.say(2, b(4, 2), Body::Prepare { after: i(0) });
    solo.settle();
    assert_eq!(solo.take_to(2), [Body::Nack]);
}

/// What was voted for is reported in the ballot of the vote, not of the promise.
#[test]
fn votes_are_reported_in_their_ballot() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, b(2, 2), accept(votes(1, b(2, 2), &["a", "b"]), 0, 1));
    solo.say(3, b(4, 3), accept(votes(2, b(4, 3), &["c"]), 0, 2));
    solo.settle();
    solo.take();
    solo.say(3, b(6, 3), Body::Prepare { after: i(0) });
    solo.settle();
    let expected = Page {
        after: i(0),
        through: i(2),
        runs: vec![votes(1, b(2, 2), &["a"]), votes(2, b(4, 3), &["c"])],
        chosen: i(0),
        last: i(2),
    };
    assert_eq!(solo.take_to(3), [promise(expected)]);
}

/// The value of the highest ballot, whoever says so first; nothing where nobody voted.
#[test]
fn the_highest_vote_wins_and_gaps_are_filled() {
    let low = |first, commands: &[&str]| votes(first, b(2, 4), commands);
    let high = |first, commands: &[&str]| votes(first, b(4, 5), commands);
    let two = page(
        0,
        0,
        6,
        &[low(1, &["a", "b"]), high(4, &["d"]), low(6, &["f"])],
    );
    let three = page(
        0,
        0,
        4,
        &[high(1, &["A"]), low(2, &["b"]), low(4, &["old"])],
    );
    for order in [[2, 3], [3, 2]] {
        let mut solo = candidate();
        // Its ballot is above these.
        assert_eq!(solo.status().role, Role::Candidate);
        let ballot = solo.ballot();
        if ballot < b(4, 5) {
            // A Nack tells of the higher one; it stands anew.
            solo.say(4, b(4, 5), Body::Nack);
            solo.say(5, b(4, 5), Body::Nack);
            solo.say(2, b(4, 5), Body::Nack);
            solo.settle();
            solo.stand(&[2, 3, 4]);
            solo.take();
        }
        assert!(solo.ballot() > b(4, 5), "{:?}", solo.ballot());
        for peer in order {
            let page = if peer == 2 { &two } else { &three };
            solo.say(peer, solo.ballot(), promise(page.clone()));
        }
        assert_eq!(solo.status().role, Role::Leader);
        assert_eq!(recovered(&solo), Some((6, 2)), "slots 3 and 5");
        let expected = ["A", "b", "", "d", "", "f"];
        let expected: Vec<_> = (1..).zip(expected.map(String::from)).collect();
        let sent = solo.take();
        assert_eq!(accepts(&sent, 2), expected);
        assert_eq!(
            accepts(&sent, 5),
            expected,
            "and to one that has not promised"
        );
        // All of it in the new ballot, and nothing is chosen before a quorum has voted again.
        solo.settle();
        assert_eq!(solo.status().committed, i(0));
        solo.say(2, solo.ballot(), accepted(6, &[]));
        assert_eq!(solo.status().committed, i(0));
        solo.say(4, solo.ballot(), accepted(6, &[]));
        assert_eq!(solo.handed(), ["A", "b", "", "d", "", "f"]);
    }
}

/// The first slots may be the ones that nobody voted in.
#[test]
fn a_gap_at_the_beginning_is_filled() {
    let mut solo = candidate();
    let ballot = solo.ballot();
    let vote = votes(3, b(0, 2), &["c"]);
    solo.say(2, ballot, promise(page(0, 0, 3, &[vote])));
    solo.say(3, ballot, promise(page(0, 0, 0, &[])));
    assert_eq!(recovered(&solo), Some((3, 2)));
    let expected = [(1, ""), (2, ""), (3, "c")].map(|(slot, text)| (slot, text.to_owned()));
    assert_eq!(accepts(&solo.take(), 4), expected);
}

/// Distinct acceptors are counted, in this ballot, and only voters.
#[test]
fn a_quorum_is_of_distinct_voters_in_one_ballot() {
    let mut solo = candidate();
    let ballot = solo.ballot();
    let nothing = || promise(page(0, 0, 0, &[]));
    for (from, ballot) in [
        (2, ballot),
        (2, ballot),
        (9, ballot),
        (3, b(2, 3)),
        (3, b(90, 3)),
    ] {
        solo.say(from, ballot, nothing());
        assert_eq!(solo.status().role, Role::Candidate, "{from} in {ballot}");
    }
    solo.say(3, ballot, nothing());
    assert_eq!(solo.status().role, Role::Leader);
}

/// Its own votes count like any other: here they are the only ones.
#[test]
fn a_candidate_reads_its_own_votes_from_disk() {
    let mut old = Solo::with(1, 3, |b| b.max_log_bytes(1).max_accept_bytes(60));
    for slot in 1..=6 {
        old.say(2, b(2, 2), accept(votes(slot, b(2, 2), &["vote"]), 0, 1));
        old.settle();
    }
    // Nothing of it is in memory after a start that reads no tail.
    let config = synod_paxos::log::Config::builder(n(1)).voters([n(1), n(2), n(3)]);
    let config = config.max_accept_bytes(60).build().unwrap();
    let log = synod_paxos::log::MultiPaxos::new(config, old.image.restored(0), old.now).unwrap();
    assert_eq!(log.status().log_bytes, 0);
    let mut solo = old.clone();
    solo.log = log;
    for peer in [2, 3] {
        let up = synod_core::Link::Up(synod_core::LinkId(1));
        synod_core::Machine::link(&mut solo.log, solo.now, n(peer), up);
    }
    solo.stand(&[2, 3]);
    assert_eq!(solo.loads.len(), 1, "it reads");
    solo.say(3, solo.ballot(), promise(page(0, 0, 0, &[])));
    assert_eq!(
        solo.status().role,
        Role::Candidate,
        "its own votes are not known yet"
    );
    for _ in 0..10 {
        solo.load();
    }
    assert_eq!(solo.status().role, Role::Leader);
    assert_eq!(recovered(&solo), Some((6, 0)));
}

/// Phase 1 of many open slots goes in pages of at most so many bytes, and loses none.
#[test]
fn promises_come_in_pages() {
    for limit in [1, 40, 100, 1000] {
        let mut cluster = Cluster::with(3, move |builder| builder.max_accept_bytes(limit));
        cluster.led_by(n(1));
        cluster.run(ms(300));
        // Node 2 gets everything, and no answer of it gets back: nothing is chosen.
        cluster.lose_unless(|envelope| {
            let accepted = matches!(&envelope.message.body, Body::Accepted { .. });
            envelope.to != n(3) && !accepted
        });
        for k in 0..60 {
            cluster.propose(n(1), &format!("open {k}")).unwrap();
        }
        cluster.run(ms(90));
        assert_eq!(cluster.status(n(2)).last, i(60));
        assert_eq!(cluster.status(n(1)).committed, i(0));
        cluster.crash(n(1));
        cluster.heal();
        cluster.sent.clear();
        // Node 3 has none of them, and leads or follows.
        let now = cluster.now;
        cluster.run(ms(700));
        let leader = cluster.leader().unwrap();
        if leader != n(3) {
            cluster.log(leader).transfer(now, n(3)).unwrap();
            cluster.run(ms(300));
        }
        for id in [n(2), n(3)] {
            assert_eq!(cluster.commands(id).len(), 60, "{id} with pages of {limit}");
        }
    }
}

/// A page that leaves something out is no answer to the question.
#[test]
fn a_page_from_further_on_covers_nothing_before_it() {
    let mut solo = candidate();
    let ballot = solo.ballot();
    let none = || promise(page(0, 0, 0, &[]));
    let part = Page {
        last: i(6),
        ..page(0, 0, 2, &[votes(1, b(0, 2), &["a", "b"])])
    };
    solo.say(2, ballot, promise(part));
    solo.say(3, ballot, none());
    let fetch = Body::Fetch {
        after: i(2),
        through: None,
        votes: true,
        staged: None,
    };
    assert_eq!(solo.take_to(2), [fetch]);
    // The page behind slot 4 comes instead of the one behind slot 2.
    solo.say(
        2,
        ballot,
        Body::Page(page(4, 0, 6, &[votes(5, b(0, 2), &["e", "f"])])),
    );
    assert_eq!(solo.status().role, Role::Candidate);
    solo.say(
        2,
        ballot,
        Body::Page(page(2, 0, 6, &[votes(3, b(0, 2), &["c", "d", "e", "f"])])),
    );
    assert_eq!(solo.status().role, Role::Leader);
    assert_eq!(recovered(&solo), Some((6, 0)));
}

/// What one acceptor knows to be chosen need not be proposed again; an old vote of another for the
/// same slot does not matter any more.
#[test]
fn what_is_known_to_be_chosen_is_taken_over() {
    let mut solo = candidate();
    let ballot = solo.ballot();
    solo.say(
        2,
        ballot,
        promise(page(0, 3, 4, &[votes(1, b(0, 2), &["a", "b", "c", "d"])])),
    );
    solo.say(
        3,
        ballot,
        promise(page(0, 0, 1, &[votes(1, b(0, 3), &["z"])])),
    );
    assert_eq!(solo.status().role, Role::Leader);
    assert_eq!(solo.status().committed, i(3));
    assert_eq!(recovered(&solo), Some((4, 0)));
    assert_eq!(accepts(&solo.take(), 3), [(4, "d".into())]);
    solo.settle();
    assert_eq!(solo.handed(), ["a", "b", "c"]);
}

/// A promise that comes after the candidate leads tells nothing that matters: what it would tell of
/// a chosen slot, a quorum has told. It is dropped, and the acceptor gets what it lacks. (In
/// OmniPaxos before 0.2.4 a late promise moved the decided index back.)
#[test]
fn a_late_promise_changes_nothing() {
    let mut solo = candidate();
    let ballot = solo.ballot();
    let run = || votes(1, b(0, 2), &["a", "b"]);
    for peer in [2, 3] {
        solo.say(peer, ballot, promise(page(0, 0, 2, &[run()])));
    }
    solo.settle();
    for peer in [2, 3] {
        solo.say(peer, ballot, accepted(2, &[]));
    }
    assert_eq!(solo.status().committed, i(2));
    let before = solo.status();
    solo.say(
        4,
        ballot,
        promise(page(0, 0, 9, &[votes(1, b(0, 4), &["x", "y", "z"])])),
    );
    let after = solo.status();
    assert_eq!(
        (after.committed, after.last),
        (before.committed, before.last)
    );
    assert_eq!(after.dropped_messages, before.dropped_messages + 1);
    solo.say(4, ballot, accepted(2, &[]));
    assert_eq!(solo.handed(), ["a", "b"]);
}

/// Slots behind what the quorum has voted for may hold votes that only others know: they count for
/// nothing, and the slots are free.
#[test]
fn votes_that_no_quorum_tells_of_are_overwritten() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.run(ms(100));
    cluster.isolate(n(1));
    let lost = cluster.propose(n(1), "lost").unwrap();
    let next = {
        cluster.run(ms(600));
        cluster.leader().unwrap()
    };
    assert_ne!(next, n(1));
    cluster.commit(next, "b");
    cluster.heal();
    cluster.run(ms(1000));
    assert_eq!(cluster.outcome(n(1), lost), "displaced");
    for id in cluster.ids() {
        assert_eq!(cluster.commands(id), ["a", "b"]);
    }
}

/// An acceptor that has compacted what the candidate lacks gives it the snapshot instead.
#[test]
fn an_acceptor_may_have_compacted_what_the_candidate_lacks() {
    let mut cluster = Cluster::with(3, |builder| {
        builder.retained_entries(0).snapshot_chunk_bytes(5)
    });
    cluster.led_by(n(1));
    cluster.commit(n(1), "first");
    cluster.run(ms(200));
    cluster.isolate(n(3));
    for k in 0..20 {
        cluster.commit(n(1), &k.to_string());
    }
    cluster.run(ms(10));
    for id in [n(1), n(2)] {
        cluster.snapshot(id, i(18), b"all up to the eighteenth");
        assert_eq!(cluster.status(id).compacted, i(18));
    }
    // Now only node 3 can have a quorum, with node 2.
    cluster.heal();
    cluster.isolate(n(1));
    let start = cluster.now;
    let now = cluster.now;
    // Node 2 would win as well; it is asked to leave it to node 3.
    while cluster.leader() != Some(n(3)) {
        cluster.run(ms(1));
        if cluster.leader() == Some(n(2)) {
            let _ = cluster.log(n(2)).transfer(now, n(3));
        }
        assert!(cluster.now.since(start) < ms(2000), "node 3 does not lead");
    }
    assert_eq!(cluster.status(n(3)).snapshot, i(18));
    cluster.commit(n(3), "after");
    cluster.run(ms(50));
    assert_eq!(cluster.commands(n(3)), ["first", "17", "18", "19", "after"]);
}

/// A candidate goes on with its ballot when questions or answers are lost.
#[test]
fn lost_questions_are_asked_again() {
    let mut solo = candidate();
    let ballot = solo.ballot();
    solo.wake();
    solo.settle();
    let prepares = solo.take();
    let prepares = prepares
        .iter()
        .filter(|(_, body)| matches!(body, Body::Prepare { .. }));
    assert_eq!(prepares.count(), 4);
    assert_eq!(solo.ballot(), ballot, "nobody has promised a higher one");
}

/// A leader's last entries are votes like any others when it falls: it tells of them.
#[test]
fn a_leader_that_falls_tells_of_what_it_took_on() {
    let mut solo = Solo::leading(|builder| builder);
    let ballot = solo.ballot();
    // Taken on, and not yet written or sent.
    solo.log.propose(solo.now, "x".into()).unwrap();
    solo.say(2, b(90, 2), Body::Prepare { after: i(0) });
    solo.settle();
    let expected = page(0, 0, 1, &[votes(1, ballot, &["x"])]);
    let sent = solo.take_to(2);
    assert!(sent.contains(&promise(expected)), "{sent:?}");
}

/// What was written for a ballot that is over is no vote of the next one.
#[test]
fn a_write_of_an_old_ballot_makes_no_vote_of_a_new_one_durable() {
    let mut solo = Solo::with(1, 3, |builder| builder.writes_in_flight(8));
    solo.say(2, b(2, 2), accept(votes(1, b(2, 2), &["old"]), 0, 1));
    assert_eq!(solo.writing.len(), 1);
    solo.say(3, b(4, 3), accept(votes(1, b(4, 3), &["new"]), 0, 1));
    solo.take();
    // The write of the promise and of the old vote is done, that of the new one is not.
    solo.sync_one();
    let early = solo.take_to(3);
    let none =
        |body: &Body| matches!(body, Body::Accepted { held: cover, .. } if *cover == held(0, &[]));
    assert!(early.iter().all(none), "{early:?}");
    solo.settle();
    assert!(solo.take_to(3).contains(&accepted(1, &[])));
    let last = solo.image.iter().last().unwrap();
    assert_eq!(
        (last.1, &last.2.payload[..]),
        (b(4, 3).stamp(), &b"new"[..])
    );
}

/// Persist before you speak: any prefix of what a node writes is a state from which it goes on.
#[test]
fn any_prefix_of_a_write_is_a_start() {
    let mut solo = Solo::with(1, 3, |builder| builder.writes_in_flight(8));
    solo.say(2, b(2, 2), accept(votes(1, b(2, 2), &["a", "b"]), 1, 1));
    solo.say(3, b(4, 3), accept(votes(2, b(4, 3), &["c"]), 1, 2));
    solo.say(2, b(6, 2), Body::Prepare { after: i(0) });
    let records: Vec<LogRecord> = solo
        .writing
        .iter()
        .flat_map(|(_, b)| b.iter().cloned())
        .collect();
    assert!(records.len() >= 5, "{records:?}");
    for keep in 0..=records.len() {
        let mut crashed = solo.clone();
        crashed.writing.clear();
        for record in &records[..keep] {
            crashed.image.apply(record.clone()).unwrap();
        }
        let again = crashed.restarted(3);
        let highest = crashed.image.iter().map(|(_, stamp, _)| stamp.number).max();
        assert!(again.status().era >= highest.unwrap_or(0));
    }
}
