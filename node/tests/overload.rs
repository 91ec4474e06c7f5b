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
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{Disks, Live, Wire, introduce, leader, start};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use synod_core::{
    Batch, Chunks, LogIndex, LogLoad, LogLoaded, LogRecord, MachineError, NodeId, ReadLevel,
    Refusal, Rejected, Restored, StateMachine, Storage, StorageError,
};
use synod_node::handle::{Proposal, Reading};
use synod_node::wal::{Wal, WalConfig};
use synod_node::{Config, Handle, ProposeError, ReadError};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats
        .bytes_allocated
        .saturating_sub(stats.bytes_deallocated)
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What the documentation of the settings says that they allow, in bytes but for `outstanding`.
#[derive(Clone, Copy)]
struct Limits {
    outstanding: usize,
    queued: usize,
    answers: usize,
    /// Portions of streams of committed entries.
    portions: usize,
    command: usize,
    append: usize,
    in_flight: usize,
    uncommitted: usize,
    unapplied: usize,
    log: usize,
    frame: usize,
    outbound: usize,
    inbound: usize,
}

/// The defaults of `synod_node::Config`, `synod_raft::Config` and `StreamConfig`.
const DEFAULTS: Limits = Limits {
    outstanding: 65_536,
    queued: 64 * MIB,
    answers: 64 * MIB,
    portions: 64 * MIB,
    command: MIB,
    append: MIB,
    in_flight: 8 * MIB,
    uncommitted: 64 * MIB,
    unapplied: 32 * MIB,
    log: 64 * MIB,
    frame: 8 * MIB,
    outbound: 64 * MIB,
    inbound: 16 * MIB,
};

const TIGHT: Limits = Limits {
    outstanding: 220,
    queued: 256 * KIB,
    answers: 128 * KIB,
    portions: STREAMS * 32 * KIB,
    command: 4 * KIB,
    append: 64 * KIB,
    in_flight: 256 * KIB,
    uncommitted: 512 * KIB,
    unapplied: 256 * KIB,
    log: 512 * KIB,
    frame: 128 * KIB,
    outbound: 512 * KIB,
    inbound: 256 * KIB,
};

/// What a request costs besides its contents, a log's room of zeros, and a connection's buffers at
/// one end.
const REQUEST: usize = KIB;
const ZEROS: usize = MIB;
const BUFFERS: usize = 128 * KIB;

impl Limits {
    /// The sum: what one leader and three followers may hold. README.md, "Memory".
    const fn sum(&self) -> usize {
        // A log encodes a batch before it writes it, into a buffer that doubles as it grows.
        let every_node = self.log + self.unapplied + ZEROS + 2 * self.uncommitted;
        let asked = self.outstanding * REQUEST + self.queued + self.answers + self.portions;
        let leading = asked + self.uncommitted;
        // What is on its way is in memory at both ends, and at the follower until it is durable.
        // Three connections have two ends each; followers answer in a few bytes.
        let to_followers =
            3 * (self.in_flight + self.outbound + self.inbound + self.frame + 2 * BUFFERS);
        4 * every_node + leading + to_followers
    }
}

const VOTERS: [u64; 5] = [1, 2, 3, 4, 5];
const SLOW: u64 = 4;
const DEAD: u64 = 5;
/// Streams of committed entries that nobody reads.
const STREAMS: usize = 8;
/// The answer to every query.
const ANSWER: usize = 4 * KIB;

/// Counts.
struct Count(u64);

impl StateMachine for Count {
    fn apply(&mut self, _: LogIndex, _: &Bytes) -> Bytes {
        self.0 += 1;
        Bytes::new()
    }

