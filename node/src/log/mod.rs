//! A replicated log with a state machine on it, under the driver.

mod app;
mod config;
mod fetches;
mod outcomes;
mod requests;
mod restores;
mod snapshots;
mod waiters;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use std::sync::Mutex;

use synod_core::{
    Clock, LogStorage, NodeId, ReplicatedLog, Restored, StateMachine, StorageError, Transport,
};

use crate::apply::Worker;
use crate::driver::run;
use crate::handle::inbox::{Inbox, InboxLimits};
use crate::handle::watch::Board;
use crate::handle::{Handle, Hub, Published, Shared};
use crate::{NodeError, Parts};
use app::LogApp;
pub use config::{Config, ConfigBuilder, ConfigError};

/// One node of a replicated service: a log, a state machine, a disk, a network, a clock.
///
/// [`open`](Self::open) makes one from what the disk holds; [`run`](Self::run) is the future that
/// does all the work.
#[must_use = "a node does nothing until it is run"]
pub struct Node<L, S, T, C> {
    id: NodeId,
    log: L,
    app: LogApp<L>,
    storage: S,
    transport: T,
    clock: Arc<C>,
}

impl<L, S, T, C> Node<L, S, T, C>
where
    L: ReplicatedLog + Send,
    L::Message: Send,
    L::Detail: Send + Sync + 'static,
    S: LogStorage,
    T: Transport<L::Message>,
    C: Clock + 'static,
{
    /// Reads what the storage holds and makes a node of it: `log` makes the protocol's machine.
    ///
    /// # Errors
    ///
    /// What the storage or `log` says.
    pub async fn open<E: From<StorageError>>(
        parts: Parts<S, T, C>,
        state_machine: impl StateMachine + Send + 'static,
        config: Config,
        log: impl FnOnce(Restored) -> Result<L, E>,
    ) -> Result<(Self, Handle), E> {
        let restored = parts.storage.restore().await?;
        Ok(Self::new(log(restored)?, state_machine, parts, config))
    }

    /// A node of a machine that was made from what `parts.storage` restored.
    pub fn new(
        log: L,
        state_machine: impl StateMachine + Send + 'static,
        parts: Parts<S, T, C>,
        config: Config,
    ) -> (Self, Handle) {
        let clock = Arc::new(parts.clock);
        let status = log.status();
        let shared = Arc::new(Shared {
            inbox: Inbox::new(InboxLimits {
                requests: config.max_outstanding,
                bytes: config.max_queued_bytes,
                held: config.max_answer_bytes,
            }),
            hub: Hub::new(config.max_events),
            board: Board::default(),
            streams: Arc::default(),
            max_streams: config.max_streams,
            metrics: Published::default(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            leader: Mutex::new(status.leader),
        });
        let id = status.node;
        let handle = Handle::new(id, Arc::clone(&shared));
        let worker = Worker::new(Box::new(state_machine));
        let node = Self {
            id,
            log,
            app: LogApp::new(shared, config, worker),
            storage: parts.storage,
            transport: parts.transport,
            clock,
        };
        (node, handle)
    }

    /// Which node it is.
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Runs until [`Handle::shutdown`] or a failure. Dropping the future stops the node as a crash
    /// would.
    ///
    /// # Errors
    ///
    /// [`NodeError`]: what failed. Everyone who waited has been told, and what was acknowledged is
    /// durable.
    pub async fn run(self) -> Result<(), NodeError> {
        let parts = (&self.storage, &self.transport, &*self.clock);
        let running = run(self.log, self.app, parts);
        #[cfg(feature = "tracing")]
        let running = crate::trace::in_span(self.id, running);
        running.await
    }
}

impl<L, S, T, C> fmt::Debug for Node<L, S, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
