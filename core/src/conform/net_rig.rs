//! Nodes of a network under test, with what each has been told.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use core::future::Future;
use core::mem;
use core::ops::Range;
use core::time::Duration;

use bytes::Bytes;

use super::race::{Race, race};
use super::transport::Network;
use super::{Violation, rule, violation};
use crate::{Delivery, Envelope, Link, LinkId, NodeId, Transport};

/// How long the suite waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for `future`; a violation of `rule` if it takes too long.
pub(super) async fn within<N: Network, T>(
    network: &N,
    rule: &'static str,
    what: &str,
    future: impl Future<Output = T>,
) -> Result<T, Violation> {
    match race(future, network.sleep(PATIENCE)).await {
        Race::First(value) => Ok(value),
        Race::Second(()) => {
            let waited = PATIENCE.as_secs();
            Err(violation(rule, format!("{what}: nothing after {waited} s")))
        }
    }
}

/// A message of `len` + 16 bytes that can be told from any other and from a damaged one.
pub(super) fn message(number: u64, len: usize) -> Bytes {
    let filler = (0..len).map(|k| (number as usize).wrapping_add(k) as u8);
    let head = [number, len as u64].map(u64::to_le_bytes);
    head.into_iter().flatten().chain(filler).collect()
}

/// The number of a message, if it is unharmed.
fn number(bytes: &Bytes) -> Option<u64> {
    let number = u64::from_le_bytes(*bytes.first_chunk()?);
    (message(number, bytes.len().checked_sub(16)?) == *bytes).then_some(number)
}

/// One node and what it has been told.
#[derive(Debug)]
pub(super) struct Peer<T> {
    pub(super) id: NodeId,
    pub(super) transport: T,
    links: BTreeMap<NodeId, LinkId>,
    /// Every link it was ever told of.
    known: BTreeSet<(NodeId, LinkId)>,
    /// The numbers that arrived, by sender and link, and were not looked at yet.
    arrived: BTreeMap<(NodeId, LinkId), Vec<u64>>,
    /// Every number that ever arrived.
    seen: BTreeSet<u64>,
}

impl<T: Transport<Bytes>> Peer<T> {
    pub(super) async fn start<N: Network<Transport = T>>(
        network: &mut N,
        id: NodeId,
    ) -> Result<Self, Violation> {
        let started = network.start(id).await;
        let transport = started
            .map_err(|error| violation(rule::UP, format!("{id} does not start: {error}")))?;
        Ok(Self {
            id,
            transport,
            links: BTreeMap::new(),
            known: BTreeSet::new(),
            arrived: BTreeMap::new(),
            seen: BTreeSet::new(),
        })
    }

    pub(super) fn link_to(&self, peer: NodeId) -> Option<LinkId> {
        self.links.get(&peer).copied()
    }

    /// Receives once.
    pub(super) async fn pump<N: Network>(
        &mut self,
        network: &N,
        rule: &'static str,
        what: &str,
    ) -> Result<(), Violation> {
        let mut into = Vec::new();
        let received = self.transport.recv(&mut into);
        within(network, rule, what, received)
            .await?
            .map_err(|error| violation(rule, format!("{what}: {error}")))?;
        if into.is_empty() {
            return Err(violation(rule, "a receive returned with nothing"));
        }
        self.take(into)
    }

    /// Looks at what has arrived.
    pub(super) fn take(&mut self, deliveries: Vec<Delivery<Bytes>>) -> Result<(), Violation> {
        for delivery in deliveries {
            match delivery {
                Delivery::Link(peer, Link::Up(link)) => self.up(peer, link)?,
                Delivery::Link(peer, Link::Down) => {
                    self.links.remove(&peer);
                }
                Delivery::Message(envelope) => self.message(envelope)?,
            }
        }
        Ok(())
    }

    fn up(&mut self, peer: NodeId, link: LinkId) -> Result<(), Violation> {
        let node = self.id;
        if !self.known.insert((peer, link)) {
            let what = format!("{node} is told twice that {link} to {peer} is up");
            return Err(violation(rule::UP, what));
        }
        self.links.insert(peer, link);
        Ok(())
    }

