//! Clients: each has one operation under way, and repeats it elsewhere until it is answered.

use bytes::Bytes;
use synod_core::{LogIndex, ReadLevel, Rejected, ReplicatedLog, SessionToken, Ticket};

use super::trace::note;
use super::{MILLI, SECOND, World};
use crate::application::{Application, Request};
use crate::check::ensure;
use crate::history::{ClientId, Instant, OpId};
use crate::sessions::Header;
use crate::subject::Subject;

/// How long a client tries before it gives up.
const GIVE_UP: u64 = 4 * SECOND;
/// How many operations each client still asks once faults are over.
const AT_THE_END: u64 = 2;

#[derive(Debug)]
pub(super) struct Client<Op> {
    /// Changes with everything that the client does: what belongs to an older one is ignored.
    pub(super) version: u64,
    pub(super) pending: Option<Pending<Op>>,
    /// What it has seen of the log.
    seen: LogIndex,
    /// The node that it was sent to.
    hint: Option<usize>,
    /// How many operations are left to it at the end.
    left: u64,
}

impl<Op> Default for Client<Op> {
    fn default() -> Self {
        Self {
            version: 0,
            pending: None,
            seen: LogIndex::START,
            hint: None,
            left: AT_THE_END,
        }
    }
}

impl<Op> Client<Op> {
    /// Whether it has got all answers and asks nothing more.
    pub(super) const fn is_done(&self) -> bool {
        self.pending.is_none() && self.left == 0
    }
}

/// The operation under way.
#[derive(Debug)]
pub(super) struct Pending<Op> {
    op: Op,
    /// Its place in the history; none for a read that is not linearizable.
    id: Option<OpId>,
    seq: u64,
    bytes: Bytes,
    asked: Asked,
    until: u64,
    /// How often it was asked.
    times: u32,
}

/// How something was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    Command,
    Linearizable,
    Session,
    Stale,
}

/// Who waits for a ticket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Waiter {
    client: usize,
    version: u64,
    /// The attempt, of a command.
    pub(super) attempt: Option<u64>,
    pub(super) asked: Asked,
    /// What a read must see.
    pub(super) floor: LogIndex,
}

