//! The platform that machines and scene meet on: time, the agenda, nodes, disks, links, and what is
//! counted.

use alloc::collections::{BTreeMap, VecDeque};
use core::fmt;
use core::time::Duration;

use synod_core::{Instant, Machine, NodeId, Rng, mix};

use super::network::Network;
use super::node::Node;
use super::{Doing, Happening, Kind, MILLI, Schedule};
use crate::agenda::Agenda;
use crate::check::{Breach, Stored, ensure};
use crate::history;
use crate::plan::Plan;
use crate::report::{Failure, Marks, Report};
use crate::schedule::Incident;
use crate::subject::{Bounds, Command, Record, Reply, Subject};
use crate::trace::{Recorder, Trace, What, Who, note};

/// A run as its scene sees it. Nodes are named by their places: the first
/// [`voters`](Plan::voters) found the cluster.
pub struct Stage<'a, S: Subject, I> {
    pub(super) subject: &'a S,
    schedule: &'a Schedule,
    pub(crate) plan: Plan,
    pub(crate) bounds: Bounds,
    /// For what belongs to no node, scene or incident.
    pub(super) rng: Rng,
    pub(crate) now: u64,
    pub(super) calm: bool,
    pub(super) agenda: Agenda<Doing<S, I>>,
    /// What waits for paused nodes.
    pub(super) backlog: Vec<VecDeque<Doing<S, I>>>,
    pub(super) nodes: Vec<Node<S, I>>,
    pub(crate) stored: Vec<Stored<S::Disk>>,
    pub(super) network: Network,
    /// To whom each node, with each of its disks, has bound itself in each era.
    pub(super) vows: BTreeMap<(usize, u32, u64), NodeId>,
    /// Nodes to which the scene has given something, and whose outputs have not been taken since.
    pub(super) called: VecDeque<usize>,
    pub(crate) marks: Marks,
    pub(crate) trace: Recorder,
    /// What took place, if that is wanted.
    incidents: Option<Vec<Incident>>,
    /// Disks that were lost or damaged.
    pub(super) lost_disks: usize,
    pub(super) events: u64,
    faults: u64,
    operations: u64,
    unknown: u64,
    decided: u64,
    pub(super) failure: Option<Breach>,
}

impl<S: Subject, I> fmt::Debug for Stage<'_, S, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("seed", &self.plan.seed)
            .field("now", &self.now)
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
}

impl<'a, S: Subject, I> Stage<'a, S, I> {
    pub(super) fn new(subject: &'a S, plan: Plan, schedule: &'a Schedule, keep: usize) -> Self {
        let seed = plan.seed;
        let stream = |name: u64, place: usize| Rng::new(mix(mix(seed, name), place as u64));
        let size = plan.nodes.len();
        let nodes = (0..size).map(|i| {
            let device = subject.device(plan.nodes[i], mix(seed, i as u64));
            Node::new(stream(5, i), size, plan.drift_ppm, device)
        });
        let stored = plan.nodes.iter().map(|id| Stored {
            id: *id,
            image: S::Disk::default(),
            shadow: S::Disk::default(),
            lost: 0,
        });
        Self {
            nodes: nodes.collect(),
            stored: stored.collect(),
            network: Network::new(size),
            bounds: subject.bounds(&plan),
            trace: Recorder::new(seed, plan.nodes.clone(), keep),
            subject,
            schedule,
            plan,
            rng: stream(1, 0),
            now: 0,
            calm: false,
            backlog: (0..size).map(|_| VecDeque::new()).collect(),
            agenda: Agenda::new(),
            vows: BTreeMap::new(),
            called: VecDeque::new(),
            marks: Marks::default(),
            incidents: (keep > 0 || !schedule.is_all()).then(Vec::new),
            lost_disks: 0,
            events: 0,
            faults: 0,
            operations: 0,
            unknown: 0,
            decided: 0,
            failure: None,
        }
    }