    fn message(&mut self, envelope: Envelope<Bytes>) -> Result<(), Violation> {
        let Envelope {
            from,
            to,
            link,
            message,
        } = envelope;
        let node = self.id;
        let current = self.link_to(from);
        if to != node || (current != Some(link) && !self.known.contains(&(from, link))) {
            let what = format!("{node} gets a message from {from} to {to} on {link}");
            return Err(violation(rule::NAMED, what));
        }
        if current != Some(link) {
            let what = format!("{node} gets a message of {link}, but {current:?} is current");
            return Err(violation(rule::OLD_LINK, what));
        }
        let Some(number) = number(&message) else {
            let what = format!("a message of {} bytes is damaged", message.len());
            return Err(violation(rule::WHOLE, what));
        };
        if !self.seen.insert(number) {
            return Err(violation(rule::ONCE, format!("{number} arrives twice")));
        }
        self.arrived.entry((from, link)).or_default().push(number);
        Ok(())
    }

    /// Waits for a link to `peer` that is not `old`.
    pub(super) async fn wait_up<N: Network>(
        &mut self,
        network: &N,
        peer: NodeId,
        old: Option<LinkId>,
    ) -> Result<LinkId, Violation> {
        let what = format!("{} waits for a link to {peer} other than {old:?}", self.id);
        loop {
            match self.link_to(peer) {
                Some(link) if Some(link) != old => return Ok(link),
                _ => self.pump(network, rule::UP, &what).await?,
            }
        }
    }

    /// Sends messages with these numbers on `link`.
    pub(super) async fn send<N: Network>(
        &self,
        network: &N,
        to: NodeId,
        link: LinkId,
        numbers: Range<u64>,
        len: usize,
    ) -> Result<(), Violation> {
        let envelope = |number| Envelope {
            from: self.id,
            to,
            link,
            message: message(number, len),
        };
        let mut batch: Vec<Envelope<Bytes>> = numbers.map(envelope).collect();
        let sending = self.transport.send(&mut batch);
        within(network, rule::NEVER_WAITS, "a send", sending).await?;
        if batch.is_empty() {
            return Ok(());
        }
        let what = format!("a send leaves {} envelopes behind", batch.len());
        Err(violation(rule::NEVER_WAITS, what))
    }

    /// The numbers that have arrived from `peer` on its current link since the last look.
    pub(super) fn numbers(&mut self, peer: NodeId) -> &mut Vec<u64> {
        let link = self.link_to(peer).unwrap_or_default();
        self.arrived.entry((peer, link)).or_default()
    }

    /// Waits until all these numbers have arrived from `peer`, or says what else happened.
    pub(super) async fn expect<N: Network>(
        &mut self,
        network: &N,
        peer: NodeId,
        numbers: Range<u64>,
    ) -> Result<(), Violation> {
        let what = format!("{} waits for {numbers:?} from {peer}", self.id);
        while (self.numbers(peer).len() as u64) < numbers.end - numbers.start {
            if let Err(violation) = self.pump(network, rule::ARRIVES, &what).await {
                // What did arrive may say more than that something is missing.
                check(&mem::take(self.numbers(peer)), &numbers)?;
                return Err(violation);
            }
        }
        check(&mem::take(self.numbers(peer)), &numbers)
    }

    /// Everything that has arrived from `peer` since the last look, on whichever link: consecutive
    /// on each.
    pub(super) fn check_gaps(&mut self, peer: NodeId) -> Result<(), Violation> {
        for ((from, link), numbers) in mem::take(&mut self.arrived) {
            if from != peer {
                continue;
            }
            check_order(&numbers)?;
            if let Some(pair) = numbers.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
                let what = format!("on {link} {} arrives next after {}", pair[1], pair[0]);
                return Err(violation(rule::NO_GAPS, what));
            }
        }
        Ok(())
    }
}

fn check(arrived: &[u64], expected: &Range<u64>) -> Result<(), Violation> {
    check_order(arrived)?;
    match arrived.iter().find(|number| !expected.contains(number)) {
        Some(number) if *number < expected.start => Err(violation(
            rule::IN_ORDER,
            format!("{number} arrives where {expected:?} are due"),
        )),
        Some(number) => Err(violation(
            rule::ARRIVES,
            format!("{number} arrives before all of {expected:?}"),
        )),
        None => Ok(()),
    }
}

fn check_order(arrived: &[u64]) -> Result<(), Violation> {
    match arrived.windows(2).find(|pair| pair[0] > pair[1]) {
        Some(pair) => Err(violation(
            rule::IN_ORDER,
            format!("{} arrives before {}", pair[0], pair[1]),
        )),
        None => Ok(()),
    }
}
