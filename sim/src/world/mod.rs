//! One cluster in virtual time: nodes, disks, network, clients and faults, driven by one agenda.

mod client;
mod committed;
mod damage;
mod disk;
mod fault;
mod judge;
mod machine;
mod network;
mod node;
mod rest;

use alloc::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use synod_core::{Envelope, LoadId, LogLoad, Machine, NodeId, ReplicatedLog, Rng, mix};

use crate::agenda::Agenda;
use crate::application::Application;
use crate::check::{Breach, Cluster, Ledger, Observer, Stored};
use crate::history::{History, OpId};
use crate::linear::Model;
use crate::plan::Plan;
use crate::report::{Failure, Marks, Report};
use crate::schedule::{Incident, Kind, Schedule};
use crate::sessions::Sessions;
use crate::subject::{Bounds, Subject};
use crate::trace::{Recorder, What, Who, note};
use client::Client;
use network::Network;
use node::Node;

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
/// How much may happen within a tenth of a virtual second: hundreds of times what does.
const MOST_EVENTS: u64 = 1_000_000;

/// What can happen. Nodes and clients are named by their places.
#[derive(Debug)]
enum Happening<M> {
    /// A message arrives, of this incarnation of the pair's link.
    Deliver {
        from: usize,
        to: usize,
        incarnation: u64,
        /// Its place among all messages of the run.
        number: u64,
        envelope: Envelope<M>,
    },
    /// The bytes of a message arrive.
    DeliverBytes {
        from: usize,
        to: usize,
        incarnation: u64,
        number: u64,
        bytes: Bytes,
        /// What they were before anything happened to them.
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
    /// Something goes wrong: the fault at this place of the schedule.
    Fault(u64),
    /// A paused node goes on.
    Resume { node: usize, life: u64 },
    /// Messages pass again.
    Heal { ways: Vec<(usize, usize)> },
    /// Faults are over.
    Calm,
    /// Has everything come to rest?
    Rest,
}

pub(crate) struct World<'a, S: Subject, A: Application> {
    subject: &'a S,
    app: &'a A,
    schedule: &'a Schedule,
    plan: Plan,
    bounds: Bounds,
    /// For what belongs to no node, client or incident.
    rng: Rng,
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
    /// To whom each node, with each of its disks, has bound itself in each era.
    vows: BTreeMap<(usize, u32, u64), NodeId>,
    /// A state machine that was given everything that is committed.
    reference: Sessions<A::Machine>,
    /// Operations in the order of the log: commands at their index, reads behind what they saw.
    order: Vec<((u64, u64), OpId)>,
    history: History<Op<A>, Ret<A>>,
    observers: Vec<Box<dyn Observer>>,
    marks: Marks,
    trace: Recorder,
    /// What took place, if that is wanted.
    incidents: Option<Vec<Incident>>,
    /// Disks that were lost or damaged.
    lost_disks: usize,
    events: u64,
    /// How many there were when this tenth of a virtual second began.
    tenth: (u64, u64),
    faults: u64,
    operations: u64,
    unknown: u64,
    failure: Option<Breach>,
}

impl<'a, S: Subject, A: Application> World<'a, S, A> {
    /// A cluster as `seed` has it, of whose incidents those in `schedule` take place; `keep` steps
    /// of what happens are kept.
    pub(crate) fn new(
        subject: &'a S,
        app: &'a A,
        seed: u64,
        schedule: &'a Schedule,
        keep: usize,
    ) -> Self {
        let budget = |voters| subject.budget(voters);
        let plan = Plan::draw(seed, subject.needs_order(), budget);
        let stream = |name: u64, place: usize| Rng::new(mix(mix(seed, name), place as u64));
        let size = plan.nodes.len();
        let nodes = (0..size).map(|i| {
            let device = subject.device(plan.nodes[i], mix(seed, i as u64));
            Node::new(stream(5, i), size, plan.drift_ppm, device)
        });
        let nodes = nodes.collect();
        let stored = plan.nodes.iter().map(|id| Stored {
            id: *id,
            image: synod_core::LogImage::new(),
            shadow: synod_core::LogImage::new(),
            lost: 0,
        });
        let steady = plan.work.clients as usize;
        let clients = steady + plan.burst as usize;
        Self {
            stored: stored.collect(),
            network: Network::new(size),
            clients: (0..clients)
                .map(|client| Client::new(stream(4, client), client < steady))
                .collect(),
            asked: vec![Vec::new(); clients],
            reference: Sessions::new(app.machine()),
            observers: subject.observers(),
            bounds: subject.bounds(&plan),
            trace: Recorder::new(seed, plan.nodes.clone(), keep),
            subject,
            app,
            schedule,
            plan,
            rng: stream(1, 0),
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
            incidents: (keep > 0 || !schedule.is_all()).then(Vec::new),
            lost_disks: 0,
            events: 0,
            tenth: (0, 0),
            faults: 0,
            operations: 0,
            unknown: 0,
            failure: None,
        }
    }

