//! The whole thing: three nodes over TCP on loopback, every write synced to disk before it counts.
//!
//! `cargo bench -p synod-node --bench end_to_end`. An iteration is one command, proposed at the
//! leader, committed and answered; 1, 64 or 1024 clients propose in a loop. The figures printed in
//! between say how close that comes to what the disk can do: a bare loop of writes and `fdatasync` on
//! the same disk, and what the leader's log asked of it. Files lie under the target directory. All
//! three nodes share the disk, which a real cluster does not.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    missing_docs,
    reason = "a benchmark fails loudly and says what it found"
)]

#[path = "../tests/cluster/mod.rs"]
mod cluster;

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{Disks, Live, Wire, introduce, leader, raft, start};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use synod_core::mem::{MemNetwork, MemStorage};
use synod_core::{Chunks, Clock, LogIndex, MachineError, NodeId, StateMachine, StorageError};
use synod_node::clock::TokioClock;
use synod_node::wal::{Wal, WalConfig, WalStats};
use synod_node::{ApplyOn, Config, Handle, Node, Parts};
use synod_raft::Raft;
use tokio::runtime::Runtime;

const CLIENTS: [u64; 3] = [1, 64, 1024];

/// Counts.
struct Count(u64);

impl StateMachine for Count {
    fn apply(&mut self, _: LogIndex, _: &Bytes) -> Bytes {
        self.0 += 1;
        Bytes::new()
    }

    fn query(&self, _: &Bytes) -> Bytes {
        Bytes::new()
    }

    fn snapshot(&self) -> Result<Chunks, MachineError> {
        Ok(Chunks::from(Bytes::new()))
    }

    fn restore(&mut self, _: Chunks) -> Result<(), MachineError> {
        Ok(())
    }
}

/// Three nodes, and the leader's place.
struct Cluster {
    disks: Disks,
    nodes: Vec<Live>,
    wals: Vec<Wal>,
    leader: usize,
}

impl Cluster {
    async fn start() -> Self {
        let disks = Disks::new();
        let (mut nodes, mut wals) = (Vec::new(), Vec::new());
        for id in 1..=3 {
            let wal = disks.open(id, WalConfig::default());
            let wire = Wire::start(id, |config| config).await;
            let raft = raft(id, &[1, 2, 3]).build().unwrap();
            wals.push(wal.clone());
            nodes.push(start(wire, raft, wal, Count(0), Config::default()).await);
        }
        introduce(
            nodes
                .iter()
                .map(|node| (node.id(), &node.wire))
                .collect::<Vec<_>>(),
        );
        let leader = leader(&nodes).await;
        Self {
            disks,
            nodes,
            wals,
            leader,
        }
    }

    fn handle(&self) -> &Handle {
        &self.nodes[self.leader].handle
    }

    fn stats(&self) -> WalStats {
        self.wals[self.leader].stats()
    }
}

/// `count` commands by `clients` tasks, and how long each took.
async fn propose(handle: &Handle, clients: u64, count: u64) -> Vec<Duration> {
    let command = Bytes::from_static(&[7; 16]);
    let tasks = (0..clients).map(|client| {
        let share = count / clients + u64::from(client < count % clients);
        let (handle, command) = (handle.clone(), command.clone());
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            for _ in 0..share {
                let begun = Instant::now();
                handle.propose(command.clone()).await.unwrap();
                latencies.push(begun.elapsed());
            }
            latencies
        })
    });
    let mut latencies = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        latencies.extend(task.await.unwrap());
    }
    latencies
}

/// What the disk can do when one thread writes 512 bytes and syncs, again and again.
fn bare_syncs_per_second(disks: &Disks) -> f64 {
    let path = disks.path(0);
    let mut file = File::create(path).unwrap();
    // Room filled ahead, as the log does, so that a sync need not write the file's length.
    file.write_all(&[0; 1 << 20]).unwrap();
    file.sync_all().unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    // The best of several windows: on a machine that others use, too, a loop that sleeps in every
    // sync waits for the processor most of the time, and that is not the disk's doing.
    let windows = (0..20).map(|_| {
        let (begun, mut syncs) = (Instant::now(), 0_u32);
        while begun.elapsed() < Duration::from_millis(100) && syncs < 2048 {
            file.write_all(&[1; 512]).unwrap();
            file.sync_data().unwrap();
            syncs += 1;
        }
        std::io::Seek::rewind(&mut file).unwrap();
        f64::from(syncs) / begun.elapsed().as_secs_f64()
    });
    windows.fold(0.0, f64::max)
}

