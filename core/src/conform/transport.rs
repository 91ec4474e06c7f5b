//! The suite for transports.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use bytes::Bytes;

use super::net_rig::Peer;
use super::race::{Race, race};
use super::{Report, Violation, rule, violation};
use crate::{LinkId, NodeId, Transport, TransportError};

/// Makes the network that the suite tests.
#[async_trait::async_trait]
pub trait Network: Send + Sync {
    /// The transport under test. It carries messages of at least 1 MiB, keeps at least 64 small ones
    /// on their way to a peer, and says that a node has left once its transport is dropped.
    type Transport: Transport<Bytes>;

    /// Starts a node, or starts it again after its transport was dropped. The suite starts the
    /// nodes 1, 2 and 3, and expects a link between any two that run.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from that; the suite ends.
    async fn start(&mut self, node: NodeId) -> Result<Self::Transport, TransportError>;

    /// Breaks the link between two running nodes so that it comes up again. `false` if this
    /// factory cannot do that: the rule is then skipped.
    async fn break_link(&mut self, one: NodeId, other: NodeId) -> bool {
        let _ = (one, other);
        false
    }

    /// Waits: the suite gives up on what takes 10 s.
    async fn sleep(&self, time: Duration);
}

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);

/// So many messages fit into the queue of a link.
const WINDOW: u64 = 16;

/// Checks a transport against every rule.
///
/// # Errors
///
/// The first rule that does not hold.
pub async fn transport<N: Network>(mut network: N) -> Result<Report, Violation> {
    let network = &mut network;
    let mut nodes = Nodes {
        a: Peer::start(network, A).await?,
        b: Peer::start(network, B).await?,
        c: Peer::start(network, C).await?,
        next: 0,
    };
    nodes.link_up(network).await?;
    nodes.windows(network).await?;
    nodes.sizes(network).await?;
    nodes.strangers(network).await?;
    nodes.cancelled(network).await?;
    let broken = nodes.broken(network).await?;
    nodes.flooded(network).await?;
    let nodes = nodes.restarted(network).await?;
    nodes.gone(network).await?;

    let checked = [
        rule::UP,
        rule::IN_ORDER,
        rule::ONCE,
        rule::WHOLE,
        rule::ARRIVES,
        rule::NO_GAPS,
        rule::NAMED,
        rule::CANCEL,
        rule::OLD_LINK,
        rule::NEVER_WAITS,
        rule::DOWN,
    ];
    let mut report = Report {
        checked: checked.to_vec(),
        skipped: Vec::new(),
    };
    if broken {
        report.checked.push(rule::BROKEN);
    } else {
        report.skipped.push(rule::BROKEN);
    }
    Ok(report)
}

struct Nodes<T> {
    a: Peer<T>,
    b: Peer<T>,
    c: Peer<T>,
    /// The number of the next message: none is used twice.
    next: u64,
}

impl<T: Transport<Bytes>> Nodes<T> {
    async fn link_up<N: Network>(&mut self, network: &N) -> Result<(), Violation> {
        for (peer, others) in [
            (&mut self.a, [B, C]),
            (&mut self.b, [A, C]),
            (&mut self.c, [A, B]),
        ] {
            for other in others {
                peer.wait_up(network, other, None).await?;
            }
        }
        Ok(())
    }

    fn numbers(&mut self, count: u64) -> core::ops::Range<u64> {
        let first = self.next;
        self.next += count;
        first..self.next
    }

    /// A few messages at a time, in both directions and to two peers at once.
    async fn windows<N: Network>(&mut self, network: &N) -> Result<(), Violation> {
        for round in 0..50 {
            let (there, back, aside) = (
                self.numbers(WINDOW),
                self.numbers(WINDOW),
                self.numbers(WINDOW),
            );
            let (to_b, to_c) = (up(&self.a, B)?, up(&self.a, C)?);
            let len = round * 3;
            self.a.send(network, B, to_b, there.clone(), len).await?;
            self.a.send(network, C, to_c, aside.clone(), len).await?;
            let to_a = up(&self.b, A)?;
            self.b.send(network, A, to_a, back.clone(), len).await?;
            self.b.expect(network, A, there).await?;
            self.c.expect(network, A, aside).await?;
            self.a.expect(network, B, back).await?;
        }
        Ok(())
    }

