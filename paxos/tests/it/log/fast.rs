//! Fast rounds, slot by slot: stories on a small cluster in virtual time.

use std::collections::BTreeMap;

use synod_core::{LogEvent, NodeId, ReadLevel, ReplicatedLog, Rng, Role, Ticket};
use synod_paxos::log::{Body, ConfigBuilder, ConfigError, Detail};

use super::cluster::{Cluster, i, ms, n};

/// A cluster in which node 1 leads and has opened slots.
fn open(size: u64) -> Cluster {
    open_with(size, |builder| builder)
}

fn open_with(size: u64, configure: impl Fn(ConfigBuilder) -> ConfigBuilder + 'static) -> Cluster {
    let mut cluster = Cluster::with(size, move |builder| configure(builder.fast_rounds()));
    cluster.led_by(n(1));
    cluster.run(ms(300));
    assert!(opened(&cluster, n(1)) > 0, "slots are open");
    cluster
}

/// How often a node has opened slots.
fn opened(cluster: &Cluster, id: NodeId) -> usize {
    let events = cluster.servers[&id].events.iter();
    let opened = |event: &&_| matches!(event, LogEvent::Detail(Detail::FastOpened { .. }));
    events.filter(opened).count()
}

/// Everybody has handed out exactly these commands, each once.
fn all_have(cluster: &Cluster, expected: &[&str]) {
    let mut expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
    expected.sort();
    for id in cluster.ids() {
        let mut commands = cluster.commands(id);
        commands.sort();
        assert_eq!(commands, expected, "at {id}");
    }
}

/// From the client's node to everybody: two message delays, whoever leads. In classic rounds it is one
/// more to the leader, and one more until others hear that it is chosen.
#[test]
fn without_a_conflict_it_takes_two_message_delays() {
    for size in [3, 4, 5, 7] {
        for at in [1, 2, size] {
            let mut cluster = open(size);
            let ticket = cluster.propose(n(at), "a").unwrap();
            cluster.run(2 * cluster.delay);
            assert_eq!(cluster.outcome(n(at), ticket), "committed i1");
            all_have(&cluster, &["a"]);
        }
    }
    let mut classic = Cluster::new(5);
    classic.led_by(n(1));
    let ticket = classic.propose(n(2), "a").unwrap();
    classic.run(2 * classic.delay);
    assert_eq!(classic.outcome(n(2), ticket), "");
}

/// Two clients that say the same want two things.
#[test]
fn equal_bytes_are_two_values() {
    let mut cluster = open(5);
    let first = cluster.propose(n(2), "same").unwrap();
    let second = cluster.propose(n(3), "same").unwrap();
    cluster.run(ms(300));
    all_have(&cluster, &["same", "same"]);
    let places = [cluster.outcome(n(2), first), cluster.outcome(n(3), second)];
    assert!(places[0] != places[1], "{places:?}");
    assert!(
        places.iter().all(|place| place.starts_with("committed")),
        "{places:?}"
    );
}

/// A run of commands is one offer, and keeps its order.
#[test]
fn many_commands_are_offered_together() {
    let mut cluster = open(5);
    let now = cluster.now;
    let texts: Vec<String> = (0..50).map(|k| format!("c{k}")).collect();
    let tickets: Vec<Ticket> = texts
        .iter()
        .map(|text| cluster.log(n(3)).propose(now, text.clone().into()).unwrap())
        .collect();
    let before = cluster.count("Offer");
    cluster.run(2 * cluster.delay);
    assert_eq!(
        cluster.count("Offer") - before,
        4,
        "one to each of the others"
    );
    assert_eq!(cluster.count("Voted"), 20, "each tells each other");
    assert_eq!(cluster.commands(n(5)), texts);
    for (k, ticket) in tickets.iter().enumerate() {
        assert_eq!(
            cluster.outcome(n(3), *ticket),
            format!("committed i{}", k + 1)
        );
    }
}

