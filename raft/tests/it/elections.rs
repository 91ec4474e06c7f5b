//! Elections: the pitfalls that implementations have fallen into (Raft §5.2, §5.4; dissertation §9.6).

use synod_core::{Link, LinkId, LogIndex, Machine, NodeId, Role};
use synod_raft::Body;

use crate::cluster::{Cluster, ms, n};
use crate::solo::{Solo, acks, append, appended, at, vote, voted};

#[test]
fn an_entry_of_an_older_term_is_not_committed_by_counting() {
    // Raft §5.4.2, figure 8.
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 0));
    solo.settle();
    solo.win(&[3]);
    solo.say(2, solo.term(), appended(1, 0));
    solo.say(3, solo.term(), appended(1, 0));
    assert_eq!(
        solo.status().committed,
        LogIndex(0),
        "all three hold it, and it may still be lost"
    );
    solo.say(3, solo.term(), appended(2, 0));
    assert_eq!(
        solo.status().committed,
        LogIndex(2),
        "it rides along with the opening entry"
    );
}

#[test]
fn the_opening_entry_counts_for_the_leader_once_it_is_durable() {
    let mut solo = Solo::new(1, 3);
    solo.campaign(&[2]);
    solo.say(2, 1, voted(false, 1, true));
    assert_eq!(solo.writing.len(), 1, "the opening entry is being written");
    solo.say(2, 1, appended(1, 0));
    assert_eq!(solo.status().committed, LogIndex(0));
    solo.settle();
    assert_eq!(solo.status().committed, LogIndex(1));
}

#[test]
fn a_leader_by_its_own_vote_opens_its_term_at_once() {
    // The last vote is the node's own, and comes with the end of a write, not with a message.
    let mut cluster = Cluster::new(1);
    cluster.run(ms(1));
    assert_eq!(
        cluster.raft(1).deadline().unwrap().why,
        "heartbeat or commit"
    );
    use synod_core::ReplicatedLog;
    assert_eq!(cluster.raft(1).status().committed, LogIndex(1));
}

#[test]
fn term_and_vote_are_durable_before_anyone_hears_of_them() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 4, vote(false, at(0, 0)));
    assert_eq!(solo.take(), []);
    solo.settle();
    assert_eq!(solo.take(), [(2, voted(false, 4, true))]);
    let mut candidate = Solo::new(1, 3);
    candidate.wake();
    candidate.take();
    candidate.say(2, 0, voted(true, 1, true));
    assert_eq!(
        candidate.take(),
        [],
        "a request for votes waits for the own vote too"
    );
    candidate.settle();
    assert_eq!(candidate.take().len(), 2);
}

#[test]
fn a_restarted_node_remembers_its_vote() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 4, vote(false, at(0, 0)));
    solo.settle();
    let mut again = Solo::on(1, 3, solo.image, |builder| builder);
    again.say(3, 4, vote(false, at(9, 3)));
    again.settle();
    assert_eq!(again.take(), [(3, voted(false, 4, false))]);
}

#[test]
fn seeing_a_later_term_is_not_voting_in_it() {
    let mut solo = Solo::new(1, 3);
    solo.campaign(&[2]);
    solo.say(2, 7, voted(false, 7, true));
    assert_eq!((solo.role(), solo.term()), (Role::Follower, 7));
    solo.take();
    solo.say(3, 7, vote(false, at(0, 0)));
    solo.say(2, 7, vote(false, at(0, 0)));
    solo.settle();
    assert_eq!(
        solo.take(),
        [(3, voted(false, 7, true)), (2, voted(false, 7, false))]
    );
}

#[test]
fn repeated_votes_and_votes_of_strangers_do_not_count() {
    let mut solo = Solo::new(1, 5);
    solo.campaign(&[2, 3]);
    for voter in [2, 2, 9, 8] {
        solo.say(voter, 1, voted(false, 1, true));
    }
    assert_eq!(solo.role(), Role::Candidate);
    solo.say(4, 1, voted(false, 1, true));
    assert_eq!(solo.role(), Role::Leader);
}

