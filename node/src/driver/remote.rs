//! The remote control of any machine: commands in, replies and events out.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::Mutex;

use futures::Stream;
use synod_core::{Batch, Instant, Link, Machine, NodeId};

use super::{App, Flow, Limits, NodeError, Traffic};
use crate::handle::inbox::{Cost, Full, Inbox, InboxLimits};
use crate::handle::slot::{Answer, Promise, slot};
use crate::sync::{Wakers, lock};

/// Commands taken in one round.
const COMMANDS: usize = 4096;

enum Asked<C, R> {
    Call(C, Promise<Result<R, CallError>>),
    Shutdown,
}

pub(super) struct Shared<M: Machine> {
    inbox: Inbox<Asked<M::Command, M::Reply>>,
    pub(super) events: Arc<Queue<M::Event>>,
    ended: Mutex<Ended>,
}

#[derive(Default)]
struct Ended {
    over: bool,
    wakers: Wakers,
}

impl<M: Machine> Shared<M> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            inbox: Inbox::new(InboxLimits {
                requests: limits.max_outstanding,
                bytes: usize::MAX,
                held: usize::MAX,
            }),
            events: Arc::new(Queue::new(limits.max_events)),
            ended: Mutex::default(),
        }
    }
}

/// Gives commands to a machine under a [`Driver`](super::Driver). Clones are cheap and equal.
pub struct Remote<M: Machine>(Arc<Shared<M>>);

impl<M: Machine> Clone for Remote<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Machine> core::fmt::Debug for Remote<M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// Why a command has no reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Too many commands are outstanding: nothing has happened and nothing will.
    #[error("{0} commands are outstanding, which is the limit")]
    Busy(usize),
    /// The driver has ended or is about to: nothing has happened and nothing will.
    #[error("the driver has ended")]
    Stopped,
    /// The driver ended before it gave the reply; whether the command had an effect is unknown.
    #[error("the driver ended before it replied")]
    Unknown,
}

impl<M: Machine> Remote<M> {
    pub(super) const fn new(shared: Arc<Shared<M>>) -> Self {
        Self(shared)
    }

    /// Gives the machine a command. It is queued at once, whether or not the future is polled;
    /// dropping the future takes nothing back.
    pub fn call(&self, command: M::Command) -> Call<M::Reply> {
        let inbox = &self.0.inbox;
        let asked = inbox.push(Cost::ONE, |permit| {
            let (promise, answer) = slot(permit);
            (Asked::Call(command, promise), answer)
        });
        Call(asked.map_err(|full| match full {
            Full::Closed => CallError::Stopped,
            Full::Requests | Full::Bytes | Full::Held => CallError::Busy(inbox.limits().requests),
        }))
    }

    /// Ends the driver once the write under way is durable, and completes when it has ended.
    /// Commands that still wait are answered as [`CallError::Stopped`].
    pub async fn shutdown(&self) {
        // A closed inbox means that it ends already.
        let _closed = self.0.inbox.push_free(Asked::Shutdown);
        core::future::poll_fn(|cx| {
            let mut ended = lock(&self.0.ended);
            if ended.over {
                return Poll::Ready(());
            }
            ended.wakers.register(cx.waker());
            Poll::Pending
        })
        .await;
    }
}

/// The reply that is to come.
#[must_use = "the command is under way, its reply is here"]
pub struct Call<R>(Result<Answer<Result<R, CallError>>, CallError>);

impl<R> Future for Call<R> {
    type Output = Result<R, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(answer) => Pin::new(answer)
                .poll(cx)
                .map(|reply| reply.unwrap_or(Err(CallError::Unknown))),
            Err(error) => Poll::Ready(Err(*error)),
        }
    }
}

impl<R> core::fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

/// Events on their way to whoever acts on them: none is lost, the machine waits instead.
pub(super) struct Queue<E> {
    state: Mutex<QueueState<E>>,
    limit: usize,
}

struct QueueState<E> {
    events: VecDeque<E>,
    consumer: Option<Waker>,
    driver: Option<Waker>,
    /// Nobody takes events any more, or none will come.
    over: bool,
}

impl<E> Queue<E> {
    fn new(limit: usize) -> Self {
        let state = QueueState {
            events: VecDeque::new(),
            consumer: None,
            driver: None,
            over: false,
        };
        Self {
            state: Mutex::new(state),
            limit: limit.max(1),
        }
    }
}

/// What a machine says, in order and without loss. While it is full the machine is not asked for
/// more outputs, its messages included: take events promptly, or drop this to discard them.
pub struct MachineEvents<E>(Arc<Queue<E>>);

