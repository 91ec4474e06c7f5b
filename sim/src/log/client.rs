//! Clients: each has one operation under way, and repeats it elsewhere until it is answered.

use bytes::Bytes;
use synod_core::{
    LogIndex, ReadLevel, Refusal, Rejected, ReplicatedLog, Rng, SessionToken, Ticket, mix,
};

use super::{Item, LogScene, Stage};
use crate::application::{Application, Request};
use crate::check::ensure;
use crate::history::{ClientId, Instant, OpId};
use crate::schedule::Kind;
use crate::sessions::Header;
use crate::subject::LogSubject;
use crate::trace::{What, Who, note};
use crate::world::{MILLI, SECOND};

/// How long a client tries before it gives up.
const GIVE_UP: u64 = 4 * SECOND;
/// A waiter that is no client.
const NOBODY: usize = usize::MAX;

#[derive(Debug)]
pub(super) struct Client<Op> {
    /// Changes with everything that the client does: what belongs to an older one is ignored.
    pub(super) version: u64,
    pub(super) pending: Option<Pending<Op>>,
    /// What it has seen of the log.
    seen: LogIndex,
    /// The node that it was sent to.
    pub(super) hint: Option<usize>,
    /// How many operations are left to it; `None` for no end.
    pub(super) turns: Option<u64>,
    rng: Rng,
    /// How many answers have been on their way to it.
    answers: u64,
}

impl<Op> Client<Op> {
    pub(super) const fn new(rng: Rng, steady: bool) -> Self {
        Self {
            version: 0,
            pending: None,
            seen: LogIndex::START,
            hint: None,
            turns: if steady { None } else { Some(0) },
            rng,
            answers: 0,
        }
    }

