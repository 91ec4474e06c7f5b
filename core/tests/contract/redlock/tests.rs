//! What the contract promises, on RedLock.

use alloc::collections::{BTreeMap, BTreeSet};
use core::convert::Infallible;
use core::time::Duration;

use synod_core::{Envelope, Input, Instant, Link, LinkId, Machine, NodeId, Output, Ticket};

use super::store::Party;
use super::{Command, Event, LIMIT, LONGEST, Message, RedLock, STORES, Token};
use crate::cluster::Cluster;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const LEASE: Duration = Duration::from_secs(1);
const LOCK: Command = Command::Acquire {
    name: "x",
    lease: LEASE,
};

/// Two clients and five stores, all of which have been up for long.
fn seven(seed: u64) -> Cluster<Party> {
    let mut cluster = Cluster::new(&[1, 2, 11, 12, 13, 14, 15], seed);
    cluster.pass(LONGEST);
    cluster
}

fn lock(cluster: &mut Cluster<Party>, client: NodeId) -> Ticket {
    cluster.call(client, LOCK).flatten().expect("a ticket")
}

fn acquired(events: &[(NodeId, Event)]) -> Vec<(NodeId, Token)> {
    let token = |(node, event): &(NodeId, Event)| match event {
        Event::Acquired { token, .. } => Some((*node, *token)),
        _ => None,
    };
    events.iter().filter_map(token).collect()
}

#[test]
fn one_of_two_gets_it_and_the_other_after_it() {
    let mut cluster = seven(1);
    let ticket = lock(&mut cluster, A);
    cluster.settle();
    let other = lock(&mut cluster, B);
    cluster.pass(LEASE / 2);
    let events = cluster.events();
    assert_eq!(acquired(&events).len(), 1);
    assert_eq!(
        events.last(),
        Some(&(B, Event::Failed(other))),
        "after all its tries"
    );
    assert_eq!(
        cluster.call(A, Command::Release(ticket)),
        Some(Some(ticket))
    );
    lock(&mut cluster, B);
    cluster.settle();
    assert_eq!(acquired(&cluster.events())[0].0, B);
}

#[test]
fn two_stores_may_be_gone_but_not_three() {
    let mut cluster = seven(2);
    for (k, store) in STORES.map(NodeId).into_iter().enumerate().take(3) {
        let ticket = lock(&mut cluster, A);
        cluster.pass(LIMIT * 10);
        assert_eq!(acquired(&cluster.events()).len(), 1, "{k} stores are gone");
        cluster.call(A, Command::Release(ticket));
        cluster.settle();
        cluster.crash(store, 0);
    }
    let ticket = lock(&mut cluster, A);
    cluster.pass(LIMIT * 10);
    assert_eq!(cluster.events(), [(A, Event::Failed(ticket))]);
}

/// Nobody answers and nothing else happens: time alone ends it, and a lease too.
#[test]
fn deadlines_alone_drive_it() {
    let mut cluster = seven(3);
    let ticket = lock(&mut cluster, A);
    while cluster.poll(A) {}
    cluster.lose(|_| true);
    cluster.tick(A);
    assert!(cluster.now >= Instant::START + LIMIT);
    cluster.pass(LIMIT * 10);
    assert_eq!(acquired(&cluster.events()).len(), 1, "by the next try");
    cluster.pass(LEASE);
    assert_eq!(cluster.events(), [(A, Event::Lost(ticket))]);
    cluster.pass(LONGEST);
    assert_eq!(cluster.machine(A).deadline(), None, "idle");
}

/// What the stores take to answer is not part of the lease, nor is what clocks may drift.
#[test]
fn the_lease_counts_from_before_the_request() {
    let mut cluster = seven(6);
    let before = cluster.now;
    lock(&mut cluster, A);
    while cluster.poll(A) {}
    cluster.now = cluster.now + LIMIT / 2;
    cluster.settle();
    let events = cluster.events();
    let Some((_, Event::Acquired { until, .. })) = events.first() else {
        panic!("{events:?}");
    };
    let drift = LEASE / 100 + Duration::from_millis(2);
    assert!(*until <= before + LEASE - drift + Duration::from_micros(1));
}