impl<S: Subject, A: Application> World<'_, S, A> {
    /// Lets a client go on after some time, whatever it waits for.
    pub(super) fn client_later(&mut self, client: usize, after: u64) {
        let state = &mut self.clients[client];
        state.version += 1;
        let version = state.version;
        let at = self.now + self.rng.client.within(after / 2, after);
        self.agenda
            .push(at, super::Happening::Client { client, version });
    }

    /// A waiter gets no answer from where it asked.
    pub(super) fn ask_again(&mut self, waiter: Waiter, after: u64) {
        if self.clients[waiter.client].version == waiter.version {
            self.client_later(waiter.client, after);
        }
    }

    pub(super) fn client(&mut self, client: usize, version: u64) {
        let state = &mut self.clients[client];
        if state.version != version {
            return;
        }
        match &state.pending {
            Some(pending) if self.now > pending.until && !self.calm => self.give_up(client),
            Some(_) => self.attempt(client),
            None if self.calm && state.left == 0 => {}
            None => {
                if self.calm {
                    state.left -= 1;
                }
                self.invoke(client);
                self.attempt(client);
            }
        }
    }

    fn invoke(&mut self, client: usize) {
        self.unique += 1;
        let op = self
            .app
            .draw(&mut self.rng.client, &self.plan.work, self.unique);
        let (asked, bytes) = match self.app.request(&op) {
            Request::Command(bytes) => (Asked::Command, bytes),
            Request::Query(bytes) => match self.rng.client.below(10) {
                0 => (Asked::Stale, bytes),
                1..3 => (Asked::Session, bytes),
                _ => (Asked::Linearizable, bytes),
            },
        };
        let strict = matches!(asked, Asked::Command | Asked::Linearizable);
        let (who, at) = (ClientId(client as u64), Instant::from_nanos(self.now));
        let id = strict.then(|| self.history.invoke(who, op.clone(), at));
        note!(self, "c{client} asks {op:?} ({asked:?})");
        self.asked[client].push(id);
        self.clients[client].pending = Some(Pending {
            op,
            id,
            seq: self.asked[client].len() as u64 - 1,
            bytes,
            asked,
            until: self.now + GIVE_UP,
            times: 0,
        });
    }

    fn give_up(&mut self, client: usize) {
        let Some(pending) = self.clients[client].pending.take() else {
            return;
        };
        note!(self, "c{client} gives up {:?}", pending.op);
        if let Some(id) = pending.id {
            self.history.unknown(id);
        }
        self.unknown += 1;
        self.marks.add("operations given up");
        self.client_later(client, 10 * MILLI);
    }

    fn attempt(&mut self, client: usize) {
        let Some(pending) = &mut self.clients[client].pending else {
            return;
        };
        // Ever more patient, or retries alone would keep a slow cluster busy for ever.
        let times = pending.times.min(5);
        pending.times += 1;
        let patience = self.plan.patience.draw(&mut self.rng.client) << times;
        self.client_later(client, patience.min(GIVE_UP));
        let hint = self.clients[client].hint.take();
        let any = self.rng.client.below(self.nodes.len() as u64) as usize;
        let node = if self.rng.client.chance(700_000) {
            hint.unwrap_or(any)
        } else {
            any
        };
        if self.nodes[node].up.is_none() {
            return self.client_later(client, 20 * MILLI);
        }
        if self.nodes[node].paused {
            return;
        }
        let Some(waiter) = self.waiter(client) else {
            return;
        };
        match self.ask(node, client, &waiter) {
            Ok(ticket) => {
                self.clients[client].hint = Some(node);
                let up = self.nodes[node].up.as_mut();
                let twice = up.and_then(|up| up.replica.tickets.insert(ticket, waiter));
                let once = ensure(twice.is_none(), "a ticket is given out once", || {
                    format!("{ticket}, of {twice:?}")
                });
                self.must(once);
            }
            Err(rejected) => {
                note!(self, "{} rejects c{client}: {rejected}", self.id(node));
                self.marks.add("requests rejected");
                self.clients[client].hint = self.known(rejected.leader);
                self.client_later(client, 80 * MILLI);
            }
        }
        self.stirred(node);
    }

    fn waiter(&mut self, client: usize) -> Option<Waiter> {
        let state = &self.clients[client];
        let asked = state.pending.as_ref()?.asked;
        self.attempts += u64::from(asked == Asked::Command);
        Some(Waiter {
            client,
            version: state.version,
            attempt: (asked == Asked::Command).then_some(self.attempts),
            asked,
            floor: match asked {
                Asked::Linearizable => self.ledger.last(),
                Asked::Session => state.seen,
                Asked::Command | Asked::Stale => LogIndex::START,
            },
        })
    }

    fn ask(&mut self, node: usize, client: usize, waiter: &Waiter) -> Result<Ticket, Rejected> {
        let now = self.local(node);
        let command = self.clients[client].pending.as_ref().map(|pending| {
            let header = Header {
                client: client as u64,
                seq: pending.seq,
                attempt: self.attempts,
            };
            header.wrap(&pending.bytes)
        });
        let command = command.unwrap_or_default();
        let up = self.nodes[node]
            .up
            .as_mut()
            .expect("asked only if it is up");
        match waiter.asked {
            Asked::Command => up.log.propose(now, command),
            Asked::Linearizable => up.log.read(now, ReadLevel::Linearizable),
            Asked::Session => up
                .log
                .read(now, ReadLevel::Session(SessionToken(waiter.floor))),
            Asked::Stale => up.log.read(now, ReadLevel::Stale),
        }
    }

    /// What a waiter wants to know; `None` if it does not want that any more.
    pub(super) fn query(&self, waiter: &Waiter) -> Option<Bytes> {
        let client = &self.clients[waiter.client];
        let current = client.version == waiter.version;
        let pending = client.pending.as_ref().filter(|_| current)?;
        Some(pending.bytes.clone())
    }

    /// An answer from a state machine that has applied everything up to `index`.
    pub(super) fn answer(&mut self, waiter: &Waiter, index: LogIndex, response: &Bytes) {
        let client = waiter.client;
        if self.clients[client].version != waiter.version {
            return self.marks.add("answers too late");
        }
        if !self.calm && self.rng.client.chance(self.plan.lost_answers_per_million) {
            return self.marks.add("answers lost");
        }
        let state = &mut self.clients[client];
        let Some(pending) = state.pending.take() else {
            return;
        };
        state.seen = state.seen.max(index);
        note!(
            self,
            "c{client} is told at {index} of {:?}: {response:?}",
            pending.op
        );
        self.operations += 1;
        if let Some(id) = pending.id {
            let ret = self.app.answer(&pending.op, response);
            let at = Instant::from_nanos(self.now);
            self.history.complete(id, ret, at);
            if pending.asked == Asked::Linearizable {
                self.order.push(((index.0, 1 + id.index() as u64), id));
            }
        }
        let think = self.plan.think.draw(&mut self.rng.client);
        self.client_later(client, think);
    }
}
