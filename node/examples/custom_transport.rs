//! A transport of your own: letter boxes in memory, one per node.
//!
//! Run it with `cargo run -p synod-node --example custom_transport`. It puts the letter boxes through
//! the conformance suite, then runs three nodes on them and breaks their links again and again.

#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "an example has std and tells what it does"
)]

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use synod_core::mem::MemStorage;
use synod_core::{
    Chunks, Clock, Decode, Delivery, Encode, Envelope, Link, LinkId, LogIndex, MachineError,
    NodeId, ReadLevel, Role, StateMachine, StorageError, Transport, TransportError, conform,
};
use synod_node::clock::TokioClock;
use synod_node::{Config, Handle, Node, Parts};
use synod_raft::{Message, Raft};

/// Letters that wait for a node from one other. One more ends the link's incarnation.
const CAPACITY: usize = 256;

/// All letter boxes.
struct Office<M>(Arc<Mutex<Inner<M>>>);

struct Inner<M> {
    boxes: BTreeMap<NodeId, LetterBox<M>>,
    /// The current incarnation of the link between two nodes, the lower one first.
    links: BTreeMap<(NodeId, NodeId), LinkId>,
    incarnations: u64,
}

struct LetterBox<M> {
    letters: VecDeque<Delivery<M>>,
    waker: Option<Waker>,
}

/// One node's end.
struct Postman<M> {
    node: NodeId,
    office: Office<M>,
}

impl<M> Clone for Office<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> Office<M> {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            boxes: BTreeMap::new(),
            links: BTreeMap::new(),
            incarnations: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<M>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, node: NodeId) -> Postman<M> {
        let mut inner = self.lock();
        let peers: Vec<NodeId> = inner.boxes.keys().copied().collect();
        let letter_box = LetterBox {
            letters: VecDeque::new(),
            waker: None,
        };
        inner.boxes.insert(node, letter_box);
        for peer in peers {
            inner.connect(node, peer);
        }
        drop(inner);
        let office = self.clone();
        Postman { node, office }
    }
}

impl<M> Inner<M> {
    /// Gives a link a new incarnation: whoever was in doubt what has arrived starts over.
    fn connect(&mut self, one: NodeId, other: NodeId) {
        self.incarnations += 1;
        let link = LinkId(self.incarnations);
        self.links.insert((one.min(other), one.max(other)), link);
        self.announce(one, other, Link::Up(link));
        self.announce(other, one, Link::Up(link));
    }

    /// Tells `node` of its link to `peer`. Nothing of the old incarnation may come after the news,
    /// so what still waits is thrown away; that also keeps the box within its bounds.
    fn announce(&mut self, node: NodeId, peer: NodeId, link: Link) {
        if let Some(letter_box) = self.boxes.get_mut(&node) {
            letter_box.letters.retain(|letter| match letter {
                Delivery::Link(of, _) => *of != peer,
                Delivery::Message(envelope) => envelope.from != peer,
            });
            letter_box.deliver(Delivery::Link(peer, link));
        }
    }

    fn send(&mut self, envelope: Envelope<M>) {
        let (from, to) = (envelope.from, envelope.to);
        let Some(letter_box) = self.boxes.get_mut(&to) else {
            return;
        };
        if self.links.get(&(from.min(to), from.max(to))) != Some(&envelope.link) {
            return;
        }
        let is_from =
            |letter: &&Delivery<M>| matches!(letter, Delivery::Message(e) if e.from == from);
        if letter_box.letters.iter().filter(is_from).count() < CAPACITY {
            letter_box.deliver(Delivery::Message(envelope));
        } else {
            // A link has no holes: what does not fit ends it.
            self.connect(from, to);
        }
    }
}

