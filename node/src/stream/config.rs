//! Settings: a builder, and the checked result.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use synod_core::{ClusterId, GroupId, NodeId, frame};

use super::TransportEvent;

type EventFn = Arc<dyn Fn(&TransportEvent) + Send + Sync>;

/// The settings of a [`StreamTransport`](super::StreamTransport). One that exists is valid.
///
/// ```
/// use synod_core::{ClusterId, NodeId};
/// use synod_node::stream::StreamConfig;
///
/// let config = StreamConfig::builder(NodeId(1), ClusterId(0xc0ffee))
///     .peer(NodeId(2), "two.example:7000")
///     .peer(NodeId(3), "three.example:7000")
///     .on_event(|event| eprintln!("{event}"))
///     .build()?;
/// # Ok::<(), synod_node::stream::StreamConfigError>(())
/// ```
#[derive(Clone)]
pub struct StreamConfig {
    pub(crate) node: NodeId,
    pub(crate) cluster: ClusterId,
    pub(crate) group: GroupId,
    pub(crate) peers: BTreeMap<NodeId, String>,
    pub(crate) limits: Limits,
    pub(crate) timing: Timing,
    pub(crate) accept_unknown: bool,
    pub(crate) on_event: Option<EventFn>,
}

/// How much there may be of everything.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) frame: usize,
    pub(crate) outbound_bytes: usize,
    pub(crate) outbound_frames: usize,
    pub(crate) inbound_bytes: usize,
    pub(crate) inbound_frames: usize,
    pub(crate) strangers: usize,
    pub(crate) peers: usize,
}

/// How long things take.
#[derive(Clone, Debug)]
pub(crate) struct Timing {
    pub(crate) handshake: Duration,
    pub(crate) keepalive: Duration,
    pub(crate) backoff_min: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) linger: Duration,
}

impl Timing {
    /// How long a silent peer is believed to be there.
    pub(crate) fn silence(&self) -> Duration {
        self.keepalive * 3
    }
}

impl StreamConfig {
    /// Starts from the defaults, for this node of this cluster.
    pub fn builder(node: NodeId, cluster: ClusterId) -> StreamConfigBuilder {
        StreamConfigBuilder {
            repeated: Vec::new(),
            config: Self {
                node,
                cluster,
                group: GroupId(0),
                peers: BTreeMap::new(),
                limits: Limits {
                    frame: 8 << 20,
                    outbound_bytes: 64 << 20,
                    outbound_frames: 16_384,
                    inbound_bytes: 16 << 20,
                    inbound_frames: 4096,
                    strangers: 64,
                    peers: 1024,
                },
                timing: Timing {
                    handshake: Duration::from_secs(5),
                    keepalive: Duration::from_secs(5),
                    backoff_min: Duration::from_millis(50),
                    backoff_max: Duration::from_secs(2),
                    linger: Duration::from_secs(1),
                },
                accept_unknown: false,
                on_event: None,
            },
        }
    }

    /// The node that these settings are for.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn report(&self, event: &TransportEvent) {
        #[cfg(feature = "tracing")]
        event.trace();
        if let Some(on_event) = &self.on_event {
            on_event(event);
        }
    }
}

impl fmt::Debug for StreamConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamConfig")
            .field("node", &self.node)
            .field("cluster", &self.cluster)
            .field("group", &self.group)
            .field("peers", &self.peers)
            .field("limits", &self.limits)
            .field("timing", &self.timing)
            .field("accept_unknown", &self.accept_unknown)
            .finish_non_exhaustive()
    }
}

