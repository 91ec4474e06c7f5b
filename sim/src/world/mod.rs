//! One cluster in virtual time: nodes, disks, network, clients and faults, driven by one agenda.

mod client;
mod disk;
mod fault;
mod judge;
mod machine;
mod network;
mod node;
mod trace;

use alloc::collections::{BTreeMap, VecDeque};

use synod_core::{Envelope, LoadId, LogLoad, Machine, NodeId, ReplicatedLog, Rng, mix};

use crate::agenda::Agenda;
use crate::application::Application;
use crate::check::{Breach, Cluster, Ledger, Observer, Stored};
use crate::history::{History, OpId};
use crate::linear::Model;
use crate::plan::Plan;
use crate::report::{Failure, Marks, Report};
use crate::sessions::Sessions;
use crate::subject::Subject;
use client::Client;
use network::Network;
use node::Node;
use trace::{Trace, note};

type Message<S> = <<S as Subject>::Log as Machine>::Message;
type Detail<S> = <<S as Subject>::Log as ReplicatedLog>::Detail;
type Op<A> = <<A as Application>::Model as Model>::Op;
type Ret<A> = <<A as Application>::Model as Model>::Ret;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;
/// How long faults go on.
const CALM_AT: u64 = 25 * SECOND;
/// How long a run is at least.
const END_AT: u64 = 30 * SECOND;
/// By when everything must have come to rest.
const REST_BY: u64 = 55 * SECOND;

/// What can happen. Nodes and clients are named by their places.
#[derive(Debug)]
enum Happening<M> {
    /// A message arrives, of this incarnation of the pair's link.
    Deliver {
        from: usize,
        to: usize,
        incarnation: u64,
        envelope: Envelope<M>,
    },
    /// An end of a link learns of its state.
    Link { node: usize, peer: usize },
    /// A broken link comes up anew, if it is still this incarnation.
    Reconnect {
        one: usize,
        other: usize,
        incarnation: u64,
    },
    /// A node's timer.
    Tick { node: usize, life: u64 },
    /// A node's outputs are taken.
    Pump { node: usize, life: u64 },
    /// The disk has finished what it had under way.
    Written { node: usize, life: u64 },
    /// The disk has read back.
    Loaded {
        node: usize,
        life: u64,
        load: LoadId,
        what: LogLoad,
    },
    /// The state machine has finished what it had under way.
    Worked { node: usize, life: u64 },
    /// A node starts.
    Start { node: usize },
    /// A client goes on, if it has not done so otherwise.
    Client { client: usize, version: u64 },
    /// Something goes wrong.
    Fault,
    /// A paused node goes on.
    Resume { node: usize, life: u64 },
    /// Messages pass again.
    Heal { ways: Vec<(usize, usize)> },
    /// Faults are over.
    Calm,
    /// Has everything come to rest?
    Rest,
}

/// Streams of randomness, so that the draws of one part do not shift those of another.
struct Streams {
    network: Rng,
    disk: Rng,
    fault: Rng,
    client: Rng,
    node: Rng,
}

pub(crate) struct World<'a, S: Subject, A: Application> {
    subject: &'a S,
    app: &'a A,
    plan: Plan,
    rng: Streams,
    now: u64,
    calm: bool,
    over: bool,
    agenda: Agenda<Happening<Message<S>>>,
    /// What waits for paused nodes.
    backlog: Vec<VecDeque<Happening<Message<S>>>>,
    nodes: Vec<Node<S::Log, A::Machine>>,
    stored: Vec<Stored>,
    network: Network,
    clients: Vec<Client<Op<A>>>,
    /// What each client asked under each number.
    asked: Vec<Vec<Option<OpId>>>,
    attempts: u64,
    unique: u64,
    ledger: Ledger,
    /// To whom each node has bound itself in each era.
    vows: BTreeMap<(usize, u64), NodeId>,
    /// A state machine that was given everything that is committed.
    reference: Sessions<A::Machine>,
    /// Operations in the order of the log: commands at their index, reads behind what they saw.
    order: Vec<((u64, u64), OpId)>,
    history: History<Op<A>, Ret<A>>,
    observers: Vec<Box<dyn Observer>>,
    marks: Marks,
    trace: Trace,
    events: u64,
    faults: u64,
    operations: u64,
    unknown: u64,
    failure: Option<Breach>,
}

impl<'a, S: Subject, A: Application> World<'a, S, A> {
    /// A cluster as `seed` has it; `trace` lines of what happens are kept.
    pub(crate) fn new(subject: &'a S, app: &'a A, seed: u64, trace: usize) -> Self {
        let plan = Plan::draw(seed, subject.needs_order());
        let stream = |name: u64| Rng::new(mix(seed, name));
        let mut rng = Streams {
            network: stream(1),
            disk: stream(2),
            fault: stream(3),
            client: stream(4),
            node: stream(5),
        };
        let size = plan.nodes.len();
        let nodes = (0..size).map(|_| Node::new(&mut rng.node, size, plan.drift_ppm));
        let nodes = nodes.collect();
        let stored = plan.nodes.iter().map(|id| Stored {
            id: *id,
            image: synod_core::LogImage::new(),
            shadow: synod_core::LogImage::new(),
        });
        let clients = plan.work.clients as usize;
        Self {
            stored: stored.collect(),
            network: Network::new(size),
            clients: (0..clients).map(|_| Client::default()).collect(),
            asked: vec![Vec::new(); clients],
            reference: Sessions::new(app.machine()),
            observers: subject.observers(),
            subject,
            app,
            plan,
            rng,
            nodes,
            now: 0,
            calm: false,
            over: false,
            backlog: (0..size).map(|_| VecDeque::new()).collect(),
            agenda: Agenda::new(),
            attempts: 0,
            unique: 0,
            ledger: Ledger::default(),
            vows: BTreeMap::new(),
            order: Vec::new(),
            history: History::new(),
            marks: Marks::default(),
            trace: Trace::new(seed, trace),
            events: 0,
            faults: 0,
            operations: 0,
            unknown: 0,
            failure: None,
        }
    }

