//! What the contract promises, on ZAB's synchronisation.

use alloc::collections::BTreeMap;

use bytes::Bytes;
use synod_core::{
    Entry, Generation, Lane, LogImage, LogIndex, LogRecord, NodeId, OldLog, SnapshotId,
    SnapshotMeta, Stamp,
};

use super::{Command, Event, Message, Zab};
use crate::cluster::{Cluster, Node};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);
const ALL: [NodeId; 3] = [A, B, C];

/// What is committed, as the first who said so had it on disk.
#[derive(Default)]
struct Observer(BTreeMap<LogIndex, (Stamp, Entry)>);

impl Observer {
    fn watch(&mut self, cluster: &mut Cluster<Zab>) {
        for (node, event) in cluster.events() {
            let disk = cluster.disk(node);
            match event {
                Event::Committed(through) => self.committed(node, disk, through),
                Event::Restore(meta) => {
                    // By the time that it is acted on, a newer one may be current already: then the
                    // next event but some says so, and what lies between is skipped.
                    let current = disk.snapshot().expect("current");
                    let contents = disk.snapshot_contents().expect("current");
                    assert!(
                        current.index() >= meta.index(),
                        "{node} {current:?} {meta:?}"
                    );
                    assert_eq!(*contents, self.state(current.index()), "{node}");
                }
                Event::Established(_) | Event::GaveUp => {}
            }
        }
    }

    fn committed(&mut self, node: NodeId, disk: &LogImage, through: LogIndex) {
        for index in (disk.compacted().0.0 + 1..=through.0).map(LogIndex) {
            let held = disk.get(index);
            let (stamp, entry) =
                held.unwrap_or_else(|| panic!("{node} committed {index}, not durable"));
            let held = (stamp, entry.clone());
            let agreed = self.0.entry(index).or_insert_with(|| held.clone());
            assert_eq!(*agreed, held, "{node} at {index}");
        }
    }

    /// The state machine at `index`: every command so far.
    fn state(&self, index: LogIndex) -> Vec<u8> {
        let prefix = self.0.range(..=index);
        prefix.flat_map(|(_, (_, e))| e.payload.to_vec()).collect()
    }

    fn last(&self) -> LogIndex {
        self.0.keys().last().copied().unwrap_or_default()
    }

    /// What a driver does when the application takes a snapshot: first the pieces, in a lane of its
    /// own. Any time may go by, with snapshots that arrive, until it is complete.
    fn take(&self, cluster: &mut Cluster<Zab>, node: NodeId) -> Option<SnapshotMeta> {
        let at = cluster.machine(node).committed.min(self.last());
        let history = &cluster.machine(node).history;
        let stamp = history
            .stamp_at(at)
            .filter(|_| at > history.compacted().0)?;
        let chunk = Bytes::from(self.state(at));
        let id = SnapshotId {
            origin: Generation(node.0),
            index: at,
        };
        let meta = SnapshotMeta {
            id,
            stamp,
            config: Bytes::new(),
            size: chunk.len() as u64,
        };
        let piece = LogRecord::Stage {
            lane: Lane::Taken,
            id,
            offset: 0,
            chunk,
        };
        Zab::store(cluster.disk_mut(node), piece);
        Some(meta)
    }
}

/// The snapshot becomes current, unless a newer one arrived meanwhile; the machine is told.
fn finish(cluster: &mut Cluster<Zab>, node: NodeId, meta: SnapshotMeta) {
    let record = LogRecord::Activate {
        meta: meta.clone(),
        log: OldLog::Keep,
    };
    Zab::store(cluster.disk_mut(node), record);
    cluster.call(node, Command::Compact(meta));
}

fn three(seed: u64) -> Cluster<Zab> {
    Cluster::new(&[1, 2, 3], seed)
}

fn elect(cluster: &mut Cluster<Zab>, leader: NodeId) {
    cluster.call(leader, Command::Lead);
    for node in ALL {
        if node != leader {
            cluster.call(node, Command::Follow(leader));
        }
    }
    cluster.settle();
}

fn propose(cluster: &mut Cluster<Zab>, leader: NodeId, count: usize) {
    for k in 0..count {
        let payload = Bytes::from(format!("<{leader}{k}>"));
        assert_eq!(cluster.call(leader, Command::Propose(payload)), Some(true));
    }
    cluster.settle();
}

