//! What a node tells whoever listens.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use std::sync::Mutex;

use futures::Stream;
use synod_core::{Link, LogIndex, NodeId, RoleChange, SnapshotMeta};

use crate::sync::{Wakers, lock};

/// Something that happened on a node, for people, metrics and tests. The state machine does not
/// depend on these: who listens too slowly loses the oldest.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NodeEvent {
    /// The node's part in its protocol has changed.
    Role(RoleChange),
    /// The link to a peer came up or went down.
    Link(NodeId, Link),
    /// Entries up to and with this one are committed and durable here.
    Committed(LogIndex),
    /// A snapshot of this node's state machine is durable.
    SnapshotTaken(SnapshotMeta),
    /// No snapshot this time; the node goes on.
    SnapshotFailed(String),
    /// The state machine was replaced by a snapshot.
    Restored(SnapshotMeta),
    /// Something of the protocol's own; see [`detail`](Self::detail).
    Detail(Arc<dyn AnyDetail>),
    /// The node has ended; `None` if it was asked to.
    Ended(Option<Arc<crate::NodeError>>),
}

impl NodeEvent {
    /// The protocol's own event, if it is one and of type `D`.
    #[must_use]
    pub fn detail<D: 'static>(&self) -> Option<&D> {
        match self {
            Self::Detail(detail) => detail.as_any().downcast_ref(),
            _ => None,
        }
    }
}

/// An event of some protocol's own.
pub trait AnyDetail: fmt::Debug + Send + Sync {
    /// For a downcast to the protocol's type.
    fn as_any(&self) -> &dyn Any;
}

impl<D: fmt::Debug + Send + Sync + 'static> AnyDetail for D {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What a subscriber gets.
#[derive(Clone, Debug)]
pub enum Observed {
    /// An event.
    Event(NodeEvent),
    /// So many events before the next one were lost, because the subscriber was too slow.
    Missed(u64),
}

struct Queue {
    events: VecDeque<NodeEvent>,
    missed: u64,
    waker: Option<Waker>,
    over: bool,
}

/// Where events go out to all who listen.
pub(crate) struct Hub {
    subscribers: Mutex<Vec<Weak<Mutex<Queue>>>>,
    /// How many there are, so that nobody pays for an event that nobody hears.
    count: AtomicUsize,
    limit: usize,
}

impl Hub {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            subscribers: Mutex::new(Vec::new()),
            count: AtomicUsize::new(0),
            limit,
        }
    }

    pub(crate) fn subscribe(&self, over: bool) -> Events {
        let queue = Arc::new(Mutex::new(Queue {
            events: VecDeque::new(),
            missed: 0,
            waker: None,
            over,
        }));
        let mut subscribers = lock(&self.subscribers);
        // Those that are gone are noticed when something happens, which on an idle node is never.
        if subscribers.len() == subscribers.capacity() {
            subscribers.retain(|subscriber| subscriber.strong_count() > 0);
        }
        subscribers.push(Arc::downgrade(&queue));
        self.count.store(subscribers.len(), Ordering::Relaxed);
        Events(queue)
    }

    /// Tells everyone what `event` makes, if there is anyone.
    pub(crate) fn emit(&self, event: impl FnOnce() -> NodeEvent) {
        if cfg!(feature = "tracing") {
            let event = event();
            #[cfg(feature = "tracing")]
            crate::trace::event(&event);
            self.deliver(|| event, false);
        } else {
            self.deliver(event, false);
        }
    }

    /// The last event.
    pub(crate) fn end(&self, event: NodeEvent) {
        #[cfg(feature = "tracing")]
        crate::trace::event(&event);
        self.deliver(|| event, true);
    }

    fn deliver(&self, event: impl FnOnce() -> NodeEvent, last: bool) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let event = event();
        // Woken without a lock: who is woken may subscribe or look at its events there and then.
        let mut wakers = Wakers::new();
        let mut subscribers = lock(&self.subscribers);
        subscribers.retain(|subscriber| {
            let Some(queue) = subscriber.upgrade() else {
                return false;
            };
            let mut queue = lock(&queue);
            if queue.events.len() >= self.limit {
                queue.events.pop_front();
                queue.missed += 1;
            }
            queue.events.push_back(event.clone());
            queue.over |= last;
            wakers.push(queue.waker.take());
            true
        });
        self.count.store(subscribers.len(), Ordering::Relaxed);
        drop(subscribers);
        wakers.wake_all();
    }
}

/// A subscription to a node's events, from the moment it was made. Ends after
/// [`NodeEvent::Ended`].
pub struct Events(Arc<Mutex<Queue>>);

impl Stream for Events {
    type Item = Observed;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Observed>> {
        let mut queue = lock(&self.0);
        if queue.missed > 0 {
            return Poll::Ready(Some(Observed::Missed(core::mem::take(&mut queue.missed))));
        }
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(Some(Observed::Event(event)));
        }
        if queue.over {
            return Poll::Ready(None);
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscribers_that_go_leave_nothing_behind() {
        let hub = Hub::new(4);
        let one = hub.subscribe(false);
        for _ in 0..1000 {
            drop(hub.subscribe(false));
        }
        assert!(lock(&hub.subscribers).len() < 16);
        drop(one);
    }
}
