//! What the contract promises, on two-phase commit.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use synod_core::NodeId;

use super::{Command, Event, Message, Record, TwoPhase, Txn};
use crate::cluster::Cluster;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);
const SECOND: Duration = Duration::from_secs(1);

/// A user's own resource in each node, durable by itself: XA's side of the story.
#[derive(Default)]
struct Resources {
    prepared: BTreeSet<(NodeId, Txn)>,
    finished: BTreeMap<(NodeId, Txn), bool>,
    outcomes: BTreeMap<Txn, bool>,
    /// Who cannot do it.
    refuses: Option<NodeId>,
}

impl Resources {
    /// Does what the events say, durably, and then tells the machine.
    fn work(&mut self, cluster: &mut Cluster<TwoPhase>) {
        for (node, event) in cluster.events() {
            let command = match event {
                Event::Prepare(txn) if self.refuses == Some(node) => Command::Refused(txn),
                Event::Prepare(txn) => {
                    // Undone after a restart and asked for again while votes are still awaited.
                    let before = self.finished.remove(&(node, txn));
                    assert_ne!(before, Some(true), "{node} {txn:?}");
                    self.prepared.insert((node, txn));
                    Command::Prepared(txn)
                }
                Event::Commit(txn) => {
                    let known = self.prepared.contains(&(node, txn));
                    assert!(
                        known || self.finished.contains_key(&(node, txn)),
                        "{node} {txn:?}"
                    );
                    self.finish(node, txn, true)
                }
                Event::Abort(txn) => self.finish(node, txn, false),
                Event::Outcome { txn, committed } => {
                    assert_eq!(self.outcomes.insert(txn, committed), None, "said once");
                    continue;
                }
            };
            cluster.call(node, command);
        }
    }

    fn finish(&mut self, node: NodeId, txn: Txn, commit: bool) -> Command {
        self.prepared.remove(&(node, txn));
        let before = self.finished.insert((node, txn), commit);
        assert!(
            before.is_none_or(|before| before == commit),
            "{node} {txn:?}"
        );
        Command::Finished(txn)
    }

    /// After a restart of a node: what its resource holds.
    fn recover(&self, cluster: &mut Cluster<TwoPhase>, node: NodeId) {
        for (_, txn) in self.prepared.iter().filter(|(at, _)| *at == node) {
            cluster.call(node, Command::Found(*txn));
        }
    }

    /// All or none, and nobody was told otherwise.
    fn check(&self) {
        let mut decided = self.outcomes.clone();
        for ((node, txn), commit) in &self.finished {
            assert_eq!(
                *decided.entry(*txn).or_insert(*commit),
                *commit,
                "{node}: {txn:?}"
            );
        }
    }

    fn pass(&mut self, cluster: &mut Cluster<TwoPhase>, time: Duration) {
        for _ in 0..20 {
            cluster.pass(time / 20);
            self.work(cluster);
        }
    }
}

fn begin(cluster: &mut Cluster<TwoPhase>) -> Txn {
    let begun = cluster.call(A, Command::Begin(vec![B, C]));
    begun.flatten().expect("a transaction")
}

fn three(seed: u64) -> (Cluster<TwoPhase>, Resources) {
    (Cluster::new(&[1, 2, 3], seed), Resources::default())
}

#[test]
fn all_commit_and_all_forget() {
    let (mut cluster, mut resources) = three(1);
    let txn = begin(&mut cluster);
    resources.pass(&mut cluster, SECOND);
    assert_eq!(resources.outcomes, [(txn, true)].into());
    assert_eq!(
        resources.finished,
        [((B, txn), true), ((C, txn), true)].into()
    );
    assert!(cluster.disk(A).contains(&Record::Forgotten(txn)));
    assert!(cluster.machine(A).coordinated.is_empty() && cluster.machine(B).taken.is_empty());
}

#[test]
fn one_refusal_aborts_all_without_a_record() {
    let (mut cluster, mut resources) = three(2);
    resources.refuses = Some(C);
    let txn = begin(&mut cluster);
    resources.pass(&mut cluster, SECOND);
    assert_eq!(resources.outcomes, [(txn, false)].into());
    assert_eq!(resources.finished, [((B, txn), false)].into());
    assert_eq!(*cluster.disk(A), [Record::Life(1)]);
}