/// Builds a [`StreamConfig`].
///
/// What a transport holds in memory, whatever its peers send and its driver does:
///
/// | what | at most, by default | set by |
/// |---|---|---|
/// | waits to be sent to one peer | 64 MiB and 16,384 messages, and the message that exceeds it | [`max_outbound_bytes`](Self::max_outbound_bytes), [`max_outbound_messages`](Self::max_outbound_messages) |
/// | has arrived from one peer and waits for the driver | 16 MiB as encoded and 4096 messages, and what one read brings (one frame, or 64 KiB of them) | [`max_inbound_bytes`](Self::max_inbound_bytes), [`max_inbound_messages`](Self::max_inbound_messages) |
/// | a frame that is arriving | 8 MiB, and no more than twice what is there of it | [`max_frame`](Self::max_frame) |
/// | buffers of a connection | 128 KiB; TLS has its own beside them | |
/// | changes of a link that the driver has not seen | 8 for each peer | |
/// | a connection in its handshake | 524 bytes for each word | |
/// | connections in their handshake | 64 | [`max_strangers`](Self::max_strangers) |
/// | peers | 1024 | [`max_peers`](Self::max_peers) |
///
/// `node/tests/stream_memory.rs` measures this at the allocator.
#[derive(Clone, Debug)]
#[must_use = "nothing is built before `build`"]
pub struct StreamConfigBuilder {
    repeated: Vec<NodeId>,
    config: StreamConfig,
}

impl StreamConfigBuilder {
    /// Enters a peer and its address into the address book; it can be changed later by
    /// [`StreamTransport::set_peer`](super::StreamTransport::set_peer).
    pub fn peer(mut self, node: NodeId, address: impl Into<String>) -> Self {
        if self.config.peers.insert(node, address.into()).is_some() {
            self.repeated.push(node);
        }
        self
    }

    /// The replicated group that the messages belong to. Default: `GroupId(0)`.
    pub const fn group(mut self, group: GroupId) -> Self {
        self.config.group = group;
        self
    }

    /// The longest message, in bytes as encoded, that is sent or taken. It must exceed the largest
    /// batch or snapshot chunk of the protocol above. Default: 8 MiB.
    pub const fn max_frame(mut self, bytes: usize) -> Self {
        self.config.limits.frame = bytes;
        self
    }

