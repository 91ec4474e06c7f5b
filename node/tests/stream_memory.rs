//! What the transport's limits promise, measured at the allocator. A test binary of its own: the
//! allocator counts for the whole process.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "tests have std, and a panic is how they fail"
)]

use std::alloc::System;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use synod_core::{ClusterId, Decode, Delivery, Encode, Envelope, GroupId, Link, NodeId, Transport};
use synod_node::clock::TokioClock;
use synod_node::stream::{
    Greeting, Groups, Hello, InsecurePlaintext, StreamConfig, StreamTransport, TokioTcp,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The limits that a test is about, in bytes.
#[derive(Clone, Copy)]
struct Limits {
    frame: usize,
    outbound: usize,
    inbound: usize,
}

const DEFAULT: Limits = Limits {
    frame: 8 << 20,
    outbound: 64 << 20,
    inbound: 16 << 20,
};
const SMALL: Limits = Limits {
    frame: 256 << 10,
    outbound: 2 << 20,
    inbound: 2 << 20,
};
const BUFFERS: usize = 128 << 10;
const CLUSTER: ClusterId = ClusterId(1);

fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

async fn start(node: u64, limits: Option<Limits>) -> (StreamTransport<Bytes>, String) {
    let mut config = StreamConfig::builder(NodeId(node), CLUSTER).accept_unknown(true);
    // `None` leaves everything as it is.
    if let Some(limits) = limits {
        config = config
            .max_frame(limits.frame)
            .max_outbound_bytes(limits.outbound)
            .max_inbound_bytes(limits.inbound);
    }
    let config = config.build().unwrap();
    let network = TokioTcp::bind("127.0.0.1:0").await.unwrap();
    let address = network.local_addr().unwrap().to_string();
    let clock = Arc::new(TokioClock::new());
    let (transport, connections) = StreamTransport::new(config, clock, network, InsecurePlaintext);
    tokio::spawn(connections);
    (transport, address)
}

async fn up(transport: &StreamTransport<Bytes>) -> synod_core::LinkId {
    let mut arrived = Vec::new();
    transport.recv(&mut arrived).await.unwrap();
    match arrived[..] {
        [Delivery::Link(_, Link::Up(link))] => link,
        _ => panic!("{arrived:?}"),
    }
}

/// One after the other: each wants the allocator for itself.
#[tokio::test]
async fn live_bytes_stay_within_the_documented_limits() {
    a_driver_that_receives_nothing(Some(SMALL), 5000).await;
    a_driver_that_receives_nothing(None, 20_000).await;
    // As long as may be, and so that the inbound limit is just not reached by the last but one.
    a_driver_that_receives_nothing(None, DEFAULT.frame - 100).await;
    a_peer_that_claims_much_and_sends_little().await;
}

async fn a_driver_that_receives_nothing(settings: Option<Limits>, len: usize) {
    let limits = settings.unwrap_or(DEFAULT);
    let (one, _) = start(1, settings).await;
    let (two, address) = start(2, settings).await;
    let before = live();
    one.set_peer(NodeId(2), address).unwrap();
    let link = up(&one).await;
    up(&two).await;

    let message = Bytes::from(vec![0; len]);
    let mut most = 0;
    let mut batch = Vec::new();
    while one.stats().overflowed == 0 {
        batch.extend((0..1 + 50_000 / len).map(|_| Envelope {
            from: NodeId(1),
            to: NodeId(2),
            link,
            message: message.clone(),
        }));
        one.send(&mut batch).await;
        most = most.max(live().saturating_sub(before));
        // Until no more gets through.
        let mut moved = u64::MAX;
        while moved != one.stats().sent + two.stats().received {
            moved = one.stats().sent + two.stats().received;
            tokio::time::sleep(Duration::from_micros(100 + len as u64 / 500)).await;
            most = most.max(live().saturating_sub(before));
        }
    }
    // The sender's queue, the receiver's queue, and the buffers of both.
    let queues = limits.outbound + limits.inbound;
    let limit = queues + 2 * limits.frame + 2 * BUFFERS;
    assert!(most > queues * 8 / 10, "the queues were full: {most}");
    assert!(
        most <= limit + limit / 10,
        "{most} bytes, the limits add up to {limit}"
    );
}

async fn a_peer_that_claims_much_and_sends_little() {
    let (one, address) = start(1, Some(SMALL)).await;
    let mut peers = Vec::new();
    let before = live();
    for node in 10..20 {
        let mut peer = std::net::TcpStream::connect(&address).unwrap();
        let hello = Greeting::Hello(Hello {
            oldest: 1,
            newest: 1,
            cluster: CLUSTER,
            groups: Groups::One(GroupId(0)),
            from: NodeId(node),
            to: NodeId(1),
            boot: node,
            max_frame: 1 << 20,
        });
        let mut words = BytesMut::new();
        hello.encode(&mut words);
        Greeting::Confirm(1).encode(&mut words);
        assert!(Greeting::decode(&mut words.clone().freeze()).is_ok());
        // A frame as long as is allowed, of which no more than the length arrives.
        let claimed = u32::try_from(SMALL.frame).unwrap();
        words.extend_from_slice(&claimed.to_le_bytes());
        peer.write_all(&words).unwrap();
        peers.push(peer);
    }
    while one.links().len() < peers.len() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let taken = live().saturating_sub(before) / peers.len();
    assert!(taken <= BUFFERS + (64 << 10), "{taken} bytes per peer");
}
