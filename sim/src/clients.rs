//! A ready-made scene for machines that answer one command at a time and keep no log: clients with
//! one operation under way each, outcomes that stay unknown, and a history that is judged.

use alloc::collections::BTreeMap;
use core::fmt;

use synod_core::{Rng, Ticket};

use crate::application::Workload;
use crate::check::Breach;
use crate::history::{ClientId, History, OpId};
use crate::linear::{Checker, Model, Verdict};
use crate::plan::Plan;
use crate::scene::{Scene, Scenery};
use crate::schedule::Kind;
use crate::subject::{Command, Event, Reply, Subject};
use crate::trace::{What, Who, note};
use crate::world::{self, MILLI};

/// What clients ask of a machine, how that is told to it, and what a correct one answers.
pub trait Service<S: Subject>: Sync {
    /// The specification.
    type Model: Model<Op: Clone + fmt::Debug, Ret: Clone + fmt::Debug, Key: fmt::Debug>;

    /// The specification.
    fn model(&self) -> Self::Model;

    /// The next thing that a client asks. `unique` never comes again in a run: written values should
    /// hold it, or a violation can hide.
    fn draw(&self, rng: &mut Rng, work: &Workload, unique: u64) -> <Self::Model as Model>::Op;

    /// How that is asked of the machine.
    fn command(&self, op: &<Self::Model as Model>::Op) -> Command<S>;

    /// What the immediate reply says: an event will tell what comes of this ticket, or it is settled
    /// already.
    ///
    /// # Errors
    ///
    /// What has come of it, if that is settled.
    fn reply(&self, reply: Reply<S>) -> Result<Ticket, Settled<<Self::Model as Model>::Ret>>;

    /// What an event says of a ticket of this life of the node, if it is of one.
    fn event(&self, event: Event<S>) -> Option<(Ticket, Settled<<Self::Model as Model>::Ret>)>;
}

type Op<S, T> = <<T as Service<S>>::Model as Model>::Op;
type Ret<S, T> = <<T as Service<S>>::Model as Model>::Ret;

/// What has come of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Settled<R> {
    /// It has happened, with this answer.
    Done(R),
    /// It has not happened and will not: the client asks again, elsewhere.
    Refused,
    /// The node cannot tell.
    Unknown,
}

/// The [`Scenery`] of a [`Service`]: clients ask one node after the other, one thing at a time. What
/// a node has taken on and nobody has answered in time has an unknown outcome: it is not asked again,
/// since without a log nobody would notice the second time. At the end the history must be
/// linearizable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Clients<T>(pub T);

impl<S: Subject, T: Service<S>> Scenery<S> for Clients<T> {
    type Scene<'a>
        = ClientScene<'a, S, T>
    where
        Self: 'a,
        S: 'a;

    fn scene<'a>(&'a self, _: &'a S, plan: &Plan) -> ClientScene<'a, S, T> {
        ClientScene {
            service: &self.0,
            clients: Vec::new(),
            waiting: plan.nodes.iter().map(|_| BTreeMap::new()).collect(),
            history: History::new(),
            unique: 0,
            judge_at: 0,
        }
    }
}

/// What clients have on the agenda: that one goes on, if it has not done so otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    client: usize,
    version: u64,
}

/// The clients of a [`Service`] in one run.
pub struct ClientScene<'a, S: Subject, T: Service<S>> {
    service: &'a T,
    clients: Vec<Client<Op<S, T>>>,
    /// For each node, who waits for which ticket of its life.
    waiting: Vec<BTreeMap<Ticket, Turn>>,
    history: History<Op<S, T>, Ret<S, T>>,
    unique: u64,
    /// How long the history is when it is judged next before the end.
    judge_at: usize,
}

#[derive(Debug)]
struct Client<Op> {
    /// Changes with everything that the client does: what belongs to an older one is ignored.
    version: u64,
    /// What it asks, and the node that has taken that on.
    pending: Option<(OpId, Op, Option<usize>)>,
    /// How many operations are left to it; `None` for no end.
    turns: Option<u64>,
    asked: u64,
    answers: u64,
    rng: Rng,
}

impl<S: Subject, T: Service<S>> fmt::Debug for ClientScene<'_, S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientScene")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

/// The most clients. What is unknown may happen at any later time: with many clients the search takes
/// long and shows no more.
const MOST: u64 = 16;
/// Steps for the search of an order, per key.
const STEPS: u64 = 300_000;
/// How many operations each client still asks once faults are over.
const AT_THE_END: u64 = 2;

