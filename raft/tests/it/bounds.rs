//! Where a bound lies exactly: what is still within it holds, and the next step does not.

use std::time::Duration;

use bytes::Bytes;
use synod_core::{
    Entry, Lane, LogEvent, LogIndex, LogRecord, Machine, OldLog, Output, ReadLevel, Refusal,
    ReplicatedLog, Role, Ticket,
};
use synod_raft::{Body, ConfigBuilder, Denial, Outcome};

use crate::cluster::{ms, n};
use crate::solo::{Solo, acks, append, appended, appends, at, proposed, vote, voted};

const NANO: Duration = Duration::from_nanos(1);

/// What a command of ten bytes costs.
const TEN: usize = 10 + Entry::OVERHEAD;

fn ten() -> Bytes {
    Bytes::from_static(b"0123456789")
}

/// A follower of 2 in term 1 with one committed entry.
fn following(configure: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Solo {
    let mut solo = Solo::with(1, 3, configure);
    solo.say(2, 1, append(at(0, 0), 1, 1, 1));
    solo.settle();
    solo.take();
    solo
}

/// A follower of 2 in term 1 whose log, `last` entries long, begins behind a snapshot at i5.
fn compacted(last: u64) -> Solo {
    let mut solo = Solo::with(1, 3, |builder| builder.retained_entries(0));
    solo.say(2, 1, append(at(0, 0), 1, last, 5));
    solo.settle();
    compact(&mut solo, 5);
    solo.take();
    assert_eq!(solo.status().compacted, LogIndex(5));
    solo
}

/// Takes a snapshot as a driver does.
pub(crate) fn compact(solo: &mut Solo, at: u64) {
    let mut meta = solo.raft.describe(LogIndex(at)).unwrap();
    let chunk = Bytes::from_static(b"state");
    meta.size = chunk.len() as u64;
    let stage = LogRecord::Stage {
        lane: Lane::Taken,
        id: meta.id,
        offset: 0,
        chunk,
    };
    let activate = LogRecord::Activate {
        meta: meta.clone(),
        log: OldLog::Keep,
    };
    for record in [stage, activate] {
        solo.image.apply(record).unwrap();
    }
    solo.raft.compact(solo.now, meta);
    solo.settle();
}

/// Dissertation §4.2.3: for as long as the shortest time-out, and not a moment longer.
#[test]
fn a_leader_is_protected_for_the_shortest_time_out() {
    for (later, granted) in [(ms(300) - NANO, false), (ms(300), true)] {
        let mut solo = following(|builder| builder);
        solo.now = solo.now + later;
        solo.say(3, 1, vote(true, at(1, 1)));
        assert_eq!(
            solo.take(),
            [(3, voted(true, 2, granted))],
            "after {later:?}"
        );
    }
}

#[test]
fn an_append_that_begins_before_the_base_counts_from_there() {
    let mut solo = compacted(8);
    solo.say(2, 1, append(at(3, 1), 1, 7, 8));
    solo.settle();
    assert_eq!((solo.stopped(), solo.status().last), (None, LogIndex(10)));
    assert_eq!(acks(&solo.take()), [10]);
}

/// Behind the base itself the terms are compared: what is compacted is of term 1.
#[test]
fn an_append_right_behind_the_base_must_fit_it() {
    let mut solo = compacted(5);
    solo.say(3, 2, append(at(5, 2), 2, 1, 5));
    solo.settle();
    let refusal = Body::Conflict {
        asked: LogIndex(5),
        hint: at(5, 1),
        round: synod_raft::Round(0),
    };
    assert_eq!(solo.take(), [(3, refusal)]);
    assert_eq!(solo.status().last, LogIndex(5));
    solo.say(3, 2, append(at(5, 1), 2, 1, 5));
    solo.settle();
    assert_eq!(acks(&solo.take()), [6]);
}

#[test]
fn reads_in_a_row_are_one_question() {
    let mut solo = following(|builder| builder);
    let read = |solo: &mut Solo| solo.raft.read(solo.now, ReadLevel::Linearizable).unwrap();
    let tickets = [read(&mut solo), read(&mut solo), read(&mut solo)];
    solo.pump();
    let asked = solo.take();
    let [(2, Body::Read { life, ticket })] = asked[..] else {
        panic!("one question: {asked:?}");
    };
    let index = Ok(LogIndex(1));
    let answer = Body::ReadAt {
        life,
        ticket,
        index,
    };
    solo.say(2, 1, answer);
    let answered = |event: &synod_raft::Event| match event {
        LogEvent::Read { ticket, .. } => Some(*ticket),
        _ => None,
    };
    let answered: Vec<Ticket> = solo.events.iter().filter_map(answered).collect();
    assert_eq!(answered, tickets);
}

fn unknown(solo: &Solo, ticket: Ticket) -> usize {
    let unknown =
        |event: &&synod_raft::Event| matches!(event, LogEvent::Unknown(t) if *t == ticket);
    solo.events.iter().filter(unknown).count()
}

#[test]
fn a_forwarded_command_is_waited_for_as_long_as_is_configured() {
    let mut solo = following(|builder| builder.forward_timeout(ms(1000)));
    let start = solo.now;
    let ticket = solo.propose("x").unwrap();
    while solo.now < start + ms(900) {
        solo.wait(ms(100));
        solo.say(2, 1, append(at(1, 1), 1, 0, 1));
    }
    let wake = solo.raft.deadline().unwrap();
    assert_eq!((wake.why, wake.at), ("forwarded request", start + ms(1000)));
    solo.wait(ms(100) - NANO);
    assert_eq!(unknown(&solo, ticket), 0, "not yet");
    solo.wait(NANO);
    assert_eq!(unknown(&solo, ticket), 1);
    let wake = solo.raft.deadline().unwrap();
    assert_eq!(wake.why, "silent leader", "nothing is waited for");
}

/// What was forwarded: the first ticket and the number of commands of each message.
fn forwarded(solo: &mut Solo) -> Vec<(u64, u64, usize)> {
    let of = |(_, body): &(u64, Body)| match body {
        Body::Propose {
            life,
            first,
            commands,
        } => Some((*life, first.0, commands.len())),
        _ => None,
    };
    solo.take().iter().filter_map(of).collect()
}

#[test]
fn forwarded_commands_share_a_message_up_to_its_limit() {
    let mut solo = following(|builder| builder.max_append_bytes(2 * TEN));
    let mut tickets = Vec::new();
    for _ in 0..7 {
        tickets.push(solo.raft.propose(solo.now, ten()).unwrap());
    }
    solo.pump();
    let first = tickets[0].0;
    let sent = forwarded(&mut solo);
    let parts: Vec<(u64, usize)> = sent.iter().map(|(_, at, count)| (*at, *count)).collect();
    assert_eq!(
        parts,
        [(first, 2), (first + 2, 2), (first + 4, 2), (first + 6, 1)]
    );
    // Each is answered by itself, and every ticket gets the answer that is its own.
    for (life, first, count) in sent {
        let outcome = Outcome::Accepted(LogIndex(first - tickets[0].0 + 2));
        solo.say(2, 1, proposed(life, Ticket(first), count as u32, outcome));
    }
    solo.say(2, 1, append(at(1, 1), 1, 7, 8));
    solo.settle();
    let committed = solo.events.iter().filter_map(|event| match event {
        LogEvent::Committed(committed) => Some(committed),
        _ => None,
    });
    let of_ours: Vec<(u64, Ticket)> = committed
        .flat_map(|committed| committed.iter())
        .filter_map(|(index, .., ticket)| Some((index.0, ticket?)))
        .collect();
    let expected: Vec<(u64, Ticket)> = (2..).zip(tickets).collect();
    assert_eq!(of_ours, expected);
}

/// A node on which exactly two commands of ten bytes may be under way.
fn two(builder: ConfigBuilder) -> ConfigBuilder {
    builder.max_uncommitted_bytes(2 * TEN).max_command_bytes(10)
}

#[test]
fn a_leader_takes_on_exactly_its_limit() {
    let mut solo = Solo::leading(two);
    assert_eq!(solo.status().uncommitted_bytes, 0);
    for _ in 0..2 {
        solo.raft.propose(solo.now, ten()).unwrap();
    }
    assert_eq!(solo.status().uncommitted_bytes, 2 * TEN);
    let busy = solo.raft.propose(solo.now, Bytes::new()).unwrap_err();
    assert!(matches!(busy.refusal, Refusal::Busy { limit, .. } if limit == 2 * TEN));
    solo.settle();
    solo.say(2, 1, appended(2, 0));
    assert_eq!(solo.status().uncommitted_bytes, TEN, "one is committed");
    solo.raft.propose(solo.now, ten()).unwrap();
    solo.raft.propose(solo.now, Bytes::new()).unwrap_err();
}

#[test]
fn a_follower_forwards_exactly_its_limit() {
    let mut solo = following(two);
    for _ in 0..2 {
        solo.raft.propose(solo.now, ten()).unwrap();
    }
    let busy = solo.raft.propose(solo.now, Bytes::new()).unwrap_err();
    assert!(matches!(busy.refusal, Refusal::Busy { limit, .. } if limit == 2 * TEN));
    solo.pump();
    solo.raft.propose(solo.now, Bytes::new()).unwrap_err();
    let [(life, first, 2)] = forwarded(&mut solo)[..] else {
        panic!("both in one message");
    };
    let outcome = Outcome::Accepted(LogIndex(2));
    solo.say(2, 1, proposed(life, Ticket(first), 2, outcome));
    for _ in 0..2 {
        solo.raft.propose(solo.now, ten()).unwrap();
    }
    solo.raft.propose(solo.now, Bytes::new()).unwrap_err();
}

/// A command that may be as long as the limit, and weighs more: alone it is let in.
#[test]
fn the_longest_command_passes_where_nothing_else_is_under_way() {
    let long = Bytes::from_static(&[7; 100]);
    let tight = |b: ConfigBuilder| b.max_uncommitted_bytes(100).max_command_bytes(100);
    for mut solo in [Solo::leading(tight), following(tight)] {
        solo.raft.propose(solo.now, long.clone()).unwrap();
        let busy = solo.raft.propose(solo.now, Bytes::new()).unwrap_err();
        assert!(matches!(busy.refusal, Refusal::Busy { .. }));
    }
    let mut solo = Solo::leading(tight);
    assert_eq!(
        pass_on(&mut solo, 1, &[100]),
        Outcome::Accepted(LogIndex(2))
    );
    let busy = Outcome::Refused(Denial::Busy { limit: 100 });
    assert_eq!(pass_on(&mut solo, 2, &[0]), busy);
}

/// Passes commands of these lengths on to a leader: what it answers.
fn pass_on(solo: &mut Solo, first: u64, lengths: &[usize]) -> Outcome {
    let command = |length: &usize| Bytes::from(vec![7; *length]);
    solo.take();
    solo.say(
        2,
        1,
        Body::Propose {
            life: 5,
            first: Ticket(first),
            commands: lengths.iter().map(command).collect(),
        },
    );
    let answer = |(to, body): (u64, Body)| match body {
        Body::Proposed { outcome, .. } if to == 2 => Some(outcome),
        _ => None,
    };
    solo.take().into_iter().find_map(answer).expect("an answer")
}

#[test]
fn a_leader_takes_on_exactly_its_limit_from_others() {
    let mut solo = Solo::leading(two);
    let long = Outcome::Refused(Denial::TooLarge { len: 11, limit: 10 });
    assert_eq!(pass_on(&mut solo, 1, &[3, 11]), long);
    let busy = Outcome::Refused(Denial::Busy {
        limit: 2 * TEN as u32,
    });
    assert_eq!(pass_on(&mut solo, 3, &[10]), Outcome::Accepted(LogIndex(2)));
    assert_eq!(
        pass_on(&mut solo, 4, &[10, 0]),
        busy,
        "all of it or nothing"
    );
    assert_eq!(pass_on(&mut solo, 6, &[10]), Outcome::Accepted(LogIndex(3)));
    assert_eq!(pass_on(&mut solo, 7, &[0]), busy);
    assert_eq!(solo.status().uncommitted_bytes, 2 * TEN);
}

#[test]
fn a_leader_out_of_reach_is_no_leader() {
    let mut solo = following(|builder| builder);
    solo.raft.link(solo.now, n(2), synod_core::Link::Down);
    let rejected = solo.raft.propose(solo.now, ten()).unwrap_err();
    assert_eq!(rejected.refusal, Refusal::NoLeader);
    let rejected = solo.raft.read(solo.now, ReadLevel::Linearizable);
    assert_eq!(rejected.unwrap_err().refusal, Refusal::NoLeader);
}

#[test]
fn a_state_machine_gets_as_much_as_it_may_have() {
    let x = 1 + Entry::OVERHEAD;
    for (limit, expected) in [(x, 1), (x + 1, 2), (2 * x, 2), (2 * x + 1, 3)] {
        let mut solo = Solo::with(1, 1, |builder| builder.max_unapplied_bytes(limit));
        solo.wake();
        solo.settle();
        for _ in 0..10 {
            solo.raft.propose(solo.now, "x".into()).unwrap();
        }
        let mut handed = 0;
        for _ in 0..5 {
            while let Some(output) = solo.raft.poll() {
                match output {
                    Output::Persist(write, records) => solo.writing.push((write, records)),
                    Output::Event(LogEvent::Committed(c)) => handed += c.entries.len(),
                    _ => {}
                }
            }
            for (write, _) in std::mem::take(&mut solo.writing) {
                solo.raft.persisted(solo.now, write);
            }
        }
        assert_eq!(handed, expected, "within {limit} bytes");
    }
}

/// A durable state machine that has what the snapshot holds needs no restoring, and one entry less
/// does.
#[test]
fn a_state_machine_right_at_the_snapshot_is_not_restored() {
    let solo = compacted(7);
    for (applied, restored) in [(5, false), (4, true)] {
        let config = synod_raft::Config::builder(n(1)).voters([1, 2, 3].map(n));
        let config = config.build().unwrap();
        let image = solo.image.restored(usize::MAX);
        let mut raft = synod_raft::Raft::new(config, image, solo.now).unwrap();
        raft.applied(solo.now, LogIndex(applied));
        let outputs: Vec<_> = std::iter::from_fn(|| raft.poll()).collect();
        let restores = outputs
            .iter()
            .any(|output| matches!(output, Output::Event(LogEvent::Restore(_))));
        assert_eq!(restores, restored, "with i{applied} applied");
    }
}

#[test]
fn a_full_window_of_bytes_lets_nothing_more_through() {
    let mut solo = Solo::leading(|b| b.max_append_bytes(2 * TEN).max_in_flight(100, 2 * TEN));
    for count in 1..=3 {
        solo.raft.propose(solo.now, ten()).unwrap();
        solo.settle();
        let sent = appends(&solo.take(), 3).len();
        assert_eq!(
            sent,
            usize::from(count < 3),
            "the append of command {count}"
        );
    }
    solo.say(3, 1, appended(2, 0));
    assert_eq!(appends(&solo.take(), 3), [(3, 1, 2)], "room for one again");
}

/// A heartbeat takes no room from what is to be sent.
#[test]
fn heartbeats_fill_no_window() {
    let mut solo = Solo::leading(|builder| builder.max_in_flight(1, 1 << 20));
    solo.wait(ms(50));
    solo.wait(ms(50));
    assert!(!appends(&solo.take(), 3).is_empty());
    solo.propose("x");
    assert_eq!(appends(&solo.take(), 3), [(1, 1, 1)]);
}

/// That a peer follows says nothing of its log: it stays probed until its place is found.
#[test]
fn an_answer_that_claims_nothing_finds_no_place() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 5, 0));
    solo.settle();
    solo.win(&[2, 3]);
    solo.take();
    solo.say(3, 2, appended(0, 0));
    let of = |solo: &Solo| solo.status().peers.into_iter().find(|p| p.node == n(3));
    let peer = of(&solo).unwrap();
    assert_eq!((peer.state, peer.next), ("probe", LogIndex(6)));
    assert_eq!(appends(&solo.take(), 3), []);
    solo.say(3, 2, appended(5, 0));
    let peer = of(&solo).unwrap();
    assert_eq!((peer.state, peer.next), ("replicate", LogIndex(7)));
}