    /// From almost nothing to large ones.
    async fn sizes<N: Network>(&mut self, network: &N) -> Result<(), Violation> {
        for len in [0, 1, 1000, 65_536, (1 << 20) - 16] {
            let numbers = self.numbers(2);
            let link = up(&self.a, B)?;
            self.a.send(network, B, link, numbers.clone(), len).await?;
            self.b.expect(network, A, numbers).await?;
        }
        Ok(())
    }

    /// What is for nobody or for no link that there is, is dropped, and nothing else is.
    async fn strangers<N: Network>(&mut self, network: &N) -> Result<(), Violation> {
        let link = up(&self.a, B)?;
        let astray = [(A, link), (NodeId(99), link), (B, LinkId(u64::MAX))];
        for (to, link) in astray {
            let number = self.next;
            self.next += 1;
            let numbers = number..number + 1;
            self.a.send(network, to, link, numbers, 0).await?;
        }
        let stray = self.next - 1;
        let marker = self.numbers(1);
        self.a.send(network, B, link, marker.clone(), 0).await?;
        while !self.b.numbers(A).contains(&marker.start) {
            self.b.pump(network, rule::ARRIVES, "a marker").await?;
        }
        if self.b.numbers(A).contains(&stray) {
            let what = "a message on a link that never was arrives";
            return Err(violation(rule::OLD_LINK, what));
        }
        self.b.expect(network, A, marker).await
    }

    /// Receives that are dropped before they return.
    async fn cancelled<N: Network>(&mut self, network: &N) -> Result<(), Violation> {
        let link = up(&self.a, B)?;
        for _ in 0..20 {
            let numbers = self.numbers(WINDOW);
            for number in numbers.clone() {
                let one = number..number + 1;
                self.a.send(network, B, link, one, 100).await?;
                self.b.glance(network).await?;
            }
            for _ in 0..2000 {
                if self.b.numbers(A).len() as u64 >= WINDOW {
                    break;
                }
                self.b.glance(network).await?;
            }
            let found = self.b.numbers(A).len();
            if (found as u64) < WINDOW {
                let what = format!("{found} of {WINDOW} messages arrive");
                return Err(violation(rule::CANCEL, what));
            }
            self.b.expect(network, A, numbers).await?;
        }
        Ok(())
    }

    /// A connection that breaks and is made again. Whether the factory can do that.
    async fn broken<N: Network>(&mut self, network: &mut N) -> Result<bool, Violation> {
        let (old, back) = (up(&self.a, B)?, up(&self.b, A)?);
        if !network.break_link(A, B).await {
            return Ok(false);
        }
        let broken = |violation: Violation| Violation {
            rule: match violation.rule {
                rule::UP => rule::BROKEN,
                other => other,
            },
            ..violation
        };
        let link = self.a.wait_up(network, B, Some(old)).await;
        let link = link.map_err(broken)?;
        let up = self.b.wait_up(network, A, Some(back)).await;
        up.map_err(broken)?;
        self.old_link(network, old, link).await?;
        Ok(true)
    }

    /// What names `old` is dropped, what names `link` arrives.
    async fn old_link<N: Network>(
        &mut self,
        network: &N,
        old: LinkId,
        link: LinkId,
    ) -> Result<(), Violation> {
        let late = self.numbers(WINDOW);
        self.a.send(network, B, old, late.clone(), 10).await?;
        let numbers = self.numbers(WINDOW);
        self.a.send(network, B, link, numbers.clone(), 10).await?;
        while !self.b.numbers(A).contains(&(numbers.end - 1)) {
            let what = "messages on a new link";
            self.b.pump(network, rule::ARRIVES, what).await?;
        }
        if self.b.numbers(A).iter().any(|number| late.contains(number)) {
            let what = format!("a message that names {old} arrives when {link} is current");
            return Err(violation(rule::OLD_LINK, what));
        }
        self.b.expect(network, A, numbers).await
    }

