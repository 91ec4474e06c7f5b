//! One cluster in virtual time: nodes, disks and network, driven by one agenda, and the scene on
//! them. The world knows no protocol and no application.

mod damage;
mod disk;
mod fault;
mod network;
mod node;
mod stage;

use bytes::Bytes;
use synod_core::{Envelope, LoadId};

use crate::check::Breach;
use crate::plan::Plan;
use crate::scene::Scene;
use crate::schedule::{Kind, Schedule};
use crate::subject::{Load, Message, Subject};
use crate::trace::{What, Who, note};
pub use stage::Stage;

pub(crate) const MILLI: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MILLI;
/// How long faults go on.
const CALM_AT: u64 = 25 * SECOND;
/// How long a run is at least.
const END_AT: u64 = 30 * SECOND;
/// By when everything must have come to rest.
const REST_BY: u64 = 55 * SECOND;
/// How much may happen within a tenth of a virtual second: hundreds of times what does.
const MOST_EVENTS: u64 = 1_000_000;

/// What can happen. Nodes are named by their places.
#[derive(Debug)]
enum Happening<M, L, I> {
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
        what: L,
    },
    /// Something of the scene's own, in one life of a node.
    OnNode { node: usize, life: u64, item: I },
    /// Something of the scene's own.
    Scene(I),
    /// A node starts.
    Start { node: usize },
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

/// What can happen in a world of these machines.
type Doing<S, I> = Happening<Message<S>, Load<S>, I>;

pub(crate) struct World<'a, S: Subject, C: Scene<S>> {
    pub(crate) stage: Stage<'a, S, C::Item>,
    scene: C,
    over: bool,
    /// How many events there were when this tenth of a virtual second began.
    tenth: (u64, u64),
}

impl<'a, S: Subject, C: Scene<S>> World<'a, S, C> {
    /// A cluster as `plan` has it, of whose incidents those in `schedule` take place; `keep` steps
    /// of what happens are kept.
    pub(crate) fn new(
        subject: &'a S,
        plan: Plan,
        scene: C,
        schedule: &'a Schedule,
        keep: usize,
    ) -> Self {
        Self {
            stage: Stage::new(subject, plan, schedule, keep),
            scene,
            over: false,
            tenth: (0, 0),
        }
    }

    /// Lets everything happen, and judges it.
    pub(crate) fn run(&mut self) -> Option<Breach> {
        let stage = &mut self.stage;
        for node in 0..stage.nodes.len() {
            let at = stage.nodes[node].rng.below(20 * MILLI);
            stage.agenda.push(at, Happening::Start { node });
        }
        self.scene.opens(stage);
        stage.agenda.push(500 * MILLI, Happening::Fault(0));
        stage.agenda.push(CALM_AT, Happening::Calm);
        while self.stage.failure.is_none() && !self.over {
            let Some((at, what)) = self.stage.agenda.pop() else {
                break;
            };
            self.stage.now = at;
            self.happen(what);
        }
        if self.stage.failure.is_none() {
            self.scene.judge(&mut self.stage);
        }
        self.stage.failure.take()
    }

    /// Counts what happens: who always has something to do at once never lets time pass.
    fn count(&mut self) {
        let stage = &mut self.stage;
        stage.events += 1;
        let tenth = stage.now / (100 * MILLI);
        if self.tenth.0 != tenth {
            self.tenth = (tenth, stage.events);
        }
        let events = stage.events - self.tenth.1;
        if events > MOST_EVENTS {
            let evidence = format!("{events} events since {} virtual ms", tenth * 100);
            stage.fail(Breach::new("time goes on", evidence));
        }
    }

    fn happen(&mut self, what: Doing<S, C::Item>) {
        if let Some(node) = self.stage.paused(&what) {
            return self.stage.backlog[node].push_back(what);
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
            } => self.stage.reconnect(one, other, incarnation),
            Happening::Tick { node, life } => self.tick(node, life),
            Happening::Pump { node, life } => {
                if self.stage.lives(node, life) {
                    self.stage.nodes[node].pump_due = false;
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
            Happening::OnNode { node, life, item } => {
                if self.stage.lives(node, life) {
                    self.scene.happens(&mut self.stage, item);
                }
            }
            Happening::Scene(item) => self.scene.happens(&mut self.stage, item),
            Happening::Start { node } => self.start(node),
            Happening::Fault(place) => self.fault(place),
            Happening::Resume { node, life } => self.resume(node, life),
            Happening::Heal { ways } => self.stage.heal(&ways),
            Happening::Calm => self.calm_down(),
            Happening::Rest => self.rest(),
        }
        self.catch_up();
    }

    /// Takes the outputs of the nodes to which the scene has given something.
    fn catch_up(&mut self) {
        while let Some(node) = self.stage.called.pop_front() {
            self.stirred(node);
        }
    }

    /// Faults are over: everything heals but the disks that are lost, and the cluster must come to
    /// rest. Networks, disks and state machines are no slower than usual from now on.
    fn calm_down(&mut self) {
        note!(self.stage, Who::World, What::Fault, "FAULTS ARE OVER");
        self.stage.calm_down();
        self.scene.calms(&mut self.stage);
        self.stage.agenda.push(END_AT, Happening::Rest);
    }

    /// The run is over once everything is done.
    fn rest(&mut self) {
        let Some(unrest) = self.scene.unrest(&self.stage) else {
            self.over = true;
            return;
        };
        let stage = &mut self.stage;
        if stage.now > REST_BY {
            return stage.fail(Breach::new(
                "the cluster recovers once faults are over",
                unrest,
            ));
        }
        let at = stage.now + 100 * MILLI;
        stage.agenda.push(at, Happening::Rest);
    }
}
