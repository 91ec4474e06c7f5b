//! Incarnations: order, replacement, reconnection, silence, the address book and the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use synod_core::{Delivery, Link, LinkId, NodeId, Rng, Transport};
use synod_node::clock::TokioClock;
use synod_node::stream::{
    Greeting, InsecurePlaintext, LinkEnd, Refusal, StreamTransport, TransportEvent,
};
use tokio::time::{Instant, sleep, timeout};

use crate::stream_pipe::Hub;
use crate::stream_support::{ByHand, LONG, Node, config, hello, host};

fn ends(node: &Node) -> Vec<LinkEnd> {
    let events = node.events().into_iter();
    let ends = events.filter_map(|event| match event {
        TransportEvent::Down { why, .. } => Some(why),
        _ => None,
    });
    ends.collect()
}

async fn pair(hub: &Hub) -> (Node, Node, LinkId, LinkId) {
    let mut one = Node::start(hub, config(1, &[2]));
    let mut two = Node::start(hub, config(2, &[1]));
    let (at_one, at_two) = (one.up(2).await, two.up(1).await);
    (one, two, at_one, at_two)
}

#[tokio::test(start_paused = true)]
async fn messages_arrive_in_order_and_once() {
    let hub = Hub::with_latency(5, 3);
    hub.set_capacity(10_000);
    let (one, mut two, at_one, at_two) = pair(&hub).await;
    let mut rng = Rng::new(1);
    let mut sent = 0_u32;
    let sender = async {
        while sent < 5000 {
            let batch = u32::try_from(rng.within(1, 100)).unwrap();
            let messages: Vec<_> = (sent..sent + batch).map(u32::to_le_bytes).collect();
            let messages: Vec<&[u8]> = messages.iter().map(|m| &m[..]).collect();
            one.send(2, at_one, &messages).await;
            sent += batch;
            sleep(Duration::from_millis(rng.below(3))).await;
        }
    };
    let receiver = async {
        for expected in 0_u32..5000 {
            let message = two.message(at_two).await;
            assert_eq!(message[..], expected.to_le_bytes());
        }
    };
    futures::join!(sender, receiver);
}

