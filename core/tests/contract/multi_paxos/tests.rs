//! What the contract promises, on Multi-Paxos.

use alloc::collections::{BTreeMap, BTreeSet};
use core::convert::Infallible;
use core::time::Duration;

use bytes::Bytes;
use synod_core::{
    EntryKind, Lane, LogCommand, LogEvent, LogIndex, LogRecord, NodeId, OldLog, ReadLevel, Refusal,
    Role, SnapshotMeta, Ticket,
};

use super::{Message, MultiPaxos};
use crate::cluster::{Cluster, Faults, Node};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(5);
const SECOND: Duration = Duration::from_secs(1);

type Event = LogEvent<Infallible>;

/// What was said about one ticket of one life of one node.
#[derive(Debug, PartialEq, Clone)]
enum Fate {
    Committed(LogIndex),
    Displaced,
    Unknown,
}

/// The state machines, and what the whole cluster must agree on.
#[derive(Default)]
struct Observer {
    chosen: BTreeMap<LogIndex, (EntryKind, Bytes)>,
    applied: BTreeMap<NodeId, LogIndex>,
    fates: BTreeMap<(NodeId, Ticket), Fate>,
    reads: BTreeMap<(NodeId, Ticket), LogIndex>,
}

impl Observer {
    /// Takes every event, and lets the state machines follow.
    fn watch(&mut self, cluster: &mut Cluster<MultiPaxos>) {
        for (node, event) in cluster.events() {
            self.take(node, event);
        }
        for (node, through) in self.applied.clone() {
            cluster.call(node, LogCommand::Applied(through));
        }
    }

    /// State machines that keep up.
    fn pass(&mut self, cluster: &mut Cluster<MultiPaxos>, time: Duration) {
        for _ in 0..50 {
            cluster.pass(time / 50);
            self.watch(cluster);
        }
    }

    fn take(&mut self, node: NodeId, event: Event) {
        match event {
            Event::Committed(committed) => {
                for (index, kind, payload, ticket) in committed.iter() {
                    let at = self.applied.entry(node).or_default();
                    assert_eq!(index, at.next(), "{node} applies in order");
                    *at = index;
                    let value = (kind, payload.clone());
                    let agreed = self.chosen.entry(index).or_insert_with(|| value.clone());
                    assert_eq!(*agreed, value, "{node} at {index}");
                    if let Some(ticket) = ticket {
                        self.resolve(node, ticket, Fate::Committed(index));
                    }
                }
            }
            Event::Displaced(ticket) => self.resolve(node, ticket, Fate::Displaced),
            Event::Unknown(ticket) => self.resolve(node, ticket, Fate::Unknown),
            Event::Read { ticket, index } => {
                assert!(self.applied.get(&node).copied().unwrap_or_default() >= index);
                assert_eq!(self.reads.insert((node, ticket), index), None);
            }
            Event::Restore(meta) => _ = self.applied.insert(node, meta.index()),
            _ => {}
        }
    }

    fn resolve(&mut self, node: NodeId, ticket: Ticket, fate: Fate) {
        let before = self.fates.insert((node, ticket), fate);
        assert_eq!(before, None, "{node} resolves {ticket} once");
    }

    /// A new life: its state machine is empty and its tickets are new.
    fn forget(&mut self, node: NodeId) {
        self.applied.insert(node, LogIndex::START);
        self.fates.retain(|(n, _), _| *n != node);
        self.reads.retain(|(n, _), _| *n != node);
    }
}

fn three(seed: u64) -> Cluster<MultiPaxos> {
    Cluster::new(&super::VOTERS, seed)
}

/// Makes `node` campaign and lead.
fn lead(cluster: &mut Cluster<MultiPaxos>, node: NodeId) {
    assert!(cluster.tick(node));
    cluster.settle();
    assert_eq!(role(cluster, node), Role::Leader);
}

fn role(cluster: &Cluster<MultiPaxos>, node: NodeId) -> Role {
    synod_core::ReplicatedLog::status(cluster.machine(node)).role
}

fn propose(cluster: &mut Cluster<MultiPaxos>, node: NodeId, command: &'static str) -> Ticket {
    let reply = cluster.call(node, LogCommand::Propose(command.into()));
    reply.expect("alive").expect("leads").expect("a ticket")
}

#[test]
fn commits_on_all_nodes_and_reads_see_it() {
    let (mut cluster, mut observer) = (three(1), Observer::default());
    lead(&mut cluster, B);
    let tickets = ["x", "y", "z"].map(|command| propose(&mut cluster, B, command));
    let read = cluster.call(B, LogCommand::Read(ReadLevel::Linearizable));
    cluster.pass(SECOND);
    observer.watch(&mut cluster);
    assert_eq!(
        observer.applied.values().collect::<BTreeSet<_>>(),
        [&LogIndex(3)].into()
    );
    for (k, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(
            observer.fates[&(B, ticket)],
            Fate::Committed(LogIndex(k as u64 + 1))
        );
    }
    let read = read.unwrap().unwrap().unwrap();
    assert!(observer.reads.contains_key(&(B, read)));
    let refused = cluster
        .call(A, LogCommand::Propose("w".into()))
        .unwrap()
        .unwrap_err();
    assert_eq!(
        (refused.refusal, refused.leader),
        (Refusal::NotLeader, Some(B))
    );
    assert_eq!(refused.command, Some("w".into()), "handed back");
}

