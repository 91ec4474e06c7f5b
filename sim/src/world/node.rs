//! Nodes: their lives, clocks and outputs.

use synod_core::{
    Instant, Link, LinkId, LogIndex, LogRecord, Machine, NodeId, Output, ReplicatedLog, Rng, Role,
    Status,
};

use super::damage::Acquaintance;
use super::disk::Jobs;
use super::machine::Replica;
use super::{Detail, Happening, Kind, MILLI, Message, SECOND, World};
use crate::application::Application;
use crate::check::{Breach, ensure};
use crate::device::Device;
use crate::subject::{Start, Subject};
use crate::trace::{What, Who, note};

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
    pub(super) rng: Rng,
    pub(super) disk: Jobs,
    /// The storage under test, if it is not the simulator's own.
    pub(super) device: Option<Box<dyn Device>>,
    /// What that was to write when the node crashed: it has kept a prefix.
    pub(super) unsynced: Vec<LogRecord>,
    /// Its disk is damaged, and whether it gets another one.
    pub(super) damaged: Option<bool>,
    /// It has lost its disk and was told so: it does not come back.
    pub(super) retired: bool,
    /// Until when its disk is slow, and by how much.
    pub(super) slow_disk: (u64, u64),
    /// Until when its disk is full.
    pub(super) full_until: u64,
    /// Whom it has met.
    pub(super) met: Vec<Acquaintance>,
    /// How many writes its machines have asked for.
    pub(super) persists: u64,
    /// How many writes its disk has begun.
    pub(super) writes: u64,
    /// How often it has stood or led.
    pub(super) roles: u64,
    pub(super) ends: Vec<End>,
    links: u64,
    drift_ppm: i64,
    pub(super) clock_base: u64,
    /// The latest moment that it was told.
    told: Instant,
    /// What it had under way at its last step, in which era.
    uncommitted: (u64, usize),
    pub(super) paused: bool,
    /// It crashes behind this many more outputs.
    pub(super) crash_in: Option<u64>,
    pub(super) pump_due: bool,
    /// The earliest timer on the agenda.
    pub(super) tick_at: u64,
    /// What of its state was shown last, in a trace.
    shown: (u64, Role, LogIndex),
    /// How often it was looked at, and when its own check comes next.
    looks: u64,
    check_at: u64,
}

/// A node that runs.
pub(super) struct Running<L, M> {
    pub(super) log: L,
    pub(super) replica: Replica<M>,
}

impl<L, M> Node<L, M> {
    pub(super) fn new(
        mut rng: Rng,
        size: usize,
        drift_ppm: u64,
        device: Option<Box<dyn Device>>,
    ) -> Self {
        let drift = rng.within(0, 2 * drift_ppm) as i64 - drift_ppm as i64;
        Self {
            up: None,
            kept: None,
            life: 0,
            rng,
            disk: Jobs::default(),
            device,
            unsynced: Vec::new(),
            damaged: None,
            retired: false,
            slow_disk: (0, 0),
            full_until: 0,
            met: vec![Acquaintance::None; size],
            persists: 0,
            writes: 0,
            roles: 0,
            ends: vec![End::default(); size],
            links: 0,
            drift_ppm: drift,
            clock_base: 0,
            told: Instant::from_nanos(0),
            uncommitted: (0, 0),
            paused: false,
            crash_in: None,
            pump_due: false,
            tick_at: u64::MAX,
            shown: (0, Role::Follower, LogIndex::START),
            looks: 0,
            check_at: 0,
        }
    }

    /// A moment on the node's own clock.
    fn local(&self, now: u64) -> Instant {
        let rate = (1_000_000 + self.drift_ppm) as u64;
        // In two parts, which is the same and spares a division of 128 bits.
        let (whole, rest) = (now / 1_000_000, now % 1_000_000);
        Instant::from_nanos(self.clock_base + whole * rate + rest * rate / 1_000_000)
    }

    /// When the node's own clock shows `at`.
    fn global(&self, at: Instant) -> u64 {
        let rate = (1_000_000 + self.drift_ppm) as u64;
        let passed = at.as_nanos().saturating_sub(self.clock_base);
        // The far future is no time of a run.
        let micros = passed.checked_mul(1_000_000);
        micros.map_or(u64::MAX, |passed| passed.div_ceil(rate))
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
        if self.nodes[i].up.is_some() || self.nodes[i].retired {
            return;
        }
        let node = &mut self.nodes[i];
        let seed = node.rng.next_u64();
        let base = node.rng.below(1_000 * SECOND);
        let tail = [0, 100, 2_000, usize::MAX][node.rng.below(4) as usize];
        let Some(restored) = self.open(i, tail) else {
            return;
        };
        let node = &mut self.nodes[i];
        node.life += 1;
        node.clock_base = base;
        node.told = Instant::from_nanos(0);
        node.uncommitted = (0, 0);
        node.tick_at = u64::MAX;
        node.pump_due = false;
        node.crash_in = None;
        let now = node.local(self.now);
        let replica = node.kept.take();
        let replica = replica.unwrap_or_else(|| Replica::new(self.app.machine()));
        let mut log = self.subject.start(Start {
            id: self.plan.nodes[i],
            voters: &self.plan.nodes[..self.plan.voters],
            restored,
            seed,
            world: self.plan.seed,
            plan: &self.plan,
            now,
        });
        let applied = replica.applied;
        if applied > LogIndex::START {
            log.applied(now, applied);
        }
        note!(
            self,
            Who::Node(i),
            What::Start,
            "starts, has applied {applied}"
        );
        let (life, chance) = (
            self.nodes[i].life,
            self.plan.faults.recovery_crash_per_million,
        );
        if life > 1
            && let Some(mut rng) = self.strikes(Kind::RecoveryCrash, (i, 0), life, chance)
        {
            self.marks.add("crashes in recovery");
            self.nodes[i].crash_in = Some(rng.below(4));
        }
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
        if self.nodes[i].up.is_none() {
            return;
        }
        note!(self, Who::Node(i), What::Crash, "CRASHES");
        self.strike("crashes");
        self.end(i);
        let downtime = self.downtime(i);
        self.agenda
            .push(self.now + downtime, Happening::Start { node: i });
    }

