//! The conformance suite of core, over TCP, on both runtimes.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::io::{AsyncRead, AsyncWrite};
use futures::task::AtomicWaker;
use synod_core::{Clock, ClusterId, NodeId, TransportError, conform};
use synod_node::clock::{AsyncIoClock, TokioClock};
use synod_node::stream::{
    AsyncIoTcp, BoxStream, Connections, Incoming, InsecurePlaintext, Network, StreamConfig,
    StreamTransport, TokioTcp,
};

/// What differs between runtimes.
#[async_trait]
trait Runtime: Send + Sync {
    async fn bind(&self) -> io::Result<(Box<dyn Network>, String)>;
    fn clock(&self) -> Arc<dyn Clock>;
    fn spawn(&self, connections: Connections);
}

struct Tokio;

#[async_trait]
impl Runtime for Tokio {
    async fn bind(&self) -> io::Result<(Box<dyn Network>, String)> {
        let tcp = TokioTcp::bind("127.0.0.1:0").await?;
        let address = tcp.local_addr()?.to_string();
        Ok((Box::new(tcp), address))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(TokioClock::new())
    }

    fn spawn(&self, connections: Connections) {
        tokio::spawn(connections);
    }
}

struct Smol;

#[async_trait]
impl Runtime for Smol {
    async fn bind(&self) -> io::Result<(Box<dyn Network>, String)> {
        let tcp = AsyncIoTcp::bind("127.0.0.1:0").await?;
        let address = tcp.local_addr()?.to_string();
        Ok((Box::new(tcp), address))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(AsyncIoClock::new())
    }

    fn spawn(&self, connections: Connections) {
        smol::spawn(connections).detach();
    }
}

struct Factory<R> {
    runtime: R,
    clock: Arc<dyn Clock>,
    addresses: BTreeMap<NodeId, String>,
    streams: Streams,
}

impl<R: Runtime> Factory<R> {
    fn new(runtime: R) -> Self {
        Self {
            clock: runtime.clock(),
            runtime,
            addresses: BTreeMap::new(),
            streams: Streams::default(),
        }
    }
}

#[async_trait]
impl<R: Runtime> conform::Network for Factory<R> {
    type Transport = StreamTransport<Bytes>;

    async fn start(&mut self, node: NodeId) -> Result<Self::Transport, TransportError> {
        let bound = self.runtime.bind().await;
        let (tcp, address) = bound.map_err(|error| TransportError(error.to_string()))?;
        let streams = self.streams.clone();
        // Those that came earlier do not know the new address: they are dialled.
        let mut config = StreamConfig::builder(node, ClusterId(1)).accept_unknown(true);
        for (peer, address) in &self.addresses {
            if *peer != node {
                config = config.peer(*peer, address);
            }
        }
        self.addresses.insert(node, address);
        let (transport, connections) = StreamTransport::new(
            config.build().unwrap(),
            Arc::clone(&self.clock),
            Breakable { node, tcp, streams },
            InsecurePlaintext,
        );
        self.runtime.spawn(connections);
        Ok(transport)
    }

    async fn break_link(&mut self, one: NodeId, other: NodeId) -> bool {
        let mut streams = self.streams.0.lock().unwrap();
        for ends in [(one, other), (other, one)] {
            for broken in streams.remove(&ends).unwrap_or_default() {
                broken.now.store(true, Ordering::SeqCst);
                broken.waker.wake();
            }
        }
        true
    }

    async fn sleep(&self, time: Duration) {
        self.clock.sleep_until(self.clock.now() + time).await;
    }
}

/// TCP whose connections can be broken, at the end that has dialled.
struct Breakable {
    node: NodeId,
    tcp: Box<dyn Network>,
    streams: Streams,
}

#[derive(Clone, Default)]
struct Streams(Arc<Mutex<BTreeMap<Ends, Vec<Arc<Broken>>>>>);

/// Who has dialled whom.
type Ends = (NodeId, NodeId);

#[derive(Default)]
struct Broken {
    now: AtomicBool,
    waker: AtomicWaker,
}

#[async_trait]
impl Network for Breakable {
    async fn connect(&self, peer: NodeId, address: &str) -> io::Result<BoxStream> {
        let stream = self.tcp.connect(peer, address).await?;
        let broken = Arc::new(Broken::default());
        let mut streams = self.streams.0.lock().unwrap();
        let these = streams.entry((self.node, peer)).or_default();
        these.push(Arc::clone(&broken));
        Ok(Box::new(BreakableStream { stream, broken }))
    }

    async fn accept(&self) -> io::Result<Incoming> {
        self.tcp.accept().await
    }
}

struct BreakableStream {
    stream: BoxStream,
    broken: Arc<Broken>,
}

impl BreakableStream {
    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        self.broken.waker.register(cx.waker());
        if self.broken.now.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for BreakableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for BreakableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_over_tcp_on_tokio() {
    let report = conform::transport(Factory::new(Tokio)).await.unwrap();
    assert_eq!(report.skipped, [""; 0]);
}

#[test]
fn the_contract_holds_over_tcp_on_smol() {
    let report = smol::block_on(conform::transport(Factory::new(Smol))).unwrap();
    assert_eq!(report.skipped, [""; 0]);
}
