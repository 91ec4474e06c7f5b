//! Leader leases: what a voter grants and keeps, what a leader counts on, and what that costs when it
//! falls.

use std::time::Duration;

use synod_core::{Change, Instant, ReadLevel, ReplicatedLog, Role, Round, Ticket};
use synod_paxos::log::{Body, Config, ConfigBuilder};

use super::changes::stop_sign;
use super::cluster::{Cluster, LONGEST_ROUND, i, ms, n, outcome};
use super::solo::{Solo, accept, b, held, page, promise, votes};

/// The length of a lease, and what clocks may drift apart in it.
const LEASE: Duration = ms(300);
const DRIFT: Duration = ms(20);
const ON: fn(ConfigBuilder) -> ConfigBuilder = |builder| builder.leader_lease(LEASE, DRIFT);

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}

fn lease(round: u64, duration: Duration) -> Body {
    let (round, nanos) = (Round(round), nanos(duration));
    Body::Lease { round, nanos }
}

fn granted(round: u64, duration: Duration) -> Body {
    let (round, nanos) = (Round(round), nanos(duration));
    Body::Granted { round, nanos }
}

fn promises(solo: &mut Solo) -> usize {
    solo.settle();
    let sent = solo.take();
    let promises = sent.iter().filter(|(_, b)| matches!(b, Body::Promise(_)));
    promises.count()
}

// The voter.

/// Node 1 of three, which follows node 2 and has granted it a lease just now.
fn grantor() -> Solo {
    let mut solo = Solo::with(1, 3, ON);
    let ballot = b(2, 2);
    solo.say(2, ballot, accept(votes(1, ballot, &["a"]), 1, 1));
    solo.settle();
    solo.take();
    solo.say(2, ballot, lease(1, LEASE));
    assert_eq!(solo.take_to(2), [granted(1, LEASE)]);
    solo
}

fn prepare(solo: &mut Solo, from: u64, round: u64) -> usize {
    solo.say(from, b(round, from), Body::Prepare { after: i(1) });
    promises(solo)
}

#[test]
fn a_grantor_promises_nobody_else_until_the_lease_is_over() {
    let mut solo = grantor();
    assert_eq!(prepare(&mut solo, 3, 8), 0);
    solo.wait(LEASE - ms(1));
    assert_eq!(prepare(&mut solo, 3, 8), 0);
    let mut renewed = solo.clone();
    solo.wait(ms(1));
    assert_eq!(prepare(&mut solo, 3, 8), 1);
    // Renewed, it lasts longer.
    renewed.say(2, b(2, 2), lease(2, LEASE));
    assert_eq!(renewed.take_to(2).last(), Some(&granted(2, LEASE)));
    renewed.wait(LEASE - ms(1));
    assert_eq!(prepare(&mut renewed, 3, 8), 0);
    renewed.wait(ms(1));
    assert_eq!(prepare(&mut renewed, 3, 8), 1);
}

/// Whoever holds the lease may go on in a higher ballot: it serves nothing by it any more.
#[test]
fn the_holder_may_prepare() {
    let mut solo = grantor();
    assert_eq!(prepare(&mut solo, 2, 8), 1);
}

#[test]
fn a_grantor_does_not_stand_itself() {
    let mut solo = grantor();
    let start = solo.now;
    while solo.status().role != Role::Candidate {
        solo.wake();
        let rounds = solo.take().into_iter().filter_map(|(to, body)| match body {
            Body::Ask { round } if to == 3 => Some(round),
            _ => None,
        });
        for round in rounds.collect::<Vec<_>>() {
            solo.say(3, b(2, 2), super::solo::beat(3, round));
        }
        // Nor because it is asked to, by a message that has taken its time.
        solo.say(2, b(2, 2), Body::TakeOver);
        solo.settle();
    }
    let waited = solo.now.since(start);
    assert!(waited >= LEASE, "{waited:?}");
    assert!(waited < LEASE + 2 * LONGEST_ROUND, "{waited:?}");
}