fn report(runtime: &Runtime, cluster: &Cluster, clients: u64, bare: f64) {
    let before = cluster.stats();
    let count = (clients * 50).clamp(200, 20_000);
    let begun = Instant::now();
    let mut latencies = runtime.block_on(propose(cluster.handle(), clients, count));
    let wall = begun.elapsed().as_secs_f64();
    latencies.sort();
    let at = |share: usize| latencies[(latencies.len() - 1) * share / 100].as_micros();
    let after = cluster.stats();
    let syncs = (after.syncs - before.syncs) as f64;
    println!(
        "{clients} clients: {:.0} operations/s; latency p50 {} µs, p99 {} µs; \
         leader {:.0} syncs/s (bare fdatasync {bare:.0}/s); {:.1} entries per sync",
        count as f64 / wall,
        at(50),
        at(99),
        syncs / wall,
        count as f64 / syncs,
    );
}

/// The process's CPU time so far, kernel time included; `None` where there is no `/proc`.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which may hold anything: the 12th and 13th field, in hundredths of a second.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let mut field = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (field()? + field()?)))
}

/// What the process costs while nobody asks for anything.
fn report_idle(runtime: &Runtime, who: &str) {
    const WHILE: Duration = Duration::from_secs(5);
    let before = cpu_time();
    runtime.block_on(async { tokio::time::sleep(WHILE).await });
    if let (Some(before), Some(after)) = (before, cpu_time()) {
        println!(
            "{who}: {} ms of CPU in {} s, measured in steps of 10 ms",
            (after - before).as_millis(),
            WHILE.as_secs()
        );
    }
}

/// 10,000 followers that hear nothing, and whose election timeout is an hour away: what is between
/// two deadlines.
fn idle_followers() {
    const FOLLOWERS: u64 = 10_000;
    let runtime = Runtime::new().unwrap();
    let clock = TokioClock::new();
    let config = Config::builder().apply_on(ApplyOn::Driver).build().unwrap();
    let hour = Duration::from_secs(3600);
    for id in 1..=FOLLOWERS {
        let raft = raft(id, &[id, id + FOLLOWERS]).election_timeout(hour..=2 * hour);
        let parts = Parts {
            storage: MemStorage::new(),
            transport: MemNetwork::new(16).join(NodeId(id)),
            clock,
        };
        let config = config.clone();
        runtime.block_on(async {
            let opened = Node::open(parts, Count(0), config, |restored| {
                let raft = Raft::new(raft.build().unwrap(), restored, clock.now());
                raft.map_err(|error| StorageError::Failed(error.to_string()))
            });
            tokio::spawn(opened.await.unwrap().0.run());
        });
    }
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(500)).await });
    report_idle(&runtime, "10,000 followers between two deadlines");
    runtime.shutdown_background();
}

fn end_to_end(criterion: &mut Criterion) {
    idle_followers();
    let runtime = Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    report_idle(
        &runtime,
        "three idle nodes, a heartbeat to each follower every 50 ms",
    );
    let mut group = criterion.benchmark_group("end_to_end");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    for clients in CLIENTS {
        // Each time anew: a disk that others use too is not the same a minute later.
        let bare = bare_syncs_per_second(&cluster.disks);
        report(&runtime, &cluster, clients, bare);
        group.bench_function(BenchmarkId::new("propose", clients), |bencher| {
            bencher.iter_custom(|count| {
                // Whole rounds of all clients: a lone command among many clients is another case.
                let rounds = count.next_multiple_of(clients);
                let begun = Instant::now();
                runtime.block_on(propose(cluster.handle(), clients, rounds));
                begun.elapsed().mul_f64(count as f64 / rounds as f64)
            });
        });
    }
    group.finish();
    runtime.block_on(async {
        for node in cluster.nodes {
            node.stop().await;
        }
    });
}

criterion_group!(benches, end_to_end);
criterion_main!(benches);
