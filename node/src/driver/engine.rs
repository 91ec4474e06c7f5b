//! The loop: inputs into the machine, outputs out of it, in turns that end.

use alloc::collections::VecDeque;
use core::future::poll_fn;
use core::mem;
use core::task::{Context, Poll};
use std::sync::Mutex;

use futures::future::BoxFuture;
use synod_core::{
    Batch, Clock, Delivery, Instant, Machine, Output, Storage, StorageError, Transport, WriteId,
};

use super::NodeError;
use super::app::{App, Flow, Traffic};
use super::io::{Arrived, Asker, Incoming, Lane, Loads, Outgoing, Timer};

/// Rounds in one turn before other tasks get theirs. Each is bounded by the limits on what arrives.
const ROUNDS: usize = 8;

/// Outputs in one round: what is more waits for the next, behind whatever arrived meanwhile.
const OUTPUTS: usize = 4096;

/// The one write under way.
struct Write<'a> {
    done: BoxFuture<'a, Result<(), StorageError>>,
    /// `None` if only the app wrote.
    of_machine: Option<WriteId>,
    of_app: bool,
}

struct Engine<'a, M: Machine, A, S, C> {
    machine: M,
    app: A,
    storage: &'a S,
    clock: &'a C,
    now: Instant,
    write: Option<Write<'a>>,
    /// Writes of a machine whose outbox is deeper than one.
    writes: VecDeque<(WriteId, Batch<M::Record>)>,
    loads: Loads<'a, M>,
    incoming: Incoming<'a, M::Message>,
    outgoing: Outgoing<'a, M::Message>,
    timer: Timer<'a>,
    traffic: Traffic,
}

/// Runs `machine` with `app` on it until the app has had enough or something fails.
pub(crate) async fn run<M, A, S, T, C>(
    machine: M,
    app: A,
    (storage, transport, clock): (&S, &T, &C),
) -> Result<(), NodeError>
where
    M: Machine,
    M::Message: Send,
    A: App<M>,
    S: Storage<Record = M::Record, Load = M::Load, Loaded = M::Loaded>,
    T: Transport<M::Message>,
    C: Clock,
{
    let arrived = Arrived::default();
    let lane = Mutex::new(Lane::default());
    let mut engine = Engine {
        machine,
        app,
        storage,
        clock,
        now: clock.now(),
        write: None,
        writes: VecDeque::new(),
        loads: Loads::new(),
        incoming: Incoming::new(transport, &arrived),
        outgoing: Outgoing::new(transport, &lane),
        timer: Timer::new(),
        traffic: Traffic::default(),
    };
    let started = engine.app.start(&mut engine.machine, engine.now);
    let result = match started {
        Ok(()) => poll_fn(|cx| engine.turn(cx)).await,
        Err(error) => Err(error),
    };
    engine.end(result).await
}

