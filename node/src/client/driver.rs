//! The client's one future.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;

use futures::StreamExt;
use futures::future::{AbortHandle, BoxFuture, FutureExt, abortable};
use futures::stream::FuturesUnordered;
use synod_core::{
    Client, ClientFull, ClientOutput, ClientRequest, ClientResponse, Clock, Instant, NodeId,
    RequestId,
};

use super::handle::{Asked, ClientCallError, ClientDone, Outcome, Shared};
use super::{AskError, ClientTransport};
use crate::driver::Timer;
use crate::handle::slot::Promise;
use crate::sync::Wakers;

/// Attempts kept open. An attempt that the machine has given up on may still bring an answer that
/// spares the next one, so the oldest is dropped only when there are more.
const ATTEMPTS: usize = 256;

/// Requests taken at a time.
const REQUESTS: usize = 1024;

/// How long a client that ends waits for the service to hear that its session is over. If it does
/// not, the session expires by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// Rounds in one turn before other tasks get theirs.
const ROUNDS: usize = 64;

/// What came of an attempt; `None` if it was dropped.
type Answered = Option<(NodeId, ClientRequest, Result<ClientResponse, AskError>)>;

/// Runs a client; see [`connect`](super::connect).
#[must_use = "a client does nothing until it is run"]
pub struct ClientDriver<T, C> {
    transport: T,
    clock: C,
    desk: Desk,
}

/// The machine and those who wait for it.
struct Desk {
    machine: Client,
    shared: Arc<Shared>,
    asked: VecDeque<(Asked, usize)>,
    waiting: BTreeMap<RequestId, Promise<Outcome>>,
    wakers: Wakers,
    closing: bool,
    /// Nobody waits any more, and the session is being closed until then at the latest.
    farewell: Option<Instant>,
}

/// The requests that are with the transport.
struct Attempts<'a> {
    open: FuturesUnordered<BoxFuture<'a, (u64, Answered)>>,
    /// To drop the oldest.
    handles: BTreeMap<u64, AbortHandle>,
    serial: u64,
}

impl<T: ClientTransport, C: Clock> ClientDriver<T, C> {
    pub(super) const fn new(machine: Client, transport: T, clock: C, shared: Arc<Shared>) -> Self {
        Self {
            transport,
            clock,
            desk: Desk {
                machine,
                shared,
                asked: VecDeque::new(),
                waiting: BTreeMap::new(),
                wakers: Wakers::new(),
                closing: false,
                farewell: None,
            },
        }
    }