type Stage<'x, S> = world::Stage<'x, S, Turn>;

impl<S: Subject, T: Service<S>> Scene<S> for ClientScene<'_, S, T> {
    type Item = Turn;

    fn opens(&mut self, stage: &mut Stage<'_, S>) {
        for client in 0..stage.plan().work.clients.min(MOST) {
            self.clients.push(Client {
                version: 0,
                pending: None,
                turns: None,
                asked: 0,
                answers: 0,
                rng: stage.stream(client),
            });
            self.later(stage, client as usize, 100 * MILLI);
        }
    }

    fn happens(&mut self, stage: &mut Stage<'_, S>, Turn { client, version }: Turn) {
        let state = &mut self.clients[client];
        if state.version != version {
            return;
        }
        match &state.pending {
            Some((_, _, Some(node))) if stage.is_calm() && stage.stored(*node).lost == 0 => {
                // Nothing stands in its way any more: it is answered, or the run never ends.
                stage.later(100 * MILLI, Turn { client, version });
            }
            Some((_, _, Some(_))) => self.give_up(stage, client),
            Some((_, _, None)) => self.ask(stage, client),
            None if state.turns == Some(0) => {}
            None => {
                state.turns = state.turns.map(|turns| turns - 1);
                self.invoke(stage, client);
            }
        }
    }

    fn event(&mut self, stage: &mut Stage<'_, S>, node: usize, event: Event<S>) {
        let Some((ticket, settled)) = self.service.event(event) else {
            return;
        };
        let waiter = self.waiting[node].remove(&ticket);
        stage.ensure(waiter.is_some(), "a ticket resolves once", || {
            format!("{ticket}: {settled:?}")
        });
        if let Some(waiter) = waiter {
            self.settle(stage, waiter, settled);
        }
    }

    fn ends(&mut self, stage: &mut Stage<'_, S>, node: usize) {
        for (_, waiter) in core::mem::take(&mut self.waiting[node]) {
            self.settle(stage, waiter, Settled::Unknown);
        }
    }

    fn calms(&mut self, stage: &mut Stage<'_, S>) {
        for client in 0..self.clients.len() {
            self.clients[client].turns = Some(AT_THE_END);
            if self.clients[client].pending.is_none() {
                self.later(stage, client, 200 * MILLI);
            }
        }
    }

    fn unrest(&self, stage: &Stage<'_, S>) -> Option<String> {
        let busy = |client: &Client<_>| client.pending.is_some() || client.turns != Some(0);
        if let Some(client) = self.clients.iter().position(busy) {
            let pending = &self.clients[client].pending;
            return Some(format!("c{client} waits for {pending:?}"));
        }
        let whole = (0..stage.size()).filter(|node| stage.stored(*node).lost == 0);
        let mut open = whole.filter(|node| !self.waiting[*node].is_empty());
        open.next().map(|node| {
            let (id, tickets) = (stage.id(node), &self.waiting[node]);
            format!("{id} has not resolved {tickets:?}")
        })
    }

    fn judge(&mut self, stage: &mut Stage<'_, S>) {
        if let Verdict::Unknown { .. } = self.verdict(stage) {
            stage.mark("histories too long to search");
        }
    }
}

