//! Paxos quorum reads: who is asked, which slot a read waits for, and what becomes of one that nobody
//! would choose.

use synod_core::{LogEvent, NodeId, ReadLevel, Refusal, ReplicatedLog, Role, Round, Ticket};
use synod_paxos::log::{Body, Config, ConfigBuilder, MultiPaxos};
use synod_quorum::{PaxosPhases, Quorum};

use super::cluster::{Cluster, i, ms, n, outcome};
use super::codec::some_config;
use super::solo::{Solo, accept, b, page, votes};

const ON: fn(ConfigBuilder) -> ConfigBuilder = |builder| builder.quorum_reads(true);

/// Node 1 of so many, which follows node 2, has "a" in slot 1, and knows it to be chosen.
fn follower(voters: u64) -> Solo {
    let mut solo = Solo::with(1, voters, ON);
    let ballot = b(2, 2);
    solo.say(2, ballot, accept(votes(1, ballot, &["a"]), 1, 1));
    solo.settle();
    solo.take();
    solo
}

fn read(solo: &mut Solo) -> Ticket {
    let ticket = solo.log.read(solo.now, ReadLevel::Linearizable).unwrap();
    solo.pump();
    ticket
}

/// Who was asked since the last look, and what: life and round.
fn asked(solo: &mut Solo) -> (Vec<u64>, Option<(u64, Round)>) {
    let (mut whom, mut what) = (Vec::new(), None);
    for (to, body) in solo.take() {
        if let Body::QuorumRead { life, round } = body {
            whom.push(to);
            what = Some((life, round));
        }
    }
    (whom, what)
}

/// The question of a round that has just begun.
fn question(solo: &mut Solo) -> (u64, Round) {
    let (whom, what) = asked(solo);
    assert!(!whom.is_empty(), "a round begins");
    what.unwrap()
}

fn at((life, round): (u64, Round), last: u64, chosen: u64) -> Body {
    Body::QuorumReadAt {
        life,
        round,
        last: i(last),
        chosen: i(chosen),
    }
}

#[test]
fn a_follower_asks_the_voters_and_not_the_leader() {
    let mut cluster = Cluster::with(3, ON);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.run(ms(10));
    cluster.sent.clear();
    let ticket = cluster.read(n(2), ReadLevel::Linearizable).unwrap();
    cluster.run(ms(2));
    assert_eq!(cluster.outcome(n(2), ticket), "read i1", "one round trip");
    assert_eq!(cluster.count("Read"), 0);
    assert_eq!(cluster.count("QuorumRead"), 2);
    // At the leader, the read index is as cheap, and waits for nothing that is under way.
    let ticket = cluster.read(n(1), ReadLevel::Linearizable).unwrap();
    cluster.run(ms(3));
    assert_eq!(cluster.outcome(n(1), ticket), "read i1");
    assert_eq!(cluster.count("QuorumRead"), 2);
}

/// Everything is known to be chosen, and nobody leads: reads go on.
#[test]
fn reads_need_no_leader() {
    let mut cluster = Cluster::with(3, |builder| {
        ON(builder)
            .election_round(ms(10_000))
            .heartbeat_interval(ms(50))
    });
    cluster.led_by_in(n(1), ms(95_000));
    cluster.commit(n(1), "a");
    cluster.run(ms(60));
    cluster.crash(n(1));
    let ticket = cluster.read(n(3), ReadLevel::Linearizable).unwrap();
    cluster.run(ms(3));
    assert_eq!(cluster.outcome(n(3), ticket), "read i1");
    assert_eq!(cluster.leader(), None);
}

#[test]
fn a_learner_reads_by_a_quorum_of_the_voters() {
    let mut cluster = Cluster::of(&[1, 2, 3, 4], |builder| {
        ON(builder.voters([1, 2, 3].map(NodeId)).learners([n(4)]))
    });
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.run(ms(10));
    cluster.cut.push((n(1), n(4)));
    cluster.sent.clear();
    let ticket = cluster.read(n(4), ReadLevel::Linearizable).unwrap();
    cluster.run(ms(3));
    assert_eq!(cluster.outcome(n(4), ticket), "read i1");
    assert_eq!(cluster.count("QuorumRead"), 3);
}

