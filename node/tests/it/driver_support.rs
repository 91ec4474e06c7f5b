//! What the tests of the driver share: runtimes, a clock, state machines, nodes.

use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::oneshot;
use futures::executor::block_on;
use synod_core::mem::{MemNetwork, MemStorage, MemTransport};
use synod_core::{
    Chunks, Clock, Instant, LogIndex, MachineError, NodeId, Role, StateMachine, StorageError,
};
use synod_node::{Config, Handle, Metrics, Node, NodeError, Parts};
use synod_raft::{Config as RaftConfig, Message, Raft};

pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Where a node runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rt {
    /// A thread that blocks on it: no runtime at all.
    Bare,
    Tokio,
    Smol,
}

pub(crate) const RUNTIMES: [Rt; 3] = [Rt::Bare, Rt::Tokio, Rt::Smol];

/// A future that runs elsewhere; dropping it stops it.
pub(crate) struct Running<T> {
    result: Option<oneshot::Receiver<T>>,
    _stop: oneshot::Sender<()>,
}

impl<T> Running<T> {
    /// Waits for its end.
    pub(crate) fn join(mut self) -> T {
        let result = self.result.take().unwrap();
        block_on(result).expect("the future has not been dropped")
    }
}

pub(crate) fn spawn<T: Send + 'static>(
    rt: Rt,
    future: impl Future<Output = T> + Send + 'static,
) -> Running<T> {
    let (sender, result) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let job = async move {
        let future = Box::pin(future);
        if let futures::future::Either::Left((value, _)) =
            futures::future::select(future, stopped).await
        {
            let _nobody_listens = sender.send(value);
        }
    };
    match rt {
        Rt::Bare => drop(std::thread::spawn(|| block_on(job))),
        Rt::Tokio => {
            static TOKIO: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
            let tokio = TOKIO.get_or_init(|| tokio::runtime::Runtime::new().unwrap());
            drop(tokio.spawn(job));
        }
        Rt::Smol => smol::spawn(job).detach(),
    }
    Running {
        result: Some(result),
        _stop: stop,
    }
}

/// Real time, on any runtime.
#[derive(Clone, Copy)]
pub(crate) struct WallClock(std::time::Instant);

impl WallClock {
    pub(crate) fn new() -> Self {
        Self(std::time::Instant::now())
    }
}

#[async_trait::async_trait]
impl Clock for WallClock {
    fn now(&self) -> Instant {
        Instant::START + self.0.elapsed()
    }

    async fn sleep_until(&self, at: Instant) {
        futures_timer::Delay::new(at.since(self.now())).await;
    }
}

/// Remembers every command. The response to a command is how many there are now; the answer to any
/// query is all of them, with a space between. A command `sleep MS` takes that long, and `panic`
/// panics. Clones share what they hold, so that a test can look.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    lines: Arc<Mutex<Vec<Bytes>>>,
    /// What a durable ledger has applied; one in memory starts anew each time.
    applied: Arc<Mutex<Option<LogIndex>>>,
    /// Why it gives no snapshots.
    pub(crate) no_snapshots: Option<&'static str>,
    /// Whether it takes over no snapshots.
    refuses: Arc<Mutex<bool>>,
}

impl Ledger {
    pub(crate) fn durable() -> Self {
        let ledger = Self::default();
        *ledger.applied.lock().unwrap() = Some(LogIndex::START);
        ledger
    }

    pub(crate) fn refuse_snapshots(&self) {
        *self.refuses.lock().unwrap() = true;
    }

    /// Whether this is the only clone: the node's is gone.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.lines) == 1
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        let text = |line: &Bytes| String::from_utf8(line.to_vec()).unwrap();
        lines.iter().map(text).collect()
    }
}

impl StateMachine for Ledger {
    fn apply(&mut self, index: LogIndex, command: &Bytes) -> Bytes {
        if let Some(ms) = command.strip_prefix(b"sleep ") {
            let ms = std::str::from_utf8(ms).unwrap().parse().unwrap();
            std::thread::sleep(Duration::from_millis(ms));
        }
        assert!(command != "panic", "told to");
        let mut lines = self.lines.lock().unwrap();
        lines.push(command.clone());
        if let Some(applied) = &mut *self.applied.lock().unwrap() {
            assert!(index > *applied, "{index} is applied twice");
            *applied = index;
        }
        Bytes::from(lines.len().to_string())
    }

    fn query(&self, _: &Bytes) -> Bytes {
        self.lines.lock().unwrap().join(&b' ').into()
    }