#[test]
fn an_acceptor_says_nothing_before_its_disk_has_it() {
    let mut cluster = three(2);
    cluster.isolate(C, true);
    cluster.stall(A, true);
    cluster.tick(B);
    cluster.settle();
    assert_eq!(
        role(&cluster, B),
        Role::Candidate,
        "the promise is not durable"
    );
    cluster.stall(A, false);
    cluster.settle();
    assert_eq!(role(&cluster, B), Role::Leader);
    cluster.stall(A, true);
    propose(&mut cluster, B, "x");
    cluster.pass(Duration::from_millis(50));
    let mut observer = Observer::default();
    observer.watch(&mut cluster);
    assert_eq!(observer.chosen.len(), 0, "the vote is not durable");
    cluster.stall(A, false);
    cluster.settle();
    observer.watch(&mut cluster);
    assert_eq!(observer.chosen.len(), 1);
}

/// The leader's accept leaves before its own vote is durable; its own vote counts only then.
#[test]
fn a_leader_counts_itself_once_its_vote_is_durable() {
    let mut cluster = three(3);
    cluster.isolate(C, true);
    lead(&mut cluster, B);
    cluster.stall(B, true);
    propose(&mut cluster, B, "x");
    cluster.settle();
    let mut observer = Observer::default();
    observer.watch(&mut cluster);
    assert_eq!(observer.chosen.len(), 0, "one durable vote of three");
    assert!(cluster.disk(A).get(LogIndex(1)).is_some());
}

/// Slots 1 and 3 reach one acceptor, 2 nobody: the next leader keeps 3, fills 2 with nothing, and
/// the old one learns what became of each.
#[test]
fn gaps_are_filled_and_every_ticket_is_resolved() {
    let (mut cluster, mut observer) = (three(4), Observer::default());
    lead(&mut cluster, B);
    let tickets = ["one", "two", "three"].map(|command| propose(&mut cluster, B, command));
    while cluster.poll(B) {}
    let second = |m: &Message| matches!(m, Message::Accept { entries, .. } if entries.first() == LogIndex(2));
    cluster
        .lose(|e| second(&e.message) || (e.to == C && matches!(e.message, Message::Accept { .. })));
    cluster.isolate(C, true);
    cluster.stall(B, true);
    cluster.settle();
    let slots = cluster.disk(A).iter().map(|(index, _, _)| index);
    assert!(slots.eq([LogIndex(1), LogIndex(3)]), "out of order");

    cluster.isolate(B, true);
    cluster.isolate(C, false);
    cluster.isolate(B, true);
    while role(&cluster, A) != Role::Leader {
        cluster.tick(A);
        cluster.settle();
    }
    propose(&mut cluster, A, "four");
    cluster.pass(SECOND / 10);
    cluster.heal();
    cluster.pass(SECOND);
    observer.watch(&mut cluster);
    let log = observer
        .chosen
        .values()
        .map(|(kind, payload)| (*kind, &payload[..]));
    let command = EntryKind::Command;
    assert_eq!(
        log.collect::<Vec<_>>(),
        [
            (command, &b"one"[..]),
            (EntryKind::Blank, b""),
            (command, b"three"),
            (command, b"four")
        ]
    );
    let fates = tickets.map(|ticket| observer.fates[&(B, ticket)].clone());
    let at = |index| Fate::Committed(LogIndex(index));
    assert_eq!(fates, [at(1), Fate::Displaced, at(3)]);
}

/// No ABA: a vote that was written over is not durable because the older write was.
#[test]
fn an_older_write_says_nothing_of_a_newer_vote() {
    let (mut cluster, mut observer) = (three(7), Observer::default());
    cluster.isolate(C, true);
    lead(&mut cluster, B);
    cluster.stall(A, true);
    cluster.stall(B, true);
    propose(&mut cluster, B, "old");
    cluster.settle(); // A's vote for it is being written
    cluster.isolate(A, true);
    cluster.isolate(C, false);
    cluster.isolate(A, true);
    cluster.crash(B, 0);
    cluster.stall(B, false);
    cluster.restart(B);
    while role(&cluster, B) != Role::Leader {
        cluster.tick(B);
        cluster.settle();
    }
    cluster.isolate(A, false);
    propose(&mut cluster, B, "new");
    cluster.pass(SECOND / 10);
    observer.watch(&mut cluster);
    cluster.stall(A, false);
    cluster.persist(A);
    cluster.stall(A, true);
    cluster.settle();
    assert_eq!(on_disk(&cluster), "old");
    assert!(
        cluster.events().iter().all(|(node, _)| *node != A),
        "not handed out"
    );
    cluster.heal();
    cluster.settle();
    assert_eq!(on_disk(&cluster), "new");
    observer.watch(&mut cluster);
    assert_eq!(observer.applied[&A], LogIndex(1));
}