/// What somebody has voted for may have been chosen before the read came: it waits for it.
#[test]
fn a_read_waits_for_the_last_slot_that_was_voted_in() {
    let mut solo = follower(3);
    let ticket = read(&mut solo);
    let round = question(&mut solo);
    solo.say(3, b(2, 2), at(round, 3, 1));
    assert_eq!(outcome(&solo.events, ticket), "", "3 has voted in slot 3");
    let ballot = b(2, 2);
    solo.say(2, ballot, accept(votes(2, ballot, &["b", "c"]), 2, 1));
    solo.settle();
    assert_eq!(outcome(&solo.events, ticket), "", "slot 3 is open");
    solo.say(2, ballot, accept(votes(4, ballot, &[]), 3, 1));
    assert_eq!(outcome(&solo.events, ticket), "read i3");
}

/// This node's own vote counts like any other: it may be the one that a quorum of phase 2 has.
#[test]
fn a_read_waits_for_what_the_reader_has_voted_for() {
    let mut solo = follower(3);
    let ballot = b(2, 2);
    solo.say(2, ballot, accept(votes(2, ballot, &["b"]), 1, 1));
    solo.settle();
    solo.take();
    let ticket = read(&mut solo);
    let round = question(&mut solo);
    solo.say(3, ballot, at(round, 1, 1));
    assert_eq!(outcome(&solo.events, ticket), "");
    solo.say(2, ballot, accept(votes(3, ballot, &[]), 2, 1));
    assert_eq!(outcome(&solo.events, ticket), "read i2");
}

/// Only answers to this round, in this life, of voters, each once.
#[test]
fn only_a_quorum_of_the_voters_places_a_read() {
    let mut solo = follower(5);
    let ticket = read(&mut solo);
    let (whom, what) = asked(&mut solo);
    assert_eq!(whom, [2, 3, 4, 5]);
    let (life, round) = what.unwrap();
    let first = read(&mut solo);
    assert_eq!(asked(&mut solo).0, [] as [u64; 0], "one round at a time");
    let ballot = b(2, 2);
    solo.say(2, ballot, at((life, round), 1, 1));
    solo.say(2, ballot, at((life, round), 1, 1));
    solo.say(9, ballot, at((life, round), 1, 1));
    solo.say(3, ballot, at((life + 1, round), 1, 1));
    for other in [round.0 - 1, round.0 + 1] {
        solo.say(3, ballot, at((life, Round(other)), 1, 1));
    }
    assert_eq!(outcome(&solo.events, ticket), "", "two of five");
    solo.say(3, ballot, at((life, round), 1, 1));
    assert_eq!(outcome(&solo.events, ticket), "read i1");
    assert_eq!(
        outcome(&solo.events, first),
        "",
        "it came after the round began"
    );
    solo.say(4, ballot, at((life, round), 1, 1));
    solo.say(5, ballot, at((life, round), 1, 1));
    assert_eq!(outcome(&solo.events, first), "", "and waits for the next");
    let next = question(&mut solo);
    assert_eq!(next, (life, Round(round.0 + 1)));
    let round = next;
    solo.say(4, ballot, at(round, 1, 1));
    solo.say(5, ballot, at(round, 1, 1));
    assert_eq!(outcome(&solo.events, first), "read i1");
}

/// The set must meet every quorum of phase 2: where that is 2 of 5, it is 4.
#[test]
fn flexible_quorums_need_a_quorum_of_phase_1() {
    let all = || (1..=5).map(NodeId);
    let one = Quorum::count(4, all()).unwrap();
    let two = Quorum::count(2, all()).unwrap();
    let phases = PaxosPhases::new(&one, &two).unwrap();
    let mut solo = Solo::with(1, 5, |builder| ON(builder.quorums(phases.clone())));
    let ticket = read(&mut solo);
    let round = question(&mut solo);
    for peer in [2, 3] {
        solo.say(peer, b(0, peer), at(round, 0, 0));
        assert_eq!(outcome(&solo.events, ticket), "", "up to {peer}");
    }
    solo.say(5, b(0, 5), at(round, 0, 0));
    assert_eq!(outcome(&solo.events, ticket), "read i0");
}