    /// Runs until the client is closed or its last handle is gone. Dropping the future ends the
    /// client at once: what is under way is then unknown.
    pub async fn run(self) {
        let Self {
            transport,
            clock,
            mut desk,
        } = self;
        let mut attempts = Attempts {
            open: FuturesUnordered::new(),
            handles: BTreeMap::new(),
            serial: 0,
        };
        let mut timer = Timer::new();
        poll_fn(|cx| {
            for _ in 0..ROUNDS {
                let now = clock.now();
                let mut busy = desk.take(cx, now);
                busy |= attempts.poll(cx, now, &mut desk.machine);
                busy |= attempts.start(&transport, &mut desk, now);
                if desk.is_over(&attempts, now) {
                    return Poll::Ready(());
                }
                match desk.deadline() {
                    Some(at) if at <= now => {
                        desk.machine.tick(now);
                        busy = true;
                    }
                    Some(at) => busy |= timer.poll(cx, &clock, at),
                    None => {}
                }
                if !busy {
                    desk.wakers.wake_all();
                    return Poll::Pending;
                }
            }
            desk.wakers.wake_all();
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl Desk {
    /// Gives the machine what was asked.
    fn take(&mut self, cx: &Context<'_>, now: Instant) -> bool {
        if !self.closing {
            self.shared.inbox.take(&mut self.asked, REQUESTS, cx);
        }
        let busy = !self.asked.is_empty();
        while let Some((asked, _)) = self.asked.pop_front() {
            match asked {
                Asked::Submit(command, within, promise) => {
                    let given = self.machine.submit(now, command, now + within);
                    self.given(given, promise);
                }
                Asked::Read(query, level, within, promise) => {
                    let given = self.machine.read(now, query, level, now + within);
                    self.given(given, promise);
                }
                Asked::Close => {
                    self.closing = true;
                    self.refuse();
                }
            }
        }
        busy
    }

    fn given(&mut self, given: Result<RequestId, ClientFull>, promise: Promise<Outcome>) {
        match given {
            Ok(id) => {
                self.waiting.insert(id, promise);
            }
            Err(full) => {
                let error = ClientCallError::Full(full.limit);
                promise.resolve(Err(error), &mut self.wakers);
            }
        }
    }

    /// Tells those who come too late that nothing has happened.
    fn refuse(&mut self) {
        let asked = core::mem::take(&mut self.asked);
        let queued = self.shared.inbox.close();
        for asked in asked.into_iter().map(|(asked, _)| asked).chain(queued) {
            if let Asked::Submit(.., promise) | Asked::Read(.., promise) = asked {
                promise.resolve(Err(ClientCallError::Closed), &mut self.wakers);
            }
        }
    }

    fn resolve(&mut self, id: RequestId, outcome: Outcome) {
        if let Some(promise) = self.waiting.remove(&id) {
            let bytes = outcome.as_ref().map_or(0, |done| done.response.len());
            promise.resolve_holding(outcome, bytes, &mut self.wakers);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let machine = self.machine.deadline().map(|wake| wake.at);
        machine.into_iter().chain(self.farewell).min()
    }

    /// Closed, and the farewell has been heard or nobody listens.
    fn is_over(&self, attempts: &Attempts<'_>, now: Instant) -> bool {
        let is_heard = |until| attempts.open.is_empty() || now >= until;
        self.farewell.is_some_and(is_heard)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.refuse();
        self.waiting.clear();
        self.shared.over.end();
    }
}

impl<'a> Attempts<'a> {
    /// Tells the machine what came of attempts.
    fn poll(&mut self, cx: &mut Context<'_>, now: Instant, machine: &mut Client) -> bool {
        let mut busy = false;
        while let Poll::Ready(Some((serial, answered))) = self.open.poll_next_unpin(cx) {
            busy = true;
            self.handles.remove(&serial);
            match answered {
                Some((from, _, Ok(response))) => machine.answer(now, from, response),
                Some((to, request, Err(AskError::Undelivered))) => {
                    machine.undelivered(now, to, &request);
                }
                Some((to, _, Err(AskError::Broken))) => machine.unreachable(now, to),
                None => {}
            }
        }
        busy
    }

    /// Does what the machine wants done.
    fn start<T: ClientTransport>(
        &mut self,
        transport: &'a T,
        desk: &mut Desk,
        now: Instant,
    ) -> bool {
        let mut busy = false;
        if desk.closing && desk.waiting.is_empty() && desk.farewell.is_none() {
            desk.farewell = Some(now + FAREWELL);
            // What is still open is waited for by nobody.
            self.handles.values().for_each(AbortHandle::abort);
            desk.machine.close();
            busy = true;
        }
        while let Some(output) = desk.machine.poll() {
            busy = true;
            match output {
                ClientOutput::Send { to, request } => self.send(transport, to, request),
                ClientOutput::Done {
                    id,
                    response,
                    index,
                } => desk.resolve(id, Ok(ClientDone { response, index })),
                ClientOutput::Failed { id, error } => desk.resolve(id, Err(error.into())),
            }
        }
        busy
    }

    fn send<T: ClientTransport>(&mut self, transport: &'a T, to: NodeId, request: ClientRequest) {
        while self.handles.len() >= ATTEMPTS
            && let Some((_, oldest)) = self.handles.pop_first()
        {
            oldest.abort();
        }
        self.serial += 1;
        let serial = self.serial;
        let (asking, handle) = abortable(transport.ask(to, request.clone()));
        self.handles.insert(serial, handle);
        let answered = asking.map(move |answer| {
            let answered = answer.ok().map(|answer| (to, request, answer));
            (serial, answered)
        });
        self.open.push(answered.boxed());
    }
}

impl<T, C> fmt::Debug for ClientDriver<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientDriver").finish_non_exhaustive()
    }
}
