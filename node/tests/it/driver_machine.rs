//! The driver under a machine that is no log.

use std::convert::Infallible;

use futures::executor::block_on;
use futures::{FutureExt, StreamExt};
use synod_core::mem::{ManualClock, MemNetwork, MemTransport};
use synod_core::{
    Batch, Envelope, Instant, Link, LinkId, LoadId, Machine, NodeId, Outbox, Output, Storage,
    StorageError, Wake, WriteId,
};
use synod_node::driver::CallError;
use synod_node::{Driver, Limits, NodeError, Parts};

use crate::driver_support::{RUNTIMES, Rt, spawn};

/// Greets its one peer when told to, durably first; counts greetings as events. Rings a bell at
/// the time it is told.
struct Greeter {
    id: NodeId,
    peer: Option<(NodeId, LinkId)>,
    alarm: Option<Instant>,
    outbox: Outbox<String, String, String, Infallible, ()>,
}

enum Order {
    Greet(&'static str),
    Say(usize),
    RingAt(Instant),
}

impl Machine for Greeter {
    type Command = Order;
    type Reply = bool;
    type Message = String;
    type Record = String;
    type Load = Infallible;
    type Loaded = Infallible;
    type Event = String;

    fn call(&mut self, _: Instant, order: Order) -> bool {
        match order {
            Order::Greet(what) => {
                let Some((to, link)) = self.peer else {
                    return false;
                };
                self.outbox.write(format!("said {what}"));
                self.outbox.send_after(Envelope {
                    from: self.id,
                    to,
                    link,
                    message: what.into(),
                });
            }
            Order::Say(times) => {
                for k in 0..times {
                    self.outbox.event_now(format!("{k}"));
                }
            }
            Order::RingAt(at) => self.alarm = Some(at),
        }
        true
    }

    fn step(&mut self, _: Instant, envelope: Envelope<String>) {
        self.outbox.write(format!("heard {}", envelope.message));
        self.outbox.event_after(envelope.message);
    }

    fn link(&mut self, _: Instant, peer: NodeId, link: Link) {
        self.peer = match link {
            Link::Up(id) => Some((peer, id)),
            Link::Down => None,
        };
    }

    fn tick(&mut self, now: Instant) {
        if self.alarm.is_some_and(|at| at <= now) {
            self.alarm = None;
            self.outbox.event_now("ring".into());
        }
    }

    fn persisted(&mut self, _: Instant, write: WriteId) {
        self.outbox.persisted(write);
    }

    fn loaded(&mut self, _: Instant, _: LoadId, _: Option<Infallible>) {}

    fn poll(&mut self) -> Option<Output<String, String, String, Infallible>> {
        self.outbox.poll()
    }

    fn deadline(&self) -> Option<Wake> {
        self.alarm.map(|at| Wake { at, why: "alarm" })
    }
}

struct Paper;

#[async_trait::async_trait]
impl Storage for Paper {
    type Record = String;
    type Load = Infallible;
    type Loaded = Infallible;
    type Restored = ();

    async fn restore(&self) -> Result<(), StorageError> {
        Ok(())
    }

    async fn write(&self, records: Batch<String>) -> Result<(), StorageError> {
        if records.iter().any(|record| record.contains("unspeakable")) {
            return Err(StorageError::Failed("no".into()));
        }
        Ok(())
    }

