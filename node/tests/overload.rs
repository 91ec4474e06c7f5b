//! A flood of clients, a dead follower and a slow one: what the limits promise, measured at the
//! allocator. A test binary of its own: the allocator counts for the whole process.
#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "tests have std, and a panic is how they fail"
)]

mod cluster;

use std::alloc::System;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{Disks, Live, Wire, introduce, leader, start};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use synod_core::{
    Batch, Chunks, LogIndex, LogLoad, LogLoaded, LogRecord, MachineError, NodeId, Refusal,
    Restored, StateMachine, Storage, StorageError,
};
use synod_node::wal::{Wal, WalConfig};
use synod_node::{Config, Handle, ProposeError};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats
        .bytes_allocated
        .saturating_sub(stats.bytes_deallocated)
}

const KIB: usize = 1 << 10;
/// What the settings below allow.
const OUTSTANDING: usize = 220;
const QUEUED: usize = 256 * KIB;
const COMMAND: usize = 4 * KIB;
const APPEND: usize = 64 * KIB;
const IN_FLIGHT: usize = 256 * KIB;
const UNCOMMITTED: usize = 512 * KIB;
const UNAPPLIED: usize = 256 * KIB;
const LOG: usize = 512 * KIB;
const FRAME: usize = 128 * KIB;
const OUTBOUND: usize = 512 * KIB;
const INBOUND: usize = 256 * KIB;
/// What a request costs besides its contents, a log's room of zeros, and a connection's buffers at
/// one end.
const REQUEST: usize = 200;
const ZEROS: usize = 1024 * KIB;
const BUFFERS: usize = 128 * KIB;

const VOTERS: [u64; 5] = [1, 2, 3, 4, 5];
const SLOW: u64 = 4;
const DEAD: u64 = 5;
const PAYLOAD: usize = 2 * KIB;
const FLOOD: Duration = Duration::from_secs(30);

/// The sum of the limits: what one leader and three followers may hold.
const fn limits() -> usize {
    // A log encodes a batch before it writes it, into a buffer that doubles as it grows.
    let every_node = LOG + UNAPPLIED + ZEROS + 2 * UNCOMMITTED;
    let leading = OUTSTANDING * REQUEST + QUEUED + UNCOMMITTED;
    // What is on its way is in memory at both ends, and at the follower until it is durable. Three
    // connections have two ends each; followers answer in a few bytes.
    let to_followers = 3 * (IN_FLIGHT + OUTBOUND + INBOUND + FRAME + 2 * BUFFERS);
    4 * every_node + leading + to_followers
}

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
        Ok(Chunks::from(Bytes::copy_from_slice(&self.0.to_be_bytes())))
    }

    fn restore(&mut self, _: Chunks) -> Result<(), MachineError> {
        Ok(())
    }
}

/// A disk that takes its time.
struct Slow(Wal, Duration);

#[async_trait::async_trait]
impl Storage for Slow {
    type Record = LogRecord;
    type Load = LogLoad;
    type Loaded = LogLoaded;
    type Restored = Restored;

    async fn restore(&self) -> Result<Restored, StorageError> {
        self.0.restore().await
    }

    async fn write(&self, records: Batch<LogRecord>) -> Result<(), StorageError> {
        if !self.1.is_zero() {
            tokio::time::sleep(self.1).await;
        }
        self.0.write(records).await
    }

    async fn load(&self, load: LogLoad) -> Result<Option<LogLoaded>, StorageError> {
        self.0.load(load).await
    }
}

async fn one(disks: &Disks, id: u64) -> Live {
    let wire = Wire::start(id, |config| {
        config
            .max_frame(FRAME)
            .max_outbound_bytes(OUTBOUND)
            .max_inbound_bytes(INBOUND)
    });
    let raft = cluster::raft(id, &VOTERS)
        .max_command_bytes(COMMAND)
        .max_append_bytes(APPEND)
        .max_in_flight(64, IN_FLIGHT)
        .max_uncommitted_bytes(UNCOMMITTED)
        .max_unapplied_bytes(UNAPPLIED)
        .max_log_bytes(LOG)
        .retained_entries(100)
        .election_timeout(Duration::from_millis(1000)..=Duration::from_millis(2000))
        .build();
    let config = Config::builder()
        .max_outstanding(OUTSTANDING)
        .max_queued_bytes(QUEUED)
        .snapshot_every_entries(2000)
        .build();
    let wal = WalConfig::builder().tail_bytes(LOG).segment_bytes(1 << 20);
    let pause = Duration::from_millis(if id == SLOW { 50 } else { 0 });
    let storage = Slow(disks.open(id, wal.build().unwrap()), pause);
    start(
        wire.await,
        raft.unwrap(),
        storage,
        Count(0),
        config.unwrap(),
    )
    .await
}

