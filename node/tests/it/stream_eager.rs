//! A stream that takes everything at once, and a sender that goes on sending.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::io::{AsyncRead, AsyncWrite};
use synod_core::{Envelope, NodeId, Transport};
use synod_node::stream::{BoxStream, Incoming, Network};

use crate::stream_pipe::{Host, Hub};
use crate::stream_support::{Node, config};

/// What an eager stream does and has seen.
#[derive(Default)]
struct Eager {
    /// Says one more message whenever one has been written, for so many writes.
    more: OnceLock<Box<dyn Fn() + Send + Sync>>,
    left: AtomicUsize,
    /// Writes since the last read.
    writes: AtomicUsize,
    most: AtomicUsize,
}

/// A stream that takes everything at once, and whose sender goes on sending.
struct EagerStream(BoxStream, Arc<Eager>);

impl AsyncRead for EagerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.1.writes.store(0, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for EagerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let eager = Arc::clone(&self.1);
        let Some(more) = eager.more.get() else {
            return Pin::new(&mut self.0).poll_write(cx, bytes);
        };
        let writes = eager.writes.fetch_add(1, Ordering::Relaxed) + 1;
        eager.most.fetch_max(writes, Ordering::Relaxed);
        let left = |left: usize| left.checked_sub(1);
        if eager
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
            .is_ok()
        {
            more();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

struct EagerNetwork(Host, Arc<Eager>);

#[async_trait]
impl Network for EagerNetwork {
    async fn connect(&self, peer: NodeId, address: &str) -> io::Result<BoxStream> {
        let stream = self.0.connect(peer, address).await?;
        Ok(Box::new(EagerStream(stream, Arc::clone(&self.1))))
    }

    async fn accept(&self) -> io::Result<Incoming> {
        let Incoming { stream, remote } = self.0.accept().await?;
        let stream = Box::new(EagerStream(stream, Arc::clone(&self.1)));
        Ok(Incoming { stream, remote })
    }
}

/// Nothing that is sent keeps a connection from hearing its peer.
#[tokio::test(start_paused = true)]
async fn a_connection_that_always_has_something_to_write_still_reads() {
    let hub = Hub::default();
    let eager = Arc::new(Eager::default());
    let network = EagerNetwork(hub.host("host1"), Arc::clone(&eager));
    let mut one = Node::with_network(config(1, &[2]), network);
    let mut two = Node::start(&hub, config(2, &[]).accept_unknown(true));
    let at_one = one.up(2).await;
    two.up(1).await;

    eager.left.store(10_000, Ordering::Relaxed);
    let transport = one.transport.clone();
    let message = move || {
        let mut batch = vec![Envelope {
            from: NodeId(1),
            to: NodeId(2),
            link: at_one,
            message: Bytes::from_static(b"more"),
        }];
        transport.send(&mut batch).now_or_never().unwrap();
    };
    assert!(eager.more.set(Box::new(message)).is_ok());
    one.send(2, at_one, &[b"first"]).await;
    while eager.left.load(Ordering::Relaxed) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let most = eager.most.load(Ordering::Relaxed);
    assert!((2..=32).contains(&most), "{most} writes without a read");
}
