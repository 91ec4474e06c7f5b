//! The suite for transports catches transports that are broken on purpose, each by the rule it
//! breaks.

use core::future::{pending, poll_fn};
use core::task::Poll;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use futures::executor::block_on;
use synod_core::conform::{self, Network, rule};
use synod_core::mem::{MemNetwork, MemTransport};
use synod_core::{Delivery, Envelope, Link, LinkId, NodeId, Transport, TransportError};

/// What is wrong with a transport.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    None,
    NeverUp,
    SameLinkAgain,
    NeverDown,
    Twice,
    TwiceMuchLater,
    Swaps,
    LosesSome,
    CutsLarge,
    LosesEmpty,
    WrongSender,
    StrangeLink,
    AnyLinkWillDo,
    OldAfterNew,
    OldUnderNewName,
    WaitsForTheDead,
    LeavesSome,
    LosesOnCancel,
    ReturnsNothing,
    StaysBroken,
    StuckAfterFlood,
    LosesInAFlood,
}

struct Faulty {
    inner: MemTransport<Bytes>,
    fault: Fault,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    links: BTreeMap<NodeId, LinkId>,
    sent: u64,
    arrived: u64,
    kept: Vec<Delivery<Bytes>>,
    dead: bool,
    stuck: bool,
}

/// The first number that arrives for each of these is what the fault is about.
const NOW_AND_THEN: u64 = 37;

impl Faulty {
    /// What the fault does to what is sent.
    fn outgoing(&self, state: &mut State, envelope: Envelope<Bytes>) -> Vec<Envelope<Bytes>> {
        state.sent += 1;
        let odd = state.sent.is_multiple_of(NOW_AND_THEN);
        match self.fault {
            Fault::Twice if odd => vec![envelope.clone(), envelope],
            Fault::LosesSome if odd => vec![],
            Fault::LosesEmpty if envelope.message.len() <= 16 => vec![],
            Fault::CutsLarge if envelope.message.len() > 65_536 => vec![Envelope {
                message: envelope.message.slice(..65_536),
                ..envelope
            }],
            Fault::SameLinkAgain if envelope.link != LinkId(1) => vec![],
            Fault::AnyLinkWillDo | Fault::SameLinkAgain => match state.links.get(&envelope.to) {
                Some(&link) => vec![Envelope { link, ..envelope }],
                None => vec![],
            },
            Fault::LosesInAFlood if (6000..6010).contains(&state.sent) => vec![],
            Fault::StuckAfterFlood => {
                state.stuck |= state.sent > 9000;
                if state.stuck && envelope.to == NodeId(2) {
                    vec![]
                } else {
                    vec![envelope]
                }
            }
            _ => vec![envelope],
        }
    }

    /// What the fault does to what arrives.
    fn incoming(&self, state: &mut State, delivery: Delivery<Bytes>) -> Vec<Delivery<Bytes>> {
        match delivery {
            Delivery::Link(peer, Link::Up(link)) => {
                let old = state.links.insert(peer, link);
                let again = old.is_some();
                match self.fault {
                    Fault::NeverUp => vec![],
                    Fault::StaysBroken if again => vec![Delivery::Link(peer, Link::Down)],
                    Fault::SameLinkAgain => vec![Delivery::Link(peer, Link::Up(LinkId(1)))],
                    Fault::OldAfterNew | Fault::OldUnderNewName => {
                        let mut all = vec![Delivery::Link(peer, Link::Up(link))];
                        all.append(&mut state.kept);
                        if self.fault == Fault::OldUnderNewName {
                            for delivery in &mut all {
                                if let Delivery::Message(envelope) = delivery {
                                    envelope.link = link;
                                }
                            }
                        }
                        all
                    }
                    _ => vec![Delivery::Link(peer, Link::Up(link))],
                }
            }
            Delivery::Link(peer, Link::Down) => match self.fault {
                Fault::NeverDown => vec![],
                Fault::WaitsForTheDead => {
                    state.dead = true;
                    vec![Delivery::Link(peer, Link::Down)]
                }
                _ => vec![Delivery::Link(peer, Link::Down)],
            },
            Delivery::Message(envelope) => self.message(state, envelope),
        }
    }

    fn message(&self, state: &mut State, mut envelope: Envelope<Bytes>) -> Vec<Delivery<Bytes>> {
        state.arrived += 1;
        let odd = state.arrived.is_multiple_of(NOW_AND_THEN);
        match self.fault {
            Fault::WrongSender if odd => envelope.from = NodeId(envelope.from.0 + 1),
            Fault::SameLinkAgain => envelope.link = LinkId(1),
            Fault::StrangeLink if odd => envelope.link = LinkId(123_456),
            Fault::OldAfterNew | Fault::OldUnderNewName => {
                state.kept = vec![Delivery::Message(envelope.clone())];
            }
            Fault::TwiceMuchLater if odd => {
                let mut all = vec![Delivery::Message(envelope.clone())];
                all.append(&mut state.kept);
                state.kept = vec![Delivery::Message(envelope)];
                return all;
            }
            _ => {}
        }
        vec![Delivery::Message(envelope)]
    }
}