    /// What is simulated.
    #[must_use]
    pub const fn subject(&self) -> &'a S {
        self.subject
    }

    /// What the run is like. Once faults are over, networks and disks in it are no slower than usual.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How long the run has been going on, in nanoseconds of virtual time.
    #[must_use]
    #[inline]
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// The same, for histories.
    #[must_use]
    pub const fn moment(&self) -> history::Instant {
        history::Instant::from_nanos(self.now)
    }

    /// Whether faults are over.
    #[must_use]
    pub const fn is_calm(&self) -> bool {
        self.calm
    }

    /// Randomness of the scene's own: the same for the same place in every run of the seed.
    #[must_use]
    pub const fn stream(&self, place: u64) -> Rng {
        Rng::new(mix(mix(self.plan.seed, 7), place))
    }

    /// Randomness of a node: how long something takes there.
    pub fn rng_of(&mut self, node: usize) -> &mut Rng {
        &mut self.nodes[node].rng
    }

    /// How many nodes there are, running or not.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.nodes.len()
    }

    /// The id of the node at this place.
    #[must_use]
    #[inline]
    pub fn id(&self, node: usize) -> NodeId {
        self.plan.nodes[node]
    }

    /// The place of this node.
    #[must_use]
    pub fn place(&self, id: NodeId) -> Option<usize> {
        self.plan.nodes.iter().position(|node| *node == id)
    }

    /// How often a node has started.
    #[must_use]
    pub fn life(&self, node: usize) -> u64 {
        self.nodes[node].life
    }

    /// A node's machine, while it runs.
    #[must_use]
    #[inline]
    pub fn machine(&self, node: usize) -> Option<&S::Machine> {
        self.nodes[node].up.as_ref()
    }

    /// A node's machine, while it runs. Whoever gives it an input says so by
    /// [`stir`](Self::stir), or its outputs wait for the next one.
    #[inline]
    pub fn machine_mut(&mut self, node: usize) -> Option<&mut S::Machine> {
        self.nodes[node].up.as_mut()
    }

    /// A node's outputs are taken soon.
    #[inline]
    pub fn stir(&mut self, node: usize) {
        self.called.push_back(node);
    }

    /// Gives a command to a node; `None` if it is down or does not move: nobody answers. Events come
    /// later.
    pub fn call(&mut self, node: usize, command: Command<S>) -> Option<Reply<S>> {
        let now = self.local(node);
        let Node { up, paused, .. } = &mut self.nodes[node];
        let machine = up.as_mut().filter(|_| !*paused)?;
        let reply = machine.call(now, command);
        self.stir(node);
        Some(reply)
    }

    /// Whether a node has stopped for a while: it takes nothing in, and does not know of it.
    #[must_use]
    pub fn is_paused(&self, node: usize) -> bool {
        self.nodes[node].paused
    }

    /// What is on a node's disk, running or not.
    #[must_use]
    #[inline]
    pub fn stored(&self, node: usize) -> &Stored<S::Disk> {
        &self.stored[node]
    }

    /// The time on a node's own clock.
    #[must_use]
    #[inline]
    pub fn local(&self, node: usize) -> Instant {
        self.nodes[node].local(self.now)
    }

    /// Puts something on the agenda, in `after` nanoseconds.
    pub fn later(&mut self, after: u64, item: I) {
        self.agenda.push(self.now + after, Happening::Scene(item));
    }

    /// As [`later`](Self::later), for what goes on at a running node: a pause makes it wait, a
    /// crash makes it not happen.
    pub fn later_on(&mut self, node: usize, after: u64, item: I) {
        let life = self.nodes[node].life;
        let item = Happening::OnNode { node, life, item };
        self.agenda.push(self.now + after, item);
    }

    /// Has a node's disk write records of the scene's own, behind what is under way; `item` happens
    /// once they are durable, unless the node crashes before.
    pub fn store(&mut self, node: usize, records: Vec<Record<S>>, item: I) {
        self.enqueue(node, records, super::disk::Done::Scene(item));
    }

    /// Whether something that may happen does: what else is drawn for it. It depends on its name
    /// alone, so that leaving out other incidents does not change it. `None` always once faults are
    /// over, but for [`Kind::Asked`].
    pub fn strikes(
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

    /// A running node crashes behind this many more outputs, unless it is to crash before anyway.
    pub fn crash_behind(&mut self, node: usize, outputs: u64) {
        self.nodes[node].crash_in.get_or_insert(outputs);
    }

    /// A machine has said that it stops for good. That is right if its disk was lost or damaged: it
    /// ends then, does not come back, and this is `true`. Anything else breaks a rule.
    pub fn stops(&mut self, node: usize, evidence: impl FnOnce() -> String) -> bool {
        if self.stored[node].lost == 0 {
            self.fail(Breach::new("no node stops for good", evidence()));
            return false;
        }
        if !self.nodes[node].retired {
            self.marks.add("amnesiacs refused");
            self.nodes[node].retired = true;
        }
        true
    }

    /// Ends the run with this breach, if it is the first.
    pub fn fail(&mut self, breach: Breach) {
        note!(self, Who::World, What::Broken, "BROKEN: {breach}");
        self.failure.get_or_insert(breach);
    }

    /// Ends the run if a check failed.
    #[inline]
    pub fn must(&mut self, result: Result<(), Breach>) {
        if let Err(breach) = result {
            self.fail(breach);
        }
    }

    /// Ends the run unless `holds`.
    pub fn ensure(&mut self, holds: bool, rule: &'static str, evidence: impl FnOnce() -> String) {
        self.must(ensure(holds, rule, evidence));
    }

    /// Whether a rule was broken: the run ends.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.failure.is_some()
    }

    /// Whether somebody wants to see what happened: a check that is left to the end for speed may then
    /// come earlier, as long as it changes nothing.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.incidents.is_some()
    }

    /// Counts something rare that was reached.
    pub fn mark(&mut self, mark: &'static str) {
        self.marks.add(mark);
    }

    /// Counts a fault.
    pub fn strike(&mut self, mark: &'static str) {
        self.faults += 1;
        self.marks.add(mark);
    }

    /// Counts an operation that a client had answered.
    pub const fn answered(&mut self) {
        self.operations += 1;
    }

    /// Counts an operation that a client gave up.
    pub const fn gave_up(&mut self) {
        self.unknown += 1;
    }

    /// Counts what was decided for good: an entry, a value, a transaction.
    pub const fn decided(&mut self) {
        self.decided += 1;
    }

    /// Adds to the hash of the run something that must be the same when the seed runs again.
    #[inline]
    pub const fn mix(&mut self, value: u64) {
        self.trace.stir(value);
    }

    /// Adds a step to the trace; `text` is asked for only if somebody reads it.
    pub fn note(&mut self, who: Who, what: What, text: impl FnOnce() -> String) {
        if self.trace.is_on() {
            note!(self, who, what, "{}", text());
        }
    }

    /// The node that this is about, if it is paused: it sees it later, in the same order.
    #[inline]
    pub(super) fn paused(&self, what: &Doing<S, I>) -> Option<usize> {
        let node = match what {
            Happening::Deliver { to: node, .. }
            | Happening::DeliverBytes { to: node, .. }
            | Happening::Link { node, .. }
            | Happening::Tick { node, .. }
            | Happening::Pump { node, .. }
            | Happening::Written { node, .. }
            | Happening::Loaded { node, .. }
            | Happening::OnNode { node, .. } => *node,
            Happening::Reconnect { .. }
            | Happening::Scene(_)
            | Happening::Start { .. }
            | Happening::Fault(_)
            | Happening::Resume { .. }
            | Happening::Heal { .. }
            | Happening::Calm
            | Happening::Rest => return None,
        };
        self.nodes[node].paused.then_some(node)
    }

    /// Nothing goes wrong from now on, and nothing is slower than usual.
    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        self.network.clear();
        self.plan.network.delay = self.plan.network.delay.at_most(20 * MILLI);
        self.plan.disk.write = self.plan.disk.write.at_most(5 * MILLI);
        self.plan.disk.load = self.plan.disk.load.at_most(5 * MILLI);
        self.plan.machine.apply = self.plan.machine.apply.at_most(MILLI);
        for node in &mut self.nodes {
            node.crash_in = None;
            node.full_until = 0;
            node.slow_disk = (0, 0);
        }
    }

    /// What a clean run amounts to.
    pub(crate) fn report(&self) -> Report {
        Report {
            seed: self.plan.seed,
            hash: self.trace.hash,
            events: self.events,
            time: Duration::from_nanos(self.now),
            operations: self.operations,
            unknown: self.unknown,
            faults: self.faults,
            committed: self.decided,
            marks: self.marks.clone(),
        }
    }

    /// What was kept of what happened.
    pub(crate) fn trace(&self) -> Trace {
        self.trace.trace()
    }

    /// Why it failed.
    pub(crate) fn failed(&self, breach: Breach) -> Failure {
        Failure {
            breach,
            at: Duration::from_nanos(self.now),
            plan: self.plan.clone(),
            incidents: self.incidents.clone().unwrap_or_default(),
            trace: self.trace(),
        }
    }
}
