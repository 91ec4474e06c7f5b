//! Replication: the pitfalls of the log (Raft §5.3).

use proptest::prelude::*;
use synod_core::{Link, LinkId, LogIndex, LogLoad, Machine, NodeId, Refusal, ReplicatedLog, Role};
use synod_raft::{Body, Round};

use crate::cluster::{Cluster, ms, n};
use crate::solo::{Solo, acks, append, appended, appends, at};

pub(crate) fn conflict(asked: u64, hint: synod_raft::Position) -> Body {
    Body::Conflict {
        asked: LogIndex(asked),
        hint,
        round: Round(0),
    }
}

#[test]
fn a_shorter_or_repeated_append_costs_nothing() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 5, 0));
    solo.settle();
    solo.say(2, 1, append(at(0, 0), 1, 2, 0));
    solo.say(2, 1, append(at(3, 1), 1, 0, 0));
    solo.settle();
    assert_eq!(solo.status().last, LogIndex(5));
    assert_eq!(solo.image.last(), LogIndex(5));
}

#[test]
fn a_conflict_with_what_is_committed_stops_the_node() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 2, 2));
    solo.settle();
    solo.say(3, 2, append(at(1, 1), 2, 1, 1));
    assert_eq!(
        solo.stopped(),
        Some("committed entries never change (Raft §5.4.3)")
    );
    assert_eq!(solo.image.last(), LogIndex(2), "and nothing of it is lost");
}

#[test]
fn an_old_write_does_not_make_its_successor_durable() {
    // ABA: written in term 1, replaced in term 2, and again of the same length.
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 3, 0));
    solo.settle();
    solo.take();
    solo.say(2, 1, append(at(3, 1), 1, 3, 0));
    assert_eq!(solo.writing.len(), 1, "the first write is under way");
    solo.say(3, 2, append(at(3, 1), 2, 3, 0));
    solo.sync_one();
    assert_eq!(
        solo.status().durable,
        LogIndex(3),
        "only what was not written over"
    );
    assert_eq!(
        acks(&solo.take()),
        [],
        "nobody is told of the old term's entries"
    );
    solo.settle();
    assert_eq!(solo.status().durable, LogIndex(6));
    assert_eq!(acks(&solo.take()), [6]);
}

#[test]
fn writes_may_finish_in_any_order() {
    let mut solo = Solo::with(1, 3, |builder| builder.writes_in_flight(3));
    for k in 0..3 {
        solo.say(2, 1, append(at(k, k.min(1)), 1, 1, 0));
    }
    let writes: Vec<_> = solo.writing.drain(..).map(|(write, _)| write).collect();
    assert_eq!(writes.len(), 3);
    solo.take();
    solo.raft.persisted(solo.now, writes[1]);
    solo.pump();
    assert_eq!(solo.status().durable, LogIndex(2));
    solo.raft.persisted(solo.now, writes[0]);
    solo.pump();
    assert_eq!(
        solo.status().durable,
        LogIndex(2),
        "an earlier write takes nothing back"
    );
    solo.raft.persisted(solo.now, writes[2]);
    solo.pump();
    assert_eq!(solo.status().durable, LogIndex(3));
    assert_eq!(acks(&solo.take()).last(), Some(&3));
}

#[test]
fn only_what_is_durable_is_acknowledged_also_when_it_comes_again() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 2, 0));
    solo.say(2, 1, append(at(0, 0), 1, 2, 2));
    solo.say(2, 1, append(at(2, 1), 1, 0, 2));
    assert_eq!(acks(&solo.take()), []);
    assert_eq!(
        solo.status().applied,
        LogIndex(0),
        "nor is anything handed out"
    );
    solo.settle();
    assert_eq!(acks(&solo.take()).last(), Some(&2));
    assert_eq!(
        solo.status().applied,
        LogIndex(2),
        "the leader's commit counts after the write"
    );
}

#[test]
fn answers_of_other_times_do_not_move_what_a_peer_has() {
    let mut solo = Solo::leading(|builder| builder);
    let matched = |solo: &Solo| solo.status().peers[0].matched;
    for _ in 0..3 {
        solo.propose("x");
    }
    solo.settle();
    solo.say(2, 1, appended(3, 0));
    solo.say(2, 1, appended(2, 0));
    assert_eq!(
        matched(&solo),
        LogIndex(3),
        "late answers take nothing back"
    );
    solo.say(2, 1, appended(4, 99));
    solo.say(2, 1, appended(77, 0));
    assert_eq!(
        matched(&solo),
        LogIndex(3),
        "a round that never began, an entry that is not there"
    );
    solo.say(2, 1, conflict(2, at(1, 1)));
    assert_eq!(
        solo.status().peers[0].next,
        LogIndex(5),
        "a refusal of what is known to match"
    );
    let dropped = solo.status().dropped_messages;
    solo.raft.link(solo.now, NodeId(2), Link::Up(LinkId(2)));
    solo.say(2, 1, appended(4, 0));
    assert_eq!(
        matched(&solo),
        LogIndex(3),
        "an answer on the link before this one"
    );
    assert_eq!(solo.status().dropped_messages, dropped + 1);
}