#[test]
fn reads_that_wait_share_a_round() {
    let mut solo = follower(3);
    let now = solo.now;
    let some = |solo: &mut Solo| {
        let ask = |_| solo.log.read(now, ReadLevel::Linearizable).unwrap();
        (0..10).map(ask).collect::<Vec<_>>()
    };
    let first = some(&mut solo);
    solo.pump();
    let round = question(&mut solo);
    let second = some(&mut solo);
    solo.pump();
    assert_eq!(asked(&mut solo).0, [] as [u64; 0]);
    solo.say(2, b(2, 2), at(round, 1, 1));
    for ticket in first {
        assert_eq!(outcome(&solo.events, ticket), "read i1");
    }
    let (whom, round) = asked(&mut solo);
    assert_eq!(whom, [2, 3], "one question to each for ten reads");
    solo.say(3, b(2, 2), at(round.unwrap(), 1, 1));
    for ticket in second {
        assert_eq!(outcome(&solo.events, ticket), "read i1");
    }
}

/// A vote that no quorum has heard of: the leader is asked to propose something there, and the read is
/// placed anew.
#[test]
fn a_slot_that_stays_open_is_filled() {
    let mut solo = follower(3);
    let ballot = b(2, 2);
    let ticket = read(&mut solo);
    let round = question(&mut solo);
    solo.say(3, ballot, at(round, 7, 1));
    assert_eq!(outcome(&solo.events, ticket), "");
    let mut filled = solo.clone();
    solo.wait(ms(50));
    let sent = solo.take();
    let fills = sent
        .iter()
        .filter(|(_, body)| matches!(body, Body::Fill { .. }));
    let fills: Vec<_> = fills.collect();
    assert_eq!(fills, [&(2, Body::Fill { through: i(7) })]);
    let again = sent.iter().find_map(|(_, body)| match body {
        Body::QuorumRead { life, round } => Some((*life, *round)),
        _ => None,
    });
    // The voter of slot 7 does not answer this time. It need not: the others are a quorum.
    solo.say(2, ballot, at(again.unwrap(), 1, 1));
    assert_eq!(outcome(&solo.events, ticket), "read i1");
    // Or the leader has filled them.
    filled.wait(ms(50));
    let blanks = votes(2, ballot, &["", "", "", "", "", ""]);
    filled.say(2, ballot, accept(blanks, 7, 1));
    filled.settle();
    assert_eq!(outcome(&filled.events, ticket), "read i7");
}

/// A later round that names a later slot does not hold up those who came before it.
#[test]
fn each_read_waits_for_its_own_slot() {
    let mut solo = follower(3);
    let ballot = b(2, 2);
    let first = read(&mut solo);
    let round = question(&mut solo);
    solo.say(3, ballot, at(round, 2, 1));
    let second = read(&mut solo);
    let round = question(&mut solo);
    solo.say(3, ballot, at(round, 3, 1));
    solo.say(2, ballot, accept(votes(2, ballot, &["b", "c"]), 2, 1));
    solo.settle();
    assert_eq!(outcome(&solo.events, first), "read i2");
    assert_eq!(outcome(&solo.events, second), "");
    solo.say(2, ballot, accept(votes(4, ballot, &[]), 3, 1));
    assert_eq!(outcome(&solo.events, second), "read i3");
}

