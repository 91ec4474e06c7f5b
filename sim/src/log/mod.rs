//! What stands on replicated logs: state machines with sessions, clients with tickets, the record of
//! all that is committed, snapshots, and the judgement of what clients saw.

mod client;
mod committed;
mod judge;
mod members;
mod replica;
mod rest;
mod snapshot;
mod step;

use core::fmt;
use core::marker::PhantomData;

use synod_core::{LogRecord, NodeId, ReplicatedLog, Rng, Role, SnapshotMeta, mix};

use crate::application::Application;
use crate::check::{Breach, Cluster, Ledger, Observer};
use crate::history::{History, OpId};
use crate::linear::Model;
use crate::plan::{Fault, Plan};
use crate::scene::{Scene, Scenery};
use crate::sessions::Sessions;
use crate::subject::{Event, LogSubject};
use crate::world::{self, MILLI};
use client::Client;
use replica::Replica;
use step::Seen;

type Stage<'x, S> = world::Stage<'x, S, Item>;
type Detail<S> = <<S as crate::subject::Subject>::Machine as ReplicatedLog>::Detail;
type Op<A> = <<A as Application>::Model as Model>::Op;
type Ret<A> = <<A as Application>::Model as Model>::Ret;

/// What a log's scene has on the agenda. Nodes and clients are named by their places.
#[derive(Debug)]
pub enum Item {
    /// A client goes on, if it has not done so otherwise.
    Client {
        /// Which client.
        client: usize,
        /// What it was up to.
        version: u64,
    },
    /// The state machine of this node has finished what it had under way.
    Worked(usize),
    /// A piece of this node's snapshot is durable.
    Piece(usize),
    /// All of it is.
    Snapshot(usize, SnapshotMeta),
}

/// An [`Application`] on a replicated log, in one run.
pub struct LogScene<'a, S: LogSubject, A: Application> {
    app: &'a A,
    /// The state machine of each node: while the node is down, if it is durable.
    replicas: Vec<Option<Replica<A::Machine>>>,
    seen: Vec<Seen>,
    clients: Vec<Client<Op<A>>>,
    /// What each client asked under each number.
    asked: Vec<Vec<Option<OpId>>>,
    attempts: u64,
    unique: u64,
    ledger: Ledger,
    /// A state machine that was given everything that is committed.
    reference: Sessions<A::Machine>,
    /// Operations in the order of the log: commands at their index, reads behind what they saw.
    order: Vec<((u64, u64), OpId)>,
    history: History<Op<A>, Ret<A>>,
    observers: Vec<Box<dyn Observer>>,
    on: PhantomData<fn(&S)>,
}

impl<S: LogSubject, A: Application> fmt::Debug for LogScene<'_, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogScene")
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}

impl<S: LogSubject, A: Application> Scenery<S> for A {
    type Scene<'a>
        = LogScene<'a, S, A>
    where
        S: 'a,
        A: 'a;

    fn scene<'a>(&'a self, subject: &'a S, plan: &Plan) -> LogScene<'a, S, A> {
        let steady = plan.work.clients as usize;
        let clients = steady + plan.burst as usize;
        let stream = |client: usize| Rng::new(mix(mix(plan.seed, 4), client as u64));
        LogScene {
            app: self,
            replicas: plan.nodes.iter().map(|_| None).collect(),
            seen: plan.nodes.iter().map(|_| Seen::default()).collect(),
            clients: (0..clients)
                .map(|client| Client::new(stream(client), client < steady))
                .collect(),
            asked: vec![Vec::new(); clients],
            attempts: 0,
            unique: 0,
            ledger: Ledger::default(),
            reference: Sessions::new(self.machine()),
            order: Vec::new(),
            history: History::new(),
            observers: subject.observers(),
            on: PhantomData,
        }
    }

    fn plays(&self, _: Fault) -> bool {
        true
    }
}