    /// Lets everything happen, and judges it.
    pub(crate) fn run(&mut self) -> Option<Breach> {
        for node in 0..self.nodes.len() {
            let at = self.rng.node.below(20 * MILLI);
            self.agenda.push(at, Happening::Start { node });
        }
        for client in 0..self.clients.len() {
            self.client_later(client, 100 * MILLI);
        }
        self.agenda.push(500 * MILLI, Happening::Fault);
        self.agenda.push(CALM_AT, Happening::Calm);
        while self.failure.is_none() && !self.over {
            let Some((at, what)) = self.agenda.pop() else {
                break;
            };
            self.now = at;
            self.happen(what);
        }
        if self.failure.is_none() {
            self.judge();
        }
        self.failure.take()
    }

    fn happen(&mut self, what: Happening<Message<S>>) {
        if let Some(node) = self.paused(&what) {
            return self.backlog[node].push_back(what);
        }
        self.events += 1;
        match what {
            Happening::Deliver {
                from,
                to,
                incarnation,
                envelope,
            } => self.deliver(from, to, incarnation, envelope),
            Happening::Link { node, peer } => self.see_link(node, peer),
            Happening::Reconnect {
                one,
                other,
                incarnation,
            } => self.reconnect(one, other, incarnation),
            Happening::Tick { node, life } => self.tick(node, life),
            Happening::Pump { node, life } => {
                if self.lives(node, life) {
                    self.nodes[node].pump_due = false;
                    self.pump(node);
                }
            }
            Happening::Written { node, life } => self.written(node, life),
            Happening::Loaded {
                node,
                life,
                load,
                what,
            } => self.loaded(node, life, load, &what),
            Happening::Worked { node, life } => self.worked(node, life),
            Happening::Start { node } => self.start(node),
            Happening::Client { client, version } => self.client(client, version),
            Happening::Fault => self.fault(),
            Happening::Resume { node, life } => self.resume(node, life),
            Happening::Heal { ways } => self.heal(&ways),
            Happening::Calm => self.calm_down(),
            Happening::Rest => self.rest(),
        }
    }

    /// The node that this is about, if it is paused: it sees it later, in the same order.
    fn paused(&self, what: &Happening<Message<S>>) -> Option<usize> {
        let node = match what {
            Happening::Deliver { to: node, .. }
            | Happening::Link { node, .. }
            | Happening::Tick { node, .. }
            | Happening::Pump { node, .. }
            | Happening::Written { node, .. }
            | Happening::Loaded { node, .. }
            | Happening::Worked { node, .. } => *node,
            _ => return None,
        };
        self.nodes[node].paused.then_some(node)
    }

    /// Ends the run with this breach, if it is the first.
    fn fail(&mut self, breach: Breach) {
        note!(self, "BROKEN: {breach}");
        self.failure.get_or_insert(breach);
    }

    /// Ends the run if a check failed.
    fn must(&mut self, result: Result<(), Breach>) {
        if let Err(breach) = result {
            self.fail(breach);
        }
    }

    /// Lets every observer look at the whole cluster.
    fn observe(&mut self, look: impl Fn(&mut dyn Observer, Cluster<'_>) -> Result<(), Breach>) {
        let cluster = Cluster {
            stored: &self.stored,
            ledger: &self.ledger,
        };
        let found = self
            .observers
            .iter_mut()
            .try_for_each(|observer| look(observer.as_mut(), cluster));
        self.must(found);
    }

    fn id(&self, node: usize) -> NodeId {
        self.plan.nodes[node]
    }

    fn place(&self, id: NodeId) -> Option<usize> {
        self.plan.nodes.iter().position(|node| *node == id)
    }

    /// What a clean run amounts to.
    pub(crate) fn report(&self) -> Report {
        Report {
            seed: self.plan.seed,
            hash: self.trace.hash,
            events: self.events,
            time: core::time::Duration::from_nanos(self.now),
            operations: self.operations,
            unknown: self.unknown,
            faults: self.faults,
            committed: self.ledger.last().0,
            marks: self.marks.clone(),
        }
    }

    /// Why it failed.
    pub(crate) fn failed(&self, breach: Breach) -> Failure {
        Failure {
            breach,
            at: core::time::Duration::from_nanos(self.now),
            plan: self.plan.clone(),
            trace: self.trace.lines(),
        }
    }
}
