//! What an operator may want to know of the connections.

use alloc::string::{String, ToString};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::io;

use synod_core::{DecodeError, LinkId, NodeId};

use super::Refusal;

/// Something that happened to a connection. Give [`StreamConfigBuilder::on_event`] a function to
/// learn of it; with the feature `tracing`, each is also a `tracing` event.
///
/// [`StreamConfigBuilder::on_event`]: super::StreamConfigBuilder::on_event
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TransportEvent {
    /// A link is up.
    Up {
        /// The other node.
        peer: NodeId,
        /// The new incarnation.
        link: LinkId,
        /// Where the peer is.
        remote: String,
        /// Whether we have dialled it.
        dialled: bool,
    },
    /// A link is gone, with all that was queued for it.
    Down {
        /// The other node.
        peer: NodeId,
        /// The incarnation that ended.
        link: LinkId,
        /// Why.
        why: LinkEnd,
    },
    /// We have refused a connection, and told the other end why.
    Refused {
        /// The other node: as it calls itself, or as we have dialled it.
        peer: NodeId,
        /// Where it is.
        remote: String,
        /// Why.
        why: Refusal,
    },
    /// The other end has refused our connection.
    RefusedBy {
        /// The other node, if it is known.
        peer: Option<NodeId>,
        /// Where it is.
        remote: String,
        /// Why, as seen from there.
        why: Refusal,
    },
    /// A connection ended before the handshake did.
    Failed {
        /// The other node, if we have dialled it.
        peer: Option<NodeId>,
        /// Where it is.
        remote: String,
        /// Why.
        why: HandshakeError,
    },
    /// The network could not accept a connection; it is asked again a little later.
    AcceptFailed {
        /// What it said.
        error: String,
    },
}

/// Why a link ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkEnd {
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// A newer connection took its place.
    #[error("a newer connection took its place")]
    Replaced,
    /// More was queued for the peer than is allowed. Dropping some of it would have left a hole in
    /// the order that a link promises, so all of it is dropped and the next incarnation starts anew.
    #[error(
        "{queued} bytes in {frames} messages were queued, the limits are {max_bytes} and {max_frames}"
    )]
    Overflow {
        /// The memory that the queue took, in bytes.
        queued: usize,
        /// How many messages it held.
        frames: usize,
        /// The limit in bytes.
        max_bytes: usize,
        /// The limit in messages.
        max_frames: usize,
    },
    /// We had a message to send that is longer than the peer takes.
    #[error("a message of {len} bytes was to be sent, the limit is {limit}")]
    TooLong {
        /// How long it is, in bytes.
        len: usize,
        /// What both ends allow.
        limit: usize,
    },
    /// The peer sent a frame above the limit, bytes that are no frame, or a message that nobody
    /// sends.
    #[error("the peer sent nonsense: {0}")]
    Malformed(#[from] DecodeError),
    /// The peer was silent for too long, or inside of one frame: it is gone, or the way to it is.
    #[error("nothing was heard for {0:?}")]
    Silent(Duration),
    /// The peer was taken out of the address book, or the link was reset, by the application.
    #[error("reset by the application")]
    Reset,
    /// This node's transport has been closed.
    #[error("this node is shutting down")]
    Closing,
}

/// Why a connection ended before the handshake did.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The network could not reach the peer.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The security layer did not accept the other end, or the other way round.
    #[error("cannot secure the connection: {0}")]
    Security(String),
    /// The stream broke or ended.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The other end does not speak our protocol.
    #[error("the other end does not speak this protocol: {0}")]
    Malformed(#[from] DecodeError),
    /// The other end said something that has no place there.
    #[error("the other end spoke out of turn")]
    OutOfTurn,
    /// It took too long.
    #[error("the handshake took longer than {0:?}")]
    Timeout(Duration),
    /// Too many strangers were waiting; the one that waited longest gave way.
    #[error("{0} unknown connections were waiting, as many as are allowed")]
    Crowded(usize),
}

impl From<io::Error> for LinkEnd {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl fmt::Display for TransportEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up {
                peer,
                link,
                remote,
                dialled,
            } => {
                let way = if *dialled { "dialled" } else { "dialled by" };
                write!(f, "{link} to {peer} at {remote} is up ({way} it)")
            }
            Self::Down { peer, link, why } => write!(f, "{link} to {peer} is down: {why}"),
            Self::Refused { peer, remote, why } => write!(f, "refused {peer} at {remote}: {why}"),
            Self::RefusedBy { peer, remote, why } => {
                write!(f, "refused by {} at {remote}: {why}", Name(*peer))
            }
            Self::Failed { peer, remote, why } => {
                write!(f, "no link to {} at {remote}: {why}", Name(*peer))
            }
            Self::AcceptFailed { error } => write!(f, "cannot accept connections: {error}"),
        }
    }
}

struct Name(Option<NodeId>);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(node) => node.fmt(f),
            None => f.write_str("a stranger"),
        }
    }
}

#[cfg(feature = "tracing")]
impl TransportEvent {
    pub(crate) fn trace(&self) {
        match self {
            Self::Up { .. } => tracing::info!(target: "synod::stream", "{self}"),
            Self::Down {
                why: LinkEnd::Closing | LinkEnd::Reset | LinkEnd::Replaced,
                ..
            }
            | Self::Refused {
                why: Refusal::Superseded | Refusal::Closing,
                ..
            }
            | Self::RefusedBy {
                why: Refusal::Superseded | Refusal::Closing,
                ..
            } => tracing::debug!(target: "synod::stream", "{self}"),
            _ => tracing::warn!(target: "synod::stream", "{self}"),
        }
    }
}

/// What a transport has counted since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct StreamStats {
    /// Messages handed to the network.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Writes to byte streams: `sent` divided by this is how well messages coalesce.
    pub writes: u64,
    /// Messages dropped because their link was not, or no longer, the current one.
    pub stale: u64,
    /// Messages dropped because a queue overflowed, those queued before them included.
    pub overflowed: u64,
    /// Frames above the limit, each of which closed its connection.
    pub oversized: u64,
    /// Frames or messages that did not decode, each of which closed its connection.
    pub malformed: u64,
    /// Connections that we have refused.
    pub refused: u64,
    /// Connections that the other end has refused.
    pub refused_by: u64,
    /// Connections that ended before the handshake did.
    pub failed: u64,
    /// Links that came up.
    pub links: u64,
}

macro_rules! counters {
    ($($name:ident)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> StreamStats {
                StreamStats { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! { sent received writes stale overflowed oversized malformed refused refused_by failed links }

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }
}
