//! Nodes: their lives, clocks and outputs.

use synod_core::{Instant, Link, LinkId, Machine, Output, Rng};

use super::damage::Acquaintance;
use super::disk::Jobs;
use super::{Happening, Kind, MILLI, SECOND, Stage, World};
use crate::check::{Breach, ensure};
use crate::device::Device;
use crate::scene::Scene;
use crate::subject::{Event, Load, Message, Record, Start, Subject};
use crate::trace::{What, Who, note};

type Todo<S> = Output<Message<S>, Record<S>, Event<S>, Load<S>>;

/// One node's end of a link.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    /// The last incarnation of the pair's link that it has heard of.
    pub(super) seen: u64,
    /// Its own name for it, while it is up.
    pub(super) link: Option<LinkId>,
}

pub(super) struct Node<S: Subject, I> {
    /// Its machine, while it runs.
    pub(super) up: Option<S::Machine>,
    /// Counts starts.
    pub(super) life: u64,
    pub(super) rng: Rng,
    pub(super) disk: Jobs<Record<S>, I>,
    /// The storage under test, if it is not the simulator's own.
    pub(super) device: Option<Box<dyn Device<S::Disk>>>,
    /// What that was to write when the node crashed: it has kept a prefix.
    pub(super) unsynced: Vec<Record<S>>,
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
    pub(super) ends: Vec<End>,
    links: u64,
    drift_ppm: i64,
    pub(super) clock_base: u64,
    /// The latest moment that it was told.
    told: Instant,
    pub(super) paused: bool,
    /// It crashes behind this many more outputs.
    pub(super) crash_in: Option<u64>,
    pub(super) pump_due: bool,
    /// The earliest timer on the agenda.
    pub(super) tick_at: u64,
}

impl<S: Subject, I> Node<S, I> {
    pub(super) fn new(
        mut rng: Rng,
        size: usize,
        drift_ppm: u64,
        device: Option<Box<dyn Device<S::Disk>>>,
    ) -> Self {
        let drift = rng.within(0, 2 * drift_ppm) as i64 - drift_ppm as i64;
        Self {
            up: None,
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
            ends: vec![End::default(); size],
            links: 0,
            drift_ppm: drift,
            clock_base: 0,
            told: Instant::from_nanos(0),
            paused: false,
            crash_in: None,
            pump_due: false,
            tick_at: u64::MAX,
        }
    }

    /// A moment on the node's own clock.
    #[inline]
    pub(super) fn local(&self, now: u64) -> Instant {
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

impl<S: Subject, I> Stage<'_, S, I> {
    #[inline]
    pub(super) fn lives(&self, node: usize, life: u64) -> bool {
        self.nodes[node].up.is_some() && self.nodes[node].life == life
    }

    /// A node's machine is there from now on.
    fn begin(&mut self, i: usize, restored: crate::subject::Found<S>, (seed, base): (u64, u64)) {
        let node = &mut self.nodes[i];
        node.life += 1;
        node.clock_base = base;
        node.told = Instant::from_nanos(0);
        node.tick_at = u64::MAX;
        node.pump_due = false;
        node.crash_in = None;
        let now = node.local(self.now);
        let machine = self.subject.start(Start {
            id: self.plan.nodes[i],
            voters: &self.plan.nodes[..self.plan.voters],
            restored,
            seed,
            world: self.plan.seed,
            plan: &self.plan,
            now,
        });
        self.nodes[i].up = Some(machine);
        let (life, chance) = (
            self.nodes[i].life,
            self.plan.faults.recovery_crash_per_million,
        );
        if life == 1 {
            return;
        }
        self.marks.add("restarts");
        if let Some(mut rng) = self.strikes(Kind::RecoveryCrash, (i, 0), life, chance) {
            self.marks.add("crashes in recovery");
            self.nodes[i].crash_in = Some(rng.below(4));
        }
    }

    /// A node's timer is put on the agenda, if it is not there yet.
    fn wind(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        let Some(wake) = node.up.as_ref().and_then(Machine::deadline) else {
            return;
        };
        let at = node.global(wake.at).max(self.now);
        if at < node.tick_at {
            node.tick_at = at;
            let life = node.life;
            self.agenda.push(at, Happening::Tick { node: i, life });
        }
    }

    /// A node's time never goes back.
    fn goes_forwards(&mut self, i: usize) {
        let now = self.local(i);
        let forwards = self.nodes[i].told <= now;
        self.nodes[i].told = now;
        let id = self.id(i);
        let kept = ensure(forwards, "a node's time never goes back", || id.to_string());
        self.must(kept);
    }
}

impl<S: Subject, C: Scene<S>> World<'_, S, C> {
    pub(super) fn start(&mut self, i: usize) {
        let node = &mut self.stage.nodes[i];
        if node.up.is_some() || node.retired {
            return;
        }
        let seed = node.rng.next_u64();
        let base = node.rng.below(1_000 * SECOND);
        let most = [0, 100, 2_000, usize::MAX][node.rng.below(4) as usize];
        let Some(restored) = self.open(i, most) else {
            return;
        };
        self.stage.begin(i, restored, (seed, base));
        self.scene.starts(&mut self.stage, i);
        for other in 0..self.stage.nodes.len() {
            if other != i && self.stage.nodes[other].up.is_some() {
                self.stage.connect(i, other);
            }
        }
        self.pump(i);
    }