    fn query(&self, _: &Bytes) -> Bytes {
        Bytes::from(vec![7; ANSWER])
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

async fn one(disks: &Disks, id: u64, limits: Option<Limits>) -> Live {
    let wire = Wire::start(id, |config| match limits {
        Some(limits) => config
            .max_frame(limits.frame)
            .max_outbound_bytes(limits.outbound)
            .max_inbound_bytes(limits.inbound),
        None => config,
    });
    // A debug build under load is slow; time is no limit on memory.
    let patience = Duration::from_millis(1500)..=Duration::from_millis(3000);
    let raft = cluster::raft(id, &VOTERS).election_timeout(patience);
    let raft = match limits {
        Some(limits) => raft
            .max_command_bytes(limits.command)
            .max_append_bytes(limits.append)
            .max_in_flight(64, limits.in_flight)
            .max_uncommitted_bytes(limits.uncommitted)
            .max_unapplied_bytes(limits.unapplied)
            .max_log_bytes(limits.log)
            .retained_entries(100),
        None => raft,
    };
    let config = match limits {
        Some(limits) => Config::builder()
            .max_outstanding(limits.outstanding)
            .max_queued_bytes(limits.queued)
            .max_answer_bytes(limits.answers)
            .max_streams(STREAMS)
            .fetch_bytes(limits.portions / STREAMS)
            .snapshot_every_entries(2000),
        None => Config::builder(),
    };
    let wal = match limits {
        Some(limits) => WalConfig::builder()
            .tail_bytes(limits.log)
            .segment_bytes(1 << 20),
        None => WalConfig::builder(),
    };
    let pause = Duration::from_millis(if id == SLOW { 50 } else { 0 });
    let storage = Slow(disks.open(id, wal.build().unwrap()), pause);
    start(
        wire.await,
        raft.build().unwrap(),
        storage,
        Count(0),
        config.build().unwrap(),
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

/// What the clients do.
#[derive(Clone, Copy)]
struct Load {
    payload: usize,
    /// Commands after which it is enough, and the time after which it is in any case.
    enough: u64,
    until: Instant,
}

/// Proposes as much as is taken and more.
async fn flood(handle: Handle, score: Arc<Score>, load: Load) {
    let mut under_way = FuturesUnordered::new();
    while Instant::now() < load.until && score.acknowledged.load(Relaxed) <= load.enough {
        let mut proposal = handle.propose(Bytes::from(vec![7; load.payload]));
        match (&mut proposal).now_or_never() {
            None => under_way.push(proposal),
            Some(Err(ProposeError::Rejected(rejected))) => {
                is_busy(&rejected);
                assert_eq!(rejected.command.map(|c| c.len()), Some(load.payload));
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
            is_busy(&rejected);
            score.rejected.fetch_add(1, Relaxed)
        }
        Err(error) => panic!("{error}"),
    };
}

fn is_busy(rejected: &Rejected) {
    assert!(
        matches!(rejected.refusal, Refusal::Busy { .. }),
        "{rejected}"
    );
}

/// Asks and does not fetch the answers, so that its share of the places is taken most of the time;
/// listens and does not hear.
async fn hoard(handle: Handle, share: usize, load: Load, over: Arc<AtomicBool>) {
    let deaf: Vec<_> = (0..8).map(|_| handle.events()).collect();
    let first = handle.status().await.unwrap().committed.next();
    let mut streams: Vec<_> = (0..STREAMS).map(|_| handle.committed_from(first)).collect();
    for stream in &mut streams {
        let _one_portion = stream.next().now_or_never();
    }
    let mut hoarded = VecDeque::new();
    while !over.load(Relaxed) {
        let proposal = handle.propose(Bytes::from(vec![7; load.payload]));
        let reading = handle.read(Bytes::from_static(b"how many"), ReadLevel::Stale);
        hoarded.push_back((proposal, reading));
        if hoarded.len() >= share / 2 {
            let (proposal, reading) = hoarded.pop_front().unwrap();
            fetched(proposal, reading).await;
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    drop((deaf, streams));
    for (proposal, reading) in hoarded {
        fetched(proposal, reading).await;
    }
}

/// However late it is fetched, there is an answer.
async fn fetched(proposal: Proposal, reading: Reading) {
    match proposal.await {
        Ok(_) => {}
        Err(ProposeError::Rejected(rejected)) => is_busy(&rejected),
        Err(error) => panic!("{error}"),
    }
    match reading.await {
        Ok(answered) => assert_eq!(answered.response.len(), ANSWER),
        Err(ReadError::Rejected(rejected)) => is_busy(&rejected),
        Err(ReadError::Refused(refusal)) => assert!(matches!(refusal, Refusal::Busy { .. })),
        Err(error) => panic!("{error}"),
    }
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

/// What was seen.
struct Seen {
    /// Live bytes beyond those from before, at the most.
    most: usize,
    acknowledged: u64,
    at_once: u64,
    /// By the machine, a turn later.
    rejected: u64,
    same_leader: bool,
}

/// A leader, a follower, a slow follower and a dead one; clients that flood it, and one that does
/// not fetch its answers.
async fn overloaded(limits: Option<Limits>, payload: usize, time: Duration) -> Seen {
    let known = limits.unwrap_or(DEFAULTS);
    let disks = Disks::new();
    let before = live();
    let mut nodes = Vec::new();
    for id in VOTERS.into_iter().filter(|id| *id != DEAD) {
        nodes.push(one(&disks, id, limits).await);
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
    let load = Load {
        payload,
        enough: 2 * (known.sum() / payload) as u64,
        until: Instant::now() + time,
    };
    let over = Arc::<AtomicBool>::default();
    let share = (known.outstanding / 4).min(known.answers / ANSWER);
    let hoarding = tokio::spawn(hoard(handle.clone(), share, load, Arc::clone(&over)));
    let flooding = (0..64).map(|_| tokio::spawn(flood(handle.clone(), Arc::clone(&score), load)));
    for client in flooding.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    over.store(true, Relaxed);
    hoarding.await.unwrap();
    let seen = Seen {
        most: watch.most().saturating_sub(before),
        acknowledged: score.acknowledged.load(Relaxed),
        at_once: score.at_once.load(Relaxed),
        rejected: score.rejected.load(Relaxed),
        same_leader: nodes[place].status().await.era == era,
    };
    println!(
        "{} bytes at most, the limits add up to {}; {} of {payload} bytes acknowledged, {} \
         rejected at once, {} by the machine",
        seen.most,
        known.sum(),
        seen.acknowledged,
        seen.at_once,
        seen.rejected,
    );
    for node in nodes {
        node.kill().await;
    }
    seen
}

/// The allocator counts for all of them: one after the other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_bytes_stay_within_the_sum_of_tight_limits() {
    let _alone = ALONE.lock().await;
    let payload = 2 * KIB;
    let seen = overloaded(Some(TIGHT), payload, Duration::from_secs(30)).await;
    let limit = TIGHT.sum();
    let flooded = seen.acknowledged as usize * payload;
    assert!(flooded > 2 * limit, "much more than fits went through");
    assert!(seen.at_once > 500, "there was a flood");
    assert!(seen.most > limit / 3, "the limits were put to use");
    assert!(seen.most <= limit + limit / 10, "{}", seen.most);
    assert!(seen.same_leader, "the leader went on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_bytes_stay_within_the_sum_of_the_default_limits() {
    let _alone = ALONE.lock().await;
    // Large commands: only these fill such queues faster than a disk empties them.
    let seen = overloaded(None, 256 * KIB, Duration::from_secs(10)).await;
    let limit = DEFAULTS.sum();
    assert!(seen.at_once + seen.rejected > 500, "there was a flood");
    assert!(seen.most > DEFAULTS.queued, "the queue was full");
    assert!(seen.most <= limit + limit / 10, "{}", seen.most);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fetches_nothing_costs_what_is_documented() {
    let _alone = ALONE.lock().await;
    let disks = Disks::new();
    let requests = 8192;
    let config = Config::builder()
        .max_outstanding(requests)
        .max_answer_bytes(MIB)
        .build()
        .unwrap();
    let wire = Wire::start(1, |config| config).await;
    let raft = cluster::raft(1, &[1]).build().unwrap();
    let node = start(
        wire,
        raft,
        disks.open(1, WalConfig::default()),
        Count(0),
        config,
    )
    .await;
    let nodes = [node];
    leader(&nodes).await;
    let handle = &nodes[0].handle;
    let mut hoarded = Vec::with_capacity(2 * requests);
    let before = live();
    for _ in 0..requests {
        hoarded.push(handle.read(Bytes::new(), ReadLevel::Linearizable));
    }
    for _ in 0..10 {
        // Answers that wait take up their bytes, too, so some of those were rejected: these try again
        // until there is no place.
        let mut read = handle.read(Bytes::new(), ReadLevel::Linearizable);
        match (&mut read).now_or_never() {
            None => hoarded.push(read),
            Some(Err(ReadError::Rejected(rejected))) => is_busy(&rejected),
            Some(other) => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let most = live().saturating_sub(before);
    let limit = requests * REQUEST + MIB;
    assert!(
        most > MIB / 2 && most <= limit + limit / 10,
        "{most} of {limit}"
    );
    let (mut answered, mut refused) = (0, 0);
    for read in hoarded {
        match read.await {
            Ok(_) => answered += 1,
            Err(ReadError::Refused(Refusal::Busy { .. })) => refused += 1,
            Err(ReadError::Rejected(rejected)) => is_busy(&rejected),
            Err(error) => panic!("{error}"),
        }
    }
    println!("{most} bytes, {limit} allowed; {answered} answered, {refused} refused");
    assert!(answered * ANSWER > MIB / 2 && answered * ANSWER <= MIB + ANSWER);
}