#[derive(Default)]
struct Score {
    acknowledged: AtomicU64,
    /// Before the call returned.
    at_once: AtomicU64,
    /// By the machine, a little later.
    rejected: AtomicU64,
}

/// Proposes as much as is taken and more.
async fn flood(handle: Handle, score: Arc<Score>, until: Instant) {
    let mut under_way = FuturesUnordered::new();
    let enough = 2 * (limits() / PAYLOAD) as u64;
    while Instant::now() < until && score.acknowledged.load(Relaxed) <= enough {
        let mut proposal = handle.propose(Bytes::from(vec![7; PAYLOAD]));
        match (&mut proposal).now_or_never() {
            None => under_way.push(proposal),
            Some(Err(ProposeError::Rejected(rejected))) => {
                assert!(
                    matches!(rejected.refusal, Refusal::Busy { .. }),
                    "{rejected}"
                );
                assert_eq!(rejected.command.map(|c| c.len()), Some(PAYLOAD));
                score.at_once.fetch_add(1, Relaxed);
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
            Some(other) => panic!("{other:?}"),
        }
        while let Some(Some(outcome)) = under_way.next().now_or_never() {
            note(&score, outcome.map(drop));
        }
        tokio::task::yield_now().await;
    }
    while let Some(outcome) = under_way.next().await {
        note(&score, outcome.map(drop));
    }
}

fn note(score: &Score, outcome: Result<(), ProposeError>) {
    match outcome {
        Ok(()) => score.acknowledged.fetch_add(1, Relaxed),
        Err(ProposeError::Rejected(rejected)) => {
            assert!(
                matches!(rejected.refusal, Refusal::Busy { .. }),
                "{rejected}"
            );
            score.rejected.fetch_add(1, Relaxed)
        }
        Err(error) => panic!("{error}"),
    };
}

/// Watches the allocator.
struct Watch {
    over: Arc<AtomicBool>,
    most: Arc<AtomicUsize>,
}

impl Watch {
    fn start() -> Self {
        let (over, most) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (its_over, its_most) = (Arc::clone(&over), Arc::clone(&most));
        std::thread::spawn(move || {
            while !its_over.load(Relaxed) {
                its_most.fetch_max(live(), Relaxed);
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        Self { over, most }
    }

    fn most(self) -> usize {
        self.over.store(true, Relaxed);
        self.most.load(Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_bytes_stay_within_the_sum_of_the_limits() {
    let disks = Disks::new();
    let before = live();
    let mut nodes = Vec::new();
    for id in VOTERS.into_iter().filter(|id| *id != DEAD) {
        nodes.push(one(&disks, id).await);
    }
    introduce(
        nodes
            .iter()
            .map(|node| (node.id(), &node.wire))
            .collect::<Vec<_>>(),
    );
    for node in &nodes {
        // A port at which nobody listens.
        let entered = node.wire.transport.set_peer(NodeId(DEAD), "127.0.0.1:1");
        entered.unwrap();
    }
    let place = leader(&nodes).await;
    let handle = &nodes[place].handle;
    assert!(handle.propose(Bytes::new()).await.is_ok());
    let era = nodes[place].status().await.era;

    let watch = Watch::start();
    let score = Arc::new(Score::default());
    let until = Instant::now() + FLOOD;
    let flooding = (0..64).map(|_| tokio::spawn(flood(handle.clone(), Arc::clone(&score), until)));
    for client in flooding.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let most = watch.most().saturating_sub(before);
    let limit = limits();
    let acknowledged = score.acknowledged.load(Relaxed);
    let at_once = score.at_once.load(Relaxed);
    let rejected = score.rejected.load(Relaxed);
    println!(
        "{most} bytes at most, the limits add up to {limit}; {acknowledged} acknowledged, \
         {at_once} rejected at once, {rejected} by the machine"
    );
    let flooded = acknowledged as usize * PAYLOAD;
    assert!(
        flooded > 2 * limit,
        "much more than fits went through: {flooded}"
    );
    assert!(at_once > 500, "there was a flood: {at_once}");
    assert!(
        most > limit / 3,
        "the limits were put to use: {most} of {limit}"
    );
    assert!(
        most <= limit + limit / 10,
        "{most} bytes, the limits add up to {limit}"
    );
    assert_eq!(nodes[place].status().await.era, era, "the leader went on");
}