#[test]
fn a_leader_fills_what_it_is_asked_to() {
    let mut solo = Solo::leading(ON);
    solo.say(2, solo.ballot(), Body::Fill { through: i(3) });
    solo.settle();
    assert_eq!(solo.status().last, i(3));
    // There is something in all of these already.
    solo.say(3, solo.ballot(), Body::Fill { through: i(2) });
    assert_eq!(solo.status().last, i(3));
    // One message never makes it propose more than so much.
    solo.say(
        3,
        solo.ballot(),
        Body::Fill {
            through: i(1 << 40),
        },
    );
    assert_eq!(solo.status().last, i(1_003));
    // Nor one of a stranger anything.
    solo.say(9, solo.ballot(), Body::Fill { through: i(2_000) });
    assert_eq!(solo.status().last, i(1_003));
    let mut solo = follower(3);
    solo.say(3, b(2, 2), Body::Fill { through: i(9) });
    assert_eq!(solo.status().last, i(1), "a follower proposes nothing");
}

/// The schedule as a whole: the old leader's vote is at one node alone, the new leader has not heard of
/// it, and no write comes.
#[test]
fn a_vote_that_its_leader_has_left_behind_holds_no_read_up() {
    let mut cluster = Cluster::with(5, ON);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.run(ms(10));
    cluster.stuck = vec![n(1)];
    cluster.cut = [2, 3, 4].map(|to| (n(1), n(to))).to_vec();
    cluster.propose(n(1), "left behind").unwrap();
    cluster.run(ms(3));
    assert_eq!(cluster.status(n(5)).last, i(2), "5 has voted");
    cluster.crash(n(1));
    cluster.isolate(n(5));
    cluster.run(ms(800));
    let leader = cluster.leader().unwrap();
    assert_eq!(cluster.status(leader).last, i(1), "it has not heard of it");
    // One that does not lead asks 5, and another one does not answer.
    let reader = [2, 3, 4].map(n).into_iter().find(|id| *id != leader);
    let (reader, others) = (reader.unwrap(), [2, 3, 4].map(n));
    let silent = others.into_iter().find(|id| ![leader, reader].contains(id));
    cluster.cut = vec![(silent.unwrap(), reader)];
    let ticket = cluster.read(reader, ReadLevel::Linearizable).unwrap();
    cluster.run(ms(20));
    assert_eq!(cluster.outcome(reader, ticket), "");
    cluster.run(ms(60));
    assert_eq!(cluster.outcome(reader, ticket), "read i2");
}

#[test]
fn a_read_without_a_quorum_is_refused_in_time() {
    let mut cluster = Cluster::with(3, |builder| ON(builder).forward_timeout(ms(300)));
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.run(ms(10));
    cluster.isolate(n(2));
    let ticket = cluster.read(n(2), ReadLevel::Linearizable).unwrap();
    cluster.run(ms(100));
    let later = cluster.read(n(2), ReadLevel::Linearizable).unwrap();
    cluster.run(ms(199));
    assert_eq!(cluster.outcome(n(2), ticket), "");
    cluster.run(ms(2));
    let late = "refused: no answer came in time";
    assert_eq!(cluster.outcome(n(2), ticket), late);
    assert_eq!(
        cluster.outcome(n(2), later),
        "",
        "that has 99 ms left: its own time counts"
    );
    cluster.run(ms(100));
    assert_eq!(cluster.outcome(n(2), later), late);
    // Nothing of it stays: the node waits for nothing that has to do with reads.
    cluster.run(ms(400));
    let wake = synod_core::Machine::deadline(cluster.log(n(2))).unwrap();
    assert_eq!(wake.why, "the end of a round of the election");
}

/// Questions that are lost are asked again; a voter whose link comes up is asked at once.
#[test]
fn lost_questions_are_asked_again() {
    let mut cluster = Cluster::with(3, ON);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.run(ms(10));
    cluster.lose_unless(|envelope| !matches!(envelope.message.body, Body::QuorumRead { .. }));
    let ticket = cluster.read(n(2), ReadLevel::Linearizable).unwrap();
    cluster.run(ms(90));
    cluster.heal();
    assert_eq!(cluster.outcome(n(2), ticket), "");
    cluster.run(ms(15));
    assert_eq!(cluster.outcome(n(2), ticket), "read i1");
}