impl<E> MachineEvents<E> {
    pub(super) const fn new(queue: Arc<Queue<E>>) -> Self {
        Self(queue)
    }
}

impl<E> Stream for MachineEvents<E> {
    type Item = E;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<E>> {
        let mut state = lock(&self.0.state);
        let Some(event) = state.events.pop_front() else {
            if state.over {
                return Poll::Ready(None);
            }
            state.consumer = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        Poll::Ready(Some(event))
    }
}

impl<E> Drop for MachineEvents<E> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.over = true;
        let discarded = core::mem::take(&mut state.events);
        let driver = state.driver.take();
        drop(state);
        drop(discarded);
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

impl<E> core::fmt::Debug for MachineEvents<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MachineEvents").finish_non_exhaustive()
    }
}

type Taken<M> = VecDeque<(Asked<<M as Machine>::Command, <M as Machine>::Reply>, usize)>;

/// The app that is a remote control and nothing else.
pub(super) struct Plain<M: Machine> {
    shared: Arc<Shared<M>>,
    taken: Taken<M>,
    wakers: Wakers,
    ended: bool,
}

impl<M: Machine> Plain<M> {
    pub(super) const fn new(shared: Arc<Shared<M>>) -> Self {
        Self {
            shared,
            taken: VecDeque::new(),
            wakers: Wakers::new(),
            ended: false,
        }
    }

    fn close(&mut self) {
        if core::mem::replace(&mut self.ended, true) {
            return;
        }
        let taken = self.taken.drain(..).map(|(asked, _)| asked);
        for asked in taken.chain(self.shared.inbox.close()) {
            if let Asked::Call(_, promise) = asked {
                promise.resolve(Err(CallError::Stopped), &mut self.wakers);
            }
        }
        let consumer = {
            let mut state = lock(&self.shared.events.state);
            state.over = true;
            state.consumer.take()
        };
        self.wakers.push(consumer);
        self.wakers.wake_all();
        let mut ended = lock(&self.shared.ended);
        ended.over = true;
        ended.wakers.wake_all();
    }
}

impl<M: Machine> Drop for Plain<M> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<M> App<M> for Plain<M>
where
    M: Machine,
    M::Command: Send,
    M::Reply: Send,
    M::Event: Send,
{
    fn start(&mut self, _: &mut M, _: Instant) -> Result<(), NodeError> {
        Ok(())
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        machine: &mut M,
        clock: &dyn Fn() -> Instant,
    ) -> Result<Flow, NodeError> {
        self.shared.inbox.take(&mut self.taken, COMMANDS, cx);
        if !self.has_room(cx) {
            // A machine whose outputs are not taken is told nothing more either: what it says to
            // that would have to wait inside it.
            let is_over = |(asked, _): &(Asked<_, _>, _)| matches!(asked, Asked::Shutdown);
            return Ok(match self.taken.iter().any(is_over) {
                true => Flow::Done,
                false => Flow::Idle,
            });
        }
        let (busy, now) = (!self.taken.is_empty(), clock());
        while let Some((asked, _)) = self.taken.pop_front() {
            match asked {
                Asked::Call(command, promise) => {
                    let reply = machine.call(now, command);
                    promise.resolve(Ok(reply), &mut self.wakers);
                }
                Asked::Shutdown => return Ok(Flow::Done),
            }
        }
        Ok(Flow::of(busy))
    }

    fn has_room(&mut self, cx: &Context<'_>) -> bool {
        let mut state = lock(&self.shared.events.state);
        let room = state.over || state.events.len() < self.shared.events.limit;
        if !room {
            state.driver = Some(cx.waker().clone());
        }
        room
    }

    fn event(&mut self, _: &mut M, _: Instant, event: M::Event) -> Result<(), NodeError> {
        let mut state = lock(&self.shared.events.state);
        if !state.over {
            state.events.push_back(event);
            self.wakers.push(state.consumer.take());
        }
        Ok(())
    }

    fn add_records(&mut self, _: &mut Batch<M::Record>) -> bool {
        false
    }

    fn written(&mut self, _: &mut M, _: Instant) {}

    fn next_load(&mut self) -> Option<(u64, M::Load)> {
        None
    }

    fn loaded(
        &mut self,
        _: &mut M,
        _: Instant,
        _: u64,
        _: Option<M::Loaded>,
    ) -> Result<(), NodeError> {
        Ok(())
    }

    fn link(&mut self, _: NodeId, _: Link) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn settle(&mut self, _: &M, _: Instant, _: &Traffic) {
        self.wakers.wake_all();
    }

    fn end(&mut self, _: Option<&NodeError>) {
        self.close();
    }
}