    /// Ends a node's life between two of its outputs. Of what its disk had under way a prefix is
    /// there.
    pub(super) fn crash(&mut self, i: usize) {
        let stage = &mut self.stage;
        if stage.nodes[i].up.is_none() {
            return;
        }
        note!(stage, Who::Node(i), What::Crash, "CRASHES");
        stage.strike("crashes");
        self.end(i);
        let at = self.stage.now + self.stage.downtime(i);
        self.stage.agenda.push(at, Happening::Start { node: i });
    }

    /// Ends a node's life.
    pub(super) fn end(&mut self, i: usize) {
        let stage = &mut self.stage;
        if stage.nodes[i].up.take().is_none() {
            return;
        }
        stage.tear(i);
        stage.forgets(i, false);
        self.scene.ends(stage, i);
        stage.nodes[i].paused = false;
        stage.backlog[i].clear();
        for other in 0..stage.nodes.len() {
            stage.nodes[i].ends[other].link = None;
            if other != i {
                stage.disconnect(i, other);
            }
        }
    }

    /// An input was given: takes the outputs now, or lets more inputs gather first.
    pub(super) fn stirred(&mut self, i: usize) {
        let stage = &mut self.stage;
        if stage.nodes[i].pump_due {
            return;
        }
        let node = &mut stage.nodes[i];
        if node.rng.chance(stage.plan.lazy_per_million) {
            let at = stage.now + node.rng.below(2 * MILLI);
            let life = node.life;
            node.pump_due = true;
            return stage.agenda.push(at, Happening::Pump { node: i, life });
        }
        self.pump(i);
    }

    /// Takes a node's outputs and does what they say.
    pub(super) fn pump(&mut self, i: usize) {
        let mut count = 0;
        while self.stage.failure.is_none()
            && let Some(output) = self.stage.machine_mut(i).and_then(Machine::poll)
        {
            self.carry_out(i, output);
            let stage = &mut self.stage;
            count += 1;
            if count > stage.bounds.outputs {
                let evidence = format!("{} has {count} outputs at once", stage.id(i));
                stage.fail(Breach::new("what one input leads to has an end", evidence));
            }
            match &mut stage.nodes[i].crash_in {
                Some(0) => {
                    stage.nodes[i].crash_in = None;
                    return self.crash(i);
                }
                Some(left) => *left -= 1,
                None => {}
            }
        }
        self.look(i);
    }

    fn carry_out(&mut self, i: usize, output: Todo<S>) {
        let stage = &mut self.stage;
        match output {
            Output::Send(envelope) => stage.send(i, envelope),
            Output::Persist(write, records) => self.persist(i, write, records),
            Output::Load(load, what) => {
                note!(stage, Who::Node(i), What::Disk, "loads {what:?}");
                stage.marks.add("loads");
                let took = stage.plan.disk.load.draw(&mut stage.nodes[i].rng);
                let life = stage.nodes[i].life;
                let loaded = Happening::Loaded {
                    node: i,
                    life,
                    load,
                    what,
                };
                stage.agenda.push(stage.now + took, loaded);
            }
            Output::Event(event) => {
                if let Some(mark) = stage.subject.mark(&event) {
                    stage.marks.add(mark);
                }
                self.scene.event(stage, i, event);
            }
        }
    }

    /// Looks at a node after its step.
    fn look(&mut self, i: usize) {
        let stage = &mut self.stage;
        let Some(machine) = &stage.nodes[i].up else {
            return;
        };
        if self.scene.checks(i) {
            stage.subject.check(machine);
        }
        stage.mix(stage.now ^ (i as u64) << 56);
        self.scene.steps(stage, i);
        if stage.nodes[i].retired {
            return self.end(i);
        }
        stage.goes_forwards(i);
        stage.wind(i);
    }

    pub(super) fn tick(&mut self, i: usize, life: u64) {
        if !self.stage.lives(i, life) {
            return;
        }
        self.stage.nodes[i].tick_at = u64::MAX;
        let now = self.stage.local(i);
        if let Some(machine) = self.stage.machine_mut(i)
            && machine.deadline().is_some_and(|wake| wake.at <= now)
        {
            machine.tick(now);
            return self.stirred(i);
        }
        self.look(i);
    }

    /// Tells a node of a link.
    pub(super) fn link(&mut self, i: usize, peer: usize, up: bool) {
        let stage = &mut self.stage;
        let node = &mut stage.nodes[i];
        let link = if up {
            node.links += 1;
            let id = LinkId(node.links);
            node.ends[peer].link = Some(id);
            Link::Up(id)
        } else {
            node.ends[peer].link = None;
            Link::Down
        };
        let (id, now) = (stage.id(peer), stage.local(i));
        note!(
            stage,
            Who::Node(i),
            What::Link,
            "learns that the link to {id} is {link:?}"
        );
        if let Some(machine) = stage.machine_mut(i) {
            machine.link(now, id, link);
            self.stirred(i);
        }
    }

    pub(super) fn resume(&mut self, node: usize, life: u64) {
        let stage = &mut self.stage;
        if !stage.lives(node, life) {
            return;
        }
        note!(stage, Who::Node(node), What::Resume, "goes on");
        stage.nodes[node].paused = false;
        while !self.stage.nodes[node].paused
            && let Some(what) = self.stage.backlog[node].pop_front()
        {
            self.happen(what);
        }
    }
}
