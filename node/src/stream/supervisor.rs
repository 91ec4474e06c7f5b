//! The one future behind all connections: dials, answers, and runs the links.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::sync::Arc;
use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Mutex;

use futures::future::{AbortHandle, Abortable, BoxFuture, Either, select};
use futures::stream::{self, FuturesUnordered, Stream, StreamExt};
use synod_core::{Decode, Encode, NodeId, mix};

use super::handshake::{answer, dial};
use super::lock::lock;
use super::shared::Shared;
use super::table::{Entry, Target};
use super::{HandshakeError, Incoming, TransportEvent};

/// How many connections are accepted before the others have their turn.
const ACCEPTS: usize = 16;

/// How long to wait after the network could not accept (for want of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How much longer than the other the node that does not confirm waits before it dials.
const HEAD_START: Duration = Duration::from_millis(50);

type Tasks = FuturesUnordered<BoxFuture<'static, ()>>;

/// Runs until the transport is closed. `end` is made by the caller: a future that is dropped before
/// it was ever polled must say so, too.
pub(crate) async fn supervise<M>(shared: Arc<Shared<M>>, end: EndGuard<M>)
where
    M: Encode + Decode + Send + 'static,
{
    let mut tasks = Tasks::new();
    {
        let strangers = Arc::new(Strangers::default());
        let mut incoming = pin!(accepting(&shared));
        poll_fn(|cx| {
            shared.supervisor.register(cx.waker());
            for (peer, entry) in lock(&shared.table).take_new() {
                tasks.push(Box::pin(keep_linked(Arc::clone(&shared), peer, entry)));
            }
            for round in 1..=ACCEPTS {
                let Poll::Ready(Some(it)) = incoming.as_mut().poll_next(cx) else {
                    break;
                };
                tasks.push(welcome(&shared, &strangers, it));
                if round == ACCEPTS {
                    cx.waker().wake_by_ref();
                }
            }
            while let Poll::Ready(Some(())) = tasks.poll_next_unpin(cx) {}
            if lock(&shared.table).closing() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
    let last_words = poll_fn(|cx| poll_links(&shared, &mut tasks, cx));
    shared.within(shared.config.timing.linger, last_words).await;
    // The links first, so that their ends are announced before that of the transport.
    drop(tasks);
    drop(end);
}

/// Runs what is left until no link is.
fn poll_links<M>(shared: &Shared<M>, tasks: &mut Tasks, cx: &mut Context<'_>) -> Poll<()> {
    shared.supervisor.register(cx.waker());
    while let Poll::Ready(Some(())) = tasks.poll_next_unpin(cx) {}
    match lock(&shared.table).links().next() {
        Some(_) => Poll::Pending,
        None => Poll::Ready(()),
    }
}

/// Says that nothing will arrive any more, also when the future is dropped in the middle.
pub(crate) struct EndGuard<M>(pub(crate) Arc<Shared<M>>);

impl<M> Drop for EndGuard<M> {
    fn drop(&mut self) {
        let closed = lock(&self.0.table).closing();
        self.0.close();
        self.0.inbound.end(if closed {
            "it was closed"
        } else {
            "the future that drives its connections was dropped"
        });
    }
}

fn accepting<M>(shared: &Arc<Shared<M>>) -> impl Stream<Item = Incoming> {
    stream::unfold(Arc::clone(shared), |shared| async {
        loop {
            match shared.network.accept().await {
                Ok(incoming) => return Some((incoming, shared)),
                Err(error) => {
                    let error = error.to_string();
                    let event = TransportEvent::AcceptFailed { error };
                    shared.config.report(&event);
                    shared.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

/// Dials `peer` whenever there is no link to it, for as long as it is in the address book.
async fn keep_linked<M>(shared: Arc<Shared<M>>, peer: NodeId, entry: Entry)
where
    M: Encode + Decode + Send + 'static,
{
    while let Some(target) = shared.target(peer, entry).await {
        if !shared.waited(&target).await {
            continue;
        }
        match dial(&shared, peer, &target.address).await {
            Ok(connection) => connection.run().await,
            Err(unlinked) => {
                lock(&shared.table).failed(&target);
                let remote = target.address;
                shared.report_unlinked(Some(peer), remote, unlinked).await;
            }
        }
    }
}

impl<M> Shared<M> {
    /// Waits until `target` may be dialled; false if it is not to be dialled any more.
    async fn waited(&self, target: &Target) -> bool {
        let wait = pin!(self.sleep(self.backoff(target)));
        let outdated = pin!(self.outdated(target));
        matches!(select(outdated, wait).await, Either::Right(_))
    }

    /// How long to wait before dialling.
    fn backoff(&self, target: &Target) -> Duration {
        let timing = &self.config.timing;
        // When both ends have lost the link at once, the one that confirms goes first, so that the
        // two attempts seldom cross.
        let head_start = if self.keeps(target.peer) {
            Duration::ZERO
        } else {
            HEAD_START.min(timing.backoff_min)
        };
        let Some(doublings) = target.failures.checked_sub(1) else {
            return head_start;
        };
        let full = timing
            .backoff_min
            .saturating_mul(1 << doublings.min(20))
            .min(timing.backoff_max);
        let draw = mix(self.boot ^ target.peer.0, u64::from(target.failures));
        // Up to a half off, in 1024 steps.
        head_start + full - full * u32::try_from(draw % 1024).unwrap_or(0) / 2048
    }
}

/// Connections that were accepted and are not links yet, in the order of their coming.
#[derive(Default)]
struct Strangers(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    next: u64,
    handles: BTreeMap<u64, AbortHandle>,
}

/// Takes in a connection; the stranger that has waited longest gives way if there are too many.
fn welcome<M>(
    shared: &Arc<Shared<M>>,
    strangers: &Arc<Strangers>,
    incoming: Incoming,
) -> BoxFuture<'static, ()>
where
    M: Encode + Decode + Send + 'static,
{
    let (shared, strangers) = (Arc::clone(shared), Arc::clone(strangers));
    let most = shared.config.limits.strangers;
    let (handle, registration) = AbortHandle::new_pair();
    let place = strangers.enter(handle, most);
    Box::pin(async move {
        let remote = incoming.remote.clone();
        let handshake = async {
            let linked = answer(&shared, incoming).await;
            match linked {
                Ok(connection) => Some(connection),
                Err(unlinked) => {
                    shared.report_unlinked(None, remote.clone(), unlinked).await;
                    None
                }
            }
        };
        let outcome = Abortable::new(handshake, registration).await;
        strangers.leave(place);
        match outcome {
            Ok(Some(connection)) => connection.run().await,
            Ok(None) => {}
            Err(_) => {
                let crowded = HandshakeError::Crowded(most);
                shared.report_unlinked(None, remote, crowded.into()).await;
            }
        }
    })
}

impl Strangers {
    fn enter(&self, handle: AbortHandle, most: usize) -> u64 {
        let mut waiting = lock(&self.0);
        while waiting.handles.len() >= most {
            if let Some((_, oldest)) = waiting.handles.pop_first() {
                oldest.abort();
            }
        }
        let place = waiting.next;
        waiting.next += 1;
        waiting.handles.insert(place, handle);
        place
    }

    fn leave(&self, place: u64) {
        lock(&self.0).handles.remove(&place);
    }
}