#[test]
fn a_leader_that_gives_its_lease_up_may_be_followed_at_once() {
    let mut solo = grantor();
    let ballot = b(2, 2);
    solo.say(2, ballot, lease(2, Duration::ZERO));
    assert_eq!(solo.take(), [], "there is nothing to say to that");
    // What comes late or twice is not granted: the leader has given it up since.
    for round in [1, 2] {
        solo.say(2, ballot, lease(round, LEASE));
        assert_eq!(solo.take(), []);
    }
    let mut asked = solo.clone();
    assert_eq!(prepare(&mut solo, 3, 8), 1);
    asked.say(2, ballot, Body::TakeOver);
    asked.settle();
    assert_eq!(asked.status().role, Role::Candidate);
}

#[test]
fn a_restart_waits_for_what_may_have_been_granted() {
    let solo = grantor();
    let restarted = |configure: fn(ConfigBuilder) -> ConfigBuilder| {
        Solo::on(1, 3, solo.image.clone(), configure)
    };
    let mut without = restarted(|builder| builder);
    assert_eq!(prepare(&mut without, 3, 8), 1);
    let mut with = restarted(ON);
    for proposer in [2, 3] {
        assert_eq!(prepare(&mut with, proposer, 8), 0, "it knows no holder");
    }
    with.wait(LEASE - ms(1));
    assert_eq!(prepare(&mut with, 3, 8), 0);
    with.wait(ms(1));
    assert_eq!(prepare(&mut with, 3, 8), 1);
    // One that has never granted anything does not wait.
    assert_eq!(prepare(&mut Solo::with(1, 3, ON), 3, 8), 1);
}

/// Node 1 of five has granted node 2 a lease in a ballot that it has promised by accepting in it, and
/// forgets that ballot in a crash. Node 3, whom nobody has told that it leads no more, asks for a lease in its
/// own ballot, and then prepares the next one: with 4, who had granted nothing, it would get past phase 1 while
/// node 2 counts on 1 and 5.
#[test]
fn a_lease_is_granted_once_the_promise_is_durable() {
    let (first, second) = (b(2, 3), b(4, 2));
    let mut solo = Solo::with(1, 5, ON);
    solo.say(3, first, accept(votes(1, first, &["a"]), 1, 1));
    solo.settle();
    solo.take();
    let granted_to = |solo: &mut Solo| {
        let sent = solo.take();
        let grants = sent
            .iter()
            .filter(|(_, b)| matches!(b, Body::Granted { .. }));
        grants.map(|(to, _)| *to).collect::<Vec<_>>()
    };
    solo.say(2, second, accept(votes(2, second, &["b"]), 1, 1));
    solo.say(2, second, lease(1, LEASE));
    let mut granted = granted_to(&mut solo);
    let mut crashed = Solo::on(1, 5, solo.image.clone(), ON);
    crashed.say(3, first, lease(7, LEASE));
    if prepare(&mut crashed, 3, 8) == 1 {
        assert_eq!(granted, [], "3 prepares while 2 holds a lease");
    }
    solo.settle();
    solo.say(2, second, lease(2, LEASE));
    granted = granted_to(&mut solo);
    assert_eq!(granted, [2]);
    let mut crashed = Solo::on(1, 5, solo.image.clone(), ON);
    crashed.say(3, first, lease(7, LEASE));
    assert_eq!(prepare(&mut crashed, 3, 8), 0);
}