    async fn load(&self, load: Infallible) -> Result<Option<Infallible>, StorageError> {
        match load {}
    }
}

fn greeter(id: u64) -> Greeter {
    Greeter {
        id: NodeId(id),
        peer: None,
        alarm: None,
        outbox: Outbox::new(1),
    }
}

type Surroundings = Parts<Paper, MemTransport<String>, ManualClock>;

fn parts(network: &MemNetwork<String>, id: u64, clock: &ManualClock) -> Surroundings {
    Parts {
        storage: Paper,
        transport: network.join(NodeId(id)),
        clock: clock.clone(),
    }
}

#[test]
fn commands_go_in_and_replies_and_events_come_out() {
    for rt in RUNTIMES {
        let (network, clock) = (MemNetwork::new(16), ManualClock::new());
        let limits = Limits::default();
        let (one, remote, events) = Driver::new(greeter(1), parts(&network, 1, &clock), limits);
        let (two, other, mut heard) = Driver::new(greeter(2), parts(&network, 2, &clock), limits);
        drop(events);
        let (one, two) = (spawn(rt, one.run()), spawn(rt, two.run()));
        while !block_on(remote.call(Order::Greet("hello"))).unwrap() {}
        assert_eq!(block_on(heard.next()).as_deref(), Some("hello"));
        block_on(remote.shutdown());
        assert_eq!(one.join(), Ok(()));
        let late = remote.call(Order::Greet("late")).now_or_never();
        assert_eq!(late, Some(Err(CallError::Stopped)));
        block_on(other.shutdown());
        assert_eq!(two.join(), Ok(()));
        assert_eq!(block_on(heard.next()), None);
    }
}

#[test]
fn events_are_never_lost_the_machine_waits() {
    let (network, clock) = (MemNetwork::new(16), ManualClock::new());
    let limits = Limits {
        max_events: 3,
        ..Limits::default()
    };
    let (driver, remote, mut events) = Driver::new(greeter(1), parts(&network, 1, &clock), limits);
    let _running = spawn(Rt::Tokio, driver.run());
    assert!(block_on(remote.call(Order::Say(100))).unwrap());
    for k in 0..100 {
        assert_eq!(block_on(events.next()), Some(format!("{k}")));
    }
}

#[test]
fn while_events_are_not_taken_the_machine_gets_no_more_commands() {
    let (network, clock) = (MemNetwork::new(16), ManualClock::new());
    let limits = Limits {
        max_events: 3,
        max_outstanding: 5,
    };
    let (driver, remote, mut events) = Driver::new(greeter(1), parts(&network, 1, &clock), limits);
    let running = spawn(Rt::Tokio, driver.run());
    // What it says to the first is too much, so it is told no more: the rest waits in the queue.
    assert!(block_on(remote.call(Order::Say(4))).unwrap());
    let mut calls: Vec<_> = (0..5).map(|_| remote.call(Order::Say(1))).collect();
    assert_eq!(
        block_on(remote.call(Order::Say(1))),
        Err(CallError::Busy(5))
    );
    for call in &mut calls {
        assert_eq!(call.now_or_never(), None);
    }
    for k in ["0", "1", "2", "3", "0", "0", "0", "0", "0"] {
        assert_eq!(block_on(events.next()).as_deref(), Some(k));
    }
    for call in calls {
        assert_eq!(block_on(call), Ok(true));
    }
    // Nor does it hold up the end.
    assert!(block_on(remote.call(Order::Say(4))).unwrap());
    let waiting = remote.call(Order::Say(1));
    block_on(remote.shutdown());
    assert_eq!(block_on(waiting), Err(CallError::Stopped));
    assert_eq!(running.join(), Ok(()));
}

#[test]
fn a_deadline_is_met_and_an_idle_machine_has_none() {
    let (network, clock) = (MemNetwork::new(16), ManualClock::new());
    let (driver, remote, mut events) =
        Driver::new(greeter(1), parts(&network, 1, &clock), Limits::default());
    let _running = spawn(Rt::Tokio, driver.run());
    let at = Instant::from_millis(70);
    block_on(remote.call(Order::RingAt(at))).unwrap();
    // The timer is armed before the next reply.
    block_on(remote.call(Order::Say(0))).unwrap();
    while clock.next_wake() != Some(at) {
        std::thread::yield_now();
    }
    assert!(events.next().now_or_never().is_none());
    clock.advance_to(at);
    assert_eq!(block_on(events.next()).as_deref(), Some("ring"));
    block_on(remote.call(Order::Say(0))).unwrap();
    assert_eq!(clock.next_wake(), None, "nothing is armed");
}

#[test]
fn a_failed_storage_ends_it_with_the_error() {
    let (network, clock) = (MemNetwork::new(16), ManualClock::new());
    let limits = Limits::default();
    let (driver, remote, mut events) = Driver::new(greeter(1), parts(&network, 1, &clock), limits);
    let _two = network.join(NodeId(2));
    let running = spawn(Rt::Smol, driver.run());
    while !block_on(remote.call(Order::Greet("unspeakable"))).unwrap() {}
    let error = running.join().unwrap_err();
    assert_eq!(error, NodeError::Storage(StorageError::Failed("no".into())));
    assert_eq!(block_on(events.next()), None);
}

#[test]
fn too_many_commands_are_refused_at_once() {
    let (network, clock) = (MemNetwork::new(16), ManualClock::new());
    let limits = Limits {
        max_outstanding: 1,
        ..Limits::default()
    };
    let (driver, remote, _events) = Driver::new(greeter(1), parts(&network, 1, &clock), limits);
    let first = remote.call(Order::Say(1));
    let second = remote.call(Order::Say(1)).now_or_never();
    assert_eq!(second, Some(Err(CallError::Busy(1))));
    drop(driver);
    assert_eq!(block_on(first), Err(CallError::Stopped));
}
