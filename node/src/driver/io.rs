//! What is under way outside: messages both ways, loads, the timer. Each part is polled by the
//! driver and costs nothing while nothing happens.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::mem;
use core::task::{Context, Poll};
use std::sync::Mutex;

use futures::future::BoxFuture;
use synod_core::{
    Clock, Delivery, Envelope, Instant, LoadId, Machine, Storage, StorageError, Transport,
    TransportError,
};

use crate::sync::lock;

/// Where the future that receives leaves what arrived. It cannot hand out its buffer itself: a
/// future that borrows the transport lives as long as the driver.
pub(super) type Arrived<M> = Mutex<Vec<Delivery<M>>>;

/// Messages and link changes that come in.
pub(super) struct Incoming<'a, M> {
    pump: BoxFuture<'a, TransportError>,
    arrived: &'a Arrived<M>,
    batch: Vec<Delivery<M>>,
}

impl<'a, M: Send> Incoming<'a, M> {
    pub(super) fn new<T: Transport<M>>(transport: &'a T, arrived: &'a Arrived<M>) -> Self {
        Self {
            pump: Box::pin(receive(transport, arrived)),
            arrived,
            batch: Vec::new(),
        }
    }

    /// Takes all that has arrived; the list is handed back by [`recycle`](Self::recycle).
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Result<Vec<Delivery<M>>, TransportError> {
        let end = self.pump.as_mut().poll(cx);
        mem::swap(&mut self.batch, &mut lock(self.arrived));
        match end {
            Poll::Ready(error) if self.batch.is_empty() => Err(error),
            _ => Ok(mem::take(&mut self.batch)),
        }
    }

    pub(super) fn recycle(&mut self, batch: Vec<Delivery<M>>) {
        debug_assert!(batch.is_empty(), "only an empty list is used again");
        self.batch = batch;
    }
}

async fn receive<M: Send, T: Transport<M>>(transport: &T, arrived: &Arrived<M>) -> TransportError {
    let mut buffer = Vec::new();
    loop {
        if let Err(error) = transport.recv(&mut buffer).await {
            return error;
        }
        {
            let mut arrived = lock(arrived);
            if arrived.is_empty() {
                mem::swap(&mut buffer, &mut arrived);
            } else {
                arrived.append(&mut buffer);
            }
        }
        // The driver looks into `arrived` after every poll, so nobody needs to be woken.
        pause().await;
    }
}

/// Hands control back once.
async fn pause() {
    let mut paused = false;
    poll_fn(|_| match mem::replace(&mut paused, true) {
        false => Poll::Pending,
        true => Poll::Ready(()),
    })
    .await;
}

/// What is to be sent, and whether the future that sends has something in its hands.
pub(super) struct Lane<M> {
    queue: Vec<Envelope<M>>,
    sending: bool,
}

impl<M> Default for Lane<M> {
    fn default() -> Self {
        Self {
            queue: Vec::new(),
            sending: false,
        }
    }
}

/// Messages that go out.
pub(super) struct Outgoing<'a, M> {
    pump: BoxFuture<'a, ()>,
    lane: &'a Mutex<Lane<M>>,
    gathered: Vec<Envelope<M>>,
    sending: bool,
}

impl<'a, M: Send> Outgoing<'a, M> {
    pub(super) fn new<T: Transport<M>>(transport: &'a T, lane: &'a Mutex<Lane<M>>) -> Self {
        Self {
            pump: Box::pin(dispatch(transport, lane)),
            lane,
            gathered: Vec::new(),
            sending: false,
        }
    }

    pub(super) fn push(&mut self, envelope: Envelope<M>) {
        self.gathered.push(envelope);
    }

    /// Whether the transport still works on the last batch. It never waits for a peer, so this
    /// passes; meanwhile the machine keeps its outputs, within its own limits.
    pub(super) const fn is_sending(&self) -> bool {
        self.sending
    }

    /// Hands everything gathered to the transport.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        if self.gathered.is_empty() && !self.sending {
            return;
        }
        if !self.sending {
            mem::swap(&mut self.gathered, &mut lock(self.lane).queue);
        }
        let _never_ready = self.pump.as_mut().poll(cx);
        self.sending = lock(self.lane).sending;
    }
}

async fn dispatch<M: Send, T: Transport<M>>(transport: &T, lane: &Mutex<Lane<M>>) {
    let mut batch = Vec::new();
    loop {
        // The driver polls after it has filled the lane, so nobody needs to be woken.
        poll_fn(|_| {
            let mut lane = lock(lane);
            lane.sending = !lane.queue.is_empty();
            mem::swap(&mut lane.queue, &mut batch);
            if lane.sending {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        transport.send(&mut batch).await;
        batch.clear();
    }
}

/// Whose load it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker {
    Machine(LoadId),
    App(u64),
}

type Loading<'a, D> = BoxFuture<'a, Result<Option<D>, StorageError>>;

/// Reads from the storage.
pub(super) struct Loads<'a, M: Machine> {
    under_way: Vec<(Asker, Loading<'a, M::Loaded>)>,
    waiting: VecDeque<(Asker, M::Load)>,
}

impl<'a, M: Machine> Loads<'a, M> {
    /// Reads at the same time: enough that one slow read does not hold up the others.
    const LIMIT: usize = 4;

    pub(super) const fn new() -> Self {
        Self {
            under_way: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, asker: Asker, load: M::Load) {
        self.waiting.push_back((asker, load));
    }

    /// Whether a further load would start at once.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_empty() && self.under_way.len() < Self::LIMIT
    }

    /// Starts what there is room for; whether there was something.
    pub(super) fn start<S>(&mut self, storage: &'a S) -> bool
    where
        S: Storage<Record = M::Record, Load = M::Load, Loaded = M::Loaded>,
    {
        let before = self.under_way.len();
        while self.under_way.len() < Self::LIMIT
            && let Some((asker, load)) = self.waiting.pop_front()
        {
            self.under_way.push((asker, storage.load(load)));
        }
        self.under_way.len() > before
    }

    /// One that has finished.
    #[allow(clippy::type_complexity)]
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Option<(Asker, Result<Option<M::Loaded>, StorageError>)> {
        for k in 0..self.under_way.len() {
            if let Poll::Ready(answer) = self.under_way[k].1.as_mut().poll(cx) {
                let (asker, _) = self.under_way.remove(k);
                return Some((asker, answer));
            }
        }
        None
    }
}

/// One timer for the earliest deadline.
pub(crate) struct Timer<'a> {
    armed: Option<(Instant, BoxFuture<'a, ()>)>,
}

impl<'a> Timer<'a> {
    pub(crate) const fn new() -> Self {
        Self { armed: None }
    }

    /// Sees to it that the task is woken at `at` or a little earlier; whether a timer has just
    /// gone off. A deadline that moves away leaves the timer alone: most deadlines move with every
    /// message, and one early wake-up in a while is cheaper than a new timer each time.
    pub(crate) fn poll<C: Clock>(
        &mut self,
        cx: &mut Context<'_>,
        clock: &'a C,
        at: Instant,
    ) -> bool {
        if self.armed.as_ref().is_none_or(|(armed, _)| *armed > at) {
            self.armed = Some((at, clock.sleep_until(at)));
        }
        let Some((_, sleep)) = &mut self.armed else {
            return false;
        };
        let fired = sleep.as_mut().poll(cx).is_ready();
        if fired {
            self.armed = None;
        }
        fired
    }
}
