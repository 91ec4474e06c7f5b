//! Nodes to test with: whole ones, and ones whose words are chosen by hand.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use synod_core::{
    ClusterId, Decode, Delivery, Encode, Envelope, GroupId, Link, LinkId, NodeId, Transport,
    TransportError, frame,
};
use synod_node::clock::TokioClock;
use synod_node::stream::{
    BoxStream, Greeting, Groups, Hello, InsecurePlaintext, Network, PROTOCOL, StreamConfig,
    StreamConfigBuilder, StreamTransport, TransportEvent,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::stream_pipe::{Host, Hub};

pub(crate) const CLUSTER: ClusterId = ClusterId(7);
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn host(node: u64) -> String {
    format!("host{node}")
}

/// The settings of a node that knows these peers.
pub(crate) fn config(node: u64, peers: &[u64]) -> StreamConfigBuilder {
    let builder = StreamConfig::builder(NodeId(node), CLUSTER);
    peers.iter().fold(builder, |builder, peer| {
        builder.peer(NodeId(*peer), host(*peer))
    })
}

/// A transport, its connections in a task, and what it has told.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) transport: StreamTransport<Bytes>,
    pub(crate) connections: JoinHandle<()>,
    pub(crate) pending: Vec<Delivery<Bytes>>,
    events: Events,
}

#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<TransportEvent>>>);

impl Events {
    pub(crate) fn push(&self, event: &TransportEvent) {
        self.0.lock().unwrap().push(event.clone());
    }

    pub(crate) fn all(&self) -> Vec<TransportEvent> {
        self.0.lock().unwrap().clone()
    }