/// Nodes 2 and 3 want the same slot, and split the votes two to three.
fn collide(cluster: &mut Cluster) -> (Ticket, Ticket) {
    cluster.lose_unless(|envelope| {
        let offer = matches!(envelope.message.body, Body::Offer(_));
        !(offer && envelope.from == n(2) && envelope.to >= n(3))
    });
    let a = cluster.propose(n(2), "a").unwrap();
    let b = cluster.propose(n(3), "b").unwrap();
    (a, b)
}

/// The leader hears of the votes and sees that nothing can be chosen, goes on at once with what has more
/// votes, and the other value is offered in the next slot: no timer has to fire.
#[test]
fn a_collision_is_recovered_without_a_timer() {
    let mut cluster = open(5);
    let (a, b) = collide(&mut cluster);
    cluster.run(2 * cluster.delay);
    assert_eq!(cluster.outcome(n(2), a) + &cluster.outcome(n(3), b), "");
    cluster.passes = None;
    // Two delays to the votes for a, after: classic, the word of it, and the offer's two.
    cluster.run(6 * cluster.delay);
    assert_eq!(cluster.outcome(n(3), b), "committed i1");
    assert_eq!(cluster.outcome(n(2), a), "committed i2");
    cluster.run(ms(200));
    all_have(&cluster, &["a", "b"]);
}

/// One who offers and is gone leaves a slot that others have voted in; what comes behind it is chosen, and
/// waits until the leader has filled it.
#[test]
fn a_gap_that_a_lost_offer_leaves_is_filled() {
    let mut cluster = open(5);
    cluster.lose_unless(|envelope| {
        let offer = matches!(envelope.message.body, Body::Offer(_));
        !(offer && envelope.from == n(2) && envelope.to != n(3))
    });
    cluster.propose(n(2), "gone").unwrap();
    cluster.run(cluster.delay);
    cluster.crash(n(2));
    let ticket = cluster.propose(n(3), "x").unwrap();
    cluster.run(2 * cluster.delay);
    assert_eq!(
        cluster.outcome(n(3), ticket),
        "",
        "it is chosen, behind a gap"
    );
    cluster.run(ms(200));
    assert_eq!(cluster.outcome(n(3), ticket), "committed i2");
    cluster.passes = None;
    cluster.restart(n(2));
    cluster.run(ms(500));
    for id in cluster.ids() {
        let commands = cluster.commands(id);
        assert_eq!(
            commands.last().map(String::as_str),
            Some("x"),
            "{id}: {commands:?}"
        );
    }
}

/// The leader dies when the votes are split and it has said nothing: the next one finds votes of which
/// none may have been chosen, takes one, and the other is offered again.
#[test]
fn the_leader_dies_in_a_collision() {
    let mut cluster = open(5);
    let (a, b) = collide(&mut cluster);
    cluster.run(cluster.delay);
    cluster.crash(n(1));
    cluster.passes = None;
    cluster.run(ms(2000));
    for (id, ticket) in [(n(2), a), (n(3), b)] {
        let outcome = cluster.outcome(id, ticket);
        assert!(outcome.starts_with("committed"), "{id}: {outcome}");
    }
    cluster.restart(n(1));
    cluster.run(ms(1000));
    all_have(&cluster, &["a", "b"]);
}

/// What a fast quorum has voted for survives the leader and one of the voters, though nobody had heard
/// that it was chosen.
#[test]
fn what_is_chosen_and_unknown_survives() {
    let mut cluster = open(5);
    cluster.lose_unless(|envelope| !matches!(envelope.message.body, Body::Voted(_)));
    // Node 5 votes for something else in the same slot, alone.
    let lonely = cluster.propose(n(5), "other").unwrap();
    cluster.lose_unless(|envelope| {
        let other = envelope.from == n(5) && matches!(envelope.message.body, Body::Offer(_));
        !other && !matches!(envelope.message.body, Body::Voted(_))
    });
    let ticket = cluster.propose(n(2), "chosen").unwrap();
    cluster.run(cluster.delay);
    cluster.crash(n(1));
    cluster.crash(n(2));
    cluster.passes = None;
    cluster.run(ms(2000));
    assert_eq!(cluster.commands(n(3)), ["chosen", "other"]);
    assert_eq!(cluster.outcome(n(5), lonely), "committed i2");
    assert_eq!(cluster.outcome(n(2), ticket), "");
}