/// What a voter has granted in an epoch is over with that. But one that restarts may have granted something in
/// the epoch that it enters again: it had promised that one's ballot, which a page had named, before it entered.
#[test]
fn a_restart_waits_in_the_next_epoch_too() {
    let solo = grantor();
    let enter = |mut solo: Solo| {
        let ballot = b(2, 2);
        let runs = [votes(1, ballot, &["a"]), stop_sign(2, ballot)];
        solo.say_in(1, 3, ballot, Body::Page(page(0, 2, 2, &runs)));
        solo.settle();
        assert_eq!(solo.status().committed, i(2));
        solo.take();
        solo
    };
    let prepare = |solo: &mut Solo| {
        solo.say_in(1, 3, b(8, 3), Body::Prepare { after: i(2) });
        promises(solo)
    };
    let restarted = Solo::on(1, 3, solo.image.clone(), ON);
    assert_eq!(prepare(&mut enter(solo)), 1);
    let mut restarted = enter(restarted);
    assert_eq!(prepare(&mut restarted), 0);
    restarted.wait(LEASE);
    assert_eq!(prepare(&mut restarted), 1);
}

#[test]
fn a_lease_is_granted_to_the_leader_of_the_promised_ballot_alone() {
    let follows = |configure: fn(ConfigBuilder) -> ConfigBuilder| {
        let mut solo = Solo::with(1, 3, configure);
        let ballot = b(2, 2);
        solo.say(2, ballot, accept(votes(1, ballot, &["a"]), 1, 1));
        solo.settle();
        solo.take();
        solo
    };
    for (from, ballot) in [(3, b(2, 2)), (3, b(0, 3)), (3, b(8, 3)), (2, b(8, 2))] {
        let mut solo = follows(ON);
        solo.say(from, ballot, lease(1, LEASE));
        assert_eq!(solo.take(), [], "{from} in {ballot}");
        assert_eq!(prepare(&mut solo, 3, 8), 1);
    }
    // No longer than this node's own setting says, and not at all without one.
    let mut solo = follows(ON);
    solo.say(2, b(2, 2), lease(1, ms(10_000)));
    assert_eq!(solo.take(), [(2, granted(1, LEASE))]);
    let mut solo = follows(|builder| builder);
    solo.say(2, b(2, 2), lease(1, LEASE));
    assert_eq!(solo.take(), []);
    assert_eq!(prepare(&mut solo, 3, 8), 1);
}

// The leader.

/// Node 1 of three, leading, and its first question for a lease.
fn leader() -> (Solo, u64, Instant) {
    let mut solo = Solo::with(1, 3, |builder| {
        // So long that it asks no second time in between.
        ON(builder
            .election_round(ms(10_000))
            .heartbeat_interval(ms(270)))
    });
    solo.stand(&[2, 3]);
    solo.take();
    solo.say(2, solo.ballot(), promise(page(0, 0, 0, &[])));
    let asked = questions(&mut solo);
    let now = solo.now;
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].1, asked[1].1);
    (solo, asked[0].1, now)
}

/// Who was asked for a lease, and in which round.
fn questions(solo: &mut Solo) -> Vec<(u64, u64)> {
    let ask = |(to, body): (u64, Body)| match body {
        Body::Lease { round, nanos } if nanos > 0 => Some((to, round.0)),
        _ => None,
    };
    solo.take().into_iter().filter_map(ask).collect()
}

fn read(solo: &mut Solo) -> Ticket {
    let ticket = solo.log.read(solo.now, ReadLevel::Lease).unwrap();
    solo.pump();
    ticket
}

/// Whether a read is answered at once.
fn is_held(solo: &Solo) -> bool {
    let mut solo = solo.clone();
    let ticket = read(&mut solo);
    !outcome(&solo.events, ticket).is_empty()
}

/// Goes on to this long after `start`.
fn at(solo: &mut Solo, start: Instant, after: Duration) {
    solo.now = start + after;
}

#[test]
fn a_lease_counts_from_when_it_was_asked_for() {
    let (mut solo, round, start) = leader();
    let ballot = solo.ballot();
    assert!(!is_held(&solo));
    at(&mut solo, start, ms(250));
    solo.say(2, ballot, granted(round, LEASE));
    assert!(is_held(&solo), "2 and this node are a quorum");
    at(&mut solo, start, LEASE - DRIFT - ms(1));
    assert!(is_held(&solo));
    at(&mut solo, start, LEASE - DRIFT);
    assert!(!is_held(&solo), "whenever the answer came");
}

