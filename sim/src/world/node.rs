//! Nodes: their lives, clocks and outputs.

use synod_core::{
    Instant, Link, LinkId, LogIndex, LogRecord, Machine, NodeId, Output, ReplicatedLog, Rng, Role,
};

use super::disk::Jobs;
use super::machine::Replica;
use super::trace::note;
use super::{Detail, Happening, MILLI, Message, SECOND, World};
use crate::application::Application;
use crate::check::Breach;
use crate::subject::{Start, Subject};

type Todo<S> = Output<Message<S>, LogRecord, synod_core::LogEvent<Detail<S>>, synod_core::LogLoad>;

/// One node's end of a link.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    /// The last incarnation of the pair's link that it has heard of.
    pub(super) seen: u64,
    /// Its own name for it, while it is up.
    pub(super) link: Option<LinkId>,
}

pub(super) struct Node<L, M> {
    pub(super) up: Option<Running<L, M>>,
    /// The state machine of a durable application, while the node is down.
    pub(super) kept: Option<Replica<M>>,
    /// Counts starts.
    pub(super) life: u64,
    pub(super) disk: Jobs,
    pub(super) ends: Vec<End>,
    links: u64,
    drift_ppm: i64,
    clock_base: u64,
    pub(super) paused: bool,
    /// It crashes behind this many more outputs.
    pub(super) crash_in: Option<u64>,
    pub(super) pump_due: bool,
    /// The earliest timer on the agenda.
    tick_at: u64,
}

/// A node that runs.
pub(super) struct Running<L, M> {
    pub(super) log: L,
    pub(super) replica: Replica<M>,
}

impl<L, M> Node<L, M> {
    pub(super) fn new(rng: &mut Rng, size: usize, drift_ppm: u64) -> Self {
        let drift = rng.within(0, 2 * drift_ppm) as i64 - drift_ppm as i64;
        Self {
            up: None,
            kept: None,
            life: 0,
            disk: Jobs::default(),
            ends: vec![End::default(); size],
            links: 0,
            drift_ppm: drift,
            clock_base: 0,
            paused: false,
            crash_in: None,
            pump_due: false,
            tick_at: u64::MAX,
        }
    }

    /// A moment on the node's own clock.
    fn local(&self, now: u64) -> Instant {
        let rate = (1_000_000 + self.drift_ppm) as u64;
        Instant::from_nanos(
            self.clock_base + (u128::from(now) * u128::from(rate) / 1_000_000) as u64,
        )
    }

    /// When the node's own clock shows `at`.
    fn global(&self, at: Instant) -> u64 {
        let rate = (1_000_000 + self.drift_ppm) as u128;
        let passed = u128::from(at.as_nanos().saturating_sub(self.clock_base));
        u64::try_from((passed * 1_000_000).div_ceil(rate)).unwrap_or(u64::MAX)
    }
}

