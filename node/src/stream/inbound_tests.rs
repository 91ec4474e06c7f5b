use super::*;
use futures::task::noop_waker;

const OWN: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);

fn take(inbound: &Inbound<u8>) -> Vec<Delivery<u8>> {
    let mut into = Vec::new();
    let waker = noop_waker();
    let _ = inbound.poll_take(&mut into, &Context::from_waker(&waker));
    into
}

fn room(inbound: &Inbound<u8>) -> bool {
    let waker = noop_waker();
    inbound
        .poll_room(PEER, &Context::from_waker(&waker))
        .is_ready()
}

fn push(inbound: &Inbound<u8>, link: u64, message: u8) -> bool {
    inbound.push((OWN, PEER, LinkId(link)), &mut vec![message], 10)
}

fn message(link: u64, message: u8) -> Delivery<u8> {
    Delivery::Message(Envelope {
        from: PEER,
        to: OWN,
        link: LinkId(link),
        message,
    })
}

#[test]
fn nothing_of_an_old_incarnation_comes_after_the_new_one() {
    let inbound = Inbound::new(1000, 1000);
    inbound.up(PEER, LinkId(1));
    assert!(push(&inbound, 1, 10));
    inbound.up(PEER, LinkId(2));
    assert!(!push(&inbound, 1, 11));
    assert!(push(&inbound, 2, 20));
    assert_eq!(
        take(&inbound),
        [
            Delivery::Link(PEER, Link::Up(LinkId(1))),
            message(1, 10),
            Delivery::Link(PEER, Link::Up(LinkId(2))),
            message(2, 20),
        ]
    );
}

#[test]
fn the_end_of_a_replaced_link_is_not_announced() {
    let inbound = Inbound::new(1000, 1000);
    inbound.up(PEER, LinkId(1));
    inbound.up(PEER, LinkId(2));
    take(&inbound);
    inbound.down(PEER, LinkId(1));
    assert_eq!(take(&inbound), []);
    inbound.down(PEER, LinkId(2));
    inbound.down(PEER, LinkId(2));
    assert_eq!(take(&inbound), [Delivery::Link(PEER, Link::Down)]);
    assert!(!push(&inbound, 2, 1));
}

#[test]
fn room_is_counted_in_bytes_and_in_messages_and_comes_back() {
    for inbound in [Inbound::new(20, 1000), Inbound::new(1000, 2)] {
        inbound.up(PEER, LinkId(1));
        push(&inbound, 1, 1);
        assert!(room(&inbound));
        push(&inbound, 1, 2);
        assert!(!room(&inbound));
        assert_eq!(take(&inbound).len(), 3);
        assert!(room(&inbound));
    }
}

#[test]
fn a_peer_that_comes_and_goes_does_not_fill_the_queue() {
    let inbound = Inbound::new(1_000_000, 1000);
    let other = NodeId(3);
    inbound.up(other, LinkId(1));
    for link in 2..1000 {
        inbound.up(PEER, LinkId(link));
        push(&inbound, link, 7);
        inbound.down(PEER, LinkId(link));
    }
    let taken = take(&inbound);
    assert!(taken.len() <= 2 * CHANGES + 1, "{}", taken.len());
    assert_eq!(taken[0], Delivery::Link(other, Link::Up(LinkId(1))));
    assert_eq!(taken.last(), Some(&Delivery::Link(PEER, Link::Down)));
    assert!(!lock(&inbound.state).peers.contains_key(&PEER));
}

#[test]
fn what_came_before_the_end_is_still_there() {
    let inbound = Inbound::new(1000, 1000);
    inbound.up(PEER, LinkId(1));
    inbound.end("over");
    assert_eq!(take(&inbound).len(), 1);
    let waker = noop_waker();
    let ended = inbound.poll_take(&mut Vec::new(), &Context::from_waker(&waker));
    assert_eq!(ended, Poll::Ready(Err(TransportError("over".into()))));
}
