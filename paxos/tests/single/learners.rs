//! Learners: how they count, what they hear, and what they do when they hear too little.

use std::time::Duration;

use synod_core::{Machine, NodeId};
use synod_paxos::single::{Body, Config, Event, Learning, Vote};

use crate::cluster::{Cluster, n, nodes, value};
use crate::solo::{Solo, accepted, vote};

fn learner() -> Solo {
    let mut solo = Solo::new(
        Config::builder(n(21 - 4))
            .acceptors(nodes(1..=3))
            .proposers(nodes([11, 12]))
            .learners(nodes([11, 17]))
            .build()
            .unwrap(),
    );
    for acceptor in 1..=3 {
        solo.hear(acceptor, Body::Ask);
    }
    solo
}

fn hears(solo: &mut Solo, from: u64, vote: Vote) {
    let promised = (vote.ballot.round, vote.ballot.proposer.0);
    solo.hear(from, accepted(vote, promised));
}

/// Distinct acceptors, for one value in one ballot.
#[test]
fn votes_are_counted_by_acceptor_ballot_and_value() {
    let mut solo = learner();
    hears(&mut solo, 1, vote(2, 11, 8));
    hears(&mut solo, 1, vote(2, 11, 8));
    assert_eq!(solo.decree.chosen(), None, "the same acceptor twice");
    hears(&mut solo, 2, vote(4, 12, 8));
    assert_eq!(
        solo.decree.chosen(),
        None,
        "the same value in another ballot"
    );
    hears(&mut solo, 3, vote(4, 12, 8));
    assert_eq!(solo.decree.chosen(), Some(&value(8)));
    assert!(matches!(&solo.events[..], [Event::Chosen(v)] if *v == value(8)));
}

/// Of two values in a fast ballot each has its own count; and strangers have none.
#[test]
fn values_are_counted_apart() {
    let config = Config::builder(n(17))
        .fast_acceptors(nodes(1..=4))
        .proposers(nodes([11]))
        .learners(nodes([17]))
        .distinguished(n(11));
    let mut solo = Solo::new(config.build().unwrap());
    for (from, of) in [(1, 8), (2, 9), (3, 8)] {
        hears(&mut solo, from, vote(1, 11, of));
    }
    solo.drops(9, accepted(vote(1, 11, 8), (2, 11)));
    assert_eq!(solo.decree.chosen(), None);
    hears(&mut solo, 4, vote(1, 11, 8));
    assert_eq!(
        solo.decree.chosen(),
        Some(&value(8)),
        "three of four in a fast ballot"
    );
}

/// A vote that comes late says nothing about what came after it.
#[test]
fn an_older_vote_does_not_replace_a_newer_one() {
    let mut solo = learner();
    hears(&mut solo, 1, vote(4, 12, 9));
    hears(&mut solo, 1, vote(2, 11, 8));
    hears(&mut solo, 2, vote(2, 11, 8));
    assert_eq!(solo.decree.chosen(), None);
    hears(&mut solo, 2, vote(4, 12, 9));
    assert_eq!(solo.decree.chosen(), Some(&value(9)));
}

/// It is told, durably, once: what contradicts it later is dropped.
#[test]
fn a_choice_is_for_ever() {
    let mut solo = learner();
    solo.hear(11, Body::Chosen { value: value(8) });
    solo.hear(1, Body::Chosen { value: value(8) });
    solo.drops(1, Body::Chosen { value: value(9) });
    assert_eq!(solo.events, [Event::Chosen(value(8))]);
    solo.restart();
    assert_eq!(solo.decree.chosen(), Some(&value(8)));
    assert_eq!(solo.events.len(), 2, "after a restart it is told again");
}

/// A silent learner asks all; then for a ballot, of one proposer after the other, less and less
/// often. It never guesses.
#[test]
fn a_silent_learner_asks_and_then_asks_for_a_ballot() {
    let mut solo = learner();
    assert_eq!(solo.decree.deadline(), None, "nothing is going on");
    hears(&mut solo, 1, vote(2, 11, 8));
    let mut asked: Vec<(Vec<NodeId>, Body, Duration)> = Vec::new();
    for _ in 0..5 {
        let wake = solo.decree.deadline().unwrap();
        let waited = wake.at.since(solo.now);
        solo.now = wake.at;
        solo.decree.tick(solo.now);
        let said = solo.drain();
        let to = said.iter().map(|(to, _)| *to).collect();
        asked.push((to, said[0].1.clone(), waited));
    }
    let ms = Duration::from_millis;
    let all = nodes([1, 2, 3, 11]);
    assert_eq!(
        asked,
        [
            (all.clone(), Body::Ask, ms(400)),
            (nodes([11]), Body::Complete, ms(400)),
            (all.clone(), Body::Ask, ms(800)),
            (nodes([12]), Body::Complete, ms(1600)),
            (all, Body::Ask, ms(3200)),
        ]
    );
    assert_eq!(solo.decree.chosen(), None);
}