    /// Lets everything happen, and judges it.
    pub(crate) fn run(&mut self) -> Option<Breach> {
        for node in 0..self.nodes.len() {
            let at = self.nodes[node].rng.below(20 * MILLI);
            self.agenda.push(at, Happening::Start { node });
        }
        for client in 0..self.plan.work.clients as usize {
            self.client_later(client, 100 * MILLI);
        }
        self.agenda.push(500 * MILLI, Happening::Fault(0));
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

    /// Counts what happens: who always has something to do at once never lets time pass.
    fn count(&mut self) {
        self.events += 1;
        let tenth = self.now / (100 * MILLI);
        if self.tenth.0 != tenth {
            self.tenth = (tenth, self.events);
        }
        let events = self.events - self.tenth.1;
        if events > MOST_EVENTS {
            let evidence = format!("{events} events since {} virtual ms", tenth * 100);
            self.fail(Breach::new("time goes on", evidence));
        }
    }

    fn happen(&mut self, what: Happening<Message<S>>) {
        if let Some(node) = self.paused(&what) {
            return self.backlog[node].push_back(what);
        }
        self.count();
        match what {
            Happening::Deliver {
                from,
                to,
                incarnation,
                number,
                envelope,
            } => self.deliver((from, to), incarnation, number, envelope),
            Happening::DeliverBytes {
                from,
                to,
                incarnation,
                number,
                bytes,
                envelope,
            } => self.deliver_bytes((from, to), incarnation, number, bytes, envelope),
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
            } => self.loaded(node, life, load, what),
            Happening::Worked { node, life } => self.worked(node, life),
            Happening::Start { node } => self.start(node),
            Happening::Client { client, version } => self.client(client, version),
            Happening::Fault(place) => self.fault(place),
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
            | Happening::DeliverBytes { to: node, .. }
            | Happening::Link { node, .. }
            | Happening::Tick { node, .. }
            | Happening::Pump { node, .. }
            | Happening::Written { node, .. }
            | Happening::Loaded { node, .. }
            | Happening::Worked { node, .. } => *node,
            Happening::Reconnect { .. }
            | Happening::Start { .. }
            | Happening::Client { .. }
            | Happening::Fault(_)
            | Happening::Resume { .. }
            | Happening::Heal { .. }
            | Happening::Calm
            | Happening::Rest => return None,
        };
        self.nodes[node].paused.then_some(node)
    }

    /// Whether something that may happen does: what else is drawn for it. It depends on its name
    /// alone, so that leaving out other incidents does not change it.
    fn strikes(
        &mut self,
        kind: Kind,
        (one, other): (usize, usize),
        count: u64,
        per_million: u32,
    ) -> Option<Rng> {
        if per_million == 0 || self.calm && kind != Kind::Asked {
            return None;
        }
        let incident = Incident::new(kind, one, other, count);
        let mut rng = incident.rng(self.plan.seed);
        if !rng.chance(per_million) || !self.schedule.allows(incident) {
            return None;
        }
        if let Some(incidents) = &mut self.incidents {
            incidents.push(incident);
        }
        Some(rng)
    }

    /// Ends the run with this breach, if it is the first.
    fn fail(&mut self, breach: Breach) {
        note!(self, Who::World, What::Broken, "BROKEN: {breach}");
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
            voters: self.plan.voters,
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

    /// What was kept of what happened.
    pub(crate) fn trace(&self) -> crate::trace::Trace {
        self.trace.trace()
    }

    /// Why it failed.
    pub(crate) fn failed(&self, breach: Breach) -> Failure {
        Failure {
            breach,
            at: core::time::Duration::from_nanos(self.now),
            plan: self.plan.clone(),
            incidents: self.incidents.clone().unwrap_or_default(),
            trace: self.trace(),
        }
    }
}