/// One that has not answered in this term is asked behind the end of the log, not for all of it.
#[test]
fn a_new_link_to_one_that_was_silent_is_probed_at_the_end() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, append(at(0, 0), 1, 5, 0));
    solo.settle();
    solo.win(&[2]);
    solo.take();
    solo.raft
        .link(solo.now, n(3), synod_core::Link::Up(synod_core::LinkId(1)));
    solo.pump();
    assert_eq!(appends(&solo.take(), 3), [(6, 0, 0)]);
}

/// A refusal of exactly what is known to match is old news.
#[test]
fn a_late_refusal_of_what_matches_starts_no_search() {
    let mut solo = Solo::leading(|builder| builder);
    for _ in 0..3 {
        solo.propose("x");
    }
    solo.settle();
    solo.say(2, 1, appended(3, 0));
    solo.take();
    let conflict = |asked| Body::Conflict {
        asked: LogIndex(asked),
        hint: at(1, 1),
        round: synod_raft::Round(0),
    };
    solo.say(2, 1, conflict(3));
    assert_eq!(solo.status().peers[0].state, "replicate");
    solo.say(2, 1, conflict(4));
    assert_eq!(solo.status().peers[0].state, "probe");
}

#[test]
fn one_that_is_taken_out_is_given_up_after_twice_the_longest_time_out() {
    let mut solo = Solo::leading(|builder| builder.learners([n(7)]));
    solo.say(7, 1, appended(1, 0));
    let out = synod_core::Change::RemoveLearner(n(7));
    solo.raft.reconfigure(solo.now, out).unwrap();
    solo.settle();
    for beat in 1..=24 {
        assert_eq!(solo.status().peers.len(), 3, "before beat {beat}");
        solo.wait(ms(50));
        for peer in [2, 3] {
            solo.say(peer, 1, appended(2, 0));
        }
    }
    assert_eq!(solo.role(), Role::Leader);
    assert_eq!(solo.status().peers.len(), 2, "1200 ms are over");
}