/// What was chosen while a learner was away it learns by asking: from whoever knows, or from the
/// acceptors' votes.
#[test]
fn a_learner_pulls_what_it_has_missed() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4], |builder| {
        builder.acceptors(nodes(1..=3)).learners(nodes([1, 4]))
    });
    cluster.cut = vec![(n(1), n(4)), (n(2), n(4)), (n(3), n(4))];
    cluster.link_all();
    cluster.propose(1, value(8)).unwrap();
    cluster.settle();
    assert_eq!(cluster.decree(4).chosen(), None);
    cluster.cut = vec![(n(1), n(4))];
    cluster.link_all();
    cluster.learn(4);
    cluster.wake(4);
    cluster.settle();
    assert_eq!(
        cluster.decree(4).chosen(),
        Some(&value(8)),
        "by the votes of 2 and 3"
    );
}

/// Votes of different ballots for one value decide nothing by themselves: a new ballot does.
#[test]
fn what_votes_do_not_decide_a_new_ballot_does() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4], |builder| {
        builder.acceptors(nodes(1..=3)).learners(nodes([4]))
    });
    cluster.propose(1, value(8)).unwrap();
    cluster.round();
    cluster.round();
    // 1 and 2 have voted, and nobody hears of it; 1 dies.
    cluster.pass(|e| e.to == n(2) && matches!(e.message.body, Body::Accept { .. }));
    cluster.lose(|_| true);
    cluster.crash(1, 0);
    cluster.learn(4);
    cluster.run_until_learned(&[4], Duration::from_secs(5));
    assert_eq!(cluster.decree(4).chosen(), Some(&value(8)), "and no other");
    assert!(cluster.count_sent(|body| matches!(body, Body::Complete)) > 0);
}

/// The distinguished learner dies: acceptors tell the next one, and who has heard nothing asks.
#[test]
fn the_next_learner_takes_over() {
    for learning in [Learning::Distinguished, Learning::First(2)] {
        let learners = nodes([11, 12, 13, 14]);
        let mut cluster = Cluster::unlinked(&[1, 2, 3, 11, 12, 13, 14], |builder| {
            builder
                .acceptors(nodes(1..=3))
                .proposers(nodes([1]))
                .learners(learners.clone())
                .learning(learning)
        });
        cluster.crash(11, 0);
        cluster.link_all();
        cluster.propose(1, value(8)).unwrap();
        cluster.settle();
        assert_eq!(cluster.decree(12).chosen(), Some(&value(8)), "{learning:?}");
        for id in [13, 14] {
            cluster.learn(id);
        }
        cluster.run_until_learned(&[12, 13, 14], Duration::from_secs(2));
    }
}

/// The distinguished learner dies after it has heard of the votes and before it has told anybody: the
/// acceptors tell the next one, which tells the rest. Nobody has to ask.
#[test]
fn a_learner_that_dies_with_the_news_is_replaced() {
    for learning in [Learning::Distinguished, Learning::First(2)] {
        let mut cluster = Cluster::new(&[1, 2, 3, 11, 12, 13, 14], |builder| {
            builder
                .acceptors(nodes(1..=3))
                .proposers(nodes([1]))
                .learners(nodes([11, 12, 13, 14]))
                .learning(learning)
        });
        cluster.propose(1, value(8)).unwrap();
        while cluster.decree(11).chosen().is_none() {
            cluster.round();
        }
        cluster.lose(|e| e.from == n(11) || e.to == n(12));
        let now = cluster.now;
        cluster.crash(11, 0);
        cluster.settle();
        for id in [12, 13, 14] {
            assert_eq!(
                cluster.decree(id).chosen(),
                Some(&value(8)),
                "{learning:?}, {id}"
            );
        }
        assert_eq!(cluster.now, now, "no timer was needed");
    }
}

/// A vote that was cast while a learner was away is told when its link comes up.
#[test]
fn a_learner_that_comes_back_is_told_of_votes() {
    let mut cluster = Cluster::new(&[1, 2, 3, 11], |builder| {
        builder
            .acceptors(nodes(1..=3))
            .proposers(nodes([1]))
            .learners(nodes([11]))
    });
    cluster.cut = vec![(n(2), n(11)), (n(3), n(11)), (n(1), n(11))];
    cluster.link_all();
    cluster.propose(1, value(8)).unwrap();
    cluster.settle();
    cluster.cut.clear();
    cluster.link_all();
    cluster.settle();
    assert_eq!(cluster.decree(11).chosen(), Some(&value(8)));
}

/// Loss of anything is made good by asking again.
#[test]
fn lost_messages_cost_time_and_nothing_else() {
    for lost in 0..12 {
        let mut cluster = Cluster::new(&[1, 2, 3], |builder| builder.acceptors(nodes(1..=3)));
        cluster.propose(1, value(8)).unwrap();
        let mut count = 0;
        while !cluster.net.is_empty() {
            let envelope = cluster.net.remove(0);
            if count != lost && count != lost + 1 {
                cluster.deliver(envelope);
            }
            count += 1;
        }
        cluster.run_until_learned(&[1, 2, 3], Duration::from_secs(5));
    }
}
