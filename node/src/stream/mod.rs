//! A [`Transport`](synod_core::Transport) over byte streams: TCP, TLS over TCP, pipes in memory, or
//! anything else that is `AsyncRead + AsyncWrite`.
//!
//! A [`StreamTransport`] needs four things: a [`StreamConfig`], a clock, a [`Network`] that opens and
//! accepts streams, and a [`Security`] that proves who is at their other end. It hands back the
//! transport for the driver and a future, [`Connections`], that drives all connections. No runtime
//! is in the API; with the features `tokio` and `async-io` come clocks and TCP networks for those.
//!
//! ```
//! use std::sync::Arc;
//! use synod_core::{ClusterId, NodeId};
//! use synod_node::clock::TokioClock;
//! use synod_node::stream::{InsecurePlaintext, StreamConfig, StreamTransport, TokioTcp};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let config = StreamConfig::builder(NodeId(1), ClusterId(7))
//!     .peer(NodeId(2), "127.0.0.1:7002")
//!     .build()?;
//! let network = TokioTcp::bind("127.0.0.1:0").await?;
//! let (transport, connections) = StreamTransport::<u64>::new(
//!     config,
//!     Arc::new(TokioClock::new()),
//!     network,
//!     InsecurePlaintext,
//! );
//! let connections = tokio::spawn(connections);
//! // ... the driver uses `transport` ...
//! transport.close();
//! connections.await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Links
//!
//! Two nodes have one connection, used in both directions. Both dial whenever they have none; the
//! node with the greater id decides which connection counts and numbers its decisions, so that both
//! keep the same one when two attempts cross. A connection is one link incarnation at either end;
//! each end names it with a [`LinkId`](synod_core::LinkId) of its own. The newest connection wins: a
//! peer that comes back after a crash or a cut cable replaces its own half-open predecessor at once.
//! Nothing that an old connection still brings is delivered after the new one is announced.
//!
//! **An incarnation has no holes.** What is delivered of one is a prefix of what was sent on it,
//! because that is what a protocol that counts on order (ZAB) takes for granted. So when a peer's
//! queue is full, messages are not dropped one by one, not even those that a later one would
//! replace: the link is reset ([`LinkEnd::Overflow`]), everything queued is dropped, and the machine
//! learns of a new incarnation and starts over from what the peer really has. For a peer that slow,
//! what was queued was stale anyway.
//!
//! # On the wire
//!
//! First a handshake, in the layout of [`Greeting`]: hello from the dialler, hello or refusal from
//! the other end, confirmation by the node with the greater id. A refusal names its [`Refusal`], so
//! that both ends can report it. Then frames in the layout of [`synod_core::frame`], whose body is
//! one byte for its kind (0: a message, 1: keepalive) and then the message.
//!
//! # Limits
//!
//! Every queue has one; see [`StreamConfigBuilder`]. Sending never waits. When the driver does not
//! take what has arrived, reading stops, and the peer's own queue fills. Memory for a frame grows
//! with the bytes that arrive, not with what its header claims.

mod config;
mod connection;
mod event;
mod handshake;
mod hello;
mod inbound;
mod lock;
mod network;
mod outbound;
mod reader;
mod security;
mod shared;
mod supervisor;
mod table;
mod tcp;
mod transport;

pub use config::{BrokenRule, StreamConfig, StreamConfigBuilder, StreamConfigError};
pub use event::{HandshakeError, LinkEnd, StreamStats, TransportEvent};
pub use hello::{Greeting, Groups, Hello, PROTOCOL, Refusal};
pub use network::{BoxStream, ByteStream, Incoming, Network};
pub use security::{Identity, InsecurePlaintext, Secured, Security};
#[cfg(feature = "async-io")]
pub use tcp::AsyncIoTcp;
#[cfg(feature = "tokio")]
pub use tcp::TokioTcp;
pub use transport::{Connections, StreamTransport};

/// The body of a frame starts with what it is.
const KIND_MESSAGE: u8 = 0;
const KIND_KEEPALIVE: u8 = 1;