    /// Whether it has got all answers and asks nothing more.
    pub(super) const fn is_done(&self) -> bool {
        self.pending.is_none() && matches!(self.turns, Some(0))
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

impl<S: LogSubject, A: Application> LogScene<'_, S, A> {
    /// Lets a client go on after some time, whatever it waits for.
    pub(super) fn client_later(&mut self, stage: &mut Stage<'_, S>, client: usize, after: u64) {
        let state = &mut self.clients[client];
        state.version += 1;
        let version = state.version;
        let after = state.rng.within(after / 2, after);
        stage.later(after, Item::Client { client, version });
    }

    /// A waiter gets no answer from where it asked.
    pub(super) fn ask_again(&mut self, stage: &mut Stage<'_, S>, waiter: Waiter, after: u64) {
        let client = self.clients.get(waiter.client);
        if client.is_some_and(|client| client.version == waiter.version) {
            self.client_later(stage, waiter.client, after);
        }
    }

    pub(super) fn client(&mut self, stage: &mut Stage<'_, S>, client: usize, version: u64) {
        let state = &mut self.clients[client];
        if state.version != version {
            return;
        }
        match &state.pending {
            Some(pending) if stage.now > pending.until && !stage.is_calm() => {
                self.give_up(stage, client)
            }
            Some(_) => self.attempt(stage, client),
            None if state.turns == Some(0) => {}
            None => {
                state.turns = state.turns.map(|turns| turns - 1);
                self.invoke(stage, client);
            }
        }
    }

    /// A client asks its next operation, unless that is left out.
    fn invoke(&mut self, stage: &mut Stage<'_, S>, client: usize) {
        self.unique += 1;
        let seq = self.asked[client].len() as u64;
        let Some(mut rng) = stage.strikes(Kind::Asked, (client, 0), seq, 1_000_000) else {
            self.asked[client].push(None);
            return self.client_later(stage, client, stage.plan.think.high.max(MILLI));
        };
        let op = self.app.draw(&mut rng, &stage.plan.work, self.unique);
        let (asked, bytes) = match self.app.request(&op) {
            Request::Command(bytes) => (Asked::Command, bytes),
            Request::Query(bytes) => match rng.below(10) {
                0..2 => (Asked::Stale, bytes),
                2..5 => (Asked::Session, bytes),
                _ => (Asked::Linearizable, bytes),
            },
        };
        let strict = matches!(asked, Asked::Command | Asked::Linearizable);
        let (who, at) = (ClientId(client as u64), Instant::from_nanos(stage.now));
        let id = strict.then(|| self.history.invoke(who, op.clone(), at));
        note!(
            stage,
            Who::Client(client),
            What::Client,
            "asks {op:?} ({asked:?})"
        );
        self.asked[client].push(id);
        self.clients[client].pending = Some(Pending {
            op,
            id,
            seq,
            bytes,
            asked,
            until: stage.now + GIVE_UP,
            times: 0,
        });
        self.attempt(stage, client);
    }

    fn give_up(&mut self, stage: &mut Stage<'_, S>, client: usize) {
        let Some(pending) = self.clients[client].pending.take() else {
            return;
        };
        note!(
            stage,
            Who::Client(client),
            What::Client,
            "gives up {:?}",
            pending.op
        );
        if let Some(id) = pending.id {
            self.history.unknown(id);
        }
        stage.gave_up();
        stage.marks.add("operations given up");
        self.client_later(stage, client, 10 * MILLI);
    }

    fn attempt(&mut self, stage: &mut Stage<'_, S>, client: usize) {
        // At the end only members are asked; without changes of the voters those are known beforehand.
        let members = if stage.is_calm() && stage.plan.voters_change {
            self.core(stage)
        } else {
            Vec::new()
        };
        let Some(pending) = &mut self.clients[client].pending else {
            return;
        };
        // Ever more patient, or retries alone would keep a slow cluster busy for ever.
        let times = pending.times.min(5);
        pending.times += 1;
        let state = &mut self.clients[client];
        let patience = stage.plan.patience.draw(&mut state.rng) << times;
        let hint = state.hint.take();
        // Who is no member has nothing to say; it is asked now and then, and not at the end.
        let all = !stage.is_calm() && state.rng.chance(100_000);
        let asked = if all || stage.plan.voters_change {
            stage.size()
        } else {
            stage.plan.voters
        };
        let any = if members.is_empty() {
            state.rng.below(asked as u64) as usize
        } else {
            members[state.rng.below(members.len() as u64) as usize]
        };
        let hinted = !stage.is_calm() && state.rng.chance(700_000);
        self.client_later(stage, client, patience.min(GIVE_UP));
        let node = if hinted { hint.unwrap_or(any) } else { any };
        if stage.machine(node).is_none() {
            return self.client_later(stage, client, 20 * MILLI);
        }
        if stage.is_paused(node) {
            return;
        }
        let Some(waiter) = self.waiter(client) else {
            return;
        };
        match self.ask(stage, node, client, &waiter) {
            Ok(ticket) => {
                note!(
                    stage,
                    Who::Node(node),
                    What::Client,
                    "takes what c{client} asks on as {ticket}"
                );
                self.clients[client].hint = Some(node);
                self.expect(stage, node, ticket, waiter);
            }
            Err(rejected) => {
                note!(
                    stage,
                    Who::Node(node),
                    What::Client,
                    "rejects c{client}: {rejected}"
                );
                if matches!(rejected.refusal, Refusal::Busy { .. }) {
                    stage.marks.add("requests rejected as too many");
                }
                stage.marks.add("requests rejected");
                let known = Self::known(stage, rejected.leader).filter(|leader| *leader != node);
                self.clients[client].hint = known;
                let pause = if known.is_some() { 4 } else { 80 };
                self.client_later(stage, client, pause * MILLI);
            }
        }
        stage.stir(node);
    }

    /// A ticket that no client waits for must resolve all the same.
    pub(super) fn expect_nobody(&mut self, stage: &mut Stage<'_, S>, node: usize, ticket: Ticket) {
        let waiter = Waiter {
            client: NOBODY,
            version: 0,
            attempt: None,
            asked: Asked::Command,
            floor: LogIndex::START,
        };
        self.expect(stage, node, ticket, waiter);
    }

    fn expect(&mut self, stage: &mut Stage<'_, S>, node: usize, ticket: Ticket, waiter: Waiter) {
        let replica = self.replicas[node].as_mut();
        let twice = replica.and_then(|replica| replica.tickets.insert(ticket, waiter));
        let once = ensure(twice.is_none(), "a ticket is given out once", || {
            format!("{ticket}, of {twice:?}")
        });
        stage.must(once);
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

    fn ask(
        &self,
        stage: &mut Stage<'_, S>,
        node: usize,
        client: usize,
        waiter: &Waiter,
    ) -> Result<Ticket, Rejected> {
        let now = stage.local(node);
        let command = self.clients[client].pending.as_ref().map(|pending| {
            let header = Header {
                client: client as u64,
                seq: pending.seq,
                attempt: self.attempts,
            };
            header.wrap(&pending.bytes)
        });
        let command = command.unwrap_or_default();
        let mut rng = Rng::new(mix(stage.plan.seed, mix(client as u64, waiter.version)));
        let strict = stage.subject().strict_level(&stage.plan, &mut rng);
        let log = stage.machine_mut(node).expect("asked only if it is up");
        match waiter.asked {
            Asked::Command => log.propose(now, command),
            Asked::Linearizable => log.read(now, strict),
            Asked::Session => log.read(now, ReadLevel::Session(SessionToken(waiter.floor))),
            Asked::Stale => log.read(now, ReadLevel::Stale),
        }
    }

    /// What a waiter wants to know; `None` if it does not want that any more.
    pub(super) fn query(&self, waiter: &Waiter) -> Option<Bytes> {
        let client = self.clients.get(waiter.client)?;
        let current = client.version == waiter.version;
        let pending = client.pending.as_ref().filter(|_| current)?;
        Some(pending.bytes.clone())
    }

    /// An answer from a state machine that has applied everything up to `index`.
    pub(super) fn answer(
        &mut self,
        stage: &mut Stage<'_, S>,
        waiter: &Waiter,
        index: LogIndex,
        response: &Bytes,
    ) {
        let client = waiter.client;
        if client == NOBODY {
            return;
        }
        if self.clients[client].version != waiter.version {
            return stage.marks.add("answers too late");
        }
        self.clients[client].answers += 1;
        let (nth, chance) = (
            self.clients[client].answers,
            stage.plan.lost_answers_per_million,
        );
        if stage
            .strikes(Kind::AnswerLost, (client, 0), nth, chance)
            .is_some()
        {
            return stage.marks.add("answers lost");
        }
        let state = &mut self.clients[client];
        let Some(pending) = state.pending.take() else {
            return;
        };
        state.seen = state.seen.max(index);
        note!(
            stage,
            Who::Client(client),
            What::Client,
            "is told at {index} of {:?}: {response:?}",
            pending.op
        );
        stage.answered();
        if let Some(id) = pending.id {
            let ret = self.app.answer(&pending.op, response);
            let at = Instant::from_nanos(stage.now);
            self.history.complete(id, ret, at);
            if pending.asked == Asked::Linearizable {
                self.order.push(((index.0, 1 + id.index() as u64), id));
            }
        }
        let think = stage.plan.think.draw(&mut self.clients[client].rng);
        self.client_later(stage, client, think);
    }
}