impl<S: LogSubject, A: Application> Scene<S> for LogScene<'_, S, A> {
    type Item = Item;

    fn opens(&mut self, stage: &mut Stage<'_, S>) {
        for client in 0..stage.plan.work.clients as usize {
            self.client_later(stage, client, 100 * MILLI);
        }
    }

    fn happens(&mut self, stage: &mut Stage<'_, S>, item: Item) {
        match item {
            Item::Client { client, version } => self.client(stage, client, version),
            Item::Worked(node) => self.worked(stage, node),
            Item::Piece(node) => self.stage_next(stage, node),
            Item::Snapshot(node, meta) => self.snapshot_taken(stage, node, meta),
        }
    }

    fn event(&mut self, stage: &mut Stage<'_, S>, node: usize, event: Event<S>) {
        self.log_event(stage, node, event);
    }

    fn starts(&mut self, stage: &mut Stage<'_, S>, node: usize) {
        self.restart(stage, node);
    }

    fn ends(&mut self, stage: &mut Stage<'_, S>, node: usize) {
        let Some(replica) = &mut self.replicas[node] else {
            return;
        };
        for waiter in replica.crash() {
            self.ask_again(stage, waiter, 5 * MILLI);
        }
        if !stage.plan.machine.durable {
            self.replicas[node] = None;
        }
    }

    fn forgets(&mut self, _: &mut Stage<'_, S>, node: usize) {
        self.replicas[node] = None;
    }

    fn writes(&mut self, stage: &mut Stage<'_, S>, node: usize, records: &[LogRecord]) {
        for record in records {
            match record {
                LogRecord::Truncate { .. } => stage.marks.add("truncations"),
                LogRecord::Activate { .. } => stage.marks.add("snapshots installed"),
                LogRecord::Compact { .. } => stage.marks.add("compactions"),
                LogRecord::State(_) | LogRecord::Put(_) | LogRecord::Stage { .. } => {}
            }
        }
        let Some(log) = stage.machine(node) else {
            return;
        };
        let status = log.status();
        self.observe(stage, |observer, cluster| {
            observer.writes(node, &status, records, cluster)
        });
    }

    fn checks(&mut self, node: usize) -> bool {
        self.seen[node].is_due()
    }

    fn steps(&mut self, stage: &mut Stage<'_, S>, node: usize) {
        self.look(stage, node);
    }

    fn leads(&self, stage: &Stage<'_, S>) -> Option<usize> {
        self.leader(stage)
    }

    fn burst(&mut self, stage: &mut Stage<'_, S>, at: Option<usize>, rng: &mut Rng) {
        self.many_ask(stage, at, rng);
    }

    fn provoke(&mut self, stage: &mut Stage<'_, S>, fault: Fault, node: usize, rng: &mut Rng) {
        match fault {
            Fault::Learner => self.change_members(stage, rng),
            Fault::Transfer => self.transfer(stage, node),
            other => unreachable!("{other:?} is not the scene's"),
        }
    }

    fn calms(&mut self, stage: &mut Stage<'_, S>) {
        self.last_turns(stage);
    }

    fn unrest(&self, stage: &Stage<'_, S>) -> Option<String> {
        self.is_not_done(stage)
    }

    fn judge(&mut self, stage: &mut Stage<'_, S>) {
        self.compare(stage);
        if !stage.is_broken() {
            self.judge_clients(stage);
        }
    }
}

impl<S: LogSubject, A: Application> LogScene<'_, S, A> {
    /// Lets every observer look at the whole cluster.
    fn observe(
        &mut self,
        stage: &mut Stage<'_, S>,
        look: impl Fn(&mut dyn Observer, Cluster<'_>) -> Result<(), Breach>,
    ) {
        let cluster = Cluster {
            stored: &stage.stored,
            voters: stage.plan.voters,
            ledger: &self.ledger,
        };
        let found = self
            .observers
            .iter_mut()
            .try_for_each(|observer| look(observer.as_mut(), cluster));
        stage.must(found);
    }

    /// The node that leads the latest era, as far as one can see.
    fn leader(&self, stage: &Stage<'_, S>) -> Option<usize> {
        let leads = |i: &usize| {
            let replica = self.replicas[*i].as_ref();
            replica.is_some_and(|replica| replica.role == Role::Leader)
        };
        let led = (0..stage.size()).filter(leads);
        let eras = led.filter_map(|i| Some((stage.machine(i)?.status().era, i)));
        eras.max().map(|(_, i)| i)
    }

    fn known(stage: &Stage<'_, S>, leader: Option<NodeId>) -> Option<usize> {
        leader.and_then(|id| stage.place(id))
    }
}