/// The messages of the leader to `to`, in order, with everything else going on.
fn sync_of(cluster: &mut Cluster<Zab>, to: NodeId) -> Vec<&'static str> {
    let mut seen = Vec::new();
    for _ in 0..2000 {
        let first = cluster.wire().next().filter(|e| e.to == to);
        seen.extend(first.and_then(|e| match &e.message {
            Message::Diff => Some("DIFF"),
            Message::Trunc { .. } => Some("TRUNC"),
            Message::Snap { .. } => Some("SNAP"),
            Message::Proposal(_) => Some("PROPOSAL"),
            Message::NewLeader { .. } => Some("NEWLEADER"),
            Message::Commit { .. } => Some("COMMIT"),
            _ => None,
        }));
        cluster.turn();
    }
    seen.dedup();
    seen
}

fn logs_agree(cluster: &Cluster<Zab>) {
    let log = |node| {
        let disk = cluster.disk(node);
        let from = ALL
            .map(|node| cluster.disk(node).compacted().0)
            .into_iter()
            .max();
        let entries = disk.iter().filter(|(i, _, _)| Some(*i) > from);
        entries
            .map(|(i, s, e)| (i, s, e.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(log(A), log(B));
    assert_eq!(log(B), log(C));
}

#[test]
fn a_learner_that_lacks_the_end_gets_a_diff() {
    let (mut cluster, mut observer) = (three(1), Observer::default());
    elect(&mut cluster, B);
    propose(&mut cluster, B, 2);
    cluster.isolate(C, true);
    propose(&mut cluster, B, 5);
    cluster.isolate(C, false);
    let steps = sync_of(&mut cluster, C);
    assert_eq!(steps, ["DIFF", "PROPOSAL", "NEWLEADER", "COMMIT"]);
    observer.watch(&mut cluster);
    assert_eq!(cluster.machine(C).committed, LogIndex(7));
    logs_agree(&cluster);
}

/// Entries of a leader that nobody else has, and of a dead epoch that the next leader never saw.
#[test]
fn a_learner_with_more_is_truncated_to_what_is_shared() {
    let (mut cluster, mut observer) = (three(2), Observer::default());
    elect(&mut cluster, A);
    propose(&mut cluster, A, 2);
    cluster.isolate(A, true);
    for node in [B, C] {
        cluster.crash(node, 0);
    }
    propose(&mut cluster, A, 3);
    assert_eq!(cluster.disk(A).len(), 5);
    cluster.restart(B);
    cluster.restart(C);
    elect(&mut cluster, B);
    propose(&mut cluster, B, 1);
    cluster.isolate(A, false);
    cluster.call(A, Command::Follow(B));
    let steps = sync_of(&mut cluster, A);
    assert_eq!(steps, ["TRUNC", "PROPOSAL", "NEWLEADER", "COMMIT"]);
    observer.watch(&mut cluster);
    assert_eq!(cluster.disk(A).len(), 3);
    logs_agree(&cluster);
}

#[test]
fn a_learner_behind_the_log_gets_a_snapshot_and_resumes_it() {
    let (mut cluster, mut observer) = (three(3), Observer::default());
    elect(&mut cluster, B);
    cluster.isolate(C, true);
    propose(&mut cluster, B, 6);
    observer.watch(&mut cluster);
    let meta = observer.take(&mut cluster, B).expect("committed");
    finish(&mut cluster, B, meta);
    propose(&mut cluster, B, 3);
    cluster.isolate(C, false);
    // The link breaks after some pieces; the rest comes on the next, from where it stopped.
    while cluster.disk(C).staged().is_none_or(|(_, there)| there < 15) {
        cluster.turn();
    }
    cluster.crash(C, 0);
    cluster.restart(C);
    cluster.call(C, Command::Follow(B));
    let mut first = None;
    while first.is_none() {
        assert!(cluster.turn(), "it goes on");
        first = cluster.wire().find_map(|e| match &e.message {
            Message::Snap { offset, .. } => Some(*offset),
            _ => None,
        });
    }
    assert!(first >= Some(15), "resumes, {first:?}");
    let steps = sync_of(&mut cluster, C);
    assert_eq!(steps, ["SNAP", "PROPOSAL", "NEWLEADER", "COMMIT"]);
    observer.watch(&mut cluster);
    assert_eq!(cluster.machine(C).committed, LogIndex(9));
    assert_eq!(cluster.disk(C).compacted().0, LogIndex(6));
    logs_agree(&cluster);
}

/// NEWLEADER is acknowledged when history, then epoch, are durable; every tear between leaves a
/// node that may be asked again.
#[test]
fn the_epoch_never_stands_without_the_history() {
    for torn in 0..=4 {
        let mut cluster = three(4);
        cluster.isolate(C, true);
        elect(&mut cluster, B);
        propose(&mut cluster, B, 3);
        cluster.isolate(C, false);
        // From the moment at which it knows the epoch, the learner's disk takes its time: all of
        // the synchronisation is one write.
        while cluster.disk(C).state().is_none() {
            cluster.turn();
        }
        cluster.stall(C, true);
        let seen = |m: &Message| matches!(m, Message::NewLeaderSeen { .. });
        while cluster.turn() {
            assert!(!cluster.wire().any(|e| e.from == C && seen(&e.message)));
        }
        all_in_one_write(&mut cluster, C);
        cluster.crash(C, torn);
        let (entries, epoch) = (cluster.disk(C).len(), epochs_of(cluster.disk(C)).1);
        assert!(
            epoch == 0 || entries == 3,
            "{torn} records: {entries} entries, epoch {epoch}"
        );
        cluster.heal();
        cluster.call(C, Command::Follow(B));
        cluster.settle();
        assert_eq!(epochs_of(cluster.disk(C)).1, 1);
        logs_agree(&cluster);
    }
}

/// A stalled disk finishes the write that it has, and is given all that gathered meanwhile.
fn all_in_one_write(cluster: &mut Cluster<Zab>, node: NodeId) {
    cluster.stall(node, false);
    cluster.persist(node);
    cluster.stall(node, true);
    cluster.settle();
}

/// Accepted and current.
fn epochs_of(disk: &LogImage) -> (u64, u64) {
    let state = disk.state().map_or(&[0; 16][..], |state| state);
    let number = |at: &[u8]| u64::from_le_bytes(at.try_into().expect("a number"));
    (number(&state[..8]), number(&state[8..]))
}

/// A snapshot takes the place of a longer log of a dead epoch. Torn between any two records, the
/// history is the old or the new one, and what this node has acknowledged is in it.
#[test]
fn a_torn_installation_leaves_one_history() {
    let mut finished = 0;
    for torn in 0..20 {
        let (mut cluster, mut observer) = (three(6), Observer::default());
        elect(&mut cluster, A);
        propose(&mut cluster, A, 2);
        for node in [B, C] {
            cluster.crash(node, 0);
        }
        propose(&mut cluster, A, 7);
        cluster.crash(A, 0);
        cluster.restart(B);
        cluster.restart(C);
        elect(&mut cluster, B);
        propose(&mut cluster, B, 2);
        observer.watch(&mut cluster);
        let meta = observer.take(&mut cluster, B).expect("committed");
        finish(&mut cluster, B, meta);
        cluster.settle();

        cluster.restart(A);
        cluster.call(A, Command::Follow(B));
        while epochs_of(cluster.disk(A)).0 < 2 {
            cluster.turn();
        }
        cluster.stall(A, true);
        cluster.settle();
        all_in_one_write(&mut cluster, A);
        cluster.crash(A, torn);
        cluster.restart(A);
        let (last, current) = (
            cluster.machine(A).history.last(),
            cluster.machine(A).epochs.current,
        );
        let is_old = last == (LogIndex(9), Stamp::of(1));
        assert!(
            is_old || last == (LogIndex(4), Stamp::of(2)),
            "{torn} records: {last:?}"
        );
        assert!(current == 1 || !is_old, "{torn} records");
        finished += usize::from(current == 2);
        cluster.heal();
        cluster.call(A, Command::Follow(B));
        cluster.settle();
        logs_agree(&cluster);
    }
    assert!(
        (1..19).contains(&finished),
        "{finished} of 20 came to the end"
    );
}

/// The order of a link is the protocol's ground; a transport that drops in the middle of one is
/// noticed, at the next entry or at NEWLEADER.
#[test]
fn a_hole_in_a_link_is_noticed() {
    for lost in 1..=7 {
        let mut cluster = three(5);
        elect(&mut cluster, B);
        cluster.isolate(C, true);
        propose(&mut cluster, B, 7);
        cluster.isolate(C, false);
        let hit = |e: &synod_core::Envelope<Message>| matches!(&e.message, Message::Proposal(p) if e.to == C && p.first().0 == lost);
        while !cluster.wire().any(hit) {
            assert!(cluster.turn(), "{lost} is sent");
        }
        cluster.lose(hit);
        cluster.settle();
        assert_eq!(cluster.machine(C).committed, LogIndex(7), "lost {lost}");
        logs_agree(&cluster);
        // And when it is one of the broadcast phase, at the next.
        cluster.call(B, Command::Propose("lost".into()));
        while cluster.poll(B) {}
        cluster.lose(|envelope| envelope.to == C);
        cluster.settle();
        propose(&mut cluster, B, 1);
        assert_eq!(cluster.machine(C).committed, LogIndex(9));
        logs_agree(&cluster);
    }
}

/// Crashes between any two outputs with torn writes, links that break, leaders that change at any
/// time, snapshots: nothing that was committed is lost, nobody disagrees.
#[test]
fn no_committed_entry_is_lost_in_any_weather() {
    let (mut committed, mut snapshots) = (0, 0);
    for seed in 0..150 {
        let (mut cluster, mut observer) = (three(seed), Observer::default());
        let mut leader = A;
        let mut taken = BTreeMap::new();
        let terms = [100, 300, 1000][seed as usize % 3];
        for step in 0..6_000_u32 {
            cluster.random_step();
            observer.watch(&mut cluster);
            if step % terms == 0 {
                leader = *cluster.rng.pick(&ALL).expect("three");
                cluster.call(leader, Command::Lead);
            }
            if step % 20 == 0 {
                command(&mut cluster, leader, step);
            }
            let node = *cluster.rng.pick(&ALL).expect("three");
            if !cluster.is_alive(node) {
                taken.remove(&node); // the state machine is gone, and so is what it was taken of
            } else if cluster.is_idle(node) && cluster.rng.chance(10_000) {
                match taken.remove(&node) {
                    Some(meta) => finish(&mut cluster, node, meta),
                    None => {
                        taken.extend(observer.take(&mut cluster, node).map(|meta| (node, meta)))
                    }
                }
            }
        }
        cluster.heal();
        let before = observer.last();
        let leader = ALL.into_iter().cycle().take(9).find(|leader| {
            elect(&mut cluster, *leader);
            let follows = |node: NodeId| cluster.machine(node).leader() == Some(*leader);
            ALL.into_iter().all(follows)
                && cluster.call(*leader, Command::Propose("end".into())) == Some(true)
        });
        cluster.settle();
        observer.watch(&mut cluster);
        let end = cluster.machine(leader.expect("one of them can")).committed;
        assert!(end > before, "seed {seed}");
        assert!(
            ALL.into_iter().all(|n| cluster.machine(n).committed == end),
            "seed {seed}"
        );
        logs_agree(&cluster);
        committed += end.0;
        snapshots += ALL
            .into_iter()
            .filter(|n| cluster.disk(*n).snapshot().is_some())
            .count();
    }
    assert!(committed > 150 * 10, "only {committed} entries in all");
    assert!(snapshots > 100, "only {snapshots} snapshots in all");
}

/// What a session of an election would say: who leads, to whom looks for a leader.
fn command(cluster: &mut Cluster<Zab>, leader: NodeId, step: u32) {
    for node in ALL {
        if !cluster.is_alive(node) {
            continue;
        }
        match cluster.machine(node).leader() {
            None if node == leader => _ = cluster.call(node, Command::Lead),
            known if known != Some(leader) => _ = cluster.call(node, Command::Follow(leader)),
            _ => {}
        }
    }
    let payload = Bytes::from(format!("<{step}>"));
    let _ = cluster.call(leader, Command::Propose(payload));
}
