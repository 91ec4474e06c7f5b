//! The doubles: what they promise to tests of others.

use core::time::Duration;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::{future::Future, pin::pin};

use bytes::Bytes;
use futures::executor::block_on;
use synod_core::mem::{ManualClock, MemNetwork, MemStorage, MemTransport};
use synod_core::{
    Batch, Clock, Delivery, Envelope, Instant, Link, LinkId, LogRecord, NodeId, Storage,
    StorageError, Transport,
};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

/// Counts how often it was woken.
#[derive(Default)]
struct Counter(std::sync::atomic::AtomicUsize);

impl Counter {
    fn count(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

fn poll<F: Future>(future: core::pin::Pin<&mut F>, counter: &Arc<Counter>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(counter));
    future.poll(&mut Context::from_waker(&waker))
}

fn state(text: &'static str) -> LogRecord {
    LogRecord::State(Bytes::from_static(text.as_bytes()))
}

fn two(text: &'static str, other: &'static str) -> Batch<LogRecord> {
    [state(text), state(other)].into_iter().collect()
}

fn disk_full() -> StorageError {
    StorageError::Full {
        place: "memory".into(),
    }
}

#[test]
fn a_failed_write_keeps_a_prefix_and_ends_the_life() {
    let disk = MemStorage::new();
    disk.fail_next_write(1, disk_full());
    let written = block_on(disk.write(two("one", "two")));
    assert_eq!(written, Err(disk_full()));
    let after = block_on(disk.write(Batch::from(state("three"))));
    assert!(matches!(after, Err(StorageError::Failed(_))));
    let restored = block_on(disk.restart().restore()).unwrap();
    assert_eq!(restored.state.unwrap(), "one");
}

#[test]
fn a_held_write_is_durable_once_it_is_released() {
    let disk = MemStorage::new();
    disk.hold();
    let counter = Arc::new(Counter::default());
    let mut write = pin!(disk.write(two("one", "two")));
    for _ in 0..3 {
        assert!(poll(write.as_mut(), &counter).is_pending());
    }
    assert_eq!((disk.waiting(), disk.image().state()), (2, None));
    disk.release();
    assert_eq!(counter.count(), 1, "woken once, however often it asked");
    assert_eq!(poll(write.as_mut(), &counter), Poll::Ready(Ok(())));
    assert_eq!(disk.image().state().unwrap(), "two");
}

#[test]
fn a_restart_loses_or_tears_the_write_on_its_way() {
    for (kept, left) in [(0, None), (1, Some("one")), (2, Some("two"))] {
        let disk = MemStorage::new();
        disk.hold();
        let counter = Arc::new(Counter::default());
        let mut write = pin!(disk.write(two("one", "two")));
        assert!(poll(write.as_mut(), &counter).is_pending());
        let again = disk.restart_torn(kept);
        assert!(matches!(
            poll(write.as_mut(), &counter),
            Poll::Ready(Err(StorageError::Failed(_)))
        ));
        assert_eq!(
            again.image().state().map(|s| &s[..]),
            left.map(str::as_bytes)
        );
        block_on(again.write(Batch::from(state("new life")))).unwrap();
    }
}

#[test]
fn a_record_against_the_rules_fails_the_write() {
    let disk = MemStorage::new();
    let bad = LogRecord::Truncate {
        from: synod_core::LogIndex::START,
    };
    let written = block_on(disk.write(Batch::from(bad)));
    let text = written.unwrap_err().to_string();
    assert!(text.contains("truncate at i0"), "{text}");
}

#[test]
fn a_clock_wakes_who_is_due() {
    let clock = ManualClock::new();
    let (early, late) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
    let mut first = pin!(clock.sleep_until(Instant::from_millis(2)));
    let mut second = pin!(clock.sleep_until(Instant::from_millis(5)));
    assert!(poll(first.as_mut(), &early).is_pending());
    assert!(poll(second.as_mut(), &late).is_pending());
    assert_eq!(clock.next_wake(), Some(Instant::from_millis(2)));
    clock.advance(Duration::from_millis(2));
    assert_eq!((early.count(), late.count()), (1, 0));
    assert!(poll(first.as_mut(), &early).is_ready());
    clock.advance_to(Instant::from_millis(1));
    assert_eq!(clock.now(), Instant::from_millis(2), "it does not go back");
    clock.advance_to(Instant::from_millis(9));
    assert!(poll(second.as_mut(), &late).is_ready());
}

#[test]
fn a_sleeper_that_was_dropped_leaves_nothing() {
    let clock = ManualClock::new();
    {
        let mut sleep = Box::pin(clock.sleep_until(Instant::from_millis(2)));
        assert!(poll(sleep.as_mut(), &Arc::new(Counter::default())).is_pending());
    }
    assert_eq!(clock.next_wake(), None);
}

fn recv(transport: &MemTransport<u32>) -> Vec<Delivery<u32>> {
    let mut into = Vec::new();
    let counter = Arc::new(Counter::default());
    match poll(pin!(transport.recv(&mut into)), &counter) {
        Poll::Ready(result) => result.unwrap(),
        Poll::Pending => {}
    }
    into
}

fn link(transport: &MemTransport<u32>) -> LinkId {
    match recv(transport).as_slice() {
        [Delivery::Link(_, Link::Up(link))] => *link,
        other => panic!("{other:?}"),
    }
}

fn send(transport: &MemTransport<u32>, to: NodeId, link: LinkId, messages: &[u32]) {
    let from = transport.node();
    let envelopes = messages.iter().map(|&message| Envelope {
        from,
        to,
        link,
        message,
    });
    block_on(transport.send(&mut envelopes.collect()));
}

fn numbers(deliveries: &[Delivery<u32>]) -> Vec<u32> {
    let messages = deliveries.iter().filter_map(|delivery| match delivery {
        Delivery::Message(envelope) => Some(envelope.message),
        Delivery::Link(..) => None,
    });
    messages.collect()
}

#[test]
fn messages_arrive_in_order() {
    let network = MemNetwork::new(3);
    let (a, b) = (network.join(A), network.join(B));
    let up = link(&a);
    recv(&b);
    send(&a, B, up, &[1, 2, 3]);
    assert_eq!(numbers(&recv(&b)), [1, 2, 3]);
    send(&a, B, up, &[4]);
    assert_eq!(numbers(&recv(&b)), [4]);
}

#[test]
fn what_does_not_fit_ends_the_incarnation() {
    let network = MemNetwork::new(3);
    let (a, b) = (network.join(A), network.join(B));
    let old = link(&a);
    recv(&b);
    send(&a, B, old, &[1, 2, 3, 4, 5]);
    assert_eq!(network.dropped(), 2);
    let new = link(&a);
    assert_ne!(new, old);
    assert_eq!(
        recv(&b),
        [Delivery::Link(A, Link::Up(new))],
        "nothing behind a gap"
    );
    send(&a, B, new, &[6]);
    assert_eq!(numbers(&recv(&b)), [6]);
}

#[test]
fn nothing_of_an_old_incarnation_arrives() {
    let network = MemNetwork::new(9);
    let (a, b) = (network.join(A), network.join(B));
    let old = link(&a);
    recv(&b);
    send(&a, B, old, &[1]);
    network.renew(A, B);
    send(&a, B, old, &[2]);
    let new = link(&a);
    send(&a, B, new, &[3]);
    let arrived = recv(&b);
    assert_eq!(arrived[0], Delivery::Link(A, Link::Up(new)));
    assert_eq!(numbers(&arrived), [3]);
}

#[test]
fn a_cut_link_is_down_until_it_is_mended() {
    let network = MemNetwork::new(9);
    let (a, b) = (network.join(A), network.join(B));
    let old = link(&a);
    recv(&b);
    network.cut(B, A);
    assert_eq!(recv(&a), [Delivery::Link(B, Link::Down)]);
    send(&a, B, old, &[1]);
    network.mend(A, B);
    let new = link(&a);
    assert_ne!(new, old);
    network.mute(A, B, true);
    send(&a, B, new, &[2]);
    network.mute(A, B, false);
    send(&a, B, new, &[3]);
    assert_eq!(numbers(&recv(&b)), [3]);
}

#[test]
fn who_joins_again_ends_the_life_before() {
    let network = MemNetwork::<u32>::new(9);
    let (a, b) = (network.join(A), network.join(B));
    recv(&a);
    recv(&b);
    let again = network.join(B);
    assert!(block_on(b.recv(&mut Vec::new())).is_err());
    drop(b);
    let up = link(&again);
    assert_eq!(recv(&a), [Delivery::Link(B, Link::Up(up))]);
    drop(again);
    assert_eq!(recv(&a), [Delivery::Link(B, Link::Down)]);
}