#[test]
fn the_vote_waits_for_the_record_and_the_outcome_for_the_decision() {
    let (mut cluster, mut resources) = three(3);
    cluster.settle();
    let txn = begin(&mut cluster);
    cluster.settle();
    cluster.stall(B, true);
    cluster.stall(A, true);
    resources.work(&mut cluster);
    while cluster.turn() {
        let vote = |m: &Message| matches!(m, Message::Vote { .. });
        assert!(!cluster.wire().any(|e| e.from == B && vote(&e.message)));
    }
    cluster.stall(B, false);
    cluster.settle();
    resources.work(&mut cluster);
    assert_eq!(resources.outcomes.len(), 0, "decided, not durable");
    cluster.stall(A, false);
    cluster.settle();
    resources.work(&mut cluster);
    assert_eq!(resources.outcomes, [(txn, true)].into());
}

/// A coordinator that crashes between votes and decision has aborted: its participants, who may
/// only ask, hear so when it is back.
#[test]
fn no_record_means_abort() {
    for torn in 0..=1 {
        let (mut cluster, mut resources) = three(4);
        cluster.settle();
        let txn = begin(&mut cluster);
        cluster.settle();
        cluster.stall(A, true);
        resources.work(&mut cluster);
        cluster.settle();
        cluster.crash(A, torn);
        resources.pass(&mut cluster, SECOND);
        assert_eq!(resources.finished.len(), 0, "in doubt");
        cluster.heal();
        resources.pass(&mut cluster, SECOND);
        let committed = torn == 1;
        assert_eq!(
            resources.finished,
            [((B, txn), committed), ((C, txn), committed)].into()
        );
    }
}

/// The user's work is durable, our record is not: it is found and undone.
#[test]
fn work_that_was_never_voted_for_is_undone() {
    let (mut cluster, mut resources) = three(5);
    cluster.settle();
    let txn = begin(&mut cluster);
    cluster.settle();
    cluster.stall(B, true);
    resources.work(&mut cluster);
    cluster.settle();
    cluster.crash(B, 0);
    cluster.isolate(A, true);
    cluster.stall(B, false);
    cluster.restart(B);
    assert!(resources.prepared.contains(&(B, txn)));
    resources.recover(&mut cluster, B);
    resources.pass(&mut cluster, SECOND);
    assert_eq!(resources.finished, [((B, txn), false)].into());
    cluster.heal();
    resources.pass(&mut cluster, SECOND);
    assert!(!resources.finished[&(C, txn)]);
}

/// Every party crashes between any two steps, its records torn and its unread events lost with it.
#[test]
fn all_or_none_in_any_weather() {
    let (mut committed, mut aborted) = (0, 0);
    for seed in 0..150 {
        let (mut cluster, mut resources) = three(seed);
        for step in 0..4_000_u32 {
            let ids = cluster.ids();
            let before: BTreeSet<_> = ids.iter().filter(|n| cluster.is_alive(**n)).collect();
            cluster.random_step();
            for node in &ids {
                if cluster.is_alive(*node) && !before.contains(node) {
                    resources.recover(&mut cluster, *node);
                }
            }
            if cluster.rng.chance(100_000) {
                resources.work(&mut cluster);
            }
            resources.check();
            if step % 200 == 0 && cluster.is_alive(A) {
                begin(&mut cluster);
            }
        }
        cluster.heal();
        for node in [A, B, C] {
            resources.recover(&mut cluster, node);
        }
        resources.pass(&mut cluster, SECOND * 2);
        resources.check();
        assert!(
            resources.prepared.is_empty(),
            "seed {seed}: {:?}",
            resources.prepared
        );
        for (txn, outcome) in &resources.outcomes {
            if *outcome {
                let done = |node| resources.finished.get(&(node, *txn)) == Some(&true);
                assert!(done(B) && done(C), "seed {seed}: {txn:?}");
            }
        }
        for node in [A, B, C] {
            let open = cluster.machine(node);
            assert!(
                open.coordinated.is_empty() && open.taken.is_empty(),
                "seed {seed}"
            );
        }
        let outcomes = resources.outcomes.values();
        committed += outcomes.clone().filter(|committed| **committed).count();
        aborted += outcomes.filter(|committed| !**committed).count();
    }
    assert!(
        committed > 150 && aborted > 150,
        "{committed} and {aborted}"
    );
}