#[test]
fn a_probe_is_one_message_per_heartbeat() {
    let mut solo = Solo::new(1, 3);
    solo.win(&[2]);
    assert_eq!(appends(&solo.take(), 3).len(), 1);
    for _ in 0..5 {
        solo.propose("x");
    }
    solo.settle();
    assert_eq!(appends(&solo.take(), 3).len(), 0, "one is under way");
    let mut beats = 0;
    for _ in 0..4 {
        solo.wait(ms(50));
        beats += appends(&solo.take(), 3).len();
    }
    assert!((2..=4).contains(&beats), "{beats} in four heartbeats");
}

#[test]
fn a_full_window_still_lets_the_commit_through() {
    let mut solo = Solo::leading(|builder| builder.max_in_flight(1, 1 << 20));
    solo.propose("a");
    solo.propose("b");
    solo.settle();
    assert_eq!(appends(&solo.take(), 3), [(1, 1, 1)], "the window is full");
    solo.say(2, 1, appended(2, 0));
    solo.take();
    assert_eq!(solo.status().committed, LogIndex(2));
    solo.wait(ms(50));
    solo.wait(ms(50));
    let sent = appends(&solo.take(), 3);
    assert!(
        sent.iter()
            .any(|(_, len, commit)| (*len, *commit) == (0, 2)),
        "{sent:?}"
    );
}

#[test]
fn a_link_that_is_new_is_probed() {
    let mut solo = Solo::leading(|builder| builder);
    solo.propose("a");
    solo.settle();
    assert_eq!(solo.status().peers[0].state, "replicate");
    solo.raft.link(solo.now, NodeId(2), Link::Down);
    solo.raft.link(solo.now, NodeId(2), Link::Up(LinkId(1)));
    solo.take();
    solo.pump();
    assert_eq!(solo.status().peers[0].state, "probe");
    assert_eq!(
        appends(&solo.take(), 2),
        [(1, 1, 1)],
        "what was under way is sent again"
    );
}

#[test]
fn a_term_is_skipped_in_one_round_trip() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 10, 0));
    solo.say(2, 2, append(at(10, 1), 2, 40, 0));
    solo.settle();
    solo.take();
    for (asked, hint) in [
        (at(60, 3), at(50, 2)),
        (at(30, 3), at(30, 2)),
        (at(45, 1), at(10, 1)),
    ] {
        solo.say(3, 3, append(asked, 3, 1, 0));
        solo.settle();
        assert_eq!(solo.take(), [(3, conflict(asked.index.0, hint))]);
    }
    let mut leader = Solo::new(1, 3);
    leader.say(2, 1, append(at(0, 0), 1, 10, 0));
    leader.say(2, 3, append(at(10, 1), 3, 40, 0));
    leader.settle();
    leader.win(&[2]);
    leader.take();
    leader.say(3, leader.term(), conflict(50, at(50, 2)));
    assert_eq!(
        appends(&leader.take(), 3)[0].0,
        10,
        "its own terms are skipped as well"
    );
}

#[test]
fn a_long_divergent_tail_is_mended_in_a_few_messages() {
    let mut cluster = Cluster::new(3);
    let old = cluster.elect();
    cluster.isolate(old);
    for k in 0..200 {
        cluster.propose(old, &format!("lost {k}")).unwrap();
        cluster.settle();
    }
    cluster.run(ms(1500));
    let new = cluster.leader().unwrap();
    assert_ne!(new, old);
    for k in 0..200 {
        cluster.propose(new, &format!("kept {k}")).unwrap();
        cluster.settle();
    }
    cluster.heal();
    let before = cluster.messages;
    cluster.run(ms(150));
    assert_eq!(cluster.commands(old.0).len(), 200);
    assert!(
        cluster.messages - before < 60,
        "{} messages",
        cluster.messages - before
    );
}