impl<S: Subject, A: Application> World<'_, S, A> {
    pub(super) fn local(&self, node: usize) -> Instant {
        self.nodes[node].local(self.now)
    }

    pub(super) fn lives(&self, node: usize, life: u64) -> bool {
        self.nodes[node].up.is_some() && self.nodes[node].life == life
    }

    pub(super) fn log(&mut self, node: usize) -> Option<&mut S::Log> {
        self.nodes[node].up.as_mut().map(|up| &mut up.log)
    }

    pub(super) fn start(&mut self, i: usize) {
        if self.nodes[i].up.is_some() {
            return;
        }
        let seed = self.rng.node.next_u64();
        let base = self.rng.node.below(1_000 * SECOND);
        let tail = [0, 100, 2_000, usize::MAX][self.rng.node.below(4) as usize];
        let node = &mut self.nodes[i];
        node.life += 1;
        node.clock_base = base;
        node.tick_at = u64::MAX;
        node.pump_due = false;
        node.crash_in = None;
        let now = node.local(self.now);
        let replica = node.kept.take();
        let replica = replica.unwrap_or_else(|| Replica::new(self.app.machine()));
        let mut log = self.subject.start(Start {
            id: self.plan.nodes[i],
            voters: &self.plan.nodes,
            restored: self.stored[i].image.restored(tail),
            seed,
            world: self.plan.seed,
            now,
        });
        let applied = replica.applied;
        if applied > LogIndex::START {
            log.applied(now, applied);
        }
        note!(self, "{} starts, has applied {applied}", self.id(i));
        if self.nodes[i].life > 1 {
            self.marks.add("restarts");
            if self.stored[i].image.snapshot().is_some() {
                self.marks.add("restarts with a snapshot");
            }
            let status = log.status();
            self.observe(|observer, cluster| observer.starts(i, &status, cluster));
        }
        let node = &mut self.nodes[i];
        node.up = Some(Running { log, replica });
        let last = self.stored[i].image.last();
        if applied > last {
            let evidence = format!(
                "{} has applied {applied}, its log ends at {last}",
                self.id(i)
            );
            self.fail(Breach::new("what is applied is in the log", evidence));
        }
        for other in 0..self.nodes.len() {
            if other != i && self.nodes[other].up.is_some() {
                self.connect(i, other);
            }
        }
        self.pump(i);
    }

    /// Ends a node's life between two of its outputs. Of what its disk had under way a prefix is
    /// there.
    pub(super) fn crash(&mut self, i: usize) {
        let Some(up) = self.nodes[i].up.take() else {
            return;
        };
        note!(self, "{} CRASHES", self.id(i));
        self.marks.add("crashes");
        self.faults += 1;
        self.tear(i);
        let Running { mut replica, .. } = up;
        for waiter in replica.crash() {
            self.ask_again(waiter, 5 * MILLI);
        }
        if self.plan.machine.durable {
            self.nodes[i].kept = Some(replica);
        }
        self.nodes[i].paused = false;
        self.backlog[i].clear();
        for other in 0..self.nodes.len() {
            self.nodes[i].ends[other].link = None;
            if other != i {
                self.disconnect(i, other);
            }
        }
        let downtime = self.plan.faults.downtime;
        let downtime = if self.calm {
            10 * MILLI
        } else {
            downtime.draw(&mut self.rng.fault)
        };
        self.agenda
            .push(self.now + downtime, Happening::Start { node: i });
    }

    /// An input was given: takes the outputs now, or lets more inputs gather first.
    pub(super) fn stirred(&mut self, i: usize) {
        if self.nodes[i].pump_due {
            return;
        }
        if self.rng.node.chance(self.plan.lazy_per_million) {
            let at = self.now + self.rng.node.below(2 * MILLI);
            let life = self.nodes[i].life;
            self.nodes[i].pump_due = true;
            return self.agenda.push(at, Happening::Pump { node: i, life });
        }
        self.pump(i);
    }

    /// Takes a node's outputs and does what they say.
    pub(super) fn pump(&mut self, i: usize) {
        let mut count = 0;
        while self.failure.is_none()
            && let Some(output) = self.log(i).and_then(Machine::poll)
        {
            self.carry_out(i, output);
            count += 1;
            if count > 1_000_000 {
                let evidence = format!("{} has a million outputs at once", self.id(i));
                self.fail(Breach::new("a machine comes to rest", evidence));
            }
            match &mut self.nodes[i].crash_in {
                Some(0) => {
                    self.nodes[i].crash_in = None;
                    return self.crash(i);
                }
                Some(left) => *left -= 1,
                None => {}
            }
        }
        self.look(i);
    }

    fn carry_out(&mut self, i: usize, output: Todo<S>) {
        match output {
            Output::Send(envelope) => self.send(i, envelope),
            Output::Persist(write, records) => self.persist(i, write, records),
            Output::Load(load, what) => {
                note!(self, "{} loads {what:?}", self.id(i));
                self.marks.add("loads");
                let took = self.plan.disk.load.draw(&mut self.rng.disk);
                let life = self.nodes[i].life;
                let loaded = Happening::Loaded {
                    node: i,
                    life,
                    load,
                    what,
                };
                self.agenda.push(self.now + took, loaded);
            }
            Output::Event(event) => self.event(i, event),
        }
    }

    /// Looks at a node after its step.
    fn look(&mut self, i: usize) {
        let Some(up) = &self.nodes[i].up else { return };
        self.subject.check(&up.log);
        let (status, wake) = (up.log.status(), up.log.deadline());
        self.trace.stir(self.now ^ (i as u64) << 56);
        self.trace
            .stir(status.era ^ status.committed.0 << 20 ^ status.last.0 << 42);
        if status.role == Role::Stopped {
            let evidence = format!("{}", self.id(i));
            self.fail(Breach::new("no node stops for good", evidence));
        }
        self.nodes[i]
            .up
            .iter_mut()
            .for_each(|up| up.replica.role = status.role);
        self.observe(|observer, cluster| observer.steps(i, &status, cluster));
        let Some(wake) = wake else { return };
        let node = &mut self.nodes[i];
        let at = node.global(wake.at).max(self.now);
        if at < node.tick_at {
            node.tick_at = at;
            let life = node.life;
            self.agenda.push(at, Happening::Tick { node: i, life });
        }
    }

    pub(super) fn tick(&mut self, i: usize, life: u64) {
        if !self.lives(i, life) {
            return;
        }
        self.nodes[i].tick_at = u64::MAX;
        let now = self.local(i);
        if let Some(log) = self.log(i)
            && log.deadline().is_some_and(|wake| wake.at <= now)
        {
            log.tick(now);
            return self.stirred(i);
        }
        self.look(i);
    }

    /// Tells a node of a link.
    pub(super) fn link(&mut self, i: usize, peer: usize, up: bool) {
        let node = &mut self.nodes[i];
        let link = if up {
            node.links += 1;
            let id = LinkId(node.links);
            node.ends[peer].link = Some(id);
            Link::Up(id)
        } else {
            node.ends[peer].link = None;
            Link::Down
        };
        let (id, now) = (self.id(peer), self.local(i));
        note!(
            self,
            "{} learns that the link to {id} is {link:?}",
            self.id(i)
        );
        if let Some(log) = self.log(i) {
            log.link(now, id, link);
            self.stirred(i);
        }
    }

    /// The node that leads the latest era, as far as one can see.
    pub(super) fn leader(&self) -> Option<usize> {
        let leads = |i: &usize| {
            let up = self.nodes[*i].up.as_ref();
            up.is_some_and(|up| up.replica.role == Role::Leader)
        };
        let eras = (0..self.nodes.len()).filter(leads).map(|i| {
            let up = self.nodes[i].up.as_ref();
            (up.map_or(0, |up| up.log.status().era), i)
        });
        eras.max().map(|(_, i)| i)
    }

    pub(super) fn known(&self, leader: Option<NodeId>) -> Option<usize> {
        leader.and_then(|id| self.place(id))
    }
}