/// Without a fast quorum the leader goes back to classic rounds, and comes back to fast ones when
/// everybody is there again.
#[test]
fn too_few_voters_mean_classic_rounds() {
    let mut cluster = open(5);
    cluster.crash(n(4));
    let one = cluster.propose(n(2), "with four").unwrap();
    cluster.run(2 * cluster.delay);
    assert_eq!(cluster.outcome(n(2), one), "committed i1");
    cluster.crash(n(5));
    let two = cluster.propose(n(2), "with three").unwrap();
    cluster.run(ms(1000));
    assert_eq!(cluster.outcome(n(2), two), "committed i2");
    let leader = cluster.leader().unwrap();
    let before = opened(&cluster, leader);
    let three = cluster.propose(n(3), "classic").unwrap();
    cluster.run(ms(20));
    assert!(cluster.outcome(n(3), three).starts_with("committed"));
    assert_eq!(
        opened(&cluster, leader),
        before,
        "three of five open nothing"
    );
    cluster.restart(n(4));
    cluster.restart(n(5));
    cluster.run(ms(5000));
    let leader = cluster.leader().unwrap();
    assert!(opened(&cluster, leader) > before, "it is fast again");
    let four = cluster.propose(n(5), "fast").unwrap();
    cluster.run(2 * cluster.delay);
    assert!(cluster.outcome(n(5), four).starts_with("committed"));
    all_have(&cluster, &["with four", "with three", "classic", "fast"]);
}

/// Where everybody wants the same slots at the same time fast rounds are useless: the leader ends them.
#[test]
fn too_many_collisions_mean_classic_rounds() {
    let mut cluster = open(5);
    cluster.lose_unless(|envelope| {
        let offer = matches!(envelope.message.body, Body::Offer(_));
        !(offer && envelope.from.0 % 2 == envelope.to.0 % 2)
    });
    let leader = cluster.leader().unwrap();
    let era = cluster.status(leader).era;
    for k in 0..60 {
        for id in [2, 3] {
            drop(cluster.propose(n(id), &format!("{k} of {id}")));
        }
        cluster.run(ms(20));
    }
    let leader = cluster.leader().unwrap();
    assert!(
        cluster.status(leader).era > era,
        "another leadership has begun"
    );
    cluster.passes = None;
    cluster.run(ms(2000));
    let expected: Vec<String> = (0..60)
        .flat_map(|k| [2, 3].map(|id| format!("{k} of {id}")))
        .collect();
    all_have(
        &cluster,
        &expected.iter().map(String::as_str).collect::<Vec<_>>(),
    );
}

/// Everybody proposes at once, messages are lost, leaders come and go: what is reported as committed is in
/// the log once, and nothing is there twice.
#[test]
fn collided_commands_are_chosen_once() {
    let (mut committed, mut unknown) = (0, 0);
    for seed in 0..40 {
        let size = [3, 4, 5][seed as usize % 3];
        let mut cluster = open(size);
        let mut rng = Rng::new(seed);
        let loss = rng.below(200_000) as u32;
        let lost = std::cell::RefCell::new(Rng::new(seed + 1000));
        cluster.lose_unless(move |_| !lost.borrow_mut().chance(loss));
        let mut asked: Vec<(NodeId, Ticket, String)> = Vec::new();
        for k in 0..30 {
            for id in 1..=size {
                let text = format!("{k} of {id}");
                if rng.chance(600_000)
                    && let Ok(ticket) = cluster.propose(n(id), &text)
                {
                    asked.push((n(id), ticket, text));
                }
            }
            cluster.run(ms(rng.below(12)));
            if rng.chance(30_000) {
                let now = cluster.now;
                if let Some(leader) = cluster.leader() {
                    let to = n(rng.within(1, size));
                    drop(cluster.log(leader).transfer(now, to));
                }
            }
        }
        cluster.passes = None;
        cluster.run(ms(6000));
        let log = cluster.commands(n(1));
        let mut count: BTreeMap<&String, usize> = BTreeMap::new();
        for text in &log {
            *count.entry(text).or_default() += 1;
        }
        assert!(
            count.values().all(|count| *count == 1),
            "seed {seed}: twice: {count:?}"
        );
        for (id, ticket, text) in &asked {
            let outcome = cluster.outcome(*id, *ticket);
            let there = count.contains_key(text);
            let (is, is_not) = (
                outcome.starts_with("committed"),
                outcome.starts_with("refused"),
            );
            let story = format!("seed {seed}: {text} at {id}: {outcome:?}, in the log: {there}");
            assert!(!outcome.is_empty(), "{story}");
            assert!(there || !is, "{story}");
            assert!(!there || !(is_not || outcome == "displaced"), "{story}");
            committed += usize::from(is);
            unknown += usize::from(outcome == "unknown");
        }
        for id in cluster.ids() {
            assert_eq!(cluster.commands(id), log, "seed {seed}");
        }
    }
    assert!(
        unknown * 50 < committed,
        "{committed} are committed, {unknown} unknown"
    );
}

