//! What the transport's handles and its connections have in common.

use alloc::string::String;
use alloc::sync::Arc;
use core::future::{Future, poll_fn};
use core::hash::BuildHasher;
use core::task::Poll;
use core::time::Duration;
use std::hash::RandomState;
use std::sync::Mutex;

use futures::future::{Either, select};
use futures::task::AtomicWaker;
use synod_core::{Clock, LinkId, NodeId};

use super::event::Counters;
use super::inbound::Inbound;
use super::lock::lock;
use super::outbound::{Outbound, OutboundLimits};
use super::table::{Entry, LinkState, Need, Table, Target};
use super::{Hello, LinkEnd, Network, Refusal, Security, StreamConfig, TransportEvent};

pub(crate) struct Shared<M> {
    pub(crate) config: StreamConfig,
    /// A random number of this life.
    pub(crate) boot: u64,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) security: Arc<dyn Security>,
    pub(crate) table: Mutex<Table>,
    pub(crate) inbound: Inbound<M>,
    pub(crate) stats: Counters,
    pub(crate) supervisor: AtomicWaker,
}

impl<M> Shared<M> {
    pub(crate) fn new(
        config: StreamConfig,
        clock: Arc<dyn Clock>,
        network: Arc<dyn Network>,
        security: Arc<dyn Security>,
    ) -> Self {
        let mut table = Table::new(config.limits.peers, config.accept_unknown);
        for (peer, address) in &config.peers {
            table
                .set(*peer, address.clone())
                .expect("a checked config has room for its own peers");
        }
        Self {
            // The standard library's hasher is keyed by the system's randomness.
            boot: RandomState::new().hash_one(config.node),
            inbound: Inbound::new(config.limits.inbound_bytes, config.limits.inbound_frames),
            table: Mutex::new(table),
            stats: Counters::default(),
            supervisor: AtomicWaker::new(),
            config,
            clock,
            network,
            security,
        }
    }

    /// Whether confirming the connections with `peer` is our part.
    pub(crate) fn keeps(&self, peer: NodeId) -> bool {
        self.config.node > peer
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        self.clock.sleep_until(self.clock.now() + time).await;
    }

    /// What `job` gives, if it does so in `time`.
    pub(crate) async fn within<T>(
        &self,
        time: Duration,
        job: impl Future<Output = T>,
    ) -> Option<T> {
        let sleep = core::pin::pin!(self.sleep(time));
        match select(core::pin::pin!(job), sleep).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    /// Waits until there is something for the dialler of this entry to do; `None` when it is not
    /// needed any more.
    pub(crate) async fn target(&self, peer: NodeId, entry: Entry) -> Option<Target> {
        poll_fn(|cx| match lock(&self.table).need(peer, entry, cx.waker()) {
            Need::Nothing => Poll::Pending,
            Need::Dial(target) => Poll::Ready(Some(target)),
            Need::End => Poll::Ready(None),
        })
        .await
    }

    /// Waits until `target` is no longer what there is to do.
    pub(crate) async fn outdated(&self, target: &Target) {
        poll_fn(|cx| {
            let need = lock(&self.table).need(target.peer, target.entry, cx.waker());
            if target.outdated(&need) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Makes a connection the current link to the node behind `hello`. `number` is what that node
    /// has confirmed it with, if confirming is its part.
    pub(crate) fn install(
        self: &Arc<Self>,
        hello: &Hello,
        number: Option<u64>,
    ) -> Result<LinkGuard<M>, Refusal> {
        let peer = hello.from;
        let mut table = lock(&self.table);
        table.admits(peer)?;
        if let (Some(number), Some(link)) = (number, table.link(peer)) {
            // A confirmation that was on its way for longer than a later one.
            if link.boot == hello.boot && link.number >= Some(number) {
                return Err(Refusal::Superseded);
            }
        }
        let limits = &self.config.limits;
        let link = Arc::new(LinkState {
            id: table.next_link(),
            peer,
            boot: hello.boot,
            number,
            since: self.clock.now(),
            out: Outbound::new(OutboundLimits {
                group: self.config.group,
                message: limits.frame.min(hello.max_frame as usize),
                bytes: limits.outbound_bytes,
                frames: limits.outbound_frames,
            }),
        });
        if let Some(old) = table.install(Arc::clone(&link)) {
            old.out.end(LinkEnd::Replaced);
        }
        // Under the table's lock: announcements come in the order of installations.
        self.inbound.up(peer, link.id);
        drop(table);
        self.stats.links.add(1);
        Ok(LinkGuard {
            shared: Arc::clone(self),
            link,
            why: LinkEnd::Closing,
        })
    }

    pub(crate) fn report_up(&self, link: &LinkState, remote: String, dialled: bool) {
        self.config.report(&TransportEvent::Up {
            peer: link.peer,
            link: link.id,
            remote,
            dialled,
        });
    }

    /// Takes no further messages; what is queued is still sent.
    pub(crate) fn close(&self) {
        let mut table = lock(&self.table);
        table.close();
        table.links().for_each(|link| link.out.finish());
        drop(table);
        self.supervisor.wake();
    }

    /// The triple that a connection stamps on what it receives.
    pub(crate) const fn stamp(&self, link: &LinkState) -> (NodeId, NodeId, LinkId) {
        (self.config.node, link.peer, link.id)
    }
}

/// A link for as long as it lives: dropping it announces that it is gone.
pub(crate) struct LinkGuard<M> {
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) link: Arc<LinkState>,
    pub(crate) why: LinkEnd,
}

impl<M> Drop for LinkGuard<M> {
    fn drop(&mut self) {
        let (shared, link) = (&self.shared, &self.link);
        link.out.end(self.why.clone());
        let lasted = shared.clock.now().since(link.since) >= shared.config.timing.backoff_max;
        let mut table = lock(&shared.table);
        shared.inbound.down(link.peer, link.id);
        table.uninstall(link, lasted);
        drop(table);
        shared.supervisor.wake();
        shared.config.report(&TransportEvent::Down {
            peer: link.peer,
            link: link.id,
            why: self.why.clone(),
        });
    }
}