    /// The first event that `wanted` takes.
    pub(crate) async fn find<T>(&self, mut wanted: impl FnMut(&TransportEvent) -> Option<T>) -> T {
        let found = timeout(LONG, async {
            loop {
                if let Some(found) = self.all().iter().find_map(&mut wanted) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("no such event among {:#?}", self.all()),
        }
    }
}

impl Node {
    pub(crate) fn start(hub: &Hub, config: StreamConfigBuilder) -> Self {
        let id = config.clone().build().unwrap().node();
        Self::with_network(config, hub.host(&host(id.0)))
    }

    pub(crate) fn with_network(
        config: StreamConfigBuilder,
        network: impl Network + 'static,
    ) -> Self {
        let events = Events::default();
        let recorder = events.clone();
        let config = config
            .on_event(move |event| recorder.push(event))
            .build()
            .unwrap();
        let id = config.node();
        let clock = Arc::new(TokioClock::new());
        let (transport, connections) =
            StreamTransport::new(config, clock, network, InsecurePlaintext);
        Self {
            id,
            transport,
            connections: tokio::spawn(connections),
            pending: Vec::new(),
            events,
        }
    }

    pub(crate) fn events(&self) -> Vec<TransportEvent> {
        self.events.all()
    }

    pub(crate) async fn event<T>(&self, wanted: impl FnMut(&TransportEvent) -> Option<T>) -> T {
        self.events.find(wanted).await
    }

    pub(crate) async fn send(&self, to: u64, link: LinkId, messages: &[&[u8]]) {
        let mut batch: Vec<_> = messages
            .iter()
            .map(|message| Envelope {
                from: self.id,
                to: NodeId(to),
                link,
                message: Bytes::copy_from_slice(message),
            })
            .collect();
        self.transport.send(&mut batch).await;
        assert!(batch.is_empty());
    }

    /// The next thing that arrives.
    pub(crate) async fn next(&mut self) -> Result<Delivery<Bytes>, TransportError> {
        if self.pending.is_empty() {
            let received = timeout(LONG, self.transport.recv(&mut self.pending)).await;
            received
                .unwrap_or_else(|_| panic!("{} hears nothing: {:#?}", self.id, self.events()))?;
        }
        Ok(self.pending.remove(0))
    }

    /// The next thing, which must be that the link to `peer` is up.
    pub(crate) async fn up(&mut self, peer: u64) -> LinkId {
        match self.next().await.unwrap() {
            Delivery::Link(from, Link::Up(link)) if from == NodeId(peer) => link,
            other => panic!("{} waits for a link to {peer}, not {other:?}", self.id),
        }
    }

    /// The next thing, which must be that the link to `peer` is down.
    pub(crate) async fn down(&mut self, peer: u64) {
        let next = self.next().await.unwrap();
        assert_eq!(next, Delivery::Link(NodeId(peer), Link::Down));
    }

    /// The next thing, which must be a message on `link`.
    pub(crate) async fn message(&mut self, link: LinkId) -> Bytes {
        match self.next().await.unwrap() {
            Delivery::Message(envelope) => {
                assert_eq!((envelope.to, envelope.link), (self.id, link));
                envelope.message
            }
            other => panic!("{} waits for a message, not {other:?}", self.id),
        }
    }

    /// That nothing arrives for `time`.
    pub(crate) async fn silent_for(&mut self, time: Duration) {
        assert_eq!(self.pending, []);
        let received = timeout(time, self.transport.recv(&mut self.pending)).await;
        assert!(received.is_err(), "{:?}", self.pending);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.connections.abort();
    }
}

/// A peer whose every word is chosen by the test.
pub(crate) struct ByHand {
    pub(crate) end: BoxStream,
}

pub(crate) fn hello(from: u64, to: u64) -> Hello {
    Hello {
        oldest: PROTOCOL,
        newest: PROTOCOL,
        cluster: CLUSTER,
        groups: Groups::One(GroupId(0)),
        from: NodeId(from),
        to: NodeId(to),
        boot: from,
        max_frame: 1 << 20,
    }
}

impl ByHand {
    pub(crate) async fn dial(hub: &Hub, to: u64) -> Self {
        let end = hub.dial("by hand", &host(to)).await.unwrap();
        Self { end: Box::new(end) }
    }

    pub(crate) async fn accept(host: &Host) -> Self {
        let end = host.accept().await.unwrap().stream;
        Self { end }
    }

    /// Dials `to` as `from`, up to the moment when the link is up.
    pub(crate) async fn link(hub: &Hub, from: u64, to: u64) -> Self {
        let mut peer = Self::dial(hub, to).await;
        peer.say(Greeting::Hello(hello(from, to))).await;
        assert!(matches!(peer.hear().await, Greeting::Hello(_)));
        if from > to {
            peer.say(Greeting::Confirm(1)).await;
        } else {
            assert!(matches!(peer.hear().await, Greeting::Confirm(_)));
        }
        peer
    }

    pub(crate) async fn say(&mut self, greeting: Greeting) {
        let mut bytes = BytesMut::new();
        greeting.encode(&mut bytes);
        self.write(&bytes).await;
    }

    pub(crate) async fn hear(&mut self) -> Greeting {
        let heard = timeout(LONG, async {
            let mut bytes = vec![0; 12];
            self.end.read_exact(&mut bytes).await.unwrap();
            let len = usize::from(u16::from_le_bytes([bytes[6], bytes[7]]));
            bytes.resize(12 + len, 0);
            self.end.read_exact(&mut bytes[12..]).await.unwrap();
            Greeting::decode_all(Bytes::from(bytes)).unwrap()
        });
        heard.await.expect("a greeting")
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.end.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn send(&mut self, message: &[u8]) {
        self.write(&framed(GroupId(0), 0, message)).await;
    }

    /// Waits until the other end has closed the connection; whatever it sent before is dropped.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        let read = timeout(LONG, self.end.read_to_end(&mut rest)).await;
        let _ = read.expect("the connection stays open");
    }
}

/// A frame with a message of the type `Bytes`.
pub(crate) fn framed(group: GroupId, kind: u8, message: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    frame::write_frame(group, &mut out, |out| {
        kind.encode(out);
        Bytes::copy_from_slice(message).encode(out);
    });
    out
}
