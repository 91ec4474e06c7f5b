//! Phase 2: slots are independent, are chosen in any order and handed out in order; votes count once
//! they are durable.

use synod_core::{Role, Round};
use synod_paxos::log::{Accept, Body, Detail};

use super::cluster::{Cluster, i, ms, n};
use super::solo::{Solo, accept, accepted, accepts, b, page, votes};

fn commits(solo: &mut Solo, peer: u64) -> Vec<u64> {
    let told = |body: &Body| match body {
        Body::Accept(accept) => Some(accept.chosen.0),
        _ => None,
    };
    solo.take_to(peer).iter().filter_map(told).collect()
}

/// One Accept is lost: what follows it is voted for and acknowledged, and waits for it.
#[test]
fn a_slot_that_is_lost_holds_back_nothing_but_the_handing_out() {
    let mut solo = Solo::new(1, 3);
    let ballot = b(2, 2);
    solo.say(2, ballot, accept(votes(1, ballot, &["a"]), 0, 1));
    solo.settle();
    solo.say(2, ballot, accept(votes(3, ballot, &["c", "d"]), 0, 1));
    solo.settle();
    solo.say(2, ballot, accept(votes(6, ballot, &["f"]), 4, 1));
    solo.settle();
    assert_eq!(
        solo.take_to(2).last(),
        Some(&accepted(1, &[(3, 4), (6, 6)]))
    );
    assert_eq!(solo.handed(), ["a"]);
    solo.say(2, ballot, accept(votes(2, ballot, &["b"]), 4, 1));
    solo.settle();
    assert_eq!(solo.take_to(2).last(), Some(&accepted(4, &[(6, 6)])));
    assert_eq!(solo.handed(), ["a", "b", "c", "d"], "in order");
    solo.say(2, ballot, accept(votes(5, ballot, &["e"]), 6, 1));
    solo.settle();
    assert_eq!(solo.handed().len(), 6);
}

/// The leader counts each slot by itself and hands out in order.
#[test]
fn slots_are_chosen_in_any_order() {
    let mut solo = Solo::leading(|builder| builder);
    let ballot = solo.ballot();
    for command in ["a", "b", "c"] {
        solo.propose(command);
    }
    solo.settle();
    solo.say(2, ballot, accepted(0, &[(2, 3)]));
    assert_eq!(
        solo.status().committed,
        i(0),
        "two and three are chosen, and wait"
    );
    assert_eq!(solo.handed(), [""; 0]);
    solo.say(3, ballot, accepted(1, &[]));
    assert_eq!(
        solo.status().committed,
        i(3),
        "the gap is closed by another voter"
    );
    assert_eq!(solo.handed(), ["a", "b", "c"]);
}

/// Each slot needs a quorum of its own: votes for different slots are not added up.
#[test]
fn a_quorum_is_for_one_slot() {
    let mut solo = Solo::with(1, 5, |builder| builder);
    solo.stand(&[2, 3, 4, 5]);
    let ballot = solo.ballot();
    for peer in [2, 3] {
        solo.say(peer, ballot, super::solo::promise(page(0, 0, 0, &[])));
    }
    assert_eq!(solo.status().role, Role::Leader);
    for command in ["a", "b"] {
        solo.propose(command);
    }
    solo.settle();
    solo.say(2, ballot, accepted(1, &[]));
    solo.say(3, ballot, accepted(0, &[(2, 2)]));
    assert_eq!(solo.status().committed, i(0));
    solo.say(4, ballot, accepted(0, &[(2, 2)]));
    assert_eq!(solo.status().committed, i(0));
    solo.say(5, ballot, accepted(1, &[]));
    assert_eq!(solo.status().committed, i(2));
}

/// Votes that repeat count once, and those of other ballots and strangers not at all.
#[test]
fn votes_are_counted_by_voter_and_ballot() {
    let mut solo = Solo::with(1, 5, |builder| builder);
    solo.stand(&[2, 3, 4, 5]);
    let ballot = solo.ballot();
    for peer in [2, 3] {
        solo.say(peer, ballot, super::solo::promise(page(0, 0, 0, &[])));
    }
    solo.propose("a");
    solo.settle();
    for (peer, ballot) in [(2, ballot), (2, ballot), (9, ballot), (3, b(2, 3))] {
        solo.say(peer, ballot, accepted(1, &[]));
        assert_eq!(solo.status().committed, i(0), "{peer} in {ballot}");
    }
    solo.say(3, ballot, accepted(1, &[]));
    assert_eq!(solo.status().committed, i(1));
}

