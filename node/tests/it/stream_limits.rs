//! What a slow peer or a slow driver costs.

use std::time::Duration;

use futures::FutureExt;
use synod_core::NodeId;
use synod_node::stream::{BrokenRule, LinkEnd, StreamConfig, TransportEvent};

use crate::stream_pipe::Hub;
use crate::stream_support::{ByHand, CLUSTER, Node, config};

#[tokio::test(start_paused = true)]
async fn a_slow_peer_costs_its_queue_and_then_its_link() {
    let hub = Hub::default();
    hub.set_capacity(10_000);
    let limits = config(1, &[2])
        .max_frame(100_000)
        .max_outbound_bytes(200_000);
    let mut one = Node::start(&hub, limits);
    let _two = ByHand::link(&hub, 2, 1).await;
    let link = one.up(2).await;
    let message = [0; 1000];
    let mut sent = 0;
    while one.transport.stats().overflowed == 0 {
        // It never waits, although the peer reads nothing.
        one.send(2, link, &[&message])
            .now_or_never()
            .expect("sending does not wait");
        tokio::task::yield_now().await;
        sent += 1;
    }
    assert!((100..250).contains(&sent), "{sent}");
    one.down(2).await;
    let why = one
        .event(|event| match event {
            TransportEvent::Down { why, .. } => Some(why.clone()),
            _ => None,
        })
        .await;
    assert!(
        matches!(
            why,
            LinkEnd::Overflow {
                queued: 200_001..,
                max_bytes: 200_000,
                ..
            }
        ),
        "{why}"
    );
    one.send(2, link, &[&message]).await;
    assert_eq!(one.transport.stats().stale, 1);

    let _again = ByHand::link(&hub, 2, 1).await;
    assert!(one.up(2).await > link);
}

#[tokio::test(start_paused = true)]
async fn there_is_a_limit_in_messages_too() {
    let hub = Hub::default();
    let mut one = Node::start(&hub, config(1, &[2]).max_outbound_messages(10));
    let _two = ByHand::link(&hub, 2, 1).await;
    let link = one.up(2).await;
    let batch: Vec<&[u8]> = vec![b"x"; 11];
    one.send(2, link, &batch).await;
    one.down(2).await;
    assert_eq!(one.transport.stats().overflowed, 11);
}

#[tokio::test(start_paused = true)]
async fn a_slow_driver_holds_up_its_peers_and_loses_nothing() {
    let hub = Hub::default();
    hub.set_capacity(1000);
    let mut one = Node::start(&hub, config(1, &[2]));
    let slow = config(2, &[1])
        .max_inbound_bytes(5000)
        .max_inbound_messages(100);
    let mut two = Node::start(&hub, slow);
    let (link, at_two) = (one.up(2).await, two.up(1).await);
    for number in 0_u32..2000 {
        let mut message = vec![0; 100];
        message[..4].copy_from_slice(&number.to_le_bytes());
        one.send(2, link, &[&message]).await;
    }
    // Longer than a silent peer is believed in: nobody listens, so nobody is taken for gone.
    tokio::time::sleep(Duration::from_secs(100)).await;
    let waiting = two.transport.stats().received;
    assert!(
        waiting <= 60,
        "{waiting} messages of 126 bytes fit into 5000 bytes and one read"
    );
    for number in 0_u32..2000 {
        assert_eq!(two.message(at_two).await[..4], number.to_le_bytes());
    }
    assert_eq!(one.transport.links(), [(NodeId(2), link)]);
}

#[test]
fn every_rule_that_settings_break_is_named() {
    let broken = StreamConfig::builder(NodeId(1), CLUSTER)
        .peer(NodeId(1), "here")
        .peer(NodeId(2), "there")
        .peer(NodeId(2), "elsewhere")
        .max_outbound_bytes(1000)
        .max_strangers(0)
        .max_peers(1)
        .keepalive(Duration::ZERO)
        .backoff(Duration::from_secs(2), Duration::from_secs(1))
        .build()
        .unwrap_err();
    assert_eq!(
        broken.rules,
        [
            BrokenRule::Repeated(NodeId(2)),
            BrokenRule::OwnId(NodeId(1)),
            BrokenRule::Below("max_outbound_bytes", 1000, (8 << 20) + 18),
            BrokenRule::Below("max_strangers", 0, 1),
            BrokenRule::Below("max_peers", 1, 2),
            BrokenRule::TooShort("keepalive", Duration::ZERO, Duration::from_millis(1)),
            BrokenRule::Backoff {
                min: Duration::from_secs(2),
                max: Duration::from_secs(1),
            },
        ]
    );
    assert_eq!(
        broken.to_string(),
        "peer n2 is entered more than once; n1 is the node itself and cannot be its peer; \
         max_outbound_bytes (1000) must be at least 8388626; max_strangers (0) must be at least 1; \
         max_peers (1) must be at least 2; keepalive (0ns) must be at least 1ms; \
         backoff min (2s) must not be longer than backoff max (1s)"
    );
}