    /// How much may wait to be sent to one peer, in bytes of memory. Reaching it resets the link.
    /// Default: 64 MiB.
    pub const fn max_outbound_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.outbound_bytes = bytes;
        self
    }

    /// How many messages may wait to be sent to one peer. Reaching it resets the link.
    /// Default: 16,384.
    pub const fn max_outbound_messages(mut self, count: usize) -> Self {
        self.config.limits.outbound_frames = count;
        self
    }

    /// How much may have arrived from one peer and wait for the driver, in bytes as encoded. When it
    /// is reached, nothing more is read from that peer's connection. Default: 16 MiB.
    pub const fn max_inbound_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.inbound_bytes = bytes;
        self
    }

    /// How many messages may have arrived from one peer and wait for the driver. Default: 4096.
    pub const fn max_inbound_messages(mut self, count: usize) -> Self {
        self.config.limits.inbound_frames = count;
        self
    }

    /// How many accepted connections may be in their handshake at once. When another arrives, the
    /// one that waits longest is closed, so that idle strangers cannot keep peers out. Default: 64.
    pub const fn max_strangers(mut self, count: usize) -> Self {
        self.config.limits.strangers = count;
        self
    }

    /// How many peers there may be, counting those in the address book. Default: 1024.
    pub const fn max_peers(mut self, count: usize) -> Self {
        self.config.limits.peers = count;
        self
    }

    /// How long connecting and the handshake may take together. Default: 5 s.
    pub const fn handshake_timeout(mut self, time: Duration) -> Self {
        self.config.timing.handshake = time;
        self
    }

    /// After this long without a message to send, an empty frame shows the peer that we are there; a
    /// peer of whom no whole frame arrives for three times as long is taken for gone, so the longest
    /// message must get through in that time. Must be about the same on all nodes. Default: 5 s.
    pub const fn keepalive(mut self, time: Duration) -> Self {
        self.config.timing.keepalive = time;
        self
    }

    /// How long to wait before dialling a peer again: at first `min`, after each failure twice as
    /// long, up to `max`; each time a random part of up to a half is taken off. A link that lasted
    /// for `max` starts over. The node with the smaller id of the two waits up to 50 ms longer.
    /// Default: 50 ms to 2 s.
    pub const fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.config.timing.backoff_min = min;
        self.config.timing.backoff_max = max;
        self
    }

    /// How long a closed transport goes on to deliver what was sent before. Default: 1 s.
    pub const fn linger(mut self, time: Duration) -> Self {
        self.config.timing.linger = time;
        self
    }

    /// Whether nodes that are not in the address book may connect. Default: no.
    pub const fn accept_unknown(mut self, accept: bool) -> Self {
        self.config.accept_unknown = accept;
        self
    }

    /// A function to learn of every [`TransportEvent`]. It is called in the middle of the
    /// transport's work: it must not block, and must not call the transport.
    pub fn on_event(mut self, f: impl Fn(&TransportEvent) + Send + Sync + 'static) -> Self {
        self.config.on_event = Some(Arc::new(f));
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`StreamConfigError`] lists every rule that is broken.
    pub fn build(self) -> Result<StreamConfig, StreamConfigError> {
        let broken = self.broken();
        if broken.is_empty() {
            Ok(self.config)
        } else {
            Err(StreamConfigError { rules: broken })
        }
    }

    fn broken(&self) -> Vec<BrokenRule> {
        let StreamConfig {
            node,
            peers,
            limits,
            timing,
            ..
        } = &self.config;
        let mut broken = Vec::new();
        broken.extend(self.repeated.iter().copied().map(BrokenRule::Repeated));
        if peers.contains_key(node) {
            broken.push(BrokenRule::OwnId(*node));
        }
        let most = u32::MAX as usize / 2;
        if limits.frame > most {
            broken.push(BrokenRule::Above("max_frame", limits.frame, most));
        }
        let whole = limits.frame.saturating_add(frame::HEADER + 1);
        for (name, value, least) in [
            ("max_frame", limits.frame, 1024),
            ("max_outbound_bytes", limits.outbound_bytes, whole),
            ("max_outbound_messages", limits.outbound_frames, 1),
            ("max_inbound_bytes", limits.inbound_bytes, 1),
            ("max_inbound_messages", limits.inbound_frames, 1),
            ("max_strangers", limits.strangers, 1),
            ("max_peers", limits.peers, peers.len().max(1)),
        ] {
            if value < least {
                broken.push(BrokenRule::Below(name, value, least));
            }
        }
        let (min, max) = (timing.backoff_min, timing.backoff_max);
        let least = Duration::from_millis(1);
        for (name, value) in [
            ("handshake_timeout", timing.handshake),
            ("keepalive", timing.keepalive),
            ("backoff min", min),
        ] {
            if value < least {
                broken.push(BrokenRule::TooShort(name, value, least));
            }
        }
        if min > max {
            broken.push(BrokenRule::Backoff { min, max });
        }
        broken
    }
}

/// Settings that contradict each other or leave no room to work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", List(rules))]
pub struct StreamConfigError {
    /// Every rule that is broken; at least one.
    pub rules: Vec<BrokenRule>,
}

struct List<'a>(&'a [BrokenRule]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, rule) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(f, "{separator}{rule}")?;
        }
        Ok(())
    }
}

/// One rule that a [`StreamConfig`] must keep.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenRule {
    /// A peer is entered twice.
    #[error("peer {0} is entered more than once")]
    Repeated(NodeId),
    /// The node is entered as its own peer.
    #[error("{0} is the node itself and cannot be its peer")]
    OwnId(NodeId),
    /// A limit is too low: its name, its value and the least that works.
    #[error("{0} ({1}) must be at least {2}")]
    Below(&'static str, usize, usize),
    /// A limit is too high: its name, its value and the most that works.
    #[error("{0} ({1}) must be at most {2}")]
    Above(&'static str, usize, usize),
    /// A time is too short: its name, its value and the least that works.
    #[error("{0} ({1:?}) must be at least {2:?}")]
    TooShort(&'static str, Duration, Duration),
    /// The backoff shrinks.
    #[error("backoff min ({min:?}) must not be longer than backoff max ({max:?})")]
    Backoff {
        /// The first wait.
        min: Duration,
        /// The longest wait.
        max: Duration,
    },
}