#[test]
fn a_pre_vote_is_given_by_the_whole_rule_and_changes_nothing() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 3, append(at(0, 0), 3, 2, 0));
    solo.settle();
    solo.take();
    solo.say(3, 3, vote(true, at(2, 3)));
    assert_eq!(
        solo.take(),
        [(3, voted(true, 4, false))],
        "there is a leader"
    );
    solo.wait(ms(400));
    solo.take();
    for (last, granted) in [(at(1, 3), false), (at(9, 2), false), (at(2, 3), true)] {
        solo.say(3, 3, vote(true, last));
        assert_eq!(
            solo.take(),
            [(3, voted(true, 4, granted))],
            "by its log, {last:?}"
        );
    }
    solo.say(3, 1, vote(true, at(2, 1)));
    assert_eq!(
        solo.take(),
        [(3, voted(true, 2, false))],
        "for a term that is over"
    );
    assert_eq!(solo.term(), 3);
}

#[test]
fn a_pre_vote_from_behind_is_answered_with_the_later_term() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 5, append(at(0, 0), 5, 1, 0));
    solo.settle();
    solo.take();
    solo.say(3, 1, vote(true, at(9, 1)));
    let answer = solo.take_messages();
    assert_eq!(
        (answer[0].1.term.0, &answer[0].1.body),
        (5, &voted(true, 2, false))
    );
}

#[test]
fn late_pre_votes_do_not_start_another_election() {
    let mut solo = Solo::new(1, 3);
    solo.win(&[2]);
    solo.say(3, 0, voted(true, 1, true));
    solo.say(3, 1, voted(true, 2, true));
    assert_eq!((solo.role(), solo.term()), (Role::Leader, 1));
}

#[test]
fn a_leader_of_an_older_term_is_answered() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 5, vote(false, at(0, 0)));
    solo.settle();
    solo.take();
    solo.say(3, 4, append(at(0, 0), 4, 0, 0));
    let answer = solo.take_messages();
    assert_eq!((answer[0].0, answer[0].1.term.0), (NodeId(3), 5));
    assert_eq!(acks(&[(3, answer[0].1.body.clone())]), [0]);
}

#[test]
fn the_only_node_with_the_whole_log_wins() {
    for seed in 1..=3 {
        let mut cluster = Cluster::new(3);
        let leader = cluster.elect();
        let late = n((leader.0 + seed) % 3 + 1);
        if late == leader {
            continue;
        }
        cluster.isolate(late);
        cluster.propose(leader, "a").unwrap();
        cluster.settle();
        cluster.crash(leader);
        cluster.heal();
        let winner = cluster.elect();
        assert_ne!(winner, late);
    }
}

#[test]
fn a_learner_votes_when_it_is_asked() {
    // The candidate may know that it is a voter before it does itself.
    let mut solo = Solo::with(4, 3, |builder| builder.learners([NodeId(4)]));
    assert_eq!(solo.role(), Role::Learner);
    solo.say(2, 1, vote(false, at(0, 0)));
    solo.settle();
    assert_eq!(solo.take(), [(2, voted(false, 1, true))]);
    assert_eq!(solo.raft.deadline(), None, "and never stands");
}

#[test]
fn time_outs_differ_by_node_by_term_and_by_attempt() {
    let waits = |seed: u64| {
        let mut solo = Solo::with(1, 3, |builder| builder.seed(seed));
        let mut waits = Vec::new();
        for _ in 0..5 {
            let before = solo.now;
            solo.wake();
            waits.push(solo.now.since(before));
        }
        waits
    };
    let (one, other) = (waits(1), waits(2));
    for (k, wait) in one.iter().enumerate() {
        assert!((ms(300)..=ms(600)).contains(wait));
        assert_ne!(*wait, other[k], "two nodes, attempt {k}");
        assert!(!one[..k].contains(wait), "attempt {k} draws anew");
    }
}