/// All stores grant it, no answer gets through, then no link is up: when they are again, what is
/// owed is given back long before the lease would end.
#[test]
fn what_may_have_been_granted_is_released() {
    let mut cluster = seven(4);
    let ticket = lock(&mut cluster, A);
    while cluster.turn() {
        cluster.lose(|envelope| envelope.to == A);
    }
    cluster.isolate(A, true);
    let refused = lock(&mut cluster, B);
    cluster.pass(LIMIT * 9);
    let failed = |event: &(NodeId, Event)| matches!(event.1, Event::Failed(_));
    let events = cluster.events();
    assert!(
        events.iter().all(failed) && events.len() == 2,
        "{ticket} and {refused}"
    );
    cluster.isolate(A, false);
    cluster.settle();
    lock(&mut cluster, B);
    cluster.settle();
    assert_eq!(acquired(&cluster.events())[0].0, B);
}

/// A store that crashes may have granted what it forgot: it is of no use until that is over.
#[test]
fn a_store_that_forgot_stays_out() {
    let mut cluster = seven(8);
    let (forgetful, absent) = (NodeId(13), [14, 15].map(NodeId));
    for store in absent {
        cluster.isolate(store, true);
    }
    lock(&mut cluster, A);
    cluster.settle();
    assert_eq!(acquired(&cluster.events()).len(), 1);
    for store in absent {
        cluster.isolate(store, false);
    }
    cluster.crash(forgetful, 0);
    cluster.restart(forgetful);
    let refused = lock(&mut cluster, B);
    cluster.pass(LEASE / 2);
    assert_eq!(cluster.events(), [(B, Event::Failed(refused))]);
}

/// One list of moments and inputs replays a life, and another seed is another life.
#[test]
fn a_list_of_inputs_replays_a_life() {
    let life = |seed| {
        let mut outputs = Vec::new();
        let mut client = RedLock::new(A, seed);
        let mut feed = |at: u64, input: Input<Command, Message, Infallible>| {
            input.feed(&mut client, Instant::from_millis(at));
            outputs.extend(core::iter::from_fn(|| client.poll()));
        };
        for store in STORES {
            feed(1, Input::Link(NodeId(store), Link::Up(LinkId(store))));
        }
        feed(2, Input::Call(LOCK));
        feed(
            3,
            Input::Step(Envelope {
                from: NodeId(11),
                to: A,
                link: LinkId(11),
                message: Message::Answer {
                    token: Token(0),
                    release: false,
                    done: true,
                },
            }),
        );
        for at in [40, 60, 200, 260, 400, 460] {
            feed(at, Input::Tick);
        }
        outputs
    };
    assert_eq!(life(7), life(7));
    let tokens = |outputs: &[Output<Message, _, _, _>]| {
        let token = |output: &Output<Message, Infallible, Event, Infallible>| match output {
            Output::Send(Envelope {
                message: Message::Acquire { token, .. },
                ..
            }) => Some(*token),
            _ => None,
        };
        outputs.iter().filter_map(token).collect::<BTreeSet<_>>()
    };
    assert!(tokens(&life(7)).len() == 3, "one for each try");
    assert!(tokens(&life(7)).is_disjoint(&tokens(&life(8))));
}

/// Stores lose their memory, clients forget, links break at any time. Clocks are the same for all
/// here: drift is the simulator's business.
#[test]
fn never_two_holders_in_any_weather() {
    let mut held = 0;
    for seed in 0..100 {
        let mut cluster = seven(seed);
        let mut holders = BTreeMap::new();
        for step in 0..4_000_u32 {
            cluster.random_step();
            for (node, event) in cluster.events() {
                if let Event::Acquired { ticket, until, .. } = event {
                    holders.insert(node, (ticket, until));
                    held += 1;
                }
            }
            holders.retain(|node, (_, until)| *until > cluster.now && cluster.is_alive(*node));
            assert!(holders.len() <= 1, "seed {seed}: {holders:?}");
            if step % 100 == 0 {
                cluster.call(A, LOCK);
                cluster.call(B, LOCK);
            }
            if step % 100 == 50 {
                for (node, (ticket, _)) in core::mem::take(&mut holders) {
                    cluster.call(node, Command::Release(ticket));
                }
            }
        }
    }
    assert!(held > 100, "only {held} leases in all");
}
