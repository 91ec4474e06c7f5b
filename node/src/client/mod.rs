//! A client of a replicated service: finds the leader, retries, and makes each command happen at
//! most once.
//!
//! [`ClientHandle`] is what an application holds. Behind it runs one future, [`ClientDriver`], which
//! moves the [`Client`] machine's requests over a [`ClientTransport`]: your own wire,
//! or [`Local`] for nodes in the same process. On the other side
//! [`Handle::serve`](crate::Handle::serve) answers them, with a state machine that is wrapped in
//! [`Sessions`](synod_core::Sessions).

mod driver;
mod handle;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use synod_core::{Client, ClientRequest, ClientResponse, Clock, NodeId};

pub use driver::ClientDriver;
pub use handle::{ClientCallError, ClientDone, ClientHandle, Requested};

use crate::Handle;
use crate::handle::inbox::{Inbox, InboxLimits};
use handle::Shared;

/// What may wait at a client; more is rejected at once
/// ([`ClientCallError::Full`], [`ClientCallError::FullBytes`]). Within these the limits of its
/// machine hold, [`ClientConfig::capacity`](synod_core::ClientConfig::capacity).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientLimits {
    /// Requests, from the call until the answer is fetched or nobody wants it any more. Default
    /// 4,096.
    pub max_outstanding: usize,
    /// Bytes of their commands, queries and answers. What is under way is answered in any case, and
    /// what the service returns for it comes on top. Default 64 MiB.
    pub max_bytes: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            max_outstanding: 4096,
            max_bytes: 64 << 20,
        }
    }
}

/// How a client reaches the nodes of a service.
#[async_trait::async_trait]
pub trait ClientTransport: Send + Sync {
    /// Sends a request to a node and waits for its answer. There is no need for a time-out of its
    /// own: one that is not waited for any more is dropped.
    ///
    /// # Errors
    ///
    /// [`AskError`]: how far it got. If in doubt, [`AskError::Broken`].
    async fn ask(&self, to: NodeId, request: ClientRequest) -> Result<ClientResponse, AskError>;
}

#[async_trait::async_trait]
impl<T: ClientTransport + ?Sized> ClientTransport for Box<T> {
    async fn ask(&self, to: NodeId, request: ClientRequest) -> Result<ClientResponse, AskError> {
        (**self).ask(to, request).await
    }
}

#[async_trait::async_trait]
impl<T: ClientTransport + ?Sized> ClientTransport for Arc<T> {
    async fn ask(&self, to: NodeId, request: ClientRequest) -> Result<ClientResponse, AskError> {
        (**self).ask(to, request).await
    }
}

/// Why a request has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AskError {
    /// It has not left: the node cannot have seen it.
    #[error("the request has not left")]
    Undelivered,
    /// The connection broke: the node may have seen it.
    #[error("the connection broke")]
    Broken,
}

/// Nodes in the same process: their handles are the transport.
#[derive(Clone, Debug)]
pub struct Local(pub Vec<Handle>);

#[async_trait::async_trait]
impl ClientTransport for Local {
    async fn ask(&self, to: NodeId, request: ClientRequest) -> Result<ClientResponse, AskError> {
        let Some(handle) = self.0.iter().find(|handle| handle.node() == to) else {
            return Err(AskError::Undelivered);
        };
        Ok(handle.serve(request).await)
    }
}

/// A client made of `machine` that talks over `transport`: its future, and how to talk to it.
///
/// ```
/// use core::time::Duration;
/// use bytes::Bytes;
/// use synod_core::{Client, ClientConfig, Clock, NodeId};
/// use synod_node::client::{ClientCallError, ClientTransport, connect};
///
/// async fn put(
///     transport: impl ClientTransport,
///     clock: impl Clock,
/// ) -> Result<(), Box<dyn core::error::Error>> {
///     let nodes = vec![NodeId(1), NodeId(2), NodeId(3)];
///     // The seed of a real client is fresh and unpredictable.
///     let machine = Client::new(ClientConfig::new(nodes, 7))?;
///     let (driver, client) = connect(machine, transport, clock);
///     let work = async move {
///         let done = client.submit(Bytes::from("put"), Duration::from_secs(5)).await?;
///         println!("at {}", done.index);
///         client.close().await;
///         Ok::<(), ClientCallError>(())
///     };
///     // Spawn the driver, or run it beside the work:
///     let ((), worked) = futures::join!(driver.run(), work);
///     Ok(worked?)
/// }
/// ```
pub fn connect<T: ClientTransport, C: Clock>(
    machine: Client,
    transport: T,
    clock: C,
) -> (ClientDriver<T, C>, ClientHandle) {
    connect_within(machine, transport, clock, ClientLimits::default())
}

/// As [`connect`], with limits of your own.
pub fn connect_within<T: ClientTransport, C: Clock>(
    machine: Client,
    transport: T,
    clock: C,
    limits: ClientLimits,
) -> (ClientDriver<T, C>, ClientHandle) {
    let shared = Arc::new(Shared {
        inbox: Inbox::new(InboxLimits {
            requests: limits.max_outstanding,
            bytes: usize::MAX,
            held: limits.max_bytes,
        }),
        over: crate::handle::watch::Board::default(),
    });
    let handle = ClientHandle::new(Arc::clone(&shared));
    (ClientDriver::new(machine, transport, clock, shared), handle)
}
