//! What a peer that has passed the handshake may send, and what ends its link.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use synod_core::{DecodeError, GroupId, NodeId, Rng, frame};
use synod_node::stream::{LinkEnd, StreamStats, TransportEvent};
use tokio::time::sleep;

use crate::stream_pipe::Hub;
use crate::stream_support::{ByHand, Node, config, framed};

fn end_of_link(event: &TransportEvent) -> Option<LinkEnd> {
    match event {
        TransportEvent::Down { why, .. } => Some(why.clone()),
        _ => None,
    }
}

/// Node 1, linked with a hand-made node 2 that then writes these bytes, which end the link.
async fn ended_by(bytes: &[u8]) -> (LinkEnd, StreamStats) {
    let hub = Hub::default();
    let mut one = Node::start(&hub, config(1, &[2]).max_frame(1024));
    let mut two = ByHand::link(&hub, 2, 1).await;
    one.up(2).await;
    two.write(bytes).await;
    two.closed().await;
    one.down(2).await;
    (one.event(end_of_link).await, one.transport.stats())
}

#[tokio::test(start_paused = true)]
async fn a_frame_above_the_limit_closes_the_connection_and_is_counted() {
    let large = framed(GroupId(0), 0, &[0; 1021]);
    let (why, stats) = ended_by(&large[..4]).await;
    let too_long = DecodeError::TooLong {
        what: "frame",
        len: 1026,
        limit: 1025,
    };
    assert_eq!(why, LinkEnd::Malformed(too_long));
    assert_eq!((stats.oversized, stats.malformed), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn nonsense_closes_the_connection_and_is_counted() {
    let mut damaged = framed(GroupId(0), 0, b"hello");
    damaged[20] ^= 1;
    let mut trailing = BytesMut::new();
    frame::write_frame(GroupId(0), &mut trailing, |out| {
        out.extend_from_slice(b"\0\x01\0\0\0ab");
    });
    let mut empty = BytesMut::new();
    frame::write_frame(GroupId(0), &mut empty, |_| {});
    let cases = [
        (damaged, "checksum"),
        (framed(GroupId(3), 0, b"hello"), "belongs to another group"),
        (framed(GroupId(0), 9, b"hello"), "unknown tag 9"),
        (framed(GroupId(0), 1, b"hello"), "9 bytes are left over"),
        (trailing, "1 bytes are left over"),
        (empty, "needs 1 bytes"),
        (BytesMut::zeroed(17), "shorter than its header"),
    ];
    for (bytes, expected) in cases {
        let (why, stats) = ended_by(&bytes).await;
        assert!(why.to_string().contains(expected), "{why}");
        assert_eq!((stats.oversized, stats.malformed), (0, 1), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn random_bytes_end_the_link_and_nothing_else() {
    let hub = Hub::default();
    let mut one = Node::start(&hub, config(1, &[]).accept_unknown(true).max_frame(1024));
    let mut rng = Rng::new(11);
    for round in 0..200 {
        let mut two = ByHand::link(&hub, 2, 1).await;
        let link = one.up(2).await;
        two.send(b"good").await;
        let len = rng.within(8, 3000);
        let bytes: Vec<u8> = (0..len).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
        two.write(&bytes).await;
        drop(two);
        assert_eq!(one.message(link).await, "good", "round {round}");
        one.down(2).await;
    }
}

/// A bit of a length may flip, and what follows is then all swallowed by one frame that never ends.
#[tokio::test(start_paused = true)]
async fn a_peer_that_goes_on_inside_of_one_frame_is_taken_for_gone() {
    let hub = Hub::default();
    let mut one = Node::start(&hub, config(1, &[2]));
    let mut two = ByHand::link(&hub, 2, 1).await;
    one.up(2).await;
    let mut longer = framed(GroupId(0), 0, b"hello");
    longer[2] ^= 1 << 4;
    two.write(&longer).await;
    let silent = one.event(end_of_link);
    let chatter = async {
        loop {
            sleep(Duration::from_secs(1)).await;
            two.write(&framed(GroupId(0), 0, b"and so on")).await;
        }
    };
    let limit = sleep(Duration::from_secs(3600));
    let why = tokio::select! {
        why = silent => Some(why),
        () = chatter => None,
        () = limit => None,
    };
    assert_eq!(why, Some(LinkEnd::Silent(Duration::from_secs(15))));
}

/// A large message on a slow link is heard as long as its frames end in time.
#[tokio::test(start_paused = true)]
async fn a_slow_frame_is_waited_for() {
    let hub = Hub::default();
    let mut one = Node::start(&hub, config(1, &[2]));
    let mut two = ByHand::link(&hub, 2, 1).await;
    let link = one.up(2).await;
    for _ in 0..10 {
        for part in framed(GroupId(0), 0, &[7; 120_000]).chunks(10_000) {
            sleep(Duration::from_millis(700)).await;
            two.write(part).await;
        }
        assert_eq!(one.message(link).await.len(), 120_000);
    }
}

#[tokio::test(start_paused = true)]
async fn good_messages_before_nonsense_arrive() {
    let hub = Hub::default();
    let mut one = Node::start(&hub, config(1, &[2]));
    let mut two = ByHand::link(&hub, 2, 1).await;
    let link = one.up(2).await;
    let mut bytes = framed(GroupId(0), 0, b"good");
    bytes.extend_from_slice(&[0xff; 40]);
    two.write(&bytes).await;
    assert_eq!(one.message(link).await, "good");
    one.down(2).await;
}

#[tokio::test(start_paused = true)]
async fn frames_arrive_byte_by_byte() {
    let hub = Hub::default();
    let mut one = Node::start(&hub, config(1, &[2]));
    let mut two = ByHand::link(&hub, 2, 1).await;
    let link = one.up(2).await;
    let mut bytes = framed(GroupId(0), 0, b"one");
    bytes.extend_from_slice(&framed(GroupId(0), 0, b"two"));
    for byte in bytes {
        two.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(one.message(link).await, "one");
    assert_eq!(one.message(link).await, "two");
}

#[tokio::test(start_paused = true)]
async fn messages_of_all_sizes_up_to_the_limit_arrive() {
    let hub = Hub::default();
    let limit = 3 << 20;
    let mut one = Node::start(&hub, config(1, &[2]).max_frame(limit));
    let mut two = Node::start(&hub, config(2, &[1]).max_frame(limit));
    let link = one.up(2).await;
    let at_two = two.up(1).await;
    // A length of four bytes comes with each.
    for len in [0, 1, 60_000, 65_505, 65_536, 1 << 20, limit - 4] {
        let message = Bytes::from(vec![7; len]);
        one.send(2, link, &[&message, b"next"]).await;
        assert_eq!(two.message(at_two).await, message);
        assert_eq!(two.message(at_two).await, "next");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_longer_than_the_peer_takes_is_not_sent() {
    let hub = Hub::default();
    let mut one = Node::start(&hub, config(1, &[2]));
    let mut two = Node::start(&hub, config(2, &[1]).max_frame(1024));
    let link = one.up(2).await;
    two.up(1).await;
    one.send(2, link, &[&[0; 1021]]).await;
    one.down(2).await;
    let why = one.event(end_of_link).await;
    let (len, limit) = (1025, 1024);
    assert_eq!(why, LinkEnd::TooLong { len, limit });
    two.down(1).await;
    assert_eq!(two.transport.stats().oversized, 0);
    assert_ne!(one.up(2).await, link);
}

#[tokio::test(start_paused = true)]
async fn a_batch_takes_one_write() {
    let hub = Hub::default();
    let mut one = Node::start(&hub, config(1, &[2]));
    let mut two = Node::start(&hub, config(2, &[1]));
    let link = one.up(2).await;
    let at_two = two.up(1).await;
    let messages: Vec<[u8; 4]> = (0_u32..1000).map(u32::to_le_bytes).collect();
    let messages: Vec<&[u8]> = messages.iter().map(|m| &m[..]).collect();
    one.send(2, link, &messages).await;
    for message in messages {
        assert_eq!(two.message(at_two).await, message);
    }
    let stats = one.transport.stats();
    assert_eq!((stats.sent, stats.writes), (1000, 1));
    assert_eq!(two.transport.stats().received, 1000);
    assert_eq!(one.transport.links(), [(NodeId(2), link)]);
}