    fn snapshot(&self) -> Result<Chunks, MachineError> {
        if let Some(why) = self.no_snapshots {
            return Err(MachineError::new(why));
        }
        let lines = Bytes::from(self.lines.lock().unwrap().join(&b' '));
        let size = 5;
        let pieces = lines.len().div_ceil(size);
        Ok(Chunks::new((0..pieces).map(move |k| {
            Ok(lines.slice(k * size..lines.len().min((k + 1) * size)))
        })))
    }

    fn restore(&mut self, snapshot: Chunks) -> Result<(), MachineError> {
        if *self.refuses.lock().unwrap() {
            return Err(MachineError::new("refused"));
        }
        let bytes = snapshot.collect_bytes()?;
        let lines = bytes.split(|b| *b == b' ');
        *self.lines.lock().unwrap() = lines
            .filter(|line| !line.is_empty())
            .map(|line| bytes.slice_ref(line))
            .collect();
        Ok(())
    }

    fn applied(&self) -> LogIndex {
        self.applied.lock().unwrap().unwrap_or(LogIndex::START)
    }
}

pub(crate) fn raft_config(id: u64, voters: &[u64]) -> RaftConfig {
    RaftConfig::builder(NodeId(id))
        .voters(voters.iter().copied().map(NodeId))
        .election_timeout(Duration::from_millis(150)..=Duration::from_millis(300))
        .heartbeat_interval(Duration::from_millis(20))
        .retained_entries(4)
        .build()
        .unwrap()
}

pub(crate) type RaftNode = Node<Raft, MemStorage, MemTransport<Message>, WallClock>;

/// A Raft node that has everything in memory.
pub(crate) fn raft_node(
    raft: RaftConfig,
    network: &MemNetwork<Message>,
    storage: &MemStorage,
    ledger: Ledger,
    config: Config,
) -> (RaftNode, Handle) {
    let clock = WallClock::new();
    let parts = Parts {
        storage: storage.clone(),
        transport: network.join(raft.id()),
        clock,
    };
    let opened = block_on(Node::open(parts, ledger, config, |restored| {
        let raft = Raft::new(raft, restored, clock.now());
        raft.map_err(|error| StorageError::Failed(error.to_string()))
    }));
    opened.unwrap()
}

/// One node that runs, and what a test may want to touch.
pub(crate) struct One {
    pub(crate) handle: Handle,
    pub(crate) storage: MemStorage,
    pub(crate) ledger: Ledger,
    pub(crate) running: Running<Result<(), NodeError>>,
}

/// A cluster of one, which leads already.
pub(crate) fn one(rt: Rt, config: Config) -> One {
    one_with(rt, config, MemStorage::new(), Ledger::default())
}

pub(crate) fn one_with(rt: Rt, config: Config, storage: MemStorage, ledger: Ledger) -> One {
    let network = MemNetwork::new(1024);
    let raft = raft_config(1, &[1]);
    let (node, handle) = raft_node(raft, &network, &storage, ledger.clone(), config);
    let running = spawn(rt, node.run());
    let leads = handle.wait(|status| status.role == Role::Leader, SOON);
    block_on(leads).unwrap();
    One {
        handle,
        storage,
        ledger,
        running,
    }
}

/// Three nodes.
pub(crate) struct Three {
    pub(crate) network: MemNetwork<Message>,
    pub(crate) nodes: Vec<One>,
}

pub(crate) fn three(rt: Rt, config: &Config) -> Three {
    let network = MemNetwork::new(1024);
    let nodes = (1..=3).map(|id| {
        let (storage, ledger) = (MemStorage::new(), Ledger::default());
        let raft = raft_config(id, &[1, 2, 3]);
        let (node, handle) = raft_node(raft, &network, &storage, ledger.clone(), config.clone());
        One {
            handle,
            storage,
            ledger,
            running: spawn(rt, node.run()),
        }
    });
    let nodes = nodes.collect();
    Three { network, nodes }
}

impl Three {
    /// The place of the node that leads, once there is one that all follow.
    pub(crate) fn leader(&self) -> usize {
        let leaders = self.nodes.iter().map(|node| {
            let led = node.handle.wait(|status| status.leader.is_some(), SOON);
            block_on(led).unwrap().leader
        });
        let leaders: Vec<_> = leaders.collect();
        self.nodes
            .iter()
            .position(|node| Some(node.handle.node()) == leaders[0])
            .expect("the leader is one of them")
    }
}

/// Waits until the node's counters say so: they are published at the end of a turn, which may be
/// after an answer has been seen.
pub(crate) fn counted(handle: &Handle, so: impl Fn(&Metrics) -> bool) -> Metrics {
    let started = std::time::Instant::now();
    loop {
        let metrics = handle.metrics();
        if so(&metrics) {
            return metrics;
        }
        assert!(started.elapsed() < SOON, "not by now: {metrics:?}");
        std::thread::yield_now();
    }
}

pub(crate) fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
