//! TCP on loopback, the same story on both runtimes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, join, select};
use synod_core::{Clock, ClusterId, Delivery, Envelope, Link, LinkId, NodeId, Transport};
use synod_node::clock::{AsyncIoClock, TokioClock};
use synod_node::stream::{
    AsyncIoTcp, Connections, InsecurePlaintext, Network, StreamConfig, StreamTransport, TokioTcp,
};

fn start(
    node: u64,
    clock: &Arc<dyn Clock>,
    network: impl Network + 'static,
) -> (StreamTransport<Bytes>, Connections) {
    let config = StreamConfig::builder(NodeId(node), ClusterId(1)).accept_unknown(true);
    let config = config.build().unwrap();
    StreamTransport::new(config, Arc::clone(clock), network, InsecurePlaintext)
}

async fn up(transport: &StreamTransport<Bytes>) -> LinkId {
    let mut arrived = Vec::new();
    loop {
        transport.recv(&mut arrived).await.unwrap();
        let up = arrived.iter().rev().find_map(|delivery| match delivery {
            Delivery::Link(_, Link::Up(link)) => Some(*link),
            _ => None,
        });
        if let Some(link) = up {
            return link;
        }
    }
}

async fn message(transport: &StreamTransport<Bytes>, pending: &mut Vec<Delivery<Bytes>>) -> Bytes {
    loop {
        while !pending.is_empty() {
            if let Delivery::Message(envelope) = pending.remove(0) {
                return envelope.message;
            }
        }
        transport.recv(pending).await.unwrap();
    }
}

/// Sends large and small, cuts the link, sends again: all in one task.
async fn story(clock: Arc<dyn Clock>, networks: [Box<dyn Network>; 2], address_of_two: String) {
    let [first, second] = networks;
    let (one, one_runs) = start(1, &clock, first);
    let (two, two_runs) = start(2, &clock, second);
    one.set_peer(NodeId(2), address_of_two).unwrap();
    let talk = async {
        let mut pending = Vec::new();
        for round in 0..3_u8 {
            let (link, _) = join(up(&one), up(&two)).await;
            for size in [0, 100, 5_000_000] {
                let sent = Bytes::from(vec![round; size]);
                let mut batch = vec![Envelope {
                    from: NodeId(1),
                    to: NodeId(2),
                    link,
                    message: sent.clone(),
                }];
                one.send(&mut batch).await;
                assert_eq!(message(&two, &mut pending).await, sent);
            }
            one.reset_links();
        }
        one.close();
        two.close();
    };
    let work = join(talk, join(one_runs, two_runs));
    let late = clock.sleep_until(clock.now() + Duration::from_secs(60));
    match select(std::pin::pin!(work), std::pin::pin!(late)).await {
        Either::Left(_) => {}
        Either::Right(_) => panic!("it takes too long: {:?} {:?}", one.stats(), two.stats()),
    }
}

#[tokio::test]
async fn tcp_on_tokio() {
    let (one, two) = (bind_tokio().await, bind_tokio().await);
    let address = two.local_addr().unwrap().to_string();
    let networks: [Box<dyn Network>; 2] = [Box::new(one), Box::new(two)];
    story(Arc::new(TokioClock::new()), networks, address).await;
}

async fn bind_tokio() -> TokioTcp {
    TokioTcp::bind("127.0.0.1:0").await.unwrap()
}

#[test]
fn tcp_on_smol() {
    smol::block_on(async {
        let one = AsyncIoTcp::bind("127.0.0.1:0").await.unwrap();
        let two = AsyncIoTcp::bind("127.0.0.1:0").await.unwrap();
        // A name, resolved when it is dialled.
        let address = format!("localhost:{}", two.local_addr().unwrap().port());
        let networks: [Box<dyn Network>; 2] = [Box::new(one), Box::new(two)];
        story(Arc::new(AsyncIoClock::new()), networks, address).await;
    });
}

#[test]
fn runtimes_mix() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let one = bind_tokio().await;
        let two = AsyncIoTcp::bind("127.0.0.1:0").await.unwrap();
        let address = two.local_addr().unwrap().to_string();
        let networks: [Box<dyn Network>; 2] = [Box::new(one), Box::new(two)];
        story(Arc::new(TokioClock::new()), networks, address).await;
    });
}

/// A socket that is closed with unread input resets the connection and drops what it has not sent.
#[tokio::test]
async fn closing_delivers_what_was_sent_although_nobody_reads_what_came() {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let make = |node, network| {
        let config = StreamConfig::builder(NodeId(node), ClusterId(1)).accept_unknown(true);
        let config = config.max_inbound_messages(1).build().unwrap();
        StreamTransport::<Bytes>::new(config, Arc::clone(&clock), network, InsecurePlaintext)
    };
    let (first, second) = (bind_tokio().await, bind_tokio().await);
    let address = second.local_addr().unwrap().to_string();
    let (one, one_runs) = make(1, first);
    let (two, two_runs) = make(2, second);
    tokio::spawn(one_runs);
    tokio::spawn(two_runs);
    one.set_peer(NodeId(2), address).unwrap();
    let (at_one, at_two) = join(up(&one), up(&two)).await;

    let messages = |from: u64, to, link| {
        let envelope = move |number: u8| Envelope {
            from: NodeId(from),
            to: NodeId(to),
            link,
            message: Bytes::from(vec![number; 10_000]),
        };
        (0..200).map(envelope).collect::<Vec<_>>()
    };
    two.send(&mut messages(2, 1, at_two)).await;
    one.send(&mut messages(1, 2, at_one)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    one.close();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut pending = Vec::new();
    for number in 0..200 {
        let next = tokio::time::timeout(Duration::from_secs(30), message(&two, &mut pending));
        assert_eq!(next.await.expect("the rest is lost"), vec![number; 10_000]);
    }
}