#[test]
fn a_lease_counts_for_as_long_as_it_was_granted() {
    let (mut solo, round, start) = leader();
    solo.say(3, solo.ballot(), granted(round, ms(100)));
    at(&mut solo, start, ms(79));
    assert!(is_held(&solo));
    at(&mut solo, start, ms(80));
    assert!(!is_held(&solo));
    // Not for longer than it asked for, whatever the answer says.
    let (mut solo, round, start) = leader();
    solo.say(3, solo.ballot(), granted(round, ms(100_000)));
    at(&mut solo, start, LEASE - DRIFT);
    assert!(!is_held(&solo));
}

#[test]
fn only_voters_answers_to_what_was_asked_count() {
    let (mut solo, round, _) = leader();
    let ballot = solo.ballot();
    for (from, of, which) in [
        (2, ballot, round + 1),
        (2, ballot, round - 1),
        (9, ballot, round),
        (2, b(ballot.round + 2, 2), round),
        (2, b(0, 1), round),
    ] {
        solo.say(from, of, granted(which, LEASE));
        assert!(!is_held(&solo), "of {from} in {of} to {which}");
    }
    // Of five, one more is not enough.
    let mut solo = Solo::with(1, 5, ON);
    solo.stand(&[2, 3, 4]);
    solo.take();
    solo.say(2, solo.ballot(), promise(page(0, 0, 0, &[])));
    solo.say(3, solo.ballot(), promise(page(0, 0, 0, &[])));
    let round = questions(&mut solo)[0].1;
    for _ in 0..2 {
        solo.say(2, solo.ballot(), granted(round, LEASE));
        assert!(!is_held(&solo));
    }
    solo.say(5, solo.ballot(), granted(round, LEASE));
    assert!(is_held(&solo));
}

#[test]
fn no_read_is_served_by_lease_before_recovery() {
    let mut solo = Solo::with(1, 3, ON);
    solo.stand(&[2, 3]);
    solo.take();
    let ballot = solo.ballot();
    solo.say(
        2,
        ballot,
        promise(page(0, 0, 1, &[votes(1, b(0, 2), &["a"])])),
    );
    let round = questions(&mut solo)[0].1;
    solo.say(2, ballot, granted(round, LEASE));
    solo.settle();
    assert!(!is_held(&solo), "a may be chosen");
    let round = Round(0);
    let held = held(1, &[]);
    solo.say(2, ballot, Body::Accepted { held, round });
    let ticket = read(&mut solo);
    assert_eq!(outcome(&solo.events, ticket), "read i1");
}

/// A new configuration may have a leader that the voters of the old one have not heard of.
#[test]
fn no_read_is_served_by_lease_while_the_members_change() {
    let (mut solo, round, _) = leader();
    solo.say(2, solo.ballot(), granted(round, LEASE));
    assert!(is_held(&solo));
    let change = Change::AddLearner(n(4));
    solo.log.reconfigure(solo.now, change).unwrap();
    solo.pump();
    assert!(!is_held(&solo));
}

#[test]
fn a_leader_gives_its_lease_up_before_it_hands_over() {
    let (mut solo, round, start) = leader();
    let ballot = solo.ballot();
    solo.say(2, ballot, granted(round, LEASE));
    solo.log.transfer(solo.now, n(3)).unwrap();
    solo.pump();
    assert!(!is_held(&solo));
    let sent: Vec<_> = solo.take();
    let given_up = |to| (to, lease(round + 1, Duration::ZERO));
    assert_eq!(sent, [given_up(2), given_up(3), (3, Body::TakeOver)]);
    // What was granted before does not count again.
    solo.say(2, ballot, granted(round, LEASE));
    solo.say(3, ballot, granted(round + 1, LEASE));
    assert!(!is_held(&solo));
    // Nobody has taken over: it asks anew, after two rounds of the election.
    let mut rounds = Vec::new();
    while rounds.is_empty() {
        solo.wake();
        rounds = questions(&mut solo);
        if solo.status().role != Role::Leader {
            return;
        }
    }
    assert!(solo.now.since(start) >= ms(20_000));
}

