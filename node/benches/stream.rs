//! The byte-stream transport over TCP on loopback: how long a message takes there and back, and how
//! many go through.

#![allow(
    missing_docs,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a benchmark"
)]

use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use synod_core::{ClusterId, Delivery, Envelope, Link, LinkId, NodeId, Transport};
use synod_node::clock::TokioClock;
use synod_node::stream::{InsecurePlaintext, StreamConfig, StreamTransport, TokioTcp};
use tokio::runtime::{Builder, Runtime};

struct Node {
    id: NodeId,
    transport: StreamTransport<Bytes>,
    address: String,
    link: LinkId,
    arrived: Vec<Delivery<Bytes>>,
}

impl Node {
    async fn start(id: u64) -> Self {
        let id = NodeId(id);
        let config = StreamConfig::builder(id, ClusterId(1)).accept_unknown(true);
        let network = TokioTcp::bind("127.0.0.1:0").await.unwrap();
        let address = network.local_addr().unwrap().to_string();
        let clock = Arc::new(TokioClock::new());
        let config = config.build().unwrap();
        let (transport, connections) =
            StreamTransport::new(config, clock, network, InsecurePlaintext);
        tokio::spawn(connections);
        Self {
            id,
            transport,
            address,
            link: LinkId(0),
            arrived: Vec::new(),
        }
    }

    async fn up(&mut self) {
        self.transport.recv(&mut self.arrived).await.unwrap();
        for delivery in self.arrived.drain(..) {
            if let Delivery::Link(_, Link::Up(link)) = delivery {
                self.link = link;
            }
        }
    }

    async fn send(
        &self,
        to: &Self,
        message: &Bytes,
        count: usize,
        batch: &mut Vec<Envelope<Bytes>>,
    ) {
        batch.extend((0..count).map(|_| Envelope {
            from: self.id,
            to: to.id,
            link: self.link,
            message: message.clone(),
        }));
        self.transport.send(batch).await;
    }

    /// Takes `count` messages.
    async fn take(&mut self, count: usize) {
        let mut taken = 0;
        while taken < count {
            self.transport.recv(&mut self.arrived).await.unwrap();
            taken += self.arrived.drain(..).count();
        }
    }
}

fn pair(runtime: &Runtime) -> (Node, Node) {
    runtime.block_on(async {
        let (mut one, mut two) = (Node::start(1).await, Node::start(2).await);
        one.transport.set_peer(two.id, &two.address).unwrap();
        one.up().await;
        two.up().await;
        (one, two)
    })
}

fn round_trip(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (mut one, mut two) = pair(&runtime);
    let message = Bytes::from(vec![0; 64]);
    let mut batch = Vec::new();
    c.bench_function("stream/round_trip/64", |b| {
        b.iter(|| {
            runtime.block_on(async {
                one.send(&two, &message, 1, &mut batch).await;
                two.take(1).await;
                two.send(&one, &message, 1, &mut batch).await;
                one.take(1).await;
            });
        });
    });
}

fn throughput(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (one, mut two) = pair(&runtime);
    let mut batch = Vec::new();
    let mut group = c.benchmark_group("stream/throughput");
    for (size, count) in [(64, 1000), (4096, 1000), (1 << 20, 8)] {
        let message = Bytes::from(vec![0; size]);
        group.throughput(Throughput::Bytes((size * count) as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    one.send(&two, &message, count, &mut batch).await;
                    two.take(count).await;
                });
            });
        });
    }
    group.finish();
}

criterion_group!(benches, round_trip, throughput);
criterion_main!(benches);