impl<'a, M, A, S, C> Engine<'a, M, A, S, C>
where
    M: Machine,
    M::Message: Send,
    A: App<M>,
    S: Storage<Record = M::Record, Load = M::Load, Loaded = M::Loaded>,
    C: Clock,
{
    /// Works until nothing is left to do or the turn is over.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NodeError>> {
        self.traffic.turns += 1;
        for _ in 0..ROUNDS {
            match self.round(cx) {
                Ok(Flow::Busy) => {}
                Ok(Flow::Idle) => {
                    self.app.settle(&self.machine, self.now, &self.traffic);
                    return Poll::Pending;
                }
                Ok(Flow::Done) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.app.settle(&self.machine, self.now, &self.traffic);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Looks once at everything that can happen. An idle round leaves every waker registered.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<Flow, NodeError> {
        self.now = self.clock.now();
        let mut busy = self.poll_write(cx)?;
        busy |= self.poll_loads(cx)?;
        busy |= self.poll_incoming(cx)?;
        let clock = self.clock;
        busy |= match self.app.poll(cx, &mut self.machine, &|| clock.now())? {
            Flow::Done => return Ok(Flow::Done),
            flow => flow == Flow::Busy,
        };
        busy |= self.poll_outputs(cx)?;
        busy |= self.start_write();
        busy |= self.start_loads();
        let blocked = self.outgoing.is_sending();
        self.outgoing.flush(cx);
        busy |= blocked && !self.outgoing.is_sending();
        busy |= self.poll_timer(cx);
        Ok(Flow::of(busy))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, NodeError> {
        let Some(write) = &mut self.write else {
            return Ok(false);
        };
        let Poll::Ready(result) = write.done.as_mut().poll(cx) else {
            return Ok(false);
        };
        let (of_machine, of_app) = (write.of_machine, write.of_app);
        self.write = None;
        result?;
        if let Some(id) = of_machine {
            self.machine.persisted(self.now, id);
        }
        if of_app {
            self.app.written(&mut self.machine, self.now);
        }
        Ok(true)
    }

    fn poll_loads(&mut self, cx: &mut Context<'_>) -> Result<bool, NodeError> {
        let mut busy = false;
        while let Some((asker, answer)) = self.loads.poll(cx) {
            busy = true;
            let (machine, now) = (&mut self.machine, self.now);
            match asker {
                Asker::Machine(id) => machine.loaded(now, id, answer?),
                Asker::App(key) => self.app.loaded(machine, now, key, answer?)?,
            }
            self.loads.start(self.storage);
        }
        Ok(busy)
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Result<bool, NodeError> {
        if !self.app.has_room(cx) {
            return Ok(false);
        }
        let mut batch = self.incoming.poll(cx)?;
        let busy = !batch.is_empty();
        if busy {
            // Not the time from before they came: what a node grants counts from when it was asked.
            self.now = self.clock.now();
        }
        for delivery in batch.drain(..) {
            match delivery {
                Delivery::Message(envelope) => {
                    self.traffic.received += 1;
                    self.machine.step(self.now, envelope);
                }
                Delivery::Link(peer, link) => {
                    self.app.link(peer, link);
                    self.machine.link(self.now, peer, link);
                }
            }
        }
        self.incoming.recycle(batch);
        Ok(busy)
    }

    /// Does what the machine wants done.
    fn poll_outputs(&mut self, cx: &Context<'_>) -> Result<bool, NodeError> {
        let mut busy = false;
        for _ in 0..OUTPUTS {
            if self.outgoing.is_sending() || !self.app.has_room(cx) {
                break;
            }
            let Some(output) = self.machine.poll() else {
                break;
            };
            busy = true;
            match output {
                Output::Send(envelope) => {
                    self.traffic.sent += 1;
                    self.outgoing.push(envelope);
                }
                Output::Persist(id, records) => self.writes.push_back((id, records)),
                Output::Load(id, load) => self.loads.push(Asker::Machine(id), load),
                Output::Event(event) => self.app.event(&mut self.machine, self.now, event)?,
            }
        }
        Ok(busy)
    }

    /// Starts the next write if none is under way. It is polled in the next round.
    fn start_write(&mut self) -> bool {
        if self.write.is_some() {
            return false;
        }
        let (of_machine, mut records) = match self.writes.pop_front() {
            Some((id, records)) => (Some(id), records),
            None => (None, Batch::new()),
        };
        let of_app = self.app.add_records(&mut records);
        if of_machine.is_none() && !of_app {
            return false;
        }
        self.traffic.writes += 1;
        self.traffic.records += records.len() as u64;
        self.write = Some(Write {
            done: self.storage.write(records),
            of_machine,
            of_app,
        });
        true
    }

    /// Starts loads, the machine's before the app's.
    fn start_loads(&mut self) -> bool {
        let mut started = self.loads.start(self.storage);
        while self.loads.has_room()
            && let Some((key, load)) = self.app.next_load()
        {
            self.traffic.loads += 1;
            self.loads.push(Asker::App(key), load);
            self.loads.start(self.storage);
            started = true;
        }
        started
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let wake = self.machine.deadline().map(|wake| wake.at);
        if wake.is_some_and(|at| at <= self.now) {
            self.machine.tick(self.now);
            return true;
        }
        let at = match (wake, self.app.deadline()) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => match a.or(b) {
                Some(at) => at,
                None => return false,
            },
        };
        self.timer.poll(cx, self.clock, at)
    }

    /// The last write is always polled to its end, unless the storage has failed: what it says
    /// must not be half said because somebody stopped listening.
    async fn end(mut self, result: Result<(), NodeError>) -> Result<(), NodeError> {
        let failed = matches!(result, Err(NodeError::Storage(_)));
        if result.is_err() {
            self.app.end(result.as_ref().err());
        }
        let write = mem::take(&mut self.write);
        let result = match write {
            Some(write) if !failed => {
                let written = write.done.await;
                result.and_then(|()| written.map_err(NodeError::Storage))
            }
            _ => result,
        };
        self.app.end(result.as_ref().err());
        result
    }
}