impl<M> LetterBox<M> {
    fn deliver(&mut self, letter: Delivery<M>) {
        self.letters.push_back(letter);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[async_trait::async_trait]
impl<M: Send> Transport<M> for Postman<M> {
    async fn send(&self, batch: &mut Vec<Envelope<M>>) {
        let mut office = self.office.lock();
        for envelope in batch.drain(..) {
            office.send(envelope);
        }
    }

    async fn recv(&self, into: &mut Vec<Delivery<M>>) -> Result<(), TransportError> {
        poll_fn(|cx| {
            let mut office = self.office.lock();
            let Some(letter_box) = office.boxes.get_mut(&self.node) else {
                return Poll::Ready(Err(TransportError("the letter box is gone".into())));
            };
            if letter_box.letters.is_empty() {
                letter_box.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            into.extend(letter_box.letters.drain(..));
            Poll::Ready(Ok(()))
        })
        .await
    }
}

impl<M> Drop for Postman<M> {
    fn drop(&mut self) {
        let mut office = self.office.lock();
        office.boxes.remove(&self.node);
        let node = self.node;
        office.links.retain(|(a, b), _| *a != node && *b != node);
        let peers: Vec<NodeId> = office.boxes.keys().copied().collect();
        for peer in peers {
            office.announce(peer, node, Link::Down);
        }
    }
}

/// What the conformance suite needs.
struct Factory(Office<Bytes>);

#[async_trait::async_trait]
impl conform::Network for Factory {
    type Transport = Postman<Bytes>;

    async fn start(&mut self, node: NodeId) -> Result<Postman<Bytes>, TransportError> {
        Ok(self.0.join(node))
    }

    async fn break_link(&mut self, one: NodeId, other: NodeId) -> bool {
        self.0.lock().connect(one, other);
        true
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// A state machine that counts commands.
#[derive(Default)]
struct Count(u64);

impl StateMachine for Count {
    fn apply(&mut self, _: LogIndex, _: &Bytes) -> Bytes {
        self.0 += 1;
        self.0.to_bytes()
    }

    fn query(&self, _: &Bytes) -> Bytes {
        self.0.to_bytes()
    }

    fn snapshot(&self) -> Result<Chunks, MachineError> {
        Ok(Chunks::from(self.0.to_bytes()))
    }

    fn restore(&mut self, snapshot: Chunks) -> Result<(), MachineError> {
        let count = u64::decode_all(snapshot.collect_bytes()?);
        self.0 = count.map_err(|error| MachineError::new(error.to_string()))?;
        Ok(())
    }
}

const SOON: Duration = Duration::from_secs(20);

async fn start(id: NodeId, office: &Office<Message>) -> Result<Handle, Box<dyn Error>> {
    let config = synod_raft::Config::builder(id)
        .voters([NodeId(1), NodeId(2), NodeId(3)])
        .build()?;
    let clock = TokioClock::new();
    let parts = Parts {
        storage: MemStorage::new(),
        transport: office.join(id),
        clock,
    };
    let opened = Node::open(parts, Count::default(), Config::default(), |restored| {
        let raft = Raft::new(config, restored, clock.now());
        raft.map_err(|error| StorageError::Failed(error.to_string()))
    });
    let (node, handle) = opened.await?;
    tokio::spawn(node.run());
    Ok(handle)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let report = conform::transport(Factory(Office::new())).await?;
    println!("the letter boxes keep {} rules:", report.checked.len());
    for rule in &report.checked {
        println!("- {rule}");
    }
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);

    let office = Office::new();
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(start(NodeId(id), &office).await?);
    }
    let first = nodes[0]
        .wait(|status| status.leader.is_some(), SOON)
        .await?;
    let leader = nodes.iter().find(|node| Some(node.node()) == first.leader);
    let leader = leader.ok_or("the leader is one of the three")?;
    leader.wait(|s| s.role == Role::Leader, SOON).await?;
    for round in 0..100 {
        if round % 10 == 0 {
            for peer in nodes.iter().filter(|peer| peer.node() != leader.node()) {
                office.lock().connect(leader.node(), peer.node());
            }
        }
        leader.propose(Bytes::from("one more")).await?;
    }
    for node in &nodes {
        let read = node.read(Bytes::new(), ReadLevel::Linearizable).await?;
        assert_eq!(u64::decode_all(read.response)?, 100, "on {}", node.node());
    }
    println!("three nodes on them count 100 commands, though their links broke 20 times");
    for node in &nodes {
        node.shutdown().await;
    }
    Ok(())
}