async fn once() {
    let mut polled = false;
    poll_fn(|context| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[async_trait::async_trait]
impl Transport<Bytes> for Faulty {
    async fn send(&self, batch: &mut Vec<Envelope<Bytes>>) {
        if self.state.lock().unwrap().dead {
            pending::<()>().await;
        }
        let last = batch.last().cloned();
        let mut out: Vec<Envelope<Bytes>> = {
            let mut state = self.state.lock().unwrap();
            let envelopes = batch.drain(..);
            envelopes
                .flat_map(|envelope| self.outgoing(&mut state, envelope))
                .collect()
        };
        if self.fault == Fault::Swaps && out.len() > 3 {
            out.swap(1, 2);
        }
        self.inner.send(&mut out).await;
        if self.fault == Fault::LeavesSome {
            batch.extend(last.filter(|envelope| envelope.to == NodeId(99)));
        }
    }

    async fn recv(&self, into: &mut Vec<Delivery<Bytes>>) -> Result<(), TransportError> {
        let mut arrived = Vec::new();
        self.inner.recv(&mut arrived).await?;
        if self.fault == Fault::LosesOnCancel {
            // Between taking and handing over: a receive that is dropped here loses what it took.
            once().await;
            once().await;
        }
        let mut state = self.state.lock().unwrap();
        for delivery in arrived {
            into.extend(self.incoming(&mut state, delivery));
        }
        if self.fault == Fault::ReturnsNothing && state.arrived > 20 {
            into.clear();
        }
        Ok(())
    }
}

/// Nodes on a network in memory.
struct Net {
    network: MemNetwork<Bytes>,
    fault: Fault,
    breaks: bool,
}

impl Net {
    fn new(fault: Fault) -> Self {
        Self {
            // Room enough that it is not the network that gives up a link in a flood.
            network: MemNetwork::new(if fault == Fault::LosesInAFlood {
                1 << 20
            } else {
                64
            }),
            fault,
            breaks: true,
        }
    }
}

#[async_trait::async_trait]
impl Network for Net {
    type Transport = Faulty;

    async fn start(&mut self, node: NodeId) -> Result<Faulty, TransportError> {
        Ok(Faulty {
            inner: self.network.join(node),
            fault: self.fault,
            state: Mutex::default(),
        })
    }

    async fn break_link(&mut self, one: NodeId, other: NodeId) -> bool {
        if self.breaks {
            self.network.renew(one, other);
        }
        self.breaks
    }

    /// Everything here happens at once or never, so the time is counted in polls.
    async fn sleep(&self, time: Duration) {
        for _ in 0..time.as_millis().min(500) {
            once().await;
        }
    }
}

#[test]
fn the_network_in_memory_conforms() {
    let report = block_on(conform::transport(Net::new(Fault::None))).unwrap();
    assert_eq!(report.checked.len(), 12);
    assert_eq!(report.skipped, [""; 0]);
}

#[test]
fn what_cannot_be_checked_is_said() {
    let network = Net {
        breaks: false,
        ..Net::new(Fault::None)
    };
    let report = block_on(conform::transport(network)).unwrap();
    assert_eq!(report.skipped, [rule::BROKEN]);
}

#[test]
fn every_broken_transport_is_caught_by_its_rule() {
    let faults = [
        (Fault::NeverUp, rule::UP),
        (Fault::SameLinkAgain, rule::BROKEN),
        (Fault::NeverDown, rule::DOWN),
        (Fault::Twice, rule::ONCE),
        (Fault::TwiceMuchLater, rule::ONCE),
        (Fault::Swaps, rule::IN_ORDER),
        (Fault::LosesSome, rule::ARRIVES),
        (Fault::LosesEmpty, rule::ARRIVES),
        (Fault::StuckAfterFlood, rule::ARRIVES),
        (Fault::LosesInAFlood, rule::NO_GAPS),
        (Fault::CutsLarge, rule::WHOLE),
        (Fault::WrongSender, rule::NAMED),
        (Fault::StrangeLink, rule::NAMED),
        (Fault::AnyLinkWillDo, rule::OLD_LINK),
        (Fault::OldAfterNew, rule::OLD_LINK),
        (Fault::OldUnderNewName, rule::ONCE),
        (Fault::WaitsForTheDead, rule::NEVER_WAITS),
        (Fault::LeavesSome, rule::NEVER_WAITS),
        (Fault::LosesOnCancel, rule::CANCEL),
        (Fault::StaysBroken, rule::BROKEN),
        (Fault::ReturnsNothing, rule::ARRIVES),
    ];
    for (fault, expected) in faults {
        match block_on(conform::transport(Net::new(fault))) {
            Ok(_) => panic!("{fault:?} is not caught"),
            Err(violation) => assert_eq!(violation.rule, expected, "{fault:?}: {violation}"),
        }
    }
}
