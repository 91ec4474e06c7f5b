//! A network in memory, with latency, cuts and black holes, in tokio's (paused) time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_trait::async_trait;
use futures::io::{AsyncRead, AsyncWrite};
use synod_core::{NodeId, Rng};
use synod_node::stream::{BoxStream, Incoming, Network};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// One direction of a pipe.
#[derive(Default)]
struct Flow {
    chunks: VecDeque<(Instant, Vec<u8>)>,
    len: usize,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What both ends share.
struct Pipe {
    flows: [Mutex<Flow>; 2],
    state: Mutex<State>,
    latency: Duration,
    capacity: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    /// Nothing gets through, nobody learns of it.
    Hole,
    Cut,
}

impl Pipe {
    fn flow(&self, side: usize) -> MutexGuard<'_, Flow> {
        self.flows[side].lock().unwrap()
    }

    fn become_(&self, state: State) {
        *self.state.lock().unwrap() = state;
        for side in 0..2 {
            let mut flow = self.flow(side);
            flow.reader.take().into_iter().for_each(Waker::wake);
            flow.writer.take().into_iter().for_each(Waker::wake);
        }
    }

    fn state(&self) -> io::Result<State> {
        match *self.state.lock().unwrap() {
            State::Cut => Err(io::ErrorKind::ConnectionReset.into()),
            state => Ok(state),
        }
    }
}

/// One end of a pipe. Reads flow `side`, writes the other.
pub(crate) struct End {
    pipe: Arc<Pipe>,
    side: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

pub(crate) fn pipe(latency: Duration, capacity: usize) -> (End, End) {
    let pipe = Arc::new(Pipe {
        flows: Default::default(),
        state: Mutex::new(State::Open),
        latency,
        capacity,
    });
    let end = |side| End {
        pipe: Arc::clone(&pipe),
        side,
        timer: None,
    };
    (end(0), end(1))
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(timer) = &mut self.timer {
                ready!(timer.as_mut().poll(cx));
                self.timer = None;
            }
            let this = &mut *self;
            let hole = this.pipe.state()? == State::Hole;
            let mut flow = this.pipe.flow(this.side);
            flow.reader = Some(cx.waker().clone());
            if hole {
                return Poll::Pending;
            }
            let Some((at, chunk)) = flow.chunks.front_mut() else {
                return if flow.ended {
                    Poll::Ready(Ok(0))
                } else {
                    Poll::Pending
                };
            };
            if *at > Instant::now() {
                this.timer = Some(Box::pin(sleep_until(*at)));
                continue;
            }
            let count = into.len().min(chunk.len());
            into[..count].copy_from_slice(&chunk[..count]);
            chunk.drain(..count);
            if chunk.is_empty() {
                flow.chunks.pop_front();
            }
            flow.len -= count;
            flow.writer.take().into_iter().for_each(Waker::wake);
            return Poll::Ready(Ok(count));
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pipe.state()?;
        let mut flow = self.pipe.flow(1 - self.side);
        if flow.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(self.pipe.capacity - flow.len);
        if count == 0 {
            flow.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        flow.len += count;
        let at = Instant::now() + self.pipe.latency;
        flow.chunks.push_back((at, bytes[..count].to_vec()));
        flow.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut flow = self.pipe.flow(1 - self.side);
        flow.ended = true;
        flow.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        for side in 0..2 {
            let mut flow = self.pipe.flow(side);
            flow.ended = true;
            flow.reader.take().into_iter().for_each(Waker::wake);
            flow.writer.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// All hosts, by name.
#[derive(Clone, Default)]
pub(crate) struct Hub(Arc<Mutex<Hosts>>);

#[derive(Default)]
struct Hosts {
    listeners: BTreeMap<String, mpsc::UnboundedSender<Incoming>>,
    pipes: Vec<Arc<Pipe>>,
    /// Draws the latency of each pipe, up to so many milliseconds.
    latency: Option<(Rng, u64)>,
    capacity: Option<usize>,
}

impl Hub {
    /// Each pipe has a latency of its own, up to `most` milliseconds.
    pub(crate) fn with_latency(seed: u64, most: u64) -> Self {
        let hub = Self::default();
        hub.hosts().latency = Some((Rng::new(seed), most));
        hub
    }

    /// Pipes hold so many bytes under way.
    pub(crate) fn set_capacity(&self, bytes: usize) {
        self.hosts().capacity = Some(bytes);
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.0.lock().unwrap()
    }

    /// A host that can dial and be dialled by its name.
    pub(crate) fn host(&self, name: &str) -> Host {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.hosts().listeners.insert(name.into(), sender);
        Host {
            hub: self.clone(),
            name: name.into(),
            incoming: tokio::sync::Mutex::new(receiver),
        }
    }

    pub(crate) fn remove(&self, name: &str) {
        self.hosts().listeners.remove(name);
    }

    /// A raw connection to a host.
    pub(crate) async fn dial(&self, from: &str, name: &str) -> io::Result<End> {
        let (ours, wait) = {
            let mut hosts = self.hosts();
            let latency = match &mut hosts.latency {
                Some((rng, most)) => Duration::from_millis(rng.below(*most + 1)),
                None => Duration::ZERO,
            };
            let listener = hosts.listeners.get(name).cloned();
            let listener = listener.ok_or(io::ErrorKind::ConnectionRefused)?;
            let (ours, theirs) = pipe(latency, hosts.capacity.unwrap_or(1 << 20));
            hosts.pipes.push(Arc::clone(&ours.pipe));
            let incoming = Incoming {
                stream: Box::new(theirs),
                remote: from.into(),
            };
            let sent = listener.send(incoming);
            sent.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            (ours, latency)
        };
        sleep(wait).await;
        Ok(ours)
    }

    /// Breaks every connection that there is.
    pub(crate) fn cut_all(&self) {
        self.hosts()
            .pipes
            .drain(..)
            .for_each(|p| p.become_(State::Cut));
    }

    /// Every connection that there is goes nowhere any more.
    pub(crate) fn swallow_all(&self) {
        self.hosts()
            .pipes
            .drain(..)
            .for_each(|p| p.become_(State::Hole));
    }
}

pub(crate) struct Host {
    hub: Hub,
    name: String,
    incoming: tokio::sync::Mutex<mpsc::UnboundedReceiver<Incoming>>,
}

#[async_trait]
impl Network for Host {
    async fn connect(&self, _: NodeId, address: &str) -> io::Result<BoxStream> {
        Ok(Box::new(self.hub.dial(&self.name, address).await?))
    }

    async fn accept(&self) -> io::Result<Incoming> {
        let incoming = self.incoming.lock().await.recv().await;
        incoming.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