/// What was given up makes room for as much.
#[test]
fn a_forwarded_command_that_is_given_up_counts_no_more() {
    let mut solo = following(two);
    for _ in 0..3 {
        for _ in 0..2 {
            solo.raft.propose(solo.now, ten()).unwrap();
        }
        solo.raft.propose(solo.now, ten()).unwrap_err();
        solo.pump();
        for _ in 0..20 {
            solo.wait(ms(100));
            solo.say(2, 1, append(at(1, 1), 1, 0, 1));
        }
    }
}

/// Two heartbeats fit into the shortest time-out, and no slower ones.
#[test]
fn the_slowest_heartbeat_is_half_of_the_shortest_time_out() {
    for (heartbeat, fits) in [(ms(150), true), (ms(150) + NANO, false)] {
        let builder = synod_raft::Config::builder(n(1)).voters([n(1)]);
        let config = builder.heartbeat_interval(heartbeat).build();
        assert_eq!(config.is_ok(), fits, "{heartbeat:?}");
    }
}

/// A read that was answered makes room for the next.
#[test]
fn an_answered_read_frees_its_slot() {
    let mut solo = following(|builder| builder.max_pending_reads(1));
    for _ in 0..3 {
        solo.raft.read(solo.now, ReadLevel::Stale).unwrap();
        solo.raft.read(solo.now, ReadLevel::Stale).unwrap_err();
        solo.pump();
    }
}

/// A read that was refused makes room for the next.
#[test]
fn a_refused_read_frees_its_slot() {
    let mut solo = following(|builder| builder.max_pending_reads(1));
    let level = ReadLevel::Linearizable;
    solo.raft.read(solo.now, level).unwrap();
    let busy = solo.raft.read(solo.now, level).unwrap_err();
    assert!(matches!(busy.refusal, Refusal::Busy { limit: 1, .. }));
    solo.pump();
    solo.say(3, 2, append(at(1, 1), 2, 0, 1));
    solo.raft.read(solo.now, level).unwrap();
    solo.raft.read(solo.now, level).unwrap_err();
}