/// A linearizable read asks the voters, not the leader: two message delays, and what was committed anywhere
/// before it is there.
#[test]
fn a_read_sees_what_was_committed_before_it() {
    let mut cluster = open(5);
    cluster.propose(n(2), "a").unwrap();
    cluster.run(2 * cluster.delay);
    // Node 4 has not heard of it.
    cluster.cut = vec![(n(2), n(4)), (n(3), n(4))];
    cluster.propose(n(2), "b").unwrap();
    cluster.run(2 * cluster.delay);
    assert_eq!(cluster.commands(n(2)), ["a", "b"]);
    let read = cluster.read(n(4), ReadLevel::Linearizable).unwrap();
    cluster.heal();
    cluster.run(ms(400));
    assert_eq!(cluster.outcome(n(4), read), "read i2");
    assert_eq!(cluster.commands(n(4)), ["a", "b"]);
    let read = cluster.read(n(5), ReadLevel::Linearizable).unwrap();
    cluster.run(2 * cluster.delay);
    assert_eq!(cluster.outcome(n(5), read), "read i2");
}

/// Who does not vote passes on what it is asked, and knows it again by its name.
#[test]
fn a_learner_passes_proposals_and_reads_on() {
    let mut cluster = Cluster::with(5, |builder| {
        let voters = (1..=4).map(n);
        builder.voters(voters).learners([n(5)]).fast_rounds()
    });
    cluster.led_by(n(1));
    cluster.run(ms(300));
    assert_eq!(opened(&cluster, n(1)), 1);
    let ticket = cluster.propose(n(5), "a").unwrap();
    cluster.run(ms(100));
    assert_eq!(cluster.outcome(n(5), ticket), "committed i1");
    let read = cluster.read(n(5), ReadLevel::Linearizable).unwrap();
    cluster.run(ms(100));
    assert_eq!(cluster.outcome(n(5), read), "read i1");
    all_have(&cluster, &["a"]);
}

/// A voter that was away gets what was chosen meanwhile, and votes again.
#[test]
fn a_voter_that_comes_back_catches_up() {
    let mut cluster = open(5);
    cluster.crash(n(4));
    for k in 0..20 {
        cluster.propose(n(2), &format!("{k}")).unwrap();
        cluster.run(ms(3));
    }
    cluster.restart(n(4));
    cluster.run(ms(500));
    assert_eq!(cluster.commands(n(4)), cluster.commands(n(2)));
    cluster.crash(n(5));
    let ticket = cluster.propose(n(3), "needs node 4").unwrap();
    cluster.run(2 * cluster.delay);
    assert_eq!(cluster.outcome(n(3), ticket), "committed i21");
}