/// The leader votes as any acceptor does: once its vote is durable.
#[test]
fn the_leaders_own_vote_is_durable_before_it_counts() {
    let mut solo = Solo::leading(|builder| builder);
    let ballot = solo.ballot();
    solo.propose("a");
    assert_eq!(
        accepts(&solo.take(), 2),
        [(1, "a".into())],
        "sent while the disk writes"
    );
    solo.say(2, ballot, accepted(1, &[]));
    assert_eq!(solo.status().committed, i(0));
    let mut other = solo.clone();
    solo.settle();
    assert_eq!(solo.status().committed, i(1));
    // Two others are a quorum without it; but nothing is handed out that its log does not hold.
    other.say(3, ballot, accepted(1, &[]));
    assert_eq!(other.status().committed, i(1));
    assert_eq!(other.handed(), [""; 0]);
    other.settle();
    assert_eq!(other.handed(), ["a"]);
}

#[test]
fn votes_are_durable_before_they_are_told() {
    let mut solo = Solo::new(1, 3);
    let ballot = b(2, 2);
    solo.say(2, ballot, accept(votes(1, ballot, &["a"]), 0, 1));
    assert_eq!(solo.take_to(2), []);
    solo.settle();
    assert_eq!(solo.take_to(2), [accepted(1, &[])]);
    // A slow disk is no silent node, but a heartbeat makes nothing durable.
    solo.say(2, ballot, accept(votes(2, ballot, &["b"]), 0, 1));
    solo.say(2, ballot, accept(votes(3, ballot, &[]), 0, 1));
    assert_eq!(solo.take_to(2), [accepted(1, &[])]);
    solo.settle();
    assert_eq!(solo.take_to(2), [accepted(2, &[])]);
}

/// What a vote of an older ballot says of a slot is not what was chosen in it: the word that it is
/// chosen must not make it so.
#[test]
fn an_old_vote_is_not_what_is_chosen() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, b(2, 2), accept(votes(1, b(2, 2), &["old"]), 0, 1));
    solo.settle();
    solo.take();
    let chosen = Body::Accept(Accept {
        entries: votes(2, b(4, 3), &["new"]),
        chosen: i(2),
        pushed: i(2),
        round: Round(0),
        fast: None,
    });
    solo.say(3, b(4, 3), chosen);
    solo.settle();
    assert_eq!(
        solo.handed(),
        [""; 0],
        "slot 1 is chosen, and what is in it is not known here"
    );
    let sent = solo.take_to(3);
    let fetch = Body::Fetch {
        after: i(0),
        through: None,
        votes: false,
        staged: None,
    };
    assert!(sent.contains(&fetch), "{sent:?}");
    let answer = page(0, 2, 2, &[votes(1, b(4, 3), &["right", "new"])]);
    solo.say(3, b(4, 3), Body::Page(answer));
    solo.settle();
    assert_eq!(solo.handed(), ["right", "new"]);
}

/// However late and out of order, what is known to be chosen never shrinks.
#[test]
fn what_is_chosen_stays_chosen() {
    let mut solo = Solo::new(1, 3);
    let ballot = b(2, 2);
    solo.say(2, ballot, accept(votes(1, ballot, &["a", "b", "c"]), 3, 1));
    solo.settle();
    for late in [0, 1, 2, 0] {
        solo.say(
            2,
            ballot,
            accept(votes(1, ballot, &["a", "b", "c"]), late, 1),
        );
        solo.settle();
        assert_eq!(solo.status().committed, i(3));
    }
    solo.say(3, b(4, 3), Body::Prepare { after: i(0) });
    solo.say(3, b(4, 3), accept(votes(4, b(4, 3), &["d"]), 0, 4));
    solo.settle();
    assert_eq!(solo.status().committed, i(3));
    assert_eq!(solo.handed(), ["a", "b", "c"]);
    let before = solo.image.iter().count();
    // A late message of the ballot that is over, for a slot that is chosen.
    solo.say(2, ballot, accept(votes(2, ballot, &["b"]), 1, 1));
    solo.say(3, b(4, 3), accept(votes(2, b(4, 3), &["X"]), 3, 4));
    solo.settle();
    assert_eq!(solo.image.iter().count(), before);
    assert_eq!(solo.image.get(i(2)).unwrap().1.payload, "b");
}

/// What is chosen rides on the next entries; alone it goes only if none follow soon.
#[test]
fn commits_ride_on_the_next_entries() {
    let mut solo = Solo::leading(|builder| builder);
    let ballot = solo.ballot();
    solo.propose("a");
    solo.settle();
    assert_eq!(commits(&mut solo, 2), [0]);
    solo.say(2, ballot, accepted(1, &[]));
    assert_eq!(commits(&mut solo, 3), [0u64; 0], "not by itself");
    solo.propose("b");
    solo.settle();
    assert_eq!(commits(&mut solo, 3), [1], "with the next");
    solo.say(2, ballot, accepted(2, &[]));
    solo.take();
    solo.wake();
    assert_eq!(
        commits(&mut solo, 3),
        [2],
        "or alone, half a millisecond later"
    );
}

