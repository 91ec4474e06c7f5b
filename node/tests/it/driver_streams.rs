//! Events, conditions, and committed entries as a stream.

use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use futures::{FutureExt, StreamExt};
use synod_core::{EntryKind, LogIndex, Role};
use synod_node::handle::CommittedStream;
use synod_node::{CommittedError, Config, NodeEvent, Observed, WaitError};
use synod_raft::Detail;

use crate::driver_support::{Ledger, One, Rt, SOON, one, one_with};

fn fill(node: &One, count: usize) {
    let commands = (0..count).map(|k| Bytes::from(format!("entry{k}")));
    for outcome in block_on(node.handle.propose_many(commands)) {
        outcome.unwrap();
    }
}

/// The next commands of a stream.
fn commands(stream: &mut CommittedStream, count: usize) -> Vec<(LogIndex, Bytes)> {
    let mut commands = Vec::new();
    while commands.len() < count {
        let entry = block_on(stream.next()).unwrap().unwrap();
        if entry.kind == EntryKind::Command {
            commands.push((entry.index, entry.payload));
        }
    }
    commands
}

#[test]
fn committed_entries_come_in_order_and_can_be_resumed() {
    let config = Config::builder().fetch_bytes(200).build().unwrap();
    let node = one(Rt::Tokio, config);
    fill(&node, 50);
    let mut stream = node.handle.committed_from(LogIndex(1));
    let first = commands(&mut stream, 20);
    let expected: Vec<_> = (0..20).map(|k| format!("entry{k}")).collect();
    assert!(first.iter().map(|(_, c)| c).eq(expected.iter()));
    drop(stream);

    let last = first.last().unwrap().0;
    let mut stream = node.handle.committed_from(last.next());
    let rest = commands(&mut stream, 30);
    assert_eq!(rest[0], (last.next(), "entry20".into()));
    assert_eq!(rest[29].1, "entry49");
    // It has seen everything, so it waits; then it sees what is new.
    assert!(stream.next().now_or_never().is_none());
    let applied = block_on(node.handle.propose("new".into())).unwrap();
    assert_eq!(commands(&mut stream, 1), [(applied.index, "new".into())]);
    block_on(node.handle.shutdown());
    let end = block_on(stream.next());
    assert_eq!(end, Some(Err(CommittedError::Stopped)));
    assert_eq!(block_on(stream.next()), None);
}

#[test]
fn entries_that_are_compacted_away_are_an_error_that_says_where_to_go_on() {
    let node = one(Rt::Tokio, Config::default());
    fill(&node, 50);
    block_on(node.handle.snapshot()).unwrap();
    let compacted = node.handle.wait(|s| s.compacted > LogIndex(10), SOON);
    let compacted = block_on(compacted).unwrap().compacted;
    let mut stream = node.handle.committed_from(LogIndex(2));
    let error = block_on(stream.next()).unwrap().unwrap_err();
    let expected = CommittedError::Compacted {
        wanted: LogIndex(2),
        first: compacted.next(),
    };
    assert_eq!(error, expected);
    assert_eq!(block_on(stream.next()), None);
    let mut stream = node.handle.committed_from(compacted.next());
    assert_eq!(
        block_on(stream.next()).unwrap().unwrap().index,
        compacted.next()
    );
}

#[test]
fn a_stream_from_beyond_the_end_waits_for_it() {
    let node = one(Rt::Smol, Config::default());
    let committed = block_on(node.handle.propose("x".into())).unwrap().index;
    let mut stream = node.handle.committed_from(committed.plus(3));
    fill(&node, 2);
    assert!(stream.next().now_or_never().is_none());
    fill(&node, 1);
    let entry = block_on(stream.next()).unwrap().unwrap();
    assert_eq!(
        (entry.index, entry.payload),
        (committed.plus(3), "entry0".into())
    );
}

#[test]
fn a_restart_hands_out_old_entries_again() {
    let node = one(Rt::Tokio, Config::default());
    fill(&node, 10);
    block_on(node.handle.shutdown());
    node.running.join().unwrap();
    let storage = node.storage.restart();
    let again = one_with(Rt::Tokio, Config::default(), storage, Ledger::default());
    let mut stream = again.handle.committed_from(LogIndex(1));
    assert_eq!(commands(&mut stream, 10)[9].1, "entry9");
}

#[test]
fn events_tell_what_happens() {
    let node = one(Rt::Tokio, Config::default());
    let mut events = node.handle.events();
    let index = block_on(node.handle.propose("x".into())).unwrap().index;
    block_on(node.handle.snapshot()).unwrap();
    let (mut committed, mut taken, mut details) = (false, false, 0);
    while let Some(event) = events.next().now_or_never() {
        let Some(Observed::Event(event)) = event else {
            panic!("nothing is lost");
        };
        committed |= matches!(&event, NodeEvent::Committed(i) if *i == index);
        taken |= matches!(&event, NodeEvent::SnapshotTaken(meta) if meta.index() == index);
        details += usize::from(event.detail::<Detail>().is_some());
    }
    assert!(committed && taken);
    assert_eq!(
        details, 0,
        "nothing of the protocol's own in this little time"
    );
}

#[test]
fn a_slow_subscriber_is_told_how_much_it_missed() {
    let config = Config::builder().max_events(4).build().unwrap();
    let node = one(Rt::Tokio, config);
    let mut events = node.handle.events();
    for _ in 0..10 {
        block_on(node.handle.propose("x".into())).unwrap();
    }
    let first = block_on(events.next());
    let Some(Observed::Missed(missed)) = first else {
        panic!("{first:?}");
    };
    assert!(missed >= 6, "{missed}");
    for _ in 0..4 {
        assert!(matches!(block_on(events.next()), Some(Observed::Event(_))));
    }
    assert!(events.next().now_or_never().is_none());
}

#[test]
fn a_wait_ends_with_what_it_waited_for_or_the_time() {
    let node = one(Rt::Tokio, Config::default());
    let status = block_on(node.handle.wait(|s| s.role == Role::Leader, SOON)).unwrap();
    assert_eq!(status.leader, Some(node.handle.node()));
    let goal = status.committed.plus(10);
    let handle = node.handle.clone();
    let waiting =
        std::thread::spawn(move || block_on(handle.wait(|status| status.applied >= goal, SOON)));
    fill(&node, 10);
    assert!(waiting.join().unwrap().unwrap().applied >= goal);

    let within = Duration::from_millis(50);
    let never = block_on(node.handle.wait(|_| false, within));
    let Err(WaitError::TimedOut { last, .. }) = never else {
        panic!("{never:?}");
    };
    assert_eq!(last.unwrap().node, node.handle.node());
}