#[test]
fn an_election_by_those_who_are_led_is_ignored() {
    // Dissertation §4.2.3: who was cut off, or removed, deposes nobody.
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 0));
    solo.settle();
    solo.take();
    solo.say(3, 8, vote(false, at(9, 7)));
    assert_eq!((solo.term(), solo.take().len()), (1, 0));
    let leads = matches!(solo.status().leader, Some(NodeId(2)));
    assert!(leads, "its leader is still the one it was");
}

#[test]
fn two_leaders_of_one_term_stop_the_node_with_the_evidence() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 1, 0));
    solo.say(3, 1, append(at(0, 0), 1, 1, 0));
    assert_eq!(
        solo.stopped(),
        Some("at most one leader per term (Raft §5.2)")
    );
    assert_eq!((solo.role(), solo.raft.deadline()), (Role::Stopped, None));
    solo.say(
        2,
        2,
        Body::Vote {
            pre: false,
            last: at(9, 1),
        },
    );
    assert_eq!(solo.take(), [], "it says nothing any more");
}

/// Whoever has lost has still voted: for itself, in this term.
#[test]
fn a_candidate_that_has_lost_votes_for_no_other() {
    let mut solo = Solo::new(1, 3);
    solo.campaign(&[2]);
    for voter in [2, 3] {
        solo.say(voter, 1, voted(false, 1, false));
    }
    assert_eq!(solo.role(), Role::Follower);
    solo.take();
    solo.say(3, 1, vote(false, at(9, 1)));
    solo.settle();
    assert_eq!(solo.take(), [(3, voted(false, 1, false))]);
}

/// An election that is lost counts as an attempt: the next wait is drawn anew.
#[test]
fn who_has_lost_waits_another_time() {
    let mut solo = Solo::new(1, 3);
    let first = solo.raft.deadline().unwrap().at.since(solo.now);
    solo.wake();
    assert_eq!(solo.role(), Role::Candidate);
    let second = solo.raft.deadline().unwrap().at.since(solo.now);
    for voter in [2, 3] {
        solo.say(voter, 0, voted(true, 1, false));
    }
    assert_eq!(solo.role(), Role::Follower);
    let third = solo.raft.deadline().unwrap().at.since(solo.now);
    assert!(third != first && third != second);
}

/// A vote of this node for itself counts in the term that it was given in, and once it is durable.
#[test]
fn an_old_vote_for_itself_counts_in_no_later_term() {
    let mut solo = Solo::new(1, 3);
    solo.wake();
    solo.say(2, 0, voted(true, 1, true));
    assert_eq!((solo.term(), solo.writing.len()), (1, 1));
    solo.wake();
    solo.say(2, 1, voted(true, 2, true));
    assert_eq!(solo.term(), 2, "while the first vote is being written");
    solo.say(3, 2, voted(false, 2, true));
    solo.sync_one();
    assert_eq!(
        solo.role(),
        Role::Candidate,
        "its vote in term 1 is durable"
    );
    solo.settle();
    assert_eq!(solo.role(), Role::Leader);
}

/// In which order links come up says nothing about a node.
#[test]
fn nodes_with_the_same_links_are_equal() {
    let linked = |order: &[u64]| {
        let mut solo = Solo::new(1, 3);
        for &peer in order {
            let (down, up) = (Link::Down, Link::Up(LinkId(1)));
            solo.raft.link(solo.now, NodeId(peer), down);
            solo.raft.link(solo.now, NodeId(peer), up);
        }
        solo.pump();
        solo.raft
    };
    let one = linked(&[]);
    for order in [&[2][..], &[9], &[4, 3], &[3, 2, 4], &[2, 4, 3]] {
        assert_eq!(linked(order), one, "{order:?}");
    }
}