#[test]
fn without_a_lease_such_a_read_is_a_linearizable_one() {
    let mut cluster = Cluster::with(3, ON);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.run(ms(10));
    let ticket = cluster.read(n(2), ReadLevel::Lease).unwrap();
    cluster.run(ms(6));
    assert_eq!(cluster.outcome(n(2), ticket), "read i1", "at a follower");
    cluster.lose_unless(|envelope| !matches!(envelope.message.body, Body::Granted { .. }));
    cluster.run(LEASE);
    let ticket = cluster.read(n(1), ReadLevel::Lease).unwrap();
    assert_eq!(cluster.outcome(n(1), ticket), "", "no grant came lately");
    cluster.run(ms(3));
    assert_eq!(cluster.outcome(n(1), ticket), "read i1");
}

#[test]
fn a_read_by_lease_costs_no_message() {
    let mut cluster = Cluster::with(5, ON);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.run(ms(200));
    cluster.sent.clear();
    let ticket = cluster.read(n(1), ReadLevel::Lease).unwrap();
    assert_eq!(cluster.outcome(n(1), ticket), "read i1", "at once");
    assert!(cluster.sent.is_empty(), "{:?}", cluster.sent);
}

// The cluster.

/// The leader is cut off and reads go on at it; the others choose another one, which writes.
#[test]
fn a_leader_that_is_cut_off_answers_nothing_stale() {
    for size in [3, 4, 5] {
        let mut cluster = Cluster::with(size, ON);
        cluster.led_by(n(1));
        cluster.commit(n(1), "before");
        cluster.run(ms(100));
        cluster.isolate(n(1));
        let (mut served, mut late) = (0, Vec::new());
        let mut wrote = false;
        for _ in 0..1_000 {
            if let Ok(ticket) = cluster.read(n(1), ReadLevel::Lease) {
                served += usize::from(cluster.outcome(n(1), ticket) == "read i1");
                if wrote {
                    late.push(ticket);
                }
            }
            cluster.run(ms(1));
            let next = cluster.leader().filter(|leader| *leader != n(1));
            if let Some(next) = next.filter(|_| !wrote) {
                cluster.commit(next, "after");
                wrote = true;
            }
        }
        assert!(wrote && served > 100, "{size}: {wrote} {served}");
        for ticket in late {
            assert_ne!(cluster.outcome(n(1), ticket), "read i1", "of {size}");
        }
    }
}

/// Whoever restarts in between is no way around a lease.
#[test]
fn a_lease_outlives_restarts_of_those_who_granted_it() {
    let mut cluster = Cluster::with(3, ON);
    cluster.led_by(n(1));
    cluster.commit(n(1), "before");
    cluster.run(ms(100));
    cluster.isolate(n(1));
    for id in [2, 3].map(n) {
        cluster.crash(id);
        cluster.restart(id);
    }
    let start = cluster.now;
    while cluster.now.since(start) < LEASE - DRIFT - ms(60) {
        // It may find out earlier that it leads nobody any more.
        if let Ok(ticket) = cluster.read(n(1), ReadLevel::Lease) {
            assert_eq!(cluster.outcome(n(1), ticket), "read i1");
        }
        let others = [2, 3].map(|id| cluster.status(n(id)).role);
        assert!(!others.contains(&Role::Leader), "{others:?}");
        cluster.run(ms(1));
    }
    cluster.run(ms(700));
    assert_ne!(cluster.leader(), Some(n(1)));
}