/// An acceptor that restarts in the middle of a slot has its vote, says it again, and votes for nothing else.
#[test]
fn a_vote_outlives_a_restart() {
    let mut cluster = open(4);
    cluster.lose_unless(|envelope| match envelope.message.body {
        Body::Voted(_) => envelope.from != n(4),
        Body::Offer(_) => envelope.to != n(3),
        _ => true,
    });
    let ticket = cluster.propose(n(2), "a").unwrap();
    cluster.run(2 * cluster.delay);
    assert_eq!(
        cluster.outcome(n(2), ticket),
        "",
        "votes of 1 and 2 are known"
    );
    cluster.crash(n(4));
    cluster.restart(n(4));
    cluster.run(ms(100));
    cluster.passes = None;
    cluster.run(ms(400));
    assert_eq!(cluster.outcome(n(2), ticket), "committed i1");
    all_have(&cluster, &["a"]);
}

/// What a leader of a classic ballot is offered it proposes in that slot, so that a value that was offered
/// and lost in fast rounds is not stuck.
#[test]
fn what_lost_in_fast_rounds_goes_on_in_classic_ones() {
    let mut cluster = open(5);
    let (a, b) = collide(&mut cluster);
    cluster.run(cluster.delay);
    // Two of the voters are gone: only classic rounds can go on.
    cluster.crash(n(4));
    cluster.crash(n(5));
    cluster.run(ms(1500));
    for (id, ticket) in [(n(2), a), (n(3), b)] {
        let outcome = cluster.outcome(id, ticket);
        assert!(outcome.starts_with("committed"), "{id}: {outcome}");
    }
    let commands = cluster.commands(n(1));
    assert_eq!(commands.len(), 2, "{commands:?}");
}

/// A node that hears of nobody tells its clients in time that it does not know.
#[test]
fn a_node_that_is_cut_off_gives_its_offers_up() {
    let mut cluster = open(5);
    cluster.isolate(n(2));
    let ticket = cluster.propose(n(2), "a").unwrap();
    let read = cluster.read(n(2), ReadLevel::Linearizable).unwrap();
    cluster.run(ms(4000));
    assert_eq!(cluster.outcome(n(2), ticket), "unknown");
    assert!(cluster.outcome(n(2), read).starts_with("refused"));
    cluster.heal();
    cluster.run(ms(3000));
    cluster.commit(n(1), "b");
    let twice = cluster
        .commands(n(1))
        .iter()
        .filter(|text| *text == "a")
        .count();
    assert!(twice <= 1);
}

/// A change of the configuration ends fast rounds first; asked again it goes through.
#[test]
fn a_change_of_the_configuration_is_made_in_classic_rounds() {
    let mut cluster = open(5);
    cluster.commit(n(2), "a");
    cluster.join(6);
    let now = cluster.now;
    let change = synod_core::Change::AddLearner(n(6));
    let refused = cluster
        .log(n(1))
        .reconfigure(now, change.clone())
        .unwrap_err();
    assert_eq!(refused.refusal.to_string(), "no leader is known");
    cluster.run(ms(300));
    let leader = cluster.leader().unwrap();
    assert_eq!(cluster.status(leader).role, Role::Leader);
    let now = cluster.now;
    cluster.log(leader).reconfigure(now, change).unwrap();
    cluster.run(ms(3000));
    assert_eq!(cluster.commands(n(6)), ["a"]);
    let leader = cluster.leader().unwrap();
    assert!(opened(&cluster, leader) > 0);
    let ticket = cluster.propose(n(2), "b").unwrap();
    cluster.run(2 * cluster.delay);
    assert!(cluster.outcome(n(2), ticket).starts_with("committed"));
    cluster.run(ms(200));
    assert_eq!(cluster.commands(n(6)), ["a", "b"]);
    assert!(cluster.status(n(6)).committed >= i(3));
}

#[test]
fn fast_rounds_need_fast_quorums() {
    use synod_paxos::log::Config;
    use synod_quorum::PaxosPhases;
    let phases = PaxosPhases::majority([n(1), n(2), n(3)]).unwrap();
    let error = Config::builder(n(1))
        .quorums(phases)
        .fast_rounds()
        .build()
        .unwrap_err();
    assert_eq!(error, ConfigError::NoFastQuorums);
    assert_eq!(
        error.to_string(),
        "fast_rounds needs quorums with fast ones: PaxosPhases::with_fast"
    );
}