impl<S: Subject, T: Service<S>> ClientScene<'_, S, T> {
    /// Whether any order explains what was answered so far.
    fn verdict(
        &self,
        stage: &mut Stage<'_, S>,
    ) -> Verdict<<<T as Service<S>>::Model as Model>::Key> {
        let checker = Checker::new(self.service.model()).step_limit(STEPS);
        let verdict = checker.check(&self.history);
        if let Verdict::NotLinearizable(violation) = &verdict {
            let evidence = violation.render(&self.history);
            stage.fail(Breach::new("histories are linearizable", evidence));
        }
        verdict
    }

    /// Where somebody wants to see what happened, a violation ends the run soon after it is there. A
    /// quarter more each time: all together cost a few times as much as the last.
    fn judge_early(&mut self, stage: &mut Stage<'_, S>) {
        let len = self.history.len();
        if stage.is_recorded() && len >= self.judge_at {
            self.judge_at = len + (len / 4).max(8);
            let _ = self.verdict(stage);
        }
    }

    /// Lets a client go on after some time, whatever it waits for.
    fn later(&mut self, stage: &mut Stage<'_, S>, client: usize, after: u64) {
        let state = &mut self.clients[client];
        state.version += 1;
        let version = state.version;
        let after = state.rng.within(after / 2, after);
        stage.later(after, Turn { client, version });
    }

    /// A client asks its next operation, unless that is left out.
    fn invoke(&mut self, stage: &mut Stage<'_, S>, client: usize) {
        self.unique += 1;
        let nth = self.clients[client].asked;
        self.clients[client].asked += 1;
        let Some(mut rng) = stage.strikes(Kind::Asked, (client, 0), nth, 1_000_000) else {
            let pause = stage.plan().think.high.max(MILLI);
            return self.later(stage, client, pause);
        };
        let op = self.service.draw(&mut rng, &stage.plan().work, self.unique);
        note!(stage, Who::Client(client), What::Client, "asks {op:?}");
        let who = ClientId(client as u64);
        let id = self.history.invoke(who, op.clone(), stage.moment());
        self.clients[client].pending = Some((id, op, None));
        self.ask(stage, client);
    }

    /// Asks one of the nodes; when everything is calm, one that will not be gone.
    fn ask(&mut self, stage: &mut Stage<'_, S>, client: usize) {
        let state = &mut self.clients[client];
        let Some((_, op, taken)) = &mut state.pending else {
            return;
        };
        let node = state.rng.below(stage.plan().voters as u64) as usize;
        let lost = stage.is_calm() && stage.stored(node).lost > 0;
        let asked = (!lost).then(|| self.service.command(op));
        let Some(reply) = asked.and_then(|command| stage.call(node, command)) else {
            return self.later(stage, client, 20 * MILLI);
        };
        match self.service.reply(reply) {
            Ok(ticket) => {
                note!(
                    stage,
                    Who::Node(node),
                    What::Client,
                    "takes what c{client} asks on as {ticket}"
                );
                *taken = Some(node);
                // Twice to everybody and back is what a slow cluster may need.
                let patience = stage.plan().patience.draw(&mut state.rng);
                let patience = patience + 4 * stage.plan().round_trip();
                self.later(stage, client, patience);
                let version = self.clients[client].version;
                let waiter = Turn { client, version };
                let other = self.waiting[node].insert(ticket, waiter);
                stage.ensure(other.is_none(), "a ticket is given out once", || {
                    format!("{ticket}, of {other:?}")
                });
            }
            Err(settled) => {
                let version = state.version;
                self.settle(stage, Turn { client, version }, settled);
            }
        }
    }

    /// Something has come of what a client asked, if it is still waiting for that.
    fn settle(&mut self, stage: &mut Stage<'_, S>, waiter: Turn, settled: Settled<Ret<S, T>>) {
        let Turn { client, version } = waiter;
        if self.clients[client].version != version {
            return stage.mark("answers too late");
        }
        match settled {
            Settled::Done(ret) => self.answer(stage, client, ret),
            Settled::Unknown => {
                stage.mark("tickets unknown");
                self.give_up(stage, client);
            }
            Settled::Refused => {
                stage.mark("requests refused");
                if let Some((_, _, taken)) = &mut self.clients[client].pending {
                    *taken = None;
                }
                self.later(stage, client, 50 * MILLI);
            }
        }
    }

    fn answer(&mut self, stage: &mut Stage<'_, S>, client: usize, ret: Ret<S, T>) {
        self.clients[client].answers += 1;
        let (nth, chance) = (
            self.clients[client].answers,
            stage.plan().lost_answers_per_million,
        );
        let lost = stage.strikes(Kind::AnswerLost, (client, 0), nth, chance);
        if lost.is_some() {
            stage.mark("answers lost");
            return self.give_up(stage, client);
        }
        let Some((id, op, _)) = self.clients[client].pending.take() else {
            return;
        };
        note!(
            stage,
            Who::Client(client),
            What::Client,
            "is told of {op:?}: {ret:?}"
        );
        self.history.complete(id, ret, stage.moment());
        stage.answered();
        self.judge_early(stage);
        let think = stage.plan().think.draw(&mut self.clients[client].rng);
        self.later(stage, client, think);
    }

    /// A client will never know, and goes on to something else.
    fn give_up(&mut self, stage: &mut Stage<'_, S>, client: usize) {
        let Some((id, op, _)) = self.clients[client].pending.take() else {
            return;
        };
        note!(stage, Who::Client(client), What::Client, "gives up {op:?}");
        self.history.unknown(id);
        stage.gave_up();
        stage.mark("operations given up");
        self.later(stage, client, 10 * MILLI);
    }
}