    /// More than fits for a peer that does not receive; another one does not suffer from it.
    async fn flooded<N: Network>(&mut self, network: &N) -> Result<(), Violation> {
        let (to_b, to_c) = (up(&self.a, B)?, up(&self.a, C)?);
        // Drawn first: a network with room for all of the flood leaves no gap in it.
        let numbers = self.numbers(WINDOW);
        for _ in 0..200 {
            let numbers = self.numbers(50);
            self.a.send(network, B, to_b, numbers, 1000).await?;
        }
        self.a.send(network, C, to_c, numbers.clone(), 10).await?;
        self.c.expect(network, A, numbers).await?;
        // The link is the same or a new one; a marker gets through on it at some time.
        for _ in 0..2000 {
            if let Some(link) = self.a.link_to(B) {
                let marker = self.numbers(1);
                self.a.send(network, B, link, marker.clone(), 0).await?;
                self.b.glance(network).await?;
                if self.b.numbers(A).contains(&marker.start) {
                    return self.b.check_gaps(A);
                }
            }
            self.a.glance(network).await?;
        }
        let what = "after a flood nothing arrives any more";
        Err(violation(rule::ARRIVES, what))
    }

    /// A peer that comes back: nothing of its old life arrives, and nothing that was meant for it.
    async fn restarted<N: Network<Transport = T>>(
        mut self,
        network: &mut N,
    ) -> Result<Self, Violation> {
        for _ in 0..5 {
            let (old, back) = (up(&self.a, B)?, up(&self.b, A)?);
            let past = self.numbers(WINDOW);
            self.b.send(network, A, back, past.clone(), 500).await?;
            drop(self.b);
            self.b = Peer::start(network, B).await?;
            self.b.wait_up(network, A, None).await?;
            self.b.wait_up(network, C, None).await?;
            let link = self.a.wait_up(network, B, Some(old)).await?;
            self.old_link(network, old, link).await?;
            let numbers = self.numbers(WINDOW);
            let back = up(&self.b, A)?;
            self.b.send(network, A, back, numbers.clone(), 10).await?;
            while !self.a.numbers(B).contains(&(numbers.end - 1)) {
                let what = "messages of a new life";
                self.a.pump(network, rule::ARRIVES, what).await?;
            }
            if self.a.numbers(B).iter().any(|number| past.contains(number)) {
                let what = "a message of a life before arrives on the new link";
                return Err(violation(rule::OLD_LINK, what));
            }
            self.a.expect(network, B, numbers).await?;
        }
        Ok(self)
    }

    /// A peer that does not come back.
    async fn gone<N: Network>(mut self, network: &N) -> Result<(), Violation> {
        let link = up(&self.a, B)?;
        drop(self.b);
        for _ in 0..50 {
            let numbers = self.next..self.next + 50;
            self.a.send(network, B, link, numbers, 1000).await?;
            self.next += 50;
        }
        while self.a.link_to(B).is_some() {
            self.a.pump(network, rule::DOWN, "B has gone").await?;
        }
        // The others go on.
        let numbers = self.next..self.next + WINDOW;
        let to_c = up(&self.a, C)?;
        self.a.send(network, C, to_c, numbers.clone(), 10).await?;
        self.c.expect(network, A, numbers).await
    }
}

impl<T: Transport<Bytes>> Peer<T> {
    /// Begins to receive and soon gives up.
    async fn glance<N: Network>(&mut self, network: &N) -> Result<(), Violation> {
        let mut into = Vec::new();
        let received = self.transport.recv(&mut into);
        let ended = race(received, network.sleep(Duration::from_millis(1))).await;
        if let Race::First(Err(error)) = ended {
            return Err(violation(rule::CANCEL, format!("a receive fails: {error}")));
        }
        self.take(mem::take(&mut into))
    }
}

fn up<T: Transport<Bytes>>(peer: &Peer<T>, other: NodeId) -> Result<LinkId, Violation> {
    peer.link_to(other).ok_or_else(|| {
        let what = format!("the link from {} to {other} is down, but both run", peer.id);
        violation(rule::UP, what)
    })
}
