//! Who is let in, who is not, and that both ends can tell why.

use std::time::Duration;

use synod_core::{ClusterId, GroupId, NodeId};
use synod_node::stream::{Greeting, Groups, HandshakeError, Refusal, StreamConfig, TransportEvent};

use crate::stream_pipe::Hub;
use crate::stream_support::{ByHand, CLUSTER, Node, config, hello, host};

fn refused(event: &TransportEvent) -> Option<(NodeId, Refusal)> {
    match event {
        TransportEvent::Refused { peer, why, .. } => Some((*peer, why.clone())),
        _ => None,
    }
}

fn refused_by(event: &TransportEvent) -> Option<Refusal> {
    match event {
        TransportEvent::RefusedBy { why, .. } => Some(why.clone()),
        _ => None,
    }
}

fn failed(event: &TransportEvent) -> Option<HandshakeError> {
    match event {
        TransportEvent::Failed { why, .. } => Some(why.clone()),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn two_nodes_link_and_talk_in_both_directions() {
    let hub = Hub::default();
    let mut one = Node::start(&hub, config(1, &[2]));
    let mut two = Node::start(&hub, config(2, &[1]));
    let (at_one, at_two) = (one.up(2).await, two.up(1).await);

    one.send(2, at_one, &[b"to two"]).await;
    two.send(1, at_two, &[b"to one"]).await;
    assert_eq!(two.message(at_two).await, "to two");
    assert_eq!(one.message(at_one).await, "to one");
    assert_eq!(one.transport.links(), [(NodeId(2), at_one)]);
    one.event(|event| matches!(event, TransportEvent::Up { .. }).then_some(()))
        .await;
}

#[tokio::test(start_paused = true)]
async fn another_cluster_is_refused_and_both_ends_say_why() {
    let hub = Hub::default();
    let one = Node::start(&hub, config(1, &[2]));
    let other = StreamConfig::builder(NodeId(2), ClusterId(8));
    let two = Node::start(&hub, other.peer(NodeId(1), host(1)));

    let seen_by_one = Refusal::Cluster {
        ours: CLUSTER,
        theirs: ClusterId(8),
    };
    assert_eq!(one.event(refused).await, (NodeId(2), seen_by_one.clone()));
    assert_eq!(two.event(refused_by).await, seen_by_one);
    let seen_by_two = Refusal::Cluster {
        ours: ClusterId(8),
        theirs: CLUSTER,
    };
    assert_eq!(two.event(refused).await, (NodeId(1), seen_by_two.clone()));
    assert_eq!(one.event(refused_by).await, seen_by_two);
    assert!(one.transport.stats().refused > 0 && one.transport.stats().refused_by > 0);
    assert_eq!(
        seen_by_two.to_string(),
        "wrong cluster: ours is c8, theirs is c7"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_with_our_own_id_is_refused() {
    let hub = Hub::default();
    let one = Node::start(&hub, config(1, &[]));
    // It claims to be node 1 as well, and has node 1 in its book as node 2.
    let double = StreamConfig::builder(NodeId(1), CLUSTER).peer(NodeId(2), host(1));
    let double = Node::with_network(double, hub.host("double"));
    let why = Refusal::OwnId(NodeId(1));
    assert_eq!(one.event(refused).await, (NodeId(1), why.clone()));
    assert_eq!(double.event(refused_by).await, why);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dials_itself_is_refused() {
    let hub = Hub::default();
    let wrong_book = StreamConfig::builder(NodeId(1), CLUSTER).peer(NodeId(2), host(1));
    let one = Node::start(&hub, wrong_book);
    assert_eq!(one.event(refused_by).await, Refusal::OwnId(NodeId(1)));
}

#[tokio::test(start_paused = true)]
async fn a_dialler_that_wants_somebody_else_is_refused() {
    let hub = Hub::default();
    let three = Node::start(&hub, config(3, &[1]));
    let wrong_book = StreamConfig::builder(NodeId(1), CLUSTER).peer(NodeId(2), host(3));
    let one = Node::with_network(wrong_book, hub.host("elsewhere"));
    let why = Refusal::Recipient {
        ours: NodeId(3),
        wanted: NodeId(2),
    };
    assert_eq!(three.event(refused).await, (NodeId(1), why.clone()));
    assert_eq!(one.event(refused_by).await, why);
}

#[tokio::test(start_paused = true)]
async fn somebody_else_than_was_dialled_is_refused() {
    let hub = Hub::default();
    let two = hub.host(&host(2));
    let one = Node::start(&hub, config(1, &[2]));
    let mut three = ByHand::accept(&two).await;
    three.say(Greeting::Hello(hello(3, 1))).await;
    let why = Refusal::Unexpected {
        dialled: NodeId(2),
        theirs: NodeId(3),
    };
    assert_eq!(one.event(refused).await, (NodeId(2), why));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_peer_is_refused_unless_they_are_welcome() {
    let hub = Hub::default();
    let one = Node::start(&hub, config(1, &[]));
    let mut two = Node::start(&hub, config(2, &[]).accept_unknown(true));
    let mut three = Node::start(&hub, config(3, &[1, 2]));

    let why = Refusal::UnknownPeer(NodeId(3));
    assert_eq!(one.event(refused).await, (NodeId(3), why.clone()));
    assert_eq!(three.event(refused_by).await, why);
    three.up(2).await;
    two.up(3).await;
    one.transport.set_peer(NodeId(3), host(3)).unwrap();
    three.up(1).await;
}

#[tokio::test(start_paused = true)]
async fn there_is_a_limit_to_unknown_peers() {
    let hub = Hub::default();
    let one = Node::start(&hub, config(1, &[2]).accept_unknown(true).max_peers(2));
    let three = Node::start(&hub, config(3, &[1]));
    three
        .event(|e| matches!(e, TransportEvent::Up { .. }).then_some(()))
        .await;
    let four = Node::start(&hub, config(4, &[1]));
    assert_eq!(four.event(refused_by).await, Refusal::Full(2));
    assert_eq!(one.event(refused).await, (NodeId(4), Refusal::Full(2)));
}

#[tokio::test(start_paused = true)]
async fn other_versions_and_groups_are_refused() {
    let hub = Hub::default();
    let one = Node::start(&hub, config(1, &[2]));

    let mut newer = hello(2, 1);
    (newer.oldest, newer.newest) = (2, 3);
    let mut many = hello(2, 1);
    many.groups = Groups::Many;
    let mut elsewhere = hello(2, 1);
    elsewhere.groups = Groups::One(GroupId(5));
    let ours = Groups::One(GroupId(0));
    for (hello, why) in [
        (
            newer,
            Refusal::Version {
                ours: (1, 1),
                theirs: (2, 3),
            },
        ),
        (
            many,
            Refusal::Groups {
                ours,
                theirs: Groups::Many,
            },
        ),
        (
            elsewhere,
            Refusal::Groups {
                ours,
                theirs: Groups::One(GroupId(5)),
            },
        ),
    ] {
        let mut peer = ByHand::dial(&hub, 1).await;
        peer.say(Greeting::Hello(hello)).await;
        assert_eq!(peer.hear().await, Greeting::Refuse(why.clone()));
        peer.closed().await;
        one.event(|event| refused(event).filter(|(_, it)| *it == why))
            .await;
    }
    // One that speaks our version among others is welcome.
    let mut peer = ByHand::dial(&hub, 1).await;
    let mut both = hello(2, 1);
    both.newest = 9;
    peer.say(Greeting::Hello(both)).await;
    assert!(matches!(peer.hear().await, Greeting::Hello(_)));
}

#[tokio::test(start_paused = true)]
async fn strangers_that_say_nothing_are_closed_in_time() {
    let hub = Hub::default();
    let timeout = Duration::from_secs(3);
    let one = Node::start(&hub, config(1, &[]).handshake_timeout(timeout));
    let mut stranger = ByHand::dial(&hub, 1).await;
    let start = tokio::time::Instant::now();
    stranger.closed().await;
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(one.event(failed).await, HandshakeError::Timeout(timeout));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_idle_strangers_do_not_keep_a_peer_out() {
    let hub = Hub::default();
    let mut one = Node::start(&hub, config(1, &[2]).max_strangers(10));
    let mut strangers = Vec::new();
    for _ in 0..1000 {
        strangers.push(ByHand::dial(&hub, 1).await);
    }
    let _peer = ByHand::link(&hub, 2, 1).await;
    one.up(2).await;
    for stranger in &mut strangers[..990] {
        stranger.closed().await;
    }
    assert_eq!(one.event(failed).await, HandshakeError::Crowded(10));
    let failed = one.transport.stats().failed;
    assert!(failed >= 990, "{failed}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_greeting_ends_the_connection() {
    let hub = Hub::default();
    let mut one = Node::start(&hub, config(1, &[2]));
    let mut damaged = bytes::BytesMut::new();
    synod_core::Encode::encode(&Greeting::Hello(hello(2, 1)), &mut damaged);
    damaged[20] ^= 1;
    let mut endless = damaged.clone();
    endless[6..8].copy_from_slice(&[0xff, 0xff]);
    let cases: [&[u8]; 4] = [b"GET / HTTP/1.1\r\n\r\n", &[0; 64], &damaged, &endless];
    for bytes in cases {
        let mut stranger = ByHand::dial(&hub, 1).await;
        stranger.write(bytes).await;
        stranger.closed().await;
    }
    assert!(matches!(
        one.event(failed).await,
        HandshakeError::Malformed(_)
    ));
    assert_eq!(one.transport.stats().failed, 4 + count_dials(&one));
    one.silent_for(Duration::from_secs(1)).await;
}

/// Its own attempts to reach the peer that is not there.
fn count_dials(node: &Node) -> u64 {
    let dials = node.events().into_iter().filter_map(|event| failed(&event));
    dials
        .filter(|why| matches!(why, HandshakeError::Connect(_)))
        .count() as u64
}

#[tokio::test(start_paused = true)]
async fn words_out_of_turn_end_the_connection() {
    let hub = Hub::default();
    let one = Node::start(&hub, config(1, &[2]));
    let mut early = ByHand::dial(&hub, 1).await;
    early.say(Greeting::Confirm(1)).await;
    early.closed().await;
    let mut twice = ByHand::dial(&hub, 1).await;
    twice.say(Greeting::Hello(hello(2, 1))).await;
    assert!(matches!(twice.hear().await, Greeting::Hello(_)));
    twice.say(Greeting::Hello(hello(2, 1))).await;
    twice.closed().await;
    let turns = one
        .events()
        .iter()
        .filter_map(failed)
        .filter(|why| *why == HandshakeError::OutOfTurn)
        .count();
    assert_eq!(turns, 2);
}
