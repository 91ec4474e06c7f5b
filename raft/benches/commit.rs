//! How fast the machine alone commits: several nodes in one thread, disks in no time, messages
//! moved without encoding. An entry is done when the leader hands it out.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "a bench has std"
)]

use std::collections::VecDeque;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use synod_core::{
    Envelope, Instant, Link, LinkId, LogEvent, LogIndex, Machine, NodeId, Output, ReplicatedLog,
    Restored, Role,
};
use synod_raft::{Config, Message, Raft};

/// Nodes in one thread: node `k` is at `k - 1`.
struct Cluster {
    nodes: Vec<Raft>,
    inbox: Vec<VecDeque<Envelope<Message>>>,
    now: Instant,
    leader: usize,
    committed: u64,
}

impl Cluster {
    fn new(size: u64) -> Self {
        let ids: Vec<NodeId> = (1..=size).map(NodeId).collect();
        let now = Instant::from_millis(1);
        let node = |id: &NodeId| {
            let config = Config::builder(*id)
                .voters(ids.iter().copied())
                .seed(id.0)
                .build();
            Raft::new(config.unwrap(), Restored::default(), now).unwrap()
        };
        let nodes: Vec<Raft> = ids.iter().map(node).collect();
        let inbox = ids.iter().map(|_| VecDeque::new()).collect();
        let mut cluster = Self {
            nodes,
            inbox,
            now,
            leader: 0,
            committed: 0,
        };
        for (place, id) in ids.iter().enumerate() {
            for peer in ids.iter().filter(|peer| *peer != id) {
                cluster.nodes[place].link(now, *peer, Link::Up(LinkId(1)));
            }
        }
        cluster.now = Instant::from_millis(10_000);
        cluster.nodes[0].tick(cluster.now);
        while cluster.turn() {}
        assert_eq!(cluster.nodes[0].status().role, Role::Leader);
        cluster
    }

    /// Lets every node do what it has to; whether anything moved.
    fn turn(&mut self) -> bool {
        let mut moved = false;
        for place in 0..self.nodes.len() {
            let node = &mut self.nodes[place];
            while let Some(envelope) = self.inbox[place].pop_front() {
                node.step(self.now, envelope);
            }
            while let Some(output) = node.poll() {
                moved = true;
                match output {
                    Output::Send(envelope) => {
                        let to = envelope.to.0 as usize - 1;
                        self.inbox[to].push_back(envelope);
                    }
                    Output::Persist(write, records) => {
                        black_box(&records);
                        drop(records);
                        node.persisted(self.now, write);
                    }
                    Output::Event(LogEvent::Committed(committed)) => {
                        if place == self.leader {
                            self.committed += committed.entries.len() as u64;
                        }
                        node.applied(self.now, committed.last());
                    }
                    Output::Event(_) | Output::Load(..) => {}
                }
            }
        }
        moved
    }

    /// Commits `count` commands, `window` of them under way at any time. The log stays as it is.
    fn extend(&mut self, count: u64, window: u64, command: &Bytes) {
        let goal = self.committed + count;
        let mut proposed = self.committed;
        while self.committed < goal {
            while proposed < goal && proposed - self.committed < window {
                self.nodes[self.leader]
                    .propose(self.now, command.clone())
                    .unwrap();
                proposed += 1;
            }
            self.turn();
        }
        while self.turn() {}
    }

    /// As [`extend`](Self::extend), and keeps the log short.
    fn commit(&mut self, count: u64, window: u64, command: &Bytes) {
        self.extend(count, window, command);
        self.compact();
    }

    /// Keeps the logs from growing, as a driver's snapshots do.
    fn compact(&mut self) {
        let now = self.now;
        for node in &mut self.nodes {
            let applied = node.status().applied;
            if applied > LogIndex::START
                && let Some(meta) = node.describe(applied)
            {
                node.compact(now, meta);
            }
        }
        while self.turn() {}
    }
}

fn commit(criterion: &mut Criterion) {
    for nodes in [3, 5] {
        let mut group = criterion.benchmark_group(format!("commit/{nodes}"));
        for (bytes, window) in [16, 256, 4096]
            .into_iter()
            .flat_map(|b| [1, 64, 1024].map(|w| (b, w)))
        {
            let mut cluster = Cluster::new(nodes);
            let command = Bytes::from(vec![7; bytes]);
            group.throughput(Throughput::Elements(1024));
            let id = BenchmarkId::new(format!("{bytes}B"), format!("window {window}"));
            group.bench_function(id, |b| b.iter(|| cluster.commit(1024, window, &command)));
        }
        group.finish();
    }
}

/// What an entry costs does not depend on how many lie before it.
fn log_length(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log length");
    group.throughput(Throughput::Elements(64));
    let command = Bytes::from(vec![7; 16]);
    for entries in [1_000, 100_000, 1_000_000] {
        let mut cluster = Cluster::new(3);
        cluster.extend(entries, 64, &command);
        group.bench_function(BenchmarkId::from_parameter(entries), |b| {
            b.iter(|| cluster.extend(64, 64, &command));
        });
    }
    group.finish();
}

criterion_group!(benches, commit, log_length);
criterion_main!(benches);