/// What is durable is named in every life; what is not may be named.
#[test]
fn a_restart_names_every_durable_vote() {
    let mut solo = follower(3);
    let ballot = b(2, 2);
    solo.say(2, ballot, accept(votes(2, ballot, &["b"]), 1, 1));
    solo.settle();
    solo.say(2, ballot, accept(votes(3, ballot, &["c"]), 1, 1));
    solo.take();
    let name = |solo: &mut Solo| {
        let (life, round) = (5, Round(1));
        solo.say(3, ballot, Body::QuorumRead { life, round });
        solo.take_to(3)
    };
    assert_eq!(name(&mut solo), [at((5, Round(1)), 3, 1)], "at once");
    let mut again = solo.restarted(3);
    let [Body::QuorumReadAt { last, .. }] = name(&mut again)[..] else {
        panic!("an answer")
    };
    assert_eq!(last, i(2));
}

/// The reader lacks what others know to be chosen, and nobody leads: it fetches it from them.
#[test]
fn without_a_leader_the_reader_fetches_what_is_chosen() {
    let mut solo = Solo::with(1, 3, ON);
    let ticket = read(&mut solo);
    let round = question(&mut solo);
    let ballot = b(2, 2);
    solo.say(3, ballot, at(round, 2, 2));
    let fetches = solo.take_to(3);
    let fetch = Body::Fetch {
        after: i(0),
        through: None,
        votes: false,
        staged: None,
    };
    assert!(fetches.contains(&fetch), "{fetches:?}");
    let whole = page(0, 2, 2, &[votes(1, ballot, &["a", "b"])]);
    solo.say(3, ballot, Body::Page(whole));
    solo.settle();
    assert_eq!(outcome(&solo.events, ticket), "read i2");
}

/// A configuration that is chosen while a read waits may have voters that were not asked: it asks
/// again.
#[test]
fn a_read_asks_the_voters_of_the_configuration_at_its_slot() {
    let mut solo = follower(3);
    let ballot = b(2, 2);
    let ticket = read(&mut solo);
    let round = question(&mut solo);
    solo.say(3, ballot, at(round, 2, 1));
    let config = synod_core::Entry {
        kind: synod_core::EntryKind::Config,
        payload: some_config(),
    };
    let config = synod_core::Entries::new(i(2), ballot.stamp(), [config]);
    solo.say(2, ballot, accept(config, 2, 1));
    solo.settle();
    assert_eq!(outcome(&solo.events, ticket), "", "slot 2 is chosen");
    let round = question(&mut solo);
    solo.say(3, ballot, at(round, 2, 2));
    assert_eq!(outcome(&solo.events, ticket), "read i2");
}

#[test]
fn a_node_that_knows_no_voters_refuses() {
    let config = Config::builder(n(7)).quorum_reads(true).build().unwrap();
    let empty = synod_core::LogImage::new().restored(0);
    let mut log = MultiPaxos::new(config, empty, synod_core::Instant::START).unwrap();
    let read = log.read(synod_core::Instant::START, ReadLevel::Linearizable);
    assert_eq!(read.unwrap_err().refusal, Refusal::NoLeader);
}

/// A reader that comes to lead, or to stand, keeps what it has asked.
#[test]
fn reads_outlive_elections() {
    let mut cluster = Cluster::with(3, ON);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.run(ms(10));
    cluster.isolate(n(2));
    let ticket = cluster.read(n(2), ReadLevel::Linearizable).unwrap();
    cluster.crash(n(1));
    cluster.run(ms(300));
    assert_ne!(cluster.status(n(2)).role, Role::Leader);
    cluster.heal();
    cluster.run(ms(800));
    assert_eq!(cluster.outcome(n(2), ticket), "read i1");
    let events = &cluster.servers[&n(2)].events;
    let reads = events
        .iter()
        .filter(|e| matches!(e, LogEvent::Read { .. } | LogEvent::Refused(..)));
    assert_eq!(reads.count(), 1);
}