#[test]
fn the_opening_entry_passes_a_full_limit() {
    let mut solo = Solo::with(1, 3, |builder| {
        builder.max_uncommitted_bytes(100).max_command_bytes(50)
    });
    solo.say(2, 1, append(at(0, 0), 1, 20, 0));
    solo.settle();
    solo.win(&[2]);
    assert_eq!(solo.status().last, LogIndex(21));
    let rejected = solo.raft.propose(solo.now, "x".into()).unwrap_err();
    assert!(matches!(rejected.refusal, Refusal::Busy { limit: 100, .. }));
    assert_eq!(
        rejected.command.as_deref(),
        Some(&b"x"[..]),
        "the command comes back"
    );
    solo.say(2, 2, appended(21, 0));
    assert_eq!(solo.status().committed, LogIndex(21));
    assert!(solo.propose("x").is_some());
}

#[test]
fn a_follower_never_commits_what_it_was_not_shown() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 3, 0));
    solo.settle();
    solo.say(3, 2, append(at(1, 1), 2, 0, 3));
    assert_eq!(
        solo.status().committed,
        LogIndex(1),
        "its second entry may be another"
    );
}

#[test]
fn what_cannot_be_read_back_is_not_sent_as_something_else() {
    let mut solo = Solo::leading(|builder| builder.max_log_bytes(1));
    for k in 0..5 {
        solo.propose(&format!("c{k}"));
        solo.settle();
        solo.say(2, 1, appended(k + 2, 0));
    }
    solo.raft.link(solo.now, NodeId(3), Link::Down);
    solo.raft.link(solo.now, NodeId(3), Link::Up(LinkId(1)));
    solo.take();
    solo.pump();
    let (load, what) = solo.loads.remove(0);
    assert!(matches!(
        what,
        LogLoad::Entries {
            after: LogIndex(1),
            ..
        }
    ));
    solo.raft.loaded(solo.now, load, None);
    solo.pump();
    assert_eq!(
        appends(&solo.take(), 3),
        [],
        "nothing, rather than a log with a hole"
    );
    assert_eq!(solo.loads, [], "a storage without it is not kept busy");
    solo.wait(ms(50));
    solo.load();
    assert_eq!(appends(&solo.take(), 3)[0].0, 1, "asked anew, and answered");
}

#[test]
fn a_slow_state_machine_costs_bounded_memory() {
    let mut solo = Solo::with(1, 1, |builder| builder.max_unapplied_bytes(1));
    solo.wake();
    solo.settle();
    assert_eq!(solo.role(), Role::Leader);
    let mut handed = 0;
    for _ in 0..10 {
        solo.raft.propose(solo.now, "x".into()).unwrap();
    }
    // The state machine applies nothing from here on: one entry goes out, the others wait.
    for _ in 0..20 {
        while let Some(output) = solo.raft.poll() {
            match output {
                synod_core::Output::Persist(write, records) => solo.writing.push((write, records)),
                synod_core::Output::Event(synod_core::LogEvent::Committed(c)) => {
                    handed += c.entries.len()
                }
                _ => {}
            }
        }
        for (write, _) in std::mem::take(&mut solo.writing) {
            solo.raft.persisted(solo.now, write);
        }
    }
    assert_eq!(handed, 1);
    solo.raft.applied(solo.now, LogIndex(2));
    solo.pump();
    assert_eq!(solo.status().applied, LogIndex(11));
}

proptest! {
    /// The commit index by an obviously right way: sort, and take what a majority has.
    #[test]
    fn the_commit_is_what_a_majority_holds(acked in prop::collection::vec((2_u64..=5, 0_u64..=20), 0..30)) {
        let mut solo = Solo::new(1, 5);
        solo.win(&[2, 3]);
        for _ in 0..19 {
            solo.propose("x");
        }
        solo.settle();
        let mut held = [20_u64, 0, 0, 0, 0];
        for (peer, matched) in acked {
            solo.say(peer, 1, appended(matched, 0));
            let place = peer as usize - 1;
            held[place] = held[place].max(matched);
            let mut sorted = held;
            sorted.sort_unstable();
            prop_assert_eq!(solo.status().committed, LogIndex(sorted[2]));
        }
    }
}

#[test]
fn every_node_has_what_the_leader_has() {
    let mut cluster = Cluster::new(5);
    let leader = cluster.elect();
    for k in 0..50 {
        cluster.propose(n(k % 5 + 1), &k.to_string()).unwrap();
        cluster.run(ms(1));
    }
    cluster.run(ms(100));
    let all = cluster.commands(leader.0);
    assert_eq!(all.len(), 50);
    for id in 1..=5 {
        assert_eq!(cluster.commands(id), all);
    }
}