/// The voters change, and leave the leader out: it serves nothing by its lease from when it has proposed
/// that, and the others need not wait for the lease's end.
#[test]
fn a_leader_that_is_left_out_holds_nobody_up() {
    let mut cluster = Cluster::with(3, |builder| builder.leader_lease(ms(2_000), DRIFT));
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.run(ms(100));
    let near = cluster.read(n(1), ReadLevel::Lease).unwrap();
    assert_eq!(cluster.outcome(n(1), near), "read i1");
    let (start, next) = (cluster.now, Change::Voters(vec![n(2), n(3)]));
    cluster.log(n(1)).reconfigure(start, next).unwrap();
    let late = cluster.read(n(1), ReadLevel::Lease).unwrap();
    assert_eq!(cluster.outcome(n(1), late), "");
    while cluster.leader().is_none_or(|leader| leader == n(1)) {
        cluster.run(ms(1));
        assert!(cluster.now.since(start) <= 4 * LONGEST_ROUND);
    }
    let leader = cluster.leader().unwrap();
    let index = cluster.commit(leader, "b");
    if let Ok(ticket) = cluster.read(n(1), ReadLevel::Lease) {
        cluster.run(ms(3_000));
        let what = cluster.outcome(n(1), ticket);
        assert!(
            what == format!("read {index}") || what.starts_with("refused"),
            "{what}"
        );
    }
}

/// The price: a leader that is gone is replaced within the lease and four rounds.
#[test]
fn a_leader_that_dies_is_replaced_in_time() {
    for size in [3, 5] {
        for silent in [false, true] {
            let mut cluster = Cluster::with(size, ON);
            cluster.led_by(n(1));
            cluster.commit(n(1), "a");
            if silent {
                cluster.isolate(n(1));
            } else {
                cluster.crash(n(1));
            }
            let start = cluster.now;
            while cluster.leader().is_none_or(|leader| leader == n(1)) {
                cluster.run(ms(1));
            }
            let took = cluster.now.since(start);
            println!("{size} nodes, silent {silent}: {took:?}");
            assert!(took <= LEASE + 4 * LONGEST_ROUND, "{took:?}");
        }
    }
}

#[test]
fn leadership_is_handed_over_all_the_same() {
    for size in [2, 3, 5] {
        let mut cluster = Cluster::with(size, ON);
        cluster.led_by(n(1));
        cluster.run(ms(200));
        let now = cluster.now;
        cluster.log(n(1)).transfer(now, n(2)).unwrap();
        let start = cluster.now;
        while cluster.leader() != Some(n(2)) {
            cluster.run(ms(1));
            let took = cluster.now.since(start);
            assert!(took <= 2 * LONGEST_ROUND, "of {size}: {took:?}");
        }
        // The next one has a lease of its own soon.
        cluster.run(ms(300));
        let ticket = cluster.read(n(2), ReadLevel::Lease).unwrap();
        assert!(!cluster.outcome(n(2), ticket).is_empty());
    }
}

#[test]
fn settings_of_leases_are_checked() {
    let build = |lease, drift| {
        let builder = Config::builder(n(1)).voters([n(1)]);
        builder.leader_lease(lease, drift).build()
    };
    assert!(build(ms(61), ms(10)).is_ok());
    let longest = Duration::from_secs(3600);
    assert!(build(longest, ms(10)).is_ok());
    for (lease, drift) in [
        (ms(60), ms(10)),
        (ms(300), ms(0)),
        (ms(300), ms(300)),
        (longest + ms(1), ms(10)),
        (Duration::MAX, Duration::MAX),
    ] {
        let error = build(lease, drift).unwrap_err().to_string();
        let expected = format!(
            "leader_lease ({lease:?}) must be longer than its max_drift ({drift:?}), which must not \
             be 0, and the heartbeat_interval (50ms) together, and not longer than 3600s"
        );
        assert_eq!(error, expected);
    }
}