/// One slot of ten is lost on the way to one follower: it is asked for, or sent again, and in the
/// end all have all.
#[test]
fn a_lost_accept_is_made_up_for() {
    for lost in 1..=10 {
        let mut cluster = Cluster::with(3, |builder| builder.max_accept_bytes(1));
        cluster.led_by(n(1));
        cluster.run(ms(300));
        cluster.lose_unless(move |envelope| match &envelope.message.body {
            Body::Accept(accept) => envelope.to != n(2) || !accept.entries.contains(i(lost)),
            _ => true,
        });
        let tickets: Vec<_> = (0..10)
            .map(|k| cluster.propose(n(1), &k.to_string()).unwrap())
            .collect();
        cluster.run(ms(5));
        for ticket in tickets {
            assert!(
                cluster.outcome(n(1), ticket).starts_with("committed"),
                "node 3 has all"
            );
        }
        assert_eq!(
            cluster.commands(n(2)).len(),
            usize::try_from(lost).unwrap() - 1
        );
        cluster.heal();
        cluster.run(ms(400));
        assert_eq!(cluster.commands(n(2)).len(), 10, "slot {lost} came later");
    }
}

/// No more than the limits allow is under way to a follower.
#[test]
fn the_window_of_a_follower_is_bounded() {
    let mut solo = Solo::leading(|builder| builder.max_in_flight(3, 1 << 20));
    let ballot = solo.ballot();
    for k in 0..10 {
        solo.propose(&k.to_string());
        solo.settle();
    }
    let sent = solo.take();
    assert_eq!(accepts(&sent, 2).len(), 3);
    solo.say(2, ballot, accepted(2, &[]));
    let sent = solo.take();
    let more: Vec<u64> = accepts(&sent, 2).iter().map(|(slot, _)| *slot).collect();
    assert_eq!(
        more,
        (4..=10).collect::<Vec<_>>(),
        "what has gathered goes in one message"
    );
    let messages = |peer| sent.iter().filter(|(to, _)| *to == peer).count();
    assert_eq!(messages(2), 1);
    assert_eq!(solo.status().committed, i(2));

    let mut solo = Solo::leading(|builder| builder.max_accept_bytes(40).max_in_flight(9, 60));
    for k in 0..10 {
        solo.propose(&k.to_string());
        solo.settle();
    }
    let bytes = solo.status().peers[0].in_flight_bytes;
    assert!((60..=100).contains(&bytes), "{bytes} bytes are under way");
}

/// A follower tells of no more stretches than travel; what is left out is sent again.
#[test]
fn every_second_slot_lost_is_made_up_for() {
    let mut cluster = Cluster::with(3, |builder| {
        builder.max_accept_bytes(1).max_in_flight(500, 1 << 20)
    });
    cluster.led_by(n(1));
    cluster.run(ms(300));
    cluster.lose_unless(|envelope| match &envelope.message.body {
        Body::Accept(accept) => envelope.to == n(3) || accept.entries.first().0 % 2 == 0,
        _ => true,
    });
    for k in 0..200 {
        cluster.propose(n(1), &k.to_string()).unwrap();
    }
    cluster.run(ms(5));
    assert_eq!(cluster.status(n(1)).committed, i(200));
    let told = cluster.status(n(1)).peers[0].matched;
    assert_eq!(told, i(0), "slot 1 is missing");
    cluster.heal();
    cluster.run(ms(1000));
    assert_eq!(cluster.commands(n(2)).len(), 200);
}

/// A node that hears from a leader whose pushed slots it does not follow up to asks for the rest,
/// of whom it hears, and once.
#[test]
fn who_is_behind_the_pushed_slots_asks() {
    let mut solo = Solo::new(1, 3);
    let ballot = b(4, 2);
    solo.say(2, ballot, accept(votes(9, ballot, &["i"]), 8, 9));
    solo.settle();
    let asked = |after, votes| Body::Fetch {
        after: i(after),
        through: None,
        votes,
        staged: None,
    };
    assert!(solo.take_to(2).contains(&asked(0, false)));
    for _ in 0..3 {
        solo.say(2, ballot, accept(votes(10, ballot, &[]), 8, 9));
        assert!(!solo.take_to(2).contains(&asked(0, false)), "once");
    }
    let part =
        |after: u64, commands: &[&str]| page(after, 8, 9, &[votes(after + 1, b(2, 3), commands)]);
    let first = synod_paxos::log::Page {
        through: i(3),
        ..part(0, &["a", "b", "c"])
    };
    solo.say(2, ballot, Body::Page(first));
    assert!(
        solo.take_to(2).contains(&asked(3, false)),
        "and goes on at once"
    );
    let rest = synod_paxos::log::Page {
        through: i(8),
        ..part(3, &["d", "e", "f", "g", "h"])
    };
    solo.say(2, ballot, Body::Page(rest));
    solo.settle();
    assert_eq!(solo.handed(), ["a", "b", "c", "d", "e", "f", "g", "h"]);
    assert!(solo.take_to(2).contains(&accepted(9, &[])));
    let fetching = solo
        .details()
        .filter(|detail| matches!(detail, Detail::Fetching { .. }));
    assert_eq!(fetching.count(), 1, "one story, one event");
}