#[tokio::test(start_paused = true)]
async fn a_cut_connection_is_made_anew_under_a_new_name() {
    let hub = Hub::default();
    let (mut one, mut two, old, old_at_two) = pair(&hub).await;
    hub.cut_all();
    one.down(2).await;
    two.down(1).await;
    let (new, new_at_two) = (one.up(2).await, two.up(1).await);
    assert!(new > old && new_at_two > old_at_two);

    one.send(2, old, &[b"for the old one"]).await;
    one.send(2, LinkId(new.0 + 1), &[b"for one that is not yet"])
        .await;
    one.send(3, new, &[b"for nobody"]).await;
    one.send(2, new, &[b"for the new one"]).await;
    assert_eq!(two.message(new_at_two).await, "for the new one");
    assert_eq!(one.transport.stats().stale, 3);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_comes_back_replaces_its_half_open_predecessor() {
    for keeper in [2, 0] {
        let hub = Hub::default();
        let mut one = Node::start(&hub, config(1, &[keeper]));
        let first = Node::start(&hub, config(keeper, &[1]));
        let old = one.up(keeper).await;
        // The machine of the peer is gone without a word, and a new one takes its place.
        hub.swallow_all();
        let start = Instant::now();
        let mut second = Node::start(&hub, config(keeper, &[1]));
        let link = second.up(1).await;
        let new = one.up(keeper).await;
        assert!(new > old);
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
        second.send(1, link, &[b"hello"]).await;
        assert_eq!(one.message(new).await, "hello");
        assert_eq!(ends(&one), [LinkEnd::Replaced]);
        drop(first);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_replaced_connection_arrives_after_the_new_one_is_up() {
    for peer in [2, 0] {
        let hub = Hub::default();
        let mut one = Node::start(&hub, config(1, &[]).accept_unknown(true));
        let mut old = ByHand::link(&hub, peer, 1).await;
        let at_old = one.up(peer).await;
        old.send(b"early").await;
        assert_eq!(one.message(at_old).await, "early");

        let mut new = ByHand::dial(&hub, 1).await;
        let mut again = hello(peer, 1);
        again.boot = 99;
        new.say(Greeting::Hello(again)).await;
        assert!(matches!(new.hear().await, Greeting::Hello(_)));
        if peer == 2 {
            new.say(Greeting::Confirm(1)).await;
        } else {
            assert!(matches!(new.hear().await, Greeting::Confirm(_)));
        }
        let at_new = one.up(peer).await;
        // It may be closed already: then so much the better.
        let late = crate::stream_support::framed(synod_core::GroupId(0), 0, b"late");
        let _ = futures::io::AsyncWriteExt::write_all(&mut old.end, &late).await;
        new.send(b"new").await;
        assert_eq!(one.message(at_new).await, "new");
        one.silent_for(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_that_comes_late_does_not_replace_a_later_one() {
    let hub = Hub::default();
    let mut one = Node::start(&hub, config(1, &[]).accept_unknown(true));
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut connection = ByHand::dial(&hub, 1).await;
        connection.say(Greeting::Hello(hello(2, 1))).await;
        assert!(matches!(connection.hear().await, Greeting::Hello(_)));
        connections.push(connection);
    }
    connections[1].say(Greeting::Confirm(6)).await;
    let link = one.up(2).await;
    connections[0].say(Greeting::Confirm(5)).await;
    assert_eq!(
        connections[0].hear().await,
        Greeting::Refuse(Refusal::Superseded)
    );
    connections[1].send(b"still here").await;
    assert_eq!(one.message(link).await, "still here");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_dials_again_has_lost_its_link_whatever_we_believe() {
    let hub = Hub::default();
    let mut two = Node::start(&hub, config(2, &[]).accept_unknown(true));
    // The same life of node 1, twice.
    let _first = ByHand::link(&hub, 1, 2).await;
    let old = two.up(1).await;
    let mut second = ByHand::link(&hub, 1, 2).await;
    let new = two.up(1).await;
    assert!(new > old);
    second.send(b"hello").await;
    assert_eq!(two.message(new).await, "hello");
}

#[tokio::test(start_paused = true)]
async fn the_keeper_drops_its_own_attempt_if_the_peer_was_faster() {
    for (boot, expected) in [(1, "refused"), (77, "confirmed")] {
        let hub = Hub::default();
        let one = hub.host(&host(1));
        let mut two = Node::start(&hub, config(2, &[1]));
        let mut dialled = ByHand::accept(&one).await;
        assert!(matches!(dialled.hear().await, Greeting::Hello(_)));
        // Before it answers, it gets a link by dialling itself.
        let _dialler = ByHand::link(&hub, 1, 2).await;
        let link = two.up(1).await;
        let mut answer = hello(1, 2);
        answer.boot = boot;
        dialled.say(Greeting::Hello(answer)).await;
        match dialled.hear().await {
            Greeting::Refuse(Refusal::Superseded) => assert_eq!(expected, "refused"),
            // Another life of the peer: the link is to one that is no more.
            Greeting::Confirm(_) => {
                assert_eq!(expected, "confirmed");
                assert!(two.up(1).await > link);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_that_dial_each_other_at_once_agree_on_one_connection() {
    for seed in 0..200 {
        // Each pipe has a latency of its own, so that words of two connections overtake each other.
        let hub = Hub::with_latency(seed, 120);
        let mut one = Node::start(&hub, config(1, &[2]));
        let mut two = Node::start(&hub, config(2, &[1]));
        sleep(Duration::from_secs(3)).await;
        let last = |node: &mut Node| match node.pending.pop() {
            Some(Delivery::Link(_, Link::Up(link))) => link,
            other => panic!("seed {seed}: {} is left with {other:?}", node.id),
        };
        use synod_core::Transport;
        one.transport.recv(&mut one.pending).await.unwrap();
        two.transport.recv(&mut two.pending).await.unwrap();
        let (at_one, at_two) = (last(&mut one), last(&mut two));
        one.pending.clear();
        two.pending.clear();
        one.send(2, at_one, &[b"there"]).await;
        two.send(1, at_two, &[b"back"]).await;
        assert_eq!(two.message(at_two).await, "there", "seed {seed}");
        assert_eq!(one.message(at_one).await, "back", "seed {seed}");
        let links = one.transport.stats().links.max(two.transport.stats().links);
        assert!(links <= 3, "seed {seed}: it took {links} links to agree");
        one.silent_for(Duration::from_secs(60)).await;
        two.silent_for(Duration::ZERO).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_stays_and_a_dead_one_is_noticed() {
    let hub = Hub::default();
    let (mut one, mut two, ..) = pair(&hub).await;
    one.silent_for(Duration::from_secs(3600)).await;
    two.silent_for(Duration::ZERO).await;

    hub.remove(&host(1));
    hub.remove(&host(2));
    hub.swallow_all();
    let start = Instant::now();
    one.down(2).await;
    two.down(1).await;
    let noticed = start.elapsed();
    assert!(noticed <= Duration::from_secs(20), "{noticed:?}");
    assert_eq!(ends(&one), [LinkEnd::Silent(Duration::from_secs(15))]);
}

#[tokio::test(start_paused = true)]
async fn dialling_backs_off_and_starts_over_after_a_link_that_lasted() {
    let hub = Hub::default();
    let mut two = Node::start(&hub, config(2, &[1]));
    sleep(Duration::from_secs(60)).await;
    let attempts = two.transport.stats().failed;
    // 50 ms, doubled up to 2 s, with up to a half off.
    assert!((30..80).contains(&attempts), "{attempts}");

    let one = Node::start(&hub, config(1, &[]).accept_unknown(true));
    two.up(1).await;
    sleep(Duration::from_secs(10)).await;
    drop(one);
    hub.remove(&host(1));
    hub.cut_all();
    two.down(1).await;
    let start = Instant::now();
    let _one = Node::start(&hub, config(1, &[]).accept_unknown(true));
    two.up(1).await;
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn the_address_book_changes_at_run_time() {
    let hub = Hub::default();
    let mut one = Node::start(
        &hub,
        config(1, &[2]).backoff(Duration::from_secs(60), Duration::from_secs(60)),
    );
    let mut two = Node::with_network(config(2, &[]).accept_unknown(true), hub.host("moved"));
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    one.transport.set_peer(NodeId(2), "moved").unwrap();
    one.up(2).await;
    two.up(1).await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "a new address does not wait for the backoff"
    );

    one.transport.remove_peer(NodeId(2));
    one.down(2).await;
    two.down(1).await;
    assert_eq!(ends(&one), [LinkEnd::Reset]);
    let mut back = ByHand::dial(&hub, 1).await;
    back.say(Greeting::Hello(hello(2, 1))).await;
    assert_eq!(
        back.hear().await,
        Greeting::Refuse(Refusal::UnknownPeer(NodeId(2)))
    );

    one.transport.set_peer(NodeId(2), "moved").unwrap();
    one.up(2).await;
    two.up(1).await;
    assert_eq!(
        one.transport.set_peer(NodeId(1), "here"),
        Err(Refusal::OwnId(NodeId(1)))
    );
}

#[tokio::test(start_paused = true)]
async fn links_can_be_reset() {
    let hub = Hub::default();
    let (mut one, mut two, old, _) = pair(&hub).await;
    one.transport.reset_links();
    one.down(2).await;
    two.down(1).await;
    assert!(one.up(2).await > old);
    two.up(1).await;
}

#[tokio::test(start_paused = true)]
async fn closing_delivers_what_was_sent_before() {
    let hub = Hub::with_latency(1, 5);
    hub.set_capacity(1000);
    let (mut one, mut two, at_one, at_two) = pair(&hub).await;
    let large = vec![1; 5000];
    one.send(2, at_one, &[&large, b"last"]).await;
    one.transport.close();
    one.send(2, at_one, &[b"too late"]).await;
    assert_eq!(two.message(at_two).await, large);
    assert_eq!(two.message(at_two).await, "last");
    two.down(1).await;
    one.down(2).await;
    let ended = one.next().await.unwrap_err();
    assert_eq!(ended.to_string(), "the transport has ended: it was closed");
    (&mut one.connections).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_its_connections_a_transport_ends() {
    let hub = Hub::default();
    let (mut one, mut two, ..) = pair(&hub).await;
    one.connections.abort();
    one.down(2).await;
    let ended = one.next().await.unwrap_err().to_string();
    assert!(ended.contains("was dropped"), "{ended}");
    two.down(1).await;
}

#[tokio::test(start_paused = true)]
async fn without_connections_that_ever_ran_a_transport_ends() {
    let hub = Hub::default();
    let config = config(1, &[]).build().unwrap();
    let clock = Arc::new(TokioClock::new());
    let network = hub.host("host1");
    let (transport, connections) =
        StreamTransport::<Bytes>::new(config, clock, network, InsecurePlaintext);
    drop(connections);
    let ended = timeout(LONG, transport.recv(&mut Vec::new())).await;
    let ended = ended.unwrap().unwrap_err().to_string();
    assert!(ended.contains("was dropped"), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn a_closed_transport_does_not_wait_for_a_peer_that_takes_nothing() {
    let hub = Hub::default();
    let (mut one, _two, at_one, _) = pair(&hub).await;
    hub.swallow_all();
    one.send(2, at_one, &[b"lost"]).await;
    let start = Instant::now();
    one.transport.close();
    (&mut one.connections).await.unwrap();
    assert!(
        start.elapsed() <= Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}
