//! A log, a network and a state machine in memory for our driver, made like those of the other services: a vector
//! behind an uncontended lock, and a peer that is reached by a function call.

use core::future::poll_fn;
use core::task::{Poll, Waker};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use synod_core::{
    Batch, Chunks, Delivery, Envelope, Link, LinkId, LogIndex, LogLoad, LogLoaded, LogRecord,
    MachineError, NodeId, Restored, StateMachine, Storage, StorageError, Transport, TransportError,
};
use synod_raft::Message;

use super::Tally;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding the lock")
}

/// The log: what was written, in order; never read again, as nothing leaves the memory of the node.
#[derive(Debug, Default)]
pub(super) struct LogStore(Mutex<Vec<LogRecord>>);

#[async_trait]
impl Storage for LogStore {
    type Record = LogRecord;
    type Load = LogLoad;
    type Loaded = LogLoaded;
    type Restored = Restored;

    async fn restore(&self) -> Result<Restored, StorageError> {
        Ok(Restored::default())
    }

    async fn write(&self, records: Batch<LogRecord>) -> Result<(), StorageError> {
        lock(&self.0).extend(records);
        Ok(())
    }

    async fn load(&self, _: LogLoad) -> Result<Option<LogLoaded>, StorageError> {
        Err(StorageError::Failed("nothing is loaded".into()))
    }
}

#[derive(Debug, Default)]
struct Port {
    arrived: Vec<Delivery<Message>>,
    waker: Option<Waker>,
}

/// All nodes, `NodeId(1)` first; every link is up from the start.
#[derive(Clone, Debug)]
pub(super) struct Router(Arc<Vec<Mutex<Port>>>);

const LINK: LinkId = LinkId(1);

impl Router {
    pub(super) fn new(nodes: usize) -> Self {
        Self(Arc::new((0..nodes).map(|_| Mutex::default()).collect()))
    }

    /// The end of one node.
    pub(super) fn join(&self, node: NodeId) -> Peer {
        let peers = (1..=self.0.len() as u64)
            .map(NodeId)
            .filter(|peer| *peer != node);
        let links = peers.map(|peer| Delivery::Link(peer, Link::Up(LINK)));
        let at = position(node);
        lock(&self.0[at]).arrived.extend(links);
        Peer {
            router: self.clone(),
            at,
        }
    }
}

fn position(node: NodeId) -> usize {
    usize::try_from(node.0 - 1).expect("as many nodes as fit into memory")
}

/// One node's end of the network.
#[derive(Debug)]
pub(super) struct Peer {
    router: Router,
    at: usize,
}

#[async_trait]
impl Transport<Message> for Peer {
    async fn send(&self, batch: &mut Vec<Envelope<Message>>) {
        for envelope in batch.drain(..) {
            let mut port = lock(&self.router.0[position(envelope.to)]);
            port.arrived.push(Delivery::Message(envelope));
            let waker = port.waker.take();
            drop(port);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    async fn recv(&self, into: &mut Vec<Delivery<Message>>) -> Result<(), TransportError> {
        poll_fn(|cx| {
            let mut port = lock(&self.router.0[self.at]);
            if port.arrived.is_empty() {
                port.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            into.append(&mut port.arrived);
            Poll::Ready(Ok(()))
        })
        .await
    }
}

/// The state machine: adds up what it applies.
#[derive(Clone, Debug, Default)]
pub(super) struct Adder(Arc<Mutex<Tally>>);

impl Adder {
    /// What was applied so far.
    pub(super) fn tally(&self) -> Tally {
        *lock(&self.0)
    }
}

impl StateMachine for Adder {
    fn apply(&mut self, _: LogIndex, command: &Bytes) -> Bytes {
        lock(&self.0).add(command);
        Bytes::new()
    }

    fn query(&self, _: &Bytes) -> Bytes {
        Bytes::new()
    }

    fn snapshot(&self) -> Result<Chunks, MachineError> {
        Err(MachineError::new("no snapshot is ever made"))
    }

    fn restore(&mut self, _: Chunks) -> Result<(), MachineError> {
        Err(MachineError::new("no snapshot is ever made"))
    }
}