    /// Ends a node's life.
    pub(super) fn end(&mut self, i: usize) {
        let Some(up) = self.nodes[i].up.take() else {
            return;
        };
        self.tear(i);
        self.forgets(i, false);
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
    }

    /// An input was given: takes the outputs now, or lets more inputs gather first.
    pub(super) fn stirred(&mut self, i: usize) {
        if self.nodes[i].pump_due {
            return;
        }
        let node = &mut self.nodes[i];
        if node.rng.chance(self.plan.lazy_per_million) {
            let at = self.now + node.rng.below(2 * MILLI);
            let life = node.life;
            node.pump_due = true;
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
            if count > self.bounds.outputs {
                let evidence = format!("{} has {count} outputs at once", self.id(i));
                self.fail(Breach::new("what one input leads to has an end", evidence));
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
                note!(self, Who::Node(i), What::Disk, "loads {what:?}");
                self.marks.add("loads");
                let took = self.plan.disk.load.draw(&mut self.nodes[i].rng);
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
        let node = &mut self.nodes[i];
        let Some(up) = &node.up else { return };
        let (status, wake) = (up.log.status(), up.log.deadline());
        node.looks += 1;
        if node.looks >= node.check_at {
            // A check may walk the whole log: the longer that is, the more steps pass in between.
            node.check_at = node.looks + 1 + status.last.since(status.compacted) / 16;
            self.subject.check(&up.log);
        }
        self.trace.stir(self.now ^ (i as u64) << 56);
        self.trace
            .stir(status.era ^ status.committed.0 << 20 ^ status.last.0 << 42);
        if status.role == Role::Stopped {
            if self.stopped(i) {
                return self.end(i);
            }
            let evidence = format!("{}", self.id(i));
            self.fail(Breach::new("no node stops for good", evidence));
        }
        self.nodes[i]
            .up
            .iter_mut()
            .for_each(|up| up.replica.role = status.role);
        self.keeps_within(i, &status);
        self.observe(|observer, cluster| observer.steps(i, &status, cluster));
        if self.trace.is_on() {
            self.show(i, &status);
        }
        let Some(wake) = wake else { return };
        let node = &mut self.nodes[i];
        let at = node.global(wake.at).max(self.now);
        if at < node.tick_at {
            node.tick_at = at;
            let life = node.life;
            self.agenda.push(at, Happening::Tick { node: i, life });
        }
    }

    /// Memory and queues are bounded, and time goes forwards.
    fn keeps_within(&mut self, i: usize, status: &Status) {
        let (bounds, now) = (self.bounds, self.local(i));
        let forwards = self.nodes[i].told <= now;
        self.nodes[i].told = now;
        let id = self.id(i);
        let in_flight = status.peers.iter().map(|peer| peer.in_flight_bytes);
        let in_flight = in_flight.max().unwrap_or(0);
        // What a new leader inherits is more than it would take on, and must not grow.
        let (era, before) = self.nodes[i].uncommitted;
        let inherited = if era == status.era {
            before
        } else {
            usize::MAX
        };
        if status.role == Role::Leader {
            self.nodes[i].uncommitted = (status.era, status.uncommitted_bytes);
        }
        let within = status.uncommitted_bytes <= bounds.uncommitted_bytes.max(inherited)
            && in_flight <= bounds.in_flight_bytes;
        let kept = ensure(within, "memory is bounded", || {
            format!("{id}: {bounds:?}, {status:?}")
        });
        self.must(kept);
        let kept = ensure(forwards, "a node's time never goes back", || id.to_string());
        self.must(kept);
    }

    /// Adds what pictures need to know to the trace.
    fn show(&mut self, i: usize, status: &Status) {
        let now = (status.era, status.role, status.committed);
        if core::mem::replace(&mut self.nodes[i].shown, now) != now {
            let what = What::State {
                era: now.0,
                role: now.1,
                committed: now.2.0,
            };
            note!(
                self,
                Who::Node(i),
                what,
                "{} in {}, {} committed",
                now.1,
                now.0,
                now.2
            );
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
            Who::Node(i),
            What::Link,
            "learns that the link to {id} is {link:?}"
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