/// What A has on disk in the first slot.
fn on_disk(cluster: &Cluster<MultiPaxos>) -> Bytes {
    let (_, entry) = cluster.disk(A).get(LogIndex(1)).expect("a vote");
    entry.payload.clone()
}

/// Two nodes send the same bytes for the same slot: one of them must not be told that it happened.
#[test]
fn equal_bytes_are_not_the_same_proposal() {
    let (mut cluster, mut observer) = (three(5), Observer::default());
    lead(&mut cluster, B);
    cluster.isolate(B, true);
    let lost = propose(&mut cluster, B, "add 1");
    while role(&cluster, A) != Role::Leader {
        cluster.tick(A);
        cluster.settle();
    }
    let won = propose(&mut cluster, A, "add 1");
    cluster.pass(SECOND / 10);
    cluster.heal();
    cluster.pass(SECOND);
    observer.watch(&mut cluster);
    assert_eq!(observer.fates[&(A, won)], Fate::Committed(LogIndex(1)));
    assert_eq!(observer.fates[&(B, lost)], Fate::Unknown);
}

#[test]
fn a_restart_from_records_reads_the_log_back_through_loads() {
    let (mut cluster, mut observer) = (three(6), Observer::default());
    lead(&mut cluster, B);
    for _ in 0..10 {
        propose(&mut cluster, B, "x");
    }
    cluster.pass(SECOND / 10);
    observer.watch(&mut cluster);
    snapshot(&mut cluster, A, LogIndex(4));
    cluster.settle();
    assert_eq!(cluster.disk(A).len(), 6, "compacted");
    for node in [A, B, C] {
        cluster.crash(node, 0);
        observer.forget(node);
    }
    cluster.heal();
    cluster.pass(SECOND * 2);
    observer.watch(&mut cluster);
    let leader = [A, B, C]
        .into_iter()
        .find(|n| role(&cluster, *n) == Role::Leader);
    propose(&mut cluster, leader.expect("a leader"), "y");
    cluster.pass(SECOND / 10);
    observer.watch(&mut cluster);
    assert_eq!(observer.chosen[&LogIndex(11)].1, "y");
    assert_eq!(observer.applied[&A], LogIndex(11));
}

/// What a driver does with a snapshot of the application.
fn snapshot(cluster: &mut Cluster<MultiPaxos>, node: NodeId, index: LogIndex) {
    let meta = synod_core::ReplicatedLog::describe(cluster.machine(node), index);
    let meta: SnapshotMeta = meta.expect("applied");
    let (id, chunk) = (meta.id, Bytes::new());
    let disk = cluster.disk_mut(node);
    let piece = LogRecord::Stage {
        lane: Lane::Taken,
        id,
        offset: 0,
        chunk,
    };
    MultiPaxos::store(disk, piece);
    MultiPaxos::store(
        disk,
        LogRecord::Activate {
            meta: meta.clone(),
            log: OldLog::Keep,
        },
    );
    cluster
        .call(node, LogCommand::Compact(meta))
        .unwrap()
        .unwrap();
}

/// Loss, duplication, reordering, crashes between any two outputs with torn writes: nobody
/// disagrees, and when it is over everything goes on.
#[test]
fn agrees_in_any_weather() {
    let mut committed = 0;
    for seed in 0..150 {
        let (mut cluster, mut observer) = (three(seed), Observer::default());
        cluster.faults = Faults {
            lose: true,
            duplicate: true,
            reorder: true,
        };
        for step in 0..3_000_u32 {
            let alive = cluster.ids().into_iter().filter(|id| cluster.is_alive(*id));
            let before = alive.collect::<BTreeSet<_>>();
            cluster.random_step();
            for node in before {
                if !cluster.is_alive(node) {
                    observer.watch(&mut cluster);
                    observer.forget(node);
                }
            }
            observer.watch(&mut cluster);
            if step % 20 == 0 {
                for node in cluster.ids() {
                    let command = Bytes::from(format!("{seed}/{step}/{node}"));
                    let _ = cluster.call(node, LogCommand::Propose(command));
                }
            }
        }
        cluster.heal();
        observer.pass(&mut cluster, SECOND * 3);
        let leaders = [A, B, C]
            .into_iter()
            .filter(|n| role(&cluster, *n) == Role::Leader);
        let leader = leaders.max_by_key(|n| cluster.machine(*n).promised);
        propose(&mut cluster, leader.expect("a leader"), "end");
        observer.pass(&mut cluster, SECOND);
        let last = *observer.chosen.keys().last().expect("the end");
        assert_eq!(observer.chosen[&last].1, "end", "seed {seed}");
        assert!(
            observer.applied.values().all(|at| *at == last),
            "seed {seed}: {:?} of {last}",
            observer.applied
        );
        let commands = observer
            .chosen
            .values()
            .filter(|v| v.0 == EntryKind::Command);
        let distinct = commands
            .clone()
            .map(|v| v.1.clone())
            .collect::<BTreeSet<_>>();
        assert_eq!(distinct.len(), commands.count(), "seed {seed}: once each");
        committed += distinct.len();
    }
    assert!(
        committed > 150 * 15,
        "only {committed} commands in all: the weather is too bad"
    );
}
